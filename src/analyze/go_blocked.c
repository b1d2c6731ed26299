/* Waits of goroutines: by the stack that waits and the runtime's reason; or by entry function, reason, or waker.
 * The network analysis is the same over the reason "network". */
#include "analyze/goanalysis.h"
#include "analyze/stacktab.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

enum by { BY_STACK,
	  BY_FUNCTION,
	  BY_REASON,
	  BY_WAKER };

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	enum by by;
	bool network;
	struct stacktab tab;
	struct stacktab reasons; /* of `tab`, stack 0, once the trace is over */
	uint8_t *wanted;         /* by reason: 0 not yet asked, 1 no, 2 yes */
	uint32_t nwanted;
};

static bool is_reason(struct goan_ctx *c, uint32_t reason)
{
	const char *text = gosyms_text(c->s->syms, reason);

	if (reason >= c->nwanted) {
		uint32_t n = (reason + 64) * 2;
		uint8_t *w = realloc(c->wanted, n);

		if (!w)
			return false;
		memset(w + c->nwanted, 0, n - c->nwanted);
		c->wanted = w;
		c->nwanted = n;
	}
	if (!c->wanted[reason])
		c->wanted[reason] = 1 + (c->network ? !strcmp(text, "network") : goan_matches(text, c->o.reason));
	return c->wanted[reason] == 2;
}

static void span(void *ctx, const struct gospan *sp)
{
	struct goan_ctx *c = ctx;
	uint64_t ns = (uint64_t)(sp->end_ns - sp->start_ns);
	bool open = sp->open_start || sp->open_end;
	uint32_t key;

	if (!goan_wants_goro(c->s, &c->o, sp->g) || ns < c->o.min_ns)
		return;
	if ((c->network || c->o.reason) && !is_reason(c, sp->reason))
		return;
	switch (c->by) {
	case BY_FUNCTION:
		key = sp->g->func;
		break;
	case BY_REASON:
		key = 0;
		break;
	case BY_WAKER:
		key = sp->end_stack;
		break;
	default:
		key = sp->own_stack;
	}
	stacktab_span(&c->tab, key, sp->reason, ns, open);
}

static void end(void *ctx)
{
	struct goan_ctx *c = ctx;
	uint32_t i;

	stacktab_done(&c->reasons);
	for (i = 0; i < c->tab.n; i++) {
		const struct st_ent *e = &c->tab.ent[i];
		struct st_ent *r = stacktab_get(&c->reasons, 0, e->sub);

		if (!r)
			continue;
		hist_lean_merge(&r->hist, &e->hist);
		r->open += e->open;
		r->open_ns += e->open_ns;
	}
}

static int open_any(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o, bool network)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = { .ctx = c, .spans = 1u << GANDER_GOTRACE_GO_WAITING, .span = span, .end = end };

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	c->network = network;
	if (o->by)
		c->by = !strcmp(o->by, "function") ? BY_FUNCTION : !strcmp(o->by, "reason") ? BY_REASON
							   : !strcmp(o->by, "waker")        ? BY_WAKER
											    : BY_STACK;
	*ret = c;
	return gostate_add(s, &sink);
}

static int open_blocked(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	return open_any(ret, s, o, false);
}

static int open_network(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	return open_any(ret, s, o, true);
}

static void put_rows(struct goan_ctx *c, struct result_table *t, const struct stacktab *tab, enum by by)
{
	uint32_t n, i, *order = stacktab_sorted(tab, &n);
	bool since_before = false;

	for (i = 0; i < n && i < c->o.top; i++) {
		const struct st_ent *e = &tab->ent[order[i]];
		const char *reason = gosyms_text(c->s->syms, e->sub);

		cell_u64(t, st_total_ns(e));
		cell_u64(t, e->hist.count + e->open);
		cell_hist(t, &e->hist);
		cell_u64(t, e->open);
		cell_u64(t, e->open_ns);
		cell_text(t, *reason ? reason : "-");
		since_before |= !*reason;
		if (by == BY_FUNCTION)
			cell_text(t, goan_func_text(c->s->syms, e->stack));
		else if (by != BY_REASON)
			cell_where(t, c->s->syms, e->stack);
	}
	if (t)
		t->more = n - i;
	if (since_before)
		result_after(t, "REASON -: these waits were on when the trace began.");
	free(order);
}

