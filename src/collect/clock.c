#include "collect/collect_clock.h"

#include <math.h>
#include <string.h>

#define SAMPLE_NS 1000 /* a sample that took longer was interrupted, and says nothing */

static uint64_t counter(void)
{
#if defined(__x86_64__)
	uint32_t lo, hi;

	__asm__ volatile("rdtsc"
			 : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
#elif defined(__aarch64__)
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0"
			 : "=r"(v));
	return v;
#else
	return 0;
#endif
}

void clock_now(struct gd_clock_sample *s, bool counter_is_mono)
{
	struct gd_clock_sample t;
	uint64_t before, after;
	int i;

	/* the narrowest of a few: one may have been interrupted */
	for (i = 0, s->width = UINT64_MAX; i < 5; i++) {
		if (counter_is_mono) {
			t.mono_ns = t.counter = clock_ns(CLOCK_MONOTONIC);
			t.width = 0;
		} else {
			before = counter();
			t.mono_ns = clock_ns(CLOCK_MONOTONIC);
			after = counter();
			t.width = after - before;
			t.counter = before + t.width / 2;
		}
		t.boot_ns = clock_ns(CLOCK_BOOTTIME);
		if (t.width < s->width)
			*s = t;
	}
}

void clock_start(struct clock_line *l, bool counter_is_mono)
{
	uint64_t a, r, b, best = UINT64_MAX;
	int i;

	memset(l, 0, sizeof(*l));
	l->counter_is_mono = counter_is_mono;
	l->stride = 1;
	clock_now(&l->first, counter_is_mono);
	l->older = l->last = l->first;
	for (i = 0; i < 10; i++) {
		a = clock_ns(CLOCK_MONOTONIC);
		r = clock_ns(CLOCK_REALTIME);
		b = clock_ns(CLOCK_MONOTONIC);
		if (b - a < best) {
			best = b - a;
			l->real_minus_mono = r - (a + (b - a) / 2);
		}
	}
}

/* How far a line through this sample and the last one may lean: their widths over the time between them. */
static double lean(const struct clock_line *l, const struct gd_clock_sample *from)
{
	if (l->last.counter <= from->counter || l->last.mono_ns <= from->mono_ns)
		return HUGE_VAL;
	return ((double)from->width + (double)l->last.width + 1) / (double)(l->last.counter - from->counter);
}

void clock_older(struct clock_line *l, const struct gd_clock_sample *s)
{
	if (l->counter_is_mono || !s->counter || s->counter >= l->first.counter || s->mono_ns >= l->first.mono_ns || s->width > 100000)
		return;
	/* A program may say what it likes: the slope that it gives must be a CPU's. */
	if ((double)(l->first.mono_ns - s->mono_ns) / (double)(l->first.counter - s->counter) > 200 ||
	    (double)(l->first.mono_ns - s->mono_ns) / (double)(l->first.counter - s->counter) < 0.05)
		return;
	/* one that was interrupted is far off, however far away */
	if (lean(l, s) < lean(l, &l->older))
		l->older = *s;
}

void clock_sample(struct clock_line *l, const struct gd_clock_sample *s)
{
	uint32_t i;

	if (s->counter < l->older.counter || ++l->skipped < l->stride)
		return;
	l->skipped = 0;
	if (l->nkept == CLOCK_KEPT) {
		for (i = 0; i < CLOCK_KEPT / 2; i++)
			l->kept[i] = l->kept[2 * i];
		l->nkept = CLOCK_KEPT / 2;
		l->stride *= 2;
	}
	l->kept[l->nkept++] = *s;
}

static double mono_at(const struct clock_line *l, uint64_t at)
{
	return (double)(int64_t)(at - l->at_counter) * l->ns_per_tick;
}

void clock_fit(struct clock_line *l)
{
	const struct gd_clock_sample *from;
	uint64_t mid;
	uint32_t i;
	double d;

	clock_now(&l->last, l->counter_is_mono);
	if (l->counter_is_mono) {
		l->ns_per_tick = 1;
		l->freq_hz = 1000000000;
		l->at_counter = l->last.counter;
		l->at_epoch_ns = l->last.mono_ns + l->real_minus_mono;
		return;
	}
	from = lean(l, &l->first) <= lean(l, &l->older) ? &l->first : &l->older;
	if (l->last.counter <= from->counter || l->last.mono_ns <= from->mono_ns)
		return;
	l->ns_per_tick = (double)(l->last.mono_ns - from->mono_ns) / (double)(l->last.counter - from->counter);
	l->freq_hz = (uint64_t)llround(1e9 / l->ns_per_tick);
	/* through the recording's middle, so that rounding the frequency to whole hertz matters least */
	mid = l->first.counter / 2 + l->last.counter / 2;
	l->at_counter = mid;
	l->at_epoch_ns = l->real_minus_mono + l->last.mono_ns - (uint64_t)llround((double)(l->last.counter - mid) * l->ns_per_tick);
	/* as good as what it is drawn through */
	l->error_ns = (double)(from->width > l->last.width ? from->width : l->last.width) / 2 * l->ns_per_tick;
	for (i = 0; i < l->nkept + 1; i++) {
		const struct gd_clock_sample *s = i < l->nkept ? &l->kept[i] : &l->first;

		if ((double)s->width * l->ns_per_tick > SAMPLE_NS)
			continue;
		d = fabs(mono_at(l, s->counter) - (double)(int64_t)(s->mono_ns + l->real_minus_mono - l->at_epoch_ns));
		if (d > l->error_ns)
			l->error_ns = d;
	}
}

uint64_t clock_counter(const struct clock_line *l, uint64_t epoch_ns)
{
	return l->at_counter + (uint64_t)llround((double)(int64_t)(epoch_ns - l->at_epoch_ns) / l->ns_per_tick);
}

uint64_t clock_epoch(const struct clock_line *l, uint64_t at)
{
	return l->at_epoch_ns + (uint64_t)llround(mono_at(l, at));
}
