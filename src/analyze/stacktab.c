#include "analyze/stacktab.h"

#include <stdlib.h>
#include <string.h>

void stacktab_done(struct stacktab *t)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		hist_lean_done(&t->ent[i].hist);
	free(t->ent);
	free(t->first);
	memset(t, 0, sizeof(*t));
}

struct st_ent *stacktab_add(struct stacktab *t, uint32_t stack, uint32_t sub)
{
	struct st_ent *e;

	if (stack >= t->nfirst) {
		uint32_t n = stack < UINT32_MAX / 4 ? (stack + 64) * 2 : stack, *first = realloc(t->first, (size_t)n * sizeof(*first));

		if (!first) {
			t->failed = true;
			return NULL;
		}
		memset(first + t->nfirst, 0, (size_t)(n - t->nfirst) * sizeof(*first));
		t->first = first;
		t->nfirst = n;
	}
	if (t->n == t->cap) {
		uint32_t cap = t->cap ? t->cap * 2 : 64;

		e = realloc(t->ent, (size_t)cap * sizeof(*e));
		if (!e) {
			t->failed = true;
			return NULL;
		}
		t->ent = e;
		t->cap = cap;
	}
	e = &t->ent[t->n++];
	memset(e, 0, sizeof(*e));
	e->stack = stack;
	e->sub = sub;
	e->next = t->first[stack];
	t->first[stack] = t->n;
	return e;
}

static int by_total(const void *a, const void *b, void *arg)
{
	const struct stacktab *t = arg;
	const struct st_ent *x = &t->ent[*(const uint32_t *)a], *y = &t->ent[*(const uint32_t *)b];
	uint64_t p = st_total_ns(x), q = st_total_ns(y);

	if (p != q)
		return p < q ? 1 : -1;
	return x->stack != y->stack ? (x->stack < y->stack ? -1 : 1) : x->sub < y->sub ? -1
										       : x->sub > y->sub;
}

uint32_t *stacktab_sorted(const struct stacktab *t, uint32_t *n)
{
	uint32_t i, *order;

	*n = 0;
	if (!t->n)
		return NULL;
	order = malloc((size_t)t->n * sizeof(*order));
	if (!order)
		return NULL;
	for (i = 0; i < t->n; i++)
		order[i] = i;
	qsort_r(order, t->n, sizeof(*order), by_total, (void *)t);
	*n = t->n;
	return order;
}

void stacktab_merge(const struct stacktab *t, struct hist_lean *to)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		hist_lean_merge(to, &t->ent[i].hist);
}
