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
void go_out_json_stack(const struct gosyms *s, uint32_t stack, struct json *j);
/* A name from the trace, without what a terminal would obey. */
void go_out_name(const char *name, FILE *out);
/* Words up to column 80, or 40 columns where the indentation is deep; further lines begin with `prefix`. `at`: columns that are used already. */
void go_out_wrap(const char *text, size_t at, const char *prefix, FILE *out);
size_t go_out_shown(const char *s); /* columns */
void go_out_cell(const struct result_col *col, const struct result_cell *cell, char *to, size_t size);

#endif
