#include "timeline/kview_log.h"
#include "base/temp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_BYTES   (KLOG_BLOCK * sizeof(struct krec))
#define BUFFER_BLOCKS 1024u

int kstore_init(struct kstore *s, struct err *err)
{
	memset(s, 0, sizeof(*s));
	s->fd = temp_file(NULL);
	if (s->fd < 0)
		return err_set(err, s->fd, "cannot make a temporary file in $TMPDIR, /var/tmp or /tmp: %m");
	s->buffer = malloc(BUFFER_BLOCKS * BLOCK_BYTES);
	return s->buffer ? 0 : err_set(err, -ENOMEM, "out of memory");
}

void kstore_done(struct kstore *s)
{
	if (s->map)
		munmap((void *)s->map, s->nblocks * BLOCK_BYTES);
	free(s->buffer);
	if (s->fd >= 0)
		close(s->fd);
}

void klog_done(struct klog *l)
{
	free(l->block);
	free(l->tail);
}

static int write_buffer(struct kstore *s)
{
	int r = temp_write(s->fd, s->buffer, s->nbuffered * BLOCK_BYTES);

	if (r == 0)
		s->nbuffered = 0;
	return r;
}

static int block_full(struct kstore *s, struct klog *l)
{
	struct kblock *more;
	int r;

	if (l->nblocks == l->cap) {
		more = realloc(l->block, (l->cap * 2 + 4) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->block = more;
		l->cap = l->cap * 2 + 4;
	}
	if (s->nbuffered == BUFFER_BLOCKS) {
		r = write_buffer(s);
		if (r < 0)
			return r;
	}
	memcpy(s->buffer + (size_t)s->nbuffered++ * KLOG_BLOCK, l->tail, BLOCK_BYTES);
	l->block[l->nblocks++] = (struct kblock) { l->tail[0].when, s->nblocks++ };
	l->ntail = 0;
	return 0;
}

int klog_add(struct kstore *s, struct klog *l, int64_t time_ns, unsigned kind, uint32_t a, uint32_t b)
{
	uint64_t when = (uint64_t)(time_ns < 0 ? 0 : time_ns) << 4 | kind;
	const struct krec *last = NULL;
	int r;

	if (!l->tail) {
		l->tail = malloc(BLOCK_BYTES);
		if (!l->tail)
			return -ENOMEM;
	}
	if (l->ntail == KLOG_BLOCK) {
		last = &l->tail[KLOG_BLOCK - 1];
		if (when >> 4 < last->when >> 4)
			when = (last->when & ~15ull) | kind;
		r = block_full(s, l);
		if (r < 0)
			return r;
	} else if (l->ntail) {
		last = &l->tail[l->ntail - 1];
		if (when >> 4 < last->when >> 4)
			when = (last->when & ~15ull) | kind;
	}
	l->tail[l->ntail++] = (struct krec) { when, a, b };
	return 0;
}

int kstore_seal(struct kstore *s, struct err *err)
{
	void *map;
	int r = write_buffer(s);

	if (r < 0) {
		errno = -r;
		return err_set(err, r, "cannot write a temporary file: %m");
	}
	free(s->buffer);
	s->buffer = NULL;
	if (!s->nblocks)
		return 0;
	map = mmap(NULL, s->nblocks * BLOCK_BYTES, PROT_READ, MAP_SHARED, s->fd, 0);
	if (map == MAP_FAILED)
		return err_set(err, -errno, "cannot map a temporary file: %m");
	s->map = map;
	return 0;
}

uint64_t klog_find(const struct kstore *s, const struct klog *l, int64_t time_ns)
{
	uint64_t key = time_ns < 0 ? 0 : ((uint64_t)time_ns << 4 | 15), low, high, mid;
	const struct krec *in = l->tail;
	uint32_t base;

	if (time_ns < 0)
		return 0;
	if (!l->ntail || l->tail[0].when > key) {
		/* the last full block that begins not after it */
		for (low = 0, high = l->nblocks; low < high;) {
			mid = (low + high) / 2;
			if (l->block[mid].first_when <= key)
				low = mid + 1;
			else
				high = mid;
		}
		if (!low)
			return 0;
		base = (uint32_t)(low - 1);
		in = &s->map[l->block[base].number * KLOG_BLOCK];
		high = KLOG_BLOCK;
	} else {
		base = l->nblocks;
		high = l->ntail;
	}
	for (low = 0; low < high;) {
		mid = (low + high) / 2;
		if (in[mid].when <= key)
			low = mid + 1;
		else
			high = mid;
	}
	return (uint64_t)base * KLOG_BLOCK + low;
}
