/* One program's events on their way into its CTF trace: classes before their first event, a stream a slot. */
#ifndef GANDER_COLLECT_OUT_H
#define GANDER_COLLECT_OUT_H

#include "collect/collect_channel.h"
#include "collect/collect_clock.h"
#include "ctf/ctf_write.h"

struct out {
	struct ctf_writer *w;
	char dir[64];                 /* name inside the recording's ctf/ */
	uint64_t begin;               /* counter from which the streams count */
	int stream[GD_SLOTS];         /* + 1; 0: none */
	uint64_t base_lost[GD_SLOTS]; /* subtracted: lost before this trace began */
	uint64_t last_lost[GD_SLOTS];
	uint8_t class_written[GD_CLASSES / 8];
};

/* Streams of another user's program that keep their files open. */
#define OUT_OPEN_FOREIGN 16

int out_open(struct out *o, const char *recording, const struct region *r, pid_t pid, const struct clock_line *clock, uint64_t begin,
	     int version, struct err *err);
/* Classes that ch->setup calls on, if they are not there yet. */
int out_classes(struct out *o, const struct channel *ch, struct err *err);
int out_clock(struct out *o, const struct clock_line *clock, struct err *err);
/* From the region's mapping, or from memory when data is set. */
int out_piece(struct out *o, const struct channel *ch, const struct piece *p, const void *data, struct err *err);
/* Several of one slot at once, which is cheaper; returns how many it has written, perhaps none: the others are out_piece()'s. */
#define OUT_RUN_MAX 15u
int out_run(struct out *o, const struct channel *ch, const struct piece *p, unsigned n, void *room);
/* Ends the streams with their last counts. */
int out_close(struct out *o, const struct channel *ch, uint64_t end, struct err *err);
uint64_t out_bytes(const struct out *o);

/* Bytes of the event at data, 0 when it does not fit into len or its class is unknown. */
size_t event_size(const struct region *r, uint32_t context, const uint8_t *data, size_t len);

/* Overwrite mode: writes what the channel holds now, from counter `since` on. What was overwritten since the recording's start is
 * counted in the slots, and also in the trace when count_front. */
int out_chains(struct out *o, struct channel *ch, uint64_t since, bool count_front, struct err *err);

#endif
