/* Spans of events (NAME.begin, NAME.end) of a recording, as stretches of time of a goroutine. */
#ifndef GANDER_ANALYZE_WHYSPANS_H
#define GANDER_ANALYZE_WHYSPANS_H

#include "analyze/why.h"

struct why_spans {
	const char *dir;            /* the recording */
	const char *name;           /* exactly; NULL: of any name */
	int64_t mono_offset_ns;     /* CLOCK_REALTIME - CLOCK_MONOTONIC: times of spans are the latter */
	int64_t from_ns, to_ns;     /* CLOCK_MONOTONIC: those that begin and end between; both 0: all */
	struct gosyms *syms;        /* takes the names; borrowed */
	struct buf *others;         /* the names that there are, when none fitted; may be NULL */
	uint64_t without_goroutine; /* out: their end says no goroutine (spans of C, recorded without the context) */
};

/* Adds the whole spans to `to`: the goroutine is the one that ended it, `process` the pid. 0 or -Exxx. */
int why_spans_collect(struct why_spans *s, struct why_list *to, struct err *err);

#endif
