/* Recordings of events, read as one stream in time order: gander's own, LTTng's (user space and kernel), and any other in CTF 1.8
 * or CTF 2.
 *
 *	struct gander_ctf *r;
 *	struct gander_ctf_event ev;
 *	const struct gander_ctf_value *v;
 *	struct gander_err err = GANDER_ERR_INIT;
 *	int n;
 *
 *	if (gander_ctf_open(&r, "recording", NULL, &err) < 0)
 *		die(err.text);
 *	while ((n = gander_ctf_next(r, &ev, &err)) > 0) {
 *		n = gander_ctf_values(r, &ev, &v);
 *		use(&ev, v, n);
 *	}
 *	gander_ctf_free(r);
 *
 * A path is a trace (a directory that holds `metadata`), or a directory with traces somewhere below: a whole recording.
 *
 * Order: by time over all streams and traces; events of the same time in the order of their streams. Clocks are taken to be what
 * their metadata says. Losses come as events of their own.
 *
 * Damage: what is whole before it is delivered, the rest is said in gander_ctf_notes(): a stream that ends within a
 * packet, a packet that is broken, an event of a class that the metadata lacks. Only what concerns the whole call is an error.
 *
 * Memory: the metadata, and for each stream a window of GANDER_CTF_WINDOW bytes (more only while a single event is larger, at most
 * GANDER_CTF_EVENT_MAX). No index is made, nothing is written.
 *
 * Threads: a reader belongs to one at a time. What is returned stays as long as is said there. */
#ifndef GANDER_CTF_READER_H
#define GANDER_CTF_READER_H

#include "gander/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GANDER_CTF_WINDOW    (128u << 10)
#define GANDER_CTF_EVENT_MAX (64u << 20)

struct gander_ctf;

enum gander_ctf_span {
	GANDER_CTF_SPAN_NONE,
	GANDER_CTF_SPAN_BEGIN, /* fields span_id, parent_id */
	GANDER_CTF_SPAN_END,   /* fields span_id, duration (ns) */
};

/* Stays until the reader is freed. */
struct gander_ctf_trace {
	const char *path;
	const char *procname, *hostname, *exe, *tracer; /* from the environment; "" */
	int64_t pid;                                    /* -1: not said */
	uint32_t number;                                /* from 0 */
};

/* Stays until the reader is freed; the same class of the same trace has the same address. */
struct gander_ctf_class {
	const char *name;
	const struct gander_ctf_trace *trace;
	uint64_t id;
	int level;       /* syslog's, 0 emergency to 7 debug; -1: not said */
	uint8_t span;    /* enum gander_ctf_span */
	uint32_t number; /* from 0, over all traces of the reader */
};

enum gander_ctf_kind {
	GANDER_CTF_EVENT,
	GANDER_CTF_LOST,         /* `lost` events were lost between time_ns and end_ns */
	GANDER_CTF_LOST_PACKETS, /* `lost` packets are missing between time_ns and end_ns */
};

struct gander_ctf_event {
	int64_t time_ns;                       /* since 1970 */
	uint64_t ticks;                        /* of the trace's clock */
	const struct gander_ctf_class *class_; /* NULL unless an event */
	const struct gander_ctf_trace *trace;
	uint32_t stream; /* for gander_ctf_stream_path() */
	uint8_t kind;
	bool cut; /* the program had to cut the payload */
	uint64_t lost;
	int64_t end_ns; /* of a loss */
	uint32_t size;  /* bytes that it takes in the stream */
};

enum gander_ctf_type {
	GANDER_CTF_I64,
	GANDER_CTF_U64,
	GANDER_CTF_F64,
	GANDER_CTF_BOOL, /* in u */
	GANDER_CTF_TEXT, /* len bytes, not NUL-terminated, UTF-8 if the program kept to it */
	GANDER_CTF_BLOB,
	GANDER_CTF_STRUCT, /* the values up to `next` are its members */
	GANDER_CTF_ARRAY,
	GANDER_CTF_SCOPE, /* first of all: the packet's context, then the event's contexts, then its fields */
};

enum gander_ctf_scope { GANDER_CTF_PACKET,
			GANDER_CTF_CONTEXT,
			GANDER_CTF_SPECIFIC,
			GANDER_CTF_FIELDS };

