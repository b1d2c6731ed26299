#include "analyze/gopath.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const why_kind_name[WHY_KINDS] = { "span", "running", "runnable_no_p", "runnable_waking", "no_cpu", "fault", "gc_assist", "gc_sweep", "stop_the_world", "syscall",
					       "network", "channel", "select", "mutex", "sync", "sleep", "gc", "wait", "creation", "gone", "unknown", "other" };

int gopath_init(struct gopath *p)
{
	memset(p, 0, sizeof(*p));
	p->cap = 64;
	p->node = calloc(p->cap, sizeof(*p->node));
	if (!p->node)
		return -ENOMEM;
	p->n = 1;
	p->node[0].g = p->node[0].by = -1;
	return 0;
}

void gopath_done(struct gopath *p)
{
	free(p->node);
	free(p->hop);
	map_done(&p->index);
	memset(p, 0, sizeof(*p));
}

void gopath_clear(struct gopath *p)
{
	map_done(&p->index);
	memset(p->node, 0, sizeof(*p->node));
	p->node[0].g = p->node[0].by = -1;
	p->n = 1;
	p->nhop = 0;
	p->hops_left_out = p->walks = p->steps = 0;
	p->failed = false;
}

/* What is the same is one node: everything but who and when. */
static bool same(const struct why_node *a, const struct why_node *b)
{
	return a->parent == b->parent && a->kind == b->kind && a->flags == b->flags && a->stack == b->stack && a->reason == b->reason &&
	       a->by_stack == b->by_stack && a->func == b->func && a->by_func == b->by_func && a->pid == b->pid;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/* The node of this hop, made when there is none; UINT32_MAX: out of memory. */
static uint32_t node_of(struct gopath *p, const struct why_node *like)
{
	uint64_t h = mix(mix(mix(mix(1, (uint64_t)like->parent << 32 | like->stack), (uint64_t)like->reason << 32 | like->by_stack),
			     (uint64_t)like->func << 32 | like->by_func),
			 (uint64_t)like->pid << 16 | (uint64_t)like->kind << 8 | like->flags);
	struct why_node *x;
	uint64_t *at;
	bool added;

	for (;; h++) {
		at = map_put(&p->index, h, &added);
		if (!at)
			goto oom;
		if (added)
			break;
		if (same(&p->node[*at], like))
			return (uint32_t)*at;
	}
	if (p->n >= WHY_NODES_MAX && like->kind != WHY_OTHER) {
		struct why_node other = { .parent = like->parent, .kind = WHY_OTHER, .g = -1, .by = -1 };
		uint32_t i;

		map_del(&p->index, h);
		i = node_of(p, &other);
		return i;
	}
	if (p->n == p->cap) {
		uint32_t cap = p->cap * 2;

		x = realloc(p->node, (size_t)cap * sizeof(*x));
		if (!x) {
			map_del(&p->index, h);
			goto oom;
		}
		p->node = x;
		p->cap = cap;
	}
	*at = p->n;
	x = &p->node[p->n];
	*x = *like;
	x->first = x->last = x->next = 0;
	x->ns = x->count = x->longest_ns = 0;
	if (p->node[like->parent].last)
		p->node[p->node[like->parent].last].next = p->n;
	else
		p->node[like->parent].first = p->n;
	p->node[like->parent].last = p->n;
	return p->n++;
oom:
	p->failed = true;
	return UINT32_MAX;
}

static uint32_t add(struct gopath *p, const struct why_node *like, int64_t from, int64_t to)
{
	uint64_t ns = (uint64_t)to - (uint64_t)from;
	uint32_t i = node_of(p, like);
	struct why_node *x;

	if (i == UINT32_MAX)
		return i;
	x = &p->node[i];
	if (x->count) {
		x->several |= x->g != like->g;
		x->by_several |= x->by != like->by;
	}
	if (!x->count || ns > x->longest_ns) {
		x->longest_ns = ns;
		x->at_ns = from;
		x->g = like->g;
		x->by = like->by;
	}
	x->ns += ns;
	x->count++;
	return i;
}

static void put_hop(struct gopath *p, uint32_t node, int64_t g, int64_t from, int64_t to, int32_t thread)
{
	if (p->nhop == WHY_HOPS_MAX) {
		p->hops_left_out++;
		return;
	}
	if (p->nhop == p->hop_cap) {
		uint32_t cap = p->hop_cap ? p->hop_cap * 2 : 256;
		struct why_hop *hop = realloc(p->hop, (size_t)cap * sizeof(*hop));

		if (!hop) {
			p->failed = true;
			return;
		}
		p->hop = hop;
		p->hop_cap = cap;
	}
	p->hop[p->nhop++] = (struct why_hop) { from, to, g, node, thread };
}

/* A hop that is not followed further. */
static void leaf(struct gopath *p, const struct why_node *like, int64_t from, int64_t to, int32_t thread)
{
	uint32_t i;

	if (to <= from)
		return;
	i = add(p, like, from, to);
	if (i != UINT32_MAX)
		put_hop(p, i, like->g, from, to, thread);
}

/* A hop that another goroutine's time explains: its node, UINT32_MAX when the tree is full (then the hop is a leaf) or memory is out. */
static uint32_t branch(struct gopath *p, const struct why_node *like, int64_t from, int64_t to)
{
	uint32_t i = add(p, like, from, to);

	if (i != UINT32_MAX && p->node[i].kind == WHY_OTHER) {
		put_hop(p, i, like->g, from, to, -1);
		return UINT32_MAX;
	}
	return i;
}

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

const char *why_lock_name(const struct gosyms *s, uint32_t stack)
{
	static const struct {
		const char *func, *name;
	} locks[] = {
		{ "sync.(*Mutex).", "mutex" },
		{ "sync.(*RWMutex).RLock", "rwmutex, to read" },
		{ "sync.(*RWMutex).", "rwmutex" },
		{ "sync.(*WaitGroup).", "waitgroup" },
		{ "sync.(*Cond).", "condition" },
		{ "sync.(*Once).", "once" },
		{ "sync.(*Pool).", "pool" },
		{ "sync.(*Map).", "map" },
	};
	unsigned i, n = gosyms_depth(s, stack);
	const char *name = NULL;
	size_t k;

	/* the outermost of the frames that belong to the lock: a Once has a Mutex in it */
	for (i = 0; i < n; i++) {
		const char *f = gosyms_text(s, gosyms_frame(s, stack, i).func);

		if (starts(f, "runtime.") || starts(f, "internal/"))
			continue;
		if (!starts(f, "sync."))
			break;
		for (k = 0; k < sizeof(locks) / sizeof(*locks); k++)
			if (starts(f, locks[k].func)) {
				name = locks[k].name;
				break;
			}
	}
	return name;
}

void why_syscall_name(const struct gosyms *s, uint32_t stack, struct buf *out)
{
	static const char *const packages[] = { "syscall.", "golang.org/x/sys/unix.", "internal/syscall/unix.", "internal/runtime/syscall.",
						"internal/runtime/syscall/linux.", "runtime/internal/syscall." };
	unsigned i, n = gosyms_depth(s, stack);
	const char *name;
	size_t k;

	for (i = 0; i < n; i++) {
		const char *f = gosyms_text(s, gosyms_frame(s, stack, i).func), *c = strstr(f, "._Cfunc_");

		if (c) {
			buf_printf(out, "C.%s", c + strlen("._Cfunc_"));
			return;
		}
		if (starts(f, "runtime.") && !starts(f, "runtime/internal"))
			continue;
		if (starts(f, "modernc.org/libc.")) { /* C's library in Go: Xfsync, X__clock_nanosleep, over ___syscall_cp */
			name = f + strlen("modernc.org/libc.");
			if (*name != 'X' || strstr(name, "syscall"))
				continue;
			name += strspn(name, "X_");
			buf_puts(out, name);
			return;
		}
		for (k = 0; k < sizeof(packages) / sizeof(*packages); k++)
			if (starts(f, packages[k]))
				break;
		if (k == sizeof(packages) / sizeof(*packages))
			return;
		name = f + strlen(packages[k]);
		if (strstr(name, "yscall") || starts(name, "(") || starts(name, "runtime_"))
			continue; /* Syscall6, RawSyscall, rawVforkSyscall: how, not what */
		buf_putc(out, name[0] >= 'A' && name[0] <= 'Z' ? (char)(name[0] + 32) : name[0]);
		buf_puts(out, name + 1);
		return;
	}
}

static bool on_stack(const struct gosyms *s, uint32_t stack, const char *func)
{
	unsigned i, n = gosyms_depth(s, stack);

	for (i = 0; i < n && i < 8; i++)
		if (!strcmp(gosyms_text(s, gosyms_frame(s, stack, i).func), func))
			return true;
	return false;
}

/* The runtime's word for a wait as a kind. */
static enum why_kind kind_of_wait(const struct gosyms *s, uint32_t reason, uint32_t stack)
{
	static const struct {
		const char *reason;
		enum why_kind kind;
	} kinds[] = {
		{ "network", WHY_NETWORK },
		{ "sleep", WHY_SLEEP },
		{ "select", WHY_SELECT },
		{ "chan send", WHY_CHANNEL },
		{ "chan receive", WHY_CHANNEL },
		{ "sync.(*Cond).Wait", WHY_SYNC },
		{ "GC mark assist wait for work", WHY_ASSIST },
		{ "wait until GC ends", WHY_GC },
		{ "GC background sweeper wait", WHY_GC },
		{ "preempted", WHY_GC },
	};
	const char *text = gosyms_text(s, reason), *lock;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(text, kinds[i].reason))
			return kinds[i].kind;
	if (on_stack(s, stack, "runtime.gcStart"))
		return WHY_GC;
	lock = why_lock_name(s, stack);
	if (lock && (!strcmp(lock, "mutex") || starts(lock, "rwmutex")))
		return WHY_MUTEX;
	return lock || !strcmp(text, "sync") ? WHY_SYNC : WHY_WAIT;
}

