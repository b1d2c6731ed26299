/* v1 traces: the index of the first pass, and the cursors of the second. See gotrace_v1.h. */
#include "gotrace/gotrace_v1.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_WINDOW (1u << 20)

const uint8_t v1_args[V1_TYPES] = {
	[V1_GOMAXPROCS] = 3,
	[V1_PROC_START] = 2,
	[V1_PROC_STOP] = 1,
	[V1_GC_START] = 3,
	[V1_GC_DONE] = 1,
	[V1_STW_START] = 2,
	[V1_STW_DONE] = 1,
	[V1_SWEEP_START] = 2,
	[V1_SWEEP_DONE] = 3,
	[V1_GO_CREATE] = 4,
	[V1_GO_START] = 3,
	[V1_GO_END] = 1,
	[V1_GO_STOP] = 2,
	[V1_GO_SCHED] = 2,
	[V1_GO_PREEMPT] = 2,
	[V1_GO_SLEEP] = 2,
	[V1_GO_BLOCK] = 2,
	[V1_GO_UNBLOCK] = 4,
	[V1_BLOCK_SEND] = 2,
	[V1_BLOCK_RECV] = 2,
	[V1_BLOCK_SELECT] = 2,
	[V1_BLOCK_SYNC] = 2,
	[V1_BLOCK_COND] = 2,
	[V1_BLOCK_NET] = 2,
	[V1_SYSCALL] = 2,
	[V1_SYSEXIT] = 4,
	[V1_SYSBLOCK] = 1,
	[V1_WAITING] = 2,
	[V1_IN_SYSCALL] = 2,
	[V1_HEAP_ALLOC] = 2,
	[V1_HEAP_GOAL] = 2,
	[V1_FUTILE_WAKEUP] = 1,
	[V1_START_LOCAL] = 2,
	[V1_UNBLOCK_LOCAL] = 3,
	[V1_SYSEXIT_LOCAL] = 3,
	[V1_START_LABEL] = 4,
	[V1_BLOCK_GC] = 2,
	[V1_ASSIST_START] = 2,
	[V1_ASSIST_DONE] = 1,
	[V1_TASK_CREATE] = 5,
	[V1_TASK_END] = 3,
	[V1_REGION] = 5,
	[V1_LOG] = 4,
	[V1_CPU_SAMPLE] = 5,
};

const bool v1_stacked[V1_TYPES] = {
	[V1_GOMAXPROCS] = true,
	[V1_GC_START] = true,
	[V1_SWEEP_START] = true,
	[V1_GO_CREATE] = true,
	[V1_GO_STOP] = true,
	[V1_GO_SCHED] = true,
	[V1_GO_PREEMPT] = true,
	[V1_GO_SLEEP] = true,
	[V1_GO_BLOCK] = true,
	[V1_GO_UNBLOCK] = true,
	[V1_BLOCK_SEND] = true,
	[V1_BLOCK_RECV] = true,
	[V1_BLOCK_SELECT] = true,
	[V1_BLOCK_SYNC] = true,
	[V1_BLOCK_COND] = true,
	[V1_BLOCK_NET] = true,
	[V1_SYSCALL] = true,
	[V1_UNBLOCK_LOCAL] = true,
	[V1_BLOCK_GC] = true,
	[V1_ASSIST_START] = true,
	[V1_TASK_CREATE] = true,
	[V1_TASK_END] = true,
	[V1_REGION] = true,
	[V1_LOG] = true,
	[V1_CPU_SAMPLE] = true,
};

