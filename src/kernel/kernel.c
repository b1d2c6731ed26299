/* One perf event a tracepoint and CPU; all events of a CPU write into one ring. A drain makes CTF events of the records, sorts what
 * an interrupt has put out of order, and writes packets: a stream a CPU.
 *
 * Order. A record's time is taken before its place in the ring: an interrupt in between leaves younger records in front of an older one.
 * So events are held back for SETTLE_NS before they are written, and sorted. What comes later still has its time raised to
 * its forerunner's, and is counted (late).
 *
 * Flight recorder. What would be written goes into memory (kernel_keep.h) instead, and from there into the trace of each snapshot.
 *
 * Losses. The kernel leaves a record of how many it dropped before the next that fits; from Linux 6.0 each event counts its own too
 * (PERF_FORMAT_LOST), which at the end gives those behind the last record. */
#include "kernel/kernel.h"
#include "base/map.h"
#include "base/opt.h"
#include "ctf/ctf_write.h"
#include "kernel/kernel_keep.h"
#include "kernel/kernel_own.h"
#include "kernel/kernel_ring.h"
#include "kernel/kernel_tracepoint.h"

#include <assert.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef PERF_FORMAT_LOST
#define PERF_FORMAT_LOST (1U << 4)
#endif

#define SETTLE_NS      2000000ull   /* an event may be so late in its ring */
#define FLUSH_NS       200000000ull /* on disk at most so long after it happened */
#define FLUSH_BYTES    65536u
#define PACKET_BYTES   262144u
#define PENDING_MAX    (64u << 20) /* bytes held back a CPU */
#define PENDING_FULL   (16u << 20) /* a large ring that has waited is written out in such parts */
#define CPUS_MAX       4096u
#define CLASS_DUMP     900u
#define CLASS_UNKNOWN  901u /* system calls whose number has no name */
#define CLASS_ENTER    1024u
#define CLASS_EXIT     4096u
#define TYPES_MAX      65536u
#define FILTER_MAX     4096u /* a page, as the kernel has it */
#define FILTERED_MAX   140u  /* that fit into it */
#define PIDS_MARGIN    8192u /* ids that may be given out between two looks */
#define LOOK_NS        100000000ull
#define BOTH_NS        1000000ull
#define PID_NS_OF_INIT "pid:[4026531836]"

static const struct {
	unsigned group;
	const char *system, *name, *as; /* NULL: the same name; LTTng's where it has another */
	bool optional;                  /* not in every kernel */
	bool family;                    /* who was born, who has died */
} known[] = {
	{ KERNEL_SCHED, "sched", "sched_switch", NULL, false, false },
	{ KERNEL_SCHED, "sched", "sched_waking", NULL, false, false },
	{ KERNEL_SCHED, "sched", "sched_wakeup", NULL, false, false },
	{ KERNEL_SCHED, "sched", "sched_wakeup_new", NULL, false, false },
	{ KERNEL_SCHED, "sched", "sched_migrate_task", NULL, false, false },
	{ KERNEL_SCHED, "sched", "sched_process_fork", NULL, false, true },
	{ KERNEL_SCHED, "sched", "sched_process_exec", NULL, false, false },
	{ KERNEL_SCHED, "sched", "sched_process_exit", NULL, false, true },
	{ KERNEL_SYSCALLS, "raw_syscalls", "sys_enter", NULL, false, false },
	{ KERNEL_SYSCALLS, "raw_syscalls", "sys_exit", NULL, false, false },
	{ KERNEL_IRQ, "irq", "irq_handler_entry", NULL, false, false },
	{ KERNEL_IRQ, "irq", "irq_handler_exit", NULL, false, false },
	{ KERNEL_IRQ, "irq", "softirq_entry", "irq_softirq_entry", false, false },
	{ KERNEL_IRQ, "irq", "softirq_exit", "irq_softirq_exit", false, false },
	{ KERNEL_BLOCK, "block", "block_rq_insert", NULL, false, false },
	{ KERNEL_BLOCK, "block", "block_rq_issue", NULL, false, false },
	{ KERNEL_BLOCK, "block", "block_rq_complete", NULL, false, false },
	{ KERNEL_BLOCK, "block", "block_rq_requeue", NULL, true, false },
};
#define KNOWN (sizeof(known) / sizeof(*known))

/* What LTTng calls a field of the sched events otherwise. */
static const struct {
	const char *from, *to;
} renamed[] = {
	{ "pid", "tid" },
	{ "prev_pid", "prev_tid" },
	{ "next_pid", "next_tid" },
	{ "parent_pid", "parent_tid" },
	{ "child_pid", "child_tid" },
	{ "old_pid", "old_tid" },
};

struct point {
	const char *name;
	unsigned group;
	struct tp_format format;
	int other_at, child_at; /* where it says who comes, is woken or moved; who is born; -1: it does not */
	bool is_exit, is_switch;
	bool hidden; /* not written */
};

struct cpu {
	unsigned number;
	struct ring ring;
	int fd[KNOWN];
	int stream; /* -1: none yet */
	struct buf bytes;
	struct keep_event *event;
	uint32_t n, cap;
	bool unsorted;
	uint64_t newest_ns;  /* of event[] */
	uint64_t written_ns; /* time of the last one that is in the trace */
	uint64_t lost, lost_in_trace;
	uint64_t lost_closed;            /* by events that are closed */
	uint32_t last_call, last_caller; /* the last record of a system call: type, thread */
	uint32_t runs;                   /* the last switch's next thread */
	bool runs_known;
};

struct kernel {
	struct kernel_opts o;
	struct point *point;
	unsigned npoints;
	uint16_t *by_type; /* tracepoint id -> index + 1 */
	struct cpu *cpu;
	unsigned ncpus;
	struct own own;
	struct buf forks; /* of the rings as they are now, by whom we do not know */
	int tracefs;
	pid_t self;
	bool counts_lost; /* PERF_FORMAT_LOST */
	bool running;
	bool narrow;                /* the filter below is on */
	uint32_t newest, nfiltered; /* lets through ids above `newest`, and these */
	uint32_t filtered[FILTERED_MAX];
	uint64_t both_until_ns, last_look_ns;
	struct ctf_writer *w;
	uint64_t *heads;
	uint64_t bytes_before, last_flush_ns;
	uint8_t class_known[(CLASS_EXIT + TP_SYSCALL_MAX) / 8];
	uint8_t call_args[TP_SYSCALL_MAX];
	struct tp_field *call_fields[TP_SYSCALL_MAX];
	struct buf sorted, desc;
	struct kernel_totals total, told; /* told: in the snapshots until now */
	struct keep keep;                 /* a flight recorder's: then there is no `w` but while a snapshot is written */
};

