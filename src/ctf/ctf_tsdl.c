/* TSDL, the metadata language of CTF 1.8, by recursive descent straight into the model.
 *
 * Types are kept by name in scopes, as in C, and copied where they are used. What a length or a tag refers to is only noted
 * (struct ctf_loc): ctf_meta.c looks it up when all is there. The first mistake ends the parsing, with its line.
 *
 * Hostile text: nesting is bounded by CTF_DEPTH, all memory by the trace class's arena (a type that doubles itself
 * by name at each use ends there). */
#include "ctf/ctf_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum token { T_END,
	     T_NAME,
	     T_NUMBER,
	     T_STRING,
	     T_ASSIGN /* := */,
	     T_DOTS /* ... */,
	     T_CHAR };

#define NOTES_MAX 8

enum named { NAMED_TYPE,
	     NAMED_STRUCT,
	     NAMED_VARIANT,
	     NAMED_ENUM };

struct name {
	struct name *next;
	enum named what;
	int depth;
	const char *name;
	struct ctf_fc *fc;
};

struct parser {
	struct ctf_trace_class *t;
	struct ctf_arena *a;
	const char *at, *end;
	int line;
	enum token token;
	char ch;       /* T_CHAR */
	bool negative; /* T_NUMBER */
	uint64_t number;
	const char *text;            /* T_NAME, T_STRING; in the arena */
	const char *note[NOTES_MAX]; /* "@" comments since the token before this one */
	int nnotes;
	struct name *names;
	int depth; /* of scopes */
	int nest;  /* of types */
	bool failed;
	struct err *err;
};

static void fail(struct parser *p, const char *what)
{
	if (!p->failed) {
		if (p->a->failed)
			err_set(p->err, -EFBIG, "the metadata needs more than %u MiB of memory", CTF_META_MAX >> 20);
		else
			err_set(p->err, -EPROTO, "metadata, line %d: %s", p->line, what);
	}
	p->failed = true;
	p->token = T_END;
	p->at = p->end;
}

static bool is_alpha(char c)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static unsigned hex_digit(char c)
{
	if (is_digit(c))
		return (unsigned)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 99;
}

static const char *lex_string(struct parser *p)
{
	const char *from = ++p->at;
	char *to, *text;
	unsigned v, n;

	while (p->at < p->end && *p->at != '"') {
		if (*p->at == '\n')
			p->line++;
		if (*p->at == '\\' && p->at + 1 < p->end)
			p->at++;
		p->at++;
	}
	if (p->at >= p->end) {
		fail(p, "a string does not end");
		return NULL;
	}
	text = to = ctf_alloc(p->a, (size_t)(p->at - from) + 1);
	if (!text) {
		fail(p, "memory");
		return NULL;
	}
	for (; from < p->at; from++) {
		if (*from != '\\') {
			*to++ = *from;
			continue;
		}
		from++;
		switch (*from) {
		case 'n':
			*to++ = '\n';
			break;
		case 't':
			*to++ = '\t';
			break;
		case 'r':
			*to++ = '\r';
			break;
		case 'a':
			*to++ = '\a';
			break;
		case 'b':
			*to++ = '\b';
			break;
		case 'f':
			*to++ = '\f';
			break;
		case 'v':
			*to++ = '\v';
			break;
		case 'x':
			for (v = 0, n = 0; n < 2 && from + 1 < p->at && hex_digit(from[1]) < 16; n++)
				v = v * 16 + hex_digit(*++from);
			*to++ = (char)v;
			break;
		case '0' ... '7':
			v = (unsigned)(*from - '0');
			for (n = 1; n < 3 && from + 1 < p->at && from[1] >= '0' && from[1] <= '7'; n++)
				v = v * 8 + (unsigned)(*++from - '0');
			*to++ = (char)v;
			break;
		default:
			*to++ = *from;
		}
	}
	p->at++;
	*to = 0;
	return text;
}

static void lex_number(struct parser *p)
{
	unsigned base = 10, d;
	uint64_t v = 0;

	if (*p->at == '0' && p->end - p->at > 1) {
		if ((p->at[1] | 0x20) == 'x') {
			base = 16;
			p->at += 2;
		} else if ((p->at[1] | 0x20) == 'b') {
			base = 2;
			p->at += 2;
		} else {
			base = 8;
		}
	}
	for (; p->at < p->end && (d = hex_digit(*p->at)) < base; p->at++) {
		if (v > (UINT64_MAX - d) / base)
			return fail(p, "a number is too large");
		v = v * base + d;
	}
	while (p->at < p->end && (*p->at == 'u' || *p->at == 'U' || *p->at == 'l' || *p->at == 'L'))
		p->at++;
	p->number = v;
	p->token = T_NUMBER;
}

