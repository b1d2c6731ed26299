/* The flight ring of a region, read from outside, and the asking for it: docs/flight.md. Nothing that stands in the region is believed:
 * positions, lengths and batches are checked, copied once, and the copy is used only if the tail says afterwards that it was whole. */
#include "collect/collect_clock.h"
#include "collect/collect_go.h"
#include "collect/collect_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_TRIES 8    /* of one call, while the program sets aside or overwrites what is being read */
#define FILES_MOST  256u /* that one drain begins: an honest ring has a gap here and there */
#define RING_MOST   ((uint64_t)GD_PACKETS_MAX * GD_PACKET)

static struct gd_flight *ring_of(const struct flight *f)
{
	return (struct gd_flight *)(f->r->map + GD_OFF_FLIGHT);
}

bool flight_offered(const struct region *r)
{
	return load_relaxed(&((const struct gd_header *)r->map)->flags) & GD_FLAG_FLIGHT;
}

bool flight_left(const struct region *r)
{
	const struct gd_flight *g = (const struct gd_flight *)(r->map + GD_OFF_FLIGHT);

	return flight_offered(r) && (load_acquire(&g->state) == GD_FLIGHT_FLYING || load_acquire(&g->saved.state) == GD_SAVED_READY); /* [SAVED] */
}

void flight_open(struct flight *f, struct region *r, const char *dir, const char *comm, pid_t pid)
{
	memset(f, 0, sizeof(*f));
	f->r = r;
	f->ask = -1;
	f->room = UINT64_MAX;
	go_sink_init(&f->sink, dir, comm, pid, "region");
	f->sink.most = (size_t)r->npackets * GD_PACKET;
	memcpy(f->sink.header, ring_of(f)->header, GO_HEADER);
	f->lost_bytes = load_relaxed(&ring_of(f)->lost_bytes);
}

void flight_done(struct flight *f)
{
	flight_withdraw(f);
	go_sink_done(&f->sink);
}

int flight_ask(struct flight *f, const struct flight_wish *w, struct err *err)
{
	struct gd_control *k = region_control(f->r);
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint32_t bits;
	int i, res;

	if (!f->r->writable)
		return err_set(err, -EACCES, "'%s' cannot be written", f->r->path);
	res = region_lock_control(f->r);
	if (res < 0)
		return err_set(err, res, "'%s' is locked by another process", f->r->path);
	bits = load_seq_cst(&k->fly);
	for (i = 0; i < (int)GD_ASKS; i++)
		if (!(bits >> i & 1) || load_relaxed(&k->ask[i].until_ns) <= now) /* one that has lapsed is anybody's */
			break;
	if (i < (int)GD_ASKS) {
		store_relaxed(&k->ask[i].period_ms, w->period_ms);
		store_relaxed(&k->ask[i].keep_ms, w->keep_ms);
		store_relaxed(&k->ask[i].packets, w->packets);
		store_relaxed(&k->ask[i].pid, (uint32_t)getpid());
		store_relaxed(&k->fly_read[i], w->follows ? f->pos + 1 : 0);
		store_release(&k->ask[i].until_ns, now + GO_LEASE_NS);
		__atomic_fetch_or(&k->fly, 1u << i, __ATOMIC_SEQ_CST); /* [FLY] */
		f->ask = i;
		f->follows = w->follows;
		f->renewed_ns = now;
	} else {
		res = err_set(err, -EBUSY, "%u recordings of this program's Go trace are running already", GD_ASKS);
	}
	region_unlock_control(f->r);
	return res;
}

void flight_renew(struct flight *f, uint64_t now)
{
	if (f->ask < 0 || now - f->renewed_ns < GO_LEASE_NS / 10)
		return;
	f->renewed_ns = now;
	store_release(&region_control(f->r)->ask[f->ask].until_ns, now + GO_LEASE_NS);
	__atomic_fetch_or(&region_control(f->r)->fly, 1u << f->ask, __ATOMIC_SEQ_CST); /* [FLY] */
	/* it may have landed because we were stopped for so long, or have become one that can be woken just now */
	flight_wake(f, NULL);
}

void flight_withdraw(struct flight *f)
{
	struct gd_control *k = region_control(f->r);

	if (f->ask < 0)
		return;
	if (region_lock_control(f->r) == 0) {
		/* unless we were stopped for so long that somebody else has it now */
		if (load_relaxed(&k->ask[f->ask].pid) == (uint32_t)getpid()) {
			store_release(&k->ask[f->ask].until_ns, 0);
			__atomic_fetch_and(&k->fly, ~(1u << f->ask), __ATOMIC_SEQ_CST); /* [FLY] */
			store_relaxed(&k->fly_read[f->ask], 0);
		}
		region_unlock_control(f->r);
	}
	f->ask = -1;
}

