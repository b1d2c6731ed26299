/* Compiles the tree to the generic form. A condition is compiled for two ends, where to go on when it holds and when
 * not, so that &&, || and ! cost no instruction of their own. */
#include "filter/filter_ast.h"
#include "region/desc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENDS (GD_FILTER_GENERIC_MAX / sizeof(struct gd_insn))

/* Where to go: GD_GO_PASS, GD_GO_REJECT, or a place that is not known yet. */
struct coder {
	const struct filter *f;
	struct gd_insn insn[ENDS];
	unsigned ninsn;
	uint16_t end[2 * FILTER_NODES]; /* instruction that a place turned out to be */
	unsigned nends;
	char data[GD_FILTER_GENERIC_MAX];
	unsigned data_len;
	uint32_t name_at[FILTER_NAMES]; /* in data, + 1; 0: not there yet */
	struct err *err;
	int failed;
};

static unsigned new_end(struct coder *c)
{
	return c->nends++;
}

static void place_end(struct coder *c, unsigned end)
{
	c->end[end] = (uint16_t)c->ninsn;
}

static struct gd_insn *emit(struct coder *c, unsigned op)
{
	struct gd_insn *i;

	if (c->ninsn == ENDS - 1) {
		c->failed = err_set(c->err, -E2BIG, "the filter is too long: it compiles to more than %u bytes",
				    GD_FILTER_GENERIC_MAX);
		c->ninsn = 0; /* nothing of it will be used */
	}
	i = &c->insn[c->ninsn++];
	memset(i, 0, sizeof(*i));
	i->op = (uint8_t)op;
	return i;
}

/* Offset in the data part, and the length above it. */
static uint64_t add_data(struct coder *c, const char *text, size_t len)
{
	uint64_t at = c->data_len | (uint64_t)len << 16;

	if (len > sizeof(c->data) - c->data_len) {
		c->failed = err_set(c->err, -E2BIG, "the filter is too long: it compiles to more than %u bytes",
				    GD_FILTER_GENERIC_MAX);
		return 0;
	}
	memcpy(c->data + c->data_len, text, len);
	c->data_len += (unsigned)len;
	return at;
}

static uint64_t add_name(struct coder *c, unsigned name)
{
	const char *text = c->f->name[name].text;

	if (!c->name_at[name])
		c->name_at[name] = (uint32_t)add_data(c, text, strlen(text)) + 1;
	return c->name_at[name] - 1;
}

static void set_number(struct gd_insn *i, struct gd_num num)
{
	i->a = num.bits;
	i->b = (uint64_t)num.kind << 8;
}

/* 1e3 in a comparison is 1000: the linker knows ranges of integers. */
static struct gd_num as_integer(struct gd_num num)
{
	struct gd_num whole = { GD_NUM_I64, 0 };
	double d;

	if (num.kind != GD_NUM_F64)
		return num;
	memcpy(&d, &num.bits, sizeof(d));
	if (!(d > -9e18 && d < 9e18) || d != (double)(int64_t)d)
		return num;
	whole.bits = (uint64_t)(int64_t)d;
	return whole;
}

static void code_value(struct coder *c, uint16_t at, unsigned reg)
{
	const struct filter_node *n = &c->f->node[at];
	struct gd_insn *i;

	if (c->failed)
		return;
	if (reg >= GD_REGISTERS) {
		c->failed = filter_complain(c->f->text, n->column, c->err,
					    "too deep for %u registers: turn `a + (b + (...))` around", GD_REGISTERS);
		return;
	}
	switch (n->kind) {
	case NODE_NUMBER:
		i = emit(c, GD_OP_IMM);
		set_number(i, n->num);
		i->reg = (uint8_t)reg;
		break;
	case NODE_FIELD:
		i = emit(c, c->f->name[n->name].want == FILTER_LENGTH ? GD_OP_LEN : GD_OP_LOAD);
		i->where = add_name(c, n->name);
		i->reg = (uint8_t)reg;
		break;
	default:
		code_value(c, n->left, reg);
		code_value(c, n->right, reg + 1);
		i = emit(c, GD_OP_ARITH);
		i->rel = n->op;
		i->reg = (uint8_t)(reg | (reg + 1) << 4);
	}
}