static const char *const names[V1_TYPES] = {
	"none",
	"Batch",
	"Frequency",
	"Stack",
	"Gomaxprocs",
	"ProcStart",
	"ProcStop",
	"GCStart",
	"GCDone",
	"STWStart",
	"STWDone",
	"GCSweepStart",
	"GCSweepDone",
	"GoCreate",
	"GoStart",
	"GoEnd",
	"GoStop",
	"GoSched",
	"GoPreempt",
	"GoSleep",
	"GoBlock",
	"GoUnblock",
	"GoBlockSend",
	"GoBlockRecv",
	"GoBlockSelect",
	"GoBlockSync",
	"GoBlockCond",
	"GoBlockNet",
	"GoSysCall",
	"GoSysExit",
	"GoSysBlock",
	"GoWaiting",
	"GoInSyscall",
	"HeapAlloc",
	"HeapGoal",
	"TimerGoroutine",
	"FutileWakeup",
	"String",
	"GoStartLocal",
	"GoUnblockLocal",
	"GoSysExitLocal",
	"GoStartLabel",
	"GoBlockGC",
	"GCMarkAssistStart",
	"GCMarkAssistDone",
	"UserTaskCreate",
	"UserTaskEnd",
	"UserRegion",
	"UserLog",
	"CPUSample",
};

const char *v1_name(uint8_t type)
{
	return type < V1_TYPES ? names[type] : "unknown";
}

int v1_grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
	void **a = array, *p;
	uint64_t want;

	if (likely(n <= *cap))
		return 0;
	want = (uint64_t)*cap * 3 / 2 > n ? (uint64_t)*cap * 3 / 2 : (uint64_t)n + 16;
	if (want > UINT32_MAX)
		return -ENOMEM;
	p = realloc(*a, want * size);
	if (!p)
		return -ENOMEM;
	*a = p;
	*cap = (uint32_t)want;
	return 0;
}

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

#define corrupt(off, err, fmt, ...) err_set(err, -EPROTO, "byte %llu: " fmt, (unsigned long long)(off), ##__VA_ARGS__)

/* ---- the first pass ---- */

struct scan {
	uint8_t *buf;
	size_t pos, len;
	uint64_t off; /* of buf[0] */
};

/* Makes `need` bytes at pos available unless the input ends before. */
static int scan_fill(struct v1 *v, struct scan *s, size_t need, struct err *err)
{
	int64_t n;

	if (likely(s->len - s->pos >= need))
		return 0;
	memmove(s->buf, s->buf + s->pos, s->len - s->pos);
	s->off += s->pos;
	s->len -= s->pos;
	s->pos = 0;
	n = input_pread(&v->t->in, s->buf + s->len, SCAN_WINDOW - s->len, s->off + s->len, err);
	if (n < 0)
		return (int)n;
	s->len += (size_t)n;
	return 0;
}

/* Skips n bytes, which may be more than the window: false at the input's end. */
static bool scan_skip(const struct v1 *v, struct scan *s, uint64_t n)
{
	if (n <= s->len - s->pos) {
		s->pos += (size_t)n;
		return true;
	}
	if (n > v->size - (s->off + s->pos))
		return false;
	s->off += s->pos + n;
	s->pos = s->len = 0;
	return true;
}

static int add_batch(struct v1 *v, uint64_t pid, uint64_t off, uint32_t *ret_proc, struct err *err)
{
	uintptr_t i = (uintptr_t)idmap_get(&v->proc_by_pid, pid);
	struct v1_proc *p;

	if (v->nbatch >= V1_BATCHES_MAX)
		return err_set(err, -EFBIG, "byte %llu: more than %u batches", (unsigned long long)off, V1_BATCHES_MAX);
	if (v1_grow(&v->batch, v->nbatch + 1, &v->cap_batch, sizeof(*v->batch)) < 0)
		return no_memory(err);
	if (!i) {
		p = calloc(1, sizeof(*p));
		if (!p || v1_grow(&v->proc, v->nproc + 1, &v->cap_proc, sizeof(*v->proc)) < 0) {
			free(p);
			return no_memory(err);
		}
		p->pid = pid == UINT64_MAX ? -1 : (int32_t)pid;
		p->first = p->batch = -1;
		v->proc[v->nproc++] = p;
		i = v->nproc;
		if (idmap_put(&v->proc_by_pid, pid, (void *)i) < 0)
			return no_memory(err);
	}
	p = v->proc[i - 1];
	v->batch[v->nbatch] = (struct v1_batch) { off, -1, (int32_t)(i - 1) };
	if (p->batch < 0)
		p->first = p->batch = (int32_t)v->nbatch;
	else
		v->batch[p->last].next = (int32_t)v->nbatch;
	p->last = (int32_t)v->nbatch++;
	*ret_proc = (uint32_t)(i - 1);
	return 0;
}

