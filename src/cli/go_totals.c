#include "cli/go_totals.h"

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
