/* libcurl, loaded when a URL is read and not before: it brings some thirty libraries, and every other command would pay their
 * loading (5 ms of CPU). One thread. */
#ifndef GANDER_CLI_HTTP_CLIENT_H
#define GANDER_CLI_HTTP_CLIENT_H

#include "base/err.h"

#define CURL_DISABLE_TYPECHECK /* its checks are macros of the functions' names */
#include <curl/curl.h>

#define HTTP_CLIENT_CALLS(X) \
	X(curl_global_init) \
	X(curl_easy_init) \
	X(curl_easy_setopt) \
	X(curl_easy_getinfo) \
	X(curl_easy_strerror) \
	X(curl_easy_cleanup) \
	X(curl_multi_init) \
	X(curl_multi_add_handle) \
	X(curl_multi_perform) \
	X(curl_multi_info_read) \
	X(curl_multi_poll) \
	X(curl_multi_remove_handle) \
	X(curl_multi_cleanup)

struct http_client {
#define MEMBER(name) __typeof__(name) *name;
	HTTP_CLIENT_CALLS(MEMBER)
#undef MEMBER
};

/* The library's functions, for the life of the process; NULL: it is not installed. */
const struct http_client *http_client(struct err *err);

#endif
