/* Everything that reads: one header to include. Its parts may also be included alone. */
#ifndef GANDER_READER_H
#define GANDER_READER_H

#include "gander/ctf_reader.h"
#include "gander/gotrace.h"

#endif
