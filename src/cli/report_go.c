#include "cli/report_go.h"
#include "analyze/goanalysis.h"
#include "analyze/gokernel.h"
#include "base/plain.h"
#include "base/table.h"
#include "gotrace/gotrace.h"
#include "timeline/timeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS      12u
#define ROWS_JSON 1000u
#define NOTES     64u

struct clock_row {
	char *name, *how;
	uint64_t error_ns;
};

struct report_go {
	struct gosyms syms;
	struct gokernel k;
	const struct kview *kv; /* the kernel's view, if a trace says which of its threads ran what */
	unsigned unsplit;       /* traces that do not, though there is one */
	struct clock_row *clock;
	unsigned nclocks, ntraces;
	char *note[NOTES];
	unsigned nnotes;
};

static void note(struct report_go *g, const char *path, const char *text)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s: %s", path, text);
	if (g->nnotes < NOTES && !buf_failed(&b))
		g->note[g->nnotes++] = strdup(b.data);
	buf_done(&b);
}

/* Of a trace that counts from its own begin it was said only when it was asked for and when it had come; its length tells more. */
static void nearer(struct report_go *g, int64_t length_ns)
{
	struct clock_row *c = &g->clock[g->nclocks - 1];

	if (length_ns > 0 && c->error_ns != TIMELINE_NO_ERROR_KNOWN)
		c->error_ns = c->error_ns > (uint64_t)length_ns ? c->error_ns - (uint64_t)length_ns : 0;
}

static int read_trace(struct report_go *g, const struct kview *kv, const char *path, int64_t pid, struct err *err)
{
	struct gander_gotrace_info info;
	struct gander_gotrace_event ev;
	struct gander_gotrace *t = NULL;
	struct err why = ERR_INIT;
	struct gostate s;
	int64_t last = 0;
	int r;

	r = plain_is(path) ? gander_gotrace_open(&t, path, NULL, err_public(&why)) : err_set(&why, -ENOENT, "there is no such file");
	if (r < 0) {
		note(g, path, why.text);
		return r == -ENOMEM ? err_set(err, r, "out of memory") : 0;
	}
	gostate_init(&s, &g->syms);
	gander_gotrace_info(t, &info);
	/* threads and times are the kernel's from Go 1.22 on */
	g->k.kv = info.version >= 22 ? kv : NULL;
	if (g->k.kv)
		g->kv = kv;
	else
		g->unsplit += kv != NULL;
	g->k.pid = pid;
	r = gokernel_add(&g->k, &s);
	if (r == 0) {
		gostate_begin(&s, t);
		while ((r = gander_gotrace_next(t, &ev, err_public(&why))) > 0) {
			gostate_event(&s, &ev);
			last = ev.time_ns;
		}
		if (info.version < 22)
			nearer(g, last);
		if (r < 0)
			note(g, path, why.text);
		r = gostate_end(&s, err);
	}
	gostate_done(&s);
	gander_gotrace_free(t);
	return r;
}

