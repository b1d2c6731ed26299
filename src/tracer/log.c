/* gander_logf(): one class for each level, all named "log". */
#include "tracer/tracer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct gander_field fields[] = {
	{ "message", GANDER_T_STRING, 0, 0, 0, 0, 0, 0 },
	{ "file", GANDER_T_STRING, 0, 0, 0, 0, 0, 0 },
	{ "line", GANDER_T_U32, 0, 0, 0, 0, 0, 0 },
};

#define SPEC(level) \
	{ \
		"log", level, 0, 3, fields \
	}
static const struct gander__spec specs[8] = { SPEC(0), SPEC(1), SPEC(2), SPEC(3), SPEC(4), SPEC(5), SPEC(6), SPEC(7) };
static const uint32_t never;
#define EVENT(level) \
	{ \
		&never, 0, 0, &specs[level] \
	}
static struct gander_event events[8] = { EVENT(0), EVENT(1), EVENT(2), EVENT(3), EVENT(4), EVENT(5), EVENT(6), EVENT(7) };

/* A level's class is declared when it is first asked for: programs that never log pay nothing. */
const uint32_t *gander__log_word(unsigned level)
{
	struct gander_event *ev = &events[level < 8 ? level : 7];

	if (UNLIKELY(!__atomic_load_n(&ev->state, __ATOMIC_ACQUIRE))) { /* [LOG] */
		struct gander_event *const list[1] = { ev };

		gander__register(list, list + 1);
	}
	return ev->enabled;
}

void gander__logf(unsigned level, const char *file, unsigned line, const char *fmt, ...)
{
	char text[512];
	uint16_t len[2];
	uint32_t line32 = line;
	int saved = errno, n;
	struct gander__piece piece[5];
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	len[0] = (uint16_t)(n < (int)sizeof(text) ? n : (int)sizeof(text) - 1);
	len[1] = (uint16_t)strlen(file);
	piece[0] = (struct gander__piece) { &len[0], 2, 0 };
	piece[1] = (struct gander__piece) { text, len[0], 1 };
	piece[2] = (struct gander__piece) { &len[1], 2, 0 };
	piece[3] = (struct gander__piece) { file, len[1], 1 };
	piece[4] = (struct gander__piece) { &line32, 4, 0 };
	gander__emit_pieces(&events[level < 8 ? level : 7], piece, 5);
	errno = saved;
}
