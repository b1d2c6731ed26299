/* Links filters: the generic form's instructions one by one, with names replaced by places. An instruction stays one
 * instruction, so distances need no care. The generic form may change meanwhile: an instruction is loaded whole before
 * it is looked at, and names and literals are copied out. What has been written is never believed either: out may be
 * shared. */
#include "region/vm.h"

#include "region/desc.h"
#include "region/region.h"

#include <errno.h>

#define NEVER 0u /* operand type of what no event of the class has: an index beyond an array */

struct linker {
	const uint8_t *in;
	uint32_t in_size;
	struct gd_desc class;
	uint64_t *out;
	uint32_t words, cap; /* used, room */
	uint32_t needs;
};

struct place { /* where an operand is */
	uint8_t type;
	bool optional; /* an event may lack it */
	const uint8_t *type_at;
	uint32_t first, nsteps; /* words of out */
	uint64_t delta;
	const char *text; /* attribute's key, class's name */
	size_t text_len;
};

struct insn {
	uint64_t word[4];
};

static const struct {
	const char *name;
	uint8_t type, need;
} contexts[] = {
	{ "$tid", GD_OPERAND_TID, GD_CTX_TID },
	{ "$goid", GD_OPERAND_GOID, GD_CTX_GOID },
	{ "$cpu", GD_OPERAND_CPU, GD_CTX_CPU },
	{ "$span", GD_OPERAND_SPAN, GD_CTX_SPAN },
	{ "$key", GD_OPERAND_KEY, GD_CTX_KEY },
	{ "$level", GD_OPERAND_LEVEL, 0 },
	{ "$name", GD_OPERAND_NAME, 0 },
};