#define HEAD \
	{ "total_ns", "TOTAL", CELL_DURATION, 0 }, { "count", "COUNT", CELL_COUNT, 0 }, HIST_COLS, \
		{ "open", NULL, CELL_COUNT, COL_JSON_ONLY }, { "open_ns", NULL, CELL_DURATION, COL_JSON_ONLY }, \
	{ \
		"reason", "REASON", CELL_TEXT, 0 \
	}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col by_stack[] = { HEAD, WHERE_COLS };
	static const struct result_col by_function[] = { HEAD, { "function", "GOROUTINE", CELL_TEXT, 0 } };
	static const struct result_col by_reason[] = { HEAD };
	struct result_table *t;

	if (!c->network && c->by != BY_REASON) {
		t = result_table(r, "reasons", "Waits by reason", by_reason, sizeof(by_reason) / sizeof(*by_reason));
		put_rows(c, t, &c->reasons, BY_REASON);
	}
	if (c->by == BY_FUNCTION)
		t = result_table(r, c->network ? "network" : "blocked", c->network ? "Network waits by goroutine function" : "Waits by goroutine function",
				 by_function, sizeof(by_function) / sizeof(*by_function));
	else if (c->by == BY_REASON)
		t = result_table(r, c->network ? "network" : "blocked", "Waits by reason", by_reason, sizeof(by_reason) / sizeof(*by_reason));
	else
		t = result_table(r, c->network ? "network" : "blocked",
				 c->by == BY_WAKER ? "Waits by the stack that ended them" : c->network ? "Network waits by stack"
												       : "Waits by stack",
				 by_stack, sizeof(by_stack) / sizeof(*by_stack));
	put_rows(c, t, &c->tab, c->by);
	if (c->network && !c->tab.n)
		result_note(r, "no goroutine waited for the network");
}

static void put_metrics(void (*put)(void *, const char *, double, enum cell_kind), void *arg, const char *name, const struct hist_lean *h, uint64_t open_ns)
{
	char text[128];

	snprintf(text, sizeof(text), "%s.total", name);
	put(arg, text, (double)(h->sum + open_ns), CELL_DURATION);
	snprintf(text, sizeof(text), "%s.count", name);
	put(arg, text, (double)h->count, CELL_COUNT);
	snprintf(text, sizeof(text), "%s.p50", name);
	put(arg, text, (double)hist_lean_quantile(h, 0.5), CELL_DURATION);
	snprintf(text, sizeof(text), "%s.p99", name);
	put(arg, text, (double)hist_lean_quantile(h, 0.99), CELL_DURATION);
	snprintf(text, sizeof(text), "%s.max", name);
	put(arg, text, (double)h->max, CELL_DURATION);
}

/* "chan receive" is named blocked.chan_receive.p99; the network has its own name too, also when nothing waited for it. */
static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	struct hist_lean all = { 0 };
	const struct hist_lean none = { 0 }, *network = &none;
	uint64_t open_ns = 0, network_open_ns = 0;
	uint32_t i;

	for (i = 0; i < c->reasons.n; i++) {
		const struct st_ent *e = &c->reasons.ent[i];
		const char *text = gosyms_text(c->s->syms, e->sub);
		char name[80];
		size_t k;

		hist_lean_merge(&all, &e->hist);
		open_ns += e->open_ns;
		if (!strcmp(text, "network")) {
			network = &e->hist;
			network_open_ns = e->open_ns;
		}
		if (!*text)
			continue;
		snprintf(name, sizeof(name), "blocked.%s", text);
		for (k = 0; name[k]; k++)
			if (name[k] == ' ')
				name[k] = '_';
		put_metrics(put, arg, name, &e->hist, e->open_ns);
	}
	put_metrics(put, arg, "blocked", &all, open_ns);
	put_metrics(put, arg, "network", network, network_open_ns);
	hist_lean_done(&all);
}

/* WaitGroup.Wait has the runtime's reason "sync" as well, but waits for work, not for a lock. */
static bool is_wait_group(const struct gosyms *s, uint32_t stack)
{
	unsigned i, n = gosyms_depth(s, stack);

	for (i = 0; i < n && i < 6; i++)
		if (!strncmp(gosyms_text(s, gosyms_frame(s, stack, i).func), "sync.(*WaitGroup)", 17))
			return true;
	return false;
}

/* A lock that goroutines queue for is always bad; channels and selects are also how idle workers wait, so only locks are told. */
static void findings(struct goan_ctx *c, struct goan_findings *f)
{
	uint32_t n, i, *order = c->network ? NULL : stacktab_sorted(&c->tab, &n);
	double len = (double)goan_length_ns(c->s);

	if (!order)
		return;
	for (i = 0; i < n; i++) {
		const struct st_ent *e = &c->tab.ent[order[i]];
		const char *reason = gosyms_text(c->s->syms, e->sub);
		double severity = (double)e->hist.sum / len;
		struct buf where = BUF_INIT;
		char total[UNIT_TEXT], p99[UNIT_TEXT];

		if (strcmp(reason, "sync") || !e->hist.count || is_wait_group(c->s->syms, e->stack))
			continue;
		gosyms_where_text(c->s->syms, e->stack, &where);
		goan_find(f, severity, "blocked --reason sync", "%s waited for locks in %s (%llu times, p99 %s)", duration_text(total, e->hist.sum),
			  where.data, (unsigned long long)e->hist.count, duration_text(p99, hist_lean_quantile(&e->hist, 0.99)));
		buf_done(&where);
		break;
	}
	free(order);
}

static void free_ctx(struct goan_ctx *c)
{
	stacktab_done(&c->tab);
	stacktab_done(&c->reasons);
	free(c->wanted);
	free(c);
}

const struct goan_type goan_blocked = { "blocked", "waits by stack and reason", open_blocked, report, metrics, findings, free_ctx };
const struct goan_type goan_network = { "network", "waits for the network", open_network, report, NULL, NULL, free_ctx };
