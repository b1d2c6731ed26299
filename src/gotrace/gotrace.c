/* The public calls: opening, and what is the same for both families of formats. */
#include "gotrace/gotrace_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GENERATION_DEFAULT (1ull << 30)
#define GENERATION_MAX     (3ull << 30) /* offsets within one are 32 bits wide */
#define HEADER             16

static int read_header(struct gander_gotrace *t, uint8_t head[HEADER], struct err *err)
{
	unsigned n;
	int64_t r;

	for (n = 0; n < HEADER; n += (unsigned)r) {
		r = input_read(&t->in, head + n, HEADER - n, err);
		if (r < 0)
			return (int)r;
		if (!r)
			return err_set(err, -EPROTO, n ? "no Go execution trace: it ends after %u bytes, inside the header" : "no Go execution trace: the input is empty", n);
	}
	t->version = gotrace_version(head);
	if (!t->version)
		return err_set(err, -EPROTO, "no Go execution trace: it does not begin with \"go 1.NN trace\"");
	return 0;
}

static int start(struct gander_gotrace **ret, struct gander_gotrace *t, const struct gander_gotrace_opts *opts, struct gander_err *public_err)
{
	struct err *err = (struct err *)public_err;
	uint8_t head[HEADER];
	int r;

	if (opts) {
		t->flags = opts->flags;
		t->max_generation = opts->max_generation_bytes;
		if (opts->tmpdir) {
			t->tmpdir = strdup(opts->tmpdir);
			if (!t->tmpdir) {
				r = err_set(err, -ENOMEM, "out of memory");
				goto out;
			}
		}
	}
	if (!t->max_generation)
		t->max_generation = GENERATION_DEFAULT;
	if (t->max_generation > GENERATION_MAX)
		t->max_generation = GENERATION_MAX;
	if (tables_init(&t->tab) < 0) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	r = read_header(t, head, err);
	if (r < 0)
		goto out;
	switch (t->version) {
	case 11:
	case 19:
	case 21:
		r = v1_open(t, head, err);
		break;
	case 22:
	case 23:
	case 25:
	case 26:
		r = v2_open(t, err);
		break;
	default:
		r = err_set(err, -ENOTSUP, "unknown or unsupported trace version go 1.%u: versions 1.11, 1.19, 1.21, 1.22, 1.23, 1.25 and 1.26 are read",
			    t->version);
	}
	if (r < 0)
		goto out;
	*ret = t;
	t = NULL;
out:
	gander_gotrace_free(t);
	return r;
}

static struct gander_gotrace *new_reader(struct gander_err *err)
{
	struct gander_gotrace *t = calloc(1, sizeof(*t));

	if (!t)
		err_set((struct err *)err, -ENOMEM, "out of memory");
	else
		t->in.fd = -1;
	return t;
}

static void use_fd(struct gander_gotrace *t, int fd, bool own)
{
	struct stat st;

	t->in.fd = fd;
	t->in.own_fd = own;
	t->in.start = lseek(fd, 0, SEEK_CUR);
	if (t->in.start >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > t->in.start)
		t->in.size = (uint64_t)(st.st_size - t->in.start);
}

int gander_gotrace_open(struct gander_gotrace **ret, const char *path, const struct gander_gotrace_opts *opts, struct gander_err *err)
{
	struct gander_gotrace *t;
	int fd, r;

	if (!strcmp(path, "-"))
		return gander_gotrace_open_fd(ret, STDIN_FILENO, opts, err);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set((struct err *)err, -errno, "cannot open '%s': %m", path);
	t = new_reader(err);
	if (!t) {
		close(fd);
		return -ENOMEM;
	}
	use_fd(t, fd, true);
	r = start(ret, t, opts, err);
	if (r < 0)
		err_prefix((struct err *)err, "%s", path);
	return r;
}

int gander_gotrace_open_fd(struct gander_gotrace **ret, int fd, const struct gander_gotrace_opts *opts, struct gander_err *err)
{
	struct gander_gotrace *t = new_reader(err);

	if (!t)
		return -ENOMEM;
	use_fd(t, fd, false);
	return start(ret, t, opts, err);
}

int gander_gotrace_open_mem(struct gander_gotrace **ret, const void *data, size_t size, const struct gander_gotrace_opts *opts,
			    struct gander_err *err)
{
	struct gander_gotrace *t = new_reader(err);

