#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "collect/collect_channel.h"
#include "collect/collect_clock.h"
#include "collect/collect_find.h"
#include "collect/collect_record.h"
#include "lib/mkregion.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t session[16] = "a recording's id";

static int open_made(struct region **r, struct mkregion *m, struct err *err)
{
	char via[40];
	int fd;

	if (*m->dir) {
		fd = open(m->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	} else {
		snprintf(via, sizeof(via), "/proc/self/fd/%d", m->fd);
		fd = open(via, O_PATH | O_CLOEXEC);
	}
	assert_true(fd >= 0);
	return region_open(r, fd, -1, m->name, m->path, (uid_t)-1, true, err);
}

static void globs_are_checked(void **state)
{
	static const struct {
		const char *glob, *error;
	} cases[] = {
		{ "*", NULL },
		{ "a.[bc].?", NULL },
		{ "[]]", NULL },
		{ "[!]a]x", NULL },
		{ "\\*", NULL },
		{ "", "empty" },
		{ "ab[c", "column 3" },
		{ "x\\", "column 2" },
		{ "[", "column 1" },
		{ "[]", "column 1" },
		{ "a\nb", "column 2" },
	};
	char longer[200];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct err err = ERR_INIT;
		int res = rule_check_glob(cases[i].glob, &err);

		assert_int_equal(res, cases[i].error ? -EINVAL : 0);
		if (cases[i].error)
			assert_non_null(strstr(err.text, cases[i].error));
	}
	memset(longer, 'a', sizeof(longer));
	longer[119] = 0;
	assert_int_equal(rule_check_glob(longer, NULL), 0);
	longer[119] = 'a';
	longer[120] = 0;
	assert_int_equal(rule_check_glob(longer, NULL), -EINVAL);
}

static void the_last_rule_decides_and_exclusions_win(void **state)
{
	struct rule_list l = { 0 };

	assert_int_equal(rule_add(&l, "shop.*", false, 6, NULL), 0);
	assert_int_equal(rule_add(&l, "shop.cart.*", false, -1, NULL), 0);
	assert_int_equal(rule_add(&l, "*.secret", true, -1, NULL), 0);
	assert_int_equal(rule_for(&l, "shop.order", 6), 0);
	assert_int_equal(rule_for(&l, "shop.order", 7), -1);
	assert_int_equal(rule_for(&l, "shop.cart.add", 7), 1);
	assert_int_equal(rule_for(&l, "shop.cart.secret", 0), -1);
	assert_int_equal(rule_for(&l, "other", 0), -1);
}

static void expect_refused(struct mkregion *m, int code, const char *text)
{
	struct err err = ERR_INIT;
	struct region *r = NULL;

	assert_int_equal(open_made(&r, m, &err), code);
	assert_null(r);
	if (!strstr(err.text, text))
		fail_msg("'%s' is not in '%s'", text, err.text);
}

static void headers_are_checked(void **state)
{
	struct region *r = NULL;
	struct mkregion m;
	struct gd_header *h, good;

	mkregion_new(&m, NULL, 4, 2);
	h = mkregion_header(&m);
	good = *h;
	assert_int_equal(open_made(&r, &m, NULL), 0);
	region_close(r);
	h->minor = 77; /* a newer minor only adds */
	h->header_size += 64;
	assert_int_equal(open_made(&r, &m, NULL), 0);
	region_close(r);
#define BROKEN(assignment, code, text) \
	do { \
		*h = good; \
		assignment; \
		expect_refused(&m, code, text); \
	} while (0)
	BROKEN(h->magic++, -EINVAL, "bad magic");
	BROKEN((h->magic = 0, h->state = 0), -EAGAIN, "not finished");
	BROKEN(h->major = 2, -EPROTO, "use a newer gander");
	BROKEN(h->major = 0, -EPROTO, "newer agent");
	BROKEN(h->state = GD_STATE_BUILDING, -EAGAIN, "not finished");
	BROKEN(h->state = 9, -EINVAL, "damaged header");
	BROKEN(h->header_size = 8, -EINVAL, "damaged header");
	BROKEN(h->npackets = 5, -EINVAL, "too small");
	BROKEN((h->npackets = 1024, h->region_size = GD_REGION_SIZE(1024)), -EINVAL, "too small");
	BROKEN(h->npackets = 0, -EINVAL, "too small");
	BROKEN(h->npackets = UINT32_MAX, -EINVAL, "too small");
	BROKEN(h->region_size = 0, -EINVAL, "too small");
	BROKEN(h->nslots = 257, -EINVAL, "damaged header");
	BROKEN(h->nslots = 0, -EINVAL, "damaged header");
	BROKEN(h->clock = 9, -EINVAL, "damaged header");
	BROKEN(h->writer = 0, -EINVAL, "damaged header");
	mkregion_done(&m);
}

