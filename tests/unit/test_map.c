#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hist.h"
#include "base/map.h"

#include <string.h>

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Against a plain array as the model: keys 0..499, random puts and deletes. */
static void map_agrees_with_an_array(void **state)
{
	struct map m = { 0 };
	uint64_t model[500] = { 0 }, seed = 42, at = 0, key, val;
	unsigned n = 0, i;

	for (i = 0; i < 200000; i++) {
		uint64_t r = next_random(&seed), k = r % 500;
		bool added;

		if (r & 0x100000) {
			uint64_t *v = map_put(&m, k, &added);

			assert_int_equal(added, !model[k]);
			model[k] = *v = i + 1;
		} else {
			assert_int_equal(map_del(&m, k), model[k] != 0);
			model[k] = 0;
		}
		if (i % 1000 == 0)
			for (k = 0; k < 500; k++)
				assert_int_equal(map_get(&m, k, 0), model[k]);
	}
	for (i = 0; i < 500; i++)
		n += model[i] != 0;
	while (map_next(&m, &at, &key, &val)) {
		assert_int_equal(model[key], val);
		n--;
	}
	assert_int_equal(n, 0);
	map_done(&m);
}

static void intern_gives_one_id_a_text(void **state)
{
	struct intern t = { 0 };
	bool added;
	int i;

	assert_int_equal(intern_bytes(&t, "", 0, &added), 0);
	assert_true(added);
	for (i = 0; i < 5000; i++) {
		uint32_t k[3] = { (uint32_t)i, 0, 7 };

		assert_int_equal(intern_bytes(&t, k, sizeof(k), &added), i + 1);
		assert_true(added);
	}
	for (i = 0; i < 5000; i++) {
		uint32_t k[3] = { (uint32_t)i, 0, 7 };

		assert_int_equal(intern_bytes(&t, k, sizeof(k), &added), i + 1);
		assert_false(added);
	}
	assert_int_equal(intern_bytes(&t, "main.main", 9, NULL), 5001);
	assert_string_equal(intern_text(&t, 5001), "main.main");
	intern_done(&t);
}

/* The lean histogram is the plain one, bucket by bucket, also after a merge. */
static void lean_equals_plain(void **state)
{
	static struct hist plain;
	struct hist_lean a = { 0 }, b = { 0 };
	uint64_t seed = 7, low, high;
	int i;
	unsigned k;

	for (i = 0; i < 20000; i++) {
		uint64_t v = next_random(&seed) >> (next_random(&seed) % 64);

		hist_add(&plain, v);
		hist_lean_add(i & 1 ? &a : &b, v);
	}
	hist_lean_merge(&a, &b);
	assert_int_equal(a.count, plain.count);
	assert_int_equal(a.sum, plain.sum);
	assert_int_equal(a.min, plain.min);
	assert_int_equal(a.max, plain.max);
	for (k = 0; k < HIST_BUCKETS; k++)
		assert_int_equal(hist_lean_bucket(&a, k), plain.bucket[k]);
	for (i = 0; i <= 100; i++)
		assert_int_equal(hist_lean_quantile(&a, i / 100.), hist_quantile(&plain, i / 100.));
	hist_lean_quantile_ci(&a, 0.5, &low, &high);
	assert_true(low <= hist_lean_quantile(&a, 0.5) && high >= hist_lean_quantile(&a, 0.5) && low < high);
	hist_lean_done(&a);
	hist_lean_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_agrees_with_an_array),
		cmocka_unit_test(intern_gives_one_id_a_text),
		cmocka_unit_test(lean_equals_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
