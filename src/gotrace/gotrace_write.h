/* Writes a v2 execution trace event by event, from what the reader delivers: a part of another trace (cut), or what is left of one (repair).
 *
 * Every event goes through gowrite_event(), also those that are not to be written: the writer keeps the state of goroutines, Ps and threads, and what
 * it knows when writing begins stands first in the new trace, as the runtime's own status events stand at the begin of a generation. Times are written in
 * nanoseconds as they were delivered, so a reader of the new trace delivers the same events at the same times. Generations are the source's.
 *
 * One owner, no threads. Memory: a generation's batches are written as they fill (64 KiB a thread); its table of texts is kept until its end. */
#ifndef GANDER_GOTRACE_WRITE_H
#define GANDER_GOTRACE_WRITE_H

#include "gotrace/gotrace.h"

#include <stdio.h>

struct gowrite_opts {
	/* Whether this goroutine is in the new trace; NULL: all. What the others do is left out, but for the Ps and threads they used. */
	bool (*keep)(void *ctx, int64_t goroutine);
	void *ctx;
};

struct gowrite;
/* `t` is the v2 trace whose events come; it must outlive the writer, which takes texts and stacks from it, and writes a trace of its version. */
int gowrite_new(struct gowrite **ret, struct gander_gotrace *t, FILE *out, const struct gowrite_opts *o, struct err *err);
/* From here on events are written. `time_ns`: where the new trace begins, not after the next event. */
int gowrite_begin(struct gowrite *w, int64_t time_ns, struct err *err);
int gowrite_event(struct gowrite *w, const struct gander_gotrace_event *e, struct err *err);
int gowrite_end(struct gowrite *w, struct err *err); /* closes the last generation; without it the trace is torn */
uint64_t gowrite_events(const struct gowrite *w);    /* of the source, written so far */
void gowrite_free(struct gowrite *w);

#endif
