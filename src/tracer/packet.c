/* Opening packets: what an event does when its slot has no packet, or none with room. docs/region.md, "Opening a packet", has the steps and the
 * proof; the numbers here are its numbers. Runs in the emitting thread, may be interrupted by a signal whose handler emits, and
 * may be killed anywhere. */
#include "tracer/seq.h"
#include "tracer/sys.h"
#include "tracer/tracer.h"

#include <time.h>

#define NO_PACKET UINT32_MAX

/* Adds one to a counter of a slot, given as that of slot 0. With sequences it is the slot that is this thread's at this instant: nobody else adds to it
 * then, and a plain add will do, for an event that is lost is not to cost more than one that is written. Who has no slot is counted in the one word that
 * is never added to in this way. */
static void count_lost(unsigned c, uint64_t *counter, uint32_t slot)
{
	struct gd_slot *s = tracer_channel(c)->slot;

#if TRACER_HAS_SEQUENCES
	if (LIKELY(gander__t.sequences)) {
		char *tp = __builtin_thread_pointer();

		if (LIKELY(seq_add(tp + gander__t.rseq_off, tp + gander__t.slot_off, counter)))
			return;
		slot = GD_SLOTS;
	}
#endif
	if (UNLIKELY(slot >= GD_SLOTS))
		counter = &s[GD_SLOTS - 1].lost[GD_LOST_SLOT];
	else
		counter = (uint64_t *)((char *)counter + slot * sizeof(*s));
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

void tracer_lose(unsigned c, uint32_t slot, unsigned reason)
{
	count_lost(c, &tracer_channel(c)->slot->lost[reason], slot);
}

static bool is_frozen(const struct gd_channel *ch)
{
	return __atomic_load_n(&ch->trigger, __ATOMIC_ACQUIRE) & GD_TRIGGER_FROZEN; /* [FREEZE] */
}

/* The event that it is about is published already: who sees the freeze sees the event. */
void tracer_trigger(unsigned c, uint32_t id, uint32_t number)
{
	struct gd_channel *ch = tracer_channel(c);
	uint64_t armed = 0, now;

	if (__atomic_load_n(&ch->trigger, __ATOMIC_RELAXED))
		return; /* frozen already, or off: nothing is written, however often it holds */
	now = tracer_counter();
	if (__atomic_compare_exchange_n(&ch->trigger, &armed, GD_TRIGGER(now, id, number), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) /* [FREEZE] */
		__atomic_store_n(&ch->trigger_time, now, __ATOMIC_RELAXED);
}

uint32_t tracer_slot_now(void)
{
	if (gander__t.sequences)
		return *(volatile uint32_t *)((char *)__builtin_thread_pointer() + gander__t.slot_off);
	/* threads' control blocks lie a stack apart, and the product's upper bits spread them */
	return (uint32_t)(((uint64_t)(uintptr_t)__builtin_thread_pointer() >> 6) * 0x9e3779b97f4a7c15ull >> (64 - TRACER_POOL_SHIFT));
}

/* 1, from the free ones. The search begins at another word for each slot, so that slots rarely meet. */
static uint32_t take_free(struct gd_channel *ch, uint32_t slot)
{
	uint32_t words = (gander__t.npackets + 63) / 64, i, w, bit, tries = 0;
	uint64_t v;

	if (!tracer_any_free(ch))
		return NO_PACKET;
	w = slot * 7 % words;
	for (i = 0; i < words; i++, w = w + 1 < words ? w + 1 : 0) {
		v = __atomic_load_n(&ch->free[w], __ATOMIC_RELAXED);
		while (v && tries++ < GD_TRIES) {
			bit = (uint32_t)__builtin_ctzll(v);
			if (w * 64 + bit >= gander__t.npackets)
				break;
			/* [FREE] acq_rel: what the giver did to the packet is before what we do */
			if (__atomic_compare_exchange_n(&ch->free[w], &v, v & ~(1ull << bit), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				return w * 64 + bit;
		}
	}
	return NO_PACKET;
}

static void give_free(struct gd_channel *ch, uint32_t index)
{
	/* [FREE] acq_rel */
	__atomic_fetch_or(&ch->free[index / 64], 1ull << (index % 64), __ATOMIC_ACQ_REL);
}

/* 1, overwrite mode: the slot's own oldest. `cur` is read behind `tail`, each time: if the tail's packet is not current then, and the
 * exchange finds the tail unchanged, the slot has moved on from it for good, and its `next` is what it will ever be. With a `cur` from
 * before, the current packet itself could be taken, by the `next` that an aborted swap has left in it. */
static uint32_t pop_oldest(const struct gd_channel *ch, struct gd_slot *s)
{
	uint64_t tail = __atomic_load_n(&s->tail, __ATOMIC_ACQUIRE); /* [TAIL] */
	uint32_t tries, index, next;

	for (tries = 0; tries < 64; tries++) {
		index = GD_TAIL_INDEX(tail);
		if (!tail || index >= gander__t.npackets || index + 1 == __atomic_load_n(&s->cur, __ATOMIC_ACQUIRE)) /* [SWAP] */
			return NO_PACKET;
		next = __atomic_load_n(&tracer_packet(index)->next, __ATOMIC_RELAXED);
		if (!next || next > gander__t.npackets)
			return NO_PACKET;
		/* behind the tail: who finds it frozen here takes nothing, who did not has looked before the freeze */
		if (is_frozen(ch))
			return NO_PACKET;
		/* [TAIL] acq_rel: its seq makes the word unlike any earlier one */
		if (__atomic_compare_exchange_n(&s->tail, &tail, GD_TAIL(GD_TAIL_SEQ(tail) + 1, next - 1), false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return index;
	}
	return NO_PACKET;
}

/* How many packets a slot holds; 0: none, or it is just changing. */
static uint64_t chain_length(const struct gd_slot *s)
{
	uint64_t tail = __atomic_load_n(&s->tail, __ATOMIC_ACQUIRE), len; /* [TAIL] */
	uint32_t cur = __atomic_load_n(&s->cur, __ATOMIC_ACQUIRE);        /* [SWAP] */

	if (!tail || cur - 1 >= gander__t.npackets)
		return 0;
	len = __atomic_load_n(&tracer_packet(cur - 1)->seq, __ATOMIC_RELAXED) - GD_TAIL_SEQ(tail) + 1;
	return len <= gander__t.npackets ? len : 0;
}

/* 1, overwrite mode: a slot that has nothing of its own to overwrite takes the oldest packet of the slot that holds most. A pop asks for
 * nothing that only the slot's own threads have. */
static uint32_t pop_from_longest(struct gd_channel *ch)
{
	uint32_t tries, index, i;

	for (tries = 0; tries < 4 && !is_frozen(ch); tries++) {
		struct gd_slot *longest = NULL;
		uint64_t most = 1, len;

		for (i = 0; i < gander__t.nslots; i++) {
			len = chain_length(&ch->slot[i]);
			if (len > most) {
				most = len;
				longest = &ch->slot[i];
			}
		}
		if (!longest)
			return NO_PACKET;
		index = pop_oldest(ch, longest);
		if (index != NO_PACKET)
			return index;
	}
	return NO_PACKET;
}

/* A frozen ring gives its spare packets to any slot, and nothing that holds events. */
static uint32_t take(struct gd_channel *ch, uint32_t slot, uint32_t cur)
{
	struct gd_slot *s = &ch->slot[slot];
	uint32_t index;
	uint64_t tail;

	if (__atomic_load_n(&ch->mode, __ATOMIC_RELAXED) != GD_MODE_OVERWRITE)
		return take_free(ch, slot);
	tail = __atomic_load_n(&s->tail, __ATOMIC_ACQUIRE); /* [TAIL] */
	if (!tail || cur - 1 >= gander__t.npackets || tracer_packet(cur - 1)->seq - GD_TAIL_SEQ(tail) + 1 < ch->quota || is_frozen(ch)) {
		index = take_free(ch, slot);
		if (index != NO_PACKET)
			return index;
	}
	index = pop_oldest(ch, s);
	return index != NO_PACKET ? index : pop_from_longest(ch);
}

/* 3. Nobody else may look inside: lap is odd from the first changed byte to the last. */
static void open_packet(struct gd_channel *ch, unsigned c, uint32_t slot, struct gd_packet *p)
{
	uint64_t lap = __atomic_load_n(&p->lap, __ATOMIC_RELAXED) | 1;
	const volatile char *page;
	unsigned i;

	/* [LAP] an exchange, not a store: none of the stores below may be seen before it */
	__atomic_exchange_n(&p->lap, lap, __ATOMIC_ACQ_REL);
	p->head = GD_HEAD(0, GD_PACKET_HEADER);
	p->slot = slot;
	p->channel = c;
	p->epoch = ch->epoch;
	/* who has lost the race for this packet may still look at these two (pop_oldest, chain_length) */
	__atomic_store_n(&p->seq, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&p->next, 0, __ATOMIC_RELAXED);
	tracer_sample(&p->open);
	p->last_time = p->open.counter;
	p->time_high = p->open.counter >> 48;
	/* The kernel maps sixteen pages around a read fault, so this is one fault for the whole packet; a store would be a fault a page. */
	for (page = (char *)p, i = 0; i < GD_PACKET / GD_PAGE; i++)
		(void)page[i * GD_PAGE];
	if (__atomic_load_n(&ch->mode, __ATOMIC_RELAXED) == GD_MODE_COUNT)
		__builtin_memset((char *)p + GD_PACKET_HEADER, 0, 8 * GD_COUNTERS);
	__atomic_store_n(&p->lap, lap + 1, __ATOMIC_RELEASE); /* [LAP] */
}

static bool swap(uint32_t slot, struct gd_slot *s, uint32_t seen_cur, uint32_t index, bool overwrite)
{
	struct gd_packet *old = seen_cur - 1 < gander__t.npackets ? tracer_packet(seen_cur - 1) : NULL, *p = tracer_packet(index);

#if TRACER_HAS_SEQUENCES
	if (gander__t.sequences) {
		char *tp = __builtin_thread_pointer();

		return seq_swap(tp + gander__t.rseq_off, tp + gander__t.slot_off, slot, s, seen_cur, index + 1, old, p, overwrite);
	}
#endif
	/* The slot is ours (slot.owner). */
	if (__atomic_load_n(&s->cur, __ATOMIC_RELAXED) != seen_cur)
		return false;
	if (old) {
		p->first = old->first + GD_HEAD_COUNT(old->head);
		if (old->last_time > p->last_time)
			p->last_time = old->last_time;
		p->prev = seen_cur;
		__atomic_store_n(&old->next, index + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&p->seq, old->seq + 1, __ATOMIC_RELAXED);
		if (overwrite && !__atomic_load_n(&s->tail, __ATOMIC_RELAXED))
			__atomic_store_n(&s->tail, GD_TAIL(old->seq, seen_cur - 1), __ATOMIC_RELEASE); /* [TAIL] */
	} else {
		__atomic_store_n(&p->seq, 1, __ATOMIC_RELAXED);
		p->first = 0;
		p->prev = 0;
	}
	__atomic_store_n(&s->cur, index + 1, __ATOMIC_RELEASE); /* [SWAP] */
	return true;
}

static bool has_room(struct gd_channel *ch, uint32_t cur, uint32_t need, bool count)
{
	struct gd_packet *p;

	if (cur - 1 >= gander__t.npackets)
		return false;
	p = tracer_packet(cur - 1);
	if (count)
		return p->epoch == ch->epoch;
	return (GD_HEAD_OFF(__atomic_load_n(&p->head, __ATOMIC_RELAXED)) & 0xffff) + need <= GD_PACKET_LIMIT && p->time_high == tracer_counter() >> 48;
}

/* --block: the recording asked to wait rather than lose. */
static __attribute__((noinline)) bool wait_for_room(const struct gd_channel *ch, uint32_t waited)
{
	const struct timespec millisecond = { 0, 1000000 };

	if (waited >= GD_BLOCK_MAX || waited >= __atomic_load_n(&ch->block_ms, __ATOMIC_RELAXED))
		return false;
	sys(SYS_nanosleep, &millisecond, NULL);
	return true;
}

int tracer_refill(unsigned c, uint32_t slot, uint32_t need, bool owned, bool count)
{
	struct gd_channel *ch = tracer_channel(c);
	uint32_t cur, index, waited;
	struct gd_slot *s;

	if (slot >= GD_SLOTS) {
		tracer_lose(c, slot, GD_LOST_SLOT);
		return -1;
	}
	s = &ch->slot[slot];
	for (waited = 0;; waited++) {
		cur = __atomic_load_n(&s->cur, __ATOMIC_ACQUIRE); /* [SWAP] */
		if (has_room(ch, cur, need, count))
			return 0; /* somebody else has been here */
		index = take(ch, slot, cur);
		if (LIKELY(index != NO_PACKET))
			break;
		if (LIKELY(!__atomic_load_n(&ch->block_ms, __ATOMIC_RELAXED)) || !wait_for_room(ch, waited)) {
			if (ch->mode == GD_MODE_OVERWRITE && is_frozen(ch))
				count_lost(c, &ch->slot->lost_frozen, slot);
			else
				tracer_lose(c, slot, GD_LOST_FULL);
			return -1;
		}
		/* with slots that are owned only the owner waits */
		if (!owned && tracer_slot_now() != slot)
			return 0;
	}
	open_packet(ch, c, slot, tracer_packet(index));
	if (!swap(slot, s, cur, index, __atomic_load_n(&ch->mode, __ATOMIC_RELAXED) == GD_MODE_OVERWRITE))
		give_free(ch, index); /* 5 */
	return 0;
}