/* Blanks and comments; what follows "@" in one is kept for the parser. */
static void skip_blanks(struct parser *p)
{
	const char *from;

	for (;;) {
		while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r' || *p->at == '\n')) {
			if (*p->at == '\n')
				p->line++;
			p->at++;
		}
		if (p->end - p->at < 2 || p->at[0] != '/')
			return;
		if (p->at[1] == '/') {
			while (p->at < p->end && *p->at != '\n')
				p->at++;
			continue;
		}
		if (p->at[1] != '*')
			return;
		from = p->at += 2;
		while (p->end - p->at >= 2 && !(p->at[0] == '*' && p->at[1] == '/')) {
			if (*p->at == '\n')
				p->line++;
			p->at++;
		}
		if (p->end - p->at < 2)
			return fail(p, "a comment does not end");
		if (*from == '@' && p->nnotes < NOTES_MAX)
			p->note[p->nnotes++] = from + 1;
		p->at += 2;
	}
}

static void advance(struct parser *p)
{
	const char *from;

	p->nnotes = 0;
	if (p->failed)
		return;
	skip_blanks(p);
	p->negative = false;
	if (p->at >= p->end) {
		p->token = T_END;
	} else if (is_alpha(*p->at)) {
		for (from = p->at; p->at < p->end && (is_alpha(*p->at) || is_digit(*p->at));)
			p->at++;
		p->text = ctf_strndup(p->a, from, (size_t)(p->at - from));
		p->token = T_NAME;
		if (!p->text)
			fail(p, "memory");
	} else if (is_digit(*p->at)) {
		lex_number(p);
	} else if (*p->at == '-' && p->end - p->at > 1 && is_digit(p->at[1])) {
		p->at++;
		lex_number(p);
		p->negative = true;
		p->number = -p->number;
	} else if (*p->at == '"') {
		p->text = lex_string(p);
		p->token = p->text ? T_STRING : T_END;
	} else if (p->end - p->at >= 2 && p->at[0] == ':' && p->at[1] == '=') {
		p->at += 2;
		p->token = T_ASSIGN;
	} else if (p->end - p->at >= 3 && !memcmp(p->at, "...", 3)) {
		p->at += 3;
		p->token = T_DOTS;
	} else {
		p->ch = *p->at++;
		p->token = T_CHAR;
	}
}

static bool is_char(const struct parser *p, char c)
{
	return p->token == T_CHAR && p->ch == c;
}

static bool accept(struct parser *p, char c)
{
	if (!is_char(p, c))
		return false;
	advance(p);
	return true;
}

static void expect(struct parser *p, char c)
{
	char text[] = "expected 'x'";

	if (accept(p, c))
		return;
	text[10] = c;
	fail(p, text);
}

static bool is_name(const struct parser *p, const char *name)
{
	return p->token == T_NAME && !strcmp(p->text, name);
}

static bool accept_name(struct parser *p, const char *name)
{
	if (!is_name(p, name))
		return false;
	advance(p);
	return true;
}

static void enter(struct parser *p)
{
	p->depth++;
}

static void leave(struct parser *p)
{
	while (p->names && p->names->depth == p->depth)
		p->names = p->names->next;
	p->depth--;
}

static void declare(struct parser *p, enum named what, const char *name, struct ctf_fc *fc)
{
	struct name *n = ctf_alloc(p->a, sizeof(*n));

	if (!n)
		return fail(p, "memory");
	n->what = what;
	n->name = name;
	n->fc = fc;
	n->depth = p->depth;
	n->next = p->names;
	p->names = n;
}

/* A copy of what the name stands for. */
static struct ctf_fc *lookup(struct parser *p, enum named what, const char *name)
{
	struct ctf_fc *fc;
	struct name *n;
	char text[160];

	for (n = p->names; n; n = n->next)
		if (n->what == what && !strcmp(n->name, name)) {
			fc = ctf_fc_clone(p->a, n->fc);
			if (!fc)
				fail(p, "memory");
			return fc;
		}
	snprintf(text, sizeof(text), "there is no type '%.100s'", name);
	fail(p, text);
	return NULL;
}

static struct ctf_fc *new_fc(struct parser *p, enum ctf_kind kind)
{
	struct ctf_fc *fc = ctf_fc_new(p->a, kind);

	if (!fc)
		fail(p, "memory");
	return fc;
}

