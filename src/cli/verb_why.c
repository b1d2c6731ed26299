/* gander why: where the time of a goroutine, task, region, span or range went. */
#include "analyze/whyspans.h"
#include "base/table.h"
#include "cli/cli.h"
#include "cli/why_pick.h"
#include "cli/why_out.h"
#include "export/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_MAX  1000u /* spans of each side of a comparison */
#define ACROSS_MAX 4     /* processes behind each other */

extern const struct verb verb_why;

struct why_args {
	uint64_t goroutine;
	const char *task, *region, *span, *pprof;
	bool json, all, stacks, hops;
	struct why_pick pick;
};

struct why_run {
	const struct why_args *a;
	struct why_files files;
	struct gosyms syms;
	struct kview *kernel;   /* NULL: the recording has none */
	struct why_list list;   /* the candidates, slowest first */
	struct why_list around; /* spans of any name in the time of those that were chosen, by id: to find their children elsewhere */
	struct why_asked *asked;
	struct gopath *path; /* one each */
	uint32_t nasked;
	uint32_t group;             /* of a comparison: asked[1 ... group] are the slowest, as many behind them the median; 0: none */
	struct gopath slow, median; /* of a comparison */
	struct why_file *file;      /* of what is no span */
	uint64_t outside;           /* spans that no Go trace covers */
	int64_t start_ns;
};

static int make_room(struct why_run *w, uint32_t n, struct err *err)
{
	uint32_t i;

	w->asked = calloc((size_t)n + 1, sizeof(*w->asked));
	w->path = calloc((size_t)n + 1, sizeof(*w->path));
	if (!w->asked || !w->path)
		return err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < n; i++) {
		if (gopath_init(&w->path[i]) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		w->path[i].kernel = w->kernel;
		w->asked[i].path = &w->path[i];
		w->nasked++;
	}
	return 0;
}

static int choose(struct why_run *w, struct err *err)
{
	const struct why_pick *p = &w->a->pick;
	uint32_t i, n, mid, first;
	int r;

	if (p->what == WHY_OF_GOROUTINE || p->what == WHY_OF_RANGE) {
		r = make_room(w, 1, err);
		if (r == 0)
			w->asked[0].span = (struct why_span) { .from_ns = p->from ? why_pick_time(w->start_ns, p->from) : INT64_MIN,
							       .to_ns = why_pick_time(w->start_ns, p->to),
							       .g = p->what == WHY_OF_RANGE ? -1 : (int64_t)w->a->goroutine,
							       .what = (uint8_t)p->what };
		return r;
	}
	r = why_pick_find(p, &w->files, w->file, &w->syms, w->start_ns, &w->list, &w->outside, err);
	if (r < 0)
		return r;
	if (p->has_q || p->slowest || w->list.n == 1) {
		n = why_pick_choose(p, &w->list, &first);
		r = make_room(w, n, err);
		for (i = 0; i < n && r == 0; i++)
			w->asked[i].span = w->list.v[first + i];
		return r;
	}
	/* the slowest by itself, the slowest hundredth, and the hundredth around the median */
	n = (w->list.n + 99) / 100;
	if (n > GROUP_MAX)
		n = GROUP_MAX;
	r = make_room(w, 2 * n + 1, err);
	if (r < 0)
		return r;
	mid = why_list_at(&w->list, 0.5);
	mid = mid > n / 2 ? mid - n / 2 : 0;
	if (mid + n > w->list.n)
		mid = w->list.n - n;
	w->group = n;
	w->asked[0].span = w->list.v[0];
	for (i = 0; i < n; i++) {
		w->asked[1 + i].span = w->list.v[i];
		w->asked[1 + n + i].span = w->list.v[mid + i];
	}
	return 0;
}

