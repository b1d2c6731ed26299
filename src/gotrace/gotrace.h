/* What other modules of gander include: the public interface, and the bridge between its error and struct err. */
#ifndef GANDER_GOTRACE_GOTRACE_H
#define GANDER_GOTRACE_GOTRACE_H

#include "base/err.h"
#include "gander/gotrace.h"

/* The two are the same thing; the installed header cannot show ours. */
_Static_assert(sizeof(struct err) == sizeof(struct gander_err), "struct err and struct gander_err must have one layout");
static inline struct gander_err *err_public(struct err *err)
{
	return (struct gander_err *)err;
}

#endif
