#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../lib/mkkernel.h"
#include "timeline/kview.h"
#include "timeline/kview_log.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/gander-kview-XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static void remove_dir(void)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct kview *open_made(struct mkkernel *k)
{
	struct err err = ERR_INIT;
	struct kview *kv = NULL;

	mk_close(k);
	if (kview_open(&kv, dir, &err) < 0)
		fail_msg("%s", err.text);
	remove_dir();
	return kv;
}

/* A thread's life with its right answer: sleeps in a futex, is woken, waits for a CPU that two others have, runs, is pre-empted, reads from a disk. */
static void a_life(void **state)
{
	struct kview_split s;
	struct kview_go_split g;
	struct mkkernel k;
	struct kview_seg seg;
	struct kview_info info;
	struct kview *kv;

	make_dir();
	mk_open(&k, dir, 0);
	mk_call_class(&k, 0, "futex");
	mk_call_class(&k, 1, "pread64");
	mk_switch(&k, 0, 1000, 0, 0, 101); /* CPU 0: idle, then ours */
	mk_enter(&k, 0, 1100, 101, 0);
	mk_switch(&k, 0, 1200, 101, 1, 201);          /* blocked in futex */
	mk_wake(&k, MK_WAKING, 1, 1500, 301, 101, 0); /* 301 on CPU 1 wakes it, CPU 0 is 201's */
	mk_wake(&k, MK_WAKEUP, 1, 1510, 301, 101, 0); /* still on 0 */
	mk_switch(&k, 0, 1600, 201, 256, 202);        /* 202 gets it first */
	mk_switch(&k, 0, 1900, 202, 1, 101);          /* at last */
	mk_leave(&k, 0, 1910, 101, 0, -11);
	mk_switch(&k, 0, 2000, 101, 256, 201);         /* pre-empted */
	mk_wake(&k, MK_MIGRATE, 1, 2050, 301, 101, 2); /* moved to CPU 2 */
	mk_switch(&k, 2, 2100, 0, 0, 101);             /* which was idle */
	mk_enter(&k, 2, 2150, 101, 1);
	mk_switch(&k, 2, 2200, 101, 2, 0);          /* disk */
	mk_wake(&k, MK_WAKING, 2, 2700, 0, 101, 2); /* the interrupt */
	mk_switch(&k, 2, 2710, 0, 0, 101);
	mk_leave(&k, 2, 2720, 101, 1, 4096);
	mk_switch(&k, 2, 3000, 101, 32, 0); /* ends */
	mk_switch(&k, 2, 3500, 0, 0, 401);
	kv = open_made(&k);

	kview_split(kv, 101, 1000, 3000, &s);
	assert_int_equal(s.on_cpu_ns, 200 + 100 + 100 + 290);
	assert_int_equal(s.blocked_ns, 300 + 500);
	assert_int_equal(s.ready_ns, 400 + 100 + 10);
	assert_int_equal(s.preempted_ns, 100);
	assert_int_equal(s.uninterruptible_ns, 500);
	assert_int_equal(s.unknown_ns, 0);
	assert_false(s.lost);
	/* 202: 300; 201: 100 and 50; idle: CPU 2 from 2050, and 10 after the interrupt. What CPU 2 did before its first event nobody knows. */
	assert_int_equal(s.ninstead, 4);
	assert_int_equal(s.instead[0].tid, 202);
	assert_int_equal(s.instead[0].pid, 20);
	assert_string_equal(s.instead[0].comm, "t202");
	assert_int_equal(s.instead[0].ns, 300);
	assert_int_equal(s.instead[1].tid, 201);
	assert_int_equal(s.instead[1].ns, 150);
	assert_int_equal(s.instead[2].tid, 0);
	assert_int_equal(s.instead[2].ns, 10);
	assert_int_equal(s.instead[3].tid, -1);
	assert_int_equal(s.instead[3].ns, 50);
	assert_int_equal(s.nblocked, 2);
	assert_string_equal(kview_call_name(kv, s.blocked_in[0].call), "pread64");
	assert_int_equal(s.blocked_in[0].ns, 500);
	assert_string_equal(kview_call_name(kv, s.blocked_in[1].call), "futex");
	assert_int_equal(s.blocked_in[1].ns, 300);

	assert_true(kview_at(kv, 101, 1550, &seg));
	assert_int_equal(seg.state, KVIEW_READY);
	assert_int_equal(seg.waker, 301);
	assert_int_equal(seg.cpu, 0);
	assert_int_equal(seg.end_ns, 1900);
	kview_at(kv, 101, 3100, &seg);
	assert_int_equal(seg.state, KVIEW_GONE);
	kview_at(kv, 101, 500, &seg);
	assert_int_equal(seg.state, KVIEW_UNKNOWN);
	assert_int_equal(seg.end_ns, 1000);
	assert_false(kview_at(kv, 999, 1550, &seg));
	kview_split(kv, 999, 0, 100, &s);
	assert_int_equal(s.unknown_ns, 100);
	kview_split(kv, 101, 3400, 9000, &s); /* gone, and after the end */
	assert_int_equal(s.unknown_ns, 5600);
	kview_split(kv, 101, 2000, 2000, &s);
	assert_int_equal(s.unknown_ns + s.on_cpu_ns, 0);

	/* a goroutine that became runnable at 1400, run by this thread from 1900 on */
	kview_split_go(kv, KVIEW_GO_RUNNABLE, 101, 1400, 1900, &g);
	assert_int_equal(g.wait_p_ns, 100);
	assert_int_equal(g.wait_cpu_ns, 400);
	kview_split_go(kv, KVIEW_GO_RUNNING, 101, 1900, 2150, &g);
	assert_int_equal(g.on_cpu_ns, 150);
	assert_int_equal(g.wait_cpu_ns, 100);
	kview_split_go(kv, KVIEW_GO_SYSCALL, 101, 2150, 2720, &g);
	assert_int_equal(g.on_cpu_ns, 60);
	assert_int_equal(g.wait_cpu_ns, 10);
	assert_int_equal(g.thing_ns, 500);
	kview_split_go(kv, KVIEW_GO_WAITING, -1, 100, 200, &g);
	assert_int_equal(g.thing_ns, 100);

	kview_info(kv, &info);
	assert_int_equal(info.begin_ns, 1000);
	assert_int_equal(info.end_ns, 3500);
	assert_int_equal(info.cpus, 3);
	assert_true(info.everybody);
	assert_int_equal(kview_thread(kv, (unsigned)kview_find(kv, 101))->preemptions, 1);
	assert_int_equal(kview_thread(kv, (unsigned)kview_find(kv, 101))->wakeups, 2);
	assert_int_equal(kview_thread(kv, (unsigned)kview_find(kv, 101))->on_cpu_ns, 690);
	kview_free(kv);
}

