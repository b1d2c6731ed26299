/* v1 events merged into one order, checked, and turned into the v2 model: the rules are those of the reference (Go's internal/trace/internal/tracev1
 * and its converter). Four stages, each pulling from the one before: merge_next() by goroutine states and time; main_next() takes system call exits
 * to their real time when that is near; sorted_next() when it is far; convert(). */
#include "gotrace/gotrace_v1.h"

#include <stdlib.h>
#include <string.h>

#define KEY_NONE UINT64_MAX /* no goroutine: always ready */
#define KEY_GC   V1_KEY_GC

struct v1_gslab {
	struct v1_gslab *next;
	struct v1_g g[512];
};

struct v1_task {
	uint64_t parent;
	uint32_t name;
};

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

#define bad(ev, err, fmt, ...) \
	err_set(err, -EPROTO, "byte %llu: %s: " fmt, (unsigned long long)(ev)->off, v1_name((ev)->type), ##__VA_ARGS__)

/* ---- merge ---- */

struct v1_g *v1_g_new(struct v1 *v, uint64_t id)
{
	struct v1_gslab *slab;
	struct v1_g *g;
	size_t i;

	if (v->gs.count >= V1_LIVE_MAX)
		return NULL;
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
	memset(g, 0, sizeof(*g));
	g->id = id;
	g->live = true;
	return g;
}

void v1_g_del(struct v1 *v, struct v1_g *g)
{
	idmap_del(&v->gs, g->id);
	g->live = false;
	v->nregions -= g->nregion;
	free(g->region);
	g->region = NULL;
	g->nregion = 0;
	g->next_free = v->free_g;
	v->free_g = g;
}

/* The goroutine of this id, which may be the one that was found when the event was enqueued. */
static always_inline struct v1_g *known(const struct v1 *v, const struct v1_event *ev, uint64_t id)
{
	if (likely(ev->gp && ev->gp->id == id && ev->gp->live))
		return ev->gp;
	return idmap_get(&v->gs, id);
}

/* What the merge asks of an event's goroutine and does to it, by type. */
static const struct v1_rule {
	uint8_t who;  /* whose state it is about */
	uint8_t need; /* the state that makes it ready */
	uint8_t seq;  /* which number as well */
	uint8_t next; /* the state afterwards */
	uint8_t step; /* how far the number goes */
} rules[64] = {
#define WHO_G   1 /* the event's goroutine */
#define WHO_ARG 2 /* its first argument */
#define WHO_NEW 3 /* that, and it must not exist */
#define WHO_GC  4 /* the order of collections */
#define SEQ_ONE 1
#define SEQ_ARG 2 /* the second argument */
	[V1_GO_CREATE] = { .who = WHO_NEW },
	[V1_GC_START] = { .who = WHO_GC },
	[V1_WAITING] = { WHO_G, G_RUNNABLE, SEQ_ONE, G_WAITING, 1 },
	[V1_IN_SYSCALL] = { WHO_G, G_RUNNABLE, SEQ_ONE, G_WAITING, 1 },
	[V1_GO_START] = { WHO_G, G_RUNNABLE, SEQ_ARG, G_RUNNING, 1 },
	[V1_START_LABEL] = { WHO_G, G_RUNNABLE, SEQ_ARG, G_RUNNING, 1 },
	[V1_START_LOCAL] = { WHO_G, G_RUNNABLE, 0, G_RUNNING, 1 },
	[V1_GO_SCHED] = { WHO_G, G_RUNNING, 0, G_RUNNABLE, 0 },
	[V1_GO_PREEMPT] = { WHO_G, G_RUNNING, 0, G_RUNNABLE, 0 },
	[V1_GO_SLEEP] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_GO_BLOCK] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_BLOCK_SEND] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_BLOCK_RECV] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_BLOCK_SELECT] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_BLOCK_SYNC] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_BLOCK_COND] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_BLOCK_NET] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_BLOCK_GC] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_SYSBLOCK] = { WHO_G, G_RUNNING, 0, G_WAITING, 0 },
	[V1_GO_UNBLOCK] = { WHO_ARG, G_WAITING, SEQ_ARG, G_RUNNABLE, 1 },
	[V1_SYSEXIT] = { WHO_ARG, G_WAITING, SEQ_ARG, G_RUNNABLE, 1 },
	[V1_UNBLOCK_LOCAL] = { WHO_ARG, G_WAITING, 0, G_RUNNABLE, 1 },
	[V1_SYSEXIT_LOCAL] = { WHO_ARG, G_WAITING, 0, G_RUNNABLE, 1 },
};

