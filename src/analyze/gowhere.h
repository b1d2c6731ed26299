/* `--where`: picks events of a Go trace by an expression, such as
 *
 *	kind=StateTransition && to=waiting && (reason~chan || reason=select) && !(function~runtime.gcBgMarkWorker) && time>1.5s
 *
 * Comparisons (= == != < <= > >= ~ !~) joined by && || ! and parentheses. A comparison with a field that an event does not have is
 * false (so != and !~ of it are true). Texts compare whole and without regard to case, ~ asks whether one is contained. One owner. */
#ifndef GANDER_ANALYZE_GOWHERE_H
#define GANDER_ANALYZE_GOWHERE_H

#include "base/err.h"
#include "gander/gotrace.h"

#include <stdbool.h>

struct gowhere;

int gowhere_new(struct gowhere **ret, const char *text, struct err *err); /* 0 or -EINVAL with what is wrong and where */
void gowhere_free(struct gowhere *w);
bool gowhere_needs_stacks(const struct gowhere *w);
bool gowhere_matches(struct gowhere *w, const struct gander_gotrace *t, const struct gander_gotrace_event *ev); /* events in order: time counts from the first */

#endif
