/* The Go traces of a recording's programs: src/collect/flight.c knows how one is read, this when. */
#include "collect/collect_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_NS     50000000ull
#define OFFER_NS     2000000000ull /* a program that has just begun gets so long to initialize its packages */
#define LAST_GEN_NS  2000000000ull /* so long the last generation is waited for */
#define WAIT_US      2000u         /* between looks at whether it has come */
#define GO_ENDED_MAX (64u << 20)   /* of the manifest's words of those that have ended */
#define ROUND_NS     10000000ull   /* of each round of the loop, for all Go traces together: the others' events wait no longer */

static bool overwrites(const struct record *rec)
{
	return rec->o->mode == GD_MODE_OVERWRITE;
}

static void fly_begin(struct record *rec, struct program *p)
{
	struct flight_wish w = { .period_ms = rec->o->go_period_ms, .keep_ms = GO_KEEP_MS, .follows = !overwrites(rec) };
	uint64_t last_ms = rec->o->last_ns / 1000000;
	struct err err = ERR_INIT;
	char text[600];

	if (last_ms + 2000 > w.keep_ms)
		w.keep_ms = last_ms + 2000 < GO_KEEP_MOST_MS ? (uint32_t)last_ms + 2000 : GO_KEEP_MOST_MS;
	p->go_settled = true;
	p->fl = malloc(sizeof(*p->fl));
	if (!p->fl) {
		record_problem(rec, p->pid, p->r->head.comm, "", "out of memory");
		return;
	}
	flight_open(p->fl, p->r, rec->dir, p->r->head.comm, p->pid);
	p->fl->stop = rec->o->stop;
	p->fl->stop_over = 1 + (rec->o->cmd != NULL); /* the first time ends the recording, the next what it still has to read */
	flight_seek(p->fl, !p->born && !overwrites(rec));
	if (p->ch.dead)
		return;
	if (flight_ask(p->fl, &w, &err) < 0) {
		record_problem(rec, p->pid, p->r->head.comm, "", err.text);
	} else if (flight_wake(p->fl, &err) < 0) {
		snprintf(text, sizeof(text), "%s (%d): its Go trace may begin up to ten minutes late: %s", p->r->head.comm, (int)p->pid, err.text);
		record_problem(rec, p->pid, p->r->head.comm, "", text);
	}
}

void fly_neither(char *text, size_t len, const char *comm, pid_t pid)
{
	snprintf(text, len,
		 "%s (%d) has no Go trace: it neither imports gander's flight package (import _ \"gander.internal/gander/flight\") nor serves "
		 "/debug/pprof where it could be found (import _ \"net/http/pprof\", or --url http://HOST:PORT)",
		 comm, (int)pid);
}

static unsigned searches(const struct record *rec)
{
	unsigned i, n = 0;

	for (i = 0; i < rec->nhttp; i++)
		n += rec->http[i]->at == GO_HTTP_FINDS;
	return n;
}

static bool is_full(const struct record *rec)
{
	return rec->nhttp - searches(rec) >= HTTP_MAX;
}

/* otherwise: what is told when the program serves no /debug/pprof; NULL: both ways to a Go trace. -EAGAIN: it is not its turn yet; -EMFILE: there is no place. */
static int fly_http(struct record *rec, pid_t pid, const char *comm, bool bare, const char *otherwise, struct err *err)
{
	double seconds = rec->o->for_ns ? (double)rec->o->for_ns / 1e9 : 86400;
	struct go_http *h;
	int res;

	if (is_full(rec))
		return err_set(err, -EMFILE, "more than %d Go traces over HTTP", HTTP_MAX);
	if (searches(rec) == SEARCHES_MAX)
		return err_set(err, -EAGAIN, "others are looked for, and it was not its turn");
	h = malloc(sizeof(*h));
	if (!h)
		return err_set(err, -ENOMEM, "out of memory");
	res = go_http_open(h, rec->dir, comm, pid, rec->o->go_url, seconds, err);
	if (res < 0) {
		free(h);
		return res;
	}
	h->bare = bare;
	if (otherwise)
		snprintf(h->otherwise, sizeof(h->otherwise), "%s", otherwise);
	rec->http[rec->nhttp++] = h;
	return 0;
}

