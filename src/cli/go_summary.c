#include "analyze/gosummary.h"
#include "cli/go_run.h"

static int run(int argc, char **argv);

const struct verb go_summary = {
	"go summary", "[OPTIONS] TRACE...", "what is in a trace, and the five worst things it shows", {
		"gander go summary trace.out",
		"gander go summary http://127.0.0.1:6060/debug/pprof/trace?seconds=5",
		"curl -s http://127.0.0.1:6060/debug/pprof/trace | gander go summary -",
	}, run,
};

static int run(int argc, char **argv)
{
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = { GO_OPT_JSON(a), { OPT_END } };

	a.report = gosummary_report;
	a.o.brief = true;
	return go_analyse(&go_summary, gosummary_types, opts, &a, argc, argv);
}
