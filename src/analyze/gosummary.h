/* A trace in one screen: what is in it, and the five worst things it shows. */
#ifndef GANDER_ANALYZE_GOSUMMARY_H
#define GANDER_ANALYZE_GOSUMMARY_H

#include "analyze/goanalysis.h"

/* The analyses that a summary wants in its run; NULL-terminated. */
extern const struct goan_type *const gosummary_types[];
void gosummary_report(struct gorun *run, const char *name, struct result *r);

#endif
