/* One program of a recording: found, taken in, drained, its end noticed and written down. */
#include "collect/collect_record.h"
#include "collect/collect_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLUSH_NS      200000000ull /* events are on disk at most so long after they happened */
#define FLUSH_BYTES   16384u       /* or when so many have come together */
#define RUN_MIN_BYTES (4u * GD_PACKET)
#define FIRST_PACKETS 128u /* of a program that was named */
#define FIRST_OF_ALL  32u  /* of one among all */
#define GROW_PACKETS  64u
#define ENDED_MAX     (64u << 20)
#define KNOWN_MAX     (1u << 18)
#define TRIES_MAX     20u
#define REFUSED_TOLD  20u
#define RETRY_NS      100000000ull
#define FRESH_NS      100000000ull /* a new file is looked at so long: its program is still making it */
#define FRESH_PART_NS 1000000ull
#define HEAR_MOST     16u /* reads at a time: others make files, too */
#define PART_SHARE    4u  /* looking for new programs takes a fifth of the time at most, however much there is to look through */

struct clock_line *clock_of(struct record *rec, const struct region *r)
{
	return r->head.clock == GD_CLOCK_MONO ? &rec->mono : &rec->clock;
}

void record_clocks_fit(struct record *rec)
{
	clock_fit(&rec->clock);
	clock_fit(&rec->mono);
}

void record_note(struct record *rec, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void record_note(struct record *rec, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (rec->o->note)
		rec->o->note(rec->o->arg, text);
}

/* Something that was asked for and is not so. Told once, and written down. */
void record_problem(struct record *rec, pid_t pid, const char *program, const char *class_name, const char *text)
{
	struct problem *p;
	unsigned i;

	for (i = 0; i < rec->nproblem; i++)
		if (rec->problem[i].pid == pid && !strcmp(rec->problem[i].text, text) && !strcmp(rec->problem[i].class_name, class_name))
			return;
	if (!rec->problem)
		rec->problem = calloc(PROBLEMS_MAX, sizeof(*rec->problem));
	if (!rec->problem || rec->nproblem == PROBLEMS_MAX)
		return;
	p = &rec->problem[rec->nproblem++];
	p->pid = pid;
	snprintf(p->program, sizeof(p->program), "%s", program);
	snprintf(p->class_name, sizeof(p->class_name), "%s", class_name);
	snprintf(p->text, sizeof(p->text), "%s", text);
	if (*class_name)
		record_note(rec, "%s (%d): event '%s' is not recorded: %s", program, (int)pid, class_name, text);
	else
		record_note(rec, "%s", text);
}

void record_fail(struct record *rec, const char *why)
{
	if (rec->failed)
		return;
	rec->failed = true;
	rec->ending = true;
	snprintf(rec->why, sizeof(rec->why), "%s", why);
}

static uint64_t region_key(dev_t dev, ino_t ino)
{
	return (uint64_t)ino ^ (uint64_t)dev << 40;
}

static bool is_known(void *arg, dev_t dev, ino_t ino)
{
	struct record *rec = arg;

	uint64_t *tries = map_find(&rec->known, region_key(dev, ino));

	return tries && *tries == 0;
}

/* Regions that are not looked at again. Whoever makes and removes files for ever makes it forget, but not grow without end. */
static void pass_over(struct record *rec, dev_t dev, ino_t ino)
{
	uint64_t *tries;
	bool added;
	unsigned i;

	if (rec->known.n > KNOWN_MAX) {
		map_done(&rec->known);
		for (i = 0; i < rec->nprog; i++)
			map_put(&rec->known, region_key(rec->prog[i]->r->dev, rec->prog[i]->r->ino), &added);
	}
	tries = map_put(&rec->known, region_key(dev, ino), &added);
	if (tries)
		*tries = 0;
}

/* Its locks were held by somebody: true if it is worth another look. */
static bool try_again(struct record *rec, dev_t dev, ino_t ino)
{
	bool added;
	uint64_t *tries = map_put(&rec->known, region_key(dev, ino), &added);

	if (!tries || *tries >= TRIES_MAX || rec->known.n > KNOWN_MAX)
		return false;
	++*tries;
	return true;
}

/* Another user's programs take no more than a part of what one recording can have, so that nobody keeps others out. */
static bool has_room_for(const struct record *rec, uid_t uid)
{
	unsigned i, n = 0, max = PROGRAMS_MAX / 4;
	struct rlimit files;

	if (uid == geteuid())
		return true;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 4 / (OUT_OPEN_FOREIGN + 8) < max)
		max = (unsigned)(files.rlim_cur / 4 / (OUT_OPEN_FOREIGN + 8));
	for (i = 0; i < rec->nprog; i++)
		n += rec->prog[i]->r->uid == uid;
	return n < max;
}

