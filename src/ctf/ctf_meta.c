/* From metadata in any form to a finished model: which form it is, TSDL taken out of its packets, then everything that
 * can only be known when all has been read: byte orders, roles by name, what lengths and tags refer to. */
#include "base/map.h"
#include "ctf/ctf_model.h"

#include <stdlib.h>
#include <string.h>

#define TSDL_MAGIC 0x75d11d57u

struct tsdl_packet {
	uint32_t magic;
	uint8_t uuid[16];
	uint32_t checksum, content_bits, packet_bits;
	uint8_t compression, encryption, checksum_scheme, major, minor;
} __attribute__((packed));

struct ctf_fc *ctf_fc_clone(struct ctf_arena *a, const struct ctf_fc *fc)
{
	struct ctf_fc *copy = ctf_alloc(a, sizeof(*copy)), **at;
	const struct ctf_fc *c;

	if (!copy)
		return NULL;
	*copy = *fc;
	copy->next = copy->parent = NULL;
	copy->child = NULL;
	at = &copy->child;
	for (c = fc->child; c; c = c->next) {
		*at = ctf_fc_clone(a, c);
		if (!*at)
			return NULL;
		(*at)->parent = copy;
		at = &(*at)->next;
	}
	return copy;
}

struct ctf_stream_class *ctf_stream_class_find(const struct ctf_trace_class *t, uint64_t id)
{
	struct ctf_stream_class *s;

	for (s = t->stream; s && s->id != id; s = s->next)
		;
	return s;
}

struct ctf_stream_class *ctf_stream_class_add(struct ctf_trace_class *t, uint64_t id)
{
	struct ctf_stream_class *s = ctf_alloc(&t->arena, sizeof(*s));

	if (!s)
		return NULL;
	s->id = id;
	s->last = &s->event;
	*t->last_stream = s;
	t->last_stream = &s->next;
	return s;
}

struct ctf_event_class *ctf_event_class_add(struct ctf_trace_class *t, struct ctf_stream_class *s, uint64_t id)
{
	struct ctf_event_class *e = ctf_alloc(&t->arena, sizeof(*e));

	if (!e)
		return NULL;
	e->id = id;
	e->level = -1;
	e->stream = s;
	e->number = t->nevents++;
	s->nevents++;
	*s->last = e;
	s->last = &e->next;
	return e;
}

struct finish {
	struct ctf_trace_class *t;
	const struct ctf_fc *root[CTF_SCOPES];
	uint32_t order, regs;
	struct err *err;
};

static bool is_named(const struct ctf_fc *fc, const char *name)
{
	return (fc->raw && !strcmp(fc->raw, name)) || (fc->name && !strcmp(fc->name, name));
}

/* The member at the path's end that has been met already; NULL: none. */
static struct ctf_fc *descend(const struct ctf_fc *fc, const struct ctf_loc *loc, uint32_t i)
{
	struct ctf_fc *c;

	for (; fc && i < loc->n; i++) {
		while (fc->kind == CTF_ARRAY || fc->kind == CTF_OPTIONAL)
			fc = fc->child;
		for (c = fc->child; c && (!c->flat || !loc->elem[i] || !is_named(c, loc->elem[i])); c = c->next)
			;
		fc = c;
	}
	return (struct ctf_fc *)fc;
}

static struct ctf_fc *find_target(struct finish *f, const struct ctf_fc *fc)
{
	const struct ctf_loc *loc = fc->loc;
	struct ctf_fc *found = NULL;
	const struct ctf_fc *at;
	uint32_t i;
	int scope;

	if (loc->origin >= 0)
		return descend(f->root[loc->origin], loc, 0);
	at = fc->parent;
	if (loc->ctf2) {
		while (at && at->kind != CTF_STRUCT)
			at = at->parent;
		for (i = 0; i < loc->n && !loc->elem[i]; i++) {
			do
				at = at ? at->parent : NULL;
			while (at && at->kind != CTF_STRUCT);
		}
		return i < loc->n ? descend(at, loc, i) : NULL;
	}
	for (; at && !found; at = at->parent)
		if (at->kind == CTF_STRUCT)
			found = descend(at, loc, 0);
	for (scope = fc->scope - 1; scope >= 0 && !found; scope--)
		found = descend(f->root[scope], loc, 0);
	return found;
}

/* Options of a TSDL variant are chosen by the tag's labels. */
static int take_ranges(struct finish *f, struct ctf_fc *variant)
{
	const struct ctf_mapping *m;
	struct ctf_fc *c;
	uint32_t n;

	for (c = variant->child; c; c = c->next) {
		if (c->range)
			continue;
		for (n = 0, m = variant->target->map; m; m = m->next)
			if (is_named(c, m->label))
				n += m->nranges;
		c->range = ctf_alloc(&f->t->arena, n * sizeof(*c->range) + 1);
		if (!c->range)
			return -ENOMEM;
		for (m = variant->target->map; m; m = m->next)
			if (is_named(c, m->label)) {
				memcpy(c->range + c->nranges, m->range, m->nranges * sizeof(*c->range));
				c->nranges += m->nranges;
			}
	}
	return 0;
}

