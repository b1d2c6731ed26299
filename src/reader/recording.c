/* include/gander/recording.h over the timeline: its events in terms that are promised. */
#include "base/err.h"
#include "ctf/ctf_read.h"
#include "gander/recording.h"
#include "timeline/timeline.h"

#include <stdlib.h>
#include <string.h>

struct gander_recording {
	struct timeline *tl;
	struct timeline_event ev; /* that came last */
};

_Static_assert((int)GANDER_RECORDING_EVENTS == TIMELINE_EVENTS && (int)GANDER_RECORDING_KERNEL == TIMELINE_KERNEL &&
		       (int)GANDER_RECORDING_GO == TIMELINE_GO && (int)GANDER_RECORDING_OTHER == TIMELINE_OTHER,
	       "kinds are handed on");
_Static_assert(sizeof(struct err) == sizeof(struct gander_err), "struct err and struct gander_err must have one layout");

int gander_recording_open(struct gander_recording **ret, const char *const *paths, unsigned npaths, const struct gander_recording_opts *opts,
			  struct gander_err *err)
{
	struct gander_recording_opts o = GANDER_RECORDING_OPTS_INIT;
	struct timeline_opts to = { 0 };
	struct gander_recording *r;
	int res;

	if (opts)
		memcpy(&o, opts, opts->size < sizeof(o) ? opts->size : sizeof(o));
	if (o.flags & ~(unsigned)(GANDER_RECORDING_NO_GO | GANDER_RECORDING_STACKS))
		return err_set((struct err *)err, -EINVAL, "an option that this version does not know");
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set((struct err *)err, -ENOMEM, "out of memory");
	to.no_go = o.flags & GANDER_RECORDING_NO_GO;
	to.stacks = o.flags & GANDER_RECORDING_STACKS;
	to.begin_ns = o.begin_mono_ns;
	to.end_ns = o.end_mono_ns;
	res = timeline_open(&r->tl, paths, npaths, &to, (struct err *)err);
	if (res < 0) {
		free(r);
		return res;
	}
	*ret = r;
	return 0;
}

void gander_recording_free(struct gander_recording *r)
{
	if (!r)
		return;
	timeline_free(r->tl);
	free(r);
}

int gander_recording_next(struct gander_recording *r, struct gander_recording_event *ev, struct gander_err *err)
{
	int res = timeline_next(r->tl, &r->ev, (struct err *)err);
	const struct timeline_event *t = &r->ev;

	if (res <= 0) {
		memset(&r->ev, 0, sizeof(r->ev));
		return res;
	}
	*ev = (struct gander_recording_event) {
		.time_ns = t->ctf.time_ns,
		.mono_ns = t->mono_ns,
		.goroutine = t->goid,
		.thread = t->tid,
		.pid = t->pid,
		.name = t->ctf.kind == GANDER_CTF_EVENT ? t->ctf.class_->name : "",
		.lost = t->ctf.kind == GANDER_CTF_EVENT ? 0 : t->ctf.lost,
		.source = t->source,
		.kind = t->kind,
		.goroutine_told = t->goid_told,
		.level = (int16_t)(t->ctf.kind == GANDER_CTF_EVENT ? t->ctf.class_->level : -1),
		.ctf = &t->ctf,
		.go = t->go,
		.go_trace = t->go_reader,
	};
	return 1;
}

int gander_recording_values(struct gander_recording *r, const struct gander_ctf_value **ret)
{
	*ret = NULL;
	return r->ev.ctf.class_ ? timeline_values(r->tl, &r->ev, ret) : 0;
}

const struct gander_ctf_value *gander_recording_find(struct gander_recording *r, const char *name)
{
	const struct gander_ctf_value *v;
	int n = gander_recording_values(r, &v);

	return n > 0 ? ctf_values_find(v, (uint32_t)n, name) : NULL;
}

uint32_t gander_recording_sources(const struct gander_recording *r)
{
	return timeline_sources(r->tl);
}

int gander_recording_source(const struct gander_recording *r, uint32_t i, struct gander_recording_source *ret)
{
	struct timeline_source s;

	if (i >= timeline_sources(r->tl))
		return -ENOENT;
	timeline_source(r->tl, i, &s);
	*ret = (struct gander_recording_source) { .path = s.path, .name = s.name, .how = s.how, .pid = s.pid, .error_ns = s.error_ns, .kind = s.kind };
	return 0;
}

uint32_t gander_recording_notes(const struct gander_recording *r)
{
	return timeline_notes(r->tl);
}

const char *gander_recording_note(const struct gander_recording *r, uint32_t i)
{
	return i < timeline_notes(r->tl) ? timeline_note(r->tl, i) : "";
}

uint64_t gander_recording_lost(const struct gander_recording *r)
{
	return timeline_lost(r->tl);
}
