/* Compiles field classes. `phase` follows what is known of the place: bits beyond a whole byte (0 to 7), or -1 when it depends on the data. */
#include "ctf/ctf_layout.h"
#include "ctf/ctf_run.h"

#include <stdlib.h>
#include <string.h>

#define DENSE 65536u

struct compile {
	struct ctf_arena *a;
	struct ctf_op *op;
	uint32_t n, cap;
	uint32_t border; /* steps before it belong to a body */
	int phase;
	bool skip; /* the skip program */
	bool failed;
};

static struct ctf_op *emit(struct compile *c, unsigned code, const struct ctf_fc *fc)
{
	struct ctf_op *op;
	void *more;

	if (c->n == c->cap) {
		more = realloc(c->op, (c->cap * 2 + 32) * sizeof(*op));
		if (!more) {
			c->failed = true;
			return NULL;
		}
		c->op = more;
		c->cap = c->cap * 2 + 32;
	}
	op = &c->op[c->n++];
	memset(op, 0, sizeof(*op));
	op->op = (uint8_t)code;
	op->fc = fc;
	op->align = 1;
	return op;
}

static int finish(struct compile *c, struct ctf_prog *ret)
{
	ret->n = c->n;
	ret->op = c->failed ? NULL : ctf_alloc(c->a, (c->n + 1) * sizeof(*c->op));
	if (ret->op && c->n)
		memcpy(ret->op, c->op, c->n * sizeof(*c->op));
	free(c->op);
	return ret->op ? 0 : -ENOMEM;
}

/* Begun at a whole byte, does it end at one whatever it holds? */
static bool is_bytewise(const struct ctf_fc *fc)
{
	const struct ctf_fc *c;

	if ((fc->kind == CTF_INT || fc->kind == CTF_FLOAT) && (fc->bits % 8 || fc->align < 8))
		return false;
	for (c = fc->child; c; c = c->next)
		if (!is_bytewise(c))
			return false;
	return true;
}

/* Bits that it always takes, when nothing in it has to be known and no alignment beyond bytes; 0: otherwise. */
static uint64_t plain_bits(const struct ctf_fc *fc)
{
	const struct ctf_fc *c;
	uint64_t sum = 0, one;

	if (fc->align > 8 || fc->reg || fc->role)
		return 0;
	switch (fc->kind) {
	case CTF_INT:
	case CTF_FLOAT:
		return fc->bits % 8 || fc->align < 8 ? 0 : fc->bits;
	case CTF_STRUCT:
		for (c = fc->child; c; c = c->next) {
			one = plain_bits(c);
			if (!one)
				return 0;
			sum += one;
		}
		return sum < (1u << 30) ? sum : 0;
	case CTF_TEXT:
	case CTF_BLOB:
		return fc->has_target || fc->count > (1u << 20) ? 0 : fc->count * 8;
	case CTF_ARRAY:
		one = plain_bits(fc->child);
		return fc->has_target || !one || fc->count > (1u << 20) || one * fc->count > (1u << 30) ? 0 : one * fc->count;
	default:
		return 0;
	}
}

static void align_to(struct compile *c, struct ctf_op *op, uint32_t align)
{
	if (align <= 1 || (align <= 8 && c->phase == 0))
		return;
	op->align = align;
	if (align >= 8)
		c->phase = 0;
	else if (c->phase >= 0)
		c->phase = (int)(((uint32_t)c->phase + align - 1) & ~(align - 1)) & 7;
}

static void compile_fc(struct compile *c, const struct ctf_fc *fc, unsigned flags);

static void put_lit(struct compile *c, uint32_t at, const char *sep, const char *name, const char *close)
{
	struct ctf_out quoted = { 0 };
	size_t a = strlen(sep), b, d = strlen(close);
	char *s;

	if (c->skip || c->failed)
		return;
	ctf_put_name(&quoted, name);
	if (quoted.failed) {
		c->failed = true;
		return;
	}
	b = (size_t)(quoted.at - quoted.base);
	if (b > 1024)
		b = 1024;
	s = ctf_alloc(c->a, a + b + d + 16); /* read 16 at a time */
	if (!s) {
		ctf_out_done(&quoted);
		c->failed = true;
		return;
	}
	memcpy(s, sep, a);
	memcpy(s + a, quoted.base, b);
	memcpy(s + a + b, close, d);
	ctf_out_done(&quoted);
	c->op[at].lit = s;
	c->op[at].lit_len = (uint16_t)(a + b + d);
}

