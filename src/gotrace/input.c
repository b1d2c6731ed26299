/* Where the bytes come from: a descriptor, memory or the caller's callback. */
#include "base/temp.h"
#include "gotrace/gotrace_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>

int64_t input_read(struct input *in, void *to, size_t size, struct err *err)
{
	ssize_t n;
	int64_t r;

	if (in->mem) {
		n = in->mem_len - in->pos < size ? (ssize_t)(in->mem_len - in->pos) : (ssize_t)size;
		memcpy(to, in->mem + in->pos, (size_t)n);
	} else if (in->read) {
		r = in->read(in->arg, to, size);
		if (r < 0)
			return err_set(err, (int)r, "cannot read the trace: %m");
		if ((uint64_t)r > size)
			return err_set(err, -EINVAL, "the read callback returned more than it was asked for");
		n = (ssize_t)r;
	} else {
		do
			n = read(in->fd, to, size);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return err_set(err, -errno, "cannot read the trace: %m");
	}
	in->pos += (uint64_t)n;
	return n;
}

int input_seekable(struct input *in, const void *head, size_t head_len, const char *tmpdir, struct err *err)
{
	uint64_t total = head_len;
	uint8_t *chunk = NULL;
	int64_t n;
	int fd, r;

	if (in->mem)
		return 0;
	if (!in->read && in->start >= 0)
		return 0;
	fd = temp_file(tmpdir);
	if (fd < 0)
		return err_set(err, fd, "no place for a temporary copy of the trace (set TMPDIR): %m");
	chunk = malloc(1 << 20);
	if (!chunk) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	r = temp_write(fd, head, head_len);
	while (!r && (n = input_read(in, chunk, 1 << 20, err)) != 0) {
		if (n < 0) {
			r = (int)n;
			goto out;
		}
		r = temp_write(fd, chunk, (size_t)n);
		total += (uint64_t)n;
	}
	if (r < 0) {
		err_set(err, r, "cannot keep a temporary copy of the trace: %m");
		goto out;
	}
	if (in->own_fd)
		close(in->fd);
	in->read = NULL;
	in->fd = fd;
	in->own_fd = true;
	in->start = 0;
	in->size = total;
	fd = -1;
out:
	free(chunk);
	if (fd >= 0)
		close(fd);
	return r;
}

int64_t input_pread(const struct input *in, void *to, size_t size, uint64_t off, struct err *err)
{
	size_t done = 0;
	ssize_t n;

	if (in->mem) {
		if (off >= in->mem_len)
			return 0;
		if (size > in->mem_len - off)
			size = in->mem_len - off;
		memcpy(to, in->mem + off, size);
		return (int64_t)size;
	}
	while (done < size) {
		n = pread(in->fd, (uint8_t *)to + done, size - done, in->start + (off_t)(off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, -errno, "cannot read the trace: %m");
		if (!n)
			break;
		done += (size_t)n;
	}
	return (int64_t)done;
}

void input_done(struct input *in)
{
	if (in->own_fd && in->fd >= 0)
		close(in->fd);
	in->fd = -1;
	in->own_fd = false;
}
