/* CTF 2 metadata (CTF2-SPEC-2.0) into the model. The JSON itself is jansson's work; each fragment is read and forgotten before the
 * next. Field class aliases are kept as JSON and built at each use. */
#include "ctf/ctf_model.h"

#include <jansson.h>
#include <string.h>

struct parser {
	struct ctf_trace_class *t;
	struct ctf_arena *a;
	json_t *aliases; /* object */
	struct ctf_clock_id {
		struct ctf_clock_id *next;
		const char *id;
		struct ctf_clock *clock;
	} * clocks;
	int nest;
	bool has_class;
	struct err *err;
};

static int fail(struct parser *p, const char *what)
{
	if (p->a->failed)
		return err_set(p->err, -EFBIG, "the metadata needs more than %u MiB of memory", CTF_META_MAX >> 20);
	return err_set(p->err, -EPROTO, "metadata: %s", what);
}

static const char *str(struct parser *p, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_string(v) ? ctf_strndup(p->a, json_string_value(v), strlen(json_string_value(v))) : NULL;
}

/* jansson keeps integers in 64 signed bits and refuses larger ones, so these have been made strings before, see big_numbers(). */
#define BIG "\x01u64:"

static bool get_u64(const json_t *v, uint64_t *out)
{
	const char *s;
	uint64_t n = 0;

	if (json_is_integer(v)) {
		*out = (uint64_t)json_integer_value(v);
		return true;
	}
	if (!json_is_string(v) || strncmp(json_string_value(v), BIG, sizeof(BIG) - 1))
		return false;
	for (s = json_string_value(v) + sizeof(BIG) - 1; *s; s++)
		n = n * 10 + (uint64_t)(*s - '0');
	*out = n;
	return true;
}

static int number(struct parser *p, const json_t *o, const char *key, uint64_t otherwise, uint64_t min, uint64_t max, uint64_t *out)
{
	const json_t *v = json_object_get(o, key);

	*out = otherwise;
	if (!v)
		return 0;
	if (!get_u64(v, out) || *out < min || *out > max || (json_is_integer(v) && json_integer_value(v) < 0))
		return fail(p, "a number is missing or out of its range");
	return 0;
}

static int get_ranges(struct parser *p, const json_t *set, struct ctf_range **ret, uint32_t *n)
{
	struct ctf_range *r;
	const json_t *one;
	size_t i;

	if (!json_is_array(set))
		return fail(p, "a set of ranges is not an array");
	r = ctf_alloc(p->a, (json_array_size(set) + 1) * sizeof(*r));
	if (!r)
		return fail(p, "memory");
	for (i = 0; i < json_array_size(set); i++) {
		one = json_array_get(set, i);
		if (json_array_size(one) != 2 || !get_u64(json_array_get(one, 0), &r[i].low) || !get_u64(json_array_get(one, 1), &r[i].high))
			return fail(p, "a range is not two integers");
	}
	*ret = r;
	*n = (uint32_t)i;
	return 0;
}

static int get_location(struct parser *p, const json_t *o, struct ctf_fc *fc)
{
	const json_t *path = json_object_get(o, "path"), *origin = json_object_get(o, "origin"), *v;
	struct ctf_loc *loc;
	size_t n = json_array_size(path), i;

	if (!n || n > CTF_DEPTH)
		return fail(p, "a field location has no path, or a very long one");
	loc = ctf_alloc(p->a, sizeof(*loc) + n * sizeof(loc->elem[0]));
	if (!loc)
		return fail(p, "memory");
	loc->ctf2 = true;
	loc->origin = -1;
	loc->n = (uint32_t)n;
	if (origin) {
		for (i = 0; i < CTF_SCOPES; i++)
			if (json_is_string(origin) && !strcmp(json_string_value(origin), ctf_scope_names[i]))
				loc->origin = (int)i;
		if (loc->origin < 0)
			return fail(p, "a field location has an unknown origin");
	}
	for (i = 0; i < n; i++) {
		v = json_array_get(path, i);
		if (json_is_string(v))
			loc->elem[i] = ctf_strndup(p->a, json_string_value(v), strlen(json_string_value(v)));
		else if (!json_is_null(v))
			return fail(p, "a field location's path is of strings and nulls");
	}
	fc->loc = loc;
	fc->has_target = true;
	return 0;
}

