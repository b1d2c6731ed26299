/* JSON written straight into a buffer, for output of any size (what must be *read* goes through jansson).
 * Commas and quoting are the writer's work; bytes that are not UTF-8 are written as U+FFFD. One owner. */
#ifndef GANDER_BASE_JSON_H
#define GANDER_BASE_JSON_H

#include "base/buf.h"

struct json {
	struct buf *out; /* borrowed */
	bool need_comma;
};

void json_init(struct json *j, struct buf *out);
void json_obj(struct json *j);     /* { */
void json_obj_end(struct json *j); /* } */
void json_arr(struct json *j);
void json_arr_end(struct json *j);
void json_key(struct json *j, const char *key);
void json_str(struct json *j, const char *s);
void json_strn(struct json *j, const char *s, size_t len);
void json_u64(struct json *j, uint64_t v);
void json_i64(struct json *j, int64_t v);
void json_f64(struct json *j, double v); /* null where JSON has no such number */
void json_bool(struct json *j, bool v);
void json_nil(struct json *j); /* null; jansson has json_null() */

#endif
