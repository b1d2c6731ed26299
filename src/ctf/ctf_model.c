/* The model's memory, and the model of gander's own traces: what region.h and desc.h say, as field classes. */
#include "ctf/ctf_model.h"
#include "region/desc.h"
#include "region/region.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 65536u

struct ctf_chunk {
	struct ctf_chunk *next;
	size_t used, size;
	uint8_t data[] __attribute__((aligned(8)));
};

const char *const ctf_scope_names[CTF_SCOPES] = {
	"packet-header",
	"packet-context",
	"event-record-header",
	"event-record-common-context",
	"event-record-specific-context",
	"event-record-payload",
};

void ctf_arena_init(struct ctf_arena *a, size_t limit)
{
	memset(a, 0, sizeof(*a));
	a->limit = limit;
}

void ctf_arena_done(struct ctf_arena *a)
{
	struct ctf_chunk *c, *next;

	for (c = a->chunk; c; c = next) {
		next = c->next;
		free(c);
	}
	a->chunk = NULL;
	a->used = 0;
}

void *ctf_alloc(struct ctf_arena *a, size_t size)
{
	struct ctf_chunk *c = a->chunk;
	size_t room;
	void *p;

	if (a->failed || size > a->limit || a->used > a->limit - size)
		goto fail;
	size = (size + 7) & ~(size_t)7;
	if (!c || c->size - c->used < size) {
		room = size > CHUNK ? size : CHUNK;
		c = calloc(1, sizeof(*c) + room);
		if (!c)
			goto fail;
		c->size = room;
		c->next = a->chunk;
		a->chunk = c;
	}
	p = c->data + c->used;
	c->used += size;
	a->used += size;
	return p;
fail:
	a->failed = true;
	return NULL;
}

char *ctf_strndup(struct ctf_arena *a, const char *s, size_t len)
{
	char *p = ctf_alloc(a, len + 1);

	if (p)
		memcpy(p, s, len);
	return p;
}

struct ctf_fc *ctf_fc_new(struct ctf_arena *a, enum ctf_kind kind)
{
	struct ctf_fc *fc = ctf_alloc(a, sizeof(*fc));

	if (!fc)
		return NULL;
	fc->kind = (uint8_t)kind;
	fc->align = kind == CTF_STRUCT || kind == CTF_ARRAY || kind == CTF_VARIANT || kind == CTF_OPTIONAL ? 1 : 8;
	fc->base = 10;
	return fc;
}

struct ctf_fc *ctf_fc_int(struct ctf_arena *a, unsigned bits, bool is_signed)
{
	struct ctf_fc *fc = ctf_fc_new(a, CTF_INT);

	if (!fc)
		return NULL;
	fc->bits = (uint8_t)bits;
	fc->is_signed = is_signed;
	return fc;
}

struct ctf_fc *ctf_fc_add(struct ctf_fc *parent, struct ctf_fc *child, const char *name)
{
	struct ctf_fc **at;

	if (!parent || !child)
		return NULL;
	child->name = name;
	child->parent = parent;
	child->next = NULL;
	for (at = &parent->child; *at; at = &(*at)->next)
		;
	*at = child;
	parent->nchildren++;
	return child;
}

uint32_t ctf_fc_align(const struct ctf_fc *fc)
{
	uint32_t align = fc->align, more;
	const struct ctf_fc *c;

	if (fc->kind != CTF_STRUCT && fc->kind != CTF_ARRAY)
		return align; /* a variant has none of its own: that of the option it holds */
	for (c = fc->child; c; c = c->next) {
		more = ctf_fc_align(c);
		if (more > align)
			align = more;
	}
	return align;
}

/* babeltrace2 takes off the underscore, then compares with names that still have theirs. */
static bool clash(const char *a, const char *b)
{
	return !strcmp(a, b) || (*a == '_' && !strcmp(a + 1, b)) || (*b == '_' && !strcmp(a, b + 1));
}

/* Members get TSDL identifiers: an underscore (which readers take off again, and which keeps reserved words apart), then the
 * name with what an identifier cannot hold as underscores, then a number where that is taken. */
static const char *identifier(struct ctf_arena *a, const struct ctf_fc *parent, const char *name, size_t len)
{
	char *id = ctf_alloc(a, len + 16);
	const struct ctf_fc *c;
	unsigned n = 1;
	size_t i;

	if (!id)
		return NULL;
	id[0] = '_';
	for (i = 0; i < len; i++)
		id[i + 1] = (name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'z') ||
					    (name[i] >= 'A' && name[i] <= 'Z')
				    ? name[i]
				    : '_';
	for (c = parent->child; c;) {
		if (!c->raw || !clash(c->raw, id)) {
			c = c->next;
			continue;
		}
		snprintf(id + len + 1, 15, "_%u", ++n);
		c = parent->child;
	}
	return id;
}

