/* Declares very many classes when it runs, emits an event of each, and says how many of them were recorded.
 *
 *     classes N
 *
 * Waits until it is recorded; prints the events emitted and the classes that are off. */
#include "gander/gander.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

GANDER_EVENT(on_first, "classes.first", GANDER_INFO, (u32, n))

int main(int argc, char **argv)
{
	const struct gander_field field = { .name = "n", .type = GANDER_T_U32 };
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : 0, i, emitted = 0, off = 0;
	char name[40];

	for (i = 0; i < 20000 && !on_first_enabled(); i++)
		usleep(1000);
	for (i = 0; i < n; i++) {
		const struct gander_event *ev;
		struct gander_builder b;
		unsigned char buf[8];

		snprintf(name, sizeof(name), "classes.class%ld", i);
		ev = gander_declare(name, GANDER_INFO, 0, &field, 1);
		if (!gander_enabled(ev)) {
			off++;
			continue;
		}
		gander_begin(&b, ev, buf, sizeof(buf));
		gander_put_u32(&b, (uint32_t)i);
		gander_commit(&b);
		emitted++;
	}
	printf("%ld %ld\n", emitted, off);
	return 0;
}
