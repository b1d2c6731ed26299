/* Parses filter expressions by recursive descent. Precedence is Go's: || && ! comparisons, + - | ^, * / % << >> &.
 * Recursion is bounded by FILTER_DEPTH, everything else by the text's length. */
#include "filter/filter_ast.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
	struct filter *f;
	const char *text;
	size_t at;
	unsigned depth;
	struct err *err;
	int failed; /* -Exxx */
};

#define SHOWN 72 /* columns of the text that an error shows */

int filter_complain(const char *text, size_t column, struct err *err, const char *fmt, ...)
{
	size_t from = column > SHOWN - 12 ? column - (SHOWN - 12) : 0, i, blanks = 0, n = 0;
	char what[200], line[SHOWN + 8];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	while (from && (text[from] & 0xc0) == 0x80)
		from--;
	for (i = from; text[i] && n < SHOWN; i++) {
		if (i < column && (text[i] & 0xc0) != 0x80)
			blanks++;
		line[n++] = (unsigned char)text[i] < ' ' || text[i] == 127 ? ' ' : text[i];
	}
	for (; n && (text[i] & 0xc0) == 0x80; i--) /* no half characters */
		n--;
	return err_set(err, -EINVAL, "%s\n  %.*s\n  %*s^", what, (int)n, line, (int)blanks, "");
}

#define complain(p, column, ...) \
	((p)->failed ? (p)->failed : ((p)->failed = filter_complain((p)->text, column, (p)->err, __VA_ARGS__)))

static const char *const context_names[] = { "$tid", "$goid", "$cpu", "$span", "$key", "$level", "$name" };

static void skip_space(struct parser *p)
{
	while (p->text[p->at] && strchr(" \t\r\n", p->text[p->at]))
		p->at++;
}

/* Eats the sign if it is next, and not the start of a longer one that begins with a byte of `unless`. */
static bool eat(struct parser *p, const char *sign, const char *unless)
{
	size_t n = strlen(sign);

	skip_space(p);
	if (strncmp(p->text + p->at, sign, n) || (p->text[p->at + n] && strchr(unless, p->text[p->at + n])))
		return false;
	p->at += n;
	return true;
}

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

static bool eat_word(struct parser *p, const char *word)
{
	size_t n = strlen(word);

	skip_space(p);
	if (strncmp(p->text + p->at, word, n) || in_name(p->text[p->at + n]))
		return false;
	p->at += n;
	return true;
}

/* A node's index; 0, which is a node that nobody refers to, after a failure. */
static uint16_t new_node(struct parser *p, unsigned kind, unsigned op, size_t column, uint16_t left, uint16_t right)
{
	struct filter_node n = { .kind = kind, .op = op, .left = left, .right = right, .column = (uint32_t)column };

	if (p->failed)
		return 0;
	if (p->f->nnodes >= FILTER_NODES) {
		complain(p, column, "the filter is too long: it may have %d parts", FILTER_NODES - 1);
		return 0;
	}
	p->f->node[p->f->nnodes] = n;
	return p->f->nnodes++;
}

static struct filter_node *node(struct parser *p, uint16_t i)
{
	return &p->f->node[i];
}

static uint16_t new_number(struct parser *p, size_t column, struct gd_num num)
{
	uint16_t i = new_node(p, NODE_NUMBER, 0, column, 0, 0);

	node(p, i)->num = num;
	return i;
}

static struct gd_num integer(uint64_t v)
{
	struct gd_num n = { v >> 63 ? GD_NUM_U64 : GD_NUM_I64, v };

	return n;
}

static const struct {
	const char *unit;
	double factor;
} units[] = {
	{ "ns", 1 },
	{ "us", 1e3 },
	{ "\xc2\xb5s", 1e3 },
	{ "\xce\xbcs", 1e3 },
	{ "ms", 1e6 },
	{ "s", 1e9 },
	{ "m", 60e9 },
	{ "h", 3600e9 },
	{ "k", 1024 },
	{ "K", 1024 },
	{ "M", 1048576 },
	{ "G", 1073741824 },
	{ "T", 1099511627776 },
};

