#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void map_done(struct map *m)
{
	free(m->slot);
	memset(m, 0, sizeof(*m));
}

int map_grow(struct map *m)
{
	struct map_slot *old = m->slot;
	uint32_t i, j, old_cap = m->cap, cap = old_cap ? old_cap * 2 : 16;
	struct map_slot *slot;

	if (old_cap > UINT32_MAX / 4)
		return -ENOMEM;
	slot = calloc(cap, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	m->slot = slot;
	m->cap = cap;
	m->shift = 64u - (unsigned)__builtin_ctz(cap);
	for (i = 0; i < old_cap; i++) {
		if (!old[i].key)
			continue;
		for (j = map_home(m, old[i].key); slot[j].key; j = (j + 1) & (cap - 1))
			;
		slot[j] = old[i];
	}
	free(old);
	return 0;
}

uint64_t *map_put(struct map *m, uint64_t key, bool *added)
{
	uint32_t i;

	*added = false;
	if (!key) {
		*added = !m->has_zero;
		if (*added)
			m->zero_val = 0;
		m->has_zero = true;
		return &m->zero_val;
	}
	if ((uint64_t)m->n * 4 >= (uint64_t)m->cap * 3) {
		uint64_t *v = map_find(m, key);

		if (v)
			return v;
		if (map_grow(m) < 0)
			return NULL;
	}
	for (i = map_home(m, key); m->slot[i].key; i = (i + 1) & (m->cap - 1))
		if (m->slot[i].key == key)
			return &m->slot[i].val;
	m->slot[i].key = key;
	m->slot[i].val = 0;
	m->n++;
	*added = true;
	return &m->slot[i].val;
}

/* Closes the gap by moving later entries of the same run back, so there are no tombstones. */
bool map_del(struct map *m, uint64_t key)
{
	uint32_t i, j, mask = m->cap - 1;

	if (!key) {
		bool had = m->has_zero;

		m->has_zero = false;
		return had;
	}
	if (!m->cap)
		return false;
	for (i = map_home(m, key); m->slot[i].key != key; i = (i + 1) & mask)
		if (!m->slot[i].key)
			return false;
	for (j = (i + 1) & mask; m->slot[j].key; j = (j + 1) & mask) {
		uint32_t home = map_home(m, m->slot[j].key);

		if (((j - home) & mask) >= ((j - i) & mask)) {
			m->slot[i] = m->slot[j];
			i = j;
		}
	}
	m->slot[i].key = 0;
	m->n--;
	return true;
}

bool map_next(const struct map *m, uint64_t *at, uint64_t *key, uint64_t *val)
{
	if (*at == 0) {
		*at = 1;
		if (m->has_zero) {
			*key = 0;
			*val = m->zero_val;
			return true;
		}
	}
	for (; *at <= m->cap; (*at)++) {
		const struct map_slot *s = &m->slot[*at - 1];

		if (s->key) {
			*key = s->key;
			*val = s->val;
			(*at)++;
			return true;
		}
	}
	return false;
}

void intern_done(struct intern *t)
{
	free(t->ent);
	free(t->slot);
	free(t->bytes);
	memset(t, 0, sizeof(*t));
}

/* Eight bytes a step; the input is what a traced program wrote, so a crafted collision costs time, never memory. */
static uint32_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 0x9e3779b97f4a7c15ull ^ len, w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = (h ^ w) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	w = 0;
	if (len)
		memcpy(&w, p, len);
	h = (h ^ w) * 0xff51afd7ed558ccdull;
	h ^= h >> 29;
	h *= 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(h >> 32);
}

static int intern_rehash(struct intern *t)
{
	uint32_t cap = t->slot_cap ? t->slot_cap * 2 : 64, i, j;
	uint32_t *slot = calloc(cap, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	for (i = 0; i < t->n; i++) {
		for (j = t->ent[i].hash & (cap - 1); slot[j]; j = (j + 1) & (cap - 1))
			;
		slot[j] = i + 1;
	}
	free(t->slot);
	t->slot = slot;
	t->slot_cap = cap;
	return 0;
}

int64_t intern_bytes(struct intern *t, const void *data, size_t len, bool *added)
{
	uint32_t h = hash_bytes(data, len), i;

	if (added)
		*added = false;
	if (len > UINT32_MAX / 2 || t->n > UINT32_MAX / 4)
		return -ENOMEM;
	if (t->n * 2 >= t->slot_cap && intern_rehash(t) < 0)
		return -ENOMEM;
	for (i = h & (t->slot_cap - 1); t->slot[i]; i = (i + 1) & (t->slot_cap - 1)) {
		const struct intern_ent *e = &t->ent[t->slot[i] - 1];

		if (e->hash == h && e->len == len && !memcmp(t->bytes + e->at, data, len))
			return t->slot[i] - 1;
	}
	if (t->n == t->ent_cap) {
		uint32_t cap = t->ent_cap ? t->ent_cap * 2 : 64;
		struct intern_ent *ent = realloc(t->ent, (size_t)cap * sizeof(*ent));

		if (!ent)
			return -ENOMEM;
		t->ent = ent;
		t->ent_cap = cap;
	}
	if (t->bytes_cap - t->used < len + 1) {
		size_t cap = t->bytes_cap ? t->bytes_cap * 2 : 4096;
		char *bytes;

		while (cap - t->used < len + 1)
			cap *= 2;
		bytes = realloc(t->bytes, cap);
		if (!bytes)
			return -ENOMEM;
		t->bytes = bytes;
		t->bytes_cap = cap;
	}
	if (len)
		memcpy(t->bytes + t->used, data, len);
	t->bytes[t->used + len] = 0;
	t->ent[t->n] = (struct intern_ent) { t->used, (uint32_t)len, h };
	t->used += len + 1;
	t->slot[i] = ++t->n;
	if (added)
		*added = true;
	return t->n - 1;
}
