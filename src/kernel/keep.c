/* A block is mapped when it is needed and, but for one, given back when it is dropped: what is held follows what the period needs, up to the bound. */
#include "kernel/kernel_keep.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNED(n) (((n) + 7u) & ~(size_t)7)
#define ROOM       (KEEP_BLOCK - sizeof(struct keep_block))

static_assert(sizeof(struct keep_piece) % 8 == 0, "what follows is aligned");

int keep_init(struct keep *k, uint64_t bytes, uint64_t period_ns, unsigned ncpus)
{
	uint64_t blocks = bytes / KEEP_BLOCK;

	memset(k, 0, sizeof(*k));
	k->max_blocks = blocks < KEEP_BLOCKS_MIN ? KEEP_BLOCKS_MIN : blocks > UINT32_MAX ? UINT32_MAX
											 : (uint32_t)blocks;
	k->period_ns = period_ns;
	k->lost_before = calloc(ncpus ? ncpus : 1, sizeof(*k->lost_before));
	return k->lost_before ? 0 : -ENOMEM;
}

static void free_list(struct keep_block *b)
{
	struct keep_block *next;

	for (; b; b = next) {
		next = b->next;
		munmap(b, KEEP_BLOCK);
	}
}

void keep_done(struct keep *k)
{
	free_list(k->oldest);
	free_list(k->spare);
	free(k->lost_before);
	memset(k, 0, sizeof(*k));
}

void keep_first(const struct keep *k, struct keep_at *at)
{
	*at = (struct keep_at) { .block = k->oldest };
}

bool keep_next(struct keep_at *at)
{
	while (at->block && at->pos == at->block->used) {
		at->block = at->block->next;
		at->pos = 0;
	}
	if (!at->block)
		return false;
	at->piece = (struct keep_piece *)(at->block->data + at->pos);
	at->at = (const uint32_t *)(at->piece + 1);
	at->bytes = (const uint8_t *)(at->at + at->piece->n);
	at->pos += (uint32_t)ALIGNED(sizeof(*at->piece) + 4ul * at->piece->n + at->piece->len);
	return true;
}

uint64_t keep_time(const struct keep_at *at, uint32_t i)
{
	uint64_t head;

	/* all of a packet's events share the upper bits */
	memcpy(&head, at->bytes + at->at[i], sizeof(head));
	return head >> (64 - KEEP_TIME_BITS) | at->piece->begin_ns >> KEEP_TIME_BITS << KEEP_TIME_BITS;
}

uint32_t keep_from(const struct keep_at *at, uint64_t time_ns)
{
	uint32_t low = 0, high = at->piece->n, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (keep_time(at, mid) < time_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* How many of its events are older than what has been dropped. */
static uint32_t passed(const struct keep *k, const struct keep_at *at)
{
	return at->piece->begin_ns < k->begin_ns ? keep_from(at, k->begin_ns) : 0;
}

void keep_take(struct keep *k, const struct keep_at *at)
{
	if (at->piece->taken)
		return;
	at->piece->taken = true;
	k->dropped += passed(k, at);
}

uint64_t keep_overwritten(const struct keep *k)
{
	uint64_t n = k->dropped;
	struct keep_at at;

	for (keep_first(k, &at); keep_next(&at);)
		if (!at.piece->taken)
			n += passed(k, &at);
	return n;
}

static void drop_oldest(struct keep *k)
{
	struct keep_block *b = k->oldest;
	struct keep_at at = { .block = b };

	k->oldest = b->next;
	if (!k->oldest)
		k->newest = NULL;
	b->next = NULL;
	while (keep_next(&at)) {
		k->lost_before[at.piece->cpu] = at.piece->lost;
		if (at.piece->end_ns >= k->begin_ns)
			k->begin_ns = at.piece->end_ns + 1;
		if (at.piece->taken)
			continue;
		k->dropped += at.piece->n;
		k->dropped_bytes += at.piece->len;
	}
	if (k->spare) {
		munmap(b, KEEP_BLOCK);
		k->nblocks--;
	} else {
		k->spare = b;
	}
}

static struct keep_block *new_block(struct keep *k)
{
	struct keep_block *b;

	if (!k->spare && k->nblocks >= k->max_blocks)
		drop_oldest(k);
	b = k->spare;
	if (b) {
		k->spare = NULL;
	} else {
		b = mmap(NULL, KEEP_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (b == MAP_FAILED)
			return NULL;
		k->nblocks++;
	}
	b->next = NULL;
	b->used = 0;
	b->end_ns = 0;
	if (k->newest)
		k->newest->next = b;
	else
		k->oldest = b;
	k->newest = b;
	return b;
}

int keep_put(struct keep *k, const struct keep_piece *p, const struct keep_event *e, const uint8_t *bytes)
{
	size_t size = ALIGNED(sizeof(*p) + 4ul * p->n + p->len);
	struct keep_block *b;
	uint32_t *at, i;

	if (size > ROOM)
		return -EFBIG;
	while (k->period_ns && k->oldest && p->end_ns > k->period_ns && k->oldest->end_ns < p->end_ns - k->period_ns)
		drop_oldest(k);
	b = k->newest;
	if (!b || b->used + size > ROOM)
		b = new_block(k);
	if (!b)
		return -ENOMEM;
	memcpy(b->data + b->used, p, sizeof(*p));
	at = (uint32_t *)(b->data + b->used + sizeof(*p));
	for (i = 0; i < p->n; i++)
		at[i] = e[i].at - e[0].at;
	memcpy(at + p->n, bytes, p->len);
	b->used += (uint32_t)size;
	if (p->end_ns > b->end_ns)
		b->end_ns = p->end_ns;
	return 0;
}
