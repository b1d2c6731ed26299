/* "Did you mean": the nearest of the names that there are. Any thread; nothing is allocated. */
#ifndef GANDER_BASE_NEAR_H
#define GANDER_BASE_NEAR_H

#include <stddef.h>

#define NEAR_MAX 255 /* bytes of a name; longer ones are near to nothing */

struct near {
	const char *word;
	unsigned distance; /* of best */
	char best[NEAR_MAX + 1];
};

void near_init(struct near *n, const char *word);
void near_offer(struct near *n, const char *name, size_t len);
/* The name that the word was probably meant to be, NULL: none is near enough. */
const char *near_best(const struct near *n);

#endif
