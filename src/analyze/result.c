#include "analyze/result.h"
#include "base/hist.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void result_init(struct result *r, const struct gosyms *syms)
{
	memset(r, 0, sizeof(*r));
	r->syms = syms;
}

static bool is_text(const struct result_table *t, size_t cell)
{
	return t->col[cell % t->ncol].kind == CELL_TEXT;
}

void result_done(struct result *r)
{
	unsigned i;
	size_t k;

	for (i = 0; i < r->ntable; i++) {
		struct result_table *t = &r->table[i];

		for (k = 0; k < t->ncell; k++)
			if (is_text(t, k))
				free(t->cell[k].s);
		free(t->cell);
		free(t->col);
		free(t->name);
		free(t->title);
		free(t->after);
	}
	for (i = 0; i < r->nnote; i++)
		free(r->note[i]);
	free(r->note);
	free(r->table);
	memset(r, 0, sizeof(*r));
}

struct result_table *result_table(struct result *r, const char *name, const char *title, const struct result_col *cols, unsigned ncol)
{
	struct result_table *t;

	if (r->ntable == r->table_cap) {
		unsigned cap = r->table_cap ? r->table_cap * 2 : 8;

		t = realloc(r->table, cap * sizeof(*t));
		if (!t) {
			r->failed = true;
			return NULL;
		}
		r->table = t;
		r->table_cap = cap;
	}
	t = &r->table[r->ntable];
	memset(t, 0, sizeof(*t));
	t->name = strdup(name);
	t->title = strdup(title);
	t->col = malloc(ncol * sizeof(*cols));
	if (!t->name || !t->title || !t->col) {
		free(t->name);
		free(t->title);
		free(t->col);
		r->failed = true;
		return NULL;
	}
	memcpy(t->col, cols, ncol * sizeof(*cols));
	t->ncol = ncol;
	r->ntable++;
	return t;
}

void result_note(struct result *r, const char *fmt, ...)
{
	char **note = realloc(r->note, (r->nnote + 1) * sizeof(*note)), *s = NULL;
	va_list ap;

	if (!note) {
		r->failed = true;
		return;
	}
	r->note = note;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	if (s)
		r->note[r->nnote++] = s;
	else
		r->failed = true;
}

void result_after(struct result_table *t, const char *fmt, ...)
{
	va_list ap;

	if (!t)
		return;
	free(t->after);
	va_start(ap, fmt);
	if (vasprintf(&t->after, fmt, ap) < 0)
		t->after = NULL;
	va_end(ap);
}

static struct result_cell *push(struct result_table *t)
{
	if (!t)
		return NULL;
	if (t->ncell == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct result_cell *c = realloc(t->cell, cap * sizeof(*c));

		if (!c)
			return NULL;
		t->cell = c;
		t->cap = cap;
	}
	memset(&t->cell[t->ncell], 0, sizeof(*t->cell));
	return &t->cell[t->ncell++];
}

void cell_u64(struct result_table *t, uint64_t v)
{
	struct result_cell *c = push(t);

	if (c)
		c->u = v;
}

void cell_f64(struct result_table *t, double v)
{
	struct result_cell *c = push(t);

	if (c)
		c->f = v;
}

void cell_text(struct result_table *t, const char *s)
{
	struct result_cell *c = push(t);

	if (c) {
		c->s = strdup(s);
		c->none = !c->s;
	}
}

void cell_textf(struct result_table *t, const char *fmt, ...)
{
	struct result_cell *c = push(t);
	va_list ap;

	if (!c)
		return;
	va_start(ap, fmt);
	if (vasprintf(&c->s, fmt, ap) < 0) {
		c->s = NULL;
		c->none = true;
	}
	va_end(ap);
}

void cell_none(struct result_table *t)
{
	struct result_cell *c = push(t);

	if (c)
		c->none = true;
}

void cell_where(struct result_table *t, const struct gosyms *s, uint32_t stack)
{
	struct gosym_frame f = gosyms_where(s, stack);
	struct buf b = BUF_INIT;

	gosyms_where_text(s, stack, &b);
	cell_text(t, b.data ? b.data : "-");
	buf_done(&b);
	cell_text(t, gosyms_text(s, f.func));
	cell_text(t, gosyms_text(s, f.file));
	cell_u64(t, f.line);
	cell_u64(t, stack);
}

void cell_hist(struct result_table *t, const struct hist_lean *h)
{
	if (!h->count) {
		cell_none(t);
		cell_none(t);
		cell_none(t);
		return;
	}
	cell_u64(t, hist_lean_quantile(h, 0.5));
	cell_u64(t, hist_lean_quantile(h, 0.99));
	cell_u64(t, h->max);
}
