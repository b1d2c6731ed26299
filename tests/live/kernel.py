#!/usr/bin/env python3
"""kernel.py GANDER WAKES: `record --kernel` against programs whose waits are known, babeltrace2, perf sched timehist and strace."""
import collections
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

GANDER, WAKES = (os.path.abspath(p) for p in sys.argv[1:3])
ONLY = sys.argv[3] if len(sys.argv) > 3 else ""
TOP = tempfile.mkdtemp(prefix="gander-kernel-")
os.chmod(TOP, 0o755)
ROUNDS = 120
# of each CPU; of many a gigabyte in all
BUFFER = "%dM" % max(4, 32 >> max(0, (os.cpu_count() - 1).bit_length() - 5))
CASES = []
checks = 0
running = []


class Skip(Exception):
    pass


def case(fn):
    CASES.append(fn)
    return fn


def check(what, good, more=""):
    global checks
    checks += 1
    if not good:
        raise AssertionError("%s %s" % (what, more))


def gander(*args, status=0):
    r = subprocess.run([GANDER, *map(str, args)], capture_output=True, text=True, timeout=120)
    if status is not None and r.returncode != status:
        raise AssertionError("gander %s: status %d instead of %d\n%s%s" % (" ".join(map(str, args)), r.returncode, status, r.stdout, r.stderr))
    return r


def need(tool):
    if not shutil.which(tool):
        raise Skip("no " + tool)


def manifest(d):
    with open(d + "/gander.json") as f:
        return json.load(f)