static const char *const group_names[] = { "sched", "syscalls", "irq", "block" };

const char *kernel_group_name(unsigned bit)
{
	return group_names[__builtin_ctz(bit | 8u)];
}

int kernel_groups_parse(const char *list, unsigned *ret, struct err *err)
{
	uint32_t groups;

	if (opt_names(list, group_names, 4, "kernel", "group", &groups, err) < 0)
		return -EINVAL;
	if (!groups)
		return err_set(err, -EINVAL, "--kernel: which groups? (sched, syscalls, irq, block)");
	*ret = groups;
	return 0;
}

static const char *const scope_names[] = { "auto", "own", "machine" };

const char *kernel_scope_name(enum kernel_scope scope)
{
	return scope_names[scope];
}

int kernel_scope_parse(const char *text, enum kernel_scope *ret, struct err *err)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		if (!strcmp(text, scope_names[i])) {
			*ret = (enum kernel_scope)i;
			return 0;
		}
	return err_set(err, -EINVAL, "--kernel-scope: '%s' is none of auto, own, machine", text);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Bytes of the struct's beginning that the kernel must know are those of the first perf; newer kernels take shorter ones. */
static int open_event(struct kernel *k, const struct point *pt, unsigned cpu)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(a),
		.config = pt->format.id,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
		.read_format = k->counts_lost ? PERF_FORMAT_LOST : 0,
		.disabled = 1,
		.watermark = 1,
		.wakeup_watermark = 1u << 30, /* nobody is woken: the collector looks by itself */
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
	};
	int fd = (int)syscall(SYS_perf_event_open, &a, -1, (int)cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0 && errno == EINVAL && k->counts_lost) {
		k->counts_lost = false;
		return open_event(k, pt, cpu);
	}
	return fd < 0 ? -errno : fd;
}

static int open_failed(int r, const struct point *pt, struct err *err)
{
	struct rlimit lim = { 0 };

	if (r == -EACCES || r == -EPERM)
		return err_set(err, r, "the kernel's view needs root or CAP_PERFMON (perf_event_open for %s was refused)", pt->name);
	if (r == -EMFILE) {
		getrlimit(RLIMIT_NOFILE, &lim);
		return err_set(err, r, "the kernel's view needs a descriptor for each of its tracepoints and CPUs, and only %llu are allowed (ulimit -n)",
			       (unsigned long long)lim.rlim_cur);
	}
	errno = -r;
	return err_set(err, r, "cannot open the kernel's tracepoint %s: %m", pt->name);
}

/* "0-3,8" of /sys/devices/system/cpu/online */
static int online_cpus(unsigned *list, unsigned cap)
{
	FILE *f = fopen("/sys/devices/system/cpu/online", "re");
	unsigned from, to, n = 0;
	int c = ',';

	if (!f)
		return -errno;
	while (c == ',' && fscanf(f, "%u", &from) == 1) {
		to = from;
		c = fgetc(f);
		if (c == '-') {
			if (fscanf(f, "%u", &to) != 1)
				break;
			c = fgetc(f);
		}
		for (; from <= to && n < cap; from++)
			list[n++] = from;
	}
	fclose(f);
	return n ? (int)n : -ENODATA;
}

static int find_points(struct kernel *k, struct err *err)
{
	struct err why = ERR_INIT;
	char text[600];
	unsigned i, f, n;
	struct point *pt;
	bool hidden;
	int r;

	k->point = calloc(KNOWN, sizeof(*k->point));
	k->by_type = calloc(TYPES_MAX, sizeof(*k->by_type));
	if (!k->point || !k->by_type)
		return err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < KNOWN; i++) {
		hidden = !(known[i].group & k->o.groups);
		/* whose a system call is cannot be told without knowing who was born */
		if (hidden && !(known[i].family && k->o.groups & KERNEL_SYSCALLS && k->o.scope != KERNEL_SCOPE_MACHINE))
			continue;
		pt = &k->point[k->npoints];
		r = tracefs_format(k->tracefs, known[i].system, known[i].name, &pt->format, &why);
		if (r == -ENOENT) {
			if (known[i].optional)
				continue;
			snprintf(text, sizeof(text), "this kernel has no tracepoint %s:%s", known[i].system, known[i].name);
			if (k->o.problem)
				k->o.problem(k->o.arg, text);
			continue;
		}
		if (r < 0)
			return err_set(err, r, "%s", why.text);
		pt->name = known[i].as ? known[i].as : known[i].name;
		pt->group = known[i].group;
		pt->hidden = hidden;
		pt->other_at = pt->child_at = -1;
		pt->is_switch = !strcmp(pt->name, "sched_switch");
		pt->is_exit = !strcmp(pt->name, "sched_process_exit");
		for (f = 0; f < pt->format.nfields; f++) {
			struct tp_field *field = &pt->format.field[f];

			if ((!strcmp(field->name, "next_pid") || !strcmp(field->name, "pid")) && field->size == 4)
				pt->other_at = (int)field->at;
			if (!strcmp(field->name, "child_pid") && field->size == 4)
				pt->child_at = (int)field->at;
			for (n = 0; n < sizeof(renamed) / sizeof(*renamed) && pt->group == KERNEL_SCHED; n++)
				if (!strcmp(field->name, renamed[n].from)) {
					snprintf(field->name, sizeof(field->name), "%s", renamed[n].to);
					break;
				}
		}
		k->by_type[pt->format.id] = (uint16_t)++k->npoints;
	}
	return k->npoints ? 0 : err_set(err, -ENOENT, "this kernel has none of the tracepoints that --kernel asks for");
}

/* The collector's writes are not what anybody wants to see, and each would cause the next. What a filter lets through is left out below, so one that the
 * kernel refuses does no harm. */
static void set_filter(struct kernel *k, int fd)
{
	char filter[FILTER_MAX];
	size_t n;
	unsigned i;

	n = (size_t)snprintf(filter, sizeof(filter), "common_pid != %d", (int)k->self);
	if (k->narrow) {
		n += (size_t)snprintf(filter + n, sizeof(filter) - n, " && (common_pid > %u", k->newest);
		for (i = 0; i < k->nfiltered; i++)
			n += (size_t)snprintf(filter + n, sizeof(filter) - n, " || common_pid == %u", k->filtered[i]);
		snprintf(filter + n, sizeof(filter) - n, ")");
	}
	ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter);
}