static int finish_fc(struct finish *f, struct ctf_fc *fc, int scope)
{
	struct ctf_fc *c;
	int r;

	if (!fc)
		return 0;
	fc->scope = (uint8_t)scope;
	if (fc->native) {
		fc->big_endian = f->t->big_endian;
		fc->native = false;
	}
	if (f->t->major == 1)
		fc->bits_msb = fc->big_endian;
	if (fc->loc) {
		fc->target = find_target(f, fc);
		if (!fc->target || (fc->target->kind != CTF_INT && fc->target->kind != CTF_VARINT))
			return err_set(f->err, -EPROTO, "metadata: the length or tag '%.100s' of the field '%.100s' is not an integer before it",
				       fc->loc->n && fc->loc->elem[fc->loc->n - 1] ? fc->loc->elem[fc->loc->n - 1] : "",
				       fc->name ? fc->name : "");
		if (!fc->target->reg)
			fc->target->reg = (int32_t)++f->regs;
		if (fc->target->next == fc && fc->target->raw && strstr(fc->target->raw, "_len") && !fc->target->map)
			fc->target->hint |= CTF_HINT_LENGTH;
		if (fc->kind == CTF_VARIANT && take_ranges(f, fc) < 0)
			return err_set(f->err, -ENOMEM, "out of memory");
	}
	if (fc->kind == CTF_VARIANT && !fc->target)
		return err_set(f->err, -EPROTO, "metadata: the variant '%.100s' has no tag", fc->name ? fc->name : "");
	if (fc->kind == CTF_OPTIONAL && !fc->target)
		return err_set(f->err, -EPROTO, "metadata: the optional field '%.100s' has no selector", fc->name ? fc->name : "");
	fc->flat = ++f->order;
	for (c = fc->child; c; c = c->next) {
		c->parent = fc;
		r = finish_fc(f, c, scope);
		if (r < 0)
			return r;
	}
	return 0;
}

static void set_role(struct ctf_fc *fc, const char *name, enum ctf_role role)
{
	struct ctf_fc *c;

	if (!fc)
		return;
	for (c = fc->child; c; c = c->next) {
		if (c->name && is_named(c, name) && (c->kind == CTF_INT || c->kind == CTF_ARRAY))
			c->role = (uint8_t)role;
		else
			set_role(c, name, role);
	}
}

/* Integers that map to the clock are times. */
static void set_clock_role(struct ctf_fc *fc)
{
	struct ctf_fc *c;

	if (!fc)
		return;
	if (fc->kind == CTF_INT && fc->clock && !fc->role)
		fc->role = CTF_ROLE_TIME;
	for (c = fc->child; c; c = c->next)
		set_clock_role(c);
}

/* CTF 1.8 knows roles by name alone. */
static void set_roles(struct ctf_trace_class *t)
{
	struct ctf_stream_class *s;
	struct ctf_fc *c;

	if (t->packet_header) {
		for (c = t->packet_header->child; c; c = c->next) {
			if (is_named(c, "magic"))
				c->role = CTF_ROLE_MAGIC;
			else if (is_named(c, "uuid") && c->kind == CTF_ARRAY && c->count == 16 && c->child->kind == CTF_INT &&
				 c->child->bits == 8 && !c->has_target) {
				c->role = CTF_ROLE_UUID;
				c->kind = CTF_BLOB;
				c->align = 8;
				c->child = NULL;
			} else if (is_named(c, "stream_id"))
				c->role = CTF_ROLE_STREAM_CLASS_ID;
			else if (is_named(c, "stream_instance_id"))
				c->role = CTF_ROLE_STREAM_ID;
		}
	}
	for (s = t->stream; s; s = s->next) {
		set_role(s->packet_context, "timestamp_begin", CTF_ROLE_TIME);
		set_role(s->packet_context, "timestamp_end", CTF_ROLE_END_TIME);
		set_role(s->packet_context, "content_size", CTF_ROLE_CONTENT_LENGTH);
		set_role(s->packet_context, "packet_size", CTF_ROLE_TOTAL_LENGTH);
		set_role(s->packet_context, "packet_seq_num", CTF_ROLE_SEQUENCE);
		set_role(s->packet_context, "events_discarded", CTF_ROLE_DISCARDED);
		set_role(s->event_header, "id", CTF_ROLE_EVENT_ID);
		set_clock_role(s->event_header);
	}
}

