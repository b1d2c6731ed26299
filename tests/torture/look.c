/* look COUNTFILE DIR: reads every region under DIR (a /dev/shm) and checks it against the program's own count. Shares no code with src/collect.
 * Prints one line of JSON: emitted, in the trace, lost, missing (neither in the trace nor excused), twice, torn, out of order, from
 * writers that must be off; how many regions and bytes of memory there are; and how many of them were born into a recording that somebody has
 * switched off since. */
#include "torture.h"

#include "lib/mini.h"

#include <sys/stat.h>

struct look {
	struct count_file *file;
	uint8_t **bits;
	uint64_t *cap;
	uint32_t step, text;
	uint64_t trace, torn, twice, order, off, other;
	uint64_t *last; /* per writer: last n + 1 seen in this packet */
	uint32_t *packet_of;
	uint32_t packet;
};

static void visit(struct mini *m, struct gd_packet *p, const char *ev, size_t len, void *arg)
{
	uint32_t which = mini_channel(m, p->channel)->context;
	struct look *l = arg;
	uint64_t last = 0;
	size_t at = 0;

	l->packet++;
	while (at < len) {
		uint64_t word = gd_load64(ev + at), time = word >> 16, n;
		uint32_t id = word & GD_EVENT_ID_MASK, writer, known;
		size_t start = at + 8 + (which & GD_CTX_TID ? 4 : 0) + (which & GD_CTX_GOID ? 8 : 0) + (which & GD_CTX_CPU ? 2 : 0) + (which & GD_CTX_SPAN ? 8 : 0) +
			       (which & GD_CTX_KEY ? 8 : 0);

		if ((which & GD_CTX_STACK) && start + 2 <= len)
			start += 2 + 8u * gd_load16(ev + start);
		if (id >= mini_header(m)->class_count || start > len || time < last) {
			l->torn++;
			return;
		}
		last = time;
		if (id != l->step && id != l->text) { /* another class: its size from its description */
			struct gd_class *cls = mini_class(m, id);
			struct gd_desc d;
			struct gd_field f;
			const uint8_t *field;

			if (gd_desc_parse(&d, m->map + cls->desc_off, cls->desc_len) < 0) {
				l->torn++;
				return;
			}
			for (field = d.fields; gd_desc_field(&f, &field, d.end);) {
				ptrdiff_t size = gd_value_size(f.type_at, d.end, (const uint8_t *)ev + start, len - start);

				if (size < 0) {
					l->torn++;
					return;
				}
				start += (size_t)size;
			}
			l->other++;
			at = start;
			continue;
		}
		if (len - start < 14) {
			l->torn++;
			return;
		}
		writer = gd_load32(ev + start);
		n = gd_load64(ev + start + 4);
		start += 12;
		known = l->file->writers < WRITERS ? l->file->writers : WRITERS;
		/* one more than was counted may be there: emitted, then killed before it was counted */
		if (writer >= known || n > l->file->writer[writer].n) {
			l->torn++;
			return;
		}
		if (id == l->text) {
			uint16_t tl = gd_load16(ev + start);
			const char *want = torture_texts[n / 8 % 4];

			l->torn += tl != strlen(want) || len - start < 2u + tl || memcmp(ev + start + 2, want, tl);
			start += 2 + tl;
		} else {
			l->torn += gd_load32(ev + start) != CHECK_OF(n);
			start += 4;
		}
		if (n >= l->cap[writer]) {
			uint64_t cap = n * 2 + 64;

			l->bits[writer] = realloc(l->bits[writer], cap / 8 + 1);
			memset(l->bits[writer] + (l->cap[writer] + 7) / 8, 0, cap / 8 + 1 - (l->cap[writer] + 7) / 8);
			l->cap[writer] = cap & ~7ull;
		}
		l->twice += l->bits[writer][n / 8] >> (n % 8) & 1;
		l->bits[writer][n / 8] |= (uint8_t)(1 << n % 8);
		l->off += l->file->writer[writer].off;
		if (l->packet_of[writer] == l->packet)
			l->order += n + 1 <= l->last[writer];
		l->packet_of[writer] = l->packet;
		l->last[writer] = n + 1;
		l->trace++;
		at = start;
	}
}

