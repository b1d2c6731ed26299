/* The newest of the kernel's view, for a flight recorder: packets as they would go into the trace, of all CPUs behind each other in blocks of memory. Bounded in bytes and
 * in time; what is dropped is the oldest block. docs/kernel.md, "Flight recorder". One owner, no threads. */
#ifndef GANDER_KERNEL_KEEP_H
#define GANDER_KERNEL_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEEP_BLOCK      (512u << 10) /* holds the largest packet that there is, with its index */
#define KEEP_BLOCKS_MIN 4u
#define KEEP_TIME_BITS  48 /* of an event's head, its uppermost */

/* An event: where its bytes begin, in some buffer. */
struct keep_event {
	uint64_t time_ns;
	uint32_t at, len;
};

struct keep_piece {
	uint64_t begin_ns, end_ns; /* of its first and last event */
	uint64_t lost;             /* events of this CPU, up to here */
	uint32_t cpu, n, len;
	bool taken; /* it is in a trace */
};

struct keep_block {
	struct keep_block *next;
	uint64_t end_ns; /* the newest in it */
	uint32_t used;
	_Alignas(8) uint8_t data[];
};

struct keep {
	struct keep_block *oldest, *newest, *spare; /* spare: one, or NULL */
	uint32_t nblocks, max_blocks;               /* with the spare one */
	uint64_t period_ns;                         /* 0: as far as the bytes reach */
	uint64_t begin_ns;                          /* from here on nothing has been dropped, of any CPU */
	uint64_t dropped, dropped_bytes;            /* without those that are in a trace */
	uint64_t *lost_before;                      /* by CPU: the count up to where it begins */
};

int keep_init(struct keep *k, uint64_t bytes, uint64_t period_ns, unsigned ncpus); /* 0 or -ENOMEM */
void keep_done(struct keep *k);
/* Takes a copy: e[0 .. p->n) lie side by side, the first at `bytes`. Makes room for it. -EFBIG, -ENOMEM: it is not there. */
int keep_put(struct keep *k, const struct keep_piece *p, const struct keep_event *e, const uint8_t *bytes);

/* The pieces in the order in which they came: those of one CPU are in the order of time. Good until the next keep_put(). */
struct keep_at {
	struct keep_block *block;
	uint32_t pos;
	struct keep_piece *piece;
	const uint32_t *at; /* where each event begins in `bytes` */
	const uint8_t *bytes;
};
void keep_first(const struct keep *k, struct keep_at *at);
bool keep_next(struct keep_at *at); /* before the first too */
/* The time of its event i. */
uint64_t keep_time(const struct keep_at *at, uint32_t i);
/* The first of its events that is not before a time; n when there is none. */
uint32_t keep_from(const struct keep_at *at, uint64_t time_ns);

/* The piece is in a trace, from k->begin_ns on. */
void keep_take(struct keep *k, const struct keep_at *at);
/* Events that are in no trace and will be in none: dropped, or older than what has been dropped of another CPU. */
uint64_t keep_overwritten(const struct keep *k);

#endif