static int open_cpu(struct kernel *k, struct cpu *c, struct err *err)
{
	uint64_t bytes = k->o.buffer ? k->o.buffer : KERNEL_BUFFER, size = KERNEL_BUFFER_MIN;
	unsigned i;
	int r;

	while (size < bytes && size < KERNEL_BUFFER_MAX)
		size *= 2;
	for (i = 0; i < k->npoints; i++) {
		c->fd[i] = open_event(k, &k->point[i], c->number);
		if (c->fd[i] < 0)
			return open_failed(c->fd[i], &k->point[i], err);
		if (i) {
			if (ioctl(c->fd[i], PERF_EVENT_IOC_SET_OUTPUT, c->fd[0]) < 0)
				return err_set(err, -errno, "cannot set up the kernel's ring of CPU %u: %m", c->number);
			continue;
		}
		do {
			r = ring_map(&c->ring, c->fd[0], size);
			size /= 2; /* without CAP_IPC_LOCK there is a limit (kernel.perf_event_mlock_kb) */
		} while (r == -EPERM && size >= KERNEL_BUFFER_MIN / 4);
		if (r < 0) {
			errno = -r;
			return err_set(err, r, "cannot map the kernel's ring of CPU %u (%llu bytes): %m", c->number, (unsigned long long)size * 2);
		}
	}
	return 0;
}

int kernel_open(struct kernel **ret, const struct kernel_opts *o, struct err *err)
{
	struct kernel *k = calloc(1, sizeof(*k));
	unsigned *list = calloc(CPUS_MAX, sizeof(*list)), i, e;
	char ns[64];
	ssize_t len;
	int n, r = -ENOMEM;

	if (!k || !list) {
		err_set(err, r, "out of memory");
		goto out;
	}
	k->o = *o;
	k->tracefs = -1;
	k->self = getpid();
	k->counts_lost = true;
	len = readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1);
	ns[len > 0 ? len : 0] = 0;
	if (strcmp(ns, PID_NS_OF_INIT) != 0) {
		r = err_set(err, -ENOTSUP, "the kernel's view is not to be had inside a container: its thread numbers are the machine's (run gander outside)");
		goto out;
	}
	k->tracefs = tracefs_open(err);
	r = k->tracefs;
	if (r >= 0)
		r = find_points(k, err);
	if (r < 0)
		goto out;
	n = online_cpus(list, CPUS_MAX);
	if (n < 0) {
		r = err_set(err, n, "cannot tell which CPUs are online");
		goto out;
	}
	k->cpu = calloc((size_t)n, sizeof(*k->cpu));
	k->heads = calloc((size_t)n, sizeof(*k->heads));
	if (!k->cpu || !k->heads) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	for (i = 0; i < (unsigned)n; i++) {
		k->cpu[i].number = list[i];
		k->cpu[i].stream = -1;
		for (e = 0; e < KNOWN; e++)
			k->cpu[i].fd[e] = -1;
	}
	k->ncpus = k->total.cpus = (unsigned)n;
	if (o->keep_bytes && keep_init(&k->keep, o->keep_bytes, o->keep_ns, k->ncpus) < 0) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	for (i = 0; i < k->ncpus; i++) {
		r = open_cpu(k, &k->cpu[i], err);
		if (r < 0)
			goto out;
	}
	*ret = k;
	k = NULL;
	r = 0;
out:
	free(list);
	kernel_free(k);
	return r;
}

void kernel_free(struct kernel *k)
{
	unsigned i, e;

	if (!k)
		return;
	ctf_writer_free(k->w);
	for (i = 0; i < k->ncpus; i++) {
		ring_unmap(&k->cpu[i].ring);
		for (e = 0; e < KNOWN; e++)
			if (k->cpu[i].fd[e] >= 0)
				close(k->cpu[i].fd[e]);
		buf_done(&k->cpu[i].bytes);
		free(k->cpu[i].event);
	}
	free(k->cpu);
	free(k->heads);
	for (i = 0; i < TP_SYSCALL_MAX; i++)
		free(k->call_fields[i]);
	if (k->tracefs >= 0)
		close(k->tracefs);
	own_done(&k->own);
	buf_done(&k->forks);
	keep_done(&k->keep);
	buf_done(&k->sorted);
	buf_done(&k->desc);
	free(k->point);
	free(k->by_type);
	free(k);
}

/* --- other programs' system calls, left out by the kernel already ---
 *
 * A filter of a tracepoint knows threads, not processes, and threads come and go; but ids of new ones are above all that there are, until they wrap around. So the
 * filter lets through the recorded programs' threads of the beginning and all ids above the newest of then: what it leaves out is nobody's of ours. It is
 * dropped for good before ids wrap, and when a program is found later whose threads are older. A filter cannot be changed: new events take the place of the old ones,
 * both are on for a moment, and what comes twice then is told by its thread, which cannot enter or leave twice in a row. */

static bool read_numbers(const char *path, unsigned skip, uint32_t *ret)
{
	char text[256], *at = text, *end;
	unsigned long v = 0;
	FILE *f = fopen(path, "re");
	unsigned i;

	if (!f)
		return false;
	at = fgets(text, sizeof(text), f);
	fclose(f);
	for (i = 0; at && i < skip; i++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	if (!at)
		return false;
	v = strtoul(at, &end, 10);
	*ret = (uint32_t)v;
	return end != at && v > 0 && v < INT32_MAX;
}

/* The newest thread's id, where it is far from wrapping around. */
static bool newest_thread(uint32_t *ret)
{
	uint32_t most;

	return read_numbers("/proc/loadavg", 4, ret) && read_numbers("/proc/sys/kernel/pid_max", 0, &most) && *ret + PIDS_MARGIN < most;
}

static void narrow(struct kernel *k)
{
	uint64_t at = 0, id, one;

	if (k->o.scope == KERNEL_SCOPE_MACHINE || !(k->o.groups & KERNEL_SYSCALLS) || !newest_thread(&k->newest))
		return;
	/* threads that were made until now: looked for after the newest is known */
	while (map_next(&k->own.pids, &at, &id, &one))
		own_process(&k->own, (pid_t)id);
	for (at = 0, k->nfiltered = 0; map_next(&k->own.tids, &at, &id, &one);) {
		if (id > k->newest)
			continue;
		if (k->nfiltered == FILTERED_MAX)
			return;
		k->filtered[k->nfiltered++] = (uint32_t)id;
	}
	k->narrow = true;
}

static void widen(struct kernel *k)
{
	uint64_t v[2];
	unsigned i, e;
	int fd;

	if (!k->narrow)
		return;
	k->narrow = false;
	k->both_until_ns = now() + BOTH_NS;
	for (i = 0; i < k->ncpus; i++)
		for (e = 0; e < k->npoints; e++) {
			struct cpu *c = &k->cpu[i];

			if (k->point[e].group != KERNEL_SYSCALLS)
				continue;
			fd = open_event(k, &k->point[e], c->number);
			if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, c->fd[0]) < 0) {
				if (fd >= 0)
					close(fd);
				if (k->o.problem)
					k->o.problem(k->o.arg, "system calls of threads that the recording did not begin with may be missing: the tracepoint cannot be opened anew");
				continue;
			}
			set_filter(k, fd);
			ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
			ioctl(c->fd[e], PERF_EVENT_IOC_DISABLE, 0);
			if (k->counts_lost && read(c->fd[e], v, sizeof(v)) == sizeof(v))
				c->lost_closed += v[1];
			close(c->fd[e]);
			c->fd[e] = fd;
		}
	k->both_until_ns = now() + BOTH_NS;
}

