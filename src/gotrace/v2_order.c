/* The events of v2 generations in order, with the checks of the reference (Go's internal/trace): each thread's events form a cursor; the
 * cursor whose next event is earliest is tried first, and if that event must wait for another thread's (sequence numbers say so), the
 * others are, in order of time. Which one of equal time comes first is decided by an array heap and a sort that do what the reference's do.
 *
 * order_step() is compiled twice, for filling in events and for counting them. */
#include "gotrace/gotrace_v2.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GC_UNDETERMINED,
       GC_OFF,
       GC_RUNNING };

static const uint8_t go_state[] = { [GO_RUNNABLE] = GANDER_GOTRACE_GO_RUNNABLE,
				    [GO_RUNNING] = GANDER_GOTRACE_GO_RUNNING,
				    [GO_SYSCALL] = GANDER_GOTRACE_GO_SYSCALL,
				    [GO_WAITING] = GANDER_GOTRACE_GO_WAITING };
static const uint8_t proc_state[] = { [PROC_RUNNING] = GANDER_GOTRACE_PROC_RUNNING,
				      [PROC_IDLE] = GANDER_GOTRACE_PROC_IDLE,
				      [PROC_SYSCALL] = GANDER_GOTRACE_PROC_RUNNING,
				      [PROC_ABANDONED] = GANDER_GOTRACE_PROC_IDLE };
static const char *const go_status_name[] = { "?", "runnable", "running", "in a system call", "waiting" };
static const char *const proc_status_name[] = { "?", "running", "idle", "in a system call", "abandoned in a system call" };

struct v2_gslab {
	struct v2_gslab *next;
	struct v2_g g[512];
};

/* ---- errors: cold, so that the handlers stay short ---- */

__attribute__((noinline, cold, format(printf, 4, 5))) static int bad(const struct v2 *v, const struct v2_cursor *c, struct err *err,
								     const char *fmt, ...)
{
	const char *name = gander_gotrace_wire_name(c->type);
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, -EPROTO, "byte %llu, generation %llu, thread %lld: %s: %s", (unsigned long long)v2_off(v, c->p - c->len),
		       (unsigned long long)v->gen, (long long)c->mid, name ? name : "event", text);
}

__attribute__((noinline, cold)) static int no_memory(const struct v2 *v, struct err *err)
{
	return err_set(err, -ENOMEM, "generation %llu: out of memory", (unsigned long long)v->gen);
}

__attribute__((noinline, cold)) static int bomb(const struct v2 *v, const struct v2_cursor *c, struct err *err, const char *what)
{
	bad(v, c, err, "more %s at a time than any program has", what);
	return err ? err->code = -EFBIG : -EFBIG;
}

__attribute__((noinline, cold)) static int bad_stack(const struct v2 *v, const struct v2_cursor *c, uint64_t id, struct err *err)
{
	if (v2_ref(&v->stks, id))
		return no_memory(v, err);
	return bad(v, c, err, "found invalid stack ID %llu", (unsigned long long)id);
}

__attribute__((noinline, cold)) static int bad_string(const struct v2 *v, const struct v2_cursor *c, uint64_t id, struct err *err)
{
	if (v2_ref(&v->strs, id))
		return no_memory(v, err);
	return bad(v, c, err, "found invalid string ID %llu", (unsigned long long)id);
}

enum { NEED_M = 1,
       NEED_P = 2,
       NEED_G = 4,
       NO_P = 8,
       NO_G = 16 };
__attribute__((noinline, cold)) static int bad_context(const struct v2 *v, const struct v2_cursor *c, const struct v2_m *m, unsigned need,
						       struct err *err)
{
	if ((need & NEED_M) && m == &v->none)
		return bad(v, c, err, "expected a thread but didn't have one");
	if ((need & NEED_P) && m->p == GANDER_GOTRACE_NONE)
		return bad(v, c, err, "expected a proc but didn't have one");
	if ((need & NO_P) && m->p != GANDER_GOTRACE_NONE)
		return bad(v, c, err, "expected no proc but had one");
	if ((need & NEED_G) && m->g == GANDER_GOTRACE_NONE)
		return bad(v, c, err, "expected a goroutine but didn't have one");
	return bad(v, c, err, "expected no goroutine but had one");
}

/* ---- cursors ---- */

int v2_cursor_error(struct v2 *v, struct v2_cursor *c, const uint8_t *at, struct err *err)
{
	uint8_t type = *at;

	if (!wire_nargs[type])
		return err_set(err, -EPROTO, "byte %llu, generation %llu, thread %lld: expected an event, found type %u",
			       (unsigned long long)v2_off(v, at), (unsigned long long)v->gen, (long long)c->mid, type);
	return err_set(err, -EPROTO, "byte %llu, generation %llu, thread %lld: malformed number in a %s event, or it runs past its batch",
		       (unsigned long long)v2_off(v, at), (unsigned long long)v->gen, (long long)c->mid, gander_gotrace_wire_name(type));
}

/* Goes on to the next batch that is not empty: false at the end. */
bool v2_cursor_batch(struct v2 *v, struct v2_cursor *c, bool first)
{
	const struct v2_batch *b;

	if (!first)
		c->batch = v->batch[c->batch].next;
	for (; c->batch >= 0; c->batch = v->batch[c->batch].next) {
		b = &v->batch[c->batch];
		if (b->len) {
			c->p = v->buf + b->off;
			c->end = c->p + b->len;
			c->time = v2_ns(v, b->time);
			return true;
		}
	}
	return false;
}

/* Takes out element i, moving what the reference moves. */
static void heap_remove(struct v2 *v, uint32_t i)
{
	struct keyed *h = v->heap, t;

	for (; i > 0; i = (i - 1) / 2) {
		t = h[i];
		h[i] = h[(i - 1) / 2];
		h[(i - 1) / 2] = t;
	}
	h[0] = h[--v->nheap];
	if (v->nheap)
		heap_down(h, v->nheap, 0);
}

/* ---- scheduler state ---- */

static struct v2_g *g_new(struct v2 *v, uint64_t id, uint8_t status)
{
	struct v2_gslab *slab;
	struct v2_g *g;
	size_t i;

	if (unlikely(!v->free_g)) {
		slab = calloc(1, sizeof(*slab));
		if (!slab)
			return NULL;
		slab->next = v->gslab;
		v->gslab = slab;
		for (i = sizeof(slab->g) / sizeof(slab->g[0]); i-- > 0;) {
			slab->g[i].next_free = v->free_g;
			v->free_g = &slab->g[i];
		}
	}
	g = v->free_g;
	if (idmap_put(&v->gs, id, g) < 0)
		return NULL;
	v->free_g = g->next_free;
	g->id = id;
	g->seq = 0;
	g->gen = v->gen;
	g->status = status;
	g->live = true;
	return g;
}

static void gext_free(struct v2 *v, struct v2_g *g)
{
	v->nregions -= g->ext->nregion;
	free(g->ext->region);
	free(g->ext->stw);
	free(g->ext);
	g->ext = NULL;
}

static void g_del(struct v2 *v, struct v2_g *g)
{
	idmap_del(&v->gs, g->id);
	if (unlikely(g->ext != NULL))
		gext_free(v, g);
	g->live = false;
	g->next_free = v->free_g;
	v->free_g = g;
}

static struct v2_gext *g_ext(struct v2_g *g)
{
	if (!g->ext)
		g->ext = calloc(1, sizeof(*g->ext));
	return g->ext;
}

struct v2_m *v2_m_new(struct v2 *v, int64_t id)
{
	struct v2_m *m = v->ms.count < V2_PROC_MAX ? calloc(1, sizeof(*m)) : NULL;

	if (!m || idmap_put(&v->ms, (uint64_t)id, m) < 0) {
		free(m);
		return NULL;
	}
	m->id = id;
	m->g = m->p = GANDER_GOTRACE_NONE;
	return m;
}

