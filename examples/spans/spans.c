/* Spans in C: work that has a begin and an end, inside other such work, on several threads.
 *
 *     gander record -o /tmp/spans -- ./spans && gander report /tmp/spans
 */
#include <gander/gander.h>

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static const struct gander_label colors[] = { { "red", 0, 0 }, { "green", 1, 1 }, { "blue", 2, 9 } };

GANDER_SPAN(batch, "spans.batch", GANDER_INFO, GANDER_FIELDS((u32, worker)), GANDER_FIELDS((u32, items)))
GANDER_SPAN(item, "spans.item", GANDER_DEBUG, GANDER_FIELDS((u32, number)), GANDER_FIELDS((boolean, good)))
GANDER_EVENT(painted, "spans.painted", GANDER_DEBUG, (enumeration, color, colors), (seq_u32, sizes))

static void *work(void *arg)
{
	unsigned int worker = *(unsigned int *)arg, b, i;
	uint32_t sizes[3];

	for (b = 0; b < 10; b++) {
		struct gander_span outer = batch_begin(worker);

		for (i = 0; i < 20; i++) {
			struct gander_span inner = item_begin(i); /* its parent is outer */

			usleep(100 + 50 * (i % 4));
			sizes[0] = sizes[1] = sizes[2] = i;
			painted((int)(i % 3), sizes, 1 + i % 3);
			item_end(&inner, i % 7 != 0);
		}
		batch_end(&outer, i);
	}
	return NULL;
}

int main(void)
{
	unsigned int numbers[2] = { 0, 1 }, i;
	pthread_t thread[2];

	for (i = 0; i < 2; i++)
		if (pthread_create(&thread[i], NULL, work, &numbers[i]))
			return 1;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	gander_logf(GANDER_NOTICE, "%u workers are done", i);
	printf("done\n");
	return 0;
}
