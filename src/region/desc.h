/* Class descriptions: what an event's payload looks like, as bytes in the region. Self-contained, little-endian,
 * packed, at most GD_DESC_MAX bytes.
 *
 *   u8 version (1)  u8 kind  u8 level  u8 nfields  u8 name_len  name  field * nfields
 *   field: u8 name_len  name  u8 flags  type
 *   type:  u8 code, then
 *     enum      u8 base (an integer code)  u16 count  { i64 low  i64 high  u8 len  name } * count
 *     array     u32 count  type
 *     sequence  type
 *     struct    u8 nfields  field * nfields
 *     others    nothing
 *
 * Payload: fields end to end, packed. string and bytes: u16 length, bytes. sequence: u16 count, elements. attrs (log
 * attributes whose keys are known only when the event happens): u16 count, then each: u16 key_len, key, u8 tag
 * (GD_ATTR_), value (i64, u64, f64, duration, time: 8 bytes; bool: 1; string: u16 length, bytes).
 * Types nest at most GD_DESC_DEPTH deep; attrs only at the top. Names: 1 to 127 bytes, no NUL.
 *
 * Async-signal-safe, no allocation: the tracer uses this too. */
#ifndef GANDER_REGION_DESC_H
#define GANDER_REGION_DESC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GD_DESC_VERSION 1
#define GD_DESC_MAX     16384
#define GD_DESC_DEPTH   4
#define GD_NAME_MAX     127

enum gd_kind {
	GD_KIND_EVENT = 0,
	GD_KIND_SPAN_BEGIN = 1, /* name ends in ".begin"; first fields: span_id u64, parent_id u64 */
	GD_KIND_SPAN_END = 2,   /* name ends in ".end"; first fields: span_id u64, duration u64 (ns) */
};

enum gd_type {
	GD_U8 = 1,
	GD_U16,
	GD_U32,
	GD_U64,
	GD_I8,
	GD_I16,
	GD_I32,
	GD_I64,
	GD_F32,
	GD_F64,
	GD_BOOL, /* u8, 0 or 1 */
	GD_ENUM,
	GD_STRING, /* UTF-8 as far as the program keeps to it */
	GD_BYTES,
	GD_ARRAY,
	GD_SEQUENCE,
	GD_STRUCT,
	GD_ATTRS,
};

/* field.flags: how people want to see it */
#define GD_FIELD_HEX      1
#define GD_FIELD_DURATION 2 /* integer nanoseconds */

enum gd_attr_tag {
	GD_ATTR_I64 = 0,
	GD_ATTR_U64,
	GD_ATTR_F64,
	GD_ATTR_BOOL,
	GD_ATTR_STRING,
	GD_ATTR_DURATION, /* i64 ns */
	GD_ATTR_TIME,     /* i64 ns since 1970 */
};

/* Levels are syslog's: 0 emergency, 1 alert, 2 critical, 3 error, 4 warning, 5 notice, 6 info, 7 debug. */

struct gd_desc { /* a description's head; points into its bytes */
	uint8_t kind, level, nfields, name_len;
	const char *name; /* not NUL-terminated */
	const uint8_t *fields, *end;
};

struct gd_field {         /* one field; points into the bytes */
	const char *name; /* not NUL-terminated */
	uint8_t name_len, flags, type;
	const uint8_t *type_at; /* where its type code stands */
	const uint8_t *params;  /* what follows the type code */
	const uint8_t *next;    /* behind the field */
};

/* Checks all of it (lengths, codes, depth, names): the other functions may then be used on the same bytes. Bytes that another
 * process can change must be copied first. 0 or -EINVAL. */
int gd_desc_parse(struct gd_desc *d, const void *bytes, size_t len);

/* Reads the field at *at and moves on; false at the end or when it is broken. Start with d->fields, d->end. */
bool gd_desc_field(struct gd_field *f, const uint8_t **at, const uint8_t *end);

/* Behind the type that stands at type_at, NULL when it is broken. */
const uint8_t *gd_type_skip(const uint8_t *type_at, const uint8_t *end);

/* Bytes that every value of this type takes, at most 2^32 - 1; 0 when they differ. */
size_t gd_type_fixed_size(const uint8_t *type_at, const uint8_t *end);

/* Bytes that the value at data takes, -1 when it does not fit into len. */
ptrdiff_t gd_value_size(const uint8_t *type_at, const uint8_t *end, const uint8_t *data, size_t len);

/* FNV-1a of the bytes, never 0. */
uint32_t gd_desc_hash(const void *bytes, size_t len);

static inline uint16_t gd_load16(const void *p)
{
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t gd_load32(const void *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t gd_load64(const void *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

#endif
