/* Which threads belong to the recorded programs, and what threads there are. */
#ifndef GANDER_KERNEL_OWN_H
#define GANDER_KERNEL_OWN_H

#include "base/map.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define OWN_COMM 16u

struct own {
	struct map pids, tids;
};

/* A thread's status, in LTTng's numbers. */
enum { OWN_STATUS_UNKNOWN = 0,
       OWN_WAITS_FOR_CPU = 2,
       OWN_EXITS = 3,
       OWN_ZOMBIE = 4,
       OWN_WAITS = 5 };

struct own_thread { /* also as a record: the layout of lttng_statedump_process_state */
	int32_t tid, pid, ppid, type, mode, submode, status;
	char comm[OWN_COMM];
};

void own_done(struct own *o);
void own_process(struct own *o, pid_t pid); /* with the threads that it has now */
void own_thread(struct own *o, uint32_t tid);
void own_thread_gone(struct own *o, uint32_t tid);

static inline bool own_has_process(const struct own *o, uint32_t pid)
{
	return map_find(&o->pids, pid) != NULL;
}

static inline bool own_has_thread(const struct own *o, uint32_t tid)
{
	return map_find(&o->tids, tid) != NULL;
}

/* All threads of the machine, or of one process, as /proc has them. */
void own_list(pid_t pid, void (*each)(void *arg, const struct own_thread *t), void *arg);

/* One line of /proc/PID/task/TID/stat. */
bool own_stat_parse(struct own_thread *t, const char *text, size_t len);

#endif
