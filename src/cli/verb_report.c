/* gander report: what a recording holds, on one page. One pass over the events; memory follows the number of classes, programs and
 * goroutines (bounded by THREADS_MAX), not of events. */
#include "base/hist.h"
#include "base/json.h"
#include "base/map.h"
#include "base/table.h"
#include "cli/cli.h"
#include "cli/ctf_where.h"
#include "cli/report_go.h"
#include "cli/report_kernel.h"
#include "cli/report_manifest.h"
#include "ctf/ctf_read.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 1000000u
#define TOP         10

struct kind { /* one event name */
	const char *name;
	int level;
	uint8_t span;
	uint64_t count, own, bytes; /* own: of programs, not of the kernel */
	struct hist_lean time;      /* of the ends of spans */
	uint64_t begun;             /* of a span, under its end's name */
};

struct thread {
	uint64_t id;
	uint32_t trace;
	bool is_goroutine;
	uint64_t count, spans, busy_ns; /* busy: spans that end there, added up */
};

struct report {
	struct gander_ctf *r;
	struct report_kernel *kernel;
	struct report_go *go;
	const char *dir;
	json_t *manifest; /* NULL: not gander's own */
	struct kind *kind;
	uint32_t nkinds, *kind_of; /* by class number: index + 1 */
	uint32_t nclasses;
	struct intern names;
	struct thread *thread;
	uint32_t nthreads, thread_cap;
	struct map threads; /* hash of trace and id -> index + 1 */
	uint64_t other_threads;
	uint64_t *trace_events, *trace_lost;
	uint64_t events, bytes, lost, cut;
	int64_t first_ns, last_ns;
	bool json;
};

extern const struct verb verb_report;

static struct kind *kind_of(struct report *p, const struct gander_ctf_class *c)
{
	struct kind *k;
	uint32_t *more;
	bool added;
	int64_t i;

	if (c->number >= p->nclasses) {
		more = realloc(p->kind_of, (c->number + 256u) * sizeof(*more));
		if (!more)
			return NULL;
		memset(more + p->nclasses, 0, (c->number + 256u - p->nclasses) * sizeof(*more));
		p->kind_of = more;
		p->nclasses = c->number + 256u;
	}
	if (p->kind_of[c->number])
		return &p->kind[p->kind_of[c->number] - 1];
	i = intern_bytes(&p->names, c->name, strlen(c->name), &added);
	if (i < 0)
		return NULL;
	if (added) {
		k = realloc(p->kind, (p->nkinds + 1) * sizeof(*k));
		if (!k)
			return NULL;
		p->kind = k;
		k = &p->kind[p->nkinds++];
		memset(k, 0, sizeof(*k));
		k->name = c->name;
		k->level = c->level;
		k->span = c->span;
	}
	p->kind_of[c->number] = (uint32_t)i + 1;
	return &p->kind[i];
}

static struct thread *thread_of(struct report *p, const struct gander_ctf_event *ev)
{
	uint64_t id, key, *at;
	struct thread *t;
	bool is_go, added;

	if (!ctf_event_thread(p->r, ev, &id, &is_go))
		return NULL;
	key = id * 2 + is_go + ((uint64_t)ev->trace->number << 44);
	at = map_find(&p->threads, key);
	if (at)
		return &p->thread[*at - 1];
	if (p->nthreads == THREADS_MAX) {
		p->other_threads++;
		return NULL;
	}
	if (p->nthreads == p->thread_cap) {
		t = realloc(p->thread, (p->thread_cap * 2 + 64) * sizeof(*t));
		if (!t)
			return NULL;
		p->thread = t;
		p->thread_cap = p->thread_cap * 2 + 64;
	}
	at = map_put(&p->threads, key, &added);
	if (!at)
		return NULL;
	t = &p->thread[p->nthreads++];
	memset(t, 0, sizeof(*t));
	t->id = id;
	t->is_goroutine = is_go;
	t->trace = ev->trace->number;
	*at = p->nthreads;
	return t;
}

