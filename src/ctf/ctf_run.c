/* The interpreter. Every read is checked against the limit before it is done; loops are bounded by the bytes that they consume, and where an
 * element takes none, by CTF_VALUES_MAX. */
#include "ctf/ctf_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mode { SKIP,
	    VALUES,
	    TEXT };

int ctf_out_grow(struct ctf_out *o, size_t more)
{
	size_t used = (size_t)(o->at - o->base), cap = o->base ? (size_t)(o->end - o->base) : 0;
	char *base;

	cap = cap * 2 > used + more ? cap * 2 : used + more + 4096;
	base = realloc(o->base, cap + 2 * OUT_SLACK);
	if (!base) {
		o->failed = true;
		return -ENOMEM;
	}
	o->base = base;
	o->at = base + used;
	o->end = base + cap;
	return 0;
}

void ctf_out_done(struct ctf_out *o)
{
	free(o->base);
	memset(o, 0, sizeof(*o));
}

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354"
			    "5556575859606162636465666768697071727374757677787980818283848586878889909192939495969798"
			    "99";

static inline char *put_small(char *to, uint32_t v) /* below 10000, without leading zeros */
{
	if (v < 100) {
		if (v < 10) {
			*to = (char)('0' + v);
			return to + 1;
		}
		memcpy(to, pairs + 2 * v, 2);
		return to + 2;
	}
	if (v < 1000) {
		*to = (char)('0' + v / 100);
		memcpy(to + 1, pairs + 2 * (v % 100), 2);
		return to + 3;
	}
	memcpy(to, pairs + 2 * (v / 100), 2);
	memcpy(to + 2, pairs + 2 * (v % 100), 2);
	return to + 4;
}

static inline char *put_four(char *to, uint32_t v) /* exactly four digits */
{
	memcpy(to, pairs + 2 * (v / 100), 2);
	memcpy(to + 2, pairs + 2 * (v % 100), 2);
	return to + 4;
}

char *ctf_put_nano(char *to, uint32_t v)
{
	*to = (char)('0' + v / 100000000);
	v %= 100000000;
	return put_four(put_four(to + 1, v / 10000), v % 10000);
}

char *ctf_put_u64(char *to, uint64_t v)
{
	uint32_t top, low;

	if (v < 10000)
		return put_small(to, (uint32_t)v);
	if (v < 100000000) {
		to = put_small(to, (uint32_t)v / 10000);
		return put_four(to, (uint32_t)v % 10000);
	}
	to = ctf_put_u64(to, v / 100000000);
	low = (uint32_t)(v % 100000000);
	top = low / 10000;
	return put_four(put_four(to, top), low % 10000);
}

char *ctf_put_i64(char *to, int64_t v)
{
	if (v >= 0)
		return ctf_put_u64(to, (uint64_t)v);
	*to = '-';
	return ctf_put_u64(to + 1, -(uint64_t)v);
}

char *ctf_put_f64(char *to, double v)
{
	int n = snprintf(to, 32, "%.15g", v);

	if (strtod(to, NULL) != v && v == v)
		n = snprintf(to, 32, "%.17g", v);
	return to + n;
}

char *ctf_put_duration(char *to, int64_t ns)
{
	uint64_t v = ns < 0 ? -(uint64_t)ns : (uint64_t)ns, unit = 1, part;
	const char *name = "ns";
	int digits;

	if (ns < 0)
		*to++ = '-';
	if (v >= 1000000000) {
		unit = 1000000000;
		name = "s";
	} else if (v >= 1000000) {
		unit = 1000000;
		name = "ms";
	} else if (v >= 1000) {
		unit = 1000;
		name = "us";
	}
	to = ctf_put_u64(to, v / unit);
	part = v % unit;
	if (part) {
		*to++ = '.';
		for (digits = 0; digits < 9 && part; digits++) { /* exactly, without zeros at the end */
			part *= 10;
			*to++ = (char)('0' + part / unit);
			part %= unit;
		}
	}
	while (*name)
		*to++ = *name++;
	return to;
}

