/* Counting v1 events without putting them in order: what v1_next() would deliver, in a third of its time.
 *
 * In one P's batches the events stand in order; what v1_order.c spends its time on is choosing, for each event, the P whose turn it is. The number of events
 * and the outcome of all checks do not depend on it as long as each goroutine sees its own events in the same order. So each P is followed as far
 * as it goes: until its next event needs a goroutine in a state that another P's event will bring about. All checks are made here too, and those that
 * the order of time implies in addition: whatever is odd in any way makes this give up, and the trace is counted event by event from its
 * beginning, so that the error is the same one. docs/gotrace.md says why the outcome is the same ("Counting"). */
#include "gotrace/gotrace_v1.h"

#include <stdlib.h>
#include <string.h>

#define RANGES_MAX (1u << 20)
#define PAD        64 /* a hot record is shorter */

enum { TAKEN = 1,
       WAIT = 0 };

struct counting {
	struct following f; /* a goroutine (or V1_KEY_GC) is what is waited for */
	struct v1 *v;
	uint64_t *counts;
	uint64_t transitions;
	struct idset created, tasks;
	int64_t gc_touched;
	struct v1_proc *gc_by;
	struct v1_range {
		int64_t ts;
		uint8_t type;
	} * range; /* begins and ends of collections and stops: theirs is one order for all P's */
	uint32_t nrange, cap_range;
};

/* The event waits until somebody changes the state of goroutine `id`, which is g if it exists. */
static __attribute__((noinline)) int wait_for(struct counting *k, struct v1_proc *pr, uint64_t id, struct v1_g *g)
{
	if (g)
		g->awaited = true;
	return following_wait(&k->f, &pr->f, id);
}

/* The goroutine's state was changed by this P's event. */
static always_inline void touch(struct counting *k, struct v1_g *g, struct v1_proc *pr, int64_t ts)
{
	g->by = pr;
	g->touched = ts;
	if (unlikely(g->awaited)) {
		g->awaited = false;
		following_wake(&k->f, g->id);
	}
}

/* Whether what was done to it last by another P lies before in time, too. At the same time only what a number tells apart keeps its order. */
static always_inline bool later(const struct v1_g *g, const struct v1_proc *pr, int64_t ts, bool numbered)
{
	return likely(g->by == pr) || g->touched < ts || (numbered && g->touched == ts);
}

/* A CPU sample between a system call's begin and its block hides the block: see v1_order.c. */
static bool sampled_between(const struct v1 *v, uint64_t g, int64_t from, int64_t to)
{
	uint32_t a = 0, b = v->nsample, m;

	while (a < b) {
		m = a + (b - a) / 2;
		if (v->sample_order[m].time < from)
			a = m + 1;
		else
			b = m;
	}
	for (; a < v->nsample && v->sample_order[a].time < to; a++)
		if (v->sample[v->sample_order[a].index].g == g)
			return true;
	return false;
}

static always_inline int start(struct counting *k, struct v1_proc *pr, int64_t ts, uint64_t id, uint64_t seq, bool numbered)
{
	struct v1_g *g = idmap_get(&k->v->gs, id);

	if (unlikely(!g || g->merged != G_RUNNABLE || (numbered && g->seq != seq)))
		return wait_for(k, pr, id, g);
	if (unlikely(pr->run || !later(g, pr, ts, numbered)))
		return GIVE_UP;
	g->seq++;
	g->merged = g->state = G_RUNNING;
	touch(k, g, pr, ts);
	pr->run = g;
	pr->state->g = id;
	k->transitions++;
	return TAKEN;
}

/* It waits no longer. */
static always_inline int unblock(struct counting *k, struct v1_proc *pr, int64_t ts, uint64_t id, uint64_t seq, bool numbered, int64_t real)
{
	struct v1_g *g = idmap_get(&k->v->gs, id);

	if (unlikely(!g || g->merged != G_WAITING || (numbered && g->seq != seq)))
		return wait_for(k, pr, id, g);
	if (unlikely(!later(g, pr, ts, numbered)))
		return GIVE_UP;
	if (real && real != ts) { /* a system call's end, which counts when it was: among v->exits */
		if (real > ts || real < g->touched)
			return GIVE_UP;
	} else {
		k->transitions++;
	}
	g->seq++;
	g->merged = g->state = G_RUNNABLE;
	touch(k, g, pr, ts);
	return TAKEN;
}

