/* The critical path on traces made by hand and at random: what it says, and that every sum is exact whatever comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../lib/mkkernel.h"
#include "analyze/whytext.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NONE = GANDER_GOTRACE_GO_NOT_EXIST,
       UNDET = GANDER_GOTRACE_GO_UNDETERMINED,
       READY = GANDER_GOTRACE_GO_RUNNABLE,
       RUN = GANDER_GOTRACE_GO_RUNNING,
       WAIT = GANDER_GOTRACE_GO_WAITING,
       CALL = GANDER_GOTRACE_GO_SYSCALL };

struct trace {
	struct gosyms syms;
	struct gostate s;
	struct gostays t;
	struct gopath p;
};

static void open_trace(struct trace *x)
{
	memset(x, 0, sizeof(*x));
	assert_int_equal(gosyms_init(&x->syms), 0);
	gostate_init(&x->s, &x->syms);
	assert_int_equal(gostays_init(&x->t, &x->s), 0);
	assert_int_equal(gopath_init(&x->p), 0);
	gostate_begin(&x->s, NULL);
}

static void close_trace(struct trace *x)
{
	gopath_done(&x->p);
	gostays_done(&x->t);
	gostate_done(&x->s);
	gosyms_done(&x->syms);
}

static void sync_at(struct trace *x, int64_t t)
{
	struct gander_gotrace_event ev = { .time_ns = t, .kind = GANDER_GOTRACE_SYNC, .thread = -1, .proc = -1, .goroutine = -1 };

	gostate_event(&x->s, &ev);
}

static void go(struct trace *x, int64_t t, int64_t id, unsigned from, unsigned to, int64_t by)
{
	struct gander_gotrace_event ev = { .time_ns = t, .kind = GANDER_GOTRACE_STATE_TRANSITION, .thread = 5, .proc = 0, .goroutine = by };

	ev.transition.id = id;
	ev.transition.resource = GANDER_GOTRACE_RES_GOROUTINE;
	ev.transition.from = (uint8_t)from;
	ev.transition.to = (uint8_t)to;
	gostate_event(&x->s, &ev);
}

static void proc(struct trace *x, int64_t t, int64_t id, unsigned from, unsigned to)
{
	struct gander_gotrace_event ev = { .time_ns = t, .kind = GANDER_GOTRACE_STATE_TRANSITION, .thread = 1, .proc = id, .goroutine = -1 };

	ev.transition.id = id;
	ev.transition.resource = GANDER_GOTRACE_RES_PROC;
	ev.transition.from = (uint8_t)from;
	ev.transition.to = (uint8_t)to;
	gostate_event(&x->s, &ev);
}

static void range(struct trace *x, int64_t t, unsigned kind, unsigned id, int64_t g)
{
	struct gander_gotrace_event ev = { .time_ns = t, .kind = (uint8_t)kind, .thread = 5, .proc = 0, .goroutine = g };

	ev.range.id = (uint8_t)id;
	ev.range.scope = GANDER_GOTRACE_RES_GOROUTINE;
	ev.range.scope_id = g;
	gostate_event(&x->s, &ev);
}

/* Every level adds up, and the hops follow each other from the end to the begin. */
static void check_sums(const struct gopath *p, int64_t from, int64_t to)
{
	uint32_t i;

	assert_int_equal(gopath_check(p), 0);
	assert_int_equal(p->node[0].ns, to - from);
	for (i = 0; i < p->nhop && !p->hops_left_out; i++) {
		assert_int_equal(p->hop[i].end_ns, to);
		to = p->hop[i].start_ns;
	}
	if (!p->hops_left_out)
		assert_int_equal(from, to);
}

static void walk(struct trace *x, int64_t g, int64_t from, int64_t to)
{
	gopath_done(&x->p);
	assert_int_equal(gopath_init(&x->p), 0);
	assert_int_equal(gopath_walk(&x->p, &x->t, g, gostays_now(&x->t, gostate_goro(&x->s, g)), from, to), 0);
	check_sums(&x->p, from, to);
}

/* The child of that kind, which must be one. */
static uint32_t child(const struct gopath *p, uint32_t node, unsigned kind)
{
	uint32_t i, found = 0;

	for (i = p->node[node].first; i; i = p->node[i].next)
		if (p->node[i].kind == kind) {
			assert_int_equal(found, 0);
			found = i;
		}
	assert_true(found);
	return found;
}

