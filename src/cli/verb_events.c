/* gander events: what a recording holds, event by event, in time order over all its processes. */
#include "cli/cli_record.h"
#include "cli/ctf_where.h"
#include "ctf/ctf_read.h"
#include "timeline/timeline.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLUSH_BYTES (256u << 10)

extern const struct verb verb_events;

/* Writes what is there; what could not be written is let go. 0, -EPIPE when nobody reads any more. */
static int flush(struct ctf_out *out, struct err *err)
{
	const char *p = out->base, *end = out->at;
	ssize_t n;

	out->at = out->base;
	while (p < end) {
		n = write(STDOUT_FILENO, p, (size_t)(end - p));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, -errno, "cannot write the output: %m");
		p += n;
	}
	return 0;
}

/* After each line, of which r says whether there was room for it. */
static int line_done(struct ctf_out *out, int r, struct err *err)
{
	if (r < 0)
		return err_set(err, r, "out of memory");
	return (size_t)(out->at - out->base) >= FLUSH_BYTES ? flush(out, err) : 0;
}

/* The last lines, which what went wrong (r, err) follows. */
static int lines_end(struct ctf_out *out, int r, struct err *err)
{
	struct err other = ERR_INIT;

	if (r >= 0)
		return flush(out, err);
	flush(out, &other);
	return r;
}

/* `gander events DIR | head` is no failure. */
static int failed(int r, const struct err *err)
{
	return r == -EPIPE ? CLI_OK : cli_fail(err);
}

static int say_lost(uint64_t lost, unsigned notes)
{
	if (lost)
		fprintf(stderr, "gander: %" PRIu64 " events were lost while recording (lines with \"--\" say when)\n", lost);
	return notes || lost ? CLI_LOST : CLI_OK;
}

static int say_notes(const struct gander_ctf *r)
{
	uint32_t i;

	for (i = 0; i < gander_ctf_notes(r); i++)
		fprintf(stderr, "gander: %s\n", gander_ctf_note(r, i));
	return say_lost(gander_ctf_lost(r), i);
}

/* -p: a recording of our own in a temporary directory, made by a child; its end is seen by its pid. */
struct live {
	char dir[64];
	pid_t pid;
	int status;
	bool ended;
};

static void to_stderr(void *arg, const char *text)
{
	fprintf(stderr, "gander: %s\n", text);
}

static int record_child(const char *dir, struct choice *c)
{
	struct record_result result = { 0 };
	struct err err = ERR_INIT;
	struct record_opts ro = { .dir = dir, .pids = c->pid, .npids = c->npids, .all = c->all, .rules = &c->rules, .where = c->where, .context = CONTEXT_DEFAULT, .ctf_version = 1, .stop = &cli_stop, .note = to_stderr };

	if (record_run(&ro, &result, &err) < 0)
		return cli_fail(&err);
	return CLI_OK;
}

