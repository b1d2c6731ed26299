/* A program that does nothing, three times: alone, with libgander, with LTTng-UST. With an argument it waits for the end of its standard input,
 * so that threads, descriptors and memory can be looked at. */
#if defined(WITH_GANDER)
#include <gander/gander.h>
GANDER_EVENT(on_intlong, "start.intlong", GANDER_INFO, (i32, a), (i64, b))
GANDER_EVENT(on_string, "start.string", GANDER_INFO, (str, s))
#elif defined(WITH_LTTNG)
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_tp.h"
#endif

#include <stdio.h>

int main(int argc, char **argv)
{
	if (argc > 1)
		while (getchar() != EOF)
			;
#if defined(WITH_GANDER)
	on_intlong(argc, 2);
	on_string(argv[0]);
#elif defined(WITH_LTTNG)
	lttng_ust_tracepoint(peer, intlong, argc, 2);
#endif
	return 0;
}
