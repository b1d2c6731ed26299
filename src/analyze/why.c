#include "analyze/why.h"

#include <stdlib.h>
#include <string.h>

void why_list_done(struct why_list *l)
{
	free(l->v);
	memset(l, 0, sizeof(*l));
}

int why_list_add(struct why_list *l, const struct why_span *s)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 64;
		struct why_span *v;

		if (l->n >= WHY_SPANS_MAX)
			return -EFBIG;
		v = realloc(l->v, (size_t)cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = *s;
	return 0;
}

static uint64_t length(const struct why_span *s)
{
	return (uint64_t)s->to_ns - (uint64_t)s->from_ns;
}

static int slowest_first(const void *a, const void *b)
{
	const struct why_span *x = a, *y = b;

	if (length(x) != length(y))
		return length(x) < length(y) ? 1 : -1;
	if (x->from_ns != y->from_ns)
		return x->from_ns < y->from_ns ? -1 : 1;
	return x->g != y->g ? (x->g < y->g ? -1 : 1) : x->id < y->id ? -1
								     : x->id > y->id;
}

void why_list_sort(struct why_list *l)
{
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), slowest_first);
}

uint32_t why_list_at(const struct why_list *l, double q)
{
	uint32_t rank = (uint32_t)(q * l->n);

	if (rank >= l->n)
		rank = l->n ? l->n - 1 : 0;
	return l->n ? l->n - 1 - rank : 0;
}

struct collect {
	struct gostate s;
	struct why_list *to;
	enum why_what what;
	const char *name;
	struct map tasks; /* id -> index in `open` */
	struct why_span *open;
	uint32_t nopen, cap, free; /* free: index + 1 of the first free one, chained by `process` */
	int error;
};

static bool wanted(const struct collect *c, uint32_t name)
{
	return !c->name || strstr(gosyms_text(c->s.syms, name), c->name);
}

static void take(struct collect *c, const struct why_span *s)
{
	int r;

	if (!wanted(c, s->name))
		return;
	if (s->open) {
		c->to->open++;
		return;
	}
	r = why_list_add(c->to, s);
	if (r < 0 && !c->error)
		c->error = r;
}

static void on_region(void *ctx, const struct goregion *r)
{
	struct collect *c = ctx;
	struct why_span s = { .from_ns = r->r->start_ns, .to_ns = r->end_ns, .g = r->g->id, .id = r->r->task, .name = r->r->type, .what = WHY_OF_REGION, .open = r->open_start || r->open_end };

	take(c, &s);
}

static void on_task(void *ctx, const struct gander_gotrace_event *ev, struct goro *g)
{
	struct collect *c = ctx;
	uint64_t *at;
	bool added;
	uint32_t i;

	if (ev->kind == GANDER_GOTRACE_TASK_BEGIN) {
		if (c->free) {
			i = c->free - 1;
			c->free = c->open[i].process;
		} else {
			if (c->nopen == c->cap) {
				uint32_t cap = c->cap ? c->cap * 2 : 64;
				struct why_span *open = realloc(c->open, (size_t)cap * sizeof(*open));

				if (!open) {
					c->error = -ENOMEM;
					return;
				}
				c->open = open;
				c->cap = cap;
			}
			i = c->nopen++;
		}
		at = map_put(&c->tasks, ev->task.id, &added);
		if (!at) {
			c->error = -ENOMEM;
			return;
		}
		*at = i; /* a forged trace may begin one twice: the later counts */
		c->open[i] = (struct why_span) { .from_ns = c->s.now, .g = ev->goroutine, .id = ev->task.id, .parent = ev->task.parent, .what = WHY_OF_TASK, .name = gosym_map_string(&c->s.map, c->s.syms, ev->task.type) };
		return;
	}
	at = map_find(&c->tasks, ev->task.id);
	if (!at) {
		c->to->open += wanted(c, gosym_map_string(&c->s.map, c->s.syms, ev->task.type));
		return;
	}
	i = (uint32_t)*at;
	map_del(&c->tasks, ev->task.id);
	c->open[i].to_ns = c->s.now;
	c->open[i].g = ev->goroutine;
	take(c, &c->open[i]);
	c->open[i].process = c->free;
	c->free = i + 1;
}

