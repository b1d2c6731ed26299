#include "analyze/godiff.h"
#include "base/hist.h"
#include "base/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_NS 20000000
#define SCALES   3
static const int64_t scale_len[SCALES] = { 1, 4, 16 };
#define MIN_SLICES 6 /* of a scale, or its spread says nothing */
#define SIGMAS     3
#define MIN_RATE   1e5 /* changes below 0.1 ms in a second are never worth a line */

enum what { W_STATE,
	    W_FUNC_RUN,
	    W_FUNC_SCHED,
	    W_WAIT,
	    W_SYSCALL,
	    W_STW,
	    W_ASSIST,
	    W_MADE,
	    W_KINDS };
static const char *const what_name[W_KINDS] = { "time in state", "running", "runnable", "blocked", "syscall", "stop-the-world", "GC assist", "goroutines made" };

struct quantity {
	uint8_t what;
	uint32_t a, b; /* stack or function, and reason: of this side's symbols */
	uint32_t next;
	double sum;
	struct hist_lean hist; /* of durations */
	struct {
		int64_t slice;
		double now, squares;
	} scale[SCALES];
};

struct godiff {
	struct gostate *s;
	struct map index; /* hashed key -> quantity + 1, chained */
	struct quantity *q;
	uint32_t n, cap;
};

static struct quantity *quantity(struct godiff *d, enum what what, uint32_t a, uint32_t b)
{
	uint64_t key = ((uint64_t)what << 60) ^ ((uint64_t)a << 24) ^ b, *v;
	struct quantity *q;
	bool added;
	uint32_t i;

	v = map_put(&d->index, key, &added);
	if (!v)
		return NULL;
	for (i = (uint32_t)*v; i; i = d->q[i - 1].next)
		if (d->q[i - 1].what == what && d->q[i - 1].a == a && d->q[i - 1].b == b)
			return &d->q[i - 1];
	if (d->n == d->cap) {
		uint32_t cap = d->cap ? d->cap * 2 : 128;

		q = realloc(d->q, cap * sizeof(*q));
		if (!q)
			return NULL;
		d->q = q;
		d->cap = cap;
	}
	q = &d->q[d->n++];
	memset(q, 0, sizeof(*q));
	q->what = (uint8_t)what;
	q->a = a;
	q->b = b;
	q->next = (uint32_t)*v;
	*v = d->n;
	return q;
}

static void add(struct godiff *d, enum what what, uint32_t a, uint32_t b, double v, bool whole, uint64_t ns)
{
	struct quantity *q = quantity(d, what, a, b);
	int64_t slice = (d->s->now - d->s->start_ns) / SLICE_NS;
	int i;

	if (!q)
		return;
	q->sum += v;
	if (whole)
		hist_lean_add(&q->hist, ns);
	for (i = 0; i < SCALES; i++) {
		int64_t at = slice / scale_len[i];

		if (q->scale[i].slice != at) { /* slices without anything add nothing to the sum of squares */
			q->scale[i].squares += q->scale[i].now * q->scale[i].now;
			q->scale[i].now = 0;
			q->scale[i].slice = at;
		}
		q->scale[i].now += v;
	}
}

static void span(void *ctx, const struct gospan *sp)
{
	struct godiff *d = ctx;
	uint64_t ns = (uint64_t)(sp->end_ns - sp->start_ns);
	bool whole = !sp->open_start && !sp->open_end;

	if (sp->g->system)
		return;
	add(d, W_STATE, sp->state, 0, (double)ns, whole, ns);
	switch (sp->state) {
	case GANDER_GOTRACE_GO_RUNNING:
		add(d, W_FUNC_RUN, sp->g->func, 0, (double)ns, whole, ns);
		break;
	case GANDER_GOTRACE_GO_RUNNABLE:
		add(d, W_FUNC_SCHED, sp->g->func, 0, (double)ns, whole, ns);
		break;
	case GANDER_GOTRACE_GO_WAITING:
		add(d, W_WAIT, sp->own_stack, sp->reason, (double)ns, whole, ns);
		break;
	case GANDER_GOTRACE_GO_SYSCALL:
		add(d, W_SYSCALL, sp->own_stack, 0, (double)ns, whole, ns);
		break;
	}
}

