/* The sequences for arm64: what they do, and why they may, stands in seq.h; the order of the steps is the same. Stores are not kept in order here, so
 * the publishing ones are releases, and a slot's packet is read by an acquire. */
#ifndef GANDER_TRACER_SEQ_ARM64_H
#define GANDER_TRACER_SEQ_ARM64_H

#include "tracer/tracer.h"

/* the assembly is laid out by hand */
/* clang-format off */

/* 1: start, 2: post-commit, 4: abort, behind the signature that the kernel looks for, 3: descriptor, 5: where an aborted sequence begins anew. [rs] struct rseq. */
#define SEQ_BEGIN \
	".pushsection __rseq_cs, \"aw\"\n\t.balign 32\n3:\n\t.long 0, 0\n\t.quad 1f, (2f - 1f), 4f\n\t.popsection\n" \
	"5:\n\tadrp x9, 3b\n\tadd x9, x9, :lo12:3b\n\tstr x9, [%[rs], #8]\n1:\n\t"
#define SEQ_END \
	"2:\n\tstr xzr, [%[rs], #8]\n\t" \
	".pushsection __rseq_failure, \"ax\"\n\t.balign 4\n\t.inst 0xd428bc00\n4:\n\tb 5b\n\t.popsection\n\t"

/* x9 = packet of the slot whose number is in w9, of the slots at `slots`; to %l[refill] when there is none. */
#define SEQ_PACKET(slots) \
	"cmp w9, #256\n\tb.hs %l[refill]\n\tadd x9, " slots ", x9, lsl #6\n\tldar w9, [x9]\n\t" /* [SWAP] */ \
	"sub w9, w9, #1\n\tcmp w9, %w[npackets]\n\tb.hs %l[refill]\n\tadd x9, %[data], x9, lsl #16\n\t"

/* x10 = new head, x11 = where the event goes, for an event of `inc`; to refill when it does not fit. */
#define SEQ_ROOM(inc, winc) \
	"ldr x10, [x9]\n\tuxth w11, w10\n\tadd w13, w11, " winc "\n\tmov w14, #65520\n\tcmp w13, w14\n\tb.hi %l[refill]\n\t" \
	"add x11, x9, x11\n\tadd x10, x10, " inc "\n\t"

/* x12 = the event's full time, raised to the last one, x13 = its word; to refill when the time has left the packet's range. */
#define SEQ_TIME_TAIL(id) \
	"lsr x13, x12, #48\n\tldr x14, [x9, #16]\n\tcmp x13, x14\n\tb.ne %l[refill]\n\t" \
	"ldr x13, [x9, #8]\n\tcmp x12, x13\n\tcsel x12, x13, x12, lo\n\tlsl x13, x12, #16\n\torr x13, x13, " id "\n\t"

#define SEQ_PUBLISH "str x12, [x9, #8]\n\tstlr x10, [x9]\n" /* [HEAD] */

static inline __attribute__((always_inline)) bool seq_words(char *rs, const char *slotp, const struct gd_slot *slots, uint64_t id, uint32_t tid,
							    uint64_t inc, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3, bool big)
{
	const struct tracer *t = &gander__t;

#define SEQ_WORDS(store_more) \
	__asm__ goto(SEQ_BEGIN "ldr w9, [%[slotp]]\n\t" SEQ_PACKET("%[slots]") SEQ_ROOM("%[inc]", "%w[inc]") \
		     "mrs x12, cntvct_el0\n\t" SEQ_TIME_TAIL("%[id]") \
		     "str x13, [x11]\n\tstr %w[tid], [x11, #8]\n\tstur %[w0], [x11, #12]\n\tstur %[w1], [x11, #20]\n\t" store_more \
		     SEQ_PUBLISH SEQ_END \
		     : \
		     : [rs] "r"(rs), [slotp] "r"(slotp), [slots] "r"(slots), [data] "r"(t->data), [npackets] "r"(t->npackets), [id] "r"(id), \
		       [tid] "r"(tid), [inc] "r"(inc), [w0] "r"(w0), [w1] "r"(w1), [w2] "r"(w2), [w3] "r"(w3) \
		     : "x9", "x10", "x11", "x12", "x13", "x14", "memory", "cc" \
		     : refill)
	if (big)
		SEQ_WORDS("stur %[w2], [x11, #28]\n\tstur %[w3], [x11, #36]\n\t");
	else
		SEQ_WORDS("");
	return true;
refill:
	seq_leave(rs);
	return false;
}

/* Copies x14 -> x11, x15 bytes; leaves x11 behind the copy. Clobbers x13, x14, x15 and x17. */
#define SEQ_COPY(n) \
	"3" n ":\n\tcmp x15, #16\n\tb.lo 4" n "f\n\tldp x13, x17, [x14], #16\n\tstp x13, x17, [x11], #16\n\tsub x15, x15, #16\n\tb 3" n "b\n" \
	"4" n ":\n\ttbz x15, #3, 5" n "f\n\tldr x13, [x14], #8\n\tstr x13, [x11], #8\n" \
	"5" n ":\n\ttbz x15, #2, 6" n "f\n\tldr w13, [x14], #4\n\tstr w13, [x11], #4\n" \
	"6" n ":\n\ttbz x15, #1, 7" n "f\n\tldrh w13, [x14], #2\n\tstrh w13, [x11], #2\n" \
	"7" n ":\n\ttbz x15, #0, 9" n "f\n\tldrb w13, [x14], #1\n\tstrb w13, [x11], #1\n" \
	"9" n ":\n\t"

