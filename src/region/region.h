/* The shared region: what a traced program and the collector both map. The format byte by byte, with its
 * proof, is docs/region.md; this header is the same thing for the compiler. Go's constants are generated from
 * it (tools/gen-go-region), so that it is the one place.
 *
 * Included by src/tracer (the writer), src/collect (the reader) and src/filter. Plain C11, libc only, no
 * inclusion but <stdint.h>, <stddef.h> and <assert.h>: it ends up inside users' programs.
 *
 * All integers are little-endian. Offsets are from the start of the file. Neither side trusts the other: the
 * writer masks or bounds all that it reads from here at each use, the reader validates all.
 *
 * Who writes what, and how
 *
 *   field                       writers                    readers              order
 *   header                      program, before READY      collector            [READY] release / acquire
 *   class slot: state           declaring thread           all                  [CLASS] seq_cst / seq_cst
 *   class slot: enabled         collectors, declarer       every event          [ENABLE] seq_cst or / relaxed
 *   class slot: filter[c]       collector, declarer        every event          before [ENABLE]
 *   heap record: kind           declaring thread           collector            [RECORD] release / acquire
 *   control: rules, gen         one collector (lock 0)     declaring threads    [RULE] seq_cst / seq_cst
 *   channel: config             its collector (lock 16+c)  writers              before [ENABLE]
 *   channel: free[]             writers take, collector    both                 [FREE] acq_rel both
 *                               and vain takers give
 *   channel: trigger            any thread (compare-and-   both                 [FREEZE] acq_rel / acquire
 *                               swap from 0), collector
 *   slot: cur                   the slot's one writer      collector, writers   [SWAP] release / acquire
 *   slot: tail                  who pops (compare-and-     both                 [TAIL] acq_rel both
 *                               swap): writers, collector
 *   slot: lost[]                any thread (atomic add)    collector            relaxed
 *   packet: head                the slot's one writer      collector            [HEAD] release / acquire
 *   packet: lap                 who holds it exclusively   collector            [LAP] release, see gd_packet
 *   packet: all else            who holds it exclusively   collector            before [SWAP] or [HEAD]
 *   control: fly, ask[]         collectors (lock 0)        flight goroutine     [FLY] seq_cst / seq_cst
 *   header: wake_fd, wake_ino   flight goroutine           collectors           [WAKE] seq_cst / seq_cst
 *   control: fly_granted[]      the program (lock 0)       collectors           atomic or, and
 *   control: fly_read[]         collectors                 collectors           [PLACE] seq_cst / seq_cst
 *   flight: tail                the one that writes        collectors           [TRAIL] exchange / acquire
 *   flight: end                 the one that writes        collectors           [FLOWN] release / acquire
 *   flight: saved.state         program, then collector    both                 [SAVED] release / acquire
 *   flight: all else            the one that writes        collectors           before [FLOWN], or only told
 */
#ifndef GANDER_REGION_REGION_H
#define GANDER_REGION_REGION_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define GD_MAGIC            0x31474e5244444e47ull /* "GNDDRNG1" as bytes */
#define GD_MAJOR            1u                    /* another major: refused; a newer minor only adds what may be skipped */
#define GD_MINOR            3u
#define GD_MINOR_CONDITIONS 2u        /* from this on there are conditions */
#define GD_NAME_PREFIX      "gander." /* file name: gander.UID.16 hex digits, in a tmpfs */
#define GD_PAGE             4096u

