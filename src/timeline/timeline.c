/* A merge of sources by a heap; each source is a reader with one event in hand. Which goroutine is on which thread is kept from the Go traces as they
 * pass by. */
#include "timeline/timeline.h"
#include "base/map.h"
#include "base/plain.h"
#include "timeline/timeline_go.h"
#include "timeline/timeline_input.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SOURCES_MAX 65536u
#define NOTES_MAX   1000u
#define GO_STEP_NS  64 /* Go's trace clock counts in these */

struct trace_clock {
	bool ticks;       /* CLOCK_MONOTONIC itself */
	int64_t epoch_ns; /* else: what its time is ahead of it */
	uint8_t kind;
	int64_t pid;
};

struct source {
	struct timeline_source pub;
	char *path, *name;
	const struct tl_input *in;
	/* CTF */
	struct gander_ctf *ctf;
	struct gander_ctf_event ev;
	struct trace_clock *clock; /* by trace number */
	/* Go */
	bool is_go, opened, v1;
	struct gander_gotrace *go;
	struct gander_gotrace_event gev;
	int64_t begin_ns, end_ns, v1_offset_ns;
	struct gander_ctf_trace trace;
	struct gander_ctf_class class[GO_CLASSES];
	/* both */
	int64_t mono_ns;
	bool has;
};

struct seen_boot {
	uint8_t id[16];
	const char *host, *path;
	bool known;
};

struct timeline {
	struct timeline_opts o;
	struct tl_input *in;
	unsigned ninputs;
	struct source **source;
	uint32_t nsources, source_cap;
	uint32_t *heap, nheap;
	uint32_t last; /* its event was returned, + 1 */
	struct seen_boot boot;
	bool has_epoch;
	int64_t epoch_ns;
	struct map on_thread; /* tid -> goroutine + 1 */
	struct map of_go;     /* pid << 40 ^ goroutine -> tid */
	char **note;
	unsigned nnotes;
	struct gander_ctf_value value[GO_VALUES];
	uint32_t nvalues;
	int64_t sec;
	char sec_text[16];
};

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

static void note(struct timeline *tl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct timeline *tl, const char *fmt, ...)
{
	char text[600], **more;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	more = tl->nnotes < NOTES_MAX ? realloc(tl->note, (tl->nnotes + 1) * sizeof(*more)) : NULL;
	if (!more)
		return;
	tl->note = more;
	tl->note[tl->nnotes] = strdup(text);
	tl->nnotes += tl->note[tl->nnotes] != NULL;
}

static void hex(char to[37], const uint8_t id[16])
{
	static const char digits[] = "0123456789abcdef";
	unsigned i;

	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[id[i] >> 4];
		*to++ = digits[id[i] & 15];
	}
	*to = 0;
}

/* Every clock that says where it runs must run where the first one does. */
static int check_boot(struct timeline *tl, const uint8_t id[16], const char *host, const char *path, struct err *err)
{
	char a[37], b[37];
	bool other;

	if (!tl->boot.known) {
		memcpy(tl->boot.id, id, 16);
		tl->boot.host = host;
		tl->boot.path = path;
		tl->boot.known = true;
		return 0;
	}
	if (!memcmp(tl->boot.id, id, 16))
		return 0;
	other = *host && *tl->boot.host && strcmp(host, tl->boot.host) != 0;
	hex(a, tl->boot.id);
	hex(b, id);
	return err_set(err, -EXDEV, "'%.100s' and '%.100s' cannot be merged: they are of different %s (%.60s%sboot id %s; %.60s%sboot id %s)", tl->boot.path, path,
		       other ? "machines" : "boots", tl->boot.host, *tl->boot.host ? ", " : "", a, host, *host ? ", " : "", b);
}

static struct source *source_new(struct timeline *tl, struct err *err)
{
	struct source *s, **more;

	if (tl->nsources == SOURCES_MAX) {
		err_set(err, -E2BIG, "more than %u traces", SOURCES_MAX);
		return NULL;
	}
	if (tl->nsources == tl->source_cap) {
		more = realloc(tl->source, (tl->source_cap * 2 + 16) * sizeof(*more));
		if (!more) {
			no_memory(err);
			return NULL;
		}
		tl->source = more;
		tl->source_cap = tl->source_cap * 2 + 16;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		no_memory(err);
		return NULL;
	}
	s->pub.pid = -1;
	tl->source[tl->nsources++] = s;
	return s;
}

