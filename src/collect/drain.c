/* Reading packets: what is new in a channel, in order, without trusting a word of it. Chains are walked at most npackets steps. */
#include "collect/collect_words.h"

#include <string.h>
#include <unistd.h>

static void add_piece(struct channel *ch, unsigned s, uint32_t packet, struct packet_view *v, uint32_t off, uint32_t count,
		      bool whole, uint32_t min)
{
	struct slot_pos *pos = &ch->slot[s];
	const struct gd_packet *p = region_packet(ch->r, packet);
	struct piece *to = &ch->piece[ch->npieces];
	uint64_t word, last = load_relaxed(&p->last_time);
	struct packet_view again;
	int i;

	/* While the packet is being written, `last` may be of events behind the head that was seen; both belong together when the head
	 * is the same before and after. They share a cache line, so it takes a second try rarely, and a tenth never. */
	for (i = 0; !whole; i++) {
		again = packet_look(ch->r, packet);
		if (again.off == v->off && again.count == v->count)
			break;
		if (i == 100 || !packet_fits(&again, s, ch->c))
			return;
		*v = again;
		last = load_relaxed(&p->last_time);
	}
	if (ch->npieces == ch->piece_cap || v->off < off || v->count < count)
		return;
	if (!whole && (v->off == off || v->off - off < min))
		return;
	*to = (struct piece) { .slot = s, .packet = packet, .off = off, .len = v->off - off, .events = v->count - count, .whole = whole };
	if (to->len >= sizeof(word)) {
		memcpy(&word, (const uint8_t *)p + off, sizeof(word));
		to->begin = word >> 16 | load_relaxed(&p->time_high) << 48;
		to->end = last;
	}
	/* Times that go backwards cannot be written as a trace: the packet is damaged, or somebody else's. */
	if ((to->len && (!to->events || to->len < sizeof(word) || to->begin < pos->last_time || to->end < to->begin)) || (!to->len && to->events)) {
		pos->damaged += to->events;
		to->len = 0;
	} else if (to->len) {
		pos->last_time = to->end;
	}
	ch->npieces++;
}

static void plan_slot(struct channel *ch, unsigned s, bool partial, uint32_t min)
{
	struct region *r = ch->r;
	struct slot_pos *pos = &ch->slot[s];
	uint32_t list[GD_PACKETS_MAX], n = 0, cur, at, i;
	struct packet_view v;
	uint64_t seq = 0;
	bool found = false;

	cur = load_acquire(&region_channel(r, ch->c)->slot[s].cur); /* [SWAP] */
	if (!cur || cur > r->npackets)
		return;
	if (ch->dead)
		partial = true;
	for (at = cur; at && at <= r->npackets && n < r->npackets; at = v.prev) {
		v = packet_look(r, at - 1);
		if (!packet_fits(&v, s, ch->c) || (seq && v.seq + 1 != seq))
			break;
		seq = v.seq;
		if (pos->packet == at && pos->seq == seq) {
			found = true;
			break;
		}
		if (v.epoch != ch->epoch || (pos->packet && seq <= pos->seq))
			break;
		list[n++] = at - 1;
	}
	if (found) {
		v = packet_look(r, pos->packet - 1);
		add_piece(ch, s, pos->packet - 1, &v, pos->off, pos->count, n != 0, partial ? 1 : min);
	} else if (!n) {
		return;
	}
	for (i = n; i-- > 0;) {
		v = packet_look(r, list[i]);
		if (!packet_fits(&v, s, ch->c))
			return;
		add_piece(ch, s, list[i], &v, GD_PACKET_HEADER, 0, i != 0, partial ? 1 : min);
	}
}

void channel_losses(struct channel *ch)
{
	struct gd_channel *g = region_channel(ch->r, ch->c);
	unsigned s, k;

	for (s = 0; s < GD_SLOTS; s++) {
		struct slot_pos *pos = &ch->slot[s];
		uint64_t v;

		if (s >= ch->r->nslots && s != GD_SLOTS - 1)
			continue;
		for (k = 0; k < GD_LOST_REASONS; k++) {
			v = load_relaxed(&g->slot[s].lost[k]) - pos->lost_base[k];
			if ((int64_t)(v - pos->lost[k]) > 0) /* never backwards, whatever the region says */
				pos->lost[k] = v;
		}
		v = load_relaxed(&g->slot[s].lost_frozen) - pos->frozen_base;
		if ((int64_t)(v - pos->frozen) > 0)
			pos->frozen = v;
		v = load_relaxed(&g->slot[s].cut) - pos->cut_base;
		if ((int64_t)(v - pos->cut) > 0)
			pos->cut = v;
	}
}

uint64_t slot_lost(const struct slot_pos *pos)
{
	return pos->lost[GD_LOST_FULL] + pos->lost[GD_LOST_NESTED] + pos->lost[GD_LOST_SLOT] + pos->lost[GD_LOST_OTHER] +
	       pos->frozen + pos->overwritten + pos->damaged + pos->unwritten;
}

int channel_plan(struct channel *ch, bool partial, uint32_t min_partial)
{
	unsigned s;

	ch->npieces = 0;
	channel_losses(ch);
	for (s = 0; s < ch->r->nslots; s++)
		plan_slot(ch, s, partial, min_partial);
	for (s = 0; s < ch->npieces; s++)
		ch->piece[s].lost = slot_lost(&ch->slot[ch->piece[s].slot]);
	return (int)ch->npieces;
}

