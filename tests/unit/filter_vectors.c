/* Writes tests/data/filter-vectors.json, which the Go twin of the filter machine runs too: filters with their generic
 * form, the hash of their linked form or why there is none, an event and the answer; globs; arithmetic. Without an
 * argument it goes to standard output; with a file's name that file is compared. */
#include "filter_random.h"
#include "region/glob.h"
#include "region/region.h"

#include <errno.h>

#define FILTERS 400

static void put_hex(struct buf *b, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t i;

	buf_putc(b, '"');
	for (i = 0; i < len; i++)
		buf_printf(b, "%02x", p[i]);
	buf_putc(b, '"');
}

static void put_text(struct buf *b, const char *s)
{
	buf_putc(b, '"');
	for (; *s; s++)
		buf_printf(b, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	buf_putc(b, '"');
}

static bool put_filter(struct buf *b, uint64_t *seed)
{
	uint64_t generic[GD_FILTER_GENERIC_MAX / 8], linked[GD_FILTER_LINKED_MAX / 8];
	struct buf text = BUF_INIT;
	struct gd_filter_key key;
	struct err err = ERR_INIT;
	struct filter *f = NULL;
	struct sample m;
	struct gd_view v;
	unsigned i, by;
	int size, n;

	sample_init(&m, seed);
	random_condition(seed, &m, &text, 0);
	by = below(seed, m.npaths);
	n = -EINVAL;
	if (!filter_parse(&f, text.data, &err))
		n = filter_compile(f, m.types[by] == GD_STRUCT || below(seed, 2) ? NULL : m.paths[by], generic,
				   sizeof(generic), &err);
	if (n < 0)
		goto out;
	buf_puts(b, "{\"text\":");
	put_text(b, text.data);
	buf_puts(b, ",\n\"desc\":");
	put_hex(b, m.desc.data, m.desc.len);
	buf_puts(b, ",\n\"generic\":");
	put_hex(b, generic, (size_t)n);
	size = gd_filter_link(generic, (size_t)n, m.desc.data, m.desc.len, linked, sizeof(linked));
	buf_printf(b, ",\"linked\":%d,\"hash\":%u", size, size > 0 ? gd_desc_hash(linked, (size_t)size) : 0);
	if (size > 0) {
		memset(&key, 0, sizeof(key));
		v = m.view;
		v.piece = m.piece;
		v.npieces = m.npieces;
		buf_printf(b, ",\"needs\":%u,\"pass\":%s", gd_filter_needs(linked, (size_t)size),
			   gd_filter_run(linked, (size_t)size, &v, &key) ? "true" : "false");
		buf_printf(b, ",\"kind\":%u,\"value\":", key.kind);
		put_hex(b, key.value, key.len);
		buf_printf(b, ",\n\"tid\":%u,\"goid\":%" PRIu64 ",\"level\":%u,\"pieces\":[", v.tid, v.goid, v.level);
		for (i = 0; i < m.npieces; i++) {
			buf_printf(b, "%s{\"elem\":%u,\"data\":", i ? "," : "", m.piece[i].elem);
			put_hex(b, m.piece[i].data, m.piece[i].len);
			buf_putc(b, '}');
		}
		buf_putc(b, ']');
	}
	buf_putc(b, '}');
out:
	filter_free(f);
	buf_done(&text);
	sample_done(&m);
	return n >= 0;
}

static void put_globs(struct buf *b)
{
	static const char *const patterns[] = { "",
						"*",
						"**",
						"a",
						"?",
						"a*",
						"*a",
						"*a*",
						"a*b",
						"a*b*c",
						"a?c",
						"[a-c]",
						"[!a-c]x",
						"[^a]",
						"[]a]",
						"[]",
						"[a",
						"a[b",
						"[a-]",
						"[\\]]",
						"[\\a-\\c]",
						"\\*",
						"\\",
						"a\\",
						"*\\?*",
						"*[0-9]*.html",
						"shop.*",
						"shop.[!d]*",
						"*a*a*a*a*a*a*a*a*b",
						"\xc3?" };
	static const char *const texts[] = { "",
					     "a",
					     "b",
					     "c",
					     "d",
					     "-",
					     "]",
					     "[",
					     "[a",
					     "a[b",
					     "ab",
					     "abc",
					     "axbyc",
					     "acb",
					     "*",
					     "a*",
					     "\\",
					     "a\\",
					     "xx",
					     "bx",
					     "what?",
					     "page7.html",
					     "shop.order",
					     "shop.debug.x",
					     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
					     "\xc3\xa9" };
	unsigned p, t;

	buf_puts(b, "\"globs\":[");
	for (p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++) {
		buf_printf(b, "%s\n{\"pattern\":", p ? "," : "");
		put_hex(b, patterns[p], strlen(patterns[p]));
		buf_puts(b, ",\"matches\":[");
		bool first = true;

		for (t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
			if (!gd_glob_match(patterns[p], strlen(patterns[p]), texts[t], strlen(texts[t])))
				continue;
			buf_printf(b, first ? "%u" : ",%u", t);
			first = false;
		}
		buf_puts(b, "]}");
	}
	buf_puts(b, "],\n\"texts\":[");
	for (t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
		if (t)
			buf_putc(b, ',');
		put_hex(b, texts[t], strlen(texts[t]));
	}
	buf_puts(b, "],\n");
}

static void put_numbers(struct buf *b, uint64_t *seed)
{
	struct gd_num n[2], r;
	unsigned i, k, op;

	buf_puts(b, "\"numbers\":[");
	for (i = 0; i < 1500; i++) {
		for (k = 0; k < 2; k++) {
			n[k].kind = GD_NUM_I64 + below(seed, 3);
			n[k].bits = random_bits(seed, n[k].kind == GD_NUM_F64 ? GD_F64 : GD_U64);
			if (below(seed, 3) == 0)
				n[k].bits = n[k].kind == GD_NUM_F64 ? n[k].bits : below(seed, 70);
		}
		op = below(seed, 10);
		r = gd_num_arith(op, n[0], n[1]);
		if (r.kind == GD_NUM_F64 && r.bits << 1 > 0xffe0000000000000ull)
			r.bits = 0; /* which NaN it is differs between processors */
		buf_printf(b, "%s\n[%u,\"%" PRIx64 "\",%u,\"%" PRIx64 "\",%u,%u,\"%" PRIx64 "\",%d]", i ? "," : "",
			   n[0].kind, n[0].bits, n[1].kind, n[1].bits, op, r.kind, r.kind ? r.bits : 0,
			   gd_num_compare(n[0], n[1]));
	}
	buf_puts(b, "]");
}

int main(int argc, char **argv)
{
	struct buf b = BUF_INIT;
	uint64_t seed = 1789;
	unsigned n;
	char *have;
	size_t len;
	FILE *file;

	buf_puts(&b, "{\n\"filters\":[");
	for (n = 0; n < FILTERS;) {
		size_t before = b.len;

		buf_printf(&b, n ? ",\n" : "\n");
		if (put_filter(&b, &seed))
			n++;
		else
			b.len = before;
	}
	buf_puts(&b, "],\n");
	put_globs(&b);
	put_numbers(&b, &seed);
	buf_puts(&b, "}\n");
	if (argc < 2) {
		fwrite(b.data, 1, b.len, stdout);
		buf_done(&b);
		return 0;
	}
	have = malloc(b.len + 1);
	file = fopen(argv[1], "r");
	len = file && have ? fread(have, 1, b.len + 1, file) : 0;
	n = len == b.len && !memcmp(have, b.data, len);
	printf("%s: %s\n%u passed, %u failed, 0 skipped\n", argv[1],
	       n ? "up to date" : "differs: write it anew with filter-vectors", n, !n);
	if (file)
		fclose(file);
	free(have);
	buf_done(&b);
	return n ? 0 : 1;
}