static always_inline int leave(struct counting *k, struct v1_proc *pr, int64_t ts, uint8_t state)
{
	struct v1_g *g = pr->run;

	if (unlikely(!g))
		return GIVE_UP;
	g->merged = g->state = state;
	touch(k, g, pr, ts);
	pr->run = NULL;
	pr->state->g = 0;
	k->transitions++;
	return TAKEN;
}

static int leave_syscall(struct counting *k, struct v1_proc *pr, int64_t ts)
{
	uint64_t id = pr->run ? pr->run->id : 0;
	bool begun = pr->in_syscall;
	int r = leave(k, pr, ts, G_WAITING);

	k->transitions--;
	/* Its begin had counted an end. */
	if (begun && r == TAKEN && !(k->v->nsample && sampled_between(k->v, id, pr->syscall_ts, ts)))
		k->transitions--;
	return r;
}

static int begin_syscall(struct counting *k, struct v1_proc *pr, int64_t ts)
{
	if (!pr->run)
		return GIVE_UP;
	k->transitions += 2;
	pr->in_syscall = true;
	pr->syscall_ts = ts;
	return TAKEN;
}

static int finish(struct counting *k, struct v1_proc *pr)
{
	if (!pr->run)
		return GIVE_UP;
	v1_g_del(k->v, pr->run);
	pr->run = NULL;
	pr->state->g = 0;
	k->transitions++;
	return TAKEN;
}

static int create(struct counting *k, struct v1_proc *pr, int64_t ts, uint64_t id)
{
	struct v1_g *g;

	if (!id || idmap_get(&k->v->gs, id) || idset_add(&k->created, id) != 1)
		return GIVE_UP;
	g = v1_g_new(k->v, id);
	if (!g)
		return GIVE_UP;
	g->seq = 1;
	g->merged = g->state = G_RUNNABLE;
	touch(k, g, pr, ts);
	if (unlikely(k->f.waiting.count))
		following_wake(&k->f, id);
	k->transitions++;
	return TAKEN;
}

static int range(struct counting *k, const struct v1_event *ev)
{
	if (k->nrange >= RANGES_MAX || v1_grow(&k->range, k->nrange + 1, &k->cap_range, sizeof(*k->range)) < 0)
		return GIVE_UP;
	k->range[k->nrange++] = (struct v1_range) { ev->ts, ev->type };
	k->counts[ev->type == V1_GC_START || ev->type == V1_STW_START ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END]++;
	return TAKEN;
}

static int gc_start(struct counting *k, struct v1_proc *pr, const struct v1_event *ev)
{
	if (k->v->gc_seq != ev->args[0])
		return wait_for(k, pr, V1_KEY_GC, NULL);
	if (k->gc_by && k->gc_by != pr && k->gc_touched > ev->ts)
		return GIVE_UP;
	k->gc_by = pr;
	k->gc_touched = ev->ts;
	k->v->gc_seq++;
	following_wake(&k->f, V1_KEY_GC);
	return range(k, ev);
}

/* The checks of whatever touches nothing but the P and its goroutine are those of the conversion. */
static int other(struct counting *k, struct v1_event *ev)
{
	struct gander_gotrace_event e;
	int r = v1_convert(k->v, ev, &e, NULL);

	if (r < 0)
		return GIVE_UP;
	if (r)
		k->counts[e.kind]++;
	return TAKEN;
}

