/* A recording from beginning to end: one loop that finds programs, drains them, gives them memory, notices their end. It sleeps
 * between rounds, shorter the more there is to do (INTERVAL_MIN_NS .. INTERVAL_MAX_NS), and not at all while packets come faster than that. */
#include "base/opt.h"
#include "collect/collect_record.h"
#include "collect/collect_control.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MIN_NS    1000000ull
#define INTERVAL_IDLE_NS   4000000ull /* at most, as long as a buffer is so small that a sudden program fills it in twice that */
#define INTERVAL_MAX_NS    20000000ull
#define ROUND_PART         50u /* an idle round is at most such a part of the time */
#define SLICE_NS           100000u
#define ALIVE_NS           50000000ull /* between looks at whether a program lives */
#define ENDED_NS           150000000ull
#define COMMAND_ENDED_NS   2000000000ull /* the same of the command: we ask ourselves, but it may be long in ending */
#define MANIFEST_NS        1000000000ull
#define PROGRESS_NS        500000000ull
#define FOREIGN_SCAN_NS    2000000000ull /* between looks into other mount namespaces (root, --all) */
#define RESCAN_NS          2000000ull
#define RESCAN_CHILDREN_NS 20000000ull
#define RESCAN_ANYHOW_NS   5000000000ull

static int apply_rules(struct record *rec, struct err *err)
{
	int res = 0, one;
	unsigned i;

	for (i = 0; i < rec->nprog; i++) {
		one = rec->prog[i]->ch.dead ? 0 : channel_rules(&rec->prog[i]->ch, &rec->rules, err);
		if (one < 0)
			res = one;
		program_look(rec, rec->prog[i], 0);
		one = out_classes(&rec->prog[i]->out, &rec->prog[i]->ch, err);
		if (one < 0)
			record_fail(rec, err->text);
	}
	return res;
}

static unsigned recorded_classes(const struct record *rec)
{
	unsigned i, n = 0;
	uint32_t k;

	for (i = 0; i < rec->nprog; i++)
		for (k = 0; k < rec->prog[i]->r->nclasses; k++)
			n += rec->prog[i]->ch.setup[k] == SETUP_ON;
	return n;
}

static void answer(void *arg, const char *request, struct buf *reply)
{
	struct record *rec = arg;
	struct err err = ERR_INIT;
	unsigned i;
	int res = 0;

	if (!strncmp(request, "add ", 4)) {
		res = rule_add(&rec->rules, request + 4, false, 255, &err);
		if (res == 0) {
			/* what the first rule filters, this one does too */
			rec->rules.v[rec->rules.n - 1].filter = rec->rules.v[0].filter;
			rec->rules.v[rec->rules.n - 1].filter_len = rec->rules.v[0].filter_len;
			rec->rule_matched[rec->rules.n - 1] = false;
			/* an exclusion of the same text would win over it */
			for (i = 0; i + 1 < rec->rules.n; i++)
				if (rec->rules.v[i].exclude && !strcmp(rec->rules.v[i].glob, request + 4)) {
					memmove(&rec->rules.v[i], &rec->rules.v[i + 1], (rec->rules.n - i - 1) * sizeof(*rec->rules.v));
					memmove(&rec->rule_matched[i], &rec->rule_matched[i + 1], rec->rules.n - i - 1);
					rec->rules.n--;
					break;
				}
			res = apply_rules(rec, &err);
		}
	} else if (!strncmp(request, "remove ", 7)) {
		for (i = 0; i < rec->rules.n; i++)
			if (!rec->rules.v[i].exclude && !rec->rules.v[i].condition && !strcmp(rec->rules.v[i].glob, request + 7))
				break;
		if (i < rec->rules.n) {
			memmove(&rec->rules.v[i], &rec->rules.v[i + 1], (rec->rules.n - i - 1) * sizeof(*rec->rules.v));
			memmove(&rec->rule_matched[i], &rec->rule_matched[i + 1], rec->rules.n - i - 1);
			rec->rules.n--;
		} else {
			res = rule_add(&rec->rules, request + 7, true, 255, &err);
		}
		if (res == 0)
			res = apply_rules(rec, &err);
	} else if (!strncmp(request, "kernel ", 7)) {
		kernelview_answer(rec, request + 7, reply);
		return;
	} else if (!strcmp(request, "stop")) {
		rec->ending = true;
	} else if (strcmp(request, "status")) {
		res = err_set(&err, -EINVAL, "unknown request");
	}
	if (res < 0)
		buf_printf(reply, "error %s", err.text);
	else
		buf_printf(reply, "ok %u programs, %u event classes recorded", rec->nprog, recorded_classes(rec));
}

