/* One region, opened for reading and for giving it rules and memory. What it holds is checked or bounded at each use: the
 * program on the other side may be damaged or hostile. One thread. */
#ifndef GANDER_COLLECT_REGION_H
#define GANDER_COLLECT_REGION_H

#include "base/err.h"
#include "region/desc.h"
#include "region/region.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum rclass_state {
	RCLASS_UNSETTLED = 0, /* not published yet; its declarer may be dead */
	RCLASS_SKIP,          /* an alias */
	RCLASS_BROKEN,        /* its description cannot be read */
	RCLASS_OK,
};

struct rclass {
	uint8_t state; /* enum rclass_state */
	uint8_t level, kind, nfields;
	uint32_t desc_len;
	uint8_t *desc; /* owned, parsed successfully when OK */
	char name[GD_NAME_MAX + 1];
};

struct region {
	int fd;    /* the file, read and write (read only: writable is false) */
	int dirfd; /* its directory, O_PATH; -1 when it could not be reached */
	bool writable;
	char name[64];  /* in that directory */
	char path[300]; /* for people */
	dev_t dev;
	ino_t ino;
	uid_t uid;             /* the file's owner, as the kernel sees him here */
	uint64_t file_bytes;   /* memory it takes */
	struct gd_header head; /* a checked copy, strings NUL-terminated */
	uint8_t *map;
	size_t size;
	uint32_t npackets, nslots;
	unsigned patience_ms;         /* what is left to wait for its locks */
	volatile sig_atomic_t shrunk; /* a page was missing (collect_guard.h) */
	struct rclass **cls;          /* [GD_CLASSES], NULL until looked at */
	uint32_t nclasses;            /* slots looked at */
	uint32_t settled;             /* all below are settled */
};

/* Takes over opath_fd (O_PATH) and dirfd, also on failure. uid is whose it has to be; (uid_t)-1: anybody's, as long as
 * name_uid of its name fits. -EAGAIN: its program has not finished making it. */
int region_open(struct region **ret, int opath_fd, int dirfd, const char *name, const char *path, uid_t uid, bool writable,
		struct err *err);
void region_close(struct region *r);

bool region_name_ok(const char *name, uid_t *uid); /* gander.UID.16 hex digits */
/* A file of that directory as O_PATH, -errno; never across a mount (of a FUSE file system, that may never answer). */
int region_file(int dirfd, const char *name);
bool region_dead(const struct region *r); /* no process maps it */
int region_unlink(struct region *r);      /* when its name still means this file */
/* Looks at class slots that are new or were unsettled. Returns how many became RCLASS_OK, or -ENOMEM. */
int region_classes(struct region *r);

/* Walks the program's heap: calls fn with each finished record's kind and bytes (a copy). Ends at the first unfinished one. */
int region_records(struct region *r, void (*fn)(void *arg, uint32_t kind, const void *data, size_t len), void *arg);

static inline struct gd_control *region_control(const struct region *r)
{
	return (struct gd_control *)(r->map + GD_OFF_CONTROL);
}

static inline struct gd_channel *region_channel(const struct region *r, unsigned c)
{
	return (struct gd_channel *)(r->map + GD_OFF_CHANNELS) + c;
}

/* Whether a channel is on. One that never was has no memory, and a look at it in the mapping would give it some, for as long as the program lives. */
bool region_channel_on(const struct region *r, unsigned c);

static inline struct gd_class *region_class(const struct region *r, unsigned i)
{
	return (struct gd_class *)(r->map + gd_class_offset(i));
}

static inline uint64_t packet_offset(uint32_t i)
{
	return GD_OFF_DATA + (uint64_t)i * GD_PACKET;
}

static inline struct gd_packet *region_packet(const struct region *r, uint32_t i) /* i < npackets */
{
	return (struct gd_packet *)(r->map + packet_offset(i));
}

/* Locks of region.h; held by the open file description, so another process can have them but not another caller here. */
/* Waits at most a second in all, in another user's region (who could hold it for ever) a few milliseconds. -EAGAIN: somebody has it. */
int region_lock_control(struct region *r);
void region_unlock_control(struct region *r);
bool region_lock_channel(struct region *r, unsigned c);
void region_unlock_channel(struct region *r, unsigned c);
bool region_channel_held(struct region *r, unsigned c); /* by another recording */

#endif
