/* Where the generations of a Go trace lie in its file, from the headers of its batches alone: a gigabyte takes some ten thousand small reads. A generation
 * can be read without those before it, so a question about an instant needs only the generations around it. Formats 1.22 and later; what has no
 * generations, or is damaged, has none from there on. One owner. */
#ifndef GANDER_ANALYZE_GOGENS_H
#define GANDER_ANALYZE_GOGENS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct gogen {
	uint64_t offset;  /* in the file, of its first batch */
	int64_t start_ns; /* the time of its sync event */
};

struct gogens {
	struct gogen *v;
	uint32_t n, cap;
	uint8_t head[16]; /* of the file */
};

#define GOGENS_MAX (1u << 22)

/* `fd` can seek; its position is left alone. 0, also with n == 0; or -ENOMEM. */
int gogens_find(struct gogens *g, int fd);
void gogens_done(struct gogens *g);
/* The last generation that begins at or before a time; 0 when none does. */
uint32_t gogens_at(const struct gogens *g, int64_t time_ns);

/* For gander_gotrace_open_read(): the header, then the file from a generation on. */
struct gogens_reader {
	const struct gogens *g;
	int fd;
	uint64_t at; /* in what is given: the first 16 bytes are the header */
	uint64_t offset;
};
int64_t gogens_read(void *reader, void *to, size_t size);

#endif