/* Whether the event may be merged now; *key is what it waits for otherwise, and what it changes. */
static always_inline bool ready(const struct v1 *v, struct v1_event *ev, uint64_t *key)
{
	const struct v1_rule *r = &rules[ev->type];
	struct v1_g *g;
	uint64_t id;

	if (!r->who) {
		*key = KEY_NONE;
		return true;
	}
	if (unlikely(r->who >= WHO_NEW)) {
		*key = r->who == WHO_GC ? KEY_GC : ev->args[0];
		return r->who == WHO_GC ? v->gc_seq == ev->args[0] : !idmap_get(&v->gs, ev->args[0]);
	}
	*key = id = r->who == WHO_G ? ev->g : ev->args[0];
	g = known(v, ev, id);
	if (unlikely(!g))
		return false;
	ev->gp = g;
	return (g->merged == r->need) & (!r->seq | (g->seq == (r->seq == SEQ_ONE ? 1 : ev->args[1])));
}

/* What merging the event does to its goroutine's state in the merge. */
static always_inline int apply(struct v1 *v, const struct v1_event *ev, struct v1_g *g, struct err *err)
{
	const struct v1_rule *r = &rules[ev->type];

	if (!r->who)
		return 0;
	if (unlikely(r->who == WHO_GC)) {
		v->gc_seq = ev->args[0] + 1;
		return 0;
	}
	if (unlikely(r->who == WHO_NEW)) {
		g = v1_g_new(v, ev->args[0]);
		if (!g)
			return no_memory(err);
		g->seq = 1;
		g->merged = G_RUNNABLE;
		return 0;
	}
	g->seq += r->step;
	g->merged = r->next;
	return 0;
}

/* Puts the P where it belongs: into the heap when its event is ready, else into the wait list. */
static void enqueue(struct v1 *v, struct v1_proc *pr)
{
	struct v1_event *ev = &pr->ev[pr->cur];

	if (ready(v, ev, &pr->wait_g)) {
		v->heap[v->nheap].time = ev->ts;
		v->heap[v->nheap].ptr = pr;
		heap_up(v->heap, v->nheap++);
	} else {
		v->wait[v->nwait++] = pr;
	}
}

/* Whoever waited for `key` is looked at again. */
static void wake(struct v1 *v, uint64_t key)
{
	struct v1_proc *pr;
	uint32_t i;

	for (i = 0; i < v->nwait;) {
		pr = v->wait[i];
		if (pr->wait_g != key || !ready(v, &pr->ev[pr->cur], &pr->wait_g)) {
			i++;
			continue;
		}
		v->wait[i] = v->wait[--v->nwait];
		v->heap[v->nheap].time = pr->ev[pr->cur].ts;
		v->heap[v->nheap].ptr = pr;
		heap_up(v->heap, v->nheap++);
	}
}

static void sample_event(struct v1 *v, struct v1_event *out)
{
	const struct keyed *k = &v->sample_order[v->sample_next++];
	const struct v1_sample *s = &v->sample[k->index];

	memset(out, 0, sizeof(*out));
	out->type = V1_CPU_SAMPLE;
	out->ts = k->time;
	out->g = s->g;
	out->p = s->p;
	out->stack = s->stack;
}

/* A CPU sample of a goroutine that is in a system call hides from the reference that the call blocks. */
static bool sampled_before(const struct v1 *v, uint64_t g, int64_t ts)
{
	uint32_t i;

	for (i = v->sample_next; i < v->nsample && v->sample_order[i].time < ts; i++)
		if (v->sample[v->sample_order[i].index].g == g)
			return true;
	return false;
}

static always_inline int merge_next(struct v1 *v, struct v1_event **ret, struct err *err)
{
	struct v1_proc *pr;
	struct v1_event *out, *ev;
	uint64_t key;
	int r;

	if (unlikely(v->sample_next < v->nsample) && (!v->nheap || v->sample_order[v->sample_next].time < v->heap[0].time)) {
		out = &v->made;
		sample_event(v, out);
	} else if (unlikely(!v->nheap)) {
		if (v->nwait)
			return bad(&v->wait[0]->ev[v->wait[0]->cur], err, "no consistent ordering of events possible: P %d waits for goroutine %llu",
				   v->wait[0]->pid, (unsigned long long)v->wait[0]->wait_g);
		return 0;
	} else {
		pr = v->heap[0].ptr;
		out = &pr->ev[pr->cur];
		if (unlikely(!ready(v, out, &key)))
			return bad(out, err, "encountered impossible goroutine state transition");
		r = apply(v, out, out->gp, err);
		if (unlikely(r < 0))
			return r;
		if (out->blocks && v->nsample && sampled_before(v, out->g, out->block_ts))
			out->blocks = false;
		r = v1_proc_next(v, pr, err);
		if (unlikely(r < 0))
			return r;
		ev = &pr->ev[pr->cur];
		if (likely(pr->have && ready(v, ev, &pr->wait_g))) {
			heap_sink(v->heap, v->nheap, 0, ev->ts, pr);
		} else {
			v->heap[0] = v->heap[--v->nheap];
			if (v->nheap)
				heap_down(v->heap, v->nheap, 0);
			if (pr->have)
				v->wait[v->nwait++] = pr;
		}
		if (v->nwait && key != KEY_NONE)
			wake(v, key);
	}
	if (unlikely(v->have_merged && out->ts < v->merged_ts))
		return bad(out, err, "time stamps out of order: %lld ticks after %lld", (long long)out->ts, (long long)v->merged_ts);
	v->have_merged = true;
	v->merged_ts = out->ts;
	*ret = out;
	return 1;
}