#define GANDER_CTF_HEX      1u
#define GANDER_CTF_DURATION 2u /* nanoseconds */
#define GANDER_CTF_TIME     4u /* nanoseconds since 1970 */
#define GANDER_CTF_ATTRS    8u /* ARRAY of STRUCTs { key, value } as one takes them for attributes */

/* Values of one event, flat: a container is followed by what it holds, then comes the one at index `next`. Lengths and tags that only
 * say how their neighbours are laid out are left out; so are structs that stand only around an array's element. */
struct gander_ctf_value {
	uint8_t type, flags;
	uint32_t next;     /* index of the next value on the same level */
	const char *name;  /* "" for elements of an array */
	const char *label; /* of an enumeration's value, the first that fits; NULL: none */
	union {
		int64_t i;
		uint64_t u;
		double f;
		struct {
			const char *text;
			uint32_t len;
		};
		uint32_t count; /* SCOPE: enum gander_ctf_scope; STRUCT, ARRAY: how many it holds */
	};
};

enum {
	GANDER_CTF_FOLLOW = 1, /* the recording is still growing: see gander_ctf_next() */
};

/* Fill with GANDER_CTF_OPTS_INIT; a member that is 0 means its default. */
struct gander_ctf_opts {
	size_t size; /* of this struct, for growth */
	unsigned flags;
	int64_t begin_ns, end_ns; /* only events of this time; whole packets outside are skipped. 0: no bound */
};

#define GANDER_CTF_OPTS_INIT \
	{ \
		sizeof(struct gander_ctf_opts), 0, 0, 0 \
	}

/* 0 or -Exxx. A trace whose metadata is broken is an error; a directory without any trace too (-ENOENT), unless it is followed. */
int gander_ctf_open(struct gander_ctf **ret, const char *path, const struct gander_ctf_opts *opts, struct gander_err *err);

/* The same over several paths. */
int gander_ctf_open_all(struct gander_ctf **ret, const char *const *paths, unsigned npaths, const struct gander_ctf_opts *opts,
			struct gander_err *err);
void gander_ctf_free(struct gander_ctf *r); /* NULL is fine */

/* The next event: 1, 0 at the end, or -Exxx. Followed: 0 means nothing new for now; call again later. Events then come in order as far as
 * all streams are written within a third of a second. */
int gander_ctf_next(struct gander_ctf *r, struct gander_ctf_event *ev, struct gander_err *err);

/* The values of the event that came last: their number, or -Exxx. They stay until the next call of next(). */
int gander_ctf_values(struct gander_ctf *r, const struct gander_ctf_event *ev, const struct gander_ctf_value **ret);

/* The value of a field by name: of the fields first, then of the contexts. "a.b" goes into structs; an attribute is found by its key.
 * NULL: there is none. */
const struct gander_ctf_value *gander_ctf_find(struct gander_ctf *r, const struct gander_ctf_event *ev, const char *name);

/* Counts what is left, without order: much faster than next(). By class number, into counts[0 .. gander_ctf_classes()), which may be NULL.
 * Returns 0 or -Exxx. */
int gander_ctf_count(struct gander_ctf *r, uint64_t *counts, uint64_t *ret_events, struct gander_err *err);

uint32_t gander_ctf_classes(const struct gander_ctf *r);
const struct gander_ctf_class *gander_ctf_class(const struct gander_ctf *r, uint32_t number);
uint32_t gander_ctf_traces(const struct gander_ctf *r);
const struct gander_ctf_trace *gander_ctf_trace(const struct gander_ctf *r, uint32_t number);
uint32_t gander_ctf_streams(const struct gander_ctf *r);
const char *gander_ctf_stream_path(const struct gander_ctf *r, uint32_t stream); /* "" when there is none */

/* What was missing or broken so far, as sentences. */
uint32_t gander_ctf_notes(const struct gander_ctf *r);
const char *gander_ctf_note(const struct gander_ctf *r, uint32_t i);

/* Lost so far, as the streams say. */
uint64_t gander_ctf_lost(const struct gander_ctf *r);

#ifdef __cplusplus
}
#endif

#endif
