/* A running recording; record.c drives it, manifest.c writes it down. */
#ifndef GANDER_COLLECT_RECORD_H
#define GANDER_COLLECT_RECORD_H

#include "base/json.h"
#include "base/map.h"
#include "collect/collect.h"
#include "collect/collect_gohttp.h"
#include "collect/collect_out.h"

#define PROGRAMS_MAX    4096
#define PROBLEMS_MAX    1000
#define KEPT_MAX        16
#define EXEC_MAX        16   /* commands of snapshots that run at once */
#define HTTP_MAX        64   /* Go traces over HTTP at a time */
#define SEARCHES_MAX    8    /* programs whose /debug/pprof is looked for at a time, beside those */
#define SEARCH_SOCKETS  128  /* of theirs: one that is alone asks all of its ports at once */
#define FRESH_MAX       64   /* new files whose names are remembered; what is beyond that a scan finds */
#define DEFAULT_PACKETS 512u /* of a program, at most */

struct totals {
	uint64_t events, bytes, cut;
	uint64_t lost[GD_LOST_REASONS], frozen, overwritten, damaged, disk;
};

enum program_state { PROGRAM_RUNNING,
		     PROGRAM_EXITED,
		     PROGRAM_KILLED,
		     PROGRAM_ENDED };

struct program {
	struct region *r;
	struct channel ch;
	struct out out;
	pid_t pid;
	int pidfd;
	enum program_state state;
	int status; /* exit status or signal */
	bool born;  /* set up by itself */
	struct gd_clock_sample since, until;
	uint64_t last_flush_ns, last_alive_ns, last_sample_ns, dead_ns;
	struct totals base; /* when the running chunk began */
	struct flight *fl;  /* its Go trace; NULL: none (yet) */
	bool go_settled;    /* there is one, or it has been said that there is none */
	bool go_refused;    /* that was told */
	uint64_t last_go_ns;
	uint64_t told_lost[GD_SLOTS]; /* conditions: losses that an earlier snapshot tells */
	uint64_t taken;               /* conditions: a dead ring's word of which there is a snapshot; nobody takes it away */
};

/* A process that has no region: only the kernel's view of it is recorded. */
struct bare {
	pid_t pid;
	int pidfd;
	bool ended;
	char comm[32];
};

struct problem {
	pid_t pid;
	char program[32], class_name[GD_NAME_MAX + 1], text[400];
};

