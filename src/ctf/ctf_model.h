/* Trace classes in memory: what metadata says, CTF 1.8 or CTF 2. One model between all who read and write them:
 *
 *   class descriptions (region) ─┐                          ┌─► TSDL text     ctf_tsdl_put.c
 *   TSDL text     ctf_tsdl.c    ─┼─► struct ctf_trace_class ─┼─► CTF 2 JSON    ctf_json_put.c
 *   CTF 2 JSON    ctf_json.c    ─┘                          └─► layouts       ctf_layout.c (for decoding)
 *
 * Everything lives in an arena with a bound, so that hostile metadata cannot take more than that. Each field class
 * stands once in the tree (shared ones are copied at use), so that it can carry its place. */
#ifndef GANDER_CTF_CTF_MODEL_H
#define GANDER_CTF_CTF_MODEL_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTF_MAGIC 0xc1fc1fc1u

/* Memory that is freed all at once. A failure sticks, as in struct buf. */
struct ctf_arena {
	struct ctf_chunk *chunk;
	size_t used, limit;
	bool failed;
};

void ctf_arena_init(struct ctf_arena *a, size_t limit);
void ctf_arena_done(struct ctf_arena *a);
void *ctf_alloc(struct ctf_arena *a, size_t size); /* zeroed, 8-aligned; NULL: failed */
char *ctf_strndup(struct ctf_arena *a, const char *s, size_t len);

enum ctf_kind {
	CTF_INT,    /* fixed length, 1 to 64 bits; with mappings an enumeration; CTF 2's booleans and bit arrays too */
	CTF_VARINT, /* LEB128 (CTF 2) */
	CTF_FLOAT,  /* 32 or 64 bits */
	CTF_STRING, /* up to a NUL */
	CTF_TEXT,   /* bytes of text, `count` or as many as `target` says */
	CTF_BLOB,   /* the same without meaning */
	CTF_STRUCT,
	CTF_ARRAY, /* `count` times, or as often as `target` says, the child */
	CTF_VARIANT,
	CTF_OPTIONAL, /* the child if `target` is in `ranges`, or not 0 when there are none (CTF 2) */
};

enum ctf_scope {
	CTF_PACKET_HEADER,
	CTF_PACKET_CONTEXT,
	CTF_EVENT_HEADER,
	CTF_COMMON_CONTEXT,
	CTF_SPECIFIC_CONTEXT,
	CTF_PAYLOAD,
	CTF_SCOPES
};
extern const char *const ctf_scope_names[CTF_SCOPES]; /* CTF 2's */

/* What a field means to the reader. */
enum ctf_role {
	CTF_ROLE_NONE,
	CTF_ROLE_MAGIC,
	CTF_ROLE_UUID,
	CTF_ROLE_STREAM_CLASS_ID,
	CTF_ROLE_STREAM_ID,
	CTF_ROLE_TOTAL_LENGTH, /* bits */
	CTF_ROLE_CONTENT_LENGTH,
	CTF_ROLE_TIME,
	CTF_ROLE_END_TIME,
	CTF_ROLE_DISCARDED,
	CTF_ROLE_SEQUENCE,
	CTF_ROLE_EVENT_ID,
};

/* How people want to see it. Comments in TSDL, attributes in CTF 2 (docs/ctf.md, "hints"). */
#define CTF_HINT_BOOL     1u
#define CTF_HINT_DURATION 2u  /* integer nanoseconds */
#define CTF_HINT_TIME     4u  /* integer nanoseconds since 1970 */
#define CTF_HINT_ATTRS    8u  /* array of struct { key; tag; value } */
#define CTF_HINT_WRAP     16u /* struct around what cannot be an element by itself: length and value */
#define CTF_HINT_LENGTH   32u /* only says how long its neighbour is */

/* Unsigned numbers as they are, signed ones as two's complement: which, says the integer. Ordered as that says. */
struct ctf_range {
	uint64_t low, high;
};

struct ctf_mapping {
	const char *label;
	struct ctf_range *range;
	uint32_t nranges;
	struct ctf_mapping *next;
};

/* Where a length or tag is looked for, until ctf_meta.c has found it. */
struct ctf_loc {
	int origin; /* enum ctf_scope, or -1: from where it is used, outwards */
	bool ctf2;  /* relative paths begin in the struct around, NULL is one further out; else: any struct around */
	uint32_t n;
	const char *elem[];
};

struct ctf_fc {
	uint8_t kind, bits, base; /* base: 2, 8, 10, 16 */
	bool is_signed, big_endian;
	bool native;   /* byte order is the trace's: until ctf_meta.c */
	bool bits_msb; /* CTF 2: bit order */
	bool encoded;  /* an integer that is a character */
	uint8_t role, hint, scope;
	uint8_t clock;                        /* 1: updates the stream's clock */
	bool has_target;                      /* count is dynamic */
	uint32_t align;                       /* bits, a power of two */
	const char *name;                     /* as a member or option: what people see; NULL for an element */
	const char *raw;                      /* TSDL's identifier; NULL: as `name` */
	struct ctf_fc *parent, *next, *child; /* members, options, or the element */
	uint32_t nchildren;
	uint64_t count;
	const struct ctf_loc *loc;
	struct ctf_fc *target;   /* whose value says the length or the option; stands before this in the same or an earlier scope */
	struct ctf_mapping *map; /* enumeration */
	struct ctf_range *range; /* as an option, or of an optional: the values of the selector that choose it */
	uint32_t nranges;
	int32_t reg;   /* ctf_layout.c: where its value is kept, + 1 */
	uint32_t flat; /* ctf_layout.c: number of its field, + 1 */
};

