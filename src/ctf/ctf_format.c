/* Events as JSON, and single values as plain text. */
#include "ctf/ctf_read.h"

#include <math.h>
#include <string.h>

/* JSON's own escapes; bytes that are no UTF-8 become U+FFFD. */
static void put_json(struct ctf_out *o, const char *s, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = (const uint8_t *)s, *end = p + len;
	unsigned n;
	char *to;

	if (ctf_out_more(o, len * 6 + 2) < 0)
		return;
	to = o->at;
	*to++ = '"';
	while (p < end) {
		if (*p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') {
			*to++ = (char)*p++;
			continue;
		}
		if (*p == '"' || *p == '\\') {
			*to++ = '\\';
			*to++ = (char)*p++;
			continue;
		}
		if (*p < 0x20) {
			memcpy(to, "\\u00", 4);
			to[4] = digits[*p >> 4];
			to[5] = digits[*p++ & 15];
			to += 6;
			continue;
		}
		n = ctf_utf8_len(p, (size_t)(end - p));
		if (n) {
			memcpy(to, p, n);
			to += n;
			p += n;
		} else {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
			p++;
		}
	}
	*to++ = '"';
	o->at = to;
}

static void put_literal(struct ctf_out *o, const char *s)
{
	ctf_put_raw(o, s, strlen(s));
}

static void put_scalar(struct ctf_out *o, const struct gander_ctf_value *v, bool json)
{
	uint32_t i;

	if (ctf_out_more(o, 64) < 0)
		return;
	if (v->label) {
		if (json)
			put_json(o, v->label, strlen(v->label));
		else
			put_literal(o, v->label);
		return;
	}
	switch (v->type) {
	case GANDER_CTF_I64:
		o->at = ctf_put_i64(o->at, v->i);
		break;
	case GANDER_CTF_U64:
		o->at = ctf_put_u64(o->at, v->u);
		break;
	case GANDER_CTF_BOOL:
		put_literal(o, v->u ? "true" : "false");
		break;
	case GANDER_CTF_F64:
		if (json && !isfinite(v->f))
			put_literal(o, "null");
		else
			o->at = ctf_put_f64(o->at, v->f);
		break;
	case GANDER_CTF_TEXT:
		if (json)
			put_json(o, v->text, v->len);
		else
			ctf_put_raw(o, v->text, v->len);
		break;
	default:
		if (ctf_out_more(o, (size_t)v->len * 2 + 2) < 0)
			return;
		if (json)
			*o->at++ = '"';
		for (i = 0; i < v->len; i++) {
			*o->at++ = "0123456789abcdef"[(uint8_t)v->text[i] >> 4];
			*o->at++ = "0123456789abcdef"[(uint8_t)v->text[i] & 15];
		}
		if (json)
			*o->at++ = '"';
	}
}

static void put_members(struct ctf_out *o, const struct gander_ctf_value *v, uint32_t i, uint32_t end, bool named)
{
	bool first = true;

	while (i < end) {
		if (!first)
			ctf_put_raw(o, ",", 1);
		first = false;
		if (named) {
			put_json(o, v[i].name, strlen(v[i].name));
			ctf_put_raw(o, ":", 1);
		}
		i = ctf_json_value(o, v, i);
	}
}

/* Attributes as one object; a key that comes twice stands there twice. */
static void put_attrs(struct ctf_out *o, const struct gander_ctf_value *v, uint32_t i, uint32_t end)
{
	bool first = true;

	ctf_put_raw(o, "{", 1);
	for (; i < end; i = v[i].next) {
		if (v[i].type != GANDER_CTF_STRUCT || v[i].next <= i + 2)
			continue;
		if (!first)
			ctf_put_raw(o, ",", 1);
		first = false;
		put_scalar(o, &v[i + 1], true);
		ctf_put_raw(o, ":", 1);
		ctf_json_value(o, v, i + 2);
	}
	ctf_put_raw(o, "}", 1);
}