struct frame {
	uint32_t node, stay;
	int64_t g, from, to, end; /* to: what is left; end: where it began */
	int32_t next_thread;      /* that it ran on after what is left, -1: not known */
};

struct walk {
	struct gopath *p;
	const struct gostays *t;
	const struct gosyms *syms;
	struct frame *frame;
	uint32_t depth, cap;
};

static void push(struct walk *w, uint32_t node, uint32_t stay, int64_t g, int64_t from, int64_t to)
{
	if (w->depth == w->cap) {
		uint32_t cap = w->cap ? w->cap * 2 : 64;
		struct frame *f = realloc(w->frame, cap * sizeof(*f));

		if (!f) {
			w->p->failed = true;
			return;
		}
		w->frame = f;
		w->cap = cap;
	}
	w->frame[w->depth++] = (struct frame) { node, stay, g, from, to, to, -1 };
}

static uint32_t func_of(const struct walk *w, const struct stay *x)
{
	struct goro *g;

	if (x->func)
		return x->func;
	g = gostate_goro(w->t->s, x->g);
	return g ? g->func : 0;
}

#define LOOK_BACK 2000u /* stays */
#define LOOK_MIN  20000 /* ns: for less it is not asked */

/* What ran while this one could not: the goroutine whose function had most of the Ps' time, as far as the last stays before `to` show. */
static void who_ran(struct walk *w, struct why_node *like, int64_t from, int64_t to)
{
	const struct gostays *t = w->t;
	struct {
		uint32_t func, stack;
		int64_t g;
		uint64_t ns, longest;
	} ran[16] = { 0 };
	uint32_t low = 0, high = t->n, i, k, n = 0, best = 0;

	if (to - from < LOOK_MIN || w->p->steps > WHY_STEPS_MAX)
		return;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (t->stay[mid].start_ns < to)
			low = mid + 1;
		else
			high = mid;
	}
	for (i = low; i-- > 0 && low - i < LOOK_BACK;) {
		const struct stay *x = &t->stay[i];
		int64_t a = x->start_ns > from ? x->start_ns : from, b = x->end_ns == GO_NEVER || x->end_ns > to ? to : x->end_ns;
		uint32_t func;

		w->p->steps++;
		if (x->state != GANDER_GOTRACE_GO_RUNNING || b <= a)
			continue;
		func = func_of(w, x);
		for (k = 0; k < n && ran[k].func != func; k++)
			;
		if (k == 16)
			continue;
		n += k == n;
		ran[k].func = func;
		ran[k].ns += (uint64_t)(b - a);
		if ((uint64_t)(b - a) > ran[k].longest) {
			ran[k].longest = (uint64_t)(b - a);
			ran[k].g = x->g;
			ran[k].stack = x->end_ns != GO_NEVER && x->end_stack ? x->end_stack : x->stack;
		}
	}
	for (k = 1; k < n; k++)
		if (ran[k].ns > ran[best].ns)
			best = k;
	if (n) {
		like->by = ran[best].g;
		like->by_func = ran[best].func;
		like->by_stack = ran[best].stack;
	}
}

