/* The reader of regions against one that somebody has written into: the input is a list of patches (u8 place, u24 offset in it, u8 length,
 * bytes) on a region that is in order. Everything that the collector does with a region is done with it, reading and writing. */
#include "collect/collect_channel.h"
#include "collect/collect_out.h"
#include "lib/mkregion.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t session[16] = "fuzz";

static void make(struct mkregion *m)
{
	static const uint8_t text[] = { 1, 0, 6, 2, 4, 't', 'e', 'x', 't', 1, 'a', 0, GD_U32, 1, 's', 0, GD_STRING };
	uint8_t ev[32] = { 0, 0, 0, 0, 3, 0, 'x', 'y', 'z' };
	uint64_t n;

	mkregion_new(m, NULL, 6, 2);
	mkregion_declare(m, "plain", 6, 1);
	mkregion_declare_bytes(m, text, sizeof(text));
	mkregion_born(m, 0, session, GD_MODE_DISCARD, 0, 3, 2);
	mkregion_born(m, 1, session, GD_MODE_OVERWRITE, 0, 0, 2);
	mkregion_channel(m, 1)->granted[0] = mkregion_channel(m, 1)->free[0] = 0x38;
	for (n = 0; n < 6000; n++) {
		mkregion_emit(m, 0, n & 1, 0, 0, &n, 8);
		mkregion_emit(m, 1, 0, 1, 0, ev, 9);
	}
}

static void patch(struct mkregion *m, const uint8_t **data, size_t *size)
{
	static const uint64_t places[] = { 0, GD_OFF_CLASSES, GD_OFF_CONTROL, GD_OFF_CONTROL + 4096, GD_OFF_CHANNELS,
					   GD_OFF_CHANNELS + sizeof(struct gd_channel), GD_OFF_HEAP, GD_OFF_DATA, GD_OFF_DATA + GD_PACKET,
					   GD_OFF_DATA + 3 * GD_PACKET, GD_OFF_FILTERS };
	uint64_t at;
	size_t len;

	if (*size < 5) {
		*size = 0;
		return;
	}
	at = places[(*data)[0] % (sizeof(places) / sizeof(*places))] + ((*data)[1] | (uint64_t)(*data)[2] << 8 | (uint64_t)(*data)[3] << 16);
	len = (*data)[4];
	*data += 5;
	*size -= 5;
	if (len > *size)
		len = *size;
	if (at < m->size && len <= m->size - at)
		memcpy(m->map + at, *data, len);
	*data += len;
	*size -= len;
}

static void read_all(struct region *r, unsigned c)
{
	static uint8_t copy[GD_PACKET];
	static struct channel ch;
	uint32_t list[GD_PACKETS_MAX], n, i, at, off;
	uint64_t newest = 0;
	unsigned s, round;

	if (channel_open_dead(&ch, r, c, NULL) == 0) {
		for (round = 0; round < 2; round++) {
			n = (uint32_t)channel_plan(&ch, true, 1);
			for (i = 0; i < n; i++)
				if (ch.piece[i].packet >= r->npackets || ch.piece[i].off > GD_PACKET || ch.piece[i].len > GD_PACKET - ch.piece[i].off)
					abort();
			channel_commit(&ch, 0, n);
		}
		for (s = 0; s < r->nslots; s++) {
			n = channel_chain(&ch, s, list, &newest);
			for (i = 0; i < n; i++) {
				if (list[i] >= r->npackets)
					abort();
				if (channel_copy_packet(&ch, s, list[i], newest - (n - 1 - i), copy) < 0)
					continue;
				at = GD_HEAD_OFF(((struct gd_packet *)copy)->head);
				for (off = GD_PACKET_HEADER; off < at;) {
					size_t len = event_size(r, ch.context, copy + off, at - off);

					if (!len)
						break;
					if (len > at - off)
						abort();
					off += (uint32_t)len;
				}
			}
		}
		channel_last_time(&ch);
	}
	channel_close(&ch);
}

static void on_record(void *arg, uint32_t kind, const void *data, size_t len)
{
	*(size_t *)arg += len + kind;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_setup s = { .mode = GD_MODE_DISCARD, .first_packets = 1, .max_packets = 4 };
	static struct rule_list rules = { .n = 1, .v = { { .glob = "*", .level = 255 } } };
	static struct channel live;
	struct mkregion m;
	struct region *r = NULL;
	char via[40];
	size_t total = 0;
	unsigned c;
	int fd;

	make(&m);
	while (size)
		patch(&m, &data, &size);
	snprintf(via, sizeof(via), "/proc/self/fd/%d", m.fd);
	fd = open(via, O_PATH | O_CLOEXEC);
	if (fd >= 0 && region_open(&r, fd, -1, m.name, m.path, (uid_t)-1, true, NULL) == 0) {
		region_classes(r);
		region_records(r, on_record, &total);
		for (c = 0; c < 2; c++)
			read_all(r, c);
		s.rules = &rules;
		if (channel_open(&live, r, &s, NULL) == 0) {
			channel_plan(&live, true, 1);
			channel_commit(&live, 0, live.npieces);
			channel_stop(&live);
		}
		channel_close(&live);
		region_close(r);
	}
	mkregion_done(&m);
	return 0;
}
