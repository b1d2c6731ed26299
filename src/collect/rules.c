/* Which classes are recorded: a recording's rules, in its own list, in the region, and applied to the classes that are there. */
#include "collect/collect_words.h"
#include "region/glob.h"
#include "region/vm.h"

#include <stdlib.h>
#include <string.h>

uint8_t rule_flags(const struct rule *u)
{
	return (uint8_t)((u->exclude ? GD_RULE_EXCLUDE : 0) | (u->count ? GD_RULE_COUNT : 0) |
			 (u->condition ? GD_RULE_CONDITION | (unsigned)u->number << 4 : 0));
}

int rule_check_glob(const char *glob, struct err *err)
{
	size_t i, len = strlen(glob);
	const char *what = NULL;

	if (!len)
		return err_set(err, -EINVAL, "an empty pattern matches no event");
	if (len >= sizeof(((struct gd_rule *)0)->glob))
		return err_set(err, -EINVAL, "the pattern '%.40s...' is longer than %zu characters", glob,
			       sizeof(((struct gd_rule *)0)->glob) - 1);
	for (i = 0; i < len && !what; i++) {
		if (glob[i] == '\\') {
			if (i + 1 == len)
				what = "a backslash at the end";
			else
				i++;
		} else if (glob[i] == '[') {
			size_t k = i + 1;

			if (glob[k] == '!' || glob[k] == '^')
				k++;
			if (glob[k] == ']')
				k++;
			while (k < len && glob[k] != ']')
				k++;
			if (k >= len)
				what = "an unclosed [";
			else
				i = k;
		} else if ((unsigned char)glob[i] < 0x20) {
			what = "a control character";
		}
		if (what)
			return err_set(err, -EINVAL, "bad pattern, column %zu: %s\n  %s\n  %*s^", i + 1, what, glob, (int)i, "");
	}
	return 0;
}

int rule_add(struct rule_list *l, const char *glob, bool exclude, int level, struct err *err)
{
	int res = rule_check_glob(glob, err);

	if (res < 0)
		return res;
	if (l->n == RULE_LIST_MAX)
		return err_set(err, -ENOSPC, "more than %d patterns", RULE_LIST_MAX);
	l->v[l->n] = (struct rule) { .exclude = exclude, .level = level < 0 ? 255 : (uint8_t)level };
	memcpy(l->v[l->n++].glob, glob, strlen(glob) + 1);
	return 0;
}

int rule_for(const struct rule_list *l, const char *name, unsigned level)
{
	size_t len = strlen(name);
	int found = -1;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		const struct rule *u = &l->v[i];

		if (u->condition || !gd_glob_match(u->glob, strlen(u->glob), name, len))
			continue;
		if (u->exclude)
			return -1;
		if (u->level == 255 || level <= u->level)
			found = (int)i;
	}
	return found;
}

void rules_begin(struct gd_control *k)
{
	store_seq_cst(&k->gen, load_seq_cst(&k->gen) | 1); /* [RULE] also over what a killed one left odd */
}

void rules_end(struct gd_control *k)
{
	store_seq_cst(&k->gen, load_seq_cst(&k->gen) + 1); /* [RULE] */
}

void rules_remove(struct gd_control *k, unsigned c)
{
	uint32_t i, n = load_relaxed(&k->nrules);

	for (i = 0; i < n && i < GD_RULES; i++)
		if (k->rules[i].used && k->rules[i].channel == c)
			store_relaxed(&k->rules[i].used, 0);
}

void class_off(struct region *r, uint32_t i, unsigned c)
{
	__atomic_fetch_and(&region_class(r, i)->enabled, ~(GD_ENABLED(c) | GD_FILTERED(c) | GD_COUNTING(c) | GD_CONDITIONAL(c)), __ATOMIC_SEQ_CST);
}

/* Appends to the part that holds filters for ever, or finds the same bytes at one of the offsets that are in use: every
 * `stride`-th byte from `have` on holds one. Offset in the file, 0: no room. */