/* How many packets a program may have at most: what was asked for, or half of what its tmpfs has left. */
static uint32_t most_packets(const struct record *rec, const struct region *r)
{
	uint64_t want = rec->o->buffer / GD_PACKET, left;
	struct statvfs fs;

	if (want)
		return want < 4 ? 4 : want > GD_PACKETS_MAX ? GD_PACKETS_MAX
							    : (uint32_t)want;
	want = DEFAULT_PACKETS;
	if (fstatvfs(r->fd, &fs) == 0 && fs.f_blocks) {
		left = (uint64_t)fs.f_bavail * fs.f_frsize / 2 / GD_PACKET;
		if (left < want)
			want = left < 4 ? 4 : left;
	}
	return (uint32_t)want;
}

/* New classes of a program: which rules they match, what of them cannot be recorded. */
void program_look(struct record *rec, struct program *p, uint32_t from)
{
	struct region *r = p->r;
	uint32_t i;
	unsigned u;

	channel_class_states(&p->ch, &rec->rules);
	for (i = from; i < r->nclasses; i++) {
		const struct rclass *cl = r->cls[i];

		if (rec->o->when && cl->state == RCLASS_OK)
			when_class(rec, p, cl);
		if (cl->state == RCLASS_BROKEN)
			record_problem(rec, p->pid, r->head.comm, "?", "its description is damaged");
		if (cl->state != RCLASS_OK)
			continue;
		for (u = 0; u < rec->rules.n; u++) {
			struct rule_list one = { .n = 1 };

			if (rec->rule_matched[u] || rec->rules.v[u].exclude || rec->rules.v[u].condition)
				continue;
			one.v[0] = rec->rules.v[u];
			one.v[0].level = 255;
			rec->rule_matched[u] = rule_for(&one, cl->name, 0) == 0;
		}
		if (p->ch.setup[i] == SETUP_NO_FIELD)
			record_problem(rec, p->pid, r->head.comm, cl->name, "the filter names a field that it lacks");
		else if (p->ch.setup[i] == SETUP_FILTER_TYPE)
			record_problem(rec, p->pid, r->head.comm, cl->name, "the filter does not fit a field's type");
		else if (p->ch.setup[i] == SETUP_NO_ROOM)
			record_problem(rec, p->pid, r->head.comm, cl->name, "no room for its filter in the region");
	}
}

struct note_arg {
	struct record *rec;
	struct program *p;
};

/* What the program itself could not set up. */
static void on_record(void *arg, uint32_t kind, const void *data, size_t len)
{
	struct note_arg *a = arg;
	char text[400];

	if (kind != GD_RECORD_NOTE)
		return;
	snprintf(text, sizeof(text), "%s (%d): %.*s", a->p->r->head.comm, (int)a->p->pid, len < 300 ? (int)len : 300, (const char *)data);
	record_problem(a->rec, a->p->pid, a->p->r->head.comm, "", text);
}

void program_free(struct program *p)
{
	if (p->fl) {
		flight_done(p->fl);
		free(p->fl);
	}
	channel_close(&p->ch);
	ctf_writer_free(p->out.w);
	if (p->pidfd >= 0)
		close(p->pidfd);
	region_close(p->r);
	free(p);
}

uint32_t record_context(const struct record_opts *o, unsigned language)
{
	uint32_t context = o->context & GD_CTX_ALL;

	if (o->context == CONTEXT_DEFAULT)
		context = language == GD_LANG_GO ? GD_CTX_GOID : language == GD_LANG_C ? GD_CTX_TID
										       : GD_CTX_TID | GD_CTX_GOID;
	return context | (o->stack_depth ? GD_CTX_STACK : 0);
}

