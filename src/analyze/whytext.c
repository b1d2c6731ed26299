/* The path in words. */
#include "analyze/whytext.h"
#include "base/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void where(const struct gosyms *s, uint32_t stack, struct buf *out)
{
	struct gosym_frame f = gosyms_where(s, stack);

	buf_puts(out, gosyms_short(gosyms_text(s, f.func)));
}

static void who(const struct gosyms *s, const struct why_node *x, unsigned flags, struct buf *out)
{
	if (!(flags & WHY_TEXT_PLAIN) && x->by >= 0) {
		buf_printf(out, "goroutine %" PRId64 "%s", x->by, x->by_several ? " and others" : "");
		if (x->pid)
			buf_printf(out, " of process %u", x->pid);
	} else {
		buf_puts(out, "a goroutine");
	}
	if (gosyms_depth(s, x->by_stack)) {
		buf_puts(out, " in ");
		where(s, x->by_stack, out);
	} else if (x->by_func) {
		buf_printf(out, " of %s", gosyms_short(gosyms_text(s, x->by_func)));
	}
}

/* Whether a function with that in its name stands on the stack of who ended the wait. */
static bool by_calls(const struct gosyms *s, uint32_t stack, const char *part)
{
	unsigned i, n = gosyms_depth(s, stack);

	for (i = 0; i < n && i < 8; i++)
		if (strstr(gosyms_text(s, gosyms_frame(s, stack, i).func), part))
			return true;
	return false;
}

static void ended_by(const struct gosyms *s, const struct why_node *x, unsigned flags, const char *verb, struct buf *out)
{
	if (x->by >= 0) {
		buf_printf(out, " %s ", verb);
		who(s, x, flags, out);
	} else if (x->flags & WHY_TIMER) {
		buf_puts(out, ", ended by a timer or the network poller");
	}
}

void why_phrase(const struct gosyms *s, const struct why_node *x, unsigned flags, struct buf *out)
{
	const char *reason = gosyms_text(s, x->reason), *lock;
	struct buf name = BUF_INIT;

	switch (x->kind) {
	case WHY_SPAN:
		buf_puts(out, "in all");
		break;
	case WHY_RUNNING:
		buf_puts(out, "running");
		break;
	case WHY_NO_P:
		buf_puts(out, "runnable, no P was idle");
		if (x->by >= 0) {
			buf_puts(out, ": mostly ");
			who(s, x, flags, out);
			buf_puts(out, " ran");
		}
		break;
	case WHY_WAKING:
		buf_puts(out, "runnable, though a P was idle: being woken up");
		break;
	case WHY_NO_CPU:
		buf_puts(out, "ready, but without a CPU");
		if (*reason && !(flags & WHY_TEXT_PLAIN))
			buf_printf(out, ": the kernel ran %s", reason);
		break;
	case WHY_FAULT:
		buf_puts(out, "on a P, but its thread was blocked: a page fault, or a lock of the runtime");
		break;
	case WHY_ASSIST:
		buf_puts(out, x->reason ? "GC assist, waiting for the collector's credit" : "GC assist");
		break;
	case WHY_SWEEP:
		buf_puts(out, "GC sweep");
		break;
	case WHY_STW:
		if (!strncmp(reason, "stop-the-world (", 16) && reason[16])
			buf_printf(out, "stop-the-world for %.*s", (int)strlen(reason + 16) - 1, reason + 16);
		else
			buf_puts(out, "stop-the-world");
		if (x->by >= 0 && x->by != x->g) {
			buf_puts(out, ", asked for by ");
			who(s, x, flags, out);
		}
		break;
	case WHY_SYSCALL:
		why_syscall_name(s, x->stack, &name);
		if (!name.len && *reason)
			buf_puts(&name, reason);
		if (name.len && name.data[0] == 'C' && name.data[1] == '.')
			buf_printf(out, "in the C function %s", name.data + 2);
		else
			buf_printf(out, "in %s%s", name.len ? "syscall " : "a system call", name.len ? name.data : "");
		break;
	case WHY_NETWORK:
		if (x->flags & WHY_REMOTE && flags & WHY_TEXT_PLAIN)
			buf_printf(out, "waiting for %s in another process", reason);
		else if (x->flags & WHY_REMOTE)
			buf_printf(out, "waiting for %s in process %" PRId64, reason, x->by);
		else
			buf_puts(out, x->flags & WHY_WAY ? "on the way to the other process and back" : "waiting for the network");
		break;
	case WHY_CHANNEL:
		if (!strcmp(reason, "chan send")) {
			buf_puts(out, "waiting to send on a channel");
			ended_by(s, x, flags, by_calls(s, x->by_stack, "chanrecv") ? "that was received from by" : "freed by", out);
		} else {
			buf_puts(out, "waiting to receive from a channel");
			ended_by(s, x, flags, by_calls(s, x->by_stack, "closechan") ? "closed by" : "sent to by", out);
		}
		break;
	case WHY_SELECT:
		buf_puts(out, "waiting in select");
		ended_by(s, x, flags, "for", out);
		break;
	case WHY_MUTEX:
		lock = why_lock_name(s, x->stack);
		buf_printf(out, "waiting for %s", lock ? lock : "mutex");
		ended_by(s, x, flags, "held by", out);
		break;
	case WHY_SYNC:
		lock = why_lock_name(s, x->stack);
		buf_printf(out, "waiting for %s", lock ? lock : !strcmp(reason, "sync.(*Cond).Wait") ? "condition"
												     : "something of package sync");
		ended_by(s, x, flags, "released by", out);
		break;
	case WHY_SLEEP:
		buf_puts(out, "sleeping");
		break;
	case WHY_GC:
		if (!strcmp(reason, "preempted"))
			buf_puts(out, "stopped by the collector, which looks at the stack");
		else if (!strcmp(reason, "sync"))
			buf_puts(out, "waiting to start the collector");
		else
			buf_printf(out, "waiting for the collector (%s)", reason);
		break;
	case WHY_WAIT:
		buf_printf(out, "waiting%s%s%s", *reason ? " (" : "", reason, *reason ? ")" : x->flags & WHY_OPEN ? ", for what the trace does not say"
														  : "");
		ended_by(s, x, flags, "for", out);
		break;
	case WHY_CREATION:
		buf_puts(out, "before the goroutine was made");
		ended_by(s, x, flags, "by", out);
		break;
	case WHY_GONE:
		buf_puts(out, "after the goroutine's end");
		break;
	case WHY_OTHER:
		buf_puts(out, "hops beyond the limit of the tree");
		break;
	default:
		buf_puts(out, "not known: the trace does not mention the goroutine");
		break;
	}
	if (x->flags & WHY_DISK)
		buf_puts(out, " (in state D: the disk)");
	if (x->flags & WHY_INFERRED)
		buf_puts(out, " (inferred)");
	if (x->flags & WHY_UNENDED)
		buf_puts(out, " (not over at the end)");
	if (x->flags & WHY_TOO_DEEP)
		buf_puts(out, " (not followed further)");
	buf_done(&name);
}

