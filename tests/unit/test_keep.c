#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/kernel_keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CPUS      3u
#define EVENTS    40u
#define EVENT_MAX 6000u
#define BASE      ((1ull << KEEP_TIME_BITS) - 1000) /* the upper bits change in the middle */

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

struct made {
	struct keep_piece piece;
	struct keep_event event[EVENTS];
	uint8_t *bytes;
};

/* A packet whose events say who they are: the head with the time, then a byte over and over. */
static void make(struct made *m, uint32_t cpu, uint64_t *time, uint64_t *seed)
{
	uint32_t i, len, n = 1 + (uint32_t)(next_random(seed) % EVENTS);

	memset(m, 0, sizeof(*m));
	m->bytes = malloc((size_t)EVENTS * EVENT_MAX);
	for (i = 0; i < n; i++) {
		uint64_t t = *time + next_random(seed) % 20, head;

		if (i && t >> KEEP_TIME_BITS != *time >> KEEP_TIME_BITS)
			break;
		*time = t;
		head = t << (64 - KEEP_TIME_BITS) | 7;
		len = 8 + (uint32_t)(next_random(seed) % (EVENT_MAX - 8));
		m->event[i] = (struct keep_event) { t, m->piece.len, len };
		memcpy(m->bytes + m->piece.len, &head, 8);
		memset(m->bytes + m->piece.len + 8, (int)(t & 0xff), len - 8);
		m->piece.len += len;
	}
	m->piece.n = i;
	m->piece.cpu = cpu;
	m->piece.begin_ns = m->event[0].time_ns;
	m->piece.end_ns = m->event[i - 1].time_ns;
}

static uint64_t held_bytes(const struct keep *k)
{
	return (uint64_t)k->nblocks * KEEP_BLOCK;
}

/* What is there is the end of what was put, whole and in order; the rest is counted; the bound holds. */
static void the_newest_is_kept(void **state)
{
	enum { N = 4000 };
	struct made *all = calloc(N, sizeof(*all));
	uint64_t seed = 7, time[CPUS] = { BASE, BASE, BASE }, lost[CPUS] = { 0 }, dropped = 0, dropped_bytes = 0, whole_from = 0, from;
	struct keep k;
	struct keep_at at;
	uint32_t i, e, first = 0;

	assert_int_equal(keep_init(&k, 6 * (uint64_t)KEEP_BLOCK, 0, CPUS), 0);
	keep_first(&k, &at);
	assert_false(keep_next(&at));
	for (i = 0; i < N; i++) {
		uint32_t c = (uint32_t)(next_random(&seed) % CPUS);

		make(&all[i], c, &time[c], &seed);
		all[i].piece.lost = lost[c] += next_random(&seed) % 3;
		assert_int_equal(keep_put(&k, &all[i].piece, all[i].event, all[i].bytes), 0);
		assert_true(held_bytes(&k) <= 6 * (uint64_t)KEEP_BLOCK);
	}
	keep_first(&k, &at);
	assert_true(keep_next(&at));
	for (; all[first].piece.begin_ns != at.piece->begin_ns || all[first].piece.cpu != at.piece->cpu || all[first].piece.len != at.piece->len; first++) {
		dropped += all[first].piece.n;
		dropped_bytes += all[first].piece.len;
		if (all[first].piece.end_ns >= whole_from)
			whole_from = all[first].piece.end_ns + 1;
	}
	assert_true(first > N / 2 && first < N - 20);
	assert_int_equal(k.dropped, dropped);
	assert_int_equal(k.dropped_bytes, dropped_bytes);
	assert_int_equal(k.begin_ns, whole_from);
	for (i = 0; i < CPUS; i++) {
		for (e = first; e-- > 0 && all[e].piece.cpu != i;)
			;
		assert_int_equal(k.lost_before[i], all[e].piece.lost);
	}
	for (i = first; i < N; i++) {
		assert_memory_equal(at.piece, &all[i].piece, sizeof(*at.piece));
		assert_memory_equal(at.bytes, all[i].bytes, all[i].piece.len);
		for (e = 0; e < all[i].piece.n; e++) {
			assert_int_equal(at.at[e], all[i].event[e].at);
			assert_int_equal(keep_time(&at, e), all[i].event[e].time_ns);
		}
		from = all[i].piece.begin_ns + next_random(&seed) % 500 - 100;
		for (e = 0; e < all[i].piece.n && all[i].event[e].time_ns < from; e++)
			;
		assert_int_equal(keep_from(&at, from), e);
		assert_int_equal(keep_next(&at), i + 1 < N);
	}
	for (i = 0; i < N; i++)
		free(all[i].bytes);
	free(all);
	keep_done(&k);
}

