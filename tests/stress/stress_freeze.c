/* Tries to get past a frozen ring. Threads emit into a ring that is overwritten, and now and then an event that a condition holds for; this
 * process is the collector too. While the ring is frozen the threads go on until nothing is spare any more.
 *
 *     stress_freeze THREADS ROUNDS
 *
 * Then holds: the word is the first one's, whoever else fired; no slot lost a packet of what it had, but for at most one a thread (who had looked
 * before the freeze); the event that froze it is there, at no later time than the freeze; every event is in a chain, was overwritten before, or is counted as lost. After it was let
 * go the ring turns again. GANDER_WRITER=mm_cid|cpu|pool chooses the slots. Ends with "N passed, N failed". */
#include "gander/gander.h"
#include "lib/mini.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define THREADS 64
#define PACKETS 48u
#define QUOTA   6u
#define SPARE   16u
#define NOBODY  (-1)
#define ALL     (-2)

GANDER_EVENT(on_step, "freeze.step", GANDER_INFO, (u32, thread), (u64, n), (u32, check))
GANDER_EVENT(on_fire, "freeze.fire", GANDER_INFO, (u32, thread), (u64, n), (u32, check))

static struct {
	volatile uint64_t emitted, resting;
	uint64_t pad[14];
} t[THREADS];
static volatile int shooter = NOBODY, stop, rest;
static volatile uint64_t shot;
static int threads, bad;
static struct mini m;

static void *run(void *arg)
{
	uint32_t me = (uint32_t)(long)arg;
	uint64_t n, last = 0;

	for (n = 0; !stop; n++) {
		on_step(me, n, (uint32_t)n * 2654435761u);
		t[me].emitted++;
		if ((shooter == (int)me || shooter == ALL) && shot != last) {
			last = shot;
			on_fire(me, last, (uint32_t)last * 2654435761u);
			t[me].emitted++;
		}
		while (rest && !stop) {
			t[me].resting = 1;
			sched_yield();
		}
		t[me].resting = 0;
	}
	t[me].resting = 1;
	return NULL;
}

static void wrong(int round, const char *what, uint64_t a, uint64_t b)
{
	printf("FAIL round %d: %s: %lu, %lu\n", round, what, a, b);
	bad++;
}

static uint64_t lost_frozen(void)
{
	uint64_t sum = 0;
	unsigned s;

	for (s = 0; s < GD_SLOTS; s++)
		sum += __atomic_load_n(&mini_channel(&m, 0)->slot[s].lost_frozen, __ATOMIC_RELAXED);
	return sum;
}

static uint32_t nfree(void)
{
	uint32_t i, n = 0;

	for (i = 0; i < (PACKETS + 63) / 64; i++)
		n += (uint32_t)__builtin_popcountll(__atomic_load_n(&mini_channel(&m, 0)->free[i], __ATOMIC_RELAXED));
	return n;
}

