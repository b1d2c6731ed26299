/* Making the region: the file, its memory, its mappings. Runs in the constructor and in a forked child, nowhere else, and is the only
 * place with system calls. No allocator: everything is on the stack. Descriptors are open only while this runs, close-on-exec. */
#include "tracer/sys.h"
#include "tracer/tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

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
	char name[64] = GD_OFF_PREFIX;
	long fd;

	memcpy(name + sizeof(GD_OFF_PREFIX) - 1, off_text[reason], strlen(off_text[reason]) + 1); /* the longest fits */
	fd = sys(SYS_memfd_create, name, 1 /* MFD_CLOEXEC */);
	if (fd < 0)
		return;
	sys(SYS_mmap, NULL, GD_PAGE, PROT_NONE, MAP_SHARED, fd, 0);
	sys(SYS_close, fd);
}

static char *put_decimal(char *to, uint32_t v)
{
	char digits[10];
	int n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (n)
		*to++ = digits[--n];
	*to = 0;
	return to;
}

static char *put_hex(char *to, uint64_t v)
{
	int i;

	for (i = 60; i >= 0; i -= 4)
		*to++ = "0123456789abcdef"[v >> i & 15];
	*to = 0;
	return to;
}

static long open_tmpfs_dir(const char *path)
{
	struct statfs fs;
	long fd = sys(SYS_openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && (sys(SYS_fstatfs, fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)) {
		sys(SYS_close, fd);
		fd = -1;
	}
	return fd;
}

/* The first tmpfs that can be used; stores into a file on a disk would wait for its write-back. */
static long tmpfs_dir(unsigned n, uint32_t uid)
{
	char run[64] = "/run/user/";

	switch (n) {
	case 0:
		return open_tmpfs_dir("/dev/shm");
	case 1:
		put_decimal(run + strlen(run), uid);
		return open_tmpfs_dir(run);
	default:
		return open_tmpfs_dir("/tmp");
	}
}

static char *put_prefix(char *to, uint32_t uid)
{
	memcpy(to, GD_NAME_PREFIX, strlen(GD_NAME_PREFIX));
	to = put_decimal(to + strlen(GD_NAME_PREFIX), uid);
	*to++ = '.';
	*to = 0;
	return to;
}

/* Where this process's region is: a forked child looks there whether anybody still records. */
static struct {
	unsigned dir;
	uint32_t uid;
	char name[64];
} place;

static long make_file(long *ret_dir, unsigned *ret_n, char name[64], uint32_t uid)
{
	long dir, fd = -ENOENT;
	uint64_t random;
	unsigned n;

	for (n = 0; n < 3; n++) {
		dir = tmpfs_dir(n, uid);
		if (dir < 0)
			continue;
		if (sys(SYS_getrandom, &random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
			random = tracer_mono_ns() * 0x9e3779b97f4a7c15ull ^ (uint64_t)sys(SYS_getpid);
		put_hex(put_prefix(name, uid), random);
		fd = sys(SYS_openat, dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0) {
			*ret_dir = dir;
			*ret_n = n;
			return fd;
		}
		sys(SYS_close, dir);
	}
	return fd;
}

/* Small where the program locks its memory (the guard page, not yet touched, is resident then) or may not have much address space; at
 * most a quarter of the tmpfs, because a program that locks all its memory later makes the whole region resident. */
static uint32_t choose_packets(long fd)
{
	unsigned char resident = 0;
	struct statfs fs;
	struct rlimit as;
	uint64_t quarter;

	sys(SYS_mincore, gander__t.guard, GD_PAGE, &resident);
	if ((resident & 1 && !__atomic_load_n(gander__t.guard, __ATOMIC_RELAXED)) ||
	    (!sys(SYS_prlimit64, 0, RLIMIT_AS, NULL, &as) && as.rlim_cur < TRACER_AS_PLENTY))
		return PACKETS_SMALL;
	if (sys(SYS_fstatfs, fd, &fs) || !fs.f_blocks)
		return PACKETS_DEFAULT;
	quarter = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize / 4;
	if (quarter >= GD_REGION_SIZE(PACKETS_DEFAULT))
		return PACKETS_DEFAULT;
	return quarter > GD_REGION_SIZE(PACKETS_SMALL) ? (uint32_t)((quarter - GD_OFF_DATA) / GD_PACKET) : PACKETS_SMALL;
}

static void fill_header(struct gd_header *h, uint32_t npackets, uint32_t writer, uint32_t uid, bool forked)
{
	const char *exe = (const char *)getauxval(AT_EXECFN);
	struct timespec ts;

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
	h->pid = (uint32_t)sys(SYS_getpid);
	h->parent_pid = (uint32_t)sys(SYS_getppid);
	h->uid = uid;
	h->nslots = gander__t.nslots;
	clock_gettime(CLOCK_REALTIME, &ts);
	h->realtime_ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	h->start = gander__t.start;
	memcpy(h->agent, "libgander " GANDER_VERSION, sizeof("libgander " GANDER_VERSION));
	sys(SYS_prctl, PR_GET_NAME, h->comm);
	/* as the program was started: /proc/self/exe would be a tenth of the constructor's time, and the collector reads it where it can */
	if (exe)
		memcpy(h->exe, exe, strnlen(exe, sizeof(h->exe) - 1));
}

/* How much of the parent's region a forked child takes over: loaded once and bounded, for the parent goes on, and others may write there. */
static uint32_t load_bounded(const uint32_t *at, uint32_t max)
{
	uint32_t v = __atomic_load_n(at, __ATOMIC_RELAXED);

	return v < max ? v : max;
}

static uint32_t how_many_classes(const char *from)
{
	return load_bounded(&((const struct gd_header *)from)->class_count, GD_CLASSES);
}

static uint32_t first_classes(uint32_t n)
{
	return n < GD_CLASSES_FIRST ? n : GD_CLASSES_FIRST;
}

/* Parent's classes, rules and channels, as they were; offsets and ids stay. Packets and slots start empty. Memory of the same pages has
 * been allocated. */
static void take_over(char *map, const char *from, uint32_t on, uint32_t classes)
{
	const struct gd_header *old = (const struct gd_header *)from;
	struct gd_header *h = (struct gd_header *)map;
	struct gd_channel *ch = (struct gd_channel *)(map + GD_OFF_CHANNELS);
	uint32_t i;
	unsigned c;

	h->class_count = classes;
	memcpy(h->session, old->session, sizeof(h->session));
	memcpy(h->build_id, old->build_id, sizeof(h->build_id));
	h->build_id_len = old->build_id_len;
	memcpy(map + GD_OFF_CLASSES, from + GD_OFF_CLASSES, first_classes(classes) * sizeof(struct gd_class));
	memcpy(map + GD_OFF_CLASSES_MORE, from + GD_OFF_CLASSES_MORE, (classes - first_classes(classes)) * sizeof(struct gd_class));
	if (on)
		memcpy(map + GD_OFF_CONTROL, from + GD_OFF_CONTROL, sizeof(struct gd_control));
	for (c = 0; c < GD_CHANNELS; c++)
		if (on & 1u << c) {
			memcpy(&ch[c], (const struct gd_channel *)(from + GD_OFF_CHANNELS) + c, offsetof(struct gd_channel, granted));
			/* its collector is yet to come: a child of this one goes on with the recording too; what is frozen is the parent's ring */
			ch[c].collector_pid = 0;
			if (ch[c].trigger & GD_TRIGGER_FROZEN)
				ch[c].trigger = 0;
		}
	for (i = 0; i < classes; i++)
		((struct gd_class *)(map + gd_class_offset(i)))->enabled &= on * (GD_ENABLED(0) | GD_FILTERED(0) | GD_COUNTING(0) | GD_CONDITIONAL(0));
}

/* The channels that a forked child goes on with: on, and their collector lives. A channel is only looked at when it has a rule: its page has
 * memory then, where the others are holes that a look would fill. */
static uint32_t channels_to_keep(const char *from)
{
	uint32_t on = tracer_channels_in_use((const struct gd_control *)(from + GD_OFF_CONTROL)), c;
	long dir, fd;

	for (c = 0; c < GD_CHANNELS; c++)
		if (on & 1u << c && ((const struct gd_channel *)(from + GD_OFF_CHANNELS))[c].state != GD_CHANNEL_ON)
			on &= ~(1u << c);
	dir = on ? tmpfs_dir(place.dir, place.uid) : -1;
	fd = dir >= 0 ? sys(SYS_openat, dir, place.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
	for (c = 0; fd >= 0 && c < GD_CHANNELS; c++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = GD_LOCK_CHANNEL(c), .l_len = 1 };
		const struct gd_channel *ch = (const struct gd_channel *)(from + GD_OFF_CHANNELS) + c;

		/* one that was born or forked into a recording may have its collector yet to come */
		if (on & 1u << c && ch->collector_pid && !sys(SYS_fcntl, fd, F_OFD_GETLK, &lock) && lock.l_type == F_UNLCK)
			on &= ~(1u << c);
	}
	if (fd >= 0)
		sys(SYS_close, fd);
	if (dir >= 0)
		sys(SYS_close, dir);
	return on;
}

static long allocate(long fd, uint64_t off, uint64_t len)
{
	return sys(SYS_fallocate, fd, 0, (off_t)(off & ~(uint64_t)(GD_PAGE - 1)), (off_t)((len + (off & (GD_PAGE - 1)) + GD_PAGE - 1) & ~(uint64_t)(GD_PAGE - 1)));
}

/* What classes and rules point to, descriptions and filters, is there before them and stays: how much there is of it is loaded behind the
 * copy of those. The parent declares and links meanwhile: with a size from before, a class would point to what the child does not have, and later
 * to what the child itself puts there (tests/model/fork.pml). */
static long take_over_targets(long fd, char *map, const char *from, uint32_t on, uint32_t *heap)
{
	struct gd_control *control = (struct gd_control *)(map + GD_OFF_CONTROL);
	uint32_t filters;
	long r;

	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* the copy's loads are before the two below, as with a packet's lap */
	*heap = load_bounded(&((const struct gd_header *)from)->heap_used, GD_HEAP_SIZE - GD_PAGE) & ~7u;
	filters = on ? load_bounded(&((const struct gd_control *)(from + GD_OFF_CONTROL))->filters_used, GD_FILTERS_SIZE) : 0;
	r = allocate(fd, GD_OFF_HEAP, *heap + GD_PAGE);
	if (!r && filters)
		r = allocate(fd, GD_OFF_FILTERS, filters);
	if (r)
		return r;
	((struct gd_header *)map)->heap_used = *heap;
	memcpy(map + GD_OFF_HEAP, from + GD_OFF_HEAP, *heap);
	if (on) {
		control->filters_used = filters;
		memcpy(map + GD_OFF_FILTERS, from + GD_OFF_FILTERS, filters);
	}
	return 0;
}

/* Packets that a region gives its own channels before a collector has seen it: with memory, and touched; fewer where there is
 * little room. Returns how many. */
static uint32_t grant_own(long fd, unsigned c, uint32_t first, uint32_t n)
{
	struct gd_channel *ch = tracer_channel(c);
	uint64_t room = tracer_room(fd) / GD_PACKET;
	uint32_t i, page;

	if (n > room)
		n = (uint32_t)room;
	if (!n || first + n > gander__t.npackets || allocate(fd, GD_OFF_DATA + (uint64_t)first * GD_PACKET, (uint64_t)n * GD_PACKET) < 0)
		return 0;
	for (i = first; i < first + n; i++) {
		for (page = 0; page < GD_PACKET / GD_PAGE; page++)
			*((volatile char *)tracer_packet(i) + page * GD_PAGE) = 0;
		ch->granted[i / 64] |= 1ull << (i % 64);
		__atomic_fetch_or(&ch->free[i / 64], 1ull << (i % 64), __ATOMIC_ACQ_REL); /* [FREE] */
	}
	return n;
}

static int decode64(const char *s, uint8_t *to, size_t cap)
{
	uint32_t acc = 0, bits = 0;
	size_t n = 0;

	for (; *s; s++) {
		int v = *s >= 'A' && *s <= 'Z' ? *s - 'A' : *s >= 'a' && *s <= 'z' ? *s - 'a' + 26
						    : *s >= '0' && *s <= '9'       ? *s - '0' + 52
						    : *s == '+'                    ? 62
						    : *s == '/'                    ? 63
										   : -1;

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
static void session(long fd, const char *env)
{
	struct gd_control *control = (struct gd_control *)(gander__t.map + GD_OFF_CONTROL);
	struct gd_header *h = (struct gd_header *)gander__t.map;
	struct gd_channel *ch = tracer_channel(0);
	const struct gd_session *text;
	struct gd_session blob;
	uint32_t i, rules_size;
	int n;

	if (strncmp(env, "1:", 2) || strlen(env) > GD_SESSION_MAX * 4 / 3 + 8)
		return;
	/* decoded where it will be read from: the filters part, which is not used yet */
	if (allocate(fd, GD_OFF_CONTROL, sizeof(*control)) < 0 || allocate(fd, GD_OFF_CHANNELS, sizeof(*ch)) < 0 ||
	    allocate(fd, GD_OFF_FILTERS, strlen(env)) < 0) {
		tracer_note("the recording that the environment asks for is not set up: the tmpfs is full");
		return;
	}
	text = (const struct gd_session *)(const void *)(gander__t.map + GD_OFF_FILTERS);
	n = decode64(env + 2, (uint8_t *)gander__t.map + GD_OFF_FILTERS, GD_SESSION_MAX);
	memcpy(&blob, text, sizeof(blob)); /* others may write there: what is checked is our own */
	if (n < (int)sizeof(blob) || blob.magic != GD_SESSION_MAGIC || blob.size != (uint32_t)n || blob.nrules > GD_RULES)
		return;
	rules_size = blob.nrules * (uint32_t)sizeof(struct gd_rule);
	if (sizeof(blob) + rules_size + (uint64_t)blob.filters_size != blob.size)
		return;
	memcpy(h->session, blob.session, sizeof(h->session));
	memcpy(ch->session, blob.session, sizeof(ch->session));
	ch->mode = blob.mode <= GD_MODE_COUNT ? blob.mode : GD_MODE_DISCARD;
	ch->context = blob.context & GD_CTX_ALL;
	ch->quota = blob.quota;
	ch->stack_depth = blob.stack_depth < GD_STACK_MAX ? blob.stack_depth : GD_STACK_MAX;
	ch->block_ms = blob.block_ms;
	ch->epoch = 1;
	for (i = 0; i < blob.nrules; i++) {
		control->rules[i] = ((const struct gd_rule *)(const void *)(text + 1))[i];
		control->rules[i].channel = 0;
		control->rules[i].glob[sizeof(control->rules[i].glob) - 1] = 0;
		/* 8 is the first byte of the filters, which stand behind the rules */
		if (control->rules[i].filter)
			control->rules[i].filter += GD_OFF_FILTERS + (uint32_t)sizeof(blob) + rules_size - 8;
	}
	control->filters_used = (blob.size + 7) & ~7u;
	h->flags |= GD_FLAG_BORN;
	grant_own(fd, 0, 0, blob.packets < gander__t.npackets ? blob.packets : gander__t.npackets);
	__atomic_store_n(&ch->state, GD_CHANNEL_ON, __ATOMIC_SEQ_CST);
	__atomic_store_n(&control->nrules, blob.nrules, __ATOMIC_SEQ_CST);
	__atomic_store_n(&control->gen, 2, __ATOMIC_SEQ_CST); /* [RULE] */
}

/* What pages a child's copy will need, but for what classes and rules point to. */
static long allocate_for(long fd, uint32_t on, uint32_t classes)
{
	long r = allocate(fd, 0, GD_OFF_CLASSES + (classes ? first_classes(classes) : 1) * sizeof(struct gd_class));
	uint32_t c;

	if (!r && classes > GD_CLASSES_FIRST)
		r = allocate(fd, GD_OFF_CLASSES_MORE, (classes - GD_CLASSES_FIRST) * sizeof(struct gd_class));
	if (!r)
		r = allocate(fd, GD_OFF_CONTROL, on ? sizeof(struct gd_control) : GD_PAGE);
	for (c = 0; !r && c < GD_CHANNELS; c++)
		if (on & 1u << c)
			r = allocate(fd, GD_OFF_CHANNELS + c * sizeof(struct gd_channel), sizeof(struct gd_channel));
	return r;
}

int tracer_make(const char *from)
{
	struct tracer *t = &gander__t;
	const char *env = from ? NULL : tracer_env(GD_SESSION_ENV);
	uint32_t uid = (uint32_t)sys(SYS_getuid), npackets = 0, i;
	long dir = -1, fd, ro_fd = -1, map = -1, ro = -1, r;
	int reason = TRACER_OFF_NO_FILE;
	uint32_t on = from ? channels_to_keep(from) : 0;
	uint32_t classes = from ? how_many_classes(from) : 0, heap = 0;
	char name[64];
	unsigned c, n = 0;

	fd = make_file(&dir, &n, name, uid);
	if (fd < 0)
		return fd == -ENOSPC ? TRACER_OFF_NO_ROOM : TRACER_OFF_NO_TMPFS;
	/* the umask may have taken our own rights away */
	if (sys(SYS_fchmod, fd, 0600) < 0)
		goto out;
	/* Somebody who looks for dead regions may hold the new file's lock for a moment; who holds it longer is not waited for. */
	for (i = 0; (r = sys(SYS_flock, fd, LOCK_SH | LOCK_NB)) == -EWOULDBLOCK && i < 1000; i++)
		sys(SYS_sched_yield);
	if (r < 0)
		goto out;
	reason = TRACER_OFF_NO_ROOM;
	npackets = choose_packets(fd);
	if (sys(SYS_ftruncate, fd, GD_REGION_SIZE(npackets)) < 0)
		goto out;
	if (from)
		r = allocate_for(fd, on, classes);
	else
		r = allocate(fd, 0, GD_OFF_CLASSES + GD_PAGE) || allocate(fd, GD_OFF_CONTROL, GD_PAGE) || allocate(fd, GD_OFF_HEAP, GD_PAGE) ? -1 : 0;
	if (r < 0)
		goto out;
	reason = TRACER_OFF_NO_MEMORY;
	if (GD_REGION_SIZE(npackets) + GD_META_SIZE > tracer_address_space())
		goto out;
	map = sys(SYS_mmap, NULL, GD_REGION_SIZE(npackets), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sys_failed(map) || sys(SYS_madvise, map, GD_REGION_SIZE(npackets), MADV_DONTFORK) < 0)
		goto out;
	/* A second open of the same file: a forked child keeps this mapping, and must not keep the lock. Only this user could have put another
	 * file in its place: the name is new, and the directory sticky. */
	ro_fd = sys(SYS_openat, dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (ro_fd < 0)
		goto out;
	if (from) {
		take_over((char *)map, from, on, classes);
		reason = TRACER_OFF_NO_ROOM;
		if (take_over_targets(fd, (char *)map, from, on, &heap) < 0)
			goto out;
		reason = TRACER_OFF_NO_MEMORY;
	}
	/* in a child at the address of the parent's: the program's pointers to enable words stay right */
	ro = sys(SYS_mmap, from, GD_META_SIZE, PROT_READ, MAP_SHARED | (from ? MAP_FIXED : 0), ro_fd, 0);
	if (sys_failed(ro))
		goto out;
	t->map = (char *)map;
	t->data = t->map + GD_OFF_DATA;
	t->ro = (const char *)ro;
	t->npackets = npackets;
	tracer_heap_allocated(GD_PAGE + (heap & ~(GD_PAGE - 1)));
	fill_header((struct gd_header *)map, npackets,
		    t->sequences ? (t->slot_off - t->rseq_off == 4 ? GD_WRITER_CPU : GD_WRITER_MM_CID) : GD_WRITER_POOL, uid, from != NULL);
	if (env)
		session(fd, env);
	for (c = 0, i = 0; c < GD_CHANNELS; c++)
		if (on & 1u << c)
			i += grant_own(fd, c, i, 16);
	__atomic_store_n(&((struct gd_header *)map)->state, GD_STATE_READY, __ATOMIC_RELEASE); /* [READY] */
	reason = TRACER_ON;
	place.dir = n;
	place.uid = uid;
	memcpy(place.name, name, sizeof(name));
out:
	if (reason != TRACER_ON) {
		if (!sys_failed(map))
			sys(SYS_munmap, map, GD_REGION_SIZE(npackets));
		sys(SYS_unlinkat, dir, name, 0);
	}
	if (ro_fd >= 0)
		sys(SYS_close, ro_fd);
	sys(SYS_close, fd);
	sys(SYS_close, dir);
	return reason;
}

static bool is_recorded(long fd)
{
	uint32_t state;
	unsigned c;

	for (c = 0; c < GD_CHANNELS; c++)
		if (sys(SYS_pread64, fd, &state, sizeof(state), GD_OFF_CHANNELS + c * sizeof(struct gd_channel)) == sizeof(state) &&
		    state == GD_CHANNEL_ON)
			return true;
	return false;
}

/* A Go program that died in flight has left its last seconds: somebody may want them, for a minute. */
static bool has_flown(long fd)
{
	struct timespec now;
	uint32_t state = 0, saved = 0;
	uint64_t closed = 0;

	if (sys(SYS_pread64, fd, &state, sizeof(state), GD_OFF_FLIGHT) != sizeof(state) ||
	    sys(SYS_pread64, fd, &saved, sizeof(saved), GD_OFF_FLIGHT + offsetof(struct gd_flight, saved)) != sizeof(saved) ||
	    sys(SYS_pread64, fd, &closed, sizeof(closed), GD_OFF_FLIGHT + offsetof(struct gd_flight, closed_ns)) != sizeof(closed))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (state == GD_FLIGHT_FLYING || saved == GD_SAVED_READY) &&
	       (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - closed < 60000000000u;
}

/* A file of this very tmpfs: what is mounted over a region's name may be a file system that never answers, and a start must not wait for it. */
static long open_here(long dir, const char *name)
{
	struct open_how how = { .flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV };
	long fd = sys(SYS_openat2, dir, name, &how, sizeof(how));

	/* before Linux 5.6, or where a seccomp filter does not know it */
	return fd == -ENOSYS || fd == -EPERM ? sys(SYS_openat, dir, name, (long)how.flags) : fd;
}

/* Regions whose programs are dead and whom nobody recorded would stay for ever where nobody runs gander: each fourth start, and each
 * fork, looks at eight files and removes those that are dead. */
void tracer_remove_dead(bool always)
{
	struct {
		uint64_t ino;
		int64_t off;
		unsigned short len;
		unsigned char type;
		char name[];
	} * e;
	char buf[2048] __attribute__((aligned(8))), prefix[32];
	uint32_t uid = (uint32_t)sys(SYS_getuid), seen = 0, skip, chance = (uint32_t)(gander__t.start.counter >> 4);
	static const uint8_t none[16];
	size_t prefix_len;
	struct gd_header h;
	struct timespec now;
	struct stat st;
	long dir, n, at, fd;

	if (chance % 4 && !always)
		return;
	dir = sys(SYS_openat, AT_FDCWD, "/dev/shm", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return;
	prefix_len = (size_t)(put_prefix(prefix, uid) - prefix);
	clock_gettime(CLOCK_REALTIME, &now);
	n = sys(SYS_getdents64, dir, buf, sizeof(buf));
	for (at = 0; at < n; at += e->len) {
		e = (void *)(buf + at);
		seen += !strncmp(e->name, prefix, prefix_len);
	}
	/* live ones may stand first: begin by chance */
	skip = seen > 8 ? chance / 4 % (seen - 7) : 0;
	for (at = 0, seen = 0; at < n && seen < skip + 8; at += e->len) {
		e = (void *)(buf + at);
		if (strncmp(e->name, prefix, prefix_len) || seen++ < skip)
			continue;
		fd = open_here(dir, e->name);
		if (fd < 0)
			continue;
		/* One that is not ready may be about to take its lock; one that is being recorded waits a minute for its collector. */
		if (!sys(SYS_fstat, fd, &st) && S_ISREG(st.st_mode) && st.st_uid == uid && !sys(SYS_flock, fd, LOCK_EX | LOCK_NB) &&
		    !has_flown(fd) && (st.st_ctime + 60 < now.tv_sec || (sys(SYS_pread64, fd, &h, sizeof(h), 0) == sizeof(h) && h.magic == GD_MAGIC && h.major == GD_MAJOR && h.state == GD_STATE_READY && !memcmp(h.session, none, sizeof(none)) && !is_recorded(fd))))
			sys(SYS_unlinkat, dir, e->name, 0);
		sys(SYS_close, fd);
	}
	sys(SYS_close, dir);
}
