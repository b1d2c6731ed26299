/* The tortured program: victim CASE [SCALE]. Each case is a way in which programs live that has broken tracers. What it emitted stands in the
 * file of TORTURE_COUNT; its state (threads, descriptors, handlers, mappings, what malloc gives) goes to the file of TORTURE_STATE.
 * VICTIM_DL builds the same without a link to libgander: it meets gander only by dlopen. WITH_LTTNG builds it with LTTng-UST's tracepoints (tests/torture/lttng). */
#include "torture.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(VICTIM_DL) || defined(WITH_LTTNG)
#define GANDER_INFO 6
#define gander_logf(...)
#define gander_off_reason() ((const char *)0)
#endif
#if defined(VICTIM_DL)
#define on_step(writer, n, check) ((void)(n))
#define on_text(writer, n, text)  ((void)(n))
#elif defined(WITH_LTTNG)
static uint32_t in_event(uint32_t check);
#define TORTURE_IN_EVENT(check) in_event(check)
#define LTTNG_UST_TRACEPOINT_DEFINE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#include "lttng_tp.h"
#define on_step(writer, n, check) lttng_ust_tracepoint(torture, step, writer, n, check)
#define on_text(writer, n, str)   lttng_ust_tracepoint(torture, text, writer, n, str)
#else
#include "gander/gander.h"

GANDER_EVENT(on_step, "torture.step", GANDER_INFO, (u32, writer), (u64, n), (u32, check))
GANDER_EVENT(on_text, "torture.text", GANDER_INFO, (u32, writer), (u64, n), (str, text))
#endif

extern char **environ;
static struct count_file *file;
static const char *self, *state_path;
static long scale = 1;
static uint64_t heap_start;
static volatile bool stop;

static void fail(const char *what)
{
	if (!file->failed++)
		snprintf(file->note, sizeof(file->note), "%s: %s", what, strerror(errno));
}

static uint32_t new_writer(void)
{
	uint32_t w = __atomic_fetch_add(&file->writers, 1, __ATOMIC_RELAXED) % WRITERS;

	file->writer[w].pid = (uint32_t)getpid();
	file->writer[w].off = gander_off_reason() != NULL; /* said to be off: then nothing may be recorded */
	return w;
}

static useconds_t pause_us; /* TORTURE_PAUSE_US: after each thousand events of a thread */

static void emit(uint32_t w, uint64_t count)
{
	struct count_writer *cw = &file->writer[w];

#ifdef VICTIM_DL
	return; /* has no events */
#endif
	for (; count; count--) {
		uint64_t n = cw->n;

		if (n % 8 == 7)
			on_text(w, n, torture_texts[n / 8 % 4]);
		else
			on_step(w, n, CHECK_OF(n));
		__atomic_store_n(&cw->n, n + 1, __ATOMIC_RELAXED);
		if (pause_us && n % 1000 == 999)
			usleep(pause_us);
	}
}

static void *emitter(void *arg)
{
	uint32_t w = new_writer();

	while (!stop) {
		emit(w, 64);
		usleep(50);
	}
	return NULL;
}

static void *emit_some(void *arg)
{
	emit(new_writer(), (uint64_t)(long)arg);
	return NULL;
}

/* ------------------------------------------------------------------ the program's state */

static void put_file(FILE *to, const char *title, const char *path, const char *keep)
{
	char line[512], word[64];
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (!keep || (sscanf(line, "%63[^: \t]", word) == 1 && strstr(keep, word)))
			fprintf(to, "%s %s", title, line);
	if (f)
		fclose(f);
}

