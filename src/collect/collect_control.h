/* The socket by which a running recording can be asked and changed. */
#ifndef GANDER_COLLECT_CONTROL_H
#define GANDER_COLLECT_CONTROL_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

int control_listen(const char *session, struct err *err); /* a descriptor, or -Exxx */
/* Takes one caller; never waits longer than a fifth of a second for him. */
void control_serve(int listen_fd, void (*answer)(void *arg, const char *request, struct buf *reply), void *arg);

/* A flight recorder that has the kernel's view says so by another name that is taken, so that nobody waits for one that has not: a descriptor, or -errno. */
int control_mark_kernel(const char *session);
bool control_has_kernel(const char *session);

#endif
