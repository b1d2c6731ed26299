/* Making the region: the file, its memory, its mappings. Runs in the constructor and in a forked child, nowhere else, and is the only
 * place with system calls. No allocator: everything is on the stack. Descriptors are open only while this runs, close-on-exec. */
#include "tracer/tracer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define PACKETS_DEFAULT 1024u /* 64 MiB, sparse: only what a recording is granted takes memory */
#define PACKETS_SMALL   64u   /* where the program locks its memory or may not have much address space */

static const char *const off_text[] = {
	[TRACER_ON] = NULL,
	[TRACER_OFF_DISABLED] = "disabled",
	[TRACER_OFF_NO_TMPFS] = "no-writable-tmpfs",
	[TRACER_OFF_NO_ROOM] = "tmpfs-full",
	[TRACER_OFF_NO_MEMORY] = "mapping-refused",
	[TRACER_OFF_NO_FILE] = "file-refused",
};

const char *tracer_off_text(int reason)
{
	return off_text[reason];
}

/* An anonymous file with the reason as its name, one page of it mapped: seen in /proc/PID/maps by whoever may look, gone with the process. */
void tracer_say_off(int reason)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), GD_OFF_PREFIX "%s", off_text[reason]);
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return;
	mmap(NULL, GD_PAGE, PROT_NONE, MAP_SHARED, fd, 0);
	close(fd);
}

static int open_tmpfs_dir(const char *path)
{
	struct statfs fs;
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The first tmpfs that can be used; stores into a file on a disk would wait for its write-back. */
static int tmpfs_dir(unsigned n)
{
	char run[64];

	switch (n) {
	case 0:
		return open_tmpfs_dir("/dev/shm");
	case 1:
		snprintf(run, sizeof(run), "/run/user/%u", getuid());
		return open_tmpfs_dir(run);
	default:
		return open_tmpfs_dir("/tmp");
	}
}

static int make_file(int *ret_dir, char name[64])
{
	uint64_t random;
	unsigned n;
	int dir, fd;

	for (n = 0; n < 3; n++) {
		dir = tmpfs_dir(n);
		if (dir < 0)
			continue;
		if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
			random = tracer_mono_ns() * 0x9e3779b97f4a7c15ull ^ (uint64_t)getpid();
		snprintf(name, 64, GD_NAME_PREFIX "%u.%016llx", getuid(), (unsigned long long)random);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0) {
			*ret_dir = dir;
			return fd;
		}
		close(dir);
	}
	return -1;
}

