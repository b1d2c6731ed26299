/* A recording from beginning to end: one loop that finds programs, drains them, gives them memory, notices their end. It sleeps
 * between rounds, shorter the more there is to do (INTERVAL_MIN_NS .. INTERVAL_MAX_NS), and not at all while packets come faster than that. */
#include "base/opt.h"
#include "collect/collect_record.h"
#include "collect/collect_control.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MIN_NS   1000000ull
#define INTERVAL_MAX_NS   20000000ull
#define FLUSH_NS	  200000000ull  /* events are on disk at most so long after they happened */
#define FLUSH_BYTES	  16384u        /* or when so many have come together */
#define ALIVE_NS	  50000000ull   /* between looks at whether a program lives */
#define ENDED_NS	  150000000ull
#define MANIFEST_NS	  1000000000ull
#define PROGRESS_NS	  500000000ull
#define FOREIGN_SCAN_NS	  2000000000ull /* between looks into other mount namespaces (root, --all) */
#define RESCAN_NS	  2000000ull
#define RESCAN_CHILDREN_NS 20000000ull
#define RESCAN_ANYHOW_NS  5000000000ull
#define RESCAN_AFTER_NS	  100000000ull  /* a new file is looked at so long: its program is still making it */
#define FIRST_PACKETS	  128u /* of a program that was named */
#define FIRST_OF_ALL	  32u  /* of one among all */
#define BORN_PACKETS	  128u
#define DEFAULT_PACKETS	  512u
#define GROW_PACKETS	  64u
#define RESERVE_BYTES	  (256u << 10)  /* kept on disk so that a full one still takes the last words */
#define ENDED_MAX	  (64u << 20)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct clock_line *clock_of(struct record *rec, const struct region *r)
{
	return r->head.clock == GD_CLOCK_MONO ? &rec->mono : &rec->clock;
}

static void clocks_fit(struct record *rec)
{
	clock_fit(&rec->clock);
	clock_fit(&rec->mono);
}

static void note(struct record *rec, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct record *rec, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (rec->o->note)
		rec->o->note(rec->o->arg, text);
}

/* Something that was asked for and is not so. Told once, and written down. */
static void problem(struct record *rec, pid_t pid, const char *program, const char *class_name, const char *text)
{
	struct problem *p;
	unsigned i;

	for (i = 0; i < rec->nproblem; i++)
		if (rec->problem[i].pid == pid && !strcmp(rec->problem[i].text, text) && !strcmp(rec->problem[i].class_name, class_name))
			return;
	if (!rec->problem)
		rec->problem = calloc(PROBLEMS_MAX, sizeof(*rec->problem));
	if (!rec->problem || rec->nproblem == PROBLEMS_MAX)
		return;
	p = &rec->problem[rec->nproblem++];
	p->pid = pid;
	snprintf(p->program, sizeof(p->program), "%s", program);
	snprintf(p->class_name, sizeof(p->class_name), "%s", class_name);
	snprintf(p->text, sizeof(p->text), "%s", text);
	if (*class_name)
		note(rec, "%s (%d): event '%s' is not recorded: %s", program, (int)pid, class_name, text);
	else
		note(rec, "%s", text);
}

static void fail(struct record *rec, const char *why)
{
	if (rec->failed)
		return;
	rec->failed = true;
	rec->ending = true;
	snprintf(rec->why, sizeof(rec->why), "%s", why);
}

static uint64_t region_key(dev_t dev, ino_t ino)
{
	return (uint64_t)ino ^ (uint64_t)dev << 40;
}

static bool is_known(void *arg, dev_t dev, ino_t ino)
{
	struct record *rec = arg;

	return map_find(&rec->known, region_key(dev, ino)) != NULL;
}

static void pass_over(struct record *rec, dev_t dev, ino_t ino)
{
	bool added;

	map_put(&rec->known, region_key(dev, ino), &added);
}

/* How many packets a program may have at most: what was asked for, or half of what its tmpfs has left. */
static uint32_t most_packets(const struct record *rec, const struct region *r)
{
	uint64_t want = rec->o->buffer / GD_PACKET, left;
	struct statvfs fs;

	if (want)
		return want < 4 ? 4 : want > GD_PACKETS_MAX ? GD_PACKETS_MAX : (uint32_t)want;
	want = DEFAULT_PACKETS;
	if (fstatvfs(r->fd, &fs) == 0 && fs.f_blocks) {
		left = (uint64_t)fs.f_bavail * fs.f_frsize / 2 / GD_PACKET;
		if (left < want)
			want = left < 4 ? 4 : left;
	}
	return (uint32_t)want;
}

/* New classes of a program: which rules they match, what of them cannot be recorded. */
static void look_at_classes(struct record *rec, struct program *p, uint32_t from)
{
	struct region *r = p->r;
	uint32_t i;
	unsigned u;

	channel_class_states(&p->ch, &rec->rules);
	for (i = from; i < r->nclasses; i++) {
		const struct rclass *cl = r->cls[i];

		if (cl->state == RCLASS_BROKEN)
			problem(rec, p->pid, r->head.comm, "?", "its description is damaged");
		if (cl->state != RCLASS_OK)
			continue;
		for (u = 0; u < rec->rules.n; u++) {
			struct rule_list one = { .n = 1 };

			if (rec->rule_matched[u] || rec->rules.v[u].exclude)
				continue;
			one.v[0] = rec->rules.v[u];
			one.v[0].level = 255;
			rec->rule_matched[u] = rule_for(&one, cl->name, 0) == 0;
		}
		if (p->ch.setup[i] == SETUP_NO_FIELD)
			problem(rec, p->pid, r->head.comm, cl->name, "the filter names a field that it lacks");
		else if (p->ch.setup[i] == SETUP_FILTER_TYPE)
			problem(rec, p->pid, r->head.comm, cl->name, "the filter does not fit a field's type");
		else if (p->ch.setup[i] == SETUP_NO_ROOM)
			problem(rec, p->pid, r->head.comm, cl->name, "no room for its filter in the region");
	}
}