/* ---- exits at their real time ---- */

/* Merges into the reorder queue until its first event cannot be overtaken any more. */
__attribute__((noinline)) static int reordered_next(struct v1 *v, struct v1_event **ret, struct err *err)
{
	struct v1_event *ev = NULL, *q;
	int64_t ts;
	uint32_t i;
	int r;

	while (!v->merged_all && (!v->nreorder || v->reorder[v->reorder_first].ts > v->merged_ts - v->lag)) {
		r = merge_next(v, &ev, err);
		if (r < 0)
			return r;
		if (!r) {
			v->merged_all = true;
			break;
		}
		ts = ev->ts;
		if (ev->type == V1_SYSEXIT && ev->args[2]) {
			if (ev->ts < (int64_t)ev->args[2] || ev->ts - (int64_t)ev->args[2] > v->lag)
				continue; /* it is among the exits */
			ts = (int64_t)ev->args[2];
		}
		if (v->reorder_first + v->nreorder == v->cap_reorder) {
			if (v->reorder_first > v->nreorder) {
				memmove(v->reorder, v->reorder + v->reorder_first, v->nreorder * sizeof(*v->reorder));
				v->reorder_first = 0;
			} else if (v->nreorder >= V1_REORDER_MAX) {
				return err_set(err, -EFBIG, "byte %llu: too many events between a system call's end and its report",
					       (unsigned long long)ev->off);
			} else if (v1_grow(&v->reorder, v->cap_reorder + 1024, &v->cap_reorder, sizeof(*v->reorder)) < 0) {
				return no_memory(err);
			}
		}
		q = v->reorder + v->reorder_first;
		for (i = v->nreorder; i > 0 && q[i - 1].ts > ts; i--)
			q[i] = q[i - 1];
		q[i] = *ev;
		q[i].ts = ts;
		v->nreorder++;
	}
	if (!v->nreorder)
		return 0;
	v->made = v->reorder[v->reorder_first++];
	*ret = &v->made;
	v->nreorder--;
	return 1;
}

static always_inline int main_next(struct v1 *v, struct v1_event **ret, struct err *err)
{
	int r;

	if (unlikely(v->lag))
		return reordered_next(v, ret, err);
	do
		r = merge_next(v, ret, err);
	while (r > 0 && (*ret)->type == V1_SYSEXIT && (*ret)->args[2] && (*ret)->ts != (int64_t)(*ret)->args[2]);
	return r;
}

/* The next event in order of time, valid until the next call: 1, 0 at the end, < 0. */
static always_inline int sorted_next(struct v1 *v, struct v1_event **ret, struct err *err)
{
	const struct v1_exit *x;
	int r;

	if (likely(!v->peek)) {
		r = main_next(v, &v->peek, err);
		if (unlikely(r <= 0)) {
			v->peek = NULL;
			if (r < 0)
				return r;
		}
	}
	x = v->exit_next < v->nexits ? &v->exits[v->exit_next] : NULL;
	if (x && (!v->peek || v->peek->ts > x->ts)) {
		v->exit_next++;
		memset(&v->exit, 0, sizeof(v->exit));
		v->exit.type = V1_SYSEXIT;
		v->exit.ts = x->ts;
		v->exit.g = v->exit.args[0] = x->g;
		*ret = &v->exit;
		return 1;
	}
	*ret = v->peek;
	v->peek = NULL;
	return *ret != NULL;
}

/* ---- into the v2 model ---- */

struct v1_p *v1_p_get(struct v1 *v, int32_t pid)
{
	struct v1_p *p;

	if (likely(pid >= 0 && pid < V1_SMALL_P && v->small_p[pid]))
		return v->small_p[pid];
	p = idmap_get(&v->ps, (uint32_t)pid);
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p || idmap_put(&v->ps, (uint32_t)pid, p) < 0) {
			free(p);
			return NULL;
		}
		p->m = GANDER_GOTRACE_NONE;
		if (pid >= 0 && pid < V1_SMALL_P)
			v->small_p[pid] = p;
	}
	return p;
}

static int64_t next_ns(struct v1 *v, int64_t ns)
{
	return v->last_ns = ns > v->last_ns ? ns : (int64_t)((uint64_t)v->last_ns + 1);
}

static void set(struct gander_gotrace_event *e, uint8_t kind, uint8_t wire)
{
	e->kind = kind;
	e->wire = wire;
}

static void set_go(struct gander_gotrace_event *e, uint8_t wire, uint64_t id, uint8_t from, uint8_t to, uint32_t reason, uint32_t stack)
{
	set(e, GANDER_GOTRACE_STATE_TRANSITION, wire);
	e->transition.id = (int64_t)id;
	e->transition.resource = GANDER_GOTRACE_RES_GOROUTINE;
	e->transition.from = from;
	e->transition.to = to;
	e->transition.status = 0;
	e->transition.reason = reason;
	e->transition.stack = stack;
}

