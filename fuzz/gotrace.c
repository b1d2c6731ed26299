/* Any bytes as a Go execution trace: an end or one error, in bounded memory. */
#include "gander/gotrace.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gander_gotrace_opts opts = GANDER_GOTRACE_OPTS_INIT;
	uint64_t counts[GANDER_GOTRACE_KINDS], read[GANDER_GOTRACE_KINDS] = { 0 }, events = 0, sum = 0;
	struct gander_gotrace_exp_batch batch;
	struct gander_err err = GANDER_ERR_INIT, count_err = GANDER_ERR_INIT;
	struct gander_gotrace_event ev;
	struct gander_gotrace *t;
	const uint32_t *frames;
	int64_t last = INT64_MIN;
	unsigned n, i;
	int r, again;

	opts.max_generation_bytes = 1 << 20;
	if (gander_gotrace_open_mem(&t, data, size, &opts, &err) < 0) {
		if (!err.code || !*err.text)
			abort();
		return 0;
	}
	while ((r = gander_gotrace_next(t, &ev, &err)) > 0) {
		if (events++ && ev.time_ns <= last)
			abort();
		read[ev.kind]++;
		last = ev.time_ns == INT64_MAX ? INT64_MIN : ev.time_ns;
		n = gander_gotrace_stack(t, ev.stack, &frames);
		for (i = 0; i < n; i++)
			sum += strlen(gander_gotrace_string(t, gander_gotrace_frame(t, frames[i])->func));
		if (ev.kind == GANDER_GOTRACE_LOG)
			sum += strlen(ev.log.message);
		if (ev.kind == GANDER_GOTRACE_SYNC)
			for (i = 0; i < ev.sync.exp_batches; i++)
				if (gander_gotrace_exp_batch(t, i, &batch) < 0 || (batch.size && sum == ((const uint8_t *)batch.data)[batch.size - 1]))
					sum++;
	}
	if (r < 0 && (err.code != r || !*err.text))
		abort();
	again = gander_gotrace_next(t, &ev, NULL);
	if (again != r)
		abort();
	gander_gotrace_free(t);

	/* Counting sees the same. */
	if (gander_gotrace_open_mem(&t, data, size, &opts, NULL) < 0)
		abort();
	again = gander_gotrace_count(t, counts, &count_err);
	if (again != r || memcmp(counts, read, sizeof(read)) || (r < 0 && strcmp(err.text, count_err.text)))
		abort();
	gander_gotrace_free(t);
	return sum == UINT64_MAX;
}