void channel_commit(struct channel *ch, unsigned from, unsigned n)
{
	struct gd_channel *g = region_channel(ch->r, ch->c);
	unsigned i;

	for (i = from; i < from + n; i++) {
		const struct piece *p = &ch->piece[i];
		struct slot_pos *pos = &ch->slot[p->slot];
		struct gd_packet *pk = region_packet(ch->r, p->packet);
		uint64_t first = load_relaxed(&pk->first), seq = load_relaxed(&pk->seq);
		bool same = pos->packet == p->packet + 1 && pos->seq == seq;
		uint32_t had = same ? pos->count : 0;

		/* the numbers tell what is missing between two packets */
		if (!same && first > pos->next_event && pos->next_event)
			pos->damaged += first - pos->next_event;
		pos->packet = p->packet + 1;
		pos->seq = seq;
		pos->off = (same ? pos->off : GD_PACKET_HEADER) + p->len;
		pos->count = had + p->events;
		pos->next_event = first + pos->count;
		pos->seen = true;
		if (p->len) {
			pos->events += p->events;
			pos->bytes += p->len;
		}
		if (p->whole && ch->held && !ch->dead && bit_get(g->granted, p->packet) && !bit_get(g->free, p->packet)) {
			store_relaxed(&pk->seq, 0);
			bit_set(g->free, p->packet);
		}
	}
}

unsigned channel_chain(const struct channel *ch, unsigned s, uint32_t list[GD_PACKETS_MAX], uint64_t *newest)
{
	const struct region *r = ch->r;
	const struct slot_pos *pos = &ch->slot[s];
	uint32_t at, n = 0, i, swap;
	struct packet_view v;
	uint64_t seq = 0;

	at = load_acquire(&region_channel(r, ch->c)->slot[s].cur); /* [SWAP] */
	for (; at && at <= r->npackets && n < r->npackets; at = v.prev) {
		v = packet_look(r, at - 1);
		if (!packet_fits(&v, s, ch->c) || (seq && v.seq + 1 != seq))
			break;
		seq = v.seq;
		if (v.epoch != ch->epoch && !(pos->packet == at && pos->seq == seq))
			break;
		if (!n)
			*newest = seq;
		list[n++] = at - 1;
		if (pos->packet == at && pos->seq == seq)
			break; /* it holds the recording's start */
	}
	for (i = 0; i < n / 2; i++) {
		swap = list[i];
		list[i] = list[n - 1 - i];
		list[n - 1 - i] = swap;
	}
	return n;
}

bool channel_hold(const struct channel *ch, unsigned s, uint32_t packet, uint64_t seq, struct packet_hold *h)
{
	struct gd_packet *p = region_packet(ch->r, packet);

	h->packet = packet;
	h->lap = load_acquire(&p->lap);   /* [LAP] */
	h->head = load_acquire(&p->head); /* [HEAD] */
	h->off = GD_HEAD_OFF(h->head);
	h->count = GD_HEAD_COUNT(h->head);
	h->first = load_relaxed(&p->first);
	h->last_time = load_relaxed(&p->last_time);
	h->time_high = load_relaxed(&p->time_high);
	return !(h->lap & 1) && h->off >= GD_PACKET_HEADER && h->off <= GD_PACKET && load_relaxed(&p->slot) == s && load_relaxed(&p->channel) == ch->c &&
	       load_relaxed(&p->seq) == seq && channel_holds(ch, h);
}

bool channel_holds(const struct channel *ch, const struct packet_hold *h)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return load_relaxed(&region_packet(ch->r, h->packet)->lap) == h->lap; /* [LAP] */
}

int channel_copy_packet(const struct channel *ch, unsigned s, uint32_t packet, uint64_t seq, uint8_t to[GD_PACKET])
{
	struct gd_packet *p = region_packet(ch->r, packet), *copy = (struct gd_packet *)to;
	uint64_t lap = load_acquire(&p->lap), head = load_acquire(&p->head); /* [LAP] [HEAD] */
	uint32_t off = GD_HEAD_OFF(head);

	if (lap & 1 || off < GD_PACKET_HEADER || off > GD_PACKET || load_relaxed(&p->seq) != seq)
		return -EAGAIN;
	if (pread(ch->r->fd, to, off, (off_t)packet_offset(packet)) != (ssize_t)off)
		return -EIO;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (load_relaxed(&p->lap) != lap) /* [LAP] */
		return -EAGAIN;
	copy->head = head;
	return copy->slot == s && copy->channel == ch->c && copy->seq == seq ? 0 : -EAGAIN;
}

uint64_t channel_last_time(const struct channel *ch)
{
	struct gd_channel *g = region_channel(ch->r, ch->c);
	uint64_t last = 0, t;
	uint32_t cur;
	unsigned s;

	for (s = 0; s < ch->r->nslots; s++) {
		cur = load_acquire(&g->slot[s].cur);
		if (!cur || cur > ch->r->npackets)
			continue;
		t = load_relaxed(&region_packet(ch->r, cur - 1)->last_time);
		last = t > last ? t : last;
	}
	return last;
}