static void files_are_checked(void **state)
{
	struct mkregion m;
	char other[200];
	int fd;

	mkregion_new(&m, "/dev/shm", 4, 2);
	assert_int_equal(fchmod(m.fd, 0644), 0);
	expect_refused(&m, -EPERM, "open to others");
	fchmod(m.fd, 0600);
	snprintf(other, sizeof(other), "%s.link", m.path);
	assert_int_equal(link(m.path, other), 0);
	expect_refused(&m, -EMLINK, "linked elsewhere");
	unlink(other);
	if (geteuid() == 0) {
		assert_int_equal(fchown(m.fd, 12345, 0), 0);
		expect_refused(&m, -EPERM, "belongs to uid 12345");
		assert_int_equal(fchown(m.fd, 0, 0), 0);
	}
	assert_int_equal(ftruncate(m.fd, 8192), 0);
	expect_refused(&m, -EINVAL, "too small");
	unlink(m.path);
	assert_int_equal(symlink("/etc/passwd", m.path), 0);
	expect_refused(&m, -ELOOP, "symbolic link");
	unlink(m.path);
	assert_int_equal(mkfifo(m.path, 0600), 0);
	expect_refused(&m, -EINVAL, "no regular file");
	unlink(m.path);
	snprintf(m.path, sizeof(m.path), "./%s", m.name);
	fd = open(m.path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, GD_REGION_SIZE(4)), 0);
	close(fd);
	expect_refused(&m, -EINVAL, "on no tmpfs");
	unlink(m.path);
	snprintf(m.name, sizeof(m.name), "gander.0.xyz");
	*m.dir = 0;
	mkregion_done(&m);
}

static void names_are_checked(void **state)
{
	uid_t uid;

	assert_true(region_name_ok("gander.1000.0123456789abcdef", &uid));
	assert_int_equal(uid, 1000);
	assert_false(region_name_ok("gander.1000.0123456789abcde", &uid));
	assert_false(region_name_ok("gander.1000.0123456789abcdef0", &uid));
	assert_false(region_name_ok("gander.1000.0123456789ABCDEF", &uid));
	assert_false(region_name_ok("gander..0123456789abcdef", &uid));
	assert_false(region_name_ok("gander.99999999999.0123456789abcdef", &uid));
	assert_false(region_name_ok("gander.-1.0123456789abcdef", &uid));
	assert_false(region_name_ok("other.1.0123456789abcdef", &uid));
}

/* Reads everything new; checks that field a counts up from *next in each slot. Returns the events. */
static uint64_t drain(struct channel *ch, uint64_t next[GD_SLOTS], bool partial)
{
	uint64_t total = 0, v;
	unsigned i, k;
	int n = channel_plan(ch, partial, 1);

	for (i = 0; i < (unsigned)n; i++) {
		const struct piece *p = &ch->piece[i];
		const uint8_t *data = ch->r->map + packet_offset(p->packet) + p->off;

		assert_true(p->begin <= p->end || !p->len);
		assert_int_equal(p->len, p->events * 16);
		for (k = 0; k < p->events; k++) {
			memcpy(&v, data + 16 * k + 8, 8);
			assert_int_equal(v, next[p->slot]++);
		}
		total += p->events;
	}
	channel_commit(ch, 0, (unsigned)n);
	return total;
}

