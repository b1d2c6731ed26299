/* Snapshots that conditions cause. The programs' own writers look whether one holds; here is only looked at one word a program a round, and
 * what a frozen ring holds is written before it is let go. docs/conditions.md. */
#include "base/json.h"
#include "collect/collect_record.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_PART_NS 5000000ull

int when_rules(struct record *rec, struct err *err)
{
	return condition_rules(rec->o->when, &rec->rules, err);
}

/* ------------------------------------------------------------------ what is misspelt */

void when_class(struct record *rec, const struct program *p, const struct rclass *cl)
{
	const struct condition_list *l = rec->o->when;
	bool odd;
	unsigned i;

	for (i = 0; i < l->n && p->r->head.minor >= GD_MINOR_CONDITIONS; i++) {
		odd = *rec->when.seen[i].odd;
		if (condition_look(&l->v[i], cl, &rec->when.seen[i]) && !odd && *rec->when.seen[i].odd)
			record_note(rec, "%s", rec->when.seen[i].odd);
	}
}

void when_program(struct record *rec, struct program *p)
{
	char text[200];

	if (p->r->head.minor < GD_MINOR_CONDITIONS) {
		snprintf(text, sizeof(text), "%s (%d): its agent (%s) is too old for conditions", p->r->head.comm, (int)p->pid, p->r->head.agent);
		record_problem(rec, p->pid, p->r->head.comm, "", text);
	}
	if (rec->when.quiet_until_ns && !p->ch.dead && !(channel_trigger(&p->ch) & GD_TRIGGER_FROZEN))
		channel_set_trigger(&p->ch, GD_TRIGGER_OFF);
}

void when_tell_unmet(struct record *rec)
{
	char text[1800];
	unsigned i;

	for (i = 0; i < rec->o->when->n; i++) {
		if (rec->when.seen[i].met || rec->when.told[i])
			continue;
		rec->when.told[i] = true;
		condition_why_none(&rec->o->when->v[i], &rec->when.seen[i], text, sizeof(text));
		record_problem(rec, 0, "", "", text);
	}
}

/* ------------------------------------------------------------------ the command */

static void reap(struct record *rec, bool wait)
{
	char text[200];
	unsigned i;
	int status;

	for (i = 0; i < rec->when.nexec; i++) {
		if (waitpid(rec->when.exec[i].pid, &status, wait ? 0 : WNOHANG) != rec->when.exec[i].pid)
			continue;
		if (status) {
			snprintf(text, sizeof(text), WIFSIGNALED(status) ? "the command for snapshot %u was ended by signal %d" : "the command for snapshot %u failed: exit status %d",
				 rec->when.exec[i].number, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
			record_problem(rec, 0, "", "", text);
		}
		rec->when.exec[i--] = rec->when.exec[--rec->when.nexec];
	}
}

static void set_number(const char *name, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	setenv(name, text, 1);
}

static void start_command(struct record *rec, const struct record_snapshot *s)
{
	char text[200], *dir;
	pid_t pid;
	int fd;

	reap(rec, false);
	if (rec->when.nexec == EXEC_MAX) {
		snprintf(text, sizeof(text), "the command for snapshot %u is not run: %u of them are still at work", s->number, EXEC_MAX);
		record_problem(rec, 0, "", "", text);
		return;
	}
	dir = realpath(s->dir, NULL);
	pid = fork();
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		setenv("GANDER_SNAPSHOT", dir ? dir : s->dir, 1);
		setenv("GANDER_SNAPSHOT_WHY", s->why, 1);
		setenv("GANDER_SNAPSHOT_EVENT", s->event, 1);
		setenv("GANDER_SNAPSHOT_PROGRAM", s->program, 1);
		set_number("GANDER_SNAPSHOT_PID", (uint64_t)s->pid);
		set_number("GANDER_SNAPSHOT_NUMBER", s->number);
		set_number("GANDER_SNAPSHOT_TIME_NS", s->time_ns);
		if (rec->nice_changed)
			setpriority(PRIO_PROCESS, 0, rec->nice_before);
		fd = open("/dev/null", O_RDONLY);
		if (fd > 0)
			dup2(fd, 0);
		execl("/bin/sh", "sh", "-c", rec->o->exec, (char *)NULL);
		_exit(127);
	}
	free(dir);
	if (pid < 0) {
		record_problem(rec, 0, "", "", "cannot start a process for the command of a snapshot");
		return;
	}
	rec->when.exec[rec->when.nexec].pid = pid;
	rec->when.exec[rec->when.nexec++].number = s->number;
}

