#include "gotrace_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IDMAP_MIN_BITS 6

static int idmap_size(struct idmap *m, unsigned bits)
{
	struct idmap_slot *slot = calloc((size_t)1 << bits, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	m->slot = slot;
	m->shift = 64 - bits;
	m->mask = ((size_t)1 << bits) - 1;
	return 0;
}

int idmap_init(struct idmap *m)
{
	m->count = 0;
	return idmap_size(m, IDMAP_MIN_BITS);
}

void idmap_done(struct idmap *m)
{
	free(m->slot);
	m->slot = NULL;
	m->count = 0;
}

void idmap_clear(struct idmap *m)
{
	memset(m->slot, 0, (m->mask + 1) * sizeof(*m->slot));
	m->count = 0;
}

static void idmap_place(struct idmap *m, uint64_t key, void *value)
{
	size_t i = (size_t)(key * 0x9E3779B97F4A7C15u >> m->shift);

	while (m->slot[i].value)
		i = (i + 1) & m->mask;
	m->slot[i].key = key;
	m->slot[i].value = value;
}

int idmap_put(struct idmap *m, uint64_t key, void *value)
{
	if ((m->count + 1) * 2 > m->mask + 1) {
		struct idmap old = *m;
		size_t i;

		if (idmap_size(m, 64 - old.shift + 1) < 0) {
			*m = old;
			return -ENOMEM;
		}
		for (i = 0; i <= old.mask; i++)
			if (old.slot[i].value)
				idmap_place(m, old.slot[i].key, old.slot[i].value);
		free(old.slot);
	}
	idmap_place(m, key, value);
	m->count++;
	return 0;
}

void *idmap_del(struct idmap *m, uint64_t key)
{
	size_t i = (size_t)(key * 0x9E3779B97F4A7C15u >> m->shift), j, home;
	void *value;

	while (m->slot[i].value && m->slot[i].key != key)
		i = (i + 1) & m->mask;
	value = m->slot[i].value;
	if (!value)
		return NULL;
	m->count--;
	/* Pull later entries of the run into the hole, as long as the hole is not before their home. */
	for (j = (i + 1) & m->mask; m->slot[j].value; j = (j + 1) & m->mask) {
		home = (size_t)(m->slot[j].key * 0x9E3779B97F4A7C15u >> m->shift);
		if (((j - home) & m->mask) >= ((j - i) & m->mask)) {
			m->slot[i] = m->slot[j];
			i = j;
		}
	}
	m->slot[i].value = NULL;
	return value;
}

int idset_init(struct idset *s)
{
	s->last = NULL;
	s->last_page = 0;
	return idmap_init(&s->pages);
}

void idset_done(struct idset *s)
{
	size_t i;

	if (s->pages.slot)
		for (i = 0; i <= s->pages.mask; i++)
			free(s->pages.slot[i].value);
	idmap_done(&s->pages);
	s->last = NULL;
}

int idset_add(struct idset *s, uint64_t id)
{
	uint64_t page = id / IDSET_BITS, bit = (uint64_t)1 << id % 64, *word;

	if (!s->last || s->last_page != page) {
		s->last = idmap_get(&s->pages, page);
		if (!s->last) {
			s->last = s->pages.count < IDSET_PAGES ? calloc(IDSET_BITS / 64, sizeof(*s->last)) : NULL;
			if (!s->last || idmap_put(&s->pages, page, s->last) < 0) {
				free(s->last);
				s->last = NULL;
				return -ENOMEM;
			}
		}
		s->last_page = page;
	}
	word = &s->last[id % IDSET_BITS / 64];
	if (*word & bit)
		return 0;
	*word |= bit;
	return 1;
}
