/* A growing byte buffer, always NUL-terminated behind its end. One owner, no threads.
 * An allocation failure sticks: later calls do nothing and buf_failed() says so, so that a writer
 * checks once, at the end. */
#ifndef GANDER_BASE_BUF_H
#define GANDER_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data; /* never NULL after the first put; owned */
	size_t len;
	size_t cap;
	bool failed;
};

#define BUF_INIT \
	{ \
		0, 0, 0, false \
	}

void buf_done(struct buf *b);  /* frees; b may be used again */
void buf_clear(struct buf *b); /* len = 0, keeps the memory */
bool buf_failed(const struct buf *b);
int buf_reserve(struct buf *b, size_t more); /* room for `more` bytes; 0 or -ENOMEM */
void buf_put(struct buf *b, const void *data, size_t len);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_put_u64(struct buf *b, uint64_t v); /* decimal digits */
void buf_put_i64(struct buf *b, int64_t v);

#endif
