/* The event path. gander__emit_words() with one recording and the default context is the fast one; everything else goes through
 * tracer_emit_all(). Nothing here allocates, locks, calls the kernel or raises a signal; a signal handler that emits may
 * interrupt it anywhere. */
#include "region/vm_quick.h"
#include "tracer/seq.h"
#include "tracer/tracer.h"

#include <sched.h>

#define RETRIES 100 /* of one event: each is a packet that another thread filled first */

/* Context, packed in the order of the GD_CTX_ bits, but for the stack, which is a piece of its own. */
#define CONTEXT_MAX 30
static uint32_t put_context(uint8_t *to, uint32_t which, uint32_t tid)
{
	uint8_t *at = to;

	if (which & GD_CTX_TID) {
		__builtin_memcpy(at, &tid, 4);
		at += 4;
	}
	if (which & GD_CTX_GOID) {
		__builtin_memset(at, 0, 8);
		at += 8;
	}
	if (which & GD_CTX_CPU) {
		int cpu = sched_getcpu(); /* from the rseq area or the vDSO */
		uint16_t v = cpu < 0 ? UINT16_MAX : (uint16_t)cpu;

		__builtin_memcpy(at, &v, 2);
		at += 2;
	}
	if (which & GD_CTX_SPAN) {
		uint64_t span = gander_current_span();

		__builtin_memcpy(at, &span, 8);
		at += 8;
	}
	if (which & GD_CTX_KEY) {
		uint64_t key = tracer_own_get(TRACER_OWN_KEY);

		__builtin_memcpy(at, &key, 8);
		at += 8;
	}
	return (uint32_t)(at - to);
}

/* One event without sequences: own a slot for its time. A slot that another thread owns, also one that is not running, or this very
 * thread below a signal handler, is passed by: there are far more slots than threads inside. pool_begin() gives the place for the event's
 * `inc` bytes, NULL when it is lost (and counted); pool_end() publishes it. */
struct pool {
	struct gd_slot *s;
	struct gd_packet *p;
	uint64_t head, time;
};

#define NO_SLOT UINT32_MAX
static inline uint32_t pool_own(unsigned c)
{
	uint32_t n = gander__t.nslots, first = tracer_slot_now(), slot = first, i, nobody;

	for (i = 0; i < n; i++, slot = slot + 1 < n ? slot + 1 : 0) {
		nobody = 0;
		if (__atomic_compare_exchange_n(&tracer_channel(c)->slot[slot].owner, &nobody, tracer_tid() | 0x80000000u, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED)) /* [OWNER] */
			return slot;
	}
	tracer_lose(c, first, GD_LOST_NESTED);
	return NO_SLOT;
}

static inline char *pool_begin(struct pool *pool, unsigned c, uint64_t inc)
{
	uint32_t slot = pool_own(c), need = GD_HEAD_OFF(inc), i, cur;

	if (UNLIKELY(slot == NO_SLOT))
		return NULL;
	pool->s = &tracer_channel(c)->slot[slot];
	for (i = 0;; i++) {
		cur = __atomic_load_n(&pool->s->cur, __ATOMIC_RELAXED);
		if (LIKELY(cur - 1 < gander__t.npackets)) {
			pool->p = tracer_packet(cur - 1);
			pool->head = __atomic_load_n(&pool->p->head, __ATOMIC_RELAXED);
			pool->time = tracer_counter();
			if (LIKELY((GD_HEAD_OFF(pool->head) & 0xffff) + need <= GD_PACKET_LIMIT && pool->time >> 48 == pool->p->time_high))
				break;
		}
		if (i == RETRIES)
			tracer_lose(c, slot, GD_LOST_OTHER);
		if (i == RETRIES || tracer_refill(c, slot, need, true, false) < 0) {
			__atomic_store_n(&pool->s->owner, 0, __ATOMIC_RELEASE); /* [OWNER] */
			return NULL;
		}
	}
	if (pool->time < pool->p->last_time)
		pool->time = pool->p->last_time;
	return (char *)pool->p + (GD_HEAD_OFF(pool->head) & 0xffff);
}

