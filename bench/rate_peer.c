/* Emits int+long from several threads at a given rate, or flat out, for a while: what does it take to lose none, and how many are lost else?
 *
 *     rate_peer THREADS RATE SECONDS [windows]     RATE: events a second of all threads together; 0: as fast as it goes
 *
 * windows: every 20 ms a line, the time (CLOCK_MONOTONIC), the events so far and the threads' CPU time so far, in seconds.
 *
 * Prints the events that it emitted, the seconds that took, and the nanoseconds of its own CPU time an event. A thread sleeps a millisecond, emits what
 * is due by then, and so on: between its bursts the CPU is free for whoever reads. What it slept too long is not made up for in one burst of more than four
 * milliseconds' worth, but left out: the rate is then what the figures say, not RATE. Built twice: with libgander, and WITH_LTTNG. */
#ifdef WITH_LTTNG
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_tp.h"
#define on_intlong(a, b) lttng_ust_tracepoint(peer, intlong, a, b)
#else
#include <gander/gander.h>
GANDER_EVENT(on_intlong, "peer.intlong", GANDER_INFO, (i32, a), (i64, b))
#endif

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64

static double rate, seconds;
static int nthreads;

struct worker {
	pthread_t th;
	uint64_t emitted;
	uint64_t seen; /* by the main thread */
};

static double now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct timespec ts = { 0, 1000000 };
	double start = now(CLOCK_MONOTONIC), t = start;
	double each = rate / nthreads, behind = 0, last = start;
	uint64_t due;

	while (t - start < seconds) {
		if (rate > 0)
			nanosleep(&ts, NULL);
		t = now(CLOCK_MONOTONIC);
		behind += rate > 0 ? (t - last) * each : 10000;
		if (rate > 0 && behind > 0.004 * each)
			behind = 0.004 * each;
		last = t;
		due = w->emitted + (uint64_t)behind;
		behind -= (double)(uint64_t)behind;
		for (; w->emitted < due; w->emitted++)
			on_intlong((int)w->emitted, (long)w->emitted);
		__atomic_store_n(&w->seen, w->emitted, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void windows(struct worker *w)
{
	double start = now(CLOCK_MONOTONIC);
	uint64_t seen;
	int i;

	while (now(CLOCK_MONOTONIC) - start < seconds - 0.03) {
		usleep(20000);
		for (seen = 0, i = 0; i < nthreads; i++)
			seen += __atomic_load_n(&w[i].seen, __ATOMIC_RELAXED);
		printf("%.4f %llu %.6f\n", now(CLOCK_MONOTONIC), (unsigned long long)seen, now(CLOCK_PROCESS_CPUTIME_ID));
	}
}

int main(int argc, char **argv)
{
	static struct worker w[THREADS_MAX];
	double start, cpu, took;
	uint64_t emitted = 0;
	int i;

	if (argc < 4 || (nthreads = atoi(argv[1])) < 1 || nthreads > THREADS_MAX) {
		fprintf(stderr, "usage: rate_peer THREADS RATE SECONDS [windows]\n");
		return 2;
	}
	rate = atof(argv[2]);
	seconds = atof(argv[3]);
	usleep(300000); /* whoever records it is there */
#ifndef WITH_LTTNG
	for (i = 0; i < 20000 && !on_intlong_enabled(); i++)
		usleep(1000);
#endif
	start = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	for (i = 0; i < nthreads; i++)
		if (pthread_create(&w[i].th, NULL, work, &w[i]))
			return 1;
	if (argc == 5)
		windows(w);
	for (i = 0; i < nthreads; i++) {
		pthread_join(w[i].th, NULL);
		emitted += w[i].emitted;
	}
	took = now(CLOCK_MONOTONIC) - start;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%llu %.3f %.2f\n", (unsigned long long)emitted, took, cpu * 1e9 / (double)emitted);
	return 0;
}
