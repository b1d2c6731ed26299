/* CTF: metadata parsers by tables, the writer against the reader, and every allocation failing once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ctf/ctf_layout.h"
#include "ctf/ctf_read.h"
#include "ctf/ctf_write.h"
#include "ctf/desc_build.h"
#include "region/region.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The n-th allocation from now on fails (linked with --wrap). 0: none. */
static long fail_at;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);

static int fails(void)
{
	return fail_at && !--fail_at;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

#define HEAD "/* CTF 1.8 */ trace { major = 1; minor = 8; byte_order = le; };\n"
#define U8   "typealias integer { size = 8; align = 8; signed = false; } := u8;\n"

static int parse(const char *text, size_t len, struct err *err)
{
	struct ctf_trace_class *t = NULL;
	struct ctf_trace_layout layout;
	int r;

	memset(err, 0, sizeof(*err));
	r = ctf_meta_parse(&t, text, len, err);
	if (!r)
		r = ctf_layout_trace(t, &layout, err);
	ctf_trace_class_free(t);
	return r;
}

static void test_tsdl(void **state)
{
	static const struct {
		const char *text, *wrong; /* NULL: it is fine */
	} cases[] = {
		{ "", NULL },
		{ HEAD, NULL },
		{ HEAD U8 "stream { event.header := struct { u8 id; }; };\nevent { name = x; id = 1; fields := struct { u8 a, b[2], c[a]; }; };", NULL },
		{ HEAD U8 "stream { id = 0x10; }; event { stream_id = 020; name = \"a\\\"\\x41\\101\"; fields := struct { u8 _n; string s; }; };", NULL },
		{ HEAD U8 "struct s { u8 a; } align(32); stream { }; event { fields := struct { struct s x; struct s y[3]; }; };", NULL },
		{ HEAD U8 "variant v { u8 a; string b; }; stream { }; event { fields := struct { enum : u8 { a, b = 5 ... 9, } t; variant v <t> x; }; };", NULL },
		{ HEAD "typealias integer { size = 64; byte_order = be; base = x; } := unsigned long; typedef unsigned long word; "
		       "stream { }; event { fields := struct { word a; unsigned long b; const unsigned long c; }; };",
		  NULL },
		{ HEAD "stream { }; event { fields := struct { floating_point { exp_dig = 8; mant_dig = 24; } f; integer { size = 3; } bits[5]; }; };", NULL },
		{ HEAD U8 "stream { packet.context := struct { u8 n; }; }; event { fields := struct { u8 a[stream.packet.context.n]; }; };", NULL },
		{ HEAD "env { a = 5; b = -7; c = \"x\"; }; callsite { name = \"x\"; line = 5; }; // end", NULL },
		{ HEAD "clock { name = c; freq = 1000; offset_s = -5; offset = 5000; absolute = TRUE; };", NULL },
		{ "trace { major = 2; };", "CTF 1.8 and CTF 2" },
		{ "trace { uuid = \"xy\"; };", "uuid" },
		{ HEAD "stream { id = 1; }; stream { id = 1; };", "same id" },
		{ HEAD "stream { }; event { id = 1; }; event { id = 1; };", "the id 1" },
		{ HEAD "event { stream_id = 7; };", "does not exist" },
		{ HEAD "stream { }; event { fields := struct { nothing x; }; };", "no type 'nothing'" },
		{ HEAD U8 "stream { }; event { fields := struct { u8 a[n]; u8 n; }; };", "'n'" },
		{ HEAD "stream { }; event { fields := struct { string s; string t[s]; }; };", "'s'" },
		{ HEAD U8 "stream { }; event { fields := struct { variant { u8 a; } v; }; };", "no tag" },
		{ HEAD "stream { }; event { fields := struct { integer { size = 65; } a; }; };", "out of its range" },
		{ HEAD "stream { }; event { fields := struct { integer { signed = true; } a; }; };", "no size" },
		{ HEAD "stream { }; event { fields := struct { integer { size = 8; align = 3; } a; }; };", "power of two" },
		{ HEAD "stream { }; event { fields := struct { floating_point { exp_dig = 5; mant_dig = 11; } a; }; };", "32 or 64" },
		{ HEAD "clock { freq = 0; };", "out of its range" },
		{ HEAD "clock { freq = 99999999999999999999; };", "too large" },
		{ HEAD "stream { ", NULL /* expected below: the block does not end */ },
		{ HEAD "\"never ends", "does not end" },
		{ HEAD "/* never ends", "does not end" },
		{ "\x57\x1d\xd1\x75 short", NULL },
	};
	struct err err;
	unsigned i;
	int r;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r = parse(cases[i].text, strlen(cases[i].text), &err);
		if (!strcmp(cases[i].text, HEAD "stream { ")) {
			assert_true(r < 0);
			continue;
		}
		if (!cases[i].wrong && r)
			fail_msg("%s\nis refused: %s", cases[i].text, err.text);
		if (cases[i].wrong && (!r || !strstr(err.text, cases[i].wrong)))
			fail_msg("%s\nshould be refused for '%s': %s", cases[i].text, cases[i].wrong, err.text);
	}
}