/* Runnable: what of it fell into a stop of the world, and of the rest, for how long a P was idle. Backwards, as all. */
static void runnable(struct walk *w, struct why_node *like, int64_t from, int64_t to, int32_t thread)
{
	const struct gostays *t = w->t;
	uint32_t low = 0, high = t->nstop;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (t->stop[mid].start_ns < to)
			low = mid + 1;
		else
			high = mid;
	}
	while (to > from) {
		const struct gostop *stop = NULL;
		int64_t a = from, end = 0;
		uint64_t idle;

		if (low) {
			stop = &t->stop[low - 1];
			end = stop->end_ns == GO_NEVER || stop->end_ns > to ? to : stop->end_ns;
			if (end <= from)
				stop = NULL;
			else
				a = end;
		}
		if (to > a && w->p->kernel && thread >= 0) {
			struct kview_go_split k;
			struct why_node no = *like;

			kview_split_go(w->p->kernel, KVIEW_GO_RUNNABLE, thread, a, to, &k);
			if (k.wait_cpu_ns <= (uint64_t)(to - a)) {
				no.kind = WHY_NO_CPU;
				leaf(w->p, &no, to - (int64_t)k.wait_cpu_ns, to, thread);
				to -= (int64_t)k.wait_cpu_ns;
			}
		}
		if (to > a) {
			idle = gostays_idle_ns(t, a, to);
			if (idle > (uint64_t)(to - a))
				idle = (uint64_t)(to - a);
			like->kind = WHY_WAKING;
			leaf(w->p, like, to - (int64_t)idle, to, thread);
			if ((int64_t)idle < to - a) {
				struct why_node busy = *like;

				busy.kind = WHY_NO_P;
				who_ran(w, &busy, a, to - (int64_t)idle);
				leaf(w->p, &busy, a, to - (int64_t)idle, thread);
			}
			to = a;
		}
		if (stop) {
			struct why_node by = *like;

			a = stop->start_ns > from ? stop->start_ns : from;
			by.kind = WHY_STW;
			by.reason = stop->name;
			by.by = stop->g;
			by.by_stack = stop->stack;
			leaf(w->p, &by, a, to, thread);
			if (a < to)
				to = a;
			low--;
		}
	}
}