static uint16_t parse_number(struct parser *p)
{
	const char *s = p->text + p->at;
	size_t column = p->at, n = 0, unit, i;
	struct gd_num num = { GD_NUM_F64, 0 };
	bool whole = true;
	uint64_t v = 0;
	double d;
	char digits[64];

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		for (n = 2; isxdigit((unsigned char)s[n]); n++) {
			if (v >> 60)
				goto big;
			v = v * 16 + (uint64_t)(isdigit((unsigned char)s[n]) ? s[n] - '0' : (s[n] | 32) - 'a' + 10);
		}
		if (n == 2 || in_name(s[n]))
			goto bad;
		p->at += n;
		return new_number(p, column, integer(v));
	}
	for (; isdigit((unsigned char)s[n]); n++) {
		whole = whole && !__builtin_mul_overflow(v, 10, &v) &&
			!__builtin_add_overflow(v, (uint64_t)(s[n] - '0'), &v);
	}
	if (!whole)
		goto big;
	if (s[n] == '.' && isdigit((unsigned char)s[n + 1])) {
		whole = false;
		for (n++; isdigit((unsigned char)s[n]); n++)
			;
	}
	if ((s[n] == 'e' || s[n] == 'E') &&
	    (isdigit((unsigned char)s[n + 1]) ||
	     ((s[n + 1] == '-' || s[n + 1] == '+') && isdigit((unsigned char)s[n + 2])))) {
		whole = false;
		for (n += 2; isdigit((unsigned char)s[n]); n++)
			;
	}
	if (n >= sizeof(digits))
		goto big;
	memcpy(digits, s, n);
	digits[n] = 0;
	d = whole ? (double)v : strtod(digits, NULL);
	for (unit = n; in_name(s[unit]); unit++)
		;
	p->at += unit;
	if (unit > n) {
		for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
			if (strlen(units[i].unit) == unit - n && !memcmp(units[i].unit, s + n, unit - n))
				break;
		if (i == sizeof(units) / sizeof(units[0])) {
			complain(p, column + n,
				 "'%.*s' is no unit: ns us ms s m h are times, k M G T are sizes (powers of 1024)",
				 (int)(unit - n), s + n);
			return 0;
		}
		if (!whole) {
			d = round(d * units[i].factor);
			if (!(d < 18446744073709551616.0))
				goto big;
			v = (uint64_t)d;
			whole = true;
		} else if (__builtin_mul_overflow(v, (uint64_t)units[i].factor, &v)) {
			goto big;
		}
	}
	if (whole)
		return new_number(p, column, integer(v));
	if (isinf(d))
		goto big;
	memcpy(&num.bits, &d, sizeof(d));
	return new_number(p, column, num);
big:
	complain(p, column, "the number is too big for 64 bits");
	return 0;
bad:
	complain(p, column, "this is no number");
	return 0;
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10
										: -1;
}

/* "..." with escapes, '...' without. */
static uint16_t parse_text(struct parser *p)
{
	size_t column = p->at, from = p->f->texts_len;
	const char *s = p->text + p->at;
	char quote = *s++, *out = p->f->texts;
	uint16_t i;

	while (*s && *s != quote) {
		char c = *s++;

		if (c == '\\' && quote == '"' && *s) {
			c = *s++;
			if (c == 'n') {
				c = '\n';
			} else if (c == 't') {
				c = '\t';
			} else if (c == 'x' && hex_digit(s[0]) >= 0 && hex_digit(s[1]) >= 0) {
				c = (char)(hex_digit(s[0]) * 16 + hex_digit(s[1]));
				s += 2;
			} else if (c != '"' && c != '\\') {
				out[p->f->texts_len++] = '\\'; /* \* and its like are the glob's */
			}
		}
		out[p->f->texts_len++] = c;
	}
	if (!*s) {
		complain(p, column, "the string has no closing %c", quote);
		return 0;
	}
	p->at = (size_t)(s + 1 - p->text);
	i = new_node(p, NODE_TEXT, 0, column, 0, 0);
	node(p, i)->text = (uint32_t)from;
	node(p, i)->len = (uint32_t)(p->f->texts_len - from);
	out[p->f->texts_len++] = 0;
	return i;
}