/* a.b.c; in the arena. */
static const struct ctf_loc *parse_path(struct parser *p)
{
	static const struct {
		const char *prefix[3];
		int n;
		enum ctf_scope scope;
	} roots[] = {
		{ { "trace", "packet", "header" }, 3, CTF_PACKET_HEADER },
		{ { "stream", "packet", "context" }, 3, CTF_PACKET_CONTEXT },
		{ { "stream", "event", "header" }, 3, CTF_EVENT_HEADER },
		{ { "stream", "event", "context" }, 3, CTF_COMMON_CONTEXT },
		{ { "event", "context" }, 2, CTF_SPECIFIC_CONTEXT },
		{ { "event", "fields" }, 2, CTF_PAYLOAD },
	};
	const char *elem[CTF_DEPTH];
	struct ctf_loc *loc;
	uint32_t n = 0, i, skip = 0;
	int origin = -1, k;

	do {
		if (p->token != T_NAME || n == CTF_DEPTH) {
			fail(p, "expected the name of a field");
			return NULL;
		}
		elem[n++] = p->text;
		advance(p);
	} while (accept(p, '.'));
	for (i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		for (k = 0; k < roots[i].n && (uint32_t)k < n && !strcmp(elem[k], roots[i].prefix[k]); k++)
			;
		if (k == roots[i].n && n > (uint32_t)k) {
			origin = roots[i].scope;
			skip = (uint32_t)k;
		}
	}
	loc = ctf_alloc(p->a, sizeof(*loc) + n * sizeof(loc->elem[0]));
	if (!loc) {
		fail(p, "memory");
		return NULL;
	}
	loc->origin = origin;
	loc->n = n - skip;
	memcpy(loc->elem, elem + skip, loc->n * sizeof(elem[0]));
	return loc;
}

/* What stands behind "=": a number, a string, or names with dots, joined. */
struct value {
	bool is_number, negative;
	uint64_t number;
	const char *text;
};

static struct value parse_value(struct parser *p)
{
	struct value v = { 0 };
	size_t len;
	char *text;

	if (p->token == T_NUMBER) {
		v.is_number = true;
		v.negative = p->negative;
		v.number = p->number;
		advance(p);
	} else if (p->token == T_STRING) {
		v.text = p->text;
		advance(p);
	} else if (p->token == T_NAME) {
		v.text = p->text;
		advance(p);
		while (accept(p, '.')) {
			if (p->token != T_NAME) {
				fail(p, "expected a name behind '.'");
				break;
			}
			len = strlen(v.text);
			text = ctf_alloc(p->a, len + strlen(p->text) + 2);
			if (!text) {
				fail(p, "memory");
				break;
			}
			memcpy(text, v.text, len);
			text[len] = '.';
			memcpy(text + len + 1, p->text, strlen(p->text) + 1);
			v.text = text;
			advance(p);
		}
	} else {
		fail(p, "expected a value");
	}
	return v;
}

static bool truth(struct parser *p, struct value v)
{
	if (v.is_number)
		return v.number != 0;
	if (v.text && (!strcmp(v.text, "true") || !strcmp(v.text, "TRUE")))
		return true;
	if (!v.text || (strcmp(v.text, "false") && strcmp(v.text, "FALSE")))
		fail(p, "expected true or false");
	return false;
}

static uint64_t number(struct parser *p, struct value v, uint64_t min, uint64_t max)
{
	if (!v.is_number || v.negative || v.number < min || v.number > max)
		fail(p, "a number is out of its range");
	return p->failed ? min : v.number;
}

static void set_byte_order(struct parser *p, struct ctf_fc *fc, struct value v)
{
	fc->native = v.text && !strcmp(v.text, "native");
	fc->big_endian = v.text && (!strcmp(v.text, "be") || !strcmp(v.text, "network"));
	if (!fc->native && !fc->big_endian && (!v.text || strcmp(v.text, "le")))
		fail(p, "a byte order is be, le, network or native");
}

static uint32_t alignment(struct parser *p, struct value v)
{
	uint64_t n = number(p, v, 1, 1u << 20);

	if (n & (n - 1))
		fail(p, "an alignment is a power of two");
	return (uint32_t)n;
}

static uint8_t display_base(struct parser *p, struct value v)
{
	static const struct {
		const char *name;
		uint8_t base;
	} names[] = { { "decimal", 10 }, { "dec", 10 }, { "d", 10 }, { "i", 10 }, { "u", 10 }, { "hexadecimal", 16 }, { "hex", 16 }, { "x", 16 }, { "X", 16 }, { "p", 16 }, { "octal", 8 }, { "oct", 8 }, { "o", 8 }, { "binary", 2 }, { "b", 2 } };
	unsigned i;

	if (v.is_number && (v.number == 2 || v.number == 8 || v.number == 10 || v.number == 16))
		return (uint8_t)v.number;
	for (i = 0; v.text && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, v.text))
			return names[i].base;
	fail(p, "a base is 2, 8, 10 or 16");
	return 10;
}

