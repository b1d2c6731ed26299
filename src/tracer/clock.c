/* Time in the program. GANDER_CLOCK=coarse in the environment is for programs that forbid themselves the CPU's counter (strict seccomp,
 * PR_SET_TSC): clock_gettime() would kill them too, but for the clock that the kernel's tick advances. The counter's relation to nanoseconds is measured from the constructor's sample on, so it grows more
 * precise while the program runs; it is only used for the durations of spans. */
#include "tracer/tracer.h"

#include <time.h>

uint64_t tracer_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(gander__t.coarse ? CLOCK_MONOTONIC_COARSE : CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void tracer_sample(struct gd_clock_sample *s)
{
	struct timespec mono, boot;
	uint64_t before = tracer_counter(), after;

	if (gander__t.coarse) { /* no other clock may be read */
		s->counter = s->mono_ns = before;
		s->boot_ns = before + gander__t.boot_ahead;
		s->width = 0;
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &mono);
	after = tracer_counter();
	clock_gettime(CLOCK_BOOTTIME, &boot);
	s->counter = before + (after - before) / 2;
	s->width = after - before;
	s->mono_ns = (uint64_t)mono.tv_sec * 1000000000ull + (uint64_t)mono.tv_nsec;
	s->boot_ns = (uint64_t)boot.tv_sec * 1000000000ull + (uint64_t)boot.tv_nsec;
}

void tracer_coarse_clock(void)
{
	struct timespec mono, boot;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	gander__t.boot_ahead = (uint64_t)(boot.tv_sec - mono.tv_sec) * 1000000000ull + (uint64_t)(boot.tv_nsec - mono.tv_nsec);
	gander__t.coarse = true;
}

uint64_t tracer_ticks_to_ns(uint64_t ticks)
{
	struct tracer *t = &gander__t;
	uint64_t rate, now;

	if (t->clock == GD_CLOCK_MONO)
		return ticks;
	now = tracer_counter();
	if (now >= atomic_load_explicit(&t->tick_check, memory_order_relaxed)) {
		struct gd_clock_sample s;

		tracer_sample(&s);
		if (s.counter > t->start.counter && s.mono_ns > t->start.mono_ns) {
			rate = (uint64_t)(((unsigned __int128)(s.mono_ns - t->start.mono_ns) << 32) / (s.counter - t->start.counter));
			atomic_store_explicit(&t->ns_per_tick, rate, memory_order_relaxed);
			/* next look when the base line has grown by a quarter */
			atomic_store_explicit(&t->tick_check, now + (now - t->start.counter) / 4, memory_order_relaxed);
		}
	}
	rate = atomic_load_explicit(&t->ns_per_tick, memory_order_relaxed);
	return (uint64_t)(((unsigned __int128)ticks * rate) >> 32);
}
