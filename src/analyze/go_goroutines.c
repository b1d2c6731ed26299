/* Where the time of goroutines goes, by entry function, or for single goroutines (--by goroutine). The parts add up to
 * the time that the goroutine was in the trace. */
#include "analyze/goanalysis.h"
#include "base/hist.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

struct func {
	uint32_t func;
	bool system;
	uint64_t n, created, ended, never_ran, runs, life_ns;
	struct goro_parts parts;
	struct goro_wait *wait;
	unsigned nwait;
	struct hist_lean life; /* of those whose whole life is in the trace */
};

struct one { /* a single goroutine, kept when it is among the longest */
	int64_t id, made_by, born_ns;
	uint32_t func, made_stack, runs;
	uint64_t life_ns, assist_ns, stw_ns;
	struct goro_parts parts;
	bool ended, never_ran;
	uint32_t state, reason, own_stack;
};

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	bool by_goroutine;
	struct func *f;
	uint32_t nf, cap, *index, nindex; /* index: by function's string id, + 1 */
	struct one *one;
	size_t none, one_cap;
	uint64_t more;
};

static struct func *func_of(struct goan_ctx *c, const struct goro *g)
{
	struct func *f;

	if (g->func >= c->nindex) {
		uint32_t n = (g->func + 32) * 2, *index = realloc(c->index, n * sizeof(*index));

		if (!index)
			return NULL;
		memset(index + c->nindex, 0, (n - c->nindex) * sizeof(*index));
		c->index = index;
		c->nindex = n;
	}
	if (c->index[g->func])
		return &c->f[c->index[g->func] - 1];
	if (c->nf == c->cap) {
		uint32_t cap = c->cap ? c->cap * 2 : 64;

		f = realloc(c->f, cap * sizeof(*f));
		if (!f)
			return NULL;
		c->f = f;
		c->cap = cap;
	}
	f = &c->f[c->nf++];
	memset(f, 0, sizeof(*f));
	f->func = g->func;
	f->system = g->system;
	c->index[g->func] = c->nf;
	return f;
}

static void add_waits(struct func *f, const struct goro *g)
{
	unsigned i, k;

	for (i = 0; i < g->nwait; i++) {
		for (k = 0; k < f->nwait && f->wait[k].reason != g->wait[i].reason; k++)
			;
		if (k == f->nwait) {
			struct goro_wait *w;

			if (f->nwait >= 256)
				continue;
			w = realloc(f->wait, (f->nwait + 1) * sizeof(*w));
			if (!w)
				continue;
			f->wait = w;
			f->wait[f->nwait++] = (struct goro_wait) { g->wait[i].reason, 0, 0 };
		}
		f->wait[k].count += g->wait[i].count;
		f->wait[k].ns += g->wait[i].ns;
	}
}

static uint64_t one_rank(const struct one *x)
{
	return x->parts.ns[GO_PART_RUN] + x->parts.ns[GO_PART_SCHED];
}

