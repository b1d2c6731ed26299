#include "base/near.h"

#include <stdlib.h>
#include <string.h>

/* Insertions, deletions, changes and swaps of neighbours that make one of the other. */
static unsigned distance(const char *a, size_t alen, const char *b, size_t blen)
{
	unsigned row[3][NEAR_MAX + 1], *before = row[0], *last = row[1], *now = row[2], *free_row, best;
	size_t i, k;

	for (k = 0; k <= blen; k++)
		last[k] = (unsigned)k;
	memcpy(before, last, sizeof(row[0]));
	for (i = 1; i <= alen; i++) {
		now[0] = (unsigned)i;
		for (k = 1; k <= blen; k++) {
			best = last[k - 1] + (a[i - 1] != b[k - 1]);
			if (last[k] + 1 < best)
				best = last[k] + 1;
			if (now[k - 1] + 1 < best)
				best = now[k - 1] + 1;
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] && before[k - 2] + 1 < best)
				best = before[k - 2] + 1;
			now[k] = best;
		}
		free_row = before;
		before = last;
		last = now;
		now = free_row;
	}
	return last[blen];
}

void near_init(struct near *n, const char *word)
{
	n->word = word;
	n->distance = ~0u;
	n->best[0] = 0;
}

void near_offer(struct near *n, const char *name, size_t len)
{
	size_t word = strlen(n->word);
	unsigned d;

	if (!len || len > NEAR_MAX || word > NEAR_MAX)
		return;
	d = distance(n->word, word, name, len);
	if (d >= n->distance)
		return;
	n->distance = d;
	memcpy(n->best, name, len);
	n->best[len] = 0;
}

const char *near_best(const struct near *n)
{
	size_t len = strlen(n->word);

	return n->distance <= 1 + len / 4 && n->distance < len ? n->best : NULL;
}
