/* One pass over the kernel's trace: a small state machine a thread, a log of its changes, a log of who ran a CPU. Hostile traces make wrong
 * answers, never more than that: every transition is possible from every state, numbers are bounded, times never go back within a log. */
#include "timeline/kview.h"
#include "base/map.h"
#include "ctf/ctf_read.h"
#include "timeline/kview_log.h"
#include "timeline/timeline_input.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CPUS_MAX    8192u
#define THREADS_MAX (1u << 22)
#define LOSSES_MAX  1024u
#define PATHS_MAX   4096u
#define FIELDS      8u
#define NO_CPU      UINT32_MAX

/* sched_switch's prev_state, without the bits above that say how it came to be */
#define STATE_DEAD            0x30u /* EXIT_DEAD, EXIT_ZOMBIE */
#define STATE_SLEEPS          0xffu
#define STATE_UNINTERRUPTIBLE 0x02u

enum role { ROLE_UNKNOWN,
	    ROLE_NONE,
	    ROLE_SWITCH,
	    ROLE_WAKE,
	    ROLE_BORN, /* sched_wakeup_new */
	    ROLE_FORK,
	    ROLE_EXEC,
	    ROLE_MIGRATE,
	    ROLE_DUMP,
	    ROLE_ENTRY,
	    ROLE_LEAVE };

struct want {
	uint8_t scope; /* enum gander_ctf_scope */
	const char *name;
};

/* What is read of an event, by place in found[]. */
static const struct want wanted[][FIELDS] = {
	[ROLE_SWITCH] = { { GANDER_CTF_PACKET, "cpu_id" }, { GANDER_CTF_CONTEXT, "pid" }, { GANDER_CTF_FIELDS, "prev_tid" }, { GANDER_CTF_FIELDS, "prev_state" }, { GANDER_CTF_FIELDS, "next_tid" }, { GANDER_CTF_FIELDS, "prev_comm" }, { GANDER_CTF_FIELDS, "next_comm" } },
	[ROLE_WAKE] = { { GANDER_CTF_PACKET, "cpu_id" }, { GANDER_CTF_CONTEXT, "tid" }, { GANDER_CTF_FIELDS, "tid" }, { GANDER_CTF_FIELDS, "target_cpu" }, { GANDER_CTF_FIELDS, "comm" } },
	[ROLE_BORN] = { { GANDER_CTF_PACKET, "cpu_id" }, { GANDER_CTF_CONTEXT, "tid" }, { GANDER_CTF_FIELDS, "tid" }, { GANDER_CTF_FIELDS, "target_cpu" }, { GANDER_CTF_FIELDS, "comm" } },
	[ROLE_FORK] = { { GANDER_CTF_PACKET, "cpu_id" }, { GANDER_CTF_FIELDS, "child_tid" }, { GANDER_CTF_FIELDS, "child_comm" } },
	[ROLE_EXEC] = { { GANDER_CTF_CONTEXT, "pid" }, { GANDER_CTF_FIELDS, "tid" } },
	[ROLE_MIGRATE] = { { GANDER_CTF_FIELDS, "tid" }, { GANDER_CTF_FIELDS, "dest_cpu" } },
	[ROLE_DUMP] = { { GANDER_CTF_FIELDS, "tid" }, { GANDER_CTF_FIELDS, "pid" }, { GANDER_CTF_FIELDS, "status" }, { GANDER_CTF_FIELDS, "name" } },
	[ROLE_ENTRY] = { { GANDER_CTF_CONTEXT, "tid" }, { GANDER_CTF_CONTEXT, "pid" }, { GANDER_CTF_PACKET, "cpu_id" } },
	[ROLE_LEAVE] = { { GANDER_CTF_CONTEXT, "tid" }, { GANDER_CTF_CONTEXT, "pid" }, { GANDER_CTF_PACKET, "cpu_id" }, { GANDER_CTF_FIELDS, "ret" } },
};

struct kclass {
	uint8_t role;
	int32_t call;
	struct {
		const char *name; /* the reader's own, which stays */
		uint32_t at;
	} hint[FIELDS];
};

struct thread {
	struct kview_thread pub;
	struct klog states, calls;
	int64_t since_ns, dumped_ns; /* dumped: was ready or running then, which is not known yet; -1: no */
	uint8_t state;
	int32_t call; /* it is in, or -1 */
};

struct cpu {
	struct klog log;
	int32_t running; /* -1: not known */
	int64_t last_ns; /* of its last switch */
	bool seen;
};

struct loss {
	int64_t start_ns, end_ns;
};

struct kview {
	struct kstore store;
	struct thread **thread;
	uint32_t nthreads, cap;
	struct map tids; /* -> index + 1 */
	struct cpu *cpu;
	uint32_t ncpus;
	struct loss *loss;
	uint32_t nlosses;
	struct intern calls; /* names of system calls */
	bool has_calls;
	struct kclass *class;
	uint32_t nclasses;
	struct kview_info info;
	/* the event at hand */
	const struct gander_ctf_value *found[FIELDS];
};

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

