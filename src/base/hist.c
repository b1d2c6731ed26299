#include "base/hist.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

uint64_t hist_low(unsigned index)
{
	unsigned top;

	if (index < HIST_SUB)
		return index;
	top = index / HIST_SUB + 3;
	return (1ull << top) | ((uint64_t)(index % HIST_SUB) << (top - 4));
}

uint64_t hist_high(unsigned index)
{
	return index + 1 < HIST_BUCKETS ? hist_low(index + 1) - 1 : UINT64_MAX;
}

void hist_add_n(struct hist *h, uint64_t v, uint64_t n)
{
	if (!n)
		return;
	if (!h->count || v < h->min)
		h->min = v;
	if (v > h->max)
		h->max = v;
	h->count += n;
	h->sum += v * n;
	h->bucket[hist_index(v)] += n;
}

void hist_add(struct hist *h, uint64_t v)
{
	hist_add_n(h, v, 1);
}

void hist_merge(struct hist *into, const struct hist *from)
{
	unsigned i;

	if (!from->count)
		return;
	if (!into->count || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	into->sum += from->sum;
	for (i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t rank, seen = 0, v;
	unsigned i;

	if (!h->count)
		return 0;
	rank = (uint64_t)(q * (double)h->count);
	if (rank >= h->count)
		return h->max;
	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > rank)
			break;
	}
	if (i == HIST_BUCKETS)
		return h->max;
	v = hist_low(i) + (hist_high(i) - hist_low(i)) / 2;
	return v < h->min ? h->min : v > h->max ? h->max
						: v;
}

void hist_lean_done(struct hist_lean *h)
{
	free(h->octave);
	memset(h, 0, sizeof(*h));
}

int hist_lean_octave(struct hist_lean *h, unsigned octave)
{
	unsigned low = h->octave && h->low < octave ? h->low : octave;
	unsigned high = h->octave && h->high > octave + 1 ? h->high : octave + 1;
	uint64_t(*o)[HIST_SUB] = calloc(high - low, sizeof(*o));

	if (!o)
		return -ENOMEM;
	if (h->octave)
		memcpy(o + (h->low - low), h->octave, (size_t)(h->high - h->low) * sizeof(*o));
	free(h->octave);
	h->octave = o;
	h->low = (uint8_t)low;
	h->high = (uint8_t)high;
	return 0;
}

void hist_lean_merge(struct hist_lean *into, const struct hist_lean *from)
{
	unsigned o, i;

	if (!from->count)
		return;
	if (!into->count || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	into->sum += from->sum;
	into->lost += from->lost;
	for (o = from->low; o < from->high; o++) {
		bool failed = (o < into->low || o >= into->high) && hist_lean_octave(into, o) < 0;

		for (i = 0; i < HIST_SUB; i++) {
			uint64_t n = from->octave[o - from->low][i];

			if (failed)
				into->lost += n;
			else
				into->octave[o - into->low][i] += n;
		}
	}
}

uint64_t hist_lean_bucket(const struct hist_lean *h, unsigned index)
{
	unsigned o = index / HIST_SUB;

	return o < h->low || o >= h->high ? 0 : h->octave[o - h->low][index % HIST_SUB];
}

/* The value at a rank (0 the smallest). */
static uint64_t lean_at_rank(const struct hist_lean *h, uint64_t rank)
{
	uint64_t seen = 0, v;
	unsigned o, i;

	if (rank >= h->count)
		return h->max;
	for (o = h->low; o < h->high; o++)
		for (i = 0; i < HIST_SUB; i++) {
			unsigned at = o * HIST_SUB + i;

			seen += h->octave[o - h->low][i];
			if (seen <= rank)
				continue;
			v = hist_low(at) + (hist_high(at) - hist_low(at)) / 2;
			return v < h->min ? h->min : v > h->max ? h->max
								: v;
		}
	return h->max;
}

uint64_t hist_lean_quantile(const struct hist_lean *h, double q)
{
	return h->count ? lean_at_rank(h, (uint64_t)(q * (double)h->count)) : 0;
}

void hist_lean_quantile_ci(const struct hist_lean *h, double q, uint64_t *low, uint64_t *high)
{
	double n = (double)h->count, half = 1.96 * sqrt(n * q * (1 - q)), r = q * n - half;

	if (!h->count) {
		*low = *high = 0;
		return;
	}
	*low = r < 0 ? h->min : lean_at_rank(h, (uint64_t)r);
	*high = lean_at_rank(h, (uint64_t)(q * n + half + 1));
}