/* The totals and the manifest's words of a Go trace that has ended. */
static void keep_sink(struct record *rec, const struct go_sink *s)
{
	go_sink_totals(s, &rec->go_gone);
	if (rec->go_ended.len < GO_ENDED_MAX)
		manifest_go(&rec->go_ended, s);
	else
		rec->ended_dropped++;
}

static void http_end(struct record *rec, unsigned i)
{
	struct go_http *h = rec->http[i];
	struct err err = ERR_INIT;
	char text[600] = "";

	if (go_http_end(h, &err) < 0)
		record_fail(rec, err.text);
	if (h->absent && *h->otherwise)
		snprintf(text, sizeof(text), "%s (%d) has no Go trace: %s", h->sink.comm, (int)h->sink.pid, h->otherwise);
	else if (h->absent)
		fly_neither(text, sizeof(text), h->sink.comm, h->sink.pid);
	else if (h->answer.state == GO_HTTP_BROKEN)
		snprintf(text, sizeof(text), "%s (%d) has %s Go trace over HTTP: %s", h->sink.comm, (int)h->sink.pid, h->sink.nparts ? "only a part of its" : "no",
			 h->answer.why);
	else if (!h->sink.nparts)
		snprintf(text, sizeof(text), "%s (%d) has no Go trace over HTTP: no whole generation of it came", h->sink.comm, (int)h->sink.pid);
	if (*text)
		record_problem(rec, h->sink.pid, h->sink.comm, "", text);
	keep_sink(rec, &h->sink);
	go_http_close(h);
	free(h);
	rec->http[i] = rec->http[--rec->nhttp];
}

/* Memory for the generations that are open is shared out: whoever has a large one takes nobody's part. */
static void share_memory(struct record *rec)
{
	struct go_sink *s;
	uint64_t held = 0, free, part;
	unsigned i, n = 0;

	for (i = 0; i < rec->nprog; i++)
		if (rec->prog[i]->fl) {
			held += rec->prog[i]->fl->sink.pending.cap;
			n++;
		}
	for (i = 0; i < rec->nhttp; i++)
		held += rec->http[i]->sink.pending.cap;
	n += rec->nhttp;
	free = held < GO_PENDING_ALL ? GO_PENDING_ALL - held : 0;
	part = GO_PENDING_ALL / (n ? n : 1);
	for (i = 0; i < rec->nprog + rec->nhttp; i++) {
		uint64_t most = GO_PENDING, here;

		if (i < rec->nprog && !rec->prog[i]->fl)
			continue;
		s = i < rec->nprog ? &rec->prog[i]->fl->sink : &rec->http[i - rec->nprog]->sink;
		if (i < rec->nprog)
			most = (uint64_t)rec->prog[i]->r->npackets * GD_PACKET;
		here = part > s->pending.len + free ? part : s->pending.len + free;
		s->most = (size_t)(most < here ? most : here);
	}
}

unsigned record_http(struct record *rec)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ROUND_NS;
	struct err err = ERR_INIT;
	unsigned k, n = rec->nhttp;
	bool late = false;
	int res;

	if (n)
		share_memory(rec);
	for (k = 0; k < n && rec->nhttp && !rec->failed && !late; k++) {
		unsigned i = rec->http_turn++ % rec->nhttp;
		struct go_http *h = rec->http[i];

		h->no_place = is_full(rec);
		if (h->at == GO_HTTP_FINDS)
			go_http_probes(h, SEARCH_SOCKETS / searches(rec));
		res = go_http_read(h, until, &err);
		if (res < 0)
			record_fail(rec, err.text);
		if (h->bare && h->at == GO_HTTP_TALKS) {
			h->bare = false;
			record_note(rec, "process %d (%s) has no gander events: its Go trace is recorded over HTTP", (int)h->sink.pid, h->sink.comm);
		}
		if (res <= 0)
			http_end(rec, i);
		late = clock_ns(CLOCK_MONOTONIC) >= until;
	}
	return late;
}

