/* See gotrace_write.h.
 *
 * The reader's model and the wire format are the same but for what the order needs: numbers that count the steps of a goroutine, P or the collector
 * within a generation, the thread that a P is taken from, a P's exact status. The writer counts and remembers those itself. When only some goroutines are
 * kept, a P's status in the new trace (`out`) may differ from the real one: a system call of a goroutine that is left out does not happen there. */
#include "gotrace/gotrace_write.h"
#include "base/buf.h"
#include "base/map.h"
#include "gotrace/gotrace_internal.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_MAX    65536
#define BATCH_EVENT  64 /* no event is longer: 1 + 6 * 10 */
#define STRING_MAX   1024
#define FRAMES_MAX   128
#define NO_THREAD    (~(uint64_t)0)
#define EXACT        (1ll << 53) /* the reference multiplies base times as floating point numbers */
#define CLOCK_NS     1000000000ull
#define NO_STATUS    0
#define GO_RUNNABLE  1 /* the wire's numbers */
#define GO_RUNNING   2
#define GO_SYSCALL   3
#define GO_WAITING   4
#define PROC_RUNNING 1
#define PROC_IDLE    2
#define PROC_SYSCALL 3
#define PROC_LEFT    4 /* behind in a system call, by a thread that is gone */

struct gw_g {
	int64_t id, m;  /* m: while running or in a system call */
	uint64_t seq;   /* in the new trace's generation `told` */
	uint32_t told;  /* generation of the new trace that has its status; 0: none */
	uint32_t stack; /* the last one known of it */
	uint32_t stw;   /* the open one's name */
	uint32_t nstw;  /* how many are open */
	uint8_t status; /* 0: free */
	bool assist;
};

struct gw_p {
	int64_t id, m; /* m: who holds it, also in a system call */
	uint64_t seq;
	uint32_t told;
	uint8_t status, out;
	bool sweeping;
};

struct gw_m {
	int64_t id, g, p;
	struct buf batch;
	int64_t base, last; /* of the open batch */
};

/* An id of the source's tables in the generation that is being written. */
struct gw_ref {
	uint32_t gen, id;
};

struct gowrite {
	struct gander_gotrace *t;
	struct gowrite_opts o;
	FILE *out;
	int failed;
	bool writing, open;               /* open: a generation is */
	struct gander_gotrace_event sync; /* the last one */

	struct map gs, ps, ms; /* id -> index + 1 */
	struct gw_g *g;
	uint32_t ng, cap_g, *free_g, nfree_g, cap_free_g;
	struct gw_p *p;
	uint32_t np, cap_p;
	struct gw_m *m;
	uint32_t nm, cap_m;
	bool gc;
	bool has_heap_goal, has_procs;
	uint64_t procs, heap_goal;
	bool tell_procs, tell_goal; /* when there is a goroutine or P that can say so */

	/* the generation that is being written */
	uint32_t ngen; /* 1, 2, ... */
	uint64_t gen;  /* its number */
	int64_t begin;
	uint64_t gc_seq;
	uint32_t gc_told; /* like told */
	struct gw_ref *str, *stk;
	uint32_t cap_str, cap_stk;
	struct intern texts; /* id + 1 is the string's number */
	uint32_t *stacks;    /* the source's ids */
	uint32_t nstacks, cap_stacks;
	struct buf head, side, samples;

	bool held;                         /* a P taken from its own thread: what it is the next event tells */
	struct gander_gotrace_event taken; /* that event */
	unsigned skip;                     /* events that are parts of the one that was written last */
	int64_t last;                      /* time of the last event written */
	uint64_t events;
};

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

static int grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
	void **a = array, *p;
	uint32_t want;

	if (n <= *cap)
		return 0;
	want = *cap * 2 > n ? *cap * 2 : n + 16;
	p = realloc(*a, want * size);
	if (!p)
		return -ENOMEM;
	memset((char *)p + *cap * size, 0, (want - *cap) * size);
	*a = p;
	*cap = want;
	return 0;
}

/* ---- bytes ---- */

static void put_out(struct gowrite *w, const void *data, size_t n)
{
	errno = 0;
	if (n && fwrite(data, 1, n, w->out) != n && !w->failed)
		w->failed = errno ? -errno : -EIO;
}

static void put_batch(struct gowrite *w, uint8_t experiment, uint64_t thread, int64_t time, const void *data, size_t size)
{
	buf_clear(&w->head);
	buf_putc(&w->head, experiment ? EV_EXPERIMENTAL_BATCH : EV_EVENT_BATCH);
	if (experiment)
		buf_putc(&w->head, (char)experiment);
	varint_put(&w->head, w->gen);
	varint_put(&w->head, thread);
	varint_put(&w->head, (uint64_t)time);
	varint_put(&w->head, size);
	put_out(w, w->head.data, w->head.len);
	put_out(w, data, size);
}

static void flush(struct gowrite *w, struct gw_m *m)
{
	if (m->batch.len)
		put_batch(w, 0, (uint64_t)m->id, m->base, m->batch.data, m->batch.len);
	if (buf_failed(&m->batch))
		w->failed = -ENOMEM;
	buf_clear(&m->batch);
}

