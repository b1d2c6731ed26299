#include "cli/why_out.h"
#include "base/table.h"
#include "cli/cli.h"
#include "cli/go_out.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LEVEL 24u /* levels of the tree that are printed */
#define SHARE     100 /* what is below one hundredth of the whole is summed up */

static const char *clean(struct buf *b)
{
	if (!b->data)
		return "";
	b->len = strlen(cli_clean(b->data));
	return b->data;
}

static const char *what_name(unsigned what)
{
	static const char *const names[] = { "goroutine", "task", "region", "span", "range" };

	return what < 5 ? names[what] : "?";
}

static void put_stack(const struct gosyms *s, uint32_t stack, const char *prefix, FILE *out)
{
	unsigned i, n = gosyms_depth(s, stack);

	for (i = 0; i < n; i++) {
		struct gosym_frame f = gosyms_frame(s, stack, i);

		fprintf(out, "%s            ", prefix);
		go_out_name(gosyms_text(s, f.func), out);
		fputc(' ', out);
		go_out_name(gosyms_text(s, f.file), out);
		fprintf(out, ":%llu\n", (unsigned long long)f.line);
	}
}

/* What is printed as one line: a hop, or several leaves that the same words tell (they differ further out in their stacks). */
struct row {
	uint32_t node;
	uint64_t ns, count, longest_ns;
	struct buf text;
};

static int longest_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->ns < y->ns ? 1 : x->ns > y->ns ? -1
			   : x->node < y->node   ? -1
						 : x->node > y->node;
}

static struct row *make_rows(const struct why_show *w, const struct gopath *p, uint32_t node, uint32_t *ret)
{
	uint32_t n, i, k, turns, used = 0, *list = w->all ? why_children(p, node, &n) : why_parts(p, w->syms, node, &n, NULL);
	struct row *row = calloc((size_t)n + 1, sizeof(*row));
	struct intern texts = { 0 };
	uint32_t *at = calloc((size_t)n + 1, sizeof(*at));
	int64_t id;
	bool added;

	for (i = 0; row && at && i < n; i++) {
		const struct why_node *x = &p->node[list[i]];
		struct row r = { .node = list[i], .ns = x->ns, .count = x->count, .longest_ns = x->longest_ns };

		why_phrase(w->syms, x, 0, &r.text);
		if (x->first && !w->all) {
			free(why_parts(p, w->syms, list[i], &k, &turns));
			if (turns > 1)
				buf_printf(&r.text, ", the last of %" PRIu32 " in turn,", turns);
		}
		buf_puts(&r.text, "  ");
		why_place(w->syms, x, &r.text);
		while (r.text.len && r.text.data[r.text.len - 1] == ' ')
			r.text.data[--r.text.len] = 0;
		id = x->first || w->stacks || buf_failed(&r.text) ? -1 : intern_bytes(&texts, r.text.data, r.text.len, &added);
		if (id >= 0 && !added) {
			k = at[id];
			row[k].ns += r.ns;
			row[k].count += r.count;
			if (r.longest_ns > row[k].longest_ns)
				row[k].longest_ns = r.longest_ns;
			buf_done(&r.text);
			continue;
		}
		if (id >= 0)
			at[id] = used;
		row[used++] = r;
	}
	if (row && used > 1)
		qsort(row, used, sizeof(*row), longest_first);
	intern_done(&texts);
	free(at);
	free(list);
	*ret = used;
	return row;
}

static void put_row(const struct why_show *w, const struct gopath *p, struct row *r, struct buf *prefix, bool last, FILE *out)
{
	size_t len = prefix->len;
	struct buf next = BUF_INIT;
	char t[UNIT_TEXT];

	if (r->count > 1)
		buf_printf(&r->text, "  (%" PRIu64 " times, longest %s)", r->count, duration_text(t, r->longest_ns));
	fprintf(out, "%s%s %8s  ", prefix->data, last ? "\xe2\x94\x94\xe2\x94\x80" : "\xe2\x94\x9c\xe2\x94\x80", duration_text(t, r->ns));
	buf_puts(prefix, last ? "  " : "\xe2\x94\x82 ");
	buf_printf(&next, "%s           ", prefix->data);
	go_out_wrap(clean(&r->text), go_out_shown(prefix->data) + 11, next.data ? next.data : "", out);
	if (w->stacks)
		put_stack(w->syms, p->node[r->node].stack, prefix->data, out);
	prefix->len = len;
	prefix->data[len] = 0;
	buf_done(&next);
}

