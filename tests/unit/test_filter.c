#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "filter_random.h"
#include "region/glob.h"
#include "region/region.h"

#include <errno.h>
#include <pthread.h>

/* The oracle: values by name, decoded with desc.c alone, which shares nothing with the linker. */
struct decoded {
	const struct filter *f;
	const struct sample *m;
};

static bool decode_scalar(const uint8_t *type, const uint8_t *end, const uint8_t *data, struct filter_value *v)
{
	unsigned code = type[0] == GD_ENUM ? type[1] : type[0], n, i;
	const uint8_t *at;
	int64_t low;
	double d;
	float f;

	v->num.kind = GD_NUM_I64;
	switch (code) {
	case GD_U8:
	case GD_BOOL:
		v->num.bits = *data;
		break;
	case GD_U16:
		v->num.bits = gd_load16(data);
		break;
	case GD_U32:
		v->num.bits = gd_load32(data);
		break;
	case GD_U64:
		v->num.kind = GD_NUM_U64;
		v->num.bits = gd_load64(data);
		break;
	case GD_I8:
		v->num.bits = (uint64_t)(int8_t)*data;
		break;
	case GD_I16:
		v->num.bits = (uint64_t)(int16_t)gd_load16(data);
		break;
	case GD_I32:
		v->num.bits = (uint64_t)(int32_t)gd_load32(data);
		break;
	case GD_I64:
		v->num.bits = gd_load64(data);
		break;
	case GD_F32:
		memcpy(&f, data, 4);
		d = f;
		v->num.kind = GD_NUM_F64;
		memcpy(&v->num.bits, &d, 8);
		break;
	case GD_F64:
		v->num.kind = GD_NUM_F64;
		v->num.bits = gd_load64(data);
		break;
	default:
		v->num.kind = GD_NUM_NONE;
		return false;
	}
	if (type[0] != GD_ENUM)
		return true;
	v->labelled = true;
	for (n = gd_load16(type + 2), at = type + 4, i = 0; i < n; i++, at += 17 + at[16]) {
		low = (int64_t)gd_load64(at);
		if ((int64_t)v->num.bits >= low && (int64_t)v->num.bits <= (int64_t)gd_load64(at + 8)) {
			v->text = (const char *)at + 17;
			v->len = at[16];
		}
	}
	return true;
}

static bool decode_attr(const uint8_t *data, const char *key, struct filter_value *v)
{
	unsigned n = gd_load16(data), klen, tag;

	for (data += 2; n; n--) {
		const char *k = (const char *)data + 2;

		klen = gd_load16(data);
		data += 2 + klen;
		tag = *data++;
		if (klen == strlen(key) && !memcmp(k, key, klen)) {
			if (tag == GD_ATTR_STRING) {
				v->len = gd_load16(data);
				v->text = (const char *)data + 2;
				return true;
			}
			v->num.kind = tag == GD_ATTR_U64 ? GD_NUM_U64 : tag == GD_ATTR_F64 ? GD_NUM_F64 : GD_NUM_I64;
			v->num.bits = tag == GD_ATTR_BOOL ? *data : gd_load64(data);
			return true;
		}
		data += tag == GD_ATTR_STRING ? gd_load16(data) + 2 : tag == GD_ATTR_BOOL ? 1 : 8;
	}
	return false;
}

static bool decode_type(const char *path, enum filter_want want, const uint8_t *type, const uint8_t *end, const uint8_t *data, size_t len,
			struct filter_value *v)
{
	const uint8_t *at = type + 1, *elem;
	unsigned n, i, index, used;
	struct gd_field f;
	ptrdiff_t size;

	if (*path == '.' && type[0] == GD_ATTRS) {
		if (!decode_attr(data, path + 1, v))
			return false;
		if (want != FILTER_LENGTH)
			return true;
		v->num.kind = v->text ? GD_NUM_I64 : GD_NUM_NONE;
		v->num.bits = v->len;
		v->text = NULL;
		return v->num.kind;
	}
	if (*path == '.') {
		for (n = *at++; n; n--) {
			gd_desc_field(&f, &at, end);
			if (!strncmp(path + 1, f.name, f.name_len) && !strchr("0123456789", path[1 + f.name_len]))
				return decode_type(path + 1 + f.name_len, want, f.type_at, end, data, len, v);
			if (!strncmp(path + 1, f.name, f.name_len) && !path[1 + f.name_len])
				return decode_type(path + 1 + f.name_len, want, f.type_at, end, data, len, v);
			size = gd_value_size(f.type_at, end, data, len);
			data += size;
			len -= (size_t)size;
		}
		return false;
	}
	if (*path == '[') {
		sscanf(path, "[%u]%n", &index, &used);
		n = type[0] == GD_ARRAY ? gd_load32(at) : gd_load16(data);
		elem = type[0] == GD_ARRAY ? at + 4 : at;
		if (index >= n)
			return false;
		if (type[0] == GD_SEQUENCE) {
			data += 2;
			len -= 2;
		}
		for (i = 0; i < index; i++) {
			size = gd_value_size(elem, end, data, len);
			data += size;
			len -= (size_t)size;
		}
		return decode_type(path + used, want, elem, end, data, len, v);
	}
	if (want == FILTER_PRESENCE)
		return true;
	if (want == FILTER_LENGTH) {
		v->num.kind = GD_NUM_I64;
		v->num.bits = type[0] == GD_ARRAY ? gd_load32(at) : gd_load16(data);
		return true;
	}
	if (type[0] == GD_STRING || type[0] == GD_BYTES) {
		v->text = (const char *)data + 2;
		v->len = gd_load16(data);
		return true;
	}
	return decode_scalar(type, end, data, v);
}

