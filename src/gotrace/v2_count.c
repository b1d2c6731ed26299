/* Counting a generation's events without putting them in order: what v2_order.c would deliver, in half of its time.
 *
 * As in v1_count.c each thread is followed as far as it goes, and the outcome is the same if each goroutine, P and thread sees its own events in the same
 * order: docs/gotrace.md ("Counting") says why what is checked here is enough. The checks and changes of state are those of v2_order.c; this adds who must wait
 * for whom, and what the order of time would have decided. Whatever is odd makes this give up: the trace is then counted event by event from its beginning. */
#include "gotrace/gotrace_v2.h"

#include <stdlib.h>
#include <string.h>

#define TASKS_MAX (256u << 10)

struct counting {
	struct following f; /* the cursors of this generation */
	struct v2 *v;
	struct idset ids; /* of goroutines that began or ended in this generation */
	uint64_t transitions;
	uint64_t begun; /* goroutines and regions that begin: an upper bound of what lives at a time */
	struct v2_cursor *gc_by;
	int64_t gc_touched;
	struct task {
		int64_t time;
		uint64_t id;
		bool begins;
	} * task; /* in no order; theirs does not depend on goroutines */
	uint32_t ntask, cap_task;
};

/* What may be waited for, as a key. That two may have the same does no harm: who is woken in vain waits again. */
#define KEY_P(id) ((id) | 1ull << 62)
#define KEY_M(id) ((id) | 2ull << 62)
#define KEY_GC    (3ull << 62)

static __attribute__((noinline)) int wait_g(struct counting *k, struct v2_cursor *c, uint64_t id, struct v2_g *g)
{
	if (g)
		g->awaited = true;
	return following_wait(&k->f, &c->f, id);
}

static __attribute__((noinline)) int wait_p(struct counting *k, struct v2_cursor *c, uint64_t id, struct v2_p *p)
{
	if (p)
		p->awaited = true;
	return following_wait(&k->f, &c->f, KEY_P(id));
}

/* The state of the goroutine, or of the P, was changed or looked at by this thread's event. */
static always_inline void touch_g_at(struct counting *k, struct v2_g *g, struct v2_cursor *c, int64_t time)
{
	g->by = c;
	g->touched = time;
	if (unlikely(g->awaited)) {
		g->awaited = false;
		following_wake(&k->f, g->id);
	}
}

static always_inline void touch_g(struct counting *k, struct v2_g *g, struct v2_cursor *c)
{
	touch_g_at(k, g, c, c->time);
}

static always_inline void touch_p_at(struct counting *k, struct v2_p *p, struct v2_cursor *c, int64_t time)
{
	p->by = c;
	p->touched = time;
	if (unlikely(p->awaited)) {
		p->awaited = false;
		following_wake(&k->f, KEY_P(p->id));
	}
}

static always_inline void touch_p(struct counting *k, struct v2_p *p, struct v2_cursor *c)
{
	touch_p_at(k, p, c, c->time);
}

/* Whether what another thread did last lies before in time, too. At the same time only what a number tells apart keeps its order. */
#define LATER_AT(x, c, t, numbered) (likely((x)->by == (c)) || (x)->touched < (t) || ((numbered) && (x)->touched == (t)))
#define LATER(x, c, numbered)       LATER_AT(x, c, (c)->time, numbered)

/* The thread as far as this generation has come. */
static always_inline void enter(const struct v2 *v, struct v2_m *m)
{
	if (m->seen != v->gen) {
		m->seen = v->gen;
		m->at = m->after = INT64_MIN;
	}
}

/* The thread's goroutine, whose state of this generation must have been told: TAKEN when it may be used. */
static always_inline int own_g(struct counting *k, struct v2_cursor *c, struct v2_m *m, struct v2_g **ret)
{
	struct v2_g *g;

	if (unlikely(m->g == GANDER_GOTRACE_NONE))
		return GIVE_UP;
	*ret = g = cur_g(k->v, m);
	if (unlikely(!g))
		return GIVE_UP;
	if (unlikely(g->gen != k->v->gen))
		return wait_g(k, c, g->id, g);
	return LATER(g, c, false) ? TAKEN : GIVE_UP;
}

