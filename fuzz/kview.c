/* A kernel trace that claims anything: each 8 bytes are an event (which, CPU, thread, other thread, state, time since the last). What is asked of the answers: parts add
 * up to the time asked for, whatever was in the trace. */
#include "../tests/lib/mkkernel.h"
#include "timeline/kview.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];

static void clean(void)
{
	char path[400];
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) < (int)sizeof(path))
			unlink(path);
	if (d)
		closedir(d);
	rmdir(dir);
}

static void one(struct mkkernel *k, const uint8_t *p, uint64_t *now)
{
	static const int32_t tids[16] = { 0, 1, -1, 101, 102, 103, 104, 201, 202, INT32_MAX, INT32_MIN, 301, 302, 303, 7, 4194304 };
	unsigned cpu = p[0] >> 4 & (MK_CPUS - 1);
	int32_t tid = tids[p[1] & 15], other = tids[p[1] >> 4];
	int16_t number;

	memcpy(&number, p + 2, 2);
	*now += (uint64_t)p[4] | (uint64_t)p[5] << (p[6] & 31);
	switch (p[0] & 7) {
	case 0:
	case 1:
		mk_switch(k, cpu, *now, tid, number, other);
		break;
	case 2:
		mk_wake(k, MK_WAKING, cpu, *now, tid, other, number);
		break;
	case 3:
		mk_wake(k, MK_WAKEUP, cpu, *now, tid, other, number);
		break;
	case 4:
		mk_wake(k, MK_MIGRATE, cpu, *now, tid, other, number);
		break;
	case 5:
		mk_dump(k, *now, tid, number & 7);
		break;
	case 6:
		mk_enter(k, cpu, *now, tid, p[2] & 1);
		break;
	default:
		mk_leave(k, cpu, *now, tid, p[2] & 1, number);
	}
	if (p[7] == 255 && k->events[cpu].len) {
		mk_flush(k, cpu);
		k->lost[cpu] += p[2];
	}
}

static int ask_calls(void *arg, const struct kview_call *c)
{
	if (c->end_ns < c->start_ns)
		abort();
	return 0;
}

static void ask(const struct kview *kv, int32_t tid, int64_t t0, int64_t t1)
{
	uint64_t sum = 0, length = (uint64_t)(t1 - t0);
	struct kview_go_split g;
	struct kview_split s;
	struct kview_iter it;
	struct kview_seg seg;
	unsigned i;
	bool more;

	kview_split(kv, tid, t0, t1, &s);
	if (s.on_cpu_ns + s.ready_ns + s.blocked_ns + s.unknown_ns != length || s.ninstead > KVIEW_TOP || s.nblocked > KVIEW_TOP)
		abort();
	for (i = 0; i < s.ninstead; i++)
		sum += s.instead[i].ns;
	if (sum != s.ready_ns)
		abort();
	for (i = 0, sum = 0; i < s.nblocked; i++)
		sum += s.blocked_in[i].ns;
	if (sum != s.blocked_ns)
		abort();
	for (i = 0; i < 4; i++) {
		kview_split_go(kv, (enum kview_go_state)i, tid, t0, t1, &g);
		if (g.on_cpu_ns + g.wait_p_ns + g.wait_cpu_ns + g.thing_ns + g.unknown_ns != length)
			abort();
	}
	for (more = kview_first(kv, tid, t0, t1, &it, &seg), sum = 0; more; more = kview_next(kv, &it, &seg))
		sum += (uint64_t)(seg.end_ns - seg.start_ns);
	if (sum != length)
		abort();
	kview_calls(kv, tid, t0, t1, ask_calls, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kview *kv = NULL;
	struct kview_info info;
	struct mkkernel k;
	uint64_t now = 10;
	size_t i;
	unsigned t;

	if (size < 8 || size > 8 * 4096)
		return 0;
	if (!dir[0]) {
		snprintf(dir, sizeof(dir), "/dev/shm/gander-fuzz-kview.%d", (int)getpid());
		atexit(clean);
	}
	clean();
	mk_open(&k, dir, 0);
	mk_call_class(&k, 0, "read");
	mk_call_class(&k, 1, "futex");
	for (i = 0; i + 8 <= size; i += 8)
		one(&k, data + i, &now);
	mk_close(&k);
	if (kview_open(&kv, dir, NULL) < 0)
		return 0;
	kview_info(kv, &info);
	for (t = 0; t < kview_threads(kv) && t < 20; t++) {
		int32_t tid = kview_thread(kv, t)->tid;

		ask(kv, tid, info.begin_ns, info.end_ns);
		ask(kv, tid, info.begin_ns - 5, info.end_ns + 5);
		ask(kv, tid, (info.begin_ns + info.end_ns) / 2, info.end_ns);
		ask(kv, tid, info.end_ns, info.end_ns);
	}
	kview_free(kv);
	return 0;
}
