/* Traces written again, on the small ones of the fuzz corpus: whole, in part, torn at every byte. What is written must read to its end. */
#include "../lib/memread.h"
#include "export/export.h"
#include "gotrace/gotrace.h"
#include "gotrace/gotrace_internal.h"
#include "gotrace/gotrace_v2.h"
#include "gotrace/gotrace_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
	char name[256];
	uint8_t *data;
	size_t size;
};

static struct file files[32];
static int nfiles;

static int setup(void **state)
{
	DIR *dir = opendir(CORPUS);
	struct dirent *d;
	char path[512];
	FILE *f;

#ifdef __GLIBC__
	/* Opening a trace takes megabytes, which would be given back to the kernel, and touched anew, thousands of times. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
	if (!dir)
		return -1;
	while ((d = readdir(dir)) && nfiles < 32) {
		if (strncmp(d->d_name, "go-1.2", 6))
			continue;
		snprintf(path, sizeof(path), "%s/%s", CORPUS, d->d_name);
		f = fopen(path, "rb");
		if (!f)
			return -1;
		snprintf(files[nfiles].name, sizeof(files[nfiles].name), "%s", d->d_name);
		files[nfiles].data = malloc(1 << 16);
		files[nfiles].size = fread(files[nfiles].data, 1, 1 << 16, f);
		fclose(f);
		nfiles++;
	}
	closedir(dir);
	return nfiles ? 0 : -1;
}

static int teardown(void **state)
{
	while (nfiles > 0)
		free(files[--nfiles].data);
	return 0;
}

static bool same_event(struct gander_gotrace *s, const struct gander_gotrace_event *a, struct gander_gotrace *t, const struct gander_gotrace_event *b)
{
	const uint32_t *x, *y;
	unsigned n = gander_gotrace_stack(s, a->stack, &x), i;

	if (a->time_ns != b->time_ns || a->thread != b->thread || a->proc != b->proc || a->goroutine != b->goroutine || a->kind != b->kind ||
	    gander_gotrace_stack(t, b->stack, &y) != n)
		return false;
	for (i = 0; i < n; i++)
		if (gander_gotrace_frame(s, x[i])->pc != gander_gotrace_frame(t, y[i])->pc)
			return false;
	if (a->kind == GANDER_GOTRACE_STATE_TRANSITION)
		return a->transition.id == b->transition.id && a->transition.from == b->transition.from && a->transition.to == b->transition.to &&
		       !strcmp(gander_gotrace_string(s, a->transition.reason), gander_gotrace_string(t, b->transition.reason));
	if (a->kind == GANDER_GOTRACE_LOG)
		return !strcmp(a->log.message, b->log.message);
	if (a->kind == GANDER_GOTRACE_SYNC)
		return a->sync.n == b->sync.n && a->sync.trace_ns == b->sync.trace_ns && a->sync.wall_sec == b->sync.wall_sec &&
		       a->sync.wall_nsec == b->sync.wall_nsec && a->sync.mono_ns == b->sync.mono_ns;
	return true;
}

/* A sound trace comes out as it went in, event for event. */
static void whole(void **state)
{
	struct gander_gotrace_event a, b;
	struct gander_gotrace *s, *t;
	struct gorepair_stats stats;
	struct err err;
	char *out;
	size_t len;
	FILE *f;
	int k, r;

	for (k = 0; k < nfiles; k++) {
		struct memory m = { files[k].data, files[k].size };

		f = open_memstream(&out, &len);
		assert_int_equal(gorepair_run(read_memory, &m, f, &stats, &err), 0);
		fclose(f);
		assert_int_equal(stats.damage.code, 0);
		assert_false(stats.left_out);
		assert_int_equal(gander_gotrace_open_mem(&s, files[k].data, files[k].size, NULL, NULL), 0);
		assert_int_equal(gander_gotrace_open_mem(&t, out, len, NULL, NULL), 0);
		do {
			r = gander_gotrace_next(s, &a, NULL);
			assert_int_equal(gander_gotrace_next(t, &b, NULL), r);
			if (r > 0)
				assert_true(same_event(s, &a, t, &b));
		} while (r > 0);
		assert_int_equal(r, 0);
		gander_gotrace_free(s);
		gander_gotrace_free(t);
		free(out);
	}
}

/* The number of events of a trace that must be sound. */
static uint64_t sound(const void *data, size_t size, const char *of, size_t at)
{
	uint64_t counts[GANDER_GOTRACE_KINDS], n = 0;
	struct gander_err err = GANDER_ERR_INIT;
	struct gander_gotrace *t;
	unsigned i;

	if (gander_gotrace_open_mem(&t, data, size, NULL, &err) < 0)
		fail_msg("%s, %zu: %s", of, at, err.text);
	if (gander_gotrace_count(t, counts, &err) < 0)
		fail_msg("%s, %zu: %s", of, at, err.text);
	gander_gotrace_free(t);
	for (i = 0; i < GANDER_GOTRACE_KINDS; i++)
		n += counts[i];
	return n;
}

/* Torn at every byte: an error, or a trace, which has the more events the later it was torn. */
static void torn(void **state)
{
	struct gorepair_stats stats;
	uint64_t n, before;
	struct err err;
	size_t at, len;
	char *out;
	FILE *f;
	int k, r;

	for (k = 0; k < nfiles; k++)
		for (at = 0, before = 0; at <= files[k].size; at++) {
			struct memory m = { files[k].data, at };

			f = open_memstream(&out, &len);
			err = (struct err)ERR_INIT;
			r = gorepair_run(read_memory, &m, f, &stats, &err);
			fclose(f);
			if (r < 0) {
				assert_true(*err.text);
				assert_int_equal(before, 0);
			} else {
				n = sound(out, len, files[k].name, at);
				assert_true(n + 1 >= before); /* the frequency may come late; till then times are the default's */
				before = n;
				assert_int_equal(stats.damage.code, at == files[k].size || !stats.damage.code ? 0 : -EPROTO);
			}
			free(out);
		}
}

/* Opening a trace takes megabytes, which a sanitizer pays for each time. */
#ifdef __SANITIZE_ADDRESS__
#define DAMAGED 100
#else
#define DAMAGED 1000
#endif

/* Bytes changed at random. */
static void damaged(void **state)
{
	struct gorepair_stats stats;
	uint8_t copy[1 << 16];
	struct err err;
	unsigned i, j;
	size_t len;
	char *out;
	FILE *f;
	int k, r;

	srand(1);
	for (k = 0; k < nfiles; k++)
		for (i = 0; i < DAMAGED; i++) {
			struct memory m = { copy, files[k].size };

			memcpy(copy, files[k].data, files[k].size);
			for (j = 0; j <= i % 3; j++)
				copy[16 + (size_t)rand() % (files[k].size - 16)] = (uint8_t)rand();
			f = open_memstream(&out, &len);
			err = (struct err)ERR_INIT;
			r = gorepair_run(read_memory, &m, f, &stats, &err);
			fclose(f);
			if (r < 0)
				assert_true(*err.text);
			else
				sound(out, len, files[k].name, i);
			free(out);
		}
}

/* Each tenth of each trace, with all goroutines and with some. */
static void parts(void **state)
{
	const uint64_t some[] = { 1, 6, 18 };
	struct gocut_stats stats;
	struct gander_gotrace_event ev;
	struct gander_gotrace *t;
	int64_t first, last;
	struct err err;
	size_t len;
	char *out;
	FILE *f;
	int k, i, r;

	for (k = 0; k < nfiles; k++) {
		assert_int_equal(gander_gotrace_open_mem(&t, files[k].data, files[k].size, NULL, NULL), 0);
		assert_int_equal(gander_gotrace_next(t, &ev, NULL), 1);
		first = last = ev.time_ns;
		while (gander_gotrace_next(t, &ev, NULL) > 0)
			last = ev.time_ns;
		gander_gotrace_free(t);
		for (i = 0; i < 20; i++) {
			struct gocut_opts o = { .from_ns = (uint64_t)(last - first) / 10 * (uint64_t)(i / 2) };

			o.to_ns = o.from_ns + (uint64_t)(last - first) / 5;
			if (i % 2) {
				o.goroutine = some;
				o.ngoroutine = 3;
			}
			assert_int_equal(gander_gotrace_open_mem(&t, files[k].data, files[k].size, NULL, NULL), 0);
			f = open_memstream(&out, &len);
			r = gocut_run(t, f, &o, &stats, &err);
			fclose(f);
			gander_gotrace_free(t);
			if (r < 0)
				assert_int_equal(r, -ENOENT); /* nothing happened then */
			else
				sound(out, len, files[k].name, (size_t)i);
			free(out);
		}
	}
}

/* Two threads, each of which hands over from one goroutine to another, the second at once behind the first: three events are told of by one, and
 * what the writer says of the program where it begins may not stand at their times. */
static void handovers(void **state)
{
	enum { P0 = 0,
	       M1 = 11,
	       M2 = 12,
	       BEGIN = 10000 };
	struct gander_gotrace_event ev = { .time_ns = 1, .thread = GANDER_GOTRACE_NONE, .proc = GANDER_GOTRACE_NONE, .goroutine = GANDER_GOTRACE_NONE, .kind = GANDER_GOTRACE_SYNC, .wire = EV_READER_SYNC };
	const struct gowrite_opts o = { NULL };
	struct gander_gotrace *s, *t;
	struct gowrite *w;
	unsigned i, j, seen = 0, told = 0;
	struct err err;
	size_t len;
	char *out;
	FILE *f;

	assert_int_equal(gander_gotrace_open_mem(&s, "go 1.26 trace\0\0", 16, NULL, NULL), 0);
	f = open_memstream(&out, &len);
	assert_int_equal(gowrite_new(&w, s, f, &o, &err), 0);
	ev.sync.n = 1;
	assert_int_equal(gowrite_event(w, &ev, &err), 0);
	for (i = 0; i < 2; i++) {
		memset(&ev.transition, 0, sizeof(ev.transition));
		ev.time_ns = 10 + i * 10;
		ev.kind = GANDER_GOTRACE_STATE_TRANSITION;
		ev.thread = i ? M2 : M1;
		ev.proc = ev.goroutine = GANDER_GOTRACE_NONE;
		ev.wire = EV_PROC_STATUS;
		ev.transition.resource = GANDER_GOTRACE_RES_PROC;
		ev.transition.id = P0 + i;
		ev.transition.to = GANDER_GOTRACE_PROC_RUNNING;
		ev.transition.status = PROC_RUNNING;
		assert_int_equal(gowrite_event(w, &ev, &err), 0);
		ev.time_ns++;
		ev.proc = P0 + i;
		ev.wire = EV_GO_STATUS;
		ev.transition.resource = GANDER_GOTRACE_RES_GOROUTINE;
		ev.transition.status = 0;
		ev.transition.id = 1 + 2 * i;
		ev.transition.to = GANDER_GOTRACE_GO_RUNNING;
		assert_int_equal(gowrite_event(w, &ev, &err), 0);
		ev.time_ns++;
		ev.thread = ev.proc = GANDER_GOTRACE_NONE;
		ev.transition.id = 2 + 2 * i;
		ev.transition.to = GANDER_GOTRACE_GO_WAITING;
		assert_int_equal(gowrite_event(w, &ev, &err), 0);
	}
	memset(&ev.metric, 0, sizeof(ev.metric));
	ev.kind = GANDER_GOTRACE_METRIC;
	ev.thread = M1;
	ev.proc = P0;
	ev.goroutine = 1;
	for (i = 0; i < 2; i++) {
		ev.time_ns = 100 + i;
		ev.wire = i ? EV_HEAP_GOAL : EV_PROCS_CHANGE;
		ev.metric.value = i ? 4 << 20 : 2;
		assert_int_equal(gowrite_event(w, &ev, &err), 0);
	}
	assert_int_equal(gowrite_begin(w, BEGIN, &err), 0);
	ev.kind = GANDER_GOTRACE_STATE_TRANSITION;
	ev.wire = EV_GO_SWITCH;
	for (i = 0; i < 3; i++) { /* a second round, long after, so that there is a time at which to say it */
		static const uint8_t from[] = { GANDER_GOTRACE_GO_WAITING, GANDER_GOTRACE_GO_RUNNING, GANDER_GOTRACE_GO_RUNNABLE };
		static const uint8_t to[] = { GANDER_GOTRACE_GO_RUNNABLE, GANDER_GOTRACE_GO_WAITING, GANDER_GOTRACE_GO_RUNNING };
		static const struct {
			int64_t time, this, next;
		} over[] = { { BEGIN, 1, 2 }, { BEGIN + 3, 3, 4 }, { BEGIN + 1000, 2, 1 } };

		ev.thread = i % 2 ? M2 : M1;
		ev.proc = P0 + i % 2;
		for (j = 0; j < 3; j++) {
			memset(&ev.transition, 0, sizeof(ev.transition));
			ev.time_ns = over[i].time + j;
			ev.goroutine = j < 2 ? over[i].this : GANDER_GOTRACE_NONE;
			ev.transition.resource = GANDER_GOTRACE_RES_GOROUTINE;
			ev.transition.id = j == 1 ? over[i].this : over[i].next;
			ev.transition.from = from[j];
			ev.transition.to = to[j];
			assert_int_equal(gowrite_event(w, &ev, &err), 0);
		}
	}
	assert_int_equal(gowrite_end(w, &err), 0);
	gowrite_free(w);
	fclose(f);
	gander_gotrace_free(s);
	assert_int_equal(gander_gotrace_open_mem(&t, out, len, NULL, NULL), 0);
	while (gander_gotrace_next(t, &ev, NULL) > 0) {
		if (ev.kind == GANDER_GOTRACE_STATE_TRANSITION && ev.transition.from != GANDER_GOTRACE_GO_UNDETERMINED) {
			assert_int_equal(ev.time_ns, BEGIN + (seen < 6 ? seen : 994 + seen));
			seen++;
		} else if (ev.kind == GANDER_GOTRACE_METRIC) {
			assert_in_range(ev.time_ns, BEGIN + 6, BEGIN + 999);
			told++;
		}
	}
	assert_int_equal(seen, 9);
	assert_int_equal(told, 2);
	gander_gotrace_free(t);
	free(out);
}

static void refuses(void **state)
{
	static const char *const bad[] = { "", "no trace", "go 1.99 trace\0\0", "go 1.26 trace\0\0" };
	struct gorepair_stats stats;
	struct err err;
	size_t i, len;
	char *out;
	FILE *f;

	for (i = 0; i < 4; i++) {
		struct memory m = { (const uint8_t *)bad[i], i < 2 ? strlen(bad[i]) : 16 };

		f = open_memstream(&out, &len);
		err = (struct err)ERR_INIT;
		assert_true(gorepair_run(read_memory, &m, f, &stats, &err) < 0);
		assert_true(*err.text);
		fclose(f);
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(torn),
		cmocka_unit_test(damaged),
		cmocka_unit_test(parts),
		cmocka_unit_test(handovers),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