static always_inline int own_p(struct counting *k, struct v2_cursor *c, struct v2_m *m, struct v2_p **ret)
{
	struct v2_p *p;

	if (unlikely(m->p == GANDER_GOTRACE_NONE))
		return GIVE_UP;
	*ret = p = cur_p(k->v, m);
	if (unlikely(!p))
		return GIVE_UP;
	if (unlikely(p->gen != k->v->gen))
		return wait_p(k, c, p->id, p);
	return LATER(p, c, false) ? TAKEN : GIVE_UP;
}

static int take(struct counting *k, struct v2_cursor *c)
{
	return v2_take(k->v, c) == TAKEN ? TAKEN : GIVE_UP;
}

/* A new goroutine: nobody may have had its number before in this generation. */
static int appear(struct counting *k, struct v2_cursor *c)
{
	uint64_t id = c->args[0];
	struct v2_g *g;

	if (idset_add(&k->ids, id) != 1 || v2_take(k->v, c) != TAKEN)
		return GIVE_UP;
	k->begun++;
	g = idmap_get(&k->v->gs, id);
	touch_g(k, g, c);
	if (k->f.waiting.count)
		following_wake(&k->f, id);
	return TAKEN;
}

static int go_status(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2 *v = k->v;
	struct v2_g *g = idmap_get(&v->gs, c->args[0]);
	int64_t id = (int64_t)c->args[0], mid = (int64_t)c->args[1];
	struct v2_m *other = NULL;
	bool here;

	if (g && g->gen == v->gen)
		return GIVE_UP;
	here = c->args[2] == GO_RUNNING || (c->args[2] == GO_SYSCALL && mid == m->id);
	if (here && m->g != id && (g || m == &v->none || m->g != GANDER_GOTRACE_NONE))
		return GIVE_UP;
	if (c->args[2] == GO_SYSCALL && !here)
		other = idmap_get(&v->ms, c->args[1]);
	if (!g && idset_add(&k->ids, c->args[0]) != 1)
		return GIVE_UP;
	if (take(k, c) != TAKEN)
		return GIVE_UP;
	k->begun += !g;
	if (c->args[2] == GO_SYSCALL && !here && !other) {
		/* the thread whose it is is known from now on, and has done nothing before */
		other = idmap_get(&v->ms, c->args[1]);
		enter(v, other);
		other->after = c->time;
		following_wake(&k->f, KEY_M(c->args[1]));
	}
	touch_g(k, idmap_get(&v->gs, c->args[0]), c);
	if (!g && k->f.waiting.count)
		following_wake(&k->f, c->args[0]);
	return TAKEN;
}

static int proc_status(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2 *v = k->v;
	struct v2_p *p = idmap_get(&v->ps, c->args[0]);
	bool holds = c->args[1] == PROC_RUNNING || c->args[1] == PROC_SYSCALL;

	if (p && p->gen == v->gen)
		return GIVE_UP;
	if (holds && m != &v->none && (uint64_t)m->p != c->args[0] && (p || m->p != GANDER_GOTRACE_NONE))
		return GIVE_UP;
	if (take(k, c) != TAKEN)
		return GIVE_UP;
	touch_p(k, idmap_get(&v->ps, c->args[0]), c);
	if (!p && k->f.waiting.count)
		following_wake(&k->f, KEY_P(c->args[0]));
	return TAKEN;
}

static int proc_start(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2_p *p = idmap_get(&k->v->ps, c->args[0]);

	if (!p || p->status != PROC_IDLE || !p_next(k->v, p, c->args[1]))
		return wait_p(k, c, c->args[0], p);
	if (m->p != GANDER_GOTRACE_NONE)
		return wait_p(k, c, (uint64_t)m->p, cur_p(k->v, m));
	if (!LATER(p, c, true) || take(k, c) != TAKEN)
		return GIVE_UP;
	touch_p(k, p, c);
	return TAKEN;
}

