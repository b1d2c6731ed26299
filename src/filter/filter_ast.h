/* What filter.c parses into and code.c compiles. A tree in one array, so that it is bounded and freed at once. */
#ifndef GANDER_FILTER_FILTER_AST_H
#define GANDER_FILTER_FILTER_AST_H

#include "filter/filter.h"

#include <stdint.h>

#define FILTER_NODES 512
#define FILTER_NAMES 128
#define FILTER_DEPTH 64 /* of parentheses and operators in each other */

enum filter_node_kind {
	/* conditions */
	NODE_OR,
	NODE_AND,
	NODE_NOT,     /* left */
	NODE_COMPARE, /* left op (GD_REL_) right */
	NODE_MATCH,   /* left ~ text of right; op: GD_STR_, which is simpler than a glob where it can be */
	NODE_HAS,     /* name */
	NODE_CONST,   /* op: true or false */
	/* values */
	NODE_NUMBER,
	NODE_TEXT,
	NODE_FIELD, /* name, with its want */
	NODE_ARITH, /* left op (GD_ARITH_) right */
};

struct filter_node {
	uint8_t kind, op;
	uint16_t left, right;
	uint16_t name;      /* index of a name */
	uint32_t column;    /* byte in the text where it starts */
	uint32_t text, len; /* in filter.texts */
	struct gd_num num;
};

struct filter {
	char *text;  /* as it was given */
	char *texts; /* literals and names, all shorter than the text */
	uint32_t texts_len;
	uint16_t root, nnodes, nnames;
	size_t prefix; /* bytes that the names are shorter now */
	struct filter_node node[FILTER_NODES];
	struct filter_name name[FILTER_NAMES];
};

static inline bool filter_is_condition(const struct filter_node *n)
{
	return n->kind <= NODE_CONST;
}

/* An error at a byte of the text: the sentence, the text (a part of it, where it is long), a caret. */
int filter_complain(const char *text, size_t column, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
