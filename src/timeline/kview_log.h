/* Append-only logs of 16-byte records ordered by time, many of them in one unlinked file: a log is a list of blocks of KLOG_BLOCK records. Of the
 * blocks only the time of the first record and the number are in memory. */
#ifndef GANDER_TIMELINE_KVIEW_LOG_H
#define GANDER_TIMELINE_KVIEW_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define KLOG_BLOCK 64u

struct krec {
	uint64_t when; /* ns << 4 | kind */
	uint32_t a, b;
};

static inline int64_t krec_time(const struct krec *r)
{
	return (int64_t)(r->when >> 4);
}

static inline unsigned krec_kind(const struct krec *r)
{
	return r->when & 15;
}

struct kblock {
	uint64_t first_when;
	uint64_t number;
};

struct klog {
	struct kblock *block; /* full ones */
	uint32_t nblocks, cap, ntail;
	struct krec *tail; /* the one that is being filled, KLOG_BLOCK records */
};

struct kstore {
	int fd;
	uint64_t nblocks;
	struct krec *buffer; /* blocks on their way to the file */
	uint32_t nbuffered;
	const struct krec *map;
};

int kstore_init(struct kstore *s, struct err *err);
void kstore_done(struct kstore *s);
void klog_done(struct klog *l);
/* 0 or -Exxx. A time before the last one's is taken as that. */
int klog_add(struct kstore *s, struct klog *l, int64_t time_ns, unsigned kind, uint32_t a, uint32_t b);
/* All has been added: from now on records can be read. */
int kstore_seal(struct kstore *s, struct err *err);

static inline uint64_t klog_count(const struct klog *l)
{
	return (uint64_t)l->nblocks * KLOG_BLOCK + l->ntail;
}

static inline const struct krec *klog_get(const struct kstore *s, const struct klog *l, uint64_t i)
{
	return i / KLOG_BLOCK < l->nblocks ? &s->map[l->block[i / KLOG_BLOCK].number * KLOG_BLOCK + i % KLOG_BLOCK] : &l->tail[i % KLOG_BLOCK];
}

/* How many records are not after the time: the last of them, if any, holds at that time. */
uint64_t klog_find(const struct kstore *s, const struct klog *l, int64_t time_ns);

#endif
