"""The cases of tests/torture/run, one a way of living that has broken tracers."""
import ctypes
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import time

from sandbox import CTX_ALL, Case

libc = ctypes.CDLL(None, use_errno=True)
ALL = ["mm_cid", "cpu", "pool"]


def stands(pid):
    """Whether each of its threads is stopped."""
    try:
        states = []
        for tid in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, tid)) as f:
                states.append(f.read().rsplit(")", 1)[1].split()[0])
        return set(states) <= {"T"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop_and_go(p, box):
    """Stops the program again and again, and looks at it while it stands."""
    count = os.path.join(box.dir, "count")

    def stage():
        with open(count, "rb") as f:
            return struct.unpack("<III", f.read(12))[2]

    end = time.monotonic() + 120
    while stage() != 1 and time.monotonic() < end and p.poll() is None:
        time.sleep(0.002)
    looks = 0
    for _ in range(10 * box.scale):
        p.send_signal(signal.SIGSTOP)
        # one thread takes the signal, when it gets a CPU; until then the others go on
        while not stands(p.pid) and time.monotonic() < end and p.poll() is None:
            time.sleep(0.001)
        out = subprocess.run([os.path.join(box.top, "look"), count, "/dev/shm"], capture_output=True, text=True)
        if box.lib == "real" and not re.search(r'"missing": 0, .*"twice": 0, "torn": 0, "order": 0', out.stdout):
            looks = out.stdout
        p.send_signal(signal.SIGCONT)
        time.sleep(0.003)
    with open(count, "r+b") as f:
        f.seek(8)
        f.write(struct.pack("<I", 2))
    return looks


def stopped_was_whole(box, r):
    return "while it was stopped: " + str(r["during"]) if r["during"] else None


def memory_cgroup(limit):
    def setup(box):
        for root, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            path = os.path.join(root, "gander-torture-%d" % os.getpid())
            try:
                os.mkdir(path)
                with open(os.path.join(path, name), "w") as f:
                    f.write(str(limit))
                box.cgroup = path
                return None
            except OSError:
                try:
                    os.rmdir(path)
                except OSError:
                    pass
        return "no memory cgroup that can be made here"

    return setup


def enter_cgroup(box):
    with open(os.path.join(box.cgroup, "cgroup.procs"), "w") as f:
        f.write(str(os.getpid()))


def one_cpu(box):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def bounded_memory(limit):
    def after(box, r):
        return "the regions hold %d bytes" % r["memory"] if r["memory"] > limit else None

    return after


def few_regions(n, limit):
    def after(box, r):
        if r["regions"] > n or r["memory"] > limit:
            return "%d regions with %d bytes are left" % (r["regions"], r["memory"])

    return after


def one_region_each(box, r):
    """Whoever was started, and whoever took the program's place, has a region of its own."""
    n = 20 * box.scale + 2
    if box.lib == "real" and r["regions"] != n:
        return "%d regions of %d programs" % (r["regions"], n)


def two_regions(box, r):
    if box.lib == "real" and r["regions"] != 2:
        return "%d regions" % r["regions"]


def full(leave):
    def setup(box):
        box.fill(leave)

    return setup


def limit_files(n):
    def pre(box):
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

    return pre


def no_region(box, r):
    if re.search(r"/gander\.\d+\.[0-9a-f]{16}", r["maps"]):
        return "a region is mapped"


def limit_as(mb):
    def pre(box):
        resource.setrlimit(resource.RLIMIT_AS, (mb << 20, mb << 20))

    return pre


def umask(box):
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)  # root may open what it has no right to
    os.umask(0o777)


# Other tools that look into the program or interrupt it while it emits.
def needs_valgrind(box):
    return None if shutil.which("valgrind") else "no valgrind"


def memcheck(box):
    return ["valgrind", "-q", "--vgdb=no", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
            "--log-file=" + os.path.join(box.dir, "valgrind.%p")]


def memcheck_is_silent(box, r):
    logs = [open(os.path.join(box.dir, f), errors="replace").read() for f in os.listdir(box.dir) if f.startswith("valgrind.")]
    if not logs:
        return "valgrind did not run"
    r["seen"] = " %d processes under memcheck," % len(logs)
    # valgrind 3.19 does not know openat2() and answers ENOSYS, as a kernel before 5.6 does; it says so in five lines
    said = [text for text in (re.sub(r"--\d+-- WARNING: unhandled amd64-linux syscall: 437\n(--\d+-- .*\n){4}", "", log) for log in logs) if text.strip()]
    return "valgrind says: " + said[0][:2000] if said else None


