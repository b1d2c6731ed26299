/* Filters that are decided by their first instruction, an integer of the fixed part against a constant or a string behind it against a literal,
 * without a machine: what most filters are, and what most events are rejected by. The answers are those of gd_filter_run(), which is asked
 * whenever it is not that simple. The rules are the same (docs/filters.md): each word is loaded once, every offset is bounded where it
 * is used, by what the caller knows. */
#ifndef GANDER_REGION_VM_QUICK_H
#define GANDER_REGION_VM_QUICK_H

#include "region/desc.h"
#include "region/vm.h"

#define GD_QUICK_NEEDS ((uint32_t)GD_FILTER_LINKED_MAX) /* bytes that may be read at `linked` */

enum gd_quick {
	GD_QUICK_REJECT,
	GD_QUICK_PASS,
	GD_QUICK_ASK, /* gd_filter_run() */
};

static inline uint64_t gd_quick_load(const void *linked, unsigned i)
{
	return __atomic_load_n((const uint64_t *)linked + i, __ATOMIC_RELAXED);
}

/* Both halves of a program's first word at once: the magic, and a size that holds an instruction and is not beyond the bound. */
static inline bool gd_quick_is_program(uint64_t head)
{
	return (head >> 32 | head << 32) - ((uint64_t)GD_FILTER_LINKED << 32 | 64) <= GD_FILTER_LINKED_MAX - 64;
}

static inline enum gd_quick gd_quick_go(uint64_t insn, bool hit)
{
	uint32_t go = (hit ? insn >> 16 : insn >> 32) & 0xffff;

	return go == GD_GO_REJECT ? GD_QUICK_REJECT : go == GD_GO_PASS ? GD_QUICK_PASS
								       : GD_QUICK_ASK;
}

/* x has its operand, of so many bits, at the top; op is one of GD_OP_U8 to GD_OP_I64. */
static inline enum gd_quick gd_quick_range(const void *linked, uint64_t insn, uint64_t x, unsigned bits)
{
	uint64_t i = (uint64_t)((int64_t)x >> (64 - bits)), u = x >> (64 - bits);

	x = (insn & 0xff) >= GD_OP_I8 ? i : u;
	return gd_quick_go(insn, (x - gd_quick_load(linked, 6) <= gd_quick_load(linked, 7)) != (insn >> 8 & GD_INSN_NOT));
}

/* An event whose payload of size <= 32 bytes stands in words. */
static inline enum gd_quick gd_quick_words(const void *linked, const uint64_t w[4], uint32_t size)
{
	uint64_t insn, off, x;
	unsigned k, bits, end;

	if (!gd_quick_is_program(gd_quick_load(linked, 0)))
		return GD_QUICK_ASK;
	insn = gd_quick_load(linked, 4);
	off = (uint32_t)gd_quick_load(linked, 5);
	k = (uint32_t)(insn & 0xff) - GD_OP_U8;
	bits = 8u << (k & 3);
	if (k > GD_OP_I64 - GD_OP_U8 || off * 8 + bits > size * 8)
		return GD_QUICK_ASK;
	/* by shifts: a load that straddles two stores would wait for both */
	end = off % 8 * 8 + bits;
	x = w[off / 8];
	x = end <= 64 ? x << (64 - end) : x >> (end - 64) | w[off / 8 + 1] << (128 - end);
	return gd_quick_range(linked, insn, x, bits);
}

/* Whether the first n bytes are the same; `want` may change meanwhile. */
static inline bool gd_quick_same(const uint8_t *text, const uint8_t *want, uint32_t n)
{
	uint32_t i;

	if (n >= 8) {
		for (i = 0; i < n - 8; i += 8)
			if (gd_load64(text + i) != gd_load64(want + i))
				return false;
		return gd_load64(text + n - 8) == gd_load64(want + n - 8);
	}
	if (n >= 4)
		return gd_load32(text) == gd_load32(want) && gd_load32(text + n - 4) == gd_load32(want + n - 4);
	for (i = 0; i < n; i++)
		if (text[i] != want[i])
			return false;
	return true;
}

/* The string that is the first piece's last field, as most are, equal to a literal or beginning with it. */
static inline enum gd_quick gd_quick_string(const void *linked, uint64_t head, uint64_t insn, const struct gd_piece *piece, uint32_t npieces)
{
	uint64_t where = gd_quick_load(linked, 5), a = gd_quick_load(linked, 6), b = gd_quick_load(linked, 7);
	uint32_t off = a & 0xffff, len = a >> 16 & 0xffff, count;
	unsigned rel = insn >> 48 & 0xff, type = b & 0xff;
	bool hit;

	if (where >> 48 || (type != GD_STRING && type != GD_BYTES) || npieces < 2 || (uint64_t)(uint32_t)where + 2 != piece->len || off + len > head >> 32)
		return GD_QUICK_ASK;
	count = gd_load16((const uint8_t *)piece->data + piece->len - 2);
	if (count != piece[1].len)
		return GD_QUICK_ASK;
	if (rel == GD_STR_PREFIX)
		hit = count >= len;
	else if (rel == GD_STR_EQ)
		hit = count == len;
	else
		return GD_QUICK_ASK;
	hit = hit && gd_quick_same(piece[1].data, (const uint8_t *)linked + off, len);
	return gd_quick_go(insn, hit != (insn >> 8 & GD_INSN_NOT));
}

/* An event in pieces, one at least. */
static inline enum gd_quick gd_quick_pieces(const void *linked, const struct gd_piece *piece, uint32_t npieces)
{
	uint64_t head = gd_quick_load(linked, 0), insn, off, x;
	const uint8_t *at;
	unsigned k;

	if (!gd_quick_is_program(head))
		return GD_QUICK_ASK;
	insn = gd_quick_load(linked, 4);
	if ((insn & 0xff) == GD_OP_STR)
		return gd_quick_string(linked, head, insn, piece, npieces);
	off = (uint32_t)gd_quick_load(linked, 5);
	k = (uint32_t)(insn & 0xff) - GD_OP_U8;
	if (k > GD_OP_I64 - GD_OP_U8 || off + (1u << (k & 3)) > piece->len)
		return GD_QUICK_ASK;
	at = (const uint8_t *)piece->data + off;
	switch (k & 3) {
	case 0:
		x = (uint64_t)*at << 56;
		break;
	case 1:
		x = (uint64_t)gd_load16(at) << 48;
		break;
	case 2:
		x = (uint64_t)gd_load32(at) << 32;
		break;
	default:
		x = gd_load64(at);
	}
	return gd_quick_range(linked, insn, x, 8u << (k & 3));
}

#endif
