/* Goroutines made and ended, by the stack that made them; and those that look leaked.
 *
 * A suspect is a group (made at one stack, stuck at another) of goroutines that, at the trace's end, wait on a channel, select, lock or
 * condition and have not moved for a fifth of the trace, while the place that makes them made more in this trace than ended. Goroutines that
 * only were there all the time are an idle pool more often than a leak: they are counted beside, and make no suspect of their own. */
#include "analyze/goanalysis.h"
#include "analyze/stacktab.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	struct stacktab made;  /* by maker's stack and entry function: lives; extra: still alive at the end */
	struct stacktab stuck; /* by own stack and maker's stack: how long stuck; extra: of those made in the trace; open: there at start */
};

static void gone(void *ctx, struct goro *g, bool at_end)
{
	struct goan_ctx *c = ctx;
	const char *reason;
	struct st_ent *e;

	if (!goan_wants_goro(c->s, &c->o, g))
		return;
	if (!g->there_at_start) {
		e = stacktab_get(&c->made, g->made_stack, g->func);
		if (e) {
			if (at_end)
				e->extra++;
			else
				hist_lean_add(&e->hist, (uint64_t)(c->s->now - g->born_ns));
			e->extra_ns += g->parts.ns[GO_PART_RUN];
		}
	}
	if (!at_end || g->state != GANDER_GOTRACE_GO_WAITING)
		return;
	reason = gosyms_text(c->s->syms, g->reason);
	/* the reason of a wait that began before the trace is not in it */
	if (*reason && !strstr(reason, "chan") && !strstr(reason, "select") && !strstr(reason, "sync") && strcmp(reason, "forever"))
		return;
	e = stacktab_get(&c->stuck, g->own_stack, g->made_stack);
	if (!e)
		return;
	if (g->there_at_start) {
		e->open++;
	} else if ((uint64_t)(c->s->now - (g->last_moved_ns ? g->last_moved_ns : g->born_ns)) * 5 >= (uint64_t)gostate_length_ns(c->s)) {
		e->extra++;
		hist_lean_add(&e->hist, (uint64_t)(c->s->now - g->last_moved_ns));
	}
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = { .ctx = c, .gone = gone };

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	*ret = c;
	return gostate_add(s, &sink);
}

static int by_count(const void *a, const void *b, void *arg)
{
	const struct stacktab *t = arg;
	const struct st_ent *x = &t->ent[*(const uint32_t *)a], *y = &t->ent[*(const uint32_t *)b];
	uint64_t p = x->hist.count + x->extra, q = y->hist.count + y->extra;

	return p != q ? (p < q ? 1 : -1) : x->stack < y->stack ? -1
							       : x->stack > y->stack;
}

