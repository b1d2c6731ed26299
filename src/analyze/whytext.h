/* The path in words, for people: a hop's phrase, its place, the whole as one sentence. The words are the same in text, JSON and pprof. */
#ifndef GANDER_ANALYZE_WHYTEXT_H
#define GANDER_ANALYZE_WHYTEXT_H

#include "analyze/gopath.h"

enum { WHY_TEXT_PLAIN = 1 /* without the numbers of goroutines: what is the same over many spans */ };

/* "waiting for mutex held by goroutine 71 in main.(*Cache).fill (inferred)" */
void why_phrase(const struct gosyms *s, const struct why_node *x, unsigned flags, struct buf *out);
/* "at main.(*Cache).get:88", of running "up to ...": one's own line nearest to where it was; nothing when the trace does not say. */
void why_place(const struct gosyms *s, const struct why_node *x, struct buf *out);
/* "12.3ms: 8.10ms waiting for ..., which was 6.00ms in syscall pread at main.load:12; 3.10ms running at main.work:7." */
void why_sentence(const struct gopath *p, const struct gosyms *s, struct buf *out);
/* The phrases from the top down to this node, without numbers of goroutines. */
void why_path_text(const struct gopath *p, const struct gosyms *s, uint32_t node, struct buf *out);
/* A node's children, longest first; the caller frees. NULL: out of memory. */
uint32_t *why_children(const struct gopath *p, uint32_t node, uint32_t *n);
/* The same of a lock that was handed on in a row: the waits of those who had it before are left out, and their parts stand in their places. `turns`
 * (may be NULL): how many had it, 1 where there is no such row. */
uint32_t *why_parts(const struct gopath *p, const struct gosyms *s, uint32_t node, uint32_t *n, uint32_t *turns);

#endif
