#include "analyze/gowhere.h"
#include "base/opt.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_NODES 256
#define MAX_DEPTH 64
#define MAX_TEXT  256

enum field { F_KIND,
	     F_GOROUTINE,
	     F_PROC,
	     F_THREAD,
	     F_ID,
	     F_RESOURCE,
	     F_FROM,
	     F_TO,
	     F_REASON,
	     F_FUNCTION,
	     F_NAME,
	     F_VALUE,
	     F_TASK,
	     F_TIME };
static const struct {
	const char *name;
	enum field field;
	enum { NUMBER,
	       TEXT,
	       TIME,
	       EITHER } type;
} fields[] = {
	{ "kind", F_KIND, TEXT },
	{ "goroutine", F_GOROUTINE, NUMBER },
	{ "g", F_GOROUTINE, NUMBER },
	{ "proc", F_PROC, NUMBER },
	{ "p", F_PROC, NUMBER },
	{ "thread", F_THREAD, NUMBER },
	{ "m", F_THREAD, NUMBER },
	{ "id", F_ID, NUMBER },
	{ "resource", F_RESOURCE, TEXT },
	{ "from", F_FROM, TEXT },
	{ "to", F_TO, TEXT },
	{ "reason", F_REASON, TEXT },
	{ "function", F_FUNCTION, TEXT },
	{ "name", F_NAME, TEXT },
	{ "value", F_VALUE, EITHER },
	{ "task", F_TASK, NUMBER },
	{ "time", F_TIME, TIME },
};

enum op { OP_EQ,
	  OP_LT,
	  OP_LE,
	  OP_GT,
	  OP_GE,
	  OP_HAS };

struct node {
	enum { N_AND,
	       N_OR,
	       N_NOT,
	       N_CMP } what;
	int a, b; /* operands of and, or, not */
	enum field field;
	enum op op;
	bool is_number;
	int64_t number;
	char text[MAX_TEXT];
	uint8_t *verdict; /* F_FUNCTION: by stack id, 0 not yet asked, 1 no, 2 yes */
	uint32_t nverdict;
};

struct gowhere {
	struct node node[MAX_NODES];
	int n, root;
	bool has_start;
	int64_t start_ns;
	const char *text, *p; /* while parsing */
};

static int wrong(struct gowhere *w, struct err *err, const char *what)
{
	return err_set(err, -EINVAL, "--where '%s': %s expected at character %d", w->text, what, (int)(w->p - w->text) + 1);
}

static void blanks(struct gowhere *w)
{
	w->p += strspn(w->p, " \t\n");
}

static bool take(struct gowhere *w, const char *token)
{
	size_t n = strlen(token);

	blanks(w);
	if (strncmp(w->p, token, n))
		return false;
	w->p += n;
	return true;
}

static int add(struct gowhere *w, int what, int a, int b, struct err *err)
{
	if (w->n == MAX_NODES)
		return err_set(err, -EINVAL, "--where '%.60s...': too long", w->text);
	w->node[w->n].what = what;
	w->node[w->n].a = a;
	w->node[w->n].b = b;
	return w->n++;
}

static int value(struct gowhere *w, struct node *c, struct err *err)
{
	size_t n;
	char *end;

	blanks(w);
	if (*w->p == '"') {
		for (n = 0, w->p++; *w->p && *w->p != '"'; w->p++) {
			if (*w->p == '\\' && w->p[1])
				w->p++;
			if (n < MAX_TEXT - 1)
				c->text[n++] = *w->p;
		}
		if (!*w->p)
			return wrong(w, err, "a closing quote");
		w->p++;
		return 0;
	}
	/* a name of Go has parentheses in it: (*T).Method; so a word ends at a parenthesis only when that was not opened in it */
	for (n = 0, end = (char *)w->p; *end && !strchr(" \t\n&|", *end); end++) {
		n += *end == '(';
		if (*end == ')' && !n--)
			break;
	}
	n = (size_t)(end - w->p);
	if (!n || n >= MAX_TEXT)
		return wrong(w, err, n ? "a shorter value" : "a value");
	memcpy(c->text, w->p, n);
	w->p = end;
	return 0;
}

