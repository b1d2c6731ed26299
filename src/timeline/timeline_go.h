/* Go events in the shape of others: a class name, contexts, fields. */
#ifndef GANDER_TIMELINE_TIMELINE_GO_H
#define GANDER_TIMELINE_TIMELINE_GO_H

#include "gander/ctf_reader.h"
#include "gander/gotrace.h"

#define GO_CLASSES 16u
#define GO_VALUES  16u

extern const char *const timeline_go_names[GO_CLASSES];

/* Which of the names; -1: an event that is not shown. */
int timeline_go_class(const struct gander_gotrace_event *e);

/* Fills v with at most GO_VALUES values; returns how many. tid: -1 when the trace's threads are not the kernel's. Texts belong to the reader. */
uint32_t timeline_go_values(const struct gander_gotrace *t, const struct gander_gotrace_event *e, int64_t goid, int64_t tid, struct gander_ctf_value v[GO_VALUES]);

#endif