static int proc_steal(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2_p *p = idmap_get(&k->v->ps, c->args[0]);
	struct v2_m *victim = m;

	if (!p || (p->status != PROC_SYSCALL && p->status != PROC_ABANDONED) || !p_next(k->v, p, c->args[1]))
		return wait_p(k, c, c->args[0], p);
	if (!LATER(p, c, false))
		return GIVE_UP;
	if (p->status == PROC_SYSCALL && (int64_t)c->args[2] != m->id) {
		victim = idmap_get(&k->v->ms, c->args[2]);
		if (!victim)
			return GIVE_UP;
		enter(k->v, victim);
		if (victim->at >= c->time)
			return GIVE_UP; /* it has gone on as if it still had the P */
	}
	if (take(k, c) != TAKEN)
		return GIVE_UP;
	if (victim != m)
		victim->after = c->time;
	touch_p(k, p, c);
	return TAKEN;
}

static int end_blocked(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2_g *g;
	struct v2_p *p;
	int r;

	if (m->p != GANDER_GOTRACE_NONE) {
		r = own_p(k, c, m, &p);
		if (r != TAKEN)
			return r;
		if (p->status == PROC_SYSCALL)
			return wait_p(k, c, p->id, p);
	}
	r = own_g(k, c, m, &g);
	if (r != TAKEN)
		return r;
	if (take(k, c) != TAKEN)
		return GIVE_UP;
	touch_g(k, g, c);
	return TAKEN;
}

static int end_goroutine(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2_p *p = NULL;
	struct v2_g *g;
	int r = own_g(k, c, m, &g);

	if (r == TAKEN && c->type == EV_GO_DESTROY_SYSCALL && m->p != GANDER_GOTRACE_NONE)
		r = own_p(k, c, m, &p);
	if (r != TAKEN)
		return r;
	if (idset_add(&k->ids, g->id) < 0 || take(k, c) != TAKEN)
		return GIVE_UP;
	if (p)
		touch_p(k, p, c);
	return TAKEN;
}

static int go_switch(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	bool ends = c->type == EV_GO_SWITCH_DESTROY;
	struct v2_g *g, *next;
	int r = own_g(k, c, m, &g);

	if (r != TAKEN)
		return r;
	next = idmap_get(&k->v->gs, c->args[0]);
	if (!next || next->status != GO_WAITING || !g_next(k->v, next, c->args[1]))
		return wait_g(k, c, c->args[0], next);
	if (!LATER(next, c, true) || (ends && idset_add(&k->ids, g->id) < 0) || take(k, c) != TAKEN)
		return GIVE_UP;
	if (!ends)
		touch_g(k, g, c);
	touch_g(k, next, c);
	return TAKEN;
}

static int gc_mark(struct counting *k, struct v2_cursor *c)
{
	int r;

	if (k->gc_by && k->gc_by != c && k->gc_touched >= c->time)
		return GIVE_UP;
	r = v2_take(k->v, c);
	if (r == WAIT)
		return following_wait(&k->f, &c->f, KEY_GC);
	if (r != TAKEN)
		return GIVE_UP;
	k->gc_by = c;
	k->gc_touched = c->time;
	following_wake(&k->f, KEY_GC);
	return TAKEN;
}

/* All that user_task() in v2_order.c checks, but for the conflict of ids: see tasks_apply(). */
static int task(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	bool begins = c->type == EV_USER_TASK_BEGIN;
	uint32_t none;

	if (m->p == GANDER_GOTRACE_NONE || m->g == GANDER_GOTRACE_NONE || !stack_ok(k->v, c->args[begins ? 3 : 1], &none, false) ||
	    (begins && !string_ok(k->v, c->args[2], &none, false)))
		return GIVE_UP;
	if (k->ntask >= TASKS_MAX || v2_grow(&k->task, k->ntask + 1, &k->cap_task, sizeof(*k->task)) < 0)
		return GIVE_UP;
	k->task[k->ntask++] = (struct task) { c->time, c->args[0], begins };
	k->v->counts[begins ? GANDER_GOTRACE_TASK_BEGIN : GANDER_GOTRACE_TASK_END]++;
	return TAKEN;
}