def needs_perf(box):
    if not shutil.which("perf"):
        return "no perf"
    probe = os.path.join(box.dir, "probe")
    p = subprocess.run(["perf", "record", "-q", "-N", "-e", "cpu-clock", "-o", probe, "true"], capture_output=True)
    if p.returncode or not os.path.exists(probe):
        return "perf cannot sample by cpu-clock here"
    with open("/proc/sys/kernel/perf_event_max_sample_rate") as f:
        return None if int(f.read()) >= 10000 else "perf may not take 10,000 samples a second here"


def sampled(rate, graph):
    return lambda box: ["perf", "record", "-q", "-N", "-F", rate, "-e", "cpu-clock:u", "--call-graph", graph, "-o", os.path.join(box.dir, "perf.data")]


def whole_stacks(emitting, caller, share):
    """Of the samples inside gander's own code, those where the caller stands above it. Not those of the constructor: libc, which calls it, has no frame
    pointers, and the collector of garbage is not a caller."""

    def after(box, r):
        out = subprocess.run(["perf", "script", "-i", os.path.join(box.dir, "perf.data"), "-F", "ip,sym,dso", "--no-inline"], capture_output=True, text=True,
                             errors="replace").stdout
        stacks = [s.strip().splitlines() for s in re.split(r"\n\s*\n", out) if s.strip()]
        inside = [s for s in stacks if re.search(emitting, s[0]) and not any(re.search(r" (tracer_make|start|gander__register|_init|_fini|__do_global_\w+) ", x)
                                                                             for x in s)]
        whole = sum(any(re.search(caller, x) for x in s[1:]) for s in inside)
        r["seen"] = " %d samples, %d in gander, %d of them with their callers," % (len(stacks), len(inside), whole)
        if len(inside) < 50:
            return "perf took %d samples in gander" % len(inside)
        if whole < share * len(inside):
            cut = next(s for s in inside if not any(re.search(caller, x) for x in s[1:]))
            return "%d of %d stacks are cut: %s" % (len(inside) - whole, len(inside), " < ".join(x.strip() for x in cut))

    return after


IN_LIBGANDER, IN_THREAD = r"libgander\.so", r" emit_some "
IN_AGENT, IN_GOROUTINE = r" (event|\S+\.(writePlain|writeEvent)\S*) ", r" main\.(run|collecting)\.func"

