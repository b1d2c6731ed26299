/* The writer: directory, metadata, streams. See ctf_write.h for what holds at every moment. */
#include "ctf/ctf_write.h"
#include "base/buf.h"
#include "ctf/ctf_model.h"
#include "region/desc.h"
#include "region/region.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "streams are written as the region has them");

#define STREAM_CLASSES 64u /* as many as there are context masks */
#define COPY_CHUNK     (256u << 10)
#define PROCNAME       16u

/* What stands before a packet's events. In memory and on disk; the last two only with packet_process,
 * of the kernel the first of them. */
struct packet_head {
	uint32_t magic;
	uint8_t uuid[16];
	uint32_t stream_class;
	uint64_t stream_id;
	uint64_t begin, end, content_bits, packet_bits, seq, discarded;
	uint32_t vpid; /* of the kernel: the CPU */
	char procname[PROCNAME];
} __attribute__((packed));

static_assert(offsetof(struct packet_head, begin) == 32, "packet header");
static_assert(offsetof(struct packet_head, vpid) == 80, "packet context");

/* Runs of packets, written past the page cache: docs/ctf.md. */
#define BLOCK     CTF_RUN_ALIGN
#define RUN_BYTES CTF_RUN_BYTES
#define SLOW_NS   30000000u   /* a run that takes so long means that the page cache is needed, */
#define PAUSE_NS  1000000000u /* for so long, the next time twice as long */

struct stream {
	int fd; /* -1: closed, or opened for each piece */
	uint32_t class, instance;
	uint32_t name; /* a number behind the file's name, 1: none */
	bool started, done;
	uint64_t size, last, seq, discarded; /* bytes; highest counter so far; next packet's number; count so far */
};

struct class
{
	uint32_t id, len;
	uint8_t *desc;
};

struct ctf_writer {
	char *dir;
	int dirfd, version, max_open;
	struct ctf_trace_class t; /* packet header, clock, environment; its arena holds no event classes */
	bool kernel, packet_process, clock_set, dirty;
	uint64_t direct_after_ns, direct_pause_ns; /* no runs before */
	uint32_t nstream_classes, mask[STREAM_CLASSES];
	struct class *class;
	uint32_t nclasses, class_cap;
	uint32_t *by_id;   /* class id -> index + 1; 32768 entries */
	struct buf events; /* text of stream and event classes, for all masks */
	struct stream *stream;
	int nstreams, stream_cap;
	uint64_t bytes;
	void *copy;
	size_t head_size;
	char procname[PROCNAME];
	uint32_t pid;
};

static int fail_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

static int add_env(struct ctf_writer *w, const char *name, const char *text, int64_t number)
{
	struct ctf_env *e = ctf_alloc(&w->t.arena, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->name = ctf_strndup(&w->t.arena, name, strlen(name));
	e->text = text ? ctf_strndup(&w->t.arena, text, strlen(text)) : NULL;
	e->number = number;
	if (w->t.arena.failed)
		return -ENOMEM;
	*w->t.last_env = e;
	w->t.last_env = &e->next;
	w->dirty = true;
	return 0;
}

static int is_zero(const uint8_t *p, size_t n)
{
	for (; n; n--)
		if (*p++)
			return 0;
	return 1;
}

/* "xxxxxxxx-xxxx-..." of the kernel to 16 bytes. */
static void read_boot_id(uint8_t out[16])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC), n = 0, i, digit;
	char text[64];
	ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	memset(out, 0, 16);
	for (i = 0; i < len && n < 32; i++) {
		if (text[i] >= '0' && text[i] <= '9')
			digit = text[i] - '0';
		else if (text[i] >= 'a' && text[i] <= 'f')
			digit = text[i] - 'a' + 10;
		else
			continue;
		out[n / 2] |= (uint8_t)(n % 2 ? digit : digit << 4);
		n++;
	}
	if (n < 32 && getrandom(out, 16, 0) != 16)
		memset(out, 1, 16);
}

