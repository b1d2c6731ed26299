/* Class descriptions, which come from the traced program: the first two bytes of the input say how much of it is the description, the rest is
 * the payload of an event of that class. */
#include "region/desc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_field field;
	struct gd_desc desc;
	const uint8_t *at;
	uint8_t *bytes;
	ptrdiff_t n;
	size_t len;

	if (size < 2)
		return 0;
	len = gd_load16(data);
	data += 2;
	size -= 2;
	if (len > size)
		len = size;
	bytes = malloc(len + !len); /* by itself, so that a read behind its end is seen */
	if (!bytes)
		return 0;
	memcpy(bytes, data, len);
	data += len;
	size -= len;
	if (!gd_desc_parse(&desc, bytes, len)) {
		for (at = desc.fields; gd_desc_field(&field, &at, desc.end);) {
			if (!gd_type_skip(field.type_at, desc.end))
				abort(); /* what was parsed holds together */
			n = gd_value_size(field.type_at, desc.end, data, size);
			if (n < 0)
				break;
			if ((size_t)n > size)
				abort();
			data += n;
			size -= (size_t)n;
		}
	}
	free(bytes);
	return 0;
}
