#include "cli/why_files.h"
#include "base/plain.h"
#include "base/temp.h"
#include "cli/cli.h"
#include "cli/go_input.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REREAD_MAX ((uint64_t)512 << 20) /* bytes of earlier generations that are read for one answer */

/* What can be read only once goes into a temporary file: it is read twice. */
static int spool(struct why_files *f, const char *input, char path[64], struct err *err)
{
	struct go_input *in = NULL;
	uint8_t *block;
	int64_t n = 0;
	int r;

	f->spool_fd = temp_file(NULL);
	if (f->spool_fd < 0)
		return err_set(err, f->spool_fd, "cannot make a temporary file in $TMPDIR, /var/tmp or /tmp: %m");
	block = malloc(1 << 16);
	r = block ? go_input_open_raw(&in, input, err) : err_set(err, -ENOMEM, "out of memory");
	while (r == 0 && (n = go_input_read(in, block, 1 << 16)) > 0) {
		r = temp_write(f->spool_fd, block, (size_t)n);
		if (r < 0)
			err_set(err, r, "cannot keep a temporary copy of the trace: %m");
	}
	if (r == 0 && n < 0)
		r = err_set(err, (int)n, "cannot read '%s': %s", input, strerror((int)-n));
	go_input_close(in);
	free(block);
	snprintf(path, 64, "/proc/self/fd/%d", f->spool_fd);
	return r;
}

static struct why_file *add(struct why_files *f, const char *path, const char *name, uint32_t pid, struct err *err)
{
	struct why_file *v = realloc(f->v, (f->n + 1) * sizeof(*v)), *x;

	if (v)
		f->v = v;
	x = v ? &v[f->n] : NULL;
	if (x) {
		*x = (struct why_file) { .path = strdup(path), .name = strdup(name), .pid = pid, .fd = -1, .begin_ns = INT64_MIN, .end_ns = INT64_MAX };
		f->n++;
	}
	if (!x || !x->path || !x->name) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	x->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (x->fd < 0) {
		err_set(err, -errno, "cannot open '%s': %m", name);
		return NULL;
	}
	if (lseek(x->fd, 0, SEEK_END) > 0 && gogens_find(&x->gens, x->fd) < 0) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (x->gens.n)
		x->begin_ns = x->gens.v[0].start_ns;
	return x;
}

/* "shop-1234.trace", "shop-1234-2.trace": the pid; 0: another name. */
static uint32_t pid_of(const char *name)
{
	const char *p, *end = strstr(name, ".trace");
	uint32_t pid = 0;

	for (p = name; end && (p = strchr(p, '-')) && p < end; p++) {
		char *to;
		unsigned long v = strtoul(p + 1, &to, 10);

		if (to > p + 1 && (*to == '.' || *to == '-') && v < UINT32_MAX && (*to == '-' || !pid))
			pid = (uint32_t)v;
	}
	return pid;
}

/* What gander.json says of a trace: its end, and whose it is. */
static void from_manifest(const json_t *manifest, const char *file, struct why_file *x)
{
	size_t i;
	json_t *o;

	json_array_foreach(json_object_get(manifest, "go"), i, o)
	{
		const char *name = json_string_value(json_object_get(o, "file"));
		json_t *end = json_object_get(o, "end_mono_ns"), *pid = json_object_get(o, "pid");

		if (!name || strcmp(name, file))
			continue;
		if (json_is_integer(end) && json_integer_value(end) > 0)
			x->end_ns = json_integer_value(end);
		if (json_is_integer(pid) && json_integer_value(pid) > 0)
			x->pid = (uint32_t)json_integer_value(pid);
	}
}

static int is_trace(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 6 && !strcmp(e->d_name + n - 6, ".trace");
}

static int open_recording(struct why_files *f, const char *dir, struct err *err)
{
	char path[PATH_MAX], file[300];
	struct stat st;
	struct dirent **list = NULL;
	json_t *manifest;
	FILE *plain;
	int n, i, r = 0;

	snprintf(path, sizeof(path), "%s/gander.json", dir);
	plain = plain_fopen(path);
	manifest = plain ? json_loadf(plain, 0, NULL) : NULL;
	if (plain)
		fclose(plain);
	f->dir = dir;
	f->mono_offset_ns = json_integer_value(json_object_get(json_object_get(manifest, "clock"), "mono_offset_ns"));
	snprintf(path, sizeof(path), "%s/go", dir);
	n = scandir(path, &list, is_trace, alphasort);
	for (i = 0; i < n && r == 0; i++) {
		struct why_file *x;

		snprintf(path, sizeof(path), "%s/go/%s", dir, list[i]->d_name);
		snprintf(file, sizeof(file), "go/%s", list[i]->d_name);
		if (stat(path, &st) || !S_ISREG(st.st_mode))
			continue;
		x = add(f, path, path, pid_of(list[i]->d_name), err);
		if (x)
			from_manifest(manifest, file, x);
		else
			r = err->code;
	}
	if (r == 0 && !f->n)
		r = err_set(err, -ENOENT, "%s holds no Go trace%s", dir,
			    json_object_get(manifest, "chunks") ? ": it was rotated, name one of its chunks" : " (gander record --go records them)");
	for (i = 0; i < n; i++)
		free(list[i]);
	free(list);
	json_decref(manifest);
	return r;
}