static int live_start(struct live *l, struct choice *c, struct err *err)
{
	const char *tmp = getenv("TMPDIR");
	pid_t parent = getpid();

	snprintf(l->dir, sizeof(l->dir), "%.40s/gander-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
	if (!mkdtemp(l->dir)) {
		l->dir[0] = 0;
		return err_set(err, -errno, "cannot make a directory for the recording: %m");
	}
	l->pid = fork();
	if (l->pid < 0)
		return err_set(err, -errno, "cannot start the recording: %m");
	if (!l->pid) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(CLI_FAILED);
		_exit(record_child(l->dir, c));
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static bool live_ended(struct live *l)
{
	if (l->pid > 0 && !l->ended && waitpid(l->pid, &l->status, WNOHANG) == l->pid)
		l->ended = true;
	return l->ended;
}

static void live_stop(struct live *l)
{
	if (l->pid > 0 && !l->ended) {
		kill(l->pid, SIGTERM);
		while (waitpid(l->pid, &l->status, 0) < 0 && errno == EINTR)
			;
	}
	if (l->dir[0])
		nftw(l->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int say_timeline_notes(const struct timeline *tl)
{
	unsigned i;

	for (i = 0; i < timeline_notes(tl); i++)
		fprintf(stderr, "gander: %s\n", timeline_note(tl, i));
	return say_lost(timeline_lost(tl), i);
}

/* Everything that recordings hold, sources merged; --count counts. Returns the exit status. */
static int print_merged(const char *const *paths, unsigned n, struct ctf_where *where, uint64_t limit, bool json, bool only_count)
{
	struct timeline_opts o = { .stacks = true };
	struct err err = ERR_INIT;
	struct ctf_out out = { 0 };
	struct timeline *tl = NULL;
	struct timeline_event ev;
	uint64_t printed = 0;
	int r, ret;

	if (timeline_open(&tl, paths, n, &o, &err) < 0)
		return cli_fail(&err);
	for (r = 0; r >= 0 && (!limit || printed < limit);) {
		r = timeline_next(tl, &ev, &err);
		if (r <= 0)
			break;
		if (!timeline_where_holds(where, tl, &ev))
			continue;
		printed += ev.ctf.kind == GANDER_CTF_EVENT;
		if (!only_count)
			r = line_done(&out, json ? timeline_json(tl, &ev, &out) : timeline_text(tl, &ev, &out), &err);
	}
	r = lines_end(&out, r, &err);
	if (r == 0 && only_count)
		printf("%" PRIu64 "\n", printed);
	ret = r < 0 ? failed(r, &err) : say_timeline_notes(tl);
	timeline_free(tl);
	ctf_out_done(&out);
	return ret;
}

/* In a recording Go traces lie in go/, the kernel's in ctf/kernel/; one that is rotated or holds snapshots has recordings in it. */
static int other_source(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *name = path + ftw->base;

	return type == FTW_D && ftw->level > 0 && (!strcmp(name, "go") || !strcmp(name, "kernel"));
}

/* Is there more than programs' events, so that sources must be brought onto one clock? They alone are read faster without. */
static bool needs_timeline(const char *const *paths, int n)
{
	struct stat st;

	return n > 1 || (!stat(paths[0], &st) && !S_ISDIR(st.st_mode)) || nftw(paths[0], other_source, 16, FTW_PHYS) != 0;
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
	struct ctf_out out = { 0 };
	bool follow = false, json = false, only_count = false, ended = false;
	struct choice c = { 0 };
	struct live live = { 0 };
	const char *from[1] = { live.dir };
	uint64_t limit = 0, printed = 0;
	int rounds = 0, n, ret = CLI_FAILED;
	struct opt opts[] = {
		CHOICE_OPTS(c),
		{ OPT_FLAG, 'f', "follow", NULL, "wait for more, until Ctrl-C; always with -p and --all", &follow },
		{ OPT_U64, 'n', "limit", "N", "stop after so many events", &limit },
		{ OPT_FLAG, 'c', "count", NULL, "only say how many there are", &only_count },
		{ OPT_FLAG, 'j', "json", NULL, "one JSON object a line", &json },
		{ OPT_END },
	};

	n = opt_parse(&verb_events, opts, argc, argv, &err);
	if (n < 0)
		return cli_usage(&err);
	if (c.pids.n || c.all ? n > 0 : n < 1) {
		err_set(&err, -EINVAL, n ? "either a recording, or -p or --all" : "which recording? (gander events DIR, or -p PID --follow)");
		return cli_usage(&err);
	}
	if (!n && only_count) {
		err_set(&err, -EINVAL, "--count is for recordings (gander count counts live)");
		return cli_usage(&err);
	}
	if (n && (c.excludes.n || c.level)) {
		err_set(&err, -EINVAL, "--exclude and --level go with -p (for a recording: --where '$level <= 4')");
		return cli_usage(&err);
	}
	if (only_count && (follow || json || limit)) {
		err_set(&err, -EINVAL, "--count goes with --where and --event alone");
		return cli_usage(&err);
	}
	if (ctf_where_init(&where, c.where, &c.events, &err) < 0) {
		ret = cli_usage(&err);
		goto out;
	}
	if (!n) {
		follow = true;
		n = choice_read(&c, NULL, &err);
		if (n < 0) {
			ret = n == -EINVAL ? cli_usage(&err) : cli_fail(&err);
			goto out;
		}
	}
	if (follow) {
		ro.flags |= GANDER_CTF_FOLLOW;
		cli_catch_signals();
	}
	if ((c.pids.n || c.all) && live_start(&live, &c, &err) < 0) {
		cli_fail(&err);
		goto out;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!follow && needs_timeline((const char *const *)argv + 1, n)) {
		ret = print_merged((const char *const *)argv + 1, (unsigned)n, &where, limit, json, only_count);
		goto out;
	}
	if (gander_ctf_open_all(&r, live.pid ? from : (const char *const *)argv + 1, live.pid ? 1 : (unsigned)n, &ro, (struct gander_err *)&err) < 0) {
		cli_fail(&err);
		goto out;
	}
	if (only_count && !c.where && !c.events.n) {
		ret = count(r, &err);
		goto out;
	}
	for (n = 0; n >= 0 && !cli_stop && (!limit || printed < limit);) {
		n = gander_ctf_next(r, &ev, (struct gander_err *)&err);
		if (n < 0)
			break;
		if (!n) {
			n = flush(&out, &err);
			/* once more after the end: what was written until then, and what was held back for its order */
			if (!follow || (ended && ++rounds > 5))
				break;
			ended = live_ended(&live);
			poll(NULL, 0, 100);
			continue;
		}
		if (!ctf_where_holds(&where, r, &ev))
			continue;
		printed += ev.kind == GANDER_CTF_EVENT;
		n = only_count ? 0 : line_done(&out, json ? ctf_json_line(r, &ev, &out) : ctf_text_line(r, &ev, &out), &err);
	}
	n = lines_end(&out, n, &err);
	if (n == 0 && only_count)
		printf("%" PRIu64 "\n", printed);
	ret = n < 0 ? failed(n, &err) : say_notes(r);
out:
	gander_ctf_free(r);
	live_stop(&live);
	choice_done(&c);
	ctf_where_warn(&where);
	ctf_where_done(&where);
	ctf_out_done(&out);
	return ret;
}

const struct verb verb_events = {
	.name = "events",
	.args = "DIR...|-p PID|NAME|--all",
	.summary = "print what a recording holds, all sources in time order",
	.examples = { "gander events recording -e 'shop.*' | less",
		      "gander events recording --where 'status >= 500 && path ~ \"/api/*\"'",
		      "gander events -p shop --follow", "gander events --follow recording --json" },
	.run = run,
};