/* All events through the tracker; `before`, when given, sees each before the tracker does. */
static int pass(struct why_pass *p, struct gostate *s, struct gander_gotrace *reader, bool (*before)(void *ctx, const struct gander_gotrace_event *ev), void *ctx,
		struct err *err)
{
	struct gander_gotrace_event ev;
	struct gander_gotrace_info info;
	struct gander_err gerr = GANDER_ERR_INIT;
	uint64_t n = 0;
	int e, e2;

	gostate_begin(s, reader);
	while ((e = gander_gotrace_next(reader, &ev, &gerr)) > 0) {
		if (before && !before(ctx, &ev)) {
			e = 0;
			break;
		}
		gostate_event(s, &ev);
		if (!(++n & 0x1ffff) && p->progress) {
			gander_gotrace_info(reader, &info);
			p->progress(p->progress_arg, &info);
		}
	}
	p->start_ns = s->start_ns;
	p->procs = s->gomaxprocs;
	p->end_ns = s->now;
	e2 = gostate_end(s, e < 0 ? NULL : err);
	return e < 0 ? err_set(err, e, "%s", gerr.text) : e2;
}

int why_collect(struct why_pass *p, struct gander_gotrace *reader, enum why_what what, const char *name, struct why_list *to, struct err *err)
{
	struct collect c = { .to = to, .what = what, .name = name };
	struct gosink sink = { .ctx = &c };
	uint32_t i;
	int r;

	gostate_init(&c.s, p->syms);
	if (what == WHY_OF_REGION) {
		sink.region = on_region;
	} else if (what == WHY_OF_TASK) {
		sink.kinds = 1u << GANDER_GOTRACE_TASK_BEGIN | 1u << GANDER_GOTRACE_TASK_END;
		sink.event = on_task;
	}
	gostate_add(&c.s, &sink);
	r = pass(p, &c.s, reader, NULL, NULL, err);
	for (i = 0; i < c.nopen; i++) { /* those that never ended */
		uint64_t *at = map_find(&c.tasks, c.open[i].id);

		to->open += at && *at == i && wanted(&c, c.open[i].name);
	}
	if (c.error == -EFBIG)
		r = err_set(err, c.error, "more than %u of them in one trace: name them more closely, or cut the trace", WHY_SPANS_MAX);
	else if (c.error)
		r = err_set(err, c.error, "out of memory");
	gostate_done(&c.s);
	map_done(&c.tasks);
	free(c.open);
	return r;
}

struct walker {
	struct gostate s;
	struct gostays stays;
	struct why_asked **by_end; /* by to_ns; those of whole goroutines last */
	int64_t *first_needed;     /* of by_end[i...], where the earliest begins */
	uint32_t n, next, most;
	int error;
};

#define STAYS_MAX (1u << 26) /* 4 GiB in a file: longer waits than that are not looked into */
#define CUT_MAX   64u        /* paths that are cut: more than that are short ones */

/* From when on the stays are needed. A goroutine of which nothing has been heard when the second generation begins will be made later: until then
 * the last generation is enough. */
static void plan(struct walker *w)
{
	int64_t keep = INT64_MAX;
	uint32_t i;

	while (w->next < w->n && w->by_end[w->next]->done)
		w->next++;
	if (w->next < w->n)
		keep = w->first_needed[w->next];
	if (w->n - w->next <= CUT_MAX || (keep == INT64_MIN && w->s.nsync > 1)) {
		keep = INT64_MAX;
		for (i = w->next; i < w->n; i++) {
			const struct why_asked *a = w->by_end[i];
			int64_t from = a->cut ? a->cut_ns : a->span.from_ns != INT64_MIN ? a->span.from_ns
						    : a->span.g < 0 || w->s.nsync <= 1   ? INT64_MIN
											 : w->s.sync_ns;

			if (!a->done && from < keep)
				keep = from;
		}
	}
	w->stays.keep_from = keep == INT64_MIN ? GO_NEVER : keep;
}

