/* What every goroutine, P and range of a Go trace is doing at each instant, from the ordered event stream.
 *
 * gostate_event() takes the reader's events one by one and hands finished *spans* to the sinks: a goroutine was in one state from
 * start to end, with the stacks at both sides, who ended it, on which P and thread. An analysis is a sink. Sinks are called in the order
 * they were added, on the caller's thread; what they are handed is good for the call only, but for struct goro, which lives until its `gone`.
 *
 * What must hold: an event costs O(1), whatever has come before; memory is that of the goroutines alive, the open regions
 * and the distinct names and stacks. Input may be hostile: nothing here trusts that states fit together.
 *
 * What was there when the trace began has begun "at least" at the first sync (open_start); what is still going on when it ends, ends
 * with the last event (open_end). Both are inside the trace's time, so sums are exact; only their full length is not known. */
#ifndef GANDER_ANALYZE_GOSTATE_H
#define GANDER_ANALYZE_GOSTATE_H

#include "analyze/gosyms.h"
#include "base/err.h"

#define GO_NEVER INT64_MIN

/* Where a goroutine's time goes: parts that do not overlap. */
enum go_part {
	GO_PART_RUN,         /* on a P, or in a cgo callback */
	GO_PART_SCHED,       /* runnable: would run if somebody let it */
	GO_PART_WAIT,        /* blocked; by reason in goro.wait */
	GO_PART_SYSCALL,     /* in a system or cgo call, its P still held for it */
	GO_PART_SYSCALL_OFF, /* in one that was long enough for the P to be taken away */
	GO_PARTS
};

/* Why a goroutine became runnable. */
enum go_cause { GO_CAUSE_UNKNOWN,
		GO_CAUSE_CREATED,
		GO_CAUSE_UNBLOCKED,
		GO_CAUSE_PREEMPTED,
		GO_CAUSE_YIELDED,
		GO_CAUSE_SYSCALL,
		GO_CAUSES };
extern const char *const go_cause_name[GO_CAUSES];
extern const char *const go_part_name[GO_PARTS];

#define GO_RANGES 4 /* enum gander_gotrace_range_id */

struct goro_wait {
	uint32_t reason, count;
	uint64_t ns;
};

struct goro_parts {
	uint64_t ns[GO_PARTS];
};

struct goro_region {
	uint64_t task;
	uint32_t type, stack;
	int64_t start_ns;
	struct goro_parts at_start;
};

/* What every change of state touches comes first: three cache lines. */
struct goro {
	int64_t id;
	int64_t since_ns;       /* of this state */
	int64_t off_since_ns;   /* in a system call without its P since, or GO_NEVER */
	uint64_t idle_at_since; /* gostate.any_idle_ns then */
	int64_t thread, proc;   /* of the state's begin */
	int64_t last_moved_ns;  /* of the last real change of state */
	uint32_t stack;         /* of the event that began the state (a waker's or creator's, when runnable) */
	uint32_t own_stack;     /* the goroutine's own, where it stopped; its entry function when new */
	uint32_t reason;
	uint32_t func;           /* entry function, 0: no stack of it seen */
	uint32_t label;          /* the last EV_LABEL */
	uint32_t runs, unblocks; /* times it was put on a P; times it woke others */
	uint16_t nwait, wait_cap;
	uint8_t state;                          /* enum gander_gotrace_go_state */
	uint8_t cause;                          /* enum go_cause, when runnable */
	bool system;                            /* of the runtime; false while its function is not known */
	bool open_start, there_at_start, watch; /* watch: sinks' `moved` wanted */
	uint8_t open_ranges;                    /* bits */
	struct goro_wait *wait;                 /* by reason, finished waits; most goroutines have one to three */
	struct goro_parts parts;                /* of the finished states */
	int64_t first_run_ns;                   /* GO_NEVER: has not run in this trace */
	void *user;                             /* one sink's, freed with `gone` */

	int64_t made_by;     /* -1: not in this trace */
	int64_t born_ns;     /* creation, or the trace's begin */
	int64_t seen_ns;     /* first mention */
	uint32_t made_stack; /* where `go` was called */
	uint32_t made_func;  /* entry function of the creator */
	uint32_t nregion, region_cap;
	struct goro_region *region; /* open ones, innermost last */
	uint64_t task;              /* inherited from the creator's region, or GANDER_GOTRACE_NO_TASK */
	int64_t range_since[GO_RANGES];
	uint64_t range_ns[GO_RANGES];
	uint32_t range_stack[GO_RANGES], range_name[GO_RANGES];
	struct goro *next_free;
};

struct gospan {
	struct goro *g;
	int64_t start_ns, end_ns;
	uint8_t state; /* enum gander_gotrace_go_state */
	uint8_t cause;
	bool open_start, open_end;
	uint32_t reason;      /* of a wait, or of the stop that made it runnable */
	uint32_t stack;       /* of the event that began it */
	uint32_t own_stack;   /* where the goroutine itself stood then */
	uint32_t end_stack;   /* of the event that ended it: a wait's waker */
	int64_t ended_by;     /* the goroutine in whose context it ended; -1: none (a timer, the network poller) */
	int64_t thread, proc; /* where it began: where it ran, or made its system call */
	int64_t end_thread, end_proc;
	uint64_t idle_ns; /* runnable: for so long at least one P was idle meanwhile */
	uint64_t off_ns;  /* syscall: for so long without a P */
};

