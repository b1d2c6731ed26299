/* Options by table. A verb's table makes its parsing, its --help and its completion, and a test holds
 * the man page against it. Values are written through `target`; nothing is allocated. */
#ifndef GANDER_BASE_OPT_H
#define GANDER_BASE_OPT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum opt_kind {
	OPT_END,
	OPT_FLAG,     /* bool * */
	OPT_STR,      /* const char ** (points into argv) */
	OPT_LIST,     /* struct opt_list *: may be given several times */
	OPT_U64,      /* uint64_t * */
	OPT_SIZE,     /* uint64_t *, bytes, takes k M G (powers of 1024) */
	OPT_DURATION, /* uint64_t *, nanoseconds, takes ns us ms s m h, default unit s */
	OPT_PERIOD,   /* the same, more than 0 */
};

#define OPT_LIST_MAX 64
struct opt_list {
	const char *v[OPT_LIST_MAX];
	int n;
};

struct opt {
	enum opt_kind kind;
	char letter;      /* 0: none */
	const char *name; /* long name without dashes */
	const char *arg;  /* what --help calls the value; NULL for flags */
	const char *help; /* one line, lower case */
	void *target;
};

struct verb {
	const char *name;                  /* "record", or "go summary" */
	const char *args;                  /* "-p PID|NAME" etc. for the usage line */
	const char *summary;               /* one line */
	const char *examples[4];           /* the help ends with them */
	int (*run)(int argc, char **argv); /* argv[0] is the verb's name; returns the exit status */
};

/* Parses argv (argv[0] skipped). Options may stand between arguments; "--" ends them. The arguments that are left are moved to
 * the front of argv (from argv[1]) and their number is returned; "help" is understood everywhere (returns -ECANCELED
 * after printing to stdout). A mistake returns -EINVAL with a sentence. */
int opt_parse(const struct verb *verb, const struct opt *opts, int argc, char **argv, struct err *err);
/* As opt_parse(), but stops at the first argument that is no option (for `record -- CMD`). */
int opt_parse_posix(const struct verb *verb, const struct opt *opts, int argc, char **argv, struct err *err);
void opt_help(const struct verb *verb, const struct opt *opts, FILE *out);

int opt_duration(const char *s, uint64_t *ret_ns, struct err *err); /* "10s", "1.5ms", "300us" */
int opt_size(const char *s, uint64_t *ret_bytes, struct err *err);  /* "64M" */
int opt_u64(const char *s, uint64_t *ret, struct err *err);
/* "a,c": a bit for each of the names (32 at most). What is wrong is said of --option, whose things are `thing`s ("group"). */
int opt_names(const char *list, const char *const *names, unsigned n, const char *option, const char *thing, uint32_t *ret, struct err *err);

#endif
