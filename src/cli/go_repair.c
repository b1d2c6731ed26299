#include "cli/go_input.h"
#include "cli/go_run.h"
#include "export/export.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int run(int argc, char **argv);

const struct verb go_repair = {
	"go repair",
	"[OPTIONS] -o FILE TRACE",
	"what is left of a damaged trace, as a sound one",
	{
		"gander go repair -o whole.out torn.out",
		"gander go repair -o - torn.out | gander go summary -",
	},
	run,
};

static void tell(const char *name, const struct gorepair_stats *s)
{
	if (!s->damage.code) {
		fprintf(stderr, "%s is sound: %llu events\n", name, (unsigned long long)s->events);
		return;
	}
	fprintf(stderr, "%s: %s\n%llu events are left%s\n", name, s->damage.text, (unsigned long long)s->events,
		s->left_out ? ", those before the damage; what follows it is left out" : "");
}

static int run(int argc, char **argv)
{
	const char *to = NULL;
	const struct opt opts[] = {
		{ OPT_STR, 'o', "output", "FILE", "where to ('-': standard output)", &to },
		{ OPT_END },
	};
	struct err err = ERR_INIT;
	struct gorepair_stats stats;
	struct go_input *in = NULL;
	FILE *out = NULL;
	int n = opt_parse(&go_repair, opts, argc, argv, &err), r;

	if (n < 0)
		return cli_usage(&err);
	if (n != 1 || !to) {
		err_set(&err, -EINVAL, "go repair needs one trace and -o FILE");
		return cli_usage(&err);
	}
	r = go_input_open_raw(&in, argv[1], &err);
	if (r < 0)
		return cli_fail(&err);
	r = go_output_open(&out, to, 1, argv, &err);
	if (r >= 0)
		r = gorepair_run(go_input_read, in, out, &stats, &err);
	if (r < 0 && out)
		err_prefix(&err, "%s", argv[1]);
	r = go_output_close(out, to, r, r < 0, &err);
	go_input_progress_done(in);
	if (r >= 0)
		tell(go_input_name(in), &stats);
	go_input_close(in);
	return r < 0 ? cli_fail(&err) : CLI_OK;
}
