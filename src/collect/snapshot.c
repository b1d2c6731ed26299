/* What a flight recorder holds now. Nothing is switched, locked or freed: the same reading works while the program runs, when it is
 * stopped, and when it has died. */
#include "base/json.h"
#include "base/table.h"
#include "collect/collect_record.h"
#include "collect/collect_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAKEOFF_NS   4000000000ull /* so long a program may take to notice that its Go trace is wanted */
#define SESSIONS_MAX 8u
#define WAIT_PART_NS 20000000ull
#define FROM_NOW     1000000000ull /* and so much of it is taken then, unless --last says otherwise */

struct snap {
	const struct snapshot_opts *o;
	struct snapshot_result *res;
	struct record rec; /* for the manifest and the clocks */
	/* flight recorders that hold the programs, and from when on (CLOCK_MONOTONIC) */
	uint8_t session[SESSIONS_MAX][16];
	unsigned nsessions;
	uint64_t since_mono_ns;
	uint64_t begin_ns; /* CLOCK_MONOTONIC: what happened until then is waited for */
};

static bool stopped(const struct snap *s)
{
	return s->o->stop && *s->o->stop > s->o->stop_over;
}

/* What may still be written of traces that go on while they are read. */
static uint64_t room_left(const struct snap *s, const struct go_sink *sink)
{
	uint64_t most = s->o->max_size ? s->o->max_size : SNAPSHOT_MOST, n = s->res->go.bytes + sink->written;

	return n < most ? most - n : 0;
}

static void note_cut(struct snap *s, pid_t pid)
{
	char bytes[UNIT_TEXT];

	snprintf(s->res->note, sizeof(s->res->note), "the Go trace of process %d is larger than %s and is cut off there (--max-size)", (int)pid,
		 bytes_text(bytes, s->o->max_size ? s->o->max_size : SNAPSHOT_MOST));
}

/* Until a generation that was closed then is there, or so long. */
static void wait_closed(const struct snap *s, const struct flight *f, uint64_t closed_ns, uint64_t until_ns)
{
	while (!stopped(s) && clock_ns(CLOCK_MONOTONIC) < until_ns && !flight_wait(f, closed_ns, WAIT_PART_NS) && !region_dead(f->r))
		;
}

/* The channel that holds most: one in overwrite mode, else a recording's whose collector has died. What a living collector drains is not
 * there any more. */
static int pick_channel(struct region *r)
{
	int c, any = -1;

	for (c = 0; c < (int)GD_CHANNELS; c++) {
		const struct gd_channel *g = region_channel(r, (unsigned)c);

		if (!region_channel_on(r, (unsigned)c) || g->mode == GD_MODE_COUNT)
			continue;
		if (g->mode == GD_MODE_OVERWRITE)
			return c;
		if (!region_channel_held(r, (unsigned)c))
			any = c;
	}
	return any;
}

/* A program that nobody has asked for its Go trace yet: what happens from now on is taken. */
static int fly_from_now(struct snap *s, struct flight *f, struct err *err)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), length = s->o->last_ns ? s->o->last_ns : FROM_NOW;
	struct flight_wish w = { .keep_ms = (uint32_t)(length / 1000000 > GO_KEEP_MOST_MS ? GO_KEEP_MOST_MS : length / 1000000) + 2000,
				 .follows = true };
	struct err asleep = ERR_INIT;
	char why[161];
	int res;

	flight_seek(f, true);
	res = flight_ask(f, &w, err);
	if (res == 0)
		flight_wake(f, &asleep);
	while (res == 0 && !flight_flying(f)) {
		if (flight_refused(f, why))
			res = err_set(err, -EBUSY, "process %d has no Go trace: %s", (int)f->sink.pid, why);
		else if (stopped(s))
			res = err_set(err, -EINTR, "ended before process %d began to trace", (int)f->sink.pid);
		else if (clock_ns(CLOCK_MONOTONIC) - begin > TAKEOFF_NS || region_dead(f->r))
			res = asleep.code ? err_set(err, -ETIMEDOUT, "process %d does not begin to trace: %s", (int)f->sink.pid, asleep.text)
					  : err_set(err, -ETIMEDOUT, "process %d does not begin to trace: it is stopped, has died, or the tmpfs of '%s' is full",
						    (int)f->sink.pid, f->r->path);
		usleep(5000);
	}
	begin = clock_ns(CLOCK_MONOTONIC);
	while (res == 0 && clock_ns(CLOCK_MONOTONIC) - begin < length && !region_dead(f->r) && !stopped(s) && room_left(s, &f->sink)) {
		flight_renew(f, clock_ns(CLOCK_MONOTONIC));
		usleep(20000);
		f->room = room_left(s, &f->sink);
		res = flight_drain(f, 0, err);
	}
	if (res == 0 && room_left(s, &f->sink)) {
		begin = clock_ns(CLOCK_MONOTONIC);
		/* also after Ctrl-C: it takes half a second at most */
		flight_wait(f, begin, GO_CLOSE_NS);
		f->room = room_left(s, &f->sink);
		res = flight_drain(f, 0, err);
	}
	if (res == 0 && !room_left(s, &f->sink))
		note_cut(s, f->sink.pid);
	else if (res == 0)
		snprintf(s->res->note, sizeof(s->res->note), "nobody had asked process %d for its Go trace: this is what happened afterwards "
							     "(gander record --overwrite --go keeps it flying)",
			 (int)f->sink.pid);
	return res;
}

