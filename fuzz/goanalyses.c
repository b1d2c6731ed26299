/* All analyses and exports over a trace in memory: states that do not fit together, times far apart, ids that are used again. */
#include "analyze/godiff.h"
#include "analyze/gosummary.h"
#include "export/export.h"

#include <stdlib.h>
#include <string.h>

static void put(void *arg, const char *name, double value, enum cell_kind kind)
{
	*(size_t *)arg += strlen(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gander_gotrace_opts go = GANDER_GOTRACE_OPTS_INIT;
	struct goan_opts o = GOAN_OPTS_INIT;
	struct gander_gotrace *t;
	struct goperfetto *perfetto = NULL;
	struct gospans *spans = NULL;
	struct gopprof *pprof = NULL;
	struct godiff *diff = NULL;
	struct goan_findings found;
	struct err err = ERR_INIT;
	struct result r;
	struct gorun run;
	char *out[3] = { NULL };
	FILE *f[3];
	size_t len[3], total = 0;
	int i;

	go.max_generation_bytes = 1 << 20;
	if (gander_gotrace_open_mem(&t, data, size, &go, NULL) < 0)
		return 0;
	for (i = 0; i < 3; i++)
		f[i] = open_memstream(&out[i], &len[i]);
	if (gorun_init(&run) < 0)
		abort();
	o.system = size & 1;
	o.logs = true;
	o.by = size & 2 ? "goroutine" : "waker";
	o.has_task = size & 4;
	o.task = 1;
	for (i = 0; goan_types[i]; i++)
		gorun_add(&run, goan_types[i], &o, NULL);
	/* perfetto keeps a number in goro.user, as the GC analysis does: one of them at a time */
	gospans_new(&spans, &run.state, size & 8 ? GOSPANS_CSV : GOSPANS_JSON, f[1]);
	gopprof_new(&pprof, &run.state, size & 16 ? GOPPROF_SCHED : GOPPROF_BLOCKED, size & 32);
	godiff_new(&diff, &run.state);
	gorun_trace(&run, t, &err);
	gander_gotrace_free(t);
	result_init(&r, &run.syms);
	gorun_report(&run, &r);
	gosummary_report(&run, "fuzz", &r);
	gorun_metrics(&run, put, &total);
	gorun_findings(&run, &found);
	godiff_report(diff, diff, 10, true, &r);
	result_done(&r);
	gospans_finish(spans, &err);
	gopprof_write(pprof, f[2], &err);
	gospans_free(spans);
	gopprof_free(pprof);
	godiff_free(diff);
	gorun_done(&run);

	if (gorun_init(&run) < 0 || gander_gotrace_open_mem(&t, data, size, &go, NULL) < 0)
		abort();
	goperfetto_new(&perfetto, &run.state, f[0]);
	gorun_trace(&run, t, &err);
	gander_gotrace_free(t);
	goperfetto_finish(perfetto, &err);
	goperfetto_free(perfetto);
	gorun_done(&run);
	for (i = 0; i < 3; i++) {
		if (f[i])
			fclose(f[i]);
		free(out[i]);
	}
	return 0;
}