static int finish(struct ctf_trace_class *t, struct err *err)
{
	struct finish f = { .t = t, .err = err };
	uint32_t trace_regs, stream_regs;
	struct ctf_stream_class *s;
	struct ctf_event_class *e;
	struct map ids = { 0 };
	struct ctf_clock *c;
	bool added;
	int r;

	for (c = t->clock; c; c = c->next) {
		if (c->offset / c->freq > INT64_MAX / 2000000000)
			return err_set(err, -EPROTO, "metadata: a clock's offset is out of its range");
		c->offset_s += (int64_t)(c->offset / c->freq);
		c->offset %= c->freq;
	}
	if (t->major == 1)
		set_roles(t);
	f.root[CTF_PACKET_HEADER] = t->packet_header;
	r = finish_fc(&f, t->packet_header, CTF_PACKET_HEADER);
	trace_regs = f.regs;
	for (s = t->stream; s && !r; s = s->next) {
		if (!s->clock && t->major == 1)
			s->clock = t->clock;
		t->has_cut |= s->cut_bit;
		f.regs = trace_regs;
		f.root[CTF_PACKET_CONTEXT] = s->packet_context;
		f.root[CTF_EVENT_HEADER] = s->event_header;
		f.root[CTF_COMMON_CONTEXT] = s->common_context;
		f.root[CTF_SPECIFIC_CONTEXT] = f.root[CTF_PAYLOAD] = NULL;
		r = finish_fc(&f, s->packet_context, CTF_PACKET_CONTEXT);
		if (!r)
			r = finish_fc(&f, s->event_header, CTF_EVENT_HEADER);
		if (!r)
			r = finish_fc(&f, s->common_context, CTF_COMMON_CONTEXT);
		stream_regs = f.regs;
		map_done(&ids);
		memset(&ids, 0, sizeof(ids));
		for (e = s->event; e && !r; e = e->next) {
			if (!map_put(&ids, e->id, &added))
				r = err_set(err, -ENOMEM, "out of memory");
			else if (!added)
				r = err_set(err, -EPROTO, "metadata: two events of one stream have the id %llu", (unsigned long long)e->id);
			f.regs = stream_regs;
			f.root[CTF_SPECIFIC_CONTEXT] = e->context;
			f.root[CTF_PAYLOAD] = NULL;
			if (!r)
				r = finish_fc(&f, e->context, CTF_SPECIFIC_CONTEXT);
			f.root[CTF_PAYLOAD] = e->payload;
			if (!r)
				r = finish_fc(&f, e->payload, CTF_PAYLOAD);
			if (f.regs > t->nregs)
				t->nregs = f.regs;
		}
		if (f.regs > t->nregs)
			t->nregs = f.regs;
	}
	map_done(&ids);
	return r;
}

static uint32_t swap_if(bool swap, uint32_t v)
{
	return swap ? __builtin_bswap32(v) : v;
}

/* TSDL out of its packets, one after the other. A packet that is cut off ends the text: the events that it would have
 * described come later. */
static int unpack(struct buf *out, const uint8_t *p, size_t len, bool swap, struct err *err)
{
	struct tsdl_packet h;
	uint32_t content, size;

	while (len >= sizeof(h)) {
		memcpy(&h, p, sizeof(h));
		content = swap_if(swap, h.content_bits) / 8;
		size = swap_if(swap, h.packet_bits) / 8;
		if (swap_if(swap, h.magic) != TSDL_MAGIC || content < sizeof(h) || content > size)
			return err_set(err, -EPROTO, "metadata: a packet is broken");
		if (h.compression || h.encryption || h.checksum_scheme)
			return err_set(err, -ENOTSUP, "metadata: packets with compression, encryption or checksums are not read");
		if (size > len)
			break;
		buf_put(out, p + sizeof(h), content - sizeof(h));
		p += size;
		len -= size;
	}
	return buf_failed(out) ? err_set(err, -ENOMEM, "out of memory") : 0;
}

int ctf_meta_parse(struct ctf_trace_class **ret, const void *data, size_t len, struct err *err)
{
	struct ctf_trace_class *t = calloc(1, sizeof(*t));
	struct buf text = BUF_INIT;
	uint32_t magic = 0;
	size_t i = 0;
	int r;

	if (!t)
		return err_set(err, -ENOMEM, "out of memory");
	ctf_arena_init(&t->arena, CTF_META_MAX);
	t->last_env = &t->env;
	t->last_stream = &t->stream;
	t->refs = 1;
	if (len > CTF_META_MAX) {
		r = err_set(err, -EFBIG, "metadata of more than %u MiB is not read", CTF_META_MAX >> 20);
		goto out;
	}
	if (len >= 4)
		memcpy(&magic, data, 4);
	while (i < len && strchr(" \t\r\n", ((const char *)data)[i]) && ((const char *)data)[i])
		i++;
	if (magic == TSDL_MAGIC || magic == __builtin_bswap32(TSDL_MAGIC)) {
		r = unpack(&text, data, len, magic != TSDL_MAGIC, err);
		if (!r)
			r = ctf_tsdl_parse(t, text.data ? text.data : "", text.len, err);
	} else if (i < len && (((const char *)data)[i] == '\x1e' || ((const char *)data)[i] == '{')) {
		r = ctf_json_parse(t, data, len, err);
	} else {
		r = ctf_tsdl_parse(t, data, len, err);
	}
	if (!r)
		r = finish(t, err);
	if (!r && t->arena.failed)
		r = err_set(err, -EFBIG, "the metadata needs more than %u MiB of memory", CTF_META_MAX >> 20);
	if (r)
		goto out;
	*ret = t;
	t = NULL;
out:
	buf_done(&text);
	ctf_trace_class_free(t);
	return r;
}

void ctf_trace_class_free(struct ctf_trace_class *t)
{
	if (!t)
		return;
	ctf_arena_done(&t->arena);
	free(t);
}