void why_place(const struct gosyms *s, const struct why_node *x, struct buf *out)
{
	struct gosym_frame f = gosyms_where(s, x->stack), own;
	unsigned i, n = gosyms_depth(s, x->stack);

	if (!f.func || x->kind == WHY_CREATION || x->kind == WHY_GONE)
		return;
	buf_printf(out, "%s %s:%llu", x->kind == WHY_RUNNING || x->kind == WHY_SWEEP ? "up to" : "at", gosyms_short(gosyms_text(s, f.func)), (unsigned long long)f.line);
	/* deep in a library: also the program's own line that led there */
	for (i = 0; i < n; i++) {
		own = gosyms_frame(s, x->stack, i);
		if (!strncmp(gosyms_text(s, own.func), "main.", 5)) {
			if (own.func != f.func || own.line != f.line)
				buf_printf(out, " under %s:%llu", gosyms_text(s, own.func), (unsigned long long)own.line);
			break;
		}
	}
}

struct order {
	const struct gopath *p;
	uint32_t i;
};

static int longest_first(const void *a, const void *b)
{
	const struct order *x = a, *y = b;
	uint64_t p = x->p->node[x->i].ns, q = y->p->node[y->i].ns;

	return p < q ? 1 : p > q ? -1
		   : x->i < y->i ? -1
				 : x->i > y->i;
}

/* What is said of a wait for a lock, but for the number of who held it. */
static bool same_lock(const struct gosyms *s, const struct why_node *x, const struct why_node *y)
{
	struct buf text[2] = { BUF_INIT, BUF_INIT };
	bool same;

	if (x->kind != WHY_MUTEX || y->kind != WHY_MUTEX || !y->first || y->pid != x->pid || y->flags != x->flags)
		return false;
	why_phrase(s, x, WHY_TEXT_PLAIN, &text[0]);
	why_place(s, x, &text[0]);
	why_phrase(s, y, WHY_TEXT_PLAIN, &text[1]);
	why_place(s, y, &text[1]);
	same = text[0].len && text[0].len == text[1].len && !memcmp(text[0].data, text[1].data, text[0].len);
	buf_done(&text[0]);
	buf_done(&text[1]);
	return same;
}

/* `s` NULL: the children alone. */
static uint32_t *parts(const struct gopath *p, const struct gosyms *s, uint32_t node, uint32_t *n, uint32_t *turns)
{
	struct order *o = NULL, *more;
	uint32_t *list = NULL, i = p->node[node].first, cap = 0, k;

	*n = 0;
	*turns = 1;
	while (i) {
		if (s && same_lock(s, &p->node[node], &p->node[i])) {
			++*turns;
			i = p->node[i].first;
			continue;
		}
		if (*n == cap) {
			cap = cap ? cap * 2 : 16;
			more = realloc(o, cap * sizeof(*o));
			if (!more)
				goto out;
			o = more;
		}
		o[(*n)++] = (struct order) { p, i };
		while (!p->node[i].next && p->node[i].parent != node)
			i = p->node[i].parent;
		i = p->node[i].next;
	}
	list = calloc((size_t)*n + 1, sizeof(*list));
	if (!list)
		goto out;
	if (*n > 1)
		qsort(o, *n, sizeof(*o), longest_first);
	for (k = 0; k < *n; k++)
		list[k] = o[k].i;
out:
	if (!list)
		*n = 0;
	free(o);
	return list;
}

