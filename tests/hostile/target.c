/* target THREADS SECONDS: a program whose region somebody else writes into while it emits: events of every shape, declarations, forks. All around
 * its region lie canaries. Says "ready", and begins when a line comes in; at the end "done EVENTS LONGEST_NS" (of the longest seven
 * events in a row), and fails if a canary has changed. A fault ends it by a signal. */
#include "gander/gander.h"
#include "region/region.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

GANDER_EVENT(on_word, "hostile.word", GANDER_INFO, (u32, a), (u64, b))
GANDER_EVENT(on_text, "hostile.text", GANDER_DEBUG, (u32, a), (str, text), (u64, b))
GANDER_EVENT(on_none, "hostile.none", GANDER_INFO)
GANDER_SPAN(on_work, "hostile.work", GANDER_INFO, GANDER_FIELDS((u32, a)), GANDER_FIELDS((u64, b)))
GANDER_EVENT(on_many, "hostile.many", GANDER_INFO, (u32, a), (u64, b), (u64, c), (str, d), (str, e))

#define CANARY_BYTES (1u << 20)
#define CANARIES     64
static struct {
	uint64_t *at;
	size_t bytes;
} canary[CANARIES];
static unsigned canaries;
static volatile bool stop;
static uint64_t events, longest;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* at: 0 is anywhere; where something else lies already nothing is put. */
static void put_canary(uintptr_t at)
{
	uint64_t *p = mmap((void *)at, CANARY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);
	size_t i;

	if (p == MAP_FAILED || canaries == CANARIES)
		return;
	for (i = 0; i < CANARY_BYTES / 8; i++)
		p[i] = 0x5ca1ab1e00000000ull + i;
	canary[canaries].at = p;
	canary[canaries++].bytes = CANARY_BYTES;
}

/* Beside each mapping of the region, and one amid the heap and the data. */
static void put_canaries(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	uintptr_t side[32];
	unsigned n = 0, i;
	char line[512];

	while (f && fgets(line, sizeof(line), f) && n < 32) {
		char *end;

		if (!strstr(line, "/dev/shm/" GD_NAME_PREFIX))
			continue;
		side[n++] = strtoul(line, &end, 16) - CANARY_BYTES;
		side[n++] = strtoul(end + 1, NULL, 16);
	}
	if (f)
		fclose(f);
	for (i = 0; i < n; i++)
		put_canary(side[i]);
	for (i = 0; i < 8; i++)
		put_canary(0);
}

static unsigned canaries_dead(void)
{
	unsigned i, dead = 0;
	size_t k;

	for (i = 0; i < canaries; i++)
		for (k = 0; k < canary[i].bytes / 8; k++)
			dead += canary[i].at[k] != 0x5ca1ab1e00000000ull + k;
	return dead;
}

static char huge[70000];

static void emit(uint32_t a, uint64_t n, const char *text)
{
	struct gander_span span = on_work_begin(a);

	on_word(a, n);
	on_text(a, text, n);
	on_none();
	if (n % 256 == 255)
		on_text(a, huge, n); /* longer than an event may be */
	on_many(a, n, n * 3, text, "constant");
	gander_logf(GANDER_INFO, "%u %s", a, text);
	on_work_end(&span, n);
}

static void *emitter(void *arg)
{
	static const char *const texts[] = { "", "seven77", "a longer text, so that events have many lengths" };
	uint32_t a = (uint32_t)(uintptr_t)arg;
	uint64_t n, before, took, worst = 0;

	for (n = 0; !stop; n++) {
		before = now_ns();
		emit(a, n, texts[n % 3]);
		took = now_ns() - before;
		worst = took > worst ? took : worst;
	}
	__atomic_fetch_add(&events, n * 7, __ATOMIC_RELAXED);
	before = __atomic_load_n(&longest, __ATOMIC_RELAXED);
	while (worst > before && !__atomic_compare_exchange_n(&longest, &before, worst, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 2 ? atoi(argv[1]) : 0, i, status, bad = 0;
	const struct gander_field field = { "a", GANDER_T_U32, 0, 0, 0, 0, NULL, NULL };
	double seconds = argc > 2 ? atof(argv[2]) : 0;
	pthread_t th[16];
	uint64_t end;
	char name[64];

	if (threads < 1 || threads > 16)
		return 2;
	if (gander_off_reason()) {
		fprintf(stderr, "off: %s\n", gander_off_reason());
		return 3;
	}
	memset(huge, 'h', sizeof(huge) - 1);
	put_canaries();
	puts("ready");
	fflush(stdout);
	if (!fgets(name, sizeof(name), stdin))
		return 1;
	end = now_ns() + (uint64_t)(seconds * 1e9);
	for (i = 0; i < threads; i++)
		if (pthread_create(&th[i], NULL, emitter, (void *)(uintptr_t)i))
			return 1;
	for (i = 0; now_ns() < end; i++) {
		pid_t pid;

		snprintf(name, sizeof(name), "hostile.late.%d", i % 3000);
		gander_declare(name, GANDER_INFO, 0, &field, 1);
		if (i % 16 == 0) {
			pid = fork();
			if (!pid) {
				for (i = 0; i < 50; i++)
					emit(99, (uint64_t)i, "of a child");
				snprintf(name, sizeof(name), "hostile.child.%d", (int)getpid());
				gander_declare(name, GANDER_INFO, 0, &field, 1);
				_exit(canaries_dead() ? 1 : 0);
			}
			if (waitpid(pid, &status, 0) != pid || status) {
				fprintf(stderr, "a forked child ended with status %#x\n", status);
				bad = 1;
			}
		}
		usleep(500);
	}
	stop = true;
	for (i = 0; i < threads; i++)
		pthread_join(th[i], NULL);
	if (canaries_dead()) {
		fprintf(stderr, "%u words outside of the region were written\n", canaries_dead());
		bad = 1;
	}
	printf("done %llu %llu\n", (unsigned long long)events, (unsigned long long)longest);
	return bad;
}