/* Copies one part of a name, `plain` or in backquotes; the bytes read. */
static size_t copy_part(struct parser *p, const char *s)
{
	size_t n = 0;

	if (*s == '`') {
		for (n = 1; s[n] && s[n] != '`'; n++)
			p->f->texts[p->f->texts_len++] = s[n];
		return s[n] && n > 1 ? n + 1 : 0;
	}
	if (*s == '$')
		p->f->texts[p->f->texts_len++] = s[n++];
	for (; in_name(s[n]); n++)
		p->f->texts[p->f->texts_len++] = s[n];
	return n;
}

static uint16_t parse_name(struct parser *p, unsigned kind, enum filter_want want)
{
	size_t column, from = p->f->texts_len, n, i;
	struct filter *f = p->f;
	const char *s;
	uint16_t at;

	skip_space(p);
	column = p->at;
	s = p->text + p->at;
	if (!in_name(*s) && *s != '$' && *s != '`') {
		complain(p, column, "here should be a field");
		return 0;
	}
	n = copy_part(p, s);
	while (n && (s[n] == '.' || s[n] == '[')) {
		if (s[n] == '.') {
			f->texts[f->texts_len++] = s[n++];
			i = copy_part(p, s + n);
			n = i ? n + i : 0;
			continue;
		}
		for (i = n + 1; isdigit((unsigned char)s[i]); i++)
			;
		if (i == n + 1 || s[i] != ']') {
			complain(p, column + n + 1, "an index is a number: a[3]");
			return 0;
		}
		memcpy(f->texts + f->texts_len, s + n, i + 1 - n);
		f->texts_len += (uint32_t)(i + 1 - n);
		n = i + 1;
	}
	if (!n || f->texts_len - from > GD_FILTER_NAME_MAX) {
		complain(p, column,
			 n ? "the name is too long: %u bytes at most" : "the name has an empty or unclosed part",
			 GD_FILTER_NAME_MAX);
		return 0;
	}
	f->texts[f->texts_len++] = 0;
	if (*s == '$') {
		for (i = 0; i < sizeof(context_names) / sizeof(context_names[0]); i++)
			if (!strcmp(context_names[i], f->texts + from))
				break;
		if (i == sizeof(context_names) / sizeof(context_names[0])) {
			complain(p, column, "there is no '%.40s': $tid $goid $cpu $span $key $level $name are",
				 f->texts + from);
			return 0;
		}
	}
	p->at += n;
	for (i = 0; i < f->nnames; i++)
		if (f->name[i].want == want && !strcmp(f->name[i].text, f->texts + from))
			break;
	if (i == FILTER_NAMES) {
		complain(p, column, "too many different fields: %d at most", FILTER_NAMES);
		return 0;
	}
	if (i == f->nnames) {
		f->name[f->nnames].text = f->texts + from;
		f->name[f->nnames++].want = want;
	}
	at = new_node(p, kind, 0, column, 0, 0);
	node(p, at)->name = (uint16_t)i;
	return at;
}

static uint16_t parse_or(struct parser *p);
static uint16_t as_condition(struct parser *p, uint16_t i);

static bool enter(struct parser *p)
{
	if (p->depth >= FILTER_DEPTH)
		complain(p, p->at, "too deeply nested: %d levels at most", FILTER_DEPTH);
	else
		p->depth++;
	return !p->failed;
}

/* A value, for an operator; conditions are none. */
static bool want_value(struct parser *p, uint16_t i)
{
	if (!p->failed && filter_is_condition(node(p, i)))
		complain(p, node(p, i)->column, "this is true or false, but a value is needed here");
	return !p->failed;
}

