/* Any bytes as a Go execution trace: the path of whatever is in it, in bounded memory, and every sum exact. Its generations are looked for too. */
#include "analyze/gogens.h"
#include "analyze/why.h"
#include "analyze/whytext.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gander_gotrace *open_trace(const uint8_t *data, size_t size)
{
	struct gander_gotrace_opts o = GANDER_GOTRACE_OPTS_INIT;
	struct gander_gotrace *t;

	o.max_generation_bytes = 1 << 20;
	return gander_gotrace_open_mem(&t, data, size, &o, NULL) < 0 ? NULL : t;
}

static void check(const struct why_asked *a, const struct gosyms *s, struct buf *text)
{
	const struct gopath *p = a->path;
	int64_t at = a->span.to_ns;
	uint64_t sum = 0;
	uint32_t i;

	if (!a->done)
		return;
	if (gopath_check(p) || p->node[0].ns != (uint64_t)a->span.to_ns - (uint64_t)a->span.from_ns)
		abort();
	for (i = 0; i < p->nhop; i++) {
		if (p->hop[i].end_ns != at)
			abort();
		at = p->hop[i].start_ns;
		sum += (uint64_t)p->hop[i].end_ns - (uint64_t)at;
	}
	if (!p->hops_left_out && sum != p->node[0].ns)
		abort();
	buf_clear(text);
	why_sentence(p, s, text);
	for (i = 0; i < p->n && i < 50; i++)
		why_path_text(p, s, i, text);
}

static void generations(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct gogens g;
	uint8_t block[64];
	uint32_t i;

	if (fd < 0)
		return;
	if (write(fd, data, size) == (ssize_t)size && gogens_find(&g, fd) == 0) {
		for (i = 0; i < g.n; i++) {
			struct gogens_reader r = { .g = &g, .fd = fd, .offset = g.v[i].offset };

			if (g.v[i].offset >= size || gogens_read(&r, block, sizeof(block)) != 16 || gogens_read(&r, block, sizeof(block)) <= 0)
				abort();
			gogens_at(&g, g.v[i].start_ns);
		}
		gogens_done(&g);
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct why_asked asked[MOST] = { 0 };
	struct gopath path[MOST];
	struct why_list list = { 0 };
	struct buf text = BUF_INIT;
	struct why_pass pass = { 0 };
	struct gander_gotrace *t;
	struct gosyms syms;
	uint32_t i, n = 0;

	generations(data, size);
	t = open_trace(data, size);
	if (!t)
		return 0;
	if (gosyms_init(&syms) < 0)
		abort();
	pass.syms = &syms;
	why_collect(&pass, t, WHY_OF_TASK, NULL, &list, NULL);
	gander_gotrace_free(t);
	t = open_trace(data, size);
	why_collect(&pass, t, WHY_OF_REGION, NULL, &list, NULL);
	gander_gotrace_free(t);
	why_list_sort(&list);
	for (i = 0; i < MOST; i++) {
		struct why_asked *a = &asked[n];

		if (i < 8 && i < list.n) {
			a->span = list.v[i];
		} else if (i < 12) {
			uint64_t length = (uint64_t)pass.end_ns - (uint64_t)pass.start_ns;

			a->span = (struct why_span) { .from_ns = pass.start_ns + (int64_t)(length / 5 * (i - 8)), .to_ns = pass.start_ns + (int64_t)(length / 3), .g = (int64_t)i - 10, .what = i & 1 ? WHY_OF_SPAN : WHY_OF_RANGE };
			if (a->span.to_ns < a->span.from_ns)
				continue;
		} else {
			a->span = (struct why_span) { .from_ns = INT64_MIN, .to_ns = INT64_MAX, .g = (int64_t)i - 12, .what = WHY_OF_GOROUTINE };
		}
		if (gopath_init(&path[n]) < 0)
			abort();
		a->path = &path[n++];
	}
	/* goroutines behind the others, as the command line never mixes them: here they are walked by themselves */
	for (i = 0; i < n; i++) {
		t = open_trace(data, size);
		why_walk(&pass, t, &asked[i], 1, NULL);
		gander_gotrace_free(t);
		check(&asked[i], &syms, &text);
	}
	for (i = 0; i < n; i++)
		gopath_done(&path[i]);
	why_list_done(&list);
	gosyms_done(&syms);
	buf_done(&text);
	return 0;
}
