/* Bytes in memory, for what reads by callback. */
#ifndef GANDER_TESTS_MEMREAD_H
#define GANDER_TESTS_MEMREAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct memory {
	const uint8_t *p;
	size_t left;
};

static int64_t read_memory(void *arg, void *to, size_t size)
{
	struct memory *m = arg;
	size_t n = m->left < size ? m->left : size;

	if (n)
		memcpy(to, m->p, n);
	m->p += n;
	m->left -= n;
	return (int64_t)n;
}

#endif
