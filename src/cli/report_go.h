/* The goroutines' part of `gander report`, and the clocks that sources were brought onto one from. */
#ifndef GANDER_CLI_REPORT_GO_H
#define GANDER_CLI_REPORT_GO_H

#include "base/json.h"
#include "timeline/kview.h"

#include <stdio.h>

struct report_go;

/* Reads the recording's Go traces; kv may be NULL. A trace that breaks off is used as far as it goes. -EXDEV: of different machines or boots. */
int report_go_new(struct report_go **ret, const char *dir, const struct kview *kv, struct err *err);
void report_go_free(struct report_go *g); /* NULL is fine, for the others too */
void report_go_text(const struct report_go *g, FILE *out);
void report_go_clocks_text(const struct report_go *g, FILE *out);
void report_go_json(const struct report_go *g, struct json *j); /* members "goroutines", "clocks" */
unsigned report_go_notes(const struct report_go *g, void (*say)(void *arg, const char *where, const char *text), void *arg);

#endif