/* Old and new events were on: does this say once more what the one before it has said? */
static bool is_twice(struct kernel *k, struct cpu *c, const struct ring_record *rec)
{
	bool twice = rec->time_ns < k->both_until_ns && c->last_call == rec->type && c->last_caller == rec->tid;

	c->last_call = rec->type;
	c->last_caller = rec->tid;
	return twice;
}

static bool is_narrowed_out(const struct kernel *k, uint32_t tid)
{
	unsigned i;

	for (i = 0; k->narrow && i < k->nfiltered && k->filtered[i] != tid; i++)
		;
	return k->narrow && tid <= k->newest && i == k->nfiltered;
}

void kernel_program(struct kernel *k, pid_t pid)
{
	uint64_t at = 0, tid, one;

	own_process(&k->own, pid);
	while (k->running && k->narrow && map_next(&k->own.tids, &at, &tid, &one))
		if (is_narrowed_out(k, (uint32_t)tid))
			widen(k);
}

bool kernel_next_program(const struct kernel *k, uint64_t *at, pid_t *ret)
{
	uint64_t pid, one;

	if (!map_next(&k->own.pids, at, &pid, &one))
		return false;
	*ret = (pid_t)pid;
	return true;
}

static int add_class(struct kernel *k, uint32_t id, const char *name, const struct tp_field *field, unsigned nfields, struct err *err)
{
	tp_describe(&k->desc, name, field, nfields);
	if (buf_failed(&k->desc))
		return err_set(err, -ENOMEM, "out of memory");
	return ctf_writer_class(k->w, id, k->desc.data, k->desc.len, err);
}

static void int_field(struct tp_field *f, const char *name, unsigned at, unsigned size, bool is_signed)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->at = at;
	f->size = size;
	f->is_signed = is_signed;
}

/* Threads that are there when recording begins, as LTTng's state dump has them. */
#define DUMP_FIELDS 8u
static void dump_fields(struct tp_field f[DUMP_FIELDS])
{
	static const char *const names[] = { "tid", "pid", "ppid", "type", "mode", "submode", "status" };
	unsigned i;

	for (i = 0; i < 7; i++)
		int_field(&f[i], names[i], 4 * i, 4, true);
	int_field(&f[7], "name", 28, OWN_COMM, false);
	f[7].kind = TP_CHARS;
}

/* Of a system call whose number has no name. */
static void unknown_fields(struct tp_field f[2], bool entry)
{
	int_field(&f[0], "id", 8, 8, true);
	int_field(&f[1], entry ? "args" : "ret", 16, 8, !entry);
	if (entry) {
		f[1].kind = TP_ARRAY;
		f[1].count = 6;
		f[1].hex = true;
	}
}

/* A trace to write to, with the classes that are known by now and the streams. */
static int open_trace(struct kernel *k, const char *dir, uint64_t begin_ns, uint64_t real_minus_mono, int ctf_version, struct err *err)
{
	struct ctf_writer_opts wo = { .dir = dir, .version = ctf_version, .kernel = true, .start_ns = begin_ns + real_minus_mono };
	struct tp_field dump[DUMP_FIELDS], unknown[2];
	unsigned i;
	int r;

	r = ctf_writer_open(&k->w, &wo, err);
	if (r < 0)
		return r;
	r = ctf_writer_clock(k->w, 1000000000, begin_ns, begin_ns + real_minus_mono, err);
	for (i = 0; i < k->npoints && r == 0; i++)
		if (k->point[i].group != KERNEL_SYSCALLS && !k->point[i].hidden)
			r = add_class(k, i + 1, k->point[i].name, k->point[i].format.field, k->point[i].format.nfields, err);
	if (r == 0 && k->o.groups & KERNEL_SCHED) {
		dump_fields(dump);
		r = add_class(k, CLASS_DUMP, "lttng_statedump_process_state", dump, DUMP_FIELDS, err);
	}
	if (r == 0 && k->o.groups & KERNEL_SYSCALLS) {
		unknown_fields(unknown, true);
		r = add_class(k, CLASS_UNKNOWN, "syscall_entry_unknown", unknown, 2, err);
		unknown_fields(unknown, false);
		if (r == 0)
			r = add_class(k, CLASS_UNKNOWN + 1, "syscall_exit_unknown", unknown, 2, err);
	}
	for (i = 0; i < k->ncpus && r == 0; i++) {
		struct cpu *c = &k->cpu[i];

		c->stream = ctf_stream_open(k->w, 0, c->number, begin_ns, err);
		r = c->stream < 0 ? c->stream : 0;
	}
	return r;
}

static int close_trace(struct kernel *k, uint64_t end_ns, int r, struct err *err)
{
	unsigned i;
	int res;

	for (i = 0; i < k->ncpus; i++) {
		struct cpu *c = &k->cpu[i];

		if (c->stream < 0)
			continue;
		res = ctf_stream_close(k->w, c->stream, end_ns, c->lost - c->lost_in_trace, err);
		r = res < 0 && r >= 0 ? res : r;
		c->stream = -1;
	}
	k->bytes_before += ctf_writer_bytes(k->w);
	ctf_writer_free(k->w);
	k->w = NULL;
	return r < 0 ? r : 0;
}

int kernel_begin(struct kernel *k, const char *dir, uint64_t real_minus_mono, int ctf_version, struct err *err)
{
	unsigned i;

	memset(k->class_known, 0, sizeof(k->class_known));
	for (i = 0; i < k->ncpus; i++)
		k->cpu[i].lost_in_trace = k->cpu[i].lost;
	return open_trace(k, dir, now(), real_minus_mono, ctf_version, err);
}

