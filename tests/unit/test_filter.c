#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "filter_random.h"
#include "region/glob.h"
#include "region/region.h"
#include "region/vm_quick.h"

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
			v->num.kind = tag == GD_ATTR_U64 ? GD_NUM_U64 : tag == GD_ATTR_F64 ? GD_NUM_F64
											   : GD_NUM_I64;
			v->num.bits = tag == GD_ATTR_BOOL ? *data : gd_load64(data);
			return true;
		}
		data += tag == GD_ATTR_STRING ? gd_load16(data) + 2 : tag == GD_ATTR_BOOL ? 1
											  : 8;
	}
	return false;
}

static bool decode_type(const char *path, enum filter_want want, const uint8_t *type, const uint8_t *end,
			const uint8_t *data, size_t len, struct filter_value *v)
{
	const uint8_t *at = type + 1, *elem;
	unsigned n, i, index;
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
		char *close;

		index = (unsigned)strtoul(path + 1, &close, 10);
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
		return decode_type(close + 1, want, elem, end, data, len, v);
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
		if (!strncmp(fn->text, f.name, f.name_len) &&
		    (!fn->text[f.name_len] || strchr(".[", fn->text[f.name_len])))
			return decode_type(fn->text + f.name_len, fn->want, f.type_at, d.end, data, len, v);
		size = (size_t)gd_value_size(f.type_at, d.end, data, len);
		data += size;
		len -= size;
	}
	if (!attrs)
		return false;
	snprintf(attr, sizeof(attr), ".%s", fn->text);
	at = (const uint8_t[]) { GD_ATTRS };
	return decode_type(attr, fn->want, at, at + 1, attrs, 0, v);
}

/* What the first instruction alone decides is what the whole filter answers. Returns how often it decided. */
static unsigned check_quick(const void *linked, const struct sample *m, const struct gd_piece *flat, int want)
{
	enum gd_quick in_pieces = m->npieces ? gd_quick_pieces(linked, m->piece, m->npieces) : GD_QUICK_ASK, in_words = GD_QUICK_ASK;
	uint64_t w[4] = { 0 };

	if (flat->len <= sizeof(w)) {
		memcpy(w, flat->data, flat->len);
		in_words = gd_quick_words(linked, w, flat->len);
	}
	assert_true(in_pieces == GD_QUICK_ASK || (int)in_pieces == want);
	assert_true(in_words == GD_QUICK_ASK || (int)in_words == want);
	return (in_pieces != GD_QUICK_ASK) + (in_words != GD_QUICK_ASK);
}

static void bytes_and_decoded_values_agree(void **state)
{
	uint64_t seed = 20240611, generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8];
	unsigned round, linked_n = 0, passed = 0, unfit = 0, quick_n = 0, events;
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
			quick_n += check_quick(linked, &m, &flat, want);
			if (got != want || got_flat != want)
				fail_msg("round %u: pieces %d, flat %d, decoded %d: %s", round, got, got_flat, want,
					 text.data);
			passed += (unsigned)want;
		}
		filter_free(f);
	next:
		buf_done(&text);
		sample_done(&m);
	}
	print_message("%u filters linked, %u of them passed, %u did not fit their class; %u times the first instruction was enough\n", linked_n,
		      passed, unfit, quick_n);
	assert_true(quick_n > rounds / 100);
	assert_true(linked_n > rounds / 3 && passed > linked_n / 5 && passed < linked_n * 4 / 5);
}

/* A class with a field of each sort, and one event of it. */
static const char table_desc[] = "\x01\x00\x06\x0b\x0a"
				 "shop.order"
				 "\x06status\x00\x07" /* i32 */
				 "\x04path\x00\x0d"   /* string */
				 "\x02id\x00\x04"     /* u64 */
				 "\x05"
				 "delta\x00\x05"                 /* i8 */
				 "\x05ratio\x00\x0a"             /* f64 */
				 "\x02ok\x00\x0b"                /* bool */
				 "\x05state\x00\x0c\x01\x02\x00" /* enum of u8 */
				 "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04IDLE"
				 "\x01\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07RUNNING"
				 "\x03seq\x00\x10\x02" /* sequence of u16 */
				 "\x03"
				 "arr\x00\x0f\x02\x00\x00\x00\x0d" /* array of 2 strings */
				 "\x01s\x00\x11\x02\x01"
				 "a\x00\x03\x01"
				 "b\x00\x0d" /* struct { u32 a; string b; } */
				 "\x04"
				 "attr\x00\x12";
