/* The kernel's view of a recording: tracepoints by perf_event_open(2) from each CPU's ring into a CTF trace in the terms of
 * LTTng's kernel tracer. docs/kernel.md says what is in it and why. Never prints, never exits; one thread.
 *
 *   kernel_open       finds the tracepoints, opens them on every CPU, maps the rings; nothing is recorded yet
 *   kernel_begin      a CTF trace to write to; with --rotate again for each chunk, after kernel_finish
 *   kernel_program    whose system calls (or, narrowed, whose everything) is kept
 *   kernel_start      from here on
 *   kernel_drain      every few milliseconds
 *   kernel_stop       until here
 *   kernel_finish     the rest, the last loss counts, the trace's end
 *
 * A flight recorder (keep_bytes) has no kernel_begin and kernel_finish: the newest is kept in memory, and kernel_snapshot writes it, any time. */
#ifndef GANDER_KERNEL_KERNEL_H
#define GANDER_KERNEL_KERNEL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	KERNEL_SCHED = 1,
	KERNEL_SYSCALLS = 2,
	KERNEL_IRQ = 4,
	KERNEL_BLOCK = 8,
};

enum kernel_scope {
	KERNEL_SCOPE_AUTO,    /* system calls of the recorded programs, all else of the whole machine */
	KERNEL_SCOPE_OWN,     /* only what concerns the recorded programs */
	KERNEL_SCOPE_MACHINE, /* everything of everybody, but the collector's own system calls */
};

#define KERNEL_BUFFER     (8ull << 20) /* bytes a CPU, unless asked otherwise */
#define KERNEL_BUFFER_MIN (64ull << 10)
#define KERNEL_BUFFER_MAX (1ull << 30)
#define KERNEL_KEEP       (64ull << 20) /* bytes of a flight recorder, unless asked otherwise */
#define KERNEL_KEEP_MIN   (2ull << 20)
#define KERNEL_KEEP_MAX   (64ull << 30)

struct kernel_opts {
	unsigned groups;
	enum kernel_scope scope;
	uint64_t buffer;                              /* bytes a CPU; 0: KERNEL_BUFFER */
	uint64_t keep_bytes;                          /* flight recorder: so much memory at most; 0: none */
	uint64_t keep_ns;                             /* and what is older is not needed; 0: as far as it reaches */
	void (*problem)(void *arg, const char *text); /* something that was asked for and is not so */
	void *arg;
};

struct kernel_totals {
	uint64_t events, bytes; /* that are in the trace; bytes without packet headers */
	uint64_t lost;          /* the ring was full */
	uint64_t damaged;       /* records that made no sense */
	uint64_t unwritten;     /* the disk was full */
	uint64_t late;          /* came so long after younger ones that their time had to be raised */
	uint64_t gaps;          /* switches that the kernel did not report, told by who ran next */
	uint64_t others;        /* left out: of other programs */
	uint64_t overwritten;   /* flight recorder: in no snapshot, and dropped, or older than from_ns */
	uint64_t from_ns;       /* flight recorder: before this something has been dropped. CLOCK_MONOTONIC */
	unsigned cpus;
};

struct kernel;

/* "sched,syscalls,irq,block" */
int kernel_groups_parse(const char *list, unsigned *ret, struct err *err);
/* "own", "machine", "auto" */
int kernel_scope_parse(const char *text, enum kernel_scope *ret, struct err *err);
const char *kernel_scope_name(enum kernel_scope scope);
const char *kernel_group_name(unsigned bit); /* one of the bits */

int kernel_open(struct kernel **ret, const struct kernel_opts *opts, struct err *err);
void kernel_free(struct kernel *k); /* NULL is fine. Unregistering a tracepoint takes the kernel about 40 ms each */

/* real_minus_mono: CLOCK_REALTIME - CLOCK_MONOTONIC, the same as for the recording's other traces. */
int kernel_begin(struct kernel *k, const char *dir, uint64_t real_minus_mono, int ctf_version, struct err *err);
int kernel_finish(struct kernel *k, struct err *err);

/* The process is one of those that are recorded; its children are too. Any time. */
void kernel_program(struct kernel *k, pid_t pid);

/* The threads that there are go into the trace. After kernel_start(), so that no change of theirs is missed. */
void kernel_dump(struct kernel *k);

/* The recorded programs and their children, in no order: start with *at = 0. */
bool kernel_next_program(const struct kernel *k, uint64_t *at, pid_t *ret);

int kernel_start(struct kernel *k, struct err *err);
void kernel_stop(struct kernel *k);

/* Takes what is in the rings. Returns how many quarters of a ring were full (the sooner the next call should come), or -Exxx when
 * the trace cannot be written. `all`: writes also what is held back for its order. */
int kernel_drain(struct kernel *k, uint64_t now_ns, bool all, struct err *err);

/* Flight recorder: what happened since then (CLOCK_MONOTONIC; 0: all that is in memory) as a trace of its own in `dir`. A moment before it returns is the end. `t` tells of that trace:
 * lost is of its time, damaged, late, gaps and others are since the snapshot before. While it runs nothing is drained. */
int kernel_snapshot(struct kernel *k, const char *dir, uint64_t since_ns, uint64_t real_minus_mono, int ctf_version, struct kernel_totals *t, struct err *err);

void kernel_totals(const struct kernel *k, struct kernel_totals *t);
uint64_t kernel_bytes(const struct kernel *k); /* on disk, of this trace */

#endif