struct note_arg {
	struct record *rec;
	struct program *p;
};

/* What the program itself could not set up. */
static void on_record(void *arg, uint32_t kind, const void *data, size_t len)
{
	struct note_arg *a = arg;
	char text[400];

	if (kind != GD_RECORD_NOTE)
		return;
	snprintf(text, sizeof(text), "%s (%d): %.*s", a->p->r->head.comm, (int)a->p->pid, len < 300 ? (int)len : 300, (const char *)data);
	problem(a->rec, a->p->pid, a->p->r->head.comm, "", text);
}

void program_free(struct program *p)
{
	channel_close(&p->ch);
	ctf_writer_free(p->out.w);
	if (p->pidfd >= 0)
		close(p->pidfd);
	region_close(p->r);
	free(p);
}

static uint32_t context_for(const struct record_opts *o, unsigned language)
{
	uint32_t context = o->context & GD_CTX_ALL;

	if (o->context == CONTEXT_DEFAULT)
		context = language == GD_LANG_GO ? GD_CTX_GOID : language == GD_LANG_C ? GD_CTX_TID : GD_CTX_TID | GD_CTX_GOID;
	return context | (o->stack_depth ? GD_CTX_STACK : 0);
}

/* Takes over r. born_channel: the channel that was set up for this session before; -1: none. */
static int program_add(struct record *rec, struct region *r, pid_t pid, bool dead, int born_channel, struct err *err)
{
	struct channel_setup s = {
		.mode = rec->o->mode, .context = context_for(rec->o, r->head.language), .stack_depth = rec->o->stack_depth,
		.block_ms = rec->o->block_ms, .max_packets = most_packets(rec, r), .rules = &rec->rules,
	};
	struct program *p;
	int res;

	pass_over(rec, r->dev, r->ino);
	if (rec->nprog == PROGRAMS_MAX) {
		region_close(r);
		return err_set(err, -EMFILE, "more than %d programs at once", PROGRAMS_MAX);
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		region_close(r);
		return err_set(err, -ENOMEM, "out of memory");
	}
	memcpy(s.session, rec->session, 16);
	s.first_packets = rec->o->all ? FIRST_OF_ALL : FIRST_PACKETS;
	if (s.first_packets > s.max_packets)
		s.first_packets = s.max_packets;
	if (s.first_packets > r->npackets / GD_CHANNELS && !rec->o->buffer)
		s.first_packets = r->npackets / GD_CHANNELS; /* so that there is something for each of eight recordings */
	if (rec->o->mode == GD_MODE_OVERWRITE)
		s.first_packets = rec->o->buffer ? s.max_packets : s.max_packets / 4;
	p->r = r;
	p->pid = pid;
	p->pidfd = pid && !dead ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	p->born = born_channel >= 0;
	res = dead ? channel_open_dead(&p->ch, r, (unsigned)born_channel, err) : channel_open(&p->ch, r, &s, err);
	if (res == 0 && region_classes(r) < 0)
		res = err_set(err, -ENOMEM, "out of memory");
	if (res < 0) {
		program_free(p);
		return res;
	}
	p->ch.dead = dead;
	if (p->born)
		p->since = r->head.start;
	else
		clock_now(&p->since, clock_of(rec, r)->counter_is_mono);
	clock_oldest(clock_of(rec, r), &r->head.start);
	clock_fit(clock_of(rec, r));
	look_at_classes(rec, p, 0);
	res = out_open(&p->out, rec->dir, r, pid, clock_of(rec, r), p->since.counter, rec->o->ctf_version, err);
	if (res == 0)
		res = out_classes(&p->out, &p->ch, err);
	if (res < 0) {
		fail(rec, err->text);
		program_free(p);
		return res;
	}
	rec->prog[rec->nprog++] = p;
	rec->seen++;
	return 0;
}

/* A clock sample of a packet that has just been drained, now and then. */
static void sample(struct record *rec, struct program *p, const struct piece *piece, uint64_t now)
{
	struct gd_clock_sample s;

	if (now - p->last_sample_ns < 10000000)
		return;
	p->last_sample_ns = now;
	memcpy(&s, &region_packet(p->r, piece->packet)->open, sizeof(s));
	if (s.counter <= piece->end)
		clock_sample(clock_of(rec, p->r), &s);
}

/* Returns the whole packets that were drained. */
static unsigned drain(struct record *rec, struct program *p, uint64_t now, bool all)
{
	bool flush = all || now - p->last_flush_ns >= FLUSH_NS;
	uint32_t before = p->r->nclasses;
	struct err err = ERR_INIT;
	unsigned i, n, whole = 0;
	int res = 0, found;

	if (p->ch.mode == GD_MODE_OVERWRITE)
		return 0;
	n = (unsigned)channel_plan(&p->ch, flush, FLUSH_BYTES);
	if (flush)
		p->last_flush_ns = now;
	/* after the heads were read, so that the class of every event below them is there */
	found = region_classes(p->r);
	if (found > 0) {
		look_at_classes(rec, p, before < p->r->settled ? before : p->r->settled);
		res = out_classes(&p->out, &p->ch, &err);
	}
	for (i = 0; i < n && res == 0; i++) {
		const struct piece *piece = &p->ch.piece[i];

		res = out_piece(&p->out, &p->ch, piece, NULL, &err);
		if (res == -EFAULT || res == -ENODATA) {
			/* the file has shrunk under us */
			p->ch.slot[piece->slot].damaged += piece->events;
			p->ch.piece[i].len = 0;
			res = 0;
		}
		if (res == 0) {
			whole += piece->whole;
			if (piece->len)
				sample(rec, p, piece, now);
		}
	}
	if (res < 0) {
		for (i--; i < n; i++) {
			p->ch.slot[p->ch.piece[i].slot].unwritten += p->ch.piece[i].events;
			p->ch.piece[i].len = 0;
		}
		fail(rec, err.text);
	}
	channel_commit(&p->ch, n);
	return whole;
}

