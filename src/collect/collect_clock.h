/* The line from the counter to time. One for all programs of a recording, so that their traces agree with each other. */
#ifndef GANDER_COLLECT_CLOCK_H
#define GANDER_COLLECT_CLOCK_H

#include "region/region.h"

#include <stdbool.h>
#include <time.h>

#define CLOCK_KEPT 256

struct clock_line {
	bool counter_is_mono;
	struct gd_clock_sample older, first, last; /* a program's own, from before; this process's own at start and now */
	uint64_t real_minus_mono;                  /* modulo 2^64, taken once */
	struct gd_clock_sample kept[CLOCK_KEPT];   /* of the programs' packets, thinned out as they become many */
	uint32_t nkept, stride, skipped;
	/* what came out */
	double ns_per_tick;
	uint64_t freq_hz, at_counter, at_epoch_ns;
	double error_ns; /* largest distance of a sample from the line, and half the width of those that it is drawn through */
};

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void clock_now(struct gd_clock_sample *s, bool counter_is_mono);
void clock_start(struct clock_line *l, bool counter_is_mono);
void clock_older(struct clock_line *l, const struct gd_clock_sample *s);  /* a program's own: its start, a packet; ignored when implausible */
void clock_sample(struct clock_line *l, const struct gd_clock_sample *s); /* of a packet */
void clock_fit(struct clock_line *l);                                     /* takes a sample now and draws the line anew */
uint64_t clock_counter(const struct clock_line *l, uint64_t epoch_ns);
uint64_t clock_epoch(const struct clock_line *l, uint64_t counter);

#endif
