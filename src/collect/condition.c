#include "collect/collect_condition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END ".end" /* a span's name and this is the class that tells its duration */

/* A name in the expression that is no `$tid` or its like; NULL: there is none. */
static const char *first_name(const struct filter *f, unsigned from)
{
	const struct filter_name *names;
	unsigned n;

	for (names = filter_names(f, &n); from < n; from++)
		if (names[from].text[0] != '$')
			return names[from].text;
	return NULL;
}

/* Do all names begin with the event's, and go on with a field's? */
static bool all_of_event(const struct filter *f, const char *event, size_t len)
{
	const struct filter_name *names;
	unsigned i, n;

	names = filter_names(f, &n);
	for (i = 0; i < n; i++)
		if (names[i].text[0] != '$' && (strncmp(names[i].text, event, len) || names[i].text[len] != '.' || !names[i].text[len + 1]))
			return false;
	return true;
}

static int add_split(struct condition *c, const char *event, size_t len, bool whole, struct err *err)
{
	uint64_t generic[GD_FILTER_GENERIC_MAX / 8];
	struct condition_split *s = &c->split[c->nsplits];
	int size = 0;

	if (c->nsplits == CONDITION_SPLITS || len > GD_NAME_MAX)
		return 0;
	if (!whole) {
		filter_skip_prefix(c->parsed, len + 1);
		size = filter_compile(c->parsed, NULL, generic, sizeof(generic), err);
		filter_skip_prefix(c->parsed, 0);
		if (size < 0)
			return size;
		s->filter = malloc((size_t)size);
		if (!s->filter)
			return err_set(err, -ENOMEM, "out of memory");
		memcpy(s->filter, generic, (size_t)size);
	}
	memcpy(s->event, event, len);
	s->event[len] = 0;
	s->filter_len = (uint32_t)size;
	c->nsplits++;
	return 0;
}

int condition_add(struct condition_list *l, const char *text, struct err *err)
{
	struct condition *c = &l->v[l->n];
	const char *name;
	size_t len, i;
	int res;

	if (l->n == GD_CONDITIONS)
		return err_set(err, -E2BIG, "more than %u conditions (a || b is one)", GD_CONDITIONS);
	memset(c, 0, sizeof(*c));
	c->text = text;
	res = filter_parse(&c->parsed, text, err);
	if (res < 0)
		return res;
	l->n++; /* from here on condition_list_done() frees it */
	name = first_name(c->parsed, 0);
	if (!name)
		return err_set(err, -EINVAL, "the condition '%s' is about no event: EVENT.FIELD > VALUE, as in shop.request.duration > 300ms", text);
	if (filter_is_field(c->parsed))
		res = add_split(c, name, strlen(name), true, err);
	len = strcspn(name, "[");
	for (i = len; i-- > 0 && res == 0;)
		if (name[i] == '.' && i && all_of_event(c->parsed, name, i))
			res = add_split(c, name, i, false, err);
	if (res == 0 && !c->nsplits)
		res = memchr(name, '.', len) ? err_set(err, -EINVAL, "the condition '%s' is about more than one event: each needs its own --snapshot-when", text)
					     : err_set(err, -EINVAL, "'%s' names no event's field: EVENT.FIELD, as in shop.request.duration > 300ms", name);
	return res;
}

void condition_list_done(struct condition_list *l)
{
	unsigned i, k;

	for (i = 0; i < l->n; i++) {
		for (k = 0; k < l->v[i].nsplits; k++)
			free(l->v[i].split[k].filter);
		filter_free(l->v[i].parsed);
	}
	l->n = 0;
}

/* The event's name as a pattern that matches nothing else. */
static int put_rule(struct rule_list *to, const struct condition_split *s, const char *suffix, unsigned number, struct err *err)
{
	struct rule *u = &to->v[to->n];
	size_t n = 0;
	const char *p;

	if (to->n == RULE_LIST_MAX)
		return err_set(err, -ENOSPC, "too many patterns and conditions: at most %d", RULE_LIST_MAX);
	*u = (struct rule) { .condition = true, .number = (uint8_t)number, .level = 255, .filter = s->filter, .filter_len = s->filter_len };
	for (p = s->event; *p && n < sizeof(u->glob) - 2; p++) {
		if (strchr("*?[]\\", *p))
			u->glob[n++] = '\\';
		u->glob[n++] = *p;
	}
	if (*p || n + strlen(suffix) >= sizeof(u->glob))
		return err_set(err, -EINVAL, "the event's name in a condition is longer than %zu bytes", sizeof(u->glob) - sizeof(END));
	memcpy(u->glob + n, suffix, strlen(suffix) + 1);
	to->n++;
	return 0;
}

int condition_rules(const struct condition_list *l, struct rule_list *to, struct err *err)
{
	unsigned i, k;
	int res = 0;

	for (i = 0; i < l->n; i++)
		for (k = 0; k < l->v[i].nsplits && res == 0; k++) {
			res = put_rule(to, &l->v[i].split[k], "", i, err);
			if (res == 0)
				res = put_rule(to, &l->v[i].split[k], END, i, err);
		}
	return res;
}

