/* Evaluates the tree on decoded events: the same answers as the linked form gives on their bytes. */
#include "filter/filter_ast.h"

#include <string.h>

struct eval {
	const struct filter *f;
	filter_get_fn get;
	void *event;
};

static bool get(const struct eval *e, const struct filter_node *field, struct filter_value *v)
{
	memset(v, 0, sizeof(*v));
	return e->get(e->event, field->name, v);
}

/* Numbers, and strings without a number to them. */
static void value(const struct eval *e, uint16_t at, struct filter_value *v)
{
	const struct filter_node *n = &e->f->node[at];
	struct filter_value x, y;

	memset(v, 0, sizeof(*v));
	switch (n->kind) {
	case NODE_NUMBER:
		v->num = n->num;
		return;
	case NODE_FIELD:
		if (!get(e, n, v))
			memset(v, 0, sizeof(*v));
		if (v->num.kind)
			v->text = NULL;
		return;
	default:
		value(e, n->left, &x);
		value(e, n->right, &y);
		v->num = gd_num_arith(n->op, x.num, y.num);
	}
}

static bool compare(const struct eval *e, const struct filter_node *n)
{
	struct filter_value x, y;
	bool same;

	value(e, n->left, &x);
	value(e, n->right, &y);
	if (!x.text || !y.text)
		return gd_num_holds(n->op, x.num, y.num);
	same = x.len == y.len && !memcmp(x.text, y.text, x.len);
	return n->op == GD_REL_EQ ? same : n->op == GD_REL_NE && !same;
}

static bool match(const struct eval *e, const struct filter_node *n)
{
	uint32_t work = GD_FILTER_WORK;
	struct filter_value v;
	bool hit = false;

	if (!get(e, &e->f->node[n->left], &v) || (!v.text && !v.labelled))
		return false;
	if (v.text)
		hit = gd_str_holds(n->op, v.text, v.len, e->f->texts + n->text, n->len, &work);
	return hit != !!n->num.bits;
}

static bool condition(const struct eval *e, uint16_t at)
{
	const struct filter_node *n = &e->f->node[at];
	struct filter_value v;

	switch (n->kind) {
	case NODE_OR:
		return condition(e, n->left) || condition(e, n->right);
	case NODE_AND:
		return condition(e, n->left) && condition(e, n->right);
	case NODE_NOT:
		return !condition(e, n->left);
	case NODE_COMPARE:
		return compare(e, n);
	case NODE_MATCH:
		return match(e, n);
	case NODE_HAS:
		return get(e, n, &v);
	default:
		return n->op;
	}
}

bool filter_eval(const struct filter *f, filter_get_fn get_value, void *event)
{
	struct eval e = { f, get_value, event };

	return condition(&e, f->root);
}
