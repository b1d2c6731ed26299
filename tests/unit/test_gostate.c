#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "analyze/goanalysis.h"
#include "analyze/godiff.h"
#include "analyze/stacktab.h"

#include <stdlib.h>
#include <string.h>

/* Events made by hand, without a trace: no names but those of the symbols below, no stacks. */
struct seen {
	struct gospan span[64];
	int64_t g[64];
	unsigned n, gone, gone_at_end;
	struct goro_parts parts[8];
};

static void on_span(void *ctx, const struct gospan *sp)
{
	struct seen *s = ctx;

	assert_true(s->n < 64);
	s->g[s->n] = sp->g->id;
	s->span[s->n++] = *sp;
}

static void on_gone(void *ctx, struct goro *g, bool at_end)
{
	struct seen *s = ctx;

	if (g->id < 8)
		s->parts[g->id] = g->parts;
	s->gone++;
	s->gone_at_end += at_end;
}

static void sync_event(struct gostate *s, int64_t t)
{
	struct gander_gotrace_event ev = { .time_ns = t, .kind = GANDER_GOTRACE_SYNC, .thread = -1, .proc = -1, .goroutine = -1 };

	gostate_event(s, &ev);
}

static void go(struct gostate *s, int64_t t, int64_t id, unsigned from, unsigned to, int64_t by, int64_t proc, int64_t thread)
{
	struct gander_gotrace_event ev = { .time_ns = t, .kind = GANDER_GOTRACE_STATE_TRANSITION, .thread = thread, .proc = proc, .goroutine = by };

	ev.transition.id = id;
	ev.transition.resource = GANDER_GOTRACE_RES_GOROUTINE;
	ev.transition.from = (uint8_t)from;
	ev.transition.to = (uint8_t)to;
	gostate_event(s, &ev);
}

static void proc(struct gostate *s, int64_t t, int64_t id, unsigned from, unsigned to)
{
	struct gander_gotrace_event ev = { .time_ns = t, .kind = GANDER_GOTRACE_STATE_TRANSITION, .thread = 1, .proc = id, .goroutine = -1 };

	ev.transition.id = id;
	ev.transition.resource = GANDER_GOTRACE_RES_PROC;
	ev.transition.from = (uint8_t)from;
	ev.transition.to = (uint8_t)to;
	gostate_event(s, &ev);
}

enum { NONE = GANDER_GOTRACE_GO_NOT_EXIST,
       UNDET = GANDER_GOTRACE_GO_UNDETERMINED,
       READY = GANDER_GOTRACE_GO_RUNNABLE,
       RUN = GANDER_GOTRACE_GO_RUNNING,
       WAIT = GANDER_GOTRACE_GO_WAITING,
       CALL = GANDER_GOTRACE_GO_SYSCALL,
       P_RUN = GANDER_GOTRACE_PROC_RUNNING,
       P_IDLE = GANDER_GOTRACE_PROC_IDLE };

static void start(struct gostate *s, struct gosyms *syms, struct seen *seen, unsigned spans)
{
	struct gosink sink = { .ctx = seen, .spans = spans, .span = on_span, .gone = on_gone };

	memset(seen, 0, sizeof(*seen));
	assert_int_equal(gosyms_init(syms), 0);
	gostate_init(s, syms);
	assert_int_equal(gostate_add(s, &sink), 0);
	gostate_begin(s, NULL);
}