def events(d, *args):
    """Of a recording, with the fields that all of them have at the top."""
    with subprocess.Popen([GANDER, "events", d, "--json", *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        for line in p.stdout:
            e = json.loads(line)
            if "event" in e:  # not a loss
                yield e


def started(p):
    """A process that is ended with the case, however that ends."""
    running.append(p)
    return p


def end_all():
    while running:
        p = running.pop()
        if p.poll() is None:
            p.kill()
            p.wait()


class Wakes:
    def __init__(self, wrap=(), rounds=ROUNDS, cpus=None):
        online = sorted(os.sched_getaffinity(0))
        cpus = cpus or (online[0], online[-1])
        self.p = started(subprocess.Popen([*wrap, WAKES, str(cpus[0]), str(cpus[1]), str(rounds), TOP + "/file"], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, text=True))
        m = re.match(r"pid (\d+) a (\d+) b (\d+)", self.p.stdout.readline())
        self.pid, self.a, self.b = map(int, m.groups())

    def run(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        check("the program has done its rounds", self.p.stdout.readline() == "done\n")

    def end(self):
        self.p.stdin.close()
        self.p.wait()


def recorded(name, *args, stop=True):
    """A recording in the background, once it has begun."""
    d = os.path.join(TOP, name)
    p = started(subprocess.Popen([GANDER, "record", "--json", "-o", d, "--kernel-buffer", BUFFER, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for _ in range(12000):
        if os.path.exists(d + "/gander.json") or p.poll() is not None:
            break
        time.sleep(0.01)
    return d, p


def load():
    """Of the last minute, or of now: what has just begun is not in the former yet."""
    with open("/proc/loadavg") as f:
        words = f.read().split()
    return max(float(words[0]), int(words[3].split("/")[0]))


def finished(p, status=0):
    if p.poll() is None:
        p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=120)
    if p.returncode == 3 and status == 0 and json.loads(out)["kernel"]["lost"] and load() > 4 * os.cpu_count():
        raise Skip("the machine is too busy: %d kernel events lost at a load of %.0f" % (json.loads(out)["kernel"]["lost"], load()))
    check("record's status", status is None or p.returncode == status, "%d\n%s%s" % (p.returncode, out, err))
    return json.loads(out)


_run = None


def one_run():
    """A recording of the program that several cases look at."""
    global _run
    if not _run:
        w = Wakes()
        d, p = recorded("wakes%d" % len(os.listdir(TOP)), "-p", w.pid, "--kernel", "sched,syscalls,irq,block")
        w.run()
        summary = finished(p)
        w.end()
        _run = w, d, summary
    return _run


def check_babeltrace2(d):
    """babeltrace2 prints of the kernel's trace, and of the whole recording, as many events as gander.json says."""
    need("babeltrace2")
    m = manifest(d)["kernel"]
    r = subprocess.run(["babeltrace2", d + "/ctf/kernel"], capture_output=True, text=True)
    check("babeltrace2's status", r.returncode == 0)
    check("it warns of nothing", not r.stderr, r.stderr[:500])
    check("it prints every event", r.stdout.count("\n") == m["events"], "%d, %d in gander.json" % (r.stdout.count("\n"), m["events"]))
    check("nothing was lost", m["lost"]["total"] == 0 and m["late"] == 0, str(m))
    r = subprocess.run(["babeltrace2", d], capture_output=True, text=True)
    check("both traces together", r.returncode == 0 and not r.stderr and
          r.stdout.count("\n") == m["events"] + manifest(d)["events"], r.stderr[:500])
    n = sum(1 for _ in events(d))
    check("gander events prints as many", n == m["events"] + manifest(d)["events"])


@case
def babeltrace2_reads_it():
    w, d, summary = one_run()
    check_babeltrace2(d)
    check("the summary counts the same", summary["kernel"]["events"] == manifest(d)["kernel"]["events"])


def check_chain(w, d, least=1):
    """Event, futex wake, sched_waking, sched_switch, end of the futex wait, event: in this order, to a microsecond. In all rounds from `least` on."""
    wake, awake = {}, {}
    calls = collections.defaultdict(list)  # (tid, name): times
    waking, switched, left = [], [], []
    last = 0
    for e in events(d):
        check("in order of time", e["time_ns"] >= last) if e["time_ns"] < last else None
        last = e["time_ns"]
        f, name = e["fields"], e["event"]
        if name == "test.wake":
            wake[f["n"]] = e["time_ns"]
        elif name == "test.awake":
            awake[f["n"]] = e["time_ns"]
        elif name in ("syscall_entry_futex", "syscall_exit_futex"):
            calls[e["context"]["tid"], name].append(e["time_ns"])
        elif name == "sched_waking" and f["tid"] == w.b and e["context"]["tid"] == w.a:
            waking.append(e["time_ns"])
        elif name == "sched_switch" and f["next_tid"] == w.b:
            switched.append(e["time_ns"])
        elif name == "sched_switch" and f["prev_tid"] == w.b:
            left.append((e["time_ns"], f["prev_state"]))
    rounds = [n for n in sorted(awake) if n >= least]
    check("every round is there", rounds and rounds == list(range(least, rounds[-1] + 1)) and all(n in wake for n in rounds), "%d %d" % (len(wake), len(awake)))
    slack = 1000

    def next_of(times, t):
        return next((x for x in times if x >= t - slack), None)

    def asleep(t):
        """Whether B was, by its own switches and calls, in the futex call for a while before t."""
        t -= slack
        off, state = max((x for x in left if x[0] < t), default=(0, 0))
        call = max((x for x in calls[w.b, "syscall_entry_futex"] if x < off), default=0)
        return bool(state and call) and not any(off <= x < t for x in switched) and not any(call < x < t for x in calls[w.b, "syscall_exit_futex"])
    whole = unreported = unwoken = 0
    before = [max((x for x in calls[w.a, "syscall_entry_futex"] if x < wake[n] + 20000 and x > wake[n] - 20000), key=lambda x: -abs(x - wake[n]), default=0) - wake[n] for n in rounds]
    check("the nearest call of A to its event is the one behind it, in half of the rounds", sorted(before)[len(before) // 2] > -slack, str(sorted(before)))
    for n in rounds:
        enter = next_of(calls[w.a, "syscall_entry_futex"], wake[n])
        check("the wake's system call follows its event", enter is not None, "round %d" % n)
        if enter - slack >= awake[n]:
            continue  # B was awake, and saw the word before A was on its way into the kernel
        wk = next_of(waking, enter)
        slept = asleep(enter)
        if wk is None or wk > awake[n]:
            unwoken += slept
            continue  # B had not gone to sleep yet
        sw = next_of(switched, wk)
        out = next_of(calls[w.b, "syscall_exit_futex"], wk)
        if sw is None or sw > awake[n] + slack:
            unreported += slept
            continue  # woken while on its way to sleep: it never left its CPU; or the kernel did not report it
        check("round %d: each after its cause" % n, wake[n] <= enter + slack and enter <= wk <= sw <= out and out <= awake[n] + slack,
              str([wake[n], enter - wake[n], wk - wake[n], sw - wake[n], out - wake[n], awake[n] - wake[n]]))
        whole += 1
    gaps = manifest(d)["kernel"]["gaps"]
    check("who sleeps is woken, but for single wake-ups that the kernel drops without a word (docs/kernel.md)", unwoken <= 1 + len(rounds) // 50, str(unwoken))
    check("who slept is switched to, but where the kernel left switches out", unreported <= gaps + 1 + len(rounds) // 50, "%d, %d gaps" % (unreported, gaps))
    check("rounds have the whole chain", whole > len(rounds) / 10, str(whole))  # all in which B slept; on a busy machine it is often late itself
    check("the clock's line is that good", manifest(d)["clock"]["error_ns"] <= slack, str(manifest(d)["clock"]["error_ns"]))
    return rounds


@case
def causal_order():
    w, d, _ = one_run()
    same = check_chain(w, d) == list(range(1, ROUNDS + 1))
    check("all of its rounds", same)


def check_times(w, d, rounds=ROUNDS, others=()):
    """The report's times of the threads against what the program did in its last rounds and what /proc says."""
    k = json.loads(gander("report", d, "--json").stdout)["kernel"]
    length = k["end_mono_ns"] - k["begin_mono_ns"]
    rows = {t["tid"]: t for t in k["threads"]}
    for t in k["threads"]:
        check("parts of thread %d add up" % t["tid"], t["on_cpu_ns"] + t["ready_ns"] + t["blocked_ns"] + t["unknown_ns"] == length)
        check("who ran instead too", sum(x["ns"] for x in t["instead"]) == t["ready_ns"])
        check("what it was blocked in too", sum(x["ns"] for x in t["blocked_in"]) == t["blocked_ns"])
    check("only the program's threads", {t["pid"] for t in k["threads"]} == {w.pid, *others})
    a, b = rows[w.a], rows[w.b]
    where = {x["call"]: x["ns"] for x in a["blocked_in"]}
    check("A slept at least as long as it asked for", where.get("clock_nanosleep", 0) >= rounds * 400000, str(where))
    check("B worked", b["on_cpu_ns"] >= rounds * 90000, str(b))
    where = {x["call"] for x in b["blocked_in"]}
    check("B was blocked in futex and fsync", {"futex", "fsync"} <= where, str(where))
    check("B was woken", b["wakeups"] >= rounds / 2)
    others = {x["tid"] for t in k["threads"] for x in t["instead"]}
    check("who had the CPU instead is named", others - {-1, 0}, str(others))


@case
def times_add_up():
    w, d, _ = one_run()
    check_times(w, d)


@case
def a_go_trace_with_threads_of_its_own():
    """Before Go 1.22 thread ids are the runtime's and the clock is nobody's: running is not divided, and nothing is said of 64 ns."""
    w, d, _ = one_run()
    copy = os.path.join(TOP, "old-go")
    shutil.copytree(d, copy)
    shutil.copy(os.path.join(os.path.dirname(__file__), "../../fuzz/corpus/gotrace/go-1.21-procs"), os.path.join(copy, "old.trace"))
    m = manifest(copy)
    begin = json.loads(gander("report", d, "--json", status=None).stdout)["kernel"]["begin_mono_ns"]
    m["go"] = [{"file": "old.trace", "program": "old", "pid": 9, "clock": "none", "begin_mono_ns": begin, "end_mono_ns": begin + 10**9}]
    with open(os.path.join(copy, "gander.json"), "w") as f:
        json.dump(m, f)
    report = json.loads(gander("report", copy, "--json", status=None).stdout)
    check("its goroutines ran", sum(g["on_cpu_ns"] for g in report["goroutines"]) > 0, str(report["goroutines"]))
    check("and none was ready without a CPU", not any(g["wait_cpu_ns"] + g["unknown_ns"] for g in report["goroutines"]), str(report["goroutines"]))
    clock = next(c for c in report["clocks"] if "old" in c["source"])
    check("its clock's error is that of when it was asked for", 64 < clock["error_ns"] < 10**9 and "before Go 1.22" in clock["how"], str(clock))
    page = gander("report", copy, status=None).stdout
    check("the page says so", "running is not divided" in page)
    check("a program without events is among the programs", re.search(r"^  old +9  Go trace +- +-$", page, re.M), page)


@case
def system_calls_are_exact():
    """As many as were made, with arguments and results."""
    d = os.path.join(TOP, "exact")
    code = ("import ctypes, os\nc = ctypes.CDLL(None)\n"
            "for i in range(500): c.syscall(%d, 123456, i)\n"  # a number that no kernel has
            "for i in range(300): os.getpriority(os.PRIO_PROCESS, 0)\n" % 800)
    gander("record", "-q", "-o", d, "--kernel-buffer", BUFFER, "--kernel", "syscalls", "--", sys.executable, "-c", code)
    n, unknown = collections.Counter(), []
    for e in events(d):
        n[e["event"]] += 1
        if e["event"] == "syscall_entry_unknown" and e["fields"]["id"] == 800:
            unknown.append(e["fields"]["args"][:2])
    check("unnamed ones", [[int(str(x), 0) for x in a] for a in unknown] == [[123456, i] for i in range(500)], str(unknown[:3]))
    check("named ones", n["syscall_entry_getpriority"] == n["syscall_exit_getpriority"] == 300, str(n["syscall_entry_getpriority"]))
    check("the command began in the recording", n["syscall_exit_execve"] >= 1)


@case
def strace_agrees():
    """The same run under both: the same calls in the same order, and the same time between them."""
    need("strace")
    d, log = os.path.join(TOP, "strace"), os.path.join(TOP, "strace.log")
    r = gander("record", "-q", "-o", d, "--kernel-buffer", BUFFER, "--kernel", "syscalls", "--", "strace", "-r", "-f", "-o", log, "sh", "-c",
               "for i in 1 2 3 4 5 6 7 8; do read x < /etc/hostname; done; sleep 0.05; sleep 0.05", status=None)
    check("strace ran", r.returncode == 0, r.stderr)
    theirs = collections.defaultdict(list)
    for line in open(log):
        m = re.match(r"(\d+)\s+(\d+\.\d+) (\w+)\(", line)
        if m:
            theirs[int(m.group(1))].append((m.group(3), float(m.group(2))))
    ours = collections.defaultdict(list)
    for e in events(d, "-e", "syscall_entry_*"):
        ours[e["context"]["tid"]].append((e["event"][14:], e["time_ns"]))
    compared, off = 0, []
    for tid, calls in theirs.items():
        mine = ours[tid]
        # before its execve (which strace shows first) the child was strace's own; a forked child's calls begin in the middle of nothing
        at = next((i for i in range(len(mine)) if [c for c, _ in mine[i:i + len(calls)]] == [c for c, _ in calls]), None)
        check("thread %d: the same calls in the same order" % tid, at is not None,
              "%s\n%s" % ([c for c, _ in calls][:40], [c for c, _ in mine][:60]))
        compared += len(calls)
        if len(theirs) > 1:
            continue
        for i in range(1, len(calls)):
            off.append(abs(calls[i][1] - (mine[at + i][1] - mine[at + i - 1][1]) / 1e9))
    check("there was something to compare", compared > 50, str(compared))
    # sleeps, by both
    for tid, calls in theirs.items():
        for i, (name, _) in enumerate(calls[:-1]):
            if name == "clock_nanosleep":
                t = [x for c, x in ours[tid] if c == "clock_nanosleep"][0]
                after = [x for c, x in ours[tid] if x > t][0]
                off.append(abs(calls[i + 1][1] - (after - t) / 1e9))
    check("the same time between calls", not off or statistics.median(off) < 0.02, str(off[:20]))


def timehist(path, tids):
    """Rows of perf sched timehist: tid -> [(time, wait, delay, run)] in ns."""
    out = subprocess.run(["perf", "sched", "timehist", "-i", path], capture_output=True, text=True).stdout
    rows = collections.defaultdict(list)
    for line in out.splitlines():
        m = re.match(r"\s*(\d+)\.(\d+)\s+\[(\d+)\]\s+(.*?)\[(\d+)(?:/\d+)?\]\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", line)
        if m and int(m.group(5)) in tids:
            ns = int(m.group(1)) * 10**9 + int(m.group(2).ljust(9, "0"))
            rows[int(m.group(5))].append((ns, *(int(float(m.group(i)) * 1e6) for i in (6, 7, 8))))
    return rows


@case
def perf_sched_timehist_agrees():
    """perf records beside gander, for the time of the program's rounds; each of perf's rows must be in gander's, with the same times."""
    need("perf")
    w = Wakes()
    data = TOP + "/perf.data"
    d, p = recorded("timehist", "-p", w.pid, "--kernel", "sched,syscalls")
    perf = subprocess.Popen(["perf", "sched", "record", "-q", "-k", "CLOCK_MONOTONIC", "-o", data, "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)
    for _ in range(1000):
        if os.path.exists(data) and os.path.getsize(data) > 0:
            break
        time.sleep(0.01)
    time.sleep(0.3)
    w.run()
    perf.stdin.close()
    said = perf.stderr.read()
    perf.wait()
    finished(p)
    w.end()
    if not os.path.exists(data):
        raise Skip("perf sched record does not work here: " + said[:200])
    theirs = timehist(data, {w.a, w.b})
    offset = manifest(d)["clock"]["mono_offset_ns"]
    ours = collections.defaultdict(list)  # tid -> (time off, run)
    delays = collections.defaultdict(list)  # tid -> (time on, since it was woken)
    on, woken = {}, {}
    for e in events(d, "-e", "sched_*"):
        t, f = e["time_ns"] - offset, e["fields"]
        if e["event"] == "sched_waking":
            woken.setdefault(f["tid"], t)
        if e["event"] == "sched_switch":
            if f["prev_tid"] in (w.a, w.b) and on.get(f["prev_tid"]):
                ours[f["prev_tid"]].append((t, t - on[f["prev_tid"]]))
            if f["next_tid"] in (w.a, w.b) and woken.get(f["next_tid"]):
                delays[f["next_tid"]].append((t, t - woken[f["next_tid"]]))
            woken.pop(f["prev_tid"], None)
            woken.pop(f["next_tid"], None)
            on[f["prev_tid"]] = None
            on[f["next_tid"]] = t
    for tid in (w.a, w.b):
        rows = [r for r in theirs[tid] if r[3]]
        check("perf has rows of %d" % tid, len(rows) > 30, str(len(rows)))
        mine = ours[tid]
        pairs, i = [], 0
        for t, _, _, run in rows:
            while i < len(mine) and mine[i][0] < t - 50000:
                i += 1
            if i < len(mine) and abs(mine[i][0] - t) <= 50000:
                pairs.append((t - mine[i][0], run - mine[i][1]))
        check("perf's switches of %d are gander's" % tid, len(pairs) >= 0.97 * len(rows), "%d of %d" % (len(pairs), len(rows)))
        check("at the same time", statistics.median(abs(x) for x, _ in pairs) <= 2000, str(pairs[:10]))
        near = sum(abs(x) <= 20000 for _, x in pairs)
        check("after the same time on the CPU", near >= 0.9 * len(pairs), "%d of %d: %s" % (near, len(pairs), pairs[:10]))
    # the waits of perf's rows: from being woken to the CPU
    rows = {t["tid"]: t for t in json.loads(gander("report", d, "--json").stdout)["kernel"]["threads"]}
    for tid in (w.a, w.b):
        if not manifest(d)["kernel"]["gaps"]:
            check("the report's sum is that of the switches: %d" % tid, rows[tid]["on_cpu_ns"] == sum(r for _, r in ours[tid]),
                  "%d %d" % (rows[tid]["on_cpu_ns"], sum(r for _, r in ours[tid])))
        pairs, i = [], 0
        for t, _, delay, run in theirs[tid]:
            while i < len(delays[tid]) and delays[tid][i][0] < t - run - 50000:
                i += 1
            if delay and i < len(delays[tid]) and abs(delays[tid][i][0] - (t - run)) <= 50000:
                pairs.append(delay - delays[tid][i][1])
        check("perf's delays of %d are gander's" % tid, len(pairs) > 20 and sum(abs(x) <= 20000 for x in pairs) >= 0.9 * len(pairs),
              "%d: %s" % (len(pairs), pairs[:20]))


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))


@case
def whose():
    """The three scopes: only the program's, everybody's."""
    other = subprocess.Popen([sys.executable, "-c", "import os\nwhile True: os.getppid()"])
    try:
        w = Wakes(rounds=50)
        got = {}
        for scope in ("own", "auto", "machine"):
            d, p = recorded("scope-" + scope, "-p", w.pid if scope == "own" else os.getpid(), "--kernel", "sched,syscalls", "--kernel-scope", scope)
            if scope == "own":
                w.run()
            else:
                for _ in range(500):
                    os.getppid()
                before = cpu_ticks(other.pid)  # its calls take CPU time, which it may have to wait for
                for _ in range(6000):
                    if cpu_ticks(other.pid) > before + 2:
                        break
                    time.sleep(0.01)
            finished(p, status=None if scope == "machine" else 0)
            got[scope] = collections.Counter()
            for e in events(d):
                who = e["context"].get("pid")
                f = e["fields"]
                if e["event"] == "sched_switch":
                    got[scope]["switch" if scope != "own" or {f["prev_tid"], f["next_tid"]} & threads_of(d) else "foreign switch"] += 1
                elif e["event"].startswith("syscall_"):
                    got[scope]["own call" if who in (w.pid, os.getpid()) else "gander's call" if who == p.pid else "foreign call"] += 1
        w.end()
        check("own: switches, both sides", got["own"]["switch"] > 50 and not got["own"]["foreign switch"], str(got["own"]))
        check("own: nobody else's calls", got["own"]["own call"] > 50 and not got["own"]["foreign call"], str(got["own"]))
        check("auto: nobody else's calls", got["auto"]["own call"] >= 1000 and not got["auto"]["foreign call"], str(got["auto"]))
        check("machine: others' calls, but not gander's", got["machine"]["foreign call"] > 100 and not got["machine"]["gander's call"],
              str(got["machine"]))
    finally:
        other.kill()
        other.wait()


def threads_of(d):
    """All threads that the recording's programs ever had, as its events have them."""
    if d not in threads_of.cache:
        pids = set(manifest(d)["kernel"]["pids"])
        tids = set(pids)
        for e in events(d):
            if e["event"] == "lttng_statedump_process_state" and e["fields"]["pid"] in pids:
                tids.add(e["fields"]["tid"])
            if e["event"] == "sched_process_fork":
                tids.add(e["fields"]["child_tid"])
            if e["context"].get("pid") in pids:
                tids.add(e["context"]["tid"])
        threads_of.cache[d] = tids
    return threads_of.cache[d]


threads_of.cache = {}


class Ftrace:
    """An instance of its own, on the clock that gander's view is on."""
    def __init__(self, *names):
        top = next((t for t in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing") if os.path.isdir(t + "/instances")), None)
        if os.geteuid() or not top:
            raise Skip("no tracefs" if not os.geteuid() else "not root")
        self.dir, self.names = "%s/instances/gander-%d" % (top, os.getpid()), names
        try:
            os.mkdir(self.dir)
        except OSError as e:
            raise Skip("no instance of ftrace: %s" % e)

    def set(self, name, value):
        with open(self.dir + "/" + name, "w") as f:
            f.write(str(value))

    def on(self, on):
        if on:
            self.set("trace_clock", "mono")
            self.set("buffer_size_kb", 8192)
        for name in self.names:
            self.set("events/sched/%s/enable" % name, int(on))

    def read(self):
        """(CPU, event, threads) -> (time in ns, of which the text has microseconds; whether the CPU was idle)."""
        for cpu in os.listdir(self.dir + "/per_cpu"):
            with open("%s/per_cpu/%s/stats" % (self.dir, cpu)) as f:
                if re.search(r"^overrun: [1-9]", f.read(), re.M):
                    raise Skip("ftrace lost events")
        found = collections.defaultdict(list)
        with open(self.dir + "/trace") as f:
            for line in f:
                m = re.match(r".*-(\d+) +\[(\d+)\] \S+ +(\d+)\.(\d{6}): (sched_\w+): (.*)", line)
                if m:
                    tids = tuple(int(x) for x in re.findall(r"(?:^|[ _])pid=(\d+)", m[6]))
                    found[int(m[2]), m[5], tids].append((int(m[3]) * 10**9 + int(m[4]) * 1000, m[1] == "0"))
        return found

    def end(self):
        self.on(False)
        os.rmdir(self.dir)


@case
def ftrace_says_the_same():
    """The same switches and wake-ups of the same time, by ftrace on its mono clock: each is in both, on the same CPU, and at the same time."""
    ft = Ftrace("sched_switch", "sched_waking")
    try:
        w = Wakes()
        d, p = recorded("ftrace", "-p", w.pid, "--kernel", "sched")
        ft.on(True)
        w.run()
        ft.on(False)
        finished(p)
        w.end()
        theirs = ft.read()
    finally:
        ft.end()
    offset = manifest(d)["clock"]["mono_offset_ns"]
    ours = collections.defaultdict(list)
    for e in events(d, "-e", "sched_switch", "-e", "sched_waking"):
        f = e["fields"]
        tids = (f["prev_tid"], f["next_tid"]) if "next_tid" in f else (f["tid"],)
        ours[e["context"]["cpu_id"], e["event"], tids].append(e["time_ns"] - offset)
    first, last = min(min(v)[0] for v in theirs.values()), max(max(v)[0] for v in theirs.values())
    margin = 20 * 10**6  # while it is switched on and off, CPU after CPU
    apart, missing, extra = [], [], []
    for key in set(theirs) | set(ours):
        a, b = theirs.get(key, []), [t for t in ours.get(key, []) if first - margin <= t <= last + margin]
        for near in (20 * 10**3, 10**7):  # then those between whose two probes the CPU was taken away
            a_left, b_left, i, k = [], [], 0, 0
            while i < len(a) and k < len(b):
                d_ns = b[k] - a[i][0]
                if abs(d_ns) < near:
                    apart.append(d_ns)
                    i, k = i + 1, k + 1
                elif d_ns > 0:
                    a_left.append(a[i])
                    i += 1
                else:
                    b_left.append(b[k])
                    k += 1
            a, b = a_left + a[i:], b_left + b[k:]
        missing += [(key[1], *x) for x in a]
        extra += [(key, t) for t in b if first + margin < t < last - margin]
    apart.sort()
    k = manifest(d)["kernel"]
    middle = statistics.median(apart)
    print("      %d in both, %d ns apart in the median, %d to %d in nine of ten; only ftrace's: %d, %d gaps" % (
        len(apart), middle, apart[len(apart) // 20], apart[-1 - len(apart) // 20], len(missing), k["gaps"]))
    check("events of both", len(apart) > ROUNDS, str(len(apart)))
    check("each of gander's is one of ftrace's", not extra, "%d: %s" % (len(extra), extra[:5]))
    check("a switch that is only ftrace's is one of the gaps", sum(name == "sched_switch" for name, _, _ in missing) <= k["gaps"], str(missing[:5]))
    # as docs/kernel.md has it under "Gaps": none are known but those on idle CPUs, and single ones
    busy = [x for x in missing if not x[2]]
    check("nearly each of ftrace's is one of gander's", len(busy) <= len(apart) / 100, "%d of %d: %s" % (len(busy), len(apart), busy[:5]))
    check("at the same time", abs(middle) <= 5000, "%d ns" % middle)


@case
def children_are_recorded():
    """From their first system call, threads and processes."""
    d = os.path.join(TOP, "children")
    gander("record", "-q", "-o", d, "--kernel-buffer", BUFFER, "--kernel", "sched,syscalls", "--kernel-scope", "own", "--", "sh", "-c",
           "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; (sh -c '/bin/true; true')")
    execs = [e["context"]["tid"] for e in events(d, "-e", "sched_process_exec")]
    first = {}
    for e in events(d, "-e", "syscall_*"):
        first.setdefault(e["context"]["tid"], e["event"])
    born = [e["fields"]["child_tid"] for e in events(d, "-e", "sched_process_fork")]
    check("twelve or more children", len(born) >= 12, str(len(born)))
    check("each child's calls", all(t in first for t in born), str([t for t in born if t not in first]))
    check("each one was put on a CPU", set(born) <= {e["fields"]["next_tid"] for e in events(d, "-e", "sched_switch")} or
          manifest(d)["kernel"]["gaps"] > 0)
    check("each exec", len(execs) >= 12, str(len(execs)))


@case
def programs_found_later():
    """With --all a program's threads are older than what the kernel's filter lets through: it is replaced, and no call is missing or there twice."""
    w = Wakes()
    d, p = recorded("later", "--all", "-e", "none.of.them", "--kernel", "syscalls")
    for _ in range(12000):
        if w.pid in manifest(d)["kernel"]["pids"]:
            break
        time.sleep(0.01)
    w.run()
    finished(p, status=None)
    w.end()
    inside, wrong, n = {}, [], 0
    for e in events(d, "-e", "syscall_*"):
        if e["context"]["pid"] != w.pid or "unknown" in e["event"]:
            continue
        tid, (_, what, name) = e["context"]["tid"], e["event"].split("_", 2)
        n += what == "entry"
        if what == "entry":
            wrong += [e] if tid in inside else []
            inside[tid] = name
        else:
            wrong += [e] if inside.pop(tid, name) != name else []
    check("its calls", n > 3 * ROUNDS, str(n))
    if not manifest(d)["kernel"]["lost"]["total"]:
        check("each entry has its exit", not wrong, str(wrong[:2]))


@case
def small_rings_lose_and_count():
    """A storm into the smallest rings: what is lost is counted, and babeltrace2 says the same."""
    need("babeltrace2")
    d = os.path.join(TOP, "storm")
    code = "import os\nfor i in range(60000): os.getppid()"
    r = gander("record", "--json", "-o", d, "--kernel", "syscalls", "--kernel-buffer", "64k", "--", "sh", "-c", "%s -c '%s' & %s -c '%s'; wait" % (
        sys.executable, code, sys.executable, code), status=None)
    s = json.loads(r.stdout)["kernel"]
    m = manifest(d)["kernel"]
    b = subprocess.run(["babeltrace2", d], capture_output=True, text=True)
    said = sum(int(x) for x in re.findall(r"Tracer discarded (\d+) event", b.stderr))
    check("babeltrace2 says what is lost", said == m["lost"]["full"] == s["lost"], "%d, %d, %d" % (said, m["lost"]["full"], s["lost"]))
    n = collections.Counter(re.findall(r" (syscall_(?:entry|exit)_getppid):", b.stdout))
    total = n["syscall_entry_getppid"] + n["syscall_exit_getppid"]
    check("no more than there were", total <= 240000)
    if m["lost"]["full"]:
        check("events recorded and lost", total + m["lost"]["full"] >= 240000, "%d + %d" % (total, m["lost"]["full"]))
    else:
        print("note: nothing was lost")
        check("all are there", total == 240000, str(total))


@case
def rotated():
    w = Wakes()
    d, p = recorded("rotated", "-p", w.pid, "--kernel", "sched,syscalls", "--rotate", "100k")
    w.run()
    finished(p)
    w.end()
    chunks = sorted(c for c in os.listdir(d) if c.startswith("chunk-"))
    check("several chunks", len(chunks) > 1, str(chunks))
    n = sum(manifest(os.path.join(d, c))["kernel"]["events"] for c in chunks)
    got = sum(1 for e in events(d) if not e["event"].startswith("test."))
    check("each event is in one of them", got == n, "%d, %d" % (got, n))
    report = json.loads(gander("report", d, "--json", status=None).stdout)["kernel"]
    k = {t["tid"]: t for t in report["threads"]}
    check("the report covers all chunks", k[w.b]["on_cpu_ns"] >= ROUNDS * 90000)
    check("what was asked for", report["groups"] == ["sched", "syscalls"], str(report["groups"]))
    check("the recorded program's threads alone", {t["pid"] for t in report["threads"]} == {w.pid}, str(report["threads"])[:500])
    d = os.path.join(TOP, "rotated-own")
    gander("record", "-q", "-o", d, "--kernel", "sched", "--kernel-scope", "own", "--rotate", "20k", "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done")
    threads = json.loads(gander("report", d, "--json").stdout)["kernel"]["threads"]
    check("who ran instead is not told where others' switches are left out", all(x["tid"] == -1 for t in threads for x in t["instead"]), str(threads)[:500])


@case
def ctf_2():
    d = os.path.join(TOP, "ctf2")
    gander("record", "-q", "-o", d, "--ctf", "2", "--kernel", "sched,syscalls", "--", "true")
    check("events of it", sum(1 for _ in events(d)) == manifest(d)["kernel"]["events"] > 20)


@case
def refused_in_one_line():
    def refused(what, args, text, status=1, wrap=()):
        d = os.path.join(TOP, "refused")
        r = subprocess.run([*wrap, GANDER, "record", "-o", d, *args, "--", "true"], capture_output=True, text=True)
        check(what + ": status", r.returncode == status, "%d %s" % (r.returncode, r.stderr))
        check(what + ": says so", text in r.stderr, r.stderr)
        check(what + ": leaves nothing", not os.path.exists(d))
    refused("no such group", ["--kernel", "sched,disk"], "unknown group, column 7 (sched syscalls irq block)", 2)
    refused("no such scope", ["--kernel", "sched", "--kernel-scope", "all"], "auto, own, machine", 2)
    refused("scope alone", ["--kernel-scope", "own"], "go with --kernel", 2)
    refused("memory of what is no flight recorder", ["--kernel", "sched", "--kernel-keep", "8M"], "flight recorder", 2)
    refused("too little of it", ["--kernel", "sched", "--overwrite", "--kernel-keep", "64k"], "between", 2)
    refused("no flight recorder", ["--kernel", "sched", "--last", "1s"], "--overwrite", 2)
    if os.geteuid() == 0 and shutil.which("setpriv"):
        exe = shutil.copy(GANDER, TOP + "/gander")
        os.chmod(exe, 0o755)
        r = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", exe, "record", "-o", "/tmp/gander-none-%d" % os.getpid(),
                            "--kernel", "sched", "--", "true"], capture_output=True, text=True)
        check("without rights: one line", r.returncode == 1 and r.stderr.count("\n") == 1 and "CAP_PERFMON" in r.stderr, r.stderr)
        r = subprocess.run(["unshare", "-p", "-f", "--mount-proc", GANDER, "record", "-o", TOP + "/refused", "--kernel", "sched", "--", "true"],
                           capture_output=True, text=True)
        if "unshare" not in r.stderr:
            check("in a container: one line", r.returncode == 1 and r.stderr.count("\n") == 1 and "container" in r.stderr, r.stderr)


def can():
    d = os.path.join(TOP, "probe")
    r = subprocess.run([GANDER, "record", "-o", d, "--kernel", "sched,syscalls", "--", "true"], capture_output=True, text=True)
    return None if r.returncode == 0 else r.stderr.strip().splitlines()[-1]


def main():
    passed = failed = skipped = 0
    why = can()
    for fn in CASES:
        if ONLY and ONLY not in fn.__name__:
            continue
        if why and fn is not refused_in_one_line:
            print("skip  %s: %s" % (fn.__name__, why))
            skipped += 1
            continue
        try:
            fn()
            print("ok    %s" % fn.__name__)
            passed += 1
        except Skip as e:
            print("skip  %s: %s" % (fn.__name__, e))
            skipped += 1
        except Exception as e:
            print("FAIL  %s: %s: %s" % (fn.__name__, type(e).__name__, e))
            failed += 1
        end_all()
    print("%d checks\n%d passed, %d failed, %d skipped" % (checks, passed, failed, skipped))
    shutil.rmtree(TOP, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
