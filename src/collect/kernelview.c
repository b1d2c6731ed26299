/* The kernel's view within a recording (src/kernel): begun, drained and ended with it, and written into the manifest. */
#include "base/json.h"
#include "collect/collect_record.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIDS_LISTED    10000u
#define COLLECTOR_NICE (-15)

static void on_problem(void *arg, const char *text)
{
	record_problem(arg, 0, "", "", text);
}

int kernelview_open(struct record *rec, struct err *err)
{
	struct kernel_opts ko = { .groups = rec->o->kernel_groups, .scope = rec->o->kernel_scope, .buffer = rec->o->kernel_buffer, .problem = on_problem, .arg = rec };

	return rec->o->kernel_groups ? kernel_open(&rec->kernel, &ko, err) : 0;
}

int kernelview_begin(struct record *rec, struct err *err)
{
	char path[4200];

	if (!rec->kernel)
		return 0;
	snprintf(path, sizeof(path), "%.4000s/ctf/kernel", rec->dir);
	kernel_totals(rec->kernel, &rec->kernel_base);
	return kernel_begin(rec->kernel, path, rec->mono.real_minus_mono, rec->o->ctf_version, err);
}

int kernelview_start(struct record *rec, struct err *err)
{
	int i, r;

	if (!rec->kernel)
		return 0;
	/* who waits for a CPU behind all others finds the rings full; what it uses is little */
	errno = 0;
	rec->nice_before = getpriority(PRIO_PROCESS, 0);
	if (errno == 0 && rec->nice_before > COLLECTOR_NICE && setpriority(PRIO_PROCESS, 0, COLLECTOR_NICE) == 0)
		rec->nice_changed = true;
	for (i = 0; i < rec->o->npids; i++)
		kernel_program(rec->kernel, rec->o->pids[i]);
	r = kernel_start(rec->kernel, err);
	for (i = 0; i < rec->o->npids && r == 0; i++) /* threads that have come meanwhile */
		kernel_program(rec->kernel, rec->o->pids[i]);
	if (r == 0)
		kernel_dump(rec->kernel);
	return r;
}

void kernelview_program(struct record *rec, pid_t pid)
{
	if (rec->kernel)
		kernel_program(rec->kernel, pid);
}

void kernelview_bare(struct record *rec, pid_t pid)
{
	struct bare *b;

	if (rec->nbare == RECORD_PIDS_MAX)
		return;
	b = &rec->bare[rec->nbare++];
	memset(b, 0, sizeof(*b));
	b->pid = pid;
	proc_comm(pid, b->comm, sizeof(b->comm));
	b->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	rec->seen++;
}

bool kernelview_bare_alive(struct record *rec)
{
	struct pollfd p = { .events = POLLIN };
	bool alive = false;
	unsigned i;

	for (i = 0; i < rec->nbare; i++) {
		p.fd = rec->bare[i].pidfd;
		if (!rec->bare[i].ended && (p.fd < 0 || poll(&p, 1, 0) > 0))
			rec->bare[i].ended = true;
		alive |= !rec->bare[i].ended;
	}
	return alive;
}

unsigned kernelview_drain(struct record *rec, uint64_t now, bool all)
{
	struct err err = ERR_INIT;
	int n;

	if (!rec->kernel || rec->failed)
		return 0;
	n = kernel_drain(rec->kernel, now, all, &err);
	if (n < 0)
		record_fail(rec, err.text);
	return n > 0 ? (unsigned)n : 0;
}

int kernelview_finish(struct record *rec, struct err *err)
{
	return rec->kernel ? kernel_finish(rec->kernel, err) : 0;
}

void kernelview_done(struct record *rec)
{
	unsigned i;

	for (i = 0; i < rec->nbare; i++)
		if (rec->bare[i].pidfd >= 0)
			close(rec->bare[i].pidfd);
	kernel_free(rec->kernel);
	rec->kernel = NULL;
}

uint64_t kernelview_lost(const struct kernel_totals *t)
{
	return t->lost + t->damaged + t->unwritten;
}

static void put(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

void kernelview_manifest(struct json *j, const struct record *rec)
{
	const struct kernel_totals *b = &rec->kernel_base;
	struct kernel_totals t;
	uint64_t at = 0;
	unsigned i;
	pid_t pid;

	if (!rec->kernel)
		return;
	kernel_totals(rec->kernel, &t);
	json_key(j, "kernel");
	json_obj(j);
	json_key(j, "trace");
	json_str(j, "kernel");
	json_key(j, "groups");
	json_arr(j);
	for (i = 1; i <= KERNEL_BLOCK; i *= 2)
		if (rec->o->kernel_groups & i)
			json_str(j, kernel_group_name(i));
	json_arr_end(j);
	json_key(j, "scope");
	json_str(j, kernel_scope_name(rec->o->kernel_scope));
	put(j, "cpus", t.cpus);
	put(j, "events", t.events - b->events);
	put(j, "bytes", t.bytes - b->bytes);
	json_key(j, "lost");
	json_obj(j);
	put(j, "total", kernelview_lost(&t) - kernelview_lost(b));
	put(j, "full", t.lost - b->lost);
	put(j, "damaged", t.damaged - b->damaged);
	put(j, "disk", t.unwritten - b->unwritten);
	json_obj_end(j);
	put(j, "late", t.late - b->late);
	put(j, "gaps", t.gaps - b->gaps);
	put(j, "others", t.others - b->others);
	json_key(j, "pids");
	json_arr(j);
	for (i = 0; i < PIDS_LISTED && kernel_next_program(rec->kernel, &at, &pid); i++)
		json_u64(j, (uint64_t)pid);
	json_arr_end(j);
	json_obj_end(j);
}
