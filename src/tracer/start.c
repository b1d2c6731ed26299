/* The constructor, the fork handler, and what they find out about the process: which kind of slots, where a thread's id and stack are
 * noted, which clock, which images are loaded. */
#include "tracer/sys.h"
#include "tracer/tracer.h"

#include "region/desc.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const uint32_t dead;
struct tracer gander__t = { .alive = &dead };
pthread_key_t tracer_own_key[TRACER_OWN_KEYS] = { TRACER_KEYS_WITHOUT_MEMORY, TRACER_KEYS_WITHOUT_MEMORY };

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
extern void *__libc_stack_end __attribute__((weak));

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif
#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif
#define STACK_MAX   (1ull << 30) /* where the limit says nothing */
#define THREAD_AREA 2048         /* of glibc's struct pthread, behind the thread pointer: where tid and stack are looked for */

const char *tracer_env(const char *name)
{
	return getauxval(AT_SECURE) ? NULL : getenv(name);
}

/* Which of the three kinds of slots. GANDER_WRITER=mm_cid|cpu|pool asks for one, for tests; what is not there is not given. */
static void choose_writer(struct tracer *t)
{
	const char *want = tracer_env("GANDER_WRITER");
	bool have = false, cid = false;

#if (defined(__x86_64__) || (defined(__aarch64__) && defined(__AARCH64EL__))) && !defined(__SANITIZE_THREAD__) /* which sees no assembly: it is shown the pool */
	have = &__rseq_size && __rseq_size > 0;
	cid = have && getauxval(AT_RSEQ_FEATURE_SIZE) >= 28;
#endif
	if (want && !strcmp(want, "pool"))
		have = false;
	if (want && !strcmp(want, "cpu"))
		cid = false;
	t->sequences = have;
	t->nslots = 1u << TRACER_POOL_SHIFT;
	if (have) {
		t->rseq_off = __rseq_offset;
		t->slot_off = __rseq_offset + (cid ? 24 : 4);
		t->nslots = GD_SLOTS;
	}
}

/* glibc keeps a thread's id and stack in its control block. The kernel tells where the id is; it is checked, and so is the
 * stack's place: for the first thread glibc notes the end of its stack as the size of a block that begins at 0. */
static void find_thread_fields(struct tracer *t)
{
	char *tp = __builtin_thread_pointer();
	pid_t tid = (pid_t)sys(SYS_gettid), *at = NULL;
	struct rlimit stack;
	bool first;
	long off;

	t->tid_off = 0;
	if (!sys(SYS_prctl, PR_GET_TID_ADDRESS, &at) && (char *)at > tp && (char *)at < tp + THREAD_AREA && *at == tid)
		t->tid_off = (char *)at - tp;
	first = t->tid_off && tid == (pid_t)sys(SYS_getpid);
	t->stackblock_off = 0;
	if (&__libc_stack_end && __libc_stack_end) {
		t->main_stack_end = __libc_stack_end;
		t->main_stack_max = sys(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &stack) || stack.rlim_cur > STACK_MAX ? STACK_MAX : stack.rlim_cur;
		/* the first thread's control block has the stack's end in stackblock_size */
		for (off = t->tid_off & ~7l; first && off + 16 <= THREAD_AREA; off += 8)
			if (!gd_load64(tp + off) && gd_load64(tp + off + 8) == (uint64_t)(uintptr_t)__libc_stack_end) {
				t->stackblock_off = off;
				break;
			}
	}
}

