/* The Go runtime's traces on their way into a recording's go/ directory: from a region's flight ring, or over HTTP. Only whole
 * generations are written, each by one write, so a file on disk is a valid trace at any moment. docs/flight.md. One thread. */
#ifndef GANDER_COLLECT_GO_H
#define GANDER_COLLECT_GO_H

#include "base/buf.h"
#include "base/json.h"
#include "collect/collect.h"
#include "collect/collect_region.h"

#define GO_HEADER       16
#define GO_PENDING      (256u << 20) /* a generation that is larger is dropped */
#define GO_PENDING_ALL  (1u << 30)   /* of all programs of a recording together; each may have its part of it in any case */
#define GO_LEASE_NS     10000000000ull
#define GO_KEEP_MS      10000u
#define GO_KEEP_MOST_MS 600000u
#define GO_CLOSE_NS     500000000ull /* so long the generation that runs is waited for, beside its period */
#define GO_END_MARK     52
#define GO_BATCH_MAX    65536u

struct go_part {       /* one file */
	char file[96]; /* in the recording: "go/NAME-PID.trace" */
	uint64_t first_gen, last_gen, generations, bytes;
	uint64_t begin_ns, end_ns; /* CLOCK_MONOTONIC */
	char reason[96];           /* of a snapshot that the program has set aside */
};

struct go_sink {
	char dir[4100]; /* the recording's, or its chunk's */
	char name[64];  /* of the files, without their ending */
	pid_t pid;
	char comm[32];
	const char *source; /* "region", "http" */
	uint8_t header[GO_HEADER];
	bool whole; /* a trace without generations, of before Go 1.22: one piece */
	struct go_part *part;
	unsigned nparts, made;       /* of this chunk; files made so far */
	int fd;                      /* of the last part, -1: the next generation begins one */
	uint64_t generations, bytes; /* of all parts of this chunk */
	uint64_t written;            /* bytes, of all chunks */
	size_t most;                 /* of one generation, in bytes */
	uint64_t lost_generations;   /* never seen: overwritten before they were read, or without room on the disk */
	uint64_t lost_bytes;         /* the program had no memory for them, or they were damaged */
	uint64_t torn_bytes;         /* of a generation whose end never came */
	uint64_t next_gen;           /* that should come next; 0: not known */
	char reason[96];             /* of the files that begin from now on */
	/* the generation that is being read */
	struct buf pending;
	uint64_t gen, begin_ns;
};

/* What a hostile program has lost is as much as it says: a sum stays at its end. */
static inline void go_count(uint64_t *to, uint64_t n)
{
	*to = *to + n < n ? UINT64_MAX : *to + n;
}

void go_sink_init(struct go_sink *s, const char *dir, const char *comm, pid_t pid, const char *source);
void go_sink_done(struct go_sink *s);
/* Appends a batch to the generation that is being read. False: it is too large, or is no batch. */
bool go_sink_batch(struct go_sink *s, const void *data, size_t len);
/* The generation is complete: it goes into the file. */
int go_sink_end(struct go_sink *s, uint64_t end_ns, struct err *err);
/* What has been read of a generation cannot be used. */
void go_sink_drop(struct go_sink *s);
/* What comes does not follow what was: it goes into a file of its own. */
void go_sink_break(struct go_sink *s);
/* A new chunk of a rotated recording. */
void go_sink_rotate(struct go_sink *s, const char *dir);
void go_sink_totals(const struct go_sink *s, struct go_totals *t); /* added */
/* One object a file; with none, one that says that there is nothing. */
void go_sink_json(const struct go_sink *s, struct json *j, const char *boot_id);

/* The batch at data: its generation (0 where that cannot be told) and whole length; 0: it is none, or is not all there. */
size_t go_batch(const uint8_t *data, size_t len, uint64_t *gen);

/* What is wanted of a program's flight. */
struct flight_wish {
	uint32_t period_ms, keep_ms, packets; /* 0: as the program likes */
	bool follows;                         /* whoever asks reads all of it: what is set aside stays until he has it too */
};

/* One program's flight ring, read from outside. */
struct flight {
	struct region *r; /* borrowed */
	struct go_sink sink;
	int ask;      /* held, -1: none */
	bool follows; /* that ask was by somebody who reads all of it */
	bool synced;  /* pos is where a generation begins */
	bool flown;   /* it has been seen flying */
	uint64_t pos; /* read so far */
	uint32_t session;
	uint64_t last_end_ns; /* of the chunk that closed a generation, the last that was read */
	uint64_t renewed_ns;
	uint64_t lost_bytes; /* of the ring's, so many are counted */
	uint64_t had;        /* set aside up to here, and read, but somebody else who follows may not have it yet; 0: nothing */
	bool damaged;        /* it was not always what a ring can be */
	bool overtaken;      /* something was overwritten before it was read; the next end of a generation tells how much */
	/* Where a drain ends, beside having read as many bytes as the region holds: whoever writes there may never come to an end. */
	uint64_t until_ns; /* CLOCK_MONOTONIC; 0: none */
	uint64_t room;     /* so many bytes may be written */
	volatile sig_atomic_t *stop;
	int stop_over; /* when *stop is more than this; stop may be NULL */
	bool more;     /* the last drain has ended before it had all */
};

bool flight_left(const struct region *r);    /* a dead program's: there is something that nobody may have read */
bool flight_offered(const struct region *r); /* the program has the flight package */
/* Asks the program to fly. reading begins with what comes. */
int flight_ask(struct flight *f, const struct flight_wish *w, struct err *err);
/* Behind flight_ask(): makes the program look at once. An error says why it cannot be made to: then it may do so minutes later. */
int flight_wake(const struct flight *f, struct err *err);
void flight_renew(struct flight *f, uint64_t now); /* about once a second */
void flight_withdraw(struct flight *f);
/* Why it does not fly, NULL: it does, or has not looked yet. */
const char *flight_refused(struct flight *f, char why[161]);
bool flight_never(const struct flight *f); /* and never will */
bool flight_flying(const struct flight *f);
uint64_t flight_closed_ns(const struct flight *f);
bool flight_wait(const struct flight *f, uint64_t closed_ns, uint64_t limit_ns); /* until it has closed a generation after closed_ns */
uint32_t flight_period_ms(const struct flight *f);
void flight_open(struct flight *f, struct region *r, const char *dir, const char *comm, pid_t pid);
/* Reading goes on from here: the oldest that there is, or (newest) what comes from now on. */
void flight_seek(struct flight *f, bool newest);
/* Writes the whole generations that have come since, within the bounds above. since_ns: those that ended before are passed over. */
int flight_drain(struct flight *f, uint64_t since_ns, struct err *err);
/* What flight.Snapshot() has set aside; true: there is something. It stays until flight_saved_taken(). What a bound cuts off is counted as lost. */
bool flight_saved(const struct flight *f);
int flight_drain_saved(struct flight *f, struct err *err);
/* The program may have its memory back, unless somebody who follows has not read it yet: then he says so. */
void flight_saved_taken(struct flight *f);
/* Nothing more will be read: what is missing without its number being known counts as one generation, what is unread as lost bytes. */
void flight_last(struct flight *f);
void flight_done(struct flight *f);

#endif
