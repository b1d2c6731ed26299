/* Finds regions. Nothing that a name says is followed: directories are scanned by descriptor, files opened by O_PATH and
 * checked (region.c); inside containers the kernel resolves paths (openat2, no links at all), because a link in a container's /dev/shm
 * would otherwise lead into the host. */
#include "collect/collect_find.h"

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

#define MAX_FOUND 4096
#define MAX_PIDS  1024 /* users of regions at a time */

struct mapping { /* a file with a region's name in some process */
	dev_t dev;
	ino_t ino;
	pid_t pid;
	uint64_t start, end;
	char path[256];
	bool seen; /* found in a directory too */
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
	f->v = NULL;
	f->n = f->cap = 0;
}

static struct found *add(struct find *f, enum found_kind kind, pid_t pid, const char *path)
{
	struct found *v;

	if (f->n == MAX_FOUND)
		return NULL;
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

static uint64_t proc_start_ticks(pid_t pid)
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
		uid_t uid;

		if (!strstr(line, GD_NAME_PREFIX))
			continue;
		line[strcspn(line, "\n")] = 0;
		/* start-end perms offset major:minor inode path */
		start = strtoull(line, &p, 16);
		end = strtoull(p + (*p == '-'), &p, 16);
		p += strspn(p, " ");
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
			v = f ? add(f, FOUND_OFF, pid, "") : NULL;
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
		if (m->n && m->v[m->n - 1].ino == ino && m->v[m->n - 1].pid == pid)
			continue; /* a second mapping of the same */
		if (m->n == m->cap) {
			unsigned want = m->cap ? m->cap * 2 : 16;
			struct mapping *v = m->n < MAX_FOUND ? realloc(m->v, want * sizeof(*v)) : NULL;

			if (!v)
				break;
			m->v = v;
			m->cap = want;
		}
		m->v[m->n++] = (struct mapping) { .dev = makedev((unsigned)major, (unsigned)minor), .ino = ino, .pid = pid, .start = start, .end = end };
		memcpy(m->v[m->n - 1].path, p, strlen(p) + 1);
	}
	free(line);
	fclose(in);
	return 0;
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
		DIR *d = opendir("/run/user");
		struct dirent *e;

		while (d && n < cap && (e = readdir(d))) {
			if (*e->d_name < '0' || *e->d_name > '9')
				continue;
			snprintf(dirs[n], 64, "/run/user/%.40s", e->d_name);
			if (statfs(dirs[n], &fs) == 0 && fs.f_type == TMPFS_MAGIC)
				n++;
		}
		if (d)
			closedir(d);
	}
	return n;
}

/* Opens one candidate and files what it is. uid as in region_open(). */
static void take(struct find *f, int opath_fd, int dirfd, const char *name, const char *path, uid_t uid, pid_t pid)
{
	struct region *r = NULL;
	struct err err = ERR_INIT;
	struct found *v;
	struct stat st = { 0 };
	int res;

	fstat(opath_fd, &st);
	res = region_open(&r, opath_fd, dirfd, name, path, uid, f->writable, &err);

	if (res == -EAGAIN)
		return; /* its program is just starting */
	v = add(f, res < 0 ? FOUND_REFUSED : FOUND_REGION, pid, path);
	if (!v) {
		region_close(r);
		return;
	}
	v->code = res;
	v->dev = st.st_dev;
	v->ino = st.st_ino;
	snprintf(v->why, sizeof(v->why), "%s", err.text);
	v->region = r;
	if (r)
		v->dead = region_dead(r);
}

static struct mapping *mapped(struct mappings *m, dev_t dev, ino_t ino)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (m->v[i].dev == dev && m->v[i].ino == ino)
			return &m->v[i];
	return NULL;
}

/* One directory of this mount namespace. Only what `m` has when only_mapped, else everything. */
static void scan_dir(struct find *f, const char *dir, struct mappings *m, bool only_mapped)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), file, dirfd;
	struct dirent *e;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d))) {
		struct mapping *map;
		struct stat st;
		char path[330];
		uid_t uid;

		if (!region_name_ok(e->d_name, &uid))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (geteuid() && uid != geteuid() && st.st_uid != geteuid())
			continue;
		map = mapped(m, st.st_dev, st.st_ino);
		if (only_mapped && !map)
			continue;
		if (map)
			map->seen = true;
		if (f->known && f->known(f->known_arg, st.st_dev, st.st_ino))
			continue;
		file = openat(fd, e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (file < 0)
			continue;
		dirfd = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		take(f, file, dirfd, e->d_name, path, (uid_t)-1, map ? map->pid : 0);
	}
	closedir(d);
}

static int open_in_root(pid_t pid, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	char root[40];
	int fd, res;

	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	res = (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
	res = res < 0 ? -errno : res;
	close(fd);
	return res;
}

/* A mapping whose file is in no directory here: unlinked, or in another mount namespace. */
static void take_mapping(struct find *f, struct mapping *map)
{
	char link[80], dir[256], shown[300];
	const char *base = strrchr(map->path, '/');
	uid_t uid = proc_uid(map->pid);
	int fd, dirfd;
	struct stat st;

	if (uid == (uid_t)-1 || (f->known && f->known(f->known_arg, map->dev, map->ino)))
		return;
	snprintf(link, sizeof(link), "/proc/%d/map_files/%llx-%llx", (int)map->pid, (unsigned long long)map->start,
		 (unsigned long long)map->end);
	snprintf(shown, sizeof(shown), "/proc/%d/root%s", (int)map->pid, map->path);
	snprintf(dir, sizeof(dir), "%.*s", base > map->path ? (int)(base - map->path) : 1, map->path);
	dirfd = open_in_root(map->pid, dir, O_PATH | O_DIRECTORY);
	fd = open(link, O_PATH | O_CLOEXEC);
	if (fd < 0)
		fd = open_in_root(map->pid, map->path, O_PATH);
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_dev != map->dev || st.st_ino != map->ino)) {
		close(fd);
		fd = -ESTALE;
	}
	if (fd < 0) {
		struct found *v = add(f, FOUND_REFUSED, map->pid, shown);

		if (v) {
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

	if (v->pid || v->dead || !h->pid || !h->start_ticks || proc_start_ticks((pid_t)h->pid) != h->start_ticks)
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

int find_pid(struct find *f, pid_t pid, struct err *err)
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
		return err_set(err, -EPERM, "process %d (%s) does not let itself be looked at (it has capabilities or changed its user): run gander as root",
			       (int)pid, comm);
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
