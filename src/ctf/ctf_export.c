#include "ctf/ctf_export.h"
#include "ctf/ctf_read.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_dirs(const char *path, struct err *err)
{
	char part[PATH_MAX];
	size_t i;

	for (i = 1; i <= strlen(path) && i < sizeof(part); i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return err_set(err, -errno, "cannot make the directory '%s': %m", part);
	}
	return 0;
}

static int write_file(const char *path, const char *data, size_t len, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r = 0;
	ssize_t n;

	if (fd < 0)
		return err_set(err, -errno, "cannot make '%s': %m", path);
	while (len && !r) {
		n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = err_set(err, n < 0 ? -errno : -ENOSPC, "cannot write '%s': %m", path);
			break;
		}
		data += n;
		len -= (size_t)n;
	}
	if (close(fd) < 0 && !r)
		r = err_set(err, -errno, "cannot write '%s': %m", path);
	return r;
}

static int copy_file(const char *from, const char *to, struct err *err)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = -1, r = 0;
	static const size_t chunk = 1 << 20;
	char *data = NULL, *at;
	ssize_t n, m;

	if (in < 0)
		return err_set(err, -errno, "cannot open '%s': %m", from);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0) {
		r = err_set(err, -errno, "cannot make '%s': %m", to);
		goto out;
	}
	while ((n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0)) > 0)
		;
	if (!n)
		goto out;
	data = malloc(chunk);
	if (!data) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	/* across file systems it may not be possible: from where both stand */
	while ((n = read(in, data, chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = err_set(err, -errno, "cannot read '%s': %m", from);
			goto out;
		}
		for (at = data; n; at += m, n -= m) {
			m = write(out, at, (size_t)n);
			if (m < 0 && errno == EINTR)
				m = 0;
			if (m < 0) {
				r = err_set(err, -errno, "cannot write '%s': %m", to);
				goto out;
			}
		}
	}
out:
	free(data);
	if (out >= 0 && close(out) < 0 && !r)
		r = err_set(err, -errno, "cannot write '%s': %m", to);
	close(in);
	return r;
}

static int put_metadata(struct ctf_trace_class *t, int version, struct buf *b, struct err *err)
{
	const struct ctf_stream_class *s;
	const struct ctf_event_class *e;
	bool can;

	if (version == 1) {
		if (ctf_model_identifiers(t) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		can = !ctf_tsdl_can(t->packet_header);
		for (s = t->stream; s && can; s = s->next) {
			can = !ctf_tsdl_can(s->packet_context) && !ctf_tsdl_can(s->event_header) && !ctf_tsdl_can(s->common_context);
			for (e = s->event; e && can; e = e->next)
				can = !ctf_tsdl_can(e->context) && !ctf_tsdl_can(e->payload);
		}
		if (!can)
			return err_set(err, -ENOTSUP, "the trace has field types that CTF 1.8 does not know");
		ctf_tsdl_trace(b, t);
		for (s = t->stream; s; s = s->next)
			ctf_tsdl_stream(b, s);
	} else {
		ctf_json_trace(b, t);
		for (s = t->stream; s; s = s->next)
			ctf_json_stream(b, s);
	}
	for (s = t->stream; s; s = s->next)
		for (e = s->event; e; e = e->next) {
			if (version == 1)
				ctf_tsdl_event(b, e, s->id);
			else
				ctf_json_event(b, e, s->id);
		}
	return buf_failed(b) ? err_set(err, -ENOMEM, "out of memory") : 0;
}

int ctf_export(const char *from, const char *to, int version, struct err *err)
{
	const struct gander_ctf_trace *t;
	struct gander_ctf *r = NULL;
	struct buf b = BUF_INIT;
	char dir[PATH_MAX], path[PATH_MAX];
	const char *stream;
	size_t base;
	uint32_t i, k;
	int e;

	e = gander_ctf_open(&r, from, NULL, (struct gander_err *)err);
	if (e < 0)
		return e;
	for (base = strlen(from); base > 1 && from[base - 1] == '/'; base--)
		;
	for (i = 0; i < gander_ctf_traces(r) && !e; i++) {
		t = gander_ctf_trace(r, i);
		if (snprintf(dir, sizeof(dir), "%s%s", to, t->path + base) >= (int)sizeof(dir) - 300) {
			e = err_set(err, -ENAMETOOLONG, "the path of a trace is too long");
			break;
		}
		buf_clear(&b);
		e = make_dirs(dir, err);
		if (!e)
			e = put_metadata(ctf_trace_model(r, i), version, &b, err);
		if (e && err)
			err_prefix(err, "%s", t->path);
		for (k = 0; k < gander_ctf_streams(r) && !e; k++) {
			stream = gander_ctf_stream_path(r, k);
			if (strncmp(stream, t->path, strlen(t->path)) || stream[strlen(t->path)] != '/' || strchr(stream + strlen(t->path) + 1, '/'))
				continue;
			snprintf(path, sizeof(path), "%s%s", to, stream + base);
			e = copy_file(stream, path, err);
		}
		snprintf(path, sizeof(path), "%s%s/metadata", to, t->path + base);
		if (!e)
			e = write_file(path, b.data ? b.data : "", b.len, err);
	}
	gander_ctf_free(r);
	buf_done(&b);
	return e;
}