/* ---- delivering ---- */

static always_inline int64_t next_time(struct v2 *v, int64_t time)
{
	return v->last_time = time > v->last_time ? time : (int64_t)((uint64_t)v->last_time + 1);
}

/* Begins an event in the context of m as it is now. NULL when only counting. */
static always_inline struct gander_gotrace_event *emit(struct v2 *v, struct gander_gotrace_event *out, uint8_t kind, uint8_t wire,
						       int64_t time, const struct v2_m *m, uint32_t stack, const bool full)
{
	time = next_time(v, time);
	if (!full) {
		v->counts[kind]++;
		return NULL;
	}
	out->time_ns = time;
	out->thread = m->id;
	out->proc = m->p;
	out->goroutine = m->g;
	out->stack = stack;
	out->kind = kind;
	out->wire = wire;
	return out;
}

static always_inline void emit_go(struct v2 *v, struct gander_gotrace_event *out, const struct v2_cursor *c, uint8_t wire, const struct v2_m *m,
				  uint32_t stack, int64_t id, uint8_t from, uint8_t to, uint32_t reason, uint32_t res_stack, const bool full)
{
	struct gander_gotrace_event *e = emit(v, out, GANDER_GOTRACE_STATE_TRANSITION, wire, c->time, m, stack, full);

	if (full) {
		e->transition.id = id;
		e->transition.resource = GANDER_GOTRACE_RES_GOROUTINE;
		e->transition.from = from;
		e->transition.to = to;
		e->transition.status = 0;
		e->transition.reason = reason;
		e->transition.stack = res_stack;
	}
}

static always_inline void emit_proc(struct v2 *v, struct gander_gotrace_event *out, const struct v2_cursor *c, uint8_t wire,
				    const struct v2_m *m, int64_t id, uint8_t from, uint8_t to, const bool full)
{
	struct gander_gotrace_event *e = emit(v, out, GANDER_GOTRACE_STATE_TRANSITION, wire, c->time, m, 0, full);

	if (full) {
		e->transition.id = id;
		e->transition.resource = GANDER_GOTRACE_RES_PROC;
		e->transition.from = from;
		e->transition.to = to;
		e->transition.status = 0;
		e->transition.reason = 0;
		e->transition.stack = 0;
	}
}

/* Where the second and third event of one wire event go. Their time is fixed when they are delivered: counting does both at once. */
static always_inline struct gander_gotrace_event *queued(struct v2 *v, const bool full)
{
	return full ? &v->queue[v->nqueue++] : NULL;
}

static always_inline void emit_range(struct v2 *v, struct gander_gotrace_event *out, const struct v2_cursor *c, uint8_t kind, const struct v2_m *m,
				     uint32_t stack, uint8_t id, uint32_t name, uint8_t scope, int64_t scope_id, const bool full)
{
	struct gander_gotrace_event *e = emit(v, out, kind, c->type, c->time, m, stack, full);

	if (full) {
		e->range.scope_id = scope_id;
		e->range.scope = scope;
		e->range.id = id;
		e->range.name = name;
		e->range.swept_bytes = e->range.reclaimed_bytes = 0;
	}
}

#define IF_FULL(x) (full ? (x) : 0)

/* ---- the rarer events ---- */

static int proc_status(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct v2_p *p = idmap_get(&v->ps, c->args[0]);
	struct v2_m *holder = m, *other;
	uint8_t status, from;
	size_t i;

	if (!c->args[1] || c->args[1] > PROC_ABANDONED)
		return bad(v, c, err, "invalid status for proc %lld: %llu", (long long)c->args[0], (unsigned long long)c->args[1]);
	status = (uint8_t)c->args[1];
	from = proc_state[status];
	if (v->salvage && (status == PROC_RUNNING || status == PROC_SYSCALL) && (m == &v->none || (p ? m->p != (int64_t)p->id : m->p != GANDER_GOTRACE_NONE)))
		return bad(v, c, err, "proc %lld runs here, where another one does", (long long)c->args[0]);
	if (p) {
		if (status == PROC_ABANDONED && p->status == PROC_SYSCALL) {
			/* Nothing was lost: it is still where it was, on the thread that holds it, in whose context the event belongs. */
			for (i = 0, holder = NULL; i <= v->ms.mask && !holder; i++) {
				other = v->ms.slot[i].value;
				if (other && (uint64_t)other->p == c->args[0])
					holder = other;
			}
			if (!holder)
				return bad(v, c, err, "failed to find the thread of proc %lld, which is about to be stolen", (long long)c->args[0]);
			from = GANDER_GOTRACE_PROC_RUNNING;
			status = PROC_SYSCALL;
		} else if (p->status != status) {
			return bad(v, c, err, "inconsistent status for proc %lld: it is %s, not %s", (long long)c->args[0],
				   proc_status_name[p->status], proc_status_name[status]);
		}
	} else {
		if (v->ps.count >= V2_PROC_MAX)
			return bomb(v, c, err, "procs");
		p = calloc(1, sizeof(*p));
		if (!p || idmap_put(&v->ps, c->args[0], p) < 0) {
			free(p);
			return no_memory(v, err);
		}
		p->id = c->args[0];
		p->status = status;
		from = v->gen == v->first_gen ? GANDER_GOTRACE_PROC_UNDETERMINED : GANDER_GOTRACE_PROC_NOT_EXIST;
	}
	p->gen = v->gen;
	p->seq = 0;
	emit_proc(v, out, c, c->type, holder, (int64_t)c->args[0], from, proc_state[status], full);
	if (full)
		out->transition.status = (uint8_t)c->args[1];
	if ((c->args[1] == PROC_RUNNING || c->args[1] == PROC_SYSCALL) && m != &v->none) {
		m->p = (int64_t)c->args[0];
		m->ps = p;
	}
	return TAKEN;
}

static int go_status(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct v2_g *g = idmap_get(&v->gs, c->args[0]);
	int64_t gid = (int64_t)c->args[0], mid = (int64_t)c->args[1];
	struct v2_m ctx = *m, *other = NULL;
	uint32_t stack = 0;
	uint8_t status, from;

	if (!c->args[2] || c->args[2] > GO_WAITING)
		return bad(v, c, err, "invalid status for goroutine %lld: %llu", (long long)gid, (unsigned long long)c->args[2]);
	if (c->type == EV_GO_STATUS_STACK && !stack_ok(v, c->args[3], &stack, full))
		return bad_stack(v, c, c->args[3], err);
	status = (uint8_t)c->args[2];
	from = go_state[status];
	if (v->salvage && (status == GO_RUNNING || (status == GO_SYSCALL && mid == m->id)) &&
	    (m == &v->none || (g ? m->g != gid : m->g != GANDER_GOTRACE_NONE) || (status == GO_RUNNING && m->p == GANDER_GOTRACE_NONE)))
		return bad(v, c, err, "goroutine %lld runs here, where another one or no proc does", (long long)gid);
	if (status == GO_SYSCALL && mid == GANDER_GOTRACE_NONE)
		return bad(v, c, err, "found goroutine %lld in syscall without a thread", (long long)gid);
	if (status == GO_SYSCALL && mid != m->id) {
		other = idmap_get(&v->ms, c->args[1]);
		if (other && other->g != gid)
			return bad(v, c, err, "inconsistent thread for syscalling goroutine %lld: thread has goroutine %lld", (long long)gid,
				   (long long)other->g);
	}
	if (g) {
		if (g->status != status)
			return bad(v, c, err, "inconsistent status for goroutine %lld: it is %s, not %s", (long long)gid,
				   go_status_name[g->status], go_status_name[status]);
		g->gen = v->gen;
		g->seq = 0;
	} else if (v->gen == v->first_gen) {
		if (v->gs.count >= V2_LIVE_MAX)
			return bomb(v, c, err, "goroutines");
		g = g_new(v, c->args[0], status);
		if (!g)
			return no_memory(v, err);
		from = GANDER_GOTRACE_GO_UNDETERMINED;
	} else {
		return bad(v, c, err, "found goroutine status for new goroutine after the first generation: goroutine %lld", (long long)gid);
	}
	if (status == GO_RUNNING && m != &v->none) {
		m->g = gid;
		m->gs = g;
	} else if (status == GO_SYSCALL) {
		if (mid == m->id) {
			if (v->gen != v->first_gen && m->g != gid)
				return bad(v, c, err, "inconsistent thread for syscalling goroutine %lld: thread has goroutine %lld",
					   (long long)gid, (long long)m->g);
			m->g = gid;
			m->gs = g;
		} else {
			/* A system call that lasts, on another thread: the event belongs there. */
			if (other) {
				ctx.g = gid;
			} else {
				other = v2_m_new(v, mid);
				if (!other)
					return no_memory(v, err);
				other->g = gid;
				other->gs = g;
			}
			ctx.id = mid;
		}
	}
	emit_go(v, out, c, c->type, &ctx, stack, gid, from, go_state[status], 0, stack, full);
	return TAKEN;
}

