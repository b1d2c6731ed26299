/* Formats 1.11 to 1.21. Their frequency, stacks and strings stand at the end, so there are two passes: v1_read.c indexes the whole input (batches, strings,
 * stacks, CPU samples, frequency), then its cursors decode each P's batches again, one window at a time; v1_order.c merges them, gives system call exits
 * their real times, checks, and turns the events into the v2 model. Private to src/gotrace. */
#ifndef GANDER_GOTRACE_V1_H
#define GANDER_GOTRACE_V1_H

#include "gotrace/gotrace_follow.h"
#include "gotrace/gotrace_internal.h"

#define V1_BATCHES_MAX    (8u << 20)
#define V1_SAMPLES_MAX    (8u << 20)
#define V1_STRING_MAX     1000000
#define V1_FRAMES_MAX     1000
#define V1_ARGS_BYTES_MAX 2048
#define V1_WINDOW         65536 /* of a P's batch in memory */
#define V1_LOOK           4096  /* a record without its string is shorter */
#define V1_LIVE_MAX       (16u << 20)
#define V1_EXITS_MAX      (4u << 20)
#define V1_REORDER_MAX    (2u << 20)
#define V1_SMALL_P        1024

enum {
	V1_BATCH = 1,
	V1_FREQUENCY,
	V1_STACK,
	V1_GOMAXPROCS,
	V1_PROC_START,
	V1_PROC_STOP,
	V1_GC_START,
	V1_GC_DONE,
	V1_STW_START,
	V1_STW_DONE,
	V1_SWEEP_START,
	V1_SWEEP_DONE,
	V1_GO_CREATE,
	V1_GO_START,
	V1_GO_END,
	V1_GO_STOP,
	V1_GO_SCHED,
	V1_GO_PREEMPT,
	V1_GO_SLEEP,
	V1_GO_BLOCK,
	V1_GO_UNBLOCK,
	V1_BLOCK_SEND,
	V1_BLOCK_RECV,
	V1_BLOCK_SELECT,
	V1_BLOCK_SYNC,
	V1_BLOCK_COND,
	V1_BLOCK_NET,
	V1_SYSCALL,
	V1_SYSEXIT,
	V1_SYSBLOCK,
	V1_WAITING,
	V1_IN_SYSCALL,
	V1_HEAP_ALLOC,
	V1_HEAP_GOAL,
	V1_TIMER_GOROUTINE,
	V1_FUTILE_WAKEUP,
	V1_STRING,
	V1_START_LOCAL,
	V1_UNBLOCK_LOCAL,
	V1_SYSEXIT_LOCAL,
	V1_START_LABEL,
	V1_BLOCK_GC,
	V1_ASSIST_START,
	V1_ASSIST_DONE,
	V1_TASK_CREATE,
	V1_TASK_END,
	V1_REGION,
	V1_LOG,
	V1_CPU_SAMPLE,
	V1_TYPES
};

/* P numbers that are no P */
enum { V1_TIMER_P = 1000001,
       V1_NETPOLL_P,
       V1_SYSCALL_P,
       V1_GC_P };

struct v1_event {
	int64_t ts; /* ticks */
	uint64_t g;
	uint64_t args[4];
	uint64_t text_off; /* of a log's message in the input */
	uint64_t off;      /* where the event stands */
	int64_t block_ts;  /* of a system call that blocks: when */
	struct v1_g *gp;   /* whom it orders, found when it was enqueued; valid while live and of the right id */
	uint32_t stack;    /* the trace's id */
	uint32_t text_len;
	int32_t p;
	uint8_t type;
	bool blocks; /* a system call: the goroutine's next event says that it blocked */
};

struct v1_batch {
	uint64_t off;
	int32_t next; /* of the same P; -1: none */
	int32_t proc; /* index */
};

/* One P's batches, decoded one event ahead. A taken event stays where it is until the next is taken. */
struct v1_proc {
	struct follower f; /* while counting */
	int32_t pid;
	int32_t first, batch, last; /* the first, current (or next to load) and last; -1 */
	uint8_t *buf;
	size_t cap;
	const uint8_t *p, *lim;      /* what is in buf and not decoded */
	uint64_t lim_off, batch_end; /* input offsets: of lim, and of the batch's end */
	int64_t ts;
	uint64_t g;
	struct v1_event ev[3]; /* the next event (cur), the one behind it, and the one that was taken last */
	unsigned cur;
	bool have, have_ahead;
	uint64_t wait_g; /* while in the wait list */

	/* counting */
	struct v1_p *state;
	struct v1_g *run;   /* the goroutine that it runs */
	int64_t at;         /* the time of the last event taken, */
	int64_t syscall_ts; /* and of the last system call's begin */
	unsigned pending;   /* events of ev, from cur on, that are decoded but not taken */
	bool in_syscall;    /* the last event was that begin */
};

enum { G_DEAD,
       G_RUNNABLE,
       G_RUNNING,
       G_WAITING };

#define V1_KEY_GC (UINT64_MAX - 1) /* stands for the order of collections where a goroutine's id would be */

struct v1_region {
	uint64_t task, name;
};

struct v1_g {
	uint64_t id;
	uint64_t seq;   /* in the merge */
	uint8_t merged; /* state in the merge, which is ahead of the rest */
	uint8_t state;  /* behind sorting */
	bool live, net, assist, pre_init;
	bool awaited; /* counting: a P waits for its state */
	struct v1_region *region;
	uint32_t nregion, cap_region;
	struct v1_g *next_free;
	struct v1_proc *by; /* counting: whose event was the last about it, and when */
	int64_t touched;
};