/* Takes over r. born_channel: the channel that was set up for this session before; -1: none. */
static int program_add(struct record *rec, struct region *r, pid_t pid, bool dead, int born_channel, struct err *err)
{
	struct channel_setup s = {
		.mode = rec->o->mode,
		.context = record_context(rec->o, r->head.language),
		.stack_depth = rec->o->stack_depth,
		.block_ms = rec->o->block_ms,
		.max_packets = most_packets(rec, r),
		.rules = &rec->rules,
		.freezes = rec->o->when != NULL,
	};
	struct program *p;
	int res;

	kernelview_program(rec, pid);
	pass_over(rec, r->dev, r->ino);
	if (rec->nprog == PROGRAMS_MAX || !has_room_for(rec, r->uid)) {
		res = err_set(err, -EMFILE, "more than %d programs at once, or too many of uid %u", PROGRAMS_MAX, (unsigned)r->uid);
		region_close(r);
		return res;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		region_close(r);
		return err_set(err, -ENOMEM, "out of memory");
	}
	memcpy(s.session, rec->session, 16);
	s.first_packets = rec->o->all ? FIRST_OF_ALL : FIRST_PACKETS;
	if (s.first_packets > s.max_packets)
		s.first_packets = s.max_packets;
	if (s.first_packets > r->npackets / GD_CHANNELS && !rec->o->buffer)
		s.first_packets = r->npackets / GD_CHANNELS; /* so that there is something for each of eight recordings */
	if (rec->o->mode == GD_MODE_OVERWRITE)
		s.first_packets = rec->o->buffer ? s.max_packets : s.max_packets / 4;
	p->r = r;
	p->pid = pid;
	p->pidfd = pid && !dead ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	p->born = born_channel >= 0;
	res = dead ? channel_open_dead(&p->ch, r, (unsigned)born_channel, err) : channel_open(&p->ch, r, &s, err);
	if (res == 0 && region_classes(r) < 0)
		res = err_set(err, -ENOMEM, "out of memory");
	if (res < 0) {
		program_free(p);
		return res;
	}
	p->ch.dead = dead;
	if (p->born)
		p->since = r->head.start;
	else
		clock_now(&p->since, clock_of(rec, r)->counter_is_mono);
	clock_older(clock_of(rec, r), &r->head.start);
	clock_fit(clock_of(rec, r));
	program_look(rec, p, 0);
	if (!rec->o->when)
		res = out_open(&p->out, rec->dir, r, pid, clock_of(rec, r), p->since.counter, rec->o->ctf_version, err);
	if (res == 0)
		res = out_classes(&p->out, &p->ch, err);
	if (res < 0) {
		record_fail(rec, err->text);
		program_free(p);
		return res;
	}
	rec->prog[rec->nprog++] = p;
	rec->seen++;
	if (rec->o->when)
		when_program(rec, p);
	return 0;
}

/* A clock sample of a packet that has just been drained, now and then. */
static void sample(struct record *rec, struct program *p, const struct piece *piece, uint64_t now)
{
	struct gd_clock_sample s;

	if (now - p->last_sample_ns < 10000000)
		return;
	p->last_sample_ns = now;
	memcpy(&s, &region_packet(p->r, piece->packet)->open, sizeof(s));
	if (s.counter <= piece->end)
		clock_sample(clock_of(rec, p->r), &s);
}

/* So many pieces of one slot, one behind the other, are worth writing at once; 1: they are too few. */
static unsigned run_of(const struct piece *piece, unsigned n)
{
	unsigned i;
	size_t bytes = 0;

	for (i = 0; i < n && i < OUT_RUN_MAX && piece[i].slot == piece->slot && piece[i].len; i++)
		bytes += piece[i].len;
	return bytes >= RUN_MIN_BYTES ? i : 1;
}

