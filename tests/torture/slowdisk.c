/* Preloaded into a collector: writes to files that are not in /dev/shm take as long as on a disk of SLOWDISK_BYTES a second. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void pace(int fd, ssize_t n)
{
	const char *rate = getenv("SLOWDISK_BYTES");
	char link[40], path[64];
	double seconds = n > 0 && rate ? (double)n / atof(rate) : 0;
	struct timespec ts = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
	struct stat st;
	ssize_t len;

	if (seconds <= 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	path[len < 0 ? 0 : len] = 0;
	if (strncmp(path, "/dev/shm/", 9) != 0)
		nanosleep(&ts, NULL);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	ssize_t (*real)(int, const struct iovec *, int, off_t) = (ssize_t(*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "pwritev");
	ssize_t n = real(fd, iov, count, at);

	pace(fd, n);
	return n;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
	ssize_t n = real(fd, buf, len, at);

	pace(fd, n);
	return n;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	ssize_t n = real(fd, buf, len);

	pace(fd, n);
	return n;
}
