/* make_trace DIR 1|2: writes a CTF trace that holds every field type, hostile names, several streams and losses. The same bytes every
 * time, for comparing readers.
 * make_trace DIR 1|2 N: writes N events of two integers in two streams, for measuring them. */
#include "ctf/ctf_write.h"
#include "desc_build.h"
#include "region/region.h"

#include <stdio.h>
#include <stdlib.h>

#define FREQ  2994373000ull
#define START 700000000000000ull
#define EPOCH 1700000000123456789ull

static struct buf desc, packet;
static struct ctf_writer *w;
static struct err err;

static void die(void)
{
	fprintf(stderr, "make_trace: %s\n", err.text);
	exit(1);
}

static void declare(unsigned id)
{
	if (ctf_writer_class(w, id, desc.data, desc.len, &err) < 0)
		die();
}

static void event(unsigned id, uint64_t time, unsigned tid, uint64_t goid)
{
	d_u64(&packet, GD_EVENT_WORD(id, time));
	d_u32(&packet, tid);
	d_u64(&packet, goid);
}

static void flush(int stream, uint64_t begin, uint64_t end, uint64_t discarded)
{
	struct ctf_piece p = { .begin = begin, .end = end, .discarded = discarded, .data = packet.data, .len = packet.len };

	if (ctf_stream_append(w, stream, &p, &err) < 0)
		die();
	buf_clear(&packet);
}

static void all_types(uint64_t t, int round)
{
	int i;

	event(2, t, 100 + (unsigned)round, (uint64_t)round);
	d_u8(&packet, 200);
	d_u16(&packet, 60000);
	d_u32(&packet, 4000000000u);
	d_u64(&packet, UINT64_MAX);
	d_u8(&packet, (unsigned)-5);
	d_u16(&packet, (unsigned)-500);
	d_u32(&packet, (uint32_t)-50000);
	d_u64(&packet, (uint64_t)INT64_MIN);
	d_f32(&packet, 1.5f);
	d_f64(&packet, -2.25e-9);
	d_u8(&packet, round & 1);
	d_u8(&packet, (unsigned)round);                       /* enum u8 */
	d_u64(&packet, round ? (uint64_t)-3 : 0x7fffffffull); /* enum i64 */
	d_str(&packet, round ? "caf\303\251 \"quoted\"\n\\" : "");
	d_u16(&packet, 3);
	buf_put(&packet, "\0\377x", 3);
	for (i = 0; i < 3; i++)
		d_u16(&packet, (unsigned)(i * 1000)); /* array of u16 */
	d_u16(&packet, (unsigned)round);              /* sequence of i64 */
	for (i = 0; i < round; i++)
		d_u64(&packet, (uint64_t)-i);
	d_u16(&packet, 2); /* sequence of strings */
	d_str(&packet, "one");
	d_str(&packet, "");
	d_u16(&packet, 2); /* sequence of struct */
	for (i = 0; i < 2; i++) {
		d_u32(&packet, (uint32_t)i);
		d_str(&packet, i ? "b" : "a");
	}
	d_u8(&packet, 7); /* struct { u8; struct { string; u8[2] } } */
	d_str(&packet, "deep");
	d_u8(&packet, 1);
	d_u8(&packet, 2);
	d_u16(&packet, 2); /* sequence of sequence of u8 */
	d_u16(&packet, 1);
	d_u8(&packet, 9);
	d_u16(&packet, 0);
	d_u64(&packet, 1500000); /* duration */
	d_u32(&packet, 0xdeadbeef);
	d_u16(&packet, 7); /* attrs */
	d_str(&packet, "int");
	d_u8(&packet, GD_ATTR_I64);
	d_u64(&packet, (uint64_t)-1);
	d_str(&packet, "uint");
	d_u8(&packet, GD_ATTR_U64);
	d_u64(&packet, UINT64_MAX);
	d_str(&packet, "float");
	d_u8(&packet, GD_ATTR_F64);
	d_f64(&packet, 0.5);
	d_str(&packet, "bool");
	d_u8(&packet, GD_ATTR_BOOL);
	d_u8(&packet, 1);
	d_str(&packet, "http.path");
	d_u8(&packet, GD_ATTR_STRING);
	d_str(&packet, "/api/x");
	d_str(&packet, "took");
	d_u8(&packet, GD_ATTR_DURATION);
	d_u64(&packet, 2500);
	d_str(&packet, "at");
	d_u8(&packet, GD_ATTR_TIME);
	d_u64(&packet, 1700000000000000000ull);
}

