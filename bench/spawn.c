/* What a program's start and end take, in pairs: spawn ROUNDS PROGRAM PROGRAM... runs each in turn, ROUNDS times, and prints the median
 * time of each from posix_spawn to the end of wait, in microseconds. */
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0, i, k;
	double *us = calloc((size_t)(rounds > 0 ? rounds : 1) * (size_t)argc, sizeof(*us));

	if (rounds < 1 || !us) {
		fprintf(stderr, "usage: spawn ROUNDS PROGRAM...\n");
		return 2;
	}
	for (i = 0; i < rounds; i++)
		for (k = 2; k < argc; k++) {
			char *args[] = { argv[k], NULL };
			struct timespec a, b;
			pid_t pid;

			clock_gettime(CLOCK_MONOTONIC, &a);
			if (posix_spawn(&pid, argv[k], NULL, NULL, args, environ)) {
				fprintf(stderr, "spawn: cannot start %s\n", argv[k]);
				return 1;
			}
			waitpid(pid, NULL, 0);
			clock_gettime(CLOCK_MONOTONIC, &b);
			us[k * rounds + i] = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
		}
	for (k = 2; k < argc; k++) {
		qsort(us + k * rounds, (size_t)rounds, sizeof(*us), by_value);
		printf("%.1f%c", us[k * rounds + rounds / 2], k + 1 < argc ? ' ' : '\n');
	}
	free(us);
	return 0;
}
