/* u64 -> pointer, open addressing with backward-shift deletion: no tombstones, so a table in which goroutines come and go stays short.
 * A NULL value means an empty slot. One owner. */
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

#endif
