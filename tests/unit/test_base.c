#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hist.h"
#include "base/json.h"
#include "base/opt.h"
#include "base/table.h"
#include "base/temp.h"
#include "base/varint.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void err_tells_a_story(void **state)
{
	struct err err = ERR_INIT;

	assert_int_equal(err_set(&err, -ENOENT, "cannot open '%s': %m", "x"), -ENOENT);
	assert_string_equal(err.text, "cannot open 'x': No such file or directory");
	assert_int_equal(err_prefix(&err, "shop"), -ENOENT);
	assert_string_equal(err.text, "shop: cannot open 'x': No such file or directory");
	assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void json_escapes_what_is_hostile(void **state)
{
	struct buf b = BUF_INIT;
	struct json j;

	json_init(&j, &b);
	json_obj(&j);
	json_key(&j, "a\"b");
	json_arr(&j);
	json_u64(&j, UINT64_MAX);
	json_i64(&j, INT64_MIN);
	json_strn(&j, "\x01\xff\xc3\xa4\xed\xa0\x80", 7);
	json_arr_end(&j);
	json_key(&j, "n");
	json_f64(&j, 0.0 / 0.0);
	json_obj_end(&j);
	assert_string_equal(b.data, "{\"a\\\"b\":[18446744073709551615,-9223372036854775808,"
				    "\"\\u0001\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"],\"n\":null}");
	buf_done(&b);
}

static void hist_buckets_are_narrow_and_merge(void **state)
{
	static struct hist a, b, both;
	uint64_t v;
	unsigned i;

	for (i = 0; i + 1 < HIST_BUCKETS; i++) {
		assert_int_equal(hist_index(hist_low(i)), i);
		assert_int_equal(hist_index(hist_high(i)), i);
		if (i >= HIST_SUB)
			assert_true((hist_high(i) - hist_low(i) + 1) * 16 <= hist_low(i));
	}
	assert_int_equal(hist_index(UINT64_MAX), HIST_BUCKETS - 1);
	for (v = 1; v <= 1000; v++) {
		hist_add(v & 1 ? &a : &b, v * 1000);
		hist_add(&both, v * 1000);
	}
	hist_merge(&a, &b);
	assert_memory_equal(&a, &both, sizeof(a));
	v = hist_quantile(&a, 0.5);
	assert_in_range(v, 470000, 532000);
	assert_int_equal(hist_quantile(&a, 1), 1000000);
}