static int comparison(struct gowhere *w, struct err *err)
{
	static const struct {
		const char *token;
		enum op op;
		bool negated;
	} ops[] = {
		{ "==", OP_EQ, false },
		{ "!=", OP_EQ, true },
		{ "!~", OP_HAS, true },
		{ "<=", OP_LE, false },
		{ ">=", OP_GE, false },
		{ "=", OP_EQ, false },
		{ "~", OP_HAS, false },
		{ "<", OP_LT, false },
		{ ">", OP_GT, false },
	};
	const size_t nops = sizeof(ops) / sizeof(*ops), nfields = sizeof(fields) / sizeof(*fields);
	size_t len, f, o;
	struct node *c;
	uint64_t ns;
	char *end;
	int at, r;

	blanks(w);
	len = strspn(w->p, "abcdefghijklmnopqrstuvwxyz");
	for (f = 0; f < nfields; f++)
		if (strlen(fields[f].name) == len && !memcmp(fields[f].name, w->p, len))
			break;
	if (!len || f == nfields)
		return wrong(w, err, "a field (kind, goroutine, proc, thread, id, resource, from, to, reason, function, name, value, task, time)");
	w->p += len;
	for (o = 0; o < nops && !take(w, ops[o].token); o++)
		;
	if (o == nops)
		return wrong(w, err, "one of = != < <= > >= ~ !~");
	at = add(w, N_CMP, 0, 0, err);
	if (at < 0)
		return at;
	c = &w->node[at];
	c->field = fields[f].field;
	c->op = ops[o].op;
	r = value(w, c, err);
	if (r < 0)
		return r;
	if (fields[f].type == TIME) {
		r = opt_duration(c->text, &ns, err);
		if (r < 0)
			return err_prefix(err, "--where");
		c->is_number = true;
		c->number = (int64_t)ns;
	} else if (fields[f].type != TEXT && c->op != OP_HAS) {
		errno = 0;
		c->number = strtoll(c->text, &end, 10);
		c->is_number = end != c->text && !*end && !errno;
		if (!c->is_number && fields[f].type == NUMBER)
			return err_set(err, -EINVAL, "--where: '%s' is no number", c->text);
	}
	if (!c->is_number && c->op != OP_EQ && c->op != OP_HAS)
		return err_set(err, -EINVAL, "--where: texts compare by = != ~ !~ only ('%s')", c->text);
	return ops[o].negated ? add(w, N_NOT, at, 0, err) : at;
}

static int either(struct gowhere *w, int depth, struct err *err);

static int unary(struct gowhere *w, int depth, struct err *err)
{
	int a;

	if (depth > MAX_DEPTH)
		return err_set(err, -EINVAL, "--where '%.60s...': nested too deep", w->text);
	if (take(w, "!")) {
		a = unary(w, depth + 1, err);
		return a < 0 ? a : add(w, N_NOT, a, 0, err);
	}
	if (take(w, "(")) {
		a = either(w, depth + 1, err);
		if (a >= 0 && !take(w, ")"))
			return wrong(w, err, "')'");
		return a;
	}
	return comparison(w, err);
}

static int both(struct gowhere *w, int depth, struct err *err)
{
	int a = unary(w, depth, err), b;

	while (a >= 0 && take(w, "&&")) {
		b = unary(w, depth, err);
		a = b < 0 ? b : add(w, N_AND, a, b, err);
	}
	return a;
}

static int either(struct gowhere *w, int depth, struct err *err)
{
	int a = both(w, depth, err), b;

	while (a >= 0 && take(w, "||")) {
		b = both(w, depth, err);
		a = b < 0 ? b : add(w, N_OR, a, b, err);
	}
	return a;
}

