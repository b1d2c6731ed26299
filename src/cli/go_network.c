#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_network = {
	"go network",
	"[OPTIONS] TRACE...",
	"waits for the network, by stack",
	{
		"gander go network trace.out",
		"gander go network --by function trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_network, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		GO_OPT_FUNCTION(a),
		GO_OPT_GOROUTINE(a),
		GO_OPT_SYSTEM(a),
		{ OPT_STR, 'b', "by", "WHAT", "one line for each: stack, function, waker", &a.o.by },
		GO_OPT_MIN(a),
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_network, types, opts, &a, argc, argv);
}
