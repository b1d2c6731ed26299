/* gander export: a recording in another format. CTF keeps the streams as they are and writes other metadata, as both versions have the same
 * streams; JSON and CSV are decoded. */
#include "cli/cli.h"
#include "cli/ctf_where.h"
#include "cli/export_csv.h"
#include "ctf/ctf_export.h"
#include "ctf/ctf_read.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct verb verb_export;

static int flush(struct ctf_out *out, FILE *f)
{
	size_t n = (size_t)(out->at - out->base);

	out->at = out->base;
	return n && fwrite(out->base, 1, n, f) != n ? -EIO : 0;
}

/* The columns of all that will have a row. */
static int look(struct export_csv *csv, const char *dir, const char *expr, const struct opt_list *globs, struct err *err)
{
	struct ctf_where where = { 0 };
	struct gander_ctf_event ev;
	struct gander_ctf *r = NULL;
	int n;

	n = ctf_where_init(&where, expr, globs, err);
	if (n == 0)
		n = gander_ctf_open(&r, dir, NULL, (struct gander_err *)err);
	while (n >= 0 && (n = gander_ctf_next(r, &ev, (struct gander_err *)err)) > 0)
		if (ctf_where_holds(&where, r, &ev) && export_csv_look(csv, r, &ev) < 0)
			n = err_set(err, -ENOMEM, "out of memory");
	gander_ctf_free(r);
	ctf_where_done(&where);
	return n;
}

/* csv: NULL for JSON. 1: it ends before the recording does, which is said. */
static int export_text(const char *dir, struct export_csv *csv, FILE *f, struct ctf_where *where, struct gander_ctf **ret, struct err *err)
{
	struct ctf_out out = { 0 };
	struct gander_ctf_event ev;
	struct gander_ctf *r;
	int n, res = 0;

	n = gander_ctf_open(ret, dir, NULL, (struct gander_err *)err);
	if (n < 0)
		return n;
	r = *ret;
	if (csv)
		res = export_csv_header(csv, &out);
	while (res == 0 && (n = gander_ctf_next(r, &ev, (struct gander_err *)err)) > 0) {
		if (!ctf_where_holds(where, r, &ev))
			continue;
		res = csv ? export_csv_row(csv, r, &ev, &out) : ctf_json_line(r, &ev, &out);
		if (out.at - out.base > 65536 && flush(&out, f) < 0) {
			n = err_set(err, -errno, "cannot write the output: %m");
			break;
		}
	}
	if (res == -ENOMEM)
		n = err_set(err, res, "out of memory");
	if (n >= 0 && (flush(&out, f) < 0 || fflush(f)))
		n = err_set(err, -errno, "cannot write the output: %m");
	if (res == -ESTALE && n > 0)
		fprintf(stderr, "gander: the recording is still growing: the rows end where an event at %" PRId64 " ns has fields that none had when the columns were chosen\n", ev.time_ns);
	ctf_out_done(&out);
	return n;
}

static int run(int argc, char **argv)
{
	const char *to = "json", *output = NULL, *expr = NULL;
	struct ctf_where where = { 0 };
	struct export_csv *csv = NULL;
	struct gander_ctf *r = NULL;
	struct err err = ERR_INIT;
	struct opt_list globs = { 0 };
	FILE *f = stdout;
	uint32_t i;
	int n, ret = CLI_FAILED;
	struct opt opts[] = {
		{ OPT_STR, 't', "to", "FORMAT", "ctf1, ctf2, json (one object a line; default) or csv", &to },
		{ OPT_STR, 'o', "output", "PATH", "file, or directory for ctf1 and ctf2; - is standard output", &output },
		{ OPT_LIST, 'e', "event", "GLOB", "json, csv: only events of these names", &globs },
		{ OPT_STR, 'w', "where", "EXPR", "json, csv: only events for which this holds", &expr },
		{ OPT_END },
	};

	n = opt_parse(&verb_export, opts, argc, argv, &err);
	if (n < 0)
		return cli_usage(&err);
	if (n != 1) {
		err_set(&err, -EINVAL, n ? "one recording at a time" : "which recording? (gander export DIR --to FORMAT)");
		return cli_usage(&err);
	}
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(to, "ctf1") || !strcmp(to, "ctf2")) {
		if (!output || globs.n || expr) {
			err_set(&err, -EINVAL, output ? "%s keeps all events: -e and --where are for json and csv" : "%s needs a directory: -o DIR", to);
			return cli_usage(&err);
		}
		n = ctf_export(argv[1], output, to[3] - '0', &err);
		return n < 0 ? cli_fail(&err) : CLI_OK;
	}
	if (strcmp(to, "json") && strcmp(to, "csv")) {
		err_set(&err, -EINVAL, "'%s' is no format: ctf1, ctf2, json or csv", to);
		return cli_usage(&err);
	}
	if (ctf_where_init(&where, expr, &globs, &err) < 0)
		return cli_usage(&err);
	if (!strcmp(to, "csv")) {
		csv = export_csv_new();
		if (!csv)
			err_set(&err, -ENOMEM, "out of memory");
		if (!csv || look(csv, argv[1], expr, &globs, &err) < 0) {
			cli_fail(&err);
			goto out;
		}
	}
	if (output && strcmp(output, "-")) {
		f = fopen(output, "we");
		if (!f) {
			err_set(&err, -errno, "cannot write '%s': %m", output);
			cli_fail(&err);
			goto out;
		}
	}
	n = export_text(argv[1], csv, f, &where, &r, &err);
	if (n < 0) {
		ret = err.code == -EPIPE ? CLI_OK : cli_fail(&err); /* `gander export DIR | head` */
		goto out;
	}
	for (i = 0; i < gander_ctf_notes(r); i++)
		fprintf(stderr, "gander: %s\n", gander_ctf_note(r, i));
	ret = n || gander_ctf_notes(r) || gander_ctf_lost(r) ? CLI_LOST : CLI_OK;
out:
	if (f && f != stdout && fclose(f) && ret != CLI_FAILED) {
		err_set(&err, -errno, "cannot write '%s': %m", output);
		ret = cli_fail(&err);
	}
	export_csv_free(csv);
	gander_ctf_free(r);
	ctf_where_warn(&where);
	ctf_where_done(&where);
	return ret;
}

const struct verb verb_export = {
	.name = "export",
	.args = "DIR --to FORMAT",
	.summary = "a recording as CTF 1.8, CTF 2, JSON or CSV",
	.examples = { "gander export recording --to ctf2 -o recording.ctf2", "gander export recording --to json | jq .fields",
		      "gander export recording --to csv -o events.csv --where 'status >= 500'" },
	.run = run,
};
