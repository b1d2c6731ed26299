#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../lib/mkkernel.h"
#include "gotrace/gotrace.h"
#include "timeline/timeline.h"

#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

static char top[64], path[4][300];

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(name);
}

static int set_up(void **state)
{
	unsigned i;

	snprintf(top, sizeof(top), "/tmp/gander-timeline-XXXXXX");
	assert_non_null(mkdtemp(top));
	for (i = 0; i < 4; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%u", top, i);
	return 0;
}

static int tear_down(void **state)
{
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A trace of events called NAME with a number, at these counter values. epoch: what the trace says that counter 0 was on the wall clock. */
static void make(const char *dir, const char *name, uint8_t boot, const char *host, uint64_t freq, uint64_t epoch, const uint64_t *at, unsigned n)
{
	struct ctf_writer_opts wo = { .dir = dir, .version = 1, .pid = 7, .procname = "prog", .hostname = host };
	struct ctf_piece p = { .fd = -1 };
	struct buf desc = BUF_INIT, events = BUF_INIT;
	struct tp_field f = mk_int("n");
	struct ctf_writer *w;
	uint64_t head;
	unsigned i;
	int s;

	memset(wo.boot_id, boot, 16);
	assert_int_equal(ctf_writer_open(&w, &wo, NULL), 0);
	assert_int_equal(ctf_writer_clock(w, freq, 0, epoch, NULL), 0);
	tp_describe(&desc, name, &f, 1);
	assert_int_equal(ctf_writer_class(w, 1, desc.data, desc.len, NULL), 0);
	s = ctf_stream_open(w, 0, 0, 0, NULL);
	for (i = 0; i < n; i++) {
		head = at[i] << 16 | 1;
		buf_put(&events, &head, 8);
		buf_put(&events, &i, 4);
	}
	p.begin = at[0];
	p.end = at[n - 1];
	p.data = events.data;
	p.len = events.len;
	assert_int_equal(ctf_stream_append(w, s, &p, NULL), 0);
	ctf_writer_free(w);
	buf_done(&desc);
	buf_done(&events);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char file[400];
	FILE *f;

	snprintf(file, sizeof(file), "%s/%s", dir, name);
	f = fopen(file, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A recording: DIR/gander.json, and a trace in DIR/ctf. */
static void make_recording(const char *dir, const char *json)
{
	char ctf[400];

	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(ctf, sizeof(ctf), "%s/ctf", dir);
	assert_int_equal(mkdir(ctf, 0700), 0);
	write_file(dir, "gander.json", json);
}

static void expect(struct timeline *tl, int64_t mono, const char *name)
{
	struct timeline_event ev;
	struct err err = ERR_INIT;
	int r = timeline_next(tl, &ev, &err);

	if (r != 1)
		fail_msg("no event at %lld: %s", (long long)mono, err.text);
	assert_int_equal(ev.mono_ns, mono);
	assert_string_equal(ev.ctf.class_->name, name);
}

static void expect_end(struct timeline *tl)
{
	struct timeline_event ev;
	struct err err = ERR_INIT;

	assert_int_equal(timeline_next(tl, &ev, &err), 0);
}

static const char plain[] = "{\"gander_recording\":1,\"host\":\"here\",\"clock\":{\"mono_offset_ns\":1000000,\"error_ns\":250.5},"
			    "\"programs\":[{\"pid\":4242,\"trace\":\"prog-7\"}]}";

/* Three clocks: a counter at 2 GHz in a recording, CLOCK_MONOTONIC in the same, and a trace as LTTng writes it, whose offset to the wall clock is 5 ms off. */
static void three_clocks(void **state)
{
	static const uint64_t counter[] = { 2000, 4000, 8000 }, mono[] = { 1500, 3000 }, lttng[] = { 1200, 2500, 4500 };
	const char *paths[2] = { path[0], path[1] };
	struct timeline_source src;
	struct timeline_event ev;
	struct timeline *tl;
	struct err err = ERR_INIT;
	const struct gander_ctf_value *v;
	char dir[400];
	int64_t epoch;

	make_recording(path[0], plain);
	snprintf(dir, sizeof(dir), "%s/ctf/prog-7", path[0]);
	make(dir, "counter", 5, "here", 2000000000, 1000000, counter, 3);
	snprintf(dir, sizeof(dir), "%s/ctf/prog-8", path[0]);
	make(dir, "mono", 5, "here", 1000000000, 1000000, mono, 2);
	make(path[1], "lttng", 5, "here", 1000000000, 6000000, lttng, 3);
	if (timeline_open(&tl, paths, 2, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(timeline_next(tl, &ev, &err), 1);
	assert_int_equal(ev.mono_ns, 1000);
	assert_int_equal(ev.kind, TIMELINE_EVENTS);
	assert_int_equal(ev.pid, 4242); /* by gander.json, the program itself says 7 */
	assert_int_equal(ev.ctf.time_ns, 1001000);
	assert_true(timeline_values(tl, &ev, &v) > 0);
	expect(tl, 1200, "lttng");
	expect(tl, 1500, "mono");
	expect(tl, 2000, "counter");
	expect(tl, 2500, "lttng");
	expect(tl, 3000, "mono");
	expect(tl, 4000, "counter");
	assert_int_equal(timeline_next(tl, &ev, &err), 1);
	assert_int_equal(ev.mono_ns, 4500);
	assert_int_equal(ev.kind, TIMELINE_OTHER);
	assert_int_equal(ev.ctf.time_ns, 1004500); /* on the recording's wall clock, not its own */
	expect_end(tl);
	assert_int_equal(timeline_sources(tl), 2);
	timeline_source(tl, 0, &src);
	assert_int_equal(src.error_ns, 251);
	timeline_source(tl, 1, &src);
	assert_int_equal(src.error_ns, 0);
	assert_true(timeline_epoch(tl, &epoch));
	assert_int_equal(epoch, 1000000);
	assert_int_equal(timeline_notes(tl), 0);
	timeline_free(tl);
}

static void refused(void **state)
{
	static const uint64_t at[] = { 1000 };
	const char *paths[2] = { path[0], path[1] };
	struct timeline *tl = NULL;
	struct err err = ERR_INIT;

	make(path[0], "a", 5, "here", 1000000000, 0, at, 1);
	make(path[1], "b", 6, "there", 1000000000, 0, at, 1);
	assert_int_equal(timeline_open(&tl, paths, 2, NULL, &err), -EXDEV);
	assert_non_null(strstr(err.text, "different machines"));
	assert_non_null(strstr(err.text, "here, boot id 05050505-0505-0505-0505-050505050505"));
	assert_non_null(strstr(err.text, "there, boot id 06060606-0606-0606-0606-060606060606"));
	make(path[2], "b", 6, "here", 1000000000, 0, at, 1);
	paths[1] = path[2];
	assert_int_equal(timeline_open(&tl, paths, 2, NULL, &err), -EXDEV);
	assert_non_null(strstr(err.text, "different boots"));
	/* within one recording, a Go trace of another boot */
	make_recording(path[3], "{\"gander_recording\":1,\"host\":\"here\",\"clock\":{\"mono_offset_ns\":0},\"go\":["
				"{\"file\":\"go/a.trace\",\"boot_id\":\"11111111-1111-1111-1111-111111111111\"},"
				"{\"file\":\"go/b.trace\",\"boot_id\":\"22222222-1111-1111-1111-111111111111\"}]}");
	paths[0] = path[3];
	assert_int_equal(timeline_open(&tl, paths, 1, NULL, &err), -EXDEV);
	assert_non_null(strstr(err.text, "different boots"));
	assert_null(tl);
}

static void hostile_manifests(void **state)
{
	static const char *const bad[] = { "", "[]", "{", "{\"gander_recording\":2}", "{\"gander_recording\":1,\"clock\":{\"mono_offset_ns\":-9223372036854775808}}", "{\"gander_recording\":1,\"go\":[{\"file\":\"../../etc/passwd\"},{\"file\":\"/etc/passwd\"},"
																				      "{\"file\":7},3,{\"file\":\"a/../../b\"}],\"programs\":7,\"chunks\":[\"..\",\"/\",9]}" };
	const char *paths[1] = { path[0] };
	struct timeline *tl = NULL;
	struct timeline_event ev;
	struct err err = ERR_INIT;
	unsigned i;
	char dir[400], file[400];
	static const uint64_t at[] = { 1000 };

	make_recording(path[0], plain);
	snprintf(dir, sizeof(dir), "%s/ctf/prog-7", path[0]);
	make(dir, "a", 5, "here", 1000000000, 0, at, 1);
	for (i = 0; i < 5; i++) {
		write_file(path[0], "gander.json", bad[i]);
		assert_true(timeline_open(&tl, paths, 1, NULL, &err) < 0);
		assert_non_null(strstr(err.text, "gander.json"));
	}
	write_file(path[0], "gander.json", bad[5]);
	assert_int_equal(timeline_open(&tl, paths, 1, NULL, &err), 0);
	assert_int_equal(timeline_sources(tl), 1); /* files outside are not taken */
	timeline_free(tl);
	write_file(path[0], "gander.json", "{\"gander_recording\":1,\"clock\":{\"mono_offset_ns\":5,\"stepped_ns\":-3600000000000}}");
	assert_int_equal(timeline_open(&tl, paths, 1, NULL, &err), 0);
	assert_int_equal(timeline_notes(tl), 1);
	assert_non_null(strstr(timeline_note(tl, 0), "-3600.000 s"));
	timeline_free(tl);
	/* pipes, of which nobody is at the other end */
	snprintf(dir, sizeof(dir), "%s/p", path[0]);
	assert_int_equal(mkfifo(dir, 0600), 0);
	write_file(path[0], "gander.json", "{\"gander_recording\":1,\"clock\":{\"mono_offset_ns\":5},\"go\":[{\"file\":\"p\"}]}");
	assert_int_equal(timeline_open(&tl, paths, 1, NULL, &err), 0);
	while (timeline_next(tl, &ev, &err) > 0)
		;
	assert_int_equal(timeline_notes(tl), 1);
	assert_non_null(strstr(timeline_note(tl, 0), "/p: "));
	timeline_free(tl);
	snprintf(file, sizeof(file), "%s/gander.json", path[0]);
	assert_int_equal(rename(dir, file), 0);
	assert_int_equal(timeline_open(&tl, paths, 1, NULL, &err), -EINVAL);
}

/* A Go trace by itself, every format there is: as many events as the reader has, in order. */
static void go_traces(void **state)
{
	struct gander_gotrace_opts o = GANDER_GOTRACE_OPTS_INIT;
	struct timeline_event ev;
	struct timeline_source src;
	struct gander_gotrace_event gev;
	struct gander_gotrace_info info;
	struct gander_gotrace *t;
	struct timeline *tl;
	const struct gander_ctf_value *v;
	struct err err = ERR_INIT;
	struct ctf_out out = { 0 };
	struct dirent *e;
	char file[600], json[900];
	const char *paths[1];
	uint64_t n, m, length;
	unsigned v1 = 0, v2 = 0;
	int64_t last;
	char corpus[400] = CORPUS;
	DIR *d;

	snprintf(strrchr(corpus, '/'), 32, "/gotrace"); /* the reader's */
	d = opendir(corpus);
	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", corpus, e->d_name);
		if (gander_gotrace_open(&t, file, &o, err_public(&err)) < 0)
			continue;
		for (n = 0, length = 0; gander_gotrace_next(t, &gev, err_public(&err)) > 0; n++)
			length = (uint64_t)gev.time_ns;
		gander_gotrace_info(t, &info);
		gander_gotrace_free(t);
		paths[0] = file;
		assert_int_equal(timeline_open(&tl, paths, 1, NULL, &err), 0);
		for (m = 0, last = INT64_MIN; timeline_next(tl, &ev, &err) > 0; m++) {
			assert_true(ev.mono_ns >= last);
			last = ev.mono_ns;
			assert_int_equal(ev.kind, TIMELINE_GO);
			assert_true(timeline_values(tl, &ev, &v) >= 1);
			assert_int_equal(timeline_text(tl, &ev, &out), 0);
			assert_int_equal(timeline_json(tl, &ev, &out), 0);
			out.at = out.base;
		}
		assert_int_equal(m, n);
		if (info.version >= 22) {
			v2++;
			timeline_free(tl);
			continue;
		}
		timeline_source(tl, 0, &src);
		assert_true(src.error_ns == TIMELINE_NO_ERROR_KNOWN);
		timeline_free(tl);
		if (v1++ || n < 2)
			continue;
		/* in a recording that knows when it was asked for: 100 us longer than it is */
		make_recording(path[0], "{}");
		snprintf(json, sizeof(json), "{\"gander_recording\":1,\"host\":\"\",\"clock\":{\"mono_offset_ns\":0},\"go\":[{\"file\":\"t.trace\",\"pid\":9,\"clock\":\"none\","
					     "\"begin_mono_ns\":5000000,\"end_mono_ns\":%llu}]}",
			 (unsigned long long)(5000000 + length + 100000));
		write_file(path[0], "gander.json", json);
		snprintf(json, sizeof(json), "%s/t.trace", path[0]);
		assert_int_equal(symlink(file, json), 0);
		paths[0] = path[0];
		assert_int_equal(timeline_open(&tl, paths, 1, NULL, &err), 0);
		timeline_source(tl, 0, &src); /* before it is opened */
		assert_int_equal(src.error_ns, length + 100000);
		assert_non_null(strstr(src.how, "before Go 1.22"));
		assert_int_equal(timeline_next(tl, &ev, &err), 1);
		assert_true(ev.mono_ns >= 5000000 - 1 && ev.mono_ns <= 5000000 + (int64_t)length);
		assert_int_equal(ev.pid, 9);
		assert_int_equal(ev.tid, -1); /* its numbers are not the kernel's */
		while (timeline_next(tl, &ev, &err) > 0)
			;
		timeline_source(tl, 0, &src);
		assert_int_equal(src.error_ns, 100000);
		assert_non_null(strstr(src.how, "before Go 1.22"));
		timeline_free(tl);
	}
	closedir(d);
	ctf_out_done(&out);
	assert_true(v2 > 0);
	if (!v1)
		print_message("no trace of a format before 1.22 in the corpus\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(three_clocks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hostile_manifests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(go_traces, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