/* The Go trace. events: the program has a flight recorder for events, so this is not all that there is. -ENOENT: there is none. */
static int take_go(struct snap *s, struct region *r, pid_t pid, bool dead, bool events, struct err *err)
{
	uint64_t since = 0, newest;
	struct flight f;
	bool left = false; /* Ctrl-C has cut off what was set aside: it stays for whoever asks next */
	int res = 0;

	if (!flight_offered(r))
		return -ENOENT;
	flight_open(&f, r, s->rec.dir, r->head.comm, pid);
	f.stop = s->o->stop;
	f.stop_over = s->o->stop_over + 1;
	if (flight_never(&f)) {
		flight_done(&f);
		return -ENOENT;
	}
	if (!dead && !flight_flying(&f) && !flight_saved(&f)) {
		res = events ? -ENOENT : fly_from_now(s, &f, err);
	} else {
		res = flight_drain_saved(&f, err);
		left = f.more && f.stop && *f.stop > f.stop_over;
		if (res == 0) {
			if (!dead && flight_flying(&f))
				wait_closed(s, &f, s->begin_ns, s->begin_ns + GO_CLOSE_NS + 1000000ull * flight_period_ms(&f));
			newest = dead ? flight_closed_ns(&f) : clock_ns(CLOCK_MONOTONIC);
			if (s->o->last_ns)
				since = newest > s->o->last_ns ? newest - s->o->last_ns : 0;
			flight_seek(&f, false);
			res = flight_drain(&f, since, err);
		}
		if (res == 0)
			flight_last(&f);
	}
	go_sink_drop(&f.sink);
	if (res == 0) {
		go_sink_totals(&f.sink, &s->res->go);
		manifest_go(&s->rec.go_ended, &f.sink);
		if (f.sink.nparts) {
			if (!left)
				flight_saved_taken(&f);
		} else if (left && !events) {
			res = err_set(err, -EINTR, "ended before a generation of the Go trace of process %d was read", (int)pid);
		} else if (f.damaged && !events) {
			res = err_set(err, -EIO, "the Go trace of process %d is damaged", (int)pid);
		} else if (f.sink.lost_bytes && !events) {
			res = err_set(err, -ENOSPC, "process %d has no memory for its Go trace: the tmpfs of '%s' is full", (int)pid, r->path);
		} else {
			res = -ENOENT;
		}
	}
	flight_done(&f);
	return res;
}

/* Nobody has waited for it yet, or it has gone since it was looked for. */
static bool has_ended(pid_t pid)
{
	char path[40], exe[8];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return readlink(path, exe, sizeof(exe)) < 0 && errno == ENOENT;
}

