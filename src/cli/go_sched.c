#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_sched = {
	"go sched",
	"[OPTIONS] TRACE...",
	"scheduler latency, and whether Ps were idle meanwhile",
	{
		"gander go sched trace.out",
		"gander go sched --function worker trace.out",
		"gander go sched http://127.0.0.1:6060/debug/pprof/trace?seconds=5",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_sched, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		GO_OPT_FUNCTION(a),
		GO_OPT_GOROUTINE(a),
		GO_OPT_SYSTEM(a),
		GO_OPT_MIN(a),
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_sched, types, opts, &a, argc, argv);
}
