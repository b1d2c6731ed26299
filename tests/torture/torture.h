/* What the programs of the torture share. Each runs twice, the same executable with the real libgander and with one that does
 * nothing; it counts what it emits in a file that outlives it, and writes down its own state, so that both can be compared. */
#ifndef TESTS_TORTURE_H
#define TESTS_TORTURE_H

#include <stdint.h>

/* TORTURE_COUNT in the environment names the file. `writer[i].n` events, numbered from 0, were emitted by writer i; each is one of
 * torture.step {writer, n, check} or torture.text {writer, n, text}. */
#define WRITERS 262144u
struct count_writer {
	uint32_t pid;    /* in the program's own pid namespace */
	uint32_t off;    /* 1: this writer must not be recorded */
	uint64_t n;      /* events emitted */
	uint64_t excuse; /* so many of them may be missing: interrupted for ever before they were emitted */
};
struct count_file {
	uint32_t writers; /* taken so far */
	uint32_t done;    /* the program is through, or wants to be looked at */
	uint32_t stage;   /* what the case likes */
	uint32_t failed;  /* the case itself saw something wrong */
	char note[240];   /* what */
	uint64_t extra[4];
	struct count_writer writer[WRITERS];
};

#define CHECK_OF(n) ((uint32_t)(n)*2654435761u)
static const char *const torture_texts[4] __attribute__((unused)) = { "", "seven77", "sixteen bytes ok", "a longer text, so that events have many lengths, and some copies are long" };

#endif
