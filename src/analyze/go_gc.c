/* The garbage collector's price: cycles and mark phases, stop-the-world pauses by cause, assists by function, the workers' share of
 * the Ps, and the minimum mutator utilisation (MMU): the worst share of all Ps' time that was left to the program in any window of
 * a given length. Taken away from the program: stop-the-world pauses for the GC (all Ps), dedicated and fractional
 * workers, assists while they run, and sweeping. Idle workers use Ps that nobody wanted, so they are not counted against it.
 *
 * The MMU needs one pass: utilisation is a step function of few steps; its integral is kept at each step as far back as the longest window,
 * and a window's mean has its extremes where one of its edges meets a step. */
#include "analyze/goanalysis.h"
#include "analyze/stacktab.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#define WINDOWS 7
static const int64_t window_ns[WINDOWS] = { 100000, 1000000, 5000000, 10000000, 50000000, 100000000, 1000000000 };
#define MAX_STEPS (1u << 20) /* kept: a second with more changes than that is thinned at its old end */

struct step {
	int64_t t;
	double sum;  /* integral of utilisation up to t */
	double util; /* from t on */
};

enum worker { WORKER_DEDICATED,
	      WORKER_FRACTIONAL,
	      WORKER_IDLE,
	      WORKERS };

/* What a goroutine does to the mutator, kept in goro.user as bits. */
enum { G_WORKER = 1,
       G_ASSIST = 2,
       G_COUNTED = 4 /* is in ctx.gc_ps now */,
       G_IDLE_WORKER = 8 };

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	struct stacktab stw; /* sub: range name */
	struct hist_lean stw_all, stw_gc, mark;
	struct stacktab assists; /* by goroutine function, and by stack */
	struct stacktab assist_stacks;
	struct hist_lean assist_all, sweep;
	uint64_t worker_ns[WORKERS];
	uint64_t mark_ns, mark_p_ns; /* mark phases' time, and that times the Ps */
	uint64_t mark_open, swept, reclaimed;
	uint64_t heap_max, goal_last;
	/* MMU */
	int stw_now, gc_ps;
	struct step *ring;
	uint32_t nring, ring_cap;
	uint32_t left[WINDOWS]; /* per window: the next step whose window's right edge has not been reached */
	double mmu[WINDOWS];
	bool mmu_on;
};

static double integral(const struct goan_ctx *c, uint32_t i, int64_t t)
{
	return c->ring[i].sum + c->ring[i].util * (double)(t - c->ring[i].t);
}

/* Utilisation has had its last value up to `t`: every window that ends in between is looked at where an edge meets a step. */
static void mmu_upto(struct goan_ctx *c, int64_t t)
{
	uint32_t last = c->nring - 1, w;
	double now;

	if (!c->nring || t <= c->ring[last].t)
		return;
	now = integral(c, last, t);
	for (w = 0; w < WINDOWS; w++) {
		int64_t len = window_ns[w];
		uint32_t *l = &c->left[w];

		/* left edge on a step, right edge inside the newest piece */
		while (*l <= last && c->ring[*l].t + len <= t) {
			if (c->ring[*l].t + len >= c->ring[last].t) {
				double u = (integral(c, last, c->ring[*l].t + len) - c->ring[*l].sum) / (double)len;

				if (u < c->mmu[w])
					c->mmu[w] = u;
			}
			(*l)++;
		}
		/* right edge on t, left edge inside the piece before *l */
		if (t - len >= c->ring[0].t && *l > 0) {
			double u = (now - integral(c, *l - 1, t - len)) / (double)len;

			if (u < c->mmu[w])
				c->mmu[w] = u;
		}
	}
}

/* Drops what lies further back than the longest window. */
static void mmu_trim(struct goan_ctx *c)
{
	uint32_t keep = c->left[WINDOWS - 1], w;

	if (keep > 0)
		keep--;
	if (c->nring - keep > MAX_STEPS)
		keep = c->nring / 2;
	if (keep < 4096 && c->nring < MAX_STEPS)
		return;
	if (!keep)
		return;
	memmove(c->ring, c->ring + keep, (c->nring - keep) * sizeof(*c->ring));
	c->nring -= keep;
	for (w = 0; w < WINDOWS; w++)
		c->left[w] = c->left[w] > keep ? c->left[w] - keep : 0;
}