/* Room for one more event; its bytes are to follow. */
static bool pending_add(struct kernel *k, struct cpu *c, uint32_t class, uint64_t time_ns, uint32_t tid, uint32_t pid)
{
	uint64_t head = time_ns << (64 - KEEP_TIME_BITS) | class;
	struct keep_event *more;
	uint32_t ids[2] = { tid, pid };

	if (c->bytes.len > PENDING_MAX)
		return false;
	if (c->n == c->cap) {
		more = realloc(c->event, (c->cap * 2 + 1024) * sizeof(*more));
		if (!more)
			return false;
		c->event = more;
		c->cap = c->cap * 2 + 1024;
	}
	c->event[c->n] = (struct keep_event) { .time_ns = time_ns, .at = (uint32_t)c->bytes.len };
	buf_put(&c->bytes, &head, 8);
	buf_put(&c->bytes, ids, 8);
	return true;
}

/* The event's bytes are there. */
static void pending_done(struct kernel *k, struct cpu *c, bool whole)
{
	struct keep_event *e = &c->event[c->n];

	if (!whole || buf_failed(&c->bytes)) {
		c->bytes.failed = false;
		c->bytes.len = e->at;
		c->lost++;
		return;
	}
	e->len = (uint32_t)c->bytes.len - e->at;
	if (e->time_ns < c->newest_ns)
		c->unsorted = true;
	else
		c->newest_ns = e->time_ns;
	c->n++;
}

/* Arguments have eight bytes each there; what is an int in C is one here. */
static void call_field_type(struct tp_field *f)
{
	static const char *const ints[] = { "int", "pid_t", "clockid_t", "key_t", "timer_t", "mqd_t", "key_serial_t", "s32", "__s32" };
	static const char *const unsigned_ints[] = { "unsigned int", "unsigned", "u32", "__u32", "uid_t", "gid_t", "umode_t", "qid_t", "rwf_t" };
	static const char *const longs[] = { "long", "off_t", "loff_t", "ssize_t", "s64", "__s64", "time_t", "old_time_t" };
	unsigned i;

	f->is_signed = false;
	f->size = 8;
	for (i = 0; i < sizeof(ints) / sizeof(*ints); i++)
		if (!strcmp(f->ctype, ints[i])) {
			f->is_signed = true;
			f->size = 4;
		}
	for (i = 0; i < sizeof(unsigned_ints) / sizeof(*unsigned_ints); i++)
		if (!strcmp(f->ctype, unsigned_ints[i]))
			f->size = 4;
	for (i = 0; i < sizeof(longs) / sizeof(*longs); i++)
		if (!strcmp(f->ctype, longs[i]))
			f->is_signed = true;
}

/* What a system call's arguments are called; without CONFIG_FTRACE_SYSCALLS only how many there may be. */
static int call_args(struct kernel *k, uint32_t nr)
{
	struct tp_field *to = calloc(6, sizeof(*to));
	char name[64], arg[8];
	struct tp_format f;
	unsigned i, n = 0;

	if (!to)
		return -ENOMEM;
	snprintf(name, sizeof(name), "sys_enter_%s", syscall_name(nr));
	if (tracefs_format(k->tracefs, "syscalls", name, &f, NULL) == 0) {
		for (i = 0; i < f.nfields && n < 6; i++) {
			if (f.field[i].at < 16 || f.field[i].at > 56 || f.field[i].kind != TP_INT)
				continue;
			to[n] = f.field[i];
			call_field_type(&to[n++]);
		}
	} else {
		for (; n < 6; n++) {
			snprintf(arg, sizeof(arg), "arg%u", n);
			int_field(&to[n], arg, 16 + 8 * n, 8, false);
			to[n].hex = true;
		}
	}
	k->call_fields[nr] = to;
	k->call_args[nr] = (uint8_t)n;
	return 0;
}

static int add_call_class(struct kernel *k, uint32_t nr, bool entry, struct err *err)
{
	struct tp_field ret;
	char name[80];

	snprintf(name, sizeof(name), "syscall_%s_%s", entry ? "entry" : "exit", syscall_name(nr));
	int_field(&ret, "ret", 16, 8, true);
	return add_class(k, nr + (entry ? CLASS_ENTER : CLASS_EXIT), name, entry ? k->call_fields[nr] : &ret, entry ? k->call_args[nr] : 1, err);
}

static bool call_known(const struct kernel *k, uint32_t id)
{
	return k->class_known[id / 8] >> (id % 8) & 1;
}

