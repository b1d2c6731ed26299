#include "cli/go_out.h"
#include "base/table.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 80u

void go_out_cell(const struct result_col *col, const struct result_cell *cell, char *to, size_t size)
{
	char u[UNIT_TEXT];

	if (cell->none) {
		snprintf(to, size, "-");
		return;
	}
	switch (col->kind) {
	case CELL_TEXT:
		snprintf(to, size, "%s", cell->s);
		break;
	case CELL_COUNT:
		if (cell->u < 1000000)
			snprintf(to, size, "%llu", (unsigned long long)cell->u);
		else
			snprintf(to, size, "%s", count_text(u, (double)cell->u));
		break;
	case CELL_DURATION:
	case CELL_TIME:
		snprintf(to, size, "%s", duration_text(u, cell->u));
		break;
	case CELL_BYTES:
		snprintf(to, size, "%s", bytes_text(u, cell->u));
		break;
	case CELL_SHARE:
		snprintf(to, size, "%.1f%%", 100 * cell->f);
		break;
	case CELL_NUMBER:
		snprintf(to, size, cell->f < 100 ? "%.2f" : "%.0f", cell->f);
		break;
	case CELL_STACK:
		to[0] = 0;
		break;
	}
}

static void print_stack(const struct gosyms *s, uint32_t stack, FILE *out)
{
	unsigned i, n = gosyms_depth(s, stack);

	for (i = 0; i < n; i++) {
		struct gosym_frame f = gosyms_frame(s, stack, i);

		fputs("        ", out);
		go_out_name(gosyms_text(s, f.func), out);
		fputs("\n            ", out);
		go_out_name(gosyms_text(s, f.file), out);
		fprintf(out, ":%llu\n", (unsigned long long)f.line);
	}
}

void go_out_name(const char *name, FILE *out)
{
	char *text = strdup(name);

	fputs(text ? cli_clean(text) : "?", out);
	free(text);
}

