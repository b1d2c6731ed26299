#include "kernel/kernel_ring.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int ring_map(struct ring *r, int fd, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *map;

	memset(r, 0, sizeof(*r));
	r->straight = malloc(RING_RECORD_MAX);
	if (!r->straight)
		return -ENOMEM;
	map = mmap(NULL, page + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		free(r->straight);
		r->straight = NULL;
		return -errno;
	}
	r->page = map;
	r->data = (const uint8_t *)map + page;
	r->size = bytes;
	r->map_size = page + bytes;
	return 0;
}

void ring_unmap(struct ring *r)
{
	if (r->page)
		munmap(r->page, r->map_size);
	free(r->straight);
	memset(r, 0, sizeof(*r));
}

uint64_t ring_head(const struct ring *r)
{
	return __atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE);
}

void ring_release(struct ring *r)
{
	__atomic_store_n(&r->page->data_tail, r->tail, __ATOMIC_RELEASE);
}

/* `len` bytes at `at` in one piece. */
static const uint8_t *bytes_at(const struct ring *r, uint64_t at, size_t len)
{
	uint64_t from = at & (r->size - 1);
	size_t part;

	if (from + len <= r->size)
		return r->data + from;
	part = (size_t)(r->size - from);
	memcpy(r->straight, r->data + from, part);
	memcpy(r->straight + part, r->data, len - part);
	return r->straight;
}

/* sample_type is PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW: u32 pid, tid; u64 time; u32 size; bytes. */
static void read_sample(struct ring_record *ret, const uint8_t *p, size_t len)
{
	uint32_t size;

	ret->kind = RING_OTHER;
	if (len < 22)
		return;
	memcpy(&size, p + 16, 4);
	if (size < 2 || size > len - 20)
		return;
	memcpy(&ret->pid, p, 4);
	memcpy(&ret->tid, p + 4, 4);
	memcpy(&ret->time_ns, p + 8, 8);
	ret->raw = p + 20;
	ret->raw_len = size;
	memcpy(&ret->type, ret->raw, 2);
	ret->kind = RING_SAMPLE;
}

int ring_next(const struct ring *r, uint64_t *at, uint64_t head, struct ring_record *ret)
{
	struct perf_event_header h;
	const uint8_t *p;

	if (*at == head)
		return 0;
	if (head - *at > r->size || head - *at < sizeof(h))
		return -EPROTO;
	memcpy(&h, bytes_at(r, *at, sizeof(h)), sizeof(h));
	if (h.size < sizeof(h) || h.size % 8 || h.size > head - *at)
		return -EPROTO;
	p = bytes_at(r, *at, h.size) + sizeof(h);
	*at += h.size;
	memset(ret, 0, sizeof(*ret));
	ret->kind = RING_OTHER;
	if (h.type == PERF_RECORD_SAMPLE) {
		read_sample(ret, p, h.size - sizeof(h));
	} else if (h.type == PERF_RECORD_LOST && h.size >= sizeof(h) + 16) {
		ret->kind = RING_LOST;
		memcpy(&ret->lost, p + 8, 8);
	}
	return 1;
}