/* integer { ... }, floating_point { ... }, string { ... }: behind the word. */
static struct ctf_fc *parse_scalar(struct parser *p, enum ctf_kind kind)
{
	struct ctf_fc *fc = new_fc(p, kind);
	unsigned exponent = 8, mantissa = 24;
	const char *key;
	struct value v;
	bool aligned = false;

	if (!fc)
		return NULL;
	fc->native = true;
	if (kind == CTF_STRING && !is_char(p, '{'))
		return fc;
	expect(p, '{');
	while (!p->failed && !accept(p, '}')) {
		if (p->token != T_NAME) {
			fail(p, "expected an attribute of a type");
			break;
		}
		key = p->text;
		advance(p);
		expect(p, '=');
		v = parse_value(p);
		if (!is_char(p, '}'))
			expect(p, ';');
		if (p->failed)
			break;
		if (!strcmp(key, "size") && kind == CTF_INT) {
			fc->bits = (uint8_t)number(p, v, 1, 64);
		} else if (!strcmp(key, "align")) {
			fc->align = alignment(p, v);
			aligned = true;
		} else if (!strcmp(key, "signed")) {
			fc->is_signed = truth(p, v);
		} else if (!strcmp(key, "byte_order")) {
			set_byte_order(p, fc, v);
		} else if (!strcmp(key, "base")) {
			fc->base = display_base(p, v);
		} else if (!strcmp(key, "encoding")) {
			fc->encoded = v.text && strcmp(v.text, "none");
		} else if (!strcmp(key, "map")) {
			fc->clock = 1;
		} else if (!strcmp(key, "exp_dig")) {
			exponent = (unsigned)number(p, v, 1, 64);
		} else if (!strcmp(key, "mant_dig")) {
			mantissa = (unsigned)number(p, v, 1, 128);
		} /* others are for other readers */
	}
	if (kind == CTF_INT && !fc->bits)
		fail(p, "an integer has no size");
	if (kind == CTF_FLOAT) {
		fc->bits = (uint8_t)(exponent + mantissa);
		if (!(exponent == 8 && mantissa == 24) && !(exponent == 11 && mantissa == 53))
			fail(p, "a floating point number has 32 or 64 bits");
	}
	if (!aligned)
		fc->align = fc->bits % 8 ? 1 : 8;
	return fc;
}

static struct ctf_fc *parse_type(struct parser *p, const char **declarator);

/* [n] or [path] behind a name, the outermost first, around the type. */
static struct ctf_fc *parse_lengths(struct parser *p, struct ctf_fc *fc)
{
	struct ctf_fc *list;
	const struct ctf_loc *loc = NULL;
	uint64_t count = 0;

	if (!is_char(p, '['))
		return fc;
	if (++p->nest > CTF_DEPTH) {
		fail(p, "types are nested too deep");
		return NULL;
	}
	advance(p);
	if (p->token == T_NUMBER) {
		count = number(p, parse_value(p), 0, UINT64_MAX / 64);
	} else {
		loc = parse_path(p);
	}
	expect(p, ']');
	fc = parse_lengths(p, fc);
	p->nest--;
	if (p->failed)
		return NULL;
	if (fc->kind == CTF_INT && fc->bits == 8 && fc->align <= 8 && fc->encoded && !fc->map) {
		list = new_fc(p, CTF_TEXT);
	} else {
		list = new_fc(p, CTF_ARRAY);
		ctf_fc_add(list, fc, NULL);
	}
	if (!list)
		return NULL;
	list->count = count;
	list->loc = loc;
	list->has_target = loc != NULL;
	return list;
}

static const char *shown(const char *raw)
{
	return *raw == '_' && raw[1] ? raw + 1 : raw;
}