/* Cut off anywhere, nesting without end, a type that doubles at each use. */
static void test_tsdl_bounds(void **state)
{
	static const char good[] = HEAD U8 "stream { event.header := struct { u8 id; }; }; event { name = \"x\"; fields := struct { u8 a; u8 b[a]; }; };";
	struct buf b = BUF_INIT;
	struct err err;
	size_t i;

	for (i = 0; i < sizeof(good); i++)
		parse(good, i, &err);
	buf_puts(&b, HEAD "stream { }; event { fields := ");
	for (i = 0; i < 100000; i++)
		buf_puts(&b, "struct { ");
	assert_int_equal(parse(b.data, b.len, &err), -EPROTO);
	assert_non_null(strstr(err.text, "nested too deep"));
	buf_clear(&b);
	buf_puts(&b, HEAD "struct s0 { integer { size = 8; } a; };");
	for (i = 0; i < 40; i++)
		buf_printf(&b, "struct s%zu { struct s%zu a; struct s%zu b; };", i + 1, i, i);
	assert_int_equal(parse(b.data, b.len, &err), -EFBIG);
	buf_done(&b);
}

static void test_json(void **state)
{
#define PRE   "\x1e{\"type\":\"preamble\",\"version\":2}"
#define TRACE PRE "\x1e{\"type\":\"trace-class\"}"
#define DSC   TRACE "\x1e{\"type\":\"data-stream-class\"}"
#define FC(x) DSC "\x1e{\"type\":\"event-record-class\",\"payload-field-class\":{\"type\":\"structure\",\"member-classes\":[" x "]}}"
#define U     "\"field-class\":{\"type\":\"fixed-length-unsigned-integer\",\"length\":8,\"byte-order\":\"little-endian\"}"
	static const struct {
		const char *text, *wrong;
	} cases[] = {
		{ DSC, NULL },
		{ FC("{\"name\":\"a\"," U "}"), NULL },
		{ FC("{\"name\":\"a\"," U "},{\"name\":\"b\",\"field-class\":{\"type\":\"dynamic-length-string\","
		     "\"length-field-location\":{\"path\":[\"a\"]}}}"),
		  NULL },
		{ FC("{\"name\":\"a\"," U "},{\"name\":\"s\",\"field-class\":{\"type\":\"structure\",\"member-classes\":[{\"name\":\"b\","
		     "\"field-class\":{\"type\":\"dynamic-length-blob\",\"length-field-location\":{\"path\":[null,\"a\"]}}}]}}"),
		  NULL },
		{ FC("{\"name\":\"a\"," U "},{\"name\":\"o\",\"field-class\":{\"type\":\"optional\",\"selector-field-location\":"
		     "{\"origin\":\"event-record-payload\",\"path\":[\"a\"]},\"selector-field-ranges\":[[1,3]]," U "}}"),
		  NULL },
		{ FC("{\"name\":\"a\",\"field-class\":{\"type\":\"variable-length-signed-integer\",\"mappings\":{\"x\":[[-5,18446744073709551615]]}}}"), NULL },
		{ "\x1e{\"type\":\"trace-class\"}", "preamble" },
		{ "\x1e{\"type\":\"preamble\",\"version\":3}", "CTF 2" },
		{ PRE "\x1e{\"type\":\"x\"}", "no known type" },
		{ PRE "\x1e{", "fragment 2" },
		{ DSC "\x1e{\"type\":\"data-stream-class\"}", "same id" },
		{ TRACE "\x1e{\"type\":\"event-record-class\"}", "does not exist" },
		{ FC("{\"name\":\"a\",\"field-class\":\"nothing\"}"), "no field class" },
		{ FC("{\"name\":\"a\",\"field-class\":{\"type\":\"nothing\"}}"), "no known type" },
		{ FC("{\"field-class\":{\"type\":\"null-terminated-string\"}}"), "no name" },
		{ FC("{\"name\":\"b\",\"field-class\":{\"type\":\"dynamic-length-string\",\"length-field-location\":{\"path\":[\"a\"]}}}"), "'a'" },
		{ FC("{\"name\":\"a\",\"field-class\":{\"type\":\"fixed-length-unsigned-integer\",\"length\":65,\"byte-order\":\"little-endian\"}}"), "64 bits" },
		{ FC("{\"name\":\"a\",\"field-class\":{\"type\":\"null-terminated-string\",\"encoding\":\"utf-16le\"}}"), "utf-16le" },
	};
	struct err err;
	unsigned i;
	int r;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r = parse(cases[i].text, strlen(cases[i].text), &err);
		if (!cases[i].wrong && r)
			fail_msg("%s\nis refused: %s", cases[i].text, err.text);
		if (cases[i].wrong && (!r || !strstr(err.text, cases[i].wrong)))
			fail_msg("%s\nshould be refused for '%s': %s", cases[i].text, cases[i].wrong, err.text);
	}
}