/* Members of a struct; an attribute's { key, tag, value } when `attr`. */
static void compile_members(struct compile *c, const struct ctf_fc *fc, const char *first, bool attr, bool nameless, bool hide_roles)
{
	const struct ctf_fc *m;
	const char *sep = first;
	uint32_t at;
	unsigned flags;

	for (m = fc->child; m && !c->failed; m = m->next) {
		flags = m->hint & CTF_HINT_LENGTH || (hide_roles && m->role) ? OP_HIDDEN : 0;
		if (attr && m->reg && m->kind == CTF_INT)
			flags |= OP_HIDDEN;
		if (attr && m->kind == CTF_TEXT)
			flags |= OP_BARE;
		at = c->n;
		compile_fc(c, m, flags);
		if (c->failed || flags & OP_HIDDEN || at >= c->n)
			continue;
		if (attr)
			put_lit(c, at, "", "", m->kind == CTF_TEXT ? "" : "=");
		else if (nameless)
			put_lit(c, at, "", "", "");
		else
			put_lit(c, at, sep, m->name ? m->name : "", "=");
		sep = " ";
	}
}

static void compile_int(struct compile *c, const struct ctf_fc *fc, unsigned flags)
{
	struct ctf_op *op = emit(c, OP_BITS, fc);
	unsigned log = fc->bits == 8 ? 0 : fc->bits == 16 ? 1
				   : fc->bits == 32       ? 2
							  : 3;

	if (!op)
		return;
	align_to(c, op, fc->align);
	op->bits = fc->bits;
	op->flags = (uint8_t)(flags | (fc->is_signed ? OP_SIGNED : 0) | (fc->big_endian ? OP_BIG : 0));
	op->reg = (uint32_t)fc->reg;
	op->role = fc->role;
	op->type = fc->is_signed ? GANDER_CTF_I64 : GANDER_CTF_U64;
	if (fc->hint & CTF_HINT_BOOL)
		op->type = GANDER_CTF_BOOL;
	op->public_flags = (uint8_t)((fc->base == 16 ? GANDER_CTF_HEX : 0) | (fc->hint & CTF_HINT_DURATION ? GANDER_CTF_DURATION : 0) |
				     (fc->hint & CTF_HINT_TIME ? GANDER_CTF_TIME : 0));
	if (fc->bits == 8u << log && !fc->big_endian && c->phase == 0)
		op->op = (uint8_t)((fc->is_signed ? OP_I8 : OP_U8) + log);
	c->phase = c->phase < 0 ? -1 : (c->phase + fc->bits) & 7;
}

/* Joins with the step before it, if nothing can jump between the two. */
static void emit_skip(struct compile *c, const struct ctf_fc *fc, uint64_t bits)
{
	struct ctf_op *op = c->n > c->border ? &c->op[c->n - 1] : NULL;

	if (op && op->op == OP_SKIP && op->count < (1u << 30)) {
		op->count += bits;
		return;
	}
	op = emit(c, OP_SKIP, fc);
	if (op)
		op->count = bits;
}

static void compile_variant(struct compile *c, const struct ctf_fc *fc, unsigned flags)
{
	uint32_t at = c->n, i = 0;
	struct ctf_op *op = emit(c, fc->kind == CTF_OPTIONAL ? OP_OPTIONAL : OP_VARIANT, fc);
	int phase = c->phase, after = phase;
	struct ctf_option *option;
	const struct ctf_fc *o;

	option = ctf_alloc(c->a, (fc->nchildren + 1) * sizeof(*option));
	if (!op || !option) {
		c->failed = true;
		return;
	}
	op->source = (uint32_t)fc->target->reg;
	op->option = option;
	op->noptions = fc->nchildren;
	op->flags = (uint8_t)flags;
	for (o = fc->child; o && !c->failed; o = o->next, i++) {
		option[i].range = fc->kind == CTF_OPTIONAL ? fc->range : o->range;
		option[i].nranges = fc->kind == CTF_OPTIONAL ? fc->nranges : o->nranges;
		option[i].begin = c->border = c->n;
		c->phase = phase;
		compile_fc(c, o, flags);
		option[i].end = c->n;
		if (!is_bytewise(o))
			after = -1;
	}
	c->border = c->n;
	if (!c->failed)
		c->op[at].end = c->n;
	c->phase = after;
}

