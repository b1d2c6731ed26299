/* The collector's half of the protocols in docs/region.md: switching on, granting, giving back. Every value that comes out of the
 * mapping is loaded once and bounded before it leads anywhere. */
#include "collect/collect_clock.h"
#include "collect/collect_words.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEW_SLOT_PACKETS 8u             /* overwrite mode */
#define BORN_GRACE_NS    60000000000ull /* so long the collector of a recording may take to find a new region; programs that start wait as long */

uint32_t channel_free_packets(const struct channel *ch)
{
	return bits_count(region_channel(ch->r, ch->c)->free, ch->r->npackets);
}

/* Memory that nobody holds any more goes back to the system. */
static void packet_drop(struct region *r, struct gd_channel *g, uint32_t i)
{
	store_relaxed(&region_packet(r, i)->seq, 0); /* ends every chain that still names it */
	__atomic_fetch_and(bit_word(g->granted, i), ~(1ull << (i % 64)), __ATOMIC_ACQ_REL);
	fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)packet_offset(i), GD_PACKET);
}

/* Overwrite mode: takes the oldest packet of a slot, as a writer would. Index + 1, 0: none. */
static uint32_t pop_tail(struct region *r, struct gd_channel *g, unsigned s)
{
	uint32_t tries;

	for (tries = 0; tries < GD_TRIES; tries++) {            /* a region that somebody damages may change it for ever */
		uint64_t tail = load_acquire(&g->slot[s].tail); /* [TAIL] */
		uint32_t cur = load_acquire(&g->slot[s].cur), i = GD_TAIL_INDEX(tail), next;

		if (!tail || i >= r->npackets || i + 1 == cur)
			return 0;
		next = load_relaxed(&region_packet(r, i)->next);
		if (!next || next > r->npackets || load_acquire(&g->trigger) & GD_TRIGGER_FROZEN) /* [FREEZE] */
			return 0;
		if (__atomic_compare_exchange_n(&g->slot[s].tail, &tail, GD_TAIL(GD_TAIL_SEQ(tail) + 1, next - 1), false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) /* [TAIL] */
			return i + 1;
	}
	return 0;
}

/* Everything that can be won back: free packets, tails, and what a dead collector's chains still hold behind each cur. */
static void reclaim(struct region *r, unsigned c)
{
	struct gd_channel *g = region_channel(r, c);
	uint32_t i, steps;
	unsigned s;

	for (s = 0; s < r->nslots; s++) {
		uint32_t cur = load_acquire(&g->slot[s].cur), at;
		struct packet_view v;
		uint64_t seq;

		if (!cur || cur > r->npackets)
			continue;
		for (steps = 0; load_relaxed(&g->mode) == GD_MODE_OVERWRITE && steps < r->npackets; steps++) {
			i = pop_tail(r, g, s);
			if (!i)
				break;
			packet_drop(r, g, i - 1);
		}
		v = packet_look(r, cur - 1);
		for (steps = 0; load_relaxed(&g->mode) == GD_MODE_DISCARD && steps < r->npackets; steps++) {
			at = v.prev;
			seq = v.seq;
			if (!at || at > r->npackets || at == cur)
				break;
			v = packet_look(r, at - 1);
			if (!packet_fits(&v, s, c) || v.seq + 1 != seq || !bit_get(g->granted, at - 1) || bit_get(g->free, at - 1))
				break;
			packet_drop(r, g, at - 1);
		}
	}
	for (i = 0; i < r->npackets; i++)
		if (bit_get(g->free, i) && bit_take(g->free, i))
			packet_drop(r, g, i);
	/* the table of values: no writer looks at it any more once its classes are off */
	steps = load_relaxed(&g->keys_count);
	i = load_relaxed(&g->keys_first);
	store_relaxed(&g->keys_count, 0);
	for (; steps && i < r->npackets; steps--, i++)
		if (bit_get(g->granted, i) && !bit_get(g->free, i))
			packet_drop(r, g, i);
}

static void switch_off(struct region *r, unsigned c)
{
	struct gd_control *k = region_control(r);
	uint32_t i, n;

	rules_begin(k);
	rules_remove(k, c);
	rules_end(k);
	n = load_seq_cst(&((struct gd_header *)r->map)->class_count);
	for (i = 0; i < n && i < GD_CLASSES; i++)
		if (load_relaxed(&region_class(r, i)->state))
			class_off(r, i, c);
	store_release(&region_channel(r, c)->state, GD_CHANNEL_OFF);
}

/* A region that was born or forked into a recording waits for its collector. */
static bool is_expected(const struct region *r, const struct gd_channel *g)
{
	return !load_relaxed(&g->collector_pid) && clock_ns(CLOCK_MONOTONIC) - r->head.start.mono_ns < BORN_GRACE_NS;
}

void channel_clean_stale(struct region *r)
{
	unsigned c;

	for (c = 0; c < GD_CHANNELS; c++) {
		struct gd_channel *g = region_channel(r, c);

		if (load_relaxed(&g->state) != GD_CHANNEL_ON || is_expected(r, g) || !region_lock_channel(r, c))
			continue;
		if (region_lock_control(r) == 0) {
			switch_off(r, c);
			reclaim(r, c);
			region_unlock_control(r);
		}
		region_unlock_channel(r, c);
	}
}

int channel_of_session(const struct region *r, const uint8_t session[16])
{
	int c;

	for (c = 0; c < (int)GD_CHANNELS; c++) {
		struct gd_channel *g = region_channel(r, (unsigned)c);

		if (region_channel_on(r, (unsigned)c) && !memcmp(g->session, session, 16))
			return c;
	}
	return -1;
}

static int scratch(struct channel *ch, struct err *err)
{
	ch->piece_cap = ch->r->npackets + GD_SLOTS;
	ch->piece = calloc(ch->piece_cap, sizeof(*ch->piece));
	ch->setup = calloc(GD_CLASSES, 1);
	return ch->piece && ch->setup ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* Where reading starts: behind what is there, or for a channel that was born on at the first event. */
static void start_at(struct channel *ch, bool born)
{
	struct gd_channel *g = region_channel(ch->r, ch->c);
	unsigned s, k;

	for (s = 0; s < GD_SLOTS; s++) {
		struct slot_pos *pos = &ch->slot[s];
		uint32_t cur = load_acquire(&g->slot[s].cur);

		if (born)
			continue;
		for (k = 0; k < GD_LOST_REASONS; k++)
			pos->lost_base[k] = load_relaxed(&g->slot[s].lost[k]);
		pos->cut_base = load_relaxed(&g->slot[s].cut);
		pos->frozen_base = load_relaxed(&g->slot[s].lost_frozen);
		store_relaxed(&g->slot[s].tail, 0);
		if (cur && cur <= ch->r->npackets) {
			struct packet_view v = packet_look(ch->r, cur - 1);

			if (!packet_fits(&v, s, ch->c))
				continue;
			pos->packet = cur;
			pos->seq = v.seq;
			pos->off = v.off;
			pos->count = v.count;
			pos->base_event = pos->next_event = v.first + v.count;
		}
	}
}

/* Memory for what this recording writes to, so that a full tmpfs is an error here. */
int region_reserve(struct region *r, uint64_t off, uint64_t len, struct err *err)
{
	if (fallocate(r->fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) < 0)
		return err_set(err, -errno, errno == ENOSPC ? "the tmpfs of '%s' is full" : "cannot allocate memory in '%s': %m", r->path);
	return 0;
}

/* A channel whose last recording wrote the same context is best: an event that was begun then and ends now is still right. */
static int choose(struct region *r, uint32_t context)
{
	unsigned c, pass;

	for (pass = 0; pass < 2; pass++)
		for (c = 0; c < GD_CHANNELS; c++) {
			struct gd_channel *g = region_channel(r, c);

			if (!pass && load_relaxed(&g->epoch) && load_relaxed(&g->context) != context)
				continue;
			if (load_relaxed(&g->state) == GD_CHANNEL_ON || !region_lock_channel(r, c))
				continue;
			if (load_relaxed(&g->state) != GD_CHANNEL_ON)
				return (int)c;
			region_unlock_channel(r, c);
		}
	return -1;
}

int channel_open(struct channel *ch, struct region *r, const struct channel_setup *s, struct err *err)
{
	struct gd_channel *g;
	int c, res;

	memset(ch, 0, sizeof(*ch));
	ch->r = r;
	ch->mode = s->mode;
	ch->context = s->context;
	ch->max_packets = s->max_packets < r->npackets ? s->max_packets : r->npackets;
	ch->reserve = s->freezes ? ch->max_packets / 4 : 0;
	c = channel_of_session(r, s->session);
	if (c >= 0) {
		if (!region_lock_channel(r, (unsigned)c))
			return err_set(err, -EBUSY, "another gander has this recording of '%s' already", r->path);
		ch->c = (unsigned)c;
		ch->held = true;
		g = region_channel(r, ch->c);
		store_relaxed(&g->collector_pid, (uint32_t)getpid());
		ch->epoch = load_relaxed(&g->epoch);
		ch->context = load_relaxed(&g->context) & GD_CTX_ALL;
		ch->mode = load_relaxed(&g->mode);
		start_at(ch, true);
		ch->granted = bits_count(g->granted, r->npackets);
		return scratch(ch, err);
	}
	channel_clean_stale(r);
	res = region_lock_control(r);
	if (res < 0)
		return err_set(err, res, "the locks of '%s' are held by another process", r->path);
	region_unlock_control(r);
	res = region_reserve(r, GD_OFF_CONTROL, sizeof(struct gd_control), err);
	if (res < 0)
		return res;
	c = choose(r, s->context);
	if (c < 0)
		return err_set(err, -EBUSY, "%u recordings of this program are running already", GD_CHANNELS);
	ch->c = (unsigned)c;
	ch->held = true;
	g = region_channel(r, ch->c);
	res = region_reserve(r, GD_OFF_CHANNELS + ch->c * sizeof(struct gd_channel), sizeof(struct gd_channel), err);
	if (res < 0) {
		region_unlock_channel(r, ch->c);
		ch->held = false;
		return res;
	}
	store_relaxed(&g->mode, s->mode);
	store_relaxed(&g->context, s->context);
	store_relaxed(&g->stack_depth, s->stack_depth);
	store_relaxed(&g->block_ms, s->block_ms);
	store_relaxed(&g->keys_first, 0);
	store_relaxed(&g->keys_count, 0);
	store_relaxed(&g->trigger, 0);
	memcpy(g->session, s->session, 16);
	store_relaxed(&g->collector_pid, (uint32_t)getpid());
	ch->epoch = load_relaxed(&g->epoch) + 1;
	store_relaxed(&g->epoch, ch->epoch);
	ch->granted = bits_count(g->granted, r->npackets);
	start_at(ch, false);
	channel_balance(ch); /* sets the quota */
	res = scratch(ch, err);
	if (res == 0 && !channel_grant(ch, s->first_packets, 0)) {
		res = -ENOSPC;
		if (ch->no_memory)
			err_set(err, res, "the tmpfs of '%s' is full", r->path);
		else
			err_set(err, res, "all %u packets of '%s' are in use by other recordings", r->npackets, r->path);
	}
	if (res == 0)
		store_release(&g->state, GD_CHANNEL_ON);
	if (res == 0 && s->rules)
		res = channel_rules(ch, s->rules, err);
	if (res < 0)
		channel_close(ch);
	return res;
}

int channel_open_dead(struct channel *ch, struct region *r, unsigned c, struct err *err)
{
	struct gd_channel *g = region_channel(r, c);

	memset(ch, 0, sizeof(*ch));
	ch->r = r;
	ch->c = c;
	ch->dead = true;
	ch->epoch = load_relaxed(&g->epoch);
	ch->context = load_relaxed(&g->context) & GD_CTX_ALL;
	ch->mode = load_relaxed(&g->mode);
	return scratch(ch, err);
}

uint32_t channel_grant(struct channel *ch, uint32_t n, uint32_t leave)
{
	static const uint8_t zeros[GD_PACKET];
	struct gd_channel *g = region_channel(ch->r, ch->c);
	struct region *r = ch->r;
	uint32_t i, c, used, given = 0;

	if (ch->granted >= ch->max_packets || ch->no_memory || region_lock_control(r) < 0)
		return 0;
	if (n > ch->max_packets - ch->granted)
		n = ch->max_packets - ch->granted;
	for (c = 0, used = bits_count(region_control(r)->fly_granted, r->npackets); c < GD_CHANNELS; c++)
		used += bits_count(region_channel(r, c)->granted, r->npackets);
	leave = used + leave < r->npackets ? r->npackets - used - leave : 0;
	if (n > leave)
		n = leave;
	for (i = 0; i < r->npackets && given < n; i++) {
		for (c = 0; c < GD_CHANNELS; c++)
			if (bit_get(region_channel(r, c)->granted, i))
				break;
		if (c < GD_CHANNELS || bit_get(region_control(r)->fly_granted, i))
			continue;
		if (pwrite(r->fd, zeros, GD_PACKET, (off_t)packet_offset(i)) != GD_PACKET) {
			fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)packet_offset(i), GD_PACKET);
			ch->no_memory = true;
			break;
		}
		__atomic_fetch_or(bit_word(g->granted, i), 1ull << (i % 64), __ATOMIC_ACQ_REL);
		bit_set(g->free, i);
		given++;
	}
	ch->granted += given;
	region_unlock_control(r);
	return given;
}