static int add_string(struct v1 *v, struct scan *s, uint64_t at, struct err *err)
{
	const uint8_t *p = s->buf + s->pos, *end = s->buf + s->len;
	uint64_t id, len;
	char *text;
	int64_t n;

	if (!varint_get(&p, end, &id) || !varint_get(&p, end, &len))
		return corrupt(at, err, "malformed string");
	s->pos = (size_t)(p - s->buf);
	if (!id)
		return corrupt(at, err, "string has invalid id 0");
	if (idmap_get(&v->strings, id))
		return corrupt(at, err, "string has duplicate id %llu", (unsigned long long)id);
	if (!len || len > V1_STRING_MAX)
		return corrupt(at, err, "string has invalid length %llu", (unsigned long long)len);
	n = 0;
	if (s->len - s->pos >= len) {
		n = tables_str(v->tab, (const char *)p, len);
	} else {
		text = malloc(len);
		if (!text)
			return no_memory(err);
		n = input_pread(&v->t->in, text, len, s->off + s->pos, err);
		if (n >= 0 && (uint64_t)n < len) {
			free(text);
			return corrupt(at, err, "truncated: the input ends inside a string");
		}
		if (n >= 0)
			n = tables_str(v->tab, text, len);
		free(text);
	}
	if (n < 0)
		return no_memory(err);
	if (!scan_skip(v, s, len))
		return corrupt(at, err, "truncated: the input ends inside a string");
	if (v1_grow(&v->str_id, v->nstr + 1, &v->cap_str, sizeof(*v->str_id)) < 0)
		return no_memory(err);
	v->str_id[v->nstr++] = (uint32_t)n;
	if (idmap_put(&v->strings, id, (void *)(uintptr_t)v->nstr) < 0)
		return no_memory(err);
	return 0;
}

/* Arguments of the record at p: their number, or -1. What is above `max` is counted but not kept. */
static int get_args(const uint8_t **pp, const uint8_t *end, unsigned n, uint64_t *args, unsigned max)
{
	const uint8_t *p = *pp;
	uint64_t len, x;
	unsigned i;

	if (n < 3) {
		for (i = 0; i <= n; i++) {
			if (!varint_get(&p, end, &x))
				return -1;
			if (i < max)
				args[i] = x;
		}
		*pp = p;
		return (int)i;
	}
	if (!varint_get(&p, end, &len) || len > V1_ARGS_BYTES_MAX || len > (uint64_t)(end - p))
		return -1;
	end = p + len;
	for (i = 0; p < end; i++) {
		if (!varint_get(&p, end, &x))
			return -1;
		if (i < max)
			args[i] = x;
	}
	*pp = end;
	return (int)i;
}

#define STACK_ARGS_MAX (2 + V1_ARGS_BYTES_MAX)

