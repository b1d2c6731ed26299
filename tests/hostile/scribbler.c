/* scribbler MODE SEED FILE...: writes into the regions of running programs until it is killed, as a damaged or hostile collector, or program, might.
 * MODE control: what collectors write (rules, filters, enable words, channels, slots, grants) and what writers read back of packets; all: the
 * header, descriptions and events too; flight: what belongs to the flight ring, its chunks' lengths above all; lock: holds every lock and writes nothing; shrink: truncates the file and lets it grow again.
 * Prints "ready" when it is at it. */
#include "region/region.h"
#include "region/vm.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

static void lock_all(struct file *f)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 4096 };

	fcntl(f->fd, F_OFD_SETLK, &l);
	flock(f->fd, LOCK_SH | LOCK_NB);
}

int main(int argc, char **argv)
{
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
