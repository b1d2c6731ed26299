/* User regions (runtime/trace.WithRegion, StartRegion) by type and where they begin: how often, how long, and where
 * their time went. Nested regions count in full, each on its own. Percentiles are of whole regions. */
#include "analyze/goanalysis.h"
#include "analyze/stacktab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	struct stacktab tab;      /* by stack and type */
	struct goro_parts *parts; /* beside tab.ent */
	uint32_t nparts;
};

static void region(void *ctx, const struct goregion *rg)
{
	struct goan_ctx *c = ctx;
	uint64_t ns = (uint64_t)(rg->end_ns - rg->r->start_ns);
	struct st_ent *e;
	uint32_t i, at;

	if (!goan_matches(gosyms_text(c->s->syms, rg->r->type), c->o.name) || (c->o.has_task && rg->r->task != c->o.task) || ns < c->o.min_ns)
		return;
	if (c->o.goroutine >= 0 && rg->g->id != c->o.goroutine)
		return;
	if (!goan_matches(gosyms_text(c->s->syms, rg->g->func), c->o.function))
		return;
	e = stacktab_get(&c->tab, rg->r->stack, rg->r->type);
	if (!e)
		return;
	if (rg->open_start || rg->open_end) {
		e->open++;
		e->open_ns += ns;
	} else {
		hist_lean_add(&e->hist, ns);
	}
	at = (uint32_t)(e - c->tab.ent);
	if (at >= c->nparts) {
		uint32_t n = c->tab.cap;
		struct goro_parts *p = realloc(c->parts, n * sizeof(*p));

		if (!p)
			return;
		memset(p + c->nparts, 0, (n - c->nparts) * sizeof(*p));
		c->parts = p;
		c->nparts = n;
	}
	for (i = 0; i < GO_PARTS; i++)
		c->parts[at].ns[i] += rg->parts.ns[i];
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = { .ctx = c, .region = region };

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	*ret = c;
	return gostate_add(s, &sink);
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col cols[] = {
		{ "p99_ns", "P99", CELL_DURATION, 0 },
		{ "p50_ns", "P50", CELL_DURATION, 0 },
		{ "max_ns", "MAX", CELL_DURATION, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		{ "open", "OPEN", CELL_COUNT, 0 },
		{ "running_share", "RUN", CELL_SHARE, 0 },
		{ "blocked_share", "BLOCK", CELL_SHARE, 0 },
		{ "type", "REGION", CELL_TEXT, 0 },
		{ "total_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "running_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "runnable_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "blocked_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "syscall_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "syscall_without_p_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		WHERE_COLS,
	};
	struct result_table *t = result_table(r, "regions", "Regions by type", cols, sizeof(cols) / sizeof(*cols));
	uint32_t n, i, k, *order = stacktab_sorted(&c->tab, &n);
	struct hist_lean all = { 0 };

	for (i = 0; i < n; i++) {
		const struct st_ent *e = &c->tab.ent[order[i]];
		const struct goro_parts *p = &c->parts[order[i]];
		uint64_t total = st_total_ns(e);

		hist_lean_merge(&all, &e->hist);
		if (i >= c->o.top)
			continue;
		if (e->hist.count) {
			cell_u64(t, hist_lean_quantile(&e->hist, 0.99));
			cell_u64(t, hist_lean_quantile(&e->hist, 0.5));
			cell_u64(t, e->hist.max);
		} else {
			cell_none(t);
			cell_none(t);
			cell_none(t);
		}
		cell_u64(t, e->hist.count);
		cell_u64(t, e->open);
		cell_f64(t, total ? (double)p->ns[GO_PART_RUN] / (double)total : 0);
		cell_f64(t, total ? (double)p->ns[GO_PART_WAIT] / (double)total : 0);
		cell_text(t, gosyms_text(c->s->syms, e->sub));
		cell_u64(t, total);
		for (k = 0; k < GO_PARTS; k++)
			if (k != GO_PART_SYSCALL_OFF && k != GO_PART_SYSCALL)
				cell_u64(t, p->ns[k]);
		cell_u64(t, p->ns[GO_PART_SYSCALL] + p->ns[GO_PART_SYSCALL_OFF]);
		cell_u64(t, p->ns[GO_PART_SYSCALL_OFF]);
		cell_where(t, c->s->syms, e->stack);
	}
	if (t && n > c->o.top)
		t->more = n - c->o.top;
	free(order);
	result_after(t, "OPEN: their begin or end is not in the trace. RUN, BLOCK: shares of the regions' time.");
	if (!n)
		result_note(r, "no region matches (the program marks them with runtime/trace.StartRegion)");
	if (c->o.name || n == 1)
		goan_histogram(r, "Latency of these regions", &all);
	hist_lean_done(&all);
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	uint32_t i;

	for (i = 0; i < c->tab.n; i++) {
		const struct st_ent *e = &c->tab.ent[i];
		char name[160];

		snprintf(name, sizeof(name), "region.%s.p50", gosyms_text(c->s->syms, e->sub));
		put(arg, name, (double)hist_lean_quantile(&e->hist, 0.5), CELL_DURATION);
		snprintf(name, sizeof(name), "region.%s.p99", gosyms_text(c->s->syms, e->sub));
		put(arg, name, (double)hist_lean_quantile(&e->hist, 0.99), CELL_DURATION);
		snprintf(name, sizeof(name), "region.%s.max", gosyms_text(c->s->syms, e->sub));
		put(arg, name, (double)e->hist.max, CELL_DURATION);
	}
}

static void free_ctx(struct goan_ctx *c)
{
	stacktab_done(&c->tab);
	free(c->parts);
	free(c);
}

const struct goan_type goan_regions = { "regions", "user regions by type", open_ctx, report, metrics, NULL, free_ctx };