/* Comments with "@" behind a member's semicolon. */
static void take_notes(struct parser *p, struct ctf_fc *fc)
{
	static const struct {
		const char *text;
		unsigned hint;
		bool element; /* of a list it is the element that is meant */
	} hints[] = { { "bool*/", CTF_HINT_BOOL, true }, { "duration*/", CTF_HINT_DURATION, true }, { "time*/", CTF_HINT_TIME, true }, { "attrs*/", CTF_HINT_ATTRS, false }, { "wrap*/", CTF_HINT_WRAP, true }, { "length*/", CTF_HINT_LENGTH, false } };
	struct parser sub;
	unsigned h;
	int i;

	for (i = 0; i < p->nnotes; i++) {
		for (h = 0; h < sizeof(hints) / sizeof(hints[0]); h++)
			if (!strncmp(p->note[i], hints[h].text, strlen(hints[h].text))) {
				if (fc->kind == CTF_ARRAY && hints[h].element)
					fc->child->hint |= (uint8_t)hints[h].hint;
				else
					fc->hint |= (uint8_t)hints[h].hint;
			}
		if (!strncmp(p->note[i], "bytes*/", 7) && fc->kind == CTF_ARRAY && fc->child->kind == CTF_INT && fc->child->bits == 8) {
			fc->kind = CTF_BLOB;
			fc->align = 8;
			fc->child = NULL;
			fc->nchildren = 0;
		} else if (!strncmp(p->note[i], "name \"", 6)) {
			sub = *p;
			sub.at = p->note[i] + 5;
			sub.text = lex_string(&sub);
			if (sub.failed) {
				*p = sub;
				return;
			}
			fc->name = sub.text;
		}
	}
}

static void add_member(struct parser *p, struct ctf_fc *parent, struct ctf_fc *fc, struct ctf_fc **last, const char *raw)
{
	if (p->failed)
		return;
	fc->raw = raw;
	fc->name = shown(raw);
	fc->parent = parent;
	fc->next = NULL;
	if (*last)
		(*last)->next = fc;
	else
		parent->child = fc;
	*last = fc;
	parent->nchildren++;
}

/* typedef and typealias: behind the word. */
static void parse_named_type(struct parser *p, bool alias)
{
	const char *name = NULL;
	struct ctf_fc *fc;
	size_t len = 0;
	char text[256];

	if (!alias) {
		fc = parse_type(p, &name);
		if (fc && !p->failed)
			fc = parse_lengths(p, fc);
	} else {
		fc = parse_type(p, NULL);
		if (p->token != T_ASSIGN) {
			fail(p, "expected ':='");
			return;
		}
		advance(p);
		/* a name may be of several words, and end in stars */
		for (; p->token == T_NAME || is_char(p, '*'); advance(p)) {
			if (len + strlen(p->token == T_NAME ? p->text : "*") + 2 > sizeof(text)) {
				fail(p, "the name of a type is too long");
				return;
			}
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "", p->token == T_NAME ? p->text : "*");
		}
		if (len)
			name = ctf_strndup(p->a, text, len);
	}
	if (!name)
		fail(p, "a type has no name");
	expect(p, ';');
	if (!p->failed)
		declare(p, NAMED_TYPE, name, fc);
}

/* { members } of a struct or variant. */
static void parse_members(struct parser *p, struct ctf_fc *parent)
{
	struct ctf_fc *fc, *last = NULL, *type, *first;
	const char *name;

	expect(p, '{');
	enter(p);
	while (!p->failed && !accept(p, '}')) {
		if (accept_name(p, "typedef")) {
			parse_named_type(p, false);
			continue;
		}
		if (accept_name(p, "typealias")) {
			parse_named_type(p, true);
			continue;
		}
		name = NULL;
		type = parse_type(p, &name);
		first = last;
		while (!p->failed) {
			if (!name) {
				/* "struct x { ... };" only names a type */
				if (!is_char(p, ';'))
					fail(p, "expected the name of a field");
				break;
			}
			fc = parse_lengths(p, type);
			add_member(p, parent, fc, &last, name);
			if (p->failed || !accept(p, ','))
				break;
			type = ctf_fc_clone(p->a, type);
			if (!type)
				fail(p, "memory");
			name = p->token == T_NAME ? p->text : NULL;
			if (name)
				advance(p);
			else
				fail(p, "expected the name of a field");
		}
		expect(p, ';');
		if (!p->failed && last && last != first)
			take_notes(p, last);
	}
	leave(p);
}

static void parse_enumerators(struct parser *p, struct ctf_fc *fc)
{
	struct ctf_mapping *m, **last = &fc->map;
	uint64_t value = 0;
	struct ctf_range *r;

	expect(p, '{');
	while (!p->failed && !accept(p, '}')) {
		m = ctf_alloc(p->a, sizeof(*m) + sizeof(*r));
		if (!m || (p->token != T_NAME && p->token != T_STRING)) {
			fail(p, "expected the name of a value");
			return;
		}
		m->label = p->text;
		m->range = r = (struct ctf_range *)(m + 1);
		m->nranges = 1;
		advance(p);
		r->low = r->high = value;
		if (accept(p, '=')) {
			if (p->token != T_NUMBER) {
				fail(p, "expected a number");
				return;
			}
			r->low = r->high = p->number;
			advance(p);
			if (p->token == T_DOTS) {
				advance(p);
				if (p->token != T_NUMBER) {
					fail(p, "expected a number");
					return;
				}
				r->high = p->number;
				advance(p);
			}
		}
		value = r->high + 1;
		*last = m;
		last = &m->next;
		if (!is_char(p, '}'))
			expect(p, ',');
	}
}

