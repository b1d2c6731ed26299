/* The kernel's view within a recording (src/kernel): begun, drained and ended with it, and written into the manifest. A flight recorder keeps the newest of it in memory, and
 * writes it into each snapshot: its own, or one that `gander snapshot` asks for. */
#include "base/json.h"
#include "collect/collect_control.h"
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
#define KEEP_MORE_NS   2000000000ull /* a snapshot may be taken so long after what it is about */

static bool keeps(const struct record *rec)
{
	return rec->o->mode == GD_MODE_OVERWRITE;
}

static void on_problem(void *arg, const char *text)
{
	record_problem(arg, 0, "", "", text);
}

int kernelview_open(struct record *rec, struct err *err)
{
	struct kernel_opts ko = { .groups = rec->o->kernel_groups, .scope = rec->o->kernel_scope, .buffer = rec->o->kernel_buffer, .problem = on_problem, .arg = rec };

	if (keeps(rec)) {
		ko.keep_bytes = rec->o->kernel_keep ? rec->o->kernel_keep : KERNEL_KEEP;
		ko.keep_ns = rec->o->last_ns ? rec->o->last_ns + KEEP_MORE_NS : 0;
	}
	return rec->o->kernel_groups ? kernel_open(&rec->kernel, &ko, err) : 0;
}

int kernelview_begin(struct record *rec, struct err *err)
{
	char path[4200];

	if (!rec->kernel || keeps(rec))
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
	if (keeps(rec))
		rec->kernel_mark_fd = control_mark_kernel(rec->session_text);
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

int kernelview_rotate(struct record *rec, struct err *err)
{
	return rec->kernel && !keeps(rec) ? kernel_finish(rec->kernel, err) : 0;
}

int kernelview_finish(struct record *rec, struct err *err)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), last = rec->o->last_ns;

	if (!rec->kernel || !keeps(rec))
		return rec->kernel ? kernel_finish(rec->kernel, err) : 0;
	return rec->o->when || rec->failed ? 0 : kernelview_snapshot(rec, rec->dir, last && now > last ? now - last : 0, rec->mono.real_minus_mono, rec->o->ctf_version, &rec->kernel_text, err);
}

void kernelview_done(struct record *rec)
{
	unsigned i;

	for (i = 0; i < rec->nbare; i++)
		if (rec->bare[i].pidfd >= 0)
			close(rec->bare[i].pidfd);
	if (rec->kernel_mark_fd >= 0)
		close(rec->kernel_mark_fd);
	rec->kernel_mark_fd = -1;
	kernel_free(rec->kernel);
	rec->kernel = NULL;
	buf_done(&rec->kernel_text);
}