static bool decode(void *arg, unsigned name, struct filter_value *v)
{
	struct decoded *dec = arg;
	const struct sample *m = dec->m;
	unsigned n;
	const struct filter_name *fn = &filter_names(dec->f, &n)[name];
	const uint8_t *at, *data = (const uint8_t *)m->payload.data, *attrs = NULL;
	size_t len = m->payload.len, size;
	char attr[300];
	struct gd_desc d;
	struct gd_field f;

	if (fn->text[0] == '$') {
		v->num.kind = GD_NUM_U64;
		if (!strcmp(fn->text, "$tid")) {
			v->num.bits = m->view.tid;
		} else if (!strcmp(fn->text, "$goid")) {
			v->num.bits = m->view.goid;
		} else if (!strcmp(fn->text, "$level")) {
			v->num.bits = m->view.level;
		} else {
			v->num.kind = GD_NUM_NONE;
			v->text = "shop.order";
			v->len = 10;
		}
		return true;
	}
	gd_desc_parse(&d, m->desc.data, m->desc.len);
	for (at = d.fields; gd_desc_field(&f, &at, d.end);) {
		if (f.type == GD_ATTRS && !attrs)
			attrs = data;
		if (!strncmp(fn->text, f.name, f.name_len) && (!fn->text[f.name_len] || strchr(".[", fn->text[f.name_len])))
			return decode_type(fn->text + f.name_len, fn->want, f.type_at, d.end, data, len, v);
		size = (size_t)gd_value_size(f.type_at, d.end, data, len);
		data += size;
		len -= size;
	}
	if (!attrs)
		return false;
	snprintf(attr, sizeof(attr), ".%s", fn->text);
	at = (const uint8_t[]){ GD_ATTRS };
	return decode_type(attr, fn->want, at, at + 1, attrs, 0, v);
}

static void bytes_and_decoded_values_agree(void **state)
{
	uint64_t seed = 20240611, generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8];
	unsigned round, linked_n = 0, passed = 0, unfit = 0, events;
	const unsigned rounds = getenv("GANDER_TEST_LONG") ? 400000 : 20000;

	for (round = 0; round < rounds; round++) {
		struct sample m;
		struct buf text = BUF_INIT;
		struct filter *f;
		struct decoded dec;
		struct gd_piece flat;
		struct gd_view v;
		struct err err = ERR_INIT;
		int size, got, got_flat, want;

		sample_init(&m, &seed);
		random_condition(&seed, &m, &text, 0);
		if (filter_parse(&f, text.data, &err)) {
			/* constants that overflow */
			if (!strstr(err.text, "this has no value"))
				fail_msg("%s", err.text);
			goto next;
		}
		size = filter_compile(f, NULL, generic, sizeof(generic), &err);
		assert_true(size > 0 || strstr(err.text, "registers"));
		if (size > 0)
			size = gd_filter_link(generic, (size_t)size, m.desc.data, m.desc.len, linked, sizeof(linked));
		if (size < 0) {
			unfit++;
			filter_free(f);
			goto next;
		}
		linked_n++;
		for (events = 0; events < 1; events++) {
			v = m.view;
			v.piece = m.piece;
			v.npieces = m.npieces;
			got = gd_filter_run(linked, (size_t)size, &v, NULL);
			flat.data = m.payload.data;
			flat.len = (uint32_t)m.payload.len;
			flat.elem = 0;
			v.piece = &flat;
			v.npieces = 1;
			got_flat = gd_filter_run(linked, (size_t)size, &v, NULL);
			dec.f = f;
			dec.m = &m;
			want = filter_eval(f, decode, &dec);
			if (got != want || got_flat != want)
				fail_msg("round %u: pieces %d, flat %d, decoded %d: %s", round, got, got_flat, want, text.data);
			passed += (unsigned)want;
		}
		filter_free(f);
next:
		buf_done(&text);
		sample_done(&m);
	}
	print_message("%u filters linked, %u of them passed, %u did not fit their class\n", linked_n, passed, unfit);
	assert_true(linked_n > rounds / 3 && passed > linked_n / 5 && passed < linked_n * 4 / 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_and_decoded_values_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
