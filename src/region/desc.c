/* Reads class descriptions. Every length is checked against the end before it is used; recursion is bounded by
 * GD_DESC_DEPTH, and the work on a value by the bytes that it takes (an element takes at least one). */
#include "region/desc.h"

#include <errno.h>

static const uint8_t scalar_size[] = {
	[GD_U8] = 1,
	[GD_U16] = 2,
	[GD_U32] = 4,
	[GD_U64] = 8,
	[GD_I8] = 1,
	[GD_I16] = 2,
	[GD_I32] = 4,
	[GD_I64] = 8,
	[GD_F32] = 4,
	[GD_F64] = 8,
	[GD_BOOL] = 1,
};

static const uint8_t *skip_name(const uint8_t *at, const uint8_t *end)
{
	size_t len, i;

	if (at >= end)
		return NULL;
	len = *at++;
	if (len < 1 || len > GD_NAME_MAX || (size_t)(end - at) < len)
		return NULL;
	for (i = 0; i < len; i++)
		if (!at[i])
			return NULL;
	return at + len;
}

static const uint8_t *skip_type(const uint8_t *at, const uint8_t *end, int depth);

static const uint8_t *skip_field(const uint8_t *at, const uint8_t *end, int depth)
{
	at = skip_name(at, end);
	if (!at || at >= end)
		return NULL;
	return skip_type(at + 1, end, depth);
}

static const uint8_t *skip_type(const uint8_t *at, const uint8_t *end, int depth)
{
	unsigned code, n, i;

	if (depth > GD_DESC_DEPTH || at >= end)
		return NULL;
	code = *at++;
	switch (code) {
	case GD_ENUM:
		if (end - at < 3 || at[0] < GD_U8 || at[0] > GD_I64)
			return NULL;
		n = gd_load16(at + 1);
		for (at += 3, i = 0; i < n; i++) {
			if (end - at < 16)
				return NULL;
			at = skip_name(at + 16, end);
			if (!at)
				return NULL;
		}
		return at;
	case GD_ARRAY:
		if (end - at < 4 || gd_load32(at) > UINT16_MAX)
			return NULL;
		return skip_type(at + 4, end, depth + 1);
	case GD_SEQUENCE:
		return skip_type(at, end, depth + 1);
	case GD_STRUCT:
		if (at >= end || !*at)
			return NULL;
		for (n = *at++, i = 0; i < n; i++) {
			at = skip_field(at, end, depth + 1);
			if (!at)
				return NULL;
		}
		return at;
	case GD_ATTRS:
		return depth ? NULL : at;
	default:
		return code >= GD_U8 && code <= GD_BYTES ? at : NULL;
	}
}

const uint8_t *gd_type_skip(const uint8_t *type_at, const uint8_t *end)
{
	return skip_type(type_at, end, 0);
}

int gd_desc_parse(struct gd_desc *d, const void *bytes, size_t len)
{
	const uint8_t *p = bytes, *at, *end = p + len;
	unsigned i;

	if (len < 6 || len > GD_DESC_MAX || p[0] != GD_DESC_VERSION || p[1] > GD_KIND_SPAN_END || p[2] > 7)
		return -EINVAL;
	at = skip_name(p + 4, end);
	if (!at)
		return -EINVAL;
	d->kind = p[1];
	d->level = p[2];
	d->nfields = p[3];
	d->name_len = p[4];
	d->name = (const char *)p + 5;
	d->fields = at;
	d->end = end;
	for (i = 0; i < d->nfields; i++) {
		at = skip_field(at, end, 0);
		if (!at)
			return -EINVAL;
	}
	return at == end ? 0 : -EINVAL;
}

bool gd_desc_field(struct gd_field *f, const uint8_t **at, const uint8_t *end)
{
	const uint8_t *next;

	if (*at >= end)
		return false;
	next = skip_field(*at, end, 0);
	if (!next)
		return false;
	f->name_len = (*at)[0];
	f->name = (const char *)*at + 1;
	f->flags = (*at)[1 + f->name_len];
	f->type_at = *at + 2 + f->name_len;
	f->type = f->type_at[0];
	f->params = f->type_at + 1;
	f->next = next;
	*at = next;
	return true;
}