const char *flight_refused(struct flight *f, char why[161])
{
	struct gd_flight *g = ring_of(f);
	unsigned i;

	if (load_acquire(&g->state) < GD_FLIGHT_REFUSED)
		return NULL;
	memcpy(why, g->why, 160);
	why[160] = 0;
	for (i = 0; why[i]; i++)
		if ((unsigned char)why[i] < ' ')
			why[i] = ' ';
	return why;
}

bool flight_flying(const struct flight *f)
{
	return load_acquire(&ring_of(f)->state) == GD_FLIGHT_FLYING;
}

bool flight_never(const struct flight *f)
{
	return load_acquire(&ring_of(f)->state) == GD_FLIGHT_NEVER;
}

uint64_t flight_closed_ns(const struct flight *f)
{
	return load_acquire(&ring_of(f)->closed_ns);
}

bool flight_wait(const struct flight *f, uint64_t closed, uint64_t limit_ns)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);

	while (flight_closed_ns(f) < closed) {
		if (clock_ns(CLOCK_MONOTONIC) - begin > limit_ns || region_dead(f->r))
			return false;
		usleep(5000);
	}
	return true;
}

uint32_t flight_period_ms(const struct flight *f)
{
	uint32_t ms = load_relaxed(&ring_of(f)->period_ms);

	return ms > 10000 ? 10000 : ms;
}

void flight_seek(struct flight *f, bool newest)
{
	struct gd_flight *g = ring_of(f);

	f->synced = false;
	f->pos = newest ? load_acquire(&g->end) /* [FLOWN] */ : load_acquire(&g->tail) /* [TRAIL] */;
}

/* What a stream of chunks is read from: the ring, or what was set aside of it. */
struct view {
	const uint16_t *packet;
	uint64_t tail, end;
	bool saved;
};

static uint64_t next_packet(uint64_t pos)
{
	return (pos + GD_PACKET - 1) & ~(uint64_t)(GD_PACKET - 1);
}

static bool view_of_saved(const struct flight *f, struct view *v)
{
	struct gd_flight *g = ring_of(f);

	if (load_acquire(&g->saved.state) != GD_SAVED_READY) /* [SAVED] */
		return false;
	v->packet = g->saved.packet;
	v->tail = load_relaxed(&g->saved.tail);
	v->end = load_relaxed(&g->saved.end);
	v->saved = true;
	return true;
}

static void view_of_ring(const struct flight *f, struct view *v)
{
	struct gd_flight *g = ring_of(f);

	v->end = load_acquire(&g->end);   /* [FLOWN] */
	v->tail = load_acquire(&g->tail); /* [TRAIL] */
	v->packet = g->packet;
	v->saved = false;
}

/* Still what it was when it was looked at? Called behind the copy. */
static bool view_holds(const struct flight *f, const struct view *v, uint64_t pos)
{
	struct gd_flight *g = ring_of(f);

	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* the copy's loads are before the one below, as with a packet's lap */
	if (v->saved)
		return load_acquire(&g->saved.state) == GD_SAVED_READY && load_relaxed(&g->saved.tail) == v->tail; /* [SAVED] */
	return load_acquire(&g->tail) <= pos;                                                                      /* [TRAIL] */
}

static bool view_copy(const struct flight *f, const struct view *v, uint64_t pos, void *to, size_t len)
{
	while (len) {
		uint32_t i = load_relaxed(&v->packet[pos / GD_PACKET % GD_PACKETS_MAX]);
		size_t off = pos % GD_PACKET, n = GD_PACKET - off < len ? GD_PACKET - off : len;

		if (!i || i > f->r->npackets)
			return false;
		memcpy(to, (const uint8_t *)region_packet(f->r, i - 1) + off, n);
		to = (uint8_t *)to + n;
		pos += n;
		len -= n;
	}
	return true;
}

/* Where reading is has been overwritten, or makes no sense: it goes on where it can. */
static void lose_place(struct flight *f, uint64_t to)
{
	go_sink_drop(&f->sink);
	f->synced = false;
	f->pos = to;
}

/* Something is missing, and no numbers say how much. */
static void count_overtaken(struct flight *f)
{
	if (f->overtaken)
		go_count(&f->sink.lost_generations, 1);
	f->overtaken = false;
}

