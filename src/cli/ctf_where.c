#include "cli/ctf_where.h"
#include "ctf/ctf_read.h"
#include "region/glob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ctf_where_init(struct ctf_where *w, const char *expr, const struct opt_list *globs, struct err *err)
{
	const struct filter_name *names;
	unsigned n, i;
	int res;

	memset(w, 0, sizeof(*w));
	w->globs = globs;
	res = expr ? filter_parse(&w->filter, expr, err) : 0;
	if (res < 0 || !expr)
		return res;
	names = filter_names(w->filter, &n);
	w->name = calloc(n + 1, sizeof(*w->name));
	for (i = 0; w->name && i < n; i++)
		near_init(&w->name[i].near, names[i].text);
	return w->name ? 0 : err_set(err, -ENOMEM, "out of memory");
}

void ctf_where_done(struct ctf_where *w)
{
	filter_free(w->filter);
	map_done(&w->by_class);
	free(w->name);
}

/* "a.b[3]": names with dots by ctf_values_find(), then elements by their index. */
static const struct gander_ctf_value *find(const struct ctf_where *w, const char *name)
{
	const struct gander_ctf_value *v;
	char plain[256], *rest, *at;
	unsigned long index;
	uint32_t i, end;

	if (strlen(name) >= sizeof(plain))
		return NULL;
	memcpy(plain, name, strlen(name) + 1);
	at = strchr(plain, '[');
	if (!at)
		return ctf_values_find(w->v, w->n, plain);
	*at++ = 0;
	v = ctf_values_find(w->v, w->n, plain);
	while (v) {
		if (v->type != GANDER_CTF_ARRAY)
			return NULL;
		index = strtoul(at, &rest, 10);
		if (*rest != ']')
			return NULL;
		i = (uint32_t)(v - w->v) + 1;
		for (end = v->next; index && i < end; index--)
			i = w->v[i].next;
		if (i >= end)
			return NULL;
		v = &w->v[i];
		at = rest + 1;
		if (!*at)
			return v;
		if (*at == '[') {
			at++;
			continue;
		}
		if (*at != '.' || v->type != GANDER_CTF_STRUCT)
			return NULL;
		at++;
		rest = strpbrk(at, ".[");
		for (i++, end = v->next, v = NULL; i < end && !v; i = w->v[i].next)
			if (strlen(w->v[i].name) == (rest ? (size_t)(rest - at) : strlen(at)) &&
			    !strncmp(w->v[i].name, at, strlen(w->v[i].name)))
				v = &w->v[i];
		if (!rest)
			return v;
		if (*rest == '.')
			return NULL; /* struct in a struct in an array: not by this notation */
		at = rest + 1;
	}
	return NULL;
}

/* $tid and the others, in the words of gander's traces and of LTTng's. */
static const struct gander_ctf_value *find_context(const struct ctf_where *w, const char *name)
{
	static const struct {
		const char *ours, *names[3];
	} known[] = { { "$tid", { "vtid", "tid", NULL } }, { "$goid", { "goid", NULL, NULL } }, { "$cpu", { "cpu_id", NULL, NULL } }, { "$span", { "span", NULL, NULL } }, { "$key", { "key", NULL, NULL } }, { "$pid", { "vpid", "pid", NULL } } };
	const struct gander_ctf_value *v = NULL;
	unsigned i, k;
	uint32_t s, m;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		for (k = 0; !strcmp(known[i].ours, name) && k < 3 && known[i].names[k] && !v; k++)
			for (s = 0; s < w->n; s = w->v[s].next)
				for (m = s + 1; w->v[s].count != GANDER_CTF_FIELDS && m < w->v[s].next; m = w->v[m].next)
					if (!strcmp(w->v[m].name, known[i].names[k]))
						v = &w->v[m];
	if (!v && w->told.name && !strcmp(name, "$goid"))
		return &w->told;
	return v;
}