/* What the kernel says of a thread's time takes its parts out of the hop. Which come first inside of it is not kept. */
static int64_t without_cpu(struct walk *w, const struct why_node *like, int64_t from, int64_t to, int32_t thread, struct kview_split *k)
{
	struct why_node no = *like;

	memset(k, 0, sizeof(*k));
	if (!w->p->kernel || thread < 0 || to <= from)
		return to;
	kview_split(w->p->kernel, thread, from, to, k);
	if (!k->ready_ns || k->ready_ns > (uint64_t)(to - from))
		return to;
	no.kind = WHY_NO_CPU;
	no.flags = 0;
	no.reason = k->ninstead && k->instead[0].tid > 0 ? gosyms_string(w->t->s->syms, k->instead[0].comm) : 0;
	leaf(w->p, &no, to - (int64_t)k->ready_ns, to, thread);
	return to - (int64_t)k->ready_ns;
}

/* On a P. */
static void running(struct walk *w, struct why_node *like, int64_t from, int64_t to, int32_t thread)
{
	struct kview_split k;
	struct why_node fault = *like;

	to = without_cpu(w, like, from, to, thread, &k);
	if (k.blocked_ns && k.blocked_ns <= (uint64_t)(to - from)) {
		fault.kind = WHY_FAULT;
		leaf(w->p, &fault, to - (int64_t)k.blocked_ns, to, thread);
		to -= (int64_t)k.blocked_ns;
	}
	leaf(w->p, like, from, to, thread);
}

