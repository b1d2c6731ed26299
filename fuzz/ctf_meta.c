/* CTF metadata of any form: TSDL as text or in packets, CTF 2. What is taken in is compiled, written again in both forms, and read once more. */
#include "ctf/ctf_layout.h"

#include <stdlib.h>

static void again(const struct ctf_trace_class *t, int version)
{
	struct ctf_trace_class *copy = NULL;
	const struct ctf_stream_class *s;
	const struct ctf_event_class *e;
	struct err err = ERR_INIT;
	struct buf b = BUF_INIT;
	bool can = !ctf_tsdl_can(t->packet_header);

	for (s = t->stream; s && can; s = s->next) {
		can = !ctf_tsdl_can(s->packet_context) && !ctf_tsdl_can(s->event_header) && !ctf_tsdl_can(s->common_context);
		for (e = s->event; e && can; e = e->next)
			can = !ctf_tsdl_can(e->context) && !ctf_tsdl_can(e->payload);
	}
	if (version == 1 && !can)
		return;
	if (version == 1)
		ctf_tsdl_trace(&b, t);
	else
		ctf_json_trace(&b, t);
	for (s = t->stream; s; s = s->next) {
		if (version == 1)
			ctf_tsdl_stream(&b, s);
		else
			ctf_json_stream(&b, s);
		for (e = s->event; e; e = e->next) {
			if (version == 1)
				ctf_tsdl_event(&b, e, s->id);
			else
				ctf_json_event(&b, e, s->id);
		}
	}
	if (!buf_failed(&b) && b.len)
		ctf_meta_parse(&copy, b.data, b.len, &err);
	ctf_trace_class_free(copy);
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctf_trace_class *t = NULL;
	struct ctf_trace_layout layout;
	struct err err = ERR_INIT;

	if (size > 1u << 20)
		return 0;
	if (!ctf_meta_parse(&t, data, size, &err)) {
		ctf_layout_trace(t, &layout, &err);
		again(t, 2);
		if (!ctf_model_identifiers(t))
			again(t, 1);
	}
	ctf_trace_class_free(t);
	return 0;
}
