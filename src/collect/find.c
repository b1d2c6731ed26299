/* Finds regions. Nothing that a name says is followed: directories are scanned by descriptor, files opened by O_PATH and
 * checked (region.c); inside containers the kernel resolves paths (openat2, no links at all), because a link in a container's /dev/shm
 * would otherwise lead into the host. */
#include "collect/collect_find.h"
#include "collect/collect_clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAX_FOUND     4096
#define MAX_USER      1024 /* of one user who is not this one: nobody keeps others out by making many */
#define MAX_REFUSED   256
#define MAX_MAPPINGS  64 /* of one process */
#define PART_ENTRIES  1000
#define PART_NS       2000000ull
#define YOUNG_NS      1000000000ull
#define YOUNG_LOOK_NS 1000000

struct mapping { /* a file with a region's name in some process */
	dev_t dev;
	ino_t ino;
	pid_t pid;
	uint64_t start, end;
	char path[256];
	bool writable; /* a forked child has its parent's to read */
	bool seen;     /* found in a directory too, or in another process */
};

struct mappings {
	struct mapping *v;
	unsigned n, cap;
};

void find_done(struct find *f)
{
	unsigned i;

	for (i = 0; i < f->n; i++)
		region_close(f->v[i].region);
	free(f->v);
	map_done(&f->users);
	f->v = NULL;
	f->n = f->cap = f->nrefused = 0;
}

static struct found *add(struct find *f, enum found_kind kind, pid_t pid, uid_t uid, const char *path)
{
	struct found *v;
	uint64_t *his;
	bool added;

	his = map_put(&f->users, uid, &added);
	if (f->n == MAX_FOUND || !his || (uid != geteuid() && *his >= MAX_USER) || (kind == FOUND_REFUSED && f->nrefused >= MAX_REFUSED)) {
		f->left_out++;
		return NULL;
	}
	++*his;
	f->nrefused += kind == FOUND_REFUSED;
	if (f->n == f->cap) {
		unsigned cap = f->cap ? f->cap * 2 : 16;

		v = realloc(f->v, cap * sizeof(*v));
		if (!v)
			return NULL;
		f->v = v;
		f->cap = cap;
	}
	v = &f->v[f->n++];
	memset(v, 0, sizeof(*v));
	v->kind = kind;
	v->uid = uid;
	v->pid = pid;
	snprintf(v->path, sizeof(v->path), "%s", path);
	return v;
}

bool proc_comm(pid_t pid, char *to, size_t len)
{
	char path[40];
	FILE *in;

	*to = 0;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	in = fopen(path, "re");
	if (!in)
		return false;
	if (!fgets(to, (int)len, in))
		*to = 0;
	fclose(in);
	to[strcspn(to, "\n")] = 0;
	return true;
}

uid_t proc_uid(pid_t pid)
{
	char path[40], line[200], *p;
	uid_t effective = (uid_t)-1;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	in = fopen(path, "re");
	if (!in)
		return (uid_t)-1;
	while (fgets(line, sizeof(line), in))
		if (!strncmp(line, "Uid:", 4)) { /* real, effective, ... */
			strtoul(line + 4, &p, 10);
			effective = (uid_t)strtoul(p, NULL, 10);
			break;
		}
	fclose(in);
	return effective;
}

/* In clock ticks since boot; 0: gone. *state: 'R', 'S', ... */
static uint64_t proc_start_ticks(pid_t pid, char *state)
{
	char path[40], text[1024], *p;
	unsigned field;
	size_t n;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	in = fopen(path, "re");
	if (!in)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, in);
	fclose(in);
	text[n] = 0;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	*state = p && p[1] ? p[2] : 0;
	for (field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p, NULL, 10) : 0;
}

