/* Filter expressions, `status >= 500 && path ~ "/api*"`: from text to the bytecode that traced programs run
 * (region/vm.h), and on events that have been decoded. docs/filters.md is the language. Values, no globals; any thread,
 * one filter read by many. */
#ifndef GANDER_FILTER_FILTER_H
#define GANDER_FILTER_FILTER_H

#include "base/err.h"
#include "region/vm.h"

#include <stdbool.h>
#include <stddef.h>

#define FILTER_TEXT_MAX 4096 /* bytes of an expression */

struct filter;

/* *ret is the caller's, filter_free(). An error shows the text with a caret under what is wrong. */
int filter_parse(struct filter **ret, const char *text, struct err *err);
void filter_free(struct filter *f); /* NULL is fine */

/* Writes the generic form: passes what f (NULL: everything) holds for; by (NULL: nothing) names the field that
 * gd_filter_run() gives as key. out is 8-aligned, GD_FILTER_GENERIC_MAX is enough. Returns the size. */
int filter_compile(const struct filter *f, const char *by, void *out, size_t cap, struct err *err);

/* gd_filter_link(), and on failure which field it is that does not fit. */
int filter_link(const void *generic, size_t len, const void *desc, size_t desc_len, void *out, size_t cap,
		struct err *err);

/* What an expression wants to know of an event. */
enum filter_want {
	FILTER_VALUE,    /* of a field, `a.b[3]`, or attribute, or `$tid`, `$name` and so on */
	FILTER_LENGTH,   /* elements of a sequence or array, bytes of a string */
	FILTER_PRESENCE, /* is there such a field or attribute? */
};

struct filter_name {
	const char *text; /* NUL-terminated, owned by the filter */
	enum filter_want want;
};

struct filter_value {
	struct gd_num num; /* integers, bool, floats, enumerations, lengths; kind GD_NUM_NONE otherwise */
	const char *text;  /* strings and bytes; of an enumeration the label, NULL if it has none */
	size_t len;
	bool labelled; /* it is an enumeration */
};

/* The names in an expression, each once; their place is the callback's `name`. */
const struct filter_name *filter_names(const struct filter *f, unsigned *n);

/* Whether the whole expression is one field, which stands for `field != 0`. */
bool filter_is_field(const struct filter *f);

/* Every name but those that begin with '$' without its first n bytes, counted from the name as it was written: what an expression says about
 * EVENT.FIELD becomes one about the FIELD of an EVENT. */
void filter_skip_prefix(struct filter *f, size_t n);

/* Gives the value of filter_names()[name] in the event at hand; false: it has none. */
typedef bool (*filter_get_fn)(void *event, unsigned name, struct filter_value *v);

/* Whether the expression holds for an event. Fields that it lacks make comparisons false, as everywhere. */
bool filter_eval(const struct filter *f, filter_get_fn get, void *event);

#endif
