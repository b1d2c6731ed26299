/* The question of `gander why`: which stretches of time (goroutines, tasks, regions, spans of events, ranges) are asked about, and
 * the passes over a Go trace that answer it. A pass that collects knows all tasks or regions by name; a pass that walks takes the chosen ones,
 * in any number, and makes the path of each when it ends, so that memory is that of the longest one and not of the trace. */
#ifndef GANDER_ANALYZE_WHY_H
#define GANDER_ANALYZE_WHY_H

#include "analyze/gopath.h"

enum why_what { WHY_OF_GOROUTINE,
		WHY_OF_TASK,
		WHY_OF_REGION,
		WHY_OF_SPAN,
		WHY_OF_RANGE };

struct why_span {
	int64_t from_ns, to_ns; /* INT64_MIN, INT64_MAX: as far as the goroutine, or the trace, goes */
	int64_t g;              /* whose end it is; -1 (a range): who ran last */
	uint64_t id, parent;    /* of a task, a span */
	uint32_t name;          /* string id */
	uint32_t process;       /* of a span: its pid */
	uint8_t what;           /* enum why_what */
	bool open;              /* its begin or end is not in the trace */
};

struct why_list {
	struct why_span *v;
	uint32_t n, cap;
	uint64_t open; /* not whole, so left out */
};
void why_list_done(struct why_list *l);
int why_list_add(struct why_list *l, const struct why_span *s); /* 0 or -ENOMEM, -EFBIG */

/* The slowest first; ties by begin, so that the order is always the same. */
void why_list_sort(struct why_list *l);
/* The span at a quantile (0..1) of the sorted list: of rank floor(q n) from below. */
uint32_t why_list_at(const struct why_list *l, double q);

struct why_asked {
	struct why_span span; /* the walk fills in what was open: from, to, g */
	struct gopath *path;  /* borrowed; several may share one */
	uint32_t func;        /* entry function of g */
	bool done;            /* walked; stays false when the trace does not reach its end */
	bool cut;             /* the walk's: the path up to cut_ns is made already */
	int64_t cut_ns;
};

struct why_pass {
	struct gosyms *syms;      /* borrowed */
	int64_t start_ns, end_ns; /* out: of the trace */
	uint32_t procs;           /* out: GOMAXPROCS */
	uint32_t stays_max;       /* most that were kept at once */
	uint32_t stays_least;     /* forget from so many on; 0: as many as are good */
	void (*progress)(void *arg, const struct gander_gotrace_info *info);
	void *progress_arg;
};

#define WHY_SPANS_MAX 4000000u

/* All whole tasks or regions with that name (a part of it; NULL: all), and the trace's times. An error of the trace is told after what came before
 * it has been taken in. */
int why_collect(struct why_pass *p, struct gander_gotrace *reader, enum why_what what, const char *name, struct why_list *to, struct err *err);

/* Walks the paths of those asked for. */
int why_walk(struct why_pass *p, struct gander_gotrace *reader, struct why_asked *asked, uint32_t n, struct err *err);

#endif