static struct ctf_fc *add_named(struct ctf_arena *a, struct ctf_fc *parent, struct ctf_fc *child, const char *name, size_t len)
{
	if (!parent || !child)
		return NULL;
	child->raw = identifier(a, parent, name, len);
	if (!child->raw)
		return NULL;
	return ctf_fc_add(parent, child, ctf_strndup(a, name, len));
}

/* The u16 count that stands before what it counts. */
static struct ctf_fc *add_length(struct ctf_arena *a, struct ctf_fc *parent, const char *name, size_t len)
{
	struct ctf_fc *fc = ctf_fc_int(a, 16, false);
	char text[GD_NAME_MAX + 16];

	if (fc)
		fc->hint = CTF_HINT_LENGTH;
	len = (size_t)snprintf(text, sizeof(text), "%.*s__length", (int)len, name);
	return add_named(a, parent, fc, text, len);
}

static struct ctf_fc *add_dynamic(struct ctf_arena *a, struct ctf_fc *parent, enum ctf_kind kind, const char *name, size_t len)
{
	struct ctf_fc *length = add_length(a, parent, name, len), *fc = length ? ctf_fc_new(a, kind) : NULL;

	if (!fc)
		return NULL;
	fc->has_target = true;
	fc->target = length;
	return add_named(a, parent, fc, name, len);
}

#define NAME(s) (s), sizeof(s) - 1

static struct ctf_fc *add_attrs(struct ctf_arena *a, struct ctf_fc *parent, const char *name, size_t len)
{
	static const struct {
		const char *label;
		uint8_t bits, hint;
		bool is_signed;
	} option[] = {
		[GD_ATTR_I64] = { "i64", 64, 0, true },
		[GD_ATTR_U64] = { "u64", 64, 0, false },
		[GD_ATTR_F64] = { "f64", 0, 0, false },
		[GD_ATTR_BOOL] = { "boolean", 8, CTF_HINT_BOOL, false },
		[GD_ATTR_STRING] = { "text", 0, 0, false },
		[GD_ATTR_DURATION] = { "duration", 64, CTF_HINT_DURATION, true },
		[GD_ATTR_TIME] = { "time", 64, CTF_HINT_TIME, true },
	};
	struct ctf_fc *list = add_dynamic(a, parent, CTF_ARRAY, name, len), *one, *tag, *var, *fc;
	struct ctf_mapping *map, **last;
	unsigned i;

	one = ctf_fc_add(list, ctf_fc_new(a, CTF_STRUCT), NULL);
	add_dynamic(a, one, CTF_TEXT, NAME("key"));
	tag = add_named(a, one, ctf_fc_int(a, 8, false), NAME("tag"));
	var = add_named(a, one, ctf_fc_new(a, CTF_VARIANT), NAME("value"));
	if (a->failed)
		return NULL;
	list->hint = CTF_HINT_ATTRS;
	var->has_target = true;
	var->target = tag;
	last = &tag->map;
	for (i = 0; i < sizeof(option) / sizeof(option[0]); i++) {
		map = ctf_alloc(a, sizeof(*map) + sizeof(struct ctf_range));
		if (!map)
			return NULL;
		map->label = option[i].label;
		map->range = (struct ctf_range *)(map + 1);
		map->range->low = map->range->high = i;
		map->nranges = 1;
		*last = map;
		last = &map->next;
		if (i == GD_ATTR_STRING) {
			fc = ctf_fc_new(a, CTF_STRUCT);
			if (fc)
				fc->hint = CTF_HINT_WRAP;
			add_dynamic(a, fc, CTF_TEXT, NAME("text"));
		} else if (i == GD_ATTR_F64) {
			fc = ctf_fc_new(a, CTF_FLOAT);
			if (fc)
				fc->bits = 64;
		} else {
			fc = ctf_fc_int(a, option[i].bits, option[i].is_signed);
			if (fc)
				fc->hint = option[i].hint;
		}
		fc = ctf_fc_add(var, fc, option[i].label);
		if (!fc)
			return NULL;
		fc->raw = fc->name;
		fc->range = map->range;
		fc->nranges = 1;
	}
	return list;
}

