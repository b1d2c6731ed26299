/* Emits N events of every LTTng-UST field type, for comparing readers. With a second argument, sleeps so many microseconds between them; with a third there
 * is an event of gander's before and after each of LTTng's. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_types_tp.h"

#include "gander/gander.h"

#include <stdlib.h>
#include <unistd.h>

GANDER_EVENT(on_before, "both.before", GANDER_INFO, (u32, n))
GANDER_EVENT(on_after, "both.after", GANDER_INFO, (u32, n))

int main(int argc, char **argv)
{
	static const int64_t list[3] = { -1, INT64_MAX, 77 };
	int n = argc > 1 ? atoi(argv[1]) : 100, pause_us = argc > 2 ? atoi(argv[2]) : 0, i;

	for (i = 0; i < n; i++) {
		if (argc > 3)
			on_before((unsigned)i);
		lttng_ust_tracepoint(gander_test, all, i, i % 3 ? "plain" : "caf\303\251 \"q\" \\ \n", list, "ab\"de\\g", i * 0.1);
		if (argc > 3)
			on_after((unsigned)i);
		if (i % 10 == 0)
			lttng_ust_tracepoint(gander_test, none);
		if (pause_us)
			usleep((unsigned)pause_us);
	}
	return 0;
}
