/* gander export: a recording in another format. CTF keeps the streams as they are and writes other metadata, as both versions have the same
 * streams; JSON and CSV are decoded. */
#include "cli/cli.h"
#include "cli/ctf_where.h"
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

/* A cell: in quotes when it has to be. */
static void put_cell(struct ctf_out *o, const char *s, size_t len)
{
	size_t i;

	if (!memchr(s, '"', len) && !memchr(s, ',', len) && !memchr(s, '\n', len) && !memchr(s, '\r', len)) {
		ctf_put_raw(o, s, len);
		return;
	}
	ctf_put_raw(o, "\"", 1);
	for (i = 0; i < len; i++)
		ctf_put_raw(o, s[i] == '"' ? "\"\"" : &s[i], s[i] == '"' ? 2 : 1);
	ctf_put_raw(o, "\"", 1);
}

static void put_name(struct ctf_out *o, const char *prefix, const char *name)
{
	ctf_put_raw(o, prefix, strlen(prefix));
	ctf_put_raw(o, name, strlen(name));
}

/* One row an event: time_ns, process, pid, event, then context and fields as "name=value" cells of their own. What a spreadsheet or an
 * import can split again; all values of a class stand in the same columns. */
static void csv_line(struct gander_ctf *r, const struct gander_ctf_event *ev, struct ctf_out *o, struct ctf_out *cell)
{
	const struct gander_ctf_value *v;
	int n = gander_ctf_values(r, ev, &v), i;
	uint32_t k;

	if (ctf_out_more(o, 64) < 0)
		return;
	o->at = ctf_put_i64(o->at, ev->time_ns);
	ctf_put_raw(o, ",", 1);
	put_cell(o, ev->trace->procname, strlen(ev->trace->procname));
	ctf_put_raw(o, ",", 1);
	if (ev->trace->pid >= 0 && !ctf_out_more(o, 64))
		o->at = ctf_put_i64(o->at, ev->trace->pid);
	ctf_put_raw(o, ",", 1);
	if (ev->kind != GANDER_CTF_EVENT) {
		ctf_put_raw(o, "lost,", 5);
		if (!ctf_out_more(o, 64)) {
			put_name(o, "", "count=");
			o->at = ctf_put_u64(o->at, ev->lost);
		}
		ctf_put_raw(o, "\n", 1);
		return;
	}
	put_cell(o, ev->class_->name, strlen(ev->class_->name));
	for (i = 0; i < n; i = (int)v[i].next)
		for (k = (uint32_t)i + 1; k < v[i].next; k = v[k].next) {
			cell->at = cell->base;
			if (ctf_out_more(cell, 64) < 0)
				return;
			put_name(cell, v[i].count == GANDER_CTF_FIELDS ? "" : "$", v[k].name);
			ctf_put_raw(cell, "=", 1);
			ctf_plain_value(cell, v, k);
			ctf_put_raw(o, ",", 1);
			put_cell(o, cell->base, (size_t)(cell->at - cell->base));
		}
	ctf_put_raw(o, "\n", 1);
}

static int export_text(const char *dir, bool json, FILE *f, struct ctf_where *where, struct gander_ctf **ret, struct err *err)
{
	struct ctf_out out = { 0 }, cell = { 0 };
	struct gander_ctf_event ev;
	struct gander_ctf *r;
	int n;

	n = gander_ctf_open(ret, dir, NULL, (struct gander_err *)err);
	if (n < 0)
		return n;
	r = *ret;
	if (!json)
		ctf_put_raw(&out, "time_ns,process,pid,event,values\n", 33);
	while ((n = gander_ctf_next(r, &ev, (struct gander_err *)err)) > 0) {
		if (!ctf_where_holds(where, r, &ev))
			continue;
		if (json)
			ctf_json_line(r, &ev, &out);
		else
			csv_line(r, &ev, &out, &cell);
		if (out.failed) {
			n = err_set(err, -ENOMEM, "out of memory");
			break;
		}
		if (out.at - out.base > 65536 && flush(&out, f) < 0) {
			n = err_set(err, -errno, "cannot write the output: %m");
			break;
		}
	}
	if (!n && (flush(&out, f) < 0 || fflush(f)))
		n = err_set(err, -errno, "cannot write the output: %m");
	ctf_out_done(&out);
	ctf_out_done(&cell);
	return n;
}

static int run(int argc, char **argv)
{
	const char *to = "json", *output = NULL, *expr = NULL;
	struct ctf_where where = { 0 };
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
	if (output && strcmp(output, "-")) {
		f = fopen(output, "we");
		if (!f) {
			err_set(&err, -errno, "cannot write '%s': %m", output);
			cli_fail(&err);
			goto out;
		}
	}
	if (export_text(argv[1], !strcmp(to, "json"), f, &where, &r, &err) < 0) {
		ret = err.code == -EPIPE ? CLI_OK : cli_fail(&err); /* `gander export DIR | head` */
		goto out;
	}
	for (i = 0; i < gander_ctf_notes(r); i++)
		fprintf(stderr, "gander: %s\n", gander_ctf_note(r, i));
	ret = gander_ctf_notes(r) || gander_ctf_lost(r) ? CLI_LOST : CLI_OK;
out:
	if (f && f != stdout && fclose(f))
		ret = CLI_FAILED;
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
