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

/* What Go's conversion of a float64 to int64 gives on amd64, out of range too. */
static inline int64_t gotrace_trunc_ns(double d)
{
	if (!(d > -9223372036854775808.0 && d < 9223372036854775808.0))
		return INT64_MIN;
	return (int64_t)d;
}

/* For who reads the bytes without the events. NN of "go 1.NN trace" and three zero bytes in the 16 of `head`; 0: something else. */
unsigned gotrace_version(const void *head);
int gotrace_wire_args(unsigned type);       /* of a v2 event, without its time; -1: no such event */
const char *gotrace_v1_name(unsigned type); /* of a v1 record; NULL: no such record */

/* Whether the runtime itself writes this text (reasons of waits, causes of pauses, names of GC workers): it says nothing of the program. */
bool gander_gotrace_runtime_word(const char *s, size_t n);
bool gander_gotrace_reason_word(const char *s, size_t n); /* of these those that every generation's table begins with */

#endif
