/* What changed between two traces, and whether that is more than each trace's own unrest.
 *
 * Each quantity (time running, waits at one stack, ...) is added up in slices of 20 ms, and in slices of 4 and 16 times that. From the slices comes
 * the standard error of its mean rate; the largest of the three scales is taken, since load that comes in waves makes short slices alike. A change is
 * reported when it exceeds three standard errors of the difference. Percentiles change when their 95 % intervals, by rank, do not
 * overlap. A wait counts in the slice in which it ends. */
#ifndef GANDER_ANALYZE_GODIFF_H
#define GANDER_ANALYZE_GODIFF_H

#include "analyze/goanalysis.h"

struct godiff;
int godiff_new(struct godiff **ret, struct gostate *s); /* adds its sinks */
void godiff_free(struct godiff *d);
/* After both traces. `all`: unchanged quantities too. Returns the number of changes. */
unsigned godiff_report(const struct godiff *a, const struct godiff *b, uint64_t top, bool all, struct result *r);

#endif