static int add_stack(struct v1 *v, const uint64_t *args, int n, uint64_t at, struct err *err)
{
	uint32_t id = (uint32_t)args[0], i;
	uintptr_t known, pc;
	struct v1_stack *s;

	if (n < 2 || args[1] > V1_FRAMES_MAX || (uint64_t)n != 2 + 4 * args[1])
		return corrupt(at, err, "Stack has wrong number of arguments: %d", n);
	if (!id || !args[1])
		return 0;
	if (v1_grow(&v->stack, v->nstack + 1, &v->cap_stack, sizeof(*v->stack)) < 0 ||
	    v1_grow(&v->stack_pcs, v->nstack_pcs + (uint32_t)args[1], &v->cap_stack_pcs, sizeof(*v->stack_pcs)) < 0)
		return no_memory(err);
	known = (uintptr_t)idmap_get(&v->stacks, id);
	if (!known) {
		known = ++v->nstack;
		if (idmap_put(&v->stacks, id, (void *)known) < 0)
			return no_memory(err);
	}
	s = &v->stack[known - 1];
	*s = (struct v1_stack) { v->nstack_pcs, (uint32_t)args[1], 0 };
	for (i = 0; i < args[1]; i++) {
		const uint64_t *f = args + 2 + 4 * i;

		pc = (uintptr_t)idmap_get(&v->pcs, f[0]);
		if (!pc) {
			if (v1_grow(&v->pc, v->npc + 1, &v->cap_pc, sizeof(*v->pc)) < 0)
				return no_memory(err);
			v->pc[v->npc++] = (struct v1_pc) { f[0], f[1], f[2], f[3], 0 };
			pc = v->npc;
			if (idmap_put(&v->pcs, f[0], (void *)pc) < 0)
				return no_memory(err);
		}
		v->stack_pcs[v->nstack_pcs++] = (uint32_t)pc - 1;
	}
	return 0;
}

static int add_sample(struct v1 *v, const uint64_t *args, int n, uint64_t at, struct err *err)
{
	if (n != v1_args[V1_CPU_SAMPLE])
		return corrupt(at, err, "CPU sample has wrong number of arguments: want %u, got %d", v1_args[V1_CPU_SAMPLE], n);
	if (v->nsample >= V1_SAMPLES_MAX)
		return err_set(err, -EFBIG, "byte %llu: more than %u CPU samples", (unsigned long long)at, V1_SAMPLES_MAX);
	if (v1_grow(&v->sample, v->nsample + 1, &v->cap_sample, sizeof(*v->sample)) < 0 ||
	    v1_grow(&v->sample_order, v->nsample + 1, &v->cap_sample_order, sizeof(*v->sample_order)) < 0)
		return no_memory(err);
	v->sample[v->nsample] = (struct v1_sample) { args[3], (int32_t)args[2], (uint32_t)args[4] };
	v->sample_order[v->nsample].time = (int64_t)args[1];
	v->sample_order[v->nsample].index = v->nsample;
	v->nsample++;
	return 0;
}

/* An exit's distance from its event decides where it is kept: see v1_order.c. */
static int add_exit(struct v1 *v, int64_t ts, const uint64_t *args, uint64_t at, struct err *err)
{
	int64_t real = (int64_t)args[3];
	uint32_t i, n;

	if (!real || (ts >= real && ts - real <= v->lag))
		return 0;
	if (v1_grow(&v->exits, v->nexits + 1, &v->cap_exits, sizeof(*v->exits)) < 0)
		return no_memory(err);
	/* `off` is the distance while indexing */
	v->exits[v->nexits++] = (struct v1_exit) { real, args[1], ts >= real ? (uint64_t)(ts - real) : UINT64_MAX };
	if (v->nexits < V1_EXITS_MAX)
		return 0;
	while (v->nexits > V1_EXITS_MAX / 2) {
		v->lag = v->lag ? v->lag * 2 : 64;
		if (v->lag > INT64_MAX / 4)
			return err_set(err, -EFBIG, "byte %llu: more than %u system calls end after their event", (unsigned long long)at,
				       V1_EXITS_MAX / 2);
		for (i = n = 0; i < v->nexits; i++)
			if (v->exits[i].off > (uint64_t)v->lag)
				v->exits[n++] = v->exits[i];
		v->nexits = n;
	}
	return 0;
}

static int exit_cmp(const void *a, const void *b)
{
	const struct v1_exit *x = a, *y = b;

	return x->ts < y->ts ? -1 : x->ts > y->ts;
}

