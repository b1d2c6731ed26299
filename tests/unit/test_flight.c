/* The flight ring read from outside, and Go traces over HTTP, from bytes that are made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "collect/collect_record.h"
#include "lib/mkregion.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH 70000u

static const uint8_t mark = GO_END_MARK;

/* Called once where the collector is about to read what it has just looked at: it allocates its buffer there. */
static void (*meanwhile)(void *arg);
static void *meanwhile_arg;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	void (*now)(void *) = meanwhile;

	meanwhile = NULL;
	if (now)
		now(meanwhile_arg);
	return __real_malloc(size);
}

/* Ctrl-C, twice, at the moment when a file's first bytes are written. */
static volatile sig_atomic_t hurry;
static bool hurries;

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	if (hurries && len == GO_HEADER && !memcmp(data, "go 1.", 5))
		hurry = 2;
	return __real_write(fd, data, len);
}

struct at {
	struct mkregion m;
	struct region *r;
	struct flight f;
	char dir[64];
};

/* dir: where the region is; NULL: nowhere that it could be found. */
static void at_open_in(struct at *a, const char *dir, uint32_t ring)
{
	char via[40];
	int fd;

	memset(a, 0, sizeof(*a));
	snprintf(a->dir, sizeof(a->dir), "/tmp/gander-unit-XXXXXX");
	assert_non_null(mkdtemp(a->dir));
	mkregion_new(&a->m, dir, ring + 2, 2);
	mkregion_flight(&a->m, 1, ring);
	snprintf(via, sizeof(via), "/proc/self/fd/%d", a->m.fd);
	fd = open(via, O_PATH | O_CLOEXEC);
	assert_int_equal(region_open(&a->r, fd, -1, a->m.name, a->m.path, (uid_t)-1, true, NULL), 0);
	flight_open(&a->f, a->r, a->dir, "made", 7);
	flight_seek(&a->f, false);
}

static void at_open(struct at *a, uint32_t ring)
{
	at_open_in(a, NULL, ring);
}

static void at_done(struct at *a)
{
	char command[100];

	flight_done(&a->f);
	region_close(a->r);
	mkregion_done(&a->m);
	snprintf(command, sizeof(command), "rm -rf '%s'", a->dir);
	assert_int_equal(system(command), 0);
}

/* One generation of two batches; its bytes are also put where they are expected. */
static void generation(struct at *a, uint64_t gen, uint32_t size, struct buf *expected)
{
	static uint8_t data[BATCH];
	uint32_t len, i;

	for (i = 0; i < 2; i++) {
		len = mkregion_batch(data, gen, (uint8_t)(gen + i), size);
		mkregion_chunk(&a->m, GD_CHUNK_BATCH, gen, 0, data, len);
		if (expected)
			buf_put(expected, data, len);
	}
	mkregion_chunk(&a->m, GD_CHUNK_END, gen, 1000 * gen, &mark, 1);
	if (expected)
		buf_put(expected, &mark, 1);
}

static void expect_file(const char *dir, const char *name, const struct buf *expected)
{
	char path[300];
	struct stat st;
	char *data;
	int fd;

	snprintf(path, sizeof(path), "%s/go/%s", dir, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 16 + expected->len);
	data = malloc((size_t)st.st_size);
	assert_non_null(data);
	assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
	assert_memory_equal(data + 16, expected->data, expected->len);
	free(data);
	close(fd);
}

static void whole_generations_only(void **state)
{
	struct buf expected = BUF_INIT;
	uint8_t data[100];
	struct at a;

	at_open(&a, 4);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 100, &expected);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	expect_file(a.dir, "made-7.trace", &expected);
	/* the open one waits */
	mkregion_chunk(&a.m, GD_CHUNK_BATCH, 2, 0, data, mkregion_batch(data, 2, 9, 50));
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	expect_file(a.dir, "made-7.trace", &expected);
	buf_put(&expected, data, mkregion_batch(data, 2, 9, 50));
	mkregion_chunk(&a.m, GD_CHUNK_END, 2, 2000, "", 0); /* as before Go 1.26 */
	generation(&a, 3, 60000, &expected);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	mkregion_chunk(&a.m, GD_CHUNK_BATCH, 4, 0, data, mkregion_batch(data, 4, 9, 50));
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	go_sink_drop(&a.f.sink);
	expect_file(a.dir, "made-7.trace", &expected);
	assert_int_equal(a.f.sink.nparts, 1);
	assert_int_equal(a.f.sink.part[0].generations, 3);
	assert_int_equal(a.f.sink.part[0].end_ns, 3000);
	assert_int_equal(a.f.sink.torn_bytes, mkregion_batch(data, 4, 9, 50));
	assert_int_equal(a.f.sink.lost_generations, 0);
	buf_done(&expected);
	at_done(&a);
}

static void a_lap_loses_whole_generations(void **state)
{
	struct buf first = BUF_INIT, second = BUF_INIT;
	struct at a;
	uint64_t gen;

	at_open(&a, 4);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 1000, &first);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	for (gen = 2; gen <= 9; gen++)
		generation(&a, gen, 20000, gen >= 6 ? &second : NULL);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	assert_int_equal(a.f.sink.nparts, 2);
	expect_file(a.dir, "made-7.trace", &first);
	gen = a.f.sink.part[1].first_gen;
	assert_in_range(gen, 3, 8);
	assert_int_equal(a.f.sink.part[1].last_gen, 9);
	assert_int_equal(a.f.sink.lost_generations, gen - 2);
	if (gen == 6)
		expect_file(a.dir, "made-7-2.trace", &second);
	buf_done(&first);
	buf_done(&second);
	at_done(&a);
}

