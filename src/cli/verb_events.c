/* gander events: what a recording holds, event by event, in time order over all its processes. */
#include "cli/cli.h"
#include "cli/ctf_where.h"
#include "ctf/ctf_read.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_BYTES (256u << 10)

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = 1;
}

extern const struct verb verb_events;

/* Writes what is there. 0, -EPIPE when nobody reads any more. */
static int flush(struct ctf_out *out)
{
	const char *p = out->base;
	ssize_t n;

	while (p < out->at) {
		n = write(STDOUT_FILENO, p, (size_t)(out->at - p));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
	}
	out->at = out->base;
	return 0;
}

static int say_notes(const struct gander_ctf *r)
{
	uint32_t i;

	for (i = 0; i < gander_ctf_notes(r); i++)
		fprintf(stderr, "gander: %s\n", gander_ctf_note(r, i));
	if (gander_ctf_lost(r))
		fprintf(stderr, "gander: %" PRIu64 " events were lost while recording (lines with \"--\" say when)\n", gander_ctf_lost(r));
	return gander_ctf_notes(r) || gander_ctf_lost(r) ? CLI_LOST : CLI_OK;
}

static int count(struct gander_ctf *r, struct err *err)
{
	uint64_t n = 0;

	if (gander_ctf_count(r, NULL, &n, (struct gander_err *)err) < 0)
		return cli_fail(err);
	printf("%" PRIu64 "\n", n);
	return say_notes(r);
}

static int run(int argc, char **argv)
{
	struct gander_ctf_opts ro = GANDER_CTF_OPTS_INIT;
	struct ctf_where where = { 0 };
	struct gander_ctf_event ev;
	struct gander_ctf *r = NULL;
	struct err err = ERR_INIT;
	struct opt_list globs = { 0 };
	struct ctf_out out = { 0 };
	bool follow = false, json = false, only_count = false;
	const char *expr = NULL;
	uint64_t limit = 0, printed = 0;
	int n, ret = CLI_FAILED;
	struct opt opts[] = {
		{ OPT_LIST, 'e', "event", "GLOB", "only events of these names (may be given several times)", &globs },
		{ OPT_STR, 'w', "where", "EXPR", "only events for which this holds", &expr },
		{ OPT_FLAG, 'f', "follow", NULL, "wait for more, until Ctrl-C", &follow },
		{ OPT_U64, 'n', "limit", "N", "stop after so many events", &limit },
		{ OPT_FLAG, 'c', "count", NULL, "only say how many there are", &only_count },
		{ OPT_FLAG, 'j', "json", NULL, "one JSON object a line", &json },
		{ OPT_END },
	};

	n = opt_parse(&verb_events, opts, argc, argv, &err);
	if (n < 0)
		return cli_usage(&err);
	if (n < 1) {
		err_set(&err, -EINVAL, "which recording? (gander events DIR)");
		return cli_usage(&err);
	}
	if (only_count && (follow || expr || globs.n || json || limit)) {
		err_set(&err, -EINVAL, "--count goes with no other option");
		return cli_usage(&err);
	}
	if (ctf_where_init(&where, expr, &globs, &err) < 0) {
		ret = cli_usage(&err);
		goto out;
	}
	if (follow) {
		ro.flags |= GANDER_CTF_FOLLOW;
		signal(SIGINT, on_signal);
		signal(SIGTERM, on_signal);
	}
	signal(SIGPIPE, SIG_IGN);
	if (gander_ctf_open_all(&r, (const char *const *)argv + 1, (unsigned)n, &ro, (struct gander_err *)&err) < 0) {
		cli_fail(&err);
		goto out;
	}
	if (only_count) {
		ret = count(r, &err);
		goto out;
	}
	while (!stopped && (!limit || printed < limit)) {
		n = gander_ctf_next(r, &ev, (struct gander_err *)&err);
		if (n < 0) {
			flush(&out);
			cli_fail(&err);
			goto out;
		}
		if (!n) {
			if (flush(&out) < 0)
				goto closed;
			if (!follow)
				break;
			poll(NULL, 0, 100);
			continue;
		}
		if (!ctf_where_holds(&where, r, &ev))
			continue;
		printed += ev.kind == GANDER_CTF_EVENT;
		n = json ? ctf_json_line(r, &ev, &out) : ctf_text_line(r, &ev, &out);
		if (n < 0) {
			err_set(&err, n, "out of memory");
			cli_fail(&err);
			goto out;
		}
		if ((size_t)(out.at - out.base) >= FLUSH_BYTES && flush(&out) < 0)
			goto closed;
	}
	if (flush(&out) < 0)
		goto closed;
	ret = say_notes(r);
	goto out;
closed:
	ret = errno == EPIPE ? CLI_OK : CLI_FAILED; /* `gander events DIR | head` */
	if (ret)
		fprintf(stderr, "gander: cannot write the output: %s\n", strerror(errno));
out:
	gander_ctf_free(r);
	ctf_where_done(&where);
	ctf_out_done(&out);
	return ret;
}

const struct verb verb_events = {
	.name = "events",
	.args = "DIR...",
	.summary = "print the events of a recording in time order",
	.examples = { "gander events recording -e 'shop.*' | less",
		      "gander events recording --where 'status >= 500 && path ~ \"/api/*\"'",
		      "gander events --follow recording --json" },
	.run = run,
};
