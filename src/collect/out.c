#include "collect/collect_out.h"
#include "collect/collect_words.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The directory's name: the program's, as far as it is fit for a file name, its pid, and a number when that is taken. */
static int name_dir(struct out *o, const char *recording, const char *comm, pid_t pid, char *path, size_t cap, struct err *err)
{
	char clean[32];
	size_t i;
	int n;

	for (i = 0; comm[i] && i < sizeof(clean) - 1; i++)
		clean[i] = (comm[i] >= '0' && comm[i] <= '9') || (comm[i] >= 'a' && comm[i] <= 'z') || (comm[i] >= 'A' && comm[i] <= 'Z') ||
					   comm[i] == '_' || comm[i] == '-' || (comm[i] == '.' && i)
				   ? comm[i]
				   : '_';
	clean[i] = 0;
	for (n = 1; n < 100000; n++) {
		if (n == 1)
			snprintf(o->dir, sizeof(o->dir), "%s-%d", *clean ? clean : "program", (int)pid);
		else
			snprintf(o->dir, sizeof(o->dir), "%s-%d-%d", *clean ? clean : "program", (int)pid, n);
		if (snprintf(path, cap, "%s/ctf/%s", recording, o->dir) >= (int)cap)
			return err_set(err, -ENAMETOOLONG, "the path '%.100s...' is too long", recording);
		if (mkdir(path, 0700) == 0)
			return 0;
		if (errno != EEXIST)
			return err_set(err, -errno, "cannot make '%s': %m", path);
	}
	return err_set(err, -EEXIST, "too many programs called '%s' in '%s'", clean, recording);
}

int out_open(struct out *o, const char *recording, const struct region *r, pid_t pid, const struct clock_line *clock, uint64_t begin,
	     int version, struct err *err)
{
	struct ctf_writer_opts opts = { 0 };
	char path[4096];
	int res;

	memset(o, 0, sizeof(*o));
	res = name_dir(o, recording, r->head.comm, pid, path, sizeof(path), err);
	if (res < 0)
		return res;
	opts.dir = path;
	opts.version = version;
	opts.max_open = r->uid == geteuid() ? 0 : OUT_OPEN_FOREIGN;
	opts.pid = r->head.pid;
	opts.procname = r->head.comm;
	opts.exe = r->head.exe;
	opts.agent = r->head.agent;
	opts.start_ns = clock_epoch(clock, begin);
	memcpy(opts.boot_id, r->head.boot_id, sizeof(opts.boot_id));
	o->begin = begin;
	res = ctf_writer_open(&o->w, &opts, err);
	if (res == 0)
		res = ctf_writer_clock(o->w, clock->freq_hz, clock->at_counter, clock->at_epoch_ns, err);
	if (res < 0) {
		ctf_writer_free(o->w);
		o->w = NULL;
	}
	return res;
}

int out_clock(struct out *o, const struct clock_line *clock, struct err *err)
{
	int res = o->w ? ctf_writer_clock(o->w, clock->freq_hz, clock->at_counter, clock->at_epoch_ns, err) : 0;

	return res < 0 || !o->w ? res : ctf_writer_sync(o->w, err);
}

