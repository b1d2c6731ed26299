/* libgander.so without a tracer in it: every event stays off. A program that runs with this one is the program without gander. */
#include "gander/gander.h"

static const uint32_t never;
static const struct gander_event nothing = { &never, 0, 0, 0 };

void gander__register(struct gander_event *const *first, struct gander_event *const *end)
{
}

void gander__emit_words(const struct gander_event *ev, uint32_t size, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
}

void gander__emit_pieces(const struct gander_event *ev, const struct gander__piece *piece, uint32_t npieces)
{
}

void gander__span_open(struct gander_span *span)
{
}

uint64_t gander__span_close(struct gander_span *span)
{
	return 0;
}

const uint32_t *gander__log_word(unsigned level)
{
	return &never;
}

void gander__logf(unsigned level, const char *file, unsigned line, const char *fmt, ...)
{
}

const struct gander_event *gander_declare(const char *name, enum gander_level level, unsigned kind, const struct gander_field *fields, unsigned nfields)
{
	return &nothing;
}

void gander_begin(struct gander_builder *b, const struct gander_event *event, void *buf, uint32_t size)
{
}

void gander_put_u32(struct gander_builder *b, uint32_t v)
{
}

void gander_put_u64(struct gander_builder *b, uint64_t v)
{
}

void gander_commit(struct gander_builder *b)
{
}

void gander_set_key(uint64_t key)
{
}

uint64_t gander_current_span(void)
{
	return 0;
}

const char *gander_off_reason(void)
{
	return 0;
}