static const char table_payload[] = "\xf6\x01\x00\x00"
				    "\x0a\x00/api/users"
				    "\xff\xff\xff\xff\xff\xff\xff\xff"
				    "\xfb"
				    "\x00\x00\x00\x00\x00\x00\xe0\x3f"
				    "\x01"
				    "\x02"
				    "\x03\x00\x0a\x00\x14\x00\x1e\x00"
				    "\x01\x00x\x05\x00hello"
				    "\x07\x00\x00\x00\x00\x00"
				    "\x04\x00"
				    "\x06\x00method\x04\x04\x00POST"
				    "\x05\x00"
				    "tries\x00\xfd\xff\xff\xff\xff\xff\xff\xff"
				    "\x0b\x00http.status\x01\x94\x01\x00\x00\x00\x00\x00\x00"
				    "\x05\x00we rd\x03\x01";

/* 1 or 0, or why not (negative). */
static int run_text(const char *text, const char *by, struct gd_filter_key *key)
{
	uint64_t generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8];
	struct gd_piece piece = { table_payload, sizeof(table_payload) - 1, 0 };
	struct gd_view v = { .piece = &piece, .npieces = 1, .tid = 77, .goid = 1ull << 40, .level = 6 };
	struct err err = ERR_INIT;
	struct filter *f = NULL;
	int r = 0;

	if (text)
		r = filter_parse(&f, text, &err);
	if (!r)
		r = filter_compile(f, by, generic, sizeof(generic), &err);
	filter_free(f);
	if (r > 0)
		r = filter_link(generic, (size_t)r, table_desc, sizeof(table_desc) - 1, linked, sizeof(linked), &err);
	if (r < 0) {
		assert_true(err.text[0]);
		return r;
	}
	return gd_filter_run(linked, (size_t)r, &v, key);
}

