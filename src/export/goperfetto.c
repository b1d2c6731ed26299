/* Perfetto's trace format (protobuf, one stream of packets), written as the Go trace is read. Memory follows names and tracks, not events.
 *
 * Tracks: the process; under it a group of Ps (what ran there), a group of goroutines (what each did, with regions, GC assists and logs), a group of
 * tasks, GC phases, stop-the-world, and counters. Slices of one track never overlap but by nesting. A slice is written when it ends: its two
 * events carry their own times and the reader sorts. Names and repeated texts are interned on the one sequence. Wake-ups are flows, from an
 * instant on the waker's track to the slice that begins there. Field numbers are those of perfetto's protos/perfetto/trace. */
#include "base/map.h"
#include "base/proto.h"
#include "export/export.h"

#include <stdlib.h>
#include <string.h>

enum { /* TracePacket */
       PK_CLOCK_SNAPSHOT = 6,
       PK_TIMESTAMP = 8,
       PK_SEQUENCE = 10,
       PK_TRACK_EVENT = 11,
       PK_INTERNED = 12,
       PK_FLAGS = 13,
       PK_DEFAULTS = 59,
       PK_TRACK = 60,
};
enum { EV_ANNOTATION = 4,
       EV_TYPE = 9,
       EV_NAME_IID = 10,
       EV_TRACK = 11,
       EV_COUNTER = 30,
       EV_FLOW = 47,
       EV_FLOW_END = 48 }; /* TrackEvent */
enum { TYPE_BEGIN = 1,
       TYPE_END = 2,
       TYPE_INSTANT = 3,
       TYPE_COUNTER = 4 };
enum { CLOCK_ID_REALTIME = 1,
       CLOCK_ID_MONOTONIC = 3 };

#define SEQUENCE      1
#define TAG(kind, id) ((uint64_t)(kind) << 56 | ((uint64_t)(id)&0xffffffffffffffull))
enum { T_FIXED,
       T_PROC,
       T_GO,
       T_REGION,
       T_ASSIST,
       T_TASK,
       T_SWEEP };
enum { FIXED_PROCESS = 1,
       FIXED_PS,
       FIXED_GOS,
       FIXED_TASKS,
       FIXED_GC,
       FIXED_STW,
       FIXED_HEAP,
       FIXED_GOAL,
       FIXED_RUNNABLE,
       FIXED_RUNNING,
       FIXED_ALIVE,
       FIXED_PROCS };
/* Debug annotations: their names are interned once, at the beginning. */
enum { A_GOROUTINE = 1,
       A_WHERE,
       A_STACK,
       A_WAKER,
       A_WAKER_WHERE,
       A_TASK,
       A_KEY,
       A_VALUE,
       A_PROC,
       A_THREAD,
       A_WITHOUT_P,
       A_COUNT };
static const char *const annotation_name[A_COUNT] = { NULL, "goroutine", "where", "stack", "woken by", "woken at", "task", "key", "value", "proc", "thread", "ns without P" };

struct goperfetto {
	struct gostate *s;
	FILE *out;
	struct buf packet, event, sub, interned, text;
	struct intern names; /* event names: iid = id + 1 */
	struct map stacks;   /* stack id -> 1: its two texts are interned (iids 2 * id, 2 * id + 1) */
	struct map tracks;   /* uuid -> end of its last slice, 0: none yet */
	struct map tasks;    /* open ones */
	uint64_t flow;
	int64_t base; /* v1 traces begin at -1: packets have no negative times */
	int32_t last_level[GO_LEVELS];
	int64_t next_counter;
	bool begun;
	int failed;
};

static const char *goro_name(const struct gosyms *syms, const struct goro *g)
{
	return g->func ? gosyms_short(gosyms_text(syms, g->func)) : "goroutine";
}

static void write_packet(struct goperfetto *p)
{
	unsigned char head[16];
	size_t n = 0;
	uint64_t len = p->packet.len;

	head[n++] = 1 << 3 | 2; /* Trace.packet */
	for (; len >= 0x80; len >>= 7)
		head[n++] = (unsigned char)(len | 0x80);
	head[n++] = (unsigned char)len;
	errno = 0;
	if ((fwrite(head, 1, n, p->out) != n || fwrite(p->packet.data, 1, p->packet.len, p->out) != p->packet.len) && !p->failed)
		p->failed = errno ? -errno : -EIO;
}

