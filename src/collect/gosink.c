/* Whole generations into files. */
#include "base/varint.h"
#include "collect/collect_go.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTS_MAX 10000
#define ROOM_KEPT (1u << 20) /* a generation's memory that is larger is given back at its end */

void go_sink_init(struct go_sink *s, const char *dir, const char *comm, pid_t pid, const char *source)
{
	size_t i;
	int n;

	memset(s, 0, sizeof(*s));
	s->fd = -1;
	s->pid = pid;
	s->source = source;
	s->most = GO_PENDING;
	snprintf(s->dir, sizeof(s->dir), "%.4000s", dir);
	snprintf(s->comm, sizeof(s->comm), "%s", comm);
	n = snprintf(s->name, sizeof(s->name), "%s-%d", *comm ? s->comm : "program", (int)pid);
	for (i = 0; i < (size_t)n && s->name[i]; i++)
		if (!(s->name[i] >= '0' && s->name[i] <= '9') && !(s->name[i] >= 'a' && s->name[i] <= 'z') &&
		    !(s->name[i] >= 'A' && s->name[i] <= 'Z') && s->name[i] != '_' && s->name[i] != '-' && !(s->name[i] == '.' && i))
			s->name[i] = '_';
}

void go_sink_done(struct go_sink *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	buf_done(&s->pending);
	free(s->part);
	s->part = NULL;
	s->nparts = 0;
}

size_t go_batch(const uint8_t *data, size_t len, uint64_t *gen)
{
	const uint8_t *p = data, *end = data + len;
	uint64_t thread, time, size;

	*gen = 0;
	if (!len || (*p != 1 && *p != 49))
		return 0;
	p += *p == 49 ? 2 : 1;
	if (p > end || !varint_get(&p, end, gen)) {
		*gen = 0;
		return 0;
	}
	if (!*gen || !varint_get(&p, end, &thread) || !varint_get(&p, end, &time) || !varint_get(&p, end, &size) || size > GO_BATCH_MAX ||
	    size > (uint64_t)(end - p))
		return 0;
	return (size_t)(p - data) + size;
}

bool go_sink_batch(struct go_sink *s, const void *data, size_t len)
{
	uint64_t gen;

	if (go_batch(data, len, &gen) != len || (s->pending.len && gen != s->gen) || s->pending.len + len > s->most)
		return false;
	s->gen = gen;
	buf_put(&s->pending, data, len);
	return !buf_failed(&s->pending);
}

void go_sink_drop(struct go_sink *s)
{
	s->torn_bytes += s->pending.len;
	buf_done(&s->pending);
}

