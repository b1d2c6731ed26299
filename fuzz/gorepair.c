/* Repair and cut: whatever the bytes are, either one error, or a trace that the reader takes wholly. */
#include "../tests/lib/memread.h"
#include "export/export.h"
#include "gotrace/gotrace.h"

#include <stdlib.h>
#include <string.h>

/* Reads a trace that was written here; it must be sound. */
static uint64_t read_whole(const char *data, size_t size)
{
	struct gander_err err = GANDER_ERR_INIT;
	uint64_t counts[GANDER_GOTRACE_KINDS], n = 0;
	struct gander_gotrace *t;
	unsigned i;

	if (gander_gotrace_open_mem(&t, data, size, NULL, &err) < 0 || gander_gotrace_count(t, counts, &err) < 0) {
		fprintf(stderr, "what was written is damaged: %s\n", err.text);
		abort();
	}
	for (i = 0; i < GANDER_GOTRACE_KINDS; i++)
		n += counts[i];
	gander_gotrace_free(t);
	return n;
}

static void cut(const char *data, size_t size, uint64_t events, const uint8_t *pick)
{
	uint64_t goroutine[2] = { pick[0] & 63, pick[1] & 63 };
	struct gocut_opts o = { .goroutine = goroutine, .ngoroutine = pick[2] & 1 ? 2 : 0 };
	struct gocut_stats stats;
	struct err err = ERR_INIT;
	struct gander_gotrace *t;
	char *out = NULL;
	size_t len;
	FILE *f;
	int r;

	if (gander_gotrace_open_mem(&t, data, size, NULL, NULL) < 0)
		abort();
	o.from_ns = pick[3] * 1000ull << (pick[2] >> 4);
	if (pick[2] & 2)
		o.to_ns = o.from_ns + pick[4] * 1000ull;
	if (pick[2] & 4)
		o.first_generation = o.last_generation = 2;
	f = open_memstream(&out, &len);
	r = gocut_run(t, f, &o, &stats, &err);
	fclose(f);
	gander_gotrace_free(t);
	if (r < 0 && !*err.text)
		abort();
	if (r >= 0 && read_whole(out, len) < 1 && events)
		abort();
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory m = { data, size };
	struct gorepair_stats stats;
	struct err err = ERR_INIT;
	char *out = NULL;
	size_t len;
	FILE *f;
	int r;

	f = open_memstream(&out, &len);
	if (!f)
		return 0;
	r = gorepair_run(read_memory, &m, f, &stats, &err);
	fclose(f);
	if (r < 0 && !*err.text)
		abort();
	if (r >= 0) {
		uint64_t n = read_whole(out, len);

		if (size > 24)
			cut(out, len, n, data + size - 8);
	}
	free(out);
	return 0;
}