/* A packet with p->event as its event, and whatever it had to intern. */
static void emit(struct goperfetto *p, int64_t t)
{
	buf_clear(&p->packet);
	proto_u64(&p->packet, PK_TIMESTAMP, (uint64_t)(t + p->base));
	proto_u64(&p->packet, PK_SEQUENCE, SEQUENCE);
	proto_u64(&p->packet, PK_FLAGS, 2); /* needs the interned data of before */
	if (p->interned.len) {
		proto_bytes(&p->packet, PK_INTERNED, p->interned.data, p->interned.len);
		buf_clear(&p->interned);
	}
	proto_bytes(&p->packet, PK_TRACK_EVENT, p->event.data, p->event.len);
	write_packet(p);
}

static void start(struct goperfetto *p, unsigned type, uint64_t track)
{
	buf_clear(&p->event);
	proto_u64(&p->event, EV_TYPE, type);
	proto_u64(&p->event, EV_TRACK, track);
}

static void intern_entry(struct goperfetto *p, unsigned field, uint64_t iid, const char *text)
{
	buf_clear(&p->sub);
	proto_u64(&p->sub, 1, iid);
	proto_str(&p->sub, 2, text);
	proto_bytes(&p->interned, field, p->sub.data, p->sub.len);
}

static void name(struct goperfetto *p, const char *text)
{
	bool added;
	int64_t id = intern_bytes(&p->names, text, strlen(text), &added);

	if (id < 0) {
		p->failed = -ENOMEM;
		return;
	}
	if (added)
		intern_entry(p, 2, (uint64_t)id + 1, text); /* InternedData.event_names */
	proto_u64(&p->event, EV_NAME_IID, (uint64_t)id + 1);
}

static void note_int(struct goperfetto *p, unsigned what, int64_t v)
{
	buf_clear(&p->sub);
	proto_u64(&p->sub, 1, what);
	proto_u64(&p->sub, 4, (uint64_t)v);
	proto_bytes(&p->event, EV_ANNOTATION, p->sub.data, p->sub.len);
}

static void note_str(struct goperfetto *p, unsigned what, const char *s)
{
	buf_clear(&p->sub);
	proto_u64(&p->sub, 1, what);
	proto_str(&p->sub, 6, s);
	proto_bytes(&p->event, EV_ANNOTATION, p->sub.data, p->sub.len);
}

static void note_iid(struct goperfetto *p, unsigned what, uint64_t iid)
{
	buf_clear(&p->sub);
	proto_u64(&p->sub, 1, what);
	proto_u64(&p->sub, 17, iid);
	proto_bytes(&p->event, EV_ANNOTATION, p->sub.data, p->sub.len);
}

/* A stack is two interned texts: where (the frame that says most) and all of its frames. */
static void note_stack(struct goperfetto *p, unsigned where, unsigned whole, uint32_t stack)
{
	unsigned i, n = gosyms_depth(p->s->syms, stack);
	uint64_t *v;
	bool added;

	if (!n)
		return;
	v = map_put(&p->stacks, stack, &added);
	if (!v) {
		p->failed = -ENOMEM;
		return;
	}
	if (added) {
		buf_clear(&p->text);
		gosyms_where_text(p->s->syms, stack, &p->text);
		intern_entry(p, 29, 2ull * stack, p->text.data); /* InternedData.debug_annotation_string_values */
		buf_clear(&p->text);
		for (i = 0; i < n; i++) {
			struct gosym_frame f = gosyms_frame(p->s->syms, stack, i);

			buf_printf(&p->text, "%s%s (%s:%llu)", i ? "\n" : "", gosyms_text(p->s->syms, f.func), gosyms_text(p->s->syms, f.file),
				   (unsigned long long)f.line);
		}
		intern_entry(p, 29, 2ull * stack + 1, p->text.data);
	}
	if (where)
		note_iid(p, where, 2ull * stack);
	if (whole)
		note_iid(p, whole, 2ull * stack + 1);
}

