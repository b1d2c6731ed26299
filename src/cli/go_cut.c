/* gander go cut. A task or region is found by a first pass over the file; what is written then is its time. */
#include "base/map.h"
#include "cli/go_input.h"
#include "cli/go_run.h"
#include "export/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv);

const struct verb go_cut = {
	"go cut",
	"[OPTIONS] -o FILE TRACE",
	"a part of a trace as a trace of its own",
	{
		"gander go cut --from 1.2s --to 1.3s -o part.out trace.out",
		"gander go cut --task request --around 5ms -o slowest.out trace.out",
		"gander go cut -g 71 -g 102 -o two.out trace.out",
		"gander go cut --generations 2-3 -o part.out trace.out",
	},
	run,
};

struct open_span {
	int64_t goroutine, begin; /* goroutine: of a region */
	uint64_t task;            /* of a task */
};

struct finder {
	const char *name;
	bool region, by_id;
	uint64_t id;
	struct open_span *open;
	size_t nopen, cap;
	int64_t first, best_from, best_to, last;
	uint64_t n;
};

static bool matches(const struct finder *f, struct gander_gotrace *t, const struct gander_gotrace_event *e)
{
	if (f->region)
		return !strcmp(gander_gotrace_string(t, e->region.type), f->name);
	return f->by_id ? e->task.id == f->id : !strcmp(gander_gotrace_string(t, e->task.type), f->name);
}

static void ended(struct finder *f, size_t i, int64_t end)
{
	if (!f->n++ || end - f->open[i].begin > f->best_to - f->best_from) {
		f->best_from = f->open[i].begin;
		f->best_to = end;
	}
	memmove(f->open + i, f->open + i + 1, (f->nopen - i - 1) * sizeof(*f->open));
	f->nopen--;
}

static int see(struct finder *f, struct gander_gotrace *t, const struct gander_gotrace_event *e)
{
	bool begins = e->kind == (f->region ? GANDER_GOTRACE_REGION_BEGIN : GANDER_GOTRACE_TASK_BEGIN);
	size_t i;

	if (!begins && e->kind != (f->region ? GANDER_GOTRACE_REGION_END : GANDER_GOTRACE_TASK_END))
		return 0;
	if (begins) {
		if (!matches(f, t, e))
			return 0;
		if (f->nopen == f->cap) {
			size_t cap = f->cap ? 2 * f->cap : 64;
			struct open_span *p = realloc(f->open, cap * sizeof(*p));

			if (!p)
				return -ENOMEM;
			f->open = p;
			f->cap = cap;
		}
		f->open[f->nopen++] = (struct open_span) { e->goroutine, e->time_ns, f->region ? 0 : e->task.id };
		return 0;
	}
	for (i = f->nopen; i-- > 0;) /* regions nest in their goroutine: the last one that began */
		if (f->region ? f->open[i].goroutine == e->goroutine && matches(f, t, e) : f->open[i].task == e->task.id) {
			ended(f, i, e->time_ns);
			break;
		}
	return 0;
}

/* The slowest task or region of that name; one that has not ended lasts to the trace's end. */
static int find(struct finder *f, const char *spec, struct err *err)
{
	struct gander_err gerr = GANDER_ERR_INIT;
	struct gander_gotrace_event e;
	struct gander_gotrace *t;
	struct go_input *in = NULL;
	bool any = false;
	int r;

	r = go_input_open(&in, spec, GANDER_GOTRACE_NO_STACKS, err);
	if (r < 0)
		return r;
	t = go_input_reader(in);
	while ((r = gander_gotrace_next(t, &e, &gerr)) > 0) {
		if (!any)
			f->first = e.time_ns;
		any = true;
		f->last = e.time_ns;
		r = see(f, t, &e);
		if (r < 0)
			break;
	}
	while (f->nopen)
		ended(f, 0, f->last);
	go_input_close(in);
	free(f->open);
	if (r == -ENOMEM)
		return err_set(err, r, "out of memory");
	if (!f->n)
		return err_set(err, -ENOENT, "%s: no %s '%s' is in it", spec, f->region ? "region" : "task", f->name);
	return 0;
}

static int parse_generations(const char *s, struct gocut_opts *o, struct err *err)
{
	char *end;

	o->first_generation = strtoull(s, &end, 10);
	if (end == s || *s == '-')
		goto bad;
	o->last_generation = o->first_generation;
	if (*end == '-') {
		s = end + 1;
		o->last_generation = strtoull(s, &end, 10);
	}
	if (!*end && o->first_generation && (!o->last_generation || o->last_generation >= o->first_generation))
		return 0;
bad:
	return err_set(err, -EINVAL, "--generations takes N, N-M or N- (the first is 1)");
}

