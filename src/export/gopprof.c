/* Time in a state by stack, as a pprof profile: count and nanoseconds, the stack being that of the event with which the state began
 * (so a scheduling delay is shown where the goroutine was woken or made).
 *
 * Which stays count is what `go tool trace -pprof=` does, so that the totals agree: it takes a stay only as far as it lies after the goroutine's
 * first run. A goroutine that never ran has no first run, and then everything counts: such stays wait here for the trace's end. */
#include "analyze/stacktab.h"
#include "export/export.h"
#include "pprof/pprof.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLE_NS 10000000 /* the runtime's CPU profiler: 100 Hz */

struct pending {
	uint32_t stack, next; /* next: index + 1 */
	uint64_t ns;
};

struct gopprof {
	struct gostate *s;
	enum gopprof_kind kind;
	bool all;
	struct stacktab tab;
	struct map pending_of; /* goroutine -> index + 1 */
	struct pending *pending;
	uint32_t npending, cap;
	bool failed;
};

static void count(struct gopprof *p, uint32_t stack, uint64_t ns)
{
	struct st_ent *e = stacktab_get(&p->tab, stack, 0);

	if (!e)
		return;
	e->extra++;
	e->extra_ns += ns;
}

static void hold(struct gopprof *p, const struct gospan *sp, uint64_t ns)
{
	bool added;
	uint64_t *v = map_put(&p->pending_of, (uint64_t)sp->g->id, &added);

	if (!v) {
		p->failed = true;
		return;
	}
	if (p->npending == p->cap) {
		uint32_t cap = p->cap ? p->cap * 2 : 64;
		struct pending *n = realloc(p->pending, cap * sizeof(*n));

		if (!n) {
			p->failed = true;
			return;
		}
		p->pending = n;
		p->cap = cap;
	}
	p->pending[p->npending] = (struct pending){ sp->stack, (uint32_t)*v, ns };
	*v = ++p->npending;
}

static void span(void *ctx, const struct gospan *sp)
{
	struct gopprof *p = ctx;
	int64_t start = sp->start_ns;
	const char *reason;

	if (sp->state == GANDER_GOTRACE_GO_WAITING) {
		reason = gosyms_text(p->s->syms, sp->reason);
		if (p->kind == GOPPROF_NET ? strcmp(reason, "network") != 0 :
					     !strstr(reason, "chan") && !strstr(reason, "sync") && !strstr(reason, "select"))
			return;
	}
	if (p->all) {
		count(p, sp->stack, (uint64_t)(sp->end_ns - start));
		return;
	}
	if (sp->open_start && start < sp->g->seen_ns)
		start = sp->g->seen_ns;
	if (sp->open_end || sp->end_ns <= start)
		return;
	if (sp->g->first_run_ns != GO_NEVER)
		count(p, sp->stack, (uint64_t)(sp->end_ns - start));
	else
		hold(p, sp, (uint64_t)(sp->end_ns - start));
}

static void gone(void *ctx, struct goro *g, bool at_end)
{
	struct gopprof *p = ctx;
	uint64_t i = map_get(&p->pending_of, (uint64_t)g->id, 0);

	if (!i)
		return;
	map_del(&p->pending_of, (uint64_t)g->id);
	if (g->first_run_ns == GO_NEVER)
		for (; i; i = p->pending[i - 1].next)
			count(p, p->pending[i - 1].stack, p->pending[i - 1].ns);
}

static void event(void *ctx, const struct gander_gotrace_event *ev, struct goro *g)
{
	struct gopprof *p = ctx;

	count(p, gosym_map_stack(&p->s->map, p->s->syms, ev->stack), SAMPLE_NS);
}

int gopprof_new(struct gopprof **ret, struct gostate *s, enum gopprof_kind kind, bool all)
{
	struct gopprof *p = calloc(1, sizeof(*p));
	struct gosink sink = { .ctx = p };

	if (!p)
		return -ENOMEM;
	p->s = s;
	p->kind = kind;
	p->all = all;
	if (kind == GOPPROF_CPU) {
		sink.kinds = 1u << GANDER_GOTRACE_STACK_SAMPLE;
		sink.event = event;
	} else {
		sink.spans = 1u << (kind == GOPPROF_SCHED ? GANDER_GOTRACE_GO_RUNNABLE : kind == GOPPROF_SYSCALL ? GANDER_GOTRACE_GO_SYSCALL : GANDER_GOTRACE_GO_WAITING);
		sink.span = span;
		sink.gone = gone;
	}
	*ret = p;
	return gostate_add(s, &sink);
}

int gopprof_write(struct gopprof *p, FILE *out, struct err *err)
{
	static const char *const names[] = { "waits on channels, selects and locks", "scheduler latency", "system and cgo calls", "waits for the network", "CPU samples" };
	const struct gosyms *syms = p->s->syms;
	struct pprof *w;
	uint32_t i;
	unsigned k, n;
	int r;

	if (p->failed || p->tab.failed)
		return err_set(err, -ENOMEM, "out of memory: the profile would not be whole");
	r = pprof_open(&w, out, err);
	if (r < 0)
		return r;
	if (p->kind == GOPPROF_CPU) {
		pprof_sample_type(w, "samples", "count");
		pprof_sample_type(w, "cpu", "nanoseconds");
		pprof_period(w, "cpu", "nanoseconds", SAMPLE_NS);
	} else {
		pprof_sample_type(w, "contentions", "count");
		pprof_sample_type(w, "delay", "nanoseconds");
		pprof_period(w, "trace", "count", 1);
	}
	pprof_time(w, p->s->wall_ns, gostate_length_ns(p->s));
	pprof_comment(w, names[p->kind]);
	for (i = 0; i < p->tab.n; i++) {
		const struct st_ent *e = &p->tab.ent[i];
		int64_t v[2] = { (int64_t)e->extra, (int64_t)e->extra_ns };
		uint64_t loc[1024];

		if (!e->extra)
			continue;
		n = gosyms_depth(syms, e->stack);
		if (n > 1024)
			n = 1024;
		for (k = 0; k < n; k++) {
			struct gosym_frame f = gosyms_frame(syms, e->stack, k);

			loc[k] = pprof_location(w, f.pc, gosyms_text(syms, f.func), gosyms_text(syms, f.file), (int64_t)f.line);
		}
		pprof_sample(w, loc, n, v, NULL, 0);
	}
	r = pprof_finish(w, err);
	pprof_free(w);
	return r;
}

void gopprof_free(struct gopprof *p)
{
	if (!p)
		return;
	stacktab_done(&p->tab);
	map_done(&p->pending_of);
	free(p->pending);
	free(p);
}
