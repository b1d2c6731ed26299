/* How long one event takes, of very many: not the mean, the whole distribution. Each event stands between two reads of the CPU's counter.
 *
 *     timing_peer EVENTS [fifo] [sealed] [wait]
 *
 * fifo: the thread has the scheduling policy SCHED_FIFO (needs the right to). sealed: a seccomp filter kills the process at any system call but write and
 * exit_group while it emits, so that ending well means that none was made. wait: a second and a half after a first thousand events.
 *
 * Prints: the events timed and those in the histogram (the same), then in ns p50, p99, p99.99, p99.9999 and the longest of the events, and p50, p99.99 and
 * the longest of nothing at all, timed the same way and by turns: what the two reads and the machine (interrupts, other
 * programs, the hypervisor) take by themselves. Built twice: with libgander, and WITH_LTTNG. */
#ifdef WITH_LTTNG
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_tp.h"
#define on_intlong(a, b) lttng_ust_tracepoint(peer, intlong, a, b)
#else
#include <gander/gander.h>
GANDER_EVENT(on_intlong, "peer.intlong", GANDER_INFO, (i32, a), (i64, b))
#endif

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
static uint64_t counter(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc"
			 : "=a"(low), "=d"(high)
			 :
			 : "memory");
	return (uint64_t)high << 32 | low;
}
#else
static uint64_t counter(void)
{
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0"
			 : "=r"(v)
			 :
			 : "memory");
	return v;
}
#endif

/* Exact below 4096 ticks, then 64 steps for each power of two. */
#define EXACT   4096u
#define STEPS   64u
#define BUCKETS (EXACT + (64 - 12) * STEPS)

struct times {
	uint64_t n, longest, bucket[BUCKETS];
};
static struct times events, nothing;

static void add(struct times *t, uint64_t ticks)
{
	unsigned top, i = (unsigned)ticks;

	if (ticks >= EXACT) {
		top = 63 - (unsigned)__builtin_clzll(ticks);
		i = EXACT + (top - 12) * STEPS + (unsigned)(ticks >> (top - 6) & (STEPS - 1));
	}
	t->bucket[i]++;
	t->n++;
	if (ticks > t->longest)
		t->longest = ticks;
}

static uint64_t sum(const struct times *t)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < BUCKETS; i++)
		n += t->bucket[i];
	return n;
}

/* The upper end of the bucket that holds the given part of all, in ticks. */
static double quantile(const struct times *t, double part)
{
	uint64_t want = (uint64_t)(part * (double)t->n), seen = 0;
	unsigned i, top;

	for (i = 0; i < BUCKETS; i++) {
		seen += t->bucket[i];
		if (seen > want)
			break;
	}
	if (i < EXACT)
		return i;
	top = (i - EXACT) / STEPS + 12;
	return (double)(1ull << top) + (double)((i - EXACT) % STEPS + 1) * (double)(1ull << (top - 6));
}

static double ns_per_tick(void)
{
	struct timespec a, b;
	uint64_t from, to;

	clock_gettime(CLOCK_MONOTONIC, &a);
	from = counter();
	usleep(100000);
	clock_gettime(CLOCK_MONOTONIC, &b);
	to = counter();
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)(to - from);
}

static int seal(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, i, from, to;
	struct sched_param first = { .sched_priority = 1 };
	char out[400];
	double ns;
	int k, len;

	if (!n) {
		fprintf(stderr, "usage: timing_peer EVENTS [fifo] [sealed] [wait]\n");
		return 2;
	}
	ns = ns_per_tick();
	memset(&events, 0, sizeof(events));
	memset(&nothing, 0, sizeof(nothing));
	for (i = 0; i < 1000; i++)
		on_intlong((int)i, (long)i);
	for (k = 2; k < argc; k++)
		if (!strcmp(argv[k], "wait"))
			usleep(1500000);
	for (k = 2; k < argc; k++)
		if (!strcmp(argv[k], "fifo") && sched_setscheduler(0, SCHED_FIFO, &first) < 0) {
			perror("sched_setscheduler");
			return 77;
		}
	for (k = 2; k < argc; k++)
		if (!strcmp(argv[k], "sealed") && seal() < 0) {
			perror("seccomp");
			return 77;
		}
	for (i = 0; i < n; i++) {
		from = counter();
		on_intlong((int)i, (long)i);
		to = counter();
		add(&events, to - from);
		from = counter();
		to = counter();
		add(&nothing, to - from);
	}
	len = snprintf(out, sizeof(out), "%llu %llu %.1f %.1f %.1f %.1f %.0f %.1f %.1f %.0f\n", (unsigned long long)n, (unsigned long long)sum(&events), quantile(&events, 0.5) * ns,
		       quantile(&events, 0.99) * ns, quantile(&events, 0.9999) * ns, quantile(&events, 0.999999) * ns, (double)events.longest * ns, quantile(&nothing, 0.5) * ns,
		       quantile(&nothing, 0.9999) * ns, (double)nothing.longest * ns);
	if (write(1, out, (size_t)len) != len)
		return 1;
	_exit(0);
}