/* What is about a goroutine or a P that is named, or about the thread's own. */
static int about(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2_g *g = NULL;
	struct v2_p *p = NULL;
	int r = TAKEN;

	switch (c->type) {
	case EV_GC_SWEEP_ACTIVE:
		p = idmap_get(&k->v->ps, c->args[0]);
		if (!p)
			return GIVE_UP;
		if (p->gen != k->v->gen)
			return wait_p(k, c, p->id, p);
		r = LATER(p, c, false) ? TAKEN : GIVE_UP;
		break;
	case EV_GC_SWEEP_BEGIN:
	case EV_GC_SWEEP_END:
	case EV_PROC_STOP:
		r = own_p(k, c, m, &p);
		break;
	case EV_GC_MARK_ASSIST_ACTIVE:
		g = idmap_get(&k->v->gs, c->args[0]);
		if (!g)
			return GIVE_UP;
		if (g->gen != k->v->gen)
			return wait_g(k, c, g->id, g);
		r = LATER(g, c, false) ? TAKEN : GIVE_UP;
		break;
	default:
		r = own_g(k, c, m, &g);
		if (r == TAKEN && (c->type == EV_GO_SYSCALL_BEGIN || c->type == EV_GO_SYSCALL_END))
			r = own_p(k, c, m, &p);
		k->begun += c->type == EV_USER_REGION_BEGIN;
	}
	if (r != TAKEN)
		return r;
	if (take(k, c) != TAKEN)
		return GIVE_UP;
	if (g)
		touch_g(k, g, c);
	if (p)
		touch_p(k, p, c);
	return TAKEN;
}

/* A goroutine is put on the thread's P, or woken: only when its number's turn has come. */
static int numbered(struct counting *k, struct v2_cursor *c, uint8_t status)
{
	struct v2_g *g = idmap_get(&k->v->gs, c->args[0]);

	if (!g || g->status != status || !g_next(k->v, g, c->args[1]))
		return wait_g(k, c, c->args[0], g);
	if (!LATER(g, c, true) || take(k, c) != TAKEN)
		return GIVE_UP;
	touch_g(k, g, c);
	return TAKEN;
}

/* An event of any type. */
static __attribute__((noinline)) int take_any(struct counting *k, struct v2_cursor *c, struct v2_m *m)
{
	struct v2_g *g;
	int r;

	switch (c->type) {
	case EV_GO_START:
		return numbered(k, c, GO_RUNNABLE);
	case EV_GO_UNBLOCK:
		return numbered(k, c, GO_WAITING);
	case EV_GO_SYSCALL_END_BLOCKED:
		return end_blocked(k, c, m);
	case EV_GO_CREATE:
	case EV_GO_CREATE_BLOCKED:
		if (m->g != GANDER_GOTRACE_NONE) {
			r = own_g(k, c, m, &g);
			if (r != TAKEN)
				return r;
		}
		return appear(k, c);
	case EV_GO_CREATE_SYSCALL:
		return appear(k, c);
	case EV_GO_DESTROY:
	case EV_GO_DESTROY_SYSCALL:
		return end_goroutine(k, c, m);
	case EV_GO_STATUS:
	case EV_GO_STATUS_STACK:
		return go_status(k, c, m);
	case EV_PROC_STATUS:
		return proc_status(k, c, m);
	case EV_PROC_START:
		return proc_start(k, c, m);
	case EV_PROC_STEAL:
		return proc_steal(k, c, m);
	case EV_GO_SWITCH:
	case EV_GO_SWITCH_DESTROY:
		return go_switch(k, c, m);
	case EV_GC_ACTIVE:
	case EV_GC_BEGIN:
	case EV_GC_END:
		return gc_mark(k, c);
	case EV_USER_TASK_BEGIN:
	case EV_USER_TASK_END:
		return task(k, c, m);
	case EV_GO_BLOCK:
	case EV_GO_STOP:
	case EV_GO_SYSCALL_BEGIN:
	case EV_GO_SYSCALL_END:
	case EV_PROC_STOP:
	case EV_GC_SWEEP_ACTIVE:
	case EV_GC_SWEEP_BEGIN:
	case EV_GC_SWEEP_END:
	case EV_GC_MARK_ASSIST_ACTIVE:
	case EV_GC_MARK_ASSIST_BEGIN:
	case EV_GC_MARK_ASSIST_END:
	case EV_USER_REGION_BEGIN:
	case EV_USER_REGION_END:
	case EV_STW_BEGIN:
	case EV_STW_END:
		return about(k, c, m);
	default: /* metrics, labels, logs, experiments: about the thread alone */
		return take(k, c);
	}
}

