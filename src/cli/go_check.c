/* For CI: limits on numbers of the analyses. Exit status 0: all kept; 1: one was broken (or cannot be known); the lines say which. */
#include "analyze/gosummary.h"
#include "base/json.h"
#include "base/table.h"
#include "cli/go_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv);

const struct verb go_check = {
	"go check",
	"--max METRIC=VALUE... TRACE...",
	"limits for CI: exit status 1 names what broke",
	{
		"gander go check trace.out --max sched.p99=1ms --max stw.max=500us",
		"gander go check trace.out --max gc.share=25% --min mmu.10ms=50%",
		"gander go check trace.out --list",
	},
	run,
};

struct metric {
	char name[160];
	double value;
	enum cell_kind kind;
};

struct metrics {
	struct metric *m;
	size_t n, cap;
};

static void put(void *arg, const char *name, double value, enum cell_kind kind)
{
	struct metrics *ms = arg;

	if (ms->n == ms->cap) {
		size_t cap = ms->cap ? ms->cap * 2 : 128;
		struct metric *m = realloc(ms->m, cap * sizeof(*m));

		if (!m)
			return;
		ms->m = m;
		ms->cap = cap;
	}
	snprintf(ms->m[ms->n].name, sizeof(ms->m[ms->n].name), "%s", name);
	ms->m[ms->n].value = value;
	ms->m[ms->n++].kind = kind;
}

static void value_text(char to[UNIT_TEXT], double v, enum cell_kind kind)
{
	if (kind == CELL_DURATION)
		duration_text(to, (uint64_t)v);
	else if (kind == CELL_SHARE)
		snprintf(to, UNIT_TEXT, "%.1f%%", 100 * v);
	else if (kind == CELL_BYTES)
		bytes_text(to, (uint64_t)v);
	else
		snprintf(to, UNIT_TEXT, "%g", v);
}

/* "1ms" for a duration, "25%" or "0.25" for a share, a number for a count. */
static int limit_of(const char *s, enum cell_kind kind, double *to, struct err *err)
{
	uint64_t u;
	char *end;
	int r;

	if (kind == CELL_DURATION) {
		r = opt_duration(s, &u, err);
		*to = (double)u;
		return r;
	}
	*to = strtod(s, &end);
	if (end != s && *end == '%' && kind == CELL_SHARE) {
		*to /= 100;
		end++;
	}
	if (end == s || *end)
		return err_set(err, -EINVAL, "'%s' is no limit of that kind (%s)", s, kind == CELL_SHARE ? "25%" : "1000");
	return 0;
}

/* 0 kept, 1 broken, or -Exxx for a limit that makes no sense. */
static int check(const struct metrics *ms, const char *rule, bool max, struct json *j, struct err *err)
{
	const char *eq = strrchr(rule, '=');
	char have[UNIT_TEXT], want[UNIT_TEXT];
	const struct metric *m = NULL;
	double limit;
	bool broken;
	size_t i;
	int r;

	if (!eq)
		return err_set(err, -EINVAL, "'%s' is no limit: METRIC=VALUE", rule);
	for (i = 0; i < ms->n; i++)
		if (strlen(ms->m[i].name) == (size_t)(eq - rule) && !memcmp(ms->m[i].name, rule, (size_t)(eq - rule)))
			m = &ms->m[i];
	if (!m)
		return err_set(err, -ENOENT, "no metric '%.*s' in this trace (--list shows them)", (int)(eq - rule), rule);
	r = limit_of(eq + 1, m->kind, &limit, err);
	if (r < 0)
		return r;
	broken = max ? m->value > limit : m->value < limit;
	value_text(have, m->value, m->kind);
	value_text(want, limit, m->kind);
	if (j) {
		json_obj(j);
		json_key(j, "metric");
		json_str(j, m->name);
		json_key(j, "value");
		json_f64(j, m->value);
		json_key(j, max ? "max" : "min");
		json_f64(j, limit);
		json_key(j, "broken");
		json_bool(j, broken);
		json_obj_end(j);
	} else {
		printf("%s  %s is %s, %s %s\n", broken ? "BROKEN" : "ok    ", m->name, have, max ? "at most" : "at least", want);
	}
	return broken;
}

static int run(int argc, char **argv)
{
	struct go_args a = GO_ARGS_INIT;
	struct opt_list max = { .n = 0 }, min = { .n = 0 };
	bool list = false;
	const struct opt opts[] = {
		{ OPT_LIST, 'm', "max", "METRIC=VALUE", "the metric may be this at most", &max },
		{ OPT_LIST, 0, "min", "METRIC=VALUE", "the metric must be this at least", &min },
		{ OPT_FLAG, 'l', "list", NULL, "list the trace's metrics and their values", &list },
		GO_OPT_FUNCTION(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct metrics ms = { NULL, 0, 0 };
	struct buf out = BUF_INIT;
	struct json j;
	struct gorun g;
	int n = opt_parse(&go_check, opts, argc, argv, &err), status, i, r, broken = 0;

	if (n < 0)
		return cli_usage(&err);
	if (!n || (!max.n && !min.n && !list)) {
		err_set(&err, -EINVAL, "go check needs a trace and at least one --max METRIC=VALUE");
		return cli_usage(&err);
	}
	a.o.brief = true;
	if (gorun_init(&g) < 0) {
		err_set(&err, -ENOMEM, "out of memory");
		return cli_fail(&err);
	}
	for (i = 0; gosummary_types[i]; i++)
		if (gorun_add(&g, gosummary_types[i], &a.o, &err) < 0) {
			gorun_done(&g);
			return cli_fail(&err);
		}
	status = go_read_all(&g, n, argv, &err);
	if (status == CLI_FAILED) {
		gorun_done(&g);
		return cli_fail(&err);
	}
	gorun_metrics(&g, put, &ms);
	json_init(&j, &out);
	json_obj(&j);
	if (list) {
		json_key(&j, "metrics");
		json_obj(&j);
		for (i = 0; i < (int)ms.n; i++) {
			char text[UNIT_TEXT];

			json_key(&j, ms.m[i].name);
			json_f64(&j, ms.m[i].value);
			value_text(text, ms.m[i].value, ms.m[i].kind);
			if (!a.json)
				printf("%-40s %s\n", ms.m[i].name, text);
		}
		json_obj_end(&j);
	}
	json_key(&j, "checks");
	json_arr(&j);
	for (i = 0, r = 0; i < max.n + min.n && r >= 0; i++) {
		r = i < max.n ? check(&ms, max.v[i], true, a.json ? &j : NULL, &err) : check(&ms, min.v[i - max.n], false, a.json ? &j : NULL, &err);
		broken += r == 1;
	}
	json_arr_end(&j);
	json_obj_end(&j);
	if (a.json && r >= 0)
		cli_put_json(&out);
	else
		buf_done(&out);
	free(ms.m);
	gorun_done(&g);
	if (r == -ENOENT)
		return cli_fail(&err);
	if (r < 0)
		return cli_usage(&err);
	return broken ? CLI_FAILED : status;
}