static void set_proc(struct gander_gotrace_event *e, uint8_t wire, int32_t id, uint8_t from, uint8_t to)
{
	set(e, GANDER_GOTRACE_STATE_TRANSITION, wire);
	e->transition.id = id;
	e->transition.resource = GANDER_GOTRACE_RES_PROC;
	e->transition.from = from;
	e->transition.to = to;
	e->transition.status = 0;
	e->transition.reason = e->transition.stack = 0;
}

static void set_range(struct gander_gotrace_event *e, uint8_t kind, uint8_t wire, uint8_t id, uint32_t name, uint8_t scope, int64_t scope_id)
{
	set(e, kind, wire);
	e->range.scope_id = scope_id;
	e->range.scope = scope;
	e->range.id = id;
	e->range.name = name;
	e->range.swept_bytes = e->range.reclaimed_bytes = 0;
}

static void set_metric(struct gander_gotrace_event *e, uint8_t wire, uint8_t id, uint32_t name, uint64_t value)
{
	set(e, GANDER_GOTRACE_METRIC, wire);
	e->metric.id = id;
	e->metric.name = name;
	e->metric.value = value;
}

static const char *stw_kind(unsigned version, uint64_t kind)
{
	if (version < 21)
		return kind < 2 ? stw_causes[kind + 1] : "";
	return kind < STW_CAUSES ? stw_causes[kind] : "";
}

static int stw(struct v1 *v, const struct v1_event *ev, struct gander_gotrace_event *e, struct err *err)
{
	const char *kind;
	int64_t id;

	if ((ev->type == V1_STW_START) == v->in_stw)
		return bad(ev, err, "%s", v->in_stw ? "the previous one is not ended before a new one" : "an end without a begin");
	v->in_stw = !v->in_stw;
	if (v->in_stw) {
		kind = stw_kind(v->t->version, ev->args[0]);
		id = tables_str(v->tab, kind, strlen(kind));
		if (id >= 0)
			id = tables_stw_name(v->tab, (uint32_t)id);
		if (id < 0)
			return no_memory(err);
		v->last_stw = (uint32_t)id;
	}
	set_range(e, v->in_stw ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END, v->in_stw ? EV_STW_BEGIN : EV_STW_END,
		  GANDER_GOTRACE_RANGE_STW, v->last_stw, GANDER_GOTRACE_RES_GOROUTINE, e->goroutine);
	return 1;
}

static int task(struct v1 *v, const struct v1_event *ev, struct gander_gotrace_event *e, struct err *err)
{
	struct v1_task *t = idmap_get(&v->tasks, ev->args[0]);
	int64_t name;

	if (ev->type == V1_TASK_CREATE) {
		if (t)
			return bad(ev, err, "task id %llu conflicts", (unsigned long long)ev->args[0]);
		name = v1_str(v, ev->args[2]);
		t = v->tasks.count < V1_LIVE_MAX ? malloc(sizeof(*t)) : NULL;
		if (!t || idmap_put(&v->tasks, ev->args[0], t) < 0) {
			free(t);
			return no_memory(err);
		}
		*t = (struct v1_task) { ev->args[1], (uint32_t)name };
		set(e, GANDER_GOTRACE_TASK_BEGIN, EV_USER_TASK_BEGIN);
		e->task.parent = ev->args[1] ? ev->args[1] : GANDER_GOTRACE_NO_TASK;
		e->task.type = (uint32_t)name;
	} else {
		set(e, GANDER_GOTRACE_TASK_END, EV_USER_TASK_END);
		e->task.parent = t ? t->parent : GANDER_GOTRACE_NO_TASK;
		e->task.type = t ? t->name : 0;
		if (t)
			free(idmap_del(&v->tasks, ev->args[0]));
	}
	e->task.id = ev->args[0];
	return 1;
}

static int region(struct v1 *v, const struct v1_event *ev, struct v1_g *g, struct gander_gotrace_event *e, struct err *err)
{
	const struct v1_region *r;

	if (ev->args[1] > 1)
		return bad(ev, err, "invalid user region mode: %llu", (unsigned long long)ev->args[1]);
	set(e, ev->args[1] ? GANDER_GOTRACE_REGION_END : GANDER_GOTRACE_REGION_BEGIN, ev->args[1] ? EV_USER_REGION_END : EV_USER_REGION_BEGIN);
	e->region.task = ev->args[0];
	e->region.type = (uint32_t)v1_str(v, ev->args[2]);
	if (!g)
		return 1;
	if (!ev->args[1]) {
		if (v->nregions >= V1_LIVE_MAX || v1_grow(&g->region, g->nregion + 1, &g->cap_region, sizeof(*g->region)) < 0)
			return no_memory(err);
		g->region[g->nregion++] = (struct v1_region) { ev->args[0], ev->args[2] };
		v->nregions++;
	} else if (g->nregion) {
		r = &g->region[g->nregion - 1];
		if (r->task != ev->args[0] || r->name != ev->args[2])
			return bad(ev, err, "misuse of region in goroutine %llu: its end does not match the innermost open one",
				   (unsigned long long)ev->g);
		g->nregion--;
		v->nregions--;
	}
	return 1;
}