static bool same_text(const char *a, const char *b, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

static int put_word(struct linker *l, uint64_t w)
{
	if (l->words >= l->cap)
		return -ENOSPC;
	__atomic_store_n(&l->out[l->words++], w, __ATOMIC_RELAXED);
	return 0;
}

/* Appends bytes, padded with zeros; *at is their offset and length as instructions hold it. */
static int put_text(struct linker *l, const char *text, size_t len, uint32_t *at)
{
	uint64_t w;
	size_t i, k;
	int r;

	if (len > GD_FILTER_LINKED_MAX)
		return -ENOSPC;
	*at = l->words * 8 | (uint32_t)len << 16;
	for (i = 0; i < len; i += 8) {
		for (w = 0, k = i; k < len && k < i + 8; k++)
			w |= (uint64_t)((const volatile uint8_t *)text)[k] << (k - i) * 8;
		r = put_word(l, w);
		if (r)
			return r;
	}
	return 0;
}

static void grow(uint64_t *delta, uint64_t n)
{
	*delta += n;
	if (*delta > UINT32_MAX)
		*delta = UINT32_MAX;
}

static int put_step(struct linker *l, struct place *p, uint32_t kind, uint32_t n)
{
	uint64_t fixed = p->delta;

	p->delta = 0;
	return put_word(l, kind | (uint64_t)n << 16 | fixed << 32);
}

static int skip_value(struct linker *l, struct place *p, const uint8_t *type_at);

/* A step that repeats the skipping of one element. */
static int put_repeat(struct linker *l, struct place *p, uint32_t kind, uint32_t n, const uint8_t *elem)
{
	uint32_t at = l->words, sub;
	uint64_t fixed = p->delta;
	int r;

	r = put_step(l, p, kind, n);
	if (!r)
		r = skip_value(l, p, elem);
	if (!r && p->delta)
		r = put_step(l, p, GD_STEP_SKIP, 0);
	if (r)
		return r;
	sub = l->words - at - 1;
	if (sub > UINT8_MAX)
		return -ENOSPC;
	__atomic_store_n(&l->out[at], kind | sub << 8 | (uint64_t)n << 16 | fixed << 32, __ATOMIC_RELAXED);
	return 0;
}

/* Moves the place behind a value of this type. */
static int skip_value(struct linker *l, struct place *p, const uint8_t *type_at)
{
	const uint8_t *end = l->class.end, *at = type_at + 1;
	size_t size = gd_type_fixed_size(type_at, end);
	struct gd_field f;
	unsigned n;
	int r;

	if (size) {
		grow(&p->delta, size);
		return 0;
	}
	switch (type_at[0]) {
	case GD_STRING:
	case GD_BYTES:
		return put_step(l, p, GD_STEP_VAR, 1);
	case GD_ATTRS:
		return put_step(l, p, GD_STEP_ATTRS, 0);
	case GD_SEQUENCE:
		size = gd_type_fixed_size(at, end);
		if (size && size <= UINT16_MAX)
			return put_step(l, p, GD_STEP_VAR, (uint32_t)size);
		return put_repeat(l, p, GD_STEP_SEQ, 0, at);
	case GD_ARRAY:
		return put_repeat(l, p, GD_STEP_ARR, gd_load32(at), at + 4);
	case GD_STRUCT:
		for (n = *at++; n; n--) {
			if (!gd_desc_field(&f, &at, end))
				return -EINVAL;
			r = skip_value(l, p, f.type_at);
			if (r)
				return r;
		}
		return 0;
	}
	return -EINVAL;
}

/* Moves the place to element n. */
static int index_value(struct linker *l, struct place *p, uint32_t n)
{
	const uint8_t *at = p->type_at + 1, *elem = at;
	bool beyond = n > UINT16_MAX;
	size_t size;
	int r = 0;

	if (p->type != GD_ARRAY && p->type != GD_SEQUENCE)
		return -ENOENT;
	if (p->type == GD_ARRAY) {
		beyond = beyond || n >= gd_load32(at);
		elem = at + 4;
	}
	size = gd_type_fixed_size(elem, l->class.end);
	p->type_at = elem;
	p->type = elem[0];
	if (beyond) {
		p->optional = true;
		return 1;
	}
	if (p->type_at == at + 4) {
		if (!size)
			return put_repeat(l, p, GD_STEP_ARR, n, elem);
	} else {
		p->optional = true;
		if (!size)
			return put_repeat(l, p, GD_STEP_NTH, n, elem);
		r = put_step(l, p, GD_STEP_AT, n);
	}
	grow(&p->delta, (uint64_t)n * size);
	return r;
}

/* Reads "[123]"; the bytes read, 0 when it is none. */
static size_t read_index(const char *s, size_t len, uint32_t *n)
{
	size_t i;

	*n = 0;
	for (i = 1; i < len && s[i] >= '0' && s[i] <= '9'; i++)
		*n = *n > UINT16_MAX ? *n : *n * 10 + (uint32_t)(s[i] - '0');
	return i > 1 && i < len && s[i] == ']' ? i + 1 : 0;
}

/* The field whose name the path starts with, the longest if there are several; its number from 1, 0: none. */
static unsigned find_field(const uint8_t *at, unsigned nfields, const uint8_t *end, const char *path, size_t len)
{
	unsigned i, best = 0, best_len = 0;
	struct gd_field f;

	for (i = 1; i <= nfields && gd_desc_field(&f, &at, end); i++) {
		if (f.name_len > len || f.name_len <= best_len || !same_text(f.name, path, f.name_len))
			continue;
		if (f.name_len < len && path[f.name_len] != '.' && path[f.name_len] != '[')
			continue;
		best = i;
		best_len = f.name_len;
	}
	return best;
}

static int resolve_path(struct linker *l, struct place *p, const char *path, size_t len)
{
	const uint8_t *at = l->class.fields, *end = l->class.end;
	unsigned nfields = l->class.nfields, i, number;
	struct gd_field f;
	bool never = false;
	uint32_t n;
	size_t used;
	int r;

	for (;;) {
		number = find_field(at, nfields, end, path, len);
		if (!number)
			return -ENOENT;
		for (i = 1; gd_desc_field(&f, &at, end) && i < number; i++) {
			r = skip_value(l, p, f.type_at);
			if (r)
				return r;
		}
		p->type_at = f.type_at;
		p->type = f.type;
		path += f.name_len;
		len -= f.name_len;
		while (len && path[0] == '[') {
			used = read_index(path, len, &n);
			if (!used)
				return -ENOENT;
			r = index_value(l, p, n);
			if (r < 0)
				return r;
			never |= r == 1;
			path += used;
			len -= used;
		}
		if (!len)
			break;
		if (path[0] != '.' || len == 1)
			return -ENOENT;
		path++;
		len--;
		if (p->type == GD_ATTRS) {
			p->optional = true;
			p->text = path;
			p->text_len = len;
			break;
		}
		if (p->type != GD_STRUCT)
			return -ENOENT;
		nfields = p->type_at[1];
		at = p->type_at + 2;
	}
	if (never)
		p->type = NEVER;
	return 0;
}

/* The class's attrs field, with the whole path as key. */
static int resolve_attr(struct linker *l, struct place *p, const char *path, size_t len)
{
	const uint8_t *at = l->class.fields;
	struct gd_field f;
	int r;

	while (gd_desc_field(&f, &at, l->class.end)) {
		if (f.type == GD_ATTRS) {
			p->type = GD_ATTRS;
			p->type_at = f.type_at;
			p->optional = true;
			p->text = path;
			p->text_len = len;
			return 0;
		}
		r = skip_value(l, p, f.type_at);
		if (r)
			return r;
	}
	return -ENOENT;
}

/* Steps that stand somewhere in out already are used from there. */
static void share_steps(struct linker *l, struct place *p, uint32_t data)
{
	uint32_t i, k;

	p->nsteps = l->words - p->first;
	for (i = data; i + p->nsteps <= p->first; i++) {
		for (k = 0; k < p->nsteps; k++)
			if (__atomic_load_n(&l->out[i + k], __ATOMIC_RELAXED) !=
			    __atomic_load_n(&l->out[p->first + k], __ATOMIC_RELAXED))
				break;
		if (k == p->nsteps) {
			l->words = p->first;
			p->first = i;
			return;
		}
	}
}

static int resolve(struct linker *l, struct place *p, uint64_t where, uint32_t data)
{
	uint32_t off = where & 0xffff, len = where >> 16 & 0xffff, i;
	struct place empty = { .first = l->words };
	char path[GD_FILTER_NAME_MAX];
	int r;

	*p = empty;
	if (!len || len > sizeof(path) || off + len > l->in_size)
		return -EINVAL;
	for (i = 0; i < len; i++)
		path[i] = (char)((const volatile uint8_t *)l->in)[off + i];
	for (i = 0; i < sizeof(contexts) / sizeof(contexts[0]); i++) {
		if (len != __builtin_strlen(contexts[i].name) || !same_text(path, contexts[i].name, len))
			continue;
		p->type = contexts[i].type;
		l->needs |= contexts[i].need;
		p->text = l->class.name;
		p->text_len = p->type == GD_OPERAND_NAME ? l->class.name_len : 0;
		break;
	}
	if (!p->type) {
		r = resolve_path(l, p, path, len);
		if (r == -ENOENT) {
			l->words = empty.first;
			*p = empty;
			r = resolve_attr(l, p, path, len);
		}
		if (r)
			return r;
		share_steps(l, p, data);
	}
	/* the path's own copy ends here: the key goes into the program now */
	i = 0;
	if (p->text_len) {
		r = put_text(l, p->text, p->text_len, &i);
		if (r)
			return r;
	}
	p->text = NULL;
	p->text_len = i;
	return 0;
}

static void put_operand(struct insn *insn, const struct place *p, uint32_t type, uint32_t kind)
{
	insn->word[1] = p->delta | (uint64_t)p->first << 32 | (uint64_t)p->nsteps << 48;
	insn->word[3] = type | kind << 8 | (uint64_t)p->text_len << 32;
}

static uint32_t integer_type(const struct place *p)
{
	uint32_t type = p->type == GD_ENUM ? p->type_at[1] : p->type == GD_BOOL ? GD_U8
										: p->type;

	return type >= GD_U8 && type <= GD_I64 ? type : 0;
}

static uint32_t scalar_type(const struct place *p)
{
	uint32_t type = integer_type(p);

	if (type && p->type == GD_BOOL)
		return GD_BOOL;
	if (type || p->type == GD_F32 || p->type == GD_F64 || p->type == GD_ATTRS || p->type == NEVER)
		return type ? type : p->type;
	return p->type >= GD_OPERAND_TID && p->type <= GD_OPERAND_LEVEL ? p->type : 0;
}

static bool is_string(const struct place *p)
{
	return p->type == GD_STRING || p->type == GD_BYTES || p->type == GD_OPERAND_NAME;
}

/* At a fixed place in the first piece? */
static bool is_fixed(const struct place *p)
{
	return !p->nsteps && p->type < GD_OPERAND_TID && p->type != NEVER;
}

static void negate(struct insn *insn)
{
	insn->word[0] ^= GD_INSN_NOT << 8;
}

/* An integer at a fixed place against an integer: a range. */
static void make_range(struct insn *insn, uint32_t type, unsigned rel, struct gd_num lit)
{
	bool is_signed = type >= GD_I8;
	unsigned bits = 8u << (type - (is_signed ? GD_I8 : GD_U8));
	struct gd_num min = { GD_NUM_I64, is_signed ? -(1ull << (bits - 1)) : 0 };
	struct gd_num max = { is_signed ? GD_NUM_I64 : GD_NUM_U64, ~0ull >> (64 - bits + is_signed) };
	bool opposite = rel == GD_REL_NE || rel == GD_REL_LT || rel == GD_REL_GT;

	switch (rel) {
	case GD_REL_EQ:
	case GD_REL_NE:
		if (gd_num_compare(lit, min) >= 0 && gd_num_compare(lit, max) <= 0)
			min = max = lit;
		else
			opposite = !opposite; /* all, and then not */
		break;
	case GD_REL_LE:
	case GD_REL_GT:
		if (gd_num_compare(lit, min) < 0)
			opposite = !opposite;
		else if (gd_num_compare(lit, max) < 0)
			max = lit;
		break;
	default: /* GE, LT */
		if (gd_num_compare(lit, max) > 0)
			opposite = !opposite;
		else if (gd_num_compare(lit, min) > 0)
			min = lit;
	}
	if (opposite)
		negate(insn);
	insn->word[0] = (insn->word[0] & ~0xffull) | (GD_OP_U8 + type - GD_U8);
	insn->word[2] = min.bits;
	insn->word[3] = max.bits - min.bits;
}

static int link_cmp(struct insn *insn, const struct place *p)
{
	unsigned rel = insn->word[0] >> 48 & 0xff;
	struct gd_num lit = { insn->word[3] >> 8 & 0xff, insn->word[2] };

	if (lit.kind - 1 >= GD_NUM_F64 || rel > GD_REL_GE || (!scalar_type(p) && p->type != NEVER))
		return -EINVAL;
	put_operand(insn, p, scalar_type(p), lit.kind);
	if (is_fixed(p) && integer_type(p) && lit.kind != GD_NUM_F64) {
		insn->word[0] &= ~0xff00ull;
		make_range(insn, integer_type(p), rel, lit);
	}
	return 0;
}

/* An enumeration against text: the ranges of the labels that fit. */
static int link_enum(struct linker *l, struct insn *insn, const struct place *p, const char *want, size_t len)
{
	const uint8_t *at = p->type_at + 4;
	unsigned n = gd_load16(p->type_at + 2), rel = insn->word[0] >> 48 & 0xff;
	uint32_t first = l->words, pairs, work;
	uint64_t low = 0, span = 0;
	int r;

	for (; n; n--, at += 17 + at[16]) {
		work = GD_FILTER_WORK;
		if (!gd_str_holds(rel, (const char *)at + 17, at[16], want, len, &work))
			continue;
		low = gd_load64(at);
		span = gd_load64(at + 8) - low;
		r = put_word(l, low);
		if (!r)
			r = put_word(l, span);
		if (r)
			return r;
	}
	pairs = (l->words - first) / 2;
	if (!pairs)
		return -ENOENT;
	insn->word[0] &= ~0xffull;
	if (pairs == 1 && is_fixed(p)) {
		l->words = first;
		insn->word[0] |= GD_OP_U8 + integer_type(p) - GD_U8;
		insn->word[2] = low;
		insn->word[3] = span;
		return 0;
	}
	insn->word[0] |= GD_OP_SET;
	insn->word[2] = first * 8 | pairs << 16;
	return 0;
}

static int link_str(struct linker *l, struct insn *insn, const struct place *p)
{
	uint32_t off = insn->word[2] & 0xffff, len = insn->word[2] >> 16 & 0xffff, at;
	const char *want = (const char *)l->in + off;
	int r;

	if ((insn->word[0] >> 48 & 0xff) > GD_STR_GLOB || off + len > l->in_size)
		return -EINVAL;
	if (p->type == GD_ENUM) {
		put_operand(insn, p, integer_type(p), 0);
		return link_enum(l, insn, p, want, len);
	}
	if (!is_string(p) && p->type != GD_ATTRS && p->type != NEVER)
		return -EINVAL;
	put_operand(insn, p, p->type, 0);
	r = put_text(l, want, len, &at);
	insn->word[2] = at;
	return r;
}

static void make_const(struct insn *insn, bool yes)
{
	uint64_t go = (insn->word[0] >> (yes ? 16 : 32)) & 0xffff;

	insn->word[0] = GD_OP_CONST | go << 16;
	insn->word[1] = insn->word[2] = insn->word[3] = 0;
}

static int link_len(struct insn *insn, const struct place *p)
{
	uint32_t type = p->type;

	switch (type) {
	case GD_STRING:
	case GD_BYTES:
	case GD_SEQUENCE:
		type = GD_SEQUENCE;
		break;
	case GD_ATTRS:
		type = p->text_len ? GD_ATTRS : GD_SEQUENCE;
		break;
	case GD_ARRAY:
		insn->word[2] = gd_load32(p->type_at + 1);
		break;
	case NEVER:
		break;
	default:
		return -EINVAL;
	}
	put_operand(insn, p, type, 0);
	return 0;
}

static int link_insn(struct linker *l, struct insn *insn, uint32_t data)
{
	uint32_t op = insn->word[0] & 0xff, first = l->words;
	struct place p;
	int r;

	switch (op) {
	case GD_OP_CONST:
		make_const(insn, true);
		return 0;
	case GD_OP_IMM:
		return (insn->word[3] >> 8 & 0xff) - 1 < GD_NUM_F64 ? 0 : -EINVAL;
	case GD_OP_ARITH:
	case GD_OP_CMPR:
		return 0;
	case GD_OP_CMP:
	case GD_OP_STR:
	case GD_OP_HAS:
	case GD_OP_LOAD:
	case GD_OP_LEN:
		break;
	default:
		return -EINVAL;
	}
	r = resolve(l, &p, insn->word[1], data);
	if (op == GD_OP_HAS && (r == -ENOENT || (!r && (!p.optional || p.type == NEVER)))) {
		make_const(insn, !r && p.type != NEVER);
		l->words = first;
		return 0;
	}
	if (r)
		return r;
	if (p.type == GD_ATTRS && !p.text_len && op != GD_OP_LEN && op != GD_OP_HAS)
		return -EINVAL;
	switch (op) {
	case GD_OP_CMP:
		return link_cmp(insn, &p);
	case GD_OP_STR:
		return link_str(l, insn, &p);
	case GD_OP_LEN:
		return link_len(insn, &p);
	case GD_OP_LOAD:
		if (!scalar_type(&p) && !is_string(&p) && p.type != NEVER)
			return -EINVAL;
		put_operand(insn, &p, is_string(&p) ? p.type : scalar_type(&p), 0);
		return 0;
	default:
		put_operand(insn, &p, p.type, 0);
		return 0;
	}
}

int gd_filter_link(const void *generic, size_t len, const void *desc, size_t desc_len, void *out, size_t cap)
{
	struct linker l = { .in = generic, .out = out };
	struct insn insn;
	uint32_t i, k, ninsn, key, data;
	uint64_t head[2];
	int r;

	if (((uintptr_t)generic & 7) || ((uintptr_t)out & 7) || len < sizeof(struct gd_filter_head))
		return -EINVAL;
	head[0] = __atomic_load_n((const uint64_t *)generic, __ATOMIC_RELAXED);
	head[1] = __atomic_load_n((const uint64_t *)generic + 1, __ATOMIC_RELAXED);
	l.in_size = head[0] >> 32;
	ninsn = head[1] & 0xffff;
	key = head[1] >> 16 & 0xffff;
	data = 4 + 4 * ninsn;
	if ((uint32_t)head[0] != GD_FILTER_GENERIC || l.in_size > len || l.in_size > GD_FILTER_GENERIC_MAX || !ninsn ||
	    data * 8 > l.in_size || key > ninsn)
		return -EINVAL;
	r = gd_desc_parse(&l.class, desc, desc_len);
	if (r)
		return r;
	l.cap = (uint32_t)((cap < GD_FILTER_LINKED_MAX ? cap : GD_FILTER_LINKED_MAX) / 8);
	if (l.cap < data)
		return -ENOSPC;
	l.words = data;
	for (i = 0; i < ninsn; i++) {
		for (k = 0; k < 4; k++)
			insn.word[k] = __atomic_load_n((const uint64_t *)generic + 4 + 4 * i + k, __ATOMIC_RELAXED);
		if (key == i + 1 && (insn.word[0] & 0xff) != GD_OP_LOAD)
			return -EINVAL;
		r = link_insn(&l, &insn, data);
		if (r)
			return r;
		for (k = 0; k < 4; k++)
			__atomic_store_n(&l.out[4 + 4 * i + k], insn.word[k], __ATOMIC_RELAXED);
	}
	__atomic_store_n(&l.out[1], ninsn | (uint64_t)key << 16 | (uint64_t)l.needs << 32, __ATOMIC_RELAXED);
	__atomic_store_n(&l.out[2], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&l.out[3], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&l.out[0], GD_FILTER_LINKED | (uint64_t)l.words << 35, __ATOMIC_RELAXED);
	return (int)l.words * 8;
}