static uint16_t make_arith(struct parser *p, unsigned op, size_t column, uint16_t left, uint16_t right)
{
	struct filter_node *l, *r;
	struct gd_num num;

	if (!want_value(p, left) || !want_value(p, right))
		return 0;
	l = node(p, left);
	r = node(p, right);
	if (l->kind == NODE_TEXT || r->kind == NODE_TEXT) {
		complain(p, l->kind == NODE_TEXT ? l->column : r->column, "a string is no number");
		return 0;
	}
	if (l->kind != NODE_NUMBER || r->kind != NODE_NUMBER)
		return new_node(p, NODE_ARITH, op, column, left, right);
	num = gd_num_arith(op, l->num, r->num);
	if (num.kind == GD_NUM_NONE) {
		complain(p, column, "this has no value: it overflows, divides by zero or is not defined");
		return 0;
	}
	return new_number(p, l->column, num);
}

static uint16_t parse_primary(struct parser *p)
{
	size_t column;
	uint16_t i;

	skip_space(p);
	column = p->at;
	if (p->failed || !enter(p))
		return 0;
	if (eat(p, "(", "")) {
		i = parse_or(p);
		if (!p->failed && !eat(p, ")", ""))
			complain(p, column, "this ( is not closed");
	} else if (eat(p, "-", "")) {
		i = parse_primary(p);
		i = make_arith(p, GD_ARITH_SUB, column, new_number(p, column, integer(0)), i);
	} else if (eat(p, "!", "~=")) {
		/* binds as tightly as Go's, so `!a == b` asks for parentheses instead of guessing */
		i = as_condition(p, parse_primary(p));
		i = new_node(p, NODE_NOT, 0, column, i, 0);
	} else if (isdigit((unsigned char)p->text[p->at])) {
		i = parse_number(p);
	} else if (p->text[p->at] == '"' || p->text[p->at] == '\'') {
		i = parse_text(p);
	} else if (eat_word(p, "true")) {
		i = new_number(p, column, integer(1));
	} else if (eat_word(p, "false")) {
		i = new_number(p, column, integer(0));
	} else if ((eat_word(p, "has") || eat_word(p, "len")) && eat(p, "(", "")) {
		bool has = p->text[column] == 'h';

		i = parse_name(p, has ? NODE_HAS : NODE_FIELD, has ? FILTER_PRESENCE : FILTER_LENGTH);
		if (!p->failed && !eat(p, ")", ""))
			complain(p, p->at, "here should be )");
	} else {
		p->at = column;
		i = parse_name(p, NODE_FIELD, FILTER_VALUE);
	}
	p->depth--;
	return i;
}

static const struct {
	const char *sign, *unless;
	uint8_t level, op;
} arith_signs[] = {
	{ "+", "", 0, GD_ARITH_ADD },
	{ "-", "", 0, GD_ARITH_SUB },
	{ "|", "|", 0, GD_ARITH_OR },
	{ "^", "", 0, GD_ARITH_XOR },
	{ "*", "", 1, GD_ARITH_MUL },
	{ "/", "", 1, GD_ARITH_DIV },
	{ "%", "", 1, GD_ARITH_MOD },
	{ "&", "&", 1, GD_ARITH_AND },
	{ "<<", "", 1, GD_ARITH_SHL },
	{ ">>", "", 1, GD_ARITH_SHR },
};

static uint16_t parse_arith(struct parser *p, unsigned level)
{
	uint16_t left = level > 1 ? parse_primary(p) : parse_arith(p, level + 1), right;
	unsigned i, height = 0;
	size_t column;

	while (level <= 1 && !p->failed) {
		skip_space(p);
		column = p->at;
		for (i = 0; i < sizeof(arith_signs) / sizeof(arith_signs[0]); i++)
			if (arith_signs[i].level == level && eat(p, arith_signs[i].sign, arith_signs[i].unless))
				break;
		if (i == sizeof(arith_signs) / sizeof(arith_signs[0]))
			break;
		if (++height > FILTER_DEPTH) {
			complain(p, column, "too many operators in a row: %d at most", FILTER_DEPTH);
			break;
		}
		right = parse_arith(p, level + 1);
		left = make_arith(p, arith_signs[i].op, column, left, right);
	}
	return left;
}