/* Above 2^53 ns (104 days of uptime) only every second nanosecond has a floating point number: the base takes one that is exact. */
static int64_t exact(int64_t time)
{
	return time >= EXACT ? time & ~1023ll : time;
}

static void put_event(struct gowrite *w, struct gw_m *m, uint8_t type, int64_t time, unsigned n, const uint64_t *args)
{
	unsigned i;

	if (m->batch.len + BATCH_EVENT > BATCH_MAX)
		flush(w, m);
	if (!m->batch.len)
		m->base = m->last = exact(time);
	buf_putc(&m->batch, (char)type);
	varint_put(&m->batch, (uint64_t)time - (uint64_t)m->last);
	for (i = 0; i < n; i++)
		varint_put(&m->batch, args[i]);
	m->last = time;
}

#define PUT(w, m, type, time, ...) \
	put_event(w, m, type, time, sizeof((uint64_t[]) { __VA_ARGS__ }) / 8, (uint64_t[]) { __VA_ARGS__ })
#define PUT0(w, m, type, time) put_event(w, m, type, time, 0, NULL)

/* ---- texts and stacks of the generation ---- */

static uint64_t text_id(struct gowrite *w, const char *s, size_t n)
{
	int64_t id;

	if (!n)
		return 0;
	id = intern_bytes(&w->texts, s, n < STRING_MAX ? n : STRING_MAX, NULL);
	if (id < 0)
		w->failed = -ENOMEM;
	return id < 0 ? 0 : (uint64_t)id + 1;
}

static uint64_t str(struct gowrite *w, uint32_t id)
{
	if (!id)
		return 0;
	if (grow(&w->str, id + 1, &w->cap_str, sizeof(*w->str)) < 0) {
		w->failed = -ENOMEM;
		return 0;
	}
	if (w->str[id].gen != w->ngen)
		w->str[id] = (struct gw_ref) { w->ngen,
					       (uint32_t)text_id(w, gander_gotrace_string(w->t, id), gander_gotrace_string_len(w->t, id)) };
	return w->str[id].id;
}

static uint64_t stk(struct gowrite *w, uint32_t id)
{
	if (!id)
		return 0;
	if (grow(&w->stk, id + 1, &w->cap_stk, sizeof(*w->stk)) < 0 || grow(&w->stacks, w->nstacks + 1, &w->cap_stacks, sizeof(*w->stacks)) < 0) {
		w->failed = -ENOMEM;
		return 0;
	}
	if (w->stk[id].gen != w->ngen) {
		w->stacks[w->nstacks++] = id;
		w->stk[id] = (struct gw_ref) { w->ngen, w->nstacks };
	}
	return w->stk[id].id;
}

static void write_stacks(struct gowrite *w)
{
	struct buf *b = &w->side;
	uint32_t i, j, n;

	buf_clear(b);
	for (i = 0; i < w->nstacks; i++) {
		const uint32_t *frames;

		n = gander_gotrace_stack(w->t, w->stacks[i], &frames);
		if (n > FRAMES_MAX)
			n = FRAMES_MAX;
		if (b->len && b->len + 24 + 40 * (size_t)n > BATCH_MAX) {
			put_batch(w, 0, NO_THREAD, exact(w->begin), b->data, b->len);
			buf_clear(b);
		}
		if (!b->len)
			buf_putc(b, EV_STACKS);
		buf_putc(b, EV_STACK);
		varint_put(b, i + 1);
		varint_put(b, n);
		for (j = 0; j < n; j++) {
			const struct gander_gotrace_frame *f = gander_gotrace_frame(w->t, frames[j]);

			varint_put(b, f->pc);
			varint_put(b, str(w, f->func));
			varint_put(b, str(w, f->file));
			varint_put(b, f->line);
		}
	}
	if (b->len)
		put_batch(w, 0, NO_THREAD, exact(w->begin), b->data, b->len);
}

static void write_strings(struct gowrite *w)
{
	struct buf *b = &w->side;
	uint32_t i;

	buf_clear(b);
	for (i = 0; i < w->texts.n; i++) {
		if (b->len && b->len + 24 + w->texts.ent[i].len > BATCH_MAX) {
			put_batch(w, 0, NO_THREAD, exact(w->begin), b->data, b->len);
			buf_clear(b);
		}
		if (!b->len)
			buf_putc(b, EV_STRINGS);
		buf_putc(b, EV_STRING);
		varint_put(b, i + 1);
		varint_put(b, w->texts.ent[i].len);
		buf_put(b, intern_text(&w->texts, i), w->texts.ent[i].len);
	}
	if (b->len)
		put_batch(w, 0, NO_THREAD, exact(w->begin), b->data, b->len);
}

static void flush_samples(struct gowrite *w)
{
	if (w->samples.len)
		put_batch(w, 0, NO_THREAD, exact(w->begin), w->samples.data, w->samples.len);
	buf_clear(&w->samples);
}

/* ---- state ---- */

static bool kept(const struct gowrite *w, int64_t g)
{
	return g != GANDER_GOTRACE_NONE && (!w->o.keep || w->o.keep(w->o.ctx, g));
}

