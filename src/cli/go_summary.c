#include "analyze/gosummary.h"
#include "cli/go_input.h"
#include "cli/go_run.h"
#include "collect/collect.h"

#include <stdio.h>
#include <stdlib.h>

static int run(int argc, char **argv);

const struct verb go_summary = {
	"go summary",
	"[OPTIONS] TRACE...|-p PID|NAME",
	"what is in a trace, and the five worst things it shows",
	{
		"gander go summary trace.out",
		"gander go summary http://127.0.0.1:6060/debug/pprof/trace?seconds=5",
		"gander go summary -p etcd --seconds 2",
		"curl -s http://127.0.0.1:6060/debug/pprof/trace | gander go summary -",
	},
	run,
};

static int run(int argc, char **argv)
{
	struct go_args a = GO_ARGS_INIT;
	static pid_t pids[RECORD_PIDS_MAX];
	const char *pid = NULL;
	uint64_t seconds = 5;
	const struct opt opts[] = {
		{ OPT_STR, 'p', "pid", "PID|NAME", "take a trace of this process, by its net/http/pprof", &pid },
		{ OPT_U64, 0, "seconds", "N", "with --pid: for so long (5)", &seconds },
		GO_OPT_JSON(a),
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	char *url = NULL, *args[2];
	int n = opt_parse(&go_summary, opts, argc, argv, &err), r;

	if (n < 0)
		return cli_usage(&err);
	if (pid && n) {
		err_set(&err, -EINVAL, "go summary takes a trace or a process, not both");
		return cli_usage(&err);
	}
	a.report = gosummary_report;
	a.o.brief = true;
	if (!pid)
		return go_analyse_parsed(&go_summary, gosummary_types, &a, n, argv);
	r = targets_resolve(&pid, 1, pids, &err);
	if (r > 1)
		err_set(&err, -EINVAL, "%d programs are called '%s': one of them, by its number", r, pid);
	if (r != 1)
		return cli_fail(&err);
	if (go_input_url_of((uint64_t)pids[0], seconds, &url, &err) < 0)
		return cli_fail(&err);
	args[0] = argv[0];
	args[1] = url;
	r = go_analyse_parsed(&go_summary, gosummary_types, &a, 1, args);
	free(url);
	return r;
}
