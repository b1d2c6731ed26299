/* The events of the torture's libraries as tracepoints of LTTng-UST: a provider of their own, or a tracepoint of the program's would call the probes of both. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER torture_plug

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_plug_tp.h"

#if !defined(TESTS_TORTURE_LTTNG_PLUG_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TESTS_TORTURE_LTTNG_PLUG_TP_H

#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(torture_plug, step,
			   LTTNG_UST_TP_ARGS(uint32_t, writer, uint64_t, n, uint32_t, check),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(uint32_t, writer, writer) lttng_ust_field_integer(uint64_t, n, n)
						       lttng_ust_field_integer(uint32_t, check, check)))

LTTNG_UST_TRACEPOINT_EVENT(torture_plug, malloc,
			   LTTNG_UST_TP_ARGS(uint64_t, size),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(uint64_t, size, size)))

#endif

#include <lttng/tracepoint-event.h>
