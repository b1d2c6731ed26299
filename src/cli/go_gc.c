#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_gc = {
	"go gc",
	"[OPTIONS] TRACE...",
	"pauses by cause, assists, workers' share, MMU",
	{
		"gander go gc trace.out",
		"gander go gc --json trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_gc, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_gc, types, opts, &a, argc, argv);
}
