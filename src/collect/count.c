/* Hit counters: the programs count, in memory that is theirs; this side adds up what they have counted, storing nothing. */
#include "collect/collect.h"
#include "collect/collect_clock.h"
#include "collect/collect_words.h"
#include "region/glob.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT_PROGRAMS 256
#define COUNT_PACKETS  (GD_SLOTS + 8u) /* at most: one a slot, and those in hand */
#define KEY_PACKETS    4u              /* 4096 different values a program */
#define SPARE_PACKETS  8u              /* at least so many are free for slots that have counted nothing yet */
#define ROWS_MAX       20000u

struct counted {
	struct region *r;
	struct channel ch;
	pid_t pid;
	bool gone;
};

struct counter {
	const struct count_opts *o;
	struct counted *prog[COUNT_PROGRAMS];
	unsigned nprog, problems;
	struct count_table table, gone; /* gone: of programs that have ended */
	uint8_t session[16];
	bool rule_matched[RULE_LIST_MAX];
};

static void tell(struct counter *k, const char *text)
{
	k->problems++;
	if (k->o->note)
		k->o->note(k->o->arg, text);
}

static struct count_row *row(struct count_table *t)
{
	struct count_row *v;

	if (t->n == t->cap) {
		unsigned cap = t->cap ? t->cap * 2 : 64;

		v = t->cap >= ROWS_MAX ? NULL : realloc(t->v, cap * sizeof(*v));
		if (!v)
			return NULL;
		t->v = v;
		t->cap = cap;
	}
	v = &t->v[t->n++];
	memset(v, 0, sizeof(*v));
	return v;
}

static void add_row(struct count_table *t, const struct counted *p, const char *event, const char *key, uint64_t n)
{
	struct count_row *v = row(t);

	if (!v) {
		t->lost += n;
		return;
	}
	snprintf(v->program, sizeof(v->program), "%s", p->r->head.comm);
	v->pid = p->pid;
	snprintf(v->event, sizeof(v->event), "%s", event);
	snprintf(v->key, sizeof(v->key), "%s", key);
	v->count = n;
}

static void key_text(const struct gd_count_key *k, char *to, size_t cap)
{
	uint64_t u;
	double d;
	size_t i, n;

	memcpy(&u, k->value, 8);
	memcpy(&d, k->value, 8);
	switch (k->kind) {
	case GD_KEY_U64:
		snprintf(to, cap, "%llu", (unsigned long long)u);
		break;
	case GD_KEY_I64:
		snprintf(to, cap, "%lld", (long long)u);
		break;
	case GD_KEY_F64:
		snprintf(to, cap, "%.17g", d);
		break;
	case GD_KEY_STR:
		n = k->len < sizeof(k->value) ? k->len : sizeof(k->value);
		for (i = 0; i < n && i + 1 < cap; i++)
			to[i] = (unsigned char)k->value[i] < 0x20 || k->value[i] == 0x7f ? '?' : k->value[i];
		to[i] = 0;
		if (!i)
			snprintf(to, cap, "\"\"");
		break;
	default:
		snprintf(to, cap, "?");
	}
}

static const char *class_name(const struct region *r, uint32_t i)
{
	return i < r->nclasses && r->cls[i]->state == RCLASS_OK ? r->cls[i]->name : "?";
}

static void note_matches(struct counter *k, const struct region *r)
{
	const struct rule_list *l = k->o->rules;
	uint32_t i;
	unsigned u;

	for (u = 0; u < l->n; u++)
		for (i = 0; i < r->nclasses && !k->rule_matched[u]; i++)
			k->rule_matched[u] = gd_glob_match(l->v[u].glob, strlen(l->v[u].glob), class_name(r, i), strlen(class_name(r, i)));
}

/* Patterns that no class of any program has matched. */
static void tell_unmatched(struct counter *k)
{
	const struct rule_list *l = k->o->rules;
	char text[300];
	unsigned u;

	for (u = 0; u < l->n; u++) {
		if (l->v[u].exclude || k->rule_matched[u] || !strcmp(l->v[u].glob, "*"))
			continue;
		snprintf(text, sizeof(text), "no event matched '%s' (gander list -e shows the events of a program)", l->v[u].glob);
		tell(k, text);
	}
}