static void in_syscall(struct walk *w, struct why_node *like, int64_t from, int64_t to, int32_t thread)
{
	struct kview_split k;

	to = without_cpu(w, like, from, to, thread, &k);
	if (k.nblocked && k.blocked_in[0].call >= 0)
		like->reason = gosyms_string(w->t->s->syms, kview_call_name(w->p->kernel, k.blocked_in[0].call));
	if (k.uninterruptible_ns > (uint64_t)(to - from) / 2)
		like->flags |= WHY_DISK;
	leaf(w->p, like, from, to, thread);
}

/* A wait for the network that a span in another process explains. */
static bool elsewhere(struct walk *w, const struct why_node *like, int64_t from, int64_t to)
{
	const struct gopath *p = w->p;
	const struct why_remote *r;
	struct why_node node = *like;
	uint32_t low = 0, high = p->nremote, i;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		r = &p->remote[mid];
		if (r->g < like->g || (r->g == like->g && r->from_ns < from))
			low = mid + 1;
		else
			high = mid;
	}
	r = low < p->nremote ? &p->remote[low] : NULL;
	if (!r || r->g != like->g || r->from_ns != from || r->to_ns != to || r->begin_ns < from || r->end_ns > to || r->begin_ns > r->end_ns ||
	    r->path->node[0].ns != (uint64_t)(r->end_ns - r->begin_ns))
		return false;
	node.flags |= WHY_REMOTE;
	node.reason = r->name;
	node.by = (int64_t)r->pid;
	i = branch(w->p, &node, from, to);
	if (i == UINT32_MAX)
		return true;
	node = *like;
	node.parent = i;
	node.flags = WHY_WAY;
	leaf(w->p, &node, r->end_ns, to, -1);
	gopath_import(w->p, i, r->path, r->pid);
	leaf(w->p, &node, from, r->begin_ns, -1);
	return true;
}

static uint32_t stop_at(const struct gostays *t, int64_t g, int64_t at)
{
	uint32_t i;

	for (i = t->nstop; i-- > 0;)
		if (t->stop[i].start_ns <= at && t->stop[i].g == g)
			return t->stop[i].name;
	return 0;
}

