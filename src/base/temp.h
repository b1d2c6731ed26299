/* Files that nobody sees: unlinked from the start. */
#ifndef GANDER_BASE_TEMP_H
#define GANDER_BASE_TEMP_H

#include <stddef.h>

/* In the first of `dir` (may be NULL), $TMPDIR, /var/tmp and /tmp that takes one: the descriptor, close-on-exec, or what the last said as -Exxx and in errno. */
int temp_file(const char *dir);
/* All of it: 0, or -Exxx and errno; also when the disk takes only a part. */
int temp_write(int fd, const void *data, size_t size);

#endif