static int go_switch(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct v2_g *g, struct gander_gotrace_event *out, struct err *err,
		     const bool full)
{
	int64_t next_id = (int64_t)c->args[0];
	struct v2_g *next;
	struct v2_m ctx;

	next = idmap_get(&v->gs, c->args[0]);
	if (!next || next->status != GO_WAITING || !g_next(v, next, c->args[1]))
		return WAIT;
	emit_go(v, out, c, c->type, m, 0, next_id, GANDER_GOTRACE_GO_WAITING, GANDER_GOTRACE_GO_RUNNABLE, 0, 0, full);
	if (c->type == EV_GO_SWITCH) {
		g->status = GO_WAITING;
		emit_go(v, queued(v, full), c, EV_GO_BLOCK, m, 0, m->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_WAITING, 0, 0, full);
	} else {
		g_del(v, g);
		emit_go(v, queued(v, full), c, EV_GO_DESTROY, m, 0, m->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_NOT_EXIST, 0, 0, full);
	}
	next->status = GO_RUNNING;
	next->seq = c->args[1];
	ctx = *m;
	ctx.g = GANDER_GOTRACE_NONE;
	emit_go(v, queued(v, full), c, EV_GO_START, &ctx, 0, next_id, GANDER_GOTRACE_GO_RUNNABLE, GANDER_GOTRACE_GO_RUNNING, 0, 0, full);
	m->g = next_id;
	m->gs = next;
	return TAKEN;
}

/* The reference lets some states be that no program has (a thread with two Ps, a goroutine that runs without one). A trace that is written anew from a damaged
 * one keeps clear of them. */
static bool runs(struct v2 *v, struct v2_m *m)
{
	struct v2_g *g = m->g != GANDER_GOTRACE_NONE ? cur_g(v, m) : NULL;

	return g && g->status == GO_RUNNING;
}

static int proc_steal(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct v2_p *p = idmap_get(&v->ps, c->args[0]);
	int64_t pid = (int64_t)c->args[0];
	struct v2_m *victim;
	bool abandoned;

	if (!p || (p->status != PROC_SYSCALL && p->status != PROC_ABANDONED) || !p_next(v, p, c->args[1]))
		return WAIT;
	if (m == &v->none)
		return bad_context(v, c, m, NEED_M, err);
	abandoned = p->status == PROC_ABANDONED;
	victim = m;
	if (!abandoned && (int64_t)c->args[2] != m->id) {
		victim = idmap_get(&v->ms, c->args[2]);
		if (!victim)
			return bad(v, c, err, "stole proc %lld from thread %lld, which does not exist", (long long)pid, (long long)c->args[2]);
	}
	if (v->salvage && !abandoned && runs(v, victim))
		return bad(v, c, err, "stole proc %lld from thread %lld, which uses it", (long long)pid, (long long)victim->id);
	if (!abandoned && victim->p != pid)
		return bad(v, c, err, "tried to steal proc %lld from thread %lld, but got proc %lld instead", (long long)pid,
			   (long long)victim->id, (long long)victim->p);
	p->status = PROC_IDLE;
	p->seq = c->args[1];
	emit_proc(v, out, c, c->type, m, pid, abandoned ? GANDER_GOTRACE_PROC_IDLE : GANDER_GOTRACE_PROC_RUNNING, GANDER_GOTRACE_PROC_IDLE, full);
	if (!abandoned)
		victim->p = GANDER_GOTRACE_NONE;
	return TAKEN;
}

static int go_destroy_syscall(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err,
			      const bool full)
{
	struct v2_g *g;
	struct v2_p *p;

	if (m->g == GANDER_GOTRACE_NONE)
		return bad_context(v, c, m, NEED_M | NEED_G, err);
	g = cur_g(v, m);
	if (!g || g->status != GO_SYSCALL)
		return bad(v, c, err, "goroutine %lld %s", (long long)m->g, g ? "is not in a system call" : "doesn't exist");
	if (m->p != GANDER_GOTRACE_NONE) {
		p = cur_p(v, m);
		if (!p || p->status != PROC_SYSCALL)
			return bad(v, c, err, "proc %lld %s", (long long)m->p, p ? "is not in a system call" : "doesn't exist");
		/* The thread's id may be used again: the P must not be stolen from it any more. */
		p->status = PROC_ABANDONED;
		g_del(v, g);
		emit_proc(v, out, c, EV_PROC_STEAL, m, m->p, GANDER_GOTRACE_PROC_RUNNING, GANDER_GOTRACE_PROC_IDLE, full);
		emit_go(v, queued(v, full), c, c->type, m, 0, m->g, GANDER_GOTRACE_GO_SYSCALL, GANDER_GOTRACE_GO_NOT_EXIST, 0, 0, full);
		m->p = GANDER_GOTRACE_NONE;
	} else {
		g_del(v, g);
		emit_go(v, out, c, c->type, m, 0, m->g, GANDER_GOTRACE_GO_SYSCALL, GANDER_GOTRACE_GO_NOT_EXIST, 0, 0, full);
	}
	m->g = GANDER_GOTRACE_NONE;
	return TAKEN;
}

static int user_task(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct v2_task *task = idmap_get(&v->tasks, c->args[0]);
	struct gander_gotrace_event *e;
	uint64_t parent = GANDER_GOTRACE_NO_TASK;
	uint32_t stack, name = 0;
	bool begin = c->type == EV_USER_TASK_BEGIN;

	if (m->p == GANDER_GOTRACE_NONE || m->g == GANDER_GOTRACE_NONE)
		return bad_context(v, c, m, NEED_M | NEED_P | NEED_G, err);
	if (begin) {
		if (task)
			return bad(v, c, err, "task ID conflict: %llu", (unsigned long long)c->args[0]);
		if (c->args[1])
			parent = c->args[1];
		if (!string_ok(v, c->args[2], &name, true))
			return bad_string(v, c, c->args[2], err);
		if (v->tasks.count >= V2_LIVE_MAX)
			return bomb(v, c, err, "tasks");
		task = malloc(sizeof(*task));
		if (!task || idmap_put(&v->tasks, c->args[0], task) < 0) {
			free(task);
			return no_memory(v, err);
		}
		*task = (struct v2_task) { parent, name };
	} else if (task) {
		parent = task->parent;
		name = task->name;
		free(idmap_del(&v->tasks, c->args[0]));
	}
	if (!stack_ok(v, begin ? c->args[3] : c->args[1], &stack, full))
		return bad_stack(v, c, begin ? c->args[3] : c->args[1], err);
	e = emit(v, out, begin ? GANDER_GOTRACE_TASK_BEGIN : GANDER_GOTRACE_TASK_END, c->type, c->time, m, stack, full);
	if (full) {
		e->task.id = c->args[0];
		e->task.parent = parent;
		e->task.type = name;
	}
	return TAKEN;
}