/* An event of any type. */
static __attribute__((noinline)) int take(struct counting *k, struct v1_proc *pr, struct v1_event *ev)
{
	bool in_syscall = pr->in_syscall;
	int r;

	pr->f.head = ev->ts;
	if (ev->ts < pr->at)
		return GIVE_UP;
	if (ev->ts > k->f.horizon)
		return PARKED;
	if (ev->type != V1_SYSBLOCK)
		pr->in_syscall = false;
	switch (ev->type) {
	case V1_GO_START:
	case V1_START_LOCAL:
	case V1_START_LABEL:
		r = start(k, pr, ev->ts, ev->args[0], ev->args[1], ev->type != V1_START_LOCAL);
		if (r == TAKEN && ev->type == V1_START_LABEL)
			k->counts[GANDER_GOTRACE_LABEL]++;
		break;
	case V1_GO_UNBLOCK:
	case V1_UNBLOCK_LOCAL:
		r = unblock(k, pr, ev->ts, ev->args[0], ev->args[1], ev->type == V1_GO_UNBLOCK, 0);
		break;
	case V1_SYSEXIT:
		r = unblock(k, pr, ev->ts, ev->args[0], ev->args[1], true, (int64_t)ev->args[2]);
		break;
	case V1_GO_SCHED:
	case V1_GO_PREEMPT:
		r = leave(k, pr, ev->ts, G_RUNNABLE);
		break;
	case V1_GO_SLEEP:
	case V1_GO_BLOCK:
	case V1_BLOCK_SEND:
	case V1_BLOCK_RECV:
	case V1_BLOCK_SELECT:
	case V1_BLOCK_SYNC:
	case V1_BLOCK_COND:
	case V1_BLOCK_NET:
	case V1_BLOCK_GC:
		r = leave(k, pr, ev->ts, G_WAITING);
		break;
	case V1_SYSCALL:
		r = begin_syscall(k, pr, ev->ts);
		break;
	case V1_SYSBLOCK:
		r = leave_syscall(k, pr, ev->ts);
		pr->in_syscall = false;
		break;
	case V1_GO_CREATE:
		r = create(k, pr, ev->ts, ev->args[0]);
		break;
	case V1_GO_END:
	case V1_GO_STOP:
		r = finish(k, pr);
		break;
	case V1_GC_START:
		r = gc_start(k, pr, ev);
		break;
	case V1_GC_DONE:
	case V1_STW_START:
	case V1_STW_DONE:
		r = range(k, ev);
		break;
	case V1_TASK_CREATE:
		if (idmap_get(&k->v->tasks, ev->args[0]) || idset_add(&k->tasks, ev->args[0]) != 1)
			return GIVE_UP;
		k->counts[GANDER_GOTRACE_TASK_BEGIN]++;
		r = TAKEN;
		break;
	case V1_TASK_END:
		k->counts[GANDER_GOTRACE_TASK_END]++;
		r = TAKEN;
		break;
	case V1_LOG:
		k->counts[GANDER_GOTRACE_LOG]++;
		r = TAKEN;
		break;
	case V1_WAITING: /* about goroutines of before the trace, which is over */
	case V1_IN_SYSCALL:
	case V1_SYSEXIT_LOCAL: /* no Go writes it */
		return GIVE_UP;
	default:
		r = other(k, ev);
	}
	if (r == TAKEN)
		pr->at = ev->ts;
	else
		pr->in_syscall = in_syscall;
	return r;
}

/* A varint that may be read past its end. A longer one than ten bytes is cut. */
static always_inline const uint8_t *get(const uint8_t *p, uint64_t *ret)
{
	uint64_t x = p[0];

	if (likely(x < 0x80)) {
		*ret = x;
		return p + 1;
	}
	x = (x & 0x7f) | (uint64_t)p[1] << 7;
	if (likely(p[1] < 0x80)) {
		*ret = x;
		return p + 2;
	}
	if (!varint_get(&p, p + 10, ret))
		p += 10;
	return p;
}

#define RECORD(type, n) ((type) | ((n)-1) << 6)

