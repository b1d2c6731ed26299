#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_goroutines = {
	"go goroutines",
	"[OPTIONS] TRACE...",
	"where goroutines' time goes, by function",
	{
		"gander go goroutines trace.out",
		"gander go goroutines --by goroutine --function handler trace.out",
		"gander go goroutines --goroutine 17 trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_goroutines, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		GO_OPT_FUNCTION(a),
		GO_OPT_GOROUTINE(a),
		GO_OPT_SYSTEM(a),
		{ OPT_STR, 'b', "by", "WHAT", "goroutine: single ones too, not only functions", &a.o.by },
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_goroutines, types, opts, &a, argc, argv);
}