static bool is_less(bool is_signed, uint64_t a, uint64_t b)
{
	return is_signed ? (int64_t)a < (int64_t)b : a < b;
}

/* Cuts the ranges to what the base type holds, and joins those of one label, which readers want only once. */
static void add_mappings(struct ctf_arena *a, struct ctf_fc *fc, const uint8_t *at)
{
	uint64_t max = fc->is_signed ? (1ull << (fc->bits - 1)) - 1 : fc->bits == 64 ? UINT64_MAX
										     : (1ull << fc->bits) - 1;
	uint64_t min = fc->is_signed ? ~max : 0;
	unsigned n = gd_load16(at), i, len;
	struct ctf_mapping *map, **last;
	struct ctf_range r, *more;

	for (at += 2, i = 0; i < n; i++, at += 17 + len) {
		r.low = gd_load64(at);
		r.high = gd_load64(at + 8);
		len = at[16];
		if (is_less(fc->is_signed, r.low, min))
			r.low = min;
		if (is_less(fc->is_signed, max, r.high))
			r.high = max;
		if (is_less(fc->is_signed, r.high, r.low))
			continue;
		for (last = &fc->map; *last; last = &(*last)->next)
			if (strlen((*last)->label) == len && !memcmp((*last)->label, at + 17, len))
				break;
		map = *last;
		if (!map) {
			map = ctf_alloc(a, sizeof(*map));
			if (!map)
				return;
			map->label = ctf_strndup(a, (const char *)at + 17, len);
			if (!map->label)
				return;
			*last = map;
		}
		more = ctf_alloc(a, (map->nranges + 1) * sizeof(*more));
		if (!more)
			return;
		if (map->nranges)
			memcpy(more, map->range, map->nranges * sizeof(*more));
		more[map->nranges++] = r;
		map->range = more;
	}
}

static struct ctf_fc *scalar(struct ctf_arena *a, unsigned type, unsigned flags)
{
	struct ctf_fc *fc;

	if (type == GD_F32 || type == GD_F64) {
		fc = ctf_fc_new(a, CTF_FLOAT);
		if (fc)
			fc->bits = type == GD_F32 ? 32 : 64;
		return fc;
	}
	if (type == GD_BOOL) {
		fc = ctf_fc_int(a, 8, false);
		if (fc)
			fc->hint = CTF_HINT_BOOL;
		return fc;
	}
	fc = type >= GD_I8 ? ctf_fc_int(a, 8u << (type - GD_I8), true) : ctf_fc_int(a, 8u << (type - GD_U8), false);
	if (!fc)
		return NULL;
	if (flags & GD_FIELD_HEX)
		fc->base = 16;
	if (flags & GD_FIELD_DURATION)
		fc->hint = CTF_HINT_DURATION;
	return fc;
}

/* Adds the type that stands at `at` as a member `name` of a struct. */
static void add_type(struct ctf_arena *a, struct ctf_fc *parent, const uint8_t *at, const uint8_t *end, unsigned flags,
		     const char *name, size_t len);

static void add_fields(struct ctf_arena *a, struct ctf_fc *parent, unsigned n, const uint8_t *at, const uint8_t *end)
{
	struct gd_field f;

	for (; n && gd_desc_field(&f, &at, end); n--)
		add_type(a, parent, f.type_at, end, f.flags, f.name, f.name_len);
}

static struct ctf_fc *element(struct ctf_arena *a, struct ctf_fc *list, const uint8_t *at, const uint8_t *end, unsigned flags)
{
	struct ctf_fc *fc;

	if (!list)
		return NULL;
	if (*at == GD_STRUCT) {
		fc = ctf_fc_new(a, CTF_STRUCT);
		if (fc)
			add_fields(a, fc, at[1], at + 2, end);
	} else if (*at == GD_ENUM) {
		fc = scalar(a, at[1], flags);
		if (fc)
			add_mappings(a, fc, at + 2);
	} else if (*at >= GD_U8 && *at <= GD_BOOL) {
		fc = scalar(a, *at, flags);
	} else {
		/* with a length of its own: a struct must hold both */
		fc = ctf_fc_new(a, CTF_STRUCT);
		if (fc)
			fc->hint = CTF_HINT_WRAP;
		if (fc)
			add_type(a, fc, at, end, flags, NAME("value"));
	}
	return ctf_fc_add(list, fc, NULL);
}

