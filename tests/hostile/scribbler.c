/* scribbler MODE SEED FILE...: writes into the regions of running programs until it is killed, as a damaged or hostile collector, or program, might.
 * MODE control: what collectors write (rules, filters, enable words, channels, slots, grants) and what writers read back of packets; all: the
 * header, descriptions and events too; flight: what belongs to the flight ring, its chunks' lengths above all; lock: holds every lock and writes nothing; shrink: truncates the file and lets it grow again.
 * Of the first region only, whose program need not be a Go program, a Go trace without end: flow, flow-now: a ring that is said to be as long as there are numbers, with each generation
 * written just before the collector comes to it (flow: once somebody asks; flow-now: from the start); swell: one generation that never ends; tiny: generations of a
 * few bytes, as fast as possible; files: each in a session of its own, so that each begins a file; aside: the same set aside again and again; turn: flow-now, while its words change too.
 * Prints "ready" when it is at it. */
#include "region/region.h"
#include "region/vm.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Values that lead somewhere: small, at a bound, beside it, far off. */
static uint64_t value(void)
{
	static const uint64_t at[] = { 0, 1, 2, 7, 8, 15, 63, 64, 127, 128, 255, 256, 1023, 1024, 1025, 4095, 4096, 65519, 65520, 65521, 65535, 65536, 0x80000, 0x17ffc0,
				       0x180000, 0x3fffc0, 0x400000, 0x7fffffff, 0x80000000, 0xffffffff, 0xffffffffffffffffull };
	uint64_t v = rnd();

	switch (v % 4) {
	case 0:
		return at[(v >> 8) % (sizeof(at) / sizeof(*at))];
	case 1:
		return at[(v >> 8) % (sizeof(at) / sizeof(*at))] + (v >> 16) % 5 - 2;
	case 2:
		return (v >> 8) % 1100;
	default:
		return v;
	}
}

static void put(char *at)
{
	uint64_t v = value(), old;

	switch (rnd() % 5) {
	case 0:
		*(volatile uint8_t *)at = (uint8_t)v;
		break;
	case 1:
		*(volatile uint32_t *)(void *)((uintptr_t)at & ~3ul) = (uint32_t)v;
		break;
	case 2:
		*(volatile uint64_t *)(void *)((uintptr_t)at & ~7ul) = v;
		break;
	case 3: /* one bit */
		at = (char *)((uintptr_t)at & ~7ul);
		old = *(volatile uint64_t *)(void *)at;
		*(volatile uint64_t *)(void *)at = old ^ 1ull << (v % 64);
		break;
	default: /* a word from somewhere near */
		at = (char *)((uintptr_t)at & ~7ul);
		*(volatile uint64_t *)(void *)at = *(volatile uint64_t *)(void *)(((uintptr_t)at & ~4095ul) + v % 512 * 8);
	}
}

struct file {
	char *map;
	size_t size;
	uint32_t npackets;
	int fd;
	uint8_t filters[16384]; /* as they were, to be put back now and then: only what is nearly right is run far */
	uint32_t linked[32], generic[32], nlinked, ngeneric;
};

static void keep_filters(struct file *f)
{
	uint32_t i, magic;

	memcpy(f->filters, f->map + GD_OFF_FILTERS, sizeof(f->filters));
	for (i = 0; i < sizeof(f->filters); i += 8) {
		memcpy(&magic, f->filters + i, sizeof(magic));
		if (magic == GD_FILTER_LINKED && f->nlinked < 32)
			f->linked[f->nlinked++] = GD_OFF_FILTERS + i;
		if (magic == GD_FILTER_GENERIC && f->ngeneric < 32)
			f->generic[f->ngeneric++] = GD_OFF_FILTERS + i;
	}
}

static uint32_t filter(const uint32_t *v, uint32_t n)
{
	return n && rnd() % 8 ? v[rnd() % n] : (uint32_t)(GD_OFF_FILTERS + rnd() % 64 * 8);
}

