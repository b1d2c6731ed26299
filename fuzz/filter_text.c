/* Filter text: parsed, compiled, linked against a class that has a field of every kind, and run. */
#include "filter/filter.h"
#include "region/desc.h"

#include <stdlib.h>
#include <string.h>

static const char desc[] =
	"\x01\x00\x06\x06\x01"
	"e\x06status\x00\x07"
	"\x04path\x00\x0d"
	"\x03seq\x00\x10\x03"
	"\x01s\x00\x11\x02\x01"
	"a\x00\x0a\x01"
	"b\x00\x0d"
	"\x05state\x00\x0c\x01\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x04IDLE"
	"\x04"
	"attr\x00\x12";
static const char payload[] = "\xf4\x01\x00\x00"
			      "\x04\x00/api"
			      "\x02\x00\x01\x00\x00\x00\x02\x00\x00\x00"
			      "\x00\x00\x00\x00\x00\x00\xf8\x3f\x01\x00x"
			      "\x01"
			      "\x01\x00\x01\x00k\x00\x05\x00\x00\x00\x00\x00\x00\x00";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8];
	struct gd_piece piece = { payload, sizeof(payload) - 1, 0 };
	struct gd_view v = { .piece = &piece, .npieces = 1 };
	struct gd_filter_key key;
	struct err err = ERR_INIT;
	struct filter *f;
	char *text = malloc(len + 1);
	int n;

	memcpy(text, data, len);
	text[len] = 0;
	if (!filter_parse(&f, text, &err)) {
		n = filter_compile(f, "status", generic, sizeof(generic), &err);
		if (n > 0)
			n = filter_link(generic, (size_t)n, desc, sizeof(desc) - 1, linked, sizeof(linked), &err);
		if (n > 0)
			gd_filter_run(linked, (size_t)n, &v, &key);
		filter_free(f);
	} else if (!err.text[0]) {
		abort(); /* an error that says nothing */
	}
	n = filter_compile(NULL, text, generic, sizeof(generic), &err);
	free(text);
	return 0;
}
