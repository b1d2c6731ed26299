/* libgander's inside. One instance a process (or a library that embeds it): gander__t, made by the constructor, and made
 * again by the fork handler in a child. After that its fields do not change, but for those marked so.
 *
 * What must always hold: no allocation, lock, system call or signal where an event is emitted; no store outside the region's data
 * part, its heap and its own class slots, whatever stands in the region; errno is kept. */
#ifndef GANDER_TRACER_TRACER_H
#define GANDER_TRACER_TRACER_H

#include "gander/gander.h"
#include "region/region.h"
#include "region/vm.h"

#include <pthread.h>
#include <stdatomic.h>

#define HIDDEN      __attribute__((visibility("hidden")))
#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define TRACER_POOL_SHIFT 6 /* slots without sequences: 64 */

struct tracer {
	/* read by every event */
	const uint32_t *alive; /* in a page that fork wipes: 0 in a child, and before there is a region */
	char *map;             /* the region, read-write, not inherited by fork; NULL: off */
	char *data;            /* map + GD_OFF_DATA */
	uint32_t npackets;
	uint32_t sequences;  /* 1: restartable sequences work; 0: slots are owned */
	uint32_t fast;       /* 1: sequences, and the CPU's counter as the clock */
	long rseq_off;       /* struct rseq, from the thread pointer */
	long slot_off;       /* the slot's number, from the thread pointer */
	long tid_off;        /* the kernel's thread id, from the thread pointer; 0: unknown */
	uint32_t clock;      /* GD_CLOCK_ */
	uint32_t nslots;     /* pool: how many are used */
	bool coarse;         /* GANDER_CLOCK=coarse */
	uint64_t boot_ahead; /* coarse: CLOCK_BOOTTIME - CLOCK_MONOTONIC at start */

	const char *ro;      /* the first GD_META_SIZE bytes, read-only; a forked child inherits this */
	uint32_t *guard;     /* what `alive` points to */
	long stackblock_off; /* {stack's start, size} of a thread, from the thread pointer; 0: unknown */
	char *main_stack_end;
	uint64_t main_stack_max; /* it reaches no further down */
	uint64_t span_seed;
	_Atomic uint64_t ns_per_tick; /* fixed point, 32 bits behind; grows more precise; any thread */
	_Atomic uint64_t tick_check;  /* counter at which ns_per_tick is looked at again; any thread */
	struct gd_clock_sample start;
	_Atomic uint32_t reason; /* enum tracer_off */
};

extern struct tracer gander__t HIDDEN;

/* A thread's own two numbers. Not in thread-local storage: static TLS may be used up when the library is loaded, the other kind calls the
 * allocator at its first use, and either changes what malloc gives the program. Of the keys of pthread_key_create() the first 32 need no memory and may
 * be read and set in signal handlers; where those are taken, spans have no parent and the user's key is 0. */
enum tracer_own {
	TRACER_OWN_SPAN,
	TRACER_OWN_KEY,
};
#define TRACER_OWN_KEYS            2
#define TRACER_KEYS_WITHOUT_MEMORY 32
extern pthread_key_t tracer_own_key[TRACER_OWN_KEYS] HIDDEN; /* made by the constructor */

static inline uint64_t tracer_own_get(enum tracer_own which)
{
	return tracer_own_key[which] < TRACER_KEYS_WITHOUT_MEMORY ? (uint64_t)(uintptr_t)pthread_getspecific(tracer_own_key[which]) : 0;
}

static inline void tracer_own_set(enum tracer_own which, uint64_t value)
{
	if (tracer_own_key[which] < TRACER_KEYS_WITHOUT_MEMORY)
		pthread_setspecific(tracer_own_key[which], (void *)(uintptr_t)value);
}

/* Whether there is a region of this very process. `map` alone does not say so: in a forked child it is the parent's address until the fork handler
 * has run, and for ever where none runs (a raw clone, _Fork). Whoever looks into the region outside of the constructor and that handler asks first. */
static inline bool tracer_alive(void)
{
	return __atomic_load_n(gander__t.alive, __ATOMIC_RELAXED);
}

static inline struct gd_channel *tracer_channel(unsigned c)
{
	return (struct gd_channel *)(gander__t.map + GD_OFF_CHANNELS) + c;
}

static inline struct gd_packet *tracer_packet(uint32_t index)
{
	return (struct gd_packet *)(gander__t.data + ((size_t)index << GD_PACKET_SHIFT));
}

static inline uint32_t tracer_tid(void)
{
	return gander__t.tid_off ? *(volatile uint32_t *)((char *)__builtin_thread_pointer() + gander__t.tid_off) : 0;
}

/* clock.c */
uint64_t tracer_mono_ns(void) HIDDEN;
void tracer_sample(struct gd_clock_sample *s) HIDDEN;
uint64_t tracer_ticks_to_ns(uint64_t ticks) HIDDEN;
void tracer_coarse_clock(void) HIDDEN;

