/* A running recording listens on a socket in the abstract name space, "gander-session-" and its id: it needs no file, and is gone with
 * its process. Only its own user and root are heard. */
#include "collect/collect_control.h"
#include "collect/collect.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX        "gander-session-"
#define KERNEL_PREFIX "gander-kernel-"
#define REQUEST_MAX   (PATH_MAX + 200)
#define REPLY_MAX     (128u << 10)
#define TRIES         5

void session_text(const uint8_t session[16], char text[33])
{
	int i;

	for (i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", session[i]);
}

void session_new(uint8_t session[16], char text[33])
{
	if (getrandom(session, 16, 0) != 16)
		memset(session, 1, 16); /* cannot happen: sixteen bytes are never interrupted */
	session_text(session, text);
}

static socklen_t address(struct sockaddr_un *a, const char *prefix, const char *session)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s%s", prefix, session));
}

int control_mark_kernel(const char *session)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, KERNEL_PREFIX, session);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -errno;
}

bool control_has_kernel(const char *session)
{
	FILE *in = fopen("/proc/net/unix", "re");
	char line[512], *p;
	bool found = false;

	while (in && !found && fgets(line, sizeof(line), in)) {
		p = strstr(line, "@" KERNEL_PREFIX);
		found = p && !strncmp(p + strlen("@" KERNEL_PREFIX), session, 32);
	}
	if (in)
		fclose(in);
	return found;
}

int control_listen(const char *session, struct err *err)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, PREFIX, session);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 4) < 0) {
		int res = err_set(err, -errno, "cannot make the recording's control socket: %m");

		if (fd >= 0)
			close(fd);
		return res;
	}
	return fd;
}

/* One who may ask is answered; those who may not are sent away, a few at a time, for anybody can connect. */
void control_serve(int listen_fd, void (*answer)(void *arg, const char *request, struct buf *reply), void *arg)
{
	struct timeval soon = { .tv_usec = 200000 };
	struct buf reply = BUF_INIT;
	struct ucred who;
	char request[REQUEST_MAX];
	int fd, others;
	socklen_t len;
	ssize_t n;

	for (others = 0; others < 16; others++) {
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return;
		len = sizeof(who);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == geteuid() || who.uid == 0))
			break;
		close(fd);
	}
	if (others == 16)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon));
	n = recv(fd, request, sizeof(request) - 1, 0);
	if (n > 0) {
		request[n] = 0;
		answer(arg, request, &reply);
		if (reply.len)
			send(fd, reply.data, reply.len, MSG_NOSIGNAL);
	}
	buf_done(&reply);
	close(fd);
}

/* A socket to the recording of this whole id; -errno. Anybody may listen at such a name: only this user's and root's are spoken to.
 * patient: waits for a listener whose queue is full. */
static int reach(const char *full, bool patient)
{
	struct timeval soon = { .tv_sec = 10 };
	struct sockaddr_un a;
	socklen_t len = address(&a, PREFIX, full), who_len = sizeof(struct ucred);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (patient ? 0 : SOCK_NONBLOCK), 0), res = 0;
	struct ucred who;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)); /* connecting too: the listener's queue may be full */
	if (connect(fd, (struct sockaddr *)&a, len) < 0)
		res = -errno;
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_len) < 0 || (who.uid != geteuid() && who.uid != 0 && geteuid() != 0))
		res = -EPERM;
	if (res == 0)
		return fd;
	close(fd);
	return res;
}

/* The whole id of the running recording whose id starts so. Names of other users are as if they were not there. */
static int complete(const char *start, char full[33], struct err *err)
{
	FILE *in = fopen("/proc/net/unix", "re");
	char line[512], *p;
	int found = 0, fd;

	while (in && fgets(line, sizeof(line), in)) {
		p = strstr(line, "@" PREFIX);
		if (!p)
			continue;
		p += strlen("@" PREFIX);
		p[strcspn(p, "\n")] = 0;
		if (strlen(p) != 32 || strncmp(p, start, strlen(start)) || (found && !strcmp(p, full)))
			continue;
		fd = strlen(start) == 32 ? 0 : reach(p, false);
		if (fd == -EPERM || fd == -EAGAIN)
			continue;
		if (fd > 0)
			close(fd);
		memcpy(full, p, 33);
		found++;
	}
	if (in)
		fclose(in);
	if (found > 1)
		return err_set(err, -EEXIST, "several recordings are called '%s...': give more of the id", start);
	return found ? 0 : err_set(err, -ENOENT, "no recording '%s' is running", start);
}

/* -EPIPE: it has hung up. It does so on those whom it does not hear, and on who was kept from asking by a busy machine. */
static int ask_once(const char *full, const char *request, struct buf *reply, struct err *err)
{
	char *answer = malloc(REPLY_MAX);
	int fd = answer ? reach(full, true) : -ENOMEM, res = 0;
	ssize_t n;

	if (fd == -EPERM) {
		res = err_set(err, fd, "what answers to '%s' is not a recording of this user", full);
	} else if (fd < 0) {
		errno = -fd;
		res = err_set(err, fd, "cannot reach the recording '%s': %m", full);
	} else {
		n = send(fd, request, strlen(request), MSG_NOSIGNAL);
		if (n >= 0)
			n = recv(fd, answer, REPLY_MAX, 0);
		if (n > 0)
			buf_put(reply, answer, (size_t)n);
		else if (n == 0 || errno == EPIPE || errno == ECONNRESET)
			res = -EPIPE;
		else
			res = err_set(err, -errno, "the recording '%s' does not answer: %m", full);
	}
	free(answer);
	if (fd >= 0)
		close(fd);
	return res;
}

int record_ask(const char *session, const char *request, struct buf *reply, struct err *err)
{
	char full[33] = "", text[4096], path[4200], *p;
	size_t got;
	int res, tries;
	FILE *in;

	/* a directory says its session itself */
	snprintf(path, sizeof(path), "%s/gander.json", session);
	in = fopen(path, "re");
	if (in) {
		got = fread(text, 1, sizeof(text) - 1, in);
		text[got] = 0;
		fclose(in);
		p = strstr(text, "\"session\":\"");
		if (p && strlen(p) > 11 + 32)
			snprintf(full, sizeof(full), "%.32s", p + 11);
	}
	res = complete(*full ? full : session, full, err);
	if (res < 0)
		return res;
	for (tries = 0; tries < TRIES; tries++) {
		res = ask_once(full, request, reply, err);
		if (res != -EPIPE)
			return res;
	}
	return err_set(err, -EPERM, "the recording '%s' does not answer (only its user and root may ask it)", full);
}
