/* Random classes, events and filters, shared by the differential test and the vectors for Go. All is a function of the
 * seed. */
#ifndef GANDER_TESTS_FILTER_RANDOM_H
#define GANDER_TESTS_FILTER_RANDOM_H

#include "base/buf.h"
#include "filter/filter.h"
#include "region/desc.h"
#include "region/vm.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define MAX_PIECES 64

struct sample {
	struct buf desc, payload;
	struct gd_piece piece[MAX_PIECES]; /* the payload as a writer would have it */
	unsigned npieces;
	char *paths[64]; /* of what can be compared */
	uint8_t types[64];
	unsigned npaths;
	struct gd_view view; /* its context; the pieces are the caller's choice */
};

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * 0x2545f4914f6cdd1dull;
}

static unsigned below(uint64_t *s, unsigned n)
{
	return (unsigned)((rnd(s) >> 33) % n);
}

static const char *const words[] = { "", "a", "GET", "POST", "/api/v1/users", "/api",
				     "index.html", "RUNNING", "x*y", "aXbXc", "\xc3\xa9t\xc3\xa9" };
#define NWORDS (sizeof(words) / sizeof(words[0]))

static const int64_t edges[] = { 0, 1, -1, 2, 5, 127, 128, -128,
				 255, 256, 404, 500, 65535, 32768, -32768, INT32_MAX,
				 INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN, 4096, 300000000 };
#define NEDGES (sizeof(edges) / sizeof(edges[0]))

static void put_le(struct buf *b, uint64_t v, unsigned size)
{
	buf_put(b, &v, size);
}

static void put_name8(struct buf *b, const char *name)
{
	buf_putc(b, (char)strlen(name));
	buf_puts(b, name);
}

static void random_type(uint64_t *s, struct buf *b, int depth);

static void random_fields(uint64_t *s, struct buf *b, unsigned n, int depth, const char *prefix)
{
	char name[32];
	unsigned i;

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s%u", prefix, i);
		put_name8(b, name);
		buf_putc(b, 0);
		if (!depth && below(s, 12) == 0)
			buf_putc(b, GD_ATTRS);
		else
			random_type(s, b, depth);
	}
}

static void random_type(uint64_t *s, struct buf *b, int depth)
{
	unsigned pick = below(s, depth >= GD_DESC_DEPTH - 1 ? 14 : 20), i, n;

	if (pick < 11) {
		buf_putc(b, (char)(GD_U8 + pick));
	} else if (pick == 11) {
		buf_putc(b, GD_ENUM);
		buf_putc(b, (char)(GD_U8 + below(s, 8)));
		put_le(b, 3, 2);
		for (i = 0; i < 3; i++) {
			put_le(b, i * 2, 8);
			put_le(b, i * 2 + (i == 1), 8);
			put_name8(b, i == 0 ? "IDLE" : i == 1 ? "RUNNING"
							      : "RUN_SLOW");
		}
	} else if (pick < 14) {
		buf_putc(b, pick == 12 ? GD_STRING : GD_BYTES);
	} else if (pick < 16) {
		buf_putc(b, GD_ARRAY);
		put_le(b, depth ? 1 + below(s, 3) : below(s, 4), 4); /* elements without bytes are refused everywhere */
		random_type(s, b, depth + 1);
	} else if (pick < 18) {
		buf_putc(b, GD_SEQUENCE);
		random_type(s, b, depth + 1);
	} else {
		n = 1 + below(s, 3);
		buf_putc(b, GD_STRUCT);
		buf_putc(b, (char)n);
		random_fields(s, b, n, depth + 1, "m");
	}
}

static void random_string(uint64_t *s, struct buf *b)
{
	const char *w = words[below(s, NWORDS)];

	put_le(b, strlen(w), 2);
	buf_puts(b, w);
}

static uint64_t random_bits(uint64_t *s, unsigned type)
{
	double d = (double)edges[below(s, NEDGES)];
	float f;
	uint64_t v;

	if (type == GD_BOOL)
		return below(s, 2);
	if (type != GD_F32 && type != GD_F64)
		return below(s, 4) ? (uint64_t)edges[below(s, NEDGES)] : rnd(s);
	if (below(s, 3) == 0)
		d += 0.5;
	if (below(s, 20) == 0)
		d = NAN;
	memcpy(&v, &d, 8);
	if (type == GD_F32) {
		f = (float)d;
		v = 0;
		memcpy(&v, &f, 4);
	}
	return v;
}

static void random_attrs(uint64_t *s, struct buf *b)
{
	unsigned n = below(s, 4), i, tag;
	char key[8];

	put_le(b, n, 2);
	for (i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "k%u", below(s, 4));
		put_le(b, strlen(key), 2);
		buf_puts(b, key);
		tag = below(s, 7);
		buf_putc(b, (char)tag);
		if (tag == GD_ATTR_STRING)
			random_string(s, b);
		else if (tag == GD_ATTR_BOOL)
			buf_putc(b, (char)below(s, 2));
		else
			put_le(b, random_bits(s, tag == GD_ATTR_F64 ? GD_F64 : GD_U64), 8);
	}
}