/* A glob that is no more than a comparison is one. */
static void simplify_glob(struct parser *p, struct filter_node *match)
{
	struct filter_node *t = node(p, match->right);
	const char *s = p->f->texts + t->text;
	bool front, back;
	size_t len = t->len, i;

	match->op = GD_STR_GLOB;
	back = len && s[len - 1] == '*';
	front = len > 1 && s[0] == '*';
	for (i = front; i + back < len; i++)
		if (strchr("*?[\\", s[i]) && s[i])
			return;
	match->op = front ? (back ? GD_STR_CONTAINS : GD_STR_SUFFIX) : (back ? GD_STR_PREFIX : GD_STR_EQ);
	match->text = t->text + front;
	match->len = (uint32_t)len - front - back;
}

static uint16_t make_match(struct parser *p, size_t column, uint16_t left, uint16_t right, bool glob)
{
	struct filter_node *l, *r, *m;
	uint16_t i;

	if (!want_value(p, left) || !want_value(p, right))
		return 0;
	l = node(p, left);
	r = node(p, right);
	if (r->kind != NODE_TEXT) {
		complain(p, r->column, "a pattern is a string: path ~ \"/api/*\"");
		return 0;
	}
	if (l->kind != NODE_FIELD || p->f->name[l->name].want != FILTER_VALUE) {
		complain(p, l->column, "only a field can be compared with a string");
		return 0;
	}
	i = new_node(p, NODE_MATCH, GD_STR_EQ, column, left, right);
	m = node(p, i);
	m->text = r->text;
	m->len = r->len;
	if (glob && !p->failed)
		simplify_glob(p, m);
	return i;
}

static uint16_t make_compare(struct parser *p, unsigned rel, size_t column, uint16_t left, uint16_t right)
{
	static const uint8_t mirrored[] = { GD_REL_EQ, GD_REL_NE, GD_REL_GT, GD_REL_GE, GD_REL_LT, GD_REL_LE };
	struct filter_node *l, *r;
	uint16_t i;

	if (!want_value(p, left) || !want_value(p, right))
		return 0;
	if (node(p, left)->kind == NODE_TEXT ||
	    (node(p, left)->kind == NODE_NUMBER && node(p, right)->kind != NODE_TEXT)) {
		i = left;
		left = right;
		right = i;
		rel = mirrored[rel];
	}
	l = node(p, left);
	r = node(p, right);
	if (r->kind == NODE_TEXT) {
		if (rel > GD_REL_NE) {
			complain(p, column, "strings have no order here: == != ~ !~ compare them");
			return 0;
		}
		i = make_match(p, column, left, right, false);
		node(p, i)->num.bits = rel == GD_REL_NE;
		return i;
	}
	if (l->kind == NODE_NUMBER && r->kind == NODE_NUMBER)
		return new_node(p, NODE_CONST, gd_num_holds(rel, l->num, r->num), l->column, 0, 0);
	return new_node(p, NODE_COMPARE, rel, column, left, right);
}

/* A value that stands where a condition must: not zero. */
static uint16_t as_condition(struct parser *p, uint16_t i)
{
	struct filter_node *n = node(p, i);

	if (p->failed || filter_is_condition(n))
		return i;
	if (n->kind == NODE_TEXT) {
		complain(p, n->column, "a string alone is neither true nor false");
		return 0;
	}
	return make_compare(p, GD_REL_NE, n->column, i, new_number(p, n->column, integer(0)));
}

/* Behind `in`: one comparison each. */
static uint16_t parse_list(struct parser *p, uint16_t left, size_t column)
{
	uint16_t all = 0, one, i;

	if (!eat(p, "(", "")) {
		complain(p, p->at, "here should be a list: status in (200, 404)");
		return 0;
	}
	do {
		one = parse_arith(p, 0);
		if (!want_value(p, one))
			return 0;
		if (node(p, one)->kind != NODE_NUMBER && node(p, one)->kind != NODE_TEXT) {
			complain(p, node(p, one)->column, "a list holds numbers and strings only");
			return 0;
		}
		i = make_compare(p, GD_REL_EQ, column, left, one);
		all = all ? new_node(p, NODE_OR, 0, column, i, all) : i;
	} while (!p->failed && eat(p, ",", ""));
	if (!p->failed && !eat(p, ")", ""))
		complain(p, p->at, "here should be , or )");
	return all;
}

