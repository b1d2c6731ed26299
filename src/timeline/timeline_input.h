/* What a path given to timeline_open() holds: read from gander.json. */
#ifndef GANDER_TIMELINE_TIMELINE_INPUT_H
#define GANDER_TIMELINE_TIMELINE_INPUT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct tl_input_go {
	char *path, *program;
	int64_t pid, begin_mono_ns, end_mono_ns; /* begin, end: INT64_MIN, INT64_MAX when not said */
	uint8_t boot_id[16];
	bool has_boot_id;
	bool own_clock; /* "clock": "none": it counts from its own begin */
};

struct tl_input_program {
	char *trace; /* its directory in ctf/ */
	int64_t pid;
};

struct tl_input {
	const char *path;
	bool is_directory, is_recording, has_offset;
	bool own_scope;         /* of the kernel's view: in a chunk at least */
	int64_t mono_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
	double error_ns;
	char host[256];
	struct tl_input_go *go;
	unsigned ngo;
	struct tl_input_program *program;
	unsigned nprograms;
	int64_t stepped_ns; /* how far CLOCK_REALTIME was set while it was recorded */
};

/* A directory without gander.json is no error: then is_recording is false. */
int tl_input_read(struct tl_input *in, const char *path, struct err *err);
void tl_input_done(struct tl_input *in);

/* 16 bytes from "xxxxxxxx-xxxx-..."; false: it is no such text. */
bool tl_input_uuid(uint8_t to[16], const char *text);

#endif