static void write_state(void)
{
	struct dirent *e;
	char path[300], link[300];
	FILE *to;
	DIR *d;
	ssize_t n;
	int i;

	if (!state_path)
		return;
	to = fopen(state_path, "we");
	if (!to)
		return;
	for (i = 0, d = opendir("/proc/self/task"); d && (e = readdir(d));)
		i += e->d_name[0] != '.';
	if (d)
		closedir(d);
	fprintf(to, "threads %d\n", i);
	for (d = opendir("/proc/self/fd"); d && (e = readdir(d));) {
		snprintf(path, sizeof(path), "/proc/self/fd/%.20s", e->d_name);
		n = e->d_name[0] == '.' ? -1 : readlink(path, link, sizeof(link) - 1);
		if (n < 0 || atoi(e->d_name) == dirfd(d) || atoi(e->d_name) == fileno(to))
			continue;
		link[n] = 0;
		fprintf(to, "fd %s %s\n", e->d_name, strncmp(link, "pipe:", 5) && strncmp(link, "socket:", 7) ? link : "pipe");
	}
	if (d)
		closedir(d);
	put_file(to, "status", "/proc/self/status", "SigBlk SigIgn SigCgt SigPnd Umask Uid Gid CapEff Seccomp NoNewPrivs");
	put_file(to, "limits", "/proc/self/limits", NULL);
	fprintf(to, "locale %s\nerrno %d\n", setlocale(LC_ALL, NULL), errno);
	for (i = 1; i < 65; i++) {
		struct sigaction sa;

		if (i != 32 && i != 33 && !sigaction(i, NULL, &sa) && (sa.sa_handler != SIG_DFL || sa.sa_flags))
			fprintf(to, "signal %d %d %x\n", i, sa.sa_handler == SIG_IGN ? 1 : 2, sa.sa_flags);
	}
	for (i = 0; environ[i]; i++)
		if (strncmp(environ[i], "GANDER_SESSION=", 15) && strncmp(environ[i], "LD_LIBRARY_PATH=", 16) && strncmp(environ[i], "TORTURE_", 8))
			fprintf(to, "env %s\n", environ[i]);
	/* what malloc gives from the heap: exactly; from mappings: how far apart */
	for (i = 0; i < 24; i++) {
		static uint64_t big;
		size_t size = (size_t)1 << i;
		uint64_t p = (uint64_t)(uintptr_t)malloc(size);

		if (p >= heap_start && p < (uint64_t)(uintptr_t)sbrk(0))
			fprintf(to, "malloc %zu heap+%lx\n", size, p - heap_start);
		else
			fprintf(to, "malloc %zu mapped%+ld\n", size, big ? (long)(big - p) : 0), big = p;
	}
	fclose(to);
	snprintf(path, sizeof(path), "%s.maps", state_path);
	to = fopen(path, "we");
	if (to) {
		put_file(to, "map", "/proc/self/maps", NULL);
		fclose(to);
	}
}

static void stage(uint32_t n)
{
	__atomic_store_n(&file->stage, n, __ATOMIC_RELEASE);
}

static void wait_stage(uint32_t n)
{
	while (__atomic_load_n(&file->stage, __ATOMIC_ACQUIRE) < n)
		usleep(500);
}

/* ------------------------------------------------------------------ cases */

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

static void plain(void)
{
	emit(new_writer(), 20000);
	/* it would dangle once the code is unloaded, and the kernel would kill the thread */
	if (&__rseq_size && __rseq_size && *(volatile uint64_t *)((char *)__builtin_thread_pointer() + __rseq_offset + 8))
		fail("rseq_cs is left");
	errno = 4711;
	emit(0, 1);
	if (errno != 4711)
		fail("errno changed");
	write_state();
}

static void close_all(void)
{
	uint32_t w = new_writer();

	emit(w, 1000);
	if (syscall(SYS_close_range, 0, ~0u, 0))
		fail("close_range");
	emit(w, 1000);
	write_state();
}

static void daemonize(void)
{
	uint32_t w = new_writer();

	emit(w, 1000);
	if (fork())
		_exit(0);
	setsid();
	w = new_writer();
	emit(w, 1000);
	if (fork())
		_exit(0);
	if (chdir("/"))
		fail("chdir");
	umask(0);
	syscall(SYS_close_range, 0, ~0u, 0);
	open("/dev/null", O_RDWR);
	dup(0);
	dup(0);
	w = new_writer();
	emit(w, 1000);
	write_state();
}

static void start_emitters(pthread_t *th, int n)
{
	uint32_t before = file->writers;
	int i;

	stop = false;
	for (i = 0; i < n; i++)
		if ((errno = pthread_create(&th[i], NULL, emitter, NULL)))
			fail("pthread_create");
	while (__atomic_load_n(&file->writers, __ATOMIC_ACQUIRE) < before + (uint32_t)n)
		usleep(100);
}

static void join(pthread_t *th, int n)
{
	int i;

	stop = true;
	for (i = 0; i < n; i++)
		pthread_join(th[i], NULL);
}