static int index_all(struct v1 *v, struct err *err)
{
	struct scan s = { .off = 16 };
	uint64_t args[STACK_ARGS_MAX], at, len = 0;
	const uint8_t *p, *end;
	uint8_t type, n;
	uint32_t proc = 0, i;
	int64_t ts = 0;
	int r, got;

	s.buf = malloc(SCAN_WINDOW);
	if (!s.buf)
		return no_memory(err);
	for (;;) {
		r = scan_fill(v, &s, V1_LOOK, err);
		if (r < 0)
			goto out;
		if (s.pos == s.len)
			break;
		at = s.off + s.pos;
		p = s.buf + s.pos;
		end = s.buf + s.len;
		type = *p & 0x3f;
		n = *p++ >> 6;
		if (!type || type >= V1_TYPES || (type == V1_CPU_SAMPLE && v->t->version < 19)) {
			r = corrupt(at, err, "unknown event type %u", type);
			goto out;
		}
		if (likely(n < 3 && v1_args[type] == n + 1u && v->nbatch && varint_get(&p, end, &args[0]))) {
			/* What most events are: only their time matters here. */
			for (i = 0; i < n && varint_get(&p, end, &args[1]); i++)
				;
			if (likely(i == n)) {
				ts = (int64_t)((uint64_t)ts + args[0]);
				s.pos = (size_t)(p - s.buf);
				continue;
			}
		}
		p = s.buf + s.pos + 1;
		if (type == V1_STRING) {
			s.pos++;
			r = add_string(v, &s, at, err);
			if (r < 0)
				goto out;
			continue;
		}
		if (type == V1_BATCH) {
			if (n != 1) {
				r = corrupt(at, err, "Batch has wrong number of arguments: got %u, want 2", n + 1);
				goto out;
			}
			if (!varint_get(&p, end, &args[0]) || !varint_get(&p, end, &args[1])) {
				r = corrupt(at, err, "malformed batch header");
				goto out;
			}
			if (args[0] != UINT64_MAX && args[0] > INT32_MAX) {
				r = corrupt(at, err, "processor ID %llu is larger than maximum of %d", (unsigned long long)args[0], INT32_MAX);
				goto out;
			}
			ts = (int64_t)args[1];
			r = add_batch(v, args[0], at, &proc, err);
			if (r < 0)
				goto out;
			s.pos = (size_t)(p - s.buf);
			continue;
		}
		if (!v->nbatch) {
			r = corrupt(at, err, "expected a batch, found %s", v1_name(type));
			goto out;
		}
		got = get_args(&p, end, n, args, STACK_ARGS_MAX);
		if (got < 0) {
			r = corrupt(at, err, "%s %s event", s.len - s.pos < V1_LOOK ? "truncated or malformed" : "malformed", v1_name(type));
			goto out;
		}
		s.pos = (size_t)(p - s.buf);
		r = 0;
		switch (type) {
		case V1_FREQUENCY:
			if (got != 1 || (int64_t)args[0] <= 0)
				r = corrupt(at, err, "expected a frequency above 0 (time stamps out of order)");
			v->ticks_per_s = (int64_t)args[0];
			break;
		case V1_STACK:
			r = add_stack(v, args, got, at, err);
			break;
		case V1_TIMER_GOROUTINE:
			if (got != 1)
				r = corrupt(at, err, "TimerGoroutine has wrong number of arguments: want 1, got %d", got);
			else if (!idmap_get(&v->timers, args[0]) && idmap_put(&v->timers, args[0], v) < 0)
				r = no_memory(err);
			break;
		case V1_CPU_SAMPLE:
			r = add_sample(v, args, got, at, err);
			break;
		default:
			if (got != v1_args[type]) {
				r = corrupt(at, err, "%s has wrong number of arguments: want %u, got %d", v1_name(type), v1_args[type], got);
				break;
			}
			ts = (int64_t)((uint64_t)ts + args[0]);
			v->ncreated_max += type == V1_GO_CREATE;
			v->ntask_max += type == V1_TASK_CREATE;
			v->nregion_max += type == V1_REGION;
			if (type == V1_SYSEXIT)
				r = add_exit(v, ts, args, at, err);
			if (type == V1_LOG) {
				if (!varint_get(&p, end, &len) || len > V1_STRING_MAX)
					r = corrupt(at, err, "malformed message of a UserLog event");
				s.pos = (size_t)(p - s.buf);
				if (!r && !scan_skip(v, &s, len))
					r = corrupt(at, err, "truncated: the input ends inside a message");
			}
		}
		if (r < 0)
			goto out;
	}
	if (!v->ticks_per_s)
		r = corrupt(v->size, err, "no frequency event: the trace was cut off before its end");
	for (i = 0, v->nstack_at = 4096 + 4 * v->nstack, v->stack_at = calloc(v->nstack_at, sizeof(*v->stack_at)); v->stack_at && i < v->nstack_at; i++)
		v->stack_at[i] = (uint32_t)(uintptr_t)idmap_get(&v->stacks, i);
	if (!v->stack_at && !r)
		r = no_memory(err);
	sort_keyed(v->sample_order, v->nsample);
	if (v->nexits) /* qsort takes no NULL */
		qsort(v->exits, v->nexits, sizeof(*v->exits), exit_cmp);
out:
	free(s.buf);
	return r;
}