static void range(void *ctx, const struct gorange *r)
{
	uint64_t ns = (uint64_t)(r->end_ns - r->start_ns);

	if (r->id == GANDER_GOTRACE_RANGE_STW)
		add(ctx, W_STW, r->name, 0, (double)ns, !r->open_start && !r->open_end, ns);
	else if (r->id == GANDER_GOTRACE_RANGE_MARK_ASSIST && r->g)
		add(ctx, W_ASSIST, r->g->func, 0, (double)ns, !r->open_start && !r->open_end, ns);
}

static void born(void *ctx, struct goro *g)
{
	/* a goroutine counts as a microsecond, so that all quantities are times: about what making and ending one costs */
	if (!g->there_at_start && !g->system)
		add(ctx, W_MADE, g->func, 0, 1000, false, 0);
}

int godiff_new(struct godiff **ret, struct gostate *s)
{
	struct godiff *d = calloc(1, sizeof(*d));
	struct gosink sink = { .ctx = d, .spans = ~0u, .span = span, .range = range, .born = born };

	if (!d)
		return -ENOMEM;
	d->s = s;
	*ret = d;
	return gostate_add(s, &sink);
}

void godiff_free(struct godiff *d)
{
	uint32_t i;

	if (!d)
		return;
	for (i = 0; i < d->n; i++)
		hist_lean_done(&d->q[i].hist);
	map_done(&d->index);
	free(d->q);
	free(d);
}

/* The rate in ns per s, and its standard error. */
static double rate(const struct godiff *d, const struct quantity *q, double *error)
{
	double len = (double)goan_length_ns(d->s), mean, worst = 0;
	int i;

	*error = 0;
	if (!q)
		return 0;
	for (i = 0; i < SCALES; i++) {
		double width = (double)(SLICE_NS * scale_len[i]), n = len / width, var, e;

		if (n < MIN_SLICES)
			break;
		mean = q->sum / n;
		var = (q->scale[i].squares + q->scale[i].now * q->scale[i].now) / n - mean * mean;
		e = var > 0 ? sqrt(var / (n - 1)) / width * 1e9 : 0;
		if (e > worst)
			worst = e;
	}
	*error = worst;
	return q->sum / len * 1e9;
}

/* One key for both sides: the text of what a quantity is. Stacks by their functions: lines and addresses differ between builds. */
static void text_key(const struct godiff *d, const struct quantity *q, struct buf *key)
{
	const struct gosyms *s = d->s->syms;
	unsigned i, n;

	buf_clear(key);
	buf_putc(key, (char)('A' + q->what));
	if (q->what == W_STATE) {
		buf_puts(key, gander_gotrace_go_state_name(q->a));
	} else if (q->what == W_WAIT || q->what == W_SYSCALL) {
		buf_puts(key, gosyms_text(s, q->b));
		n = gosyms_depth(s, q->a);
		for (i = 0; i < n; i++)
			buf_printf(key, "\n%s", gosyms_text(s, gosyms_frame(s, q->a, i).func));
	} else {
		buf_puts(key, gosyms_text(s, q->a));
	}
}

struct change {
	const struct quantity *a, *b;
	double ra, rb, noise;
	bool significant;
};

static int by_size(const void *x, const void *y)
{
	const struct change *p = x, *q = y;
	double a = fabs(p->rb - p->ra), b = fabs(q->rb - q->ra);

	if (p->significant != q->significant)
		return q->significant - p->significant;
	return a < b ? 1 : a > b ? -1
				 : 0;
}

/* Different stacks may have the same functions: their quantities are one. */
static void fold(struct quantity *into, const struct quantity *q)
{
	int i;

	into->sum += q->sum;
	hist_lean_merge(&into->hist, &q->hist);
	for (i = 0; i < SCALES; i++) {
		/* as if the parts always moved together: the larger error, so rather no report than a false one */
		double a = sqrt(into->scale[i].squares + into->scale[i].now * into->scale[i].now), b = sqrt(q->scale[i].squares + q->scale[i].now * q->scale[i].now);

		into->scale[i].squares = (a + b) * (a + b);
		into->scale[i].now = 0;
	}
}