/* Returns the whole packets that were drained. */
unsigned program_drain(struct record *rec, struct program *p, uint64_t now, bool all)
{
	bool flush = all || now - p->last_flush_ns >= FLUSH_NS;
	uint32_t before = p->r->nclasses;
	struct err err = ERR_INIT;
	unsigned i, k, n, run, done, whole = 0;
	int res = 0, found;

	if (p->ch.mode == GD_MODE_OVERWRITE)
		return 0;
	n = (unsigned)channel_plan(&p->ch, flush, FLUSH_BYTES);
	if (flush)
		p->last_flush_ns = now;
	/* after the heads were read, so that the class of every event below them is there */
	found = region_classes(p->r);
	if (found > 0) {
		program_look(rec, p, before < p->r->settled ? before : p->r->settled);
		res = out_classes(&p->out, &p->ch, &err);
	}
	/* what has been written is given back at once: the program may be waiting for it */
	for (i = 0; i < n && res == 0; i += done) {
		const struct piece *piece = &p->ch.piece[i];

		run = run_of(piece, n - i);
		if (run > 1 && !rec->run_room && posix_memalign(&rec->run_room, CTF_RUN_ALIGN, CTF_RUN_BYTES) != 0)
			rec->run_room = NULL;
		done = run > 1 && rec->run_room ? (unsigned)out_run(&p->out, &p->ch, piece, run, rec->run_room) : 0;
		if (!done) {
			done = 1;
			res = out_piece(&p->out, &p->ch, piece, NULL, &err);
		}
		if (res == -EFAULT || res == -ENODATA) {
			/* the file has shrunk under us */
			p->ch.slot[piece->slot].damaged += piece->events;
			p->ch.piece[i].len = 0;
			res = 0;
		}
		if (res < 0)
			break;
		if (piece->len)
			sample(rec, p, piece, now);
		for (k = i; k < i + done; k++)
			whole += p->ch.piece[k].whole;
		channel_commit(&p->ch, i, done);
	}
	if (res < 0) {
		for (k = i; k < n; k++) {
			p->ch.slot[p->ch.piece[k].slot].unwritten += p->ch.piece[k].events;
			p->ch.piece[k].len = 0;
		}
		channel_commit(&p->ch, i, n - i);
		record_fail(rec, err.text);
	}
	return whole;
}

/* How it ended: of the command by wait(2); of others the kernel tells since Linux 6.15, once their parents have waited for them (its
 * struct is laid out as in the call's version 0). False: not known yet. */
bool program_how_ended(struct record *rec, struct program *p)
{
	struct {
		uint64_t mask, cgroup;
		uint32_t ids[11];
		int32_t exit_code;
	} info = { .mask = 8 };

	if (p->pid == rec->cmd_pid && p->pid) {
		command_ended(rec, false);
		if (!rec->cmd_done)
			return false;
		info.exit_code = rec->cmd_status;
	} else if (p->pidfd < 0 || ioctl(p->pidfd, _IOWR(0xff, 11, info), &info) < 0 || !(info.mask & 8)) {
		return false;
	}
	p->state = WIFSIGNALED(info.exit_code) ? PROGRAM_KILLED : PROGRAM_EXITED;
	p->status = WIFSIGNALED(info.exit_code) ? WTERMSIG(info.exit_code) : WEXITSTATUS(info.exit_code);
	return true;
}

void drop_kept(struct record *rec, unsigned i)
{
	if (rec->o->go || !flight_left(rec->kept[i]))
		region_unlink(rec->kept[i]);
	region_close(rec->kept[i]);
	rec->kept[i] = NULL;
}

/* A flight recorder keeps the regions of the last programs that have died for `gander snapshot`; the lock keeps starting programs from
 * removing them. */
static void keep_region(struct record *rec, struct program *p)
{
	unsigned i = rec->nkept++ % KEPT_MAX;

	if (rec->kept[i])
		drop_kept(rec, i);
	flock(p->r->fd, LOCK_SH | LOCK_NB);
	rec->kept[i] = p->r;
	p->r = NULL;
}

/* Classes that the program could not declare. */
static void tell_refused(struct record *rec, const struct program *p)
{
	uint32_t n = load_relaxed(&((const struct gd_header *)p->r->map)->lost_classes);
	char text[160];

	if (!n)
		return;
	snprintf(text, sizeof(text), "%s (%d): %u event classes found no room in its region: their events are not there", p->r->head.comm, (int)p->pid, n);
	record_problem(rec, p->pid, p->r->head.comm, "", text);
}

