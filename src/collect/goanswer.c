/* HTTP/1.1 as far as Go's server speaks it, and the generations of the trace inside. */
#include "collect/collect_clock.h"
#include "collect/collect_gohttp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_MAX  16384u
#define LINE_MAX_ 100u
#define BATCH_MAX (GO_BATCH_MAX + 64u)
#define V2        22u

void go_answer_init(struct go_answer *a)
{
	memset(a, 0, sizeof(*a));
}

void go_answer_done(struct go_answer *a)
{
	buf_done(&a->line);
	buf_done(&a->batch);
}

void go_answer_break(struct go_answer *a, const char *why)
{
	if (a->state == GO_HTTP_BROKEN)
		return;
	a->state = GO_HTTP_BROKEN;
	snprintf(a->why, sizeof(a->why), "%s", why);
}

/* A head is complete: what does it say? */
static void read_head(struct go_answer *a)
{
	char *p = a->line.data, *end, *body; /* a buffer ends with a NUL */
	unsigned long status;
	char text[300];

	status = strlen(p) > 9 && (!memcmp(p, "HTTP/1.1 ", 9) || !memcmp(p, "HTTP/1.0 ", 9)) ? strtoul(p + 9, NULL, 10) : 0;
	if (!status) {
		go_answer_break(a, "what answers does not speak HTTP");
		return;
	}
	a->to_the_end = true;
	for (end = strchr(p, '\n'); end && end[1] && end[1] != '\r' && end[1] != '\n'; end = strchr(end + 1, '\n')) {
		if (!strncasecmp(end + 1, "Transfer-Encoding: chunked", 26)) {
			a->chunked = true;
			a->to_the_end = false;
		} else if (!strncasecmp(end + 1, "Content-Length:", 15)) {
			a->left = strtoull(end + 16, NULL, 10);
			a->to_the_end = false;
		}
	}
	if (status != 200) {
		body = memchr(p, '\r', strlen(p));
		if (body)
			*body = 0;
		snprintf(text, sizeof(text), "the program answers '%.200s'", p);
		go_answer_break(a, text);
		return;
	}
	if (a->chunked)
		a->left = 0;
	a->state = a->chunked ? GO_HTTP_SIZE : !a->left && !a->to_the_end ? GO_HTTP_END
									  : GO_HTTP_DATA;
	buf_clear(&a->line);
}

static int end_generation(struct go_sink *s, struct err *err)
{
	return go_sink_end(s, clock_ns(CLOCK_MONOTONIC), err);
}

/* Nothing is lost on this way, so the numbers of generations follow each other. */
static bool out_of_order(const struct go_sink *s, uint64_t gen)
{
	return s->gen && gen != s->gen && gen != s->gen + 1;
}

/* As many whole batches as have come. */
static int take_batches(struct go_answer *a, struct go_sink *s, struct err *err)
{
	size_t done = 0, n;
	uint64_t gen;
	int res = 0;

	while (res == 0 && done < a->batch.len && a->state != GO_HTTP_BROKEN) {
		const uint8_t *p = (const uint8_t *)a->batch.data + done;

		if (*p == GO_END_MARK && a->version >= 26 && s->pending.len) {
			buf_put(&s->pending, p, 1);
			res = end_generation(s, err);
			done++;
			continue;
		}
		n = go_batch(p, a->batch.len - done, &gen);
		if (!n) {
			if (a->batch.len - done > BATCH_MAX || (*p != 1 && *p != 49))
				go_answer_break(a, "what it sends is no Go trace");
			else if (gen && out_of_order(s, gen))
				go_answer_break(a, "what it sends is no Go trace");
			else if (gen && s->pending.len && gen != s->gen)
				res = end_generation(s, err);
			break;
		}
		if (out_of_order(s, gen)) {
			go_answer_break(a, "what it sends is no Go trace");
			break;
		}
		if (s->pending.len && gen != s->gen)
			res = end_generation(s, err); /* before 26 nothing else says that one has ended */
		if (res == 0 && !go_sink_batch(s, p, n))
			go_answer_break(a, "a generation of its Go trace is too large");
		done += n;
	}
	if (done) {
		memmove(a->batch.data, a->batch.data + done, a->batch.len - done);
		a->batch.len -= done;
	}
	return res;
}

