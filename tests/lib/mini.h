/* A collector of one page, for tests of the writers: opens a region, switches a channel on, reads the chains. It follows docs/region.md
 * and shares no code with src/collect, so that each checks the other. */
#ifndef TESTS_LIB_MINI_H
#define TESTS_LIB_MINI_H

#include "region/desc.h"
#include "region/region.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct mini {
	int fd;
	char *map;
	uint64_t size;
	char path[300];
};

static inline struct gd_header *mini_header(struct mini *m)
{
	return (struct gd_header *)m->map;
}

static inline struct gd_channel *mini_channel(struct mini *m, unsigned c)
{
	return (struct gd_channel *)(m->map + GD_OFF_CHANNELS) + c;
}

static inline struct gd_packet *mini_packet(struct mini *m, uint32_t i)
{
	return (struct gd_packet *)(m->map + GD_OFF_DATA + (size_t)i * GD_PACKET);
}

static inline struct gd_class *mini_class(struct mini *m, uint32_t i)
{
	return (struct gd_class *)(m->map + gd_class_offset(i));
}

/* The newest region whose header names this pid. */
static inline bool mini_open(struct mini *m, pid_t pid)
{
	DIR *d = opendir("/dev/shm");
	struct dirent *e;
	time_t best = 0;

	m->map = NULL;
	while (d && (e = readdir(d))) {
		struct gd_header h;
		struct stat st;
		char path[300];
		int fd;

		if (strncmp(e->d_name, GD_NAME_PREFIX, strlen(GD_NAME_PREFIX)))
			continue;
		snprintf(path, sizeof(path), "/dev/shm/%s", e->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (pread(fd, &h, sizeof(h), 0) == sizeof(h) && h.magic == GD_MAGIC && h.state == GD_STATE_READY && h.pid == (uint32_t)pid && !fstat(fd, &st) &&
		    st.st_mtime >= best) {
			if (m->map)
				munmap(m->map, m->size), close(m->fd);
			best = st.st_mtime;
			m->fd = fd;
			m->size = (uint64_t)st.st_size;
			m->map = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			snprintf(m->path, sizeof(m->path), "%s", path);
		} else {
			close(fd);
		}
	}
	if (d)
		closedir(d);
	return m->map && m->map != MAP_FAILED;
}

static inline void mini_close(struct mini *m, bool remove)
{
	munmap(m->map, m->size);
	close(m->fd);
	if (remove)
		unlink(m->path);
}

static inline void mini_grant(struct mini *m, unsigned c, uint32_t first, uint32_t n)
{
	struct gd_channel *ch = mini_channel(m, c);
	uint32_t i;

	for (i = first; i < first + n; i++) {
		memset(mini_packet(m, i), 0, GD_PACKET);
		ch->granted[i / 64] |= 1ull << (i % 64);
		__atomic_fetch_or(&ch->free[i / 64], 1ull << (i % 64), __ATOMIC_ACQ_REL);
	}
}

static inline void mini_on(struct mini *m, unsigned c, uint32_t mode, uint32_t context, const char *glob, uint32_t filter)
{
	struct gd_control *control = (struct gd_control *)(m->map + GD_OFF_CONTROL);
	struct gd_channel *ch = mini_channel(m, c);
	struct gd_rule *rule = &control->rules[c];
	uint32_t i;

	ch->mode = mode;
	ch->context = context;
	ch->quota = 8;
	ch->epoch++;
	__atomic_store_n(&control->gen, control->gen + 1, __ATOMIC_SEQ_CST);
	rule->used = 1;
	rule->channel = (uint8_t)c;
	rule->level = 255;
	rule->flags = mode == GD_MODE_COUNT ? GD_RULE_COUNT : 0;
	rule->filter = filter;
	snprintf(rule->glob, sizeof(rule->glob), "%s", glob);
	if (control->nrules <= c)
		control->nrules = c + 1;
	__atomic_store_n(&ch->state, GD_CHANNEL_ON, __ATOMIC_SEQ_CST);
	__atomic_store_n(&control->gen, control->gen + 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < mini_header(m)->class_count && !filter; i++) {
		struct gd_class *cls = mini_class(m, i);
		struct gd_desc d;

		if (cls->state != GD_CLASS_PUBLISHED || gd_desc_parse(&d, m->map + cls->desc_off, cls->desc_len) < 0)
			continue;
		/* enough of a glob for tests: "*" or a whole name */
		if (!strcmp(glob, "*") || (strlen(glob) == d.name_len && !memcmp(glob, d.name, d.name_len)))
			__atomic_fetch_or(&cls->enabled, GD_ENABLED(c) | (mode == GD_MODE_COUNT ? GD_COUNTING(c) : 0), __ATOMIC_SEQ_CST);
	}
}

static inline void mini_off(struct mini *m, unsigned c)
{
	struct gd_control *control = (struct gd_control *)(m->map + GD_OFF_CONTROL);
	uint32_t i;

	__atomic_store_n(&control->gen, control->gen + 1, __ATOMIC_SEQ_CST);
	control->rules[c].used = 0;
	mini_channel(m, c)->state = GD_CHANNEL_OFF;
	__atomic_store_n(&control->gen, control->gen + 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < mini_header(m)->class_count && i < GD_CLASSES; i++)
		__atomic_fetch_and(&mini_class(m, i)->enabled, ~(GD_ENABLED(c) | GD_FILTERED(c) | GD_COUNTING(c)), __ATOMIC_SEQ_CST);
}

/* Walks every packet of every chain of a channel, oldest first in each slot; returns packets seen, -1 when a chain is broken. */
typedef void mini_visit(struct mini *m, struct gd_packet *p, const char *events, size_t len, void *arg);
static inline int mini_walk(struct mini *m, unsigned c, mini_visit *visit, void *arg)
{
	struct gd_channel *ch = mini_channel(m, c);
	int packets = 0;
	unsigned s;

	for (s = 0; s < GD_SLOTS; s++) {
		static __thread uint32_t chain[GD_PACKETS_MAX];
		uint32_t cur = __atomic_load_n(&ch->slot[s].cur, __ATOMIC_ACQUIRE), n = 0, k;
		uint64_t want = 0;

		for (k = cur; k && k <= mini_header(m)->npackets && n < GD_PACKETS_MAX;) {
			struct gd_packet *p = mini_packet(m, k - 1);

			if ((p->lap & 1) || p->slot != s || p->channel != c || (n && p->seq != want))
				break;
			chain[n++] = k - 1;
			want = p->seq - 1;
			k = want ? p->prev : 0;
		}
		if (cur && !n)
			return -1;
		while (n--) {
			struct gd_packet *p = mini_packet(m, chain[n]);
			uint64_t head = __atomic_load_n(&p->head, __ATOMIC_ACQUIRE);

			packets++;
			visit(m, p, (char *)p + GD_PACKET_HEADER, GD_HEAD_OFF(head) - GD_PACKET_HEADER, arg);
		}
	}
	return packets;
}

static inline uint64_t mini_lost(struct mini *m, unsigned c)
{
	uint64_t sum = 0;
	unsigned s, r;

	for (s = 0; s < GD_SLOTS; s++)
		for (r = 0; r < GD_LOST_REASONS; r++)
			sum += mini_channel(m, c)->slot[s].lost[r];
	return sum;
}

/* Returns to the pool what is neither free nor current: what a collector does behind its drain in discard mode. Only when no writer runs. */
static inline void mini_recycle(struct mini *m, unsigned c)
{
	struct gd_channel *ch = mini_channel(m, c);
	uint32_t i, s;

	for (i = 0; i < mini_header(m)->npackets; i++) {
		bool current = false;

		if (!(ch->granted[i / 64] >> (i % 64) & 1))
			continue;
		for (s = 0; s < GD_SLOTS; s++)
			current |= ch->slot[s].cur == i + 1;
		if (!current)
			__atomic_fetch_or(&ch->free[i / 64], 1ull << (i % 64), __ATOMIC_ACQ_REL);
	}
}

#endif
