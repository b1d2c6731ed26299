#include "cli/report_manifest.h"
#include "base/plain.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *load(const char *dir, const char *chunk)
{
	char path[PATH_MAX];
	json_t *m;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s%sgander.json", dir, chunk, *chunk ? "/" : "") >= (int)sizeof(path))
		return NULL;
	f = plain_fopen(path);
	m = f ? json_loadf(f, 0, NULL) : NULL;
	if (f)
		fclose(f);
	return m;
}

/* `o` of `list`, unless it has one of this key already, which it takes the place of. */
static void set(json_t *list, json_t *places, const char *key, json_t *o)
{
	json_t *place = json_object_get(places, key);

	if (place) {
		json_array_set(list, (size_t)json_integer_value(place), o);
		return;
	}
	json_object_set_new(places, key, json_integer((json_int_t)json_array_size(list)));
	json_array_append(list, o);
}

/* All of `from`, each once. */
static void unite(json_t *to, json_t *places, const json_t *from)
{
	json_t *o;
	size_t i;
	char *text;

	for (i = 0; i < json_array_size(from); i++) {
		o = json_array_get(from, i);
		text = json_dumps(o, JSON_ENCODE_ANY | JSON_SORT_KEYS);
		if (text)
			set(to, places, text, o);
		free(text);
	}
}

static json_t *part(json_t *of, const char *key, json_t *(*make)(void))
{
	json_t *p = json_object_get(of, key);

	if (!p) {
		p = make();
		json_object_set_new(of, key, p);
	}
	return p;
}

static void add_programs(json_t *list, json_t *places, const json_t *from)
{
	char key[400];
	json_t *o;
	size_t i;

	for (i = 0; i < json_array_size(from); i++) {
		o = json_array_get(from, i);
		snprintf(key, sizeof(key), "%.300s %lld", json_string_value(json_object_get(o, "trace")) ? json_string_value(json_object_get(o, "trace")) : "",
			 (long long)json_integer_value(json_object_get(o, "pid")));
		set(list, places, key, o);
	}
}

static void add_go(json_t *list, const char *chunk, const json_t *from)
{
	char path[PATH_MAX];
	const char *file;
	json_t *o;
	size_t i;

	for (i = 0; i < json_array_size(from); i++) {
		o = json_deep_copy(json_array_get(from, i));
		file = json_string_value(json_object_get(o, "file"));
		if (file && snprintf(path, sizeof(path), "%s/%s", chunk, file) < (int)sizeof(path))
			json_object_set_new(o, "file", json_string(path));
		json_array_append_new(list, o);
	}
}

/* `v` is added to a count of `to`. What no recorder has counted ends at the largest that a count can be. */
static void add_number(json_t *to, const char *key, const json_t *v)
{
	json_int_t a = json_integer_value(json_object_get(to, key)), b = json_integer_value(v), sum;

	if (__builtin_add_overflow(a > 0 ? a : 0, b > 0 ? b : 0, &sum))
		sum = INT64_MAX;
	json_object_set_new(to, key, json_integer(sum));
}

static void add_numbers(json_t *to, const json_t *from)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)from, key, v) if (json_is_integer(v))
		add_number(to, key, v);
}

/* What the chunk says is added to what the ones before it said. places: of each list, where things stand in it. */
static void add_chunk(json_t *m, json_t *places, const char *name, const json_t *chunk)
{
	static const char *const last[] = { "end_ns", "now_ns", "state", "why" };
	json_t *kernel, *v;
	size_t i;

	v = json_object_get(chunk, "start_ns");
	if (v && !json_object_get(places, "begun"))
		json_object_set(m, "start_ns", v); /* the first that is kept */
	json_object_set_new(places, "begun", json_true());
	for (i = 0; i < sizeof(last) / sizeof(*last); i++) {
		json_object_del(m, last[i]);
		v = json_object_get(chunk, last[i]);
		if (v)
			json_object_set(m, last[i], v);
	}
	add_number(m, "events", json_object_get(chunk, "events"));
	add_numbers(part(m, "lost", json_object), json_object_get(chunk, "lost"));
	unite(part(m, "problems", json_array), part(places, "problems", json_object), json_object_get(chunk, "problems"));
	add_programs(part(m, "programs", json_array), part(places, "programs", json_object), json_object_get(chunk, "programs"));
	add_go(part(m, "go", json_array), name, json_object_get(chunk, "go"));
	if (!json_object_get(chunk, "kernel"))
		return;
	kernel = part(m, "kernel", json_object);
	unite(part(kernel, "groups", json_array), part(places, "groups", json_object), json_object_get(json_object_get(chunk, "kernel"), "groups"));
	unite(part(kernel, "pids", json_array), part(places, "pids", json_object), json_object_get(json_object_get(chunk, "kernel"), "pids"));
}

json_t *report_manifest(const char *dir)
{
	json_t *m = load(dir, ""), *chunks = json_object_get(m, "chunks"), *places, *chunk;
	const char *name;
	size_t i;

	if (!json_is_array(chunks))
		return m;
	places = json_object();
	for (i = 0; i < json_array_size(chunks); i++) {
		name = json_string_value(json_array_get(chunks, i));
		if (!name || strncmp(name, "chunk-", 6) || strchr(name, '/') || json_object_get(places, name))
			continue;
		json_object_set_new(places, name, json_true()); /* each once, however often it is named */
		chunk = load(dir, name);
		if (json_is_object(chunk))
			add_chunk(m, places, name, chunk);
		json_decref(chunk);
	}
	json_decref(places);
	return m;
}