/* ---- tables ---- */

int64_t v1_str(struct v1 *v, uint64_t id)
{
	uintptr_t i = (uintptr_t)idmap_get(&v->strings, id);

	return i ? v->str_id[i - 1] : 0;
}

int64_t v1_stk_slow(struct v1 *v, uint32_t id)
{
	struct gander_gotrace_frame f;
	uint32_t frames[V1_FRAMES_MAX], i;
	uintptr_t known;
	struct v1_stack *s;
	struct v1_pc *pc;
	int64_t r;

	known = (uintptr_t)idmap_get(&v->stacks, id);
	if (!known)
		return 0;
	s = &v->stack[known - 1];
	if (likely(s->id))
		return s->id - 1;
	for (i = 0; i < s->n; i++) {
		pc = &v->pc[v->stack_pcs[s->first + i]];
		if (!pc->frame) {
			f = (struct gander_gotrace_frame) { pc->pc, pc->line, (uint32_t)v1_str(v, pc->func), (uint32_t)v1_str(v, pc->file) };
			r = tables_frame(v->tab, &f);
			if (r < 0)
				return r;
			pc->frame = (uint32_t)r + 1;
		}
		frames[i] = pc->frame - 1;
	}
	r = tables_stack(v->tab, frames, s->n);
	if (r >= 0)
		s->id = (uint32_t)r + 1;
	return r;
}

/* ---- cursors ---- */

/* Moves the window so that it begins at input offset `off`. */
static int window(struct v1 *v, struct v1_proc *pr, uint64_t off, struct err *err)
{
	size_t want = pr->batch_end - off > V1_WINDOW ? V1_WINDOW : (size_t)(pr->batch_end - off);
	uint8_t *buf;
	int64_t n;

	if (want > pr->cap) {
		buf = realloc(pr->buf, want);
		if (!buf)
			return no_memory(err);
		pr->buf = buf;
		pr->cap = want;
	}
	n = input_pread(&v->t->in, pr->buf, want, off, err);
	if (n < 0)
		return (int)n;
	if ((size_t)n < want)
		return err_set(err, -EIO, "byte %llu: the input became shorter while it was read", (unsigned long long)(off + (uint64_t)n));
	pr->p = pr->buf;
	pr->lim = pr->buf + want;
	pr->lim_off = off + want;
	return 0;
}