int why_files_open(struct why_files *f, const char *input, struct err *err)
{
	struct stat st;
	char path[64];
	int r = 0;

	memset(f, 0, sizeof(*f));
	f->spool_fd = -1;
	if (!strcmp(input, "-") || go_input_is_url(input)) {
		r = spool(f, input, path, err);
		if (r == 0 && !add(f, path, strcmp(input, "-") ? input : "standard input", 0, err))
			r = err->code;
		return r;
	}
	if (!stat(input, &st) && S_ISDIR(st.st_mode))
		return open_recording(f, input, err);
	return add(f, input, input, 0, err) ? 0 : err->code;
}

void why_files_close(struct why_files *f)
{
	uint32_t i;

	for (i = 0; i < f->n; i++) {
		gogens_done(&f->v[i].gens);
		if (f->v[i].fd >= 0)
			close(f->v[i].fd);
		free(f->v[i].path);
		free(f->v[i].name);
	}
	free(f->v);
	if (f->spool_fd >= 0)
		close(f->spool_fd);
	memset(f, 0, sizeof(*f));
	f->spool_fd = -1;
}

struct why_file *why_files_at(struct why_files *f, uint32_t pid, int64_t from_ns, int64_t to_ns)
{
	struct why_file *best = NULL;
	uint32_t i;

	for (i = 0; i < f->n; i++) {
		struct why_file *x = &f->v[i];

		if (x->pid == pid && x->begin_ns <= to_ns && x->end_ns >= from_ns && (!best || x->begin_ns > best->begin_ns))
			best = x;
	}
	return best;
}

int why_file_begin(struct why_file *f, int64_t *ns, struct err *err)
{
	struct gander_gotrace_event ev;
	struct gander_err gerr = GANDER_ERR_INIT;
	struct gander_gotrace *t;
	int r;

	if (f->begin_ns == INT64_MIN) {
		r = gander_gotrace_open(&t, f->path, NULL, &gerr);
		if (r == 0) {
			r = gander_gotrace_next(t, &ev, &gerr);
			gander_gotrace_free(t);
		}
		if (r <= 0)
			return err_set(err, r < 0 ? r : -ENODATA, "%s: %s", f->name, r < 0 ? gerr.text : "no events");
		f->begin_ns = ev.time_ns;
	}
	*ns = f->begin_ns;
	return 0;
}

static int open_pass(struct why_file *f, struct why_pass *p, struct gosyms *syms, struct go_input **in, struct err *err)
{
	int r = go_input_open(in, f->path, 0, err);

	if (r < 0)
		return r;
	*p = (struct why_pass) { .syms = syms, .progress = go_input_progress, .progress_arg = *in };
	return 0;
}

static bool is_fatal(int r)
{
	return r == -ENOMEM || r == -EFBIG || r == -ENOSPC;
}

static int after_pass(struct why_file *f, const struct why_pass *p, struct go_input *in, int r, struct err *err)
{
	go_input_close(in);
	if (p->end_ns > p->start_ns && f->begin_ns == INT64_MIN)
		f->begin_ns = p->start_ns;
	if (r >= 0 || is_fatal(r))
		return r;
	err_prefix(err, "%s", f->name);
	if (p->end_ns <= p->start_ns)
		return r;
	if (!f->damaged)
		cli_fail(err);
	f->damaged = true;
	return 0;
}

int why_file_collect(struct why_file *f, struct gosyms *syms, enum why_what what, const char *name, struct why_list *to, struct err *err)
{
	struct go_input *in = NULL;
	struct why_pass p;
	int r = open_pass(f, &p, syms, &in, err);

	return r < 0 ? r : after_pass(f, &p, in, why_collect(&p, go_input_reader(in), what, name, to, err), err);
}

static int walk_all(struct why_file *f, struct gosyms *syms, struct why_asked *asked, uint32_t n, struct err *err)
{
	struct go_input *in = NULL;
	struct why_pass p;
	int r = open_pass(f, &p, syms, &in, err);

	return r < 0 ? r : after_pass(f, &p, in, why_walk(&p, go_input_reader(in), asked, n, err), err);
}

