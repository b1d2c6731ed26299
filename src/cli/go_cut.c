/* gander go cut. A task or region is found by a first pass over the file; what is written then is its time. Spans are those of a recording's events, chosen
 * as `gander why` chooses them (why_pick.h); of the trace only the generations around one are read. */
#include "base/map.h"
#include "cli/go_input.h"
#include "cli/go_run.h"
#include "cli/why_pick.h"
#include "export/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int run(int argc, char **argv);

const struct verb go_cut = {
	"go cut",
	"[OPTIONS] -o FILE TRACE|RECORDING",
	"a part of a trace as a trace of its own",
	{
		"gander go cut --from 1.2s --to 1.3s -o part.out trace.out",
		"gander go cut --task request --around 5ms -o slowest.out trace.out",
		"gander go cut --span shop.request --slowest 1 -o request.trace recording",
		"gander go cut -g 71 -g 102 -o two.out trace.out",
	},
	run,
};

/* One that has begun: the last one of its task, or of its goroutine, in which regions nest. */
struct open_span {
	int64_t begin;
	uint32_t below; /* the one before it of the same task or goroutine, or the next that is free: index + 1 */
};

struct finder {
	const char *name;
	bool region, by_id;
	uint64_t id;
	struct map open_of; /* task, or goroutine -> index + 1 in `open` */
	struct open_span *open;
	uint32_t nopen, cap, free;
	int64_t first, best_from, best_to, last;
	uint64_t n;
};

static bool matches(const struct finder *f, struct gander_gotrace *t, const struct gander_gotrace_event *e)
{
	if (f->region)
		return !strcmp(gander_gotrace_string(t, e->region.type), f->name);
	return f->by_id ? e->task.id == f->id : !strcmp(gander_gotrace_string(t, e->task.type), f->name);
}

static void ended(struct finder *f, int64_t begin, int64_t end)
{
	if (!f->n++ || end - begin > f->best_to - f->best_from) {
		f->best_from = begin;
		f->best_to = end;
	}
}

static int begun(struct finder *f, uint64_t key, int64_t begin)
{
	struct open_span *p;
	uint64_t *at;
	uint32_t i;
	bool added;

	if (f->free) {
		i = f->free - 1;
		f->free = f->open[i].below;
	} else {
		if (f->nopen == f->cap) {
			p = realloc(f->open, (f->cap * 2 + 64) * sizeof(*p));
			if (!p)
				return -ENOMEM;
			f->open = p;
			f->cap = f->cap * 2 + 64;
		}
		i = f->nopen++;
	}
	at = map_put(&f->open_of, key, &added);
	if (!at)
		return -ENOMEM;
	f->open[i] = (struct open_span) { begin, (uint32_t)*at };
	*at = i + 1;
	return 0;
}

static int see(struct finder *f, struct gander_gotrace *t, const struct gander_gotrace_event *e)
{
	bool begins = e->kind == (f->region ? GANDER_GOTRACE_REGION_BEGIN : GANDER_GOTRACE_TASK_BEGIN);
	uint64_t key, *at;
	uint32_t i;

	if (!begins && e->kind != (f->region ? GANDER_GOTRACE_REGION_END : GANDER_GOTRACE_TASK_END))
		return 0;
	key = f->region ? (uint64_t)e->goroutine : e->task.id;
	if (begins)
		return matches(f, t, e) ? begun(f, key, e->time_ns) : 0;
	at = map_find(&f->open_of, key);
	if (!at || (f->region && !matches(f, t, e)))
		return 0;
	i = (uint32_t)*at - 1;
	ended(f, f->open[i].begin, e->time_ns);
	if (f->open[i].below)
		*at = f->open[i].below;
	else
		map_del(&f->open_of, key);
	f->open[i].below = f->free;
	f->free = i + 1;
	return 0;
}

/* The slowest task or region of that name; one that has not ended lasts to the trace's end. */
static int find(struct finder *f, const char *spec, struct err *err)
{
	struct gander_err gerr = GANDER_ERR_INIT;
	struct gander_gotrace_event e;
	struct gander_gotrace *t;
	struct go_input *in = NULL;
	uint64_t next = 0, key, i;
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
		if (r < 0) {
			err_set((struct err *)&gerr, r, "out of memory");
			break;
		}
	}
	while (map_next(&f->open_of, &next, &key, &i))
		for (; i; i = f->open[i - 1].below)
			ended(f, f->open[i - 1].begin, f->last);
	go_input_close(in);
	map_done(&f->open_of);
	free(f->open);
	/* of a damaged trace, what is before the damage will do */
	if (r < 0 && (r == -ENOMEM || !f->n))
		return err_set(err, r, "%s: %s", spec, gerr.text);
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
	/* of a recording */
	struct why_pick pick;
	struct why_files files;
	struct gosyms syms;
	bool misused; /* the error is one of the command line */
};