/* One program's counters added to the table. */
static void sum(struct counter *k, struct counted *p, struct count_table *t)
{
	static uint64_t total[GD_CLASSES], keyed[GD_CLASSES], page[GD_COUNTERS];
	struct gd_channel *g = region_channel(p->r, p->ch.c);
	uint32_t list[GD_PACKETS_MAX], i, c, n, counters, keys, first;
	struct gd_count_key key;
	uint64_t newest;
	unsigned s, q;
	char text[64];

	region_classes(p->r);
	n = p->r->nclasses;
	counters = n < GD_COUNTERS ? n : GD_COUNTERS;
	note_matches(k, p->r);
	memset(total, 0, sizeof(total));
	memset(keyed, 0, sizeof(keyed));
	for (s = 0; s < p->r->nslots; s++) {
		q = channel_chain(&p->ch, s, list, &newest);
		for (i = 0; i < q; i++) {
			/* the packet that the slot had before this count, of events or of other hits: counting opens another */
			if (packet_look(p->r, list[i]).epoch != p->ch.epoch)
				continue;
			if (pread(p->r->fd, page, counters * 8, (off_t)packet_offset(list[i]) + GD_PACKET_HEADER) != (ssize_t)(counters * 8))
				continue;
			for (c = 0; c < counters; c++)
				total[c] += page[c];
		}
	}
	/* loaded once: what is compared is what is used */
	keys = __atomic_load_n(&g->keys_count, __ATOMIC_RELAXED);
	first = __atomic_load_n(&g->keys_first, __ATOMIC_RELAXED);
	if (!k->o->by_field || keys > KEY_PACKETS || first >= p->r->npackets || keys > p->r->npackets - first)
		keys = 0;
	for (i = 0; i < keys * (GD_PACKET / sizeof(key)); i++) {
		/* the value is there once its kind is */
		if (pread(p->r->fd, &key, sizeof(key), (off_t)(packet_offset(first) + i * sizeof(key))) != (ssize_t)sizeof(key) ||
		    !key.fingerprint || !key.kind || !key.count || key.class_id >= n)
			continue;
		key_text(&key, text, sizeof(text));
		keyed[key.class_id] += key.count;
		add_row(t, p, class_name(p->r, key.class_id), text, key.count);
	}
	/* The packets count every event. With a field, what remains has no such value (or came after the totals were read). */
	for (c = 0; c < n; c++)
		if (total[c] > keyed[c])
			add_row(t, p, class_name(p->r, c), "", total[c] - keyed[c]);
	channel_losses(&p->ch);
	for (s = 0; s < GD_SLOTS; s++)
		t->lost += slot_lost(&p->ch.slot[s]);
}

/* How many slots may begin to count at once: those of as many threads as there are. */
static uint32_t first_packets(pid_t pid, uint32_t nslots)
{
	struct stat st;
	char path[64];
	uint32_t n = SPARE_PACKETS;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if (stat(path, &st) == 0 && st.st_nlink > 2 && st.st_nlink - 2 > n) /* a directory each, and its own two names */
		n = st.st_nlink - 2 < GD_SLOTS ? (uint32_t)st.st_nlink - 2 : GD_SLOTS;
	return n < nslots * 2 ? n : nslots * 2;
}

static void take(struct counter *k, struct found *f, bool asked)
{
	struct channel_setup s = { .mode = GD_MODE_COUNT, .max_packets = COUNT_PACKETS + KEY_PACKETS, .rules = NULL };
	struct err err = ERR_INIT;
	struct counted *p;
	char text[700], comm[32] = "";
	int res;

	if (f->pid)
		proc_comm(f->pid, comm, sizeof(comm));
	if (f->kind != FOUND_REGION || f->dead) {
		snprintf(text, sizeof(text), f->kind == FOUND_OFF ? "%s (%d) cannot be counted: it could make no region (%s)" : "%s (%d): %s", comm,
			 (int)f->pid, f->why);
		if (!f->dead && (asked || k->o->all))
			tell(k, text);
		return;
	}
	if (k->nprog == COUNT_PROGRAMS)
		return;
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->r = f->region;
	f->region = NULL;
	p->pid = f->pid ? f->pid : (pid_t)p->r->head.pid;
	memcpy(s.session, k->session, 16);
	s.first_packets = first_packets(p->pid, p->r->nslots);
	res = channel_open(&p->ch, p->r, &s, &err);
	if (res == 0 && k->o->by_field)
		res = channel_grant_keys(&p->ch, KEY_PACKETS, &err);
	if (res == 0)
		res = channel_rules(&p->ch, k->o->rules, &err);
	if (res < 0) {
		snprintf(text, sizeof(text), "%s (%d) is not counted: %s", p->r->head.comm, (int)p->pid, err.text);
		tell(k, text);
		channel_close(&p->ch);
		region_close(p->r);
		free(p);
		return;
	}
	k->prog[k->nprog++] = p;
}

