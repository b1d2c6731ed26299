/* --where on decoded events: what a filter asks for, from the values that the reader gives. For the verbs that read recordings. */
#ifndef GANDER_CLI_CTF_WHERE_H
#define GANDER_CLI_CTF_WHERE_H

#include "base/near.h"
#include "base/opt.h"
#include "filter/filter.h"
#include "base/map.h"
#include "gander/ctf_reader.h"
#include "timeline/timeline.h"

/* Whether a name of the filter was ever there. */
struct ctf_where_name {
	bool found;
	uint64_t missed; /* events that lack it */
	struct near near;
};

struct ctf_where {
	struct filter *filter;        /* NULL: everything */
	const struct opt_list *globs; /* event names; none: all */
	struct map by_class;          /* what the globs say of a class, by its address */
	struct ctf_where_name *name;  /* by the filter's names */
	/* the event at hand */
	const struct gander_ctf_event *ev;
	const struct gander_ctf_value *v;
	uint32_t n;
	struct gander_ctf_value told; /* $goid by the Go trace, where the event itself does not say; no name: none */
};

int ctf_where_init(struct ctf_where *w, const char *expr, const struct opt_list *globs, struct err *err);
void ctf_where_done(struct ctf_where *w);

/* At the end: warns on stderr of each name that no event had, with the one that was probably meant. */
void ctf_where_warn(const struct ctf_where *w);

/* Does the event that came last pass? Losses always do. */
bool ctf_where_holds(struct ctf_where *w, struct gander_ctf *r, const struct gander_ctf_event *ev);
bool timeline_where_holds(struct ctf_where *w, struct timeline *tl, const struct timeline_event *ev);

#endif