static struct gw_g *find_g(const struct gowrite *w, int64_t id)
{
	uint64_t i = map_get(&w->gs, (uint64_t)id, 0);

	return i ? &w->g[i - 1] : NULL;
}

/* Finds or adds; NULL: out of memory. What it gives is good until the next one is added. */
static struct gw_g *get_g(struct gowrite *w, int64_t id)
{
	bool added;
	uint64_t *v = map_put(&w->gs, (uint64_t)id, &added);
	uint32_t i;

	if (!v)
		return NULL;
	if (!added)
		return &w->g[*v - 1];
	if (w->nfree_g) {
		i = w->free_g[--w->nfree_g];
	} else {
		if (grow(&w->g, w->ng + 1, &w->cap_g, sizeof(*w->g)) < 0) {
			map_del(&w->gs, (uint64_t)id);
			return NULL;
		}
		i = w->ng++;
	}
	*v = i + 1;
	w->g[i] = (struct gw_g) { .id = id, .m = GANDER_GOTRACE_NONE };
	return &w->g[i];
}

static int drop_g(struct gowrite *w, struct gw_g *g)
{
	if (grow(&w->free_g, w->nfree_g + 1, &w->cap_free_g, sizeof(*w->free_g)) < 0)
		return -ENOMEM;
	w->free_g[w->nfree_g++] = (uint32_t)(g - w->g);
	map_del(&w->gs, (uint64_t)g->id);
	g->status = NO_STATUS;
	return 0;
}

static struct gw_p *get_p(struct gowrite *w, int64_t id)
{
	bool added;
	uint64_t *v = map_put(&w->ps, (uint64_t)id, &added);

	if (!v)
		return NULL;
	if (!added)
		return &w->p[*v - 1];
	if (grow(&w->p, w->np + 1, &w->cap_p, sizeof(*w->p)) < 0) {
		map_del(&w->ps, (uint64_t)id);
		return NULL;
	}
	*v = ++w->np;
	w->p[*v - 1] = (struct gw_p) { .id = id, .m = GANDER_GOTRACE_NONE };
	return &w->p[*v - 1];
}

static struct gw_m *get_m(struct gowrite *w, int64_t id)
{
	bool added;
	uint64_t *v = map_put(&w->ms, (uint64_t)id, &added);

	if (!v)
		return NULL;
	if (!added)
		return &w->m[*v - 1];
	if (grow(&w->m, w->nm + 1, &w->cap_m, sizeof(*w->m)) < 0) {
		map_del(&w->ms, (uint64_t)id);
		return NULL;
	}
	*v = ++w->nm;
	w->m[*v - 1] = (struct gw_m) { .id = id, .g = GANDER_GOTRACE_NONE, .p = GANDER_GOTRACE_NONE };
	return &w->m[*v - 1];
}

/* ---- generations ---- */

/* The clock is read once a generation, at its begin. One that is written from its middle on has the same moment moved to where it begins. */
static void write_sync(struct gowrite *w, bool partial)
{
	const struct gander_gotrace_event *s = &w->sync;
	int64_t base = exact(w->begin), at = s->sync.has_clock ? s->sync.trace_ns : base;
	uint64_t later = 0, wall;
	struct buf *b = &w->side;

	if (partial && at < base)
		later = (uint64_t)base - (uint64_t)at;
	else if (at < base)
		base = exact(at);
	wall = s->sync.wall_nsec + later;
	buf_clear(b);
	if (w->t->version >= 25)
		buf_putc(b, EV_SYNC);
	buf_putc(b, EV_FREQUENCY);
	varint_put(b, CLOCK_NS);
	if (w->t->version >= 25) {
		buf_putc(b, EV_CLOCK_SNAPSHOT);
		varint_put(b, (uint64_t)at + later - (uint64_t)base);
		varint_put(b, (s->sync.has_clock ? s->sync.mono_ns : (uint64_t)at) + later);
		varint_put(b, (uint64_t)s->sync.wall_sec + wall / CLOCK_NS);
		varint_put(b, wall % CLOCK_NS);
	}
	put_batch(w, 0, NO_THREAD, base, b->data, b->len);
}

static void write_experiments(struct gowrite *w)
{
	struct gander_gotrace_exp_batch b;
	uint32_t i;

	for (i = 0; i < w->sync.sync.exp_batches && !gander_gotrace_exp_batch(w->t, i, &b); i++)
		put_batch(w, b.experiment, (uint64_t)b.thread, exact(w->begin), b.data, b.size);
}

static void open_generation(struct gowrite *w, int64_t time, bool partial)
{
	w->ngen++;
	w->gen = w->gen ? w->gen + 1 : w->t->generation ? w->t->generation
							: 1;
	w->begin = time;
	w->open = true;
	write_sync(w, partial);
	write_experiments(w);
}

static void close_generation(struct gowrite *w)
{
	uint32_t i;

	if (!w->open)
		return;
	for (i = 0; i < w->nm; i++)
		flush(w, &w->m[i]);
	flush_samples(w);
	write_stacks(w); /* names its strings */
	write_strings(w);
	if (w->t->version >= 26)
		put_out(w, &(char) { EV_END_OF_GENERATION }, 1);
	intern_done(&w->texts);
	memset(&w->texts, 0, sizeof(w->texts));
	w->nstacks = 0;
	w->open = false;
}

