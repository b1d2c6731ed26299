/* Reads a recording with gander's public reader: how many events each class has, and the text of a field.
 *
 *	cc read-events.c $(pkg-config --cflags --libs gander-reader) -o read-events
 *	./read-events recording [FIELD] */
#include <gander/reader.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct gander_err err = GANDER_ERR_INIT;
	const struct gander_ctf_value *v;
	struct gander_ctf_event ev;
	struct gander_ctf *r;
	uint64_t count[4096] = { 0 };
	uint32_t i;
	int n;

	if (argc < 2 || gander_ctf_open(&r, argv[1], NULL, &err) < 0) {
		fprintf(stderr, "%s\n", argc < 2 ? "usage: read-events RECORDING [FIELD]" : err.text);
		return 1;
	}
	while ((n = gander_ctf_next(r, &ev, &err)) > 0) {
		if (ev.kind != GANDER_CTF_EVENT)
			continue;
		count[ev.class_->number % 4096]++;
		v = argc > 2 ? gander_ctf_find(r, &ev, argv[2]) : NULL;
		if (v && v->type == GANDER_CTF_TEXT)
			printf("%" PRId64 " %s %s=%.*s\n", ev.time_ns, ev.class_->name, v->name, (int)v->len, v->text);
		else if (v && v->type <= GANDER_CTF_U64)
			printf("%" PRId64 " %s %s=%" PRId64 "\n", ev.time_ns, ev.class_->name, v->name, v->i);
	}
	if (n < 0)
		fprintf(stderr, "%s\n", err.text);
	for (i = 0; i < gander_ctf_classes(r) && i < 4096; i++)
		printf("%10" PRIu64 "  %s\n", count[i], gander_ctf_class(r, i)->name);
	printf("%10" PRIu64 "  lost\n", gander_ctf_lost(r));
	for (i = 0; i < gander_ctf_notes(r); i++)
		fprintf(stderr, "%s\n", gander_ctf_note(r, i));
	gander_ctf_free(r);
	return n < 0;
}
