/* Cut: the part of a trace between two times or generations, of all goroutines or of some, as a trace of its own. Repair: what can still be read of a
 * damaged one, as a sound one. Both read events and write them again (gotrace_write.h); nothing is held but what the reader and the writer hold. */
#include "base/map.h"
#include "export/export.h"
#include "gotrace/gotrace_write.h"

#include <stdlib.h>
#include <string.h>

struct keep {
	const uint64_t *id;
	size_t n;
};

static bool is_kept(void *ctx, int64_t g)
{
	const struct keep *k = ctx;
	size_t i;

	for (i = 0; i < k->n; i++)
		if (k->id[i] == (uint64_t)g)
			return true;
	return false;
}

static int reader_error(const struct gander_err *gerr, int r, struct err *err)
{
	return err_set(err, r, "%s", gerr->text);
}

static uint64_t since(int64_t time_ns, int64_t first_ns)
{
	return time_ns > first_ns ? (uint64_t)time_ns - (uint64_t)first_ns : 0;
}

/* Whether what comes next is to be written; *begin: where that begins. */
static bool wanted(const struct gocut_opts *o, const struct gander_gotrace_event *e, uint64_t generation, int64_t first_ns, int64_t *begin, bool *over)
{
	uint64_t at = since(e->time_ns, first_ns);

	*begin = e->kind == GANDER_GOTRACE_SYNC || !o->from_ns ? e->time_ns : (int64_t)((uint64_t)first_ns + o->from_ns);
	if ((o->to_ns && at > o->to_ns) || (o->last_generation && generation > o->last_generation)) {
		*over = true;
		return false;
	}
	return at >= o->from_ns && generation >= o->first_generation;
}

int gocut_run(struct gander_gotrace *t, FILE *out, const struct gocut_opts *o, struct gocut_stats *ret, struct err *err)
{
	struct keep keep = { o->goroutine, o->ngoroutine };
	struct gowrite_opts wo = { o->ngoroutine ? is_kept : NULL, &keep };
	struct gander_err gerr = GANDER_ERR_INIT;
	struct gander_gotrace_info info = { 0 };
	struct gander_gotrace_event e;
	struct gowrite *w = NULL;
	uint64_t n = 0;
	bool on = false, over = false, alone = false;
	int64_t first_ns = 0, begin;
	int r, got = 0;

	*ret = (struct gocut_stats) { 0 };
	r = gowrite_new(&w, t, out, &wo, err);
	if (r < 0)
		return r;
	while (!alone && (got = gander_gotrace_next(t, &e, &gerr)) > 0) {
		if (e.kind == GANDER_GOTRACE_SYNC)
			gander_gotrace_info(t, &info);
		if (!n++)
			first_ns = o->start_ns ? *o->start_ns : e.time_ns;
		if (o->progress && !(n & 0x1ffff)) {
			gander_gotrace_info(t, &info);
			o->progress(o->progress_arg, &info);
		}
		if (!on && (wanted(o, &e, info.generations, first_ns, &begin, &over) || (over && o->never_empty))) {
			r = gowrite_begin(w, begin, err);
			if (r < 0)
				goto out;
			on = true;
			alone = over;
			ret->from_ns = since(begin, first_ns);
		} else if (on) {
			wanted(o, &e, info.generations, first_ns, &begin, &over);
		}
		if (over && !alone)
			break;
		r = gowrite_event(w, &e, err);
		if (r < 0)
			goto out;
		ret->to_ns = since(e.time_ns, first_ns);
	}
	ret->events = gowrite_events(w);
	if (!ret->events) {
		r = got < 0 ? reader_error(&gerr, got, err) : err_set(err, -ENOENT, "nothing of the trace is in that part: it has %llu generations and %.9g s", (unsigned long long)info.generations, (double)ret->to_ns / 1e9);
		goto out;
	}
	r = gowrite_end(w, err);
	if (r < 0)
		ret->events = 0; /* without its end it is no sound trace */
	else if (got < 0)
		r = reader_error(&gerr, got, err);
out:
	gowrite_free(w);
	return r;
}

int gorepair_run(int64_t (*read)(void *arg, void *to, size_t size), void *arg, FILE *out, struct gorepair_stats *ret, struct err *err)
{
	struct gander_gotrace_opts o = GANDER_GOTRACE_OPTS_INIT;
	struct gander_err gerr = GANDER_ERR_INIT;
	struct gander_gotrace_event e;
	struct gander_gotrace *t = NULL;
	struct gowrite *w = NULL;
	int r, got = 0;

	*ret = (struct gorepair_stats) { 0 };
	o.flags = GANDER_GOTRACE_SALVAGE;
	r = gander_gotrace_open_read(&t, read, arg, &o, &gerr);
	if (r < 0)
		return reader_error(&gerr, r, err);
	r = gowrite_new(&w, t, out, NULL, err);
	if (r >= 0)
		r = gowrite_begin(w, 0, err);
	while (r >= 0 && (got = gander_gotrace_next(t, &e, &gerr)) > 0) {
		if (e.kind == GANDER_GOTRACE_SYNC && e.sync.gap && ret->events) {
			ret->left_out = true;
			break;
		}
		r = gowrite_event(w, &e, err);
		ret->events = gowrite_events(w);
	}
	if (r >= 0)
		r = gowrite_end(w, err);
	if (r < 0)
		goto out;
	while (got > 0) /* what the damage was comes last */
		got = gander_gotrace_next(t, &e, &gerr);
	if (got < 0) {
		ret->damage = *(struct err *)&gerr;
		if (got != -EPROTO || !ret->events)
			r = reader_error(&gerr, got, err);
	} else if (!ret->events) {
		r = err_set(err, -ENOENT, "there are no events in it");
	}
out:
	gowrite_free(w);
	gander_gotrace_free(t);
	return r;
}
