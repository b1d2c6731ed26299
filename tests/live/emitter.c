/* A program with a known number of events: waits until it is recorded, emits, says how many, and stays until its input ends.
 *
 *     emitter [THREADS [EVENTS-PER-THREAD [MICROSECONDS-BETWEEN-THOUSANDS [SECONDS-BEFORE-THE-END]]]]
 * GO=1: does not wait for being recorded. HOLD=1: waits for a line of input instead. TEXT=1: waits for test.text alone. FORK=N: children that emit as a thread does, too; GRAND=1: and so do their children, before anybody can have found them. STEADY=1: emits until its input ends, and then says how many. COUNTS=FILE: each thread keeps its
 * count there (a u64 every 64 bytes), for who wants to know it after a kill. THEN=COMMAND: becomes that in the end. */
#include "gander/gander.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

GANDER_EVENT(on_step, "test.step", GANDER_INFO, (u64, thread), (u64, n))
GANDER_EVENT(on_text, "test.text", GANDER_DEBUG, (u32, status), (str, path))

static long threads = 1, events = 1000, pause_us;
static volatile int stop;
static volatile uint64_t space[256][8], (*done)[8] = space;

static void *run(void *arg)
{
	static const char *const paths[] = { "/", "/api/cart", "/api/pay", "/static/logo.png" };
	uint64_t me = (uint64_t)arg, n;

	for (n = 0; events < 0 ? !stop : n < (uint64_t)events; n++) {
		on_step(me, n);
		done[me][0]++;
		if (n % 10 == 0) {
			on_text(n % 20 ? 200 : 500, paths[n / 10 % 4]);
			done[me][0]++;
		}
		if (pause_us && n % 1000 == 999)
			usleep((useconds_t)pause_us);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[256];
	struct pollfd in = { .events = POLLIN };
	uint64_t total = 0;
	long i, forks;

	threads = argc > 1 ? strtol(argv[1], NULL, 10) : threads;
	events = argc > 2 ? strtol(argv[2], NULL, 10) : events;
	pause_us = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
	if (threads < 1 || threads > 256)
		return 2;
	if (getenv("STEADY"))
		events = -1;
	if (getenv("COUNTS")) {
		int fd = open(getenv("COUNTS"), O_RDWR | O_CREAT, 0600);

		if (fd < 0 || ftruncate(fd, sizeof(space)) < 0)
			return 2;
		done = mmap(NULL, sizeof(space), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (done == MAP_FAILED)
			return 2;
	}
	printf("ready\n");
	fflush(stdout);
	if (getenv("HOLD"))
		while (getchar() != '\n')
			;
	while (!getenv("GO") && !getenv("HOLD") && ((!on_step_enabled() && !getenv("TEXT")) || !on_text_enabled()))
		if (poll(&in, 1, 1))
			return 0;
	for (forks = getenv("FORK") ? strtol(getenv("FORK"), NULL, 10) : 0; forks > 0; forks--, total += (uint64_t)events + ((uint64_t)events + 9) / 10) {
		if (fork() == 0) {
			if (getenv("GRAND") && fork() == 0) {
				run(0);
				_exit(0);
			}
			run(0);
			wait(NULL);
			_exit(0);
		}
		wait(NULL);
	}
	for (i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, run, (void *)i);
	if (events < 0) {
		poll(&in, 1, -1);
		stop = 1;
	}
	for (i = 0; i < threads; i++) {
		pthread_join(t[i], NULL);
		total += done[i][0];
	}
	printf("done %llu\n", (unsigned long long)total);
	fflush(stdout);
	if (events >= 0 && argc <= 4)
		poll(&in, 1, -1);
	if (getenv("THEN"))
		execl("/bin/sh", "sh", "-c", getenv("THEN"), NULL);
	return argc > 5 ? (int)strtol(argv[5], NULL, 10) : 0;
}
