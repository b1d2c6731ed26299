#include "base/json.h"
#include "base/table.h"
#include "cli/cli_record.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEAD_SHOWN 20 /* programs that nobody may be interested in any more */

static struct {
	struct opt_list pids;
	bool events, json;
} o;

static const struct opt opts[] = {
	{ OPT_LIST, 'p', "pid", "PID|NAME", "only this program; several times", &o.pids },
	{ OPT_FLAG, 'e', "events", NULL, "their events: level, fields, who records them", &o.events },
	{ OPT_FLAG, 0, "json", NULL, "for programs", &o.json },
	{ OPT_END },
};

static int run(int argc, char **argv);

extern const struct verb verb_list;
const struct verb verb_list = {
	"list",
	"[-p PID|NAME] [-e]",
	"show the programs that can be traced, and their events",
	{ "gander list", "gander list -p shop -e", "gander list --json" },
	run,
};

static uint64_t since_ns(const struct gd_header *h)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	return now > h->start.mono_ns ? now - h->start.mono_ns : 0;
}

/* Days are not told in seconds. */
static const char *since_text(char to[UNIT_TEXT], uint64_t ns)
{
	unsigned long long s = ns / 1000000000u;

	if (s < 100)
		return duration_text(to, ns);
	if (s < 6000)
		snprintf(to, UNIT_TEXT, "%llum%02llus", s / 60, s % 60);
	else if (s < 48 * 3600)
		snprintf(to, UNIT_TEXT, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		snprintf(to, UNIT_TEXT, "%llud%02lluh", s / 86400, s / 3600 % 24);
	return to;
}

static uint32_t classes_ok(const struct region *r)
{
	uint32_t i, n = 0;

	for (i = 0; i < r->nclasses; i++)
		n += r->cls[i]->state == RCLASS_OK;
	return n;
}

/* A flight recorder keeps the regions of programs that have died, so a lock alone does not mean that one lives. */
static bool has_died(const struct found *f)
{
	return f->dead || (!f->pid && kill((pid_t)f->region->head.pid, 0) < 0 && errno == ESRCH);
}

/* How many recordings there are, and how many of them have lost their collectors. */
static unsigned recordings(struct region *r, uint32_t mask, unsigned *orphans)
{
	unsigned c, n = 0;

	*orphans = 0;
	for (c = 0; c < GD_CHANNELS; c++)
		if (mask >> c & 1 && region_channel_on(r, c)) {
			n++;
			*orphans += !region_channel_held(r, c);
		}
	return n;
}

static const char *state_text(const struct found *f, char buf[64])
{
	unsigned orphans, n;

	if (f->dead)
		return "dead";
	n = recordings(f->region, 0xff, &orphans);
	if (!n)
		return "idle";
	if (orphans)
		snprintf(buf, 64, "recorded by %u, %u of them gone", n, orphans);
	else
		snprintf(buf, 64, n == 1 ? "recorded" : "recorded by %u", n);
	return buf;
}

static const char *type_text(const uint8_t *type, const uint8_t *end, char *to, size_t cap)
{
	static const char *const names[] = { [GD_U8] = "u8", [GD_U16] = "u16", [GD_U32] = "u32", [GD_U64] = "u64", [GD_I8] = "i8", [GD_I16] = "i16", [GD_I32] = "i32", [GD_I64] = "i64", [GD_F32] = "f32", [GD_F64] = "f64", [GD_BOOL] = "bool", [GD_ENUM] = "enum", [GD_STRING] = "string", [GD_BYTES] = "bytes", [GD_STRUCT] = "struct", [GD_ATTRS] = "attrs" };
	char inner[64];

	if (type[0] == GD_ARRAY)
		snprintf(to, cap, "%s[%u]", type_text(type + 5, end, inner, sizeof(inner)), gd_load32(type + 1));
	else if (type[0] == GD_SEQUENCE)
		snprintf(to, cap, "%s[]", type_text(type + 1, end, inner, sizeof(inner)));
	else
		snprintf(to, cap, "%s", names[type[0]]);
	return to;
}

/* A name from a program may hold anything. */
static void clean(char *to, size_t cap, const char *from, size_t len)
{
	snprintf(to, cap, "%.*s", (int)len, from);
	cli_clean(to);
}

static void fields_text(struct buf *b, const struct rclass *cl)
{
	struct gd_desc d;
	struct gd_field f;
	const uint8_t *at;
	char type[80], name[GD_NAME_MAX + 1];
	bool first = true;

	if (gd_desc_parse(&d, cl->desc, cl->desc_len) < 0)
		return;
	for (at = d.fields; gd_desc_field(&f, &at, d.end); first = false) {
		clean(name, sizeof(name), f.name, f.name_len);
		buf_printf(b, "%s%s %s", first ? "" : ", ", name, type_text(f.type_at, d.end, type, sizeof(type)));
	}
}

static void who_text(struct region *r, uint32_t id, struct buf *b)
{
	uint32_t on = region_class(r, id)->enabled & GD_ENABLED_MASK;
	char session[33];
	unsigned c;

	for (c = 0; c < GD_CHANNELS; c++) {
		const struct gd_channel *g = region_channel(r, c);

		if (!(on >> c & 1))
			continue;
		session_text(g->session, session);
		buf_printf(b, "%s%.8s (gander %u%s%s)", b->len ? ", " : "", session, g->collector_pid,
			   region_class(r, id)->enabled & GD_COUNTING(c) ? ", counted" : "",
			   region_channel_held(r, c) ? "" : ", gone");
	}
	if (!b->len)
		buf_puts(b, "-");
}

static void print_events(struct region *r)
{
	struct table t;
	uint32_t i;

	table_init(&t, "  EVENT|LEVEL|RECORDED BY|FIELDS");
	for (i = 0; i < r->nclasses; i++) {
		struct buf who = BUF_INIT, fields = BUF_INIT;
		char name[GD_NAME_MAX + 1];

		if (r->cls[i]->state != RCLASS_OK)
			continue;
		clean(name, sizeof(name), r->cls[i]->name, strlen(r->cls[i]->name));
		who_text(r, i, &who);
		fields_text(&fields, r->cls[i]);
		table_cell(&t, "  %s", name);
		table_cell(&t, "%s", level_name(r->cls[i]->level));
		table_cell(&t, "%s", who.data);
		table_cell(&t, "%s", fields.len ? fields.data : "");
		buf_done(&who);
		buf_done(&fields);
	}
	table_print(&t, stdout);
	table_done(&t);
	if (((const struct gd_header *)r->map)->lost_classes)
		printf("  %u more found no room\n", ((const struct gd_header *)r->map)->lost_classes);
}

static void json_kv(struct json *j, const char *key, const char *v)
{
	json_key(j, key);
	json_str(j, v);
}

static void json_ku(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void json_classes(struct json *j, struct region *r)
{
	uint32_t i;

	json_key(j, "events");
	json_arr(j);
	for (i = 0; i < r->nclasses; i++) {
		struct gd_desc d;
		struct gd_field f;
		const uint8_t *at;
		char type[80];
		unsigned c;

		if (r->cls[i]->state != RCLASS_OK || gd_desc_parse(&d, r->cls[i]->desc, r->cls[i]->desc_len) < 0)
			continue;
		json_obj(j);
		json_ku(j, "id", i);
		json_kv(j, "name", r->cls[i]->name);
		json_kv(j, "level", level_name(r->cls[i]->level));
		json_key(j, "fields");
		json_arr(j);
		for (at = d.fields; gd_desc_field(&f, &at, d.end);) {
			json_obj(j);
			json_key(j, "name");
			json_strn(j, f.name, f.name_len);
			json_kv(j, "type", type_text(f.type_at, d.end, type, sizeof(type)));
			json_obj_end(j);
		}
		json_arr_end(j);
		json_key(j, "sessions");
		json_arr(j);
		for (c = 0; c < GD_CHANNELS; c++)
			if (region_class(r, i)->enabled >> c & 1) {
				char session[33];

				session_text(region_channel(r, c)->session, session);
				json_str(j, session);
			}
		json_arr_end(j);
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void json_one(struct json *j, const struct found *f)
{
	static const char *const kinds[] = { "program", "refused", "off" };
	unsigned c;

	json_obj(j);
	json_kv(j, "kind", kinds[f->kind]);
	if (f->pid)
		json_ku(j, "pid", (uint64_t)f->pid);
	if (*f->path)
		json_kv(j, "path", f->path);
	if (f->kind != FOUND_REGION) {
		json_kv(j, "why", f->why);
		json_obj_end(j);
		return;
	}
	json_kv(j, "comm", f->region->head.comm);
	json_kv(j, "exe", f->region->head.exe);
	json_kv(j, "agent", f->region->head.agent);
	json_kv(j, "state", f->dead ? "dead" : "alive");
	json_ku(j, "uid", f->region->uid);
	json_ku(j, "pid_inside", f->region->head.pid);
	json_ku(j, "start_ns", f->region->head.realtime_ns);
	json_ku(j, "memory_bytes", f->region->file_bytes);
	json_ku(j, "classes", classes_ok(f->region));
	json_key(j, "recordings");
	json_arr(j);
	for (c = 0; c < GD_CHANNELS; c++) {
		static const char *const modes[] = { "discard", "overwrite", "count" };
		const struct gd_channel *g = region_channel(f->region, c);
		char session[33];

		if (!region_channel_on(f->region, c))
			continue;
		session_text(g->session, session);
		json_obj(j);
		json_ku(j, "channel", c);
		json_kv(j, "session", session);
		json_kv(j, "mode", g->mode <= GD_MODE_COUNT ? modes[g->mode] : "?");
		json_ku(j, "collector_pid", g->collector_pid);
		json_key(j, "collector_alive");
		json_bool(j, region_channel_held(f->region, c));
		json_obj_end(j);
	}
	json_arr_end(j);
	if (o.events)
		json_classes(j, f->region);
	json_obj_end(j);
}

/* Those that live first, by pid; the dead from the newest on. */
static int by_life(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	uint64_t s, t;

	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	if (x->kind == FOUND_REGION && x->dead != y->dead)
		return x->dead ? 1 : -1;
	if (x->kind == FOUND_REGION && x->dead) {
		s = x->region->head.realtime_ns;
		t = y->region->head.realtime_ns;
		return s < t ? 1 : s > t ? -1
					 : 0;
	}
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static void print_text(struct find *f)
{
	char since[UNIT_TEXT], memory[UNIT_TEXT], state[64], comm[32];
	unsigned i, programs = 0, dead = 0;
	struct table t;

	table_init(&t, ">PID|COMMAND|>SINCE|>EVENTS|>MEMORY|STATE|AGENT");
	for (i = 0; i < f->n; i++) {
		const struct found *v = &f->v[i];

		if (v->kind == FOUND_REGION) {
			struct region *r = v->region;

			if (v->dead && !o.pids.n && ++dead > DEAD_SHOWN)
				continue;
			clean(comm, sizeof(comm), r->head.comm, strlen(r->head.comm));
			table_cell(&t, "%u", v->pid ? (unsigned)v->pid : r->head.pid);
			table_cell(&t, "%s", comm);
			table_cell(&t, "%s", since_text(since, since_ns(&r->head)));
			table_cell(&t, "%u", classes_ok(r));
			table_cell(&t, "%s", bytes_text(memory, r->file_bytes));
			table_cell(&t, "%s", state_text(v, state));
			clean(state, sizeof(state), r->head.agent, strlen(r->head.agent));
			table_cell(&t, "%s", state);
			programs++;
			if (o.events) {
				table_print(&t, stdout);
				table_done(&t);
				print_events(r);
				table_init(&t, ">PID|COMMAND|>SINCE|>EVENTS|>MEMORY|STATE|AGENT");
			}
		}
	}
	if (programs && !o.events)
		table_print(&t, stdout);
	table_done(&t);
	if (dead > DEAD_SHOWN)
		printf("... and %u more that are dead (--json has them)\n", dead - DEAD_SHOWN);
	for (i = 0; i < f->n; i++) {
		const struct found *v = &f->v[i];

		if (v->kind == FOUND_OFF) {
			proc_comm(v->pid, comm, sizeof(comm));
			printf("off: ");
			cli_say(stdout, comm);
			printf(" (%d) could make no region: ", (int)v->pid);
			cli_say(stdout, v->why);
			putchar('\n');
		} else if (v->kind == FOUND_REFUSED) {
			printf("refused: ");
			cli_say(stdout, v->why);
			putchar('\n');
		}
	}
	if (f->left_out)
		printf("%u more files are called like regions: of one user, or refused\n", f->left_out);
	if (!f->n)
		printf("no program with gander events is running%s\n", f->denied ? " as this user (root sees all)" : "");
}

static int run(int argc, char **argv)
{
	static pid_t pid[RECORD_PIDS_MAX];
	struct find f = { 0 };
	struct err err = ERR_INIT;
	struct buf b = BUF_INIT;
	struct json j;
	int n = opt_parse(&verb_list, opts, argc, argv, &err), i, res = 0;
	unsigned k;

	if (n > 0)
		err_set(&err, -EINVAL, "'%s' is no option (-p chooses a program)", argv[1]);
	if (n)
		return cli_usage(&err);
	n = targets_resolve(o.pids.v, o.pids.n, pid, &err);
	if (n < 0)
		return cli_fail(&err);
	if (o.pids.n)
		for (i = 0; i < n && res == 0; i++)
			res = find_pid(&f, pid[i], &err);
	else
		res = find_all(&f, FIND_ALL, &err);
	if (res == 0 && o.pids.n && !f.n)
		res = err_set(&err, -ENOENT, "process %d has no gander events (it uses neither libgander nor the Go agent)", (int)pid[0]);
	if (res < 0) {
		find_done(&f);
		return cli_fail(&err);
	}
	for (k = 0; k < f.n; k++)
		if (f.v[k].region) {
			f.v[k].dead = has_died(&f.v[k]); /* once, so that all that is said of it goes together */
			region_classes(f.v[k].region);
		}
	if (f.n)
		qsort(f.v, f.n, sizeof(*f.v), by_life);
	if (o.json) {
		json_init(&j, &b);
		json_arr(&j);
		for (k = 0; k < f.n; k++)
			json_one(&j, &f.v[k]);
		json_arr_end(&j);
		cli_put_json(&b);
	} else {
		print_text(&f);
	}
	find_done(&f);
	return CLI_OK;
}
