/* gander go: what Go execution traces tell. This file is the table of its sub-verbs; each has a file go_NAME.c. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

extern const struct verb go_summary, go_events, go_goroutines, go_blocked, go_network, go_sched, go_syscalls, go_gc, go_tasks,
	go_regions, go_threads, go_parallelism, go_churn, go_footprint, go_anonymize, go_cut, go_repair, go_diff, go_check, go_export;

const struct verb *const cli_go_verbs[] = {
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

const char *cli_go_verb_name(int i)
{
	return cli_go_verbs[i]->name + strlen("go ");
}

static void usage(FILE *out)
{
	int i;

	fprintf(out, "usage: gander go VERB TRACE...\n\nTRACE is a file, '-' for standard input, or http://HOST/debug/pprof/trace?seconds=5.\n\n");
	for (i = 0; cli_go_verbs[i]; i++)
		fprintf(out, "  %-11s  %s\n", cli_go_verb_name(i), cli_go_verbs[i]->summary);
	fprintf(out, "\n'gander go VERB --help' explains a verb and ends with examples.\n");
}

static int run(int argc, char **argv)
{
	static char help[] = "--help";
	int i;

	if (argc < 2) {
		usage(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "help") && argc > 2) { /* gander go help sched is gander go sched --help */
		argv[1] = argv[2];
		argv[2] = help;
		argc = 3;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return CLI_OK;
	}
	for (i = 0; cli_go_verbs[i]; i++)
		if (!strcmp(argv[1], cli_go_verb_name(i)))
			return cli_go_verbs[i]->run(argc - 1, argv + 1);
	return cli_no_verb("go ", argv[1]);
}

const struct verb verb_go = {
	.name = "go",
	.args = "VERB TRACE...",
	.summary = "what a Go execution trace tells: events, goroutines, waits",
	.examples = { "gander go summary trace.out", "gander go events trace.out" },
	.run = run,
};