/* The mappings of one process that matter here. -errno when they cannot be read. */
static int read_maps(struct find *f, struct mappings *m, pid_t pid)
{
	char path[40], *line = NULL;
	size_t cap = 0;
	bool off_said = false;
	unsigned mine = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	in = fopen(path, "re");
	if (!in)
		return -errno;
	errno = 0;
	while (getline(&line, &cap, in) > 0) {
		unsigned long long start, end, ino;
		unsigned long major, minor;
		char *p, *base;
		bool writable;
		uid_t uid;

		if (!strstr(line, GD_NAME_PREFIX))
			continue;
		line[strcspn(line, "\n")] = 0;
		/* start-end perms offset major:minor inode path */
		start = strtoull(line, &p, 16);
		end = strtoull(p + (*p == '-'), &p, 16);
		p += strspn(p, " ");
		writable = p[0] && p[1] == 'w';
		p += strcspn(p, " ");
		strtoull(p, &p, 16);
		major = strtoul(p, &p, 16);
		minor = strtoul(p + (*p == ':'), &p, 16);
		ino = strtoull(p, &p, 10);
		p += strspn(p, " ");
		if (!strncmp(p, "/memfd:" GD_OFF_PREFIX, strlen("/memfd:" GD_OFF_PREFIX))) {
			struct found *v;

			base = strstr(p, " (deleted)");
			if (base)
				*base = 0;
			if (off_said)
				continue;
			off_said = true;
			v = f ? add(f, FOUND_OFF, pid, proc_uid(pid), "") : NULL;
			if (v)
				snprintf(v->why, sizeof(v->why), "%s", p + strlen("/memfd:" GD_OFF_PREFIX));
			continue;
		}
		base = strstr(p, " (deleted)");
		if (base)
			*base = 0;
		base = strrchr(p, '/');
		if (*p != '/' || !base || !region_name_ok(base + 1, &uid) || strlen(p) >= sizeof(m->v->path))
			continue;
		if (m->n && m->v[m->n - 1].ino == ino && m->v[m->n - 1].pid == pid) {
			m->v[m->n - 1].writable |= writable; /* a second mapping of the same */
			continue;
		}
		if (mine++ == MAX_MAPPINGS)
			break;
		if (m->n == m->cap) {
			unsigned want = m->cap ? m->cap * 2 : 16;
			struct mapping *v = m->n < MAX_FOUND ? realloc(m->v, want * sizeof(*v)) : NULL;

			if (!v)
				break;
			m->v = v;
			m->cap = want;
		}
		m->v[m->n++] = (struct mapping) { .dev = makedev((unsigned)major, (unsigned)minor), .ino = ino, .pid = pid, .start = start, .end = end, .writable = writable };
		memcpy(m->v[m->n - 1].path, p, strlen(p) + 1);
	}
	free(line);
	fclose(in);
	return 0;
}

/* ------------------------------------------------------------------ file systems

 * Which is a tmpfs is read from the kernel's tables. To ask the file system itself would mean, where it is FUSE, to ask a process that may
 * never answer; a user, or a container, can mount one wherever he has a directory. */

struct mount {
	dev_t dev;
	char type[16], point[256];
};

static bool next_mount(FILE *in, struct mount *m)
{
	char *line = NULL, *p, *type;
	unsigned long major, minor;
	bool good = false;
	size_t cap = 0;
	unsigned i;

	while (!good && getline(&line, &cap, in) > 0) {
		/* id parent major:minor root point options... - type source options */
		for (p = line, i = 0; p && i < 2; i++)
			p = strchr(p + 1, ' ');
		type = strstr(line, " - ");
		if (!p || !type)
			continue;
		major = strtoul(p, &p, 10);
		minor = strtoul(p + (*p == ':'), &p, 10);
		p += strspn(p, " ");
		p = strchr(p, ' ');
		if (!p)
			continue;
		m->dev = makedev((unsigned)major, (unsigned)minor);
		snprintf(m->point, sizeof(m->point), "%.*s", (int)strcspn(p + 1, " "), p + 1);
		snprintf(m->type, sizeof(m->type), "%.*s", (int)strcspn(type + 3, " "), type + 3);
		good = true;
	}
	free(line);
	return good;
}