int out_classes(struct out *o, const struct channel *ch, struct err *err)
{
	uint32_t i;
	int res;

	for (i = 0; o->w && i < ch->r->nclasses; i++) {
		const struct rclass *cl = ch->r->cls[i];

		if (ch->setup[i] != SETUP_ON || cl->state != RCLASS_OK || o->class_written[i / 8] >> (i % 8) & 1)
			continue;
		res = ctf_writer_class(o->w, i, cl->desc, cl->desc_len, err);
		if (res < 0)
			return res;
		o->class_written[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	return 0;
}

static int stream_of(struct out *o, const struct channel *ch, unsigned slot, struct err *err)
{
	int res;

	if (!o->stream[slot]) {
		res = ctf_stream_open(o->w, ch->context, slot, o->begin, err);
		if (res < 0)
			return res;
		o->stream[slot] = res + 1;
	}
	return o->stream[slot] - 1;
}

static uint64_t lost_here(struct out *o, unsigned slot, uint64_t lost)
{
	lost = lost > o->base_lost[slot] ? lost - o->base_lost[slot] : 0;
	if (lost > o->last_lost[slot])
		o->last_lost[slot] = lost;
	return o->last_lost[slot];
}

int out_piece(struct out *o, const struct channel *ch, const struct piece *p, const void *data, struct err *err)
{
	struct ctf_piece c = { .begin = p->begin, .end = p->end, .len = p->len, .fd = -1 };
	int stream;

	if (!p->len)
		return 0;
	stream = stream_of(o, ch, p->slot, err);
	if (stream < 0)
		return stream;
	c.discarded = lost_here(o, p->slot, p->lost);
	c.data = data ? data : ch->r->map + packet_offset(p->packet) + p->off;
	return ctf_stream_append(o->w, stream, &c, err);
}

int out_run(struct out *o, const struct channel *ch, const struct piece *p, unsigned n, void *room)
{
	struct ctf_piece c[OUT_RUN_MAX];
	unsigned i;
	int stream = stream_of(o, ch, p->slot, NULL);

	if (stream < 0)
		return 0;
	for (i = 0; i < n && i < OUT_RUN_MAX; i++)
		c[i] = (struct ctf_piece) { .begin = p[i].begin, .end = p[i].end, .len = p[i].len, .fd = ch->r->fd, .offset = packet_offset(p[i].packet) + p[i].off, .discarded = lost_here(o, p[i].slot, p[i].lost) };
	return ctf_stream_append_run(o->w, stream, c, i, room);
}

int out_close(struct out *o, const struct channel *ch, uint64_t end, struct err *err)
{
	int res = 0, stream;
	unsigned s;

	for (s = 0; s < GD_SLOTS && o->w; s++) {
		uint64_t lost = slot_lost(&ch->slot[s]);

		if (!o->stream[s] && lost <= o->base_lost[s])
			continue;
		stream = stream_of(o, ch, s, err);
		if (stream < 0) {
			res = stream;
			break;
		}
		stream = ctf_stream_close(o->w, stream, end, lost_here(o, s, lost), err);
		if (stream < 0)
			res = stream;
	}
	if (res == 0 && o->w)
		res = ctf_writer_sync(o->w, err);
	ctf_writer_free(o->w);
	o->w = NULL;
	return res;
}

uint64_t out_bytes(const struct out *o)
{
	return o->w ? ctf_writer_bytes(o->w) : 0;
}

size_t event_size(const struct region *r, uint32_t context, const uint8_t *data, size_t len)
{
	static const struct {
		uint32_t bit;
		uint8_t size;
	} fixed[] = { { GD_CTX_TID, 4 }, { GD_CTX_GOID, 8 }, { GD_CTX_CPU, 2 }, { GD_CTX_SPAN, 8 }, { GD_CTX_KEY, 8 } };
	const struct rclass *cl;
	struct gd_desc d;
	struct gd_field f;
	size_t used = 8, i;
	ptrdiff_t size;

	if (len < 8)
		return 0;
	i = gd_load16(data) & GD_EVENT_ID_MASK;
	cl = i < r->nclasses ? r->cls[i] : NULL;
	if (!cl || cl->state != RCLASS_OK || gd_desc_parse(&d, cl->desc, cl->desc_len) < 0)
		return 0;
	for (i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		if (context & fixed[i].bit)
			used += fixed[i].size;
	if (context & GD_CTX_STACK) {
		if (len < used + 2)
			return 0;
		used += 2 + 8u * gd_load16(data + used);
	}
	while (used <= len && gd_desc_field(&f, &d.fields, d.end)) {
		size = gd_value_size(f.type_at, d.end, data + used, len - used);
		if (size < 0)
			return 0;
		used += (size_t)size;
	}
	return used <= len ? used : 0;
}

/* Leaves out the events before `since`; how many stay is counted by walking over them. */
static void cut_front(const struct channel *ch, struct piece *p, const uint8_t *packet, uint64_t since)
{
	const struct gd_packet *head = (const struct gd_packet *)packet;
	size_t size;

	while (p->len >= 8 && p->events) {
		p->begin = gd_load64(packet + p->off) >> 16 | head->time_high << 48;
		if (p->begin >= since)
			return;
		size = event_size(ch->r, ch->context, packet + p->off, p->len);
		if (!size)
			return;
		p->off += (uint32_t)size;
		p->len -= (uint32_t)size;
		p->events--;
	}
}

#define OVERTAKEN_PART 16u

/* Packets of a chain that are written at once, and what is to be as it was when one of them turns out to be overwritten. */
struct batch {
	struct piece piece[CTF_PIECES_MAX];
	struct packet_hold hold[CTF_PIECES_MAX];
	unsigned index[CTF_PIECES_MAX], n; /* index: in the chain */
	bool copied;                       /* the last one is in a buffer of ours */
};

struct place { /* of a chain that is being written */
	struct slot_pos pos;
	uint64_t next, base_lost, last_lost;
	bool front; /* nothing is written yet, and what was overwritten before the first is not to be counted */
};

static struct place place_of(const struct out *o, const struct channel *ch, unsigned s, uint64_t next, bool front)
{
	return (struct place) { ch->slot[s], next, o->base_lost[s], o->last_lost[s], front };
}

static void go_back(struct out *o, struct channel *ch, unsigned s, const struct place *to, uint64_t *next, bool *front)
{
	ch->slot[s] = to->pos;
	o->base_lost[s] = to->base_lost;
	o->last_lost[s] = to->last_lost;
	*next = to->next;
	*front = to->front;
}

/* One packet of a chain, number seq of its slot. 1: it is in the batch now, or holds nothing that is wanted; 0: it was overwritten: its events are a gap in the
 * numbers, and everything is to be as it was before. */
static int plan_packet(struct out *o, struct channel *ch, unsigned s, uint32_t packet, uint64_t seq, uint64_t since, uint64_t *next, bool *front, uint8_t *copy,
		       struct batch *b, struct err *err)
{
	struct slot_pos *pos = &ch->slot[s];
	uint64_t overwritten = pos->overwritten;
	struct piece p = { .slot = s, .packet = packet };
	struct packet_hold *h = &b->hold[b->n];
	uint64_t word = 0;
	uint32_t start;
	int res;

	if (!channel_hold(ch, s, packet, seq, h))
		return 0;
	start = pos->packet == packet + 1 && pos->seq == seq ? pos->off : GD_PACKET_HEADER;
	if (h->off < start || h->first + h->count < *next)
		return 1;
	p.off = start;
	p.len = h->off - start;
	p.events = (uint32_t)(h->first + h->count - (start == GD_PACKET_HEADER ? h->first : *next));
	if (start == GD_PACKET_HEADER && h->first > *next)
		pos->overwritten += h->first - *next;
	if (*front)
		o->base_lost[s] += pos->overwritten - overwritten;
	*front = false;
	*next = h->first + h->count;
	p.end = h->last_time;
	if (p.end < since || p.len < 8)
		return channel_holds(ch, h);
	memcpy(&word, (const uint8_t *)region_packet(ch->r, packet) + start, sizeof(word));
	p.begin = word >> 16 | h->time_high << 48;
	if (p.begin < since) {
		res = channel_copy_packet(ch, s, packet, seq, copy);
		if (res < 0)
			return res == -EAGAIN ? 0 : err_set(err, res, "cannot read '%s'", ch->r->path);
		cut_front(ch, &p, copy, since);
		b->copied = true;
	}
	if (p.end < p.begin || p.begin < pos->last_time) {
		b->copied = false;
		pos->damaged += p.events;
		return channel_holds(ch, h);
	}
	pos->last_time = p.end;
	p.lost = slot_lost(pos);
	pos->events += p.events;
	pos->bytes += p.len;
	b->piece[b->n++] = p;
	return 1;
}

/* Written from the mapping: a copy in between would let a writer at its full speed overtake us. Whether a packet was overwritten meanwhile is
 * looked at afterwards: then what was written is taken back. Returns which one of the batch, from 1 on, is the last of those; 0: all are there. */
static int batch_out(struct out *o, const struct channel *ch, unsigned s, const struct batch *b, const uint8_t *copy, struct err *err)
{
	struct ctf_piece c[CTF_PIECES_MAX];
	struct ctf_mark mark;
	int stream, res;
	unsigned i;

	if (!b->n)
		return 0;
	stream = stream_of(o, ch, s, err);
	if (stream < 0)
		return stream;
	for (i = 0; i < b->n; i++) {
		const struct piece *p = &b->piece[i];
		const uint8_t *from = b->copied && i + 1 == b->n ? copy : (const uint8_t *)region_packet(ch->r, p->packet);

		c[i] = (struct ctf_piece) { .begin = p->begin, .end = p->end, .len = p->len, .fd = -1, .data = from + p->off, .discarded = lost_here(o, s, p->lost) };
	}
	ctf_stream_mark(o->w, stream, &mark);
	res = ctf_stream_append_all(o->w, stream, c, b->n, err);
	if (res < 0)
		return res;
	for (i = b->n - b->copied; i > 0; i--)
		if (!channel_holds(ch, &b->hold[i - 1])) {
			res = ctf_stream_rewind(o->w, &mark, err);
			return res < 0 ? res : (int)i;
		}
	return 0;
}

static int chain_out(struct out *o, struct channel *ch, unsigned s, uint8_t *copy, uint64_t since, bool count_front, struct err *err)
{
	uint64_t next = ch->slot[s].next_event, newest = 0;
	uint32_t list[GD_PACKETS_MAX];
	unsigned n, i, last, at_once = CTF_PIECES_MAX;
	bool front = !count_front, overwritten;
	struct batch b;
	int res;

	n = channel_chain(ch, s, list, &newest);
	for (i = 0; i < n;) {
		struct place start = place_of(o, ch, s, next, front);

		b.n = 0;
		b.copied = overwritten = false;
		while (i < n && b.n < at_once && !b.copied && !overwritten) {
			struct place here = place_of(o, ch, s, next, front);

			b.index[b.n] = i;
			res = plan_packet(o, ch, s, list[i], newest - (n - 1 - i), since, &next, &front, copy, &b, err);
			if (res < 0)
				return res;
			overwritten = !res;
			if (overwritten)
				go_back(o, ch, s, &here, &next, &front);
			i++;
		}
		last = i - 1;
		res = batch_out(o, ch, s, &b, copy, err);
		if (res < 0) {
			go_back(o, ch, s, &start, &next, &front);
			if (b.n <= 1)
				return res;
			at_once = 1; /* as many as there is room for on the disk */
			i = b.index[0];
			continue;
		}
		if (res) {
			go_back(o, ch, s, &start, &next, &front);
			last = b.index[res - 1];
		}
		if (res || overwritten)
			i = last + 1 + (n - last) / OVERTAKEN_PART; /* the writer is just here: get ahead of it */
	}
	ch->slot[s].next_event = next;
	return 0;
}

int out_chains(struct out *o, struct channel *ch, uint64_t since, bool count_front, struct err *err)
{
	uint8_t *copy = malloc(GD_PACKET);
	int res = copy ? 0 : err_set(err, -ENOMEM, "out of memory");
	unsigned s;

	channel_losses(ch);
	for (s = 0; s < ch->r->nslots && res == 0; s++)
		res = chain_out(o, ch, s, copy, since, count_front, err);
	free(copy);
	return res;
}
