/* A library with events of its own, for dlopen. Built three times: against libgander.so, and twice with libgander inside. */
#include "torture.h"

#include "gander/gander.h"

GANDER_EVENT(on_plug, "torture.step", GANDER_INFO, (u32, writer), (u64, n), (u32, check))

__attribute__((visibility("default"))) void plug_emit(struct count_writer *w, uint32_t writer)
{
	on_plug(writer, w->n, CHECK_OF(w->n));
	w->n++;
}