static int make_env(struct ctf_writer *w, const struct ctf_writer_opts *o)
{
	char host[256] = "localhost";
	struct utsname u;
	int r;

	if (!o->hostname && gethostname(host, sizeof(host) - 1) < 0)
		snprintf(host, sizeof(host), "localhost");
	r = add_env(w, "hostname", o->hostname ? o->hostname : host, 0);
	if (!r)
		r = add_env(w, "domain", w->kernel ? "kernel" : "ust", 0);
	if (!r && w->kernel && uname(&u) == 0) {
		r = add_env(w, "sysname", u.sysname, 0);
		if (!r)
			r = add_env(w, "kernel_release", u.release, 0);
		if (!r)
			r = add_env(w, "kernel_version", u.version, 0);
	}
	if (!r)
		r = add_env(w, "tracer_name", "gander", 0);
	if (!r)
		r = add_env(w, "tracer_major", NULL, 0);
	if (!r)
		r = add_env(w, "tracer_minor", NULL, 1);
	if (!r)
		r = add_env(w, "tracer_version", GANDER_VERSION, 0);
	if (!r && !w->kernel)
		r = add_env(w, "vpid", NULL, o->pid);
	if (!r && o->procname)
		r = add_env(w, "procname", o->procname, 0);
	if (!r && o->exe)
		r = add_env(w, "exe", o->exe, 0);
	if (!r && o->agent)
		r = add_env(w, "agent", o->agent, 0);
	if (!r && o->start_ns)
		r = add_env(w, "start_ns", NULL, (int64_t)o->start_ns);
	return r;
}

int ctf_writer_open(struct ctf_writer **ret, const struct ctf_writer_opts *o, struct err *err)
{
	struct ctf_writer *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		return fail_memory(err);
	w->dirfd = -1;
	ctf_arena_init(&w->t.arena, 1 << 20);
	w->t.last_env = &w->t.env;
	w->version = o->version == 2 ? 2 : 1;
	w->kernel = o->kernel;
	w->max_open = o->max_open;
	w->packet_process = o->packet_process && !o->kernel;
	w->pid = o->pid;
	if (o->procname)
		memcpy(w->procname, o->procname, strnlen(o->procname, PROCNAME));
	w->head_size = w->packet_process ? sizeof(struct packet_head) : w->kernel ? offsetof(struct packet_head, procname)
										  : offsetof(struct packet_head, vpid);
	w->dir = strdup(o->dir);
	w->by_id = calloc(GD_EVENT_ID_MASK + 1, sizeof(*w->by_id));
	w->t.clock = ctf_alloc(&w->t.arena, sizeof(*w->t.clock));
	w->t.packet_header = ctf_model_packet_header(&w->t.arena);
	if (!w->dir || !w->by_id || !w->t.clock || !w->t.packet_header || make_env(w, o) < 0) {
		fail_memory(err);
		goto out;
	}
	w->t.has_uuid = true;
	memcpy(w->t.uuid, o->uuid, 16);
	if (is_zero(w->t.uuid, 16)) {
		if (getrandom(w->t.uuid, 16, 0) != 16) {
			r = err_set(err, -EIO, "cannot get random bytes for the trace's uuid");
			goto out;
		}
		w->t.uuid[6] = (uint8_t)((w->t.uuid[6] & 0x0f) | 0x40);
		w->t.uuid[8] = (uint8_t)((w->t.uuid[8] & 0x3f) | 0x80);
	}
	w->t.clock->name = "monotonic";
	w->t.clock->description = o->kernel ? "CLOCK_MONOTONIC" : "counter of the traced program";
	w->t.clock->has_uuid = true;
	w->t.clock->absolute = true; /* babeltrace2 takes LTTng's clocks to be so, and mixes no others with them */
	memcpy(w->t.clock->uuid, o->boot_id, 16);
	if (is_zero(o->boot_id, 16))
		read_boot_id(w->t.clock->uuid);
	if (mkdir(o->dir, 0700) < 0 && errno != EEXIST) {
		r = err_set(err, -errno, "cannot make the directory '%s': %m", o->dir);
		goto out;
	}
	w->dirfd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dirfd < 0) {
		r = err_set(err, -errno, "cannot open the directory '%s': %m", o->dir);
		goto out;
	}
	if (!faccessat(w->dirfd, "metadata", F_OK, 0)) {
		r = err_set(err, -EEXIST, "'%s' holds a trace already (give another directory, or remove it)", o->dir);
		goto out;
	}
	w->dirty = true;
	*ret = w;
	w = NULL;
	r = 0;
out:
	ctf_writer_free(w);
	return r;
}