/* A process without the flight package: its /debug/pprof is asked for what happens from now on. */
static int take_http(struct snap *s, pid_t pid, struct err *err)
{
	uint64_t length = s->o->last_ns ? s->o->last_ns : FROM_NOW, begin = clock_ns(CLOCK_MONOTONIC), told_ns = 0;
	struct go_http h;
	char comm[32] = "", text[420];
	int res;

	proc_comm(pid, comm, sizeof(comm));
	res = go_http_open(&h, s->rec.dir, comm, pid, s->o->go_url, (double)length / 1e9, err);
	if (res == -ENOENT) {
		fly_neither(text, sizeof(text), comm, pid);
		return err_set(err, -ENOENT, "%s", text);
	}
	if (res < 0)
		return res;
	while ((res = go_http_read(&h, clock_ns(CLOCK_MONOTONIC) + WAIT_PART_NS, err)) > 0) {
		if (h.at != GO_HTTP_TALKS)
			begin = clock_ns(CLOCK_MONOTONIC); /* it looks for itself how long that takes */
		if (stopped(s)) {
			go_http_finish(&h);
			told_ns = told_ns ? told_ns : clock_ns(CLOCK_MONOTONIC);
		}
		if ((told_ns && clock_ns(CLOCK_MONOTONIC) - told_ns > GO_CLOSE_NS) || clock_ns(CLOCK_MONOTONIC) - begin > length + TAKEOFF_NS ||
		    !room_left(s, &h.sink)) {
			res = go_http_end(&h, err);
			break;
		}
		usleep(2000);
	}
	if (res == 0 && !h.sink.nparts && h.absent && has_ended(pid))
		res = err_set(err, -ESRCH, "%s (%d) ended before its Go trace could be asked for", comm, (int)pid);
	else if (res == 0 && stopped(s) && !h.sink.nparts)
		res = err_set(err, -EINTR, "ended before a generation of the Go trace of %s (%d) had come", comm, (int)pid);
	else if (res == 0 && h.absent) {
		fly_neither(text, sizeof(text), comm, pid);
		res = err_set(err, -ENOENT, "%s", text);
	} else if (res == 0 && h.answer.state == GO_HTTP_BROKEN && !h.sink.nparts)
		res = err_set(err, -EIO, "%s (%d) has no Go trace over HTTP: %s", comm, (int)pid, h.answer.why);
	else if (res == 0 && !h.sink.nparts)
		res = err_set(err, -EIO, "%s (%d) has no Go trace over HTTP: no whole generation of it came", comm, (int)pid);
	if (res == 0) {
		bool full = !room_left(s, &h.sink);

		go_sink_totals(&h.sink, &s->res->go);
		manifest_go(&s->rec.go_ended, &h.sink);
		if (full)
			note_cut(s, pid);
		else if (h.answer.state == GO_HTTP_BROKEN)
			snprintf(s->res->note, sizeof(s->res->note), "%s (%d) has only a part of its Go trace over HTTP: %s", comm, (int)pid, h.answer.why);
		else
			snprintf(s->res->note, sizeof(s->res->note), "%s (%d) has no flight recorder: its Go trace is of what happened afterwards, over HTTP", comm,
				 (int)pid);
	}
	go_http_close(&h);
	return res;
}

/* A flight recorder that is running may have the kernel's view of that time: `since` is the counter of the program's clock. */
static void note_session(struct snap *s, struct region *r, unsigned c, uint64_t since)
{
	const struct gd_channel *g = region_channel(r, c);
	uint64_t mono = s->o->last_ns && since ? clock_epoch(clock_of(&s->rec, r), since) - s->rec.mono.real_minus_mono : 0;
	unsigned i;

	if (g->mode != GD_MODE_OVERWRITE)
		return;
	if (!s->nsessions || mono < s->since_mono_ns)
		s->since_mono_ns = mono;
	for (i = 0; i < s->nsessions && memcmp(s->session[i], g->session, 16) != 0; i++)
		;
	if (i == s->nsessions && i < SESSIONS_MAX)
		memcpy(s->session[s->nsessions++], g->session, 16);
}

/* The kernel's part, of the first that has it. */
static void take_kernel(struct snap *s)
{
	struct record *own = s->o->own;
	uint64_t offset = s->rec.mono.real_minus_mono;
	struct err err = ERR_INIT;
	unsigned i;
	int res = 0;

	for (i = 0; i < s->nsessions && !s->rec.kernel_text.len; i++) {
		if (own && !memcmp(own->session, s->session[i], 16))
			res = kernelview_snapshot(own, s->o->dir, s->since_mono_ns, offset, s->o->ctf_version, &s->rec.kernel_text, &err);
		else if (!own)
			res = kernelview_ask(s->session[i], s->o->dir, s->since_mono_ns, offset, s->o->ctf_version, &s->rec.kernel_text, &err);
		if (res < 0 && res != -ENOENT && !*s->res->note) /* -ENOENT: it has ended meanwhile */
			snprintf(s->res->note, sizeof(s->res->note), "the kernel's view is not in the snapshot: %.380s", err.text);
	}
	s->res->kernel = s->rec.kernel_text.len > 0;
}

