/* Everything that reads: one header to include, one library to link with (pkg-config gander-reader). Its parts may also be included alone.
 * C11 and C++17. Nothing here prints, exits or starts a thread; a reader belongs to one thread at a time. */
#ifndef GANDER_READER_H
#define GANDER_READER_H

#include "gander/ctf_reader.h"
#include "gander/gotrace.h"
#include "gander/recording.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version. */
const char *gander_reader_version(void);

#ifdef __cplusplus
}
#endif

#endif
