#include "base/json.h"
#include "base/table.h"
#include "cli/cli_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOP 40 /* rows of the live table */

static struct {
	struct choice c;
	const char *by;
	uint64_t for_ns, interval;
	bool json, quiet;
} o;

static const struct opt opts[] = {
	CHOICE_OPTS(o.c),
	{ OPT_STR, 'b', "by", "FIELD", "count by the value of this field", &o.by },
	{ OPT_PERIOD, 0, "for", "TIME", "stop after so long", &o.for_ns },
	{ OPT_PERIOD, 'i', "interval", "TIME", "between two looks (default 1s)", &o.interval },
	{ OPT_FLAG, 0, "json", NULL, "print the final counts as JSON", &o.json },
	{ OPT_FLAG, 'q', "quiet", NULL, "only the final table", &o.quiet },
	{ OPT_END },
};

static int run(int argc, char **argv);

extern const struct verb verb_count;
const struct verb verb_count = {
	"count",
	"-p PID|NAME|--all [-e GLOB] [--by FIELD]",
	"count events where they happen, storing none",
	{ "gander count -p shop -e 'shop.*'", "gander count -p shop -e shop.request --by status --for 10s", "gander count --all --json --for 5s" },
	run,
};

static struct {
	struct count_row *before;
	unsigned n;
	uint64_t at_ns;
	bool lost;
} last;

static int same_row(const struct count_row *a, const struct count_row *b)
{
	int r = (a->pid > b->pid) - (a->pid < b->pid);

	r = r ? r : strcmp(a->event, b->event);
	return r ? r : strcmp(a->key, b->key);
}

static int by_identity(const void *a, const void *b)
{
	return same_row(a, b);
}

static int by_count(const void *a, const void *b)
{
	const struct count_row *x = a, *y = b;

	return x->count != y->count ? (x->count < y->count ? 1 : -1) : same_row(x, y);
}

static void print_table(const struct count_row *v, unsigned n, unsigned limit, uint64_t elapsed)
{
	struct table t;
	unsigned i;

	table_init(&t, o.by ? "PROGRAM|>PID|EVENT|VALUE|>COUNT|>RATE" : "PROGRAM|>PID|EVENT|>COUNT|>RATE");
	for (i = 0; i < n && i < limit; i++) {
		const struct count_row *was = last.n ? bsearch(&v[i], last.before, last.n, sizeof(*v), by_identity) : NULL;
		double span = (double)(elapsed - (was ? last.at_ns : 0)) / 1e9;
		char rate[UNIT_TEXT];

		table_cell(&t, "%s", v[i].program);
		table_cell(&t, "%d", (int)v[i].pid);
		table_cell(&t, "%s", v[i].event);
		if (o.by)
			table_cell(&t, "%s", *v[i].key ? v[i].key : "-");
		table_cell(&t, "%llu", (unsigned long long)v[i].count);
		table_cell(&t, "%s/s", count_text(rate, span > 0 ? (double)(v[i].count - (was ? was->count : 0)) / span : 0));
	}
	table_print(&t, stdout);
	table_done(&t);
	if (n > limit)
		printf("... and %u more\n", n - limit);
}

static void print_json(const struct count_row *v, unsigned n, const struct count_table *t, uint64_t elapsed)
{
	struct buf b = BUF_INIT;
	struct json j;
	unsigned i;

	json_init(&j, &b);
	json_obj(&j);
	json_key(&j, "elapsed_ns");
	json_u64(&j, elapsed);
	json_key(&j, "lost");
	json_u64(&j, t->lost);
	json_key(&j, "counts");
	json_arr(&j);
	for (i = 0; i < n; i++) {
		json_obj(&j);
		json_key(&j, "program");
		json_str(&j, v[i].program);
		json_key(&j, "pid");
		json_u64(&j, (uint64_t)v[i].pid);
		json_key(&j, "event");
		json_str(&j, v[i].event);
		if (o.by) {
			json_key(&j, "value");
			if (*v[i].key)
				json_str(&j, v[i].key);
			else
				json_nil(&j);
		}
		json_key(&j, "count");
		json_u64(&j, v[i].count);
		json_obj_end(&j);
	}
	json_arr_end(&j);
	json_obj_end(&j);
	cli_put_json(&b);
}

static void on_table(void *arg, const struct count_table *t, uint64_t elapsed, bool final)
{
	struct count_row *v = malloc((t->n ? t->n : 1) * sizeof(*v));
	unsigned i;

	if (!v)
		return;
	if (t->n)
		memcpy(v, t->v, t->n * sizeof(*v));
	qsort(v, t->n, sizeof(*v), by_count);
	last.lost = t->lost != 0;
	if (final && o.by) {
		for (i = 0; i < t->n && !*v[i].key; i++)
			;
		if (t->n && i == t->n)
			fprintf(stderr, "gander: none of these events had a field '%s'\n", o.by);
	}
	if (final) {
		/* rates of the whole time */
		last.n = 0;
		if (o.json)
			print_json(v, t->n, t, elapsed);
		else {
			if (isatty(1) && !o.quiet)
				fputs("\033[H\033[J", stdout);
			print_table(v, t->n, UINT32_MAX, elapsed);
			if (t->lost)
				printf("not counted: %llu (%s)\n", (unsigned long long)t->lost,
				       o.by ? "more different values than there is room for, or no memory for them" : "no memory for counters of that CPU or P yet");
		}
	} else if (!o.json && !o.quiet) {
		if (isatty(1))
			fputs("\033[H\033[J", stdout);
		print_table(v, t->n, TOP, elapsed);
		if (!isatty(1))
			putchar('\n');
	}
	if (!cli_flush())
		cli_stop = 1; /* `gander count -p shop | head` */
	free(last.before);
	qsort(v, t->n, sizeof(*v), by_identity);
	last.before = v;
	last.n = t->n;
	last.at_ns = elapsed;
}

static void on_note(void *arg, const char *text)
{
	fputs("gander: ", stderr);
	cli_say(stderr, text);
	putc('\n', stderr);
}

static int run(int argc, char **argv)
{
	struct count_opts co = { 0 };
	struct err err = ERR_INIT;
	int n = opt_parse(&verb_count, opts, argc, argv, &err);
	unsigned i;

	if (n > 0)
		err_set(&err, -EINVAL, "'%s' is no option (-p chooses a program)", argv[1]);
	if (n)
		return cli_usage(&err);
	if (!o.c.all && !o.c.pids.n) {
		err_set(&err, -EINVAL, "which program? -p PID, -p NAME or --all (gander list shows what there is)");
		return cli_usage(&err);
	}
	if (choice_read(&o.c, o.by, &err) < 0) {
		choice_done(&o.c);
		return err.code == -ESRCH ? cli_fail(&err) : cli_usage(&err);
	}
	for (i = 0; i < o.c.rules.n; i++)
		o.c.rules.v[i].count = true;
	co.pids = o.c.pid;
	co.npids = o.c.npids;
	co.all = o.c.all;
	co.rules = &o.c.rules;
	co.by_field = o.by != NULL;
	co.for_ns = o.for_ns;
	co.interval_ns = o.interval ? o.interval : 1000000000u;
	co.stop = &cli_stop;
	co.note = on_note;
	co.table = on_table;
	cli_catch_signals();
	n = count_run(&co, &err);
	choice_done(&o.c);
	free(last.before);
	if (n < 0)
		return cli_fail(&err);
	return n || last.lost ? CLI_LOST : CLI_OK;
}
