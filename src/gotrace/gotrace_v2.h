/* Formats 1.22 and later. v2_read.c takes in one generation: it finds its batches and reads what is not events (strings, stacks, CPU samples, clock);
 * v2_order.c puts the events of that generation in order, holding the scheduler's state across generations. Private to src/gotrace.
 *
 * A generation's bytes stay in `buf` while its events are delivered; everything in it is referred to by offset. Tables of the generation
 * (strings, stacks, program counters) map its own ids to interned ones, filled in when an id is first used. */
#ifndef GANDER_GOTRACE_V2_H
#define GANDER_GOTRACE_V2_H

#include "gotrace/gotrace_follow.h"
#include "gotrace/gotrace_internal.h"

#define V2_PAD        64    /* zero bytes behind buf, so that wide loads need no check */
#define V2_BATCH_MAX  65536 /* the format's limits */
#define V2_STRING_MAX 1024
#define V2_FRAMES_MAX 128
#define V2_DENSE_MIN  4096        /* string and stack ids below this, and up to 4 times their number, are in an array, others in a map */
#define V2_LIVE_MAX   (32u << 20) /* goroutines, tasks, open regions: more is a bomb */
#define V2_PROC_MAX   (1u << 20)
#define V2_KNOWN_MAX  64 /* ids of the runtime's words are below this */
#define V2_NO_ID      (~(uint64_t)0)

/* What a generation's string or stack id means. */
struct v2_ref {
	uint32_t off; /* where it stands in buf; 0: no such id */
	uint32_t id;  /* interned id + 1; 0: not interned yet */
};

struct v2_refs {
	struct v2_ref *dense;
	uint32_t n, cap; /* dense ids are below n */
	uint32_t count;
	struct idmap sparse;
	struct v2_ref *extra; /* what sparse points to: index + 1 */
	uint32_t nextra, cap_extra;
};

struct v2_pc {
	uint64_t pc;
	uint32_t off;   /* of the frame's function id; 0: empty slot */
	uint32_t frame; /* interned id + 1; 0: not yet */
};

struct v2_batch {
	uint64_t time;
	uint32_t off, len; /* of the data */
	int32_t next;      /* of the same thread; -1: none */
};

struct v2_exp {
	uint8_t experiment;
	int64_t thread;
	uint32_t off, len;
};

struct v2_sample {
	int64_t m, p, g;
	uint64_t stack;
	uint32_t off;
};

struct v2_gext { /* what few goroutines have */
	struct v2_region {
		uint64_t task;
		uint32_t name;
	} * region;
	uint32_t nregion, cap_region;
	uint64_t *stw; /* kinds of open stop-the-world ranges, as string ids of the generation */
	uint32_t nstw, cap_stw;
	bool assist;
};

struct v2_g {
	uint64_t id;
	uint64_t seq, gen;
	struct v2_gext *ext;
	struct v2_g *next_free;
	struct v2_cursor *by; /* counting: whose event was the last about it, and when */
	int64_t touched;
	uint8_t status;
	bool live;
	bool awaited; /* counting: a thread waits for its state */
};

struct v2_p {
	uint64_t id;
	uint64_t seq, gen;
	struct v2_cursor *by; /* as in v2_g */
	int64_t touched;
	uint8_t status;
	bool sweeping, awaited;
};

struct v2_m {
	int64_t id;
	int64_t g, p;      /* -1: none */
	struct v2_g *gs;   /* a hint: valid if live and of id g */
	struct v2_p *ps;   /* the same for p */
	uint64_t seen;     /* counting: the generation of which the next two speak */
	int64_t at, after; /* the time of its last event; the next must be later than `after` */
};

struct v2_task {
	uint64_t parent;
	uint32_t name;
};

/* One thread's events of this generation; one more for what no thread wrote. */
struct v2_cursor {
	struct follower f;      /* while counting */
	const uint8_t *p, *end; /* in the current batch, behind the pending event */
	int64_t time;           /* of the pending event */
	uint64_t args[4];
	struct v2_m *m; /* NULL before the first event is tried */
	int64_t mid;
	int32_t batch, last; /* current and last batch */
	uint8_t type;
	uint8_t len; /* bytes of the pending event, from its type; 255: that or more */
};

#define V2_QUEUE 4