static void mmu_step(struct goan_ctx *c)
{
	double util = 1, sum = 0;
	int64_t t = c->s->now;
	uint32_t ps = c->s->gomaxprocs;

	if (!ps)
		return;
	if (c->stw_now > 0)
		util = 0;
	else if (c->gc_ps > 0)
		util = c->gc_ps >= (int)ps ? 0 : 1 - (double)c->gc_ps / ps;
	if (c->nring) {
		struct step *last = &c->ring[c->nring - 1];

		if (last->util == util)
			return;
		mmu_upto(c, t);
		if (last->t == t) {
			last->util = util;
			return;
		}
		sum = integral(c, c->nring - 1, t);
	}
	if (c->nring == c->ring_cap) {
		uint32_t cap = c->ring_cap ? c->ring_cap * 2 : 1024;
		struct step *ring = realloc(c->ring, cap * sizeof(*ring));

		if (!ring)
			return;
		c->ring = ring;
		c->ring_cap = cap;
	}
	c->ring[c->nring++] = (struct step) { t, sum, util };
	mmu_trim(c);
}

/* A goroutine that works for the GC takes a P as long as it runs. */
static void count(struct goan_ctx *c, struct goro *g, uintptr_t bits, bool executing)
{
	bool counts = executing && bits & (G_WORKER | G_ASSIST) && !(bits & G_IDLE_WORKER);

	if (counts && !(bits & G_COUNTED)) {
		bits |= G_COUNTED;
		c->gc_ps++;
	} else if (!counts && bits & G_COUNTED) {
		bits &= ~(uintptr_t)G_COUNTED;
		c->gc_ps--;
	}
	g->user = (void *)bits;
	g->watch = bits & (G_WORKER | G_ASSIST | G_COUNTED);
	mmu_step(c);
}

static bool executes(unsigned state)
{
	return state == GANDER_GOTRACE_GO_RUNNING || state == GANDER_GOTRACE_GO_SYSCALL;
}

static void moved(void *ctx, struct goro *g, unsigned from, unsigned to, const struct gander_gotrace_event *ev)
{
	uintptr_t bits = (uintptr_t)g->user;

	if (!executes(from) && executes(to))
		bits &= ~(uintptr_t)(G_WORKER | G_IDLE_WORKER); /* the label that follows says what it is this time */
	count(ctx, g, bits, executes(to));
}

static void event(void *ctx, const struct gander_gotrace_event *ev, struct goro *g)
{
	struct goan_ctx *c = ctx;
	const char *label;

	if (ev->kind == GANDER_GOTRACE_METRIC) {
		if (ev->metric.id == GANDER_GOTRACE_METRIC_HEAP_ALLOC && ev->metric.value > c->heap_max)
			c->heap_max = ev->metric.value;
		else if (ev->metric.id == GANDER_GOTRACE_METRIC_HEAP_GOAL)
			c->goal_last = ev->metric.value;
		else if (ev->metric.id == GANDER_GOTRACE_METRIC_GOMAXPROCS)
			mmu_step(c);
		return;
	}
	g = gostate_goro(c->s, ev->label.goroutine);
	if (!g)
		return;
	label = gosyms_text(c->s->syms, g->label);
	if (strncmp(label, "GC ", 3))
		return;
	count(c, g, ((uintptr_t)g->user & (G_ASSIST | G_COUNTED)) | G_WORKER | (strcmp(label, "GC (idle)") ? 0u : (unsigned)G_IDLE_WORKER), executes(g->state));
}

static void span(void *ctx, const struct gospan *sp)
{
	struct goan_ctx *c = ctx;
	const char *label;
	uint64_t ns = (uint64_t)(sp->end_ns - sp->start_ns);

	if (!sp->g->label)
		return;
	label = gosyms_text(c->s->syms, sp->g->label);
	if (strncmp(label, "GC (", 4))
		return;
	c->worker_ns[label[4] == 'd' ? WORKER_DEDICATED : label[4] == 'f' ? WORKER_FRACTIONAL
									  : WORKER_IDLE] += ns;
}

static bool is_gc_stw(const struct goan_ctx *c, const struct gorange *r)
{
	return r->id == GANDER_GOTRACE_RANGE_STW && strstr(gosyms_text(c->s->syms, r->name), "GC");
}

static void range_begin(void *ctx, const struct gorange *r)
{
	struct goan_ctx *c = ctx;

	if (is_gc_stw(c, r)) {
		c->stw_now++;
		mmu_step(c);
	} else if (r->id == GANDER_GOTRACE_RANGE_SWEEP) {
		c->gc_ps++;
		mmu_step(c);
	} else if (r->id == GANDER_GOTRACE_RANGE_MARK_ASSIST && r->g) {
		count(c, r->g, (uintptr_t)r->g->user | G_ASSIST, executes(r->g->state));
	}
}

