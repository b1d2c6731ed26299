#include "base/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void push(struct table *t, char *s)
{
	int at = t->nrows * t->ncols + t->col;

	if (at >= t->cap) {
		int cap = t->cap ? t->cap * 2 : 64;
		char **cell = realloc(t->cell, (size_t)cap * sizeof(*cell));

		if (!cell) {
			free(s);
			return;
		}
		t->cell = cell;
		t->cap = cap;
	}
	t->cell[at] = s;
	if (++t->col == t->ncols) {
		t->col = 0;
		t->nrows++;
	}
}

void table_init(struct table *t, const char *heads)
{
	const char *p, *end;

	memset(t, 0, sizeof(*t));
	t->ncols = 1;
	for (p = heads; *p; p++)
		t->ncols += *p == '|';
	for (p = heads;; p = end + 1) {
		end = strchrnul(p, '|');
		if (*p == '>') {
			t->right[t->col] = 1;
			p++;
		}
		push(t, strndup(p, (size_t)(end - p)));
		if (!*end)
			break;
	}
}

void table_done(struct table *t)
{
	int i, n = t->nrows * t->ncols + t->col;

	for (i = 0; i < n; i++)
		free(t->cell[i]);
	free(t->cell);
	memset(t, 0, sizeof(*t));
}

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	push(t, s);
}

/* Columns on the screen: UTF-8 continuation bytes take none. */
static int shown_width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

int table_width(FILE *out)
{
	struct winsize ws;

	return isatty(fileno(out)) && !ioctl(fileno(out), TIOCGWINSZ, &ws) && ws.ws_col > 20 ? ws.ws_col : 0;
}

/* How much of a line comes on so many columns: all of it, else up to its last space there is, else (a long word) up to its first. */
static size_t fold_at(const char *line, size_t len, int columns)
{
	size_t i, at = 0;
	int shown = 0;

	for (i = 0; i < len && (shown <= columns || !at); i++) {
		if (line[i] == ' ' && i && line[i - 1] != ' ')
			at = i;
		shown += ((unsigned char)line[i] & 0xc0) != 0x80;
	}
	return shown <= columns || !at ? len : at;
}

void fold_print(const char *text, int width, FILE *out)
{
	const char *end;
	size_t len, n;
	int indent;

	for (; *text; text = end + (*end == '\n')) {
		end = strchrnul(text, '\n');
		indent = (int)strspn(text, " ");
		/* not at the spaces that it begins with */
		n = width ? (size_t)indent + fold_at(text + indent, (size_t)(end - text - indent), width - indent) : (size_t)(end - text);
		fwrite(text, 1, n, out);
		indent = indent + 4 < width / 2 ? indent + 4 : width / 2;
		while (n += strspn(text + n, " "), text + n < end) {
			text += n;
			len = (size_t)(end - text);
			n = fold_at(text, len, width - indent);
			fprintf(out, "\n%*s", indent, "");
			fwrite(text, 1, n, out);
		}
		fputc('\n', out);
	}
}

void table_print(struct table *t, FILE *out)
{
	int width[TABLE_COLS] = { 0 }, r, c, limit = table_width(out);
	for (r = 0; r < t->nrows; r++)
		for (c = 0; c < t->ncols; c++) {
			char *s = t->cell[r * t->ncols + c];
			int w = s ? shown_width(s) : 0;

			if (w > width[c])
				width[c] = w;
		}
	for (r = 0; r < t->nrows; r++) {
		int used = 0;

		for (c = 0; c < t->ncols; c++) {
			const char *s = t->cell[r * t->ncols + c] ? t->cell[r * t->ncols + c] : "";
			int pad = width[c] - shown_width(s), last = c == t->ncols - 1;

			if (t->right[c])
				fprintf(out, "%*s", pad, "");
			if (last && limit && !t->right[c] && used + shown_width(s) > limit) {
				int room = limit - used - 1;
				const char *p = s;

				for (; *p && (room > 0 || ((unsigned char)*p & 0xc0) == 0x80); p++)
					room -= ((unsigned char)*p & 0xc0) != 0x80;
				fprintf(out, "%.*s\xe2\x80\xa6", (int)(p - s), s);
			} else {
				fputs(s, out);
			}
			if (!t->right[c] && !last)
				fprintf(out, "%*s", pad, "");
			if (!last)
				fputs("  ", out);
			used += width[c] + 2;
		}
		fputc('\n', out);
	}
}

static char *scaled(char *to, double v, const char *unit)
{
	if (v < 9.995)
		snprintf(to, UNIT_TEXT, "%.2f%s", v, unit);
	else if (v < 99.95)
		snprintf(to, UNIT_TEXT, "%.1f%s", v, unit);
	else
		snprintf(to, UNIT_TEXT, "%.0f%s", v, unit);
	return to;
}

char *duration_text(char to[UNIT_TEXT], uint64_t ns)
{
	if (ns < 1000) {
		snprintf(to, UNIT_TEXT, "%uns", (unsigned)ns);
		return to;
	}
	if (ns < 999500)
		return scaled(to, (double)ns / 1e3, "us");
	if (ns < 999500000)
		return scaled(to, (double)ns / 1e6, "ms");
	return scaled(to, (double)ns / 1e9, "s");
}

char *count_text(char to[UNIT_TEXT], double n)
{
	if (n < 1000) {
		snprintf(to, UNIT_TEXT, n == (double)(long)n ? "%.0f" : "%.1f", n);
		return to;
	}
	if (n < 999500)
		return scaled(to, n / 1e3, "k");
	if (n < 999500000)
		return scaled(to, n / 1e6, "M");
	return scaled(to, n / 1e9, "G");
}

char *bytes_text(char to[UNIT_TEXT], uint64_t n)
{
	if (n < 1024) {
		snprintf(to, UNIT_TEXT, "%u B", (unsigned)n);
		return to;
	}
	if (n < 1024 * 1023)
		return scaled(to, (double)n / 1024, " KiB");
	if (n < 1048576ull * 1023)
		return scaled(to, (double)n / 1048576, " MiB");
	return scaled(to, (double)n / 1073741824, " GiB");
}
