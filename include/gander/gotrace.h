/* Go execution traces, read as a stream of ordered events.
 *
 * Formats: 1.11, 1.19, 1.21 ("v1": written by Go 1.11 to 1.21) and 1.22, 1.23, 1.25, 1.26 ("v2": Go 1.22 and later; Go 1.27 writes 1.26).
 * Both come out in one model, that of golang.org/x/exp/trace: the same events with the same content in the same order.
 *
 *	struct gander_gotrace *t;
 *	struct gander_gotrace_event ev;
 *	struct gander_err err;
 *	int r;
 *
 *	if (gander_gotrace_open(&t, "trace.out", NULL, &err) < 0)
 *		die(err.text);
 *	while ((r = gander_gotrace_next(t, &ev, &err)) > 0)
 *		use(&ev);
 *	if (r < 0)
 *		warn(err.text);		(all events before the damage were delivered)
 *	gander_gotrace_free(t);
 *
 * Units: times and durations are nanoseconds, sizes bytes. v2 times are CLOCK_MONOTONIC on Linux; v1 times start at 0.
 * Times of delivered events are strictly increasing.
 *
 * Ownership: a reader belongs to one thread at a time; several readers may live in several threads. What an accessor returns belongs to
 * the reader. A string stays where it is until gander_gotrace_free(); a log message, a stack's list of frames, a frame and an experiment's
 * batch until the next gander_gotrace_next(). Ids stay good to the end.
 *
 * Ids: strings, frames and stacks are interned for the reader's whole life: equal ids mean equal content, and different ids different
 * content, across generations. They are dense from 1; 0 is the empty string and "no stack". So an analysis may index arrays with them.
 *
 * Memory: v2 needs one generation (about a second of the trace), the live goroutines and the interned tables; v1 needs its stacks and strings
 * and an index of its batches, and for input that cannot seek a temporary file as large as the input.
 *
 * Errors: calls return -Exxx and say why in `err`. A truncated or corrupt trace delivers every complete generation first, then
 * one error with byte offset, generation and what was expected; the reader then repeats that error. -EPROTO: the bytes are no (sound) trace;
 * -ENOTSUP: a version that is not read; -EFBIG: a stated limit; others come from the system. */
#ifndef GANDER_GOTRACE_H
#define GANDER_GOTRACE_H

#include "gander/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gander_gotrace;

/* The kinds of the public Go reader, in its order. */
enum gander_gotrace_kind {
	GANDER_GOTRACE_BAD,
	GANDER_GOTRACE_SYNC,
	GANDER_GOTRACE_METRIC,
	GANDER_GOTRACE_LABEL,
	GANDER_GOTRACE_STACK_SAMPLE,
	GANDER_GOTRACE_RANGE_BEGIN,
	GANDER_GOTRACE_RANGE_ACTIVE, /* was already open when its generation began */
	GANDER_GOTRACE_RANGE_END,
	GANDER_GOTRACE_TASK_BEGIN,
	GANDER_GOTRACE_TASK_END,
	GANDER_GOTRACE_REGION_BEGIN,
	GANDER_GOTRACE_REGION_END,
	GANDER_GOTRACE_LOG,
	GANDER_GOTRACE_STATE_TRANSITION,
	GANDER_GOTRACE_EXPERIMENTAL,
	GANDER_GOTRACE_KINDS
};

enum gander_gotrace_resource {
	GANDER_GOTRACE_RES_NONE, /* global */
	GANDER_GOTRACE_RES_GOROUTINE,
	GANDER_GOTRACE_RES_PROC,
	GANDER_GOTRACE_RES_THREAD
};

enum gander_gotrace_go_state {
	GANDER_GOTRACE_GO_UNDETERMINED, /* as `from`: first mention of a goroutine that was there before */
	GANDER_GOTRACE_GO_NOT_EXIST,
	GANDER_GOTRACE_GO_RUNNABLE,
	GANDER_GOTRACE_GO_RUNNING,
	GANDER_GOTRACE_GO_WAITING,
	GANDER_GOTRACE_GO_SYSCALL, /* a cgo call counts as a system call */
	GANDER_GOTRACE_GO_STATES
};

enum gander_gotrace_proc_state {
	GANDER_GOTRACE_PROC_UNDETERMINED,
	GANDER_GOTRACE_PROC_NOT_EXIST,
	GANDER_GOTRACE_PROC_RUNNING,
	GANDER_GOTRACE_PROC_IDLE,
	GANDER_GOTRACE_PROC_STATES
};

/* The ranges there are; the name of a stop-the-world range also says its cause ("stop-the-world (GC mark termination)"). */
enum gander_gotrace_range_id {
	GANDER_GOTRACE_RANGE_STW,        /* on a goroutine */
	GANDER_GOTRACE_RANGE_GC_MARK,    /* global: "GC concurrent mark phase" */
	GANDER_GOTRACE_RANGE_SWEEP,      /* on a proc: "GC incremental sweep" */
	GANDER_GOTRACE_RANGE_MARK_ASSIST /* on a goroutine: "GC mark assist" */
};