static void compile_list(struct compile *c, const struct ctf_fc *fc, unsigned flags)
{
	uint32_t at = c->n;
	struct ctf_op *op = emit(c, OP_ARRAY, fc);
	bool bytewise = is_bytewise(fc->child);
	uint64_t plain = plain_bits(fc->child);

	if (!op)
		return;
	align_to(c, op, ctf_fc_align(fc));
	op->flags = (uint8_t)(flags | (fc->has_target ? OP_DYNAMIC : 0));
	op->source = fc->has_target ? (uint32_t)fc->target->reg : 0;
	op->count = fc->count;
	op->public_flags = fc->hint & CTF_HINT_ATTRS ? GANDER_CTF_ATTRS : 0;
	if (c->phase == 0 && bytewise)
		op->elem_bits = (uint32_t)plain;
	if (c->phase == 0 && !bytewise)
		c->phase = -1;
	if (fc->hint & CTF_HINT_ATTRS && fc->child->kind == CTF_STRUCT) {
		op = emit(c, OP_STRUCT, fc->child);
		if (!op)
			return;
		op->flags = OP_FLAT;
		op->count = 2;
		compile_members(c, fc->child, "", true, false, false);
		if (!c->failed)
			c->op[at + 1].end = c->n;
	} else {
		compile_fc(c, fc->child, 0);
	}
	if (c->failed)
		return;
	c->op[at].end = c->border = c->n;
	if (!bytewise)
		c->phase = -1;
}

static uint32_t visible(const struct ctf_fc *fc)
{
	const struct ctf_fc *c;
	uint32_t n = 0;

	for (c = fc->child; c; c = c->next)
		n += !(c->hint & CTF_HINT_LENGTH);
	return n;
}

static void compile_fc(struct compile *c, const struct ctf_fc *fc, unsigned flags)
{
	uint32_t at = c->n;
	uint64_t plain = c->skip && c->phase == 0 ? plain_bits(fc) : 0;
	struct ctf_op *op;

	if (c->failed)
		return;
	if (plain) {
		emit_skip(c, fc, plain);
		return;
	}
	switch (fc->kind) {
	case CTF_INT:
		compile_int(c, fc, flags);
		break;
	case CTF_VARINT:
	case CTF_STRING:
		op = emit(c, fc->kind == CTF_VARINT ? OP_VARINT : OP_STRING, fc);
		if (!op)
			return;
		align_to(c, op, 8);
		op->flags = (uint8_t)(flags | (fc->is_signed ? OP_SIGNED : 0));
		op->reg = (uint32_t)fc->reg;
		op->role = fc->role;
		op->type = fc->kind == CTF_STRING ? GANDER_CTF_TEXT : fc->is_signed ? GANDER_CTF_I64
										    : GANDER_CTF_U64;
		c->phase = 0;
		break;
	case CTF_FLOAT:
		op = emit(c, fc->bits == 32 ? OP_F32 : OP_F64, fc);
		if (!op)
			return;
		align_to(c, op, fc->align);
		op->flags = (uint8_t)(flags | (fc->big_endian ? OP_BIG : 0));
		op->bits = fc->bits;
		op->type = GANDER_CTF_F64;
		break;
	case CTF_TEXT:
	case CTF_BLOB:
		op = emit(c, fc->kind == CTF_TEXT ? OP_TEXT : OP_BLOB, fc);
		if (!op)
			return;
		align_to(c, op, 8);
		op->flags = (uint8_t)(flags | (fc->has_target ? OP_DYNAMIC : 0));
		op->source = fc->has_target ? (uint32_t)fc->target->reg : 0;
		op->count = fc->count;
		op->role = fc->role;
		op->type = fc->kind == CTF_TEXT ? GANDER_CTF_TEXT : GANDER_CTF_BLOB;
		c->phase = 0;
		break;
	case CTF_STRUCT:
		op = emit(c, OP_STRUCT, fc);
		if (!op)
			return;
		align_to(c, op, ctf_fc_align(fc));
		op->flags = (uint8_t)(flags | (fc->hint & CTF_HINT_WRAP && visible(fc) == 1 ? OP_FLAT : 0));
		op->count = visible(fc);
		compile_members(c, fc, "", false, (op->flags & OP_FLAT) != 0, false);
		if (!c->failed)
			c->op[at].end = c->n;
		break;
	case CTF_ARRAY:
		compile_list(c, fc, flags);
		break;
	default:
		compile_variant(c, fc, flags);
	}
}