static int check(struct gowrite *w, struct err *err)
{
	if (buf_failed(&w->head) || buf_failed(&w->side) || buf_failed(&w->samples))
		w->failed = -ENOMEM;
	if (w->failed == -ENOMEM)
		return no_memory(err);
	if (w->failed) {
		errno = -w->failed;
		return err_set(err, w->failed, "cannot write the trace: %m");
	}
	return 0;
}

/* ---- the states at the begin ---- */

static void tell_p(struct gowrite *w, struct gw_m *m, struct gw_p *p, int64_t time)
{
	PUT(w, m, EV_PROC_STATUS, time, (uint64_t)p->id, p->out);
	p->told = w->ngen;
	p->seq = 0;
}

static void tell_g(struct gowrite *w, struct gw_m *m, struct gw_g *g, int64_t time)
{
	if (g->stack && w->t->version >= 23)
		PUT(w, m, EV_GO_STATUS_STACK, time, (uint64_t)g->id, (uint64_t)g->m, g->status, stk(w, g->stack));
	else
		PUT(w, m, EV_GO_STATUS, time, (uint64_t)g->id, (uint64_t)g->m, g->status);
	g->told = w->ngen;
	g->seq = 0;
}

/* "stop-the-world (GC mark termination)" -> "GC mark termination" */
static uint64_t stw_kind(struct gowrite *w, uint32_t name)
{
	const char *s = gander_gotrace_string(w->t, name);
	size_t n = gander_gotrace_string_len(w->t, name);

	return n > 17 ? text_id(w, s + 16, n - 17) : 0;
}

/* What is known when writing begins, each thing at a time of its own, the last one before `time`. */
static int tell_states(struct gowrite *w, int64_t time, struct err *err)
{
	uint64_t n = 2 * (uint64_t)w->np + 2;
	struct gw_m *none;
	struct gw_g *g;
	uint32_t i;

	if (!get_m(w, GANDER_GOTRACE_NONE))
		return no_memory(err);
	for (i = 0; i < w->ng; i++)
		n += w->g[i].status ? 1 + w->g[i].assist + (w->g[i].nstw != 0) : 0;
	time = time >= 0 && (uint64_t)time > n + 1 ? time - (int64_t)n : 1;
	open_generation(w, time - 1, true);
	none = get_m(w, GANDER_GOTRACE_NONE);
	for (i = 0; i < w->np; i++) {
		struct gw_p *p = &w->p[i];
		struct gw_m *m = p->m != GANDER_GOTRACE_NONE ? get_m(w, p->m) : none;

		if (m->p != p->id)
			m = none;
		p->out = p->status;
		g = m->g != GANDER_GOTRACE_NONE ? find_g(w, m->g) : NULL;
		if (p->out == PROC_SYSCALL && !(g && g->status == GO_SYSCALL && kept(w, g->id)))
			p->out = PROC_RUNNING;
		tell_p(w, m, p, time++);
		if (p->sweeping)
			PUT(w, m, EV_GC_SWEEP_ACTIVE, time++, (uint64_t)p->id);
	}
	for (i = 0; i < w->ng; i++) {
		struct gw_m *m = none;

		g = &w->g[i];
		if (!g->status || !kept(w, g->id)) {
			g->nstw = 0;
			continue;
		}
		if (g->m != GANDER_GOTRACE_NONE)
			m = get_m(w, g->m);
		tell_g(w, m, g, time++);
		if (g->assist)
			PUT(w, m, EV_GC_MARK_ASSIST_ACTIVE, time++, (uint64_t)g->id);
		if (!g->nstw || m->g != g->id || m->p == GANDER_GOTRACE_NONE) {
			g->nstw = 0;
			continue;
		}
		PUT(w, m, EV_STW_BEGIN, time++, stw_kind(w, g->stw), 0);
		g->nstw = 1;
	}
	if (w->gc && !w->o.keep) {
		PUT(w, none, EV_GC_ACTIVE, time, ++w->gc_seq);
		w->gc_told = w->ngen;
	}
	w->tell_procs = w->has_procs;
	w->tell_goal = w->has_heap_goal;
	return 0;
}

/* ---- events ---- */

static int status_of(uint8_t state)
{
	return state == GANDER_GOTRACE_GO_RUNNABLE ? GO_RUNNABLE : state == GANDER_GOTRACE_GO_RUNNING ? GO_RUNNING
							   : state == GANDER_GOTRACE_GO_SYSCALL       ? GO_SYSCALL
							   : state == GANDER_GOTRACE_GO_WAITING       ? GO_WAITING
												      : NO_STATUS;
}