static void source_free(struct source *s)
{
	gander_ctf_free(s->ctf);
	gander_gotrace_free(s->go);
	free(s->clock);
	free(s->path);
	free(s->name);
	free(s);
}

static int source_named(struct source *s, const char *path, const char *name, struct err *err)
{
	s->path = strdup(path);
	s->name = strdup(name);
	if (!s->path || !s->name)
		return no_memory(err);
	s->pub.path = s->path;
	s->pub.name = s->name;
	return 0;
}

static int64_t pid_of_trace(const struct tl_input *in, const struct gander_ctf_trace *t)
{
	const char *base = strrchr(t->path, '/');
	unsigned i;

	base = base ? base + 1 : t->path;
	for (i = 0; i < in->nprograms; i++)
		if (!strcmp(in->program[i].trace, base))
			return in->program[i].pid;
	return t->pid;
}

static int64_t clock_offset(const struct ctf_clock *c)
{
	return c->offset_s * 1000000000 + (int64_t)(c->freq ? (__int128)c->offset * 1000000000 / c->freq : 0);
}

/* How one trace's clock is brought onto the one. Recordings know the offset of their machine; LTTng's user space and kernel traces count in
 * CLOCK_MONOTONIC themselves. */
static int trace_clock(struct timeline *tl, struct source *s, uint32_t i, struct err *err)
{
	const struct gander_ctf_trace *t = gander_ctf_trace(s->ctf, i);
	const struct ctf_trace_class *tc = ctf_trace_model(s->ctf, i);
	const struct ctf_clock *c = tc ? tc->clock : NULL;
	struct trace_clock *tcl = &s->clock[i];
	bool kernel = ctf_trace_is_kernel(s->ctf, i), known;

	known = c && c->name && !strcmp(c->name, "monotonic") && c->has_uuid;
	tcl->pid = kernel ? -1 : pid_of_trace(s->in, t);
	tcl->kind = kernel ? TIMELINE_KERNEL : s->in->is_recording ? TIMELINE_EVENTS
								   : TIMELINE_OTHER;
	if (known && check_boot(tl, c->uuid, *t->hostname ? t->hostname : s->in->host, s->in->path, err) < 0)
		return -EXDEV;
	if (known && c->freq == 1000000000) {
		tcl->ticks = true;
		if (!s->in->is_recording)
			s->pub.how = "its clock is CLOCK_MONOTONIC";
		if (!tl->has_epoch) {
			tl->has_epoch = true;
			tl->epoch_ns = clock_offset(c);
		}
		return 0;
	}
	if (s->in->has_offset) {
		tcl->epoch_ns = s->in->mono_offset_ns;
		return 0;
	}
	tcl->epoch_ns = tl->has_epoch ? tl->epoch_ns : 0;
	s->pub.error_ns = TIMELINE_NO_ERROR_KNOWN;
	s->pub.how = "its clock is not known to be this machine's: its wall clock is taken as it is";
	return 0;
}

static int add_ctf(struct timeline *tl, const struct tl_input *in, struct err *err)
{
	struct gander_ctf_opts o = GANDER_CTF_OPTS_INIT;
	struct source *s = source_new(tl, err);
	bool all_kernel = true;
	uint32_t i, n;
	int r;

	if (!s)
		return -ENOMEM;
	s->in = in;
	r = gander_ctf_open(&s->ctf, in->path, &o, (struct gander_err *)err);
	if (r == -ENOENT && in->ngo) { /* a recording without events */
		source_free(tl->source[--tl->nsources]);
		return 0;
	}
	if (r < 0)
		return r;
	n = gander_ctf_traces(s->ctf);
	s->clock = calloc(n + 1, sizeof(*s->clock));
	if (!s->clock)
		return no_memory(err);
	s->pub.error_ns = in->is_recording ? (uint64_t)(in->error_ns + 1) : 0;
	s->pub.how = in->is_recording ? "the counter's line and CLOCK_REALTIME - CLOCK_MONOTONIC of the recording" : "";
	for (i = 0; i < n && r == 0; i++) {
		r = trace_clock(tl, s, i, err);
		all_kernel &= ctf_trace_is_kernel(s->ctf, i);
	}
	if (r < 0)
		return r;
	s->pub.kind = all_kernel ? TIMELINE_KERNEL : in->is_recording ? TIMELINE_EVENTS
								      : TIMELINE_OTHER;
	if (n == 1)
		s->pub.pid = s->clock[0].pid;
	return source_named(s, in->path, all_kernel ? "kernel" : in->is_recording ? "events"
										  : "CTF",
			    err);
}