static inline void pool_end(struct pool *pool, uint64_t inc)
{
	__atomic_store_n(&pool->p->last_time, pool->time, __ATOMIC_RELAXED);
	__atomic_store_n(&pool->p->head, pool->head + inc, __ATOMIC_RELEASE); /* [HEAD] */
	__atomic_store_n(&pool->s->owner, 0, __ATOMIC_RELEASE);               /* [OWNER] */
}

static void pool_emit(unsigned c, uint64_t id, uint64_t inc, const void *context, uint32_t context_len, const struct gander__piece *piece,
		      uint32_t npieces)
{
	struct pool pool;
	char *at = pool_begin(&pool, c, inc);
	uint32_t k;

	if (!at)
		return;
	id = GD_EVENT_WORD(id, pool.time);
	__builtin_memcpy(at, &id, 8);
	at += 8;
	__builtin_memcpy(at, context, context_len);
	at += context_len;
	for (k = 0; k < npieces; k++) {
		__builtin_memcpy(at, piece[k].data, piece[k].len);
		at += piece[k].len;
	}
	pool_end(&pool, inc);
}

/* The default context and at most 32 bytes; what is copied too much lies behind `head`, before GD_PACKET_LIMIT + 16. */
static void pool_words(unsigned c, uint64_t id, uint64_t inc, const uint64_t *w, bool big)
{
	struct pool pool;
	char *at = pool_begin(&pool, c, inc);
	uint32_t tid = tracer_tid();

	if (!at)
		return;
	id = GD_EVENT_WORD(id, pool.time);
	__builtin_memcpy(at, &id, 8);
	__builtin_memcpy(at + 8, &tid, 4);
	__builtin_memcpy(at + 12, w, 16);
	if (big)
		__builtin_memcpy(at + 28, w + 2, 16);
	pool_end(&pool, inc);
}

static void publish(unsigned c, uint64_t id, uint64_t inc, const void *context, uint32_t context_len, const struct gander__piece *piece,
		    uint32_t npieces)
{
#if TRACER_HAS_SEQUENCES
	if (LIKELY(gander__t.sequences)) {
		char *tp = __builtin_thread_pointer();
		struct seq_event e = { piece, npieces, context, context_len, id, inc, 0, tp + gander__t.slot_off, tracer_channel(c)->slot };
		unsigned i;

		for (i = 0; i < RETRIES; i++) {
			if (gander__t.clock == GD_CLOCK_MONO)
				e.time = tracer_mono_ns();
			if (seq_event(tp + gander__t.rseq_off, &e))
				return;
			if (tracer_refill(c, tracer_slot_now(), GD_HEAD_OFF(inc), false, false) < 0)
				return;
		}
		tracer_lose(c, tracer_slot_now(), GD_LOST_OTHER);
		return;
	}
#endif
	pool_emit(c, id, inc, context, context_len, piece, npieces);
}

/* Shortens variable fields so that the event fits into `room`; false when its fixed parts alone do not. The count of a
 * variable field is in the last two bytes of the piece before, which the caller built and may be written. */
static bool cut_pieces(struct gander__piece *piece, uint32_t npieces, size_t room)
{
	size_t fixed = 0;
	uint32_t i;

	for (i = 0; i < npieces; i++)
		if (!piece[i].elem)
			fixed += piece[i].len;
	if (fixed > room)
		return false;
	for (room -= fixed, i = 1; i < npieces; i++) {
		uint16_t count;

		if (!piece[i].elem)
			continue;
		if (piece[i].len > room) {
			count = (uint16_t)(room / piece[i].elem);
			piece[i].len = count * piece[i].elem;
			__builtin_memcpy((char *)piece[i - 1].data + piece[i - 1].len - 2, &count, 2);
		}
		room -= piece[i].len;
	}
	return true;
}

static size_t sum_pieces(const struct gander__piece *piece, uint32_t npieces)
{
	size_t sum = 0;
	uint32_t i;

	for (i = 0; i < npieces; i++)
		sum += piece[i].len;
	return sum;
}