/* Something that is nearly right, so that the writer gets far: a class on in some channels, a channel on, a filter's offset. */
static void plausible(struct file *f)
{
	struct gd_class *cls = (struct gd_class *)(f->map + GD_OFF_CLASSES) + rnd() % 16;
	struct gd_channel *ch = (struct gd_channel *)(f->map + GD_OFF_CHANNELS) + rnd() % GD_CHANNELS;
	struct gd_control *control = (struct gd_control *)(f->map + GD_OFF_CONTROL);
	struct gd_packet *p = (struct gd_packet *)(f->map + GD_OFF_DATA + (uint64_t)(rnd() % f->npackets) * GD_PACKET);

	switch (rnd() % 14) {
	case 0:
		cls->enabled = (uint32_t)rnd() & 0xffffff;
		break;
	case 1:
		cls->enabled = 1u << rnd() % 8;
		break;
	case 2:
		cls->filter[rnd() % GD_CHANNELS] = filter(f->linked, f->nlinked);
		break;
	case 3:
		ch->state = GD_CHANNEL_ON;
		ch->mode = (uint32_t)rnd() % 3;
		ch->context = (uint32_t)rnd() & 0x7f;
		break;
	case 4:
		ch->stack_depth = (uint32_t)value();
		ch->quota = (uint32_t)value();
		ch->epoch = (uint32_t)rnd() % 4;
		break;
	case 5:
		ch->keys_first = (uint32_t)value();
		ch->keys_count = (uint32_t)value();
		break;
	case 6:
		ch->free[rnd() % (GD_PACKETS_MAX / 64)] = rnd() & rnd();
		break;
	case 7:
		ch->slot[rnd() % GD_SLOTS].cur = (uint32_t)(rnd() % (f->npackets + 2));
		break;
	case 8:
		ch->slot[rnd() % 4].tail = GD_TAIL(rnd() % 8, rnd() % f->npackets);
		break;
	case 9:
		control->rules[rnd() % 8] = (struct gd_rule) { 1, (uint8_t)(rnd() % 9), (uint8_t)(rnd() % 4), 255, rnd() % 2 ? filter(f->generic, f->ngeneric) : 0, "*" };
		control->nrules = (uint32_t)value();
		control->gen += (uint32_t)rnd() % 3;
		break;
	case 10:
		p->head = GD_HEAD(rnd() % 100, value());
		p->time_high = rnd() % 4;
		break;
	case 11:
		p->next = (uint32_t)value();
		p->seq = rnd() % 8;
		break;
	case 12:
		memcpy(f->map + GD_OFF_FILTERS, f->filters, sizeof(f->filters));
		break;
	default: /* counted by key */
		ch->keys_first = rnd() % 4 ? 4 : (uint32_t)value();
		ch->keys_count = rnd() % 4 ? 2 : (uint32_t)value();
		cls->filter[ch - (struct gd_channel *)(f->map + GD_OFF_CHANNELS)] = filter(f->linked, f->nlinked);
		cls->enabled = 0x10101u << (ch - (struct gd_channel *)(f->map + GD_OFF_CHANNELS));
	}
}

static void scribble(struct file *f, bool all)
{
	static const struct {
		uint32_t at, len;
	} parts[] = {
		{ GD_OFF_CLASSES, 16 * sizeof(struct gd_class) },
		{ GD_OFF_CONTROL, 16 },
		{ GD_OFF_CONTROL + GD_PAGE, 16 * sizeof(struct gd_rule) },
		{ GD_OFF_CHANNELS, 56 },
		{ GD_OFF_CHANNELS + 896, 256 },
		{ GD_OFF_CHANNELS + GD_PAGE, 8 * sizeof(struct gd_slot) },
		{ GD_OFF_FILTERS, 16384 },
		{ 0, sizeof(struct gd_header) },
		{ GD_OFF_HEAP, 4096 },
	};
	uint64_t packet = GD_OFF_DATA + (uint64_t)(rnd() % f->npackets) * GD_PACKET;
	unsigned i = (unsigned)(rnd() % (all ? 11 : 9));
	uint64_t channel = rnd() % 3 ? 0 : rnd() % GD_CHANNELS * sizeof(struct gd_channel), at;

	if (i < 7 || (all && i < 9)) {
		at = parts[i].at + rnd() % parts[i].len + (i >= 3 && i < 6 ? channel : 0);
		if (at - GD_OFF_CHANNELS - channel >= offsetof(struct gd_channel, block_ms) - 4 && at - GD_OFF_CHANNELS - channel < offsetof(struct gd_channel, block_ms) + 8)
			return; /* to wait a second for each event is nobody's damage: a case of its own */
		put(f->map + at);
	} else if (all && i == 10) {
		put(f->map + packet + GD_PACKET_HEADER + rnd() % 256);
	} else {
		put(f->map + packet + rnd() % GD_PACKET_HEADER);
	}
	/* the counters that a writer takes its places from */
	if (!all && rnd() % 64 == 0)
		*(volatile uint32_t *)(void *)(f->map + (rnd() % 2 ? offsetof(struct gd_header, heap_used) : offsetof(struct gd_header, class_count))) = (uint32_t)value();
	plausible(f);
}