/* A whole scope. In the full program as OP_SCOPE with its members; bare members else. */
static void compile_scope(struct compile *c, const struct ctf_fc *fc, enum gander_ctf_scope scope, bool hide_roles)
{
	uint32_t at, align, i, shown = 0;
	struct ctf_op *op;
	const struct ctf_fc *m;

	if (!fc || c->failed)
		return;
	align = ctf_fc_align(fc);
	if (align > 8 || c->phase != 0) {
		op = emit(c, OP_ALIGN, fc);
		if (op)
			op->align = align;
		if (align >= 8)
			c->phase = 0;
	}
	if (c->skip || c->failed) {
		for (m = fc->child; m; m = m->next)
			compile_fc(c, m, 0);
		return;
	}
	at = c->n;
	op = emit(c, OP_SCOPE, fc);
	if (!op)
		return;
	op->count = scope;
	compile_members(c, fc, scope == GANDER_CTF_FIELDS ? " " : " {", false, false, hide_roles);
	if (c->failed)
		return;
	for (i = at + 1; i < c->n; i++)
		shown |= c->op[i].lit_len;
	/* The closing brace is the text before an operation of its own: no look back when the scope ends. None around nothing. */
	if (shown && scope != GANDER_CTF_FIELDS) {
		i = c->n;
		if (emit(c, OP_ALIGN, fc))
			put_lit(c, i, "", "", "}");
	}
	if (!c->failed)
		c->op[at].end = c->n;
}

static int compile_prog(struct ctf_arena *a, struct ctf_prog *ret, bool skip, const struct ctf_fc *fc, enum gander_ctf_scope scope, bool hide_roles)
{
	struct compile c = { .a = a, .skip = skip, .phase = scope == GANDER_CTF_PACKET && skip ? 0 : -1 };

	compile_scope(&c, fc, scope, hide_roles);
	return finish(&c, ret);
}

/* Bytes from the start of a scope to an integer of so many bits, when nothing before it varies; else -1. */
static int32_t fixed_place(const struct ctf_fc *scope, const char *name, unsigned bits)
{
	const struct ctf_fc *c;
	uint64_t at = 0;

	if (!scope || scope->align > 8)
		return -1;
	for (c = scope->child; c; c = c->next) {
		if (c->kind == CTF_INT && c->bits == bits && c->align == 8 && !c->big_endian && c->name && !strcmp(c->name, name))
			return (int32_t)(at / 8);
		if (!plain_bits(c))
			return -1;
		at += plain_bits(c);
	}
	return -1;
}

static void context_mask(struct ctf_event_layout *l, uint64_t bytes)
{
	if (!bytes || bytes > 16)
		return;
	l->context_mask[0] = bytes < 8 ? (1ull << (8 * bytes)) - 1 : ~0ull;
	l->context_mask[1] = bytes <= 8 ? 0 : bytes < 16 ? (1ull << (8 * (bytes - 8))) - 1
							 : ~0ull;
}

static int compile_event(struct ctf_arena *a, struct ctf_event_class *e, int phase)
{
	struct ctf_event_layout *l = ctf_alloc(a, sizeof(*l));
	struct compile c;
	int skip;

	if (!l)
		return -ENOMEM;
	e->layout = l;
	for (skip = 0; skip < 2; skip++) {
		memset(&c, 0, sizeof(c));
		c.a = a;
		c.skip = skip;
		c.phase = phase;
		compile_scope(&c, e->stream->common_context, GANDER_CTF_CONTEXT, false);
		if (!skip)
			l->context_ops = c.n;
		compile_scope(&c, e->context, GANDER_CTF_SPECIFIC, false);
		compile_scope(&c, e->payload, GANDER_CTF_FIELDS, false);
		if (finish(&c, skip ? &l->skip : &l->full) < 0)
			return -ENOMEM;
	}
	if (!phase && e->stream->common_context)
		context_mask(l, plain_bits(e->stream->common_context) / 8);
	l->duration_at = -1;
	if (e->span == CTF_SPAN_END && !phase && !e->context) {
		uint64_t before = e->stream->common_context ? plain_bits(e->stream->common_context) : 0;
		int32_t at = fixed_place(e->payload, "duration", 64);

		if (at >= 0 && (before || !e->stream->common_context))
			l->duration_at = (int32_t)(before / 8) + at;
	}
	l->fixed_bits = UINT32_MAX;
	if (!l->skip.n)
		l->fixed_bits = 0;
	else if (l->skip.n == 1 && l->skip.op[0].op == OP_SKIP)
		l->fixed_bits = (uint32_t)l->skip.op[0].count;
	return 0;
}