static uint32_t choose_clock(void)
{
	const char *want = tracer_env("GANDER_CLOCK");

	if (want && !strcmp(want, "coarse")) {
		tracer_coarse_clock();
		return GD_CLOCK_MONO;
	}
#if defined(__x86_64__)
	char name[16] = "";
	long fd = sys(SYS_openat, AT_FDCWD, "/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC), n;

	if (fd >= 0) {
		n = sys(SYS_read, fd, name, sizeof(name) - 1);
		sys(SYS_close, fd);
		if (n >= 4 && !memcmp(name, "tsc\n", 4))
			return GD_CLOCK_TSC;
	}
	return GD_CLOCK_MONO;
#elif defined(__aarch64__)
	return GD_CLOCK_TSC; /* the generic timer is what the kernel itself uses */
#else
	return GD_CLOCK_MONO;
#endif
}

/* ------------------------------------------------------------------ loaded images */

struct image {
	const void *inside; /* NULL: all of them */
	unsigned seen;
};

static int note_image(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct image *want = arg;
	struct gd_object obj = { .base = info->dlpi_addr, .start = UINT64_MAX };
	const char *path = info->dlpi_name;
	size_t path_len, i;
	char *at;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X)) {
			if (obj.base + ph->p_vaddr < obj.start)
				obj.start = obj.base + ph->p_vaddr;
			if (obj.base + ph->p_vaddr + ph->p_memsz > obj.end)
				obj.end = obj.base + ph->p_vaddr + ph->p_memsz;
		} else if (ph->p_type == PT_NOTE) {
			const char *note = (const char *)(uintptr_t)(obj.base + ph->p_vaddr), *end = note + ph->p_memsz;

			while (end - note >= 12) {
				const ElfW(Nhdr) *nh = (const void *)note;
				size_t name = (nh->n_namesz + 3u) & ~3u, desc = (nh->n_descsz + 3u) & ~3u;

				if ((size_t)(end - note) < 12 + name + desc)
					break;
				if (nh->n_type == NT_GNU_BUILD_ID && nh->n_namesz == 4 && nh->n_descsz <= sizeof(obj.build_id)) {
					memcpy(obj.build_id, note + 12 + name, nh->n_descsz);
					obj.build_id_len = nh->n_descsz;
				}
				note += 12 + name + desc;
			}
		}
	}
	if (want->inside) {
		uint64_t addr = (uint64_t)(uintptr_t)want->inside;
		bool inside = false;

		for (i = 0; i < info->dlpi_phnum; i++) {
			const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

			inside |= ph->p_type == PT_LOAD && addr - (obj.base + ph->p_vaddr) < ph->p_memsz;
		}
		if (!inside)
			return 0;
	}
	if (want->seen++ == 0 && !want->inside) {
		struct gd_header *h = (struct gd_header *)gander__t.map;

		path = h->exe;
		memcpy(h->build_id, obj.build_id, obj.build_id_len);
		h->build_id_len = obj.build_id_len;
	}
	if (!path[0] && want->inside)
		return 1; /* the executable: noted at start */
	path_len = strnlen(path, 200);
	if (!tracer_heap_take((uint32_t)(sizeof(obj) + path_len), &at))
		return 1;
	memcpy(at, &obj, sizeof(obj));
	memcpy(at + sizeof(obj), path, path_len);
	tracer_heap_finish(at, GD_RECORD_OBJECT);
	return want->inside != NULL;
}

void tracer_note_object(const void *address)
{
	struct image want = { address, 0 };
	const char *at = gander__t.ro + GD_OFF_HEAP, *end;
	const struct gd_header *h = (const struct gd_header *)gander__t.ro;

	if (!(h->flags & GD_FLAG_BORN))
		return;
	end = at + (h->heap_used < GD_HEAP_SIZE ? h->heap_used : GD_HEAP_SIZE);
	while ((size_t)(end - at) >= sizeof(struct gd_record)) {
		const struct gd_record *rec = (const void *)at;
		const struct gd_object *obj = (const void *)(rec + 1);

		if (!rec->len || rec->len > (size_t)(end - at))
			break;
		/* data lies behind the code of the same image, within a few megabytes; a second note of the same image does no harm */
		if (rec->kind == GD_RECORD_OBJECT && rec->len >= sizeof(*obj) && (uint64_t)(uintptr_t)address >= obj->base &&
		    (uint64_t)(uintptr_t)address - obj->end < (64u << 20))
			return;
		at += (sizeof(*rec) + rec->len + 7) & ~(size_t)7;
	}
	dl_iterate_phdr(note_image, &want);
}

/* ------------------------------------------------------------------ life */

static bool make_guard(struct tracer *t)
{
	long p = sys(SYS_mmap, NULL, GD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_failed(p) || sys(SYS_madvise, p, GD_PAGE, MADV_WIPEONFORK) < 0) /* Linux 4.14 */
		return false;
	t->guard = (uint32_t *)p;
	return true;
}

/* A plugin that has this library inside must not be unloaded: threads may be in it, the fork handler is in it, and the next load would make
 * another region. (Weak: a static program has neither function, and no plugins.) */