static void scribble_flight(struct file *f)
{
	struct gd_flight *g = (struct gd_flight *)(f->map + GD_OFF_FLIGHT);
	uint64_t pos = rnd() % 2 ? g->tail : g->tail + rnd() % 64 * 8;
	uint32_t i = g->packet[pos / GD_PACKET % GD_PACKETS_MAX];

	switch (rnd() % 8) {
	case 0:
		put(f->map + GD_OFF_FLIGHT + rnd() % (rnd() % 2 ? 256 : sizeof(*g) - 8));
		break;
	case 1:
		put(f->map + GD_OFF_CONTROL + offsetof(struct gd_control, fly) + rnd() % (offsetof(struct gd_control, pad1) - offsetof(struct gd_control, fly) - 8));
		break;
	case 2: /* the ring takes its packets from the end */
		put(f->map + GD_OFF_DATA + (uint64_t)(f->npackets - 1 - rnd() % 32) * GD_PACKET + rnd() % (GD_PACKET - 8));
		break;
	default:
		if (i - 1 < f->npackets && pos % GD_PACKET <= GD_PACKET - sizeof(struct gd_chunk))
			((struct gd_chunk *)(f->map + GD_OFF_DATA + (uint64_t)(i - 1) * GD_PACKET + pos % GD_PACKET))->len = (uint32_t)value();
	}
	usleep(20); /* it is to get far in between */
}

/* A Go trace that somebody makes up. Its packets are the region's last ones. */
#define RING_PACKETS 256u
#define FLOW_SIZE    16384u /* of a generation in the ring, in mode flow: a batch and an end */
#define BATCH_HEAD   10u
#define FLOW_BATCH   (FLOW_SIZE - 48u - (uint32_t)sizeof(struct gd_chunk))

struct trace {
	struct file *f;
	struct gd_flight *g;
	uint32_t first;
	uint64_t pos;
	uint8_t batch[GD_PACKET];
};

static void fill(struct trace *t, uint64_t pos, const void *data, size_t len)
{
	while (len) {
		size_t off = pos % GD_PACKET, n = GD_PACKET - off < len ? GD_PACKET - off : len;

		memcpy(t->f->map + GD_OFF_DATA + (uint64_t)(t->first + pos / GD_PACKET % RING_PACKETS) * GD_PACKET + off, data, n);
		data = (const char *)data + n;
		pos += n;
		len -= n;
	}
}

static void chunk(struct trace *t, unsigned kind, uint64_t gen, const void *data, uint32_t len)
{
	struct timespec ts;
	struct gd_chunk c = { .pos = t->pos, .len = len, .kind = (uint16_t)kind, .gen = gen, .session = t->g->session };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	c.time_ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	/* in mode flow the rest is there from the lap before */
	fill(t, t->pos + sizeof(c), data, len == FLOW_BATCH && t->pos >= RING_PACKETS * (uint64_t)GD_PACKET ? BATCH_HEAD : len);
	fill(t, t->pos, &c, sizeof(c));
	t->pos += (sizeof(c) + len + 7) & ~7ull;
	__atomic_store_n(&t->g->closed_ns, c.time_ns, __ATOMIC_RELEASE);
}

