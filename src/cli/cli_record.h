/* What the verbs that choose programs and events share: their options and how they are read. */
#ifndef GANDER_CLI_RECORD_H
#define GANDER_CLI_RECORD_H

#include "cli/cli.h"
#include "collect/collect.h"

#include <signal.h>

struct choice { /* which programs, which events */
	struct opt_list pids, events, excludes;
	bool all;
	const char *level, *where;
	/* filled by choice_read() */
	pid_t pid[RECORD_PIDS_MAX];
	int npids;
	struct rule_list rules;
	void *filter; /* generic form, owned */
};

/* The options of struct choice, for an option table. */
#define CHOICE_OPTS(c) \
	{ OPT_LIST, 'p', "pid", "PID|NAME", "program, by number or name; several times", &(c).pids }, \
		{ OPT_FLAG, 'a', "all", NULL, "all programs that can be traced, later ones too", &(c).all }, \
		{ OPT_LIST, 'e', "event", "GLOB", "events by name, * ? [a-z]; several times (default: all)", &(c).events }, \
		{ OPT_LIST, 'x', "exclude", "GLOB", "but not these; several times", &(c).excludes }, \
		{ OPT_STR, 'l', "level", "LEVEL", "this level and more severe: debug info notice warning error ...", &(c).level }, \
	{ \
		OPT_STR, 'w', "where", "EXPR", "only events that this holds for: 'status >= 500 && path ~ \"/api/*\"'", &(c).where \
	}

/* by: the field of hit counters, NULL: none. Returns 0, or a usage mistake (-EINVAL and the like), or -ESRCH: no such program. */
int choice_read(struct choice *c, const char *by, struct err *err);
void choice_done(struct choice *c);

int level_number(const char *name, struct err *err);
const char *level_name(unsigned level);

/* SIGINT, SIGTERM and SIGHUP count up here. */
extern volatile sig_atomic_t cli_stop;
void cli_catch_signals(void);

/* Directory for a new recording: `given`, or a name made of the time. */
const char *cli_new_dir(const char *given, const char *what, char buf[80]);

#endif