static void put_level(const struct why_show *w, const struct gopath *p, uint32_t node, struct buf *prefix, unsigned level, FILE *out)
{
	uint64_t least = w->all ? 0 : p->node[0].ns / SHARE, rest = 0;
	uint32_t n, i, left;
	struct row *row = make_rows(w, p, node, &n);
	char t[UNIT_TEXT];

	for (left = n; left > 1 && row[left - 1].ns < least; left--)
		rest += row[left - 1].ns;
	if (left + 1 == n) { /* one alone is as short as its sum */
		left = n;
		rest = 0;
	}
	for (i = 0; i < left; i++) {
		bool last = i + 1 == left && !rest;
		size_t len = prefix->len;

		put_row(w, p, &row[i], prefix, last, out);
		if (!p->node[row[i].node].first || row[i].ns < least)
			continue;
		buf_puts(prefix, last ? "   " : "\xe2\x94\x82  ");
		if (level + 1 < MAX_LEVEL)
			put_level(w, p, row[i].node, prefix, level + 1, out);
		else
			fprintf(out, "%s\xe2\x94\x94\xe2\x94\x80 and so on: --json has every level\n", prefix->data);
		prefix->len = len;
		prefix->data[len] = 0;
	}
	if (rest)
		fprintf(out, "%s\xe2\x94\x94\xe2\x94\x80 %8s  in %u others, each below 1 %% (--all shows them)\n", prefix->data, duration_text(t, rest), n - left);
	for (i = 0; row && i < n; i++)
		buf_done(&row[i].text);
	free(row);
}

static void put_tree(const struct why_show *w, const struct gopath *p, FILE *out)
{
	struct buf prefix = BUF_INIT;

	buf_puts(&prefix, "  ");
	if (!buf_failed(&prefix))
		put_level(w, p, 0, &prefix, 0, out);
	buf_done(&prefix);
}

static void put_hops(const struct why_show *w, const struct why_asked *a, FILE *out)
{
	const struct gopath *p = a->path;
	struct buf text = BUF_INIT, place = BUF_INIT;
	char t[UNIT_TEXT], at[UNIT_TEXT];
	uint32_t i;

	fprintf(out, "\nHop by hop:\n");
	for (i = p->nhop; i-- > 0;) {
		const struct why_hop *h = &p->hop[i];

		buf_clear(&text);
		buf_clear(&place);
		why_phrase(w->syms, &p->node[h->node], 0, &text);
		why_place(w->syms, &p->node[h->node], &place);
		fprintf(out, "  %8s  %8s  goroutine %" PRId64 "  %s", duration_text(at, (uint64_t)(h->start_ns - a->span.from_ns)),
			duration_text(t, (uint64_t)(h->end_ns - h->start_ns)), h->g, clean(&text));
		fprintf(out, "%s%s\n", place.len ? "  " : "", clean(&place));
	}
	if (p->hops_left_out)
		fprintf(out, "  and %" PRIu64 " more, which are in the tree only\n", p->hops_left_out);
	buf_done(&text);
	buf_done(&place);
}

void why_out_text(const struct why_show *w, const struct why_asked *a, FILE *out)
{
	const struct why_span *s = &a->span;
	struct buf text = BUF_INIT;
	char t[UNIT_TEXT], at[UNIT_TEXT];

	if (s->what == WHY_OF_RANGE)
		buf_puts(&text, "The time");
	else if (s->what == WHY_OF_GOROUTINE)
		buf_printf(&text, "Goroutine %" PRId64, s->g);
	else
		buf_printf(&text, "%s %s", s->what == WHY_OF_TASK ? "Task" : s->what == WHY_OF_REGION ? "Region"
												      : "Span",
			   gosyms_text(w->syms, s->name));
	if (s->what == WHY_OF_TASK)
		buf_printf(&text, " (%" PRIu64 ")", s->id);
	else if (s->what == WHY_OF_SPAN)
		buf_printf(&text, " (%016" PRIx64 ")", s->id);
	buf_printf(&text, " from %s to %s of the trace", duration_text(at, (uint64_t)(s->from_ns - w->start_ns)), duration_text(t, (uint64_t)(s->to_ns - w->start_ns)));
	if (s->what != WHY_OF_GOROUTINE && s->g >= 0)
		buf_printf(&text, ", goroutine %" PRId64, s->g);
	if (a->func)
		buf_printf(&text, " of %s", gosyms_short(gosyms_text(w->syms, a->func)));
	if (s->what == WHY_OF_RANGE)
		buf_puts(&text, ", which ran last");
	go_out_wrap(clean(&text), 0, "    ", out);
	buf_clear(&text);
	why_sentence(a->path, w->syms, &text);
	go_out_wrap(clean(&text), 0, "    ", out);
	fputc('\n', out);
	put_tree(w, a->path, out);
	if (w->hops)
		put_hops(w, a, out);
	buf_done(&text);
}

static void put_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void put_str(struct json *j, const char *key, const char *v)
{
	json_key(j, key);
	json_str(j, v);
}