CASES = [
    Case("plain", "emits, nothing else", writers=ALL),
    Case("off", "GANDER=off", "plain", env={"GANDER": "off"}, off=True),
    Case("every-context", "all context fields and call stacks", "plain", session={"context": CTX_ALL, "packets": 512}),
    Case("close-all", "closes every descriptor and goes on"),
    Case("daemonize", "forks twice, leaves its session, closes everything", daemon=True),
    Case("umask-0777", "a umask that takes every right away", "plain", pre=umask),
    Case("fork", "forks while four threads emit; child, grandchild and parent go on", writers=ALL, session={"packets": 1000}, lossy=True),
    Case("fork-churn", "500 forks, nobody records: what stays is bounded", "fork-churn", session=None, after=few_regions(64, 4 << 20)),
    Case("spawn", "posix_spawn, vfork and exec, exec over running threads", session={"packets": 32}, lossy=True, same=False, after=one_region_each),
    Case("raw-clone", "children of a raw clone: off, the parent goes on", session={"packets": 1000}, lossy=True),
    Case("signals", "handlers at 20 kHz emit in the middle of emits", writers=ALL, session={"packets": 512}),
    Case("longjmps", "handlers leave emits by siglongjmp", session={"packets": 512}),
    Case("cancels", "threads are cancelled in the middle of emits", session={"packets": 1000}, lossy=True),
    Case("small-stacks", "threads and signal stacks of the smallest size, all contexts, log messages", exact=False,
         session={"context": CTX_ALL, "packets": 512}, ignore="^malloc"),
    Case("short-threads", "thousands of threads, three events each", scale=(3, 50), writers=["mm_cid", "pool"], ignore="^malloc"),
    Case("dlopen", "an instrumented library loaded and unloaded, at changing addresses, while others emit", "plugs", scale=(1, 33),
         env={"TORTURE_PLUG": "TOP/libplug.so"}, session={"packets": 1000}, lossy=True, ignore="^malloc"),
    Case("dlopen-libgander", "libgander comes and goes with its library, the program has none", "plugs", exe="victim-dl", scale=(1, 33),
         env={"TORTURE_PLUG": "TOP/libplug.so"}, ignore="^(malloc|map)", exact=False, same=True),
    Case("dlopen-embedded", "a library with libgander inside comes and goes", "plugs", exe="victim-dl", scale=(1, 33),
         env={"TORTURE_PLUG": "TOP/libplug-embed1.so"}, exact=False, same=False, after=few_regions(1, 64 << 20)),
    Case("tls-full", "libgander is loaded when static TLS is used up", exe="victim-dl",
         env={"TORTURE_PLUG": "TOP/libplug.so", "TORTURE_HOG": "TOP/hog"}, ignore="^malloc"),
    Case("two-libraries", "two libraries with libgander inside, and the program's own", env={"TORTURE_PLUG": "TOP/libplug-embed1.so",
         "TORTURE_PLUG2": "TOP/libplug-embed2.so"}, same=False),
    Case("setuid", "gives root up, forks, goes on"),
    Case("seccomp-filter", "only exit and write are left", writers=ALL, session={"packets": 128}),
    Case("seccomp-strict", "strict seccomp forbids the CPU's counter too: GANDER_CLOCK=coarse", writers=ALL, session={"packets": 128},
         env={"GANDER_CLOCK": "coarse"}),
    Case("namespaces", "leaves its pid and mount namespaces"),
    Case("shm-missing", "/dev/shm is not a tmpfs, and there is no other", "plain", shm="missing", off=True),
    Case("shm-read-only", "/dev/shm is read-only", "plain", shm="ro", off=True),
    Case("shm-full", "/dev/shm is full from the start", "plain", shm="1m", setup=full(0), off=True),
] + [
    Case("shm-left-%d" % n, "/dev/shm has %d pages left at the start" % n, "fork", shm="4m", setup=full(n), lossy=True, exact=False,
         same=False, session={"packets": 4}, quiet=True)
    for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48)
] + [
    Case("shm-fills", "/dev/shm is filled while it emits, forks and declares", shm="16m", session={"packets": 8}, lossy=True, exact=False),
    Case("shm-64m", "/dev/shm has 64 MB", "fork", shm="64m", session={"packets": 256}, lossy=True, scale=(3, 20)),
    Case("rlimit-as", "RLIMIT_AS of 40 MB", "plain", pre=limit_as(40), session={"packets": 32}),
    Case("rlimit-as-tiny", "RLIMIT_AS of 12 MB: off, and said", "plain", pre=limit_as(12), off=True, ignore="^malloc", after=no_region),
    Case("rlimit-nofile", "three descriptors are open, and two more may be: off, and said", "plain", pre=limit_files(5), off=True, after=no_region),
] + [
    Case("rlimit-as-%d" % mb, "RLIMIT_AS of %d MB: what the program needs is left" % mb, "plain", pre=limit_as(mb), session={"packets": 32}, quiet=True, ignore="^malloc")
    for mb in (14, 17, 20, 24, 28, 30)
] + [
    Case("mlockall", "locks all its memory, in a /dev/shm of 64 MB", shm="64m", session={"packets": 64}, lossy=True,
         after=bounded_memory(40 << 20)),
    Case("memory-cgroup", "a memory cgroup at its limit", "memory-limit", setup=memory_cgroup(24 << 20), pre=enter_cgroup,
         env={"TORTURE_MB": "12"}, session={"packets": 512}, lossy=True, ignore=r"^malloc \d+ mapped"),
    Case("one-cpu", "eight threads on one CPU", "threads", pre=one_cpu, writers=ALL),
    Case("stopped", "SIGSTOP again and again, read while it stands", writers=ALL, during=stop_and_go, after=stopped_was_whole,
         session={"packets": 1000}, lossy=True),
    Case("malloc-replaced", "a malloc of its own: the same number of calls", "mallocs", env={"LD_PRELOAD": "TOP/libmymalloc.so"}, ignore="^malloc"),
    Case("malloc-traced", "a malloc that is itself traced", "mallocs", env={"LD_PRELOAD": "TOP/libmymalloc-traced.so"}, exact=False,
         session={"packets": 512}, ignore="^malloc"),
    Case("double-free", "a planted double free is found as without gander", status=-6, stderr="double free detected", session={"packets": 64}),
    Case("exits", "exit() while four threads emit", session={"packets": 1000}, lossy=True),
    # valgrind offers no restartable sequences: whatever is asked for, this is the writer of the pool
    Case("valgrind", "under valgrind's memcheck, all contexts and call stacks", "plain", wrap=memcheck, setup=needs_valgrind, after=memcheck_is_silent,
         session={"context": CTX_ALL, "packets": 512}),
    Case("valgrind-threads", "eight threads under memcheck", "threads", wrap=memcheck, setup=needs_valgrind, after=memcheck_is_silent, scale=(1, 5),
         session={"packets": 512}),
    Case("valgrind-setuid", "under memcheck, gives root up, forks, goes on", "setuid", wrap=memcheck, setup=needs_valgrind, after=memcheck_is_silent),
    Case("valgrind-fork", "under memcheck, forks while four threads emit", "fork", wrap=memcheck, setup=needs_valgrind, after=memcheck_is_silent, long=True,
         session={"packets": 1000}, lossy=True, scale=(1, 1)),
    Case("perf", "perf interrupts it as often as it can", "threads", wrap=sampled("max", "fp"), setup=needs_perf, scale=(2, 10), writers=ALL,
         session={"packets": 512}, after=whole_stacks(IN_LIBGANDER, IN_THREAD, 0.95)),
    Case("perf-dwarf", "perf copies its stack, and unwinds it by the call frame information", "threads", wrap=sampled("10000", "dwarf"), setup=needs_perf,
         scale=(20, 100), lossy=True, session={"packets": 512}, after=whole_stacks(IN_LIBGANDER, IN_THREAD, 0.9)),
] + [
    Case("go-" + name, "Go: " + what, victim, go="govictim", **k)
    for name, what, victim, k in (
        ("plain", "emits, nothing else", "plain", {}),
        ("off-context", "all context fields and call stacks", "plain", {"session": {"context": CTX_ALL, "packets": 512}}),
        ("close", "closes its standard descriptors while four goroutines emit", "close-all", {"session": {"packets": 512}, "lossy": True}),
        ("goroutines", "100,000 goroutines, a thousand at a time", "goroutines", {"scale": (1, 2), "session": {"packets": 512}}),
        ("gomaxprocs", "GOMAXPROCS between 1 and 128 while eight goroutines emit", "procs", {"session": {"packets": 1000}, "lossy": True}),
        ("gc", "the garbage collector runs all the time", "gc", {"session": {"packets": 1000}, "lossy": True}),
        ("perf", "perf interrupts it 20,000 times a second, garbage is collected all the time", "gc", {"setup": needs_perf, "wrap": sampled("20000", "fp"),
         "session": {"packets": 1000}, "lossy": True, "after": whole_stacks(IN_AGENT, IN_GOROUTINE, 0.95)}),
        ("exec", "os/exec while four goroutines emit; the children emit", "exec", {"session": {"packets": 512}, "lossy": True}),
        ("signals", "signal.Notify, and a signal every now and then", "signals", {"session": {"packets": 1000}, "lossy": True}),
        ("locked-threads", "goroutines with threads of their own, which end with them", "locked", {}),
        ("panics", "faults that become panics, events in what is deferred", "panics", {}),
        ("stopped", "SIGSTOP again and again, read while it stands", "stopped",
         {"during": stop_and_go, "after": stopped_was_whole, "session": {"packets": 1000}, "lossy": True}),
        ("umask-0777", "a umask that takes every right away", "plain", {"pre": umask}),
        ("seccomp", "no file, clock, lock or socket any more", "seccomp", {"session": {"packets": 512}, "lossy": True}),
        ("shm-missing", "/dev/shm is not a tmpfs, and there is no other", "plain", {"shm": "missing", "off": True}),
        ("shm-read-only", "/dev/shm is read-only", "plain", {"shm": "ro", "off": True}),
        ("shm-full", "/dev/shm is full from the start", "plain", {"shm": "1m", "setup": full(0), "off": True}),
        ("shm-fills", "/dev/shm is filled while it emits and declares", "shm-fills",
         {"shm": "16m", "session": {"packets": 8}, "lossy": True, "exact": False}),
        ("shm-64m", "/dev/shm has 64 MB", "gc", {"shm": "64m", "session": {"packets": 256}, "lossy": True}),
        ("one-cpu", "one CPU", "procs", {"pre": one_cpu, "session": {"packets": 1000}, "lossy": True}),
        ("rlimit-as", "RLIMIT_AS of 1 GB", "plain", {"pre": limit_as(1024)}),
    )
] + [
    Case("go-and-c", "Go and C in one program: two regions", "and-c", go="govictim-c", session={"packets": 512}, after=two_regions),
    Case("go-c-shared", "a library in Go and C, loaded by a Python program", "and-c", go="pyhost", session={"packets": 512}, after=two_regions),
    Case("main-thread-leaves", "the first thread ends, another goes on", "main-leaves", ignore="^threads"),
]
