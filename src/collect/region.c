/* Opens and checks regions. A file is looked at through O_PATH first, so that a fifo, a device or a link that somebody put
 * there is never opened. */
#include "collect/collect_region.h"
#include "collect/collect_guard.h"
#include "collect/collect_words.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE_OWN     1000u /* ms */
#define PATIENCE_FOREIGN 5u

bool region_name_ok(const char *name, uid_t *uid)
{
	const char *p = name + strlen(GD_NAME_PREFIX);
	uint64_t v = 0;
	int digits;

	if (strncmp(name, GD_NAME_PREFIX, strlen(GD_NAME_PREFIX)))
		return false;
	for (digits = 0; *p >= '0' && *p <= '9' && digits < 10; digits++, p++)
		v = v * 10 + (uint64_t)(*p - '0');
	if (!digits || v > UINT32_MAX || *p++ != '.')
		return false;
	*uid = (uid_t)v;
	return strspn(p, "0123456789abcdef") == 16 && !p[16];
}

static int check_header(struct region *r, struct err *err)
{
	struct gd_header *h = &r->head;
	ssize_t n = pread(r->fd, h, sizeof(*h), 0);

	if (n != sizeof(*h))
		return err_set(err, -EINVAL, "'%s' is too small for a region", r->path);
	if (!h->magic && !h->state)
		return err_set(err, -EAGAIN, "'%s' is not finished", r->path);
	if (h->magic != GD_MAGIC)
		return err_set(err, -EINVAL, "'%s' is no region (bad magic)", r->path);
	if (h->major != GD_MAJOR)
		return err_set(err, -EPROTO, "'%s' is a region of version %u.%u; this gander reads %u.x (%s)", r->path, h->major,
			       h->minor, GD_MAJOR, h->major > GD_MAJOR ? "use a newer gander" : "rebuild the program with a newer agent");
	if (h->state == GD_STATE_BUILDING)
		return err_set(err, -EAGAIN, "'%s' is not finished", r->path);
	/* [READY] what was read before the state need not be what it announces */
	if (pread(r->fd, h, sizeof(*h), 0) != sizeof(*h) || h->state != GD_STATE_READY || h->header_size < sizeof(*h) || h->header_size > GD_PAGE)
		return err_set(err, -EINVAL, "'%s' has a damaged header", r->path);
	if (!h->npackets || h->npackets > GD_PACKETS_MAX || h->region_size != GD_REGION_SIZE(h->npackets) ||
	    h->region_size > r->size)
		return err_set(err, -EINVAL, "'%s' is too small: its header says %u packets, the file has %llu bytes", r->path,
			       h->npackets, (unsigned long long)r->size);
	if (!h->nslots || h->nslots > GD_SLOTS || h->clock < GD_CLOCK_TSC || h->clock > GD_CLOCK_MONO ||
	    h->writer < GD_WRITER_MM_CID || h->writer > GD_WRITER_GO_P || h->build_id_len > sizeof(h->build_id))
		return err_set(err, -EINVAL, "'%s' has a damaged header", r->path);
	h->agent[sizeof(h->agent) - 1] = 0;
	h->comm[sizeof(h->comm) - 1] = 0;
	h->exe[sizeof(h->exe) - 1] = 0;
	r->size = h->region_size;
	r->npackets = h->npackets;
	r->nslots = h->nslots;
	return 0;
}

