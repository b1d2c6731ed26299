/* What went wrong, as a sentence. Filled by the callee when a call returns a negative number (-Exxx), untouched otherwise.
 * One owner; NULL is accepted everywhere and means "only the number". */
#ifndef GANDER_ERR_H
#define GANDER_ERR_H

struct gander_err {
	int code;       /* -Exxx, 0 before */
	char text[480]; /* NUL-terminated, one sentence in lower case; cut when too long */
};

#define GANDER_ERR_INIT \
	{ \
		0, "" \
	}

#endif
