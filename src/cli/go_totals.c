#include "cli/go_totals.h"
#include "base/table.h"

void go_totals_json(struct json *j, const struct go_totals *t)
{
	json_key(j, "go");
	json_obj(j);
	json_key(j, "traces");
	json_u64(j, t->traces);
	json_key(j, "generations");
	json_u64(j, t->generations);
	json_key(j, "bytes");
	json_u64(j, t->bytes);
	json_key(j, "lost_generations");
	json_u64(j, t->lost_generations);
	json_key(j, "lost_bytes");
	json_u64(j, t->lost_bytes);
	json_key(j, "torn_bytes");
	json_u64(j, t->torn_bytes);
	json_obj_end(j);
}

bool go_totals_lost(const struct go_totals *t)
{
	return t->lost_generations || t->lost_bytes;
}

void go_totals_text(const struct go_totals *t, FILE *out)
{
	char bytes[UNIT_TEXT];

	if (t->traces)
		fprintf(out, "gander: Go trace: %llu generation%s (%s) in %u file%s\n", (unsigned long long)t->generations, t->generations == 1 ? "" : "s",
			bytes_text(bytes, t->bytes), t->traces, t->traces == 1 ? "" : "s");
	if (go_totals_lost(t))
		fprintf(out, "gander: Go trace: lost %llu generations and %s\n", (unsigned long long)t->lost_generations, bytes_text(bytes, t->lost_bytes));
}
