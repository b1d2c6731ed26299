/* Strings, frames and stacks, each content once for the reader's life. Ids are dense; nothing is ever removed. */
#include "gotrace/gotrace_internal.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK (256 << 10)
#define TABLE_MAX   (1u << 30) /* ids stay well within 32 bits */

struct arena_block {
	struct arena_block *next;
	char data[];
};

static char *arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b;
	size_t cap = n > ARENA_BLOCK / 4 ? n : ARENA_BLOCK;

	if (!a->block || a->cap - a->used < n) {
		b = malloc(sizeof(*b) + cap);
		if (!b)
			return NULL;
		if (cap == n && a->block) { /* a large one of its own, behind the block in use */
			b->next = a->block->next;
			a->block->next = b;
			return b->data;
		}
		b->next = a->block;
		a->block = b;
		a->used = 0;
		a->cap = cap;
	}
	a->used += n;
	return a->block->data + a->used - n;
}

static void arena_done(struct arena *a)
{
	struct arena_block *b, *next;

	for (b = a->block; b; b = next) {
		next = b->next;
		free(b);
	}
	a->block = NULL;
}

static inline uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9E3779B97F4A7C15u;
	return h ^ h >> 32;
}

static uint32_t hash_bytes(const char *p, size_t n)
{
	uint64_t h = n, w;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		h = mix(h, w);
	}
	w = 0;
	memcpy(&w, p, n);
	return (uint32_t)mix(h, w);
}

static uint32_t hash_frame(const struct gander_gotrace_frame *f)
{
	return (uint32_t)mix(mix(mix(0, f->pc), f->line), (uint64_t)f->func << 32 | f->file);
}

static uint32_t hash_stack(const uint32_t *frames, unsigned n)
{
	uint64_t h = n;
	unsigned i;

	for (i = 0; i < n; i++)
		h = mix(h, frames[i]);
	return (uint32_t)h;
}

/* Makes room for one more in an array of `size`-byte elements. */
static int grow(void *array, uint32_t n, uint32_t more, uint32_t *cap, size_t size)
{
	void **a = array, *p;
	uint64_t want;

	if (likely((uint64_t)n + more <= *cap))
		return 0;
	if ((uint64_t)n + more > TABLE_MAX)
		return -ENOMEM;
	want = (uint64_t)*cap * 2 > (uint64_t)n + more ? (uint64_t)*cap * 2 : (uint64_t)n + more + 64;
	p = realloc(*a, want * size);
	if (!p)
		return -ENOMEM;
	*a = p;
	*cap = (uint32_t)want;
	return 0;
}

/* Doubles a hash of ids once `n` fills half of it; `hash_of` gives an id's hash again. */
static int rehash(uint32_t **hash, uint32_t *mask, uint32_t n, const struct tables *t, uint32_t (*hash_of)(const struct tables *, uint32_t))
{
	uint32_t *h, id, i, size;

	if (likely(*hash && (uint64_t)n * 2 < (uint64_t)*mask + 1))
		return 0;
	size = *hash ? (*mask + 1) * 2 : 1024;
	h = calloc(size, sizeof(*h));
	if (!h)
		return -ENOMEM;
	for (id = 1; id < n; id++) {
		for (i = hash_of(t, id) & (size - 1); h[i]; i = (i + 1) & (size - 1))
			;
		h[i] = id;
	}
	free(*hash);
	*hash = h;
	*mask = size - 1;
	return 0;
}

static uint32_t str_hash_of(const struct tables *t, uint32_t id)
{
	return hash_bytes(t->str[id].p, t->str[id].len);
}

static uint32_t frame_hash_of(const struct tables *t, uint32_t id)
{
	return hash_frame(&t->frame[id]);
}

static uint32_t stk_hash_of(const struct tables *t, uint32_t id)
{
	return hash_stack(t->stack_frames + t->stk[id].first, t->stk[id].n);
}

int64_t tables_str(struct tables *t, const char *p, size_t len)
{
	uint32_t i, id;
	char *copy;

	if (!len)
		return 0;
	if (rehash(&t->str_hash, &t->str_mask, t->nstr, t, str_hash_of) < 0)
		return -ENOMEM;
	for (i = hash_bytes(p, len) & t->str_mask; (id = t->str_hash[i]); i = (i + 1) & t->str_mask)
		if (t->str[id].len == len && !memcmp(t->str[id].p, p, len))
			return id;
	copy = arena_alloc(&t->text, len + 1);
	if (!copy || grow(&t->str, t->nstr, 1, &t->cap_str, sizeof(*t->str)) < 0)
		return -ENOMEM;
	memcpy(copy, p, len);
	copy[len] = '\0';
	id = t->nstr++;
	t->str[id] = (struct str) { copy, (uint32_t)len };
	t->str_hash[i] = id;
	return id;
}

uint32_t tables_find_str(const struct tables *t, const char *p, size_t len)
{
	uint32_t i, id;

	if (!len || !t->str_hash)
		return 0;
	for (i = hash_bytes(p, len) & t->str_mask; (id = t->str_hash[i]); i = (i + 1) & t->str_mask)
		if (t->str[id].len == len && !memcmp(t->str[id].p, p, len))
			return id;
	return 0;
}