/* Bounds of major version 1. A region may hold fewer packets (header.npackets), nothing else varies. */
#define GD_CHANNELS      8u   /* recordings of one program at once */
#define GD_SLOTS         256u /* writer slots a channel: concurrency ids, CPUs or Ps */
#define GD_CLASSES       16384u
#define GD_CLASSES_FIRST 4096u /* of them in the first table, the others in the second */
#define GD_COUNTERS      8176u /* hit counters that a packet holds: classes from there on cannot be counted */
#define GD_RULES         256u
#define GD_PACKET_SHIFT  16u
#define GD_PACKET        (1u << GD_PACKET_SHIFT)
#define GD_PACKET_HEADER 128u
#define GD_PACKET_LIMIT  (GD_PACKET - 16u) /* events end at or before it: a writer may copy 16 bytes at a time */
#define GD_PACKETS_MAX   1024u
#define GD_EVENT_MAX     60000u /* word, context and payload of one event; longer ones are cut and marked */
#define GD_STACK_MAX     64u    /* frames of a call stack */
#define GD_BLOCK_MAX     2000u  /* ms that one event waits for a packet at most, whatever block_ms says */
#define GD_TRIES         1000u  /* of a compare-and-swap, and of applying rules: more is nobody that keeps to this format */

/* Where things are. What the program writes and what collectors write share no page, but for slots and free[]. */
#define GD_OFF_HEADER            0x000000u /* struct gd_header, 1 page */
#define GD_OFF_CLASSES           0x001000u /* struct gd_class[GD_CLASSES_FIRST], 256 KiB */
#define GD_OFF_CONTROL           0x041000u /* struct gd_control, 36 KiB */
#define GD_OFF_CHANNELS          0x04a000u /* struct gd_channel[GD_CHANNELS], 20 KiB each */
#define GD_OFF_FLIGHT            0x072000u /* struct gd_flight, 2 pages: the Go runtime's trace */
#define GD_OFF_FILTERS           0x080000u /* filters that collectors wrote, append-only */
#define GD_OFF_HEAP              0x180000u /* struct gd_record, written by the program, append-only */
#define GD_OFF_CLASSES_MORE      0x340000u /* struct gd_class[GD_CLASSES - GD_CLASSES_FIRST], 768 KiB; since minor version 1 */
#define GD_OFF_DATA              0x400000u /* packet i at GD_OFF_DATA + i * GD_PACKET */
#define GD_FILTERS_SIZE          (GD_OFF_HEAP - GD_OFF_FILTERS)
#define GD_HEAP_SIZE             (GD_OFF_CLASSES_MORE - GD_OFF_HEAP)
#define GD_META_SIZE             GD_OFF_DATA
#define GD_REGION_SIZE(npackets) ((uint64_t)GD_OFF_DATA + (uint64_t)(npackets)*GD_PACKET)

/* header.state */
#define GD_STATE_BUILDING 0u
#define GD_STATE_READY    1u /* everything else in the header is valid */

/* header.writer: what a slot number is */
#define GD_WRITER_MM_CID 1u /* rseq concurrency id */
#define GD_WRITER_CPU    2u /* rseq CPU id */
#define GD_WRITER_POOL   3u /* a slot is owned (slot.owner) for the time of one event */
#define GD_WRITER_GO_P   4u /* Go's P, pinned */

/* header.language */
#define GD_LANG_C  1u
#define GD_LANG_GO 2u

/* header.clock */
#define GD_CLOCK_TSC  1u /* the CPU's counter (x86 rdtsc, arm64 cntvct_el0) */
#define GD_CLOCK_MONO 2u /* CLOCK_MONOTONIC in nanoseconds */

/* header.flags */
#define GD_FLAG_TID    1u /* the writer knows kernel thread ids (else the tid context reads 0) */
#define GD_FLAG_BORN   2u /* channel 0 was set up from GANDER_SESSION in the environment */
#define GD_FLAG_FORKED 4u /* made in a forked child; parent_pid says whose */
#define GD_FLAG_FLIGHT 8u /* somebody in the program looks at control.fly (Go, package flight) */

/* One reading of all clocks at one instant: counter is the middle of two reads around the others. */
struct gd_clock_sample {
	uint64_t counter;
	uint64_t mono_ns;
	uint64_t boot_ns;
	uint64_t width; /* counter ticks between the two reads: the sample's uncertainty */
};

