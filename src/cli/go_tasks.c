#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_tasks = {
	"go tasks",
	"[OPTIONS] TRACE...",
	"user tasks: latency by type, the slowest, logs",
	{
		"gander go tasks trace.out",
		"gander go tasks --task 42 trace.out",
		"gander go tasks --key orderID --value 1234 trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	static const struct goan_type *const types[] = { &goan_tasks, NULL };
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = {
		{ OPT_STR, 0, "name", "TEXT", "task types that contain TEXT", &a.o.name },
		{ OPT_U64, 't', "task", "ID", "this task only, told in full with its sub-tasks", &a.task },
		{ OPT_STR, 0, "key", "TEXT", "tasks and logs with a log whose key (category) contains TEXT", &a.o.key },
		{ OPT_STR, 0, "value", "TEXT", "the same for its value (message)", &a.o.value },
		{ OPT_FLAG, 0, "logs", NULL, "list the logs, with their task and region", &a.o.logs },
		GO_OPT_MIN(a),
		GO_OPT_TOP(a),
		GO_OPT_STACKS(a),
		GO_OPT_JSON(a),
		{ OPT_END },
	};

	return go_analyse(&go_tasks, types, opts, &a, argc, argv);
}
