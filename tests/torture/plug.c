/* A library with events of its own, for dlopen. Built three times: against libgander.so, and twice with libgander inside; and with LTTng's tracepoints. */
#include "torture.h"

#ifdef WITH_LTTNG
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_plug_tp.h"
#define on_plug(writer, n, check) lttng_ust_tracepoint(torture_plug, step, writer, n, check)
#else
#include "gander/gander.h"

GANDER_EVENT(on_plug, "torture.step", GANDER_INFO, (u32, writer), (u64, n), (u32, check))
#endif

__attribute__((visibility("default"))) void plug_emit(struct count_writer *w, uint32_t writer)
{
	on_plug(writer, w->n, CHECK_OF(w->n));
	w->n++;
}