static void add_type(struct ctf_arena *a, struct ctf_fc *parent, const uint8_t *at, const uint8_t *end, unsigned flags,
		     const char *name, size_t len)
{
	struct ctf_fc *fc;

	switch (*at) {
	case GD_STRING:
		add_dynamic(a, parent, CTF_TEXT, name, len);
		break;
	case GD_BYTES:
		add_dynamic(a, parent, CTF_BLOB, name, len);
		break;
	case GD_SEQUENCE:
		fc = add_dynamic(a, parent, CTF_ARRAY, name, len);
		element(a, fc, at + 1, end, flags);
		break;
	case GD_ARRAY:
		fc = add_named(a, parent, ctf_fc_new(a, CTF_ARRAY), name, len);
		if (fc)
			fc->count = gd_load32(at + 1);
		element(a, fc, at + 5, end, flags);
		break;
	case GD_STRUCT:
		fc = add_named(a, parent, ctf_fc_new(a, CTF_STRUCT), name, len);
		add_fields(a, fc, at[1], at + 2, end);
		break;
	case GD_ATTRS:
		add_attrs(a, parent, name, len);
		break;
	case GD_ENUM:
		fc = add_named(a, parent, scalar(a, at[1], flags), name, len);
		if (fc)
			add_mappings(a, fc, at + 2);
		break;
	default:
		add_named(a, parent, scalar(a, *at, flags), name, len);
	}
}

struct ctf_fc *ctf_model_payload(struct ctf_arena *a, const void *desc, size_t len, struct ctf_event_class *ec)
{
	struct ctf_fc *fc = ctf_fc_new(a, CTF_STRUCT);
	struct gd_desc d;

	if (!fc || gd_desc_parse(&d, desc, len) < 0)
		return NULL;
	ec->name = ctf_strndup(a, d.name, d.name_len);
	ec->level = d.level == 7 ? 14 : d.level; /* LTTng's numbers: 7 to 13 are finer kinds of debugging */
	ec->span = d.kind;
	add_fields(a, fc, d.nfields, d.fields, d.end);
	return a->failed ? NULL : fc;
}

static struct ctf_fc *add_int(struct ctf_arena *a, struct ctf_fc *parent, unsigned bits, const char *name, enum ctf_role role)
{
	struct ctf_fc *fc = ctf_fc_add(parent, ctf_fc_int(a, bits, false), name);

	if (!fc)
		return NULL;
	fc->raw = name;
	fc->role = (uint8_t)role;
	fc->clock = role == CTF_ROLE_TIME || role == CTF_ROLE_END_TIME;
	return fc;
}

struct ctf_fc *ctf_model_context(struct ctf_arena *a, uint32_t mask)
{
	struct ctf_fc *fc = ctf_fc_new(a, CTF_STRUCT), *list, *pc;

	if (mask & GD_CTX_TID)
		add_named(a, fc, ctf_fc_int(a, 32, false), NAME("vtid"));
	if (mask & GD_CTX_GOID)
		add_named(a, fc, ctf_fc_int(a, 64, false), NAME("goid"));
	if (mask & GD_CTX_CPU)
		add_named(a, fc, ctf_fc_int(a, 16, false), NAME("cpu_id"));
	if (mask & GD_CTX_SPAN)
		add_named(a, fc, ctf_fc_int(a, 64, false), NAME("span"));
	if (mask & GD_CTX_KEY)
		add_named(a, fc, ctf_fc_int(a, 64, false), NAME("key"));
	if (mask & GD_CTX_STACK) {
		list = add_dynamic(a, fc, CTF_ARRAY, NAME("stack"));
		pc = ctf_fc_add(list, ctf_fc_int(a, 64, false), NULL);
		if (pc)
			pc->base = 16;
	}
	return a->failed ? NULL : fc;
}

struct ctf_fc *ctf_model_packet_header(struct ctf_arena *a)
{
	struct ctf_fc *fc = ctf_fc_new(a, CTF_STRUCT), *uuid;

	add_int(a, fc, 32, "magic", CTF_ROLE_MAGIC);
	uuid = ctf_fc_add(fc, ctf_fc_new(a, CTF_BLOB), "uuid");
	if (uuid) {
		uuid->raw = uuid->name;
		uuid->count = 16;
		uuid->role = CTF_ROLE_UUID;
	}
	add_int(a, fc, 32, "stream_id", CTF_ROLE_STREAM_CLASS_ID);
	add_int(a, fc, 64, "stream_instance_id", CTF_ROLE_STREAM_ID);
	return a->failed ? NULL : fc;
}

