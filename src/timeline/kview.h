/* What the kernel's scheduler did with a thread, from a recording with --kernel sched (docs/timeline.md): at each moment it was on a CPU, ready
 * but waiting for one, or blocked. For other analyses:
 *
 *	struct kview *kv;
 *	struct kview_split s;
 *
 *	if (kview_open(&kv, "recording", &err) == 0) {
 *		kview_split(kv, tid, t0, t1, &s);	(s.on_cpu_ns + s.ready_ns + s.blocked_ns + s.unknown_ns == t1 - t0)
 *		kview_free(kv);
 *	}
 *
 * Times are CLOCK_MONOTONIC in ns, as in Go traces (v2) and in timeline.h; thread ids the kernel's, as gander_gotrace_event.thread is in v2.
 *
 * Opening makes one pass over the kernel's trace. What it finds lies in an unlinked temporary file, 16 bytes a change; in memory are some 100
 * bytes a thread and 16 bytes for each 64 changes. Reads LTTng's kernel traces too. One thread at a time; never prints. */
#ifndef GANDER_TIMELINE_KVIEW_H
#define GANDER_TIMELINE_KVIEW_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kview;

enum kview_state {
	KVIEW_UNKNOWN, /* before its first change, after the recording's end */
	KVIEW_RUN,     /* on a CPU */
	KVIEW_READY,   /* could run, and waits for a CPU */
	KVIEW_BLOCKED, /* waits for something else */
	KVIEW_GONE,    /* it has ended */
	KVIEW_STATES
};

/* A thread was in one state from start to end. */
struct kview_seg {
	int64_t start_ns, end_ns;
	uint8_t state;        /* enum kview_state */
	bool preempted;       /* READY: it was taken off its CPU; else it was woken */
	bool uninterruptible; /* BLOCKED: in state D, mostly for a disk */
	int32_t cpu;          /* RUN, READY: which; -1: not known */
	int32_t waker;        /* READY: the thread that woke it (0: an idle CPU's interrupt); -1: none or not known */
	int32_t call;         /* BLOCKED: the system call that it is in, for kview_call_name(); -1: none, or system calls are not recorded */
};

#define KVIEW_TOP 8u

struct kview_who {
	int32_t tid, pid; /* 0: the CPU was idle; tid -1: others, not known or too many to list */
	uint64_t ns;
	char comm[16];
};

struct kview_in {
	int32_t call; /* -1: none or not known */
	uint64_t ns;
};

struct kview_split {
	uint64_t on_cpu_ns, ready_ns, blocked_ns, unknown_ns; /* their sum is the time asked for */
	uint64_t preempted_ns;                                /* part of ready_ns: after it was taken off its CPU */
	uint64_t uninterruptible_ns;                          /* part of blocked_ns */
	bool lost;                                            /* events of that time were lost: states may be wrong */
	unsigned ninstead, nblocked;
	struct kview_who instead[KVIEW_TOP];   /* who had the CPU while the thread was ready; most first; their sum is ready_ns */
	struct kview_in blocked_in[KVIEW_TOP]; /* what it was blocked in; most first; the rest is under call -1 */
};

/* recording: a recording's directory or a kernel trace (with `metadata`). -ENOENT: there is no kernel's view in it; else -Exxx. */
int kview_open(struct kview **ret, const char *recording, struct err *err);
void kview_free(struct kview *kv); /* NULL is fine */

void kview_split(const struct kview *kv, int32_t tid, int64_t t0, int64_t t1, struct kview_split *ret);

/* The state at a time; true unless the thread is not known at all (then *seg is UNKNOWN over the whole recording). */
bool kview_at(const struct kview *kv, int32_t tid, int64_t t, struct kview_seg *seg);

/* One after the other, cut to [t0, t1):
 *	for (more = kview_first(kv, tid, t0, t1, &it, &seg); more; more = kview_next(kv, &it, &seg)) ... */
struct kview_iter {
	const void *thread;
	int64_t at_ns, end_ns;
	uint64_t pos;
};
bool kview_first(const struct kview *kv, int32_t tid, int64_t t0, int64_t t1, struct kview_iter *it, struct kview_seg *seg);
bool kview_next(const struct kview *kv, struct kview_iter *it, struct kview_seg *seg);

/* A goroutine's stay in one state, as a Go trace has it, split by what the kernel says of its thread:
 *   running             on_cpu: it ran; wait_cpu: its thread was ready, others had the CPU; thing: its thread was blocked (a page fault, a lock of the runtime)
 *   in a system call    on_cpu: in the kernel; wait_cpu; thing: blocked
 *   runnable            wait_p: no P or no thread took it; wait_cpu: the thread that was to run it was woken and had no CPU yet
 *   waiting             thing
 * `thread`: of a runnable goroutine the one that ran it at the end, else the one that it is on; -1: not known. */
enum kview_go_state { KVIEW_GO_RUNNING,
		      KVIEW_GO_SYSCALL,
		      KVIEW_GO_RUNNABLE,
		      KVIEW_GO_WAITING };
struct kview_go_split {
	uint64_t on_cpu_ns, wait_p_ns, wait_cpu_ns, thing_ns, unknown_ns; /* their sum is the time asked for */
};
void kview_split_go(const struct kview *kv, enum kview_go_state state, int64_t thread, int64_t t0, int64_t t1, struct kview_go_split *ret);

/* System calls of a thread that touch [t0, t1), oldest first; returns 0 to go on. Which: the recorded programs' (docs/kernel.md). */
struct kview_call {
	int64_t start_ns, end_ns; /* INT64_MIN, INT64_MAX: began or ended outside the recording */
	int32_t call;
	int64_t ret;
};
void kview_calls(const struct kview *kv, int32_t tid, int64_t t0, int64_t t1, int (*each)(void *arg, const struct kview_call *c), void *arg);
const char *kview_call_name(const struct kview *kv, int32_t call); /* "futex"; "" for -1 */
bool kview_has_calls(const struct kview *kv);

/* Threads: by index, or of a tid (-1: not known). */
struct kview_thread {
	int32_t tid, pid; /* pid -1: not known */
	char comm[16];
	uint64_t on_cpu_ns, ready_ns, blocked_ns; /* over the recording */
	uint32_t switches, preemptions, wakeups;
};
unsigned kview_threads(const struct kview *kv);
const struct kview_thread *kview_thread(const struct kview *kv, unsigned index);
int kview_find(const struct kview *kv, int32_t tid);

struct kview_info {
	int64_t begin_ns, end_ns;
	uint64_t events, switches, lost;
	uint64_t missed; /* switches that the kernel did not report, made up for (docs/timeline.md) */
	unsigned cpus, threads;
	bool everybody; /* other programs' switches are in it: who ran instead is known */
};
void kview_info(const struct kview *kv, struct kview_info *ret);

#endif
