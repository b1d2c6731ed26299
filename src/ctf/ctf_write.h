/* Writes CTF: a directory a process, in it `metadata` and one file a stream. The event bytes are those of the shared
 * region (src/region/region.h: 15-bit class id, cut bit, 48-bit counter, contexts, payload), so that a drained piece becomes
 * a CTF packet by a header before it, whatever the number of events in it. docs/ctf.md is the format byte by byte.
 *
 * What holds at every moment, also when the writing process is killed or the disk fills up:
 *   - the metadata on disk describes every event on disk (it is replaced by rename before the first packet that needs it);
 *   - a stream is a row of whole packets (what could be written of a packet only in part is cut off again);
 *   - a stream begins with an empty packet that has lost nothing, so that babeltrace2, which takes differences,
 *     prints the losses exactly; ctf_stream_close() ends it with an empty one that carries the last count.
 *
 * One thread at a time a writer. Memory: the text of the metadata. One descriptor a stream. */
#ifndef GANDER_CTF_CTF_WRITE_H
#define GANDER_CTF_CTF_WRITE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctf_writer;

struct ctf_writer_opts {
	const char *dir;                    /* made if it is not there (mode 0700); holds no other trace */
	int version;                        /* 1: CTF 1.8; 2: CTF 2 */
	bool kernel;                        /* of the kernel: LTTng's environment, a stream a CPU (cpu-N), contexts tid and pid */
	int max_open;                       /* so many streams keep their files open, others open them for each piece; 0: all do */
	bool packet_process;                /* vpid and procname in every packet too (contexts "pid", "process name") */
	uint32_t pid;                       /* env: vpid, as the program sees it */
	const char *procname, *exe, *agent; /* env; NULL: left out. May be any bytes */
	const char *hostname;               /* NULL: this machine's */
	uint64_t start_ns;                  /* env: epoch time of the trace's creation; 0: left out */
	uint8_t uuid[16];                   /* of the trace; zero: random */
	uint8_t boot_id[16];                /* the clock's uuid, as LTTng's; zero: this machine's, now */
};

/* The clock must be set before the first stream. */
int ctf_writer_open(struct ctf_writer **ret, const struct ctf_writer_opts *opts, struct err *err);

/* Closes every stream that is still open (with its last end and loss count) and the files; NULL is fine. */
void ctf_writer_free(struct ctf_writer *w);

/* One more line of the environment: name is an identifier. Before the first packet, or the metadata is written anew. */
int ctf_writer_env(struct ctf_writer *w, const char *name, const char *value, struct err *err);

/* The line from counter to time: epoch_ns at `counter`, freq_hz ticks a second. May be called again as the line gets better; the
 * metadata is written anew with the next packet, or by ctf_writer_sync(). */
int ctf_writer_clock(struct ctf_writer *w, uint64_t freq_hz, uint64_t counter, uint64_t epoch_ns, struct err *err);

/* An event class: the bytes of src/region/desc.h, checked here. The same id again with the same bytes does nothing; with others: -EEXIST.
 * `id` is the 15-bit id that stands in the events. */
int ctf_writer_class(struct ctf_writer *w, uint32_t id, const void *desc, size_t len, struct err *err);

/* Writes the metadata now if it has changed (appending does that by itself). */
int ctf_writer_sync(struct ctf_writer *w, struct err *err);

/* A stream: `context` is the channel's mask (GD_CTX_), `instance` the slot's number: file slot-INSTANCE, or, where there is one of that name
 * already, slot-INSTANCE-2 and so on (of the kernel: cpu-INSTANCE, and the context is given). `begin`: the counter when the recording began. Returns the stream's number (>= 0). */
int ctf_stream_open(struct ctf_writer *w, uint32_t context, uint32_t instance, uint64_t begin, struct err *err);

struct ctf_piece {
	uint64_t begin, end; /* full counters: of the first and the last event; corrected so that they never fall */
	uint64_t discarded;  /* events of this stream lost up to here, since the recording began; never falls */
	const void *data;    /* whole events end to end; may be a shared mapping: only the kernel reads it. NULL: from fd */
	int fd;
	uint64_t offset; /* in fd */
	size_t len;      /* 0: an empty packet, that only carries a count */
};

/* Appends one packet. On failure (-ENOSPC, -EDQUOT, -EIO ...; -EFAULT, -ENODATA: the source was shorter) the stream is as it was before. */
int ctf_stream_append(struct ctf_writer *w, int stream, const struct ctf_piece *piece, struct err *err);

/* The same for n pieces, each from its data, in one write: large writes are cheaper. Their packets are padded to blocks. All or nothing. */
#define CTF_PIECES_MAX 16u
int ctf_stream_append_all(struct ctf_writer *w, int stream, const struct ctf_piece *piece, unsigned n, struct err *err);

/* The same for n pieces, each from its fd (not from data) and of at most 64 KiB, in one write that goes past the page cache: for streams that grow fast. Returns how
 * many it has appended, from the first on; the rest, or all where this is of no use (the file system cannot, the disk is slow), is
 * ctf_stream_append()'s. The last one's packet is padded to a block. room: CTF_RUN_BYTES, aligned to CTF_RUN_ALIGN, to lay them out in. */
#define CTF_RUN_BYTES (1u << 20)
#define CTF_RUN_ALIGN 4096u
int ctf_stream_append_run(struct ctf_writer *w, int stream, const struct ctf_piece *piece, unsigned n, void *room);

/* A place in a stream, and back to it: for packets of which it turns out afterwards that they were not worth it. */
struct ctf_mark {
	int stream;
	bool started;
	uint64_t size, last, seq, discarded, bytes;
};
void ctf_stream_mark(const struct ctf_writer *w, int stream, struct ctf_mark *m);
int ctf_stream_rewind(struct ctf_writer *w, const struct ctf_mark *m, struct err *err);

/* The closing packet and the end of the stream; its number is not used again. */
int ctf_stream_close(struct ctf_writer *w, int stream, uint64_t end, uint64_t discarded, struct err *err);

/* Bytes written into streams so far, headers included: for size-limited recordings. */
uint64_t ctf_writer_bytes(const struct ctf_writer *w);

/* Whole path of the trace's directory, as given. */
const char *ctf_writer_dir(const struct ctf_writer *w);

#endif
