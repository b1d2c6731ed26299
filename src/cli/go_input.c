#include "cli/go_input.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/table.h"
#include "cli/http_client.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct go_input {
	char *name;
	int fd; /* -1: a URL */
	struct gander_gotrace *reader;
	/* a URL */
	const struct http_client *http;
	CURLM *multi;
	CURL *easy;
	struct buf got; /* received and not yet taken */
	size_t taken;
	bool checked; /* the answer's head was looked at */
	bool finished;
	char *url;
	struct err err; /* why the transfer failed */
	/* progress */
	bool tty, shown;
	struct timespec begun, last;
	uint64_t read_bytes, size_bytes; /* size: of a file, else 0 */
};

bool go_input_is_url(const char *spec)
{
	return !strncmp(spec, "http://", 7) || !strncmp(spec, "https://", 8);
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct go_input *in = arg;

	buf_put(&in->got, data, size * n);
	return buf_failed(&in->got) ? 0 : size * n;
}

static int url_start(struct go_input *in, const char *url, long timeout_s, struct err *err)
{
	in->http = http_client(err);
	if (!in->http)
		return -ENOENT;
	in->multi = in->http->curl_multi_init();
	in->easy = in->http->curl_easy_init();
	if (!in->multi || !in->easy)
		return err_set(err, -ENOMEM, "out of memory");
	in->http->curl_easy_setopt(in->easy, CURLOPT_URL, url);
	in->http->curl_easy_setopt(in->easy, CURLOPT_WRITEFUNCTION, on_data);
	in->http->curl_easy_setopt(in->easy, CURLOPT_WRITEDATA, in);
	in->http->curl_easy_setopt(in->easy, CURLOPT_NOSIGNAL, 1L);
	in->http->curl_easy_setopt(in->easy, CURLOPT_CONNECTTIMEOUT, 10L);
	in->http->curl_easy_setopt(in->easy, CURLOPT_USERAGENT, "gander/" GANDER_VERSION);
	in->http->curl_easy_setopt(in->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	if (timeout_s)
		in->http->curl_easy_setopt(in->easy, CURLOPT_TIMEOUT, timeout_s);
	if (in->http->curl_multi_add_handle(in->multi, in->easy) != CURLM_OK)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static void url_stop(struct go_input *in)
{
	if (in->multi && in->easy)
		in->http->curl_multi_remove_handle(in->multi, in->easy);
	if (in->easy)
		in->http->curl_easy_cleanup(in->easy);
	if (in->multi)
		in->http->curl_multi_cleanup(in->multi);
	in->easy = NULL;
	in->multi = NULL;
	buf_clear(&in->got);
	in->taken = 0;
	in->checked = in->finished = false;
}

/* Only a 200 that is not text is a trace; what the server said instead is the best explanation there is. */
static int check_answer(struct go_input *in, struct err *err)
{
	const char *type = NULL, *body = in->got.data ? in->got.data + in->taken : "";
	long code = 0;
	int len;

	in->http->curl_easy_getinfo(in->easy, CURLINFO_RESPONSE_CODE, &code);
	in->http->curl_easy_getinfo(in->easy, CURLINFO_CONTENT_TYPE, &type);
	len = (int)strcspn(body, "\r\n");
	if (len > 120)
		len = 120;
	if (code != 200)
		return err_set(err, -EPROTO, "%s answered %ld: %.*s%s", in->url, code, len, body,
			       code == 404 ? " (does the program import net/http/pprof?)" : "");
	if (type && !strncmp(type, "text/", 5) && strncmp(body, "go 1.", 5))
		return err_set(err, -EPROTO, "%s answered with text, not with a trace: %.*s", in->url, len, body);
	return 0;
}

/* Runs the transfer until there are `want` bytes, or it has ended. */
static int url_fill(struct go_input *in, size_t want, struct err *err)
{
	while (!in->finished && in->got.len - in->taken < want) {
		int running = 0, left;
		CURLMsg *msg;

		if (in->http->curl_multi_perform(in->multi, &running) != CURLM_OK)
			return err_set(err, -EIO, "%s: the transfer broke off", in->url);
		while ((msg = in->http->curl_multi_info_read(in->multi, &left))) {
			if (msg->msg != CURLMSG_DONE)
				continue;
			in->finished = true;
			if (msg->data.result != CURLE_OK)
				return err_set(err, -EIO, "%s: %s", in->url, in->http->curl_easy_strerror(msg->data.result));
		}
		if (!in->finished && in->got.len - in->taken < want)
			in->http->curl_multi_poll(in->multi, NULL, 0, 1000, NULL);
	}
	if (buf_failed(&in->got))
		return err_set(err, -ENOMEM, "out of memory");
	if (!in->checked) {
		in->checked = true;
		return check_answer(in, err);
	}
	return 0;
}

/* Who reads the bytes raw has no events to count: the progress is that of the bytes. */
static void note_read(struct go_input *in, uint64_t n)
{
	struct gander_gotrace_info info = { .read_bytes = in->read_bytes += n, .size_bytes = in->size_bytes };

	if (!in->reader && in->tty)
		go_input_progress(in, &info);
}

int64_t go_input_read(void *arg, void *to, size_t size)
{
	struct go_input *in = arg;
	size_t n;
	int r;

	if (in->fd >= 0) {
		ssize_t got;

		do
			got = read(in->fd, to, size);
		while (got < 0 && errno == EINTR);
		if (got > 0)
			note_read(in, (uint64_t)got);
		return got < 0 ? -errno : got;
	}
	if (in->taken == in->got.len) {
		buf_clear(&in->got);
		in->taken = 0;
	}
	r = url_fill(in, 1, &in->err);
	if (r < 0)
		return r;
	n = in->got.len - in->taken;
	if (n > size)
		n = size;
	if (n)
		memcpy(to, in->got.data + in->taken, n);
	in->taken += n;
	note_read(in, n);
	return (int64_t)n;
}

static void say_price(int minor)
{
	if (minor < 21)
		fprintf(stderr, "gander: the program's traces are Go 1.%d's: expect it to be 10-20%% slower while this one is taken (1-2%% from Go 1.21 on)\n",
			minor);
	else
		fprintf(stderr, "gander: the program's traces are Go 1.%d's: expect it to be 1-2%% slower while this one is taken\n", minor);
}

/* The Go version is known only by the first bytes of a trace, so a trace of a millisecond is taken first: its price is that of
 * stopping the world twice and writing one event a goroutine. Returns the version's minor number, 0 when that is no trace. */
static int probe(struct go_input *in, const char *url, size_t len, long timeout_s, struct err *err)
{
	struct buf text = BUF_INIT;
	int r, minor = 0;

	buf_put(&text, url, len);
	buf_puts(&text, "?seconds=0.001");
	r = url_start(in, text.data, timeout_s, err);
	if (!r)
		r = url_fill(in, 16, err);
	if (!r && in->got.len >= 16 && !memcmp(in->got.data, "go 1.", 5))
		minor = (int)strtol(in->got.data + 5, NULL, 10);
	while (!r && !in->finished) { /* to its end, or the server would still be tracing when it is asked again */
		buf_clear(&in->got);
		r = url_fill(in, 1, err);
	}
	url_stop(in);
	buf_done(&text);
	return r < 0 ? r : minor;
}

static int say_price_first(struct go_input *in, struct err *err)
{
	const char *path = strstr(in->url, "/debug/pprof/trace"), *query;
	int minor;

	if (!path)
		return 0;
	query = strchr(path, '?');
	minor = probe(in, in->url, query ? (size_t)(query - in->url) : strlen(in->url), 60, err);
	if (minor > 0)
		say_price(minor);
	return minor < 0 ? minor : 0;
}

/* The inodes of a process's sockets, as keys. */
static int sockets_of(uint64_t pid, struct map *inodes, struct err *err)
{
	char path[64], link[64];
	struct dirent *e;
	bool added;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%llu/fd", (unsigned long long)pid);
	dir = opendir(path);
	if (!dir)
		return err_set(err, -errno, "cannot look at process %llu: %m", (unsigned long long)pid);
	while ((e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		if (n <= 8 || memcmp(link, "socket:[", 8))
			continue;
		link[n] = 0;
		map_put(inodes, strtoull(link + 8, NULL, 10), &added);
	}
	closedir(dir);
	return 0;
}

/* "0100007F:1F90" of /proc/net/tcp: groups of four bytes in the machine's order, then the port. What listens everywhere is asked at home. */
static bool listener_url(const char *hex, struct buf *url)
{
	size_t digits = strcspn(hex, ":"), i;
	uint8_t a[16] = { 0 };
	char text[INET6_ADDRSTRLEN];

	if ((digits != 8 && digits != 32) || !hex[digits])
		return false;
	for (i = 0; i < digits / 8; i++) {
		char group[9] = { 0 };
		uint32_t v;

		memcpy(group, hex + i * 8, 8);
		v = (uint32_t)strtoul(group, NULL, 16);
		memcpy(a + i * 4, &v, 4);
	}
	for (i = 0; i < 16 && !a[i]; i++)
		;
	if (i == 16)
		snprintf(text, sizeof(text), digits == 8 ? "127.0.0.1" : "localhost");
	else if (!inet_ntop(digits == 8 ? AF_INET : AF_INET6, a, text, sizeof(text)))
		return false;
	buf_clear(url);
	buf_printf(url, digits == 32 && i < 16 ? "http://[%s]:%lu/debug/pprof/trace" : "http://%s:%lu/debug/pprof/trace", text,
		   strtoul(hex + digits + 1, NULL, 16));
	return true;
}

int go_input_url_of(uint64_t pid, uint64_t seconds, char **ret, struct err *err)
{
	static const char *const tables[] = { "tcp", "tcp6" };
	struct go_input in = { .fd = -1 };
	struct map inodes = { 0 };
	struct buf url = BUF_INIT;
	char path[64], line[512];
	unsigned tried = 0, i;
	int r, minor = 0;
	FILE *f;

	if (!http_client(err))
		return -ENOENT;
	r = sockets_of(pid, &inodes, err);
	if (r < 0)
		return r;
	for (i = 0; i < 2 && minor <= 0; i++) {
		snprintf(path, sizeof(path), "/proc/%llu/net/%s", (unsigned long long)pid, tables[i]);
		f = fopen(path, "re");
		while (f && minor <= 0 && fgets(line, sizeof(line), f)) {
			/* sl local remote state queues timer retransmits uid timeout inode */
			char *field[10] = { 0 }, *save = NULL, *word = strtok_r(line, " ", &save);
			unsigned n = 0;

			for (; word && n < 10; word = strtok_r(NULL, " ", &save))
				field[n++] = word;
			if (n < 10 || strcmp(field[3], "0A") || !map_find(&inodes, strtoull(field[9], NULL, 10)) || !listener_url(field[1], &url))
				continue;
			tried++;
			in.url = url.data;
			minor = probe(&in, url.data, url.len, 3, NULL);
		}
		if (f)
			fclose(f);
	}
	map_done(&inodes);
	buf_done(&in.got);
	if (minor <= 0) {
		buf_done(&url);
		return err_set(err, -ENOENT, "process %llu serves no /debug/pprof/trace on its %u listening TCP sockets (it does with net/http/pprof imported)",
			       (unsigned long long)pid, tried);
	}
	buf_printf(&url, "?seconds=%llu", (unsigned long long)seconds);
	*ret = url.data;
	return 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), len = strlen(end);

	return n >= len && !strcmp(s + n - len, end);
}

static int open_url(struct go_input *in, const char *spec, struct err *err)
{
	const char *host = strstr(spec, "://") + 3;
	struct buf url = BUF_INIT;
	int r;

	buf_puts(&url, spec);
	if (!strchr(host, '/'))
		buf_puts(&url, "/debug/pprof/trace?seconds=5");
	else if (!host[strcspn(host, "/") + 1])
		buf_puts(&url, "debug/pprof/trace?seconds=5");
	else if (ends_with(host, "/debug/pprof")) /* what a browser is given */
		buf_puts(&url, "/trace?seconds=5");
	else if (ends_with(host, "/debug/pprof/"))
		buf_puts(&url, "trace?seconds=5");
	if (buf_failed(&url))
		return err_set(err, -ENOMEM, "out of memory");
	in->url = url.data;
	r = say_price_first(in, err);
	if (r < 0)
		return r;
	r = url_start(in, in->url, 0, err);
	return r < 0 ? r : url_fill(in, 1, err);
}

int go_input_open_raw(struct go_input **ret, const char *spec, struct err *err)
{
	struct go_input *in = calloc(1, sizeof(*in));
	struct stat st;
	int r = 0;

	if (!in)
		return err_set(err, -ENOMEM, "out of memory");
	in->fd = -1;
	in->tty = isatty(2);
	clock_gettime(CLOCK_MONOTONIC, &in->begun);
	in->last = in->begun;
	in->name = strdup(spec);
	if (!in->name) {
		r = err_set(err, -ENOMEM, "out of memory");
	} else if (go_input_is_url(spec)) {
		r = open_url(in, spec, err);
	} else if (!strcmp(spec, "-")) {
		in->fd = 0;
	} else {
		in->fd = open(spec, O_RDONLY | O_CLOEXEC);
		if (in->fd < 0)
			r = err_set(err, -errno, "cannot open '%s': %m", spec);
		else if (fstat(in->fd, &st) < 0)
			r = err_set(err, -errno, "cannot look at '%s': %m", spec);
		else if (S_ISREG(st.st_mode))
			in->size_bytes = (uint64_t)st.st_size;
		else if (S_ISDIR(st.st_mode))
			r = err_set(err, -EISDIR, "'%s' is a directory (the Go traces of a recording are the files go/*.trace in it)", spec);
	}
	if (r < 0) {
		go_input_close(in);
		return r;
	}
	*ret = in;
	return 0;
}

int go_input_open(struct go_input **ret, const char *spec, unsigned flags, struct err *err)
{
	struct gander_gotrace_opts o = GANDER_GOTRACE_OPTS_INIT;
	struct gander_err gerr = GANDER_ERR_INIT;
	struct go_input *in = NULL;
	int r = go_input_open_raw(&in, spec, err);

	if (r < 0)
		return r;
	o.flags = flags;
	if (in->fd >= 0)
		r = gander_gotrace_open_fd(&in->reader, in->fd, &o, &gerr);
	else
		r = gander_gotrace_open_read(&in->reader, go_input_read, in, &o, &gerr);
	if (r < 0) {
		err_set(err, r, "%s: %s", in->name, in->err.code ? in->err.text : gerr.text);
		go_input_close(in);
		return r;
	}
	*ret = in;
	return 0;
}

struct gander_gotrace *go_input_reader(struct go_input *in)
{
	return in->reader;
}

const char *go_input_name(const struct go_input *in)
{
	return strcmp(in->name, "-") ? in->name : "standard input";
}

void go_input_close(struct go_input *in)
{
	if (!in)
		return;
	go_input_progress_done(in);
	gander_gotrace_free(in->reader);
	url_stop(in);
	buf_done(&in->got);
	if (in->fd > 0)
		close(in->fd);
	free(in->url);
	free(in->name);
	free(in);
}

static double seconds(const struct timespec *a, const struct timespec *b)
{
	return (double)(b->tv_sec - a->tv_sec) + (double)(b->tv_nsec - a->tv_nsec) / 1e9;
}

void go_input_progress(void *arg, const struct gander_gotrace_info *info)
{
	struct go_input *in = arg;
	struct timespec now;
	char ev[UNIT_TEXT], got[UNIT_TEXT];
	double s;

	if (!in->tty)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	s = seconds(&in->begun, &now);
	if (s < 1 || seconds(&in->last, &now) < 0.2)
		return;
	in->last = now;
	in->shown = true;
	fprintf(stderr, "\r%s: ", go_input_name(in));
	if (info->size_bytes)
		fprintf(stderr, "%.0f%%, ", 100. * (double)info->read_bytes / (double)info->size_bytes);
	fprintf(stderr, "%s, ", bytes_text(got, info->read_bytes));
	if (info->events)
		fprintf(stderr, "%s events, ", count_text(ev, (double)info->events));
	fprintf(stderr, "%.0f s ", s);
	if (info->size_bytes && info->read_bytes > info->size_bytes / 50)
		fprintf(stderr, "(%.0f s left) ", s * ((double)info->size_bytes / (double)info->read_bytes - 1));
	fputs("\033[K", stderr);
	fflush(stderr);
}

void go_input_progress_done(struct go_input *in)
{
	if (in->shown)
		fputs("\r\033[K", stderr);
	in->shown = false;
}
