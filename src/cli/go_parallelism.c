#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_parallelism = {
	"go parallelism",
	"[OPTIONS] TRACE...",
	"how much ran at the same time, over time",
	{
		"gander go parallelism trace.out",
		"gander go parallelism --top 100 trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_parallelism, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		GO_OPT_TOP(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_parallelism, types, opts, &a, argc, argv);
}
