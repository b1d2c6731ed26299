/* Restartable sequences, here for x86-64, in seq_arm64.h for arm64: each does its work and publishes it with one last store. Pre-empted, migrated or interrupted by a
 * signal before that store, it starts again and nothing has happened; after it, all has.
 *
 * The kernel looks at rseq.rseq_cs when it has pre-empted or signalled the thread: an address between start and post-commit is moved to the abort
 * handler, which begins anew. rseq_cs is cleared behind each sequence: it would dangle after a dlclose of this code and kill the thread.
 *
 * A slot is the thread's only while the sequence runs: its number is read inside. All that is read from the region is bounded before it is
 * used: the packet's index against npackets, the offset by taking 16 bits of it and comparing with GD_PACKET_LIMIT. */
#ifndef GANDER_TRACER_SEQ_H
#define GANDER_TRACER_SEQ_H

#include "tracer/tracer.h"

/* Any event. */
struct seq_event {
	const struct gander__piece *piece;
	uint64_t npieces;
	const void *context;
	uint64_t context_len;
	uint64_t id;
	uint64_t inc;
	uint64_t time; /* 0: read the counter */
	const char *slotp;
	const struct gd_slot *slots;
};

/* What the assembly takes for granted. */
static_assert(sizeof(struct gander__piece) == 16 && offsetof(struct gander__piece, len) == 8, "the sequences say so");
static_assert(offsetof(struct seq_event, context) == 16 && offsetof(struct seq_event, inc) == 40 && offsetof(struct seq_event, time) == 48 &&
		      offsetof(struct seq_event, slotp) == 56 && offsetof(struct seq_event, slots) == 64,
	      "the sequences say so");
static_assert(GD_SLOTS == 256 && sizeof(struct gd_slot) == 64 && GD_PACKET_SHIFT == 16, "the sequences say so");
static_assert(offsetof(struct gd_packet, last_time) == 8 && offsetof(struct gd_packet, time_high) == 16, "the sequences say so");
static_assert(GD_PACKET_LIMIT == 65520, "the sequences say so");
static_assert(offsetof(struct gd_packet, epoch) == 96 && GD_PACKET_HEADER + 8 * GD_COUNTERS <= GD_PACKET, "the sequences say so");
static_assert(offsetof(struct gd_packet, seq) == 40 && offsetof(struct gd_packet, first) == 48 && offsetof(struct gd_packet, prev) == 56 &&
		      offsetof(struct gd_packet, next) == 60 && offsetof(struct gd_slot, tail) == 8,
	      "the sequences say so");

/* Leaving without commit: nobody may find the descriptor any more. */
static inline void seq_leave(char *rs)
{
	*(volatile uint64_t *)(rs + 8) = 0;
}

/* clang-format off: the assembly is laid out by hand */
#if defined(__x86_64__)
#define TRACER_HAS_SEQUENCES 1
#include <emmintrin.h>

/* 1: start, 2: post-commit, 4: abort, 3: descriptor, 5: where an aborted sequence begins anew. [rs] struct rseq. */
#define SEQ_BEGIN \
	".pushsection __rseq_cs, \"aw\"\n\t.balign 32\n3:\n\t.long 0, 0\n\t.quad 1f, (2f - 1f), 4f\n\t.popsection\n" \
	"5:\n\tleaq 3b(%%rip), %%rax\n\tmovq %%rax, 8(%[rs])\n1:\n\t"
#define SEQ_END \
	"2:\n\tmovq $0, 8(%[rs])\n\t" \
	".pushsection __rseq_failure, \"ax\"\n\t.byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n4:\n\tjmp 5b\n\t.popsection\n\t"

/* rcx = packet of this thread's slot, r9 = head, r10 = offset; to %l[refill] when there is none. Clobbers eax. */
#define SEQ_PACKET \
	"movl (%[slotp]), %%eax\n\tcmpl $256, %%eax\n\tjae %l[refill]\n\t" \
	"shlq $6, %%rax\n\tmovl (%[slots], %%rax), %%ecx\n\tsubl $1, %%ecx\n\tcmpl %[npackets], %%ecx\n\tjae %l[refill]\n\t" \
	"shlq $16, %%rcx\n\taddq %[data], %%rcx\n\t"