static int check_file(struct region *r, int opath_fd, uid_t uid, struct err *err)
{
	struct statfs fs;
	struct stat st;
	uid_t name_uid;

	if (fstat(opath_fd, &st) < 0)
		return err_set(err, -errno, "cannot look at '%s': %m", r->path);
	if (S_ISLNK(st.st_mode))
		return err_set(err, -ELOOP, "'%s' is a symbolic link (a region never is)", r->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is no regular file", r->path);
	if (fstatfs(opath_fd, &fs) < 0 || (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))
		return err_set(err, -EINVAL, "'%s' is on no tmpfs", r->path);
	if (!region_name_ok(r->name, &name_uid))
		return err_set(err, -EINVAL, "'%s' has no region's name", r->path);
	if (st.st_uid != (uid == (uid_t)-1 ? name_uid : uid))
		return err_set(err, -EPERM, "'%s' belongs to uid %u instead of %u", r->path, (unsigned)st.st_uid,
			       (unsigned)(uid == (uid_t)-1 ? name_uid : uid));
	if (st.st_mode & 077)
		return err_set(err, -EPERM, "'%s' is open to others (mode %03o instead of 600)", r->path, st.st_mode & 0777);
	if (st.st_nlink > 1)
		return err_set(err, -EMLINK, "'%s' is linked elsewhere too", r->path);
	if (st.st_size < (off_t)GD_META_SIZE)
		return err_set(err, st.st_size ? -EINVAL : -EAGAIN, "'%s' is too small for a region", r->path);
	r->size = (size_t)st.st_size;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->uid = st.st_uid;
	r->patience_ms = r->uid == geteuid() ? PATIENCE_OWN : PATIENCE_FOREIGN;
	r->file_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}

int region_open(struct region **ret, int opath_fd, int dirfd, const char *name, const char *path, uid_t uid, bool writable,
		struct err *err)
{
	struct region *r = calloc(1, sizeof(*r));
	char via[40];
	int res;

	if (!r) {
		close(opath_fd);
		if (dirfd >= 0)
			close(dirfd);
		return err_set(err, -ENOMEM, "out of memory");
	}
	r->fd = -1;
	r->dirfd = dirfd;
	r->writable = writable;
	snprintf(r->name, sizeof(r->name), "%s", name);
	snprintf(r->path, sizeof(r->path), "%s", path);
	res = check_file(r, opath_fd, uid, err);
	if (res < 0)
		goto out;
	snprintf(via, sizeof(via), "/proc/self/fd/%d", opath_fd);
	r->fd = open(via, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (r->fd < 0) {
		res = err_set(err, -errno, "cannot open '%s': %m", r->path);
		goto out;
	}
	res = check_header(r, err);
	if (res < 0)
		goto out;
	r->cls = calloc(GD_CLASSES, sizeof(*r->cls));
	if (!r->cls) {
		res = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	r->map = mmap(NULL, r->size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, r->fd, 0);
	if (r->map == MAP_FAILED) {
		r->map = NULL;
		res = err_set(err, -errno, "cannot map '%s': %m", r->path);
		goto out;
	}
	res = guard_add(r->map, r->size, &r->shrunk, err);
	if (res < 0)
		goto out;
	*ret = r;
	r = NULL;
out:
	close(opath_fd);
	region_close(r);
	return res;
}

void region_close(struct region *r)
{
	uint32_t i;

	if (!r)
		return;
	if (r->map) {
		guard_remove(r->map);
		munmap(r->map, r->size);
	}
	for (i = 0; r->cls && i < r->nclasses; i++)
		if (r->cls[i]) {
			free(r->cls[i]->desc);
			free(r->cls[i]);
		}
	free(r->cls);
	if (r->fd >= 0)
		close(r->fd);
	if (r->dirfd >= 0)
		close(r->dirfd);
	free(r);
}

bool region_channel_on(const struct region *r, unsigned c)
{
	uint32_t state;
	ssize_t n = pread(r->fd, &state, sizeof(state), (off_t)(GD_OFF_CHANNELS + c * sizeof(struct gd_channel) + offsetof(struct gd_channel, state)));

	return n == sizeof(state) && state == GD_CHANNEL_ON && load_acquire(&region_channel(r, c)->state) == GD_CHANNEL_ON;
}

bool region_dead(const struct region *r)
{
	if (flock(r->fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	flock(r->fd, LOCK_UN);
	return true;
}

int region_file(int dirfd, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV };
	int fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6 */
		fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int region_unlink(struct region *r)
{
	int fd = r->dirfd < 0 ? -ENOENT : region_file(r->dirfd, r->name), res;
	struct stat st;

	if (fd < 0)
		return -ENOENT;
	res = fstat(fd, &st);
	close(fd);
	if (res < 0)
		return -ENOENT;
	if (st.st_dev != r->dev || st.st_ino != r->ino)
		return -ESTALE;
	return unlinkat(r->dirfd, r->name, 0) < 0 ? -errno : 0;
}

static int read_desc(struct region *r, struct rclass *cl, uint32_t off, uint32_t len)
{
	struct gd_desc d;

	if (off < GD_OFF_HEAP || off > GD_OFF_DATA || len > GD_DESC_MAX || len > GD_OFF_DATA - off)
		return -EINVAL;
	cl->desc = malloc(len ? len : 1);
	if (!cl->desc)
		return -ENOMEM;
	if (pread(r->fd, cl->desc, len, off) != (ssize_t)len || gd_desc_parse(&d, cl->desc, len) < 0) {
		free(cl->desc);
		cl->desc = NULL;
		return -EINVAL;
	}
	cl->desc_len = len;
	cl->kind = d.kind;
	cl->level = d.level;
	cl->nfields = d.nfields;
	memcpy(cl->name, d.name, d.name_len);
	cl->name[d.name_len] = 0;
	return 0;
}

int region_classes(struct region *r)
{
	const struct gd_header *live = (const struct gd_header *)r->map;
	uint32_t n = __atomic_load_n(&live->class_count, __ATOMIC_SEQ_CST), i;
	int res, found = 0;

	if (n > GD_CLASSES)
		n = GD_CLASSES;
	if (n < r->nclasses)
		n = r->nclasses;
	for (i = r->settled; i < n; i++) {
		const struct gd_class *g = region_class(r, i);
		struct rclass *cl = r->cls[i];
		uint32_t state;

		if (!cl) {
			cl = r->cls[i] = calloc(1, sizeof(*cl));
			if (!cl)
				return -ENOMEM;
			if (i >= r->nclasses)
				r->nclasses = i + 1;
		}
		if (cl->state != RCLASS_UNSETTLED)
			continue;
		state = __atomic_load_n(&g->state, __ATOMIC_SEQ_CST); /* [CLASS] */
		if (state == GD_CLASS_ALIAS) {
			cl->state = RCLASS_SKIP;
		} else if (state == GD_CLASS_PUBLISHED) {
			res = read_desc(r, cl, __atomic_load_n(&g->desc_off, __ATOMIC_RELAXED),
					__atomic_load_n(&g->desc_len, __ATOMIC_RELAXED));
			if (res == -ENOMEM)
				return res;
			cl->state = res < 0 ? RCLASS_BROKEN : RCLASS_OK;
			found += res == 0;
		}
	}
	while (r->settled < r->nclasses && r->cls[r->settled]->state != RCLASS_UNSETTLED)
		r->settled++;
	return found;
}

int region_records(struct region *r, void (*fn)(void *arg, uint32_t kind, const void *data, size_t len), void *arg)
{
	const struct gd_header *live = (const struct gd_header *)r->map;
	uint32_t used = __atomic_load_n(&live->heap_used, __ATOMIC_RELAXED), at, len, kind;
	uint8_t *data = malloc(GD_DESC_MAX);

	if (!data)
		return -ENOMEM;
	if (used > GD_HEAP_SIZE)
		used = GD_HEAP_SIZE;
	for (at = 0; at + sizeof(struct gd_record) <= used; at += (uint32_t)sizeof(struct gd_record) + ((len + 7) & ~7u)) {
		const struct gd_record *rec = (const struct gd_record *)(r->map + GD_OFF_HEAP + at);

		kind = __atomic_load_n(&rec->kind, __ATOMIC_ACQUIRE); /* [RECORD] */
		len = __atomic_load_n(&rec->len, __ATOMIC_RELAXED);
		if (!len || len > used - at - sizeof(struct gd_record))
			break;
		if (!kind || len > GD_DESC_MAX || pread(r->fd, data, len, GD_OFF_HEAP + at + sizeof(struct gd_record)) != (ssize_t)len)
			continue; /* its declarer is at it, or has died there */
		fn(arg, kind, data, len);
	}
	free(data);
	return 0;
}

static int lock_byte(struct region *r, off_t at, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

	return fcntl(r->fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

int region_lock_control(struct region *r)
{
	int res;

	/* Whoever holds it changes a few words; the rest is for one that is stopped meanwhile. It is used up but for a little: somebody who takes
	 * the lock for ever, or again and again, delays the other programs of a recording once. */
	for (;;) {
		res = lock_byte(r, GD_LOCK_CONTROL, F_WRLCK);
		if (res != -EAGAIN && res != -EACCES)
			break;
		if (!r->patience_ms)
			return -EAGAIN;
		r->patience_ms--;
		usleep(1000);
	}
	if (res == 0 && r->patience_ms < PATIENCE_OWN && r->uid == geteuid())
		r->patience_ms++;
	return res;
}

void region_unlock_control(struct region *r)
{
	lock_byte(r, GD_LOCK_CONTROL, F_UNLCK);
}

bool region_lock_channel(struct region *r, unsigned c)
{
	return lock_byte(r, GD_LOCK_CHANNEL((off_t)c), F_WRLCK) == 0;
}

void region_unlock_channel(struct region *r, unsigned c)
{
	lock_byte(r, GD_LOCK_CHANNEL((off_t)c), F_UNLCK);
}

bool region_channel_held(struct region *r, unsigned c)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = GD_LOCK_CHANNEL((off_t)c), .l_len = 1 };

	return fcntl(r->fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}