/* One goroutine through every state, with two Ps of which one idles for a while. */
static void a_life_in_spans(void **state)
{
	struct gosyms syms;
	struct gostate s;
	struct seen seen;

	start(&s, &syms, &seen, ~0u);
	sync_event(&s, 1000);
	proc(&s, 1001, 0, UNDET, P_RUN);
	proc(&s, 1002, 1, UNDET, P_IDLE);
	go(&s, 1010, 1, UNDET, RUN, -1, 0, 5); /* was running since the begin */
	go(&s, 1100, 2, NONE, READY, 1, 0, 5); /* goroutine 1 makes 2 */
	proc(&s, 1120, 1, P_IDLE, P_RUN);      /* idle for 20 of 2's wait */
	go(&s, 1150, 2, READY, RUN, -1, 1, 6); /* waited 50 */
	go(&s, 1200, 2, RUN, WAIT, 2, 1, 6);   /* ran 50 */
	go(&s, 1300, 2, WAIT, READY, 1, 0, 5); /* woken by 1 after 100 */
	go(&s, 1310, 2, READY, RUN, -1, 1, 6);
	go(&s, 1320, 2, RUN, CALL, 2, 1, 6);
	proc(&s, 1330, 1, P_RUN, P_IDLE);       /* the P is taken after 10 */
	go(&s, 1350, 2, CALL, READY, 2, -1, 6); /* 20 without it */
	go(&s, 1351, 2, READY, RUN, -1, 0, 6);
	go(&s, 1360, 2, RUN, NONE, 2, 0, 6);
	sync_event(&s, 2000);
	assert_int_equal(gostate_end(&s, NULL), 0);

	assert_int_equal(seen.gone, 2);
	assert_int_equal(seen.gone_at_end, 1);
	assert_int_equal(seen.parts[2].ns[GO_PART_RUN], 50 + 10 + 9);
	assert_int_equal(seen.parts[2].ns[GO_PART_SCHED], 50 + 10 + 1);
	assert_int_equal(seen.parts[2].ns[GO_PART_WAIT], 100);
	assert_int_equal(seen.parts[2].ns[GO_PART_SYSCALL], 10);
	assert_int_equal(seen.parts[2].ns[GO_PART_SYSCALL_OFF], 20);
	assert_int_equal(seen.parts[1].ns[GO_PART_RUN], 1000); /* from the first sync to the last event */

	assert_int_equal(seen.span[0].cause, GO_CAUSE_CREATED);
	assert_int_equal(seen.span[0].idle_ns, 20);
	assert_int_equal(seen.span[2].state, WAIT);
	assert_int_equal(seen.span[2].ended_by, 1);
	assert_int_equal(seen.span[3].cause, GO_CAUSE_UNBLOCKED);
	assert_int_equal(seen.span[3].idle_ns, 0);
	assert_int_equal(seen.span[5].off_ns, 20);
	assert_int_equal(seen.span[6].cause, GO_CAUSE_SYSCALL);
	assert_true(seen.span[seen.n - 1].open_start && seen.span[seen.n - 1].open_end);
	assert_int_equal(s.level_ns[GO_LEVEL_PROCS_IDLE], 1120 - 1002 + 2000 - 1330);
	assert_int_equal(s.any_idle_ns, 1120 - 1002 + 2000 - 1330);
	gostate_done(&s);
	gosyms_done(&syms);
}

/* What no runtime writes: states that contradict, ids that come again, ends without begins. Nothing may be lost or counted twice. */
static void contradictions_do_no_harm(void **state)
{
	struct gosyms syms;
	struct gostate s;
	struct seen seen;
	struct gander_gotrace_event ev = { .time_ns = 50, .kind = GANDER_GOTRACE_REGION_END, .thread = -1, .proc = -1, .goroutine = 77 };

	start(&s, &syms, &seen, ~0u);
	go(&s, 10, 1, RUN, WAIT, 1, 0, 5);   /* nobody said that it exists */
	go(&s, 20, 1, NONE, READY, 9, 0, 5); /* made again while it waits */
	go(&s, 30, 1, WAIT, WAIT, 1, 0, 5);
	go(&s, 40, 2, WAIT, NONE, -1, -1, -1);
	gostate_event(&s, &ev); /* the end of a region of nobody */
	proc(&s, 60, 3, P_RUN, 9);
	go(&s, 45, 1, READY, RUN, -1, 0, 5); /* back in time */
	assert_int_equal(gostate_end(&s, NULL), 0);
	assert_int_equal(seen.gone, 3);
	assert_int_equal(s.alive, 0);
	gostate_done(&s);
	gosyms_done(&syms);
}

