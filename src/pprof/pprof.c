/* Field numbers are profile.proto's (github.com/google/pprof/proto/profile.proto). Protobuf allows fields in any order and
 * pprof resolves indices only after the whole message is read: so a string is written when it first appears, a location before
 * the first sample that names it, and nothing but the tables of what has been written is kept. */
#include "pprof/pprof.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/proto.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { /* Profile */
       P_SAMPLE_TYPE = 1,
       P_SAMPLE = 2,
       P_MAPPING = 3,
       P_LOCATION = 4,
       P_FUNCTION = 5,
       P_STRING = 6,
       P_TIME = 9,
       P_DURATION = 10,
       P_PERIOD_TYPE = 11,
       P_PERIOD = 12,
       P_COMMENT = 13,
};

struct place { /* what makes a location one: hashed as bytes */
	uint64_t address;
	int64_t line;
	uint32_t function, pad;
};

struct pprof {
	FILE *out;
	z_stream z;
	bool z_open;
	int failed;     /* -Exxx, first */
	struct buf msg; /* the message being built */
	struct buf sub; /* a message inside it */
	struct buf raw; /* what waits for the compressor */
	struct intern strings;
	struct intern functions; /* (name, file) as string ids */
	struct intern locations; /* struct place */
	unsigned ntypes;
	bool has_mapping;
	unsigned char zbuf[65536];
};

static void fail(struct pprof *p, int code)
{
	if (!p->failed)
		p->failed = code;
}

static void deflate_some(struct pprof *p, int flush)
{
	int r;

	p->z.next_in = (unsigned char *)p->raw.data;
	p->z.avail_in = (unsigned)p->raw.len;
	do {
		p->z.next_out = p->zbuf;
		p->z.avail_out = sizeof(p->zbuf);
		r = deflate(&p->z, flush);
		if (r == Z_STREAM_ERROR) {
			fail(p, -EIO);
			break;
		}
		errno = 0;
		if (fwrite(p->zbuf, 1, sizeof(p->zbuf) - p->z.avail_out, p->out) != sizeof(p->zbuf) - p->z.avail_out)
			fail(p, errno ? -errno : -EIO);
	} while (!p->z.avail_out);
	buf_clear(&p->raw);
}

static void put(struct pprof *p, unsigned field, const struct buf *b)
{
	proto_bytes(&p->raw, field, b->data ? b->data : "", b->len);
	if (p->raw.len > 262144)
		deflate_some(p, Z_NO_FLUSH);
}

static uint32_t string(struct pprof *p, const char *s)
{
	size_t len = strlen(s);
	bool added;
	int64_t id = intern_bytes(&p->strings, s, len, &added);

	if (id < 0) {
		fail(p, -ENOMEM);
		return 0;
	}
	if (added) {
		proto_bytes(&p->raw, P_STRING, s, len);
		if (p->raw.len > 262144)
			deflate_some(p, Z_NO_FLUSH);
	}
	return (uint32_t)id;
}

