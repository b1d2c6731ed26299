/* Call stacks by frame pointers. Nothing is read but memory between this frame and the end of the thread's own stack, which is known without a
 * system call: glibc keeps a thread's stack block beside its thread id (found and checked by the constructor); the first thread's ends
 * where the dynamic loader says, and begins no further below than its limit was at the start. A frame pointer may be any number, for code
 * that is compiled without uses the register as it likes. On any other stack (a coroutine's, an alternate signal stack) the walk ends at once with
 * the caller's address. */
#include "tracer/tracer.h"

unsigned tracer_stack(uint64_t *to, unsigned max)
{
	uintptr_t fp = (uintptr_t)__builtin_frame_address(0), low = fp, high = 0, end = (uintptr_t)gander__t.main_stack_end;
	char *tp = __builtin_thread_pointer();
	bool first = true;
	unsigned n = 0;

	if (gander__t.stackblock_off) {
		uintptr_t block = *(uintptr_t *)(void *)(tp + gander__t.stackblock_off);
		size_t size = *(size_t *)(void *)(tp + gander__t.stackblock_off + sizeof(char *));

		first = !block;
		if (block && low >= block && low - block < size)
			high = block + size;
	}
	/* what lies between this frame and the end is stack only if this frame is on it */
	if (first && low < end && end - low < gander__t.main_stack_max)
		high = end;
	while (n < max) {
		uintptr_t next, pc;

		if (fp < low || fp > high || high - fp < 16 || fp & 7) {
			if (!n)
				to[n++] = (uint64_t)(uintptr_t)__builtin_return_address(0);
			break;
		}
		next = ((uintptr_t *)fp)[0];
		pc = ((uintptr_t *)fp)[1];
		if (!pc)
			break;
		to[n++] = pc;
		if (next <= fp)
			break;
		fp = next;
	}
	return n;
}