static int log_message(struct v1 *v, const struct v1_event *ev, struct gander_gotrace_event *e, struct err *err)
{
	int64_t n;

	if (v1_grow(&v->message, ev->text_len + 1, &v->cap_message, 1) < 0)
		return no_memory(err);
	n = input_pread(&v->t->in, v->message, ev->text_len, ev->text_off, err);
	if (n < 0)
		return (int)n;
	v->message[n] = '\0';
	set(e, GANDER_GOTRACE_LOG, EV_USER_LOG);
	e->log.task = ev->args[0];
	e->log.category = (uint32_t)v1_str(v, ev->args[1]);
	e->log.message = v->message;
	e->log.message_len = (uint32_t)n;
	return 1;
}

#define RUNNING_HERE() \
	do { \
		if (unlikely(!g || g->state != G_RUNNING)) \
			return bad(ev, err, "g %llu is not running", (unsigned long long)ev->g); \
		if (unlikely(p->g != ev->g)) \
			return bad(ev, err, "p %d is not running g %llu", ev->p, (unsigned long long)ev->g); \
	} while (0)

/* Checks the event and converts it: 1 it is in e, 0 it gives none, < 0. */
static always_inline int convert(struct v1 *v, struct v1_event *ev, struct gander_gotrace_event *e, struct err *err)
{
	static const uint32_t block_reason[V1_TYPES] = {
		[V1_GO_SLEEP] = STR_SLEEP,
		[V1_BLOCK_SEND] = STR_CHAN_SEND,
		[V1_BLOCK_RECV] = STR_CHAN_RECV,
		[V1_BLOCK_SELECT] = STR_SELECT,
		[V1_BLOCK_SYNC] = STR_SYNC,
		[V1_BLOCK_COND] = STR_SYNC_COND,
		[V1_BLOCK_NET] = STR_NETWORK,
		[V1_BLOCK_GC] = STR_ASSIST_WAIT,
	};
	int64_t ns = gotrace_trunc_ns((double)(int64_t)((uint64_t)ev->ts - (uint64_t)v->min_ts) * v->ns_per_tick), stk, start;
	struct v1_g *g = ev->g ? known(v, ev, ev->g) : NULL, *other;
	struct v1_p *p;
	int r = 1;

	if (ev->type == V1_START_LOCAL)
		ev->type = V1_GO_START;
	else if (ev->type == V1_UNBLOCK_LOCAL)
		ev->type = V1_GO_UNBLOCK;
	else if (ev->type == V1_SYSEXIT_LOCAL)
		ev->type = V1_SYSEXIT;

	if (unlikely(ev->type == V1_SYSEXIT))
		ev->p = V1_SYSCALL_P;
	p = v1_p_get(v, ev->p);
	if (unlikely(!p))
		return no_memory(err);
	e->thread = p->has_m && ev->p >= 0 && ev->type != V1_CPU_SAMPLE ? p->m : GANDER_GOTRACE_NONE;
	e->proc = ev->p;
	e->goroutine = ev->g ? (int64_t)ev->g : GANDER_GOTRACE_NONE;
	stk = v1_stk(v, ev->stack);
	if (unlikely(stk < 0))
		return no_memory(err);
	e->stack = (uint32_t)stk;
	switch (ev->type) {
	case V1_GO_START:
	case V1_START_LABEL:
		if (unlikely(!g || g->state != G_RUNNABLE))
			return bad(ev, err, "g %llu is not runnable before start", (unsigned long long)ev->g);
		if (unlikely(p->g != 0))
			return bad(ev, err, "p %d is already running g %llu", ev->p, (unsigned long long)p->g);
		g->state = G_RUNNING;
		g->net = false;
		p->g = ev->g;
		if (unlikely(!v->told && ev->type == V1_GO_START)) {
			set_go(e, EV_GO_STATUS, ev->g, GANDER_GOTRACE_GO_UNDETERMINED, GANDER_GOTRACE_GO_RUNNING, 0, 0);
			g->pre_init = false;
			break;
		}
		set_go(e, EV_GO_START, ev->g, GANDER_GOTRACE_GO_RUNNABLE, GANDER_GOTRACE_GO_RUNNING, 0, 0);
		if (unlikely(ev->type == V1_START_LABEL)) {
			e->thread = p->has_m ? p->m : 0; /* the reference's default, here and in system calls only */
			v->extra = *e;
			v->extra.time_ns = ns;
			set(&v->extra, GANDER_GOTRACE_LABEL, EV_GO_LABEL);
			v->extra.label.goroutine = e->goroutine;
			v->extra.label.label = (uint32_t)v1_str(v, ev->args[2]);
			v->have_extra = true;
		}
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
		RUNNING_HERE();
		g->state = G_WAITING;
		g->net = ev->type == V1_BLOCK_NET;
		p->g = 0;
		set_go(e, EV_GO_BLOCK, ev->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_WAITING, block_reason[ev->type], e->stack);
		break;
	case V1_GO_UNBLOCK:
		if (unlikely(ev->g && (!g || g->state != G_RUNNING)))
			return bad(ev, err, "g %llu is not running while unpark", (unsigned long long)ev->g);
		if (unlikely(v->timers.count && idmap_get(&v->timers, ev->g)))
			ev->p = V1_TIMER_P;
		else if (unlikely(p->g != ev->g))
			return bad(ev, err, "p %d is not running g %llu while unpark", ev->p, (unsigned long long)ev->g);
		other = known(v, ev, ev->args[0]);
		if (unlikely(!other || other->state != G_WAITING))
			return bad(ev, err, "g %llu is not waiting before unpark", (unsigned long long)ev->args[0]);
		if (other->net)
			ev->p = V1_NETPOLL_P;
		other->state = G_RUNNABLE;
		other->net = false;
		if (unlikely(ev->p >= V1_TIMER_P)) {
			e->proc = ev->p;
			e->thread = GANDER_GOTRACE_NONE;
		}
		set_go(e, EV_GO_UNBLOCK, ev->args[0], GANDER_GOTRACE_GO_WAITING, GANDER_GOTRACE_GO_RUNNABLE, 0, 0);
		break;
	case V1_GO_SCHED:
	case V1_GO_PREEMPT:
		RUNNING_HERE();
		g->state = G_RUNNABLE;
		p->g = 0;
		set_go(e, EV_GO_STOP, ev->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_RUNNABLE,
		       ev->type == V1_GO_SCHED ? STR_GOSCHED : STR_PREEMPTED, e->stack);
		break;
	case V1_SYSCALL:
		RUNNING_HERE();
		g->net = false;
		set_go(e, EV_GO_SYSCALL_BEGIN, ev->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_SYSCALL, 0, e->stack);
		if (ev->blocks)
			break;
		e->thread = p->has_m ? p->m : 0;
		v->extra = *e;
		v->extra.time_ns = (int64_t)((uint64_t)ns + 1);
		v->extra.stack = 0;
		set_go(&v->extra, EV_GO_SYSCALL_END, ev->g, GANDER_GOTRACE_GO_SYSCALL, GANDER_GOTRACE_GO_RUNNING, 0, 0);
		v->have_extra = true;
		break;
	case V1_SYSBLOCK:
		RUNNING_HERE();
		g->state = G_WAITING;
		p->g = 0;
		return 0; /* told by its GoSysCall */
	case V1_SYSEXIT:
		if (unlikely(!g || g->state != G_WAITING))
			return bad(ev, err, "g %llu is not waiting during syscall exit", (unsigned long long)ev->g);
		g->state = G_RUNNABLE;
		g->net = false;
		set_go(e, EV_GO_SYSCALL_END_BLOCKED, ev->g, GANDER_GOTRACE_GO_SYSCALL, GANDER_GOTRACE_GO_RUNNABLE, 0, 0);
		break;
	case V1_GO_CREATE:
		if (ev->g || p->g)
			RUNNING_HERE();
		other = ev->args[0] ? idmap_get(&v->gs, ev->args[0]) : NULL;
		if (unlikely(!other || other->state != G_DEAD))
			return bad(ev, err, "g %llu already exists", (unsigned long long)ev->args[0]);
		other->state = G_RUNNABLE;
		if (unlikely(!v->told)) {
			if (v1_grow(&v->created, v->ncreated + 1, &v->cap_created, sizeof(*v->created)) < 0)
				return no_memory(err);
			v->created[v->ncreated++] = ev->args[0];
			other->pre_init = true;
			return 0;
		}
		start = v1_stk(v, (uint32_t)ev->args[1]);
		if (unlikely(start < 0))
			return no_memory(err);
		set_go(e, EV_GO_CREATE, ev->args[0], GANDER_GOTRACE_GO_NOT_EXIST, GANDER_GOTRACE_GO_RUNNABLE, 0, (uint32_t)start);
		break;
	case V1_GO_END:
	case V1_GO_STOP:
		RUNNING_HERE();
		v1_g_del(v, g);
		p->g = 0;
		if (ev->type == V1_GO_END)
			set_go(e, EV_GO_DESTROY, ev->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_NOT_EXIST, 0, 0);
		else
			set_go(e, EV_GO_BLOCK, ev->g, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_WAITING, STR_FOREVER, e->stack);
		break;
	case V1_WAITING:
	case V1_IN_SYSCALL:
		if (!g || g->state != G_RUNNABLE)
			return bad(ev, err, "g %llu is not runnable", (unsigned long long)ev->g);
		g->state = G_WAITING;
		g->net = g->pre_init = false;
		set_go(e, EV_GO_STATUS, ev->g, GANDER_GOTRACE_GO_UNDETERMINED,
		       ev->type == V1_WAITING ? GANDER_GOTRACE_GO_WAITING : GANDER_GOTRACE_GO_SYSCALL, 0, 0);
		break;
	case V1_GOMAXPROCS:
		if (!v->told) { /* the first one: from here on the trace is about what happens */
			v->told = true;
			v->created_ns = ns;
			return 0;
		}
		set_metric(e, EV_PROCS_CHANGE, GANDER_GOTRACE_METRIC_GOMAXPROCS, STR_METRIC_GOMAXPROCS, ev->args[0]);
		break;
	case V1_PROC_START:
		if (p->running)
			return bad(ev, err, "p %d is running before start", ev->p);
		p->running = p->has_m = true;
		p->m = (int64_t)ev->args[0];
		e->thread = ev->p >= 0 ? p->m : GANDER_GOTRACE_NONE;
		set_proc(e, p->seen ? EV_PROC_START : EV_PROC_STATUS, ev->p, p->seen ? GANDER_GOTRACE_PROC_IDLE : GANDER_GOTRACE_PROC_UNDETERMINED,
			 GANDER_GOTRACE_PROC_RUNNING);
		p->seen = true;
		break;
	case V1_PROC_STOP:
		if (!p->running)
			return bad(ev, err, "p %d is not running before stop", ev->p);
		if (p->g)
			return bad(ev, err, "p %d is running goroutine %llu during stop", ev->p, (unsigned long long)p->g);
		p->running = p->has_m = false;
		set_proc(e, p->seen ? EV_PROC_STOP : EV_PROC_STATUS, ev->p,
			 p->seen ? GANDER_GOTRACE_PROC_RUNNING : GANDER_GOTRACE_PROC_UNDETERMINED, GANDER_GOTRACE_PROC_IDLE);
		p->seen = true;
		break;
	case V1_GC_START:
	case V1_GC_DONE:
		if ((ev->type == V1_GC_START) == v->in_gc)
			return bad(ev, err, "%s", v->in_gc ? "the previous GC is not ended before a new one" : "bogus GC end");
		v->in_gc = !v->in_gc;
		if (v->in_gc) {
			e->proc = V1_GC_P;
			e->thread = GANDER_GOTRACE_NONE;
		}
		set_range(e, v->in_gc ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END, v->in_gc ? EV_GC_BEGIN : EV_GC_END,
			  GANDER_GOTRACE_RANGE_GC_MARK, STR_RANGE_GC_MARK, GANDER_GOTRACE_RES_NONE, 0);
		break;
	case V1_SWEEP_START:
	case V1_SWEEP_DONE:
		if ((ev->type == V1_SWEEP_START) == p->sweeping)
			return bad(ev, err, "%s", p->sweeping ? "the previous sweeping is not ended before a new one" : "bogus sweeping end");
		p->sweeping = !p->sweeping;
		set_range(e, p->sweeping ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END,
			  p->sweeping ? EV_GC_SWEEP_BEGIN : EV_GC_SWEEP_END, GANDER_GOTRACE_RANGE_SWEEP, STR_RANGE_SWEEP, GANDER_GOTRACE_RES_PROC,
			  ev->p);
		if (!p->sweeping) {
			e->range.swept_bytes = ev->args[0];
			e->range.reclaimed_bytes = ev->args[1];
		}
		break;
	case V1_ASSIST_START:
	case V1_ASSIST_DONE:
		if (ev->type == V1_ASSIST_START && g && g->assist)
			return bad(ev, err, "the previous mark assist is not ended before a new one");
		if (g)
			g->assist = ev->type == V1_ASSIST_START;
		set_range(e, ev->type == V1_ASSIST_START ? GANDER_GOTRACE_RANGE_BEGIN : GANDER_GOTRACE_RANGE_END,
			  ev->type == V1_ASSIST_START ? EV_GC_MARK_ASSIST_BEGIN : EV_GC_MARK_ASSIST_END, GANDER_GOTRACE_RANGE_MARK_ASSIST,
			  STR_RANGE_MARK_ASSIST, GANDER_GOTRACE_RES_GOROUTINE, e->goroutine);
		break;
	case V1_HEAP_ALLOC:
		set_metric(e, EV_HEAP_ALLOC, GANDER_GOTRACE_METRIC_HEAP_ALLOC, STR_METRIC_HEAP_ALLOC, ev->args[0]);
		break;
	case V1_HEAP_GOAL:
		set_metric(e, EV_HEAP_GOAL, GANDER_GOTRACE_METRIC_HEAP_GOAL, STR_METRIC_HEAP_GOAL, ev->args[0]);
		break;
	case V1_CPU_SAMPLE:
		set(e, GANDER_GOTRACE_STACK_SAMPLE, EV_CPU_SAMPLE);
		break;
	case V1_STW_START:
	case V1_STW_DONE:
		r = stw(v, ev, e, err);
		break;
	case V1_TASK_CREATE:
	case V1_TASK_END:
		r = task(v, ev, e, err);
		break;
	case V1_REGION:
		r = region(v, ev, g, e, err);
		break;
	case V1_LOG:
		r = log_message(v, ev, e, err);
		break;
	default: /* FutileWakeup says nothing */
		return 0;
	}
	if (unlikely(r < 0))
		return r;
	e->time_ns = next_ns(v, ns);
	return 1;
}

