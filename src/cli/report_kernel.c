#include "cli/report_kernel.h"
#include "base/map.h"
#include "base/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS      12u
#define ROWS_JSON 1000u

struct row {
	const struct kview_thread *t;
	struct kview_split split; /* over the whole recording */
};

struct report_kernel {
	struct kview *kv;
	struct kview_info info;
	struct row *row; /* of the recorded programs, those that used the CPU most first */
	unsigned nrows;
	struct kview_who instead[KVIEW_TOP];
	unsigned ninstead;
	uint64_t others; /* left out of instead[] */
	json_t *groups;  /* borrowed */
};

static int by_use(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	uint64_t p = x->split.on_cpu_ns + x->split.ready_ns, q = y->split.on_cpu_ns + y->split.ready_ns;

	return p < q ? 1 : p > q ? -1
				 : x->t->tid - y->t->tid;
}

/* Adds up over all threads; what has no place is lumped together. */
static void add_instead(struct report_kernel *k, const struct kview_split *s)
{
	unsigned i, n;

	for (i = 0; i < s->ninstead; i++) {
		for (n = 0; n < k->ninstead && k->instead[n].tid != s->instead[i].tid; n++)
			;
		if (s->instead[i].tid < 0 || (n == k->ninstead && n == KVIEW_TOP)) {
			k->others += s->instead[i].ns;
			continue;
		}
		if (n == k->ninstead) {
			k->instead[k->ninstead++] = s->instead[i];
			continue;
		}
		k->instead[n].ns += s->instead[i].ns;
	}
}

static void add_pids(struct map *pids, const json_t *list, const char *key)
{
	const json_t *o;
	bool added;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		o = json_array_get(list, i);
		map_put(pids, (uint64_t)json_integer_value(key ? json_object_get(o, key) : o), &added);
	}
}