static bool is_class_of(const struct condition_split *s, const struct rclass *cl)
{
	size_t len = strlen(s->event);

	return !strncmp(cl->name, s->event, len) && (!cl->name[len] || !strcmp(cl->name + len, END));
}

/* Calls near_offer() with each field; returns whether one of them is `name` (up to its first '.' or '['). */
static bool offer_fields(struct near *n, const struct rclass *cl, const char *name, char *list, size_t list_len, bool *attrs)
{
	size_t len = strcspn(name, ".["), used = 0;
	struct gd_desc d;
	struct gd_field f;
	bool found = false;

	*attrs = false;
	if (list_len)
		*list = 0;
	if (gd_desc_parse(&d, cl->desc, cl->desc_len) < 0)
		return false;
	while (gd_desc_field(&f, &d.fields, d.end)) {
		near_offer(n, f.name, f.name_len);
		found |= f.name_len == len && !memcmp(f.name, name, len);
		*attrs |= f.type == GD_ATTRS;
		if (used < list_len)
			used += (size_t)snprintf(list + used, list_len - used, "%s%.*s", used ? ", " : "", f.name_len, f.name);
	}
	return found;
}

/* The first of the condition's names that is no field of the class. */
static bool odd_field(const struct condition *c, unsigned split, const struct rclass *cl, char field[GD_NAME_MAX + 1], struct near *n, char *list,
		      size_t list_len, bool *attrs)
{
	const struct filter_name *names;
	size_t skip = strlen(c->split[split].event) + 1;
	unsigned i, count;

	names = filter_names(c->parsed, &count);
	for (i = 0; i < count && c->split[split].filter; i++) {
		if (names[i].text[0] == '$')
			continue;
		snprintf(field, GD_NAME_MAX + 1, "%.*s", (int)strcspn(names[i].text + skip, ".["), names[i].text + skip);
		near_init(n, field);
		if (!offer_fields(n, cl, field, list, list_len, attrs))
			return true;
	}
	return false;
}

/* The event is there, but the condition does not fit it: why. */
static void say_misfit(const struct condition *c, unsigned k, const struct rclass *cl, char *text, size_t len)
{
	static uint64_t linked[GD_FILTER_LINKED_MAX / 8];
	const struct condition_split *s = &c->split[k];
	char field[GD_NAME_MAX + 1], list[300];
	struct err err = ERR_INIT;
	struct near n;
	bool attrs;

	if (odd_field(c, k, cl, field, &n, list, sizeof(list), &attrs) && !attrs) {
		snprintf(text, len, "event %s has no field '%s'%s%s%s (it has: %s)", cl->name, field, near_best(&n) ? "; did you mean '" : "",
			 near_best(&n) ? near_best(&n) : "", near_best(&n) ? "'?" : "", *list ? list : "none");
	} else if (filter_link(s->filter, s->filter_len, cl->desc, cl->desc_len, linked, sizeof(linked), &err) < 0) {
		snprintf(text, len, "%s", err.text);
	}
}

bool condition_look(const struct condition *c, const struct rclass *cl, struct condition_seen *seen)
{
	static uint64_t linked[GD_FILTER_LINKED_MAX / 8];
	size_t len = strlen(cl->name);
	char field[GD_NAME_MAX + 1];
	struct near n;
	bool attrs;
	unsigned k;

	if (!seen->name.word)
		near_init(&seen->name, c->split[0].event);
	if (cl->kind == GD_KIND_SPAN_END && len > strlen(END))
		near_offer(&seen->name, cl->name, len - strlen(END));
	near_offer(&seen->name, cl->name, len);
	for (k = 0; k < c->nsplits; k++) {
		const struct condition_split *s = &c->split[k];

		if (!is_class_of(s, cl))
			continue;
		if (s->filter && gd_filter_link(s->filter, s->filter_len, cl->desc, cl->desc_len, linked, sizeof(linked)) <= 0) {
			say_misfit(c, k, cl, seen->why, sizeof(seen->why));
			continue;
		}
		if (!seen->met && odd_field(c, k, cl, field, &n, NULL, 0, &attrs) && near_best(&n))
			snprintf(seen->odd, sizeof(seen->odd), "condition '%.100s': '%.100s' is taken for an attribute of %s; did you mean the field '%.100s'?",
				 c->text, field, cl->name, near_best(&n));
		seen->met = true;
		return true;
	}
	return false;
}

void condition_why_none(const struct condition *c, const struct condition_seen *seen, char *text, size_t len)
{
	const char *best = seen->name.word ? near_best(&seen->name) : NULL, *name = first_name(c->parsed, 0), *dot = strrchr(name, '.');

	if (*seen->why)
		snprintf(text, len, "condition '%.200s': %s", c->text, seen->why);
	else if (dot && !all_of_event(c->parsed, name, (size_t)(dot - name)))
		snprintf(text, len, "condition '%.200s': no event is called '%s' (a condition is about one event: others need their own --snapshot-when)", c->text,
			 c->split[0].event);
	else
		snprintf(text, len, "condition '%.200s': no event is called '%s'%s%s%s (gander list -e shows what there is)", c->text, c->split[0].event,
			 best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
}