struct gd_header {
	uint64_t magic;
	uint16_t major, minor;
	uint32_t state;       /* [READY] */
	uint32_t header_size; /* sizeof(struct gd_header) of the writer: newer fields follow */
	uint32_t npackets;    /* packets in the data part, <= GD_PACKETS_MAX */
	uint64_t region_size;
	uint32_t language, writer, clock, flags;
	uint32_t pid, parent_pid; /* as the program sees them (its pid namespace) */
	uint32_t uid, nslots;     /* slots that can be in use at most, <= GD_SLOTS */
	uint64_t start_ticks;     /* field 22 of /proc/self/stat, 0 if unknown: tells a reused pid */
	uint64_t realtime_ns;     /* CLOCK_REALTIME at `start` */
	struct gd_clock_sample start;
	uint8_t session[16];   /* of GANDER_SESSION, zero otherwise */
	uint8_t boot_id[16];   /* zero if unknown */
	uint32_t heap_used;    /* bytes of the heap taken so far (atomic add by declarers); records may be unfinished */
	uint32_t class_count;  /* class slots taken so far (atomic add); may exceed GD_CLASSES: those were refused */
	uint32_t lost_classes; /* declarations refused for want of room (atomic add) */
	uint32_t wake_fd;      /* [WAKE] 1 + the program's number of the pipe that wakes who looks at control.fly; 0: it looks once a second */
	char agent[32];        /* "libgander 0.1.0", "gander-go 0.1.0 go1.26.8" */
	char comm[32];         /* process name at start */
	char exe[512];         /* path at start, cut if longer */
	uint8_t build_id[32];  /* of the executable; build_id_len bytes */
	uint32_t build_id_len;
	uint32_t wake_ino; /* lower half of that pipe's inode, which tells it from what else may have the number by now */
};

/* class.state */
#define GD_CLASS_EMPTY     0u
#define GD_CLASS_CLAIMED   1u /* its declarer may have died: skip */
#define GD_CLASS_PUBLISHED 2u
#define GD_CLASS_ALIAS     3u /* identical to an earlier one that is used instead: skip */

/* class.enabled */
#define GD_ENABLED(c)     (1u << (c))
#define GD_FILTERED(c)    (0x100u << (c))     /* class.filter[c] decides */
#define GD_COUNTING(c)    (0x10000u << (c))   /* count, do not record */
#define GD_CONDITIONAL(c) (0x1000000u << (c)) /* class.filter[c] is a struct gd_condition_set */
#define GD_ENABLED_MASK   0xffu

struct gd_class {
	uint32_t enabled;  /* [ENABLE] zero: off; the one word that an event looks at */
	uint32_t state;    /* [CLASS] */
	uint32_t desc_off; /* description (desc.h), from the file's start, inside the heap */
	uint32_t desc_len;
	uint32_t hash; /* gd_desc_hash() of the description: finds identical ones */
	uint32_t pad0;
	uint32_t filter[GD_CHANNELS]; /* offset of a linked filter or a condition set, from the file's start, 8-aligned; 0: none */
	uint32_t pad1[2];
};

/* Where a class's slot is, i < GD_CLASSES. */
static inline uint32_t gd_class_offset(uint32_t i)
{
	return i < GD_CLASSES_FIRST ? GD_OFF_CLASSES + i * (uint32_t)sizeof(struct gd_class)
				    : GD_OFF_CLASSES_MORE + (i - GD_CLASSES_FIRST) * (uint32_t)sizeof(struct gd_class);
}

/* Records in the program's heap, 8-aligned, each behind this head. An unfinished one has kind 0; len 0 ends the walk. */
#define GD_RECORD_DESC   1u /* class description */
#define GD_RECORD_OBJECT 2u /* struct gd_object: a loaded image */
#define GD_RECORD_FILTER 3u /* linked filter, or a condition set, made by a declarer */
#define GD_RECORD_NOTE   4u /* text for people: something that could not be set up */
struct gd_record {
	uint32_t len;  /* bytes that follow this head, before padding to 8 */
	uint32_t kind; /* stored last, release */
};