struct v1_p {
	uint64_t g;
	int64_t m;
	bool running, sweeping, seen, has_m;
};

struct v1_sample {
	uint64_t g;
	int32_t p;
	uint32_t stack;
};

struct v1_pc {
	uint64_t pc, func, file, line;
	uint32_t frame; /* interned id + 1 */
};

struct v1_stack {
	uint32_t first, n; /* in stack_pcs */
	uint32_t id;       /* interned id + 1 */
};

struct v1_exit { /* a system call's real end that lies elsewhere in time than its event */
	int64_t ts;
	uint64_t g;
	uint64_t off;
};

struct v1 {
	struct gander_gotrace *t;
	struct tables *tab;
	uint64_t size; /* of the input */

	/* the index */
	struct v1_batch *batch;
	uint32_t nbatch, cap_batch;
	struct v1_proc **proc;
	uint32_t nproc, cap_proc;
	struct idmap proc_by_pid, strings, stacks, pcs, timers;
	uint32_t *str_id; /* strings points to index + 1 */
	uint32_t nstr, cap_str;
	struct v1_stack *stack;
	uint32_t nstack, cap_stack;
	uint32_t *stack_at; /* small stack ids -> index + 1 */
	uint32_t nstack_at;
	uint32_t *stack_pcs;
	uint32_t nstack_pcs, cap_stack_pcs;
	struct v1_pc *pc;
	uint32_t npc, cap_pc;
	struct v1_sample *sample;
	struct keyed *sample_order;
	uint32_t nsample, cap_sample, cap_sample_order, sample_next;
	int64_t ticks_per_s;
	uint32_t ncreated_max, ntask_max, nregion_max; /* how many goroutines, tasks and regions can begin at most */

	/* system call exits: those further than lag from their event are here, by time; the others are put right in `reorder` */
	struct v1_exit *exits;
	uint32_t nexits, cap_exits, exit_next;
	int64_t lag;

	/* From here on all is 0 before the first event: see v1_order_restart(). */
	char merge_state[0];
	struct v1_event *reorder; /* a queue in time order */
	uint32_t reorder_first, nreorder, cap_reorder;
	bool merged_all;

	/* merge */
	struct keyed *heap;
	uint32_t nheap;
	struct v1_proc **wait;
	uint32_t nwait;
	uint64_t gc_seq;
	int64_t merged_ts; /* of the last merged event */
	bool have_merged;
	struct idmap gs;
	struct v1_g *free_g;
	struct v1_gslab *gslab;

	/* conversion */
	struct v1_p *small_p[V1_SMALL_P];
	struct idmap ps, tasks;
	struct v1_event made; /* a CPU sample, an exit, or what left the reorder queue */
	struct v1_event exit;
	struct v1_event *first; /* of the trace, behind the first sync */
	struct v1_event *peek;  /* the next event but for exits that come before it */
	bool have_min, told, in_gc, in_stw;
	int64_t min_ts;
	double ns_per_tick;
	int64_t last_ns;
	uint32_t last_stw;
	uint64_t *created; /* goroutines of before the trace, in order, until all states have been told */
	uint32_t ncreated, cap_created, created_next;
	int64_t created_ns;
	struct gander_gotrace_event extra; /* the second event of one */
	bool have_extra;
	uint32_t syncs;
	bool ended;
	uint64_t nregions;
	char *message; /* of the last log event */
	uint32_t cap_message;
};

extern const uint8_t v1_args[V1_TYPES]; /* arguments of a timed event, with the time and the stack */
extern const bool v1_stacked[V1_TYPES]; /* the last one is a stack */
const char *v1_name(uint8_t type);

/* Decodes ahead: afterwards `have` says whether ev[cur] is there. 0 or < 0. */
int v1_proc_next(struct v1 *v, struct v1_proc *p, struct err *err);
int v1_proc_start(struct v1 *v, struct v1_proc *p, struct err *err);
int v1_decode(struct v1 *v, struct v1_proc *p, struct v1_event *ev, struct err *err); /* the next event: 1, 0 at the end, < 0 */
int v1_order_init(struct v1 *v, struct err *err);
void v1_order_done(struct v1 *v);
int v1_order_restart(struct v1 *v, struct err *err); /* as if nothing had been delivered */

struct v1_g *v1_g_new(struct v1 *v, uint64_t id); /* NULL: out of memory */
void v1_g_del(struct v1 *v, struct v1_g *g);
struct v1_p *v1_p_get(struct v1 *v, int32_t pid);                                                   /* NULL: the same */
int v1_convert(struct v1 *v, struct v1_event *ev, struct gander_gotrace_event *e, struct err *err); /* checks it: 1 it is in e, 0 it gives none, < 0 */

/* Interned ids; 0 when the trace does not have it; < 0 out of memory. */
int64_t v1_str(struct v1 *v, uint64_t id);
int64_t v1_stk_slow(struct v1 *v, uint32_t id);

static inline int64_t v1_stk(struct v1 *v, uint32_t id)
{
	uint32_t at;

	if (!id || (v->t->flags & GANDER_GOTRACE_NO_STACKS))
		return 0;
	if (likely(id < v->nstack_at && (at = v->stack_at[id]) && v->stack[at - 1].id))
		return v->stack[at - 1].id - 1;
	return v1_stk_slow(v, id);
}

int v1_grow(void *array, uint32_t n, uint32_t *cap, size_t size);

#endif
