/* Where a program listens, and the talk with it. */
#include "collect/collect_clock.h"
#include "collect/collect_gohttp.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKETS_MAX      4096
#define PORTS_MAX        64
#define TCP_LISTEN_STATE 10 /* as the kernel numbers it */
#define ANSWER_NS        2000000000ull

struct place {
	struct sockaddr_storage addr;
	socklen_t len;
	char host[80]; /* as it is said in the request */
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The inodes of a process's sockets. */
static int sockets_of(pid_t pid, uint64_t *inode, int cap)
{
	char path[300], text[64];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return 0;
	while (n < cap && (e = readdir(d))) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/fd/%.20s", (int)pid, e->d_name);
		len = readlink(path, text, sizeof(text) - 1);
		if (len < 10 || memcmp(text, "socket:[", 8))
			continue;
		text[len] = 0;
		inode[n++] = strtoull(text + 8, NULL, 10);
	}
	closedir(d);
	qsort(inode, (size_t)n, sizeof(*inode), compare);
	return n;
}

static bool same_network(pid_t pid)
{
	struct stat a, b;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return stat(path, &a) == 0 && stat("/proc/self/ns/net", &b) == 0 && a.st_ino == b.st_ino;
}

/* One line of /proc/PID/net/tcp: the listening socket of one of these inodes? Fields: number, local address:port, remote, state, ..., the tenth
 * is the inode. */
static bool read_socket(char *line, bool six, const uint64_t *inode, int ninode, struct place *to)
{
	char *field[10], *save = NULL, digits[9] = "";
	uint32_t word[4];
	unsigned long port;
	uint64_t ino;
	unsigned i;

	for (i = 0; i < 10; i++) {
		field[i] = strtok_r(i ? NULL : line, " \n", &save);
		if (!field[i])
			return false;
	}
	ino = strtoull(field[9], NULL, 10);
	if (strtoul(field[3], NULL, 16) != TCP_LISTEN_STATE || strlen(field[1]) != (six ? 32 : 8) + 5 ||
	    !bsearch(&ino, inode, (size_t)ninode, sizeof(ino), compare))
		return false;
	port = strtoul(field[1] + strlen(field[1]) - 4, NULL, 16);
	for (i = 0; i < (six ? 4u : 1u); i++) {
		memcpy(digits, field[1] + 8 * i, 8);
		word[i] = (uint32_t)strtoul(digits, NULL, 16);
	}
	memset(&to->addr, 0, sizeof(to->addr));
	if (six) {
		struct sockaddr_in6 *a = (struct sockaddr_in6 *)&to->addr;

		a->sin6_family = AF_INET6;
		a->sin6_port = htons((uint16_t)port);
		memcpy(&a->sin6_addr, word, 16);
		if (IN6_IS_ADDR_UNSPECIFIED(&a->sin6_addr))
			a->sin6_addr = in6addr_loopback;
		to->len = sizeof(*a);
	} else {
		struct sockaddr_in *a = (struct sockaddr_in *)&to->addr;

		a->sin_family = AF_INET;
		a->sin_port = htons((uint16_t)port);
		a->sin_addr.s_addr = word[0] ? word[0] : htonl(INADDR_LOOPBACK);
		to->len = sizeof(*a);
	}
	snprintf(to->host, sizeof(to->host), "localhost:%lu", port);
	return true;
}

static int places_of(pid_t pid, struct place *to, int cap)
{
	static const char *const files[] = { "tcp", "tcp6" };
	uint64_t *inode = malloc(SOCKETS_MAX * sizeof(*inode));
	char path[64], line[512];
	int i, ninode, n = 0;

	ninode = inode && same_network(pid) ? sockets_of(pid, inode, SOCKETS_MAX) : 0;
	for (i = 0; i < 2 && ninode; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, files[i]);
		f = fopen(path, "re");
		while (f && n < cap && fgets(line, sizeof(line), f))
			n += read_socket(line, i, inode, ninode, &to[n]);
		if (f)
			fclose(f);
	}
	free(inode);
	return n;
}