static void the_language_means_what_it_says(void **state)
{
	static const struct {
		const char *text;
		int want;
	} table[] = {
		{ "status >= 500 && path ~ \"/api/*\"", 1 },
		{ "status == 502", 1 },
		{ "502 == status", 1 },
		{ "500 > status", 0 },
		{ "status != 502", 0 },
		{ "status < 502.5", 1 },
		{ "status > 502.5", 0 },
		{ "status == 5.02e2", 1 },
		{ "status > -1", 1 },
		{ "status > 4000000000", 0 },
		{ "status < 99999999999", 1 },
		{ "status in (200, 502)", 1 },
		{ "status in (200, 404)", 0 },
		{ "!(status in (200, 404))", 1 },
		{ "status", 1 },
		{ "status == 0x1f6", 1 },
		{ "id > 9223372036854775807", 1 },
		{ "id == 18446744073709551615", 1 },
		{ "id > -1", 1 },
		{ "id == -1", 0 },
		{ "id < 1.8e19", 0 },
		{ "id + 1 == 0", 0 }, /* no wrapping: no value */
		{ "!(id + 1 == 0)", 1 },
		{ "delta == -5", 1 },
		{ "delta < id", 1 },
		{ "delta < 128", 1 },
		{ "delta >= -128", 1 },
		{ "delta < -128", 0 },
		{ "ratio == 0.5", 1 },
		{ "ratio > 0", 1 },
		{ "ratio * 4 == 2", 1 },
		{ "ratio < status", 1 },
		{ "ok", 1 },
		{ "!ok", 0 },
		{ "ok == true", 1 },
		{ "state == \"RUNNING\"", 1 },
		{ "state != \"IDLE\"", 1 },
		{ "state ~ \"RUN*\"", 1 },
		{ "state == 2", 1 },
		{ "state == \"GONE\"", -ENOENT },
		{ "path == \"/api/users\"", 1 },
		{ "path != \"/api/users\"", 0 },
		{ "path ~ '*users'", 1 },
		{ "path ~ '*i/u*'", 1 },
		{ "path ~ '/*/[t-v]s?rs'", 1 },
		{ "path !~ '/api/*'", 0 },
		{ "path == arr[0]", 0 },
		{ "path != arr[0]", 1 },
		{ "path == path", 1 },
		{ "path > 5", -EINVAL },
		{ "status ~ 'x'", -EINVAL },
		{ "len(path) == 10", 1 },
		{ "len(seq) == 3 && len(arr) == 2", 1 },
		{ "seq[2] == 30", 1 },
		{ "seq[3] == 30 || seq[3] != 30", 0 },
		{ "has(seq[2]) && !has(seq[3])", 1 },
		{ "arr[1] == 'hello'", 1 },
		{ "arr[2] == 'hello' || arr[2] != 'hello'", 0 },
		{ "s.a == 7 && s.b == ''", 1 },
		{ "s.c == 7", 0 }, /* an attribute of that name, which the event lacks */
		{ "s == 7", -EINVAL },
		{ "method == 'POST'", 1 },
		{ "attr.method == 'POST'", 1 },
		{ "attr.method != 'GET'", 1 },
		{ "method == 5", 0 },
		{ "method != 5", 0 },
		{ "len(method) == 4", 1 },
		{ "tries == -3 && attr.tries < 0", 1 },
		{ "http.status == 404", 1 },
		{ "attr.http.status >= 404", 1 },
		{ "`we rd` && attr.`we rd` == 1", 1 },
		{ "nosuch == 1", 0 },
		{ "nosuch != 1", 0 },
		{ "!(nosuch == 1)", 1 },
		{ "has(nosuch)", 0 },
		{ "has(method) && has(status) && has(attr)", 1 },
		{ "$tid == 77 && $level <= 6 && $goid == 1099511627776", 1 },
		{ "$name ~ 'shop.*'", 1 },
		{ "status % 100 == 2", 1 },
		{ "status / 100 == 5", 1 },
		{ "status & 2 == 2", 1 },
		{ "status & 8 != 0", 0 },
		{ "1 << 3 | 1 == 9", 1 },
		{ "2 + 3 * 4 == 14", 1 },
		{ "-status == -502", 1 },
		{ "status - 600 < 0", 1 },
		{ "status / (delta + 5) == 1", 0 },
		{ "300ms == 300000000 && 1.5s == 1500000000 && 4k == 4096 && 2h == 7200000000000", 1 },
		{ "true && !false || nosuch == 1", 1 },
		{ "status == 1 || status == 2 || (status == 502 && ok)", 1 },
	};
	unsigned i;
	int got;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		got = run_text(table[i].text, NULL, NULL);
		if (got != table[i].want)
			fail_msg("%s: %d, not %d", table[i].text, got, table[i].want);
	}
}

static void errors_point_at_the_column(void **state)
{
	static const struct {
		const char *text;
		int column; /* of the caret */
		const char *says;
	} table[] = {
		{ "", 0, "here should be a field" },
		{ "status >=", 9, "here should be a field" },
		{ "status = 5", 7, "'=' is no operator" },
		{ "status >= 5q", 11, "'q' is no unit" },
		{ "status >= 99999999999999999999", 10, "too big" },
		{ "status >= 500 500", 14, "should end here" },
		{ "(status >= 500", 0, "not closed" },
		{ "path == \"x", 8, "closing \"" },
		{ "path < \"x\"", 5, "no order" },
		{ "path ~ 5", 7, "a pattern is a string" },
		{ "5 ~ \"x\"", 0, "only a field" },
		{ "\"x\"", 0, "neither true nor false" },
		{ "(a == b) + 1 == 2", 3, "a value is needed" },
		{ "!a == b", 0, "a value is needed" },
		{ "a[x] == 1", 2, "an index is a number" },
		{ "a..b == 1", 0, "empty or unclosed" },
		{ "$foo == 1", 0, "there is no '$foo'" },
		{ "status in 5", 10, "here should be a list" },
		{ "status in (a)", 11, "numbers and strings only" },
		{ "1 / 0 == 1", 2, "no value" },
		{ "a + \"x\" == 1", 4, "a string is no number" },
		{ "\xc3\xa9t\xc3\xa9 = 5", 4, "'=' is no operator" },
	};
	struct err err = ERR_INIT;
	struct filter *f;
	const char *line;
	unsigned i;
	int column;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(filter_parse(&f, table[i].text, &err), -EINVAL);
		line = strrchr(err.text, '\n');
		column = line ? (int)strlen(line) - 4 : -1; /* "\n  " and the caret */
		if (column != table[i].column || !strstr(err.text, table[i].says))
			fail_msg("%s: column %d, not %d\n%s", table[i].text, column, table[i].column, err.text);
	}
}