static char dir[] = "/tmp/gander-test-ctf-XXXXXX";

static void clean(void)
{
	static const char *const names[] = { "metadata", "slot-0", "slot-1", ".metadata.new" };
	char path[64];
	unsigned i;

	for (i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/t/%s", dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/t", dir);
	rmdir(path);
}

/* Writes a trace with one event of a few types and reads it again. */
static int round_trip(int version, struct err *err)
{
	struct ctf_writer_opts o = { .version = version, .pid = 7, .procname = "p", .hostname = "h" };
	struct buf desc = BUF_INIT, data = BUF_INIT;
	struct ctf_writer *w = NULL;
	struct gander_ctf_event ev;
	struct gander_ctf *r = NULL;
	struct ctf_out out = { 0 };
	struct ctf_piece piece = { .begin = 1000, .end = 1000, .discarded = 3 };
	char path[64];
	int s, n;

	snprintf(path, sizeof(path), "%s/t", dir);
	o.dir = path;
	memset(o.uuid, 1, 16);
	memset(o.boot_id, 2, 16);
	d_head(&desc, GD_KIND_EVENT, 6, 3, "a.b");
	d_field(&desc, "n", 0, GD_I32);
	d_field(&desc, "s", 0, GD_STRING);
	d_field(&desc, "attr", 0, GD_ATTRS);
	d_u64(&data, GD_EVENT_WORD(5, 1000));
	d_u32(&data, 99);
	d_u32(&data, (uint32_t)-8);
	d_str(&data, "text");
	d_u16(&data, 1);
	d_str(&data, "k");
	d_u8(&data, GD_ATTR_BOOL);
	d_u8(&data, 1);
	n = buf_failed(&desc) || buf_failed(&data) ? -ENOMEM : 0;
	piece.data = data.data;
	piece.len = data.len;
	if (!n)
		n = ctf_writer_open(&w, &o, err);
	if (!n)
		n = ctf_writer_clock(w, 1000000000, 0, 5000000000, err);
	if (!n)
		n = ctf_writer_class(w, 5, desc.data, desc.len, err);
	if (!n) {
		s = n = ctf_stream_open(w, GD_CTX_TID, 0, 0, err);
		if (n >= 0)
			n = ctf_stream_append(w, s, &piece, err);
		if (n >= 0)
			n = ctf_stream_close(w, s, 2000, 4, err);
	}
	ctf_writer_free(w);
	if (!n)
		n = gander_ctf_open(&r, path, NULL, (struct gander_err *)err);
	while (n >= 0 && r) {
		n = gander_ctf_next(r, &ev, (struct gander_err *)err);
		if (n <= 0)
			break;
		n = ctf_json_line(r, &ev, &out);
		if (!n)
			n = ctf_text_line(r, &ev, &out);
	}
	if (!n) {
		ctf_put_raw(&out, "", 1);
		assert_non_null(strstr(out.base, "\"context\":{\"vtid\":99},\"fields\":{\"n\":-8,\"s\":\"text\",\"attr\":{\"k\":true}}}\n"));
		assert_non_null(strstr(out.base, " p:7 a.b {vtid=99} n=-8 s=\"text\" attr={k=true}\n"));
		assert_non_null(strstr(out.base, "{\"time_ns\":5000001000,\"event\":\"a.b\""));
		assert_int_equal(gander_ctf_lost(r), 4);
		assert_int_equal(gander_ctf_notes(r), 0);
	}
	gander_ctf_free(r);
	ctf_out_done(&out);
	buf_done(&desc);
	buf_done(&data);
	clean();
	return n;
}

