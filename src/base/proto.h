/* The three things protobuf needs on the wire, written into a buffer: tag and varint, tag and bytes, tag and fixed64. */
#ifndef GANDER_BASE_PROTO_H
#define GANDER_BASE_PROTO_H

#include "base/varint.h"

#include <string.h>

static inline void proto_u64(struct buf *b, unsigned field, uint64_t v)
{
	varint_put(b, (uint64_t)field << 3);
	varint_put(b, v);
}

static inline void proto_fixed64(struct buf *b, unsigned field, uint64_t v)
{
	varint_put(b, (uint64_t)field << 3 | 1);
	buf_put(b, &v, sizeof(v)); /* little-endian, as all machines that gander runs on */
}

static inline void proto_bytes(struct buf *b, unsigned field, const void *data, size_t len)
{
	varint_put(b, (uint64_t)field << 3 | 2);
	varint_put(b, len);
	buf_put(b, data, len);
}

static inline void proto_str(struct buf *b, unsigned field, const char *s)
{
	proto_bytes(b, field, s, strlen(s));
}

#endif