struct goregion {
	struct goro *g;
	const struct goro_region *r;
	int64_t end_ns;
	bool open_start, open_end;
	struct goro_parts parts;
};

struct gorange {
	uint8_t id, scope;
	uint32_t name, stack;
	int64_t scope_id, start_ns, end_ns;
	bool open_start, open_end;
	struct goro *g; /* of a goroutine's range, else who was running there at its end; may be NULL */
	uint64_t swept_bytes, reclaimed_bytes;
	uint64_t run_ns; /* a goroutine's range: the part in which it was running */
};

struct goproc {
	int64_t id, since_ns;
	uint8_t state;     /* enum gander_gotrace_proc_state */
	int64_t syscall_g; /* the goroutine whose system call holds it, or -1 */
	int64_t sweep_since;
	uint32_t sweep_stack, sweep_name;
	int64_t sweep_g;
	uint64_t busy_ns, idle_ns;
};

struct gosink {
	void *ctx;
	unsigned spans;         /* 1 << state: which spans it wants */
	unsigned watched_spans; /* the same, but only of goroutines that have `watch` set */
	unsigned kinds;         /* 1 << GANDER_GOTRACE_...: which events it wants raw, after they were tracked */
	void (*begin)(void *ctx);
	void (*span)(void *ctx, const struct gospan *s);
	void (*event)(void *ctx, const struct gander_gotrace_event *ev, struct goro *g); /* g: of the context, may be NULL */
	void (*moved)(void *ctx, struct goro *g, unsigned from, unsigned to, const struct gander_gotrace_event *ev);
	void (*proc)(void *ctx, const struct goproc *p, unsigned from, unsigned to, const struct gander_gotrace_event *ev);
	void (*range)(void *ctx, const struct gorange *r);
	void (*range_begin)(void *ctx, const struct gorange *r);
	void (*region)(void *ctx, const struct goregion *r);
	void (*born)(void *ctx, struct goro *g);
	void (*gone)(void *ctx, struct goro *g, bool at_end); /* at_end: the trace ended, not the goroutine */
	void (*tick)(void *ctx);                              /* at multiples of gostate.tick_ns, integrals exact at gostate.now */
	void (*end)(void *ctx);
};

#define GO_SINKS  24
#define GO_RECENT 256

/* Numbers of things at one instant, and their integrals over time. */
enum go_level { GO_LEVEL_RUN,
		GO_LEVEL_SCHED,
		GO_LEVEL_WAIT,
		GO_LEVEL_SYSCALL,
		GO_LEVEL_PROCS_IDLE,
		GO_LEVEL_PROCS,
		GO_LEVEL_GC_WORKERS,
		GO_LEVELS };

struct gostate {
	struct gosyms *syms; /* borrowed */
	struct gosym_map map;
	bool light;   /* set before the first event: states are not tracked, sinks get raw events only */
	bool running; /* between begin and end */
	int64_t start_ns, sync_ns, now;
	uint64_t past_ns; /* length of the traces before this one */
	uint32_t nsync;
	uint64_t any_idle_ns; /* of all traces: time with at least one P idle; settled as the levels are */
	uint32_t gomaxprocs;
	int32_t level[GO_LEVELS];
	uint64_t level_ns[GO_LEVELS]; /* of all traces, up to level_at; exact in `tick` and after gostate_end() */
	int64_t level_at[GO_LEVELS];
	uint32_t alive, peak, there_at_start; /* goroutines */
	uint64_t created, ended;
	int64_t wall_ns;    /* Unix time of the trace's begin; 0: not known */
	int64_t mark_since; /* the open GC mark phase, or GO_NEVER */
	int64_t tick_ns, next_tick;
	uint64_t events, kind_events[GANDER_GOTRACE_KINDS];
	struct map goros;               /* id -> struct goro * */
	struct goro *recent[GO_RECENT]; /* by the lower bits of the id: those alive that were looked up last */
	struct map procs;               /* id -> index in proc */
	struct goproc *proc;
	uint32_t nproc, proc_cap;
	struct goro *free_list, **chunk;
	uint32_t nchunk, chunk_cap;
	bool failed; /* out of memory at some time */
	struct gosink sink[GO_SINKS];
	unsigned nsink, span_sinks[GANDER_GOTRACE_GO_STATES], watched_sinks[GANDER_GOTRACE_GO_STATES], kind_sinks[GANDER_GOTRACE_KINDS], moved_sinks; /* bit sets of sinks */
};

void gostate_init(struct gostate *s, struct gosyms *syms);
void gostate_done(struct gostate *s);
int gostate_add(struct gostate *s, const struct gosink *sink); /* before the first event; 0 or -ENOSPC */
/* One trace: begin, its events, end. Further traces may follow; the sinks go on adding up. */
void gostate_begin(struct gostate *s, const struct gander_gotrace *reader);
void gostate_event(struct gostate *s, const struct gander_gotrace_event *ev);
int gostate_end(struct gostate *s, struct err *err); /* 0, or -ENOMEM when memory ran out at any time */

struct goro *gostate_goro(struct gostate *s, int64_t id); /* NULL: not alive */
/* The parts up to this instant, the state that is going on included. */
void gostate_parts(const struct gostate *s, const struct goro *g, struct goro_parts *to);
static inline int64_t gostate_length_ns(const struct gostate *s)
{
	return s->now - s->start_ns;
}

#endif