static void options_parse(void **state)
{
	static const struct verb verb = { .name = "t", .args = "", .summary = "" };
	bool flag = false;
	const char *str = NULL;
	uint64_t ns = 0, size = 0, period = 0;
	struct opt_list list = { .n = 0 };
	const struct opt opts[] = {
		{ OPT_FLAG, 'f', "flag", NULL, "", &flag },
		{ OPT_STR, 'o', "out", "DIR", "", &str },
		{ OPT_DURATION, 0, "for", "T", "", &ns },
		{ OPT_PERIOD, 0, "every", "T", "", &period },
		{ OPT_SIZE, 0, "size", "N", "", &size },
		{ OPT_LIST, 'e', "event", "GLOB", "", &list },
		{ OPT_END },
	};
	char a[][16] = { "t", "x", "-fo", "dir", "--for=1.5ms", "-ea*", "-e", "b", "--size", "64k", "--", "-y" };
	char *argv[13];
	struct err err = ERR_INIT;
	int i;

	for (i = 0; i < 12; i++)
		argv[i] = a[i];
	argv[12] = NULL;
	assert_int_equal(opt_parse(&verb, opts, 12, argv, &err), 2);
	assert_string_equal(argv[1], "x");
	assert_string_equal(argv[2], "-y");
	assert_true(flag);
	assert_string_equal(str, "dir");
	assert_int_equal(ns, 1500000);
	assert_int_equal(size, 65536);
	assert_int_equal(list.n, 2);
	assert_string_equal(list.v[0], "a*");
	assert_int_equal(opt_duration("soon", &ns, &err), -EINVAL);
	assert_int_equal(opt_parse(&verb, opts, 2, (char *[]) { a[0], (char[]) { "--every=2s" }, NULL }, &err), 0);
	assert_int_equal(period, 2000000000);
	assert_int_equal(opt_parse(&verb, opts, 2, (char *[]) { a[0], (char[]) { "--every=0s" }, NULL }, &err), -EINVAL);
	assert_string_equal(err.text, "--every: more than 0 (examples: 10s, 300ms, 2m)");
	assert_int_equal(period, 2000000000);
	assert_int_equal(opt_parse(&verb, opts, 2, (char *[]) { a[0], (char[]) { "--for=0s" }, NULL }, &err), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(opt_u64("-1", &ns, &err), -EINVAL);
}

static void lists_of_names_are_bits(void **state)
{
	static const char *const names[] = { "red", "green", "blue" };
	struct err err = ERR_INIT;
	uint32_t bits = 7;

	assert_int_equal(opt_names("", names, 3, "hue", "colour", &bits, &err), 0);
	assert_int_equal(bits, 0);
	assert_int_equal(opt_names("blue,red,blue,", names, 3, "hue", "colour", &bits, &err), 0);
	assert_int_equal(bits, 5);
	assert_int_equal(opt_names("red,gree", names, 3, "hue", "colour", &bits, &err), -EINVAL);
	assert_string_equal(err.text, "--hue: unknown colour, column 5 (red green blue)\n  red,gree\n      ^");
	assert_int_equal(opt_names("red,,blue", names, 3, "hue", "colour", &bits, &err), -EINVAL);
	assert_int_equal(bits, 5);
}

static void units_are_short(void **state)
{
	char t[UNIT_TEXT];

	assert_string_equal(duration_text(t, 870), "870ns");
	assert_string_equal(duration_text(t, 12300000), "12.3ms");
	assert_string_equal(duration_text(t, 4020000000ull), "4.02s");
	assert_string_equal(count_text(t, 1234567), "1.23M");
	assert_string_equal(bytes_text(t, 4194304), "4.00 MiB");
}

static void lines_are_folded_at_spaces(void **state)
{
	static const struct {
		const char *text, *shown;
		int width;
	} cases[] = {
		{ "as it is, however long it may be\n\n  x\n", "as it is, however long it may be\n\n  x\n", 0 },
		{ "twelve chars\n", "twelve chars\n", 12 },
		{ "twelve chars\n", "twelve\n    chars\n", 11 },
		{ "  a table's   row    and  its last\n", "  a table's   row\n      and  its\n      last\n", 18 },
		{ "  averyveryverylongword and more\n", "  averyveryverylongword\n     and\n     more\n", 10 },
		{ "\xc3\xa4\xc3\xb6\xc3\xbc \xc3\xa4\n", "\xc3\xa4\xc3\xb6\xc3\xbc \xc3\xa4\n", 5 },
		{ "trailing      \nno end", "trailing\nno end\n", 8 },
		{ "", "", 80 },
	};
	char *shown;
	size_t i, size;
	FILE *out;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		out = open_memstream(&shown, &size);
		assert_non_null(out);
		fold_print(cases[i].text, cases[i].width, out);
		fclose(out);
		assert_string_equal(shown, cases[i].shown);
		free(shown);
	}
}

static void varints_are_64_bits_at_most(void **state)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX };
	static const uint8_t too_long[] = "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", too_large[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
	const uint8_t *p, *end;
	struct buf b = BUF_INIT;
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(*values); i++) {
		buf_clear(&b);
		varint_put(&b, values[i]);
		p = (const uint8_t *)b.data;
		end = p + b.len;
		assert_true(varint_get(&p, end, &v) && v == values[i] && p == end);
		p = (const uint8_t *)b.data;
		assert_false(varint_get(&p, end - 1, &v));
		assert_true(v == 0 && p == (const uint8_t *)b.data);
	}
	p = too_long;
	assert_false(varint_get(&p, too_long + 10, &v) || v || p != too_long);
	p = too_large;
	assert_false(varint_get(&p, too_large + 10, &v) || v || p != too_large);
	buf_done(&b);
}

static void temporary_files_have_no_name(void **state)
{
	int fd = temp_file("/nowhere"); /* then one of the others */
	char text[4] = "";

	assert_true(fd >= 0);
	assert_int_equal(temp_write(fd, "abc", 3), 0);
	assert_int_equal(pread(fd, text, 3, 0), 3);
	assert_string_equal(text, "abc");
	close(fd);
	assert_int_equal(temp_write(-1, "abc", 3), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_tells_a_story),
		cmocka_unit_test(json_escapes_what_is_hostile),
		cmocka_unit_test(hist_buckets_are_narrow_and_merge),
		cmocka_unit_test(options_parse),
		cmocka_unit_test(lists_of_names_are_bits),
		cmocka_unit_test(units_are_short),
		cmocka_unit_test(lines_are_folded_at_spaces),
		cmocka_unit_test(varints_are_64_bits_at_most),
		cmocka_unit_test(temporary_files_have_no_name),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