static void code_compare(struct coder *c, const struct filter_node *n, unsigned yes, unsigned no)
{
	const struct filter_node *l = &c->f->node[n->left], *r = &c->f->node[n->right];
	struct gd_insn *i;

	if (l->kind == NODE_FIELD && r->kind == NODE_NUMBER && c->f->name[l->name].want == FILTER_VALUE) {
		i = emit(c, GD_OP_CMP);
		i->where = add_name(c, l->name);
		set_number(i, as_integer(r->num));
	} else {
		code_value(c, n->left, 0);
		code_value(c, n->right, 1);
		i = emit(c, GD_OP_CMPR);
		i->reg = 1 << 4;
	}
	i->rel = n->op;
	i->yes = (uint16_t)yes;
	i->no = (uint16_t)no;
}

static void code_condition(struct coder *c, uint16_t at, unsigned yes, unsigned no)
{
	const struct filter_node *n = &c->f->node[at], *field = &c->f->node[n->left];
	struct gd_insn *i;
	unsigned end;

	if (c->failed)
		return;
	switch (n->kind) {
	case NODE_OR:
	case NODE_AND:
		end = new_end(c);
		if (n->kind == NODE_OR)
			code_condition(c, n->left, yes, end);
		else
			code_condition(c, n->left, end, no);
		place_end(c, end);
		code_condition(c, n->right, yes, no);
		return;
	case NODE_NOT:
		code_condition(c, n->left, no, yes);
		return;
	case NODE_COMPARE:
		code_compare(c, n, yes, no);
		return;
	case NODE_MATCH:
		i = emit(c, GD_OP_STR);
		i->rel = n->op;
		i->flags = n->num.bits ? GD_INSN_NOT : 0;
		i->where = add_name(c, field->name);
		i->a = add_data(c, c->f->texts + n->text, n->len);
		break;
	case NODE_HAS:
		i = emit(c, GD_OP_HAS);
		i->where = add_name(c, n->name);
		break;
	default:
		i = emit(c, GD_OP_CONST);
		if (!n->op)
			yes = no;
	}
	i->yes = (uint16_t)yes;
	i->no = (uint16_t)no;
}

static uint16_t distance(const struct coder *c, unsigned from, unsigned end)
{
	return end >= GD_GO_PASS ? (uint16_t)end : (uint16_t)(c->end[end] - from - 1);
}

static bool decides(unsigned op)
{
	return op <= GD_OP_HAS || op == GD_OP_CMPR;
}

static int finish(struct coder *c, unsigned key, void *out, size_t cap)
{
	unsigned base = (unsigned)(sizeof(struct gd_filter_head) + c->ninsn * sizeof(struct gd_insn)), size, k;
	struct gd_filter_head head = { GD_FILTER_GENERIC, 0, (uint16_t)c->ninsn, (uint16_t)key, 0, { 0, 0 } };

	if (c->failed)
		return c->failed;
	size = (base + c->data_len + 7) & ~7u;
	if (size > cap || size > GD_FILTER_GENERIC_MAX)
		return err_set(c->err, -E2BIG, "the filter is too long: it compiles to %u bytes, %u is the most", size,
			       GD_FILTER_GENERIC_MAX);
	head.size = size;
	for (k = 0; k < c->ninsn; k++) { /* places become distances, and offsets in data those in the program */
		struct gd_insn *i = &c->insn[k];

		if (decides(i->op)) {
			i->yes = distance(c, k, i->yes);
			i->no = distance(c, k, i->no);
		}
		if (i->op != GD_OP_CONST && i->op != GD_OP_IMM && i->op != GD_OP_ARITH && i->op != GD_OP_CMPR)
			i->where += base;
		if (i->op == GD_OP_STR)
			i->a += base;
	}
	memset(out, 0, size);
	memcpy(out, &head, sizeof(head));
	memcpy((char *)out + sizeof(head), c->insn, c->ninsn * sizeof(struct gd_insn));
	memcpy((char *)out + base, c->data, c->data_len);
	return (int)size;
}