static int by_rank(const void *a, const void *b)
{
	const struct one *x = a, *y = b;
	uint64_t p = one_rank(x), q = one_rank(y);

	if (p != q)
		return p < q ? 1 : -1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Keeps the longest `top`: twice as many are collected, then sorted and halved, so an addition costs O(log top). */
static void keep_one(struct goan_ctx *c, const struct goro *g, bool at_end)
{
	struct one *x;

	if (c->none == c->one_cap) {
		if (c->none >= 2 * c->o.top && c->none > 0) {
			goan_sort(c->one, c->none, sizeof(*c->one), by_rank);
			c->more += c->none - c->o.top;
			c->none = c->o.top;
		} else {
			size_t cap = c->one_cap ? c->one_cap * 2 : 64;

			if (cap > 2 * c->o.top)
				cap = 2 * c->o.top;
			x = realloc(c->one, cap * sizeof(*x));
			if (!x)
				return;
			c->one = x;
			c->one_cap = cap;
		}
	}
	c->one[c->none++] = (struct one) {
		.id = g->id,
		.made_by = g->made_by,
		.born_ns = g->born_ns - c->s->start_ns,
		.func = g->func,
		.made_stack = g->made_stack,
		.runs = g->runs,
		.life_ns = (uint64_t)(c->s->now - g->born_ns),
		.assist_ns = g->range_ns[GANDER_GOTRACE_RANGE_MARK_ASSIST],
		.stw_ns = g->range_ns[GANDER_GOTRACE_RANGE_STW],
		.parts = g->parts,
		.ended = !at_end,
		.never_ran = g->first_run_ns == GO_NEVER,
		.state = g->state,
		.reason = g->reason,
		.own_stack = g->own_stack,
	};
}

static void gone(void *ctx, struct goro *g, bool at_end)
{
	struct goan_ctx *c = ctx;
	uint64_t life = (uint64_t)(c->s->now - g->born_ns);
	struct func *f;
	unsigned i;

	if (c->o.goroutine >= 0 && g->id != c->o.goroutine)
		return;
	if (!goan_matches(gosyms_text(c->s->syms, g->func), c->o.function))
		return;
	if (c->by_goroutine && goan_wants_goro(c->s, &c->o, g))
		keep_one(c, g, at_end);
	f = func_of(c, g);
	if (!f)
		return;
	f->n++;
	f->created += !g->there_at_start;
	f->ended += !at_end;
	f->never_ran += g->first_run_ns == GO_NEVER;
	f->runs += g->runs;
	f->life_ns += life;
	for (i = 0; i < GO_PARTS; i++)
		f->parts.ns[i] += g->parts.ns[i];
	add_waits(f, g);
	if (!g->there_at_start && !at_end)
		hist_lean_add(&f->life, life);
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = { .ctx = c, .gone = gone };

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	if (!c->o.top)
		c->o.top = 1;
	c->by_goroutine = o->goroutine >= 0 || (o->by && !strcmp(o->by, "goroutine"));
	*ret = c;
	return gostate_add(s, &sink);
}

static uint64_t wait_ns(const struct gosyms *syms, const struct func *f, const char *word)
{
	uint64_t ns = 0;
	unsigned i;

	for (i = 0; i < f->nwait; i++)
		if (strstr(gosyms_text(syms, f->wait[i].reason), word))
			ns += f->wait[i].ns;
	return ns;
}

static int by_run(const void *a, const void *b)
{
	const struct func *x = a, *y = b;
	uint64_t p = x->parts.ns[GO_PART_RUN], q = y->parts.ns[GO_PART_RUN];

	if (x->system != y->system)
		return x->system - y->system;
	return p != q ? (p < q ? 1 : -1) : x->func < y->func ? -1
							     : x->func > y->func;
}

static const struct result_col func_cols[] = {
	{ "running_ns", "RUN", CELL_DURATION, 0 },
	{ "runnable_ns", "RUNNABLE", CELL_DURATION, 0 },
	{ "blocked_ns", "BLOCKED", CELL_DURATION, 0 },
	{ "syscall_ns", "SYSCALL", CELL_DURATION, 0 },
	{ "count", "COUNT", CELL_COUNT, 0 },
	{ "alive", "ALIVE", CELL_COUNT, 0 },
	{ "never_ran", "IDLE", CELL_COUNT, 0 },
	{ "function", "FUNCTION", CELL_TEXT, 0 },
	{ "system", NULL, CELL_COUNT, COL_JSON_ONLY },
	{ "created", NULL, CELL_COUNT, COL_JSON_ONLY },
	{ "ended", NULL, CELL_COUNT, COL_JSON_ONLY },
	{ "total_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "syscall_without_p_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "network_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "sync_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "chan_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "select_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "sleep_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "runs", NULL, CELL_COUNT, COL_JSON_ONLY },
	{ "life_p50_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "life_p99_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	{ "life_max_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
};

static void func_row(struct result_table *t, const struct gosyms *syms, const struct func *f)
{
	cell_u64(t, f->parts.ns[GO_PART_RUN]);
	cell_u64(t, f->parts.ns[GO_PART_SCHED]);
	cell_u64(t, f->parts.ns[GO_PART_WAIT]);
	cell_u64(t, f->parts.ns[GO_PART_SYSCALL] + f->parts.ns[GO_PART_SYSCALL_OFF]);
	cell_u64(t, f->n);
	cell_u64(t, f->n - f->ended);
	cell_u64(t, f->never_ran);
	if (f->func)
		cell_text(t, gosyms_short(gosyms_text(syms, f->func)));
	else
		cell_text(t, "(no stack seen)");
	cell_u64(t, f->system);
	cell_u64(t, f->created);
	cell_u64(t, f->ended);
	cell_u64(t, f->life_ns);
	cell_u64(t, f->parts.ns[GO_PART_SYSCALL_OFF]);
	cell_u64(t, wait_ns(syms, f, "network"));
	cell_u64(t, wait_ns(syms, f, "sync"));
	cell_u64(t, wait_ns(syms, f, "chan"));
	cell_u64(t, wait_ns(syms, f, "select"));
	cell_u64(t, wait_ns(syms, f, "sleep"));
	cell_u64(t, f->runs);
	cell_hist(t, &f->life);
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col one_cols[] = {
		{ "running_ns", "RUN", CELL_DURATION, 0 },
		{ "runnable_ns", "RUNNABLE", CELL_DURATION, 0 },
		{ "blocked_ns", "BLOCKED", CELL_DURATION, 0 },
		{ "syscall_ns", "SYSCALL", CELL_DURATION, 0 },
		{ "life_ns", "LIFE", CELL_DURATION, 0 },
		{ "goroutine", "GOID", CELL_COUNT, 0 },
		{ "state", "AT END", CELL_TEXT, 0 },
		{ "function", "FUNCTION", CELL_TEXT, 0 },
		{ "syscall_without_p_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "born_ns", NULL, CELL_TIME, COL_JSON_ONLY },
		{ "made_by", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "runs", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "assist_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "stw_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "made_at", NULL, CELL_STACK, COL_JSON_ONLY },
		{ "stack", NULL, CELL_STACK, COL_JSON_ONLY },
	};
	static const struct result_col wait_cols[] = {
		{ "blocked_ns", "BLOCKED", CELL_DURATION, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		{ "reason", "REASON", CELL_TEXT, 0 },
		{ "function", "FUNCTION", CELL_TEXT, 0 },
	};
	const struct gosyms *syms = c->s->syms;
	struct result_table *t;
	struct func sys = { .system = true };
	uint32_t i, k, shown = 0, nsys = 0;

	for (i = 0; i < c->nindex; i++) /* the table is sorted now, the index is not needed again */
		c->index[i] = 0;
	goan_sort(c->f, c->nf, sizeof(*c->f), by_run);
	for (i = 0; i < c->nf; i++)
		c->index[c->f[i].func] = i + 1;
	t = result_table(r, "functions", "Goroutines by function", func_cols, sizeof(func_cols) / sizeof(*func_cols));
	for (i = 0; i < c->nf; i++) {
		struct func *f = &c->f[i];

		if (f->system && f->func && !c->o.system && !c->o.function) {
			for (k = 0; k < GO_PARTS; k++)
				sys.parts.ns[k] += f->parts.ns[k];
			sys.n += f->n;
			sys.ended += f->ended;
			sys.never_ran += f->never_ran;
			nsys++;
			continue;
		}
		if (shown++ < c->o.top)
			func_row(t, syms, f);
	}
	if (t && shown > c->o.top)
		t->more = shown - c->o.top;
	result_after(t, "ALIVE: at the trace's end. IDLE: never ran in the trace.");
	if (nsys) {
		char run[UNIT_TEXT];

		result_note(r, "%llu system goroutines ran for %s (--system shows them)", (unsigned long long)sys.n,
			    duration_text(run, sys.parts.ns[GO_PART_RUN]));
	}
	if (c->o.function) {
		t = result_table(r, "waits", "What they waited for", wait_cols, sizeof(wait_cols) / sizeof(*wait_cols));
		for (i = 0; i < c->nf; i++)
			for (k = 0; k < c->f[i].nwait; k++) {
				const char *reason = gosyms_text(syms, c->f[i].wait[k].reason);

				cell_u64(t, c->f[i].wait[k].ns);
				cell_u64(t, c->f[i].wait[k].count);
				cell_text(t, *reason ? reason : "-");
				cell_text(t, goan_func_text(syms, c->f[i].func));
			}
	}
	if (!c->by_goroutine)
		return;
	goan_sort(c->one, c->none, sizeof(*c->one), by_rank);
	t = result_table(r, "goroutines", "Goroutines", one_cols, sizeof(one_cols) / sizeof(*one_cols));
	for (i = 0; i < c->none && i < c->o.top; i++) {
		const struct one *x = &c->one[i];

		cell_u64(t, x->parts.ns[GO_PART_RUN]);
		cell_u64(t, x->parts.ns[GO_PART_SCHED]);
		cell_u64(t, x->parts.ns[GO_PART_WAIT]);
		cell_u64(t, x->parts.ns[GO_PART_SYSCALL] + x->parts.ns[GO_PART_SYSCALL_OFF]);
		cell_u64(t, x->life_ns);
		cell_u64(t, (uint64_t)x->id);
		if (x->ended)
			cell_text(t, "ended");
		else if (x->state == GANDER_GOTRACE_GO_WAITING && x->reason)
			cell_text(t, gosyms_text(syms, x->reason));
		else
			cell_text(t, gander_gotrace_go_state_name(x->state));
		cell_text(t, goan_func_text(syms, x->func));
		cell_u64(t, x->parts.ns[GO_PART_SYSCALL_OFF]);
		cell_u64(t, (uint64_t)x->born_ns);
		if (x->made_by >= 0)
			cell_u64(t, (uint64_t)x->made_by);
		else
			cell_none(t);
		cell_u64(t, x->runs);
		cell_u64(t, x->assist_ns);
		cell_u64(t, x->stw_ns);
		cell_u64(t, x->made_stack);
		cell_u64(t, x->own_stack);
	}
	if (t)
		t->more = c->more + c->none - i;
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	uint64_t created = 0, alive = 0;
	uint32_t i;

	for (i = 0; i < c->nf; i++) {
		created += c->f[i].created;
		alive += c->f[i].n - c->f[i].ended;
	}
	put(arg, "goroutines.created", (double)created, CELL_COUNT);
	put(arg, "goroutines.alive", (double)alive, CELL_COUNT);
	put(arg, "goroutines.peak", (double)c->s->peak, CELL_COUNT);
}

static void free_ctx(struct goan_ctx *c)
{
	uint32_t i;

	for (i = 0; i < c->nf; i++) {
		hist_lean_done(&c->f[i].life);
		free(c->f[i].wait);
	}
	free(c->f);
	free(c->index);
	free(c->one);
	free(c);
}

const struct goan_type goan_goroutines = { "goroutines", "time by state of goroutines, by function", open_ctx, report, metrics, NULL, free_ctx };
