/* gander.h: events from C and C++, for gander(1).
 *
 *     #include <gander/gander.h>
 *
 *     GANDER_EVENT(on_request, "shop.request", GANDER_INFO,
 *                  (i32, status), (u64, bytes), (str, path))
 *
 *     on_request(200, 5120, "/cart");        // off: a load and a branch; on: about ten nanoseconds more than reading the counter
 *     if (on_request_enabled()) ...          // for payload that is dear to make
 *
 * Link with -lgander (pkg-config gander). Nothing has to be initialized, started or shut down: events are switched on from
 * outside, by `gander record`. What this library does in your process: one file in /dev/shm, mapped, its descriptor closed. No thread, no
 * signal handler, no open descriptor, no call to malloc; after the constructor no system call where an event is emitted.
 *
 * Thread-safety: everything here may be called from any thread. Emitting (events, spans, commits) may also be called from
 * signal handlers; declaring and gander_logf() may not. Between vfork() and exec nothing here may be called.
 * Errors: nothing here fails loudly. What could not be set up or recorded is counted, and seen by `gander list` and `gander report`.
 * errno is kept.
 *
 * C11 and C++17, GCC or Clang. */
#ifndef GANDER_GANDER_H
#define GANDER_GANDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#pragma GCC system_header /* the macros use GNU extensions that -Wpedantic dislikes */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments" /* an event without fields */
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* syslog's levels: `gander record --level warning` takes this one and the more severe ones */
enum gander_level {
	GANDER_EMERGENCY,
	GANDER_ALERT,
	GANDER_CRITICAL,
	GANDER_ERROR,
	GANDER_WARNING,
	GANDER_NOTICE,
	GANDER_INFO,
	GANDER_DEBUG
};

/* Field types. On the wire they are little-endian and packed. */
enum gander_type {
	GANDER_T_U8 = 1,
	GANDER_T_U16,
	GANDER_T_U32,
	GANDER_T_U64,
	GANDER_T_I8,
	GANDER_T_I16,
	GANDER_T_I32,
	GANDER_T_I64,
	GANDER_T_F32,
	GANDER_T_F64,
	GANDER_T_BOOL,
	GANDER_T_ENUM,
	GANDER_T_STRING,
	GANDER_T_BYTES,
	GANDER_T_ARRAY,
	GANDER_T_SEQUENCE,
	GANDER_T_STRUCT
};

#define GANDER_HEX      1 /* field flag: shown in hexadecimal */
#define GANDER_DURATION 2 /* field flag: nanoseconds */

struct gander_label { /* one value, or a range of values, of an enum */
	const char *name;
	int64_t low, high;
};

/* A field of a class. Strings and tables must stay valid during the call that gets them, no longer. */
struct gander_field {
	const char *name; /* 1 to 127 bytes */
	uint8_t type;     /* GANDER_T_ */
	uint8_t flags;
	uint8_t element; /* array, sequence: type of the elements; enum: the integer type that carries it */
	uint8_t nsub;    /* struct, or array or sequence of structs: number of fields in `sub` */
	uint32_t count;  /* array: elements; enum: labels */
	const struct gander_field *sub;
	const struct gander_label *labels;
};

struct gander_event; /* a class, as the program holds it */

/* ------------------------------------------------------------------ events known when the program is compiled */

/* GANDER_EVENT(function, "event.name", level, (type, name) ...): defines static inline functions
 *     void function(arguments, one or two a field);
 *     bool function_enabled(void);
 * At most 16 fields. May stand in a header. Types, and the arguments that they make:
 *     u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 boolean   the value
 *     hex32 hex64                                     the value, shown in hexadecimal
 *     duration                                        int64_t nanoseconds
 *     str                                             const char *, NUL-terminated; NULL is written as ""
 *     text                                            const char *, size_t length: need not end in NUL
 *     bytes                                           const void *, size_t length
 *     seq_u8 ... seq_f64                              const T *, size_t count
 *     (arr_u8 ... arr_f64, name, n)                   const T *, always n elements
 *     (enumeration, name, labels)                     int; labels: an array of struct gander_label, static
 *     (record, name, S)                               const struct S *, S by GANDER_STRUCT
 *     (seq_record, name, S)                           const struct S *, size_t count
 * Fields longer than 65535 bytes or elements, and events longer than 60000 bytes, are cut, marked and counted. */
