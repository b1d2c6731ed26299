/* What the kernel's view reads: the ring's records (with any head and tail), payloads made of them, tracefs' format files, and
 * /proc/PID/task/TID/stat. */
#include "kernel/kernel_own.h"
#include "kernel/kernel_ring.h"
#include "kernel/kernel_tracepoint.h"
#include "region/desc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct tp_field fields[] = {
	{ .name = "comm", .kind = TP_CHARS, .at = 8, .size = 16 },
	{ .name = "pid", .kind = TP_INT, .at = 24, .size = 4, .is_signed = true },
	{ .name = "filename", .kind = TP_LOC, .at = 28, .size = 4 },
	{ .name = "args", .kind = TP_ARRAY, .at = 32, .size = 8, .count = 6 },
	{ .name = "far", .kind = TP_INT, .at = 4090, .size = 8 },
};
#define NFIELDS (sizeof(fields) / sizeof(*fields))

static void check_payload(const struct tp_field *field, unsigned n, const uint8_t *raw, size_t len)
{
	struct buf desc = BUF_INIT, out = BUF_INIT;
	struct gd_desc d;
	struct gd_field f;
	size_t at = 0;
	ptrdiff_t v;

	tp_describe(&desc, "event", field, n);
	if (!tp_payload(&out, field, n, raw, len) || buf_failed(&desc))
		goto out;
	if (desc.len > GD_DESC_MAX)
		goto out;
	if (gd_desc_parse(&d, desc.data, desc.len) < 0)
		abort();
	while (gd_desc_field(&f, &d.fields, d.end)) {
		v = gd_value_size(f.type_at, d.end, (const uint8_t *)out.data + at, out.len - at);
		if (v < 0)
			abort(); /* the payload is not what its description says */
		at += (size_t)v;
	}
	if (at != out.len)
		abort();
out:
	buf_done(&desc);
	buf_done(&out);
}

static void walk_ring(const uint8_t *data, size_t size)
{
	struct ring r = { 0 };
	struct ring_record rec;
	uint64_t head, at, copy[2];
	uint8_t *bytes;

	if (size < 16 + 64)
		return;
	memcpy(copy, data, 16);
	data += 16;
	size -= 16;
	for (r.size = 64; r.size * 2 <= size; r.size *= 2)
		;
	bytes = malloc(r.size);
	r.straight = malloc(RING_RECORD_MAX);
	if (bytes && r.straight) {
		memcpy(bytes, data, r.size);
		r.data = bytes;
		at = r.tail = copy[0];
		head = copy[1] % 4 ? at + copy[1] % (r.size + 1) : copy[1];
		while (ring_next(&r, &at, head, &rec) > 0)
			if (rec.kind == RING_SAMPLE)
				check_payload(fields, NFIELDS, rec.raw, rec.raw_len);
	}
	free(bytes);
	free(r.straight);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[64];
	struct own_thread t;
	struct tp_format f;
	char *text;

	walk_ring(data, size);
	text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	if (tp_format_parse(&f, text, size, NULL) == 0)
		check_payload(f.field, f.nfields, zeros, sizeof(zeros));
	own_stat_parse(&t, text, size);
	free(text);
	return 0;
}