enum ctf_span { CTF_SPAN_NONE,
		CTF_SPAN_BEGIN,
		CTF_SPAN_END };

struct ctf_event_class {
	uint64_t id;
	const char *name;
	int level;                        /* as in the metadata; -1: not given */
	uint8_t span;                     /* enum ctf_span */
	struct ctf_fc *context, *payload; /* structs, or NULL */
	struct ctf_event_class *next;
	struct ctf_stream_class *stream;
	void *layout;    /* ctf_layout.c */
	uint32_t number; /* over the whole trace, from 0 */
};

struct ctf_clock {
	const char *name, *description;
	uint8_t uuid[16];
	bool has_uuid, absolute;
	uint64_t freq, precision;
	int64_t offset_s;
	uint64_t offset; /* cycles; kept below freq */
	struct ctf_clock *next;
};

struct ctf_stream_class {
	uint64_t id;
	struct ctf_fc *packet_context, *event_header, *common_context; /* structs, or NULL */
	struct ctf_clock *clock;
	struct ctf_event_class *event, **last;
	uint32_t nevents;
	bool cut_bit; /* bit 15 of the event says that the event was cut */
	struct ctf_stream_class *next;
	void *layout;
};

struct ctf_env {
	const char *name;
	const char *text; /* NULL: a number */
	int64_t number;
	struct ctf_env *next;
};

struct ctf_trace_class {
	struct ctf_arena arena;
	int major, minor;
	bool big_endian; /* packets begin with this order; in CTF 2 the magic number's */
	uint8_t uuid[16];
	bool has_uuid;
	struct ctf_fc *packet_header;
	struct ctf_clock *clock;
	struct ctf_env *env, **last_env;
	struct ctf_stream_class *stream, **last_stream;
	uint32_t nevents; /* over all streams */
	uint32_t nregs;   /* ctf_layout.c */
	bool has_cut;
	unsigned refs; /* ctf_read.c */
};

struct ctf_fc *ctf_fc_new(struct ctf_arena *a, enum ctf_kind kind);
struct ctf_fc *ctf_fc_int(struct ctf_arena *a, unsigned bits, bool is_signed); /* little-endian, byte-aligned */
/* Appends to a struct, array, variant; sets the parent. Any NULL: nothing. Returns child. */
struct ctf_fc *ctf_fc_add(struct ctf_fc *parent, struct ctf_fc *child, const char *name);
uint32_t ctf_fc_align(const struct ctf_fc *fc); /* with what it holds */

/* Gives what came from CTF 2 the identifiers that TSDL needs: roles their names, all others their own name made to fit. -ENOMEM. */
int ctf_model_identifiers(struct ctf_trace_class *t);

/* Model <- description (src/region/desc.h, checked by gd_desc_parse() before) and context mask. */
struct ctf_fc *ctf_model_payload(struct ctf_arena *a, const void *desc, size_t len, struct ctf_event_class *ec);
struct ctf_fc *ctf_model_context(struct ctf_arena *a, uint32_t mask);
struct ctf_fc *ctf_model_packet_header(struct ctf_arena *a);
struct ctf_fc *ctf_model_packet_context(struct ctf_arena *a, bool process, bool cpu);
struct ctf_fc *ctf_model_kernel_context(struct ctf_arena *a); /* i32 tid, pid */
struct ctf_fc *ctf_model_event_header(struct ctf_arena *a);

/* Text <- model. What TSDL cannot say (optional fields, LEB128) is -ENOTSUP from ctf_tsdl_can(). */
int ctf_tsdl_can(const struct ctf_fc *fc);
void ctf_tsdl_trace(struct buf *b, const struct ctf_trace_class *t); /* all but streams and events: goes first */
void ctf_tsdl_stream(struct buf *b, const struct ctf_stream_class *s);
void ctf_tsdl_event(struct buf *b, const struct ctf_event_class *e, uint64_t stream_id);
void ctf_json_trace(struct buf *b, const struct ctf_trace_class *t);
void ctf_json_stream(struct buf *b, const struct ctf_stream_class *s);
void ctf_json_event(struct buf *b, const struct ctf_event_class *e, uint64_t stream_id);

/* Model <- text: ctf_meta.c finds out which it is (plain TSDL, TSDL in packets as LTTng writes it, CTF 2), has it parsed, and finds
 * what lengths and tags refer to. */
#define CTF_META_MAX (256u << 20) /* bytes of metadata, and of the model that it makes */
#define CTF_DEPTH    32           /* types in types */
int ctf_meta_parse(struct ctf_trace_class **ret, const void *data, size_t len, struct err *err);
void ctf_trace_class_free(struct ctf_trace_class *t);
int ctf_tsdl_parse(struct ctf_trace_class *t, const char *text, size_t len, struct err *err);
int ctf_json_parse(struct ctf_trace_class *t, const char *text, size_t len, struct err *err);
struct ctf_fc *ctf_fc_clone(struct ctf_arena *a, const struct ctf_fc *fc);             /* without its siblings */
struct ctf_stream_class *ctf_stream_class_add(struct ctf_trace_class *t, uint64_t id); /* NULL: memory */
struct ctf_stream_class *ctf_stream_class_find(const struct ctf_trace_class *t, uint64_t id);
struct ctf_event_class *ctf_event_class_add(struct ctf_trace_class *t, struct ctf_stream_class *s, uint64_t id);

#endif