static bool locks_memory(void)
{
	/* mlockall(MCL_FUTURE) makes a new mapping resident */
	unsigned char resident = 0;
	char *p = mmap(NULL, GD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return true;
	mincore(p, GD_PAGE, &resident);
	munmap(p, GD_PAGE);
	return resident & 1;
}

static uint32_t choose_packets(void)
{
	struct rlimit as;

	if (locks_memory() || (!getrlimit(RLIMIT_AS, &as) && as.rlim_cur < (1ull << 30)))
		return PACKETS_SMALL;
	return PACKETS_DEFAULT;
}

static void fill_header(struct gd_header *h, uint32_t npackets, uint32_t writer, bool forked)
{
	struct timespec ts;
	ssize_t n;

	h->magic = GD_MAGIC;
	h->major = GD_MAJOR;
	h->minor = GD_MINOR;
	h->header_size = sizeof(*h);
	h->npackets = npackets;
	h->region_size = GD_REGION_SIZE(npackets);
	h->language = GD_LANG_C;
	h->writer = writer;
	h->clock = gander__t.clock;
	h->flags = (gander__t.tid_off ? GD_FLAG_TID : 0) | (forked ? GD_FLAG_FORKED : 0);
	h->pid = (uint32_t)getpid();
	h->parent_pid = (uint32_t)getppid();
	h->uid = getuid();
	h->nslots = gander__t.nslots;
	clock_gettime(CLOCK_REALTIME, &ts);
	h->realtime_ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	h->start = gander__t.start;
	snprintf(h->agent, sizeof(h->agent), "libgander %s", GANDER_VERSION);
	prctl(PR_GET_NAME, h->comm);
	n = readlink("/proc/self/exe", h->exe, sizeof(h->exe) - 1);
	h->exe[n > 0 ? n : 0] = 0;
}

/* Parent's classes, heap, rules and channels, as they were; offsets and ids stay. Packets and slots start empty. `memory`
 * of the same pages has been allocated. */
static void take_over(char *map, const char *from)
{
	const struct gd_header *old = (const struct gd_header *)from;
	struct gd_header *h = (struct gd_header *)map;
	const struct gd_control *control = (const struct gd_control *)(from + GD_OFF_CONTROL);
	uint32_t heap = old->heap_used < GD_HEAP_SIZE ? old->heap_used : GD_HEAP_SIZE;
	uint32_t classes = old->class_count < GD_CLASSES ? old->class_count : GD_CLASSES;
	uint32_t filters = control->filters_used < GD_FILTERS_SIZE ? control->filters_used : GD_FILTERS_SIZE;
	unsigned c;

	h->heap_used = heap;
	h->class_count = classes;
	memcpy(h->session, old->session, sizeof(h->session));
	memcpy(h->build_id, old->build_id, sizeof(h->build_id));
	h->build_id_len = old->build_id_len;
	memcpy(map + GD_OFF_HEAP, from + GD_OFF_HEAP, heap);
	memcpy(map + GD_OFF_CLASSES, from + GD_OFF_CLASSES, classes * sizeof(struct gd_class));
	if (control->nrules) {
		memcpy(map + GD_OFF_CONTROL, control, sizeof(*control));
		memcpy(map + GD_OFF_FILTERS, from + GD_OFF_FILTERS, filters);
	}
	for (c = 0; c < GD_CHANNELS; c++) {
		const struct gd_channel *ch = (const struct gd_channel *)(from + GD_OFF_CHANNELS) + c;

		if (ch->state == GD_CHANNEL_ON)
			memcpy((struct gd_channel *)(map + GD_OFF_CHANNELS) + c, ch, offsetof(struct gd_channel, granted));
	}
}

static int allocate(int fd, uint64_t off, uint64_t len)
{
	return fallocate(fd, 0, (off_t)(off & ~(uint64_t)(GD_PAGE - 1)), (off_t)((len + (off & (GD_PAGE - 1)) + GD_PAGE - 1) & ~(uint64_t)(GD_PAGE - 1)));
}

/* Packets that a region gives its own channels before a collector has seen it: with memory, and touched. */
static void grant_own(int fd, unsigned c, uint32_t first, uint32_t n)
{
	struct gd_channel *ch = tracer_channel(c);
	uint32_t i, page;

	if (first + n > gander__t.npackets || allocate(fd, GD_OFF_DATA + (uint64_t)first * GD_PACKET, (uint64_t)n * GD_PACKET) < 0)
		return;
	for (i = first; i < first + n; i++) {
		for (page = 0; page < GD_PACKET / GD_PAGE; page++)
			*((volatile char *)tracer_packet(i) + page * GD_PAGE) = 0;
		ch->granted[i / 64] |= 1ull << (i % 64);
		__atomic_fetch_or(&ch->free[i / 64], 1ull << (i % 64), __ATOMIC_ACQ_REL); /* [FREE] */
	}
}

static int decode64(const char *s, uint8_t *to, size_t cap)
{
	uint32_t acc = 0, bits = 0;
	size_t n = 0;

	for (; *s; s++) {
		int v = *s >= 'A' && *s <= 'Z' ? *s - 'A' : *s >= 'a' && *s <= 'z' ? *s - 'a' + 26 : *s >= '0' && *s <= '9' ? *s - '0' + 52 : *s == '+' ? 62 : *s == '/' ? 63 : -1;

		if (v < 0)
			return -1;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			if (n == cap)
				return -1;
			bits -= 8;
			to[n++] = (uint8_t)(acc >> bits);
		}
	}
	return (int)n;
}

/* Channel 0 as GANDER_SESSION says. The rules land behind the region's filters; nothing of the text is believed. Called with
 * the file still open. */
