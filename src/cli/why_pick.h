/* What `gander why` and `gander go cut` are asked about: of the spans, tasks or regions of a name the slowest ones, or the one at a quantile. */
#ifndef GANDER_CLI_WHY_PICK_H
#define GANDER_CLI_WHY_PICK_H

#include "cli/why_files.h"

struct why_pick {
	const char *input;               /* as it was given, for messages */
	const char *name;                /* of spans exactly, of tasks and regions a part of it */
	const char *at;                  /* --at; NULL */
	uint64_t pid, slowest, from, to; /* pid and to: UINT64_MAX when not asked for; from, to: ns since the start */
	enum why_what what;
	bool has_q; /* why_pick_check()'s */
	double q;
};

/* The slowest of them, one by one, at most. */
#define WHY_PICK_MAX 1000u

/* What does not go together; --at. */
int why_pick_check(struct why_pick *p, struct err *err);
/* The one trace that is meant: of the process, or the only one. */
int why_pick_file(const struct why_pick *p, struct why_files *f, struct why_file **ret, struct err *err);
/* What times count from: the trace's begin; file == NULL: that of the recording's first. */
int why_pick_start(const struct why_pick *p, struct why_files *f, const struct why_file *file, int64_t *ret, struct err *err);
/* `ns` behind the start; UINT64_MAX: as far as it goes. */
int64_t why_pick_time(int64_t start, uint64_t ns);
/* All of them, the slowest first; none is an error that says what there is. Spans that no Go trace covers are left out and counted. */
int why_pick_find(const struct why_pick *p, struct why_files *f, struct why_file *file, struct gosyms *syms, int64_t start_ns, struct why_list *ret, uint64_t *outside,
		  struct err *err);
/* Which of the sorted list are meant: how many, from *first on. Neither --slowest nor --at: the slowest. */
uint32_t why_pick_choose(const struct why_pick *p, const struct why_list *l, uint32_t *first);

#endif
