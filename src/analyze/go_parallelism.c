/* Parallelism over time: how many goroutines ran, how many could have, how many Ps had nothing to do. Time is cut into at most
 * BUCKETS pieces of one length, which doubles when the trace outgrows them: any length, fixed memory. Several traces follow one another: each begins a new
 * piece, so the last piece of the one before is shorter. */
#include "analyze/goanalysis.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS       1024
#define FIRST_TICK_NS 250000

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	int64_t width_ns;
	struct piece {
		uint64_t ns, level_ns[GO_LEVELS]; /* how long; integrals */
	} * b;
	uint32_t n;
	uint64_t last[GO_LEVELS];
	int64_t last_ns; /* where the last piece of this trace ends */
};

static void take(struct goan_ctx *c)
{
	unsigned i;

	for (i = 0; i < GO_LEVELS; i++) {
		c->b[c->n].level_ns[i] = c->s->level_ns[i] - c->last[i];
		c->last[i] = c->s->level_ns[i];
	}
	c->b[c->n++].ns = (uint64_t)(c->s->now - c->last_ns);
	c->last_ns = c->s->now;
}

static void begin(void *ctx)
{
	struct goan_ctx *c = ctx;

	if (!c->width_ns)
		c->width_ns = FIRST_TICK_NS;
	c->s->tick_ns = c->width_ns;
	c->s->next_tick = c->s->now + c->width_ns;
	c->last_ns = c->s->now;
}

static void tick(void *ctx)
{
	struct goan_ctx *c = ctx;
	uint32_t i, k;

	take(c);
	if (c->n < BUCKETS)
		return;
	for (i = 0; i < BUCKETS / 2; i++) {
		c->b[i].ns = c->b[2 * i].ns + c->b[2 * i + 1].ns;
		for (k = 0; k < GO_LEVELS; k++)
			c->b[i].level_ns[k] = c->b[2 * i].level_ns[k] + c->b[2 * i + 1].level_ns[k];
	}
	c->n = BUCKETS / 2;
	if (c->width_ns > INT64_MAX / 4)
		return;
	c->width_ns *= 2;
	c->s->tick_ns = c->width_ns;
}

static void end(void *ctx)
{
	struct goan_ctx *c = ctx;

	if (c->s->now > c->last_ns)
		tick(c);
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = { .ctx = c, .begin = begin, .tick = tick, .end = end };

	if (!c)
		return -ENOMEM;
	c->b = calloc(BUCKETS + 1, sizeof(*c->b));
	if (!c->b) {
		free(c);
		return -ENOMEM;
	}
	c->s = s;
	c->o = *o;
	*ret = c;
	return gostate_add(s, &sink);
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col cols[] = {
		{ "at_ns", "AT", CELL_TIME, 0 },
		{ "running", "RUNNING", CELL_NUMBER, 0 },
		{ "runnable", "RUNNABLE", CELL_NUMBER, 0 },
		{ "syscall", "SYSCALL", CELL_NUMBER, 0 },
		{ "blocked", "BLOCKED", CELL_NUMBER, 0 },
		{ "idle_procs", "P IDLE", CELL_NUMBER, 0 },
		{ "gc_workers", "GC", CELL_NUMBER, 0 },
		{ "procs", NULL, CELL_NUMBER, COL_JSON_ONLY },
		{ "bar", "RUNNING of Ps", CELL_TEXT, 0 },
	};
	struct result_table *t = result_table(r, "parallelism", "Parallelism over time (means)", cols, sizeof(cols) / sizeof(*cols));
	uint64_t rows = c->o.top ? c->o.top : 20;
	uint32_t per = (uint32_t)((c->n + rows - 1) / rows), i, k, l;
	uint64_t from = 0, ns;

	if (!per)
		per = 1;
	for (i = 0; i < c->n; i += per, from += ns) {
		double v[GO_LEVELS] = { 0 }, len, ps;
		char bar[17];
		unsigned cells, gc, at;

		for (k = i, ns = 0; k < i + per && k < c->n; k++) {
			ns += c->b[k].ns;
			for (l = 0; l < GO_LEVELS; l++)
				v[l] += (double)c->b[k].level_ns[l];
		}
		len = ns ? (double)ns : 1;
		for (l = 0; l < GO_LEVELS; l++)
			v[l] /= len;
		ps = v[GO_LEVEL_PROCS] > 0 ? v[GO_LEVEL_PROCS] : 1;
		cell_u64(t, from);
		cell_f64(t, v[GO_LEVEL_RUN]);
		cell_f64(t, v[GO_LEVEL_SCHED]);
		cell_f64(t, v[GO_LEVEL_SYSCALL]);
		cell_f64(t, v[GO_LEVEL_WAIT]);
		cell_f64(t, v[GO_LEVEL_PROCS_IDLE]);
		cell_f64(t, v[GO_LEVEL_GC_WORKERS]);
		cell_f64(t, v[GO_LEVEL_PROCS]);
		cells = (unsigned)(v[GO_LEVEL_RUN] / ps * 16 + 0.5);
		gc = (unsigned)(v[GO_LEVEL_GC_WORKERS] / ps * 16 + 0.5);
		for (at = 0; at < 16; at++)
			bar[at] = at < cells ? (at < gc ? 'g' : '#') : '.';
		bar[16] = 0;
		cell_text(t, bar);
	}
	result_after(t, "Means over each row's time. #: goroutines running, g: GC workers among them, .: nothing.");
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	double len = (double)goan_length_ns(c->s);

	put(arg, "parallelism.mean", (double)c->s->level_ns[GO_LEVEL_RUN] / len, CELL_NUMBER);
	put(arg, "parallelism.idle_procs", (double)c->s->level_ns[GO_LEVEL_PROCS_IDLE] / len, CELL_NUMBER);
}

static void findings(struct goan_ctx *c, struct goan_findings *f)
{
	const struct gostate *s = c->s;
	double len = (double)goan_length_ns(s), run = (double)s->level_ns[GO_LEVEL_RUN] / len, wait = (double)s->level_ns[GO_LEVEL_SCHED] / len;
	double procs = (double)s->level_ns[GO_LEVEL_PROCS] / len;
	uint32_t i, one = 0;

	if (procs < 2)
		return;
	for (i = 0; i < c->n; i++) /* pieces of time in which about one goroutine ran while the others had nothing to run */
		one += c->b[i].level_ns[GO_LEVEL_RUN] > c->b[i].ns * 8 / 10 && c->b[i].level_ns[GO_LEVEL_RUN] < c->b[i].ns * 12 / 10 &&
		       c->b[i].level_ns[GO_LEVEL_SCHED] < c->b[i].ns / 2;
	if (c->n && one * 10 > c->n)
		goan_find(f, 0.5 * one / c->n, "parallelism", "%.0f%% of the time about one goroutine ran and the other %.0f Ps had nothing to do", 100. * one / c->n,
			  procs - 1);
	else if (run > 0.95 * procs && wait > procs)
		goan_find(f, 0.3, "parallelism", "all %.0f Ps were busy, with %.1f goroutines waiting for one on average", procs, wait);
}

static void free_ctx(struct goan_ctx *c)
{
	free(c->b);
	free(c);
}

const struct goan_type goan_parallelism = { "parallelism", "how much ran at the same time", open_ctx, report, metrics, findings, free_ctx };