uint32_t ctf_json_value(struct ctf_out *o, const struct gander_ctf_value *v, uint32_t i)
{
	switch (v[i].type) {
	case GANDER_CTF_STRUCT:
	case GANDER_CTF_SCOPE:
		ctf_put_raw(o, "{", 1);
		put_members(o, v, i + 1, v[i].next, true);
		ctf_put_raw(o, "}", 1);
		break;
	case GANDER_CTF_ARRAY:
		if (v[i].flags & GANDER_CTF_ATTRS) {
			put_attrs(o, v, i + 1, v[i].next);
			break;
		}
		ctf_put_raw(o, "[", 1);
		put_members(o, v, i + 1, v[i].next, false);
		ctf_put_raw(o, "]", 1);
		break;
	default:
		put_scalar(o, &v[i], true);
	}
	return v[i].next;
}

void ctf_plain_value(struct ctf_out *o, const struct gander_ctf_value *v, uint32_t i)
{
	if (v[i].type >= GANDER_CTF_STRUCT)
		ctf_json_value(o, v, i);
	else
		put_scalar(o, &v[i], false);
}

static void put_number_key(struct ctf_out *o, const char *key, int64_t v)
{
	put_literal(o, key);
	if (!ctf_out_more(o, 32))
		o->at = ctf_put_i64(o->at, v);
}

int ctf_json_line(struct gander_ctf *r, const struct gander_ctf_event *ev, struct ctf_out *o)
{
	const struct gander_ctf_value *v = NULL;
	int n = gander_ctf_values(r, ev, &v);

	return n == -ENOMEM ? n : ctf_json_values(ev, v, n, -1, o);
}

int ctf_json_values(const struct gander_ctf_event *ev, const struct gander_ctf_value *v, int n, int64_t goroutine, struct ctf_out *o)
{
	bool first = true;
	int end, i;

	put_number_key(o, "{\"time_ns\":", ev->time_ns);
	if (ev->kind != GANDER_CTF_EVENT) {
		put_number_key(o, ev->kind == GANDER_CTF_LOST ? ",\"lost\":" : ",\"lost_packets\":", (int64_t)ev->lost);
		put_number_key(o, ",\"until_ns\":", ev->end_ns);
		put_literal(o, "}\n");
		return o->failed ? -ENOMEM : 0;
	}
	put_literal(o, ",\"event\":");
	put_json(o, ev->class_->name, strlen(ev->class_->name));
	if (*ev->trace->procname) {
		put_literal(o, ",\"process\":");
		put_json(o, ev->trace->procname, strlen(ev->trace->procname));
	}
	if (ev->trace->pid >= 0)
		put_number_key(o, ",\"pid\":", ev->trace->pid);
	if (goroutine >= 0)
		put_number_key(o, ",\"goroutine\":", goroutine);
	if (ev->class_->level >= 0)
		put_number_key(o, ",\"level\":", ev->class_->level);
	if (ev->cut)
		put_literal(o, ",\"cut\":true");
	/* contexts of all kinds in one object */
	end = n > 0 ? n : 0;
	put_literal(o, ",\"context\":{");
	for (i = 0; i < end; i = (int)v[i].next)
		if (v[i].count != GANDER_CTF_FIELDS && v[i].next > (uint32_t)i + 1) {
			if (!first)
				ctf_put_raw(o, ",", 1);
			first = false;
			put_members(o, v, (uint32_t)i + 1, v[i].next, true);
		}
	put_literal(o, "},\"fields\":{");
	for (i = 0; i < end; i = (int)v[i].next)
		if (v[i].count == GANDER_CTF_FIELDS)
			put_members(o, v, (uint32_t)i + 1, v[i].next, true);
	put_literal(o, n < 0 ? "},\"broken\":true}\n" : "}}\n");
	return o->failed ? -ENOMEM : 0;
}
