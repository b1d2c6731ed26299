/* Runs a compiled program over an event's bytes. One body of code for the three things that can come of it, chosen when it is compiled:
 * nothing but the place behind it, values, or text. */
#ifndef GANDER_CTF_CTF_RUN_H
#define GANDER_CTF_CTF_RUN_H

#include "ctf/ctf_layout.h"

/* Text being made: always with room for OUT_SLACK bytes at `at`. */
#define OUT_SLACK 256u
struct ctf_out {
	char *base, *at, *end; /* end: OUT_SLACK before the memory's */
	bool failed;
};

int ctf_out_grow(struct ctf_out *o, size_t more);

/* Room for more + OUT_SLACK; 0 or -ENOMEM. */
static inline int ctf_out_more(struct ctf_out *o, size_t more)
{
	return __builtin_expect(o->base && o->end - o->at >= (ptrdiff_t)more, 1) ? 0 : ctf_out_grow(o, more);
}

void ctf_out_done(struct ctf_out *o);

struct ctf_values {
	struct gander_ctf_value *v;
	uint32_t n, cap;
};

#define CTF_VALUES_MAX (1u << 20) /* in one event */

struct ctf_run {
	const uint8_t *data; /* where the packet would begin; 16 bytes may be read behind `limit` */
	uint64_t pos, limit; /* bits from there */
	uint64_t *regs;
	/* what fields with a role said */
	uint64_t role[16];
	uint32_t roles; /* bit: that role was met */
	uint64_t clock; /* times of fewer bits than 64 continue it */
	const uint8_t *uuid;
	struct ctf_out *out;
	struct ctf_values *values;
};

/* 0; -EAGAIN: the bytes end before the event does; -EPROTO: no event looks like that; -ENOMEM, -EFBIG. */
int ctf_run_skip(struct ctf_run *r, const struct ctf_prog *p);
int ctf_run_values(struct ctf_run *r, const struct ctf_prog *p);
int ctf_run_text(struct ctf_run *r, const struct ctf_prog *p, uint32_t from, uint32_t to); /* its operations from .. to - 1 */

/* Text of single things, for all who write it. The caller has the room: 24, 24, 32, 24 bytes. Return behind it. */
char *ctf_put_u64(char *to, uint64_t v);
char *ctf_put_i64(char *to, int64_t v);
char *ctf_put_f64(char *to, double v);
char *ctf_put_duration(char *to, int64_t ns);
char *ctf_put_nano(char *to, uint32_t v);                          /* nine digits */
unsigned ctf_utf8_len(const uint8_t *s, size_t len);               /* of the sequence at s, 0: none, or a C1 control */
void ctf_put_quoted(struct ctf_out *o, const char *s, size_t len); /* in quotes; what a terminal might act upon is escaped */
void ctf_put_name(struct ctf_out *o, const char *name);            /* bare when nobody could misread it, else quoted */
void ctf_put_raw(struct ctf_out *o, const char *s, size_t len);    /* as it is */

static inline uint64_t ctf_advance_clock(uint64_t clock, uint64_t value, unsigned bits)
{
	uint64_t mask = bits < 64 ? (1ull << bits) - 1 : ~0ull;

	if (bits >= 64)
		return value;
	value &= mask;
	if (value < (clock & mask))
		clock += mask + 1;
	return (clock & ~mask) | value;
}

#endif