/* Walks those that lie in one file, file after file. */
static int walk_files(struct why_run *w, struct why_asked *asked, uint32_t n, struct err *err)
{
	struct why_asked *part = calloc((size_t)n + 1, sizeof(*part));
	uint32_t *at = calloc((size_t)n + 1, sizeof(*at)), i, k, m;
	int r = 0;

	if (!part || !at)
		r = err_set(err, -ENOMEM, "out of memory");
	for (k = 0; k < w->files.n && r == 0; k++) {
		struct why_file *f = &w->files.v[k];

		for (i = m = 0; i < n; i++) {
			const struct why_span *s = &asked[i].span;

			if (s->what == WHY_OF_SPAN ? f != why_files_at(&w->files, s->process, s->from_ns, s->to_ns) : f != w->file)
				continue;
			at[m] = i;
			part[m++] = asked[i];
		}
		if (m)
			r = why_file_walk(f, &w->syms, part, m, err);
		for (i = 0; i < m; i++)
			asked[at[i]] = part[i];
	}
	free(part);
	free(at);
	return r;
}

static int by_id(const void *a, const void *b)
{
	const struct why_span *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static const struct why_span *span_of(const struct why_list *l, uint64_t id)
{
	struct why_span key = { .id = id };

	return l->n && id ? bsearch(&key, l->v, l->n, sizeof(*l->v), by_id) : NULL;
}

/* The span of another process that had most of a wait for the network, and whose parent is the span that was asked about or one inside it. */
static const struct why_span *child_elsewhere(const struct why_list *around, const struct why_span *of, int64_t from, int64_t to)
{
	const struct why_span *best = NULL, *up;
	int64_t most = 0;
	uint32_t i;
	int depth;

	for (i = 0; i < around->n; i++) {
		const struct why_span *x = &around->v[i];
		int64_t a = x->from_ns > from ? x->from_ns : from, b = x->to_ns < to ? x->to_ns : to;

		if (x->process == of->process || b - a <= most)
			continue;
		for (up = span_of(around, x->parent), depth = 0; up && up->process == of->process && up->id != of->id && depth < 64; depth++)
			up = span_of(around, up->parent);
		if (!up || up->id != of->id || up->process != of->process)
			continue;
		best = x;
		most = b - a;
	}
	return best;
}

static int by_wait(const void *a, const void *b)
{
	const struct why_remote *x = a, *y = b;

	if (x->g != y->g)
		return x->g < y->g ? -1 : 1;
	return x->from_ns < y->from_ns ? -1 : x->from_ns > y->from_ns;
}

static int walk_across(struct why_run *w, struct why_asked *asked, uint32_t n, int depth, struct err *err);

/* The waits of one path that spans in other processes explain: their paths are walked, then this one again with them in it. */
static int graft(struct why_run *w, struct why_asked *a, const struct why_span *of, int depth, struct err *err)
{
	struct gopath *p = a->path, *paths = NULL;
	struct why_remote *remote = NULL;
	struct why_asked *there = NULL;
	uint32_t i, n = 0, cap = 0;
	int r = 0;

	for (i = 0; i < p->nhop && r == 0; i++) {
		const struct why_hop *h = &p->hop[i];
		const struct why_span *x;

		if (p->node[h->node].kind != WHY_NETWORK || p->node[h->node].flags)
			continue;
		x = child_elsewhere(&w->around, of, h->start_ns, h->end_ns);
		if (!x)
			continue;
		if (n == cap) {
			struct why_remote *more = realloc(remote, (cap * 2 + 16) * sizeof(*more));
			struct why_asked *more2 = more ? realloc(there, (cap * 2 + 16) * sizeof(*more2)) : NULL;

			remote = more ? more : remote;
			there = more2 ? more2 : there;
			if (!more2) {
				r = err_set(err, -ENOMEM, "out of memory");
				break;
			}
			cap = cap * 2 + 16;
		}
		there[n] = (struct why_asked) { .span = *x };
		if (there[n].span.from_ns < h->start_ns)
			there[n].span.from_ns = h->start_ns;
		if (there[n].span.to_ns > h->end_ns)
			there[n].span.to_ns = h->end_ns;
		remote[n] = (struct why_remote) { h->g, h->start_ns, h->end_ns, there[n].span.from_ns, there[n].span.to_ns, NULL, x->name, x->process };
		n++;
	}
	if (r == 0 && n) {
		paths = calloc(n, sizeof(*paths));
		if (!paths)
			r = err_set(err, -ENOMEM, "out of memory");
	}
	for (i = 0; i < n && r == 0; i++) {
		if (gopath_init(&paths[i]) < 0)
			r = err_set(err, -ENOMEM, "out of memory");
		paths[i].kernel = w->kernel;
		there[i].path = &paths[i];
		remote[i].path = &paths[i];
	}
	if (r == 0 && n)
		r = walk_across(w, there, n, depth + 1, err);
	if (r == 0 && n) {
		qsort(remote, n, sizeof(*remote), by_wait);
		gopath_clear(p);
		p->remote = remote;
		p->nremote = n;
		a->done = false;
		r = walk_files(w, a, 1, err);
		p->remote = NULL;
		p->nremote = 0;
	}
	for (i = 0; paths && i < n; i++)
		gopath_done(&paths[i]);
	free(paths);
	free(remote);
	free(there);
	return r;
}

static int walk_across(struct why_run *w, struct why_asked *asked, uint32_t n, int depth, struct err *err)
{
	uint32_t i;
	int r = walk_files(w, asked, n, err);

	for (i = 0; i < n && r == 0 && w->around.n && depth < ACROSS_MAX; i++) {
		struct why_span of = asked[i].span;

		if (asked[i].done)
			r = graft(w, &asked[i], &of, depth, err);
	}
	return r;
}

/* All spans of the time of those that were chosen, when there are several programs. */
static int look_around(struct why_run *w, struct err *err)
{
	struct why_spans s = { .dir = w->files.dir, .mono_offset_ns = w->files.mono_offset_ns, .syms = &w->syms, .from_ns = INT64_MAX, .to_ns = INT64_MIN };
	uint32_t i;
	int r;

	for (i = 1; i < w->files.n && w->files.v[i].pid == w->files.v[0].pid; i++)
		;
	if (w->a->pick.what != WHY_OF_SPAN || i >= w->files.n || w->group)
		return 0;
	for (i = 0; i < w->nasked; i++) {
		if (w->asked[i].span.from_ns < s.from_ns)
			s.from_ns = w->asked[i].span.from_ns;
		if (w->asked[i].span.to_ns > s.to_ns)
			s.to_ns = w->asked[i].span.to_ns;
	}
	s.to_ns++; /* the bound itself is outside */
	r = why_spans_collect(&s, &w->around, err);
	if (r == 0 && w->around.n > 1)
		qsort(w->around.v, w->around.n, sizeof(*w->around.v), by_id);
	return r;
}

static int write_pprof(const struct why_run *w, const struct gopath *p, struct err *err)
{
	FILE *out = strcmp(w->a->pprof, "-") ? fopen(w->a->pprof, "we") : stdout;
	int r;

	if (!out)
		return err_set(err, -errno, "cannot write '%s': %m", w->a->pprof);
	r = why_pprof(p, &w->syms, out, err);
	if (out != stdout && fclose(out) && r == 0)
		r = err_set(err, -errno, "cannot write '%s': %m", w->a->pprof);
	return r;
}

/* Trees that hold several paths: those of a comparison; for a profile, all of them. */
static int join(struct why_run *w, struct gopath *all, struct err *err)
{
	uint32_t i;

	if (gopath_init(&w->slow) < 0 || gopath_init(&w->median) < 0 || gopath_init(all) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < w->nasked; i++) {
		struct gopath *to = !w->group ? all : !i      ? NULL
					      : i <= w->group ? &w->slow
							      : &w->median;

		if (to && gopath_add(to, &w->path[i]) < 0)
			return err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static void compare_of(const struct why_run *w, struct why_compare *c)
{
	const struct why_list *l = &w->list;
	const struct why_span *p50 = &l->v[why_list_at(l, 0.5)], *p99 = &l->v[why_list_at(l, 0.99)];

	*c = (struct why_compare) {
		.name = w->a->pick.name,
		.count = l->n,
		.open = l->open,
		.p50_ns = (uint64_t)(p50->to_ns - p50->from_ns),
		.p99_ns = (uint64_t)(p99->to_ns - p99->from_ns),
		.max_ns = (uint64_t)(l->v[0].to_ns - l->v[0].from_ns),
		.nslow = w->group,
		.nmedian = w->group,
		.slow = &w->slow,
		.median = &w->median,
	};
}

static int print_json(const struct why_run *w, const struct why_show *show, const struct why_compare *c, struct err *err)
{
	struct buf out = BUF_INIT;
	struct json j;
	uint32_t i;
	int r = 0;

	json_init(&j, &out);
	json_obj(&j);
	json_key(&j, "spans");
	json_arr(&j);
	for (i = 0; i < (w->group ? 1 : w->nasked); i++)
		why_out_json(show, &w->asked[i], &j);
	json_arr_end(&j);
	if (w->group) {
		json_key(&j, "compare");
		r = why_out_compare_json(show, c, &j);
	}
	json_key(&j, "outside");
	json_u64(&j, w->outside);
	json_obj_end(&j);
	if (r == 0) {
		cli_put_json(&out);
		return 0;
	}
	buf_done(&out);
	return err_set(err, -ENOMEM, "out of memory");
}

static int print(const struct why_run *w, struct err *err)
{
	struct why_show show = { &w->syms, w->start_ns, w->a->all, w->a->stacks, w->a->hops };
	struct why_compare c;
	uint32_t i;

	if (w->group)
		compare_of(w, &c);
	if (w->a->json)
		return print_json(w, &show, &c, err);
	if (w->group) {
		if (why_out_compare_text(&show, &c, stdout) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		printf("\nThe slowest:\n\n");
	}
	for (i = 0; i < (w->group ? 1 : w->nasked); i++) {
		if (i)
			putchar('\n');
		why_out_text(&show, &w->asked[i], stdout);
	}
	if (w->outside)
		printf("\n%llu more spans are outside of what the Go traces cover.\n", (unsigned long long)w->outside);
	return 0;
}

static int answer(struct why_run *w, struct err *err)
{
	struct gopath all = { 0 };
	uint32_t i;
	int r;

	r = why_files_open(&w->files, w->a->pick.input, err);
	if (r == 0 && w->a->pick.what != WHY_OF_SPAN)
		r = why_pick_file(&w->a->pick, &w->files, &w->file, err);
	if (r == 0)
		r = why_pick_start(&w->a->pick, &w->files, w->file, &w->start_ns, err);
	if (r == 0 && w->files.dir && kview_open(&w->kernel, w->files.dir, err) < 0) {
		if (err->code != -ENOENT)
			return err->code;
		w->kernel = NULL;
	}
	if (r == 0)
		r = choose(w, err);
	if (r == 0)
		r = look_around(w, err);
	if (r == 0)
		r = walk_across(w, w->asked, w->nasked, 0, err);
	if (r < 0)
		return r;
	for (i = 0; i < w->nasked; i++)
		if (!w->asked[i].done) {
			if (w->a->pick.what == WHY_OF_GOROUTINE)
				return err_set(err, -ENOENT, "%s does not mention goroutine %llu (gander go goroutines --by goroutine lists them)", w->a->pick.input,
					       (unsigned long long)w->a->goroutine);
			return err_set(err, -ENOENT, "%s ends before the time that was asked for", w->a->pick.input);
		}
	for (i = 0; i < w->nasked; i++)
		if (gopath_check(&w->path[i]))
			return err_set(err, -EIO, "the parts do not add up to the whole: please report this with the trace");
	r = join(w, &all, err);
	if (r == 0 && w->a->pprof)
		r = write_pprof(w, w->group ? &w->slow : &all, err);
	if (r == 0 && (!w->a->pprof || strcmp(w->a->pprof, "-")))
		r = print(w, err);
	gopath_done(&all);
	return r;
}

static int check_args(struct why_args *a, int n, struct err *err)
{
	int kinds = (a->goroutine != UINT64_MAX) + !!a->task + !!a->region + !!a->span;
	struct why_pick *p = &a->pick;

	if (n != 1)
		return err_set(err, -EINVAL, "why needs one recording or trace");
	if (kinds > 1)
		return err_set(err, -EINVAL, "why answers one question at a time: --goroutine, --task, --region or --span");
	if (!kinds && !p->from && p->to == UINT64_MAX)
		return err_set(err, -EINVAL, "why needs a question: --goroutine, --task, --region, --span, or a time (--from, --to)");
	if (a->goroutine > INT64_MAX && a->goroutine != UINT64_MAX)
		return err_set(err, -EINVAL, "there is no goroutine %llu", (unsigned long long)a->goroutine);
	if (p->to <= p->from)
		return err_set(err, -EINVAL, "--to must be later than --from");
	p->what = a->goroutine != UINT64_MAX ? WHY_OF_GOROUTINE : a->task ? WHY_OF_TASK
							  : a->region     ? WHY_OF_REGION
							  : a->span       ? WHY_OF_SPAN
									  : WHY_OF_RANGE;
	p->name = a->task ? a->task : a->region ? a->region
						: a->span;
	return why_pick_check(p, err);
}

static int run(int argc, char **argv)
{
	struct why_args a = { .goroutine = UINT64_MAX, .pick = { .pid = UINT64_MAX, .to = UINT64_MAX } };
	const struct opt opts[] = {
		{ OPT_STR, 0, "span", "NAME", "spans of events with that name, in a recording", &a.span },
		{ OPT_STR, 't', "task", "NAME", "tasks of runtime/trace whose type contains NAME", &a.task },
		{ OPT_STR, 'r', "region", "NAME", "regions of runtime/trace whose type contains NAME", &a.region },
		{ OPT_U64, 'g', "goroutine", "N", "the whole life of this goroutine, or its part between --from and --to", &a.goroutine },
		{ OPT_U64, 'n', "slowest", "N", "the N slowest of them, each by itself", &a.pick.slowest },
		{ OPT_STR, 0, "at", "QUANTILE", "the one at p50, p99, p99.9, median, max", &a.pick.at },
		{ OPT_DURATION, 0, "from", "TIME", "from that time after the trace's begin", &a.pick.from },
		{ OPT_DURATION, 0, "to", "TIME", "up to that time", &a.pick.to },
		{ OPT_U64, 0, "pid", "PID", "of a recording of several programs: this one's goroutines, tasks, regions", &a.pick.pid },
		{ OPT_FLAG, 'a', "all", NULL, "also the hops below 1 %, and each that had a lock in a row", &a.all },
		{ OPT_FLAG, 's', "stacks", NULL, "each hop's whole stack under it", &a.stacks },
		{ OPT_FLAG, 0, "hops", NULL, "the path hop by hop too, in the order of time", &a.hops },
		{ OPT_STR, 0, "pprof", "FILE", "the path's time by stack, for 'go tool pprof'", &a.pprof },
		{ OPT_FLAG, 'j', "json", NULL, "the answer as JSON: exact numbers, in ns", &a.json },
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct why_run w = { .a = &a };
	bool damaged = false;
	uint32_t i;
	int n = opt_parse(&verb_why, opts, argc, argv, &err), r;

	if (n < 0 || check_args(&a, n, &err) < 0)
		return cli_usage(&err);
	a.pick.input = argv[1];
	r = gosyms_init(&w.syms) < 0 ? err_set(&err, -ENOMEM, "out of memory") : answer(&w, &err);
	for (i = 0; i < w.nasked; i++)
		gopath_done(&w.path[i]);
	for (i = 0; i < w.files.n; i++)
		damaged |= w.files.v[i].damaged;
	gopath_done(&w.slow);
	gopath_done(&w.median);
	free(w.path);
	free(w.asked);
	why_list_done(&w.list);
	why_list_done(&w.around);
	why_files_close(&w.files);
	kview_free(w.kernel);
	gosyms_done(&w.syms);
	if (r < 0)
		return cli_fail(&err);
	return damaged ? CLI_LOST : CLI_OK;
}

const struct verb verb_why = {
	"why",
	"[OPTIONS] RECORDING|TRACE",
	"where the time of a request, task or goroutine went, hop by hop",
	{
		"gander why recording --span shop.request --slowest 1",
		"gander why trace.out --task order --at p99",
		"gander why trace.out --goroutine 71 --hops",
	},
	run,
};
