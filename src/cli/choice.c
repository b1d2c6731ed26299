#include "cli/cli_record.h"
#include "filter/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char *const level_names[] = { "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug" };

volatile sig_atomic_t cli_stop;

int level_number(const char *name, struct err *err)
{
	static const struct {
		const char *name;
		int level;
	} also[] = { { "emerg", 0 }, { "crit", 2 }, { "err", 3 }, { "warn", 4 } };
	size_t i;

	for (i = 0; i < 8; i++)
		if (!strcasecmp(name, level_names[i]) || (name[0] == (char)('0' + i) && !name[1]))
			return (int)i;
	for (i = 0; i < 4; i++)
		if (!strcasecmp(name, also[i].name))
			return also[i].level;
	return err_set(err, -EINVAL, "'%s' is no level (emergency alert critical error warning notice info debug)", name);
}

const char *level_name(unsigned level)
{
	return level < 8 ? level_names[level] : "?";
}

static void on_signal(int sig)
{
	cli_stop = cli_stop + 1;
}

void cli_catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int choice_read(struct choice *c, const char *by, struct err *err)
{
	struct filter *f = NULL;
	int level = -1, i, res = 0;
	unsigned u;

	if (c->level) {
		level = level_number(c->level, err);
		if (level < 0)
			return level;
	}
	for (i = 0; i < c->events.n && res == 0; i++)
		res = rule_add(&c->rules, c->events.v[i], false, level, err);
	if (!c->events.n)
		res = rule_add(&c->rules, "*", false, level, err);
	for (i = 0; i < c->excludes.n && res == 0; i++)
		res = rule_add(&c->rules, c->excludes.v[i], true, -1, err);
	if (res < 0)
		return res;
	if (c->where)
		res = filter_parse(&f, c->where, err);
	if (res == 0 && (c->where || by)) {
		c->filter = aligned_alloc(8, GD_FILTER_GENERIC_MAX);
		res = c->filter ? filter_compile(f, by, c->filter, GD_FILTER_GENERIC_MAX, err) : err_set(err, -ENOMEM, "out of memory");
		for (u = 0; u < c->rules.n && res > 0; u++)
			if (!c->rules.v[u].exclude) {
				c->rules.v[u].filter = c->filter;
				c->rules.v[u].filter_len = (uint32_t)res;
			}
	}
	filter_free(f);
	if (res < 0)
		return res;
	c->npids = targets_resolve(c->pids.v, c->pids.n, c->pid, err);
	return c->npids < 0 ? c->npids : 0;
}

void choice_done(struct choice *c)
{
	free(c->filter);
	c->filter = NULL;
}

const char *cli_new_dir(const char *given, const char *what, char buf[80])
{
	time_t now = time(NULL);
	struct tm tm;

	if (given)
		return given;
	localtime_r(&now, &tm);
	snprintf(buf, 80, "%s-%04d%02d%02d-%02d%02d%02d", what, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return buf;
}