static uint64_t ns_of(const struct gopath *p, uint32_t node, unsigned kind)
{
	return p->node[child(p, node, kind)].ns;
}

static void a_wait_is_what_its_waker_did(void **state)
{
	struct trace x;
	uint32_t w, w2;

	open_trace(&x);
	sync_at(&x, 0);
	go(&x, 1, 1, UNDET, RUN, -1);
	go(&x, 2, 2, UNDET, RUN, -1);
	go(&x, 3, 3, UNDET, RUN, -1);
	go(&x, 100, 1, RUN, WAIT, 1); /* 1 waits from 100 to 500 for 2 */
	go(&x, 150, 2, RUN, WAIT, 2); /* which waits from 150 to 400 for 3 */
	go(&x, 200, 3, RUN, CALL, 3); /* which is in a call from 200 to 350 */
	go(&x, 350, 3, CALL, RUN, 3);
	go(&x, 400, 2, WAIT, READY, 3);
	go(&x, 430, 2, READY, RUN, -1);
	go(&x, 500, 1, WAIT, READY, 2);
	go(&x, 520, 1, READY, RUN, -1);
	sync_at(&x, 600);
	walk(&x, 1, 0, 600);
	assert_int_equal(ns_of(&x.p, 0, WHY_RUNNING), 100 + 80);
	assert_int_equal(ns_of(&x.p, 0, WHY_NO_P), 20);
	w = child(&x.p, 0, WHY_WAIT);
	assert_int_equal(x.p.node[w].ns, 400);
	assert_int_equal(x.p.node[w].by, 2);
	assert_int_equal(ns_of(&x.p, w, WHY_RUNNING), 50 + 70);
	assert_int_equal(ns_of(&x.p, w, WHY_NO_P), 30);
	w2 = child(&x.p, w, WHY_WAIT);
	assert_int_equal(x.p.node[w2].ns, 250);
	assert_int_equal(x.p.node[w2].by, 3);
	assert_int_equal(ns_of(&x.p, w2, WHY_SYSCALL), 150);
	assert_int_equal(ns_of(&x.p, w2, WHY_RUNNING), 50 + 50);
	/* only a part of it */
	walk(&x, 1, 160, 450);
	w = child(&x.p, 0, WHY_WAIT);
	assert_int_equal(x.p.node[w].flags & WHY_UNENDED, WHY_UNENDED);
	walk(&x, 1, 160, 510);
	w = child(&x.p, 0, WHY_WAIT);
	assert_int_equal(x.p.node[w].ns, 340);
	assert_int_equal(ns_of(&x.p, child(&x.p, w, WHY_WAIT), WHY_SYSCALL), 150);
	/* nobody, and nothing */
	walk(&x, 77, 100, 200);
	assert_int_equal(ns_of(&x.p, 0, WHY_UNKNOWN), 100);
	walk(&x, 1, 300, 300);
	assert_int_equal(x.p.n, 1);
	close_trace(&x);
}

static void before_it_was_made_it_was_its_maker(void **state)
{
	struct trace x;
	uint32_t c;

	open_trace(&x);
	sync_at(&x, 0);
	go(&x, 1, 1, UNDET, RUN, -1);
	go(&x, 50, 1, RUN, CALL, 1);
	go(&x, 90, 1, CALL, RUN, 1);
	go(&x, 100, 2, NONE, READY, 1);
	go(&x, 110, 2, READY, RUN, -1);
	go(&x, 150, 2, RUN, NONE, 2);
	sync_at(&x, 200);
	/* 2 has ended: its last stay is the table's last of it */
	assert_int_equal(gopath_walk(&x.p, &x.t, 2, x.t.n - 1, 10, 180), 0);
	check_sums(&x.p, 10, 180);
	assert_int_equal(ns_of(&x.p, 0, WHY_GONE), 30);
	assert_int_equal(ns_of(&x.p, 0, WHY_RUNNING), 40);
	assert_int_equal(ns_of(&x.p, 0, WHY_NO_P), 10);
	c = child(&x.p, 0, WHY_CREATION);
	assert_int_equal(x.p.node[c].ns, 90);
	assert_int_equal(x.p.node[c].by, 1);
	assert_int_equal(ns_of(&x.p, c, WHY_SYSCALL), 40);
	assert_int_equal(ns_of(&x.p, c, WHY_RUNNING), 50);
	close_trace(&x);
}