static void long_and_deep_filters_are_refused(void **state)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;
	struct filter *f;
	uint64_t out[GD_FILTER_GENERIC_MAX / 8];
	unsigned i;

	for (i = 0; i < 1000; i++)
		buf_puts(&b, "(");
	assert_int_equal(filter_parse(&f, b.data, &err), -EINVAL);
	assert_non_null(strstr(err.text, "too deeply nested"));
	buf_clear(&b);
	for (i = 0; i < 250; i++)
		buf_puts(&b, i ? "|| a == 1" : "a == 1");
	assert_int_equal(filter_parse(&f, b.data, &err), -EINVAL);
	buf_clear(&b);
	buf_puts(&b, "a in (1");
	for (i = 0; i < 200; i++)
		buf_printf(&b, ",%u", i);
	buf_puts(&b, ")");
	assert_int_equal(filter_parse(&f, b.data, &err), -EINVAL);
	assert_non_null(strstr(err.text, "parts"));
	buf_clear(&b);
	for (i = 0; i < 5000; i++)
		buf_puts(&b, "a");
	assert_int_equal(filter_parse(&f, b.data, &err), -E2BIG);
	buf_done(&b);
	assert_int_equal(filter_parse(&f, "a + (b + (c + (d + (e + (f + (g + (h + (i + j)))))))) == 1", &err), 0);
	assert_true(filter_compile(f, NULL, out, sizeof(out), &err) < 0);
	assert_non_null(strstr(err.text, "registers"));
	assert_true(filter_compile(f, NULL, out, 64, &err) < 0);
	filter_free(f);
}

static void counting_takes_the_value_of_a_field(void **state)
{
	struct gd_filter_key key;
	int64_t n;

	assert_int_equal(run_text(NULL, "path", &key), 1);
	assert_int_equal(key.kind, GD_KEY_STR);
	assert_int_equal(key.len, 10);
	assert_memory_equal(key.value, "/api/users\0", 11);
	assert_int_equal(run_text("status == 502", "delta", &key), 1);
	assert_int_equal(key.kind, GD_KEY_I64);
	memcpy(&n, key.value, 8);
	assert_int_equal(n, -5);
	assert_int_equal(run_text(NULL, "state", &key), 1);
	assert_int_equal(key.kind, GD_KEY_U64);
	assert_int_equal(run_text(NULL, "ratio", &key), 1);
	assert_int_equal(key.kind, GD_KEY_F64);
	assert_int_equal(run_text(NULL, "attr.nosuch", &key), 1);
	assert_int_equal(key.kind, 0);
	assert_int_equal(run_text(NULL, "$tid", &key), 1);
	assert_int_equal(key.value[0], 77);
	assert_int_equal(run_text(NULL, "s", &key), -EINVAL);
	assert_int_equal(run_text(NULL, "path == 'x'", &key), -EINVAL);
}

static void errors_of_linking_name_the_field(void **state)
{
	uint64_t generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8];
	static const char desc[] = "\x01\x00\x06\x01\x01"
				   "e\x06status\x00\x07";
	struct err err = ERR_INIT;
	struct filter *f;
	int n;

	assert_int_equal(filter_parse(&f, "status > 5 && size > 1", &err), 0);
	n = filter_compile(f, NULL, generic, sizeof(generic), &err);
	filter_free(f);
	assert_int_equal(filter_link(generic, (size_t)n, desc, sizeof(desc) - 1, linked, sizeof(linked), &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "class 'e' has no field or label that fits 'size'"));
	assert_int_equal(gd_filter_link(generic, (size_t)n, desc, sizeof(desc) - 1, linked, 64), -ENOSPC);
}

