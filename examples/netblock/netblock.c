/* What share of all goroutines' time was spent blocked on the network? The classic first program with an execution trace. */
#include <gander/reader.h>

#include <stdio.h>
#include <string.h>

static struct {
	int64_t since;
	int state;
	uint32_t reason;
} g[1 << 22]; /* by goroutine id */

int main(int argc, char **argv)
{
	struct gander_gotrace *t;
	struct gander_gotrace_event ev;
	struct gander_err err;
	double all = 0, net = 0;
	int r;

	if (gander_gotrace_open(&t, argc > 1 ? argv[1] : "-", NULL, &err) < 0)
		return fprintf(stderr, "%s\n", err.text), 1;
	while ((r = gander_gotrace_next(t, &ev, &err)) > 0) {
		uint64_t id = (uint64_t)ev.transition.id % (1 << 22);

		if (ev.kind != GANDER_GOTRACE_STATE_TRANSITION || ev.transition.resource != GANDER_GOTRACE_RES_GOROUTINE)
			continue;
		if (g[id].state > GANDER_GOTRACE_GO_NOT_EXIST) {
			all += (double)(ev.time_ns - g[id].since);
			if (g[id].state == GANDER_GOTRACE_GO_WAITING && !strcmp(gander_gotrace_string(t, g[id].reason), "network"))
				net += (double)(ev.time_ns - g[id].since);
		}
		g[id].since = ev.time_ns;
		g[id].state = ev.transition.to;
		if (ev.transition.from != ev.transition.to) /* else its state is only told again */
			g[id].reason = ev.transition.reason;
	}
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	printf("%.4f %% of %.6f s\n", all > 0 ? 100 * net / all : 0, all / 1e9);
	gander_gotrace_free(t);
	return r < 0;
}
