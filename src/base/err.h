/* Errors as sentences. A function that can fail for a reason worth telling takes `struct err *err`
 * last, writes one sentence into it and returns -Exxx; its caller may put a sentence of its own in front.
 * Any thread; an err belongs to one caller. `err` may be NULL: then only the code is returned. */
#ifndef GANDER_BASE_ERR_H
#define GANDER_BASE_ERR_H

#include <errno.h>

struct err {
	int code;       /* -Exxx of the last err_set(), 0 before */
	char text[480]; /* NUL-terminated; cut when too long */
};

#define ERR_INIT \
	{ \
		0, "" \
	}

/* Writes the sentence and returns `code` (negative), so that `return err_set(...)` reads well. %m works. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of what is there; returns err->code. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
