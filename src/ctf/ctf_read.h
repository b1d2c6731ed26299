/* What other modules of gander need of the reader beside its public interface: text as the verbs print it. */
#ifndef GANDER_CTF_CTF_READ_H
#define GANDER_CTF_CTF_READ_H

#include "base/err.h"
#include "ctf/ctf_model.h"
#include "ctf/ctf_run.h"
#include "gander/ctf_reader.h"

_Static_assert(sizeof(struct err) == sizeof(struct gander_err), "struct err and struct gander_err must have one layout");

/* The event that came last as one line with its newline, as `gander events` prints it. 0 or -ENOMEM. */
int ctf_text_line(struct gander_ctf *r, const struct gander_ctf_event *ev, struct ctf_out *out);

/* The same as a JSON object, with its newline. Enumerations by their label, blobs as hexadecimal text; what JSON has no number for as null. */
int ctf_json_line(struct gander_ctf *r, const struct gander_ctf_event *ev, struct ctf_out *out);

/* The same of an event whose values are at hand (n < 0: they are broken), with "goroutine" if that is not negative. */
int ctf_json_values(const struct gander_ctf_event *ev, const struct gander_ctf_value *v, int n, int64_t goroutine, struct ctf_out *out);

/* One value (and what it holds) as JSON: returns the index behind it. */
uint32_t ctf_json_value(struct ctf_out *out, const struct gander_ctf_value *v, uint32_t i);

/* A scalar as text without quotes, for tables. */
void ctf_plain_value(struct ctf_out *out, const struct gander_ctf_value *v, uint32_t i);

/* The goroutine or, where there is none, the thread of the event that came last; false: the recording does not say. */
bool ctf_event_thread(struct gander_ctf *r, const struct gander_ctf_event *ev, uint64_t *id, bool *is_goroutine);

/* The process of a kernel's event that came last, as its context has it; false: it does not say. */
bool ctf_event_pid(struct gander_ctf *r, const struct gander_ctf_event *ev, uint64_t *pid);

/* The duration that the end of a span carries; false: none. */
bool ctf_event_duration(struct gander_ctf *r, const struct gander_ctf_event *ev, uint64_t *ns);

/* The model of a trace, for exporting it; lives until the next call of next(). */
struct ctf_trace_class *ctf_trace_model(const struct gander_ctf *r, uint32_t trace);

/* Is it a trace of the kernel's (LTTng's, or gander's of `record --kernel`)? */
bool ctf_trace_is_kernel(const struct gander_ctf *r, uint32_t trace);

/* A field by name among values that are at hand. */
const struct gander_ctf_value *ctf_values_find(const struct gander_ctf_value *v, uint32_t n, const char *name);

#endif
