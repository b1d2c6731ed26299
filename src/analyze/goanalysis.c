#include "analyze/goanalysis.h"
#include "base/hist.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct goan_type *const goan_types[] = {
	&goan_goroutines,
	&goan_blocked,
	&goan_network,
	&goan_sched,
	&goan_syscalls,
	&goan_gc,
	&goan_tasks,
	&goan_regions,
	&goan_threads,
	&goan_parallelism,
	&goan_churn,
	NULL,
};

bool goan_matches(const char *text, const char *part)
{
	return !part || strstr(text, part);
}

bool goan_wants_goro_slow(const struct gostate *s, const struct goan_opts *o, const struct goro *g)
{
	if (o->goroutine >= 0 && g->id != o->goroutine)
		return false;
	return !o->function || strstr(gosyms_text(s->syms, g->func), o->function);
}

uint64_t goan_length_ns(const struct gostate *s)
{
	uint64_t ns = s->past_ns + (uint64_t)gostate_length_ns(s);

	return ns ? ns : 1;
}

void goan_find(struct goan_findings *f, double severity, const char *see, const char *fmt, ...)
{
	struct goan_finding *x;
	va_list ap;

	if (f->n == GOAN_FINDINGS)
		return;
	x = &f->f[f->n++];
	x->severity = severity;
	va_start(ap, fmt);
	vsnprintf(x->text, sizeof(x->text), fmt, ap);
	va_end(ap);
	snprintf(x->see, sizeof(x->see), "%s", see);
}

const char *goan_func_text(const struct gosyms *s, uint32_t func)
{
	return func ? gosyms_short(gosyms_text(s, func)) : "(no stack seen)";
}

void goan_histogram(struct result *r, const char *title, const struct hist_lean *h)
{
	static const struct result_col cols[] = {
		{ "from_ns", "FROM", CELL_DURATION, 0 },
		{ "to_ns", "TO", CELL_DURATION, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		{ "bar", "", CELL_TEXT, 0 },
	};
	struct result_table *t;
	unsigned i, k;

	if (!h->count)
		return;
	t = result_table(r, "histogram", title, cols, sizeof(cols) / sizeof(*cols));
	for (i = h->low; i < h->high; i++) {
		uint64_t sum = 0;
		char bar[41];

		for (k = 0; k < HIST_SUB; k++)
			sum += h->octave[i - h->low][k];
		cell_u64(t, hist_low(i * HIST_SUB));
		cell_u64(t, hist_high(i * HIST_SUB + HIST_SUB - 1));
		cell_u64(t, sum);
		k = (unsigned)(sum * 40 / h->count);
		memset(bar, '#', k);
		bar[k] = 0;
		cell_text(t, bar);
	}
}

int gorun_init(struct gorun *r)
{
	int e;

	memset(r, 0, sizeof(*r));
	e = gosyms_init(&r->syms);
	if (e < 0)
		return e;
	gostate_init(&r->state, &r->syms);
	return 0;
}

void gorun_done(struct gorun *r)
{
	unsigned i;

	for (i = 0; i < r->nan; i++)
		r->an[i].type->free(r->an[i].ctx);
	gostate_done(&r->state);
	gosyms_done(&r->syms);
	memset(r, 0, sizeof(*r));
}

int gorun_add(struct gorun *r, const struct goan_type *type, const struct goan_opts *o, struct err *err)
{
	struct goan_ctx *ctx;
	int e;

	if (r->nan == GOAN_MAX)
		return err_set(err, -ENOSPC, "more than %d analyses in one pass", GOAN_MAX);
	e = type->open(&ctx, &r->state, o);
	if (e < 0)
		return err_set(err, e, "out of memory");
	r->an[r->nan++] = (struct goan) { type, ctx };
	return 0;
}

int gorun_trace(struct gorun *r, struct gander_gotrace *reader, struct err *err)
{
	struct gander_gotrace_event ev;
	struct gander_gotrace_info info;
	struct gander_err gerr = GANDER_ERR_INIT;
	uint64_t n = 0;
	int e, e2;

	gostate_begin(&r->state, reader);
	while ((e = gander_gotrace_next(reader, &ev, &gerr)) > 0) {
		gostate_event(&r->state, &ev);
		if (!(++n & 0x1ffff) && r->progress) {
			gander_gotrace_info(reader, &info);
			r->progress(r->progress_arg, &info);
		}
	}
	gander_gotrace_info(reader, &info);
	r->length_ns += (uint64_t)gostate_length_ns(&r->state);
	r->version = info.version;
	r->bytes += info.version < 22 && info.size_bytes ? info.size_bytes : info.read_bytes; /* before Go 1.22 the file is not read in order */
	r->traces++;
	e2 = gostate_end(&r->state, e < 0 ? NULL : err);
	return e < 0 ? err_set(err, e, "%s", gerr.text) : e2;
}

void gorun_report(struct gorun *r, struct result *to)
{
	unsigned i;

	for (i = 0; i < r->nan; i++)
		r->an[i].type->report(r->an[i].ctx, to);
}

static int by_severity(const void *a, const void *b)
{
	double x = ((const struct goan_finding *)a)->severity, y = ((const struct goan_finding *)b)->severity;

	return x < y ? 1 : x > y ? -1
				 : 0;
}

void gorun_findings(struct gorun *r, struct goan_findings *to)
{
	unsigned i;

	to->n = 0;
	for (i = 0; i < r->nan; i++)
		if (r->an[i].type->findings)
			r->an[i].type->findings(r->an[i].ctx, to);
	goan_sort(to->f, to->n, sizeof(*to->f), by_severity);
}

void gorun_metrics(struct gorun *r, void (*put)(void *arg, const char *name, double value, enum cell_kind kind), void *arg)
{
	unsigned i;

	for (i = 0; i < r->nan; i++)
		if (r->an[i].type->metrics)
			r->an[i].type->metrics(r->an[i].ctx, put, arg);
}
