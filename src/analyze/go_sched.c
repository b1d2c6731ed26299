/* Scheduler latency: from "could run" to "runs", by what made the goroutine runnable, by its function, by the stack that woke it.
 * And the question behind it: were Ps idle meanwhile? Then the wait is the price of waking a thread; if all were busy, there
 * are more goroutines than Ps (or Ps than CPUs). */
#include "analyze/goanalysis.h"
#include "analyze/stacktab.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#define WORST 10

struct worst {
	int64_t g, start_ns, ended_by;
	uint64_t ns, idle_ns;
	uint32_t func, stack;
	uint8_t cause;
};

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	struct stacktab causes, funcs, stacks;
	uint32_t of_cause[GO_CAUSES]; /* in `causes`: index + 1 */
	struct hist_lean all;         /* of `causes`, once the trace is over */
	uint64_t idle_ns;
	struct worst worst[WORST]; /* longest first */
	unsigned nworst;
	uint64_t run_ns; /* of all goroutines */
};

static void note_worst(struct goan_ctx *c, const struct gospan *sp, uint64_t ns)
{
	unsigned i = c->nworst < WORST ? c->nworst++ : WORST - 1;

	for (; i > 0 && c->worst[i - 1].ns < ns; i--)
		c->worst[i] = c->worst[i - 1];
	c->worst[i] = (struct worst) { sp->g->id, sp->start_ns - c->s->start_ns, sp->ended_by, ns, sp->idle_ns, sp->g->func, sp->stack, sp->cause };
}

static void add(struct stacktab *t, uint32_t key, uint32_t sub, uint64_t ns, uint64_t idle_ns)
{
	struct st_ent *e = stacktab_get(t, key, sub);

	if (!e)
		return;
	hist_lean_add(&e->hist, ns);
	e->extra_ns += idle_ns;
}

/* Each wait is of one of a few causes, in no order: nothing to search for. */
static void add_cause(struct goan_ctx *c, uint8_t cause, uint64_t ns, uint64_t idle_ns)
{
	uint32_t *at = &c->of_cause[cause];

	if (!*at) {
		struct st_ent *e = stacktab_get(&c->causes, 0, cause);

		if (!e)
			return;
		*at = (uint32_t)(e - c->causes.ent) + 1;
	}
	hist_lean_add(&c->causes.ent[*at - 1].hist, ns);
	c->causes.ent[*at - 1].extra_ns += idle_ns;
}

static void span(void *ctx, const struct gospan *sp)
{
	struct goan_ctx *c = ctx;
	uint64_t ns = (uint64_t)(sp->end_ns - sp->start_ns);

	if (!goan_wants_goro(c->s, &c->o, sp->g))
		return;
	if (ns < c->o.min_ns)
		return;
	if (sp->open_start || sp->open_end) {
		stacktab_span(&c->causes, 0, sp->cause, ns, true);
		return;
	}
	add_cause(c, sp->cause, ns, sp->idle_ns);
	if (c->o.brief)
		return;
	add(&c->funcs, sp->g->func, 0, ns, sp->idle_ns);
	add(&c->stacks, sp->stack, sp->cause, ns, sp->idle_ns);
	if (c->nworst < WORST || ns > c->worst[WORST - 1].ns)
		note_worst(c, sp, ns);
}