/* A batch of generation gen (of four bytes, so that all have one length), len bytes in all. */
static const uint8_t *batch(struct trace *t, uint64_t gen, uint32_t len)
{
	uint32_t size = len - BATCH_HEAD, i;

	t->batch[0] = 1;
	for (i = 0; i < 4; i++)
		t->batch[1 + i] = (uint8_t)(gen >> 7 * i & 0x7f) | (i < 3 ? 0x80 : 0);
	t->batch[5] = t->batch[6] = 0;
	t->batch[7] = (uint8_t)(size & 0x7f) | 0x80;
	t->batch[8] = (uint8_t)(size >> 7 & 0x7f) | 0x80;
	t->batch[9] = (uint8_t)(size >> 14);
	return t->batch;
}

/* How large the trace is that a collector here has open. */
static uint64_t trace_size(void)
{
	static char found[300];
	char path[300], to[300];
	struct dirent *p, *e;
	DIR *proc, *fds;
	uint64_t size = 0;
	struct stat st;
	ssize_t n;

	if (*found && stat(found, &st) == 0)
		return (uint64_t)st.st_size;
	proc = opendir("/proc");
	while (proc && (p = readdir(proc))) {
		FILE *comm;

		if (*p->d_name < '0' || *p->d_name > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", p->d_name);
		comm = fopen(path, "re");
		n = comm && fgets(to, sizeof(to), comm) && !strcmp(to, "gander\n");
		if (comm)
			fclose(comm);
		snprintf(path, sizeof(path), "/proc/%.20s/fd", p->d_name);
		fds = n ? opendir(path) : NULL;
		while (fds && (e = readdir(fds))) {
			snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", p->d_name, e->d_name);
			n = readlink(path, to, sizeof(to) - 1);
			to[n > 0 ? n : 0] = 0;
			if (n > 6 && !strcmp(to + n - 6, ".trace") && stat(path, &st) == 0) {
				snprintf(found, sizeof(found), "%s", to);
				size = (uint64_t)st.st_size;
			}
		}
		if (fds)
			closedir(fds);
	}
	if (proc)
		closedir(proc);
	return size;
}

/* As if the ring had no end; the collector is watched so that what it reads next is always there in time. */
static void flow(struct trace *t, bool now, bool turn)
{
	uint64_t n, read, gen = 1u << 21;

	for (n = 0, read = 0;;) {
		for (; n < read + RING_PACKETS * GD_PACKET / FLOW_SIZE - 8; n++) {
			chunk(t, GD_CHUNK_BATCH, gen + n, batch(t, gen + n, FLOW_BATCH), FLOW_BATCH);
			chunk(t, GD_CHUNK_END, gen + n, "\x34", 1);
		}
		if (!now)
			while (!__atomic_load_n(&((struct gd_control *)(t->f->map + GD_OFF_CONTROL))->fly, __ATOMIC_SEQ_CST))
				usleep(100);
		now = true;
		__atomic_store_n(&t->g->end, UINT64_MAX - 7, __ATOMIC_RELEASE);
		if (turn) {
			__atomic_store_n(&t->g->state, (uint32_t)rnd() % 4, __ATOMIC_RELEASE);
			__atomic_store_n(&t->g->saved.state, (uint32_t)rnd() % 3, __ATOMIC_RELEASE);
			__atomic_store_n(&t->g->saved.end, value(), __ATOMIC_RELEASE);
			__atomic_store_n(&t->g->tail, rnd() % 4 ? 0 : value(), __ATOMIC_RELEASE);
			__atomic_store_n(&t->g->end, rnd() % 2 ? t->pos : value(), __ATOMIC_RELEASE);
			t->g->session = (uint32_t)rnd() % 2;
			t->g->lost_bytes = value();
		}
		/* the first generation is the one whose end tells where the next begins */
		read = trace_size() / (FLOW_BATCH + 1);
	}
}

static void make_trace(struct file *f, const char *mode)
{
	static struct trace t;
	uint64_t gen = 1u << 21, size = 0;
	uint32_t i;
	bool swell = !strcmp(mode, "swell"), files = !strcmp(mode, "files"), aside = !strcmp(mode, "aside");

	t.f = f;
	t.g = (struct gd_flight *)(f->map + GD_OFF_FLIGHT);
	t.first = f->npackets - RING_PACKETS;
	for (i = 0; i < GD_PACKETS_MAX; i++)
		t.g->packet[i] = t.g->saved.packet[i] = (uint16_t)(t.first + i % RING_PACKETS + 1);
	memcpy(t.g->header, "go 1.26 trace\0\0", 16);
	t.g->session = 1;
	t.g->period_ms = 200;
	t.g->state = GD_FLIGHT_FLYING;
	__atomic_fetch_or(&((struct gd_header *)f->map)->flags, GD_FLAG_FLIGHT, __ATOMIC_SEQ_CST);
	puts("ready");
	fflush(stdout);
	if (!strncmp(mode, "flow", 4) || !strcmp(mode, "turn"))
		flow(&t, strcmp(mode, "flow") != 0, !strcmp(mode, "turn"));
	while (swell && !__atomic_load_n(&((struct gd_control *)(f->map + GD_OFF_CONTROL))->fly, __ATOMIC_SEQ_CST))
		usleep(100);
	for (;; gen++) {
		uint32_t len = swell ? 60000 : 24;

		/* room first, as an honest program does it */
		if (size && t.pos > (RING_PACKETS - 4) * GD_PACKET)
			__atomic_exchange_n(&t.g->tail, t.pos - (RING_PACKETS - 4) * GD_PACKET / size * size, __ATOMIC_SEQ_CST);
		size = t.pos;
		if (files || gen == 1u << 21) {
			t.g->session += files;
			chunk(&t, GD_CHUNK_START, 0, "", 0);
		}
		chunk(&t, GD_CHUNK_BATCH, swell ? 1u << 21 : gen, batch(&t, swell ? 1u << 21 : gen, len), len);
		if (!swell)
			chunk(&t, GD_CHUNK_END, gen, "\x34", 1);
		size = t.pos - size;
		__atomic_store_n(&t.g->end, t.pos, __ATOMIC_RELEASE);
		if (swell && gen % 64 == 0)
			usleep(40000); /* so that all of it is read */
		if (aside && __atomic_load_n(&t.g->saved.state, __ATOMIC_ACQUIRE) != GD_SAVED_READY) {
			t.g->saved.tail = t.g->tail;
			t.g->saved.end = t.pos;
			__atomic_store_n(&t.g->saved.state, GD_SAVED_READY, __ATOMIC_RELEASE);
		}
	}
}

static void lock_all(struct file *f)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 4096 };

	fcntl(f->fd, F_OFD_SETLK, &l);
	flock(f->fd, LOCK_SH | LOCK_NB);
}