static void session(int fd, const char *env)
{
	struct gd_control *control = (struct gd_control *)(gander__t.map + GD_OFF_CONTROL);
	struct gd_header *h = (struct gd_header *)gander__t.map;
	struct gd_channel *ch = tracer_channel(0);
	struct gd_session *blob;
	uint32_t i, rules_size, packets;
	int n;

	if (strncmp(env, "1:", 2) || strlen(env) > GD_SESSION_MAX * 4 / 3 + 8)
		return;
	/* decoded where it will be read from: the filters part, which is not used yet */
	if (allocate(fd, GD_OFF_CONTROL, sizeof(*control)) < 0 || allocate(fd, GD_OFF_CHANNELS, sizeof(*ch)) < 0 ||
	    allocate(fd, GD_OFF_FILTERS, strlen(env)) < 0)
		return;
	blob = (struct gd_session *)(void *)(gander__t.map + GD_OFF_FILTERS);
	n = decode64(env + 2, (uint8_t *)blob, GD_SESSION_MAX);
	if (n < (int)sizeof(*blob) || blob->magic != GD_SESSION_MAGIC || blob->size != (uint32_t)n || blob->nrules > GD_RULES)
		return;
	rules_size = blob->nrules * (uint32_t)sizeof(struct gd_rule);
	if (sizeof(*blob) + rules_size + (uint64_t)blob->filters_size != blob->size)
		return;
	packets = blob->packets < gander__t.npackets ? blob->packets : gander__t.npackets;
	memcpy(h->session, blob->session, sizeof(h->session));
	memcpy(ch->session, blob->session, sizeof(ch->session));
	ch->mode = blob->mode <= GD_MODE_COUNT ? blob->mode : GD_MODE_DISCARD;
	ch->context = blob->context & GD_CTX_ALL;
	ch->quota = blob->quota;
	ch->stack_depth = blob->stack_depth < GD_STACK_MAX ? blob->stack_depth : GD_STACK_MAX;
	ch->block_ms = blob->block_ms;
	ch->epoch = 1;
	for (i = 0; i < blob->nrules; i++) {
		control->rules[i] = ((struct gd_rule *)(void *)(blob + 1))[i];
		control->rules[i].channel = 0;
		control->rules[i].glob[sizeof(control->rules[i].glob) - 1] = 0;
		/* 8 is the first byte of the filters, which stand behind the rules */
		if (control->rules[i].filter)
			control->rules[i].filter += GD_OFF_FILTERS + (uint32_t)sizeof(*blob) + rules_size - 8;
	}
	control->filters_used = (blob->size + 7) & ~7u;
	h->flags |= GD_FLAG_BORN;
	grant_own(fd, 0, 0, packets);
	__atomic_store_n(&ch->state, GD_CHANNEL_ON, __ATOMIC_SEQ_CST);
	__atomic_store_n(&control->nrules, blob->nrules, __ATOMIC_SEQ_CST);
	__atomic_store_n(&control->gen, 2, __ATOMIC_SEQ_CST); /* [RULE] */
}

/* What pages a child's copy will need. */
static int allocate_for(int fd, const char *from)
{
	const struct gd_header *old = (const struct gd_header *)from;
	const struct gd_control *control = (const struct gd_control *)(from + GD_OFF_CONTROL);
	uint32_t heap = old->heap_used < GD_HEAP_SIZE ? old->heap_used : GD_HEAP_SIZE;
	uint32_t classes = old->class_count < GD_CLASSES ? old->class_count : GD_CLASSES;
	int r = allocate(fd, 0, GD_OFF_CLASSES + classes * sizeof(struct gd_class));

	if (!r)
		r = allocate(fd, GD_OFF_HEAP, heap + GD_PAGE);
	if (!r && control->nrules) {
		r = allocate(fd, GD_OFF_CONTROL, sizeof(*control) + GD_CHANNELS * sizeof(struct gd_channel));
		if (!r && control->filters_used && control->filters_used <= GD_FILTERS_SIZE)
			r = allocate(fd, GD_OFF_FILTERS, control->filters_used);
	}
	return r;
}

