/* Where regions are: in the tmpfs directories of this mount namespace, and in the mappings of processes (as root of all, in
 * containers too). One thread; nothing is kept between calls. */
#ifndef GANDER_COLLECT_FIND_H
#define GANDER_COLLECT_FIND_H

#include "base/map.h"
#include "collect/collect_region.h"

#include <dirent.h>

enum found_kind {
	FOUND_REGION,  /* region is set */
	FOUND_REFUSED, /* a file that is none: why says it */
	FOUND_OFF,     /* a program that could make no region: why */
};

struct found {
	enum found_kind kind;
	struct region *region; /* the receiver may take it and put NULL here */
	uid_t uid;             /* its owner */
	pid_t pid;             /* who maps it, as seen here; 0: nobody that can be seen */
	bool dead;
	dev_t dev; /* of the file, 0 when it is not known */
	ino_t ino;
	int code; /* of the refusal, -Exxx */
	char path[300];
	char why[480];
};

struct find {
	struct found *v;
	unsigned n, cap;
	unsigned denied;             /* processes whose mappings may not be read */
	unsigned nrefused, left_out; /* left_out: beyond what is taken of one user, or of refused files */
	struct map users;            /* uid -> how many of his are here */
	/* Regions that are known already are passed over. NULL: none. */
	bool (*known)(void *arg, dev_t dev, ino_t ino);
	void *known_arg;
	bool writable; /* open them for recording */
};

void find_done(struct find *f);
enum find_where {
	FIND_FILES,   /* the directories; pids that only a mapping tells are missing */
	FIND_FOREIGN, /* and processes in other mount namespaces (root) */
	FIND_ALL,     /* and all others; programs that are off are found too */
};

/* Those of this user; as root of all users and containers. */
int find_all(struct find *f, enum find_where where, struct err *err);
/* Those of one process, after find_await(). 0 with n == 0: it has none. -ESRCH: no such process; -EPERM: somebody else's. */
int find_pid(struct find *f, pid_t pid, struct err *err);
/* Is this region that process's own? */
bool find_is_mapped(pid_t pid, dev_t dev, ino_t ino);
/* Returns when a process that was started just now (within the last second) has a region, or is no longer that young; at once of any other. For
 * who must not be kept waiting later. */
void find_await(pid_t pid);

/* The same as FIND_FILES (with foreign: FIND_FOREIGN) in parts, for who has other things to do meanwhile: a directory may be made as large,
 * and processes be as many, as anybody likes. Starts with find_begin(); each find_some() adds to f what a part has. False: that was all. */
struct find_part {
	char dirs[32][64];
	int ndirs, at;
	DIR *dir, *proc;
	int fd; /* of dir */
	dev_t dev;
};
void find_begin(struct find_part *p, bool foreign);
bool find_some(struct find *f, struct find_part *p);
void find_end(struct find_part *p); /* also before it is through */
/* One entry of a directory of find_dirs(), as find_some() would come upon it. -EAGAIN: its program is still making it. */
int find_entry(struct find *f, const char *dir, const char *name);

/* Processes by name: command name or the executable's last part. Returns their number, at most cap. */
int find_named(const char *name, pid_t *pids, int cap, struct err *err);
/* The tmpfs directories where regions may be, absolute paths. Returns their number. */
int find_dirs(char dirs[][64], int cap);

bool proc_comm(pid_t pid, char *to, size_t len);
uid_t proc_uid(pid_t pid); /* (uid_t)-1: gone */

#endif