static bool is_memory(const struct mount *m)
{
	return !strcmp(m->type, "tmpfs") || !strcmp(m->type, "devtmpfs") || !strcmp(m->type, "ramfs");
}

/* Whether this device is a tmpfs, by the mounts that this process or that one sees. */
static bool is_tmpfs_device(dev_t dev, pid_t pid)
{
	char path[2][40] = { "/proc/self/mountinfo" };
	struct mount m;
	bool found = false;
	FILE *in;
	int i;

	snprintf(path[1], sizeof(path[1]), "/proc/%d/mountinfo", (int)pid);
	for (i = 0; i < 2 && !found; i++) {
		in = fopen(path[i], "re");
		while (in && !found && next_mount(in, &m))
			found = m.dev == dev && is_memory(&m);
		if (in)
			fclose(in);
	}
	return found;
}

/* The uppermost file system at a mount point here. False: it is none, or no tmpfs. */
static bool is_tmpfs_point(const char *point, dev_t *dev)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	bool good = false;
	struct mount m;

	while (in && next_mount(in, &m))
		if (!strcmp(m.point, point)) {
			good = is_memory(&m);
			*dev = m.dev;
		}
	if (in)
		fclose(in);
	return good;
}

/* Device and inode of an O_PATH descriptor, without asking the file system. */
static bool look_at(int fd, dev_t *dev, ino_t *ino)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
		return false;
	*dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	*ino = st.stx_ino;
	return true;
}

/* A directory for reading, if it is on this device; 0: on any. */
static int open_dir(const char *path, dev_t want)
{
	int at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	dev_t dev;
	ino_t ino;

	if (at < 0)
		return -1;
	if (!want || (look_at(at, &dev, &ino) && dev == want))
		fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(at);
	return fd;
}

/* Devices of directories that a user has for himself; 0: only root can mount there. */
static dev_t device_of(const char *dir)
{
	dev_t dev;

	return !strncmp(dir, "/run/user/", 10) && geteuid() == 0 && is_tmpfs_point(dir, &dev) ? dev : 0;
}

int find_dirs(char dirs[][64], int cap)
{
	static const char *const fixed[] = { "/dev/shm", "/tmp", "/run/shm" };
	struct statfs fs;
	struct stat st, seen;
	int n = 0, i, k;

	for (i = 0; i < 3 && n < cap; i++) {
		if (statfs(fixed[i], &fs) < 0 || fs.f_type != TMPFS_MAGIC || stat(fixed[i], &st) < 0)
			continue;
		for (k = 0; k < n; k++)
			if (!stat(dirs[k], &seen) && seen.st_dev == st.st_dev && seen.st_ino == st.st_ino)
				break;
		if (k == n)
			snprintf(dirs[n++], 64, "%s", fixed[i]);
	}
	if (geteuid()) {
		snprintf(dirs[n], 64, "/run/user/%u", (unsigned)geteuid());
		if (n < cap && statfs(dirs[n], &fs) == 0 && fs.f_type == TMPFS_MAGIC)
			n++;
	} else {
		FILE *in = fopen("/proc/self/mountinfo", "re");
		struct mount m;

		while (in && n < cap && next_mount(in, &m)) {
			if (strncmp(m.point, "/run/user/", 10) || m.point[10 + strspn(m.point + 10, "0123456789")] || !m.point[10] || strlen(m.point) > 63)
				continue;
			for (k = 0; k < n && strcmp(dirs[k], m.point); k++)
				;
			if (k == n && is_memory(&m))
				memcpy(dirs[n++], m.point, strlen(m.point) + 1);
		}
		if (in)
			fclose(in);
	}
	return n;
}

