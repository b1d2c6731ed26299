#include "analyze/godiff.h"
#include "cli/go_out.h"
#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_diff = {
	"go diff",
	"[OPTIONS] BEFORE AFTER",
	"what changed between two traces, beyond their own noise",
	{
		"gander go diff before.out after.out",
		"gander go diff --all --top 50 before.out after.out",
		"gander go diff --json before.out after.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	struct go_args a = GO_ARGS_INIT;
	bool all = false;
	const struct opt opts[] = {
		{ OPT_FLAG, 'a', "all", NULL, "also what did not change by more than its noise", &all },
		GO_OPT_TOP(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct gorun g[2] = { 0 };
	struct godiff *d[2] = { NULL, NULL };
	struct result result;
	int n = opt_parse(&go_diff, opts, argc, argv, &err), i, r, status = CLI_OK;

	if (n < 0)
		return cli_usage(&err);
	if (n != 2) {
		err_set(&err, -EINVAL, "go diff needs two traces: before and after");
		return cli_usage(&err);
	}
	for (i = 0; i < 2 && status != CLI_FAILED; i++) {
		if (gorun_init(&g[i]) < 0 || godiff_new(&d[i], &g[i].state) < 0) {
			err_set(&err, -ENOMEM, "out of memory");
			status = CLI_FAILED;
			break;
		}
		r = go_read_all(&g[i], 1, argv + i, &err);
		status = r == CLI_OK ? status : r;
	}
	if (status == CLI_FAILED) {
		cli_fail(&err);
	} else {
		result_init(&result, &g[1].syms);
		godiff_report(d[0], d[1], a.o.top, all, &result);
		go_out_print(&result, a.json, false);
		result_done(&result);
	}
	for (i = 0; i < 2; i++) {
		godiff_free(d[i]);
		gorun_done(&g[i]);
	}
	return status;
}