static int check(struct cut *c, bool is_recording, struct err *err)
{
	int kinds = !!c->task + !!c->region + !!c->pick.name, i, r;

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
	if (c->pick.name && !is_recording)
		return err_set(err, -EINVAL, "--span: a Go trace has no spans of events: name the recording, or use --task or --region, which are of the trace");
	if (c->pick.pid != UINT64_MAX && !is_recording)
		return err_set(err, -EINVAL, "--pid chooses among the traces of a recording");
	if (kinds > 1)
		return err_set(err, -EINVAL, "--task, --region and --span exclude each other");
	if (c->pick.name && c->generations)
		return err_set(err, -EINVAL, "--span and --generations exclude each other");
	if ((c->pick.at || c->pick.slowest) && !c->pick.name)
		return err_set(err, -EINVAL, "--slowest and --at choose among spans (of tasks and regions it is the slowest)");
	return why_pick_check(&c->pick, err);
}

/* The times of a task or region, in the trace `spec`. */
static int prepare(struct cut *c, const char *spec, struct err *err)
{
	struct finder f = { .name = c->task ? c->task : c->region, .region = c->region != NULL };
	char *end;
	int r;

	if (!f.name)
		return 0;
	if (!strcmp(spec, "-") || go_input_is_url(spec)) {
		c->misused = true;
		return err_set(err, -EINVAL, "--task and --region read the trace twice: it must be a file");
	}
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
	fprintf(stderr, "%s '%s': %llu of that name, the slowest from %.6f to %.6f s\n", f.region ? "region" : "task", f.name, (unsigned long long)f.n,
		(double)(f.best_from - f.first) / 1e9, (double)(f.best_to - f.first) / 1e9);
	return 0;
}

/* Writes the part of `t`, a trace of the file `from`. `to` is left without a file when it would be empty. */
static int write_part(struct cut *c, struct gander_gotrace *t, const char *from, const char *to, struct gocut_stats *stats, struct err *err)
{
	char *source[] = { NULL, (char *)from };
	FILE *out = NULL;
	int r;

	*stats = (struct gocut_stats) { 0 };
	r = go_output_open(&out, to, 1, source, err);
	if (r < 0)
		return r;
	r = gocut_run(t, out, &c->o, stats, err);
	if (r < 0)
		err_prefix(err, "%s", from);
	return go_output_close(out, to, r, r < 0 && !stats->events, err);
}

static void tell_part(const struct gocut_stats *stats)
{
	if (stats->events)
		fprintf(stderr, "%llu events, %.6f to %.6f s\n", (unsigned long long)stats->events, (double)stats->from_ns / 1e9, (double)stats->to_ns / 1e9);
}

/* A trace from its begin on. */
static int cut_trace(struct cut *c, const char *spec, struct gocut_stats *stats, struct err *err)
{
	struct go_input *in = NULL;
	int r = prepare(c, spec, err);

	if (r >= 0)
		r = go_input_open(&in, spec, 0, err);
	if (r < 0)
		return r;
	c->o.progress = go_input_progress;
	c->o.progress_arg = in;
	r = write_part(c, go_input_reader(in), go_input_name(in), c->to, stats, err);
	go_input_progress_done(in);
	tell_part(stats);
	go_input_close(in);
	return r;
}

/* One span, from the generations around it. */
static int cut_span(struct cut *c, const struct why_span *s, int64_t start_ns, const char *to, struct gocut_stats *stats, struct err *err)
{
	struct why_file *f = why_files_at(&c->files, s->process, s->from_ns, s->to_ns);
	uint64_t from = (uint64_t)(s->from_ns - start_ns), until = (uint64_t)(s->to_ns - start_ns);
	struct gander_gotrace *t = NULL;
	struct gogens_reader gens;
	int r;

	c->o.start_ns = &start_ns;
	c->o.never_empty = true;
	c->o.from_ns = from - (c->around < from ? c->around : from);
	c->o.to_ns = until + c->around < until ? UINT64_MAX : until + c->around;
	fprintf(stderr, "span %016llx: %.6f to %.6f s of process %u, ended by goroutine %lld\n", (unsigned long long)s->id, (double)from / 1e9, (double)until / 1e9, s->process,
		(long long)s->g);
	r = why_file_open_at(f, start_ns + (int64_t)c->o.from_ns, &gens, &t, err);
	if (r < 0)
		return r;
	r = write_part(c, t, f->path, to, stats, err);
	tell_part(stats);
	gander_gotrace_free(t);
	return r;
}

/* "OUT.trace" becomes "OUT-2.trace". */
static void numbered(struct buf *name, const char *to, uint32_t i)
{
	const char *base = strrchr(to, '/'), *dot = strrchr(base ? base + 1 : to, '.');
	size_t stem = dot && dot > (base ? base + 1 : to) ? (size_t)(dot - to) : strlen(to);

	buf_clear(name);
	buf_printf(name, "%.*s-%u%s", (int)stem, to, i, to + stem);
}