int channel_grant_keys(struct channel *ch, uint32_t n, struct err *err)
{
	static const uint8_t zeros[GD_PACKET];
	struct gd_channel *g = region_channel(ch->r, ch->c);
	struct region *r = ch->r;
	uint32_t i, c, run = 0, first;
	int res;

	res = region_lock_control(r);
	if (res < 0)
		return err_set(err, res, "'%s' is locked by another process", r->path);
	/* from the end, where the packets that come and go are not */
	for (i = r->npackets; i-- > 0 && run < n;) {
		for (c = 0; c < GD_CHANNELS; c++)
			if (bit_get(region_channel(r, c)->granted, i))
				break;
		run = c < GD_CHANNELS || bit_get(region_control(r)->fly_granted, i) ? 0 : run + 1;
	}
	first = i + 1;
	if (run < n)
		res = err_set(err, -ENOSPC, "all %u packets of '%s' are in use by other recordings", r->npackets, r->path);
	for (i = first; i < first + n && res == 0; i++) {
		if (pwrite(r->fd, zeros, GD_PACKET, (off_t)packet_offset(i)) != GD_PACKET) {
			res = err_set(err, -ENOSPC, "the tmpfs of '%s' is full", r->path);
			break;
		}
		__atomic_fetch_or(bit_word(g->granted, i), 1ull << (i % 64), __ATOMIC_ACQ_REL);
	}
	if (res == 0) {
		store_relaxed(&g->keys_first, first);
		store_release(&g->keys_count, n);
	}
	region_unlock_control(r);
	return res;
}