/* Before Go 1.22 a trace counts from its own begin, which lies between those two moments. */
static void counts_alone(struct source *s)
{
	s->v1 = true;
	s->v1_offset_ns = s->begin_ns == INT64_MIN ? 0 : s->begin_ns;
	if (s->begin_ns == INT64_MIN || s->end_ns == INT64_MAX) {
		s->pub.error_ns = TIMELINE_NO_ERROR_KNOWN;
		s->pub.how = "a format before Go 1.22: it counts from its own begin, and when that was is not known";
	} else {
		s->pub.error_ns = (uint64_t)(s->end_ns - s->begin_ns);
		s->pub.how = "a format before Go 1.22: it counts from its own begin, taken to be the moment when it was asked for";
	}
}

static int add_go(struct timeline *tl, const struct tl_input *in, const struct tl_input_go *g, struct err *err)
{
	struct source *s = source_new(tl, err);
	char name[64];
	unsigned i;
	int r;

	if (!s)
		return -ENOMEM;
	s->is_go = true;
	s->in = in;
	s->begin_ns = g->begin_mono_ns;
	s->end_ns = g->end_mono_ns;
	snprintf(name, sizeof(name), "Go trace of %.32s %lld", g->program, (long long)g->pid);
	r = source_named(s, g->path, name, err);
	if (r == 0 && g->has_boot_id)
		r = check_boot(tl, g->boot_id, in->host, g->path, err);
	if (r < 0)
		return r;
	s->pub.kind = TIMELINE_GO;
	s->pub.pid = g->pid;
	s->pub.error_ns = GO_STEP_NS;
	s->pub.how = "its clock is CLOCK_MONOTONIC, in steps of 64 ns";
	if (g->own_clock)
		counts_alone(s);
	s->trace = (struct gander_ctf_trace) { .path = s->path, .procname = g->program, .hostname = in->host, .exe = "", .tracer = "go", .pid = g->pid };
	for (i = 0; i < GO_CLASSES; i++)
		s->class[i] = (struct gander_ctf_class) { .name = timeline_go_names[i] ? timeline_go_names[i] : "", .trace = &s->trace, .id = i, .level = -1, .number = i };
	return 0;
}

/* When the file can have its first event: it is opened no sooner. */
static int go_open(struct timeline *tl, struct source *s, struct err *err)
{
	struct gander_gotrace_opts o = GANDER_GOTRACE_OPTS_INIT;
	struct gander_gotrace_info info;
	int r;

	o.flags = tl->o.stacks ? 0 : GANDER_GOTRACE_NO_STACKS;
	s->opened = true;
	if (!plain_is(s->path)) {
		note(tl, "%s: there is no such file", s->path);
		return 0;
	}
	r = gander_gotrace_open(&s->go, s->path, &o, err_public(err));
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		note(tl, "%s: %s", s->path, err->text);
		return 0;
	}
	gander_gotrace_info(s->go, &info);
	s->v1 = false;
	if (!info.version || info.version >= 22)
		return 0;
	counts_alone(s);
	if (s->pub.error_ns == TIMELINE_NO_ERROR_KNOWN)
		note(tl, "%s: %s", s->path, s->pub.how);
	return 0;
}

static void track(struct timeline *tl, const struct source *s, const struct gander_gotrace_event *e)
{
	uint64_t key, *v;
	bool added;

	if (s->v1)
		return;
	if (e->goroutine >= 0 && e->thread > 0) {
		v = map_put(&tl->on_thread, (uint64_t)e->thread, &added);
		if (v)
			*v = (uint64_t)e->goroutine + 1;
		v = map_put(&tl->of_go, (uint64_t)s->pub.pid << 40 ^ (uint64_t)e->goroutine, &added);
		if (v)
			*v = (uint64_t)e->thread;
	}
	if (e->kind != GANDER_GOTRACE_STATE_TRANSITION || e->transition.resource != GANDER_GOTRACE_RES_GOROUTINE)
		return;
	key = (uint64_t)s->pub.pid << 40 ^ (uint64_t)e->transition.id;
	if (e->transition.to == GANDER_GOTRACE_GO_RUNNING || e->transition.to == GANDER_GOTRACE_GO_SYSCALL) {
		if (e->thread <= 0 || e->transition.from == GANDER_GOTRACE_GO_UNDETERMINED)
			return;
		v = map_put(&tl->on_thread, (uint64_t)e->thread, &added);
		if (v)
			*v = (uint64_t)e->transition.id + 1;
		v = map_put(&tl->of_go, key, &added);
		if (v)
			*v = (uint64_t)e->thread;
		return;
	}
	v = map_find(&tl->of_go, key);
	if (!v)
		return;
	if (map_get(&tl->on_thread, *v, 0) == (uint64_t)e->transition.id + 1)
		map_del(&tl->on_thread, *v);
	map_del(&tl->of_go, key);
}

