/* Inside the reader: input, interned tables, the two format families. Private to src/gotrace. */
#ifndef GANDER_GOTRACE_INTERNAL_H
#define GANDER_GOTRACE_INTERNAL_H

#include "base/varint.h"
#include "gotrace/gotrace.h"
#include "gotrace/gotrace_map.h"

#include <sys/types.h>

#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)
#define always_inline inline __attribute__((always_inline))

/* ---- input: a stream of bytes, and for v1 bytes at an offset ---- */

struct input {
	gander_gotrace_read_fn *read; /* callback */
	void *arg;
	int fd; /* -1: none */
	bool own_fd;
	const uint8_t *mem; /* memory */
	uint64_t mem_len;
	uint64_t pos;  /* bytes taken so far */
	uint64_t size; /* 0: not known */
	off_t start;   /* where the trace begins in fd */
};

int64_t input_read(struct input *in, void *to, size_t size, struct err *err); /* bytes, 0 at the end, -Exxx */
/* Makes the input readable at any offset, spooling what cannot seek into a temporary file; `head` are bytes already taken from its start. */
int input_seekable(struct input *in, const void *head, size_t head_len, const char *tmpdir, struct err *err);
int64_t input_pread(const struct input *in, void *to, size_t size, uint64_t off, struct err *err); /* as much as there is */
void input_done(struct input *in);

/* ---- interned strings, frames and stacks ---- */

struct str {
	const char *p;
	uint32_t len;
};

struct stk {
	uint32_t first, n; /* in stack_frames */
};

struct arena {
	struct arena_block *block;
	size_t used, cap;
};

struct tables {
	struct arena text;
	struct str *str;
	uint32_t nstr, cap_str;
	struct gander_gotrace_frame *frame;
	uint32_t nframe, cap_frame;
	struct stk *stk;
	uint32_t nstk, cap_stk;
	uint32_t *stack_frames;
	uint32_t nstack_frames, cap_stack_frames;
	uint32_t *str_hash, *frame_hash, *stk_hash; /* ids, 0: empty */
	uint32_t str_mask, frame_mask, stk_mask;
};

int tables_init(struct tables *t);
void tables_done(struct tables *t);
/* The id, or 0 for the empty one; -ENOMEM. */
int64_t tables_str(struct tables *t, const char *p, size_t len);
int64_t tables_frame(struct tables *t, const struct gander_gotrace_frame *f);
int64_t tables_stack(struct tables *t, const uint32_t *frames, unsigned n);
uint32_t tables_find_str(const struct tables *t, const char *p, size_t len);

/* Strings that the reader itself gives, interned at open in this order (ids 1, 2, ...). */
enum {
	STR_EMPTY,
	STR_METRIC_GOMAXPROCS,
	STR_METRIC_HEAP_ALLOC,
	STR_METRIC_HEAP_GOAL,
	STR_RANGE_GC_MARK,
	STR_RANGE_SWEEP,
	STR_RANGE_MARK_ASSIST,
	STR_FOREVER,
	STR_PREEMPTED,
	STR_GOSCHED,
	STR_SLEEP,
	STR_CHAN_SEND,
	STR_CHAN_RECV,
	STR_NETWORK,
	STR_SYNC,
	STR_SYNC_COND,
	STR_SELECT,
	STR_ASSIST_WAIT,
	STR_COUNT
};
int64_t tables_stw_name(struct tables *t, uint32_t kind); /* "stop-the-world (KIND)" */

/* ---- wire types of v2 ---- */

