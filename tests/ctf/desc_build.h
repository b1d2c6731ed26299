/* Builds class descriptions (src/region/desc.h) and payloads for tests. */
#ifndef GANDER_TESTS_DESC_BUILD_H
#define GANDER_TESTS_DESC_BUILD_H

#include "base/buf.h"
#include "region/desc.h"

#include <string.h>

static inline void d_u8(struct buf *b, unsigned v)
{
	buf_putc(b, (char)v);
}

static inline void d_u16(struct buf *b, unsigned v)
{
	buf_put(b, &(uint16_t) { (uint16_t)v }, 2);
}

static inline void d_u32(struct buf *b, uint32_t v)
{
	buf_put(b, &v, 4);
}

static inline void d_u64(struct buf *b, uint64_t v)
{
	buf_put(b, &v, 8);
}

static inline void d_f64(struct buf *b, double v)
{
	buf_put(b, &v, 8);
}

static inline void d_f32(struct buf *b, float v)
{
	buf_put(b, &v, 4);
}

/* u16 length and bytes, as strings are in payloads */
static inline void d_str(struct buf *b, const char *s)
{
	d_u16(b, (unsigned)strlen(s));
	buf_puts(b, s);
}

static inline void d_name(struct buf *b, const char *s)
{
	d_u8(b, (unsigned)strlen(s));
	buf_puts(b, s);
}

static inline void d_head(struct buf *b, enum gd_kind kind, unsigned level, unsigned nfields, const char *name)
{
	buf_clear(b);
	d_u8(b, GD_DESC_VERSION);
	d_u8(b, kind);
	d_u8(b, level);
	d_u8(b, nfields);
	d_name(b, name);
}

static inline void d_field(struct buf *b, const char *name, unsigned flags, enum gd_type type)
{
	d_name(b, name);
	d_u8(b, flags);
	d_u8(b, type);
}

static inline void d_label(struct buf *b, int64_t low, int64_t high, const char *name)
{
	d_u64(b, (uint64_t)low);
	d_u64(b, (uint64_t)high);
	d_name(b, name);
}

#endif