uint32_t *why_children(const struct gopath *p, uint32_t node, uint32_t *n)
{
	uint32_t turns;

	return parts(p, NULL, node, n, &turns);
}

uint32_t *why_parts(const struct gopath *p, const struct gosyms *s, uint32_t node, uint32_t *n, uint32_t *turns)
{
	uint32_t none;

	return parts(p, s, node, n, turns ? turns : &none);
}

/* Whether two hops are leaves that the same words tell. */
static bool alike(const struct gopath *p, const struct gosyms *s, uint32_t a, uint32_t b)
{
	const struct why_node *x = &p->node[a], *y = &p->node[b];
	struct buf text[2] = { BUF_INIT, BUF_INIT };
	bool same;

	if (x->first || y->first || y->kind != x->kind || y->flags != x->flags || y->reason != x->reason)
		return false;
	why_phrase(s, x, 0, &text[0]);
	why_place(s, x, &text[0]);
	why_phrase(s, y, 0, &text[1]);
	why_place(s, y, &text[1]);
	same = text[0].len && text[0].len == text[1].len && !memcmp(text[0].data, text[1].data, text[0].len);
	buf_done(&text[0]);
	buf_done(&text[1]);
	return same;
}

/* A hop's time, with that of the others of a list that are told alike. */
static uint64_t told_alike(const struct gopath *p, const struct gosyms *s, uint32_t node, const uint32_t *list, uint32_t n)
{
	uint64_t ns = p->node[node].ns;
	uint32_t i;

	for (i = 0; i < n; i++)
		if (list[i] != node && alike(p, s, node, list[i]))
			ns += p->node[list[i]].ns;
	return ns;
}

static void say(const struct gopath *p, const struct gosyms *s, uint32_t node, uint64_t ns, struct buf *out)
{
	struct buf place = BUF_INIT;
	char t[UNIT_TEXT];
	unsigned level;

	for (level = 0; node; level++) {
		const struct why_node *x = &p->node[node];
		uint32_t n, turns, skipped = 0, *list = why_parts(p, s, node, &n, &turns);

		if (level)
			buf_puts(out, ", which was ");
		buf_printf(out, "%s ", duration_text(t, ns));
		why_phrase(s, x, 0, out);
		if (turns > 1)
			buf_printf(out, ", the last of %u in turn", turns);
		if (!n) {
			why_place(s, x, &place);
			if (place.len)
				buf_printf(out, " %s", place.data);
			free(list);
			break;
		}
		/* of a long chain: its begin and its end */
		while (level >= 3 && p->node[list[0]].first) {
			uint32_t *below = why_parts(p, s, list[0], &n, NULL);

			if (!below)
				break;
			free(list);
			list = below;
			skipped++;
		}
		if (skipped)
			buf_printf(out, ", through %u more", skipped);
		node = list[0];
		ns = told_alike(p, s, node, list, n);
		free(list);
	}
	buf_done(&place);
}

void why_sentence(const struct gopath *p, const struct gosyms *s, struct buf *out)
{
	char t[UNIT_TEXT];
	uint32_t n, i, k, *list = why_children(p, 0, &n);

	buf_printf(out, "%s: ", duration_text(t, p->node[0].ns));
	for (i = 0; i < n && i < 3; i++) {
		if (i && p->node[list[i]].ns < p->node[0].ns / 10)
			break;
		for (k = 0; k < i && !alike(p, s, list[k], list[i]); k++)
			;
		if (k < i)
			continue;
		if (i)
			buf_puts(out, "; ");
		say(p, s, list[i], told_alike(p, s, list[i], list, n), out);
	}
	buf_puts(out, n ? "." : "no time at all.");
	free(list);
}

/* A lock that is handed on in a row makes the same phrase again and again: it is said once. */
void why_path_text(const struct gopath *p, const struct gosyms *s, uint32_t node, struct buf *out)
{
	const struct why_node *x = &p->node[node];
	struct buf text = BUF_INIT, above = BUF_INIT;

	if (x->parent)
		why_path_text(p, s, x->parent, out);
	why_phrase(s, x, WHY_TEXT_PLAIN, &text);
	if (!x->first) {
		buf_putc(&text, ' ');
		why_place(s, x, &text);
	} else if (x->parent) {
		why_phrase(s, &p->node[x->parent], WHY_TEXT_PLAIN, &above);
	}
	if (!above.len || strcmp(above.data, text.data))
		buf_printf(out, "%s%s", x->parent ? " > " : "", text.data ? text.data : "");
	buf_done(&text);
	buf_done(&above);
}
