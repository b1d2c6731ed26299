#include "analyze/gostays.h"
#include "base/temp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FIRST       1024u
#define COMPACT_MIN 65536u

static void free_stays(struct gostays *t)
{
	if (t->fd >= 0) {
		munmap(t->stay, t->mapped);
		close(t->fd);
	} else {
		free(t->stay);
	}
	t->stay = NULL;
	t->fd = -1;
}

/* Makes the table `cap` stays large; on the heap as long as that is modest. */
static int resize(struct gostays *t, uint32_t cap)
{
	size_t size = (size_t)cap * sizeof(*t->stay);
	struct stay *p;
	int fd;

	if (t->fd < 0 && size <= (t->heap ? t->heap : GOSTAYS_HEAP)) {
		p = realloc(t->stay, size);
		if (!p)
			return -ENOMEM;
		t->stay = p;
		t->cap = cap;
		return 0;
	}
	fd = t->fd >= 0 ? t->fd : temp_file(NULL);
	if (fd < 0)
		return fd;
	/* allocated, not sparse: a full disk is an error here and not a SIGBUS later */
	if (posix_fallocate(fd, 0, (off_t)size)) {
		if (fd != t->fd)
			close(fd);
		return -ENOSPC;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		if (fd != t->fd)
			close(fd);
		return -ENOMEM;
	}
	if (t->fd >= 0) {
		munmap(t->stay, t->mapped);
	} else if (t->stay) {
		memcpy(p, t->stay, (size_t)t->n * sizeof(*p));
		free(t->stay);
	}
	t->fd = fd;
	t->stay = p;
	t->mapped = size;
	t->cap = cap;
	return 0;
}

static void set_now(struct goro *g, uint32_t i)
{
	g->user = (void *)((uintptr_t)i + 1);
}

/* Forgets the stays that ended before keep_from; the order stays. */
static int compact(struct gostays *t)
{
	uint32_t *to = malloc((size_t)t->n * sizeof(*to)), i, n = 0;
	uint64_t at = 0, id, p;

	if (!to)
		return -ENOMEM;
	for (i = 0; i < t->n; i++)
		to[i] = t->stay[i].end_ns == GO_NEVER || t->stay[i].end_ns > t->keep_from ? n++ : STAY_NONE;
	for (i = 0; i < t->n; i++) {
		struct stay *x;

		if (to[i] == STAY_NONE)
			continue;
		x = &t->stay[to[i]];
		*x = t->stay[i];
		if (x->prev != STAY_NONE)
			x->prev = to[x->prev];
		if (x->waker != STAY_NONE)
			x->waker = to[x->waker];
	}
	while (map_next(&t->s->goros, &at, &id, &p)) {
		struct goro *g = (struct goro *)(uintptr_t)p;

		if (gostays_now(t, g) != STAY_NONE)
			set_now(g, to[gostays_now(t, g)]);
	}
	t->n = n;
	free(to);
	for (i = n = 0; i < t->nstop; i++)
		if (t->stop[i].end_ns == GO_NEVER || t->stop[i].end_ns > t->keep_from)
			t->stop[n++] = t->stop[i];
	t->nstop = n;
	/* the last change before the window says what was the case at its begin */
	for (i = 0; i + 1 < t->nidle && t->idle[i + 1].time_ns <= t->keep_from; i++)
		;
	if (i) {
		memmove(t->idle, t->idle + i, (t->nidle - i) * sizeof(*t->idle));
		t->nidle -= i;
	}
	i = t->least ? t->least : COMPACT_MIN;
	t->next_compact = t->n < i / 2 ? i : t->n > UINT32_MAX / 2 ? UINT32_MAX
								   : t->n * 2;
	return 0;
}

/* Before anybody holds a stay's number: compacting changes them. */
static void make_room(struct gostays *t)
{
	if (t->n >= t->next_compact && t->keep_from != GO_NEVER && !t->error)
		t->error = compact(t);
}