struct ctf_fc *ctf_model_packet_context(struct ctf_arena *a, bool process, bool cpu)
{
	struct ctf_fc *fc = ctf_fc_new(a, CTF_STRUCT), *name;

	add_int(a, fc, 64, "timestamp_begin", CTF_ROLE_TIME);
	add_int(a, fc, 64, "timestamp_end", CTF_ROLE_END_TIME);
	add_int(a, fc, 64, "content_size", CTF_ROLE_CONTENT_LENGTH);
	add_int(a, fc, 64, "packet_size", CTF_ROLE_TOTAL_LENGTH);
	add_int(a, fc, 64, "packet_seq_num", CTF_ROLE_SEQUENCE);
	add_int(a, fc, 64, "events_discarded", CTF_ROLE_DISCARDED);
	if (process) {
		add_int(a, fc, 32, "vpid", CTF_ROLE_NONE);
		name = add_named(a, fc, ctf_fc_new(a, CTF_TEXT), NAME("procname"));
		if (name)
			name->count = 16;
	}
	if (cpu)
		add_int(a, fc, 32, "cpu_id", CTF_ROLE_NONE);
	return a->failed ? NULL : fc;
}

struct ctf_fc *ctf_model_kernel_context(struct ctf_arena *a)
{
	struct ctf_fc *fc = ctf_fc_new(a, CTF_STRUCT);

	add_named(a, fc, ctf_fc_int(a, 32, true), NAME("tid"));
	add_named(a, fc, ctf_fc_int(a, 32, true), NAME("pid"));
	return a->failed ? NULL : fc;
}

struct ctf_fc *ctf_model_event_header(struct ctf_arena *a)
{
	struct ctf_fc *fc = ctf_fc_new(a, CTF_STRUCT);

	/* The 16th bit (the event was cut) is padding to other readers: babeltrace2 warns of a field that it does not know. */
	add_int(a, fc, 15, "id", CTF_ROLE_EVENT_ID);
	add_int(a, fc, 48, "timestamp", CTF_ROLE_TIME);
	return a->failed ? NULL : fc;
}

static const char *const role_names[] = {
	[CTF_ROLE_MAGIC] = "magic",
	[CTF_ROLE_UUID] = "uuid",
	[CTF_ROLE_STREAM_CLASS_ID] = "stream_id",
	[CTF_ROLE_STREAM_ID] = "stream_instance_id",
	[CTF_ROLE_TOTAL_LENGTH] = "packet_size",
	[CTF_ROLE_CONTENT_LENGTH] = "content_size",
	[CTF_ROLE_TIME] = "timestamp_begin",
	[CTF_ROLE_END_TIME] = "timestamp_end",
	[CTF_ROLE_DISCARDED] = "events_discarded",
	[CTF_ROLE_SEQUENCE] = "packet_seq_num",
	[CTF_ROLE_EVENT_ID] = "id",
};

static int give_identifiers(struct ctf_arena *a, struct ctf_fc *fc)
{
	struct ctf_fc *c;

	for (c = fc ? fc->child : NULL; c; c = c->next) {
		if (c->name && !c->raw) {
			if (c->role && !(c->role == CTF_ROLE_TIME && c->scope != CTF_PACKET_CONTEXT))
				c->raw = role_names[c->role];
			else if (c->role)
				c->raw = "timestamp";
			else if (fc->kind == CTF_VARIANT)
				c->raw = c->name; /* chosen by a label of the same name */
			else
				c->raw = identifier(a, fc, c->name, strlen(c->name));
			if (!c->raw)
				return -ENOMEM;
		}
		if (give_identifiers(a, c) < 0)
			return -ENOMEM;
	}
	return 0;
}

int ctf_model_identifiers(struct ctf_trace_class *t)
{
	struct ctf_arena *a = &t->arena;
	struct ctf_stream_class *s;
	struct ctf_event_class *e;

	if (give_identifiers(a, t->packet_header) < 0)
		return -ENOMEM;
	for (s = t->stream; s; s = s->next) {
		if (give_identifiers(a, s->packet_context) < 0 || give_identifiers(a, s->event_header) < 0 ||
		    give_identifiers(a, s->common_context) < 0)
			return -ENOMEM;
		for (e = s->event; e; e = e->next)
			if (give_identifiers(a, e->context) < 0 || give_identifiers(a, e->payload) < 0)
				return -ENOMEM;
	}
	return 0;
}