struct gd_object {
	uint64_t base;       /* load bias: runtime address = base + ELF address */
	uint64_t start, end; /* of its executable mappings */
	uint8_t build_id[20];
	uint32_t build_id_len;
	/* the path follows, to the record's end, not NUL-terminated */
};

/* rule.flags */
#define GD_RULE_EXCLUDE       1u /* matching classes are taken out again; exclusions win */
#define GD_RULE_COUNT         2u
#define GD_RULE_CONDITION     4u                  /* matching classes whose fields the filter fits get a condition; what else is recorded of them is the other rules' */
#define GD_RULE_NUMBER(flags) ((flags) >> 4 & 7u) /* which of the recording's conditions */

struct gd_rule {
	uint8_t used; /* 0: skip */
	uint8_t channel;
	uint8_t flags;
	uint8_t level;   /* classes with level <= this match (0 emergency .. 7 debug); 255: all */
	uint32_t filter; /* offset of a generic filter in the filters part, from the file's start, 0: none */
	char glob[120];  /* NUL-terminated; * ? [a-z] and \x, as fnmatch(3) without flags */
};

/* What is looked at when an event of a class with conditions is emitted: the conditions, then the filter. In the filters part or in the
 * heap, 8-aligned, never changed. */
#define GD_CONDITIONS      8u          /* of a recording */
#define GD_CONDITION_MAGIC 0x31574447u /* "GDW1" */
#define GD_FILTER_NEVER    1u          /* gd_condition_set.filter: only an event that a condition holds for is recorded */
struct gd_condition {
	uint32_t program; /* offset of a linked filter; 0: holds for every event */
	uint32_t number;  /* which of the recording's conditions */
};

struct gd_condition_set {
	uint32_t magic;
	uint32_t n;
	uint32_t filter; /* offset of the linked filter that an event has to pass that no condition holds for; 0: all do */
	uint32_t pad0;
	struct gd_condition v[GD_CONDITIONS];
};

/* Locks on the region's file, by open file description (F_OFD_SETLK): who dies lets go. */
#define GD_LOCK_CONTROL    0          /* byte: held while rules or grants change */
#define GD_LOCK_CHANNEL(c) (16 + (c)) /* byte: held as long as the recording of channel c lives */

/* Who wants the Go runtime's trace: docs/flight.md. */
#define GD_ASKS 8u
struct gd_ask {
	uint64_t until_ns;  /* CLOCK_MONOTONIC: who asks says it anew before that; a dead collector's ask lapses */
	uint32_t period_ms; /* a generation is closed so often; 0: as the program likes */
	uint32_t keep_ms;   /* so much of the past must stay; 0: as the program likes */
	uint32_t packets;   /* memory that the ring may take; 0: as the program likes */
	uint32_t pid;       /* informative */
};

struct gd_control {
	uint32_t gen;          /* [RULE] odd while rules change */
	uint32_t nrules;       /* rules[0..nrules) may be used */
	uint32_t filters_used; /* bytes of the filters part taken */
	uint32_t fly;          /* [FLY] bit i: ask[i] holds; the one word that a program looks at while nobody asks */
	struct gd_ask ask[GD_ASKS];
	uint64_t fly_granted[GD_PACKETS_MAX / 64]; /* bit i: packet i belongs to the flight ring */
	uint64_t fly_read[GD_ASKS];                /* [PLACE] 1 + how far whoever asks has read the ring; 0: he does not follow it */
	uint8_t pad1[4096 - 16 - 24 * GD_ASKS - GD_PACKETS_MAX / 8 - 8 * GD_ASKS];
	struct gd_rule rules[GD_RULES];
};

