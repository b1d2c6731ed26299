/* Anonymize: the same batches with other texts.
 *
 * A text is a function's or a file's name when a frame says so; the runtime's own words (block reasons, GC workers, causes of pauses) are
 * known; everything else came from the program's user and is replaced as a whole. What a text is used for is known only when the generation's
 * (v1: the file's) stacks have been seen, so a v2 generation is held in memory, and a v1 trace is read twice, from a spool file.
 *
 * New names are numbers in the order of appearance: nothing of the old ones is in them, so nothing can be tried against them. Structure stays:
 * pkg3.(*x7).x8.func1 is a closure of a method of a type in a package. */
#include "base/buf.h"
#include "base/map.h"
#include "base/varint.h"
#include "export/export.h"
#include "export/goraw.h"
#include "gotrace/gotrace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GENERATION (1ull << 30)
#define MAX_NAME       1024 /* of a string in v2; the runtime keeps the last bytes */

enum role { ROLE_FUNC = 1,
	    ROLE_FILE = 2 };

struct held {
	size_t at, size;
	uint64_t gen, thread, time;
};

struct anon {
	const struct goanon_opts *o;
	FILE *out;
	unsigned version;
	int failed;
	struct intern packages, tokens, texts, files; /* old text -> its number */
	struct map pcs;
	struct map role;     /* string id -> enum role */
	struct map std_file; /* file id -> function id of a standard library frame in it */
	/* v2: the generation being held */
	struct buf data;
	struct held *held;
	size_t nheld, held_cap;
	uint64_t gen;
	/* the strings of this generation (v1: of the file): id -> place in text */
	struct map string;
	struct buf text;
	struct buf name, batch, entry;
	uint64_t first_mono;
	bool has_mono;
};

static const char *const std_roots[] = {
	"archive",
	"bufio",
	"builtin",
	"bytes",
	"cmp",
	"compress",
	"container",
	"context",
	"crypto",
	"database",
	"debug",
	"embed",
	"encoding",
	"errors",
	"expvar",
	"flag",
	"fmt",
	"go",
	"hash",
	"html",
	"image",
	"index",
	"internal",
	"io",
	"iter",
	"log",
	"maps",
	"math",
	"mime",
	"net",
	"os",
	"path",
	"plugin",
	"reflect",
	"regexp",
	"runtime",
	"slices",
	"sort",
	"strconv",
	"strings",
	"structs",
	"sync",
	"syscall",
	"testing",
	"text",
	"time",
	"unicode",
	"unique",
	"unsafe",
	"vendor",
	"weak",
};

static bool in_list(const char *s, size_t n, const char *const *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strlen(list[i]) == n && !memcmp(list[i], s, n))
			return true;
	return false;
}

/* Where the package's path ends: the first dot after the last slash before type arguments or a receiver. */
static size_t package_len(const char *s, size_t n)
{
	size_t i, from = 0;

	for (i = 0; i < n && s[i] != '(' && s[i] != '['; i++)
		if (s[i] == '/')
			from = i + 1;
	for (i = from; i < n && s[i] != '.'; i++)
		;
	return i;
}

static bool is_std(const struct anon *a, const char *s, size_t n)
{
	size_t pkg = package_len(s, n), root;

	for (root = 0; root < pkg && s[root] != '/'; root++)
		;
	/* type arguments of a generic function of the standard library may name the program's types */
	return !a->o->all_names && in_list(s, root, std_roots, sizeof(std_roots) / sizeof(*std_roots)) &&
	       (!memchr(s, '[', n) || memmem(s, n, "[...]", 5));
}

