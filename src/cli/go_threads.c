#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_threads = {
	"go threads",
	"[OPTIONS] TRACE...",
	"what each thread did",
	{
		"gander go threads trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_threads, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		GO_OPT_TOP(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_threads, types, opts, &a, argc, argv);
}
