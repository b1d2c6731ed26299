/* The smallest program with events: one event a second, or as often as its argument says, until it is stopped.
 *
 *     cc hello.c $(pkg-config --cflags --libs gander) && ./a.out
 *     gander record -p a.out --for 5s -o /tmp/hello && gander events /tmp/hello
 */
#include <gander/gander.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

GANDER_EVENT(hello, "hello.tick", GANDER_INFO, (u64, n), (str, text))

int main(int argc, char **argv)
{
	long per_second = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
	long count = argc > 2 ? strtol(argv[2], NULL, 10) : -1;
	uint64_t n;

	if (per_second < 1 || per_second > 1000000) {
		fprintf(stderr, "usage: hello [EVENTS-PER-SECOND [EVENTS]]\n");
		return 2;
	}
	for (n = 0; count < 0 || n < (uint64_t)count; n++) {
		hello(n, "hello, world"); /* off: a load and a branch */
		usleep(1000000 / (useconds_t)per_second);
	}
	return 0;
}