static void runnable_is_divided(void **state)
{
	struct trace x;
	uint32_t stw;

	open_trace(&x);
	sync_at(&x, 0);
	proc(&x, 1, 0, UNDET, GANDER_GOTRACE_PROC_RUNNING);
	proc(&x, 2, 1, UNDET, GANDER_GOTRACE_PROC_RUNNING);
	go(&x, 3, 1, UNDET, RUN, -1);
	go(&x, 4, 2, UNDET, RUN, -1);
	go(&x, 100, 1, RUN, READY, 1);
	proc(&x, 120, 1, GANDER_GOTRACE_PROC_RUNNING, GANDER_GOTRACE_PROC_IDLE);
	proc(&x, 150, 1, GANDER_GOTRACE_PROC_IDLE, GANDER_GOTRACE_PROC_RUNNING); /* 30 with an idle P */
	range(&x, 200, GANDER_GOTRACE_RANGE_BEGIN, GANDER_GOTRACE_RANGE_STW, 2);
	range(&x, 270, GANDER_GOTRACE_RANGE_END, GANDER_GOTRACE_RANGE_STW, 2); /* 70 stopped by 2 */
	go(&x, 300, 1, READY, RUN, -1);
	range(&x, 310, GANDER_GOTRACE_RANGE_BEGIN, GANDER_GOTRACE_RANGE_MARK_ASSIST, 1);
	go(&x, 320, 1, RUN, WAIT, 1); /* for credit */
	go(&x, 350, 1, WAIT, READY, 2);
	go(&x, 352, 1, READY, RUN, -1);
	range(&x, 360, GANDER_GOTRACE_RANGE_END, GANDER_GOTRACE_RANGE_MARK_ASSIST, 1);
	sync_at(&x, 400);
	walk(&x, 1, 100, 400);
	assert_int_equal(ns_of(&x.p, 0, WHY_WAKING), 30);
	stw = child(&x.p, 0, WHY_STW);
	assert_int_equal(x.p.node[stw].ns, 70);
	assert_int_equal(x.p.node[stw].by, 2);
	assert_int_equal(ns_of(&x.p, 0, WHY_NO_P), 200 - 30 - 70 + 2);
	assert_int_equal(ns_of(&x.p, 0, WHY_RUNNING), 10 + 40);
	assert_int_equal(ns_of(&x.p, 0, WHY_ASSIST), 48);
	/* the part of it with the idle P; half of it */
	walk(&x, 1, 130, 140);
	assert_int_equal(ns_of(&x.p, 0, WHY_WAKING), 10);
	/* who stopped the world was busy with that */
	walk(&x, 2, 100, 400);
	assert_int_equal(ns_of(&x.p, 0, WHY_STW), 70);
	assert_int_equal(ns_of(&x.p, 0, WHY_RUNNING), 230);
	close_trace(&x);
}

/* A chain of more goroutines than the walk follows: the sum is exact all the same, and it says so. */
static void a_chain_without_end(void **state)
{
	const int64_t n = WHY_DEPTH_MAX + 500;
	struct trace x;
	uint32_t node = 0, depth = 0;
	int64_t i;

	open_trace(&x);
	sync_at(&x, 0);
	for (i = 1; i <= n; i++)
		go(&x, i, i, UNDET, RUN, -1);
	for (i = 1; i < n; i++)
		go(&x, 10000 + i, i, RUN, WAIT, i);
	for (i = n; i > 1; i--) {
		go(&x, 20000 + 10 * (n - i), i - 1, WAIT, READY, i);
		go(&x, 20000 + 10 * (n - i) + 5, i - 1, READY, RUN, -1);
	}
	sync_at(&x, 20000 + 10 * n);
	walk(&x, 1, 0, 20000 + 10 * n);
	for (; x.p.node[node].first; depth++) {
		uint32_t c, next = 0;

		for (c = x.p.node[node].first; c; c = x.p.node[c].next)
			if (x.p.node[c].kind == WHY_WAIT)
				next = c;
		if (!next)
			break;
		node = next;
	}
	assert_int_equal(depth, WHY_DEPTH_MAX);
	assert_int_equal(x.p.node[node].flags & WHY_TOO_DEEP, WHY_TOO_DEEP);
	close_trace(&x);
}

static uint64_t random_state;

static unsigned rnd(unsigned n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(random_state >> 33) % n;
}