static int proc_event(struct gowrite *w, const struct gander_gotrace_event *e, struct gw_m *m, bool on, struct err *err)
{
	struct gw_p *p = get_p(w, e->transition.id);
	struct gw_m *holder;

	if (!p)
		return no_memory(err);
	holder = p->m != GANDER_GOTRACE_NONE ? get_m(w, p->m) : NULL;
	switch (e->wire) {
	case EV_PROC_START:
		p->status = p->out = PROC_RUNNING;
		if (on)
			PUT(w, m, EV_PROC_START, e->time_ns, (uint64_t)p->id, ++p->seq);
		m->p = p->id;
		p->m = m->id;
		break;
	case EV_PROC_STOP:
		p->status = p->out = PROC_IDLE;
		if (on)
			PUT0(w, m, EV_PROC_STOP, e->time_ns);
		m->p = p->m = GANDER_GOTRACE_NONE;
		break;
	case EV_PROC_STEAL:
		if (on && (p->out == PROC_SYSCALL || p->out == PROC_LEFT))
			PUT(w, m, EV_PROC_STEAL, e->time_ns, (uint64_t)p->id, ++p->seq, holder ? (uint64_t)holder->id : 0);
		else if (on && p->out == PROC_RUNNING && holder)
			PUT0(w, holder, EV_PROC_STOP, e->time_ns);
		p->status = p->out = PROC_IDLE;
		if (holder)
			holder->p = GANDER_GOTRACE_NONE;
		p->m = GANDER_GOTRACE_NONE;
		break;
	default: /* a status */
		if (!p->status)
			p->status = p->out = e->transition.status;
		if ((e->transition.status == PROC_RUNNING || e->transition.status == PROC_SYSCALL) && m->id != GANDER_GOTRACE_NONE) {
			m->p = p->id;
			p->m = m->id;
		}
		if (!on || p->told == w->ngen)
			break;
		if (e->transition.status != PROC_LEFT || p->status != PROC_SYSCALL) {
			tell_p(w, m, p, e->time_ns);
		} else if (p->out != PROC_SYSCALL && holder) {
			tell_p(w, holder, p, e->time_ns);
		} else { /* the thread that leaves it behind does not say so itself */
			m = get_m(w, GANDER_GOTRACE_NONE);
			if (!m)
				return no_memory(err);
			PUT(w, m, EV_PROC_STATUS, e->time_ns, (uint64_t)p->id, PROC_LEFT);
			p->told = w->ngen;
			p->seq = 0;
		}
	}
	return 0;
}

/* A goroutine that ends in a system call takes its thread along; its P is left behind. */
static void end_in_syscall(struct gowrite *w, struct gw_m *m, int64_t time, bool on, bool kept_g)
{
	struct gw_p *p = m->p != GANDER_GOTRACE_NONE ? get_p(w, m->p) : NULL;

	if (on && kept_g)
		PUT0(w, m, EV_GO_DESTROY_SYSCALL, time);
	else if (on && p)
		PUT0(w, m, EV_PROC_STOP, time);
	if (p) {
		p->status = PROC_LEFT;
		p->out = kept_g || !on ? PROC_LEFT : PROC_IDLE;
		p->m = GANDER_GOTRACE_NONE;
	}
	m->p = GANDER_GOTRACE_NONE;
}

/* One goroutine hands over to another: the event tells of three transitions, of which this is the first. */
static void go_switch(struct gowrite *w, const struct gander_gotrace_event *e, struct gw_m *m, struct gw_g *next, bool on_next)
{
	bool on_this = kept(w, m->g);

	if (on_next && on_this) {
		PUT(w, m, e->wire, e->time_ns, (uint64_t)next->id, ++next->seq);
		w->skip = 2;
	} else if (on_next) {
		PUT(w, m, EV_GO_UNBLOCK, e->time_ns, (uint64_t)next->id, ++next->seq, 0);
	}
}

