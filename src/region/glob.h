/* Shell patterns over names and strings, the same in the tracer, the collector and Go (go/internal/vm):
 *
 *   *      any bytes, also none          [a-z_]  one byte of these; ] first in it stands for itself
 *   ?      one byte                      [!a-z]  one byte but these ([^a-z] too)
 *   \x     x itself                      an unclosed [ and a \ at the end stand for themselves
 *
 * The whole text must match. Bytes, not characters; no locale; / and . are nothing special. */
#ifndef GANDER_REGION_GLOB_H
#define GANDER_REGION_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Only the last * is ever tried again: at most patlen * textlen steps (a [...] of n bytes, n < 256, counts n).
 * Async-signal-safe; the bytes may change meanwhile. */
bool gd_glob_match(const char *pattern, size_t patlen, const char *text, size_t textlen);

/* The same with a bound: *work falls by the steps taken; false when it would fall below zero. */
bool gd_glob_match_bounded(const char *pattern, size_t patlen, const char *text, size_t textlen, uint32_t *work);

#endif
