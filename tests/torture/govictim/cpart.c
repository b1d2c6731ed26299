//go:build withc

/* The half in C of a program in Go and C. */
#include "torture.h"

#include "gander/gander.h"

GANDER_EVENT(on_c_step, "torture.step", GANDER_INFO, (u32, writer), (u64, n), (u32, check))

void c_emit(void *writer, uint32_t w, int count)
{
	struct count_writer *cw = writer;

	for (; count; count--) {
		uint64_t n = cw->n;

		on_c_step(w, n, CHECK_OF(n));
		__atomic_store_n(&cw->n, n + 1, __ATOMIC_RELAXED);
	}
}
