#include "analyze/gokernel.h"

#include <stdlib.h>
#include <string.h>

void gokernel_done(struct gokernel *k)
{
	free(k->row);
	map_done(&k->index);
	memset(k, 0, sizeof(*k));
}

static struct gokernel_row *row_of(struct gokernel *k, int64_t goid)
{
	uint64_t key = (uint64_t)k->pid << 40 ^ (uint64_t)goid, *at = map_find(&k->index, key);
	struct gokernel_row *more;
	bool added;

	if (at)
		return &k->row[*at - 1];
	if (k->nrows == GOKERNEL_ROWS)
		return &k->others;
	if (k->nrows == k->cap) {
		more = realloc(k->row, (k->cap * 2 + 64) * sizeof(*more));
		if (!more)
			goto failed;
		k->row = more;
		k->cap = k->cap * 2 + 64;
	}
	at = map_put(&k->index, key, &added);
	if (!at)
		goto failed;
	memset(&k->row[k->nrows], 0, sizeof(*k->row));
	k->row[k->nrows].goid = goid;
	k->row[k->nrows].pid = k->pid;
	*at = ++k->nrows;
	return &k->row[k->nrows - 1];
failed:
	k->failed = true;
	return &k->others;
}

static void split(const struct gokernel *k, enum kview_go_state state, int64_t thread, const struct gospan *s, struct kview_go_split *to)
{
	uint64_t ns = (uint64_t)(s->end_ns - s->start_ns);

	if (k->kv) {
		kview_split_go(k->kv, state, thread, s->start_ns, s->end_ns, to);
		return;
	}
	memset(to, 0, sizeof(*to));
	*(state == KVIEW_GO_RUNNING ? &to->on_cpu_ns : state == KVIEW_GO_RUNNABLE ? &to->wait_p_ns
										  : &to->thing_ns) = ns;
}

static void on_span(void *ctx, const struct gospan *s)
{
	struct gokernel *k = ctx;
	struct gokernel_row *r = row_of(k, s->g->id);
	struct kview_go_split x;

	if (s->end_ns <= s->start_ns)
		return;
	switch (s->state) {
	case GANDER_GOTRACE_GO_RUNNING:
		split(k, KVIEW_GO_RUNNING, s->thread, s, &x);
		break;
	case GANDER_GOTRACE_GO_SYSCALL:
		split(k, KVIEW_GO_SYSCALL, s->thread, s, &x);
		break;
	case GANDER_GOTRACE_GO_RUNNABLE:
		/* of one that never came to run nobody knows which thread it would have been */
		split(k, KVIEW_GO_RUNNABLE, s->open_end ? -1 : s->end_thread, s, &x);
		break;
	default:
		r->waiting_ns += (uint64_t)(s->end_ns - s->start_ns);
		r->waits++;
		return;
	}
	r->on_cpu_ns += x.on_cpu_ns;
	r->wait_p_ns += x.wait_p_ns;
	r->wait_cpu_ns += x.wait_cpu_ns;
	r->blocked_ns += x.thing_ns;
	r->unknown_ns += x.unknown_ns;
}

static void on_gone(void *ctx, struct goro *g, bool at_end)
{
	struct gokernel *k = ctx;
	struct gokernel_row *r = row_of(k, g->id);
	unsigned i;

	if (r == &k->others)
		return;
	if (g->func)
		r->func = g->func;
	for (i = 0; i < g->nwait; i++)
		if (g->wait[i].ns > r->reason_ns) {
			r->reason_ns = g->wait[i].ns;
			r->reason = g->wait[i].reason;
		}
}

int gokernel_add(struct gokernel *k, struct gostate *s)
{
	struct gosink sink = { .ctx = k, .span = on_span, .gone = on_gone };

	sink.spans = 1u << GANDER_GOTRACE_GO_RUNNING | 1u << GANDER_GOTRACE_GO_RUNNABLE | 1u << GANDER_GOTRACE_GO_SYSCALL | 1u << GANDER_GOTRACE_GO_WAITING;
	k->others.goid = -1;
	return gostate_add(s, &sink);
}

static int by_use(const void *a, const void *b)
{
	const struct gokernel_row *x = a, *y = b;
	uint64_t p = x->on_cpu_ns + x->wait_p_ns + x->wait_cpu_ns, q = y->on_cpu_ns + y->wait_p_ns + y->wait_cpu_ns;

	if (p != q)
		return p < q ? 1 : -1;
	return x->goid < y->goid ? -1 : x->goid > y->goid;
}

void gokernel_sort(struct gokernel *k)
{
	if (k->nrows)
		qsort(k->row, k->nrows, sizeof(*k->row), by_use);
	map_done(&k->index);
}