static uint16_t parse_comparison(struct parser *p)
{
	static const struct {
		const char *sign, *unless;
		uint8_t rel;
	} rels[] = {
		{ "==", "", GD_REL_EQ },
		{ "!=", "", GD_REL_NE },
		{ "<=", "", GD_REL_LE },
		{ ">=", "", GD_REL_GE },
		{ "<", "<", GD_REL_LT },
		{ ">", ">", GD_REL_GT },
	};
	uint16_t left = parse_arith(p, 0), right;
	size_t column, i;

	if (p->failed)
		return 0;
	skip_space(p);
	column = p->at;
	for (i = 0; i < sizeof(rels) / sizeof(rels[0]); i++)
		if (eat(p, rels[i].sign, rels[i].unless)) {
			right = parse_arith(p, 0);
			return make_compare(p, rels[i].rel, column, left, right);
		}
	if (eat(p, "!~", "") || eat(p, "~", "")) {
		right = parse_arith(p, 0);
		i = make_match(p, column, left, right, true);
		node(p, (uint16_t)i)->num.bits = p->text[column] == '!';
		return (uint16_t)i;
	}
	if (eat(p, "=", "")) {
		complain(p, column, "'=' is no operator: == compares, ~ matches a pattern");
		return 0;
	}
	if (eat_word(p, "in"))
		return parse_list(p, left, column);
	return left;
}

static uint16_t parse_and(struct parser *p)
{
	uint16_t left = parse_comparison(p), right;
	unsigned height = 0;
	size_t column;

	while (!p->failed && eat(p, "&&", "")) {
		column = p->at - 2;
		if (++height > FILTER_DEPTH)
			complain(p, column, "too many && in a row: %d at most", FILTER_DEPTH);
		left = as_condition(p, left);
		right = as_condition(p, parse_comparison(p));
		left = new_node(p, NODE_AND, 0, column, left, right);
	}
	return left;
}

static uint16_t parse_or(struct parser *p)
{
	uint16_t left = parse_and(p), right;
	unsigned height = 0;
	size_t column;

	while (!p->failed && eat(p, "||", "")) {
		column = p->at - 2;
		if (++height > FILTER_DEPTH)
			complain(p, column, "too many || in a row: %d at most", FILTER_DEPTH);
		left = as_condition(p, left);
		right = as_condition(p, parse_and(p));
		left = new_node(p, NODE_OR, 0, column, left, right);
	}
	return left;
}

int filter_parse(struct filter **ret, const char *text, struct err *err)
{
	struct parser p = { .text = text, .err = err };
	size_t len = strlen(text);
	uint16_t i;

	if (len > FILTER_TEXT_MAX)
		return err_set(err, -E2BIG, "the filter is longer than %d bytes", FILTER_TEXT_MAX);
	p.f = calloc(1, sizeof(*p.f));
	if (!p.f)
		return err_set(err, -ENOMEM, "out of memory");
	p.f->text = strdup(text);
	/* a literal or name is at most as long as it stands in the text, and a NUL */
	p.f->texts = malloc(2 * len + 2);
	if (!p.f->text || !p.f->texts) {
		filter_free(p.f);
		return err_set(err, -ENOMEM, "out of memory");
	}
	p.f->nnodes = 1;
	i = as_condition(&p, parse_or(&p));
	skip_space(&p);
	if (!p.failed && text[p.at])
		complain(&p, p.at, "the filter should end here");
	if (p.failed) {
		filter_free(p.f);
		return p.failed;
	}
	p.f->root = i;
	*ret = p.f;
	return 0;
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	free(f->text);
	free(f->texts);
	free(f);
}

const struct filter_name *filter_names(const struct filter *f, unsigned *n)
{
	*n = f->nnames;
	return f->name;
}