/* Nothing was sampled while it was recorded. The program has done so at its start, and whenever it opened a packet. */
static void older_samples(struct clock_line *l, const struct channel *ch)
{
	struct gd_clock_sample s;
	uint64_t lap;
	uint32_t i;

	clock_older(l, &ch->r->head.start);
	for (i = 0; i < ch->r->npackets; i++) {
		struct gd_packet *p = region_packet(ch->r, i);

		if (!bit_get(region_channel(ch->r, ch->c)->granted, i))
			continue;
		lap = load_acquire(&p->lap); /* [LAP] */
		s.counter = load_relaxed(&p->open.counter);
		s.mono_ns = load_relaxed(&p->open.mono_ns);
		s.boot_ns = load_relaxed(&p->open.boot_ns);
		s.width = load_relaxed(&p->open.width);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(lap & 1) && load_relaxed(&p->lap) == lap && load_relaxed(&p->channel) == ch->c && load_relaxed(&p->epoch) == ch->epoch) /* [LAP] */
			clock_older(l, &s);
	}
}

static int take(struct snap *s, struct region *r, pid_t pid, bool dead, struct err *err)
{
	struct program *p;
	uint64_t since = 0;
	struct totals t;
	uint32_t i;
	bool offered = flight_offered(r);
	int c = pick_channel(r), res;

	res = take_go(s, r, pid, dead, c >= 0, err);
	if (c < 0) {
		region_close(r);
		if (res == -ENOENT && !dead) {
			res = take_http(s, pid, err);
			if (res == -ENOENT && offered)
				err_set(err, res, "no generation of its Go trace was closed in time, or there was no room for a whole one");
		} else if (res == -ENOENT) {
			err_set(err, res, "it has left no Go trace either");
		}
		if (res == -ENOENT)
			err_prefix(err, "process %d has no flight recorder (gander record --overwrite -p %d starts one)", (int)pid, (int)pid);
		else if (res == 0)
			s->res->programs++;
		return res;
	}
	if (res < 0 && res != -ENOENT) {
		region_close(r);
		return res;
	}
	if (s->rec.nprog == PROGRAMS_MAX) {
		region_close(r);
		return 0;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		region_close(r);
		return err_set(err, -ENOMEM, "out of memory");
	}
	p->r = r;
	p->pid = pid;
	p->pidfd = -1;
	p->state = dead ? PROGRAM_ENDED : PROGRAM_RUNNING;
	s->rec.prog[s->rec.nprog++] = p;
	res = channel_open_dead(&p->ch, r, (unsigned)c, err);
	if (res < 0)
		return res;
	p->since = r->head.start;
	older_samples(clock_of(&s->rec, r), &p->ch);
	clock_fit(clock_of(&s->rec, r));
	if (s->o->last_ns)
		p->since.counter = since = program_since(p, clock_of(&s->rec, r), s->o->last_ns, dead);
	note_session(s, r, (unsigned)c, since);
	if (region_classes(r) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < r->nclasses; i++) /* whatever was recorded may be among what is there */
		p->ch.setup[i] = r->cls[i]->state == RCLASS_OK ? SETUP_ON : SETUP_NONE;
	res = out_open(&p->out, s->rec.dir, r, pid, clock_of(&s->rec, r), p->since.counter, s->o->ctf_version, err);
	if (res == 0)
		res = out_classes(&p->out, &p->ch, err);
	if (res == 0)
		res = out_chains(&p->out, &p->ch, since, false, err);
	if (res < 0)
		return res;
	p->until = clock_of(&s->rec, r)->last;
	s->res->bytes += out_bytes(&p->out);
	res = out_close(&p->out, &p->ch, p->until.counter, err);
	program_totals(p, &t);
	s->res->programs++;
	s->res->events += t.events;
	s->res->overwritten += t.overwritten;
	s->res->lost += totals_lost(&t) - t.overwritten;
	return res;
}

