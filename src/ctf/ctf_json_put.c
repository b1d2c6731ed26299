/* CTF 2 metadata (CTF2-SPEC-2.0: a JSON text sequence, RFC 7464) from the model. What the specification has no words for
 * stands in attributes of the namespace "gander" (docs/ctf.md). */
#include "base/json.h"
#include "ctf/ctf_model.h"

#include <string.h>

#define LOGLEVEL_SPACE "babeltrace.org,2020"

static void begin(struct json *j, struct buf *b, const char *type)
{
	buf_putc(b, '\x1e');
	json_init(j, b);
	json_obj(j);
	json_key(j, "type");
	json_str(j, type);
}

static void end(struct json *j)
{
	json_obj_end(j);
	buf_putc(j->out, '\n');
}

static void put_uuid(struct json *j, const uint8_t u[16])
{
	int i;

	json_arr(j);
	for (i = 0; i < 16; i++)
		json_u64(j, u[i]);
	json_arr_end(j);
}

static void put_uid(struct json *j, const uint8_t u[16])
{
	static const char digits[] = "0123456789abcdef";
	char text[37];
	int i, n = 0;

	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[n++] = '-';
		text[n++] = digits[u[i] >> 4];
		text[n++] = digits[u[i] & 15];
	}
	text[n] = 0;
	json_key(j, "uid");
	json_str(j, text);
}

static void put_ranges(struct json *j, const struct ctf_fc *of, const struct ctf_range *r, uint32_t n)
{
	uint32_t i;

	json_arr(j);
	for (i = 0; i < n; i++) {
		json_arr(j);
		if (of->is_signed) {
			json_i64(j, (int64_t)r[i].low);
			json_i64(j, (int64_t)r[i].high);
		} else {
			json_u64(j, r[i].low);
			json_u64(j, r[i].high);
		}
		json_arr_end(j);
	}
	json_arr_end(j);
}

/* Beside the field where it can be so: works within arrays too. Else from the scope's root. */
static void put_location(struct json *j, const char *key, const struct ctf_fc *fc)
{
	const struct ctf_fc *t = fc->target, *p = fc->parent, *path[64];
	int n = 0;

	json_key(j, key);
	json_obj(j);
	while (p && p->kind != CTF_STRUCT)
		p = p->parent;
	if (p && t->parent == p) {
		json_key(j, "path");
		json_arr(j);
		json_str(j, t->name);
		json_arr_end(j);
	} else {
		json_key(j, "origin");
		json_str(j, ctf_scope_names[t->scope]);
		json_key(j, "path");
		json_arr(j);
		for (; t && t->parent && n < 64; t = t->parent)
			if (t->name)
				path[n++] = t;
		while (n > 0)
			json_str(j, path[--n]->name);
		json_arr_end(j);
	}
	json_obj_end(j);
}

static void put_mappings(struct json *j, const struct ctf_fc *fc)
{
	const struct ctf_mapping *m, *k;
	struct ctf_range r[64];
	uint32_t n;

	json_key(j, "mappings");
	json_obj(j);
	for (m = fc->map; m; m = m->next) {
		for (k = fc->map; k != m && strcmp(k->label, m->label); k = k->next)
			;
		if (k != m)
			continue; /* keys of an object are unique: with the first of its name */
		for (n = 0, k = m; k; k = k->next)
			if (!strcmp(k->label, m->label) && n + k->nranges <= 64) {
				memcpy(r + n, k->range, k->nranges * sizeof(*r));
				n += k->nranges;
			}
		json_key(j, m->label);
		put_ranges(j, fc, r, n);
	}
	json_obj_end(j);
}

static const struct {
	unsigned hint;
	const char *name;
} hints[] = { { CTF_HINT_BOOL, "bool" }, { CTF_HINT_DURATION, "duration" }, { CTF_HINT_TIME, "time" }, { CTF_HINT_ATTRS, "attrs" }, { CTF_HINT_WRAP, "wrap" }, { CTF_HINT_LENGTH, "length" } };