uint64_t program_since(const struct program *p, const struct clock_line *l, uint64_t last_ns, bool dead)
{
	uint64_t ticks = (uint64_t)((double)last_ns / l->ns_per_tick);
	/* a dead program's last seconds end with its last event, not now */
	uint64_t end = dead ? channel_last_time(&p->ch) : l->last.counter;

	return last_ns && end > ticks ? end - ticks : 0;
}

/* Writes the last, tells the totals, forgets the program. */
void program_end(struct record *rec, unsigned index, bool dead)
{
	struct program *p = rec->prog[index];
	struct err err = ERR_INIT;
	struct totals t;
	int res = 0;

	if (dead) {
		p->ch.dead = true;
		if (p->state == PROGRAM_RUNNING && !program_how_ended(rec, p))
			p->state = PROGRAM_ENDED;
	}
	if (rec->o->when && dead)
		when_ended(rec, p);
	if (!rec->failed) {
		program_drain(rec, p, clock_ns(CLOCK_MONOTONIC), true);
		region_classes(p->r);
		program_look(rec, p, 0);
		if (p->ch.mode == GD_MODE_OVERWRITE && !rec->o->when) {
			res = out_classes(&p->out, &p->ch, &err);
			if (res == 0 && rec->o->last_ns)
				record_clocks_fit(rec);
			if (res == 0)
				res = out_chains(&p->out, &p->ch, program_since(p, clock_of(rec, p->r), rec->o->last_ns, dead), true, &err);
		}
	}
	tell_refused(rec, p);
	region_records(p->r, on_record, &(struct note_arg) { rec, p });
	channel_losses(&p->ch);
	program_land(rec, p);
	clock_fit(clock_of(rec, p->r));
	p->until = clock_of(rec, p->r)->last;
	rec->gone_trace_bytes += out_bytes(&p->out);
	if (res == 0)
		res = out_clock(&p->out, clock_of(rec, p->r), &err);
	if (res == 0)
		res = out_close(&p->out, &p->ch, p->until.counter, &err);
	if (res < 0)
		record_fail(rec, err.text);
	program_totals(p, &t);
	totals_add(&rec->gone, &t);
	totals_sub(&t, &p->base);
	totals_add(&rec->gone_chunk, &t);
	if (rec->ended.len < ENDED_MAX)
		manifest_program(&rec->ended, rec, p, !rec->nended++);
	else
		rec->ended_dropped++;
	if (dead && p->ch.mode == GD_MODE_OVERWRITE && !rec->ending)
		keep_region(rec, p);
	else if (dead && !rec->failed && channel_done_with(&p->ch) && (rec->o->go || !flight_left(p->r)))
		region_unlink(p->r); /* unless another recording still has to read it, or somebody wants the Go trace that is in it */
	program_free(p);
	rec->prog[index] = rec->prog[--rec->nprog];
}

/* The program's own word for its pid, unless that is a process of somebody else here. */
static pid_t pid_of(const struct region *r)
{
	uid_t uid = proc_uid((pid_t)r->head.pid);

	return uid == (uid_t)-1 || uid == r->uid ? (pid_t)r->head.pid : 0;
}

/* A new region of a program that was named and is being recorded: it has loaded a library with events, or its Go agent comes after the C code in it. */
static bool is_another_of(const struct record *rec, struct found *f)
{
	const struct region *r = f->region;
	unsigned i;
	int k;

	for (i = 0; i < rec->nprog; i++) {
		const struct program *p = rec->prog[i];

		if (p->ch.dead || p->r->head.pid != r->head.pid || p->r->uid != r->uid)
			continue;
		for (k = 0; k < rec->o->npids && rec->o->pids[k] != p->pid; k++)
			;
		if (k == rec->o->npids || !find_is_mapped(p->pid, r->dev, r->ino))
			continue;
		f->pid = p->pid;
		return true;
	}
	return false;
}