int tracer_make(const char *from)
{
	struct tracer *t = &gander__t;
	const char *env = getenv(GD_SESSION_ENV);
	int dir = -1, fd, ro_fd = -1, reason = TRACER_OFF_NO_FILE, r;
	char name[64], *map = MAP_FAILED, *ro = MAP_FAILED;
	uint32_t npackets = choose_packets(), i;
	struct stat a, b;
	unsigned c;

	fd = make_file(&dir, name);
	if (fd < 0)
		return errno == ENOSPC ? TRACER_OFF_NO_ROOM : TRACER_OFF_NO_TMPFS;
	/* the umask may have taken our own rights away */
	if (fchmod(fd, 0600) < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0)
		goto out;
	reason = TRACER_OFF_NO_ROOM;
	if (ftruncate(fd, (off_t)GD_REGION_SIZE(npackets)) < 0)
		goto out;
	if (from)
		r = allocate_for(fd, from);
	else
		r = allocate(fd, 0, GD_OFF_CLASSES + GD_PAGE) ? -1 : allocate(fd, GD_OFF_HEAP, GD_PAGE);
	if (r < 0)
		goto out;
	reason = TRACER_OFF_NO_MEMORY;
	map = mmap(NULL, GD_REGION_SIZE(npackets), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || madvise(map, GD_REGION_SIZE(npackets), MADV_DONTFORK) < 0)
		goto out;
	/* a second open of the same file: a forked child keeps this mapping, and must not keep the lock */
	ro_fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (ro_fd < 0 || fstat(fd, &a) < 0 || fstat(ro_fd, &b) < 0 || a.st_ino != b.st_ino || a.st_dev != b.st_dev)
		goto out;
	if (from)
		take_over(map, from);
	/* in a child at the address of the parent's: the program's pointers to enable words stay right */
	ro = mmap((void *)from, GD_META_SIZE, PROT_READ, MAP_SHARED | (from ? MAP_FIXED : 0), ro_fd, 0);
	if (ro == MAP_FAILED)
		goto out;
	t->map = map;
	t->data = map + GD_OFF_DATA;
	t->ro = ro;
	t->npackets = npackets;
	tracer_heap_allocated(GD_PAGE + (from ? ((struct gd_header *)map)->heap_used & ~(GD_PAGE - 1) : 0));
	fill_header((struct gd_header *)map, npackets,
		    t->sequences ? (t->slot_off - t->rseq_off == 4 ? GD_WRITER_CPU : GD_WRITER_MM_CID) : GD_WRITER_POOL, from != NULL);
	if (!from && env)
		session(fd, env);
	for (c = 0, i = 0; from && c < GD_CHANNELS; c++)
		if (tracer_channel(c)->state == GD_CHANNEL_ON && tracer_channel(c)->mode != GD_MODE_COUNT) {
			grant_own(fd, c, i, 16);
			i += 16;
		}
	__atomic_store_n(&((struct gd_header *)map)->state, GD_STATE_READY, __ATOMIC_RELEASE); /* [READY] */
	reason = TRACER_ON;
out:
	if (reason != TRACER_ON) {
		if (map != MAP_FAILED)
			munmap(map, GD_REGION_SIZE(npackets));
		unlinkat(dir, name, 0);
	}
	if (ro_fd >= 0)
		close(ro_fd);
	close(fd);
	close(dir);
	return reason;
}

/* Regions whose programs are dead and whom nobody recorded would stay for ever where nobody runs gander: each start looks at a few files and removes at most two. */
void tracer_remove_dead(void)
{
	struct {
		uint64_t ino;
		int64_t off;
		unsigned short len;
		unsigned char type;
		char name[];
	} *e;
	char buf[2048] __attribute__((aligned(8))), prefix[32];
	int dir = open_tmpfs_dir("/dev/shm"), list, removed = 0, looked = 0;
	struct timespec now;
	struct stat st;
	long n, at;

	if (dir < 0)
		return;
	list = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(dir);
	if (list < 0)
		return;
	snprintf(prefix, sizeof(prefix), GD_NAME_PREFIX "%u.", getuid());
	clock_gettime(CLOCK_REALTIME, &now);
	n = syscall(SYS_getdents64, list, buf, sizeof(buf));
	for (at = 0; at < n && removed < 2 && looked < 8; at += e->len) {
		int fd;

		e = (void *)(buf + at);
		if (strncmp(e->name, prefix, strlen(prefix)))
			continue;
		looked++;
		fd = openat(list, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		/* older than a minute: a younger one may be about to take its lock, or be awaited by a collector */
		if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == getuid() && st.st_ctime + 60 < now.tv_sec && !flock(fd, LOCK_EX | LOCK_NB) &&
		    !unlinkat(list, e->name, 0))
			removed++;
		close(fd);
	}
	close(list);
}
