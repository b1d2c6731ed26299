/* The answers of `gander why` as text and JSON. */
#ifndef GANDER_CLI_WHY_OUT_H
#define GANDER_CLI_WHY_OUT_H

#include "analyze/why.h"
#include "analyze/whytext.h"
#include "base/json.h"

#include <stdio.h>

struct why_show {
	const struct gosyms *syms;
	int64_t start_ns; /* of the trace: times count from here */
	bool all;         /* also what is below 1 % */
	bool stacks, hops;
};

void why_out_text(const struct why_show *w, const struct why_asked *a, FILE *out);
void why_out_json(const struct why_show *w, const struct why_asked *a, struct json *j);

/* Many spans: where the slowest hundredth's time goes beyond the median's. Both trees hold several walks. */
struct why_compare {
	const char *name;
	uint64_t count, p50_ns, p99_ns, max_ns, open;
	uint32_t nslow, nmedian;
	const struct gopath *slow, *median;
};
int why_out_compare_text(const struct why_show *w, const struct why_compare *c, FILE *out);
int why_out_compare_json(const struct why_show *w, const struct why_compare *c, struct json *j);

#endif
