/* Log-linear histogram of u64 values: one layout for C, Go, BPF and JSON. Values below 16 have a bucket each;
 * above, each power of two has 16 buckets, so a bucket is at most 6.25 % wide. Histograms add up bucket by bucket:
 * percentiles of merged data are as good as those of the parts. */
#ifndef GANDER_BASE_HIST_H
#define GANDER_BASE_HIST_H

#include <stdint.h>

#define HIST_SUB     16
#define HIST_BUCKETS ((64 - 4) * HIST_SUB + HIST_SUB)

struct hist {
	uint64_t count, sum, min, max; /* min is meaningless while count is 0 */
	uint64_t bucket[HIST_BUCKETS];
};

static inline unsigned hist_index(uint64_t v)
{
	unsigned top;

	if (v < HIST_SUB)
		return (unsigned)v;
	top = 63u - (unsigned)__builtin_clzll(v);
	return (top - 3) * HIST_SUB + (unsigned)((v >> (top - 4)) & (HIST_SUB - 1));
}

uint64_t hist_low(unsigned index);  /* smallest value of the bucket */
uint64_t hist_high(unsigned index); /* largest value of the bucket */
void hist_add(struct hist *h, uint64_t v);
void hist_add_n(struct hist *h, uint64_t v, uint64_t n);
void hist_merge(struct hist *into, const struct hist *from);
/* The value below which a share q (0..1) of the values lies: the bucket's middle, kept within min and max. 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);

/* The same layout for tables of thousands of histograms: buckets come an octave at a time, when first used
 * (a typical latency distribution takes 0.5 to 1 KiB instead of 7.8). A zeroed struct is an empty one. */
struct hist_lean {
	uint64_t count, sum, min, max;
	uint64_t lost;     /* values whose octave could not be allocated: counted and summed, but in no bucket */
	uint8_t low, high; /* octaves low .. high-1 are in `octave` */
	uint64_t (*octave)[HIST_SUB];
};

void hist_lean_done(struct hist_lean *h);
int hist_lean_octave(struct hist_lean *h, unsigned octave); /* makes room; 0 or -ENOMEM */
void hist_lean_merge(struct hist_lean *into, const struct hist_lean *from);
uint64_t hist_lean_quantile(const struct hist_lean *h, double q);
/* The bounds of the quantile at about 95 % confidence, by the ranks of a binomial: what a repetition could have given. */
void hist_lean_quantile_ci(const struct hist_lean *h, double q, uint64_t *low, uint64_t *high);
uint64_t hist_lean_bucket(const struct hist_lean *h, unsigned index);

static inline void hist_lean_add(struct hist_lean *h, uint64_t v)
{
	unsigned i = hist_index(v), o = i / HIST_SUB;

	if (!h->count || v < h->min)
		h->min = v;
	if (v > h->max)
		h->max = v;
	h->count++;
	h->sum += v;
	if ((o < h->low || o >= h->high) && hist_lean_octave(h, o) < 0) {
		h->lost++;
		return;
	}
	h->octave[o - h->low][i % HIST_SUB]++;
}

#endif