static uint32_t begin_stay(struct gostays *t, struct goro *g, const struct stay *like)
{
	int r;

	if (t->error)
		return STAY_NONE;
	if (t->n == t->cap) {
		r = t->n == STAY_NONE - 1 || (t->max && t->n >= t->max) ? -EFBIG : resize(t, t->cap > STAY_NONE / 2 ? STAY_NONE - 1 : t->cap ? t->cap * 2
																	     : FIRST);
		if (r < 0) {
			t->error = r;
			return STAY_NONE;
		}
	}
	t->stay[t->n] = *like;
	t->stay[t->n].prev = gostays_now(t, g);
	set_now(g, t->n);
	return t->n++;
}

static void end_stay(struct gostays *t, const struct goro *g, uint32_t stack, uint32_t waker)
{
	uint32_t i = gostays_now(t, g);
	struct stay *x;

	if (i == STAY_NONE)
		return;
	x = &t->stay[i];
	x->end_ns = t->s->now;
	if (!(x->flags & STAY_MADE)) { /* there it is who made it */
		x->end_stack = stack;
		if (x->state == GANDER_GOTRACE_GO_WAITING)
			x->waker = waker;
	}
	if (!x->func)
		x->func = g->func;
	if (!x->stack)
		x->stack = g->own_stack;
}

/* The same state goes on, but from here on inside (or outside) of a range. */
static void cut(struct gostays *t, struct goro *g, uint8_t flag, bool inside, uint32_t stack)
{
	struct stay next;
	uint32_t i;

	make_room(t);
	i = gostays_now(t, g);
	if (t->error || i == STAY_NONE || !(t->stay[i].flags & flag) == !inside)
		return;
	next = t->stay[i];
	next.flags = (uint8_t)((inside ? next.flags | flag : next.flags & ~flag) & ~(STAY_MADE | STAY_SEEN));
	if (t->s->now <= next.start_ns) { /* since its very begin */
		t->stay[i].flags = (uint8_t)(next.flags | (t->stay[i].flags & (STAY_MADE | STAY_SEEN)));
		return;
	}
	end_stay(t, g, stack, STAY_NONE);
	next.start_ns = t->s->now;
	next.waker = STAY_NONE;
	begin_stay(t, g, &next);
}

static void born(void *ctx, struct goro *g)
{
	g->watch = true;
	g->user = NULL;
}

static void moved(void *ctx, struct goro *g, unsigned from, unsigned to, const struct gander_gotrace_event *ev)
{
	struct gostays *t = ctx;
	struct gostate *s = t->s;
	struct goro *by = ev->goroutine >= 0 && ev->goroutine != g->id ? gostate_goro(s, ev->goroutine) : NULL;
	uint32_t stack = gosym_map_stack(&s->map, s->syms, ev->stack), own = gosym_map_stack(&s->map, s->syms, ev->transition.stack);
	uint32_t before;
	struct stay x = {
		.end_ns = GO_NEVER,
		.g = g->id,
		.waker = STAY_NONE,
		.stack = own,
		.reason = gosym_map_string(&s->map, s->syms, ev->transition.reason),
		.func = g->func,
		.thread = ev->thread < 0 || ev->thread > INT32_MAX ? -1 : (int32_t)ev->thread,
		.state = (uint8_t)to,
	};

	make_room(t);
	before = gostays_now(t, g);
	x.start_ns = before == STAY_NONE ? g->born_ns : s->now;
	if (before == STAY_NONE) {
		x.flags = g->there_at_start ? STAY_SEEN : STAY_MADE;
		if (x.flags == STAY_MADE) {
			x.waker = gostays_now(t, by);
			x.end_stack = g->made_stack;
		}
	} else {
		end_stay(t, g, stack, gostays_now(t, by));
		if (!x.stack && from == GANDER_GOTRACE_GO_WAITING && !t->error)
			x.stack = t->stay[before].stack; /* it still stands there */
	}
	if (g->open_ranges & 1u << GANDER_GOTRACE_RANGE_MARK_ASSIST)
		x.flags |= STAY_ASSIST;
	if (g->open_ranges & 1u << GANDER_GOTRACE_RANGE_STW)
		x.flags |= STAY_STW;
	if (to == GANDER_GOTRACE_GO_RUNNABLE)
		x.cause = from == GANDER_GOTRACE_GO_NOT_EXIST ? GO_CAUSE_CREATED : from == GANDER_GOTRACE_GO_WAITING ? GO_CAUSE_UNBLOCKED
									   : from == GANDER_GOTRACE_GO_SYSCALL       ? GO_CAUSE_SYSCALL
									   : from == GANDER_GOTRACE_GO_RUNNING       ? GO_CAUSE_PREEMPTED
														     : GO_CAUSE_UNKNOWN;
	if (to == GANDER_GOTRACE_GO_NOT_EXIST || to == GANDER_GOTRACE_GO_UNDETERMINED)
		return;
	begin_stay(t, g, &x);
}

