/* The readers as one library: this file is all that it adds to them. */
#include "gander/reader.h"

const char *gander_reader_version(void)
{
	return GANDER_VERSION;
}