static bool get(void *event, unsigned name, struct filter_value *out)
{
	struct ctf_where *w = event;
	const struct filter_name *names;
	const struct gander_ctf_value *v;
	unsigned n;

	memset(out, 0, sizeof(*out));
	names = filter_names(w->filter, &n);
	if (!strcmp(names[name].text, "$level")) {
		out->num.kind = GD_NUM_I64;
		out->num.bits = (uint64_t)(w->ev->class_->level);
		return w->ev->class_->level >= 0;
	}
	if (!strcmp(names[name].text, "$name")) {
		out->text = w->ev->class_->name;
		out->len = strlen(out->text);
		return true;
	}
	if (!strcmp(names[name].text, "$pid") && w->ev->trace->pid >= 0) {
		out->num.kind = GD_NUM_I64;
		out->num.bits = (uint64_t)(w->ev->trace->pid);
		return true;
	}
	v = names[name].text[0] == '$' ? find_context(w, names[name].text) : find(w, names[name].text);
	if (!v)
		return false;
	if (names[name].want == FILTER_LENGTH) {
		out->num.kind = GD_NUM_U64;
		out->num.bits = v->type == GANDER_CTF_ARRAY ? v->count : v->len;
		return v->type == GANDER_CTF_ARRAY || v->type == GANDER_CTF_TEXT || v->type == GANDER_CTF_BLOB;
	}
	switch (v->type) {
	case GANDER_CTF_I64:
		out->num.kind = GD_NUM_I64;
		out->num.bits = (uint64_t)(v->i);
		break;
	case GANDER_CTF_U64:
	case GANDER_CTF_BOOL:
		out->num.kind = GD_NUM_U64;
		out->num.bits = v->u;
		break;
	case GANDER_CTF_F64:
		out->num.kind = GD_NUM_F64;
		memcpy(&out->num.bits, &v->f, 8);
		break;
	case GANDER_CTF_TEXT:
	case GANDER_CTF_BLOB:
		out->text = v->text;
		out->len = v->len;
		break;
	default:
		break; /* is there, but has no value to compare */
	}
	if (v->label) {
		out->text = v->label;
		out->len = strlen(v->label);
		out->labelled = true;
	}
	return true;
}

#define NEAR_EVENTS 10000u /* that lack a name: in so many its neighbours are looked for */

/* Members of the fields and of attributes, by the names that an expression would have for them. */
static void offer_names(const struct ctf_where *w, struct near *near)
{
	uint32_t s, m, a;

	for (s = 0; s < w->n; s = w->v[s].next)
		for (m = s + 1; m < w->v[s].next; m = w->v[m].next) {
			near_offer(near, w->v[m].name, strlen(w->v[m].name));
			for (a = m + 1; w->v[m].flags & GANDER_CTF_ATTRS && a + 1 < w->v[m].next; a = w->v[a].next)
				if (w->v[a].type == GANDER_CTF_STRUCT && w->v[a + 1].type == GANDER_CTF_TEXT)
					near_offer(near, w->v[a + 1].text, w->v[a + 1].len);
		}
}

/* get(), and remembers what was there. */
static bool get_seen(void *event, unsigned name, struct filter_value *out)
{
	struct ctf_where *w = event;
	struct ctf_where_name *seen = &w->name[name];

	if (get(event, name, out)) {
		seen->found = true;
		return true;
	}
	if (!seen->found && seen->missed++ < NEAR_EVENTS)
		offer_names(w, &seen->near);
	return false;
}

void ctf_where_warn(const struct ctf_where *w)
{
	const struct filter_name *names;
	const char *best;
	unsigned i, n;

	if (!w->filter || !w->name)
		return;
	names = filter_names(w->filter, &n);
	for (i = 0; i < n; i++) {
		if (w->name[i].found || !w->name[i].missed || names[i].text[0] == '$')
			continue;
		best = near_best(&w->name[i].near);
		fprintf(stderr, "gander: no event has a field named '%s'%s%s%s\n", names[i].text, best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
	}
}

static bool globs_hold(struct ctf_where *w, const struct gander_ctf_class *c)
{
	uint64_t *known;
	bool added;
	int i;

	if (!w->globs || !w->globs->n)
		return true;
	known = map_put(&w->by_class, (uint64_t)(uintptr_t)c, &added);
	if (!known)
		return true;
	if (added)
		for (i = 0; i < w->globs->n; i++)
			if (gd_glob_match(w->globs->v[i], strlen(w->globs->v[i]), c->name, strlen(c->name)))
				*known = 1;
	return *known;
}

bool ctf_where_holds(struct ctf_where *w, struct gander_ctf *r, const struct gander_ctf_event *ev)
{
	int n;

	if (ev->kind != GANDER_CTF_EVENT)
		return true;
	if (!globs_hold(w, ev->class_))
		return false;
	if (!w->filter)
		return true;
	n = gander_ctf_values(r, ev, &w->v);
	w->n = n > 0 ? (uint32_t)n : 0;
	w->ev = ev;
	return filter_eval(w->filter, get_seen, w);
}

bool timeline_where_holds(struct ctf_where *w, struct timeline *tl, const struct timeline_event *ev)
{
	int n;

	if (ev->ctf.kind != GANDER_CTF_EVENT)
		return true;
	if (!globs_hold(w, ev->ctf.class_))
		return false;
	if (!w->filter)
		return true;
	n = timeline_values(tl, ev, &w->v);
	w->n = n > 0 ? (uint32_t)n : 0;
	w->ev = &ev->ctf;
	memset(&w->told, 0, sizeof(w->told));
	if (ev->goid_told)
		w->told = (struct gander_ctf_value) { .type = GANDER_CTF_I64, .name = "goid", .i = ev->goid };
	return filter_eval(w->filter, get_seen, w);
}
