#include "cli/go_input.h"
#include "cli/go_out.h"
#include "cli/go_run.h"
#include "export/export.h"

#include <stdio.h>

static int run(int argc, char **argv);

const struct verb go_footprint = {
	"go footprint",
	"[OPTIONS] TRACE...",
	"what makes a trace big: bytes by kind of event",
	{
		"gander go footprint trace.out",
		"gander go footprint --json trace.out",
	},
	run,
};

static int run(int argc, char **argv)
{
	struct go_args a = GO_ARGS_INIT;
	const struct opt opts[] = { GO_OPT_JSON(a), { OPT_END } };
	struct err err = ERR_INIT;
	int n = opt_parse(&go_footprint, opts, argc, argv, &err), i, r, status = CLI_OK;

	if (n < 0)
		return cli_usage(&err);
	if (!n) {
		err_set(&err, -EINVAL, "go footprint needs a trace: a file, '-' or a URL");
		return cli_usage(&err);
	}
	for (i = 1; i <= n; i++) {
		struct go_input *in = NULL;
		struct result result;

		result_init(&result, NULL);
		r = go_input_open_raw(&in, argv[i], &err);
		if (r >= 0)
			r = gofootprint_run(go_input_read, in, &result, &err);
		if (r < 0)
			err_prefix(&err, "%s", argv[i]);
		if (in && n > 1 && !a.json)
			printf("%s%s\n", i > 1 ? "\n" : "", argv[i]);
		if (in)
			go_out_print(&result, a.json, false);
		if (r < 0)
			status = cli_fail(&err);
		result_done(&result);
		go_input_close(in);
	}
	return status;
}