/* Opens one candidate and files what it is. uid as in region_open(). -EAGAIN: its program is just starting. */
static int take(struct find *f, int opath_fd, int dirfd, const char *name, const char *path, uid_t uid, pid_t pid)
{
	struct region *r = NULL;
	struct err err = ERR_INIT;
	struct found *v;
	struct stat st = { 0 };
	int res;

	if (fstat(opath_fd, &st) < 0)
		st.st_uid = (uid_t)-1;
	res = region_open(&r, opath_fd, dirfd, name, path, uid, f->writable, &err);

	if (res == -EAGAIN)
		return res;
	v = add(f, res < 0 ? FOUND_REFUSED : FOUND_REGION, pid, st.st_uid, path);
	if (!v) {
		region_close(r);
		return 0;
	}
	v->code = res;
	v->dev = st.st_dev;
	v->ino = st.st_ino;
	snprintf(v->why, sizeof(v->why), "%s", err.text);
	v->region = r;
	if (r)
		v->dead = region_dead(r);
	return 0;
}

static struct mapping *mapped(struct mappings *m, dev_t dev, ino_t ino)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (m->v[i].dev == dev && m->v[i].ino == ino)
			return &m->v[i];
	return NULL;
}

/* An entry of a directory of this mount namespace. ino: 0 when it is not known. m: what is mapped; only_mapped: nothing else. -EAGAIN as take(). */
static int take_entry(struct find *f, const char *dir, int fd, dev_t dev, const char *name, ino_t ino, struct mappings *m, bool only_mapped)
{
	struct mapping *map;
	struct stat st;
	char path[330];
	uid_t uid;
	int file;

	if (!region_name_ok(name, &uid))
		return 0;
	map = m ? mapped(m, dev, ino) : NULL;
	if (only_mapped && !map)
		return 0;
	if (map)
		map->seen = true;
	if (ino && f->known && f->known(f->known_arg, dev, ino))
		return 0;
	file = region_file(fd, name);
	if (file < 0)
		return 0;
	/* files of others are theirs, whatever they are called */
	if (fstat(file, &st) < 0 || (geteuid() && uid != geteuid() && st.st_uid != geteuid()) || (!ino && f->known && f->known(f->known_arg, dev, st.st_ino))) {
		close(file);
		return 0;
	}
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return take(f, file, openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), name, path, (uid_t)-1, map ? map->pid : 0);
}

static DIR *begin_dir(const char *dir, int *fd, dev_t *dev)
{
	DIR *d = NULL;
	ino_t ino;

	*fd = open_dir(dir, device_of(dir));
	if (*fd >= 0 && look_at(*fd, dev, &ino))
		d = fdopendir(*fd);
	if (!d && *fd >= 0)
		close(*fd);
	return d;
}

static void scan_dir(struct find *f, const char *dir, struct mappings *m, bool only_mapped)
{
	struct dirent *e;
	dev_t dev;
	int fd;
	DIR *d = begin_dir(dir, &fd, &dev);

	while (d && (e = readdir(d)))
		take_entry(f, dir, fd, dev, e->d_name, e->d_ino, m, only_mapped);
	if (d)
		closedir(d);
}

static int open_in_root(pid_t pid, const char *path, uint64_t flags)
{
	/* Only what the kernel knows already: on the way may be a FUSE file system that never answers. The way to where something is mounted it knows. */
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED };
	char root[40];
	int fd, res, tries;

	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (tries = 0; tries < 5; tries++) { /* a rename somewhere else is enough to make it unsure */
		res = (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
		res = res < 0 ? -errno : res;
		if (res == -EINVAL && how.resolve & RESOLVE_CACHED)
			how.resolve &= ~(uint64_t)RESOLVE_CACHED; /* before Linux 5.12 */
		else if (res != -EAGAIN)
			break;
	}
	close(fd);
	return res;
}

