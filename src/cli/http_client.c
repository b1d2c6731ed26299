#include "cli/http_client.h"

#include <dlfcn.h>
#include <errno.h>

#define LIBRARY "libcurl.so.4"

const struct http_client *http_client(struct err *err)
{
	static struct http_client calls;
	static void *library;

	if (library)
		return &calls;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		err_set(err, -ENOENT, "traces from a URL need libcurl (package libcurl4): %s", dlerror());
		return NULL;
	}
#define LOAD(name) \
	calls.name = (__typeof__(calls.name))dlsym(library, #name); \
	if (!calls.name) { \
		err_set(err, -ENOENT, "%s has no %s", LIBRARY, #name); \
		dlclose(library); \
		library = NULL; \
		return NULL; \
	}
	HTTP_CLIENT_CALLS(LOAD)
	calls.curl_global_init(CURL_GLOBAL_DEFAULT);
	return &calls;
}
