/* The collector's half of the protocols in docs/region.md: switching on, granting, reading, giving back. Every value that
 * comes out of the mapping is loaded once and bounded before it leads anywhere; chains are walked at most npackets steps. */
#include "collect/collect_channel.h"
#include "collect/collect_clock.h"
#include "region/glob.h"
#include "region/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILTER_LINKED_CAP GD_FILTER_LINKED_MAX
#define BORN_GRACE_NS     10000000000ull /* so long the collector of `record -- CMD` may take to find a new region */

#define load_relaxed(p)     __atomic_load_n(p, __ATOMIC_RELAXED)
#define load_acquire(p)     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define load_seq_cst(p)     __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define store_seq_cst(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)

int rule_check_glob(const char *glob, struct err *err)
{
	size_t i, len = strlen(glob);
	const char *what = NULL;

	if (!len)
		return err_set(err, -EINVAL, "an empty pattern matches no event");
	if (len >= sizeof(((struct gd_rule *)0)->glob))
		return err_set(err, -EINVAL, "the pattern '%.40s...' is longer than %zu characters", glob,
			       sizeof(((struct gd_rule *)0)->glob) - 1);
	for (i = 0; i < len && !what; i++) {
		if (glob[i] == '\\') {
			if (i + 1 == len)
				what = "a backslash at the end";
			else
				i++;
		} else if (glob[i] == '[') {
			size_t k = i + 1;

			if (glob[k] == '!' || glob[k] == '^')
				k++;
			if (glob[k] == ']')
				k++;
			while (k < len && glob[k] != ']')
				k++;
			if (k >= len)
				what = "an unclosed [";
			else
				i = k;
		} else if ((unsigned char)glob[i] < 0x20) {
			what = "a control character";
		}
		if (what)
			return err_set(err, -EINVAL, "bad pattern, column %zu: %s\n  %s\n  %*s^", i + 1, what, glob, (int)i, "");
	}
	return 0;
}

int rule_add(struct rule_list *l, const char *glob, bool exclude, int level, struct err *err)
{
	int res = rule_check_glob(glob, err);

	if (res < 0)
		return res;
	if (l->n == RULE_LIST_MAX)
		return err_set(err, -ENOSPC, "more than %d patterns", RULE_LIST_MAX);
	l->v[l->n] = (struct rule){ .exclude = exclude, .level = level < 0 ? 255 : (uint8_t)level };
	memcpy(l->v[l->n++].glob, glob, strlen(glob) + 1);
	return 0;
}

int rule_for(const struct rule_list *l, const char *name, unsigned level)
{
	size_t len = strlen(name);
	int found = -1;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		const struct rule *u = &l->v[i];

		if (!gd_glob_match(u->glob, strlen(u->glob), name, len))
			continue;
		if (u->exclude)
			return -1;
		if (u->level == 255 || level <= u->level)
			found = (int)i;
	}
	return found;
}

static uint64_t *bit_word(uint64_t *bits, uint32_t i)
{
	return &bits[i / 64];
}

static bool bit_get(uint64_t *bits, uint32_t i)
{
	return load_acquire(bit_word(bits, i)) >> (i % 64) & 1;
}

/* Clears the bit; false when it was not set. */
static bool bit_take(uint64_t *bits, uint32_t i)
{
	uint64_t bit = 1ull << (i % 64);

	return __atomic_fetch_and(bit_word(bits, i), ~bit, __ATOMIC_ACQ_REL) & bit; /* [FREE] */
}

static void bit_set(uint64_t *bits, uint32_t i)
{
	__atomic_fetch_or(bit_word(bits, i), 1ull << (i % 64), __ATOMIC_ACQ_REL); /* [FREE] */
}

static uint32_t bits_count(uint64_t *bits, uint32_t n)
{
	uint32_t i, total = 0;

	for (i = 0; i < (n + 63) / 64; i++)
		total += (uint32_t)__builtin_popcountll(load_relaxed(&bits[i]));
	return total;
}