static void track_packet(struct goperfetto *p, uint64_t uuid, uint64_t parent, const char *text, unsigned unit)
{
	buf_clear(&p->event);
	proto_u64(&p->event, 1, uuid);
	if (parent)
		proto_u64(&p->event, 5, parent);
	if (uuid == FIXED_PROCESS) {
		buf_clear(&p->sub);
		proto_u64(&p->sub, 1, 1);
		proto_str(&p->sub, 6, text);
		proto_bytes(&p->event, 3, p->sub.data, p->sub.len);
	} else {
		proto_str(&p->event, 2, text);
	}
	if (unit) {
		buf_clear(&p->sub);
		proto_u64(&p->sub, 3, unit);
		proto_bytes(&p->event, 8, p->sub.data, p->sub.len);
	}
	buf_clear(&p->packet);
	proto_u64(&p->packet, PK_SEQUENCE, SEQUENCE);
	proto_bytes(&p->packet, PK_TRACK, p->event.data, p->event.len);
	write_packet(p);
}

static uint64_t *track(struct goperfetto *p, uint64_t uuid, uint64_t parent, const char *fmt, const char *a, int64_t id)
{
	bool added;
	uint64_t *v = map_put(&p->tracks, uuid, &added);
	char text[512];

	if (!v) {
		p->failed = -ENOMEM;
		return NULL;
	}
	if (added) {
		snprintf(text, sizeof(text), fmt, (long long)id, a);
		track_packet(p, uuid, parent, text, 0);
	}
	return v;
}

static void head(struct goperfetto *p)
{
	unsigned i;

	buf_clear(&p->event); /* ClockSnapshot: the Go trace's clock is the monotonic one; wall time when the trace has it */
	buf_clear(&p->sub);
	proto_u64(&p->sub, 1, CLOCK_ID_MONOTONIC);
	proto_u64(&p->sub, 2, (uint64_t)(p->s->start_ns + p->base));
	proto_bytes(&p->event, 1, p->sub.data, p->sub.len);
	if (p->s->wall_ns > 0) {
		buf_clear(&p->sub);
		proto_u64(&p->sub, 1, CLOCK_ID_REALTIME);
		proto_u64(&p->sub, 2, (uint64_t)p->s->wall_ns);
		proto_bytes(&p->event, 1, p->sub.data, p->sub.len);
	}
	proto_u64(&p->event, 2, CLOCK_ID_MONOTONIC); /* primary_trace_clock */
	buf_clear(&p->packet);
	proto_u64(&p->packet, PK_SEQUENCE, SEQUENCE);
	proto_u64(&p->packet, PK_FLAGS, 1); /* interned state begins here */
	proto_bytes(&p->packet, PK_CLOCK_SNAPSHOT, p->event.data, p->event.len);
	buf_clear(&p->sub);
	proto_u64(&p->sub, 58, CLOCK_ID_MONOTONIC); /* TracePacketDefaults.timestamp_clock_id */
	proto_bytes(&p->packet, PK_DEFAULTS, p->sub.data, p->sub.len);
	for (i = 1; i < A_COUNT; i++)
		intern_entry(p, 3, i, annotation_name[i]); /* InternedData.debug_annotation_names */
	proto_bytes(&p->packet, PK_INTERNED, p->interned.data, p->interned.len);
	buf_clear(&p->interned);
	write_packet(p);
	track_packet(p, FIXED_PROCESS, 0, "Go program", 0);
	track_packet(p, FIXED_PS, FIXED_PROCESS, "Ps", 0);
	track_packet(p, FIXED_GOS, FIXED_PROCESS, "Goroutines", 0);
	track_packet(p, FIXED_TASKS, FIXED_PROCESS, "Tasks", 0);
	track_packet(p, FIXED_GC, FIXED_PROCESS, "GC", 0);
	track_packet(p, FIXED_STW, FIXED_PROCESS, "Stop the world", 0);
	track_packet(p, FIXED_HEAP, FIXED_PROCESS, "Heap", 3);
	track_packet(p, FIXED_GOAL, FIXED_PROCESS, "Heap goal", 3);
	track_packet(p, FIXED_RUNNABLE, FIXED_PROCESS, "Goroutines runnable", 2);
	track_packet(p, FIXED_RUNNING, FIXED_PROCESS, "Goroutines running", 2);
	track_packet(p, FIXED_ALIVE, FIXED_PROCESS, "Goroutines alive", 2);
	track_packet(p, FIXED_PROCS, FIXED_PROCESS, "GOMAXPROCS", 2);
	p->begun = true;
}

