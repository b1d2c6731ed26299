/* Field classes made into flat programs: what the decoder runs for every event.
 *
 * A program is a row of operations; containers hold their body between themselves and `end`. Each class has two: `skip`, in which
 * everything of a fixed length that nobody needs is one step (a whole event, mostly), and `full`, which makes values or text. */
#ifndef GANDER_CTF_CTF_LAYOUT_H
#define GANDER_CTF_CTF_LAYOUT_H

#include "ctf/ctf_model.h"
#include "gander/ctf_reader.h"

enum ctf_opcode {
	OP_SKIP,  /* count bits */
	OP_ALIGN, /* align */
	OP_U8,
	OP_U16,
	OP_U32,
	OP_U64,
	OP_I8,
	OP_I16,
	OP_I32,
	OP_I64,  /* up to here: little-endian, at a whole byte */
	OP_BITS, /* any other integer */
	OP_VARINT,
	OP_F32,
	OP_F64, /* of any byte order, at any bit */
	OP_STRING,
	OP_TEXT,
	OP_BLOB,
	OP_STRUCT,
	OP_ARRAY,
	OP_VARIANT,
	OP_OPTIONAL,
	OP_SCOPE, /* of the full program: what follows up to `end` is of one scope */
};

/* In the text form. */
enum { OP_HIDDEN = 1,
       OP_BARE = 2 /* an attribute's key */,
       OP_FLAT = 4 /* struct without braces */,
       OP_DYNAMIC = 8,
       OP_BIG = 16,
       OP_SIGNED = 32 };

struct ctf_option {
	const struct ctf_range *range;
	uint32_t nranges, begin, end;
};

struct ctf_op {
	uint8_t op, bits, flags, role;
	uint8_t public_flags, type; /* of the value: GANDER_CTF_ */
	uint16_t lit_len;
	uint32_t align;     /* to do at run time; 1: none */
	uint32_t reg;       /* where an integer's value is kept for others, + 1; 0: nobody asks */
	uint32_t source;    /* the register that says length or option, + 1 */
	uint32_t end;       /* behind the body */
	uint32_t elem_bits; /* all elements take so many, and nothing has to be known of them; 0: they differ */
	uint32_t noptions;
	uint64_t count;
	const struct ctf_fc *fc;
	const char *lit; /* text before the value: " name=" */
	const struct ctf_option *option;
};

struct ctf_prog {
	struct ctf_op *op;
	uint32_t n;
};

struct ctf_event_layout {
	struct ctf_prog skip, full;
	uint32_t fixed_bits; /* the skip program is this and nothing else; UINT32_MAX: it must run */
	const struct gander_ctf_class *pub;
	const char *prefix; /* text between time and contexts */
	uint32_t prefix_len;
	uint32_t context_ops;     /* of the full program: those of the stream's context come first */
	uint64_t context_mask[2]; /* its bytes, where they are 1 to 16 and their text depends on nothing else; else 0 */
	int32_t duration_at;      /* byte behind the header where an end of a span has its u64; -1: to be looked for */
};

struct ctf_stream_layout {
	struct ctf_prog packet_context, packet_full, event_header;
	bool packet_shown;               /* the packet's context has fields for people */
	bool fast_header;                /* u15 id, 1 bit, u48 time, little-endian: gander's own */
	int32_t tid_at, goid_at, pid_at; /* byte behind the header where the u32, u64 is; -1: none, or to be looked for */
	uint32_t dense;                  /* ids below this are in by_id */
	struct ctf_event_class **by_id;
};

struct ctf_trace_layout {
	struct ctf_prog packet_header;
};

/* Compiles all of a trace class; the layouts hang from its classes and live in its arena. */
int ctf_layout_trace(struct ctf_trace_class *t, struct ctf_trace_layout *ret, struct err *err);

struct ctf_event_class *ctf_layout_find(const struct ctf_stream_class *s, uint64_t id);

#endif
