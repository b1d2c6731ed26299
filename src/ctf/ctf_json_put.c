/* CTF 2 metadata (a JSON text sequence) from the model. */
#include "ctf/ctf_model.h"

void ctf_json_trace(struct buf *b, const struct ctf_trace_class *t)
{
}

void ctf_json_stream(struct buf *b, const struct ctf_stream_class *s)
{
}

void ctf_json_event(struct buf *b, const struct ctf_event_class *e, uint64_t stream_id)
{
}