struct v2 {
	struct gander_gotrace *t;
	struct tables *tab;

	/* the generation's bytes */
	uint8_t *buf;
	size_t len, cap;   /* valid bytes; without V2_PAD */
	size_t next;       /* where the next generation begins */
	uint64_t base_off; /* of buf[0] in the input */
	bool eof;

	/* the generation */
	uint64_t gen;
	double ns_per_unit;
	uint64_t unit_ns; /* the same where it is a whole number, else 0 */
	bool has_freq, has_clock;
	uint64_t snap_time, snap_mono, snap_sec, snap_nsec;
	uint64_t min_time;
	bool have_min;
	struct v2_refs strs, stks;
	struct v2_pc *pc;
	uint32_t npc, pc_mask;
	struct v2_batch *batch;
	uint32_t nbatch, cap_batch;
	struct v2_cursor *cursor;
	uint32_t ncursor, cap_cursor;
	struct idmap thread_cursor; /* thread -> cursor index + 1, this generation */
	struct v2_exp *exp;
	uint32_t nexp, cap_exp;
	struct v2_sample *sample;
	uint32_t nsample, cap_sample;
	struct keyed *sample_order;
	uint32_t cap_sample_order, sample_next;
	uint32_t *stack_spans; /* offsets and lengths of stack batches, pairs; read when all strings are known */
	uint32_t nstack_spans, cap_stack_spans;

	/* order */
	struct keyed *heap; /* cursors by time of their pending event */
	uint32_t nheap, cap_heap;
	struct gander_gotrace_event queue[V2_QUEUE];
	unsigned nqueue, queue_next;
	int64_t last_time;
	uint32_t syncs;
	int ended; /* the input: 0 goes on, 1 ended, < 0 that error */
	struct err ended_err;
	bool ended_sync;  /* the sync before that error or end has been delivered */
	uint64_t *counts; /* in count mode */

	/* going on behind damage */
	bool salvage;
	bool gap;                     /* events of the last generation are lost: what is known of states is void */
	struct err damage;            /* the first one */
	uint32_t known[V2_KNOWN_MAX]; /* the runtime's own words have the same ids in every generation */

	/* scheduler state */
	uint64_t first_gen;
	uint64_t gc_seq;
	uint8_t gc; /* 0 undetermined, 1 off, 2 running */
	struct idmap gs, ps, ms, tasks;
	struct v2_g *free_g;
	struct v2_gslab *gslab;
	struct v2_m none; /* stands for the thread of batches without one */
	uint64_t nregions;
	char message[V2_STRING_MAX + 1]; /* of the last log event */
};

/* In salvage mode damage is remembered and 0 comes back, else the error. `lost`: with events in it. */
int v2_damage(struct v2 *v, int r, bool lost, const struct err *err);

/* Reads the next generation: 1 it is there, 0 the input has ended cleanly, < 0. May set v->ended for what comes behind it. */
int v2_read(struct v2 *v, struct err *err);

int v2_str(struct v2 *v, uint64_t id, uint32_t *ret); /* interns: 1, 0 not there, -ENOMEM */
int v2_stk(struct v2 *v, uint64_t id, uint32_t *ret);
const uint8_t *v2_str_raw(struct v2 *v, uint64_t id, uint32_t *ret_len); /* without interning; NULL: not there */

static inline struct v2_ref *v2_ref(const struct v2_refs *r, uint64_t id)
{
	if (likely(id < r->n && r->dense[id].off))
		return &r->dense[id];
	if (unlikely(r->nextra)) {
		uintptr_t i = (uintptr_t)idmap_get(&r->sparse, id);

		return i ? &r->extra[i - 1] : NULL;
	}
	return NULL;
}

static inline int64_t v2_ns(const struct v2 *v, uint64_t units)
{
	if (likely(v->unit_ns && units < (1ull << 46)))
		return (int64_t)(units * v->unit_ns);
	return gotrace_trunc_ns((double)units * v->ns_per_unit);
}

static inline uint64_t v2_off(const struct v2 *v, const uint8_t *p)
{
	return v->base_off + (uint64_t)(p - v->buf);
}

