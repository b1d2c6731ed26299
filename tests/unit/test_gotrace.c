/* The trace reader on small traces (those of the fuzz corpus): cut at every byte, damaged at random, read by every way in. */
#include "gotrace/gotrace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct file {
	char name[256];
	uint8_t *data;
	size_t size;
	uint64_t events;
	bool sound; /* it reads without an error */
};

static struct file files[32];
static int nfiles;

/* Reads it all: the number of events; *ret is how it ended. */
static uint64_t read_all(const void *data, size_t size, int *ret, struct gander_err *err)
{
	struct gander_gotrace *t;
	struct gander_gotrace_event ev;
	uint64_t n = 0;

	*ret = gander_gotrace_open_mem(&t, data, size, NULL, err);
	if (*ret < 0)
		return 0;
	while ((*ret = gander_gotrace_next(t, &ev, err)) > 0)
		n++;
	gander_gotrace_free(t);
	return n;
}

static int setup(void **state)
{
	struct gander_err err;
	struct dirent *d;
	DIR *dir = opendir(CORPUS);
	char path[512];
	FILE *f;
	int r;

	if (!dir)
		return -1;
	while ((d = readdir(dir)) && nfiles < 32) {
		if (*d->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", CORPUS, d->d_name);
		f = fopen(path, "rb");
		if (!f)
			return -1;
		snprintf(files[nfiles].name, sizeof(files[nfiles].name), "%s", d->d_name);
		files[nfiles].data = malloc(1 << 16);
		files[nfiles].size = fread(files[nfiles].data, 1, 1 << 16, f);
		fclose(f);
		files[nfiles].events = read_all(files[nfiles].data, files[nfiles].size, &r, &err);
		files[nfiles].sound = r == 0;
		nfiles++;
	}
	closedir(dir);
	return 0;
}

static int teardown(void **state)
{
	while (nfiles > 0)
		free(files[--nfiles].data);
	return 0;
}

static void reads_every_format(void **state)
{
	bool seen[27] = { false };
	int i;

	for (i = 0; i < nfiles; i++)
		if (files[i].sound && files[i].events > 10)
			seen[(files[i].data[5] - '0') * 10 + files[i].data[6] - '0'] = true;
	assert_true(seen[11] && seen[19] && seen[21] && seen[22] && seen[23] && seen[25] && seen[26]);
}

/* Opening a trace takes megabytes, which a sanitizer pays for each time. */
#ifdef __SANITIZE_ADDRESS__
#define DAMAGED      40
#define CUT_STEP(sz) ((sz) > 4500 ? 7 : 1)
#else
#define DAMAGED      300
#define CUT_STEP(sz) 1
#endif

/* Each prefix, at an address behind whose end nothing may be touched. */
static void cut_at_every_byte(void **state)
{
	struct gander_err err;
	uint64_t n;
	size_t len;
	uint8_t *copy;
	int i, r;

	for (i = 0; i < nfiles; i++) {
		if (!files[i].sound)
			continue;
		for (len = 0; len < files[i].size; len += CUT_STEP(files[i].size)) {
			copy = malloc(len ? len : 1);
			memcpy(copy, files[i].data, len);
			err = (struct gander_err)GANDER_ERR_INIT;
			n = read_all(copy, len, &r, &err);
			free(copy);
			if (n > files[i].events)
				fail_msg("%s cut at %zu: %llu events of %llu", files[i].name, len, (unsigned long long)n,
					 (unsigned long long)files[i].events);
			if (r < 0 && (err.code != r || !*err.text))
				fail_msg("%s cut at %zu: no reason given", files[i].name, len);
			if (len < 16 && r >= 0)
				fail_msg("%s cut at %zu: no error", files[i].name, len);
		}
	}
}

static void damaged_at_random(void **state)
{
	uint64_t x = 88172645463325252u;
	struct gander_err err;
	uint8_t *copy;
	int i, k, j, r;

	for (i = 0; i < nfiles; i++) {
		for (k = 0; k < 400; k++) {
			copy = malloc(files[i].size);
			memcpy(copy, files[i].data, files[i].size);
			for (j = 0; j <= k % 4; j++) {
				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				copy[16 + x % (files[i].size - 16)] = (uint8_t)(x >> 32);
			}
			err = (struct gander_err)GANDER_ERR_INIT;
			read_all(copy, files[i].size, &r, &err);
			if (r < 0 && (err.code != r || !*err.text))
				fail_msg("%s damaged (%d): no reason given", files[i].name, k);
			free(copy);
		}
	}
}

/* Counting takes another way through the trace: the same events of each kind, and the same error. */
static void count_and_compare(const char *name, const void *data, size_t size)
{
	uint64_t counted[GANDER_GOTRACE_KINDS], read[GANDER_GOTRACE_KINDS] = { 0 };
	struct gander_err err = GANDER_ERR_INIT, err_read = GANDER_ERR_INIT;
	struct gander_gotrace_event ev;
	struct gander_gotrace *t;
	int r, r_read;

	if (gander_gotrace_open_mem(&t, data, size, NULL, &err) < 0)
		return;
	r = gander_gotrace_count(t, counted, &err);
	gander_gotrace_free(t);
	assert_int_equal(gander_gotrace_open_mem(&t, data, size, NULL, &err_read), 0);
	while ((r_read = gander_gotrace_next(t, &ev, &err_read)) > 0)
		read[ev.kind]++;
	gander_gotrace_free(t);
	if (r != r_read || memcmp(counted, read, sizeof(read)) || strcmp(err.text, err_read.text))
		fail_msg("%s: counting ends with %d (%s), reading with %d (%s)", name, r, err.text, r_read, err_read.text);
}

static void counts_what_it_reads(void **state)
{
	uint64_t x = 88172645463325252u;
	uint8_t *copy, *p;
	int i, k, j;

	for (i = 0; i < nfiles; i++) {
		count_and_compare(files[i].name, files[i].data, files[i].size);
		copy = malloc(files[i].size);
		for (k = 0; k < DAMAGED; k++) {
			memcpy(copy, files[i].data, files[i].size);
			for (j = 0; j <= k % 3; j++) {
				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				p = &copy[16 + x % (files[i].size - 16)];
				*p = x >> 62 ? (uint8_t)(*p + (x >> 63 ? 1 : 255)) : (uint8_t)(x >> 40); /* a little different: a time, a number, a goroutine */
			}
			count_and_compare(files[i].name, copy, files[i].size);
		}
		free(copy);
	}
}

/* A thread has more events than a slice of the counting takes, all at the least time there is. */
static void counts_the_earliest_times(void **state)
{
	/* batches begin with their type, generation, thread, time and length */
	static const uint8_t begin[] = "go 1.22 trace\0\0\0"
				       "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x05\x05\x08\xa8\xd6\xb9\x07" /* a frequency */
				       "\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x04\x0d\x00\x00\x01";    /* P 0 runs */
	static const uint8_t batch[] = "\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xb8\x8e\x03";
	static const uint8_t metric[] = "\x25\x00\x01";
	enum { EVENTS = 17000,
	       BATCHES = 4 };
	uint8_t *data = malloc(sizeof(begin) + BATCHES * (sizeof(batch) + EVENTS * 3)), *p = data;
	unsigned i, k;

	assert_non_null(data);
	p = mempcpy(p, begin, sizeof(begin) - 1);
	for (i = 0; i < BATCHES; i++) {
		p = mempcpy(p, batch, sizeof(batch) - 1);
		for (k = 0; k < EVENTS; k++)
			p = mempcpy(p, metric, 3);
	}
	count_and_compare("the earliest times", data, (size_t)(p - data));
	free(data);
}

static void refuses_what_is_no_trace(void **state)
{
	static const struct {
		const char *data;
		size_t size;
		int code;
		const char *text;
	} cases[] = {
		{ "", 0, -EPROTO, "empty" },
		{ "go 1.2", 6, -EPROTO, "ends after 6 bytes" },
		{ "hello world, this is no trace", 29, -EPROTO, "does not begin" },
		{ "go 1.5 trace\0\0\0\0", 16, -EPROTO, "does not begin" },
		{ "go 1.09 trace\0\0\0", 16, -ENOTSUP, "go 1.9" },
		{ "go 1.24 trace\0\0\0", 16, -ENOTSUP, "go 1.24" },
		{ "go 1.99 trace\0\0\0", 16, -ENOTSUP, "go 1.99" },
	};
	struct gander_gotrace *t;
	struct gander_err err;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		err = (struct gander_err)GANDER_ERR_INIT;
		assert_int_equal(gander_gotrace_open_mem(&t, cases[i].data, cases[i].size, NULL, &err), cases[i].code);
		assert_non_null(strstr(err.text, cases[i].text));
	}
	assert_int_equal(gander_gotrace_open(&t, "/nonexistent/trace", NULL, &err), -ENOENT);
}