/* What is waited for takes as long as the rings of everything else need to fill. */
static void wait_a_little(struct record *rec)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	unsigned i;

	for (i = 0; i < rec->nprog && !rec->failed; i++)
		program_drain(rec, rec->prog[i], now, false);
	kernelview_drain(rec, now, false);
	usleep(WAIT_US);
}

void record_http_found(struct record *rec)
{
	unsigned i;

	for (i = 0; i < rec->nhttp && !rec->failed && !(rec->o->stop && *rec->o->stop);) {
		if (rec->http[i]->at == GO_HTTP_TALKS) {
			i++;
			continue;
		}
		wait_a_little(rec);
		record_http(rec);
		i = 0;
	}
}

/* What --max-size leaves. */
static uint64_t room_left(const struct record *rec)
{
	uint64_t n = rec->o->max_size ? record_trace_bytes(rec) : 0;

	return !rec->o->max_size ? UINT64_MAX : n < rec->o->max_size ? rec->o->max_size - n
								     : 0;
}

/* Ctrl-C once more than what ended the recording: nothing is waited for any longer. */
static bool hurried(const struct record *rec)
{
	return rec->o->stop && *rec->o->stop > 1 + (rec->o->cmd != NULL);
}

/* With --for the programs end their traces by themselves, at about the same time as we do. Otherwise they are told to: what the tracer has of the
 * last second, all of a short recording, comes only when it is stopped. */
void record_http_end(struct record *rec)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), told_ns = begin, now = begin;
	unsigned i;

	if (rec->o->for_ns && begin - rec->start_ns >= rec->o->for_ns)
		told_ns += LAST_GEN_NS / 4;
	for (; rec->nhttp && !rec->failed && !hurried(rec) && room_left(rec) && now - begin < LAST_GEN_NS; now = clock_ns(CLOCK_MONOTONIC)) {
		for (i = 0; i < rec->nhttp && now >= told_ns; i++)
			go_http_finish(rec->http[i]);
		record_http(rec);
		wait_a_little(rec);
	}
	while (rec->nhttp)
		http_end(rec, 0);
}

void record_http_drop(struct record *rec)
{
	while (rec->nhttp) {
		go_http_close(rec->http[--rec->nhttp]);
		free(rec->http[rec->nhttp]);
	}
}

void fly_bare(struct record *rec, pid_t pid)
{
	struct err err = ERR_INIT;
	char comm[32] = "", text[600];
	int res;

	proc_comm(pid, comm, sizeof(comm));
	while ((res = fly_http(rec, pid, comm, true, NULL, &err)) == -EAGAIN && !rec->failed && !(rec->o->stop && *rec->o->stop)) {
		wait_a_little(rec);
		record_http(rec);
	}
	if (res == 0)
		return;
	if (res == -ENOENT)
		fly_neither(text, sizeof(text), comm, pid);
	else
		snprintf(text, sizeof(text), "%s (%d) has no Go trace: %.300s", comm, (int)pid, err.text);
	record_problem(rec, pid, comm, "", text);
}

static void fly_fail(struct record *rec, struct program *p, bool last)
{
	struct err err = ERR_INIT;
	char text[600];
	int res;

	if (p->ch.dead)
		res = -ENOENT;
	else if (last) /* there was no place for it in all that time */
		res = is_full(rec) ? err_set(&err, -EMFILE, "%d others have one over HTTP", HTTP_MAX)
				   : err_set(&err, -EAGAIN, "others were looked for, and it was not its turn");
	else
		res = fly_http(rec, p->pid, p->r->head.comm, false, NULL, &err);
	if ((res == -EMFILE || res == -EAGAIN) && !last)
		return;
	p->go_settled = true;
	if (res == 0)
		return;
	if (res == -ENOENT)
		fly_neither(text, sizeof(text), p->r->head.comm, p->pid);
	else
		snprintf(text, sizeof(text), "%s (%d) has no Go trace: %.300s", p->r->head.comm, (int)p->pid, err.text);
	record_problem(rec, p->pid, p->r->head.comm, "", text);
}