static int open_from(struct why_file *f, uint32_t gen, struct gogens_reader *from, struct gander_gotrace **ret, struct err *err)
{
	struct gander_err gerr = GANDER_ERR_INIT;
	int r;

	*from = (struct gogens_reader) { .g = &f->gens, .fd = f->fd };
	if (gen < f->gens.n) {
		from->offset = f->gens.v[gen].offset;
		r = gander_gotrace_open_read(ret, gogens_read, from, NULL, &gerr);
	} else {
		r = gander_gotrace_open(ret, f->path, NULL, &gerr);
	}
	return r < 0 ? err_set(err, r, "%s: %s", f->name, gerr.text) : 0;
}

int why_file_open_at(struct why_file *f, int64_t time_ns, struct gogens_reader *from, struct gander_gotrace **ret, struct err *err)
{
	uint32_t at = gogens_at(&f->gens, time_ns);

	return open_from(f, at ? at - 1 : 0, from, ret, err);
}

static int walk_from(struct why_file *f, uint32_t gen, struct gosyms *syms, struct why_asked *asked, uint32_t n, struct err *err)
{
	struct gander_gotrace *reader;
	struct why_pass p = { .syms = syms };
	struct gogens_reader from;
	int r = open_from(f, gen, &from, &reader, err);

	if (r < 0)
		return r;
	r = why_walk(&p, reader, asked, n, err);
	gander_gotrace_free(reader);
	return r;
}

/* Whether something of weight had begun before the generations that were read: then the trace says less about it than it might. */
static bool lacks_begin(const struct why_asked *asked, uint32_t n)
{
	uint32_t i, k;

	for (i = 0; i < n; i++) {
		const struct gopath *p = asked[i].path;

		if (!asked[i].done)
			return true;
		for (k = 1; k < p->n; k++)
			if (((p->node[k].flags & WHY_OPEN && !p->node[k].reason) || p->node[k].kind == WHY_UNKNOWN) && p->node[k].ns > p->node[0].ns / 100)
				return true;
	}
	return false;
}

#define PROBE_NS 10000000

static int walk(struct why_file *f, struct gosyms *syms, struct why_asked *asked, uint32_t n, struct err *err);

/* Of a range, who ran last in it: found in its last moments, so that the walk knows it from the begin and keeps only what that one needs. */
static int who_ran_last(struct why_file *f, struct gosyms *syms, struct why_asked *a, struct err *err)
{
	struct why_asked probe = { .span = a->span };
	struct gopath path;
	int r;

	if (probe.span.to_ns != INT64_MAX)
		probe.span.from_ns = probe.span.to_ns - PROBE_NS;
	else if (f->gens.n)
		probe.span.from_ns = f->gens.v[f->gens.n - 1].start_ns;
	if (probe.span.from_ns <= a->span.from_ns)
		return 0;
	r = gopath_init(&path) < 0 ? err_set(err, -ENOMEM, "out of memory") : 0;
	probe.path = &path;
	if (r == 0)
		r = walk(f, syms, &probe, 1, err);
	if (r == 0 && probe.done)
		a->span.g = probe.span.g;
	gopath_done(&path);
	return r;
}

int why_file_walk(struct why_file *f, struct gosyms *syms, struct why_asked *asked, uint32_t n, struct err *err)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < n && r == 0; i++)
		if (asked[i].span.what == WHY_OF_RANGE && asked[i].span.g < 0)
			r = who_ran_last(f, syms, &asked[i], err);
	return r < 0 ? r : walk(f, syms, asked, n, err);
}

static int walk(struct why_file *f, struct gosyms *syms, struct why_asked *asked, uint32_t n, struct err *err)
{
	struct why_asked *first = calloc((size_t)n + 1, sizeof(*first));
	int64_t from = INT64_MAX;
	uint32_t i, at, back;
	int r = 0;

	if (!first)
		return err_set(err, -ENOMEM, "out of memory");
	memcpy(first, asked, n * sizeof(*first));
	for (i = 0; i < n; i++)
		if (asked[i].span.from_ns < from)
			from = asked[i].span.from_ns;
	at = gogens_at(&f->gens, from);
	for (back = 1; at > back && from != INT64_MIN; back *= 4) {
		r = walk_from(f, at - back, syms, asked, n, err);
		if (is_fatal(r))
			goto out;
		if (r == 0 && (!lacks_begin(asked, n) || f->gens.v[at].offset - f->gens.v[at - back].offset > REREAD_MAX))
			goto out;
		memcpy(asked, first, n * sizeof(*first));
		for (i = 0; i < n; i++)
			gopath_clear(asked[i].path);
	}
	r = walk_all(f, syms, asked, n, err);
out:
	free(first);
	return r;
}