static int cut_spans(struct cut *c, struct gocut_stats *stats, struct err *err)
{
	struct gocut_stats total = { 0 };
	struct why_list list = { 0 };
	struct buf name = BUF_INIT;
	uint64_t outside = 0;
	uint32_t i, n, first;
	int64_t start_ns;
	int r;

	r = gosyms_init(&c->syms) < 0 ? err_set(err, -ENOMEM, "out of memory") : 0;
	c->pick.what = WHY_OF_SPAN;
	c->pick.from = c->o.from_ns;
	c->pick.to = c->o.to_ns ? c->o.to_ns : UINT64_MAX;
	if (r == 0)
		r = why_pick_start(&c->pick, &c->files, NULL, &start_ns, err);
	if (r == 0)
		r = why_pick_find(&c->pick, &c->files, NULL, &c->syms, start_ns, &list, &outside, err);
	if (r < 0)
		goto out;
	n = why_pick_choose(&c->pick, &list, &first);
	if (n > 1 && !strcmp(c->to, "-")) {
		c->misused = true;
		r = err_set(err, -EINVAL, "-o -: one trace alone fits into standard output, not the %u slowest", n);
		goto out;
	}
	fprintf(stderr, "span '%s': %u of that name%s", c->pick.name, list.n, n > 1 || c->pick.has_q ? "" : ", the slowest:");
	fprintf(stderr, outside ? " (%llu more are outside of what the Go traces cover)\n" : "\n", (unsigned long long)outside);
	for (i = 0; i < n && r >= 0; i++) {
		if (n > 1)
			numbered(&name, c->to, i + 1);
		if (buf_failed(&name))
			r = err_set(err, -ENOMEM, "out of memory");
		else
			r = cut_span(c, &list.v[first + i], start_ns, n > 1 ? name.data : c->to, stats, err);
		total.events += stats->events;
	}
	*stats = total;
out:
	buf_done(&name);
	why_list_done(&list);
	gosyms_done(&c->syms);
	return r;
}

static int cut_recording(struct cut *c, struct gocut_stats *stats, struct err *err)
{
	struct why_file *file = NULL;
	int r = why_files_open(&c->files, c->pick.input, err);

	if (r == 0 && c->pick.name)
		r = cut_spans(c, stats, err);
	else if (r == 0 && (r = why_pick_file(&c->pick, &c->files, &file, err)) == 0)
		r = cut_trace(c, file->path, stats, err);
	why_files_close(&c->files);
	return r;
}

static int run(int argc, char **argv)
{
	struct cut c = { .pick = { .pid = UINT64_MAX } };
	const struct opt opts[] = {
		{ OPT_STR, 'o', "output", "FILE", "where to ('-': standard output)", &c.to },
		{ OPT_DURATION, 0, "from", "TIME", "from this time of the trace on", &c.o.from_ns },
		{ OPT_DURATION, 0, "to", "TIME", "to this time of the trace", &c.o.to_ns },
		{ OPT_STR, 0, "generations", "N-M", "these generations (about a second each), the first is 1", &c.generations },
		{ OPT_LIST, 'g', "goroutine", "ID", "only this goroutine (may be given several times)", &c.goroutine },
		{ OPT_STR, 't', "task", "ID|TYPE", "the time of this task, of several the slowest one", &c.task },
		{ OPT_STR, 0, "region", "TYPE", "the time of the slowest region of this type", &c.region },
		{ OPT_STR, 0, "span", "NAME", "of a recording: the time of a span of events, of several the slowest one", &c.pick.name },
		{ OPT_U64, 'n', "slowest", "N", "with --span: the N slowest, each into a file of its own", &c.pick.slowest },
		{ OPT_STR, 0, "at", "QUANTILE", "with --span: the one at p50, p99, p99.9, median, max", &c.pick.at },
		{ OPT_DURATION, 0, "around", "TIME", "with --task, --region and --span: so much before and after", &c.around },
		{ OPT_U64, 0, "pid", "PID", "of a recording of several programs: this one's trace", &c.pick.pid },
		{ OPT_END },
	};
	struct gocut_stats stats = { 0 };
	struct err err = ERR_INIT;
	struct stat st;
	bool is_recording;
	int n = opt_parse(&go_cut, opts, argc, argv, &err), r;

	if (n < 0)
		return cli_usage(&err);
	if (n != 1 || !c.to) {
		err_set(&err, -EINVAL, "go cut needs one trace or recording and -o FILE");
		return cli_usage(&err);
	}
	c.pick.input = argv[1];
	is_recording = !go_input_is_url(argv[1]) && !stat(argv[1], &st) && S_ISDIR(st.st_mode);
	if (check(&c, is_recording, &err) < 0)
		return cli_usage(&err);
	r = is_recording ? cut_recording(&c, &stats, &err) : cut_trace(&c, argv[1], &stats, &err);
	if (c.misused)
		return cli_usage(&err);
	if (r < 0)
		cli_fail(&err);
	return r >= 0 ? CLI_OK : stats.events ? CLI_LOST
					      : CLI_FAILED;
}