static int go_event(struct gowrite *w, const struct gander_gotrace_event *e, struct gw_m *m, bool writing, struct err *err)
{
	bool on = writing && kept(w, e->transition.id);
	uint8_t status = (uint8_t)status_of(e->transition.to);
	struct gw_g *g = get_g(w, e->transition.id);
	struct gw_p *p;
	struct gw_m *at;

	if (!g)
		return no_memory(err);
	g->status = status;
	if (e->transition.stack)
		g->stack = e->transition.stack;
	p = m->p != GANDER_GOTRACE_NONE ? get_p(w, m->p) : NULL;
	switch (e->wire) {
	case EV_GO_CREATE:
	case EV_GO_CREATE_BLOCKED:
		if (on)
			PUT(w, m, e->wire, e->time_ns, (uint64_t)g->id, stk(w, e->transition.stack), stk(w, e->stack));
		g->told = w->ngen;
		g->seq = 0;
		break;
	case EV_GO_CREATE_SYSCALL:
		if (on)
			PUT(w, m, e->wire, e->time_ns, (uint64_t)g->id);
		g->told = w->ngen;
		g->seq = 0;
		m->g = g->id;
		break;
	case EV_GO_START:
		if (on)
			PUT(w, m, EV_GO_START, e->time_ns, (uint64_t)g->id, ++g->seq);
		m->g = g->id;
		break;
	case EV_GO_STOP:
	case EV_GO_BLOCK:
		if (on)
			PUT(w, m, e->wire, e->time_ns, str(w, e->transition.reason), stk(w, e->stack));
		m->g = GANDER_GOTRACE_NONE;
		break;
	case EV_GO_UNBLOCK:
		if (on)
			PUT(w, m, EV_GO_UNBLOCK, e->time_ns, (uint64_t)g->id, ++g->seq, stk(w, e->stack));
		break;
	case EV_GO_SWITCH:
	case EV_GO_SWITCH_DESTROY:
		if (writing)
			go_switch(w, e, m, g, on);
		break;
	case EV_GO_SYSCALL_BEGIN:
		if (on && p) {
			PUT(w, m, EV_GO_SYSCALL_BEGIN, e->time_ns, ++p->seq, stk(w, e->stack));
			p->out = PROC_SYSCALL;
		}
		if (p)
			p->status = PROC_SYSCALL;
		break;
	case EV_GO_SYSCALL_END:
		if (on)
			PUT0(w, m, EV_GO_SYSCALL_END, e->time_ns);
		if (p)
			p->status = p->out = PROC_RUNNING;
		break;
	case EV_GO_SYSCALL_END_BLOCKED:
		if (on)
			PUT0(w, m, EV_GO_SYSCALL_END_BLOCKED, e->time_ns);
		m->g = GANDER_GOTRACE_NONE;
		break;
	case EV_GO_DESTROY:
		if (on)
			PUT0(w, m, EV_GO_DESTROY, e->time_ns);
		m->g = GANDER_GOTRACE_NONE;
		break;
	case EV_GO_DESTROY_SYSCALL:
		end_in_syscall(w, m, w->held ? w->taken.time_ns : e->time_ns, writing, on);
		m->g = GANDER_GOTRACE_NONE;
		break;
	default: /* a status: a thread in a long system call is told of by another one, whose P the event has */
		if ((status == GO_RUNNING || status == GO_SYSCALL) && m->id != GANDER_GOTRACE_NONE)
			m->g = g->id;
		if (on && g->told != w->ngen) {
			at = m;
			if (status == GO_SYSCALL && e->proc != m->p && e->proc != GANDER_GOTRACE_NONE) {
				p = get_p(w, e->proc);
				at = p && p->m != GANDER_GOTRACE_NONE ? get_m(w, p->m) : m;
			}
			g->m = status == GO_RUNNING || status == GO_SYSCALL ? m->id : GANDER_GOTRACE_NONE;
			if (!at)
				return no_memory(err);
			if (e->wire == EV_GO_STATUS_STACK)
				PUT(w, at, EV_GO_STATUS_STACK, e->time_ns, (uint64_t)g->id, (uint64_t)g->m, status, stk(w, e->transition.stack));
			else
				PUT(w, at, EV_GO_STATUS, e->time_ns, (uint64_t)g->id, (uint64_t)g->m, status);
			g->told = w->ngen;
			g->seq = 0;
		}
	}
	g->m = status == GO_RUNNING || status == GO_SYSCALL ? m->id : GANDER_GOTRACE_NONE;
	if (status == NO_STATUS && drop_g(w, g) < 0)
		return no_memory(err);
	return 0;
}

/* A range that was open at the begin has been told of; its own generation's word for it comes later. */
static int range_event(struct gowrite *w, const struct gander_gotrace_event *e, struct gw_m *m, bool writing, struct err *err)
{
	struct gw_g *g = NULL;
	struct gw_p *p = NULL;
	bool on = writing;

	if (e->wire == EV_GC_SWEEP_ACTIVE || e->wire == EV_GC_SWEEP_BEGIN || e->wire == EV_GC_SWEEP_END) {
		p = get_p(w, e->range.scope_id);
		if (!p)
			return no_memory(err);
	} else if (e->wire != EV_GC_ACTIVE && e->wire != EV_GC_BEGIN && e->wire != EV_GC_END) {
		g = find_g(w, e->range.scope_id);
		if (!g)
			return 0;
		on = on && kept(w, g->id);
	} else {
		on = on && !w->o.keep; /* they need a goroutine to happen on */
	}
	switch (e->wire) {
	case EV_GC_ACTIVE:
		if (on && w->gc_told != w->ngen)
			PUT(w, m, EV_GC_ACTIVE, e->time_ns, ++w->gc_seq);
		w->gc = true;
		break;
	case EV_GC_BEGIN:
		if (on)
			PUT(w, m, EV_GC_BEGIN, e->time_ns, ++w->gc_seq, stk(w, e->stack));
		w->gc = true;
		break;
	case EV_GC_END:
		if (on)
			PUT(w, m, EV_GC_END, e->time_ns, ++w->gc_seq);
		w->gc = false;
		break;
	case EV_GC_SWEEP_ACTIVE:
		if (on && !(w->ngen == 1 && p->sweeping))
			PUT(w, m, EV_GC_SWEEP_ACTIVE, e->time_ns, (uint64_t)p->id);
		p->sweeping = true;
		break;
	case EV_GC_SWEEP_BEGIN:
		if (on)
			PUT(w, m, EV_GC_SWEEP_BEGIN, e->time_ns, stk(w, e->stack));
		p->sweeping = true;
		break;
	case EV_GC_SWEEP_END:
		if (on)
			PUT(w, m, EV_GC_SWEEP_END, e->time_ns, e->range.swept_bytes, e->range.reclaimed_bytes);
		p->sweeping = false;
		break;
	case EV_GC_MARK_ASSIST_ACTIVE:
		if (on && !(w->ngen == 1 && g->assist))
			PUT(w, m, EV_GC_MARK_ASSIST_ACTIVE, e->time_ns, (uint64_t)g->id);
		g->assist = true;
		break;
	case EV_GC_MARK_ASSIST_BEGIN:
		if (on)
			PUT(w, m, EV_GC_MARK_ASSIST_BEGIN, e->time_ns, stk(w, e->stack));
		g->assist = true;
		break;
	case EV_GC_MARK_ASSIST_END:
		if (on)
			PUT0(w, m, EV_GC_MARK_ASSIST_END, e->time_ns);
		g->assist = false;
		break;
	case EV_STW_BEGIN:
		if (on)
			PUT(w, m, EV_STW_BEGIN, e->time_ns, stw_kind(w, e->range.name), stk(w, e->stack));
		g->stw = e->range.name;
		g->nstw++;
		break;
	default: /* of a stop-the-world */
		if (on && g->nstw)
			PUT0(w, m, EV_STW_END, e->time_ns);
		g->nstw -= g->nstw != 0;
	}
	return 0;
}

