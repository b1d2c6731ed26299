/* Emits gander events in a loop and prints what one took: what lttng_peer does, through libgander's public macros.
 *
 *     gander_peer EVENT COUNT ROUNDS [THREADS]     EVENT: intlong, string (16 bytes), mixed (4 ints and 16 bytes), empty (the loop alone),
 *                                        counter (reading the CPU's counter, the floor of any event), counted (waits until somebody counts,
 *                                        then intlong by turns with counter, and prints both)
 *
 * Prints the least mean of the rounds in nanoseconds. Between rounds it waits a moment, for the collector to catch up. */
#include <gander/gander.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

GANDER_EVENT(on_intlong, "peer.intlong", GANDER_INFO, (i32, a), (i64, b))
GANDER_EVENT(on_string, "peer.string", GANDER_INFO, (text, s))
GANDER_EVENT(on_mixed, "peer.mixed", GANDER_INFO, (i32, a), (i32, b), (i32, c), (i32, d), (text, s))

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
			on_intlong((int)i, i);
	else if (!strcmp(event, "string"))
		for (i = 0; i < count; i++)
			on_string(text, sizeof(text) - 1);
	else if (!strcmp(event, "mixed"))
		for (i = 0; i < count; i++)
			on_mixed((int)i, 2, 3, 4, text, sizeof(text) - 1);
#if defined(__x86_64__)
	else if (!strcmp(event, "counter"))
		for (i = 0; i < count; i++)
			__asm__ volatile("rdtsc"
					 :
					 :
					 : "rax", "rdx");
#endif
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

static double round_ns(const char *event)
{
	uint64_t start = now_ns();

	emit(event, count);
	return (double)(now_ns() - start) / (double)count;
}

static int counted(long rounds)
{
	double best = 0, floor = 0, ns;
	long i;

	for (i = 0; i < 10000 && !on_intlong_enabled(); i++)
		usleep(1000);
	for (i = 0; i < rounds && on_intlong_enabled(); i++) {
		ns = round_ns("intlong");
		best = !i || ns < best ? ns : best;
		ns = round_ns("counter");
		floor = !i || ns < floor ? ns : floor;
	}
	printf("%.2f %.2f\n", best, floor);
	return i < rounds; /* somebody has stopped counting */
}

int main(int argc, char **argv)
{
	double best = 0, ns;
	int threads = argc == 5 ? atoi(argv[4]) : 0;
	long rounds, i;

	if (argc < 4 || threads > 64) {
		fprintf(stderr, "usage: gander_peer EVENT COUNT ROUNDS [THREADS]\n");
		return 2;
	}
	which = argv[1];
	count = strtol(argv[2], NULL, 10);
	rounds = strtol(argv[3], NULL, 10);
	if (!strcmp(which, "counted"))
		return counted(rounds);
	emit(argv[1], 1000);
	for (i = 0; i < rounds; i++) {
		usleep(100000);
		ns = threads ? threads_ns(threads) : round_ns(which);
		if (!i || ns < best)
			best = ns;
	}
	printf("%.2f\n", best);
	return 0;
}
