/* Mappings of files that another process may shrink. Touching what is no longer there would be a SIGBUS; here the page
 * becomes zeros and the mapping's owner learns it. Everything read from a region is checked anyway, and zeros are
 * only one more thing that a hostile region may hold. One thread. */
#ifndef GANDER_COLLECT_GUARD_H
#define GANDER_COLLECT_GUARD_H

#include "base/err.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_MAX 4096 /* mappings at a time */

/* *hit is set to 1 when a page was missing; it must live as long as the mapping is guarded. */
int guard_add(void *start, size_t len, volatile sig_atomic_t *hit, struct err *err);
void guard_remove(void *start);

#endif