static void metric_event(struct gowrite *w, const struct gander_gotrace_event *e, struct gw_m *m, bool on)
{
	switch (e->wire) {
	case EV_PROCS_CHANGE:
		w->procs = e->metric.value;
		w->has_procs = true;
		w->tell_procs = on && !kept(w, m->g);
		if (on && !w->tell_procs)
			PUT(w, m, EV_PROCS_CHANGE, e->time_ns, w->procs, stk(w, e->stack));
		break;
	case EV_HEAP_GOAL:
		w->heap_goal = e->metric.value;
		w->has_heap_goal = true;
		if (on)
			w->tell_goal = false;
		/* fall through */
	default:
		if (on)
			PUT(w, m, e->wire, e->time_ns, e->metric.value);
	}
}

static void sample_event(struct gowrite *w, const struct gander_gotrace_event *e)
{
	struct buf *b = &w->samples;

	if (w->o.keep && !kept(w, e->goroutine))
		return;
	if (b->len + BATCH_EVENT > BATCH_MAX)
		flush_samples(w);
	if (!b->len)
		buf_putc(b, EV_CPU_SAMPLES);
	buf_putc(b, EV_CPU_SAMPLE);
	varint_put(b, (uint64_t)e->time_ns);
	varint_put(b, (uint64_t)e->thread);
	varint_put(b, (uint64_t)e->proc);
	varint_put(b, e->goroutine == GANDER_GOTRACE_NONE ? 0 : (uint64_t)e->goroutine);
	varint_put(b, stk(w, e->stack));
}

/* What a goroutine says of itself. */
static void user_event(struct gowrite *w, const struct gander_gotrace_event *e, struct gw_m *m)
{
	switch (e->wire) {
	case EV_GO_LABEL:
		PUT(w, m, EV_GO_LABEL, e->time_ns, str(w, e->label.label));
		break;
	case EV_USER_TASK_BEGIN:
		PUT(w, m, EV_USER_TASK_BEGIN, e->time_ns, e->task.id, e->task.parent == GANDER_GOTRACE_NO_TASK ? 0 : e->task.parent, str(w, e->task.type),
		    stk(w, e->stack));
		break;
	case EV_USER_TASK_END:
		PUT(w, m, EV_USER_TASK_END, e->time_ns, e->task.id, stk(w, e->stack));
		break;
	case EV_USER_REGION_BEGIN:
	case EV_USER_REGION_END:
		PUT(w, m, e->wire, e->time_ns, e->region.task, str(w, e->region.type), stk(w, e->stack));
		break;
	case EV_USER_LOG:
		PUT(w, m, EV_USER_LOG, e->time_ns, e->log.task, str(w, e->log.category), text_id(w, e->log.message, e->log.message_len),
		    stk(w, e->stack));
		break;
	default:
		put_event(w, m, e->wire, e->time_ns, e->exp.nargs, e->exp.args);
	}
}

/* What the trace says at its begin of the program as a whole, once somebody is there to say it and there is a nanosecond for it. */
static void tell_metrics(struct gowrite *w, struct gw_m *m, int64_t time)
{
	if (w->tell_procs && m->p != GANDER_GOTRACE_NONE && kept(w, m->g) && time - w->last > 1) {
		PUT(w, m, EV_PROCS_CHANGE, ++w->last, w->procs, 0);
		w->tell_procs = false;
	}
	if (w->tell_goal && m->p != GANDER_GOTRACE_NONE && time - w->last > 1) {
		PUT(w, m, EV_HEAP_GOAL, ++w->last, w->heap_goal);
		w->tell_goal = false;
	}
}