static void json_tree(const struct gosyms *s, const struct gopath *p, int64_t start_ns, struct json *j)
{
	struct buf text = BUF_INIT;
	uint32_t i;

	json_arr(j);
	for (i = 0; i < p->n; i++) {
		const struct why_node *x = &p->node[i];

		buf_clear(&text);
		why_phrase(s, x, 0, &text);
		json_obj(j);
		put_u64(j, "id", i);
		json_key(j, "parent");
		if (i)
			json_u64(j, x->parent);
		else
			json_nil(j);
		put_str(j, "kind", why_kind_name[x->kind]);
		put_str(j, "text", text.data ? text.data : "");
		put_u64(j, "ns", x->ns);
		put_u64(j, "count", x->count);
		if (i) {
			put_u64(j, "longest_ns", x->longest_ns);
			put_u64(j, "longest_at_ns", (uint64_t)(x->at_ns - start_ns));
			json_key(j, "goroutine");
			json_i64(j, x->g);
			put_str(j, "function", gosyms_text(s, x->func));
			put_str(j, "reason", gosyms_text(s, x->reason));
			json_key(j, "inferred");
			json_bool(j, x->flags & WHY_INFERRED);
			json_key(j, "ended");
			json_bool(j, !(x->flags & WHY_UNENDED));
			json_key(j, "stack");
			go_out_json_stack(s, x->stack, j);
			json_key(j, "process");
			if (x->pid)
				json_u64(j, x->pid);
			else
				json_nil(j);
			json_key(j, "by");
			if (x->flags & WHY_REMOTE) {
				json_obj(j);
				put_u64(j, "process", (uint64_t)x->by);
				json_obj_end(j);
			} else if (x->by >= 0) {
				json_obj(j);
				json_key(j, "goroutine");
				json_i64(j, x->by);
				put_str(j, "function", gosyms_text(s, x->by_func));
				json_key(j, "stack");
				go_out_json_stack(s, x->by_stack, j);
				json_obj_end(j);
			} else {
				json_nil(j);
			}
		}
		json_obj_end(j);
	}
	json_arr_end(j);
	buf_done(&text);
}

void why_out_json(const struct why_show *w, const struct why_asked *a, struct json *j)
{
	const struct why_span *s = &a->span;
	const struct gopath *p = a->path;
	struct buf text = BUF_INIT;
	uint32_t i;

	why_sentence(p, w->syms, &text);
	json_obj(j);
	put_str(j, "what", what_name(s->what));
	put_str(j, "name", gosyms_text(w->syms, s->name));
	put_u64(j, "id", s->id);
	put_u64(j, "process", s->process);
	json_key(j, "goroutine");
	json_i64(j, s->g);
	put_str(j, "function", gosyms_text(w->syms, a->func));
	put_u64(j, "start_ns", (uint64_t)(s->from_ns - w->start_ns));
	put_u64(j, "duration_ns", p->node[0].ns);
	put_str(j, "text", text.data ? text.data : "");
	json_key(j, "tree");
	json_tree(w->syms, p, w->start_ns, j);
	json_key(j, "hops");
	json_arr(j);
	for (i = p->nhop; i-- > 0;) {
		json_obj(j);
		put_u64(j, "start_ns", (uint64_t)(p->hop[i].start_ns - w->start_ns));
		put_u64(j, "ns", (uint64_t)(p->hop[i].end_ns - p->hop[i].start_ns));
		json_key(j, "goroutine");
		json_i64(j, p->hop[i].g);
		put_u64(j, "node", p->hop[i].node);
		json_obj_end(j);
	}
	json_arr_end(j);
	put_u64(j, "hops_left_out", p->hops_left_out);
	json_obj_end(j);
	buf_done(&text);
}

struct line {
	char *text;
	uint64_t slow_ns, median_ns;
	double diff;
};

struct lines {
	struct line *v;
	uint32_t n, cap;
	struct intern names;
	bool failed;
};

static void add_lines(struct lines *l, const struct gosyms *s, const struct gopath *p, bool slow)
{
	struct buf text = BUF_INIT;
	uint32_t i;

	for (i = 1; i < p->n && !l->failed; i++) {
		int64_t id;
		bool added;

		if (p->node[i].first)
			continue;
		buf_clear(&text);
		why_path_text(p, s, i, &text);
		id = buf_failed(&text) ? -ENOMEM : intern_bytes(&l->names, clean(&text), text.len, &added);
		if (id < 0) {
			l->failed = true;
			break;
		}
		if (added) {
			if (l->n == l->cap) {
				uint32_t cap = l->cap ? l->cap * 2 : 64;
				struct line *v = realloc(l->v, cap * sizeof(*v));

				if (!v) {
					l->failed = true;
					break;
				}
				l->v = v;
				l->cap = cap;
			}
			l->v[l->n] = (struct line) { strdup(text.data), 0, 0, 0 };
			l->failed |= !l->v[l->n].text;
			l->n++;
		}
		if (slow)
			l->v[id].slow_ns += p->node[i].ns;
		else
			l->v[id].median_ns += p->node[i].ns;
	}
	buf_done(&text);
}

