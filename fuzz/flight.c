/* A flight ring that somebody has written into, and HTTP answers that nobody sent. The first byte chooses: an answer, cut into pieces by the
 * second byte; or a list of patches (u8 place, u16 offset in it, u8 length, bytes) on a ring that is in order. */
#include "collect/collect_gohttp.h"
#include "lib/mkregion.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(const uint8_t *data, size_t size)
{
	size_t step = size ? data[0] + 1u : 1, i;
	struct go_answer a;
	struct go_sink s;

	go_sink_init(&s, "/nonexistent", "made", 7, "http");
	go_answer_init(&a);
	for (i = 1; i < size; i += step)
		if (go_answer_feed(&a, &s, data + i, size - i < step ? size - i : step, NULL) < 0)
			break;
	go_answer_eof(&a, &s, NULL);
	if (a.batch.len > (1u << 20) || a.line.len > (1u << 20))
		abort();
	go_answer_done(&a);
	go_sink_done(&s);
}

static void make(struct mkregion *m)
{
	static uint8_t batch[70000];
	static const uint8_t mark = GO_END_MARK;
	uint64_t gen;

	mkregion_new(m, NULL, 6, 2);
	mkregion_flight(m, 1, 4);
	mkregion_chunk(m, GD_CHUNK_START, 0, 1, "", 0);
	for (gen = 1; gen <= 3; gen++) {
		mkregion_chunk(m, GD_CHUNK_BATCH, gen, gen, batch, mkregion_batch(batch, gen, 1, gen == 2 ? 60000 : 30));
		mkregion_chunk(m, GD_CHUNK_END, gen, gen, &mark, gen & 1);
	}
	mkregion_ring(m)->saved.tail = 0;
	mkregion_ring(m)->saved.end = mkregion_ring(m)->end;
	memcpy(mkregion_ring(m)->saved.packet, mkregion_ring(m)->packet, sizeof(mkregion_ring(m)->packet));
}

static void patches(struct mkregion *m, const uint8_t *data, size_t size)
{
	static const uint64_t places[] = { GD_OFF_FLIGHT, GD_OFF_FLIGHT + 2048, GD_OFF_FLIGHT + 4096, GD_OFF_DATA + GD_PACKET, GD_OFF_DATA + 2 * GD_PACKET,
					   GD_OFF_CONTROL };

	while (size >= 4) {
		uint64_t at = places[data[0] % (sizeof(places) / sizeof(*places))] + (data[1] | (uint64_t)data[2] << 8);
		size_t len = data[3] < size - 4 ? data[3] : size - 4;

		memcpy(m->map + at, data + 4, len);
		data += 4 + len;
		size -= 4 + len;
	}
}

static void ring(const uint8_t *data, size_t size)
{
	struct region *r = NULL;
	struct mkregion m;
	struct flight f;
	char via[40], why[161];
	int fd;

	make(&m);
	patches(&m, data, size);
	snprintf(via, sizeof(via), "/proc/self/fd/%d", m.fd);
	fd = open(via, O_PATH | O_CLOEXEC);
	if (fd >= 0 && region_open(&r, fd, -1, m.name, m.path, (uid_t)-1, true, NULL) == 0) {
		flight_open(&f, r, "/nonexistent", "made", 7);
		flight_seek(&f, false);
		flight_drain(&f, 0, NULL);
		flight_drain(&f, 2, NULL);
		flight_drain_saved(&f, NULL);
		flight_seek(&f, false);
		flight_drain(&f, 0, NULL);
		flight_refused(&f, why);
		flight_ask(&f, &(struct flight_wish) { 0 }, NULL);
		flight_done(&f);
		region_close(r);
	}
	mkregion_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && *data & 1)
		answer(data + 1, size - 1);
	else if (size)
		ring(data + 1, size - 1);
	return 0;
}