struct drip {
	const struct file *f;
	size_t at;
};

static int64_t drip_read(void *arg, void *to, size_t size)
{
	struct drip *d = arg;
	size_t n = d->f->size - d->at;

	if (n > 7)
		n = 7;
	if (n > size)
		n = size;
	memcpy(to, d->f->data + d->at, n);
	d->at += n;
	return (int64_t)n;
}

/* Memory, a callback that gives seven bytes at a time, a descriptor, counting: one outcome. */
static void every_way_in(void **state)
{
	uint64_t counts[GANDER_GOTRACE_KINDS], n;
	struct gander_gotrace_event ev;
	struct gander_gotrace *t;
	struct gander_err err;
	struct drip d;
	char path[512];
	int i, k, fd;

	for (i = 0; i < nfiles; i++) {
		if (!files[i].sound)
			continue;
		d = (struct drip) { &files[i], 0 };
		assert_int_equal(gander_gotrace_open_read(&t, drip_read, &d, NULL, &err), 0);
		for (n = 0; gander_gotrace_next(t, &ev, &err) > 0; n++)
			;
		assert_int_equal(n, files[i].events);
		gander_gotrace_free(t);

		snprintf(path, sizeof(path), "%s/%.200s", CORPUS, files[i].name);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		assert_int_equal(gander_gotrace_open_fd(&t, fd, NULL, &err), 0);
		assert_int_equal(gander_gotrace_next(t, &ev, &err), 1);
		assert_int_equal(ev.kind, GANDER_GOTRACE_SYNC);
		assert_int_equal(gander_gotrace_count(t, counts, &err), 0);
		for (n = 1, k = 0; k < GANDER_GOTRACE_KINDS; k++)
			n += counts[k];
		assert_int_equal(n, files[i].events);
		gander_gotrace_free(t);
		assert_int_equal(close(fd), 0); /* it stayed the caller's */
	}
}