static void side(const struct godiff *d, struct intern *keys, struct quantity **q, uint32_t *n, uint32_t *cap, uint32_t **names)
{
	struct buf key = BUF_INIT;
	uint32_t i;

	for (i = 0; i < d->n; i++) {
		int64_t id;

		text_key(d, &d->q[i], &key);
		id = key.data ? intern_bytes(keys, key.data, key.len, NULL) : -1;
		if (id < 0)
			continue;
		if (id >= *cap) {
			uint32_t c = (uint32_t)id * 2 + 64;
			struct quantity *nq = realloc(*q, c * sizeof(*nq));
			uint32_t *nn = nq ? realloc(*names, c * sizeof(*nn)) : NULL;

			if (nq)
				*q = nq;
			if (!nn)
				continue;
			memset(*q + *cap, 0, (c - *cap) * sizeof(**q));
			memset(nn + *cap, 0, (c - *cap) * sizeof(*nn));
			*names = nn;
			*cap = c;
		}
		if (id >= *n)
			*n = (uint32_t)id + 1;
		if (!(*names)[id]) {
			(*q)[id] = d->q[i];
			memset(&(*q)[id].hist, 0, sizeof((*q)[id].hist));
			hist_lean_merge(&(*q)[id].hist, &d->q[i].hist);
			(*names)[id] = 1;
		} else {
			fold(&(*q)[id], &d->q[i]);
		}
	}
	buf_done(&key);
}