static void fly_drain(struct record *rec, struct program *p, uint64_t since_ns)
{
	struct err err = ERR_INIT;

	if (flight_drain(p->fl, since_ns, &err) < 0)
		record_fail(rec, err.text);
}

/* What the program has set aside (flight.Snapshot()) gets a recording of its own, with the events of that time. */
static void take_aside(struct record *rec, struct program *p)
{
	struct snapshot_opts so = { .pids = &p->pid, .npids = 1, .ctf_version = rec->o->ctf_version, .own = rec, .stop = rec->o->stop, .stop_over = rec->o->cmd != NULL };
	struct snapshot_result result;
	struct err err = ERR_INIT;
	char dir[4200], text[600];

	if (rec->o->max_snapshots && rec->asides >= rec->o->max_snapshots) {
		snprintf(text, sizeof(text), "%s (%d) has set more aside than is taken of one recording: %u (--max-snapshots)", p->r->head.comm, (int)p->pid,
			 rec->asides);
		record_problem(rec, p->pid, p->r->head.comm, "", text);
		return;
	}
	snprintf(dir, sizeof(dir), "%.4000s/aside-%06u", rec->dir, ++rec->asides);
	so.dir = dir;
	if (snapshot_run(&so, &result, &err) < 0) {
		snprintf(text, sizeof(text), "%s (%d): what it has set aside could not be taken: %.300s", p->r->head.comm, (int)p->pid, err.text);
		record_problem(rec, p->pid, p->r->head.comm, "", text);
		return;
	}
	rec->aside_bytes += result.bytes + result.go.bytes;
	record_note(rec, "%s (%d) has set its last seconds aside: they are in %s", p->r->head.comm, (int)p->pid, dir);
}

void program_fly(struct record *rec, struct program *p, uint64_t now)
{
	char text[400], why[161];
	int res;

	if (!p->go_settled) {
		if (flight_offered(p->r))
			fly_begin(rec, p);
		else if (p->r->head.language == GD_LANG_GO && now - p->r->head.start.mono_ns > OFFER_NS)
			fly_fail(rec, p, false);
	}
	if (!p->fl)
		return;
	flight_renew(p->fl, now);
	if (!p->go_refused && flight_refused(p->fl, why)) {
		res = flight_never(p->fl) ? fly_http(rec, p->pid, p->r->head.comm, false, why, NULL) : -ENOENT;
		if (res == -EAGAIN)
			return;
		p->go_refused = true;
		if (res == 0)
			return;
		snprintf(text, sizeof(text), "%s (%d) has no Go trace: %s", p->r->head.comm, (int)p->pid, why);
		record_problem(rec, p->pid, p->r->head.comm, "", text);
	}
	if (overwrites(rec) && !p->ch.dead && now - p->last_go_ns >= DRAIN_NS) {
		p->last_go_ns = now;
		if (flight_saved(p->fl))
			take_aside(rec, p);
	}
}

static unsigned drain_all(struct record *rec, uint64_t pause_ns)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), until = now + ROUND_NS, room = room_left(rec), before;
	unsigned k, n = rec->nprog, more = 0;

	share_memory(rec);
	for (k = 0; k < n && !rec->failed && now < until; k++) {
		struct program *p = rec->prog[(rec->go_turn + k) % n];

		if (!p->fl || now - p->last_go_ns < pause_ns)
			continue;
		before = p->fl->sink.written;
		p->fl->until_ns = until;
		p->fl->room = room;
		fly_drain(rec, p, 0);
		before = p->fl->sink.written - before;
		room -= before < room ? before : room;
		now = clock_ns(CLOCK_MONOTONIC);
		if (p->fl->more)
			more++;
		else
			p->last_go_ns = now;
	}
	rec->go_turn = n ? (rec->go_turn + k) % n : 0;
	return more || k < n;
}

unsigned record_fly(struct record *rec)
{
	return rec->o->go && !overwrites(rec) ? drain_all(rec, DRAIN_NS) : 0;
}