void when_done(struct record *rec)
{
	reap(rec, true);
}

/* ------------------------------------------------------------------ a snapshot */

/* The reasons that a program counts; what was overwritten is the rule in a ring, and told apart. */
static uint64_t counted_lost(const struct slot_pos *pos)
{
	return slot_lost(pos) - pos->overwritten - pos->damaged - pos->unwritten;
}

/* Writes what one program's ring holds from `since_ns` on into the snapshot, as a program of its own whose place in the ring is not moved. */
static int write_program(struct record *rec, struct record *snap, struct program *p, uint64_t since_ns, struct err *err)
{
	struct clock_line *line = clock_of(rec, p->r);
	uint64_t since = since_ns ? clock_counter(line, since_ns) : 0;
	uint32_t before = p->r->nclasses, i;
	struct program *q = malloc(sizeof(*q));
	unsigned s;
	int res;

	if (!q)
		return err_set(err, -ENOMEM, "out of memory");
	if (region_classes(p->r) > 0)
		program_look(rec, p, before < p->r->settled ? before : p->r->settled);
	*q = *p;
	q->pidfd = -1;
	q->fl = NULL;
	memset(&q->out, 0, sizeof(q->out));
	memset(&q->base, 0, sizeof(q->base));
	q->ch.held = false;
	q->ch.piece = NULL;
	q->ch.setup = malloc(GD_CLASSES);
	snap->prog[snap->nprog++] = q;
	if (!q->ch.setup)
		return err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < GD_CLASSES; i++) /* whatever was recorded may be among what is there */
		q->ch.setup[i] = i < p->r->nclasses && p->r->cls[i]->state == RCLASS_OK ? SETUP_ON : SETUP_NONE;
	if (since > q->since.counter)
		q->since.counter = since;
	res = out_open(&q->out, snap->dir, q->r, q->pid, line, q->since.counter, rec->o->ctf_version, err);
	if (res == 0)
		res = out_classes(&q->out, &q->ch, err);
	for (s = 0; s < GD_SLOTS; s++)
		q->out.base_lost[s] = p->told_lost[s];
	if (res == 0)
		res = out_chains(&q->out, &q->ch, since, false, err);
	q->until = clock_of(snap, q->r)->last;
	rec->gone_trace_bytes += out_bytes(&q->out);
	if (res == 0)
		res = out_close(&q->out, &q->ch, q->until.counter, err);
	for (s = 0; s < GD_SLOTS; s++)
		p->told_lost[s] = counted_lost(&q->ch.slot[s]);
	memcpy(q->ch.setup, p->ch.setup, GD_CLASSES);
	return res;
}

/* After it was read: lets go of the ring, and keeps its conditions from holding where the next snapshot has to wait. */
static void let_go(struct record *rec, struct program *p, bool was_frozen)
{
	if (p->ch.dead)
		p->taken = channel_trigger(&p->ch);
	else if (was_frozen || rec->when.quiet_until_ns)
		channel_set_trigger(&p->ch, rec->when.quiet_until_ns ? GD_TRIGGER_OFF : 0);
}

/* The Go trace of the same time, where the program flies: after its events were let go, because the generation that runs has to be closed first. */
static int write_go(struct record *rec, struct record *snap, struct program *p, uint64_t at_ns, uint64_t since_ns, uint64_t begin, struct err *err)
{
	struct flight f;
	int res = 0;

	if (!flight_offered(p->r))
		return 0;
	flight_open(&f, p->r, snap->dir, p->r->head.comm, p->pid);
	f.stop = rec->o->stop;
	f.stop_over = 1 + (rec->o->cmd != NULL);
	if (p->ch.dead || flight_flying(&f)) {
		while (!p->ch.dead && !(rec->o->stop && *rec->o->stop > (rec->o->cmd != NULL)) && !flight_wait(&f, at_ns, WAIT_PART_NS) && !region_dead(f.r) &&
		       clock_ns(CLOCK_MONOTONIC) - begin < GO_CLOSE_NS + 1000000ull * flight_period_ms(&f))
			kernelview_drain(rec, clock_ns(CLOCK_MONOTONIC), false); /* its rings would fill */
		flight_seek(&f, false);
		res = flight_drain(&f, since_ns, err);
		flight_last(&f);
		go_sink_drop(&f.sink);
		go_sink_totals(&f.sink, &snap->go_gone);
		if (f.sink.nparts)
			manifest_go(&snap->go_ended, &f.sink);
	}
	flight_done(&f);
	return res;
}