static void totals_now(const struct record *rec, struct totals *all)
{
	struct totals t;
	unsigned i;

	*all = rec->gone;
	for (i = 0; i < rec->nprog; i++) {
		program_totals(rec->prog[i], &t);
		totals_add(all, &t);
	}
}

uint64_t record_trace_bytes(const struct record *rec)
{
	uint64_t n = rec->gone_trace_bytes;
	unsigned i;

	for (i = 0; i < rec->nprog; i++)
		n += out_bytes(&rec->prog[i]->out);
	return n + fly_bytes(rec) + (rec->kernel ? kernel_bytes(rec->kernel) : 0);
}

static void show_progress(struct record *rec, uint64_t now)
{
	struct record_progress p = { .programs = rec->nprog, .bytes = record_trace_bytes(rec), .elapsed_ns = now - rec->start_ns };
	struct totals all;

	totals_now(rec, &all);
	p.events = all.events;
	p.lost = totals_lost(&all);
	p.rate = now > rec->last_progress_ns ? (double)(all.events - rec->last_events) * 1e9 / (double)(now - rec->last_progress_ns) : 0;
	rec->last_events = all.events;
	rec->last_progress_ns = now;
	rec->o->progress(rec->o->arg, &p);
}

/* A program that begins to emit at its full speed fills half of the smallest buffer (a byte a nanosecond, some 40 million events a second) in so long. With so
 * many programs that looking at all takes a while, that is no reason to do nothing else. */
static uint64_t longest_sleep(const struct record *rec, uint64_t round_ns)
{
	uint64_t least = INTERVAL_MAX_NS, floor = INTERVAL_IDLE_NS, ns;
	unsigned i;

	for (i = 0; i < rec->nprog; i++) {
		ns = (uint64_t)rec->prog[i]->ch.granted * GD_PACKET / 2;
		if (rec->prog[i]->ch.mode != GD_MODE_OVERWRITE && ns < least)
			least = ns;
	}
	if (floor < ROUND_PART * round_ns)
		floor = ROUND_PART * round_ns < INTERVAL_MAX_NS ? ROUND_PART * round_ns : INTERVAL_MAX_NS;
	return least < floor ? floor : least;
}

/* Asks for short slices of CPU time, which makes the kernel (6.12 and later) let us run soon after we wake up beside programs that use
 * all there is, without more CPU time than our share; elsewhere it changes nothing. */
static void ask_for_short_slices(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = { .size = 48 };

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 || attr.policy != SCHED_OTHER)
		return;
	attr.runtime = SLICE_NS;
	syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void wait_for_more(struct record *rec, unsigned busy, uint64_t round_ns)
{
	struct pollfd fds[3] = {
		{ .fd = rec->inotify_fd, .events = POLLIN },
		{ .fd = rec->control_fd, .events = POLLIN },
		{ .fd = rec->cmd_pidfd, .events = POLLIN },
	};
	struct timespec ts;

	if (busy > 8)
		rec->interval_ns = 0;
	else if (busy)
		rec->interval_ns = INTERVAL_MIN_NS;
	else
		rec->interval_ns = rec->interval_ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : rec->interval_ns + rec->interval_ns / 4;
	if (rec->interval_ns > INTERVAL_IDLE_NS && rec->interval_ns > longest_sleep(rec, round_ns))
		rec->interval_ns = longest_sleep(rec, round_ns);
	if (rec->interval_ns > RESCAN_NS && (rec->o->all || rec->o->cmd) && rec->rescan_until_ns > clock_ns(CLOCK_MONOTONIC))
		rec->interval_ns = RESCAN_NS; /* a program is starting */
	if ((rec->scanning || rec->nfresh) && rec->interval_ns > RESCAN_NS)
		rec->interval_ns = RESCAN_NS;
	if (rec->cmd_done)
		fds[2].fd = -1;
	ts = (struct timespec) { .tv_nsec = (long)rec->interval_ns };
	if (ppoll(fds, 3, &ts, NULL) <= 0)
		return;
	if (fds[0].revents)
		record_hear(rec);
	if (fds[1].revents)
		control_serve(rec->control_fd, answer, rec);
	if (fds[2].revents)
		command_ended(rec, false);
}