static uint32_t filter_place(struct region *r, const void *bytes, uint32_t len, const uint32_t *have, unsigned n, size_t stride)
{
	struct gd_control *k = region_control(r);
	uint32_t used = load_relaxed(&k->filters_used), room = (len + 7) & ~7u, off;
	unsigned i;

	for (i = 0; i < n; i++) {
		off = load_relaxed((const uint32_t *)((const char *)have + i * stride));
		if (off >= GD_OFF_FILTERS && !(off & 7) && off <= GD_OFF_HEAP - room && !memcmp(r->map + off, bytes, len))
			return off;
	}
	used = (used + 7) & ~7u;
	if (used > GD_FILTERS_SIZE || room > GD_FILTERS_SIZE - used)
		return 0;
	off = GD_OFF_FILTERS + used;
	if (region_reserve(r, off, room, NULL) < 0)
		return 0;
	memcpy(r->map + off, bytes, len);
	store_release(&k->filters_used, used + room);
	return off;
}

/* The conditions that a class can have; with apply they are there. */
static void link_conditions(struct channel *ch, uint32_t i, const struct rule_list *rules, bool apply, struct gd_condition_set *set)
{
	static uint64_t linked[GD_FILTER_LINKED_MAX / 8];
	struct rclass *cl = ch->r->cls[i];
	uint32_t off;
	unsigned u;
	int len;

	*set = (struct gd_condition_set) { .magic = GD_CONDITION_MAGIC };
	if (ch->r->head.minor < GD_MINOR_CONDITIONS)
		return;
	for (u = 0; u < rules->n && set->n < GD_CONDITIONS; u++) {
		const struct rule *rule = &rules->v[u];

		if (!rule->condition || !gd_glob_match(rule->glob, strlen(rule->glob), cl->name, strlen(cl->name)))
			continue;
		off = 0;
		if (rule->filter) {
			len = gd_filter_link(rule->filter, rule->filter_len, cl->desc, cl->desc_len, linked, sizeof(linked));
			if (len > 0 && apply)
				off = filter_place(ch->r, linked, (uint32_t)len, NULL, 0, 0);
			if (len <= 0 || (apply && !off))
				continue;
		}
		set->v[set->n++] = (struct gd_condition) { off, rule->number };
	}
}

/* Off where no rule and no condition wants the class. `filter`: of the rule that decides, 0: none. */
static enum class_setup class_apply_conditions(struct channel *ch, uint32_t i, struct gd_condition_set *set, const struct rule *rule, uint32_t filter)
{
	struct gd_class *g = region_class(ch->r, i);
	uint32_t off, bits = GD_ENABLED(ch->c) | GD_CONDITIONAL(ch->c);

	set->filter = rule ? filter : GD_FILTER_NEVER;
	off = filter_place(ch->r, set, sizeof(*set), g->filter, GD_CHANNELS, sizeof(*g->filter));
	if (!off)
		return SETUP_NO_ROOM;
	store_release(&g->filter[ch->c], off);
	__atomic_fetch_or(&g->enabled, bits, __ATOMIC_SEQ_CST); /* [ENABLE] */
	__atomic_fetch_and(&g->enabled, ~(GD_FILTERED(ch->c) | GD_COUNTING(ch->c)), __ATOMIC_SEQ_CST);
	return SETUP_ON;
}

/* What a rule means for one class; with apply it becomes so. */
static enum class_setup class_apply(struct channel *ch, uint32_t i, const struct rule_list *rules, bool apply)
{
	static uint64_t linked[GD_FILTER_LINKED_MAX / 8];
	struct rclass *cl = ch->r->cls[i];
	struct gd_class *g = region_class(ch->r, i);
	int u = rule_for(rules, cl->name, cl->level), len;
	const struct rule *rule = u < 0 ? NULL : &rules->v[u];
	struct gd_condition_set set;
	uint32_t bits, off = 0;