static int make_dirs(const struct record *snap, struct err *err)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/ctf", snap->dir);
	if (mkdir(snap->dir, 0700) < 0 || mkdir(path, 0700) < 0)
		return err_set(err, -errno, "cannot make '%s': %m", path);
	return 0;
}

static void free_snapshot(struct record *snap)
{
	unsigned i;

	for (i = 0; snap && i < snap->nprog; i++) {
		snap->prog[i]->r = NULL; /* the recording's */
		program_free(snap->prog[i]);
	}
	if (snap) {
		buf_done(&snap->go_ended);
		buf_done(&snap->kernel_text);
	}
	free(snap);
}

/* All programs of the recording into one folder: p first, because its ring may be frozen. */
static int write_snapshot(struct record *rec, struct program *p, struct record_snapshot *s, struct err *err)
{
	struct record *snap = calloc(1, sizeof(*snap));
	uint64_t since_ns = rec->o->last_ns && s->time_ns > rec->o->last_ns ? s->time_ns - rec->o->last_ns : 0, kernel_before = kernelview_events(rec);
	uint64_t since_mono_ns = since_ns ? since_ns - rec->mono.real_minus_mono : 0;
	struct totals t;
	uint64_t begin;
	unsigned i;
	int res;

	if (!snap)
		return err_set(err, -ENOMEM, "out of memory");
	snap->o = rec->o;
	snap->rules = rec->rules;
	snap->clock = rec->clock;
	snap->mono = rec->mono;
	memcpy(snap->session_text, rec->session_text, sizeof(snap->session_text));
	snprintf(snap->dir, sizeof(snap->dir), "%s", s->dir);
	snap->start_epoch_ns = since_ns > rec->start_epoch_ns ? since_ns : rec->start_epoch_ns;
	res = make_dirs(snap, err);
	for (i = 0; i <= rec->nprog; i++) {
		struct program *q = i ? rec->prog[i - 1] : p;
		bool frozen;

		if (i && q == p)
			continue;
		frozen = channel_trigger(&q->ch) & GD_TRIGGER_FROZEN;
		if (res == 0)
			res = write_program(rec, snap, q, since_ns, err);
		let_go(rec, q, frozen);
	}
	for (i = 0; i < snap->nprog; i++) {
		program_totals(snap->prog[i], &t);
		s->events += t.events;
		s->bytes += t.bytes;
		s->lost += totals_lost(&t) - t.overwritten;
	}
	begin = clock_ns(CLOCK_MONOTONIC); /* all close theirs at the same time */
	for (i = 0; i < rec->nprog && res == 0; i++)
		res = write_go(rec, snap, rec->prog[i], s->time_ns - rec->mono.real_minus_mono, since_mono_ns, begin, err);
	if (res == 0)
		res = kernelview_snapshot(rec, snap->dir, since_mono_ns, rec->mono.real_minus_mono, rec->o->ctf_version, &snap->kernel_text, err);
	s->kernel_events = kernelview_events(rec) - kernel_before;
	snap->when.now = s;
	if (res == 0)
		res = manifest_write(snap, true, err);
	free_snapshot(snap);
	return res;
}

static void list_snapshot(struct record *rec, const struct record_snapshot *s)
{
	const char *name = strrchr(s->dir, '/');
	struct json j;

	json_init(&j, &rec->when.list);
	j.need_comma = rec->when.list.len > 0;
	json_obj(&j);
	json_key(&j, "dir");
	json_str(&j, name ? name + 1 : s->dir);
	manifest_snapshot(&j, s);
	json_key(&j, "events");
	json_u64(&j, s->events);
	json_key(&j, "bytes");
	json_u64(&j, s->bytes);
	json_obj_end(&j);
}

