/* User tasks (runtime/trace.NewTask) by type: latency, what their regions did, and the slowest ones with their logs. With --task one
 * task is told in full: its regions, logs and sub-tasks in the order of time. Logs can be asked for by key and value: then only tasks
 * that have such a log count, and the logs are listed with their task and region. */
#include "analyze/goanalysis.h"
#include "base/hist.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#define SLOWEST  20
#define LOGS_MAX 100000 /* listed logs kept in all */

struct log {
	int64_t t, g;
	uint64_t task;
	uint32_t key, region; /* string ids; region: the innermost open one of that goroutine */
	char *value;
};

struct line { /* of the one task that is told in full */
	int64_t start, end, g;
	uint64_t task;
	uint32_t name, stack;
	uint8_t what; /* 0 task, 1 region, 2 log */
	bool open;
	char *value;
};

struct task {
	uint64_t id, parent;
	uint32_t type, stack;
	int64_t start, end, g;
	bool open_start, ended, matched;
	uint32_t nregion, nlog, nchild;
	struct goro_parts parts; /* of its outermost regions */
};

struct type {
	uint32_t type;
	uint64_t open, nregion, nlog;
	struct goro_parts parts;
	struct hist_lean hist;
};

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	struct map tasks; /* open ones: id -> struct task * */
	struct type *type;
	uint32_t ntype, type_cap, *index, nindex;
	struct task slow[SLOWEST];
	unsigned nslow;
	struct log *log;
	uint32_t nlog, log_cap;
	uint64_t more_logs;
	struct line *line;
	uint32_t nline, line_cap;
	struct map shown; /* tasks that are told in full: the one asked for and its children */
};

static struct task *task_of(struct goan_ctx *c, uint64_t id, bool make)
{
	uint64_t *v = map_find(&c->tasks, id);
	struct task *t;
	bool added;

	if (v)
		return (struct task *)(uintptr_t)*v;
	if (!make)
		return NULL;
	t = calloc(1, sizeof(*t));
	v = t ? map_put(&c->tasks, id, &added) : NULL;
	if (!v) {
		free(t);
		return NULL;
	}
	t->id = id;
	t->parent = GANDER_GOTRACE_NO_TASK;
	t->start = c->s->start_ns;
	t->open_start = true;
	t->g = -1;
	*v = (uint64_t)(uintptr_t)t;
	return t;
}

static struct type *type_of(struct goan_ctx *c, uint32_t type)
{
	struct type *x;

	if (type >= c->nindex) {
		uint32_t n = (type + 32) * 2, *index = realloc(c->index, n * sizeof(*index));

		if (!index)
			return NULL;
		memset(index + c->nindex, 0, (n - c->nindex) * sizeof(*index));
		c->index = index;
		c->nindex = n;
	}
	if (c->index[type])
		return &c->type[c->index[type] - 1];
	if (c->ntype == c->type_cap) {
		uint32_t cap = c->type_cap ? c->type_cap * 2 : 16;

		x = realloc(c->type, cap * sizeof(*x));
		if (!x)
			return NULL;
		c->type = x;
		c->type_cap = cap;
	}
	x = &c->type[c->ntype++];
	memset(x, 0, sizeof(*x));
	x->type = type;
	c->index[type] = c->ntype;
	return x;
}

static void add_line(struct goan_ctx *c, const struct line *l)
{
	if (c->nline == LOGS_MAX)
		return;
	if (c->nline == c->line_cap) {
		uint32_t cap = c->line_cap ? c->line_cap * 2 : 64;
		struct line *line = realloc(c->line, cap * sizeof(*line));

		if (!line)
			return;
		c->line = line;
		c->line_cap = cap;
	}
	c->line[c->nline++] = *l;
}

static bool is_shown(const struct goan_ctx *c, uint64_t task)
{
	return c->o.has_task && (task == c->o.task || map_find(&c->shown, task));
}

static void finish(struct goan_ctx *c, struct task *t)
{
	uint64_t ns = (uint64_t)(t->end - t->start);
	bool filter = c->o.key || c->o.value;
	struct type *x;
	unsigned i;

	if (is_shown(c, t->id)) {
		struct line l = { t->start, t->end, t->g, t->id, t->type, t->stack, 0, t->open_start || !t->ended, NULL };

		add_line(c, &l);
	}
	if (!goan_matches(gosyms_text(c->s->syms, t->type), c->o.name) || (filter && !t->matched) || ns < c->o.min_ns)
		return;
	if (c->o.has_task && t->id != c->o.task)
		return;
	x = type_of(c, t->type);
	if (!x)
		return;
	x->nregion += t->nregion;
	x->nlog += t->nlog;
	for (i = 0; i < GO_PARTS; i++)
		x->parts.ns[i] += t->parts.ns[i];
	if (t->open_start || !t->ended) {
		x->open++;
		return;
	}
	hist_lean_add(&x->hist, ns);
	if (c->nslow == SLOWEST && ns <= (uint64_t)(c->slow[SLOWEST - 1].end - c->slow[SLOWEST - 1].start))
		return;
	i = c->nslow < SLOWEST ? c->nslow++ : SLOWEST - 1;
	for (; i > 0 && (uint64_t)(c->slow[i - 1].end - c->slow[i - 1].start) < ns; i--)
		c->slow[i] = c->slow[i - 1];
	c->slow[i] = *t;
}

