/* Recordings with all their sources as one stream in the order of CLOCK_MONOTONIC: programs' events, the kernel's view, Go execution traces, LTTng's
 * traces of the same boot.
 *
 *	struct gander_recording *r;
 *	struct gander_recording_event ev;
 *	const struct gander_ctf_value *v;
 *	struct gander_err err = GANDER_ERR_INIT;
 *	const char *path = "recording";
 *	int n;
 *
 *	if (gander_recording_open(&r, &path, 1, NULL, &err) < 0)
 *		die(err.text);
 *	while ((n = gander_recording_next(r, &ev, &err)) > 0)
 *		if ((v = gander_recording_find(r, "duration")))
 *			use(ev.name, ev.time_ns, v->u);
 *	gander_recording_free(r);
 *
 * A path is a recording (a directory with gander.json), a directory with CTF traces below, or a Go trace. Traces of different machines or boots are refused
 * (-EXDEV): their clocks have nothing to do with each other. One alone, of which only the events are wanted, is read faster by ctf_reader.h.
 *
 * Ownership, threads, damage and limits are those of ctf_reader.h and gotrace.h; what an event points to is good until the next call of next(). */
#ifndef GANDER_RECORDING_H
#define GANDER_RECORDING_H

#include "gander/ctf_reader.h"
#include "gander/gotrace.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gander_recording;

enum gander_recording_kind {
	GANDER_RECORDING_EVENTS, /* of programs, by gander */
	GANDER_RECORDING_KERNEL, /* by gander or LTTng */
	GANDER_RECORDING_GO,     /* of a Go trace: named go.state and so on, docs/timeline.md */
	GANDER_RECORDING_OTHER,  /* CTF of others, LTTng's user space among them */
};

struct gander_recording_event {
	int64_t time_ns;                /* since 1970, by the first recording's clock */
	int64_t mono_ns;                /* CLOCK_MONOTONIC, by which they are ordered */
	int64_t goroutine, thread, pid; /* -1: not known. thread as the kernel numbers it */
	const char *name;               /* "" where events were lost */
	uint64_t lost;                  /* not 0: no event, but so many were lost until then */
	uint32_t source;                /* for gander_recording_source() */
	uint8_t kind;                   /* enum gander_recording_kind */
	uint8_t goroutine_told;         /* 1: by a Go trace, not by the event itself */
	int16_t level;                  /* as in syslog, 0 emergency to 7 debug; -1: not said */
	/* the same in its source's own terms */
	const struct gander_ctf_event *ctf;
	const struct gander_gotrace_event *go; /* NULL: not of a Go trace */
	const struct gander_gotrace *go_trace;
};

struct gander_recording_source {
	const char *path, *name; /* name: "shop 1234", "kernel" */
	const char *how;         /* its clock was brought onto the one: a sentence's part */
	int64_t pid;             /* -1: several, or not known */
	uint64_t error_ns;       /* its events are placed at most so far from their time; UINT64_MAX: not known */
	uint8_t kind;
};

enum {
	GANDER_RECORDING_NO_GO = 1,  /* leave Go traces out */
	GANDER_RECORDING_STACKS = 2, /* of Go events, for their field "func" */
};

/* Fill with GANDER_RECORDING_OPTS_INIT; a member that is 0 means its default. */
struct gander_recording_opts {
	size_t size; /* of this struct, for growth */
	unsigned flags;
	int64_t begin_mono_ns, end_mono_ns; /* only events of this time. 0: no bound */
};

#define GANDER_RECORDING_OPTS_INIT \
	{ \
		sizeof(struct gander_recording_opts), 0, 0, 0 \
	}

int gander_recording_open(struct gander_recording **ret, const char *const *paths, unsigned npaths, const struct gander_recording_opts *opts,
			  struct gander_err *err);
void gander_recording_free(struct gander_recording *r); /* NULL is fine */

/* The next event: 1, 0 at the end, or -Exxx. */
int gander_recording_next(struct gander_recording *r, struct gander_recording_event *ev, struct gander_err *err);

/* The values of the event that came last, as gander_ctf_values() gives them, also of a Go trace's: their number, or -Exxx. */
int gander_recording_values(struct gander_recording *r, const struct gander_ctf_value **ret);
/* One of them by name: of the fields first, then of the contexts; "a.b" goes into structs; an attribute by its key. NULL: there is none. */
const struct gander_ctf_value *gander_recording_find(struct gander_recording *r, const char *name);

uint32_t gander_recording_sources(const struct gander_recording *r);
/* 0, or -ENOENT. The error may become smaller while the recording is read. */
int gander_recording_source(const struct gander_recording *r, uint32_t i, struct gander_recording_source *ret);

/* What was missing or broken so far, as sentences, and how many events were lost. */
uint32_t gander_recording_notes(const struct gander_recording *r);
const char *gander_recording_note(const struct gander_recording *r, uint32_t i); /* "" when there is none */
uint64_t gander_recording_lost(const struct gander_recording *r);

#ifdef __cplusplus
}
#endif

#endif
