/* gander why: where the time of a goroutine, task, region, span or range went. */
#include "analyze/gogens.h"
#include "analyze/why.h"
#include "base/table.h"
#include "cli/cli.h"
#include "cli/go_input.h"
#include "cli/why_out.h"
#include "export/export.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOWEST_MAX 1000u
#define GROUP_MAX   1000u /* spans of each side of a comparison */

extern const struct verb verb_why;

struct why_args {
	uint64_t goroutine, slowest, from, to;
	const char *task, *region, *span, *at, *pprof, *what_name;
	bool json, all, stacks, hops;
	bool has_q;
	double q; /* of --at */
	enum why_what what;
	const char *input;
	char spool[64]; /* /proc/self/fd/N of what can be read only once */
	int spool_fd;
};

struct why_run {
	struct why_args *a;
	struct gosyms syms;
	struct why_pass pass;
	struct why_list list;
	struct why_asked *asked;
	struct gopath *path;
	uint32_t nasked, npath;
	struct gogens gens; /* of a file in a format that has them */
	int fd;
	int64_t start_ns; /* of the trace */
	bool damaged;     /* the trace broke off: what came before was used */
};

static int spool(struct why_args *a, struct err *err)
{
	const char *const dirs[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
	struct go_input *in = NULL;
	char path[4096];
	uint8_t *block;
	int64_t n;
	size_t i;
	int r;

	a->spool_fd = -1;
	if (strcmp(a->input, "-") && !go_input_is_url(a->input))
		return 0;
	for (i = 0; i < sizeof(dirs) / sizeof(*dirs) && a->spool_fd < 0; i++)
		if (dirs[i] && snprintf(path, sizeof(path), "%s/gander-why-XXXXXX", dirs[i]) < (int)sizeof(path))
			a->spool_fd = mkostemp(path, O_CLOEXEC);
	if (a->spool_fd < 0)
		return err_set(err, -errno, "cannot make a temporary file in $TMPDIR, /var/tmp or /tmp: %m");
	unlink(path);
	block = malloc(1 << 16);
	r = block ? go_input_open_raw(&in, a->input, err) : err_set(err, -ENOMEM, "out of memory");
	if (r == 0) {
		while ((n = go_input_read(in, block, 1 << 16)) > 0 && r == 0)
			if (write(a->spool_fd, block, (size_t)n) != n)
				r = err_set(err, -errno, "cannot write a temporary file: %m");
		if (n < 0)
			r = err_set(err, (int)n, "cannot read '%s': %s", a->input, strerror((int)-n));
	}
	go_input_close(in);
	free(block);
	snprintf(a->spool, sizeof(a->spool), "/proc/self/fd/%d", a->spool_fd);
	return r;
}

/* Where its generations lie, when it has any: then a question about an instant needs no whole pass. */
static int find_generations(struct why_run *w, struct err *err)
{
	w->fd = open(*w->a->spool ? w->a->spool : w->a->input, O_RDONLY | O_CLOEXEC);
	if (w->fd < 0)
		return err_set(err, -errno, "cannot open '%s': %m", w->a->input);
	if (lseek(w->fd, 0, SEEK_END) > 0 && gogens_find(&w->gens, w->fd) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* Opens the trace for one pass. */
static int open_pass(struct why_run *w, struct go_input **in, struct err *err)
{
	int r = go_input_open(in, *w->a->spool ? w->a->spool : w->a->input, 0, err);

	if (r < 0)
		return r;
	w->pass.syms = &w->syms;
	w->pass.progress = go_input_progress;
	w->pass.progress_arg = *in;
	return 0;
}

/* A damaged trace is used as far as it goes, and said. */
static int after_pass(struct why_run *w, struct go_input *in, int r, struct err *err)
{
	go_input_close(in);
	if (r < 0 && r != -ENOMEM && r != -EFBIG && r != -ENOSPC && w->pass.end_ns > w->pass.start_ns) {
		if (!w->damaged)
			cli_fail(err_prefix(err, "%s", w->a->input) ? err : err);
		w->damaged = true;
		return 0;
	}
	return r;
}

static int ask(struct why_run *w, const struct why_span *s, struct gopath *path)
{
	w->asked[w->nasked++] = (struct why_asked) { .span = *s, .path = path };
	return 0;
}

static int make_room(struct why_run *w, uint32_t nasked, uint32_t npath, struct err *err)
{
	uint32_t i;

	w->asked = calloc((size_t)nasked + 1, sizeof(*w->asked));
	w->path = calloc((size_t)npath + 1, sizeof(*w->path));
	if (!w->asked || !w->path)
		return err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < npath; i++) {
		if (gopath_init(&w->path[i]) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		w->npath++;
	}
	return 0;
}

/* Times on the command line count from the trace's begin, which only a pass knows: the first event says it. */
static int trace_start(struct why_run *w, int64_t *start, struct err *err)
{
	struct gander_gotrace_event ev;
	struct gander_err gerr = GANDER_ERR_INIT;
	struct go_input *in = NULL;
	int r;

	if (w->gens.n) {
		*start = w->gens.v[0].start_ns;
		return 0;
	}
	r = open_pass(w, &in, err);
	if (r < 0)
		return r;
	r = gander_gotrace_next(go_input_reader(in), &ev, &gerr);
	go_input_close(in);
	if (r <= 0)
		return err_set(err, r < 0 ? r : -ENODATA, "%s: %s", w->a->input, r < 0 ? gerr.text : "no events");
	*start = ev.time_ns;
	return 0;
}

static int64_t at_time(int64_t start, uint64_t ns)
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

static int choose(struct why_run *w, struct err *err)
{
	struct why_args *a = w->a;
	struct go_input *in = NULL;
	uint32_t i, n, mid;
	int64_t start = 0;
	int r;

	if (a->from || a->to != UINT64_MAX) {
		r = trace_start(w, &start, err);
		if (r < 0)
			return r;
	}
	if (a->what == WHY_OF_GOROUTINE || a->what == WHY_OF_RANGE) {
		struct why_span s = { .from_ns = a->from ? at_time(start, a->from) : INT64_MIN,
				      .to_ns = a->to != UINT64_MAX ? at_time(start, a->to) : INT64_MAX,
				      .g = a->what == WHY_OF_RANGE ? -1 : (int64_t)a->goroutine,
				      .what = a->what };

		r = make_room(w, 1, 1, err);
		return r < 0 ? r : ask(w, &s, &w->path[0]);
	}
	r = open_pass(w, &in, err);
	if (r < 0)
		return r;
	r = after_pass(w, in, why_collect(&w->pass, go_input_reader(in), a->what, a->what_name, &w->list, err), err);
	if (r < 0)
		return r;
	if (a->from || a->to != UINT64_MAX)
		keep_between(&w->list, at_time(start, a->from), at_time(start, a->to));
	if (!w->list.n)
		return err_set(err, -ENOENT, "no %s '%s' that begins and ends in %s%s", a->what == WHY_OF_TASK ? "task" : "region", a->what_name, a->input,
			       w->list.open ? " (some are open: they began before it, or end after it)" : "");
	why_list_sort(&w->list);
	if (a->has_q) {
		r = make_room(w, 1, 1, err);
		return r < 0 ? r : ask(w, &w->list.v[why_list_at(&w->list, a->q)], &w->path[0]);
	}
	if (a->slowest || w->list.n == 1) {
		n = !a->slowest ? 1 : a->slowest < w->list.n ? (uint32_t)a->slowest
							     : w->list.n;
		r = make_room(w, n, n, err);
		for (i = 0; i < n && r == 0; i++)
			r = ask(w, &w->list.v[i], &w->path[i]);
		return r;
	}
	/* the slowest hundredth against the hundredth around the median, and the slowest by itself */
	n = (w->list.n + 99) / 100;
	if (n > GROUP_MAX)
		n = GROUP_MAX;
	r = make_room(w, 2 * n + 1, 3, err);
	if (r < 0)
		return r;
	mid = why_list_at(&w->list, 0.5);
	mid = mid > n / 2 ? mid - n / 2 : 0;
	if (mid + n > w->list.n)
		mid = w->list.n - n;
	ask(w, &w->list.v[0], &w->path[0]);
	for (i = 0; i < n; i++)
		ask(w, &w->list.v[i], &w->path[1]);
	for (i = 0; i < n; i++)
		ask(w, &w->list.v[mid + i], &w->path[2]);
	return 0;
}

static int write_pprof(const struct why_run *w, struct err *err)
{
	FILE *out = strcmp(w->a->pprof, "-") ? fopen(w->a->pprof, "we") : stdout;
	int r;

	if (!out)
		return err_set(err, -errno, "cannot write '%s': %m", w->a->pprof);
	/* several: the first tree that holds them all */
	r = why_pprof(&w->path[w->npath == 3 && w->nasked > 3 ? 1 : 0], &w->syms, out, err);
	if (out != stdout && fclose(out) && r == 0)
		r = err_set(err, -errno, "cannot write '%s': %m", w->a->pprof);
	return r;
}

static void compare_of(const struct why_run *w, struct why_compare *c)
{
	const struct why_list *l = &w->list;
	const struct why_span *p50 = &l->v[why_list_at(l, 0.5)], *p99 = &l->v[why_list_at(l, 0.99)];

	*c = (struct why_compare) {
		.name = w->a->what_name,
		.count = l->n,
		.open = l->open,
		.p50_ns = (uint64_t)(p50->to_ns - p50->from_ns),
		.p99_ns = (uint64_t)(p99->to_ns - p99->from_ns),
		.max_ns = (uint64_t)(l->v[0].to_ns - l->v[0].from_ns),
		.nslow = (w->nasked - 1) / 2,
		.nmedian = (w->nasked - 1) / 2,
		.slow = &w->path[1],
		.median = &w->path[2],
	};
}

static int print(const struct why_run *w, bool comparison, struct err *err)
{
	struct why_show show = { &w->syms, w->start_ns, w->a->all, w->a->stacks, w->a->hops };
	struct why_compare c;
	struct buf out = BUF_INIT;
	struct json j;
	uint32_t i, n = comparison ? 1 : w->nasked;
	int r = 0;

	if (comparison)
		compare_of(w, &c);
	if (w->a->json) {
		json_init(&j, &out);
		json_obj(&j);
		json_key(&j, "spans");
		json_arr(&j);
		for (i = 0; i < n; i++)
			why_out_json(&show, &w->asked[i], &j);
		json_arr_end(&j);
		if (comparison) {
			json_key(&j, "compare");
			r = why_out_compare_json(&show, &c, &j);
		}
		json_obj_end(&j);
		if (r < 0 || buf_failed(&out))
			r = err_set(err, -ENOMEM, "out of memory");
		else
			printf("%s\n", out.data);
		buf_done(&out);
		return r;
	}
	if (comparison) {
		if (why_out_compare_text(&show, &c, stdout) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		printf("\nThe slowest:\n\n");
	}
	for (i = 0; i < n; i++) {
		if (i)
			putchar('\n');
		why_out_text(&show, &w->asked[i], stdout);
	}
	return 0;
}

static int walk_all(struct why_run *w, struct err *err)
{
	struct go_input *in = NULL;
	int r = open_pass(w, &in, err);

	return r < 0 ? r : after_pass(w, in, why_walk(&w->pass, go_input_reader(in), w->asked, w->nasked, err), err);
}

static int walk_from(struct why_run *w, uint32_t gen, struct err *err)
{
	struct gogens_reader from = { .g = &w->gens, .fd = w->fd, .offset = w->gens.v[gen].offset };
	struct gander_err gerr = GANDER_ERR_INIT;
	struct gander_gotrace *reader;
	int r = gander_gotrace_open_read(&reader, gogens_read, &from, NULL, &gerr);

	if (r < 0)
		return err_set(err, r, "%s: %s", w->a->input, gerr.text);
	w->pass = (struct why_pass) { .syms = &w->syms };
	r = why_walk(&w->pass, reader, w->asked, w->nasked, err);
	gander_gotrace_free(reader);
	return r;
}

/* Whether something of weight had begun before the generations that were read: then the trace says less about it than it might. */
static bool lacks_begin(const struct why_run *w)
{
	uint32_t i, k;

	for (i = 0; i < w->nasked; i++)
		if (!w->asked[i].done)
			return true;
	for (i = 0; i < w->npath; i++)
		for (k = 1; k < w->path[i].n; k++) {
			const struct why_node *x = &w->path[i].node[k];

			if (((x->flags & WHY_OPEN && !x->reason) || x->kind == WHY_UNKNOWN) && x->ns > w->path[i].node[0].ns / 100)
				return true;
		}
	return false;
}

#define REREAD_MAX ((uint64_t)512 << 20) /* bytes of earlier generations that are read for one answer */

/* From the generation before the earliest begin; from earlier ones if what matters had begun there. */
static int walk(struct why_run *w, struct err *err)
{
	struct why_asked *first = calloc((size_t)w->nasked + 1, sizeof(*first));
	int64_t from = INT64_MAX;
	uint32_t i, at, back;
	int r = 0;

	if (!first)
		return err_set(err, -ENOMEM, "out of memory");
	memcpy(first, w->asked, w->nasked * sizeof(*first));
	for (i = 0; i < w->nasked; i++)
		if (w->asked[i].span.from_ns < from)
			from = w->asked[i].span.from_ns;
	at = gogens_at(&w->gens, from);
	for (back = 1; at > back && from != INT64_MIN; back *= 4) {
		r = walk_from(w, at - back, err);
		if (r == -ENOMEM || r == -EFBIG || r == -ENOSPC)
			goto out;
		if (r == 0 && (!lacks_begin(w) || w->gens.v[at].offset - w->gens.v[at - back].offset > REREAD_MAX))
			goto out;
		memcpy(w->asked, first, w->nasked * sizeof(*first));
		for (i = 0; i < w->npath; i++) {
			gopath_done(&w->path[i]);
			if (gopath_init(&w->path[i]) < 0) {
				r = err_set(err, -ENOMEM, "out of memory");
				goto out;
			}
		}
	}
	r = walk_all(w, err);
out:
	free(first);
	return r;
}

static int answer(struct why_run *w, struct err *err)
{
	uint32_t i;
	int r;

	if (gosyms_init(&w->syms) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	r = spool(w->a, err);
	if (r == 0)
		r = find_generations(w, err);
	if (r == 0)
		r = choose(w, err);
	if (r == 0)
		r = walk(w, err);
	if (r < 0)
		return r;
	w->start_ns = w->gens.n ? w->gens.v[0].start_ns : w->pass.start_ns;
	for (i = 0; i < w->nasked; i++)
		if (!w->asked[i].done) {
			if (w->a->what == WHY_OF_GOROUTINE)
				return err_set(err, -ENOENT, "%s does not mention goroutine %llu (gander go goroutines --by goroutine lists them)", w->a->input,
					       (unsigned long long)w->a->goroutine);
			return err_set(err, -ENOENT, "%s ends before the time that was asked for", w->a->input);
		}
	for (i = 0; i < w->npath; i++)
		if (gopath_check(&w->path[i]))
			return err_set(err, -EIO, "the parts do not add up to the whole: please report this with the trace");
	if (w->a->pprof) {
		r = write_pprof(w, err);
		if (r < 0 || !strcmp(w->a->pprof, "-"))
			return r;
	}
	return print(w, w->npath == 3 && w->nasked > 1 && !w->a->slowest && !w->a->has_q, err);
}

static int parse_at(struct why_args *a, struct err *err)
{
	char *end;

	if (!a->at)
		return 0;
	a->has_q = true;
	if (!strcmp(a->at, "median")) {
		a->q = 0.5;
	} else if (!strcmp(a->at, "max")) {
		a->q = 1;
	} else {
		a->q = *a->at == 'p' ? strtod(a->at + 1, &end) / 100 : -1;
		if (a->q < 0 || *end || !isfinite(a->q) || a->q > 1)
			return err_set(err, -EINVAL, "--at '%s': p50, p99, p99.9, median or max is expected", a->at);
	}
	return 0;
}

static int check_args(struct why_args *a, int n, struct err *err)
{
	int kinds = (a->goroutine != UINT64_MAX) + !!a->task + !!a->region + !!a->span;

	if (n != 1)
		return err_set(err, -EINVAL, "why needs one recording or trace");
	if (kinds > 1)
		return err_set(err, -EINVAL, "why answers one question at a time: --goroutine, --task, --region or --span");
	if (!kinds && !a->from && a->to == UINT64_MAX)
		return err_set(err, -EINVAL, "why needs a question: --goroutine, --task, --region, --span, or a time (--from, --to)");
	if (a->to <= a->from)
		return err_set(err, -EINVAL, "--to must be later than --from");
	if ((a->at || a->slowest) && !a->task && !a->region && !a->span)
		return err_set(err, -EINVAL, "--slowest and --at choose among tasks, regions or spans");
	if (a->at && a->slowest)
		return err_set(err, -EINVAL, "--slowest and --at exclude each other");
	if (a->slowest > SLOWEST_MAX)
		return err_set(err, -EINVAL, "--slowest: at most %u", SLOWEST_MAX);
	a->what = a->goroutine != UINT64_MAX ? WHY_OF_GOROUTINE : a->task ? WHY_OF_TASK
							  : a->region     ? WHY_OF_REGION
							  : a->span       ? WHY_OF_SPAN
									  : WHY_OF_RANGE;
	a->what_name = a->task ? a->task : a->region ? a->region
						     : a->span;
	return parse_at(a, err);
}

static int run(int argc, char **argv)
{
	struct why_args a = { .goroutine = UINT64_MAX, .to = UINT64_MAX, .spool_fd = -1 };
	const struct opt opts[] = {
		{ OPT_U64, 'g', "goroutine", "N", "the whole life of this goroutine, or its part between --from and --to", &a.goroutine },
		{ OPT_STR, 't', "task", "NAME", "tasks of runtime/trace whose type contains NAME", &a.task },
		{ OPT_STR, 'r', "region", "NAME", "regions of runtime/trace whose type contains NAME", &a.region },
		{ OPT_U64, 'n', "slowest", "N", "the N slowest of them, each by itself", &a.slowest },
		{ OPT_STR, 0, "at", "QUANTILE", "the one at p50, p99, p99.9, median, max", &a.at },
		{ OPT_DURATION, 0, "from", "TIME", "from that time after the trace's begin", &a.from },
		{ OPT_DURATION, 0, "to", "TIME", "up to that time", &a.to },
		{ OPT_FLAG, 'a', "all", NULL, "also the hops below 1 %", &a.all },
		{ OPT_FLAG, 's', "stacks", NULL, "each hop's whole stack under it", &a.stacks },
		{ OPT_FLAG, 0, "hops", NULL, "the path hop by hop too, in the order of time", &a.hops },
		{ OPT_STR, 'p', "pprof", "FILE", "the path's time by stack, for 'go tool pprof'", &a.pprof },
		{ OPT_FLAG, 'j', "json", NULL, "the answer as JSON: exact numbers, in ns", &a.json },
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct why_run w = { .a = &a, .fd = -1 };
	uint32_t i;
	int n = opt_parse(&verb_why, opts, argc, argv, &err), r;

	if (n < 0 || check_args(&a, n, &err) < 0)
		return cli_usage(&err);
	a.input = argv[1];
	r = answer(&w, &err);
	for (i = 0; i < w.npath; i++)
		gopath_done(&w.path[i]);
	free(w.path);
	free(w.asked);
	why_list_done(&w.list);
	gosyms_done(&w.syms);
	gogens_done(&w.gens);
	if (w.fd >= 0)
		close(w.fd);
	if (a.spool_fd >= 0)
		close(a.spool_fd);
	if (r < 0)
		return cli_fail(&err);
	return w.damaged ? CLI_LOST : CLI_OK;
}

const struct verb verb_why = {
	"why",
	"[OPTIONS] RECORDING|TRACE",
	"where the time of a request, task or goroutine went, hop by hop",
	{
		"gander why trace.out --task order --slowest 1",
		"gander why trace.out --goroutine 71 --hops",
		"gander why trace.out --from 1.2s --to 1.25s",
	},
	run,
};
