/* liblttng-ust without a tracer in it, under each of its names: every tracepoint stays off. A program that runs with this one is the program without LTTng. */
struct lttng_ust_registered_probe;
struct lttng_ust_probe_desc;

struct lttng_ust_registered_probe *lttng_ust_probe_register(const struct lttng_ust_probe_desc *desc)
{
	return (struct lttng_ust_registered_probe *)1;
}

void lttng_ust_probe_unregister(struct lttng_ust_registered_probe *probe)
{
}