static int get_mappings(struct parser *p, const json_t *o, struct ctf_fc *fc)
{
	struct ctf_mapping **last = &fc->map, *m;
	const char *label;
	json_t *ranges;
	int r;

	json_object_foreach((json_t *)o, label, ranges)
	{
		m = ctf_alloc(p->a, sizeof(*m));
		if (!m)
			return fail(p, "memory");
		m->label = ctf_strndup(p->a, label, strlen(label));
		r = get_ranges(p, ranges, &m->range, &m->nranges);
		if (r)
			return r;
		*last = m;
		last = &m->next;
	}
	return 0;
}

static void get_hints(const json_t *o, struct ctf_fc *fc)
{
	static const struct {
		unsigned hint;
		const char *name;
	} hints[] = { { CTF_HINT_BOOL, "bool" }, { CTF_HINT_DURATION, "duration" }, { CTF_HINT_TIME, "time" }, { CTF_HINT_ATTRS, "attrs" }, { CTF_HINT_WRAP, "wrap" }, { CTF_HINT_LENGTH, "length" } };
	const json_t *ours = json_object_get(json_object_get(o, "attributes"), "gander");
	unsigned i;

	for (i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (json_is_true(json_object_get(ours, hints[i].name)))
			fc->hint |= (uint8_t)hints[i].hint;
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

static int build(struct parser *p, const json_t *o, struct ctf_fc **ret);

static int build_members(struct parser *p, const json_t *o, struct ctf_fc *fc)
{
	const json_t *list = json_object_get(o, fc->kind == CTF_STRUCT ? "member-classes" : "options"), *one;
	struct ctf_fc *c, **last = &fc->child;
	char text[24];
	size_t i;
	int r;

	for (i = 0; i < json_array_size(list); i++) {
		one = json_array_get(list, i);
		r = build(p, json_object_get(one, "field-class"), &c);
		if (r)
			return r;
		c->name = str(p, one, "name");
		if (!c->name && fc->kind == CTF_STRUCT)
			return fail(p, "a member of a structure has no name");
		if (!c->name) {
			snprintf(text, sizeof(text), "%zu", i);
			c->name = ctf_strndup(p->a, text, strlen(text));
			if (!c->name)
				return fail(p, "memory");
		}
		if (fc->kind == CTF_VARIANT) {
			r = get_ranges(p, json_object_get(one, "selector-field-ranges"), &c->range, &c->nranges);
			if (r)
				return r;
		}
		c->parent = fc;
		*last = c;
		last = &c->next;
		fc->nchildren++;
	}
	return 0;
}

static int build_child(struct parser *p, const json_t *o, const char *key, struct ctf_fc *fc)
{
	struct ctf_fc *c;
	int r = build(p, json_object_get(o, key), &c);

	if (!r)
		ctf_fc_add(fc, c, NULL);
	return r;
}

static int build_fixed(struct parser *p, const json_t *o, struct ctf_fc *fc)
{
	const char *order = json_string_value(json_object_get(o, "byte-order")), *bits;
	uint64_t n;
	int r;

	r = number(p, o, "length", 0, 1, 64, &n);
	if (r || !n)
		return fail(p, "a field of a fixed length has 1 to 64 bits");
	fc->bits = (uint8_t)n;
	if (fc->kind == CTF_FLOAT && n != 32 && n != 64)
		return fail(p, "a floating point number has 32 or 64 bits");
	if (!order || (strcmp(order, "big-endian") && strcmp(order, "little-endian")))
		return fail(p, "a field has no byte order");
	fc->big_endian = *order == 'b';
	fc->bits_msb = fc->big_endian;
	bits = json_string_value(json_object_get(o, "bit-order"));
	if (bits)
		fc->bits_msb = !strcmp(bits, "last-to-first");
	if (fc->bits_msb != fc->big_endian)
		return err_set(p->err, -ENOTSUP, "metadata: a bit order unlike the byte order is not read");
	r = number(p, o, "alignment", 1, 1, 1u << 20, &n);
	if (r || n & (n - 1))
		return fail(p, "an alignment is a power of two");
	fc->align = (uint32_t)n;
	return 0;
}

static int build_length(struct parser *p, const json_t *o, struct ctf_fc *fc, bool dynamic)
{
	fc->align = 8;
	if (dynamic)
		return get_location(p, json_object_get(o, "length-field-location"), fc);
	if (!json_object_get(o, "length"))
		return fail(p, "a field of a static length has none");
	return number(p, o, "length", 0, 0, UINT64_MAX / 64, &fc->count);
}

static int build(struct parser *p, const json_t *o, struct ctf_fc **ret)
{
	static const struct {
		const char *name;
		enum ctf_kind kind;
		char how; /* f: fixed length, s: signed and fixed, v, V: variable length, d: dynamic length, t: static length, ' ': else */
	} types[] = {
		{ "fixed-length-unsigned-integer", CTF_INT, 'f' },
		{ "fixed-length-signed-integer", CTF_INT, 's' },
		{ "fixed-length-bit-array", CTF_INT, 'x' },
		{ "fixed-length-bit-map", CTF_INT, 'x' },
		{ "fixed-length-boolean", CTF_INT, 'b' },
		{ "fixed-length-floating-point-number", CTF_FLOAT, 'f' },
		{ "variable-length-unsigned-integer", CTF_VARINT, 'v' },
		{ "variable-length-signed-integer", CTF_VARINT, 'V' },
		{ "null-terminated-string", CTF_STRING, ' ' },
		{ "dynamic-length-string", CTF_TEXT, 'd' },
		{ "static-length-string", CTF_TEXT, 't' },
		{ "dynamic-length-blob", CTF_BLOB, 'd' },
		{ "static-length-blob", CTF_BLOB, 't' },
		{ "structure", CTF_STRUCT, ' ' },
		{ "dynamic-length-array", CTF_ARRAY, 'd' },
		{ "static-length-array", CTF_ARRAY, 't' },
		{ "variant", CTF_VARIANT, ' ' },
		{ "optional", CTF_OPTIONAL, ' ' },
	};
	const char *type, *encoding;
	const json_t *v, *role;
	struct ctf_fc *fc;
	unsigned i, k;
	uint64_t n;
	size_t j;
	int r = 0;

	if (json_is_string(o)) { /* an alias */
		o = json_object_get(p->aliases, json_string_value(o));
		if (!o)
			return fail(p, "there is no field class of that name");
	}
	type = json_string_value(json_object_get(o, "type"));
	for (i = 0; type && i < sizeof(types) / sizeof(types[0]) && strcmp(types[i].name, type); i++)
		;
	if (!type || i == sizeof(types) / sizeof(types[0]))
		return fail(p, "a field class has no known type");
	if (p->nest >= CTF_DEPTH)
		return fail(p, "types are nested too deep");
	fc = ctf_fc_new(p->a, types[i].kind);
	if (!fc)
		return fail(p, "memory");
	p->nest++;
	encoding = json_string_value(json_object_get(o, "encoding"));
	if (encoding && strcmp(encoding, "utf-8"))
		r = err_set(p->err, -ENOTSUP, "metadata: text in %.40s is not read", encoding);
	switch (types[i].kind) {
	case CTF_INT:
	case CTF_FLOAT:
		if (!r)
			r = build_fixed(p, o, fc);
		fc->is_signed = types[i].how == 's';
		if (types[i].how == 'b')
			fc->hint |= CTF_HINT_BOOL;
		if (types[i].how == 'x')
			fc->base = 16;
		break;
	case CTF_VARINT:
		fc->is_signed = types[i].how == 'V';
		break;
	case CTF_TEXT:
	case CTF_BLOB:
	case CTF_ARRAY:
		if (!r)
			r = build_length(p, o, fc, types[i].how == 'd');
		if (fc->kind == CTF_ARRAY) {
			fc->align = 1;
			if (!r)
				r = build_child(p, o, "element-field-class", fc);
		}
		break;
	case CTF_VARIANT:
	case CTF_OPTIONAL:
		r = get_location(p, json_object_get(o, "selector-field-location"), fc);
		if (!r && fc->kind == CTF_OPTIONAL) {
			v = json_object_get(o, "selector-field-ranges");
			if (v)
				r = get_ranges(p, v, &fc->range, &fc->nranges);
			if (!r)
				r = build_child(p, o, "field-class", fc);
		} else if (!r) {
			r = build_members(p, o, fc);
		}
		break;
	case CTF_STRUCT:
		r = build_members(p, o, fc);
		break;
	case CTF_STRING:
		break;
	}
	if (!r && (fc->kind == CTF_STRUCT || fc->kind == CTF_ARRAY)) {
		r = number(p, o, "minimum-alignment", 1, 1, 1u << 20, &n);
		if (!r && n & (n - 1))
			r = fail(p, "an alignment is a power of two");
		fc->align = (uint32_t)n;
	}
	if (!r && (fc->kind == CTF_INT || fc->kind == CTF_VARINT)) {
		r = number(p, o, "preferred-display-base", fc->base, 2, 16, &n);
		fc->base = (uint8_t)n;
		v = json_object_get(o, "mappings");
		if (!r && json_is_object(v))
			r = get_mappings(p, v, fc);
	}
	v = json_object_get(o, "roles");
	for (j = 0; j < json_array_size(v); j++)
		for (k = 1; k < sizeof(roles) / sizeof(roles[0]); k++) {
			role = json_array_get(v, j);
			if (json_is_string(role) && !strcmp(json_string_value(role), roles[k]))
				fc->role = (uint8_t)k;
		}
	fc->clock = fc->role == CTF_ROLE_TIME || fc->role == CTF_ROLE_END_TIME;
	get_hints(o, fc);
	p->nest--;
	if (!r)
		*ret = fc;
	return r;
}

static int build_scope(struct parser *p, const json_t *o, const char *key, struct ctf_fc **ret)
{
	const json_t *v = json_object_get(o, key);
	int r;

	if (!v)
		return 0;
	r = build(p, v, ret);
	if (!r && (*ret)->kind != CTF_STRUCT)
		r = fail(p, "a scope's field class is a structure");
	return r;
}

static int get_uuid(struct parser *p, const json_t *v, uint8_t out[16])
{
	uint64_t n;
	size_t i;

	if (json_array_size(v) != 16)
		return fail(p, "a uuid is 16 bytes");
	for (i = 0; i < 16; i++) {
		if (!get_u64(json_array_get(v, i), &n) || n > 255)
			return fail(p, "a uuid is 16 bytes");
		out[i] = (uint8_t)n;
	}
	return 0;
}

static bool get_uid(const char *text, uint8_t out[16])
{
	int n = 0, d;

	for (; text && *text && n < 32; text++) {
		if (*text == '-')
			continue;
		d = *text >= '0' && *text <= '9' ? *text - '0' : (*text | 32) >= 'a' && (*text | 32) <= 'f' ? (*text | 32) - 'a' + 10
													    : -1;
		if (d < 0)
			return false;
		out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] << 4 | d : d);
		n++;
	}
	return n == 32 && !*text;
}

