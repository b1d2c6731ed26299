/* why_sums TRACE...: the path of every goroutine, task and region of each trace, and of ranges of it: on every level of each tree the parts must add
 * up to the whole, the hops to the span's time without gap or overlap, and what a goroutine did itself must be what the tracker of states
 * counted. Prints a line a trace: what was walked. Damaged traces count as far as they go. */
#include "analyze/gogens.h"
#include "analyze/why.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 4000u /* of a kind, of one trace */

static unsigned failed;

struct goros {
	struct why_list list;
	struct goro_parts *parts;
	bool *twice; /* v1 and forged traces: a number is used again */
	struct map seen;
	struct gostate s;
};

static void gone(void *ctx, struct goro *g, bool at_end)
{
	struct goros *t = ctx;
	struct why_span s = { .from_ns = INT64_MIN, .to_ns = INT64_MAX, .g = g->id, .what = WHY_OF_GOROUTINE };
	bool added;
	uint64_t *at = map_put(&t->seen, (uint64_t)g->id, &added);

	if (!added) {
		t->twice[*at] = true;
		return;
	}
	*at = t->list.n;
	why_list_add(&t->list, &s);
	t->parts = realloc(t->parts, t->list.n * sizeof(*t->parts));
	t->twice = realloc(t->twice, t->list.n * sizeof(*t->twice));
	t->twice[t->list.n - 1] = false;
	gostate_parts(&t->s, g, &t->parts[t->list.n - 1]);
}

static struct gander_gotrace *open_trace(const char *path)
{
	struct gander_gotrace *t = NULL;

	return gander_gotrace_open(&t, path, NULL, NULL) < 0 ? NULL : t;
}

static void wrong(const char *path, const struct why_asked *a, const char *what, uint64_t have, uint64_t want)
{
	failed++;
	printf("FAIL %s: %s %" PRId64 " from %" PRId64 " to %" PRId64 ": %s: %" PRIu64 ", not %" PRIu64 "\n", path, a->span.what == WHY_OF_GOROUTINE ? "goroutine" : "span of goroutine",
	       a->span.g, a->span.from_ns, a->span.to_ns, what, have, want);
}

static void check_one(const char *path, const struct why_asked *a)
{
	const struct gopath *p = a->path;
	uint64_t sum = 0;
	int64_t at;
	uint32_t i;

	if (!a->done)
		return;
	if (p->node[0].ns != (uint64_t)(a->span.to_ns - a->span.from_ns))
		wrong(path, a, "the root", p->node[0].ns, (uint64_t)(a->span.to_ns - a->span.from_ns));
	i = gopath_check(p);
	if (i)
		wrong(path, a, "a node's parts", i - 1, p->node[i - 1].ns);
	for (i = 0, at = a->span.to_ns; i < p->nhop; i++) {
		if (p->hop[i].end_ns != at && !p->hops_left_out)
			wrong(path, a, "a gap between hops", (uint64_t)p->hop[i].end_ns, (uint64_t)at);
		at = p->hop[i].start_ns;
		sum += (uint64_t)(p->hop[i].end_ns - at);
	}
	if (!p->hops_left_out && sum != p->node[0].ns)
		wrong(path, a, "the hops' sum", sum, p->node[0].ns);
}

static void check_parts(const char *path, const struct why_asked *a, const struct goro_parts *want)
{
	const struct gopath *p = a->path;
	uint64_t run = 0, sched = 0, wait = 0, call = 0;
	uint32_t i;

	for (i = p->node[0].first; i; i = p->node[i].next) {
		uint64_t ns = p->node[i].ns;

		switch (p->node[i].kind) {
		case WHY_RUNNING:
		case WHY_SWEEP:
			run += ns;
			break;
		case WHY_NO_P:
		case WHY_WAKING:
			sched += ns;
			break;
		case WHY_SYSCALL:
			call += ns;
			break;
		case WHY_STW: /* runnable while the world stood still, or running while it stopped it: either */
		case WHY_ASSIST:
		case WHY_UNKNOWN:
		case WHY_CREATION:
		case WHY_GONE:
		case WHY_OTHER:
			return;
		default:
			wait += ns;
		}
	}
	if (run != want->ns[GO_PART_RUN])
		wrong(path, a, "running", run, want->ns[GO_PART_RUN]);
	if (sched != want->ns[GO_PART_SCHED])
		wrong(path, a, "runnable", sched, want->ns[GO_PART_SCHED]);
	if (wait != want->ns[GO_PART_WAIT])
		wrong(path, a, "waiting", wait, want->ns[GO_PART_WAIT]);
	if (call != want->ns[GO_PART_SYSCALL] + want->ns[GO_PART_SYSCALL_OFF])
		wrong(path, a, "in system calls", call, want->ns[GO_PART_SYSCALL] + want->ns[GO_PART_SYSCALL_OFF]);
}

/* Walks the list, a path each; returns how many. */
static uint32_t walk(const char *path, struct gosyms *syms, const struct why_list *l, const struct goros *parts, struct gopath *all)
{
	uint32_t n = l->n < MOST ? l->n : MOST, i;
	struct why_asked *asked = calloc(n + 1u, sizeof(*asked));
	struct gopath *p = calloc(n + 1u, sizeof(*p));
	struct why_pass pass = { .syms = syms, .stays_least = 300 };
	struct gander_gotrace *t = open_trace(path);

	for (i = 0; i < n; i++) {
		gopath_init(&p[i]);
		asked[i] = (struct why_asked) { .span = l->v[i], .path = &p[i] };
	}
	if (t && n)
		why_walk(&pass, t, asked, n, NULL);
	for (i = 0; i < n; i++) {
		check_one(path, &asked[i]);
		if (parts && asked[i].done && !parts->twice[i])
			check_parts(path, &asked[i], &parts->parts[i]);
		gopath_done(&p[i]);
	}
	gander_gotrace_free(t);
	/* and all into one tree */
	t = open_trace(path);
	for (i = 0; i < n; i++)
		asked[i] = (struct why_asked) { .span = l->v[i], .path = all };
	if (t && n)
		why_walk(&pass, t, asked, n, NULL);
	gander_gotrace_free(t);
	i = gopath_check(all);
	if (n && i && all->node[0].ns)
		wrong(path, &asked[0], "all in one tree: a node's parts", i - 1, all->node[i - 1].ns);
	free(asked);
	free(p);
	return n;
}

