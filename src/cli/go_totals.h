/* What is said about the Go traces of a recording or a snapshot. */
#ifndef GANDER_CLI_GO_TOTALS_H
#define GANDER_CLI_GO_TOTALS_H

#include "base/json.h"
#include "collect/collect.h"

#include <stdbool.h>
#include <stdio.h>

void go_totals_json(struct json *j, const struct go_totals *t); /* a member "go" */
void go_totals_text(const struct go_totals *t, FILE *out);      /* a line for what there is and one for what was lost */
bool go_totals_lost(const struct go_totals *t);

#endif
