#include "base/json.h"

#include <math.h>
#include <string.h>

void json_init(struct json *j, struct buf *out)
{
	j->out = out;
	j->need_comma = false;
}

static void before_value(struct json *j)
{
	if (j->need_comma)
		buf_putc(j->out, ',');
	j->need_comma = true;
}

static void open_with(struct json *j, char c)
{
	before_value(j);
	buf_putc(j->out, c);
	j->need_comma = false;
}

static void close_with(struct json *j, char c)
{
	buf_putc(j->out, c);
	j->need_comma = true;
}

void json_obj(struct json *j)
{
	open_with(j, '{');
}

void json_obj_end(struct json *j)
{
	close_with(j, '}');
}

void json_arr(struct json *j)
{
	open_with(j, '[');
}

void json_arr_end(struct json *j)
{
	close_with(j, ']');
}

/* Length of the well-formed UTF-8 sequence at s, 0 when there is none (RFC 3629: no surrogates, no overlong). */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	unsigned c = s[0];
	size_t n, i;

	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		n = 2;
	else if (c >= 0xe0 && c <= 0xef)
		n = 3;
	else if (c >= 0xf0 && c <= 0xf4)
		n = 4;
	else
		return 0;
	if (left < n)
		return 0;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) ||
	    (c == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void quoted(struct json *j, const char *str, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)str;
	size_t i = 0, n;

	buf_putc(j->out, '"');
	while (i < len) {
		unsigned char c = s[i];

		if (c == '"' || c == '\\') {
			buf_putc(j->out, '\\');
			buf_putc(j->out, (char)c);
			i++;
		} else if (c < 0x20 || c == 0x7f) {
			char u[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

			buf_put(j->out, u, 6);
			i++;
		} else if ((n = utf8_len(s + i, len - i))) {
			buf_put(j->out, s + i, n);
			i += n;
		} else {
			buf_puts(j->out, "\xef\xbf\xbd");
			i++;
		}
	}
	buf_putc(j->out, '"');
}

void json_key(struct json *j, const char *key)
{
	if (j->need_comma)
		buf_putc(j->out, ',');
	quoted(j, key, strlen(key));
	buf_putc(j->out, ':');
	j->need_comma = false;
}

void json_strn(struct json *j, const char *s, size_t len)
{
	before_value(j);
	quoted(j, s, len);
}

void json_str(struct json *j, const char *s)
{
	json_strn(j, s, strlen(s));
}

void json_u64(struct json *j, uint64_t v)
{
	before_value(j);
	buf_put_u64(j->out, v);
}

void json_i64(struct json *j, int64_t v)
{
	before_value(j);
	buf_put_i64(j->out, v);
}

void json_f64(struct json *j, double v)
{
	if (!isfinite(v)) {
		json_nil(j);
		return;
	}
	before_value(j);
	buf_printf(j->out, "%.17g", v);
}

void json_bool(struct json *j, bool v)
{
	before_value(j);
	buf_puts(j->out, v ? "true" : "false");
}

void json_nil(struct json *j)
{
	before_value(j);
	buf_puts(j->out, "null");
}