/* channel.mode */
#define GD_MODE_DISCARD   0u /* full: new events are lost */
#define GD_MODE_OVERWRITE 1u /* full: the oldest are overwritten */
#define GD_MODE_COUNT     2u /* packets hold counters: u64 at GD_PACKET_HEADER + 8 * class id */

/* channel.state */
#define GD_CHANNEL_OFF 0u
#define GD_CHANNEL_ON  1u

/* channel.context: written behind the event's word, in this order, packed */
#define GD_CTX_TID   0x01u /* u32 kernel thread id */
#define GD_CTX_GOID  0x02u /* u64 goroutine id; 0 in C */
#define GD_CTX_CPU   0x04u /* u16 CPU just before the event */
#define GD_CTX_SPAN  0x08u /* u64 innermost span, 0: none */
#define GD_CTX_KEY   0x10u /* u64 the user's key (gander_set_key()) */
#define GD_CTX_STACK 0x20u /* u16 count, count * u64 return addresses, innermost first */
#define GD_CTX_ALL   0x3fu

/* slot.lost: the index is the reason */
#define GD_LOST_FULL    0u /* no packet was free */
#define GD_LOST_NESTED  1u /* pool writer: every slot was owned */
#define GD_LOST_SLOT    2u /* the slot number is beyond GD_SLOTS; counted in the last slot */
#define GD_LOST_OTHER   3u /* the region is damaged */
#define GD_LOST_REASONS 4u

struct gd_slot {
	uint32_t cur;   /* [SWAP] packet index + 1, 0: none yet */
	uint32_t owner; /* pool writer: tid of who is inside, 0: nobody */
	uint64_t tail;  /* [TAIL] overwrite mode: GD_TAIL() of the oldest packet; 0: not known yet, nothing to pop */
	uint64_t lost[GD_LOST_REASONS];
	uint64_t cut;         /* events that were cut to GD_EVENT_MAX */
	uint64_t lost_frozen; /* events for which there was no packet while the ring was frozen */
};

/* seq makes the word unlike any earlier one, so that a compare-and-swap cannot mistake a packet that came back. */
#define GD_TAIL(seq, index) ((uint64_t)(seq) << 16 | ((index) + 1))
#define GD_TAIL_INDEX(tail) ((uint32_t)((tail)&0xffff) - 1)
#define GD_TAIL_SEQ(tail)   ((tail) >> 16)

/* channel.trigger. 0: a condition that holds freezes the ring; OFF: it does not; else it is frozen, by the event of a class at a time. */
#define GD_TRIGGER_FROZEN                     1u
#define GD_TRIGGER_OFF                        2u
#define GD_TRIGGER(counter, class_id, number) (((uint64_t)(counter) & ~0x7ffffull) | (uint64_t)(class_id) << 5 | (number) << 2 | GD_TRIGGER_FROZEN)
#define GD_TRIGGER_NUMBER(trigger)            ((uint32_t)(trigger) >> 2 & 7u)
#define GD_TRIGGER_CLASS(trigger)             ((uint32_t)(trigger) >> 5 & 0x3fffu)
#define GD_TRIGGER_TIME(trigger)              ((trigger) & ~0x7ffffull)

struct gd_channel {
	/* first page: written by the channel's collector, but for free[] and trigger */
	uint32_t state, mode;
	uint32_t context;                /* GD_CTX_ */
	uint32_t quota;                  /* overwrite mode: packets that a slot may hold */
	uint32_t stack_depth;            /* frames for GD_CTX_STACK, <= GD_STACK_MAX */
	uint32_t block_ms;               /* discard mode: wait so long for a packet before losing (tests), <= GD_BLOCK_MAX */
	uint32_t keys_first, keys_count; /* count mode: packets that form the table of struct gd_count_key */
	uint8_t session[16];             /* the recording's id */
	uint32_t collector_pid;          /* 0: it is yet to come; else informative, the lock says who lives */
	uint32_t epoch;                  /* grows when a new recording takes the channel */
	uint64_t trigger;                /* [FREEZE] GD_TRIGGER; writers look at it when they take a packet, and when a condition holds */
	uint64_t trigger_time;           /* the whole counter of GD_TRIGGER_TIME(); not there if its writer died in between */
	uint8_t pad0[896 - 72];
	uint64_t granted[GD_PACKETS_MAX / 64]; /* bit i: packet i has memory and belongs to this channel */
	uint64_t free[GD_PACKETS_MAX / 64];    /* [FREE] bit i: it is granted and nobody holds it */
	uint8_t pad1[4096 - 1024 - GD_PACKETS_MAX / 8];
	struct gd_slot slot[GD_SLOTS];
};