/* trigger 0: the program has ended, and `why` says how. */
static void take(struct record *rec, struct program *p, uint64_t trigger, const char *why)
{
	struct record_snapshot s = { .number = rec->when.taken + 1, .why = why, .event = "", .program = p->r->head.comm, .pid = p->pid };
	uint32_t id = GD_TRIGGER_CLASS(trigger), number = GD_TRIGGER_NUMBER(trigger);
	struct err err = ERR_INIT;
	struct totals t = { 0 };
	char dir[4200];
	uint64_t at;

	record_clocks_fit(rec);
	if (trigger) {
		at = channel_trigger_time(&p->ch, trigger);
		region_classes(p->r);
		if (id < p->r->nclasses && p->r->cls[id]->state == RCLASS_OK)
			s.event = p->r->cls[id]->name;
		s.why = number < rec->o->when->n ? rec->o->when->v[number].text : "a condition of another recording";
	} else {
		at = channel_last_time(&p->ch);
	}
	s.time_ns = clock_epoch(clock_of(rec, p->r), at);
	if (snprintf(dir, sizeof(dir), "%.4000s/snapshot-%06u", rec->o->dir, s.number) >= (int)sizeof(dir))
		return;
	s.dir = dir;
	rec->when.quiet_until_ns = rec->o->every_ns ? clock_ns(CLOCK_MONOTONIC) + rec->o->every_ns : 0;
	if (write_snapshot(rec, p, &s, &err) < 0) {
		record_fail(rec, err.text);
		return;
	}
	rec->when.taken++;
	t.events = s.events;
	t.bytes = s.bytes;
	totals_add(&rec->gone, &t);
	totals_add(&rec->gone_chunk, &t);
	list_snapshot(rec, &s);
	if (manifest_write(rec, false, &err) < 0)
		record_fail(rec, err.text);
	if (rec->o->snapshot)
		rec->o->snapshot(rec->o->arg, &s);
	if (rec->o->exec)
		start_command(rec, &s);
	if (rec->o->max_snapshots && rec->when.taken >= rec->o->max_snapshots)
		rec->ending = true;
}

/* The word of a frozen ring whose snapshot is still to be taken, else 0. */
static uint64_t frozen(const struct program *p)
{
	uint64_t trigger = channel_trigger(&p->ch);

	return trigger & GD_TRIGGER_FROZEN && !(p->ch.dead && trigger == p->taken) ? trigger : 0;
}

static bool enough(const struct record *rec)
{
	return rec->failed || (rec->o->max_snapshots && rec->when.taken >= rec->o->max_snapshots);
}

void when_look(struct record *rec, uint64_t now)
{
	uint64_t trigger;
	bool arm = false;
	unsigned i;

	reap(rec, false);
	if (rec->when.quiet_until_ns && now >= rec->when.quiet_until_ns) {
		rec->when.quiet_until_ns = 0;
		arm = true;
	}
	for (i = 0; i < rec->nprog && !enough(rec); i++) {
		struct program *p = rec->prog[i];

		trigger = channel_trigger(&p->ch);
		if (frozen(p) && !rec->when.quiet_until_ns)
			take(rec, p, trigger, "");
		else if (p->ch.dead)
			continue;
		else if (trigger & GD_TRIGGER_FROZEN)
			channel_set_trigger(&p->ch, GD_TRIGGER_OFF); /* it comes too soon behind another */
		else if (arm && trigger && !rec->when.quiet_until_ns)
			channel_set_trigger(&p->ch, 0);
	}
}

void when_ended(struct record *rec, struct program *p)
{
	uint64_t trigger = frozen(p);
	char why[60];

	if (enough(rec))
		return;
	if (trigger) {
		take(rec, p, trigger, "");
	} else if (p->state == PROGRAM_KILLED && channel_last_time(&p->ch)) {
		snprintf(why, sizeof(why), "the program was killed by signal %d", p->status);
		take(rec, p, 0, why);
	} else if (p->state == PROGRAM_ENDED && channel_last_time(&p->ch)) {
		take(rec, p, 0, "the program has ended");
	}
}

void when_finish(struct record *rec)
{
	when_look(rec, clock_ns(CLOCK_MONOTONIC));
}