static void sessions_and_time(void **state)
{
	struct buf first = BUF_INIT, second = BUF_INIT;
	struct at a;

	at_open(&a, 4);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 10, NULL);
	generation(&a, 2, 10, &first);
	mkregion_ring(&a.m)->session++;
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	mkregion_chunk(&a.m, GD_CHUNK_NOTE, 0, 0, "why", 3);
	generation(&a, 3, 10, &second);
	assert_int_equal(flight_drain(&a.f, 2000, NULL), 0); /* what ended before is passed over */
	assert_int_equal(a.f.sink.nparts, 2);
	expect_file(a.dir, "made-7.trace", &first);
	expect_file(a.dir, "made-7-2.trace", &second);
	assert_int_equal(a.f.sink.lost_generations, 0);
	buf_done(&first);
	buf_done(&second);
	at_done(&a);
}

/* As flight.Snapshot() does it: the packets change hands, the ring goes on at the next. */
static void put_aside(struct at *a)
{
	struct gd_flight *g = mkregion_ring(&a->m);
	uint64_t next = (g->end + GD_PACKET - 1) & ~(uint64_t)(GD_PACKET - 1);

	memcpy(g->saved.packet, g->packet, sizeof(g->packet));
	g->saved.tail = g->tail;
	g->saved.end = g->end;
	snprintf(g->saved.reason, sizeof(g->saved.reason), "too slow");
	g->saved.state = GD_SAVED_READY;
	g->tail = g->end = next;
}

static void set_aside(void **state)
{
	struct buf all = BUF_INIT, later = BUF_INIT, set = BUF_INIT;
	struct gd_flight *g;
	struct at a;

	at_open(&a, 6);
	g = mkregion_ring(&a.m);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 100, &all);
	buf_put(&set, all.data, all.len);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	generation(&a, 2, 100, &all);
	buf_put(&set, all.data + set.len, all.len - set.len);
	put_aside(&a);
	generation(&a, 3, 100, &later);
	buf_put(&all, later.data, later.len);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	expect_file(a.dir, "made-7.trace", &all);
	assert_int_equal(g->saved.state, GD_SAVED_TAKEN); /* who follows the ring has it */
	g->saved.state = GD_SAVED_READY;
	assert_int_equal(flight_drain_saved(&a.f, NULL), 0);
	assert_int_equal(a.f.sink.nparts, 2);
	expect_file(a.dir, "made-7-2.trace", &set);
	assert_string_equal(a.f.sink.part[1].reason, "too slow");
	buf_done(&all);
	buf_done(&later);
	buf_done(&set);
	at_done(&a);
}

static void put_aside_and_go_on(void *arg)
{
	uint8_t data[100];
	struct at *a = arg;

	put_aside(a);
	mkregion_chunk(&a->m, GD_CHUNK_BATCH, 3, 0, data, mkregion_batch(data, 3, 3, 20));
	mkregion_chunk(&a->m, GD_CHUNK_END, 3, 3000, &mark, 1);
}

/* In the middle of a generation, and while the collector reads it. */
static void set_aside_meanwhile(void **state)
{
	struct buf all = BUF_INIT;
	uint8_t data[100];
	uint32_t begun;
	struct at a;

	for (begun = 0; begun < 2; begun++) {
		at_open(&a, 6);
		mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
		generation(&a, 1, 60000, &all); /* more than a packet */
		if (begun)
			assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		generation(&a, 2, 100, &all);
		mkregion_chunk(&a.m, GD_CHUNK_BATCH, 3, 0, data, mkregion_batch(data, 3, 9, 50));
		buf_put(&all, data, mkregion_batch(data, 3, 9, 50));
		meanwhile = put_aside_and_go_on;
		meanwhile_arg = &a;
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		assert_null(meanwhile);
		buf_put(&all, data, mkregion_batch(data, 3, 3, 20));
		buf_put(&all, &mark, 1);
		assert_int_equal(a.f.sink.nparts, 1);
		assert_int_equal(a.f.sink.part[0].generations, 3);
		assert_int_equal(a.f.sink.lost_generations, 0);
		expect_file(a.dir, "made-7.trace", &all);
		assert_int_equal(mkregion_ring(&a.m)->saved.state, GD_SAVED_TAKEN);
		buf_done(&all);
		at_done(&a);
	}
}

/* By somebody else, when all of it had been read already: the gap is none. When not, it is lost, and half a generation is not written. */
static void set_aside_and_taken(void **state)
{
	struct buf all = BUF_INIT;
	uint8_t data[100];
	uint32_t read;
	struct at a;

	for (read = 0; read < 2; read++) {
		at_open(&a, 6);
		mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
		generation(&a, 1, 100, &all);
		if (!read)
			assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		mkregion_chunk(&a.m, GD_CHUNK_BATCH, 2, 0, data, mkregion_batch(data, 2, 9, 50));
		if (read) {
			assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
			buf_put(&all, data, mkregion_batch(data, 2, 9, 50));
		}
		put_aside(&a);
		mkregion_ring(&a.m)->saved.state = GD_SAVED_NONE;
		mkregion_chunk(&a.m, GD_CHUNK_BATCH, 2, 0, data, mkregion_batch(data, 2, 3, 20));
		mkregion_chunk(&a.m, GD_CHUNK_END, 2, 2000, &mark, 1);
		if (read) {
			buf_put(&all, data, mkregion_batch(data, 2, 3, 20));
			buf_put(&all, &mark, 1);
		}
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		expect_file(a.dir, "made-7.trace", &all);
		assert_int_equal(a.f.sink.part[0].generations, read ? 2 : 1);
		generation(&a, 3, 100, NULL);
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		assert_int_equal(a.f.sink.lost_generations, read ? 0 : 1);
		assert_int_equal(a.f.sink.nparts, read ? 1 : 2);
		buf_done(&all);
		at_done(&a);
	}
}