static struct ctf_fc *parse_compound(struct parser *p, enum ctf_kind kind)
{
	enum named what = kind == CTF_STRUCT ? NAMED_STRUCT : NAMED_VARIANT;
	const struct ctf_loc *loc = NULL;
	const char *name = NULL;
	struct ctf_fc *fc = NULL;
	struct value v;
	uint32_t align;

	if (p->token == T_NAME) {
		name = p->text;
		advance(p);
	}
	if (kind == CTF_VARIANT && accept(p, '<')) {
		loc = parse_path(p);
		expect(p, '>');
	}
	if (is_char(p, '{')) {
		fc = new_fc(p, kind);
		if (!fc)
			return NULL;
		if (++p->nest > CTF_DEPTH)
			fail(p, "types are nested too deep");
		parse_members(p, fc);
		p->nest--;
	} else if (name) {
		fc = lookup(p, what, name);
		name = NULL;
	} else {
		fail(p, "expected '{'");
	}
	if (p->failed)
		return NULL;
	if (kind == CTF_STRUCT && accept_name(p, "align")) {
		expect(p, '(');
		v = parse_value(p);
		align = alignment(p, v);
		if (align > fc->align)
			fc->align = align;
		expect(p, ')');
	}
	if (name) /* before the tag: another use may have another */
		declare(p, what, name, fc);
	if (loc) {
		fc = ctf_fc_clone(p->a, fc);
		if (!fc) {
			fail(p, "memory");
			return NULL;
		}
		fc->loc = loc;
		fc->has_target = true;
	}
	return p->failed ? NULL : fc;
}

static struct ctf_fc *parse_enum(struct parser *p)
{
	const char *name = NULL;
	struct ctf_fc *fc;

	if (p->token == T_NAME) {
		name = p->text;
		advance(p);
	}
	if (name && !is_char(p, '{') && !is_char(p, ':'))
		return lookup(p, NAMED_ENUM, name);
	if (accept(p, ':'))
		fc = parse_type(p, NULL);
	else
		fc = lookup(p, NAMED_TYPE, "int");
	if (!fc || p->failed)
		return NULL;
	if (fc->kind != CTF_INT) {
		fail(p, "an enumeration is of integers");
		return NULL;
	}
	fc->map = NULL;
	parse_enumerators(p, fc);
	if (name && !p->failed)
		declare(p, NAMED_ENUM, name, fc);
	return p->failed ? NULL : fc;
}

/* A type. With `declarator` the last of several names in a row is not the type's but the field's, and goes there. */
static struct ctf_fc *parse_type(struct parser *p, const char **declarator)
{
	struct ctf_fc *fc = NULL;
	char text[256];
	size_t len = 0;
	const char *last = NULL;

	if (accept_name(p, "const"))
		return parse_type(p, declarator);
	if (accept_name(p, "integer"))
		fc = parse_scalar(p, CTF_INT);
	else if (accept_name(p, "floating_point"))
		fc = parse_scalar(p, CTF_FLOAT);
	else if (accept_name(p, "string"))
		fc = parse_scalar(p, CTF_STRING);
	else if (accept_name(p, "struct"))
		fc = parse_compound(p, CTF_STRUCT);
	else if (accept_name(p, "variant"))
		fc = parse_compound(p, CTF_VARIANT);
	else if (accept_name(p, "enum"))
		fc = parse_enum(p);
	if (fc || p->failed) {
		if (fc && declarator && p->token == T_NAME) {
			*declarator = p->text;
			advance(p);
		}
		return p->failed ? NULL : fc;
	}
	for (; p->token == T_NAME || is_char(p, '*'); advance(p)) {
		if (last) {
			if (len + strlen(last) + 2 > sizeof(text)) {
				fail(p, "the name of a type is too long");
				return NULL;
			}
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "", last);
		}
		last = p->token == T_NAME ? p->text : "*";
	}
	if (!last) {
		fail(p, "expected a type");
		return NULL;
	}
	if (declarator) {
		*declarator = last;
	} else {
		if (len + strlen(last) + 2 > sizeof(text)) {
			fail(p, "the name of a type is too long");
			return NULL;
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "", last);
	}
	text[len] = 0;
	return lookup(p, NAMED_TYPE, text);
}

static bool parse_uuid(const char *text, uint8_t out[16])
{
	int n = 0;

	for (; *text && n < 32; text++) {
		if (*text == '-')
			continue;
		if (hex_digit(*text) > 15)
			return false;
		out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] << 4 | hex_digit(*text) : hex_digit(*text));
		n++;
	}
	return n == 32 && !*text;
}

