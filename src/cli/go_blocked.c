#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_blocked = {
	"go blocked",
	"[OPTIONS] TRACE...",
	"waits by stack and reason: count, sum, p50, p99, max",
	{
		"gander go blocked trace.out",
		"gander go blocked --reason sync --stacks trace.out",
		"gander go blocked --by waker trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_blocked, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		{ OPT_STR, 'r', "reason", "TEXT", "waits whose reason contains TEXT", &a.o.reason },
		GO_OPT_FUNCTION(a),
		GO_OPT_GOROUTINE(a),
		GO_OPT_SYSTEM(a),
		{ OPT_STR, 'b', "by", "WHAT", "one line for each: stack, function, reason, waker", &a.o.by },
		GO_OPT_MIN(a),
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_blocked, types, opts, &a, argc, argv);
}