static int64_t failing_read(void *arg, void *to, size_t size)
{
	return -ECONNRESET;
}

static void hands_on_read_errors(void **state)
{
	struct gander_gotrace *t;
	struct gander_err err;

	assert_int_equal(gander_gotrace_open_read(&t, failing_read, NULL, NULL, &err), -ECONNRESET);
}

/* A generation that never ends is refused at the limit. */
static void bounded_generation(void **state)
{
	struct gander_gotrace_opts opts = GANDER_GOTRACE_OPTS_INIT;
	struct gander_gotrace_event ev;
	struct gander_gotrace *t;
	struct gander_err err = GANDER_ERR_INIT;
	size_t size = 16 << 20, at = 16;
	uint8_t *data = calloc(1, size);
	int r;

	memcpy(data, "go 1.26 trace\0\0\0", 16);
	while (at + 5 <= size) { /* empty batches of generation 1 */
		data[at] = data[at + 1] = 1;
		at += 5;
	}
	opts.max_generation_bytes = 1 << 20;
	assert_int_equal(gander_gotrace_open_mem(&t, data, size, &opts, &err), 0);
	while ((r = gander_gotrace_next(t, &ev, &err)) > 0)
		;
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(err.text, "generation 1"));
	gander_gotrace_free(t);
	free(data);
}

/* Ids mean one content: interned strings and stacks are all different. */
static void interned(void **state)
{
	struct gander_gotrace_event ev;
	struct gander_gotrace *t;
	struct gander_err err;
	uint32_t i, j;
	int k;

	for (k = 0; k < nfiles; k++) {
		if (!files[k].sound)
			continue;
		assert_int_equal(gander_gotrace_open_mem(&t, files[k].data, files[k].size, NULL, &err), 0);
		while (gander_gotrace_next(t, &ev, &err) > 0)
			;
		for (i = 1; i < gander_gotrace_strings(t); i++) {
			assert_int_equal(gander_gotrace_find_string(t, gander_gotrace_string(t, i)), i);
			for (j = 1; j < i; j++)
				assert_string_not_equal(gander_gotrace_string(t, i), gander_gotrace_string(t, j));
		}
		assert_true(gander_gotrace_stacks(t) > 1);
		assert_string_equal(gander_gotrace_string(t, gander_gotrace_strings(t)), "");
		gander_gotrace_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_format),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(damaged_at_random),
		cmocka_unit_test(counts_what_it_reads),
		cmocka_unit_test(counts_the_earliest_times),
		cmocka_unit_test(refuses_what_is_no_trace),
		cmocka_unit_test(every_way_in),
		cmocka_unit_test(hands_on_read_errors),
		cmocka_unit_test(bounded_generation),
		cmocka_unit_test(interned),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
