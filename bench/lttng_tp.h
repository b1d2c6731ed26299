/* The peer's tracepoints: the same events as bench/c_events.c, in LTTng-UST's own way. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER peer

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_tp.h"

#if !defined(BENCH_LTTNG_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define BENCH_LTTNG_TP_H

#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(peer, intlong,
			   LTTNG_UST_TP_ARGS(int, a, long, b),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(int, a, a) lttng_ust_field_integer(long, b, b)))

LTTNG_UST_TRACEPOINT_EVENT(peer, string,
			   LTTNG_UST_TP_ARGS(const char *, s),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_string(s, s)))

LTTNG_UST_TRACEPOINT_EVENT(peer, mixed,
			   LTTNG_UST_TP_ARGS(int, a, int, b, int, c, int, d, const char *, s),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(int, a, a) lttng_ust_field_integer(int, b, b)
						       lttng_ust_field_integer(int, c, c) lttng_ust_field_integer(int, d, d) lttng_ust_field_string(s, s)))

#endif

#include <lttng/tracepoint-event.h>
