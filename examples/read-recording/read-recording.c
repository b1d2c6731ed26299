/* Counts what a recording holds, all its sources merged, and names its slowest span.
 *
 *	cc read-recording.c $(pkg-config --cflags --libs gander-reader) -o read-recording
 *	./read-recording recording */
#include <gander/reader.h>

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct gander_err err = GANDER_ERR_INIT;
	const struct gander_ctf_value *v;
	struct gander_recording_event ev;
	struct gander_recording *r;
	uint64_t n[4] = { 0 }, worst = 0;
	int64_t when = 0;
	int res;

	if (argc < 2 || gander_recording_open(&r, (const char *const *)argv + 1, 1, NULL, &err) < 0) {
		fprintf(stderr, "%s\n", argc < 2 ? "usage: read-recording RECORDING" : err.text);
		return 1;
	}
	while ((res = gander_recording_next(r, &ev, &err)) > 0) {
		n[ev.kind & 3] += !ev.lost;
		v = gander_recording_find(r, "duration");
		if (v && v->type == GANDER_CTF_U64 && v->u > worst) {
			worst = v->u;
			when = ev.time_ns;
		}
	}
	if (res < 0)
		fprintf(stderr, "%s\n", err.text);
	printf("%" PRIu64 " of programs, %" PRIu64 " of the kernel, %" PRIu64 " of Go traces, %" PRIu64 " others, %" PRIu64 " lost\n", n[0], n[1], n[2], n[3],
	       gander_recording_lost(r));
	printf("the slowest span took %" PRIu64 " ns, to %" PRId64 "\n", worst, when);
	gander_recording_free(r);
	return res < 0;
}