static bool grows(const struct goan_ctx *c, uint32_t made_stack, uint64_t *made, uint64_t *ended)
{
	uint32_t i;

	*made = *ended = 0;
	for (i = 0; i < c->made.n; i++)
		if (c->made.ent[i].stack == made_stack) {
			*made += c->made.ent[i].hist.count + c->made.ent[i].extra;
			*ended += c->made.ent[i].hist.count;
		}
	return *made > *ended;
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col made_cols[] = {
		{ "made", "MADE", CELL_COUNT, 0 },
		{ "per_second", "PER S", CELL_NUMBER, 0 },
		{ "alive", "ALIVE", CELL_COUNT, 0 },
		{ "life_p50_ns", "LIFE P50", CELL_DURATION, 0 },
		{ "life_p99_ns", "P99", CELL_DURATION, 0 },
		{ "life_max_ns", "MAX", CELL_DURATION, 0 },
		{ "run_mean_ns", "RUN MEAN", CELL_DURATION, 0 },
		{ "goroutine", "GOROUTINE", CELL_TEXT, 0 },
		{ "where", NULL, CELL_TEXT, COL_JSON_ONLY },
		{ "function", NULL, CELL_TEXT, COL_JSON_ONLY },
		{ "file", NULL, CELL_TEXT, COL_JSON_ONLY },
		{ "line", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "stack", NULL, CELL_STACK, COL_JSON_ONLY },
	};
	static const struct result_col leak_cols[] = {
		{ "stuck", "STUCK", CELL_COUNT, 0 },
		{ "made", "MADE", CELL_COUNT, 0 },
		{ "ended", "ENDED", CELL_COUNT, 0 },
		{ "older", "OLDER", CELL_COUNT, 0 },
		{ "stuck_max_ns", "LONGEST", CELL_DURATION, 0 },
		{ "made_by", "MADE AT", CELL_TEXT, 0 },
		WHERE_COLS,
	};
	const struct gosyms *syms = c->s->syms;
	struct result_table *t = result_table(r, "made", "Goroutines made, by where", made_cols, sizeof(made_cols) / sizeof(*made_cols));
	uint32_t n, i, *order = stacktab_sorted(&c->made, &n);
	uint64_t made, ended, suspects = 0;

	if (order)
		qsort_r(order, n, sizeof(*order), by_count, &c->made);
	for (i = 0; i < n && i < c->o.top; i++) {
		const struct st_ent *e = &c->made.ent[order[i]];

		made = e->hist.count + e->extra;
		cell_u64(t, made);
		cell_f64(t, (double)made * 1e9 / (double)goan_length_ns(c->s));
		cell_u64(t, e->extra);
		cell_hist(t, &e->hist);
		cell_u64(t, made ? e->extra_ns / made : 0);
		cell_text(t, goan_func_text(syms, e->sub));
		cell_where(t, syms, e->stack);
	}
	if (t)
		t->more = n - i;
	free(order);
	t = result_table(r, "leak_suspects", "Leak suspects", leak_cols, sizeof(leak_cols) / sizeof(*leak_cols));
	order = stacktab_sorted(&c->stuck, &n);
	if (order)
		qsort_r(order, n, sizeof(*order), by_count, &c->stuck);
	for (i = 0; i < n; i++) {
		const struct st_ent *e = &c->stuck.ent[order[i]];
		struct buf where = BUF_INIT;

		if (!e->extra || !grows(c, e->sub, &made, &ended) || suspects++ >= c->o.top)
			continue;
		cell_u64(t, e->extra);
		cell_u64(t, made);
		cell_u64(t, ended);
		cell_u64(t, e->open);
		cell_u64(t, e->hist.max);
		gosyms_where_text(syms, e->sub, &where);
		cell_text(t, where.data ? where.data : "-");
		buf_done(&where);
		cell_where(t, syms, e->stack);
	}
	free(order);
	if (suspects)
		result_after(t, "STUCK: made in the trace, waiting without a move since. OLDER: at the same place, since before the trace.");
	else
		result_note(r, "no goroutine that was made in this trace looks leaked");
}

static void findings(struct goan_ctx *c, struct goan_findings *f)
{
	double len = (double)goan_length_ns(c->s);
	uint32_t i, best = 0, most = 0;
	uint64_t made, ended;
	char n[UNIT_TEXT], life[UNIT_TEXT];
	struct buf where = BUF_INIT;

	for (i = 0; i < c->stuck.n; i++)
		if (c->stuck.ent[i].extra > c->stuck.ent[best].extra && grows(c, c->stuck.ent[i].sub, &made, &ended))
			best = i;
	if (c->stuck.n && c->stuck.ent[best].extra >= 3 && grows(c, c->stuck.ent[best].sub, &made, &ended)) {
		double x = (double)c->stuck.ent[best].extra;

		gosyms_where_text(c->s->syms, c->stuck.ent[best].stack, &where);
		goan_find(f, 0.2 + x / (x + 100) * 0.5, "churn", "%llu goroutines look leaked: stuck in %s since they blocked (%llu made there, %llu ended)",
			  (unsigned long long)c->stuck.ent[best].extra, where.data, (unsigned long long)made, (unsigned long long)ended);
		buf_done(&where);
	}
	for (i = 0; i < c->made.n; i++)
		if (c->made.ent[i].hist.count > c->made.ent[most].hist.count)
			most = i;
	if (c->made.n && (double)c->made.ent[most].hist.count * 1e9 / len > 1000) {
		const struct st_ent *e = &c->made.ent[most];

		/* about 1 us of run time and scheduler work a goroutine */
		goan_find(f, (double)e->hist.count * 1000 / (len * (c->s->gomaxprocs ? c->s->gomaxprocs : 1)), "churn", "%s goroutines of %s a second, each alive for %s (p50)",
			  count_text(n, (double)(uint64_t)((double)e->hist.count * 1e9 / len)), goan_func_text(c->s->syms, e->sub), duration_text(life, hist_lean_quantile(&e->hist, 0.5)));
	}
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	uint64_t made, ended, stuck = 0;
	uint32_t i;

	for (i = 0; i < c->stuck.n; i++)
		if (c->stuck.ent[i].extra && grows(c, c->stuck.ent[i].sub, &made, &ended))
			stuck += c->stuck.ent[i].extra;
	put(arg, "leak.suspects", (double)stuck, CELL_COUNT);
}

static void free_ctx(struct goan_ctx *c)
{
	stacktab_done(&c->made);
	stacktab_done(&c->stuck);
	free(c);
}

const struct goan_type goan_churn = { "churn", "goroutines made and ended, leak suspects", open_ctx, report, metrics, findings, free_ctx };
