/* Text tables for people: columns as wide as their content, numbers to the right, at most the terminal's width
 * (the last column is cut). And the units people read. One owner. */
#ifndef GANDER_BASE_TABLE_H
#define GANDER_BASE_TABLE_H

#include <stdint.h>
#include <stdio.h>

#define TABLE_COLS 16
struct table {
	int ncols, nrows, cap;
	char right[TABLE_COLS]; /* 1: to the right */
	char **cell;            /* nrows * ncols, owned */
	int col;                /* where the next cell goes */
};

/* `heads` is "NAME|>COUNT|>P99": one heading a column, '>' puts it to the right. */
void table_init(struct table *t, const char *heads);
void table_done(struct table *t);
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* left to right, row by row */
void table_print(struct table *t, FILE *out);                                                 /* width from out when it is a terminal, else unlimited */

/* Of the terminal that `out` is; 0: it is none. */
int table_width(FILE *out);
/* Lines that are longer than `width` (0: none is) are folded at a space, and go on indented by four columns more than they begin. Nothing is cut. */
void fold_print(const char *text, int width, FILE *out);

/* "12.3ms", "870ns", "4.02s": four characters of number at most. Returns `to`. */
#define UNIT_TEXT 24
char *duration_text(char to[UNIT_TEXT], uint64_t ns);
char *count_text(char to[UNIT_TEXT], double n);   /* "1.2M" */
char *bytes_text(char to[UNIT_TEXT], uint64_t n); /* "4.0 MiB" */

#endif
