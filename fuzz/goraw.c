/* The raw walk over a Go trace: footprint and anonymize. Whatever the bytes are, both end with an answer or one error. */
#include "../tests/lib/memread.h"
#include "analyze/result.h"
#include "export/export.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory m = { data, size };
	struct goanon_opts o = { .all_names = size & 1 };
	struct err err = ERR_INIT;
	struct result r;
	char *out = NULL;
	size_t len;
	FILE *f;
	int e;

	result_init(&r, NULL);
	e = gofootprint_run(read_memory, &m, &r, &err);
	if (e < 0 && !*err.text)
		abort();
	result_done(&r);
	f = open_memstream(&out, &len);
	if (!f)
		return 0;
	m = (struct memory) { data, size };
	err = (struct err)ERR_INIT;
	e = goanon_run(read_memory, &m, f, &o, &err);
	if (e < 0 && !*err.text)
		abort();
	fclose(f);
	free(out);
	return 0;
}