static void record(unsigned c, uint32_t id, struct gander__piece *piece, uint32_t npieces, uint32_t which, const void *stack, uint32_t stack_len)
{
	uint8_t context[CONTEXT_MAX];
	uint32_t context_len = put_context(context, which, tracer_tid());
	size_t total = 8 + context_len + stack_len + sum_pieces(piece, npieces);

	if (UNLIKELY(total > GD_EVENT_MAX)) {
		if (!cut_pieces(piece, npieces, GD_EVENT_MAX - 8 - context_len - stack_len)) {
			tracer_lose(c, tracer_slot_now(), GD_LOST_OTHER);
			return;
		}
		total = 8 + context_len + stack_len + sum_pieces(piece, npieces);
		id |= GD_EVENT_CUT;
	}
	if (id & GD_EVENT_CUT)
		__atomic_fetch_add(&tracer_channel(c)->slot[tracer_slot_now() % GD_SLOTS].cut, 1, __ATOMIC_RELAXED);
	if (UNLIKELY(stack_len)) {
		/* context and stack in one buffer: they are both context */
		uint8_t both[CONTEXT_MAX + 2 + 8 * GD_STACK_MAX];

		__builtin_memcpy(both, context, context_len);
		__builtin_memcpy(both + context_len, stack, stack_len);
		publish(c, id, GD_HEAD(1, total), both, context_len + stack_len, piece, npieces);
		return;
	}
	publish(c, id, GD_HEAD(1, total), context, context_len, piece, npieces);
}

/* With a call stack: apart, because its buffers are large and small stacks must not pay for them. */
static __attribute__((noinline)) void record_with_stack(unsigned c, uint32_t id, struct gander__piece *piece, uint32_t npieces, uint32_t which)
{
	struct {
		uint16_t n;
		uint64_t pc[GD_STACK_MAX];
	} __attribute__((packed)) s;
	uint32_t max = __atomic_load_n(&tracer_channel(c)->stack_depth, __ATOMIC_RELAXED);
	uint64_t pc[GD_STACK_MAX];

	s.n = (uint16_t)tracer_stack(pc, max < GD_STACK_MAX ? max : GD_STACK_MAX);
	__builtin_memcpy(s.pc, pc, s.n * 8);
	record(c, id, piece, npieces, which, &s, 2 + 8u * s.n);
}

/* Adds one in a slot's packet of counters. Without sequences the slot is owned for it: a packet that is not would have become
 * another recording's before a pre-empted thread adds to it. */
static void pool_count(unsigned c, uint32_t id, uint32_t epoch)
{
	uint32_t slot = pool_own(c), cur, i;
	struct gd_slot *s;

	if (slot == NO_SLOT)
		return;
	s = &tracer_channel(c)->slot[slot];
	for (i = 0; i < RETRIES; i++) {
		cur = __atomic_load_n(&s->cur, __ATOMIC_RELAXED);
		if (cur - 1 < gander__t.npackets && tracer_packet(cur - 1)->epoch == epoch) {
			uint64_t *counter = (uint64_t *)((char *)tracer_packet(cur - 1) + GD_PACKET_HEADER) + id;

			__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
			break;
		}
		if (tracer_refill(c, slot, 0, true, true) < 0)
			break;
	}
	if (i == RETRIES)
		tracer_lose(c, slot, GD_LOST_OTHER);
	__atomic_store_n(&s->owner, 0, __ATOMIC_RELEASE); /* [OWNER] */
}

/* One hit of a class, when the slot's packet of counters is there. */
static inline bool count_quick(unsigned c, uint32_t id)
{
#if TRACER_HAS_SEQUENCES
	char *tp = __builtin_thread_pointer();
	struct gd_channel *ch = tracer_channel(c);

	return LIKELY(gander__t.sequences && id < GD_COUNTERS) && LIKELY(seq_count(tp + gander__t.rseq_off, tp + gander__t.slot_off, ch->slot, id, __atomic_load_n(&ch->epoch, __ATOMIC_RELAXED)));
#else
	return false;
#endif
}

static __attribute__((noinline)) void count_slow(unsigned c, uint32_t id)
{
	unsigned i;

	if (id >= GD_COUNTERS) {
		tracer_lose(c, tracer_slot_now(), GD_LOST_OTHER);
		return;
	}
	if (!gander__t.sequences) {
		pool_count(c, id, tracer_channel(c)->epoch);
		return;
	}
	for (i = 0; i < RETRIES; i++)
		if (tracer_refill(c, tracer_slot_now(), 0, false, true) < 0 || count_quick(c, id))
			return;
	tracer_lose(c, tracer_slot_now(), GD_LOST_OTHER);
}