static int call_class(struct kernel *k, uint32_t nr, bool entry, struct err *err)
{
	uint32_t id = nr + (entry ? CLASS_ENTER : CLASS_EXIT);
	int r = 0;

	if (call_known(k, id))
		return 0;
	if (entry && !k->call_fields[nr] && call_args(k, nr) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (k->w) /* else each snapshot's trace gets it */
		r = add_call_class(k, nr, entry, err);
	if (r == 0)
		k->class_known[id / 8] |= (uint8_t)(1u << (id % 8));
	return r;
}

static int take_call(struct kernel *k, struct cpu *c, const struct point *pt, const struct ring_record *rec, struct err *err)
{
	bool entry = pt->name[4] == 'e' && pt->name[5] == 'n', named;
	struct tp_field two[2];
	uint64_t nr = UINT64_MAX;
	int r;

	if (rec->pid == (uint32_t)k->self || (k->o.scope != KERNEL_SCOPE_MACHINE && !own_has_process(&k->own, rec->pid))) {
		k->total.others++;
		return 0;
	}
	if (is_twice(k, c, rec))
		return 0;
	if (rec->raw_len >= 16)
		memcpy(&nr, rec->raw + 8, 8);
	named = nr < TP_SYSCALL_MAX && syscall_name((uint32_t)nr);
	if (named) {
		r = call_class(k, (uint32_t)nr, entry, err);
		if (r < 0)
			return r;
		if (!pending_add(k, c, (uint32_t)nr + (entry ? CLASS_ENTER : CLASS_EXIT), rec->time_ns, rec->tid, rec->pid)) {
			c->lost++;
			return 0;
		}
		int_field(two, "ret", 16, 8, true);
		pending_done(k, c, tp_payload(&c->bytes, entry ? k->call_fields[nr] : two, entry ? k->call_args[nr] : 1, rec->raw, rec->raw_len));
		return 0;
	}
	unknown_fields(two, entry);
	if (pending_add(k, c, CLASS_UNKNOWN + !entry, rec->time_ns, rec->tid, rec->pid))
		pending_done(k, c, tp_payload(&c->bytes, two, 2, rec->raw, rec->raw_len));
	else
		c->lost++;
	return 0;
}

static uint32_t word_at(const struct ring_record *rec, int at)
{
	uint32_t v = 0;

	if (at >= 0 && (uint32_t)at + 4 <= rec->raw_len)
		memcpy(&v, rec->raw + at, 4);
	return v;
}

/* Does it concern a recorded program? Who ran is one side, who comes, is woken or moved the other. */
static bool concerns(const struct kernel *k, const struct point *pt, const struct ring_record *rec)
{
	if (own_has_process(&k->own, rec->pid) || own_has_thread(&k->own, word_at(rec, 4)))
		return true;
	/* a disk says that it is done to whoever happens to run */
	return pt->group == KERNEL_BLOCK || (pt->other_at >= 0 && own_has_thread(&k->own, word_at(rec, pt->other_at)));
}

static int take_sample(struct kernel *k, struct cpu *c, const struct ring_record *rec, struct err *err)
{
	unsigned i = k->by_type[rec->type];
	const struct point *pt;
	uint32_t tid;

	if (!i) {
		k->total.damaged++;
		return 0;
	}
	pt = &k->point[i - 1];
	if (pt->group == KERNEL_SYSCALLS)
		return take_call(k, c, pt, rec, err);
	tid = word_at(rec, 4); /* common_pid; the record's own is -1 while a thread exits */
	if (pt->is_switch) {
		k->total.gaps += c->runs_known && c->runs != tid;
		c->runs = word_at(rec, pt->other_at);
		c->runs_known = true;
	}
	if (pt->is_exit)
		own_thread_gone(&k->own, tid);
	if (pt->hidden)
		return 0;
	if (k->o.scope == KERNEL_SCOPE_OWN && !concerns(k, pt, rec)) {
		k->total.others++;
		return 0;
	}
	if (pending_add(k, c, i, rec->time_ns, tid, rec->pid))
		pending_done(k, c, tp_payload(&c->bytes, pt->format.field, pt->format.nfields, rec->raw, rec->raw_len));
	else
		c->lost++;
	return 0;
}

struct fork {
	uint32_t pid, tid, child; /* tid: who forked; child 0: it is known */
};

static bool take_fork(struct kernel *k, const struct fork *f)
{
	if (!own_has_process(&k->own, f->pid) && !own_has_thread(&k->own, f->tid))
		return false;
	own_thread(&k->own, f->child);
	if (is_narrowed_out(k, f->child))
		widen(k); /* ids have wrapped around */
	return true;
}

/* Children of the recorded programs are theirs. A fork is in its CPU's ring before its child is in any: so all rings are looked through up to
 * their heads, which are loaded after those up to which events are taken. A grandchild's may be in a ring that is looked through before its parent's. */
static void look_for_forks(struct kernel *k)
{
	struct ring_record rec;
	uint64_t at, head;
	struct fork f, *v;
	bool found;
	unsigned i, n;

	buf_clear(&k->forks);
	for (i = 0; i < k->ncpus; i++) {
		struct cpu *c = &k->cpu[i];

		head = ring_head(&c->ring);
		for (at = c->ring.tail; ring_next(&c->ring, &at, head, &rec) > 0;) {
			n = rec.kind == RING_SAMPLE ? k->by_type[rec.type] : 0;
			if (!n || k->point[n - 1].child_at < 0)
				continue;
			f = (struct fork) { rec.pid, word_at(&rec, 4), word_at(&rec, k->point[n - 1].child_at) };
			if (!take_fork(k, &f))
				buf_put(&k->forks, &f, sizeof(f));
		}
	}
	if (buf_failed(&k->forks))
		return;
	v = (struct fork *)(void *)k->forks.data;
	do
		for (n = 0, found = false; n < k->forks.len / sizeof(f); n++)
			if (v[n].child && take_fork(k, &v[n])) {
				v[n].child = 0;
				found = true;
			}
	while (found);
}

static int by_time(const void *a, const void *b)
{
	const struct keep_event *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static int put_in_order(struct kernel *k, struct cpu *c)
{
	struct buf swap;
	uint32_t i, at;

	qsort(c->event, c->n, sizeof(*c->event), by_time);
	buf_clear(&k->sorted);
	for (i = 0; i < c->n; i++) {
		at = (uint32_t)k->sorted.len;
		buf_put(&k->sorted, c->bytes.data + c->event[i].at, c->event[i].len);
		c->event[i].at = at;
	}
	if (buf_failed(&k->sorted)) {
		buf_done(&k->sorted);
		return -ENOMEM;
	}
	swap = c->bytes;
	c->bytes = k->sorted;
	k->sorted = swap;
	c->unsorted = false;
	return 0;
}

/* An event that came too late for its place gets the time of the one before it. */
static void not_before(struct kernel *k, struct cpu *c, struct keep_event *e)
{
	uint64_t head;

	if (e->time_ns >= c->written_ns)
		return;
	e->time_ns = c->written_ns;
	memcpy(&head, c->bytes.data + e->at, 8);
	head = (head & ((1ull << (64 - KEEP_TIME_BITS)) - 1)) | e->time_ns << (64 - KEEP_TIME_BITS);
	memcpy(c->bytes.data + e->at, &head, 8);
	k->total.late++;
}

/* The events e[0 .. n) as a packet: into the trace, or into memory. */
static int put_packet(struct kernel *k, struct cpu *c, const struct keep_event *e, uint32_t n, struct err *err)
{
	struct ctf_piece p = { .fd = -1, .discarded = c->lost - c->lost_in_trace };
	int r;

	p.begin = e[0].time_ns;
	p.end = e[n - 1].time_ns;
	p.data = c->bytes.data + e[0].at;
	p.len = e[n - 1].at + e[n - 1].len - e[0].at;
	if (k->o.keep_bytes) {
		struct keep_piece kp = { p.begin, p.end, c->lost, (uint32_t)(c - k->cpu), n, (uint32_t)p.len, false };

		if (keep_put(&k->keep, &kp, e, p.data) < 0)
			c->lost += n;
		return 0;
	}
	r = ctf_stream_append(k->w, c->stream, &p, err);
	if (r == 0) {
		k->total.events += n;
		k->total.bytes += p.len;
	} else {
		k->total.unwritten += n;
	}
	return r;
}

/* Events up to a time, as packets in which the upper bits of the time do not change. */
static int write_out(struct kernel *k, struct cpu *c, uint64_t until_ns, struct err *err)
{
	uint32_t i = 0, from;
	int r = 0;

	if (c->unsorted && put_in_order(k, c) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	while (r == 0 && i < c->n && c->event[i].time_ns <= until_ns) {
		for (from = i; i < c->n && c->event[i].time_ns <= until_ns; i++) {
			not_before(k, c, &c->event[i]);
			if (i > from && (c->event[i].time_ns >> KEEP_TIME_BITS != c->event[from].time_ns >> KEEP_TIME_BITS ||
					 c->event[i].at - c->event[from].at >= PACKET_BYTES))
				break;
			c->written_ns = c->event[i].time_ns;
		}
		r = put_packet(k, c, c->event + from, i - from, err);
	}
	if (!i)
		return r;
	from = i < c->n ? c->event[i].at : (uint32_t)c->bytes.len;
	memmove(c->bytes.data, c->bytes.data + from, c->bytes.len - from);
	c->bytes.len -= from;
	memmove(c->event, c->event + i, (c->n - i) * sizeof(*c->event));
	c->n -= i;
	for (i = 0; i < c->n; i++)
		c->event[i].at -= from;
	if (!c->n)
		c->newest_ns = 0;
	return r;
}

static int take(struct kernel *k, struct cpu *c, uint64_t head, struct err *err)
{
	struct ring_record rec;
	uint64_t at = c->ring.tail;
	int n, r = 0;

	while (r == 0 && (n = ring_next(&c->ring, &at, head, &rec)) != 0) {
		if (n < 0) {
			k->total.damaged++;
			at = head;
			break;
		}
		if (rec.kind == RING_LOST) {
			c->lost += rec.lost;
			c->runs_known = false;
		} else if (rec.kind == RING_SAMPLE) {
			/* a child that became a process of its own is told by its thread */
			if (own_has_thread(&k->own, rec.tid) && !own_has_process(&k->own, rec.pid) && (int32_t)rec.pid > 0) {
				bool added;

				map_put(&k->own.pids, rec.pid, &added);
			}
			r = take_sample(k, c, &rec, err);
			if (r == 0 && c->bytes.len >= PENDING_FULL && c->newest_ns > SETTLE_NS)
				r = write_out(k, c, c->newest_ns - SETTLE_NS, err);
		}
	}
	c->ring.tail = at;
	ring_release(&c->ring);
	return r;
}

int kernel_drain(struct kernel *k, uint64_t now_ns, bool all, struct err *err)
{
	uint64_t *head = k->heads, busy = 0, used;
	bool flush = all || now_ns - k->last_flush_ns >= FLUSH_NS;
	uint32_t newest;
	unsigned i;
	int r = 0;

	for (i = 0; i < k->ncpus; i++)
		head[i] = ring_head(&k->cpu[i].ring);
	if (k->o.scope != KERNEL_SCOPE_MACHINE)
		look_for_forks(k);
	for (i = 0; i < k->ncpus && r == 0; i++) {
		struct cpu *c = &k->cpu[i];

		used = (head[i] - c->ring.tail) * 4 / c->ring.size;
		busy = used > busy ? used : busy;
		r = take(k, c, head[i], err);
		if (r == 0 && (flush || c->bytes.len >= FLUSH_BYTES))
			r = write_out(k, c, all ? UINT64_MAX : now_ns - SETTLE_NS, err);
	}
	if (flush)
		k->last_flush_ns = now_ns;
	if (k->narrow && k->running && now_ns - k->last_look_ns >= LOOK_NS) {
		k->last_look_ns = now_ns;
		if (!newest_thread(&newest) || newest < k->newest)
			widen(k);
	}
	return r < 0 ? r : (int)busy;
}

static void dump_thread(void *arg, const struct own_thread *t)
{
	struct kernel *k = arg;
	struct cpu *c = &k->cpu[0];
	struct tp_field f[DUMP_FIELDS];

	dump_fields(f);
	if (pending_add(k, c, CLASS_DUMP, now(), (uint32_t)k->self, (uint32_t)k->self))
		pending_done(k, c, tp_payload(&c->bytes, f, DUMP_FIELDS, (const uint8_t *)t, sizeof(*t)));
	else
		c->lost++;
}

static void dump_threads(struct kernel *k, void (*each)(void *arg, const struct own_thread *t), void *arg)
{
	uint64_t at = 0, pid, one;

	if (k->o.scope != KERNEL_SCOPE_OWN) {
		own_list(0, each, arg);
		return;
	}
	while (map_next(&k->own.pids, &at, &pid, &one))
		own_list((pid_t)pid, each, arg);
}

void kernel_dump(struct kernel *k)
{
	if (k->o.groups & KERNEL_SCHED && !k->o.keep_bytes)
		dump_threads(k, dump_thread, k);
}

int kernel_start(struct kernel *k, struct err *err)
{
	unsigned i, e;

	narrow(k);
	k->keep.begin_ns = now();
	for (i = 0; i < k->ncpus; i++)
		for (e = 0; e < k->npoints; e++)
			if (k->point[e].group == KERNEL_SYSCALLS)
				set_filter(k, k->cpu[i].fd[e]);
	for (i = 0; i < k->ncpus; i++)
		for (e = 0; e < k->npoints; e++)
			if (ioctl(k->cpu[i].fd[e], PERF_EVENT_IOC_ENABLE, 0) < 0)
				return err_set(err, -errno, "cannot switch on the kernel's tracepoint %s: %m", k->point[e].name);
	k->running = true;
	return 0;
}

/* Those that no record has told. */
static void count_last_losses(struct kernel *k)
{
	uint64_t v[2], lost;
	unsigned i, e;

	for (i = 0; i < k->ncpus && k->counts_lost; i++) {
		for (e = 0, lost = k->cpu[i].lost_closed; e < k->npoints; e++)
			if (read(k->cpu[i].fd[e], v, sizeof(v)) == sizeof(v))
				lost += v[1];
		if (lost > k->cpu[i].lost)
			k->cpu[i].lost = lost;
	}
}

void kernel_stop(struct kernel *k)
{
	unsigned i, e;

	if (!k->running)
		return;
	for (i = 0; i < k->ncpus; i++)
		for (e = 0; e < k->npoints; e++)
			ioctl(k->cpu[i].fd[e], PERF_EVENT_IOC_DISABLE, 0);
	k->running = false;
}

int kernel_finish(struct kernel *k, struct err *err)
{
	uint64_t end = now();
	unsigned i;
	int r;

	if (!k->w)
		return 0;
	r = kernel_drain(k, end, true, err);
	if (!k->running)
		count_last_losses(k);
	for (i = 0; i < k->ncpus; i++) {
		struct cpu *c = &k->cpu[i];

		k->total.unwritten += c->n;
		c->n = 0;
		c->bytes.len = 0;
	}
	return close_trace(k, end, r, err);
}

/* ------------------------------------------------------------------ a flight recorder's snapshots */

struct snapshot {
	struct kernel *k;
	uint64_t from_ns;
	struct map ran; /* threads that ran since: their state of now says nothing about then */
	struct kernel_totals *t;
	struct buf dump;
	uint32_t ndump;
	bool failed;
};

static uint32_t tid_of(const struct keep_at *at, uint32_t i)
{
	uint32_t tid;

	memcpy(&tid, at->bytes + at->at[i] + 8, sizeof(tid));
	return tid;
}

/* Who ran in that time; and what each CPU had lost before it. */
static int look_through(struct snapshot *s)
{
	struct kernel *k = s->k;
	struct keep_at at;
	uint32_t i, last = 0;
	bool added;

	for (i = 0; i < k->ncpus; i++)
		k->cpu[i].lost_in_trace = k->keep.lost_before[i];
	for (keep_first(&k->keep, &at); keep_next(&at);) {
		if (at.piece->end_ns < s->from_ns)
			k->cpu[at.piece->cpu].lost_in_trace = at.piece->lost;
		for (i = keep_from(&at, s->from_ns); i < at.piece->n; i++) {
			if (tid_of(&at, i) != last && !map_put(&s->ran, tid_of(&at, i), &added))
				return -ENOMEM;
			last = tid_of(&at, i);
		}
	}
	return 0;
}

/* A thread that sleeps now and has not run meanwhile slept then. */
static void dump_then(void *arg, const struct own_thread *t)
{
	struct snapshot *s = arg;
	struct own_thread then = *t;
	struct tp_field f[DUMP_FIELDS];
	uint64_t head = s->from_ns << (64 - KEEP_TIME_BITS) | CLASS_DUMP;
	uint32_t ids[2] = { (uint32_t)s->k->self, (uint32_t)s->k->self };

	if (t->status != OWN_WAITS || map_find(&s->ran, (uint32_t)t->tid))
		then.status = OWN_STATUS_UNKNOWN;
	dump_fields(f);
	buf_put(&s->dump, &head, sizeof(head));
	buf_put(&s->dump, ids, sizeof(ids));
	s->failed |= !tp_payload(&s->dump, f, DUMP_FIELDS, (const uint8_t *)&then, sizeof(then));
	s->ndump++;
}

static int snapshot_packet(struct snapshot *s, struct cpu *c, const struct ctf_piece *p, uint32_t n, struct err *err)
{
	int r = ctf_stream_append(s->k->w, c->stream, p, err);

	if (r == 0) {
		s->t->events += n;
		s->t->bytes += p->len;
	}
	return r;
}

static int snapshot_dump(struct snapshot *s, struct err *err)
{
	struct ctf_piece p = { .begin = s->from_ns, .end = s->from_ns, .fd = -1 };
	int r = 0;

	dump_threads(s->k, dump_then, s);
	if (s->failed || buf_failed(&s->dump))
		r = err_set(err, -ENOMEM, "out of memory");
	p.data = s->dump.data;
	p.len = s->dump.len;
	if (r == 0 && s->ndump)
		r = snapshot_packet(s, &s->k->cpu[0], &p, s->ndump, err);
	buf_done(&s->dump);
	return r;
}

static int snapshot_pieces(struct snapshot *s, struct err *err)
{
	struct kernel *k = s->k;
	struct keep_at at;
	int r = 0;

	for (keep_first(&k->keep, &at); r == 0 && keep_next(&at);) {
		struct cpu *c = &k->cpu[at.piece->cpu];
		uint32_t from = keep_from(&at, s->from_ns), n = at.piece->n - from;
		struct ctf_piece p = { .fd = -1, .discarded = at.piece->lost - c->lost_in_trace };

		if (!n)
			continue;
		p.begin = keep_time(&at, from);
		p.end = at.piece->end_ns;
		p.data = at.bytes + at.at[from];
		p.len = at.piece->len - at.at[from];
		r = snapshot_packet(s, c, &p, n, err);
		if (r == 0)
			keep_take(&k->keep, &at);
	}
	return r;
}

/* What has happened until now is in memory when this returns. */
static int settle(struct kernel *k, struct err *err)
{
	struct timespec wait = { .tv_nsec = SETTLE_NS + SETTLE_NS / 2 };
	int r;

	if (k->running)
		nanosleep(&wait, NULL);
	k->last_flush_ns = 0;
	r = kernel_drain(k, now(), !k->running, err);
	if (!k->running)
		count_last_losses(k);
	return r < 0 ? r : 0;
}

int kernel_snapshot(struct kernel *k, const char *dir, uint64_t since_ns, uint64_t real_minus_mono, int ctf_version, struct kernel_totals *t, struct err *err)
{
	struct snapshot s = { .k = k, .t = t };
	uint64_t end;
	uint32_t nr, i;
	int r;

	*t = (struct kernel_totals) { .cpus = k->ncpus };
	r = settle(k, err);
	if (r < 0)
		return r;
	end = now();
	/* before this some CPU's packets have been dropped, and a view of some CPUs only is a wrong one */
	t->from_ns = s.from_ns = since_ns > k->keep.begin_ns ? since_ns : k->keep.begin_ns;
	if (look_through(&s) < 0) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	r = open_trace(k, dir, s.from_ns, real_minus_mono, ctf_version, err);
	for (nr = 0; nr < TP_SYSCALL_MAX && r == 0; nr++) {
		if (call_known(k, nr + CLASS_ENTER))
			r = add_call_class(k, nr, true, err);
		if (r == 0 && call_known(k, nr + CLASS_EXIT))
			r = add_call_class(k, nr, false, err);
	}
	if (r == 0 && k->o.groups & KERNEL_SCHED)
		r = snapshot_dump(&s, err);
	if (r == 0)
		r = snapshot_pieces(&s, err);
	for (i = 0; i < k->ncpus; i++)
		t->lost += k->cpu[i].lost - k->cpu[i].lost_in_trace;
	if (k->w)
		r = close_trace(k, end, r, err);
	k->total.events += t->events;
	k->total.bytes += t->bytes;
	/* what is not of a time: since the snapshot before */
	t->damaged = k->total.damaged - k->told.damaged;
	t->late = k->total.late - k->told.late;
	t->gaps = k->total.gaps - k->told.gaps;
	t->others = k->total.others - k->told.others;
	t->overwritten = keep_overwritten(&k->keep);
	k->told = k->total;
out:
	map_done(&s.ran);
	return r;
}

void kernel_totals(const struct kernel *k, struct kernel_totals *t)
{
	unsigned i;

	*t = k->total;
	t->overwritten = keep_overwritten(&k->keep);
	t->from_ns = k->keep.begin_ns;
	for (i = 0; i < k->ncpus; i++)
		t->lost += k->cpu[i].lost;
}

uint64_t kernel_bytes(const struct kernel *k)
{
	return k->bytes_before + (k->w ? ctf_writer_bytes(k->w) : 0);
}