size_t go_out_shown(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void go_out_wrap(const char *text, size_t at, const char *prefix, FILE *out)
{
	size_t indent = go_out_shown(prefix), limit = indent + 40 > WIDTH ? indent + 40 : WIDTH;
	const char *p = text;

	while (*p) {
		size_t n = strcspn(p, " "), shown = 0, i;

		for (i = 0; i < n; i++)
			shown += ((unsigned char)p[i] & 0xc0) != 0x80;
		if (p != text && at + 1 + shown > limit) {
			fprintf(out, "\n%s", prefix);
			at = indent;
		} else if (p != text) {
			fputc(' ', out);
			at++;
		}
		fwrite(p, 1, n, out);
		at += shown;
		p += n;
		p += strspn(p, " ");
	}
	fputc('\n', out);
}

/* Further lines indented as far as the first begins. */
static void print_wrapped(const char *text, unsigned indent, FILE *out)
{
	char prefix[WIDTH];

	snprintf(prefix, sizeof(prefix), "%*s", (int)indent, "");
	go_out_wrap(text, indent, prefix, out);
}

/* A table of one short column and one of sentences: these are folded, not cut. */
static void print_sentences(const struct result_table *t, FILE *out)
{
	unsigned rows = result_rows(t), row, width;
	char text[512];

	width = (unsigned)strlen(t->col[0].head);
	for (row = 0; row < rows; row++) {
		go_out_cell(&t->col[0], &t->cell[(size_t)row * t->ncol], text, sizeof(text));
		if (strlen(text) > width)
			width = (unsigned)strlen(text);
	}
	if (*t->col[1].head)
		fprintf(out, "%-*s  %s\n", (int)width, t->col[0].head, t->col[1].head);
	for (row = 0; row < rows; row++) {
		go_out_cell(&t->col[0], &t->cell[(size_t)row * t->ncol], text, sizeof(text));
		cli_clean(text);
		fprintf(out, "%*s  ", t->col[0].kind == CELL_TEXT ? -(int)width : (int)width, text);
		go_out_cell(&t->col[1], &t->cell[(size_t)row * t->ncol + 1], text, sizeof(text));
		cli_clean(text);
		print_wrapped(text, width + 2, out);
	}
}

static void print_table(const struct result *r, const struct result_table *t, bool stacks, bool title, FILE *out)
{
	struct table table;
	struct buf heads = BUF_INIT;
	unsigned rows = result_rows(t), row, c, shown = 0;
	int stack_col = -1;
	char text[512];

	for (c = 0; c < t->ncol; c++) {
		if (t->col[c].kind == CELL_STACK)
			stack_col = (int)c;
		if (t->col[c].flags & COL_JSON_ONLY)
			continue;
		buf_printf(&heads, "%s%s%s", shown++ ? "|" : "", t->col[c].kind == CELL_TEXT ? "" : ">", t->col[c].head);
	}
	if (title && *t->title)
		fprintf(out, "%s\n", t->title);
	if (t->ncol >= 2 && t->col[1].flags & COL_SENTENCE) {
		print_sentences(t, out);
		if (t->after && rows)
			print_wrapped(t->after, 0, out);
		buf_done(&heads);
		return;
	}
	table_init(&table, heads.data ? heads.data : "");
	for (row = 0; row < rows; row++)
		for (c = 0; c < t->ncol; c++) {
			if (t->col[c].flags & COL_JSON_ONLY)
				continue;
			go_out_cell(&t->col[c], &t->cell[(size_t)row * t->ncol + c], text, sizeof(text));
			cli_clean(text);
			table_cell(&table, "%s", text);
		}
	if (!stacks || stack_col < 0) {
		table_print(&table, out);
	} else {
		char *all = NULL, *line, *end;
		size_t size = 0;
		FILE *mem = open_memstream(&all, &size);

		if (mem) {
			table_print(&table, mem);
			fclose(mem);
		}
		for (line = all, row = 0; line && *line && (end = strchr(line, '\n')); line = end + 1, row++) {
			fprintf(out, "%.*s\n", (int)(end - line), line);
			if (row > 0)
				print_stack(r->syms, (uint32_t)t->cell[(size_t)(row - 1) * t->ncol + (unsigned)stack_col].u, out);
		}
		free(all);
	}
	if (t->more)
		fprintf(out, "and %llu more (--top N)\n", (unsigned long long)t->more);
	if (t->after && rows)
		print_wrapped(t->after, 0, out);
	table_done(&table);
	buf_done(&heads);
}

void go_out_text(const struct result *r, bool stacks, FILE *out)
{
	unsigned i, printed = 0, full = 0;

	for (i = 0; i < r->ntable; i++)
		full += result_rows(&r->table[i]) != 0;
	for (i = 0; i < r->ntable; i++) {
		if (!result_rows(&r->table[i]))
			continue;
		if (printed++)
			fputc('\n', out);
		print_table(r, &r->table[i], stacks, full > 1, out);
	}
	if (r->nnote && printed)
		fputc('\n', out);
	for (i = 0; i < r->nnote; i++)
		print_wrapped(r->note[i], 0, out);
}

void go_out_json_stack(const struct gosyms *s, uint32_t stack, struct json *j)
{
	unsigned i, n = gosyms_depth(s, stack);

	json_arr(j);
	for (i = 0; i < n; i++) {
		struct gosym_frame f = gosyms_frame(s, stack, i);

		json_obj(j);
		json_key(j, "function");
		json_str(j, gosyms_text(s, f.func));
		json_key(j, "file");
		json_str(j, gosyms_text(s, f.file));
		json_key(j, "line");
		json_u64(j, f.line);
		json_obj_end(j);
	}
	json_arr_end(j);
}

void go_out_json(const struct result *r, struct json *j)
{
	unsigned i, c;
	size_t row;

	for (i = 0; i < r->ntable; i++) {
		const struct result_table *t = &r->table[i];

		json_key(j, t->name);
		json_arr(j);
		for (row = 0; row < result_rows(t); row++) {
			json_obj(j);
			for (c = 0; c < t->ncol; c++) {
				const struct result_cell *cell = &t->cell[row * t->ncol + c];

				json_key(j, t->col[c].key);
				if (cell->none)
					json_nil(j);
				else if (t->col[c].kind == CELL_TEXT)
					json_str(j, cell->s);
				else if (t->col[c].kind == CELL_STACK)
					go_out_json_stack(r->syms, (uint32_t)cell->u, j);
				else if (t->col[c].kind == CELL_SHARE || t->col[c].kind == CELL_NUMBER)
					json_f64(j, cell->f);
				else
					json_u64(j, cell->u);
			}
			json_obj_end(j);
		}
		json_arr_end(j);
	}
	json_key(j, "notes");
	json_arr(j);
	for (i = 0; i < r->nnote; i++)
		json_str(j, r->note[i]);
	json_arr_end(j);
}

void go_out_print(const struct result *r, bool as_json, bool stacks)
{
	struct buf out = BUF_INIT;
	struct json j;

	if (!as_json) {
		go_out_text(r, stacks, stdout);
		return;
	}
	json_init(&j, &out);
	json_obj(&j);
	go_out_json(r, &j);
	json_obj_end(&j);
	cli_put_json(&out);
}