static inline bool seq_event(char *rs, const struct seq_event *e)
{
	const struct tracer *t = &gander__t;

	/* x16 walks the pieces, x8 counts them */
	__asm__ goto(SEQ_BEGIN
		     "ldr x9, [%[e], #56]\n\tldr x10, [%[e], #64]\n\tldr w9, [x9]\n\t" SEQ_PACKET("x10")
		     "ldr x15, [%[e], #40]\n\t" SEQ_ROOM("x15", "w15")
		     "ldr x12, [%[e], #48]\n\tcbnz x12, 77f\n\tmrs x12, cntvct_el0\n77:\n\t"
		     "ldr x15, [%[e], #32]\n\t" SEQ_TIME_TAIL("x15")
		     "str x13, [x11], #8\n\t"
		     "ldr x14, [%[e], #16]\n\tldr x15, [%[e], #24]\n\t" SEQ_COPY("0")
		     "ldp x16, x8, [%[e]]\n\tcbz x8, 81f\n"
		     "80:\n\tldr x14, [x16]\n\tldr w15, [x16, #8]\n\t" SEQ_COPY("1") "add x16, x16, #16\n\tsubs x8, x8, #1\n\tb.ne 80b\n"
		     "81:\n\t" SEQ_PUBLISH SEQ_END
		     :
		     : [rs] "r"(rs), [data] "r"(t->data), [npackets] "r"(t->npackets), [e] "r"(e)
		     : "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory", "cc"
		     : refill);
	return true;
refill:
	seq_leave(rs);
	return false;
}

static inline bool seq_count(char *rs, const char *slotp, const struct gd_slot *slots, uint32_t id, uint32_t epoch)
{
	const struct tracer *t = &gander__t;

	__asm__ goto(SEQ_BEGIN "ldr w9, [%[slotp]]\n\t" SEQ_PACKET("%[slots]")
		     "ldr w10, [x9, #96]\n\tcmp w10, %w[epoch]\n\tb.ne %l[refill]\n\t"
		     "add x9, x9, %[id], lsl #3\n\tldr x10, [x9, #128]\n\tadd x10, x10, #1\n\tstr x10, [x9, #128]\n" SEQ_END
		     :
		     : [rs] "r"(rs), [slotp] "r"(slotp), [slots] "r"(slots), [data] "r"(t->data), [npackets] "r"(t->npackets), [id] "r"((uint64_t)id),
		       [epoch] "r"(epoch)
		     : "x9", "x10", "memory", "cc"
		     : refill);
	return true;
refill:
	seq_leave(rs);
	return false;
}

static inline bool seq_add(char *rs, const char *slotp, uint64_t *word)
{
	__asm__ goto(SEQ_BEGIN
		     "ldr w9, [%[slotp]]\n\tcmp w9, #256\n\tb.hs %l[none]\n\t"
		     "add x9, %[word], x9, lsl #6\n\tldr x10, [x9]\n\tadd x10, x10, #1\n\tstr x10, [x9]\n" SEQ_END
		     :
		     : [rs] "r"(rs), [slotp] "r"(slotp), [word] "r"(word)
		     : "x9", "x10", "memory", "cc"
		     : none);
	return true;
none:
	seq_leave(rs);
	return false;
}

static inline bool seq_swap(char *rs, const char *slotp, uint32_t slot, struct gd_slot *s, uint32_t seen_cur, uint32_t new_cur, struct gd_packet *old,
			    struct gd_packet *packet, bool overwrite)
{
	__asm__ goto(SEQ_BEGIN
		     "ldr w9, [%[slotp]]\n\tcmp w9, %w[slot]\n\tb.ne %l[changed]\n\tldr w9, [%[s]]\n\tcmp w9, %w[seen]\n\tb.ne %l[changed]\n\t"
		     "cbz %[old], 6f\n\t"
		     "ldr x9, [%[old]]\n\tldr x10, [%[old], #48]\n\tadd x9, x10, x9, lsr #32\n\tstr x9, [%[packet], #48]\n\t"
		     "ldr x9, [%[old], #8]\n\tldr x10, [%[packet], #8]\n\tcmp x9, x10\n\tb.ls 8f\n\tstr x9, [%[packet], #8]\n8:\n\t"
		     "str %w[seen], [%[packet], #56]\n\tstr %w[next], [%[old], #60]\n\t"
		     "ldr x9, [%[old], #40]\n\tadd x10, x9, #1\n\tstr x10, [%[packet], #40]\n\t"
		     "cbz %w[tail], 7f\n\tldr x10, [%[s], #8]\n\tcbnz x10, 7f\n\torr x9, %[seen], x9, lsl #16\n\tadd x10, %[s], #8\n\tstlr x9, [x10]\n\tb 7f\n" /* [TAIL] */
		     "6:\n\tmov x9, #1\n\tstr x9, [%[packet], #40]\n\tstr xzr, [%[packet], #48]\n\tstr wzr, [%[packet], #56]\n"
		     "7:\n\tstlr %w[next], [%[s]]\n" /* [SWAP] */
		     SEQ_END
		     :
		     : [rs] "r"(rs), [slotp] "r"(slotp), [slot] "r"(slot), [s] "r"(s), [seen] "r"((uint64_t)seen_cur), [next] "r"(new_cur), [old] "r"(old),
		       [packet] "r"(packet), [tail] "r"((uint32_t)overwrite)
		     : "x9", "x10", "memory", "cc"
		     : changed);
	return true;
changed:
	seq_leave(rs);
	return false;
}

/* clang-format on */

#endif