uint64_t kernelview_events(const struct record *rec)
{
	struct kernel_totals t = { 0 };

	if (rec->kernel)
		kernel_totals(rec->kernel, &t);
	return t.events;
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

/* The manifest's object. */
static void describe(struct json *j, const struct record *rec, const struct kernel_totals *t)
{
	uint64_t at = 0;
	unsigned i;
	pid_t pid;

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
	put(j, "cpus", t->cpus);
	put(j, "events", t->events);
	put(j, "bytes", t->bytes);
	json_key(j, "lost");
	json_obj(j);
	put(j, "total", kernelview_lost(t));
	put(j, "full", t->lost);
	put(j, "damaged", t->damaged);
	put(j, "disk", t->unwritten);
	json_obj_end(j);
	put(j, "late", t->late);
	put(j, "gaps", t->gaps);
	put(j, "others", t->others);
	if (keeps(rec)) {
		put(j, "overwritten", t->overwritten);
		put(j, "from_mono_ns", t->from_ns);
	}
	json_key(j, "pids");
	json_arr(j);
	for (i = 0; i < PIDS_LISTED && kernel_next_program(rec->kernel, &at, &pid); i++)
		json_u64(j, (uint64_t)pid);
	json_arr_end(j);
	json_obj_end(j);
}

void kernelview_manifest(struct json *j, const struct record *rec)
{
	const struct kernel_totals *b = &rec->kernel_base;
	struct kernel_totals t;

	if (!rec->kernel && !rec->kernel_text.len)
		return;
	json_key(j, "kernel");
	if (rec->kernel_text.len) {
		buf_put(j->out, rec->kernel_text.data, rec->kernel_text.len);
		j->need_comma = true;
		return;
	}
	kernel_totals(rec->kernel, &t);
	t.events -= b->events;
	t.bytes -= b->bytes;
	t.lost -= b->lost;
	t.damaged -= b->damaged;
	t.unwritten -= b->unwritten;
	t.late -= b->late;
	t.gaps -= b->gaps;
	t.others -= b->others;
	describe(j, rec, &t);
}

int kernelview_snapshot(struct record *rec, const char *dir, uint64_t since_ns, uint64_t real_minus_mono, int ctf_version, struct buf *text, struct err *err)
{
	char path[4200];
	struct kernel_totals t;
	struct json j;
	int r;

	if (!rec->kernel || !keeps(rec))
		return 0;
	snprintf(path, sizeof(path), "%.4000s/ctf/kernel", dir);
	r = kernel_snapshot(rec->kernel, path, since_ns, real_minus_mono, ctf_version, &t, err);
	if (r < 0)
		return r;
	if (since_ns && t.from_ns > since_ns && t.overwritten && !rec->kernel_short) {
		rec->kernel_short = true;
		record_note(rec, "the kernel's view of the last %.1f s is all that its memory holds (a larger --kernel-keep helps)", (double)(clock_ns(CLOCK_MONOTONIC) - t.from_ns) / 1e9);
	}
	json_init(&j, text);
	describe(&j, rec, &t);
	return buf_failed(text) ? err_set(err, -ENOMEM, "out of memory") : 0;
}

/* "SINCE OFFSET VERSION DIR": the kernel's part of a snapshot that another process takes. It is of the same user, or root (control.c). */
void kernelview_answer(struct record *rec, const char *request, struct buf *reply)
{
	struct buf text = BUF_INIT;
	struct err err = ERR_INIT;
	uint64_t since, offset;
	char *at;
	int version;

	since = strtoull(request, &at, 10);
	offset = strtoull(at, &at, 10);
	version = strtol(at, &at, 10) == 2 ? 2 : 1;
	if (at[0] != ' ' || at[1] != '/')
		buf_puts(reply, "error unknown request");
	else if (kernelview_snapshot(rec, at + 1, since, offset, version, &text, &err) < 0)
		buf_printf(reply, "error %s", err.text);
	else
		buf_printf(reply, "ok %s", text.len ? text.data : "none");
	buf_done(&text);
}

int kernelview_ask(const uint8_t session[16], const char *dir, uint64_t since_ns, uint64_t real_minus_mono, int ctf_version, struct buf *text, struct err *err)
{
	struct buf request = BUF_INIT, reply = BUF_INIT;
	char id[33], *whole = realpath(dir, NULL);
	int r = whole ? 0 : err_set(err, -errno, "cannot tell the whole path of '%s': %m", dir);

	session_text(session, id);
	if (!control_has_kernel(id)) {
		free(whole);
		return 0;
	}
	if (r == 0)
		buf_printf(&request, "kernel %llu %llu %d %s", (unsigned long long)since_ns, (unsigned long long)real_minus_mono, ctf_version, whole);
	if (buf_failed(&request))
		r = err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = record_ask(id, request.data, &reply, err);
	if (r == 0 && !strncmp(reply.data, "ok {", 4))
		buf_put(text, reply.data + 3, reply.len - 3);
	else if (r == 0 && !strncmp(reply.data, "error ", 6) && strcmp(reply.data, "error unknown request") != 0)
		r = err_set(err, -EIO, "%s", reply.data + 6);
	free(whole);
	buf_done(&request);
	buf_done(&reply);
	return r;
}
