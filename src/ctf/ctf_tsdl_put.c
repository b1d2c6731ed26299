/* TSDL (the text that CTF 1.8 has as its metadata) from the model.
 *
 * What TSDL has no words for stands in comments that begin with "@", behind what they are about: other readers skip them,
 * ctf_tsdl.c takes them in. docs/ctf.md lists them. */
#include "ctf/ctf_model.h"

#include <inttypes.h>
#include <string.h>

static bool is_identifier(const char *s)
{
	if (!(*s == '_' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')))
		return false;
	for (; *s; s++)
		if (!(*s == '_' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9')))
			return false;
	return true;
}

/* Three octal digits end an escape whatever follows. The star is escaped so that no comment can end inside a string. */
static void put_string(struct buf *b, const char *s)
{
	buf_putc(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_printf(b, "\\%c", *s);
		else if (*s == '\n')
			buf_puts(b, "\\n");
		else if ((unsigned char)*s < 0x20 || *s == 0x7f || *s == '*')
			buf_printf(b, "\\%03o", (unsigned char)*s);
		else
			buf_putc(b, *s);
	}
	buf_putc(b, '"');
}

static void put_uuid(struct buf *b, const uint8_t u[16])
{
	int i;

	buf_putc(b, '"');
	for (i = 0; i < 16; i++)
		buf_printf(b, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
	buf_putc(b, '"');
}

static const char *clock_name(const struct ctf_clock *c)
{
	return c->name && is_identifier(c->name) ? c->name : "monotonic";
}

static const char *raw_name(const struct ctf_fc *fc)
{
	return fc->raw ? fc->raw : fc->name;
}

static const char *const scope_path[CTF_SCOPES] = {
	"trace.packet.header",
	"stream.packet.context",
	"stream.event.header",
	"stream.event.context",
	"event.context",
	"event.fields",
};

/* Where a length or a tag stands: by its name where it is a member of a struct around this, else by its whole path. */
static void put_target(struct buf *b, const struct ctf_fc *fc)
{
	const struct ctf_fc *t = fc->target, *p, *path[64];
	int n = 0;

	for (p = fc->parent; p; p = p->parent)
		if (p == t->parent) {
			buf_puts(b, raw_name(t));
			return;
		}
	for (p = t; p && p->parent && n < 64; p = p->parent)
		if (p->name)
			path[n++] = p;
	buf_puts(b, scope_path[t->scope]);
	while (n > 0)
		buf_printf(b, ".%s", raw_name(path[--n]));
}

struct put {
	struct buf *b;
	const struct ctf_clock *clock;
	int depth;
};

static void put_indent(struct put *p)
{
	int i;

	for (i = 0; i < p->depth; i++)
		buf_putc(p->b, '\t');
}

static void put_type(struct put *p, const struct ctf_fc *fc);

static void put_int(struct put *p, const struct ctf_fc *fc)
{
	bool plain = fc->base == 10 && !fc->big_endian && fc->align == 8 && !(fc->clock && p->clock);

	if (plain && (fc->bits == 8 || fc->bits == 16 || fc->bits == 32 || fc->bits == 64)) {
		buf_printf(p->b, "%s%u_t", fc->is_signed ? "i" : "u", fc->bits);
		return;
	}
	buf_printf(p->b, "integer { size = %u; align = %u; signed = %s; byte_order = %s; base = %u;", fc->bits, fc->align,
		   fc->is_signed ? "true" : "false", fc->big_endian ? "be" : "le", fc->base);
	if (fc->clock && p->clock)
		buf_printf(p->b, " map = clock.%s.value;", clock_name(p->clock));
	buf_puts(p->b, " }");
}

static void put_value(struct buf *b, bool is_signed, uint64_t v)
{
	if (is_signed)
		buf_put_i64(b, (int64_t)v);
	else
		buf_put_u64(b, v);
}

static void put_enum(struct put *p, const struct ctf_fc *fc)
{
	const struct ctf_mapping *m;
	const char *sep = " ";
	uint32_t i;

	buf_puts(p->b, "enum : ");
	put_int(p, fc);
	buf_puts(p->b, " {");
	for (m = fc->map; m; m = m->next)
		for (i = 0; i < m->nranges; i++, sep = ", ") {
			buf_puts(p->b, sep);
			put_string(p->b, m->label);
			buf_puts(p->b, " = ");
			put_value(p->b, fc->is_signed, m->range[i].low);
			if (m->range[i].high != m->range[i].low) {
				buf_puts(p->b, " ... ");
				put_value(p->b, fc->is_signed, m->range[i].high);
			}
		}
	buf_puts(p->b, " }");
}

static void put_hints(struct put *p, const struct ctf_fc *fc)
{
	static const struct {
		unsigned hint;
		const char *text;
	} hints[] = { { CTF_HINT_BOOL, "bool" }, { CTF_HINT_DURATION, "duration" }, { CTF_HINT_TIME, "time" }, { CTF_HINT_ATTRS, "attrs" }, { CTF_HINT_WRAP, "wrap" }, { CTF_HINT_LENGTH, "length" } };
	const char *raw = raw_name(fc), *shown = raw && *raw == '_' ? raw + 1 : raw;
	const struct ctf_fc *in = fc->kind == CTF_ARRAY ? fc->child : NULL;
	unsigned i, hint = fc->hint;

	if (in)
		hint |= in->hint & (CTF_HINT_BOOL | CTF_HINT_DURATION | CTF_HINT_TIME | CTF_HINT_WRAP);
	for (i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hint & hints[i].hint)
			buf_printf(p->b, " /*@%s*/", hints[i].text);
	if (fc->kind == CTF_BLOB && fc->role == CTF_ROLE_NONE)
		buf_puts(p->b, " /*@bytes*/");
	if (fc->name && shown && strcmp(fc->name, shown)) {
		buf_puts(p->b, " /*@name ");
		put_string(p->b, fc->name);
		buf_puts(p->b, "*/");
	}
}

/* "TYPE NAME[LENGTH];" */
static void put_member(struct put *p, const struct ctf_fc *fc, const char *name)
{
	bool list = fc->kind == CTF_ARRAY || fc->kind == CTF_TEXT || fc->kind == CTF_BLOB;

	if (fc->kind == CTF_ARRAY) {
		put_type(p, fc->child);
	} else if (fc->kind == CTF_TEXT) {
		buf_puts(p->b, "utf8_t");
	} else if (fc->kind == CTF_BLOB) {
		buf_puts(p->b, fc->role == CTF_ROLE_UUID ? "u8_t" : "x8_t");
	} else {
		put_type(p, fc);
	}
	buf_printf(p->b, " %s", name);
	if (list) {
		buf_putc(p->b, '[');
		if (fc->has_target)
			put_target(p->b, fc);
		else
			buf_put_u64(p->b, fc->count);
		buf_putc(p->b, ']');
	}
	buf_putc(p->b, ';');
}

static void put_members(struct put *p, const struct ctf_fc *fc)
{
	const struct ctf_fc *c;

	buf_puts(p->b, "{\n");
	p->depth++;
	for (c = fc->child; c; c = c->next) {
		put_indent(p);
		put_member(p, c, raw_name(c));
		put_hints(p, c);
		buf_putc(p->b, '\n');
	}
	p->depth--;
	put_indent(p);
	buf_putc(p->b, '}');
}

static void put_type(struct put *p, const struct ctf_fc *fc)
{
	switch (fc->kind) {
	case CTF_INT:
		if (fc->map)
			put_enum(p, fc);
		else
			put_int(p, fc);
		break;
	case CTF_FLOAT:
		if (!fc->big_endian && fc->align == 8)
			buf_puts(p->b, fc->bits == 32 ? "f32_t" : "f64_t");
		else
			buf_printf(p->b, "floating_point { exp_dig = %d; mant_dig = %d; align = %u; byte_order = %s; }",
				   fc->bits == 32 ? 8 : 11, fc->bits == 32 ? 24 : 53, fc->align, fc->big_endian ? "be" : "le");
		break;
	case CTF_STRING:
		buf_puts(p->b, "string { encoding = UTF8; }");
		break;
	case CTF_STRUCT:
		buf_puts(p->b, "struct ");
		put_members(p, fc);
		if (fc->align > 1)
			buf_printf(p->b, " align(%u)", fc->align);
		break;
	case CTF_VARIANT:
		buf_puts(p->b, "variant <");
		put_target(p->b, fc);
		buf_puts(p->b, "> ");
		put_members(p, fc);
		break;
	default: /* a list in a list has no words of its own */
		buf_puts(p->b, "struct { ");
		put_member(p, fc, "_value");
		put_hints(p, fc);
		buf_puts(p->b, " }");
	}
}

int ctf_tsdl_can(const struct ctf_fc *fc)
{
	const struct ctf_mapping *m;
	const struct ctf_fc *c;

	if (!fc)
		return 0;
	if (fc->kind == CTF_VARINT || fc->kind == CTF_OPTIONAL || (fc->kind == CTF_INT && fc->bits_msb != fc->big_endian))
		return -ENOTSUP;
	for (c = fc->child; c; c = c->next) {
		if (c->name && !is_identifier(raw_name(c)))
			return -ENOTSUP;
		if (fc->kind == CTF_VARIANT) {
			for (m = fc->target->map; m && strcmp(m->label, raw_name(c)); m = m->next)
				;
			if (!m)
				return -ENOTSUP;
		}
		if (ctf_tsdl_can(c) < 0)
			return -ENOTSUP;
	}
	return 0;
}

static const char aliases[] = "typealias integer { size = 8; align = 8; signed = false; byte_order = le; } := u8_t;\n"
			      "typealias integer { size = 16; align = 8; signed = false; byte_order = le; } := u16_t;\n"
			      "typealias integer { size = 32; align = 8; signed = false; byte_order = le; } := u32_t;\n"
			      "typealias integer { size = 64; align = 8; signed = false; byte_order = le; } := u64_t;\n"
			      "typealias integer { size = 8; align = 8; signed = true; byte_order = le; } := i8_t;\n"
			      "typealias integer { size = 16; align = 8; signed = true; byte_order = le; } := i16_t;\n"
			      "typealias integer { size = 32; align = 8; signed = true; byte_order = le; } := i32_t;\n"
			      "typealias integer { size = 64; align = 8; signed = true; byte_order = le; } := i64_t;\n"
			      "typealias integer { size = 8; align = 8; signed = false; base = 16; } := x8_t;\n"
			      "typealias integer { size = 8; align = 8; signed = false; encoding = UTF8; } := utf8_t;\n"
			      "typealias floating_point { exp_dig = 8; mant_dig = 24; align = 8; byte_order = le; } := f32_t;\n"
			      "typealias floating_point { exp_dig = 11; mant_dig = 53; align = 8; byte_order = le; } := f64_t;\n";

void ctf_tsdl_trace(struct buf *b, const struct ctf_trace_class *t)
{
	const struct ctf_clock *c;
	const struct ctf_env *e;
	struct put p = { b, t->clock, 1 };

	buf_puts(b, "/* CTF 1.8 */\n\n");
	buf_puts(b, aliases);
	buf_printf(b, "\ntrace {\n\tmajor = 1;\n\tminor = 8;\n\tbyte_order = %s;\n", t->big_endian ? "be" : "le");
	if (t->has_uuid) {
		buf_puts(b, "\tuuid = ");
		put_uuid(b, t->uuid);
		buf_puts(b, ";\n");
	}
	if (t->packet_header) {
		buf_puts(b, "\tpacket.header := ");
		put_type(&p, t->packet_header);
		buf_puts(b, ";\n");
	}
	buf_puts(b, "};\n\n");
	if (t->env) {
		buf_puts(b, "env {\n");
		for (e = t->env; e; e = e->next) {
			if (!is_identifier(e->name))
				continue;
			buf_printf(b, "\t%s = ", e->name);
			if (e->text)
				put_string(b, e->text);
			else
				buf_put_i64(b, e->number);
			buf_puts(b, ";\n");
		}
		buf_puts(b, "};\n\n");
	}
	for (c = t->clock; c; c = c->next) {
		buf_printf(b, "clock {\n\tname = %s;\n", clock_name(c));
		if (c->has_uuid) {
			buf_puts(b, "\tuuid = ");
			put_uuid(b, c->uuid);
			buf_puts(b, ";\n");
		}
		if (c->description) {
			buf_puts(b, "\tdescription = ");
			put_string(b, c->description);
			buf_puts(b, ";\n");
		}
		buf_printf(b, "\tfreq = %" PRIu64 ";\n", c->freq);
		if (c->precision)
			buf_printf(b, "\tprecision = %" PRIu64 ";\n", c->precision);
		buf_printf(b, "\toffset_s = %" PRId64 ";\n\toffset = %" PRIu64 ";\n", c->offset_s, c->offset);
		if (c->absolute)
			buf_puts(b, "\tabsolute = true;\n");
		buf_puts(b, "};\n\n");
	}
}

void ctf_tsdl_stream(struct buf *b, const struct ctf_stream_class *s)
{
	const struct {
		const char *name;
		const struct ctf_fc *fc;
	} parts[] = { { "packet.context", s->packet_context },
		      { "event.header", s->event_header },
		      { "event.context", s->common_context } };
	struct put p = { b, s->clock, 1 };
	unsigned i;

	buf_printf(b, "stream {\n\tid = %" PRIu64 ";%s\n", s->id, s->cut_bit ? " /*@cut*/" : "");
	for (i = 0; i < 3; i++) {
		if (!parts[i].fc)
			continue;
		buf_printf(b, "\t%s := ", parts[i].name);
		put_type(&p, parts[i].fc);
		buf_puts(b, ";\n");
	}
	buf_puts(b, "};\n\n");
}

void ctf_tsdl_event(struct buf *b, const struct ctf_event_class *e, uint64_t stream_id)
{
	struct put p = { b, NULL, 1 };

	buf_puts(b, "event {\n\tname = ");
	put_string(b, e->name);
	buf_printf(b, ";\n\tid = %" PRIu64 ";\n\tstream_id = %" PRIu64 ";\n", e->id, stream_id);
	if (e->level >= 0)
		buf_printf(b, "\tloglevel = %d;\n", e->level);
	if (e->span)
		buf_printf(b, "\t/*@span %s*/\n", e->span == CTF_SPAN_BEGIN ? "begin" : "end");
	if (e->context) {
		buf_puts(b, "\tcontext := ");
		put_type(&p, e->context);
		buf_puts(b, ";\n");
	}
	buf_puts(b, "\tfields := ");
	if (e->payload)
		put_type(&p, e->payload);
	else
		buf_puts(b, "struct { }");
	buf_puts(b, ";\n};\n\n");
}