struct record {
	const struct record_opts *o;
	struct rule_list rules;
	bool rule_matched[RULE_LIST_MAX];
	uint8_t session[16];
	char session_text[33];
	char dir[4096]; /* where traces go now: o->dir, or its running chunk */
	unsigned chunk, chunk_programs;
	uint64_t chunk_start_ns, chunk_start_bytes;
	struct clock_line clock, mono; /* of programs that use the CPU's counter, and of the others */
	struct program *prog[PROGRAMS_MAX];
	unsigned nprog, seen;
	struct region *kept[KEPT_MAX]; /* flight recorder: of programs that have died */
	unsigned nkept;
	struct map known; /* regions that are recorded or passed over */
	struct problem *problem;
	unsigned nproblem;
	struct buf ended;    /* JSON of programs that are gone, in this chunk */
	struct buf go_ended; /* and of their Go traces */
	struct go_totals go_gone;
	unsigned asides; /* snapshots that programs have set aside themselves */
	uint64_t aside_bytes;
	struct go_http *http[HTTP_MAX + SEARCHES_MAX];
	unsigned nhttp;
	unsigned go_turn, http_turn; /* whose Go trace is read first in the next round */
	unsigned nended, ended_dropped;
	struct totals gone, gone_chunk; /* of programs that are gone: whole recording, this chunk */
	uint64_t gone_trace_bytes;
	uint64_t start_ns, start_epoch_ns, last_manifest_ns, last_progress_ns, last_events, rescan_until_ns, last_scan_ns, last_foreign_ns, manifest_of;
	uint64_t interval_ns, part_next_ns;
	void *run_room;        /* for packets that are written together; made when it is needed */
	struct find_part part; /* of a scan for new programs that is under way */
	bool scanning;
	struct {
		int wd;
		char dir[64];
	} watched[32];
	int nwatched;
	struct {
		int dir; /* in watched[] */
		char name[48];
		uint64_t until_ns;
	} fresh[FRESH_MAX]; /* files that have just been made */
	unsigned nfresh;
	uint64_t fresh_next_ns;
	struct {                         /* conditions */
		uint64_t quiet_until_ns; /* none holds before; 0: they are armed */
		unsigned taken;
		struct condition_seen seen[GD_CONDITIONS];
		bool told[GD_CONDITIONS]; /* that no class has it */
		struct buf list;          /* JSON of the snapshots */
		struct {
			pid_t pid;
			unsigned number;
		} exec[EXEC_MAX];
		unsigned nexec;
		const struct record_snapshot *now; /* while its manifest is written */
	} when;
	unsigned refused; /* files of others */
	int inotify_fd, control_fd, cmd_pidfd;
	pid_t cmd_pid;
	bool cmd_done, ending, failed;
	int cmd_status;
	char why[480];
	struct kernel *kernel;            /* NULL: not asked for */
	struct kernel_totals kernel_base; /* when the running chunk began */
	struct buf kernel_text;           /* what the manifest says of it, of a snapshot: JSON */
	int kernel_mark_fd;               /* control_mark_kernel() */
	bool kernel_short;                /* that it reaches less far than was asked for was told */
	struct bare bare[RECORD_PIDS_MAX];
	unsigned nbare;
	bool nice_changed; /* back to this before a command runs */
	int nice_before;
};

/* program.c */
struct clock_line *clock_of(struct record *rec, const struct region *r);
void program_totals(const struct program *p, struct totals *t);
void totals_add(struct totals *to, const struct totals *from);
void totals_sub(struct totals *to, const struct totals *base);
uint64_t totals_lost(const struct totals *t);

void program_free(struct program *p);
/* Removes what a recording that did not begin has made. */
void recording_remove(const char *dir);

