/* A pattern-defeating quicksort that makes the choices of Go's slices.SortFunc (pivots, thresholds, pseudo-random swaps), because that sort
 * is not stable and the reference reader orders events of equal time by what it leaves behind. Up to 12 elements it is an insertion sort. */
#include "gotrace/gotrace_internal.h"

#define INSERTION_MAX 12
#define NINTHER_MIN   50
#define SHIFT_MIN     50
#define PARTIAL_STEPS 5
#define SWAPS_MAX     12

static inline bool less(const struct keyed *k, size_t a, size_t b)
{
	return k[a].time < k[b].time;
}

static inline void swap(struct keyed *k, size_t a, size_t b)
{
	struct keyed t = k[a];

	k[a] = k[b];
	k[b] = t;
}

static void insertion(struct keyed *k, size_t a, size_t b)
{
	size_t i, j;

	for (i = a + 1; i < b; i++)
		for (j = i; j > a && less(k, j, j - 1); j--)
			swap(k, j, j - 1);
}

static void heap(struct keyed *k, size_t a, size_t b)
{
	size_t n = b - a, i, root, child, end;

	for (i = n / 2 + 1; i-- > 0;) {
		for (root = i; (child = 2 * root + 1) < n; root = child) {
			if (child + 1 < n && less(k, a + child, a + child + 1))
				child++;
			if (!less(k, a + root, a + child))
				break;
			swap(k, a + root, a + child);
		}
	}
	for (end = n; end-- > 0;) {
		swap(k, a, a + end);
		for (root = 0; (child = 2 * root + 1) < end; root = child) {
			if (child + 1 < end && less(k, a + child, a + child + 1))
				child++;
			if (!less(k, a + root, a + child))
				break;
			swap(k, a + root, a + child);
		}
	}
}

static size_t median(const struct keyed *k, size_t a, size_t b, size_t c, unsigned *swaps)
{
	size_t t;

	if (less(k, b, a)) {
		t = a, a = b, b = t;
		++*swaps;
	}
	if (less(k, c, b)) {
		t = b, b = c, c = t;
		++*swaps;
	}
	if (less(k, b, a)) {
		b = a;
		++*swaps;
	}
	return b;
}

static size_t choose_pivot(const struct keyed *k, size_t a, size_t b, unsigned *swaps)
{
	size_t n = b - a, i = a + n / 4, j = a + n / 4 * 2, l = a + n / 4 * 3;

	if (n >= NINTHER_MIN) {
		i = median(k, i - 1, i, i + 1, swaps);
		j = median(k, j - 1, j, j + 1, swaps);
		l = median(k, l - 1, l, l + 1, swaps);
	}
	return median(k, i, j, l, swaps);
}

/* True when the range is sorted in the end. */
static bool partial_insertion(struct keyed *k, size_t a, size_t b)
{
	size_t i = a + 1, j;
	int step;

	for (step = 0; step < PARTIAL_STEPS; step++) {
		while (i < b && !less(k, i, i - 1))
			i++;
		if (i == b)
			return true;
		if (b - a < SHIFT_MIN)
			return false;
		swap(k, i, i - 1);
		if (i - a >= 2)
			for (j = i - 1; j >= 1 && less(k, j, j - 1); j--)
				swap(k, j, j - 1);
		if (b - i >= 2)
			for (j = i + 1; j < b && less(k, j, j - 1); j++)
				swap(k, j, j - 1);
	}
	return false;
}

static void break_patterns(struct keyed *k, size_t a, size_t b)
{
	size_t n = b - a, i, other, size = 1;
	uint64_t r = n;

	while (size <= n)
		size *= 2;
	for (i = a + n / 4 * 2 - 1; i <= a + n / 4 * 2 + 1; i++) {
		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		other = (size_t)r & (size - 1);
		if (other >= n)
			other -= n;
		swap(k, i, a + other);
	}
}

static size_t partition_equal(struct keyed *k, size_t a, size_t b, size_t pivot)
{
	size_t i = a + 1, j = b - 1;

	swap(k, a, pivot);
	for (;;) {
		while (i <= j && !less(k, a, i))
			i++;
		while (i <= j && less(k, a, j))
			j--;
		if (i > j)
			return i;
		swap(k, i++, j--);
	}
}

static size_t partition(struct keyed *k, size_t a, size_t b, size_t pivot, bool *already)
{
	size_t i = a + 1, j = b - 1;
	bool first = true;

	swap(k, a, pivot);
	for (;; first = false) {
		while (i <= j && less(k, i, a))
			i++;
		while (i <= j && !less(k, j, a))
			j--;
		if (i > j)
			break;
		swap(k, i++, j--);
	}
	swap(k, j, a);
	*already = first;
	return j;
}

static void sort_range(struct keyed *k, size_t a, size_t b, unsigned limit)
{
	bool balanced = true, partitioned = true;
	size_t pivot, mid, n, i, j;
	unsigned swaps;

	for (;;) {
		n = b - a;
		if (n <= INSERTION_MAX) {
			insertion(k, a, b);
			return;
		}
		if (!limit) {
			heap(k, a, b);
			return;
		}
		if (!balanced) {
			break_patterns(k, a, b);
			limit--;
		}
		swaps = 0;
		pivot = choose_pivot(k, a, b, &swaps);
		if (swaps == SWAPS_MAX) { /* descending: turn it round */
			for (i = a, j = b - 1; i < j; i++, j--)
				swap(k, i, j);
			pivot = b - 1 - (pivot - a);
			swaps = 0;
		}
		if (balanced && partitioned && !swaps && partial_insertion(k, a, b))
			return;
		if (a > 0 && !less(k, a - 1, pivot)) {
			a = partition_equal(k, a, b, pivot);
			continue;
		}
		mid = partition(k, a, b, pivot, &partitioned);
		if (mid - a < b - mid) {
			balanced = mid - a >= n / 8;
			sort_range(k, a, mid, limit);
			a = mid + 1;
		} else {
			balanced = b - mid >= n / 8;
			sort_range(k, mid + 1, b, limit);
			b = mid;
		}
	}
}

void sort_keyed(struct keyed *k, size_t n)
{
	size_t i;

	for (i = 1; i < n && !less(k, i, i - 1); i++)
		;
	if (i < n) /* what is sorted already, the algorithm leaves alone */
		sort_range(k, 0, n, 64 - (unsigned)__builtin_clzll(n));
}
