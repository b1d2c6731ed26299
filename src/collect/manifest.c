/* gander.json: docs/recording.md has it field by field. */
#include "base/json.h"
#include "collect/collect_record.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLOCK_STEP_NS 10000000ll

void program_totals(const struct program *p, struct totals *t)
{
	unsigned s, k;

	memset(t, 0, sizeof(*t));
	for (s = 0; s < GD_SLOTS; s++) {
		const struct slot_pos *pos = &p->ch.slot[s];

		t->events += pos->events;
		t->bytes += pos->bytes;
		t->cut += pos->cut;
		for (k = 0; k < GD_LOST_REASONS; k++)
			t->lost[k] += pos->lost[k];
		t->frozen += pos->frozen;
		t->overwritten += pos->overwritten;
		t->damaged += pos->damaged;
		t->disk += pos->unwritten;
	}
}

void totals_add(struct totals *to, const struct totals *from)
{
	uint64_t *a = (uint64_t *)to;
	const uint64_t *b = (const uint64_t *)from;
	size_t i;

	for (i = 0; i < sizeof(*to) / sizeof(*a); i++)
		a[i] += b[i];
}

void totals_sub(struct totals *to, const struct totals *base)
{
	uint64_t *a = (uint64_t *)to;
	const uint64_t *b = (const uint64_t *)base;
	size_t i;

	for (i = 0; i < sizeof(*to) / sizeof(*a); i++)
		a[i] -= b[i];
}

uint64_t totals_lost(const struct totals *t)
{
	return t->lost[GD_LOST_FULL] + t->lost[GD_LOST_NESTED] + t->lost[GD_LOST_SLOT] + t->lost[GD_LOST_OTHER] + t->frozen + t->overwritten +
	       t->damaged + t->disk;
}

static void put_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void put_i64(struct json *j, const char *key, int64_t v)
{
	json_key(j, key);
	json_i64(j, v);
}

static void put_str(struct json *j, const char *key, const char *v)
{
	json_key(j, key);
	json_str(j, v);
}

static void put_lost(struct json *j, const struct totals *t)
{
	json_key(j, "lost");
	json_obj(j);
	put_u64(j, "total", totals_lost(t));
	put_u64(j, "full", t->lost[GD_LOST_FULL]);
	put_u64(j, "nested", t->lost[GD_LOST_NESTED]);
	put_u64(j, "slot", t->lost[GD_LOST_SLOT]);
	put_u64(j, "other", t->lost[GD_LOST_OTHER]);
	put_u64(j, "frozen", t->frozen);
	put_u64(j, "overwritten", t->overwritten);
	put_u64(j, "damaged", t->damaged);
	put_u64(j, "disk", t->disk);
	json_obj_end(j);
	put_u64(j, "cut", t->cut);
}

static const char *setup_text(enum class_setup s)
{
	switch (s) {
	case SETUP_NO_FIELD:
		return "the filter names a field that it lacks";
	case SETUP_FILTER_TYPE:
		return "the filter does not fit a field's type";
	case SETUP_NO_ROOM:
		return "no room for its filter";
	case SETUP_NONE:
		return "not asked for";
	case SETUP_ON:
		break;
	}
	return NULL;
}

