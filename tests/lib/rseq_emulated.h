/* Restartable sequences where no kernel gives any (qemu-user): what the kernel does to a thread that it has interrupted, done by the handler of the signal that
 * interrupts it. A thread has two slots to itself; each signal may move it to the other, as a pre-emption moves it to another CPU. What is not emulated is that
 * two threads use one slot by turns.
 *
 * libgander is told of it by glibc's own variables, before its constructor runs; they are read-only after relocation, so the program must be linked statically. */
#ifndef TESTS_LIB_RSEQ_EMULATED_H
#define TESTS_LIB_RSEQ_EMULATED_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <ucontext.h>
#include <unistd.h>

static __thread struct {
	struct rseq rseq;
	char room[32];
} rseq_emulated __attribute__((aligned(32)));
static volatile unsigned long rseq_emulated_aborts;

static void rseq_emulated_start(void)
{
	char *page = (char *)((uintptr_t)&__rseq_offset & ~(uintptr_t)4095);

	if (mprotect(page, 8192, PROT_READ | PROT_WRITE))
		abort();
	*(ptrdiff_t *)(uintptr_t)&__rseq_offset = (char *)&rseq_emulated - (char *)__builtin_thread_pointer();
	*(unsigned *)(uintptr_t)&__rseq_size = 32;
}
__attribute__((section(".preinit_array"), used)) static void (*rseq_emulated_hook)(void) = rseq_emulated_start;

/* Before the thread's first event. */
static void rseq_emulated_thread(uint32_t thread)
{
	rseq_emulated.rseq.cpu_id = 2 * thread;
}

/* At the begin of each handler. */
static void rseq_emulated_signal(void *context)
{
	struct rseq_cs *cs = (struct rseq_cs *)(uintptr_t)rseq_emulated.rseq.rseq_cs;
	ucontext_t *uc = context;
	uint64_t pc = uc->uc_mcontext.pc;

	rseq_emulated.rseq.cpu_id ^= (uint32_t)pc >> 2 & 1;
	if (!cs)
		return;
	if (pc - cs->start_ip < cs->post_commit_offset) {
		if (*(uint32_t *)(uintptr_t)(cs->abort_ip - 4) != RSEQ_SIG)
			abort(); /* the kernel would kill it */
		uc->uc_mcontext.pc = cs->abort_ip;
		__atomic_fetch_add(&rseq_emulated_aborts, 1, __ATOMIC_RELAXED);
	}
	rseq_emulated.rseq.rseq_cs = 0;
}

#endif