static void begin(void *ctx)
{
	struct goperfetto *p = ctx;

	p->next_counter = p->s->now;
	p->base = p->s->start_ns < 0 ? -p->s->start_ns : 0;
	if (!p->begun)
		head(p);
}

/* Ends a slice that begins at `from` and whose begin event is in p->event. Slices of a track come in the order of their ends;
 * only a damaged or v1 trace lets one begin before the last has ended: it is shortened. */
static int64_t clamp(uint64_t *last, int64_t from, int64_t to)
{
	if (*last && from < (int64_t)*last)
		from = (int64_t)*last < to ? (int64_t)*last : to;
	*last = (uint64_t)to;
	return from;
}

static void end_slice(struct goperfetto *p, uint64_t uuid, int64_t t)
{
	start(p, TYPE_END, uuid);
	emit(p, t);
}

static uint64_t *go_track(struct goperfetto *p, const struct goro *g)
{
	return track(p, TAG(T_GO, g->id), FIXED_GOS, "G%lld %s", g->func ? gosyms_text(p->s->syms, g->func) : "", g->id);
}

static void span(void *ctx, const struct gospan *sp)
{
	struct goperfetto *p = ctx;
	const struct gosyms *syms = p->s->syms;
	uint64_t uuid = TAG(T_GO, sp->g->id), *last = go_track(p, sp->g), flow = (uintptr_t)sp->g->user;
	bool runnable = sp->state == GANDER_GOTRACE_GO_RUNNABLE, waits = sp->state == GANDER_GOTRACE_GO_WAITING;
	int64_t from;
	char text[200];

	if (!last || sp->end_ns <= sp->start_ns)
		return;
	from = clamp(last, sp->start_ns, sp->end_ns);
	start(p, TYPE_BEGIN, uuid);
	if (waits && sp->reason)
		snprintf(text, sizeof(text), "blocked: %s", gosyms_text(syms, sp->reason));
	else
		snprintf(text, sizeof(text), "%s", waits ? "blocked" : runnable                         ? "runnable"
							       : sp->state == GANDER_GOTRACE_GO_RUNNING ? "running"
													: "syscall");
	name(p, text);
	if (sp->state == GANDER_GOTRACE_GO_RUNNING) {
		note_int(p, A_PROC, sp->proc);
		note_int(p, A_THREAD, sp->thread);
	} else {
		note_stack(p, A_WHERE, A_STACK, runnable ? sp->stack : sp->own_stack);
	}
	if (waits && sp->ended_by >= 0) {
		note_int(p, A_WAKER, sp->ended_by);
		note_stack(p, A_WAKER_WHERE, 0, sp->end_stack);
	}
	if (sp->off_ns)
		note_int(p, A_WITHOUT_P, (int64_t)sp->off_ns);
	if (runnable && flow) {
		proto_fixed64(&p->event, EV_FLOW_END, flow);
		sp->g->user = NULL;
	}
	emit(p, from);
	end_slice(p, uuid, sp->end_ns);

	if (waits && sp->ended_by >= 0 && sp->ended_by != sp->g->id && !sp->open_end) {
		struct goro *waker = gostate_goro(p->s, sp->ended_by);

		if (waker && go_track(p, waker)) {
			sp->g->user = (void *)(uintptr_t)++p->flow;
			start(p, TYPE_INSTANT, TAG(T_GO, waker->id));
			snprintf(text, sizeof(text), "wakes %s", goro_name(syms, sp->g));
			name(p, text);
			note_int(p, A_GOROUTINE, sp->g->id);
			note_stack(p, A_WHERE, A_STACK, sp->end_stack);
			proto_fixed64(&p->event, EV_FLOW, p->flow);
			emit(p, sp->end_ns);
		}
	}
	if (sp->state == GANDER_GOTRACE_GO_RUNNING && sp->proc >= 0) {
		uuid = TAG(T_PROC, sp->proc);
		last = track(p, uuid, FIXED_PS, "P%lld%s", "", sp->proc);
		if (!last)
			return;
		from = clamp(last, sp->start_ns, sp->end_ns);
		if (from >= sp->end_ns)
			return;
		start(p, TYPE_BEGIN, uuid);
		name(p, sp->g->label ? gosyms_text(syms, sp->g->label) : goro_name(syms, sp->g));
		note_int(p, A_GOROUTINE, sp->g->id);
		note_int(p, A_THREAD, sp->thread);
		emit(p, from);
		end_slice(p, uuid, sp->end_ns);
	}
}

