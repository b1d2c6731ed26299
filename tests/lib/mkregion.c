#include "mkregion.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_counter = 1000;

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static uint64_t mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct gd_header *mkregion_header(struct mkregion *m)
{
	return (struct gd_header *)m->map;
}

struct gd_channel *mkregion_channel(struct mkregion *m, unsigned c)
{
	return (struct gd_channel *)(m->map + GD_OFF_CHANNELS) + c;
}

struct gd_packet *mkregion_packet(struct mkregion *m, uint32_t i)
{
	return (struct gd_packet *)(m->map + GD_OFF_DATA + (size_t)i * GD_PACKET);
}

struct gd_class *mkregion_class(struct mkregion *m, uint32_t id)
{
	return (struct gd_class *)(m->map + gd_class_offset(id));
}

void mkregion_new(struct mkregion *m, const char *dir, uint32_t npackets, uint32_t nslots)
{
	struct gd_header *h;
	uint64_t random;

	memset(m, 0, sizeof(*m));
	must(getrandom(&random, sizeof(random), 0) == sizeof(random), "getrandom");
	snprintf(m->dir, sizeof(m->dir), "%s", dir ? dir : "");
	snprintf(m->name, sizeof(m->name), "gander.%u.%016llx", (unsigned)geteuid(), (unsigned long long)random);
	snprintf(m->path, sizeof(m->path), "%s/%s", m->dir, m->name);
	m->fd = dir ? open(m->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : memfd_create(m->name, MFD_CLOEXEC);
	must(m->fd >= 0, m->path);
	m->npackets = npackets;
	m->nslots = nslots;
	m->size = GD_REGION_SIZE(npackets);
	must(fchmod(m->fd, 0600) == 0 && ftruncate(m->fd, (off_t)m->size) == 0 && flock(m->fd, LOCK_SH) == 0, "region");
	m->map = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	must(m->map != MAP_FAILED, "mmap");
	h = mkregion_header(m);
	h->magic = GD_MAGIC;
	h->major = GD_MAJOR;
	h->minor = GD_MINOR;
	h->header_size = sizeof(*h);
	h->npackets = npackets;
	h->region_size = m->size;
	h->language = GD_LANG_C;
	h->writer = GD_WRITER_POOL;
	h->clock = GD_CLOCK_MONO;
	h->flags = GD_FLAG_TID;
	h->pid = (uint32_t)getpid();
	h->uid = (uint32_t)geteuid();
	h->nslots = nslots;
	h->start.counter = h->start.mono_ns = mono();
	clock_counter = h->start.counter;
	snprintf(h->agent, sizeof(h->agent), "mkregion");
	snprintf(h->comm, sizeof(h->comm), "made");
	h->state = GD_STATE_READY;
}

void mkregion_die(struct mkregion *m)
{
	if (m->map)
		munmap(m->map, m->size);
	if (m->fd >= 0)
		close(m->fd);
	m->map = NULL;
	m->fd = -1;
}

void mkregion_done(struct mkregion *m)
{
	mkregion_die(m);
	if (*m->dir)
		unlink(m->path);
}

uint32_t mkregion_declare_bytes(struct mkregion *m, const void *desc, size_t len)
{
	struct gd_header *h = mkregion_header(m);
	uint32_t id = h->class_count++, at = h->heap_used;
	struct gd_record *rec = (struct gd_record *)(m->map + GD_OFF_HEAP + at);
	struct gd_class *cl = mkregion_class(m, id);

	h->heap_used += (uint32_t)(sizeof(*rec) + ((len + 7) & ~7u));
	rec->len = (uint32_t)len;
	memcpy(rec + 1, desc, len);
	rec->kind = GD_RECORD_DESC;
	cl->desc_off = GD_OFF_HEAP + at + (uint32_t)sizeof(*rec);
	cl->desc_len = (uint32_t)len;
	cl->hash = gd_desc_hash(desc, len);
	cl->state = GD_CLASS_PUBLISHED;
	return id;
}

uint32_t mkregion_declare(struct mkregion *m, const char *name, unsigned level, unsigned n)
{
	uint8_t d[512] = { GD_DESC_VERSION, GD_KIND_EVENT, (uint8_t)level, (uint8_t)n, (uint8_t)strlen(name) };
	size_t len = 5 + strlen(name);
	unsigned i;

	memcpy(d + 5, name, strlen(name));
	for (i = 0; i < n; i++) {
		const uint8_t field[4] = { 1, (uint8_t)('a' + i), 0, GD_U64 };

		memcpy(d + len, field, 4);
		len += 4;
	}
	return mkregion_declare_bytes(m, d, len);
}

void mkregion_born(struct mkregion *m, unsigned c, const uint8_t session[16], uint32_t mode, uint32_t context, uint32_t packets, uint32_t quota)
{
	struct gd_channel *ch = mkregion_channel(m, c);
	uint32_t i;

	memcpy(ch->session, session, 16);
	ch->mode = mode;
	ch->context = context;
	ch->quota = quota;
	ch->epoch++;
	for (i = 0; i < packets; i++) {
		ch->granted[i / 64] |= 1ull << (i % 64);
		ch->free[i / 64] |= 1ull << (i % 64);
	}
	ch->state = GD_CHANNEL_ON;
	for (i = 0; i < mkregion_header(m)->class_count; i++)
		mkregion_class(m, i)->enabled |= GD_ENABLED(c);
}

static bool take(struct mkregion *m, struct gd_channel *ch, struct gd_slot *slot, uint32_t *ret)
{
	uint32_t i, chain = 0;

	if (ch->mode == GD_MODE_OVERWRITE && slot->cur && slot->tail)
		chain = (uint32_t)(mkregion_packet(m, slot->cur - 1)->seq - GD_TAIL_SEQ(slot->tail)) + 1;
	for (i = 0; i < m->npackets && (ch->mode != GD_MODE_OVERWRITE || chain < ch->quota); i++)
		if (ch->free[i / 64] >> (i % 64) & 1) {
			ch->free[i / 64] &= ~(1ull << (i % 64));
			*ret = i;
			return true;
		}
	if (ch->mode != GD_MODE_OVERWRITE || !slot->tail || GD_TAIL_INDEX(slot->tail) + 1 == slot->cur)
		return false;
	*ret = GD_TAIL_INDEX(slot->tail);
	slot->tail = GD_TAIL(GD_TAIL_SEQ(slot->tail) + 1, mkregion_packet(m, *ret)->next - 1);
	return true;
}

static bool open_packet(struct mkregion *m, unsigned c, unsigned s)
{
	struct gd_channel *ch = mkregion_channel(m, c);
	struct gd_slot *slot = &ch->slot[s];
	struct gd_packet *p, *old = slot->cur ? mkregion_packet(m, slot->cur - 1) : NULL;
	uint32_t i = 0;

	if (!take(m, ch, slot, &i))
		return false;
	p = mkregion_packet(m, i);
	p->lap |= 1;
	p->head = GD_HEAD(0, GD_PACKET_HEADER);
	p->slot = s;
	p->channel = c;
	p->epoch = ch->epoch;
	p->open.counter = p->open.mono_ns = clock_counter;
	p->time_high = clock_counter >> 48;
	p->last_time = 0;
	p->next = 0;
	p->lap++;
	p->prev = slot->cur;
	p->seq = old ? old->seq + 1 : 1;
	p->first = old ? old->first + GD_HEAD_COUNT(old->head) : 0;
	if (old) {
		p->last_time = old->last_time;
		old->next = i + 1;
		if (ch->mode == GD_MODE_OVERWRITE && !slot->tail)
			slot->tail = GD_TAIL(old->seq, slot->cur - 1);
	}
	slot->cur = i + 1;
	return true;
}

bool mkregion_emit(struct mkregion *m, unsigned c, unsigned s, uint32_t id, uint64_t time, const void *payload, uint32_t len)
{
	struct gd_slot *slot = &mkregion_channel(m, c)->slot[s];
	struct gd_packet *p;
	uint64_t word;
	uint32_t off;

	if (!slot->cur || GD_HEAD_OFF(mkregion_packet(m, slot->cur - 1)->head) + 8 + len > GD_PACKET_LIMIT)
		if (!open_packet(m, c, s)) {
			slot->lost[GD_LOST_FULL]++;
			return false;
		}
	p = mkregion_packet(m, slot->cur - 1);
	off = GD_HEAD_OFF(p->head);
	time = time ? time : ++clock_counter;
	word = GD_EVENT_WORD(id, time);
	memcpy((uint8_t *)p + off, &word, 8);
	memcpy((uint8_t *)p + off + 8, payload, len);
	p->last_time = time;
	p->head = GD_HEAD(GD_HEAD_COUNT(p->head) + 1, off + 8 + len);
	return true;
}

struct gd_flight *mkregion_ring(struct mkregion *m)
{
	return (struct gd_flight *)(m->map + GD_OFF_FLIGHT);
}

void mkregion_flight(struct mkregion *m, uint32_t first, uint32_t n)
{
	struct gd_flight *f = mkregion_ring(m);

	mkregion_header(m)->flags |= GD_FLAG_FLIGHT;
	m->ring_first = first;
	m->ring_packets = n;
	f->state = GD_FLIGHT_FLYING;
	f->session = 1;
	f->npackets = n;
	f->period_ms = 10;
	memcpy(f->header, "go 1.26 trace\0\0\0", 16);
}

static uint8_t *ring_at(struct mkregion *m, uint64_t pos)
{
	uint32_t v = (uint32_t)(pos / GD_PACKET % m->ring_packets), i = m->ring_first + v;

	mkregion_ring(m)->packet[pos / GD_PACKET % GD_PACKETS_MAX] = (uint16_t)(i + 1);
	return (uint8_t *)mkregion_packet(m, i) + pos % GD_PACKET;
}

static void ring_put(struct mkregion *m, uint64_t pos, const void *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		*ring_at(m, pos + i) = ((const uint8_t *)data)[i];
}

void mkregion_chunk(struct mkregion *m, unsigned kind, uint64_t gen, uint64_t time_ns, const void *data, uint32_t len)
{
	struct gd_flight *f = mkregion_ring(m);
	struct gd_chunk c = { .pos = f->end, .len = len, .kind = (uint16_t)kind, .gen = gen, .time_ns = time_ns ? time_ns : mono(), .session = f->session };
	uint64_t size = (sizeof(c) + len + 7) & ~7ull;

	/* whole packets are given up, and the last chunk that reaches into one with it */
	while (((f->end + size - 1) / GD_PACKET) - f->tail / GD_PACKET >= m->ring_packets) {
		struct gd_chunk old;
		size_t i;

		for (i = 0; i < sizeof(old); i++)
			((uint8_t *)&old)[i] = *ring_at(m, f->tail + i);
		f->tail += (sizeof(old) + old.len + 7) & ~7ull;
	}
	ring_put(m, f->end, &c, sizeof(c));
	ring_put(m, f->end + sizeof(c), data, len);
	f->end += size;
	if (kind == GD_CHUNK_END)
		f->closed_ns = c.time_ns;
}

static uint32_t put_varint(uint8_t *to, uint64_t v)
{
	uint32_t n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (uint8_t)(v | 0x80);
	to[n++] = (uint8_t)v;
	return n;
}

uint32_t mkregion_batch(uint8_t *to, uint64_t gen, uint8_t fill, uint32_t size)
{
	uint32_t n = 0;

	to[n++] = 1;
	n += put_varint(to + n, gen);
	n += put_varint(to + n, 4711);
	n += put_varint(to + n, 1000000 + gen);
	n += put_varint(to + n, size);
	memset(to + n, fill, size);
	return n + size;
}
