/* The names that the analyses of Go traces speak in: strings, frames and stacks, interned over any number of traces, so that
 * two traces can be compared and a reader can be freed before the answer is printed. Id 0 is "" and the empty stack.
 * A gosym_map turns one reader's ids into these, by two array look-ups. One owner, no threads. */
#ifndef GANDER_ANALYZE_GOSYMS_H
#define GANDER_ANALYZE_GOSYMS_H

#include "base/buf.h"
#include "base/map.h"
#include "gander/gotrace.h"

struct gosym_frame {
	uint64_t pc, line;
	uint32_t func, file; /* string ids */
};

struct gosyms {
	struct intern strings; /* of text */
	struct intern frames;  /* of struct gosym_frame */
	struct intern stacks;  /* of u32 frame ids, leaf first */
};

int gosyms_init(struct gosyms *s);
void gosyms_done(struct gosyms *s);
uint32_t gosyms_string(struct gosyms *s, const char *text); /* 0 also when out of memory */
static inline const char *gosyms_text(const struct gosyms *s, uint32_t id)
{
	return id < s->strings.n ? intern_text(&s->strings, id) : "";
}
unsigned gosyms_depth(const struct gosyms *s, uint32_t stack);
struct gosym_frame gosyms_frame(const struct gosyms *s, uint32_t stack, unsigned i); /* zeros beyond the end */

/* The function a goroutine was started with: the outermost frame of any of its stacks. */
uint32_t gosyms_entry(const struct gosyms *s, uint32_t stack);
/* As runtime.isSystemGoroutine does it: functions of the runtime other than runtime.main; unnamed ones too. */
bool gosyms_is_system(const struct gosyms *s, uint32_t func);
/* The innermost frame that says something to its reader: not the runtime's, not a lock's or a poller's. The leaf when there is none. */
struct gosym_frame gosyms_where(const struct gosyms *s, uint32_t stack);
/* "http.(*conn).serve:1943" of that frame; "-" without a stack. */
void gosyms_where_text(const struct gosyms *s, uint32_t stack, struct buf *out);
/* "net/http.(*conn).serve" as "http.(*conn).serve". Returns into `name`. */
const char *gosyms_short(const char *name);

struct gosym_map {
	const struct gander_gotrace *reader;
	uint32_t *string, *stack, *frame; /* ours + 1; 0: not yet asked for */
	uint32_t nstring, nstack, nframe;
	struct buf tmp;
	bool failed; /* out of memory at some time: names may be missing */
};

void gosym_map_done(struct gosym_map *m);
uint32_t gosym_map_string_slow(struct gosym_map *m, struct gosyms *s, uint32_t id);
uint32_t gosym_map_stack_slow(struct gosym_map *m, struct gosyms *s, uint32_t id);

static inline uint32_t gosym_map_string(struct gosym_map *m, struct gosyms *s, uint32_t id)
{
	if (!id)
		return 0;
	if (id < m->nstring && m->string[id])
		return m->string[id] - 1;
	return gosym_map_string_slow(m, s, id);
}

static inline uint32_t gosym_map_stack(struct gosym_map *m, struct gosyms *s, uint32_t id)
{
	if (!id)
		return 0;
	if (id < m->nstack && m->stack[id])
		return m->stack[id] - 1;
	return gosym_map_stack_slow(m, s, id);
}

#endif