static struct channel ch; /* large */

static void open_recording(struct mkregion *m, struct region **r, const struct rule_list *rules, uint32_t first, uint32_t max)
{
	struct channel_setup s = { .mode = GD_MODE_DISCARD, .first_packets = first, .max_packets = max, .rules = rules };
	struct err err = ERR_INIT;

	memcpy(s.session, session, 16);
	assert_int_equal(open_made(r, m, &err), 0);
	if (channel_open(&ch, *r, &s, &err) < 0)
		fail_msg("%s", err.text);
}

static void everything_is_drained_once(void **state)
{
	uint64_t next[GD_SLOTS] = { 0 }, n[3] = { 0 }, drained = 0, lost = 0, i;
	struct rule_list rules = { 0 };
	struct mkregion m;
	struct region *r;
	uint32_t id;

	mkregion_new(&m, NULL, 16, 3);
	id = mkregion_declare(&m, "made.event", 6, 1);
	rule_add(&rules, "made.*", false, -1, NULL);
	open_recording(&m, &r, &rules, 8, 8);
	assert_int_equal(mkregion_class(&m, id)->enabled, GD_ENABLED(ch.c));
	assert_int_equal(ch.granted, 8);
	for (i = 0; i < 200000; i++) {
		unsigned s = (unsigned)(i * 7 / 3 % 3);

		if (mkregion_emit(&m, ch.c, s, id, 0, &n[s], 8))
			n[s]++;
		else
			lost++;
		if (i % 50001 == 0 || (i % 3000 == 0 && i > 100000))
			drained += drain(&ch, next, i % 2);
	}
	drained += drain(&ch, next, true);
	assert_int_equal(drained, n[0] + n[1] + n[2]);
	assert_true(lost > 0);
	channel_losses(&ch);
	assert_int_equal(slot_lost(&ch.slot[0]) + slot_lost(&ch.slot[1]) + slot_lost(&ch.slot[2]), lost);
	/* what is not in a slot's hands is free again */
	assert_int_equal(channel_free_packets(&ch), 8 - 3);
	assert_int_equal(channel_grant(&ch, 100, 0), 0);
	channel_stop(&ch);
	assert_int_equal(mkregion_class(&m, id)->enabled, 0);
	channel_close(&ch);
	assert_int_equal(mkregion_channel(&m, 0)->state, GD_CHANNEL_OFF);
	for (i = 0; i < 16; i++) /* three stay: each slot's cur */
		lost -= mkregion_channel(&m, 0)->granted[0] >> i & 1;
	region_close(r);
	/* the next recording of the same channel starts where the slots are */
	n[0] = n[1] = n[2] = 0;
	memset(next, 0, sizeof(next));
	open_recording(&m, &r, &rules, 4, 8);
	assert_int_equal(drain(&ch, next, true), 0);
	for (i = 0; i < 3; i++)
		for (drained = 0; drained < 10; drained++, n[i]++)
			assert_true(mkregion_emit(&m, ch.c, (unsigned)i, id, 0, &n[i], 8));
	assert_int_equal(drain(&ch, next, true), 30);
	channel_close(&ch);
	region_close(r);
	mkregion_done(&m);
}

static void levels_exclusions_and_later_rules(void **state)
{
	struct rule_list rules = { 0 };
	struct mkregion m;
	struct region *r;
	uint32_t a, b, c;

	mkregion_new(&m, NULL, 16, 1);
	a = mkregion_declare(&m, "x.error", 3, 1);
	b = mkregion_declare(&m, "x.debug", 7, 1);
	c = mkregion_declare(&m, "x.secret", 3, 1);
	rule_add(&rules, "x.*", false, 4, NULL);
	rule_add(&rules, "*secret", true, -1, NULL);
	open_recording(&m, &r, &rules, 4, 8);
	assert_int_equal(mkregion_class(&m, a)->enabled, 1);
	assert_int_equal(mkregion_class(&m, b)->enabled, 0);
	assert_int_equal(mkregion_class(&m, c)->enabled, 0);
	assert_int_equal(ch.setup[a], SETUP_ON);
	assert_int_equal(ch.setup[c], SETUP_NONE);
	rules.n = 0;
	rule_add(&rules, "*", false, -1, NULL);
	assert_int_equal(channel_rules(&ch, &rules, NULL), 0);
	assert_int_equal(mkregion_class(&m, b)->enabled & mkregion_class(&m, c)->enabled, 1);
	assert_int_equal(((struct gd_control *)(m.map + GD_OFF_CONTROL))->gen & 1, 0);
	channel_close(&ch);
	region_close(r);
	mkregion_done(&m);
}