/* rax = word of the event, rdx = its full time; to refill when the time has left the packet's range. */
#define SEQ_TIME_TAIL \
	"movq %%rax, %%rdx\n\tshrq $48, %%rdx\n\tcmpq 16(%%rcx), %%rdx\n\tjne %l[refill]\n\t" \
	"movq 8(%%rcx), %%rdx\n\tcmpq %%rdx, %%rax\n\tcmovbq %%rdx, %%rax\n\tmovq %%rax, %%rdx\n\t" \
	"shlq $16, %%rax\n\torq %[id], %%rax\n\t"

/* An event with the thread id as its context and at most 32 bytes of payload. inc = GD_HEAD(1, size of the event);
 * big: the payload has more than 16 bytes. False: the slot needs a packet. */
static inline __attribute__((always_inline)) bool seq_words(char *rs, const char *slotp, const struct gd_slot *slots, uint64_t id, uint32_t tid,
							    uint64_t inc, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3, bool big)
{
	__m128i x0 = _mm_set_epi64x((long long)w1, (long long)w0), x1 = _mm_set_epi64x((long long)w3, (long long)w2);
	const struct tracer *t = &gander__t;

#define SEQ_WORDS(store_more) \
	__asm__ goto(SEQ_BEGIN SEQ_PACKET \
		     "movq (%%rcx), %%r9\n\tmovzwl %%r9w, %%r10d\n\tmovl %%r10d, %%eax\n\taddl %k[inc], %%eax\n\tcmpl $65520, %%eax\n\tja %l[refill]\n\t" \
		     "addq %%rcx, %%r10\n\taddq %[inc], %%r9\n\t" \
		     "rdtsc\n\tshlq $32, %%rdx\n\torq %%rdx, %%rax\n\t" SEQ_TIME_TAIL \
		     "movq %%rax, (%%r10)\n\tmovl %[tid], 8(%%r10)\n\tmovdqu %[x0], 12(%%r10)\n\t" store_more \
		     "movq %%rdx, 8(%%rcx)\n\tmovq %%r9, (%%rcx)\n" /* [HEAD] release: x86 keeps stores in order */ \
		     SEQ_END \
		     : \
		     : [rs] "r"(rs), [slotp] "r"(slotp), [slots] "r"(slots), [data] "r"(t->data), [npackets] "m"(t->npackets), [id] "r"(id), \
		       [tid] "r"(tid), [inc] "r"(inc), [x0] "x"(x0), [x1] "x"(x1) \
		     : "rax", "rcx", "rdx", "r9", "r10", "memory", "cc" \
		     : refill)
	if (big)
		SEQ_WORDS("movdqu %[x1], 28(%%r10)\n\t");
	else
		SEQ_WORDS("");
	return true;
refill:
	seq_leave(rs);
	return false;
}