	if (!t)
		return -ENOMEM;
	t->in.mem = data ? data : (const void *)"";
	t->in.mem_len = t->in.size = size;
	return start(ret, t, opts, err);
}

int gander_gotrace_open_read(struct gander_gotrace **ret, gander_gotrace_read_fn *read_fn, void *arg, const struct gander_gotrace_opts *opts,
			     struct gander_err *err)
{
	struct gander_gotrace *t = new_reader(err);

	if (!t)
		return -ENOMEM;
	t->in.read = read_fn;
	t->in.arg = arg;
	return start(ret, t, opts, err);
}

void gander_gotrace_free(struct gander_gotrace *t)
{
	if (!t)
		return;
	v1_free(t->v1);
	v2_free(t->v2);
	tables_done(&t->tab);
	input_done(&t->in);
	free(t->tmpdir);
	free(t);
}

/* Remembers how it ended: every later call says the same. */
static int ended(struct gander_gotrace *t, int r, struct gander_err *err)
{
	if (r < 0)
		t->failed = true;
	else
		t->done = true;
	if (t->failed && err) {
		err->code = t->error.code;
		memcpy(err->text, t->error.text, sizeof(err->text));
	}
	return t->failed ? t->error.code : 0;
}

int gander_gotrace_next(struct gander_gotrace *t, struct gander_gotrace_event *ev, struct gander_err *err)
{
	int r;

	if (unlikely(t->failed || t->done))
		return ended(t, t->failed ? -1 : 0, err);
	r = t->v2 ? v2_next(t, ev, &t->error) : v1_next(t, ev, &t->error);
	if (unlikely(r <= 0))
		return ended(t, r, err);
	t->events++;
	return 1;
}

int gander_gotrace_count(struct gander_gotrace *t, uint64_t counts[GANDER_GOTRACE_KINDS], struct gander_err *err)
{
	unsigned i;
	int r;

	memset(counts, 0, GANDER_GOTRACE_KINDS * sizeof(*counts));
	if (t->failed || t->done)
		return ended(t, t->failed ? -1 : 0, err);
	r = t->v2 ? v2_count(t, counts, &t->error) : v1_count(t, counts, &t->error);
	for (i = 0; i < GANDER_GOTRACE_KINDS; i++)
		t->events += counts[i];
	return ended(t, r, err);
}

const char *gander_gotrace_string(const struct gander_gotrace *t, uint32_t id)
{
	return id < t->tab.nstr ? t->tab.str[id].p : "";
}

uint32_t gander_gotrace_string_len(const struct gander_gotrace *t, uint32_t id)
{
	return id < t->tab.nstr ? t->tab.str[id].len : 0;
}

uint32_t gander_gotrace_strings(const struct gander_gotrace *t)
{
	return t->tab.nstr;
}

uint32_t gander_gotrace_find_string(const struct gander_gotrace *t, const char *text)
{
	return tables_find_str(&t->tab, text, strlen(text));
}

unsigned gander_gotrace_stack(const struct gander_gotrace *t, uint32_t id, const uint32_t **ret_frames)
{
	if (id >= t->tab.nstk)
		id = 0;
	*ret_frames = t->tab.stack_frames + t->tab.stk[id].first;
	return t->tab.stk[id].n;
}

uint32_t gander_gotrace_stacks(const struct gander_gotrace *t)
{
	return t->tab.nstk;
}

const struct gander_gotrace_frame *gander_gotrace_frame(const struct gander_gotrace *t, uint32_t frame)
{
	return &t->tab.frame[frame < t->tab.nframe ? frame : 0];
}

uint32_t gander_gotrace_frames(const struct gander_gotrace *t)
{
	return t->tab.nframe;
}

int gander_gotrace_exp_batch(const struct gander_gotrace *t, uint32_t i, struct gander_gotrace_exp_batch *ret)
{
	return t->v2 ? v2_exp_batch(t->v2, i, ret) : -ENOENT;
}

void gander_gotrace_info(const struct gander_gotrace *t, struct gander_gotrace_info *ret)
{
	*ret = (struct gander_gotrace_info) {
		.version = t->version,
		.generation = t->generation,
		.generations = t->generations,
		.events = t->events,
		.read_bytes = t->in.pos,
		.size_bytes = t->in.size,
	};
}
