/* Runs a fuzz target once over every file of a corpus (recursively), so that what a fuzzer once found stays found. */
#include <ftw.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int ran;

static int run_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	/* exactly as large as the file, so that the address sanitizer sees a read beyond its end */
	uint8_t *data;
	FILE *f;

	if (type != FTW_F)
		return 0;
	f = fopen(path, "rb");
	data = malloc((size_t)st->st_size + !st->st_size);
	if (!f || !data || fread(data, 1, (size_t)st->st_size, f) != (size_t)st->st_size) {
		fprintf(stderr, "cannot read '%s'\n", path);
		return 1;
	}
	fclose(f);
	LLVMFuzzerTestOneInput(data, (size_t)st->st_size);
	free(data);
	ran++;
	return 0;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (nftw(argv[i], run_file, 16, FTW_PHYS))
			return 1;
	if (!ran) {
		fprintf(stderr, "no input\n");
		return 1;
	}
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	printf("%u inputs\n1 passed, 0 failed, 0 skipped\n", ran);
	return 0;
}