static int user_region(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct v2_g *g, struct gander_gotrace_event *out, struct err *err,
		       const bool full)
{
	struct gander_gotrace_event *e;
	struct v2_region *r;
	struct v2_gext *x;
	uint32_t stack, name;

	if (!string_ok(v, c->args[1], &name, true))
		return bad_string(v, c, c->args[1], err);
	if (!g)
		return bad(v, c, err, "current goroutine %lld is not known", (long long)m->g);
	if (c->type == EV_USER_REGION_BEGIN) {
		if (v->nregions >= V2_LIVE_MAX)
			return bomb(v, c, err, "open regions");
		x = g_ext(g);
		if (!x || v2_grow(&x->region, x->nregion + 1, &x->cap_region, sizeof(*x->region)) < 0)
			return no_memory(v, err);
		x->region[x->nregion++] = (struct v2_region) { c->args[0], name };
		v->nregions++;
	} else if (g->ext && g->ext->nregion) {
		r = &g->ext->region[g->ext->nregion - 1];
		if (v->salvage && !name)
			name = r->name; /* lost with its table: it can be no other */
		if (r->task != c->args[0] || r->name != name)
			return bad(v, c, err, "misuse of region in goroutine %lld: the end of region '%.40s' of task %llu, while '%.40s' of task %llu is innermost",
				   (long long)m->g, v->tab->str[name].p, (unsigned long long)c->args[0], v->tab->str[r->name].p,
				   (unsigned long long)r->task);
		g->ext->nregion--;
		v->nregions--;
	}
	if (!stack_ok(v, c->args[2], &stack, full))
		return bad_stack(v, c, c->args[2], err);
	e = emit(v, out, c->type == EV_USER_REGION_BEGIN ? GANDER_GOTRACE_REGION_BEGIN : GANDER_GOTRACE_REGION_END, c->type, c->time, m, stack, full);
	if (full) {
		e->region.task = c->args[0];
		e->region.type = name;
	}
	return TAKEN;
}

static int user_log(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct gander_gotrace_event *e;
	uint32_t stack, category, len;
	const uint8_t *text;

	if (!stack_ok(v, c->args[3], &stack, full))
		return bad_stack(v, c, c->args[3], err);
	if (!string_ok(v, c->args[1], &category, full))
		return bad_string(v, c, c->args[1], err);
	text = v2_str_raw(v, c->args[2], &len);
	if (!text && v->salvage)
		text = (const uint8_t *)"";
	if (!text)
		return bad_string(v, c, c->args[2], err);
	e = emit(v, out, GANDER_GOTRACE_LOG, c->type, c->time, m, stack, full);
	if (full) {
		e->log.task = c->args[0];
		e->log.category = category;
		memcpy(v->message, text, len);
		v->message[len] = '\0';
		e->log.message = v->message;
		e->log.message_len = len;
	}
	return TAKEN;
}

static int gc_mark(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	uint8_t kind = c->type == EV_GC_ACTIVE ? GANDER_GOTRACE_RANGE_ACTIVE : c->type == EV_GC_BEGIN ? GANDER_GOTRACE_RANGE_BEGIN
												      : GANDER_GOTRACE_RANGE_END;
	bool adopt = false;
	uint32_t stack = 0;

	if (c->type == EV_GC_ACTIVE && v->gen == v->first_gen) {
		if (v->gc != GC_UNDETERMINED)
			return bad(v, c, err, "GCActive in the first generation isn't first GC event");
		adopt = true;
	} else if (c->type == EV_GC_BEGIN && v->gc == GC_UNDETERMINED) {
		adopt = true;
	}
	if (!adopt && c->args[0] != v->gc_seq + 1)
		return WAIT;
	if (!adopt && c->type == EV_GC_BEGIN && v->gc == GC_RUNNING)
		return bad(v, c, err, "GC begins while it was already in progress");
	if (!adopt && c->type != EV_GC_BEGIN && v->gc != GC_RUNNING)
		return bad(v, c, err, "GC is not in progress");
	if (!adopt && (m->p == GANDER_GOTRACE_NONE || m->g == GANDER_GOTRACE_NONE))
		return bad_context(v, c, m, NEED_M | NEED_P | NEED_G, err);
	if (c->type == EV_GC_BEGIN && !stack_ok(v, c->args[1], &stack, full))
		return bad_stack(v, c, c->args[1], err);
	v->gc_seq = c->args[0];
	v->gc = c->type == EV_GC_END ? GC_OFF : GC_RUNNING;
	emit_range(v, out, c, kind, m, stack, GANDER_GOTRACE_RANGE_GC_MARK, STR_RANGE_GC_MARK, GANDER_GOTRACE_RES_NONE, 0, full);
	return TAKEN;
}

static int sweep(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct v2_p *p;
	uint32_t stack = 0;

	if (c->type == EV_GC_SWEEP_ACTIVE) {
		p = idmap_get(&v->ps, c->args[0]);
		if (!p)
			return bad(v, c, err, "unknown proc %lld", (long long)c->args[0]);
		if ((v->gen == v->first_gen) == p->sweeping)
			return bad(v, c, err, "proc %lld is %ssweeping", (long long)c->args[0], p->sweeping ? "already " : "not ");
		p->sweeping = true;
		emit_range(v, out, c, GANDER_GOTRACE_RANGE_ACTIVE, m, 0, GANDER_GOTRACE_RANGE_SWEEP, STR_RANGE_SWEEP, GANDER_GOTRACE_RES_PROC,
			   (int64_t)c->args[0], full);
		return TAKEN;
	}
	if (m->p == GANDER_GOTRACE_NONE)
		return bad_context(v, c, m, NEED_M | NEED_P, err);
	p = cur_p(v, m);
	if (!p)
		return bad(v, c, err, "unknown proc %lld", (long long)m->p);
	if ((c->type == EV_GC_SWEEP_BEGIN) == p->sweeping)
		return bad(v, c, err, "proc %lld is %ssweeping", (long long)m->p, p->sweeping ? "already " : "not ");
	if (c->type == EV_GC_SWEEP_BEGIN && !stack_ok(v, c->args[0], &stack, full))
		return bad_stack(v, c, c->args[0], err);
	p->sweeping = c->type == EV_GC_SWEEP_BEGIN;
	emit_range(v, out, c, p->sweeping ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END, m, stack, GANDER_GOTRACE_RANGE_SWEEP,
		   STR_RANGE_SWEEP, GANDER_GOTRACE_RES_PROC, m->p, full);
	if (full && !p->sweeping) {
		out->range.swept_bytes = c->args[0];
		out->range.reclaimed_bytes = c->args[1];
	}
	return TAKEN;
}