static void command_ended(struct record *rec, bool wait)
{
	if (rec->cmd_pid && !rec->cmd_done && waitpid(rec->cmd_pid, &rec->cmd_status, wait ? 0 : WNOHANG) == rec->cmd_pid)
		rec->cmd_done = true;
}

/* How it ended: of the command by wait(2); of others the kernel tells since Linux 6.15, once their parents have waited for them (its
 * struct is laid out as in the call's version 0). False: not known yet. */
static bool how_it_ended(struct record *rec, struct program *p)
{
	struct {
		uint64_t mask, cgroup;
		uint32_t ids[11];
		int32_t exit_code;
	} info = { .mask = 8 };

	if (p->pid == rec->cmd_pid && p->pid) {
		command_ended(rec, false);
		if (!rec->cmd_done)
			return false;
		info.exit_code = rec->cmd_status;
	} else if (p->pidfd < 0 || ioctl(p->pidfd, _IOWR(0xff, 11, info), &info) < 0 || !(info.mask & 8)) {
		return false;
	}
	p->state = WIFSIGNALED(info.exit_code) ? PROGRAM_KILLED : PROGRAM_EXITED;
	p->status = WIFSIGNALED(info.exit_code) ? WTERMSIG(info.exit_code) : WEXITSTATUS(info.exit_code);
	return true;
}

static void drop_kept(struct record *rec, unsigned i)
{
	region_unlink(rec->kept[i]);
	region_close(rec->kept[i]);
	rec->kept[i] = NULL;
}

/* A flight recorder keeps the regions of the last programs that have died for `gander snapshot`; the lock keeps starting programs from
 * removing them. */
static void keep_region(struct record *rec, struct program *p)
{
	unsigned i = rec->nkept++ % KEPT_MAX;

	if (rec->kept[i])
		drop_kept(rec, i);
	flock(p->r->fd, LOCK_SH | LOCK_NB);
	rec->kept[i] = p->r;
	p->r = NULL;
}

/* Writes the last, tells the totals, forgets the program. */
static void program_end(struct record *rec, unsigned index, bool dead)
{
	struct program *p = rec->prog[index];
	struct err err = ERR_INIT;
	struct totals t;
	int res = 0;

	if (dead) {
		p->ch.dead = true;
		if (p->state == PROGRAM_RUNNING && !how_it_ended(rec, p))
			p->state = PROGRAM_ENDED;
	}
	if (!rec->failed) {
		drain(rec, p, now_ns(), true);
		region_classes(p->r);
		look_at_classes(rec, p, 0);
		if (p->ch.mode == GD_MODE_OVERWRITE) {
			res = out_classes(&p->out, &p->ch, &err);
			if (res == 0)
				res = out_chains(&p->out, &p->ch, 0, true, &err);
		}
	}
	region_records(p->r, on_record, &(struct note_arg){ rec, p });
	channel_losses(&p->ch);
	clock_fit(clock_of(rec, p->r));
	p->until = clock_of(rec, p->r)->last;
	rec->gone_trace_bytes += out_bytes(&p->out);
	if (res == 0)
		res = out_clock(&p->out, clock_of(rec, p->r), &err);
	if (res == 0)
		res = out_close(&p->out, &p->ch, p->until.counter, &err);
	if (res < 0)
		fail(rec, err.text);
	program_totals(p, &t);
	totals_add(&rec->gone, &t);
	totals_sub(&t, &p->base);
	totals_add(&rec->gone_chunk, &t);
	if (rec->ended.len < ENDED_MAX)
		manifest_program(&rec->ended, rec, p, !rec->nended++);
	else
		rec->ended_dropped++;
	if (dead && p->ch.mode == GD_MODE_OVERWRITE && !rec->ending)
		keep_region(rec, p);
	else if (dead && !rec->failed && channel_done_with(&p->ch))
		region_unlink(p->r); /* unless another recording still has to read it */
	program_free(p);
	rec->prog[index] = rec->prog[--rec->nprog];
}

/* One thing that a scan has found. `asked`: it was named by the user, so a refusal is told. */
static void consider(struct record *rec, struct found *f, bool asked, unsigned *added)
{
	struct err err = ERR_INIT;
	char text[600], comm[32] = "";
	struct region *r = f->region;
	int born, res;

	if (f->pid)
		proc_comm(f->pid, comm, sizeof(comm));
	if (f->kind == FOUND_OFF) {
		if (asked || rec->o->all) {
			snprintf(text, sizeof(text), "%s (%d) cannot be recorded: it could make no region (%s)", comm, (int)f->pid, f->why);
			problem(rec, f->pid, comm, "", text);
		}
		return;
	}
	if (f->kind == FOUND_REFUSED) {
		if (f->ino)
			pass_over(rec, f->dev, f->ino);
		if (asked || rec->o->all)
			problem(rec, f->pid, comm, "", f->why);
		return;
	}
	born = channel_of_session(r, rec->session);
	if (!asked && !rec->o->all && born < 0) {
		pass_over(rec, r->dev, r->ino);
		return;
	}
	if (f->dead && born < 0) {
		pass_over(rec, r->dev, r->ino);
		return;
	}
	f->region = NULL;
	snprintf(comm, sizeof(comm), "%s", r->head.comm);
	res = program_add(rec, r, f->pid ? f->pid : (pid_t)r->head.pid, f->dead, born, &err);
	if (res < 0) {
		if (rec->failed)
			return;
		snprintf(text, sizeof(text), "%s (%d) is not recorded: %s", comm, (int)f->pid, err.text);
		problem(rec, f->pid, comm, "", text);
		return;
	}
	++*added;
	if (f->dead)
		program_end(rec, rec->nprog - 1, true);
}