static inline uint64_t tracer_counter(void)
{
#if defined(__x86_64__)
	if (LIKELY(gander__t.clock == GD_CLOCK_TSC))
		return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	if (LIKELY(gander__t.clock == GD_CLOCK_TSC)) {
		uint64_t v;

		__asm__ volatile("mrs %0, cntvct_el0"
				 : "=r"(v));
		return v;
	}
#endif
	return tracer_mono_ns();
}

/* packet.c: gets the slot a packet with room for `need` bytes. 0: try the event again; -1: it is lost, and counted.
 * `slot` is the number that the caller saw; owned: the caller holds slot.owner (pool). */
int tracer_refill(unsigned c, uint32_t slot, uint32_t need, bool owned, bool count) HIDDEN;
void tracer_lose(unsigned c, uint32_t slot, unsigned reason) HIDDEN;

static inline bool tracer_any_free(const struct gd_channel *ch)
{
	uint32_t words = (gander__t.npackets + 63) / 64, i;
	const uint64_t *f = ch->free;
	uint64_t v = 0;

	for (i = 0; i + 4 <= words; i += 4)
		v |= __atomic_load_n(&f[i], __ATOMIC_RELAXED) | __atomic_load_n(&f[i + 1], __ATOMIC_RELAXED) | __atomic_load_n(&f[i + 2], __ATOMIC_RELAXED) |
		     __atomic_load_n(&f[i + 3], __ATOMIC_RELAXED);
	for (; i < words; i++)
		v |= __atomic_load_n(&f[i], __ATOMIC_RELAXED);
	return v;
}

void tracer_trigger(unsigned c, uint32_t id, uint32_t number) HIDDEN; /* a condition holds: freezes the ring, if none has before */
uint32_t tracer_slot_now(void) HIDDEN;                                /* this thread's slot number at this instant; pool: its preferred one */

/* seq.h: the restartable sequences */

/* stack.c: return addresses of the caller's callers, innermost first; only from memory of this thread's stack. */
unsigned tracer_stack(uint64_t *to, unsigned max) HIDDEN;

/* emit.c: to every recording that wants it; cut: 0 or GD_EVENT_CUT */
void tracer_emit_all(const struct gander_event *ev, uint32_t on, struct gander__piece *piece, uint32_t npieces, uint32_t cut) HIDDEN;

/* start.c: a variable of the environment; NULL in a program that has more rights than who started it (setuid), whom he must not steer. */
const char *tracer_env(const char *name) HIDDEN;

/* class.c */
#define TRACER_DESC_MAX 4096
/* Writes the description (region/desc.h), returns its length, -1 when it does not fit. `to` has TRACER_DESC_MAX bytes. */
int tracer_describe(uint8_t *to, const char *name, unsigned level, unsigned kind, const struct gander_field *fields, unsigned nfields) HIDDEN;
void tracer_refuse_class(void) HIDDEN;                                         /* counts a class that could not be declared */
uint32_t *tracer_declare(const void *desc, uint32_t len, uint32_t *id) HIDDEN; /* read-write class slot, NULL: no room; where tracer_alive() */
uint32_t tracer_channels_in_use(const struct gd_control *control) HIDDEN;      /* those that a rule names */
void tracer_apply_rules(uint32_t id, const void *desc, uint32_t len) HIDDEN;
void tracer_heap_allocated(uint32_t bytes) HIDDEN;         /* so much of the heap has memory */
uint32_t tracer_heap_take(uint32_t len, char **at) HIDDEN; /* offset of the record's bytes, 0: no room */
void tracer_heap_finish(char *at, uint32_t kind) HIDDEN;
void tracer_note(const char *text) HIDDEN; /* something that could not be set up, for people */

/* start.c */
void tracer_start(void) HIDDEN;                      /* makes the region, once; later calls return at once */
void tracer_note_object(const void *address) HIDDEN; /* records the loaded image that holds the address */

/* room.c: bytes that a region in the tmpfs of `fd` may take for itself. */
uint64_t tracer_room(long fd) HIDDEN;
/* Bytes of address space that a region may take, so that the program's own next mappings are not refused for it. */
uint64_t tracer_address_space(void) HIDDEN;
#define TRACER_AS_PLENTY (1ull << 30) /* a limit from which on it is not looked at */

/* make.c */
/* Makes and maps a region. `from`: in a forked child, the inherited read-only mapping whose classes and channels are taken over; else
 * NULL. 0, or the reason (enum tracer_off) why there is none. System calls: only here. */
enum tracer_off {
	TRACER_ON,
	TRACER_OFF_DISABLED,  /* GANDER=off in the environment */
	TRACER_OFF_NO_TMPFS,  /* no writable tmpfs */
	TRACER_OFF_NO_ROOM,   /* the tmpfs is full */
	TRACER_OFF_NO_MEMORY, /* the mapping was refused */
	TRACER_OFF_NO_FILE,   /* the file could not be made */
};
int tracer_make(const char *from) HIDDEN;
void tracer_say_off(int reason) HIDDEN;      /* leaves the reason where `gander list` finds it */
void tracer_remove_dead(bool always) HIDDEN; /* some regions of dead programs; else at one start in four */
const char *tracer_off_text(int reason) HIDDEN;

#endif