extern const ElfW(Ehdr) __ehdr_start __attribute__((weak, visibility("hidden")));
extern ElfW(Dyn) _DYNAMIC[] __attribute__((weak, visibility("hidden")));
extern int dladdr(const void *address, Dl_info *info) __attribute__((weak));
extern void *dlopen(const char *file, int mode) __attribute__((weak));

static void stay_loaded(void)
{
	const char *own = (const char *)&__ehdr_start;
	const ElfW(Dyn) * d;
	Dl_info info;

	if (own && own + __ehdr_start.e_phoff == (const char *)getauxval(AT_PHDR))
		return; /* in the executable */
	for (d = _DYNAMIC; d && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_FLAGS_1 && d->d_un.d_val & DF_1_NODELETE)
			return; /* linked so: libgander.so, and without the allocator that dlopen() calls */
	if (&dladdr && &dlopen && dladdr(&gander__t, &info) && info.dli_fname)
		dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

/* The keys of a thread's own numbers, where they need no memory: see tracer.h. */
static void make_keys(void)
{
	unsigned i, made = 0;

	for (i = 0; i < TRACER_OWN_KEYS; i++) {
		pthread_key_t key;

		if (pthread_key_create(&key, NULL))
			continue;
		if (key < TRACER_KEYS_WITHOUT_MEMORY)
			tracer_own_key[i] = key, made++;
		else
			pthread_key_delete(key);
	}
	if (made < TRACER_OWN_KEYS)
		tracer_note("spans have no parent and the key is 0: the first 32 keys of pthread_key_create() are taken");
}

static void set_guard(struct tracer *t)
{
	t->alive = t->guard;
	__atomic_store_n(t->guard, 1, __ATOMIC_RELEASE);
}

static void turn_off(struct tracer *t, int reason)
{
	t->map = NULL;
	t->alive = &dead;
	atomic_store_explicit(&t->reason, (uint32_t)reason, memory_order_relaxed);
	tracer_say_off(reason);
}

/* In a forked child: only this thread exists. The parent's region is not mapped any more, its read-only part is. */
static void after_fork(void)
{
	struct tracer *t = &gander__t;
	int saved = errno, reason;

	if (!t->map)
		return;
	tracer_sample(&t->start);
	t->span_seed ^= (uint64_t)sys(SYS_getpid) * 0x9e3779b97f4a7c15ull ^ t->start.counter;
	tracer_remove_dead(true);
	reason = tracer_make(t->ro);
	if (reason == TRACER_ON)
		set_guard(t);
	else
		turn_off(t, reason);
	errno = saved;
}

static void start(void)
{
	struct tracer *t = &gander__t;
	struct image all = { NULL, 0 };
	const char *env = tracer_env("GANDER");
	int saved = errno, reason;

	if (env && !strcmp(env, "off")) {
		turn_off(t, TRACER_OFF_DISABLED);
		goto out;
	}
	choose_writer(t);
	find_thread_fields(t);
	t->clock = choose_clock();
	t->fast = t->sequences && t->clock == GD_CLOCK_TSC;
	tracer_sample(&t->start);
	t->span_seed = t->start.counter * 0x9e3779b97f4a7c15ull ^ (uint64_t)sys(SYS_getpid) << 40;
	atomic_store_explicit(&t->ns_per_tick, 1ull << 32, memory_order_relaxed);
	tracer_remove_dead(false);
	reason = make_guard(t) ? tracer_make(NULL) : TRACER_OFF_NO_MEMORY;
	if (reason != TRACER_ON) {
		turn_off(t, reason);
		goto out;
	}
	/* A collector that comes later reads the program's maps; one that is waiting may come too late for that. */
	if (((struct gd_header *)t->map)->flags & GD_FLAG_BORN)
		dl_iterate_phdr(note_image, &all);
	make_keys();
	stay_loaded();
	set_guard(t);
	pthread_atfork(NULL, NULL, after_fork);
out:
	errno = saved;
}

void tracer_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
}

static __attribute__((constructor(101))) void constructor(void)
{
	tracer_start();
}

const char *gander_off_reason(void)
{
	return tracer_off_text((int)atomic_load_explicit(&gander__t.reason, memory_order_relaxed));
}

const char *gander_version(void)
{
	return GANDER_VERSION;
}
