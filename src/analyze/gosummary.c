#include "analyze/gosummary.h"
#include "base/table.h"

#include <stdio.h>
#include <string.h>

const struct goan_type *const gosummary_types[] = {
	&goan_goroutines,
	&goan_blocked,
	&goan_sched,
	&goan_syscalls,
	&goan_gc,
	&goan_tasks,
	&goan_regions,
	&goan_parallelism,
	&goan_churn,
	NULL,
};

struct metrics {
	struct {
		char name[48];
		double v;
	} m[64];
	unsigned n;
};

static void put(void *arg, const char *name, double v, enum cell_kind kind)
{
	struct metrics *m = arg;

	if (m->n == 64 || strlen(name) >= sizeof(m->m[0].name) || !strncmp(name, "task.", 5) || !strncmp(name, "region.", 7) ||
	    (!strncmp(name, "blocked.", 8) && strchr(name + 8, '.')))
		return;
	snprintf(m->m[m->n].name, sizeof(m->m[0].name), "%s", name);
	m->m[m->n++].v = v;
}

static double get(const struct metrics *m, const char *name)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (!strcmp(m->m[i].name, name))
			return m->m[i].v;
	return 0;
}

static const char *dur(char to[UNIT_TEXT], double ns)
{
	return duration_text(to, (uint64_t)ns);
}

void gosummary_report(struct gorun *run, const char *name, struct result *r)
{
	static const struct result_col what_cols[] = { { "what", "", CELL_TEXT, 0 }, { "value", "", CELL_TEXT, COL_SENTENCE } };
	static const struct result_col worst_cols[] = {
		{ "cost", "COST", CELL_SHARE, 0 },
		{ "finding", "THE FIVE WORST", CELL_TEXT, COL_SENTENCE },
		{ "see", NULL, CELL_TEXT, COL_JSON_ONLY },
	};
	const struct gostate *s = &run->state;
	struct result_table *t = result_table(r, "summary", "", what_cols, 2);
	struct goan_findings f;
	struct metrics m = { .n = 0 };
	double len = (double)goan_length_ns(s), run_mean = (double)s->level_ns[GO_LEVEL_RUN] / len;
	double ps = run->traces > 1 ? (double)s->level_ns[GO_LEVEL_PROCS] / len : s->gomaxprocs;
	char a[UNIT_TEXT], b[UNIT_TEXT], c[UNIT_TEXT], d[UNIT_TEXT], e[UNIT_TEXT];
	unsigned i;

	gorun_metrics(run, put, &m);
	gorun_findings(run, &f);
	cell_text(t, "trace");
	cell_textf(t, "%s: %s, %s events, %s, format go 1.%u%s", name, dur(a, (double)run->length_ns), count_text(b, (double)s->events), bytes_text(c, run->bytes), run->version,
		   run->traces > 1 ? " (several traces)" : "");
	cell_text(t, "parallelism");
	if (ps > 0)
		cell_textf(t, "%.2f goroutines ran at a time on %.3g Ps (%.0f%%), %.2f waited for a P", run_mean, ps, 100 * run_mean / ps,
			   (double)s->level_ns[GO_LEVEL_SCHED] / len);
	else /* a trace that was cut off before it said how many Ps there are */
		cell_textf(t, "%.2f goroutines ran at a time, %.2f waited for a P", run_mean, (double)s->level_ns[GO_LEVEL_SCHED] / len);
	cell_text(t, "goroutines");
	cell_textf(t, "%s at most at once; %s made, %s ended", count_text(a, s->peak), count_text(b, (double)s->created), count_text(c, (double)s->ended));
	cell_text(t, "scheduler");
	cell_textf(t, "p50 %s, p99 %s, max %s from runnable to running", dur(a, get(&m, "sched.p50")), dur(b, get(&m, "sched.p99")), dur(c, get(&m, "sched.max")));
	cell_text(t, "blocked");
	cell_textf(t, "%s times, p50 %s, p99 %s; on the network %s in all", count_text(d, get(&m, "blocked.count")), dur(a, get(&m, "blocked.p50")),
		   dur(b, get(&m, "blocked.p99")), dur(c, get(&m, "network.total")));
	cell_text(t, "syscalls");
	if (get(&m, "syscall.count") > 0 && run->version < 22) /* how long the others took is not in the trace */
		cell_textf(t, "%s; those that blocked took %s in all, max %s", count_text(d, get(&m, "syscall.count")), dur(e, get(&m, "syscall.total")),
			   dur(c, get(&m, "syscall.max")));
	else if (get(&m, "syscall.count") > 0)
		cell_textf(t, "%s, %s in all, p50 %s, p99 %s, max %s", count_text(d, get(&m, "syscall.count")), dur(e, get(&m, "syscall.total")),
			   dur(a, get(&m, "syscall.p50")), dur(b, get(&m, "syscall.p99")), dur(c, get(&m, "syscall.max")));
	else
		cell_text(t, "none");
	cell_text(t, "GC");
	if (get(&m, "gc.cycles") > 0)
		cell_textf(t, "%.0f cycles, workers took %.1f%% of the Ps, assists %s", get(&m, "gc.cycles"), 100 * get(&m, "gc.share"), dur(a, get(&m, "assist.total")));
	else
		cell_text(t, "no cycle");
	cell_text(t, "pauses");
	cell_textf(t, "%.0f stop-the-world, %s in all, max %s", get(&m, "stw.count"), dur(a, get(&m, "stw.total")), dur(b, get(&m, "stw.max")));
	if (s->kind_events[GANDER_GOTRACE_TASK_BEGIN] || s->kind_events[GANDER_GOTRACE_REGION_BEGIN] || s->kind_events[GANDER_GOTRACE_LOG]) {
		cell_text(t, "annotations");
		cell_textf(t, "%s tasks, %s regions, %s logs", count_text(a, (double)s->kind_events[GANDER_GOTRACE_TASK_BEGIN]),
			   count_text(b, (double)s->kind_events[GANDER_GOTRACE_REGION_BEGIN]), count_text(c, (double)s->kind_events[GANDER_GOTRACE_LOG]));
	}
	if (s->kind_events[GANDER_GOTRACE_STACK_SAMPLE]) {
		cell_text(t, "CPU samples");
		cell_textf(t, "%s (gander go export --to pprof:cpu)", count_text(a, (double)s->kind_events[GANDER_GOTRACE_STACK_SAMPLE]));
	}
	t = result_table(r, "worst", "", worst_cols, sizeof(worst_cols) / sizeof(*worst_cols));
	for (i = 0; i < f.n && i < 5; i++) {
		cell_f64(t, f.f[i].severity);
		cell_text(t, f.f[i].text);
		cell_textf(t, "gander go %s", f.f[i].see);
	}
	if (f.n)
		result_after(t, "COST: share of the trace's time, or of its Ps' time. Next: gander go %s %s", f.f[0].see,
			     run->traces == 1 && strcmp(name, "-") ? name : "TRACE");
}
