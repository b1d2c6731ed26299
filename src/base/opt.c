#include "base/opt.h"
#include "base/near.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *suffix;
	double scale;
} duration_units[] = {
	{ "ns", 1 },
	{ "us", 1e3 },
	{ "\xc2\xb5s", 1e3 },
	{ "ms", 1e6 },
	{ "s", 1e9 },
	{ "", 1e9 },
	{ "m", 60e9 },
	{ "h", 3600e9 },
},
  size_units[] = {
	  { "", 1 },
	  { "b", 1 },
	  { "k", 1024. },
	  { "K", 1024. },
	  { "m", 1048576. },
	  { "M", 1048576. },
	  { "g", 1073741824. },
	  { "G", 1073741824. },
	  { "KiB", 1024. },
	  { "MiB", 1048576. },
	  { "GiB", 1073741824. },
  };

int opt_duration(const char *s, uint64_t *ret_ns, struct err *err)
{
	char *end;
	double v = strtod(s, &end);
	size_t i;

	if (end != s && v >= 0 && isfinite(v))
		for (i = 0; i < sizeof(duration_units) / sizeof(*duration_units); i++)
			if (!strcmp(end, duration_units[i].suffix) && v * duration_units[i].scale < 9e18) {
				*ret_ns = (uint64_t)(v * duration_units[i].scale + 0.5);
				return 0;
			}
	return err_set(err, -EINVAL, "'%s' is no duration (examples: 10s, 300ms, 2m)", s);
}

int opt_size(const char *s, uint64_t *ret_bytes, struct err *err)
{
	char *end;
	double v = strtod(s, &end);
	size_t i;

	if (end != s && v >= 0 && isfinite(v))
		for (i = 0; i < sizeof(size_units) / sizeof(*size_units); i++)
			if (!strcmp(end, size_units[i].suffix) && v * size_units[i].scale < 9e18) {
				*ret_bytes = (uint64_t)(v * size_units[i].scale);
				return 0;
			}
	return err_set(err, -EINVAL, "'%s' is no size (examples: 512k, 64M, 2G)", s);
}

int opt_u64(const char *s, uint64_t *ret, struct err *err)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 0);
	if (*s < '0' || *s > '9' || *end || errno)
		return err_set(err, -EINVAL, "'%s' is no number", s);
	*ret = v;
	return 0;
}

int opt_names(const char *list, const char *const *names, unsigned n, const char *option, const char *thing, uint32_t *ret, struct err *err)
{
	char all[200] = "";
	const char *p = list;
	uint32_t bits = 0;
	size_t len;
	unsigned i;

	for (; *p; p += len + (p[len] == ',')) {
		len = strcspn(p, ",");
		for (i = 0; i < n; i++)
			if (strlen(names[i]) == len && !memcmp(names[i], p, len))
				break;
		if (i < n) {
			bits |= 1u << i;
			continue;
		}
		for (i = 0, len = 0; i < n && len < sizeof(all); i++)
			len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i ? " " : "", names[i]);
		return err_set(err, -EINVAL, "--%s: unknown %s, column %zu (%s)\n  %s\n  %*s^", option, thing, (size_t)(p - list) + 1, all, list,
			       (int)(p - list), "");
	}
	*ret = bits;
	return 0;
}

void opt_help(const struct verb *verb, const struct opt *opts, FILE *out)
{
	const struct opt *o;
	size_t i;

	fprintf(out, "gander %s %s\n\n%s\n", verb->name, verb->args, verb->summary);
	if (opts && opts->kind)
		fprintf(out, "\nOptions:\n");
	for (o = opts; o && o->kind; o++) {
		char left[80];

		snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			 o->letter ? "," : " ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		if (strlen(left) > 26)
			fprintf(out, "  %s\n  %-26s  %s\n", left, "", o->help);
		else
			fprintf(out, "  %-26s  %s\n", left, o->help);
	}
	fprintf(out, "  %-26s  %s\n", "-h, --help", "show this help");
	if (verb->examples[0])
		fprintf(out, "\nExamples:\n");
	for (i = 0; i < 4 && verb->examples[i]; i++)
		fprintf(out, "  %s\n", verb->examples[i]);
}