unsigned godiff_report(const struct godiff *a, const struct godiff *b, uint64_t top, bool all, struct result *r)
{
	static const struct result_col cols[] = {
		{ "change_per_s", "CHANGE", CELL_TEXT, 0 },
		{ "a_ns_per_s", "A PER S", CELL_DURATION, 0 },
		{ "b_ns_per_s", "B PER S", CELL_DURATION, 0 },
		{ "noise_ns_per_s", "NOISE", CELL_DURATION, 0 },
		{ "what", "WHAT", CELL_TEXT, 0 },
		{ "where", "WHERE", CELL_TEXT, 0 },
		{ "change_ns_per_s", NULL, CELL_NUMBER, COL_JSON_ONLY },
		{ "significant", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "reason", NULL, CELL_TEXT, COL_JSON_ONLY },
	};
	static const struct result_col lat_cols[] = {
		{ "a_ns", "A", CELL_DURATION, 0 },
		{ "b_ns", "B", CELL_DURATION, 0 },
		{ "a_low_ns", "A FROM", CELL_DURATION, 0 },
		{ "a_high_ns", "TO", CELL_DURATION, 0 },
		{ "b_low_ns", "B FROM", CELL_DURATION, 0 },
		{ "b_high_ns", "TO", CELL_DURATION, 0 },
		{ "what", "WHAT", CELL_TEXT, 0 },
		{ "where", "WHERE", CELL_TEXT, 0 },
	};
	static const double qs[] = { 0.5, 0.99 };
	struct intern keys = { 0 };
	struct quantity *qa = NULL, *qb = NULL;
	uint32_t na = 0, nb = 0, ca = 0, cb = 0, *ia = NULL, *ib = NULL, n, i, k;
	struct change *ch;
	struct result_table *t;
	unsigned changes = 0, rows = 0;

	side(a, &keys, &qa, &na, &ca, &ia);
	side(b, &keys, &qb, &nb, &cb, &ib);
	n = na > nb ? na : nb;
	ch = calloc((size_t)n + 1, sizeof(*ch));
	for (i = 0; ch && i < n; i++) {
		double ea, eb, d;
		struct change *c = &ch[i];

		c->a = i < na && ia[i] ? &qa[i] : NULL;
		c->b = i < nb && ib[i] ? &qb[i] : NULL;
		c->ra = rate(a, c->a, &ea);
		c->rb = rate(b, c->b, &eb);
		c->noise = SIGMAS * sqrt(ea * ea + eb * eb);
		d = fabs(c->rb - c->ra);
		c->significant = d > c->noise && d > MIN_RATE && d > 0.02 * (c->ra > c->rb ? c->ra : c->rb);
		changes += c->significant;
	}
	if (goan_length_ns(a->s) < MIN_SLICES * (uint64_t)SLICE_NS || goan_length_ns(b->s) < MIN_SLICES * (uint64_t)SLICE_NS) {
		result_note(r, "a trace is shorter than %d ms: its own spread is not known, so nothing can be called a change", MIN_SLICES * SLICE_NS / 1000000);
		for (i = 0; ch && i < n; i++)
			ch[i].significant = false;
		changes = 0;
	}
	t = result_table(r, "changes", "Time that changed", cols, sizeof(cols) / sizeof(*cols));
	if (ch)
		goan_sort(ch, n, sizeof(*ch), by_size);
	for (i = 0; ch && i < n; i++) {
		const struct change *c = &ch[i];
		const struct quantity *q = c->b ? c->b : c->a;
		const struct godiff *d = c->b ? b : a;
		const struct gosyms *s = d->s->syms;
		struct buf where = BUF_INIT;
		char text[UNIT_TEXT];

		if (!q || (!c->significant && !all))
			continue;
		if (rows++ >= top) {
			if (t)
				t->more++;
			continue;
		}
		cell_textf(t, "%c%s", c->rb < c->ra ? '-' : '+', duration_text(text, (uint64_t)fabs(c->rb - c->ra)));
		cell_u64(t, (uint64_t)c->ra);
		cell_u64(t, (uint64_t)c->rb);
		cell_u64(t, (uint64_t)c->noise);
		if (q->what == W_WAIT && q->b)
			cell_textf(t, "%s", gosyms_text(s, q->b));
		else
			cell_text(t, what_name[q->what]);
		if (q->what == W_STATE) {
			cell_text(t, gander_gotrace_go_state_name(q->a));
		} else if (q->what == W_WAIT || q->what == W_SYSCALL) {
			gosyms_where_text(s, q->a, &where);
			cell_text(t, where.data ? where.data : "-");
		} else {
			cell_text(t, q->what == W_STW ? gosyms_text(s, q->a) : goan_func_text(s, q->a));
		}
		cell_f64(t, c->rb - c->ra);
		cell_u64(t, c->significant);
		cell_text(t, q->what == W_WAIT ? gosyms_text(s, q->b) : "");
		buf_done(&where);
	}
	if (rows)
		result_after(t, "Per second of trace, summed over goroutines. NOISE: what a repetition could differ by (%d standard errors).", SIGMAS);
	t = result_table(r, "latencies", "Durations that changed", lat_cols, sizeof(lat_cols) / sizeof(*lat_cols));
	for (rows = 0, i = 0; ch && i < n; i++) {
		const struct change *c = &ch[i];

		for (k = 0; k < 2 && c->a && c->b; k++) {
			uint64_t al, ah, bl, bh, va, vb;
			struct buf where = BUF_INIT;

			if (c->a->hist.count < 50 || c->b->hist.count < 50 || c->a->what == W_FUNC_RUN)
				continue;
			hist_lean_quantile_ci(&c->a->hist, qs[k], &al, &ah);
			hist_lean_quantile_ci(&c->b->hist, qs[k], &bl, &bh);
			va = hist_lean_quantile(&c->a->hist, qs[k]);
			vb = hist_lean_quantile(&c->b->hist, qs[k]);
			/* beyond the interval, and beyond the width of a bucket on both sides */
			if (!all && ((ah >= bl && bh >= al) || (double)(va > vb ? va : vb) < 1.25 * (double)(va > vb ? vb : va)))
				continue;
			changes++;
			if (rows++ >= top) {
				if (t)
					t->more++;
				continue;
			}
			cell_u64(t, va);
			cell_u64(t, vb);
			cell_u64(t, al);
			cell_u64(t, ah);
			cell_u64(t, bl);
			cell_u64(t, bh);
			cell_textf(t, "%s of %s", k ? "p99" : "p50", c->a->what == W_WAIT && c->a->b ? gosyms_text(a->s->syms, c->a->b) : what_name[c->a->what]);
			if (c->a->what == W_STATE) {
				cell_text(t, gander_gotrace_go_state_name(c->a->a));
			} else if (c->a->what == W_WAIT || c->a->what == W_SYSCALL) {
				gosyms_where_text(a->s->syms, c->a->a, &where);
				cell_text(t, where.data ? where.data : "-");
			} else {
				cell_text(t, c->a->what == W_STW ? gosyms_text(a->s->syms, c->a->a) : goan_func_text(a->s->syms, c->a->a));
			}
			buf_done(&where);
		}
	}
	if (!changes)
		result_note(r, "no change that exceeds the traces' own spread");
	for (i = 0; i < na; i++)
		if (ia[i])
			hist_lean_done(&qa[i].hist);
	for (i = 0; i < nb; i++)
		if (ib[i])
			hist_lean_done(&qb[i].hist);
	free(ch);
	free(qa);
	free(qb);
	free(ia);
	free(ib);
	intern_done(&keys);
	return changes;
}