enum {
	EV_EVENT_BATCH = 1,
	EV_STACKS,
	EV_STACK,
	EV_STRINGS,
	EV_STRING,
	EV_CPU_SAMPLES,
	EV_CPU_SAMPLE,
	EV_FREQUENCY,
	EV_PROCS_CHANGE,
	EV_PROC_START,
	EV_PROC_STOP,
	EV_PROC_STEAL,
	EV_PROC_STATUS,
	EV_GO_CREATE,
	EV_GO_CREATE_SYSCALL,
	EV_GO_START,
	EV_GO_DESTROY,
	EV_GO_DESTROY_SYSCALL,
	EV_GO_STOP,
	EV_GO_BLOCK,
	EV_GO_UNBLOCK,
	EV_GO_SYSCALL_BEGIN,
	EV_GO_SYSCALL_END,
	EV_GO_SYSCALL_END_BLOCKED,
	EV_GO_STATUS,
	EV_STW_BEGIN,
	EV_STW_END,
	EV_GC_ACTIVE,
	EV_GC_BEGIN,
	EV_GC_END,
	EV_GC_SWEEP_ACTIVE,
	EV_GC_SWEEP_BEGIN,
	EV_GC_SWEEP_END,
	EV_GC_MARK_ASSIST_ACTIVE,
	EV_GC_MARK_ASSIST_BEGIN,
	EV_GC_MARK_ASSIST_END,
	EV_HEAP_ALLOC,
	EV_HEAP_GOAL,
	EV_GO_LABEL,
	EV_USER_TASK_BEGIN,
	EV_USER_TASK_END,
	EV_USER_REGION_BEGIN,
	EV_USER_REGION_END,
	EV_USER_LOG,
	EV_GO_SWITCH,
	EV_GO_SWITCH_DESTROY,
	EV_GO_CREATE_BLOCKED,
	EV_GO_STATUS_STACK,
	EV_EXPERIMENTAL_BATCH,
	EV_SYNC,
	EV_CLOCK_SNAPSHOT,
	EV_END_OF_GENERATION,
	EV_SPAN = 128,
	EV_SPAN_ALLOC,
	EV_SPAN_FREE,
	EV_HEAP_OBJECT,
	EV_HEAP_OBJECT_ALLOC,
	EV_HEAP_OBJECT_FREE,
	EV_GOROUTINE_STACK,
	EV_GOROUTINE_STACK_ALLOC,
	EV_GOROUTINE_STACK_FREE,
	EV_READER_SYNC = 255, /* what a sync event has as `wire` */
};

#define WIRE_MAX_ARGS 5               /* with the time delta */
extern const uint8_t wire_nargs[256]; /* of timed events, with the time delta; 0: not such an event */

#define STW_CAUSES 17
extern const char *const stw_causes[STW_CAUSES]; /* why the world was stopped, by v1's numbers */

/* ---- sort: keys with something attached ---- */

struct keyed {
	int64_t time;
	union {
		void *ptr;
		uint64_t index;
	};
};

/* Sorts by time into the same order, ties included, as Go's slices.SortFunc. */
void sort_keyed(struct keyed *k, size_t n);

/* A binary min-heap in an array. Which of several equal elements comes first follows from these very steps; they are the reference's.
 * Puts (time, ptr) at i and lets it sink: taken as two words, because an element that was just stored word by word is slow to load as a whole. */
static always_inline void heap_sink(struct keyed *h, uint32_t n, uint32_t i, int64_t time, void *ptr)
{
	uint32_t l, m;
	int64_t t;

	for (;; i = m) {
		l = 2 * i + 1;
		m = i;
		t = time;
		if (l < n && h[l].time < t) {
			t = h[l].time;
			m = l;
		}
		if (l + 1 < n && h[l + 1].time < t)
			m = l + 1;
		if (m == i)
			break;
		h[i] = h[m];
	}
	h[i].time = time;
	h[i].ptr = ptr;
}

static always_inline void heap_down(struct keyed *h, uint32_t n, uint32_t i)
{
	heap_sink(h, n, i, h[i].time, h[i].ptr);
}

static inline uint32_t heap_up(struct keyed *h, uint32_t i)
{
	struct keyed t;

	for (; i > 0 && h[(i - 1) / 2].time > h[i].time; i = (i - 1) / 2) {
		t = h[i];
		h[i] = h[(i - 1) / 2];
		h[(i - 1) / 2] = t;
	}
	return i;
}

/* ---- the reader ---- */

struct v1;
struct v2;

struct gander_gotrace {
	struct input in;
	unsigned version;
	unsigned flags;
	uint64_t max_generation;
	char *tmpdir;
	struct tables tab;
	struct v1 *v1;
	struct v2 *v2;
	struct err error;
	bool failed, done;
	uint64_t events;
	uint64_t generation, generations;
};

int v2_open(struct gander_gotrace *t, struct err *err);
void v2_free(struct v2 *v);
int v2_next(struct gander_gotrace *t, struct gander_gotrace_event *ev, struct err *err);
int v2_count(struct gander_gotrace *t, uint64_t *counts, struct err *err);
int v2_exp_batch(const struct v2 *v, uint32_t i, struct gander_gotrace_exp_batch *ret);

int v1_open(struct gander_gotrace *t, const uint8_t *head, struct err *err);
void v1_free(struct v1 *v);
int v1_next(struct gander_gotrace *t, struct gander_gotrace_event *ev, struct err *err);
int v1_count(struct gander_gotrace *t, uint64_t *counts, struct err *err);

#endif
