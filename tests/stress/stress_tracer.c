/* Breaks the C writer if it can: threads and signal handlers emit, and the process is killed at random instants. Every thread counts what it has emitted
 * in memory that survives; afterwards each counted event is in the region exactly once, none is torn, time never falls within a
 * packet, and each thread's events are in order within a packet.
 *
 *     stress_tracer run THREADS EVENTS [SIGNAL_HZ]      all events, no kill
 *     stress_tracer count THREADS EVENTS [SIGNAL_HZ]    the same, but only counted
 *     stress_tracer kill THREADS ROUNDS [SIGNAL_HZ]     a child is killed, ROUNDS times
 * GANDER_WRITER=mm_cid|cpu|pool chooses the slots. Ends with "N passed, N failed". */
#include "gander/gander.h"
#include "lib/mini.h"
#ifdef RSEQ_EMULATED
#include "lib/rseq_emulated.h"
#endif

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define THREADS 64
GANDER_EVENT(on_step, "stress.step", GANDER_INFO, (u32, thread), (u64, n), (u32, check))
GANDER_EVENT(on_text, "stress.text", GANDER_INFO, (u32, thread), (u64, n), (str, text))
GANDER_EVENT(on_signal, "stress.signal", GANDER_INFO, (u32, thread), (u64, n), (u32, check))

static struct shared {
	struct {
		volatile uint64_t steps, texts, signals;
		uint64_t pad[13];
	} t[THREADS];
} * shared;
static __thread volatile uint32_t me;
static long limit = -1;
static int hz;

static void handler(int sig, siginfo_t *info, void *context)
{
	uint64_t n;

#ifdef RSEQ_EMULATED
	rseq_emulated_signal(context);
#endif
	n = shared->t[me].signals;
	on_signal(me, n, (uint32_t)n * 2654435761u);
	shared->t[me].signals = n + 1;
}

static void handle(void)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaction(SIGUSR1, &sa, NULL);
}

static void *run(void *arg)
{
	static const char *const texts[4] = { "", "seven77", "sixteen bytes ok", "a longer text, so that events have many lengths, and some copies are long" };
	timer_t timer;
	uint64_t n;

	me = (uint32_t)(long)arg;
#ifdef RSEQ_EMULATED
	rseq_emulated_thread(me);
#endif
	if (hz) {
		struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
		struct itimerspec it = { { 0, 1000000000 / hz }, { 0, 1000000000 / hz } };

		ev._sigev_un._tid = gettid();
		timer_create(CLOCK_MONOTONIC, &ev, &timer);
		timer_settime(timer, 0, &it, NULL);
	}
	for (n = 0; limit < 0 || n < (uint64_t)limit; n++) {
		on_step(me, n, (uint32_t)n * 2654435761u);
		shared->t[me].steps = n + 1;
		if (n % 16 == 0) {
			on_text(me, n / 16, texts[n / 16 % 4]);
			shared->t[me].texts = n / 16 + 1;
		}
	}
	if (hz)
		timer_delete(timer);
	return NULL;
}

struct seen {
	uint32_t id[3];
	uint64_t events, torn, order;
	uint8_t *bits[THREADS][3];
	uint64_t max[THREADS][3];
};

static void visit(struct mini *m, struct gd_packet *p, const char *ev, size_t len, void *arg)
{
	static const char *const texts[4] = { "", "seven77", "sixteen bytes ok", "a longer text, so that events have many lengths, and some copies are long" };
	struct seen *seen = arg;
	uint64_t last = 0, order[THREADS][3];
	size_t at = 0;

	memset(order, 0, sizeof(order));
	while (at < len) {
		uint64_t word = gd_load64(ev + at), n, time = word >> 16;
		uint32_t id = word & 0x7fff, k, thread;

		for (k = 0; k < 3 && seen->id[k] != id; k++)
			;
		if (k == 3 || len - at < 26 || time < last) {
			seen->torn++;
			return;
		}
		last = time;
		thread = gd_load32(ev + at + 12);
		n = gd_load64(ev + at + 16);
		at += 24;
		if (thread >= THREADS || n >= seen->max[thread][k]) {
			seen->torn++;
			return;
		}
		if (k == 1) {
			uint16_t tl = gd_load16(ev + at);

			if (tl != strlen(texts[n % 4]) || memcmp(ev + at + 2, texts[n % 4], tl))
				seen->torn++;
			at += 2 + tl;
		} else {
			if (gd_load32(ev + at) != (uint32_t)n * 2654435761u)
				seen->torn++;
			at += 4;
		}
		if (seen->bits[thread][k][n / 8] & (1 << n % 8))
			seen->torn++;
		seen->bits[thread][k][n / 8] |= (uint8_t)(1 << n % 8);
		if (n + 1 < order[thread][k])
			seen->order++;
		order[thread][k] = n + 1;
		seen->events++;
	}
}