static bool is_known(void *arg, dev_t dev, ino_t ino)
{
	struct counter *k = arg;
	unsigned i;

	for (i = 0; i < k->nprog; i++)
		if (k->prog[i]->r->dev == dev && k->prog[i]->r->ino == ino)
			return true;
	return false;
}

static void find_more(struct counter *k, bool first)
{
	struct find f = { .known = is_known, .known_arg = k, .writable = true };
	unsigned i;

	find_all(&f, first ? FIND_ALL : FIND_FOREIGN, NULL);
	for (i = 0; i < f.n; i++)
		if (first || f.v[i].kind == FOUND_REGION)
			take(k, &f.v[i], false);
	find_done(&f);
}

static void forget(struct counter *k, unsigned i)
{
	struct counted *p = k->prog[i];

	channel_close(&p->ch);
	region_close(p->r);
	free(p);
	k->prog[i] = k->prog[--k->nprog];
}

/* A slot that finds no packet cannot count: there are always as many free ones as taken, so that a program with a hundred Ps has its hundred
 * after some rounds. True: there was one that had fewer, and may need more at once. */
static bool keep_ahead(struct counter *k)
{
	uint32_t free_now, taken;
	bool more = false;
	unsigned i;

	for (i = 0; i < k->nprog; i++) {
		struct channel *ch = &k->prog[i]->ch;

		free_now = channel_free_packets(ch);
		taken = ch->granted > free_now ? ch->granted - free_now : 0;
		taken = taken > SPARE_PACKETS ? taken : SPARE_PACKETS;
		if (free_now < taken)
			more |= channel_grant(ch, taken - free_now, 0) > 0;
	}
	return more;
}

static void round_of(struct counter *k, uint64_t elapsed, bool last)
{
	unsigned i;

	k->table.n = 0;
	k->table.lost = k->gone.lost;
	for (i = 0; i < k->gone.n; i++) {
		struct count_row *v = row(&k->table);

		if (v)
			*v = k->gone.v[i];
	}
	for (i = 0; i < k->nprog; i++) {
		struct counted *p = k->prog[i];

		if (region_dead(p->r)) {
			p->ch.dead = true;
			sum(k, p, &k->gone);
			sum(k, p, &k->table);
			forget(k, i--);
			continue;
		}
		sum(k, p, &k->table);
	}
	if (k->o->table)
		k->o->table(k->o->arg, &k->table, elapsed, last);
}

int count_run(const struct count_opts *o, struct err *err)
{
	struct counter *k = calloc(1, sizeof(*k));
	uint64_t start, now, next, until, wait;
	struct timespec ts;
	char text[33];
	int i, res = 0;
	unsigned u;

	if (!k)
		return err_set(err, -ENOMEM, "out of memory");
	k->o = o;
	session_new(k->session, text);
	for (i = 0; i < o->npids && res == 0; i++) {
		struct find f = { .known = is_known, .known_arg = k, .writable = true };

		res = find_pid(&f, o->pids[i], err);
		for (u = 0; u < f.n && res == 0; u++)
			take(k, &f.v[u], true);
		if (res == 0 && !f.n)
			res = err_set(err, -ENOENT, "process %d has no gander events (it uses neither libgander nor the Go agent)", (int)o->pids[i]);
		find_done(&f);
	}
	if (res == 0 && o->all)
		find_more(k, true);
	if (res == 0 && !k->nprog && !o->all)
		res = err_set(err, -ENOENT, "nothing can be counted");
	start = clock_ns(CLOCK_MONOTONIC); /* a program that was just started has been waited for */
	for (next = start + o->interval_ns; res == 0;) {
		now = clock_ns(CLOCK_MONOTONIC);
		if ((o->stop && *o->stop) || (o->for_ns && now - start >= o->for_ns) || (!k->nprog && !o->all))
			break;
		if (now >= next) {
			round_of(k, now - start, false);
			if (o->all)
				find_more(k, false);
			next += o->interval_ns;
		}
		until = o->for_ns && start + o->for_ns < next ? start + o->for_ns : next;
		until = until > now ? until - now : 0;
		wait = keep_ahead(k) ? 2000000 : 50000000;
		if (until > wait)
			until = wait;
		ts = (struct timespec) { .tv_nsec = (long)until };
		ppoll(NULL, 0, &ts, NULL);
	}
	if (res == 0) {
		for (u = 0; u < k->nprog; u++)
			channel_stop(&k->prog[u]->ch);
		usleep(2000);
		round_of(k, clock_ns(CLOCK_MONOTONIC) - start, true);
		tell_unmatched(k);
		res = (int)k->problems;
	}
	while (k->nprog)
		forget(k, 0);
	free(k->table.v);
	free(k->gone.v);
	free(k);
	return res;
}
