/* The collector: finds programs with regions, records them, counts in them, takes snapshots. Never prints, never exits; one thread.
 * docs/collector.md says how it works, docs/recording.md what a recording is. */
#ifndef GANDER_COLLECT_COLLECT_H
#define GANDER_COLLECT_COLLECT_H

#include "base/buf.h"
#include "base/err.h"
#include "collect/collect_channel.h"
#include "collect/collect_condition.h"
#include "collect/collect_find.h"
#include "kernel/kernel.h"

#include <signal.h>

struct record;

#define RECORD_PIDS_MAX 256
#define CONTEXT_DEFAULT 0xffffffffu /* the thread's id in C, the goroutine's in Go */

struct record_progress {
	unsigned programs; /* being recorded now */
	uint64_t events, bytes, lost, elapsed_ns;
	double rate; /* events a second, since the last call */
};

/* A snapshot that a condition caused, as it is told when it is on disk. */
struct record_snapshot {
	unsigned number;                         /* from 1 */
	const char *dir, *why, *event, *program; /* why: the condition's text, or how the program ended; event "" then */
	pid_t pid;
	uint64_t time_ns; /* when it held, since 1970 */
	uint64_t events, bytes, lost, kernel_events;
};

struct record_opts {
	const char *dir;
	const pid_t *pids;
	int npids;
	bool all;
	char **cmd; /* NULL-terminated; NULL: none */
	struct rule_list *rules;
	const char *where; /* as given, for the manifest; NULL: none */
	uint32_t mode, context, stack_depth, block_ms;
	uint64_t buffer; /* bytes a program; 0: a good default */
	uint64_t for_ns, max_size, rotate_size, rotate_ns, keep;
	/* Not NULL: nothing is written but a snapshot whenever a condition holds. The mode is GD_MODE_OVERWRITE. */
	const struct condition_list *when;
	uint64_t last_ns;       /* flight recorder: of a snapshot, and of what is written at the end; 0: all that is there */
	uint64_t every_ns;      /* at least, between two snapshots */
	uint64_t max_snapshots; /* then it ends; of those that programs set aside no more are taken; 0: no bound */
	const char *exec;       /* run by sh for each; NULL: none */
	void (*snapshot)(void *arg, const struct record_snapshot *s);
	int ctf_version;
	unsigned kernel_groups; /* KERNEL_SCHED ...; 0: not the kernel's view */
	enum kernel_scope kernel_scope;
	uint64_t kernel_buffer;      /* bytes a CPU; 0: a good default */
	uint64_t kernel_keep;        /* flight recorder: bytes of the kernel's view in memory; 0: a good default */
	bool go;                     /* the Go runtime's trace too */
	uint32_t go_period_ms;       /* of its generations; 0: a good default */
	const char *go_url;          /* where /debug/pprof is; NULL: it is looked for */
	volatile sig_atomic_t *stop; /* set by a signal handler; ends the recording */
	void (*note)(void *arg, const char *text);
	void (*started)(void *arg, const char *session);              /* everything that is there is being recorded */
	void (*progress)(void *arg, const struct record_progress *p); /* twice a second; NULL: none */
	void *arg;
};

struct go_totals { /* of the Go runtime's traces */
	unsigned traces;
	uint64_t generations, bytes;
	uint64_t lost_generations, lost_bytes, torn_bytes;
};

struct record_result {
	unsigned programs, problems;
	uint64_t events, bytes, elapsed_ns;
	uint64_t lost, lost_full, lost_nested, lost_slot, lost_other, lost_frozen, lost_overwritten, lost_damaged, lost_disk, cut;
	unsigned snapshots;
	double clock_error_ns;
	struct kernel_totals kernel;
	struct go_totals go;
	bool stopped_early; /* a full disk or another failure: `why` */
	char why[480];
	int cmd_status; /* of the command, as wait(2) gives it */
	char session[33];
};

/* Runs a recording from beginning to end. 0 also when data was lost: result says so. */
int record_run(const struct record_opts *opts, struct record_result *result, struct err *err);

/* Talks to a running recording by the start of its session id, or its directory. request: "add GLOB", "remove GLOB", "status", "stop". The
 * answer is put into reply. */
int record_ask(const char *session, const char *request, struct buf *reply, struct err *err);

#define SNAPSHOT_MOST (1ull << 30)
struct snapshot_opts {
	const char *dir;
	const pid_t *pids;
	int npids;
	uint64_t last_ns;   /* 0: all that is there */
	const char *go_url; /* where /debug/pprof is; NULL: it is looked for */
	uint64_t max_size;  /* of Go traces that are still to happen; 0: SNAPSHOT_MOST */
	int ctf_version;
	volatile sig_atomic_t *stop; /* set by a signal handler: what is waited for is no longer, what has come is taken; NULL: none */
	int stop_over;               /* when it is more than this; one more, and what is being read is cut off */
	struct record *own;          /* the recording that takes it, of its own programs; NULL: another process's */
};
struct snapshot_result {
	unsigned programs;
	bool kernel; /* the kernel's view is in it */
	uint64_t events, bytes, overwritten, lost;
	struct go_totals go;
	char note[480]; /* what could not be read */
};
int snapshot_run(const struct snapshot_opts *opts, struct snapshot_result *result, struct err *err);

struct count_row {
	char program[32];
	pid_t pid;
	char event[GD_NAME_MAX + 1];
	char key[64]; /* "" without a field */
	uint64_t count;
};
struct count_table {
	struct count_row *v;
	unsigned n, cap;
	uint64_t lost;
};
struct count_opts {
	const pid_t *pids;
	int npids;
	bool all;
	struct rule_list *rules; /* with count set; their filters load the key */
	bool by_field;
	uint64_t for_ns, interval_ns;
	volatile sig_atomic_t *stop;
	void (*note)(void *arg, const char *text);
	void (*table)(void *arg, const struct count_table *t, uint64_t elapsed_ns, bool last);
	void *arg;
};
/* Counts until told to stop; returns how many things could not be set up, or -Exxx. */
int count_run(const struct count_opts *opts, struct err *err);

/* Names and numbers from the command line into pids. */
int targets_resolve(const char *const *names, int n, pid_t pids[RECORD_PIDS_MAX], struct err *err);

/* Recording directories. */
int recording_make_dir(const char *dir, struct err *err); /* made, or empty */
void session_new(uint8_t session[16], char text[33]);
void session_text(const uint8_t session[16], char text[33]);

#endif