static int go_advance(struct timeline *tl, struct source *s, struct err *err)
{
	int r;

	s->has = false;
	if (!s->opened) {
		r = go_open(tl, s, err);
		if (r < 0)
			return r;
	}
	while (s->go && (r = gander_gotrace_next(s->go, &s->gev, err_public(err))) != 0) {
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			note(tl, "%s: %s", s->path, err->text);
			break;
		}
		if (timeline_go_class(&s->gev) < 0)
			continue;
		s->mono_ns = s->gev.time_ns + s->v1_offset_ns;
		s->has = true;
		return 0;
	}
	if (s->v1 && s->pub.error_ns != TIMELINE_NO_ERROR_KNOWN) {
		/* now its length is known: it began between the two moments and ended between them */
		uint64_t length = s->gev.time_ns > 0 ? (uint64_t)s->gev.time_ns : 0;

		s->pub.error_ns = s->pub.error_ns > length ? s->pub.error_ns - length : 0;
	}
	gander_gotrace_free(s->go);
	s->go = NULL;
	return 0;
}

static int ctf_advance(struct source *s, struct err *err)
{
	const struct trace_clock *c;
	int r = gander_ctf_next(s->ctf, &s->ev, (struct gander_err *)err);

	s->has = r > 0;
	if (r <= 0)
		return r;
	c = &s->clock[s->ev.trace->number];
	s->mono_ns = c->ticks && s->ev.kind == GANDER_CTF_EVENT ? (int64_t)s->ev.ticks : s->ev.time_ns - (c->ticks ? clock_offset(ctf_trace_model(s->ctf, s->ev.trace->number)->clock) : c->epoch_ns);
	return 0;
}

static bool before(const struct timeline *tl, uint32_t a, uint32_t b)
{
	const struct source *x = tl->source[a], *y = tl->source[b];

	return x->mono_ns != y->mono_ns ? x->mono_ns < y->mono_ns : a < b;
}

static void sift_down(struct timeline *tl)
{
	uint32_t i = 0, child, keep = tl->heap[0];

	while ((child = 2 * i + 1) < tl->nheap) {
		if (child + 1 < tl->nheap && before(tl, tl->heap[child + 1], tl->heap[child]))
			child++;
		if (!before(tl, tl->heap[child], keep))
			break;
		tl->heap[i] = tl->heap[child];
		i = child;
	}
	tl->heap[i] = keep;
}

static void heap_add(struct timeline *tl, uint32_t source)
{
	uint32_t i = tl->nheap++;

	for (; i && before(tl, source, tl->heap[(i - 1) / 2]); i = (i - 1) / 2)
		tl->heap[i] = tl->heap[(i - 1) / 2];
	tl->heap[i] = source;
}

/* 1: a directory; 0: a file, which must be a Go trace. */
static int what_is(const char *path, struct err *err)
{
	struct gander_gotrace *t;
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	if (S_ISDIR(st.st_mode))
		return 1;
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is neither a recording nor a Go trace", path);
	r = gander_gotrace_open(&t, path, NULL, err_public(err));
	if (r < 0)
		return r;
	gander_gotrace_free(t);
	return 0;
}

