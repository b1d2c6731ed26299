/* A recording's directories: made, rotated, and the reserve for a full disk. */
#include "collect/collect_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_BYTES (256u << 10) /* kept on disk so that a full one still takes the last words */

int chunk_begin(struct record *rec, struct err *err)
{
	char path[4200];

	if (rec->o->rotate_size || rec->o->rotate_ns) {
		snprintf(rec->dir, sizeof(rec->dir), "%.4000s/chunk-%06u", rec->o->dir, ++rec->chunk);
		if (mkdir(rec->dir, 0700) < 0)
			return err_set(err, -errno, "cannot make '%s': %m", rec->dir);
	} else {
		snprintf(rec->dir, sizeof(rec->dir), "%.4000s", rec->o->dir);
	}
	if (rec->o->when)
		return 0; /* each snapshot has its own */
	snprintf(path, sizeof(path), "%s/ctf", rec->dir);
	if (mkdir(path, 0700) < 0)
		return err_set(err, -errno, "cannot make '%s': %m", path);
	return kernelview_begin(rec, err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void recording_remove(const char *dir)
{
	static const char *const parts[] = { "ctf", "go", "gander.json", ".reserve", "chunk-000001", "snapshot-000001" };
	char path[4200];
	unsigned i;

	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		snprintf(path, sizeof(path), "%.4000s/%s", dir, parts[i]);
		remove_tree(path);
	}
	rmdir(dir);
}

unsigned chunk_first(struct record *rec)
{
	return rec->o->keep && rec->chunk > rec->o->keep ? rec->chunk - (unsigned)rec->o->keep + 1 : 1;
}

/* Ends this chunk's traces and begins new ones. */
int chunk_rotate(struct record *rec, struct err *err)
{
	unsigned i, s;
	int res = 0;

	record_clocks_fit(rec);
	for (i = 0; i < rec->nprog; i++) {
		struct program *p = rec->prog[i];

		program_drain(rec, p, clock_ns(CLOCK_MONOTONIC), true);
		rec->gone_trace_bytes += out_bytes(&p->out);
		if (out_clock(&p->out, clock_of(rec, p->r), err) < 0 ||
		    out_close(&p->out, &p->ch, clock_of(rec, p->r)->last.counter, err) < 0)
			return err->code;
	}
	res = kernelview_rotate(rec, err);
	if (res == 0)
		fly_before_rotate(rec);
	if (res == 0)
		res = manifest_write(rec, true, err);
	if (res == 0)
		res = chunk_begin(rec, err);
	if (res < 0)
		return res;
	fly_after_rotate(rec);
	buf_clear(&rec->ended);
	rec->nended = 0;
	memset(&rec->gone_chunk, 0, sizeof(rec->gone_chunk));
	for (i = 0; i < rec->nprog; i++) {
		struct program *p = rec->prog[i];

		program_totals(p, &p->base);
		p->since = clock_of(rec, p->r)->last;
		res = out_open(&p->out, rec->dir, p->r, p->pid, clock_of(rec, p->r), p->since.counter, rec->o->ctf_version, err);
		if (res == 0)
			res = out_classes(&p->out, &p->ch, err);
		if (res < 0)
			return res;
		for (s = 0; s < GD_SLOTS; s++)
			p->out.base_lost[s] = slot_lost(&p->ch.slot[s]);
	}
	rec->chunk_start_ns = clock_ns(CLOCK_MONOTONIC);
	rec->chunk_start_bytes = record_trace_bytes(rec);
	if (rec->o->keep && rec->chunk > rec->o->keep) {
		char old[4200];

		snprintf(old, sizeof(old), "%.4000s/chunk-%06u", rec->o->dir, rec->chunk - (unsigned)rec->o->keep);
		remove_tree(old);
	}
	return manifest_chunks(rec, chunk_first(rec), false, err);
}

/* A file that is there to be removed when the disk is full. */
static void reserve_path(const struct record *rec, char path[4200])
{
	snprintf(path, 4200, "%.4000s/.reserve", rec->o->dir);
}

int reserve_make(const struct record *rec, struct err *err)
{
	char path[4200];
	int fd, res = 0;

	reserve_path(rec, path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, -errno, "cannot write to '%s': %m", rec->o->dir);
	errno = posix_fallocate(fd, 0, RESERVE_BYTES);
	if (errno)
		res = err_set(err, -errno, "cannot write to '%s': %m", rec->o->dir);
	close(fd);
	if (res < 0)
		unlink(path);
	return res;
}

void reserve_drop(const struct record *rec)
{
	char path[4200];

	reserve_path(rec, path);
	unlink(path);
}

int recording_make_dir(const char *dir, struct err *err)
{
	struct dirent *e;
	struct stat st;
	int n = 0;
	DIR *d;

	if (mkdir(dir, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return err_set(err, -errno, "cannot make '%s': %m", dir);
	/* one that somebody else put there, in /tmp for example, he could read, or write to */
	if (lstat(dir, &st) < 0 || (S_ISLNK(st.st_mode) && st.st_uid != geteuid() && st.st_uid != 0))
		return err_set(err, -EPERM, "'%s' is another user's symbolic link (give another directory to -o)", dir);
	d = opendir(dir);
	if (!d)
		return err_set(err, -errno, "cannot use '%s': %m", dir);
	if (fstat(dirfd(d), &st) < 0 || st.st_uid != geteuid() || st.st_mode & S_IWOTH) {
		closedir(d);
		return err_set(err, -EPERM, "'%s' belongs to another user, or all may write there (give another directory to -o)", dir);
	}
	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "lost+found");
	closedir(d);
	return n ? err_set(err, -EEXIST, "'%s' is not empty (give another directory to -o)", dir) : 0;
}