static bool check(struct mini *m, int threads, const char *what, bool say)
{
	static struct seen seen;
	uint64_t missing = 0, lost = mini_lost(m, 0), total = 0, n;
	uint32_t i, k;
	int packets, t;

	memset(&seen, 0, sizeof(seen));
	seen.id[0] = seen.id[1] = seen.id[2] = UINT32_MAX;
	for (i = 0; i < mini_header(m)->class_count; i++) {
		struct gd_desc d;

		if (mini_class(m, i)->state == GD_CLASS_PUBLISHED && !gd_desc_parse(&d, m->map + mini_class(m, i)->desc_off, mini_class(m, i)->desc_len) &&
		    d.name_len > 7 && !memcmp(d.name, "stress.", 7))
			seen.id[d.name[8] == 't' ? 0 : d.name[8] == 'e' ? 1
									: 2] = i;
	}
	for (t = 0; t < threads; t++)
		for (k = 0; k < 3; k++) {
			/* one more than counted may be there: emitted, and killed before it was counted */
			seen.max[t][k] = (k == 0 ? shared->t[t].steps : k == 1 ? shared->t[t].texts
									       : shared->t[t].signals) +
					 1;
			seen.bits[t][k] = calloc(1, seen.max[t][k] / 8 + 1);
		}
	packets = mini_walk(m, 0, visit, &seen);
	for (t = 0; t < threads; t++)
		for (k = 0; k < 3; k++) {
			for (n = 0; n + 1 < seen.max[t][k]; n++)
				missing += !(seen.bits[t][k][n / 8] & (1 << n % 8));
			total += seen.max[t][k] - 1;
			free(seen.bits[t][k]);
		}
	if (say || packets < 0 || seen.torn || seen.order || missing > lost)
		printf("%s: %lu emitted, %lu in %d packets, %lu lost, %lu missing, %lu torn, %lu out of order\n", what, total, seen.events, packets, lost, missing, seen.torn,
		       seen.order);
	return packets >= 0 && !seen.torn && !seen.order && missing <= lost && seen.events + lost >= total;
}

/* Hits of this program's classes, in all slots' packets of counters. */
static uint64_t hits(struct mini *m)
{
	uint64_t sum = 0;
	uint32_t s, at, i;

	for (s = 0; s < mini_header(m)->nslots; s++)
		for (at = mini_channel(m, 0)->slot[s].cur; at; at = mini_packet(m, at - 1)->prev)
			for (i = 0; i < mini_header(m)->class_count; i++)
				sum += gd_load64((char *)mini_packet(m, at - 1) + GD_PACKET_HEADER + 8 * i);
	return sum;
}

static bool check_hits(struct mini *m, int threads)
{
	uint64_t emitted = 0, counted = hits(m), lost = mini_lost(m, 0);
	int t;

	for (t = 0; t < threads; t++)
		emitted += shared->t[t].steps + shared->t[t].texts + shared->t[t].signals;
	printf("count: %lu emitted, %lu counted, %lu lost\n", emitted, counted, lost);
	return emitted == counted + lost;
}

int main(int argc, char **argv)
{
	bool count;
	int threads, i, rounds, bad = 0;
	struct mini m;
	pthread_t th[THREADS];
	uint64_t total = 0;

	if (argc < 4 || atoi(argv[2]) > THREADS)
		return 2;
	threads = atoi(argv[2]);
	hz = argc > 4 ? atoi(argv[4]) : 0;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	count = !strcmp(argv[1], "count");
	if (count || !strcmp(argv[1], "run")) {
		struct timespec a, b;

		limit = atol(argv[3]);
		if (!mini_open(&m, getpid())) {
			printf("no region: %s\n0 passed, 1 failed\n", gander_off_reason());
			return 1;
		}
		mini_grant(&m, 0, 0, mini_header(&m)->npackets);
		mini_on(&m, 0, count ? GD_MODE_COUNT : GD_MODE_DISCARD, GD_CTX_TID, "*", 0);
		handle();
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (i = 0; i < threads; i++)
			pthread_create(&th[i], NULL, run, (void *)(long)i);
		for (i = 0; i < threads; i++)
			pthread_join(th[i], NULL);
		clock_gettime(CLOCK_MONOTONIC, &b);
		bad = count ? !check_hits(&m, threads) : !check(&m, threads, "run", true);
		printf("%.1f ns an event, all threads together\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / ((double)limit * threads * 17 / 16));
		mini_close(&m, true);
#ifdef RSEQ_EMULATED
		printf("%lu sequences aborted\n", rseq_emulated_aborts);
		bad |= hz && !rseq_emulated_aborts;
#endif
		printf("%d passed, %d failed\n", !bad, bad);
		return bad;
	}
	rounds = atoi(argv[3]);
	srand((unsigned)time(NULL));
	for (i = 0; i < rounds; i++) {
		int go[2], k;
		pid_t pid;
		char c;

		memset(shared, 0, sizeof(*shared));
		if (pipe(go))
			return 1;
		pid = fork();
		if (!pid) {
			/* the region of a forked child: made by the fork handler */
			if (!mini_open(&m, getpid()))
				_exit(7);
			mini_grant(&m, 0, 0, mini_header(&m)->npackets);
			mini_on(&m, 0, GD_MODE_DISCARD, GD_CTX_TID, "*", 0);
			handle();
			for (k = 0; k < threads; k++)
				pthread_create(&th[k], NULL, run, (void *)(long)k);
			if (write(go[1], "x", 1) != 1)
				_exit(8);
			for (;;)
				pause();
		}
		if (read(go[0], &c, 1) != 1)
			return 1;
		usleep(1000 + (unsigned)rand() % 20000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(go[0]);
		close(go[1]);
		if (!mini_open(&m, pid)) {
			printf("round %d: the dead child's region is not there\n", i);
			bad++;
			continue;
		}
		bad += !check(&m, threads, "killed", false);
		for (k = 0; k < threads; k++)
			total += shared->t[k].steps + shared->t[k].texts + shared->t[k].signals;
		mini_close(&m, true);
	}
	printf("%d kills, %lu events emitted before them\n%d passed, %d failed\n", rounds, total, rounds - bad, bad);
	return bad != 0;
}
