/* How much memory a region may take for itself, before any collector has seen it: a part of what is free in its tmpfs and in the memory
 * cgroups that the process is in. At a cgroup's limit even fallocate() ends in the killer. And how much address space. System calls: only from tracer_make(). */
#include "tracer/sys.h"
#include "tracer/tracer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#define PART 4 /* a quarter of what is free */

static long read_text(const char *path, char *to, size_t cap)
{
	long fd = sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), n;

	if (fd < 0)
		return fd;
	n = sys(SYS_read, fd, to, cap - 1);
	sys(SYS_close, fd);
	to[n > 0 ? n : 0] = 0;
	return n;
}

static uint64_t number(const char *s)
{
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return UINT64_MAX; /* "max" */
	for (; *s >= '0' && *s <= '9' && v < UINT64_MAX / 16; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	return v;
}

/* Behind "name " at the start of a line, NULL when there is none. */
static const char *line_of(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (; text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL)
		if (!strncmp(text, name, n))
			return text + n;
	return NULL;
}

/* One directory of a cgroup hierarchy; what the kernel can take back from files counts as free. */
static uint64_t free_in(char *path, size_t len, size_t cap, bool v2)
{
	char text[4096];
	uint64_t limit, used;
	const char *at;

#define FILE_OF(name) (len + sizeof(name) <= cap ? memcpy(path + len, name, sizeof(name)) : NULL)
	if (!(v2 ? FILE_OF("/memory.max") : FILE_OF("/memory.limit_in_bytes")) || read_text(path, text, sizeof(text)) <= 0)
		return UINT64_MAX;
	limit = number(text);
	if (limit >= 1ull << 60)
		return UINT64_MAX;
	if (!(v2 ? FILE_OF("/memory.current") : FILE_OF("/memory.usage_in_bytes")) || read_text(path, text, sizeof(text)) <= 0)
		return UINT64_MAX;
	used = number(text);
	if (FILE_OF("/memory.stat") && read_text(path, text, sizeof(text)) > 0) {
		at = line_of(text, v2 ? "inactive_file " : "total_inactive_file ");
		if (at && number(at) < used)
			used -= number(at);
	}
	return limit > used ? limit - used : 0;
}

static uint64_t free_in_cgroups(void)
{
	char text[4096], path[512];
	uint64_t room = UINT64_MAX, r;
	const char *at, *end, *root;
	size_t len, base, full;
	bool v2 = false;

	if (read_text("/proc/self/cgroup", text, sizeof(text)) <= 0)
		return room;
	at = strstr(text, ":memory:");
	if (at) {
		at += strlen(":memory:");
		root = "/sys/fs/cgroup/memory";
	} else {
		at = line_of(text, "0::");
		root = "/sys/fs/cgroup";
		v2 = true;
	}
	if (!at)
		return room;
	end = strchr(at, '\n') ? strchr(at, '\n') : at + strlen(at);
	base = strlen(root);
	if ((size_t)(end - at) + base + 32 > sizeof(path))
		return room;
	memcpy(path, root, base);
	memcpy(path + base, at, (size_t)(end - at));
	full = base + (size_t)(end - at);
	/* from the process's own group up; a container that sees only its own part has it at the root. What stands behind len is overwritten. */
	for (len = full;; len--) {
		if (len == full || len == base || path[len] == '/') {
			r = free_in(path, len, sizeof(path), v2);
			if (r < room)
				room = r;
		}
		if (len == base)
			return room;
	}
}

uint64_t tracer_room(long fd)
{
	uint64_t room = free_in_cgroups(), r;
	struct statfs fs;

	if (!sys(SYS_fstatfs, fd, &fs) && fs.f_blocks) {
		r = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
		if (r < room)
			room = r;
	}
	return room / PART;
}

uint64_t tracer_address_space(void)
{
	struct rlimit as;
	char text[128];
	uint64_t used;

	if (sys(SYS_prlimit64, 0, RLIMIT_AS, NULL, &as) || as.rlim_cur >= TRACER_AS_PLENTY)
		return UINT64_MAX;
	used = read_text("/proc/self/statm", text, sizeof(text)) > 0 ? number(text) * getauxval(AT_PAGESZ) : 0;
	return used < as.rlim_cur ? (as.rlim_cur - used) / 2 : 0;
}
