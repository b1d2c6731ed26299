/* `record -- COMMAND`: starts a program whose region is born recorded. */
#include "collect/collect_record.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BORN_PACKETS 128u

void command_ended(struct record *rec, bool wait)
{
	if (rec->cmd_pid && !rec->cmd_done && waitpid(rec->cmd_pid, &rec->cmd_status, wait ? 0 : WNOHANG) == rec->cmd_pid)
		rec->cmd_done = true;
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

	snprintf(dirs, sizeof(dirs), "%s", strchr(name, '/') ? "" : getenv("PATH") ? getenv("PATH")
										   : "/usr/bin:/bin");
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
		.magic = GD_SESSION_MAGIC,
		.mode = rec->o->mode,
		.context = record_context(rec->o, command_language(rec->o->cmd[0])),
		.stack_depth = rec->o->stack_depth,
		.block_ms = rec->o->block_ms,
		.packets = BORN_PACKETS,
		.nrules = rec->rules.n,
	};
	unsigned i, k;
	int res = 0;

	if (rec->o->mode == GD_MODE_OVERWRITE)
		s.packets = rec->o->buffer ? (uint32_t)(rec->o->buffer / GD_PACKET) : DEFAULT_PACKETS / 4;
	else if (rec->o->buffer && rec->o->buffer / GD_PACKET < BORN_PACKETS)
		s.packets = rec->o->buffer < 4 * GD_PACKET ? 4 : (uint32_t)(rec->o->buffer / GD_PACKET);
	s.quota = rec->o->when ? s.packets / 4 : s.packets / 2;
	memcpy(s.session, rec->session, 16);
	buf_put(&b, &s, sizeof(s));
	for (i = 0; i < rec->rules.n; i++) {
		const struct rule *u = &rec->rules.v[i];
		struct gd_rule g = { .used = 1, .level = u->level, .flags = rule_flags(u) };

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

int command_start(struct record *rec, struct err *err)
{
	struct buf env = BUF_INIT;
	int fds[2], why = 0, res = session_blob(rec, &env, err);
	char period[32] = "now";
	pid_t pid;

	if (rec->o->go_period_ms)
		snprintf(period, sizeof(period), "now,period=%ums", rec->o->go_period_ms);
	if (res < 0 || pipe2(fds, O_CLOEXEC) < 0) {
		buf_done(&env);
		return res < 0 ? res : err_set(err, -errno, "cannot make a pipe: %m");
	}
	pid = fork();
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		if (rec->nice_changed)
			setpriority(PRIO_PROCESS, 0, rec->nice_before);
		setenv(GD_SESSION_ENV, env.data, 1);
		if (rec->o->go)
			setenv(GD_FLIGHT_ENV, period, 0);
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
	kernelview_program(rec, pid);
	rec->cmd_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}
