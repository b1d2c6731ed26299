/* Plain files: what stands in a directory that came from elsewhere may be a pipe, which is opened when somebody writes to it, and that is never. */
#ifndef GANDER_BASE_PLAIN_H
#define GANDER_BASE_PLAIN_H

#include <stdbool.h>
#include <stdio.h>

/* For reading, close-on-exec; -Exxx and errno. What is no plain file is -EINVAL. */
int plain_open(const char *path);
/* The same with a buffer (json_loadfd() asks the kernel for each byte); NULL and errno. */
FILE *plain_fopen(const char *path);
bool plain_is(const char *path);

#endif
