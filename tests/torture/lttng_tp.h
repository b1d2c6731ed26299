/* The torture's events as tracepoints of LTTng-UST. A program that wants to be caught between reserve and commit defines TORTURE_IN_EVENT(check): a field's value is worked
 * out there. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER torture

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_tp.h"

#if !defined(TESTS_TORTURE_LTTNG_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TESTS_TORTURE_LTTNG_TP_H

#include <lttng/tracepoint.h>

#ifndef TORTURE_IN_EVENT
#define TORTURE_IN_EVENT(check) (check)
#endif

LTTNG_UST_TRACEPOINT_EVENT(torture, step,
			   LTTNG_UST_TP_ARGS(uint32_t, writer, uint64_t, n, uint32_t, check),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(uint32_t, writer, writer) lttng_ust_field_integer(uint64_t, n, n)
						       lttng_ust_field_integer(uint32_t, check, TORTURE_IN_EVENT(check))))

LTTNG_UST_TRACEPOINT_EVENT(torture, text,
			   LTTNG_UST_TP_ARGS(uint32_t, writer, uint64_t, n, const char *, text),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(uint32_t, writer, writer) lttng_ust_field_integer(uint64_t, n, n)
						       lttng_ust_field_string(text, text)))

#endif

#include <lttng/tracepoint-event.h>
