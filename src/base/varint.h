/* Whole numbers in seven bits a byte, the lowest first: what Go traces and protobuf are made of. */
#ifndef GANDER_BASE_VARINT_H
#define GANDER_BASE_VARINT_H

#include "base/buf.h"

/* Reads one from [*p, end): false when it is cut, longer than ten bytes or larger than 64 bits; then it is 0 and *p stays. */
static inline bool varint_get(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	const uint8_t *s = *p;
	uint64_t v = 0;
	unsigned i;

	if (__builtin_expect(s < end && *s < 0x80, 1)) {
		*ret = *s;
		*p = s + 1;
		return true;
	}
	for (i = 0; i < 10 && s < end; i++, s++) {
		v |= (uint64_t)(*s & 0x7f) << (7 * i);
		if (*s < 0x80) {
			if (i == 9 && *s > 1)
				break;
			*ret = v;
			*p = s + 1;
			return true;
		}
	}
	*ret = 0;
	return false;
}

static inline void varint_put(struct buf *b, uint64_t v)
{
	unsigned char tmp[10];
	unsigned n = 0;

	while (v >= 0x80) {
		tmp[n++] = (unsigned char)(v | 0x80);
		v >>= 7;
	}
	tmp[n++] = (unsigned char)v;
	buf_put(b, tmp, n);
}

#endif