static void event(void *ctx, const struct gander_gotrace_event *ev, struct goro *g)
{
	struct goan_ctx *c = ctx;
	struct gosym_map *m = &c->s->map;
	struct task *t, *parent;
	uint64_t id = ev->kind == GANDER_GOTRACE_LOG ? ev->log.task : ev->task.id;
	bool added;

	if (ev->kind == GANDER_GOTRACE_LOG) {
		uint32_t key = gosym_map_string(m, c->s->syms, ev->log.category);

		/* task 0 is the background task: logs there belong to none */
		t = id ? task_of(c, id, true) : NULL;
		if (t)
			t->nlog++;
		if (!goan_matches(gosyms_text(c->s->syms, key), c->o.key) || !goan_matches(ev->log.message, c->o.value))
			return;
		if (t)
			t->matched = true;
		if (is_shown(c, id)) {
			struct line l = { c->s->now, c->s->now, ev->goroutine, id, key, 0, 2, false, strdup(ev->log.message) };

			add_line(c, &l);
		}
		if (!c->o.logs && !c->o.key && !c->o.value)
			return;
		if (c->nlog == LOGS_MAX) {
			c->more_logs++;
			return;
		}
		if (c->nlog == c->log_cap) {
			uint32_t cap = c->log_cap ? c->log_cap * 2 : 64;
			struct log *log = realloc(c->log, cap * sizeof(*log));

			if (!log)
				return;
			c->log = log;
			c->log_cap = cap;
		}
		c->log[c->nlog++] = (struct log) { c->s->now, ev->goroutine, id, key, g && g->nregion ? g->region[g->nregion - 1].type : 0,
						   strdup(ev->log.message) };
		return;
	}
	t = task_of(c, id, true);
	if (!t)
		return;
	if (ev->task.type)
		t->type = gosym_map_string(m, c->s->syms, ev->task.type);
	if (ev->kind == GANDER_GOTRACE_TASK_BEGIN) {
		t->parent = ev->task.parent;
		t->start = c->s->now;
		t->open_start = false;
		t->g = ev->goroutine;
		t->stack = gosym_map_stack(m, c->s->syms, ev->stack);
		parent = t->parent != GANDER_GOTRACE_NO_TASK ? task_of(c, t->parent, false) : NULL;
		if (parent)
			parent->nchild++;
		if (c->o.has_task && t->parent != GANDER_GOTRACE_NO_TASK && is_shown(c, t->parent))
			map_put(&c->shown, id, &added);
		return;
	}
	t->end = c->s->now;
	t->ended = true;
	finish(c, t);
	map_del(&c->tasks, id);
	free(t);
}

static void region(void *ctx, const struct goregion *rg)
{
	struct goan_ctx *c = ctx;
	struct task *t = rg->r->task ? task_of(c, rg->r->task, false) : NULL;
	uint32_t i;

	if (is_shown(c, rg->r->task)) {
		struct line l = { rg->r->start_ns, rg->end_ns, rg->g->id, rg->r->task, rg->r->type, rg->r->stack, 1, rg->open_start || rg->open_end, NULL };

		add_line(c, &l);
	}
	if (!t)
		return;
	t->nregion++;
	for (i = 0; i < rg->g->nregion; i++) /* the regions around it that are still open */
		if (rg->g->region[i].task == t->id)
			return;
	for (i = 0; i < GO_PARTS; i++)
		t->parts.ns[i] += rg->parts.ns[i];
}

static void end(void *ctx)
{
	struct goan_ctx *c = ctx;
	uint64_t at = 0, id, p;

	while (map_next(&c->tasks, &at, &id, &p)) {
		struct task *t = (struct task *)(uintptr_t)p;

		t->end = c->s->now;
		finish(c, t);
		free(t);
	}
	map_done(&c->tasks);
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = {
		.ctx = c,
		.kinds = 1u << GANDER_GOTRACE_TASK_BEGIN | 1u << GANDER_GOTRACE_TASK_END | 1u << GANDER_GOTRACE_LOG,
		.event = event,
		.region = region,
		.end = end,
	};

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	*ret = c;
	return gostate_add(s, &sink);
}