static void test_round_trip(void **state)
{
	struct err err = ERR_INIT;

	assert_int_equal(round_trip(1, &err), 0);
	assert_int_equal(round_trip(2, &err), 0);
}

static void test_no_memory(void **state)
{
	struct err err;
	long n;
	int version, r;

	for (version = 1; version <= 2; version++)
		for (n = 1;; n++) {
			memset(&err, 0, sizeof(err));
			clean();
			fail_at = n;
			r = round_trip(version, &err);
			if (fail_at) { /* it came to its end before: all have failed */
				fail_at = 0;
				assert_int_equal(r, 0);
				break;
			}
			fail_at = 0;
			clean();
			assert_true(n < 5000);
		}
}

static void test_writer_refuses(void **state)
{
	struct ctf_writer_opts o = { .version = 1 };
	struct ctf_piece piece = { .data = "x", .len = 1 };
	struct ctf_writer *w = NULL;
	struct buf desc = BUF_INIT;
	struct err err = ERR_INIT;
	char path[64];

	snprintf(path, sizeof(path), "%s/t", dir);
	o.dir = path;
	assert_int_equal(ctf_writer_open(&w, &o, &err), 0);
	assert_int_equal(ctf_stream_open(w, 0, 0, 0, &err), -EINVAL); /* no clock */
	assert_int_equal(ctf_writer_clock(w, 0, 0, 0, &err), -EINVAL);
	assert_int_equal(ctf_writer_clock(w, 1000, 0, 0, &err), 0);
	assert_int_equal(ctf_writer_class(w, 1, "bad", 3, &err), -EINVAL);
	d_head(&desc, GD_KIND_EVENT, 6, 0, "x");
	assert_int_equal(ctf_writer_class(w, 0x8000, desc.data, desc.len, &err), -EINVAL);
	assert_int_equal(ctf_writer_class(w, 1, desc.data, desc.len, &err), 0);
	assert_int_equal(ctf_writer_class(w, 1, desc.data, desc.len, &err), 0);
	d_head(&desc, GD_KIND_EVENT, 6, 0, "y");
	assert_int_equal(ctf_writer_class(w, 1, desc.data, desc.len, &err), -EEXIST);
	assert_int_equal(ctf_stream_append(w, 0, &piece, &err), -EBADF);
	ctf_writer_free(w);
	w = NULL;
	assert_int_equal(ctf_writer_open(&w, &o, &err), -EEXIST);
	buf_done(&desc);
	clean();
}

