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

/* What the tool's way of counting needs to know of a goroutine, without all that gostate tracks: half of the time of the export. */
struct light {
	int64_t id, since_ns; /* since: GO_NEVER: not in the state */
	uint32_t stack;       /* of the reader */
	bool ran;
};

#define RECENT 256

struct gopprof {
	struct gostate *s;
	enum gopprof_kind kind;
	bool all;
	struct stacktab tab;
	struct map pending_of; /* goroutine -> index + 1 */
	struct pending *pending;
	uint32_t npending, cap;
	uint8_t *wanted; /* by the reader's string id: 0 not yet asked, 1 no, 2 yes */
	uint32_t nwanted;
	struct map goros; /* id -> struct light * */
	struct light *recent[RECENT];
	unsigned state;
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

static void hold(struct gopprof *p, int64_t g, uint32_t stack, uint64_t ns)
{
	bool added;
	uint64_t *v = map_put(&p->pending_of, (uint64_t)g, &added);

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
	p->pending[p->npending] = (struct pending) { stack, (uint32_t)*v, ns };
	*v = ++p->npending;
}

static bool is_reason(const struct gopprof *p, const char *reason)
{
	if (p->kind == GOPPROF_NET)
		return !strcmp(reason, "network");
	return p->kind != GOPPROF_BLOCKED || strstr(reason, "chan") || strstr(reason, "sync") || strstr(reason, "select");
}

/* With `all`: every stay, from the tracked states. */
static void span(void *ctx, const struct gospan *sp)
{
	struct gopprof *p = ctx;

	if (is_reason(p, gosyms_text(p->s->syms, sp->state == GANDER_GOTRACE_GO_WAITING ? sp->reason : 0)))
		count(p, sp->stack, (uint64_t)(sp->end_ns - sp->start_ns));
}

static void settle(struct gopprof *p, int64_t id, bool ran)
{
	uint64_t i = map_get(&p->pending_of, (uint64_t)id, 0);

	if (!i)
		return;
	map_del(&p->pending_of, (uint64_t)id);
	for (; i && !ran; i = p->pending[i - 1].next)
		count(p, p->pending[i - 1].stack, p->pending[i - 1].ns);
}

static bool wants(struct gopprof *p, uint32_t reason)
{
	if (p->kind != GOPPROF_BLOCKED && p->kind != GOPPROF_NET)
		return true;
	if (reason >= p->nwanted) {
		uint32_t n = (reason + 64) * 2;
		uint8_t *w = realloc(p->wanted, n);

		if (!w) {
			p->failed = true;
			return false;
		}
		memset(w + p->nwanted, 0, n - p->nwanted);
		p->wanted = w;
		p->nwanted = n;
	}
	if (!p->wanted[reason])
		p->wanted[reason] = 1 + is_reason(p, gander_gotrace_string(p->s->map.reader, reason));
	return p->wanted[reason] == 2;
}

static struct light *light_of(struct gopprof *p, int64_t id)
{
	struct light **recent = &p->recent[(uint64_t)id % RECENT];
	uint64_t *v;
	bool added;

	if (*recent && (*recent)->id == id)
		return *recent;
	v = map_put(&p->goros, (uint64_t)id, &added);
	if (v && added) {
		struct light *g = malloc(sizeof(*g));

		if (!g) {
			map_del(&p->goros, (uint64_t)id);
			v = NULL;
		} else {
			*g = (struct light) { id, GO_NEVER, 0, false };
			*v = (uint64_t)(uintptr_t)g;
		}
	}
	if (!v) {
		p->failed = true;
		return NULL;
	}
	*recent = (struct light *)(uintptr_t)*v;
	return *recent;
}

static void transition(void *ctx, const struct gander_gotrace_event *ev, struct goro *none)
{
	struct gopprof *p = ctx;
	unsigned to = ev->transition.to;
	struct light *g;

	if (ev->transition.resource != GANDER_GOTRACE_RES_GOROUTINE)
		return;
	g = light_of(p, ev->transition.id);
	if (!g)
		return;
	if (g->since_ns == GO_NEVER) {
		if (to == p->state && wants(p, ev->transition.reason)) {
			g->since_ns = ev->time_ns;
			g->stack = ev->stack;
		}
	} else if (to != p->state) {
		uint64_t ns = (uint64_t)(ev->time_ns - g->since_ns);
		uint32_t stack = gosym_map_stack(&p->s->map, p->s->syms, g->stack);

		g->since_ns = GO_NEVER;
		if (ns && g->ran)
			count(p, stack, ns);
		else if (ns && to != GANDER_GOTRACE_GO_RUNNING)
			hold(p, g->id, stack, ns);
	}
	if (to == GANDER_GOTRACE_GO_RUNNING && !g->ran) {
		g->ran = true;
		settle(p, g->id, true);
	} else if (to == GANDER_GOTRACE_GO_NOT_EXIST) {
		settle(p, g->id, g->ran);
		map_del(&p->goros, (uint64_t)g->id);
		p->recent[(uint64_t)g->id % RECENT] = NULL;
		free(g);
	}
}

static void end(void *ctx)
{
	struct gopprof *p = ctx;
	uint64_t at = 0, id, v;

	while (map_next(&p->goros, &at, &id, &v)) {
		settle(p, (int64_t)id, ((struct light *)(uintptr_t)v)->ran);
		free((void *)(uintptr_t)v);
	}
	map_done(&p->goros);
	memset(p->recent, 0, sizeof(p->recent));
	/* string ids are the reader's: the next trace has its own */
	free(p->wanted);
	p->wanted = NULL;
	p->nwanted = 0;
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
	p->state = kind == GOPPROF_SCHED ? GANDER_GOTRACE_GO_RUNNABLE : kind == GOPPROF_SYSCALL ? GANDER_GOTRACE_GO_SYSCALL
												: GANDER_GOTRACE_GO_WAITING;
	if (kind == GOPPROF_CPU) {
		sink.kinds = 1u << GANDER_GOTRACE_STACK_SAMPLE;
		sink.event = event;
	} else if (all) {
		sink.spans = 1u << p->state;
		sink.span = span;
	} else {
		sink.kinds = 1u << GANDER_GOTRACE_STATE_TRANSITION;
		sink.event = transition;
		sink.end = end;
	}
	*ret = p;
	return gostate_add(s, &sink);
}

int gopprof_write(struct gopprof *p, FILE *out, struct err *err)
{
	static const char *const names[] = { "waits on channels, selects and locks", "scheduler latency", "system and cgo calls", "waits for the network", "CPU samples" };
	const struct gosyms *syms = p->s->syms;
	int64_t bare[2] = { 0, 0 };
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
		while (n && !gosyms_frame(syms, e->stack, n - 1).pc)
			n--;
		if (!n) { /* no stack, and one of which the runtime wrote only a 0: one and the same */
			bare[0] += v[0];
			bare[1] += v[1];
			continue;
		}
		for (k = 0; k < n; k++) {
			struct gosym_frame f = gosyms_frame(syms, e->stack, k);

			loc[k] = pprof_location(w, f.pc, gosyms_text(syms, f.func), gosyms_text(syms, f.file), (int64_t)f.line);
		}
		pprof_sample(w, loc, n, v, NULL, 0);
	}
	if (bare[0])
		pprof_sample(w, NULL, 0, bare, NULL, 0);
	r = pprof_finish(w, err);
	pprof_free(w);
	return r;
}

void gopprof_free(struct gopprof *p)
{
	if (!p)
		return;
	stacktab_done(&p->tab);
	end(p);
	map_done(&p->pending_of);
	free(p->pending);
	free(p);
}
