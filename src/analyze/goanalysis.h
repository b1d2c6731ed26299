/* An analysis of Go traces: one file, one of these, one line in the table of goanalysis.c. It watches the tracked stream
 * (its sinks), adds up, and at the end answers with tables. A runner drives any number of them in one pass. */
#ifndef GANDER_ANALYZE_GOANALYSIS_H
#define GANDER_ANALYZE_GOANALYSIS_H

#include "analyze/gostate.h"
#include "analyze/result.h"

/* What the user asked for; zero means everything. Each analysis says in docs/analyses.md what it heeds. */
struct goan_opts {
	uint64_t top;            /* rows a table may have; 0: 20 */
	const char *function;    /* entry functions that contain this text */
	const char *reason;      /* block reasons that contain this text */
	const char *name;        /* task types, region types */
	const char *key, *value; /* log keys (categories) and values that contain these */
	const char *by;          /* "stack", "function", "reason", "goroutine" */
	int64_t goroutine;       /* -1: all */
	uint64_t task;           /* with has_task */
	bool has_task;
	bool system; /* system goroutines too */
	bool logs;
	uint64_t min_ns; /* leave out what is shorter */
	bool brief;      /* only metrics and findings will be asked for */
};
#define GOAN_OPTS_INIT \
	{ \
		.top = 20, .goroutine = -1 \
	}

struct goan_ctx; /* each analysis has its own */

/* Severity is one scale for all: the share of the trace's time, or of its CPU time, that the thing costs; 1 is all of it. */
struct goan_finding {
	double severity;
	char text[200]; /* one sentence, the number first */
	char see[80];   /* the verb that tells more */
};

#define GOAN_FINDINGS 32
struct goan_findings {
	struct goan_finding f[GOAN_FINDINGS];
	unsigned n;
};
void goan_find(struct goan_findings *f, double severity, const char *see, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

struct goan_type {
	const char *name, *help;
	int (*open)(struct goan_ctx **ret, struct gostate *s, const struct goan_opts *o); /* adds its sinks; 0 or -Exxx */
	void (*report)(struct goan_ctx *c, struct result *r);
	/* Adds the numbers that `check --max` can name: "sched.p99". May be NULL. */
	void (*metrics)(struct goan_ctx *c, void (*put)(void *arg, const char *name, double value, enum cell_kind kind), void *arg);
	/* Says what is bad, for the summary's five worst. May be NULL. */
	void (*findings)(struct goan_ctx *c, struct goan_findings *f);
	void (*free)(struct goan_ctx *c);
};

extern const struct goan_type goan_goroutines, goan_blocked, goan_network, goan_sched, goan_syscalls, goan_gc, goan_tasks, goan_regions,
	goan_threads, goan_parallelism, goan_churn;
extern const struct goan_type *const goan_types[]; /* NULL-terminated */

struct goan {
	const struct goan_type *type;
	struct goan_ctx *ctx;
};

#define GOAN_MAX 16

/* Traces in, analyses over them. */
struct gorun {
	struct gosyms syms;
	struct gostate state;
	struct goan an[GOAN_MAX];
	unsigned nan;
	uint64_t length_ns;       /* of all traces together */
	unsigned traces, version; /* version: of the last */
	uint64_t bytes;
	uint64_t created, ended, peak;
	/* progress: called about every 100,000 events; may be NULL */
	void (*progress)(void *arg, const struct gander_gotrace_info *info);
	void *progress_arg;
};

int gorun_init(struct gorun *r);
void gorun_done(struct gorun *r);
int gorun_add(struct gorun *r, const struct goan_type *type, const struct goan_opts *o, struct err *err);
/* Reads one trace to its end. An error of the trace is told, after everything before it has been taken in:
 * the analyses may still be asked. */
int gorun_trace(struct gorun *r, struct gander_gotrace *reader, struct err *err);
void gorun_report(struct gorun *r, struct result *to);

void gorun_findings(struct gorun *r, struct goan_findings *to); /* worst first */
void gorun_metrics(struct gorun *r, void (*put)(void *arg, const char *name, double value, enum cell_kind kind), void *arg);

/* Helpers that several analyses share. */
uint64_t goan_length_ns(const struct gostate *s);      /* of all traces so far, at least 1 */
bool goan_matches(const char *text, const char *part); /* part NULL: yes */
bool goan_wants_goro_slow(const struct gostate *s, const struct goan_opts *o, const struct goro *g);
static inline bool goan_wants_goro(const struct gostate *s, const struct goan_opts *o, const struct goro *g)
{
	if (!o->function && o->goroutine < 0)
		return o->system || !g->system;
	return goan_wants_goro_slow(s, o, g);
}
/* A table "histogram": a row an octave (a factor of two). Nothing for an empty one. */
void goan_histogram(struct result *r, const char *title, const struct hist_lean *h);
const char *goan_func_text(const struct gosyms *s, uint32_t func); /* short; "(no stack seen)" without one */

#endif