static void gone(void *ctx, struct goro *g, bool at_end)
{
	struct gostays *t = ctx;
	uint32_t i = gostays_now(t, g);

	if (i != STAY_NONE && !t->stay[i].func)
		t->stay[i].func = g->func;
	if (t->gone)
		t->gone(t->ctx, g, i, at_end);
	if (i != STAY_NONE && t->stay[i].end_ns == GO_NEVER && !at_end)
		t->stay[i].end_ns = t->s->now; /* only v1 and forged traces: a number is used again without an end */
	g->user = NULL;
}

static void range_begin(void *ctx, const struct gorange *r)
{
	struct gostays *t = ctx;

	switch (r->id) {
	case GANDER_GOTRACE_RANGE_MARK_ASSIST:
		if (r->g)
			cut(t, r->g, STAY_ASSIST, true, r->stack);
		break;
	case GANDER_GOTRACE_RANGE_SWEEP:
		if (r->g && r->g->state == GANDER_GOTRACE_GO_RUNNING)
			cut(t, r->g, STAY_SWEEP, true, r->stack);
		break;
	case GANDER_GOTRACE_RANGE_STW:
		if (r->g)
			cut(t, r->g, STAY_STW, true, r->stack);
		if (t->nstop == t->stop_cap) {
			uint32_t cap = t->stop_cap ? t->stop_cap * 2 : 64;
			struct gostop *p = realloc(t->stop, cap * sizeof(*p));

			if (!p) {
				t->error = -ENOMEM;
				return;
			}
			t->stop = p;
			t->stop_cap = cap;
		}
		t->stop[t->nstop++] = (struct gostop) { r->start_ns, GO_NEVER, r->scope_id, r->name, r->stack };
		break;
	}
}

static void range_end(void *ctx, const struct gorange *r)
{
	struct gostays *t = ctx;
	uint32_t i;

	switch (r->id) {
	case GANDER_GOTRACE_RANGE_MARK_ASSIST:
		if (r->g)
			cut(t, r->g, STAY_ASSIST, false, r->stack);
		break;
	case GANDER_GOTRACE_RANGE_SWEEP:
		if (r->g)
			cut(t, r->g, STAY_SWEEP, false, r->stack);
		break;
	case GANDER_GOTRACE_RANGE_STW:
		if (r->g)
			cut(t, r->g, STAY_STW, false, 0);
		for (i = t->nstop; i-- > 0;) /* one at a time, but forged traces may have any number open */
			if (t->stop[i].g == r->scope_id && t->stop[i].end_ns == GO_NEVER) {
				t->stop[i].end_ns = r->end_ns;
				break;
			} else if (t->nstop - i > 64) {
				break;
			}
		break;
	}
}

