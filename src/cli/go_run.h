/* What the verbs of `gander go` share: options, a pass over the traces, printing. */
#ifndef GANDER_CLI_GO_RUN_H
#define GANDER_CLI_GO_RUN_H

#include "analyze/goanalysis.h"
#include "cli/cli.h"

#include <stdio.h>

struct go_args {
	struct goan_opts o;
	bool json, stacks;
	uint64_t goroutine, task;                                               /* UINT64_MAX: all */
	void (*report)(struct gorun *run, const char *title, struct result *r); /* instead of each analysis's own */
};
#define GO_ARGS_INIT \
	{ \
		.o = GOAN_OPTS_INIT, .goroutine = UINT64_MAX, .task = UINT64_MAX \
	}

#define GO_OPT_JSON(a) \
	{ \
		OPT_FLAG, 'j', "json", NULL, "the answer as JSON: exact numbers, in ns and bytes", &(a).json \
	}
#define GO_OPT_TOP(a) \
	{ \
		OPT_U64, 'n', "top", "N", "rows of a table at most (20)", &(a).o.top \
	}
#define GO_OPT_STACKS(a) \
	{ \
		OPT_FLAG, 's', "stacks", NULL, "each row's whole stack under it", &(a).stacks \
	}
#define GO_OPT_FUNCTION(a) \
	{ \
		OPT_STR, 'f', "function", "TEXT", "goroutines whose entry function contains TEXT", &(a).o.function \
	}
#define GO_OPT_GOROUTINE(a) \
	{ \
		OPT_U64, 'g', "goroutine", "ID", "this goroutine only", &(a).goroutine \
	}
#define GO_OPT_SYSTEM(a) \
	{ \
		OPT_FLAG, 0, "system", NULL, "the runtime's own goroutines too", &(a).o.system \
	}
#define GO_OPT_MIN(a) \
	{ \
		OPT_DURATION, 0, "min", "TIME", "leave out what was shorter", &(a).o.min_ns \
	}

/* Parses, reads every trace, runs these analyses, prints. Returns the exit status. */
int go_analyse(const struct verb *verb, const struct goan_type *const *types, const struct opt *opts, struct go_args *a, int argc, char **argv);
/* The same behind opt_parse(): n traces are left in argv[1...]. */
int go_analyse_parsed(const struct verb *verb, const struct goan_type *const *types, struct go_args *a, int n, char **argv);
/* The pass alone: argv[1..n] are the traces. CLI_OK, CLI_LOST (a trace was damaged; what came before is in), or CLI_FAILED. */
int go_read_all(struct gorun *run, int n, char **argv, struct err *err);

/* Where a verb writes a trace to: a file or '-'. A file that is one of the n traces `from` is refused. */
int go_output_open(FILE **ret, const char *to, int n, char **from, struct err *err);
/* Closes it; `r` is how writing went, and comes back unless closing is what failed. A file that is worth nothing is removed. */
int go_output_close(FILE *out, const char *to, int r, bool worthless, struct err *err);

#endif
