/* gander: one binary, familiar verbs. This file is the table of verbs, and what they share: how they print, how they fail. */
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

int cli_no_verb(const char *of, const char *word)
{
	const char *best, *also = NULL;
	struct near near;
	int i;

	near_init(&near, word);
	for (i = 0; !*of && cli_verbs[i]; i++)
		near_offer(&near, cli_verbs[i]->name, strlen(cli_verbs[i]->name));
	for (i = 0; *of && cli_go_verbs[i]; i++)
		near_offer(&near, cli_go_verb_name(i), strlen(cli_go_verb_name(i)));
	best = near_best(&near);
	/* the right verb on the wrong side: gander sched, gander go record */
	for (i = 0; *of && cli_verbs[i] && !also; i++)
		also = strcmp(word, cli_verbs[i]->name) ? NULL : cli_verbs[i]->name;
	for (i = 0; !*of && cli_go_verbs[i] && !also; i++)
		also = strcmp(word, cli_go_verb_name(i)) ? NULL : cli_go_verbs[i]->name;
	fprintf(stderr, "gander: there is no verb '%s%s'", of, word);
	if (also)
		fprintf(stderr, "; did you mean 'gander %s'?", also);
	else if (best)
		fprintf(stderr, "; did you mean '%s%s'?", of, best);
	fprintf(stderr, " (gander %s--help lists them)\n", of);
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

static int put_errno; /* of the first of the calls below that failed */

void cli_put(const char *text, size_t len)
{
	if (len && fwrite(text, 1, len, stdout) != len && !put_errno)
		put_errno = errno;
}

void cli_put_json(struct buf *b)
{
	buf_putc(b, '\n');
	if (!buf_failed(b))
		cli_put(b->data, b->len);
	else if (!put_errno)
		put_errno = ENOMEM;
	buf_done(b);
}

bool cli_flush(void)
{
	if (fflush(stdout) == 0)
		return true;
	if (!put_errno)
		put_errno = errno;
	return false;
}

/* The verb's status, if what it printed has arrived. Whoever closed the pipe has seen enough. */
static int printed(int status)
{
	struct pollfd out = { .fd = STDOUT_FILENO };
	struct err err = ERR_INIT;

	cli_flush();
	errno = put_errno;
	if (put_errno)
		err_set(&err, -errno, "cannot write the output: %m");
	else if (ferror(stdout)) /* the reason was another call's */
		err_set(&err, -EIO, "cannot write the output (is its disk full?)");
	else
		return status;
	/* POLLERR: nobody is left to read */
	return status == CLI_FAILED || (poll(&out, 1, 0) > 0 && out.revents & POLLERR) ? status : cli_fail(&err);
}

int main(int argc, char **argv)
{
	static char help[] = "--help";
	int i, words;

	if (argc < 2) {
		usage(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "help") && argc > 2) { /* gander help record is gander record --help, gander help go sched is gander go sched --help */
		words = argc > 3 && !strcmp(argv[2], "go") ? 2 : 1;
		memmove(argv + 1, argv + 2, (size_t)words * sizeof(*argv));
		argv[words + 1] = help;
		argv[words + 2] = NULL;
		argc = words + 2;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return printed(CLI_OK);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		printf("gander %s\n", GANDER_VERSION);
		return printed(CLI_OK);
	}
	for (i = 0; cli_verbs[i]; i++)
		if (!strcmp(argv[1], cli_verbs[i]->name))
			return printed(cli_verbs[i]->run(argc - 1, argv + 1));
	return cli_no_verb("", argv[1]);
}
