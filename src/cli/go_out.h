/* The answers of analyses as text that fits a terminal, or as JSON. */
#ifndef GANDER_CLI_GO_OUT_H
#define GANDER_CLI_GO_OUT_H

#include "analyze/result.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdio.h>

/* To standard output, as one JSON object or as text. */
void go_out_print(const struct result *r, bool as_json, bool stacks);
/* stacks: under each row its whole stack. Titles are left out when there is one table. */
void go_out_text(const struct result *r, bool stacks, FILE *out);
/* Every table as a member of the open object: "blocked": [{...}, ...]; notes as "notes". */
void go_out_json(const struct result *r, struct json *j);
void go_out_cell(const struct result_col *col, const struct result_cell *cell, char *to, size_t size);

#endif
