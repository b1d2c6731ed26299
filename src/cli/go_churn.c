#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_churn = {
	"go churn",
	"[OPTIONS] TRACE...",
	"goroutines made and ended, leak suspects",
	{
		"gander go churn trace.out",
		"gander go churn --stacks trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_churn, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		GO_OPT_FUNCTION(a),
		GO_OPT_SYSTEM(a),
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_churn, types, opts, &a, argc, argv);
}
