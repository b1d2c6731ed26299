/* One file a verb. A verb's run() prints to stdout, its errors through cli_fail(), and returns one of these. */
#ifndef GANDER_CLI_CLI_H
#define GANDER_CLI_CLI_H

#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stdio.h>

enum { CLI_OK = 0,
       CLI_FAILED = 1,
       CLI_USAGE = 2,
       CLI_LOST = 3 /* done, but data was lost or something was not set up */ };

/* Prints what a program may have had a hand in: control characters, which a terminal would obey, as "?". */
void cli_say(FILE *to, const char *text);
char *cli_clean(char *text);          /* the same in place, for what is to be one line: line ends and tabs too */
int cli_fail(const struct err *err);  /* prints "gander: SENTENCE", returns CLI_FAILED */
int cli_usage(const struct err *err); /* the same for a mistake on the command line: CLI_USAGE */

/* To stdout, for what is longer than its buffer, or has to be seen now: why they fail is told at the end, when it would be forgotten. */
void cli_put(const char *text, size_t len);
void cli_put_json(struct buf *b); /* all of it, as a line; b is empty afterwards. What found no memory is told at the end, too */
bool cli_flush(void);             /* false: nobody reads it, or the disk is full */

extern const struct verb *const cli_verbs[];    /* NULL-terminated: the table in main.c */
extern const struct verb *const cli_go_verbs[]; /* those of gander go: the table in verb_go.c */
const char *cli_go_verb_name(int i);            /* without the "go " */
/* There is no verb `word` among those of `of` ("", or "go "): says so, and what was probably meant. Returns CLI_USAGE. */
int cli_no_verb(const char *of, const char *word);

#endif
