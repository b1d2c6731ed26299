#include "analyze/gosyms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int gosyms_init(struct gosyms *s)
{
	memset(s, 0, sizeof(*s));
	if (intern_bytes(&s->strings, "", 0, NULL) < 0 || intern_bytes(&s->stacks, "", 0, NULL) < 0) {
		gosyms_done(s);
		return -ENOMEM;
	}
	return 0;
}

void gosyms_done(struct gosyms *s)
{
	intern_done(&s->strings);
	intern_done(&s->frames);
	intern_done(&s->stacks);
}

uint32_t gosyms_string(struct gosyms *s, const char *text)
{
	int64_t id = intern_bytes(&s->strings, text, strlen(text), NULL);

	return id < 0 ? 0 : (uint32_t)id;
}

unsigned gosyms_depth(const struct gosyms *s, uint32_t stack)
{
	return stack < s->stacks.n ? s->stacks.ent[stack].len / 4 : 0;
}

struct gosym_frame gosyms_frame(const struct gosyms *s, uint32_t stack, unsigned i)
{
	struct gosym_frame f = { 0 };
	uint32_t id;

	if (i >= gosyms_depth(s, stack))
		return f;
	/* copies: the bytes of an intern table are not aligned */
	memcpy(&id, intern_text(&s->stacks, stack) + (size_t)i * 4, 4);
	memcpy(&f, intern_text(&s->frames, id), sizeof(f));
	return f;
}

uint32_t gosyms_entry(const struct gosyms *s, uint32_t stack)
{
	unsigned n = gosyms_depth(s, stack);

	return n ? gosyms_frame(s, stack, n - 1).func : 0;
}

bool gosyms_is_system(const struct gosyms *s, uint32_t func)
{
	const char *name = gosyms_text(s, func);

	return !*name || (strcmp(name, "runtime.main") && !strncmp(name, "runtime.", 8));
}

static bool is_plumbing(const char *f)
{
	static const char *const prefix[] = {
		"runtime.",
		"runtime/",
		"internal/",
		"sync.",
		"sync/",
		"time.",
		"syscall.",
		"net.",
		"os.",
		"io.",
		"bufio.",
		"context.",
		"iter.",
		"golang.org/x/sys/",
		"modernc.org/libc.",
	};
	size_t i;

	for (i = 0; i < sizeof(prefix) / sizeof(*prefix); i++)
		if (!strncmp(f, prefix[i], strlen(prefix[i])))
			return true;
	return !*f || strstr(f, "._Cfunc_"); /* cgo's wrapper of a C function */
}

struct gosym_frame gosyms_where(const struct gosyms *s, uint32_t stack)
{
	unsigned i, n = gosyms_depth(s, stack);
	struct gosym_frame f;

	for (i = 0; i < n; i++) {
		f = gosyms_frame(s, stack, i);
		if (!is_plumbing(gosyms_text(s, f.func)))
			return f;
	}
	return gosyms_frame(s, stack, 0);
}

const char *gosyms_short(const char *name)
{
	const char *p, *from = name;

	for (p = name; *p && *p != '(' && *p != '['; p++) /* type arguments have paths of their own */
		if (*p == '/')
			from = p + 1;
	return from;
}

void gosyms_where_text(const struct gosyms *s, uint32_t stack, struct buf *out)
{
	struct gosym_frame f = gosyms_where(s, stack);

	if (!f.func) {
		buf_puts(out, "-");
		return;
	}
	buf_printf(out, "%s:%llu", gosyms_short(gosyms_text(s, f.func)), (unsigned long long)f.line);
}

void gosym_map_done(struct gosym_map *m)
{
	free(m->string);
	free(m->stack);
	free(m->frame);
	buf_done(&m->tmp);
	memset(m, 0, sizeof(*m));
}

static bool room(struct gosym_map *m, uint32_t **array, uint32_t *n, uint32_t id, uint32_t known)
{
	uint32_t want = known > id ? known : id + 1, *a;

	if (id < *n)
		return true;
	if (want < UINT32_MAX / 2)
		want += want / 2;
	a = realloc(*array, (size_t)want * sizeof(*a));
	if (!a) {
		m->failed = true;
		return false;
	}
	memset(a + *n, 0, (size_t)(want - *n) * sizeof(*a));
	*array = a;
	*n = want;
	return true;
}

uint32_t gosym_map_string_slow(struct gosym_map *m, struct gosyms *s, uint32_t id)
{
	int64_t ours;

	if (id >= gander_gotrace_strings(m->reader) || !room(m, &m->string, &m->nstring, id, gander_gotrace_strings(m->reader)))
		return 0;
	ours = intern_bytes(&s->strings, gander_gotrace_string(m->reader, id), gander_gotrace_string_len(m->reader, id), NULL);
	if (ours < 0) {
		m->failed = true;
		return 0;
	}
	m->string[id] = (uint32_t)ours + 1;
	return (uint32_t)ours;
}

static uint32_t map_frame(struct gosym_map *m, struct gosyms *s, uint32_t id)
{
	const struct gander_gotrace_frame *f;
	struct gosym_frame ours;
	int64_t at;

	if (id < m->nframe && m->frame[id])
		return m->frame[id] - 1;
	f = gander_gotrace_frame(m->reader, id);
	memset(&ours, 0, sizeof(ours));
	ours.pc = f->pc;
	ours.line = f->line;
	ours.func = gosym_map_string(m, s, f->func);
	ours.file = gosym_map_string(m, s, f->file);
	at = intern_bytes(&s->frames, &ours, sizeof(ours), NULL);
	if (at < 0 || !room(m, &m->frame, &m->nframe, id, gander_gotrace_frames(m->reader))) {
		m->failed = true;
		return 0;
	}
	m->frame[id] = (uint32_t)at + 1;
	return (uint32_t)at;
}

uint32_t gosym_map_stack_slow(struct gosym_map *m, struct gosyms *s, uint32_t id)
{
	const uint32_t *frames;
	unsigned i, n;
	int64_t ours;

	if (id >= gander_gotrace_stacks(m->reader) || !room(m, &m->stack, &m->nstack, id, gander_gotrace_stacks(m->reader)))
		return 0;
	n = gander_gotrace_stack(m->reader, id, &frames);
	buf_clear(&m->tmp);
	for (i = 0; i < n; i++) {
		uint32_t f = map_frame(m, s, frames[i]);

		buf_put(&m->tmp, &f, sizeof(f));
	}
	ours = buf_failed(&m->tmp) || m->failed ? -ENOMEM : intern_bytes(&s->stacks, m->tmp.data, m->tmp.len, NULL);
	if (ours < 0) {
		m->failed = true;
		return 0;
	}
	m->stack[id] = (uint32_t)ours + 1;
	return (uint32_t)ours;
}