static void settle(struct walker *w, struct why_asked *a, uint32_t last, int64_t to)
{
	const struct gostays *t = &w->stays;
	struct why_span *s = &a->span;
	struct goro *g;
	uint32_t i;
	int r;

	if (s->g < 0) { /* a range: who ran last, but for the runtime's own */
		for (i = t->n; i-- > 0;) {
			const struct stay *x = &t->stay[i];

			if (x->state == GANDER_GOTRACE_GO_RUNNING && x->func && !gosyms_is_system(w->s.syms, x->func)) {
				s->g = x->g;
				break;
			}
		}
		/* its latest stay, wherever it stands by now */
		for (i = t->n; i-- > 0 && s->g >= 0;)
			if (t->stay[i].g == s->g) {
				last = i;
				break;
			}
	}
	if (s->what == WHY_OF_SPAN) { /* its length is what the events say, whatever the trace covers */
		r = gopath_unknown(a->path, s->g, s->from_ns > to ? s->from_ns : to, s->to_ns);
		if (r < 0)
			w->error = r;
	} else {
		if (s->from_ns < w->s.start_ns)
			s->from_ns = w->s.start_ns;
		s->to_ns = to;
	}
	if (s->from_ns > to && s->what != WHY_OF_SPAN)
		s->from_ns = to;
	g = gostate_goro(&w->s, s->g);
	a->func = g ? g->func : last != STAY_NONE ? t->stay[last].func
						  : 0;
	r = gopath_walk(a->path, t, s->g, last, a->cut && a->cut_ns > s->from_ns ? a->cut_ns : s->from_ns, to);
	if (r < 0)
		w->error = r;
	if (a->cut && a->path->walks == 1)
		gopath_sort_hops(a->path);
	a->done = true;
}

/* The table is full: what is behind the beginning of a goroutine's last run is not needed for what follows, so the path up to there is made now. Then
 * memory is that of a goroutine's longest wait and not of its life. */
static void cut_paths(struct walker *w)
{
	const struct gostays *t = &w->stays;
	uint32_t i, k, n;

	for (i = w->next, n = 0; i < w->n && n < CUT_MAX; i++, n++) {
		struct why_asked *a = w->by_end[i];
		struct goro *g = a->span.g >= 0 ? gostate_goro(&w->s, a->span.g) : NULL;
		int64_t from = a->cut ? a->cut_ns : a->span.from_ns;

		k = gostays_now(t, g);
		if (a->done || k == STAY_NONE || from == INT64_MIN || from >= w->s.now || a->span.to_ns <= w->s.now)
			continue;
		while (k != STAY_NONE && (t->stay[k].state != GANDER_GOTRACE_GO_RUNNING || t->stay[k].start_ns > w->s.now))
			k = t->stay[k].prev;
		if (k == STAY_NONE || t->stay[k].start_ns <= from)
			continue;
		if (from < w->s.start_ns && a->span.what != WHY_OF_SPAN)
			from = w->s.start_ns;
		if (gopath_walk(a->path, t, a->span.g, k, from, t->stay[k].start_ns) < 0)
			w->error = -ENOMEM;
		gopath_continue(a->path);
		a->cut = true;
		a->cut_ns = t->stay[k].start_ns;
	}
	plan(w);
}

static void on_sync(void *ctx, const struct gander_gotrace_event *ev, struct goro *g)
{
	plan(ctx);
}

static bool before(void *ctx, const struct gander_gotrace_event *ev)
{
	struct walker *w = ctx;

	if (w->stays.n > w->most)
		w->most = w->stays.n;
	if (w->stays.n >= w->stays.next_compact)
		cut_paths(w);
	while (w->next < w->n && w->by_end[w->next]->span.to_ns <= ev->time_ns) {
		struct why_asked *a = w->by_end[w->next];

		if (!a->done) {
			/* the clock stands at the event before: bring it to the end that is asked about */
			struct goro *g = a->span.g >= 0 ? gostate_goro(&w->s, a->span.g) : NULL;

			settle(w, a, gostays_now(&w->stays, g), a->span.to_ns);
		}
		w->next++;
		plan(w);
	}
	return w->next < w->n && !w->stays.error && !w->error;
}

static void gone(void *ctx, struct goro *g, uint32_t last, bool at_end)
{
	struct walker *w = ctx;
	uint32_t i;

	/* whole goroutines, and those that end before the time that was asked for: the last in the order, and few */
	for (i = w->n; i-- > w->next && !at_end;) {
		struct why_asked *a = w->by_end[i];

		if (a->span.what != WHY_OF_GOROUTINE)
			break;
		if (a->done || a->span.g != g->id)
			continue;
		if (a->span.from_ns == INT64_MIN)
			a->span.from_ns = g->born_ns;
		settle(w, a, last, a->span.to_ns == INT64_MAX ? w->s.now : a->span.to_ns);
	}
	if (!at_end)
		plan(w);
}

