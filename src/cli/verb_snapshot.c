#include "base/json.h"
#include "base/table.h"
#include "cli/cli_record.h"
#include "cli/go_totals.h"

#include <stdio.h>

static struct {
	struct opt_list pids;
	const char *dir, *url;
	uint64_t last, max_size, ctf;
	bool json, quiet;
} o;

static const struct opt opts[] = {
	{ OPT_LIST, 'p', "pid", "PID|NAME", "program, by number or name; a number also of one that has died; several times", &o.pids },
	{ OPT_STR, 'o', "output", "DIR", "where the recording goes (default: snapshot-DATE-TIME)", &o.dir },
	{ OPT_PERIOD, 0, "last", "TIME", "only what happened in the last 10s", &o.last },
	{ OPT_STR, 0, "url", "URL", "where a program without the flight package has its /debug/pprof (default: looked for)", &o.url },
	{ OPT_SIZE, 0, "max-size", "SIZE", "of Go traces that are still to happen: no more than so much (default: 1G)", &o.max_size },
	{ OPT_U64, 0, "ctf", "1|2", "format: CTF 1.8 (default) or CTF 2", &o.ctf },
	{ OPT_FLAG, 0, "json", NULL, "print the summary as JSON", &o.json },
	{ OPT_FLAG, 'q', "quiet", NULL, "print errors only", &o.quiet },
	{ OPT_END },
};

static int run(int argc, char **argv);

extern const struct verb verb_snapshot;
const struct verb verb_snapshot = {
	"snapshot",
	"-p PID|NAME [--last TIME] [-o DIR]",
	"save what a flight recorder (gander record --overwrite) holds now",
	{ "gander snapshot -p shop --last 10s", "gander snapshot -p 1234 -o crash" },
	run,
};

static void print_json(const char *dir, const struct snapshot_result *r)
{
	struct buf b = BUF_INIT;
	struct json j;

	json_init(&j, &b);
	json_obj(&j);
	json_key(&j, "dir");
	json_str(&j, dir);
	json_key(&j, "programs");
	json_u64(&j, r->programs);
	json_key(&j, "events");
	json_u64(&j, r->events);
	json_key(&j, "bytes");
	json_u64(&j, r->bytes);
	json_key(&j, "overwritten");
	json_u64(&j, r->overwritten);
	json_key(&j, "lost");
	json_u64(&j, r->lost);
	go_totals_json(&j, &r->go);
	json_obj_end(&j);
	cli_put_json(&b);
}

static int run(int argc, char **argv)
{
	static pid_t pid[RECORD_PIDS_MAX];
	struct snapshot_opts so = { 0 };
	struct snapshot_result r;
	struct err err = ERR_INIT;
	char name[80], bytes[UNIT_TEXT];
	int n = opt_parse(&verb_snapshot, opts, argc, argv, &err);

	if (n > 0)
		err_set(&err, -EINVAL, "'%s' is no option (-p chooses a program)", argv[1]);
	if (n)
		return cli_usage(&err);
	if (!o.pids.n || o.ctf > 2) {
		err_set(&err, -EINVAL, o.ctf > 2 ? "--ctf: 1 or 2" : "which program? -p PID or -p NAME (gander list shows what there is)");
		return cli_usage(&err);
	}
	n = targets_resolve(o.pids.v, o.pids.n, pid, &err);
	if (n < 0)
		return cli_fail(&err);
	so.dir = cli_new_dir(o.dir, "snapshot", name);
	so.pids = pid;
	so.npids = n;
	so.last_ns = o.last;
	so.go_url = o.url;
	so.max_size = o.max_size;
	so.stop = &cli_stop;
	so.ctf_version = o.ctf == 2 ? 2 : 1;
	cli_catch_signals();
	if (snapshot_run(&so, &r, &err) < 0)
		return cli_fail(&err);
	if (*r.note)
		fputs("gander: ", stderr), cli_say(stderr, r.note), putc('\n', stderr);
	if (o.json)
		print_json(so.dir, &r);
	else if (!o.quiet)
		fprintf(stderr, "gander: %llu events of %u program%s in %s (%s); %llu older ones were overwritten, %llu lost\n",
			(unsigned long long)r.events, r.programs, r.programs == 1 ? "" : "s", so.dir, bytes_text(bytes, r.bytes),
			(unsigned long long)r.overwritten, (unsigned long long)r.lost);
	if (!o.json && !o.quiet)
		go_totals_text(&r.go, stderr);
	return r.lost || go_totals_lost(&r.go) || *r.note ? CLI_LOST : CLI_OK;
}