/* A mapping whose file is in no directory here: unlinked, or in another mount namespace. */
static void take_mapping(struct find *f, struct mapping *map)
{
	char link[80], dir[256], shown[300];
	const char *base = strrchr(map->path, '/');
	uid_t uid = proc_uid(map->pid);
	int fd = -1, dirfd = -1;
	bool memory;
	dev_t dev;
	ino_t ino;

	if (uid == (uid_t)-1 || (f->known && f->known(f->known_arg, map->dev, map->ino)))
		return;
	snprintf(link, sizeof(link), "/proc/%d/map_files/%llx-%llx", (int)map->pid, (unsigned long long)map->start,
		 (unsigned long long)map->end);
	snprintf(shown, sizeof(shown), "/proc/%d/root%s", (int)map->pid, map->path);
	snprintf(dir, sizeof(dir), "%.*s", base > map->path ? (int)(base - map->path) : 1, map->path);
	memory = is_tmpfs_device(map->dev, map->pid);
	if (memory) {
		fd = open(link, O_PATH | O_CLOEXEC);
		if (fd < 0)
			fd = open_in_root(map->pid, map->path, O_PATH);
		dirfd = open_in_root(map->pid, dir, O_PATH | O_DIRECTORY);
	}
	if (fd >= 0 && (!look_at(fd, &dev, &ino) || dev != map->dev || ino != map->ino)) {
		close(fd);
		fd = -ESTALE;
	}
	if (dirfd >= 0 && (!look_at(dirfd, &dev, &ino) || dev != map->dev)) {
		close(dirfd);
		dirfd = -1;
	}
	if (fd < 0) {
		struct found *v = add(f, FOUND_REFUSED, map->pid, uid, shown);

		if (v && !memory) {
			v->code = -EINVAL;
			snprintf(v->why, sizeof(v->why), "process %d maps a file that is called like a region, and is on no tmpfs", (int)map->pid);
		} else if (v) {
			v->code = -EPERM;
			snprintf(v->why, sizeof(v->why),
				 "process %d has a region that cannot be reached (its file was removed, or is in a container: run gander as root)",
				 (int)map->pid);
		}
		if (dirfd >= 0)
			close(dirfd);
		return;
	}
	take(f, fd, dirfd < 0 ? -1 : dirfd, base + 1, shown, uid, map->pid);
}

static bool same_mount_namespace(pid_t pid)
{
	char path[40];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	return stat("/proc/self/ns/mnt", &ours) < 0 || stat(path, &theirs) < 0 || ours.st_ino == theirs.st_ino;
}

/* The program's own word for its pid, where it holds: same start, and it maps the file if that can be seen. */
static void pid_by_header(struct found *v)
{
	struct gd_header *h = &v->region->head;
	struct mappings m = { 0 };
	char state;

	if (v->pid || v->dead || !h->pid || !h->start_ticks || proc_start_ticks((pid_t)h->pid, &state) != h->start_ticks)
		return;
	if (read_maps(NULL, &m, (pid_t)h->pid) < 0 || mapped(&m, v->region->dev, v->region->ino))
		v->pid = (pid_t)h->pid;
	free(m.v);
}

static int each_pid(int (*fn)(void *arg, pid_t pid), void *arg)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int res = 0;

	while (d && res >= 0 && (e = readdir(d)))
		if (*e->d_name >= '1' && *e->d_name <= '9')
			res = fn(arg, (pid_t)strtol(e->d_name, NULL, 10));
	if (d)
		closedir(d);
	return res;
}

/* A region that several processes map is the one's that writes to it. */
static void unite(struct mappings *m)
{
	unsigned i, k;

	for (i = 0; i < m->n; i++)
		for (k = i + 1; k < m->n && !m->v[i].seen; k++) {
			if (m->v[k].dev != m->v[i].dev || m->v[k].ino != m->v[i].ino)
				continue;
			if (m->v[k].writable && !m->v[i].writable) {
				struct mapping swap = m->v[i];

				m->v[i] = m->v[k];
				m->v[k] = swap;
			}
			m->v[k].seen = true;
		}
}

