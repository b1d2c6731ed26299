/* u64 -> pointer, open addressing with backward-shift deletion: no tombstones, so a table in which goroutines come and go stays short.
 * A NULL value means an empty slot. One owner. And a set of ids. */
#ifndef GANDER_GOTRACE_MAP_H
#define GANDER_GOTRACE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
	uint64_t key;
	void *value;
};

struct idmap {
	struct idmap_slot *slot;
	size_t count;
	unsigned shift; /* 64 - log2(size) */
	size_t mask;    /* size - 1 */
};

int idmap_init(struct idmap *m); /* 0 or -ENOMEM */
void idmap_done(struct idmap *m);
void idmap_clear(struct idmap *m);
int idmap_put(struct idmap *m, uint64_t key, void *value); /* the key must be absent; 0 or -ENOMEM */
void *idmap_del(struct idmap *m, uint64_t key);            /* what was there, or NULL */

static inline void *idmap_get(const struct idmap *m, uint64_t key)
{
	size_t i = (size_t)(key * 0x9E3779B97F4A7C15u >> m->shift);

	for (;; i = (i + 1) & m->mask) {
		if (!m->slot[i].value)
			return NULL;
		if (m->slot[i].key == key)
			return m->slot[i].value;
	}
}

/* A set of ids that lie close together, a bit each. Bounded: see IDSET_PAGES. */
#define IDSET_BITS  32768 /* ids of a page */
#define IDSET_PAGES 8192

struct idset {
	struct idmap pages; /* id / IDSET_BITS -> uint64_t[IDSET_BITS / 64] */
	uint64_t last_page;
	uint64_t *last;
};

int idset_init(struct idset *s); /* 0 or -ENOMEM */
void idset_done(struct idset *s);
int idset_add(struct idset *s, uint64_t id); /* 1 it is new, 0 it was there, -ENOMEM: also when the ids lie too far apart */

#endif