/* Copies rsi -> rdi, rcx bytes; leaves rdi behind the copy. Clobbers rax, rdx, rsi, rcx, xmm0. */
#define SEQ_COPY(n) \
	"cmpq $256, %%rcx\n\tja 1" n "f\n\tcmpq $16, %%rcx\n\tjb 2" n "f\n" \
	"3" n ":\n\tmovdqu (%%rsi), %%xmm0\n\tmovdqu %%xmm0, (%%rdi)\n\taddq $16, %%rsi\n\taddq $16, %%rdi\n\tsubq $16, %%rcx\n\tcmpq $16, %%rcx\n\tjae 3" n "b\n\t" \
	"testq %%rcx, %%rcx\n\tjz 9" n "f\n\t" \
	"movdqu -16(%%rsi, %%rcx), %%xmm0\n\tmovdqu %%xmm0, -16(%%rdi, %%rcx)\n\taddq %%rcx, %%rdi\n\tjmp 9" n "f\n" \
	"1" n ":\n\trep movsb\n\tjmp 9" n "f\n" \
	"2" n ":\n\tcmpq $8, %%rcx\n\tjb 4" n "f\n\tmovq (%%rsi), %%rax\n\tmovq -8(%%rsi, %%rcx), %%rdx\n\tmovq %%rax, (%%rdi)\n\tmovq %%rdx, -8(%%rdi, %%rcx)\n\taddq %%rcx, %%rdi\n\tjmp 9" n "f\n" \
	"4" n ":\n\tcmpq $4, %%rcx\n\tjb 5" n "f\n\tmovl (%%rsi), %%eax\n\tmovl -4(%%rsi, %%rcx), %%edx\n\tmovl %%eax, (%%rdi)\n\tmovl %%edx, -4(%%rdi, %%rcx)\n\taddq %%rcx, %%rdi\n\tjmp 9" n "f\n" \
	"5" n ":\n\ttestq %%rcx, %%rcx\n\tjz 9" n "f\n" \
	"6" n ":\n\tmovzbl (%%rsi), %%eax\n\tmovb %%al, (%%rdi)\n\tincq %%rsi\n\tincq %%rdi\n\tdecq %%rcx\n\tjnz 6" n "b\n" \
	"9" n ":\n\t"

static inline bool seq_event(char *rs, const struct seq_event *e)
{
	const struct tracer *t = &gander__t;

	/* r8 packet, r9 new head, r10 last time, r11 pieces left, rbx walks the pieces */
	__asm__ goto(SEQ_BEGIN
		     "movq 56(%[e]), %%rax\n\tmovl (%%rax), %%eax\n\tcmpl $256, %%eax\n\tjae %l[refill]\n\t"
		     "shlq $6, %%rax\n\taddq 64(%[e]), %%rax\n\tmovl (%%rax), %%ecx\n\tsubl $1, %%ecx\n\tcmpl %[npackets], %%ecx\n\tjae %l[refill]\n\t"
		     "shlq $16, %%rcx\n\taddq %[data], %%rcx\n\t"
		     "movq %%rcx, %%r8\n\tmovq (%%rcx), %%r9\n\tmovzwl %%r9w, %%edi\n\tmovl 40(%[e]), %%eax\n\taddl %%edi, %%eax\n\tcmpl $65520, %%eax\n\tja %l[refill]\n\t"
		     "addq %%rcx, %%rdi\n\taddq 40(%[e]), %%r9\n\t"
		     "movq 48(%[e]), %%rax\n\ttestq %%rax, %%rax\n\tjnz 7f\n\trdtsc\n\tshlq $32, %%rdx\n\torq %%rdx, %%rax\n7:\n\t" SEQ_TIME_TAIL
		     "movq %%rdx, %%r10\n\tmovq %%rax, (%%rdi)\n\taddq $8, %%rdi\n\t"
		     "movq 16(%[e]), %%rsi\n\tmovq 24(%[e]), %%rcx\n\t" SEQ_COPY("0") "movq (%[e]), %%rbx\n\tmovq 8(%[e]), %%r11\n\ttestq %%r11, %%r11\n\tjz 81f\n"
										      "80:\n\tmovq (%%rbx), %%rsi\n\tmovl 8(%%rbx), %%ecx\n\t" SEQ_COPY("1") "addq $16, %%rbx\n\tdecq %%r11\n\tjnz 80b\n"
																			     "81:\n\tmovq %%r10, 8(%%r8)\n\tmovq %%r9, (%%r8)\n" /* [HEAD] release: x86 keeps stores in order */
		     SEQ_END
		     :
		     : [rs] "r"(rs), [data] "m"(t->data), [npackets] "m"(t->npackets), [e] "r"(e), [id] "m"(e->id)
		     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "memory", "cc"
		     : refill);
	return true;
refill:
	seq_leave(rs);
	return false;
}