/* The program had no memory for all of a generation: it has no end, and the one behind it is whole. */
static void a_generation_with_a_hole(void **state)
{
	struct buf first = BUF_INIT, third = BUF_INIT;
	uint8_t data[100];
	struct at a;

	at_open(&a, 6);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 100, &first);
	mkregion_chunk(&a.m, GD_CHUNK_BATCH, 2, 0, data, mkregion_batch(data, 2, 9, 50));
	mkregion_ring(&a.m)->lost_bytes += 77;
	generation(&a, 3, 100, &third);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	assert_int_equal(a.f.sink.nparts, 2);
	expect_file(a.dir, "made-7.trace", &first);
	expect_file(a.dir, "made-7-2.trace", &third);
	assert_int_equal(a.f.sink.lost_generations, 1);
	assert_int_equal(a.f.sink.lost_bytes, 77);
	assert_int_equal(a.f.sink.torn_bytes, mkregion_batch(data, 2, 9, 50));
	buf_done(&first);
	buf_done(&third);
	at_done(&a);
}

/* Counted although none comes behind it that could be written. */
static void the_last_is_lost(void **state)
{
	static uint8_t data[BATCH];
	struct at a;
	int i;

	at_open(&a, 4);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 100, NULL);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	generation(&a, 2, 100, NULL);
	for (i = 0; i < 6; i++) /* more than the ring holds */
		mkregion_chunk(&a.m, GD_CHUNK_BATCH, 3, 0, data, mkregion_batch(data, 3, 1, 60000));
	mkregion_chunk(&a.m, GD_CHUNK_END, 3, 3000, &mark, 1);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	assert_int_equal(a.f.sink.nparts, 1);
	assert_int_equal(a.f.sink.lost_generations, 2);
	at_done(&a);
}

static void damage(void **state)
{
	static const struct {
		const char *what;
		size_t at, len;
	} places[] = {
		{ "pos", offsetof(struct gd_chunk, pos), 8 },
		{ "len", offsetof(struct gd_chunk, len), 4 },
		{ "kind", offsetof(struct gd_chunk, kind), 2 },
		{ "gen", offsetof(struct gd_chunk, gen), 8 },
		{ "session", offsetof(struct gd_chunk, session), 4 },
		{ "batch", sizeof(struct gd_chunk), 6 },
	};
	struct gd_flight *g;
	struct at a;
	uint64_t end;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		at_open(&a, 4);
		mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
		generation(&a, 1, 100, NULL);
		end = mkregion_ring(&a.m)->end;
		generation(&a, 2, 100, NULL);
		memset((uint8_t *)mkregion_packet(&a.m, 1) + end + places[i].at, 0xee, places[i].len);
		generation(&a, 3, 100, NULL);
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		assert_true(a.f.sink.nparts >= 1);
		assert_int_equal(a.f.sink.part[0].first_gen, 1);
		at_done(&a);
	}
	/* words that lead outside */
	at_open(&a, 4);
	g = mkregion_ring(&a.m);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 100, NULL);
	g->packet[0] = 60000;
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	g->end = UINT64_MAX - 3;
	flight_seek(&a.f, false);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	g->tail = UINT64_MAX;
	g->end = 5;
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	g->saved.state = GD_SAVED_READY;
	g->saved.end = UINT64_MAX;
	assert_int_equal(flight_drain_saved(&a.f, NULL), 0);
	assert_int_equal(a.f.sink.nparts, 0);
	at_done(&a);
}

/* A hostile program that knows where the collector reads, and has always written what comes there: as if the ring had no end. A generation takes CELL
 * bytes of it, so that none reaches into a second packet. */
#define CELL 256u
struct chaser {
	struct at *a;
	uint64_t end; /* that it says there is; 0: what it has written */
	volatile bool ahead, stop;
};

static void write_cell(struct mkregion *m, uint64_t pos)
{
	uint8_t *at = (uint8_t *)mkregion_packet(m, m->ring_first) + pos % (m->ring_packets * (uint64_t)GD_PACKET);
	struct gd_chunk c = { .pos = pos, .kind = GD_CHUNK_BATCH, .gen = 300 + pos / CELL, .time_ns = 1, .session = 1 };

	c.len = mkregion_batch(at + sizeof(c), c.gen, 7, 152); /* 162 bytes, or 163 */
	memcpy(at, &c, sizeof(c));
	at += CELL - 48;
	c.pos += CELL - 48;
	c.kind = GD_CHUNK_END;
	c.len = 1;
	at[sizeof(c)] = mark;
	memcpy(at, &c, sizeof(c));
}