static int collect(struct report *p, struct ctf_where *where, struct err *err)
{
	struct gander_ctf_event ev;
	struct thread *t;
	struct kind *k;
	uint64_t ns;
	bool kernel;
	int n;

	p->trace_events = calloc(gander_ctf_traces(p->r) + 1, sizeof(*p->trace_events));
	p->trace_lost = calloc(gander_ctf_traces(p->r) + 1, sizeof(*p->trace_lost));
	if (!p->trace_events || !p->trace_lost)
		return err_set(err, -ENOMEM, "out of memory");
	while ((n = gander_ctf_next(p->r, &ev, (struct gander_err *)err)) > 0) {
		if (ev.kind != GANDER_CTF_EVENT) {
			if (ev.kind == GANDER_CTF_LOST) {
				p->lost += ev.lost;
				p->trace_lost[ev.trace->number] += ev.lost;
			}
			continue;
		}
		if (!ctf_where_holds(where, p->r, &ev))
			continue;
		if (!p->events)
			p->first_ns = ev.time_ns;
		p->last_ns = ev.time_ns;
		p->events++;
		p->bytes += ev.size;
		p->cut += ev.cut;
		p->trace_events[ev.trace->number]++;
		k = kind_of(p, ev.class_);
		if (!k)
			return err_set(err, -ENOMEM, "out of memory");
		kernel = ctf_trace_is_kernel(p->r, ev.trace->number);
		k->count++;
		k->own += !kernel;
		k->bytes += ev.size;
		t = kernel ? NULL : thread_of(p, &ev);
		if (t)
			t->count++;
		if (ctf_event_duration(p->r, &ev, &ns)) {
			hist_lean_add(&k->time, ns);
			if (t) {
				t->spans++;
				t->busy_ns += ns;
			}
		}
	}
	return n;
}

/* "x.begin" and "x.end" belong together. */
static void pair_spans(struct report *p)
{
	size_t len;
	uint32_t i, j;

	for (i = 0; i < p->nkinds; i++) {
		len = strlen(p->kind[i].name);
		if (p->kind[i].span != GANDER_CTF_SPAN_END || len < 5)
			continue;
		for (j = 0; j < p->nkinds; j++)
			if (p->kind[j].span == GANDER_CTF_SPAN_BEGIN && strlen(p->kind[j].name) == len + 2 &&
			    !strncmp(p->kind[i].name, p->kind[j].name, len - 4))
				p->kind[i].begun = p->kind[j].count;
	}
}

/* The programs' own first: the kernel's are many, and answer another question. */
static int by_count(const void *a, const void *b)
{
	const struct kind *x = a, *y = b;

	if (!x->own != !y->own)
		return x->own ? -1 : 1;
	return x->count < y->count ? 1 : x->count > y->count ? -1
							     : strcmp(x->name, y->name);
}

static int by_total(const void *a, const void *b)
{
	const struct kind *const *x = a, *const *y = b;

	return (*x)->time.sum < (*y)->time.sum ? 1 : (*x)->time.sum > (*y)->time.sum ? -1
										     : strcmp((*x)->name, (*y)->name);
}

