#include "cli/go_input.h"
#include "cli/go_run.h"
#include "export/export.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int run(int argc, char **argv);

const struct verb go_export = {
	"go export",
	"--to FORMAT [OPTIONS] TRACE...",
	"as perfetto, pprof, JSON or CSV, for other tools",
	{
		"gander go export --to perfetto -o trace.pftrace trace.out",
		"gander go export --to pprof:sched -o sched.pb.gz trace.out && go tool pprof -top sched.pb.gz",
		"gander go export --to csv trace.out | head",
	},
	run,
};

static const struct {
	const char *name;
	enum gopprof_kind kind;
} profiles[] = {
	{ "pprof:blocked", GOPPROF_BLOCKED },
	{ "pprof:sync", GOPPROF_BLOCKED },
	{ "pprof:sched", GOPPROF_SCHED },
	{ "pprof:syscall", GOPPROF_SYSCALL },
	{ "pprof:net", GOPPROF_NET },
	{ "pprof:cpu", GOPPROF_CPU },
};

static int run(int argc, char **argv)
{
	const char *format = NULL, *to = "-";
	bool all = false;
	const struct opt opts[] = {
		{ OPT_STR, 't', "to", "FORMAT", "perfetto, pprof:blocked, pprof:sched, pprof:syscall, pprof:net, pprof:cpu, json, csv", &format },
		{ OPT_STR, 'o', "output", "FILE", "where to (standard output)", &to },
		{ OPT_FLAG, 'a', "all", NULL, "pprof: also what go tool trace leaves out (waits before the first run, unfinished ones)", &all },
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct gopprof *pprof = NULL;
	struct goperfetto *perfetto = NULL;
	struct gospans *spans = NULL;
	struct gorun g;
	FILE *out;
	int n = opt_parse(&go_export, opts, argc, argv, &err), r = -EINVAL, status;
	size_t i;

	if (n < 0)
		return cli_usage(&err);
	if (!n || !format) {
		err_set(&err, -EINVAL, "go export needs a trace and --to FORMAT");
		return cli_usage(&err);
	}
	if (n > 1 && !strcmp(format, "perfetto")) {
		err_set(&err, -EINVAL, "perfetto takes one trace at a time");
		return cli_usage(&err);
	}
	if (gorun_init(&g) < 0) {
		err_set(&err, -ENOMEM, "out of memory");
		return cli_fail(&err);
	}
	for (i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
		if (!strcmp(format, profiles[i].name))
			r = gopprof_new(&pprof, &g.state, profiles[i].kind, all);
	if (r == -EINVAL && strcmp(format, "perfetto") && strcmp(format, "json") && strcmp(format, "csv")) {
		err_set(&err, -EINVAL, "no format '%s': perfetto, pprof:blocked, pprof:sched, pprof:syscall, pprof:net, pprof:cpu, json, csv", format);
		gorun_done(&g);
		return cli_usage(&err);
	}
	out = !strcmp(to, "-") ? stdout : fopen(to, "wbe");
	if (!out) {
		err_set(&err, -errno, "cannot write '%s': %m", to);
		gopprof_free(pprof);
		gorun_done(&g);
		return cli_fail(&err);
	}
	if (out == stdout && isatty(1) && strcmp(format, "json") && strcmp(format, "csv")) {
		err_set(&err, -EINVAL, "%s is binary: give -o FILE, or redirect", format);
		gopprof_free(pprof);
		gorun_done(&g);
		return cli_usage(&err);
	}
	if (!strcmp(format, "perfetto"))
		r = goperfetto_new(&perfetto, &g.state, out);
	else if (!pprof)
		r = gospans_new(&spans, &g.state, !strcmp(format, "csv") ? GOSPANS_CSV : GOSPANS_JSON, out);
	if (r < 0) {
		err_set(&err, -ENOMEM, "out of memory");
		status = cli_fail(&err);
		goto out;
	}
	g.state.light = pprof && !all;
	status = go_read_all(&g, n, argv, &err);
	if (status == CLI_FAILED) {
		cli_fail(&err);
		goto out;
	}
	r = pprof ? gopprof_write(pprof, out, &err) : perfetto ? goperfetto_finish(perfetto, &err)
							       : gospans_finish(spans, &err);
	if (r < 0)
		status = cli_fail(&err);
out:
	if (out != stdout && fclose(out) && status != CLI_FAILED) {
		err_set(&err, -errno, "cannot write '%s': %m", to);
		status = cli_fail(&err);
	}
	gopprof_free(pprof);
	goperfetto_free(perfetto);
	gospans_free(spans);
	gorun_done(&g);
	return status;
}
