#include "cli/go_input.h"
#include "cli/go_run.h"
#include "export/export.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int run(int argc, char **argv);

const struct verb go_anonymize = {
	"go anonymize",
	"[OPTIONS] -o FILE TRACE",
	"the same trace without its names, to give away",
	{
		"gander go anonymize -o public.out trace.out",
		"gander go anonymize --all-names -o - trace.out | gzip > public.out.gz",
	},
	run,
};

static int run(int argc, char **argv)
{
	struct goanon_opts o = { 0 };
	const char *to = NULL;
	const struct opt opts[] = {
		{ OPT_STR, 'o', "output", "FILE", "where to ('-': standard output)", &to },
		{ OPT_FLAG, 0, "all-names", NULL, "replace the standard library's names too", &o.all_names },
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct go_input *in = NULL;
	FILE *out = NULL;
	int n = opt_parse(&go_anonymize, opts, argc, argv, &err), r;

	if (n < 0)
		return cli_usage(&err);
	if (n != 1 || !to) {
		err_set(&err, -EINVAL, "go anonymize needs one trace and -o FILE");
		return cli_usage(&err);
	}
	r = go_input_open_raw(&in, argv[1], &err);
	if (r < 0)
		return cli_fail(&err);
	r = go_output_open(&out, to, 1, argv, &err);
	if (r < 0) {
		go_input_close(in);
		return cli_fail(&err);
	}
	r = goanon_run(go_input_read, in, out, &o, &err);
	if (r < 0)
		err_prefix(&err, "%s", argv[1]);
	go_input_close(in);
	r = go_output_close(out, to, r, false, &err);
	return r < 0 ? cli_fail(&err) : CLI_OK;
}
