/* tracefs and its format files, and payloads made after them. */
#include "kernel/kernel_tracepoint.h"
#include "region/desc.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static int open_mounted(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) < 0 || fs.f_type != TRACEFS_MAGIC || faccessat(fd, "events", R_OK | X_OK, 0) < 0) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}

int tracefs_open(struct err *err)
{
	static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	int fd, fs, r = -ENOENT;
	unsigned i;

	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		fd = open_mounted(places[i]);
		if (fd >= 0)
			return fd;
		if (fd == -EACCES)
			r = fd;
	}
	/* a mount that is attached nowhere: nobody else sees it, and it goes when the descriptor is closed */
	fs = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);
	if (fs >= 0) {
		if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
			fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
			close(fs);
			if (fd >= 0)
				return fd;
		} else {
			close(fs);
		}
		r = -errno;
	} else if (errno == EPERM) {
		r = -EACCES;
	}
	if (r == -EACCES || r == -EPERM)
		return err_set(err, -EACCES, "the kernel's tracepoints cannot be read in tracefs (needs root, or CAP_PERFMON and read access to /sys/kernel/tracing)");
	return err_set(err, r, "there is no tracefs (a kernel without tracepoints?)");
}

/* The value behind "key:" in a field's line; -1: there is none. */
static long number_of(const char *line, const char *end, const char *key)
{
	const char *p = memmem(line, (size_t)(end - line), key, strlen(key));
	long v = 0;

	if (!p)
		return -1;
	for (p += strlen(key); p < end && isdigit((unsigned char)*p) && v < 1000000; p++)
		v = v * 10 + (*p - '0');
	return v;
}

static bool starts(const char *p, const char *end, const char *what)
{
	return (size_t)(end - p) >= strlen(what) && !memcmp(p, what, strlen(what));
}

/* "unsigned long args[6];" and its numbers; false: left out. */
static bool read_field(struct tp_field *f, const char *p, const char *end)
{
	const char *decl_end = memchr(p, ';', (size_t)(end - p)), *name, *bracket, *q;
	long at = number_of(p, end, "offset:"), size = number_of(p, end, "size:"), is_signed = number_of(p, end, "signed:");
	long count = 0;
	bool loc;

	if (!decl_end || at < 0 || at > 4096 || size < 0 || size > 4096 || is_signed < 0)
		return false;
	memset(f, 0, sizeof(*f));
	loc = starts(p, decl_end, "__data_loc ");
	bracket = loc ? NULL : memchr(p, '[', (size_t)(decl_end - p));
	q = bracket ? bracket : decl_end;
	while (q > p && q[-1] == ' ')
		q--;
	for (name = q; name > p && (isalnum((unsigned char)name[-1]) || name[-1] == '_'); name--)
		;
	if (name == q || name == p || (size_t)(q - name) >= sizeof(f->name) || starts(name, q, "common_"))
		return false;
	memcpy(f->name, name, (size_t)(q - name));
	while (p < name && *p == ' ')
		p++;
	for (q = name; q > p && q[-1] == ' '; q--)
		;
	snprintf(f->ctype, sizeof(f->ctype), "%.*s", (int)(q - p), p);
	f->at = (uint32_t)at;
	f->size = (uint32_t)size;
	f->is_signed = is_signed;
	f->hex = memchr(p, '*', (size_t)(name - p)) != NULL; /* an address */
	if (loc) {
		f->kind = TP_LOC;
		return size == 4 && memmem(p, (size_t)(name - p), "char", 4);
	}
	if (bracket) {
		count = number_of(bracket, decl_end, "[");
		if (count <= 0 || count > 64 || size % count)
			return false;
		f->kind = starts(p, name, "char") ? TP_CHARS : TP_ARRAY;
		f->count = (uint32_t)count;
		if (f->kind == TP_CHARS)
			return true;
		f->size = (uint32_t)(size / count);
	}
	return f->size == 1 || f->size == 2 || f->size == 4 || f->size == 8;
}