static int mark_assist(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	bool active = c->type == EV_GC_MARK_ASSIST_ACTIVE, begin = c->type == EV_GC_MARK_ASSIST_BEGIN, open;
	struct v2_gext *x;
	uint32_t stack = 0;
	struct v2_g *g;

	if (!active && (m->p == GANDER_GOTRACE_NONE || m->g == GANDER_GOTRACE_NONE))
		return bad_context(v, c, m, NEED_M | NEED_P | NEED_G, err);
	g = active ? idmap_get(&v->gs, c->args[0]) : cur_g(v, m);
	if (!g)
		return bad(v, c, err, "goroutine %lld is not known", (long long)(active ? (int64_t)c->args[0] : m->g));
	x = g_ext(g);
	if (!x)
		return no_memory(v, err);
	open = x->assist;
	if (active ? (v->gen == v->first_gen) == open : begin == open)
		return bad(v, c, err, "goroutine %lld is %sassisting", (long long)g->id, open ? "already " : "not ");
	if (begin && !stack_ok(v, c->args[0], &stack, full))
		return bad_stack(v, c, c->args[0], err);
	x->assist = active || begin;
	emit_range(v, out, c, active ? GANDER_GOTRACE_RANGE_ACTIVE : begin ? GANDER_GOTRACE_RANGE_BEGIN
									   : GANDER_GOTRACE_RANGE_END,
		   m, stack,
		   GANDER_GOTRACE_RANGE_MARK_ASSIST, STR_RANGE_MARK_ASSIST, GANDER_GOTRACE_RES_GOROUTINE, (int64_t)g->id, full);
	return TAKEN;
}

static int stop_the_world(struct v2 *v, struct v2_cursor *c, struct v2_m *m, struct v2_g *g, struct gander_gotrace_event *out, struct err *err,
			  const bool full)
{
	bool begin = c->type == EV_STW_BEGIN;
	uint64_t kind = c->args[0];
	uint32_t stack = 0, text = 0, i;
	struct v2_gext *x;
	int64_t name;

	if (!g)
		return bad(v, c, err, "current goroutine %lld is not known", (long long)m->g);
	x = g_ext(g);
	if (!x || v2_grow(&x->stw, x->nstw + 1, &x->cap_stw, sizeof(*x->stw)) < 0)
		return no_memory(v, err);
	if (begin) {
		for (i = 0; i < x->nstw; i++)
			if (x->stw[i] == kind || v->salvage) /* there, two kinds may have lost their names */
				return bad(v, c, err, "the world is already being stopped by goroutine %lld", (long long)m->g);
		if (x->nstw >= V2_PROC_MAX)
			return bomb(v, c, err, "stop-the-world ranges");
		if (!stack_ok(v, c->args[1], &stack, full))
			return bad_stack(v, c, c->args[1], err);
		if (!string_ok(v, kind, &text, true))
			return bad_string(v, c, kind, err);
		x->stw[x->nstw++] = kind;
	} else {
		if (!x->nstw)
			return bad(v, c, err, "goroutine %lld has not stopped the world", (long long)m->g);
		kind = x->stw[0];
		x->stw[0] = x->stw[--x->nstw];
		/* The kind is an id of the generation in which it began; the reference looks it up in this one, too. */
		if (v2_str(v, kind, &text) < 0)
			return no_memory(v, err);
	}
	name = full ? tables_stw_name(v->tab, text) : 0;
	if (name < 0)
		return no_memory(v, err);
	emit_range(v, out, c, begin ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END, m, stack, GANDER_GOTRACE_RANGE_STW, (uint32_t)name,
		   GANDER_GOTRACE_RES_GOROUTINE, m->g, full);
	return TAKEN;
}

/* ---- one event tried ---- */

#define NEED_CONTEXT(need, cond) \
	do { \
		if (unlikely(cond)) \
			return bad_context(v, c, m, need, err); \
	} while (0)
#define NEED_USER() NEED_CONTEXT(NEED_M | NEED_P | NEED_G, m->p == GANDER_GOTRACE_NONE || m->g == GANDER_GOTRACE_NONE)
#define NEED_STACK(id) \
	do { \
		if (unlikely(!stack_ok(v, id, &stack, full))) \
			return bad_stack(v, c, id, err); \
	} while (0)

