/* Declaring classes, and applying the collectors' rules to them: docs/region.md, "Declaring a class". Any thread, never waits: what a
 * declarer that died left unfinished is passed by. */
#include "tracer/sys.h"
#include "tracer/tracer.h"

#include "region/desc.h"
#include "region/glob.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static struct gd_header *header(void)
{
	return (struct gd_header *)gander__t.map;
}

static struct gd_class *class_slot(uint32_t id)
{
	return (struct gd_class *)(gander__t.map + gd_class_offset(id));
}

void tracer_refuse_class(void)
{
	if (tracer_alive())
		__atomic_fetch_add(&header()->lost_classes, 1, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ descriptions */

struct out {
	uint8_t *at, *end;
};

static void put(struct out *o, const void *p, size_t n)
{
	if (o->at && n <= (size_t)(o->end - o->at)) {
		memcpy(o->at, p, n);
		o->at += n;
	} else {
		o->at = NULL;
	}
}

static void put8(struct out *o, unsigned v)
{
	uint8_t b = (uint8_t)v;

	put(o, &b, 1);
}

static void put_name(struct out *o, const char *name)
{
	size_t n = name ? strlen(name) : 0;

	if (n < 1 || n > GD_NAME_MAX) {
		o->at = NULL;
		return;
	}
	put8(o, (unsigned)n);
	put(o, name, n);
}

static void put_fields(struct out *o, const struct gander_field *f, unsigned n, int depth);

static void put_element(struct out *o, const struct gander_field *f, unsigned type, int depth)
{
	put8(o, type);
	if (type == GANDER_T_STRUCT) {
		put8(o, f->nsub);
		put_fields(o, f->sub, f->nsub, depth + 1);
	}
}

static void put_fields(struct out *o, const struct gander_field *f, unsigned n, int depth)
{
	uint32_t i;
	uint16_t n16;

	if (depth > GD_DESC_DEPTH) {
		o->at = NULL;
		return;
	}
	for (; n; n--, f++) {
		put_name(o, f->name);
		put8(o, f->flags);
		switch (f->type) {
		case GANDER_T_ENUM:
			put8(o, f->type);
			put8(o, f->element);
			n16 = (uint16_t)f->count;
			put(o, &n16, 2);
			for (i = 0; i < n16; i++) {
				put(o, &f->labels[i].low, 8);
				put(o, &f->labels[i].high, 8);
				put_name(o, f->labels[i].name);
			}
			break;
		case GANDER_T_ARRAY:
			put8(o, f->type);
			put(o, &f->count, 4);
			put_element(o, f, f->element, depth + 1);
			break;
		case GANDER_T_SEQUENCE:
			put8(o, f->type);
			put_element(o, f, f->element, depth + 1);
			break;
		default:
			put_element(o, f, f->type, depth);
		}
	}
}

int tracer_describe(uint8_t *to, const char *name, unsigned level, unsigned kind, const struct gander_field *fields, unsigned nfields)
{
	struct out o = { to, to + TRACER_DESC_MAX };

	if (nfields > 255)
		return -1;
	put8(&o, GD_DESC_VERSION);
	put8(&o, kind);
	put8(&o, level);
	put8(&o, nfields);
	put_name(&o, name);
	put_fields(&o, fields, nfields, 0);
	return o.at ? (int)(o.at - to) : -1;
}

/* ------------------------------------------------------------------ heap */

/* Bytes of the heap that have memory: allocated by the constructor. What lies beyond is asked of the kernel before it is touched (a
 * full tmpfs is then an error, not a SIGBUS): the one system call outside of constructors, in declarations that come late. */
static uint32_t heap_ready;

void tracer_heap_allocated(uint32_t bytes)
{
	__atomic_store_n(&heap_ready, bytes, __ATOMIC_RELAXED);
}

static bool have_memory(char *at, size_t len)
{
	char *from = (char *)((uintptr_t)at & ~(uintptr_t)(GD_PAGE - 1)), *to = at + len;
	long r;

	if ((size_t)(to - (gander__t.map + GD_OFF_HEAP)) <= __atomic_load_n(&heap_ready, __ATOMIC_RELAXED))
		return true;
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
	r = sys(SYS_madvise, from, to - from, MADV_POPULATE_WRITE);
	return r == 0 || r == -EINVAL; /* before Linux 5.14: touched unasked */
}

uint32_t tracer_heap_take(uint32_t len, char **at)
{
	uint32_t need = ((uint32_t)sizeof(struct gd_record) + len + 7) & ~7u, off, tries = 0;
	struct gd_record *rec;

	off = __atomic_load_n(&header()->heap_used, __ATOMIC_RELAXED);
	do {
		if (tries++ == GD_TRIES || off % 8 || off > GD_HEAP_SIZE || need > GD_HEAP_SIZE - off || !have_memory(gander__t.map + GD_OFF_HEAP + off, need))
			return 0;
	} while (!__atomic_compare_exchange_n(&header()->heap_used, &off, off + need, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	rec = (struct gd_record *)(void *)(gander__t.map + GD_OFF_HEAP + off);
	rec->len = len;
	*at = (char *)(rec + 1);
	return GD_OFF_HEAP + off + (uint32_t)sizeof(*rec);
}

void tracer_heap_finish(char *at, uint32_t kind)
{
	__atomic_store_n(&((struct gd_record *)(void *)at - 1)->kind, kind, __ATOMIC_RELEASE); /* [RECORD] */
}

void tracer_note(const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	char *at;

	if (!tracer_heap_take(len, &at))
		return;
	memcpy(at, text, len);
	tracer_heap_finish(at, GD_RECORD_NOTE);
}

/* ------------------------------------------------------------------ classes */

/* A published class with these bytes below `limit`, UINT32_MAX: none. */
static uint32_t find(const void *desc, uint32_t len, uint32_t hash, uint32_t limit)
{
	uint32_t i, off;

	for (i = 0; i < limit && i < GD_CLASSES; i++) {
		struct gd_class *c = class_slot(i);

		if (__atomic_load_n(&c->state, __ATOMIC_SEQ_CST) != GD_CLASS_PUBLISHED) /* [CLASS] */
			continue;
		off = __atomic_load_n(&c->desc_off, __ATOMIC_RELAXED);
		if (c->hash == hash && c->desc_len == len && off >= GD_OFF_HEAP && off <= GD_META_SIZE - len && !memcmp(gander__t.map + off, desc, len))
			return i;
	}
	return UINT32_MAX;
}

/* The rules are applied once, by whoever is first: one that finds a class which its declarer has only just published must not emit before. */
static uint32_t *use_class(uint32_t i, const void *desc, uint32_t len, uint32_t *id)
{
	static uint32_t applied[GD_CLASSES / 32];

	if (!(__atomic_load_n(&applied[i / 32], __ATOMIC_ACQUIRE) >> (i % 32) & 1)) { /* [RULE] */
		tracer_apply_rules(i, desc, len);
		__atomic_fetch_or(&applied[i / 32], 1u << (i % 32), __ATOMIC_RELEASE); /* [RULE] */
	}
	*id = i;
	return &class_slot(i)->enabled;
}

/* The page of a class slot: the first has memory from the start, the others are asked for once. */
static bool class_has_memory(uint32_t i)
{
	static uint64_t pages[GD_CLASSES * sizeof(struct gd_class) / GD_PAGE / 64] = { 1 };
	uint32_t page = i / (GD_PAGE / (uint32_t)sizeof(struct gd_class));

	if (__atomic_load_n(&pages[page / 64], __ATOMIC_RELAXED) >> (page % 64) & 1)
		return true;
	if (!have_memory((char *)class_slot(i), sizeof(struct gd_class)))
		return false;
	__atomic_fetch_or(&pages[page / 64], 1ull << (page % 64), __ATOMIC_RELAXED);
	return true;
}

uint32_t *tracer_declare(const void *desc, uint32_t len, uint32_t *id)
{
	uint32_t hash = gd_desc_hash(desc, len), i, same, off, tries = 0;
	struct gd_class *c;
	char *at;

	same = find(desc, len, hash, __atomic_load_n(&header()->class_count, __ATOMIC_SEQ_CST));
	if (same != UINT32_MAX)
		return use_class(same, desc, len, id);
	off = tracer_heap_take(len, &at);
	if (!off) {
		tracer_refuse_class();
		return NULL;
	}
	memcpy(at, desc, len);
	tracer_heap_finish(at, GD_RECORD_DESC);
	i = __atomic_load_n(&header()->class_count, __ATOMIC_RELAXED);
	do {
		if (tries++ == GD_TRIES || i >= GD_CLASSES || !class_has_memory(i)) {
			tracer_refuse_class();
			return NULL;
		}
	} while (!__atomic_compare_exchange_n(&header()->class_count, &i, i + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	c = class_slot(i);
	c->state = GD_CLASS_CLAIMED;
	c->desc_off = off;
	c->desc_len = len;
	c->hash = hash;
	/* Another thread may have declared the same meanwhile. Looked at before ours is published: nobody can have found it, and it may be taken
	 * back. Two that look at the same instant both stay: two ids for one class. */
	same = find(desc, len, hash, i);
	if (same != UINT32_MAX) {
		__atomic_store_n(&c->state, GD_CLASS_ALIAS, __ATOMIC_SEQ_CST); /* [CLASS] */
		return use_class(same, desc, len, id);
	}
	__atomic_store_n(&c->state, GD_CLASS_PUBLISHED, __ATOMIC_SEQ_CST); /* [CLASS] */
	return use_class(i, desc, len, id);
}

/* ------------------------------------------------------------------ rules */

static bool rule_matches(const struct gd_rule *rule, const struct gd_desc *d, unsigned channel)
{
	char glob[sizeof(rule->glob)];

	unsigned level = __atomic_load_n(&rule->level, __ATOMIC_RELAXED);

	if (!rule->used || rule->channel != channel || (level != 255 && d->level > level))
		return false;
	memcpy(glob, rule->glob, sizeof(glob));
	glob[sizeof(glob) - 1] = 0;
	return gd_glob_match(glob, strlen(glob), d->name, d->name_len);
}

/* The linked form of the generic filter at `off`, as an offset for class.filter[]; 0 when this class cannot have it. */
static uint32_t link_filter(uint32_t off, const void *desc, uint32_t len)
{
	uint64_t linked[512];
	uint32_t to, max;
	char *at;
	int r;

	if (off < GD_OFF_FILTERS || off >= GD_OFF_HEAP || off % 8)
		return 0;
	max = GD_OFF_HEAP - off;
	r = gd_filter_link(gander__t.map + off, max < GD_FILTER_GENERIC_MAX ? max : GD_FILTER_GENERIC_MAX, desc, len, linked, sizeof(linked));
	if (r <= 0)
		return 0;
	to = tracer_heap_take((uint32_t)r, &at);
	if (!to)
		return 0;
	memcpy(at, linked, (size_t)r);
	tracer_heap_finish(at, GD_RECORD_FILTER);
	return to;
}

/* Stores a condition set where it stays; 0: no room. */
static uint32_t keep_set(const struct gd_condition_set *set)
{
	uint32_t to;
	char *at;

	to = tracer_heap_take(sizeof(*set), &at);
	if (!to)
		return 0;
	memcpy(at, set, sizeof(*set));
	tracer_heap_finish(at, GD_RECORD_FILTER);
	return to;
}

/* Filters that one application of the rules links at most, and sets that it keeps, so that one who changes rules for ever neither fills the heap nor
 * takes the time. */
#define LINKS (8 * GD_CHANNELS)

/* What a class has in one channel, as far as it is made already: what lies in the heap never changes, and is made once. */
struct made {
	uint32_t from, filter; /* the rule's generic filter, and its linked form */
	struct gd_condition_set set;
	uint32_t set_off;
	uint32_t condition_from[GD_CONDITIONS], condition[GD_CONDITIONS];
};

/* The linked form of a condition's filter; false when this class cannot have it. */
static bool link_condition(struct made *made, uint32_t number, uint32_t from, const void *desc, uint32_t len, uint32_t *links, uint32_t *linked)
{
	*linked = 0;
	if (!from)
		return true;
	if (made->condition_from[number] != from) {
		made->condition[number] = (*links)++ < LINKS ? link_filter(from, desc, len) : 0;
		made->condition_from[number] = from;
	}
	*linked = made->condition[number];
	return *linked != 0;
}

/* A channel's rules for one class: bits for class.enabled, and what to put into class.filter. */
static uint32_t apply_channel(uint32_t c, const struct gd_desc *d, const void *desc, uint32_t len, uint32_t n, struct made *made, uint32_t *links, uint32_t *filter)
{
	struct gd_control *control = (struct gd_control *)(gander__t.map + GD_OFF_CONTROL);
	struct gd_condition_set set = { .magic = GD_CONDITION_MAGIC };
	uint32_t want = GD_ENABLED(c), linked, flags, from, i;
	const struct gd_rule *last = NULL;
	bool excluded = false;

	*filter = 0;
	for (i = 0; i < n && i < GD_RULES; i++) {
		const struct gd_rule *rule = &control->rules[i];

		if (!rule_matches(rule, d, c))
			continue;
		flags = __atomic_load_n(&rule->flags, __ATOMIC_RELAXED);
		from = __atomic_load_n(&rule->filter, __ATOMIC_RELAXED);
		if (flags & GD_RULE_CONDITION) {
			if (set.n < GD_CONDITIONS && link_condition(made, GD_RULE_NUMBER(flags), from, desc, len, links, &linked))
				set.v[set.n++] = (struct gd_condition) { linked, GD_RULE_NUMBER(flags) };
		} else if (flags & GD_RULE_EXCLUDE) {
			excluded = true;
		} else {
			last = rule;
		}
	}
	if (excluded)
		last = NULL;
	from = last ? __atomic_load_n(&last->filter, __ATOMIC_RELAXED) : 0;
	if (from) {
		/* once for a generic filter: a filter never changes in its place */
		if (made->from != from) {
			made->filter = (*links)++ < LINKS ? link_filter(from, desc, len) : 0;
			made->from = from;
		}
		*filter = made->filter;
		if (*filter)
			want |= GD_FILTERED(c);
		else
			last = NULL;
	}
	if (set.n) {
		set.filter = last ? *filter : GD_FILTER_NEVER;
		if (!made->set_off || memcmp(&made->set, &set, sizeof(set))) {
			made->set = set;
			made->set_off = (*links)++ < LINKS ? keep_set(&set) : 0;
		}
		if (made->set_off) {
			*filter = made->set_off;
			return GD_ENABLED(c) | GD_CONDITIONAL(c);
		}
	}
	if (last && last->flags & GD_RULE_COUNT)
		want |= GD_COUNTING(c);
	return last ? want : 0;
}

uint32_t tracer_channels_in_use(const struct gd_control *control)
{
	uint32_t n = __atomic_load_n(&control->nrules, __ATOMIC_RELAXED), used = 0, channel, i;

	for (i = 0; i < n && i < GD_RULES; i++) {
		channel = __atomic_load_n(&control->rules[i].channel, __ATOMIC_RELAXED);
		if (control->rules[i].used && channel < GD_CHANNELS)
			used |= 1u << channel;
	}
	return used;
}

void tracer_apply_rules(uint32_t id, const void *desc, uint32_t len)
{
	struct gd_control *control = (struct gd_control *)(gander__t.map + GD_OFF_CONTROL);
	struct gd_class *cls = class_slot(id);
	struct made made[GD_CHANNELS] = { { 0 } };
	uint32_t gen, want, used, n, tries, looks, c, filter, links = 0;
	struct gd_desc d;

	if (gd_desc_parse(&d, desc, len) < 0)
		return;
	/* Changed meanwhile: it is all to do again, or what is stored below undoes the collector's walk. Unchanged and odd: whoever is at it will walk
	 * the classes, and is given a hundred looks. (The outer bound is for a region that somebody damages.) Every word is loaded once: what was
	 * compared with a bound is what is used. */
	for (tries = 0, looks = 0; tries < GD_TRIES; tries++) {
		gen = __atomic_load_n(&control->gen, __ATOMIC_SEQ_CST); /* [RULE] */
		n = __atomic_load_n(&control->nrules, __ATOMIC_RELAXED);
		want = 0;
		used = tracer_channels_in_use(control);
		for (c = 0; c < GD_CHANNELS; c++) {
			uint32_t bits;

			/* a channel without a rule is a hole in the file: a look would need memory that may not be there */
			if (!(used & 1u << c))
				continue;
			if (__atomic_load_n(&tracer_channel(c)->state, __ATOMIC_SEQ_CST) != GD_CHANNEL_ON)
				continue;
			bits = apply_channel(c, &d, desc, len, n, &made[c], &links, &filter);
			if (filter)
				__atomic_store_n(&cls->filter[c], filter, __ATOMIC_RELAXED);
			want |= bits;
		}
		__atomic_store_n(&cls->enabled, want, __ATOMIC_SEQ_CST);                                       /* [ENABLE] */
		if (__atomic_load_n(&control->gen, __ATOMIC_SEQ_CST) == gen && (!(gen & 1) || ++looks == 100)) /* [RULE] */
			return;
	}
}

/* ------------------------------------------------------------------ events of the program's objects */

void gander__register(struct gander_event *const *first, struct gander_event *const *end)
{
	uint8_t desc[TRACER_DESC_MAX];
	int saved = errno;

	tracer_start();
	if (tracer_alive() && first < end)
		tracer_note_object(*first);
	for (; first < end; first++) {
		struct gander_event *ev = *first;
		const struct gander__spec *spec = ev->spec;
		uint32_t *enabled;
		int len;

		if (!tracer_alive() || ev->state)
			continue; /* without a region: whoever registers it again where there is one, declares it */
		len = tracer_describe(desc, spec->name, spec->level, spec->kind, spec->fields, spec->nfields);
		if (len < 0) {
			tracer_refuse_class();
			continue;
		}
		enabled = tracer_declare(desc, (uint32_t)len, &ev->id);
		__atomic_store_n(&ev->state, 1, __ATOMIC_RELEASE); /* [LOG] */
		if (enabled)                                       /* through the read-only mapping, which a forked child keeps */
			__atomic_store_n(&ev->enabled, (const uint32_t *)(const void *)(gander__t.ro + ((char *)enabled - gander__t.map)),
					 __ATOMIC_RELEASE);
	}
	errno = saved;
}