void go_sink_break(struct go_sink *s)
{
	go_sink_drop(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void go_sink_rotate(struct go_sink *s, const char *dir)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->nparts = s->made = 0;
	s->generations = s->bytes = 0;
	s->lost_generations = s->lost_bytes = s->torn_bytes = 0;
	snprintf(s->dir, sizeof(s->dir), "%.4000s", dir);
}

void go_sink_totals(const struct go_sink *s, struct go_totals *t)
{
	t->traces += s->nparts;
	t->generations += s->generations;
	t->bytes += s->bytes;
	go_count(&t->lost_generations, s->lost_generations);
	go_count(&t->lost_bytes, s->lost_bytes);
	go_count(&t->torn_bytes, s->torn_bytes);
}

static int write_all(int fd, const void *data, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = write(fd, (const char *)data + done, len - done);
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Begins a file. */
static int part_begin(struct go_sink *s, struct err *err)
{
	struct go_part *grown, *p;
	char path[4300];

	grown = realloc(s->part, (s->nparts + 1) * sizeof(*s->part));
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	s->part = grown;
	p = &grown[s->nparts];
	memset(p, 0, sizeof(*p));
	snprintf(path, sizeof(path), "%s/go", s->dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make '%s': %m", path);
	do {
		if (s->made++)
			snprintf(p->file, sizeof(p->file), "go/%s-%u.trace", s->name, s->made);
		else
			snprintf(p->file, sizeof(p->file), "go/%s.trace", s->name);
		snprintf(path, sizeof(path), "%s/%s", s->dir, p->file);
		s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	} while (s->fd < 0 && errno == EEXIST && s->made < PARTS_MAX);
	if (s->fd < 0)
		return err_set(err, -errno, "cannot write '%s': %m", path);
	s->nparts++;
	p->begin_ns = s->begin_ns;
	memcpy(p->reason, s->reason, sizeof(p->reason));
	p->first_gen = s->gen;
	p->bytes = GO_HEADER;
	s->bytes += GO_HEADER;
	s->written += GO_HEADER;
	return write_all(s->fd, s->header, GO_HEADER) < 0 ? err_set(err, -errno, "cannot write '%s': %m", path) : 0;
}

static void forget_pending(struct go_sink *s)
{
	if (s->pending.cap > ROOM_KEPT)
		buf_done(&s->pending);
	else
		buf_clear(&s->pending);
}

int go_sink_end(struct go_sink *s, uint64_t end_ns, struct err *err)
{
	struct go_part *p;
	int res = 0;

	if (!s->pending.len)
		return 0;
	if (s->next_gen && s->gen > s->next_gen) {
		go_count(&s->lost_generations, s->gen - s->next_gen);
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
	}
	s->next_gen = s->gen + 1;
	if (s->fd < 0 && s->nparts >= PARTS_MAX) { /* one program's files are no reason to end the recording of the others */
		go_count(&s->lost_generations, 1);
		forget_pending(s);
		s->begin_ns = end_ns;
		return 0;
	}
	if (s->fd < 0)
		res = part_begin(s, err);
	if (res == 0) {
		p = &s->part[s->nparts - 1];
		res = write_all(s->fd, s->pending.data, s->pending.len);
		if (res < 0) {
			errno = -res;
			err_set(err, res, "cannot write '%s/%s': %m", s->dir, p->file);
			/* half of a generation would spoil the file */
			if (ftruncate(s->fd, (off_t)p->bytes) < 0)
				close(s->fd), s->fd = -1;
		} else {
			p->bytes += s->pending.len;
			s->bytes += s->pending.len;
			s->written += s->pending.len;
			p->last_gen = s->gen;
			p->generations++;
			s->generations++;
			p->end_ns = end_ns;
		}
	}
	if (res < 0)
		go_count(&s->lost_generations, 1);
	s->begin_ns = end_ns;
	forget_pending(s);
	return res;
}

static void put_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void put_str(struct json *j, const char *key, const char *v)
{
	json_key(j, key);
	json_str(j, v);
}

void go_sink_json(const struct go_sink *s, struct json *j, const char *boot_id)
{
	const struct go_part *p;
	unsigned i;

	for (i = 0; i < (s->nparts ? s->nparts : 1); i++) {
		json_obj(j);
		put_u64(j, "pid", (uint64_t)s->pid);
		put_str(j, "program", s->comm);
		put_str(j, "source", s->source);
		if (s->nparts) {
			p = &s->part[i];
			put_str(j, "file", p->file);
			json_key(j, "format");
			json_strn(j, (const char *)s->header, !memcmp(s->header, "go 1.", 5) ? 7 : 0);
			put_str(j, "clock", s->whole ? "none" : "monotonic");
			put_str(j, "boot_id", boot_id);
			put_u64(j, "first_generation", p->first_gen);
			put_u64(j, "last_generation", p->last_gen);
			put_u64(j, "generations", p->generations);
			put_u64(j, "bytes", p->bytes);
			put_u64(j, "begin_mono_ns", p->begin_ns);
			put_u64(j, "end_mono_ns", p->end_ns);
			if (*p->reason)
				put_str(j, "reason", p->reason);
		}
		if (!s->nparts || i + 1 == s->nparts) { /* of the program, told once */
			json_key(j, "lost");
			json_obj(j);
			put_u64(j, "generations", s->lost_generations);
			put_u64(j, "bytes", s->lost_bytes);
			put_u64(j, "torn_bytes", s->torn_bytes);
			json_obj_end(j);
		}
		json_obj_end(j);
	}
}