static void look_for_new(struct record *rec, uint64_t now)
{
	uint64_t since = now - rec->last_scan_ns;

	record_scan_fresh(rec);
	if (now < rec->part_next_ns)
		return;
	if (rec->scanning) {
		/* its next part, below */
	} else if (rec->o->all && geteuid() == 0 && now - rec->last_foreign_ns >= FOREIGN_SCAN_NS) {
		rec->last_foreign_ns = now;
		record_scan_begin(rec, true);
	} else if ((now < rec->rescan_until_ns && since >= (rec->o->all || rec->o->cmd ? RESCAN_NS : RESCAN_CHILDREN_NS)) ||
		   since >= RESCAN_ANYHOW_NS) {
		record_scan_begin(rec, false);
	}
	if (rec->scanning)
		record_scan_part(rec);
}

static bool over(struct record *rec, uint64_t now)
{
	const struct record_opts *o = rec->o;

	return rec->ending || rec->failed || (o->stop && *o->stop > (o->cmd != NULL)) || rec->cmd_done || (o->for_ns && now - rec->start_ns >= o->for_ns) ||
	       (o->max_size && record_trace_bytes(rec) >= o->max_size) || (!rec->nprog && !rec->nhttp && !o->all && !o->cmd && !kernelview_bare_alive(rec));
}

/* An idle recording writes nothing but a sign of life now and then. */
static bool changed(struct record *rec, uint64_t now)
{
	uint64_t what = record_trace_bytes(rec) + rec->nproblem + rec->seen + rec->nended;

	if (what == rec->manifest_of && now - rec->last_manifest_ns < 10 * MANIFEST_NS)
		return false;
	rec->manifest_of = what;
	return true;
}

static void loop(struct record *rec)
{
	struct err err = ERR_INIT;
	unsigned i, whole, busy;
	uint64_t now, round_ns;

	for (;;) {
		now = clock_ns(CLOCK_MONOTONIC);
		if (over(rec, now))
			return;
		for (i = 0, busy = 0; i < rec->nprog && !rec->failed; i++) {
			struct program *p = rec->prog[i];

			whole = program_drain(rec, p, now, false);
			busy += whole;
			program_grow(rec, p);
			if (rec->o->go)
				program_fly(rec, p, now);
			if (now - p->last_alive_ns >= ALIVE_NS) {
				p->last_alive_ns = now;
				if (!p->dead_ns && region_dead(p->r))
					p->dead_ns = now;
				/* whoever started it may take a moment to ask how it ended */
				if (p->dead_ns && (now - p->dead_ns > (p->pid == rec->cmd_pid ? COMMAND_ENDED_NS : ENDED_NS) || program_how_ended(rec, p)))
					program_end(rec, i--, true);
			}
		}
		i = kernelview_drain(rec, now, false);
		busy += i >= 2 ? 16 : i;
		round_ns = clock_ns(CLOCK_MONOTONIC) - now;
		busy += record_fly(rec);
		busy += record_http(rec);
		look_for_new(rec, now);
		if (rec->o->when)
			when_look(rec, now);
		if (now - rec->last_manifest_ns >= MANIFEST_NS && !rec->failed && changed(rec, now)) {
			rec->last_manifest_ns = now;
			record_clocks_fit(rec);
			for (i = 0; i < rec->nprog; i++)
				if (out_clock(&rec->prog[i]->out, clock_of(rec, rec->prog[i]->r), &err) < 0)
					record_fail(rec, err.text);
			if (manifest_write(rec, false, &err) < 0)
				record_fail(rec, err.text);
		}
		if (rec->chunk && !rec->failed &&
		    ((rec->o->rotate_ns && now - rec->chunk_start_ns >= rec->o->rotate_ns) ||
		     (rec->o->rotate_size && record_trace_bytes(rec) - rec->chunk_start_bytes >= rec->o->rotate_size)) &&
		    chunk_rotate(rec, &err) < 0)
			record_fail(rec, err.text);
		if (rec->o->progress && now - rec->last_progress_ns >= PROGRESS_NS)
			show_progress(rec, now);
		wait_for_more(rec, busy, round_ns);
	}
}

