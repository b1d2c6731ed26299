#include "kernel/kernel_own.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TYPE_USER = 0,
       TYPE_KERNEL = 1 };

void own_done(struct own *o)
{
	map_done(&o->pids);
	map_done(&o->tids);
}

void own_thread(struct own *o, uint32_t tid)
{
	bool added;

	map_put(&o->tids, tid, &added);
}

void own_thread_gone(struct own *o, uint32_t tid)
{
	map_del(&o->tids, tid);
}

static void add(void *arg, const struct own_thread *t)
{
	own_thread(arg, (uint32_t)t->tid);
}

void own_process(struct own *o, pid_t pid)
{
	bool added;

	map_put(&o->pids, (uint64_t)pid, &added);
	own_thread(o, (uint32_t)pid);
	own_list(pid, add, o);
}

bool own_stat_parse(struct own_thread *t, const char *text, size_t len)
{
	const char *open = memchr(text, '(', len), *close = memrchr(text, ')', len), *p;
	char rest[256], *at;
	unsigned i;
	size_t n;

	if (!open || !close || close < open || (size_t)(text + len - close) < 4)
		return false;
	memset(t, 0, sizeof(*t));
	for (p = text; p < open && isdigit((unsigned char)*p) && t->tid < 100000000; p++)
		t->tid = t->tid * 10 + (*p - '0');
	n = (size_t)(close - open - 1);
	memcpy(t->comm, open + 1, n < OWN_COMM - 1 ? n : OWN_COMM - 1);
	/* state ppid pgrp session tty tpgid flags */
	snprintf(rest, sizeof(rest), "%.*s", (int)(text + len - close - 2), close + 2);
	if (!rest[0] || rest[1] != ' ')
		return false;
	t->ppid = (int32_t)strtol(rest + 1, &at, 10);
	for (i = 0; i < 4; i++)
		strtol(at, &at, 10);
	if (*at != ' ')
		return false;
	t->type = strtoul(at, NULL, 10) & 0x00200000 ? TYPE_KERNEL : TYPE_USER; /* PF_KTHREAD */
	t->status = rest[0] == 'R' ? OWN_WAITS_FOR_CPU : rest[0] == 'Z' ? OWN_ZOMBIE
						 : rest[0] == 'X'       ? OWN_EXITS
									: OWN_WAITS;
	return true;
}

static void list_process(pid_t pid, void (*each)(void *arg, const struct own_thread *t), void *arg)
{
	struct own_thread t;
	char path[64], text[512];
	struct dirent *e;
	ssize_t n;
	DIR *d;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "%.20s/stat", e->d_name);
		fd = openat(dirfd(d), path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, text, sizeof(text));
		close(fd);
		if (n <= 0 || !own_stat_parse(&t, text, (size_t)n))
			continue;
		t.pid = (int32_t)pid;
		each(arg, &t);
	}
	if (d)
		closedir(d);
}

void own_list(pid_t pid, void (*each)(void *arg, const struct own_thread *t), void *arg)
{
	struct dirent *e;
	DIR *d;

	if (pid) {
		list_process(pid, each, arg);
		return;
	}
	d = opendir("/proc");
	while (d && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			list_process((pid_t)strtol(e->d_name, NULL, 10), each, arg);
	if (d)
		closedir(d);
}
