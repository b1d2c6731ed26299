/* pprof's profile.proto, written as a stream: each message leaves as soon as it is known, gzip-compressed, so memory
 * follows the distinct strings and locations, not the samples. What comes out opens in `go tool pprof`.
 * One owner, no threads. Errors of the output stick and are told by pprof_finish(). */
#ifndef GANDER_PPROF_PPROF_H
#define GANDER_PPROF_PPROF_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct pprof;

struct pprof_label {
	const char *key;
	const char *str; /* a text label, or NULL and: */
	int64_t num;
	const char *unit; /* of num; may be NULL */
};

/* `out` stays the caller's and is not closed. */
int pprof_open(struct pprof **ret, FILE *out, struct err *err);
void pprof_free(struct pprof *p);

/* Before the first sample. The last sample type is the one that `go tool pprof` shows first. */
void pprof_sample_type(struct pprof *p, const char *type, const char *unit);
void pprof_period(struct pprof *p, const char *type, const char *unit, int64_t period);
void pprof_time(struct pprof *p, int64_t time_ns, int64_t duration_ns);
void pprof_comment(struct pprof *p, const char *text);
/* One mapping for the whole executable; without one, locations have none. */
void pprof_mapping(struct pprof *p, const char *file, const char *build_id);

/* The id (from 1) of this place; the same place gives the same id. 0: out of memory, told at the end. */
uint64_t pprof_location(struct pprof *p, uint64_t address, const char *func, const char *file, int64_t line);
/* Leaf first. `values` are as many as there are sample types. */
void pprof_sample(struct pprof *p, const uint64_t *location, unsigned nlocation, const int64_t *values,
		  const struct pprof_label *labels, unsigned nlabels);

/* Writes the rest; 0, or what went wrong since pprof_open(). */
int pprof_finish(struct pprof *p, struct err *err);

#endif