static void *chase(void *arg)
{
	struct chaser *c = arg;
	struct gd_flight *g = mkregion_ring(&c->a->m);
	uint64_t pos = 0, lead = (c->a->m.ring_packets - 1) * (uint64_t)GD_PACKET;
	unsigned i;

	for (i = 0; i < GD_PACKETS_MAX; i++)
		g->packet[i] = (uint16_t)(c->a->m.ring_first + i % c->a->m.ring_packets + 1);
	while (!c->stop) {
		if (pos - __atomic_load_n(&c->a->f.pos, __ATOMIC_RELAXED) > lead) {
			c->ahead = true;
			continue;
		}
		write_cell(&c->a->m, pos);
		pos += CELL;
		__atomic_store_n(&g->end, c->end ? c->end : pos, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void a_ring_without_end(void **state)
{
	static const uint64_t ends[] = { 0, UINT64_MAX - 7, 60u << 20 };
	struct chaser c = { 0 };
	volatile sig_atomic_t stop = 0;
	unsigned i, k;
	pthread_t th;
	struct at a;

	for (i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		at_open(&a, 64);
		c = (struct chaser) { .a = &a, .end = ends[i] };
		assert_int_equal(pthread_create(&th, NULL, chase, &c), 0);
		while (!c.ahead)
			usleep(100);
		for (k = 0; k < 20; k++) { /* each ends, and has not had more than there can be */
			uint64_t before = a.f.sink.written;

			assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
			assert_in_range(a.f.sink.written - before, 0, (uint64_t)a.r->npackets * GD_PACKET);
		}
		a.f.room = 1; /* --max-size */
		k = (unsigned)a.f.sink.written;
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		assert_in_range(a.f.sink.written - k, 0, 200);
		a.f.room = UINT64_MAX;
		a.f.stop = &stop; /* Ctrl-C */
		stop = 1;
		k = (unsigned)a.f.sink.written;
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		assert_int_equal(a.f.sink.written, k);
		stop = 0;
		a.f.until_ns = 1; /* its time is over */
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		assert_int_equal(a.f.sink.written, k);
		c.stop = true;
		pthread_join(th, NULL);
		at_done(&a);
	}
}

/* One generation that never ends takes no more memory than a ring can hold. */
static void a_generation_without_end(void **state)
{
	static uint8_t data[BATCH];
	struct at a;
	unsigned i;

	at_open(&a, 4);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 10, NULL);
	for (i = 0; i < 20; i++) {
		mkregion_chunk(&a.m, GD_CHUNK_BATCH, 2, 0, data, mkregion_batch(data, 2, 9, 60000));
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		assert_in_range(a.f.sink.pending.len, 0, a.f.sink.most);
	}
	assert_int_equal(a.f.sink.most, a.r->npackets * GD_PACKET);
	assert_in_range(a.f.sink.lost_bytes, 60000, 20 * BATCH);
	mkregion_chunk(&a.m, GD_CHUNK_END, 2, 2000, &mark, 1);
	generation(&a, 3, 100, NULL);
	assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
	assert_int_equal(a.f.sink.generations, 2);
	assert_int_equal(a.f.sink.lost_generations, 1);
	assert_int_equal(a.f.sink.nparts, 2);
	at_done(&a);
}

/* Two recordings follow one program. What it sets aside is there until both have it; one that is dead, or does not follow, keeps it from nobody. */
static void set_aside_for_two(void **state)
{
	struct flight_wish w = { .follows = true };
	struct flight slow;
	struct buf all = BUF_INIT;
	struct gd_flight *g;
	struct at a;
	char dir[80];
	unsigned how;

	for (how = 0; how < 3; how++) { /* both live; the slow one seems dead; it does not say that it follows, as an older one */
		at_open(&a, 6);
		g = mkregion_ring(&a.m);
		snprintf(dir, sizeof(dir), "%s/slow", a.dir);
		assert_int_equal(mkdir(dir, 0700), 0);
		flight_open(&slow, a.r, dir, "made", 7);
		flight_seek(&slow, false);
		w.follows = how != 2;
		assert_int_equal(flight_ask(&slow, &w, NULL), 0);
		w.follows = true;
		assert_int_equal(flight_ask(&a.f, &w, NULL), 0);
		mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
		generation(&a, 1, 100, &all);
		assert_int_equal(flight_drain(&slow, 0, NULL), 0);
		generation(&a, 2, 100, &all);
		put_aside(&a);
		generation(&a, 3, 100, &all);
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		expect_file(a.dir, "made-7.trace", &all);
		assert_int_equal(g->saved.state, how == 2 ? GD_SAVED_TAKEN : GD_SAVED_READY);
		if (how == 1) {
			region_control(a.r)->ask[slow.ask].until_ns = 1;
			assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
			assert_int_equal(g->saved.state, GD_SAVED_TAKEN); /* a dead one does not hold it */
		}
		assert_int_equal(flight_drain(&slow, 0, NULL), 0);
		if (!how)
			expect_file(dir, "made-7.trace", &all);
		assert_int_equal(g->saved.state, GD_SAVED_TAKEN);
		assert_int_equal(slow.sink.lost_generations, how ? 2 : 0); /* told; the one behind it tells where it goes on */
		assert_int_equal(a.f.sink.lost_generations, 0);
		flight_done(&slow);
		buf_done(&all);
		at_done(&a);
	}
}

/* Of a snapshot that is cut off what is missing is counted, and what was set aside stays for the next. */
static void set_aside_and_cut_off(void **state)
{
	struct snapshot_opts so = { .npids = 1, .ctf_version = 1, .stop = &hurry };
	const pid_t pid = getpid();
	struct snapshot_result result;
	struct err err = ERR_INIT;
	struct buf first = BUF_INIT, all = BUF_INIT;
	char dir[100], name[40];
	struct gd_flight *g;
	uint64_t cut;
	struct at a;
	int i;

	at_open_in(&a, "/dev/shm", 6);
	g = mkregion_ring(&a.m);
	mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
	generation(&a, 1, 100, &first);
	cut = g->end;
	buf_put(&all, first.data, first.len);
	generation(&a, 2, 100, &all);
	generation(&a, 3, 100, &all);
	put_aside(&a);
	so.pids = &pid;
	so.dir = dir;
	snprintf(name, sizeof(name), "made-%d.trace", (int)pid);
	hurry = 2; /* before a whole generation was read: there is no snapshot, and it is said why */
	snprintf(dir, sizeof(dir), "%s/none", a.dir);
	assert_int_equal(snapshot_run(&so, &result, &err), -EINTR);
	assert_non_null(strstr(err.text, "ended before"));
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(g->saved.state, GD_SAVED_READY);
	for (i = 0; i < 2; i++) {
		snprintf(dir, sizeof(dir), "%s/%d", a.dir, i);
		hurry = 0;
		hurries = !i;
		assert_int_equal(snapshot_run(&so, &result, NULL), 0);
		hurries = false;
		assert_int_equal(result.go.generations, i ? 3 : 1);
		assert_int_equal(result.go.lost_bytes, i ? 0 : g->saved.end - cut);
		expect_file(dir, name, i ? &all : &first);
		assert_int_equal(g->saved.state, i ? GD_SAVED_TAKEN : GD_SAVED_READY);
	}
	buf_done(&first);
	buf_done(&all);
	at_done(&a);
}

/* What was overwritten is told although nothing comes behind it, or what comes counts anew. */
static void what_no_number_tells(void **state)
{
	struct flight_wish w = { .follows = true };
	struct at a;
	unsigned how;

	for (how = 0; how < 3; how++) {
		at_open(&a, 4);
		assert_int_equal(flight_ask(&a.f, &w, NULL), 0);
		mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
		generation(&a, 1, 100, NULL);
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		generation(&a, 2, 100, NULL);
		put_aside(&a);
		mkregion_ring(&a.m)->saved.state = GD_SAVED_NONE;
		if (how) {
			mkregion_ring(&a.m)->session++;
			if (how == 1)
				mkregion_chunk(&a.m, GD_CHUNK_START, 0, 0, "", 0);
			generation(&a, 1, 100, NULL);
		}
		assert_int_equal(flight_drain(&a.f, 0, NULL), 0);
		flight_last(&a.f);
		assert_int_equal(a.f.sink.lost_generations, 1);
		flight_last(&a.f);
		assert_int_equal(a.f.sink.lost_generations, 1);
		at_done(&a);
	}
}

static void asks(void **state)
{
	struct flight_wish w = { .period_ms = 50 };
	struct flight f[GD_ASKS + 1];
	struct gd_control *k;
	struct err err = ERR_INIT;
	struct at a;
	unsigned i;

	at_open(&a, 4);
	k = region_control(a.r);
	for (i = 0; i <= GD_ASKS; i++) {
		flight_open(&f[i], a.r, a.dir, "made", 7);
		assert_int_equal(flight_ask(&f[i], &w, &err), i < GD_ASKS ? 0 : -EBUSY);
	}
	assert_int_equal(k->fly, 0xff);
	assert_int_equal(k->ask[3].period_ms, 50);
	/* one whose collector has died lapses, and is anybody's */
	k->ask[3].until_ns = 1;
	assert_int_equal(flight_ask(&f[GD_ASKS], &w, &err), 0);
	assert_int_equal(f[GD_ASKS].ask, 3);
	flight_withdraw(&f[5]);
	assert_int_equal(k->fly, 0xdf);
	assert_int_equal(k->ask[5].until_ns, 0);
	for (i = 0; i <= GD_ASKS; i++)
		flight_done(&f[i]);
	assert_int_equal(k->fly, 0);
	at_done(&a);
}

/* A program's end of the pipe that wakes it: one descriptor of both kinds. */
static int bell(void)
{
	char via[40];
	int ends[2], fd;

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	snprintf(via, sizeof(via), "/proc/self/fd/%d", ends[0]);
	fd = open(via, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	close(ends[0]);
	close(ends[1]);
	return fd;
}

static uint32_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint32_t)st.st_ino;
}

static void publish(struct at *a, int fd)
{
	mkregion_header(&a->m)->wake_fd = (uint32_t)fd + 1;
	mkregion_header(&a->m)->wake_ino = fd < 0 ? 0 : inode(fd);
}

static int bytes_in(int fd)
{
	int n = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static void wakes(void **state)
{
	char bytes[4096] = "";
	struct err err = ERR_INIT;
	struct at a;
	int fd = bell(), i;

	at_open(&a, 4);
	a.f.sink.pid = getpid();
	publish(&a, fd);
	assert_int_equal(flight_wake(&a.f, &err), 0);
	assert_int_equal(bytes_in(fd), 0); /* it flies: it looks by itself */
	mkregion_ring(&a.m)->state = GD_FLIGHT_IDLE;
	for (i = 1; i <= 3; i++) {
		assert_int_equal(flight_wake(&a.f, &err), 0);
		assert_int_equal(bytes_in(fd), i);
	}
	/* who renews an ask wakes too */
	assert_int_equal(flight_ask(&a.f, &(struct flight_wish) { 0 }, &err), 0);
	flight_renew(&a.f, a.f.renewed_ns + GO_LEASE_NS);
	assert_int_equal(bytes_in(fd), 4);
	/* full: somebody has been here before */
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	assert_int_equal(flight_wake(&a.f, &err), 0);
	/* an agent that looks once a second publishes nothing, and nothing is said about it */
	mkregion_header(&a.m)->wake_fd = 0;
	assert_int_equal(flight_wake(&a.f, &err), 0);
	assert_int_equal(err.code, 0);
	/* nor about one that has ended */
	publish(&a, fd);
	close(fd);
	assert_int_equal(flight_wake(&a.f, &err), -ENOENT);
	assert_non_null(strstr(err.text, "GANDER_FLIGHT=look"));
	a.f.sink.pid = 0;
	assert_int_equal(flight_wake(&a.f, &err), -ESRCH);
	mkregion_die(&a.m);
	assert_int_equal(flight_wake(&a.f, &err), 0);
	at_done(&a);
}

/* What a program may publish, and never gets a byte. */
static void wakes_nobody_else(void **state)
{
	static const uint32_t numbers[] = { 1u << 31, (1u << 31) + 1, UINT32_MAX, 1u << 30, 100000 };
	char fifo[100], file[100];
	int ends[2], sockets[2], fds[8], n = 0, i;
	struct err err = ERR_INIT;
	struct at a;

	at_open(&a, 4);
	a.f.sink.pid = getpid();
	mkregion_ring(&a.m)->state = GD_FLIGHT_IDLE;
	snprintf(fifo, sizeof(fifo), "%s/fifo", a.dir);
	snprintf(file, sizeof(file), "%s/file", a.dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	fds[n++] = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	fds[n++] = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fds[n++] = ends[0]; /* another's pipe: one end of it is all that a program has */
	fds[n++] = ends[1];
	fds[n++] = sockets[0];
	fds[n++] = sockets[1];
	fds[n++] = open(a.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds[n++] = open(fifo, O_PATH | O_CLOEXEC);
	for (i = 0; i < n; i++) {
		assert_true(fds[i] >= 0);
		publish(&a, fds[i]);
		assert_int_equal(flight_wake(&a.f, &err), -ENOENT);
	}
	assert_int_equal(bytes_in(fds[0]), 0);
	assert_int_equal(lseek(fds[1], 0, SEEK_END), 0);
	assert_int_equal(bytes_in(ends[0]), 0);
	assert_int_equal(bytes_in(sockets[0]), 0);
	assert_int_equal(bytes_in(sockets[1]), 0);
	for (i = 0; i < n; i++)
		close(fds[i]);
	/* a pipe of that kind, but not the one that was published */
	fds[0] = bell();
	publish(&a, fds[0]);
	mkregion_header(&a.m)->wake_ino++;
	assert_int_equal(flight_wake(&a.f, &err), -ENOENT);
	assert_int_equal(bytes_in(fds[0]), 0);
	close(fds[0]);
	for (i = 0; i < (int)(sizeof(numbers) / sizeof(*numbers)); i++) {
		mkregion_header(&a.m)->wake_fd = numbers[i];
		assert_int_equal(flight_wake(&a.f, &err), -ENOENT);
	}
	at_done(&a);
}

struct swapper {
	int number, theirs, own;
	bool end;
};

static void *swap(void *arg)
{
	struct swapper *s = arg;

	while (!__atomic_load_n(&s->end, __ATOMIC_RELAXED)) {
		dup2(s->theirs, s->number);
		dup2(s->own, s->number);
	}
	return NULL;
}

/* The same while the number changes hands: the pipe of which the program has one end only, its own of both kinds, and back. */
static void wakes_nobody_in_between(void **state)
{
	struct swapper s = { 0 };
	char text[400] = "";
	pthread_t thread;
	struct at a;
	int ends[2], i;
	FILE *info;

	at_open(&a, 4);
	a.f.sink.pid = getpid();
	mkregion_ring(&a.m)->state = GD_FLIGHT_IDLE;
	assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	s.own = bell();
	s.theirs = ends[0];
	s.number = dup(s.own);
	publish(&a, ends[0]);
	mkregion_header(&a.m)->wake_fd = (uint32_t)s.number + 1;
	snprintf(text, sizeof(text), "/proc/self/fdinfo/%d", s.number);
	info = fopen(text, "re");
	assert_non_null(info);
	text[fread(text, 1, sizeof(text) - 1, info)] = 0;
	fclose(info);
	if (strstr(text, "\nino:")) {
		assert_int_equal(pthread_create(&thread, NULL, swap, &s), 0);
		for (i = 0; i < 3000; i++)
			flight_wake(&a.f, NULL);
		__atomic_store_n(&s.end, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		assert_int_equal(bytes_in(ends[0]), 0);
	}
	close(s.number);
	close(s.own);
	close(ends[0]);
	close(ends[1]);
	at_done(&a);
}

/* Another user, or a process that hides. */
static void wakes_by_permission(void **state)
{
	struct err err = ERR_INIT;
	struct at a;
	int fd = bell(), status;
	pid_t child;

	at_open(&a, 4);
	mkregion_ring(&a.m)->state = GD_FLIGHT_IDLE;
	publish(&a, fd);
	a.f.sink.pid = getpid();
	assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
	child = fork();
	if (!child) {
		if (!geteuid() && setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		_exit(flight_wake(&a.f, &err) != -EACCES || !strstr(err.text, "run gander as its user, or as root"));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
	assert_int_equal(status, 0);
	assert_int_equal(bytes_in(fd), 0);
	close(fd);
	at_done(&a);
}

static void batches(void **state)
{
	uint8_t data[200];
	uint32_t len = mkregion_batch(data, 300, 1, 100), i;
	uint64_t gen;

	for (i = 0; i < len; i++)
		assert_int_equal(go_batch(data, i, &gen), 0);
	assert_int_equal(go_batch(data, sizeof(data), &gen), len);
	assert_int_equal(gen, 300);
	data[0] = 2;
	assert_int_equal(go_batch(data, len, &gen), 0);
	memset(data, 0xff, sizeof(data));
	data[0] = 1;
	assert_int_equal(go_batch(data, sizeof(data), &gen), 0);
	memset(data, 0, sizeof(data));
	data[0] = 1;
	assert_int_equal(go_batch(data, sizeof(data), &gen), 0); /* generation 0 */
}

/* An answer in pieces of n bytes: the same file, whatever n is. */
static void feed(const struct buf *answer, size_t n, struct go_answer *ans, struct go_sink *s, const char *dir, bool closed)
{
	size_t i;

	go_sink_init(s, dir, "made", 7, "http");
	go_answer_init(ans);
	for (i = 0; i < answer->len; i += n)
		assert_int_equal(go_answer_feed(ans, s, answer->data + i, answer->len - i < n ? answer->len - i : n, NULL), 0);
	if (closed)
		assert_int_equal(go_answer_eof(ans, s, NULL), 0);
}

static void answers(void **state)
{
	static const size_t pieces[] = { 1, 2, 7, 100, 4096, 1u << 20 };
	static const unsigned versions[] = { 21, 22, 25, 26 };
	char dir[] = "/tmp/gander-unit-XXXXXX", command[100];
	size_t i, v, g;

	assert_non_null(mkdtemp(dir));
	for (v = 0; v < 4; v++)
		for (i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
			struct buf body = BUF_INIT, answer = BUF_INIT;
			struct go_answer ans;
			struct go_sink s;
			uint8_t data[5000];

			buf_printf(&body, "go 1.%u trace", versions[v]);
			buf_put(&body, "\0\0\0", 3);
			for (g = 1; g <= 3; g++) {
				buf_put(&body, data, mkregion_batch(data, g, 3, 4000));
				buf_put(&body, data, mkregion_batch(data, g, 4, 0));
				if (versions[v] == 26)
					buf_putc(&body, GO_END_MARK);
			}
			buf_puts(&answer, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
			for (g = 0; g < body.len; g += 1000) {
				buf_printf(&answer, "%zx\r\n", body.len - g < 1000 ? body.len - g : 1000);
				buf_put(&answer, body.data + g, body.len - g < 1000 ? body.len - g : 1000);
				buf_puts(&answer, "\r\n");
			}
			buf_puts(&answer, "0\r\n\r\n");
			feed(&answer, pieces[i], &ans, &s, dir, false);
			assert_int_equal(ans.state, GO_HTTP_END);
			assert_int_equal(s.nparts, 1);
			assert_int_equal(s.part[0].bytes, body.len);
			assert_int_equal(s.part[0].generations, versions[v] < 22 ? 1 : 3);
			memmove(body.data, body.data + 16, body.len - 16);
			body.len -= 16;
			expect_file(dir, s.part[0].file + 3, &body);
			go_sink_done(&s);
			go_answer_done(&ans);
			/* cut off in the last generation */
			answer.len -= 200;
			feed(&answer, pieces[i], &ans, &s, dir, true);
			assert_int_equal(s.nparts, versions[v] >= 22);
			if (s.nparts)
				assert_int_equal(s.part[0].generations, 2);
			else
				assert_int_equal(ans.state, GO_HTTP_BROKEN);
			go_sink_done(&s);
			go_answer_done(&ans);
			buf_done(&body);
			buf_done(&answer);
		}
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

static void bad_answers(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP" },
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n", "404 Not Found" },
		{ "HTTP/1.1 500 Internal Server Error\r\n\r\nCould not enable tracing", "500" },
		{ "HTTP/1.1 200 OK\r\n\r\n<html><body>this is no trace</body></html>", "no Go trace" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "damaged" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "damaged" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\ngo 1.26 trace", "closed the connection" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngo 1\r\n0\r\n\r\n", NULL },
		{ "", "closed the connection" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf answer = BUF_INIT;
		struct go_answer ans;
		struct go_sink s;

		buf_puts(&answer, cases[i].text);
		feed(&answer, 3, &ans, &s, "/nonexistent", true);
		assert_int_equal(ans.state, cases[i].why ? GO_HTTP_BROKEN : GO_HTTP_END);
		if (cases[i].why)
			assert_non_null(strstr(ans.why, cases[i].why));
		assert_int_equal(s.nparts, 0);
		go_sink_done(&s);
		go_answer_done(&ans);
		buf_done(&answer);
	}
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int listen_somewhere(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

/* What the one that has /debug/pprof says when it is asked for the command line. */
static void say_cmdline(int fd)
{
	char text[5000] = "HTTP/1.1 200 OK\r\n\r\n";
	FILE *f = fopen("/proc/self/cmdline", "re");
	size_t n = strlen(text);

	assert_non_null(f);
	n += fread(text + n, 1, sizeof(text) - n, f);
	fclose(f);
	assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), n);
}

#define PORTS  12
#define PROBES 3u

/* Whoever listens on many ports takes no more sockets than its part, and is asked at each all the same. */
static void so_many_ports_at_a_time(void **state)
{
	int port[PORTS], taken[PROBES], i, k, asked = 0, n = 0, before;
	struct err err = ERR_INIT;
	struct go_http h;

	for (i = 0; i < PORTS; i++)
		port[i] = listen_somewhere();
	before = descriptors();
	assert_int_equal(go_http_open(&h, "/nonexistent", "made", getpid(), NULL, 1, &err), 0);
	go_http_probes(&h, PROBES);
	while (h.at == GO_HTTP_FINDS) {
		for (k = 0; k < 20; k++)
			assert_int_equal(go_http_read(&h, 0, &err), 1);
		assert_in_range(descriptors() - before, 0, PROBES);
		for (i = 0; i < PORTS && h.at == GO_HTTP_FINDS; i++) {
			while (n < (int)PROBES && (taken[n] = accept4(port[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
				asked++;
				n++;
			}
		}
		for (; n; n--) {
			if (asked == PORTS && n == 1)
				say_cmdline(taken[0]);
			close(taken[n - 1]);
		}
	}
	assert_int_equal(asked, PORTS);
	assert_int_not_equal(h.at, GO_HTTP_FINDS);
	assert_int_equal(descriptors() - before, 1); /* the call: nobody is asked any more */
	go_http_close(&h);
	for (i = 0; i < PORTS; i++)
		close(port[i]);
}

/* One that is looked for alone is asked at all of its ports at once: however many say nothing, the one that does answers in time. */
static void alone_all_ports_at_once(void **state)
{
	struct record_opts o = { .mode = GD_MODE_OVERWRITE, .go = true };
	struct record *rec = calloc(1, sizeof(*rec));
	int port[PORTS], fd, i, k, asked = 0;

	assert_non_null(rec);
	rec->o = &o;
	for (i = 0; i < PORTS; i++)
		port[i] = listen_somewhere();
	fly_bare(rec, getpid());
	assert_int_equal(rec->nhttp, 1);
	record_http(rec);
	for (k = 0; k < 3000 && asked < PORTS; k++, usleep(10000)) /* the calls of that one look are on their way */
		for (i = 0; i < PORTS; i++)
			while ((fd = accept4(port[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
				asked++;
				close(fd);
			}
	assert_int_equal(asked, PORTS);
	record_http_drop(rec);
	for (i = 0; i < PORTS; i++)
		close(port[i]);
	buf_done(&rec->go_ended);
	free(rec->problem);
	free(rec);
}

/* As many as can be are recorded over HTTP: another is looked for all the same, and called when one of them has ended. What they hold is bounded together, also
 * where nobody drains flight rings. */
static void a_search_takes_nobodys_place(void **state)
{
	struct record_opts o = { .mode = GD_MODE_OVERWRITE };
	struct record *rec = calloc(1, sizeof(*rec));
	int pair[2], port = listen_somewhere(), fd, full;
	struct go_http *h;
	unsigned i;

	assert_non_null(rec);
	rec->o = &o;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	for (i = 0; i < HTTP_MAX; i++) {
		h = calloc(1, sizeof(*h));
		assert_non_null(h);
		h->at = GO_HTTP_TALKS;
		h->fd = dup(pair[0]);
		go_sink_init(&h->sink, "/nonexistent", "made", 7, "http");
		go_answer_init(&h->answer);
		h->sink.pending.cap = GO_PENDING; /* as if it had so much */
		rec->http[rec->nhttp++] = h;
	}
	record_http(rec);
	for (i = 0; i < HTTP_MAX; i++) {
		assert_int_equal(rec->http[i]->sink.most, GO_PENDING_ALL / HTTP_MAX);
		rec->http[i]->sink.pending.cap = 0;
	}
	fly_bare(rec, getpid());
	assert_int_equal(rec->nproblem, 1); /* there is no place: it is not looked for */
	assert_int_equal(rec->nhttp, HTTP_MAX);
	for (full = 0; full < 2; full++) {
		h = rec->http[--rec->nhttp];
		fly_bare(rec, getpid());
		assert_int_equal(rec->nhttp, HTTP_MAX);
		if (full)
			rec->http[rec->nhttp++] = h; /* its place has been taken meanwhile */
		while ((fd = accept4(port, NULL, NULL, SOCK_CLOEXEC)) < 0)
			record_http(rec);
		say_cmdline(fd);
		close(fd);
		for (i = 0; i < rec->nhttp && rec->http[i]->at != GO_HTTP_FINDS; i++)
			;
		assert_in_range(i, 0, rec->nhttp - 1);
		while (i < rec->nhttp && rec->http[i]->at == GO_HTTP_FINDS)
			record_http(rec);
		if (full) {
			assert_int_equal(rec->nproblem, 2);
			assert_non_null(strstr(rec->problem[1].text, "as many others as can be"));
			assert_int_equal(rec->nhttp, HTTP_MAX);
		} else {
			assert_int_equal(rec->nproblem, 1);
			assert_int_not_equal(rec->http[i]->at, GO_HTTP_FINDS);
			while ((fd = accept4(port, NULL, NULL, SOCK_CLOEXEC)) < 0)
				;
			close(fd);
			go_http_close(rec->http[i]);
			free(rec->http[i]);
			rec->http[i] = h;
		}
	}
	while (rec->nhttp) {
		go_http_close(rec->http[--rec->nhttp]);
		free(rec->http[rec->nhttp]);
	}
	close(pair[0]);
	close(pair[1]);
	close(port);
	buf_done(&rec->go_ended);
	free(rec->problem);
	free(rec);
}

/* As many are looked for as can be, and say nothing: the next waits for its turn, and is looked for then. Also where the recording ends meanwhile. */
static void each_has_its_turn(void **state)
{
	struct record_opts o = { .mode = GD_MODE_OVERWRITE, .go = true };
	struct record *rec;
	struct program p;
	int port, ends;
	unsigned i;
	struct at a;

	for (ends = 0; ends < 2; ends++) {
		rec = calloc(1, sizeof(*rec));
		assert_non_null(rec);
		rec->o = &o;
		at_open(&a, 4);
		mkregion_header(&a.m)->flags &= ~GD_FLAG_FLIGHT;
		a.r->head.language = GD_LANG_GO;
		p = (struct program) { .r = a.r, .pid = getpid(), .ch.mode = GD_MODE_OVERWRITE };
		port = listen_somewhere();
		for (i = 0; i < SEARCHES_MAX; i++)
			fly_bare(rec, getpid());
		assert_int_equal(rec->nhttp, SEARCHES_MAX);
		assert_int_equal(rec->nproblem, 0);
		while (record_http(rec)) /* they are called: from now on it takes two seconds */
			;
		if (ends) {
			usleep(300000); /* they end by so much before what is waited at most */
			rec->prog[rec->nprog++] = &p;
			record_land(rec);
			assert_true(p.go_settled);
		} else {
			fly_bare(rec, getpid());
		}
		assert_in_range(rec->nhttp, 1, SEARCHES_MAX); /* those before have been given up */
		assert_int_equal(rec->nproblem, 1);
		assert_non_null(strstr(rec->problem[0].text, "nor serves"));
		record_http_drop(rec);
		close(port);
		at_done(&a);
		buf_done(&rec->go_ended);
		free(rec->problem);
		free(rec);
	}
}

static void what_cannot_be_written_is_lost(void **state)
{
	static const uint8_t batch[] = { 1, 1, 0, 0, 0 }; /* of generation 1, empty */
	struct err err = ERR_INIT;
	struct go_sink s;

	go_sink_init(&s, "/dev/null", "p", 1, "region");
	assert_true(go_sink_batch(&s, batch, sizeof(batch)));
	assert_int_equal(go_sink_end(&s, 1, &err), -ENOTDIR);
	assert_int_equal(s.lost_generations, 1);
	assert_int_equal(s.nparts, 0);
	go_sink_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_generations_only),
		cmocka_unit_test(a_lap_loses_whole_generations),
		cmocka_unit_test(sessions_and_time),
		cmocka_unit_test(set_aside),
		cmocka_unit_test(set_aside_meanwhile),
		cmocka_unit_test(set_aside_and_taken),
		cmocka_unit_test(a_generation_with_a_hole),
		cmocka_unit_test(the_last_is_lost),
		cmocka_unit_test(what_cannot_be_written_is_lost),
		cmocka_unit_test(so_many_ports_at_a_time),
		cmocka_unit_test(alone_all_ports_at_once),
		cmocka_unit_test(a_search_takes_nobodys_place),
		cmocka_unit_test(each_has_its_turn),
		cmocka_unit_test(damage),
		cmocka_unit_test(a_ring_without_end),
		cmocka_unit_test(a_generation_without_end),
		cmocka_unit_test(set_aside_for_two),
		cmocka_unit_test(set_aside_and_cut_off),
		cmocka_unit_test(what_no_number_tells),
		cmocka_unit_test(asks),
		cmocka_unit_test(wakes),
		cmocka_unit_test(wakes_nobody_else),
		cmocka_unit_test(wakes_nobody_in_between),
		cmocka_unit_test(wakes_by_permission),
		cmocka_unit_test(batches),
		cmocka_unit_test(answers),
		cmocka_unit_test(bad_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