/* One stay of frame f, from..to of it. May push a frame. */
static void stay(struct walk *w, uint32_t depth, const struct stay *x, int64_t from, int64_t to)
{
	struct why_node like = { .parent = w->frame[depth].node, .g = x->g, .by = -1, .func = func_of(w, x), .stack = x->stack };
	const struct stay *by = x->waker != STAY_NONE && !(x->flags & STAY_MADE) ? &w->t->stay[x->waker] : NULL;
	bool ended, follow;
	uint32_t node;

	switch (x->state) {
	case GANDER_GOTRACE_GO_RUNNING:
		if (x->end_ns != GO_NEVER && x->end_stack)
			like.stack = x->end_stack;
		else if (!like.stack && x->prev != STAY_NONE)
			like.stack = w->t->stay[x->prev].stack;
		like.kind = x->flags & STAY_STW ? WHY_STW : x->flags & STAY_ASSIST ? WHY_ASSIST
						    : x->flags & STAY_SWEEP        ? WHY_SWEEP
										   : WHY_RUNNING;
		if (like.kind == WHY_STW) {
			like.reason = stop_at(w->t, x->g, from);
			like.by = x->g;
		}
		w->frame[depth].next_thread = x->thread;
		running(w, &like, from, to, x->thread);
		return;
	case GANDER_GOTRACE_GO_RUNNABLE:
		runnable(w, &like, from, to, w->frame[depth].next_thread);
		return;
	case GANDER_GOTRACE_GO_SYSCALL:
		like.kind = WHY_SYSCALL;
		in_syscall(w, &like, from, to, x->thread);
		return;
	case GANDER_GOTRACE_GO_WAITING:
		break;
	default:
		like.kind = WHY_UNKNOWN;
		leaf(w->p, &like, from, to, -1);
		return;
	}
	like.reason = x->reason;
	if (x->flags & STAY_SEEN && !x->reason)
		like.flags = WHY_OPEN;
	like.kind = x->flags & STAY_ASSIST ? WHY_ASSIST : kind_of_wait(w->syms, x->reason, x->stack);
	/* inside of another wait only what was over before that one was: so the walk goes back in time with every step */
	ended = x->end_ns != GO_NEVER && (depth ? x->end_ns < w->frame[depth].end : x->end_ns <= w->frame[depth].end);
	follow = ended && by && like.kind != WHY_NETWORK && like.kind != WHY_SLEEP && like.kind != WHY_ASSIST && like.kind != WHY_GC;
	if (!ended)
		like.flags |= WHY_UNENDED;
	else if (!by && like.kind != WHY_NETWORK && like.kind != WHY_SLEEP)
		like.flags |= WHY_TIMER;
	if (follow) {
		like.by = by->g;
		like.by_stack = x->end_stack;
		like.by_func = func_of(w, by);
		if (like.kind == WHY_MUTEX)
			like.flags |= WHY_INFERRED;
		if (depth + 1 >= WHY_DEPTH_MAX || w->p->steps > WHY_STEPS_MAX) {
			follow = false;
			like.flags |= WHY_TOO_DEEP;
		}
	}
	if (like.kind == WHY_NETWORK && elsewhere(w, &like, from, to))
		return;
	if (!follow) {
		leaf(w->p, &like, from, to, -1);
		return;
	}
	node = branch(w->p, &like, from, to);
	if (node != UINT32_MAX)
		push(w, node, x->waker, by->g, from, to);
}

int gopath_walk(struct gopath *p, const struct gostays *t, int64_t g, uint32_t last, int64_t from, int64_t to)
{
	struct walk w = { .p = p, .t = t, .syms = t->s->syms };
	const struct stay *stays = t->stay;

	if (to < from)
		to = from;
	p->node[0].ns += (uint64_t)to - (uint64_t)from;
	p->node[0].count++;
	p->walks++;
	p->node[0].g = g;
	p->steps = 0;
	push(&w, 0, last, g, from, to);
	while (w.depth && !p->failed) {
		uint32_t depth = w.depth - 1;
		struct frame *f = &w.frame[depth];
		struct why_node like = { .parent = f->node, .g = f->g, .by = -1, .kind = WHY_UNKNOWN };
		const struct stay *x;
		int64_t a, b;

		p->steps++;
		if (f->to <= f->from) {
			w.depth--;
			continue;
		}
		if (f->stay == STAY_NONE) {
			leaf(p, &like, f->from, f->to, -1);
			w.depth--;
			continue;
		}
		x = &stays[f->stay];
		if (x->start_ns >= f->to && (x->prev != STAY_NONE || !(x->flags & STAY_MADE))) {
			f->stay = x->prev;
			continue;
		}
		b = x->end_ns == GO_NEVER || x->end_ns > f->to ? f->to : x->end_ns;
		if (b < f->from)
			b = f->from;
		if (b < f->to && x->start_ns < f->to) { /* nothing is known of it from b on: it had ended */
			like.kind = WHY_GONE;
			like.func = func_of(&w, x);
			leaf(p, &like, b, f->to, -1);
			f->to = b;
			continue;
		}
		a = x->start_ns > f->from ? x->start_ns : f->from;
		if (x->start_ns < f->to) {
			f->to = a;
			if (x->prev != STAY_NONE)
				f->stay = x->prev;
			else if (!(x->flags & STAY_MADE))
				f->stay = STAY_NONE;
			stay(&w, depth, x, a, b); /* f is no longer good: the frames may have moved */
			continue;
		}
		/* it was made here: before, the time is that of who made it */
		like.kind = WHY_CREATION;
		like.func = func_of(&w, x);
		a = f->from;
		b = f->to;
		f->to = a;
		if (x->waker == STAY_NONE || depth + 1 >= WHY_DEPTH_MAX) {
			like.flags = x->waker == STAY_NONE ? WHY_TIMER : WHY_TOO_DEEP;
			leaf(p, &like, a, b, -1);
		} else {
			uint32_t node;

			like.by = stays[x->waker].g;
			like.by_func = func_of(&w, &stays[x->waker]);
			like.by_stack = x->end_stack;
			node = branch(p, &like, a, b);
			if (node != UINT32_MAX)
				push(&w, node, x->waker, like.by, a, b);
		}
	}
	free(w.frame);
	return p->failed ? -ENOMEM : 0;
}