/* flight.state */
#define GD_FLIGHT_IDLE    0u /* nobody has asked */
#define GD_FLIGHT_FLYING  1u
#define GD_FLIGHT_REFUSED 2u /* somebody has, but it cannot be: why[] */
#define GD_FLIGHT_NEVER   3u /* it can never be in this program: why[] */

/* flight.saved.state */
#define GD_SAVED_NONE  0u
#define GD_SAVED_READY 1u /* whoever reads it sets TAKEN, then its memory is the program's again */
#define GD_SAVED_TAKEN 2u

/* A part of the stream that flight.Snapshot() has set aside: its packets are no longer the ring's. */
struct gd_saved {
	uint32_t state; /* [SAVED] */
	uint32_t pad0;
	uint64_t tail, end;
	uint64_t taken_ns; /* CLOCK_MONOTONIC */
	char reason[96];
	uint8_t pad1[384];
	uint16_t packet[GD_PACKETS_MAX]; /* as gd_flight.packet */
};

/* The Go runtime's trace as one stream of chunks, in packets of the data part without their headers: position p lies in packet
 * packet[p / GD_PACKET % GD_PACKETS_MAX] - 1 at p % GD_PACKET. What is in [tail, end) is whole. */
struct gd_flight {
	uint32_t state;
	uint32_t session;                 /* starts of the runtime's tracer so far */
	uint32_t npackets;                /* that the ring may take */
	uint32_t period_ms;               /* in force */
	uint64_t tail;                    /* [TRAIL] of the oldest chunk; raised before what is below it is overwritten */
	uint64_t end;                     /* [FLOWN] behind the newest chunk */
	uint64_t closed_ns;               /* CLOCK_MONOTONIC when the newest whole generation was closed */
	uint64_t generations, bytes;      /* since the program started */
	uint64_t lost_bytes, lost_chunks; /* there was no memory for them */
	uint8_t header[16];               /* of the trace: "go 1.26 trace" */
	char why[160];                    /* REFUSED: a sentence */
	uint8_t pad0[2048 - 248];
	uint16_t packet[GD_PACKETS_MAX]; /* index + 1, 0: none */
	struct gd_saved saved;
};

/* A chunk: this head, then len bytes, then zeros up to a multiple of 8. */
#define GD_CHUNK_START 1u /* a new session: nothing before it belongs to what follows. No bytes */
#define GD_CHUNK_BATCH 2u /* one batch of the trace, whole */
#define GD_CHUNK_END   3u /* the generation is complete; with the byte that says so in the trace, from Go 1.26 on */
#define GD_CHUNK_NOTE  4u /* a text: why flight.Snapshot() was called */
#define GD_CHUNK_MAX   (GD_PACKET + 4096u)
struct gd_chunk {
	uint64_t pos; /* its own position: what is not a chunk's head does not look like one */
	uint32_t len;
	uint16_t kind, pad0;
	uint64_t gen;     /* of the runtime's count, over all sessions */
	uint64_t time_ns; /* CLOCK_MONOTONIC when it was written */
	uint32_t session, pad1;
};

