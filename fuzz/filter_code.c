/* Filter bytecode: u16 length of a program, u16 length of a class description, the program, the description, a payload.
 * The program is linked, as the generic form, and run, as the linked one and as what came out of linking. Each part is
 * in memory of its own, exactly as long as it is. */
#include "region/desc.h"
#include "region/vm.h"
#include "region/vm_quick.h"

#include <stdlib.h>
#include <string.h>

static void *copy(const uint8_t *data, size_t len)
{
	void *p = malloc(len ? len : 1);

	memcpy(p, data, len);
	return p;
}

static void run(const void *program, size_t len, const void *payload, size_t payload_len)
{
	struct gd_piece piece[3] = { { payload, (uint32_t)payload_len, 0 } };
	struct gd_view v = { .piece = piece, .npieces = 1, .level = 3 };
	struct gd_filter_key key;

	uint64_t quick[GD_FILTER_LINKED_MAX / 8] = { 0 }, w[4] = { 0 };
	int passed;

	gd_filter_needs(program, len);
	passed = gd_filter_run(program, len, &v, &key);
	/* what the first instruction alone says, where all that it may look at can be read */
	if (len) {
		memcpy(quick, program, len < sizeof(quick) ? len : sizeof(quick));
		if (payload_len <= sizeof(w)) {
			memcpy(w, payload, payload_len);
			if (gd_quick_words(quick, w, (uint32_t)payload_len) == GD_QUICK_REJECT && passed)
				abort();
		}
		if (gd_quick_pieces(quick, piece, 1) == GD_QUICK_REJECT && passed)
			abort();
	}
	/* the same bytes in three pieces */
	piece[0].len = (uint32_t)payload_len / 3;
	piece[1].data = (const char *)payload + piece[0].len;
	piece[1].len = (uint32_t)payload_len / 2 - piece[0].len;
	piece[1].elem = 1;
	piece[2].data = (const char *)payload + payload_len / 2;
	piece[2].len = (uint32_t)(payload_len - payload_len / 2);
	v.npieces = 3;
	passed = gd_filter_run(program, len, &v, &key);
	if (gd_quick_pieces(quick, piece, 3) == GD_QUICK_REJECT && passed)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t out[GD_FILTER_LINKED_MAX / 8];
	size_t program_len, desc_len, payload_len;
	void *program, *desc, *payload, *linked;
	int n;

	if (len < 4)
		return 0;
	program_len = gd_load16(data);
	desc_len = gd_load16(data + 2);
	data += 4;
	len -= 4;
	if (program_len > len)
		program_len = len;
	if (desc_len > len - program_len)
		desc_len = len - program_len;
	payload_len = len - program_len - desc_len;
	program = copy(data, program_len);
	desc = copy(data + program_len, desc_len);
	payload = copy(data + program_len + desc_len, payload_len);
	n = gd_filter_link(program, program_len, desc, desc_len, out, sizeof(out));
	if (n > 0) {
		linked = copy((const uint8_t *)out, (size_t)n);
		run(linked, (size_t)n, payload, payload_len);
		free(linked);
	}
	run(program, program_len, payload, payload_len);
	free(program);
	free(desc);
	free(payload);
	return 0;
}
