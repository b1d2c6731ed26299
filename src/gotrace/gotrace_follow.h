/* Counting: each P of a v1 trace, each thread of a generation of a v2 trace is followed as far as it goes, until its next event needs what another one's
 * event brings about; that one wakes it. What is the same for both formats: who waits for what, and the slices in which time goes on, so that nobody
 * runs so far ahead that the goroutines it makes need more memory than those that live at a time. Private to src/gotrace. */
#ifndef GANDER_GOTRACE_FOLLOW_H
#define GANDER_GOTRACE_FOLLOW_H

#include "gotrace/gotrace_map.h"

#include <stdbool.h>

#define SLICE_EVENTS 65536u /* of one, at most; a slice is meant to have about as many of all */

enum { GIVE_UP = -1,
       PARKED = 3 }; /* its next event lies behind the slice */

struct follower {
	int64_t head; /* the time of the event at which it stopped */
	bool waits, ended;
	struct follower *next_waiting;
};

struct following {
	struct follower **all;
	struct follower **ready; /* a stack: each at most once */
	uint32_t n, nready;
	struct idmap waiting; /* what is waited for -> followers */
	int64_t horizon;
	uint64_t taken; /* in this slice; `follow` adds to it */
	/* As far as it goes: WAIT, PARKED or GIVE_UP. */
	int (*follow)(struct following *f, struct follower *x);
};

int following_init(struct following *f, uint32_t n); /* 0 or -ENOMEM; `all` is for the caller to fill */
void following_done(struct following *f);
int following_all(struct following *f);                                    /* 0 all came to their ends, or GIVE_UP */
int following_wait(struct following *f, struct follower *x, uint64_t key); /* 0 or GIVE_UP */
void following_wake(struct following *f, uint64_t key);
/* It has done enough: the slice ends before `at`. What else happens at this time belongs to the next one. */
void following_cut(struct following *f, int64_t at);

#endif
