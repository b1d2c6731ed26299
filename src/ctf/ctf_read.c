/* The reader: traces, their streams, the merge.
 *
 * A stream stands before one event whose header has been read, whose end is known and that lies in the stream's window whole. The streams
 * that have one form a heap by time; the event that next() hands out is the topmost stream's, and that stream moves on at the
 * next call. Descriptors are open only while a window is filled. */
#include "ctf/ctf_read.h"
#include "base/map.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SLACK           32u /* the decoder may read so far behind the end */
#define NOTES_MAX       100u
#define DIR_DEPTH       8
#define PACKET_HEAD_MAX (1u << 20) /* bytes of a packet's header and context */
#define FOLLOW_HOLD_NS  300000000

struct trace {
	struct gander_ctf_trace pub;
	char *path;
	struct ctf_trace_class *tc;
	struct ctf_trace_layout layout;
	struct stat meta;
	/* time = ticks * mult >> shift, + offset */
	uint64_t mult;
	unsigned shift;
	int64_t offset_ns;
	bool failed_reload;
};

enum state { WANT_PACKET,
	     WANT_EVENT,
	     HAVE_EVENT,
	     HAVE_LOSS,
	     WAITING /* followed: for more bytes */,
	     ENDED };

struct stream {
	char *path;
	struct trace *t;
	uint32_t number;
	enum state state;
	/* window: bytes [win_off, win_off + win_len) of the file */
	uint8_t *win;
	uint64_t win_off, file_size;
	size_t win_len, win_cap;
	/* packet */
	uint64_t packet_off; /* in the file */
	uint64_t total_bits, content_bits;
	uint64_t id, seq, discarded, last_end;
	bool has_seq, has_discarded, has_end, in_packet;
	struct ctf_stream_class *sc;
	uint64_t clock;
	uint8_t *head; /* packet header and context, kept for their values */
	size_t head_bits, head_cap;
	uint64_t context_pos;
	/* event, or loss */
	struct ctf_event_class *ec;
	uint64_t event_pos, body_pos, end_pos;
	bool cut;
	int64_t time_ns;
	uint64_t loss, loss_packets;
	int64_t loss_begin, loss_end;
	uint64_t *regs;
	uint32_t nregs;
	/* the text of the last context that was written; of this packet: its class does not change in it */
	uint32_t context_len, context_bits;
	uint64_t context_bytes[2];
	char context_text[64];
};

struct class
{
	struct gander_ctf_class pub;
	char *name;
	char *prefix;
	uint32_t prefix_len;
};

struct gander_ctf {
	struct trace **trace;
	struct stream **stream;
	struct class **class;
	uint32_t ntraces, nstreams, nclasses, trace_cap, stream_cap, class_cap;
	struct intern class_keys, stream_keys, trace_keys;
	uint32_t *heap, nheap;
	struct stream *current; /* handed out; moves on at the next call */
	char **note;
	uint32_t nnotes;
	uint64_t lost;
	char **path;
	unsigned npaths;
	struct gander_ctf_opts opts;
	bool polled; /* followed: nothing was left at the last call */
	struct ctf_values values;
	bool have_values;
	int values_err;
	/* text */
	int64_t sec;
	char sec_text[16];
	struct ctf_out key;
};

static struct err *private_err(struct gander_err *err)
{
	return (struct err *)err;
}

static bool follows(const struct gander_ctf *r)
{
	return r->opts.flags & GANDER_CTF_FOLLOW;
}