static uint32_t chain_length(const struct region *r, const struct gd_channel *g, unsigned s)
{
	uint32_t cur = load_acquire(&g->slot[s].cur);
	uint64_t tail = load_acquire(&g->slot[s].tail), seq;

	if (!cur || cur > r->npackets)
		return 0;
	seq = load_relaxed(&region_packet(r, cur - 1)->seq);
	if (!tail || seq < GD_TAIL_SEQ(tail))
		return 1;
	return seq - GD_TAIL_SEQ(tail) < r->npackets ? (uint32_t)(seq - GD_TAIL_SEQ(tail)) + 1 : r->npackets;
}

void channel_balance(struct channel *ch)
{
	struct gd_channel *g = region_channel(ch->r, ch->c);
	uint32_t active = 0, quota, cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), spare, i;
	unsigned s, longest;

	if (ch->mode != GD_MODE_OVERWRITE || !ch->held)
		return;
	for (s = 0; s < ch->r->nslots; s++) {
		i = load_relaxed(&g->slot[s].cur);
		active += i && i <= ch->r->npackets && load_relaxed(&region_packet(ch->r, i - 1)->epoch) == ch->epoch;
	}
	if (cpus > ch->r->nslots)
		cpus = ch->r->nslots;
	/* Some packets stay out for each CPU that has had no event yet, with which a new slot lives until it gets its share; and two a slot, for those in hand. */
	quota = cpus > active ? (cpus - active) * NEW_SLOT_PACKETS : 0;
	quota = (ch->max_packets - ch->reserve - (quota > ch->max_packets / 2 ? ch->max_packets / 2 : quota)) / (active ? active : 1);
	quota = quota > 4 ? quota - 2 : 2;
	store_relaxed(&g->quota, quota);
	for (spare = 0; spare < 64 && channel_free_packets(ch) < (ch->reserve ? ch->reserve : 2); spare++) {
		uint32_t best = quota;

		for (s = 0, longest = GD_SLOTS; s < ch->r->nslots; s++) {
			uint32_t len = chain_length(ch->r, g, s);

			if (len > best) {
				best = len;
				longest = s;
			}
		}
		if (longest == GD_SLOTS)
			break;
		i = pop_tail(ch->r, g, longest);
		if (!i)
			break;
		store_relaxed(&region_packet(ch->r, i - 1)->seq, 0);
		bit_set(g->free, i - 1);
	}
}

