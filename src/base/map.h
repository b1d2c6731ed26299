/* Two tables of the hot paths: u64 -> u64 by open addressing, and byte strings -> dense ids 0, 1, 2 ...
 * One owner, no threads. A failed allocation leaves the table as it was. */
#ifndef GANDER_BASE_MAP_H
#define GANDER_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
	uint64_t key, val;
};

struct map {
	struct map_slot *slot; /* key 0 is an empty slot; the entry of key 0 itself stands apart */
	uint32_t n, cap;       /* cap is 0 or a power of two, never more than 3/4 full */
	unsigned shift;
	bool has_zero;
	uint64_t zero_val;
};

void map_done(struct map *m); /* a zeroed struct is an empty map */
int map_grow(struct map *m);

static inline uint32_t map_home(const struct map *m, uint64_t key)
{
	return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> m->shift);
}

/* The value's place, good until the next put or del; NULL when the key is not there. */
static inline uint64_t *map_find(const struct map *m, uint64_t key)
{
	uint32_t i;

	if (!key)
		return m->has_zero ? (uint64_t *)&m->zero_val : NULL;
	if (!m->cap)
		return NULL;
	for (i = map_home(m, key);; i = (i + 1) & (m->cap - 1)) {
		if (m->slot[i].key == key)
			return &m->slot[i].val;
		if (!m->slot[i].key)
			return NULL;
	}
}

static inline uint64_t map_get(const struct map *m, uint64_t key, uint64_t otherwise)
{
	const uint64_t *v = map_find(m, key);

	return v ? *v : otherwise;
}

/* Finds or adds (with value 0); *added says which. NULL: out of memory. */
uint64_t *map_put(struct map *m, uint64_t key, bool *added);
bool map_del(struct map *m, uint64_t key);
/* The entries in no order: start with *at = 0, ends with false. */
bool map_next(const struct map *m, uint64_t *at, uint64_t *key, uint64_t *val);

struct intern {
	struct intern_ent {
		size_t at; /* in bytes; NUL-terminated there */
		uint32_t len, hash;
	} * ent;
	uint32_t n, ent_cap, *slot, slot_cap; /* slot: id + 1 */
	char *bytes;
	size_t used, bytes_cap;
};

void intern_done(struct intern *t);
/* The id of these bytes, new or known; *added may be NULL. -ENOMEM when out of memory. */
int64_t intern_bytes(struct intern *t, const void *data, size_t len, bool *added);
/* The bytes of an id, NUL-terminated; good until the next intern_bytes(). */
static inline const char *intern_text(const struct intern *t, uint32_t id)
{
	return t->bytes + t->ent[id].at;
}

#endif