/* Begins the next batch: 1, 0 none is left, < 0. The first pass has parsed all of this: nothing can be malformed unless the input changed. */
static int next_batch(struct v1 *v, struct v1_proc *pr, struct err *err)
{
	const struct v1_batch *b;
	uint64_t pid, ticks;
	int r;

	if (pr->batch < 0)
		return 0;
	b = &v->batch[pr->batch];
	pr->batch_end = (uint32_t)pr->batch + 1 < v->nbatch ? b[1].off : v->size;
	r = window(v, pr, b->off, err);
	if (r < 0)
		return r;
	pr->p++;
	if (!varint_get(&pr->p, pr->lim, &pid) || !varint_get(&pr->p, pr->lim, &ticks))
		return corrupt(b->off, err, "malformed batch header");
	pr->ts = (int64_t)ticks;
	pr->batch = b->next;
	return 1;
}

int v1_decode(struct v1 *v, struct v1_proc *pr, struct v1_event *ev, struct err *err)
{
	uint64_t args[5], skip, at;
	const uint8_t *p;
	unsigned i, want;
	uint8_t type, n;
	int r, got;

	for (;;) {
		if (unlikely(pr->lim - pr->p < V1_LOOK && pr->lim_off < pr->batch_end)) {
			r = window(v, pr, pr->lim_off - (uint64_t)(pr->lim - pr->p), err);
			if (r < 0)
				return r;
		}
		if (unlikely(pr->p == pr->lim)) {
			r = next_batch(v, pr, err);
			if (r <= 0)
				return r;
			continue;
		}
		p = pr->p;
		at = pr->lim_off - (uint64_t)(pr->lim - p);
		type = *p & 0x3f;
		n = *p++ >> 6;
		if (unlikely(type == V1_STRING)) {
			if (!varint_get(&p, pr->lim, &skip) || !varint_get(&p, pr->lim, &skip))
				return corrupt(at, err, "malformed string");
			goto skip_text;
		}
		want = type < V1_TYPES ? v1_args[type] : 0;
		if (likely(want && n < 3 && want == n + 1u)) {
			for (i = 0; i < want; i++)
				if (unlikely(!varint_get(&p, pr->lim, &args[i])))
					return corrupt(at, err, "malformed %s event", v1_name(type));
		} else {
			got = get_args(&p, pr->lim, n, args, 5);
			if (got < 0 || (want && (unsigned)got != want))
				return corrupt(at, err, "malformed %s event", v1_name(type));
			if (!want || type == V1_CPU_SAMPLE) {
				pr->p = p;
				continue;
			}
		}
		pr->p = p;
		break;
	skip_text:
		if (skip > (uint64_t)(pr->lim - p)) {
			if (skip > pr->batch_end - (pr->lim_off - (uint64_t)(pr->lim - p)))
				return corrupt(at, err, "a string runs past its batch");
			r = window(v, pr, pr->lim_off - (uint64_t)(pr->lim - p) + skip, err);
			if (r < 0)
				return r;
		} else {
			pr->p = p + skip;
		}
	}
	ev->type = type;
	ev->p = pr->pid;
	ev->g = pr->g;
	ev->ts = pr->ts = (int64_t)((uint64_t)pr->ts + args[0]);
	ev->off = at;
	ev->blocks = false;
	ev->gp = NULL;
	ev->stack = 0;
	if (v1_stacked[type])
		ev->stack = (uint32_t)args[--want];
	ev->args[0] = want > 1 ? args[1] : 0;
	ev->args[1] = want > 2 ? args[2] : 0;
	ev->args[2] = want > 3 ? args[3] : 0;
	ev->args[3] = want > 4 ? args[4] : 0;
	switch (type) {
	case V1_GO_START:
	case V1_START_LOCAL:
	case V1_START_LABEL:
		ev->g = pr->g = ev->args[0];
		break;
	case V1_GO_END:
	case V1_GO_STOP:
	case V1_GO_SCHED:
	case V1_GO_PREEMPT:
	case V1_GO_SLEEP:
	case V1_GO_BLOCK:
	case V1_BLOCK_SEND:
	case V1_BLOCK_RECV:
	case V1_BLOCK_SELECT:
	case V1_BLOCK_SYNC:
	case V1_BLOCK_COND:
	case V1_BLOCK_NET:
	case V1_SYSBLOCK:
	case V1_BLOCK_GC:
		pr->g = 0;
		break;
	case V1_SYSEXIT:
	case V1_WAITING:
	case V1_IN_SYSCALL:
		ev->g = ev->args[0];
		break;
	case V1_LOG:
		p = pr->p;
		if (!varint_get(&p, pr->lim, &skip) || skip > V1_STRING_MAX)
			return corrupt(at, err, "malformed message of a UserLog event");
		ev->text_off = pr->lim_off - (uint64_t)(pr->lim - p);
		ev->text_len = (uint32_t)skip;
		if (skip > (uint64_t)(pr->lim - p))
			return ev->text_off + skip > pr->batch_end ? corrupt(at, err, "a message runs past its batch") : (r = window(v, pr, ev->text_off + skip, err)) < 0 ? r
																					   : 1;
		pr->p = p + skip;
		break;
	}
	return 1;
}

