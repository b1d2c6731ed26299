/* A program's own malloc, for LD_PRELOAD: counts its calls. With TRACED each call emits an event, as an allocator that is itself
 * instrumented does. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#if defined(WITH_LTTNG)
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_plug_tp.h"
#define on_malloc(size) lttng_ust_tracepoint(torture_plug, malloc, size)
#elif defined(TRACED)
#include "gander/gander.h"
GANDER_EVENT(on_malloc, "torture.malloc", GANDER_INFO, (u64, size))
#else
#define on_malloc(size)
#endif

__attribute__((visibility("default"))) uint64_t mymalloc_calls;

static char *at, *end;
static int lock;

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	uint64_t *p;

	on_malloc(size);
	size = (size + 31) & ~(size_t)15;
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		;
	mymalloc_calls++;
	if ((size_t)(end - at) < size) {
		size_t n = size > (64 << 20) ? size : (64 << 20);

		at = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		end = at + n;
	}
	p = (uint64_t *)(void *)at;
	at += size;
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
	p[0] = size - 16;
	return p + 2;
}

__attribute__((visibility("default"))) void free(void *p)
{
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	void *p = malloc(n * size);

	memset(p, 0, n * size);
	return p;
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t size)
{
	void *p = malloc(size);

	if (old)
		memcpy(p, old, ((uint64_t *)old)[-2] < size ? ((uint64_t *)old)[-2] : size);
	return p;
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t align, size_t size)
{
	char *p = malloc(size + align);

	p += align - ((uintptr_t)p & (align - 1));
	((uint64_t *)(void *)p)[-2] = size;
	return p;
}
__attribute__((visibility("default"))) void *memalign(size_t align, size_t size)
{
	return aligned_alloc(align, size);
}

__attribute__((visibility("default"))) int posix_memalign(void **to, size_t align, size_t size)
{
	*to = aligned_alloc(align, size);
	return 0;
}
