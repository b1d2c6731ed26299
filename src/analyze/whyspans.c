#include "analyze/whyspans.h"
#include "ctf/ctf_read.h"

#include <stdlib.h>
#include <string.h>

#define BEGUN_MAX  4000000u /* spans that have begun and not ended */
#define OTHERS_MAX 40u

struct open_span {
	int64_t from_ns, g;
	uint64_t parent;
};

struct collect {
	struct why_spans *s;
	struct why_list *to;
	struct gander_ctf *r;
	struct map open; /* id, mixed with the process -> index in v */
	struct open_span *v;
	uint32_t n, cap, free; /* free: index + 1, chained by `parent` */
	uint32_t *name_of;     /* by class number: string id + 2; 0: not yet asked, 1: another name */
	uint32_t nclasses;
	struct intern others;
};

/* The name without its ending; 0: not wanted. */
static uint32_t name_of(struct collect *c, const struct gander_ctf_class *k)
{
	size_t cut = k->span == GANDER_CTF_SPAN_BEGIN ? strlen(".begin") : strlen(".end"), len = strlen(k->name);
	const char *end = k->span == GANDER_CTF_SPAN_BEGIN ? ".begin" : ".end";
	struct buf name = BUF_INIT;
	uint32_t *more, id;

	if (k->number < c->nclasses && c->name_of[k->number])
		return c->name_of[k->number] - 1;
	if (k->number >= c->nclasses) {
		more = realloc(c->name_of, (k->number + 64u) * sizeof(*more));
		if (!more)
			return 0;
		memset(more + c->nclasses, 0, (k->number + 64u - c->nclasses) * sizeof(*more));
		c->name_of = more;
		c->nclasses = k->number + 64u;
	}
	buf_put(&name, k->name, len > cut && !strcmp(k->name + len - cut, end) ? len - cut : len);
	id = 0;
	if (!buf_failed(&name)) {
		if (!c->s->name || !strcmp(name.data, c->s->name))
			id = gosyms_string(c->s->syms, name.data) + 1;
		else if (c->others.n < OTHERS_MAX)
			intern_bytes(&c->others, name.data, name.len, NULL);
	}
	buf_done(&name);
	c->name_of[k->number] = id + 1;
	return id;
}

static bool number(struct collect *c, const struct gander_ctf_event *ev, const char *field, uint64_t *to)
{
	const struct gander_ctf_value *v = gander_ctf_find(c->r, ev, field);

	*to = v && (v->type == GANDER_CTF_U64 || v->type == GANDER_CTF_I64) ? v->u : 0;
	return v != NULL;
}

static int begin(struct collect *c, uint64_t key, const struct open_span *o)
{
	uint64_t *at;
	uint32_t i;
	bool added;

	if (c->free) {
		i = c->free - 1;
		c->free = (uint32_t)c->v[i].parent;
	} else {
		if (c->n == c->cap) {
			uint32_t cap = c->cap ? c->cap * 2 : 256;
			struct open_span *v;

			if (c->n >= BEGUN_MAX)
				return -EFBIG;
			v = realloc(c->v, (size_t)cap * sizeof(*v));
			if (!v)
				return -ENOMEM;
			c->v = v;
			c->cap = cap;
		}
		i = c->n++;
	}
	at = map_put(&c->open, key, &added);
	if (!at)
		return -ENOMEM;
	if (!added) { /* the same id again: the later begin counts */
		c->v[i].parent = c->free;
		c->free = i + 1;
		i = (uint32_t)*at;
	}
	*at = i;
	c->v[i] = *o;
	return 0;
}

static int event(struct collect *c, const struct gander_ctf_event *ev)
{
	int64_t at = (int64_t)((uint64_t)ev->time_ns - (uint64_t)c->s->mono_offset_ns); /* the offset is what a file says */
	uint64_t id, key, g, parent, *slot;
	uint32_t name = name_of(c, ev->class_), i;
	bool is_go;

	if (!name || !number(c, ev, "span_id", &id))
		return 0;
	if (!ctf_event_thread(c->r, ev, &g, &is_go) || !is_go || g > INT64_MAX)
		g = UINT64_MAX;
	key = id ^ (uint64_t)ev->trace->number << 48;
	if (ev->class_->span == GANDER_CTF_SPAN_BEGIN) {
		struct open_span o = { at, (int64_t)g, 0 };

		number(c, ev, "parent_id", &parent);
		o.parent = parent;
		return begin(c, key, &o);
	}
	slot = map_find(&c->open, key);
	if (!slot) {
		c->to->open++;
		return 0;
	}
	i = (uint32_t)*slot;
	map_del(&c->open, key);
	if ((int64_t)g < 0)
		g = (uint64_t)c->v[i].g;
	if ((int64_t)g < 0) {
		c->s->without_goroutine++;
	} else {
		struct why_span s = { .from_ns = c->v[i].from_ns, .to_ns = at, .g = (int64_t)g, .id = id, .parent = c->v[i].parent, .name = name - 1, .process = ev->trace->pid > 0 ? (uint32_t)ev->trace->pid : 0, .what = WHY_OF_SPAN };
		int r = at >= s.from_ns ? why_list_add(c->to, &s) : 0;

		if (r < 0)
			return r;
	}
	c->v[i].parent = c->free;
	c->free = i + 1;
	return 0;
}

int why_spans_collect(struct why_spans *s, struct why_list *to, struct err *err)
{
	struct collect c = { .s = s, .to = to };
	struct gander_ctf_opts o = GANDER_CTF_OPTS_INIT;
	struct gander_ctf_event ev;
	uint32_t i;
	int r;

	if (s->from_ns || s->to_ns) {
		o.begin_ns = (int64_t)((uint64_t)s->from_ns + (uint64_t)s->mono_offset_ns);
		o.end_ns = (int64_t)((uint64_t)s->to_ns + (uint64_t)s->mono_offset_ns);
	}
	r = gander_ctf_open(&c.r, s->dir, &o, (struct gander_err *)err);
	if (r < 0)
		return r;
	while ((r = gander_ctf_next(c.r, &ev, (struct gander_err *)err)) > 0) {
		if (ev.kind != GANDER_CTF_EVENT || !ev.class_->span)
			continue;
		r = event(&c, &ev);
		if (r < 0) {
			err_set(err, r, r == -EFBIG ? "more spans than can be kept" : "out of memory");
			break;
		}
	}
	to->open += c.open.n + c.open.has_zero;
	for (i = 0; s->others && i < c.others.n; i++)
		buf_printf(s->others, "%s%s", i ? ", " : "", intern_text(&c.others, i));
	gander_ctf_free(c.r);
	map_done(&c.open);
	intern_done(&c.others);
	free(c.v);
	free(c.name_of);
	return r;
}
