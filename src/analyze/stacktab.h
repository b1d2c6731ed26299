/* Durations by stack: what most tables of the analyses are. An entry is a (stack, sub key) pair; the sub key is a reason, a kind,
 * a cause. Finding one is an array look-up and a walk over the stack's few sub keys. One owner. */
#ifndef GANDER_ANALYZE_STACKTAB_H
#define GANDER_ANALYZE_STACKTAB_H

#include "base/hist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct st_ent {
	uint32_t stack, sub, next; /* next: index + 1 */
	uint32_t open;             /* durations whose begin or end the trace does not hold */
	uint64_t open_ns;          /* their time inside the trace */
	uint64_t extra_ns, extra;  /* what the analysis wants to add up besides */
	struct hist_lean hist;     /* whole durations */
};

struct stacktab {
	struct st_ent *ent;
	uint32_t n, cap, *first, nfirst; /* first: by stack, index + 1 */
	bool failed;
};

void stacktab_done(struct stacktab *t);
struct st_ent *stacktab_add(struct stacktab *t, uint32_t stack, uint32_t sub);

static inline struct st_ent *stacktab_get(struct stacktab *t, uint32_t stack, uint32_t sub)
{
	uint32_t i;

	if (stack < t->nfirst)
		for (i = t->first[stack]; i; i = t->ent[i - 1].next)
			if (t->ent[i - 1].sub == sub)
				return &t->ent[i - 1];
	return stacktab_add(t, stack, sub); /* NULL: out of memory */
}

static inline void stacktab_span(struct stacktab *t, uint32_t stack, uint32_t sub, uint64_t ns, bool open)
{
	struct st_ent *e = stacktab_get(t, stack, sub);

	if (!e)
		return;
	if (open) {
		e->open++;
		e->open_ns += ns;
	} else {
		hist_lean_add(&e->hist, ns);
	}
}

static inline uint64_t st_total_ns(const struct st_ent *e)
{
	return e->hist.sum + e->open_ns;
}

/* All whole durations in one histogram (added to `to`). */
void stacktab_merge(const struct stacktab *t, struct hist_lean *to);

/* Indices by falling total time; the caller frees. *n says how many. NULL when empty or out of memory. */
uint32_t *stacktab_sorted(const struct stacktab *t, uint32_t *n);

#endif