/* Read from the n-th sync on: the events, and when the last of them was. */
static uint64_t events_from(struct gander_gotrace *t, uint32_t nsync, int64_t *first, int64_t *last)
{
	struct gander_gotrace_event ev;
	uint64_t n = 0;

	while (t && gander_gotrace_next(t, &ev, NULL) > 0) {
		if (ev.kind == GANDER_GOTRACE_SYNC && nsync && !--nsync)
			*first = ev.time_ns;
		if (!nsync) {
			n++;
			*last = ev.time_ns;
		}
	}
	gander_gotrace_free(t);
	return n;
}

/* A trace that is read from a generation on gives the events that the whole gives from there on. */
static uint32_t check_generations(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct gander_gotrace *t;
	struct gogens g;
	uint32_t i, n = 0;

	if (fd < 0 || gogens_find(&g, fd) < 0)
		return 0;
	for (i = 0; i < g.n; i += 1 + g.n / 5, n++) {
		struct gogens_reader from = { .g = &g, .fd = fd, .offset = g.v[i].offset };
		int64_t first[2] = { 0, 1 }, last[2] = { 0, 1 };
		uint64_t have, want = events_from(open_trace(path), i + 1, &first[0], &last[0]);

		t = NULL;
		gander_gotrace_open_read(&t, gogens_read, &from, NULL, NULL);
		have = events_from(t, 1, &first[1], &last[1]);
		/* generations overlap: as the first its sync may come earlier than after another, whose last events were later */
		if (want > 1 && (have != want || last[0] != last[1] || first[1] > first[0] || first[1] - g.v[i].start_ns > 1)) {
			failed++;
			printf("FAIL %s: from generation %u on %" PRIu64 " events from %" PRId64 " to %" PRId64 ", not %" PRIu64 " from %" PRId64 " to %" PRId64 "; begins at %" PRId64 "\n",
			       path, i, have, first[1], last[1], want, first[0], last[0], g.v[i].start_ns);
		}
	}
	gogens_done(&g);
	close(fd);
	return n;
}

static void check_trace(const char *path)
{
	struct gosyms syms;
	struct goros g = { 0 };
	struct gosink sink = { .ctx = &g, .gone = gone };
	struct why_list tasks = { 0 }, regions = { 0 }, ranges = { 0 };
	struct why_pass pass = { .syms = &syms };
	struct gander_gotrace_event ev;
	struct gopath all[4];
	struct gander_gotrace *t = open_trace(path);
	uint32_t i, k, n[4];

	if (!t) {
		printf("     %s: no trace that can be opened\n", path);
		return;
	}
	gosyms_init(&syms);
	for (i = 0; i < 4; i++)
		gopath_init(&all[i]);
	gostate_init(&g.s, &syms);
	gostate_add(&g.s, &sink);
	gostate_begin(&g.s, t);
	while (gander_gotrace_next(t, &ev, NULL) > 0)
		gostate_event(&g.s, &ev);
	gostate_end(&g.s, NULL);
	gander_gotrace_free(t);
	t = open_trace(path);
	why_collect(&pass, t, WHY_OF_TASK, NULL, &tasks, NULL);
	gander_gotrace_free(t);
	t = open_trace(path);
	why_collect(&pass, t, WHY_OF_REGION, NULL, &regions, NULL);
	gander_gotrace_free(t);
	/* every tenth of the trace, of a goroutine each and of whoever ran last; borders on no event */
	for (i = 0; i < 10; i++)
		for (k = 0; k < 12; k++) {
			int64_t step = (pass.end_ns - pass.start_ns) / 10;
			struct why_span s = { .from_ns = pass.start_ns + step * i + 7, .to_ns = pass.start_ns + step * (i + 1) + 13, .what = WHY_OF_RANGE, .g = k && g.list.n ? g.list.v[k * g.list.n / 12].g : -1 };

			why_list_add(&ranges, &s);
		}
	n[0] = walk(path, &syms, &g.list, &g, &all[0]);
	n[1] = walk(path, &syms, &tasks, NULL, &all[1]);
	n[2] = walk(path, &syms, &regions, NULL, &all[2]);
	n[3] = walk(path, &syms, &ranges, NULL, &all[3]);
	printf("     %s: %u goroutines, %u tasks, %u regions, %u ranges; %u hops; from %u generations on\n", strrchr(path, '/') ? strrchr(path, '/') + 1 : path, n[0], n[1], n[2], n[3],
	       all[0].nhop + all[1].nhop + all[2].nhop + all[3].nhop, check_generations(path));
	for (i = 0; i < 4; i++)
		gopath_done(&all[i]);
	gostate_done(&g.s);
	gosyms_done(&syms);
	why_list_done(&g.list);
	why_list_done(&tasks);
	why_list_done(&regions);
	why_list_done(&ranges);
	map_done(&g.seen);
	free(g.parts);
	free(g.twice);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		check_trace(argv[i]);
	if (failed)
		printf("%u sums are wrong\n", failed);
	return failed ? 1 : 0;
}