/* Every event that was emitted before this is called is in a packet; those that are being emitted now get two milliseconds. */
static void finish(struct record *rec)
{
	struct err err = ERR_INIT;
	unsigned i, round, whole;

	if (rec->o->cmd || rec->seen) /* children that nobody has seen yet */
		for (record_scan_begin(rec, false); rec->scanning && !rec->failed;) {
			record_scan_part(rec);
			for (i = 0; i < rec->nprog && !rec->failed; i++)
				program_drain(rec, rec->prog[i], clock_ns(CLOCK_MONOTONIC), false);
		}
	record_land(rec);
	record_http_end(rec);
	if (rec->kernel)
		kernel_stop(rec->kernel);
	if (rec->o->when)
		when_finish(rec);
	for (i = 0; i < rec->nprog; i++)
		channel_stop(&rec->prog[i]->ch);
	for (round = 0; round < 2 && !rec->failed; round++) {
		usleep(2000);
		for (i = 0, whole = 0; i < rec->nprog; i++)
			whole += program_drain(rec, rec->prog[i], clock_ns(CLOCK_MONOTONIC), true);
	}
	if (rec->failed)
		reserve_drop(rec);
	if (kernelview_finish(rec, &err) < 0)
		record_fail(rec, err.text);
	command_ended(rec, false);
	rec->ending = true;
	while (rec->nprog)
		program_end(rec, 0, region_dead(rec->prog[0]->r));
	for (i = 0; i < KEPT_MAX; i++)
		if (rec->kept[i])
			drop_kept(rec, i);
}

/* Patterns that no class of any program has matched. */
static void tell_unmatched(struct record *rec)
{
	char text[300];
	unsigned u;

	for (u = 0; u < rec->rules.n; u++) {
		if (rec->rules.v[u].exclude || rec->rules.v[u].condition || rec->rule_matched[u] || !strcmp(rec->rules.v[u].glob, "*"))
			continue;
		snprintf(text, sizeof(text), "no event matched '%s' (gander list -e shows the events of a program)", rec->rules.v[u].glob);
		record_problem(rec, 0, "", "", text);
	}
}

static void fill_result(const struct record *rec, struct record_result *res)
{
	struct totals all;

	totals_now(rec, &all);
	res->programs = rec->seen;
	res->problems = rec->nproblem;
	res->events = all.events;
	res->bytes = rec->gone_trace_bytes;
	res->elapsed_ns = clock_ns(CLOCK_MONOTONIC) - rec->start_ns;
	res->lost = totals_lost(&all);
	res->lost_full = all.lost[GD_LOST_FULL];
	res->lost_nested = all.lost[GD_LOST_NESTED];
	res->lost_slot = all.lost[GD_LOST_SLOT];
	res->lost_other = all.lost[GD_LOST_OTHER];
	res->lost_frozen = all.frozen;
	res->snapshots = rec->when.taken;
	res->lost_overwritten = all.overwritten;
	res->lost_damaged = all.damaged;
	res->lost_disk = all.disk;
	res->cut = all.cut;
	res->clock_error_ns = rec->clock.error_ns;
	if (rec->kernel)
		kernel_totals(rec->kernel, &res->kernel);
	res->go = rec->go_gone;
	res->stopped_early = rec->failed;
	snprintf(res->why, sizeof(res->why), "%s", rec->why);
	res->cmd_status = rec->cmd_status;
	memcpy(res->session, rec->session_text, sizeof(res->session));
}

int targets_resolve(const char *const *names, int n, pid_t pids[RECORD_PIDS_MAX], struct err *err)
{
	int total = 0, i, res;
	uint64_t v;

	for (i = 0; i < n; i++) {
		if (names[i][strspn(names[i], "0123456789")] == 0 && *names[i]) {
			res = opt_u64(names[i], &v, err);
			if (res < 0)
				return res;
			if (total == RECORD_PIDS_MAX)
				return err_set(err, -E2BIG, "more than %d programs named", RECORD_PIDS_MAX);
			pids[total++] = (pid_t)v;
			continue;
		}
		res = find_named(names[i], pids + total, RECORD_PIDS_MAX - total, err);
		if (res < 0)
			return res;
		total += res;
	}
	return total;
}

