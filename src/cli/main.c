/* gander: one binary, familiar verbs. This file is the table of verbs and nothing else. */
#include "base/near.h"
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct verb verb_events, verb_export, verb_report;
extern const struct verb verb_go, verb_why;
extern const struct verb verb_count, verb_list, verb_record, verb_snapshot;

const struct verb *const cli_verbs[] = {
	&verb_list,
	&verb_record,
	&verb_snapshot,
	&verb_count,
	&verb_report,
	&verb_events,
	&verb_export,
	&verb_go,
	&verb_why,
	NULL,
};

/* The next character as a terminal may have it, and how many bytes of `s` it stands for. */
static int harmless(const unsigned char *s, unsigned *bytes)
{
	bool beyond = s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0; /* control characters there are beyond 128, too, in UTF-8 */

	*bytes = 1 + beyond;
	return beyond || s[0] < 0x20 || s[0] == 0x7f ? '?' : s[0];
}

void cli_say(FILE *to, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned n;
	int c;

	for (; *s; s += n) {
		c = harmless(s, &n);
		putc(*s == '\n' || *s == '\t' ? *s : c, to);
	}
}

char *cli_clean(char *text)
{
	unsigned char *s = (unsigned char *)text, *to = s;
	unsigned n;

	for (; *s; s += n)
		*to++ = (unsigned char)harmless(s, &n);
	*to = 0;
	return text;
}

int cli_fail(const struct err *err)
{
	fputs("gander: ", stderr);
	cli_say(stderr, err->text);
	putc('\n', stderr);
	return CLI_FAILED;
}

int cli_usage(const struct err *err)
{
	if (err->code == -ECANCELED) /* --help has been printed */
		return CLI_OK;
	fprintf(stderr, "gander: %s\n", err->text);
	return CLI_USAGE;
}

static void usage(FILE *out)
{
	int i;

	fprintf(out, "usage: gander VERB ...\n\nA tracer and profiler for Go programs and the C code in and around them.\n\n");
	for (i = 0; cli_verbs[i]; i++)
		fprintf(out, "  %-10s  %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
	fprintf(out, "\n'gander VERB --help' explains a verb and ends with examples.\n");
}

/* The verb's status, if what it printed has arrived. Whoever closed the pipe has seen enough. */
static int printed(int status)
{
	struct pollfd out = { .fd = STDOUT_FILENO };
	struct err err = ERR_INIT;

	if (fflush(stdout))
		err_set(&err, -errno, "cannot write the output: %m");
	else if (ferror(stdout)) /* the reason was another call's */
		err_set(&err, -EIO, "cannot write the output");
	else
		return status;
	/* POLLERR: nobody is left to read */
	return status == CLI_FAILED || (poll(&out, 1, 0) > 0 && out.revents & POLLERR) ? status : cli_fail(&err);
}

int main(int argc, char **argv)
{
	static char help[] = "--help";
	struct near near;
	const char *best;
	int i;

	if (argc < 2) {
		usage(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "help") && argc > 2) { /* gander help record is gander record --help */
		argv[1] = argv[2];
		argv[2] = help;
		argc = 3;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return CLI_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		printf("gander %s\n", GANDER_VERSION);
		return CLI_OK;
	}
	for (i = 0; cli_verbs[i]; i++)
		if (!strcmp(argv[1], cli_verbs[i]->name))
			return printed(cli_verbs[i]->run(argc - 1, argv + 1));
	near_init(&near, argv[1]);
	for (i = 0; cli_verbs[i]; i++)
		near_offer(&near, cli_verbs[i]->name, strlen(cli_verbs[i]->name));
	best = near_best(&near);
	fprintf(stderr, "gander: there is no verb '%s'%s%s%s (gander --help lists them)\n", argv[1], best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
	return CLI_USAGE;
}
