/* A recording in the other version of CTF. Both have the same streams, so these are copied whole (without decoding; by reference where the file
 * system can) and only the metadata is another: made from the model, so that LTTng's traces can be converted too. */
#ifndef GANDER_CTF_CTF_EXPORT_H
#define GANDER_CTF_CTF_EXPORT_H

#include "base/err.h"

/* from: a trace or a directory with traces below; to: made, must not hold anything. version: 1 or 2. The directories below keep their names. */
int ctf_export(const char *from, const char *to, int version, struct err *err);

#endif