static bool is_fast_header(const struct ctf_fc *h)
{
	const struct ctf_fc *id = h ? h->child : NULL, *time = id ? id->next : NULL;

	return time && !time->next && id->kind == CTF_INT && id->bits == 15 && !id->big_endian && !id->is_signed && id->align == 8 &&
	       id->role == CTF_ROLE_EVENT_ID && !id->reg && time->kind == CTF_INT && time->bits == 48 && !time->big_endian &&
	       !time->is_signed && time->align == 8 && time->role == CTF_ROLE_TIME && !time->reg && h->align <= 8;
}

struct ctf_event_class *ctf_layout_find(const struct ctf_stream_class *s, uint64_t id)
{
	const struct ctf_stream_layout *l = s->layout;
	struct ctf_event_class *e;

	if (id < l->dense)
		return l->by_id[id];
	for (e = s->event; e && e->id != id; e = e->next)
		;
	return e;
}

int ctf_layout_trace(struct ctf_trace_class *t, struct ctf_trace_layout *ret, struct err *err)
{
	struct ctf_arena *a = &t->arena;
	struct ctf_stream_layout *l;
	struct ctf_stream_class *s;
	struct ctf_event_class *e;
	uint32_t i;
	int phase;

	if (compile_prog(a, &ret->packet_header, true, t->packet_header, GANDER_CTF_PACKET, false) < 0)
		goto fail;
	for (s = t->stream; s; s = s->next) {
		l = ctf_alloc(a, sizeof(*l));
		if (!l)
			goto fail;
		s->layout = l;
		if (compile_prog(a, &l->event_header, true, s->event_header, GANDER_CTF_CONTEXT, false) < 0)
			goto fail;
		/* the packet's context may begin anywhere behind its header: align at run time */
		if (compile_prog(a, &l->packet_context, true, s->packet_context, GANDER_CTF_CONTEXT, false) < 0 ||
		    compile_prog(a, &l->packet_full, false, s->packet_context, GANDER_CTF_PACKET, true) < 0)
			goto fail;
		for (i = 0; i < l->packet_full.n; i++)
			l->packet_shown |= l->packet_full.op[i].lit_len != 0;
		l->fast_header = is_fast_header(s->event_header);
		for (e = s->event; e; e = e->next)
			if (e->id < DENSE && e->id >= l->dense)
				l->dense = (uint32_t)e->id + 1;
		l->by_id = ctf_alloc(a, l->dense * sizeof(*l->by_id) + 1);
		if (!l->by_id)
			goto fail;
		/* behind a header of whole bytes that begins at one */
		phase = s->event_header && s->event_header->child && is_bytewise(s->event_header) && ctf_fc_align(s->event_header) >= 8 ? 0 : -1;
		if (l->fast_header)
			phase = 0;
		l->tid_at = phase ? -1 : fixed_place(s->common_context, "vtid", 32);
		if (l->tid_at < 0 && !phase)
			l->tid_at = fixed_place(s->common_context, "tid", 32);
		l->pid_at = phase ? -1 : fixed_place(s->common_context, "pid", 32);
		l->goid_at = phase ? -1 : fixed_place(s->common_context, "goid", 64);
		for (e = s->event; e; e = e->next) {
			if (e->id < DENSE)
				l->by_id[e->id] = e;
			if (compile_event(a, e, phase) < 0)
				goto fail;
		}
	}
	return 0;
fail:
	return err_set(err, -ENOMEM, "the metadata needs more memory than there is, or more than %u MiB", CTF_META_MAX >> 20);
}
