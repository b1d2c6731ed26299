/* Makes regions: a writer of one thread that follows docs/region.md, with its hands on everything, so that tests can also break what it
 * has made. */
#ifndef TESTS_LIB_MKREGION_H
#define TESTS_LIB_MKREGION_H

#include "region/desc.h"
#include "region/region.h"

#include <stdbool.h>

struct mkregion {
	int fd; /* holds the lock; closing it and unmapping is the program's death */
	char dir[64], name[64], path[140];
	uint8_t *map;
	size_t size;
	uint32_t npackets, nslots;
	uint32_t ring_first, ring_packets;
};

/* A file in dir, or an anonymous one when dir is NULL. READY, without classes. */
void mkregion_new(struct mkregion *m, const char *dir, uint32_t npackets, uint32_t nslots);
void mkregion_die(struct mkregion *m);  /* the lock goes, the file stays */
void mkregion_done(struct mkregion *m); /* the file too */
struct gd_header *mkregion_header(struct mkregion *m);
struct gd_channel *mkregion_channel(struct mkregion *m, unsigned c);
struct gd_packet *mkregion_packet(struct mkregion *m, uint32_t i);
struct gd_class *mkregion_class(struct mkregion *m, uint32_t id);
uint32_t mkregion_declare_bytes(struct mkregion *m, const void *desc, size_t len);
/* A class with n u64 fields named a, b, c ... */
uint32_t mkregion_declare(struct mkregion *m, const char *name, unsigned level, unsigned n);
/* Switches channel c on as `record -- CMD` has it done: packets granted, every class enabled. */
void mkregion_born(struct mkregion *m, unsigned c, const uint8_t session[16], uint32_t mode, uint32_t context, uint32_t packets, uint32_t quota);
/* False: lost, and counted. time 0: the next one. */
bool mkregion_emit(struct mkregion *m, unsigned c, unsigned slot, uint32_t id, uint64_t time, const void *payload, uint32_t len);

/* A flight ring of n packets from packet `first` on, flying. */
void mkregion_flight(struct mkregion *m, uint32_t first, uint32_t n);
struct gd_flight *mkregion_ring(struct mkregion *m);
/* One chunk; what it overwrites is given up first. time_ns 0: now. */
void mkregion_chunk(struct mkregion *m, unsigned kind, uint64_t gen, uint64_t time_ns, const void *data, uint32_t len);
/* A batch of generation gen with size bytes; returns its length, at most size + 50. */
uint32_t mkregion_batch(uint8_t *to, uint64_t gen, uint8_t fill, uint32_t size);

#endif
