/* The Go trace of a program that serves /debug/pprof, over HTTP on this machine. The other side may be anything that listens: all that
 * it sends is bounded. One thread; nothing blocks (but the look-up of a name in --url): the server is looked for among all that the program listens on, at so many
 * places at a time and at each for two seconds at most, and is called for two, while others are recorded. */
#ifndef GANDER_COLLECT_GOHTTP_H
#define GANDER_COLLECT_GOHTTP_H

#include "collect/collect_go.h"

#define GO_HTTP_PATH "/debug/pprof/trace"

enum go_http_state {
	GO_HTTP_HEAD,   /* of the answer */
	GO_HTTP_SIZE,   /* of the next chunk */
	GO_HTTP_DATA,   /* of a chunk, or of a body of known length */
	GO_HTTP_EOL,    /* behind a chunk */
	GO_HTTP_END,    /* all of it has come */
	GO_HTTP_BROKEN, /* why says it */
};

/* An HTTP answer, and the trace that is its body; fed by bytes, so that it can be tested without a network. */
struct go_answer {
	enum go_http_state state;
	struct buf line; /* the head, or a line */
	uint64_t left;   /* of this chunk or body */
	bool to_the_end; /* the body ends with the connection */
	bool chunked;
	uint8_t first[GO_HEADER]; /* of the trace */
	unsigned nfirst;
	unsigned version; /* of the trace: 22 for "go 1.22 trace" */
	struct buf batch; /* what has come of the next batch */
	char why[300];
};

void go_answer_init(struct go_answer *a);
void go_answer_done(struct go_answer *a);
/* Takes the next bytes; whole generations go into the sink. */
int go_answer_feed(struct go_answer *a, struct go_sink *s, const void *data, size_t len, struct err *err);
void go_answer_break(struct go_answer *a, const char *why); /* nothing more of it is taken */
/* The connection is closed. */
int go_answer_eof(struct go_answer *a, struct go_sink *s, struct err *err);

enum go_http_at { GO_HTTP_FINDS, /* which of its ports is it? */
		  GO_HTTP_CALLS,
		  GO_HTTP_TALKS };

struct go_http {
	enum go_http_at at;
	int fd;
	struct go_find *find;      /* until it talks */
	bool absent;               /* there is no /debug/pprof */
	bool no_place;             /* for one more that is called: set before each read */
	bool told;                 /* to end its trace */
	bool bare;                 /* of a process without a region: it is told when it talks */
	char otherwise[161];       /* what is told when there is none; "": nothing of its own */
	uint64_t begin_ns, end_ns; /* of the talk; so long it is called */
	struct go_sink sink;
	struct go_answer answer;
};

/* Looks for a server of this process that has /debug/pprof (or takes url, when it is not NULL) and asks for so many seconds of its trace.
 * -ENOENT: it listens nowhere. */
int go_http_open(struct go_http *h, const char *dir, const char *comm, pid_t pid, const char *url, double seconds, struct err *err);
void go_http_probes(struct go_http *h, unsigned most); /* while it finds: so many ports are asked at once (all, else); those that are being asked stay */
/* Reads what has come, until then (CLOCK_MONOTONIC) at most. Returns 1 while there may be more, 0 at the end. */
int go_http_read(struct go_http *h, uint64_t until_ns, struct err *err);
/* Nothing more is awaited; answer.why says what is missing. */
int go_http_end(struct go_http *h, struct err *err);
/* Asks the program to end its trace now: Go's handler does so when nobody is going to say anything more to it. The rest is still to be read. */
void go_http_finish(struct go_http *h);
void go_http_close(struct go_http *h);

#endif
