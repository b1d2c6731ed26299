/* libgander as its users see it, read back by the one-page collector of lib/mini.h. One process a test where a test forks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gander/gander.h"
#include "lib/mini.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

GANDER_STRUCT(point, (i32, x), (f64, y))
static const struct gander_label colours[] = { { "red", 0, 0 }, { "green", 1, 1 }, { "other", 2, 9 } };
GANDER_EVENT(ev_none, "u.none", GANDER_INFO)
GANDER_EVENT(ev_words, "u.words", GANDER_INFO, (i32, a), (i64, b))
GANDER_EVENT(ev_32, "u.w32", GANDER_INFO, (u64, a), (u64, b), (u64, c), (u32, d), (u16, e), (u8, f), (boolean, g))
GANDER_EVENT(ev_all, "u.all", GANDER_WARNING, (u8, a), (boolean, b), (f32, c), (f64, d), (hex64, h), (duration, t), (enumeration, col, colours),
	     (arr_u16, ar, 3), (seq_i64, sq), (record, p, point), (seq_record, ps, point), (bytes, by), (text, tx), (str, last))
GANDER_EVENT(ev_big, "u.big", GANDER_INFO, (i32, before), (bytes, data), (i32, after))
GANDER_SPAN(query, "u.query", GANDER_INFO, GANDER_FIELDS((str, sql)), GANDER_FIELDS((i32, rows)))

struct got {
	uint8_t bytes[8][70000];
	size_t len[8];
	uint64_t word[8];
	int n;
};

/* Splits a packet's events by their classes' descriptions. */
static void collect(struct mini *m, struct gd_packet *p, const char *ev, size_t len, void *arg)
{
	struct got *got = arg;
	uint32_t which = mini_channel(m, p->channel)->context;
	size_t at = 0;

	while (at < len) {
		uint64_t word = gd_load64(ev + at);
		struct gd_class *cls = mini_class(m, word & GD_EVENT_ID_MASK);
		size_t context = (which & GD_CTX_TID ? 4 : 0) + (which & GD_CTX_GOID ? 8 : 0) + (which & GD_CTX_CPU ? 2 : 0) + (which & GD_CTX_SPAN ? 8 : 0) +
				 (which & GD_CTX_KEY ? 8 : 0);
		struct gd_desc d;
		struct gd_field f;
		const uint8_t *field;
		size_t used = 8 + context;

		assert_int_equal(gd_desc_parse(&d, m->map + cls->desc_off, cls->desc_len), 0);
		if (which & GD_CTX_STACK)
			used += 2 + 8u * gd_load16(ev + at + used);
		for (field = d.fields; gd_desc_field(&f, &field, d.end);) {
			ptrdiff_t n = gd_value_size(f.type_at, d.end, (const uint8_t *)ev + at + used, len - at - used);

			assert_true(n >= 0);
			used += (size_t)n;
		}
		if (got->n < 8) {
			memcpy(got->bytes[got->n], ev + at, used);
			got->len[got->n] = used;
			got->word[got->n++] = word;
		}
		at += used;
	}
}

static struct mini mini;
static struct got got;

static void record(uint32_t mode, uint32_t context)
{
	assert_true(mini_open(&mini, getpid()));
	mini_grant(&mini, 0, 0, 16);
	mini_on(&mini, 0, mode, context, "*", 0);
}

/* Events in all chains of channel 0. */

static void count_events(struct mini *m, struct gd_packet *p, const char *ev, size_t len, void *arg)
{
	*(uint64_t *)arg += GD_HEAD_COUNT(p->head);
}

static uint64_t events_so_far(void)
{
	uint64_t n = 0;

	mini_walk(&mini, 0, count_events, &n);
	return n;
}

