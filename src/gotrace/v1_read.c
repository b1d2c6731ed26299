#include "gotrace/gotrace_internal.h"

int v1_open(struct gander_gotrace *t, const uint8_t *head, struct err *err)
{
	return err_set(err, -ENOTSUP, "version go 1.%u is not read yet", t->version);
}

void v1_free(struct v1 *v)
{
}