	link_conditions(ch, i, rules, apply, &set);
	if (set.n) {
		if (rule && rule->filter) {
			len = gd_filter_link(rule->filter, rule->filter_len, cl->desc, cl->desc_len, linked, sizeof(linked));
			if (len > 0 && apply)
				off = filter_place(ch->r, linked, (uint32_t)len, NULL, 0, 0);
			if (len <= 0 || (apply && !off))
				rule = NULL;
		}
		return apply ? class_apply_conditions(ch, i, &set, rule, off) : SETUP_ON;
	}
	if (!rule) {
		if (apply)
			class_off(ch->r, i, ch->c);
		return SETUP_NONE;
	}
	if (rule->filter) {
		len = gd_filter_link(rule->filter, rule->filter_len, cl->desc, cl->desc_len, linked, sizeof(linked));
		if (len > 0 && apply)
			off = filter_place(ch->r, linked, (uint32_t)len, g->filter, GD_CHANNELS, sizeof(*g->filter));
		if (len <= 0 || (apply && !off)) {
			if (apply)
				class_off(ch->r, i, ch->c);
			return len == -ENOENT ? SETUP_NO_FIELD : len == -EINVAL ? SETUP_FILTER_TYPE
										: SETUP_NO_ROOM;
		}
	}
	if (!apply)
		return SETUP_ON;
	bits = GD_ENABLED(ch->c) | (off ? GD_FILTERED(ch->c) : 0) | (rule->count ? GD_COUNTING(ch->c) : 0);
	if (off)
		store_release(&g->filter[ch->c], off);
	__atomic_fetch_or(&g->enabled, bits, __ATOMIC_SEQ_CST); /* [ENABLE] */
	__atomic_fetch_and(&g->enabled, ~((GD_ENABLED(ch->c) | GD_FILTERED(ch->c) | GD_COUNTING(ch->c) | GD_CONDITIONAL(ch->c)) & ~bits),
			   __ATOMIC_SEQ_CST);
	if (!off)
		store_relaxed(&g->filter[ch->c], 0);
	return SETUP_ON;
}

void channel_class_states(struct channel *ch, const struct rule_list *rules)
{
	uint32_t i;

	for (i = 0; i < ch->r->nclasses; i++)
		if (ch->r->cls[i]->state == RCLASS_OK)
			ch->setup[i] = (uint8_t)class_apply(ch, i, rules, false);
}

int channel_rules(struct channel *ch, const struct rule_list *rules, struct err *err)
{
	struct gd_control *k = region_control(ch->r);
	uint32_t i, at = 0, off;
	int res;

	res = region_lock_control(ch->r);
	if (res < 0)
		return err_set(err, res, "the rules of '%s' are locked by another process", ch->r->path);
	rules_begin(k);
	rules_remove(k, ch->c);
	for (i = 0; i < rules->n && res == 0; i++) {
		const struct rule *u = &rules->v[i];
		struct gd_rule *to;

		if (u->condition && ch->r->head.minor < GD_MINOR_CONDITIONS)
			continue; /* its program would take it for a rule */
		while (at < GD_RULES && k->rules[at].used)
			at++;
		off = u->filter ? filter_place(ch->r, u->filter, u->filter_len, &k->rules[0].filter, GD_RULES, sizeof(*k->rules)) : 0;
		if (at == GD_RULES || (u->filter && !off)) {
			res = err_set(err, -ENOSPC, "no room for more %s in '%s'", off ? "patterns" : "filters", ch->r->path);
			break;
		}
		to = &k->rules[at];
		to->channel = (uint8_t)ch->c;
		to->flags = rule_flags(u);
		to->level = u->level;
		to->filter = off;
		memcpy(to->glob, u->glob, sizeof(to->glob));
		store_relaxed(&to->used, 1);
		if (at >= load_relaxed(&k->nrules))
			store_relaxed(&k->nrules, at + 1);
	}
	if (res < 0)
		rules_remove(k, ch->c);
	rules_end(k);
	if (region_classes(ch->r) < 0 && res == 0)
		res = err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < ch->r->nclasses; i++)
		if (ch->r->cls[i]->state == RCLASS_OK)
			ch->setup[i] = (uint8_t)class_apply(ch, i, rules, true);
	region_unlock_control(ch->r);
	return res;
}