bool v2_cursor_batch(struct v2 *v, struct v2_cursor *c, bool first); /* goes on to the next batch that is not empty; false at the end */
int v2_cursor_error(struct v2 *v, struct v2_cursor *c, const uint8_t *at, struct err *err);
struct v2_m *v2_m_new(struct v2 *v, int64_t id); /* NULL: out of memory */
int v2_take(struct v2 *v, struct v2_cursor *c);  /* tries the pending event, counting: TAKEN, WAIT, < 0 */
bool v2_count_generation(struct v2 *v);          /* counts what is in the heap; false: not possible in another order than that of time */

enum { GO_RUNNABLE = 1,
       GO_RUNNING,
       GO_SYSCALL,
       GO_WAITING };
enum { PROC_RUNNING = 1,
       PROC_IDLE,
       PROC_SYSCALL,
       PROC_ABANDONED };
enum { TAKEN = 1,
       WAIT = 0,
       AGAIN = 2 }; /* what becomes of an event that is tried; < 0: the trace is broken. AGAIN: damage was passed over */

/* A varint that may be read past its end: V2_PAD bytes are behind every batch. NULL when malformed. */
static always_inline const uint8_t *get(const uint8_t *p, uint64_t *ret)
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
		return NULL;
	return p;
}

/* Decodes the cursor's next event: 1, 0 at its end, < 0. */
static always_inline int cursor_next(struct v2 *v, struct v2_cursor *c, struct err *err)
{
	const uint8_t *at, *p;
	uint64_t delta;
	unsigned n, i;

	if (unlikely(c->p == c->end) && !v2_cursor_batch(v, c, false))
		return 0;
	at = p = c->p;
	c->type = *p;
	n = wire_nargs[*p++];
	if (unlikely(!n))
		return v2_cursor_error(v, c, at, err);
	p = get(p, &delta);
	for (i = 0; i < n - 1 && likely(p != NULL); i++)
		p = get(p, &c->args[i]);
	if (unlikely(!p || p > c->end))
		return v2_cursor_error(v, c, at, err);
	c->time = (int64_t)((uint64_t)c->time + (uint64_t)v2_ns(v, delta));
	c->p = p;
	c->len = (uint8_t)(p - at);
	return 1;
}

/* The state of m's goroutine: NULL when it has none that is known. */
static always_inline struct v2_g *cur_g(struct v2 *v, struct v2_m *m)
{
	struct v2_g *g = m->gs;

	if (likely(g && g->id == (uint64_t)m->g && g->live))
		return g;
	return m->gs = idmap_get(&v->gs, (uint64_t)m->g);
}

static always_inline struct v2_p *cur_p(struct v2 *v, struct v2_m *m)
{
	struct v2_p *p = m->ps;

	if (likely(p && p->id == (uint64_t)m->p))
		return p;
	return m->ps = idmap_get(&v->ps, (uint64_t)m->p);
}

static always_inline bool p_next(const struct v2 *v, const struct v2_p *p, uint64_t seq)
{
	return p->gen == v->gen && seq == p->seq + 1;
}

static always_inline bool g_next(const struct v2 *v, const struct v2_g *g, uint64_t seq)
{
	return g->gen == v->gen && seq == g->seq + 1;
}

static always_inline bool stack_ok(struct v2 *v, uint64_t id, uint32_t *ret, const bool full)
{
	struct v2_ref *ref;

	*ret = 0;
	if (!id)
		return true;
	ref = v2_ref(&v->stks, id);
	if (unlikely(!ref))
		return v->salvage;
	if (full && !(v->t->flags & GANDER_GOTRACE_NO_STACKS)) {
		if (unlikely(!ref->id))
			return v2_stk(v, id, ret) > 0;
		*ret = ref->id - 1;
	}
	return true;
}

static always_inline bool string_ok(struct v2 *v, uint64_t id, uint32_t *ret, const bool full)
{
	struct v2_ref *ref;

	*ret = 0;
	if (!id)
		return true;
	ref = v2_ref(&v->strs, id);
	if (unlikely(!ref)) {
		*ret = v->salvage && id < V2_KNOWN_MAX ? v->known[id] : 0;
		return v->salvage;
	}
	if (full) {
		if (unlikely(!ref->id))
			return v2_str(v, id, ret) > 0;
		*ret = ref->id - 1;
	}
	return true;
}

/* Grows an array to hold at least n elements. */
int v2_grow(void *array, uint32_t n, uint32_t *cap, size_t size);

#endif