int gowhere_new(struct gowhere **ret, const char *text, struct err *err)
{
	struct gowhere *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_set(err, -ENOMEM, "out of memory");
	w->text = w->p = text;
	r = either(w, 0, err);
	if (r >= 0) {
		w->root = r;
		blanks(w);
		r = *w->p ? wrong(w, err, "the end, && or ||") : 0;
	}
	if (r < 0) {
		gowhere_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void gowhere_free(struct gowhere *w)
{
	int i;

	for (i = 0; w && i < w->n; i++)
		free(w->node[i].verdict);
	free(w);
}

bool gowhere_needs_stacks(const struct gowhere *w)
{
	int i;

	for (i = 0; i < w->n; i++)
		if (w->node[i].what == N_CMP && w->node[i].field == F_FUNCTION)
			return true;
	return false;
}

static bool text_matches(const struct node *c, const char *s)
{
	return c->op == OP_HAS ? strstr(s, c->text) != NULL : !strcasecmp(s, c->text);
}

static bool number_matches(const struct node *c, int64_t v)
{
	switch (c->op) {
	case OP_LT:
		return v < c->number;
	case OP_LE:
		return v <= c->number;
	case OP_GT:
		return v > c->number;
	case OP_GE:
		return v >= c->number;
	default:
		return v == c->number;
	}
}

static bool stack_matches(struct node *c, const struct gander_gotrace *t, uint32_t stack)
{
	const uint32_t *frames;
	unsigned i, n;
	bool found = false;

	if (!stack)
		return false;
	if (stack < c->nverdict && c->verdict[stack])
		return c->verdict[stack] == 2;
	n = gander_gotrace_stack(t, stack, &frames);
	for (i = 0; i < n && !found; i++)
		found = text_matches(c, gander_gotrace_string(t, gander_gotrace_frame(t, frames[i])->func));
	if (stack >= c->nverdict) {
		uint32_t want = gander_gotrace_stacks(t) + stack / 2 + 64;
		uint8_t *v = realloc(c->verdict, want);

		if (!v)
			return found;
		memset(v + c->nverdict, 0, want - c->nverdict);
		c->verdict = v;
		c->nverdict = want;
	}
	c->verdict[stack] = 1 + found;
	return found;
}

static bool compare(const struct gowhere *w, struct node *c, const struct gander_gotrace *t, const struct gander_gotrace_event *ev)
{
	bool transition = ev->kind == GANDER_GOTRACE_STATE_TRANSITION, go = transition && ev->transition.resource == GANDER_GOTRACE_RES_GOROUTINE;
	bool range = ev->kind == GANDER_GOTRACE_RANGE_BEGIN || ev->kind == GANDER_GOTRACE_RANGE_ACTIVE || ev->kind == GANDER_GOTRACE_RANGE_END;
	bool task = ev->kind == GANDER_GOTRACE_TASK_BEGIN || ev->kind == GANDER_GOTRACE_TASK_END;
	bool region = ev->kind == GANDER_GOTRACE_REGION_BEGIN || ev->kind == GANDER_GOTRACE_REGION_END;
	unsigned state;

	switch (c->field) {
	case F_KIND:
		return text_matches(c, gander_gotrace_kind_name(ev->kind));
	case F_GOROUTINE:
		/* the one it is about as well as the one it happened in */
		return (ev->goroutine != GANDER_GOTRACE_NONE && number_matches(c, ev->goroutine)) || (go && number_matches(c, ev->transition.id)) ||
		       (range && ev->range.scope == GANDER_GOTRACE_RES_GOROUTINE && number_matches(c, ev->range.scope_id));
	case F_PROC:
		return (ev->proc != GANDER_GOTRACE_NONE && number_matches(c, ev->proc)) || (transition && !go && number_matches(c, ev->transition.id));
	case F_THREAD:
		return ev->thread != GANDER_GOTRACE_NONE && number_matches(c, ev->thread);
	case F_ID:
		return transition ? number_matches(c, ev->transition.id) : task && number_matches(c, (int64_t)ev->task.id);
	case F_RESOURCE:
		return transition && text_matches(c, go ? "goroutine" : "proc");
	case F_FROM:
	case F_TO:
		if (!transition)
			return false;
		state = c->field == F_FROM ? ev->transition.from : ev->transition.to;
		return text_matches(c, go ? gander_gotrace_go_state_name(state) : gander_gotrace_proc_state_name(state));
	case F_REASON:
		return transition && ev->transition.reason && text_matches(c, gander_gotrace_string(t, ev->transition.reason));
	case F_FUNCTION:
		return stack_matches(c, t, ev->stack) || (transition && stack_matches(c, t, ev->transition.stack));
	case F_NAME:
		if (range)
			return text_matches(c, gander_gotrace_string(t, ev->range.name));
		if (ev->kind == GANDER_GOTRACE_METRIC)
			return text_matches(c, gander_gotrace_string(t, ev->metric.name));
		if (ev->kind == GANDER_GOTRACE_LABEL)
			return text_matches(c, gander_gotrace_string(t, ev->label.label));
		if (ev->kind == GANDER_GOTRACE_LOG)
			return text_matches(c, gander_gotrace_string(t, ev->log.category));
		if (ev->kind == GANDER_GOTRACE_EXPERIMENTAL)
			return text_matches(c, gander_gotrace_exp_name(ev->wire) ? gander_gotrace_exp_name(ev->wire) : "");
		return (task && text_matches(c, gander_gotrace_string(t, ev->task.type))) || (region && text_matches(c, gander_gotrace_string(t, ev->region.type)));
	case F_VALUE:
		if (ev->kind == GANDER_GOTRACE_METRIC)
			return c->is_number && number_matches(c, (int64_t)ev->metric.value);
		return ev->kind == GANDER_GOTRACE_LOG && (c->op == OP_EQ || c->op == OP_HAS) && text_matches(c, ev->log.message);
	case F_TASK:
		return (task && number_matches(c, (int64_t)ev->task.id)) || (region && number_matches(c, (int64_t)ev->region.task)) ||
		       (ev->kind == GANDER_GOTRACE_LOG && number_matches(c, (int64_t)ev->log.task));
	case F_TIME:
		return number_matches(c, ev->time_ns - w->start_ns);
	}
	return false;
}

static bool holds(struct gowhere *w, int at, const struct gander_gotrace *t, const struct gander_gotrace_event *ev)
{
	struct node *c = &w->node[at];

	switch (c->what) {
	case N_AND:
		return holds(w, c->a, t, ev) && holds(w, c->b, t, ev);
	case N_OR:
		return holds(w, c->a, t, ev) || holds(w, c->b, t, ev);
	case N_NOT:
		return !holds(w, c->a, t, ev);
	default:
		return compare(w, c, t, ev);
	}
}

bool gowhere_matches(struct gowhere *w, const struct gander_gotrace *t, const struct gander_gotrace_event *ev)
{
	if (!w->has_start) {
		w->has_start = true;
		w->start_ns = ev->time_ns;
	}
	return holds(w, w->root, t, ev);
}