struct cut {
	struct gocut_opts o;
	const char *to, *generations, *task, *region;
	struct opt_list goroutine;
	uint64_t id[OPT_LIST_MAX], around;
};

static int prepare(struct cut *c, const char *spec, struct err *err)
{
	struct finder f = { .name = c->task ? c->task : c->region, .region = c->region != NULL };
	char *end;
	int i, r;

	for (i = 0; i < c->goroutine.n; i++) {
		r = opt_u64(c->goroutine.v[i], &c->id[i], err);
		if (r < 0)
			return r;
	}
	c->o.goroutine = c->id;
	c->o.ngoroutine = (size_t)c->goroutine.n;
	if (c->generations) {
		r = parse_generations(c->generations, &c->o, err);
		if (r < 0)
			return r;
	}
	if (c->o.to_ns && c->o.to_ns < c->o.from_ns)
		return err_set(err, -EINVAL, "--to is before --from");
	if (!f.name)
		return 0;
	if (c->task && c->region)
		return err_set(err, -EINVAL, "--task and --region exclude each other");
	if (!strcmp(spec, "-") || go_input_is_url(spec))
		return err_set(err, -EINVAL, "--task and --region read the trace twice: it must be a file");
	if (c->task) {
		f.id = strtoull(c->task, &end, 10);
		f.by_id = end != c->task && !*end;
	}
	r = find(&f, spec, err);
	if (r < 0)
		return r;
	c->o.from_ns = (uint64_t)(f.best_from - f.first);
	c->o.from_ns -= c->around < c->o.from_ns ? c->around : c->o.from_ns;
	c->o.to_ns = (uint64_t)(f.best_to - f.first) + c->around;
	fprintf(stderr, "%s '%s': %s%llu of that name, the slowest from %.6f to %.6f s\n", f.region ? "region" : "task", f.name, "", (unsigned long long)f.n,
		(double)(f.best_from - f.first) / 1e9, (double)(f.best_to - f.first) / 1e9);
	return 0;
}

static int run(int argc, char **argv)
{
	struct cut c = { 0 };
	const struct opt opts[] = {
		{ OPT_STR, 'o', "output", "FILE", "where to ('-': standard output)", &c.to },
		{ OPT_DURATION, 0, "from", "TIME", "from this time of the trace on", &c.o.from_ns },
		{ OPT_DURATION, 0, "to", "TIME", "to this time of the trace", &c.o.to_ns },
		{ OPT_STR, 0, "generations", "N-M", "these generations (about a second each), the first is 1", &c.generations },
		{ OPT_LIST, 'g', "goroutine", "ID", "only this goroutine (may be given several times)", &c.goroutine },
		{ OPT_STR, 't', "task", "ID|TYPE", "the time of this task, of several the slowest one", &c.task },
		{ OPT_STR, 0, "region", "TYPE", "the time of the slowest region of this type", &c.region },
		{ OPT_DURATION, 0, "around", "TIME", "with --task and --region: so much before and after", &c.around },
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct gocut_stats stats;
	struct go_input *in = NULL;
	FILE *out = NULL;
	int n = opt_parse(&go_cut, opts, argc, argv, &err), r;

	if (n < 0)
		return cli_usage(&err);
	if (n != 1 || !c.to) {
		err_set(&err, -EINVAL, "go cut needs one trace and -o FILE");
		return cli_usage(&err);
	}
	r = prepare(&c, argv[1], &err);
	if (r == -EINVAL)
		return cli_usage(&err);
	if (r >= 0)
		r = go_input_open(&in, argv[1], 0, &err);
	if (r < 0)
		return cli_fail(&err);
	c.o.progress = go_input_progress;
	c.o.progress_arg = in;
	r = go_output_open(&out, c.to, 1, argv, &err);
	if (r >= 0) {
		r = gocut_run(go_input_reader(in), out, &c.o, &stats, &err);
		if (r < 0)
			err_prefix(&err, "%s", go_input_name(in));
		r = go_output_close(out, c.to, r, r < 0 && !stats.events, &err);
	}
	go_input_progress_done(in);
	if (out && stats.events)
		fprintf(stderr, "%llu events, %.6f to %.6f s\n", (unsigned long long)stats.events, (double)stats.from_ns / 1e9, (double)stats.to_ns / 1e9);
	go_input_close(in);
	if (r < 0)
		cli_fail(&err);
	return r >= 0 ? CLI_OK : out && stats.events ? CLI_LOST
						     : CLI_FAILED;
}