uint64_t channel_trigger(const struct channel *ch)
{
	return load_acquire(&region_channel(ch->r, ch->c)->trigger); /* [FREEZE] */
}

uint64_t channel_trigger_time(const struct channel *ch, uint64_t trigger)
{
	uint64_t t = load_relaxed(&region_channel(ch->r, ch->c)->trigger_time);

	/* its writer may have died, or not come so far, before it had stored the whole of it */
	return GD_TRIGGER_TIME(t) == GD_TRIGGER_TIME(trigger) ? t : GD_TRIGGER_TIME(trigger);
}

uint64_t channel_set_trigger(struct channel *ch, uint64_t to)
{
	return __atomic_exchange_n(&region_channel(ch->r, ch->c)->trigger, to, __ATOMIC_ACQ_REL); /* [FREEZE] */
}

bool channel_done_with(struct channel *ch)
{
	unsigned c;

	store_release(&region_channel(ch->r, ch->c)->state, GD_CHANNEL_OFF);
	for (c = 0; c < GD_CHANNELS; c++) {
		struct gd_channel *g = region_channel(ch->r, c);

		if (load_relaxed(&g->state) == GD_CHANNEL_ON && (region_channel_held(ch->r, c) || is_expected(ch->r, g)))
			return false;
	}
	return true;
}

void channel_stop(struct channel *ch)
{
	struct gd_control *k = region_control(ch->r);
	uint32_t i, n;

	if (!ch->held || ch->dead || region_lock_control(ch->r) < 0)
		return;
	rules_begin(k);
	rules_remove(k, ch->c);
	rules_end(k);
	n = load_seq_cst(&((struct gd_header *)ch->r->map)->class_count);
	for (i = 0; i < n && i < GD_CLASSES; i++)
		if (load_relaxed(&region_class(ch->r, i)->state))
			class_off(ch->r, i, ch->c);
	region_unlock_control(ch->r);
}

void channel_close(struct channel *ch)
{
	if (ch->held) {
		if (!ch->dead && region_lock_control(ch->r) == 0) {
			switch_off(ch->r, ch->c);
			reclaim(ch->r, ch->c);
			region_unlock_control(ch->r);
		}
		region_unlock_channel(ch->r, ch->c);
	}
	free(ch->piece);
	free(ch->setup);
	ch->piece = NULL;
	ch->setup = NULL;
	ch->held = false;
}
