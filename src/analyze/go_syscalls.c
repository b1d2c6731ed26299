/* System calls and cgo calls (the trace has them as one kind), by stack: how often, how long, and for how long the P had been taken away
 * (a call that keeps its P costs nothing but itself; one that loses it costs a hand-over and a wait to get one back). */
#include "analyze/goanalysis.h"
#include "analyze/stacktab.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

struct goan_ctx {
	struct gostate *s;
	struct goan_opts o;
	struct stacktab tab;
	struct hist_lean all; /* of `tab`, once the trace is over */
};

static void span(void *ctx, const struct gospan *sp)
{
	struct goan_ctx *c = ctx;
	uint64_t ns = (uint64_t)(sp->end_ns - sp->start_ns);
	struct st_ent *e;

	if (!goan_wants_goro(c->s, &c->o, sp->g) || ns < c->o.min_ns)
		return;
	e = stacktab_get(&c->tab, sp->own_stack, 0);
	if (!e)
		return;
	if (sp->open_start || sp->open_end) {
		e->open++;
		e->open_ns += ns;
	} else {
		hist_lean_add(&e->hist, ns);
	}
	e->extra_ns += sp->off_ns;
	e->extra += sp->off_ns != 0;
}

static void end(void *ctx)
{
	struct goan_ctx *c = ctx;

	hist_lean_done(&c->all);
	stacktab_merge(&c->tab, &c->all);
}

static int open_ctx(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o)
{
	struct goan_ctx *c = calloc(1, sizeof(*c));
	struct gosink sink = { .ctx = c, .spans = 1u << GANDER_GOTRACE_GO_SYSCALL, .span = span, .end = end };

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->o = *o;
	*ret = c;
	return gostate_add(s, &sink);
}

/* What was called: for cgo the C function (its Go wrapper is p._Cfunc_name), else the innermost function that is more than the gate itself. */
static const char *call_name(const struct gosyms *s, uint32_t stack, bool *cgo)
{
	unsigned i, n = gosyms_depth(s, stack);
	const char *name = "-";

	*cgo = false;
	for (i = 0; i < n; i++) {
		const char *f = gosyms_text(s, gosyms_frame(s, stack, i).func), *c = strstr(f, "._Cfunc_");

		if (c) {
			*cgo = true;
			return c + strlen("._Cfunc_");
		}
		if (!strcmp(f, "runtime.cgocall") || !strcmp(f, "runtime.asmcgocall")) {
			*cgo = true;
			continue;
		}
		if (strstr(f, "yscall.Syscall") || strstr(f, "yscall.RawSyscall") || strstr(f, "yscall.syscall") || strstr(f, "/syscall.") ||
		    !strncmp(f, "runtime.", 8) || strstr(f, "entersyscall")) {
			name = i == 0 ? gosyms_short(f) : name;
			continue;
		}
		return gosyms_short(f);
	}
	return name;
}

static void report(struct goan_ctx *c, struct result *r)
{
	static const struct result_col cols[] = {
		{ "total_ns", "TOTAL", CELL_DURATION, 0 },
		{ "count", "COUNT", CELL_COUNT, 0 },
		HIST_COLS,
		{ "without_p_ns", "NO P", CELL_DURATION, 0 },
		{ "lost_p", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "open", NULL, CELL_COUNT, COL_JSON_ONLY },
		{ "kind", NULL, CELL_TEXT, COL_JSON_ONLY },
		{ "call", "CALL", CELL_TEXT, 0 },
		WHERE_COLS,
	};
	struct result_table *t = result_table(r, "syscalls", "System and cgo calls by stack", cols, sizeof(cols) / sizeof(*cols));
	uint32_t n, i, *order = stacktab_sorted(&c->tab, &n);
	uint64_t cgo_ns = 0, cgo_n = 0;
	bool cgo;

	for (i = 0; i < n; i++) {
		const struct st_ent *e = &c->tab.ent[order[i]];
		const char *name = call_name(c->s->syms, e->stack, &cgo);

		if (cgo) {
			cgo_ns += st_total_ns(e);
			cgo_n += e->hist.count + e->open;
		}
		if (i >= c->o.top)
			continue;
		cell_u64(t, st_total_ns(e));
		cell_u64(t, e->hist.count + e->open);
		cell_hist(t, &e->hist);
		cell_u64(t, e->extra_ns);
		cell_u64(t, e->extra);
		cell_u64(t, e->open);
		cell_text(t, cgo ? "cgo" : "syscall");
		cell_textf(t, "%s%s", cgo ? "C." : "", name);
		cell_where(t, c->s->syms, e->stack);
	}
	if (t && n > c->o.top)
		t->more = n - c->o.top;
	free(order);
	result_after(t, "NO P: how long of TOTAL the P had been taken away. Calls that cannot block (RawSyscall) are not in a Go trace.");
	if (cgo_n) {
		char d[UNIT_TEXT], k[UNIT_TEXT];

		result_note(r, "cgo: %s calls, %s", count_text(k, (double)cgo_n), duration_text(d, cgo_ns));
	}
	if (!n)
		result_note(r, "no system or cgo call is in this trace");
}

static void metrics(struct goan_ctx *c, void (*put)(void *, const char *, double, enum cell_kind), void *arg)
{
	put(arg, "syscall.p50", (double)hist_lean_quantile(&c->all, 0.5), CELL_DURATION);
	put(arg, "syscall.p99", (double)hist_lean_quantile(&c->all, 0.99), CELL_DURATION);
	put(arg, "syscall.max", (double)c->all.max, CELL_DURATION);
	put(arg, "syscall.total", (double)c->all.sum, CELL_DURATION);
	put(arg, "syscall.count", (double)c->all.count, CELL_COUNT);
}

static void findings(struct goan_ctx *c, struct goan_findings *f)
{
	uint32_t n, *order = stacktab_sorted(&c->tab, &n);
	char total[UNIT_TEXT], p99[UNIT_TEXT];
	struct buf where = BUF_INIT;
	const struct st_ent *e;
	const char *name;
	bool cgo;

	if (!order)
		return;
	e = &c->tab.ent[order[0]];
	if (e->hist.sum > 1000) {
		name = call_name(c->s->syms, e->stack, &cgo);
		gosyms_where_text(c->s->syms, e->stack, &where);
		/* against the time of all Ps: a call that lost its P holds up only its goroutine */
		goan_find(f, (double)e->hist.sum / ((double)goan_length_ns(c->s) * (c->s->gomaxprocs ? c->s->gomaxprocs : 1)), "syscalls",
			  "%s in %s%s from %s (%llu calls, p99 %s)", duration_text(total, e->hist.sum), cgo ? "C." : "", name, where.data,
			  (unsigned long long)e->hist.count, duration_text(p99, hist_lean_quantile(&e->hist, 0.99)));
		buf_done(&where);
	}
	free(order);
}

static void free_ctx(struct goan_ctx *c)
{
	stacktab_done(&c->tab);
	hist_lean_done(&c->all);
	free(c);
}

const struct goan_type goan_syscalls = { "syscalls", "system and cgo calls by stack", open_ctx, report, metrics, findings, free_ctx };