enum gander_gotrace_metric_id {
	GANDER_GOTRACE_METRIC_GOMAXPROCS, /* "/sched/gomaxprocs:threads" */
	GANDER_GOTRACE_METRIC_HEAP_ALLOC, /* "/memory/classes/heap/objects:bytes" */
	GANDER_GOTRACE_METRIC_HEAP_GOAL   /* "/gc/heap/goal:bytes" */
};

#define GANDER_GOTRACE_NONE     (-1)           /* no goroutine, proc, thread */
#define GANDER_GOTRACE_NO_TASK  (~(uint64_t)0) /* no parent task; task 0 is the background task */
#define GANDER_GOTRACE_EXP_ARGS 3

/* One event. thread, proc and goroutine are the context it happened in, as it was *before* the event. */
struct gander_gotrace_event {
	int64_t time_ns;
	int64_t thread;    /* v2: the kernel's TID; v1: a number of the runtime's; GANDER_GOTRACE_NONE */
	int64_t proc;      /* GANDER_GOTRACE_NONE: no P. v1: 1000001 and up are the runtime's timers, poller, system calls, GC */
	int64_t goroutine; /* GANDER_GOTRACE_NONE: none */
	uint32_t stack;    /* stack id of the context, 0: none */
	uint8_t kind;      /* enum gander_gotrace_kind */
	uint8_t wire;      /* the v2 wire type that it stands for (Go's internal/trace/tracev2), 255 for a sync */
	union {
		struct {                  /* STATE_TRANSITION */
			int64_t id;       /* of the goroutine or proc */
			uint8_t resource; /* RES_GOROUTINE or RES_PROC */
			uint8_t from, to; /* enum gander_gotrace_go_state or _proc_state */
			uint8_t status;   /* of a ProcStatus event as it was written (1 running, 2 idle, 3 in a system call, 4 left behind in one), else 0 */
			uint32_t reason;  /* string id; "" but for a stop (Running to Runnable) and a block (Running to Waiting) */
			uint32_t stack;   /* of the resource: a new goroutine's entry, where the goroutine stopped or blocked; 0: not known.
					    * Who woke or made it: event.goroutine and event.stack. */
		} transition;
		struct {               /* METRIC */
			uint8_t id;    /* enum gander_gotrace_metric_id */
			uint32_t name; /* string id */
			uint64_t value;
		} metric;
		struct { /* LABEL, of goroutine `goroutine` (the same as event.goroutine) */
			int64_t goroutine;
			uint32_t label; /* string id */
		} label;
		struct {                                       /* RANGE_BEGIN, RANGE_ACTIVE, RANGE_END */
			int64_t scope_id;                      /* 0 for a global one */
			uint8_t scope;                         /* RES_GOROUTINE, RES_PROC, RES_NONE */
			uint8_t id;                            /* enum gander_gotrace_range_id */
			uint32_t name;                         /* string id */
			uint64_t swept_bytes, reclaimed_bytes; /* at the end of a sweep, else 0 */
		} range;
		struct { /* TASK_BEGIN, TASK_END */
			uint64_t id;
			uint64_t parent; /* or GANDER_GOTRACE_NO_TASK */
			uint32_t type;   /* string id; "" at the end of a task whose begin is not in the trace */
		} task;
		struct {               /* REGION_BEGIN, REGION_END; they nest in a goroutine */
			uint64_t task; /* 0: the background task */
			uint32_t type; /* string id */
		} region;
		struct { /* LOG */
			uint64_t task;
			const char *message; /* NUL-terminated; valid until the next gander_gotrace_next() (messages are not interned) */
			uint32_t message_len;
			uint32_t category; /* string id */
		} log;
		struct {                /* SYNC: first of each generation, and the last event of all */
			uint32_t n;     /* 1, 2, ... */
			bool has_clock; /* format 1.25 and later: one moment on three clocks follows */
			bool gap;       /* GANDER_GOTRACE_SALVAGE: events before this are lost, states begin anew */
			uint32_t wall_nsec;
			int64_t wall_sec;     /* Unix time */
			uint64_t mono_ns;     /* CLOCK_MONOTONIC */
			int64_t trace_ns;     /* the trace's clock */
			uint32_t exp_batches; /* how many gander_gotrace_exp_batch() gives */
		} sync;
		struct { /* EXPERIMENTAL: the arguments as they were written; names by gander_gotrace_exp_name() and _exp_arg() */
			uint64_t args[GANDER_GOTRACE_EXP_ARGS];
			uint8_t nargs;
			uint8_t experiment; /* 1: alloc/free */
		} exp;
	};
};

struct gander_gotrace_frame {
	uint64_t pc;
	uint64_t line;
	uint32_t func, file; /* string ids */
};

/* A batch of an experiment, as it was written; valid until the next gander_gotrace_next(). */
struct gander_gotrace_exp_batch {
	uint8_t experiment;
	int64_t thread;
	const void *data;
	size_t size;
};

enum {
	/* Do not resolve stacks: event.stack and transition.stack are 0. Everything is checked all the same. Saves the interning. */
	GANDER_GOTRACE_NO_STACKS = 1,
	/* v2: go on behind damage. What of a damaged generation can still be put in order is delivered; where its tables are lost, stacks are 0 and texts "".
	 * The error comes at the end all the same. */
	GANDER_GOTRACE_SALVAGE = 2,
};

