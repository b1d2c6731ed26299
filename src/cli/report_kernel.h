/* The kernel's part of `gander report`: what the scheduler did with the recorded programs' threads. */
#ifndef GANDER_CLI_REPORT_KERNEL_H
#define GANDER_CLI_REPORT_KERNEL_H

#include "base/json.h"
#include "timeline/kview.h"

#include <jansson.h>
#include <stdio.h>

struct report_kernel;

/* 0 with *ret NULL when the recording has no scheduler events; else -Exxx. */
int report_kernel_new(struct report_kernel **ret, const char *dir, const json_t *manifest, struct err *err);
void report_kernel_free(struct report_kernel *k); /* NULL is fine, for the others too: then they print nothing */
const struct kview *report_kernel_view(const struct report_kernel *k);
void report_kernel_text(const struct report_kernel *k, FILE *out);
void report_kernel_json(const struct report_kernel *k, struct json *j); /* a member "kernel" */

#endif