/* One thing that a scan has found. `asked`: it was named by the user, so a refusal is told. */
static void consider(struct record *rec, struct found *f, bool asked, unsigned *added)
{
	struct err err = ERR_INIT;
	char text[600], comm[32] = "";
	struct region *r = f->region;
	struct program *p;
	int born, res;

	if (f->region && is_known(rec, r->dev, r->ino))
		return;
	if (f->pid)
		proc_comm(f->pid, comm, sizeof(comm));
	if (f->kind == FOUND_OFF) {
		if (asked || rec->o->all) {
			snprintf(text, sizeof(text), "%s (%d) cannot be recorded: it could make no region (%s)", comm, (int)f->pid, f->why);
			record_problem(rec, f->pid, comm, "", text);
		}
		return;
	}
	if (f->kind == FOUND_REFUSED) {
		if (f->ino)
			pass_over(rec, f->dev, f->ino);
		/* anybody can make files of such names, as many as he likes */
		if (asked || (rec->o->all && (f->uid == geteuid() || rec->refused++ < REFUSED_TOLD)))
			record_problem(rec, f->pid, comm, "", f->why);
		return;
	}
	born = channel_of_session(r, rec->session);
	asked = asked || (born < 0 && !f->dead && is_another_of(rec, f));
	if (!asked && !rec->o->all && born < 0) {
		pass_over(rec, r->dev, r->ino);
		return;
	}
	if (f->dead && born < 0) {
		pass_over(rec, r->dev, r->ino);
		return;
	}
	f->region = NULL;
	snprintf(comm, sizeof(comm), "%s", r->head.comm);
	res = program_add(rec, r, f->pid ? f->pid : pid_of(r), f->dead, born, &err);
	if (res < 0) {
		if (rec->failed)
			return;
		if (res == -EAGAIN && try_again(rec, f->dev, f->ino))
			rec->rescan_until_ns = clock_ns(CLOCK_MONOTONIC) + RETRY_NS;
		snprintf(text, sizeof(text), "%s (%d) is not recorded: %s", comm, (int)f->pid, err.text);
		record_problem(rec, f->pid, comm, "", text);
		return;
	}
	++*added;
	p = rec->prog[rec->nprog - 1];
	if (!f->dead)
		return;
	/* the command has let go of its region before it has ended: its status comes in a moment */
	if (p->pid && p->pid == rec->cmd_pid && !program_how_ended(rec, p))
		p->dead_ns = clock_ns(CLOCK_MONOTONIC);
	else
		program_end(rec, rec->nprog - 1, true);
}

static unsigned consider_all(struct record *rec, struct find *f, bool asked)
{
	unsigned i, added = 0;

	for (i = 0; i < f->n && !rec->failed; i++)
		consider(rec, &f->v[i], asked, &added);
	return added;
}

void record_scan(struct record *rec, enum find_where where)
{
	struct find f = { .known = is_known, .known_arg = rec, .writable = true };

	find_all(&f, where, NULL);
	rec->last_scan_ns = clock_ns(CLOCK_MONOTONIC);
	consider_all(rec, &f, false);
	find_done(&f);
}

void record_scan_begin(struct record *rec, bool foreign)
{
	find_end(&rec->part);
	find_begin(&rec->part, foreign);
	rec->scanning = true;
}

void record_scan_part(struct record *rec)
{
	struct find f = { .known = is_known, .known_arg = rec, .writable = true };
	uint64_t start = clock_ns(CLOCK_MONOTONIC), end;

	rec->scanning = find_some(&f, &rec->part);
	consider_all(rec, &f, false);
	find_done(&f);
	end = clock_ns(CLOCK_MONOTONIC);
	if (!rec->scanning) {
		find_end(&rec->part);
		rec->last_scan_ns = end;
	}
	rec->part_next_ns = end + PART_SHARE * (end - start);
}

void record_watch(struct record *rec)
{
	char dirs[32][64];
	int n = find_dirs(dirs, 32), i, wd;

	rec->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	for (i = 0; rec->inotify_fd >= 0 && i < n; i++) {
		wd = inotify_add_watch(rec->inotify_fd, dirs[i], IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR);
		if (wd < 0)
			continue;
		rec->watched[rec->nwatched].wd = wd;
		memcpy(rec->watched[rec->nwatched++].dir, dirs[i], sizeof(dirs[i]));
	}
}

