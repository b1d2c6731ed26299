/* One channel of one region, as its collector holds it: rules, memory, and the place in each slot's chain up to which it has
 * been read. docs/region.md has the protocols. One thread. */
#ifndef GANDER_COLLECT_CHANNEL_H
#define GANDER_COLLECT_CHANNEL_H

#include "collect/collect_region.h"

#define RULE_LIST_MAX 192

struct rule { /* what a recording wants; the same in every region */
	char glob[120];
	bool exclude, count;
	bool condition;     /* `filter` (NULL: always) freezes the ring; what is recorded of the class is the other rules' */
	uint8_t number;     /* which condition */
	uint8_t level;      /* as gd_rule.level */
	const void *filter; /* generic, borrowed; NULL: none */
	uint32_t filter_len;
};

struct rule_list {
	struct rule v[RULE_LIST_MAX];
	unsigned n;
};

uint8_t rule_flags(const struct rule *u);               /* as gd_rule.flags */
int rule_check_glob(const char *glob, struct err *err); /* points at the column */
int rule_add(struct rule_list *l, const char *glob, bool exclude, int level, struct err *err);
/* What is recorded of a class: the rule that decides, -1: none. */
int rule_for(const struct rule_list *l, const char *name, unsigned level);

struct channel_setup {
	uint32_t mode, context, stack_depth, block_ms;
	uint8_t session[16];
	uint32_t first_packets, max_packets; /* granted at once, and at most */
	bool freezes;                        /* there are conditions: some packets are spare for the time of a freeze */
	const struct rule_list *rules;
};

struct slot_pos {
	uint32_t packet;     /* index + 1, 0: nothing read yet */
	uint32_t off, count; /* read so far in it */
	uint64_t seq;
	uint64_t last_time;     /* end of the last piece */
	uint64_t next_event;    /* number of the first event that has not been read, counted over the slot's life */
	uint64_t events, bytes; /* read */
	uint64_t lost_base[GD_LOST_REASONS], cut_base;
	uint64_t lost[GD_LOST_REASONS], cut; /* since the start */
	uint64_t frozen_base, frozen;        /* lost while the ring was frozen */
	uint64_t overwritten, damaged;       /* events, as far as their numbers tell */
	uint64_t unwritten;                  /* read, but the disk was full */
	uint64_t base_event;                 /* the first event of this recording has this number */
	bool seen;                           /* has ever had a packet of this recording */
};

/* Why a class is or is not recorded here. */
enum class_setup { SETUP_NONE,
		   SETUP_ON,
		   SETUP_NO_FIELD,
		   SETUP_FILTER_TYPE,
		   SETUP_NO_ROOM };

struct channel {
	struct region *r;
	unsigned c;
	bool held; /* the lock is ours; false for a dead program's region */
	bool dead; /* nobody writes any more */
	uint32_t epoch;
	uint32_t granted, max_packets; /* packets */
	uint32_t reserve;              /* overwrite mode: packets that are kept free */
	bool no_memory;                /* the tmpfs is full: no more is granted */
	uint32_t mode, context;
	struct slot_pos slot[GD_SLOTS];
	uint8_t *setup; /* [GD_CLASSES] enum class_setup */
	/* scratch of one drain */
	struct piece *piece;
	unsigned npieces, piece_cap;
};

struct piece { /* events that lie together in the region's file */
	uint32_t slot, packet;
	uint32_t off, len, events;
	uint64_t begin, end;
	uint64_t lost; /* of the slot up to here, all reasons */
	bool whole;    /* the packet can be given back after it */
};

/* Takes a free channel, or the one that was set up for this session before we came (born). Cleans up after dead collectors. */
int channel_open(struct channel *ch, struct region *r, const struct channel_setup *s, struct err *err);
/* A dead program's: nothing is changed, everything of the session is read. */
int channel_open_dead(struct channel *ch, struct region *r, unsigned c, struct err *err);
/* The channel of this session, -1: none. */
int channel_of_session(const struct region *r, const uint8_t session[16]);
/* Writes the rules and applies them to the classes that are there. */
int channel_rules(struct channel *ch, const struct rule_list *rules, struct err *err);
/* Gives up to n more packets, and leaves `leave` of the region's to others. Returns how many; ch->no_memory says that the tmpfs was full. */
uint32_t channel_grant(struct channel *ch, uint32_t n, uint32_t leave);
/* Count mode: n packets side by side for the table of values; zeroed, never given back while the channel lives. */
int channel_grant_keys(struct channel *ch, uint32_t n, struct err *err);
uint64_t channel_last_time(const struct channel *ch); /* the newest event's counter */
uint32_t channel_free_packets(const struct channel *ch);
/* Finds what is new: fills ch->piece in the order of each slot's events. partial: also of packets that are still written. */
int channel_plan(struct channel *ch, bool partial, uint32_t min_partial);
/* n pieces have been stored: remembers the place, gives whole packets back. In order, none left out. */
void channel_commit(struct channel *ch, unsigned from, unsigned n);
/* Overwrite mode: keeps memory spread over the slots. */
void channel_balance(struct channel *ch);
void channel_losses(struct channel *ch);
uint64_t slot_lost(const struct slot_pos *pos); /* all reasons */
/* The conditions' word: 0 armed, or GD_TRIGGER_. Frozen: every event before the freeze can be read, and stays. */
uint64_t channel_trigger(const struct channel *ch);
uint64_t channel_trigger_time(const struct channel *ch, uint64_t trigger); /* counter */
/* Sets it to 0 or GD_TRIGGER_OFF, which ends a freeze; what it was. */
uint64_t channel_set_trigger(struct channel *ch, uint64_t to);
/* Tells for every class whether it is recorded (ch->setup), without changing anything. */
void channel_class_states(struct channel *ch, const struct rule_list *rules);
/* Turns the channel's classes off; events that are being written still come. */
void channel_stop(struct channel *ch);
/* Gives memory and lock back. */
void channel_close(struct channel *ch);
/* Marks a dead program's channel as read. True: no other recording wants the region. */
bool channel_done_with(struct channel *ch);
/* Overwrite mode: the packets of a slot's chain that hold this recording's events, oldest first. Returns their number n; the i-th is number *newest - (n - 1 - i) of the
 * slot. */
unsigned channel_chain(const struct channel *ch, unsigned slot, uint32_t list[GD_PACKETS_MAX], uint64_t *newest);
/* A packet's head, as it is while its lap is this one. channel_hold(): it is packet number seq of the slot; channel_holds(): it still is, so that
 * whatever was read of it in between belongs to it. */
struct packet_hold {
	uint32_t packet, off, count;
	uint64_t lap, head, first, last_time, time_high;
};
bool channel_hold(const struct channel *ch, unsigned slot, uint32_t packet, uint64_t seq, struct packet_hold *h);
bool channel_holds(const struct channel *ch, const struct packet_hold *h);
/* Copies packet number seq of the slot (header and events) if it stays that meanwhile; -EAGAIN when it was overwritten. */
int channel_copy_packet(const struct channel *ch, unsigned slot, uint32_t packet, uint64_t seq, uint8_t to[GD_PACKET]);
/* Switches off and empties channels whose collectors are dead. Needs the control lock not held. */
void channel_clean_stale(struct region *r);

#endif