static int read_preamble(struct parser *p, const json_t *o)
{
	uint64_t version;
	int r = number(p, o, "version", 0, 0, UINT64_MAX, &version);

	if (r)
		return r;
	if (version != 2)
		return fail(p, "only CTF 1.8 and CTF 2 are known");
	p->t->major = 2;
	p->t->minor = 0;
	if (!json_object_get(o, "uuid"))
		return 0;
	p->t->has_uuid = true;
	return get_uuid(p, json_object_get(o, "uuid"), p->t->uuid);
}

static int read_trace(struct parser *p, const json_t *o)
{
	struct ctf_env *e;
	const char *key;
	json_t *v;

	json_object_foreach(json_object_get(o, "environment"), key, v)
	{
		e = ctf_alloc(p->a, sizeof(*e));
		if (!e)
			return fail(p, "memory");
		e->name = ctf_strndup(p->a, key, strlen(key));
		if (json_is_string(v))
			e->text = ctf_strndup(p->a, json_string_value(v), strlen(json_string_value(v)));
		else
			e->number = json_integer_value(v);
		if (p->a->failed)
			return fail(p, "memory");
		*p->t->last_env = e;
		p->t->last_env = &e->next;
	}
	return build_scope(p, o, "packet-header-field-class", &p->t->packet_header);
}