/* Events that no runtime writes: anybody may be woken by anybody in any state, numbers come again, ranges have no begin or no end. */
static int64_t random_events(struct trace *x, unsigned n, int64_t t)
{
	static const unsigned states[] = { NONE, READY, RUN, WAIT, CALL, WAIT, READY, RUN };

	while (n--) {
		t += rnd(4) ? rnd(50) : 0; /* times may be equal */
		switch (rnd(12)) {
		case 0:
			proc(x, t, rnd(3), rnd(4), 2 + rnd(2));
			break;
		case 1:
			range(x, t, rnd(2) ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END, rnd(2) ? GANDER_GOTRACE_RANGE_STW : GANDER_GOTRACE_RANGE_MARK_ASSIST,
			      rnd(8));
			break;
		case 2:
			if (!rnd(10)) {
				sync_at(x, t);
				break;
			}
			/* fall through */
		default:
			go(x, t, rnd(8), rnd(3) ? states[rnd(8)] : rnd(6), states[rnd(8)], (int64_t)rnd(10) - 1);
		}
	}
	return t;
}

static void any_events_at_all(void **state)
{
	unsigned round, k;

	for (round = 0; round < 3000; round++) {
		struct trace x;
		int64_t end;

		random_state = round;
		open_trace(&x);
		sync_at(&x, 5);
		end = random_events(&x, 20 + rnd(200), 10);
		for (k = 0; k < 10; k++) {
			int64_t from = (int64_t)rnd((unsigned)end + 2), to = from + rnd((unsigned)end + 100);

			walk(&x, rnd(9), from, to);
			/* from any stay, also one of somebody else */
			gopath_done(&x.p);
			gopath_init(&x.p);
			assert_int_equal(gopath_walk(&x.p, &x.t, 3, x.t.n ? rnd(x.t.n) : STAY_NONE, from, to), 0);
			check_sums(&x.p, from, to);
		}
		close_trace(&x);
	}
}

static bool same_tree(const struct gopath *a, const struct gopath *b)
{
	uint32_t i;

	if (a->n != b->n || a->nhop != b->nhop)
		return false;
	for (i = 0; i < a->n; i++)
		if (a->node[i].ns != b->node[i].ns || a->node[i].kind != b->node[i].kind || a->node[i].parent != b->node[i].parent || a->node[i].by != b->node[i].by)
			return false;
	return !a->nhop || !memcmp(a->hop, b->hop, a->nhop * sizeof(*a->hop));
}

/* A table that forgets, and one in a file, say what one says that keeps all on the heap. */
static void forgetting_changes_nothing(void **state)
{
	unsigned round, g;

	for (round = 0; round < 40; round++) {
		struct trace x[3];
		int64_t end = 0, from = 0;
		unsigned i;

		for (i = 0; i < 3; i++) {
			open_trace(&x[i]);
			if (i) {
				x[i].t.heap = i == 2 ? 1 : 0;
				x[i].t.next_compact = 50 + round;
				x[i].t.keep_from = 0;
			}
			random_state = 1000 + round;
			sync_at(&x[i], 5);
			end = random_events(&x[i], 300, 10);
			from = end - 200;
			x[i].t.keep_from = i ? from : GO_NEVER;
			end = random_events(&x[i], i ? 2000 : 2000, end);
			assert_int_equal(x[i].t.error, 0);
			assert_int_equal(x[i].t.fd >= 0, i == 2);
		}
		for (g = 0; g < 8; g++) {
			for (i = 0; i < 3; i++)
				walk(&x[i], g, from + 50, end);
			assert_true(same_tree(&x[0].p, &x[1].p));
			assert_true(same_tree(&x[0].p, &x[2].p));
		}
		for (i = 0; i < 3; i++)
			close_trace(&x[i]);
	}
}

static uint32_t stack_of(struct gosyms *s, const char *const *func, unsigned n)
{
	uint32_t ids[16];
	unsigned i;

	for (i = 0; i < n; i++) {
		struct gosym_frame f;

		memset(&f, 0, sizeof(f));
		f.func = gosyms_string(s, func[i]);
		f.line = 10 + i;
		ids[i] = (uint32_t)intern_bytes(&s->frames, &f, sizeof(f), NULL);
	}
	return (uint32_t)intern_bytes(&s->stacks, ids, n * 4, NULL);
}