/* A piece that cannot be read leaves the stream as it was. */
static void test_short_source(void **state)
{
	struct ctf_writer_opts o = { .version = 1 };
	struct ctf_piece piece = { .begin = 5, .end = 5, .len = 100 };
	struct ctf_writer *w = NULL;
	struct err err = ERR_INIT;
	struct stat before, after;
	char path[64], stream[80];
	int s;

	snprintf(path, sizeof(path), "%s/t", dir);
	snprintf(stream, sizeof(stream), "%s/slot-0", path);
	o.dir = path;
	assert_int_equal(ctf_writer_open(&w, &o, &err), 0);
	assert_int_equal(ctf_writer_clock(w, 1000, 0, 0, &err), 0);
	s = ctf_stream_open(w, 0, 0, 0, &err);
	assert_int_equal(s, 0);
	assert_int_equal(ctf_stream_append(w, s, &(struct ctf_piece) { .begin = 5, .end = 5 }, &err), 0);
	stat(stream, &before);
	piece.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(ctf_stream_append(w, s, &piece, &err), -ENODATA);
	stat(stream, &after);
	assert_int_equal(before.st_size, after.st_size);
	close(piece.fd);
	piece.data = (void *)16; /* not mapped: the kernel says so */
	assert_int_equal(ctf_stream_append(w, s, &piece, &err), -EFAULT);
	stat(stream, &after);
	assert_int_equal(before.st_size, after.st_size);
	ctf_writer_free(w);
	clean();
}

/* Runs of pieces from a file, whole ones past the page cache where that can be, between packets that are not: each event is read once and in order, and a
 * run whose source is too short changes nothing. */