int pprof_open(struct pprof **ret, FILE *out, struct err *err)
{
	struct pprof *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	p->out = out;
	/* level 1: what the Go runtime uses for its own profiles; 16+15: gzip */
	if (deflateInit2(&p->z, 1, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(p);
		return err_set(err, -ENOMEM, "out of memory");
	}
	p->z_open = true;
	string(p, "");
	*ret = p;
	return 0;
}

void pprof_free(struct pprof *p)
{
	if (!p)
		return;
	if (p->z_open)
		deflateEnd(&p->z);
	buf_done(&p->msg);
	buf_done(&p->sub);
	buf_done(&p->raw);
	intern_done(&p->strings);
	intern_done(&p->functions);
	intern_done(&p->locations);
	free(p);
}

static void value_type(struct pprof *p, unsigned field, const char *type, const char *unit)
{
	uint32_t t = string(p, type), u = string(p, unit);

	buf_clear(&p->msg);
	proto_u64(&p->msg, 1, t);
	proto_u64(&p->msg, 2, u);
	put(p, field, &p->msg);
}

void pprof_sample_type(struct pprof *p, const char *type, const char *unit)
{
	value_type(p, P_SAMPLE_TYPE, type, unit);
	p->ntypes++;
}

void pprof_period(struct pprof *p, const char *type, const char *unit, int64_t period)
{
	value_type(p, P_PERIOD_TYPE, type, unit);
	proto_u64(&p->raw, P_PERIOD, (uint64_t)period);
}

void pprof_time(struct pprof *p, int64_t time_ns, int64_t duration_ns)
{
	proto_u64(&p->raw, P_TIME, (uint64_t)time_ns);
	proto_u64(&p->raw, P_DURATION, (uint64_t)duration_ns);
}

void pprof_comment(struct pprof *p, const char *text)
{
	uint32_t s = string(p, text);

	proto_u64(&p->raw, P_COMMENT, s);
}

void pprof_mapping(struct pprof *p, const char *file, const char *build_id)
{
	uint32_t f = string(p, file), b = string(p, build_id);

	buf_clear(&p->msg);
	proto_u64(&p->msg, 1, 1);
	proto_u64(&p->msg, 3, UINT64_MAX >> 1); /* memory_limit: all of the address space */
	proto_u64(&p->msg, 5, f);
	proto_u64(&p->msg, 6, b);
	proto_u64(&p->msg, 7, 1); /* has_functions */
	proto_u64(&p->msg, 8, 1);
	proto_u64(&p->msg, 9, 1);
	put(p, P_MAPPING, &p->msg);
	p->has_mapping = true;
}

static uint32_t function(struct pprof *p, const char *name, const char *file)
{
	uint32_t key[2] = { string(p, name), string(p, file) };
	bool added;
	int64_t id = intern_bytes(&p->functions, key, sizeof(key), &added);

	if (id < 0) {
		fail(p, -ENOMEM);
		return 0;
	}
	if (added) {
		buf_clear(&p->msg);
		proto_u64(&p->msg, 1, (uint64_t)id + 1);
		proto_u64(&p->msg, 2, key[0]);
		proto_u64(&p->msg, 3, key[0]);
		proto_u64(&p->msg, 4, key[1]);
		put(p, P_FUNCTION, &p->msg);
	}
	return (uint32_t)id + 1;
}

uint64_t pprof_location(struct pprof *p, uint64_t address, const char *func, const char *file, int64_t line)
{
	struct place place = { address, line, function(p, func, file), 0 };
	bool added;
	int64_t id = intern_bytes(&p->locations, &place, sizeof(place), &added);

	if (id < 0) {
		fail(p, -ENOMEM);
		return 0;
	}
	if (added) {
		buf_clear(&p->msg);
		proto_u64(&p->msg, 1, (uint64_t)id + 1);
		if (p->has_mapping)
			proto_u64(&p->msg, 2, 1);
		proto_u64(&p->msg, 3, address);
		buf_clear(&p->sub);
		proto_u64(&p->sub, 1, place.function);
		proto_u64(&p->sub, 2, (uint64_t)line);
		proto_bytes(&p->msg, 4, p->sub.data, p->sub.len);
		put(p, P_LOCATION, &p->msg);
	}
	return (uint64_t)id + 1;
}

void pprof_sample(struct pprof *p, const uint64_t *location, unsigned nlocation, const int64_t *values,
		  const struct pprof_label *labels, unsigned nlabels)
{
	unsigned i;

	buf_clear(&p->msg);
	buf_clear(&p->sub);
	for (i = 0; i < nlocation; i++)
		varint_put(&p->sub, location[i]);
	if (nlocation)
		proto_bytes(&p->msg, 1, p->sub.data, p->sub.len);
	buf_clear(&p->sub);
	for (i = 0; i < p->ntypes; i++)
		varint_put(&p->sub, (uint64_t)values[i]);
	proto_bytes(&p->msg, 2, p->sub.data ? p->sub.data : "", p->sub.len);
	for (i = 0; i < nlabels; i++) {
		const struct pprof_label *l = &labels[i];

		buf_clear(&p->sub);
		proto_u64(&p->sub, 1, string(p, l->key));
		if (l->str) {
			proto_u64(&p->sub, 2, string(p, l->str));
		} else {
			proto_u64(&p->sub, 3, (uint64_t)l->num);
			if (l->unit)
				proto_u64(&p->sub, 4, string(p, l->unit));
		}
		proto_bytes(&p->msg, 3, p->sub.data, p->sub.len);
	}
	put(p, P_SAMPLE, &p->msg);
}

int pprof_finish(struct pprof *p, struct err *err)
{
	deflate_some(p, Z_FINISH);
	errno = 0;
	if (fflush(p->out))
		fail(p, errno ? -errno : -EIO);
	if (buf_failed(&p->msg) || buf_failed(&p->sub) || buf_failed(&p->raw))
		fail(p, -ENOMEM);
	if (p->failed) {
		errno = -p->failed;
		return err_set(err, p->failed, "cannot write the profile: %m");
	}
	return 0;
}
