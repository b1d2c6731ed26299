/* Filters: a small bytecode that the traced program runs on every event of a filtered class, on the values before
 * anything is written. docs/filters.md has it byte by byte, with the proof that it ends and stays inside its bounds.
 *
 *   text --(src/filter)--> generic: fields by name --gd_filter_link()--> linked: fields by place, for one class
 *
 * Both forms lie in the shared region, so another process may change any byte at any time, also while the filter runs.
 * Therefore nothing about a program is checked once and then believed: each word is loaded once, into a register, and
 * what it says is bounded against memory that only the caller describes (avail, the view). What hostile bytes can do is
 * to give the wrong answer.
 *
 * Async-signal-safe, no allocation, no locale: the tracer uses this. go/internal/vm is its twin: same bytes, same
 * answers (tests/data/filter-vectors.json). */
#ifndef GANDER_REGION_VM_H
#define GANDER_REGION_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GD_FILTER_GENERIC_MAX 8192u    /* bytes */
#define GD_FILTER_LINKED_MAX  16384u   /* bytes */
#define GD_FILTER_NAME_MAX    255u     /* bytes of a field's whole name, `a.b[3].c` */
#define GD_FILTER_WORK        1000000u /* elements walked and bytes globbed in one run; beyond it comparisons are false */

/* An event's payload, before it is written: the concatenation of pieces. Who has it in one piece gives one piece with
 * elem 0. No value but a string, a sequence or a container may continue in the next piece, and those only behind their
 * count. */
struct gd_piece {
	const void *data;
	uint32_t len;  /* bytes */
	uint32_t elem; /* 0: fixed part, or anything as it is written; n: the elements, n bytes each, of a variable
			  field whose u16 count is the last two bytes of the piece before */
};

struct gd_view {
	const struct gd_piece *piece;
	uint32_t npieces;
	uint32_t tid, cpu; /* what gd_filter_needs() does not name need not be set */
	uint64_t goid, span, key;
	uint8_t level;
};

/* The value of the field that hit counters are kept by (struct gd_count_key in region.h). */
struct gd_filter_key {
	uint8_t kind;   /* GD_KEY_; 0: the event has no such value (an attribute that it lacks): count it without a key */
	uint8_t len;    /* 8 for numbers */
	char value[44]; /* zero behind len; longer strings are cut */
};

/* Runs a linked filter on an event: 1 pass, 0 reject. linked is 8-aligned, avail says how many bytes may be read there.
 * Any thread, any context. Never reads outside of [linked, linked + avail) and the view's pieces, whatever the bytes
 * are and however they change meanwhile; broken ones reject. key, when it is not NULL, is set if the event passes. */
int gd_filter_run(const void *linked, size_t avail, const struct gd_view *v, struct gd_filter_key *key);

/* Which of GD_CTX_TID, GOID, CPU, SPAN, KEY a linked filter looks at. */
uint32_t gd_filter_needs(const void *linked, size_t avail);

/* Makes the linked form for the class that desc (desc.h; the caller's own copy, nobody changes it) describes. generic
 * may change meanwhile. out is 8-aligned; returns the bytes written there, at most cap, or -ENOENT  the class has no
 * such field (or enumeration label) -EINVAL  a field's type does not fit what the filter does with it, or the generic
 * form is broken -ENOSPC  more than cap or GD_FILTER_LINKED_MAX. */
int gd_filter_link(const void *generic, size_t len, const void *desc, size_t desc_len, void *out, size_t cap);

/* The format. All words are little-endian u64; a program is a head of four words, ninsn instructions of four, then
 * data. */
#define GD_FILTER_GENERIC 0x31464447u /* "GDF1" */
#define GD_FILTER_LINKED  0x314c4447u /* "GDL1" */

struct gd_filter_head {
	uint32_t magic;
	uint32_t size;  /* of all, a multiple of 8 */
	uint16_t ninsn; /* at least 1 */
	uint16_t key;   /* 1 + index of the LOAD that gives the key, 0: none */
	uint32_t needs; /* linked: GD_CTX_ bits */
	uint64_t zero[2];
};

/* Where an instruction goes on: so many instructions further than the next, or an end. Only forward. */
#define GD_GO_REJECT 0xffffu
#define GD_GO_PASS   0xfffeu

struct gd_insn {
	uint8_t op;
	uint8_t flags;
	uint16_t yes, no; /* GD_GO_, or a distance; instructions that decide nothing go to the next */
	uint8_t rel;      /* GD_REL_, GD_STR_, GD_ARITH_ */
	uint8_t reg;      /* registers: destination or left (bits 0-3), right (bits 4-7) */
	uint64_t where;   /* operand. generic: u16 offset, u16 length of the name in the program
			     linked: u32 delta, u16 first step (in words from the start), u16 number of steps */
	uint64_t a;       /* by op */
	uint64_t b;       /* GD_OP_U8 to I64: the range's width; else struct gd_operand */
};