int64_t tables_frame(struct tables *t, const struct gander_gotrace_frame *f)
{
	const struct gander_gotrace_frame *o;
	uint32_t i, id;

	if (rehash(&t->frame_hash, &t->frame_mask, t->nframe, t, frame_hash_of) < 0)
		return -ENOMEM;
	for (i = hash_frame(f) & t->frame_mask; (id = t->frame_hash[i]); i = (i + 1) & t->frame_mask) {
		o = &t->frame[id];
		if (o->pc == f->pc && o->line == f->line && o->func == f->func && o->file == f->file)
			return id;
	}
	if (grow(&t->frame, t->nframe, 1, &t->cap_frame, sizeof(*t->frame)) < 0)
		return -ENOMEM;
	id = t->nframe++;
	t->frame[id] = *f;
	t->frame_hash[i] = id;
	return id;
}

int64_t tables_stack(struct tables *t, const uint32_t *frames, unsigned n)
{
	uint32_t i, id;

	if (!n)
		return 0;
	if (rehash(&t->stk_hash, &t->stk_mask, t->nstk, t, stk_hash_of) < 0)
		return -ENOMEM;
	for (i = hash_stack(frames, n) & t->stk_mask; (id = t->stk_hash[i]); i = (i + 1) & t->stk_mask)
		if (t->stk[id].n == n && !memcmp(t->stack_frames + t->stk[id].first, frames, n * sizeof(*frames)))
			return id;
	if (grow(&t->stk, t->nstk, 1, &t->cap_stk, sizeof(*t->stk)) < 0 ||
	    grow(&t->stack_frames, t->nstack_frames, n, &t->cap_stack_frames, sizeof(*t->stack_frames)) < 0)
		return -ENOMEM;
	id = t->nstk++;
	t->stk[id] = (struct stk) { t->nstack_frames, n };
	memcpy(t->stack_frames + t->nstack_frames, frames, n * sizeof(*frames));
	t->nstack_frames += n;
	t->stk_hash[i] = id;
	return id;
}

int64_t tables_stw_name(struct tables *t, uint32_t kind)
{
	static const char head[] = "stop-the-world (";
	size_t n = sizeof(head) - 1, len = t->str[kind].len;
	char small[256], *text = small;
	int64_t id;

	if (n + len + 1 > sizeof(small)) {
		text = malloc(n + len + 1);
		if (!text)
			return -ENOMEM;
	}
	memcpy(text, head, n);
	memcpy(text + n, t->str[kind].p, len);
	text[n + len] = ')';
	id = tables_str(t, text, n + len + 1);
	if (text != small)
		free(text);
	return id;
}

int tables_init(struct tables *t)
{
	static const char *const fixed[STR_COUNT] = {
		[STR_METRIC_GOMAXPROCS] = "/sched/gomaxprocs:threads",
		[STR_METRIC_HEAP_ALLOC] = "/memory/classes/heap/objects:bytes",
		[STR_METRIC_HEAP_GOAL] = "/gc/heap/goal:bytes",
		[STR_RANGE_GC_MARK] = "GC concurrent mark phase",
		[STR_RANGE_SWEEP] = "GC incremental sweep",
		[STR_RANGE_MARK_ASSIST] = "GC mark assist",
		[STR_FOREVER] = "forever",
		[STR_PREEMPTED] = "preempted",
		[STR_GOSCHED] = "runtime.Gosched",
		[STR_SLEEP] = "sleep",
		[STR_CHAN_SEND] = "chan send",
		[STR_CHAN_RECV] = "chan receive",
		[STR_NETWORK] = "network",
		[STR_SYNC] = "sync",
		[STR_SYNC_COND] = "sync.(*Cond).Wait",
		[STR_SELECT] = "select",
		[STR_ASSIST_WAIT] = "GC mark assist wait for work",
	};
	int i;

	/* Slot 0 of each table is the empty one. */
	if (grow(&t->str, 0, 1, &t->cap_str, sizeof(*t->str)) < 0 || grow(&t->frame, 0, 1, &t->cap_frame, sizeof(*t->frame)) < 0 ||
	    grow(&t->stk, 0, 1, &t->cap_stk, sizeof(*t->stk)) < 0)
		return -ENOMEM;
	t->str[0] = (struct str) { "", 0 };
	memset(&t->frame[0], 0, sizeof(t->frame[0]));
	memset(&t->stk[0], 0, sizeof(t->stk[0]));
	t->nstr = t->nframe = t->nstk = 1;
	for (i = 1; i < STR_COUNT; i++)
		if (tables_str(t, fixed[i], strlen(fixed[i])) != i)
			return -ENOMEM;
	return 0;
}

void tables_done(struct tables *t)
{
	arena_done(&t->text);
	free(t->str);
	free(t->frame);
	free(t->stk);
	free(t->stack_frames);
	free(t->str_hash);
	free(t->frame_hash);
	free(t->stk_hash);
}
