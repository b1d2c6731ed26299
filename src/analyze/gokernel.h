/* Goroutines' time split by what the kernel did with their threads: on a CPU, waiting for a P, waiting for a CPU, blocked in the kernel, waiting for something in
 * the program. A sink of gostate; several traces one after the other, of several processes. Without a kernel's view the Go trace's states stand for themselves. */
#ifndef GANDER_ANALYZE_GOKERNEL_H
#define GANDER_ANALYZE_GOKERNEL_H

#include "analyze/gostate.h"
#include "timeline/kview.h"

#define GOKERNEL_ROWS 200000u /* goroutines that are told apart; the others are added up in one row */

struct gokernel_row {
	int64_t goid, pid; /* goid -1: all others */
	uint32_t func;     /* of gosyms; 0: not known */
	uint32_t reason;   /* what it waited for longest */
	uint64_t on_cpu_ns, wait_p_ns, wait_cpu_ns;
	uint64_t blocked_ns; /* in the kernel: system calls, page faults */
	uint64_t waiting_ns; /* for something in the program, or the network */
	uint64_t unknown_ns; /* running or in a system call when nothing of its thread is known */
	uint64_t reason_ns;
	uint32_t waits;
};

struct gokernel {
	const struct kview *kv; /* NULL: none */
	int64_t pid;            /* of the trace that is being read */
	struct gokernel_row *row;
	uint32_t nrows, cap;
	struct map index; /* pid << 40 ^ goid -> index + 1 */
	struct gokernel_row others;
	bool failed;
};

void gokernel_done(struct gokernel *k);
int gokernel_add(struct gokernel *k, struct gostate *s); /* adds its sink; 0 or -ENOSPC */
/* Those that ran, or wanted to, longest come first. */
void gokernel_sort(struct gokernel *k);

#endif
