#include "base/json.h"
#include "base/table.h"
#include "cli/cli_record.h"
#include "cli/go_totals.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	struct choice c;
	const char *dir, *contexts, *rotate, *session;
	struct opt_list add, remove, when;
	const char *exec;
	uint64_t stack, for_ns, max_size, keep, buffer, ctf, last_ns, every_ns, max_snapshots;
	const char *go_url;
	const char *kernel, *kernel_scope;
	uint64_t kernel_buffer, kernel_keep;
	uint64_t go_period_ns;
	bool overwrite, block, quiet, json, stop, go;
} o = { .every_ns = 10000000000ull, .max_snapshots = 10 };

static const struct opt opts[] = {
	CHOICE_OPTS(o.c),
	{ OPT_STR, 'o', "output", "DIR", "where the recording goes (default: gander-DATE-TIME)", &o.dir },
	{ OPT_PERIOD, 0, "for", "TIME", "stop after so long", &o.for_ns },
	{ OPT_STR, 'c', "context", "LIST", "with every event: tid goid cpu span key (default: tid in C, goid in Go); none", &o.contexts },
	{ OPT_U64, 0, "stack", "N", "with every event: up to N return addresses (at most 64)", &o.stack },
	{ OPT_FLAG, 0, "overwrite", NULL, "flight recorder: keep the newest events in memory, write them at the end", &o.overwrite },
	{ OPT_FLAG, 0, "go", NULL, "the Go runtime's execution trace too, of programs that import gander's flight package", &o.go },
	{ OPT_PERIOD, 0, "go-period", "TIME", "with --go: close a generation of the trace so often (default: 200ms)", &o.go_period_ns },
	{ OPT_LIST, 0, "snapshot-when", "COND", "flight recorder that writes when this holds: 'shop.request.duration > 300ms'; several times", &o.when },
	{ OPT_PERIOD, 0, "last", "TIME", "of a flight recorder: only the last 10s, before it writes (default: all that is in memory)", &o.last_ns },
	{ OPT_U64, 0, "max-snapshots", "N", "with --snapshot-when: end after so many (default 10; 0: no end); also of flight.Snapshot()", &o.max_snapshots },
	{ OPT_DURATION, 0, "rate-limit", "TIME", "with --snapshot-when: at most one in so long (default 10s)", &o.every_ns },
	{ OPT_STR, 0, "exec", "CMD", "with --snapshot-when: run this for each; $GANDER_SNAPSHOT is its folder", &o.exec },
	{ OPT_STR, 0, "url", "URL", "with --go: where a program without that package has its /debug/pprof (default: looked for)", &o.go_url },
	{ OPT_FLAG, 0, "block", NULL, "let programs wait up to 2 s for memory instead of losing events (for tests)", &o.block },
	{ OPT_SIZE, 0, "buffer", "SIZE", "memory a program at most (default: 32M, or half of what its tmpfs has left)", &o.buffer },
	{ OPT_STR, 0, "kernel", "LIST", "the kernel's view too (root or CAP_PERFMON): sched syscalls irq block", &o.kernel },
	{ OPT_STR, 0, "kernel-scope", "WHOSE", "of it: own, machine, auto (system calls of these programs, else all; default)", &o.kernel_scope },
	{ OPT_SIZE, 0, "kernel-buffer", "SIZE", "its memory for each CPU (default: 8M)", &o.kernel_buffer },
	{ OPT_SIZE, 0, "kernel-keep", "SIZE", "of a flight recorder: memory for the newest of it (default: 64M)", &o.kernel_keep },
	{ OPT_SIZE, 0, "max-size", "SIZE", "stop when the recording is so large", &o.max_size },
	{ OPT_STR, 0, "rotate", "SIZE|TIME", "begin a new chunk every 100M or 10m, readable by itself", &o.rotate },
	{ OPT_U64, 0, "keep", "N", "with --rotate: remove all but the newest N chunks", &o.keep },
	{ OPT_U64, 0, "ctf", "1|2", "format: CTF 1.8 (default) or CTF 2", &o.ctf },
	{ OPT_STR, 0, "session", "ID|DIR", "speak to a running recording instead: --add, --remove, --stop", &o.session },
	{ OPT_LIST, 0, "add", "GLOB", "with --session: record these too", &o.add },
	{ OPT_LIST, 0, "remove", "GLOB", "with --session: record these no longer", &o.remove },
	{ OPT_FLAG, 0, "stop", NULL, "with --session: end it", &o.stop },
	{ OPT_FLAG, 'q', "quiet", NULL, "print errors only", &o.quiet },
	{ OPT_FLAG, 0, "json", NULL, "print the summary as JSON", &o.json },
	{ OPT_END },
};