static int read_clock(struct parser *p, const json_t *o)
{
	struct ctf_clock *c = ctf_alloc(p->a, sizeof(*c)), **at;
	struct ctf_clock_id *id = ctf_alloc(p->a, sizeof(*id));
	const json_t *offset = json_object_get(o, "offset-from-origin"), *origin = json_object_get(o, "origin"), *v;
	int r;

	if (!c || !id)
		return fail(p, "memory");
	id->id = str(p, o, "id");
	if (!id->id)
		id->id = str(p, o, "name");
	id->clock = c;
	id->next = p->clocks;
	p->clocks = id;
	c->name = str(p, o, "name");
	c->description = str(p, o, "description");
	c->has_uuid = get_uid(json_string_value(json_object_get(o, "uid")), c->uuid);
	c->absolute = json_is_string(origin) && !strcmp(json_string_value(origin), "unix-epoch");
	r = number(p, o, "frequency", 0, 1, UINT64_MAX, &c->freq);
	if (!r && !c->freq)
		r = fail(p, "a clock has no frequency");
	if (!r)
		r = number(p, o, "precision", 0, 0, UINT64_MAX, &c->precision);
	if (!r)
		r = number(p, offset, "cycles", 0, 0, UINT64_MAX, &c->offset);
	if (r)
		return r;
	v = json_object_get(offset, "seconds");
	c->offset_s = json_integer_value(v);
	if (c->offset_s > INT64_MAX / 1000000000 / 2 || c->offset_s < INT64_MIN / 1000000000 / 2)
		return fail(p, "a clock's offset is out of its range");
	for (at = &p->t->clock; *at; at = &(*at)->next)
		;
	*at = c;
	return 0;
}