int main(int argc, char **argv)
{
	uint64_t emitted = 0, missing = 0, excused = 0, lost = 0, memory = 0, cut = 0;
	int regions = 0, broken = 0, unborn = 0, ended = 0, ch;
	const char *at, *end;
	struct look l = { 0 };
	struct dirent *e;
	uint32_t i;
	DIR *d;
	int fd;

	if (argc < 3)
		return 2;
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	l.file = mmap(NULL, sizeof(*l.file), PROT_READ, MAP_SHARED, fd, 0);
	l.bits = calloc(WRITERS, sizeof(*l.bits));
	l.cap = calloc(WRITERS, sizeof(*l.cap));
	l.last = calloc(WRITERS, sizeof(*l.last));
	l.packet_of = calloc(WRITERS, sizeof(*l.packet_of));
	d = opendir(argv[2]);
	while (d && (e = readdir(d))) {
		struct mini m = { .fd = -1 };
		struct stat st;

		if (strncmp(e->d_name, GD_NAME_PREFIX, strlen(GD_NAME_PREFIX)))
			continue;
		snprintf(m.path, sizeof(m.path), "%s/%s", argv[2], e->d_name);
		m.fd = open(m.path, O_RDWR | O_CLOEXEC);
		fstat(m.fd, &st);
		memory += (uint64_t)st.st_blocks * 512;
		regions++;
		m.size = (uint64_t)st.st_size;
		if (m.size < GD_META_SIZE)
			continue;
		m.map = mmap(NULL, m.size, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
		l.step = l.text = UINT32_MAX;
		for (i = 0; i < mini_header(&m)->class_count && i < GD_CLASSES; i++) {
			struct gd_class *cls = mini_class(&m, i);
			struct gd_desc desc;

			if (cls->state != GD_CLASS_PUBLISHED || gd_desc_parse(&desc, m.map + cls->desc_off, cls->desc_len) < 0)
				continue;
			if (desc.name_len == 12 && !memcmp(desc.name, "torture.step", 12))
				l.step = i;
			if (desc.name_len == 12 && !memcmp(desc.name, "torture.text", 12))
				l.text = i;
		}
		for (at = m.map + GD_OFF_HEAP, end = at + mini_header(&m)->heap_used; end - at >= 8 && gd_load32(at);
		     at += (8 + (size_t)gd_load32(at) + 7) & ~(size_t)7)
			unborn += gd_load32(at + 4) == GD_RECORD_NOTE && !memcmp(at + 8, "the recording", 13);
		ended += mini_header(&m)->flags & GD_FLAG_BORN && pread(m.fd, &i, 4, GD_OFF_CHANNELS) == 4 && i != GD_CHANNEL_ON;
		for (ch = 0; ch < (int)GD_CHANNELS; ch++) {
			if (pread(m.fd, &i, 4, GD_OFF_CHANNELS + ch * (off_t)sizeof(struct gd_channel)) != 4 || i != GD_CHANNEL_ON)
				continue;
			broken += mini_walk(&m, (unsigned)ch, visit, &l) < 0;
			lost += mini_lost(&m, (unsigned)ch);
			for (i = 0; i < GD_SLOTS; i++)
				cut += mini_channel(&m, (unsigned)ch)->slot[i].cut;
		}
		munmap(m.map, m.size);
		close(m.fd);
	}
	for (i = 0; i < l.file->writers && i < WRITERS; i++) {
		struct count_writer *w = &l.file->writer[i];
		uint64_t n, gone = 0;

		if (w->off)
			continue;
		emitted += w->n;
		for (n = 0; n < w->n; n++)
			gone += n >= l.cap[i] || !(l.bits[i][n / 8] >> (n % 8) & 1);
		excused += gone < w->excuse ? gone : w->excuse;
		missing += gone > w->excuse ? gone - w->excuse : 0;
	}
	printf("{\"emitted\": %lu, \"trace\": %lu, \"lost\": %lu, \"missing\": %lu, \"excused\": %lu, \"twice\": %lu, \"torn\": %lu, \"order\": %lu, \"off\": %lu, "
	       "\"other\": %lu, \"regions\": %d, \"memory\": %lu, \"broken\": %d, \"cut\": %lu, \"unborn\": %d, \"ended\": %d, \"failed\": %u, \"note\": \"%s\", \"extra\": %lu, \"done\": %u}\n",
	       emitted, l.trace, lost, missing, excused, l.twice, l.torn, l.order, l.off, l.other, regions, memory, broken, cut, unborn, ended, l.file->failed, l.file->note,
	       l.file->extra[0], l.file->done);
	return 0;
}
