#include "export/goraw.h"
#include "base/varint.h"
#include "gotrace/gotrace.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER        262144
#define MAX_BATCH     65536
#define MAX_V1_STRING 1000000
#define MAX_V1_ARGS   65536

struct in {
	goraw_read_fn *read;
	void *arg;
	uint8_t *buf;
	size_t at, len, cap;
	uint64_t offset; /* of buf[0] in the input */
	bool ended;
	int failed;
};

/* At least n bytes from `at` on, unless the input ends before. */
static size_t have(struct in *in, size_t n)
{
	while (in->len - in->at < n && !in->ended) {
		int64_t got;

		if (in->at) {
			memmove(in->buf, in->buf + in->at, in->len - in->at);
			in->len -= in->at;
			in->offset += in->at;
			in->at = 0;
		}
		if (n > in->cap) {
			uint8_t *b = realloc(in->buf, n + BUFFER);

			if (!b) {
				in->failed = -ENOMEM;
				in->ended = true;
				break;
			}
			in->buf = b;
			in->cap = n + BUFFER;
		}
		got = in->read(in->arg, in->buf + in->len, in->cap - in->len);
		if (got < 0)
			in->failed = (int)got;
		if (got <= 0)
			in->ended = true;
		else
			in->len += (size_t)got;
	}
	return in->len - in->at;
}

static bool varint(struct in *in, uint64_t *v)
{
	const uint8_t *p, *start;
	size_t n = have(in, 10);

	start = p = in->buf + in->at;
	if (!varint_get(&p, start + (n < 10 ? n : 10), v))
		return false;
	in->at += (size_t)(p - start);
	return true;
}

static int broken(struct in *in, const char *what, struct err *err)
{
	if (in->failed) {
		errno = -in->failed;
		return err_set(err, in->failed, "cannot read the trace: %m");
	}
	return err_set(err, -EPROTO, "the trace is cut off or damaged at byte %llu: %s expected", (unsigned long long)(in->offset + in->at), what);
}

static int walk_v2(struct in *in, const struct goraw_visitor *v, struct err *err)
{
	int r;

	while (have(in, 1)) {
		struct goraw_batch b = { .top = in->buf[in->at] };
		uint64_t size, begin = in->offset + in->at;

		in->at++;
		if (b.top == GORAW_END) {
			b.head_size = 1;
			r = v->batch(v->ctx, &b, err);
			if (r < 0)
				return r;
			continue;
		}
		if (b.top != GORAW_BATCH && b.top != GORAW_EXPERIMENTAL)
			return broken(in, "a batch", err);
		if (b.top == GORAW_EXPERIMENTAL) {
			if (!have(in, 1))
				return broken(in, "an experiment's number", err);
			b.exp = in->buf[in->at++];
		}
		if (!varint(in, &b.gen) || !varint(in, &b.thread) || !varint(in, &b.time) || !varint(in, &size))
			return broken(in, "a batch header", err);
		if (size > MAX_BATCH)
			return broken(in, "a batch of at most 65536 bytes", err);
		b.head_size = (size_t)(in->offset + in->at - begin);
		if (have(in, size) < size)
			return broken(in, "the rest of a batch", err);
		b.data = in->buf + in->at;
		b.size = size;
		in->at += size;
		r = v->batch(v->ctx, &b, err);
		if (r < 0)
			return r;
	}
	return in->failed ? broken(in, "more", err) : 0;
}

/* Skips `count` varints; the length in bytes, or -1. */
static int64_t skip_varints(const uint8_t *p, size_t n, unsigned count)
{
	const uint8_t *start = p;
	uint64_t v;

	while (count--)
		if (!varint_get(&p, start + n, &v))
			return -1;
	return p - start;
}

static int walk_v1(struct in *in, const struct goraw_visitor *v, struct err *err)
{
	int r;

	while (have(in, 1)) {
		struct goraw_record rec = { .type = in->buf[in->at] & 0x3f, .n = in->buf[in->at] >> 6 };
		uint64_t begin = in->offset + in->at, size;
		size_t args;
		int64_t len;

		if (!gotrace_v1_name(rec.type))
			return broken(in, "a known record", err);
		in->at++;
		if (rec.type == GORAW_V1_STRING) {
			if (!varint(in, &rec.id) || !varint(in, &size) || size > MAX_V1_STRING || have(in, size) < size)
				return broken(in, "a string", err);
			rec.args = in->buf + in->at; /* none */
			rec.text = (const char *)in->buf + in->at;
			rec.text_size = size;
			in->at += size;
		} else {
			if (rec.n == 3) {
				if (!varint(in, &size) || size > MAX_V1_ARGS)
					return broken(in, "a record's length", err);
			} else {
				size = 10 * (rec.n + 1u);
			}
			/* a log's text follows its arguments: all of it must lie in the buffer at once */
			args = have(in, size + (rec.type == GORAW_V1_LOG ? MAX_V1_STRING + 10 : 0));
			if (rec.n < 3) {
				len = skip_varints(in->buf + in->at, args < size ? args : size, rec.n + 1u);
				if (len < 0)
					return broken(in, "a record's arguments", err);
				size = (uint64_t)len;
			} else if (args < size) {
				return broken(in, "a record's arguments", err);
			}
			rec.args = in->buf + in->at;
			rec.args_size = size;
			in->at += size;
			if (rec.type == GORAW_V1_LOG) {
				const uint8_t *p = in->buf + in->at, *end = in->buf + in->len;
				uint64_t text;

				if (!varint_get(&p, end, &text) || text > MAX_V1_STRING || text > (uint64_t)(end - p))
					return broken(in, "a log's text", err);
				rec.text = (const char *)p;
				rec.text_size = text;
				in->at = (size_t)(p - in->buf) + text;
			}
		}
		rec.whole_size = (size_t)(in->offset + in->at - begin);
		r = v->record(v->ctx, &rec, err);
		if (r < 0)
			return r;
	}
	return in->failed ? broken(in, "more", err) : 0;
}

int goraw_walk(goraw_read_fn *read, void *arg, const struct goraw_visitor *v, struct err *err)
{
	struct in in = { .read = read, .arg = arg, .cap = BUFFER };
	unsigned version;
	int r;

	in.buf = malloc(BUFFER);
	if (!in.buf)
		return err_set(err, -ENOMEM, "out of memory");
	if (have(&in, 16) < 16) {
		r = in.failed ? broken(&in, "a header", err) : err_set(err, -EPROTO, "not a Go execution trace: shorter than its header");
		goto out;
	}
	version = gotrace_version(in.buf);
	in.at = 16;
	if (!version) {
		r = err_set(err, -EPROTO, "not a Go execution trace");
		goto out;
	}
	if (version != 11 && version != 19 && version != 21 && version != 22 && version != 23 && version != 25 && version != 26) {
		r = err_set(err, -ENOTSUP, "a trace of version 1.%u is not read", version);
		goto out;
	}
	r = v->version ? v->version(v->ctx, version, err) : 0;
	if (r >= 0)
		r = version < 22 ? walk_v1(&in, v, err) : walk_v2(&in, v, err);
out:
	free(in.buf);
	return r;
}
