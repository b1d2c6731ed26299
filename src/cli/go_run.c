#include "cli/go_run.h"
#include "cli/go_input.h"
#include "cli/go_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int go_read_all(struct gorun *run, int n, char **argv, struct err *err)
{
	int i, r, status = CLI_OK;

	for (i = 1; i <= n; i++) {
		struct go_input *in = NULL;
		uint64_t before = run->state.events;

		r = go_input_open(&in, argv[i], 0, err);
		if (r < 0)
			return CLI_FAILED;
		run->progress = go_input_progress;
		run->progress_arg = in;
		r = gorun_trace(run, go_input_reader(in), err);
		run->progress = NULL;
		if (r < 0)
			err_prefix(err, "%s", go_input_name(in));
		go_input_close(in);
		if (r < 0) {
			if (run->state.events == before || r == -ENOMEM)
				return CLI_FAILED;
			cli_fail(err);
			status = CLI_LOST;
		}
	}
	return status;
}

int go_analyse(const struct verb *verb, const struct goan_type *const *types, const struct opt *opts, struct go_args *a, int argc, char **argv)
{
	struct err err = ERR_INIT;
	int n = opt_parse(verb, opts, argc, argv, &err);

	return n < 0 ? cli_usage(&err) : go_analyse_parsed(verb, types, a, n, argv);
}

int go_analyse_parsed(const struct verb *verb, const struct goan_type *const *types, struct go_args *a, int n, char **argv)
{
	struct err err = ERR_INIT;
	struct gorun run;
	struct result result;
	int status;

	if (!n) {
		err_set(&err, -EINVAL, "%s needs a trace: a file, '-' or a URL", verb->name);
		return cli_usage(&err);
	}
	if (!a->o.top)
		a->o.top = 1;
	if (a->goroutine != UINT64_MAX)
		a->o.goroutine = (int64_t)a->goroutine;
	if (a->task != UINT64_MAX) {
		a->o.has_task = true;
		a->o.task = a->task;
	}
	if (gorun_init(&run) < 0) {
		err_set(&err, -ENOMEM, "out of memory");
		return cli_fail(&err);
	}
	for (; *types; types++)
		if (gorun_add(&run, *types, &a->o, &err) < 0) {
			gorun_done(&run);
			return cli_fail(&err);
		}
	status = go_read_all(&run, n, argv, &err);
	if (status == CLI_FAILED) {
		gorun_done(&run);
		return cli_fail(&err);
	}
	result_init(&result, &run.syms);
	if (a->report)
		a->report(&run, argv[1], &result);
	else
		gorun_report(&run, &result);
	go_out_print(&result, a->json, a->stacks);
	result_done(&result);
	gorun_done(&run);
	return status;
}

int go_output_open(FILE **ret, const char *to, int n, char **from, struct err *err)
{
	struct stat a, b;
	int i;

	for (i = 1; i <= n; i++)
		if (strcmp(to, "-") && !stat(to, &a) && !stat(from[i], &b) && S_ISREG(a.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return err_set(err, -EINVAL, "'%s' is the trace itself: it would be overwritten before it is read", to);
	*ret = !strcmp(to, "-") ? stdout : fopen(to, "wbe");
	return *ret ? 0 : err_set(err, -errno, "cannot write '%s': %m", to);
}

int go_output_close(FILE *out, const char *to, int r, bool worthless, struct err *err)
{
	struct stat st;

	if (!out)
		return r;
	if ((out == stdout ? fflush(out) : fclose(out)) && r >= 0)
		r = err_set(err, -errno, "cannot write '%s': %m", to);
	if (worthless && out != stdout && !stat(to, &st) && S_ISREG(st.st_mode))
		unlink(to);
	return r;
}
