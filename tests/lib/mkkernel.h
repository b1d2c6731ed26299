/* Kernel traces made by hand: what `gander record --kernel sched,syscalls` would have written. */
#ifndef TESTS_LIB_MKKERNEL_H
#define TESTS_LIB_MKKERNEL_H

#include "base/buf.h"
#include "ctf/ctf_write.h"
#include "kernel/kernel_tracepoint.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MK_CPUS 4

enum { MK_SWITCH = 1,
       MK_WAKING,
       MK_WAKEUP,
       MK_MIGRATE,
       MK_DUMP,
       MK_CALLS = 100 };

struct mkkernel {
	struct ctf_writer *w;
	int stream[MK_CPUS];
	struct buf events[MK_CPUS];
	uint64_t first[MK_CPUS], last[MK_CPUS], lost[MK_CPUS];
};

static inline struct tp_field mk_int(const char *name)
{
	struct tp_field f = { .kind = TP_INT, .size = 4, .is_signed = true };

	snprintf(f.name, sizeof(f.name), "%s", name);
	return f;
}

static inline struct tp_field mk_text(const char *name)
{
	struct tp_field f = { .kind = TP_CHARS, .size = 16 };

	snprintf(f.name, sizeof(f.name), "%s", name);
	return f;
}

static inline void mk_class(struct mkkernel *k, uint32_t id, const char *name, const struct tp_field *f, unsigned n)
{
	struct buf desc = BUF_INIT;

	tp_describe(&desc, name, f, n);
	assert(ctf_writer_class(k->w, id, desc.data, desc.len, NULL) == 0);
	buf_done(&desc);
}

static inline void mk_call_class(struct mkkernel *k, unsigned nr, const char *name)
{
	struct tp_field ret = { .name = "ret", .kind = TP_INT, .size = 8, .is_signed = true };
	char text[64];

	snprintf(text, sizeof(text), "syscall_entry_%s", name);
	mk_class(k, MK_CALLS + 2 * nr, text, NULL, 0);
	snprintf(text, sizeof(text), "syscall_exit_%s", name);
	mk_class(k, MK_CALLS + 2 * nr + 1, text, &ret, 1);
}

/* dir: of the trace. */
static inline void mk_open(struct mkkernel *k, const char *dir, uint64_t real_minus_mono)
{
	struct ctf_writer_opts wo = { .dir = dir, .version = 1, .kernel = true };
	struct tp_field sw[] = { mk_text("prev_comm"), mk_int("prev_tid"), mk_int("prev_state"), mk_text("next_comm"), mk_int("next_tid") };
	struct tp_field wake[] = { mk_text("comm"), mk_int("tid"), mk_int("target_cpu") };
	struct tp_field move[] = { mk_text("comm"), mk_int("tid"), mk_int("dest_cpu") };
	struct tp_field dump[] = { mk_int("tid"), mk_int("pid"), mk_int("status"), mk_text("name") };
	unsigned i;

	memset(k, 0, sizeof(*k));
	assert(ctf_writer_open(&k->w, &wo, NULL) == 0);
	assert(ctf_writer_clock(k->w, 1000000000, 0, real_minus_mono, NULL) == 0);
	mk_class(k, MK_SWITCH, "sched_switch", sw, 5);
	mk_class(k, MK_WAKING, "sched_waking", wake, 3);
	mk_class(k, MK_WAKEUP, "sched_wakeup", wake, 3);
	mk_class(k, MK_MIGRATE, "sched_migrate_task", move, 3);
	mk_class(k, MK_DUMP, "lttng_statedump_process_state", dump, 4);
	for (i = 0; i < MK_CPUS; i++) {
		k->stream[i] = ctf_stream_open(k->w, 0, i, 0, NULL);
		assert(k->stream[i] >= 0);
	}
}

static inline void mk_begin(struct mkkernel *k, unsigned cpu, uint64_t t, unsigned class, int32_t tid, int32_t pid)
{
	uint64_t head = t << 16 | class;
	int32_t ids[2] = { tid, pid };

	if (!k->events[cpu].len)
		k->first[cpu] = t;
	k->last[cpu] = t;
	buf_put(&k->events[cpu], &head, 8);
	buf_put(&k->events[cpu], ids, 8);
}

static inline void mk_i32(struct mkkernel *k, unsigned cpu, int32_t v)
{
	buf_put(&k->events[cpu], &v, 4);
}

static inline void mk_str(struct mkkernel *k, unsigned cpu, const char *s)
{
	uint16_t n = (uint16_t)strlen(s);

	buf_put(&k->events[cpu], &n, 2);
	buf_put(&k->events[cpu], s, n);
}

static inline const char *mk_comm(int32_t tid)
{
	static char text[4][16];
	static unsigned turn;

	turn = (turn + 1) % 4;
	snprintf(text[turn], sizeof(text[turn]), "t%d", (int)tid);
	return text[turn];
}

/* Thread ids are pid * 10 + something here. */
static inline void mk_switch(struct mkkernel *k, unsigned cpu, uint64_t t, int32_t prev, int32_t state, int32_t next)
{
	mk_begin(k, cpu, t, MK_SWITCH, prev, prev / 10);
	mk_str(k, cpu, mk_comm(prev));
	mk_i32(k, cpu, prev);
	mk_i32(k, cpu, state);
	mk_str(k, cpu, mk_comm(next));
	mk_i32(k, cpu, next);
}

/* class: MK_WAKING, MK_WAKEUP, MK_MIGRATE */
static inline void mk_wake(struct mkkernel *k, unsigned class, unsigned cpu, uint64_t t, int32_t by, int32_t tid, int32_t target)
{
	mk_begin(k, cpu, t, class, by, by / 10);
	mk_str(k, cpu, mk_comm(tid));
	mk_i32(k, cpu, tid);
	mk_i32(k, cpu, target);
}

static inline void mk_dump(struct mkkernel *k, uint64_t t, int32_t tid, int32_t status)
{
	mk_begin(k, 0, t, MK_DUMP, 9, 9);
	mk_i32(k, 0, tid);
	mk_i32(k, 0, tid / 10);
	mk_i32(k, 0, status);
	mk_str(k, 0, mk_comm(tid));
}

static inline void mk_enter(struct mkkernel *k, unsigned cpu, uint64_t t, int32_t tid, unsigned nr)
{
	mk_begin(k, cpu, t, MK_CALLS + 2 * nr, tid, tid / 10);
}

static inline void mk_leave(struct mkkernel *k, unsigned cpu, uint64_t t, int32_t tid, unsigned nr, int64_t ret)
{
	mk_begin(k, cpu, t, MK_CALLS + 2 * nr + 1, tid, tid / 10);
	buf_put(&k->events[cpu], &ret, 8);
}

/* What has come so far becomes a packet that says that so many were lost. */
static inline void mk_flush(struct mkkernel *k, unsigned cpu)
{
	struct ctf_piece p = { .begin = k->first[cpu], .end = k->last[cpu], .data = k->events[cpu].data, .len = k->events[cpu].len, .discarded = k->lost[cpu], .fd = -1 };

	assert(ctf_stream_append(k->w, k->stream[cpu], &p, NULL) == 0);
	buf_clear(&k->events[cpu]);
}

static inline void mk_close(struct mkkernel *k)
{
	unsigned i;

	for (i = 0; i < MK_CPUS; i++) {
		if (k->events[i].len)
			mk_flush(k, i);
		buf_done(&k->events[i]);
	}
	ctf_writer_free(k->w);
}

#endif