struct all_arg {
	struct find *f;
	struct mappings *m;
	bool quick;
};

static int maps_of(void *arg, pid_t pid)
{
	struct all_arg *a = arg;
	int res;

	if (a->quick && same_mount_namespace(pid))
		return 0;
	res = read_maps(a->f, a->m, pid);
	a->f->denied += res == -EACCES || res == -EPERM;
	return 0;
}

int find_all(struct find *f, enum find_where where, struct err *err)
{
	struct mappings m = { 0 };
	struct all_arg a = { f, &m, where == FIND_FOREIGN };
	char dirs[32][64];
	int n, i;
	unsigned k;

	if (where == FIND_ALL || (where == FIND_FOREIGN && geteuid() == 0))
		each_pid(maps_of, &a);
	unite(&m);
	n = find_dirs(dirs, 32);
	for (i = 0; i < n; i++)
		scan_dir(f, dirs[i], &m, false);
	for (k = 0; k < m.n; k++)
		if (!m.v[k].seen)
			take_mapping(f, &m.v[k]);
	free(m.v);
	for (k = 0; k < f->n; k++)
		if (f->v[k].kind == FOUND_REGION)
			pid_by_header(&f->v[k]);
	return 0;
}

static int look_pid(struct find *f, pid_t pid, struct err *err)
{
	struct mappings m = { 0 };
	char dirs[32][64], comm[32];
	struct passwd *pw;
	int n, i, res;
	unsigned k;
	uid_t uid;

	if (!proc_comm(pid, comm, sizeof(comm)))
		return err_set(err, -ESRCH, "no process %d", (int)pid);
	res = read_maps(f, &m, pid);
	if (res == -EACCES || res == -EPERM) {
		uid = proc_uid(pid);
		pw = getpwuid(uid);
		if (uid != geteuid())
			return err_set(err, -EPERM, "process %d (%s) belongs to %s (uid %u): run gander as that user or as root", (int)pid,
				       comm, pw ? pw->pw_name : "another user", (unsigned)uid);
		return err_set(err, -EPERM, "process %d (%s) does not let itself be looked at (it has capabilities or changed its user): %s",
			       (int)pid, comm, geteuid() ? "run gander as root" : "this root lacks CAP_SYS_PTRACE");
	}
	if (res < 0)
		return err_set(err, res == -ENOENT ? -ESRCH : res, "no process %d", (int)pid);
	n = find_dirs(dirs, 32);
	for (i = 0; i < n; i++)
		scan_dir(f, dirs[i], &m, true);
	for (k = 0; k < m.n; k++)
		if (!m.v[k].seen)
			take_mapping(f, &m.v[k]);
	free(m.v);
	return 0;
}

bool find_is_mapped(pid_t pid, dev_t dev, ino_t ino)
{
	struct mappings m = { 0 };
	struct mapping *map;
	bool is;

	read_maps(NULL, &m, pid);
	map = mapped(&m, dev, ino);
	is = map && map->writable;
	free(m.v);
	return is;
}

static bool is_young(pid_t pid)
{
	char state = 0;
	uint64_t ticks = proc_start_ticks(pid, &state), now = clock_ns(CLOCK_BOOTTIME);

	return ticks && state != 'Z' && state != 'X' && ticks * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK)) + YOUNG_NS > now;
}

/* A shell says the pid of what it starts before that has its region, or even its own executable. */
void find_await(pid_t pid)
{
	const struct timespec pause = { .tv_nsec = YOUNG_LOOK_NS };
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);

	while (is_young(pid) && clock_ns(CLOCK_MONOTONIC) - begin < YOUNG_NS) {
		struct find f = { 0 };
		bool done = look_pid(&f, pid, NULL) < 0 || f.n;

		find_done(&f);
		if (done)
			return;
		nanosleep(&pause, NULL);
	}
}

