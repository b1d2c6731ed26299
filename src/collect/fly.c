/* The Go traces of a recording's programs: src/collect/flight.c knows how one is read, this when. */
#include "collect/collect_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_NS    50000000ull
#define OFFER_NS    2000000000ull /* a program that has just begun gets so long to initialize its packages */
#define LAST_GEN_NS 2000000000ull /* so long the last generation is waited for */

static bool overwrites(const struct record *rec)
{
	return rec->o->mode == GD_MODE_OVERWRITE;
}

static void fly_begin(struct record *rec, struct program *p)
{
	struct flight_wish w = { .period_ms = rec->o->go_period_ms, .keep_ms = GO_KEEP_MS };
	uint64_t last_ms = rec->o->last_ns / 1000000;
	struct err err = ERR_INIT;

	if (last_ms + 2000 > w.keep_ms)
		w.keep_ms = last_ms + 2000 < GO_KEEP_MOST_MS ? (uint32_t)last_ms + 2000 : GO_KEEP_MOST_MS;
	p->go_settled = true;
	p->fl = malloc(sizeof(*p->fl));
	if (!p->fl) {
		record_problem(rec, p->pid, p->r->head.comm, "", "out of memory");
		return;
	}
	flight_open(p->fl, p->r, rec->dir, p->r->head.comm, p->pid);
	flight_seek(p->fl, !p->born && !overwrites(rec));
	if (!p->ch.dead && flight_ask(p->fl, &w, &err) < 0) {
		record_problem(rec, p->pid, p->r->head.comm, "", err.text);
	}
}

static void fly_fail(struct record *rec, struct program *p)
{
	char text[400];

	p->go_settled = true;
	snprintf(text, sizeof(text),
		 "%s (%d) has no Go trace: it does not import gander's flight package (import _ \"gander.internal/gander/flight\")", p->r->head.comm,
		 (int)p->pid);
	record_problem(rec, p->pid, p->r->head.comm, "", text);
}

static void fly_drain(struct record *rec, struct program *p, uint64_t since_ns)
{
	struct err err = ERR_INIT;

	if (flight_drain(p->fl, since_ns, &err) < 0)
		record_fail(rec, err.text);
}

void program_fly(struct record *rec, struct program *p, uint64_t now)
{
	char text[400], why[161];

	if (!p->go_settled) {
		if (!p->go_since_ns)
			p->go_since_ns = now;
		if (flight_offered(p->r))
			fly_begin(rec, p);
		else if (p->r->head.language == GD_LANG_GO && now - p->go_since_ns > OFFER_NS)
			fly_fail(rec, p);
	}
	if (!p->fl)
		return;
	flight_renew(p->fl, now);
	if (now - p->last_go_ns < DRAIN_NS)
		return;
	p->last_go_ns = now;
	if (!p->go_refused && flight_refused(p->fl, why)) {
		p->go_refused = true;
		snprintf(text, sizeof(text), "%s (%d) has no Go trace: %s", p->r->head.comm, (int)p->pid, why);
		record_problem(rec, p->pid, p->r->head.comm, "", text);
	}
	if (!overwrites(rec))
		fly_drain(rec, p, 0);
}

void program_land(struct record *rec, struct program *p)
{
	if (rec->o->go && !p->go_settled && !rec->failed) {
		if (flight_offered(p->r))
			fly_begin(rec, p);
		else if (p->r->head.language == GD_LANG_GO)
			fly_fail(rec, p);
	}
	if (!p->fl)
		return;
	if (!rec->failed && !rec->o->when)
		fly_drain(rec, p, 0);
	go_sink_drop(&p->fl->sink);
	flight_withdraw(p->fl);
	go_sink_totals(&p->fl->sink, &rec->go_gone);
	if (!rec->o->when) /* each snapshot has its own */
		manifest_go(&rec->go_ended, &p->fl->sink);
	flight_done(p->fl);
	free(p->fl);
	p->fl = NULL;
}

void record_land(struct record *rec)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	unsigned i;

	for (i = 0; i < rec->nprog && !rec->failed && !rec->o->when; i++) {
		struct program *p = rec->prog[i];

		while (p->fl && !p->ch.dead && flight_flying(p->fl) && flight_closed_ns(p->fl) < begin && !region_dead(p->r) &&
		       clock_ns(CLOCK_MONOTONIC) - begin < LAST_GEN_NS)
			usleep(5000);
	}
}