static void a_dead_collectors_channel_is_cleaned(void **state)
{
	uint64_t next[GD_SLOTS] = { 0 }, n = 0;
	struct rule_list rules = { 0 };
	struct mkregion m;
	struct region *r, *again;
	uint32_t id, granted, i;

	mkregion_new(&m, NULL, 32, 1);
	id = mkregion_declare(&m, "made.event", 6, 1);
	rule_add(&rules, "*", false, -1, NULL);
	open_recording(&m, &r, &rules, 16, 16);
	for (; n < 30000; n++)
		mkregion_emit(&m, ch.c, 0, id, 0, &n, 8);
	drain(&ch, next, false);
	for (; n < 45000; n++)
		mkregion_emit(&m, ch.c, 0, id, 0, &n, 8);
	/* the collector dies: its lock goes with its descriptor, everything else stays */
	free(ch.piece);
	free(ch.setup);
	region_close(r);
	assert_int_equal(mkregion_channel(&m, 0)->state, GD_CHANNEL_ON);
	assert_int_equal(open_made(&again, &m, NULL), 0);
	assert_false(region_channel_held(again, 0));
	channel_clean_stale(again);
	assert_int_equal(mkregion_channel(&m, 0)->state, GD_CHANNEL_OFF);
	assert_int_equal(mkregion_class(&m, id)->enabled, 0);
	for (i = 0, granted = 0; i < 32; i++)
		granted += mkregion_channel(&m, 0)->granted[0] >> i & 1;
	assert_int_equal(granted, 1); /* the slot's cur */
	region_close(again);
	mkregion_done(&m);
}

/* A program that was born or forked into a recording is found by its collector a moment later: others leave it alone for a minute. */
static void a_recording_waits_for_its_collector(void **state)
{
	static const struct {
		uint64_t age_ns;
		uint32_t collector_pid, state;
	} cases[] = {
		{ 0, 0, GD_CHANNEL_ON },
		{ 50000000000, 0, GD_CHANNEL_ON },
		{ 61000000000, 0, GD_CHANNEL_OFF },
		{ 0, 1, GD_CHANNEL_OFF }, /* it has come, and is dead */
	};
	struct mkregion m;
	struct region *r;
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		mkregion_new(&m, NULL, 8, 1);
		mkregion_header(&m)->start.mono_ns -= cases[i].age_ns;
		mkregion_born(&m, 0, session, GD_MODE_DISCARD, 0, 8, 4);
		mkregion_channel(&m, 0)->collector_pid = cases[i].collector_pid;
		assert_int_equal(open_made(&r, &m, NULL), 0);
		channel_clean_stale(r);
		assert_int_equal(mkregion_channel(&m, 0)->state, cases[i].state);
		region_close(r);
		mkregion_done(&m);
	}
}