static void range(void *ctx, const struct gorange *r)
{
	struct goan_ctx *c = ctx;
	uint64_t ns = (uint64_t)(r->end_ns - r->start_ns);
	bool open = r->open_start || r->open_end;

	switch (r->id) {
	case GANDER_GOTRACE_RANGE_STW:
		stacktab_span(&c->stw, r->stack, r->name, ns, open);
		if (!open)
			hist_lean_add(&c->stw_all, ns);
		if (is_gc_stw(c, r)) {
			if (!open)
				hist_lean_add(&c->stw_gc, ns);
			c->stw_now -= c->stw_now > 0;
			mmu_step(c);
		}
		break;
	case GANDER_GOTRACE_RANGE_GC_MARK:
		c->mark_ns += ns;
		c->mark_p_ns += ns * c->s->gomaxprocs;
		if (open)
			c->mark_open++;
		else
			hist_lean_add(&c->mark, ns);
		break;
	case GANDER_GOTRACE_RANGE_SWEEP:
		c->gc_ps -= c->gc_ps > 0;
		mmu_step(c);
		c->swept += r->swept_bytes;
		c->reclaimed += r->reclaimed_bytes;
		if (!open)
			hist_lean_add(&c->sweep, ns);
		break;
	case GANDER_GOTRACE_RANGE_MARK_ASSIST:
		if (!r->g)
			break;
		stacktab_span(&c->assists, r->g->func, 0, ns, open);
		stacktab_span(&c->assist_stacks, r->stack, 0, ns, open);
		if (!open)
			hist_lean_add(&c->assist_all, ns);
		count(c, r->g, (uintptr_t)r->g->user & ~(uintptr_t)G_ASSIST, executes(r->g->state));
		break;
	}
}

static void begin(void *ctx)
{
	struct goan_ctx *c = ctx;

	c->nring = c->stw_now = c->gc_ps = 0;
	memset(c->left, 0, sizeof(c->left));
}

static void gone(void *ctx, struct goro *g, bool at_end)
{
	struct goan_ctx *c = ctx;

	if (!at_end && (uintptr_t)g->user & G_COUNTED) {
		c->gc_ps--;
		mmu_step(c);
	}
	g->user = NULL;
}

static void end(void *ctx)
{
	mmu_upto(ctx, ((struct goan_ctx *)ctx)->s->now);
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = {
		.ctx = c,
		.watched_spans = 1u << GANDER_GOTRACE_GO_RUNNING,
		.kinds = 1u << GANDER_GOTRACE_LABEL | 1u << GANDER_GOTRACE_METRIC,
		.span = span,
		.event = event,
		.moved = moved,
		.range = range,
		.range_begin = range_begin,
		.begin = begin,
		.gone = gone,
		.end = end,
	};
	unsigned w;

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	for (w = 0; w < WINDOWS; w++)
		c->mmu[w] = 2; /* no window of that length yet */
	*ret = c;
	return gostate_add(s, &sink);
}