/* It parses as `field != 0`, with both sides at the same place. */
bool filter_is_field(const struct filter *f)
{
	const struct filter_node *n = &f->node[f->root];

	return n->kind == NODE_COMPARE && f->node[n->left].kind == NODE_FIELD &&
	       f->name[f->node[n->left].name].want == FILTER_VALUE && f->node[n->right].kind == NODE_NUMBER &&
	       f->node[n->right].column == f->node[n->left].column;
}

void filter_skip_prefix(struct filter *f, size_t n)
{
	unsigned i;

	for (i = 0; i < f->nnames; i++)
		if (f->name[i].text[0] != '$')
			f->name[i].text = f->name[i].text - f->prefix + n;
	f->prefix = n;
}

int filter_compile(const struct filter *f, const char *by, void *out, size_t cap, struct err *err)
{
	struct coder *c;
	struct filter *key = NULL;
	struct gd_insn *i;
	unsigned nkey = 0;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, -ENOMEM, "out of memory");
	c->f = f;
	c->err = err;
	if (f) {
		code_condition(c, f->root, GD_GO_PASS, GD_GO_REJECT);
	} else {
		i = emit(c, GD_OP_CONST);
		i->yes = i->no = GD_GO_PASS;
	}
	r = c->failed;
	if (!r && by) {
		r = filter_parse(&key, by, err);
		if (r)
			goto out;
		if (!filter_is_field(key)) {
			r = filter_complain(by, 0, err, "to count by takes one field");
			goto out;
		}
		i = emit(c, GD_OP_LOAD);
		i->where = add_data(c, key->name[0].text, strlen(key->name[0].text));
		nkey = c->ninsn;
	}
	if (!r)
		r = finish(c, nkey, out, cap);
out:
	filter_free(key);
	free(c);
	return r;
}

/* The instruction's field alone, as a program of its own. */
static int link_one(uint64_t *copy, unsigned insn, const void *desc, size_t desc_len)
{
	uint64_t out[GD_FILTER_LINKED_MAX / 8];

	memmove(copy + 4, copy + 4 + 4 * insn, sizeof(struct gd_insn));
	return gd_filter_link(copy, GD_FILTER_GENERIC_MAX, desc, desc_len, out, sizeof(out));
}

static int say_why(const void *generic, size_t len, const void *desc, size_t desc_len, int r, struct err *err)
{
	uint64_t copy[GD_FILTER_GENERIC_MAX / 8], first[4];
	struct gd_filter_head head;
	struct gd_desc d;
	unsigned k, n, off, name_len;
	uint64_t where;

	if (len < sizeof(head) || len > sizeof(copy) || gd_desc_parse(&d, desc, desc_len))
		return err_set(err, r, "the filter or the class is damaged");
	memset(copy, 0, sizeof(copy));
	memcpy(copy, generic, len);
	memcpy(&head, copy, sizeof(head));
	n = head.ninsn;
	if (sizeof(head) + n * sizeof(struct gd_insn) > len)
		return err_set(err, r, "the filter is damaged");
	head.ninsn = 1;
	head.key = 0;
	memcpy(copy, &head, sizeof(head));
	for (k = 0; k < n; k++) {
		memcpy(first, copy + 4, sizeof(first));
		where = copy[4 + 4 * k + 1];
		off = where & 0xffff;
		name_len = where >> 16 & 0xffff;
		r = link_one(copy, k, desc, desc_len);
		if (r < 0 && off + name_len <= len)
			return err_set(err, r,
				       r == -ENOENT ? "class '%.*s' has no field or label that fits '%.*s'"
						    : "class '%.*s': the type of '%.*s' does not fit the filter",
				       d.name_len, d.name, (int)name_len, (const char *)copy + off);
		memcpy(copy + 4, first, sizeof(first));
	}
	return err_set(err, -EINVAL, "the filter is damaged");
}

int filter_link(const void *generic, size_t len, const void *desc, size_t desc_len, void *out, size_t cap,
		struct err *err)
{
	int r = gd_filter_link(generic, len, desc, desc_len, out, cap);

	if (r == -ENOSPC)
		return err_set(err, r, "the filter is too long for this class");
	return r < 0 ? say_why(generic, len, desc, desc_len, r, err) : r;
}