/* The region of a program that nobody has ever recorded stays as small as it was. */
static void a_look_gives_no_memory(void **state)
{
	struct stat before, after;
	struct mkregion m;
	struct region *r;
	unsigned c;

	mkregion_new(&m, NULL, 8, 1);
	assert_int_equal(open_made(&r, &m, NULL), 0);
	assert_int_equal(fallocate(m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, GD_OFF_CHANNELS, GD_CHANNELS * sizeof(struct gd_channel)), 0);
	assert_int_equal(fstat(m.fd, &before), 0);
	assert_int_equal(channel_of_session(r, session), -1);
	for (c = 0; c < GD_CHANNELS; c++)
		assert_false(region_channel_on(r, c));
	assert_int_equal(fstat(m.fd, &after), 0);
	assert_int_equal(after.st_blocks, before.st_blocks);
	mkregion_born(&m, 5, session, GD_MODE_DISCARD, 0, 8, 4);
	assert_true(region_channel_on(r, 5));
	assert_int_equal(channel_of_session(r, session), 5);
	region_close(r);
	mkregion_done(&m);
}

static void overwrite_mode_keeps_the_newest(void **state)
{
	static uint8_t copy[GD_PACKET];
	const struct gd_packet *head = (const struct gd_packet *)copy;
	uint32_t list[GD_PACKETS_MAX], id, i, k, chain;
	uint64_t newest = 0;
	uint64_t n, v, expect = 0;
	struct mkregion m;
	struct region *r;

	mkregion_new(&m, NULL, 8, 2);
	id = mkregion_declare(&m, "made.event", 6, 1);
	mkregion_born(&m, 2, session, GD_MODE_OVERWRITE, 0, 8, 4);
	for (n = 0; n < 100000; n++)
		assert_true(mkregion_emit(&m, 2, 1, id, 0, &n, 8));
	assert_int_equal(open_made(&r, &m, NULL), 0);
	assert_int_equal(channel_of_session(r, session), 2);
	assert_int_equal(channel_open_dead(&ch, r, 2, NULL), 0);
	assert_int_equal(channel_chain(&ch, 0, list, &newest), 0);
	chain = channel_chain(&ch, 1, list, &newest);
	assert_int_equal(chain, 4);
	for (i = 0; i < chain; i++) {
		assert_int_equal(channel_copy_packet(&ch, 1, list[i], newest - (chain - 1 - i), copy), 0);
		if (!i)
			expect = head->first;
		assert_int_equal(head->first, expect);
		for (k = 0; k < GD_HEAD_COUNT(head->head); k++, expect++) {
			memcpy(&v, copy + GD_PACKET_HEADER + 16 * k + 8, 8);
			assert_int_equal(v, expect);
		}
	}
	assert_int_equal(expect, 100000);
	/* one that has come round again, one that is being opened, and one that is another slot's by now */
	assert_int_equal(channel_copy_packet(&ch, 1, list[1], newest - 2 - 4, copy), -EAGAIN);
	mkregion_packet(&m, list[1])->lap |= 1;
	assert_int_equal(channel_copy_packet(&ch, 1, list[1], newest - 2, copy), -EAGAIN);
	assert_int_equal(channel_chain(&ch, 1, list, &newest), 2);
	mkregion_packet(&m, list[1])->slot = 0;
	assert_int_equal(channel_copy_packet(&ch, 1, list[1], newest, copy), -EAGAIN);
	channel_close(&ch);
	region_close(r);
	mkregion_done(&m);
}