/* Integers against __int128; comparisons with doubles against long double, which holds all 64-bit integers. */
static void numbers_are_exact(void **state)
{
	uint64_t seed = 7;
	unsigned i, k, op;

	for (i = 0; i < 300000; i++) {
		struct gd_num n[2], r;
		__int128 x[2], want = 0;
		long double l[2];
		double d;
		bool none = false;
		int order;

		for (k = 0; k < 2; k++) {
			n[k].kind = GD_NUM_I64 + below(&seed, 3);
			n[k].bits = random_bits(&seed, n[k].kind == GD_NUM_F64 ? GD_F64 : GD_U64);
			if (n[k].kind != GD_NUM_F64 && below(&seed, 2))
				n[k].bits = below(&seed, 80);
			x[k] = n[k].kind == GD_NUM_I64 ? (__int128)(int64_t)n[k].bits : (__int128)n[k].bits;
			memcpy(&d, &n[k].bits, 8);
			l[k] = n[k].kind == GD_NUM_F64 ? d : (long double)x[k];
		}
		order = l[0] < l[1] ? -1 : l[0] > l[1] ? 1
				   : l[0] == l[1]      ? 0
						       : 2;
		assert_int_equal(gd_num_compare(n[0], n[1]), order);
		if (n[0].kind == GD_NUM_F64 || n[1].kind == GD_NUM_F64)
			continue;
		op = below(&seed, 10);
		r = gd_num_arith(op, n[0], n[1]);
		switch (op) {
		case GD_ARITH_ADD:
			want = x[0] + x[1];
			break;
		case GD_ARITH_SUB:
			want = x[0] - x[1];
			break;
		case GD_ARITH_MUL:
			none = __builtin_mul_overflow(x[0], x[1], &want);
			break;
		case GD_ARITH_DIV:
		case GD_ARITH_MOD:
			none = !x[1];
			if (!none)
				want = op == GD_ARITH_DIV ? x[0] / x[1] : x[0] % x[1];
			break;
		case GD_ARITH_SHL:
		case GD_ARITH_SHR:
			none = x[1] < 0 || x[1] > 63;
			if (!none)
				none = op == GD_ARITH_SHL && __builtin_mul_overflow(x[0], (__int128)1 << x[1], &want);
			if (!none && op == GD_ARITH_SHR)
				want = x[0] >> x[1];
			break;
		default:
			want = op == GD_ARITH_AND ? x[0] & x[1] : op == GD_ARITH_OR ? x[0] | x[1]
										    : x[0] ^ x[1];
			/* bits are those of 64-bit words */
			want = x[0] < 0 || x[1] < 0 ? (__int128)(int64_t)want : (__int128)(uint64_t)want;
		}
		none = none || want < INT64_MIN || want > (__int128)UINT64_MAX;
		assert_int_equal(r.kind == GD_NUM_NONE, none);
		if (!none)
			assert_true((r.kind == GD_NUM_I64 ? (__int128)(int64_t)r.bits : (__int128)r.bits) == want);
	}
}

/* The obvious matcher, exponential. */
static bool slow_glob(const char *p, const char *t)
{
	if (*p == '*')
		return slow_glob(p + 1, t) || (*t && slow_glob(p, t + 1));
	if (!*p || !*t)
		return !*p && !*t;
	if (*p == '[')
		return ((*t >= 'a' && *t <= 'b') != (p[1] == '!')) && slow_glob(strchr(p, ']') + 1, t + 1);
	return (*p == '?' || *p == *t) && slow_glob(p + 1, t + 1);
}