static struct thread *thread_of(struct kview *kv, int32_t tid)
{
	uint64_t *at = map_find(&kv->tids, (uint32_t)tid);
	struct thread *t, **more;
	bool added;

	if (at)
		return kv->thread[*at - 1];
	if (kv->nthreads == THREADS_MAX)
		return NULL;
	if (kv->nthreads == kv->cap) {
		more = realloc(kv->thread, (kv->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return NULL;
		kv->thread = more;
		kv->cap = kv->cap * 2 + 64;
	}
	t = calloc(1, sizeof(*t));
	at = t ? map_put(&kv->tids, (uint32_t)tid, &added) : NULL;
	if (!at) {
		free(t);
		return NULL;
	}
	t->pub.tid = tid;
	t->pub.pid = -1;
	t->call = -1;
	t->dumped_ns = -1;
	kv->thread[kv->nthreads++] = t;
	*at = kv->nthreads;
	return t;
}

static struct cpu *cpu_of(struct kview *kv, int64_t number)
{
	struct cpu *more;
	uint32_t n;

	if (number < 0 || number >= CPUS_MAX)
		return NULL;
	if (number >= kv->ncpus) {
		n = (uint32_t)number + 1;
		more = realloc(kv->cpu, n * sizeof(*more));
		if (!more)
			return NULL;
		memset(more + kv->ncpus, 0, (n - kv->ncpus) * sizeof(*more));
		kv->cpu = more;
		for (; kv->ncpus < n; kv->ncpus++)
			kv->cpu[kv->ncpus].running = -1;
	}
	return &kv->cpu[number];
}

static bool number(const struct gander_ctf_value *v, int64_t *ret)
{
	if (!v || (v->type != GANDER_CTF_I64 && v->type != GANDER_CTF_U64))
		return false;
	*ret = v->i;
	return true;
}

static void take_comm(struct thread *t, const struct gander_ctf_value *v)
{
	uint32_t len;

	if (!v || v->type != GANDER_CTF_TEXT)
		return;
	len = v->len < sizeof(t->pub.comm) - 1 ? v->len : (uint32_t)sizeof(t->pub.comm) - 1;
	memcpy(t->pub.comm, v->text, len);
	t->pub.comm[len] = 0;
}

static void add_up(struct kview_thread *p, uint8_t state, int64_t ns)
{
	if (ns <= 0)
		return;
	if (state == KVIEW_RUN)
		p->on_cpu_ns += (uint64_t)ns;
	else if (state == KVIEW_READY)
		p->ready_ns += (uint64_t)ns;
	else if (state == KVIEW_BLOCKED)
		p->blocked_ns += (uint64_t)ns;
}

static int change(struct kview *kv, struct thread *t, int64_t now, uint8_t state, bool flag, uint32_t a, uint32_t b)
{
	add_up(&t->pub, t->state, now - t->since_ns);
	t->state = state;
	t->since_ns = now;
	return klog_add(&kv->store, &t->states, now, state | (flag ? 8u : 0), a, b);
}

/* A thread of which the state dump could not say whether it ran or waited: its first event does. */
static int settle_dump(struct kview *kv, struct thread *t, uint8_t state, uint32_t cpu)
{
	int64_t then = t->dumped_ns;

	t->dumped_ns = -1;
	if (then < 0 || t->state != KVIEW_UNKNOWN)
		return 0;
	return change(kv, t, then, state, false, cpu, 0);
}

/* An event of a thread on a CPU that we took to be idle: the switch to it was not reported. (Some kernels drop all events of a CPU's idle task once its
 * recursion count was left wrong, and count none of them.) It must have come between the wake-up and now; on an idle CPU soon after the wake-up. */
static int seen_running(struct kview *kv, int64_t cpu, int64_t tid)
{
	struct cpu *c = cpu_of(kv, cpu);
	struct thread *t;
	int64_t then;
	int r;

	if (!c || c->running || tid <= 0 || tid > INT32_MAX)
		return 0;
	t = thread_of(kv, (int32_t)tid);
	if (!t)
		return -ENOMEM;
	if (t->state == KVIEW_RUN || t->state == KVIEW_GONE)
		return 0;
	kv->info.missed++;
	then = t->state == KVIEW_UNKNOWN || t->since_ns < c->last_ns ? c->last_ns : t->since_ns;
	r = t->state == KVIEW_BLOCKED ? 0 : change(kv, t, then, KVIEW_RUN, false, (uint32_t)cpu, 0);
	c->last_ns = then;
	c->running = (int32_t)tid;
	return r < 0 ? r : klog_add(&kv->store, &c->log, then, 0, (uint32_t)tid, 0);
}

static int on_switch(struct kview *kv, int64_t now)
{
	int64_t cpu, pid = -1, prev, state, next;
	struct thread *t, *x;
	struct cpu *c;
	int r = 0;

	if (!number(kv->found[0], &cpu) || !number(kv->found[2], &prev) || !number(kv->found[3], &state) || !number(kv->found[4], &next))
		return 0;
	c = cpu_of(kv, cpu);
	if (!c)
		return cpu >= 0 && cpu < CPUS_MAX ? -ENOMEM : 0;
	kv->info.switches++;
	if (c->seen && c->running == 0 && prev > 0) {
		r = seen_running(kv, cpu, prev);
		if (r < 0)
			return r;
	}
	/* what we took to be running was taken off while events were lost */
	if (c->running > 0 && c->running != prev) {
		x = thread_of(kv, c->running);
		if (x && x->state == KVIEW_RUN)
			r = change(kv, x, c->last_ns > x->since_ns ? c->last_ns : x->since_ns, KVIEW_UNKNOWN, false, 0, 0);
	}
	if (prev > 0 && r == 0) {
		t = thread_of(kv, (int32_t)prev);
		if (!t)
			return -ENOMEM;
		take_comm(t, kv->found[5]);
		if (number(kv->found[1], &pid) && pid > 0 && pid <= INT32_MAX)
			t->pub.pid = (int32_t)pid;
		r = settle_dump(kv, t, KVIEW_RUN, (uint32_t)cpu);
		if (r == 0 && t->state != KVIEW_RUN && !c->seen && t->state == KVIEW_UNKNOWN)
			r = change(kv, t, kv->info.begin_ns, KVIEW_RUN, false, (uint32_t)cpu, 0); /* it ran since before the beginning */
		t->pub.switches++;
		if (r < 0)
			return r;
		if (state & STATE_DEAD) {
			r = change(kv, t, now, KVIEW_GONE, false, 0, 0);
		} else if (state & STATE_SLEEPS) {
			r = change(kv, t, now, KVIEW_BLOCKED, state & STATE_UNINTERRUPTIBLE, (uint32_t)(t->call + 1), 0);
		} else {
			t->pub.preemptions++;
			r = change(kv, t, now, KVIEW_READY, true, (uint32_t)cpu, 0);
		}
	}
	if (next > 0 && r == 0) {
		t = thread_of(kv, (int32_t)next);
		if (!t)
			return -ENOMEM;
		take_comm(t, kv->found[6]);
		r = settle_dump(kv, t, KVIEW_READY, (uint32_t)cpu);
		if (r == 0)
			r = change(kv, t, now, KVIEW_RUN, false, (uint32_t)cpu, 0);
	}
	c->seen = true;
	c->last_ns = now;
	c->running = next >= 0 && next <= INT32_MAX ? (int32_t)next : -1;
	return r < 0 ? r : klog_add(&kv->store, &c->log, now, 0, (uint32_t)next, 0);
}

static int on_wake(struct kview *kv, int64_t now, bool born)
{
	int64_t tid, waker = -1, target = -1, at;
	struct thread *t;
	uint32_t cpu;

	if (!number(kv->found[2], &tid) || tid <= 0 || tid > INT32_MAX)
		return 0;
	if (number(kv->found[1], &waker) && number(kv->found[0], &at) && seen_running(kv, at, waker) < 0)
		return -ENOMEM;
	number(kv->found[3], &target);
	cpu = target >= 0 && target < CPUS_MAX ? (uint32_t)target : NO_CPU;
	t = thread_of(kv, (int32_t)tid);
	if (!t)
		return -ENOMEM;
	take_comm(t, kv->found[4]);
	if (t->state == KVIEW_READY) /* sched_wakeup after sched_waking: now its CPU is known */
		return change(kv, t, now, KVIEW_READY, false, cpu, (uint32_t)(waker + 1));
	if (t->state == KVIEW_RUN && !born)
		return 0; /* it had not gone to sleep yet */
	if (t->state == KVIEW_UNKNOWN && t->dumped_ns >= 0)
		return 0;
	t->pub.wakeups++;
	return change(kv, t, now, KVIEW_READY, false, cpu, (uint32_t)(waker + 1));
}

static int on_migrate(struct kview *kv, int64_t now)
{
	struct thread *t = NULL;
	int64_t tid, dest;
	uint64_t *at;

	if (!number(kv->found[0], &tid) || !number(kv->found[1], &dest) || dest < 0 || dest >= CPUS_MAX)
		return 0;
	at = map_find(&kv->tids, (uint32_t)tid);
	if (at)
		t = kv->thread[*at - 1];
	if (!t || t->state != KVIEW_READY)
		return 0;
	/* still woken by the same, or still pre-empted */
	return klog_add(&kv->store, &t->states, now, t->states.tail[t->states.ntail - 1].when & 15, (uint32_t)dest,
			t->states.tail[t->states.ntail - 1].b);
}

static int on_dump(struct kview *kv, int64_t now)
{
	int64_t tid, pid, status;
	struct thread *t;

	if (!number(kv->found[0], &tid) || tid <= 0 || tid > INT32_MAX || !number(kv->found[1], &pid) || !number(kv->found[2], &status))
		return 0;
	t = thread_of(kv, (int32_t)tid);
	if (!t)
		return -ENOMEM;
	if (t->pub.pid < 0 && pid > 0 && pid <= INT32_MAX)
		t->pub.pid = (int32_t)pid;
	if (!t->pub.comm[0])
		take_comm(t, kv->found[3]);
	if (t->state != KVIEW_UNKNOWN)
		return 0;
	if (status == 5)
		return change(kv, t, now, KVIEW_BLOCKED, false, (uint32_t)(t->call + 1), 0);
	if (status == 2 || status == 6)
		t->dumped_ns = now;
	return 0;
}

static int on_call(struct kview *kv, const struct kclass *kc, int64_t now)
{
	int64_t tid, pid, cpu, ret = 0;
	struct thread *t;
	int r;

	if (!number(kv->found[0], &tid) || tid <= 0 || tid > INT32_MAX)
		return 0;
	t = thread_of(kv, (int32_t)tid);
	if (!t)
		return -ENOMEM;
	if (number(kv->found[1], &pid) && pid > 0 && pid <= INT32_MAX)
		t->pub.pid = (int32_t)pid;
	if (number(kv->found[2], &cpu) && seen_running(kv, cpu, tid) < 0)
		return -ENOMEM;
	kv->has_calls = true;
	if (kc->role == ROLE_ENTRY) {
		t->call = kc->call;
		return klog_add(&kv->store, &t->calls, now, 0, (uint32_t)kc->call, 0);
	}
	number(kv->found[3], &ret);
	if (t->call < 0 && !klog_count(&t->calls)) { /* in it since before the beginning */
		r = klog_add(&kv->store, &t->calls, kv->info.begin_ns, 2, (uint32_t)kc->call, 0);
		if (r < 0)
			return r;
	} else if (t->call != kc->call) {
		t->call = -1;
		return 0; /* its entry was lost, or it is the exit of a clone or an exec in the child */
	}
	t->call = -1;
	return klog_add(&kv->store, &t->calls, now, 1, (uint32_t)ret, (uint32_t)((uint64_t)ret >> 32));
}

static void classify(struct kview *kv, struct kclass *kc, const char *name)
{
	static const struct {
		const char *name;
		uint8_t role;
	} roles[] = {
		{ "sched_switch", ROLE_SWITCH },
		{ "sched_waking", ROLE_WAKE },
		{ "sched_wakeup", ROLE_WAKE },
		{ "sched_wakeup_new", ROLE_BORN },
		{ "sched_process_fork", ROLE_FORK },
		{ "sched_process_exec", ROLE_EXEC },
		{ "sched_migrate_task", ROLE_MIGRATE },
		{ "lttng_statedump_process_state", ROLE_DUMP },
	};
	int64_t id;
	unsigned i;

	kc->role = ROLE_NONE;
	kc->call = -1;
	for (i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (!strcmp(name, roles[i].name))
			kc->role = roles[i].role;
	if (!strncmp(name, "syscall_entry_", 14)) {
		kc->role = ROLE_ENTRY;
		name += 14;
	} else if (!strncmp(name, "syscall_exit_", 13)) {
		kc->role = ROLE_LEAVE;
		name += 13;
	} else {
		return;
	}
	id = intern_bytes(&kv->calls, name, strlen(name), NULL);
	if (id < 0 || id > INT32_MAX - 1)
		kc->role = ROLE_NONE;
	else
		kc->call = (int32_t)id;
}

static const struct gander_ctf_value *find(const struct gander_ctf_value *v, uint32_t n, const struct want *w, uint32_t *at)
{
	uint32_t i, scope = UINT32_MAX, end = 0;

	for (i = 0; i < n;) {
		if (v[i].type == GANDER_CTF_SCOPE) {
			scope = v[i].count;
			end = v[i].next;
			i++;
			continue;
		}
		if (i >= end)
			scope = UINT32_MAX;
		if (scope == w->scope && !strcmp(v[i].name, w->name)) {
			*at = i;
			return &v[i];
		}
		i = v[i].next > i ? v[i].next : i + 1;
	}
	return NULL;
}

/* The wanted fields into found[]. A class has them at the same places nearly always, so these are looked at first. */
static void find_fields(struct kview *kv, struct kclass *kc, const struct gander_ctf_value *v, uint32_t n)
{
	const struct want *w = wanted[kc->role];
	uint32_t at;
	unsigned i;

	for (i = 0; i < FIELDS && w[i].name; i++) {
		at = kc->hint[i].at;
		if (at < n && kc->hint[i].name && v[at].name == kc->hint[i].name && v[at].type != GANDER_CTF_SCOPE) {
			kv->found[i] = &v[at];
			continue;
		}
		kv->found[i] = find(v, n, &w[i], &at);
		if (kv->found[i]) {
			kc->hint[i].name = kv->found[i]->name;
			kc->hint[i].at = at;
		}
	}
	for (; i < FIELDS; i++)
		kv->found[i] = NULL;
}

static struct kclass *class_of(struct kview *kv, const struct gander_ctf_class *c)
{
	struct kclass *more;

	if (c->number >= kv->nclasses) {
		more = realloc(kv->class, (c->number + 256u) * sizeof(*more));
		if (!more)
			return NULL;
		memset(more + kv->nclasses, 0, (c->number + 256u - kv->nclasses) * sizeof(*more));
		kv->class = more;
		kv->nclasses = c->number + 256u;
	}
	if (kv->class[c->number].role == ROLE_UNKNOWN)
		classify(kv, &kv->class[c->number], c -> name);
	return &kv->class[c->number];
}

static void on_loss(struct kview *kv, int64_t start, int64_t end)
{
	struct loss *more;

	if (kv->nlosses && start <= kv->loss[kv->nlosses - 1].end_ns) {
		if (end > kv->loss[kv->nlosses - 1].end_ns)
			kv->loss[kv->nlosses - 1].end_ns = end;
		return;
	}
	more = kv->nlosses < LOSSES_MAX ? realloc(kv->loss, (kv->nlosses + 1) * sizeof(*more)) : NULL;
	if (more) {
		kv->loss = more;
		kv->loss[kv->nlosses++] = (struct loss) { start, end };
	} else if (kv->nlosses) {
		kv->loss[kv->nlosses - 1].end_ns = end; /* one long one */
	}
}

static int on_event(struct kview *kv, struct gander_ctf *r, const struct gander_ctf_event *ev, struct err *err)
{
	int64_t now = (int64_t)ev->ticks, tid;
	const struct gander_ctf_value *v;
	struct kclass *kc;
	struct thread *t;
	int n;

	kv->info.end_ns = now > kv->info.end_ns ? now : kv->info.end_ns;
	kv->info.events++;
	kc = class_of(kv, ev->class_);
	if (!kc)
		return -ENOMEM;
	if (kc->role == ROLE_NONE)
		return 0;
	n = gander_ctf_values(r, ev, &v);
	if (n < 0)
		return n;
	find_fields(kv, kc, v, (uint32_t)n);
	switch (kc->role) {
	case ROLE_SWITCH:
		return on_switch(kv, now);
	case ROLE_WAKE:
		return on_wake(kv, now, false);
	case ROLE_BORN:
		return on_wake(kv, now, true);
	case ROLE_FORK:
	case ROLE_EXEC:
		if (!number(kv->found[1], &tid) || tid <= 0 || tid > INT32_MAX)
			return 0;
		t = thread_of(kv, (int32_t)tid);
		if (!t)
			return -ENOMEM;
		if (kc->role == ROLE_FORK) {
			take_comm(t, kv->found[2]);
			t->call = -1;
		}
		return 0;
	case ROLE_MIGRATE:
		return on_migrate(kv, now);
	case ROLE_DUMP:
		return on_dump(kv, now);
	default:
		return on_call(kv, kc, now);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_path(char **list, unsigned *n, const char *path, const char *below)
{
	char whole[PATH_MAX];

	if (*n == PATHS_MAX || snprintf(whole, sizeof(whole), "%s/%s/metadata", path, below) >= (int)sizeof(whole) || access(whole, R_OK) < 0)
		return;
	whole[strlen(whole) - strlen("/metadata")] = 0;
	list[*n] = strdup(whole);
	*n += list[*n] != NULL;
}

/* Where the kernel's traces of a recording are: gander's, its chunks', LTTng's. */
static unsigned find_traces(char **list, const char *recording)
{
	struct dirent *e;
	char chunk[300];
	unsigned n = 0;
	DIR *d;

	add_path(list, &n, recording, "ctf/kernel");
	add_path(list, &n, recording, "kernel");
	if (!n)
		add_path(list, &n, recording, ".");
	d = opendir(recording);
	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, "chunk-", 6)) {
			snprintf(chunk, sizeof(chunk), "%.255s/ctf/kernel", e->d_name);
			add_path(list, &n, recording, chunk);
		}
	if (d)
		closedir(d);
	if (n)
		qsort(list, n, sizeof(*list), by_name);
	return n;
}

static int read_all(struct kview *kv, struct gander_ctf *r, struct err *err)
{
	struct gander_ctf_event ev;
	int64_t epoch = 0;
	int n;

	while ((n = gander_ctf_next(r, &ev, (struct gander_err *)err)) > 0) {
		if (ev.kind == GANDER_CTF_EVENT) {
			if (!kv->info.events)
				kv->info.begin_ns = (int64_t)ev.ticks;
			epoch = ev.time_ns - (int64_t)ev.ticks;
			n = on_event(kv, r, &ev, err);
			if (n == -ENOMEM)
				return no_memory(err);
			if (n < 0) {
				errno = -n;
				return err_set(err, n, "cannot keep what the kernel's trace says: %m");
			}
		} else {
			kv->info.lost += ev.lost;
			on_loss(kv, ev.time_ns - epoch, ev.end_ns - epoch);
		}
	}
	return n;
}

/* The scope of a recording says whether others are in it; a trace without a manifest has all. */
static bool knows_everybody(const char *recording)
{
	struct tl_input in;
	bool known = tl_input_read(&in, recording, NULL) < 0 || !in.own_scope;

	tl_input_done(&in);
	return known;
}

int kview_open(struct kview **ret, const char *recording, struct err *err)
{
	struct kview *kv = calloc(1, sizeof(*kv));
	char **paths = calloc(PATHS_MAX, sizeof(*paths));
	struct gander_ctf *r = NULL;
	unsigned n = 0, i;
	int res = -ENOMEM;

	if (!kv || !paths) {
		no_memory(err);
		goto out;
	}
	kv->store.fd = -1;
	n = find_traces(paths, recording);
	if (!n) {
		res = err_set(err, -ENOENT, "'%s' has no kernel's view (gander record --kernel sched)", recording);
		goto out;
	}
	res = kstore_init(&kv->store, err);
	if (res == 0)
		res = gander_ctf_open_all(&r, (const char *const *)paths, n, NULL, (struct gander_err *)err);
	if (res == 0)
		res = read_all(kv, r, err);
	if (res == 0)
		res = kstore_seal(&kv->store, err);
	if (res < 0)
		goto out;
	if (!kv->info.switches) {
		res = err_set(err, -ENOENT, "'%s' has no scheduler events (gander record --kernel sched)", recording);
		goto out;
	}
	for (i = 0; i < kv->nthreads; i++)
		add_up(&kv->thread[i]->pub, kv->thread[i]->state, kv->info.end_ns - kv->thread[i]->since_ns);
	kv->info.cpus = kv->ncpus;
	kv->info.threads = kv->nthreads;
	kv->info.everybody = knows_everybody(recording);
	*ret = kv;
	kv = NULL;
out:
	gander_ctf_free(r);
	for (i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
	kview_free(kv);
	return res;
}

void kview_free(struct kview *kv)
{
	uint32_t i;

	if (!kv)
		return;
	for (i = 0; i < kv->nthreads; i++) {
		klog_done(&kv->thread[i]->states);
		klog_done(&kv->thread[i]->calls);
		free(kv->thread[i]);
	}
	for (i = 0; i < kv->ncpus; i++)
		klog_done(&kv->cpu[i].log);
	kstore_done(&kv->store);
	free(kv->thread);
	free(kv->cpu);
	free(kv->loss);
	free(kv->class);
	map_done(&kv->tids);
	intern_done(&kv->calls);
	free(kv);
}

static const struct thread *known(const struct kview *kv, int32_t tid)
{
	uint64_t *at = map_find(&kv->tids, (uint32_t)tid);

	return at ? kv->thread[*at - 1] : NULL;
}

/* The segment that holds `t`; pos: how many records of the thread's are not after it. */
static void segment(const struct kview *kv, const struct thread *th, uint64_t pos, struct kview_seg *s)
{
	const struct krec *r;

	memset(s, 0, sizeof(*s));
	s->cpu = s->waker = s->call = -1;
	s->start_ns = INT64_MIN;
	s->end_ns = INT64_MAX;
	if (th && pos < klog_count(&th->states))
		s->end_ns = krec_time(klog_get(&kv->store, &th->states, pos));
	if (!th || !pos)
		return;
	r = klog_get(&kv->store, &th->states, pos - 1);
	s->start_ns = krec_time(r);
	s->state = krec_kind(r) & 7;
	switch (s->state) {
	case KVIEW_RUN:
		s->cpu = (int32_t)r->a;
		break;
	case KVIEW_READY:
		s->cpu = r->a == NO_CPU ? -1 : (int32_t)r->a;
		s->waker = (int32_t)(r->b - 1u);
		s->preempted = krec_kind(r) & 8;
		break;
	case KVIEW_BLOCKED:
		s->call = (int32_t)(r->a - 1u);
		s->uninterruptible = krec_kind(r) & 8;
		break;
	default:
		break;
	}
	/* nothing is known after the recording's end, but that who has ended has */
	if (s->end_ns == INT64_MAX && s->state != KVIEW_GONE)
		s->end_ns = kv->info.end_ns > s->start_ns ? kv->info.end_ns : s->start_ns;
}

static void unknown_after_end(const struct kview *kv, int64_t t, struct kview_seg *s)
{
	if (t < s->end_ns)
		return;
	memset(s, 0, sizeof(*s));
	s->cpu = s->waker = s->call = -1;
	s->start_ns = kv->info.end_ns;
	s->end_ns = INT64_MAX;
}

bool kview_at(const struct kview *kv, int32_t tid, int64_t t, struct kview_seg *seg)
{
	const struct thread *th = known(kv, tid);

	segment(kv, th, th ? klog_find(&kv->store, &th->states, t) : 0, seg);
	unknown_after_end(kv, t, seg);
	return th != NULL;
}

static void cut(struct kview_seg *s, int64_t t0, int64_t t1)
{
	s->start_ns = s->start_ns < t0 ? t0 : s->start_ns;
	s->end_ns = s->end_ns > t1 ? t1 : s->end_ns;
}

bool kview_next(const struct kview *kv, struct kview_iter *it, struct kview_seg *seg)
{
	const struct thread *th = it->thread;
	int64_t at = it->at_ns;

	do {
		if (it->at_ns >= it->end_ns)
			return false;
		segment(kv, th, it->pos, seg);
		unknown_after_end(kv, it->at_ns, seg);
		cut(seg, at, it->end_ns);
		it->at_ns = seg->end_ns;
		while (th && it->pos < klog_count(&th->states) && krec_time(klog_get(&kv->store, &th->states, it->pos)) <= it->at_ns)
			it->pos++;
	} while (seg->end_ns <= seg->start_ns && it->at_ns < it->end_ns);
	return seg->end_ns > seg->start_ns;
}

bool kview_first(const struct kview *kv, int32_t tid, int64_t t0, int64_t t1, struct kview_iter *it, struct kview_seg *seg)
{
	const struct thread *th = known(kv, tid);

	it->thread = th;
	it->at_ns = t0;
	it->end_ns = t1;
	it->pos = th ? klog_find(&kv->store, &th->states, t0) : 0;
	return kview_next(kv, it, seg);
}

#define TALLY 64u /* keys that are told apart while adding up */

struct tally {
	unsigned n;
	struct {
		int32_t key;
		uint64_t ns;
	} v[TALLY];
	uint64_t rest;
};

static void count(struct tally *t, int32_t key, int64_t ns)
{
	unsigned i;

	if (ns <= 0)
		return;
	for (i = 0; i < t->n && t->v[i].key != key; i++)
		;
	if (key < 0 || (i == t->n && t->n == TALLY)) {
		t->rest += (uint64_t)ns;
		return;
	}
	if (i == t->n) {
		t->v[t->n].key = key;
		t->v[t->n++].ns = 0;
	}
	t->v[i].ns += (uint64_t)ns;
}

static int by_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)((const char *)a + 8), y = *(const uint64_t *)((const char *)b + 8);

	return x < y ? 1 : x > y ? -1
				 : *(const int32_t *)a - *(const int32_t *)b;
}

/* The most first, the rest of them under one key; at most KVIEW_TOP. Returns their number. */
static unsigned tally_sort(struct tally *t)
{
	unsigned i;

	_Static_assert(sizeof(t->v[0]) == 16, "by_ns() knows the layout");
	qsort(t->v, t->n, sizeof(t->v[0]), by_ns);
	for (i = KVIEW_TOP - 1; i < t->n && (t->n > KVIEW_TOP || t->rest); i++)
		t->rest += t->v[i].ns;
	if (t->n > KVIEW_TOP || (t->rest && t->n == KVIEW_TOP))
		t->n = KVIEW_TOP - 1;
	if (t->rest) {
		t->v[t->n].key = -1;
		t->v[t->n++].ns = t->rest;
	}
	return t->n;
}

/* Who had the CPU meanwhile. */
static void count_instead(const struct kview *kv, const struct kview_seg *seg, struct tally *t)
{
	const struct krec *r = NULL;
	const struct klog *l;
	int64_t at = seg->start_ns, next;
	uint64_t pos, n;

	if (seg->cpu < 0 || (uint32_t)seg->cpu >= kv->ncpus || !kv->info.everybody) {
		count(t, -1, seg->end_ns - at);
		return;
	}
	l = &kv->cpu[seg->cpu].log;
	n = klog_count(l);
	for (pos = klog_find(&kv->store, l, at); at < seg->end_ns; pos++) {
		r = pos ? klog_get(&kv->store, l, pos - 1) : NULL;
		next = pos < n ? krec_time(klog_get(&kv->store, l, pos)) : INT64_MAX;
		if (next > seg->end_ns)
			next = seg->end_ns;
		count(t, r && r->a <= INT32_MAX ? (int32_t)r->a : -1, next - at);
		at = next > at ? next : at;
	}
}

static bool touches_loss(const struct kview *kv, int64_t t0, int64_t t1)
{
	uint32_t i;

	for (i = 0; i < kv->nlosses; i++)
		if (kv->loss[i].start_ns < t1 && kv->loss[i].end_ns > t0)
			return true;
	return false;
}

void kview_split(const struct kview *kv, int32_t tid, int64_t t0, int64_t t1, struct kview_split *s)
{
	struct tally instead = { 0 }, in = { 0 };
	const struct thread *other;
	struct kview_iter it;
	struct kview_seg seg;
	uint64_t ns;
	unsigned i;
	bool more;

	memset(s, 0, sizeof(*s));
	for (more = kview_first(kv, tid, t0, t1, &it, &seg); more; more = kview_next(kv, &it, &seg)) {
		ns = (uint64_t)(seg.end_ns - seg.start_ns);
		switch (seg.state) {
		case KVIEW_RUN:
			s->on_cpu_ns += ns;
			break;
		case KVIEW_READY:
			s->ready_ns += ns;
			s->preempted_ns += seg.preempted ? ns : 0;
			count_instead(kv, &seg, &instead);
			break;
		case KVIEW_BLOCKED:
			s->blocked_ns += ns;
			s->uninterruptible_ns += seg.uninterruptible ? ns : 0;
			count(&in, seg.call, (int64_t)ns);
			break;
		default:
			s->unknown_ns += ns;
		}
	}
	s->lost = touches_loss(kv, t0, t1);
	s->ninstead = tally_sort(&instead);
	for (i = 0; i < s->ninstead; i++) {
		s->instead[i].tid = instead.v[i].key;
		s->instead[i].ns = instead.v[i].ns;
		other = instead.v[i].key > 0 ? known(kv, instead.v[i].key) : NULL;
		s->instead[i].pid = other ? other->pub.pid : instead.v[i].key;
		if (other)
			memcpy(s->instead[i].comm, other->pub.comm, sizeof(s->instead[i].comm));
	}
	s->nblocked = tally_sort(&in);
	for (i = 0; i < s->nblocked; i++) {
		s->blocked_in[i].call = in.v[i].key;
		s->blocked_in[i].ns = in.v[i].ns;
	}
}

void kview_split_go(const struct kview *kv, enum kview_go_state state, int64_t thread, int64_t t0, int64_t t1, struct kview_go_split *s)
{
	struct kview_iter it;
	struct kview_seg seg;
	uint64_t ns;
	bool more;

	memset(s, 0, sizeof(*s));
	if (t1 <= t0)
		return;
	if (state == KVIEW_GO_WAITING || thread <= 0 || thread > INT32_MAX) {
		*(state == KVIEW_GO_WAITING ? &s->thing_ns : state == KVIEW_GO_RUNNABLE ? &s->wait_p_ns
											: &s->unknown_ns) = (uint64_t)(t1 - t0);
		return;
	}
	for (more = kview_first(kv, (int32_t)thread, t0, t1, &it, &seg); more; more = kview_next(kv, &it, &seg)) {
		ns = (uint64_t)(seg.end_ns - seg.start_ns);
		if (seg.state == KVIEW_UNKNOWN)
			s->unknown_ns += ns;
		else if (seg.state == KVIEW_READY)
			s->wait_cpu_ns += ns;
		else if (state == KVIEW_GO_RUNNABLE)
			s->wait_p_ns += ns;
		else if (seg.state == KVIEW_RUN)
			s->on_cpu_ns += ns;
		else
			s->thing_ns += ns;
	}
}

void kview_calls(const struct kview *kv, int32_t tid, int64_t t0, int64_t t1, int (*each)(void *arg, const struct kview_call *c), void *arg)
{
	const struct thread *th = known(kv, tid);
	const struct krec *r, *end;
	struct kview_call c;
	uint64_t i, n;

	if (!th)
		return;
	n = klog_count(&th->calls);
	i = klog_find(&kv->store, &th->calls, t0);
	/* back to an entry */
	while (i && krec_kind(klog_get(&kv->store, &th->calls, i - 1)) == 1)
		i--;
	i -= i > 0;
	for (; i < n; i++) {
		r = klog_get(&kv->store, &th->calls, i);
		if (krec_kind(r) == 1)
			continue;
		end = i + 1 < n ? klog_get(&kv->store, &th->calls, i + 1) : NULL;
		c.start_ns = krec_kind(r) == 2 ? INT64_MIN : krec_time(r);
		c.call = (int32_t)r->a;
		c.end_ns = INT64_MAX;
		c.ret = 0;
		if (end && krec_kind(end) == 1) {
			c.end_ns = krec_time(end);
			c.ret = (int64_t)(end->a | (uint64_t)end->b << 32);
		} else if (end) {
			c.end_ns = krec_time(end); /* its exit was lost: before the next at the latest */
		}
		if (c.start_ns >= t1)
			return;
		if (c.end_ns > t0 && each(arg, &c))
			return;
	}
}

const char *kview_call_name(const struct kview *kv, int32_t call)
{
	return call >= 0 && (uint32_t)call < kv->calls.n ? intern_text(&kv->calls, (uint32_t)call) : "";
}

bool kview_has_calls(const struct kview *kv)
{
	return kv->has_calls;
}

unsigned kview_threads(const struct kview *kv)
{
	return kv->nthreads;
}

const struct kview_thread *kview_thread(const struct kview *kv, unsigned index)
{
	return index < kv->nthreads ? &kv->thread[index]->pub : NULL;
}

int kview_find(const struct kview *kv, int32_t tid)
{
	uint64_t *at = map_find(&kv->tids, (uint32_t)tid);

	return at ? (int)(*at - 1) : -1;
}

void kview_info(const struct kview *kv, struct kview_info *ret)
{
	*ret = kv->info;
}
