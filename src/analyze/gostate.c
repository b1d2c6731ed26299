#include "analyze/gostate.h"

#include <stdlib.h>
#include <string.h>

#define V1_PSEUDO_PROCS  1000000 /* P numbers from here on are the v1 runtime's timers, poller, ... */
#define GORO_CHUNK       256
#define MAX_OPEN_REGIONS 100000 /* of one goroutine */

const char *const go_cause_name[GO_CAUSES] = { "unknown", "created", "unblocked", "preempted", "yielded", "syscall" };
const char *const go_part_name[GO_PARTS] = { "running", "runnable", "blocked", "syscall", "syscall_without_p" };

#define likely(x)     __builtin_expect(!!(x), 1)
#define always_inline inline __attribute__((always_inline))

#define EACH_SINK(s, set, k) for (unsigned set_ = (set), k; set_ && ((k = (unsigned)__builtin_ctz(set_)), 1); set_ &= set_ - 1)
#define CALL(s, member, ...) \
	do { \
		for (unsigned k_ = 0; k_ < (s)->nsink; k_++) \
			if ((s)->sink[k_].member) \
				(s)->sink[k_].member((s)->sink[k_].ctx, ##__VA_ARGS__); \
	} while (0)

void gostate_init(struct gostate *s, struct gosyms *syms)
{
	memset(s, 0, sizeof(*s));
	s->syms = syms;
}

static void goro_clear(struct goro *g)
{
	free(g->wait);
	free(g->region);
}

void gostate_done(struct gostate *s)
{
	uint64_t at = 0, id, p;
	uint32_t i;

	while (map_next(&s->goros, &at, &id, &p))
		goro_clear((struct goro *)(uintptr_t)p);
	for (i = 0; i < s->nchunk; i++)
		free(s->chunk[i]);
	free(s->chunk);
	free(s->proc);
	map_done(&s->goros);
	map_done(&s->procs);
	gosym_map_done(&s->map);
	memset(s, 0, sizeof(*s));
}

int gostate_add(struct gostate *s, const struct gosink *sink)
{
	unsigned i;

	if (s->nsink == GO_SINKS)
		return -ENOSPC;
	for (i = 0; i < GANDER_GOTRACE_GO_STATES; i++)
		if (sink->spans & 1u << i)
			s->span_sinks[i] |= 1u << s->nsink;
	for (i = 0; i < GANDER_GOTRACE_GO_STATES; i++)
		if (sink->watched_spans & 1u << i)
			s->watched_sinks[i] |= 1u << s->nsink;
	for (i = 0; i < GANDER_GOTRACE_KINDS; i++)
		if (sink->kinds & 1u << i)
			s->kind_sinks[i] |= 1u << s->nsink;
	s->moved_sinks |= (sink->moved ? 1u : 0u) << s->nsink;
	s->sink[s->nsink++] = *sink;
	return 0;
}

static inline struct goro *goro_find(struct gostate *s, int64_t id)
{
	struct goro **recent = &s->recent[(uint64_t)id % GO_RECENT];
	uint64_t *p;

	if (*recent && (*recent)->id == id)
		return *recent;
	p = map_find(&s->goros, (uint64_t)id);
	if (!p)
		return NULL;
	*recent = (struct goro *)(uintptr_t)*p;
	return *recent;
}

struct goro *gostate_goro(struct gostate *s, int64_t id)
{
	return goro_find(s, id);
}

static struct goproc *proc_of(struct gostate *s, int64_t id, bool make)
{
	uint64_t *v = map_find(&s->procs, (uint64_t)id);
	struct goproc *p;
	bool added;

	if (v)
		return &s->proc[*v];
	if (!make || id < 0)
		return NULL;
	if (s->nproc == s->proc_cap) {
		uint32_t cap = s->proc_cap ? s->proc_cap * 2 : 16;

		p = realloc(s->proc, (size_t)cap * sizeof(*p));
		if (!p) {
			s->failed = true;
			return NULL;
		}
		s->proc = p;
		s->proc_cap = cap;
	}
	v = map_put(&s->procs, (uint64_t)id, &added);
	if (!v) {
		s->failed = true;
		return NULL;
	}
	*v = s->nproc;
	p = &s->proc[s->nproc++];
	*p = (struct goproc) { .id = id, .since_ns = s->now, .syscall_g = -1, .sweep_since = GO_NEVER };
	return p;
}

static struct goro *goro_new(struct gostate *s, int64_t id)
{
	struct goro *g;
	uint64_t *slot;
	bool added;
	unsigned i;

	if (!s->free_list) {
		if (s->nchunk == s->chunk_cap) {
			uint32_t cap = s->chunk_cap ? s->chunk_cap * 2 : 16;
			struct goro **chunk = realloc(s->chunk, cap * sizeof(*chunk));

			if (!chunk)
				goto oom;
			s->chunk = chunk;
			s->chunk_cap = cap;
		}
		g = calloc(GORO_CHUNK, sizeof(*g));
		if (!g)
			goto oom;
		s->chunk[s->nchunk++] = g;
		for (i = 0; i < GORO_CHUNK; i++) {
			g[i].next_free = s->free_list;
			s->free_list = &g[i];
		}
	}
	slot = map_put(&s->goros, (uint64_t)id, &added);
	if (!slot)
		goto oom;
	g = s->free_list;
	s->free_list = g->next_free;
	memset(g, 0, sizeof(*g));
	*slot = (uint64_t)(uintptr_t)g;
	g->id = id;
	g->made_by = -1;
	g->thread = g->proc = -1;
	g->first_run_ns = g->off_since_ns = GO_NEVER;
	g->task = GANDER_GOTRACE_NO_TASK;
	for (i = 0; i < GO_RANGES; i++)
		g->range_since[i] = GO_NEVER;
	if (++s->alive > s->peak)
		s->peak = s->alive;
	return g;
oom:
	s->failed = true;
	return NULL;
}

/* Integrals are brought up to now only where a level changes or somebody looks. */
static inline void level_settle(struct gostate *s, unsigned k)
{
	if (s->level[k] > 0)
		s->level_ns[k] += (uint64_t)(s->now - s->level_at[k]) * (uint64_t)s->level[k];
	if (k == GO_LEVEL_PROCS_IDLE && s->level[k] > 0)
		s->any_idle_ns += (uint64_t)(s->now - s->level_at[k]);
	s->level_at[k] = s->now;
}

static inline void level_add(struct gostate *s, unsigned k, int n)
{
	level_settle(s, k);
	s->level[k] += n;
}

static inline uint64_t any_idle(const struct gostate *s)
{
	return s->any_idle_ns + (s->level[GO_LEVEL_PROCS_IDLE] > 0 ? (uint64_t)(s->now - s->level_at[GO_LEVEL_PROCS_IDLE]) : 0);
}

static void settle(struct gostate *s)
{
	unsigned k;

	for (k = 0; k < GO_LEVELS; k++)
		level_settle(s, k);
}

static inline void advance(struct gostate *s, int64_t t)
{
	if (t <= s->now)
		return;
	while (__builtin_expect(t >= s->next_tick, 0) && s->next_tick != INT64_MAX) {
		s->now = s->next_tick;
		settle(s);
		CALL(s, tick);
		if (__builtin_add_overflow(s->next_tick, s->tick_ns, &s->next_tick))
			s->next_tick = INT64_MAX;
	}
	s->now = t;
}

void gostate_begin(struct gostate *s, const struct gander_gotrace *reader)
{
	gosym_map_done(&s->map);
	s->map.reader = reader;
	s->running = false; /* the first event starts the clock */
	s->nsync = 0;
	s->past_ns += (uint64_t)gostate_length_ns(s);
	s->start_ns = s->now = 0;
	s->gomaxprocs = 0;
	s->alive = s->there_at_start = 0;
	s->wall_ns = 0;
	s->mark_since = GO_NEVER;
	memset(s->level, 0, sizeof(s->level));
	s->nproc = 0;
	map_done(&s->procs);
}

void gostate_parts(const struct gostate *s, const struct goro *g, struct goro_parts *to)
{
	uint64_t ns = (uint64_t)(s->now - g->since_ns);

	*to = g->parts;
	switch (g->state) {
	case GANDER_GOTRACE_GO_RUNNING:
		to->ns[GO_PART_RUN] += ns;
		break;
	case GANDER_GOTRACE_GO_RUNNABLE:
		to->ns[GO_PART_SCHED] += ns;
		break;
	case GANDER_GOTRACE_GO_WAITING:
		to->ns[GO_PART_WAIT] += ns;
		break;
	case GANDER_GOTRACE_GO_SYSCALL:
		if (g->off_since_ns != GO_NEVER) {
			to->ns[GO_PART_SYSCALL_OFF] += (uint64_t)(s->now - g->off_since_ns);
			ns = (uint64_t)(g->off_since_ns - g->since_ns);
		}
		to->ns[GO_PART_SYSCALL] += ns;
		break;
	}
}

static void name_it(struct gostate *s, struct goro *g, uint32_t stack)
{
	g->func = gosyms_entry(s->syms, stack);
	g->system = g->func && gosyms_is_system(s->syms, g->func);
}

static void add_wait(struct gostate *s, struct goro *g, uint64_t ns)
{
	unsigned i;

	for (i = 0; i < g->nwait; i++)
		if (g->wait[i].reason == g->reason) {
			g->wait[i].count++;
			g->wait[i].ns += ns;
			return;
		}
	if (g->nwait == g->wait_cap) {
		uint16_t cap = g->wait_cap ? (uint16_t)(g->wait_cap * 2) : 2;
		struct goro_wait *w;

		if (g->nwait >= 256) { /* reasons are the runtime's: a few dozen; a forged trace may have any number */
			g->wait[255].count++;
			g->wait[255].ns += ns;
			return;
		}
		w = realloc(g->wait, cap * sizeof(*w));
		if (!w) {
			s->failed = true;
			return;
		}
		g->wait = w;
		g->wait_cap = cap;
	}
	g->wait[g->nwait++] = (struct goro_wait) { g->reason, 1, ns };
}

static inline int level_of(unsigned state)
{
	static const uint8_t level[GANDER_GOTRACE_GO_STATES] = {
		[GANDER_GOTRACE_GO_RUNNING] = GO_LEVEL_RUN + 1,
		[GANDER_GOTRACE_GO_RUNNABLE] = GO_LEVEL_SCHED + 1,
		[GANDER_GOTRACE_GO_WAITING] = GO_LEVEL_WAIT + 1,
		[GANDER_GOTRACE_GO_SYSCALL] = GO_LEVEL_SYSCALL + 1,
	};

	return state < GANDER_GOTRACE_GO_STATES ? level[state] - 1 : -1;
}

/* The state that g is in, which is `state`, ends now. `ev` is NULL when the trace ends; `end_stack` is its stack. */
static always_inline void leave_state(struct gostate *s, struct goro *g, const struct gander_gotrace_event *ev, uint32_t end_stack, const unsigned state)
{
	int level = level_of(state);
	uint64_t ns = (uint64_t)(s->now - g->since_ns);
	struct goproc *p;
	unsigned sinks;

	if (level < 0)
		return;
	sinks = s->span_sinks[state] | (g->watch ? s->watched_sinks[state] : 0);
	if (sinks) {
		struct gospan sp = {
			.g = g,
			.start_ns = g->since_ns,
			.end_ns = s->now,
			.state = (uint8_t)state,
			.cause = g->cause,
			.open_start = g->open_start,
			.open_end = !ev,
			.reason = g->reason,
			.stack = g->stack,
			.own_stack = g->own_stack,
			.end_stack = end_stack,
			.ended_by = ev ? ev->goroutine : -1,
			.thread = g->thread,
			.proc = g->proc,
			.end_thread = ev ? ev->thread : -1,
			.end_proc = ev ? ev->proc : -1,
			.idle_ns = any_idle(s) - g->idle_at_since,
			.off_ns = g->off_since_ns != GO_NEVER ? (uint64_t)(s->now - g->off_since_ns) : 0,
		};

		EACH_SINK(s, sinks, k)
		s->sink[k].span(s->sink[k].ctx, &sp);
	}
	switch (state) {
	case GANDER_GOTRACE_GO_RUNNING:
		g->parts.ns[GO_PART_RUN] += ns;
		break;
	case GANDER_GOTRACE_GO_RUNNABLE:
		g->parts.ns[GO_PART_SCHED] += ns;
		break;
	case GANDER_GOTRACE_GO_WAITING:
		g->parts.ns[GO_PART_WAIT] += ns;
		add_wait(s, g, ns);
		break;
	case GANDER_GOTRACE_GO_SYSCALL:
		gostate_parts(s, g, &g->parts);
		p = proc_of(s, g->proc, false);
		if (p && p->syscall_g == g->id)
			p->syscall_g = -1;
		g->off_since_ns = GO_NEVER;
		break;
	}
	level_add(s, (unsigned)level, -1);
	if (state == GANDER_GOTRACE_GO_RUNNING && g->label)
		level_add(s, GO_LEVEL_GC_WORKERS, -!strncmp(gosyms_text(s->syms, g->label), "GC ", 3));
	g->since_ns = s->now; /* nothing is counted twice when the parts are read between leave and enter */
}

static void leave_any(struct gostate *s, struct goro *g, const struct gander_gotrace_event *ev, uint32_t end_stack)
{
	leave_state(s, g, ev, end_stack, g->state);
}

static void end_region(struct gostate *s, struct goro *g, const struct goro_region *r, bool open_start, bool open_end)
{
	struct goregion out = { .g = g, .r = r, .end_ns = s->now, .open_start = open_start, .open_end = open_end };
	unsigned i;

	gostate_parts(s, g, &out.parts);
	for (i = 0; i < GO_PARTS; i++)
		out.parts.ns[i] -= r->at_start.ns[i];
	CALL(s, region, &out);
}

static void end_range(struct gostate *s, struct goro *g, unsigned id, bool open_end)
{
	struct gorange r = {
		.id = (uint8_t)id,
		.scope = GANDER_GOTRACE_RES_GOROUTINE,
		.name = g->range_name[id],
		.stack = g->range_stack[id],
		.scope_id = g->id,
		.start_ns = g->range_since[id],
		.end_ns = s->now,
		.open_start = g->range_since[id] <= s->start_ns,
		.open_end = open_end,
		.g = g,
	};

	if (g->range_since[id] == GO_NEVER)
		return;
	g->range_ns[id] += (uint64_t)(s->now - g->range_since[id]);
	g->range_since[id] = GO_NEVER;
	g->open_ranges &= (uint8_t) ~(1u << id);
	CALL(s, range, &r);
}

static void goro_gone(struct gostate *s, struct goro *g, bool at_end)
{
	unsigned i;

	for (i = 0; i < GO_RANGES; i++)
		if (g->open_ranges & 1u << i)
			end_range(s, g, i, true);
	while (g->nregion) { /* innermost first, as they would have ended */
		struct goro_region r = g->region[--g->nregion];

		end_region(s, g, &r, false, true);
	}
	CALL(s, gone, g, at_end);
	s->alive--;
	if (!at_end)
		s->ended++;
	goro_clear(g);
	map_del(&s->goros, (uint64_t)g->id);
	if (s->recent[(uint64_t)g->id % GO_RECENT] == g)
		s->recent[(uint64_t)g->id % GO_RECENT] = NULL;
	g->next_free = s->free_list;
	s->free_list = g;
}

/* It is in the state `to` from now on. */
static always_inline void enter_state(struct gostate *s, struct goro *g, const struct gander_gotrace_event *ev, uint32_t stack, uint32_t own, const unsigned from,
				      const unsigned to)
{
	struct goproc *p;

	if (!g->open_start)
		g->since_ns = s->now;
	g->idle_at_since = g->open_start ? 0 : any_idle(s);
	g->state = (uint8_t)to;
	g->thread = ev->thread;
	g->proc = ev->proc;
	g->stack = stack;
	if (own || from != GANDER_GOTRACE_GO_WAITING) /* a woken goroutine still stands where it waited */
		g->own_stack = own;
	g->reason = gosym_map_string(&s->map, s->syms, ev->transition.reason);
	level_add(s, (unsigned)level_of(to), 1);
	switch (to) {
	case GANDER_GOTRACE_GO_RUNNING:
		if (g->first_run_ns == GO_NEVER)
			g->first_run_ns = s->now;
		g->runs += from != GANDER_GOTRACE_GO_SYSCALL;
		g->label = 0;
		break;
	case GANDER_GOTRACE_GO_RUNNABLE:
		g->cause = from == GANDER_GOTRACE_GO_NOT_EXIST ? GO_CAUSE_CREATED : from == GANDER_GOTRACE_GO_WAITING                     ? GO_CAUSE_UNBLOCKED
									    : from == GANDER_GOTRACE_GO_SYSCALL                           ? GO_CAUSE_SYSCALL
									    : from != GANDER_GOTRACE_GO_RUNNING                           ? GO_CAUSE_UNKNOWN
									    : !strcmp(gosyms_text(s->syms, g->reason), "runtime.Gosched") ? GO_CAUSE_YIELDED
																	  : GO_CAUSE_PREEMPTED;
		break;
	case GANDER_GOTRACE_GO_SYSCALL:
		p = proc_of(s, ev->proc, false);
		if (p && p->state == GANDER_GOTRACE_PROC_RUNNING)
			p->syscall_g = g->id;
		else
			g->off_since_ns = g->since_ns;
		break;
	}
}

/* What came before is over; it goes on as `to`, or not at all. */
static always_inline void arrive(struct gostate *s, struct goro *g, const struct gander_gotrace_event *ev, uint32_t stack, uint32_t own, const unsigned from,
				 const unsigned to)
{
	struct goro *waker;

	if (from == GANDER_GOTRACE_GO_WAITING && ev->goroutine >= 0 && ev->goroutine != g->id) {
		waker = goro_find(s, ev->goroutine);
		if (waker)
			waker->unblocks++;
	}
	if (!g->func && own)
		name_it(s, g, own);
	if (g->watch)
		EACH_SINK(s, s->moved_sinks, k)
	s->sink[k].moved(s->sink[k].ctx, g, from, to, ev);
	if (level_of(to) < 0) {
		g->state = GANDER_GOTRACE_GO_NOT_EXIST;
		goro_gone(s, g, false);
		return;
	}
	enter_state(s, g, ev, stack, own, from, to);
}

/* From one state to the next, as nearly all events have it. The states are constants where it matters: in the order of time it is open which of them comes next,
 * so one branch is guessed wrong every other time, and it should be the only one. */
static always_inline void move(struct gostate *s, struct goro *g, const struct gander_gotrace_event *ev, uint32_t stack, uint32_t own, const unsigned from,
			       const unsigned state, const unsigned to)
{
	leave_state(s, g, ev, stack, state);
	g->open_start = false;
	g->last_moved_ns = s->now;
	arrive(s, g, ev, stack, own, from, to);
}

static void go_transition(struct gostate *s, const struct gander_gotrace_event *ev)
{
	int64_t id = ev->transition.id;
	unsigned from = ev->transition.from, to = ev->transition.to;
	struct goro *g = goro_find(s, id), *maker;
	uint32_t own = gosym_map_stack(&s->map, s->syms, ev->transition.stack);
	uint32_t stack = gosym_map_stack(&s->map, s->syms, ev->stack);

	if (likely(g && from == g->state)) {
		switch (from * GANDER_GOTRACE_GO_STATES + to) {
#define MOVE(a, b) \
	case GANDER_GOTRACE_GO_##a *GANDER_GOTRACE_GO_STATES + GANDER_GOTRACE_GO_##b: \
		move(s, g, ev, stack, own, GANDER_GOTRACE_GO_##a, GANDER_GOTRACE_GO_##a, GANDER_GOTRACE_GO_##b); \
		return
			MOVE(RUNNING, WAITING);
			MOVE(WAITING, RUNNABLE);
			MOVE(RUNNABLE, RUNNING);
			MOVE(RUNNING, RUNNABLE);
			MOVE(RUNNING, SYSCALL);
			MOVE(SYSCALL, RUNNING);
#undef MOVE
		}
	}
	if (from == to) {
		/* a status at a generation's begin: may bring the stack of one that waits all the time */
		if (g && own) {
			if (!g->stack)
				g->stack = own;
			if (!g->own_stack || g->open_start)
				g->own_stack = own;
			if (!g->func)
				name_it(s, g, own);
		}
		if (g)
			return;
		from = GANDER_GOTRACE_GO_UNDETERMINED;
	}
	if (g && (from == GANDER_GOTRACE_GO_NOT_EXIST || from == GANDER_GOTRACE_GO_UNDETERMINED)) {
		leave_any(s, g, NULL, 0); /* only v1 and forged traces: the number is used again without an end */
		goro_gone(s, g, false);
		g = NULL;
	}
	if (!g) {
		g = goro_new(s, id);
		if (!g)
			return;
		g->there_at_start = g->open_start = from != GANDER_GOTRACE_GO_NOT_EXIST;
		g->born_ns = g->since_ns = g->there_at_start ? s->sync_ns : s->now;
		s->there_at_start += g->there_at_start;
		if (s->there_at_start > s->peak) /* idle ones are first mentioned at the end of the first generation */
			s->peak = s->there_at_start;
		g->seen_ns = s->now;
		name_it(s, g, own);
		if (from == GANDER_GOTRACE_GO_NOT_EXIST) {
			s->created++;
			g->made_by = ev->goroutine;
			g->made_stack = stack;
			maker = ev->goroutine >= 0 ? goro_find(s, ev->goroutine) : NULL;
			if (maker) {
				g->made_func = maker->func;
				g->task = maker->nregion ? maker->region[maker->nregion - 1].task : maker->task;
			}
		}
		CALL(s, born, g);
		arrive(s, g, ev, stack, own, from, to);
	} else {
		move(s, g, ev, stack, own, from, g->state, to);
	}
}

static bool counts_as_proc(const struct gostate *s, const struct goproc *p)
{
	return p->id < V1_PSEUDO_PROCS && (!s->gomaxprocs || p->id < (int64_t)s->gomaxprocs);
}

static void count_procs(struct gostate *s)
{
	uint32_t i;

	settle(s);
	s->level[GO_LEVEL_PROCS_IDLE] = s->level[GO_LEVEL_PROCS] = 0;
	for (i = 0; i < s->nproc; i++)
		if (counts_as_proc(s, &s->proc[i])) {
			s->level[GO_LEVEL_PROCS]++;
			s->level[GO_LEVEL_PROCS_IDLE] += s->proc[i].state == GANDER_GOTRACE_PROC_IDLE;
		}
}

static void proc_transition(struct gostate *s, const struct gander_gotrace_event *ev)
{
	unsigned to = ev->transition.to, from;
	struct goproc *p = proc_of(s, ev->transition.id, true);
	struct goro *g;

	if (!p)
		return;
	if (!p->state) {
		p->since_ns = s->nsync <= 1 ? s->start_ns : s->now;
		level_add(s, GO_LEVEL_PROCS, counts_as_proc(s, p));
	}
	from = p->state;
	if (to == GANDER_GOTRACE_PROC_IDLE && p->syscall_g >= 0) {
		g = goro_find(s, p->syscall_g);
		if (g && g->state == GANDER_GOTRACE_GO_SYSCALL && g->off_since_ns == GO_NEVER)
			g->off_since_ns = s->now;
		p->syscall_g = -1;
	}
	if (from == to)
		return;
	if (from == GANDER_GOTRACE_PROC_RUNNING)
		p->busy_ns += (uint64_t)(s->now - p->since_ns);
	else if (from == GANDER_GOTRACE_PROC_IDLE)
		p->idle_ns += (uint64_t)(s->now - p->since_ns);
	if (from)
		p->since_ns = s->now;
	if (counts_as_proc(s, p))
		level_add(s, GO_LEVEL_PROCS_IDLE, (to == GANDER_GOTRACE_PROC_IDLE) - (from == GANDER_GOTRACE_PROC_IDLE));
	p->state = (uint8_t)to;
	CALL(s, proc, p, from, to, ev);
}

static void range_event(struct gostate *s, const struct gander_gotrace_event *ev)
{
	unsigned id = ev->range.id;
	bool begin = ev->kind != GANDER_GOTRACE_RANGE_END, active = ev->kind == GANDER_GOTRACE_RANGE_ACTIVE;
	int64_t since = active ? s->sync_ns : s->now;
	uint32_t name = gosym_map_string(&s->map, s->syms, ev->range.name), stack = gosym_map_stack(&s->map, s->syms, ev->stack);
	struct gorange r = {
		.id = (uint8_t)id,
		.scope = ev->range.scope,
		.scope_id = ev->range.scope_id,
		.name = name,
		.stack = stack,
		.start_ns = since,
		.end_ns = s->now,
		.swept_bytes = ev->range.swept_bytes,
		.reclaimed_bytes = ev->range.reclaimed_bytes,
		.open_start = active,
	};
	struct goproc *p;
	struct goro *g;

	if (id >= GO_RANGES)
		return;
	if (ev->range.scope == GANDER_GOTRACE_RES_GOROUTINE) {
		g = goro_find(s, ev->range.scope_id);
		if (!g || (active && g->range_since[id] != GO_NEVER))
			return;
		if (!begin) {
			if (name)
				g->range_name[id] = name;
			end_range(s, g, id, false);
			return;
		}
		g->range_since[id] = since;
		g->range_stack[id] = stack;
		g->range_name[id] = name;
		g->open_ranges |= (uint8_t)(1u << id);
		r.g = g;
	} else if (ev->range.scope == GANDER_GOTRACE_RES_PROC) {
		p = proc_of(s, ev->range.scope_id, true);
		if (!p || (active && p->sweep_since != GO_NEVER))
			return;
		r.g = ev->goroutine >= 0 ? goro_find(s, ev->goroutine) : NULL;
		if (!begin) {
			if (p->sweep_since == GO_NEVER)
				return;
			r.start_ns = p->sweep_since;
			r.stack = p->sweep_stack;
			r.open_start = p->sweep_since <= s->start_ns;
			p->sweep_since = GO_NEVER;
			if (r.g && r.g->id == p->sweep_g)
				r.g->range_ns[id] += (uint64_t)(s->now - r.start_ns);
			CALL(s, range, &r);
			return;
		}
		p->sweep_since = since;
		p->sweep_stack = stack;
		p->sweep_g = ev->goroutine;
	} else {
		if (!begin) {
			if (s->mark_since == GO_NEVER)
				return;
			r.start_ns = s->mark_since;
			r.open_start = s->mark_since <= s->start_ns;
			s->mark_since = GO_NEVER;
			CALL(s, range, &r);
			return;
		}
		if (s->mark_since != GO_NEVER)
			return;
		s->mark_since = since;
	}
	CALL(s, range_begin, &r);
}

static void region_event(struct gostate *s, const struct gander_gotrace_event *ev, struct goro *g)
{
	struct goro_region r = { ev->region.task, gosym_map_string(&s->map, s->syms, ev->region.type), 0, s->now, { { 0 } } };

	if (!g)
		return;
	if (ev->kind == GANDER_GOTRACE_REGION_END) {
		if (g->nregion) {
			r = g->region[--g->nregion];
			end_region(s, g, &r, false, false);
		} else {
			/* began before the trace: inside it, it took everything since the goroutine's first mention */
			r.start_ns = g->born_ns;
			end_region(s, g, &r, true, false);
		}
		return;
	}
	if (g->nregion == g->region_cap) {
		uint32_t cap = g->region_cap ? g->region_cap * 2 : 4;
		struct goro_region *region;

		if (g->nregion >= MAX_OPEN_REGIONS)
			return;
		region = realloc(g->region, (size_t)cap * sizeof(*region));
		if (!region) {
			s->failed = true;
			return;
		}
		g->region = region;
		g->region_cap = cap;
	}
	r.stack = gosym_map_stack(&s->map, s->syms, ev->stack);
	gostate_parts(s, g, &r.at_start);
	g->region[g->nregion++] = r;
}

void gostate_event(struct gostate *s, const struct gander_gotrace_event *ev)
{
	struct goro *g = NULL;
	unsigned kind;

	if (!s->running) {
		s->running = true;
		s->start_ns = s->sync_ns = s->now = ev->time_ns;
		for (unsigned k = 0; k < GO_LEVELS; k++)
			s->level_at[k] = s->now;
		s->next_tick = INT64_MAX; /* until a sink's begin asks for ticks */
		CALL(s, begin);
	}
	advance(s, ev->time_ns);
	s->events++;
	if (ev->kind < GANDER_GOTRACE_KINDS)
		s->kind_events[ev->kind]++;
	kind = s->light && ev->kind != GANDER_GOTRACE_SYNC ? GANDER_GOTRACE_BAD : ev->kind;
	if (likely(kind == GANDER_GOTRACE_STATE_TRANSITION)) {
		if (likely(ev->transition.resource == GANDER_GOTRACE_RES_GOROUTINE))
			go_transition(s, ev);
		else if (ev->transition.resource == GANDER_GOTRACE_RES_PROC)
			proc_transition(s, ev);
		goto sinks;
	}
	switch (kind) {
	case GANDER_GOTRACE_SYNC:
		s->sync_ns = s->now;
		s->nsync++;
		if (ev->sync.has_clock && !s->wall_ns && ev->sync.wall_sec >= 0 && ev->sync.wall_sec < INT64_MAX / 2000000000)
			s->wall_ns = ev->sync.wall_sec * 1000000000 + ev->sync.wall_nsec + (s->start_ns - ev->sync.trace_ns);
		break;
	case GANDER_GOTRACE_METRIC:
		if (ev->metric.id == GANDER_GOTRACE_METRIC_GOMAXPROCS && ev->metric.value < UINT32_MAX && ev->metric.value != s->gomaxprocs) {
			s->gomaxprocs = (uint32_t)ev->metric.value;
			count_procs(s);
		}
		break;
	case GANDER_GOTRACE_LABEL:
		g = goro_find(s, ev->label.goroutine);
		if (g) {
			bool was = g->label && !strncmp(gosyms_text(s->syms, g->label), "GC ", 3);

			g->label = gosym_map_string(&s->map, s->syms, ev->label.label);
			if (g->state == GANDER_GOTRACE_GO_RUNNING)
				level_add(s, GO_LEVEL_GC_WORKERS, !strncmp(gosyms_text(s->syms, g->label), "GC ", 3) - was);
		}
		break;
	case GANDER_GOTRACE_RANGE_BEGIN:
	case GANDER_GOTRACE_RANGE_ACTIVE:
	case GANDER_GOTRACE_RANGE_END:
		range_event(s, ev);
		break;
	case GANDER_GOTRACE_REGION_BEGIN:
	case GANDER_GOTRACE_REGION_END:
		region_event(s, ev, ev->goroutine >= 0 ? goro_find(s, ev->goroutine) : NULL);
		break;
	}
sinks:
	if (ev->kind < GANDER_GOTRACE_KINDS && s->kind_sinks[ev->kind]) {
		g = ev->goroutine >= 0 && !s->light ? goro_find(s, ev->goroutine) : NULL;
		EACH_SINK(s, s->kind_sinks[ev->kind], k)
		s->sink[k].event(s->sink[k].ctx, ev, g);
	}
}

static int by_id(const void *a, const void *b)
{
	const struct goro *x = *(struct goro *const *)a, *y = *(struct goro *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

int gostate_end(struct gostate *s, struct err *err)
{
	struct goro **all = calloc((size_t)s->alive + 1, sizeof(*all));
	uint64_t at = 0, id, p;
	uint32_t n = 0, i;

	if (!all)
		return err_set(err, -ENOMEM, "out of memory");
	settle(s);
	/* in the order of their numbers, so that the same trace gives the same answer */
	while (n < s->alive && map_next(&s->goros, &at, &id, &p))
		all[n++] = (struct goro *)(uintptr_t)p;
	qsort(all, n, sizeof(*all), by_id);
	for (i = 0; i < n; i++) {
		leave_any(s, all[i], NULL, 0);
		goro_gone(s, all[i], true);
	}
	free(all);
	for (i = 0; i < s->nproc; i++) {
		struct goproc *q = &s->proc[i];

		if (q->state == GANDER_GOTRACE_PROC_RUNNING)
			q->busy_ns += (uint64_t)(s->now - q->since_ns);
		else if (q->state == GANDER_GOTRACE_PROC_IDLE)
			q->idle_ns += (uint64_t)(s->now - q->since_ns);
		q->since_ns = s->now;
	}
	if (s->running)
		CALL(s, end);
	if (s->failed || s->map.failed)
		return err_set(err, -ENOMEM, "out of memory: the answer would not be whole");
	return 0;
}
