/* All that recordings hold as one stream in the order of CLOCK_MONOTONIC: programs' events, the kernel's, Go traces, LTTng's traces of the same boot.
 *
 *	struct timeline *tl;
 *	struct timeline_event ev;
 *
 *	if (timeline_open(&tl, paths, npaths, NULL, &err) < 0)
 *		...
 *	while ((n = timeline_next(tl, &ev, &err)) > 0)
 *		use(&ev);
 *	timeline_free(tl);
 *
 * A path is a recording (a directory with gander.json), a directory with CTF traces below, or a Go trace. Traces of different machines or boots are
 * refused: their clocks have nothing to do with each other. docs/timeline.md says how each clock is brought onto the one, and how exactly.
 *
 * Goroutines and threads are told across sources: while a Go trace says that goroutine 7 is on thread 1234, the kernel's events of that thread and C events are of
 * goroutine 7, and Go events of goroutine 7 are of that thread.
 *
 * Memory: that of the readers (a window a CTF stream, a generation a Go trace that is going on); Go traces are opened when their time comes. One
 * thread at a time; never prints. What an event points to is good until the next call. */
#ifndef GANDER_TIMELINE_TIMELINE_H
#define GANDER_TIMELINE_TIMELINE_H

#include "base/err.h"
#include "ctf/ctf_read.h"
#include "gotrace/gotrace.h"

struct timeline;

enum timeline_kind {
	TIMELINE_EVENTS, /* of programs, by gander */
	TIMELINE_KERNEL, /* gander's or LTTng's kernel trace */
	TIMELINE_GO,
	TIMELINE_OTHER, /* CTF of others, LTTng's user space among them */
};

struct timeline_event {
	int64_t mono_ns;
	int64_t goid, tid, pid; /* -1: not known. tid of the kernel's numbering */
	uint8_t kind;           /* enum timeline_kind */
	bool goid_told;         /* by a Go trace, not by the event itself */
	uint32_t source;        /* for timeline_source() */
	/* Go's events too: class_->name is "go.state" and so on (docs/timeline.md). time_ns is mono_ns on the wall clock of the first recording. */
	struct gander_ctf_event ctf;
	const struct gander_gotrace_event *go; /* NULL unless TIMELINE_GO */
	struct gander_gotrace *go_reader;
};

#define TIMELINE_NO_ERROR_KNOWN UINT64_MAX

struct timeline_source {
	const char *path, *name; /* name: "shop 1234", "kernel" */
	uint8_t kind;
	int64_t pid;       /* -1: several, or not known */
	uint64_t error_ns; /* its events are placed at most so far from their time, or TIMELINE_NO_ERROR_KNOWN */
	const char *how;   /* its clock was brought onto the one: a sentence's part */
};

struct timeline_opts {
	bool no_go;               /* leave Go traces out */
	bool stacks;              /* of Go events, for the field "func" */
	int64_t begin_ns, end_ns; /* only events of this time, CLOCK_MONOTONIC; 0: no bound */
};

int timeline_open(struct timeline **ret, const char *const *paths, unsigned npaths, const struct timeline_opts *opts, struct err *err);
void timeline_free(struct timeline *tl); /* NULL is fine */

/* 1, 0 at the end, -Exxx. A Go trace that breaks off is used as far as it goes, and noted. */
int timeline_next(struct timeline *tl, struct timeline_event *ev, struct err *err);

/* The values of the event that came last, as gander_ctf_values(). */
int timeline_values(struct timeline *tl, const struct timeline_event *ev, const struct gander_ctf_value **ret);

/* It as one line with a newline. 0 or -ENOMEM. */
int timeline_text(struct timeline *tl, const struct timeline_event *ev, struct ctf_out *out);
int timeline_json(struct timeline *tl, const struct timeline_event *ev, struct ctf_out *out);

unsigned timeline_sources(const struct timeline *tl);
void timeline_source(const struct timeline *tl, unsigned i, struct timeline_source *ret); /* errors may become smaller as it is read */
unsigned timeline_notes(const struct timeline *tl);
const char *timeline_note(const struct timeline *tl, unsigned i);
uint64_t timeline_lost(const struct timeline *tl);
/* CLOCK_REALTIME - CLOCK_MONOTONIC, as the first recording has it; false: none does. */
bool timeline_epoch(const struct timeline *tl, int64_t *ret_ns);

#endif