/* Only what is in no trace counts as overwritten. */
static void what_was_taken_is_not_overwritten(void **state)
{
	uint64_t seed = 3, time = 1000, taken = 0, other = 0, kept = 0;
	struct keep k;
	struct keep_at at;
	struct made m;
	unsigned i;

	assert_int_equal(keep_init(&k, 0, 0, 1), 0);
	for (i = 0; i < 500; i++) {
		make(&m, 0, &time, &seed);
		m.piece.taken = i % 2;
		if (m.piece.taken)
			taken += m.piece.n;
		else
			other += m.piece.n;
		assert_int_equal(keep_put(&k, &m.piece, m.event, m.bytes), 0);
		free(m.bytes);
	}
	for (keep_first(&k, &at); keep_next(&at);)
		kept += at.piece->taken ? 0 : at.piece->n;
	assert_true(k.dropped > 0 && taken > 0);
	assert_int_equal(k.dropped + kept, other);
	keep_done(&k);
}

/* Three CPUs, of which one has little to tell: what is older than what was dropped of the others is in no trace, though it is still held. Whatever is put, taken
 * and dropped, each event is in a trace, counted or still to be taken. */
static void each_event_is_taken_or_counted(void **state)
{
	uint64_t seed = 5, time[CPUS] = { BASE, BASE, BASE }, put = 0, taken = 0, open, before = 0, passed = 0;
	struct keep k;
	struct keep_at at;
	struct made m;
	unsigned i, c;

	assert_int_equal(keep_init(&k, 0, 0, CPUS), 0);
	for (i = 1; i <= 3000; i++) {
		c = next_random(&seed) % 8 ? (unsigned)(next_random(&seed) % (CPUS - 1)) : CPUS - 1;
		make(&m, c, &time[c], &seed);
		put += m.piece.n;
		assert_int_equal(keep_put(&k, &m.piece, m.event, m.bytes), 0);
		free(m.bytes);
		if (i % 250 == 0)
			for (keep_first(&k, &at); keep_next(&at);) {
				if (at.piece->taken || keep_from(&at, k.begin_ns) == at.piece->n)
					continue;
				taken += at.piece->n - keep_from(&at, k.begin_ns);
				keep_take(&k, &at);
				keep_take(&k, &at); /* twice is once */
			}
		for (open = 0, keep_first(&k, &at); keep_next(&at);)
			open += at.piece->taken ? 0 : at.piece->n - keep_from(&at, k.begin_ns);
		assert_int_equal(keep_overwritten(&k) + taken + open, put);
		assert_true(keep_overwritten(&k) >= before);
		before = keep_overwritten(&k);
		passed += before > k.dropped;
	}
	assert_true(taken > 0 && k.dropped > 0 && passed > 0);
	keep_done(&k);
}

/* Of a short period no more is held than it needs, though much went through; and a pause drops nothing by itself. */
static void the_period_bounds_it_too(void **state)
{
	uint64_t seed = 5, time = 1000, most = 0;
	struct keep k;
	struct keep_at at;
	struct made m;
	unsigned i;

	assert_int_equal(keep_init(&k, 1ull << 30, 3000, 1), 0);
	for (i = 0; i < 5000; i++) {
		make(&m, 0, &time, &seed);
		assert_int_equal(keep_put(&k, &m.piece, m.event, m.bytes), 0);
		free(m.bytes);
		most = held_bytes(&k) > most ? held_bytes(&k) : most;
		assert_true(!k.begin_ns || k.begin_ns + 3000 <= time);
	}
	assert_true(k.dropped > 0);
	assert_true(most < 32ull * KEEP_BLOCK);
	time += 1000000;
	make(&m, 0, &time, &seed);
	assert_int_equal(keep_put(&k, &m.piece, m.event, m.bytes), 0);
	keep_first(&k, &at);
	assert_true(keep_next(&at));
	assert_int_equal(at.piece->begin_ns, m.piece.begin_ns);
	assert_false(keep_next(&at));
	free(m.bytes);
	keep_done(&k);
}

static void what_is_too_large_is_refused(void **state)
{
	struct keep_event e = { 1, 0, KEEP_BLOCK };
	struct keep_piece p = { .begin_ns = 1, .end_ns = 1, .n = 1, .len = KEEP_BLOCK };
	uint8_t *bytes = calloc(1, KEEP_BLOCK);
	struct keep_at at;
	struct keep k;

	assert_int_equal(keep_init(&k, 0, 0, 0), 0);
	assert_int_equal(keep_put(&k, &p, &e, bytes), -EFBIG);
	keep_first(&k, &at);
	assert_false(keep_next(&at));
	keep_done(&k);
	keep_done(&k);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_is_kept),
		cmocka_unit_test(what_was_taken_is_not_overwritten),
		cmocka_unit_test(each_event_is_taken_or_counted),
		cmocka_unit_test(the_period_bounds_it_too),
		cmocka_unit_test(what_is_too_large_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