static void fork_many(void)
{
	pthread_t th[4];
	int i, status;

	start_emitters(th, 4);
	for (i = 0; i < 20 * scale; i++) {
		pid_t pid = fork();

		if (!pid) {
			emit(new_writer(), 500);
			if (i == 0)
				write_state();
			if (i % 4 == 0 && !fork()) { /* and its child */
				emit(new_writer(), 500);
				_exit(0);
			}
			while (wait(NULL) > 0)
				;
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			fail("a forked child died");
	}
	join(th, 4);
}

/* A server that forks for every request, with nobody recording: what is left of the children? */
static void fork_churn(void)
{
	struct timespec a, b;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < 500 * scale; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	file->extra[0] = (uint64_t)((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000) / (uint64_t)(500 * scale);
	write_state();
}

static void spawn(void)
{
	char name[] = "leaf", *leaf[] = { (char *)(uintptr_t)self, name, NULL };
	pthread_t th[2];
	int i, status;
	pid_t pid;

	start_emitters(th, 2);
	for (i = 0; i < 10 * scale; i++) {
		if (posix_spawn(&pid, self, NULL, NULL, leaf, environ) || waitpid(pid, &status, 0) != pid || status)
			fail("posix_spawn");
		pid = vfork();
		if (!pid) {
			execv(self, leaf);
			_exit(1);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			fail("vfork and exec");
	}
	write_state();
	execv(self, leaf); /* the threads die where they are */
}

static void leaf(void)
{
	emit(new_writer(), 100);
}

static void raw_clone(void)
{
	uint32_t w = new_writer();
	pthread_t th[2];
	int i, status;

	start_emitters(th, 2);
	for (i = 0; i < 10 * scale; i++) {
		pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

		if (!pid) {
			uint32_t c = new_writer();

			file->writer[c].off = 1;
			emit(c, 500);
			gander_logf(GANDER_ALERT, "declared where there is no region");
			_exit(0);
		}
		emit(w, 100);
		if (waitpid(pid, &status, 0) != pid || status)
			fail("a cloned child died");
	}
	join(th, 2);
	write_state();
}

static __thread volatile uint32_t signal_writer;
static __thread sigjmp_buf jump;
static __thread volatile bool may_jump;

static void on_signal(int sig)
{
	emit(signal_writer, 1);
	if (may_jump && file->writer[signal_writer].n % 4 == 0)
		siglongjmp(jump, 1);
}

static timer_t start_timer(int sig, long ns)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig };
	struct itimerspec it = { { 0, ns }, { 0, ns } };
	timer_t timer;

	ev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) || timer_settime(timer, 0, &it, NULL))
		fail("timer");
	return timer;
}

static void *signalled(void *arg)
{
	uint32_t w = new_writer();
	timer_t t;

	signal_writer = new_writer();
	t = start_timer(SIGUSR1, 50000);
	emit(w, (uint64_t)(20000 * scale));
	timer_delete(t);
	return NULL;
}

static void signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t th[4];
	int i;

	sigaction(SIGUSR1, &sa, NULL);
	for (i = 0; i < 4; i++)
		pthread_create(&th[i], NULL, signalled, NULL);
	join(th, 4);
	write_state();
}

/* The handler leaves by siglongjmp: the event that it interrupted may never happen, and nothing else may suffer. */
static void longjmps(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	uint32_t w = new_writer();
	volatile uint64_t i;
	timer_t t;

	signal_writer = new_writer();
	sigaction(SIGUSR1, &sa, NULL);
	t = start_timer(SIGUSR1, 50000);
	for (i = 0; i < (uint64_t)(30 * scale); i++) {
		if (!sigsetjmp(jump, 1)) {
			may_jump = true;
			for (;;)
				emit(w, 1);
		}
		may_jump = false;
		/* emitted or not: its number is not used again */
		file->writer[w].n++;
		file->writer[w].excuse++;
	}
	timer_delete(t);
	emit(w, 10000);
	write_state();
}

static void *cancelled(void *arg)
{
	uint32_t w = new_writer();

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	file->writer[w].excuse = 1;
	for (;;)
		emit(w, 1);
	return NULL;
}