/* What a browser has for /debug/pprof, or curl for the trace, is understood as well: the trace is meant, and the recording knows for how long. */
static void path_of_url(const char *given, char path[256])
{
	static const char index[] = "/debug/pprof";
	int len = (int)strcspn(given, "?#"), n = (int)strlen(index);

	if (len && given[len - 1] == '/')
		len--;
	if (!len)
		snprintf(path, 256, GO_HTTP_PATH);
	else
		snprintf(path, 256, "%.*s%s", len < 240 ? len : 240, given, len >= n && !strncmp(given + len - n, index, (size_t)n) ? "/trace" : "");
}

/* [http://]HOST[:PORT][/PATH] */
static int place_of_url(const char *url, struct place *to, char path[256], struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	const char *at = strncmp(url, "http://", 7) ? url : url + 7;
	char host[256], *port, *colon;
	size_t len;
	int res;

	if (strstr(at, "://"))
		return err_set(err, -EINVAL, "--url: '%s' does not begin with http://", url);
	len = strcspn(at, "/?#");
	if (!len || len >= sizeof(host) - 1)
		return err_set(err, -EINVAL, "--url: '%s' names no host", url);
	memcpy(host, at, len);
	host[len] = 0;
	snprintf(to->host, sizeof(to->host), "%.79s", host);
	path_of_url(at + len, path);
	if (strpbrk(path, " \r\n") || strpbrk(host, " \r\n@"))
		return err_set(err, -EINVAL, "--url: '%s' is more than an address and a path", url);
	colon = strrchr(host, ':');
	port = (char *)"80";
	if (colon && !strchr(colon, ']')) {
		*colon = 0;
		port = colon + 1;
	}
	if (*host == '[' && host[strlen(host) - 1] == ']') {
		memmove(host, host + 1, strlen(host));
		host[strlen(host) - 1] = 0;
	}
	res = getaddrinfo(host, port, &hints, &found);
	if (res || !found)
		return err_set(err, -EINVAL, "--url: '%s': %s", url, gai_strerror(res));
	memcpy(&to->addr, found->ai_addr, found->ai_addrlen);
	to->len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

/* Begins a connection. */
static int begin(const struct place *to)
{
	int fd = socket(to->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), failed;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to->addr, to->len) == 0 || errno == EINPROGRESS)
		return fd;
	failed = errno;
	close(fd);
	return -failed;
}