static void names_of_locks_and_calls(void **state)
{
	static const struct {
		const char *func[8];
		const char *lock, *call;
	} tab[] = {
		{ { "sync.(*Mutex).lockSlow", "sync.(*Mutex).Lock", "main.f" }, "mutex", "" },
		{ { "internal/sync.(*Mutex).lockSlow", "internal/sync.(*Mutex).Lock", "sync.(*Mutex).Lock", "main.f" }, "mutex", "" },
		{ { "sync.(*Mutex).Lock", "sync.(*RWMutex).Lock", "main.f" }, "rwmutex", "" },
		{ { "sync.(*RWMutex).RLock", "main.f" }, "rwmutex, to read", "" },
		{ { "sync.(*Mutex).Lock", "sync.(*Once).doSlow", "sync.(*Once).Do", "main.f" }, "once", "" },
		{ { "sync.(*WaitGroup).Wait", "main.f" }, "waitgroup", "" },
		{ { "main.f", "sync.(*Once).Do", "main.g" }, NULL, "" },
		{ { "syscall.Syscall", "syscall.write", "syscall.Write", "internal/poll.(*FD).Write", "os.(*File).Write" }, NULL, "write" },
		{ { "syscall.Syscall6", "syscall.Pread", "main.f" }, NULL, "pread" },
		{ { "runtime.cgocall", "main._Cfunc_sleep", "main.f" }, NULL, "C.sleep" },
		{ { "golang.org/x/sys/unix.Syscall", "golang.org/x/sys/unix.Fsync", "main.f" }, NULL, "fsync" },
		{ { "golang.org/x/sys/unix.Syscall6", "modernc.org/libc.___syscall_cp", "modernc.org/libc.X__clock_nanosleep", "lib.f" }, NULL, "clock_nanosleep" },
		{ { "modernc.org/libc.X__syscall3", "modernc.org/libc.Xfsync", "lib.f" }, NULL, "fsync" },
		{ { "main.f" }, NULL, "" },
	};
	struct gosyms s;
	unsigned i, n;

	assert_int_equal(gosyms_init(&s), 0);
	for (i = 0; i < sizeof(tab) / sizeof(*tab); i++) {
		struct buf b = BUF_INIT;
		const char *lock;
		uint32_t stack;

		for (n = 0; tab[i].func[n]; n++)
			;
		stack = stack_of(&s, tab[i].func, n);
		lock = why_lock_name(&s, stack);
		assert_string_equal(lock ? lock : "-", tab[i].lock ? tab[i].lock : "-");
		why_syscall_name(&s, stack, &b);
		assert_string_equal(b.data ? b.data : "", tab[i].call);
		buf_done(&b);
	}
	assert_null(why_lock_name(&s, 0));
	gosyms_done(&s);
}

/* Three had the lock one after the other: 90 = 50 asleep + 10 running, then 30, of which 20 asleep in the same place. */
static void a_lock_handed_on(void **state)
{
	static const char *const lock[] = { "sync.(*Mutex).Lock", "main.query" }, *const other[] = { "sync.(*Mutex).Lock", "main.other" }, *const sleep[] = { "time.Sleep", "main.query" };
	struct why_node node[9] = { { 0 } };
	struct gopath p = { .node = node, .n = 9 };
	struct buf b = BUF_INIT;
	struct gosyms s;
	uint32_t n, turns, *list, i;
	uint64_t sum = 0;

	assert_int_equal(gosyms_init(&s), 0);
	for (i = 0; i < 9; i++)
		node[i].by = -1;
	node[0] = (struct why_node) { .ns = 90, .first = 1, .last = 1, .by = -1 };
	node[1] = (struct why_node) { .kind = WHY_MUTEX, .by = 7, .ns = 90, .count = 1, .first = 2, .last = 4, .stack = stack_of(&s, lock, 2) };
	node[2] = (struct why_node) { .kind = WHY_RUNNING, .by = -1, .ns = 10, .count = 1, .parent = 1, .next = 3 };
	node[3] = (struct why_node) { .kind = WHY_MUTEX, .by = 8, .ns = 30, .count = 1, .parent = 1, .next = 4, .first = 5, .last = 6, .stack = node[1].stack };
	node[4] = (struct why_node) { .kind = WHY_SLEEP, .by = -1, .ns = 50, .count = 1, .parent = 1, .stack = stack_of(&s, sleep, 2) };
	node[5] = (struct why_node) { .kind = WHY_SLEEP, .by = -1, .ns = 20, .count = 1, .parent = 3, .next = 6, .stack = node[4].stack };
	node[6] = (struct why_node) { .kind = WHY_MUTEX, .by = 9, .ns = 10, .count = 1, .parent = 3, .first = 7, .last = 7, .stack = node[1].stack };
	node[7] = (struct why_node) { .kind = WHY_MUTEX, .by = 5, .ns = 10, .count = 1, .parent = 6, .first = 8, .last = 8, .stack = stack_of(&s, other, 2) };
	node[8] = (struct why_node) { .kind = WHY_RUNNING, .by = -1, .ns = 10, .count = 1, .parent = 7 };
	assert_int_equal(gopath_check(&p), 0);
	list = why_parts(&p, &s, 1, &n, &turns);
	assert_int_equal(turns, 3);
	assert_int_equal(n, 4);
	for (i = 0; i < n; i++)
		sum += node[list[i]].ns;
	assert_int_equal(sum, node[1].ns);
	assert_int_equal(list[0], 4);
	assert_int_equal(list[3], 7);
	free(list);
	list = why_parts(&p, &s, 0, &n, &turns);
	assert_int_equal(n, 1);
	assert_int_equal(turns, 1);
	free(list);
	why_sentence(&p, &s, &b);
	assert_string_equal(b.data, "90ns: 90ns waiting for mutex held by goroutine 7, the last of 3 in turn, which was 70ns sleeping at main.query:11.");
	buf_done(&b);
	gosyms_done(&s);
}

