/* Takes HOG bytes of the static TLS that is left for libraries loaded later. */
#ifndef HOG
#define HOG 64
#endif
static __thread char hog[HOG] __attribute__((tls_model("initial-exec"), aligned(8)));

__attribute__((visibility("default"))) char *hog_at(void)
{
	return hog;
}
