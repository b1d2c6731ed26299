/* A running recording listens on a socket in the abstract name space, "gander-session-" and its id: it needs no file, and is gone with
 * its process. Only its own user and root are heard. */
#include "collect/collect_control.h"
#include "collect/collect.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "gander-session-"

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

static socklen_t address(struct sockaddr_un *a, const char *session)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, PREFIX "%s", session));
}

int control_listen(const char *session, struct err *err)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, session);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 4) < 0) {
		int res = err_set(err, -errno, "cannot make the recording's control socket: %m");

		if (fd >= 0)
			close(fd);
		return res;
	}
	return fd;
}

void control_serve(int listen_fd, void (*answer)(void *arg, const char *request, struct buf *reply), void *arg)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct timeval soon = { .tv_usec = 200000 };
	struct buf reply = BUF_INIT;
	struct ucred who;
	socklen_t len = sizeof(who);
	char request[1024];
	ssize_t n;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == geteuid() || who.uid == 0)) {
		n = recv(fd, request, sizeof(request) - 1, 0);
		if (n > 0) {
			request[n] = 0;
			answer(arg, request, &reply);
			if (reply.len)
				send(fd, reply.data, reply.len, MSG_NOSIGNAL);
		}
	}
	buf_done(&reply);
	close(fd);
}

/* The whole id of the running recording whose id starts so. */
static int complete(const char *start, char full[33], struct err *err)
{
	FILE *in = fopen("/proc/net/unix", "re");
	char line[512], *p;
	int found = 0;

	while (in && fgets(line, sizeof(line), in)) {
		p = strstr(line, "@" PREFIX);
		if (!p)
			continue;
		p += strlen("@" PREFIX);
		p[strcspn(p, "\n")] = 0;
		if (strlen(p) != 32 || strncmp(p, start, strlen(start)) || (found && !strcmp(p, full)))
			continue;
		memcpy(full, p, 33);
		found++;
	}
	if (in)
		fclose(in);
	if (found > 1)
		return err_set(err, -EEXIST, "several recordings are called '%s...': give more of the id", start);
	return found ? 0 : err_set(err, -ENOENT, "no recording '%s' is running", start);
}

int record_ask(const char *session, const char *request, struct buf *reply, struct err *err)
{
	char full[33] = "", text[4096], path[4200], *p;
	struct timeval soon = { .tv_sec = 10 };
	struct sockaddr_un a;
	socklen_t len;
	ssize_t n;
	size_t got;
	int fd, res;
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
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "cannot make a socket: %m");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	len = address(&a, full);
	if (connect(fd, (struct sockaddr *)&a, len) < 0 || send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
		res = err_set(err, -errno, "cannot reach the recording '%s': %m", full);
	} else {
		n = recv(fd, text, sizeof(text), 0);
		if (n <= 0)
			res = err_set(err, n < 0 ? -errno : -EPERM, "the recording '%s' does not answer (only its user and root may ask it)", full);
		else
			buf_put(reply, text, (size_t)n);
	}
	close(fd);
	return res;
}
