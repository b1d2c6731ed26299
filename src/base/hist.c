#include "base/hist.h"

unsigned hist_index(uint64_t v)
{
	unsigned top;

	if (v < HIST_SUB)
		return (unsigned)v;
	top = 63u - (unsigned)__builtin_clzll(v);
	return (top - 3) * HIST_SUB + (unsigned)((v >> (top - 4)) & (HIST_SUB - 1));
}

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
	return v < h->min ? h->min : v > h->max ? h->max : v;
}