static void random_value(uint64_t *s, struct buf *b, const uint8_t *type, const uint8_t *end)
{
	size_t size = gd_type_fixed_size(type, end);
	const uint8_t *at = type + 1, *elem;
	struct gd_field f;
	unsigned n;

	switch (type[0]) {
	case GD_STRING:
	case GD_BYTES:
		random_string(s, b);
		return;
	case GD_ATTRS:
		random_attrs(s, b);
		return;
	case GD_ENUM:
		put_le(b, below(s, 8), (unsigned)size);
		return;
	case GD_STRUCT:
		for (n = *at++; n; n--) {
			gd_desc_field(&f, &at, end);
			random_value(s, b, f.type_at, end);
		}
		return;
	case GD_ARRAY:
	case GD_SEQUENCE:
		elem = type[0] == GD_ARRAY ? at + 4 : at;
		n = type[0] == GD_ARRAY ? gd_load32(at) : below(s, 4);
		if (type[0] == GD_SEQUENCE)
			put_le(b, n, 2);
		for (; n; n--)
			random_value(s, b, elem, end);
		return;
	}
	put_le(b, random_bits(s, type[0]), (unsigned)size);
}

static void add_path(struct sample *m, const char *path, unsigned type)
{
	if (m->npaths == 64)
		return;
	m->types[m->npaths] = (uint8_t)type;
	m->paths[m->npaths++] = strdup(path);
}

static void collect_paths(uint64_t *s, struct sample *m, const char *path, const uint8_t *type, const uint8_t *end)
{
	const uint8_t *at = type + 1;
	struct gd_field f;
	char name[300];
	unsigned n;

	add_path(m, path, type[0]);
	switch (type[0]) {
	case GD_ATTRS:
		for (n = 0; n < 4; n++) {
			if (n & 1)
				snprintf(name, sizeof(name), "k%u", n);
			else
				snprintf(name, sizeof(name), "%s.k%u", path, n);
			add_path(m, name, GD_ATTRS + 1);
		}
		return;
	case GD_STRUCT:
		for (n = *at++; n; n--) {
			gd_desc_field(&f, &at, end);
			snprintf(name, sizeof(name), "%s.%.*s", path, f.name_len, f.name);
			collect_paths(s, m, name, f.type_at, end);
		}
		return;
	case GD_ARRAY:
	case GD_SEQUENCE:
		snprintf(name, sizeof(name), "%s[%u]", path, below(s, 3));
		collect_paths(s, m, name, type[0] == GD_ARRAY ? at + 4 : at, end);
	}
}

/* A class with a payload for it, cut into pieces as writers do: a fixed part, the elements of a variable field, and so
 * on. */
static void sample_init(struct sample *m, uint64_t *s)
{
	static const struct buf empty = BUF_INIT;
	unsigned n = 1 + below(s, 6), i;
	const uint8_t *at, *from;
	struct gd_desc d;
	struct gd_field f;
	size_t size;
	int r;

	memset(m, 0, sizeof(*m));
	m->desc = m->payload = empty;
	buf_putc(&m->desc, GD_DESC_VERSION);
	buf_putc(&m->desc, GD_KIND_EVENT);
	buf_putc(&m->desc, 6);
	buf_putc(&m->desc, (char)n);
	put_name8(&m->desc, "shop.order");
	random_fields(s, &m->desc, n, 0, "f");
	r = gd_desc_parse(&d, m->desc.data, m->desc.len);
	assert(!r);
	(void)r;
	for (at = d.fields; gd_desc_field(&f, &at, d.end);) {
		char name[GD_NAME_MAX + 1];

		snprintf(name, sizeof(name), "%.*s", f.name_len, f.name);
		collect_paths(s, m, name, f.type_at, d.end);
		random_value(s, &m->payload, f.type_at, d.end);
	}
	add_path(m, "$tid", GD_U64);
	add_path(m, "$goid", GD_U64);
	add_path(m, "$level", GD_U64);
	add_path(m, "$name", GD_STRING);
	buf_putc(&m->payload, 0); /* so that there is memory, also for no bytes */
	m->payload.len--;
	from = (const uint8_t *)m->payload.data;
	m->piece[0].data = from;
	m->npieces = 1;
	for (at = d.fields; gd_desc_field(&f, &at, d.end);) {
		const uint8_t *v = from;

		size = (size_t)gd_value_size(f.type_at, d.end, v,
					     (size_t)((uint8_t *)m->payload.data + m->payload.len - v));
		from += size;
		i = m->npieces - 1;
		if (f.type == GD_STRING || f.type == GD_BYTES ||
		    (f.type == GD_SEQUENCE && gd_type_fixed_size(f.type_at + 1, d.end))) {
			m->piece[i].len += 2;
			m->piece[i + 1].data = v + 2;
			m->piece[i + 1].len = (uint32_t)size - 2;
			m->piece[i + 1].elem =
				f.type == GD_SEQUENCE ? (uint32_t)gd_type_fixed_size(f.type_at + 1, d.end) : 1;
			m->piece[i + 2].data = from;
			m->npieces += 2;
		} else {
			m->piece[i].len += (uint32_t)size;
		}
	}
	m->view.tid = (uint32_t)below(s, 1000);
	m->view.goid = below(s, 1000);
	m->view.level = 6;
}