/* What a collector does between two freezes: takes the oldest packets of long chains, so that some are spare. */
static void spare(void)
{
	struct gd_channel *ch = mini_channel(&m, 0);
	unsigned s, tries;

	for (tries = 0; tries < 1000 && nfree() < SPARE; tries++)
		for (s = 0; s < GD_SLOTS; s++) {
			uint64_t tail = __atomic_load_n(&ch->slot[s].tail, __ATOMIC_ACQUIRE);
			uint32_t i = GD_TAIL_INDEX(tail), cur = __atomic_load_n(&ch->slot[s].cur, __ATOMIC_ACQUIRE), next;

			if (!tail || i >= PACKETS || i + 1 == cur || cur - 1 >= PACKETS || mini_packet(&m, cur - 1)->seq - GD_TAIL_SEQ(tail) + 1 <= QUOTA / 2)
				continue;
			next = __atomic_load_n(&mini_packet(&m, i)->next, __ATOMIC_RELAXED);
			if (!next || next > PACKETS)
				continue;
			if (__atomic_compare_exchange_n(&ch->slot[s].tail, &tail, GD_TAIL(GD_TAIL_SEQ(tail) + 1, next - 1), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
				__atomic_store_n(&mini_packet(&m, i)->seq, 0, __ATOMIC_RELAXED);
				__atomic_fetch_or(&ch->free[i / 64], 1ull << (i % 64), __ATOMIC_ACQ_REL);
			}
		}
}

struct found {
	uint32_t fire;
	uint64_t time, time_of, thread, n; /* of the shot, full counter */
	bool there;
	uint64_t torn;
};

static void visit(struct mini *mm, struct gd_packet *p, const char *ev, size_t len, void *arg)
{
	struct found *f = arg;
	size_t at;

	for (at = 0; at < len; at += 28) {
		uint64_t word = gd_load64(ev + at), n = gd_load64(ev + at + 16);

		if (len - at < 28 || gd_load32(ev + at + 24) != (uint32_t)n * 2654435761u) {
			f->torn++;
			return;
		}
		if ((word & GD_EVENT_ID_MASK) == f->fire && n == f->n && (f->thread == (uint64_t)ALL || gd_load32(ev + at + 12) == f->thread)) {
			uint64_t time = word >> 16 | p->time_high << 48;

			if (!f->there || time < f->time_of)
				f->time_of = time;
			f->there = true;
		}
	}
}

static void set_up(void)
{
	struct gd_condition_set *set = (struct gd_condition_set *)(m.map + GD_OFF_FILTERS);
	uint32_t i;

	mini_grant(&m, 0, 0, PACKETS);
	*set = (struct gd_condition_set) { .magic = GD_CONDITION_MAGIC, .n = 1, .v = { { 0, 5 } } };
	mini_on(&m, 0, GD_MODE_OVERWRITE, GD_CTX_TID, "*", 0);
	mini_channel(&m, 0)->quota = QUOTA;
	for (i = 0; i < mini_header(&m)->class_count; i++) {
		struct gd_class *cls = mini_class(&m, i);
		struct gd_desc d;

		if (gd_desc_parse(&d, m.map + cls->desc_off, cls->desc_len) < 0 || d.name_len != 11 || memcmp(d.name, "freeze.fire", 11))
			continue;
		cls->filter[0] = GD_OFF_FILTERS;
		__atomic_fetch_or(&cls->enabled, GD_CONDITIONAL(0), __ATOMIC_SEQ_CST);
	}
}

static uint32_t fire_class(void)
{
	uint32_t i;

	for (i = 0; i < GD_CLASSES; i++)
		if (mini_class(&m, i)->enabled & GD_CONDITIONAL(0))
			return i;
	return GD_CLASSES;
}

/* Waits long enough for the slowest machine; false: it never came. */
#define WAIT_FOR(condition) \
	({ \
		int waited_; \
		for (waited_ = 0; !(condition) && waited_ < 200000; waited_++) \
			usleep(100); \
		waited_ < 200000; \
	})

static bool all_rest(void)
{
	int i;

	for (i = 0; i < threads; i++)
		if (!t[i].resting)
			return false;
	return true;
}

static void round_of(int round, uint32_t fire)
{
	struct gd_channel *ch = mini_channel(&m, 0);
	struct found f = { .fire = fire, .n = (uint64_t)round + 1 };
	uint64_t tail[GD_SLOTS], before = lost_frozen(), word, moved = 0, emitted = 0, known = 0, now;
	unsigned s;
	int i;

	/* one thread in odd rounds, which is then known; all at once in the others */
	f.thread = round % 2 ? (uint64_t)(round / 2 % threads) : (uint64_t)ALL;
	shot = f.n;
	shooter = round % 2 ? round / 2 % threads : ALL;
	if (!WAIT_FOR(__atomic_load_n(&ch->trigger, __ATOMIC_ACQUIRE))) {
		wrong(round, "the condition does not hold", 0, 0);
		return;
	}
	word = __atomic_load_n(&ch->trigger, __ATOMIC_ACQUIRE);
	for (s = 0; s < GD_SLOTS; s++)
		tail[s] = __atomic_load_n(&ch->slot[s].tail, __ATOMIC_ACQUIRE);
	if (!WAIT_FOR(lost_frozen() > before + 200u * (unsigned)threads)) {
		wrong(round, "nothing is lost while the ring is frozen", lost_frozen(), before);
		return;
	}
	if (nfree() > (uint32_t)threads)
		wrong(round, "lost while packets are spare", nfree(), (uint64_t)threads);
	rest = 1;
	if (!WAIT_FOR(all_rest()))
		wrong(round, "the threads do not rest", 0, 0);
	now = __atomic_load_n(&ch->trigger, __ATOMIC_ACQUIRE);
	if (now != word || !(word & GD_TRIGGER_FROZEN) || GD_TRIGGER_NUMBER(word) != 5 || GD_TRIGGER_CLASS(word) != fire)
		wrong(round, "the trigger's word", now, word);
	if (GD_TRIGGER_TIME(ch->trigger_time) != GD_TRIGGER_TIME(word))
		wrong(round, "the trigger's time", ch->trigger_time, word);
	for (s = 0; s < GD_SLOTS; s++)
		if (tail[s])
			moved += GD_TAIL_SEQ(ch->slot[s].tail) - GD_TAIL_SEQ(tail[s]);
	if (moved > (uint64_t)threads)
		wrong(round, "packets were taken from a frozen ring", moved, (uint64_t)threads);
	if (mini_walk(&m, 0, visit, &f) < 0 || f.torn)
		wrong(round, "torn", f.torn, 0);
	if (!f.there || f.time_of > ch->trigger_time)
		wrong(round, "the event that froze the ring", f.there ? f.time_of : 0, ch->trigger_time);
	for (s = 0; s < GD_SLOTS; s++)
		if (ch->slot[s].cur - 1 < PACKETS)
			known += mini_packet(&m, ch->slot[s].cur - 1)->first + GD_HEAD_COUNT(mini_packet(&m, ch->slot[s].cur - 1)->head);
	for (i = 0; i < threads; i++)
		emitted += t[i].emitted;
	if (known + mini_lost(&m, 0) + lost_frozen() != emitted)
		wrong(round, "events that are neither there nor counted", known + mini_lost(&m, 0) + lost_frozen(), emitted);
	shooter = NOBODY; /* all rest: who has not fired yet does not */
	__atomic_store_n(&ch->trigger, 0, __ATOMIC_RELEASE);
	rest = 0;
	spare();
	before = lost_frozen();
	emitted += 20000;
	if (!WAIT_FOR(({ for (i = 0, known = 0; i < threads; i++) known += t[i].emitted; known > emitted; })))
		wrong(round, "the threads do not go on", known, emitted);
	if (lost_frozen() > before + (unsigned)threads)
		wrong(round, "lost as if it were frozen still", lost_frozen(), before);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 0, i;
	pthread_t th[THREADS];

	threads = argc > 1 ? atoi(argv[1]) : 0;
	if (threads < 1 || threads > THREADS || rounds < 1)
		return 2;
	if (!mini_open(&m, getpid())) {
		printf("no region: %s\n0 passed, 1 failed\n", gander_off_reason());
		return 1;
	}
	set_up();
	for (i = 0; i < threads; i++)
		pthread_create(&th[i], NULL, run, (void *)(long)i);
	for (i = 0; i < rounds && !bad; i++)
		round_of(i, fire_class());
	stop = 1;
	for (i = 0; i < threads; i++)
		pthread_join(th[i], NULL);
	printf("%d freezes by %d threads, %lu events lost while frozen\n", rounds, threads, lost_frozen());
	mini_close(&m, true);
	printf("%d passed, %d failed\n", !bad, !!bad);
	return bad != 0;
}
