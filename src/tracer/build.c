/* Classes declared when the program runs, and events built field by field: for other languages' runtimes. What a class looks like is kept here a
 * second time, in memory of our own: the commit checks the payload against it, because one event of a wrong length would make the
 * rest of its packet unreadable, and it must not believe what another process may have changed. */
#include "tracer/tracer.h"

#include "region/desc.h"

/* A library of 2 MiB would be laid at a huge page's boundary, and what the program maps would come to lie elsewhere. */
#define ARENA  (1024 * 1024) /* of zero pages: costs what is used */
#define BROKEN UINT32_MAX

/* A built event is one piece, whose inner lengths nobody could mend: what it may hold is bounded instead. */
#define BUILDER_MAX (GD_EVENT_MAX - 32 - 2 - 8 * GD_STACK_MAX)

struct declared {
	struct gander_event event; /* first: the caller's handle */
	uint32_t ready;            /* [DECLARED] set last */
	uint32_t desc_len;
	uint32_t fixed; /* payload size when it is always the same, else 0 */
	uint32_t next;  /* offset in the arena */
	uint8_t desc[];
};

static char arena[ARENA] __attribute__((aligned(16)));
static uint32_t arena_used; /* atomic add */

static const uint32_t never;
static const struct gander_event nothing = { &never, 0, 0, 0 };

static struct declared *find(const void *desc, uint32_t len)
{
	uint32_t at = 0, used = __atomic_load_n(&arena_used, __ATOMIC_ACQUIRE);

	while (at < used && used <= ARENA) {
		struct declared *d = (struct declared *)(void *)(arena + at);

		if (!__atomic_load_n(&d->ready, __ATOMIC_ACQUIRE)) /* [DECLARED] another thread is still at it: what follows is not reachable yet */
			return NULL;
		if (d->desc_len == len && !__builtin_memcmp(d->desc, desc, len))
			return d;
		at = d->next;
	}
	return NULL;
}

const struct gander_event *gander_declare(const char *name, enum gander_level level, unsigned kind, const struct gander_field *fields, unsigned nfields)
{
	uint8_t desc[TRACER_DESC_MAX];
	int len = tracer_describe(desc, name, level, kind, fields, nfields);
	uint32_t at, size, total = 0, *enabled;
	struct declared *d;
	const uint8_t *p;
	struct gd_desc parsed;
	struct gd_field f;
	bool fixed = true;

	tracer_start();
	if (len < 0 || gd_desc_parse(&parsed, desc, (size_t)len) < 0) {
		tracer_refuse_class();
		return &nothing;
	}
	d = find(desc, (uint32_t)len);
	if (d)
		return &d->event;
	if (!tracer_alive())
		return &nothing; /* and not for good: a forked child may have a region soon, or a child of it */
	size = ((uint32_t)sizeof(*d) + (uint32_t)len + 15) & ~15u;
	at = __atomic_fetch_add(&arena_used, size, __ATOMIC_ACQ_REL);
	if (at > ARENA - size) {
		__atomic_fetch_sub(&arena_used, size, __ATOMIC_ACQ_REL);
		tracer_refuse_class();
		return &nothing;
	}
	d = (struct declared *)(void *)(arena + at);
	d->desc_len = (uint32_t)len;
	d->next = at + size;
	__builtin_memcpy(d->desc, desc, (size_t)len);
	for (p = parsed.fields; gd_desc_field(&f, &p, parsed.end);) {
		size_t n = gd_type_fixed_size(f.type_at, parsed.end);

		fixed &= n != 0;
		total += (uint32_t)n;
	}
	d->fixed = fixed ? total : 0;
	d->event.enabled = &never;
	enabled = tracer_declare(desc, (uint32_t)len, &d->event.id);
	if (enabled)
		d->event.enabled = (const uint32_t *)(const void *)(gander__t.ro + ((char *)enabled - gander__t.map));
	d->event.state = 1;
	__atomic_store_n(&d->ready, 1, __ATOMIC_RELEASE); /* [DECLARED] */
	return &d->event;
}

static bool payload_is_whole(const struct declared *d, const unsigned char *data, uint32_t len)
{
	struct gd_desc desc;
	const uint8_t *p;
	struct gd_field f;
	uint32_t used = 0;

	if (d->fixed)
		return len == d->fixed;
	if (gd_desc_parse(&desc, d->desc, d->desc_len) < 0)
		return false;
	for (p = desc.fields; gd_desc_field(&f, &p, desc.end);) {
		ptrdiff_t n = gd_value_size(f.type_at, desc.end, data + used, len - used);

		if (n < 0)
			return false;
		used += (uint32_t)n;
	}
	return used == len;
}

void gander_begin(struct gander_builder *b, const struct gander_event *event, void *buf, uint32_t size)
{
	b->event = event;
	b->buf = buf;
	b->size = size < BUILDER_MAX ? size : BUILDER_MAX;
	b->len = 0;
	b->cut = false;
}

/* A number that does not fit leaves the event incomplete: the commit sees that and counts it as lost. */
void gander_put_raw(struct gander_builder *b, const void *p, size_t len)
{
	if (b->len > b->size || len > b->size - b->len) {
		b->len = BROKEN;
		return;
	}
	__builtin_memcpy(b->buf + b->len, p, len);
	b->len += (uint32_t)len;
}

void gander_put_u8(struct gander_builder *b, uint8_t v)
{
	gander_put_raw(b, &v, sizeof(v));
}

void gander_put_u16(struct gander_builder *b, uint16_t v)
{
	gander_put_raw(b, &v, sizeof(v));
}

void gander_put_u32(struct gander_builder *b, uint32_t v)
{
	gander_put_raw(b, &v, sizeof(v));
}

void gander_put_u64(struct gander_builder *b, uint64_t v)
{
	gander_put_raw(b, &v, sizeof(v));
}

void gander_put_f32(struct gander_builder *b, float v)
{
	gander_put_raw(b, &v, sizeof(v));
}

void gander_put_f64(struct gander_builder *b, double v)
{
	gander_put_raw(b, &v, sizeof(v));
}

void gander_put_count(struct gander_builder *b, uint16_t elements)
{
	gander_put_raw(b, &elements, sizeof(elements));
}

void gander_put_bytes(struct gander_builder *b, const void *p, size_t len)
{
	size_t room = b->len <= b->size ? b->size - b->len : 0;

	if (room < 2) {
		b->len = BROKEN;
		return;
	}
	if (len > UINT16_MAX) {
		len = UINT16_MAX;
		b->cut = true;
	}
	if (len > room - 2) {
		len = room - 2;
		b->cut = true;
	}
	gander_put_count(b, (uint16_t)len);
	gander_put_raw(b, p, len);
}

void gander_put_string(struct gander_builder *b, const char *s, size_t len)
{
	gander_put_bytes(b, s, len);
}

void gander_commit(struct gander_builder *b)
{
	const struct gander_event *ev = b->event;
	uint32_t on = __atomic_load_n(ev->enabled, __ATOMIC_RELAXED); /* [ENABLE] */
	struct gander__piece piece = { b->buf, b->len, 0 };
	unsigned c;

	if (!on || !__atomic_load_n(gander__t.alive, __ATOMIC_RELAXED))
		return;
	if (b->len > b->size || !payload_is_whole((const struct declared *)(const void *)ev, b->buf, b->len)) {
		for (c = 0; c < GD_CHANNELS; c++)
			if (on & GD_ENABLED(c))
				tracer_lose(c, tracer_slot_now(), GD_LOST_OTHER);
		return;
	}
	tracer_emit_all(ev, on, &piece, 1, b->cut ? GD_EVENT_CUT : 0);
}