void gopath_continue(struct gopath *p)
{
	p->node[0].count--;
	p->walks--;
}

static int last_first(const void *a, const void *b)
{
	const struct why_hop *x = a, *y = b;

	return x->start_ns < y->start_ns ? 1 : x->start_ns > y->start_ns ? -1
									 : 0;
}

void gopath_sort_hops(struct gopath *p)
{
	if (p->nhop > 1)
		qsort(p->hop, p->nhop, sizeof(*p->hop), last_first);
}

int gopath_unknown(struct gopath *p, int64_t g, int64_t from, int64_t to)
{
	struct why_node like = { .kind = WHY_UNKNOWN, .g = g, .by = -1 };

	if (to > from) {
		p->node[0].ns += (uint64_t)to - (uint64_t)from;
		leaf(p, &like, from, to, -1);
	}
	return p->failed ? -ENOMEM : 0;
}

int gopath_import(struct gopath *to, uint32_t under, const struct gopath *from, uint32_t pid)
{
	uint32_t *map = calloc(from->n, sizeof(*map)), i;

	if (!map) {
		to->failed = true;
		return -ENOMEM;
	}
	map[0] = under;
	for (i = 1; i < from->n && !to->failed; i++) {
		const struct why_node *f = &from->node[i];
		struct why_node like = *f, *x;
		bool first;

		like.parent = map[f->parent];
		/* under a hop that the full tree has taken for another, nothing more is told */
		if (f->parent && to->node[like.parent].kind == WHY_OTHER && from->node[f->parent].kind != WHY_OTHER) {
			map[i] = like.parent;
			continue;
		}
		if (!like.pid)
			like.pid = pid;
		map[i] = node_of(to, &like);
		if (map[i] == UINT32_MAX)
			break;
		x = &to->node[map[i]];
		first = !x->count;
		if (!first) {
			x->several |= f->several || x->g != f->g;
			x->by_several |= f->by_several || x->by != f->by;
		}
		if (first || f->longest_ns > x->longest_ns) {
			x->longest_ns = f->longest_ns;
			x->at_ns = f->at_ns;
			x->g = f->g;
			x->by = f->by;
		}
		x->ns += f->ns;
		x->count += f->count;
	}
	for (i = 0; i < from->nhop && !to->failed; i++)
		put_hop(to, map[from->hop[i].node], from->hop[i].g, from->hop[i].start_ns, from->hop[i].end_ns, from->hop[i].thread);
	to->hops_left_out += from->hops_left_out;
	free(map);
	return to->failed ? -ENOMEM : 0;
}

int gopath_add(struct gopath *to, const struct gopath *from)
{
	to->node[0].ns += from->node[0].ns;
	to->node[0].count += from->node[0].count;
	to->node[0].g = from->node[0].g;
	to->walks += from->walks;
	return gopath_import(to, 0, from, 0);
}

uint32_t gopath_check(const struct gopath *p)
{
	uint32_t i, c;

	for (i = 0; i < p->n; i++) {
		uint64_t sum = 0;

		if (!p->node[i].first) {
			if (!i && p->node[0].ns)
				return 1;
			continue;
		}
		for (c = p->node[i].first; c; c = p->node[c].next)
			sum += p->node[c].ns;
		if (sum != p->node[i].ns)
			return i + 1;
	}
	return 0;
}
