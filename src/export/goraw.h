/* A Go execution trace as it lies in the file: batches (v2) or records (v1), in file order, not interpreted further than their borders.
 * For what is about the bytes: where they go (footprint), rewriting them (anonymize). Who wants events uses the reader. */
#ifndef GANDER_EXPORT_GORAW_H
#define GANDER_EXPORT_GORAW_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { /* v2 */
       GORAW_BATCH = 1,
       GORAW_STACKS = 2,
       GORAW_STACK = 3,
       GORAW_STRINGS = 4,
       GORAW_STRING = 5,
       GORAW_SAMPLES = 6,
       GORAW_SAMPLE = 7,
       GORAW_FREQUENCY = 8,
       GORAW_EXPERIMENTAL = 49,
       GORAW_SYNC = 50,
       GORAW_SNAPSHOT = 51,
       GORAW_END = 52,
};
enum { GORAW_V1_BATCH = 1,
       GORAW_V1_FREQUENCY = 2,
       GORAW_V1_STACK = 3,
       GORAW_V1_STRING = 37,
       GORAW_V1_LOG = 48 };

struct goraw_batch {
	uint8_t top, exp; /* GORAW_BATCH, GORAW_EXPERIMENTAL (then exp) or GORAW_END (then nothing else) */
	uint64_t gen, thread, time;
	const uint8_t *data; /* without the header; good for the call */
	size_t size, head_size;
};

struct goraw_record {        /* v1 */
	uint8_t type, n;     /* n: the two upper bits */
	const uint8_t *args; /* the varints after the type (and length) byte */
	size_t args_size;
	const char *text; /* a string's or log's */
	size_t text_size, whole_size;
	uint64_t id; /* a string's */
};

struct goraw_visitor {
	void *ctx; /* calls return 0 or -Exxx, which ends the walk */
	int (*version)(void *ctx, unsigned version, struct err *err);
	int (*batch)(void *ctx, const struct goraw_batch *b, struct err *err);
	int (*record)(void *ctx, const struct goraw_record *r, struct err *err);
};

typedef int64_t goraw_read_fn(void *arg, void *to, size_t size);
int goraw_walk(goraw_read_fn *read, void *arg, const struct goraw_visitor *v, struct err *err);

#endif