static void cancels(void)
{
	int i;

	for (i = 0; i < 50 * scale; i++) {
		pthread_t th;

		pthread_create(&th, NULL, cancelled, NULL);
		usleep((unsigned)(i % 7) * 30);
		pthread_cancel(th);
		pthread_join(th, NULL);
	}
	emit(new_writer(), 10000);
	write_state();
}

static void *on_small_stack(void *arg)
{
	static char signal_stack[64][16384] __attribute__((aligned(16)));
	stack_t ss = { .ss_sp = signal_stack[(long)arg % 64], .ss_size = MINSIGSTKSZ > 4096 ? (size_t)MINSIGSTKSZ : 4096 };

	signal_writer = new_writer();
	sigaltstack(&ss, NULL);
	emit(new_writer(), 50);
	raise(SIGUSR1);
	gander_logf(GANDER_INFO, "from a small stack %d", 1);
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, NULL);
	return NULL;
}

static void small_stacks(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	pthread_attr_t attr;
	int i, k;

	sigaction(SIGUSR1, &sa, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN);
	for (i = 0; i < 20 * scale; i++) {
		pthread_t th[16];

		for (k = 0; k < 16; k++)
			if ((errno = pthread_create(&th[k], &attr, on_small_stack, (void *)(long)(i * 16 + k))))
				fail("pthread_create");
		for (k = 0; k < 16; k++)
			pthread_join(th[k], NULL);
	}
	write_state();
}

static void short_threads(void)
{
	long i, k;

	for (i = 0; i < 100 * scale; i++) {
		pthread_t th[20];

		for (k = 0; k < 20; k++)
			if ((errno = pthread_create(&th[k], NULL, emit_some, (void *)3l)))
				fail("pthread_create");
		for (k = 0; k < 20; k++)
			pthread_join(th[k], NULL);
	}
	write_state();
}

static void plug_once(const char *path, uint32_t w)
{
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void (*plug)(struct count_writer *, uint32_t);

	if (!lib) {
		errno = 0;
		fail(dlerror());
		return;
	}
	plug = (void (*)(struct count_writer *, uint32_t))dlsym(lib, "plug_emit");
	plug(&file->writer[w], w);
	dlclose(lib);
}

/* PLUG: the library. Between two loads something else takes its address now and then. */
static void plugs(void)
{
	const char *path = getenv("TORTURE_PLUG");
	uint32_t w = new_writer();
	pthread_t th[2];
	char *hole = NULL;
	int i;

	start_emitters(th, 2);
	plug_once(path, w);
	for (i = 1; i < 300 * scale; i++) {
		plug_once(path, w);
		if (i % 10 == 0 && i < 2000)
			hole = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	(void)hole;
	join(th, 2);
	write_state();
}

static void tls_full(void)
{
	char path[300];
	int i, loaded = 0;

	/* all of the surplus, by libraries of 64, then of 8 bytes */
	for (i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "%s%d.so", getenv("TORTURE_HOG"), i);
		loaded += dlopen(path, RTLD_NOW) != NULL;
	}
	file->extra[0] = (uint64_t)loaded;
	if (loaded == 0 || loaded == 200)
		fail("static TLS is not used up");
	plug_once(getenv("TORTURE_PLUG"), new_writer());
	write_state();
}

static void become_nobody(void)
{
	uint32_t w = new_writer();

	emit(w, 1000);
	if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
		fail("setuid");
	emit(w, 1000);
	if (!fork()) {
		emit(new_writer(), 500);
		_exit(0);
	}
	wait(NULL);
	emit(w, 1000);
	write_state();
}

/* Only four system calls are left, and gander needs none. The strict mode of seccomp forbids the CPU's counter too: see
 * docs/reliability.md. */
static void seccomp_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
	uint32_t w = new_writer();

	emit(w, 1000);
	write_state();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		fail("seccomp");
	emit(w, 50000);
	file->done = 1;
	syscall(SYS_exit_group, 0);
}

static void seccomp_strict(void)
{
	uint32_t w = new_writer();

	emit(w, 1000);
	write_state();
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		fail("seccomp");
	emit(w, 50000);
	file->done = 1;
	syscall(SYS_exit, 0);
}

