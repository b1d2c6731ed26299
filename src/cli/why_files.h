/* What `gander why` reads: one Go trace (a file, standard input, a URL), or the traces of a recording's programs. And the passes over one of them. */
#ifndef GANDER_CLI_WHY_FILES_H
#define GANDER_CLI_WHY_FILES_H

#include "analyze/gogens.h"
#include "analyze/why.h"

#include <stdbool.h>

struct why_file {
	char *path, *name; /* name: for messages */
	uint32_t pid;      /* 0: not known */
	int fd;
	struct gogens gens;       /* of a format that has them */
	int64_t begin_ns, end_ns; /* as far as is known without a pass: INT64_MIN, INT64_MAX */
	bool damaged;             /* it was said that it breaks off: what came before was used */
};

struct why_files {
	struct why_file *v;
	uint32_t n;
	const char *dir; /* the recording, or NULL */
	int64_t mono_offset_ns;
	int spool_fd;
};

int why_files_open(struct why_files *f, const char *input, struct err *err);
void why_files_close(struct why_files *f);
/* The trace of that process that is going on at a time; NULL: none. */
struct why_file *why_files_at(struct why_files *f, uint32_t pid, int64_t from_ns, int64_t to_ns);
/* When the trace begins: what times on the command line count from. */
int why_file_begin(struct why_file *f, int64_t *ns, struct err *err);

/* A reader that begins a generation before the one in which that time lies, or with the file where there are none. `from` must outlive it. */
int why_file_open_at(struct why_file *f, int64_t time_ns, struct gogens_reader *from, struct gander_gotrace **ret, struct err *err);

/* why_collect() over one file. A damaged one is used as far as it goes, and that is said once. */
int why_file_collect(struct why_file *f, struct gosyms *syms, enum why_what what, const char *name, struct why_list *to, struct err *err);
/* why_walk() over one file: of the generations around what is asked, or of earlier ones too if what matters began there. Paths must be empty. */
int why_file_walk(struct why_file *f, struct gosyms *syms, struct why_asked *asked, uint32_t n, struct err *err);

#endif
