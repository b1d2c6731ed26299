/* Runs filters. The proof that it ends and reads nothing else is in docs/filters.md; in short: `pc` only grows and is
 * compared with a number of instructions that was bounded by `avail`; every offset that comes out of the program is
 * compared with the program's or the piece's length right where it is used; loops over data are paid for out of `work`.
 */
#include "region/vm.h"

#include "region/desc.h"
#include "region/glob.h"
#include "region/region.h"

#define VALUE_STR 4u /* beyond GD_NUM_ */

struct value {
	uint32_t kind; /* GD_NUM_ or VALUE_STR */
	uint32_t len;
	union {
		uint64_t bits;
		const uint8_t *str;
	};
};

struct program {
	const uint64_t *word;
	uint32_t words; /* that may be read */
	uint32_t work;
	const struct gd_view *view;
};

struct cursor {
	uint32_t piece;
	uint64_t off; /* in the piece; may stand at or beyond its end until it is settled */
};

static uint64_t load_word(const uint64_t *word, uint32_t i)
{
	return __atomic_load_n(word + i, __ATOMIC_RELAXED);
}

static bool pay(struct program *p, uint32_t n)
{
	if (p->work < n) {
		p->work = 0;
		return false;
	}
	p->work -= n;
	return true;
}

/* Bytes of the program, NULL when they are not inside. */
static const uint8_t *program_bytes(const struct program *p, uint32_t off, uint32_t len)
{
	return (uint64_t)off + len <= (uint64_t)p->words * 8 ? (const uint8_t *)p->word + off : NULL;
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i;

	if (n >= 8) {
		for (i = 0; i < n - 8; i += 8)
			if (gd_load64(a + i) != gd_load64(b + i))
				return false;
		return gd_load64(a + n - 8) == gd_load64(b + n - 8);
	}
	if (n >= 4)
		return gd_load32(a) == gd_load32(b) && gd_load32(a + n - 4) == gd_load32(b + n - 4);
	for (i = 0; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/* Moves a place behind a piece's end into the piece where it is; false when that is beyond the payload. */
static bool settle(const struct gd_view *v, struct cursor *c)
{
	while (c->piece < v->npieces && c->off >= v->piece[c->piece].len) {
		c->off -= v->piece[c->piece].len;
		c->piece++;
	}
	return c->piece < v->npieces || !c->off;
}

/* The next n bytes, and on behind them; NULL when they do not stand in one piece. */
static const uint8_t *take(const struct gd_view *v, struct cursor *c, uint32_t n)
{
	const struct gd_piece *piece;
	const uint8_t *at;

	if (!settle(v, c))
		return NULL;
	if (!n)
		return (const uint8_t *)"";
	if (c->piece >= v->npieces)
		return NULL;
	piece = &v->piece[c->piece];
	if (piece->len - c->off < n)
		return NULL;
	at = (const uint8_t *)piece->data + c->off;
	c->off += n;
	return at;
}

static bool take16(const struct gd_view *v, struct cursor *c, uint32_t *n)
{
	const uint8_t *at = take(v, c, 2);

	if (!at)
		return false;
	*n = gd_load16(at);
	return true;
}

/* One attribute's key, tag and value; NULL key: it is not in one piece. */
static bool take_attr(const struct gd_view *v, struct cursor *c, const uint8_t **key, uint32_t *key_len,
		      struct value *val)
{
	const uint8_t *at;
	struct cursor at_key;
	uint32_t tag;

	if (!take16(v, c, key_len))
		return false;
	at_key = *c;
	*key = take(v, &at_key, *key_len);
	c->off += *key_len;
	at = take(v, c, 1);
	if (!at)
		return false;
	tag = *at;
	val->kind = GD_NUM_NONE;
	if (tag == GD_ATTR_STRING) {
		if (!take16(v, c, &val->len))
			return false;
		at_key = *c;
		val->str = take(v, &at_key, val->len);
		if (val->str)
			val->kind = VALUE_STR;
		c->off += val->len;
		return true;
	}
	at = take(v, c, tag == GD_ATTR_BOOL ? 1 : 8);
	if (!at || tag > GD_ATTR_TIME)
		return false;
	val->kind = tag == GD_ATTR_U64 ? GD_NUM_U64 : tag == GD_ATTR_F64 ? GD_NUM_F64
									 : GD_NUM_I64;
	val->bits = tag == GD_ATTR_BOOL ? *at : gd_load64(at);
	return true;
}

static bool skip_attrs(struct program *p, struct cursor *c)
{
	const uint8_t *key;
	uint32_t n, key_len;
	struct value val;

	if (!take16(p->view, c, &n))
		return false;
	for (; n; n--)
		if (!pay(p, 1) || !take_attr(p->view, c, &key, &key_len, &val))
			return false;
	return true;
}

static bool walk(struct program *p, struct cursor *c, uint32_t first, uint32_t nsteps, unsigned depth);

static bool walk_times(struct program *p, struct cursor *c, uint32_t times, uint32_t first, uint32_t nsteps,
		       unsigned depth)
{
	for (; times; times--)
		if (!pay(p, 1) || !walk(p, c, first, nsteps, depth + 1))
			return false;
	return true;
}

/* Takes the steps [first, first + nsteps), which are words of the program. */
static bool walk(struct program *p, struct cursor *c, uint32_t first, uint32_t nsteps, unsigned depth)
{
	uint32_t i, kind, sub, n, count;
	uint64_t w;

	if (depth > GD_STEP_DEPTH)
		return false;
	for (i = first; i < first + nsteps; i++) {
		if (i >= p->words || !pay(p, 1))
			return false;
		w = load_word(p->word, i);
		kind = w & 0xff;
		sub = w >> 8 & 0xff;
		n = w >> 16 & 0xffff;
		c->off += w >> 32;
		if (!settle(p->view, c))
			return false;
		switch (kind) {
		case GD_STEP_VAR:
			if (!take16(p->view, c, &count))
				return false;
			c->off += (uint64_t)count * n;
			break;
		case GD_STEP_SEQ:
			if (!take16(p->view, c, &count) || !walk_times(p, c, count, i + 1, sub, depth))
				return false;
			break;
		case GD_STEP_ARR:
			if (!walk_times(p, c, n, i + 1, sub, depth))
				return false;
			break;
		case GD_STEP_ATTRS:
			if (!skip_attrs(p, c))
				return false;
			break;
		case GD_STEP_AT:
		case GD_STEP_NTH:
			if (!take16(p->view, c, &count) || n >= count)
				return false;
			if (kind == GD_STEP_NTH && !walk_times(p, c, n, i + 1, sub, depth))
				return false;
			break;
		case GD_STEP_SKIP:
			break;
		default:
			return false;
		}
		if (kind == GD_STEP_SEQ || kind == GD_STEP_ARR || kind == GD_STEP_NTH)
			i += sub;
	}
	return true;
}

/* Puts the cursor on an instruction's operand. */
static bool locate(struct program *p, struct cursor *c, uint64_t where)
{
	uint32_t nsteps = (uint32_t)(where >> 48);

	c->piece = 0;
	c->off = 0;
	if (nsteps && !walk(p, c, where >> 32 & 0xffff, nsteps, 0))
		return false;
	c->off += (uint32_t)where;
	return settle(p->view, c);
}

static void load_attr(struct program *p, struct cursor *c, uint64_t operand, struct value *val)
{
	uint32_t n, len, want_len = (uint32_t)(operand >> 48);
	const uint8_t *key, *want = program_bytes(p, operand >> 32 & 0xffff, want_len);

	val->kind = GD_NUM_NONE;
	if (!want || !take16(p->view, c, &n))
		return;
	for (; n; n--) {
		if (!pay(p, 1) || !take_attr(p->view, c, &key, &len, val))
			break;
		if (key && len == want_len && same_bytes(key, want, len))
			return;
	}
	val->kind = GD_NUM_NONE;
}

static void load_context(struct program *p, uint64_t operand, struct value *val)
{
	val->kind = GD_NUM_U64;
	switch (operand & 0xff) {
	case GD_OPERAND_TID:
		val->bits = p->view->tid;
		break;
	case GD_OPERAND_GOID:
		val->bits = p->view->goid;
		break;
	case GD_OPERAND_CPU:
		val->bits = p->view->cpu;
		break;
	case GD_OPERAND_SPAN:
		val->bits = p->view->span;
		break;
	case GD_OPERAND_KEY:
		val->bits = p->view->key;
		break;
	case GD_OPERAND_LEVEL:
		val->bits = p->view->level;
		break;
	case GD_OPERAND_NAME:
		val->len = (uint32_t)(operand >> 48);
		val->str = program_bytes(p, operand >> 32 & 0xffff, val->len);
		val->kind = val->str ? VALUE_STR : GD_NUM_NONE;
		break;
	default:
		val->kind = GD_NUM_NONE;
	}
}

static const uint8_t type_size[] = {
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

static void load_operand(struct program *p, uint64_t where, uint64_t operand, struct value *val)
{
	uint32_t type = operand & 0xff;
	struct cursor c;
	const uint8_t *at;
	double wide;
	float narrow;

	val->kind = GD_NUM_NONE;
	if (type >= GD_OPERAND_TID) {
		load_context(p, operand, val);
		return;
	}
	if (!locate(p, &c, where))
		return;
	switch (type) {
	case GD_ATTRS:
		load_attr(p, &c, operand, val);
		return;
	case GD_STRING:
	case GD_BYTES:
		if (!take16(p->view, &c, &val->len))
			return;
		val->str = take(p->view, &c, val->len);
		if (val->str)
			val->kind = VALUE_STR;
		return;
	}
	if (type >= sizeof(type_size) || !type_size[type])
		return;
	at = take(p->view, &c, type_size[type]);
	if (!at)
		return;
	val->kind = GD_NUM_I64;
	switch (type) {
	case GD_U8:
	case GD_BOOL:
		val->bits = *at;
		break;
	case GD_U16:
		val->bits = gd_load16(at);
		break;
	case GD_U32:
		val->bits = gd_load32(at);
		break;
	case GD_U64:
		val->bits = gd_load64(at);
		val->kind = GD_NUM_U64;
		break;
	case GD_I8:
		val->bits = (uint64_t)(int8_t)*at;
		break;
	case GD_I16:
		val->bits = (uint64_t)(int16_t)gd_load16(at);
		break;
	case GD_I32:
		val->bits = (uint64_t)(int32_t)gd_load32(at);
		break;
	case GD_I64:
		val->bits = gd_load64(at);
		break;
	case GD_F32:
		__builtin_memcpy(&narrow, at, sizeof(narrow));
		wide = narrow;
		__builtin_memcpy(&val->bits, &wide, sizeof(wide));
		val->kind = GD_NUM_F64;
		break;
	case GD_F64:
		val->bits = gd_load64(at);
		val->kind = GD_NUM_F64;
		break;
	}
}

static void load_length(struct program *p, uint64_t where, uint64_t a, uint64_t operand, struct value *val)
{
	struct cursor c;
	uint32_t n;

	val->kind = GD_NUM_NONE;
	if (!locate(p, &c, where))
		return;
	switch (operand & 0xff) {
	case GD_ATTRS:
		load_attr(p, &c, operand, val);
		if (val->kind != VALUE_STR) {
			val->kind = GD_NUM_NONE;
			return;
		}
		val->bits = val->len;
		break;
	case GD_SEQUENCE:
		if (!take16(p->view, &c, &n))
			return;
		val->bits = n;
		break;
	case GD_ARRAY:
		val->bits = a;
		break;
	default:
		return;
	}
	val->kind = GD_NUM_I64;
}

static bool has_operand(struct program *p, uint64_t where, uint64_t operand)
{
	struct cursor c;
	struct value val;

	switch (operand & 0xff) {
	case GD_ATTRS:
		load_operand(p, where, operand, &val);
		return val.kind != GD_NUM_NONE;
	case 0:
		return false;
	default:
		return locate(p, &c, where);
	}
}

static bool contains(const uint8_t *text, size_t len, const uint8_t *want, size_t want_len, uint32_t *work)
{
	uint32_t price = 1 + (uint32_t)want_len / 8;
	size_t i;

	for (i = 0; i + want_len <= len; i++) {
		if (*work < price)
			return false;
		*work -= price;
		if (same_bytes(text + i, want, want_len))
			return true;
	}
	return false;
}

bool gd_str_holds(unsigned rel, const char *text, size_t len, const char *want, size_t want_len, uint32_t *work)
{
	const uint8_t *t = (const uint8_t *)text, *w = (const uint8_t *)want;

	if (rel == GD_STR_GLOB)
		return gd_glob_match_bounded(want, want_len, text, len, work);
	if (len < want_len)
		return false;
	switch (rel) {
	case GD_STR_EQ:
		return len == want_len && same_bytes(t, w, len);
	case GD_STR_PREFIX:
		return same_bytes(t, w, want_len);
	case GD_STR_SUFFIX:
		return same_bytes(t + len - want_len, w, want_len);
	case GD_STR_CONTAINS:
		return contains(t, len, w, want_len, work);
	}
	return false;
}

static bool string_holds(struct program *p, unsigned rel, const struct value *val, uint64_t literal)
{
	uint32_t len = literal >> 16 & 0xffff;
	const uint8_t *want = program_bytes(p, literal & 0xffff, len);

	return want && gd_str_holds(rel, (const char *)val->str, val->len, (const char *)want, len, &p->work);
}

static bool in_set(struct program *p, const struct value *val, uint64_t set)
{
	uint32_t at = (set & 0xffff) / 8, pairs = set >> 16 & 0xffff;

	for (; pairs; pairs--, at += 2) {
		if (at + 1 >= p->words)
			return false;
		if (val->bits - load_word(p->word, at) <= load_word(p->word, at + 1))
			return true;
	}
	return false;
}

static struct gd_num as_num(const struct value *val)
{
	struct gd_num none = { GD_NUM_NONE, 0 }, n = { val->kind, val->bits };

	return val->kind <= GD_NUM_F64 ? n : none;
}

static bool values_hold(unsigned rel, const struct value *x, const struct value *y)
{
	bool same;

	if (x->kind != VALUE_STR || y->kind != VALUE_STR)
		return gd_num_holds(rel, as_num(x), as_num(y));
	same = x->len == y->len && same_bytes(x->str, y->str, x->len);
	return rel == GD_REL_EQ ? same : rel == GD_REL_NE && !same;
}

static void take_key(struct program *p, uint32_t insn, struct gd_filter_key *key)
{
	struct value val;
	uint32_t i, type;
	uint64_t operand;

	__builtin_memset(key, 0, sizeof(*key));
	if (!insn || 4 * insn + 4 > p->words)
		return;
	operand = load_word(p->word, 4 * insn + 3);
	load_operand(p, load_word(p->word, 4 * insn + 1), operand, &val);
	type = operand & 0xff;
	if (val.kind == VALUE_STR) {
		key->kind = GD_KEY_STR;
		key->len = val.len < sizeof(key->value) ? (uint8_t)val.len : sizeof(key->value);
		for (i = 0; i < key->len; i++)
			key->value[i] = (char)val.str[i];
		return;
	}
	if (val.kind == GD_NUM_NONE)
		return;
	if (val.kind == GD_NUM_F64)
		key->kind = GD_KEY_F64;
	else if (val.kind == GD_NUM_U64 || type <= GD_U64 || type == GD_BOOL)
		key->kind = GD_KEY_U64;
	else
		key->kind = GD_KEY_I64;
	key->len = 8;
	__builtin_memcpy(key->value, &val.bits, 8);
}

/* How many words of it may be read; 0 when there is no program. */
static uint32_t program_words(const void *linked, size_t avail, uint64_t *head)
{
	uint64_t size;

	if (((uintptr_t)linked & 7) || avail < sizeof(struct gd_filter_head))
		return 0;
	*head = load_word(linked, 0);
	size = *head >> 32;
	if ((uint32_t)*head != GD_FILTER_LINKED || size > GD_FILTER_LINKED_MAX || size > avail)
		return 0;
	return (uint32_t)(size / 8);
}

uint32_t gd_filter_needs(const void *linked, size_t avail)
{
	uint64_t head;

	return program_words(linked, avail, &head) < 4 ? 0 : (load_word(linked, 1) >> 32) & GD_CTX_ALL;
}

/* Where a decision leads: at moves, or the answer is returned. */
static inline bool go_on(uint64_t w, bool hit, uint32_t *at, uint32_t *go)
{
	*go = (hit ? w >> 16 : w >> 32) & 0xffff;
	*at += 4 * *go;
	return *go < GD_GO_PASS;
}

static int answer(struct program *p, uint32_t go, uint32_t key_insn, struct gd_filter_key *key)
{
	if (go == GD_GO_REJECT)
		return 0;
	if (key)
		take_key(p, key_insn, key);
	return 1;
}

static bool string_insn(struct program *p, uint64_t w, uint64_t where, uint64_t a, uint64_t b)
{
	struct value val;

	load_operand(p, where, b, &val);
	return val.kind == VALUE_STR && string_holds(p, w >> 48 & 0xff, &val, a) != (w >> 8 & GD_INSN_NOT);
}

/* An integer at a fixed place in the first piece, in a range? */
static inline bool range_insn(const struct gd_view *v, uint64_t w, uint64_t where, uint64_t a, uint64_t b)
{
	uint64_t x = 0, off = (uint32_t)where, len = v->npieces ? v->piece[0].len : 0;
	const uint8_t *d = len ? (const uint8_t *)v->piece[0].data : NULL;
	bool there;

	switch (w & 0xff) {
#define FIXED(op, size, load) \
	case op: \
		there = off + (size) <= len; \
		if (there) \
			x = (uint64_t)(load); \
		break;
		FIXED(GD_OP_U8, 1, d[off])
		FIXED(GD_OP_U16, 2, gd_load16(d + off))
		FIXED(GD_OP_U32, 4, gd_load32(d + off))
		FIXED(GD_OP_I8, 1, (int8_t)d[off])
		FIXED(GD_OP_I16, 2, (int16_t)gd_load16(d + off))
		FIXED(GD_OP_I32, 4, (int32_t)gd_load32(d + off))
#undef FIXED
	default:
		there = off + 8 <= len;
		if (there)
			x = gd_load64(d + off);
	}
	return there && (x - a <= b) != (w >> 8 & GD_INSN_NOT);
}

/* Goes on at any instruction. Apart from gd_filter_run() so that the common filters do not pay for its registers. */
static __attribute__((noinline)) int run_any(struct program *p, uint32_t at, uint32_t end, uint32_t key_insn,
					     struct gd_filter_key *key)
{
	struct value val, reg[GD_REGISTERS];
	struct gd_num num;
	uint64_t w, where, a, b;
	uint32_t valid = 0, left, right, go;
	unsigned rel;
	bool hit;

	while (at + 4 <= end) {
		w = load_word(p->word, at);
		where = load_word(p->word, at + 1);
		a = load_word(p->word, at + 2);
		b = load_word(p->word, at + 3);
		at += 4;
		rel = w >> 48 & 0xff;
		left = w >> 56 & (GD_REGISTERS - 1);
		right = w >> 60 & (GD_REGISTERS - 1);
		hit = false;
		switch (w & 0xff) {
		case GD_OP_CONST:
			hit = true;
			break;
		case GD_OP_U8:
		case GD_OP_U16:
		case GD_OP_U32:
		case GD_OP_U64:
		case GD_OP_I8:
		case GD_OP_I16:
		case GD_OP_I32:
		case GD_OP_I64:
			hit = range_insn(p->view, w, where, a, b);
			break;
		case GD_OP_STR:
			hit = string_insn(p, w, where, a, b);
			break;
		case GD_OP_CMP:
			load_operand(p, where, b, &val);
			num.kind = b >> 8 & 0xff;
			num.bits = a;
			hit = gd_num_holds(rel, as_num(&val), num);
			break;
		case GD_OP_SET:
			load_operand(p, where, b, &val);
			if (val.kind == GD_NUM_I64 || val.kind == GD_NUM_U64)
				hit = in_set(p, &val, a) != (w >> 8 & GD_INSN_NOT);
			break;
		case GD_OP_HAS:
			hit = has_operand(p, where, b);
			break;
		case GD_OP_LOAD:
			valid |= 1u << left;
			load_operand(p, where, b, &reg[left]);
			continue;
		case GD_OP_LEN:
			valid |= 1u << left;
			load_length(p, where, a, b, &reg[left]);
			continue;
		case GD_OP_IMM:
			valid |= 1u << left;
			reg[left].kind = b >> 8 & 0xff;
			reg[left].bits = a;
			if (reg[left].kind > GD_NUM_F64)
				reg[left].kind = GD_NUM_NONE;
			continue;
		case GD_OP_ARITH:
		case GD_OP_CMPR:
			if (!(valid >> left & 1))
				reg[left].kind = GD_NUM_NONE;
			if (!(valid >> right & 1))
				reg[right].kind = GD_NUM_NONE;
			valid |= 1u << left | 1u << right;
			if ((w & 0xff) == GD_OP_CMPR) {
				hit = values_hold(rel, &reg[left], &reg[right]);
				break;
			}
			num = gd_num_arith(rel, as_num(&reg[left]), as_num(&reg[right]));
			reg[left].kind = num.kind;
			reg[left].bits = num.bits;
			continue;
		default:
			return 0;
		}
		if (!go_on(w, hit, &at, &go))
			return answer(p, go, key_insn, key);
	}
	return 0;
}

/* A string that is the first piece's last field, as most are, against a literal; -1: it is not that simple. */
static inline int quick_string(struct program *p, uint64_t w, uint64_t where, uint64_t a, uint64_t b)
{
	const struct gd_piece *piece = p->view->piece;
	uint32_t len = a >> 16 & 0xffff, off = a & 0xffff;
	const uint8_t *want = (const uint8_t *)p->word + off, *text;
	unsigned rel = w >> 48 & 0xff;
	bool hit;

	if (where >> 48 || ((b & 0xff) != GD_STRING && (b & 0xff) != GD_BYTES) || p->view->npieces < 2 ||
	    (uint64_t)(uint32_t)where + 2 != piece->len || off + len > p->words * 8)
		return -1;
	text = piece[1].data;
	if (gd_load16((const uint8_t *)piece->data + piece->len - 2) != piece[1].len)
		return -1;
	if (rel == GD_STR_PREFIX)
		hit = piece[1].len >= len && same_bytes(text, want, len);
	else
		hit = gd_str_holds(rel, (const char *)text, piece[1].len, (const char *)want, len, &p->work);
	return hit != (w >> 8 & GD_INSN_NOT);
}

int gd_filter_run(const void *linked, size_t avail, const struct gd_view *v, struct gd_filter_key *key)
{
	struct program p;
	uint64_t head, w, where, a, b;
	uint32_t at, end, go, op;
	int hit;

	p.word = linked;
	p.words = program_words(linked, avail, &head);
	if (p.words < 8)
		return 0;
	p.work = GD_FILTER_WORK;
	p.view = v;
	head = load_word(p.word, 1);
	end = 4 + 4 * (uint32_t)(head & 0xffff);
	if (end > p.words)
		end = p.words;
	for (at = 4; at + 4 <= end;) {
		w = load_word(p.word, at);
		op = w & 0xff;
		if (op - GD_OP_U8 > GD_OP_I64 - GD_OP_U8 && op != GD_OP_STR)
			return run_any(&p, at, end, head >> 16 & 0xffff, key);
		where = load_word(p.word, at + 1);
		a = load_word(p.word, at + 2);
		b = load_word(p.word, at + 3);
		at += 4;
		if (op != GD_OP_STR) {
			hit = range_insn(v, w, where, a, b);
		} else {
			hit = quick_string(&p, w, where, a, b);
			if (hit < 0)
				hit = string_insn(&p, w, where, a, b);
		}
		if (!go_on(w, hit, &at, &go))
			return answer(&p, go, head >> 16 & 0xffff, key);
	}
	return 0;
}
