/* The critical path as a pprof profile: count and nanoseconds of each hop by its stack. Under the stack of what went on stands, as a frame in
 * brackets, what that was, and over it, for each wait that it explains, the stack of the goroutine that waited: a flame graph of it has the asked-about goroutine
 * at the bottom. */
#include "analyze/whytext.h"
#include "export/export.h"
#include "pprof/pprof.h"

#include <stdlib.h>

#define MAX_FRAMES 4096u

struct frames {
	uint64_t *loc;
	unsigned n;
};

static void put_stack(struct frames *f, struct pprof *w, const struct gosyms *s, uint32_t stack)
{
	unsigned i, n = gosyms_depth(s, stack);

	for (i = 0; i < n && f->n < MAX_FRAMES; i++) {
		struct gosym_frame x = gosyms_frame(s, stack, i);

		f->loc[f->n++] = pprof_location(w, x.pc, gosyms_text(s, x.func), gosyms_text(s, x.file), (int64_t)x.line);
	}
}

int why_pprof(const struct gopath *p, const struct gosyms *s, FILE *out, struct err *err)
{
	struct frames f = { calloc(MAX_FRAMES, sizeof(*f.loc)), 0 };
	struct buf text = BUF_INIT;
	struct pprof *w = NULL;
	uint32_t i, k;
	int r;

	if (!f.loc)
		return err_set(err, -ENOMEM, "out of memory");
	r = pprof_open(&w, out, err);
	if (r < 0)
		goto out;
	pprof_sample_type(w, "hops", "count");
	pprof_sample_type(w, "path", "nanoseconds");
	pprof_comment(w, "critical path");
	for (i = 1; i < p->n; i++) {
		int64_t v[2] = { (int64_t)p->node[i].count, (int64_t)p->node[i].ns };

		if (p->node[i].first)
			continue;
		f.n = 0;
		for (k = i; k && f.n < MAX_FRAMES; k = p->node[k].parent) {
			buf_clear(&text);
			buf_putc(&text, '[');
			why_phrase(s, &p->node[k], WHY_TEXT_PLAIN, &text);
			buf_putc(&text, ']');
			if (buf_failed(&text))
				break;
			f.loc[f.n++] = pprof_location(w, 0, text.data, "", 0);
			put_stack(&f, w, s, p->node[k].stack);
		}
		pprof_sample(w, f.loc, f.n, v, NULL, 0);
	}
	r = buf_failed(&text) ? err_set(err, -ENOMEM, "out of memory") : pprof_finish(w, err);
out:
	pprof_free(w);
	buf_done(&text);
	free(f.loc);
	return r;
}