static int run(int argc, char **argv);

extern const struct verb verb_record;
const struct verb verb_record = {
	"record",
	"-p PID|NAME|--all [options] | [options] -- COMMAND...",
	"record the events of running programs, or of one that it starts",
	{ "gander record -p shop --for 10s", "gander record --all -e 'shop.*' -x 'shop.debug.*' --where 'status >= 500'",
	  "gander record -o out -- ./program args", "gander record -p shop --snapshot-when 'shop.request.duration > 300ms' --last 10s" },
	run,
};

static int read_contexts(const char *list, uint32_t *ret, struct err *err)
{
	static const char *const names[] = { "tid", "goid", "cpu", "span", "key" };

	if (strcmp(list, "none") != 0)
		return opt_names(list, names, 5, "context", "context", ret, err);
	*ret = 0;
	return 0;
}

static bool progress_shown;

static void clear_progress(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

static void on_note(void *arg, const char *text)
{
	clear_progress();
	fputs("gander: ", stderr);
	cli_say(stderr, text);
	putc('\n', stderr);
}

static void on_started(void *arg, const char *session)
{
	if (!o.quiet && !o.json)
		fprintf(stderr, "gander: recording into %s (session %.8s)%s\n", (const char *)arg, session,
			isatty(2) && !o.for_ns ? ", Ctrl-C ends it" : "");
}

static void on_progress(void *arg, const struct record_progress *p)
{
	char rate[UNIT_TEXT], events[UNIT_TEXT], bytes[UNIT_TEXT], lost[UNIT_TEXT], time[UNIT_TEXT];

	fprintf(stderr, "\r\033[K%s  %u program%s  %s events  %s/s  %s  %s lost", duration_text(time, p->elapsed_ns), p->programs,
		p->programs == 1 ? "" : "s", count_text(events, (double)p->events), count_text(rate, p->rate), bytes_text(bytes, p->bytes),
		count_text(lost, (double)p->lost));
	fflush(stderr);
	progress_shown = true;
}

static void on_snapshot(void *arg, const struct record_snapshot *s)
{
	char bytes[UNIT_TEXT], kernel[60] = "";

	if (o.quiet || o.json)
		return;
	clear_progress();
	if (o.kernel)
		snprintf(kernel, sizeof(kernel), " and %llu of the kernel", (unsigned long long)s->kernel_events);
	fprintf(stderr, "gander: snapshot %u: %s%s%s in %s (%d): %llu events (%s)%s in %s\n", s->number, s->why, *s->event ? ": " : "", s->event, s->program,
		(int)s->pid, (unsigned long long)s->events, bytes_text(bytes, s->bytes), kernel, s->dir);
}

static const struct {
	const char *key, *text;
	size_t at;
} reasons[] = {
	{ "full", "no packet was free (a larger --buffer helps)", offsetof(struct record_result, lost_full) },
	{ "nested", "emitted inside another event, without rseq", offsetof(struct record_result, lost_nested) },
	{ "slot", "from CPUs or Ps beyond the region's slots", offsetof(struct record_result, lost_slot) },
	{ "other", "the program found its region damaged", offsetof(struct record_result, lost_other) },
	{ "frozen", "no packet was spare while a snapshot was taken (a larger --buffer helps)", offsetof(struct record_result, lost_frozen) },
	{ "overwritten", "overwritten by newer ones", offsetof(struct record_result, lost_overwritten) },
	{ "damaged", "in damaged packets", offsetof(struct record_result, lost_damaged) },
	{ "disk", "the disk was full", offsetof(struct record_result, lost_disk) },
};

static uint64_t reason_count(const struct record_result *r, size_t i)
{
	return *(const uint64_t *)((const char *)r + reasons[i].at);
}

static uint64_t kernel_lost(const struct record_result *r)
{
	return r->kernel.lost + r->kernel.damaged + r->kernel.unwritten;
}

static void summary_text(const char *dir, const struct record_result *r)
{
	char events[UNIT_TEXT], bytes[UNIT_TEXT], time[UNIT_TEXT];
	size_t i;

	if (o.when.n)
		fprintf(stderr, "gander: %u snapshot%s\n", r->snapshots, r->snapshots == 1 ? "" : "s");
	fprintf(stderr, "gander: %llu events", (unsigned long long)r->events);
	if (r->events >= 10000)
		fprintf(stderr, " (%s)", count_text(events, (double)r->events));
	fprintf(stderr, " of %u program%s in %s: %s in %s\n", r->programs, r->programs == 1 ? "" : "s", duration_text(time, r->elapsed_ns),
		bytes_text(bytes, r->bytes), dir);
	if (r->lost == r->lost_overwritten) /* which is no loss: it is what a flight recorder is for */
		fprintf(stderr, "gander: lost: nothing\n");
	else
		fprintf(stderr, "gander: lost: %llu events\n", (unsigned long long)(r->lost - r->lost_overwritten));
	for (i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reason_count(r, i))
			fprintf(stderr, "gander:   %llu %s\n", (unsigned long long)reason_count(r, i), reasons[i].text);
	if (o.kernel) {
		fprintf(stderr, "gander: kernel: %llu events (%s) of %u CPU%s\n", (unsigned long long)r->kernel.events,
			bytes_text(bytes, r->kernel.bytes), r->kernel.cpus, r->kernel.cpus == 1 ? "" : "s");
		if (r->kernel.overwritten)
			fprintf(stderr, "gander: kernel: %llu older events were overwritten\n", (unsigned long long)r->kernel.overwritten);
		fprintf(stderr, "gander: kernel: lost: ");
		if (kernel_lost(r))
			fprintf(stderr, "%llu events%s\n", (unsigned long long)kernel_lost(r), r->kernel.lost ? " (a larger --kernel-buffer helps)" : "");
		else
			fprintf(stderr, "nothing\n");
	}
	go_totals_text(&r->go, stderr);
	if (r->cut)
		fprintf(stderr, "gander: %llu events were too long and are cut\n", (unsigned long long)r->cut);
}

static void summary_json(const char *dir, const struct record_result *r)
{
	struct buf b = BUF_INIT;
	struct json j;
	size_t i;

	json_init(&j, &b);
	json_obj(&j);
	json_key(&j, "dir");
	json_str(&j, dir);
	json_key(&j, "session");
	json_str(&j, r->session);
	json_key(&j, "programs");
	json_u64(&j, r->programs);
	json_key(&j, "events");
	json_u64(&j, r->events);
	json_key(&j, "bytes");
	json_u64(&j, r->bytes);
	json_key(&j, "elapsed_ns");
	json_u64(&j, r->elapsed_ns);
	json_key(&j, "lost");
	json_obj(&j);
	json_key(&j, "total");
	json_u64(&j, r->lost);
	for (i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
		json_key(&j, reasons[i].key);
		json_u64(&j, reason_count(r, i));
	}
	json_obj_end(&j);
	json_key(&j, "cut");
	json_u64(&j, r->cut);
	if (o.kernel) {
		json_key(&j, "kernel");
		json_obj(&j);
		json_key(&j, "events");
		json_u64(&j, r->kernel.events);
		json_key(&j, "bytes");
		json_u64(&j, r->kernel.bytes);
		json_key(&j, "lost");
		json_u64(&j, kernel_lost(r));
		json_key(&j, "overwritten");
		json_u64(&j, r->kernel.overwritten);
		json_obj_end(&j);
	}
	json_key(&j, "problems");
	json_u64(&j, r->problems);
	if (o.when.n) {
		json_key(&j, "snapshots");
		json_u64(&j, r->snapshots);
	}
	json_key(&j, "clock_error_ns");
	json_f64(&j, r->clock_error_ns);
	go_totals_json(&j, &r->go);
	if (r->stopped_early) {
		json_key(&j, "stopped");
		json_str(&j, r->why);
	}
	json_obj_end(&j);
	cli_put_json(&b);
}

static int speak(void)
{
	struct err err = ERR_INIT;
	struct buf reply = BUF_INIT;
	char request[256];
	int i, n = o.add.n + o.remove.n + o.stop, status = CLI_OK;

	for (i = 0; i < (n ? n : 1) && status == CLI_OK; i++) {
		const char *glob = i < o.add.n ? o.add.v[i] : i - o.add.n < o.remove.n ? o.remove.v[i - o.add.n]
										       : NULL;

		if (glob && rule_check_glob(glob, &err) < 0)
			return cli_usage(&err);
		snprintf(request, sizeof(request), "%s%s", glob ? i < o.add.n ? "add " : "remove " : o.stop ? "stop"
													    : "status",
			 glob ? glob : "");
		buf_clear(&reply);
		if (record_ask(o.session, request, &reply, &err) < 0) {
			status = cli_fail(&err);
		} else if (strncmp(reply.data, "ok ", 3)) {
			err_set(&err, -EINVAL, "%s", strncmp(reply.data, "error ", 6) ? reply.data : reply.data + 6);
			status = cli_fail(&err);
		} else if (!o.quiet) {
			fprintf(stderr, "gander: %s\n", reply.data + 3);
		}
	}
	buf_done(&reply);
	return status;
}

static int read_rotate(struct record_opts *ro, struct err *err)
{
	struct err other = ERR_INIT;
	size_t len = o.rotate ? strlen(o.rotate) : 0;

	if (!o.rotate)
		return 0;
	/* "10m" is ten minutes, "10M" ten megabytes: a lower-case unit is a time */
	if (len && (o.rotate[len - 1] == 's' || o.rotate[len - 1] == 'm' || o.rotate[len - 1] == 'h')) {
		if (opt_duration(o.rotate, &ro->rotate_ns, &other) == 0 && ro->rotate_ns)
			return 0;
	} else if (opt_size(o.rotate, &ro->rotate_size, &other) == 0 && ro->rotate_size) {
		return 0;
	}
	return err_set(err, -EINVAL, "--rotate: '%s' is neither a size (100M) nor a time (10m)", o.rotate);
}

/* --snapshot-when and what goes with it. */
static int read_when(struct condition_list *when, struct record_opts *ro, struct err *err)
{
	int i, res = 0;

	ro->last_ns = o.last_ns;
	if (!o.when.n && o.exec)
		return err_set(err, -EINVAL, "--exec goes with --snapshot-when");
	if (!o.when.n)
		return o.last_ns && !o.overwrite ? err_set(err, -EINVAL, "--last goes with --overwrite or --snapshot-when (gander snapshot --last takes one now)") : 0;
	if (o.rotate || o.keep)
		return err_set(err, -EINVAL, "--rotate and --keep do not go with --snapshot-when (--max-snapshots is its bound)");
	for (i = 0; i < o.when.n && res == 0; i++)
		res = condition_add(when, o.when.v[i], err);
	ro->when = when;
	ro->every_ns = o.every_ns;
	ro->exec = o.exec;
	ro->snapshot = on_snapshot;
	return res;
}

static int run(int argc, char **argv)
{
	static struct condition_list when;
	struct record_opts ro = { 0 };
	struct record_result result;
	struct err err = ERR_INIT;
	char name[80], **cmd = NULL;
	int n, i, status;

	/* what stands behind "--" is the command, and none of its options are ours */
	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--")) {
			cmd = argv + i + 1;
			argv[i] = NULL;
			argc = i;
			break;
		}
	n = opt_parse(&verb_record, opts, argc, argv, &err);
	if (n < 0)
		return cli_usage(&err);
	if (cmd && !*cmd) {
		err_set(&err, -EINVAL, "there is no command behind '--'");
		return cli_usage(&err);
	}
	if (n) {
		err_set(&err, -EINVAL, "'%s' is no option (-p chooses a program, '--' starts one)", argv[1]);
		return cli_usage(&err);
	}
	if (o.session)
		return speak();
	if (o.add.n || o.remove.n || o.stop) {
		err_set(&err, -EINVAL, "--add, --remove and --stop need --session");
		return cli_usage(&err);
	}
	if (!cmd && !o.c.all && !o.c.pids.n) {
		err_set(&err, -EINVAL, "which program? -p PID, -p NAME, --all, or -- COMMAND (gander list shows what there is)");
		return cli_usage(&err);
	}
	if (o.go_period_ns && (o.go_period_ns < 10000000 || o.go_period_ns > 10000000000)) {
		err_set(&err, -EINVAL, "--go-period: between 10ms and 10s");
		return cli_usage(&err);
	}
	if (o.stack > GD_STACK_MAX || o.ctf > 2 || (o.buffer && o.buffer < 4 * GD_PACKET)) {
		err_set(&err, -EINVAL, o.stack > GD_STACK_MAX ? "--stack: at most 64" : o.ctf > 2 ? "--ctf: 1 or 2"
												  : "--buffer: at least 256k");
		return cli_usage(&err);
	}
	if ((o.kernel && kernel_groups_parse(o.kernel, &ro.kernel_groups, &err) < 0) ||
	    (o.kernel_scope && kernel_scope_parse(o.kernel_scope, &ro.kernel_scope, &err) < 0))
		return cli_usage(&err);
	if ((o.kernel_scope || o.kernel_buffer) && !o.kernel) {
		err_set(&err, -EINVAL, "--kernel-scope and --kernel-buffer go with --kernel");
		return cli_usage(&err);
	}
	if (o.kernel_keep && (!o.kernel || !(o.overwrite || o.when.n) || o.kernel_keep < KERNEL_KEEP_MIN || o.kernel_keep > KERNEL_KEEP_MAX)) {
		err_set(&err, -EINVAL, o.kernel && (o.overwrite || o.when.n) ? "--kernel-keep: between 2M and 64G" : "--kernel-keep goes with --kernel of a flight recorder (--overwrite, --snapshot-when)");
		return cli_usage(&err);
	}
	if (o.kernel_buffer > KERNEL_BUFFER_MAX) {
		err_set(&err, -EINVAL, "--kernel-buffer: at most 1G");
		return cli_usage(&err);
	}
	ro.kernel_buffer = o.kernel_buffer;
	ro.kernel_keep = o.kernel_keep;
	ro.context = CONTEXT_DEFAULT;
	if ((o.contexts && read_contexts(o.contexts, &ro.context, &err) < 0) || read_rotate(&ro, &err) < 0)
		return cli_usage(&err);
	if (read_when(&when, &ro, &err) < 0) {
		condition_list_done(&when);
		return cli_usage(&err);
	}
	if (choice_read(&o.c, NULL, &err) < 0) {
		choice_done(&o.c);
		return err.code == -ESRCH ? cli_fail(&err) : cli_usage(&err);
	}
	ro.dir = cli_new_dir(o.dir, "gander", name);
	ro.pids = o.c.pid;
	ro.npids = o.c.npids;
	ro.all = o.c.all;
	ro.cmd = cmd;
	ro.rules = &o.c.rules;
	ro.where = o.c.where;
	ro.mode = o.overwrite || ro.when ? GD_MODE_OVERWRITE : GD_MODE_DISCARD;
	ro.stack_depth = (uint32_t)o.stack;
	ro.go = o.go || o.go_period_ns || o.go_url;
	ro.go_url = o.go_url;
	ro.go_period_ms = (uint32_t)((o.go_period_ns + 999999) / 1000000);
	ro.block_ms = o.block ? 2000 : 0;
	ro.buffer = o.buffer;
	ro.for_ns = o.for_ns;
	ro.max_size = o.max_size;
	ro.keep = o.keep;
	ro.max_snapshots = o.max_snapshots;
	ro.ctf_version = o.ctf == 2 ? 2 : 1;
	ro.stop = &cli_stop;
	ro.note = on_note;
	ro.started = on_started;
	ro.progress = isatty(2) && !o.quiet ? on_progress : NULL;
	ro.arg = (void *)ro.dir;
	cli_catch_signals();
	n = record_run(&ro, &result, &err);
	clear_progress();
	choice_done(&o.c);
	condition_list_done(&when);
	if (n < 0)
		return cli_fail(&err);
	if (result.stopped_early)
		fprintf(stderr, "gander: recording stopped early: %s; what was there is kept\n", result.why);
	if (o.json)
		summary_json(ro.dir, &result);
	else if (!o.quiet)
		summary_text(ro.dir, &result);
	if (cmd && !result.programs && !result.go.traces && !o.kernel && !o.quiet && !o.json)
		on_note(NULL, "nothing that ran has gander events (it uses neither libgander nor the Go agent)");
	if (cmd) {
		status = WIFSIGNALED(result.cmd_status) ? 128 + WTERMSIG(result.cmd_status) : WEXITSTATUS(result.cmd_status);
		return status;
	}
	return result.stopped_early || result.lost - result.lost_overwritten || kernel_lost(&result) || go_totals_lost(&result.go) || result.problems ? CLI_LOST : CLI_OK;
}