static void globs_match_like_the_obvious_matcher(void **state)
{
	static const char *const parts[] = { "a", "b", "c", "*", "*", "?", "[ab]", "[!a-b]" };
	struct buf pattern = BUF_INIT;
	char text[12], longer[4096];
	unsigned i, k, n, matched = 0;
	uint64_t seed = 3;

	for (i = 0; i < 200000; i++) {
		buf_clear(&pattern);
		buf_puts(&pattern, "");
		for (k = below(&seed, 6); k; k--)
			buf_puts(&pattern, parts[below(&seed, 8)]);
		n = below(&seed, 9);
		for (k = 0; k < n; k++)
			text[k] = (char)('a' + below(&seed, 3));
		text[n] = 0;
		matched += slow_glob(pattern.data, text);
		assert_int_equal(gd_glob_match(pattern.data, pattern.len, text, n), slow_glob(pattern.data, text));
	}
	buf_done(&pattern);
	assert_true(matched > 10000);
	/* what would be exponential is not */
	memset(longer, 'a', sizeof(longer));
	assert_false(gd_glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*b", 26, longer, sizeof(longer)));
}

/* Every byte of a linked program changed, every length cut: an end, and no read outside (ASan sees to that). */
static void damaged_programs_end(void **state)
{
	uint64_t generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8], quick[GD_FILTER_LINKED_MAX / 8], seed = 99, w[4];
	struct gd_piece piece = { table_payload, sizeof(table_payload) - 1, 0 };
	struct gd_view v = { .piece = &piece, .npieces = 1 };
	struct gd_filter_key key;
	struct err err = ERR_INIT;
	struct filter *f;
	unsigned i, k;
	int n, m, res;

	assert_int_equal(filter_parse(&f,
				      "status > 600 || arr[1] ~ '*x*' || state ~ '*' && seq[1] + id * 2 == len(method) "
				      "|| has(tries) && path == s.b",
				      &err),
			 0);
	n = filter_compile(f, "attr.method", generic, sizeof(generic), &err);
	filter_free(f);
	m = gd_filter_link(generic, (size_t)n, table_desc, sizeof(table_desc) - 1, linked, sizeof(linked));
	assert_true(m > 0);
	for (i = 0; i < (unsigned)m * 40; i++) {
		uint8_t *bad = malloc((size_t)m), *gen = malloc((size_t)n), *desc = malloc(sizeof(table_desc) - 1);
		uint64_t out[GD_FILTER_LINKED_MAX / 8];

		memcpy(bad, linked, (size_t)m);
		memcpy(gen, generic, (size_t)n);
		memcpy(desc, table_desc, sizeof(table_desc) - 1);
		for (k = 0; k <= i % 3; k++) {
			bad[(i + k * 13) % (unsigned)m] = (uint8_t)rnd(&seed);
			gen[(i + k * 13) % (unsigned)n] = (uint8_t)rnd(&seed);
		}
		desc[below(&seed, sizeof(table_desc) - 1)] ^= i % 5 ? 0 : (uint8_t)rnd(&seed);
		res = gd_filter_run(bad, (size_t)m, &v, &key);
		memset(quick, 0, sizeof(quick));
		memcpy(quick, bad, (size_t)m);
		assert_true(gd_quick_pieces(quick, &piece, 1) != GD_QUICK_REJECT || !res);
		memcpy(w, piece.data, sizeof(w));
		gd_quick_words(quick, w, i % sizeof(w));
		gd_filter_run(bad, (size_t)m - below(&seed, (unsigned)m), &v, &key);
		gd_filter_link(gen, (size_t)n, desc, sizeof(table_desc) - 1, out, sizeof(out));
		free(bad);
		free(gen);
		free(desc);
	}
}

struct scribbler {
	uint64_t *program, *generic;
	size_t words, generic_words;
	int stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint64_t seed = 5;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		__atomic_store_n(&s->program[2 + rnd(&seed) % (s->words - 2)], rnd(&seed) & rnd(&seed),
				 __ATOMIC_RELAXED);
		__atomic_fetch_xor(&s->program[4 + rnd(&seed) % (s->words - 4)], 1ull << below(&seed, 64),
				   __ATOMIC_RELAXED);
		__atomic_fetch_xor(&s->generic[4 + rnd(&seed) % (s->generic_words - 4)], 1ull << below(&seed, 64),
				   __ATOMIC_RELAXED);
	}
	return NULL;
}

