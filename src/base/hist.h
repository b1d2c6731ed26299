/* Log-linear histogram of u64 values: one layout for C, Go, BPF and JSON. Values below 16 have a bucket each;
 * above, each power of two has 16 buckets, so a bucket is at most 6.25 % wide. Histograms add up bucket by bucket:
 * percentiles of merged data are as good as those of the parts. */
#ifndef GANDER_BASE_HIST_H
#define GANDER_BASE_HIST_H

#include <stdint.h>

#define HIST_SUB 16
#define HIST_BUCKETS ((64 - 4) * HIST_SUB + HIST_SUB)

struct hist {
	uint64_t count, sum, min, max; /* min is meaningless while count is 0 */
	uint64_t bucket[HIST_BUCKETS];
};

unsigned hist_index(uint64_t v);
uint64_t hist_low(unsigned index); /* smallest value of the bucket */
uint64_t hist_high(unsigned index); /* largest value of the bucket */
void hist_add(struct hist *h, uint64_t v);
void hist_add_n(struct hist *h, uint64_t v, uint64_t n);
void hist_merge(struct hist *into, const struct hist *from);
/* The value below which a share q (0..1) of the values lies: the bucket's middle, kept within min and max. 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