static void namespaces(void)
{
	uint32_t w = new_writer();
	int status;

	emit(w, 1000);
	if (unshare(CLONE_NEWPID | CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		fail("unshare");
	emit(w, 1000);
	if (!fork()) {
		/* pid 1 of its own world, still with the old /dev/shm */
		emit(new_writer(), 500);
		_exit(0);
	}
	wait(&status);
	emit(w, 1000);
	write_state();
}

static void fill_shm(void)
{
	static char block[65536];
	int fd = open("/dev/shm/filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	size_t n = sizeof(block);

	for (;;) {
		ssize_t r = write(fd, block, n);

		if (r < 0 && n > 1)
			n /= 2;
		else if (r < 0)
			break;
	}
	close(fd);
}

/* The tmpfs fills up while the program runs: losses, never a SIGBUS. */
static void shm_fills(void)
{
	uint32_t w = new_writer(), i;
	int status;

	emit(w, 1000);
	fill_shm();
	emit(w, 200000);
	for (i = 0; i < 5; i++) {
		if (!fork()) {
			emit(new_writer(), 100);
			_exit(0);
		}
		wait(&status);
		if (status)
			fail("a forked child died");
	}
#if !defined(VICTIM_DL) && !defined(WITH_LTTNG)
	/* late declarations ask for memory that is not there */
	for (i = 0; i < 300; i++) {
		const struct gander_field f = { "a", GANDER_T_U32, 0, 0, 0, 0, NULL, NULL };
		char name[64];

		snprintf(name, sizeof(name), "late.class.with.a.rather.long.name.%u", i);
		gander_declare(name, GANDER_INFO, 0, &f, 1);
	}
	gander_logf(GANDER_INFO, "a class of its own");
#endif
	unlink("/dev/shm/filler");
	write_state();
}

static void lock_memory(void)
{
	uint32_t w = new_writer();

	emit(w, 1000);
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		fail("mlockall");
	emit(w, 20000);
	if (!fork()) {
		emit(new_writer(), 500);
		_exit(0);
	}
	wait(NULL);
	write_state();
}

static void threads_only(void)
{
	pthread_t th[8];
	int i;

	for (i = 0; i < 8; i++)
		pthread_create(&th[i], NULL, emit_some, (void *)(long)(10000 * scale));
	join(th, 8);
	write_state();
}

/* Takes all memory that the cgroup has, file cache included, and goes on emitting at the limit. */
static void memory_limit(void)
{
	uint32_t w = new_writer();
	size_t mb = (size_t)atol(getenv("TORTURE_MB")), i;
	char *p;

	emit(w, 1000);
	p = mmap(NULL, mb << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < mb << 20; i += 4096) {
		p[i] = 1;
		if (i % (1 << 20) == 0)
			emit(w, 1000);
	}
	emit(w, 100000);
	write_state();
}

static void stopped(void)
{
	pthread_t th[4];

	start_emitters(th, 4);
	stage(1);
	wait_stage(2);
	join(th, 4);
	write_state();
}

/* More threads than CPUs, pre-empted in the middle of events all the time. */
static void crowd(void)
{
	pthread_t th[32];

	start_emitters(th, 32);
	stage(1);
	wait_stage(2);
	join(th, 32);
	write_state();
}

#ifdef WITH_LTTNG
static bool go_no_further;

/* A field's value is worked out between reserve and commit: a writer can be stopped or killed right there. */
static uint32_t in_event(uint32_t check)
{
	if (go_no_further) {
		stage(2);
		for (;;)
			pause();
	}
	return check;
}

static void caught(void)
{
	uint32_t w = new_writer();
	cpu_set_t cpus, first;
	int i;

	CPU_ZERO(&first);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	for (i = 0; i < CPU_SETSIZE && !CPU_ISSET(i, &cpus); i++)
		;
	CPU_SET(i, &first);
	sched_setaffinity(0, sizeof(first), &first);
	emit(w, 1000);
	if (getenv("TORTURE_CHILD")) {
		if (fork()) {
			wait_stage(3);
			return;
		}
		w = new_writer();
		emit(w, 1000);
	}
	file->extra[0] = (uint64_t)getpid();
	go_no_further = true;
	emit(w, 1);
}
#endif

static void *malloc_hard(void *arg)
{
	int i;

	for (i = 0; i < 20000; i++)
		free(malloc((size_t)(i % 300)));
	return NULL;
}

static void mallocs(void)
{
	pthread_t th[4];
	uint64_t *calls = dlsym(RTLD_DEFAULT, "mymalloc_calls");
	int i;

	for (i = 0; i < 4; i++)
		pthread_create(&th[i], NULL, malloc_hard, NULL);
	join(th, 4);
	emit(new_writer(), 10000);
	file->extra[0] = calls ? *calls : 0;
	write_state();
}

static void double_free(void)
{
	char *p = malloc(100), *again;

	emit(new_writer(), 1000);
	write_state();
	file->done = 1;
	again = p;
	free(p);
	__asm__ volatile(""
			 : "+r"(again)); /* the compiler would see it too */
	free(again);                     /* the planted mistake */
}

/* exit() while others emit: destructors run, threads do not stop. */
static void exits(void)
{
	pthread_t th[4];

	start_emitters(th, 4);
	usleep(3000);
	write_state();
}

static void main_thread_leaves(void)
{
	pthread_t th[1];

	pthread_create(&th[0], NULL, emit_some, (void *)20000l);
	write_state();
	file->done = 1;
	pthread_exit(NULL);
}

static void two_libraries(void)
{
	uint32_t w = new_writer();
	void *a = dlopen(getenv("TORTURE_PLUG"), RTLD_NOW | RTLD_LOCAL), *b = dlopen(getenv("TORTURE_PLUG2"), RTLD_NOW | RTLD_LOCAL);
	void (*plug_a)(struct count_writer *, uint32_t) = a ? (void (*)(struct count_writer *, uint32_t))dlsym(a, "plug_emit") : NULL;
	void (*plug_b)(struct count_writer *, uint32_t) = b ? (void (*)(struct count_writer *, uint32_t))dlsym(b, "plug_emit") : NULL;
	int i;

	if (!plug_a || !plug_b) {
		fail("dlopen");
		return;
	}
	for (i = 0; i < 1000; i++) {
		plug_a(&file->writer[w], w);
		plug_b(&file->writer[w], w);
		emit(w, 1);
	}
	if (!fork()) {
		w = new_writer();
		for (i = 0; i < 100; i++) {
			plug_a(&file->writer[w], w);
			plug_b(&file->writer[w], w);
			emit(w, 1);
		}
		_exit(0);
	}
	wait(NULL);
	write_state();
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "plain", plain },
	{ "close-all", close_all },
	{ "daemonize", daemonize },
	{ "fork", fork_many },
	{ "fork-churn", fork_churn },
	{ "spawn", spawn },
	{ "leaf", leaf },
	{ "raw-clone", raw_clone },
	{ "signals", signals },
	{ "longjmps", longjmps },
	{ "cancels", cancels },
	{ "small-stacks", small_stacks },
	{ "short-threads", short_threads },
	{ "plugs", plugs },
	{ "tls-full", tls_full },
	{ "setuid", become_nobody },
	{ "seccomp-filter", seccomp_filter },
	{ "seccomp-strict", seccomp_strict },
	{ "namespaces", namespaces },
	{ "shm-fills", shm_fills },
	{ "mlockall", lock_memory },
	{ "threads", threads_only },
	{ "memory-limit", memory_limit },
	{ "stopped", stopped },
	{ "crowd", crowd },
#ifdef WITH_LTTNG
	{ "caught", caught },
#endif
	{ "mallocs", mallocs },
	{ "double-free", double_free },
	{ "exits", exits },
	{ "main-leaves", main_thread_leaves },
	{ "two-libraries", two_libraries },
};

int main(int argc, char **argv)
{
	const char *path = getenv("TORTURE_COUNT"), *pause = getenv("TORTURE_PAUSE_US");
	unsigned i;
	int fd;

	pause_us = pause ? (useconds_t)atoi(pause) : 0;

	heap_start = (uint64_t)(uintptr_t)sbrk(0) & ~0xfffffffull;
	setlocale(LC_ALL, "");
	self = argv[0];
	state_path = getenv("TORTURE_STATE");
	fd = path && argc >= 2 ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return 2;
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (argc > 2)
		scale = atol(argv[2]);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(cases[i].name, argv[1])) {
			cases[i].run();
			if (strcmp(argv[1], "leaf"))
				__atomic_store_n(&file->done, 1, __ATOMIC_RELEASE);
			return 0;
		}
	return 2;
}