static unsigned consider_all(struct record *rec, struct find *f, bool asked)
{
	unsigned i, added = 0;

	for (i = 0; i < f->n && !rec->failed; i++)
		consider(rec, &f->v[i], asked, &added);
	return added;
}

static void scan(struct record *rec, enum find_where where)
{
	struct find f = { .known = is_known, .known_arg = rec, .writable = true };

	find_all(&f, where, NULL);
	rec->last_scan_ns = now_ns();
	consider_all(rec, &f, false);
	find_done(&f);
}

static int attach(struct record *rec, pid_t pid, struct err *err)
{
	struct find f = { .known = is_known, .known_arg = rec, .writable = true };
	char comm[32], text[300];
	int res = find_pid(&f, pid, err);

	if (res < 0)
		return res;
	if (!f.n) {
		proc_comm(pid, comm, sizeof(comm));
		snprintf(text, sizeof(text), "process %d (%s) has no gander events (it uses neither libgander nor the Go agent)", (int)pid, comm);
		problem(rec, pid, comm, "", text);
	}
	consider_all(rec, &f, true);
	find_done(&f);
	return 0;
}

static void watch(struct record *rec)
{
	char dirs[32][64];
	int n = find_dirs(dirs, 32), i;

	rec->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	for (i = 0; rec->inotify_fd >= 0 && i < n; i++)
		inotify_add_watch(rec->inotify_fd, dirs[i], IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR);
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64(struct buf *to, const uint8_t *p, size_t len)
{
	uint32_t v;
	size_t i;

	for (i = 0; i < len; i += 3) {
		v = (uint32_t)p[i] << 16 | (i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < len ? p[i + 2] : 0);
		buf_putc(to, base64_digits[v >> 18]);
		buf_putc(to, base64_digits[v >> 12 & 63]);
		if (i + 1 < len)
			buf_putc(to, base64_digits[v >> 6 & 63]);
		if (i + 2 < len)
			buf_putc(to, base64_digits[v & 63]);
	}
}

static bool elf_has_section(int fd, const char *name)
{
	Elf64_Ehdr eh;
	Elf64_Shdr strings, sh;
	char text[32];
	unsigned i;

	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_shentsize != sizeof(sh) ||
	    pread(fd, &strings, sizeof(strings), (off_t)(eh.e_shoff + (uint64_t)eh.e_shstrndx * sizeof(sh))) != sizeof(strings))
		return false;
	for (i = 0; i < eh.e_shnum; i++) {
		memset(text, 0, sizeof(text));
		if (pread(fd, &sh, sizeof(sh), (off_t)(eh.e_shoff + (uint64_t)i * sizeof(sh))) == sizeof(sh) &&
		    pread(fd, text, sizeof(text) - 1, (off_t)(strings.sh_offset + sh.sh_name)) > 0 && !strcmp(text, name))
			return true;
	}
	return false;
}

