/* What every goroutine did, stay by stay, over a window of a Go trace, kept so that it can be walked backwards: each stay knows the
 * one before it of the same goroutine, and a wait knows the stay of the goroutine that ended it. gopath.h walks it.
 *
 * It is a sink of gostate.h, so that memory is the window's: what ended before `keep_from` is forgotten when the table has doubled. Above
 * GOSTAYS_HEAP bytes the table lies in an unlinked file of the temporary directory, so that a window of any length takes no more of the
 * machine's memory than the kernel likes to cache.
 *
 * What must hold: the stays of a goroutine follow each other without a gap from the first to the last, and a stay has an end unless it is the
 * goroutine's last. One owner, no threads. */
#ifndef GANDER_ANALYZE_GOSTAYS_H
#define GANDER_ANALYZE_GOSTAYS_H

#include "analyze/gostate.h"

#define STAY_NONE    UINT32_MAX
#define GOSTAYS_HEAP ((size_t)64 << 20)

enum {
	STAY_ASSIST = 1, /* inside a GC mark assist */
	STAY_STW = 2,    /* inside a stop-the-world that this goroutine asked for */
	STAY_SWEEP = 4,  /* inside a sweep on its P */
	STAY_MADE = 8,   /* its first: the goroutine was made when it begins */
	STAY_SEEN = 16,  /* its first that the trace has: it was there before, and in this state at least since then */
};

struct stay {
	int64_t start_ns, end_ns; /* end: GO_NEVER while it goes on */
	int64_t g;
	uint32_t prev;      /* of the same goroutine, or STAY_NONE */
	uint32_t waker;     /* of who ended this wait (or made this goroutine), the stay it was in then; STAY_NONE: nobody, or not known */
	uint32_t stack;     /* where the goroutine stood when it began */
	uint32_t end_stack; /* of the event that ended it: of a wait, the waker's */
	uint32_t reason, func;
	int32_t thread;
	uint8_t state, cause, flags; /* enum gander_gotrace_go_state, enum go_cause, STAY_... */
};

/* The world was stopped, or about to be. */
struct gostop {
	int64_t start_ns, end_ns; /* end: GO_NEVER while it goes on */
	int64_t g;
	uint32_t name, stack;
};

struct gostays {
	struct gostate *s; /* borrowed */
	struct stay *stay; /* by start */
	uint32_t n, cap;
	size_t mapped; /* bytes, when it lies in a file */
	int fd;        /* -1: on the heap */
	size_t heap;   /* bytes that it may take there; 0: GOSTAYS_HEAP */
	struct gostop *stop;
	uint32_t nstop, stop_cap;
	struct goidle { /* from time_ns on there is an idle P, or none; before it there was one for idle_ns in all */
		int64_t time_ns;
		uint64_t idle_ns;
		bool idle;
	} * idle;
	uint32_t nidle, idle_cap;
	int64_t keep_from;                                                   /* the owner's: what ended before is not asked for any more. GO_NEVER: keep all */
	uint32_t next_compact;                                               /* at so many stays */
	uint32_t max;                                                        /* stays at most; 0: as many as can be numbered */
	uint32_t least;                                                      /* stays below which nothing is forgotten; 0: as many as are good */
	void (*gone)(void *ctx, struct goro *g, uint32_t last, bool at_end); /* a goroutine ends: its last stay, still open. May be NULL */
	void *ctx;
	int error; /* -ENOMEM, -EFBIG, or what the temporary file said */
};

int gostays_init(struct gostays *t, struct gostate *s); /* adds its sink; before the first event */
void gostays_done(struct gostays *t);

/* The stay that a goroutine is in, or STAY_NONE. */
static inline uint32_t gostays_now(const struct gostays *t, const struct goro *g)
{
	return g ? (uint32_t)(uintptr_t)g->user - 1 : STAY_NONE;
}

/* For how long of from..to at least one P was idle. */
uint64_t gostays_idle_ns(const struct gostays *t, int64_t from, int64_t to);

#endif