/* One line of a block: "key = value;" or "key := type;" or a type declaration. False at the end of the block. */
struct entry {
	const char *key;
	struct value v;
	struct ctf_fc *fc;
};

static bool next_entry(struct parser *p, struct entry *e)
{
	struct value key;
	const char *unused;

	memset(e, 0, sizeof(*e));
	for (;;) {
		if (p->failed || accept(p, '}'))
			return false;
		if (accept_name(p, "typedef"))
			parse_named_type(p, false);
		else if (accept_name(p, "typealias"))
			parse_named_type(p, true);
		else if (is_name(p, "struct") || is_name(p, "variant") || is_name(p, "enum")) {
			parse_type(p, &unused);
			expect(p, ';');
		} else {
			break;
		}
	}
	key = parse_value(p);
	if (p->failed || !key.text) {
		fail(p, "expected the name of an attribute");
		return false;
	}
	e->key = key.text;
	if (p->token == T_ASSIGN) {
		advance(p);
		e->fc = parse_type(p, NULL);
	} else {
		expect(p, '=');
		e->v = parse_value(p);
	}
	expect(p, ';'); /* takes in the notes behind it */
	return !p->failed;
}

static struct ctf_fc *need_struct(struct parser *p, const struct entry *e)
{
	if (!e->fc || e->fc->kind != CTF_STRUCT) {
		fail(p, "a scope's type is a struct");
		return NULL;
	}
	return e->fc;
}

static void need_uuid(struct parser *p, const struct entry *e, uint8_t uuid[16], bool *has)
{
	if (!e->v.text || !parse_uuid(e->v.text, uuid))
		fail(p, "a uuid is 32 hexadecimal digits");
	*has = true;
}

static void parse_trace(struct parser *p)
{
	struct ctf_fc order = { 0 };
	struct entry e;

	while (next_entry(p, &e)) {
		if (!strcmp(e.key, "major")) {
			p->t->major = (int)number(p, e.v, 0, 1000);
		} else if (!strcmp(e.key, "minor")) {
			p->t->minor = (int)number(p, e.v, 0, 1000);
		} else if (!strcmp(e.key, "uuid")) {
			need_uuid(p, &e, p->t->uuid, &p->t->has_uuid);
		} else if (!strcmp(e.key, "byte_order")) {
			set_byte_order(p, &order, e.v);
			if (order.native)
				fail(p, "the trace's byte order is be or le");
			p->t->big_endian = order.big_endian;
		} else if (!strcmp(e.key, "packet.header")) {
			p->t->packet_header = need_struct(p, &e);
		}
	}
	if (!p->failed && (p->t->major != 1 || p->t->minor > 8))
		fail(p, "only CTF 1.8 and CTF 2 are known");
}

static void parse_env(struct parser *p)
{
	struct ctf_env *env;
	struct entry e;

	while (next_entry(p, &e)) {
		env = ctf_alloc(p->a, sizeof(*env));
		if (!env)
			return fail(p, "memory");
		env->name = e.key;
		env->text = e.v.text;
		env->number = (int64_t)e.v.number;
		*p->t->last_env = env;
		p->t->last_env = &env->next;
	}
}

static void parse_clock(struct parser *p)
{
	struct ctf_clock *c = ctf_alloc(p->a, sizeof(*c)), **at;
	struct entry e;

	if (!c)
		return fail(p, "memory");
	c->freq = 1000000000;
	while (next_entry(p, &e)) {
		if (!strcmp(e.key, "name"))
			c->name = e.v.text;
		else if (!strcmp(e.key, "description"))
			c->description = e.v.text;
		else if (!strcmp(e.key, "uuid"))
			need_uuid(p, &e, c->uuid, &c->has_uuid);
		else if (!strcmp(e.key, "freq"))
			c->freq = number(p, e.v, 1, UINT64_MAX);
		else if (!strcmp(e.key, "precision"))
			c->precision = number(p, e.v, 0, UINT64_MAX);
		else if (!strcmp(e.key, "offset_s"))
			c->offset_s = (int64_t)e.v.number;
		else if (!strcmp(e.key, "offset"))
			c->offset = number(p, e.v, 0, UINT64_MAX);
		else if (!strcmp(e.key, "absolute"))
			c->absolute = truth(p, e.v);
	}
	if (c->offset_s > INT64_MAX / 1000000000 / 2 || c->offset_s < INT64_MIN / 1000000000 / 2)
		fail(p, "a clock's offset is out of its range");
	for (at = &p->t->clock; *at; at = &(*at)->next)
		;
	*at = c;
}

