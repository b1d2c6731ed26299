/* A program whose waits are known: A sleeps, says so by an event, wakes B by a futex; B says that it is awake, works, and now and then writes a file to the disk. A
 * spinner on each of their CPUs sees to it that they also wait for a CPU, and that no CPU is idle.
 *
 *     wakes CPU-OF-A CPU-OF-B ROUNDS FILE
 * Prints "pid P a TID b TID", runs when a line comes, ends when its input does. */
#include "gander/gander.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

GANDER_EVENT(on_wake, "test.wake", GANDER_INFO, (u64, n))
GANDER_EVENT(on_awake, "test.awake", GANDER_INFO, (u64, n))

static _Atomic unsigned word, back;
static atomic_bool ended;
static atomic_int tid_b;
static int cpu_a, cpu_b;
static unsigned rounds;
static const char *path;

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("sched_setaffinity");
}

static void spin_ns(long ns)
{
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	} while ((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec < ns);
}

static void *spinner(void *arg)
{
	pin(*(int *)arg);
	while (!atomic_load_explicit(&ended, memory_order_relaxed))
		;
	return NULL;
}

static void wait_for(_Atomic unsigned *w, unsigned n)
{
	while (atomic_load(w) != n)
		syscall(SYS_futex, w, FUTEX_WAIT_PRIVATE, n - 1, NULL, NULL, 0);
}

static void wake(_Atomic unsigned *w, unsigned n)
{
	atomic_store(w, n);
	syscall(SYS_futex, w, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *thread_b(void *arg)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsigned n;

	pin(cpu_b);
	atomic_store(&tid_b, (int)syscall(SYS_gettid));
	for (n = 1; n <= rounds; n++) {
		wait_for(&word, n);
		on_awake(n);
		spin_ns(100000);
		if (fd >= 0 && n % 10 == 0 && pwrite(fd, &n, sizeof(n), 4096L * n) > 0)
			fsync(fd);
		wake(&back, n);
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct timespec pause = { .tv_nsec = 500000 };
	pthread_t b, s[2];
	unsigned n;
	char line[16];

	if (argc < 5)
		return 2;
	cpu_a = atoi(argv[1]);
	cpu_b = atoi(argv[2]);
	rounds = (unsigned)atoi(argv[3]);
	path = argv[4];
	pin(cpu_a);
	pthread_create(&b, NULL, thread_b, NULL);
	while (!atomic_load(&tid_b))
		nanosleep(&pause, NULL);
	printf("pid %d a %d b %d\n", (int)getpid(), (int)syscall(SYS_gettid), atomic_load(&tid_b));
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 0;
	pthread_create(&s[0], NULL, spinner, &cpu_a);
	pthread_create(&s[1], NULL, spinner, &cpu_b);
	for (n = 1; n <= rounds; n++) {
		nanosleep(&pause, NULL);
		on_wake(n);
		wake(&word, n);
		wait_for(&back, n);
	}
	atomic_store(&ended, true);
	pthread_join(b, NULL);
	pthread_join(s[0], NULL);
	pthread_join(s[1], NULL);
	puts("done");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		;
	return 0;
}