/* Sends the request, when the connection is there. */
static int ask(int fd, const struct place *to, const char *path)
{
	socklen_t size = sizeof(int);
	char text[600];
	int n, failed = 0;

	n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: gander\r\nConnection: close\r\n\r\n", path, to->host);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size);
	if (!failed && send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		failed = errno ? errno : EIO;
	return -failed;
}

/* A place that is asked for the command line: it tells whether there is /debug/pprof, and whether it is that process's. */
struct probe {
	int fd; /* -1: it has not been called yet, has answered, or will not */
	bool asked;
	uint64_t end_ns;
	size_t len;
	char got[8192];
};

static bool is_cmdline_of(struct probe *p, pid_t pid)
{
	char want[4096], path[64], *body;
	size_t nwant, len = p->len;
	FILE *f;

	p->got[len] = 0;
	body = strstr(p->got, "\r\n\r\n");
	if (!body || strncmp(p->got, "HTTP/1.", 7) || strncmp(p->got + 8, " 200", 4))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	nwant = fread(want, 1, sizeof(want), f);
	fclose(f);
	if (nwant && !want[nwant - 1])
		nwant--; /* the kernel ends each argument, Go separates them */
	body += 4;
	len -= (size_t)(body - p->got);
	if (nwant == sizeof(want) && len < nwant) /* one that long is compared as far as it was read */
		nwant = len;
	return nwant && len >= nwant && !memcmp(body, want, nwant);
}

/* Something has happened on the connection. True: no more will. */
static bool probe_has_ended(struct probe *p, const struct place *to)
{
	ssize_t n;

	if (!p->asked) {
		p->asked = true;
		return ask(p->fd, to, "/debug/pprof/cmdline") < 0;
	}
	n = recv(p->fd, p->got + p->len, sizeof(p->got) - 1 - p->len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	p->len += n > 0 ? (size_t)n : 0;
	return n <= 0 || p->len == sizeof(p->got) - 1;
}

/* Where a program listens, and which of these places is its /debug/pprof. Some are asked at once, and nothing waits: whoever listens and says nothing holds up
 * nobody but the next of his own program. */
struct go_find {
	struct place place[PORTS_MAX];
	struct probe *probe; /* [n]; NULL: there is only one place, which was named */
	int n, next, open, most, found;
	char request[320];
};

/* Nobody is asked any more. */
static void seek_end(struct go_find *find)
{
	int i;

	for (i = 0; find->probe && i < find->n; i++)
		if (find->probe[i].fd >= 0)
			close(find->probe[i].fd);
	free(find->probe);
	find->probe = NULL;
}

static void seek_free(struct go_find *find)
{
	if (find)
		seek_end(find);
	free(find);
}

static int seek_begin(struct go_find *find, struct err *err)
{
	int i;

	find->most = PORTS_MAX;
	find->probe = calloc((size_t)find->n, sizeof(*find->probe));
	if (!find->probe)
		return err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < find->n; i++)
		find->probe[i].fd = -1;
	return 0;
}

/* Asks whoever is next, and looks at those who have not answered. Of one whose time is over, what it has said without hanging up counts too. */
static void seek_step(struct go_find *find, pid_t pid)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	struct pollfd p[PORTS_MAX];
	int i;

	for (; find->next < find->n && find->open < find->most; find->next++) {
		find->probe[find->next].fd = begin(&find->place[find->next]);
		find->probe[find->next].end_ns = now + ANSWER_NS;
		find->open += find->probe[find->next].fd >= 0;
	}
	for (i = 0; i < find->n; i++)
		p[i] = (struct pollfd) { .fd = find->probe[i].fd, .events = find->probe[i].asked ? POLLIN : POLLOUT };
	if (poll(p, (nfds_t)find->n, 0) < 0)
		return;
	for (i = 0; i < find->n && find->found < 0; i++) {
		struct probe *probe = &find->probe[i];

		if (probe->fd < 0 || (!(p[i].revents && probe_has_ended(probe, &find->place[i])) && now < probe->end_ns))
			continue;
		if (is_cmdline_of(probe, pid))
			find->found = i;
		close(probe->fd);
		probe->fd = -1;
		find->open--;
	}
}

void go_http_probes(struct go_http *h, unsigned most)
{
	h->find->most = (int)most;
}

/* To the place that was found. */
static void go_call(struct go_http *h)
{
	struct go_find *find = h->find;
	char text[200];

	seek_end(find);
	h->at = GO_HTTP_CALLS;
	h->end_ns = clock_ns(CLOCK_MONOTONIC) + ANSWER_NS;
	h->fd = begin(&find->place[find->found]);
	if (h->fd < 0) {
		snprintf(text, sizeof(text), "cannot reach '%s': %s", find->place[find->found].host, strerror(-h->fd));
		go_answer_break(&h->answer, text);
		h->fd = -1;
	}
}