static int add_clock(struct report_go *g, const struct timeline_source *src)
{
	struct clock_row *more = realloc(g->clock, (g->nclocks + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	g->clock = more;
	more += g->nclocks;
	more->name = strdup(src->name);
	more->how = strdup(src->how ? src->how : "");
	more->error_ns = src->error_ns;
	if (!more->name || !more->how) {
		free(more->name);
		free(more->how);
		return -ENOMEM;
	}
	g->nclocks++;
	return 0;
}

int report_go_new(struct report_go **ret, const char *dir, const struct kview *kv, struct err *err)
{
	struct report_go *g = calloc(1, sizeof(*g));
	struct timeline_source src;
	struct timeline *tl = NULL;
	unsigned i;
	int r;

	*ret = NULL;
	if (!g || gosyms_init(&g->syms) < 0) {
		free(g);
		return err_set(err, -ENOMEM, "out of memory");
	}
	r = timeline_open(&tl, &dir, 1, NULL, err);
	for (i = 0; r == 0 && i < timeline_sources(tl); i++) {
		timeline_source(tl, i, &src);
		if (add_clock(g, &src) < 0)
			r = err_set(err, -ENOMEM, "out of memory");
		if (r < 0 || src.kind != TIMELINE_GO)
			continue;
		g->ntraces++;
		r = read_trace(g, kv, src.path, src.pid, err);
	}
	timeline_free(tl);
	if (r < 0 || g->k.failed) {
		report_go_free(g);
		return r < 0 ? r : err_set(err, -ENOMEM, "out of memory");
	}
	gokernel_sort(&g->k);
	*ret = g;
	return 0;
}

void report_go_free(struct report_go *g)
{
	unsigned i;

	if (!g)
		return;
	for (i = 0; i < g->nclocks; i++) {
		free(g->clock[i].name);
		free(g->clock[i].how);
	}
	for (i = 0; i < g->nnotes; i++)
		free(g->note[i]);
	free(g->clock);
	gokernel_done(&g->k);
	gosyms_done(&g->syms);
	free(g);
}

/* What a terminal could act upon does not come out. */
static const char *plain(char to[40], const char *s, unsigned width)
{
	unsigned i;

	for (i = 0; s[i] && i < width && i < 39; i++)
		to[i] = s[i] >= ' ' && s[i] < 0x7f ? s[i] : '?';
	to[i] = 0;
	return to;
}

void report_go_text(const struct report_go *g, FILE *out)
{
	char a[UNIT_TEXT], b[UNIT_TEXT], c[UNIT_TEXT], d[UNIT_TEXT], e[UNIT_TEXT], name[40], why[40];
	const struct gokernel_row *r;
	int kernel; /* width of the column that only the kernel's view has */
	uint32_t i;

	if (!g || !g->ntraces)
		return;
	kernel = g->kv ? 10 : 0;
	fprintf(out, "\nGOROUTINES, by the Go trace%s, the busiest of %u\n", g->kv ? " and the kernel's scheduler" : "", g->k.nrows);
	fprintf(out, "  %-9s %-24s %7s %7s%*s %7s %8s  %s\n", "goroutine", "function", g->kv ? "on CPU" : "running", "waits P", kernel,
		g->kv ? "waits CPU" : "", "blocked", "waiting", "mostly for");
	for (i = 0; i < g->k.nrows && i < ROWS; i++) {
		r = &g->k.row[i];
		fprintf(out, "  %-9lld %-24s %7s %7s%*s %7s %8s  %s\n", (long long)r->goid, plain(name, goan_func_text(&g->syms, r->func), 24),
			duration_text(a, r->on_cpu_ns), duration_text(b, r->wait_p_ns), kernel, g->kv ? duration_text(c, r->wait_cpu_ns) : "",
			duration_text(d, r->blocked_ns), duration_text(e, r->waiting_ns), plain(why, gosyms_text(&g->syms, r->reason), 24));
	}
	if (g->k.nrows > ROWS)
		fprintf(out, "  ... and %u more (--json has them)\n", g->k.nrows - ROWS);
	if (g->unsplit)
		fprintf(out, "  %s of Go before 1.22 %s not say which of the kernel's threads ran what: running is not divided\n",
			g->unsplit == 1 ? "a trace" : "traces", g->unsplit == 1 ? "does" : "do");
}

void report_go_clocks_text(const struct report_go *g, FILE *out)
{
	char a[UNIT_TEXT], name[40];
	unsigned i;

	if (!g || g->nclocks < 2)
		return;
	fprintf(out, "\nCLOCKS, each brought onto CLOCK_MONOTONIC\n");
	for (i = 0; i < g->nclocks && i < 20; i++)
		if (g->clock[i].error_ns == TIMELINE_NO_ERROR_KNOWN)
			fprintf(out, "  %-32s error not known: %s\n", plain(name, g->clock[i].name, 32), g->clock[i].how);
		else
			fprintf(out, "  %-32s within %s: %s\n", plain(name, g->clock[i].name, 32), duration_text(a, g->clock[i].error_ns), g->clock[i].how);
	if (g->nclocks > 20)
		fprintf(out, "  ... and %u more\n", g->nclocks - 20);
}

static void put(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void put_row(struct json *j, const struct report_go *g, const struct gokernel_row *r)
{
	json_obj(j);
	json_key(j, "goroutine");
	json_i64(j, r->goid);
	json_key(j, "pid");
	json_i64(j, r->pid);
	json_key(j, "function");
	json_str(j, gosyms_text(&g->syms, r->func));
	put(j, "on_cpu_ns", r->on_cpu_ns);
	put(j, "wait_p_ns", r->wait_p_ns);
	put(j, "wait_cpu_ns", r->wait_cpu_ns);
	put(j, "blocked_ns", r->blocked_ns);
	put(j, "waiting_ns", r->waiting_ns);
	put(j, "unknown_ns", r->unknown_ns);
	put(j, "waits", r->waits);
	json_key(j, "mostly_for");
	json_str(j, gosyms_text(&g->syms, r->reason));
	json_obj_end(j);
}

void report_go_json(const struct report_go *g, struct json *j)
{
	uint32_t i;

	if (!g)
		return;
	json_key(j, "goroutines");
	json_arr(j);
	for (i = 0; i < g->k.nrows && i < ROWS_JSON; i++)
		put_row(j, g, &g->k.row[i]);
	json_arr_end(j);
	put(j, "goroutines_total", g->k.nrows);
	json_key(j, "clocks");
	json_arr(j);
	for (i = 0; i < g->nclocks; i++) {
		json_obj(j);
		json_key(j, "source");
		json_str(j, g->clock[i].name);
		json_key(j, "error_ns");
		if (g->clock[i].error_ns == TIMELINE_NO_ERROR_KNOWN)
			json_nil(j);
		else
			json_u64(j, g->clock[i].error_ns);
		json_key(j, "how");
		json_str(j, g->clock[i].how);
		json_obj_end(j);
	}
	json_arr_end(j);
}

unsigned report_go_notes(const struct report_go *g, void (*say)(void *arg, const char *where, const char *text), void *arg)
{
	unsigned i;

	for (i = 0; g && i < g->nnotes; i++)
		say(arg, "", g->note[i]);
	return g ? g->nnotes : 0;
}