int main(int argc, char **argv)
{
	static const char *const traces[] = { "flow", "flow-now", "swell", "tiny", "files", "aside", "turn" };
	static struct file file[64];
	const char *mode = argc > 3 ? argv[1] : "";
	struct stat st;
	int i, n = 0;

	state = argc > 3 ? strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ull | 1 : 0;
	for (i = 3; i < argc && n < 64; i++, n++) {
		struct file *f = &file[n];

		f->fd = open(argv[i], O_RDWR | O_CLOEXEC);
		if (f->fd < 0 || fstat(f->fd, &st) < 0 || (size_t)st.st_size < GD_META_SIZE + GD_PACKET) {
			perror(argv[i]);
			return 1;
		}
		f->size = (size_t)st.st_size;
		f->npackets = (uint32_t)((f->size - GD_META_SIZE) / GD_PACKET);
		f->map = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
		if (f->map == MAP_FAILED)
			return 1;
		keep_filters(f);
		if (!strcmp(mode, "lock"))
			lock_all(f);
	}
	if (!n)
		return 2;
	for (i = 0; i < (int)(sizeof(traces) / sizeof(*traces)); i++)
		if (!strcmp(mode, traces[i]))
			make_trace(file, mode);
	puts("ready");
	fflush(stdout);
	if (!strcmp(mode, "lock"))
		pause();
	for (;;) {
		struct file *f = &file[rnd() % (unsigned)n];

		if (!strcmp(mode, "flight")) {
			scribble_flight(f);
		} else if (strcmp(mode, "shrink")) {
			for (i = 0; i < 1000; i++)
				scribble(f, !strcmp(mode, "all"));
		} else if (ftruncate(f->fd, (off_t)(rnd() % f->size)) == 0) {
			usleep((unsigned)(rnd() % 2000));
			if (ftruncate(f->fd, (off_t)f->size) < 0)
				return 1;
			usleep((unsigned)(rnd() % 2000));
		}
	}
}