static void add_note(struct gander_ctf *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_note(struct gander_ctf *r, const char *fmt, ...)
{
	char text[512], **more;
	va_list ap;

	if (r->nnotes >= NOTES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->nnotes == NOTES_MAX - 1)
		snprintf(text, sizeof(text), "there is more that was missing or broken");
	more = realloc(r->note, (r->nnotes + 1) * sizeof(*more));
	if (!more)
		return;
	r->note = more;
	r->note[r->nnotes] = strdup(text);
	if (r->note[r->nnotes])
		r->nnotes++;
}

static void *grow(void *list, uint32_t n, uint32_t *cap, size_t size)
{
	void *more;

	if (n < *cap)
		return list;
	more = realloc(list, (*cap * 2 + 16) * size);
	if (more)
		*cap = *cap * 2 + 16;
	return more;
}

/* --- traces --- */

static int read_file(const char *path, void **ret, size_t *ret_len, struct stat *st, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	uint8_t *data = NULL;
	size_t len = 0;
	ssize_t n;

	if (fd < 0 || fstat(fd, st) < 0) {
		r = err_set(err, -errno, "cannot open '%s': %m", path);
		goto out;
	}
	if (!S_ISREG(st->st_mode) || st->st_size > (off_t)CTF_META_MAX) {
		r = err_set(err, -EFBIG, "'%s' is no file of at most %u MiB", path, CTF_META_MAX >> 20);
		goto out;
	}
	data = malloc((size_t)st->st_size + 1);
	if (!data) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	while (len < (size_t)st->st_size) {
		n = read(fd, data + len, (size_t)st->st_size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = err_set(err, -errno, "cannot read '%s': %m", path);
			goto out;
		}
		if (!n)
			break;
		len += (size_t)n;
	}
	*ret = data;
	*ret_len = len;
	data = NULL;
out:
	free(data);
	if (fd >= 0)
		close(fd);
	return r;
}

static void set_clock(struct trace *t)
{
	const struct ctf_clock *c = t->tc->clock;
	unsigned __int128 mult;

	if (!c) {
		t->mult = 1ull << 63;
		t->shift = 63;
		t->offset_ns = 0;
		return;
	}
	/* the largest multiplier that fits: less than 1 ns off over all 64 bits of ticks, and for 1 GHz exact */
	for (t->shift = 94;; t->shift--) {
		mult = (((unsigned __int128)1000000000 << t->shift) + c->freq / 2) / c->freq;
		if (!(mult >> 64))
			break;
	}
	t->mult = (uint64_t)mult;
	t->offset_ns = (int64_t)((uint64_t)c->offset_s * 1000000000u +
				 (uint64_t)(((unsigned __int128)c->offset * 1000000000u) / c->freq));
}

static inline int64_t to_ns(const struct trace *t, uint64_t ticks)
{
	return (int64_t)((uint64_t)(((unsigned __int128)ticks * t->mult) >> t->shift) + (uint64_t)t->offset_ns);
}

static const char *env(const struct ctf_trace_class *tc, const char *name, int64_t *number)
{
	const struct ctf_env *e;

	for (e = tc->env; e; e = e->next)
		if (!strcmp(e->name, name)) {
			if (number && !e->text)
				*number = e->number;
			return e->text ? e->text : "";
		}
	return "";
}

/* The public class of an event class: the one of the same trace, id and name, or a new one. */
static struct class *public_class(struct gander_ctf *r, struct trace *t, const struct ctf_event_class *e)
{
	struct ctf_out *key = &r->key;
	struct class *c, **more;
	bool added;
	int64_t i;

	key->at = key->base;
	if (ctf_out_more(key, 64) < 0)
		return NULL;
	key->at = ctf_put_u64(key->at, t->pub.number);
	*key->at++ = '/';
	key->at = ctf_put_u64(key->at, e->id);
	*key->at++ = '/';
	ctf_put_raw(key, e->name, strlen(e->name));
	if (key->failed)
		return NULL;
	i = intern_bytes(&r->class_keys, key->base, (size_t)(key->at - key->base), &added);
	if (i < 0)
		return NULL;
	if ((uint32_t)i < r->nclasses)
		return r->class[i];
	more = grow(r->class, r->nclasses, &r->class_cap, sizeof(*more));
	if (!more)
		return NULL;
	r->class = more;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->name = strdup(e->name);
	key->at = key->base;
	ctf_put_raw(key, " ", 1);
	if (*t->pub.procname) {
		ctf_put_name(key, t->pub.procname);
		if (t->pub.pid >= 0) {
			ctf_put_raw(key, ":", 1);
			if (!ctf_out_more(key, 32))
				key->at = ctf_put_i64(key->at, t->pub.pid);
		}
		ctf_put_raw(key, " ", 1);
	}
	ctf_put_name(key, e->name);
	c->prefix_len = (uint32_t)(key->at - key->base);
	c->prefix = malloc(c->prefix_len + 64u);
	if (!c->name || !c->prefix || key->failed) {
		free(c->name);
		free(c->prefix);
		free(c);
		return NULL;
	}
	memcpy(c->prefix, key->base, c->prefix_len);
	c->pub.name = c->name;
	c->pub.trace = &t->pub;
	c->pub.id = e->id;
	c->pub.level = e->level < 0 ? -1 : e->level > 7 ? 7
							: e->level;
	c->pub.span = e->span;
	c->pub.number = r->nclasses;
	r->class[r->nclasses++] = c;
	return c;
}

/* Parses the metadata and puts it into the trace; on failure the trace is as it was. */
static int load_metadata(struct gander_ctf *r, struct trace *t, struct err *err)
{
	struct ctf_trace_class *tc = NULL;
	struct ctf_trace_layout layout;
	struct ctf_event_layout *l;
	struct ctf_stream_class *s;
	struct ctf_event_class *e;
	char path[PATH_MAX];
	void *data = NULL;
	struct class *c;
	struct stat st;
	size_t len = 0;
	int ret;

	if (snprintf(path, sizeof(path), "%s/metadata", t->path) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "the path of a trace is too long");
	ret = read_file(path, &data, &len, &st, err);
	if (ret)
		return ret;
	ret = ctf_meta_parse(&tc, data, len, err);
	free(data);
	if (!ret)
		ret = ctf_layout_trace(tc, &layout, err);
	if (ret) {
		ctf_trace_class_free(tc);
		return err ? err_prefix(err, "%s", t->path) : ret;
	}
	if (!t->tc) {
		t->pub.pid = -1;
		env(tc, "vpid", &t->pub.pid);
		/* these outlive the model: a later one says the same */
		t->pub.procname = strdup(env(tc, "procname", NULL));
		t->pub.hostname = strdup(env(tc, "hostname", NULL));
		t->pub.exe = strdup(env(tc, "exe", NULL));
		t->pub.tracer = strdup(env(tc, "tracer_name", NULL));
	}
	for (s = tc->stream; s; s = s->next)
		for (e = s->event; e; e = e->next) {
			c = t->pub.procname ? public_class(r, t, e) : NULL;
			if (!c || !t->pub.hostname || !t->pub.exe || !t->pub.tracer) {
				ctf_trace_class_free(tc);
				return err_set(err, -ENOMEM, "out of memory");
			}
			l = e->layout;
			l->pub = &c->pub;
			l->prefix = c->prefix;
			l->prefix_len = c->prefix_len;
		}
	ctf_trace_class_free(t->tc);
	t->tc = tc;
	t->layout = layout;
	t->meta = st;
	set_clock(t);
	return 0;
}

static int resize_regs(struct stream *s)
{
	uint64_t *more;

	if (s->nregs >= s->t->tc->nregs && s->regs)
		return 0;
	more = realloc(s->regs, (s->t->tc->nregs + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	memset(more + s->nregs, 0, (s->t->tc->nregs + 1 - s->nregs) * sizeof(*more));
	s->regs = more;
	s->nregs = s->t->tc->nregs;
	return 0;
}

/* New classes may have been declared since. The streams keep their place, by the ids of their classes. 1: the metadata is
 * another now. */
static int reload(struct gander_ctf *r, struct trace *t)
{
	struct keep {
		uint64_t sc, ec;
		bool has_sc, has_ec;
	} * keep;
	char path[PATH_MAX];
	struct stream *s;
	struct stat st;
	uint32_t i;
	int ret = 0;

	snprintf(path, sizeof(path), "%s/metadata", t->path);
	if (stat(path, &st) < 0 ||
	    (st.st_ino == t->meta.st_ino && st.st_size == t->meta.st_size && st.st_mtim.tv_sec == t->meta.st_mtim.tv_sec &&
	     st.st_mtim.tv_nsec == t->meta.st_mtim.tv_nsec))
		return 0;
	keep = calloc(r->nstreams + 1, sizeof(*keep));
	if (!keep)
		return 0;
	for (i = 0; i < r->nstreams; i++) {
		s = r->stream[i];
		keep[i].has_sc = s->t == t && s->sc;
		keep[i].has_ec = s->t == t && s->ec;
		keep[i].sc = keep[i].has_sc ? s->sc->id : 0;
		keep[i].ec = keep[i].has_ec ? s->ec->id : 0;
	}
	if (load_metadata(r, t, NULL) < 0)
		goto out;
	ret = 1;
	for (i = 0; i < r->nstreams; i++) {
		s = r->stream[i];
		if (s->t != t)
			continue;
		s->context_len = 0;
		s->sc = keep[i].has_sc ? ctf_stream_class_find(t->tc, keep[i].sc) : NULL;
		s->ec = s->sc && keep[i].has_ec ? ctf_layout_find(s->sc, keep[i].ec) : NULL;
		if (resize_regs(s) < 0 || (keep[i].has_sc && !s->sc) || (keep[i].has_ec && !s->ec)) {
			s->state = ENDED;
			s->sc = NULL;
			s->ec = NULL;
		}
	}
out:
	free(keep);
	return ret;
}

/* --- windows --- */

/* Makes the bytes [off, off + len) of the file part of the window, as far as they are there. */
static int fill(struct stream *s, uint64_t off, size_t len)
{
	size_t cap = GANDER_CTF_WINDOW, keep = 0;
	struct stat st;
	uint8_t *more;
	ssize_t n;
	int fd, r = 0;

	if (off >= s->win_off && off + len <= s->win_off + s->win_len)
		return 0;
	if (len > GANDER_CTF_EVENT_MAX)
		return -EFBIG;
	while (cap < len)
		cap *= 2;
	if (cap > s->win_cap) {
		more = realloc(s->win, cap + SLACK);
		if (!more)
			return -ENOMEM;
		memset(more + s->win_cap + (s->win ? SLACK : 0), 0, cap - s->win_cap + (s->win ? 0 : SLACK));
		s->win = more;
		s->win_cap = cap;
	}
	if (off >= s->win_off && off < s->win_off + s->win_len) {
		keep = (size_t)(s->win_off + s->win_len - off);
		memmove(s->win, s->win + (off - s->win_off), keep);
	}
	s->win_off = off;
	s->win_len = keep;
	fd = open(s->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st))
		s->file_size = (uint64_t)st.st_size;
	while (s->win_len < s->win_cap) {
		n = pread(fd, s->win + s->win_len, s->win_cap - s->win_len, (off_t)(off + s->win_len));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = -errno;
		if (n <= 0)
			break;
		s->win_len += (size_t)n;
	}
	close(fd);
	return r;
}

static void begin_run(struct ctf_run *run, struct stream *s)
{
	uint64_t have;

	run->pos = 0;
	run->roles = 0;
	run->uuid = NULL;
	run->out = NULL;
	run->values = NULL;
	run->data = s->win - (s->win_off - s->packet_off); /* the packet's start, though it may have left the window */
	have = (s->win_off + s->win_len - s->packet_off) * 8;
	run->limit = have < s->content_bits ? have : s->content_bits;
	run->regs = s->regs;
	run->clock = s->clock;
}

static void end_stream(struct gander_ctf *r, struct stream *s)
{
	s->state = ENDED;
	s->ec = NULL;
	free(s->win);
	s->win = NULL;
	s->win_cap = s->win_len = 0;
}

/* The stream ends in the middle of something. Followed: the rest may come. */
static void cut_off(struct gander_ctf *r, struct stream *s, uint64_t need)
{
	if (follows(r)) {
		s->state = WAITING;
		s->in_packet = false;
		return;
	}
	add_note(r, "%s: ends inside of a packet: of the one at byte %llu, %llu bytes are missing%s", s->path, (unsigned long long)s->packet_off,
		 (unsigned long long)need, need ? "" : " or more");
	end_stream(r, s);
}

/* --- packets --- */

static int keep_head(struct stream *s, const struct ctf_run *run)
{
	size_t len = (size_t)((run->pos + 7) / 8);
	uint8_t *more;

	if (len > s->head_cap || !s->head) {
		more = realloc(s->head, len + SLACK);
		if (!more)
			return -ENOMEM;
		s->head = more;
		s->head_cap = len;
	}
	memcpy(s->head, run->data, len);
	s->head_bits = run->pos;
	return 0;
}

/* Reads header and context of the packet at packet_off. The whole packet must be there: what is not whole is not read. */
static int open_packet(struct gander_ctf *r, struct stream *s, struct err *err)
{
	const struct ctf_stream_layout *l;
	uint64_t id = 0, total, begin_clock, loss;
	size_t want = 4096;
	struct ctf_run run;
	int e;

	for (;; want *= 8) {
		e = fill(s, s->packet_off, want);
		if (e < 0)
			return err_set(err, e, "cannot read '%s': %s", s->path, strerror(-e));
		if (s->packet_off >= s->file_size) {
			if (follows(r))
				s->state = WAITING;
			else
				end_stream(r, s);
			return 0;
		}
		s->content_bits = s->total_bits = (s->file_size - s->packet_off) * 8;
		begin_run(&run, s);
		e = ctf_run_skip(&run, &s->t->layout.packet_header);
		if (!e) {
			if (run.roles & 1u << CTF_ROLE_MAGIC && run.role[CTF_ROLE_MAGIC] != CTF_MAGIC) {
				add_note(r, "%s: no packet begins at byte %llu (the rest of the stream is left out)", s->path,
					 (unsigned long long)s->packet_off);
				end_stream(r, s);
				return 0;
			}
			if (run.uuid && s->t->tc->has_uuid && memcmp(run.uuid, s->t->tc->uuid, 16)) {
				add_note(r, "%s: the packet at byte %llu is of another trace (the rest of the stream is left out)", s->path,
					 (unsigned long long)s->packet_off);
				end_stream(r, s);
				return 0;
			}
			if (run.roles & 1u << CTF_ROLE_STREAM_CLASS_ID)
				id = run.role[CTF_ROLE_STREAM_CLASS_ID];
			s->context_len = 0;
			s->sc = run.roles & 1u << CTF_ROLE_STREAM_CLASS_ID ? ctf_stream_class_find(s->t->tc, id) : s->t->tc->stream;
			if (!s->sc && reload(r, s->t)) {
				want /= 8;
				continue;
			}
			if (!s->sc) {
				add_note(r, "%s: the packet at byte %llu is of a stream class that the metadata lacks (the rest is left out)",
					 s->path, (unsigned long long)s->packet_off);
				end_stream(r, s);
				return 0;
			}
			s->context_pos = run.pos;
			l = s->sc->layout;
			e = ctf_run_skip(&run, &l->packet_context);
		}
		if (e != -EAGAIN || s->packet_off + s->win_len >= s->file_size || want > PACKET_HEAD_MAX)
			break;
	}
	if (e == -EAGAIN && s->packet_off + s->win_len >= s->file_size) {
		cut_off(r, s, 0);
		return 0;
	}
	if (e)
		goto broken;
	total = s->total_bits;
	if (run.roles & 1u << CTF_ROLE_TOTAL_LENGTH)
		total = run.role[CTF_ROLE_TOTAL_LENGTH];
	else if (run.roles & 1u << CTF_ROLE_CONTENT_LENGTH)
		total = run.role[CTF_ROLE_CONTENT_LENGTH];
	s->content_bits = run.roles & 1u << CTF_ROLE_CONTENT_LENGTH ? run.role[CTF_ROLE_CONTENT_LENGTH] : total;
	if (s->content_bits > total || total % 8 || s->content_bits < run.pos || total >> 60)
		goto broken;
	if (total > s->total_bits) {
		cut_off(r, s, (total - s->total_bits) / 8);
		return 0;
	}
	s->total_bits = total;
	if (keep_head(s, &run) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	begin_clock = run.clock;
	if (!(run.roles & 1u << CTF_ROLE_TIME))
		begin_clock = s->clock;
	s->clock = begin_clock;
	s->in_packet = true;
	s->event_pos = s->head_bits;
	s->state = WANT_EVENT;

	loss = 0;
	if (run.roles & 1u << CTF_ROLE_DISCARDED) {
		if (s->has_discarded && run.role[CTF_ROLE_DISCARDED] > s->discarded)
			loss = run.role[CTF_ROLE_DISCARDED] - s->discarded;
		s->discarded = run.role[CTF_ROLE_DISCARDED];
		s->has_discarded = true;
	}
	s->loss_packets = 0;
	if (run.roles & 1u << CTF_ROLE_SEQUENCE) {
		if (s->has_seq && run.role[CTF_ROLE_SEQUENCE] > s->seq + 1)
			s->loss_packets = run.role[CTF_ROLE_SEQUENCE] - s->seq - 1;
		s->seq = run.role[CTF_ROLE_SEQUENCE];
		s->has_seq = true;
	}
	s->loss = loss;
	s->loss_begin = to_ns(s->t, s->has_end ? s->last_end : begin_clock);
	s->loss_end = to_ns(s->t, run.roles & 1u << CTF_ROLE_END_TIME ? run.role[CTF_ROLE_END_TIME] : begin_clock);
	s->has_end = run.roles & 1u << CTF_ROLE_END_TIME;
	s->last_end = s->has_end ? run.role[CTF_ROLE_END_TIME] : 0;
	if (s->loss || s->loss_packets) {
		s->state = HAVE_LOSS;
		s->time_ns = s->loss_begin;
	}
	/* nothing in it can be wanted */
	if (s->has_end && ((r->opts.begin_ns && s->loss_end < r->opts.begin_ns) ||
			   (r->opts.end_ns && to_ns(s->t, begin_clock) > r->opts.end_ns))) {
		s->event_pos = s->content_bits;
	}
	return 0;
broken:
	add_note(r, "%s: the packet at byte %llu is broken (the rest of the stream is left out)", s->path, (unsigned long long)s->packet_off);
	end_stream(r, s);
	return 0;
}

/* --- events --- */

static void leave_packet(struct stream *s)
{
	s->packet_off += s->total_bits / 8;
	s->in_packet = false;
	s->ec = NULL;
	s->state = WANT_PACKET;
}

static void broken_event(struct gander_ctf *r, struct stream *s, const char *why)
{
	add_note(r, "%s: %s, %llu bits into the packet at byte %llu (the rest of the packet is left out)", s->path, why,
		 (unsigned long long)s->event_pos, (unsigned long long)s->packet_off);
	leave_packet(s);
}

/* More of the packet into the window, from the event on. False: that was all. */
static bool more_window(struct stream *s, int *e)
{
	uint64_t from = s->packet_off + (s->event_pos >> 3), had = s->win_off + s->win_len;
	size_t want = (size_t)(had - from) + 1;

	if (had >= s->packet_off + (s->content_bits + 7) / 8)
		return false;
	if (want < GANDER_CTF_WINDOW)
		want = GANDER_CTF_WINDOW;
	else
		want *= 2;
	if (want > (s->packet_off + (s->total_bits >> 3)) - from)
		want = (size_t)((s->packet_off + (s->total_bits >> 3)) - from);
	*e = fill(s, from, want);
	return !*e && s->win_off + s->win_len > had;
}

/* Decodes the header of the event at event_pos and finds its end. Afterwards the state is HAVE_EVENT, or WANT_PACKET. */
static inline int open_event(struct gander_ctf *r, struct stream *s, struct err *err)
{
	const struct ctf_event_layout *el;
	const struct ctf_stream_layout *l = s->sc->layout;
	struct ctf_event_class *ec;
	struct ctf_run run;
	uint64_t word, id, time;
	int e = 0;

	if (s->event_pos >= s->content_bits) {
		leave_packet(s);
		return 0;
	}
again:
	begin_run(&run, s);
	run.pos = s->event_pos;
	if (__builtin_expect(l->fast_header, 1)) {
		if (run.limit < run.pos + 64) {
			e = -EAGAIN;
			goto short_of;
		}
		memcpy(&word, run.data + (run.pos >> 3), 8);
		run.pos += 64;
		id = word & 0x7fff;
		s->cut = s->sc->cut_bit && word & 0x8000;
		time = ctf_advance_clock(run.clock, word >> 16, 48);
	} else {
		e = ctf_run_skip(&run, &l->event_header);
		if (e)
			goto short_of;
		id = run.roles & 1u << CTF_ROLE_EVENT_ID ? run.role[CTF_ROLE_EVENT_ID] : s->sc->event ? s->sc->event->id
												      : 0;
		time = run.clock;
		s->cut = false;
	}
	ec = id < l->dense ? l->by_id[id] : ctf_layout_find(s->sc, id);
	if (__builtin_expect(!ec, 0)) {
		if (reload(r, s->t)) {
			if (!s->sc)
				return 0;
			l = s->sc->layout;
			goto again;
		}
		broken_event(r, s, "an event of a class that the metadata lacks");
		return 0;
	}
	el = ec->layout;
	s->body_pos = run.pos;
	if (el->fixed_bits != UINT32_MAX) {
		run.pos += el->fixed_bits;
		if (run.pos > run.limit)
			e = -EAGAIN;
	} else {
		e = ctf_run_skip(&run, &el->skip);
	}
	if (e)
		goto short_of;
	if (__builtin_expect(run.pos == s->event_pos, 0)) {
		broken_event(r, s, "an event of no length");
		return 0;
	}
	s->ec = ec;
	s->end_pos = run.pos;
	s->clock = time;
	s->time_ns = to_ns(s->t, time);
	s->state = HAVE_EVENT;
	return 0;
short_of:
	if (e == -EAGAIN && more_window(s, &e))
		goto again;
	if (e == -ENOMEM)
		return err_set(err, e, "out of memory");
	if (e < 0 && e != -EAGAIN && e != -EPROTO && e != -EFBIG)
		return err_set(err, e, "cannot read '%s': %s", s->path, strerror(-e));
	broken_event(r, s, e == -EFBIG ? "an event larger than 64 MiB" : e == -EPROTO ? "an event that cannot be"
										      : "an event that does not fit its packet");
	return 0;
}

/* Until the stream stands before an event or a loss, or has no more. */
static int settle(struct gander_ctf *r, struct stream *s, struct err *err)
{
	int e = 0;

	while (!e && (s->state == WANT_PACKET || s->state == WANT_EVENT)) {
		if (s->state == WANT_PACKET)
			e = open_packet(r, s, err);
		else
			e = open_event(r, s, err);
		if (!e && s->state == HAVE_EVENT &&
		    ((r->opts.begin_ns && s->time_ns < r->opts.begin_ns) || (r->opts.end_ns && s->time_ns > r->opts.end_ns))) {
			s->event_pos = s->end_pos;
			s->state = WANT_EVENT;
		}
	}
	return e;
}

/* From the event or loss that was handed out to the next. */
static int move_on(struct gander_ctf *r, struct stream *s, struct err *err)
{
	if (s->state == HAVE_LOSS) {
		if (s->loss)
			s->loss = 0;
		else
			s->loss_packets = 0;
		if (s->loss_packets)
			return 0;
		s->state = WANT_EVENT;
	} else if (s->state == HAVE_EVENT) {
		s->event_pos = s->end_pos;
		s->state = WANT_EVENT;
		if (s->event_pos < s->content_bits) {
			int e = open_event(r, s, err);

			if (e || (s->state == HAVE_EVENT && !r->opts.begin_ns && !r->opts.end_ns))
				return e;
			if (s->state == HAVE_EVENT) {
				if ((!r->opts.begin_ns || s->time_ns >= r->opts.begin_ns) && (!r->opts.end_ns || s->time_ns <= r->opts.end_ns))
					return 0;
				s->event_pos = s->end_pos;
				s->state = WANT_EVENT;
			}
		}
	}
	return settle(r, s, err);
}

/* --- heap --- */

static inline bool before(const struct gander_ctf *r, uint32_t a, uint32_t b)
{
	const struct stream *x = r->stream[a], *y = r->stream[b];

	return x->time_ns < y->time_ns || (x->time_ns == y->time_ns && a < b);
}

static void sift_down(struct gander_ctf *r, uint32_t i)
{
	uint32_t child, what = r->heap[i];

	for (;; i = child) {
		child = 2 * i + 1;
		if (child >= r->nheap)
			break;
		if (child + 1 < r->nheap && before(r, r->heap[child + 1], r->heap[child]))
			child++;
		if (!before(r, r->heap[child], what))
			break;
		r->heap[i] = r->heap[child];
	}
	r->heap[i] = what;
}

static void push(struct gander_ctf *r, uint32_t stream)
{
	uint32_t i = r->nheap++, up;

	for (; i; i = up) {
		up = (i - 1) / 2;
		if (!before(r, stream, r->heap[up]))
			break;
		r->heap[i] = r->heap[up];
	}
	r->heap[i] = stream;
}

static bool is_ready(const struct stream *s)
{
	return s->state == HAVE_EVENT || s->state == HAVE_LOSS;
}

/* --- finding traces and streams --- */

static int add_stream(struct gander_ctf *r, struct trace *t, const char *name, struct err *err)
{
	struct stream *s, **more;
	char path[PATH_MAX];
	uint32_t *heap;
	struct stat st;
	bool added;
	int64_t n;

	if (snprintf(path, sizeof(path), "%s/%s", t->path, name) >= (int)sizeof(path))
		return 0;
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	n = intern_bytes(&r->stream_keys, path, strlen(path), &added);
	if (n < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (!added)
		return 0;
	more = grow(r->stream, r->nstreams, &r->stream_cap, sizeof(*more));
	s = calloc(1, sizeof(*s));
	if (more)
		r->stream = more;
	heap = realloc(r->heap, (r->nstreams + 1) * sizeof(*heap));
	if (heap)
		r->heap = heap;
	if (!more || !s || !heap) {
		free(s);
		return err_set(err, -ENOMEM, "out of memory");
	}
	s->path = strdup(path);
	s->t = t;
	s->number = r->nstreams;
	if (!s->path || resize_regs(s) < 0) {
		free(s->path);
		free(s);
		return err_set(err, -ENOMEM, "out of memory");
	}
	r->stream[r->nstreams++] = s;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted, so that streams have the same numbers every time. */
static int list_dir(const char *path, char ***ret, size_t *ret_n, struct err *err)
{
	DIR *d = opendir(path);
	char **list = NULL, **more;
	size_t n = 0, cap = 0;
	struct dirent *e;
	int r = 0;

	if (!d)
		return err_set(err, -errno, "cannot open the directory '%s': %m", path);
	while (!r && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (n == cap) {
			more = realloc(list, (cap * 2 + 32) * sizeof(*list));
			if (!more) {
				r = err_set(err, -ENOMEM, "out of memory");
				break;
			}
			list = more;
			cap = cap * 2 + 32;
		}
		list[n] = strdup(e->d_name);
		if (!list[n])
			r = err_set(err, -ENOMEM, "out of memory");
		else
			n++;
	}
	closedir(d);
	if (n)
		qsort(list, n, sizeof(*list), by_name);
	*ret = list;
	*ret_n = n;
	return r;
}

static void free_list(char **list, size_t n)
{
	while (n)
		free(list[--n]);
	free(list);
}

static void free_trace(struct trace *t)
{
	if (!t)
		return;
	ctf_trace_class_free(t->tc);
	free((char *)t->pub.procname);
	free((char *)t->pub.hostname);
	free((char *)t->pub.exe);
	free((char *)t->pub.tracer);
	free(t->path);
	free(t);
}

static int add_trace(struct gander_ctf *r, const char *path, struct trace **ret, struct err *err)
{
	struct trace *t, **more;
	bool added;
	int64_t n;
	int e;

	n = intern_bytes(&r->trace_keys, path, strlen(path), &added);
	if (n < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (!added) {
		*ret = (uint32_t)n < r->ntraces ? r->trace[n] : NULL;
		return 0;
	}
	more = grow(r->trace, r->ntraces, &r->trace_cap, sizeof(*more));
	t = calloc(1, sizeof(*t));
	if (more)
		r->trace = more;
	if (!more || !t) {
		free(t);
		return err_set(err, -ENOMEM, "out of memory");
	}
	t->path = strdup(path);
	t->pub.path = t->path;
	t->pub.number = r->ntraces;
	e = t->path ? load_metadata(r, t, err) : err_set(err, -ENOMEM, "out of memory");
	if (e) {
		free_trace(t);
		return e;
	}
	r->trace[r->ntraces++] = t;
	*ret = t;
	return 0;
}

static int find_traces(struct gander_ctf *r, const char *path, int depth, struct err *err)
{
	struct trace *t = NULL;
	char sub[PATH_MAX], **list = NULL;
	struct stat st;
	size_t n = 0, i;
	int e;

	e = list_dir(path, &list, &n, err);
	if (snprintf(sub, sizeof(sub), "%s/metadata", path) < (int)sizeof(sub) && !stat(sub, &st) && S_ISREG(st.st_mode)) {
		if (!e)
			e = add_trace(r, path, &t, err);
		for (i = 0; i < n && !e && t; i++)
			if (strcmp(list[i], "metadata"))
				e = add_stream(r, t, list[i], err);
	} else if (depth < DIR_DEPTH) {
		for (i = 0; i < n && !e; i++) {
			if (snprintf(sub, sizeof(sub), "%s/%s", path, list[i]) >= (int)sizeof(sub))
				continue;
			if (!lstat(sub, &st) && S_ISDIR(st.st_mode))
				e = find_traces(r, sub, depth + 1, err);
		}
	}
	free_list(list, n);
	return e;
}

/* Looks for what is new; for a followed recording again and again. */
static int scan(struct gander_ctf *r, struct err *err)
{
	struct stream *s;
	unsigned i;
	int e;

	for (i = 0; i < r->npaths; i++) {
		e = find_traces(r, r->path[i], 0, err);
		if (e && (!follows(r) || e == -ENOMEM))
			return e;
	}
	for (i = 0; i < r->nstreams; i++) {
		s = r->stream[i];
		if (is_ready(s) || s->state == ENDED)
			continue;
		if (s->state == WAITING) {
			s->state = WANT_PACKET;
			s->win_len = 0;
		}
		e = settle(r, s, err);
		if (e)
			return e;
		if (is_ready(s))
			push(r, i);
	}
	return 0;
}

int gander_ctf_open_all(struct gander_ctf **ret, const char *const *paths, unsigned npaths, const struct gander_ctf_opts *opts,
			struct gander_err *public_err)
{
	struct err local = ERR_INIT, *err = public_err ? private_err(public_err) : &local;
	struct gander_ctf *r = calloc(1, sizeof(*r));
	unsigned i;
	int e = 0;

	if (!r)
		return err_set(err, -ENOMEM, "out of memory");
	if (opts)
		memcpy(&r->opts, opts, opts->size < sizeof(r->opts) ? opts->size : sizeof(r->opts));
	r->sec = INT64_MIN;
	r->path = calloc(npaths + 1, sizeof(*r->path));
	for (i = 0; r->path && i < npaths; i++) {
		r->path[i] = strdup(paths[i]);
		if (!r->path[i])
			break;
		r->npaths++;
		while (strlen(r->path[i]) > 1 && r->path[i][strlen(r->path[i]) - 1] == '/')
			r->path[i][strlen(r->path[i]) - 1] = 0;
	}
	if (!r->path || r->npaths < npaths) {
		e = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	e = scan(r, err);
	if (!e && !r->ntraces && !follows(r))
		e = err_set(err, -ENOENT, "there is no trace in '%s' (no file 'metadata' in it or below)", npaths ? paths[0] : "");
	if (e)
		goto out;
	*ret = r;
	r = NULL;
out:
	gander_ctf_free(r);
	return e;
}

int gander_ctf_open(struct gander_ctf **ret, const char *path, const struct gander_ctf_opts *opts, struct gander_err *err)
{
	return gander_ctf_open_all(ret, &path, 1, opts, err);
}

void gander_ctf_free(struct gander_ctf *r)
{
	uint32_t i;

	if (!r)
		return;
	for (i = 0; i < r->nstreams; i++) {
		free(r->stream[i]->path);
		free(r->stream[i]->win);
		free(r->stream[i]->head);
		free(r->stream[i]->regs);
		free(r->stream[i]);
	}
	for (i = 0; i < r->ntraces; i++)
		free_trace(r->trace[i]);
	for (i = 0; i < r->nclasses; i++) {
		free(r->class[i] -> name);
		free(r->class[i] -> prefix);
		free(r->class[i]);
	}
	for (i = 0; i < r->nnotes; i++)
		free(r->note[i]);
	for (i = 0; i < r->npaths; i++)
		free(r->path[i]);
	intern_done(&r->class_keys);
	intern_done(&r->stream_keys);
	intern_done(&r->trace_keys);
	ctf_out_done(&r->key);
	free(r->values.v);
	free(r->path);
	free(r->note);
	free(r->heap);
	free(r->class);
	free(r->stream);
	free(r->trace);
	free(r);
}

/* Followed: may the topmost be handed out, or could an earlier one still come from a stream that has none now? */
static bool must_wait(const struct gander_ctf *r, const struct stream *s)
{
	struct timespec now;
	uint32_t i;

	for (i = 0; i < r->nstreams && r->stream[i]->state != WAITING; i++)
		;
	if (i == r->nstreams)
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	return s->time_ns > (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - FOLLOW_HOLD_NS;
}

int gander_ctf_next(struct gander_ctf *r, struct gander_ctf_event *ev, struct gander_err *public_err)
{
	struct err *err = private_err(public_err);
	struct stream *s = r->current;
	const struct ctf_event_layout *l;
	int e;

	if (s) {
		r->current = NULL;
		e = move_on(r, s, err);
		if (e)
			return e;
		if (is_ready(s)) {
			if (r->nheap > 1)
				sift_down(r, 0);
		} else {
			r->heap[0] = r->heap[--r->nheap];
			if (r->nheap)
				sift_down(r, 0);
		}
	}
	if (follows(r) && (r->polled || !r->nheap)) {
		r->polled = false;
		e = scan(r, err);
		if (e)
			return e;
	}
	while (r->nheap && !is_ready(r->stream[r->heap[0]])) { /* its classes are gone from the metadata */
		r->heap[0] = r->heap[--r->nheap];
		if (r->nheap)
			sift_down(r, 0);
	}
	if (!r->nheap) {
		r->polled = true;
		return 0;
	}
	s = r->stream[r->heap[0]];
	if (follows(r) && must_wait(r, s)) {
		r->polled = true;
		return 0;
	}
	r->current = s;
	r->have_values = false;
	ev->time_ns = s->time_ns;
	ev->trace = &s->t->pub;
	ev->stream = s->number;
	if (s->state == HAVE_LOSS) {
		ev->ticks = s->clock;
		ev->class_ = NULL;
		ev->kind = s->loss ? GANDER_CTF_LOST : GANDER_CTF_LOST_PACKETS;
		ev->lost = s->loss ? s->loss : s->loss_packets;
		ev->end_ns = s->loss_end;
		ev->cut = false;
		ev->size = 0;
		r->lost += s->loss;
		return 1;
	}
	l = s->ec->layout;
	ev->ticks = s->clock;
	ev->class_ = l->pub;
	ev->kind = GANDER_CTF_EVENT;
	ev->lost = 0;
	ev->end_ns = s->time_ns;
	ev->cut = s->cut;
	ev->size = (uint32_t)((s->end_pos - s->event_pos + 7) / 8);
	return 1;
}

int gander_ctf_count(struct gander_ctf *r, uint64_t *counts, uint64_t *ret_events, struct gander_err *public_err)
{
	struct err *err = private_err(public_err);
	const struct ctf_event_layout *l;
	uint64_t n = 0;
	struct stream *s;
	uint32_t i;
	int e;

	r->current = NULL;
	r->have_values = false;
	for (i = 0; i < r->nstreams; i++) {
		s = r->stream[i];
		while (is_ready(s)) {
			if (s->state == HAVE_LOSS) {
				r->lost += s->loss;
			} else {
				n++;
				if (counts) {
					l = s->ec->layout;
					counts[l->pub->number]++;
				}
			}
			e = move_on(r, s, err);
			if (e)
				return e;
		}
	}
	r->nheap = 0;
	*ret_events = n;
	return 0;
}

/* Runs over what stands before the events of the packet. */
static int packet_run(struct gander_ctf *r, struct stream *s, struct ctf_out *out)
{
	const struct ctf_stream_layout *l = s->sc->layout;
	struct ctf_run run;

	if (!l->packet_shown)
		return 0;
	run.roles = 0;
	run.clock = 0;
	run.uuid = NULL;
	run.data = s->head;
	run.pos = s->context_pos;
	run.limit = s->head_bits;
	run.regs = s->regs;
	run.out = out;
	run.values = &r->values;
	return out ? ctf_run_text(&run, &l->packet_full, 0, l->packet_full.n) : ctf_run_values(&run, &l->packet_full);
}

static int event_values(struct gander_ctf *r, struct stream *s)
{
	const struct ctf_event_layout *l = s->ec->layout;
	struct ctf_run run;

	begin_run(&run, s);
	run.pos = s->body_pos;
	run.values = &r->values;
	return ctf_run_values(&run, &l->full);
}

/* The stream's context is mostly that of the event before (the thread, the goroutine), and so is its text then. */
static int event_text(struct stream *s, struct ctf_out *out)
{
	const struct ctf_event_layout *l = s->ec->layout;
	uint64_t bytes[2];
	struct ctf_run run;
	size_t from, len;
	int e;

	begin_run(&run, s);
	run.pos = s->body_pos;
	run.out = out;
	if (!l->context_mask[0])
		return ctf_run_text(&run, &l->full, 0, l->full.n);
	memcpy(bytes, run.data + run.pos / 8, sizeof(bytes)); /* may be read behind the limit; the event was measured */
	bytes[0] &= l->context_mask[0];
	bytes[1] &= l->context_mask[1];
	if (s->context_len && bytes[0] == s->context_bytes[0] && bytes[1] == s->context_bytes[1]) {
		if (ctf_out_more(out, 0) < 0)
			return -ENOMEM;
		memcpy(out->at, s->context_text, sizeof(s->context_text));
		out->at += s->context_len;
		run.pos += s->context_bits;
	} else {
		from = (size_t)(out->at - out->base);
		e = ctf_run_text(&run, &l->full, 0, l->context_ops);
		if (e)
			return e;
		len = (size_t)(out->at - out->base) - from;
		s->context_len = 0;
		if (len && len <= sizeof(s->context_text)) {
			memcpy(s->context_text, out->base + from, len);
			memcpy(s->context_bytes, bytes, sizeof(bytes));
			s->context_len = (uint32_t)len;
			s->context_bits = (uint32_t)(run.pos - s->body_pos);
		}
	}
	return ctf_run_text(&run, &l->full, l->context_ops, l->full.n);
}

int gander_ctf_values(struct gander_ctf *r, const struct gander_ctf_event *ev, const struct gander_ctf_value **ret)
{
	struct stream *s = r->current;
	int e = 0;

	if (!s || s->state != HAVE_EVENT) {
		*ret = NULL;
		return 0;
	}
	if (!r->have_values) {
		r->values.n = 0;
		e = packet_run(r, s, NULL);
		if (!e)
			e = event_values(r, s);
		r->values_err = e == -EAGAIN ? -EPROTO : e;
		r->have_values = true;
	}
	*ret = r->values.v;
	return r->values_err ? r->values_err : (int)r->values.n;
}

static bool is_attr(const struct gander_ctf_value *v, uint32_t i, const char *name, size_t len)
{
	return v[i].type == GANDER_CTF_STRUCT && v[i].next > i + 2 && v[i + 1].type == GANDER_CTF_TEXT && v[i + 1].len == len &&
	       !memcmp(v[i + 1].text, name, len);
}

/* Among values [i, end) the one called `name`, which may go on in dots. */
static const struct gander_ctf_value *find_in(const struct gander_ctf_value *v, uint32_t i, uint32_t end, const char *name)
{
	const struct gander_ctf_value *found;
	size_t len = strlen(name), n;
	const char *rest;
	uint32_t k;

	for (; i < end; i = v[i].next) {
		if (!strcmp(v[i].name, name))
			return &v[i];
		n = strlen(v[i].name);
		rest = n && n < len && !strncmp(v[i].name, name, n) && name[n] == '.' ? name + n + 1 : NULL;
		if (rest && v[i].type == GANDER_CTF_STRUCT) {
			found = find_in(v, i + 1, v[i].next, rest);
			if (found)
				return found;
		}
		if (v[i].type == GANDER_CTF_ARRAY && v[i].flags & GANDER_CTF_ATTRS) {
			if (!rest)
				rest = name;
			for (k = i + 1; k < v[i].next; k = v[k].next)
				if (is_attr(v, k, rest, strlen(rest)))
					return &v[k + 2];
		}
	}
	return NULL;
}

const struct gander_ctf_value *ctf_values_find(const struct gander_ctf_value *v, uint32_t n, const char *name)
{
	const struct gander_ctf_value *found = NULL;
	uint32_t i, scope;

	for (scope = GANDER_CTF_FIELDS; !found; scope--) {
		for (i = 0; i < n && !found; i = v[i].next)
			if (v[i].type == GANDER_CTF_SCOPE && v[i].count == scope)
				found = find_in(v, i + 1, v[i].next, name);
		if (!scope)
			break;
	}
	return found;
}

const struct gander_ctf_value *gander_ctf_find(struct gander_ctf *r, const struct gander_ctf_event *ev, const char *name)
{
	const struct gander_ctf_value *v;
	int n = gander_ctf_values(r, ev, &v);

	return n > 0 ? ctf_values_find(v, (uint32_t)n, name) : NULL;
}

static bool as_u64(const struct gander_ctf_value *v, uint64_t *ret)
{
	if (!v || v->type > GANDER_CTF_U64)
		return false;
	*ret = v->u;
	return true;
}

/* Of the contexts alone: a kernel's event may be about another thread than the one that it happened in. */
static const struct gander_ctf_value *find_context(struct gander_ctf *r, const struct gander_ctf_event *ev, const char *name)
{
	const struct gander_ctf_value *v;
	int n = gander_ctf_values(r, ev, &v), s, i;

	for (s = 0; s < n; s = (int)v[s].next)
		for (i = s + 1; v[s].count != GANDER_CTF_FIELDS && i < (int)v[s].next; i = (int)v[i].next)
			if (!strcmp(v[i].name, name))
				return &v[i];
	return NULL;
}

bool ctf_event_thread(struct gander_ctf *r, const struct gander_ctf_event *ev, uint64_t *id, bool *is_goroutine)
{
	struct stream *s = r->current;
	const struct ctf_stream_layout *l;
	const uint8_t *body;
	uint32_t tid;

	if (!s || s->state != HAVE_EVENT)
		return false;
	l = s->sc->layout;
	body = s->win + (s->packet_off + s->body_pos / 8 - s->win_off);
	*is_goroutine = true;
	if (l->goid_at >= 0) {
		memcpy(id, body + l->goid_at, 8);
		if (*id)
			return true;
	}
	*is_goroutine = false;
	if (l->tid_at >= 0) {
		memcpy(&tid, body + l->tid_at, 4);
		*id = tid;
		return true;
	}
	if (!s->sc->common_context)
		return false;
	if (as_u64(find_context(r, ev, "goid"), id) && *id) {
		*is_goroutine = true;
		return true;
	}
	return as_u64(find_context(r, ev, "vtid"), id) || as_u64(find_context(r, ev, "tid"), id);
}

bool ctf_event_pid(struct gander_ctf *r, const struct gander_ctf_event *ev, uint64_t *pid)
{
	struct stream *s = r->current;
	const struct ctf_stream_layout *l;
	int32_t v;

	if (!s || s->state != HAVE_EVENT)
		return false;
	l = s->sc->layout;
	if (l->pid_at < 0)
		return as_u64(find_context(r, ev, "pid"), pid);
	memcpy(&v, s->win + (s->packet_off + s->body_pos / 8 - s->win_off) + l->pid_at, 4);
	*pid = (uint64_t)(int64_t)v;
	return true;
}

bool ctf_event_duration(struct gander_ctf *r, const struct gander_ctf_event *ev, uint64_t *ns)
{
	struct stream *s = r->current;
	const struct ctf_event_layout *l;

	if (!s || s->state != HAVE_EVENT || ev->class_->span != GANDER_CTF_SPAN_END)
		return false;
	l = s->ec->layout;
	if (l->duration_at < 0)
		return as_u64(gander_ctf_find(r, ev, "duration"), ns);
	memcpy(ns, s->win + (s->packet_off + s->body_pos / 8 - s->win_off) + l->duration_at, 8);
	return true;
}

/* --- text --- */

static __attribute__((noinline)) void new_second(struct gander_ctf *r, int64_t sec)
{
	time_t t = (time_t)sec;
	struct tm tm;

	localtime_r(&t, &tm);
	snprintf(r->sec_text, sizeof(r->sec_text), "%02d:%02d:%02d.", tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
	r->sec = sec;
}

static inline void put_time(struct gander_ctf *r, struct ctf_out *o, int64_t ns)
{
	int64_t sec = r->sec;
	uint64_t part = (uint64_t)ns - (uint64_t)sec * 1000000000u;

	if (part >= 1000000000) {
		sec = ns / 1000000000;
		if (ns < sec * 1000000000)
			sec--;
		new_second(r, sec);
		part = (uint64_t)(ns - sec * 1000000000);
	}
	memcpy(o->at, r->sec_text, 16);
	o->at = ctf_put_nano(o->at + 9, (uint32_t)part);
}

int ctf_text_line(struct gander_ctf *r, const struct gander_ctf_event *ev, struct ctf_out *out)
{
	struct stream *s = r->current;
	const struct ctf_event_layout *l;
	int e;

	if (ctf_out_more(out, 0) < 0)
		return -ENOMEM;
	put_time(r, out, ev->time_ns);
	if (ev->kind != GANDER_CTF_EVENT) {
		ctf_put_raw(out, " -- ", 4);
		out->at = ctf_put_u64(out->at, ev->lost);
		ctf_put_raw(out, ev->kind == GANDER_CTF_LOST ? " events lost until " : " packets missing until ",
			    ev->kind == GANDER_CTF_LOST ? 19 : 23);
		put_time(r, out, ev->end_ns);
		ctf_put_raw(out, " in ", 4);
		ctf_put_raw(out, s->path, strlen(s->path));
		ctf_put_raw(out, "\n", 1);
		return out->failed ? -ENOMEM : 0;
	}
	l = s->ec->layout;
	if (ctf_out_more(out, l->prefix_len + 16) < 0)
		return -ENOMEM;
	memcpy(out->at, l->prefix, 32); /* it has room behind it */
	if (l->prefix_len > 32)
		memcpy(out->at + 32, l->prefix + 32, l->prefix_len - 32);
	out->at += l->prefix_len;
	e = packet_run(r, s, out);
	if (!e)
		e = event_text(s, out);
	if (e == -ENOMEM)
		return e;
	if (e)
		ctf_put_raw(out, " (broken)", 9);
	if (ev->cut)
		ctf_put_raw(out, " (cut)", 6);
	ctf_put_raw(out, "\n", 1);
	return out->failed ? -ENOMEM : 0;
}

/* --- the rest --- */

uint32_t gander_ctf_classes(const struct gander_ctf *r)
{
	return r->nclasses;
}

const struct gander_ctf_class *gander_ctf_class(const struct gander_ctf *r, uint32_t number)
{
	return number < r->nclasses ? &r->class[number]->pub : NULL;
}

uint32_t gander_ctf_traces(const struct gander_ctf *r)
{
	return r->ntraces;
}

const struct gander_ctf_trace *gander_ctf_trace(const struct gander_ctf *r, uint32_t number)
{
	return number < r->ntraces ? &r->trace[number]->pub : NULL;
}

uint32_t gander_ctf_streams(const struct gander_ctf *r)
{
	return r->nstreams;
}

const char *gander_ctf_stream_path(const struct gander_ctf *r, uint32_t stream)
{
	return stream < r->nstreams ? r->stream[stream]->path : "";
}

uint32_t gander_ctf_notes(const struct gander_ctf *r)
{
	return r->nnotes;
}

const char *gander_ctf_note(const struct gander_ctf *r, uint32_t i)
{
	return i < r->nnotes ? r->note[i] : "";
}

uint64_t gander_ctf_lost(const struct gander_ctf *r)
{
	return r->lost;
}

struct ctf_trace_class *ctf_trace_model(const struct gander_ctf *r, uint32_t trace)
{
	return trace < r->ntraces ? r->trace[trace]->tc : NULL;
}

bool ctf_trace_is_kernel(const struct gander_ctf *r, uint32_t trace)
{
	const struct ctf_trace_class *tc = ctf_trace_model(r, trace);
	const struct ctf_env *e;

	for (e = tc ? tc->env : NULL; e; e = e->next)
		if (!strcmp(e->name, "domain"))
			return e->text && !strcmp(e->text, "kernel");
	return false;
}
