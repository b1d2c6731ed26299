/* The peer: emits tracepoints of LTTng-UST in a loop and prints what one took.
 *
 *     lttng_peer EVENT COUNT ROUNDS [THREADS]      EVENT: intlong, string (16 bytes), mixed (4 ints and 16 bytes), empty (the
 * loop alone)
 *
 * Prints the least mean of the rounds in nanoseconds. Between rounds it waits a moment, for the consumer to catch up.
 */
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_tp.h"

#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* whatever else the machine does */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void emit(const char *event, long count)
{
	static const char text[] = "sixteen bytes ..";
	long i;

	if (!strcmp(event, "intlong"))
		for (i = 0; i < count; i++)
			lttng_ust_tracepoint(peer, intlong, (int)i, i);
	else if (!strcmp(event, "string"))
		for (i = 0; i < count; i++)
			lttng_ust_tracepoint(peer, string, text);
	else if (!strcmp(event, "mixed"))
		for (i = 0; i < count; i++)
			lttng_ust_tracepoint(peer, mixed, (int)i, 2, 3, 4, text);
	else
		for (i = 0; i < count; i++)
			__asm__ volatile(""
					 :
					 : "r"(i));
}

static const char *which;
static long count;

static void *thread(void *arg)
{
	emit(which, count);
	return NULL;
}

/* CPU time of an event: with more threads than CPUs the clock on the wall says nothing. */
static double threads_ns(int n)
{
	struct timespec a, b;
	pthread_t th[64];
	int i;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (i = 0; i < n; i++)
		pthread_create(&th[i], NULL, thread, NULL);
	for (i = 0; i < n; i++)
		pthread_join(th[i], NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)(count * n);
}

int main(int argc, char **argv)
{
	double best = 0, ns;
	int threads = argc == 5 ? atoi(argv[4]) : 0;
	long rounds, i;
	uint64_t start;

	if (argc < 4 || threads > 64) {
		fprintf(stderr, "usage: lttng_peer EVENT COUNT ROUNDS [THREADS]\n");
		return 2;
	}
	which = argv[1];
	count = strtol(argv[2], NULL, 10);
	rounds = strtol(argv[3], NULL, 10);
	emit(argv[1], 1000);
	for (i = 0; i < rounds; i++) {
		usleep(100000);
		start = now_ns();
		if (threads) {
			ns = threads_ns(threads);
		} else {
			emit(argv[1], count);
			ns = (double)(now_ns() - start) / (double)count;
		}
		if (!i || ns < best)
			best = ns;
	}
	printf("%.2f\n", best);
	return 0;
}
