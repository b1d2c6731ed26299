#include "analyze/gogens.h"
#include "base/varint.h"
#include "gotrace/gotrace.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 1,
       FREQUENCY = 8,
       EXPERIMENTAL = 49,
       SYNC = 50,
       SNAPSHOT = 51,
       END = 52 };

#define HEAD_MAX  64u /* a type, an experiment, four varints: at most 42 bytes */
#define DATA_MAX  64u /* of a batch that says the frequency */
#define BATCH_MAX 65536u

/* The frequency that a batch says: a lone one, or the sync batch, in which it stands among snapshots. 0: it says none. */
static uint64_t frequency(const uint8_t *p, const uint8_t *end)
{
	uint64_t v, i;

	if (p < end && *p == SYNC)
		p++;
	while (p < end) {
		uint8_t type = *p++;

		if (type == FREQUENCY)
			return varint_get(&p, end, &v) ? v : 0;
		if (type != SNAPSHOT)
			return 0;
		for (i = 0; i < 4; i++)
			if (!varint_get(&p, end, &v))
				return 0;
	}
	return 0;
}

static int add(struct gogens *g, uint64_t offset, uint64_t time, uint64_t freq)
{
	if (g->n == g->cap) {
		uint32_t cap = g->cap ? g->cap * 2 : 64;
		struct gogen *v = realloc(g->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		g->v = v;
		g->cap = cap;
	}
	g->v[g->n++] = (struct gogen) { offset, gotrace_trunc_ns((double)time * (1 / ((double)freq / 1e9))) };
	return 0;
}

int gogens_find(struct gogens *g, int fd)
{
	uint64_t at = sizeof(g->head), gen = 0, first = 0, freq = 0, least = UINT64_MAX, id, thread, time, size;
	uint8_t block[HEAD_MAX + DATA_MAX];
	struct stat st;
	int r = 0;

	memset(g, 0, sizeof(*g));
	if (fstat(fd, &st) < 0 || pread(fd, g->head, sizeof(g->head), 0) != (ssize_t)sizeof(g->head) || memcmp(g->head, "go 1.2", 6) || g->head[6] < '2')
		return 0;
	while (r == 0 && g->n < GOGENS_MAX) {
		ssize_t n = pread(fd, block, sizeof(block), (off_t)at);
		const uint8_t *p = block + 1, *end = block + (n > 0 ? n : 0);

		if (n > 0 && *block == END) {
			at++;
			continue;
		}
		if (n > 0 && *block == EXPERIMENTAL)
			p++;
		if (n <= 0 || (*block != BATCH && *block != EXPERIMENTAL) || p > end || !varint_get(&p, end, &id) || !varint_get(&p, end, &thread) || !varint_get(&p, end, &time) ||
		    !varint_get(&p, end, &size) || size > BATCH_MAX || at + (uint64_t)(p - block) + size > (uint64_t)st.st_size)
			break; /* a batch that is cut off counts for nothing with the reader, too */
		if (id != gen) {
			if (gen && freq)
				r = add(g, first, least, freq);
			gen = id;
			first = at;
			freq = 0;
			least = UINT64_MAX;
		}
		if (time < least || !least) /* to the reader 0 is no time */
			least = time;
		if (*block == BATCH && size && (*p == FREQUENCY || *p == SYNC)) {
			uint64_t f = frequency(p, size < (uint64_t)(end - p) ? p + size : end);

			freq = f ? f : freq;
		}
		at += (uint64_t)(p - block) + size;
	}
	/* the last one counts also when it is not whole: the reader says so */
	if (r == 0 && gen && freq && least != UINT64_MAX)
		r = add(g, first, least, freq);
	if (r < 0)
		gogens_done(g);
	return r;
}

void gogens_done(struct gogens *g)
{
	free(g->v);
	memset(g, 0, sizeof(*g));
}

uint32_t gogens_at(const struct gogens *g, int64_t time_ns)
{
	uint32_t low = 0, high = g->n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (g->v[mid].start_ns <= time_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? low - 1 : 0;
}

int64_t gogens_read(void *reader, void *to, size_t size)
{
	struct gogens_reader *r = reader;
	ssize_t n;

	if (r->at < sizeof(r->g->head)) {
		if (size > sizeof(r->g->head) - r->at)
			size = sizeof(r->g->head) - r->at;
		memcpy(to, r->g->head + r->at, size);
		r->at += size;
		return (int64_t)size;
	}
	do
		n = pread(r->fd, to, size, (off_t)(r->offset + r->at - sizeof(r->g->head)));
	while (n < 0 && errno == EINTR);
	if (n > 0)
		r->at += (uint64_t)n;
	return n < 0 ? -errno : n;
}
