/* What a system call, and a switch from thread to thread, costs in CPU time: bench/pairs/kernel runs it untouched, recorded by gander, and by perf.
 *
 *     kernel_peer call|switch COUNT ROUNDS
 * Waits for a line of input, prints the least CPU time of a round's single one in ns (user and system). */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int ping[2], pong[2];
static long count, rounds;

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void pin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("kernel_peer: sched_setaffinity");
}

static void *echo(void *arg)
{
	char c;

	pin();
	while (read(ping[0], &c, 1) == 1 && c != 'q')
		if (write(pong[1], &c, 1) != 1)
			break;
	return NULL;
}

static void one_round(int switches)
{
	char c = 'x';
	long i;

	for (i = 0; i < count; i++) {
		if (!switches)
			syscall(SYS_getppid);
		else if (write(ping[1], &c, 1) != 1 || read(pong[0], &c, 1) != 1)
			exit(1);
	}
}

int main(int argc, char **argv)
{
	int switches = argc > 1 && !strcmp(argv[1], "switch");
	double least = 1e18, t;
	pthread_t thread;
	char line[16];
	long r;

	if (argc < 4 || pipe(ping) < 0 || pipe(pong) < 0)
		return 2;
	count = strtol(argv[2], NULL, 10);
	rounds = strtol(argv[3], NULL, 10);
	pin();
	if (switches)
		pthread_create(&thread, NULL, echo, NULL);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	for (r = 0; r < rounds; r++) {
		t = cpu_ns();
		one_round(switches);
		t = (cpu_ns() - t) / (double)(switches ? 2 * count : count);
		least = t < least ? t : least;
	}
	printf("%.1f\n", least);
	fflush(stdout);
	if (switches && write(ping[1], "q", 1) == 1)
		pthread_join(thread, NULL);
	return 0;
}
