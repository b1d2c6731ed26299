#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pprof/pprof.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* Writes a small profile; returns it uncompressed. */
static size_t profile(unsigned char *to, size_t cap)
{
	struct err err = ERR_INIT;
	struct pprof *p;
	char *gz = NULL;
	size_t gz_len = 0;
	FILE *out = open_memstream(&gz, &gz_len);
	int64_t v[2] = { 3, 4500 };
	uint64_t loc[2];
	struct pprof_label labels[] = { { "reason", "select", 0, NULL }, { "bytes", NULL, 7, "bytes" } };
	z_stream z = { 0 };

	assert_int_equal(pprof_open(&p, out, &err), 0);
	pprof_sample_type(p, "contentions", "count");
	pprof_sample_type(p, "delay", "nanoseconds");
	pprof_period(p, "trace", "count", 1);
	loc[0] = pprof_location(p, 0x1000, "main.leaf", "main.go", 7);
	loc[1] = pprof_location(p, 0x2000, "main.main", "main.go", 9);
	assert_int_equal(pprof_location(p, 0x1000, "main.leaf", "main.go", 7), loc[0]);
	assert_int_not_equal(pprof_location(p, 0x1000, "main.leaf", "main.go", 8), loc[0]); /* an inlined call: same pc, other line */
	pprof_sample(p, loc, 2, v, labels, 2);
	assert_int_equal(pprof_finish(p, &err), 0);
	pprof_free(p);
	fclose(out);
	assert_int_equal(inflateInit2(&z, 16 + 15), Z_OK);
	z.next_in = (unsigned char *)gz;
	z.avail_in = (unsigned)gz_len;
	z.next_out = to;
	z.avail_out = (unsigned)cap;
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	inflateEnd(&z);
	free(gz);
	return z.total_out;
}

static void messages_are_profile_proto(void **state)
{
	unsigned char b[4096];
	size_t n = profile(b, sizeof(b));
	/* string 0 is "", then the first sample type's strings and its ValueType{1, 2} */
	static const char head[] = "\x32\x00\x32\x0b"
				   "contentions\x32\x05"
				   "count\x0a\x04\x08\x01\x10\x02";
	/* Sample{location_id: [1 2], value: [3 4500], label: {reason select}, label: {bytes 7 bytes}} */
	static const char sample[] = "\x0a\x02\x01\x02\x12\x03\x03\x94\x23\x1a\x04";

	assert_memory_equal(b, head, sizeof(head) - 1);
	assert_non_null(memmem(b, n, sample, sizeof(sample) - 1));
}

static void a_full_disk_is_told(void **state)
{
	struct err err = ERR_INIT;
	struct pprof *p;
	FILE *out = fopen("/dev/full", "w");

	assert_non_null(out);
	assert_int_equal(pprof_open(&p, out, &err), 0);
	pprof_sample_type(p, "samples", "count");
	assert_int_equal(pprof_finish(p, &err), -ENOSPC);
	assert_string_equal(err.text, "cannot write the profile: No space left on device");
	pprof_free(p);
	fclose(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_profile_proto),
		cmocka_unit_test(a_full_disk_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