static void note_idle(struct gostays *t)
{
	bool idle = t->s->level[GO_LEVEL_PROCS_IDLE] > 0;
	struct goidle *last = t->nidle ? &t->idle[t->nidle - 1] : NULL, *p;
	uint64_t sum = 0;

	if (last) {
		if (last->idle == idle)
			return;
		sum = last->idle_ns + (last->idle ? (uint64_t)(t->s->now - last->time_ns) : 0);
		if (last->time_ns == t->s->now) {
			last->idle = idle;
			return;
		}
	}
	if (t->nidle == t->idle_cap) {
		uint32_t cap = t->idle_cap ? t->idle_cap * 2 : 256;

		p = realloc(t->idle, (size_t)cap * sizeof(*p));
		if (!p) {
			t->error = -ENOMEM;
			return;
		}
		t->idle = p;
		t->idle_cap = cap;
	}
	t->idle[t->nidle++] = (struct goidle) { t->s->now, sum, idle };
	/* where Ps change and goroutines do not: the same rule as for the stays */
	if (t->nidle > 4 * COMPACT_MIN && t->keep_from != GO_NEVER && t->idle[t->nidle / 2].time_ns <= t->keep_from) {
		memmove(t->idle, t->idle + t->nidle / 2, (t->nidle - t->nidle / 2) * sizeof(*t->idle));
		t->nidle -= t->nidle / 2;
	}
}

static void proc(void *ctx, const struct goproc *p, unsigned from, unsigned to, const struct gander_gotrace_event *ev)
{
	note_idle(ctx);
}

/* A goroutine that only was mentioned again may have brought its stack; a change of GOMAXPROCS may have made a P idle. */
static void event(void *ctx, const struct gander_gotrace_event *ev, struct goro *none)
{
	struct gostays *t = ctx;
	struct goro *g;
	uint32_t i;

	if (ev->kind == GANDER_GOTRACE_METRIC) {
		note_idle(t);
		return;
	}
	if (ev->transition.from != ev->transition.to || ev->transition.resource != GANDER_GOTRACE_RES_GOROUTINE || t->error)
		return;
	g = gostate_goro(t->s, ev->transition.id);
	i = gostays_now(t, g);
	if (i == STAY_NONE)
		return;
	if (!t->stay[i].stack)
		t->stay[i].stack = g->own_stack;
	if (!t->stay[i].func)
		t->stay[i].func = g->func;
}

int gostays_init(struct gostays *t, struct gostate *s)
{
	struct gosink sink = {
		.ctx = t,
		.kinds = 1u << GANDER_GOTRACE_STATE_TRANSITION | 1u << GANDER_GOTRACE_METRIC,
		.event = event,
		.born = born,
		.moved = moved,
		.gone = gone,
		.range = range_end,
		.range_begin = range_begin,
		.proc = proc,
	};

	memset(t, 0, sizeof(*t));
	t->s = s;
	t->fd = -1;
	t->keep_from = GO_NEVER;
	t->next_compact = COMPACT_MIN;
	return gostate_add(s, &sink);
}

void gostays_done(struct gostays *t)
{
	free_stays(t);
	free(t->stop);
	free(t->idle);
	memset(t, 0, sizeof(*t));
	t->fd = -1;
}

static uint64_t idle_until(const struct gostays *t, int64_t at)
{
	uint32_t low = 0, high = t->nidle;
	const struct goidle *p;

	while (low < high) { /* the first change after `at` */
		uint32_t mid = low + (high - low) / 2;

		if (t->idle[mid].time_ns <= at)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return t->nidle ? t->idle[0].idle_ns : 0;
	p = &t->idle[low - 1];
	return p->idle_ns + (p->idle ? (uint64_t)(at - p->time_ns) : 0);
}

uint64_t gostays_idle_ns(const struct gostays *t, int64_t from, int64_t to)
{
	return to > from ? idle_until(t, to) - idle_until(t, from) : 0;
}