int find_pid(struct find *f, pid_t pid, struct err *err)
{
	find_await(pid);
	return look_pid(f, pid, err);
}

void find_begin(struct find_part *p, bool foreign)
{
	memset(p, 0, sizeof(*p));
	p->ndirs = find_dirs(p->dirs, 32);
	if (foreign)
		p->proc = opendir("/proc");
}

void find_end(struct find_part *p)
{
	if (p->proc)
		closedir(p->proc);
	if (p->dir)
		closedir(p->dir);
	memset(p, 0, sizeof(*p));
}

/* Processes in other mount namespaces; what they map is in no directory here, or will be found there as known. */
static bool some_processes(struct find *f, struct find_part *p)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + PART_NS;
	struct dirent *e;
	unsigned k;

	while (clock_ns(CLOCK_MONOTONIC) < end) {
		struct mappings m = { 0 };
		pid_t pid;

		e = readdir(p->proc);
		if (!e)
			return false;
		if (*e->d_name < '1' || *e->d_name > '9')
			continue;
		pid = (pid_t)strtol(e->d_name, NULL, 10);
		if (same_mount_namespace(pid))
			continue;
		read_maps(f, &m, pid);
		for (k = 0; k < m.n; k++)
			take_mapping(f, &m.v[k]);
		free(m.v);
	}
	return true;
}

bool find_some(struct find *f, struct find_part *p)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + PART_NS;
	struct dirent *e;
	unsigned n, k;

	if (p->proc) {
		if (!some_processes(f, p)) {
			closedir(p->proc);
			p->proc = NULL;
		}
	} else {
		for (n = 0; n < PART_ENTRIES && p->at < p->ndirs && (!n || clock_ns(CLOCK_MONOTONIC) < end); n++) {
			if (!p->dir)
				p->dir = begin_dir(p->dirs[p->at], &p->fd, &p->dev);
			e = p->dir ? readdir(p->dir) : NULL;
			if (e) {
				take_entry(f, p->dirs[p->at], p->fd, p->dev, e->d_name, e->d_ino, NULL, false);
				continue;
			}
			if (p->dir)
				closedir(p->dir);
			p->dir = NULL;
			p->at++;
		}
	}
	for (k = 0; k < f->n; k++)
		if (f->v[k].kind == FOUND_REGION)
			pid_by_header(&f->v[k]);
	return p->proc || p->at < p->ndirs;
}

int find_entry(struct find *f, const char *dir, const char *name)
{
	int fd = open_dir(dir, device_of(dir)), res = 0;
	unsigned k = f->n;
	dev_t dev;
	ino_t ino;

	if (fd < 0)
		return 0;
	if (look_at(fd, &dev, &ino))
		res = take_entry(f, dir, fd, dev, name, 0, NULL, false);
	close(fd);
	for (; k < f->n; k++)
		if (f->v[k].kind == FOUND_REGION)
			pid_by_header(&f->v[k]);
	return res;
}

struct named_arg {
	const char *name;
	pid_t *pids;
	int n, cap;
};

static int match_name(void *arg, pid_t pid)
{
	struct named_arg *a = arg;
	char comm[32], path[40], exe[512];
	const char *base;
	ssize_t len;

	if (pid == getpid() || a->n == a->cap || !proc_comm(pid, comm, sizeof(comm)))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	len = readlink(path, exe, sizeof(exe) - 1);
	exe[len > 0 ? len : 0] = 0;
	base = strrchr(exe, '/');
	if (!strcmp(comm, a->name) || (base && !strcmp(base + 1, a->name)))
		a->pids[a->n++] = pid;
	return 0;
}

int find_named(const char *name, pid_t *pids, int cap, struct err *err)
{
	struct named_arg a = { name, pids, 0, cap };

	each_pid(match_name, &a);
	if (!a.n)
		return err_set(err, -ESRCH, "no program '%s' (gander list shows those that can be traced)", name);
	return a.n;
}