int v1_convert(struct v1 *v, struct v1_event *ev, struct gander_gotrace_event *e, struct err *err)
{
	return convert(v, ev, e, err);
}

static void sync_event(struct v1 *v, struct gander_gotrace_event *e, int64_t ns)
{
	memset(e, 0, sizeof(*e));
	e->time_ns = ns;
	e->thread = e->proc = e->goroutine = GANDER_GOTRACE_NONE;
	set(e, GANDER_GOTRACE_SYNC, EV_READER_SYNC);
	e->sync.n = ++v->syncs;
}

/* After the first Gomaxprocs: the goroutines of before the trace that have told nothing are runnable. */
static bool next_created(struct v1 *v, struct gander_gotrace_event *e)
{
	struct v1_g *g;

	while (v->created_next < v->ncreated) {
		g = idmap_get(&v->gs, v->created[v->created_next++]);
		if (!g || !g->pre_init)
			continue;
		e->time_ns = next_ns(v, v->created_ns);
		e->thread = e->proc = e->goroutine = GANDER_GOTRACE_NONE;
		e->stack = 0;
		set_go(e, EV_GO_STATUS, g->id, GANDER_GOTRACE_GO_UNDETERMINED, GANDER_GOTRACE_GO_RUNNABLE, 0, 0);
		return true;
	}
	return false;
}