static always_inline int advance(struct v2 *v, struct v2_cursor *c, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct gander_gotrace_event *e;
	struct v2_m *m = c->m;
	uint32_t stack = 0, text = 0;
	unsigned i;
	struct v2_g *g;
	struct v2_p *p;

	if (unlikely(!m)) {
		if (c->mid == GANDER_GOTRACE_NONE) {
			m = &v->none;
		} else {
			m = idmap_get(&v->ms, (uint64_t)c->mid);
			if (!m)
				m = v2_m_new(v, c->mid);
			if (!m)
				return no_memory(v, err);
		}
		c->m = m;
	}
	switch (c->type) {
	case EV_GO_START:
		g = idmap_get(&v->gs, c->args[0]);
		if (!g || g->status != GO_RUNNABLE || !g_next(v, g, c->args[1]))
			return WAIT;
		NEED_CONTEXT(NEED_M | NEED_P | NO_G, m->p == GANDER_GOTRACE_NONE || m->g != GANDER_GOTRACE_NONE);
		g->status = GO_RUNNING;
		g->seq = c->args[1];
		emit_go(v, out, c, EV_GO_START, m, 0, (int64_t)c->args[0], GANDER_GOTRACE_GO_RUNNABLE, GANDER_GOTRACE_GO_RUNNING, 0, 0, full);
		m->g = (int64_t)c->args[0];
		m->gs = g;
		return TAKEN;
	case EV_GO_UNBLOCK:
		g = idmap_get(&v->gs, c->args[0]);
		if (!g || g->status != GO_WAITING || !g_next(v, g, c->args[1]))
			return WAIT;
		NEED_STACK(c->args[2]);
		g->status = GO_RUNNABLE;
		g->seq = c->args[1];
		emit_go(v, out, c, EV_GO_UNBLOCK, m, stack, (int64_t)c->args[0], GANDER_GOTRACE_GO_WAITING, GANDER_GOTRACE_GO_RUNNABLE, 0, 0, full);
		return TAKEN;
	case EV_GO_BLOCK:
	case EV_GO_STOP:
		NEED_USER();
		g = cur_g(v, m);
		if (unlikely(!g || g->status != GO_RUNNING))
			return bad(v, c, err, "goroutine %lld %s", (long long)m->g, g ? "is not running" : "doesn't exist");
		NEED_STACK(c->args[1]);
		if (unlikely(!string_ok(v, c->args[0], &text, full)))
			return bad_string(v, c, c->args[0], err);
		g->status = c->type == EV_GO_BLOCK ? GO_WAITING : GO_RUNNABLE;
		emit_go(v, out, c, c->type, m, stack, m->g, GANDER_GOTRACE_GO_RUNNING,
			c->type == EV_GO_BLOCK ? GANDER_GOTRACE_GO_WAITING : GANDER_GOTRACE_GO_RUNNABLE, text, stack, full);
		m->g = GANDER_GOTRACE_NONE;
		return TAKEN;
	case EV_GO_SYSCALL_BEGIN:
		NEED_USER();
		g = cur_g(v, m);
		if (unlikely(!g || g->status != GO_RUNNING))
			return bad(v, c, err, "goroutine %lld %s", (long long)m->g, g ? "is not running" : "doesn't exist");
		p = cur_p(v, m);
		if (unlikely(!p))
			return bad(v, c, err, "uninitialized proc %lld", (long long)m->p);
		if (unlikely(!p_next(v, p, c->args[0])))
			return bad(v, c, err, "proc %lld is at number %llu of generation %llu, %llu does not follow", (long long)m->p,
				   (unsigned long long)p->seq, (unsigned long long)p->gen, (unsigned long long)c->args[0]);
		NEED_STACK(c->args[1]);
		g->status = GO_SYSCALL;
		p->status = PROC_SYSCALL;
		p->seq = c->args[0];
		emit_go(v, out, c, EV_GO_SYSCALL_BEGIN, m, stack, m->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_SYSCALL, 0, stack, full);
		return TAKEN;
	case EV_GO_SYSCALL_END:
		NEED_USER();
		g = cur_g(v, m);
		if (unlikely(!g || g->status != GO_SYSCALL))
			return bad(v, c, err, "goroutine %lld %s", (long long)m->g, g ? "is not in a system call" : "doesn't exist");
		p = cur_p(v, m);
		if (unlikely(!p || p->status != PROC_SYSCALL))
			return bad(v, c, err, "proc %lld %s", (long long)m->p, p ? "is not in a system call" : "doesn't exist");
		g->status = GO_RUNNING;
		p->status = PROC_RUNNING;
		emit_go(v, out, c, EV_GO_SYSCALL_END, m, 0, m->g, GANDER_GOTRACE_GO_SYSCALL, GANDER_GOTRACE_GO_RUNNING, 0, 0, full);
		return TAKEN;
	case EV_GO_SYSCALL_END_BLOCKED:
		if (m->p != GANDER_GOTRACE_NONE) {
			p = cur_p(v, m);
			if (unlikely(!p))
				return bad(v, c, err, "uninitialized proc %lld", (long long)m->p);
			if (p->status == PROC_SYSCALL)
				return WAIT; /* it will be taken away first */
		}
		NEED_CONTEXT(NEED_M | NEED_G, m->g == GANDER_GOTRACE_NONE);
		g = cur_g(v, m);
		if (unlikely(!g || g->status != GO_SYSCALL))
			return bad(v, c, err, "goroutine %lld %s", (long long)m->g, g ? "is not in a system call" : "doesn't exist");
		g->status = GO_RUNNABLE;
		emit_go(v, out, c, c->type, m, 0, m->g, GANDER_GOTRACE_GO_SYSCALL, GANDER_GOTRACE_GO_RUNNABLE, 0, 0, full);
		m->g = GANDER_GOTRACE_NONE;
		return TAKEN;
	case EV_GO_CREATE:
	case EV_GO_CREATE_BLOCKED:
		NEED_CONTEXT(NEED_M | NEED_P, m->p == GANDER_GOTRACE_NONE);
		g = m->g != GANDER_GOTRACE_NONE ? cur_g(v, m) : NULL;
		if (unlikely(g && g->status != GO_RUNNING))
			return bad(v, c, err, "goroutine %lld is not running", (long long)m->g);
		if (unlikely(idmap_get(&v->gs, c->args[0]) != NULL))
			return bad(v, c, err, "tried to create goroutine %lld that already exists", (long long)c->args[0]);
		if (unlikely(v->gs.count >= V2_LIVE_MAX))
			return bomb(v, c, err, "goroutines");
		NEED_STACK(c->args[1]);
		text = stack; /* the new one's entry */
		NEED_STACK(c->args[2]);
		g = g_new(v, c->args[0], c->type == EV_GO_CREATE ? GO_RUNNABLE : GO_WAITING);
		if (unlikely(!g))
			return no_memory(v, err);
		emit_go(v, out, c, c->type, m, stack, (int64_t)c->args[0], GANDER_GOTRACE_GO_NOT_EXIST,
			c->type == EV_GO_CREATE ? GANDER_GOTRACE_GO_RUNNABLE : GANDER_GOTRACE_GO_WAITING, 0, text, full);
		return TAKEN;
	case EV_GO_DESTROY:
		NEED_USER();
		g = cur_g(v, m);
		if (unlikely(!g || g->status != GO_RUNNING))
			return bad(v, c, err, "goroutine %lld %s", (long long)m->g, g ? "is not running" : "doesn't exist");
		g_del(v, g);
		emit_go(v, out, c, c->type, m, 0, m->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_NOT_EXIST, 0, 0, full);
		m->g = GANDER_GOTRACE_NONE;
		return TAKEN;
	case EV_GO_STATUS:
	case EV_GO_STATUS_STACK:
		return go_status(v, c, m, out, err, full);
	case EV_PROC_START:
		p = idmap_get(&v->ps, c->args[0]);
		if (!p || p->status != PROC_IDLE || !p_next(v, p, c->args[1]) || m->p != GANDER_GOTRACE_NONE)
			return WAIT;
		NEED_CONTEXT(NEED_M, m == &v->none);
		p->status = PROC_RUNNING;
		p->seq = c->args[1];
		emit_proc(v, out, c, c->type, m, (int64_t)c->args[0], GANDER_GOTRACE_PROC_IDLE, GANDER_GOTRACE_PROC_RUNNING, full);
		m->p = (int64_t)c->args[0];
		m->ps = p;
		return TAKEN;
	case EV_PROC_STOP:
		p = m->p != GANDER_GOTRACE_NONE ? cur_p(v, m) : NULL;
		if (unlikely(!p || (p->status != PROC_RUNNING && p->status != PROC_SYSCALL)))
			return bad(v, c, err, "proc %lld %s", (long long)m->p, p ? "is not running" : "doesn't exist");
		if (unlikely(v->salvage && runs(v, m)))
			return bad(v, c, err, "proc %lld stops, but not its goroutine", (long long)m->p);
		p->status = PROC_IDLE;
		emit_proc(v, out, c, c->type, m, m->p, GANDER_GOTRACE_PROC_RUNNING, GANDER_GOTRACE_PROC_IDLE, full);
		m->p = GANDER_GOTRACE_NONE;
		return TAKEN;
	case EV_PROC_STEAL:
		return proc_steal(v, c, m, out, err, full);
	case EV_PROC_STATUS:
		return proc_status(v, c, m, out, err, full);
	case EV_GO_SWITCH:
	case EV_GO_SWITCH_DESTROY:
		NEED_USER();
		g = cur_g(v, m);
		if (unlikely(!g || g->status != GO_RUNNING))
			return bad(v, c, err, "goroutine %lld %s", (long long)m->g, g ? "is not running" : "doesn't exist");
		return go_switch(v, c, m, g, out, err, full);
	case EV_GO_CREATE_SYSCALL:
		NEED_CONTEXT(NEED_M | NO_G, m == &v->none || m->g != GANDER_GOTRACE_NONE);
		if (idmap_get(&v->gs, c->args[0]))
			return bad(v, c, err, "tried to create goroutine %lld in syscall that already exists", (long long)c->args[0]);
		if (v->gs.count >= V2_LIVE_MAX)
			return bomb(v, c, err, "goroutines");
		g = g_new(v, c->args[0], GO_SYSCALL);
		if (!g)
			return no_memory(v, err);
		emit_go(v, out, c, c->type, m, 0, (int64_t)c->args[0], GANDER_GOTRACE_GO_NOT_EXIST, GANDER_GOTRACE_GO_SYSCALL, 0, 0, full);
		m->g = (int64_t)c->args[0];
		m->gs = g;
		return TAKEN;
	case EV_GO_DESTROY_SYSCALL:
		return go_destroy_syscall(v, c, m, out, err, full);
	case EV_PROCS_CHANGE:
		NEED_USER();
		NEED_STACK(c->args[1]);
		e = emit(v, out, GANDER_GOTRACE_METRIC, c->type, c->time, m, stack, full);
		if (full) {
			e->metric.id = GANDER_GOTRACE_METRIC_GOMAXPROCS;
			e->metric.name = STR_METRIC_GOMAXPROCS;
			e->metric.value = c->args[0];
		}
		return TAKEN;
	case EV_HEAP_ALLOC:
	case EV_HEAP_GOAL:
		NEED_CONTEXT(NEED_M | NEED_P, m->p == GANDER_GOTRACE_NONE);
		e = emit(v, out, GANDER_GOTRACE_METRIC, c->type, c->time, m, 0, full);
		if (full) {
			e->metric.id = c->type == EV_HEAP_ALLOC ? GANDER_GOTRACE_METRIC_HEAP_ALLOC : GANDER_GOTRACE_METRIC_HEAP_GOAL;
			e->metric.name = c->type == EV_HEAP_ALLOC ? STR_METRIC_HEAP_ALLOC : STR_METRIC_HEAP_GOAL;
			e->metric.value = c->args[0];
		}
		return TAKEN;
	case EV_GO_LABEL:
		NEED_USER();
		if (!string_ok(v, c->args[0], &text, full))
			return bad_string(v, c, c->args[0], err);
		e = emit(v, out, GANDER_GOTRACE_LABEL, c->type, c->time, m, 0, full);
		if (full) {
			e->label.goroutine = m->g;
			e->label.label = text;
		}
		return TAKEN;
	case EV_USER_TASK_BEGIN:
	case EV_USER_TASK_END:
		return user_task(v, c, m, out, err, full);
	case EV_USER_REGION_BEGIN:
	case EV_USER_REGION_END:
		NEED_USER();
		return user_region(v, c, m, cur_g(v, m), out, err, full);
	case EV_USER_LOG:
		NEED_USER();
		return user_log(v, c, m, out, err, full);
	case EV_STW_BEGIN:
	case EV_STW_END:
		NEED_USER();
		return stop_the_world(v, c, m, cur_g(v, m), out, err, full);
	case EV_GC_ACTIVE:
	case EV_GC_BEGIN:
	case EV_GC_END:
		return gc_mark(v, c, m, out, err, full);
	case EV_GC_SWEEP_ACTIVE:
	case EV_GC_SWEEP_BEGIN:
	case EV_GC_SWEEP_END:
		return sweep(v, c, m, out, err, full);
	case EV_GC_MARK_ASSIST_ACTIVE:
	case EV_GC_MARK_ASSIST_BEGIN:
	case EV_GC_MARK_ASSIST_END:
		return mark_assist(v, c, m, out, err, full);
	default: /* experimental: wire_nargs lets nothing else through */
		NEED_CONTEXT(NEED_M, m == &v->none);
		e = emit(v, out, GANDER_GOTRACE_EXPERIMENTAL, c->type, c->time, m, 0, full);
		if (full) {
			e->exp.experiment = 1;
			e->exp.nargs = (uint8_t)(wire_nargs[c->type] - 1);
			for (i = 0; i < GANDER_GOTRACE_EXP_ARGS; i++)
				e->exp.args[i] = i < e->exp.nargs ? c->args[i] : 0;
		}
		return TAKEN;
	}
}

