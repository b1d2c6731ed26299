/* Where `gander go` takes traces from: a file, "-", or a URL, with one way to read them all, and a progress line on stderr
 * while that takes long and stderr is a terminal. */
#ifndef GANDER_CLI_GO_INPUT_H
#define GANDER_CLI_GO_INPUT_H

#include "base/err.h"
#include "gander/gotrace.h"

#include <stdbool.h>

struct go_input;

bool go_input_is_url(const char *spec);
/* `http://host:port` alone means its /debug/pprof/trace?seconds=5. From a URL the price of tracing is said first, on stderr. */
int go_input_open(struct go_input **ret, const char *spec, unsigned flags, struct err *err);
/* The trace URL of a process that has net/http/pprof: of the sockets that it listens on, the one that answers. The caller frees. */
int go_input_url_of(uint64_t pid, uint64_t seconds, char **ret, struct err *err);
/* The bytes alone, for who reads them raw: as gander_gotrace_read_fn. */
int go_input_open_raw(struct go_input **ret, const char *spec, struct err *err);
int64_t go_input_read(void *in, void *to, size_t size);
struct gander_gotrace *go_input_reader(struct go_input *in);
const char *go_input_name(const struct go_input *in);
void go_input_close(struct go_input *in);

/* For gorun.progress; arg is the struct go_input. */
void go_input_progress(void *in, const struct gander_gotrace_info *info);
/* Takes the progress line away. */
void go_input_progress_done(struct go_input *in);

#endif