static void declare_all_types(void)
{
	static const char *const scalar[] = { "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "flag" };
	unsigned i;

	d_head(&desc, GD_KIND_EVENT, 7, 24, "test.all types");
	for (i = 0; i < 11; i++)
		d_field(&desc, scalar[i], 0, GD_U8 + i);
	d_field(&desc, "colour", 0, GD_ENUM);
	d_u8(&desc, GD_U8);
	d_u16(&desc, 5);
	d_label(&desc, 0, 0, "red");
	d_label(&desc, 1, 2, "gr\"een\n");
	d_label(&desc, 2, 2, "both");
	d_label(&desc, 3, 3, "red");
	d_label(&desc, 250, 1000, "beyond");
	d_field(&desc, "signed", 0, GD_ENUM);
	d_u8(&desc, GD_I64);
	d_u16(&desc, 2);
	d_label(&desc, INT64_MIN, -1, "negative");
	d_label(&desc, 0, INT64_MAX, "struct");
	d_field(&desc, "text", 0, GD_STRING);
	d_field(&desc, "bytes", 0, GD_BYTES);
	d_field(&desc, "array", 0, GD_ARRAY);
	d_u32(&desc, 3);
	d_u8(&desc, GD_U16);
	d_field(&desc, "seq", 0, GD_SEQUENCE);
	d_u8(&desc, GD_I64);
	d_field(&desc, "strings", 0, GD_SEQUENCE);
	d_u8(&desc, GD_STRING);
	d_field(&desc, "structs", 0, GD_SEQUENCE);
	d_u8(&desc, GD_STRUCT);
	d_u8(&desc, 2);
	d_field(&desc, "n", 0, GD_U32);
	d_field(&desc, "s", 0, GD_STRING);
	d_field(&desc, "nested", 0, GD_STRUCT);
	d_u8(&desc, 2);
	d_field(&desc, "x", 0, GD_U8);
	d_field(&desc, "in", 0, GD_STRUCT);
	d_u8(&desc, 2);
	d_field(&desc, "s", 0, GD_STRING);
	d_field(&desc, "a", 0, GD_ARRAY);
	d_u32(&desc, 2);
	d_u8(&desc, GD_U8);
	d_field(&desc, "seqs", 0, GD_SEQUENCE);
	d_u8(&desc, GD_SEQUENCE);
	d_u8(&desc, GD_U8);
	d_field(&desc, "took", GD_FIELD_DURATION, GD_U64);
	d_field(&desc, "mask", GD_FIELD_HEX, GD_U32);
	d_field(&desc, "attr", 0, GD_ATTRS);
	declare(2);
}

/* Names that collide, that are reserved, that end strings and comments. */
static const char *const hostile[] = { "struct", "_u", "u", "__u_length", "a.b", "a-b", "a_b", "\"", "*/ };", "\n",
				       "1st", "\377\376", "event", "a_b_2", "\\", " ", "%s" };
#define NHOSTILE (sizeof(hostile) / sizeof(hostile[0]))

static void many(uint64_t n)
{
	uint64_t t = START, begin[2] = { START, START }, i;
	struct buf half[2] = { BUF_INIT, BUF_INIT };
	int stream[2], k;

	for (k = 0; k < 2; k++) {
		stream[k] = ctf_stream_open(w, GD_CTX_TID | GD_CTX_GOID, (uint32_t)k, START, &err);
		if (stream[k] < 0)
			die();
	}
	for (i = 0; i < n; i++) {
		k = (i >> 6) & 1; /* as threads do: some time on one CPU, then on the other */
		t += 300;
		packet = half[k];
		if (!packet.len)
			begin[k] = t;
		event(1, t, 100 + (unsigned)k, 7 + i % 10);
		d_u32(&packet, (uint32_t)i);
		d_u64(&packet, i * 1000);
		if (packet.len > 60000)
			flush(stream[k], begin[k], t, 0);
		half[k] = packet;
	}
	for (k = 0; k < 2; k++) {
		packet = half[k];
		flush(stream[k], begin[k], t, 0);
		buf_done(&packet);
	}
}

int main(int argc, char **argv)
{
	struct ctf_writer_opts o = { .version = 1, .pid = 4711, .procname = "make\"trace", .exe = "/usr/bin/a\nb\\c", .agent = "libgander 0.1.0" };
	uint64_t t = START;
	int s0, s1, s2, i;
	unsigned n;

	if (argc != 3 && argc != 4)
		return 2;
	o.dir = argv[1];
	o.version = atoi(argv[2]);
	memset(o.uuid, 0x42, 16);
	o.hostname = "test";
	o.packet_process = argc == 3;
	if (ctf_writer_open(&w, &o, &err) < 0 || ctf_writer_clock(w, FREQ, START, EPOCH, &err) < 0)
		die();
	d_head(&desc, GD_KIND_EVENT, 6, 2, "test.small");
	d_field(&desc, "n", 0, GD_I32);
	d_field(&desc, "l", 0, GD_I64);
	declare(1);
	if (argc == 4) {
		many(strtoull(argv[3], NULL, 10));
		ctf_writer_free(w);
		buf_done(&desc);
		return 0;
	}
	declare_all_types();
	s0 = ctf_stream_open(w, GD_CTX_TID | GD_CTX_GOID, 0, START, &err);
	s1 = ctf_stream_open(w, GD_CTX_TID | GD_CTX_GOID, 1, START, &err);
	s2 = ctf_stream_open(w, GD_CTX_ALL, 2, START, &err);
	if (s0 < 0 || s1 < 0 || s2 < 0)
		die();
	for (i = 0; i < 1000; i++) {
		t += 1000;
		event(1, t, 100, 7);
		d_u32(&packet, (uint32_t)-i);
		d_u64(&packet, (uint64_t)i << 32);
		if (i % 100 == 99)
			flush(i & 256 ? s1 : s0, t - 99000, t, i >= 500 ? 17 : 0);
	}
	for (i = 0; i < 4; i++) {
		t += 5000000;
		all_types(t, i);
		flush(s1, t, t, 17);
	}
	/* declared late, when streams are there; with names nobody would choose */
	d_head(&desc, GD_KIND_EVENT, 0, NHOSTILE, "hostile \"name\" \\ \n\t\001 */ };");
	for (n = 0; n < NHOSTILE; n++)
		d_field(&desc, hostile[n], 0, n % 2 ? GD_U8 : GD_STRING);
	declare(0x7fff);
	d_head(&desc, GD_KIND_SPAN_BEGIN, 6, 2, "span.begin");
	d_field(&desc, "span_id", 0, GD_U64);
	d_field(&desc, "parent_id", 0, GD_U64);
	declare(10);
	d_head(&desc, GD_KIND_SPAN_END, 6, 2, "span.end");
	d_field(&desc, "span_id", 0, GD_U64);
	d_field(&desc, "duration", GD_FIELD_DURATION, GD_U64);
	declare(11);
	d_head(&desc, GD_KIND_EVENT, 6, 0, "empty");
	declare(0);
	t += 1000;
	d_u64(&packet, GD_EVENT_WORD(0x7fff | GD_EVENT_CUT, t));
	d_u32(&packet, 100);
	d_u64(&packet, 8);
	for (n = 0; n < NHOSTILE; n++)
		if (n % 2)
			d_u8(&packet, n);
		else
			d_str(&packet, "v");
	event(10, t, 100, 8);
	d_u64(&packet, 77);
	d_u64(&packet, 0);
	/* the lower 48 bits of the counter turn over within the packet */
	flush(s0, t, t, 17);
	t += 3000000;
	event(11, t, 100, 8);
	d_u64(&packet, 77);
	d_u64(&packet, 1001879);
	event(0, t, 100, 8);
	flush(s0, t, t, 17);
	/* all contexts */
	t += 1000;
	d_u64(&packet, GD_EVENT_WORD(0, t));
	d_u32(&packet, 100);
	d_u64(&packet, 9);
	d_u16(&packet, 3);
	d_u64(&packet, 77);
	d_u64(&packet, 12345);
	d_u16(&packet, 2);
	d_u64(&packet, 0x401000);
	d_u64(&packet, 0x7fff12345678);
	flush(s2, t, t, 0);
	if (ctf_stream_close(w, s0, t + 100, 20, &err) < 0 || ctf_stream_close(w, s1, t + 100, 18, &err) < 0 ||
	    ctf_stream_close(w, s2, t + 100, 1, &err) < 0)
		die();
	ctf_writer_free(w);
	buf_done(&desc);
	buf_done(&packet);
	return 0;
}
