/* Call stacks by frame pointers. Nothing is read but memory between this frame and the end of the thread's own stack, which is known without a
 * system call: glibc keeps a thread's stack block beside its thread id (found and checked by the constructor); the first thread's ends
 * where the dynamic loader says. On any other stack (a coroutine's, an alternate signal stack) the walk ends at once with
 * the caller's address. */
#include "tracer/tracer.h"

unsigned tracer_stack(uint64_t *to, unsigned max)
{
	char *fp = __builtin_frame_address(0), *low = fp, *high = NULL, *tp = __builtin_thread_pointer();
	unsigned n = 0;

	if (gander__t.stackblock_off) {
		char *block = *(char **)(tp + gander__t.stackblock_off);
		size_t size = *(size_t *)(tp + gander__t.stackblock_off + sizeof(char *));

		if (block && low >= block && (size_t)(low - block) < size)
			high = block + size;
	}
	/* the first thread's stack grows down from here; 1 GiB is more than any limit in use */
	if (!high && low < gander__t.main_stack_end && gander__t.main_stack_end - low < (1l << 30))
		high = gander__t.main_stack_end;
	while (n < max) {
		char *next, *pc;

		if (!high || fp < low || high - fp < 16 || ((uintptr_t)fp & 7)) {
			if (!n)
				to[n++] = (uint64_t)(uintptr_t)__builtin_return_address(0);
			break;
		}
		next = ((char **)(void *)fp)[0];
		pc = ((char **)(void *)fp)[1];
		if (!pc)
			break;
		to[n++] = (uint64_t)(uintptr_t)pc;
		if (next <= fp)
			break;
		fp = next;
	}
	return n;
}