static const char *stw_cause(const char *name)
{
	static char cause[64];
	const char *p = strchr(name, '(');
	size_t n;

	if (!p)
		return *name ? name : "-";
	n = strcspn(++p, ")");
	if (n >= sizeof(cause))
		n = sizeof(cause) - 1;
	memcpy(cause, p, n);
	cause[n] = 0;
	return cause;
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col sum_cols[] = { { "value", "", CELL_TEXT, 0 }, { "what", "", CELL_TEXT, COL_SENTENCE } };
	static const struct result_col stw_cols[] = {
		{ "max_ns", "MAX", CELL_DURATION, 0 },
		{ "p50_ns", "P50", CELL_DURATION, 0 },
		{ "p99_ns", "P99", CELL_DURATION, 0 },
		{ "total_ns", "TOTAL", CELL_DURATION, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		{ "cause", "CAUSE", CELL_TEXT, 0 },
		WHERE_COLS,
	};
	static const struct result_col fn_cols[] = {
		{ "total_ns", "TOTAL", CELL_DURATION, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		HIST_COLS,
		{ "function", "GOROUTINE", CELL_TEXT, 0 },
	};
	static const struct result_col st_cols[] = { { "total_ns", "TOTAL", CELL_DURATION, 0 }, { "count", "COUNT", CELL_COUNT, 0 }, HIST_COLS, WHERE_COLS };
	static const struct result_col mmu_cols[] = { { "mmu", "MMU", CELL_SHARE, 0 }, { "window_ns", "WINDOW", CELL_DURATION, 0 } };
	const struct gosyms *syms = c->s->syms;
	uint64_t len = goan_length_ns(c->s), p_ns = c->s->level_ns[GO_LEVEL_PROCS];
	uint64_t workers = c->worker_ns[WORKER_DEDICATED] + c->worker_ns[WORKER_FRACTIONAL];
	struct result_table *t = result_table(r, "gc", "Garbage collection", sum_cols, 2);
	char a[UNIT_TEXT], b[UNIT_TEXT];
	uint32_t n, i, *order;

	if (!p_ns)
		p_ns = len;
	cell_textf(t, "%llu", (unsigned long long)(c->mark.count + c->mark_open));
	cell_textf(t, "cycles; mark phases of p50 %s, max %s", duration_text(a, hist_lean_quantile(&c->mark, 0.5)), duration_text(b, c->mark.max));
	cell_textf(t, "%.1f%%", 100. * (double)c->mark_ns / (double)len);
	cell_textf(t, "of the time a mark phase was on");
	cell_textf(t, "%.1f%%", 100. * (double)workers / (double)p_ns);
	cell_textf(t, "of all Ps' time went to dedicated (%s) and fractional (%s) workers", duration_text(a, c->worker_ns[WORKER_DEDICATED]),
		   duration_text(b, c->worker_ns[WORKER_FRACTIONAL]));
	cell_textf(t, "%.1f%%", 100. * (double)c->worker_ns[WORKER_IDLE] / (double)p_ns);
	cell_textf(t, "of it to idle workers, on Ps that had nothing else (%s)", duration_text(a, c->worker_ns[WORKER_IDLE]));
	cell_textf(t, "%s", duration_text(a, c->assist_all.sum));
	cell_textf(t, "in %llu mark assists: the program's own goroutines made to help", (unsigned long long)c->assist_all.count);
	cell_textf(t, "%s", duration_text(a, c->sweep.sum));
	cell_textf(t, "sweeping, %s reclaimed", bytes_text(b, c->reclaimed));
	cell_textf(t, "%s", bytes_text(a, c->heap_max));
	cell_textf(t, "largest heap; the goal was %s at last", bytes_text(b, c->goal_last));

	t = result_table(r, "stw", "Stop-the-world, by cause", stw_cols, sizeof(stw_cols) / sizeof(*stw_cols));
	order = stacktab_sorted(&c->stw, &n);
	for (i = 0; i < n && i < c->o.top; i++) {
		const struct st_ent *e = &c->stw.ent[order[i]];

		cell_u64(t, e->hist.max);
		cell_u64(t, hist_lean_quantile(&e->hist, 0.5));
		cell_u64(t, hist_lean_quantile(&e->hist, 0.99));
		cell_u64(t, st_total_ns(e));
		cell_u64(t, e->hist.count + e->open);
		cell_text(t, stw_cause(gosyms_text(syms, e->sub)));
		cell_where(t, syms, e->stack);
	}
	if (t)
		t->more = n - i;
	free(order);

	t = result_table(r, "assists", "Mark assists by goroutine function", fn_cols, sizeof(fn_cols) / sizeof(*fn_cols));
	order = stacktab_sorted(&c->assists, &n);
	for (i = 0; i < n && i < c->o.top; i++) {
		const struct st_ent *e = &c->assists.ent[order[i]];

		cell_u64(t, st_total_ns(e));
		cell_u64(t, e->hist.count + e->open);
		cell_hist(t, &e->hist);
		cell_text(t, goan_func_text(syms, e->stack));
	}
	if (t)
		t->more = n - i;
	free(order);
	t = result_table(r, "assist_stacks", "Mark assists by the stack that allocated", st_cols, sizeof(st_cols) / sizeof(*st_cols));
	order = stacktab_sorted(&c->assist_stacks, &n);
	for (i = 0; i < n && i < c->o.top; i++) {
		const struct st_ent *e = &c->assist_stacks.ent[order[i]];

		cell_u64(t, st_total_ns(e));
		cell_u64(t, e->hist.count + e->open);
		cell_hist(t, &e->hist);
		cell_where(t, syms, e->stack);
	}
	if (t)
		t->more = n - i;
	free(order);

	t = result_table(r, "mmu", "Minimum mutator utilisation", mmu_cols, 2);
	for (i = 0; i < WINDOWS; i++)
		if (c->mmu[i] <= 1) {
			cell_f64(t, c->mmu[i] < 0 ? 0 : c->mmu[i]);
			cell_u64(t, (uint64_t)window_ns[i]);
		}
	result_after(t, "MMU: in the worst window of that length, this share of all Ps was left to the program.");
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	uint64_t p_ns = c->s->level_ns[GO_LEVEL_PROCS];
	unsigned i;

	put(arg, "stw.max", (double)c->stw_all.max, CELL_DURATION);
	put(arg, "stw.p50", (double)hist_lean_quantile(&c->stw_all, 0.5), CELL_DURATION);
	put(arg, "stw.p99", (double)hist_lean_quantile(&c->stw_all, 0.99), CELL_DURATION);
	put(arg, "stw.total", (double)c->stw_all.sum, CELL_DURATION);
	put(arg, "stw.count", (double)c->stw_all.count, CELL_COUNT);
	put(arg, "stw.gc.max", (double)c->stw_gc.max, CELL_DURATION);
	put(arg, "gc.cycles", (double)(c->mark.count + c->mark_open), CELL_COUNT);
	put(arg, "gc.share", p_ns ? (double)(c->worker_ns[WORKER_DEDICATED] + c->worker_ns[WORKER_FRACTIONAL]) / (double)p_ns : 0, CELL_SHARE);
	put(arg, "assist.total", (double)c->assist_all.sum, CELL_DURATION);
	put(arg, "assist.p99", (double)hist_lean_quantile(&c->assist_all, 0.99), CELL_DURATION);
	put(arg, "assist.max", (double)c->assist_all.max, CELL_DURATION);
	for (i = 0; i < WINDOWS; i++) {
		char name[64], w[UNIT_TEXT];

		if (c->mmu[i] > 1)
			continue;
		snprintf(w, sizeof(w), window_ns[i] < 1000000 ? "%lldus" : window_ns[i] < 1000000000 ? "%lldms"
												     : "%llds",
			 (long long)(window_ns[i] / (window_ns[i] < 1000000 ? 1000 : window_ns[i] < 1000000000 ? 1000000
													       : 1000000000)));
		snprintf(name, sizeof(name), "mmu.%s", w);
		put(arg, name, c->mmu[i] < 0 ? 0 : c->mmu[i], CELL_SHARE);
	}
}

static void findings(struct goan_ctx *c, struct goan_findings *f)
{
	uint64_t p_ns = c->s->level_ns[GO_LEVEL_PROCS], workers = c->worker_ns[WORKER_DEDICATED] + c->worker_ns[WORKER_FRACTIONAL];
	double len = (double)goan_length_ns(c->s);
	char a[UNIT_TEXT], b[UNIT_TEXT];
	uint32_t n, *order;

	if (p_ns && workers)
		goan_find(f, (double)workers / (double)p_ns, "gc", "%.1f%% of all Ps' time went to the garbage collector's workers (%llu cycles, largest heap %s)",
			  100. * (double)workers / (double)p_ns, (unsigned long long)(c->mark.count + c->mark_open), bytes_text(a, c->heap_max));
	if (c->stw_all.count) {
		order = stacktab_sorted(&c->stw, &n);
		goan_find(f, (double)c->stw_all.sum / len, "gc", "%s of stop-the-world, the longest %s (most of it: %s)", duration_text(a, c->stw_all.sum),
			  duration_text(b, c->stw_all.max), n ? stw_cause(gosyms_text(c->s->syms, c->stw.ent[order[0]].sub)) : "-");
		free(order);
	}
	if (c->assist_all.count) {
		order = stacktab_sorted(&c->assists, &n);
		goan_find(f, (double)c->assist_all.sum / (p_ns ? (double)p_ns : len), "gc", "%s of GC assists, the longest %s, most of it in goroutines of %s",
			  duration_text(a, c->assist_all.sum), duration_text(b, c->assist_all.max),
			  n ? goan_func_text(c->s->syms, c->assists.ent[order[0]].stack) : "-");
		free(order);
	}
}

static void free_ctx(struct goan_ctx *c)
{
	stacktab_done(&c->stw);
	stacktab_done(&c->assists);
	stacktab_done(&c->assist_stacks);
	hist_lean_done(&c->stw_all);
	hist_lean_done(&c->stw_gc);
	hist_lean_done(&c->mark);
	hist_lean_done(&c->assist_all);
	hist_lean_done(&c->sweep);
	free(c->ring);
	free(c);
}

const struct goan_type goan_gc = { "gc", "the garbage collector's price", open_ctx, report, metrics, findings, free_ctx };