/* Bytes of the trace. */
static int take_body(struct go_answer *a, struct go_sink *s, const uint8_t *data, size_t len, struct err *err)
{
	while (a->nfirst < GO_HEADER && len) {
		a->first[a->nfirst++] = *data++;
		len--;
		if (a->nfirst < GO_HEADER)
			continue;
		if (memcmp(a->first, "go 1.", 5) || a->first[5] < '0' || a->first[5] > '9' || a->first[6] < '0' || a->first[6] > '9' ||
		    memcmp(a->first + 7, " trace\0\0\0", 9)) {
			go_answer_break(a, "what it sends is no Go trace");
			return 0;
		}
		a->version = (a->first[5] - '0') * 10u + (a->first[6] - '0');
		memcpy(s->header, a->first, GO_HEADER);
		s->whole = a->version < V2;
	}
	if (!len)
		return 0;
	if (a->version < V2) { /* one piece, whose tables come last */
		if (s->pending.len + len > s->most) {
			go_answer_break(a, "its Go trace is too large: formats before 1.22 are taken as a whole");
			return 0;
		}
		buf_put(&s->pending, data, len);
		s->gen = 1;
		return 0;
	}
	buf_put(&a->batch, data, len);
	return take_batches(a, s, err);
}

int go_answer_feed(struct go_answer *a, struct go_sink *s, const void *data, size_t len, struct err *err)
{
	const uint8_t *p = data, *end = p + len;
	uint64_t n;
	int res = 0;

	while (p < end && res == 0 && a->state < GO_HTTP_END) {
		switch (a->state) {
		case GO_HTTP_HEAD:
			buf_putc(&a->line, (char)*p++);
			if (a->line.len > HEAD_MAX)
				go_answer_break(a, "what answers does not speak HTTP");
			else if (a->line.len >= 4 && !memcmp(a->line.data + a->line.len - 4, "\r\n\r\n", 4))
				read_head(a);
			break;
		case GO_HTTP_SIZE:
			buf_putc(&a->line, (char)*p++);
			if (a->line.len > LINE_MAX_) {
				go_answer_break(a, "its answer is damaged");
			} else if (a->line.data[a->line.len - 1] == '\n') {
				char *rest;

				a->left = strtoull(a->line.data, &rest, 16);
				if (rest == a->line.data || *a->line.data == '-')
					go_answer_break(a, "its answer is damaged");
				else
					a->state = a->left ? GO_HTTP_DATA : GO_HTTP_END;
				buf_clear(&a->line);
			}
			break;
		case GO_HTTP_EOL:
			if (*p == '\n')
				a->state = GO_HTTP_SIZE;
			else if (*p != '\r')
				go_answer_break(a, "its answer is damaged");
			p++;
			break;
		case GO_HTTP_DATA:
			n = (uint64_t)(end - p);
			if (!a->to_the_end && n > a->left)
				n = a->left;
			res = take_body(a, s, p, n, err);
			p += n;
			if (!a->to_the_end) {
				a->left -= n;
				if (!a->left && a->state == GO_HTTP_DATA)
					a->state = a->chunked ? GO_HTTP_EOL : GO_HTTP_END;
			}
			break;
		case GO_HTTP_END:
		case GO_HTTP_BROKEN:
			break;
		}
		if (buf_failed(&a->line) || buf_failed(&a->batch) || buf_failed(&s->pending))
			return err_set(err, -ENOMEM, "out of memory");
	}
	/* the whole answer: its last generation is complete */
	if (res == 0 && a->state == GO_HTTP_END && s->pending.len && !a->batch.len)
		res = end_generation(s, err);
	return res;
}

int go_answer_eof(struct go_answer *a, struct go_sink *s, struct err *err)
{
	int res = 0;

	if (a->state == GO_HTTP_DATA && a->to_the_end && s->pending.len && !a->batch.len)
		res = end_generation(s, err);
	else if (a->state < GO_HTTP_END && !s->nparts)
		go_answer_break(a, "the program closed the connection");
	if (a->state != GO_HTTP_BROKEN)
		a->state = GO_HTTP_END;
	go_sink_drop(s);
	return res;
}
