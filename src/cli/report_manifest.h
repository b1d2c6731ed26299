/* What gander.json says of a recording, for the report. */
#ifndef GANDER_CLI_REPORT_MANIFEST_H
#define GANDER_CLI_REPORT_MANIFEST_H

#include <jansson.h>

/* NULL: there is none. One that was rotated says it in its chunks: what the report asks for is put together of those that are there: times, losses, problems, programs as the last chunk
 * has them, Go traces with their paths from `dir`, the kernel's groups and pids. The caller's. */
json_t *report_manifest(const char *dir);

#endif