static void put_attributes(struct json *j, const struct ctf_fc *fc)
{
	unsigned i;

	if (!fc->hint)
		return;
	json_key(j, "attributes");
	json_obj(j);
	json_key(j, "gander");
	json_obj(j);
	for (i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (fc->hint & hints[i].hint) {
			json_key(j, hints[i].name);
			json_bool(j, true);
		}
	json_obj_end(j);
	json_obj_end(j);
}

static const char *const roles[] = {
	[CTF_ROLE_MAGIC] = "packet-magic-number",
	[CTF_ROLE_UUID] = "metadata-stream-uuid",
	[CTF_ROLE_STREAM_CLASS_ID] = "data-stream-class-id",
	[CTF_ROLE_STREAM_ID] = "data-stream-id",
	[CTF_ROLE_TOTAL_LENGTH] = "packet-total-length",
	[CTF_ROLE_CONTENT_LENGTH] = "packet-content-length",
	[CTF_ROLE_TIME] = "default-clock-timestamp",
	[CTF_ROLE_END_TIME] = "packet-end-default-clock-timestamp",
	[CTF_ROLE_DISCARDED] = "discarded-event-record-counter-snapshot",
	[CTF_ROLE_SEQUENCE] = "packet-sequence-number",
	[CTF_ROLE_EVENT_ID] = "event-record-class-id",
};

static void put_fc(struct json *j, const struct ctf_fc *fc)
{
	const struct ctf_fc *c;
	const char *type = "";

	json_obj(j);
	json_key(j, "type");
	switch (fc->kind) {
	case CTF_INT:
		type = fc->is_signed ? "fixed-length-signed-integer" : "fixed-length-unsigned-integer";
		if (fc->hint & CTF_HINT_BOOL && !fc->is_signed)
			type = "fixed-length-boolean";
		break;
	case CTF_VARINT:
		type = fc->is_signed ? "variable-length-signed-integer" : "variable-length-unsigned-integer";
		break;
	case CTF_FLOAT:
		type = "fixed-length-floating-point-number";
		break;
	case CTF_STRING:
		type = "null-terminated-string";
		break;
	case CTF_TEXT:
		type = fc->has_target ? "dynamic-length-string" : "static-length-string";
		break;
	case CTF_BLOB:
		type = fc->has_target ? "dynamic-length-blob" : "static-length-blob";
		break;
	case CTF_STRUCT:
		type = "structure";
		break;
	case CTF_ARRAY:
		type = fc->has_target ? "dynamic-length-array" : "static-length-array";
		break;
	case CTF_VARIANT:
		type = "variant";
		break;
	case CTF_OPTIONAL:
		type = "optional";
		break;
	}
	json_str(j, type);
	if (fc->kind == CTF_INT || fc->kind == CTF_FLOAT) {
		json_key(j, "length");
		json_u64(j, fc->bits);
		json_key(j, "byte-order");
		json_str(j, fc->big_endian ? "big-endian" : "little-endian");
		if (fc->bits_msb != fc->big_endian) {
			json_key(j, "bit-order");
			json_str(j, fc->bits_msb ? "last-to-first" : "first-to-last");
		}
		if (fc->align > 1) {
			json_key(j, "alignment");
			json_u64(j, fc->align);
		}
	}
	if ((fc->kind == CTF_INT && strcmp(type, "fixed-length-boolean")) || fc->kind == CTF_VARINT) {
		if (fc->base != 10) {
			json_key(j, "preferred-display-base");
			json_u64(j, fc->base);
		}
		if (fc->map)
			put_mappings(j, fc);
	}
	if ((fc->kind == CTF_STRUCT || fc->kind == CTF_ARRAY) && fc->align > 1) {
		json_key(j, "minimum-alignment");
		json_u64(j, fc->align);
	}
	if (fc->kind == CTF_TEXT || fc->kind == CTF_BLOB || fc->kind == CTF_ARRAY) {
		if (fc->has_target) {
			put_location(j, "length-field-location", fc);
		} else {
			json_key(j, "length");
			json_u64(j, fc->count);
		}
	}
	if (fc->kind == CTF_ARRAY) {
		json_key(j, "element-field-class");
		put_fc(j, fc->child);
	}
	if (fc->kind == CTF_STRUCT) {
		json_key(j, "member-classes");
		json_arr(j);
		for (c = fc->child; c; c = c->next) {
			json_obj(j);
			json_key(j, "name");
			json_str(j, c->name);
			json_key(j, "field-class");
			put_fc(j, c);
			json_obj_end(j);
		}
		json_arr_end(j);
	}
	if (fc->kind == CTF_VARIANT || fc->kind == CTF_OPTIONAL)
		put_location(j, "selector-field-location", fc);
	if (fc->kind == CTF_OPTIONAL) {
		if (fc->nranges) {
			json_key(j, "selector-field-ranges");
			put_ranges(j, fc->target, fc->range, fc->nranges);
		}
		json_key(j, "field-class");
		put_fc(j, fc->child);
	}
	if (fc->kind == CTF_VARIANT) {
		json_key(j, "options");
		json_arr(j);
		for (c = fc->child; c; c = c->next) {
			if (!c->nranges)
				continue; /* can never be chosen; an empty list of ranges is not allowed */
			json_obj(j);
			json_key(j, "name");
			json_str(j, c->name);
			json_key(j, "selector-field-ranges");
			put_ranges(j, fc->target, c->range, c->nranges);
			json_key(j, "field-class");
			put_fc(j, c);
			json_obj_end(j);
		}
		json_arr_end(j);
	}
	if (fc->role) {
		json_key(j, "roles");
		json_arr(j);
		json_str(j, roles[fc->role]);
		json_arr_end(j);
	}
	put_attributes(j, fc);
	json_obj_end(j);
}

static void put_scope(struct json *j, const char *key, const struct ctf_fc *fc)
{
	if (!fc)
		return;
	json_key(j, key);
	put_fc(j, fc);
}

void ctf_json_trace(struct buf *b, const struct ctf_trace_class *t)
{
	const struct ctf_clock *c;
	const struct ctf_env *e;
	struct json j;

	begin(&j, b, "preamble");
	json_key(&j, "version");
	json_u64(&j, 2);
	if (t->has_uuid) {
		json_key(&j, "uuid");
		put_uuid(&j, t->uuid);
	}
	end(&j);

	begin(&j, b, "trace-class");
	if (t->has_uuid)
		put_uid(&j, t->uuid);
	if (t->env) {
		json_key(&j, "environment");
		json_obj(&j);
		for (e = t->env; e; e = e->next) {
			json_key(&j, e->name);
			if (e->text)
				json_str(&j, e->text);
			else
				json_i64(&j, e->number);
		}
		json_obj_end(&j);
	}
	put_scope(&j, "packet-header-field-class", t->packet_header);
	end(&j);

	for (c = t->clock; c; c = c->next) {
		begin(&j, b, "clock-class");
		json_key(&j, "id");
		json_str(&j, c->name ? c->name : "default");
		if (c->name) {
			json_key(&j, "name");
			json_str(&j, c->name);
		}
		if (c->has_uuid)
			put_uid(&j, c->uuid);
		json_key(&j, "frequency");
		json_u64(&j, c->freq);
		if (c->absolute) {
			json_key(&j, "origin");
			json_str(&j, "unix-epoch");
		}
		json_key(&j, "offset-from-origin");
		json_obj(&j);
		json_key(&j, "seconds");
		json_i64(&j, c->offset_s);
		json_key(&j, "cycles");
		json_u64(&j, c->offset);
		json_obj_end(&j);
		if (c->precision) {
			json_key(&j, "precision");
			json_u64(&j, c->precision);
		}
		if (c->description) {
			json_key(&j, "description");
			json_str(&j, c->description);
		}
		end(&j);
	}
}

void ctf_json_stream(struct buf *b, const struct ctf_stream_class *s)
{
	struct json j;

	begin(&j, b, "data-stream-class");
	json_key(&j, "id");
	json_u64(&j, s->id);
	if (s->clock) {
		json_key(&j, "default-clock-class-id");
		json_str(&j, s->clock->name ? s->clock->name : "default");
	}
	if (s->cut_bit) {
		json_key(&j, "attributes");
		json_obj(&j);
		json_key(&j, "gander");
		json_obj(&j);
		json_key(&j, "cut");
		json_bool(&j, true);
		json_obj_end(&j);
		json_obj_end(&j);
	}
	put_scope(&j, "packet-context-field-class", s->packet_context);
	put_scope(&j, "event-record-header-field-class", s->event_header);
	put_scope(&j, "event-record-common-context-field-class", s->common_context);
	end(&j);
}

static const char *const level_name[] = { "emergency", "alert", "critical", "error", "warning",
					  "notice", "info", "debug:system", "debug:program", "debug:process",
					  "debug:module", "debug:unit", "debug:function", "debug:line", "debug" };

void ctf_json_event(struct buf *b, const struct ctf_event_class *e, uint64_t stream_id)
{
	struct json j;

	begin(&j, b, "event-record-class");
	json_key(&j, "id");
	json_u64(&j, e->id);
	json_key(&j, "data-stream-class-id");
	json_u64(&j, stream_id);
	json_key(&j, "name");
	json_str(&j, e->name);
	if (e->span || (e->level >= 0 && e->level < 15)) {
		json_key(&j, "attributes");
		json_obj(&j);
		if (e->level >= 0 && e->level < 15) {
			json_key(&j, LOGLEVEL_SPACE);
			json_obj(&j);
			json_key(&j, "log-level");
			json_str(&j, level_name[e->level]);
			json_obj_end(&j);
		}
		if (e->span) {
			json_key(&j, "gander");
			json_obj(&j);
			json_key(&j, "span");
			json_str(&j, e->span == CTF_SPAN_BEGIN ? "begin" : "end");
			json_obj_end(&j);
		}
		json_obj_end(&j);
	}
	put_scope(&j, "specific-context-field-class", e->context);
	put_scope(&j, "payload-field-class", e->payload);
	end(&j);
}