static int child_result(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		memset(&got, 0, sizeof(got));
		run();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

/* Each test runs in a child, whose region is its own: made by the fork handler. Assertions end the child with a status that is not 0. */
#define IN_CHILD(name) \
	static void name##_child(void); \
	static void name(void **state) \
	{ \
		assert_int_equal(child_result(name##_child), 0); \
	} \
	static void name##_child(void)

IN_CHILD(every_type_has_its_bytes)
{
	static const uint8_t want[] = {
		7,
		1,
		0,
		0,
		0xc0,
		0x3f,
		0,
		0,
		0,
		0,
		0,
		0,
		4,
		0x40,
		0xff,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0xe8,
		3,
		0,
		0,
		0,
		0,
		0,
		0,
		1,
		0,
		0,
		0,
		1,
		0,
		2,
		0,
		3,
		0,
		2,
		0,
		4,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0xfb,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		9,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		4,
		0x40,
		1,
		0,
		9,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		4,
		0x40,
		2,
		0,
		'z',
		0,
		3,
		0,
		'a',
		'b',
		'c',
		0,
		0,
	};
	const uint16_t ar[3] = { 1, 2, 3 };
	const int64_t sq[2] = { 4, -5 };
	const struct point p = { 9, 2.5 };

	record(GD_MODE_DISCARD, GD_CTX_TID);
	assert_true(ev_all_enabled());
	errno = 77;
	ev_all(7, true, 1.5f, 2.5, 255, 1000, 1, ar, sq, 2, &p, &p, 1, "z", 2, "abcdef", 3, NULL);
	ev_none();
	ev_words(-1, INT64_MIN);
	ev_32(1, 2, 3, 4, 5, 6, true);
	assert_int_equal(errno, 77);
	mini_walk(&mini, 0, collect, &got);
	assert_int_equal(got.n, 4);
	assert_int_equal(got.len[0], 12 + sizeof(want));
	assert_memory_equal(got.bytes[0] + 12, want, sizeof(want));
	assert_int_equal(gd_load32(got.bytes[0] + 8), gettid());
	assert_int_equal(got.len[1], 12);
	assert_int_equal(got.len[2], 24);
	assert_int_equal((int32_t)gd_load32(got.bytes[2] + 12), -1);
	assert_int_equal((int64_t)gd_load64(got.bytes[2] + 16), INT64_MIN);
	assert_int_equal(got.len[3], 12 + 32);
	assert_int_equal(gd_load64(got.bytes[3] + 12 + 16), 3);
	assert_int_equal(got.bytes[3][12 + 31], 1);
	assert_int_equal(mini_lost(&mini, 0), 0);
}

IN_CHILD(all_context_is_there)
{
	struct gander_span span;

	record(GD_MODE_DISCARD, GD_CTX_ALL & ~GD_CTX_STACK);
	gander_set_key(0x1122334455667788);
	span = query_begin("select");
	ev_words(1, 2);
	query_end(&span, 3);
	assert_int_equal(gander_current_span(), 0);
	mini_walk(&mini, 0, collect, &got);
	assert_int_equal(got.n, 3);
	assert_int_equal(gd_load32(got.bytes[1] + 8), gettid());
	assert_int_equal(gd_load64(got.bytes[1] + 12), 0); /* no goroutine */
	assert_true(gd_load16(got.bytes[1] + 20) < 4096);
	assert_int_equal(gd_load64(got.bytes[1] + 22), span.id);
	assert_int_equal(gd_load64(got.bytes[1] + 30), 0x1122334455667788);
	/* begin: span_id, parent_id, sql */
	assert_int_equal(gd_load64(got.bytes[0] + 38), span.id);
	assert_int_equal(gd_load64(got.bytes[0] + 46), 0);
	assert_memory_equal(got.bytes[0] + 56, "select", 6);
	assert_int_equal(gd_load64(got.bytes[2] + 38), span.id);
	assert_int_equal(gd_load32(got.bytes[2] + 54), 3);
}

IN_CHILD(a_span_measures_its_time)
{
	struct gander_span outer, inner;
	struct timespec a, b;

	record(GD_MODE_DISCARD, GD_CTX_TID);
	clock_gettime(CLOCK_MONOTONIC, &a);
	outer = query_begin("outer");
	inner = query_begin("inner");
	assert_int_equal(inner.parent, outer.id);
	nanosleep(&(struct timespec) { 0, 30000000 }, NULL);
	query_end(&inner, 1);
	query_end(&outer, 2);
	clock_gettime(CLOCK_MONOTONIC, &b);
	mini_walk(&mini, 0, collect, &got);
	assert_int_equal(got.n, 4);
	assert_int_equal(gd_load64(got.bytes[2] + 12), inner.id);
	assert_in_range(gd_load64(got.bytes[2] + 20), 29900000, (uint64_t)((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec) * 1001 / 1000 + 100000);
}

static __attribute__((noinline)) void three_deep(void)
{
	ev_none();
	__asm__ volatile("");
}

IN_CHILD(stacks_stay_inside_the_thread)
{
	uint16_t n;

	record(GD_MODE_DISCARD, GD_CTX_TID | GD_CTX_STACK);
	mini_channel(&mini, 0)->stack_depth = 8;
	three_deep();
	mini_walk(&mini, 0, collect, &got);
	assert_int_equal(got.n, 1);
	n = gd_load16(got.bytes[0] + 12);
	assert_in_range(n, 1, 8);
}

IN_CHILD(too_large_is_cut_and_marked)
{
	static char data[200000];
	uint64_t cut = 0;
	unsigned s;

	memset(data, 'x', sizeof(data));
	record(GD_MODE_DISCARD, GD_CTX_TID);
	ev_big(1, data, sizeof(data), 2);
	ev_big(3, data, 50000, 4);
	mini_walk(&mini, 0, collect, &got);
	assert_int_equal(got.n, 2);
	assert_true(got.word[0] & GD_EVENT_CUT);
	assert_false(got.word[1] & GD_EVENT_CUT);
	assert_int_equal(got.len[0], GD_EVENT_MAX);
	assert_int_equal(gd_load32(got.bytes[0] + got.len[0] - 4), 2);
	assert_int_equal(gd_load16(got.bytes[1] + 16), 50000);
	for (s = 0; s < GD_SLOTS; s++)
		cut += mini_channel(&mini, 0)->slot[s].cut;
	assert_int_equal(cut, 1);
}

IN_CHILD(built_events_are_whole_or_lost)
{
	static const struct gander_field sub[] = { { "k", GANDER_T_STRING, 0, 0, 0, 0, 0, 0 }, { "v", GANDER_T_I32, 0, 0, 0, 0, 0, 0 } };
	static const struct gander_field fields[] = {
		{ "n", GANDER_T_U32, 0, 0, 0, 0, 0, 0 },
		{ "pairs", GANDER_T_SEQUENCE, 0, GANDER_T_STRUCT, 2, 0, sub, 0 },
		{ "s", GANDER_T_STRING, 0, 0, 0, 0, 0, 0 },
	};
	const struct gander_event *ev;
	struct gander_builder b;
	unsigned char buf[64];

	record(GD_MODE_DISCARD, GD_CTX_TID);
	/* declared after the rules: enabled from the first event on */
	ev = gander_declare("u.built", GANDER_INFO, 0, fields, 3);
	assert_ptr_equal(ev, gander_declare("u.built", GANDER_INFO, 0, fields, 3));
	assert_true(gander_enabled(ev));
	gander_begin(&b, ev, buf, sizeof(buf));
	gander_put_u32(&b, 5);
	gander_put_count(&b, 1);
	gander_put_string(&b, "key", 3);
	gander_put_u32(&b, 6);
	gander_put_string(&b, "tail", 4);
	gander_commit(&b);
	gander_begin(&b, ev, buf, sizeof(buf)); /* a field is missing: lost, not torn */
	gander_put_u32(&b, 5);
	gander_commit(&b);
	gander_begin(&b, ev, buf, sizeof(buf)); /* the text is cut to the buffer */
	gander_put_u32(&b, 7);
	gander_put_count(&b, 0);
	gander_put_string(&b, "0123456789012345678901234567890123456789012345678901234567890123456789", 70);
	gander_commit(&b);
	mini_walk(&mini, 0, collect, &got);
	assert_int_equal(got.n, 2);
	assert_int_equal(got.len[0], 12 + 4 + 2 + 5 + 4 + 6);
	assert_true(got.word[1] & GD_EVENT_CUT);
	assert_int_equal(got.len[1], 12 + 64);
	assert_int_equal(mini_lost(&mini, 0), 1);
}

IN_CHILD(overwrite_keeps_the_newest)
{
	uint64_t first = UINT64_MAX, events;
	struct gd_packet *p;
	uint32_t i, cur = 0;
	unsigned s;

	assert_true(mini_open(&mini, getpid()));
	mini_grant(&mini, 0, 0, 6);
	mini_on(&mini, 0, GD_MODE_OVERWRITE, GD_CTX_TID, "u.words", 0);
	mini_channel(&mini, 0)->quota = 4;
	for (i = 0; i < 100000; i++)
		ev_words((int32_t)i, i);
	assert_int_equal(mini_lost(&mini, 0), 0);
	/* all chains together end with the last event and hold what fits */
	events = events_so_far();
	assert_in_range(events, 3 * 2720, 6 * 2725);
	for (s = 0; s < GD_SLOTS; s++) {
		uint32_t c = mini_channel(&mini, 0)->slot[s].cur;

		if (c) {
			p = mini_packet(&mini, c - 1);
			if (p->first + GD_HEAD_COUNT(p->head) > cur)
				cur = (uint32_t)(p->first + GD_HEAD_COUNT(p->head));
			if (p->first < first)
				first = p->first;
		}
	}
	assert_true(cur > 0);
}

static volatile int at_once;

static void *emit_at_once(void *arg)
{
	uint32_t i;

	__atomic_fetch_add(&at_once, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&at_once, __ATOMIC_SEQ_CST) < 8)
		; /* running, not asleep: so that as many slots are used as there are CPUs */
	for (i = 0; i < 1000; i++)
		ev_words(-1, i);
	return NULL;
}

/* One slot has taken all packets; the first event of another must not be lost while there is something to overwrite. */
IN_CHILD(a_slot_without_packets_takes_the_oldest_of_another)
{
	pthread_t t[8];
	uint32_t i;

	assert_true(mini_open(&mini, getpid()));
	mini_grant(&mini, 0, 0, 16);
	mini_on(&mini, 0, GD_MODE_OVERWRITE, GD_CTX_TID, "u.words", 0);
	mini_channel(&mini, 0)->quota = 16;
	for (i = 0; i < 100000; i++)
		ev_words((int32_t)i, i);
	for (i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, emit_at_once, NULL), 0);
	for (i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(mini_lost(&mini, 0), 0);
}

IN_CHILD(counters_count)
{
	uint64_t sum = 0;
	uint32_t i, id = UINT32_MAX;
	unsigned s;

	assert_true(mini_open(&mini, getpid()));
	mini_grant(&mini, 1, 20, 8);
	mini_on(&mini, 1, GD_MODE_COUNT, 0, "u.words", 0);
	for (i = 0; i < 12345; i++)
		ev_words(1, 2);
	for (i = 0; i < mini_header(&mini)->class_count; i++)
		if (mini_class(&mini, i)->enabled & GD_COUNTING(1))
			id = i;
	for (s = 0; s < GD_SLOTS; s++) {
		uint32_t c = mini_channel(&mini, 1)->slot[s].cur;

		if (c)
			sum += gd_load64((char *)mini_packet(&mini, c - 1) + GD_PACKET_HEADER + 8 * id);
	}
	assert_int_equal(sum, 12345);
}

IN_CHILD(a_full_channel_counts_its_losses)
{
	uint32_t i;

	assert_true(mini_open(&mini, getpid()));
	mini_grant(&mini, 0, 0, 2);
	mini_on(&mini, 0, GD_MODE_DISCARD, GD_CTX_TID, "u.words", 0);
	for (i = 0; i < 50000; i++)
		ev_words(1, i);
	assert_int_equal(events_so_far() + mini_lost(&mini, 0), 50000);
	assert_true(mini_lost(&mini, 0) > 40000);
}

IN_CHILD(two_recordings_are_apart)
{
	uint64_t n = 0;

	assert_true(mini_open(&mini, getpid()));
	mini_grant(&mini, 0, 0, 4);
	mini_grant(&mini, 3, 8, 4);
	mini_on(&mini, 0, GD_MODE_DISCARD, GD_CTX_TID, "u.words", 0);
	mini_on(&mini, 3, GD_MODE_DISCARD, GD_CTX_TID | GD_CTX_CPU, "*", 0);
	ev_words(1, 2);
	ev_none();
	assert_int_equal(events_so_far(), 1);
	mini_walk(&mini, 3, count_events, &n);
	assert_int_equal(n, 2);
	mini_off(&mini, 3);
	ev_words(1, 2);
	ev_none();
	assert_int_equal(events_so_far(), 2);
	n = 0;
	mini_walk(&mini, 3, count_events, &n);
	assert_int_equal(n, 2);
}

static void in_signal(int sig)
{
	ev_words(sig, 0);
}

IN_CHILD(a_forked_child_goes_on_by_itself)
{
	struct mini theirs;
	uint64_t mine;
	pid_t pid;
	int status;

	record(GD_MODE_DISCARD, GD_CTX_TID);
	signal(SIGUSR1, in_signal);
	ev_words(1, 1);
	pid = fork();
	if (!pid) {
		ev_words(2, 2);
		raise(SIGUSR1);
		memset(&got, 0, sizeof(got));
		if (!mini_open(&theirs, getpid()))
			_exit(2);
		mini_walk(&theirs, 0, collect, &got);
		/* recorded at once: the parent's channel was taken over; and nothing of the parent's is repeated */
		_exit(got.n == 2 && got.len[0] == 24 && gd_load32(got.bytes[0] + 12) == 2 && gd_load32(got.bytes[0] + 8) == (uint32_t)gettid() &&
				      mini_header(&theirs)->flags & GD_FLAG_FORKED && unlink(theirs.path) == 0
			      ? 0
			      : 3);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	mine = events_so_far();
	assert_int_equal(mine, 1);
}

/* Where no fork handler ran there is no region, whatever address the parent's had: what is declared there stays off, and its parent's
 * events do too. A child that such a child forks has a region again, and what could not be declared before is declared then. */
static int in_a_raw_child(void)
{
	static const struct gander_field fields[1] = { { "v", GANDER_T_U32, 0, 0, 0, 0, 0, 0 } };
	struct mini theirs;
	int status;
	pid_t pid;

	ev_words(1, 1);
	gander_logf(GANDER_ERROR, "%d", 1);
	if (*gander_declare("late.one", GANDER_INFO, 0, fields, 1)->enabled)
		return 4;
	pid = fork();
	if (!pid) {
		gander_logf(GANDER_ERROR, "%d", 2);
		if (!*gander_declare("late.one", GANDER_INFO, 0, fields, 1)->enabled)
			_exit(5);
		memset(&got, 0, sizeof(got));
		if (!mini_open(&theirs, getpid()))
			_exit(6);
		mini_walk(&theirs, 0, collect, &got);
		_exit(got.n == 1 && unlink(theirs.path) == 0 ? 0 : 7);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 8;
}

IN_CHILD(a_raw_clone_declares_nothing)
{
	int status;
	pid_t pid;

	record(GD_MODE_DISCARD, GD_CTX_TID);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		_exit(in_a_raw_child());
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(events_so_far(), 0);
}

IN_CHILD(log_lines_are_events)
{
	record(GD_MODE_DISCARD, GD_CTX_TID);
	gander_logf(GANDER_INFO, "%s is %d", "answer", 42);
	mini_walk(&mini, 0, collect, &got);
	assert_int_equal(got.n, 1);
	assert_int_equal(gd_load16(got.bytes[0] + 12), 12);
	assert_memory_equal(got.bytes[0] + 14, "answer is 42", 12);
}

static void *emit_small(void *arg)
{
	ev_words(5, 6);
	return NULL;
}

IN_CHILD(the_smallest_stack_is_enough)
{
	pthread_attr_t attr;
	pthread_t t;

	record(GD_MODE_DISCARD, GD_CTX_TID);
	pthread_attr_init(&attr);
	assert_int_equal(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN), 0);
	assert_int_equal(pthread_create(&t, &attr, emit_small, NULL), 0);
	pthread_join(t, NULL);
	assert_int_equal(events_so_far(), 1);
}

static void no_descriptor_is_left(void **state)
{
	char path[64], link[300];
	int fd;

	for (fd = 3; fd < 64; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = 0;
		assert_null(strstr(link, GD_NAME_PREFIX));
	}
}

static int leave(void **state)
{
	/* the parent's own region, which the next test run would only find as a dead one */
	if (mini_open(&mini, getpid()))
		mini_close(&mini, true);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_descriptor_is_left),
		cmocka_unit_test(every_type_has_its_bytes),
		cmocka_unit_test(all_context_is_there),
		cmocka_unit_test(a_span_measures_its_time),
		cmocka_unit_test(stacks_stay_inside_the_thread),
		cmocka_unit_test(too_large_is_cut_and_marked),
		cmocka_unit_test(built_events_are_whole_or_lost),
		cmocka_unit_test(overwrite_keeps_the_newest),
		cmocka_unit_test(a_slot_without_packets_takes_the_oldest_of_another),
		cmocka_unit_test(counters_count),
		cmocka_unit_test(a_full_channel_counts_its_losses),
		cmocka_unit_test(two_recordings_are_apart),
		cmocka_unit_test(a_forked_child_goes_on_by_itself),
		cmocka_unit_test(a_raw_clone_declares_nothing),
		cmocka_unit_test(log_lines_are_events),
		cmocka_unit_test(the_smallest_stack_is_enough),
	};

	return cmocka_run_group_tests_name("tracer", tests, NULL, leave);
}