/* A hostile or damaged region: whatever is in it, reading ends, and stays inside. */
static void damage_is_survived(void **state)
{
	uint64_t newest = 0;
	uint32_t id, i, k, list[GD_PACKETS_MAX];
	struct mkregion m;
	struct region *r;
	uint64_t n;

	for (k = 0; k < 13; k++) {
		struct gd_slot *slot;

		mkregion_new(&m, NULL, 8, 2);
		id = mkregion_declare(&m, "made.event", 6, 1);
		mkregion_born(&m, 0, session, GD_MODE_DISCARD, 0, 8, 4);
		for (n = 0; n < 10000; n++)
			mkregion_emit(&m, 0, 0, id, 0, &n, 8);
		slot = &mkregion_channel(&m, 0)->slot[0];
		switch (k) {
		case 0:
			slot->cur = 9;
			break;
		case 1:
			slot->cur = UINT32_MAX;
			break;
		case 2:
			mkregion_packet(&m, 1)->prev = 2;
			break; /* a circle */
		case 3:
			mkregion_packet(&m, 1)->prev = 4000000000u;
			break;
		case 4:
			mkregion_packet(&m, 1)->head = GD_HEAD(5, 70000);
			break;
		case 5:
			mkregion_packet(&m, 1)->head = GD_HEAD(5, 3);
			break;
		case 6:
			mkregion_packet(&m, 1)->last_time = 1;
			break;
		case 7:
			mkregion_packet(&m, 0)->last_time = UINT64_MAX;
			break;
		case 8:
			mkregion_packet(&m, 1)->first = 1u << 30;
			break;
		case 9:
			mkregion_packet(&m, 1)->seq = 0;
			break;
		case 10:
			mkregion_packet(&m, 1)->lap = 3;
			break;
		case 11:
			for (i = 0; i < 8; i++)
				mkregion_packet(&m, i)->seq = 5;
			break;
		case 12:
			memset(m.map + GD_OFF_CHANNELS, 0xff, sizeof(struct gd_channel));
			break;
		}
		assert_int_equal(open_made(&r, &m, NULL), 0);
		assert_int_equal(channel_open_dead(&ch, r, 0, NULL), 0);
		for (i = 0; i < 3; i++)
			channel_commit(&ch, 0, (unsigned)channel_plan(&ch, true, 1));
		for (i = 0; i < 2; i++)
			channel_chain(&ch, i, list, &newest);
		channel_close(&ch);
		region_close(r);
		mkregion_done(&m);
	}
}

static void a_file_that_shrinks_is_no_sigbus(void **state)
{
	struct rule_list rules = { 0 };
	struct mkregion m;
	struct region *r;
	uint64_t n;
	uint32_t id;

	mkregion_new(&m, NULL, 8, 1);
	id = mkregion_declare(&m, "made.event", 6, 1);
	rule_add(&rules, "*", false, -1, NULL);
	open_recording(&m, &r, &rules, 4, 8);
	for (n = 0; n < 5000; n++)
		mkregion_emit(&m, ch.c, 0, id, 0, &n, 8);
	assert_int_equal(ftruncate(m.fd, GD_OFF_DATA), 0);
	channel_commit(&ch, 0, (unsigned)channel_plan(&ch, true, 1));
	assert_true(r->shrunk);
	assert_int_equal(ftruncate(m.fd, 4096), 0);
	region_classes(r);
	channel_plan(&ch, true, 1);
	channel_rules(&ch, &rules, NULL);
	channel_close(&ch);
	region_close(r);
	mkregion_done(&m);
}

static void unfinished_classes_are_seen_later(void **state)
{
	static const uint8_t broken[] = { 1, 0, 6, 9, 1, 'x' };
	struct mkregion m;
	struct region *r;
	uint32_t a, b, c;

	mkregion_new(&m, NULL, 4, 1);
	a = mkregion_declare(&m, "first", 6, 1);
	b = mkregion_declare(&m, "second", 6, 2);
	mkregion_class(&m, a)->state = GD_CLASS_CLAIMED;
	assert_int_equal(open_made(&r, &m, NULL), 0);
	assert_int_equal(region_classes(r), 1);
	assert_string_equal(r->cls[b]->name, "second");
	assert_int_equal(r->cls[a]->state, RCLASS_UNSETTLED);
	mkregion_class(&m, a)->state = GD_CLASS_PUBLISHED;
	c = mkregion_declare_bytes(&m, broken, sizeof(broken));
	assert_int_equal(region_classes(r), 1);
	assert_string_equal(r->cls[a]->name, "first");
	assert_int_equal(r->cls[c]->state, RCLASS_BROKEN);
	mkregion_class(&m, mkregion_declare(&m, "far", 6, 1))->desc_off = UINT32_MAX - 4;
	mkregion_class(&m, mkregion_declare(&m, "long", 6, 1))->desc_len = UINT32_MAX;
	mkregion_header(&m)->class_count = UINT32_MAX; /* more than fit: those were refused */
	assert_int_equal(region_classes(r), 0);
	assert_int_equal(r->nclasses, GD_CLASSES);
	region_close(r);
	mkregion_done(&m);
}