static void count_plain(unsigned c, uint32_t id)
{
	if (!count_quick(c, id))
		count_slow(c, id);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 29);
}

static void count_by_key(unsigned c, uint32_t id, const struct gd_filter_key *key)
{
	struct gd_channel *ch = tracer_channel(c);
	uint32_t first = __atomic_load_n(&ch->keys_first, __ATOMIC_RELAXED), n = __atomic_load_n(&ch->keys_count, __ATOMIC_RELAXED), i, entries, at;
	uint64_t print = mix(key->kind, id), v[(sizeof(key->value) + 7) / 8] = { 0 }, seen;
	struct gd_count_key *table;

	if (first >= gander__t.npackets || n == 0 || n > gander__t.npackets - first) {
		tracer_lose(c, tracer_slot_now(), GD_LOST_OTHER);
		return;
	}
	__builtin_memcpy(v, key->value, sizeof(key->value));
	for (i = 0; i < sizeof(v) / 8; i++)
		print = mix(print, v[i]);
	print |= 1;
	table = (struct gd_count_key *)tracer_packet(first);
	entries = n * (GD_PACKET / sizeof(*table));
	for (i = 0; i < 16; i++) {
		at = (uint32_t)((print >> 1) + i) % entries;
		seen = __atomic_load_n(&table[at].fingerprint, __ATOMIC_RELAXED);
		if (seen == 0 &&
		    __atomic_compare_exchange_n(&table[at].fingerprint, &seen, print, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) { /* [KEY] */
			table[at].class_id = (uint16_t)id;
			table[at].len = key->len;
			__builtin_memcpy(table[at].value, key->value, sizeof(key->value));
			__atomic_store_n(&table[at].kind, key->kind, __ATOMIC_RELEASE); /* [KEY] */
			seen = print;
		}
		if (seen == print) {
			__atomic_fetch_add(&table[at].count, 1, __ATOMIC_RELAXED);
			return;
		}
	}
	tracer_lose(c, tracer_slot_now(), GD_LOST_FULL);
}

/* The linked filter at `off`: 1 passes, 0 not. */
static int filter_passes(uint32_t off, const struct gander__piece *piece, uint32_t npieces, struct gd_filter_key *key)
{
	struct gd_view view = { (const struct gd_piece *)piece, npieces, 0, 0, 0, 0, 0, 0 };
	const void *linked;
	uint32_t needs;
	size_t avail;

	key->kind = 0;
	if (off < GD_OFF_FILTERS || off > GD_META_SIZE - sizeof(struct gd_filter_head) || off % 8)
		return 0;
	linked = gander__t.ro + off;
	avail = GD_META_SIZE - off;
	needs = gd_filter_needs(linked, avail);
	if (needs) {
		view.tid = tracer_tid();
		view.span = gander_current_span();
		view.key = tracer_own_get(TRACER_OWN_KEY);
		if (needs & GD_CTX_CPU)
			view.cpu = (uint32_t)sched_getcpu();
	}
	return gd_filter_run(linked, avail, &view, key);
}

/* The linked filter at `off`, NULL: there is none that may be looked at without a bound of its own. */
static inline const void *quick_at(uint32_t off)
{
	uint32_t words = off - GD_OFF_FILTERS;

	words = words >> 3 | words << 29; /* not a multiple of eight: a very large number */
	return UNLIKELY(words > (GD_META_SIZE - GD_QUICK_NEEDS - GD_OFF_FILTERS) / 8) ? NULL : gander__t.ro + off;
}

#define NOT_RECORDED (-1)
#define NONE_HOLDS   GD_CONDITIONS

/* The condition that holds for an event, NONE_HOLDS, or NOT_RECORDED. What the set says is bounded here, word by word. */
static __attribute__((noinline)) int condition_that_holds(uint32_t off, const struct gander__piece *piece, uint32_t npieces)
{
	const struct gd_condition_set *set;
	struct gd_filter_key key;
	uint32_t n, i, program;
	const void *linked;

	if (off < GD_OFF_FILTERS || off > GD_META_SIZE - sizeof(*set) || off % 8)
		return NOT_RECORDED;
	set = (const struct gd_condition_set *)(const void *)(gander__t.ro + off);
	if (__atomic_load_n(&set->magic, __ATOMIC_RELAXED) != GD_CONDITION_MAGIC)
		return NOT_RECORDED;
	n = __atomic_load_n(&set->n, __ATOMIC_RELAXED);
	for (i = 0; i < n && i < GD_CONDITIONS; i++) {
		program = __atomic_load_n(&set->v[i].program, __ATOMIC_RELAXED);
		linked = program ? quick_at(program) : NULL;
		if (linked && gd_quick_pieces(linked, (const struct gd_piece *)piece, npieces) == GD_QUICK_REJECT)
			continue;
		if (!program || filter_passes(program, piece, npieces, &key))
			return (int)(__atomic_load_n(&set->v[i].number, __ATOMIC_RELAXED) % GD_CONDITIONS);
	}
	program = __atomic_load_n(&set->filter, __ATOMIC_RELAXED);
	return !program || (program != GD_FILTER_NEVER && filter_passes(program, piece, npieces, &key)) ? (int)NONE_HOLDS : NOT_RECORDED;
}

static_assert(sizeof(struct gander__piece) == sizeof(struct gd_piece) && offsetof(struct gander__piece, elem) == offsetof(struct gd_piece, elem),
	      "the public piece is the filter's");

void tracer_emit_all(const struct gander_event *ev, uint32_t on, struct gander__piece *piece, uint32_t npieces, uint32_t cut)
{
	const struct gd_class *cls = (const struct gd_class *)(const void *)ev->enabled;
	uint32_t channels = on & GD_ENABLED_MASK;

	while (channels) {
		unsigned c = (unsigned)__builtin_ctz(channels);
		uint32_t which = __atomic_load_n(&tracer_channel(c)->context, __ATOMIC_RELAXED);
		struct gd_filter_key key = { .kind = 0 };
		int holds = (int)NONE_HOLDS;

		channels &= channels - 1;
		if (on & GD_CONDITIONAL(c)) {
			holds = condition_that_holds(__atomic_load_n(&cls->filter[c], __ATOMIC_RELAXED), piece, npieces);
			if (holds == NOT_RECORDED)
				continue;
		} else if ((on & GD_FILTERED(c)) && !filter_passes(__atomic_load_n(&cls->filter[c], __ATOMIC_RELAXED), piece, npieces, &key)) {
			continue;
		}
		if (on & GD_COUNTING(c)) {
			count_plain(c, ev->id);
			if (key.kind)
				count_by_key(c, ev->id, &key);
		} else if (which & GD_CTX_STACK) {
			record_with_stack(c, ev->id | cut, piece, npieces, which);
		} else {
			record(c, ev->id | cut, piece, npieces, which, NULL, 0);
		}
		if (UNLIKELY(holds != (int)NONE_HOLDS))
			tracer_trigger(c, ev->id, (uint32_t)holds);
	}
}

/* One recording that wants the event whole and with the default context: one bit, neither filtered nor counted. */
static inline bool is_plain(uint32_t on)
{
	return on && on <= GD_ENABLED_MASK && !(on & (on - 1)) &&
	       __atomic_load_n(&tracer_channel((unsigned)__builtin_ctz(on))->context, __ATOMIC_RELAXED) == GD_CTX_TID;
}

/* One recording, with exactly one of its two other bits, or with neither. */
static inline bool is_one(uint32_t channel)
{
	return channel && !(channel & (channel - 1));
}
static inline bool only_filtered(uint32_t on)
{
	return (on & GD_ENABLED_MASK) == on >> 8 && is_one(on >> 8);
}
static inline bool only_counted(uint32_t on)
{
	return (on & 0xffff) == on >> 16 && on < 0x1000000 && is_one(on >> 16); /* a bit higher up would be no channel */
}
static_assert(GD_FILTERED(0) == GD_ENABLED(0) << 8 && GD_COUNTING(0) == GD_ENABLED(0) << 16 && GD_ENABLED_MASK == 0xff, "only_filtered() says so");

static inline bool only_conditional(uint32_t on)
{
	return on == (on >> 24) * (GD_ENABLED(0) | GD_CONDITIONAL(0)) && is_one(on >> 24);
}
static_assert(GD_CONDITIONAL(0) == 1u << 24, "only_conditional() says so");

/* The class's filter in channel c, or its condition set. */
static inline const void *quick_filter(const struct gander_event *ev, unsigned c)
{
	return quick_at(__atomic_load_n(&((const struct gd_class *)(const void *)ev->enabled)->filter[c], __ATOMIC_RELAXED));
}

/* What the others leave over. They are functions of their own, so that none saves registers for another. */
static __attribute__((noinline)) void emit_words_slow(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
	uint32_t on = __atomic_load_n(ev->enabled, __ATOMIC_RELAXED); /* [ENABLE] */
	uint64_t w[4] = { w0, w1, w2, w3 };
	struct gander__piece piece = { w, size, 0 };

	if (!gander__t.sequences && is_plain(on))
		pool_words((unsigned)__builtin_ctz(on), ev->id, GD_HEAD(1, 12 + size), w, size > 16);
	else
		tracer_emit_all(ev, on, &piece, 1, 0);
}

static __attribute__((noinline)) void count_one(const struct gander_event *ev, unsigned c)
{
	if (UNLIKELY(!count_quick(c, ev->id)))
		count_slow(c, ev->id);
}

/* Below, a channel << 8 is added to the size: a seventh argument would go through memory. */
static __attribute__((noinline)) void emit_words_filtered(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2,
							  uint64_t w3)
{
	const void *linked = quick_filter(ev, size >> 8);
	uint64_t w[4] = { w0, w1, w2, w3 };

	size &= 0xff;
	/* whichever filter it was: it is this class's, and rejects */
	if (LIKELY(linked && gd_quick_words(linked, w, size) == GD_QUICK_REJECT))
		return;
	emit_words_slow(ev, size, w0, w1, w2, w3);
}

#if TRACER_HAS_SEQUENCES
static inline __attribute__((always_inline)) bool words_quick(const struct gander_event *ev, uint32_t c, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
	char *tp = __builtin_thread_pointer();

	return LIKELY(seq_words(tp + gander__t.rseq_off, tp + gander__t.slot_off, tracer_channel(c)->slot, ev->id, tracer_tid(), GD_HEAD(1, 12 + size), w0, w1, w2,
				w3, size > 16));
}

/* The same when the slot needs a packet. Not by the way of all other events: where there is none, each event comes here to be lost, and that is not
 * to cost the program more than one that is written. */
static __attribute__((noinline)) void emit_words_refill(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
	uint32_t c = size >> 8, i;
	const struct gd_channel *ch = tracer_channel(c);

	if (__atomic_load_n(&ch->mode, __ATOMIC_RELAXED) == GD_MODE_DISCARD && !__atomic_load_n(&ch->block_ms, __ATOMIC_RELAXED) && !tracer_any_free(ch)) {
		tracer_lose(c, tracer_slot_now(), GD_LOST_FULL);
		return;
	}
	size &= 0xff;
	for (i = 0; i < RETRIES; i++)
		if (tracer_refill(c, tracer_slot_now(), 12 + size, false, false) < 0 || words_quick(ev, c, size, w0, w1, w2, w3))
			return;
	tracer_lose(c, tracer_slot_now(), GD_LOST_OTHER);
}
#endif

/* One recording that wants the event whole, with the default context. */
static __attribute__((noinline)) void emit_words_plain(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
#if TRACER_HAS_SEQUENCES
	if (UNLIKELY(!words_quick(ev, size >> 8, size & 0xff, w0, w1, w2, w3)))
		emit_words_refill(ev, size, w0, w1, w2, w3);
#else
	emit_words_slow(ev, size & 0xff, w0, w1, w2, w3);
#endif
}

/* One recording, with conditions: where there is one, its first instruction says that it does not hold, and all else is plain, that is all. */
static __attribute__((noinline)) void emit_words_conditional(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
	const struct gd_condition_set *set = quick_filter(ev, size >> 8);
	uint64_t w[4] = { w0, w1, w2, w3 };
	const void *linked = NULL;

	if (LIKELY(set && __atomic_load_n(&set->magic, __ATOMIC_RELAXED) == GD_CONDITION_MAGIC && __atomic_load_n(&set->n, __ATOMIC_RELAXED) == 1 &&
		   !__atomic_load_n(&set->filter, __ATOMIC_RELAXED)))
		linked = quick_at(__atomic_load_n(&set->v[0].program, __ATOMIC_RELAXED));
	if (LIKELY(linked && TRACER_HAS_SEQUENCES && gander__t.fast && is_plain(GD_ENABLED(size >> 8)) &&
		   gd_quick_words(linked, w, size & 0xff) == GD_QUICK_REJECT))
		emit_words_plain(ev, size, w0, w1, w2, w3);
	else
		emit_words_slow(ev, size & 0xff, w0, w1, w2, w3);
}

void gander__emit_words(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
	uint32_t on = __atomic_load_n(ev->enabled, __ATOMIC_RELAXED); /* [ENABLE] */

	if (UNLIKELY(!__atomic_load_n(gander__t.alive, __ATOMIC_RELAXED)))
		return; /* a forked child that has no region */
	if (LIKELY(is_plain(on) && TRACER_HAS_SEQUENCES && gander__t.fast))
		emit_words_plain(ev, size | (uint32_t)__builtin_ctz(on) << 8, w0, w1, w2, w3);
	else if (only_filtered(on))
		emit_words_filtered(ev, size | (uint32_t)__builtin_ctz(on) << 8, w0, w1, w2, w3);
	else if (only_counted(on))
		count_one(ev, (unsigned)__builtin_ctz(on));
	else if (only_conditional(on))
		emit_words_conditional(ev, size | (uint32_t)__builtin_ctz(on) << 8, w0, w1, w2, w3);
	else
		emit_words_slow(ev, size, w0, w1, w2, w3);
}

static __attribute__((noinline)) void emit_pieces_slow(const struct gander_event *ev, const struct gander__piece *piece, uint32_t npieces)
{
	/* the pieces are the calling macro's own array */
	tracer_emit_all(ev, __atomic_load_n(ev->enabled, __ATOMIC_RELAXED), (struct gander__piece *)piece, npieces, 0); /* [ENABLE] */
}

void gander__emit_pieces(const struct gander_event *ev, const struct gander__piece *piece, uint32_t npieces)
{
	uint32_t on = __atomic_load_n(ev->enabled, __ATOMIC_RELAXED); /* [ENABLE] */
	const void *linked;

	if (UNLIKELY(!__atomic_load_n(gander__t.alive, __ATOMIC_RELAXED)))
		return;
	if (only_filtered(on)) {
		linked = quick_filter(ev, (unsigned)__builtin_ctz(on));
		if (LIKELY(linked && gd_quick_pieces(linked, (const struct gd_piece *)piece, npieces) == GD_QUICK_REJECT))
			return;
	} else if (only_counted(on)) {
		count_one(ev, (unsigned)__builtin_ctz(on));
		return;
	}
	emit_pieces_slow(ev, piece, npieces);
}

/* ------------------------------------------------------------------ spans, key */

uint64_t gander_current_span(void)
{
	return tracer_own_get(TRACER_OWN_SPAN);
}

void gander_set_current_span(uint64_t id)
{
	tracer_own_set(TRACER_OWN_SPAN, id);
}

void gander_set_key(uint64_t key)
{
	tracer_own_set(TRACER_OWN_KEY, key);
}

/* Ids are the process's seed plus (slot, number in it), through a bijection: different in a process, unlike between processes. The add is
 * atomic because a signal handler, and another thread that now has this slot, may count here too. */
void gander__span_open(struct gander_span *span)
{
	static struct {
		uint64_t n;
		uint64_t pad[7];
	} made[64] __attribute__((aligned(64)));
	uint32_t slot = tracer_slot_now() % 64;
	uint64_t id = gander__t.span_seed + ((uint64_t)slot << 56 | __atomic_add_fetch(&made[slot].n, 1, __ATOMIC_RELAXED));

	id = (id ^ (id >> 30)) * 0xbf58476d1ce4e5b9ull;
	id = (id ^ (id >> 27)) * 0x94d049bb133111ebull;
	id ^= id >> 31;
	span->id = id ? id : 1;
	span->parent = span->outer = gander_current_span();
	span->start = tracer_counter();
	gander_set_current_span(span->id);
}

uint64_t gander__span_close(struct gander_span *span)
{
	uint64_t now = tracer_counter();

	if (gander_current_span() == span->id)
		gander_set_current_span(span->outer);
	return now > span->start ? tracer_ticks_to_ns(now - span->start) : 0;
}
