/* Go traces turned into what other tools open. Each is a sink on the tracked stream that writes to `out` as it goes, or at the end. */
#ifndef GANDER_EXPORT_EXPORT_H
#define GANDER_EXPORT_EXPORT_H

#include "analyze/gostate.h"
#include "base/err.h"

#include <stdio.h>

struct gander_gotrace;

/* --- pprof: time by stack ------------------------------------------------------------------------------------------------ */
enum gopprof_kind { GOPPROF_BLOCKED,
		    GOPPROF_SCHED,
		    GOPPROF_SYSCALL,
		    GOPPROF_NET,
		    GOPPROF_CPU };

struct gopprof;
/* As `go tool trace -pprof=` counts: waits before a goroutine first ran are left out unless `all`, and what was not over at the trace's end.
 * Without `all` it needs no tracked states: set s->light when nothing else is asked of the pass. */
int gopprof_new(struct gopprof **ret, struct gostate *s, enum gopprof_kind kind, bool all);
int gopprof_write(struct gopprof *p, FILE *out, struct err *err); /* after the trace's end */
void gopprof_free(struct gopprof *p);

struct gopath;
/* The critical path of `gander why`: hops by stack. */
int why_pprof(const struct gopath *p, const struct gosyms *s, FILE *out, struct err *err);

/* --- perfetto: a track a P, a goroutine; counters; arrows from waker to woken ---------------------------------------------- */
struct goperfetto;
int goperfetto_new(struct goperfetto **ret, struct gostate *s, FILE *out);
int goperfetto_finish(struct goperfetto *p, struct err *err);
void goperfetto_free(struct goperfetto *p);

/* --- spans as CSV or JSON lines: one line a goroutine's stay in a state ------------------------------------------------------ */
enum gospans_format { GOSPANS_CSV,
		      GOSPANS_JSON };
struct gospans;
int gospans_new(struct gospans **ret, struct gostate *s, enum gospans_format format, FILE *out);
int gospans_finish(struct gospans *p, struct err *err);
void gospans_free(struct gospans *p);

/* --- anonymize: the same trace without its names ------------------------------------------------------------------------------ */
struct goanon_opts {
	bool all_names; /* names of the standard library too, which otherwise stay: they are public and make the trace readable */
};
/* Reads raw bytes from `read` and writes a trace of the same version. Names become pkg1.f2 and the like, the same everywhere in the
 * trace; log messages and string values go wholly; the wall clock starts in 1970; program counters are numbered anew; data of experiments is left out. Kept: times, the
 * monotonic clock, ids of goroutines, Ps and threads, line numbers. */
int goanon_run(int64_t (*read)(void *arg, void *to, size_t size), void *arg, FILE *out, const struct goanon_opts *o, struct err *err);

/* --- cut and repair: v2 traces that the Go tools open --------------------------------------------------------------------------- */
struct gander_gotrace_info;
struct gocut_opts {
	uint64_t from_ns, to_ns;                    /* since the trace's first event; to_ns 0: to the end */
	const int64_t *start_ns;                    /* what they count from instead, where that is known; NULL */
	bool never_empty;                           /* where nothing happens in that time, what happens next: it says what was going on */
	uint64_t first_generation, last_generation; /* counted from 1; last 0: to the end */
	const uint64_t *goroutine;                  /* only these; none: all */
	size_t ngoroutine;
	void (*progress)(void *arg, const struct gander_gotrace_info *info); /* after each event; NULL */
	void *progress_arg;
};
struct gocut_stats {
	uint64_t events;
	uint64_t from_ns, to_ns; /* what was written, in the same time */
};
/* Reads `t` to the end of the part. A damaged trace is an error, but what came before the damage has been written as a sound trace. */
int gocut_run(struct gander_gotrace *t, FILE *out, const struct gocut_opts *o, struct gocut_stats *ret, struct err *err);

struct gorepair_stats {
	uint64_t events;
	bool left_out;     /* the trace goes on behind the damage, but not as one with what is before it */
	struct err damage; /* the first one; code 0: the trace was sound */
};
/* Whatever `read` gives: either an error, and `out` is worth nothing, or a trace that reads to its end. */
int gorepair_run(int64_t (*read)(void *arg, void *to, size_t size), void *arg, FILE *out, struct gorepair_stats *ret, struct err *err);

/* --- footprint ---------------------------------------------------------------------------------------------------------------- */
struct result;
/* Fills the table also when the trace is damaged at some point (then -Exxx): up to there. */
int gofootprint_run(int64_t (*read)(void *arg, void *to, size_t size), void *arg, struct result *r, struct err *err);

#endif
