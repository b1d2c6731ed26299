/* One generation of a v2 trace, taken in: see gotrace_v2.h. */
#include "gotrace/gotrace_v2.h"

#include <stdlib.h>
#include <string.h>

#define READ_CHUNK (512u << 10)
#define HEADER_MAX (2 + 4 * 10)

int v2_grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
	void **a = array, *p;
	uint64_t want;

	if (likely(n <= *cap))
		return 0;
	want = (uint64_t)*cap * 2 > n ? (uint64_t)*cap * 2 : (uint64_t)n + 16;
	if (want > UINT32_MAX)
		return -ENOMEM;
	p = realloc(*a, want * size);
	if (!p)
		return -ENOMEM;
	*a = p;
	*cap = (uint32_t)want;
	return 0;
}

static int no_memory(struct v2 *v, struct err *err)
{
	return err_set(err, -ENOMEM, "generation %llu: out of memory", (unsigned long long)v->gen);
}

#define corrupt(v, p, err, fmt, ...) \
	err_set(err, -EPROTO, "byte %llu, generation %llu: " fmt, (unsigned long long)v2_off(v, p), \
		(unsigned long long)(v)->gen, ##__VA_ARGS__)

int v2_damage(struct v2 *v, int r, bool lost, const struct err *err)
{
	if (!v->salvage || r != -EPROTO)
		return r;
	if (!v->damage.code && err)
		v->damage = *err;
	v->gap = v->gap || lost;
	return 0;
}

/* Makes buf hold `need` bytes unless the input ends first. */
static int fill(struct v2 *v, size_t need, struct err *err)
{
	size_t want, cap;
	uint8_t *p;
	int64_t n;

	while (v->len < need && !v->eof) {
		want = v->len + READ_CHUNK > need ? v->len + READ_CHUNK : need;
		if (v->len >= v->t->max_generation + READ_CHUNK)
			return err_set(err, -EFBIG, "byte %llu, generation %llu: a generation of more than %llu bytes",
				       (unsigned long long)(v->base_off + v->len), (unsigned long long)v->gen,
				       (unsigned long long)v->t->max_generation);
		if (want > v->cap) {
			cap = v->cap + v->cap / 2 > want ? v->cap + v->cap / 2 : want;
			p = realloc(v->buf, cap + V2_PAD);
			if (!p)
				return no_memory(v, err);
			v->buf = p;
			v->cap = cap;
		}
		n = input_read(&v->t->in, v->buf + v->len, want - v->len, err);
		if (n < 0)
			return (int)n;
		if (!n)
			v->eof = true;
		v->len += (size_t)n;
		memset(v->buf + v->len, 0, V2_PAD);
	}
	return 0;
}

/* ---- tables of the generation ---- */

static void refs_clear(struct v2_refs *r)
{
	if (r->n)
		memset(r->dense, 0, r->n * sizeof(*r->dense));
	r->n = r->count = 0;
	if (r->nextra) {
		idmap_clear(&r->sparse);
		r->nextra = 0;
	}
}

/* 0, -EEXIST, -ENOMEM */
static int refs_put(struct v2_refs *r, uint64_t id, uint32_t off)
{
	uint32_t old = r->cap;

	if (v2_ref(r, id))
		return -EEXIST;
	r->count++;
	if (id < V2_DENSE_MIN + 4ull * r->count) {
		if (v2_grow(&r->dense, (uint32_t)id + 1, &r->cap, sizeof(*r->dense)) < 0)
			return -ENOMEM;
		if (r->cap != old)
			memset(r->dense + old, 0, (r->cap - old) * sizeof(*r->dense));
		r->dense[id] = (struct v2_ref) { off, 0 };
		if (id >= r->n)
			r->n = (uint32_t)id + 1;
		return 0;
	}
	if (v2_grow(&r->extra, r->nextra + 1, &r->cap_extra, sizeof(*r->extra)) < 0 ||
	    idmap_put(&r->sparse, id, (void *)(uintptr_t)(r->nextra + 1)) < 0)
		return -ENOMEM;
	r->extra[r->nextra++] = (struct v2_ref) { off, 0 };
	return 0;
}

const uint8_t *v2_str_raw(struct v2 *v, uint64_t id, uint32_t *ret_len)
{
	struct v2_ref *ref;
	const uint8_t *p;
	uint64_t len = 0;

	*ret_len = 0;
	if (!id)
		return (const uint8_t *)"";
	ref = v2_ref(&v->strs, id);
	if (!ref)
		return NULL;
	p = v->buf + ref->off;
	varint_get(&p, v->buf + v->len, &len);
	*ret_len = (uint32_t)len;
	return p;
}

int v2_str(struct v2 *v, uint64_t id, uint32_t *ret)
{
	struct v2_ref *ref;
	const uint8_t *p;
	uint32_t len;
	int64_t i;

	*ret = 0;
	if (!id)
		return 1;
	ref = v2_ref(&v->strs, id);
	if (!ref)
		return 0;
	if (!ref->id) {
		p = v2_str_raw(v, id, &len);
		i = tables_str(v->tab, (const char *)p, len);
		if (i < 0)
			return (int)i;
		ref->id = (uint32_t)i + 1;
	}
	*ret = ref->id - 1;
	return 1;
}

static struct v2_pc *pc_slot(const struct v2 *v, uint64_t pc)
{
	uint32_t i = (uint32_t)(pc * 0x9E3779B97F4A7C15u >> 32) & v->pc_mask;

	while (v->pc[i].off && v->pc[i].pc != pc)
		i = (i + 1) & v->pc_mask;
	return &v->pc[i];
}

static int pc_room(struct v2 *v)
{
	struct v2_pc *old = v->pc;
	uint32_t n = old ? v->pc_mask + 1 : 0, i;

	if (likely((uint64_t)v->npc * 2 < n))
		return 0;
	if (n >= 1u << 31)
		return -ENOMEM;
	v->pc = calloc(n ? (size_t)n * 2 : 4096, sizeof(*v->pc));
	if (!v->pc) {
		v->pc = old;
		return -ENOMEM;
	}
	v->pc_mask = n ? n * 2 - 1 : 4095;
	for (i = 0; i < n; i++)
		if (old[i].off)
			*pc_slot(v, old[i].pc) = old[i];
	free(old);
	return 0;
}

/* The interned frame of a program counter: what its generation said first about it, as the reference has it. */
static int64_t pc_frame(struct v2 *v, struct v2_pc *pc)
{
	struct gander_gotrace_frame f;
	const uint8_t *p = v->buf + pc->off, *end = v->buf + v->len;
	uint64_t func = 0, file = 0;
	int64_t id;

	if (pc->frame)
		return pc->frame - 1;
	f.pc = pc->pc;
	f.line = 0;
	varint_get(&p, end, &func);
	varint_get(&p, end, &file);
	varint_get(&p, end, &f.line);
	if (v2_str(v, func, &f.func) < 0 || v2_str(v, file, &f.file) < 0)
		return -ENOMEM;
	id = tables_frame(v->tab, &f);
	if (id >= 0)
		pc->frame = (uint32_t)id + 1;
	return id;
}

int v2_stk(struct v2 *v, uint64_t id, uint32_t *ret)
{
	uint32_t frames[V2_FRAMES_MAX];
	const uint8_t *p, *end = v->buf + v->len;
	struct v2_ref *ref;
	uint64_t n, pc, skip;
	unsigned i, j;
	int64_t r;

	*ret = 0;
	if (!id)
		return 1;
	ref = v2_ref(&v->stks, id);
	if (!ref)
		return 0;
	if (!ref->id) { /* it was checked when the generation was read: no varint fails */
		p = v->buf + ref->off;
		n = 0;
		varint_get(&p, end, &n);
		for (i = 0; i < n && i < V2_FRAMES_MAX; i++) {
			pc = 0;
			varint_get(&p, end, &pc);
			for (j = 0; j < 3; j++)
				varint_get(&p, end, &skip);
			r = pc_frame(v, pc_slot(v, pc));
			if (r < 0)
				return (int)r;
			frames[i] = (uint32_t)r;
		}
		r = tables_stack(v->tab, frames, i);
		if (r < 0)
			return (int)r;
		ref->id = (uint32_t)r + 1;
	}
	*ret = ref->id - 1;
	return 1;
}

/* ---- batches that are not events ---- */

static int read_strings(struct v2 *v, const uint8_t *p, const uint8_t *end, struct err *err)
{
	const uint8_t *at, *len_at;
	uint64_t id, len;
	int r;

	for (p++; p < end; p += len) {
		at = p;
		if (*p++ != EV_STRING)
			return corrupt(v, at, err, "expected a string, found event type %u", *at);
		if (!varint_get(&p, end, &id))
			return corrupt(v, at, err, "malformed string id");
		len_at = p;
		if (!varint_get(&p, end, &len))
			return corrupt(v, at, err, "malformed length of string %llu", (unsigned long long)id);
		if (len > V2_STRING_MAX)
			return corrupt(v, at, err, "invalid string size %llu, maximum is %u", (unsigned long long)len, V2_STRING_MAX);
		if (len > (uint64_t)(end - p))
			return corrupt(v, at, err, "string %llu runs past its batch: %llu bytes of %llu are there", (unsigned long long)id,
				       (unsigned long long)(end - p), (unsigned long long)len);
		r = id ? refs_put(&v->strs, id, (uint32_t)(len_at - v->buf)) : 0;
		if (r == -EEXIST)
			return corrupt(v, at, err, "string id %llu is there twice", (unsigned long long)id);
		if (r < 0)
			return no_memory(v, err);
	}
	return 0;
}

/* Needs all strings: comes last. */
static int read_stacks(struct v2 *v, const uint8_t *p, const uint8_t *end, struct err *err)
{
	uint64_t id, n, pc, func, file, line;
	const uint8_t *at, *n_at, *func_at;
	struct v2_pc *slot;
	unsigned i;
	int r;

	for (p++; p < end;) {
		at = p;
		if (*p++ != EV_STACK)
			return corrupt(v, at, err, "expected a stack, found event type %u", *at);
		if (!varint_get(&p, end, &id))
			return corrupt(v, at, err, "malformed stack id");
		n_at = p;
		if (!varint_get(&p, end, &n))
			return corrupt(v, at, err, "malformed number of frames of stack %llu", (unsigned long long)id);
		if (n > V2_FRAMES_MAX)
			return corrupt(v, at, err, "invalid stack size %llu, maximum is %u", (unsigned long long)n, V2_FRAMES_MAX);
		for (i = 0; i < n; i++) {
			if (!varint_get(&p, end, &pc))
				return corrupt(v, at, err, "malformed frame %u of stack %llu", i + 1, (unsigned long long)id);
			func_at = p;
			if (!varint_get(&p, end, &func) || !varint_get(&p, end, &file) || !varint_get(&p, end, &line))
				return corrupt(v, at, err, "malformed frame %u of stack %llu", i + 1, (unsigned long long)id);
			slot = pc_slot(v, pc);
			if (slot->off)
				continue;
			if ((func && !v2_ref(&v->strs, func)) || (file && !v2_ref(&v->strs, file)))
				return corrupt(v, at, err, "invalid string id %llu for a %s in stack %llu",
					       (unsigned long long)(func && !v2_ref(&v->strs, func) ? func : file),
					       func && !v2_ref(&v->strs, func) ? "function" : "file", (unsigned long long)id);
			*slot = (struct v2_pc) { pc, (uint32_t)(func_at - v->buf), 0 };
			v->npc++;
			if (pc_room(v) < 0)
				return no_memory(v, err);
		}
		r = id ? refs_put(&v->stks, id, (uint32_t)(n_at - v->buf)) : 0;
		if (r == -EEXIST)
			return corrupt(v, at, err, "stack id %llu is there twice", (unsigned long long)id);
		if (r < 0)
			return no_memory(v, err);
	}
	return 0;
}

static int read_samples(struct v2 *v, const uint8_t *p, const uint8_t *end, struct err *err)
{
	uint64_t time, m, pid, g, stack;
	const uint8_t *at;

	for (p++; p < end;) {
		at = p;
		if (*p++ != EV_CPU_SAMPLE)
			return corrupt(v, at, err, "expected a CPU sample, found event type %u", *at);
		if (!varint_get(&p, end, &time) || !varint_get(&p, end, &m) || !varint_get(&p, end, &pid) || !varint_get(&p, end, &g) ||
		    !varint_get(&p, end, &stack))
			return corrupt(v, at, err, "malformed CPU sample");
		if (v2_grow(&v->sample, v->nsample + 1, &v->cap_sample, sizeof(*v->sample)) < 0 ||
		    v2_grow(&v->sample_order, v->nsample + 1, &v->cap_sample_order, sizeof(*v->sample_order)) < 0)
			return no_memory(v, err);
		v->sample[v->nsample] = (struct v2_sample) { (int64_t)m, (int64_t)pid, g ? (int64_t)g : GANDER_GOTRACE_NONE, stack,
							     (uint32_t)(at - v->buf) };
		v->sample_order[v->nsample].time = (int64_t)time; /* units until the frequency is known */
		v->sample_order[v->nsample].index = v->nsample;
		v->nsample++;
	}
	return 0;
}

static int read_sync(struct v2 *v, const uint8_t *p, const uint8_t *end, uint64_t time, struct err *err)
{
	uint64_t freq, delta;
	const uint8_t *at;

	if (v->t->version >= 25)
		p++;
	while (p < end) {
		at = p++;
		if (*at == EV_FREQUENCY) {
			if (v->has_freq)
				return corrupt(v, at, err, "found multiple frequency events");
			if (!varint_get(&p, end, &freq) || !freq)
				return corrupt(v, at, err, "expected a frequency above 0");
			v->has_freq = true;
			v->ns_per_unit = 1.0 / ((double)freq / 1e9);
			v->unit_ns = v->ns_per_unit >= 1 && v->ns_per_unit <= 1024 && v->ns_per_unit == (double)(uint64_t)v->ns_per_unit ? (uint64_t)v->ns_per_unit : 0;
		} else if (*at == EV_CLOCK_SNAPSHOT && v->t->version >= 25) {
			if (v->has_clock)
				return corrupt(v, at, err, "found multiple clock snapshot events");
			if (!varint_get(&p, end, &delta) || !varint_get(&p, end, &v->snap_mono) || !varint_get(&p, end, &v->snap_sec) ||
			    !varint_get(&p, end, &v->snap_nsec))
				return corrupt(v, at, err, "malformed clock snapshot");
			v->has_clock = true;
			time += delta;
			v->snap_time = time;
		} else {
			return corrupt(v, at, err, "expected frequency or clock snapshot event, got %u", *at);
		}
	}
	return 0;
}

static int add_events(struct v2 *v, int64_t m, uint64_t time, uint32_t off, uint32_t len, struct err *err)
{
	uintptr_t i = (uintptr_t)idmap_get(&v->thread_cursor, (uint64_t)m);
	struct v2_cursor *c;

	if (v2_grow(&v->batch, v->nbatch + 1, &v->cap_batch, sizeof(*v->batch)) < 0)
		return no_memory(v, err);
	v->batch[v->nbatch] = (struct v2_batch) { time, off, len, -1 };
	if (!i) {
		if (v2_grow(&v->cursor, v->ncursor + 1, &v->cap_cursor, sizeof(*v->cursor)) < 0)
			return no_memory(v, err);
		i = ++v->ncursor;
		if (idmap_put(&v->thread_cursor, (uint64_t)m, (void *)i) < 0)
			return no_memory(v, err);
		c = &v->cursor[i - 1];
		memset(c, 0, sizeof(*c));
		c->mid = m;
		c->batch = c->last = (int32_t)v->nbatch;
	} else {
		c = &v->cursor[i - 1];
		v->batch[c->last].next = (int32_t)v->nbatch;
		c->last = (int32_t)v->nbatch;
	}
	v->nbatch++;
	return 0;
}

struct header {
	uint64_t gen, m, time, size;
	uint8_t type, exp;
	size_t data; /* offset in buf of what follows */
};

/* Reads the header of the batch at `pos`, and its data: 1, 0 at the end of the input, < 0. */
static int read_header(struct v2 *v, size_t pos, struct header *h, struct err *err)
{
	const uint8_t *p, *end, *at;
	int r;

	r = fill(v, pos + HEADER_MAX, err);
	if (r < 0)
		return r;
	if (v->len == pos)
		return 0;
	at = p = v->buf + pos;
	end = v->buf + v->len;
	*h = (struct header) { .type = *p++ };
	if (h->type == EV_END_OF_GENERATION) {
		h->data = pos + 1;
		return 1;
	}
	if (h->type != EV_EVENT_BATCH && h->type != EV_EXPERIMENTAL_BATCH)
		return corrupt(v, at, err, "expected batch event, got event %u", h->type);
	if (h->type == EV_EXPERIMENTAL_BATCH) {
		if (p == end)
			return corrupt(v, at, err, "truncated: the input ends inside a batch header");
		h->exp = *p++;
	}
	if (!varint_get(&p, end, &h->gen) || !varint_get(&p, end, &h->m) || !varint_get(&p, end, &h->time) || !varint_get(&p, end, &h->size))
		return corrupt(v, at, err, "%s", v->eof && end - at < HEADER_MAX ? "truncated: the input ends inside a batch header" : "malformed number in a batch header");
	if (h->size > V2_BATCH_MAX)
		return corrupt(v, at, err, "invalid batch size %llu, maximum is %u", (unsigned long long)h->size, V2_BATCH_MAX);
	h->data = (size_t)(p - v->buf);
	r = fill(v, h->data + h->size, err);
	if (r < 0)
		return r;
	if (v->len < h->data + h->size)
		return corrupt(v, v->buf + pos, err, "truncated: a batch of %llu bytes, of which %llu are there", (unsigned long long)h->size,
			       (unsigned long long)(v->len - h->data));
	return 1;
}

static int read_batch(struct v2 *v, const struct header *h, struct err *err)
{
	const uint8_t *p = v->buf + h->data, *end = p + h->size;
	uint8_t kind = h->size ? *p : 0;
	uint32_t off = (uint32_t)h->data;

	if (h->exp) {
		if (v2_grow(&v->exp, v->nexp + 1, &v->cap_exp, sizeof(*v->exp)) < 0)
			return no_memory(v, err);
		v->exp[v->nexp++] = (struct v2_exp) { h->exp, (int64_t)h->m, off, (uint32_t)h->size };
		return 0;
	}
	if (kind == EV_STRINGS)
		return read_strings(v, p, end, err);
	if (kind == EV_STACKS) {
		if (v2_grow(&v->stack_spans, v->nstack_spans + 2, &v->cap_stack_spans, sizeof(*v->stack_spans)) < 0)
			return no_memory(v, err);
		v->stack_spans[v->nstack_spans++] = off;
		v->stack_spans[v->nstack_spans++] = (uint32_t)h->size;
		return 0;
	}
	if (kind == EV_CPU_SAMPLES)
		return read_samples(v, p, end, err);
	if (kind == (v->t->version < 25 ? EV_FREQUENCY : EV_SYNC))
		return read_sync(v, p, end, h->time, err);
	return add_events(v, (int64_t)h->m, h->time, off, (uint32_t)h->size, err);
}

/* Words that the runtime put into its table before anything else: a later generation that has lost its table had them, too. */
static void keep_known(struct v2 *v)
{
	uint32_t id, len, text;
	const uint8_t *p;

	for (id = 1; id < V2_KNOWN_MAX; id++) {
		p = v2_ref(&v->strs, id) ? v2_str_raw(v, id, &len) : NULL;
		if (p && len && gander_gotrace_reason_word((const char *)p, len) && v2_str(v, id, &text) > 0)
			v->known[id] = text;
	}
}

static void start_generation(struct v2 *v)
{
	if (v->salvage)
		keep_known(v);
	v->len -= v->next;
	memmove(v->buf, v->buf + v->next, v->len + V2_PAD);
	v->base_off += v->next;
	v->next = 0;
	v->gen = 0;
	v->has_freq = v->has_clock = v->have_min = false;
	refs_clear(&v->strs);
	refs_clear(&v->stks);
	memset(v->pc, 0, ((size_t)v->pc_mask + 1) * sizeof(*v->pc));
	v->npc = 0;
	v->nbatch = v->ncursor = v->nexp = v->nsample = v->sample_next = v->nstack_spans = 0;
	idmap_clear(&v->thread_cursor);
}

/* What must hold of a generation once all its batches are there. */
static int finish_generation(struct v2 *v, size_t end, struct err *err)
{
	uint32_t i;
	int r;

	r = 0;
	if (!v->has_freq) /* in salvage: that of the generation before, or the runtime's on Linux */
		r = corrupt(v, v->buf + end, err, "no frequency event found in the generation that ends here");
	else if (v->t->version >= 25 && !v->has_clock)
		r = corrupt(v, v->buf + end, err, "no clock snapshot event found in the generation that ends here");
	if (r < 0 && v2_damage(v, r, false, err) < 0)
		return r;
	for (i = 0; i < v->nstack_spans; i += 2) {
		r = read_stacks(v, v->buf + v->stack_spans[i], v->buf + v->stack_spans[i] + v->stack_spans[i + 1], err);
		if (r < 0 && v2_damage(v, r, false, err) < 0)
			return r;
	}
	for (i = 0; i < v->nsample; i++)
		v->sample_order[i].time = v2_ns(v, (uint64_t)v->sample_order[i].time);
	sort_keyed(v->sample_order, v->nsample);
	return 1;
}

/* The input ends, or goes on as something that is no batch: 1 when the generation so far is to be tried, else what v2_read() is to return. */
static int read_end(struct v2 *v, size_t pos, struct header *h, int r, struct err *err)
{
	bool whole = v->t->version < 26;

	v->next = pos;
	if (!r && !v->ncursor && !whole)
		return 0;
	if (!r && whole) {
		if (!v->ended)
			v->ended = 1;
		return 1;
	}
	if (!r)
		r = corrupt(v, v->buf + pos, err, "truncated: the input ends inside a generation, before its end mark");
	/* Before 1.26 this may be the next generation's first batch: what has been read so far is tried. */
	if (r == -EFBIG || r == -ENOMEM || (!v->gen && !(v->salvage && h->gen)) || (!whole && v2_damage(v, r, true, err) < 0))
		return r;
	v->ended = r;
	v->ended_err = *err;
	if (v->salvage) {
		/* the events of the batch that is cut, but for the last one, are sound */
		if (v->eof && h->data && h->data <= v->len && (!v->gen || v->gen == h->gen)) {
			v->gen = h->gen;
			h->size = v->len - h->data;
			r = read_batch(v, h, err);
			if (r < 0 && v2_damage(v, r, true, err) < 0)
				return r;
		}
		v2_damage(v, v->ended, true, &v->ended_err);
	}
	return 1;
}

int v2_read(struct v2 *v, struct err *err)
{
	size_t pos = 0;
	struct header h;
	int r;

	start_generation(v);
	for (;; pos = h.data + h.size) {
		h = (struct header) { 0 };
		r = read_header(v, pos, &h, err);
		if (r <= 0) {
			r = read_end(v, pos, &h, r, err);
			if (r <= 0)
				return r;
			break;
		}
		if (h.type == EV_END_OF_GENERATION && v->t->version >= 26) {
			v->next = h.data;
			break;
		}
		if (!h.gen)
			return corrupt(v, v->buf + pos, err, "invalid generation number 0");
		if (!v->gen)
			v->gen = h.gen;
		if (h.gen != v->gen) {
			v->next = pos;
			r = 0;
			if (v->t->version >= 26)
				r = corrupt(v, v->buf + pos, err,
					    "a batch of generation %llu: missing end-of-generation event, or generations are interleaved",
					    (unsigned long long)h.gen);
			else if (h.gen != v->gen + 1)
				r = corrupt(v, v->buf + pos, err, "a batch of generation %llu: generations out of order", (unsigned long long)h.gen);
			if (r < 0 && v2_damage(v, r, true, err) < 0)
				return r;
			break;
		}
		if (!v->have_min || h.time < v->min_time) {
			v->min_time = h.time;
			v->have_min = h.time != 0; /* as the reference: a 0 does not count */
		}
		r = read_batch(v, &h, err);
		if (r < 0 && v2_damage(v, r, false, err) < 0)
			return r;
	}
	return finish_generation(v, v->next, err);
}