/* One chunk has been read; data is its bytes. */
static int take_chunk(struct flight *f, const struct gd_chunk *c, const uint8_t *data, uint64_t since_ns, struct err *err)
{
	struct go_sink *s = &f->sink;
	uint64_t gen;
	int res = 0;

	switch (c->kind) {
	case GD_CHUNK_START:
		count_overtaken(f);
		go_sink_break(s);
		s->next_gen = 0;
		s->begin_ns = c->time_ns;
		f->session = c->session;
		f->synced = true;
		memcpy(s->header, ring_of(f)->header, GO_HEADER);
		return 0;
	case GD_CHUNK_BATCH:
		if (f->session != c->session) { /* its start has been overwritten */
			go_sink_break(s);
			s->next_gen = 0;
			f->session = c->session;
			f->synced = false;
			memcpy(s->header, ring_of(f)->header, GO_HEADER);
		}
		/* a newer generation: the one before had no memory for all of it, and has no end */
		if (s->pending.len && go_batch(data, c->len, &gen) == c->len && gen > s->gen)
			go_sink_drop(s);
		if (f->synced && !go_sink_batch(s, data, c->len)) {
			go_count(&s->lost_bytes, c->len);
			lose_place(f, f->pos);
		}
		return 0;
	case GD_CHUNK_END:
		if (!s->next_gen || c->gen < s->next_gen) /* else the numbers tell */
			count_overtaken(f);
		if (f->synced && s->pending.len && c->gen == s->gen && c->len == 1 && *data == GO_END_MARK)
			buf_put(&s->pending, data, 1);
		if (f->synced && s->pending.len && c->gen == s->gen && c->time_ns >= since_ns)
			res = go_sink_end(s, c->time_ns, err);
		else if (f->synced)
			buf_clear(&s->pending);
		if (res == 0 && s->next_gen && c->gen >= s->next_gen) { /* it was not written */
			go_count(&s->lost_generations, c->gen - s->next_gen + 1);
			s->next_gen = c->gen + 1;
			go_sink_break(s);
		}
		f->synced = true;
		f->overtaken = false;
		f->last_end_ns = s->begin_ns = c->time_ns;
		return res;
	default:
		return 0; /* of a newer agent */
	}
}

struct bounds {
	uint64_t left; /* bytes of the ring */
	/* where it began */
	uint64_t written;
	unsigned made;
};

static bool at_bound(const struct flight *f, const struct bounds *b)
{
	return !b->left || f->sink.made - b->made >= FILES_MOST || f->sink.written - b->written >= f->room || (f->stop && *f->stop > f->stop_over) ||
	       (f->until_ns && clock_ns(CLOCK_MONOTONIC) >= f->until_ns);
}

static int drain_view(struct flight *f, const struct view *v, uint64_t since_ns, struct bounds *b, struct err *err)
{
	uint8_t *data;
	struct gd_chunk c;
	uint64_t size;
	int res = 0;

	if (v->end < v->tail || v->end - v->tail > RING_MOST) { /* more than there can be */
		go_count(&f->sink.lost_bytes, GD_PACKET);
		f->damaged = true;
		lose_place(f, v->end);
		return 0;
	}
	data = malloc(GD_CHUNK_MAX);
	if (!data)
		return err_set(err, -ENOMEM, "out of memory");
	while (res == 0 && f->pos < v->end) {
		if (at_bound(f, b)) {
			f->more = true;
			break;
		}
		bool sound = view_copy(f, v, f->pos, &c, sizeof(c)) && c.pos == f->pos && c.len <= GD_CHUNK_MAX &&
			     sizeof(c) + c.len <= v->end - f->pos && view_copy(f, v, f->pos + sizeof(c), data, c.len);

		if (!view_holds(f, v, f->pos)) /* the caller looks where it has gone */
			break;
		if (!sound) {
			go_count(&f->sink.lost_bytes, v->end - f->pos);
			f->damaged = true;
			lose_place(f, v->end);
			break;
		}
		size = (sizeof(c) + c.len + 7) & ~7ull;
		f->pos += size;
		b->left -= size < b->left ? size : b->left;
		res = take_chunk(f, &c, data, since_ns, err);
	}
	free(data);
	return res;
}

/* For whoever else follows: so far we have it. */
static void tell_place(struct flight *f)
{
	struct gd_control *k = region_control(f->r);

	if (f->ask >= 0 && f->follows && load_relaxed(&k->ask[f->ask].pid) == (uint32_t)getpid())
		__atomic_store_n(&k->fly_read[f->ask], f->pos + 1, __ATOMIC_SEQ_CST); /* [PLACE] */
}

/* Somebody who follows, and lives, has not read so far. Each stores his own place first and looks at the others' then, all in one order: the last one sees
 * that he is the last. */