/* The P's hot records, straight from its window: TAKEN when the next is another one, or its window is nearly empty. */
static int hot(struct counting *k, struct v1_proc *pr, uint32_t *left)
{
	const uint8_t *p = pr->p, *q, *end = pr->lim - pr->p > PAD ? pr->lim - PAD : pr->p;
	uint64_t x, id, seq, real;
	int64_t ts, at = pr->at;
	uint32_t n = *left;
	int r = TAKEN;

	while (p < end && n) {
		switch (*p) {
		case RECORD(V1_START_LOCAL, 2):
			q = get(get(p + 1, &x), &id);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at)))
				goto far;
			r = start(k, pr, ts, id, 0, false);
			break;
		case RECORD(V1_GO_START, 3):
			q = get(get(get(p + 1, &x), &id), &seq);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at)))
				goto far;
			r = start(k, pr, ts, id, seq, true);
			break;
		case RECORD(V1_UNBLOCK_LOCAL, 3):
			q = get(get(get(p + 1, &x), &id), &seq);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at)))
				goto far;
			r = unblock(k, pr, ts, id, 0, false, 0);
			break;
		case RECORD(V1_GO_UNBLOCK, 4):
			q = p[1] < PAD ? p + 2 + p[1] : end;
			get(get(get(p + 2, &x), &id), &seq);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at) | (q >= end)))
				goto far;
			r = unblock(k, pr, ts, id, seq, true, 0);
			break;
		case RECORD(V1_SYSEXIT, 4):
			q = p[1] < PAD ? p + 2 + p[1] : end;
			get(get(get(get(p + 2, &x), &id), &seq), &real);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at) | (q >= end)))
				goto far;
			r = unblock(k, pr, ts, id, seq, true, (int64_t)real);
			break;
		case RECORD(V1_GO_BLOCK, 2):
		case RECORD(V1_BLOCK_SEND, 2):
		case RECORD(V1_BLOCK_RECV, 2):
		case RECORD(V1_BLOCK_SELECT, 2):
		case RECORD(V1_BLOCK_SYNC, 2):
		case RECORD(V1_BLOCK_COND, 2):
		case RECORD(V1_BLOCK_NET, 2):
			q = get(get(p + 1, &x), &id);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at)))
				goto far;
			r = leave(k, pr, ts, G_WAITING);
			break;
		case RECORD(V1_GO_SCHED, 2):
		case RECORD(V1_GO_PREEMPT, 2):
			q = get(get(p + 1, &x), &id);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at)))
				goto far;
			r = leave(k, pr, ts, G_RUNNABLE);
			break;
		case RECORD(V1_GO_END, 1):
			q = get(p + 1, &x);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at)))
				goto far;
			r = finish(k, pr);
			break;
		case RECORD(V1_SYSCALL, 2):
			q = get(get(p + 1, &x), &id);
			ts = (int64_t)((uint64_t)pr->ts + x);
			if (unlikely((ts > k->f.horizon) | (ts < at)))
				goto far;
			r = begin_syscall(k, pr, ts);
			if (unlikely(r != TAKEN))
				goto out;
			at = pr->ts = ts;
			p = q;
			n--;
			continue;
		default:
			goto far;
		}
		if (unlikely(r != TAKEN)) {
			pr->f.head = ts;
			goto out;
		}
		pr->in_syscall = false;
		at = pr->ts = ts;
		p = q;
		n--;
	}
far:
	r = TAKEN; /* the slow way looks closer */
out:
	pr->p = p;
	pr->at = at;
	pr->g = pr->run ? pr->run->id : 0;
	*left = n;
	return r;
}

static int follow(struct following *f, struct follower *x)
{
	struct counting *k = (struct counting *)f;
	struct v1_proc *pr = (struct v1_proc *)x;
	uint32_t left = SLICE_EVENTS;
	int r = TAKEN;

	while (left && r == TAKEN) {
		if (!pr->pending) {
			r = hot(k, pr, &left);
			if (r != TAKEN)
				break;
			r = v1_decode(k->v, pr, &pr->ev[pr->cur], NULL);
			if (r <= 0) {
				x->ended = !r;
				r = r < 0 ? GIVE_UP : PARKED;
				break;
			}
			pr->pending = 1;
			x->head = pr->ev[pr->cur].ts;
			if (!left)
				break;
		}
		r = take(k, pr, &pr->ev[pr->cur]);
		if (r != TAKEN)
			break;
		left--;
		if (--pr->pending)
			pr->cur = pr->cur == 2 ? 0 : pr->cur + 1;
	}
	f->taken += SLICE_EVENTS - left;
	if (r != TAKEN)
		return r;
	if (!pr->pending)
		x->head = pr->at;
	following_cut(f, pr->at);
	return PARKED;
}

