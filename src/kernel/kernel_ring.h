/* The ring that the kernel fills with perf records, and the records themselves. Nothing that stands in the mapping is trusted beyond
 * its bounds: what is asked of a record is that it lies within what the kernel says it has written.
 *
 * The kernel's side publishes with data_head (release); ring_take() reads it with acquire and gives bytes back by storing data_tail with
 * release, after they have been read. One reader. */
#ifndef GANDER_KERNEL_RING_H
#define GANDER_KERNEL_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_RECORD_MAX 65536u /* u16 size */

struct perf_event_mmap_page;

struct ring {
	struct perf_event_mmap_page *page; /* NULL: bytes of a test, that `head` and `tail` are about */
	const uint8_t *data;
	uint64_t size; /* of data, a power of two */
	uint64_t tail; /* where the reader is */
	size_t map_size;
	uint8_t *straight; /* a record that goes round the end, RING_RECORD_MAX bytes */
};

enum ring_kind {
	RING_SAMPLE,
	RING_LOST,
	RING_OTHER,
};

struct ring_record {
	enum ring_kind kind;
	/* of a sample */
	uint32_t pid, tid;
	uint64_t time_ns;
	const uint8_t *raw; /* good until the next ring_next() */
	uint32_t raw_len;
	uint16_t type; /* the tracepoint's id, first of the raw bytes */
	/* of a loss */
	uint64_t lost;
};

int ring_map(struct ring *r, int fd, size_t bytes); /* bytes: a power of two. 0 or -Exxx */
void ring_unmap(struct ring *r);
uint64_t ring_head(const struct ring *r);
void ring_release(struct ring *r); /* all that was read may be overwritten */

/* The record at *at, which moves on. 1; 0: *at is at the head; -EPROTO: what stands there is no record, the rest up to head cannot be read. */
int ring_next(const struct ring *r, uint64_t *at, uint64_t head, struct ring_record *ret);

#endif
