/* What makes a trace big: bytes and numbers by kind of event or table. Every byte of the file is in exactly one row. */
#include "base/varint.h"
#include "export/export.h"
#include "export/goraw.h"
#include "gotrace/gotrace.h"
#include "analyze/result.h"

#include <stdlib.h>
#include <string.h>

enum { ROW_HEADER = 256,
       ROW_BATCH_HEAD,
       ROW_STRINGS,
       ROW_STACKS,
       ROW_SAMPLES,
       ROW_SYNC,
       ROW_EXPERIMENT,
       ROW_END,
       ROW_BAD,
       ROWS };

struct footprint {
	unsigned version;
	uint64_t n[ROWS], bytes[ROWS], generations, last_gen, batches;
};

static void add(struct footprint *f, unsigned row, uint64_t bytes, uint64_t n)
{
	f->n[row] += n;
	f->bytes[row] += bytes;
}

static int on_version(void *ctx, unsigned version, struct err *err)
{
	struct footprint *f = ctx;

	f->version = version;
	add(f, ROW_HEADER, 16, 1);
	return 0;
}

/* Numbers the entries of a table batch. */
static uint64_t entries(const struct goraw_batch *b)
{
	const uint8_t *p = b->data + 1, *end = b->data + b->size;
	uint64_t n = 0, v, len;

	while (p < end) {
		unsigned type = *p++, i;

		n++;
		if (type == GORAW_STRING) {
			if (!varint_get(&p, end, &v) || !varint_get(&p, end, &len) || len > (uint64_t)(end - p))
				break;
			p += len;
		} else if (type == GORAW_STACK) {
			if (!varint_get(&p, end, &v) || !varint_get(&p, end, &len) || len > 128)
				break;
			for (i = 0; i < 4 * len; i++)
				if (!varint_get(&p, end, &v))
					return n;
		} else if (type == GORAW_SAMPLE) {
			for (i = 0; i < 5; i++)
				if (!varint_get(&p, end, &v))
					return n;
		} else {
			break;
		}
	}
	return n;
}

static int on_batch(void *ctx, const struct goraw_batch *b, struct err *err)
{
	struct footprint *f = ctx;
	const uint8_t *p = b->data, *end = b->data + b->size;

	if (b->top == GORAW_END) {
		add(f, ROW_END, 1, 1);
		return 0;
	}
	if (b->gen != f->last_gen) {
		f->last_gen = b->gen;
		f->generations++;
	}
	add(f, ROW_BATCH_HEAD, b->head_size, 1);
	if (b->top == GORAW_EXPERIMENTAL) {
		add(f, ROW_EXPERIMENT, b->size, 1);
		return 0;
	}
	if (!b->size)
		return 0;
	switch (b->data[0]) {
	case GORAW_STRINGS:
		add(f, ROW_STRINGS, b->size, entries(b));
		return 0;
	case GORAW_STACKS:
		add(f, ROW_STACKS, b->size, entries(b));
		return 0;
	case GORAW_SAMPLES:
		add(f, ROW_SAMPLES, b->size, entries(b));
		return 0;
	case GORAW_FREQUENCY:
	case GORAW_SYNC:
		add(f, ROW_SYNC, b->size, 1);
		return 0;
	}
	while (p < end) {
		const uint8_t *from = p;
		unsigned type = *p++;
		int i, n = gotrace_wire_args(type);
		uint64_t v;

		for (i = 0; i <= n; i++)
			if (!varint_get(&p, end, &v))
				n = -1;
		if (n < 0) { /* the reader tells what is wrong; here only the bytes must add up */
			add(f, ROW_BAD, (uint64_t)(end - from), 1);
			break;
		}
		add(f, type, (uint64_t)(p - from), 1);
	}
	return 0;
}

static int on_record(void *ctx, const struct goraw_record *r, struct err *err)
{
	add(ctx, r->type, r->whole_size, 1);
	return 0;
}

struct row {
	unsigned id;
	uint64_t bytes;
};

static int by_bytes(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : x->id < y->id ? -1
										     : x->id > y->id;
}

int gofootprint_run(goraw_read_fn *read, void *arg, struct result *r, struct err *err)
{
	static const char *const names[ROWS - ROW_HEADER] = {
		"file header",
		"batch headers",
		"string table",
		"stack table",
		"CPU samples",
		"clocks",
		"experiment data",
		"generation ends",
		"damaged",
	};
	static const struct result_col cols[] = {
		{ "bytes", "BYTES", CELL_BYTES, 0 },
		{ "share", "SHARE", CELL_SHARE, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		{ "mean_bytes", "EACH", CELL_NUMBER, 0 },
		{ "kind", "KIND", CELL_TEXT, 0 },
	};
	struct footprint f = { 0 };
	struct goraw_visitor v = { &f, on_version, on_batch, on_record };
	struct row rows[ROWS];
	struct result_table *t;
	uint64_t all = 0;
	unsigned i, n = 0;
	int e = goraw_walk(read, arg, &v, err);

	for (i = 0; i < ROWS; i++) {
		all += f.bytes[i];
		if (f.bytes[i])
			rows[n++] = (struct row) { i, f.bytes[i] };
	}
	qsort(rows, n, sizeof(*rows), by_bytes);
	t = result_table(r, "footprint", "Bytes by kind", cols, sizeof(cols) / sizeof(*cols));
	for (i = 0; i < n; i++) {
		unsigned id = rows[i].id;
		const char *name = id >= ROW_HEADER ? names[id - ROW_HEADER] : f.version < 22 ? gotrace_v1_name(id)
											      : gander_gotrace_wire_name((uint8_t)id);

		cell_u64(t, f.bytes[id]);
		cell_f64(t, (double)f.bytes[id] / (double)all);
		cell_u64(t, f.n[id]);
		cell_f64(t, (double)f.bytes[id] / (double)(f.n[id] ? f.n[id] : 1));
		cell_text(t, name ? name : "?");
	}
	if (f.version >= 22)
		result_note(r, "go 1.%u, %llu bytes in %llu generations: the tables are written again in each", f.version, (unsigned long long)all,
			    (unsigned long long)f.generations);
	else if (f.version)
		result_note(r, "go 1.%u, %llu bytes", f.version, (unsigned long long)all);
	return e;
}