static void programs_that_change_while_they_run_end(void **state)
{
	uint64_t *generic = calloc(1, GD_FILTER_GENERIC_MAX), linked[GD_FILTER_LINKED_MAX / 8], *program, *copy;
	struct gd_piece piece = { table_payload, sizeof(table_payload) - 1, 0 };
	struct gd_view v = { .piece = &piece, .npieces = 1 };
	struct scribbler s = { 0 };
	struct gd_filter_key key;
	struct err err = ERR_INIT;
	struct filter *f;
	unsigned i, passed = 0, made = 0;
	pthread_t thread;
	int n, m;

	assert_int_equal(filter_parse(&f,
				      "state ~ '*' && arr[1] ~ '*[a-z]*q' || seq[1] == 5 || tries + id == 2 || method "
				      "== 'x' || s.b ~ '*'",
				      &err),
			 0);
	n = filter_compile(f, "method", generic, GD_FILTER_GENERIC_MAX, &err);
	filter_free(f);
	m = gd_filter_link(generic, (size_t)n, table_desc, sizeof(table_desc) - 1, linked, sizeof(linked));
	assert_true(m > 0);
	program = malloc((size_t)m);
	copy = malloc((size_t)n); /* exactly as long, so that ASan sees each byte too many */
	memcpy(program, linked, (size_t)m);
	memcpy(copy, generic, (size_t)n);
	s.program = program;
	s.words = (size_t)m / 8;
	s.generic = copy;
	s.generic_words = (size_t)n / 8;
	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	for (i = 0; i < 60000; i++) {
		if (i % 4 == 0)
			for (unsigned k = 0; k < (unsigned)m / 8; k++) /* sound again, for a moment */
				__atomic_store_n(&program[k], linked[k], __ATOMIC_RELAXED);
		if (i % 4 == 0)
			for (unsigned k = 0; k < (unsigned)n / 8; k++)
				__atomic_store_n(&copy[k], generic[k], __ATOMIC_RELAXED);
		passed += (unsigned)gd_filter_run(program, (size_t)m, &v, &key);
		if (i % 4 == 0)
			made += gd_filter_link(copy, (size_t)n, table_desc, sizeof(table_desc) - 1, linked + 1024,
					       8192) > 0;
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	print_message("%u runs passed, %u linked\n", passed, made);
	free(program);
	free(copy);
	free(generic);
}

/* What a legal program costs at most: the work is paid for, and then comparisons are false. */
static void work_is_bounded(void **state)
{
	static const char desc[] = "\x01\x00\x06\x02\x01"
				   "e\x01s\x00\x10\x10\x0d\x01t\x00\x0d"; /* sequence of sequences of strings, string */
	uint64_t generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8];
	struct buf b = BUF_INIT, text = BUF_INIT;
	struct err err = ERR_INIT;
	struct gd_piece piece;
	struct gd_view v = { .piece = &piece, .npieces = 1 };
	struct filter *f;
	unsigned i;
	int n;

	put_le(&b, 29000, 2);
	for (i = 0; i < 29000; i++)
		put_le(&b, 0, 2);
	put_le(&b, 1, 2);
	buf_putc(&b, 'x');
	for (i = 0; i < 60; i++)
		buf_puts(&text, i ? "|| t == 'y'" : "t == 'y'");
	assert_int_equal(filter_parse(&f, text.data, &err), 0);
	n = filter_compile(f, NULL, generic, sizeof(generic), &err);
	n = gd_filter_link(generic, (size_t)n, desc, sizeof(desc) - 1, linked, sizeof(linked));
	assert_true(n > 0);
	piece.data = b.data;
	piece.len = (uint32_t)b.len;
	piece.elem = 0;
	assert_int_equal(gd_filter_run(linked, (size_t)n, &v, NULL), 0);
	filter_free(f);
	assert_int_equal(filter_parse(&f, "t == 'x'", &err), 0);
	n = filter_compile(f, NULL, generic, sizeof(generic), &err);
	n = gd_filter_link(generic, (size_t)n, desc, sizeof(desc) - 1, linked, sizeof(linked));
	assert_int_equal(gd_filter_run(linked, (size_t)n, &v, NULL), 1);
	filter_free(f);
	buf_done(&b);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_language_means_what_it_says),
		cmocka_unit_test(errors_point_at_the_column),
		cmocka_unit_test(long_and_deep_filters_are_refused),
		cmocka_unit_test(counting_takes_the_value_of_a_field),
		cmocka_unit_test(errors_of_linking_name_the_field),
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(globs_match_like_the_obvious_matcher),
		cmocka_unit_test(bytes_and_decoded_values_agree),
		cmocka_unit_test(damaged_programs_end),
		cmocka_unit_test(programs_that_change_while_they_run_end),
		cmocka_unit_test(work_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