static int by_hist_sum(const void *a, const void *b)
{
	const struct type *x = a, *y = b;

	return x->hist.sum != y->hist.sum ? (x->hist.sum < y->hist.sum ? 1 : -1) : x->type < y->type ? -1
												     : x->type > y->type;
}

static int by_start(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end != y->end ? (x->end < y->end ? 1 : -1) : (int)x->what - (int)y->what;
}

static double share(uint64_t part, const struct goro_parts *p)
{
	uint64_t all = 0;
	unsigned i;

	for (i = 0; i < GO_PARTS; i++)
		all += p->ns[i];
	return all ? (double)part / (double)all : 0;
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col type_cols[] = {
		{ "p99_ns", "P99", CELL_DURATION, 0 },
		{ "p50_ns", "P50", CELL_DURATION, 0 },
		{ "max_ns", "MAX", CELL_DURATION, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		{ "open", "OPEN", CELL_COUNT, 0 },
		{ "regions", "REGIONS", CELL_COUNT, 0 },
		{ "logs", "LOGS", CELL_COUNT, 0 },
		{ "running_share", "RUN", CELL_SHARE, 0 },
		{ "type", "TASK", CELL_TEXT, 0 },
		{ "total_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "running_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "runnable_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "blocked_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "syscall_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
		{ "syscall_without_p_ns", NULL, CELL_DURATION, COL_JSON_ONLY },
	};
	static const struct result_col slow_cols[] = {
		{ "latency_ns", "LATENCY", CELL_DURATION, 0 },
		{ "at_ns", "AT", CELL_TIME, 0 },
		{ "task", "TASK ID", CELL_COUNT, 0 },
		{ "parent", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "goroutine", "GOID", CELL_COUNT, 0 },
		{ "regions", "REGIONS", CELL_COUNT, 0 },
		{ "logs", "LOGS", CELL_COUNT, 0 },
		{ "running_share", "RUN", CELL_SHARE, 0 },
		{ "type", "TASK", CELL_TEXT, 0 },
	};
	static const struct result_col log_cols[] = {
		{ "at_ns", "AT", CELL_TIME, 0 },
		{ "task", "TASK ID", CELL_COUNT, 0 },
		{ "goroutine", "GOID", CELL_COUNT, 0 },
		{ "region", "REGION", CELL_TEXT, 0 },
		{ "key", "KEY", CELL_TEXT, 0 },
		{ "value", "VALUE", CELL_TEXT, 0 },
	};
	static const struct result_col line_cols[] = {
		{ "at_ns", "AT", CELL_TIME, 0 },
		{ "duration_ns", "TOOK", CELL_DURATION, 0 },
		{ "goroutine", "GOID", CELL_COUNT, 0 },
		{ "task", "TASK ID", CELL_COUNT, 0 },
		{ "kind", "KIND", CELL_TEXT, 0 },
		{ "name", "NAME", CELL_TEXT, 0 },
		{ "value", "VALUE", CELL_TEXT, 0 },
		{ "stack", NULL, CELL_STACK, COL_JSON_ONLY },
	};
	static const char *const what[] = { "task", "region", "log" };
	const struct gosyms *syms = c->s->syms;
	struct hist_lean all = { 0 };
	struct result_table *t = result_table(r, "types", "Tasks by type", type_cols, sizeof(type_cols) / sizeof(*type_cols));
	uint32_t i, k;

	goan_sort(c->type, c->ntype, sizeof(*c->type), by_hist_sum);
	for (i = 0; i < c->nindex; i++)
		c->index[i] = 0;
	for (i = 0; i < c->ntype; i++)
		c->index[c->type[i].type] = i + 1;
	for (i = 0; i < c->ntype && i < c->o.top; i++) {
		const struct type *x = &c->type[i];
		const char *name = gosyms_text(syms, x->type);

		if (x->hist.count) {
			cell_u64(t, hist_lean_quantile(&x->hist, 0.99));
			cell_u64(t, hist_lean_quantile(&x->hist, 0.5));
			cell_u64(t, x->hist.max);
		} else {
			for (k = 0; k < 3; k++)
				cell_none(t);
		}
		cell_u64(t, x->hist.count);
		cell_u64(t, x->open);
		cell_u64(t, x->nregion);
		cell_u64(t, x->nlog);
		cell_f64(t, share(x->parts.ns[GO_PART_RUN], &x->parts));
		cell_text(t, *name ? name : "(begun before the trace)");
		cell_u64(t, x->hist.sum);
		cell_u64(t, x->parts.ns[GO_PART_RUN]);
		cell_u64(t, x->parts.ns[GO_PART_SCHED]);
		cell_u64(t, x->parts.ns[GO_PART_WAIT]);
		cell_u64(t, x->parts.ns[GO_PART_SYSCALL] + x->parts.ns[GO_PART_SYSCALL_OFF]);
		cell_u64(t, x->parts.ns[GO_PART_SYSCALL_OFF]);
	}
	if (t)
		t->more = c->ntype - i;
	result_after(t, "COUNT: begun and ended in the trace. OPEN: not. RUN: share of their regions' time.");
	if (!c->ntype)
		result_note(r, "no task matches (the program marks them with runtime/trace.NewTask)");
	if (c->o.name || c->ntype == 1) {
		for (i = 0; i < c->ntype; i++)
			hist_lean_merge(&all, &c->type[i].hist);
		goan_histogram(r, "Latency of these tasks", &all);
		hist_lean_done(&all);
	}
	if (c->o.has_task) {
		goan_sort(c->line, c->nline, sizeof(*c->line), by_start);
		t = result_table(r, "task", "The task, in the order of time", line_cols, sizeof(line_cols) / sizeof(*line_cols));
		for (i = 0; i < c->nline; i++) {
			const struct line *l = &c->line[i];

			cell_u64(t, (uint64_t)(l->start - c->s->start_ns));
			if (l->what == 2)
				cell_none(t);
			else
				cell_u64(t, (uint64_t)(l->end - l->start));
			cell_u64(t, (uint64_t)l->g);
			cell_u64(t, l->task);
			cell_textf(t, "%s%s", what[l->what], l->open ? " (open)" : "");
			cell_text(t, gosyms_text(syms, l->name));
			cell_text(t, l->value ? l->value : "");
			cell_u64(t, l->stack);
		}
	} else if (c->nslow) {
		t = result_table(r, "slowest", "Slowest tasks", slow_cols, sizeof(slow_cols) / sizeof(*slow_cols));
		for (i = 0; i < c->nslow && i < c->o.top; i++) {
			const struct task *x = &c->slow[i];

			cell_u64(t, (uint64_t)(x->end - x->start));
			cell_u64(t, (uint64_t)(x->start - c->s->start_ns));
			cell_u64(t, x->id);
			if (x->parent == GANDER_GOTRACE_NO_TASK)
				cell_none(t);
			else
				cell_u64(t, x->parent);
			cell_u64(t, (uint64_t)x->g);
			cell_u64(t, x->nregion);
			cell_u64(t, x->nlog);
			cell_f64(t, share(x->parts.ns[GO_PART_RUN], &x->parts));
			cell_text(t, gosyms_text(syms, x->type));
		}
	}
	if (c->o.logs || c->o.key || c->o.value) {
		t = result_table(r, "logs", "Logs", log_cols, sizeof(log_cols) / sizeof(*log_cols));
		for (i = 0; i < c->nlog; i++) {
			const struct log *l = &c->log[i];

			cell_u64(t, (uint64_t)(l->t - c->s->start_ns));
			cell_u64(t, l->task);
			cell_u64(t, (uint64_t)l->g);
			cell_text(t, gosyms_text(syms, l->region));
			cell_text(t, gosyms_text(syms, l->key));
			cell_text(t, l->value ? l->value : "");
		}
		if (t)
			t->more = c->more_logs;
	}
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	uint32_t i;

	for (i = 0; i < c->ntype; i++) {
		char name[160];

		snprintf(name, sizeof(name), "task.%s.p50", gosyms_text(c->s->syms, c->type[i].type));
		put(arg, name, (double)hist_lean_quantile(&c->type[i].hist, 0.5), CELL_DURATION);
		snprintf(name, sizeof(name), "task.%s.p99", gosyms_text(c->s->syms, c->type[i].type));
		put(arg, name, (double)hist_lean_quantile(&c->type[i].hist, 0.99), CELL_DURATION);
		snprintf(name, sizeof(name), "task.%s.max", gosyms_text(c->s->syms, c->type[i].type));
		put(arg, name, (double)c->type[i].hist.max, CELL_DURATION);
	}
}

static void free_ctx(struct goan_ctx *c)
{
	uint64_t at = 0, id, p;
	uint32_t i;

	while (map_next(&c->tasks, &at, &id, &p))
		free((void *)(uintptr_t)p);
	map_done(&c->tasks);
	map_done(&c->shown);
	for (i = 0; i < c->ntype; i++)
		hist_lean_done(&c->type[i].hist);
	for (i = 0; i < c->nlog; i++)
		free(c->log[i].value);
	for (i = 0; i < c->nline; i++)
		free(c->line[i].value);
	free(c->type);
	free(c->index);
	free(c->log);
	free(c->line);
	free(c);
}

const struct goan_type goan_tasks = { "tasks", "user tasks by type, the slowest, logs", open_ctx, report, metrics, NULL, free_ctx };
