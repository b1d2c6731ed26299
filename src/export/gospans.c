/* One line a goroutine's stay in a state, in the order in which they end. Columns: see docs/analyses.md. */
#include "base/json.h"
#include "export/export.h"

#include <stdlib.h>
#include <string.h>

struct gospans {
	struct gostate *s;
	enum gospans_format format;
	FILE *out;
	struct buf line, where;
	int failed;
};

static const char *const columns[] = {
	"start_ns",
	"duration_ns",
	"goroutine",
	"function",
	"state",
	"reason",
	"where",
	"woken_by",
	"waker_where",
	"proc",
	"thread",
	"idle_ns",
	"without_p_ns",
	"whole",
};

static void csv_text(struct buf *b, const char *s)
{
	if (!s[strcspn(s, ",\"\r\n")]) {
		buf_puts(b, s);
		return;
	}
	buf_putc(b, '"');
	for (; *s; s++) {
		if (*s == '"')
			buf_putc(b, '"');
		buf_putc(b, *s);
	}
	buf_putc(b, '"');
}

static const char *where(struct gospans *p, uint32_t stack)
{
	buf_clear(&p->where);
	if (stack)
		gosyms_where_text(p->s->syms, stack, &p->where);
	return p->where.data ? p->where.data : "";
}

static void flush(struct gospans *p, size_t above)
{
	if (p->line.len <= above)
		return;
	if (buf_failed(&p->line))
		p->failed = -ENOMEM;
	errno = 0;
	if (fwrite(p->line.data, 1, p->line.len, p->out) != p->line.len && !p->failed)
		p->failed = errno ? -errno : -EIO;
	buf_clear(&p->line);
}

static void span(void *ctx, const struct gospan *sp)
{
	struct gospans *p = ctx;
	struct buf *b = &p->line;
	const char *state = gander_gotrace_go_state_name(sp->state), *func = gosyms_text(p->s->syms, sp->g->func);
	bool waits = sp->state == GANDER_GOTRACE_GO_WAITING, runnable = sp->state == GANDER_GOTRACE_GO_RUNNABLE;
	const char *reason = runnable ? go_cause_name[sp->cause] : gosyms_text(p->s->syms, sp->reason);
	int64_t waker = waits ? sp->ended_by : -1;
	uint32_t at = runnable ? sp->stack : sp->own_stack;

	if (p->format == GOSPANS_CSV) {
		buf_put_i64(b, sp->start_ns - p->s->start_ns);
		buf_putc(b, ',');
		buf_put_i64(b, sp->end_ns - sp->start_ns);
		buf_putc(b, ',');
		buf_put_i64(b, sp->g->id);
		buf_putc(b, ',');
		csv_text(b, func);
		buf_putc(b, ',');
		csv_text(b, state);
		buf_putc(b, ',');
		csv_text(b, reason);
		buf_putc(b, ',');
		csv_text(b, where(p, at));
		buf_putc(b, ',');
		if (waker >= 0)
			buf_put_i64(b, waker);
		buf_putc(b, ',');
		if (waits)
			csv_text(b, where(p, sp->end_stack));
		buf_putc(b, ',');
		if (sp->proc >= 0)
			buf_put_i64(b, sp->proc);
		buf_putc(b, ',');
		if (sp->thread >= 0)
			buf_put_i64(b, sp->thread);
		buf_putc(b, ',');
		buf_put_u64(b, runnable ? sp->idle_ns : 0);
		buf_putc(b, ',');
		buf_put_u64(b, sp->off_ns);
		buf_puts(b, sp->open_start || sp->open_end ? ",0\n" : ",1\n");
	} else {
		struct json j;

		json_init(&j, b);
		json_obj(&j);
		json_key(&j, "start_ns");
		json_i64(&j, sp->start_ns - p->s->start_ns);
		json_key(&j, "duration_ns");
		json_i64(&j, sp->end_ns - sp->start_ns);
		json_key(&j, "goroutine");
		json_i64(&j, sp->g->id);
		json_key(&j, "function");
		json_str(&j, func);
		json_key(&j, "state");
		json_str(&j, state);
		json_key(&j, "reason");
		json_str(&j, reason);
		json_key(&j, "where");
		json_str(&j, where(p, at));
		if (waits) {
			json_key(&j, "woken_by");
			if (waker >= 0)
				json_i64(&j, waker);
			else
				json_nil(&j);
			json_key(&j, "waker_where");
			json_str(&j, where(p, sp->end_stack));
		}
		if (sp->proc >= 0) {
			json_key(&j, "proc");
			json_i64(&j, sp->proc);
		}
		if (sp->thread >= 0) {
			json_key(&j, "thread");
			json_i64(&j, sp->thread);
		}
		if (runnable) {
			json_key(&j, "idle_ns");
			json_u64(&j, sp->idle_ns);
		}
		if (sp->state == GANDER_GOTRACE_GO_SYSCALL) {
			json_key(&j, "without_p_ns");
			json_u64(&j, sp->off_ns);
		}
		json_key(&j, "whole");
		json_bool(&j, !sp->open_start && !sp->open_end);
		json_obj_end(&j);
		buf_putc(b, '\n');
	}
	flush(p, 65536);
}

int gospans_new(struct gospans **ret, struct gostate *s, enum gospans_format format, FILE *out)
{
	struct gospans *p = calloc(1, sizeof(*p));
	struct gosink sink = { .ctx = p, .spans = ~0u, .span = span };
	size_t i;

	if (!p)
		return -ENOMEM;
	p->s = s;
	p->format = format;
	p->out = out;
	for (i = 0; format == GOSPANS_CSV && i < sizeof(columns) / sizeof(*columns); i++)
		buf_printf(&p->line, "%s%s", i ? "," : "", columns[i]);
	if (format == GOSPANS_CSV)
		buf_putc(&p->line, '\n');
	*ret = p;
	return gostate_add(s, &sink);
}

int gospans_finish(struct gospans *p, struct err *err)
{
	flush(p, 0);
	errno = 0;
	if (fflush(p->out) && !p->failed)
		p->failed = errno ? -errno : -EIO;
	if (p->failed) {
		errno = -p->failed;
		return err_set(err, p->failed, "cannot write the spans: %m");
	}
	return 0;
}

void gospans_free(struct gospans *p)
{
	if (!p)
		return;
	buf_done(&p->line);
	buf_done(&p->where);
	free(p);
}
