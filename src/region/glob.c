#include "region/glob.h"

/* One load for each use: the pattern may change, and a compiler that loads a byte twice could see two values. */
static unsigned char byte_at(const char *p, size_t i)
{
	return ((const volatile unsigned char *)p)[i];
}

#define CLASS_MAX 255u /* bytes; a longer class is none, so that a [ costs no more than this each time */

/* Matches one byte against the class behind the '[' at p[*i]; sets *i behind its ']'. -1: it has none. */
static int match_class(const char *p, size_t len, size_t *i, unsigned char c, uint32_t *work)
{
	size_t at = *i + 1, first;
	unsigned char low, high;
	bool hit = false, not ;

	if (len - *i > CLASS_MAX)
		len = *i + CLASS_MAX;
	not = at < len && ((low = byte_at(p, at)) == '!' || low == '^');
	at += not ;
	for (first = at; at < len; at++) {
		if (!*work)
			return 0;
		--*work;
		low = byte_at(p, at);
		if (low == ']' && at > first) {
			*i = at + 1;
			return hit != not ;
		}
		if (low == '\\' && at + 1 < len)
			low = byte_at(p, ++at);
		high = low;
		if (len - at > 2 && byte_at(p, at + 1) == '-' && byte_at(p, at + 2) != ']') {
			at += 2;
			high = byte_at(p, at);
			if (high == '\\' && at + 1 < len)
				high = byte_at(p, ++at);
		}
		hit |= low <= c && c <= high;
	}
	return -1;
}

bool gd_glob_match_bounded(const char *pattern, size_t patlen, const char *text, size_t textlen, uint32_t *work)
{
	size_t p = 0, t = 0, star = SIZE_MAX, star_t = 0;
	unsigned char c;
	int r;

	/* Between two retries p grows, each retry moves star_t on: patlen * textlen steps, whatever the bytes do. */
	for (;;) {
		if (!*work)
			return false;
		--*work;
		if (p < patlen) {
			c = byte_at(pattern, p);
			if (c == '*') {
				star = ++p;
				star_t = t;
				if (p == patlen)
					return true;
				continue;
			}
			if (t < textlen) {
				if (c == '?') {
					p++, t++;
					continue;
				}
				if (c == '[') {
					r = match_class(pattern, patlen, &p, (unsigned char)text[t], work);
					if (r > 0) {
						t++;
						continue;
					}
					if (r < 0 && (unsigned char)text[t] == '[') {
						p++, t++;
						continue;
					}
				} else {
					if (c == '\\' && p + 1 < patlen)
						c = byte_at(pattern, ++p);
					if (c == (unsigned char)text[t]) {
						p++, t++;
						continue;
					}
				}
			}
		} else if (t == textlen) {
			return true;
		}
		if (star == SIZE_MAX || star_t >= textlen)
			return false;
		p = star;
		star_t++;
		c = byte_at(pattern, p);
		if (c != '?' && c != '[' && c != '\\' && c != '*') {
			/* only where the byte behind the * stands is it worth another try */
			for (t = star_t; t < textlen && (unsigned char)text[t] != c; t++)
				;
			if (t == textlen || t - star_t > *work)
				return false;
			*work -= (uint32_t)(t - star_t);
			star_t = t;
		}
		t = star_t;
	}
}

bool gd_glob_match(const char *pattern, size_t patlen, const char *text, size_t textlen)
{
	uint32_t work = UINT32_MAX;

	return gd_glob_match_bounded(pattern, patlen, text, textlen, &work);
}