static int by_busy(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	if (x->busy_ns != y->busy_ns)
		return x->busy_ns < y->busy_ns ? 1 : -1;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static const char *const level_names[] = { "emerg", "alert", "crit", "error", "warning", "notice", "info", "debug" };

static const char *level_name(int level)
{
	return level >= 0 && level < 8 ? level_names[level] : "-";
}

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static uint64_t num(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* What a terminal could act upon does not come out; at most `width` bytes, and never half a character. */
static const char *clean(const char *s, size_t width)
{
	static char text[4][256];
	static unsigned turn;
	char *to = text[turn = (turn + 1) % 4];
	size_t n = 0, len = strlen(s), c;

	while (*s && n < width && n < sizeof(text[0]) - 8) {
		c = (unsigned char)*s < 0x80 ? 1 : ctf_utf8_len((const uint8_t *)s, len);
		if (c == 1) {
			to[n++] = (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s;
		} else if (!c) {
			to[n++] = '?';
			c = 1;
		} else if (n + c <= width) {
			memcpy(to + n, s, c);
			n += c;
		} else {
			break;
		}
		s += c;
		len -= c;
	}
	if (*s && n > 2 && n + 3 > width)
		memcpy(to + n - 2, "..", 2);
	to[n] = 0;
	return to;
}

/* The distribution: an octave or more a block, from the lowest to the highest value. */
static void draw(char *to, const struct hist_lean *h, unsigned width)
{
	static const char *const blocks[] = { "\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83", "\xe2\x96\x84", "\xe2\x96\x85",
					      "\xe2\x96\x86", "\xe2\x96\x87", "\xe2\x96\x88" };
	unsigned low = hist_index(h->min), high = hist_index(h->max), step, i, n = 0;
	uint64_t bar[32] = { 0 }, top = 0;

	step = (high - low) / width + 1;
	for (i = low; i <= high; i++)
		bar[(i - low) / step] += hist_lean_bucket(h, i);
	n = (high - low) / step + 1;
	for (i = 0; i < n; i++)
		if (bar[i] > top)
			top = bar[i];
	for (i = 0; i < n; i++)
		to += snprintf(to, 4, "%s", !bar[i] ? " " : blocks[bar[i] * 7 / (top ? top : 1)]);
	*to = 0;
}

/* From when to when it was recorded, as the manifest says; what a snapshot holds was there before the snapshot was begun. */
static void bounds(const struct report *p, int64_t *begin, int64_t *end)
{
	int64_t start = (int64_t)num(p->manifest, "start_ns"), stop = (int64_t)num(p->manifest, "end_ns");

	*begin = start && (!p->first_ns || start < p->first_ns) ? start : p->first_ns;
	*end = stop > p->last_ns ? stop : p->last_ns;
	if (start > p->first_ns && p->last_ns && p->last_ns <= start)
		*end = p->last_ns;
}

static void print_when(const struct report *p, FILE *out)
{
	char from[32] = "", to[32] = "", d[UNIT_TEXT];
	int64_t begin, end;
	struct tm tm;
	time_t t;

	bounds(p, &begin, &end);
	if (!begin)
		return;
	t = (time_t)(begin / 1000000000);
	localtime_r(&t, &tm);
	strftime(from, sizeof(from), "%Y-%m-%d %H:%M:%S", &tm);
	t = (time_t)(end / 1000000000);
	localtime_r(&t, &tm);
	strftime(to, sizeof(to), "%H:%M:%S", &tm);
	fprintf(out, "  from %s to %s (%s)\n", from, to, duration_text(d, (uint64_t)(end > begin ? end - begin : 0)));
}

static double seconds(const struct report *p)
{
	int64_t begin, end;

	bounds(p, &begin, &end);
	return end > begin ? (double)(end - begin) / 1e9 : 1e-9;
}

/* How gander.json says that the program ended. */
static void state_of(const struct report *p, const struct gander_ctf_trace *t, char to[32])
{
	const json_t *list = json_object_get(p->manifest, "programs"), *o;
	const char *state;
	size_t i;

	snprintf(to, 32, "-");
	for (i = 0; i < json_array_size(list); i++) {
		o = json_array_get(list, i);
		if ((int64_t)num(o, "pid_inside") != t->pid && (int64_t)num(o, "pid") != t->pid)
			continue;
		state = str(o, "state");
		if (!strcmp(state, "exited"))
			snprintf(to, 32, "exited %" PRIu64, num(o, "exit_status"));
		else if (!strcmp(state, "killed"))
			snprintf(to, 32, "signal %" PRIu64, num(o, "signal"));
		else
			snprintf(to, 32, "%.20s", state);
	}
}

struct go_alone {
	size_t at;
	struct map seen; /* pids */
};

/* The next program of which there is a Go trace and no events; its other files are the same program's. NULL: no more, and w is done. */
static const json_t *go_alone(const struct report *p, struct go_alone *w)
{
	const json_t *list = json_object_get(p->manifest, "go"), *programs = json_object_get(p->manifest, "programs"), *o;
	bool added;
	size_t k;

	for (k = 0; !w->at && k < json_array_size(programs); k++)
		map_put(&w->seen, num(json_array_get(programs, k), "pid"), &added);
	while (w->at < json_array_size(list)) {
		o = json_array_get(list, w->at++);
		if ((!map_put(&w->seen, num(o, "pid"), &added) || added) && *str(o, "file"))
			return o;
	}
	map_done(&w->seen);
	return NULL;
}

static void print_programs(const struct report *p, FILE *out)
{
	const struct gander_ctf_trace *t;
	char a[UNIT_TEXT], state[32];
	uint32_t i, shown = 0, n = gander_ctf_traces(p->r);
	struct go_alone alone = { 0 };
	const json_t *o;

	fprintf(out, "\nPROGRAMS\n  %-24s %8s  %-10s %8s %8s\n", "name", "pid", "state", "events", "lost");
	for (i = 0; i < n; i++) {
		t = gander_ctf_trace(p->r, i);
		if (n > 30 && !p->trace_events[i] && !p->trace_lost[i])
			continue;
		if (++shown > 30)
			continue;
		state_of(p, t, state);
		fprintf(out, "  %-24s ", ctf_trace_is_kernel(p->r, i) ? "the kernel" : clean(*t->procname ? t->procname : t->path, 24));
		if (t->pid >= 0)
			fprintf(out, "%8" PRId64, t->pid);
		else
			fprintf(out, "%8s", "-");
		fprintf(out, "  %-10s %8s %8" PRIu64 "\n", state, count_text(a, (double)p->trace_events[i]), p->trace_lost[i]);
	}
	while ((o = go_alone(p, &alone)))
		if (++shown <= 30)
			fprintf(out, "  %-24s %8" PRIu64 "  %-10s %8s %8s\n", clean(str(o, "program"), 24), num(o, "pid"), "Go trace", "-", "-");
	if (shown > 30)
		fprintf(out, "  ... and %u more\n", shown - 30);
}

static void print_kinds(const struct report *p, const char *title, const struct kind *k, uint32_t n, uint32_t most, FILE *out)
{
	char a[UNIT_TEXT], b[UNIT_TEXT], c[UNIT_TEXT];
	uint32_t i;

	if (!n)
		return;
	fprintf(out, "\n%s\n  %-36s %-8s %8s %8s %9s\n", title, "name", "level", "count", "per s", "bytes");
	for (i = 0; i < n && i < most; i++)
		fprintf(out, "  %-36s %-8s %8s %8s %9s\n", clean(k[i].name, 36), level_name(k[i].level), count_text(a, (double)k[i].count),
			count_text(b, (double)k[i].count / seconds(p)), bytes_text(c, k[i].bytes));
	if (n > most)
		fprintf(out, "  ... and %u more (--json has all)\n", n - most);
}

static void print_events(const struct report *p, FILE *out)
{
	uint32_t own = 0;

	while (own < p->nkinds && p->kind[own].own)
		own++;
	print_kinds(p, "EVENTS", p->kind, own, 40, out);
	print_kinds(p, "EVENTS OF THE KERNEL", p->kind + own, p->nkinds - own, TOP, out);
}

/* Of a span, which has the name of its end: without that. */
static const char *span_name(const struct kind *k, char to[256])
{
	size_t n;

	snprintf(to, 256, "%s", k->name);
	n = strlen(to);
	if (n > 4 && !strcmp(to + n - 4, ".end"))
		to[n - 4] = 0;
	return to;
}

static void print_spans(struct report *p, FILE *out)
{
	struct kind **span = calloc(p->nkinds + 1, sizeof(*span));
	char a[UNIT_TEXT], b[UNIT_TEXT], c[UNIT_TEXT], d[UNIT_TEXT], hist[128];
	uint32_t i, n = 0;
	uint64_t open = 0;
	const struct kind *k;
	char name[256];

	if (!span)
		return;
	for (i = 0; i < p->nkinds; i++)
		if (p->kind[i].time.count)
			span[n++] = &p->kind[i];
	if (n) {
		qsort(span, n, sizeof(*span), by_total);
		fprintf(out, "\nSPANS, by total time\n  %-24s %7s %8s %8s %8s  distribution, min to max\n", "name", "count", "p50", "p99", "max");
	}
	for (i = 0; i < n && i < 20; i++) {
		k = span[i];
		draw(hist, &k->time, 16);
		fprintf(out, "  %-24s %7s %8s %8s %8s  %s\n", clean(span_name(k, name), 24), count_text(a, (double)k->time.count),
			duration_text(b, hist_lean_quantile(&k->time, 0.5)), duration_text(c, hist_lean_quantile(&k->time, 0.99)),
			duration_text(d, k->time.max), hist);
		if (k->begun > k->count)
			open += k->begun - k->count;
	}
	if (n > 20)
		fprintf(out, "  ... and %u more (--json has all)\n", n - 20);
	if (open)
		fprintf(out, "  %" PRIu64 " of these had begun but not ended\n", open);
	free(span);
}

static void print_threads(const struct report *p, FILE *out)
{
	char a[UNIT_TEXT], b[UNIT_TEXT], c[UNIT_TEXT], who[64];
	const struct gander_ctf_trace *t;
	uint32_t i, go = 0;

	if (!p->nthreads)
		return;
	for (i = 0; i < p->nthreads; i++)
		go += p->thread[i].is_goroutine;
	if (!go || go == p->nthreads)
		fprintf(out, "\n%s THAT EMITTED, the busiest of %u\n", go ? "GOROUTINES" : "THREADS", p->nthreads);
	else
		fprintf(out, "\nGOROUTINES AND THREADS THAT EMITTED, the busiest of %u and %u\n", go, p->nthreads - go);
	fprintf(out, "  %-20s %-24s %8s %8s %10s\n", "who", "program", "events", "spans", "in spans");
	for (i = 0; i < p->nthreads && i < TOP; i++) {
		t = gander_ctf_trace(p->r, p->thread[i].trace);
		snprintf(who, sizeof(who), "%s %" PRIu64, p->thread[i].is_goroutine ? "goroutine" : "thread", p->thread[i].id);
		fprintf(out, "  %-20s %-24s %8s %8s %10s\n", who, clean(t->procname, 24), count_text(a, (double)p->thread[i].count),
			count_text(b, (double)p->thread[i].spans), p->thread[i].spans ? duration_text(c, p->thread[i].busy_ns) : "-");
	}
}

static const struct {
	const char *key, *text;
} reasons[] = {
	{ "full", "no packet was free: give record a larger --buffer" },
	{ "nested", "emitted inside another event, on a machine without rseq" },
	{ "slot", "from more CPUs or Ps than a region has slots" },
	{ "other", "the program found its region damaged" },
	{ "frozen", "no packet was spare while a snapshot was taken: give record a larger --buffer" },
	{ "overwritten", "overwritten by newer ones (flight recorder)" },
	{ "damaged", "in packets that were damaged" },
	{ "disk", "could not be written: the disk was full" },
};

/* What is missing though it was asked for: that a flight recorder overwrites the oldest is what it is for. */
static uint64_t lost_events(const struct report *p)
{
	const json_t *lost = json_object_get(p->manifest, "lost");
	uint64_t n = num(lost, "total") > p->lost ? num(lost, "total") : p->lost, over = num(lost, "overwritten");

	return n > over ? n - over : 0;
}

static void print_losses(const struct report *p, FILE *out)
{
	const json_t *lost = json_object_get(p->manifest, "lost");
	uint64_t n = lost_events(p);
	unsigned i;

	fprintf(out, "\nLOST\n");
	if (!n)
		fprintf(out, "  nothing\n");
	else
		fprintf(out, "  %" PRIu64 " events, of %" PRIu64 " (%.2f %%)\n", n, n + p->events, 100.0 * (double)n / (double)(n + p->events));
	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (num(lost, reasons[i].key))
			fprintf(out, "  %10" PRIu64 "  %s\n", num(lost, reasons[i].key), reasons[i].text);
	if (p->cut)
		fprintf(out, "  %" PRIu64 " events were too long and are cut\n", p->cut);
}

/* Problems of the recording, classes that were not set up, what the reader found. Returns their number. */
static unsigned walk_problems(const struct report *p, void (*say)(void *arg, const char *where, const char *text), void *arg)
{
	const json_t *list = json_object_get(p->manifest, "problems"), *progs = json_object_get(p->manifest, "programs"), *o, *c;
	char where[256];
	unsigned n = 0;
	size_t i, k;

	for (i = 0; i < json_array_size(list); i++, n++) {
		o = json_array_get(list, i);
		snprintf(where, sizeof(where), "%.60s%s%.120s", str(o, "program"), *str(o, "class") ? " " : "", str(o, "class"));
		say(arg, where, str(o, "text"));
	}
	for (i = 0; i < json_array_size(progs); i++) {
		list = json_object_get(json_array_get(progs, i), "classes");
		for (k = 0; k < json_array_size(list); k++) {
			c = json_array_get(list, k);
			if (json_is_true(json_object_get(c, "recorded")) || !*str(c, "why") || !strcmp(str(c, "why"), "not asked for"))
				continue;
			snprintf(where, sizeof(where), "%.60s %.120s", str(json_array_get(progs, i), "comm"), str(c, "name"));
			say(arg, where, str(c, "why"));
			n++;
		}
	}
	for (i = 0; i < gander_ctf_notes(p->r); i++, n++)
		say(arg, "", gander_ctf_note(p->r, (uint32_t)i));
	n += report_go_notes(p->go, say, arg);
	if (*str(p->manifest, "why")) {
		say(arg, "recording", str(p->manifest, "why"));
		n++;
	}
	return n;
}

static void print_problem(void *arg, const char *where, const char *text)
{
	FILE *out = arg;

	if (*where)
		fprintf(out, "  %s: %s\n", clean(where, 70), clean(text, 200));
	else
		fprintf(out, "  %s\n", clean(text, 240));
}

static void count_problem(void *arg, const char *where, const char *text)
{
}

/* The kernel is none; one that is in several chunks or snapshots has a trace of the same name in each. */
static uint32_t count_programs(const struct report *p, bool *kernel)
{
	struct intern seen = { 0 };
	uint32_t i, n = 0;
	struct go_alone alone = { 0 };
	bool added = true;

	for (i = 0; i < gander_ctf_traces(p->r); i++) {
		const char *path = gander_ctf_trace(p->r, i)->path, *name = strrchr(path, '/');

		*kernel |= ctf_trace_is_kernel(p->r, i);
		if (ctf_trace_is_kernel(p->r, i))
			continue;
		name = name ? name + 1 : path;
		if (p->manifest && intern_bytes(&seen, name, strlen(name), &added) < 0)
			added = true;
		n += added;
	}
	intern_done(&seen);
	while (go_alone(p, &alone))
		n++;
	return n;
}

/* The span that took most time in all. */
static const struct kind *most_of_time(const struct report *p)
{
	const struct kind *best = NULL;
	uint32_t i;

	for (i = 0; i < p->nkinds; i++)
		if (p->kind[i].time.count && p->kind[i].own && (!best || p->kind[i].time.sum > best->time.sum))
			best = &p->kind[i];
	return best;
}

static void print_text(struct report *p, FILE *out)
{
	bool kernel = false;
	uint32_t programs = count_programs(p, &kernel);
	char a[UNIT_TEXT], b[UNIT_TEXT], c[UNIT_TEXT];
	const struct kind *span;
	char name[256];
	const char *state = str(p->manifest, "state"), *go_file = str(json_array_get(json_object_get(p->manifest, "go"), 0), "file");

	fprintf(out, "%s: %s events of %u program%s%s, %s, %s a second\n", p->dir, count_text(a, (double)p->events), programs,
		programs == 1 ? "" : "s", kernel ? " and the kernel" : "", bytes_text(b, p->bytes), count_text(c, (double)p->events / seconds(p)));
	print_when(p, out);
	if (!strcmp(state, "recording"))
		fprintf(out, "  still being recorded (or its collector was killed)\n");
	print_programs(p, out);
	print_events(p, out);
	print_spans(p, out);
	print_threads(p, out);
	report_go_text(p->go, out);
	report_kernel_text(p->kernel, out);
	report_go_clocks_text(p->go, out);
	print_losses(p, out);
	if (walk_problems(p, count_problem, NULL)) {
		fprintf(out, "\nNOT SET UP, OR MISSING\n");
		walk_problems(p, print_problem, out);
	}
	fprintf(out, "\nSEE MORE\n  gander events %s | less\n", p->dir);
	if (gander_ctf_traces(p->r))
		fprintf(out, "  babeltrace2 %s | less\n", p->dir);
	if (*go_file) {
		fprintf(out, "  gander go summary %s/", p->dir);
		cli_say(out, go_file);
		fprintf(out, "\n");
	}
	span = most_of_time(p);
	if (*go_file && span)
		fprintf(out, "  gander why %s --span %s\n", p->dir, clean(span_name(span, name), sizeof(name)));
}

/* To a terminal of its width. */
static int print_page(struct report *p)
{
	char *text = NULL;
	size_t size;
	FILE *page = open_memstream(&text, &size);

	if (!page)
		return -ENOMEM;
	print_text(p, page);
	if (fclose(page)) {
		free(text);
		return -ENOMEM;
	}
	fold_print(text, table_width(stdout), stdout);
	free(text);
	return 0;
}

static void put_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void json_problem(void *arg, const char *where, const char *text)
{
	struct json *j = arg;

	json_obj(j);
	json_key(j, "where");
	json_str(j, where);
	json_key(j, "text");
	json_str(j, text);
	json_obj_end(j);
}

static void print_json(struct report *p)
{
	const struct gander_ctf_trace *t;
	const struct kind *k;
	struct buf b = BUF_INIT;
	struct json j;
	char state[32];
	uint32_t i;

	json_init(&j, &b);
	json_obj(&j);
	json_key(&j, "recording");
	json_str(&j, p->dir);
	put_u64(&j, "events", p->events);
	put_u64(&j, "bytes", p->bytes);
	put_u64(&j, "lost", p->lost);
	put_u64(&j, "cut", p->cut);
	json_key(&j, "first_ns");
	json_i64(&j, p->first_ns);
	json_key(&j, "last_ns");
	json_i64(&j, p->last_ns);
	json_key(&j, "seconds");
	json_f64(&j, seconds(p));
	json_key(&j, "lost_by_reason");
	json_obj(&j);
	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		put_u64(&j, reasons[i].key, num(json_object_get(p->manifest, "lost"), reasons[i].key));
	json_obj_end(&j);
	json_key(&j, "programs");
	json_arr(&j);
	for (i = 0; i < gander_ctf_traces(p->r); i++) {
		t = gander_ctf_trace(p->r, i);
		state_of(p, t, state);
		json_obj(&j);
		json_key(&j, "name");
		json_str(&j, t->procname);
		json_key(&j, "pid");
		json_i64(&j, t->pid);
		json_key(&j, "state");
		json_str(&j, state);
		json_key(&j, "trace");
		json_str(&j, t->path);
		put_u64(&j, "events", p->trace_events[i]);
		put_u64(&j, "lost", p->trace_lost[i]);
		json_obj_end(&j);
	}
	json_arr_end(&j);
	json_key(&j, "classes");
	json_arr(&j);
	for (i = 0; i < p->nkinds; i++) {
		k = &p->kind[i];
		json_obj(&j);
		json_key(&j, "name");
		json_str(&j, k->name);
		json_key(&j, "level");
		json_str(&j, level_name(k->level));
		put_u64(&j, "count", k->count);
		json_key(&j, "per_second");
		json_f64(&j, (double)k->count / seconds(p));
		put_u64(&j, "bytes", k->bytes);
		if (k->time.count) {
			json_key(&j, "span");
			json_obj(&j);
			put_u64(&j, "begun", k->begun);
			put_u64(&j, "ended", k->time.count);
			put_u64(&j, "total_ns", k->time.sum);
			put_u64(&j, "min_ns", k->time.min);
			put_u64(&j, "p50_ns", hist_lean_quantile(&k->time, 0.5));
			put_u64(&j, "p90_ns", hist_lean_quantile(&k->time, 0.9));
			put_u64(&j, "p99_ns", hist_lean_quantile(&k->time, 0.99));
			put_u64(&j, "max_ns", k->time.max);
			json_obj_end(&j);
		}
		json_obj_end(&j);
	}
	json_arr_end(&j);
	json_key(&j, "threads");
	json_arr(&j);
	for (i = 0; i < p->nthreads && i < 1000; i++) {
		json_obj(&j);
		put_u64(&j, p->thread[i].is_goroutine ? "goroutine" : "thread", p->thread[i].id);
		json_key(&j, "pid");
		json_i64(&j, gander_ctf_trace(p->r, p->thread[i].trace)->pid);
		put_u64(&j, "events", p->thread[i].count);
		put_u64(&j, "spans", p->thread[i].spans);
		put_u64(&j, "in_spans_ns", p->thread[i].busy_ns);
		json_obj_end(&j);
	}
	json_arr_end(&j);
	report_kernel_json(p->kernel, &j);
	report_go_json(p->go, &j);
	json_key(&j, "problems");
	json_arr(&j);
	walk_problems(p, json_problem, &j);
	json_arr_end(&j);
	json_obj_end(&j);
	cli_put_json(&b);
}

static bool has_kernel(const struct report *p)
{
	uint32_t i;

	for (i = 0; i < gander_ctf_traces(p->r); i++)
		if (ctf_trace_is_kernel(p->r, i))
			return true;
	return false;
}

/* A recording may hold Go traces alone, of a program without events, or nothing. */
static int open_events(struct report *p, struct err *err)
{
	struct gander_ctf_opts none = GANDER_CTF_OPTS_INIT;
	int res = gander_ctf_open(&p->r, p->dir, NULL, (struct gander_err *)err);

	none.flags = GANDER_CTF_FOLLOW; /* with it, no trace is no error */
	if (res == -ENOENT && json_object_get(p->manifest, "gander_recording") && !num(p->manifest, "events"))
		res = gander_ctf_open(&p->r, p->dir, &none, (struct gander_err *)err);
	return res;
}

static int run(int argc, char **argv)
{
	struct report p = { 0 };
	struct ctf_where where = { 0 };
	struct err err = ERR_INIT;
	struct opt_list globs = { 0 };
	const char *expr = NULL;
	int n, ret = CLI_FAILED;
	uint32_t i;
	struct opt opts[] = {
		{ OPT_LIST, 'e', "event", "GLOB", "only events of these names (may be given several times)", &globs },
		{ OPT_STR, 'w', "where", "EXPR", "only events for which this holds", &expr },
		{ OPT_FLAG, 'j', "json", NULL, "as JSON, with everything", &p.json },
		{ OPT_END },
	};

	n = opt_parse(&verb_report, opts, argc, argv, &err);
	if (n < 0)
		return cli_usage(&err);
	if (n != 1) {
		err_set(&err, -EINVAL, n ? "one recording at a time" : "which recording? (gander report DIR)");
		return cli_usage(&err);
	}
	if (ctf_where_init(&where, expr, &globs, &err) < 0)
		return cli_usage(&err);
	p.dir = argv[1];
	p.manifest = report_manifest(p.dir);
	if (open_events(&p, &err) < 0 || collect(&p, &where, &err) < 0) {
		cli_fail(&err);
		goto out;
	}
	if (has_kernel(&p) && report_kernel_new(&p.kernel, p.dir, p.manifest, &err) < 0) {
		cli_fail(&err);
		goto out;
	}
	if (json_array_size(json_object_get(p.manifest, "go")) || json_object_get(p.manifest, "chunks")) {
		if (report_go_new(&p.go, p.dir, report_kernel_view(p.kernel), &err) < 0) {
			cli_fail(&err);
			goto out;
		}
	}
	if (p.nkinds)
		qsort(p.kind, p.nkinds, sizeof(*p.kind), by_count);
	if (p.nthreads)
		qsort(p.thread, p.nthreads, sizeof(*p.thread), by_busy);
	pair_spans(&p);
	if (p.json) {
		print_json(&p);
	} else if (print_page(&p) < 0) {
		err_set(&err, -ENOMEM, "out of memory");
		cli_fail(&err);
		goto out;
	}
	ret = lost_events(&p) || walk_problems(&p, count_problem, NULL) ? CLI_LOST : CLI_OK;
out:
	for (i = 0; i < p.nkinds; i++)
		hist_lean_done(&p.kind[i].time);
	report_go_free(p.go);
	report_kernel_free(p.kernel);
	gander_ctf_free(p.r);
	ctf_where_warn(&where);
	ctf_where_done(&where);
	json_decref(p.manifest);
	intern_done(&p.names);
	map_done(&p.threads);
	free(p.kind);
	free(p.kind_of);
	free(p.thread);
	free(p.trace_events);
	free(p.trace_lost);
	return ret;
}

const struct verb verb_report = {
	.name = "report",
	.args = "DIR",
	.summary = "what a recording holds: rates, spans with percentiles, losses",
	.examples = { "gander report recording", "gander report recording -e 'shop.*'", "gander report recording --json | jq .classes" },
	.run = run,
};