void program_land(struct record *rec, struct program *p)
{
	struct go_totals got = { 0 };
	char text[240];

	if (rec->o->go && !p->go_settled && !rec->failed) {
		if (flight_offered(p->r))
			fly_begin(rec, p);
		else if (p->r->head.language == GD_LANG_GO)
			fly_fail(rec, p, true);
	}
	if (!p->fl)
		return;
	if (!rec->failed && !rec->o->when) {
		uint64_t end = p->ch.dead ? flight_closed_ns(p->fl) : clock_ns(CLOCK_MONOTONIC), last = overwrites(rec) ? rec->o->last_ns : 0;

		p->fl->until_ns = 0;
		p->fl->room = room_left(rec);
		if (overwrites(rec) || p->fl->room) { /* what comes behind --max-size is no part of the recording */
			fly_drain(rec, p, last && end > last ? end - last : 0);
			flight_last(p->fl);
		}
	}
	go_sink_drop(&p->fl->sink);
	flight_withdraw(p->fl);
	go_sink_totals(&p->fl->sink, &got);
	if (!got.traces && !got.lost_generations && !rec->failed && !rec->o->when && !rec->chunk && !p->go_refused) {
		snprintf(text, sizeof(text), "%s (%d) has no Go trace: no generation of it was over in this time (record for longer)",
			 p->r->head.comm, (int)p->pid);
		record_problem(rec, p->pid, p->r->head.comm, "", text);
	}
	if (!rec->o->when) /* each snapshot has its own */
		keep_sink(rec, &p->fl->sink);
	flight_done(p->fl);
	free(p->fl);
	p->fl = NULL;
}

/* A short recording: it has not been asked. Its turn is waited for. */
static void ask_late(struct record *rec, struct program *p, uint64_t begin)
{
	while (!rec->failed) {
		fly_fail(rec, p, false);
		if (p->go_settled || is_full(rec) || hurried(rec) || clock_ns(CLOCK_MONOTONIC) - begin >= LAST_GEN_NS)
			return;
		wait_a_little(rec);
		record_http(rec);
	}
}

void record_land(struct record *rec)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	unsigned i;

	for (i = 0; i < rec->nprog && !rec->failed && !rec->o->when; i++) {
		struct program *p = rec->prog[i];

		if (rec->o->go && !p->go_settled && !p->ch.dead && !flight_offered(p->r) && p->r->head.language == GD_LANG_GO)
			ask_late(rec, p, begin);
		while (p->fl && !hurried(rec) && !p->ch.dead && flight_flying(p->fl) && flight_closed_ns(p->fl) < begin && !region_dead(p->r) &&
		       clock_ns(CLOCK_MONOTONIC) - begin < LAST_GEN_NS && !rec->failed)
			wait_a_little(rec);
	}
}

uint64_t fly_bytes(const struct record *rec)
{
	struct go_totals t = rec->go_gone;
	unsigned i;

	t.bytes += rec->aside_bytes;
	for (i = 0; i < rec->nprog; i++)
		if (rec->prog[i]->fl)
			go_sink_totals(&rec->prog[i]->fl->sink, &t);
	for (i = 0; i < rec->nhttp; i++)
		go_sink_totals(&rec->http[i]->sink, &t);
	return t.bytes;
}

/* A chunk has the generations that one more round finds whole: a round is bounded, for all events wait meanwhile. What is still open, or was not read in that
 * time, goes into the next. */
void fly_before_rotate(struct record *rec)
{
	if (rec->o->go && !overwrites(rec))
		drain_all(rec, 0);
	record_http(rec);
}

void fly_after_rotate(struct record *rec)
{
	unsigned i;

	buf_clear(&rec->go_ended);
	for (i = 0; i < rec->nprog; i++)
		if (rec->prog[i]->fl) {
			go_sink_totals(&rec->prog[i]->fl->sink, &rec->go_gone);
			go_sink_rotate(&rec->prog[i]->fl->sink, rec->dir);
		}
	for (i = 0; i < rec->nhttp; i++) {
		go_sink_totals(&rec->http[i]->sink, &rec->go_gone);
		go_sink_rotate(&rec->http[i]->sink, rec->dir);
	}
}
