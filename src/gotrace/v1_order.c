#include "gotrace/gotrace_internal.h"
int v1_next(struct gander_gotrace *t, struct gander_gotrace_event *ev, struct err *err) { return -ENOTSUP; }