void ctf_writer_free(struct ctf_writer *w)
{
	uint32_t i;
	int n;

	if (!w)
		return;
	for (n = 0; n < w->nstreams; n++)
		if (!w->stream[n].done)
			ctf_stream_close(w, n, w->stream[n].last, w->stream[n].discarded, NULL);
	if (w->dirfd >= 0) {
		if (w->clock_set)
			ctf_writer_sync(w, NULL);
		close(w->dirfd);
	}
	for (i = 0; i < w->nclasses; i++)
		free(w->class[i].desc);
	free(w->class);
	free(w->by_id);
	free(w->stream);
	free(w->dir);
	free(w->copy);
	buf_done(&w->events);
	ctf_arena_done(&w->t.arena);
	free(w);
}

int ctf_writer_env(struct ctf_writer *w, const char *name, const char *value, struct err *err)
{
	return add_env(w, name, value, 0) < 0 ? fail_memory(err) : 0;
}

int ctf_writer_clock(struct ctf_writer *w, uint64_t freq_hz, uint64_t counter, uint64_t epoch_ns, struct err *err)
{
	struct ctf_clock *c = w->t.clock;
	__int128 at, ticks;

	if (!freq_hz || freq_hz > 1000000000000ull)
		return err_set(err, -EINVAL, "a clock of %llu Hz cannot be", (unsigned long long)freq_hz);
	/* in ticks since 1970, so that nothing is rounded but once */
	at = ((__int128)epoch_ns * freq_hz + 500000000) / 1000000000;
	ticks = at - counter;
	c->freq = freq_hz;
	c->offset_s = (int64_t)(ticks / (__int128)freq_hz);
	ticks -= (__int128)c->offset_s * freq_hz;
	if (ticks < 0) {
		c->offset_s--;
		ticks += freq_hz;
	}
	c->offset = (uint64_t)ticks;
	w->clock_set = true;
	w->dirty = true;
	return 0;
}

/* The text of one event class in one stream class. */
static int put_event(struct ctf_writer *w, const struct class *c, uint32_t stream_class, struct err *err)
{
	struct ctf_event_class ec = { .id = c->id };
	struct ctf_arena a;
	int r = 0;

	ctf_arena_init(&a, 64 << 20);
	ec.payload = ctf_model_payload(&a, c->desc, c->len, &ec);
	if (!ec.payload)
		r = fail_memory(err);
	else if (w->version == 2)
		ctf_json_event(&w->events, &ec, stream_class);
	else
		ctf_tsdl_event(&w->events, &ec, stream_class);
	ctf_arena_done(&a);
	return r;
}

static int put_stream_class(struct ctf_writer *w, uint32_t class, struct err *err)
{
	struct ctf_stream_class sc = { .id = class, .clock = w->t.clock, .cut_bit = true };
	struct ctf_arena a;
	int r = 0;

	ctf_arena_init(&a, 1 << 20);
	sc.packet_context = ctf_model_packet_context(&a, w->packet_process, w->kernel);
	sc.event_header = ctf_model_event_header(&a);
	if (w->kernel)
		sc.common_context = ctf_model_kernel_context(&a);
	else if (w->mask[class])
		sc.common_context = ctf_model_context(&a, w->mask[class]);
	if (a.failed)
		r = fail_memory(err);
	else if (w->version == 2)
		ctf_json_stream(&w->events, &sc);
	else
		ctf_tsdl_stream(&w->events, &sc);
	ctf_arena_done(&a);
	return r;
}

/* Takes back what a failure left in the text. */
static int keep_text(struct ctf_writer *w, size_t len, int r, struct err *err)
{
	if (!r && buf_failed(&w->events))
		r = fail_memory(err);
	if (r) {
		w->events.failed = false;
		w->events.len = len;
		return r;
	}
	w->dirty = true;
	return 0;
}