static void sample_done(struct sample *m)
{
	unsigned i;

	buf_done(&m->desc);
	buf_done(&m->payload);
	for (i = 0; i < m->npaths; i++)
		free(m->paths[i]);
}

static void random_literal(uint64_t *s, struct buf *b)
{
	int64_t v = edges[below(s, NEDGES)];

	if (below(s, 6) == 0)
		buf_printf(b, "%s%" PRIu64 ".5", v < 0 ? "-" : "", v < 0 ? -(uint64_t)v : (uint64_t)v);
	else if (v < 0)
		buf_printf(b, "-%" PRIu64, -(uint64_t)v);
	else
		buf_printf(b, "%" PRIi64, v);
}

static void random_operand(uint64_t *s, const struct sample *m, struct buf *b, int depth)
{
	static const char *const ops[] = { "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>" };
	unsigned i = below(s, m->npaths);

	if (depth < 3 && below(s, 3) == 0) {
		buf_puts(b, "(");
		random_operand(s, m, b, depth + 1);
		buf_printf(b, " %s ", ops[below(s, 10)]);
		random_operand(s, m, b, depth + 1);
		buf_puts(b, ")");
	} else if (below(s, 4) == 0) {
		random_literal(s, b);
	} else if (m->types[i] == GD_STRING || m->types[i] == GD_SEQUENCE || m->types[i] == GD_ARRAY) {
		buf_printf(b, m->paths[i][0] == '$' ? "%s" : "len(%s)", m->paths[i]);
	} else {
		buf_puts(b, m->paths[i]);
	}
}

static void random_condition(uint64_t *s, const struct sample *m, struct buf *b, int depth)
{
	static const char *const rels[] = { "==", "!=", "<", "<=", ">", ">=" };
	static const char *const globs[] = { "*", "/api/*", "*.html", "*X*", "a?b*c", "[A-Z]*",
					     "RUN*", "GET", "*/v[0-9]/*", "x\\*y", "" };
	unsigned i = below(s, m->npaths), type = m->types[i];

	if (depth < 4 && below(s, 2)) {
		if (below(s, 4) == 0) {
			buf_puts(b, "!(");
			random_condition(s, m, b, depth + 1);
			buf_puts(b, ")");
			return;
		}
		buf_puts(b, "(");
		random_condition(s, m, b, depth + 1);
		buf_puts(b, below(s, 2) ? " && " : " || ");
		random_condition(s, m, b, depth + 1);
		buf_puts(b, ")");
		return;
	}
	if (type == GD_STRUCT || type == GD_ATTRS || (below(s, 12) == 0 && m->paths[i][0] != '$')) {
		buf_printf(b, "has(%s)", below(s, 8) ? m->paths[i] : "nosuch");
	} else if (type == GD_STRING || type == GD_BYTES || type == GD_ENUM || (type > GD_ATTRS && below(s, 2))) {
		if (type == GD_ENUM && below(s, 2))
			buf_printf(b, "%s %s %u", m->paths[i], rels[below(s, 6)], below(s, 8));
		else if (type == GD_ENUM)
			buf_printf(b, "%s %s \"%s\"", m->paths[i],
				   below(s, 2) ? "~" : "!=", below(s, 2) ? "RUN*" : "IDLE");
		else if (below(s, 2))
			buf_printf(b, "%s %s \"%s\"", m->paths[i], below(s, 2) ? "~" : "!~", globs[below(s, 11)]);
		else
			buf_printf(b, "%s %s \"%s\"", m->paths[i], below(s, 2) ? "==" : "!=", words[below(s, NWORDS)]);
	} else if (below(s, 3) == 0) {
		random_operand(s, m, b, 0);
		buf_printf(b, " %s ", rels[below(s, 6)]);
		random_operand(s, m, b, 0);
	} else if (type == GD_ARRAY || type == GD_SEQUENCE) {
		buf_printf(b, "len(%s) %s %u", m->paths[i], rels[below(s, 6)], below(s, 4));
	} else if (below(s, 6) == 0) {
		buf_printf(b, "%s in (1, 404, ", m->paths[i]);
		random_literal(s, b);
		buf_puts(b, ")");
	} else {
		buf_printf(b, "%s %s ", m->paths[i], rels[below(s, 6)]);
		random_literal(s, b);
	}
}

#endif
