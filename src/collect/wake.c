/* Wakes a program that is asked to fly: a byte into the pipe that its flight package has published (docs/flight.md, "Waking"). The program may have
 * published anything. So a descriptor is looked at through O_PATH, without asking its file system, and a byte goes into nothing but an anonymous pipe that the
 * process itself holds open for reading and writing: it could have written that byte as well. Nothing here waits. */
#include "collect/collect_go.h"
#include "collect/collect_words.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct look {
	dev_t dev;
	uint64_t ino;
	bool fifo;
	/* of the open file, as the kernel's fdinfo has it */
	unsigned long flags;
	long mount;
	uint64_t info_ino; /* the inode again; as above where the kernel does not say (before Linux 5.14) */
};

/* What fd (O_PATH, or our own) is, and what /proc/WHOSE/fdinfo/NUMBER says of the descriptor that it was got from. */
static int inspect(struct look *l, int fd, const char *whose, unsigned number)
{
	char path[64], text[1024], *line, *rest = text;
	struct statx st;
	ssize_t n;
	int info;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &st) < 0)
		return -errno;
	*l = (struct look) { .dev = makedev(st.stx_dev_major, st.stx_dev_minor), .ino = st.stx_ino, .fifo = S_ISFIFO(st.stx_mode), .mount = -1, .info_ino = st.stx_ino };
	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%u", whose, number);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	n = read(info, text, sizeof(text) - 1);
	close(info);
	if (n < 0)
		return -errno;
	text[n] = 0;
	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, "flags:", 6))
			l->flags = strtoul(line + 6, NULL, 8);
		else if (!strncmp(line, "mnt_id:", 7))
			l->mount = strtol(line + 7, NULL, 10);
		else if (!strncmp(line, "ino:", 4))
			l->info_ino = strtoull(line + 4, NULL, 10);
	}
	return 0;
}

/* What all anonymous pipes have in common. */
static int inspect_own(struct look *l)
{
	int ends[2], res;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	res = inspect(l, ends[0], "self", (unsigned)ends[0]);
	close(ends[0]);
	close(ends[1]);
	return res;
}

static bool is_bell(const struct look *l, const struct look *own, uint32_t ino)
{
	return l->fifo && l->dev == own->dev && l->mount == own->mount && (uint32_t)l->ino == ino && l->info_ino == l->ino &&
	       (l->flags & O_ACCMODE) == O_RDWR;
}

/* Rings at a descriptor; -ENOENT: it is not what it should be. */
static int ring(pid_t pid, unsigned number, uint32_t ino)
{
	struct look own, l;
	char path[64], whose[16];
	int at, fd = -1, res;

	snprintf(whose, sizeof(whose), "%d", (int)pid);
	snprintf(path, sizeof(path), "/proc/%s/fd/%u", whose, number);
	at = open(path, O_PATH | O_CLOEXEC); /* from here on it cannot become another */
	if (at < 0)
		return -errno;
	res = inspect(&l, at, whose, number);
	if (res == 0)
		res = inspect_own(&own);
	if (res == 0 && !is_bell(&l, &own, ino))
		res = -ENOENT;
	if (res < 0)
		goto out;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY); /* for reading too: then there is no SIGPIPE when the process ends meanwhile */
	if (fd < 0)
		res = -errno;
	else if (write(fd, "", 1) < 0 && errno != EAGAIN) /* full: it has been rung at already */
		res = -errno;
out:
	if (fd >= 0)
		close(fd);
	close(at);
	return res;
}

int flight_wake(const struct flight *f, struct err *err)
{
	const struct gd_header *h = (const struct gd_header *)f->r->map;
	pid_t pid = f->sink.pid;
	uint32_t number = load_seq_cst(&h->wake_fd), ino = load_relaxed(&h->wake_ino); /* [WAKE] */
	int res;

	if (!number || flight_flying(f))
		return 0;
	number--;
	if (pid <= 0)
		res = -ESRCH;
	else
		res = number > INT_MAX ? -ENOENT : ring(pid, number, ino);
	if (res == 0 || region_dead(f->r))
		return 0;
	if (res == -ESRCH)
		return err_set(err, res, "it cannot be woken, for no process can be seen here that has its region");
	if (res == -ENOENT)
		return err_set(err, res,
			       "it cannot be woken, for its descriptor %u is not the pipe that its flight package has made (with GANDER_FLIGHT=look in its environment it "
			       "needs none)",
			       number);
	return err_set(err, res,
		       "it cannot be woken, cannot open '/proc/%d/fd/%u': %m (run gander as its user, or as root with CAP_SYS_PTRACE, or the program with "
		       "GANDER_FLIGHT=look in its environment)",
		       (int)pid, number);
}