#define GANDER_EVENT(function, event_name, level, ...) \
	GANDER__CLASS(function, event_name, level, 0, __VA_ARGS__) \
	static inline __attribute__((unused)) bool function##_enabled(void) \
	{ \
		return *gander__ev_##function.enabled; \
	} \
	static inline __attribute__((unused)) void function(GANDER__ARGS(__VA_ARGS__)) \
	{ \
		if (__builtin_expect(*gander__ev_##function.enabled, 0)) { \
			GANDER__PACK(__VA_ARGS__) \
			GANDER__EMIT(gander__ev_##function) \
		} \
	}

/* GANDER_STRUCT(S, (type, name) ...): a struct S for the types record and seq_record; number types only. */
#define GANDER_STRUCT(S, ...) \
	struct S { \
		GANDER__EACH(GANDER__MEMBER, __VA_ARGS__) \
	} __attribute__((packed)); \
	static const struct gander_field gander__fields_struct_##S[] __attribute__((unused)) = { GANDER__EACH(GANDER__FIELD, \
													      __VA_ARGS__) };

/* ------------------------------------------------------------------ spans */

struct gander_span {
	uint64_t id;     /* 0: nobody was recording when it began */
	uint64_t parent; /* 0: none */
	uint64_t start;  /* counter */
	uint64_t outer;  /* the thread's span before this one */
};

/* GANDER_SPAN(name, "event.name", level, GANDER_FIELDS(of the begin), GANDER_FIELDS(of the end)): defines
 *     struct gander_span name_begin(begin arguments);
 *     void name_end(struct gander_span *span, end arguments);
 * Events are event.name.begin (span_id, parent_id, ...) and event.name.end (span_id, duration, ...). The new span's parent is the thread's
 * innermost span; it is that until it ends. A span may end on another thread. */