static int set_value(const struct opt *o, const char *shown, const char *value, struct err *err)
{
	struct opt_list *list;
	uint64_t ns;
	int r = 0;

	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->target = true;
		break;
	case OPT_STR:
		*(const char **)o->target = value;
		break;
	case OPT_LIST:
		list = o->target;
		if (list->n == OPT_LIST_MAX)
			return err_set(err, -EINVAL, "%s given more than %d times", shown, OPT_LIST_MAX);
		list->v[list->n++] = value;
		break;
	case OPT_U64:
		r = opt_u64(value, o->target, err);
		break;
	case OPT_SIZE:
		r = opt_size(value, o->target, err);
		break;
	case OPT_DURATION:
	case OPT_PERIOD:
		r = opt_duration(value, &ns, err);
		if (r == 0 && o->kind == OPT_PERIOD && !ns)
			r = err_set(err, -EINVAL, "more than 0 (examples: 10s, 300ms, 2m)");
		if (r == 0)
			*(uint64_t *)o->target = ns;
		break;
	case OPT_END:
		break;
	}
	return r < 0 ? err_prefix(err, "%s", shown) : 0;
}

/* `a` as it was written, with its value perhaps. */
static int unknown(const struct verb *verb, const struct opt *opts, const char *a, struct err *err)
{
	char name[NEAR_MAX + 1];
	const char *best = NULL;
	struct near near;

	if (a[1] == '-') {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(a + 2, "="), a + 2);
		near_init(&near, name);
		for (; opts->kind; opts++)
			near_offer(&near, opts->name, strlen(opts->name));
		best = near_best(&near);
	}
	return err_set(err, -EINVAL, "unknown option '%s'%s%s%s (gander %s --help lists them)", a, best ? "; did you mean '--" : "", best ? best : "",
		       best ? "'?" : "", verb->name);
}

static int parse(const struct verb *verb, const struct opt *opts, int argc, char **argv, bool posix, struct err *err)
{
	int i, kept = 1;

	for (i = 1; i < argc; i++) {
		char *a = argv[i], *value = NULL;
		const struct opt *o;
		char shown[80];
		size_t name_len;

		if (a[0] != '-' || !a[1]) {
			if (posix)
				break;
			argv[kept++] = a;
			continue;
		}
		if (!strcmp(a, "--")) {
			i++;
			break;
		}
		if (!strcmp(a, "-h") || !strcmp(a, "--help")) {
			opt_help(verb, opts, stdout);
			return err_set(err, -ECANCELED, "help was asked for");
		}
		if (a[1] == '-') {
			value = strchr(a, '=');
			name_len = value ? (size_t)(value - a - 2) : strlen(a + 2);
			for (o = opts; o->kind; o++)
				if (strlen(o->name) == name_len && !memcmp(o->name, a + 2, name_len))
					break;
			if (value)
				value++;
		} else {
			for (o = opts; o->kind && o->letter != a[1]; o++)
				;
			if (o->kind == OPT_FLAG && a[2]) {
				/* -ab: take -a, leave -b to the next round */
				snprintf(shown, sizeof(shown), "-%c", a[1]);
				set_value(o, shown, NULL, err);
				memmove(a + 1, a + 2, strlen(a + 1));
				i--;
				continue;
			}
			if (a[2])
				value = a + 2;
		}
		if (!o->kind)
			return unknown(verb, opts, a, err);
		snprintf(shown, sizeof(shown), "%s%s", "--", o->name);
		if (o->kind == OPT_FLAG) {
			if (value)
				return err_set(err, -EINVAL, "%s takes no value", shown);
		} else if (!value) {
			if (++i >= argc)
				return err_set(err, -EINVAL, "%s needs a value: %s", shown, o->arg ? o->arg : "VALUE");
			value = argv[i];
		}
		if (set_value(o, shown, value, err) < 0)
			return err->code;
	}
	for (; i < argc; i++)
		argv[kept++] = argv[i];
	argv[kept] = NULL;
	return kept - 1;
}

int opt_parse(const struct verb *verb, const struct opt *opts, int argc, char **argv, struct err *err)
{
	return parse(verb, opts, argc, argv, false, err);
}

int opt_parse_posix(const struct verb *verb, const struct opt *opts, int argc, char **argv, struct err *err)
{
	return parse(verb, opts, argc, argv, true, err);
}