static int one_event(struct gowrite *w, const struct gander_gotrace_event *e, bool writing, struct err *err)
{
	struct gw_m *m = get_m(w, e->thread);

	if (!m)
		return no_memory(err);
	if (writing) {
		if (w->tell_procs || w->tell_goal)
			tell_metrics(w, m, e->time_ns);
		w->last = e->time_ns;
	}
	switch (e->kind) {
	case GANDER_GOTRACE_STATE_TRANSITION:
		return e->transition.resource == GANDER_GOTRACE_RES_PROC ? proc_event(w, e, m, writing, err) : go_event(w, e, m, writing, err);
	case GANDER_GOTRACE_RANGE_BEGIN:
	case GANDER_GOTRACE_RANGE_ACTIVE:
	case GANDER_GOTRACE_RANGE_END:
		return range_event(w, e, m, writing, err);
	case GANDER_GOTRACE_METRIC:
		metric_event(w, e, m, writing);
		return 0;
	case GANDER_GOTRACE_STACK_SAMPLE:
		if (writing)
			sample_event(w, e);
		return 0;
	default:
		if (writing && (kept(w, m->g) || (e->kind == GANDER_GOTRACE_EXPERIMENTAL && !w->o.keep)))
			user_event(w, e, m);
		return 0;
	}
}

/* Whether the event may be the first half of a goroutine's end in a system call, which the next event tells. */
static bool may_be_end(const struct gowrite *w, const struct gander_gotrace_event *e)
{
	uint64_t i = map_get(&w->ms, (uint64_t)e->thread, 0);

	return e->kind == GANDER_GOTRACE_STATE_TRANSITION && e->wire == EV_PROC_STEAL && i && w->m[i - 1].p == e->transition.id &&
	       w->m[i - 1].g != GANDER_GOTRACE_NONE;
}

static int release(struct gowrite *w, struct err *err)
{
	if (!w->held)
		return 0;
	w->held = false;
	return one_event(w, &w->taken, w->writing, err);
}

int gowrite_event(struct gowrite *w, const struct gander_gotrace_event *e, struct err *err)
{
	bool writing = w->writing && !w->skip;
	int r;

	w->skip -= w->skip != 0;
	if (w->held && (e->wire != EV_GO_DESTROY_SYSCALL || e->thread != w->taken.thread)) {
		r = release(w, err);
		if (r < 0)
			return r;
	}
	if (e->kind == GANDER_GOTRACE_SYNC) {
		close_generation(w);
		w->sync = *e;
		w->last = e->time_ns;
		return check(w, err);
	}
	if (w->writing)
		w->events++;
	if (w->writing && !writing)
		w->last = e->time_ns; /* told with the one before, at a time of its own: nothing else can be told at it */
	if (writing && !w->open)
		open_generation(w, w->sync.time_ns, false);
	if (may_be_end(w, e)) {
		w->taken = *e;
		w->held = true;
		return 0;
	}
	r = one_event(w, e, writing, err);
	w->held = false;
	return r < 0 ? r : check(w, err);
}

int gowrite_begin(struct gowrite *w, int64_t time_ns, struct err *err)
{
	char head[17];
	int r;

	r = release(w, err);
	if (r < 0)
		return r;
	memset(head, 0, sizeof(head));
	snprintf(head, sizeof(head), "go 1.%u trace", w->t->version);
	put_out(w, head, 16);
	w->writing = true;
	if (w->ng || w->np) {
		r = tell_states(w, time_ns, err);
		if (r < 0)
			return r;
	}
	w->last = time_ns;
	return check(w, err);
}

int gowrite_end(struct gowrite *w, struct err *err)
{
	int r = release(w, err);

	if (r < 0)
		return r;
	close_generation(w);
	errno = 0;
	if (fflush(w->out) && !w->failed)
		w->failed = errno ? -errno : -EIO;
	w->writing = false;
	return check(w, err);
}

uint64_t gowrite_events(const struct gowrite *w)
{
	return w->events;
}

int gowrite_new(struct gowrite **ret, struct gander_gotrace *t, FILE *out, const struct gowrite_opts *o, struct err *err)
{
	struct gowrite *w;

	if (!t->v2)
		return err_set(err, -ENOTSUP, "events of a trace of version 1.%u are not written again", t->version);
	w = calloc(1, sizeof(*w));
	if (!w)
		return no_memory(err);
	w->t = t;
	w->out = out;
	if (o)
		w->o = *o;
	w->sync.time_ns = 1;
	if (!get_m(w, GANDER_GOTRACE_NONE)) {
		gowrite_free(w);
		return no_memory(err);
	}
	*ret = w;
	return 0;
}

void gowrite_free(struct gowrite *w)
{
	uint32_t i;

	if (!w)
		return;
	for (i = 0; i < w->nm; i++)
		buf_done(&w->m[i].batch);
	map_done(&w->gs);
	map_done(&w->ps);
	map_done(&w->ms);
	intern_done(&w->texts);
	buf_done(&w->head);
	buf_done(&w->side);
	buf_done(&w->samples);
	free(w->g);
	free(w->free_g);
	free(w->p);
	free(w->m);
	free(w->str);
	free(w->stk);
	free(w->stacks);
	free(w);
}