static int read_stream(struct parser *p, const json_t *o)
{
	const char *clock = json_string_value(json_object_get(o, "default-clock-class-id"));
	struct ctf_stream_class *s;
	struct ctf_clock_id *c;
	uint64_t id;
	int r;

	r = number(p, o, "id", 0, 0, UINT64_MAX, &id);
	if (r)
		return r;
	if (ctf_stream_class_find(p->t, id))
		return fail(p, "two data stream classes have the same id");
	s = ctf_stream_class_add(p->t, id);
	if (!s)
		return fail(p, "memory");
	for (c = p->clocks; clock && c; c = c->next)
		if (c->id && !strcmp(c->id, clock))
			s->clock = c->clock;
	if (clock && !s->clock)
		return fail(p, "a data stream class has a clock that does not exist");
	s->cut_bit = json_is_true(json_object_get(json_object_get(json_object_get(o, "attributes"), "gander"), "cut"));
	r = build_scope(p, o, "packet-context-field-class", &s->packet_context);
	if (!r)
		r = build_scope(p, o, "event-record-header-field-class", &s->event_header);
	if (!r)
		r = build_scope(p, o, "event-record-common-context-field-class", &s->common_context);
	return r;
}

static int level_number(const char *name)
{
	static const char *const names[] = { "emergency", "alert", "critical", "error", "warning",
					     "notice", "info", "debug:system", "debug:program", "debug:process",
					     "debug:module", "debug:unit", "debug:function", "debug:line", "debug" };
	unsigned i;

	for (i = 0; name && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return -1;
}

static int read_event(struct parser *p, const json_t *o)
{
	const json_t *attributes = json_object_get(o, "attributes");
	struct ctf_stream_class *s;
	struct ctf_event_class *e;
	uint64_t id, stream;
	const char *span;
	int r;

	r = number(p, o, "id", 0, 0, UINT64_MAX, &id);
	if (!r)
		r = number(p, o, "data-stream-class-id", 0, 0, UINT64_MAX, &stream);
	if (r)
		return r;
	s = ctf_stream_class_find(p->t, stream);
	if (!s)
		return fail(p, "an event record class is of a data stream class that does not exist");
	e = ctf_event_class_add(p->t, s, id);
	if (!e)
		return fail(p, "memory");
	e->name = str(p, o, "name");
	if (!e->name)
		e->name = "";
	e->level = level_number(json_string_value(json_object_get(json_object_get(attributes, "babeltrace.org,2020"), "log-level")));
	span = json_string_value(json_object_get(json_object_get(attributes, "gander"), "span"));
	e->span = !span ? CTF_SPAN_NONE : !strcmp(span, "begin") ? CTF_SPAN_BEGIN
				  : !strcmp(span, "end")         ? CTF_SPAN_END
								 : CTF_SPAN_NONE;
	r = build_scope(p, o, "specific-context-field-class", &e->context);
	return r ? r : build_scope(p, o, "payload-field-class", &e->payload);
}

static int read_alias(struct parser *p, const json_t *o)
{
	const char *name = json_string_value(json_object_get(o, "name"));
	json_t *fc = json_object_get(o, "field-class"), *other;

	/* an alias of an alias is resolved here, so that none can stand for itself */
	if (json_is_string(fc)) {
		other = json_object_get(p->aliases, json_string_value(fc));
		if (!other)
			return fail(p, "there is no field class of that name");
		fc = other;
	}
	if (!name || !json_is_object(fc) || json_object_get(p->aliases, name))
		return fail(p, "a field class alias has no name, no class, or a name that is taken");
	return json_object_set(p->aliases, name, fc) < 0 ? err_set(p->err, -ENOMEM, "out of memory") : 0;
}

/* Integers above INT64_MAX as strings that get_u64() knows. Outside of strings only. */
static int big_numbers(struct buf *out, const char *text, size_t len)
{
	bool quoted = false;
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = 1;
		if (quoted && text[i] == '\\' && i + 1 < len) {
			n = 2;
		} else if (text[i] == '"') {
			quoted = !quoted;
		} else if (!quoted && text[i] >= '0' && text[i] <= '9') {
			while (i + n < len && text[i + n] >= '0' && text[i + n] <= '9')
				n++;
			if ((n > 19 || (n == 19 && memcmp(text + i, "9223372036854775807", 19) > 0)) && n <= 20 &&
			    (n < 20 || memcmp(text + i, "18446744073709551615", 20) <= 0) && !(i && text[i - 1] == '-') &&
			    !(i + n < len && (text[i + n] == '.' || text[i + n] == 'e' || text[i + n] == 'E'))) {
				buf_puts(out, "\"\\u0001u64:");
				buf_put(out, text + i, n);
				buf_putc(out, '"');
				continue;
			}
		}
		buf_put(out, text + i, n);
	}
	return buf_failed(out) ? -ENOMEM : 0;
}

