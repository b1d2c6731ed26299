/* Where the time of a goroutine went: the critical path through a window of a Go trace, walked backwards from its end over who made it
 * runnable. The time from `from` to `to` of one goroutine is divided into its stays. A wait that another goroutine ended is divided
 * in turn into what that one did meanwhile, and so on. The time before a goroutine was made is that of who made it.
 *
 * What must hold: on every level the parts add up to the whole exactly, whatever the input. The walk ends: an inner wait ends strictly before
 * the wait around it. docs/why.md says what each kind means and what is inferred.
 *
 * Equal hops of one level are one node, with their number, and several walks may go into one tree. One owner, no threads. */
#ifndef GANDER_ANALYZE_GOPATH_H
#define GANDER_ANALYZE_GOPATH_H

#include "analyze/gostays.h"
#include "timeline/kview.h"

enum why_kind {
	WHY_SPAN, /* the root */
	WHY_RUNNING,
	WHY_NO_P,    /* runnable, no P was idle */
	WHY_WAKING,  /* runnable, though a P was idle: the price of waking a thread, or no CPU for it */
	WHY_NO_CPU,  /* its thread was ready, but the kernel ran something else: only with the kernel's view */
	WHY_FAULT,   /* running, but its thread was blocked: a page fault, a lock of the runtime; only with the kernel's view */
	WHY_ASSIST,  /* working, or waiting, for the garbage collector before it may allocate */
	WHY_SWEEP,   /* sweeping for the collector before it may allocate */
	WHY_STW,     /* the world was stopped */
	WHY_SYSCALL, /* in a system or C call */
	WHY_NETWORK, /* waiting for the network poller */
	WHY_CHANNEL, /* send, receive */
	WHY_SELECT,
	WHY_MUTEX, /* sync.Mutex, sync.RWMutex */
	WHY_SYNC,  /* what else package sync has: WaitGroup, Cond, Once */
	WHY_SLEEP,
	WHY_GC,       /* waiting for the collector: for a cycle's end, for its stack to be looked at */
	WHY_WAIT,     /* any other wait */
	WHY_CREATION, /* before it was made */
	WHY_GONE,     /* after its end */
	WHY_UNKNOWN,  /* the trace does not say: before it, or a goroutine that it does not mention */
	WHY_OTHER,    /* more different hops than the tree takes */
	WHY_KINDS
};
extern const char *const why_kind_name[WHY_KINDS]; /* as JSON has them: "mutex" */

enum {
	WHY_INFERRED = 1, /* who held the lock: known is who gave it away */
	WHY_UNENDED = 2,  /* the wait was not over at the end */
	WHY_TIMER = 4,    /* ended by no goroutine: a timer, or the network poller */
	WHY_TOO_DEEP = 8, /* not followed further: a limit of the walk */
	WHY_OPEN = 16,    /* a wait that began before what was read: its reason is not known */
	WHY_REMOTE = 32,  /* a wait for the network that a span in another process explains: its parts are that one's */
	WHY_WAY = 64,     /* of such a wait, what lies before and after that span */
	WHY_DISK = 128,   /* in a system call, mostly in state D: only with the kernel's view */
};

struct why_node {
	uint32_t parent, first, last, next; /* first, last child, next sibling; 0: none */
	uint8_t kind, flags;
	bool several, by_several; /* more goroutines than `g`, `by` */
	uint32_t stack;           /* where it was; of running: up to where */
	uint32_t reason;          /* of a wait, the runtime's word for it; of a stop, its cause; of WHY_NO_CPU who had it; of WHY_REMOTE the span */
	uint32_t pid;             /* 0: of the process that was asked about */
	uint32_t by_stack;        /* where the one stood that ended the wait, made the goroutine, stopped the world */
	uint32_t func, by_func;   /* entry functions of g and by */
	int64_t g, by;            /* of the longest occurrence; by: -1, none */
	uint64_t ns, count, longest_ns;
	int64_t at_ns; /* begin of the longest occurrence */
};

struct why_hop { /* a piece of the path; those of one walk follow each other without a gap, last first */
	int64_t start_ns, end_ns, g;
	uint32_t node;
	int32_t thread;
};

/* A wait for the network, and what another process did meanwhile. */
struct why_remote {
	int64_t g, from_ns, to_ns; /* the wait, exactly */
	int64_t begin_ns, end_ns;  /* of the other's span, inside it */
	const struct gopath *path; /* its path over that time */
	uint32_t name, pid;
};

#define WHY_HOPS_MAX  200000u
#define WHY_NODES_MAX 100000u
#define WHY_DEPTH_MAX 2048u
#define WHY_STEPS_MAX 50000000u

struct gopath {
	struct why_node *node; /* [0] is the root */
	uint32_t n, cap;
	struct map index;
	struct why_hop *hop;
	uint32_t nhop, hop_cap;
	uint64_t hops_left_out; /* beyond WHY_HOPS_MAX; they are in the tree */
	uint64_t walks, steps;
	bool failed;
	const struct kview *kernel;      /* set after init, borrowed: what the kernel did with the threads; or NULL */
	const struct why_remote *remote; /* the same, by g, then from_ns */
	uint32_t nremote;
};

int gopath_init(struct gopath *p);
void gopath_done(struct gopath *p);
void gopath_clear(struct gopath *p); /* empty again */

/* Adds the time from..to of a goroutine; `last` is a stay of it that covers `to`, or the last before it (STAY_NONE: none is known).
 * 0 or -ENOMEM. */
int gopath_walk(struct gopath *p, const struct gostays *t, int64_t g, uint32_t last, int64_t from, int64_t to);

/* The path up to `to` was made, and what follows is the same walk: it counts once, and its hops are in order again. */
void gopath_continue(struct gopath *p);
void gopath_sort_hops(struct gopath *p);

/* Adds time of which nothing is known, to the root. It must be the last time first, as a walk's hops are. */
int gopath_unknown(struct gopath *p, int64_t g, int64_t from, int64_t to);

/* "mutex", "rwmutex, to read", "waitgroup": what stands in package sync around the wait; NULL: nothing. */
const char *why_lock_name(const struct gosyms *s, uint32_t stack);
/* "pread" of a stack that ends in a system call, "C.name" of one in C; "" when it does not say. */
void why_syscall_name(const struct gosyms *s, uint32_t stack, struct buf *out);

/* Adds another tree below a node: what it sums to is not added to the node itself. */
int gopath_import(struct gopath *to, uint32_t under, const struct gopath *from, uint32_t pid);

/* Adds a whole tree to another one, roots together. */
int gopath_add(struct gopath *to, const struct gopath *from);

/* Checks the invariant: 0, or the number of the node whose parts do not add up to it, + 1. */
uint32_t gopath_check(const struct gopath *p);

#endif