int ctf_writer_class(struct ctf_writer *w, uint32_t id, const void *desc, size_t len, struct err *err)
{
	size_t keep = w->events.len;
	struct class *c;
	struct gd_desc d;
	uint32_t i;
	void *more;
	int r = 0;

	if (id > GD_EVENT_ID_MASK || gd_desc_parse(&d, desc, len) < 0)
		return err_set(err, -EINVAL, "event class %u has a broken description", id);
	if (w->by_id[id]) {
		c = &w->class[w->by_id[id] - 1];
		if (c->len == len && !memcmp(c->desc, desc, len))
			return 0;
		return err_set(err, -EEXIST, "event class %u has been declared twice, differently", id);
	}
	if (w->nclasses == w->class_cap) {
		more = realloc(w->class, (w->class_cap + 64) * sizeof(*c));
		if (!more)
			return fail_memory(err);
		w->class = more;
		w->class_cap += 64;
	}
	c = &w->class[w->nclasses];
	c->id = id;
	c->len = (uint32_t)len;
	c->desc = malloc(len);
	if (!c->desc)
		return fail_memory(err);
	memcpy(c->desc, desc, len);
	for (i = 0; i < w->nstream_classes && !r; i++)
		r = put_event(w, c, i, err);
	r = keep_text(w, keep, r, err);
	if (r) {
		free(c->desc);
		return r;
	}
	w->by_id[id] = ++w->nclasses;
	return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len) {
		n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int ctf_writer_sync(struct ctf_writer *w, struct err *err)
{
	static const char name[] = ".metadata.new";
	struct buf head = BUF_INIT;
	int fd = -1, r;

	if (!w->dirty)
		return 0;
	if (!w->clock_set)
		return err_set(err, -EINVAL, "the trace's clock is not known yet");
	if (w->version == 2)
		ctf_json_trace(&head, &w->t);
	else
		ctf_tsdl_trace(&head, &w->t);
	if (buf_failed(&head)) {
		r = fail_memory(err);
		goto out;
	}
	fd = openat(w->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = fd < 0 ? -errno : write_all(fd, head.data, head.len);
	if (!r)
		r = write_all(fd, w->events.data, w->events.len);
	if (fd >= 0 && close(fd) < 0 && !r)
		r = -errno;
	if (!r && renameat(w->dirfd, name, w->dirfd, "metadata") < 0)
		r = -errno;
	if (r) {
		unlinkat(w->dirfd, name, 0);
		errno = -r;
		r = err_set(err, r, "cannot write the metadata of '%s': %m", w->dir);
		goto out;
	}
	w->dirty = false;
out:
	buf_done(&head);
	return r;
}

static int stream_class(struct ctf_writer *w, uint32_t mask, struct err *err)
{
	size_t keep = w->events.len;
	uint32_t i;
	int r;

	mask &= GD_CTX_ALL;
	for (i = 0; i < w->nstream_classes; i++)
		if (w->mask[i] == mask)
			return (int)i;
	w->mask[w->nstream_classes] = mask;
	r = put_stream_class(w, w->nstream_classes, err);
	for (i = 0; i < w->nclasses && !r; i++)
		r = put_event(w, &w->class[i], w -> nstream_classes, err);
	r = keep_text(w, keep, r, err);
	return r ? r : (int)w->nstream_classes++;
}

static int stream_file(struct ctf_writer *w, const struct stream *s, char *name, size_t cap, int flags)
{
	if (s->name == 1)
		snprintf(name, cap, "%s-%u", w->kernel ? "cpu" : "slot", s->instance);
	else
		snprintf(name, cap, "%s-%u-%u", w->kernel ? "cpu" : "slot", s->instance, s->name);
	return openat(w->dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

/* Whoever writes as if it had a thousand slots must not use up the descriptors: streams beyond max_open have none between two pieces. */
static int stream_take(struct ctf_writer *w, struct stream *s, struct err *err)
{
	char name[48];

	if (s->fd >= 0)
		return 0;
	s->fd = stream_file(w, s, name, sizeof(name), 0);
	return s->fd < 0 ? err_set(err, -errno, "cannot open the stream '%s/%s': %m", w->dir, name) : 0;
}

static int stream_put(struct ctf_writer *w, struct stream *s)
{
	int r = 0;

	if (w->max_open && s - w->stream >= w->max_open) {
		r = close(s->fd) < 0 ? -errno : 0;
		s->fd = -1;
	}
	return r;
}

int ctf_stream_open(struct ctf_writer *w, uint32_t context, uint32_t instance, uint64_t begin, struct err *err)
{
	struct stream *s;
	char name[48];
	int class, r;
	void *more;

	if (!w->clock_set)
		return err_set(err, -EINVAL, "the trace's clock is not known yet");
	class = stream_class(w, context, err);
	if (class < 0)
		return class;
	if (w->nstreams == w->stream_cap) {
		more = realloc(w->stream, (size_t)(w->stream_cap + 64) * sizeof(*s));
		if (!more)
			return fail_memory(err);
		w->stream = more;
		w->stream_cap += 64;
	}
	s = &w->stream[w->nstreams];
	memset(s, 0, sizeof(*s));
	s->class = (uint32_t) class;
	s->instance = instance;
	for (s->name = 1;; s->name++) {
		s->fd = stream_file(w, s, name, sizeof(name), O_CREAT | O_EXCL);
		if (s->fd >= 0)
			break;
		if (errno != EEXIST)
			return err_set(err, -errno, "cannot make the stream '%s/%s': %m", w->dir, name);
	}
	s->last = begin;
	r = ctf_writer_sync(w, err);
	if (r < 0) {
		close(s->fd);
		unlinkat(w->dirfd, name, 0);
		return r;
	}
	return w->nstreams++;
}

/* From a file, in bounded pieces. */
static int copy_from(struct ctf_writer *w, int to, uint64_t at, int from, uint64_t offset, size_t len)
{
	size_t part;
	ssize_t n, m;

	if (!w->copy) {
		w->copy = malloc(COPY_CHUNK);
		if (!w->copy)
			return -ENOMEM;
	}
	while (len) {
		part = len < COPY_CHUNK ? len : COPY_CHUNK;
		n = pread(from, w->copy, part, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		m = pwrite(to, w->copy, (size_t)n, (off_t)at);
		if (m < 0 && errno == EINTR)
			continue;
		if (m <= 0)
			return m < 0 ? -errno : -ENOSPC;
		at += (uint64_t)m;
		offset += (uint64_t)m;
		len -= (size_t)m;
	}
	return 0;
}

static int write_parts(int fd, uint64_t at, struct iovec *iov, int n)
{
	ssize_t done;

	while (n) {
		done = pwritev(fd, iov, n, (off_t)at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -ENOSPC;
		at += (uint64_t)done;
		while (n && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* The head of the stream's next packet; `pad` bytes that are no events follow the piece. */
static void make_head(const struct ctf_writer *w, const struct stream *s, const struct ctf_piece *p, size_t pad, struct packet_head *h)
{
	memset(h, 0, sizeof(*h));
	h->magic = CTF_MAGIC;
	memcpy(h->uuid, w->t.uuid, 16);
	h->stream_class = s->class;
	h->stream_id = s->instance;
	h->begin = p->begin > s->last ? p->begin : s->last;
	h->end = p->end > h->begin ? p->end : h->begin;
	h->content_bits = (w->head_size + p->len) * 8;
	h->packet_bits = h->content_bits + pad * 8;
	h->seq = s->seq;
	h->discarded = p->discarded > s->discarded ? p->discarded : s->discarded;
	h->vpid = w->kernel ? s->instance : w->pid;
	memcpy(h->procname, w->procname, PROCNAME);
}

static void appended(struct ctf_writer *w, struct stream *s, const struct packet_head *h)
{
	s->size += h->packet_bits / 8;
	w->bytes += h->packet_bits / 8;
	s->last = h->end;
	s->seq++;
	s->discarded = h->discarded;
}

/* Whole packets only; where even this fails, readers stop at the last whole one. */
static int take_back(const struct stream *s, int r)
{
	return ftruncate(s->fd, (off_t)s->size) < 0 && r != -ENOSPC ? -errno : r;
}

static const char zeros[BLOCK];

static int cannot_append(struct ctf_writer *w, const struct stream *s, int r, struct err *err)
{
	r = take_back(s, r);
	errno = -r;
	return err_set(err, r, "cannot write to the stream '%s-%u' of '%s': %m", w->kernel ? "cpu" : "slot", s->instance, w->dir);
}

static int append(struct ctf_writer *w, struct stream *s, const struct ctf_piece *p, size_t pad, struct err *err)
{
	struct packet_head h;
	struct iovec iov[3] = { { &h, w->head_size } };
	int r, n = 1;

	make_head(w, s, p, pad, &h);
	if (p->data && p->len)
		iov[n++] = (struct iovec) { (void *)p->data, p->len };
	if (pad && (p->data || !p->len))
		iov[n++] = (struct iovec) { (void *)zeros, pad };
	r = write_parts(s->fd, s->size, iov, n);
	if (!r && !p->data && p->len)
		r = copy_from(w, s->fd, s->size + w->head_size, p->fd, p->offset, p->len);
	if (!r && pad && !p->data && p->len) {
		iov[0] = (struct iovec) { (void *)zeros, pad };
		r = write_parts(s->fd, s->size + w->head_size + p->len, iov, 1);
	}
	if (r)
		return cannot_append(w, s, r, err);
	appended(w, s, &h);
	return 0;
}

/* The empty packet at the start, not before it is known when the first event was. */
static int start(struct ctf_writer *w, struct stream *s, uint64_t at, struct err *err)
{
	struct ctf_piece empty = { 0 };
	int r;

	if (s->started)
		return 0;
	if (at < s->last)
		s->last = at;
	empty.begin = empty.end = s->last;
	r = append(w, s, &empty, 0, err);
	if (!r)
		s->started = true;
	return r;
}

/* The stream, ready for packets that begin at `at`. What it took is given back by ended(), also where this fails. */
static int begun(struct ctf_writer *w, int stream, uint64_t at, struct stream **ret, struct err *err)
{
	struct stream *s;
	int r;

	*ret = NULL;
	if (stream < 0 || stream >= w->nstreams || w->stream[stream].done)
		return err_set(err, -EBADF, "stream %d of '%s' is not open", stream, w->dir);
	s = &w->stream[stream];
	r = ctf_writer_sync(w, err);
	if (!r)
		r = stream_take(w, s, err);
	if (r)
		return r;
	*ret = s;
	return start(w, s, at, err);
}

static int ended(struct ctf_writer *w, struct stream *s, int r, struct err *err)
{
	if (s && stream_put(w, s) < 0 && !r)
		r = err_set(err, -errno, "cannot write to a stream of '%s': %m", w->dir);
	return r;
}

int ctf_stream_append(struct ctf_writer *w, int stream, const struct ctf_piece *piece, struct err *err)
{
	struct stream *s;
	int r = begun(w, stream, piece->begin, &s, err);

	if (!r)
		r = append(w, s, piece, 0, err);
	return ended(w, s, r, err);
}

int ctf_stream_append_all(struct ctf_writer *w, int stream, const struct ctf_piece *piece, unsigned n, struct err *err)
{
	struct packet_head h[CTF_PIECES_MAX];
	struct iovec iov[3 * CTF_PIECES_MAX];
	struct stream *s, before;
	int r, parts = 0;
	uint64_t bytes;
	unsigned i;

	if (n > CTF_PIECES_MAX)
		return err_set(err, -EINVAL, "%u packets at once", n);
	if (n <= 1)
		return n ? ctf_stream_append(w, stream, piece, err) : 0;
	r = begun(w, stream, piece->begin, &s, err);
	if (!r) {
		before = *s;
		bytes = w->bytes;
		for (i = 0; i < n; i++) {
			size_t pad = (BLOCK - (s->size + w->head_size + piece[i].len) % BLOCK) % BLOCK;

			make_head(w, s, &piece[i], pad, &h[i]);
			iov[parts++] = (struct iovec) { &h[i], w->head_size };
			iov[parts++] = (struct iovec) { (void *)piece[i].data, piece[i].len };
			if (pad)
				iov[parts++] = (struct iovec) { (void *)zeros, pad };
			appended(w, s, &h[i]);
		}
		r = write_parts(s->fd, before.size, iov, parts);
		if (r) {
			*s = before;
			w->bytes = bytes;
			r = cannot_append(w, s, r, err);
		}
	}
	return ended(w, s, r, err);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Past the page cache. */
static int write_direct(struct ctf_writer *w, int fd, uint64_t at, const void *data, size_t len)
{
	uint64_t start = now_ns(), took;
	int flags = fcntl(fd, F_GETFL);
	ssize_t n = -1;

	if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0) {
		n = pwrite(fd, data, len, (off_t)at);
		fcntl(fd, F_SETFL, flags);
	}
	took = now_ns() - start;
	if (n != (ssize_t)len) {
		w->direct_after_ns = UINT64_MAX;
		return -EIO;
	}
	if (took > SLOW_NS) {
		w->direct_pause_ns = w->direct_pause_ns ? 2 * w->direct_pause_ns : PAUSE_NS;
		w->direct_after_ns = start + took + w->direct_pause_ns;
	}
	return 0;
}

int ctf_stream_append_run(struct ctf_writer *w, int stream, const struct ctf_piece *piece, unsigned n, void *room)
{
	struct stream *s, before;
	uint64_t bytes;
	struct packet_head h;
	size_t at = 0, pad;
	unsigned i, first = 0;

	if (stream < 0 || stream >= w->nstreams || w->stream[stream].fd < 0 || n < 2 || now_ns() < w->direct_after_ns)
		return 0;
	s = &w->stream[stream];
	if (ctf_writer_sync(w, NULL) < 0 || start(w, s, piece->begin, NULL) < 0)
		return 0;
	if (s->size % BLOCK) {
		pad = BLOCK - (s->size + w->head_size + piece->len) % BLOCK;
		if (append(w, s, piece, pad % BLOCK, NULL) < 0)
			return 0;
		first = 1;
	}
	before = *s;
	bytes = w->bytes;
	for (i = first; i < n && at + w->head_size + piece[i].len <= RUN_BYTES - BLOCK; i++) {
		pad = 0;
		if (i + 1 == n || at + 2 * w->head_size + piece[i].len + piece[i + 1].len > RUN_BYTES - BLOCK)
			pad = (BLOCK - (at + w->head_size + piece[i].len) % BLOCK) % BLOCK;
		make_head(w, s, &piece[i], pad, &h);
		memcpy((char *)room + at, &h, w->head_size);
		at += w->head_size;
		if (pread(piece[i].fd, (char *)room + at, piece[i].len, (off_t)piece[i].offset) != (ssize_t)piece[i].len)
			break;
		at += piece[i].len;
		memset((char *)room + at, 0, pad);
		at += pad;
		appended(w, s, &h);
	}
	if (at && at % BLOCK == 0 && write_direct(w, s->fd, before.size, room, at) == 0)
		return (int)i;
	*s = before;
	w->bytes = bytes;
	take_back(s, 0);
	return (int)first;
}

void ctf_stream_mark(const struct ctf_writer *w, int stream, struct ctf_mark *m)
{
	const struct stream *s = &w->stream[stream];

	*m = (struct ctf_mark) { stream, s->started, s->size, s->last, s->seq, s->discarded, w->bytes };
}

int ctf_stream_rewind(struct ctf_writer *w, const struct ctf_mark *m, struct err *err)
{
	struct stream *s = &w->stream[m->stream];
	int r = stream_take(w, s, err);

	if (r)
		return r;
	s->started = m->started;
	s->size = m->size;
	s->last = m->last;
	s->seq = m->seq;
	s->discarded = m->discarded;
	w->bytes = m->bytes;
	/* An empty packet stays where nothing does: ext4 takes a file that was made empty for one that is being replaced, and its close() waits for the disk. */
	if (ftruncate(s->fd, (off_t)(s->size ? s->size : w->head_size)) < 0)
		r = err_set(err, -errno, "cannot write to a stream of '%s': %m", w->dir);
	return ended(w, s, r, err);
}

int ctf_stream_close(struct ctf_writer *w, int stream, uint64_t end, uint64_t discarded, struct err *err)
{
	struct ctf_piece last = { .begin = end, .end = end, .discarded = discarded };
	struct stream *s;
	int r;

	if (stream < 0 || stream >= w->nstreams || w->stream[stream].done)
		return err_set(err, -EBADF, "stream %d of '%s' is not open", stream, w->dir);
	s = &w->stream[stream];
	s->done = true;
	r = stream_take(w, s, err);
	if (r)
		return r;
	r = start(w, s, s->last, err);
	if (!r)
		r = append(w, s, &last, 0, err);
	if (close(s->fd) < 0 && !r)
		r = err_set(err, -errno, "cannot close the stream '%s-%u' of '%s': %m", w->kernel ? "cpu" : "slot", s->instance, w->dir);
	s->fd = -1;
	return r;
}

uint64_t ctf_writer_bytes(const struct ctf_writer *w)
{
	return w->bytes;
}

const char *ctf_writer_dir(const struct ctf_writer *w)
{
	return w->dir;
}