static void in_words(void **state)
{
	static const char *const lock[] = { "sync.(*Mutex).Lock", "main.(*Cache).get", "main.serve" }, *const unlock[] = { "sync.(*Mutex).Unlock", "main.(*Cache).fill" },
				 *const call[] = { "syscall.Syscall6", "syscall.pread", "syscall.Pread", "os.(*File).pread", "main.(*Cache).fill" };
	struct why_node lk = { .kind = WHY_MUTEX, .by = 71, .g = 3, .ns = 8100000, .count = 1, .flags = WHY_INFERRED }, pr = { .kind = WHY_SYSCALL, .by = -1, .g = 71, .ns = 6000000, .count = 1 };
	struct why_node node[4] = { { 0 } };
	struct gopath p = { .node = node, .n = 4 };
	struct buf b = BUF_INIT;
	struct gosyms s;

	assert_int_equal(gosyms_init(&s), 0);
	lk.stack = stack_of(&s, lock, 3);
	lk.by_stack = stack_of(&s, unlock, 2);
	pr.stack = stack_of(&s, call, 5);
	node[0].ns = 12300000;
	node[0].first = node[0].last = 1;
	node[1] = lk;
	node[1].first = node[1].last = 2;
	node[2] = pr;
	node[2].parent = 1;
	node[1].next = 3;
	node[0].last = 3;
	node[3] = (struct why_node) { .kind = WHY_RUNNING, .ns = 4200000, .by = -1, .count = 3 };
	why_sentence(&p, &s, &b);
	assert_string_equal(b.data, "12.3ms: 8.10ms waiting for mutex held by goroutine 71 in main.(*Cache).fill (inferred), "
				    "which was 6.00ms in syscall pread at main.(*Cache).fill:14; 4.20ms running.");
	buf_clear(&b);
	why_path_text(&p, &s, 2, &b);
	assert_string_equal(b.data, "waiting for mutex held by a goroutine in main.(*Cache).fill (inferred) > in syscall pread at main.(*Cache).fill:14");
	buf_done(&b);
	gosyms_done(&s);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

/* The thread of the goroutines below is 5, of which the kernel tells: on a CPU, taken off it, blocked, in a call for the disk. */
static struct kview *made_kernel(void)
{
	struct err err = ERR_INIT;
	struct kview *kv = NULL;
	struct mkkernel k;
	char dir[64];

	snprintf(dir, sizeof(dir), "/tmp/gander-why-XXXXXX");
	assert_non_null(mkdtemp(dir));
	mk_open(&k, dir, 0);
	mk_call_class(&k, 0, "fsync");
	mk_switch(&k, 0, 1000, 0, 0, 5);
	mk_switch(&k, 0, 1100, 5, 256, 77); /* 77 has its CPU from 1100 to 1160 */
	mk_switch(&k, 0, 1160, 77, 1, 5);
	mk_switch(&k, 0, 1200, 5, 2, 0); /* a page fault: blocked until 1230 */
	mk_wake(&k, MK_WAKING, 0, 1230, 0, 5, 0);
	mk_switch(&k, 0, 1235, 0, 0, 5);
	mk_enter(&k, 0, 1310, 5, 0);
	mk_switch(&k, 0, 1320, 5, 2, 0); /* the disk, until 1380; no CPU until 1400 */
	mk_wake(&k, MK_WAKING, 0, 1380, 0, 5, 0);
	mk_switch(&k, 0, 1400, 0, 0, 5);
	mk_leave(&k, 0, 1410, 5, 0, 0);
	mk_switch(&k, 0, 1600, 5, 1, 0);
	mk_wake(&k, MK_WAKING, 0, 1650, 0, 5, 0); /* woken to run goroutine 1, and has a CPU at 1690 */
	mk_switch(&k, 0, 1690, 0, 0, 5);
	mk_switch(&k, 0, 3000, 5, 1, 0);
	mk_close(&k);
	if (kview_open(&kv, dir, &err) < 0)
		fail_msg("%s", err.text);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return kv;
}

static void with_the_kernels_view(void **state)
{
	struct kview *kv = made_kernel();
	struct buf text = BUF_INIT;
	struct trace x;
	uint32_t call;

	open_trace(&x);
	sync_at(&x, 1000);
	proc(&x, 1001, 0, UNDET, GANDER_GOTRACE_PROC_RUNNING);
	proc(&x, 1002, 1, UNDET, GANDER_GOTRACE_PROC_IDLE);
	go(&x, 1003, 1, UNDET, RUN, -1);
	go(&x, 1300, 1, RUN, CALL, 1);
	go(&x, 1420, 1, CALL, RUN, 1);
	go(&x, 1500, 1, RUN, WAIT, 1);
	go(&x, 1640, 1, WAIT, READY, -1);
	go(&x, 1700, 1, READY, RUN, -1);
	sync_at(&x, 2000);
	gopath_done(&x.p);
	assert_int_equal(gopath_init(&x.p), 0);
	x.p.kernel = kv;
	assert_int_equal(gopath_walk(&x.p, &x.t, 1, gostays_now(&x.t, gostate_goro(&x.s, 1)), 1000, 2000), 0);
	check_sums(&x.p, 1000, 2000);
	assert_int_equal(ns_of(&x.p, 0, WHY_FAULT), 30);
	assert_int_equal(ns_of(&x.p, 0, WHY_RUNNING), 300 - 60 - 30 - 5 + 80 + 300);
	assert_int_equal(ns_of(&x.p, 0, WHY_WAIT), 140);
	assert_int_equal(ns_of(&x.p, 0, WHY_WAKING), 60 - 40);
	call = child(&x.p, 0, WHY_SYSCALL);
	assert_int_equal(x.p.node[call].ns, 120 - 20);
	assert_int_equal(x.p.node[call].flags & WHY_DISK, WHY_DISK);
	why_phrase(&x.syms, &x.p.node[call], 0, &text);
	assert_string_equal(text.data, "in syscall fsync (in state D: the disk)");
	buf_clear(&text);
	why_sentence(&x.p, &x.syms, &text);
	{
		uint64_t without = 0;
		bool named = false;

		for (call = x.p.node[0].first; call; call = x.p.node[call].next)
			if (x.p.node[call].kind == WHY_NO_CPU) {
				without += x.p.node[call].ns;
				named |= !strcmp(gosyms_text(&x.syms, x.p.node[call].reason), "t77") && x.p.node[call].ns == 60 + 5; /* named is who had it most */
			}
		assert_int_equal(without, 60 + 5 + 20 + 40);
		assert_true(named);
	}
	buf_done(&text);
	close_trace(&x);
	kview_free(kv);
}

static void across_processes(void **state)
{
	struct trace here, there;
	struct why_remote r = { .g = 1, .from_ns = 100, .to_ns = 500, .begin_ns = 150, .end_ns = 450, .pid = 4711 };
	struct buf text = BUF_INIT;
	uint32_t w, way;
	unsigned round;

	open_trace(&there);
	sync_at(&there, 0);
	go(&there, 1, 9, UNDET, RUN, -1);
	go(&there, 200, 9, RUN, CALL, 9);
	go(&there, 400, 9, CALL, RUN, 9);
	sync_at(&there, 600);
	walk(&there, 9, 150, 450);

	open_trace(&here);
	sync_at(&here, 0);
	go(&here, 1, 1, UNDET, RUN, -1);
	go(&here, 100, 1, RUN, WAIT, 1);
	/* without a reader there is no reason: it is given to the stay */
	here.t.stay[here.t.n - 1].reason = gosyms_string(&here.syms, "network");
	go(&here, 500, 1, WAIT, READY, -1);
	go(&here, 510, 1, READY, RUN, -1);
	sync_at(&here, 600);
	r.path = &there.p;
	r.name = gosyms_string(&here.syms, "back.request");
	for (round = 0; round < 3; round++) {
		gopath_clear(&here.p);
		here.p.remote = &r;
		here.p.nremote = 1;
		/* only this very wait, and only what lies in it */
		r.begin_ns = round == 1 ? 90 : 150;
		r.to_ns = round == 2 ? 501 : 500;
		assert_int_equal(gopath_walk(&here.p, &here.t, 1, gostays_now(&here.t, gostate_goro(&here.s, 1)), 50, 600), 0);
		check_sums(&here.p, 50, 600);
		w = child(&here.p, 0, WHY_NETWORK);
		assert_int_equal(here.p.node[w].ns, 400);
		if (round) {
			assert_int_equal(here.p.node[w].first, 0);
			continue;
		}
		way = child(&here.p, w, WHY_NETWORK);
		assert_int_equal(here.p.node[way].ns, 50 + 50);
		assert_int_equal(here.p.node[way].flags, WHY_WAY);
		assert_int_equal(ns_of(&here.p, w, WHY_SYSCALL), 200);
		assert_int_equal(ns_of(&here.p, w, WHY_RUNNING), 100);
		assert_int_equal(here.p.node[child(&here.p, w, WHY_SYSCALL)].pid, 4711);
		why_phrase(&here.syms, &here.p.node[w], 0, &text);
		assert_string_equal(text.data, "waiting for back.request in process 4711");
	}
	/* trees join */
	gopath_clear(&there.p);
	here.p.remote = NULL;
	here.p.nremote = 0;
	assert_int_equal(gopath_add(&there.p, &here.p), 0);
	assert_int_equal(gopath_add(&there.p, &here.p), 0);
	assert_int_equal(gopath_check(&there.p), 0);
	assert_int_equal(there.p.node[0].ns, 2 * 550);
	assert_int_equal(there.p.n, here.p.n);
	buf_done(&text);
	close_trace(&here);
	close_trace(&there);
}

/* A tree that is full says so, and its sums are exact. */
static void more_hops_than_the_tree_takes(void **state)
{
	struct trace x;
	int64_t t = 10;
	uint32_t i, full = 0;

	open_trace(&x);
	sync_at(&x, 0);
	go(&x, 1, 1, UNDET, RUN, -1);
	go(&x, 2, 2, UNDET, RUN, -1);
	for (i = 0; i < WHY_NODES_MAX + 5000; i++) {
		go(&x, t += 10, 1, RUN, WAIT, 1);
		x.t.stay[gostays_now(&x.t, gostate_goro(&x.s, 1))].stack = i + 1; /* each another place */
		go(&x, t += 10, 1, WAIT, READY, 2);
		go(&x, t += 10, 1, READY, RUN, -1);
	}
	walk(&x, 1, 0, t + 10);
	assert_true(x.p.n <= WHY_NODES_MAX * 2 + 2);
	assert_true(x.p.hops_left_out > 0);
	for (i = 1; i < x.p.n; i++)
		full += x.p.node[i].kind == WHY_OTHER;
	assert_true(full > 0);
	close_trace(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_is_what_its_waker_did),
		cmocka_unit_test(before_it_was_made_it_was_its_maker),
		cmocka_unit_test(runnable_is_divided),
		cmocka_unit_test(a_chain_without_end),
		cmocka_unit_test(any_events_at_all),
		cmocka_unit_test(forgetting_changes_nothing),
		cmocka_unit_test(names_of_locks_and_calls),
		cmocka_unit_test(in_words),
		cmocka_unit_test(a_lock_handed_on),
		cmocka_unit_test(with_the_kernels_view),
		cmocka_unit_test(across_processes),
		cmocka_unit_test(more_hops_than_the_tree_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
