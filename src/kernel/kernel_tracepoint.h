/* Tracepoints: what tracefs says of them, and how their records become payloads. */
#ifndef GANDER_KERNEL_TRACEPOINT_H
#define GANDER_KERNEL_TRACEPOINT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TP_FIELDS_MAX  32u
#define TP_STRING_MAX  4096u /* bytes of one string; the rest is cut */
#define TP_FORMAT_MAX  65536u
#define TP_SYSCALL_MAX 1024u /* numbers above are of other ABIs */

/* How a value stands in the record. */
enum tp_kind {
	TP_INT,   /* `size` bytes */
	TP_CHARS, /* char[size], up to a NUL */
	TP_LOC,   /* __data_loc: u16 offset, u16 length of a string elsewhere in the record */
	TP_ARRAY, /* `count` integers of `size` */
};

struct tp_field {
	char name[32];
	char ctype[32]; /* as it is declared, cut when too long: "const char *" */
	enum tp_kind kind;
	uint32_t at, size, count;
	bool is_signed, hex;
};

struct tp_format {
	char name[64];
	uint32_t id;
	uint32_t nfields;
	struct tp_field field[TP_FIELDS_MAX];
};

/* Reads the text of a `format` file; the fields that all records have (common_...) and those of unknown shape are left out. */
int tp_format_parse(struct tp_format *f, const char *text, size_t len, struct err *err);

/* A directory of tracefs: one that is mounted, or one of our own that nobody else sees and that goes with the descriptor. */
int tracefs_open(struct err *err);
/* events/SYSTEM/NAME/format; -ENOENT: this kernel has no such tracepoint. */
int tracefs_format(int dirfd, const char *system, const char *name, struct tp_format *f, struct err *err);

/* The class description (src/region/desc.h) of an event with these fields. */
void tp_describe(struct buf *desc, const char *name, const struct tp_field *field, unsigned nfields);

/* The payload that fits it, from a record. Values that lie outside the record come out as zeros or empty. Returns false without memory. */
bool tp_payload(struct buf *out, const struct tp_field *field, unsigned nfields, const uint8_t *raw, size_t len);

/* Of this machine's system calls; NULL: not known when gander was built. */
const char *syscall_name(uint32_t nr);

#endif