/* A program that is yet to be started: Go's linker leaves a mark near its beginning. 0: a script, that may start anything. */
static unsigned command_language(const char *name)
{
	char text[4], path[4096], dirs[4096], *dir, *save = NULL;
	ssize_t n = 0;
	int fd = -1;

	snprintf(dirs, sizeof(dirs), "%s", strchr(name, '/') ? "" : getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	if (!*dirs)
		fd = open(name, O_RDONLY | O_CLOEXEC);
	for (dir = strtok_r(dirs, ":", &save); dir && fd < 0; dir = strtok_r(NULL, ":", &save)) {
		snprintf(path, sizeof(path), "%.2000s/%.2000s", dir, name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd >= 0) {
		n = read(fd, text, 4);
		if (n == 4 && !memcmp(text, "\177ELF", 4)) {
			n = elf_has_section(fd, ".go.buildinfo") ? GD_LANG_GO : GD_LANG_C;
		} else {
			n = 0;
		}
		close(fd);
	}
	return (unsigned)n;
}

/* What GANDER_SESSION carries (struct gd_session). */
static int session_blob(const struct record *rec, struct buf *to, struct err *err)
{
	struct buf b = BUF_INIT, filters = BUF_INIT;
	struct gd_session s = {
		.magic = GD_SESSION_MAGIC, .mode = rec->o->mode, .context = context_for(rec->o, command_language(rec->o->cmd[0])), .stack_depth = rec->o->stack_depth,
		.block_ms = rec->o->block_ms, .packets = BORN_PACKETS, .nrules = rec->rules.n,
	};
	unsigned i, k;
	int res = 0;

	if (rec->o->mode == GD_MODE_OVERWRITE)
		s.packets = rec->o->buffer ? (uint32_t)(rec->o->buffer / GD_PACKET) : DEFAULT_PACKETS / 4;
	s.quota = s.packets / 2;
	memcpy(s.session, rec->session, 16);
	buf_put(&b, &s, sizeof(s));
	for (i = 0; i < rec->rules.n; i++) {
		const struct rule *u = &rec->rules.v[i];
		struct gd_rule g = { .used = 1, .level = u->level, .flags = u->exclude ? GD_RULE_EXCLUDE : 0 };

		for (k = 0; k < i && u->filter; k++) /* rules mostly share one */
			if (rec->rules.v[k].filter == u->filter)
				break;
		if (u->filter && k < i) {
			g.filter = ((struct gd_rule *)(b.data + sizeof(s)))[k].filter;
		} else if (u->filter) {
			g.filter = (uint32_t)filters.len + 8;
			buf_put(&filters, u->filter, u->filter_len);
			while (filters.len & 7)
				buf_putc(&filters, 0);
		}
		memcpy(g.glob, u->glob, sizeof(g.glob));
		buf_put(&b, &g, sizeof(g));
	}
	if (filters.len)
		buf_put(&b, filters.data, filters.len);
	if (buf_failed(&b) || buf_failed(&filters)) {
		res = err_set(err, -ENOMEM, "out of memory");
	} else if (b.len > GD_SESSION_MAX) {
		res = err_set(err, -E2BIG, "the patterns and filters are too long for a program's environment");
	} else {
		((struct gd_session *)b.data)->size = (uint32_t)b.len;
		((struct gd_session *)b.data)->filters_size = (uint32_t)filters.len;
		buf_puts(to, "1:");
		base64(to, (const uint8_t *)b.data, b.len);
	}
	buf_done(&b);
	buf_done(&filters);
	return res;
}

static int start_command(struct record *rec, struct err *err)
{
	struct buf env = BUF_INIT;
	int fds[2], why = 0, res = session_blob(rec, &env, err);
	pid_t pid;

	if (res < 0 || pipe2(fds, O_CLOEXEC) < 0) {
		buf_done(&env);
		return res < 0 ? res : err_set(err, -errno, "cannot make a pipe: %m");
	}
	pid = fork();
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		setenv(GD_SESSION_ENV, env.data, 1);
		execvp(rec->o->cmd[0], rec->o->cmd);
		why = errno;
		if (write(fds[1], &why, sizeof(why)) < 0)
			_exit(126);
		_exit(127);
	}
	buf_done(&env);
	close(fds[1]);
	if (pid < 0)
		res = err_set(err, -errno, "cannot start a process: %m");
	else if (read(fds[0], &why, sizeof(why)) == sizeof(why)) {
		waitpid(pid, NULL, 0);
		errno = why;
		res = err_set(err, -why, "cannot run '%s': %m", rec->o->cmd[0]);
	}
	close(fds[0]);
	if (res < 0)
		return res;
	rec->cmd_pid = pid;
	rec->cmd_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}

static int apply_rules(struct record *rec, struct err *err)
{
	int res = 0, one;
	unsigned i;

	for (i = 0; i < rec->nprog; i++) {
		one = rec->prog[i]->ch.dead ? 0 : channel_rules(&rec->prog[i]->ch, &rec->rules, err);
		if (one < 0)
			res = one;
		look_at_classes(rec, rec->prog[i], 0);
		one = out_classes(&rec->prog[i]->out, &rec->prog[i]->ch, err);
		if (one < 0)
			fail(rec, err->text);
	}
	return res;
}

static unsigned recorded_classes(const struct record *rec)
{
	unsigned i, n = 0;
	uint32_t k;

	for (i = 0; i < rec->nprog; i++)
		for (k = 0; k < rec->prog[i]->r->nclasses; k++)
			n += rec->prog[i]->ch.setup[k] == SETUP_ON;
	return n;
}

static void answer(void *arg, const char *request, struct buf *reply)
{
	struct record *rec = arg;
	struct err err = ERR_INIT;
	unsigned i;
	int res = 0;

	if (!strncmp(request, "add ", 4)) {
		res = rule_add(&rec->rules, request + 4, false, 255, &err);
		if (res == 0) {
			/* what the first rule filters, this one does too */
			rec->rules.v[rec->rules.n - 1].filter = rec->rules.v[0].filter;
			rec->rules.v[rec->rules.n - 1].filter_len = rec->rules.v[0].filter_len;
			rec->rule_matched[rec->rules.n - 1] = false;
			/* an exclusion of the same text would win over it */
			for (i = 0; i + 1 < rec->rules.n; i++)
				if (rec->rules.v[i].exclude && !strcmp(rec->rules.v[i].glob, request + 4)) {
					memmove(&rec->rules.v[i], &rec->rules.v[i + 1], (rec->rules.n - i - 1) * sizeof(*rec->rules.v));
					memmove(&rec->rule_matched[i], &rec->rule_matched[i + 1], rec->rules.n - i - 1);
					rec->rules.n--;
					break;
				}
			res = apply_rules(rec, &err);
		}
	} else if (!strncmp(request, "remove ", 7)) {
		for (i = 0; i < rec->rules.n; i++)
			if (!rec->rules.v[i].exclude && !strcmp(rec->rules.v[i].glob, request + 7))
				break;
		if (i < rec->rules.n) {
			memmove(&rec->rules.v[i], &rec->rules.v[i + 1], (rec->rules.n - i - 1) * sizeof(*rec->rules.v));
			memmove(&rec->rule_matched[i], &rec->rule_matched[i + 1], rec->rules.n - i - 1);
			rec->rules.n--;
		} else {
			res = rule_add(&rec->rules, request + 7, true, 255, &err);
		}
		if (res == 0)
			res = apply_rules(rec, &err);
	} else if (!strcmp(request, "stop")) {
		rec->ending = true;
	} else if (strcmp(request, "status")) {
		res = err_set(&err, -EINVAL, "unknown request");
	}
	if (res < 0)
		buf_printf(reply, "error %s", err.text);
	else
		buf_printf(reply, "ok %u programs, %u event classes recorded", rec->nprog, recorded_classes(rec));
}

static void totals_now(const struct record *rec, struct totals *all)
{
	struct totals t;
	unsigned i;

	*all = rec->gone;
	for (i = 0; i < rec->nprog; i++) {
		program_totals(rec->prog[i], &t);
		totals_add(all, &t);
	}
}

static uint64_t trace_bytes(const struct record *rec)
{
	uint64_t n = rec->gone_trace_bytes;
	unsigned i;

	for (i = 0; i < rec->nprog; i++)
		n += out_bytes(&rec->prog[i]->out);
	return n;
}

static void show_progress(struct record *rec, uint64_t now)
{
	struct record_progress p = { .programs = rec->nprog, .bytes = trace_bytes(rec), .elapsed_ns = now - rec->start_ns };
	struct totals all;

	totals_now(rec, &all);
	p.events = all.events;
	p.lost = totals_lost(&all);
	p.rate = now > rec->last_progress_ns ? (double)(all.events - rec->last_events) * 1e9 / (double)(now - rec->last_progress_ns) : 0;
	rec->last_events = all.events;
	rec->last_progress_ns = now;
	rec->o->progress(rec->o->arg, &p);
}

static int make_chunk_dir(struct record *rec, struct err *err)
{
	char path[4200];

	if (rec->o->rotate_size || rec->o->rotate_ns) {
		snprintf(rec->dir, sizeof(rec->dir), "%.4000s/chunk-%06u", rec->o->dir, ++rec->chunk);
		if (mkdir(rec->dir, 0700) < 0)
			return err_set(err, -errno, "cannot make '%s': %m", rec->dir);
	} else {
		snprintf(rec->dir, sizeof(rec->dir), "%.4000s", rec->o->dir);
	}
	snprintf(path, sizeof(path), "%s/ctf", rec->dir);
	if (mkdir(path, 0700) < 0)
		return err_set(err, -errno, "cannot make '%s': %m", path);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void recording_remove(const char *dir)
{
	static const char *const parts[] = { "ctf", "gander.json", ".reserve", "chunk-000001" };
	char path[4200];
	unsigned i;

	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		snprintf(path, sizeof(path), "%.4000s/%s", dir, parts[i]);
		remove_tree(path);
	}
	rmdir(dir);
}

static unsigned first_chunk(struct record *rec)
{
	return rec->o->keep && rec->chunk > rec->o->keep ? rec->chunk - (unsigned)rec->o->keep + 1 : 1;
}

/* Ends this chunk's traces and begins new ones. */
static int rotate(struct record *rec, struct err *err)
{
	unsigned i, s;
	int res = 0;

	clocks_fit(rec);
	for (i = 0; i < rec->nprog; i++) {
		struct program *p = rec->prog[i];

		drain(rec, p, now_ns(), true);
		rec->gone_trace_bytes += out_bytes(&p->out);
		if (out_clock(&p->out, clock_of(rec, p->r), err) < 0 ||
		    out_close(&p->out, &p->ch, clock_of(rec, p->r)->last.counter, err) < 0)
			return err->code;
	}
	res = manifest_write(rec, true, err);
	if (res == 0)
		res = make_chunk_dir(rec, err);
	if (res < 0)
		return res;
	buf_clear(&rec->ended);
	rec->nended = 0;
	memset(&rec->gone_chunk, 0, sizeof(rec->gone_chunk));
	for (i = 0; i < rec->nprog; i++) {
		struct program *p = rec->prog[i];

		program_totals(p, &p->base);
		p->since = clock_of(rec, p->r)->last;
		res = out_open(&p->out, rec->dir, p->r, p->pid, clock_of(rec, p->r), p->since.counter, rec->o->ctf_version, err);
		if (res == 0)
			res = out_classes(&p->out, &p->ch, err);
		if (res < 0)
			return res;
		for (s = 0; s < GD_SLOTS; s++)
			p->out.base_lost[s] = slot_lost(&p->ch.slot[s]);
	}
	rec->chunk_start_ns = now_ns();
	rec->chunk_start_bytes = trace_bytes(rec);
	if (rec->o->keep && rec->chunk > rec->o->keep) {
		char old[4200];

		snprintf(old, sizeof(old), "%.4000s/chunk-%06u", rec->o->dir, rec->chunk - (unsigned)rec->o->keep);
		remove_tree(old);
	}
	return manifest_chunks(rec, first_chunk(rec), false, err);
}

/* A file that is there to be removed when the disk is full. */
static void reserve_path(const struct record *rec, char path[4200])
{
	snprintf(path, 4200, "%.4000s/.reserve", rec->o->dir);
}

static int reserve_make(const struct record *rec, struct err *err)
{
	char path[4200];
	int fd, res = 0;

	reserve_path(rec, path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, -errno, "cannot write to '%s': %m", rec->o->dir);
	errno = posix_fallocate(fd, 0, RESERVE_BYTES);
	if (errno)
		res = err_set(err, -errno, "cannot write to '%s': %m", rec->o->dir);
	close(fd);
	if (res < 0)
		unlink(path);
	return res;
}

static void reserve_drop(const struct record *rec)
{
	char path[4200];

	reserve_path(rec, path);
	unlink(path);
}

static uint32_t left_to_others(const struct record *rec, const struct program *p)
{
	return rec->o->buffer ? 0 : p->r->npackets / GD_CHANNELS;
}

static void grow(struct record *rec, struct program *p, unsigned whole)
{
	uint32_t nfree;

	if (p->ch.dead || !p->ch.held)
		return;
	if (p->ch.mode == GD_MODE_OVERWRITE) {
		if (p->ch.granted < p->ch.max_packets)
			channel_grant(&p->ch, p->ch.max_packets, left_to_others(rec, p));
		channel_balance(&p->ch);
		return;
	}
	nfree = channel_free_packets(&p->ch);
	if (nfree < p->ch.granted / 2 && p->ch.granted < p->ch.max_packets && !p->ch.no_memory) {
		channel_grant(&p->ch, GROW_PACKETS, left_to_others(rec, p));
		if (p->ch.no_memory)
			note(rec, "%s (%d): its tmpfs is full: no more than %u KiB of buffer", p->r->head.comm, (int)p->pid,
			     p->ch.granted * (GD_PACKET / 1024));
	}
}

static void wait_for_more(struct record *rec, unsigned busy)
{
	struct pollfd fds[3] = {
		{ .fd = rec->inotify_fd, .events = POLLIN }, { .fd = rec->control_fd, .events = POLLIN }, { .fd = rec->cmd_pidfd, .events = POLLIN },
	};
	struct timespec ts;
	char events[4096];

	if (busy > 8)
		rec->interval_ns = 0;
	else if (busy)
		rec->interval_ns = INTERVAL_MIN_NS;
	else
		rec->interval_ns = rec->interval_ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : rec->interval_ns + rec->interval_ns / 4;
	if (rec->interval_ns > INTERVAL_MAX_NS)
		rec->interval_ns = INTERVAL_MAX_NS;
	if (rec->interval_ns > RESCAN_NS && (rec->o->all || rec->o->cmd) && rec->rescan_until_ns > now_ns())
		rec->interval_ns = RESCAN_NS; /* a program is starting */
	if (rec->cmd_done)
		fds[2].fd = -1;
	ts = (struct timespec){ .tv_nsec = (long)rec->interval_ns };
	if (ppoll(fds, 3, &ts, NULL) <= 0)
		return;
	if (fds[0].revents) {
		while (read(rec->inotify_fd, events, sizeof(events)) > 0)
			;
		rec->rescan_until_ns = now_ns() + RESCAN_AFTER_NS;
	}
	if (fds[1].revents)
		control_serve(rec->control_fd, answer, rec);
	if (fds[2].revents)
		command_ended(rec, false);
}

static void look_for_new(struct record *rec, uint64_t now)
{
	uint64_t since = now - rec->last_scan_ns;

	if (rec->o->all && geteuid() == 0 && now - rec->last_foreign_ns >= FOREIGN_SCAN_NS) {
		rec->last_foreign_ns = now;
		scan(rec, FIND_FOREIGN);
	} else if ((now < rec->rescan_until_ns && since >= (rec->o->all || rec->o->cmd ? RESCAN_NS : RESCAN_CHILDREN_NS)) ||
		   since >= RESCAN_ANYHOW_NS) {
		scan(rec, FIND_FILES);
	}
}

static bool over(const struct record *rec, uint64_t now)
{
	const struct record_opts *o = rec->o;

	return rec->ending || rec->failed || (o->stop && *o->stop > (o->cmd != NULL)) || rec->cmd_done || (o->for_ns && now - rec->start_ns >= o->for_ns) ||
	       (o->max_size && trace_bytes(rec) >= o->max_size) || (!rec->nprog && !o->all && !o->cmd);
}

/* An idle recording writes nothing but a sign of life now and then. */
static bool changed(struct record *rec, uint64_t now)
{
	uint64_t what = trace_bytes(rec) + rec->nproblem + rec->seen + rec->nended;

	if (what == rec->manifest_of && now - rec->last_manifest_ns < 10 * MANIFEST_NS)
		return false;
	rec->manifest_of = what;
	return true;
}

static void loop(struct record *rec)
{
	struct err err = ERR_INIT;
	unsigned i, whole, busy;
	uint64_t now;

	for (;;) {
		now = now_ns();
		if (over(rec, now))
			return;
		for (i = 0, busy = 0; i < rec->nprog && !rec->failed; i++) {
			struct program *p = rec->prog[i];

			whole = drain(rec, p, now, false);
			busy += whole;
			grow(rec, p, whole);
			if (now - p->last_alive_ns >= ALIVE_NS) {
				p->last_alive_ns = now;
				if (!p->dead_ns && region_dead(p->r))
					p->dead_ns = now;
				/* whoever started it may take a moment to ask how it ended */
				if (p->dead_ns && (now - p->dead_ns > ENDED_NS || how_it_ended(rec, p)))
					program_end(rec, i--, true);
			}
		}
		look_for_new(rec, now);
		if (now - rec->last_manifest_ns >= MANIFEST_NS && !rec->failed && changed(rec, now)) {
			rec->last_manifest_ns = now;
			clocks_fit(rec);
			for (i = 0; i < rec->nprog; i++)
				if (out_clock(&rec->prog[i]->out, clock_of(rec, rec->prog[i]->r), &err) < 0)
					fail(rec, err.text);
			if (manifest_write(rec, false, &err) < 0)
				fail(rec, err.text);
		}
		if (rec->chunk && !rec->failed &&
		    ((rec->o->rotate_ns && now - rec->chunk_start_ns >= rec->o->rotate_ns) ||
		     (rec->o->rotate_size && trace_bytes(rec) - rec->chunk_start_bytes >= rec->o->rotate_size)) &&
		    rotate(rec, &err) < 0)
			fail(rec, err.text);
		if (rec->o->progress && now - rec->last_progress_ns >= PROGRESS_NS)
			show_progress(rec, now);
		wait_for_more(rec, busy);
	}
}

/* Every event that was emitted before this is called is in a packet; those that are being emitted now get two milliseconds. */
static void finish(struct record *rec)
{
	unsigned i, round, whole;

	if (rec->o->cmd)
		scan(rec, FIND_FILES); /* children that nobody has seen yet */
	for (i = 0; i < rec->nprog; i++)
		channel_stop(&rec->prog[i]->ch);
	for (round = 0; round < 2 && !rec->failed; round++) {
		usleep(2000);
		for (i = 0, whole = 0; i < rec->nprog; i++)
			whole += drain(rec, rec->prog[i], now_ns(), true);
	}
	if (rec->failed)
		reserve_drop(rec);
	command_ended(rec, false);
	rec->ending = true;
	while (rec->nprog)
		program_end(rec, 0, region_dead(rec->prog[0]->r));
	for (i = 0; i < KEPT_MAX; i++)
		if (rec->kept[i])
			drop_kept(rec, i);
}

/* Patterns that no class of any program has matched. */
static void tell_unmatched(struct record *rec)
{
	char text[300];
	unsigned u;

	for (u = 0; u < rec->rules.n; u++) {
		if (rec->rules.v[u].exclude || rec->rule_matched[u] || !strcmp(rec->rules.v[u].glob, "*"))
			continue;
		snprintf(text, sizeof(text), "no event matched '%s' (gander list -e shows the events of a program)", rec->rules.v[u].glob);
		problem(rec, 0, "", "", text);
	}
}

static void fill_result(const struct record *rec, struct record_result *res)
{
	struct totals all;

	totals_now(rec, &all);
	res->programs = rec->seen;
	res->problems = rec->nproblem;
	res->events = all.events;
	res->bytes = rec->gone_trace_bytes;
	res->elapsed_ns = now_ns() - rec->start_ns;
	res->lost = totals_lost(&all);
	res->lost_full = all.lost[GD_LOST_FULL];
	res->lost_nested = all.lost[GD_LOST_NESTED];
	res->lost_slot = all.lost[GD_LOST_SLOT];
	res->lost_other = all.lost[GD_LOST_OTHER];
	res->lost_overwritten = all.overwritten;
	res->lost_damaged = all.damaged;
	res->lost_disk = all.disk;
	res->cut = all.cut;
	res->clock_error_ns = rec->clock.error_ns;
	res->stopped_early = rec->failed;
	snprintf(res->why, sizeof(res->why), "%s", rec->why);
	res->cmd_status = rec->cmd_status;
	memcpy(res->session, rec->session_text, sizeof(res->session));
}

int recording_make_dir(const char *dir, struct err *err)
{
	struct dirent *e;
	DIR *d;
	int n = 0;

	if (mkdir(dir, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return err_set(err, -errno, "cannot make '%s': %m", dir);
	d = opendir(dir);
	if (!d)
		return err_set(err, -errno, "cannot use '%s': %m", dir);
	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "lost+found");
	closedir(d);
	return n ? err_set(err, -EEXIST, "'%s' is not empty (give another directory to -o)", dir) : 0;
}

int targets_resolve(const char *const *names, int n, pid_t pids[RECORD_PIDS_MAX], struct err *err)
{
	int total = 0, i, res;
	uint64_t v;

	for (i = 0; i < n; i++) {
		if (names[i][strspn(names[i], "0123456789")] == 0 && *names[i]) {
			res = opt_u64(names[i], &v, err);
			if (res < 0)
				return res;
			if (total == RECORD_PIDS_MAX)
				return err_set(err, -E2BIG, "more than %d programs named", RECORD_PIDS_MAX);
			pids[total++] = (pid_t)v;
			continue;
		}
		res = find_named(names[i], pids + total, RECORD_PIDS_MAX - total, err);
		if (res < 0)
			return res;
		total += res;
	}
	return total;
}

int record_run(const struct record_opts *o, struct record_result *result, struct err *err)
{
	struct record *rec = calloc(1, sizeof(*rec));
	struct rlimit lim;
	int i, res;

	memset(result, 0, sizeof(*result));
	if (!rec)
		return err_set(err, -ENOMEM, "out of memory");
	rec->o = o;
	rec->rules = *o->rules;
	rec->inotify_fd = rec->control_fd = rec->cmd_pidfd = -1;
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	session_new(rec->session, rec->session_text);
	clock_start(&rec->clock, false);
	clock_start(&rec->mono, true);
	rec->clock.real_minus_mono = rec->mono.real_minus_mono;
	rec->start_ns = rec->chunk_start_ns = rec->last_progress_ns = rec->last_scan_ns = now_ns();
	rec->start_epoch_ns = rec->mono.first.mono_ns + rec->mono.real_minus_mono;
	clocks_fit(rec);
	/* who cannot be recorded is told before anything is made */
	for (i = 0; i < o->npids; i++) {
		char comm[32];

		if (!proc_comm(o->pids[i], comm, sizeof(comm))) {
			res = err_set(err, -ESRCH, "no process %d", (int)o->pids[i]);
			goto out;
		}
	}
	res = recording_make_dir(o->dir, err);
	if (res == 0)
		res = reserve_make(rec, err);
	if (res == 0)
		res = make_chunk_dir(rec, err);
	if (res < 0)
		goto out;
	rec->control_fd = control_listen(rec->session_text, NULL);
	if (rec->control_fd < 0)
		rec->control_fd = -1;
	watch(rec);
	for (i = 0; i < o->npids && res == 0; i++)
		res = attach(rec, o->pids[i], err);
	if (res == 0 && o->all)
		scan(rec, FIND_ALL);
	if (res == 0 && o->npids && !rec->nprog && !o->all && !o->cmd && !rec->seen) {
		res = rec->failed ? err_set(err, -ENOSPC, "%s", rec->why) : err_set(err, -ENOENT, "nothing can be recorded");
	}
	if (res == 0 && o->cmd)
		res = start_command(rec, err);
	if (res == 0)
		res = manifest_write(rec, false, err);
	if (res == 0 && rec->chunk)
		res = manifest_chunks(rec, 1, false, err);
	if (res < 0) {
		while (rec->nprog)
			program_free(rec->prog[--rec->nprog]);
		recording_remove(o->dir);
		goto out;
	}
	if (o->started)
		o->started(o->arg, rec->session_text);
	loop(rec);
	finish(rec);
	if (rec->cmd_pid && !rec->cmd_done && o->stop && *o->stop > 1)
		kill(rec->cmd_pid, SIGTERM);
	command_ended(rec, true);
	tell_unmatched(rec);
	reserve_drop(rec);
	clocks_fit(rec);
	if (manifest_write(rec, true, err) < 0)
		fail(rec, err->text);
	if (rec->chunk)
		manifest_chunks(rec, first_chunk(rec), true, NULL);
	fill_result(rec, result);
out:
	for (i = 0; i < (int)rec->nprog; i++)
		program_free(rec->prog[i]);
	if (rec->inotify_fd >= 0)
		close(rec->inotify_fd);
	if (rec->control_fd >= 0)
		close(rec->control_fd);
	if (rec->cmd_pidfd >= 0)
		close(rec->cmd_pidfd);
	buf_done(&rec->ended);
	map_done(&rec->known);
	free(rec->problem);
	free(rec);
	return res;
}