static int read_fragment(struct parser *p, const char *text, size_t len, unsigned number_of)
{
	static const struct {
		const char *type;
		int (*read)(struct parser *p, const json_t *o);
	} kinds[] = {
		{ "preamble", read_preamble },
		{ "trace-class", read_trace },
		{ "clock-class", read_clock },
		{ "data-stream-class", read_stream },
		{ "event-record-class", read_event },
		{ "field-class-alias", read_alias },
	};
	struct buf clean = BUF_INIT;
	json_error_t why;
	const char *type;
	json_t *o = NULL;
	unsigned i;
	int r;

	r = big_numbers(&clean, text, len);
	if (r) {
		r = err_set(p->err, r, "out of memory");
		goto out;
	}
	o = json_loadb(clean.data, clean.len, JSON_REJECT_DUPLICATES, &why);
	if (!o) {
		r = err_set(p->err, -EPROTO, "metadata, fragment %u: %s", number_of, why.text);
		goto out;
	}
	type = json_string_value(json_object_get(o, "type"));
	for (i = 0; type && i < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[i].type, type); i++)
		;
	if (!type || i == sizeof(kinds) / sizeof(kinds[0]))
		r = fail(p, "a fragment has no known type");
	else if (number_of == 1 && i)
		r = fail(p, "the first fragment is not a preamble");
	else if (json_object_get(o, "extensions"))
		r = err_set(p->err, -ENOTSUP, "metadata: CTF 2 extensions are not read");
	else
		r = kinds[i].read(p, o);
	if (r && p->err)
		err_prefix(p->err, "fragment %u", number_of);
out:
	json_decref(o);
	buf_done(&clean);
	return r;
}

int ctf_json_parse(struct ctf_trace_class *t, const char *text, size_t len, struct err *err)
{
	struct parser p = { .t = t, .a = &t->arena, .err = err };
	const char *end = text + len, *next;
	unsigned n = 0;
	size_t i;
	int r = 0;

	p.aliases = json_object();
	if (!p.aliases)
		return err_set(err, -ENOMEM, "out of memory");
	while (text < end && !r) {
		if (*text == '\x1e') {
			text++;
			continue;
		}
		next = memchr(text, '\x1e', (size_t)(end - text));
		if (!next)
			next = end;
		for (i = 0; text + i < next && strchr(" \t\r\n", text[i]) && text[i]; i++)
			;
		if (text + i < next)
			r = read_fragment(&p, text, (size_t)(next - text), ++n);
		text = next;
	}
	if (!r && !n)
		r = fail(&p, "it is empty");
	json_decref(p.aliases);
	return r;
}
