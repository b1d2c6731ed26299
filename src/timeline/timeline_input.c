#include "timeline/timeline_input.h"
#include "base/plain.h"

#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GO_MAX     100000u
#define OFFSET_MAX (INT64_MAX / 4)

bool tl_input_uuid(uint8_t to[16], const char *text)
{
	unsigned n = 0, digit;

	for (; *text && n < 32; text++) {
		if (*text >= '0' && *text <= '9')
			digit = (unsigned)(*text - '0');
		else if (*text >= 'a' && *text <= 'f')
			digit = (unsigned)(*text - 'a') + 10;
		else if (*text == '-')
			continue;
		else
			return false;
		to[n / 2] = (uint8_t)(n % 2 ? to[n / 2] | digit : digit << 4);
		n++;
	}
	return n == 32 && !*text;
}

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static int64_t num(const json_t *o, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

/* A file inside the recording, wherever its manifest would have it, and by the one name that it has. */
static bool is_inside(const char *file)
{
	size_t n;

	for (;; file += n + 1) {
		n = strcspn(file, "/");
		if (!n || (*file == '.' && (n == 1 || (n == 2 && file[1] == '.'))))
			return false;
		if (!file[n])
			return true;
	}
}

/* However often the manifests name it, it is read once. Of any bytes: what the recording's directory is called is not looked at. */
static bool is_new(json_t *seen, const char *path)
{
	return !json_object_get(seen, path) && json_object_set_new_nocheck(seen, path, json_true()) == 0;
}

static int add_go(struct tl_input *in, json_t *seen, const char *dir, const json_t *o)
{
	struct tl_input_go *more, g = { .pid = num(o, "pid", -1), .begin_mono_ns = num(o, "begin_mono_ns", INT64_MIN), .end_mono_ns = num(o, "end_mono_ns", INT64_MAX) };
	char path[PATH_MAX];

	if (!is_inside(str(o, "file")) || in->ngo == GO_MAX || snprintf(path, sizeof(path), "%s/%s", dir, str(o, "file")) >= (int)sizeof(path) || !is_new(seen, path))
		return 0;
	g.own_clock = !strcmp(str(o, "clock"), "none");
	g.has_boot_id = tl_input_uuid(g.boot_id, str(o, "boot_id"));
	more = realloc(in->go, (in->ngo + 1) * sizeof(*more));
	if (more)
		in->go = more;
	g.path = strdup(path);
	g.program = strdup(str(o, "program"));
	if (!more || !g.path || !g.program) {
		free(g.path);
		free(g.program);
		return -ENOMEM;
	}
	in->go[in->ngo++] = g;
	return 0;
}

static int add_program(struct tl_input *in, const json_t *o)
{
	struct tl_input_program *more;
	char *trace;

	if (!*str(o, "trace"))
		return 0;
	more = realloc(in->program, (in->nprograms + 1) * sizeof(*more));
	if (more)
		in->program = more;
	trace = strdup(str(o, "trace"));
	if (!more || !trace) {
		free(trace);
		return -ENOMEM;
	}
	in->program[in->nprograms++] = (struct tl_input_program) { trace, num(o, "pid", -1) };
	return 0;
}

/* One gander.json; top: not a chunk's. seen: what has been read already. */
static int read_manifest(struct tl_input *in, json_t *seen, const char *dir, bool top, struct err *err)
{
	const json_t *list, *clock;
	char path[PATH_MAX];
	const char *chunk;
	json_error_t why;
	json_t *m;
	FILE *f;
	int r = 0;
	size_t i;

	snprintf(path, sizeof(path), "%.4000s/gander.json", dir);
	f = plain_fopen(path);
	if (!f)
		return top && errno != ENOENT ? err_set(err, -errno, "cannot read '%s': %m", path) : 0;
	m = json_loadf(f, 0, &why);
	fclose(f);
	if (!json_is_object(m) || num(m, "gander_recording", 0) != 1) {
		json_decref(m);
		return top ? err_set(err, -EPROTO, "'%s' is not a recording's gander.json%s%s", path, m ? "" : ": ", m ? "" : why.text) : 0;
	}
	in->is_recording = true;
	clock = json_object_get(m, "clock");
	if (num(clock, "mono_offset_ns", 0) > OFFSET_MAX || num(clock, "mono_offset_ns", 0) < -OFFSET_MAX) {
		json_decref(m);
		return err_set(err, -EPROTO, "'%s': the clock's offset is out of its range", path);
	}
	if (json_is_integer(json_object_get(clock, "mono_offset_ns")) && !in->has_offset) {
		in->has_offset = true;
		in->mono_offset_ns = num(clock, "mono_offset_ns", 0);
	}
	if (json_number_value(json_object_get(clock, "error_ns")) > in->error_ns)
		in->error_ns = json_number_value(json_object_get(clock, "error_ns"));
	if (num(clock, "stepped_ns", 0))
		in->stepped_ns = num(clock, "stepped_ns", 0);
	snprintf(in->host, sizeof(in->host), "%s", str(m, "host"));
	in->own_scope |= !strcmp(str(json_object_get(m, "kernel"), "scope"), "own");
	list = json_object_get(m, "go");
	for (i = 0; i < json_array_size(list) && r == 0; i++)
		r = add_go(in, seen, dir, json_array_get(list, i));
	list = json_object_get(m, "programs");
	for (i = 0; i < json_array_size(list) && r == 0; i++)
		r = add_program(in, json_array_get(list, i));
	list = top ? json_object_get(m, "chunks") : NULL;
	for (i = 0; i < json_array_size(list) && r == 0; i++) {
		chunk = json_string_value(json_array_get(list, i));
		if (chunk && is_inside(chunk) && snprintf(path, sizeof(path), "%s/%s", dir, chunk) < (int)sizeof(path) && is_new(seen, path))
			r = read_manifest(in, seen, path, false, err);
	}
	json_decref(m);
	return r == -ENOMEM ? err_set(err, r, "out of memory") : r;
}

int tl_input_read(struct tl_input *in, const char *path, struct err *err)
{
	json_t *seen = json_object();
	int r;

	memset(in, 0, sizeof(*in));
	in->path = path;
	r = seen ? read_manifest(in, seen, path, true, err) : err_set(err, -ENOMEM, "out of memory");
	json_decref(seen);
	return r;
}

void tl_input_done(struct tl_input *in)
{
	unsigned i;

	for (i = 0; i < in->ngo; i++) {
		free(in->go[i].path);
		free(in->go[i].program);
	}
	for (i = 0; i < in->nprograms; i++)
		free(in->program[i].trace);
	free(in->go);
	free(in->program);
	memset(in, 0, sizeof(*in));
}