static void put_classes(struct json *j, const struct program *p)
{
	uint32_t i;

	json_key(j, "classes");
	json_arr(j);
	for (i = 0; i < p->r->nclasses; i++) {
		const struct rclass *cl = p->r->cls[i];
		const char *why = setup_text(p->ch.setup[i]);

		if (cl->state != RCLASS_OK && cl->state != RCLASS_BROKEN)
			continue;
		json_obj(j);
		put_u64(j, "id", i);
		if (cl->state == RCLASS_OK) {
			put_str(j, "name", cl->name);
			put_u64(j, "level", cl->level);
		} else {
			why = "its description is damaged";
		}
		json_key(j, "recorded");
		json_bool(j, !why);
		if (why)
			put_str(j, "why", why);
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void put_record(void *arg, uint32_t kind, const void *data, size_t len)
{
	struct json *j = arg;
	struct gd_object o;
	char hex[41] = "";
	uint32_t i;

	if (kind != GD_RECORD_OBJECT || len < sizeof(o))
		return;
	memcpy(&o, data, sizeof(o));
	for (i = 0; i < o.build_id_len && i < sizeof(o.build_id); i++)
		snprintf(hex + 2 * i, 3, "%02x", o.build_id[i]);
	json_obj(j);
	json_key(j, "path");
	json_strn(j, (const char *)data + sizeof(o), len - sizeof(o));
	put_u64(j, "base", o.base);
	put_u64(j, "start", o.start);
	put_u64(j, "end", o.end);
	put_str(j, "build_id", hex);
	json_obj_end(j);
}

static void put_streams(struct json *j, const struct program *p)
{
	unsigned s;

	json_key(j, "streams");
	json_arr(j);
	for (s = 0; s < GD_SLOTS; s++) {
		const struct slot_pos *pos = &p->ch.slot[s];

		if (!pos->events && !slot_lost(pos))
			continue;
		json_obj(j);
		put_u64(j, "slot", s);
		put_u64(j, "events", pos->events);
		put_u64(j, "bytes", pos->bytes);
		put_u64(j, "lost", slot_lost(pos));
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void put_contexts(struct json *j, uint32_t context)
{
	static const char *const names[] = { "tid", "goid", "cpu", "span", "key", "stack" };
	unsigned i;

	json_key(j, "contexts");
	json_arr(j);
	for (i = 0; i < 6; i++)
		if (context >> i & 1)
			json_str(j, names[i]);
	json_arr_end(j);
}

void manifest_program(struct buf *out, struct record *rec, const struct program *p, bool first)
{
	static const char *const states[] = { "running", "exited", "killed", "ended" };
	static const char *const writers[] = { "", "mm_cid", "cpu", "pool", "go_p" };
	struct totals t;
	struct json j;

	json_init(&j, out);
	j.need_comma = !first;
	program_totals(p, &t);
	totals_sub(&t, &p->base);
	json_obj(&j);
	put_u64(&j, "pid", (uint64_t)p->pid);
	put_u64(&j, "pid_inside", p->r->head.pid);
	put_u64(&j, "parent_pid", p->r->head.parent_pid);
	put_u64(&j, "uid", p->r->uid);
	put_str(&j, "comm", p->r->head.comm);
	put_str(&j, "exe", p->r->head.exe);
	put_str(&j, "agent", p->r->head.agent);
	put_str(&j, "writer", writers[p->r->head.writer <= GD_WRITER_GO_P ? p->r->head.writer : 0]);
	put_str(&j, "clock", p->r->head.clock == GD_CLOCK_TSC ? "counter" : "monotonic");
	put_str(&j, "state", states[p->state]);
	if (p->state == PROGRAM_EXITED)
		put_u64(&j, "exit_status", (uint64_t)p->status);
	if (p->state == PROGRAM_KILLED)
		put_u64(&j, "signal", (uint64_t)p->status);
	put_u64(&j, "since_ns", clock_epoch(clock_of(rec, p->r), p->since.counter));
	if (p->until.counter)
		put_u64(&j, "until_ns", clock_epoch(clock_of(rec, p->r), p->until.counter));
	if (*p->out.dir)
		put_str(&j, "trace", p->out.dir);
	put_contexts(&j, p->ch.context);
	put_u64(&j, "memory_bytes", (uint64_t)p->ch.granted * GD_PACKET);
	json_key(&j, "region_damaged");
	json_bool(&j, p->r->shrunk != 0);
	put_u64(&j, "events", t.events);
	put_u64(&j, "bytes", t.bytes);
	put_lost(&j, &t);
	put_streams(&j, p);
	json_key(&j, "objects"); /* what return addresses are resolved with */
	json_arr(&j);
	region_records(p->r, put_record, &j);
	json_arr_end(&j);
	put_classes(&j, p);
	json_obj_end(&j);
}

static void put_rules(struct json *j, struct record *rec)
{
	unsigned i;

	json_key(j, "rules");
	json_arr(j);
	for (i = 0; i < rec->rules.n; i++) {
		const struct rule *u = &rec->rules.v[i];

		if (u->condition)
			continue;
		json_obj(j);
		put_str(j, u->exclude ? "exclude" : "events", u->glob);
		if (u->level != 255)
			put_u64(j, "level", u->level);
		if (u->filter && rec->o->where)
			put_str(j, "where", rec->o->where);
		json_obj_end(j);
	}
	json_arr_end(j);
}

void manifest_go(struct buf *out, const struct go_sink *s)
{
	char boot_id[40] = "";
	struct json j;
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (f) {
		if (fgets(boot_id, sizeof(boot_id), f))
			boot_id[strcspn(boot_id, "\n")] = 0;
		fclose(f);
	}
	json_init(&j, out);
	j.need_comma = out->len && out->data[out->len - 1] == '}';
	go_sink_json(s, &j, boot_id);
}

static void put_go(struct json *j, struct record *rec)
{
	unsigned i;

	json_key(j, "go");
	json_arr(j);
	buf_put(j->out, rec->go_ended.data, rec->go_ended.len);
	for (i = 0; i < rec->nprog; i++)
		if (rec->prog[i]->fl)
			manifest_go(j->out, &rec->prog[i]->fl->sink);
	for (i = 0; i < rec->nhttp; i++)
		manifest_go(j->out, &rec->http[i]->sink);
	j->need_comma = true;
	json_arr_end(j);
}

void manifest_snapshot(struct json *j, const struct record_snapshot *s)
{
	put_u64(j, "number", s->number);
	put_str(j, "why", s->why);
	if (*s->event)
		put_str(j, "event", s->event);
	put_str(j, "program", s->program);
	put_u64(j, "pid", (uint64_t)s->pid);
	put_u64(j, "time_ns", s->time_ns);
}

/* What is waited for, and what has come: in a snapshot itself, its own cause. */
static void put_when(struct json *j, const struct record *rec)
{
	unsigned i;

	json_key(j, "conditions");
	json_arr(j);
	for (i = 0; i < rec->o->when->n; i++)
		json_str(j, rec->o->when->v[i].text);
	json_arr_end(j);
	if (rec->when.now) {
		json_key(j, "snapshot");
		json_obj(j);
		manifest_snapshot(j, rec->when.now);
		json_obj_end(j);
		return;
	}
	json_key(j, "snapshots");
	json_arr(j);
	if (rec->when.list.len) {
		buf_put(j->out, rec->when.list.data, rec->when.list.len);
		j->need_comma = true;
	}
	json_arr_end(j);
}

static int replace_file(const char *dir, const struct buf *text, struct err *err)
{
	char path[4200], temp[4200];
	int fd, res = 0;
	size_t done = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/gander.json", dir);
	snprintf(temp, sizeof(temp), "%s/.gander.json.new", dir);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, -errno, "cannot write '%s': %m", path);
	while (done < text->len && res == 0) {
		n = write(fd, text->data + done, text->len - done);
		if (n < 0 && errno != EINTR)
			res = err_set(err, -errno, "cannot write '%s': %m", path);
		done += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (res == 0 && rename(temp, path) < 0)
		res = err_set(err, -errno, "cannot write '%s': %m", path);
	if (res < 0)
		unlink(temp);
	return res;
}

/* How far CLOCK_REALTIME was set since the recording began; what its rate is trimmed by is left out. */
static int64_t stepped(const struct record *rec)
{
	int64_t now = (int64_t)(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC)), by = now - (int64_t)rec->mono.real_minus_mono;

	return by > CLOCK_STEP_NS || by < -CLOCK_STEP_NS ? by : 0;
}

int manifest_write(struct record *rec, bool final, struct err *err)
{
	struct totals all = rec->gone_chunk, t;
	struct buf b = BUF_INIT;
	char host[256] = "";
	struct json j;
	unsigned i;
	int res;

	gethostname(host, sizeof(host) - 1);
	json_init(&j, &b);
	json_obj(&j);
	put_u64(&j, "gander_recording", 1);
	put_str(&j, "gander", GANDER_VERSION);
	put_str(&j, "session", rec->session_text);
	put_str(&j, "host", host);
	put_u64(&j, "collector_pid", (uint64_t)getpid());
	put_str(&j, "state", !final ? "recording" : rec->failed ? "failed"
								: "complete");
	if (rec->failed)
		put_str(&j, "why", rec->why);
	put_str(&j, "mode", rec->o->mode == GD_MODE_OVERWRITE ? "overwrite" : "discard");
	put_rules(&j, rec);
	if (rec->o->when)
		put_when(&j, rec);
	put_u64(&j, "start_ns", rec->chunk > 1 ? rec->chunk_start_ns + rec->mono.real_minus_mono : rec->start_epoch_ns);
	put_u64(&j, final ? "end_ns" : "now_ns", rec->mono.last.mono_ns + rec->mono.real_minus_mono);
	if (rec->chunk)
		put_u64(&j, "chunk", rec->chunk);
	json_key(&j, "clock");
	json_obj(&j);
	put_u64(&j, "freq_hz", rec->clock.freq_hz);
	put_u64(&j, "at_counter", rec->clock.at_counter);
	put_u64(&j, "at_ns", rec->clock.at_epoch_ns);
	put_u64(&j, "mono_offset_ns", rec->mono.real_minus_mono);
	if (stepped(rec))
		put_i64(&j, "stepped_ns", stepped(rec));
	json_key(&j, "error_ns");
	json_f64(&j, rec->clock.error_ns);
	json_obj_end(&j);
	kernelview_manifest(&j, rec);
	for (i = 0; i < rec->nprog; i++) {
		program_totals(rec->prog[i], &t);
		totals_sub(&t, &rec->prog[i]->base);
		totals_add(&all, &t);
	}
	put_u64(&j, "events", all.events);
	put_u64(&j, "bytes", all.bytes);
	put_lost(&j, &all);
	json_key(&j, "problems");
	json_arr(&j);
	for (i = 0; i < rec->nproblem; i++) {
		const struct problem *p = &rec->problem[i];

		json_obj(&j);
		if (p->pid)
			put_u64(&j, "pid", (uint64_t)p->pid);
		if (*p->program)
			put_str(&j, "program", p->program);
		if (*p->class_name)
			put_str(&j, "class", p->class_name);
		put_str(&j, "text", p->text);
		json_obj_end(&j);
	}
	json_arr_end(&j);
	if (rec->ended_dropped)
		put_u64(&j, "programs_left_out", rec->ended_dropped);
	json_key(&j, "programs");
	json_arr(&j);
	if (rec->ended.len) {
		buf_put(&b, rec->ended.data, rec->ended.len);
		j.need_comma = true;
	}
	for (i = 0; i < rec->nprog; i++)
		manifest_program(&b, rec, rec->prog[i], !rec->ended.len && !i);
	j.need_comma = true;
	json_arr_end(&j);
	put_go(&j, rec);
	json_obj_end(&j);
	buf_putc(&b, '\n');
	res = buf_failed(&b) ? err_set(err, -ENOMEM, "out of memory") : replace_file(rec->dir, &b, err);
	buf_done(&b);
	return res;
}

int manifest_chunks(struct record *rec, unsigned first, bool final, struct err *err)
{
	struct buf b = BUF_INIT;
	struct json j;
	char name[32];
	int res;

	json_init(&j, &b);
	json_obj(&j);
	put_u64(&j, "gander_recording", 1);
	put_str(&j, "gander", GANDER_VERSION);
	put_str(&j, "session", rec->session_text);
	put_str(&j, "state", !final ? "recording" : rec->failed ? "failed"
								: "complete");
	if (rec->failed)
		put_str(&j, "why", rec->why);
	put_u64(&j, "start_ns", rec->start_epoch_ns);
	json_key(&j, "chunks");
	json_arr(&j);
	for (; first <= rec->chunk; first++) {
		snprintf(name, sizeof(name), "chunk-%06u", first);
		json_str(&j, name);
	}
	json_arr_end(&j);
	json_obj_end(&j);
	buf_putc(&b, '\n');
	res = buf_failed(&b) ? err_set(err, -ENOMEM, "out of memory") : replace_file(rec->o->dir, &b, err);
	buf_done(&b);
	return res;
}