static void on_born(void *ctx, struct goro *g)
{
	struct walker *w = ctx;
	uint32_t i;

	for (i = w->n; i-- > w->next && w->by_end[i]->span.what == WHY_OF_GOROUTINE;) {
		struct why_span *s = &w->by_end[i]->span;

		if (s->g == g->id && s->from_ns == INT64_MIN && !w->by_end[i]->done)
			s->from_ns = g->born_ns;
	}
	if (w->first_needed[w->next < w->n ? w->next : 0] == INT64_MIN)
		plan(w);
}

static int by_end(const void *a, const void *b)
{
	const struct why_span *x = &(*(struct why_asked *const *)a)->span, *y = &(*(struct why_asked *const *)b)->span;
	int p = x->what == WHY_OF_GOROUTINE, q = y->what == WHY_OF_GOROUTINE;

	if (p != q)
		return p - q;
	return x->to_ns < y->to_ns ? -1 : x->to_ns > y->to_ns ? 1
							      : slowest_first(x, y);
}

int why_walk(struct why_pass *p, struct gander_gotrace *reader, struct why_asked *asked, uint32_t n, struct err *err)
{
	struct walker w = { .n = n };
	struct gosink sink = { .ctx = &w, .born = on_born, .kinds = 1u << GANDER_GOTRACE_SYNC, .event = on_sync };
	int64_t first = INT64_MAX;
	uint32_t i;
	int r = 0;

	gostate_init(&w.s, p->syms);
	w.by_end = calloc((size_t)n + 1, sizeof(struct why_asked *));
	w.first_needed = calloc((size_t)n + 1, sizeof(*w.first_needed));
	if (!w.by_end || !w.first_needed || gostays_init(&w.stays, &w.s) < 0 || gostate_add(&w.s, &sink) < 0) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	w.stays.gone = gone;
	w.stays.ctx = &w;
	w.stays.max = STAYS_MAX;
	if (p->stays_least)
		w.stays.least = w.stays.next_compact = p->stays_least;
	for (i = 0; i < n; i++)
		w.by_end[i] = &asked[i];
	if (n > 1)
		qsort(w.by_end, n, sizeof(struct why_asked *), by_end);
	for (i = n; i-- > 0;) {
		if (w.by_end[i]->span.from_ns < first)
			first = w.by_end[i]->span.from_ns;
		w.first_needed[i] = first;
	}
	plan(&w);
	r = pass(p, &w.s, reader, before, &w, err);
	p->stays_max = w.most;
	/* what the trace's end left open; gostate_end() has taken the goroutines away, but not their stays */
	for (i = 0; i < n && !w.error && !w.stays.error && r != -ENOMEM; i++) {
		struct why_asked *a = w.by_end[i];
		uint32_t last = STAY_NONE, k;

		/* a trace is closed a little after its last event: a span in between is all unknown, but nobody's mistake */
		if (a->done || (a->span.from_ns > w.s.now && a->span.what != WHY_OF_SPAN))
			continue;
		for (k = w.stays.n; k-- > 0;)
			if (w.stays.stay[k].g == a->span.g) {
				last = k;
				break;
			}
		if (last == STAY_NONE && a->span.what == WHY_OF_GOROUTINE)
			continue; /* the trace does not know it */
		settle(&w, a, last, a->span.to_ns < w.s.now ? a->span.to_ns : w.s.now);
	}
	if (w.stays.error == -EFBIG)
		r = err_set(err, w.stays.error, "more changes of state than can be kept: ask for a shorter time (--from, --to)");
	else if (w.stays.error == -ENOSPC)
		r = err_set(err, w.stays.error, "no room for a temporary file in $TMPDIR, /var/tmp or /tmp: ask for a shorter time (--from, --to)");
	else if (w.stays.error || w.error)
		r = err_set(err, -ENOMEM, "out of memory");
out:
	gostays_done(&w.stays);
	gostate_done(&w.s);
	free(w.by_end);
	free(w.first_needed);
	return r;
}
