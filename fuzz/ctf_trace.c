/* A whole trace: u32 length of the metadata, the metadata, then one stream; written to a directory in a tmpfs and read to its end, as values,
 * as text and as JSON. */
#include "ctf/ctf_read.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void clean(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/metadata", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/s", dir);
	unlink(path);
	rmdir(dir);
}

static void put(const char *name, const uint8_t *data, size_t len)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gander_err err = GANDER_ERR_INIT;
	struct ctf_out out = { 0 };
	struct gander_ctf_event ev;
	struct gander_ctf *r;
	uint32_t len;
	int n = 0;

	if (size < 4 || size > 1u << 20)
		return 0;
	memcpy(&len, data, 4);
	if (len > size - 4)
		return 0;
	if (!dir[0]) {
		snprintf(dir, sizeof(dir), "/dev/shm/gander-fuzz.%d", (int)getpid());
		mkdir(dir, 0700);
		atexit(clean);
	}
	put("metadata", data + 4, len);
	put("s", data + 4 + len, size - 4 - len);
	if (gander_ctf_open(&r, dir, NULL, &err) < 0)
		return 0;
	while (n++ < 2000 && gander_ctf_next(r, &ev, &err) > 0) {
		out.at = out.base;
		ctf_text_line(r, &ev, &out);
		if (out.at - out.base > 1 << 20)
			break;
		out.at = out.base;
		ctf_json_line(r, &ev, &out);
		gander_ctf_find(r, &ev, "attr.key");
	}
	ctf_out_done(&out);
	gander_ctf_free(r);
	return 0;
}