static int by_diff(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->diff < y->diff ? 1 : x->diff > y->diff ? -1
							 : strcmp(x->text, y->text);
}

/* The hops of both groups by their text, with the time a span, largest difference first. */
static int make_lines(const struct why_show *w, const struct why_compare *c, struct lines *l)
{
	uint32_t i;

	memset(l, 0, sizeof(*l));
	add_lines(l, w->syms, c->slow, true);
	add_lines(l, w->syms, c->median, false);
	for (i = 0; i < l->n; i++)
		l->v[i].diff = (double)l->v[i].slow_ns / (c->nslow ? c->nslow : 1) - (double)l->v[i].median_ns / (c->nmedian ? c->nmedian : 1);
	if (l->n > 1 && !l->failed)
		qsort(l->v, l->n, sizeof(*l->v), by_diff);
	return l->failed ? -ENOMEM : 0;
}

static void lines_done(struct lines *l)
{
	uint32_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i].text);
	free(l->v);
	intern_done(&l->names);
}

int why_out_compare_text(const struct why_show *w, const struct why_compare *c, FILE *out)
{
	char a[UNIT_TEXT], b[UNIT_TEXT], d[UNIT_TEXT];
	double mean, rest = 0;
	struct lines l;
	uint32_t i, n = 0;
	int r = make_lines(w, c, &l);

	if (!r) {
		fprintf(out, "%" PRIu64 " times %s: half took up to %s, 99 %% up to %s, the slowest %s.\n", c->count, c->name, duration_text(a, c->p50_ns),
			duration_text(b, c->p99_ns), duration_text(d, c->max_ns));
		fprintf(out, "Where the time of the slowest 1 %% (%u) goes beyond that of the median (%u around it), a span:\n\n", c->nslow, c->nmedian);
		fprintf(out, "  %9s  %9s  %9s  %s\n", "BEYOND", "SLOWEST", "MEDIAN", "WHAT");
		mean = (double)c->slow->node[0].ns / (c->nslow ? c->nslow : 1);
		for (i = 0; i < l.n; i++) {
			const struct line *x = &l.v[i];
			double size = x->diff < 0 ? -x->diff : x->diff;

			if (!w->all && size < mean / SHARE) {
				rest += x->diff;
				n++;
				continue;
			}
			duration_text(d, (uint64_t)size);
			fprintf(out, "  %s%*s  %9s  %9s  ", x->diff < 0 ? "-" : "+", 8, d, duration_text(a, x->slow_ns / (c->nslow ? c->nslow : 1)),
				duration_text(b, x->median_ns / (c->nmedian ? c->nmedian : 1)));
			go_out_wrap(x->text, 35, "                                   ", out);
		}
		if (n)
			fprintf(out, "  %s%8s  %9s  %9s  %u others, each below 1 %% (--all shows them)\n", rest < 0 ? "-" : "+",
				duration_text(d, (uint64_t)(rest < 0 ? -rest : rest)), "", "", n);
	}
	lines_done(&l);
	return r;
}

int why_out_compare_json(const struct why_show *w, const struct why_compare *c, struct json *j)
{
	struct lines l;
	uint32_t i;
	int r = make_lines(w, c, &l);

	if (!r) {
		json_obj(j);
		put_str(j, "name", c->name);
		put_u64(j, "count", c->count);
		put_u64(j, "open", c->open);
		put_u64(j, "p50_ns", c->p50_ns);
		put_u64(j, "p99_ns", c->p99_ns);
		put_u64(j, "max_ns", c->max_ns);
		put_u64(j, "slowest", c->nslow);
		put_u64(j, "slowest_ns", c->slow->node[0].ns);
		put_u64(j, "median", c->nmedian);
		put_u64(j, "median_ns", c->median->node[0].ns);
		json_key(j, "beyond");
		json_arr(j);
		for (i = 0; i < l.n; i++) {
			json_obj(j);
			put_str(j, "text", l.v[i].text);
			put_u64(j, "slowest_ns", l.v[i].slow_ns);
			put_u64(j, "median_ns", l.v[i].median_ns);
			json_key(j, "beyond_ns");
			json_f64(j, l.v[i].diff);
			json_obj_end(j);
		}
		json_arr_end(j);
		json_key(j, "slowest_tree");
		json_tree(w->syms, c->slow, w->start_ns, j);
		json_key(j, "median_tree");
		json_tree(w->syms, c->median, w->start_ns, j);
		json_obj_end(j);
	}
	lines_done(&l);
	return r;
}