static void test_runs(void **state)
{
	enum { EVENTS = 3000,
	       PIECES = 60 };
	struct ctf_writer_opts o = { .version = 1 };
	struct ctf_piece piece[PIECES];
	struct buf desc = BUF_INIT, data = BUF_INIT;
	struct gander_ctf_event ev;
	struct gander_ctf *r = NULL;
	struct ctf_writer *w = NULL;
	struct err err = ERR_INIT;
	struct stat before, after;
	char path[64], stream[80], source[80];
	uint64_t t = 0, n = 0;
	static uint8_t room[CTF_RUN_BYTES] __attribute__((aligned(CTF_RUN_ALIGN)));
	unsigned i, k, done, direct = 0;
	int fd, s, got;

	snprintf(path, sizeof(path), "%s/t", dir);
	snprintf(stream, sizeof(stream), "%s/slot-0", path);
	snprintf(source, sizeof(source), "%s/source", dir);
	o.dir = path;
	d_head(&desc, GD_KIND_EVENT, 6, 1, "x");
	d_field(&desc, "n", 0, GD_U32);
	fd = open(source, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (i = 0; i < PIECES; i++) {
		piece[i] = (struct ctf_piece) { .begin = t + 1, .end = t + EVENTS, .fd = fd, .offset = (uint64_t)i * EVENTS * 12, .len = EVENTS * 12 };
		for (k = 0, data.len = 0; k < EVENTS; k++) {
			d_u64(&data, GD_EVENT_WORD(1, ++t));
			d_u32(&data, (uint32_t)t);
		}
		assert_int_equal(pwrite(fd, data.data, data.len, (off_t)piece[i].offset), (ssize_t)data.len);
	}
	assert_int_equal(ctf_writer_open(&w, &o, &err), 0);
	assert_int_equal(ctf_writer_clock(w, 1000000000, 0, 0, &err), 0);
	assert_int_equal(ctf_writer_class(w, 1, desc.data, desc.len, &err), 0);
	s = ctf_stream_open(w, 0, 0, 0, &err);
	assert_int_equal(s, 0);
	for (i = 0; i < PIECES; i += done ? done : 1) {
		k = 1 + i % 17;
		done = k > PIECES - i || k < 3 ? 0 : (unsigned)ctf_stream_append_run(w, s, &piece[i], k, room);
		assert_true(done <= k);
		direct += done;
		if (!done)
			assert_int_equal(ctf_stream_append(w, s, &piece[i], &err), 0);
	}
	/* the first may be written for the sake of the others' place: then it is there, and whole */
	stat(stream, &before);
	piece[0].begin = piece[0].end = t;
	piece[1] = (struct ctf_piece) { .begin = t, .end = t, .fd = fd, .offset = (uint64_t)PIECES * EVENTS * 12, .len = 100 };
	got = ctf_stream_append_run(w, s, piece, 2, room);
	assert_true(got == 0 || got == 1);
	stat(stream, &after);
	assert_true(got ? after.st_size > before.st_size && after.st_size % 4096 == 0 : before.st_size == after.st_size);
	assert_int_equal(ctf_writer_bytes(w), after.st_size);
	ctf_writer_free(w);
	assert_int_equal(gander_ctf_open(&r, path, NULL, (struct gander_err *)&err), 0);
	while (gander_ctf_next(r, &ev, (struct gander_err *)&err) > 0)
		if (n++ < t)
			assert_int_equal(ev.time_ns, n);
	assert_int_equal(n, t + (got ? EVENTS : 0));
	assert_int_equal(gander_ctf_lost(r), 0);
	print_message("%u of %d packets in runs\n", direct, PIECES);
	gander_ctf_free(r);
	close(fd);
	unlink(source);
	buf_done(&desc);
	buf_done(&data);
	clean();
}

/* Taken back to where nothing was and to behind one packet: readable each time, as an empty stream too, and what comes instead is there alone. The file is
 * never empty: ext4's close() would wait for the disk. */
static void test_rewind(void **state)
{
	struct ctf_writer_opts o = { .version = 1 };
	struct ctf_piece piece[2] = { { .begin = 10, .end = 10 }, { .begin = 20, .end = 20 } };
	struct buf desc = BUF_INIT, data = BUF_INIT;
	struct gander_ctf_event ev;
	struct gander_ctf *r = NULL;
	struct ctf_writer *w = NULL;
	struct err err = ERR_INIT;
	struct ctf_mark mark;
	struct stat st;
	char path[64], stream[80];
	static const uint64_t times[] = { 5, 20 };
	unsigned i, n = 0;
	int s;

	snprintf(path, sizeof(path), "%s/t", dir);
	snprintf(stream, sizeof(stream), "%s/slot-0", path);
	o.dir = path;
	d_head(&desc, GD_KIND_EVENT, 6, 0, "x");
	d_u64(&data, GD_EVENT_WORD(1, 10));
	d_u64(&data, GD_EVENT_WORD(1, 20));
	d_u64(&data, GD_EVENT_WORD(1, 5));
	for (i = 0; i < 2; i++) {
		piece[i].data = data.data + 8 * i;
		piece[i].len = 8;
	}
	assert_int_equal(ctf_writer_open(&w, &o, &err), 0);
	assert_int_equal(ctf_writer_clock(w, 1000000000, 0, 0, &err), 0);
	assert_int_equal(ctf_writer_class(w, 1, desc.data, desc.len, &err), 0);
	s = ctf_stream_open(w, 0, 0, 0, &err);
	assert_int_equal(s, 0);
	ctf_stream_mark(w, s, &mark);
	for (i = 0; i < 2; i++) { /* what is there already changes nothing */
		assert_int_equal(ctf_stream_append_all(w, s, piece, 2, &err), 0);
		assert_int_equal(ctf_stream_rewind(w, &mark, &err), 0);
		assert_int_equal(ctf_writer_bytes(w), 0);
		assert_int_equal(stat(stream, &st), 0);
		assert_true(st.st_size > 0);
		assert_int_equal(gander_ctf_open(&r, path, NULL, (struct gander_err *)&err), 0);
		assert_int_equal(gander_ctf_next(r, &ev, (struct gander_err *)&err), 0);
		assert_int_equal(gander_ctf_notes(r), 0);
		gander_ctf_free(r);
	}
	piece[0] = (struct ctf_piece) { .begin = 5, .end = 5, .data = data.data + 16, .len = 8 };
	assert_int_equal(ctf_stream_append(w, s, &piece[0], &err), 0);
	ctf_stream_mark(w, s, &mark);
	assert_int_equal(ctf_stream_append(w, s, &piece[1], &err), 0);
	assert_int_equal(ctf_stream_append(w, s, &piece[1], &err), 0);
	assert_int_equal(ctf_stream_rewind(w, &mark, &err), 0);
	assert_int_equal(ctf_stream_append(w, s, &piece[1], &err), 0);
	assert_int_equal(ctf_stream_close(w, s, 30, 0, &err), 0);
	assert_int_equal(stat(stream, &st), 0);
	assert_int_equal(ctf_writer_bytes(w), st.st_size);
	ctf_writer_free(w);
	assert_int_equal(gander_ctf_open(&r, path, NULL, (struct gander_err *)&err), 0);
	while (gander_ctf_next(r, &ev, (struct gander_err *)&err) > 0) {
		assert_true(n < 2);
		assert_int_equal(ev.time_ns, times[n++]);
	}
	assert_int_equal(n, 2);
	assert_int_equal(gander_ctf_notes(r), 0);
	gander_ctf_free(r);
	buf_done(&desc);
	buf_done(&data);
	clean();
}

static void test_numbers(void **state)
{
	static const uint64_t values[] = { 0, 9, 10, 99, 100, 999, 1000, 9999, 10000,
					   99999999, 100000000, 999999999999, 1234567890123, 1ull << 63, UINT64_MAX, 10000000000000000ull };
	char ours[32], theirs[32];
	unsigned i;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		*ctf_put_u64(ours, values[i]) = 0;
		snprintf(theirs, sizeof(theirs), "%llu", (unsigned long long)values[i]);
		assert_string_equal(ours, theirs);
		*ctf_put_i64(ours, (int64_t)-values[i]) = 0;
		snprintf(theirs, sizeof(theirs), "%lld", (long long)-values[i]);
		assert_string_equal(ours, theirs);
	}
	*ctf_put_duration(ours, 1500000) = 0;
	assert_string_equal(ours, "1.5ms");
	*ctf_put_duration(ours, 999) = 0;
	assert_string_equal(ours, "999ns");
	*ctf_put_duration(ours, 61000000001) = 0;
	assert_string_equal(ours, "61.000000001s");
	assert_int_equal(ctf_advance_clock(0xfffffffffffe, 1, 48), 0x1000000000001);
	assert_int_equal(ctf_advance_clock(5, 5, 48), 5);
	assert_int_equal(ctf_advance_clock(100, 7, 64), 7);
}

