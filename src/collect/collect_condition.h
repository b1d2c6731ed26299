/* What `record --snapshot-when` waits for. `shop.request.duration > 300ms` is a filter whose names begin with an event's: it becomes rules for
 * the event and its own filter on the event's fields. Where the event's name ends and the field's begins is not known before the event is, so there
 * is a rule for each way to read it; a class takes those that fit it. One thread. */
#ifndef GANDER_COLLECT_CONDITION_H
#define GANDER_COLLECT_CONDITION_H

#include "base/near.h"
#include "collect/collect_channel.h"
#include "filter/filter.h"

#define CONDITION_SPLITS 4u /* ways to read a name, the longest event first */

struct condition_split {
	char event[GD_NAME_MAX + 1]; /* or a span, whose end is meant */
	void *filter;                /* generic form, owned; NULL: the event itself is the condition */
	uint32_t filter_len;
};

struct condition {
	const char *text;
	struct filter *parsed;
	struct condition_split split[CONDITION_SPLITS];
	unsigned nsplits;
};

struct condition_list {
	struct condition v[GD_CONDITIONS];
	unsigned n;
};

int condition_add(struct condition_list *l, const char *text, struct err *err); /* text stays the caller's */
void condition_list_done(struct condition_list *l);
/* The rules that say so in a region, behind those that are there. The filters stay the list's. */
int condition_rules(const struct condition_list *l, struct rule_list *to, struct err *err);

/* What the classes that there are say to a condition: zero at first. */
struct condition_seen {
	bool met; /* some class has it */
	struct near name;
	char why[1400]; /* of an event that is there, but whose fields it does not fit */
	char odd[600];  /* a name that is taken for an attribute, but was probably meant to be a field */
};

/* Another class; whether it has the condition. */
bool condition_look(const struct condition *c, const struct rclass *cl, struct condition_seen *seen);
/* What is wrong when no class has it. */
void condition_why_none(const struct condition *c, const struct condition_seen *seen, char *text, size_t len);

#endif