static int open_all(struct timeline *tl, const char *const *paths, unsigned n, struct err *err)
{
	struct tl_input_go file = { .pid = -1, .begin_mono_ns = INT64_MIN, .end_mono_ns = INT64_MAX };
	unsigned i, k;
	int r = 0;

	for (i = 0; i < n && r == 0; i++, tl->ninputs++) {
		r = what_is(paths[i], err);
		if (r <= 0) {
			tl->in[i].path = paths[i];
			continue;
		}
		r = tl_input_read(&tl->in[i], paths[i], err);
		tl->in[i].is_directory = true;
		if (r == 0 && tl->in[i].has_offset && !tl->has_epoch) {
			tl->has_epoch = true;
			tl->epoch_ns = tl->in[i].mono_offset_ns;
		}
		if (tl->in[i].stepped_ns)
			note(tl, "%s: the wall clock was set by %.3f s while it was recorded; times are those of the clock at its beginning", paths[i],
			     (double)tl->in[i].stepped_ns / 1e9);
	}
	for (i = 0; i < n && r == 0; i++) {
		if (!tl->in[i].is_directory) {
			file.path = (char *)paths[i];
			file.program = (char *)"";
			r = tl->o.no_go ? 0 : add_go(tl, &tl->in[i], &file, err);
			continue;
		}
		r = add_ctf(tl, &tl->in[i], err);
		for (k = 0; k < tl->in[i].ngo && r == 0 && !tl->o.no_go; k++)
			r = add_go(tl, &tl->in[i], &tl->in[i].go[k], err);
	}
	return r;
}

/* When a Go trace begins. It is closed again, so that of many files no more are open than are going on at one time. */
static int go_peek(struct timeline *tl, struct source *s, struct err *err)
{
	struct gander_gotrace_opts o = GANDER_GOTRACE_OPTS_INIT;
	struct gander_gotrace_info info;
	struct gander_gotrace_event ev;
	struct gander_gotrace *t;
	int r;

	o.flags = GANDER_GOTRACE_NO_STACKS;
	s->mono_ns = s->begin_ns == INT64_MIN ? 0 : s->begin_ns;
	if (!plain_is(s->path))
		return 0; /* it is said when its time comes */
	r = gander_gotrace_open(&t, s->path, &o, err_public(err));
	if (r < 0)
		return r == -ENOMEM ? r : 0; /* it is said when its time comes */
	gander_gotrace_info(t, &info);
	if (info.version >= 22 && gander_gotrace_next(t, &ev, err_public(err)) > 0)
		s->mono_ns = ev.time_ns;
	gander_gotrace_free(t);
	return 0;
}

static int start(struct timeline *tl, struct err *err)
{
	struct source *s;
	uint32_t i;
	int r;

	tl->heap = calloc(tl->nsources + 1, sizeof(*tl->heap));
	if (!tl->heap)
		return no_memory(err);
	for (i = 0; i < tl->nsources; i++) {
		s = tl->source[i];
		r = s->is_go ? go_peek(tl, s, err) : ctf_advance(s, err);
		if (r < 0)
			return r;
		if (s->is_go || s->has)
			heap_add(tl, i);
	}
	return 0;
}

int timeline_open(struct timeline **ret, const char *const *paths, unsigned npaths, const struct timeline_opts *o, struct err *err)
{
	struct timeline *tl = calloc(1, sizeof(*tl));
	int r;

	if (!tl)
		return no_memory(err);
	tl->sec = INT64_MIN;
	if (o)
		tl->o = *o;
	tl->in = calloc(npaths + 1, sizeof(*tl->in));
	r = tl->in ? open_all(tl, paths, npaths, err) : no_memory(err);
	if (r == 0)
		r = start(tl, err);
	if (r < 0) {
		timeline_free(tl);
		return r;
	}
	*ret = tl;
	return 0;
}

void timeline_free(struct timeline *tl)
{
	uint32_t i;

	if (!tl)
		return;
	for (i = 0; i < tl->nsources; i++)
		source_free(tl->source[i]);
	for (i = 0; i < tl->ninputs; i++)
		tl_input_done(&tl->in[i]);
	for (i = 0; i < tl->nnotes; i++)
		free(tl->note[i]);
	free(tl->source);
	free(tl->in);
	free(tl->note);
	free(tl->heap);
	map_done(&tl->on_thread);
	map_done(&tl->of_go);
	free(tl);
}

