/* gander go events: every event of a Go execution trace, one line each; or, with --go, the text of `go tool trace -d=parsed`. */
#include "analyze/gowhere.h"
#include "base/buf.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/go_input.h"
#include "gotrace/gotrace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern const struct verb go_events;

#define FLUSH_AT (256u << 10)

struct printer {
	struct gander_gotrace *t;
	struct buf out;
	struct json json;
	bool stacks;
	int64_t first_ns; /* of the first event: times of people's lines count from it */
	bool have_first;
	struct text_cache { /* the text of a stack, by id: stacks repeat */
		char *text;
		uint32_t len;
	} * stack;
	uint32_t nstack;
	struct text_cache *quoted; /* of a string, quoted, by id */
	uint32_t nquoted;
};

/* ---- Go's way of writing things ---- */

/* One UTF-8 character: its length, or 0 when malformed. */
static unsigned utf8(const unsigned char *p, size_t n, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned len = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2
			       : (*p & 0xf0) == 0xe0           ? 3
			       : *p >= 0xf0 && *p < 0xf5       ? 4
							       : 0,
		 i;
	uint32_t c = len == 1 ? *p : len == 2 ? *p & 0x1f
			     : len == 3       ? *p & 0x0f
					      : *p & 0x07;

	if (!len || len > n)
		return 0;
	for (i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return len;
}

/* Whether Go prints the character as it is: the blocks without graphic characters are listed, single unassigned ones are not. */
static bool go_printable(uint32_t c)
{
	return !(c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || c == 0x1680 || (c >= 0x2000 && c <= 0x200f) ||
		 (c >= 0x2028 && c <= 0x202f) || (c >= 0x205f && c <= 0x206f) || c == 0x3000 || (c >= 0xe000 && c <= 0xf8ff) || c == 0xfeff ||
		 (c >= 0xfff0 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || c >= 0xe0000);
}

/* As Go's strconv.Quote. */
static void quote(struct buf *b, const char *s, size_t len)
{
	static const char special[] = "\aa\bb\ff\nn\rr\tt\vv\\\\\"\"";
	const unsigned char *p = (const unsigned char *)s, *end = p + len;
	uint32_t c = 0;
	unsigned n;
	size_t i;

	buf_putc(b, '"');
	for (; p < end; p += n) {
		n = utf8(p, (size_t)(end - p), &c);
		if (!n) {
			buf_printf(b, "\\x%02x", *p);
			n = 1;
			continue;
		}
		for (i = 0; n == 1 && i < sizeof(special) - 1 && special[i] != (char)c; i += 2)
			;
		if (n == 1 && i < sizeof(special) - 1) {
			buf_putc(b, '\\');
			buf_putc(b, special[i + 1]);
		} else if (go_printable(c)) {
			buf_put(b, p, n);
		} else if (c < 0x80) {
			buf_printf(b, "\\x%02x", c);
		} else {
			buf_printf(b, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
		}
	}
	buf_putc(b, '"');
}

/* Makes room for slot `id` of a cache. */
static bool cache_room(struct text_cache **cache, uint32_t *n, uint32_t id)
{
	struct text_cache *c;
	uint32_t want;

	if (id < *n)
		return true;
	want = id < 1024 ? 2048 : id * 2;
	c = realloc(*cache, want * sizeof(*c));
	if (!c)
		return false;
	memset(c + *n, 0, (want - *n) * sizeof(*c));
	*cache = c;
	*n = want;
	return true;
}

/* Writes what `make` writes for this id, keeping the text. */
static void cached(struct printer *p, struct text_cache **cache, uint32_t *n, uint32_t id, void (*make)(struct printer *, struct buf *, uint32_t))
{
	struct buf b = BUF_INIT;
	struct text_cache *c;

	if (!cache_room(cache, n, id)) {
		make(p, &p->out, id);
		return;
	}
	c = &(*cache)[id];
	if (!c->text) {
		make(p, &b, id);
		if (buf_failed(&b) || b.len > UINT32_MAX) {
			buf_done(&b);
			make(p, &p->out, id);
			return;
		}
		buf_putc(&b, '\0');
		c->text = b.data;
		c->len = (uint32_t)b.len - 1;
	}
	buf_put(&p->out, c->text, c->len);
}

static void make_stack(struct printer *p, struct buf *b, uint32_t id)
{
	const struct gander_gotrace_frame *f;
	const uint32_t *frames;
	unsigned n = gander_gotrace_stack(p->t, id, &frames), i;

	for (i = 0; i < n; i++) {
		f = gander_gotrace_frame(p->t, frames[i]);
		buf_putc(b, '\t');
		buf_put(b, gander_gotrace_string(p->t, f->func), gander_gotrace_string_len(p->t, f->func));
		buf_printf(b, " @ 0x%" PRIx64 "\n\t\t", f->pc);
		buf_put(b, gander_gotrace_string(p->t, f->file), gander_gotrace_string_len(p->t, f->file));
		buf_putc(b, ':');
		buf_put_u64(b, f->line);
		buf_putc(b, '\n');
	}
}

static void make_quoted(struct printer *p, struct buf *b, uint32_t id)
{
	quote(b, gander_gotrace_string(p->t, id), gander_gotrace_string_len(p->t, id));
}

static void stack_text(struct printer *p, uint32_t id)
{
	if (id)
		cached(p, &p->stack, &p->nstack, id, make_stack);
}

static void quoted(struct printer *p, uint32_t id)
{
	cached(p, &p->quoted, &p->nquoted, id, make_quoted);
}

#define PUTS(b, s) buf_put(b, s, sizeof(s) - 1)

static void put_name(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

/* "2026-11-21T13:05:00.12Z", in local time with its offset, as time.RFC3339Nano. */
static void go_wall(struct buf *b, int64_t sec, uint32_t nsec)
{
	time_t at = (time_t)sec;
	struct tm tm;
	char frac[16], *end;
	long off;

	if (!localtime_r(&at, &tm))
		memset(&tm, 0, sizeof(tm));
	buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (nsec) {
		snprintf(frac, sizeof(frac), ".%09u", nsec);
		for (end = frac + 9; *end == '0'; end--)
			*end = '\0';
		buf_puts(b, frac);
	}
	off = tm.tm_gmtoff / 60;
	if (!off)
		buf_putc(b, 'Z');
	else
		buf_printf(b, "%c%02ld:%02ld", off < 0 ? '-' : '+', (off < 0 ? -off : off) / 60, (off < 0 ? -off : off) % 60);
}

static void go_scope(struct buf *b, uint8_t kind, int64_t id)
{
	if (kind == GANDER_GOTRACE_RES_NONE) {
		PUTS(b, "None");
		return;
	}
	buf_puts(b, kind == GANDER_GOTRACE_RES_GOROUTINE ? "Goroutine(" : "Proc(");
	buf_put_i64(b, id);
	buf_putc(b, ')');
}

/* wire types whose stack the Go tool prints even when it is none */
enum { WIRE_CPU_SAMPLE = 7,
       WIRE_GO_CREATE = 14,
       WIRE_GO_CREATE_BLOCKED = 47 };

/* Decimal digits, two at a time. */
static char *digits(char *w, int64_t v)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960"
				    "61626364656667686970717273747576777879808182838485868788899091929394959697989900";
	char text[20], *at = text + sizeof(text);
	uint64_t u = (uint64_t)v;
	size_t n;

	if (v >= 0 && v < 10) {
		*w = (char)('0' + v);
		return w + 1;
	}
	if (v < 0) {
		*w++ = '-';
		u = 0 - u;
	}
	for (; u >= 10; u /= 100)
		memcpy(at -= 2, pairs + 2 * (u % 100), 2);
	if (u)
		*--at = (char)('0' + u);
	n = (size_t)(text + sizeof(text) - at);
	memcpy(w, at, n);
	return w + n;
}

#define STATE_TEXT 16 /* names are copied whole with their padding */
#define LIT(w, s)  (memcpy(w, s, sizeof(s) - 1), (w) + sizeof(s) - 1)
#define LINE_ROOM  512 /* more than a transition's line without its reason and stacks */

/* A text of a cache behind *w; the buffer may move. */
static bool put_cached(struct printer *p, char **w, struct text_cache **cache, uint32_t *n, uint32_t id,
		       void (*make)(struct printer *, struct buf *, uint32_t))
{
	struct buf *b = &p->out;

	b->len = (size_t)(*w - b->data);
	cached(p, cache, n, id, make);
	if (buf_reserve(b, LINE_ROOM) < 0)
		return false;
	*w = b->data + b->len;
	return true;
}

/* A state transition, which nearly all events are: go_event() without a call for each piece. */
static void go_transition(struct printer *p, const struct gander_gotrace_event *e)
{
	static const char go[][STATE_TEXT] = { "Undetermined", "NotExist", "Runnable", "Running", "Waiting", "Syscall" };
	static const char proc[][STATE_TEXT] = { "Undetermined", "NotExist", "Running", "Idle" };
	static const uint8_t go_len[] = { 12, 8, 8, 7, 7, 7 }, proc_len[] = { 12, 8, 7, 4 };
	bool of_go = e->transition.resource == GANDER_GOTRACE_RES_GOROUTINE;
	uint8_t from = e->transition.from, to = e->transition.to;
	struct buf *b = &p->out;
	char *w;

	if (buf_reserve(b, LINE_ROOM) < 0)
		return;
	w = b->data + b->len;
	w = digits(LIT(w, "M="), e->thread);
	w = digits(LIT(w, " P="), e->proc);
	w = digits(LIT(w, " G="), e->goroutine);
	w = digits(LIT(w, " StateTransition Time="), e->time_ns);
	w = of_go ? LIT(w, " GoID=") : LIT(w, " ProcID=");
	w = digits(w, e->transition.id);
	*w++ = ' ';
	memcpy(w, of_go ? go[from] : proc[from], STATE_TEXT);
	w += of_go ? go_len[from] : proc_len[from];
	w = LIT(w, "->");
	memcpy(w, of_go ? go[to] : proc[to], STATE_TEXT);
	w += of_go ? go_len[to] : proc_len[to];
	w = LIT(w, " Reason=");
	if (!e->transition.reason)
		w = LIT(w, "\"\"");
	else if (!put_cached(p, &w, &p->quoted, &p->nquoted, e->transition.reason, make_quoted))
		return;
	if (e->transition.stack || e->wire == WIRE_GO_CREATE || e->wire == WIRE_GO_CREATE_BLOCKED) {
		w = LIT(w, "\nTransitionStack=\n");
		if (e->transition.stack && !put_cached(p, &w, &p->stack, &p->nstack, e->transition.stack, make_stack))
			return;
	}
	if (e->stack) {
		w = LIT(w, "\nStack=\n");
		if (!put_cached(p, &w, &p->stack, &p->nstack, e->stack, make_stack))
			return;
	}
	*w++ = '\n';
	b->len = (size_t)(w - b->data);
}

static void go_event(struct printer *p, const struct gander_gotrace_event *e)
{
	struct buf *b = &p->out;
	unsigned i;

	if (e->kind == GANDER_GOTRACE_STATE_TRANSITION) {
		go_transition(p, e);
		return;
	}
	PUTS(b, "M=");
	buf_put_i64(b, e->thread);
	PUTS(b, " P=");
	buf_put_i64(b, e->proc);
	PUTS(b, " G=");
	buf_put_i64(b, e->goroutine);
	buf_putc(b, ' ');
	put_name(b, gander_gotrace_kind_name(e->kind));
	PUTS(b, " Time=");
	buf_put_i64(b, e->time_ns);
	switch (e->kind) {
	case GANDER_GOTRACE_METRIC:
		PUTS(b, " Name=");
		quoted(p, e->metric.name);
		PUTS(b, " Value=Value{Uint64(");
		buf_put_u64(b, e->metric.value);
		PUTS(b, ")}");
		break;
	case GANDER_GOTRACE_LABEL:
		PUTS(b, " Label=");
		quoted(p, e->label.label);
		PUTS(b, " Resource=");
		go_scope(b, GANDER_GOTRACE_RES_GOROUTINE, e->label.goroutine);
		break;
	case GANDER_GOTRACE_RANGE_BEGIN:
	case GANDER_GOTRACE_RANGE_ACTIVE:
	case GANDER_GOTRACE_RANGE_END:
		PUTS(b, " Name=");
		quoted(p, e->range.name);
		PUTS(b, " Scope=");
		go_scope(b, e->range.scope, e->range.scope_id);
		if (e->kind == GANDER_GOTRACE_RANGE_END) {
			PUTS(b, " Attributes=[");
			if (e->range.id == GANDER_GOTRACE_RANGE_SWEEP) {
				PUTS(b, "\"bytes swept\"=Value{Uint64(");
				buf_put_u64(b, e->range.swept_bytes);
				PUTS(b, ")} \"bytes reclaimed\"=Value{Uint64(");
				buf_put_u64(b, e->range.reclaimed_bytes);
				PUTS(b, ")}");
			}
			buf_putc(b, ']');
		}
		break;
	case GANDER_GOTRACE_TASK_BEGIN:
	case GANDER_GOTRACE_TASK_END:
		PUTS(b, " ID=");
		buf_put_u64(b, e->task.id);
		PUTS(b, " Parent=");
		buf_put_u64(b, e->task.parent);
		PUTS(b, " Type=");
		quoted(p, e->task.type);
		break;
	case GANDER_GOTRACE_REGION_BEGIN:
	case GANDER_GOTRACE_REGION_END:
		PUTS(b, " Task=");
		buf_put_u64(b, e->region.task);
		PUTS(b, " Type=");
		quoted(p, e->region.type);
		break;
	case GANDER_GOTRACE_LOG:
		PUTS(b, " Task=");
		buf_put_u64(b, e->log.task);
		PUTS(b, " Category=");
		quoted(p, e->log.category);
		PUTS(b, " Message=");
		quote(b, e->log.message, e->log.message_len);
		break;
	case GANDER_GOTRACE_EXPERIMENTAL:
		PUTS(b, " Name=");
		buf_puts(b, gander_gotrace_exp_name(e->wire));
		PUTS(b, " Args=[");
		for (i = 0; i < e->exp.nargs; i++) {
			buf_puts(b, i ? ", " : "");
			buf_puts(b, gander_gotrace_exp_arg(e->wire, i));
			PUTS(b, "=Value{Uint64(");
			buf_put_u64(b, e->exp.args[i]);
			PUTS(b, ")}");
		}
		buf_putc(b, ']');
		break;
	case GANDER_GOTRACE_SYNC:
		PUTS(b, " N=");
		buf_put_u64(b, e->sync.n);
		if (e->sync.has_clock) {
			PUTS(b, " Trace=");
			buf_put_i64(b, e->sync.trace_ns);
			PUTS(b, " Mono=");
			buf_put_u64(b, e->sync.mono_ns);
			PUTS(b, " Wall=");
			go_wall(b, e->sync.wall_sec, e->sync.wall_nsec);
		}
		break;
	}
	if (e->stack || e->wire == WIRE_CPU_SAMPLE) {
		PUTS(b, "\nStack=\n");
		stack_text(p, e->stack);
	}
	buf_putc(b, '\n');
}

/* ---- for people ---- */

static void id_or_dash(struct buf *b, const char *what, int64_t id)
{
	buf_putc(b, ' ');
	buf_puts(b, what);
	if (id == GANDER_GOTRACE_NONE)
		buf_putc(b, '-');
	else
		buf_put_i64(b, id);
}

static const char *lower_state(uint8_t resource, uint8_t state)
{
	static const char *const go[] = { "?", "none", "runnable", "running", "waiting", "syscall" };
	static const char *const proc[] = { "?", "none", "running", "idle" };

	if (resource == GANDER_GOTRACE_RES_GOROUTINE)
		return state < sizeof(go) / sizeof(*go) ? go[state] : "?";
	return state < sizeof(proc) / sizeof(*proc) ? proc[state] : "?";
}

static void plain_string(struct printer *p, const char *head, uint32_t id)
{
	if (!id)
		return;
	buf_puts(&p->out, head);
	quoted(p, id);
}

static void plain_stack(struct printer *p, const char *title, uint32_t id)
{
	if (!id || !p->stacks)
		return;
	buf_puts(&p->out, title);
	stack_text(p, id);
	if (p->out.len && p->out.data[p->out.len - 1] == '\n')
		p->out.len--;
}

static void plain_event(struct printer *p, const struct gander_gotrace_event *e)
{
	struct buf *b = &p->out;
	unsigned i;

	buf_printf(b, "%14.6fms", (double)(e->time_ns - p->first_ns) / 1e6);
	id_or_dash(b, "m", e->thread);
	id_or_dash(b, "p", e->proc);
	id_or_dash(b, "g", e->goroutine);
	buf_putc(b, ' ');
	switch (e->kind) {
	case GANDER_GOTRACE_STATE_TRANSITION:
		buf_printf(b, " %s%" PRId64 " %s -> %s", e->transition.resource == GANDER_GOTRACE_RES_GOROUTINE ? "g" : "p", e->transition.id,
			   lower_state(e->transition.resource, e->transition.from), lower_state(e->transition.resource, e->transition.to));
		plain_string(p, " ", e->transition.reason);
		break;
	case GANDER_GOTRACE_METRIC:
		buf_printf(b, " %s = %" PRIu64, gander_gotrace_string(p->t, e->metric.name), e->metric.value);
		break;
	case GANDER_GOTRACE_LABEL:
		plain_string(p, " label ", e->label.label);
		break;
	case GANDER_GOTRACE_STACK_SAMPLE:
		buf_puts(b, " cpu sample");
		break;
	case GANDER_GOTRACE_RANGE_BEGIN:
	case GANDER_GOTRACE_RANGE_ACTIVE:
	case GANDER_GOTRACE_RANGE_END:
		buf_printf(b, " %s %s", gander_gotrace_string(p->t, e->range.name), e->kind == GANDER_GOTRACE_RANGE_BEGIN ? "begins" : e->kind == GANDER_GOTRACE_RANGE_END ? "ends"
																					   : "is going on");
		if (e->range.scope != GANDER_GOTRACE_RES_NONE)
			buf_printf(b, " on %s%" PRId64, e->range.scope == GANDER_GOTRACE_RES_PROC ? "p" : "g", e->range.scope_id);
		if (e->kind == GANDER_GOTRACE_RANGE_END && e->range.id == GANDER_GOTRACE_RANGE_SWEEP)
			buf_printf(b, ": swept %" PRIu64 ", reclaimed %" PRIu64 " bytes", e->range.swept_bytes, e->range.reclaimed_bytes);
		break;
	case GANDER_GOTRACE_TASK_BEGIN:
	case GANDER_GOTRACE_TASK_END:
		buf_printf(b, " task %" PRIu64 " %s", e->task.id, e->kind == GANDER_GOTRACE_TASK_BEGIN ? "begins" : "ends");
		plain_string(p, " ", e->task.type);
		if (e->task.parent != GANDER_GOTRACE_NO_TASK)
			buf_printf(b, " in task %" PRIu64, e->task.parent);
		break;
	case GANDER_GOTRACE_REGION_BEGIN:
	case GANDER_GOTRACE_REGION_END:
		buf_puts(b, " region");
		plain_string(p, " ", e->region.type);
		buf_printf(b, " %s, task %" PRIu64, e->kind == GANDER_GOTRACE_REGION_BEGIN ? "begins" : "ends", e->region.task);
		break;
	case GANDER_GOTRACE_LOG:
		buf_printf(b, " log, task %" PRIu64, e->log.task);
		plain_string(p, ", ", e->log.category);
		buf_puts(b, ": ");
		quote(b, e->log.message, e->log.message_len);
		break;
	case GANDER_GOTRACE_EXPERIMENTAL:
		buf_printf(b, " %s", gander_gotrace_exp_name(e->wire));
		for (i = 0; i < e->exp.nargs; i++)
			buf_printf(b, " %s=%" PRIu64, gander_gotrace_exp_arg(e->wire, i), e->exp.args[i]);
		break;
	case GANDER_GOTRACE_SYNC:
		buf_printf(b, " sync %u", e->sync.n);
		if (e->sync.has_clock) {
			buf_puts(b, ", at ");
			go_wall(b, e->sync.wall_sec, e->sync.wall_nsec);
		}
		break;
	}
	if (e->kind == GANDER_GOTRACE_STATE_TRANSITION && e->transition.stack != e->stack)
		plain_stack(p, "\n  its stack:\n", e->transition.stack);
	plain_stack(p, "\n  stack:\n", e->stack);
	buf_putc(b, '\n');
}

/* ---- for programs: one object a line ---- */

static void json_string(struct printer *p, const char *key, uint32_t id)
{
	json_key(&p->json, key);
	json_strn(&p->json, gander_gotrace_string(p->t, id), gander_gotrace_string_len(p->t, id));
}

static void json_stack(struct printer *p, const char *key, uint32_t id)
{
	const struct gander_gotrace_frame *f;
	const uint32_t *frames;
	unsigned n, i;

	if (!id || !p->stacks)
		return;
	json_key(&p->json, key);
	json_arr(&p->json);
	n = gander_gotrace_stack(p->t, id, &frames);
	for (i = 0; i < n; i++) {
		f = gander_gotrace_frame(p->t, frames[i]);
		json_obj(&p->json);
		json_key(&p->json, "pc");
		json_u64(&p->json, f->pc);
		json_string(p, "func", f->func);
		json_string(p, "file", f->file);
		json_key(&p->json, "line");
		json_u64(&p->json, f->line);
		json_obj_end(&p->json);
	}
	json_arr_end(&p->json);
}

static void json_num(struct printer *p, const char *key, uint64_t v)
{
	json_key(&p->json, key);
	json_u64(&p->json, v);
}

static void json_id(struct printer *p, const char *key, int64_t v)
{
	if (v == GANDER_GOTRACE_NONE)
		return;
	json_key(&p->json, key);
	json_i64(&p->json, v);
}

static void json_event(struct printer *p, const struct gander_gotrace_event *e)
{
	struct json *j = &p->json;
	unsigned i;

	json_init(j, &p->out);
	json_obj(j);
	json_key(j, "time_ns");
	json_i64(j, e->time_ns);
	json_key(j, "kind");
	json_str(j, gander_gotrace_kind_name(e->kind));
	json_id(p, "thread", e->thread);
	json_id(p, "proc", e->proc);
	json_id(p, "goroutine", e->goroutine);
	switch (e->kind) {
	case GANDER_GOTRACE_STATE_TRANSITION:
		json_key(j, "resource");
		json_str(j, e->transition.resource == GANDER_GOTRACE_RES_GOROUTINE ? "goroutine" : "proc");
		json_key(j, "id");
		json_i64(j, e->transition.id);
		json_key(j, "from");
		json_str(j, lower_state(e->transition.resource, e->transition.from));
		json_key(j, "to");
		json_str(j, lower_state(e->transition.resource, e->transition.to));
		if (e->transition.reason)
			json_string(p, "reason", e->transition.reason);
		json_stack(p, "transition_stack", e->transition.stack);
		break;
	case GANDER_GOTRACE_METRIC:
		json_string(p, "name", e->metric.name);
		json_num(p, "value", e->metric.value);
		break;
	case GANDER_GOTRACE_LABEL:
		json_string(p, "label", e->label.label);
		break;
	case GANDER_GOTRACE_RANGE_BEGIN:
	case GANDER_GOTRACE_RANGE_ACTIVE:
	case GANDER_GOTRACE_RANGE_END:
		json_string(p, "name", e->range.name);
		if (e->range.scope != GANDER_GOTRACE_RES_NONE) {
			json_key(j, e->range.scope == GANDER_GOTRACE_RES_PROC ? "on_proc" : "on_goroutine");
			json_i64(j, e->range.scope_id);
		}
		if (e->kind == GANDER_GOTRACE_RANGE_END && e->range.id == GANDER_GOTRACE_RANGE_SWEEP) {
			json_num(p, "swept_bytes", e->range.swept_bytes);
			json_num(p, "reclaimed_bytes", e->range.reclaimed_bytes);
		}
		break;
	case GANDER_GOTRACE_TASK_BEGIN:
	case GANDER_GOTRACE_TASK_END:
		json_num(p, "task", e->task.id);
		if (e->task.parent != GANDER_GOTRACE_NO_TASK)
			json_num(p, "parent", e->task.parent);
		json_string(p, "type", e->task.type);
		break;
	case GANDER_GOTRACE_REGION_BEGIN:
	case GANDER_GOTRACE_REGION_END:
		json_num(p, "task", e->region.task);
		json_string(p, "type", e->region.type);
		break;
	case GANDER_GOTRACE_LOG:
		json_num(p, "task", e->log.task);
		json_string(p, "category", e->log.category);
		json_key(j, "message");
		json_strn(j, e->log.message, e->log.message_len);
		break;
	case GANDER_GOTRACE_EXPERIMENTAL:
		json_key(j, "name");
		json_str(j, gander_gotrace_exp_name(e->wire));
		for (i = 0; i < e->exp.nargs; i++)
			json_num(p, gander_gotrace_exp_arg(e->wire, i), e->exp.args[i]);
		break;
	case GANDER_GOTRACE_SYNC:
		json_num(p, "n", e->sync.n);
		if (e->sync.has_clock) {
			json_num(p, "trace_ns", (uint64_t)e->sync.trace_ns);
			json_num(p, "mono_ns", e->sync.mono_ns);
			json_num(p, "wall_sec", (uint64_t)e->sync.wall_sec);
			json_num(p, "wall_nsec", e->sync.wall_nsec);
		}
		break;
	}
	json_stack(p, "stack", e->stack);
	json_obj_end(j);
	buf_putc(&p->out, '\n');
}

/* ---- the verb ---- */

static int flush(struct buf *b, struct err *err)
{
	size_t done = 0;
	ssize_t n;

	if (buf_failed(b))
		return err_set(err, -ENOMEM, "out of memory");
	for (; done < b->len; done += (size_t)n) {
		n = write(STDOUT_FILENO, b->data + done, b->len - done);
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0)
			return err_set(err, -errno, "cannot write the output: %m");
	}
	buf_clear(b);
	return 0;
}

static void caches_done(struct text_cache *c, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		free(c[i].text);
	free(c);
}

/* *unwritten: that is what went wrong, not the trace. */
static int print_all(struct gander_gotrace *t, void (*print)(struct printer *, const struct gander_gotrace_event *), bool stacks, struct gowhere *where,
		     bool *unwritten, struct err *err)
{
	struct printer p = { .t = t, .stacks = stacks };
	struct gander_gotrace_event ev;
	struct err wrong = ERR_INIT;
	int r, w = 0;

	while ((r = gander_gotrace_next(t, &ev, err_public(err))) > 0) {
		if (!p.have_first) {
			p.have_first = true;
			p.first_ns = ev.time_ns;
		}
		if (where && !gowhere_matches(where, t, &ev))
			continue;
		print(&p, &ev);
		if (p.out.len >= FLUSH_AT && (w = flush(&p.out, &wrong)) < 0)
			break;
	}
	if (!w)
		w = flush(&p.out, &wrong);
	if (w < 0) {
		*err = wrong;
		*unwritten = true;
		r = w == -EPIPE ? 0 : w; /* whoever reads has seen enough */
	}
	buf_done(&p.out);
	caches_done(p.stack, p.nstack);
	caches_done(p.quoted, p.nquoted);
	return r;
}

static int count_all(struct gander_gotrace *t, bool as_json, struct gowhere *where, struct err *err)
{
	uint64_t counts[GANDER_GOTRACE_KINDS] = { 0 }, sum = 0;
	struct gander_gotrace_event ev;
	struct buf out = BUF_INIT;
	struct json j;
	int i, r;

	if (!where)
		r = gander_gotrace_count(t, counts, err_public(err));
	else
		while ((r = gander_gotrace_next(t, &ev, err_public(err))) > 0)
			counts[ev.kind] += gowhere_matches(where, t, &ev);
	for (i = 0; i < GANDER_GOTRACE_KINDS; i++)
		sum += counts[i];
	if (!as_json) {
		for (i = 0; i < GANDER_GOTRACE_KINDS; i++)
			if (counts[i])
				printf("%14" PRIu64 "  %s\n", counts[i], gander_gotrace_kind_name((unsigned)i));
		printf("%14" PRIu64 "  events\n", sum);
		return r;
	}
	json_init(&j, &out);
	json_obj(&j);
	json_key(&j, "events");
	json_u64(&j, sum);
	json_key(&j, "kinds");
	json_obj(&j);
	for (i = 0; i < GANDER_GOTRACE_KINDS; i++) {
		if (!counts[i])
			continue;
		json_key(&j, gander_gotrace_kind_name((unsigned)i));
		json_u64(&j, counts[i]);
	}
	json_obj_end(&j);
	json_obj_end(&j);
	cli_put_json(&out);
	return r;
}

static int run(int argc, char **argv)
{
	bool go_text = false, count = false, as_json = false, stacks = false, unwritten = false;
	const char *expression = NULL;
	const struct opt opts[] = {
		{ OPT_FLAG, 0, "go", NULL, "the text of 'go tool trace -d=parsed'", &go_text },
		{ OPT_FLAG, 'c', "count", NULL, "only count the events, by kind", &count },
		{ OPT_FLAG, 'j', "json", NULL, "one JSON object a line", &as_json },
		{ OPT_STR, 'w', "where", "EXPRESSION", "only events for which it holds (see gander-go(1))", &expression },
		{ OPT_FLAG, 's', "stacks", NULL, "with stacks (--go always has them)", &stacks },
		{ OPT_END },
	};
	struct gowhere *where = NULL;
	struct go_input *in = NULL;
	struct gander_gotrace *t;
	struct gander_gotrace_info info;
	struct err err = ERR_INIT;
	int n, r;

	n = opt_parse(&go_events, opts, argc, argv, &err);
	if (n < 0)
		return cli_usage(&err);
	if (n != 1) {
		err_set(&err, -EINVAL, "gander go events takes one trace: a file, '-' or a URL");
		return cli_usage(&err);
	}
	if (go_text && (count || as_json)) {
		err_set(&err, -EINVAL, "--go goes with neither --count nor --json");
		return cli_usage(&err);
	}
	if (expression && gowhere_new(&where, expression, &err) < 0)
		return cli_usage(&err);
	r = go_input_open(&in, argv[1], go_text || stacks || (where && gowhere_needs_stacks(where)) ? 0 : GANDER_GOTRACE_NO_STACKS, &err);
	if (r < 0) {
		gowhere_free(where);
		return cli_fail(&err);
	}
	t = go_input_reader(in);
	if (count)
		r = count_all(t, as_json, where, &err);
	else
		r = print_all(t, go_text ? go_event : as_json ? json_event
							      : plain_event,
			      stacks, where, &unwritten, &err);
	gander_gotrace_info(t, &info);
	go_input_close(in);
	gowhere_free(where);
	if (r < 0) {
		cli_fail(&err);
		return info.events && !unwritten ? CLI_LOST : CLI_FAILED;
	}
	return CLI_OK;
}

const struct verb go_events = {
	.name = "go events",
	.args = "TRACE",
	.summary = "every event of a trace, in order",
	.examples = { "gander go events trace.out", "gander go events --stacks --json trace.out | jq .", "gander go events --where 'goroutine=17 && to=waiting' trace.out",
		      "gander go events --go trace.out | diff - <(go tool trace -d=parsed trace.out)" },
	.run = run,
};