struct calls {
	unsigned n;
	struct kview_call c[8];
};

static int add_call(void *arg, const struct kview_call *c)
{
	struct calls *all = arg;

	if (all->n < 8)
		all->c[all->n++] = *c;
	return 0;
}

static void calls(void **state)
{
	struct calls all = { 0 };
	struct mkkernel k;
	struct kview *kv;

	make_dir();
	mk_open(&k, dir, 0);
	mk_call_class(&k, 0, "read");
	mk_call_class(&k, 1, "write");
	mk_switch(&k, 0, 50, 0, 0, 101);
	mk_leave(&k, 0, 100, 101, 0, 7); /* in it since before */
	mk_enter(&k, 0, 200, 101, 1);
	mk_leave(&k, 0, 300, 101, 1, -4);
	mk_enter(&k, 0, 400, 101, 0); /* its exit is lost */
	mk_enter(&k, 0, 500, 101, 1);
	kv = open_made(&k);
	assert_true(kview_has_calls(kv));
	kview_calls(kv, 101, 0, 1000, add_call, &all);
	assert_int_equal(all.n, 4);
	assert_true(all.c[0].start_ns == INT64_MIN);
	assert_int_equal(all.c[0].end_ns, 100);
	assert_int_equal(all.c[0].ret, 7);
	assert_int_equal(all.c[1].start_ns, 200);
	assert_int_equal(all.c[1].ret, -4);
	assert_string_equal(kview_call_name(kv, all.c[1].call), "write");
	assert_int_equal(all.c[2].end_ns, 500);
	assert_true(all.c[3].end_ns == INT64_MAX);
	all.n = 0;
	kview_calls(kv, 101, 250, 260, add_call, &all);
	assert_int_equal(all.n, 1);
	assert_int_equal(all.c[0].start_ns, 200);
	all.n = 0;
	kview_calls(kv, 101, 300, 390, add_call, &all);
	assert_int_equal(all.n, 0);
	kview_free(kv);
}