/* The goroutine of a thread and the thread of a goroutine, where one of them is known. */
static void complete(const struct timeline *tl, struct timeline_event *ev)
{
	uint64_t v;

	if (ev->goid < 0 && ev->tid > 0) {
		v = map_get(&tl->on_thread, (uint64_t)ev->tid, 0);
		if (v) {
			ev->goid = (int64_t)v - 1;
			ev->goid_told = true;
		}
	} else if (ev->tid < 0 && ev->goid >= 0 && ev->pid >= 0) {
		v = map_get(&tl->of_go, (uint64_t)ev->pid << 40 ^ (uint64_t)ev->goid, 0);
		if (v)
			ev->tid = (int64_t)v;
	}
}

static void fill(struct timeline *tl, struct source *s, struct timeline_event *ev)
{
	bool is_go;
	uint64_t id;

	memset(ev, 0, sizeof(*ev));
	ev->goid = ev->tid = -1;
	ev->mono_ns = s->mono_ns;
	if (s->is_go) {
		ev->kind = TIMELINE_GO;
		ev->pid = s->pub.pid;
		ev->go = &s->gev;
		ev->go_reader = s->go;
		ev->goid = s->gev.goroutine;
		ev->tid = s->v1 ? -1 : s->gev.thread;
		ev->ctf.kind = GANDER_CTF_EVENT;
		ev->ctf.class_ = &s->class[timeline_go_class(&s->gev)];
		ev->ctf.trace = &s->trace;
		ev->ctf.ticks = (uint64_t)s->mono_ns;
		track(tl, s, &s->gev);
	} else {
		ev->ctf = s->ev;
		ev->kind = s->clock[s->ev.trace->number].kind;
		ev->pid = s->clock[s->ev.trace->number].pid;
		if (s->ev.kind == GANDER_CTF_EVENT) {
			if (ctf_event_thread(s->ctf, &s->ev, &id, &is_go))
				*(is_go ? &ev->goid : &ev->tid) = (int64_t)id;
			if (ev->kind == TIMELINE_KERNEL && ctf_event_pid(s->ctf, &s->ev, &id) && (int64_t)id >= 0)
				ev->pid = (int64_t)id;
			complete(tl, ev);
		}
		ev->ctf.end_ns += s->mono_ns + tl->epoch_ns - s->ev.time_ns;
	}
	ev->ctf.time_ns = s->mono_ns + tl->epoch_ns;
	tl->nvalues = 0;
}

int timeline_next(struct timeline *tl, struct timeline_event *ev, struct err *err)
{
	struct source *s;
	int r;

	for (;;) {
		if (tl->last) {
			/* the top of the heap is the one whose event was taken */
			s = tl->source[tl->last - 1];
			tl->last = 0;
			r = s->is_go ? go_advance(tl, s, err) : ctf_advance(s, err);
			if (r < 0)
				return r;
			if (!s->has)
				tl->heap[0] = tl->heap[--tl->nheap];
			if (tl->nheap)
				sift_down(tl);
		}
		if (!tl->nheap)
			return 0;
		s = tl->source[tl->heap[0]];
		tl->last = tl->heap[0] + 1;
		if (!s->has)
			continue; /* a Go trace whose time has come */
		if (tl->o.end_ns && s->mono_ns >= tl->o.end_ns)
			return 0;
		fill(tl, s, ev);
		ev->source = tl->heap[0];
		if (!tl->o.begin_ns || ev->mono_ns >= tl->o.begin_ns)
			return 1;
	}
}

int timeline_values(struct timeline *tl, const struct timeline_event *ev, const struct gander_ctf_value **ret)
{
	if (ev->kind != TIMELINE_GO)
		return gander_ctf_values(tl->source[ev->source]->ctf, &ev->ctf, ret);
	if (!tl->nvalues)
		tl->nvalues = timeline_go_values(ev->go_reader, ev->go, ev->goid, ev->tid, tl->value);
	*ret = tl->value;
	return (int)tl->nvalues;
}

/* --- text --- */

static void put(struct ctf_out *o, const char *s)
{
	ctf_put_raw(o, s, strlen(s));
}

