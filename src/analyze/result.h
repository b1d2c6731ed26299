/* What an analysis answers: named tables of typed cells, and notes. An analysis fills it and prints nothing; the command line makes text
 * for people, JSON or CSV of it, so a table cannot say one thing here and another there. Exact numbers are kept: units are
 * the printer's work. One owner. */
#ifndef GANDER_ANALYZE_RESULT_H
#define GANDER_ANALYZE_RESULT_H

#include "analyze/gosyms.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* qsort() takes no NULL, not even for nothing. */
static inline void goan_sort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	if (n > 1)
		qsort(base, n, size, cmp);
}

enum cell_kind {
	CELL_TEXT,
	CELL_COUNT,
	CELL_DURATION, /* ns */
	CELL_TIME,     /* ns since the trace's begin */
	CELL_BYTES,
	CELL_SHARE,  /* 0..1, printed as per cent */
	CELL_NUMBER, /* double */
	CELL_STACK,  /* a stack id; in text only on request, under its row */
};

enum {
	COL_JSON_ONLY = 1, /* not in the text table */
	COL_SENTENCE = 2,  /* of the second and last column of a text table: folded at 80 columns, not cut */
};

struct result_col {
	const char *key;  /* in JSON and CSV; the unit is in the name: "p99_ns" */
	const char *head; /* in text */
	enum cell_kind kind;
	unsigned flags;
};

struct result_cell {
	union {
		uint64_t u;
		double f;
		char *s; /* owned */
	};
	bool none; /* no such value: "-" in text, null in JSON */
};

struct result_table {
	char *name, *title; /* title may be "" */
	struct result_col *col;
	unsigned ncol;
	struct result_cell *cell;
	size_t ncell, cap;
	uint64_t more; /* rows that --top left out */
	char *after;   /* a line under the table, or NULL */
};

struct result {
	const struct gosyms *syms; /* of the stack cells; borrowed */
	struct result_table *table;
	unsigned ntable, table_cap;
	char **note;
	unsigned nnote;
	bool failed; /* out of memory */
};

void result_init(struct result *r, const struct gosyms *syms);
void result_done(struct result *r);
/* The table is good until the next result_table(). `cols` is copied. */
struct result_table *result_table(struct result *r, const char *name, const char *title, const struct result_col *cols, unsigned ncol);
void result_note(struct result *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void result_after(struct result_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Cells go left to right, row by row. `t` may be NULL (out of memory): nothing happens. */
void cell_u64(struct result_table *t, uint64_t v);
void cell_f64(struct result_table *t, double v);
void cell_text(struct result_table *t, const char *s);
void cell_textf(struct result_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cell_none(struct result_table *t);
/* "func:line" of the frame that says most, and on JSON's behalf the function, file and the stack: for WHERE_COLS. */
void cell_where(struct result_table *t, const struct gosyms *s, uint32_t stack);
#define WHERE_COLS \
	{ "where", "WHERE", CELL_TEXT, 0 }, { "function", NULL, CELL_TEXT, COL_JSON_ONLY }, \
		{ "file", NULL, CELL_TEXT, COL_JSON_ONLY }, { "line", NULL, CELL_COUNT, COL_JSON_ONLY }, \
	{ \
		"stack", NULL, CELL_STACK, COL_JSON_ONLY \
	}
/* count, sum, p50, p99, max of a histogram: for HIST_COLS. */
struct hist_lean;
void cell_hist(struct result_table *t, const struct hist_lean *h);
#define HIST_COLS \
	{ "p50_ns", "P50", CELL_DURATION, 0 }, { "p99_ns", "P99", CELL_DURATION, 0 }, \
	{ \
		"max_ns", "MAX", CELL_DURATION, 0 \
	}

static inline unsigned result_rows(const struct result_table *t)
{
	return t->ncol ? (unsigned)(t->ncell / t->ncol) : 0;
}

#endif
