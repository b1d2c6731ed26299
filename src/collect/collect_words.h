/* The shared words of a region, each loaded or stored once and in the order that region.h's table gives it. Private to the module. */
#ifndef GANDER_COLLECT_WORDS_H
#define GANDER_COLLECT_WORDS_H

#include "collect/collect_channel.h"

#define load_relaxed(p)     __atomic_load_n(p, __ATOMIC_RELAXED)
#define load_acquire(p)     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define load_seq_cst(p)     __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define store_seq_cst(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)

static inline uint64_t *bit_word(uint64_t *bits, uint32_t i)
{
	return &bits[i / 64];
}

static inline bool bit_get(uint64_t *bits, uint32_t i)
{
	return load_acquire(bit_word(bits, i)) >> (i % 64) & 1;
}

/* Clears the bit; false when it was not set. */
static inline bool bit_take(uint64_t *bits, uint32_t i)
{
	uint64_t bit = 1ull << (i % 64);

	return __atomic_fetch_and(bit_word(bits, i), ~bit, __ATOMIC_ACQ_REL) & bit; /* [FREE] */
}

static inline void bit_set(uint64_t *bits, uint32_t i)
{
	__atomic_fetch_or(bit_word(bits, i), 1ull << (i % 64), __ATOMIC_ACQ_REL); /* [FREE] */
}

static inline uint32_t bits_count(uint64_t *bits, uint32_t n)
{
	uint32_t i, total = 0;

	for (i = 0; i < (n + 63) / 64; i++)
		total += (uint32_t)__builtin_popcountll(load_relaxed(&bits[i]));
	return total;
}

/* A packet's header as it stands, the words that lead somewhere loaded once. */
struct packet_view {
	uint64_t lap, seq, first;
	uint32_t slot, channel, prev, next, epoch, off, count;
};

static inline struct packet_view packet_look(const struct region *r, uint32_t i)
{
	struct gd_packet *p = region_packet(r, i);
	struct packet_view v;
	uint64_t head;

	v.lap = load_acquire(&p->lap);
	head = load_acquire(&p->head); /* [HEAD] */
	v.off = GD_HEAD_OFF(head);
	v.count = GD_HEAD_COUNT(head);
	v.slot = load_relaxed(&p->slot);
	v.channel = load_relaxed(&p->channel);
	v.seq = load_relaxed(&p->seq);
	v.first = load_relaxed(&p->first);
	v.prev = load_relaxed(&p->prev);
	v.next = load_relaxed(&p->next);
	v.epoch = load_relaxed(&p->epoch);
	return v;
}

static inline bool packet_fits(const struct packet_view *v, unsigned slot, unsigned c)
{
	return !(v->lap & 1) && v->slot == slot && v->channel == c && v->seq && v->off >= GD_PACKET_HEADER && v->off <= GD_PACKET;
}

/* rules.c; the control lock is held */
void rules_begin(struct gd_control *k);
void rules_end(struct gd_control *k);
void rules_remove(struct gd_control *k, unsigned c);
void class_off(struct region *r, uint32_t i, unsigned c);
/* channel.c: memory for what is going to be written, so that a full tmpfs is an error here. */
int region_reserve(struct region *r, uint64_t off, uint64_t len, struct err *err);

#endif