/* Fill with GANDER_GOTRACE_OPTS_INIT; a member that is 0 means its default. */
struct gander_gotrace_opts {
	size_t size; /* of this struct, for growth */
	unsigned flags;
	uint64_t max_generation_bytes; /* a v2 generation larger than this is refused: default 1 GiB */
	const char *tmpdir;            /* where v1 input that cannot seek is spooled: default $TMPDIR, then /var/tmp, then /tmp */
};

#define GANDER_GOTRACE_OPTS_INIT \
	{ \
		sizeof(struct gander_gotrace_opts), 0, 0, 0 \
	}

/* Opening reads the header and, for v1, indexes the whole input. `opts` may be NULL. 0 or -Exxx.
 * By path: "-" is standard input. By descriptor: borrowed, stays open, read from where it stands. From memory: borrowed.
 * By callback: read(arg, to, size) returns the bytes put into `to`, 0 at the end, or -Exxx, which is handed on. */
int gander_gotrace_open(struct gander_gotrace **ret, const char *path, const struct gander_gotrace_opts *opts, struct gander_err *err);
int gander_gotrace_open_fd(struct gander_gotrace **ret, int fd, const struct gander_gotrace_opts *opts, struct gander_err *err);
int gander_gotrace_open_mem(struct gander_gotrace **ret, const void *data, size_t size, const struct gander_gotrace_opts *opts,
			    struct gander_err *err);
typedef int64_t gander_gotrace_read_fn(void *arg, void *to, size_t size);
int gander_gotrace_open_read(struct gander_gotrace **ret, gander_gotrace_read_fn *read, void *arg, const struct gander_gotrace_opts *opts,
			     struct gander_err *err);
void gander_gotrace_free(struct gander_gotrace *t); /* NULL is fine */

/* The next event: 1, 0 at the end, or -Exxx (then `ev` is untouched, and every later call says the same). */
int gander_gotrace_next(struct gander_gotrace *t, struct gander_gotrace_event *ev, struct gander_err *err);

/* Runs to the end and only counts, by kind: everything that next() checks is checked. 0 or -Exxx; `counts` holds what was delivered either way.
 * May follow next(): counts what is left. */
int gander_gotrace_count(struct gander_gotrace *t, uint64_t counts[GANDER_GOTRACE_KINDS], struct gander_err *err);

/* Strings: NUL-terminated, but may hold NUL bytes and bytes that are not UTF-8. An unknown id gives "". */
const char *gander_gotrace_string(const struct gander_gotrace *t, uint32_t id);
uint32_t gander_gotrace_string_len(const struct gander_gotrace *t, uint32_t id);
uint32_t gander_gotrace_strings(const struct gander_gotrace *t); /* ids are below this */

/* The id of a text if the trace has named it so far, else 0 (as for ""). For comparing reasons by number. */
uint32_t gander_gotrace_find_string(const struct gander_gotrace *t, const char *text);

/* Stacks: the number of frames, leaf first, and the frames' ids. Unknown id and 0: none. */
unsigned gander_gotrace_stack(const struct gander_gotrace *t, uint32_t id, const uint32_t **ret_frames);
uint32_t gander_gotrace_stacks(const struct gander_gotrace *t);                                          /* ids are below this */
const struct gander_gotrace_frame *gander_gotrace_frame(const struct gander_gotrace *t, uint32_t frame); /* an unknown id: a frame of zeros */
uint32_t gander_gotrace_frames(const struct gander_gotrace *t);                                          /* ids are below this */

/* Experimental events and batches. Batches belong to the sync event that was delivered last. */
const char *gander_gotrace_exp_name(uint8_t wire);                                                              /* "SpanAlloc"; NULL: not experimental */
const char *gander_gotrace_exp_arg(uint8_t wire, unsigned i);                                                   /* "npages_value"; NULL: no such argument */
int gander_gotrace_exp_batch(const struct gander_gotrace *t, uint32_t i, struct gander_gotrace_exp_batch *ret); /* 0 or -ENOENT */

/* Names as the Go tools print them; static. */
const char *gander_gotrace_kind_name(unsigned kind);
const char *gander_gotrace_go_state_name(unsigned state);
const char *gander_gotrace_proc_state_name(unsigned state);
const char *gander_gotrace_wire_name(uint8_t wire); /* "GoBlock"; NULL: unknown */

struct gander_gotrace_info {
	unsigned version;     /* 11, 19, 21, 22, 23, 25, 26 */
	uint64_t generation;  /* the one that is being delivered; 0 before the first, 1 in v1 */
	uint64_t generations; /* begun so far */
	uint64_t events;      /* delivered so far */
	uint64_t read_bytes;  /* of the input, taken in so far */
	uint64_t size_bytes;  /* of the input; 0: not known */
};
void gander_gotrace_info(const struct gander_gotrace *t, struct gander_gotrace_info *ret);

#ifdef __cplusplus
}
#endif

#endif