static bool still_wanted(const struct flight *f, uint64_t end)
{
	const struct gd_control *k = region_control(f->r);
	uint64_t now = clock_ns(CLOCK_MONOTONIC), place;
	uint32_t bits = load_seq_cst(&k->fly); /* [FLY] */
	int i;

	for (i = 0; i < (int)GD_ASKS; i++) {
		place = __atomic_load_n(&k->fly_read[i], __ATOMIC_SEQ_CST); /* [PLACE] */
		if (i != f->ask && bits >> i & 1 && load_relaxed(&k->ask[i].until_ns) > now && place && place - 1 < end)
			return true;
	}
	return false;
}

int flight_drain(struct flight *f, uint64_t since_ns, struct err *err)
{
	struct bounds b = { .left = (uint64_t)f->r->npackets * GD_PACKET, .written = f->sink.written, .made = f->sink.made };
	struct view v = { 0 }, saved;
	unsigned tries;
	uint64_t lost;
	int res = 0;

	f->more = false;

	/* The program may set aside what the ring has where we are at any moment, also while it is read. It is in `saved` before the ring's tail
	 * passes it [SAVED], so what the tail is found to have passed is looked for there once more before it is given up for lost. */
	for (tries = 0; tries < DRAIN_TRIES && res == 0 && !f->more; tries++) {
		if (view_of_saved(f, &saved) && f->pos >= saved.tail && f->pos <= saved.end) {
			res = drain_view(f, &saved, since_ns, &b, err);
			if (res < 0 || f->more)
				break;
			if (f->pos == saved.end) { /* a recording has all of it now */
				f->pos = next_packet(saved.end);
				f->had = saved.end;
			}
		}
		/* the tail of the round before; at saved.end there is only the gap that setting aside leaves, and somebody else has taken it */
		if (f->pos < v.tail) {
			if (f->pos == load_relaxed(&ring_of(f)->saved.end))
				f->pos = next_packet(f->pos);
			if (f->pos < v.tail) {
				lose_place(f, v.tail);
				f->overtaken = f->follows || f->last_end_ns; /* else it is where reading begins that has moved on */
			}
		}
		view_of_ring(f, &v);
		if (v.end < v.tail || f->pos < v.tail) /* set aside, given up or overwritten */
			continue;
		res = drain_view(f, &v, since_ns, &b, err);
		if (f->pos >= v.end)
			break;
	}
	tell_place(f);
	if (f->had)
		flight_saved_taken(f);
	lost = load_relaxed(&ring_of(f)->lost_bytes);
	go_count(&f->sink.lost_bytes, lost - f->lost_bytes);
	f->lost_bytes = lost;
	return res;
}

bool flight_saved(const struct flight *f)
{
	struct view v;

	return view_of_saved(f, &v);
}

int flight_drain_saved(struct flight *f, struct err *err)
{
	struct bounds b = { .left = (uint64_t)f->r->npackets * GD_PACKET, .written = f->sink.written, .made = f->sink.made };
	struct view v;
	int res;

	f->more = false;
	if (!view_of_saved(f, &v))
		return 0;
	memcpy(f->sink.reason, ring_of(f)->saved.reason, sizeof(f->sink.reason));
	f->sink.reason[sizeof(f->sink.reason) - 1] = 0;
	f->pos = v.tail;
	f->synced = false;
	res = drain_view(f, &v, 0, &b, err);
	if (f->more) /* nobody reads the rest here */
		go_count(&f->sink.lost_bytes, v.end - f->pos);
	/* what the ring has goes into a file of its own */
	go_sink_break(&f->sink);
	f->sink.next_gen = 0;
	*f->sink.reason = 0;
	return res;
}

void flight_saved_taken(struct flight *f)
{
	uint64_t end = load_relaxed(&ring_of(f)->saved.end);
	uint32_t ready = GD_SAVED_READY;

	if (f->had && f->had != end) /* what we have had is gone, this is another */
		f->had = 0;
	else if (still_wanted(f, end))
		return;
	else if (f->r->writable)
		__atomic_compare_exchange_n(&ring_of(f)->saved.state, &ready, GD_SAVED_TAKEN, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED); /* [SAVED] */
	f->had = 0;
}

void flight_last(struct flight *f)
{
	uint64_t end = load_acquire(&ring_of(f)->end), unread = end > f->pos ? end - f->pos : 0; /* [FLOWN] */

	count_overtaken(f);
	if (f->more)
		go_count(&f->sink.lost_bytes, unread < RING_MOST ? unread : RING_MOST);
	f->more = false;
}