int tp_format_parse(struct tp_format *f, const char *text, size_t len, struct err *err)
{
	const char *p = text, *end = text + len, *line_end, *q;
	struct tp_field one;
	long id = -1;

	memset(f, 0, sizeof(*f));
	while (p < end) {
		line_end = memchr(p, '\n', (size_t)(end - p));
		if (!line_end)
			line_end = end;
		for (q = p; q < line_end && isspace((unsigned char)*q); q++)
			;
		if (starts(q, line_end, "name: ")) {
			snprintf(f->name, sizeof(f->name), "%.*s", (int)(line_end - q - 6), q + 6);
		} else if (starts(q, line_end, "ID: ")) {
			id = number_of(q, line_end, "ID: ");
		} else if (starts(q, line_end, "field:")) {
			if (f->nfields < TP_FIELDS_MAX && read_field(&one, q + 6, line_end))
				f->field[f->nfields++] = one;
		} else if (starts(q, line_end, "print fmt:")) {
			break;
		}
		p = line_end + (line_end < end);
	}
	if (id <= 0 || id > 65535 || !f->name[0])
		return err_set(err, -EPROTO, "a tracepoint's format in tracefs is not understood");
	f->id = (uint32_t)id;
	return 0;
}

int tracefs_format(int dirfd, const char *system, const char *name, struct tp_format *f, struct err *err)
{
	char path[160], *text;
	size_t len = 0;
	ssize_t n = 1;
	int fd, r;

	snprintf(path, sizeof(path), "events/%s/%s/format", system, name);
	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot read the tracepoint %s:%s: %m", system, name);
	text = malloc(TP_FORMAT_MAX);
	while (text && len < TP_FORMAT_MAX && n > 0) {
		n = read(fd, text + len, TP_FORMAT_MAX - len);
		len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	r = text ? tp_format_parse(f, text, len, err) : err_set(err, -ENOMEM, "out of memory");
	free(text);
	return r;
}

static uint8_t int_code(const struct tp_field *f)
{
	static const uint8_t codes[2][4] = { { GD_U8, GD_U16, GD_U32, GD_U64 }, { GD_I8, GD_I16, GD_I32, GD_I64 } };

	return codes[f->is_signed][f->size == 1 ? 0 : f->size == 2 ? 1
					      : f->size == 4       ? 2
								   : 3];
}

static void put_name(struct buf *b, const char *s)
{
	buf_putc(b, (char)strlen(s));
	buf_puts(b, s);
}

void tp_describe(struct buf *desc, const char *name, const struct tp_field *field, unsigned nfields)
{
	unsigned i;

	buf_clear(desc);
	buf_putc(desc, GD_DESC_VERSION);
	buf_putc(desc, GD_KIND_EVENT);
	buf_putc(desc, 6);
	buf_putc(desc, (char)nfields);
	put_name(desc, name);
	for (i = 0; i < nfields; i++) {
		const struct tp_field *f = &field[i];

		put_name(desc, f->name);
		buf_putc(desc, f->hex ? GD_FIELD_HEX : 0);
		if (f->kind == TP_CHARS || f->kind == TP_LOC) {
			buf_putc(desc, GD_STRING);
			continue;
		}
		if (f->kind == TP_ARRAY) {
			buf_putc(desc, GD_ARRAY);
			buf_put(desc, &f->count, 4);
		}
		buf_putc(desc, (char)int_code(f));
	}
}

static void put_text(struct buf *out, const uint8_t *p, size_t len)
{
	uint16_t n = (uint16_t)strnlen((const char *)p, len < TP_STRING_MAX ? len : TP_STRING_MAX);

	buf_put(out, &n, 2);
	buf_put(out, p, n);
}

bool tp_payload(struct buf *out, const struct tp_field *field, unsigned nfields, const uint8_t *raw, size_t len)
{
	static const uint8_t none[8];
	uint32_t loc, k;
	unsigned i;

	for (i = 0; i < nfields; i++) {
		const struct tp_field *f = &field[i];
		size_t at = f->at, size = f->size;

		switch (f->kind) {
		case TP_INT:
			buf_put(out, at + size <= len ? raw + at : none, size);
			break;
		case TP_ARRAY:
			for (k = 0; k < f->count; k++, at += size)
				buf_put(out, at + size <= len ? raw + at : none, size);
			break;
		case TP_CHARS:
			put_text(out, raw + (at < len ? at : 0), at < len ? (size < len - at ? size : len - at) : 0);
			break;
		case TP_LOC:
			loc = 0;
			if (at + 4 <= len)
				memcpy(&loc, raw + at, 4);
			at = loc & 0xffff;
			size = loc >> 16;
			if (at > len || size > len - at)
				at = size = 0;
			put_text(out, raw + at, size);
			break;
		}
	}
	return !buf_failed(out);
}

static const char *const syscall_names[TP_SYSCALL_MAX] = {
#include "syscalls.inc"
};

const char *syscall_name(uint32_t nr)
{
	return nr < TP_SYSCALL_MAX ? syscall_names[nr] : NULL;
}
