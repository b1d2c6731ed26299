#include "base/temp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int file_in(const char *dir)
{
	char name[4096];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if ((size_t)snprintf(name, sizeof(name), "%s/gander-XXXXXX", dir) >= sizeof(name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	return fd;
}

int temp_file(const char *dir)
{
	const char *const dirs[] = { dir, getenv("TMPDIR"), "/var/tmp", "/tmp" };
	int fd = -1;
	size_t i;

	for (i = 0; i < sizeof(dirs) / sizeof(*dirs) && fd < 0; i++)
		if (dirs[i] && *dirs[i])
			fd = file_in(dirs[i]);
	return fd < 0 ? -errno : fd;
}

int temp_write(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;
	ssize_t n;

	for (; size; p += n, size -= (size_t)n) {
		n = write(fd, p, size);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return -(errno = n ? errno : ENOSPC);
	}
	return 0;
}