/* Many goroutines one after the other take the memory of one. */
static void memory_is_that_of_the_living(void **state)
{
	struct gosyms syms;
	struct gostate s;
	struct seen seen;
	int64_t i;

	start(&s, &syms, &seen, 0);
	for (i = 1; i <= 100000; i++) {
		go(&s, 4 * i, i, NONE, READY, -1, -1, 1);
		go(&s, 4 * i + 1, i, READY, RUN, -1, 0, 1);
		go(&s, 4 * i + 2, i, RUN, WAIT, i, 0, 1);
		go(&s, 4 * i + 3, i, WAIT, NONE, i, 0, 1);
	}
	assert_int_equal(s.nchunk, 1);
	assert_true(s.goros.cap <= 16);
	assert_int_equal(s.peak, 1);
	assert_int_equal(gostate_end(&s, NULL), 0);
	gostate_done(&s);
	gosyms_done(&syms);
}

static void stacktab_keeps_stacks_and_reasons_apart(void **state)
{
	struct stacktab t = { 0 };
	uint32_t n, *order;
	struct hist_lean all = { 0 };

	stacktab_span(&t, 7, 1, 100, false);
	stacktab_span(&t, 7, 2, 5000, false);
	stacktab_span(&t, 900, 1, 50, false);
	stacktab_span(&t, 7, 1, 100, true);
	assert_int_equal(t.n, 3);
	order = stacktab_sorted(&t, &n);
	assert_int_equal(n, 3);
	assert_int_equal(t.ent[order[0]].sub, 2);
	assert_int_equal(st_total_ns(&t.ent[order[1]]), 200);
	assert_int_equal(t.ent[order[1]].hist.count, 1);
	stacktab_merge(&t, &all);
	assert_int_equal(all.count, 3);
	assert_int_equal(all.max, 5000);
	hist_lean_done(&all);
	free(order);
	stacktab_done(&t);
}

/* A load that is the same in both traces but for noise is no change; one that doubles is. */
static void diff_tells_noise_from_change(void **state)
{
	struct gosyms syms[3];
	struct gostate s[3];
	struct godiff *d[3];
	struct result r;
	unsigned i, changes;
	uint64_t seed = 1;
	int64_t t;

	for (i = 0; i < 3; i++) {
		assert_int_equal(gosyms_init(&syms[i]), 0);
		gostate_init(&s[i], &syms[i]);
		assert_int_equal(godiff_new(&d[i], &s[i]), 0);
		gostate_begin(&s[i], NULL);
		go(&s[i], 0, 1, NONE, READY, -1, -1, 1);
		for (t = 1000; t < 2000000000;) {
			int64_t run, rest;

			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			run = (int64_t)(seed >> 40) % 1000000 * (i == 2 ? 2 : 1);
			rest = 3000000 - run;
			go(&s[i], t, 1, READY, RUN, -1, 0, 1);
			go(&s[i], t + run, 1, RUN, WAIT, 1, 0, 1);
			go(&s[i], t + run + rest - 1000, 1, WAIT, READY, -1, 0, 1);
			t += run + rest;
		}
		assert_int_equal(gostate_end(&s[i], NULL), 0);
	}
	result_init(&r, &syms[1]);
	changes = godiff_report(d[0], d[1], 20, false, &r);
	assert_int_equal(result_rows(&r.table[0]), 0);
	changes = godiff_report(d[0], d[2], 20, false, &r);
	assert_true(changes > 0);
	assert_true(result_rows(&r.table[2]) >= 2); /* running more, waiting less */
	result_done(&r);
	for (i = 0; i < 3; i++) {
		godiff_free(d[i]);
		gostate_done(&s[i]);
		gosyms_done(&syms[i]);
	}
}

static void shorter_names(void **state)
{
	assert_string_equal(gosyms_short("net/http.(*conn).serve"), "http.(*conn).serve");
	assert_string_equal(gosyms_short("main.main"), "main.main");
	assert_string_equal(gosyms_short("a/b.F[c/d.T]"), "b.F[c/d.T]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_life_in_spans),
		cmocka_unit_test(contradictions_do_no_harm),
		cmocka_unit_test(memory_is_that_of_the_living),
		cmocka_unit_test(stacktab_keeps_stacks_and_reasons_apart),
		cmocka_unit_test(diff_tells_noise_from_change),
		cmocka_unit_test(shorter_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
