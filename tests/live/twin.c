/* The same events as twin/main.go: twin.py compares what lies in the two regions. */
#include "gander/gander.h"

static const struct gander_label kinds[] = { { "circle", 1, 1 }, { "square", 2, 2 } };

GANDER_STRUCT(point, (i32, x), (f64, y))
GANDER_EVENT(on_none, "twin.none", GANDER_NOTICE)
GANDER_EVENT(on_ints, "twin.ints", GANDER_INFO, (i8, a), (u16, b), (i32, c), (u64, d))
GANDER_EVENT(on_text, "twin.text", GANDER_WARNING, (i64, n), (text, s), (bytes, raw), (f32, f), (boolean, ok))
GANDER_EVENT(on_lists, "twin.lists", GANDER_DEBUG, (seq_i64, longs), (duration, took), (seq_u16, shorts), (hex64, addr))
GANDER_EVENT(on_shape, "twin.shape", GANDER_ERROR, (enumeration, kind, kinds), (record, at, point), (arr_i16, m, 3))

int main(void)
{
	static const int64_t longs[] = { -1, 2, 1ll << 40 };
	static const uint16_t shorts[] = { 65535, 7 };
	static const int16_t m[] = { 1, -2, 3 };
	static const char many[300] = { 'x', 'y', 'z' };
	static char large[70000];
	struct point at = { -7, 2.5 };
	size_t i;

	on_none();
	for (i = 0; i < 5; i++)
		on_ints((int8_t)(-3 + (int)i), (uint16_t)(65533 + i), -(int32_t)i, 1ull << (60 + i % 4));
	for (i = 0; i < 40; i++)
		on_text((int64_t)i - 20, many, i * 7, many, 40 - i, 1.5f * (float)i, i % 2);
	on_text(1, "", 0, "", 0, 0, false);
	on_text(2, large, sizeof(large), "abc", 3, 1, true);
	on_lists(longs, 3, 1500000000, shorts, 2, 0xdeadbeefull);
	on_lists(NULL, 0, 0, NULL, 0, 0);
	on_shape(2, &at, m);
	return 0;
}