int v2_take(struct v2 *v, struct v2_cursor *c)
{
	return advance(v, c, NULL, NULL, false);
}

/* ---- the merge ---- */

__attribute__((noinline, cold)) static int stuck(struct v2 *v, struct err *err)
{
	char text[400];
	size_t n = 0;
	uint32_t i;
	int r;

	for (i = 0; i < v->nheap && n < sizeof(text) - 1; i++) {
		const struct v2_cursor *c = v->heap[i].ptr;

		r = snprintf(text + n, sizeof(text) - n, "%sthread %lld %s(%llu, %llu)", i ? ", " : "", (long long)c->mid,
			     gander_gotrace_wire_name(c->type), (unsigned long long)c->args[0], (unsigned long long)c->args[1]);
		n += (size_t)r;
	}
	return err_set(err, -EPROTO, "byte %llu, generation %llu: broken trace: failed to advance, every thread waits for another: %s",
		       (unsigned long long)v->base_off, (unsigned long long)v->gen, text);
}

/* What follows the event that was just taken is broken: that event is still delivered, then the error. */
__attribute__((noinline, cold)) static int last_before(struct v2 *v, int r, const struct err *err)
{
	v->ended = r;
	v->ended_err = *err;
	v->ended_sync = true;
	v->nheap = 0;
	v->sample_next = v->nsample;
	return TAKEN;
}

/* The pending event of heap[i] was taken: decodes the next and puts the cursor in its place. */
static int after(struct v2 *v, uint32_t i, struct err *err)
{
	struct v2_cursor *c = v->heap[i].ptr;
	int r = cursor_next(v, c, err);

	if (r < 0 && v2_damage(v, r, true, err) < 0)
		return last_before(v, r, err);
	if (r <= 0) {
		heap_remove(v, i);
		return TAKEN;
	}
	v->heap[i].time = c->time;
	if (heap_up(v->heap, i) == i)
		heap_down(v->heap, v->nheap, i);
	return TAKEN;
}

/* An event of heap[i] is broken: in salvage mode its thread says nothing more in this generation. */
__attribute__((noinline, cold)) static int drop(struct v2 *v, uint32_t i, int r, struct err *err)
{
	if (v2_damage(v, r, true, err) < 0)
		return r;
	v->nqueue = 0;
	heap_remove(v, i);
	return AGAIN;
}

/* The earliest event must wait: tries the others in order of time. */
static always_inline int others(struct v2 *v, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	uint32_t i;
	int r;

	sort_keyed(v->heap, v->nheap);
	for (i = 1; i < v->nheap; i++) {
		r = advance(v, v->heap[i].ptr, out, err, full);
		if (r < 0)
			return drop(v, i, r, err);
		if (r == TAKEN)
			return after(v, i, err);
	}
	r = stuck(v, err);
	if (v2_damage(v, r, true, err) < 0)
		return r;
	v->nheap = 0;
	return AGAIN;
}

__attribute__((noinline)) static int others_full(struct v2 *v, struct gander_gotrace_event *out, struct err *err)
{
	return others(v, out, err, true);
}

__attribute__((noinline)) static int others_count(struct v2 *v, struct err *err)
{
	return others(v, NULL, err, false);
}

__attribute__((noinline)) static int sample(struct v2 *v, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	const struct keyed *k = &v->sample_order[v->sample_next++];
	const struct v2_sample *s = &v->sample[k->index];
	struct v2_m ctx = { .id = s->m, .g = s->g, .p = s->p };
	uint32_t stack;

	if (!stack_ok(v, s->stack, &stack, full)) {
		if (v2_ref(&v->stks, s->stack))
			return no_memory(v, err);
		return err_set(err, -EPROTO, "byte %llu, generation %llu: CPUSample: found invalid stack ID %llu",
			       (unsigned long long)(v->base_off + s->off), (unsigned long long)v->gen, (unsigned long long)s->stack);
	}
	emit(v, out, GANDER_GOTRACE_STACK_SAMPLE, EV_CPU_SAMPLE, k->time, &ctx, stack, full);
	return 1;
}

static void emit_sync(struct v2 *v, struct gander_gotrace_event *out, int64_t time, bool in_generation, const bool full)
{
	struct gander_gotrace_event *e = emit(v, out, GANDER_GOTRACE_SYNC, EV_READER_SYNC, time, &v->none, 0, full);

	v->syncs++;
	if (!full)
		return;
	memset(&e->sync, 0, sizeof(e->sync));
	e->sync.n = v->syncs;
	if (in_generation) {
		e->sync.exp_batches = v->nexp;
		e->sync.has_clock = v->has_clock;
		if (v->has_clock) {
			e->sync.trace_ns = v2_ns(v, v->snap_time);
			e->sync.mono_ns = v->snap_mono;
			e->sync.wall_sec = (int64_t)(v->snap_sec + v->snap_nsec / 1000000000);
			e->sync.wall_nsec = (uint32_t)(v->snap_nsec % 1000000000);
		}
	}
}

/* Behind a gap nothing is known of goroutines, Ps and threads. Tasks stay: their names are still right. */
static void forget(struct v2 *v)
{
	struct v2_gslab *slab;
	struct v2_p *p;
	struct v2_m *m;
	size_t i;

	for (slab = v->gslab; slab; slab = slab->next)
		for (i = 0; i < sizeof(slab->g) / sizeof(slab->g[0]); i++)
			if (slab->g[i].live)
				g_del(v, &slab->g[i]);
	for (i = 0; i <= v->ms.mask; i++) {
		m = v->ms.slot[i].value;
		if (m) {
			m->g = m->p = GANDER_GOTRACE_NONE;
			m->gs = NULL;
			m->ps = NULL;
		}
	}
	for (i = 0; i <= v->ps.mask; i++) {
		p = v->ps.slot[i].value;
		free(p);
	}
	idmap_clear(&v->ps);
	v->gc = GC_UNDETERMINED;
	v->gc_seq = 0;
}