/* What the state dump says of a thread that has done nothing yet, and how its first event settles what it could not say. */
static void dumped(void **state)
{
	struct kview_split s;
	struct mkkernel k;
	struct kview *kv;

	make_dir();
	mk_open(&k, dir, 0);
	mk_dump(&k, 100, 101, 5); /* sleeps all the time */
	mk_dump(&k, 110, 102, 2); /* ran */
	mk_dump(&k, 120, 103, 2); /* was ready */
	mk_switch(&k, 0, 500, 102, 1, 103);
	mk_switch(&k, 1, 600, 104, 1, 0); /* no dump of this one: it ran since the beginning */
	kv = open_made(&k);
	kview_split(kv, 101, 0, 600, &s);
	assert_int_equal(s.blocked_ns, 500);
	assert_int_equal(s.unknown_ns, 100);
	assert_int_equal(s.nblocked, 1);
	assert_int_equal(s.blocked_in[0].call, -1);
	kview_split(kv, 102, 0, 600, &s);
	assert_int_equal(s.on_cpu_ns, 390);
	assert_int_equal(s.blocked_ns, 100);
	kview_split(kv, 103, 0, 600, &s);
	assert_int_equal(s.ready_ns, 380);
	assert_int_equal(s.on_cpu_ns, 100);
	kview_split(kv, 104, 0, 600, &s);
	assert_int_equal(s.on_cpu_ns, 500);
	kview_free(kv);
}

/* A switch was lost: nobody may be said to have run all the time. */
static void lost(void **state)
{
	struct kview_split s;
	struct mkkernel k;
	struct kview *kv;

	make_dir();
	mk_open(&k, dir, 0);
	mk_switch(&k, 0, 100, 0, 0, 101);
	mk_flush(&k, 0);
	k.lost[0] = 3;
	mk_switch(&k, 0, 500, 102, 1, 103);
	mk_switch(&k, 0, 600, 103, 1, 0);
	kv = open_made(&k);
	kview_split(kv, 101, 100, 600, &s);
	assert_int_equal(s.unknown_ns, 500);
	assert_true(s.lost);
	kview_split(kv, 103, 500, 600, &s);
	assert_int_equal(s.on_cpu_ns, 100);
	kview_free(kv);
}

/* The switch from idle is not reported: the thread ran since it was woken, or since the CPU became idle. */
static void from_idle(void **state)
{
	struct kview_split s;
	struct kview_info info;
	struct mkkernel k;
	struct kview *kv;

	make_dir();
	mk_open(&k, dir, 0);
	mk_call_class(&k, 0, "futex");
	mk_switch(&k, 0, 100, 101, 1, 0);
	mk_wake(&k, MK_WAKING, 1, 200, 301, 101, 0);
	mk_switch(&k, 0, 260, 101, 1, 0); /* nobody said that it came */
	mk_wake(&k, MK_WAKING, 1, 300, 301, 101, 0);
	mk_leave(&k, 0, 320, 101, 0, 0); /* it is there */
	mk_switch(&k, 0, 400, 101, 1, 0);
	kv = open_made(&k);
	kview_split(kv, 101, 100, 400, &s);
	assert_int_equal(s.on_cpu_ns, 60 + 100);
	assert_int_equal(s.blocked_ns, 100 + 40);
	kview_info(kv, &info);
	assert_int_equal(info.missed, 2);
	kview_free(kv);
}

/* Against a table of every nanosecond: many threads, every kind of event, any time. */
#define TIMES   6000
#define THREADS 6