int record_run(const struct record_opts *o, struct record_result *result, struct err *err)
{
	struct record *rec = calloc(1, sizeof(*rec));
	struct rlimit lim;
	int i, res;

	memset(result, 0, sizeof(*result));
	if (!rec)
		return err_set(err, -ENOMEM, "out of memory");
	rec->o = o;
	rec->rules = *o->rules;
	rec->inotify_fd = rec->control_fd = rec->cmd_pidfd = rec->kernel_mark_fd = -1;
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	session_new(rec->session, rec->session_text);
	for (i = 0; i < o->npids; i++)
		find_await(o->pids[i]); /* before the kernel's view begins, which nobody would drain, and before --for */
	clock_start(&rec->clock, false);
	clock_start(&rec->mono, true);
	rec->clock.real_minus_mono = rec->mono.real_minus_mono;
	rec->start_ns = rec->chunk_start_ns = rec->last_progress_ns = rec->last_scan_ns = clock_ns(CLOCK_MONOTONIC);
	rec->start_epoch_ns = rec->mono.first.mono_ns + rec->mono.real_minus_mono;
	record_clocks_fit(rec);
	if (o->when) {
		res = when_rules(rec, err);
		if (res < 0)
			goto out;
	}
	/* who cannot be recorded is told before anything is made */
	for (i = 0; i < o->npids; i++) {
		char comm[32];

		if (!proc_comm(o->pids[i], comm, sizeof(comm))) {
			res = err_set(err, -ESRCH, "no process %d", (int)o->pids[i]);
			goto out;
		}
	}
	res = kernelview_open(rec, err);
	if (res == 0)
		res = recording_make_dir(o->dir, err);
	if (res == 0)
		res = reserve_make(rec, err);
	if (res == 0)
		res = chunk_begin(rec, err);
	if (res < 0)
		goto out;
	rec->control_fd = control_listen(rec->session_text, NULL);
	if (rec->control_fd < 0)
		rec->control_fd = -1;
	record_watch(rec);
	res = kernelview_start(rec, err);
	for (i = 0; i < o->npids && res == 0; i++)
		res = record_attach(rec, o->pids[i], err);
	if (res == 0 && o->all)
		record_scan(rec, FIND_ALL);
	if (res == 0)
		record_http_found(rec);
	if (res == 0 && o->npids && !rec->nprog && !rec->nhttp && !o->all && !o->cmd && !rec->seen) {
		res = rec->failed ? err_set(err, -ENOSPC, "%s", rec->why) : err_set(err, -ENOENT, "nothing can be recorded%s", o->go || o->kernel_groups ? "" : " (--kernel, and --go where /debug/pprof is served, need no events)");
	}
	if (res == 0 && o->cmd)
		res = command_start(rec, err);
	if (res == 0)
		res = manifest_write(rec, false, err);
	if (res == 0 && rec->chunk)
		res = manifest_chunks(rec, 1, false, err);
	if (res < 0) {
		while (rec->nprog)
			program_free(rec->prog[--rec->nprog]);
		record_http_drop(rec);
		kernelview_done(rec);
		recording_remove(o->dir);
		goto out;
	}
	if (o->when && o->npids && !o->all && !o->cmd)
		when_tell_unmet(rec); /* what is misspelt is said now, not in the morning */
	if (o->started)
		o->started(o->arg, rec->session_text);
	ask_for_short_slices(); /* not for the command, which would inherit them */
	loop(rec);
	finish(rec);
	if (rec->cmd_pid && !rec->cmd_done && o->stop && *o->stop > 1)
		kill(rec->cmd_pid, SIGTERM);
	command_ended(rec, true);
	tell_unmatched(rec);
	if (o->when) {
		when_tell_unmet(rec);
		when_done(rec);
	}
	reserve_drop(rec);
	record_clocks_fit(rec);
	if (manifest_write(rec, true, err) < 0)
		record_fail(rec, err->text);
	if (rec->chunk)
		manifest_chunks(rec, chunk_first(rec), true, NULL);
	fill_result(rec, result);
out:
	for (i = 0; i < (int)rec->nprog; i++)
		program_free(rec->prog[i]);
	find_end(&rec->part);
	if (rec->inotify_fd >= 0)
		close(rec->inotify_fd);
	if (rec->control_fd >= 0)
		close(rec->control_fd);
	if (rec->cmd_pidfd >= 0)
		close(rec->cmd_pidfd);
	kernelview_done(rec);
	buf_done(&rec->ended);
	buf_done(&rec->go_ended);
	buf_done(&rec->when.list);
	map_done(&rec->known);
	free(rec->problem);
	free(rec->run_room);
	free(rec);
	return res;
}