static void sizes_of_events(void **state)
{
	static const uint8_t desc[] = { 1, 0, 6, 2, 1, 'e', 1, 'a', 0, GD_U32, 1, 's', 0, GD_STRING };
	uint8_t ev[64] = { 0 };
	struct mkregion m;
	struct region *r;

	mkregion_new(&m, NULL, 4, 1);
	assert_int_equal(mkregion_declare_bytes(&m, desc, sizeof(desc)), 0);
	assert_int_equal(open_made(&r, &m, NULL), 0);
	region_classes(r);
	ev[12] = 5; /* the string's length */
	assert_int_equal(event_size(r, 0, ev, sizeof(ev)), 8 + 4 + 2 + 5);
	assert_int_equal(event_size(r, 0, ev, 18), 0);
	assert_int_equal(event_size(r, 0, ev, 4), 0);
	memset(ev, 0, sizeof(ev));
	assert_int_equal(event_size(r, GD_CTX_TID | GD_CTX_GOID | GD_CTX_CPU | GD_CTX_SPAN | GD_CTX_KEY, ev, sizeof(ev)), 8 + 30 + 6);
	ev[12] = 2; /* two return addresses behind the thread id */
	assert_int_equal(event_size(r, GD_CTX_TID | GD_CTX_STACK, ev, sizeof(ev)), 8 + 4 + 2 + 16 + 6);
	ev[0] = 1; /* no such class */
	assert_int_equal(event_size(r, 0, ev, sizeof(ev)), 0);
	region_close(r);
	mkregion_done(&m);
}

static void the_clocks_line(void **state)
{
	struct gd_clock_sample lie, start, packet;
	struct clock_line l, m;
	uint64_t now;
	int i;

	clock_start(&l, true);
	clock_fit(&l);
	assert_int_equal(l.freq_hz, 1000000000);
	assert_int_equal(clock_epoch(&l, l.last.counter), l.last.mono_ns + l.real_minus_mono);
	i = 0;
	do /* until nothing has come between */
		clock_start(&l, false);
	while (l.first.width > 2000 && i++ < 10000);
	usleep(20000);
	lie = l.first;
	lie.counter -= 1000;
	lie.mono_ns -= 1000000000000; /* no CPU is so slow */
	clock_older(&l, &lie);
	assert_int_equal(l.older.counter, l.first.counter);
	/* a program's start that was interrupted while it looked at its clocks, and a packet that it opened later */
	start = packet = l.first;
	start.counter -= 2000000000;
	start.mono_ns -= 1000000000;
	start.width = 20000;
	packet.counter -= 1000000000;
	packet.mono_ns -= 500000000;
	packet.width = 60;
	m = l;
	clock_older(&m, &start);
	assert_int_equal(m.older.counter, start.counter);
	clock_older(&m, &packet);
	assert_int_equal(m.older.counter, packet.counter);
	clock_older(&m, &start);
	assert_int_equal(m.older.counter, packet.counter);
	m = l;
	m.first.width = 10000;
	clock_older(&m, &start);
	clock_fit(&m);
	assert_true(m.error_ns >= m.ns_per_tick * 5000); /* as good as what it is drawn through */
	i = 0;
	do
		clock_fit(&l);
	while (l.last.width > 2000 && i++ < 10000);
	now = l.last.mono_ns + l.real_minus_mono;
	assert_true(l.freq_hz > 1000000 && l.freq_hz < 10000000000);
	assert_true(clock_epoch(&l, l.last.counter) - now + 2000 < 4000);
	assert_true(l.error_ns < 2000);
}

#define DEAD 100u

