#include "timeline/timeline_go.h"

#include <string.h>

enum { STATE,
       PROC,
       RANGE_BEGIN,
       RANGE_ACTIVE,
       RANGE_END,
       TASK_BEGIN,
       TASK_END,
       REGION_BEGIN,
       REGION_END,
       LOGGED,
       METRIC,
       LABEL,
       SAMPLE,
       SYNC,
       EXPERIMENTAL };

const char *const timeline_go_names[GO_CLASSES] = { "go.state", "go.proc", "go.range.begin", "go.range.active", "go.range.end", "go.task.begin", "go.task.end", "go.region.begin", "go.region.end", "go.log", "go.metric", "go.label", "go.sample", "go.sync", "go.experimental" };

int timeline_go_class(const struct gander_gotrace_event *e)
{
	switch (e->kind) {
	case GANDER_GOTRACE_STATE_TRANSITION:
		return e->transition.resource == GANDER_GOTRACE_RES_GOROUTINE ? STATE : PROC;
	case GANDER_GOTRACE_RANGE_BEGIN:
		return RANGE_BEGIN;
	case GANDER_GOTRACE_RANGE_ACTIVE:
		return RANGE_ACTIVE;
	case GANDER_GOTRACE_RANGE_END:
		return RANGE_END;
	case GANDER_GOTRACE_TASK_BEGIN:
		return TASK_BEGIN;
	case GANDER_GOTRACE_TASK_END:
		return TASK_END;
	case GANDER_GOTRACE_REGION_BEGIN:
		return REGION_BEGIN;
	case GANDER_GOTRACE_REGION_END:
		return REGION_END;
	case GANDER_GOTRACE_LOG:
		return LOGGED;
	case GANDER_GOTRACE_METRIC:
		return METRIC;
	case GANDER_GOTRACE_LABEL:
		return LABEL;
	case GANDER_GOTRACE_STACK_SAMPLE:
		return SAMPLE;
	case GANDER_GOTRACE_SYNC:
		return SYNC;
	case GANDER_GOTRACE_EXPERIMENTAL:
		return EXPERIMENTAL;
	default:
		return -1;
	}
}

struct maker {
	const struct gander_gotrace *t;
	struct gander_ctf_value *v;
	uint32_t n, scope;
};

static struct gander_ctf_value *add(struct maker *m, const char *name, uint8_t type)
{
	struct gander_ctf_value *v = &m->v[m->n];

	memset(v, 0, sizeof(*v));
	v->type = type;
	v->name = name;
	v->next = ++m->n;
	m->v[m->scope].next = m->n;
	return v;
}

static void scope(struct maker *m, uint32_t which)
{
	m->scope = m->n;
	add(m, "", GANDER_CTF_SCOPE)->count = which;
}

static void num(struct maker *m, const char *name, int64_t i)
{
	add(m, name, GANDER_CTF_I64)->i = i;
}

static void unum(struct maker *m, const char *name, uint64_t u)
{
	add(m, name, GANDER_CTF_U64)->u = u;
}

static void text(struct maker *m, const char *name, const char *s, uint32_t len)
{
	struct gander_ctf_value *v = add(m, name, GANDER_CTF_TEXT);

	v->text = s;
	v->len = len;
}

static void plain(struct maker *m, const char *name, const char *s)
{
	text(m, name, s, (uint32_t)strlen(s));
}

static void string(struct maker *m, const char *name, uint32_t id)
{
	if (id)
		text(m, name, gander_gotrace_string(m->t, id), gander_gotrace_string_len(m->t, id));
}

/* The innermost function of a stack. */
static void func(struct maker *m, uint32_t stack)
{
	const uint32_t *frames;

	if (gander_gotrace_stack(m->t, stack, &frames))
		string(m, "func", gander_gotrace_frame(m->t, frames[0])->func);
}

static void fields(struct maker *m, const struct gander_gotrace_event *e)
{
	switch (e->kind) {
	case GANDER_GOTRACE_STATE_TRANSITION:
		if (e->transition.resource == GANDER_GOTRACE_RES_GOROUTINE) {
			num(m, "goroutine", e->transition.id);
			plain(m, "from", gander_gotrace_go_state_name(e->transition.from));
			plain(m, "to", gander_gotrace_go_state_name(e->transition.to));
		} else {
			num(m, "proc", e->transition.id);
			plain(m, "from", gander_gotrace_proc_state_name(e->transition.from));
			plain(m, "to", gander_gotrace_proc_state_name(e->transition.to));
		}
		string(m, "reason", e->transition.reason);
		func(m, e->transition.stack ? e->transition.stack : e->stack);
		break;
	case GANDER_GOTRACE_RANGE_BEGIN:
	case GANDER_GOTRACE_RANGE_ACTIVE:
	case GANDER_GOTRACE_RANGE_END:
		string(m, "name", e->range.name);
		if (e->range.scope == GANDER_GOTRACE_RES_GOROUTINE)
			num(m, "goroutine", e->range.scope_id);
		else if (e->range.scope == GANDER_GOTRACE_RES_PROC)
			num(m, "proc", e->range.scope_id);
		break;
	case GANDER_GOTRACE_TASK_BEGIN:
	case GANDER_GOTRACE_TASK_END:
		unum(m, "task", e->task.id);
		if (e->task.parent != GANDER_GOTRACE_NO_TASK)
			unum(m, "parent", e->task.parent);
		string(m, "type", e->task.type);
		break;
	case GANDER_GOTRACE_REGION_BEGIN:
	case GANDER_GOTRACE_REGION_END:
		unum(m, "task", e->region.task);
		string(m, "type", e->region.type);
		break;
	case GANDER_GOTRACE_LOG:
		unum(m, "task", e->log.task);
		string(m, "category", e->log.category);
		text(m, "message", e->log.message, e->log.message_len);
		break;
	case GANDER_GOTRACE_METRIC:
		string(m, "name", e->metric.name);
		unum(m, "value", e->metric.value);
		break;
	case GANDER_GOTRACE_LABEL:
		string(m, "label", e->label.label);
		break;
	case GANDER_GOTRACE_STACK_SAMPLE:
		func(m, e->stack);
		break;
	case GANDER_GOTRACE_SYNC:
		unum(m, "n", e->sync.n);
		break;
	case GANDER_GOTRACE_EXPERIMENTAL:
		if (gander_gotrace_exp_name(e->wire))
			plain(m, "name", gander_gotrace_exp_name(e->wire));
		break;
	default:
		break;
	}
}

uint32_t timeline_go_values(const struct gander_gotrace *t, const struct gander_gotrace_event *e, int64_t goid, int64_t tid, struct gander_ctf_value v[GO_VALUES])
{
	struct maker m = { .t = t, .v = v };

	if (goid >= 0 || tid >= 0 || e->proc >= 0) {
		scope(&m, GANDER_CTF_CONTEXT);
		if (goid >= 0)
			num(&m, "goid", goid);
		if (tid >= 0)
			num(&m, "tid", tid);
		if (e->proc >= 0)
			num(&m, "proc", e->proc);
	}
	scope(&m, GANDER_CTF_FIELDS);
	fields(&m, e);
	return m.n;
}
