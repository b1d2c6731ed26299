/* The peer: emits tracepoints of LTTng-UST in a loop and prints what one took.
 *
 *     lttng_peer EVENT COUNT ROUNDS      EVENT: intlong, string (16 bytes), mixed (4 ints and 16 bytes), empty (the
 * loop alone)
 *
 * Prints the least mean of the rounds in nanoseconds. Between rounds it waits a moment, for the consumer to catch up.
 */
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_tp.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
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
			__asm__ volatile("" : : "r"(i));
}

int main(int argc, char **argv)
{
	double best = 0, ns;
	long count, rounds, i;
	uint64_t start;

	if (argc != 4) {
		fprintf(stderr, "usage: lttng_peer EVENT COUNT ROUNDS\n");
		return 2;
	}
	count = strtol(argv[2], NULL, 10);
	rounds = strtol(argv[3], NULL, 10);
	emit(argv[1], 1000);
	for (i = 0; i < rounds; i++) {
		usleep(100000);
		start = now_ns();
		emit(argv[1], count);
		ns = (double)(now_ns() - start) / (double)count;
		if (!i || ns < best)
			best = ns;
	}
	printf("%.2f\n", best);
	return 0;
}