/* Twice the same is one: the first look finds it, or it is looked for in a moment. */
static void remember(struct record *rec, int wd, const char *name, uint64_t now)
{
	size_t len = strlen(name);
	unsigned i;
	uid_t uid;
	int dir;

	for (dir = 0; dir < rec->nwatched && rec->watched[dir].wd != wd; dir++)
		;
	if (dir == rec->nwatched || rec->nfresh == FRESH_MAX || len >= sizeof(rec->fresh->name) || !region_name_ok(name, &uid))
		return;
	for (i = 0; i < rec->nfresh; i++)
		if (rec->fresh[i].dir == dir && !strcmp(rec->fresh[i].name, name))
			return;
	rec->fresh[rec->nfresh].dir = dir;
	rec->fresh[rec->nfresh].until_ns = now + FRESH_NS;
	memcpy(rec->fresh[rec->nfresh++].name, name, len + 1);
}

void record_hear(struct record *rec)
{
	_Alignas(struct inotify_event) char events[4096];
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	const struct inotify_event *e;
	unsigned turn;
	ssize_t n, at;

	for (turn = 0; turn < HEAR_MOST && (n = read(rec->inotify_fd, events, sizeof(events))) > 0; turn++)
		for (at = 0; at < n; at += (ssize_t)(sizeof(*e) + e->len)) {
			e = (const struct inotify_event *)(events + at);
			if (e->mask & (IN_CREATE | IN_MOVED_TO) && e->len)
				remember(rec, e->wd, e->name, now);
		}
	rec->rescan_until_ns = now + FRESH_NS; /* whatever that does not find */
}

void record_scan_fresh(struct record *rec)
{
	struct find f = { .known = is_known, .known_arg = rec, .writable = true };
	uint64_t start = clock_ns(CLOCK_MONOTONIC), now = start;
	unsigned i, kept = 0;

	if (!rec->nfresh || start < rec->fresh_next_ns)
		return;
	for (i = 0; i < rec->nfresh; i++) {
		bool again = now - start >= FRESH_PART_NS;

		if (!again)
			again = find_entry(&f, rec->watched[rec->fresh[i].dir].dir, rec->fresh[i].name) == -EAGAIN && now < rec->fresh[i].until_ns;
		if (again)
			rec->fresh[kept++] = rec->fresh[i];
		now = clock_ns(CLOCK_MONOTONIC);
	}
	rec->nfresh = kept;
	consider_all(rec, &f, false);
	find_done(&f);
	now = clock_ns(CLOCK_MONOTONIC);
	rec->fresh_next_ns = now + PART_SHARE * (now - start);
}

int record_attach(struct record *rec, pid_t pid, struct err *err)
{
	struct find f = { .known = is_known, .known_arg = rec, .writable = true };
	char comm[32], text[300];
	int res = find_pid(&f, pid, err);

	if (res < 0)
		return res;
	if (!f.n && rec->kernel)
		kernelview_bare(rec, pid);
	if (!f.n && rec->o->go) {
		fly_bare(rec, pid);
	} else if (!f.n && !rec->kernel) {
		proc_comm(pid, comm, sizeof(comm));
		snprintf(text, sizeof(text), "process %d (%s) has no gander events (it uses neither libgander nor the Go agent)", (int)pid, comm);
		record_problem(rec, pid, comm, "", text);
	}
	consider_all(rec, &f, true);
	find_done(&f);
	return 0;
}

static uint32_t left_to_others(const struct record *rec, const struct program *p)
{
	return rec->o->buffer ? 0 : p->r->npackets / GD_CHANNELS;
}

void program_grow(struct record *rec, struct program *p)
{
	uint32_t nfree;

	if (p->ch.dead || !p->ch.held)
		return;
	if (p->ch.mode == GD_MODE_OVERWRITE) {
		if (p->ch.granted < p->ch.max_packets)
			channel_grant(&p->ch, p->ch.max_packets, left_to_others(rec, p));
		channel_balance(&p->ch);
		return;
	}
	nfree = channel_free_packets(&p->ch);
	if (nfree < p->ch.granted / 2 && p->ch.granted < p->ch.max_packets && !p->ch.no_memory) {
		channel_grant(&p->ch, GROW_PACKETS, left_to_others(rec, p));
		if (p->ch.no_memory)
			record_note(rec, "%s (%d): its tmpfs is full: no more than %u KiB of buffer", p->r->head.comm, (int)p->pid,
				    p->ch.granted * (GD_PACKET / 1024));
	}
}
