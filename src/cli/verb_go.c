/* gander go: what Go execution traces tell. This file is the table of its sub-verbs; each has a file go_NAME.c. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

extern const struct verb go_summary, go_events, go_goroutines, go_blocked, go_network, go_sched, go_syscalls, go_gc, go_tasks,
	go_regions, go_threads, go_parallelism, go_churn, go_footprint, go_anonymize, go_cut, go_repair, go_diff, go_check, go_export;

static const struct verb *const subs[] = {
	&go_summary,
	&go_events,
	&go_goroutines,
	&go_blocked,
	&go_network,
	&go_sched,
	&go_syscalls,
	&go_gc,
	&go_tasks,
	&go_regions,
	&go_threads,
	&go_parallelism,
	&go_churn,
	&go_footprint,
	&go_anonymize,
	&go_cut,
	&go_repair,
	&go_diff,
	&go_check,
	&go_export,
	NULL,
};

static const char *sub_name(const struct verb *v)
{
	return v->name + strlen("go ");
}

static void usage(FILE *out)
{
	int i;

	fprintf(out, "usage: gander go VERB TRACE...\n\nTRACE is a file, '-' for standard input, or http://HOST/debug/pprof/trace?seconds=5.\n\n");
	for (i = 0; subs[i]; i++)
		fprintf(out, "  %-11s  %s\n", sub_name(subs[i]), subs[i]->summary);
	fprintf(out, "\n'gander go VERB --help' explains a verb and ends with examples.\n");
}

static int run(int argc, char **argv)
{
	struct err err = ERR_INIT;
	int i;

	if (argc < 2) {
		usage(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return CLI_OK;
	}
	for (i = 0; subs[i]; i++)
		if (!strcmp(argv[1], sub_name(subs[i])))
			return subs[i]->run(argc - 1, argv + 1);
	err_set(&err, -EINVAL, "unknown verb 'go %s' (gander go --help lists them)", argv[1]);
	return cli_usage(&err);
}

const struct verb verb_go = {
	.name = "go",
	.args = "VERB TRACE...",
	.summary = "what a Go execution trace tells: events, goroutines, waits",
	.examples = { "gander go summary trace.out", "gander go events trace.out" },
	.run = run,
};