static void end(void *ctx)
{
	struct goan_ctx *c = ctx;
	uint32_t i;

	hist_lean_done(&c->all);
	stacktab_merge(&c->causes, &c->all);
	c->idle_ns = 0;
	for (i = 0; i < c->causes.n; i++)
		c->idle_ns += c->causes.ent[i].extra_ns;
	c->run_ns = c->s->level_ns[GO_LEVEL_RUN];
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = { .ctx = c, .spans = 1u << GANDER_GOTRACE_GO_RUNNABLE, .span = span, .end = end };

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	*ret = c;
	return gostate_add(s, &sink);
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

#define HEAD \
	{ "p99_ns", "P99", CELL_DURATION, 0 }, { "p50_ns", "P50", CELL_DURATION, 0 }, { "max_ns", "MAX", CELL_DURATION, 0 }, \
		{ "total_ns", "TOTAL", CELL_DURATION, 0 }, { "count", "COUNT", CELL_COUNT, 0 }, \
	{ \
		"idle_share", "P IDLE", CELL_SHARE, 0 \
	}

static void head(struct result_table *t, const struct st_ent *e)
{
	cell_u64(t, hist_lean_quantile(&e->hist, 0.99));
	cell_u64(t, hist_lean_quantile(&e->hist, 0.5));
	cell_u64(t, e->hist.max);
	cell_u64(t, st_total_ns(e));
	cell_u64(t, e->hist.count);
	cell_f64(t, share(e->extra_ns, e->hist.sum));
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col causes[] = { HEAD, { "cause", "MADE RUNNABLE BY", CELL_TEXT, 0 } };
	static const struct result_col funcs[] = { HEAD, { "function", "GOROUTINE", CELL_TEXT, 0 } };
	static const struct result_col stacks[] = { HEAD, { "cause", "CAUSE", CELL_TEXT, 0 }, WHERE_COLS };
	static const struct result_col worst[] = {
		{ "latency_ns", "LATENCY", CELL_DURATION, 0 },
		{ "at_ns", "AT", CELL_TIME, 0 },
		{ "idle_ns", "P IDLE FOR", CELL_DURATION, 0 },
		{ "goroutine", "GOID", CELL_COUNT, 0 },
		{ "cause", "CAUSE", CELL_TEXT, 0 },
		{ "goroutine_function", "GOROUTINE", CELL_TEXT, 0 },
		{ "where", NULL, CELL_TEXT, COL_JSON_ONLY },
		{ "function", NULL, CELL_TEXT, COL_JSON_ONLY },
		{ "file", NULL, CELL_TEXT, COL_JSON_ONLY },
		{ "line", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "stack", NULL, CELL_STACK, COL_JSON_ONLY },
	};
	struct result_table *t = result_table(r, "causes", "Scheduler latency: runnable until running", causes, sizeof(causes) / sizeof(*causes));
	const struct gostate *s = c->s;
	uint32_t n, i, *order;
	char mean[UNIT_TEXT];

	if (c->all.count) {
		struct st_ent all = { .hist = c->all, .extra_ns = c->idle_ns };

		head(t, &all);
		cell_text(t, "all");
	}
	order = stacktab_sorted(&c->causes, &n);
	for (i = 0; i < n; i++) {
		head(t, &c->causes.ent[order[i]]);
		cell_text(t, go_cause_name[c->causes.ent[order[i]].sub]);
	}
	free(order);
	result_after(t, "P IDLE: share of that waiting during which at least one P was idle; the rest of it, all Ps were busy.");
	t = result_table(r, "functions", "By goroutine function", funcs, sizeof(funcs) / sizeof(*funcs));
	order = stacktab_sorted(&c->funcs, &n);
	for (i = 0; i < n && i < c->o.top; i++) {
		head(t, &c->funcs.ent[order[i]]);
		cell_text(t, goan_func_text(s->syms, c->funcs.ent[order[i]].stack));
	}
	if (t)
		t->more = n - i;
	free(order);
	t = result_table(r, "stacks", "By the stack that made it runnable", stacks, sizeof(stacks) / sizeof(*stacks));
	order = stacktab_sorted(&c->stacks, &n);
	for (i = 0; i < n && i < c->o.top; i++) {
		const struct st_ent *e = &c->stacks.ent[order[i]];

		head(t, e);
		cell_text(t, go_cause_name[e->sub]);
		cell_where(t, s->syms, e->stack);
	}
	if (t)
		t->more = n - i;
	free(order);
	t = result_table(r, "longest", "Longest single waits", worst, sizeof(worst) / sizeof(*worst));
	for (i = 0; i < c->nworst; i++) {
		const struct worst *w = &c->worst[i];

		cell_u64(t, w->ns);
		cell_u64(t, (uint64_t)w->start_ns);
		cell_u64(t, w->idle_ns);
		cell_u64(t, (uint64_t)w->g);
		cell_text(t, go_cause_name[w->cause]);
		cell_text(t, goan_func_text(s->syms, w->func));
		cell_where(t, s->syms, w->stack);
	}
	snprintf(mean, sizeof(mean), "%.2f", share(s->level_ns[GO_LEVEL_SCHED], goan_length_ns(s)));
	result_note(r, "on average %s goroutines were waiting for one of %u Ps; at least one P was idle %.1f%% of the time", mean, s->gomaxprocs,
		    100 * share(s->any_idle_ns, goan_length_ns(s)));
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	put(arg, "sched.p50", (double)hist_lean_quantile(&c->all, 0.5), CELL_DURATION);
	put(arg, "sched.p90", (double)hist_lean_quantile(&c->all, 0.9), CELL_DURATION);
	put(arg, "sched.p99", (double)hist_lean_quantile(&c->all, 0.99), CELL_DURATION);
	put(arg, "sched.p999", (double)hist_lean_quantile(&c->all, 0.999), CELL_DURATION);
	put(arg, "sched.max", (double)c->all.max, CELL_DURATION);
	put(arg, "sched.total", (double)c->all.sum, CELL_DURATION);
	put(arg, "sched.count", (double)c->all.count, CELL_COUNT);
	put(arg, "sched.share", share(c->all.sum, c->all.sum + c->run_ns), CELL_SHARE);
}

static void findings(struct goan_ctx *c, struct goan_findings *f)
{
	char p99[UNIT_TEXT], max[UNIT_TEXT], total[UNIT_TEXT];
	double s = share(c->all.sum, c->all.sum + c->run_ns), cost = share(c->all.sum, c->s->level_ns[GO_LEVEL_PROCS]), idle = share(c->idle_ns, c->all.sum);

	if (!c->all.count || c->all.sum < 1000)
		return;
	duration_text(total, c->all.sum);
	duration_text(p99, hist_lean_quantile(&c->all, 0.99));
	duration_text(max, c->all.max);
	goan_find(f, cost < 1 ? cost : 1, "sched", "%s spent runnable without running, %.0f%% of run+wait (p99 %s, max %s); %s", total, 100 * s, p99, max,
		  idle < 0.5 ? "all Ps were busy for most of it" : "a P was idle for most of it");
}

static void free_ctx(struct goan_ctx *c)
{
	stacktab_done(&c->causes);
	stacktab_done(&c->funcs);
	stacktab_done(&c->stacks);
	hist_lean_done(&c->all);
	free(c);
}

const struct goan_type goan_sched = { "sched", "scheduler latency, and whether Ps were idle meanwhile", open_ctx, report, metrics, findings, free_ctx };