/* The next generation, or the end: 1 (a sync), 0, < 0. */
__attribute__((noinline)) static int generation(struct v2 *v, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct v2_cursor *c;
	bool gap = false;
	uint32_t i;
	int r;

	if (v->ended && v->ended_sync) {
		if (v->ended > 0 && v->damage.code) {
			v->ended = v->damage.code;
			v->ended_err = v->damage;
		}
		if (v->ended < 0 && err)
			*err = v->ended_err;
		return v->ended < 0 ? v->ended : 0;
	}
	if (!v->ended) {
		gap = v->gap;
		v->gap = false;
		r = v2_read(v, err);
		if (r > 0) {
			if (gap)
				forget(v);
			if (!v->first_gen || gap)
				v->first_gen = v->gen;
			v->t->generation = v->gen;
			v->t->generations++;
			v->nheap = 0;
			if (v2_grow(&v->heap, v->ncursor + 1, &v->cap_heap, sizeof(*v->heap)) < 0)
				return no_memory(v, err);
			for (i = 0; i < v->ncursor; i++) {
				c = &v->cursor[i];
				if (!v2_cursor_batch(v, c, true))
					continue;
				r = cursor_next(v, c, err);
				if (r < 0 && v2_damage(v, r, true, err) < 0)
					return r;
				if (r <= 0)
					continue;
				v->heap[v->nheap].time = c->time;
				v->heap[v->nheap].ptr = c;
				heap_up(v->heap, v->nheap++);
			}
			emit_sync(v, out, v2_ns(v, v->min_time), true, full);
			if (full)
				out->sync.gap = gap;
			return 1;
		}
		v->ended = r < 0 ? r : 1;
		if (r < 0 && err)
			v->ended_err = *err;
		v->nexp = 0;
	}
	v->ended_sync = true;
	emit_sync(v, out, v->last_time, false, full);
	return 1;
}

static always_inline int order_step(struct v2 *v, struct gander_gotrace_event *out, struct err *err, const bool full)
{
	struct v2_cursor *c;
	struct keyed *h;
	int r;

	if (full && unlikely(v->queue_next < v->nqueue)) {
		*out = v->queue[v->queue_next++];
		return 1;
	}
	v->nqueue = v->queue_next = 0;
	if (unlikely(v->sample_next < v->nsample) && (!v->nheap || v->sample_order[v->sample_next].time < v->heap[0].time))
		return sample(v, out, err, full);
	if (unlikely(!v->nheap))
		return generation(v, out, err, full);
	h = v->heap;
	c = h[0].ptr;
	r = advance(v, c, out, err, full);
	if (unlikely(r != TAKEN)) {
		if (r < 0)
			return drop(v, 0, r, err);
		return full ? others_full(v, out, err) : others_count(v, err);
	}
	r = cursor_next(v, c, err);
	if (unlikely(r <= 0)) {
		if (r < 0 && v2_damage(v, r, true, err) < 0)
			return last_before(v, r, err);
		heap_remove(v, 0);
		return 1;
	}
	heap_sink(h, v->nheap, 0, c->time, c);
	return 1;
}

int v2_next(struct gander_gotrace *t, struct gander_gotrace_event *ev, struct err *err)
{
	int r;

	do
		r = order_step(t->v2, ev, err, true);
	while (unlikely(r == AGAIN));
	return r;
}

/* The input again from its beginning: only what can be read twice. */
static bool can_restart(const struct gander_gotrace *t)
{
	return t->in.mem || (!t->in.read && t->in.start >= 0);
}

static int restart(struct gander_gotrace *t, struct err *err)
{
	v2_free(t->v2);
	t->v2 = NULL;
	t->generation = t->generations = 0;
	t->in.pos = 16; /* behind the header */
	if (!t->in.mem && lseek(t->in.fd, t->in.start + 16, SEEK_SET) < 0)
		return err_set(err, -errno, "cannot read the trace again: %m");
	return v2_open(t, err);
}

int v2_count(struct gander_gotrace *t, uint64_t *counts, struct err *err)
{
	bool in_time = t->events || t->flags & GANDER_GOTRACE_SALVAGE || !can_restart(t); /* one event after the other */
	struct v2 *v = t->v2;
	int r;

	for (; v->queue_next < v->nqueue; v->queue_next++)
		counts[v->queue[v->queue_next].kind]++;
	v->counts = counts;
	do {
		r = order_step(v, NULL, err, false);
		if (in_time || r <= 0 || !v->nheap || v2_count_generation(v))
			continue;
		in_time = true;
		memset(counts, 0, GANDER_GOTRACE_KINDS * sizeof(*counts));
		r = restart(t, err);
		if (r < 0)
			return r;
		v = t->v2;
		v->counts = counts;
		r = 1;
	} while (r > 0); /* AGAIN, too */
	v->counts = NULL;
	return r;
}

int v2_exp_batch(const struct v2 *v, uint32_t i, struct gander_gotrace_exp_batch *ret)
{
	const struct v2_exp *e;

	if (i >= v->nexp)
		return -ENOENT;
	e = &v->exp[i];
	*ret = (struct gander_gotrace_exp_batch) { e->experiment, e->thread, v->buf + e->off, e->len };
	return 0;
}

int v2_open(struct gander_gotrace *t, struct err *err)
{
	struct v2 *v = calloc(1, sizeof(*v));

	if (!v)
		return err_set(err, -ENOMEM, "out of memory");
	t->v2 = v;
	v->t = t;
	v->tab = &t->tab;
	v->none.id = v->none.g = v->none.p = GANDER_GOTRACE_NONE;
	v->base_off = 16; /* behind the header */
	v->salvage = t->flags & GANDER_GOTRACE_SALVAGE;
	v->ns_per_unit = 64; /* the runtime's on Linux, should a damaged trace not say */
	v->unit_ns = 64;
	v->pc_mask = 4095;
	v->pc = calloc(v->pc_mask + 1, sizeof(*v->pc));
	v->buf = calloc(1, V2_PAD);
	if (!v->pc || !v->buf || idmap_init(&v->gs) < 0 || idmap_init(&v->ps) < 0 || idmap_init(&v->ms) < 0 || idmap_init(&v->tasks) < 0 ||
	    idmap_init(&v->thread_cursor) < 0 || idmap_init(&v->strs.sparse) < 0 || idmap_init(&v->stks.sparse) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static void free_values(struct idmap *m)
{
	size_t i;

	if (m->slot)
		for (i = 0; i <= m->mask; i++)
			free(m->slot[i].value);
	idmap_done(m);
}

void v2_free(struct v2 *v)
{
	struct v2_gslab *slab, *next;
	size_t i;

	if (!v)
		return;
	for (slab = v->gslab; slab; slab = next) {
		next = slab->next;
		for (i = 0; i < sizeof(slab->g) / sizeof(slab->g[0]); i++)
			if (slab->g[i].ext)
				gext_free(v, &slab->g[i]);
		free(slab);
	}
	idmap_done(&v->gs);
	free_values(&v->ps);
	free_values(&v->ms);
	free_values(&v->tasks);
	idmap_done(&v->thread_cursor);
	idmap_done(&v->strs.sparse);
	idmap_done(&v->stks.sparse);
	free(v->strs.dense);
	free(v->strs.extra);
	free(v->stks.dense);
	free(v->stks.extra);
	free(v->pc);
	free(v->batch);
	free(v->cursor);
	free(v->exp);
	free(v->sample);
	free(v->sample_order);
	free(v->stack_spans);
	free(v->heap);
	free(v->buf);
	free(v);
}