static void slice(struct goperfetto *p, uint64_t uuid, int64_t from, int64_t to, const char *text, uint32_t stack, int64_t g)
{
	start(p, TYPE_BEGIN, uuid);
	name(p, text);
	if (g >= 0)
		note_int(p, A_GOROUTINE, g);
	note_stack(p, A_WHERE, A_STACK, stack);
	emit(p, from);
	end_slice(p, uuid, to);
}

static void range(void *ctx, const struct gorange *r)
{
	struct goperfetto *p = ctx;
	const char *text = gosyms_text(p->s->syms, r->name);
	uint64_t uuid, *last;

	if (r->end_ns <= r->start_ns)
		return;
	if (r->id == GANDER_GOTRACE_RANGE_STW)
		uuid = FIXED_STW;
	else if (r->id == GANDER_GOTRACE_RANGE_GC_MARK)
		uuid = FIXED_GC;
	else if (r->id == GANDER_GOTRACE_RANGE_SWEEP)
		uuid = TAG(T_SWEEP, r->scope_id);
	else
		uuid = TAG(T_ASSIST, r->scope_id);
	if (r->id == GANDER_GOTRACE_RANGE_SWEEP)
		last = track(p, uuid, FIXED_PS, "P%lld sweeps%s", "", r->scope_id);
	else if (r->id == GANDER_GOTRACE_RANGE_MARK_ASSIST && r->g && go_track(p, r->g))
		last = track(p, uuid, TAG(T_GO, r->scope_id), "G%lld assists%s", "", r->scope_id);
	else
		last = map_put(&p->tracks, uuid, &(bool) { false });
	if (last)
		slice(p, uuid, clamp(last, r->start_ns, r->end_ns), r->end_ns, *text ? text : "GC", r->stack, r->scope == GANDER_GOTRACE_RES_GOROUTINE ? r->scope_id : -1);
}

static void region(void *ctx, const struct goregion *rg)
{
	struct goperfetto *p = ctx;
	uint64_t uuid = TAG(T_REGION, rg->g->id);

	if (rg->end_ns <= rg->r->start_ns || !go_track(p, rg->g) || !track(p, uuid, TAG(T_GO, rg->g->id), "G%lld regions%s", "", rg->g->id))
		return;
	start(p, TYPE_BEGIN, uuid);
	name(p, gosyms_text(p->s->syms, rg->r->type));
	if (rg->r->task)
		note_int(p, A_TASK, (int64_t)rg->r->task);
	note_stack(p, A_WHERE, A_STACK, rg->r->stack);
	emit(p, rg->r->start_ns);
	end_slice(p, uuid, rg->end_ns);
}

static void counter(struct goperfetto *p, uint64_t track_id, int64_t v)
{
	start(p, TYPE_COUNTER, track_id);
	proto_u64(&p->event, EV_COUNTER, (uint64_t)v);
	emit(p, p->s->now);
}