/* A program that is just beginning is taken by the name of its file, however many others lie about that a scan would look through first: they are not touched. */
static void a_new_file_is_taken_by_its_name(void **state)
{
	static struct mkregion dead[DEAD];
	static struct rule_list rules;
	struct record_opts o = { .rules = &rules, .ctf_version = 1, .mode = GD_MODE_DISCARD };
	char dir[] = "/tmp/gander-unit-XXXXXX", command[100];
	struct record *rec = calloc(1, sizeof(*rec));
	struct mkregion m;
	unsigned i;

	assert_non_null(rec);
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof(command), "%s/ctf", dir);
	assert_int_equal(mkdir(command, 0700), 0);
	rec->o = &o;
	snprintf(rec->dir, sizeof(rec->dir), "%s", dir);
	memcpy(rec->session, session, 16);
	clock_start(&rec->clock, false);
	clock_start(&rec->mono, true);
	for (i = 0; i < DEAD; i++) {
		mkregion_new(&dead[i], "/dev/shm", 4, 1);
		mkregion_die(&dead[i]);
	}
	record_watch(rec);
	assert_true(rec->inotify_fd >= 0);
	mkregion_new(&m, "/dev/shm", 8, 1);
	mkregion_header(&m)->state = GD_STATE_BUILDING;
	mkregion_declare(&m, "made.event", 6, 1);
	mkregion_born(&m, 0, session, GD_MODE_DISCARD, 0, 4, 4);
	record_hear(rec);
	assert_in_range(rec->nfresh, 1, FRESH_MAX); /* others may begin here meanwhile */
	for (i = 0; i < rec->nfresh; i++)
		rec->fresh[i].until_ns = UINT64_MAX;
	record_scan_fresh(rec);
	assert_int_equal(rec->nprog, 0);
	mkregion_header(&m)->state = GD_STATE_READY; /* it had not been finished: it is looked at again, nobody tells of it once more */
	for (i = 0; i < 100000 && !rec->nprog && rec->nfresh; i++) {
		rec->fresh_next_ns = 0;
		record_scan_fresh(rec);
	}
	assert_int_equal(rec->nprog, 1);
	assert_string_equal(rec->prog[0]->r->name, m.name);
	assert_true(rec->prog[0]->born);
	assert_in_range(rec->known.n, 1, DEAD / 2);
	/* what was not heard of a scan finds, with all the rest */
	record_scan_begin(rec, false);
	while (rec->scanning)
		record_scan_part(rec);
	assert_in_range(rec->known.n, DEAD / 2, UINT32_MAX);
	assert_int_equal(rec->nprog, 1);
	/* names that are none are not remembered, nor more than there is room for */
	rec->nfresh = 0;
	for (i = 0; i < DEAD; i++) {
		mkregion_done(&dead[i]);
		mkregion_new(&dead[i], "/dev/shm", 4, 1);
		mkregion_done(&dead[i]);
	}
	record_hear(rec);
	assert_in_range(rec->nfresh, 1, FRESH_MAX);
	for (i = 0; i < 100000 && rec->nfresh; i++) {
		rec->fresh_next_ns = 0;
		record_scan_fresh(rec);
	}
	assert_int_equal(rec->nfresh, 0); /* they are gone */
	program_free(rec->prog[0]);
	close(rec->inotify_fd);
	map_done(&rec->known);
	free(rec->problem);
	free(rec);
	mkregion_done(&m);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(globs_are_checked),
		cmocka_unit_test(the_last_rule_decides_and_exclusions_win),
		cmocka_unit_test(headers_are_checked),
		cmocka_unit_test(files_are_checked),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(everything_is_drained_once),
		cmocka_unit_test(levels_exclusions_and_later_rules),
		cmocka_unit_test(a_dead_collectors_channel_is_cleaned),
		cmocka_unit_test(a_recording_waits_for_its_collector),
		cmocka_unit_test(a_look_gives_no_memory),
		cmocka_unit_test(overwrite_mode_keeps_the_newest),
		cmocka_unit_test(damage_is_survived),
		cmocka_unit_test(a_file_that_shrinks_is_no_sigbus),
		cmocka_unit_test(unfinished_classes_are_seen_later),
		cmocka_unit_test(sizes_of_events),
		cmocka_unit_test(the_clocks_line),
		cmocka_unit_test(a_new_file_is_taken_by_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