static int range_cmp(const void *a, const void *b)
{
	const struct v1_range *x = a, *y = b;

	return x->ts < y->ts ? -1 : x->ts > y->ts;
}

/* Begins and ends must alternate in time. */
static bool ranges_alternate(struct counting *k)
{
	bool in[2] = { k->v->in_gc, k->v->in_stw }, begins, stw;
	int64_t last[2] = { INT64_MIN, INT64_MIN };
	const struct v1_range *r;
	uint32_t i;

	if (k->nrange) /* qsort takes no NULL */
		qsort(k->range, k->nrange, sizeof(*k->range), range_cmp);
	for (i = 0; i < k->nrange; i++) {
		r = &k->range[i];
		stw = r->type == V1_STW_START || r->type == V1_STW_DONE;
		begins = r->type == V1_STW_START || r->type == V1_GC_START;
		if (begins == in[stw] || r->ts == last[stw])
			return false;
		in[stw] = begins;
		last[stw] = r->ts;
	}
	return true;
}

/* The state that v1_next() has left is taken over. */
static bool take_over(struct counting *k)
{
	struct v1 *v = k->v;
	struct v1_proc *pr;
	uint32_t i;

	for (i = 0; i < v->nproc; i++) {
		pr = v->proc[i];
		pr->state = v1_p_get(v, pr->pid);
		if (!pr->state)
			return false;
		pr->run = pr->state->g ? idmap_get(&v->gs, pr->state->g) : NULL;
		if (pr->state->g && (!pr->run || pr->run->state != G_RUNNING || pr->run->merged != G_RUNNING))
			return false;
		pr->at = v->merged_ts;
		pr->pending = pr->have + (pr->have && pr->have_ahead);
		pr->in_syscall = false;
		pr->f = (struct follower) { .head = pr->ev[pr->cur].ts, .ended = !pr->have };
		k->f.all[i] = &pr->f;
	}
	return true;
}

/* Counts the rest: true, or false when it is to be counted event by event. */
static bool count_rest(struct v1 *v, uint64_t *counts)
{
	struct counting k = { .f.follow = follow, .v = v, .counts = counts };
	bool done = false;

	if (idset_init(&k.created) < 0 || idset_init(&k.tasks) < 0 || following_init(&k.f, v->nproc) < 0 || !take_over(&k))
		goto out;
	if (following_all(&k.f) < 0 || !ranges_alternate(&k))
		goto out;
	counts[GANDER_GOTRACE_STATE_TRANSITION] += k.transitions + (v->nexits - v->exit_next);
	counts[GANDER_GOTRACE_STACK_SAMPLE] += v->nsample - v->sample_next;
	counts[GANDER_GOTRACE_SYNC]++;
	v->ended = true;
	done = true;
out:
	idset_done(&k.created);
	idset_done(&k.tasks);
	following_done(&k.f);
	free(k.range);
	return done;
}

int v1_count(struct gander_gotrace *t, uint64_t *counts, struct err *err)
{
	struct gander_gotrace_event ev;
	struct v1 *v = t->v1;
	int r = 1;

	/* What could reach a limit in one order and not in another, is counted in the right one. */
	if (!t->events && !v->lag && v->ncreated_max < V1_LIVE_MAX / 2 && v->ntask_max < V1_LIVE_MAX && v->nregion_max < V1_LIVE_MAX) {
		/* Before the first Gomaxprocs it all depends on the order. */
		while (!(v->told && v->created_next == v->ncreated && !v->peek && !v->have_extra) && (r = v1_next(t, &ev, err)) > 0)
			counts[ev.kind]++;
		if (r <= 0 || count_rest(v, counts))
			return r < 0 ? r : 0;
		memset(counts, 0, GANDER_GOTRACE_KINDS * sizeof(*counts));
		r = v1_order_restart(v, err);
		if (r < 0)
			return r;
	}
	while ((r = v1_next(t, &ev, err)) > 0)
		counts[ev.kind]++;
	return r;
}
