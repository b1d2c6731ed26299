#include "cli/why_pick.h"
#include "analyze/whyspans.h"
#include "base/buf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int parse_at(struct why_pick *p, struct err *err)
{
	char *end = NULL;

	p->has_q = true;
	if (!strcmp(p->at, "median")) {
		p->q = 0.5;
	} else if (!strcmp(p->at, "max")) {
		p->q = 1;
	} else {
		p->q = *p->at == 'p' ? strtod(p->at + 1, &end) / 100 : -1;
		if (!end || end == p->at + 1 || *end || !isfinite(p->q) || p->q < 0 || p->q > 1)
			return err_set(err, -EINVAL, "--at '%s': p50, p99, p99.9, median or max is expected", p->at);
	}
	return 0;
}

int why_pick_check(struct why_pick *p, struct err *err)
{
	if ((p->at || p->slowest) && !p->name)
		return err_set(err, -EINVAL, "--slowest and --at choose among tasks, regions or spans");
	if (p->at && p->slowest)
		return err_set(err, -EINVAL, "--slowest and --at exclude each other");
	if (p->slowest > WHY_PICK_MAX)
		return err_set(err, -EINVAL, "--slowest: at most %u", WHY_PICK_MAX);
	return p->at ? parse_at(p, err) : 0;
}

int why_pick_file(const struct why_pick *p, struct why_files *f, struct why_file **ret, struct err *err)
{
	struct buf list = BUF_INIT;
	uint32_t i, n = 0;
	int r = 0;

	for (i = 0; i < f->n; i++) {
		if (p->pid != UINT64_MAX && f->v[i].pid != p->pid)
			continue;
		*ret = &f->v[i];
		buf_printf(&list, "%s%s", n++ ? ", " : "", f->v[i].name);
	}
	if (!n)
		r = err_set(err, -ENOENT, "%s holds no Go trace of process %llu", p->input, (unsigned long long)p->pid);
	else if (n > 1)
		r = err_set(err, -EINVAL, "%s holds several Go traces: name the process (--pid), or the file: %s", p->input, list.data ? list.data : "");
	buf_done(&list);
	return r;
}

int why_pick_start(const struct why_pick *p, struct why_files *f, const struct why_file *file, int64_t *ret, struct err *err)
{
	int64_t ns;
	uint32_t i;
	int r;

	*ret = INT64_MAX;
	for (i = 0; i < f->n; i++) {
		if (file && file != &f->v[i])
			continue;
		r = why_file_begin(&f->v[i], &ns, err);
		if (r < 0 && f->n == 1)
			return r;
		if (r == 0 && ns < *ret)
			*ret = ns;
	}
	return *ret == INT64_MAX ? err_set(err, -ENODATA, "%s: no Go trace that can be read", p->input) : 0;
}

int64_t why_pick_time(int64_t start, uint64_t ns)
{
	int64_t t;

	return ns == UINT64_MAX || __builtin_add_overflow(start, (int64_t)ns, &t) ? INT64_MAX : t;
}

static void keep_between(struct why_list *l, int64_t from, int64_t to)
{
	uint32_t i, n = 0;

	for (i = 0; i < l->n; i++)
		if (l->v[i].from_ns >= from && l->v[i].to_ns <= to)
			l->v[n++] = l->v[i];
	l->n = n;
}

static int find_spans(const struct why_pick *p, struct why_files *f, struct gosyms *syms, struct why_list *list, uint64_t *outside, struct err *err)
{
	struct buf others = BUF_INIT;
	struct why_spans s = { .dir = f->dir, .name = p->name, .mono_offset_ns = f->mono_offset_ns, .syms = syms, .others = &others };
	uint32_t i, n = 0;
	int r;

	if (!f->dir)
		return err_set(err, -EINVAL, "--span looks for events, and %s is a Go trace alone: name the recording (--task, --region are of the Go trace)", p->input);
	r = why_spans_collect(&s, list, err);
	if (r == 0 && !list->n) {
		r = err_set(err, -ENOENT, "no span '%s' that begins and ends in %s", p->name, p->input);
		if (list->open)
			err_set(err, r, "no span '%s' that begins and ends in %s, but %llu that do one of both", p->name, p->input, (unsigned long long)list->open);
		else if (others.len)
			err_set(err, r, "no span '%s' in %s (there are: %s)", p->name, p->input, others.data);
		else if (s.without_goroutine)
			err_set(err, r, "the spans '%s' in %s say no goroutine", p->name, p->input);
	}
	buf_done(&others);
	if (r < 0)
		return r;
	for (i = 0; i < list->n; i++) {
		const struct why_span *x = &list->v[i];
		const struct why_file *in = why_files_at(f, x->process, x->from_ns, x->to_ns);

		if (in && in->begin_ns <= x->from_ns && in->end_ns >= x->to_ns)
			list->v[n++] = *x;
	}
	*outside = list->n - n;
	list->n = n;
	return n ? 0 : err_set(err, -ENOENT, "no Go trace of %s covers a span '%s'", p->input, p->name);
}

int why_pick_find(const struct why_pick *p, struct why_files *f, struct why_file *file, struct gosyms *syms, int64_t start_ns, struct why_list *ret, uint64_t *outside,
		  struct err *err)
{
	bool between = p->from || p->to != UINT64_MAX;
	int r = p->what == WHY_OF_SPAN ? find_spans(p, f, syms, ret, outside, err) : why_file_collect(file, syms, p->what, p->name, ret, err);

	if (r < 0)
		return r;
	if (between)
		keep_between(ret, why_pick_time(start_ns, p->from), why_pick_time(start_ns, p->to));
	if (!ret->n)
		return err_set(err, -ENOENT, "no %s '%s' that begins and ends in %s%s%s", p->what == WHY_OF_TASK ? "task" : p->what == WHY_OF_REGION ? "region"
																		     : "span",
			       p->name, between ? "that time of " : "", p->input, ret->open ? " (some are open: they began before it, or end after it)" : "");
	why_list_sort(ret);
	return 0;
}

uint32_t why_pick_choose(const struct why_pick *p, const struct why_list *l, uint32_t *first)
{
	*first = p->has_q ? why_list_at(l, p->q) : 0;
	return p->has_q || !p->slowest ? 1 : p->slowest < l->n ? (uint32_t)p->slowest
							       : l->n;
}