struct gd_operand {
	uint8_t type; /* linked: enum gd_type of the operand; 0: never there; GD_ATTRS: the attribute named below;
			 LEN: GD_SEQUENCE a count, GD_ARRAY a; or GD_OPERAND_ */
	uint8_t kind; /* GD_NUM_ of the constant a */
	uint16_t zero;
	uint16_t text, text_len; /* linked: the attribute's key or the class's name, in the program */
};
#define GD_OPERAND_TID   0x80u
#define GD_OPERAND_GOID  0x81u
#define GD_OPERAND_CPU   0x82u
#define GD_OPERAND_SPAN  0x83u
#define GD_OPERAND_KEY   0x84u
#define GD_OPERAND_LEVEL 0x85u
#define GD_OPERAND_NAME  0x86u /* the class's name */

/* A step on the way to an operand, one word. It starts where the one before ended, the first at the payload's start.
 * All first skip `fixed` bytes. */
struct gd_step {
	uint8_t kind; /* GD_STEP_ */
	uint8_t sub;  /* SEQ, ARR, NTH: the steps that follow, which skip one element */
	uint16_t n;   /* VAR: bytes of an element; ARR: how many; NTH, AT: which */
	uint32_t fixed;
};
#define GD_STEP_VAR   1u /* u16 count, count * n bytes */
#define GD_STEP_SEQ   2u /* u16 count, so many times the next sub steps */
#define GD_STEP_ARR   3u /* n times the next sub steps */
#define GD_STEP_ATTRS 4u /* an attrs field */
#define GD_STEP_AT    5u /* u16 count, which must be above n */
#define GD_STEP_NTH   6u /* the same, then n times the next sub steps */
#define GD_STEP_SKIP  7u /* nothing more */
#define GD_STEP_DEPTH 5u /* of sub in sub */

/* op; G: in the generic form, L: in the linked form */
enum gd_filter_op {
	GD_OP_CONST = 1, /* GL: goes to yes */
	GD_OP_U8,        /* L: (value at delta in the first piece) - a <= b, all modulo 2^64: any comparison of an */
	GD_OP_U16,       /*    integer with a constant is a range. NOT: outside of it */
	GD_OP_U32,
	GD_OP_U64,
	GD_OP_I8,
	GD_OP_I16,
	GD_OP_I32,
	GD_OP_I64,
	GD_OP_CMP,   /* GL: operand rel a (a number of kind GD_NUM_) */
	GD_OP_STR,   /* GL: operand (string) rel the literal a = u16 offset, u16 length. NOT: != and !~ */
	GD_OP_SET,   /* L: operand - lo <= span for one of the pairs of words: a = u16 offset, u16 pairs. NOT: none of
			them */
	GD_OP_HAS,   /* GL: the operand is there */
	GD_OP_LOAD,  /* GL: register = operand */
	GD_OP_LEN,   /* GL: register = count of a sequence, an array, a string */
	GD_OP_IMM,   /* GL: register = a (GD_NUM_) */
	GD_OP_ARITH, /* GL: left register = left rel right */
	GD_OP_CMPR,  /* GL: left register rel right register */
};

#define GD_INSN_NOT 1u /* flags: the opposite, if there is a value at all */

#define GD_REGISTERS 8u

enum gd_rel { GD_REL_EQ,
	      GD_REL_NE,
	      GD_REL_LT,
	      GD_REL_LE,
	      GD_REL_GT,
	      GD_REL_GE };
enum gd_str { GD_STR_EQ,
	      GD_STR_PREFIX,
	      GD_STR_SUFFIX,
	      GD_STR_CONTAINS,
	      GD_STR_GLOB };
enum gd_arith {
	GD_ARITH_ADD,
	GD_ARITH_SUB,
	GD_ARITH_MUL,
	GD_ARITH_DIV,
	GD_ARITH_MOD,
	GD_ARITH_AND,
	GD_ARITH_OR,
	GD_ARITH_XOR,
	GD_ARITH_SHL,
	GD_ARITH_SHR,
};

/* Numbers: an integer from -2^63 to 2^64 - 1, or a double. Integers are exact: what does not fit is no value. */
enum gd_num_kind { GD_NUM_NONE,
		   GD_NUM_I64,
		   GD_NUM_U64,
		   GD_NUM_F64 };
struct gd_num {
	uint32_t kind;
	uint64_t bits;
};

/* Whether the text is, begins with, ends with, contains, matches `want`, by GD_STR_. *work falls by what it costs;
 * false when it would fall below zero. `want` may change meanwhile. */
bool gd_str_holds(unsigned rel, const char *text, size_t len, const char *want, size_t want_len, uint32_t *work);

/* One of "left is less, equal, greater, neither (NaN)": -1, 0, 1, 2. Exact between integers and doubles. Neither may be
 * NONE. */
int gd_num_compare(struct gd_num x, struct gd_num y);

/* gd_num_compare() as one of GD_REL_; false when either is NONE. */
bool gd_num_holds(unsigned rel, struct gd_num x, struct gd_num y);

/* NONE when either is, on overflow, division by zero, a shift by less than 0 or more than 63, and bits or remainders of
 * doubles. */
struct gd_num gd_num_arith(unsigned arith, struct gd_num x, struct gd_num y);

#endif