/* Adds one to the slot's counter of a class; the add is the publishing store. `epoch` tells a packet that counted for another recording. */
static inline bool seq_count(char *rs, const char *slotp, const struct gd_slot *slots, uint32_t id, uint32_t epoch)
{
	__asm__ goto(SEQ_BEGIN SEQ_PACKET
		     "cmpl %[epoch], 96(%%rcx)\n\tjne %l[refill]\n\t"
		     "incq 128(%%rcx, %[id], 8)\n" SEQ_END
		     :
		     : [rs] "r"(rs), [slotp] "r"(slotp), [slots] "r"(slots), [data] "m"(gander__t.data), [npackets] "m"(gander__t.npackets), [id] "r"((uint64_t)id),
		       [epoch] "r"(epoch)
		     : "rax", "rcx", "memory", "cc"
		     : refill);
	return true;
refill:
	seq_leave(rs);
	return false;
}

/* Adds one to a word of this thread's slot, given as the word of slot 0; the add is the publishing store. False: the thread has no such slot. */
static inline bool seq_add(char *rs, const char *slotp, uint64_t *word)
{
	__asm__ goto(SEQ_BEGIN
		     "movl (%[slotp]), %%eax\n\tcmpl $256, %%eax\n\tjae %l[none]\n\t"
		     "shlq $6, %%rax\n\tincq (%[word], %%rax)\n" SEQ_END
		     :
		     : [rs] "r"(rs), [slotp] "r"(slotp), [word] "r"(word)
		     : "rax", "memory", "cc"
		     : none);
	return true;
none:
	seq_leave(rs);
	return false;
}

/* Installs `packet` (index + 1 in new_cur) in the slot if the thread still has that slot and the slot still has seen_cur. `old` is seen_cur's packet,
 * NULL for the first. tail: GD_TAIL word to set when the slot has none, 0: leave it. */
static inline bool seq_swap(char *rs, const char *slotp, uint32_t slot, struct gd_slot *s, uint32_t seen_cur, uint32_t new_cur, struct gd_packet *old,
			    struct gd_packet *packet, bool overwrite)
{
	uint64_t want_tail = overwrite;

	__asm__ goto(SEQ_BEGIN
		     "cmpl (%[slotp]), %[slot]\n\tjne %l[changed]\n\tcmpl (%[s]), %[seen]\n\tjne %l[changed]\n\t"
		     "testq %[old], %[old]\n\tjz 6f\n\t"
		     "movq (%[old]), %%rax\n\tshrq $32, %%rax\n\taddq 48(%[old]), %%rax\n\tmovq %%rax, 48(%[packet])\n\t"
		     "movq 8(%[old]), %%rax\n\tcmpq 8(%[packet]), %%rax\n\tjbe 8f\n\tmovq %%rax, 8(%[packet])\n8:\n\t"
		     "movl %[seen], 56(%[packet])\n\tmovl %[next], 60(%[old])\n\t"
		     "movq 40(%[old]), %%rax\n\tleaq 1(%%rax), %%rdx\n\tmovq %%rdx, 40(%[packet])\n\t"
		     "testq %[tail], %[tail]\n\tjz 7f\n\tcmpq $0, 8(%[s])\n\tjne 7f\n\tshlq $16, %%rax\n\tmovl %[seen], %%edx\n\torq %%rdx, %%rax\n\tmovq %%rax, 8(%[s])\n\tjmp 7f\n"
		     "6:\n\tmovq $1, 40(%[packet])\n\tmovq $0, 48(%[packet])\n\tmovl $0, 56(%[packet])\n"
		     "7:\n\tmovl %[next], (%[s])\n" /* [SWAP] release: x86 keeps stores in order */
		     SEQ_END
		     :
		     : [rs] "r"(rs), [slotp] "r"(slotp), [slot] "r"(slot), [s] "r"(s), [seen] "r"(seen_cur), [next] "r"(new_cur), [old] "r"(old), [packet] "r"(packet),
		       [tail] "r"(want_tail)
		     : "rax", "rdx", "memory", "cc"
		     : changed);
	return true;
changed:
	seq_leave(rs);
	return false;
}

#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define TRACER_HAS_SEQUENCES 1
#include "tracer/seq_arm64.h"

#else
#define TRACER_HAS_SEQUENCES 0
#endif

#endif