/* The pid as the program says it: for one that has died, and whose mapping is gone. */
static int take_dead(struct snap *s, pid_t pid, struct err *err)
{
	struct find f = { 0 };
	unsigned i, n = 0;
	int res = 0;

	find_all(&f, FIND_FILES, NULL);
	for (i = 0; i < f.n && res == 0; i++) {
		struct region *r = f.v[i].region;

		if (f.v[i].kind != FOUND_REGION || r->head.pid != (uint32_t)pid) /* its lock may be a flight recorder's, that keeps it */
			continue;
		f.v[i].region = NULL;
		res = take(s, r, pid, true, err);
		n++;
	}
	find_done(&f);
	if (res == 0 && !n)
		res = err_set(err, -ESRCH, "no process %d, and none of that number has left anything", (int)pid);
	return res;
}

static int take_pid(struct snap *s, pid_t pid, struct err *err)
{
	struct find f = { .writable = true }; /* for asking: nothing else is changed */
	int res = find_pid(&f, pid, err);
	unsigned i, n = 0;

	if (res == -ESRCH)
		return take_dead(s, pid, err);
	for (i = 0; i < f.n && res == 0; i++) {
		struct region *r = f.v[i].region;

		if (f.v[i].kind != FOUND_REGION) {
			snprintf(s->res->note, sizeof(s->res->note), "%s", f.v[i].why);
			continue;
		}
		f.v[i].region = NULL;
		res = take(s, r, pid, false, err);
		n++;
	}
	find_done(&f);
	if (res == 0 && !n && has_ended(pid))
		return take_dead(s, pid, err);
	if (res == 0 && !n && *s->res->note)
		return err_set(err, -ENOENT, "process %d has no region: %s", (int)pid, s->res->note);
	if (res == 0 && !n) {
		res = take_http(s, pid, err);
		s->res->programs += res == 0;
	}
	return res;
}

int snapshot_run(const struct snapshot_opts *o, struct snapshot_result *result, struct err *err)
{
	static struct rule_list no_rules;
	struct record_opts ro = { .dir = o->dir, .rules = &no_rules, .mode = GD_MODE_OVERWRITE, .ctf_version = o->ctf_version };
	struct snap *s = calloc(1, sizeof(*s));
	char path[4200];
	unsigned i;
	int res, k;

	memset(result, 0, sizeof(*result));
	if (!s)
		return err_set(err, -ENOMEM, "out of memory");
	s->o = o;
	s->res = result;
	s->begin_ns = clock_ns(CLOCK_MONOTONIC);
	s->rec.o = &ro;
	session_new(s->rec.session, s->rec.session_text);
	clock_start(&s->rec.clock, false);
	clock_start(&s->rec.mono, true);
	s->rec.clock.real_minus_mono = s->rec.mono.real_minus_mono;
	clock_fit(&s->rec.clock);
	clock_fit(&s->rec.mono);
	s->rec.start_epoch_ns = s->rec.mono.first.mono_ns + s->rec.mono.real_minus_mono;
	snprintf(s->rec.dir, sizeof(s->rec.dir), "%.4000s", o->dir);
	res = recording_make_dir(o->dir, err);
	snprintf(path, sizeof(path), "%.4000s/ctf", o->dir);
	if (res == 0 && mkdir(path, 0700) < 0)
		res = err_set(err, -errno, "cannot make '%s': %m", path);
	for (k = 0; k < o->npids && res == 0 && !(k && stopped(s)); k++)
		res = take_pid(s, o->pids[k], err);
	if (res == 0 && k < o->npids)
		snprintf(result->note, sizeof(result->note), "ended before all programs were read: process %d and those behind it are missing", (int)o->pids[k]);
	if (res == 0)
		take_kernel(s);
	if (res == 0)
		res = manifest_write(&s->rec, true, err);
	else if (!result->programs)
		recording_remove(o->dir);
	for (i = 0; i < s->rec.nprog; i++)
		program_free(s->rec.prog[i]);
	buf_done(&s->rec.go_ended);
	buf_done(&s->rec.kernel_text);
	free(s);
	return res;
}