int v1_proc_next(struct v1 *v, struct v1_proc *pr, struct err *err)
{
	struct v1_event *ev, *ahead;
	int r;

	pr->cur = pr->cur == 2 ? 0 : pr->cur + 1;
	pr->have = pr->have_ahead;
	if (!pr->have)
		return 0;
	ev = &pr->ev[pr->cur];
	ahead = &pr->ev[pr->cur == 2 ? 0 : pr->cur + 1];
	r = v1_decode(v, pr, ahead, err);
	if (r < 0)
		return r;
	pr->have_ahead = r > 0;
	if (ev->type == V1_SYSCALL && r > 0 && ahead->g == ev->g && ahead->type == V1_SYSBLOCK) {
		ev->blocks = true;
		ev->block_ts = ahead->ts;
	}
	return 0;
}

int v1_proc_start(struct v1 *v, struct v1_proc *pr, struct err *err)
{
	int r;

	r = v1_decode(v, pr, &pr->ev[1], err);
	if (r < 0)
		return r;
	pr->have_ahead = r > 0;
	return v1_proc_next(v, pr, err);
}

/* ---- life ---- */

int v1_open(struct gander_gotrace *t, const uint8_t *head, struct err *err)
{
	struct v1 *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return no_memory(err);
	t->v1 = v;
	v->t = t;
	v->tab = &t->tab;
	if (idmap_init(&v->proc_by_pid) < 0 || idmap_init(&v->strings) < 0 || idmap_init(&v->stacks) < 0 || idmap_init(&v->pcs) < 0 ||
	    idmap_init(&v->timers) < 0)
		return no_memory(err);
	r = input_seekable(&t->in, head, 16, t->tmpdir, err);
	if (r < 0)
		return r;
	v->size = t->in.size;
	r = index_all(v, err);
	if (r < 0)
		return r;
	t->in.pos = 16;
	t->generation = t->generations = 1;
	return v1_order_init(v, err);
}

void v1_free(struct v1 *v)
{
	uint32_t i;

	if (!v)
		return;
	v1_order_done(v);
	for (i = 0; i < v->nproc; i++) {
		free(v->proc[i]->buf);
		free(v->proc[i]);
	}
	free(v->proc);
	idmap_done(&v->proc_by_pid);
	idmap_done(&v->strings);
	idmap_done(&v->stacks);
	idmap_done(&v->pcs);
	idmap_done(&v->timers);
	free(v->batch);
	free(v->str_id);
	free(v->stack);
	free(v->stack_at);
	free(v->stack_pcs);
	free(v->pc);
	free(v->sample);
	free(v->sample_order);
	free(v->exits);
	free(v);
}