static void event(void *ctx, const struct gander_gotrace_event *ev, struct goro *g)
{
	struct goperfetto *p = ctx;
	uint64_t uuid;
	bool added;

	switch (ev->kind) {
	case GANDER_GOTRACE_METRIC:
		counter(p, ev->metric.id == GANDER_GOTRACE_METRIC_HEAP_ALLOC ? FIXED_HEAP : ev->metric.id == GANDER_GOTRACE_METRIC_HEAP_GOAL ? FIXED_GOAL
																	     : FIXED_PROCS,
			(int64_t)ev->metric.value);
		break;
	case GANDER_GOTRACE_LOG:
		if (!g || !go_track(p, g))
			break;
		start(p, TYPE_INSTANT, TAG(T_GO, g->id));
		name(p, "log");
		note_str(p, A_KEY, gosyms_text(p->s->syms, gosym_map_string(&p->s->map, p->s->syms, ev->log.category)));
		note_str(p, A_VALUE, ev->log.message);
		note_int(p, A_TASK, (int64_t)ev->log.task);
		emit(p, p->s->now);
		break;
	case GANDER_GOTRACE_TASK_BEGIN:
		uuid = TAG(T_TASK, ev->task.id);
		if (!map_put(&p->tasks, ev->task.id, &added) || !added ||
		    !track(p, uuid, FIXED_TASKS, "task %lld %s", gosyms_text(p->s->syms, gosym_map_string(&p->s->map, p->s->syms, ev->task.type)),
			   (int64_t)ev->task.id))
			break;
		start(p, TYPE_BEGIN, uuid);
		name(p, gosyms_text(p->s->syms, gosym_map_string(&p->s->map, p->s->syms, ev->task.type)));
		if (ev->goroutine >= 0)
			note_int(p, A_GOROUTINE, ev->goroutine);
		note_stack(p, A_WHERE, A_STACK, gosym_map_stack(&p->s->map, p->s->syms, ev->stack));
		emit(p, p->s->now);
		break;
	case GANDER_GOTRACE_TASK_END:
		if (map_del(&p->tasks, ev->task.id))
			end_slice(p, TAG(T_TASK, ev->task.id), p->s->now);
		break;
	case GANDER_GOTRACE_STATE_TRANSITION:
		/* levels at most every 100 us: they are for the eye */
		if (p->s->now < p->next_counter)
			break;
		p->next_counter = p->s->now + 100000;
		if (p->s->level[GO_LEVEL_SCHED] != p->last_level[GO_LEVEL_SCHED])
			counter(p, FIXED_RUNNABLE, p->s->level[GO_LEVEL_SCHED]);
		if (p->s->level[GO_LEVEL_RUN] != p->last_level[GO_LEVEL_RUN])
			counter(p, FIXED_RUNNING, p->s->level[GO_LEVEL_RUN]);
		if ((int32_t)p->s->alive != p->last_level[GO_LEVEL_WAIT])
			counter(p, FIXED_ALIVE, p->s->alive);
		p->last_level[GO_LEVEL_SCHED] = p->s->level[GO_LEVEL_SCHED];
		p->last_level[GO_LEVEL_RUN] = p->s->level[GO_LEVEL_RUN];
		p->last_level[GO_LEVEL_WAIT] = (int32_t)p->s->alive;
		break;
	}
}

static void gone(void *ctx, struct goro *g, bool at_end)
{
	g->user = NULL;
}

static void end(void *ctx)
{
	struct goperfetto *p = ctx;
	uint64_t at = 0, id, v;

	while (map_next(&p->tasks, &at, &id, &v))
		end_slice(p, TAG(T_TASK, id), p->s->now);
	map_done(&p->tasks);
}

int goperfetto_new(struct goperfetto **ret, struct gostate *s, FILE *out)
{
	struct goperfetto *p = calloc(1, sizeof(*p));
	struct gosink sink = {
		.ctx = p,
		.spans = ~0u,
		.kinds = 1u << GANDER_GOTRACE_METRIC | 1u << GANDER_GOTRACE_LOG | 1u << GANDER_GOTRACE_TASK_BEGIN | 1u << GANDER_GOTRACE_TASK_END |
			 1u << GANDER_GOTRACE_STATE_TRANSITION,
		.begin = begin,
		.span = span,
		.range = range,
		.region = region,
		.event = event,
		.gone = gone,
		.end = end,
	};

	if (!p)
		return -ENOMEM;
	p->s = s;
	p->out = out;
	*ret = p;
	return gostate_add(s, &sink);
}

int goperfetto_finish(struct goperfetto *p, struct err *err)
{
	errno = 0;
	if (fflush(p->out) && !p->failed)
		p->failed = errno ? -errno : -EIO;
	if (buf_failed(&p->event) || buf_failed(&p->packet) || buf_failed(&p->interned) || buf_failed(&p->text))
		p->failed = -ENOMEM;
	if (p->failed) {
		errno = -p->failed;
		return err_set(err, p->failed, "cannot write the perfetto trace: %m");
	}
	return 0;
}

void goperfetto_free(struct goperfetto *p)
{
	if (!p)
		return;
	buf_done(&p->packet);
	buf_done(&p->event);
	buf_done(&p->sub);
	buf_done(&p->interned);
	buf_done(&p->text);
	intern_done(&p->names);
	map_done(&p->stacks);
	map_done(&p->tracks);
	map_done(&p->tasks);
	free(p);
}
