#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_regions = {
	"go regions",
	"[OPTIONS] TRACE...",
	"user regions: latency by type, and where their time went",
	{
		"gander go regions trace.out",
		"gander go regions --name parse trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_regions, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		{ OPT_STR, 0, "name", "TEXT", "region types that contain TEXT", &a.o.name },
		{ OPT_U64, 't', "task", "ID", "this task only", &a.task },
		GO_OPT_FUNCTION(a),
		GO_OPT_GOROUTINE(a),
		GO_OPT_MIN(a),
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_regions, types, opts, &a, argc, argv);
}