/* Hit counters by field value: open addressing, linear probing, fingerprint 0 is empty. */
struct gd_count_key {
	uint64_t fingerprint; /* of class id and value; taken by compare-and-swap, never given back */
	uint64_t count;       /* atomic add */
	uint16_t class_id;
	uint8_t kind; /* GD_KEY_; stored last: 0 means the value is not there yet */
	uint8_t len;
	char value[44]; /* the integer's 8 bytes, or the string's first bytes */
};
#define GD_KEY_U64 1u
#define GD_KEY_I64 2u
#define GD_KEY_STR 3u
#define GD_KEY_F64 4u

/* One packet: this header, then events end to end. */
struct gd_packet {
	/* what every event touches */
	uint64_t head;      /* [HEAD] events in the packet << 32 | offset behind the last, from the packet's start */
	uint64_t last_time; /* full counter of the last event */
	uint64_t time_high; /* counter >> 48 of all its events */
	uint64_t lap;       /* [LAP] odd: being opened by who holds it; even: what stands here belongs together */
	uint32_t slot, channel;
	uint64_t seq;        /* place in the slot's chain, from 1; 0: never installed */
	uint64_t first;      /* number of its first event in the slot's stream, from 0: gaps are overwritten events */
	uint32_t prev, next; /* neighbours in the chain, index + 1, 0: none */
	/* written when it is opened */
	struct gd_clock_sample open;
	uint32_t epoch; /* channel.epoch when it was opened */
	uint32_t pad0;
	uint64_t pad1[3];
};

/* An event: this word, context, payload; all packed, nothing aligned. */
#define GD_EVENT_ID_MASK           0x7fffu
#define GD_EVENT_CUT               0x8000u /* the payload was cut; the lengths inside are true for what is there */
#define GD_EVENT_WORD(id, counter) ((uint64_t)(counter) << 16 | (id))

#define GD_HEAD(count, off) ((uint64_t)(count) << 32 | (off))
#define GD_HEAD_OFF(head)   ((uint32_t)(head))
#define GD_HEAD_COUNT(head) ((uint32_t)((head) >> 32))

/* What `gander record -- CMD` puts into the environment as GANDER_SESSION: "1:" and this in base64 (standard
 * alphabet, no padding). In its rules, a filter's offset counts from the start of `filters`, plus 8 (0 stays "none");
 * the program moves them. */
#define GD_SESSION_ENV   "GANDER_SESSION"
#define GD_FLIGHT_ENV    "GANDER_FLIGHT" /* "now": fly from the start, somebody is coming; docs/flight.md */
#define GD_SESSION_MAGIC 0x53444e47u
#define GD_SESSION_MAX   49152u
struct gd_session {
	uint32_t magic;
	uint32_t size; /* of all, in bytes; <= GD_SESSION_MAX */
	uint8_t session[16];
	uint32_t mode, context, quota, stack_depth, block_ms;
	uint32_t packets; /* that a new region allocates for itself until the collector finds it */
	uint32_t nrules, filters_size;
	/* struct gd_rule rules[nrules]; uint8_t filters[filters_size] */
};

/* A program that could make no region says so by the name of an anonymous file that it maps:
 * /proc/PID/maps then shows "/memfd:gander.off.REASON". */
#define GD_OFF_PREFIX "gander.off."