#define GANDER_FIELDS(...) (__VA_ARGS__)
#define GANDER_SPAN(name, event_name, level, begin_fields, end_fields) \
	GANDER__SPAN_CLASSES(name, event_name, level, GANDER__BEGIN_FIELDS begin_fields, GANDER__END_FIELDS end_fields) \
	static inline __attribute__((unused)) struct gander_span name##_begin(GANDER__ARGS begin_fields) \
	{ \
		struct gander_span span = { 0, 0, 0, 0 }; \
\
		if (__builtin_expect(*gander__ev_##name##_begin.enabled | *gander__ev_##name##_end.enabled, 0)) { \
			gander__span_open(&span); \
			if (*gander__ev_##name##_begin.enabled) { \
				uint64_t span_id = span.id, parent_id = span.parent; \
				GANDER__PACK_LIST(GANDER__BEGIN_FIELDS begin_fields) \
				GANDER__EMIT(gander__ev_##name##_begin) \
			} \
		} \
		return span; \
	} \
	static inline __attribute__((unused)) void name##_end(GANDER__SPAN_ARGS end_fields) \
	{ \
		if (__builtin_expect(span->id != 0, 0)) { \
			uint64_t span_id = span->id; \
			uint64_t duration = gander__span_close(span); \
			if (*gander__ev_##name##_end.enabled) { \
				GANDER__PACK_LIST(GANDER__END_FIELDS end_fields) \
				GANDER__EMIT(gander__ev_##name##_end) \
			} \
		} \
	}
#define GANDER__BEGIN_FIELDS(...) ((hex64, span_id), (hex64, parent_id)__VA_OPT__(, ) __VA_ARGS__)
#define GANDER__END_FIELDS(...)   ((hex64, span_id), (span_duration, duration)__VA_OPT__(, ) __VA_ARGS__)
#define GANDER__SPAN_ARGS(...)    struct gander_span *span __VA_OPT__(, GANDER__ARGS(__VA_ARGS__))
#define GANDER__PACK_LIST(list)   GANDER__PACK_LIST_(list)
#define GANDER__PACK_LIST_(list)  GANDER__PACK list
#define GANDER__SPAN_CLASSES(name, event_name, level, begin, end) \
	GANDER__CLASS_LIST(name##_begin, event_name ".begin", level, 1, begin) \
	GANDER__CLASS_LIST(name##_end, event_name ".end", level, 2, end)
#define GANDER__CLASS_LIST(function, event_name, level, kind, list) \
	GANDER__CLASS_LIST_(function, event_name, level, kind, GANDER__UNPAREN list)
#define GANDER__CLASS_LIST_(...) GANDER__CLASS(__VA_ARGS__)
#define GANDER__UNPAREN(...)     __VA_ARGS__

/* The calling thread's innermost span, 0: none. Set it where work arrives from another thread or process. */
uint64_t gander_current_span(void);
void gander_set_current_span(uint64_t id);

/* ------------------------------------------------------------------ one-line messages */

/* printf into an event of class "log" (message, file, line), at most 511 bytes. Costs a vsnprintf when on, a load and a branch when off. */
#define gander_logf(level, ...) \
	do { \
		if (__builtin_expect(*gander__log_word(level), 0)) \
			gander__logf(level, __FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

/* ------------------------------------------------------------------ classes declared when the program runs */

/* For other languages' runtimes. Declares a class, or finds the identical one that was declared before; never NULL (a class that could
 * not be declared is never enabled). The result lives as long as the process, in 1 MiB that
 * all such classes share: each takes its description and 48 bytes.
 * kind: 0 event, 1 span begin, 2 span end (the span fields are the caller's to declare and put). */
const struct gander_event *gander_declare(const char *name, enum gander_level level, unsigned kind,
					  const struct gander_field *fields, unsigned nfields);
static inline bool gander_enabled(const struct gander_event *event);

/* Builds one event in the caller's memory: begin, one put for each field in order, commit. Nothing is visible, and nothing is held, before the commit.
 * What does not fit into `size` is cut, and the event marked. The buffer may be reused after the commit. Structs are put field by
 * field; arrays element by element or with gander_put_raw(); sequences by gander_put_count(), then the elements. */
struct gander_builder {
	const struct gander_event *event;
	unsigned char *buf;
	uint32_t size, len;
	bool cut;
};
void gander_begin(struct gander_builder *b, const struct gander_event *event, void *buf, uint32_t size);
void gander_put_u8(struct gander_builder *b, uint8_t v);
void gander_put_u16(struct gander_builder *b, uint16_t v);
void gander_put_u32(struct gander_builder *b, uint32_t v);
void gander_put_u64(struct gander_builder *b, uint64_t v);
void gander_put_f32(struct gander_builder *b, float v);
void gander_put_f64(struct gander_builder *b, double v);
void gander_put_string(struct gander_builder *b, const char *s, size_t len);
void gander_put_bytes(struct gander_builder *b, const void *p, size_t len);
void gander_put_count(struct gander_builder *b, uint16_t elements);       /* then so many elements */
void gander_put_raw(struct gander_builder *b, const void *p, size_t len); /* bytes as they are on the wire */
void gander_commit(struct gander_builder *b);

/* ------------------------------------------------------------------ context */

/* A number of the program's own that `record --context key` adds to each event of the calling thread. */
void gander_set_key(uint64_t key);

/* Why this process cannot be traced; NULL when it can. */
const char *gander_off_reason(void);

/* The library's version. */
const char *gander_version(void);

/* ------------------------------------------------------------------ below: what the macros are made of, not an interface */

struct gander_event {
	const uint32_t *enabled; /* in the region, or at a zero */
	uint32_t id;
	uint32_t state; /* 0 not registered */
	const struct gander__spec *spec;
};

struct gander__spec {
	const char *name;
	uint8_t level, kind, nfields;
	const struct gander_field *fields;
};

struct gander__piece {
	const void *data;
	uint32_t len;
	uint32_t elem; /* 0: fixed part; else element size of a variable field: its u16 count ends the piece before */
};

static inline bool gander_enabled(const struct gander_event *event)
{
	return *event->enabled;
}

void gander__register(struct gander_event *const *first, struct gander_event *const *end);
void gander__emit_words(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3);
void gander__emit_pieces(const struct gander_event *ev, const struct gander__piece *piece, uint32_t npieces);
void gander__span_open(struct gander_span *span);
uint64_t gander__span_close(struct gander_span *span);
const uint32_t *gander__log_word(unsigned level);
void gander__logf(unsigned level, const char *file, unsigned line, const char *fmt, ...) __attribute__((format(printf, 4, 5), cold));

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

/* A build of one event. `words` and all sizes are constants where it is used, so the compiler keeps small events in registers. */
struct gander__build {
	uint64_t w[5];
	uint32_t off;  /* bytes of fixed parts so far */
	uint32_t mark; /* where the current fixed piece began */
	uint32_t n;    /* finished pieces */
	bool words;
	unsigned char *fixed;
	struct gander__piece *piece;
};

static inline __attribute__((always_inline, unused)) void gander__fix(struct gander__build *b, uint64_t v, unsigned size)
{
	if (b->words) {
		unsigned i = b->off / 8, s = b->off % 8 * 8;

		b->w[i] |= v << s;
		if (s + size * 8 > 64)
			b->w[i + 1] |= v >> (64 - s);
	} else {
		memcpy(b->fixed + b->off, &v, size);
	}
	b->off += size;
}

static inline __attribute__((always_inline, unused)) void gander__close_fixed(struct gander__build *b)
{
	b->piece[b->n].data = b->fixed + b->mark;
	b->piece[b->n].len = b->off - b->mark;
	b->piece[b->n++].elem = 0;
	b->mark = b->off;
}

static inline __attribute__((always_inline, unused)) void gander__var(struct gander__build *b, const void *p, size_t count, unsigned elem)
{
	if (count > 65535)
		count = 65535;
	gander__fix(b, count, 2);
	gander__close_fixed(b);
	b->piece[b->n].data = p;
	b->piece[b->n].len = (uint32_t)count * elem;
	b->piece[b->n++].elem = elem;
}

static inline __attribute__((always_inline, unused)) void gander__ext(struct gander__build *b, const void *p, size_t len)
{
	gander__close_fixed(b);
	b->piece[b->n].data = p;
	b->piece[b->n].len = (uint32_t)len;
	b->piece[b->n++].elem = 0;
}

static inline __attribute__((always_inline, unused)) uint64_t gander__bits32(float v)
{
	uint32_t u;

	memcpy(&u, &v, 4);
	return u;
}

static inline __attribute__((always_inline, unused)) uint64_t gander__bits64(double v)
{
	uint64_t u;

	memcpy(&u, &v, 8);
	return u;
}

static const uint32_t gander__never __attribute__((unused)) = 0;

extern struct gander_event *const __start_gander_events[] __attribute__((weak, visibility("hidden")));
extern struct gander_event *const __stop_gander_events[] __attribute__((weak, visibility("hidden")));

/* Each object of the program registers its own events, once. */
static __attribute__((constructor(200), unused)) void gander__register_object(void)
{
	if (__start_gander_events != __stop_gander_events)
		gander__register(__start_gander_events, __stop_gander_events);
}

#define GANDER__CLASS(function, event_name, level, kind, ...) \
	static const struct gander_field gander__fields_##function[] = { GANDER__EACH(GANDER__FIELD, __VA_ARGS__) { 0, 0, 0, 0, 0, 0, 0, 0 } }; \
	static const struct gander__spec gander__spec_##function = { event_name, level, kind, GANDER__COUNT(__VA_ARGS__), \
								     gander__fields_##function }; \
	static struct gander_event gander__ev_##function = { &gander__never, 0, 0, &gander__spec_##function }; \
	static struct gander_event *const gander__in_##function __attribute__((section("gander_events"), used)) = &gander__ev_##function;

#define GANDER__PACK(...) \
	enum { gander__size = 0 GANDER__EACH(GANDER__SIZE, __VA_ARGS__), \
	       gander__pieces = 1 GANDER__EACH(GANDER__PIECES, __VA_ARGS__) }; \
	unsigned char gander__fixed[gander__size + 1]; \
	struct gander__piece gander__piece[gander__pieces]; \
	struct gander__build gander__b = { { 0, 0, 0, 0, 0 }, 0, 0, 0, gander__pieces == 1 && gander__size <= 32, gander__fixed, gander__piece }; \
	GANDER__EACH(GANDER__PUT, __VA_ARGS__)

#define GANDER__EMIT(ev) \
	if (gander__b.words) { \
		gander__emit_words(&ev, gander__size, gander__b.w[0], gander__b.w[1], gander__b.w[2], gander__b.w[3]); \
	} else { \
		gander__close_fixed(&gander__b); \
		gander__emit_pieces(&ev, gander__piece, gander__b.n); \
	}

/* Fields: (type, name[, more]). Each kind of use is one macro a type. */
#define GANDER__MEMBER(t)     GANDER__M t
#define GANDER__M(type, name) GANDER__C_##type name;
#define GANDER__FIELD(t)      GANDER__F t,
#define GANDER__F(type, ...)  GANDER__F_##type(__VA_ARGS__)
#define GANDER__SIZE(t)       +GANDER__S t
#define GANDER__S(type, ...)  GANDER__S_##type(__VA_ARGS__)
#define GANDER__PIECES(t)     +GANDER__N t
#define GANDER__N(type, ...)  GANDER__N_##type
#define GANDER__PUT(t)        GANDER__K t;
#define GANDER__K(type, ...)  GANDER__K_##type(__VA_ARGS__)
#define GANDER__ARG(t)        GANDER__A t
#define GANDER__A(type, ...)  GANDER__A_##type(__VA_ARGS__)

/* numbers */
#define GANDER__C_u8 uint8_t
#define GANDER__F_u8(name) \
	{ \
#name, GANDER_T_U8, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_u8(name) 1
#define GANDER__N_u8       0
#define GANDER__K_u8(name) gander__fix(&gander__b, (uint8_t)name, 1)
#define GANDER__A_u8(name) uint8_t name
#define GANDER__C_u16      uint16_t
#define GANDER__F_u16(name) \
	{ \
#name, GANDER_T_U16, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_u16(name) 2
#define GANDER__N_u16       0
#define GANDER__K_u16(name) gander__fix(&gander__b, (uint16_t)name, 2)
#define GANDER__A_u16(name) uint16_t name
#define GANDER__C_u32       uint32_t
#define GANDER__F_u32(name) \
	{ \
#name, GANDER_T_U32, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_u32(name) 4
#define GANDER__N_u32       0
#define GANDER__K_u32(name) gander__fix(&gander__b, (uint32_t)name, 4)
#define GANDER__A_u32(name) uint32_t name
#define GANDER__C_u64       uint64_t
#define GANDER__F_u64(name) \
	{ \
#name, GANDER_T_U64, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_u64(name) 8
#define GANDER__N_u64       0
#define GANDER__K_u64(name) gander__fix(&gander__b, (uint64_t)name, 8)
#define GANDER__A_u64(name) uint64_t name
#define GANDER__C_i8        int8_t
#define GANDER__F_i8(name) \
	{ \
#name, GANDER_T_I8, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_i8(name) 1
#define GANDER__N_i8       0
#define GANDER__K_i8(name) gander__fix(&gander__b, (uint8_t)name, 1)
#define GANDER__A_i8(name) int8_t name
#define GANDER__C_i16      int16_t
#define GANDER__F_i16(name) \
	{ \
#name, GANDER_T_I16, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_i16(name) 2
#define GANDER__N_i16       0
#define GANDER__K_i16(name) gander__fix(&gander__b, (uint16_t)name, 2)
#define GANDER__A_i16(name) int16_t name
#define GANDER__C_i32       int32_t
#define GANDER__F_i32(name) \
	{ \
#name, GANDER_T_I32, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_i32(name) 4
#define GANDER__N_i32       0
#define GANDER__K_i32(name) gander__fix(&gander__b, (uint32_t)name, 4)
#define GANDER__A_i32(name) int32_t name
#define GANDER__C_i64       int64_t
#define GANDER__F_i64(name) \
	{ \
#name, GANDER_T_I64, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_i64(name) 8
#define GANDER__N_i64       0
#define GANDER__K_i64(name) gander__fix(&gander__b, (uint64_t)name, 8)
#define GANDER__A_i64(name) int64_t name
#define GANDER__C_f32       float
#define GANDER__F_f32(name) \
	{ \
#name, GANDER_T_F32, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_f32(name) 4
#define GANDER__N_f32       0
#define GANDER__K_f32(name) gander__fix(&gander__b, gander__bits32(name), 4)
#define GANDER__A_f32(name) float name
#define GANDER__C_f64       double
#define GANDER__F_f64(name) \
	{ \
#name, GANDER_T_F64, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_f64(name) 8
#define GANDER__N_f64       0
#define GANDER__K_f64(name) gander__fix(&gander__b, gander__bits64(name), 8)
#define GANDER__A_f64(name) double name
#define GANDER__C_boolean   bool
#define GANDER__F_boolean(name) \
	{ \
#name, GANDER_T_BOOL, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_boolean(name) 1
#define GANDER__N_boolean       0
#define GANDER__K_boolean(name) gander__fix(&gander__b, (name) ? 1 : 0, 1)
#define GANDER__A_boolean(name) bool name
#define GANDER__C_hex32         uint32_t
#define GANDER__F_hex32(name) \
	{ \
#name, GANDER_T_U32, GANDER_HEX, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_hex32(name) 4
#define GANDER__N_hex32       0
#define GANDER__K_hex32(name) gander__fix(&gander__b, name, 4)
#define GANDER__A_hex32(name) uint32_t name
#define GANDER__C_hex64       uint64_t
#define GANDER__F_hex64(name) \
	{ \
#name, GANDER_T_U64, GANDER_HEX, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_hex64(name) 8
#define GANDER__N_hex64       0
#define GANDER__K_hex64(name) gander__fix(&gander__b, name, 8)
#define GANDER__A_hex64(name) uint64_t name
#define GANDER__C_duration    int64_t
#define GANDER__F_duration(name) \
	{ \
#name, GANDER_T_I64, GANDER_DURATION, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_duration(name) 8
#define GANDER__N_duration       0
#define GANDER__K_duration(name) gander__fix(&gander__b, (uint64_t)name, 8)
#define GANDER__A_duration(name) int64_t name
#define GANDER__C_span_duration  uint64_t
#define GANDER__F_span_duration(name) \
	{ \
#name, GANDER_T_U64, GANDER_DURATION, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_span_duration(name) 8
#define GANDER__N_span_duration       0
#define GANDER__K_span_duration(name) gander__fix(&gander__b, name, 8)
#define GANDER__A_span_duration(name) uint64_t name
#define GANDER__F_enumeration(name, table) \
	{ \
#name, GANDER_T_ENUM, 0, GANDER_T_I32, 0, sizeof(table) / sizeof((table)[0]), 0, table \
	}
#define GANDER__S_enumeration(name, table) 4
#define GANDER__N_enumeration              0
#define GANDER__K_enumeration(name, table) gander__fix(&gander__b, (uint32_t)name, 4)
#define GANDER__A_enumeration(name, table) int name

/* variable fields: a u16 count in the fixed part, then the caller's memory */
#define GANDER__F_str(name) \
	{ \
#name, GANDER_T_STRING, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_str(name) 2
#define GANDER__N_str       2
#define GANDER__K_str(name) gander__var(&gander__b, (name) ? (name) : "", (name) ? strlen(name) : 0, 1)
#define GANDER__A_str(name) const char *name
#define GANDER__F_text(name) \
	{ \
#name, GANDER_T_STRING, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_text(name) 2
#define GANDER__N_text       2
#define GANDER__K_text(name) gander__var(&gander__b, name, name##_len, 1)
#define GANDER__A_text(name) const char *name, size_t name##_len
#define GANDER__F_bytes(name) \
	{ \
#name, GANDER_T_BYTES, 0, 0, 0, 0, 0, 0 \
	}
#define GANDER__S_bytes(name) 2
#define GANDER__N_bytes       2
#define GANDER__K_bytes(name) gander__var(&gander__b, name, name##_len, 1)
#define GANDER__A_bytes(name) const void *name, size_t name##_len
#define GANDER__F_seq_u8(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_U8, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_u8(name) 2
#define GANDER__N_seq_u8       2
#define GANDER__K_seq_u8(name) gander__var(&gander__b, name, name##_count, 1)
#define GANDER__A_seq_u8(name) const uint8_t *name, size_t name##_count
#define GANDER__F_arr_u8(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_U8, 0, n, 0, 0 \
	}
#define GANDER__S_arr_u8(name, n) 0
#define GANDER__N_arr_u8          2
#define GANDER__K_arr_u8(name, n) gander__ext(&gander__b, name, (n) * sizeof(uint8_t))
#define GANDER__A_arr_u8(name, n) const uint8_t *name
#define GANDER__F_seq_u16(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_U16, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_u16(name) 2
#define GANDER__N_seq_u16       2
#define GANDER__K_seq_u16(name) gander__var(&gander__b, name, name##_count, 2)
#define GANDER__A_seq_u16(name) const uint16_t *name, size_t name##_count
#define GANDER__F_arr_u16(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_U16, 0, n, 0, 0 \
	}
#define GANDER__S_arr_u16(name, n) 0
#define GANDER__N_arr_u16          2
#define GANDER__K_arr_u16(name, n) gander__ext(&gander__b, name, (n) * sizeof(uint16_t))
#define GANDER__A_arr_u16(name, n) const uint16_t *name
#define GANDER__F_seq_u32(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_U32, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_u32(name) 2
#define GANDER__N_seq_u32       2
#define GANDER__K_seq_u32(name) gander__var(&gander__b, name, name##_count, 4)
#define GANDER__A_seq_u32(name) const uint32_t *name, size_t name##_count
#define GANDER__F_arr_u32(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_U32, 0, n, 0, 0 \
	}
#define GANDER__S_arr_u32(name, n) 0
#define GANDER__N_arr_u32          2
#define GANDER__K_arr_u32(name, n) gander__ext(&gander__b, name, (n) * sizeof(uint32_t))
#define GANDER__A_arr_u32(name, n) const uint32_t *name
#define GANDER__F_seq_u64(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_U64, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_u64(name) 2
#define GANDER__N_seq_u64       2
#define GANDER__K_seq_u64(name) gander__var(&gander__b, name, name##_count, 8)
#define GANDER__A_seq_u64(name) const uint64_t *name, size_t name##_count
#define GANDER__F_arr_u64(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_U64, 0, n, 0, 0 \
	}
#define GANDER__S_arr_u64(name, n) 0
#define GANDER__N_arr_u64          2
#define GANDER__K_arr_u64(name, n) gander__ext(&gander__b, name, (n) * sizeof(uint64_t))
#define GANDER__A_arr_u64(name, n) const uint64_t *name
#define GANDER__F_seq_i8(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_I8, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_i8(name) 2
#define GANDER__N_seq_i8       2
#define GANDER__K_seq_i8(name) gander__var(&gander__b, name, name##_count, 1)
#define GANDER__A_seq_i8(name) const int8_t *name, size_t name##_count
#define GANDER__F_arr_i8(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_I8, 0, n, 0, 0 \
	}
#define GANDER__S_arr_i8(name, n) 0
#define GANDER__N_arr_i8          2
#define GANDER__K_arr_i8(name, n) gander__ext(&gander__b, name, (n) * sizeof(int8_t))
#define GANDER__A_arr_i8(name, n) const int8_t *name
#define GANDER__F_seq_i16(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_I16, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_i16(name) 2
#define GANDER__N_seq_i16       2
#define GANDER__K_seq_i16(name) gander__var(&gander__b, name, name##_count, 2)
#define GANDER__A_seq_i16(name) const int16_t *name, size_t name##_count
#define GANDER__F_arr_i16(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_I16, 0, n, 0, 0 \
	}
#define GANDER__S_arr_i16(name, n) 0
#define GANDER__N_arr_i16          2
#define GANDER__K_arr_i16(name, n) gander__ext(&gander__b, name, (n) * sizeof(int16_t))
#define GANDER__A_arr_i16(name, n) const int16_t *name
#define GANDER__F_seq_i32(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_I32, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_i32(name) 2
#define GANDER__N_seq_i32       2
#define GANDER__K_seq_i32(name) gander__var(&gander__b, name, name##_count, 4)
#define GANDER__A_seq_i32(name) const int32_t *name, size_t name##_count
#define GANDER__F_arr_i32(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_I32, 0, n, 0, 0 \
	}
#define GANDER__S_arr_i32(name, n) 0
#define GANDER__N_arr_i32          2
#define GANDER__K_arr_i32(name, n) gander__ext(&gander__b, name, (n) * sizeof(int32_t))
#define GANDER__A_arr_i32(name, n) const int32_t *name
#define GANDER__F_seq_i64(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_I64, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_i64(name) 2
#define GANDER__N_seq_i64       2
#define GANDER__K_seq_i64(name) gander__var(&gander__b, name, name##_count, 8)
#define GANDER__A_seq_i64(name) const int64_t *name, size_t name##_count
#define GANDER__F_arr_i64(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_I64, 0, n, 0, 0 \
	}
#define GANDER__S_arr_i64(name, n) 0
#define GANDER__N_arr_i64          2
#define GANDER__K_arr_i64(name, n) gander__ext(&gander__b, name, (n) * sizeof(int64_t))
#define GANDER__A_arr_i64(name, n) const int64_t *name
#define GANDER__F_seq_f32(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_F32, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_f32(name) 2
#define GANDER__N_seq_f32       2
#define GANDER__K_seq_f32(name) gander__var(&gander__b, name, name##_count, 4)
#define GANDER__A_seq_f32(name) const float *name, size_t name##_count
#define GANDER__F_arr_f32(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_F32, 0, n, 0, 0 \
	}
#define GANDER__S_arr_f32(name, n) 0
#define GANDER__N_arr_f32          2
#define GANDER__K_arr_f32(name, n) gander__ext(&gander__b, name, (n) * sizeof(float))
#define GANDER__A_arr_f32(name, n) const float *name
#define GANDER__F_seq_f64(name) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_F64, 0, 0, 0, 0 \
	}
#define GANDER__S_seq_f64(name) 2
#define GANDER__N_seq_f64       2
#define GANDER__K_seq_f64(name) gander__var(&gander__b, name, name##_count, 8)
#define GANDER__A_seq_f64(name) const double *name, size_t name##_count
#define GANDER__F_arr_f64(name, n) \
	{ \
#name, GANDER_T_ARRAY, 0, GANDER_T_F64, 0, n, 0, 0 \
	}
#define GANDER__S_arr_f64(name, n) 0
#define GANDER__N_arr_f64          2
#define GANDER__K_arr_f64(name, n) gander__ext(&gander__b, name, (n) * sizeof(double))
#define GANDER__A_arr_f64(name, n) const double *name
#define GANDER__F_record(name, S) \
	{ \
#name, GANDER_T_STRUCT, 0, 0, sizeof(gander__fields_struct_##S) / sizeof(gander__fields_struct_##S[0]), 0, gander__fields_struct_##S, 0 \
	}
#define GANDER__S_record(name, S) 0
#define GANDER__N_record          2
#define GANDER__K_record(name, S) gander__ext(&gander__b, name, sizeof(struct S))
#define GANDER__A_record(name, S) const struct S *name
#define GANDER__F_seq_record(name, S) \
	{ \
#name, GANDER_T_SEQUENCE, 0, GANDER_T_STRUCT, sizeof(gander__fields_struct_##S) / sizeof(gander__fields_struct_##S[0]), 0, gander__fields_struct_##S, 0 \
	}
#define GANDER__S_seq_record(name, S) 2
#define GANDER__N_seq_record          2
#define GANDER__K_seq_record(name, S) gander__var(&gander__b, name, name##_count, sizeof(struct S))
#define GANDER__A_seq_record(name, S) const struct S *name, size_t name##_count

/* Loops over at most 18 tuples. */
#define GANDER__CAT(a, b)                                                                   GANDER__CAT_(a, b)
#define GANDER__CAT_(a, b)                                                                  a##b
#define GANDER__COUNT(...)                                                                  GANDER__COUNT_(x __VA_OPT__(, ) __VA_ARGS__, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define GANDER__COUNT_(x, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, count, ...) count
#define GANDER__EACH(m, ...)                                                                GANDER__CAT(GANDER__EACH_, GANDER__COUNT(__VA_ARGS__))(m __VA_OPT__(, ) __VA_ARGS__)
#define GANDER__EACH_0(m)
#define GANDER__EACH_1(m, a)       m(a)
#define GANDER__EACH_2(m, a, ...)  m(a) GANDER__EACH_1(m, __VA_ARGS__)
#define GANDER__EACH_3(m, a, ...)  m(a) GANDER__EACH_2(m, __VA_ARGS__)
#define GANDER__EACH_4(m, a, ...)  m(a) GANDER__EACH_3(m, __VA_ARGS__)
#define GANDER__EACH_5(m, a, ...)  m(a) GANDER__EACH_4(m, __VA_ARGS__)
#define GANDER__EACH_6(m, a, ...)  m(a) GANDER__EACH_5(m, __VA_ARGS__)
#define GANDER__EACH_7(m, a, ...)  m(a) GANDER__EACH_6(m, __VA_ARGS__)
#define GANDER__EACH_8(m, a, ...)  m(a) GANDER__EACH_7(m, __VA_ARGS__)
#define GANDER__EACH_9(m, a, ...)  m(a) GANDER__EACH_8(m, __VA_ARGS__)
#define GANDER__EACH_10(m, a, ...) m(a) GANDER__EACH_9(m, __VA_ARGS__)
#define GANDER__EACH_11(m, a, ...) m(a) GANDER__EACH_10(m, __VA_ARGS__)
#define GANDER__EACH_12(m, a, ...) m(a) GANDER__EACH_11(m, __VA_ARGS__)
#define GANDER__EACH_13(m, a, ...) m(a) GANDER__EACH_12(m, __VA_ARGS__)
#define GANDER__EACH_14(m, a, ...) m(a) GANDER__EACH_13(m, __VA_ARGS__)
#define GANDER__EACH_15(m, a, ...) m(a) GANDER__EACH_14(m, __VA_ARGS__)
#define GANDER__EACH_16(m, a, ...) m(a) GANDER__EACH_15(m, __VA_ARGS__)
#define GANDER__EACH_17(m, a, ...) m(a) GANDER__EACH_16(m, __VA_ARGS__)
#define GANDER__EACH_18(m, a, ...) m(a) GANDER__EACH_17(m, __VA_ARGS__)
#define GANDER__ARGS(...)          GANDER__CAT(GANDER__ARGS_, GANDER__COUNT(__VA_ARGS__))(__VA_ARGS__)
#define GANDER__ARGS_0()           void
#define GANDER__ARGS_1(a)          GANDER__ARG(a)
#define GANDER__ARGS_2(a, ...)     GANDER__ARG(a), GANDER__ARGS_1(__VA_ARGS__)
#define GANDER__ARGS_3(a, ...)     GANDER__ARG(a), GANDER__ARGS_2(__VA_ARGS__)
#define GANDER__ARGS_4(a, ...)     GANDER__ARG(a), GANDER__ARGS_3(__VA_ARGS__)
#define GANDER__ARGS_5(a, ...)     GANDER__ARG(a), GANDER__ARGS_4(__VA_ARGS__)
#define GANDER__ARGS_6(a, ...)     GANDER__ARG(a), GANDER__ARGS_5(__VA_ARGS__)
#define GANDER__ARGS_7(a, ...)     GANDER__ARG(a), GANDER__ARGS_6(__VA_ARGS__)
#define GANDER__ARGS_8(a, ...)     GANDER__ARG(a), GANDER__ARGS_7(__VA_ARGS__)
#define GANDER__ARGS_9(a, ...)     GANDER__ARG(a), GANDER__ARGS_8(__VA_ARGS__)
#define GANDER__ARGS_10(a, ...)    GANDER__ARG(a), GANDER__ARGS_9(__VA_ARGS__)
#define GANDER__ARGS_11(a, ...)    GANDER__ARG(a), GANDER__ARGS_10(__VA_ARGS__)
#define GANDER__ARGS_12(a, ...)    GANDER__ARG(a), GANDER__ARGS_11(__VA_ARGS__)
#define GANDER__ARGS_13(a, ...)    GANDER__ARG(a), GANDER__ARGS_12(__VA_ARGS__)
#define GANDER__ARGS_14(a, ...)    GANDER__ARG(a), GANDER__ARGS_13(__VA_ARGS__)
#define GANDER__ARGS_15(a, ...)    GANDER__ARG(a), GANDER__ARGS_14(__VA_ARGS__)
#define GANDER__ARGS_16(a, ...)    GANDER__ARG(a), GANDER__ARGS_15(__VA_ARGS__)
#define GANDER__ARGS_17(a, ...)    GANDER__ARG(a), GANDER__ARGS_16(__VA_ARGS__)
#define GANDER__ARGS_18(a, ...)    GANDER__ARG(a), GANDER__ARGS_17(__VA_ARGS__)

#endif