int v1_next(struct gander_gotrace *t, struct gander_gotrace_event *e, struct err *err)
{
	struct v1 *v = t->v1;
	struct v1_event *ev;
	int r;

	if (v->have_extra) {
		v->have_extra = false;
		*e = v->extra;
		e->time_ns = next_ns(v, e->time_ns);
		return 1;
	}
	if (v->told && v->created_next < v->ncreated && next_created(v, e))
		return 1;
	for (;;) {
		if (v->ended)
			return 0;
		if (unlikely(v->first != NULL)) {
			ev = v->first;
			v->first = NULL;
			r = 1;
		} else {
			r = sorted_next(v, &ev, err);
		}
		if (r < 0)
			return r;
		if (unlikely(!r)) {
			v->ended = true;
			sync_event(v, e, v->last_ns + 1);
			return 1;
		}
		if (unlikely(!v->have_min)) {
			v->have_min = true;
			v->min_ts = ev->ts;
			v->first = ev;
			sync_event(v, e, -1);
			return 1;
		}
		r = convert(v, ev, e, err);
		if (r)
			return r;
		if (v->told && v->created_next < v->ncreated && next_created(v, e))
			return 1;
	}
}

/* What v1_order_done() frees is empty, or has been freed. */
int v1_order_init(struct v1 *v, struct err *err)
{
	uint32_t i;
	int r;

	v->ns_per_tick = 1e9 / (double)v->ticks_per_s;
	v->last_ns = -1;
	v->heap = calloc(v->nproc + 1, sizeof(*v->heap));
	v->wait = calloc(v->nproc + 1, sizeof(*v->wait));
	if (!v->heap || !v->wait || idmap_init(&v->gs) < 0 || idmap_init(&v->ps) < 0 || idmap_init(&v->tasks) < 0)
		return no_memory(err);
	for (i = 0; i < v->nproc; i++) {
		r = v1_proc_start(v, v->proc[i], err);
		if (r < 0)
			return r;
		if (v->proc[i]->have)
			enqueue(v, v->proc[i]);
	}
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

void v1_order_done(struct v1 *v)
{
	struct v1_gslab *slab, *next;
	size_t i;

	for (slab = v->gslab; slab; slab = next) {
		next = slab->next;
		for (i = 0; i < sizeof(slab->g) / sizeof(slab->g[0]); i++)
			free(slab->g[i].region);
		free(slab);
	}
	idmap_done(&v->gs);
	free_values(&v->ps);
	free_values(&v->tasks);
	free(v->reorder);
	free(v->heap);
	free(v->wait);
	free(v->created);
	free(v->message);
}

int v1_order_restart(struct v1 *v, struct err *err)
{
	struct v1_proc *p;
	uint32_t i;

	v1_order_done(v);
	memset((char *)v + offsetof(struct v1, merge_state), 0, sizeof(*v) - offsetof(struct v1, merge_state));
	v->sample_next = v->exit_next = 0;
	for (i = 0; i < v->nproc; i++) {
		p = v->proc[i];
		p->batch = p->first;
		p->p = p->lim = NULL;
		p->lim_off = p->batch_end = 0;
		p->g = 0;
		p->cur = 0;
		p->have = p->have_ahead = false;
	}
	return v1_order_init(v, err);
}
