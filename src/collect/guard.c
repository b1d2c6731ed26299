/* The one mutable global of the module: a signal handler has no other way to its data. Entries are only changed while
 * no guarded memory is being touched (one thread), so the handler never sees half of one. */
#include "collect/collect_guard.h"

#include <sys/mman.h>
#include <unistd.h>

static struct guard {
	uintptr_t start, end;
	volatile sig_atomic_t *hit;
} guards[GUARD_MAX];

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr, page = at & ~(uintptr_t)4095;
	int i;

	for (i = 0; i < GUARD_MAX; i++) {
		if (at < guards[i].start || at >= guards[i].end)
			continue;
		*guards[i].hit = 1;
		if (mmap((void *)page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)page)
			return;
	}
	/* not ours: let it happen again, with the default action */
	signal(SIGBUS, SIG_DFL);
}

int guard_add(void *start, size_t len, volatile sig_atomic_t *hit, struct err *err)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART };
	int i;

	if (sigaction(SIGBUS, &sa, NULL) < 0)
		return err_set(err, -errno, "cannot guard a mapping: %m");
	for (i = 0; i < GUARD_MAX; i++)
		if (!guards[i].end) {
			guards[i].hit = hit;
			guards[i].start = (uintptr_t)start;
			guards[i].end = (uintptr_t)start + len;
			return 0;
		}
	return err_set(err, -EMFILE, "more than %d regions at once", GUARD_MAX);
}

void guard_remove(void *start)
{
	int i;

	for (i = 0; i < GUARD_MAX; i++)
		if (guards[i].end && guards[i].start == (uintptr_t)start)
			guards[i] = (struct guard) { 0 };
}