/* The thread of the pending event: NULL when it is to be told by another one's event. */
static struct v2_m *thread_of(struct counting *k, struct v2_cursor *c)
{
	struct v2_m *m;

	if (c->mid == GANDER_GOTRACE_NONE)
		return &k->v->none;
	m = idmap_get(&k->v->ms, (uint64_t)c->mid);
	if (m)
		return m;
	switch (c->type) {
	case EV_GO_SYSCALL_END:
	case EV_GO_SYSCALL_END_BLOCKED:
	case EV_GO_DESTROY_SYSCALL:
		return NULL;
	default:
		return v2_m_new(k->v, c->mid);
	}
}

/* A varint that may be read past its end. *odd: it is malformed. */
static always_inline const uint8_t *quick(const uint8_t *p, uint64_t *ret, bool *odd)
{
	uint64_t x = p[0];

	if (x < 0x80) {
		*ret = x;
		return p + 1;
	}
	x = (x & 0x7f) | (uint64_t)p[1] << 7;
	if (p[1] < 0x80) {
		*ret = x;
		return p + 2;
	}
	if (!varint_get(&p, p + 10, ret))
		*odd = true;
	return p;
}

/* The thread's goroutine, in that state, and its P (when asked for): both told of, and nothing to be said about them. */
static always_inline bool own_both(struct counting *k, struct v2_cursor *c, struct v2_m *m, int64_t t, uint8_t status, struct v2_g **ret_g,
				   struct v2_p **ret_p)
{
	struct v2_g *g;
	struct v2_p *p;

	if (unlikely(m->g == GANDER_GOTRACE_NONE || m->p == GANDER_GOTRACE_NONE))
		return false;
	*ret_g = g = cur_g(k->v, m);
	if (unlikely(!g || g->status != status || g->gen != k->v->gen || !LATER_AT(g, c, t, false)))
		return false;
	if (!ret_p)
		return true;
	*ret_p = p = cur_p(k->v, m);
	return likely(p && p->gen == k->v->gen && LATER_AT(p, c, t, false));
}