static uint64_t number(struct anon *a, struct intern *t, const char *s, size_t n)
{
	int64_t id = intern_bytes(t, s, n, NULL);

	if (id < 0)
		a->failed = -ENOMEM;
	return id < 0 ? 0 : (uint64_t)id + 1;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

/* Names that the compiler makes: they say nothing of the program. */
static bool is_compilers(const char *s, size_t n)
{
	static const char *const stems[] = { "func", "gowrap", "deferwrap", "init", "glob", "range", "" };
	size_t i, digits = 0;

	while (digits < n && s[n - 1 - digits] >= '0' && s[n - 1 - digits] <= '9')
		digits++;
	for (i = 0; i < sizeof(stems) / sizeof(*stems); i++)
		if (strlen(stems[i]) == n - digits && !memcmp(stems[i], s, n - digits) && (digits || *stems[i] == 'i' || *stems[i] == 'g'))
			return true;
	return false;
}

static void new_func(struct anon *a, const char *s, size_t n)
{
	size_t i = package_len(s, n), k;

	if (is_std(a, s, n)) {
		buf_put(&a->name, s, n);
		return;
	}
	if (i == 4 && !memcmp(s, "main", 4))
		buf_puts(&a->name, "main");
	else
		buf_printf(&a->name, "pkg%llu", (unsigned long long)number(a, &a->packages, s, i));
	for (; i < n; i = k) {
		for (k = i; k < n && is_word(s[k]); k++)
			;
		if (k == i) {
			char c = s[k++];

			/* what stands in type arguments ("-", "~", spaces, quotes) goes with the words */
			if (strchr(".()*[],;/", c) && c)
				buf_putc(&a->name, c);
			continue;
		}
		if (is_compilers(s + i, k - i) || (i == 5 && k == n && n == 9 && !memcmp(s, "main.main", 9)))
			buf_put(&a->name, s + i, k - i);
		else
			buf_printf(&a->name, "x%llu", (unsigned long long)number(a, &a->tokens, s + i, k - i));
	}
}

/* A source file of the standard library is told by a frame: /home/me/go1.26/src/net/http/server.go is /go/src/net/http/server.go then. */
static void new_file(struct anon *a, uint64_t id, const char *s, size_t n)
{
	const uint64_t *func_at = map_find(&a->std_file, id);
	const char *base = memrchr(s, '/', n), *func;
	size_t pkg;

	base = base ? base + 1 : s;
	if (func_at) {
		func = a->text.data + *func_at;
		pkg = package_len(func, strlen(func));
		buf_puts(&a->name, "/go/src/");
		buf_put(&a->name, func, pkg);
		buf_putc(&a->name, '/');
		buf_put(&a->name, base, n - (size_t)(base - s));
		return;
	}
	buf_printf(&a->name, "/file%llu.%s", (unsigned long long)number(a, &a->files, s, n), n > 2 && !memcmp(s + n - 2, ".s", 2) ? "s" : "go");
}

/* The new text of a string into a->name. */
static void rename_string(struct anon *a, uint64_t id, const char *s, size_t n)
{
	unsigned role = (unsigned)map_get(&a->role, id, 0);

	buf_clear(&a->name);
	if (role & ROLE_FUNC)
		new_func(a, s, n);
	else if (role & ROLE_FILE)
		new_file(a, id, s, n);
	else if (gander_gotrace_runtime_word(s, n))
		buf_put(&a->name, s, n);
	else
		buf_printf(&a->name, "s%llu", (unsigned long long)number(a, &a->texts, s, n));
	if (a->name.len > MAX_NAME && a->version >= 22) {
		memmove(a->name.data, a->name.data + a->name.len - MAX_NAME, MAX_NAME);
		a->name.len = MAX_NAME;
	}
}

static void put_out(struct anon *a, const void *data, size_t n)
{
	errno = 0;
	if (n && fwrite(data, 1, n, a->out) != n && !a->failed)
		a->failed = errno ? -errno : -EIO;
}

static uint64_t new_pc(struct anon *a, uint64_t pc)
{
	bool added;
	uint64_t *v;

	if (!pc)
		return 0;
	v = map_put(&a->pcs, pc, &added);
	if (!v) {
		a->failed = -ENOMEM;
		return 1;
	}
	if (added)
		*v = 0x400000 + 16ull * a->pcs.n;
	return *v;
}

static void note_string(struct anon *a, uint64_t id, const char *s, size_t n)
{
	bool added;
	uint64_t *v = map_put(&a->string, id, &added);

	if (!v) {
		a->failed = -ENOMEM;
		return;
	}
	*v = a->text.len;
	buf_put(&a->text, s, n);
	buf_putc(&a->text, 0);
}

static void note_frame(struct anon *a, uint64_t func, uint64_t file)
{
	bool added;
	uint64_t *v = map_put(&a->role, func, &added);

	if (v)
		*v |= ROLE_FUNC;
	v = map_put(&a->role, file, &added);
	if (v)
		*v |= ROLE_FILE;
	v = map_put(&a->std_file, file, &added);
	if (v && added)
		*v = func; /* turned into a place of text by find_std_files() */
}

/* Leaves in std_file only the files of standard library functions, with the place of that function's name. */
static void find_std_files(struct anon *a)
{
	struct map std = { 0 };
	uint64_t at = 0, file, func;

	while (map_next(&a->std_file, &at, &file, &func)) {
		const uint64_t *place = map_find(&a->string, func);
		bool added;
		uint64_t *v;

		if (!place || !is_std(a, a->text.data + *place, strlen(a->text.data + *place)))
			continue;
		v = map_put(&std, file, &added);
		if (v)
			*v = *place;
	}
	map_done(&a->std_file);
	a->std_file = std;
}

static void forget(struct anon *a)
{
	map_done(&a->string);
	map_done(&a->role);
	map_done(&a->std_file);
	buf_clear(&a->text);
	buf_clear(&a->data);
	a->nheld = 0;
}

/* --- v2 ------------------------------------------------------------------------------------------------------------------------ */

static void put_batch(struct anon *a, const struct held *h, const void *data, size_t size)
{
	struct buf *b = &a->entry;

	buf_clear(b);
	buf_putc(b, GORAW_BATCH);
	varint_put(b, h->gen);
	varint_put(b, h->thread);
	varint_put(b, h->time);
	varint_put(b, size);
	put_out(a, b->data, b->len);
	put_out(a, data, size);
}

static bool see_strings(struct anon *a, const uint8_t *p, const uint8_t *end)
{
	uint64_t id, n;

	while (p < end) {
		if (*p++ != GORAW_STRING || !varint_get(&p, end, &id) || !varint_get(&p, end, &n) || n > (uint64_t)(end - p))
			return false;
		note_string(a, id, (const char *)p, n);
		p += n;
	}
	return true;
}

static bool see_stacks(struct anon *a, const uint8_t *p, const uint8_t *end)
{
	uint64_t v, n, func, file;

	while (p < end) {
		if (*p++ != GORAW_STACK || !varint_get(&p, end, &v) || !varint_get(&p, end, &n) || n > 128)
			return false;
		for (; n; n--) {
			if (!varint_get(&p, end, &v) || !varint_get(&p, end, &func) || !varint_get(&p, end, &file) || !varint_get(&p, end, &v))
				return false;
			note_frame(a, func, file);
		}
	}
	return true;
}

static void write_strings(struct anon *a, const struct held *h, const uint8_t *p, const uint8_t *end)
{
	uint64_t id, n;

	buf_clear(&a->batch);
	buf_putc(&a->batch, GORAW_STRINGS);
	while (p < end && *p++ == GORAW_STRING && varint_get(&p, end, &id) && varint_get(&p, end, &n)) {
		rename_string(a, id, (const char *)p, n);
		p += n;
		if (a->batch.len + a->name.len + 24 > 65536) {
			put_batch(a, h, a->batch.data, a->batch.len);
			buf_clear(&a->batch);
			buf_putc(&a->batch, GORAW_STRINGS);
		}
		buf_putc(&a->batch, GORAW_STRING);
		varint_put(&a->batch, id);
		varint_put(&a->batch, a->name.len);
		buf_put(&a->batch, a->name.data, a->name.len);
	}
	put_batch(a, h, a->batch.data, a->batch.len);
}

static void write_stacks(struct anon *a, const struct held *h, const uint8_t *p, const uint8_t *end)
{
	uint64_t id, n, v, i;

	buf_clear(&a->batch);
	buf_putc(&a->batch, GORAW_STACKS);
	while (p < end && *p++ == GORAW_STACK && varint_get(&p, end, &id) && varint_get(&p, end, &n)) {
		if (a->batch.len + 24 + 40 * n > 65536) {
			put_batch(a, h, a->batch.data, a->batch.len);
			buf_clear(&a->batch);
			buf_putc(&a->batch, GORAW_STACKS);
		}
		buf_putc(&a->batch, GORAW_STACK);
		varint_put(&a->batch, id);
		varint_put(&a->batch, n);
		for (i = 0; i < 4 * n; i++) {
			varint_get(&p, end, &v);
			varint_put(&a->batch, i % 4 ? v : new_pc(a, v));
		}
	}
	put_batch(a, h, a->batch.data, a->batch.len);
}

/* The wall clock of a snapshot: as if the trace had begun with the year 1970. */
static bool write_sync(struct anon *a, const struct held *h, const uint8_t *p, const uint8_t *end)
{
	uint64_t v[4];
	int i;

	buf_clear(&a->batch);
	buf_putc(&a->batch, GORAW_SYNC);
	for (p++; p < end;) {
		unsigned type = *p++;

		buf_putc(&a->batch, (char)type);
		if (type == GORAW_FREQUENCY) {
			if (!varint_get(&p, end, v))
				return false;
			varint_put(&a->batch, v[0]);
		} else if (type == GORAW_SNAPSHOT) {
			for (i = 0; i < 4; i++)
				if (!varint_get(&p, end, &v[i]))
					return false;
			if (!a->has_mono)
				a->first_mono = v[1];
			a->has_mono = true;
			varint_put(&a->batch, v[0]);
			varint_put(&a->batch, v[1]);
			varint_put(&a->batch, (v[1] - a->first_mono) / 1000000000);
			varint_put(&a->batch, (v[1] - a->first_mono) % 1000000000);
		} else {
			return false;
		}
	}
	put_batch(a, h, a->batch.data, a->batch.len);
	return true;
}

static int flush_generation(struct anon *a, struct err *err)
{
	const uint8_t *base = a->data.data ? (const uint8_t *)a->data.data : (const uint8_t *)"";
	bool sound = true;
	size_t i;

	for (i = 0; i < a->nheld; i++) {
		const struct held *h = &a->held[i];
		const uint8_t *p = base + h->at;

		if (h->size && p[0] == GORAW_STRINGS)
			sound = sound && see_strings(a, p + 1, p + h->size);
		else if (h->size && p[0] == GORAW_STACKS)
			sound = sound && see_stacks(a, p + 1, p + h->size);
	}
	find_std_files(a);
	for (i = 0; sound && i < a->nheld; i++) {
		const struct held *h = &a->held[i];
		const uint8_t *p = base + h->at;

		if (h->size && p[0] == GORAW_STRINGS)
			write_strings(a, h, p + 1, p + h->size);
		else if (h->size && p[0] == GORAW_STACKS)
			write_stacks(a, h, p + 1, p + h->size);
		else if (h->size && p[0] == GORAW_SYNC)
			sound = write_sync(a, h, p, p + h->size);
		else
			put_batch(a, h, p, h->size);
	}
	if (buf_failed(&a->data) || buf_failed(&a->text) || buf_failed(&a->name) || buf_failed(&a->batch) || buf_failed(&a->entry))
		a->failed = -ENOMEM;
	forget(a);
	if (!sound)
		return err_set(err, -EPROTO, "the tables of generation %llu are damaged", (unsigned long long)a->gen);
	return 0;
}

static int on_batch(void *ctx, const struct goraw_batch *b, struct err *err)
{
	struct anon *a = ctx;
	int r = 0;

	if (b->top == GORAW_END) {
		r = flush_generation(a, err);
		put_out(a, "\x34", 1);
		return r;
	}
	if (a->nheld && b->gen != a->gen)
		r = flush_generation(a, err);
	if (r < 0)
		return r;
	a->gen = b->gen;
	if (b->top == GORAW_EXPERIMENTAL) /* names of types are in there */
		return 0;
	if (a->data.len + b->size > MAX_GENERATION)
		return err_set(err, -EFBIG, "generation %llu is larger than 1 GiB", (unsigned long long)b->gen);
	if (a->nheld == a->held_cap) {
		size_t cap = a->held_cap ? a->held_cap * 2 : 64;
		struct held *h = realloc(a->held, cap * sizeof(*h));

		if (!h)
			return err_set(err, -ENOMEM, "out of memory");
		a->held = h;
		a->held_cap = cap;
	}
	a->held[a->nheld++] = (struct held) { a->data.len, b->size, b->gen, b->thread, b->time };
	buf_put(&a->data, b->data, b->size);
	return buf_failed(&a->data) ? err_set(err, -ENOMEM, "out of memory") : 0;
}

static int on_version(void *ctx, unsigned version, struct err *err)
{
	struct anon *a = ctx;
	char head[17];

	a->version = version;
	memset(head, 0, sizeof(head));
	snprintf(head, sizeof(head), "go 1.%u trace", version);
	if (version >= 22)
		put_out(a, head, 16);
	return 0;
}

/* --- v1 ------------------------------------------------------------------------------------------------------------------------ */

static int see_record(void *ctx, const struct goraw_record *r, struct err *err)
{
	struct anon *a = ctx;
	const uint8_t *p = r->args, *end = r->args + r->args_size;
	uint64_t v, n, func, file;

	if (r->type == GORAW_V1_STRING) {
		note_string(a, r->id, r->text, r->text_size);
	} else if (r->type == GORAW_V1_STACK) {
		if (!varint_get(&p, end, &v) || !varint_get(&p, end, &n))
			return err_set(err, -EPROTO, "a stack of the trace is damaged");
		for (; n; n--) {
			if (!varint_get(&p, end, &v) || !varint_get(&p, end, &func) || !varint_get(&p, end, &file) || !varint_get(&p, end, &v))
				return err_set(err, -EPROTO, "a stack of the trace is damaged");
			note_frame(a, func, file);
		}
	}
	return 0;
}

static int write_record(void *ctx, const struct goraw_record *r, struct err *err)
{
	struct anon *a = ctx;
	const uint8_t *p = r->args, *end = r->args + r->args_size;
	struct buf *b = &a->batch;
	uint64_t v, n, i;

	buf_clear(b);
	buf_putc(b, (char)(r->type | r->n << 6));
	if (r->type == GORAW_V1_STRING) {
		rename_string(a, r->id, r->text, r->text_size);
		varint_put(b, r->id);
		varint_put(b, a->name.len);
		buf_put(b, a->name.data, a->name.len);
	} else if (r->type == GORAW_V1_STACK) {
		buf_clear(&a->entry);
		varint_get(&p, end, &v);
		varint_put(&a->entry, v);
		varint_get(&p, end, &n);
		varint_put(&a->entry, n);
		for (i = 0; i < 4 * n; i++) {
			varint_get(&p, end, &v);
			varint_put(&a->entry, i % 4 ? v : new_pc(a, v));
		}
		varint_put(b, a->entry.len);
		buf_put(b, a->entry.data, a->entry.len);
	} else {
		if (r->n == 3)
			varint_put(b, r->args_size);
		buf_put(b, r->args, r->args_size);
		if (r->type == GORAW_V1_LOG) {
			buf_clear(&a->name);
			if (r->text_size)
				buf_printf(&a->name, "s%llu", (unsigned long long)number(a, &a->texts, r->text, r->text_size));
			varint_put(b, a->name.len);
			buf_put(b, a->name.data, a->name.len);
		}
	}
	put_out(a, b->data, b->len);
	return a->failed;
}

static int64_t read_file(void *arg, void *to, size_t size)
{
	size_t n = fread(to, 1, size, arg);

	return !n && ferror((FILE *)arg) ? -EIO : (int64_t)n;
}

/* Reads ahead of the walk what has been read already to learn the version. */
struct tee {
	goraw_read_fn *read;
	void *arg;
	char head[16];
	size_t have, at;
};

static int64_t read_tee(void *arg, void *to, size_t size)
{
	struct tee *t = arg;
	size_t n = t->have - t->at;

	if (!n)
		return t->read(t->arg, to, size);
	if (n > size)
		n = size;
	memcpy(to, t->head + t->at, n);
	t->at += n;
	return (int64_t)n;
}

static int run_v1(struct anon *a, struct tee *t, struct err *err)
{
	struct goraw_visitor see = { a, on_version, NULL, see_record }, write = { a, on_version, NULL, write_record };
	FILE *spool = tmpfile();
	char *block = malloc(65536), head[16] = "";
	int64_t n;
	int r = 0;

	if (!spool || !block) {
		r = err_set(err, spool ? -ENOMEM : -errno, spool ? "out of memory" : "cannot make a temporary file: %m");
		goto out;
	}
	while ((n = read_tee(t, block, 65536)) > 0)
		if (fwrite(block, 1, (size_t)n, spool) != (size_t)n) {
			r = err_set(err, errno ? -errno : -EIO, "cannot write the temporary file: %m");
			goto out;
		}
	if (n < 0) {
		errno = (int)-n;
		r = err_set(err, (int)n, "cannot read the trace: %m");
		goto out;
	}
	rewind(spool);
	r = goraw_walk(read_file, spool, &see, err);
	if (r < 0)
		goto out;
	find_std_files(a);
	rewind(spool);
	snprintf(head, sizeof(head), "go 1.%u trace", a->version);
	put_out(a, head, 16);
	r = goraw_walk(read_file, spool, &write, err);
out:
	if (spool)
		fclose(spool);
	free(block);
	return r;
}

int goanon_run(int64_t (*read)(void *arg, void *to, size_t size), void *arg, FILE *out, const struct goanon_opts *o, struct err *err)
{
	struct anon a = { .o = o, .out = out };
	struct goraw_visitor v = { &a, on_version, on_batch, NULL };
	struct tee t = { .read = read, .arg = arg };
	int r = 0;

	while (t.have < sizeof(t.head)) {
		int64_t n = read(arg, t.head + t.have, sizeof(t.head) - t.have);

		if (n <= 0)
			break;
		t.have += (size_t)n;
	}
	if (t.have == 16 && gotrace_version(t.head) && gotrace_version(t.head) < 22)
		r = run_v1(&a, &t, err);
	else
		r = goraw_walk(read_tee, &t, &v, err);
	if (r >= 0 && a.nheld)
		r = flush_generation(&a, err);
	errno = 0;
	if (fflush(out) && !a.failed)
		a.failed = errno ? -errno : -EIO;
	if (r >= 0 && a.failed) {
		errno = -a.failed;
		r = err_set(err, a.failed, "cannot write the trace: %m");
	}
	forget(&a);
	intern_done(&a.packages);
	intern_done(&a.tokens);
	intern_done(&a.texts);
	intern_done(&a.files);
	map_done(&a.pcs);
	buf_done(&a.data);
	buf_done(&a.text);
	buf_done(&a.name);
	buf_done(&a.batch);
	buf_done(&a.entry);
	free(a.held);
	return r;
}