static void test_quoting(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "\"\"" },
		{ "plain text, longer than eight bytes", "\"plain text, longer than eight bytes\"" },
		{ "a\"b\\c\nd\te", "\"a\\\"b\\\\c\\nd\\te\"" },
		{ "\033[31m", "\"\\x1b[31m\"" },
		{ "caf\303\251 and more text", "\"caf\303\251 and more text\"" },
		{ "\302\233x", "\"\\xc2\\x9bx\"" }, /* C1: CSI */
		{ "bad \377\300\200 utf-8", "\"bad \\xff\\xc0\\x80 utf-8\"" },
		{ "\360\237\246\206", "\"\360\237\246\206\"" },
		{ "12345678\177", "\"12345678\\x7f\"" },
	};
	struct ctf_out o = { 0 };
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		o.at = o.base;
		ctf_put_quoted(&o, cases[i].in, strlen(cases[i].in));
		ctf_put_raw(&o, "", 1);
		assert_string_equal(o.base, cases[i].out);
	}
	ctf_out_done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tsdl),
		cmocka_unit_test(test_tsdl_bounds),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_writer_refuses),
		cmocka_unit_test(test_short_source),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_quoting),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	printf("%d passed, %d failed, 0 skipped\n", (int)(sizeof(tests) / sizeof(tests[0])) - r, r);
	return r;
}
