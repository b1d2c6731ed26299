#include "gotrace/gotrace_follow.h"

#include <errno.h>
#include <stdlib.h>

int following_init(struct following *f, uint32_t n)
{
	f->n = n;
	f->all = calloc((size_t)n + 1, sizeof(struct follower *));
	f->ready = calloc((size_t)n + 1, sizeof(struct follower *));
	return f->all && f->ready ? idmap_init(&f->waiting) : -ENOMEM;
}

void following_done(struct following *f)
{
	idmap_done(&f->waiting);
	free(f->all);
	free(f->ready);
}

int following_wait(struct following *f, struct follower *x, uint64_t key)
{
	x->next_waiting = idmap_del(&f->waiting, key);
	x->waits = true;
	return idmap_put(&f->waiting, key, x) < 0 ? GIVE_UP : 0;
}

void following_wake(struct following *f, uint64_t key)
{
	struct follower *x = idmap_del(&f->waiting, key);

	for (; x; x = x->next_waiting) {
		x->waits = false;
		f->ready[f->nready++] = x;
	}
}

void following_cut(struct following *f, int64_t at)
{
	if (at <= f->horizon)
		f->horizon = at > INT64_MIN ? at - 1 : at;
}

static int slice(struct following *f, int64_t span)
{
	int64_t from = INT64_MAX;
	struct follower *x;
	uint32_t i;

	f->nready = 0;
	for (i = 0; i < f->n; i++) {
		x = f->all[i];
		if (x->ended || x->waits)
			continue;
		f->ready[f->nready++] = x;
		if (x->head < from)
			from = x->head;
	}
	if (!f->nready)
		return f->waiting.count ? GIVE_UP : 0;
	f->horizon = from > INT64_MAX - span ? INT64_MAX : from + span;
	f->taken = 0;
	while (f->nready)
		if (f->follow(f, f->ready[--f->nready]) == GIVE_UP)
			return GIVE_UP;
	/* Whoever could have been waited for has come this far. */
	for (i = 0; i < f->n; i++)
		if (f->all[i]->waits && f->all[i]->head <= f->horizon)
			return GIVE_UP;
	return 1;
}

int following_all(struct following *f)
{
	int64_t span = 1 << 16;
	int r;

	while ((r = slice(f, span)) > 0) {
		if (f->taken < SLICE_EVENTS / 2 && span < INT64_MAX / 4)
			span *= 2;
		else if (f->taken > SLICE_EVENTS * 2 && span > 1)
			span /= 2;
	}
	return r;
}