static void against_a_table(void **state)
{
	static uint8_t table[THREADS + 1][TIMES];
	uint8_t now[THREADS + 1] = { 0 };
	int32_t on[MK_CPUS] = { 0 };
	struct kview_split s;
	struct kview_iter it;
	struct kview_seg seg;
	struct mkkernel k;
	struct kview *kv;
	unsigned seed, t, i, cpu, a, b;
	uint64_t want[KVIEW_STATES], ns, sum;
	bool more;

	for (seed = 1; seed <= 20; seed++) {
		srand(seed);
		memset(now, 0, sizeof(now));
		memset(on, 0, sizeof(on));
		make_dir();
		mk_open(&k, dir, 0);
		for (t = 0; t < TIMES; t++) {
			cpu = (unsigned)rand() % MK_CPUS;
			i = (unsigned)rand() % THREADS + 1;
			if (rand() % 3 == 0) {
				int32_t prev = on[cpu], next = now[i] == KVIEW_READY ? (int32_t)i : 0;
				int st = (int[]) { 1, 2, 256 }[rand() % 3];

				if (prev != next) {
					mk_switch(&k, cpu, t + 10, prev ? 100 + prev : 0, st, next ? 100 + next : 0);
					if (prev)
						now[prev] = st == 256 ? KVIEW_READY : KVIEW_BLOCKED;
					if (next)
						now[next] = KVIEW_RUN;
					on[cpu] = next;
				}
			} else if (now[i] == KVIEW_BLOCKED || now[i] == KVIEW_UNKNOWN) {
				if (rand() % 2) {
					mk_wake(&k, rand() % 2 ? MK_WAKING : MK_WAKEUP, cpu, t + 10, 0, (int32_t)(100 + i), rand() % MK_CPUS);
					now[i] = KVIEW_READY;
				}
			}
			for (i = 1; i <= THREADS; i++)
				table[i][t] = now[i];
		}
		mk_switch(&k, 0, TIMES + 10, on[0] ? 100 + on[0] : 0, 1, 199);
		kv = open_made(&k);
		for (i = 1; i <= THREADS; i++) {
			for (b = 0; b < 60; b++) {
				unsigned from = (unsigned)rand() % TIMES, to = from + (unsigned)rand() % (TIMES - from);

				memset(want, 0, sizeof(want));
				for (t = from; t < to; t++)
					want[table[i][t]]++;
				kview_split(kv, (int32_t)(100 + i), from + 10, to + 10, &s);
				assert_int_equal(s.on_cpu_ns, want[KVIEW_RUN]);
				assert_int_equal(s.ready_ns, want[KVIEW_READY]);
				assert_int_equal(s.blocked_ns, want[KVIEW_BLOCKED]);
				assert_int_equal(s.unknown_ns, want[KVIEW_UNKNOWN]);
				for (a = 0, ns = 0; a < s.ninstead; a++)
					ns += s.instead[a].ns;
				assert_int_equal(ns, s.ready_ns);
				for (a = 0, ns = 0; a < s.nblocked; a++)
					ns += s.blocked_in[a].ns;
				assert_int_equal(ns, s.blocked_ns);
				sum = 0;
				for (more = kview_first(kv, (int32_t)(100 + i), from + 10, to + 10, &it, &seg); more; more = kview_next(kv, &it, &seg)) {
					assert_int_equal(seg.start_ns, from + 10 + sum);
					sum += (uint64_t)(seg.end_ns - seg.start_ns);
				}
				assert_int_equal(sum, to - from);
			}
		}
		kview_free(kv);
	}
}

static void logs(void **state)
{
	struct kstore s;
	struct klog l[3] = { 0 };
	unsigned i, n = 200000;

	assert_int_equal(kstore_init(&s, NULL), 0);
	for (i = 0; i < n; i++)
		assert_int_equal(klog_add(&s, &l[i % 3], i, i % 8, i, ~i), 0);
	assert_int_equal(klog_add(&s, &l[0], 5, 1, 0, 0), 0); /* back in time: not before its forerunner */
	assert_int_equal(kstore_seal(&s, NULL), 0);
	for (i = 0; i < n; i += 7) {
		const struct klog *one = &l[i % 3];
		uint64_t pos = klog_find(&s, one, i);

		assert_int_equal(pos, i / 3 + 1);
		assert_int_equal(krec_time(klog_get(&s, one, pos - 1)), i);
		assert_int_equal(krec_kind(klog_get(&s, one, pos - 1)), i % 8);
		assert_int_equal(klog_get(&s, one, pos - 1)->b, ~i);
	}
	assert_int_equal(klog_find(&s, &l[1], 0), 0);
	assert_int_equal(klog_find(&s, &l[1], INT64_MAX >> 5), klog_count(&l[1]));
	assert_int_equal(krec_time(klog_get(&s, &l[0], klog_count(&l[0]) - 1)), krec_time(klog_get(&s, &l[0], klog_count(&l[0]) - 2)));
	for (i = 0; i < 3; i++)
		klog_done(&l[i]);
	kstore_done(&s);
}

static void refused(void **state)
{
	struct kview *kv = NULL;
	struct err err = ERR_INIT;

	make_dir();
	assert_int_equal(kview_open(&kv, dir, &err), -ENOENT);
	assert_non_null(strstr(err.text, "--kernel sched"));
	remove_dir();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_life),
		cmocka_unit_test(calls),
		cmocka_unit_test(dumped),
		cmocka_unit_test(lost),
		cmocka_unit_test(from_idle),
		cmocka_unit_test(against_a_table),
		cmocka_unit_test(logs),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
