/* Packets from the region to the reader: the input is u8 which packet, then its first bytes (header and events) as a hostile program would have
 * left them. They are drained into a trace, and copied into one as a flight recorder's are; both are read to the end. */
#include "collect/collect_channel.h"
#include "collect/collect_out.h"
#include "ctf/ctf_read.h"
#include "lib/mkregion.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t session[16] = "fuzz";

static void make(struct mkregion *m)
{
	static const uint8_t text[] = { 1, 0, 6, 2, 4, 't', 'e', 'x', 't', 1, 'a', 0, GD_U32, 1, 's', 0, GD_STRING };
	uint8_t ev[32] = { 0, 0, 0, 0, 3, 0, 'x', 'y', 'z' };
	uint64_t n;

	mkregion_new(m, NULL, 4, 2);
	mkregion_declare(m, "plain", 6, 1);
	mkregion_declare_bytes(m, text, sizeof(text));
	mkregion_born(m, 0, session, GD_MODE_DISCARD, GD_CTX_TID, 4, 2);
	for (n = 0; n < 20; n++) {
		mkregion_emit(m, 0, n & 1, 0, 0, &n, 8);
		mkregion_emit(m, 0, 0, 1, 0, ev, 9);
	}
}

static void remove_trace(const char *dir)
{
	static const char *const files[] = { "metadata", "slot-0", "slot-1" };
	char path[160];
	unsigned i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void read_trace(const char *dir)
{
	struct gander_err err = GANDER_ERR_INIT;
	struct gander_ctf_event ev;
	struct gander_ctf *r;
	int n = 0;

	if (gander_ctf_open(&r, dir, NULL, &err) < 0)
		return;
	while (n++ < 5000 && gander_ctf_next(r, &ev, &err) > 0)
		;
	gander_ctf_free(r);
}

static void write_trace(struct region *r, bool chains, const char *top)
{
	static struct channel ch;
	static struct out out;
	struct clock_line clock = { 0 };
	char dir[128];
	uint32_t i;

	clock_start(&clock, false);
	clock_fit(&clock);
	if (channel_open_dead(&ch, r, 0, NULL) == 0 && out_open(&out, top, r, 1, &clock, 1, chains ? 2 : 1, NULL) == 0) {
		memset(ch.setup, SETUP_ON, r->nclasses);
		out_classes(&out, &ch, NULL);
		if (chains) {
			out_chains(&out, &ch, 0, true, NULL);
		} else {
			channel_plan(&ch, true, 1);
			for (i = 0; i < ch.npieces; i++)
				out_piece(&out, &ch, &ch.piece[i], NULL, NULL);
			channel_commit(&ch, 0, ch.npieces);
		}
		snprintf(dir, sizeof(dir), "%s/ctf/%s", top, out.dir);
		out_close(&out, &ch, UINT64_MAX >> 1, NULL);
		read_trace(dir);
		remove_trace(dir);
	}
	channel_close(&ch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char top[64], sub[80], via[40];
	struct region *r = NULL;
	struct mkregion m;
	int fd;

	if (size < 1 || size > GD_PACKET)
		return 0;
	snprintf(top, sizeof(top), "/dev/shm/gander-fuzz-packets.%d", (int)getpid());
	snprintf(sub, sizeof(sub), "%s/ctf", top);
	mkdir(top, 0700);
	mkdir(sub, 0700);
	make(&m);
	memcpy(mkregion_packet(&m, data[0] % 4), data + 1, size - 1);
	snprintf(via, sizeof(via), "/proc/self/fd/%d", m.fd);
	fd = open(via, O_PATH | O_CLOEXEC);
	if (fd >= 0 && region_open(&r, fd, -1, m.name, m.path, (uid_t)-1, true, NULL) == 0) {
		region_classes(r);
		write_trace(r, false, top);
		write_trace(r, true, top);
		region_close(r);
	}
	mkregion_done(&m);
	rmdir(sub);
	rmdir(top);
	return 0;
}