static char *put_hex(char *to, uint64_t v)
{
	static const char digits[] = "0123456789abcdef";
	int n = v ? (67 - __builtin_clzll(v)) / 4 : 1, i;

	to[0] = '0';
	to[1] = 'x';
	for (i = n - 1; i >= 0; i--, v >>= 4)
		to[2 + i] = digits[v & 15];
	return to + 2 + n;
}

/* Bytes of the UTF-8 sequence at s, 0 when it is none, or of a character that a terminal acts upon (C1). */
unsigned ctf_utf8_len(const uint8_t *s, size_t len)
{
	if (s[0] >= 0xc2 && s[0] < 0xe0 && len >= 2 && (s[1] & 0xc0) == 0x80)
		return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : 2;
	if (s[0] >= 0xe0 && s[0] < 0xf0 && len >= 3 && (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80)
		return (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ? 0 : 3;
	if (s[0] >= 0xf0 && s[0] < 0xf5 && len >= 4 && (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80)
		return (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90) ? 0 : 4;
	return 0;
}

/* Has one of eight bytes to be looked at: below space, above '~', quote or backslash? */
static inline bool needs_care(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;
	uint64_t quote = w ^ (ones * '"'), back = w ^ (ones * '\\'), del = w ^ (ones * 0x7f);

	return ((w | (w - ones * 0x20) | (quote - ones) | (back - ones) | (del - ones)) & tops) != 0;
}

void ctf_put_quoted(struct ctf_out *o, const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s, *end = p + len;
	unsigned n, i;
	uint64_t w;
	char *to;

	if (ctf_out_more(o, len * 4 + 2) < 0)
		return;
	to = o->at;
	*to++ = '"';
	while (p < end) {
		while (end - p >= 8) {
			memcpy(&w, p, 8);
			if (needs_care(w))
				break;
			memcpy(to, &w, 8);
			to += 8;
			p += 8;
		}
		for (i = 0; i < 8 && p < end; i++) {
			if (*p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\') {
				*to++ = (char)*p++;
			} else if (*p == '"' || *p == '\\') {
				*to++ = '\\';
				*to++ = (char)*p++;
			} else if (*p == '\n' || *p == '\t') {
				*to++ = '\\';
				*to++ = *p++ == '\n' ? 'n' : 't';
			} else if ((n = *p >= 0x80 ? ctf_utf8_len(p, (size_t)(end - p)) : 0)) {
				memcpy(to, p, n);
				to += n;
				p += n;
			} else {
				*to++ = '\\';
				*to++ = 'x';
				*to++ = "0123456789abcdef"[*p >> 4];
				*to++ = "0123456789abcdef"[*p++ & 15];
			}
		}
	}
	*to++ = '"';
	o->at = to;
}

void ctf_put_raw(struct ctf_out *o, const char *s, size_t len)
{
	if (ctf_out_more(o, len) < 0)
		return;
	memcpy(o->at, s, len);
	o->at += len;
}

static void put_key(struct ctf_out *o, const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 0x7f || strchr("\"\\={}[],", s[i]))
			break;
	if (i == len)
		ctf_put_raw(o, s, len);
	else
		ctf_put_quoted(o, s, len);
}

void ctf_put_name(struct ctf_out *o, const char *name)
{
	if (!ctf_out_more(o, 0))
		put_key(o, name, strlen(name));
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static uint64_t read_bits(const uint8_t *data, uint64_t pos, unsigned bits, bool big_endian)
{
	const uint8_t *p = data + (pos >> 3);
	unsigned shift = pos & 7;
	uint64_t v;

	if (big_endian) {
		v = __builtin_bswap64(load64(p)) << shift;
		if (shift)
			v |= p[8] >> (8 - shift);
		return v >> (64 - bits);
	}
	v = load64(p) >> shift;
	if (shift)
		v |= (uint64_t)p[8] << (64 - shift);
	return bits == 64 ? v : v & ((1ull << bits) - 1);
}

static const char *label_of(const struct ctf_fc *fc, uint64_t v)
{
	const struct ctf_mapping *m;
	uint32_t i;

	for (m = fc->map; m; m = m->next)
		for (i = 0; i < m->nranges; i++)
			if (fc->is_signed ? (int64_t)v >= (int64_t)m->range[i].low && (int64_t)v <= (int64_t)m->range[i].high : v >= m->range[i].low && v <= m->range[i].high)
				return m->label;
	return NULL;
}

static int new_value(struct ctf_values *s, uint32_t *ret)
{
	void *more;

	if (s->n == s->cap) {
		if (s->cap >= CTF_VALUES_MAX)
			return -EFBIG;
		more = realloc(s->v, (s->cap * 2 + 64) * sizeof(*s->v));
		if (!more)
			return -ENOMEM;
		s->v = more;
		s->cap = s->cap * 2 + 64;
	}
	*ret = s->n++;
	memset(&s->v[*ret], 0, sizeof(s->v[0]));
	s->v[*ret].next = *ret + 1;
	s->v[*ret].name = "";
	return 0;
}

static inline void put_lit(struct ctf_out *o, const struct ctf_op *op)
{
	if (__builtin_expect(o->end - o->at < (ptrdiff_t)op->lit_len, 0) && ctf_out_more(o, op->lit_len) < 0)
		return;
	memcpy(o->at, op->lit, 16); /* there is room: OUT_SLACK, and the literal has 16 behind it */
	if (__builtin_expect(op->lit_len > 16, 0))
		memcpy(o->at + 16, op->lit + 16, op->lit_len - 16u);
	o->at += op->lit_len;
}

static void put_int_text(struct ctf_out *o, const struct ctf_op *op, uint64_t v)
{
	const char *label = op->fc->map ? label_of(op->fc, v) : NULL;

	if (label) {
		ctf_put_quoted(o, label, strlen(label));
		return;
	}
	if (op->type == GANDER_CTF_BOOL) {
		ctf_put_raw(o, v ? "true" : "false", v ? 4 : 5);
		return;
	}
	if (ctf_out_more(o, 64) < 0)
		return;
	if (op->public_flags & (GANDER_CTF_DURATION | GANDER_CTF_TIME) && (op->public_flags & GANDER_CTF_DURATION) && (int64_t)v >= 0)
		o->at = ctf_put_duration(o->at, (int64_t)v);
	else if (op->public_flags & GANDER_CTF_HEX)
		o->at = put_hex(o->at, op->flags & OP_SIGNED && op->bits < 64 ? v & ((1ull << op->bits) - 1) : v);
	else if (op->flags & OP_SIGNED)
		o->at = ctf_put_i64(o->at, (int64_t)v);
	else
		o->at = ctf_put_u64(o->at, v);
}

static __attribute__((noinline)) int take_int(struct ctf_run *r, const struct ctf_op *op, uint64_t v, const enum mode mode)
{
	struct gander_ctf_value *val;
	uint32_t i;
	int err;

	if (mode == SKIP) {
		r->role[op->role] = v;
		r->roles |= 1u << op->role;
		if (op->role == CTF_ROLE_TIME)
			r->clock = ctf_advance_clock(r->clock, v, op->bits ? op->bits : 64);
		return 0;
	}
	if (mode == TEXT) {
		put_int_text(r->out, op, v);
		return 0;
	}
	err = new_value(r->values, &i);
	if (err)
		return err;
	val = &r->values->v[i];
	val->type = op->type;
	val->flags = op->public_flags;
	val->name = op->fc->name ? op->fc->name : "";
	val->label = op->fc->map ? label_of(op->fc, v) : NULL;
	val->u = v;
	return 0;
}

static int take_bytes(struct ctf_run *r, const struct ctf_op *op, const char *s, uint64_t len, const enum mode mode)
{
	struct gander_ctf_value *val;
	uint32_t i;
	int err;

	if (mode == TEXT) {
		if (op->flags & OP_BARE) {
			put_key(r->out, s, len);
		} else if (op->op != OP_BLOB) {
			/* fixed arrays of characters end at their NUL */
			ctf_put_quoted(r->out, s, op->op == OP_TEXT && !(op->flags & OP_DYNAMIC) ? strnlen(s, len) : len);
		} else if (!ctf_out_more(r->out, len * 2 + 16)) {
			memcpy(r->out->at, "0x", 2);
			r->out->at += 2;
			for (i = 0; i < len; i++) {
				*r->out->at++ = "0123456789abcdef"[(uint8_t)s[i] >> 4];
				*r->out->at++ = "0123456789abcdef"[(uint8_t)s[i] & 15];
			}
		}
		return 0;
	}
	err = new_value(r->values, &i);
	if (err)
		return err;
	val = &r->values->v[i];
	val->type = op->type;
	val->name = op->fc->name ? op->fc->name : "";
	val->text = s;
	val->len = (uint32_t)(op->op == OP_TEXT && !(op->flags & OP_DYNAMIC) ? strnlen(s, len) : len);
	return 0;
}

static int take_float(struct ctf_run *r, const struct ctf_op *op, double v, const enum mode mode)
{
	uint32_t i;
	int err;

	if (mode == TEXT) {
		if (!ctf_out_more(r->out, 64))
			r->out->at = ctf_put_f64(r->out->at, v);
		return 0;
	}
	err = new_value(r->values, &i);
	if (err)
		return err;
	r->values->v[i].type = GANDER_CTF_F64;
	r->values->v[i].name = op->fc->name ? op->fc->name : "";
	r->values->v[i].f = v;
	return 0;
}

static bool in_ranges(const struct ctf_fc *of, const struct ctf_option *o, uint64_t v)
{
	uint32_t i;

	for (i = 0; i < o->nranges; i++)
		if (of->is_signed ? (int64_t)v >= (int64_t)o->range[i].low && (int64_t)v <= (int64_t)o->range[i].high : v >= o->range[i].low && v <= o->range[i].high)
			return true;
	return false;
}

/* An element of an array that is a length and a value, or a key with its tag, shows only the one. */
static int run_skip(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end);
static int run_values(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end);
static int run_text(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end);

static inline __attribute__((always_inline)) int run_body(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end, const enum mode mode)
{
	return mode == SKIP ? run_skip(r, p, at, end) : mode == VALUES ? run_values(r, p, at, end)
								       : run_text(r, p, at, end);
}

static inline __attribute__((always_inline)) int run_list(struct ctf_run *r, const struct ctf_prog *p, const struct ctf_op *op, uint32_t at,
							  const enum mode mode)
{
	uint64_t n = op->flags & OP_DYNAMIC ? r->regs[op->source - 1] : op->count, i, before, empty = 0;
	bool attrs = op->public_flags & GANDER_CTF_ATTRS;
	bool shown = mode != SKIP && !(op->flags & OP_HIDDEN);
	uint32_t me = 0;
	int err;

	if (op->elem_bits && n > (r->limit - r->pos) / op->elem_bits)
		return -EAGAIN;
	if (mode == SKIP && op->elem_bits) {
		r->pos += n * op->elem_bits;
		return 0;
	}
	if (mode == VALUES && shown) {
		err = new_value(r->values, &me);
		if (err)
			return err;
		r->values->v[me].type = GANDER_CTF_ARRAY;
		r->values->v[me].flags = op->public_flags;
		r->values->v[me].name = op->fc->name ? op->fc->name : "";
		r->values->v[me].count = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	}
	if (mode == TEXT && shown)
		ctf_put_raw(r->out, attrs ? "{" : "[", 1);
	for (i = 0; i < n; i++) {
		if (mode == TEXT && shown && i)
			ctf_put_raw(r->out, attrs ? " " : ", ", attrs ? 1 : 2);
		before = r->pos;
		err = run_body(r, p, at + 1, op->end, mode);
		if (err)
			return err;
		if (r->pos == before && ++empty > CTF_VALUES_MAX)
			return -EPROTO;
	}
	if (mode == TEXT && shown)
		ctf_put_raw(r->out, attrs ? "}" : "]", 1);
	if (mode == VALUES && shown)
		r->values->v[me].next = r->values->n;
	return 0;
}

static inline __attribute__((always_inline)) int run(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end, const enum mode mode)
{
	const struct ctf_op *op;
	const uint8_t *d;
	uint64_t v, n;
	uint32_t i, me;
	unsigned bits;
	float f;
	double g;
	int err;

	while (at < end) {
		op = &p->op[at];
		if (op->align > 1)
			r->pos = (r->pos + op->align - 1) & ~(uint64_t)(op->align - 1);
		if (mode == TEXT && op->lit_len)
			put_lit(r->out, op);
		d = r->data + (r->pos >> 3);
		switch (op->op) {
		case OP_SKIP:
			if (r->limit < r->pos || r->limit - r->pos < op->count)
				return -EAGAIN;
			r->pos += op->count;
			at++;
			continue;
		case OP_ALIGN:
			at++;
			continue;
#define INT(code, type) \
	case code: \
		if (r->limit < r->pos + sizeof(type) * 8) \
			return -EAGAIN; \
		{ \
			type x; \
			memcpy(&x, d, sizeof(x)); \
			v = (uint64_t)(int64_t)x; \
		} \
		r->pos += sizeof(type) * 8; \
		goto have_int;
			INT(OP_U8, uint8_t)
			INT(OP_U16, uint16_t)
			INT(OP_U32, uint32_t)
			INT(OP_U64, uint64_t)
			INT(OP_I8, int8_t)
			INT(OP_I16, int16_t)
			INT(OP_I32, int32_t)
			INT(OP_I64, int64_t)
#undef INT
		case OP_BITS:
			bits = op->bits;
			if (r->limit < r->pos + bits)
				return -EAGAIN;
			v = read_bits(r->data, r->pos, bits, op->flags & OP_BIG);
			if (op->flags & OP_SIGNED)
				v = (uint64_t)((int64_t)(v << (64 - bits)) >> (64 - bits));
			r->pos += bits;
			goto have_int;
		case OP_VARINT:
			for (v = 0, i = 0;; i++, d++) {
				if (r->limit < r->pos + 8)
					return -EAGAIN;
				if (i == 10)
					return -EPROTO;
				r->pos += 8;
				if (i < 9)
					v |= (uint64_t)(*d & 0x7f) << (7 * i);
				else
					v |= (uint64_t)(*d & 1) << 63;
				if (!(*d & 0x80))
					break;
			}
			if (op->flags & OP_SIGNED && i < 9 && *d & 0x40)
				v |= ~0ull << (7 * (i + 1));
		have_int:
			if (op->reg)
				r->regs[op->reg - 1] = v;
			if (mode == SKIP ? op->role : !(op->flags & OP_HIDDEN)) {
				if (mode == TEXT && !op->public_flags && op->type <= GANDER_CTF_U64 && !op->fc->map) {
					if (__builtin_expect(r->out->at >= r->out->end, 0) && ctf_out_more(r->out, 64) < 0)
						return -ENOMEM;
					if (v < 10000)
						r->out->at = put_small(r->out->at, (uint32_t)v);
					else
						r->out->at = op->type == GANDER_CTF_I64 ? ctf_put_i64(r->out->at, (int64_t)v) : ctf_put_u64(r->out->at, v);
				} else {
					err = take_int(r, op, v, mode);
					if (err)
						return err;
				}
			}
			at++;
			continue;
		case OP_F32:
		case OP_F64:
			bits = op->bits;
			if (r->limit < r->pos + bits)
				return -EAGAIN;
			v = read_bits(r->data, r->pos, bits, op->flags & OP_BIG);
			r->pos += bits;
			if (mode != SKIP && !(op->flags & OP_HIDDEN)) {
				if (bits == 32) {
					memcpy(&f, &(uint32_t) { (uint32_t)v }, 4);
					g = (double)f;
				} else {
					memcpy(&g, &v, 8);
				}
				err = take_float(r, op, g, mode);
				if (err)
					return err;
			}
			at++;
			continue;
		case OP_STRING:
			if (r->limit <= r->pos)
				return -EAGAIN;
			n = (r->limit - r->pos) >> 3;
			n = strnlen((const char *)d, n);
			if (r->pos + (n + 1) * 8 > r->limit)
				return -EAGAIN;
			r->pos += (n + 1) * 8;
			if (mode != SKIP && !(op->flags & OP_HIDDEN)) {
				err = take_bytes(r, op, (const char *)d, n, mode);
				if (err)
					return err;
			}
			at++;
			continue;
		case OP_TEXT:
		case OP_BLOB:
			n = op->flags & OP_DYNAMIC ? r->regs[op->source - 1] : op->count;
			if (r->limit < r->pos || n > (r->limit - r->pos) >> 3)
				return -EAGAIN;
			r->pos += n * 8;
			if (mode == SKIP && op->role == CTF_ROLE_UUID && n == 16)
				r->uuid = d;
			if (mode != SKIP && !(op->flags & OP_HIDDEN)) {
				err = take_bytes(r, op, (const char *)d, n, mode);
				if (err)
					return err;
			}
			at++;
			continue;
		case OP_STRUCT:
			if (mode == SKIP || (mode == TEXT && op->flags & OP_FLAT)) {
				at++;
				continue;
			}
			if (mode == VALUES && !((op->flags & OP_FLAT) && op->count == 1)) {
				err = new_value(r->values, &me);
				if (err)
					return err;
				r->values->v[me].type = GANDER_CTF_STRUCT;
				r->values->v[me].name = op->fc->name ? op->fc->name : "";
				r->values->v[me].count = (uint32_t)op->count;
				err = run_values(r, p, at + 1, op->end);
				r->values->v[me].next = r->values->n;
			} else if (mode == VALUES) {
				/* only around its one value, which takes its place and name */
				me = r->values->n;
				err = run_values(r, p, at + 1, op->end);
				if (!err && r->values->n > me)
					r->values->v[me].name = op->fc->name ? op->fc->name : "";
			} else {
				ctf_put_raw(r->out, "{", 1);
				err = run_text(r, p, at + 1, op->end);
				ctf_put_raw(r->out, "}", 1);
			}
			if (err)
				return err;
			at = op->end;
			continue;
		case OP_SCOPE:
			if (mode != VALUES) {
				at++;
				continue;
			}
			err = new_value(r->values, &me);
			if (err)
				return err;
			r->values->v[me].type = GANDER_CTF_SCOPE;
			r->values->v[me].count = (uint32_t)op->count;
			err = run_body(r, p, at + 1, op->end, mode);
			if (err)
				return err;
			r->values->v[me].next = r->values->n;
			at = op->end;
			continue;
		case OP_ARRAY:
			err = run_list(r, p, op, at, mode);
			if (err)
				return err;
			at = op->end;
			continue;
		default: /* OP_VARIANT, OP_OPTIONAL */
			v = r->regs[op->source - 1];
			if (op->op == OP_OPTIONAL) {
				if (op->option->nranges ? in_ranges(op->fc->target, op->option, v) : v != 0) {
					err = run_body(r, p, op->option->begin, op->option->end, mode);
					if (err)
						return err;
				}
				at = op->end;
				continue;
			}
			for (i = 0; i < op->noptions && !in_ranges(op->fc->target, &op->option[i], v); i++)
				;
			if (i == op->noptions)
				return -EPROTO;
			me = mode == VALUES ? r->values->n : 0;
			err = run_body(r, p, op->option[i].begin, op->option[i].end, mode);
			if (err)
				return err;
			if (mode == VALUES && r->values->n > me)
				r->values->v[me].name = op->fc->name ? op->fc->name : "";
			at = op->end;
			continue;
		}
	}
	return r->pos > r->limit ? -EAGAIN : 0;
}

static int run_skip(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end)
{
	return run(r, p, at, end, SKIP);
}

static int run_values(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end)
{
	return run(r, p, at, end, VALUES);
}

static int run_text(struct ctf_run *r, const struct ctf_prog *p, uint32_t at, uint32_t end)
{
	return run(r, p, at, end, TEXT);
}

int ctf_run_skip(struct ctf_run *r, const struct ctf_prog *p)
{
	return run_skip(r, p, 0, p->n);
}

int ctf_run_values(struct ctf_run *r, const struct ctf_prog *p)
{
	return run_values(r, p, 0, p->n);
}

int ctf_run_text(struct ctf_run *r, const struct ctf_prog *p, uint32_t from, uint32_t to)
{
	int err;

	if (ctf_out_more(r->out, 0) < 0)
		return -ENOMEM;
	err = run_text(r, p, from, to);
	return r->out->failed ? -ENOMEM : err;
}
