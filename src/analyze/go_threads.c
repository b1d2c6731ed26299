/* Threads (Ms): how long each ran goroutines, sat in system calls, held a P. In v1 traces thread numbers are the runtime's own. */
#include "analyze/goanalysis.h"

#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 100000 /* a forged trace may name any number: further ones go into one line */

struct thread {
	int64_t id;
	uint64_t run_ns, syscall_ns, syscall_off_ns, p_ns, slices, syscalls, samples, ps;
	int64_t p_since; /* GO_NEVER: holds none */
};

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	struct map index;
	struct thread *t;
	uint32_t n, cap;
	struct map holder;   /* P -> thread index that took it */
	uint32_t recent[64]; /* by the lower bits of a thread's number: index + 1 */
};

static struct thread *thread_of(struct goan_ctx *c, int64_t id)
{
	uint32_t *recent = &c->recent[id & 63];
	struct thread *t;
	bool added;
	uint64_t *v;

	if (*recent && c->t[*recent - 1].id == id)
		return &c->t[*recent - 1];
	v = map_find(&c->index, (uint64_t)id);
	if (v) {
		*recent = (uint32_t)*v + 1;
		return &c->t[*v];
	}
	if (c->n >= MAX_THREADS)
		return &c->t[MAX_THREADS - 1];
	if (c->n == c->cap) {
		uint32_t cap = c->cap ? c->cap * 2 : 64;

		t = realloc(c->t, cap * sizeof(*t));
		if (!t)
			return NULL;
		c->t = t;
		c->cap = cap;
	}
	v = map_put(&c->index, (uint64_t)id, &added);
	if (!v)
		return NULL;
	*v = c->n;
	t = &c->t[c->n++];
	*t = (struct thread) { .id = id, .p_since = GO_NEVER };
	return t;
}

static void span(void *ctx, const struct gospan *sp)
{
	struct goan_ctx *c = ctx;
	uint64_t ns = (uint64_t)(sp->end_ns - sp->start_ns);
	struct thread *t = sp->thread >= 0 ? thread_of(c, sp->thread) : NULL;

	if (!t)
		return;
	if (sp->state == GANDER_GOTRACE_GO_RUNNING) {
		t->run_ns += ns;
		t->slices++;
	} else {
		t->syscall_ns += ns;
		t->syscall_off_ns += sp->off_ns;
		t->syscalls++;
	}
}

static void proc(void *ctx, const struct goproc *p, unsigned from, unsigned to, const struct gander_gotrace_event *ev)
{
	struct goan_ctx *c = ctx;
	struct thread *t;
	uint64_t *v;
	bool added;

	if (to == GANDER_GOTRACE_PROC_RUNNING && ev->thread >= 0) {
		t = thread_of(c, ev->thread);
		v = map_put(&c->holder, (uint64_t)p->id, &added);
		if (!t || !v)
			return;
		*v = (uint64_t)(t - c->t);
		t->p_since = from ? c->s->now : p->since_ns;
		t->ps++;
	} else if (from == GANDER_GOTRACE_PROC_RUNNING) {
		v = map_find(&c->holder, (uint64_t)p->id);
		if (!v)
			return;
		t = &c->t[*v];
		if (t->p_since != GO_NEVER)
			t->p_ns += (uint64_t)(c->s->now - t->p_since);
		t->p_since = GO_NEVER;
		map_del(&c->holder, (uint64_t)p->id);
	}
}

static void event(void *ctx, const struct gander_gotrace_event *ev, struct goro *g)
{
	struct goan_ctx *c = ctx;
	struct thread *t = ev->thread >= 0 ? thread_of(c, ev->thread) : NULL;

	if (t)
		t->samples++;
}

static void end(void *ctx)
{
	struct goan_ctx *c = ctx;
	uint64_t at = 0, p, i;

	while (map_next(&c->holder, &at, &p, &i))
		if (c->t[i].p_since != GO_NEVER) {
			c->t[i].p_ns += (uint64_t)(c->s->now - c->t[i].p_since);
			c->t[i].p_since = GO_NEVER;
		}
	map_done(&c->holder);
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = {
		.ctx = c,
		.spans = 1u << GANDER_GOTRACE_GO_RUNNING | 1u << GANDER_GOTRACE_GO_SYSCALL,
		.kinds = 1u << GANDER_GOTRACE_STACK_SAMPLE,
		.span = span,
		.proc = proc,
		.event = event,
		.end = end,
	};

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	*ret = c;
	return gostate_add(s, &sink);
}

static int by_run(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	if (x->run_ns != y->run_ns)
		return x->run_ns < y->run_ns ? 1 : -1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col cols[] = {
		{ "running_ns", "RUN", CELL_DURATION, 0 },
		{ "running_share", "OF TRACE", CELL_SHARE, 0 },
		{ "syscall_ns", "SYSCALL", CELL_DURATION, 0 },
		{ "syscalls", "CALLS", CELL_COUNT, 0 },
		{ "slices", "SLICES", CELL_COUNT, 0 },
		{ "held_p_ns", "HELD A P", CELL_DURATION, 0 },
		{ "took_p", "TIMES", CELL_COUNT, 0 },
		{ "samples", "SAMPLES", CELL_COUNT, 0 },
		{ "thread", "THREAD", CELL_COUNT, 0 },
		{ "syscall_without_p_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	};
	struct result_table *t = result_table(r, "threads", "Threads", cols, sizeof(cols) / sizeof(*cols));
	uint32_t i;

	goan_sort(c->t, c->n, sizeof(*c->t), by_run);
	map_done(&c->index);
	for (i = 0; i < c->n && i < c->o.top; i++) {
		const struct thread *x = &c->t[i];

		cell_u64(t, x->run_ns);
		cell_f64(t, (double)x->run_ns / (double)goan_length_ns(c->s));
		cell_u64(t, x->syscall_ns);
		cell_u64(t, x->syscalls);
		cell_u64(t, x->slices);
		cell_u64(t, x->p_ns);
		cell_u64(t, x->ps);
		cell_u64(t, x->samples);
		cell_u64(t, (uint64_t)x->id);
		cell_u64(t, x->syscall_off_ns);
	}
	if (t)
		t->more = c->n - i;
	result_after(t, "SLICES: times a goroutine ran there. SAMPLES: CPU profile samples, when the program was profiled too.");
}

static void free_ctx(struct goan_ctx *c)
{
	map_done(&c->index);
	map_done(&c->holder);
	free(c->t);
	free(c);
}

const struct goan_type goan_threads = { "threads", "what each thread did", open_ctx, report, NULL, NULL, free_ctx };
