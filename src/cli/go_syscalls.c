#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_syscalls = {
	"go syscalls",
	"[OPTIONS] TRACE...",
	"system and cgo calls by stack",
	{
		"gander go syscalls trace.out",
		"gander go syscalls --min 1ms trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_syscalls, NULL };
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

	return go_analyse(&go_syscalls, types, opts, &a, argc, argv);
}
