/* The socket by which a running recording can be asked and changed. */
#ifndef GANDER_COLLECT_CONTROL_H
#define GANDER_COLLECT_CONTROL_H

#include "base/buf.h"
#include "base/err.h"

int control_listen(const char *session, struct err *err); /* a descriptor, or -Exxx */
/* Takes one caller; never waits longer than a fifth of a second for him. */
void control_serve(int listen_fd, void (*answer)(void *arg, const char *request, struct buf *reply), void *arg);

#endif