static_assert(sizeof(struct gd_clock_sample) == 32, "gd_clock_sample");
static_assert(offsetof(struct gd_header, state) == 12, "gd_header.state");
static_assert(offsetof(struct gd_header, language) == 32, "gd_header.language");
static_assert(offsetof(struct gd_header, pid) == 48, "gd_header.pid");
static_assert(offsetof(struct gd_header, start) == 80, "gd_header.start");
static_assert(offsetof(struct gd_header, session) == 112, "gd_header.session");
static_assert(offsetof(struct gd_header, heap_used) == 144, "gd_header.heap_used");
static_assert(offsetof(struct gd_header, wake_fd) == 156, "gd_header.wake_fd");
static_assert(offsetof(struct gd_header, agent) == 160, "gd_header.agent");
static_assert(offsetof(struct gd_header, exe) == 224, "gd_header.exe");
static_assert(offsetof(struct gd_header, build_id) == 736, "gd_header.build_id");
static_assert(offsetof(struct gd_header, wake_ino) == 772, "gd_header.wake_ino");
static_assert(sizeof(struct gd_header) == 776, "gd_header"); /* never more within a major: readers refuse less than they know */
static_assert(sizeof(struct gd_class) == 64, "gd_class");
static_assert(offsetof(struct gd_class, filter) == 24, "gd_class.filter");
static_assert(sizeof(struct gd_object) == 48, "gd_object");
static_assert(sizeof(struct gd_rule) == 128, "gd_rule");
static_assert(offsetof(struct gd_control, rules) == 4096, "gd_control.rules");
static_assert(sizeof(struct gd_condition) == 8, "gd_condition");
static_assert(sizeof(struct gd_condition_set) == 80, "gd_condition_set");
static_assert(GD_CLASSES == 16384 && GD_CONDITIONS == 8, "gd_channel.trigger has so many bits for them");
static_assert(offsetof(struct gd_slot, lost_frozen) == 56, "gd_slot.lost_frozen");
static_assert(offsetof(struct gd_channel, trigger) == 56, "gd_channel.trigger");
static_assert(sizeof(struct gd_slot) == 64, "gd_slot");
static_assert(offsetof(struct gd_slot, lost) == 16, "gd_slot.lost");
static_assert(offsetof(struct gd_channel, free) == 1024, "gd_channel.free");
static_assert(offsetof(struct gd_channel, slot) == 4096, "gd_channel.slot");
static_assert(sizeof(struct gd_packet) == GD_PACKET_HEADER, "gd_packet");
static_assert(offsetof(struct gd_packet, lap) == 24, "gd_packet.lap");
static_assert(offsetof(struct gd_packet, seq) == 40, "gd_packet.seq");
static_assert(offsetof(struct gd_packet, open) == 64, "gd_packet.open");
static_assert(sizeof(struct gd_ask) == 24, "gd_ask");
static_assert(offsetof(struct gd_control, fly) == 12, "gd_control.fly");
static_assert(offsetof(struct gd_control, fly_granted) == 208, "gd_control.fly_granted");
static_assert(sizeof(struct gd_saved) == 2560, "gd_saved");
static_assert(offsetof(struct gd_flight, tail) == 16, "gd_flight.tail");
static_assert(offsetof(struct gd_flight, header) == 72, "gd_flight.header");
static_assert(offsetof(struct gd_flight, packet) == 2048, "gd_flight.packet");
static_assert(sizeof(struct gd_flight) <= 2 * GD_PAGE, "gd_flight");
static_assert(sizeof(struct gd_chunk) == 40, "gd_chunk");
static_assert(GD_OFF_FLIGHT + sizeof(struct gd_flight) <= GD_OFF_FILTERS, "flight fits");
static_assert(sizeof(struct gd_count_key) == 64, "gd_count_key");
static_assert(sizeof(struct gd_session) == 56, "gd_session");
static_assert(GD_OFF_CLASSES + GD_CLASSES_FIRST * sizeof(struct gd_class) <= GD_OFF_CONTROL, "classes fit");
static_assert(GD_OFF_CLASSES_MORE + (GD_CLASSES - GD_CLASSES_FIRST) * sizeof(struct gd_class) <= GD_OFF_DATA, "more classes fit");
static_assert(GD_CLASSES <= GD_EVENT_ID_MASK + 1 && GD_COUNTERS == (GD_PACKET - GD_PACKET_HEADER) / 8, "ids and counters fit");
static_assert(GD_OFF_CONTROL + sizeof(struct gd_control) <= GD_OFF_CHANNELS, "control fits");
static_assert(GD_OFF_CHANNELS + GD_CHANNELS * sizeof(struct gd_channel) <= GD_OFF_FLIGHT, "channels fit");

#endif