int go_http_open(struct go_http *h, const char *dir, const char *comm, pid_t pid, const char *url, double seconds, struct err *err)
{
	char path[256] = GO_HTTP_PATH;
	int res = 0;

	memset(h, 0, sizeof(*h));
	h->fd = -1;
	h->find = calloc(1, sizeof(*h->find));
	if (!h->find)
		return err_set(err, -ENOMEM, "out of memory");
	h->find->found = -1;
	if (url) {
		res = place_of_url(url, &h->find->place[0], path, err);
		h->find->n = 1;
	} else {
		h->find->n = places_of(pid, h->find->place, PORTS_MAX);
		res = h->find->n ? seek_begin(h->find, err) : err_set(err, -ENOENT, "process %d serves no /debug/pprof", (int)pid);
	}
	if (res < 0) {
		seek_free(h->find);
		h->find = NULL;
		return res;
	}
	snprintf(h->find->request, sizeof(h->find->request), "%s?seconds=%.3f", path, seconds);
	go_sink_init(&h->sink, dir, comm, pid, "http");
	go_answer_init(&h->answer);
	if (url) {
		h->find->found = 0;
		go_call(h);
	}
	return 0;
}

/* Until it talks. */
static void go_reach(struct go_http *h)
{
	struct go_find *find = h->find;
	struct pollfd p = { .fd = h->fd, .events = POLLOUT };
	char text[200];
	int failed;

	if (h->at == GO_HTTP_FINDS) {
		seek_step(find, h->sink.pid);
		if (find->found >= 0 && h->no_place) {
			go_answer_break(&h->answer, "as many others as can be at a time have one");
		} else if (find->found >= 0) {
			go_call(h);
		} else if (!find->open && find->next == find->n) {
			h->absent = true;
			go_answer_break(&h->answer, "it serves no /debug/pprof");
		}
		return;
	}
	if (poll(&p, 1, 0) != 1 && clock_ns(CLOCK_MONOTONIC) < h->end_ns)
		return;
	h->begin_ns = h->sink.begin_ns = clock_ns(CLOCK_MONOTONIC);
	failed = p.revents ? ask(h->fd, &find->place[find->found], find->request) : -ETIMEDOUT;
	if (failed < 0) {
		snprintf(text, sizeof(text), "cannot reach '%s': %s", find->place[find->found].host, strerror(-failed));
		go_answer_break(&h->answer, text);
		return;
	}
	h->at = GO_HTTP_TALKS;
	seek_free(find);
	h->find = NULL;
}

int go_http_read(struct go_http *h, uint64_t until_ns, struct err *err)
{
	uint8_t data[16384];
	int res = 0;
	ssize_t n;

	if (h->at != GO_HTTP_TALKS && h->answer.state < GO_HTTP_END)
		go_reach(h);
	while (res == 0 && h->at == GO_HTTP_TALKS && h->answer.state < GO_HTTP_END) {
		n = recv(h->fd, data, sizeof(data), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 1;
		if (n <= 0)
			res = go_answer_eof(&h->answer, &h->sink, err);
		else
			res = go_answer_feed(&h->answer, &h->sink, data, (size_t)n, err);
		if (clock_ns(CLOCK_MONOTONIC) >= until_ns)
			break;
	}
	return res < 0 ? res : h->answer.state < GO_HTTP_END;
}

void go_http_finish(struct go_http *h)
{
	if (h->at == GO_HTTP_TALKS && !h->told)
		shutdown(h->fd, SHUT_WR);
	h->told |= h->at == GO_HTTP_TALKS;
}

int go_http_end(struct go_http *h, struct err *err)
{
	if (h->answer.state >= GO_HTTP_END)
		return 0;
	h->absent = h->at == GO_HTTP_FINDS;
	if (!h->sink.nparts)
		go_answer_break(&h->answer, h->at != GO_HTTP_TALKS            ? "it could not be reached in this time"
					    : h->answer.state == GO_HTTP_HEAD ? "it has not answered, and the recording ended before the first generation of its trace did"
									      : "the recording ended before the first generation of its trace did");
	return go_answer_eof(&h->answer, &h->sink, err);
}

void go_http_close(struct go_http *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	seek_free(h->find);
	h->find = NULL;
	go_answer_done(&h->answer);
	go_sink_done(&h->sink);
}