static void parse_stream(struct parser *p)
{
	struct ctf_fc *context = NULL, *header = NULL, *common = NULL;
	struct ctf_stream_class *s;
	uint64_t id = 0;
	bool cut = false;
	struct entry e;
	int i;

	while (next_entry(p, &e)) {
		if (!strcmp(e.key, "id"))
			id = number(p, e.v, 0, UINT64_MAX);
		else if (!strcmp(e.key, "packet.context"))
			context = need_struct(p, &e);
		else if (!strcmp(e.key, "event.header"))
			header = need_struct(p, &e);
		else if (!strcmp(e.key, "event.context"))
			common = need_struct(p, &e);
		for (i = 0; i < p->nnotes; i++)
			cut |= !strncmp(p->note[i], "cut*/", 5);
	}
	if (p->failed)
		return;
	if (ctf_stream_class_find(p->t, id))
		return fail(p, "two streams have the same id");
	s = ctf_stream_class_add(p->t, id);
	if (!s)
		return fail(p, "memory");
	s->packet_context = context;
	s->event_header = header;
	s->common_context = common;
	s->cut_bit = cut;
	s->clock = p->t->clock;
}

static void parse_event(struct parser *p)
{
	struct ctf_fc *context = NULL, *payload = NULL;
	uint64_t id = 0, stream_id = 0;
	struct ctf_stream_class *s;
	struct ctf_event_class *ec;
	bool has_stream = false;
	const char *name = "";
	int level = -1, i;
	uint8_t span = 0;
	struct entry e;

	while (next_entry(p, &e)) {
		if (!strcmp(e.key, "name")) {
			name = e.v.text ? e.v.text : "";
		} else if (!strcmp(e.key, "id")) {
			id = number(p, e.v, 0, UINT64_MAX);
		} else if (!strcmp(e.key, "stream_id")) {
			stream_id = number(p, e.v, 0, UINT64_MAX);
			has_stream = true;
		} else if (!strcmp(e.key, "loglevel")) {
			level = (int)number(p, e.v, 0, 1000);
		} else if (!strcmp(e.key, "context")) {
			context = need_struct(p, &e);
		} else if (!strcmp(e.key, "fields")) {
			payload = need_struct(p, &e);
		}
		for (i = 0; i < p->nnotes; i++) {
			if (!strncmp(p->note[i], "span begin*/", 12))
				span = CTF_SPAN_BEGIN;
			else if (!strncmp(p->note[i], "span end*/", 10))
				span = CTF_SPAN_END;
		}
	}
	if (p->failed)
		return;
	s = has_stream || !p->t->stream ? ctf_stream_class_find(p->t, stream_id) : p->t->stream;
	if (!s && !has_stream)
		s = ctf_stream_class_add(p->t, 0);
	if (!s)
		return fail(p, p->a->failed ? "memory" : "an event is of a stream that does not exist");
	ec = ctf_event_class_add(p->t, s, id);
	if (!ec)
		return fail(p, "memory");
	ec->name = name;
	ec->level = level;
	ec->span = span;
	ec->context = context;
	ec->payload = payload;
}

int ctf_tsdl_parse(struct ctf_trace_class *t, const char *text, size_t len, struct err *err)
{
	struct parser p = { .t = t, .a = &t->arena, .at = text, .end = text + len, .line = 1, .err = err };
	static const struct {
		const char *name;
		void (*parse)(struct parser *p);
	} blocks[] = { { "trace", parse_trace }, { "env", parse_env }, { "clock", parse_clock }, { "stream", parse_stream }, { "event", parse_event } };
	const char *unused = NULL;
	struct entry e;
	unsigned i;

	t->major = 1;
	t->minor = 8;
	advance(&p);
	while (p.token != T_END && !p.failed) {
		if (accept(&p, ';'))
			continue;
		if (accept_name(&p, "typedef")) {
			parse_named_type(&p, false);
			continue;
		}
		if (accept_name(&p, "typealias")) {
			parse_named_type(&p, true);
			continue;
		}
		for (i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
			if (accept_name(&p, blocks[i].name)) {
				expect(&p, '{');
				enter(&p);
				blocks[i].parse(&p);
				leave(&p);
				break;
			}
		if (i < sizeof(blocks) / sizeof(blocks[0]))
			continue;
		if (accept_name(&p, "callsite")) {
			expect(&p, '{');
			while (next_entry(&p, &e))
				;
			continue;
		}
		parse_type(&p, &unused); /* struct x { ... }; */
	}
	return p.failed ? (err && err->code ? err->code : -EPROTO) : 0;
}