/* The thread's hot events behind the pending one, straight from its batch, as long as there is nothing to be said about them. */
static always_inline uint32_t hot(struct counting *k, struct v2_cursor *c, struct v2_m *m, uint32_t left)
{
	const uint8_t *p = c->p, *end = c->end, *q;
	uint64_t delta, x, y, z;
	struct v2 *v = k->v;
	int64_t time = c->time, t;
	bool odd = false;
	uint32_t none;
	struct v2_g *g, *next;
	struct v2_p *pp;
	uint8_t type;

	if (unlikely(time <= m->after))
		return left;
	for (; p < end && left > 1; left--) {
		type = *p;
		switch (type) {
		case EV_GO_START:
			q = quick(quick(quick(p + 1, &delta, &odd), &x, &odd), &y, &odd);
			t = (int64_t)((uint64_t)time + (uint64_t)v2_ns(v, delta));
			if (unlikely((q > end) | odd | (t > k->f.horizon) | (t < time)))
				goto out;
			g = idmap_get(&v->gs, x);
			if (unlikely(!g || g->status != GO_RUNNABLE || !g_next(v, g, y) || m->p == GANDER_GOTRACE_NONE ||
				     m->g != GANDER_GOTRACE_NONE || !LATER_AT(g, c, t, true)))
				goto out;
			g->status = GO_RUNNING;
			g->seq = y;
			m->g = (int64_t)x;
			m->gs = g;
			break;
		case EV_GO_UNBLOCK:
			q = quick(quick(quick(quick(p + 1, &delta, &odd), &x, &odd), &y, &odd), &z, &odd);
			t = (int64_t)((uint64_t)time + (uint64_t)v2_ns(v, delta));
			if (unlikely((q > end) | odd | (t > k->f.horizon) | (t < time)))
				goto out;
			g = idmap_get(&v->gs, x);
			if (unlikely(!g || g->status != GO_WAITING || !g_next(v, g, y) || !LATER_AT(g, c, t, true) ||
				     !stack_ok(v, z, &none, false)))
				goto out;
			g->status = GO_RUNNABLE;
			g->seq = y;
			break;
		case EV_GO_BLOCK:
		case EV_GO_STOP:
			q = quick(quick(quick(p + 1, &delta, &odd), &x, &odd), &y, &odd);
			t = (int64_t)((uint64_t)time + (uint64_t)v2_ns(v, delta));
			if (unlikely((q > end) | odd | (t > k->f.horizon) | (t < time) | (m->p == GANDER_GOTRACE_NONE) |
				     (m->g == GANDER_GOTRACE_NONE)))
				goto out;
			g = cur_g(v, m);
			if (unlikely(!g || g->status != GO_RUNNING || g->gen != v->gen || !LATER_AT(g, c, t, false) ||
				     !stack_ok(v, y, &none, false) || !string_ok(v, x, &none, false)))
				goto out;
			g->status = type == EV_GO_BLOCK ? GO_WAITING : GO_RUNNABLE;
			m->g = GANDER_GOTRACE_NONE;
			break;
		case EV_GO_SYSCALL_BEGIN:
			q = quick(quick(quick(p + 1, &delta, &odd), &x, &odd), &y, &odd);
			t = (int64_t)((uint64_t)time + (uint64_t)v2_ns(v, delta));
			if (unlikely((q > end) | odd | (t > k->f.horizon) | (t < time)) || !own_both(k, c, m, t, GO_RUNNING, &g, &pp) ||
			    unlikely(x != pp->seq + 1 || !stack_ok(v, y, &none, false)))
				goto out;
			g->status = GO_SYSCALL;
			pp->status = PROC_SYSCALL;
			pp->seq = x;
			touch_p_at(k, pp, c, t);
			break;
		case EV_GO_SYSCALL_END:
			q = quick(p + 1, &delta, &odd);
			t = (int64_t)((uint64_t)time + (uint64_t)v2_ns(v, delta));
			if (unlikely((q > end) | odd | (t > k->f.horizon) | (t < time)) || !own_both(k, c, m, t, GO_SYSCALL, &g, &pp) ||
			    unlikely(pp->status != PROC_SYSCALL))
				goto out;
			g->status = GO_RUNNING;
			pp->status = PROC_RUNNING;
			touch_p_at(k, pp, c, t);
			break;
		case EV_GO_SWITCH:
			q = quick(quick(quick(p + 1, &delta, &odd), &x, &odd), &y, &odd);
			t = (int64_t)((uint64_t)time + (uint64_t)v2_ns(v, delta));
			if (unlikely((q > end) | odd | (t > k->f.horizon) | (t < time)) || !own_both(k, c, m, t, GO_RUNNING, &g, NULL))
				goto out;
			next = idmap_get(&v->gs, x);
			if (unlikely(!next || next->status != GO_WAITING || !g_next(v, next, y) || !LATER_AT(next, c, t, true)))
				goto out;
			g->status = GO_WAITING;
			touch_g_at(k, g, c, t);
			k->transitions += 2;
			next->status = GO_RUNNING;
			next->seq = y;
			m->g = (int64_t)x;
			m->gs = g = next;
			break;
		default:
			goto out;
		}
		touch_g_at(k, g, c, t);
		k->transitions++;
		time = t;
		p = q;
	}
out:
	c->p = p;
	c->time = m->at = time;
	return left;
}