void record_clocks_fit(struct record *rec);
void record_note(struct record *rec, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Something that was asked for and is not so. Told once, and written down. */
void record_problem(struct record *rec, pid_t pid, const char *program, const char *class_name, const char *text);
void record_fail(struct record *rec, const char *why); /* ends the recording */
uint32_t record_context(const struct record_opts *o, unsigned language);
void record_scan(struct record *rec, enum find_where where);
void record_scan_begin(struct record *rec, bool foreign);
void record_scan_part(struct record *rec); /* until rec->scanning is false */
/* New files are told of by name (inotify), and are opened without waiting for a scan to come to them. */
void record_watch(struct record *rec);
void record_hear(struct record *rec);
void record_scan_fresh(struct record *rec);
int record_attach(struct record *rec, pid_t pid, struct err *err);
void program_look(struct record *rec, struct program *p, uint32_t from);               /* at classes from this one on */
unsigned program_drain(struct record *rec, struct program *p, uint64_t now, bool all); /* returns the whole packets */
void program_grow(struct record *rec, struct program *p);
/* The program's Go trace: asked for when the program is there, read, ended. */
void program_fly(struct record *rec, struct program *p, uint64_t now);
void program_land(struct record *rec, struct program *p);
/* A process without the flight package: its /debug/pprof, if it has one; -ENOENT: it has not. */
void fly_neither(char *text, size_t len, const char *comm, pid_t pid); /* says both ways to a Go trace */
void fly_bare(struct record *rec, pid_t pid);                          /* a process without a region */
unsigned record_fly(struct record *rec);                               /* reads what has come, for a while; 0: there is no more */
unsigned record_http(struct record *rec);                              /* the same over HTTP */
void record_http_found(struct record *rec);                            /* waits until each has been found, or has not */
void record_http_end(struct record *rec);                              /* ends them */
void record_http_drop(struct record *rec);                             /* the same of a recording that does not begin: waits for nothing, says nothing */
uint64_t fly_bytes(const struct record *rec);                          /* of all Go traces and of what was set aside, on disk */
void fly_before_rotate(struct record *rec);
void fly_after_rotate(struct record *rec);
void record_land(struct record *rec);                          /* waits a moment, so that what happened until now is in the traces */
bool program_how_ended(struct record *rec, struct program *p); /* false: not known yet */
void program_end(struct record *rec, unsigned index, bool dead);
/* The counter of so long before now, or before a dead program's last event; last_ns 0: 0. */
uint64_t program_since(const struct program *p, const struct clock_line *l, uint64_t last_ns, bool dead);
void drop_kept(struct record *rec, unsigned i);

/* command.c */
int command_start(struct record *rec, struct err *err);
void command_ended(struct record *rec, bool wait); /* looks whether it has */

/* chunk.c */
int chunk_begin(struct record *rec, struct err *err);
int chunk_rotate(struct record *rec, struct err *err);
unsigned chunk_first(struct record *rec); /* of those that are kept */
int reserve_make(const struct record *rec, struct err *err);
void reserve_drop(const struct record *rec);

/* when.c */
void when_look(struct record *rec, uint64_t now);         /* takes snapshots that are due */
void when_program(struct record *rec, struct program *p); /* a new one */
void when_class(struct record *rec, const struct program *p, const struct rclass *cl);
void when_ended(struct record *rec, struct program *p); /* it is dead, its region not yet given up */
void when_finish(struct record *rec);                   /* the last look, while everything is still on */
void when_tell_unmet(struct record *rec);               /* conditions that no event has */
void when_done(struct record *rec);                     /* waits for the commands */
int when_rules(struct record *rec, struct err *err);

/* record.c */
uint64_t record_trace_bytes(const struct record *rec);

/* kernelview.c; all but kernelview_open() do nothing where the kernel's view is not recorded */
int kernelview_open(struct record *rec, struct err *err);
int kernelview_begin(struct record *rec, struct err *err); /* in rec->dir */
int kernelview_start(struct record *rec, struct err *err);
void kernelview_program(struct record *rec, pid_t pid);
void kernelview_bare(struct record *rec, pid_t pid); /* a process without a region */
bool kernelview_bare_alive(struct record *rec);
unsigned kernelview_drain(struct record *rec, uint64_t now, bool all); /* quarters of the fullest ring */
int kernelview_rotate(struct record *rec, struct err *err);            /* the end of a chunk */
int kernelview_finish(struct record *rec, struct err *err);
/* Flight recorder: what happened since then (CLOCK_MONOTONIC) into dir/ctf/kernel, and what a manifest says of it into `text`. */
int kernelview_snapshot(struct record *rec, const char *dir, uint64_t since_ns, uint64_t real_minus_mono, int ctf_version, struct buf *text, struct err *err);
void kernelview_answer(struct record *rec, const char *request, struct buf *reply);
/* The same of the running flight recorder of that session; `text` stays empty where it does not record the kernel's view. */
int kernelview_ask(const uint8_t session[16], const char *dir, uint64_t since_ns, uint64_t real_minus_mono, int ctf_version, struct buf *text, struct err *err);
void kernelview_done(struct record *rec);
uint64_t kernelview_events(const struct record *rec); /* in its traces */
uint64_t kernelview_lost(const struct kernel_totals *t);
void kernelview_manifest(struct json *j, const struct record *rec);

/* manifest.c: the members that tell of a snapshot. */
void manifest_snapshot(struct json *j, const struct record_snapshot *s);
/* One program as an object. */
void manifest_program(struct buf *out, struct record *rec, const struct program *p, bool first);
void manifest_go(struct buf *out, const struct go_sink *s);
/* gander.json of the recording or its running chunk, replaced by rename. */
int manifest_write(struct record *rec, bool final, struct err *err);
/* Of a rotated recording: DIR/gander.json, which names the chunks first .. rec->chunk. */
int manifest_chunks(struct record *rec, unsigned first, bool final, struct err *err);

#endif