static void put_time(struct timeline *tl, struct ctf_out *o, int64_t ns)
{
	int64_t sec = ns / 1000000000 - (ns % 1000000000 < 0);
	char text[24];
	struct tm tm;
	time_t t;

	if (sec != tl->sec) {
		t = (time_t)sec;
		localtime_r(&t, &tm);
		snprintf(tl->sec_text, sizeof(tl->sec_text), "%02d:%02d:%02d.", tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
		tl->sec = sec;
	}
	put(o, tl->sec_text);
	snprintf(text, sizeof(text), "%09d", (int)(ns - sec * 1000000000));
	put(o, text);
}

static void put_values(struct ctf_out *o, const struct gander_ctf_value *v, uint32_t i, uint32_t end)
{
	char text[24];

	for (; i < end; i = v[i].next) {
		put(o, v[i].name);
		put(o, "=");
		if (v[i].type == GANDER_CTF_TEXT) {
			ctf_put_quoted(o, v[i].text, v[i].len);
		} else {
			ctf_put_raw(o, text, (size_t)((v[i].type == GANDER_CTF_I64 ? ctf_put_i64(text, v[i].i) : ctf_put_u64(text, v[i].u)) - text));
		}
		if (v[i].next < end)
			put(o, " ");
	}
}

static int go_text(struct timeline *tl, const struct timeline_event *ev, struct ctf_out *o)
{
	const struct gander_ctf_value *v;
	uint32_t n = (uint32_t)timeline_values(tl, ev, &v), i;
	char text[24];

	put_time(tl, o, ev->ctf.time_ns);
	put(o, " ");
	if (*ev->ctf.trace->procname) {
		ctf_put_name(o, ev->ctf.trace->procname);
		put(o, ":");
		ctf_put_raw(o, text, (size_t)(ctf_put_i64(text, ev->pid) - text));
		put(o, " ");
	}
	put(o, ev->ctf.class_->name);
	for (i = 0; i < n; i = v[i].next) {
		if (v[i].next == i + 1)
			continue;
		put(o, v[i].count == GANDER_CTF_FIELDS ? " " : " {");
		put_values(o, v, i + 1, v[i].next);
		put(o, v[i].count == GANDER_CTF_FIELDS ? "" : "}");
	}
	put(o, "\n");
	return o->failed ? -ENOMEM : 0;
}

int timeline_text(struct timeline *tl, const struct timeline_event *ev, struct ctf_out *o)
{
	char text[24];
	int r;

	if (ctf_out_more(o, 0) < 0)
		return -ENOMEM;
	if (ev->kind == TIMELINE_GO)
		return go_text(tl, ev, o);
	r = ctf_text_line(tl->source[ev->source]->ctf, &ev->ctf, o);
	if (r < 0 || !ev->goid_told)
		return r;
	o->at--; /* the newline */
	put(o, " (goroutine ");
	ctf_put_raw(o, text, (size_t)(ctf_put_i64(text, ev->goid) - text));
	put(o, ")\n");
	return o->failed ? -ENOMEM : 0;
}

int timeline_json(struct timeline *tl, const struct timeline_event *ev, struct ctf_out *o)
{
	const struct gander_ctf_value *v = NULL;
	int n = timeline_values(tl, ev, &v);

	if (n == -ENOMEM || ctf_out_more(o, 0) < 0)
		return -ENOMEM;
	return ctf_json_values(&ev->ctf, v, n, ev->goid_told ? ev->goid : -1, o);
}

unsigned timeline_sources(const struct timeline *tl)
{
	return tl->nsources;
}

void timeline_source(const struct timeline *tl, unsigned i, struct timeline_source *ret)
{
	*ret = tl->source[i]->pub;
}

unsigned timeline_notes(const struct timeline *tl)
{
	unsigned n = tl->nnotes, i;

	for (i = 0; i < tl->nsources; i++)
		n += tl->source[i]->ctf ? gander_ctf_notes(tl->source[i]->ctf) : 0;
	return n;
}

const char *timeline_note(const struct timeline *tl, unsigned i)
{
	uint32_t k, n;

	if (i < tl->nnotes)
		return tl->note[i];
	i -= tl->nnotes;
	for (k = 0; k < tl->nsources; k++) {
		n = tl->source[k]->ctf ? gander_ctf_notes(tl->source[k]->ctf) : 0;
		if (i < n)
			return gander_ctf_note(tl->source[k]->ctf, i);
		i -= n;
	}
	return "";
}

uint64_t timeline_lost(const struct timeline *tl)
{
	uint64_t n = 0;
	uint32_t i;

	for (i = 0; i < tl->nsources; i++)
		n += tl->source[i]->ctf ? gander_ctf_lost(tl->source[i]->ctf) : 0;
	return n;
}

bool timeline_epoch(const struct timeline *tl, int64_t *ret_ns)
{
	*ret_ns = tl->epoch_ns;
	return tl->has_epoch;
}