int report_kernel_new(struct report_kernel **ret, const char *dir, const json_t *manifest, struct err *err)
{
	const json_t *kernel = json_object_get(manifest, "kernel");
	struct report_kernel *k = calloc(1, sizeof(*k));
	struct map pids = { 0 };
	const struct kview_thread *t;
	unsigned i;
	int r;

	*ret = NULL;
	if (!k)
		return err_set(err, -ENOMEM, "out of memory");
	r = kview_open(&k->kv, dir, err);
	if (r < 0) {
		free(k);
		return r == -ENOENT ? 0 : r;
	}
	kview_info(k->kv, &k->info);
	k->groups = json_object_get(kernel, "groups");
	add_pids(&pids, json_object_get(manifest, "programs"), "pid");
	add_pids(&pids, json_object_get(kernel, "pids"), NULL);
	k->row = calloc(kview_threads(k->kv) + 1, sizeof(*k->row));
	if (!k->row) {
		r = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	for (i = 0; i < kview_threads(k->kv); i++) {
		t = kview_thread(k->kv, i);
		/* a recording that names no programs (LTTng's) is about all that sleep and run */
		if (pids.n ? !map_find(&pids, (uint64_t)(int64_t)t->pid) : !t->switches)
			continue;
		k->row[k->nrows].t = t;
		kview_split(k->kv, t->tid, k->info.begin_ns, k->info.end_ns, &k->row[k->nrows].split);
		add_instead(k, &k->row[k->nrows++].split);
	}
	if (k->nrows)
		qsort(k->row, k->nrows, sizeof(*k->row), by_use);
	*ret = k;
	k = NULL;
out:
	map_done(&pids);
	report_kernel_free(k);
	return r;
}

void report_kernel_free(struct report_kernel *k)
{
	if (!k)
		return;
	kview_free(k->kv);
	free(k->row);
	free(k);
}

const struct kview *report_kernel_view(const struct report_kernel *k)
{
	return k ? k->kv : NULL;
}

static const char *comm_of(char to[24], const char *comm)
{
	size_t i;

	for (i = 0; comm[i] && i < 15; i++)
		to[i] = comm[i] >= ' ' && comm[i] < 0x7f ? comm[i] : '?';
	to[i] = 0;
	return to;
}

static void print_instead(const struct report_kernel *k, FILE *out)
{
	char a[UNIT_TEXT], name[24];
	const struct kview_who *w;
	unsigned i, top;
	uint64_t total = k->others;
	bool shown[KVIEW_TOP] = { false };

	for (i = 0; i < k->ninstead; i++)
		total += k->instead[i].ns;
	if (!total)
		return;
	fprintf(out, "  while they waited for a CPU, it was with:");
	for (top = 0; top < 4 && top < k->ninstead; top++) {
		w = NULL;
		for (i = 0; i < k->ninstead; i++)
			if (!shown[i] && (!w || k->instead[i].ns > w->ns))
				w = &k->instead[i];
		shown[w - k->instead] = true;
		if (w->tid)
			fprintf(out, "%s %s %d (%s)", top ? "," : "", comm_of(name, w->comm), (int)w->tid, duration_text(a, w->ns));
		else
			fprintf(out, "%s nobody, waking up (%s)", top ? "," : "", duration_text(a, w->ns));
		total -= w->ns;
	}
	if (total)
		fprintf(out, "%s others (%s)", top ? "," : "", duration_text(a, total));
	fprintf(out, "\n");
}

void report_kernel_text(const struct report_kernel *k, FILE *out)
{
	char a[UNIT_TEXT], b[UNIT_TEXT], c[UNIT_TEXT], d[UNIT_TEXT], name[24], in[64];
	unsigned i, n;

	if (!k)
		return;
	fprintf(out, "\nTHREADS, by the kernel's scheduler, the busiest of %u\n", k->nrows);
	fprintf(out, "  %-8s %-15s %8s %9s %8s %8s  %s\n", "thread", "name", "on CPU", "waits CPU", "blocked", "switches", "mostly in");
	for (i = 0; i < k->nrows && i < ROWS; i++) {
		const struct kview_split *s = &k->row[i].split;

		in[0] = 0;
		for (n = 0; n < s->nblocked && !in[0]; n++)
			if (s->blocked_in[n].call >= 0)
				snprintf(in, sizeof(in), "%.24s %s", kview_call_name(k->kv, s->blocked_in[n].call), duration_text(d, s->blocked_in[n].ns));
		fprintf(out, "  %-8d %-15s %8s %9s %8s %8u  %s\n", (int)k->row[i].t->tid, comm_of(name, k->row[i].t->comm), duration_text(a, s->on_cpu_ns),
			duration_text(b, s->ready_ns), duration_text(c, s->blocked_ns), k->row[i].t->switches, in);
	}
	if (k->nrows > ROWS)
		fprintf(out, "  ... and %u more (--json has all)\n", k->nrows - ROWS);
	print_instead(k, out);
	if (k->info.missed)
		fprintf(out, "  the kernel did not report %llu switches from idle CPUs; they are taken to have come with the wake-up\n", (unsigned long long)k->info.missed);
}

static void put(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void put_i(struct json *j, const char *key, int64_t v)
{
	json_key(j, key);
	json_i64(j, v);
}

void report_kernel_json(const struct report_kernel *k, struct json *j)
{
	unsigned i, n;
	size_t g;

	if (!k)
		return;
	json_key(j, "kernel");
	json_obj(j);
	json_key(j, "groups");
	json_arr(j);
	for (g = 0; g < json_array_size(k->groups); g++)
		json_str(j, json_string_value(json_array_get(k->groups, g)) ? json_string_value(json_array_get(k->groups, g)) : "");
	json_arr_end(j);
	put(j, "cpus", k->info.cpus);
	put(j, "events", k->info.events);
	put(j, "switches", k->info.switches);
	put(j, "lost", k->info.lost);
	put(j, "missed", k->info.missed);
	put_i(j, "begin_mono_ns", k->info.begin_ns);
	put_i(j, "end_mono_ns", k->info.end_ns);
	json_key(j, "threads");
	json_arr(j);
	for (i = 0; i < k->nrows && i < ROWS_JSON; i++) {
		const struct kview_split *s = &k->row[i].split;

		json_obj(j);
		put_i(j, "tid", k->row[i].t->tid);
		put_i(j, "pid", k->row[i].t->pid);
		json_key(j, "comm");
		json_str(j, k->row[i].t->comm);
		put(j, "on_cpu_ns", s->on_cpu_ns);
		put(j, "ready_ns", s->ready_ns);
		put(j, "preempted_ns", s->preempted_ns);
		put(j, "blocked_ns", s->blocked_ns);
		put(j, "uninterruptible_ns", s->uninterruptible_ns);
		put(j, "unknown_ns", s->unknown_ns);
		put(j, "switches", k->row[i].t->switches);
		put(j, "preemptions", k->row[i].t->preemptions);
		put(j, "wakeups", k->row[i].t->wakeups);
		json_key(j, "instead");
		json_arr(j);
		for (n = 0; n < s->ninstead; n++) {
			json_obj(j);
			put_i(j, "tid", s->instead[n].tid);
			put_i(j, "pid", s->instead[n].pid);
			json_key(j, "comm");
			json_str(j, s->instead[n].comm);
			put(j, "ns", s->instead[n].ns);
			json_obj_end(j);
		}
		json_arr_end(j);
		json_key(j, "blocked_in");
		json_arr(j);
		for (n = 0; n < s->nblocked; n++) {
			json_obj(j);
			json_key(j, "call");
			if (s->blocked_in[n].call >= 0)
				json_str(j, kview_call_name(k->kv, s->blocked_in[n].call));
			else
				json_nil(j);
			put(j, "ns", s->blocked_in[n].ns);
			json_obj_end(j);
		}
		json_arr_end(j);
		json_obj_end(j);
	}
	json_arr_end(j);
	json_obj_end(j);
}
