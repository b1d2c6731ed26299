#include "cli/export_csv.h"
#include "base/map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fixed[] = { "time_ns", "process", "pid", "event", "lost" };
#define FIXED (sizeof(fixed) / sizeof(*fixed))

struct column {
	bool context;
	uint64_t row;   /* that last had a value here */
	uint32_t value; /* which of its values */
	uint32_t turn;  /* how many of its values are called so */
};

struct export_csv {
	struct intern names; /* of the columns, by number */
	struct column *column;
	uint32_t ncolumns, cap;
	struct map by_name; /* address of a name, and whether it is a context's -> column */
	uint64_t row;
	bool looked; /* no more columns */
	struct ctf_out cell;
};

/* The column that is called so, a new one as long as columns are looked for. */
static int64_t column(struct export_csv *c, const char *name, bool context)
{
	struct column *more;
	int64_t at;
	bool added;

	at = intern_bytes(&c->names, name, strlen(name), &added);
	if (at < 0 || !added)
		return at >= c->ncolumns ? -ESTALE : at;
	if (c->looked)
		return -ESTALE;
	if (c->ncolumns == c->cap) {
		more = realloc(c->column, (c->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		c->column = more;
		c->cap = c->cap * 2 + 64;
	}
	c->column[c->ncolumns++] = (struct column) { .context = context };
	return at;
}

struct export_csv *export_csv_new(void)
{
	struct export_csv *c = calloc(1, sizeof(*c));
	size_t i;

	for (i = 0; c && i < FIXED; i++)
		if (column(c, fixed[i], false) < 0) {
			export_csv_free(c);
			return NULL;
		}
	return c;
}

void export_csv_free(struct export_csv *c)
{
	if (!c)
		return;
	intern_done(&c->names);
	map_done(&c->by_name);
	ctf_out_done(&c->cell);
	free(c->column);
	free(c);
}

/* The column of a value. A field that is called as one of the fixed columns has "fields." before it; what an event has twice, a number behind it. */
static int64_t column_of(struct export_csv *c, const char *name, bool context, uint32_t turn)
{
	struct buf text = BUF_INIT;
	uint64_t *known;
	bool added;
	int64_t at;
	size_t i;

	known = map_put(&c->by_name, (uint64_t)(uintptr_t)name << 1 | context, &added);
	if (!known)
		return -ENOMEM;
	if (!added && turn == 1)
		return (int64_t)*known;
	buf_puts(&text, context ? "$" : "");
	for (i = 0; i < FIXED && !context; i++)
		if (!strcmp(name, fixed[i]))
			buf_puts(&text, "fields.");
	buf_puts(&text, name);
	if (turn > 1)
		buf_printf(&text, "#%" PRIu32, turn);
	at = buf_failed(&text) ? -ENOMEM : column(c, text.data ? text.data : "", context);
	buf_done(&text);
	if (turn > 1)
		return at;
	if (at < 0)
		map_del(&c->by_name, (uint64_t)(uintptr_t)name << 1 | context);
	else
		*known = (uint64_t)at;
	return at;
}

/* Puts each value of the event into its column. */
static int place(struct export_csv *c, const struct gander_ctf_value *v, int n)
{
	int64_t at, first;
	uint32_t k;
	int i;

	c->row++;
	for (i = 0; i < n; i = (int)v[i].next)
		for (k = (uint32_t)i + 1; k < v[i].next; k = v[k].next) {
			bool context = v[i].count != GANDER_CTF_FIELDS;

			first = at = column_of(c, v[k].name, context, 1);
			while (at >= 0 && c->column[at].row == c->row)
				at = column_of(c, v[k].name, context, ++c->column[first].turn);
			if (at < 0)
				return (int)at;
			c->column[at].row = c->row;
			c->column[at].value = k;
			c->column[at].turn = 1;
		}
	return n == -ENOMEM ? n : 0;
}

int export_csv_look(struct export_csv *c, struct gander_ctf *r, const struct gander_ctf_event *ev)
{
	const struct gander_ctf_value *v = NULL;
	int n = ev->kind == GANDER_CTF_EVENT ? gander_ctf_values(r, ev, &v) : 0;

	return place(c, v, n);
}

/* Quoted when it has to be. Empty text is "", as nothing at all is another thing. What RFC 4180 has no room for (control characters, bytes that are no UTF-8) becomes U+FFFD. */
static void put_cell(struct ctf_out *o, const char *s, size_t len)
{
	bool quoted = !len || memchr(s, '"', len) || memchr(s, ',', len) || memchr(s, '\n', len) || memchr(s, '\r', len);
	const uint8_t *p = (const uint8_t *)s, *end = p + len;
	unsigned n;

	if (ctf_out_more(o, len * 3 + 2) < 0)
		return;
	if (quoted)
		*o->at++ = '"';
	while (p < end) {
		n = *p >= 0x80 ? ctf_utf8_len(p, (size_t)(end - p)) : (*p >= ' ' && *p != 0x7f) || *p == '\n' || *p == '\r' || *p == '\t';
		if (*p == '"')
			*o->at++ = '"';
		if (n) {
			memcpy(o->at, p, n);
			o->at += n;
			p += n;
		} else {
			memcpy(o->at, "\xef\xbf\xbd", 3);
			o->at += 3;
			p++;
		}
	}
	if (quoted)
		*o->at++ = '"';
}

static void put_char(struct ctf_out *o, char c)
{
	if (ctf_out_more(o, 1) == 0)
		*o->at++ = c;
}

int export_csv_header(struct export_csv *c, struct ctf_out *out)
{
	uint32_t i, round;

	c->looked = true;
	map_done(&c->by_name); /* the next reader has its names elsewhere */
	for (i = 0; i < FIXED; i++) {
		ctf_put_raw(out, ",", i > 0);
		ctf_put_raw(out, fixed[i], strlen(fixed[i]));
	}
	for (round = 0; round < 2; round++)
		for (i = FIXED; i < c->ncolumns; i++)
			if (c->column[i].context == !round) {
				put_char(out, ',');
				put_cell(out, intern_text(&c->names, i), strlen(intern_text(&c->names, i)));
			}
	put_char(out, '\n');
	return out->failed ? -ENOMEM : 0;
}

static void put_columns(struct export_csv *c, const struct gander_ctf_value *v, bool context, struct ctf_out *out)
{
	uint32_t i;

	for (i = FIXED; i < c->ncolumns; i++) {
		if (c->column[i].context != context)
			continue;
		put_char(out, ',');
		if (c->column[i].row != c->row)
			continue;
		c->cell.at = c->cell.base;
		if (ctf_out_more(&c->cell, 64) < 0)
			return;
		ctf_plain_value(&c->cell, v, c->column[i].value);
		put_cell(out, c->cell.base, (size_t)(c->cell.at - c->cell.base));
	}
}

int export_csv_row(struct export_csv *c, struct gander_ctf *r, const struct gander_ctf_event *ev, struct ctf_out *out)
{
	bool lost = ev->kind != GANDER_CTF_EVENT;
	const struct gander_ctf_value *v = NULL;
	const char *name = lost ? "lost" : ev->class_->name;
	int n = lost ? 0 : gander_ctf_values(r, ev, &v), res = place(c, v, n);

	if (res < 0 || ctf_out_more(out, 64) < 0)
		return res < 0 ? res : -ENOMEM;
	out->at = ctf_put_i64(out->at, ev->time_ns);
	put_char(out, ',');
	if (*ev->trace->procname)
		put_cell(out, ev->trace->procname, strlen(ev->trace->procname));
	put_char(out, ',');
	if (ev->trace->pid >= 0 && ctf_out_more(out, 64) == 0)
		out->at = ctf_put_i64(out->at, ev->trace->pid);
	put_char(out, ',');
	put_cell(out, name, strlen(name));
	put_char(out, ',');
	if (lost && ctf_out_more(out, 64) == 0)
		out->at = ctf_put_u64(out->at, ev->lost);
	put_columns(c, v, true, out);
	put_columns(c, v, false, out);
	put_char(out, '\n');
	return out->failed || c->cell.failed ? -ENOMEM : 0;
}