static int follow_thread(struct counting *k, struct v2_cursor *c)
{
	uint32_t left = SLICE_EVENTS;
	struct v2_m *m = c->m;
	int r = PARKED;

	if (unlikely(!m)) {
		m = thread_of(k, c);
		if (!m)
			return following_wait(&k->f, &c->f, KEY_M((uint64_t)c->mid));
		c->m = m;
		enter(k->v, m);
	}
	for (; left; left--) {
		if (unlikely(c->time > k->f.horizon))
			goto out;
		if (unlikely((c->time < m->at) | (c->time <= m->after)) &&
		    (c->time < m->at || c->time < m->after || (c->time != INT64_MIN && c->type != EV_GO_SYSCALL_END_BLOCKED)))
			return GIVE_UP;
		r = take_any(k, c, m);
		if (r != TAKEN)
			goto out;
		m->at = c->time;
		left = hot(k, c, m, left);
		r = cursor_next(k->v, c, NULL);
		if (r < 0)
			return GIVE_UP;
		if (!r) {
			c->f.ended = true;
			r = PARKED;
			goto out;
		}
		r = PARKED;
	}
	following_cut(&k->f, m->at);
out:
	k->f.taken += SLICE_EVENTS - left;
	return r;
}

static int follow(struct following *f, struct follower *x)
{
	struct v2_cursor *c = (struct v2_cursor *)x;
	int r = follow_thread((struct counting *)f, c);

	x->head = c->time;
	return r;
}

static int task_cmp(const void *a, const void *b)
{
	const struct task *x = a, *y = b;

	return x->time != y->time ? (x->time < y->time ? -1 : 1) : x->id < y->id ? -1
										 : x->id > y->id;
}

/* Which tasks there are afterwards. */
static bool tasks_apply(struct counting *k)
{
	struct v2 *v = k->v;
	const struct task *t;
	uint32_t i;
	void *new;

	if (k->ntask) /* qsort takes no NULL */
		qsort(k->task, k->ntask, sizeof(*k->task), task_cmp);
	for (i = 0; i < k->ntask; i++) {
		t = &k->task[i];
		if (i && t[-1].id == t->id && t[-1].time == t->time)
			return false;
		if (!t->begins) {
			free(idmap_del(&v->tasks, t->id));
			continue;
		}
		if (idmap_get(&v->tasks, t->id))
			return false;
		new = calloc(1, sizeof(struct v2_task));
		if (!new || idmap_put(&v->tasks, t->id, new) < 0) {
			free(new);
			return false;
		}
	}
	return true;
}

static bool samples_sound(const struct v2 *v)
{
	uint32_t i;

	for (i = 0; i < v->nsample; i++)
		if (v->sample[i].stack && !v2_ref(&v->stks, v->sample[i].stack))
			return false;
	return true;
}

bool v2_count_generation(struct v2 *v)
{
	struct counting k = { .f.follow = follow, .v = v };
	uint64_t live = v->gs.count + v->nregions;
	struct v2_cursor *c;
	bool done = false;
	uint32_t i;

	if (idset_init(&k.ids) < 0 || following_init(&k.f, v->nheap) < 0)
		goto out;
	for (i = 0; i < v->nheap; i++) {
		c = v->heap[i].ptr;
		c->f = (struct follower) { .head = c->time };
		k.f.all[i] = &c->f;
	}
	v->none.seen = 0;
	/* What could reach a limit in one order and not in another is counted in the right one. */
	if (following_all(&k.f) < 0 || live + k.begun >= V2_LIVE_MAX || v->tasks.count + k.ntask >= V2_LIVE_MAX || !samples_sound(v) || !tasks_apply(&k))
		goto out;
	v->counts[GANDER_GOTRACE_STATE_TRANSITION] += k.transitions;
	v->counts[GANDER_GOTRACE_STACK_SAMPLE] += v->nsample;
	v->sample_next = v->nsample;
	v->nheap = 0;
	done = true;
out:
	idset_done(&k.ids);
	following_done(&k.f);
	free(k.task);
	return done;
}
