/* Events as CSV (RFC 4180): a column for each name that occurs, so a recording is read twice: for the columns, then for the rows. */
#ifndef GANDER_CLI_EXPORT_CSV_H
#define GANDER_CLI_EXPORT_CSV_H

#include "ctf/ctf_read.h"

struct export_csv;

struct export_csv *export_csv_new(void); /* NULL: out of memory */
void export_csv_free(struct export_csv *c);

/* First for each event that will have a row, then the header, then a row each: the event that came last of r, which may be another reader of the same recording.
 * 0 or -ENOMEM; export_csv_row() -ESTALE, with nothing written: it has a name that was in none of the events before. */
int export_csv_look(struct export_csv *c, struct gander_ctf *r, const struct gander_ctf_event *ev);
int export_csv_header(struct export_csv *c, struct ctf_out *out);
int export_csv_row(struct export_csv *c, struct gander_ctf *r, const struct gander_ctf_event *ev, struct ctf_out *out);

#endif