/* Nested arrays multiply beyond any integer; what is that long fits nowhere. */
static uint32_t at_most_u32(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

size_t gd_type_fixed_size(const uint8_t *type_at, const uint8_t *end)
{
	const uint8_t *at = type_at + 1;
	struct gd_field f;
	uint64_t size, total = 0;
	unsigned n;

	switch (type_at[0]) {
	case GD_ENUM:
		return scalar_size[at[0]];
	case GD_ARRAY:
		return at_most_u32((uint64_t)gd_load32(at) * gd_type_fixed_size(at + 4, end));
	case GD_STRUCT:
		for (n = *at++; n; n--) {
			if (!gd_desc_field(&f, &at, end))
				return 0;
			size = gd_type_fixed_size(f.type_at, end);
			if (!size)
				return 0;
			total = at_most_u32(total + size);
		}
		return total;
	case GD_STRING:
	case GD_BYTES:
	case GD_SEQUENCE:
	case GD_ATTRS:
		return 0;
	default:
		return scalar_size[type_at[0]];
	}
}

static ptrdiff_t elements_size(const uint8_t *type_at, const uint8_t *end, size_t n, const uint8_t *data, size_t len)
{
	size_t fixed = gd_type_fixed_size(type_at, end), used = 0;
	ptrdiff_t one;

	if (fixed)
		return n <= len / fixed ? (ptrdiff_t)(n * fixed) : -1;
	for (; n; n--) {
		one = gd_value_size(type_at, end, data + used, len - used);
		/* an element of no bytes (an empty array) could be repeated for ever; it is refused */
		if (one <= 0)
			return -1;
		used += (size_t)one;
	}
	return (ptrdiff_t)used;
}

static ptrdiff_t attrs_size(const uint8_t *data, size_t len)
{
	size_t n, used = 2, more;

	if (len < 2)
		return -1;
	for (n = gd_load16(data); n; n--) {
		if (len - used < 2)
			return -1;
		more = gd_load16(data + used) + 2u;
		if (len - used < more + 1)
			return -1;
		used += more;
		switch (data[used++]) {
		case GD_ATTR_BOOL:
			more = 1;
			break;
		case GD_ATTR_STRING:
			if (len - used < 2)
				return -1;
			more = gd_load16(data + used) + 2u;
			break;
		case GD_ATTR_I64:
		case GD_ATTR_U64:
		case GD_ATTR_F64:
		case GD_ATTR_DURATION:
		case GD_ATTR_TIME:
			more = 8;
			break;
		default:
			return -1;
		}
		if (len - used < more)
			return -1;
		used += more;
	}
	return (ptrdiff_t)used;
}

ptrdiff_t gd_value_size(const uint8_t *type_at, const uint8_t *end, const uint8_t *data, size_t len)
{
	const uint8_t *at = type_at + 1;
	ptrdiff_t size;
	size_t total = 0, n;
	struct gd_field f;

	switch (type_at[0]) {
	case GD_STRING:
	case GD_BYTES:
		if (len < 2 || len - 2 < gd_load16(data))
			return -1;
		return gd_load16(data) + 2;
	case GD_SEQUENCE:
		if (len < 2)
			return -1;
		size = elements_size(at, end, gd_load16(data), data + 2, len - 2);
		return size < 0 ? -1 : size + 2;
	case GD_ARRAY:
		return elements_size(at + 4, end, gd_load32(at), data, len);
	case GD_STRUCT:
		for (n = *at++; n; n--) {
			if (!gd_desc_field(&f, &at, end))
				return -1;
			size = gd_value_size(f.type_at, end, data + total, len - total);
			if (size < 0)
				return -1;
			total += (size_t)size;
		}
		return (ptrdiff_t)total;
	case GD_ATTRS:
		return attrs_size(data, len);
	default:
		total = gd_type_fixed_size(type_at, end);
		return total && total <= len ? (ptrdiff_t)total : -1;
	}
}

uint32_t gd_desc_hash(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ p[i]) * 16777619u;
	return h ? h : 1;
}