uint32_t channel_free_packets(const struct channel *ch)
{
	return bits_count(region_channel(ch->r, ch->c)->free, ch->r->npackets);
}

/* A packet's header as it stands, the words that lead somewhere loaded once. */
struct packet_view {
	uint64_t lap, seq, first;
	uint32_t slot, channel, prev, next, epoch, off, count;
};

static struct packet_view packet_look(const struct region *r, uint32_t i)
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

static bool packet_fits(const struct packet_view *v, unsigned slot, unsigned c)
{
	return !(v->lap & 1) && v->slot == slot && v->channel == c && v->seq && v->off >= GD_PACKET_HEADER && v->off <= GD_PACKET;
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
	for (;;) {
		uint64_t tail = load_acquire(&g->slot[s].tail); /* [TAIL] */
		uint32_t cur = load_acquire(&g->slot[s].cur), i = GD_TAIL_INDEX(tail), next;

		if (!tail || i >= r->npackets || i + 1 == cur)
			return 0;
		next = load_relaxed(&region_packet(r, i)->next);
		if (!next || next > r->npackets)
			return 0;
		if (__atomic_compare_exchange_n(&g->slot[s].tail, &tail, GD_TAIL(GD_TAIL_SEQ(tail) + 1, next - 1), false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) /* [TAIL] */
			return i + 1;
	}
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

static void rules_begin(struct gd_control *k)
{
	store_seq_cst(&k->gen, load_seq_cst(&k->gen) | 1); /* [RULE] also over what a killed one left odd */
}

static void rules_end(struct gd_control *k)
{
	store_seq_cst(&k->gen, load_seq_cst(&k->gen) + 1); /* [RULE] */
}

static void rules_remove(struct gd_control *k, unsigned c)
{
	uint32_t i, n = load_relaxed(&k->nrules);

	for (i = 0; i < n && i < GD_RULES; i++)
		if (k->rules[i].used && k->rules[i].channel == c)
			store_relaxed(&k->rules[i].used, 0);
}

static void class_off(struct region *r, uint32_t i, unsigned c)
{
	__atomic_fetch_and(&region_class(r, i)->enabled, ~(GD_ENABLED(c) | GD_FILTERED(c) | GD_COUNTING(c)), __ATOMIC_SEQ_CST);
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

/* A region that was born recorded waits for its collector. */
static bool is_expected(const struct region *r, const struct gd_channel *g)
{
	return (r->head.flags & (GD_FLAG_BORN | GD_FLAG_FORKED)) && clock_ns(CLOCK_MONOTONIC) - r->head.start.mono_ns < BORN_GRACE_NS;
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

		if (load_relaxed(&g->state) == GD_CHANNEL_ON && !memcmp(g->session, session, 16))
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
static int reserve(struct region *r, uint64_t off, uint64_t len, struct err *err)
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
	res = reserve(r, GD_OFF_CONTROL, sizeof(struct gd_control), err);
	if (res < 0)
		return res;
	c = choose(r, s->context);
	if (c < 0)
		return err_set(err, -EBUSY, "%u recordings of this program are running already", GD_CHANNELS);
	ch->c = (unsigned)c;
	ch->held = true;
	g = region_channel(r, ch->c);
	res = reserve(r, GD_OFF_CHANNELS + ch->c * sizeof(struct gd_channel), sizeof(struct gd_channel), err);
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
	for (c = 0, used = 0; c < GD_CHANNELS; c++)
		used += bits_count(region_channel(r, c)->granted, r->npackets);
	leave = used + leave < r->npackets ? r->npackets - used - leave : 0;
	if (n > leave)
		n = leave;
	for (i = 0; i < r->npackets && given < n; i++) {
		for (c = 0; c < GD_CHANNELS; c++)
			if (bit_get(region_channel(r, c)->granted, i))
				break;
		if (c < GD_CHANNELS)
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
		run = c < GD_CHANNELS ? 0 : run + 1;
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

/* Appends to the part that holds filters for ever, or finds the same bytes at one of the offsets that are in use: every
 * `stride`-th byte from `have` on holds one. Offset in the file, 0: no room. */
static uint32_t filter_place(struct region *r, const void *bytes, uint32_t len, const uint32_t *have, unsigned n, size_t stride)
{
	struct gd_control *k = region_control(r);
	uint32_t used = load_relaxed(&k->filters_used), room = (len + 7) & ~7u, off;
	unsigned i;

	for (i = 0; i < n; i++) {
		off = load_relaxed((const uint32_t *)((const char *)have + i * stride));
		if (off >= GD_OFF_FILTERS && !(off & 7) && off <= GD_OFF_HEAP - room && !memcmp(r->map + off, bytes, len))
			return off;
	}
	used = (used + 7) & ~7u;
	if (used > GD_FILTERS_SIZE || room > GD_FILTERS_SIZE - used)
		return 0;
	off = GD_OFF_FILTERS + used;
	if (reserve(r, off, room, NULL) < 0)
		return 0;
	memcpy(r->map + off, bytes, len);
	store_release(&k->filters_used, used + room);
	return off;
}

/* What a rule means for one class; with apply it becomes so. */
static enum class_setup class_apply(struct channel *ch, uint32_t i, const struct rule_list *rules, bool apply)
{
	static uint64_t linked[FILTER_LINKED_CAP / 8];
	struct rclass *cl = ch->r->cls[i];
	struct gd_class *g = region_class(ch->r, i);
	int u = rule_for(rules, cl->name, cl->level), len;
	const struct rule *rule = u < 0 ? NULL : &rules->v[u];
	uint32_t bits, off = 0;

	if (!rule) {
		if (apply)
			class_off(ch->r, i, ch->c);
		return SETUP_NONE;
	}
	if (rule->filter) {
		len = gd_filter_link(rule->filter, rule->filter_len, cl->desc, cl->desc_len, linked, sizeof(linked));
		if (len > 0 && apply)
			off = filter_place(ch->r, linked, (uint32_t)len, g->filter, GD_CHANNELS, sizeof(*g->filter));
		if (len <= 0 || (apply && !off)) {
			if (apply)
				class_off(ch->r, i, ch->c);
			return len == -ENOENT ? SETUP_NO_FIELD : len == -EINVAL ? SETUP_FILTER_TYPE : SETUP_NO_ROOM;
		}
	}
	if (!apply)
		return SETUP_ON;
	bits = GD_ENABLED(ch->c) | (off ? GD_FILTERED(ch->c) : 0) | (rule->count ? GD_COUNTING(ch->c) : 0);
	if (off)
		store_release(&g->filter[ch->c], off);
	__atomic_fetch_or(&g->enabled, bits, __ATOMIC_SEQ_CST); /* [ENABLE] */
	__atomic_fetch_and(&g->enabled, ~((GD_ENABLED(ch->c) | GD_FILTERED(ch->c) | GD_COUNTING(ch->c)) & ~bits), __ATOMIC_SEQ_CST);
	if (!off)
		store_relaxed(&g->filter[ch->c], 0);
	return SETUP_ON;
}

void channel_class_states(struct channel *ch, const struct rule_list *rules)
{
	uint32_t i;

	for (i = 0; i < ch->r->nclasses; i++)
		if (ch->r->cls[i]->state == RCLASS_OK)
			ch->setup[i] = (uint8_t)class_apply(ch, i, rules, false);
}

int channel_rules(struct channel *ch, const struct rule_list *rules, struct err *err)
{
	struct gd_control *k = region_control(ch->r);
	uint32_t i, at = 0, off;
	int res;

	res = region_lock_control(ch->r);
	if (res < 0)
		return err_set(err, res, "the rules of '%s' are locked by another process", ch->r->path);
	rules_begin(k);
	rules_remove(k, ch->c);
	for (i = 0; i < rules->n && res == 0; i++) {
		const struct rule *u = &rules->v[i];
		struct gd_rule *to;

		while (at < GD_RULES && k->rules[at].used)
			at++;
		off = u->filter ? filter_place(ch->r, u->filter, u->filter_len, &k->rules[0].filter, GD_RULES, sizeof(*k->rules)) : 0;
		if (at == GD_RULES || (u->filter && !off)) {
			res = err_set(err, -ENOSPC, "no room for more %s in '%s'", off ? "patterns" : "filters", ch->r->path);
			break;
		}
		to = &k->rules[at];
		to->channel = (uint8_t)ch->c;
		to->flags = (uint8_t)((u->exclude ? GD_RULE_EXCLUDE : 0) | (u->count ? GD_RULE_COUNT : 0));
		to->level = u->level;
		to->filter = off;
		memcpy(to->glob, u->glob, sizeof(to->glob));
		store_relaxed(&to->used, 1);
		if (at >= load_relaxed(&k->nrules))
			store_relaxed(&k->nrules, at + 1);
	}
	if (res < 0)
		rules_remove(k, ch->c);
	rules_end(k);
	if (region_classes(ch->r) < 0 && res == 0)
		res = err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < ch->r->nclasses; i++)
		if (ch->r->cls[i]->state == RCLASS_OK)
			ch->setup[i] = (uint8_t)class_apply(ch, i, rules, true);
	region_unlock_control(ch->r);
	return res;
}

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
	*to = (struct piece){ .slot = s, .packet = packet, .off = off, .len = v->off - off, .events = v->count - count, .whole = whole };
	if (to->len) {
		memcpy(&word, (const uint8_t *)p + off, sizeof(word));
		to->begin = word >> 16 | load_relaxed(&p->time_high) << 48;
		to->end = last;
	}
	/* Times that go backwards cannot be written as a trace: the packet is damaged, or somebody else's. */
	if ((to->len && (!to->events || to->len < 8 || to->begin < pos->last_time || to->end < to->begin)) || (!to->len && to->events)) {
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
		v = load_relaxed(&g->slot[s].cut) - pos->cut_base;
		if ((int64_t)(v - pos->cut) > 0)
			pos->cut = v;
	}
}

uint64_t slot_lost(const struct slot_pos *pos)
{
	return pos->lost[GD_LOST_FULL] + pos->lost[GD_LOST_NESTED] + pos->lost[GD_LOST_SLOT] + pos->lost[GD_LOST_OTHER] +
	       pos->overwritten + pos->damaged + pos->unwritten;
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

void channel_commit(struct channel *ch, unsigned n)
{
	struct gd_channel *g = region_channel(ch->r, ch->c);
	unsigned i;

	for (i = 0; i < n; i++) {
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
	ch->npieces = 0;
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
	for (s = 0; s < ch->r->nslots; s++)
		active += load_relaxed(&g->slot[s].cur) != 0;
	if (cpus > ch->r->nslots)
		cpus = ch->r->nslots;
	if (active < cpus)
		active = cpus;
	/* two packets a slot stay out, for those in hand and for slots that come */
	quota = ch->max_packets / (active ? active : 1);
	quota = quota > 4 ? quota - 2 : 2;
	store_relaxed(&g->quota, quota);
	for (spare = 0; spare < 64 && channel_free_packets(ch) < 2; spare++) {
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

unsigned channel_chain(const struct channel *ch, unsigned s, uint32_t list[GD_PACKETS_MAX])
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

int channel_copy_packet(const struct channel *ch, unsigned s, uint32_t packet, uint8_t to[GD_PACKET])
{
	struct gd_packet *p = region_packet(ch->r, packet), *copy = (struct gd_packet *)to;
	uint64_t lap = load_acquire(&p->lap), head = load_acquire(&p->head); /* [LAP] [HEAD] */
	uint32_t off = GD_HEAD_OFF(head);

	if (lap & 1 || off < GD_PACKET_HEADER || off > GD_PACKET)
		return -EAGAIN;
	if (pread(ch->r->fd, to, off, (off_t)packet_offset(packet)) != (ssize_t)off)
		return -EIO;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (load_relaxed(&p->lap) != lap) /* [LAP] */
		return -EAGAIN;
	copy->head = head;
	return copy->slot == s && copy->channel == ch->c && copy->seq ? 0 : -EAGAIN;
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
