#!/usr/bin/env python3
"""collect.py GANDER EMITTER: the collector against live programs. A program's own count is held against gander's and babeltrace2's."""
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

# As root gander sees the programs of the whole machine: namespaces of its own keep those of other tests out, some of which have a broken
# region on purpose.
ALONE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
         "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && \"$@\"; exit $?", "sh"]
if os.geteuid() == 0 and "COLLECT_ALONE" not in os.environ and subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0:
    os.environ["COLLECT_ALONE"] = "1"
    os.execvp(ALONE[0], [*ALONE, sys.executable, *sys.argv])

GANDER, EMITTER = (os.path.abspath(p) for p in sys.argv[1:3])
ONLY = sys.argv[3] if len(sys.argv) > 3 else ""
TOP = tempfile.mkdtemp(prefix="gander-collect-")
os.chmod(TOP, 0o755)
TAG = os.urandom(4).hex()  # other runs of this may be going on
CASES = []
checks = 0


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


def same(what, a, b):
    check(what, a == b, "%r != %r" % (a, b))


def new(name):
    return os.path.join(TOP, name)


def wait(what, holds):
    """Until it holds, which a busy machine may take long for. What it was."""
    end = time.monotonic() + 60
    while True:
        got = holds()
        if got:
            return got
        check("%s: waited for in vain" % what, time.monotonic() < end)
        time.sleep(0.005)


def on_disk(d):
    """Bytes in a recording's streams."""
    return sum(os.path.getsize(os.path.join(a, f)) for a, _, fs in os.walk(d) for f in fs if f.startswith("slot-"))


class Program:
    """A running emitter."""

    def __init__(self, *args, env=None, wrap=(), name=None):
        self.counts = (env or {}).get("COUNTS")
        exe = EMITTER
        if name:
            exe = new(name)
            if not os.path.exists(exe):
                shutil.copy(EMITTER, exe)
        self.p = subprocess.Popen([*wrap, exe, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  env=dict(os.environ, **(env or {})))
        same("the program starts", self.p.stdout.readline(), "ready\n")
        self.pid = self.p.pid

    def done(self):
        """Waits until it has emitted all; how many."""
        return int(self.p.stdout.readline().split()[1])

    def emitted(self):
        """How many up to now; of one with COUNTS."""
        with open(self.counts, "rb") as f:
            return sum(struct.unpack_from("<Q", data)[0] for data in iter(lambda: f.read(64), b""))

    def emits(self, n):
        """Waits until it has emitted so many more."""
        n += self.emitted()
        wait("the program emits", lambda: self.emitted() >= n)

    def go(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return self.done()

    def end(self):
        self.p.stdin.close()
        rest = self.p.stdout.read()
        self.p.wait()
        m = re.search(r"done (\d+)", rest)
        return int(m.group(1)) if m else None

    def kill(self):
        self.p.kill()
        self.p.wait()


def gander(*args, status=0, **kw):
    r = subprocess.run([GANDER, *map(str, args)], capture_output=True, text=True, timeout=60, **kw)
    if status is not None and r.returncode != status:
        raise AssertionError("gander %s: status %d instead of %d\n%s%s" % (" ".join(map(str, args)), r.returncode, status, r.stdout, r.stderr))
    return r


class Recording:
    """gander record in the background."""

    def __init__(self, name, *args, wrap=()):
        self.dir = new(name)
        self.p = subprocess.Popen([*wrap, GANDER, "record", "--json", "-o", self.dir, *map(str, args)], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)

    def wait_ready(self):
        wait("the recording begins", lambda: os.path.exists(self.dir + "/gander.json") or self.p.poll() is not None)
        return self

    def wait_programs(self, n):
        """Until gander.json, which is written anew each second, names so many."""
        wait("%d programs" % n, lambda: len(manifest(self.dir)["programs"]) >= n)

    def stop(self, status=0):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGINT)
        return self.result(status)

    def result(self, status=0):
        out, self.err = self.p.communicate(timeout=60)
        if status is not None and self.p.returncode != status:
            raise AssertionError("gander record: status %d instead of %d\n%s%s" % (self.p.returncode, status, out, self.err))
        return json.loads(out) if out.strip() else None


def manifest(d):
    with open(d + "/gander.json") as f:
        return json.load(f)


def babeltrace(d, grep=None):
    """Events and losses as babeltrace2 tells them; any other warning fails."""
    r = subprocess.run(["babeltrace2", d], capture_output=True, text=True, errors="replace")
    lost = 0
    for line in r.stderr.splitlines():
        m = re.search(r"Tracer discarded (\d+) event", line)
        if m:
            lost += int(m.group(1))
        elif line.strip():
            raise AssertionError("babeltrace2: " + line)
    same("babeltrace2's status", r.returncode, 0)
    lines = r.stdout.splitlines()
    return (len(lines) if grep is None else sum(grep in x for x in lines)), lost


def agree(d, result, emitted=None):
    """gander's summary, its manifest and babeltrace2 say the same; emitted = recorded + lost."""
    events, lost = babeltrace(d)
    same("events, by babeltrace2", events, result["events"])
    same("losses, by babeltrace2", lost, result["lost"]["total"])
    m = manifest(d)
    same("events, in gander.json", m["events"], result["events"])
    same("state", m["state"], "complete")
    if emitted is not None:
        same("emitted = recorded + lost", result["events"] + result["lost"]["total"], emitted)
    return m


def born(pid):
    """Seconds since it was started; as Linux counts them, in hundredths."""
    with open("/proc/%d/stat" % pid) as f:
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(f.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


@case
def just_started():
    """`program & gander record -p $!`: it has no region yet."""
    verbs = {"record": (["-o", "%s", "--json"], lambda out: json.loads(out)["events"]),
             "count": (["--json"], lambda out: sum(x["count"] for x in json.loads(out)["counts"])),
             "events": (["--follow"], lambda out: len(out.splitlines()))}
    for how in "at once", "when another program has become it":
        for verb, (args, count) in verbs.items():
            for i in range(10):  # its region may come later than it is waited for, on a busy machine
                exe = [EMITTER, "1", "1000"] if how == "at once" else ["sh", "-c", "sleep 0.1; exec \"$@\"", "sh", EMITTER, "1", "1000"]
                p = subprocess.Popen(exe, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                g = subprocess.Popen([GANDER, verb, "-p", str(p.pid), *(a.replace("%s", new("young-%s-%s-%d" % (how[:2], verb, i))) for a in args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                said = b""
                while g.poll() is None and b"done" not in said:
                    if select.select([p.stdout], [], [], 0.05)[0]:
                        said += os.read(p.stdout.fileno(), 100)
                p.stdin.close()
                out, err = g.communicate(timeout=60)
                p.stdout.close()
                p.wait()
                if b"done" in said:
                    break
                check("%s, %s: it was waited for" % (verb, how), "no gander events" in err, err)
            same("%s -p of what was started %s" % (verb, how), (g.returncode, count(out)), (0, 1100))


@case
def grows_while_recorded():
    """A library with events of its own is loaded into a program that is being recorded."""
    plugs = [os.path.join(os.path.dirname(EMITTER), "..", "torture", "libplug-embed%d.so" % i) for i in (1, 2)]
    if not all(map(os.path.exists, plugs)):
        raise Skip("the libraries of tests/torture are not built")
    code = """import ctypes, sys
for path in sys.argv[1:]:
    plug, writer = ctypes.CDLL(path), (ctypes.c_uint64 * 64)()
    print("loaded", flush=True)
    sys.stdin.readline()
    for _ in range(100):
        plug.plug_emit(ctypes.byref(writer), 0)
print("done", flush=True)
sys.stdin.readline()"""
    with subprocess.Popen([sys.executable, "-c", code, *plugs], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        same("the first one", p.stdout.readline(), "loaded\n")
        r = Recording("grows", "-p", p.pid).wait_ready()
        p.stdin.write("\n")
        p.stdin.flush()
        same("the second one", p.stdout.readline(), "loaded\n")
        r.wait_programs(2)
        p.stdin.write("\n")
        p.stdin.flush()
        same("all is emitted", p.stdout.readline(), "done\n")
        m = agree(r.dir, r.stop(), 200)
        same("both are the program's", [(q["pid"], q["events"]) for q in m["programs"]], [(p.pid, 100)] * 2)


@case
def without_events():
    """A program that was started just now is waited for, an old one refused at once."""
    old, first = subprocess.Popen(["sleep", "1000"]), 0
    wait("it is no longer young", lambda: born(old.pid) > 1.1)
    for i in range(10):  # which refusal is first is for the scheduler, on a busy machine; not each time
        young = subprocess.Popen(["sleep", "1000"])
        waits = subprocess.Popen([GANDER, "record", "-p", str(young.pid), "-o", new("never")], stderr=subprocess.PIPE, text=True)
        r = gander("record", "-p", old.pid, "-o", new("never-old"), status=1)
        check("the old one is refused", "no gander events" in r.stderr, r.stderr)
        first += waits.poll() is None
        err = waits.communicate(timeout=60)[1]
        check("the young one too, when it is one second old", waits.returncode == 1 and "no gander events" in err and born(young.pid) > 0.98, err)
        young.kill()
        young.wait()
        if first:
            break
    check("the old one at once, while the young one is waited for", first)
    gone = subprocess.Popen(["true"])
    wait("it is a zombie", lambda: open("/proc/%d/stat" % gone.pid).read().rpartition(")")[2].split()[0] == "Z")
    gander("record", "-p", gone.pid, "-o", new("never-gone"), status=1)
    gone.wait()
    old.kill()
    old.wait()


@case
def attach_count_and_detach():
    p = Program(2, 50000)
    r = Recording("a", "-p", p.pid).wait_ready()
    n = p.done()
    m = agree(r.dir, r.stop(), n)
    same("nothing lost", m["lost"]["total"], 0)
    same("program", (m["programs"][0]["pid"], m["programs"][0]["state"]), (p.pid, "running"))
    check("classes", {c["name"] for c in m["programs"][0]["classes"]} == {"test.step", "test.text"})
    check("clock error below 20 us", m["clock"]["error_ns"] < 20000, m["clock"]["error_ns"])
    one = json.loads(gander("list", "--json", "-p", p.pid).stdout)[0]
    same("no recording is left", one["recordings"], [])
    check("memory went back", one["memory_bytes"] < 600000, one["memory_bytes"])
    p.end()


@case
def beside_a_listener_that_is_silent():
    """Whether somebody serves a Go trace is asked for two seconds; what others emit meanwhile, twice what their memory holds, is not lost."""
    p = Program(1, 270000, 5000)
    with socket.create_server(("127.0.0.1", 0)):
        r = Recording("silent", "--go", "-p", p.pid, "-p", os.getpid(), "--buffer", "4M").wait_ready()
        n = p.done()
        m = agree(r.dir, r.stop(None), n)
    check("it was asked", any(q["pid"] == os.getpid() for q in m["problems"]), m["problems"])
    same("nothing lost", m["lost"]["total"], 0)
    p.end()


@case
def attach_again_and_again():
    p = Program(1, 0, 1000, env={"STEADY": "1"}, name="again" + TAG)
    for i in range(5):
        r = gander("record", "-p", "again" + TAG, "--for", "0.2s", "-q", "--json", "-o", new("again%d" % i), status=None)
        check("status", r.returncode in (0, 3), r.stderr)
        agree(new("again%d" % i), json.loads(r.stdout))
    p.kill()


@case
def events_levels_filters():
    p = Program(1, 1000, env={"HOLD": "1"})
    rec = {"all": (1100, []), "glob": (1000, ["-e", "test.s*"]), "not": (100, ["-x", "*.step"]), "level": (1000, ["--level", "info"]),
           "where": (50, ["--where", "status >= 500"]), "text": (25, ["-e", "test.text", "--where", "path ~ \"/api/p*\""])}
    run = {k: Recording("f-" + k, "-p", p.pid, *v[1]).wait_ready() for k, v in rec.items()}
    n = p.go()
    same("emitted", n, 1100)
    for k, r in run.items():
        # test.step has no `status`: asked for, and not set up
        res = r.stop(3 if k == "where" else 0)
        agree(r.dir, res)
        same("events with " + k, res["events"], rec[k][0])
    m = manifest(run["where"].dir)
    check("the class that the filter does not fit is named", any(q.get("class") == "test.step" for q in m["problems"]), m["problems"])
    p.end()


@case
def eight_recordings_and_a_ninth():
    p = Program(1, 3000, env={"HOLD": "1"})
    rs = [Recording("e%d" % i, "-p", p.pid, "--buffer", "1M").wait_ready() for i in range(8)]
    r = gander("record", "-p", p.pid, "-o", new("e9"), "--for", "1s", status=1)
    check("the ninth is told why", "8 recordings" in r.stderr, r.stderr)
    check("and leaves nothing", not os.path.exists(new("e9")))
    n = p.go()
    for r in rs:
        agree(r.dir, r.stop(), n)
    p.end()


@case
def command_and_its_children():
    d = new("cmd")
    r = gander("record", "-o", d, "--json", "-q", "--", "env", "GO=1", EMITTER, 2, 5000, 0, 0, 7, status=7)
    m = agree(d, json.loads(r.stdout.splitlines()[-1]), 11000)
    same("exit status in gander.json", (m["programs"][0]["state"], m["programs"][0].get("exit_status")), ("exited", 7))
    d = new("kids")
    r = gander("record", "-o", d, "--json", "-q", "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do GO=1 %s 1 100 0 0 0; done" % EMITTER)
    m = agree(d, json.loads(r.stdout.splitlines()[-1]), 1100)
    same("children", len(m["programs"]), 10)
    pids = {q["pid_inside"] for q in m["programs"]}
    same("their regions are gone", [x for x in json.loads(gander("list", "--json").stdout) if x.get("pid_inside") in pids], [])
    r = gander("record", "-o", new("cmdkill"), "-q", "--", "sh", "-c", "kill -9 $$", status=128 + 9)
    r = gander("record", "-o", new("nocmd"), "--", "/no/such/program", status=1)
    check("a command that is not there", "cannot run" in r.stderr, r.stderr)
    check("leaves nothing", not os.path.exists(new("nocmd")))


@case
def forked_grandchildren():
    """As a daemon forks: the child's region has no collector yet when it forks again."""
    p = Program(1, 1000, env={"HOLD": "1", "FORK": "5", "GRAND": "1"}, name="grandforker" + TAG)
    r = Recording("fork3", "-p", p.pid).wait_ready()
    n = p.go()
    r.wait_programs(11)
    m = agree(r.dir, r.stop(), n + 5 * 1100)
    same("programs", len(m["programs"]), 11)
    p.end()


@case
def forked_children():
    p = Program(1, 1000, env={"HOLD": "1", "FORK": "5"}, name="forker" + TAG)
    one = Recording("fork1", "-p", p.pid).wait_ready()
    two = Recording("fork2", "-p", p.pid, "-e", "test.text").wait_ready()
    n = p.go()
    same("emitted", n, 6 * 1100)
    one.wait_programs(6)
    two.wait_programs(6)
    m = agree(one.dir, one.stop(), n)
    same("programs", len(m["programs"]), 6)
    same("parents", {q["parent_pid"] for q in m["programs"] if q["pid_inside"] != p.pid}, {p.pid})
    agree(two.dir, two.stop(), 600)
    left = [x for x in json.loads(gander("list", "--json").stdout) if x.get("comm") == "forker" + TAG and x.get("state") == "dead"]
    same("their regions are gone", left, [])
    p.end()


@case
def killed_programs_lose_nothing():
    for i in range(2):
        counts = new("counts%d" % i)
        p = Program(2, 100000000, 1000, env={"COUNTS": counts})
        r = Recording("k%d" % i, "-p", p.pid).wait_ready()
        p.emits(10000)
        p.kill()
        res = r.result(None)
        m = agree(r.dir, res)
        n = p.emitted()
        got = res["events"] + res["lost"]["total"]
        check("what was counted is there", n <= got <= n + 2, "%d counted, %d recorded or lost" % (n, got))
        same("the dead region is gone", [x for x in json.loads(gander("list", "--json").stdout) if x.get("pid_inside") == p.pid], [])
        check("it says so", m["programs"][0]["state"] in ("killed", "ended"))


@case
def killed_collector():
    p = Program(1, 0, 1000, env={"STEADY": "1"})
    r = Recording("dead", "-p", p.pid).wait_ready()
    wait("events reach the disk", lambda: on_disk(r.dir) > 200000)
    r.p.kill()
    r.p.wait()
    events, _ = babeltrace(r.dir)
    check("what had reached the disk is readable", events > 1000, events)
    one = json.loads(gander("list", "--json", "-p", p.pid).stdout)[0]
    same("the recording is an orphan", [x["collector_alive"] for x in one["recordings"]], [False])
    r = Recording("next", "-p", p.pid).wait_ready()
    one = json.loads(gander("list", "--json", "-p", p.pid).stdout)[0]
    same("the next one cleans up", [x["collector_alive"] for x in one["recordings"]], [True])
    wait("events reach the disk again", lambda: on_disk(r.dir) > 200000)
    agree(r.dir, r.stop(None))
    p.end()


@case
def flight_recorder():
    p = Program(2, 0, 1000, env={"STEADY": "1", "COUNTS": new("fr-counts")}, name="flight" + TAG)
    r = Recording("fr", "-p", p.pid, "--overwrite", "--buffer", "2M").wait_ready()
    p.emits(500000)  # several times what the ring holds
    res = json.loads(gander("snapshot", "-p", "flight" + TAG, "-o", new("snap1"), "--json").stdout)
    same("events of the snapshot", babeltrace(new("snap1"))[0], res["events"])
    check("older events were overwritten", res["overwritten"] > 0, res)
    for _ in range(100):  # the program may not have had a CPU in these 10 ms
        shutil.rmtree(new("snap2"), ignore_errors=True)
        asked = time.time()
        last = json.loads(gander("snapshot", "-p", p.pid, "--last", "10ms", "-o", new("snap2"), "--json").stdout)
        if last["events"]:
            break
    same("events of the last 10 ms", babeltrace(new("snap2"))[0], last["events"])
    check("fewer than all", 0 < last["events"] < res["events"], (last, res))
    times = subprocess.run(["babeltrace2", "--clock-seconds", new("snap2")], capture_output=True, text=True).stdout.splitlines()
    at = [float(re.match(r"\[([0-9.]+)\]", t).group(1)) for t in (times[0], times[-1])]
    check("none is older", at[0] > asked - 0.011, (asked, at))
    p.kill()
    dead = json.loads(gander("snapshot", "-p", p.pid, "--last", "1s", "-o", new("snap3"), "--json", status=None).stdout or "{}")
    if dead:  # the recorder's own collector may have been quicker
        same("events of the dead", babeltrace(new("snap3"))[0], dead["events"])
    out = r.result(0)
    agree(r.dir, out)
    check("overwritten is told", out["lost"]["overwritten"] > 0, out)
    page = gander("report", r.dir).stdout
    check("and is no loss", re.search(r"^LOST\n  nothing\n +%d  overwritten" % out["lost"]["overwritten"], page, re.M), page)


@case
def flight_recorder_at_full_speed():
    """Two threads turn a small ring faster than it can be written: what a snapshot has is whole packets all the same."""
    p = Program(2, env={"STEADY": "1", "COUNTS": new("ffs-counts")}, name="speed" + TAG)
    r = Recording("ffs", "-p", p.pid, "--overwrite", "--buffer", "2M").wait_ready()
    some = 0
    for i in range(4):
        p.emits(200000)  # once around the ring
        d = new("speed%d" % i)
        res = json.loads(gander("snapshot", "-p", p.pid, "-o", d, "--json").stdout)
        out = subprocess.run(["babeltrace2", d], capture_output=True, text=True)
        seen = [tuple(map(int, x)) for x in re.findall(r"test\.step: .*thread = (\d+), n = (\d+)", out.stdout)]
        same("events of snapshot %d" % i, (out.returncode, len(out.stdout.splitlines())), (0, res["events"]))
        for thread in (0, 1):
            n = [n for t, n in seen if t == thread]
            check("thread %d's are in order" % thread, all(a < b for a, b in zip(n, n[1:])), [(a, b) for a, b in zip(n, n[1:]) if a >= b][:3])
        check("threads are threads", {t for t, _ in seen} <= {0, 1}, {t for t, _ in seen})
        some += res["events"]
        shutil.rmtree(d)
    check("there are events", some > 1000, some)
    p.kill()
    r.stop(None)


@case
def flight_recorder_of_many():
    p = Program(1, 20000, env={"HOLD": "1"}, name="crashin" + TAG)
    r = Recording("frm", "--all", "--overwrite", "-e", "test.*").wait_ready()
    n = p.go()
    p.kill()
    wait("its death is noticed", lambda: [q for q in manifest(r.dir)["programs"] if q["comm"] == "crashin" + TAG and q["state"] != "running"])
    d = json.loads(gander("snapshot", "-p", p.pid, "-o", new("frm2"), "--json").stdout)
    same("a dead program's events are still there", (d["events"], babeltrace(new("frm2"))[0]), (n, n))
    r.stop(None)
    same("and in the recording", [q["events"] for q in manifest(r.dir)["programs"] if q["comm"] == "crashin" + TAG], [n])
    left = [x for x in json.loads(gander("list", "--json").stdout) if x.get("comm") == "crashin" + TAG]
    same("its region is gone with the recording", left, [])


@case
def snapshot_of_the_dead():
    p = Program(1, 50000)
    r = Recording("sd", "-p", p.pid, "--overwrite").wait_ready()
    n = p.done()
    r.p.kill()  # nobody is left to save it
    r.p.wait()
    p.kill()
    d = json.loads(gander("snapshot", "-p", p.pid, "-o", new("sd2"), "--json").stdout)
    same("everything is there", (d["events"], babeltrace(new("sd2"))[0]), (n, n))
    left = [x["path"] for x in json.loads(gander("list", "--json").stdout) if x.get("pid_inside") == p.pid and x["kind"] == "program"]
    same("its region is still there", len(left), 1)
    q = Program(1, 1)
    states = [line.split()[5:] for line in gander("list").stdout.splitlines() if re.match(r" *[0-9]+ ", line)]
    dead = ["dead" in x for x in states]
    check("those that live are listed first", dead == sorted(dead) and not dead[0], dead)
    check("and of the dead not too many", sum(dead) <= 20, sum(dead))
    q.end()
    os.unlink(left[0])


@case
def counting():
    p = Program(2, 5000)
    c = subprocess.Popen([GANDER, "count", "-p", str(p.pid), "--json"], stdout=subprocess.PIPE, text=True)
    n = p.done()
    c.send_signal(signal.SIGINT)
    got = {x["event"]: x["count"] for x in json.loads(c.communicate()[0])["counts"]}
    same("counts", got, {"test.step": 10000, "test.text": 1000})
    same("sum", sum(got.values()), n)
    r = json.loads(gander("count", "-p", p.pid, "--json", "--for", "0.1s").stdout)
    same("the next count begins with nothing", r["counts"], [])
    r = gander("count", "-p", p.pid, "--json", "--for", "0.1s", "-e", "no.such.*", status=3)
    check("a pattern that matches nothing", "no event matched 'no.such.*'" in r.stderr, r.stderr)
    p.end()
    p = Program(1, 1000, env={"HOLD": "1"})
    r = Recording("counted", "-p", p.pid, "-c", "none").wait_ready()
    p.go()
    agree(r.dir, r.stop())
    r = json.loads(gander("count", "-p", p.pid, "--json", "--for", "0.1s").stdout)
    same("recorded events are no hits", r["counts"], [])
    p.end()
    p = Program(1, 1000, env={"TEXT": "1"})
    c = subprocess.Popen([GANDER, "count", "-p", str(p.pid), "--by", "path", "--json", "-e", "*"], stdout=subprocess.PIPE, text=True)
    p.done()
    c.send_signal(signal.SIGINT)
    got = {x["value"]: x["count"] for x in json.loads(c.communicate()[0])["counts"]}
    same("by value", got, {"/": 25, "/api/cart": 25, "/api/pay": 25, "/static/logo.png": 25})
    p.end()


@case
def counting_many_writers():
    """Forty slots that all count from the first moment on: each has memory for its counters."""
    p = Program(40, 0, 2000, env={"STEADY": "1", "GO": "1", "GANDER_WRITER": "pool"})
    end = time.time() + 60
    while len(os.listdir("/proc/%d/task" % p.pid)) < 41 and time.time() < end:
        time.sleep(0.01)
    r = json.loads(gander("count", "-p", p.pid, "--json", "--for", "0.5s").stdout)
    same("nothing is lost", r["lost"], 0)
    check("and something is counted", sum(x["count"] for x in r["counts"]) > 1000, r)
    p.end()


@case
def changed_while_recording():
    p = Program(1, 0, 1000, env={"STEADY": "1", "GO": "1", "COUNTS": new("chg-counts")})
    r = Recording("chg", "-p", p.pid, "-e", "test.text").wait_ready()
    p.emits(5000)
    said = gander("record", "--session", r.dir, "--add", "test.st*")
    check("it says how many classes", "2 event classes" in said.stderr, said.stderr)
    p.emits(5000)
    said = gander("record", "--session", r.dir, "--remove", "test.st*")
    check("one again", "1 event classes" in said.stderr, said.stderr)
    p.emits(5000)
    session = manifest(r.dir)["session"]
    gander("record", "--session", session[:10], "--stop")
    res = r.result(None)
    agree(r.dir, res)
    steps, _ = babeltrace(r.dir, "test.step")
    check("steps only between", 0 < steps < res["events"], steps)
    check("an end is told", "no recording" in gander("record", "--session", session, status=1).stderr)
    p.end()


@case
def limits_and_chunks():
    p = Program(1, 0, 500, env={"STEADY": "1"})
    r = gander("record", "-p", p.pid, "--max-size", "1M", "-o", new("max"), "--json", status=None)
    res = json.loads(r.stdout)
    agree(new("max"), res)
    check("it stopped by itself", 900000 < res["bytes"] < 60000000, res["bytes"])
    r = Recording("rot", "-p", p.pid, "--rotate", "1M", "--keep", "3")
    wait("more than three chunks", lambda: os.path.exists(new("rot/chunk-000006")))
    res = r.stop(None)
    chunks = manifest(new("rot"))["chunks"]
    same("chunks", sorted(chunks), sorted(x for x in os.listdir(new("rot")) if x.startswith("chunk")))
    check("three of many", len(chunks) == 3 and int(chunks[-1][-6:]) > 3, chunks)
    total = 0
    for c in chunks:
        events, lost = babeltrace(new("rot") + "/" + c)
        m = manifest(new("rot") + "/" + c)
        same("each by itself", (m["events"], m["lost"]["total"]), (events, lost))
        total += events
    check("fewer than all", total < res["events"])
    r = gander("record", "-p", p.pid, "--rotate", "0.3s", "--for", "1s", "-o", new("rot2"), "--json", status=None)
    res = json.loads(r.stdout)
    total = lost = 0
    for c in manifest(new("rot2"))["chunks"]:
        e, q = babeltrace(new("rot2") + "/" + c)
        total, lost = total + e, lost + q
    same("nothing between the chunks", (total, lost), (res["events"], res["lost"]["total"]))
    p.end()
    p = Program(1, 0, 1000, env={"STEADY": "1", "COUNTS": new("rot3-counts")}, name="rot" + TAG)
    r = Recording("rot3", "-p", p.pid, "--buffer", "1M", "-e", "test.*", "-e", "no.such.*", "--rotate", "0.1s").wait_ready()
    wait("chunks", lambda: os.path.exists(new("rot3/chunk-000003")))
    r.p.send_signal(signal.SIGSTOP)
    p.emits(1000000)  # of which most are lost
    r.p.send_signal(signal.SIGCONT)
    wait("a chunk with losses", lambda: len(manifest(r.dir)["chunks"]) > 5)
    p.kill()
    res = r.result(None)
    chunks = [manifest(r.dir + "/" + c) for c in manifest(r.dir)["chunks"]]
    check("each begins where the last one has ended", all(a["start_ns"] < a["end_ns"] <= b["start_ns"] for a, b in zip(chunks, chunks[1:])), [(c["start_ns"], c["end_ns"]) for c in chunks])
    one = json.loads(gander("report", r.dir, "--json", status=3).stdout)
    same("the report has what the chunks say of losses", one["lost_by_reason"]["full"], res["lost"]["full"])
    check("which there are", res["lost"]["full"] > 500000, res)
    same("of problems, once", sum("no event matched 'no.such.*'" in q["text"] for q in one["problems"]), 1)
    check("and of how the program ended", {q["state"] for q in one["programs"] if q["name"] == "rot" + TAG} <= {"signal 9", "ended"}, one["programs"])


@case
def all_programs_and_later_ones():
    first = Program(1, 1000, name="first" + TAG)
    r = Recording("all", "--all", "-e", "test.*").wait_ready()
    second = Program(1, 2000, name="second" + TAG)
    n = first.done() + second.done()
    first.end()
    second.end()
    third = Program(1, 3000, name="third" + TAG)
    n += third.done()
    third.end()
    res = r.stop(None)
    agree(r.dir, res)
    m = manifest(r.dir)
    mine = [q for q in m["programs"] if q["comm"] in ("first" + TAG, "second" + TAG, "third" + TAG)]
    same("programs", sorted(q["comm"] for q in mine), ["first" + TAG, "second" + TAG, "third" + TAG])
    same("all of theirs", sum(q["events"] + q["lost"]["total"] for q in mine), n)


@case
def full_disk():
    if os.geteuid():
        raise Skip("needs root to mount")
    d = new("small")
    os.mkdir(d)
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=2M", "none", d])
    try:
        p = Program(1, 0, 100, env={"STEADY": "1"})
        r = subprocess.run([GANDER, "record", "-p", str(p.pid), "-o", d + "/rec", "--json"], capture_output=True, text=True, timeout=300)
        same("status", r.returncode, 3)
        check("it says so", "stopped early" in r.stderr and "No space" in r.stderr, r.stderr)
        res = json.loads(r.stdout)
        events, lost = babeltrace(d + "/rec")
        same("it keeps what it has", (events, lost), (res["events"], res["lost"]["total"]))
        check("more than a megabyte", res["bytes"] > 1000000, res)
        m = manifest(d + "/rec")
        same("gander.json says it", m["state"], "failed")
        p.end()
        # what a ring holds at the end, on a disk with room for some packets of it
        shutil.rmtree(d + "/rec")
        p = Program(1, 0, 100, env={"STEADY": "1", "COUNTS": new("ring-counts")})
        r = subprocess.Popen([GANDER, "record", "-p", str(p.pid), "-o", d + "/ring", "--overwrite", "--buffer", "8M", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait("the ring's recording begins", lambda: os.path.exists(d + "/ring/gander.json") or r.poll() is not None)
        p.emits(1000000)  # more than the ring holds
        r.send_signal(signal.SIGINT)
        out, said = r.communicate(timeout=60)
        same("status, of a ring", r.returncode, 3)
        check("it says so, of a ring", "No space" in said, said)
        res = json.loads(out)
        events, _ = babeltrace(d + "/ring")
        same("it keeps as much of the ring as there is room for", events, res["events"])
        check("to the last packets", res["bytes"] > 1500000, res)
        p.end()
    finally:
        subprocess.call(["umount", d])


@case
def another_user():
    if os.geteuid():
        raise Skip("needs root to become another user")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    p = Program(1, 1000)
    d = new("nobody")
    os.mkdir(d)
    os.chown(d, 65534, 65534)
    r = subprocess.run([*nobody, GANDER, "record", "-p", str(p.pid), "-o", d + "/r"], capture_output=True, text=True)
    check("whose it is", r.returncode == 1 and "belongs to root" in r.stderr and "run gander as" in r.stderr, r.stderr)
    p.end()
    p = Program(1, 1000, wrap=nobody)
    r = Recording("nobody/own", "-p", p.pid, wrap=nobody).wait_ready()
    agree(r.dir, r.stop() if p.done() == 1100 else None, 1100)
    r = Recording("root", "-p", p.pid)
    r.wait_ready()
    r.stop()
    seen = json.loads(subprocess.run([*nobody, GANDER, "list", "--json"], capture_output=True, text=True).stdout)
    same("sees its own only", {x["uid"] for x in seen if x["kind"] == "program"}, {65534})
    p.end()


@case
def container():
    if os.geteuid():
        raise Skip("needs root to make a container")
    wrap = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c",
            'mount -t tmpfs -o size=64M none /dev/shm && exec "$@"', "sh"]
    p = Program(1, 20000, wrap=wrap, name="contain" + TAG)
    seen = [x for x in json.loads(gander("list", "--json").stdout) if x.get("comm") == "contain" + TAG]
    same("it is seen", len(seen), 1)
    pid = seen[0]["pid"]
    check("by its pid here", pid != seen[0]["pid_inside"], seen)
    r = Recording("cont", "-p", pid).wait_ready()
    agree(r.dir, r.stop() if p.done() == 22000 else None, 22000)
    r = Recording("cont2", "--all").wait_ready()
    r.stop(None)
    check("--all has it", any(q["comm"] == "contain" + TAG for q in manifest(r.dir)["programs"]))
    p.end()


@case
def squatters():
    base = "/dev/shm/gander.%d." % os.geteuid()
    made = [base + "%08x%08x" % (os.getpid(), i) for i in range(6)]
    victim = new("victim")
    with open(victim, "w") as f:
        f.write("mine")
    try:
        os.mkfifo(made[0], 0o600)
        os.symlink(victim, made[1])
        os.mkdir(made[2])
        with open(made[3], "wb") as f:
            f.write(b"x" * 100)
        os.chmod(made[3], 0o600)
        with open(made[4], "wb") as f:
            f.write(b"\xff" * (5 << 20))
        os.chmod(made[4], 0o600)
        with open(made[5], "wb") as f:
            f.write(b"GNDDRNG1" + struct.pack("<HHI", 2, 0, 1) + b"\0" * (5 << 20))
        os.chmod(made[5], 0o600)
        refused = {x["path"]: x["why"] for x in json.loads(gander("list", "--json").stdout) if x["kind"] == "refused"}
        for path, why in zip(made, ["no regular file", "symbolic link", "no regular file", "too small", "bad magic", "version 2.0"]):
            check(path, why in refused.get(path, ""), refused.get(path))
        p = Program(1, 1000, name="squatte" + TAG)
        r = Recording("squat", "--all", "-e", "test.*").wait_ready()
        p.done()
        r.stop(3)  # what was refused is told
        same("others are recorded", [q["events"] for q in manifest(r.dir)["programs"] if q["comm"] == "squatte" + TAG], [1100])
        p.end()
        same("nothing was followed", open(victim).read(), "mine")
        check("nothing was removed", all(os.path.lexists(x) for x in made))
    finally:
        for x in made:
            if os.path.isdir(x) and not os.path.islink(x):
                os.rmdir(x)
            elif os.path.lexists(x):
                os.unlink(x)


@case
def many_dead():
    """Regions of programs that have died, which nobody has removed: those that begin among them are recorded from their first event on, and the dead are let alone."""
    if "COLLECT_ALONE" not in os.environ:
        raise Skip("needs a /dev/shm of its own")
    p = Program(1, 10)
    path = next(x["path"] for x in json.loads(gander("list", "--json").stdout) if x.get("pid") == p.pid)
    p.kill()
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(4096)
    made = ["/dev/shm/gander.%d.%016x" % (os.geteuid(), i) for i in range(300)]
    try:
        for x in made:
            with open(x, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
                f.write(head)
                f.truncate(size)
        d = new("amongdead")
        r = gander("record", "-o", d, "--json", "-q", "--", "sh", "-c", "for i in 1 2 3 4 5; do GO=1 %s 1 1000 0 0 0; done" % EMITTER)
        m = agree(d, json.loads(r.stdout.splitlines()[-1]), 5 * 1100)
        same("its programs, and nobody else", len(m["programs"]), 5)
        # a starting program looks at eight files, each fourth time, and removes what is dead
        check("the dead are let alone", sum(map(os.path.exists, made)) >= len(made) - 5 * 8)
    finally:
        for x in made:
            if os.path.exists(x):
                os.unlink(x)


@case
def nothing_in_it():
    r = gander("record", "-o", new("void"), "--", "true")
    check("a program without events: it is said", "nothing that ran has gander events" in r.stderr, r.stderr)
    check("its report", "0 events of 0 programs" in gander("report", new("void")).stdout)


@case
def nobody_reads():
    p = Program(1, 5000, env={"HOLD": "1"})
    r = Recording("unread", "-p", p.pid).wait_ready()
    p.go()
    r.stop()
    ring = Recording("unread-ring", "-p", p.pid, "--overwrite").wait_ready()
    pid, d = str(p.pid), new("unread")
    end, closed = os.pipe()
    os.close(end)
    verbs = [["--help"], ["help"], ["--version"], ["list", "--help"], ["help", "events"], ["list"], ["list", "--json"], ["list", "-e", "-p", pid], ["report", d], ["report", d, "--json"],
             ["events", d], ["events", d, "--json"], ["events", "-n", "10", d], ["events", "-c", d], ["events", d, d], ["export", d], ["export", d, "--to", "csv"], ["export", d, "-o", "-"],
             ["count", "-p", pid, "-i", "0.1s"], ["count", "-p", pid, "--json", "--for", "0.1s"], ["record", "-p", pid, "--for", "0.1s", "--json", "-q", "-o"],
             ["record", "--json", "-q", "-o"], ["snapshot", "-p", pid, "--json", "-q", "-o"]]
    for i, args in enumerate(verbs):
        command = ["--", "sh", "-c", "exit 7"] if args[0] == "record" and "-p" not in args else []
        outs = [[new("unread-%d-%d" % (i, n))] if args[-1] == "-o" else [] for n in (0, 1)]
        r = subprocess.run([GANDER, *args, *outs[0], *command], stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60)
        check("%s | head" % " ".join(args), r.returncode in (7 if command else 0, -signal.SIGPIPE) and "cannot write" not in r.stderr, "%d %s" % (r.returncode, r.stderr))
        if args[0] == "count":
            args += ["--for", "0.1s"]
        with open("/dev/full", "w") as full:
            r = subprocess.run([GANDER, *args, *outs[1], *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        check("%s to a full disk" % " ".join(args), r.returncode == 1 and r.stderr.count("cannot write the output: No space left on device") == 1, "%d %s" % (r.returncode, r.stderr))
        for out in outs[1]:
            check("what was recorded is there, whatever could not be told", manifest(out)["state"] == "complete")
    os.close(closed)
    p.end()
    ring.result(None)


@case
def on_a_terminal():
    """The report's lines are as wide as the terminal, and say the same."""
    p = Program(1, 100)
    gander("record", "-p", p.pid, "--for", "0.1s", "-e", "test.*", "-e", "no.such.event.anywhere.in.this.program", "-o", new("shown"), status=3)
    plain = gander("report", new("shown"), status=3).stdout
    check("a line is long", max(map(len, plain.splitlines())) > 100, plain)
    for width in 100, 80, 40:
        ours, its = os.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 25, width, 0, 0))
        attr = termios.tcgetattr(its)
        attr[1] &= ~termios.OPOST
        termios.tcsetattr(its, termios.TCSANOW, attr)
        with subprocess.Popen([GANDER, "report", new("shown")], stdin=subprocess.DEVNULL, stdout=its) as r:
            os.close(its)
            text = b""
            try:
                while data := os.read(ours, 65536):
                    text += data
            except OSError:  # nobody has it open any more
                pass
        os.close(ours)
        text = text.decode()
        same("the same words, %d columns" % width, text.split(), plain.split())
        check("%d columns" % width, all(len(x) <= width or len(x.split()) == 1 for x in text.splitlines()), text)
        check("lines that fit are as they were", {x for x in plain.splitlines() if len(x) <= width} <= set(text.splitlines()), text)
    p.end()


@case
def bad_input():
    open(new("something"), "w").close()
    p = Program(1, 10)
    for args, status, text in [
        (["record"], 2, "which program"),
        (["record", "-p", "999999999"], 1, "no process"),
        (["record", "-p", "no-such-name"], 1, "no program"),
        (["record", "-p", p.pid, "-e", "ab[c"], 2, "  ab[c\n    ^"),
        (["record", "-p", p.pid, "-e", "x\\"], 2, "column 2"),
        (["record", "-p", p.pid, "--where", "status >= "], 2, "^"),
        (["record", "-p", p.pid, "--where", "status >> )"], 2, "^"),
        (["record", "-p", p.pid, "--level", "loud"], 2, "no level"),
        (["record", "-p", p.pid, "-c", "tid,what"], 2, "column 5"),
        (["record", "-p", p.pid, "--rotate", "often"], 2, "--rotate"),
        (["record", "-p", p.pid, "--for", "soon"], 2, "no duration"),
        (["record", "-p", p.pid, "--for", "0s"], 2, "more than 0"),
        (["count", "-p", p.pid, "--for", "0"], 2, "more than 0"),
        (["record", "-p", os.getpid(), "-o", new("none")], 1, "no gander events"),
        (["record", "-p", p.pid, "-o", "/proc/nothing/here"], 1, "cannot make"),
        (["record", "-p", p.pid, "-o", TOP], 1, "not empty"),
        (["record", "--"], 2, "no command"),
        (["record", "what"], 2, "no option"),
        (["snapshot", "-p", p.pid, "-o", new("nosnap")], 1, "no flight recorder"),
        (["snapshot", "-p", "999999999", "-o", new("nosnap")], 1, "no process"),
        (["count", "-p", p.pid, "--by", "(("], 2, ""),
        (["list", "-p", "999999999"], 1, "no process"),
        (["recrod"], 2, "did you mean 'record'?"),
        (["xyzzy"], 2, "there is no verb 'xyzzy' ("),
        (["go", "shed", "x"], 2, "there is no verb 'go shed'; did you mean 'go sched'? (gander go --help"),
        (["sched", "x"], 2, "did you mean 'gander go sched'?"),
        (["go", "record"], 2, "did you mean 'gander record'?"),
        (["record", "--snapshot-wehn=x"], 2, "unknown option '--snapshot-wehn=x'; did you mean '--snapshot-when'? ("),
        (["record", "--xyzzy"], 2, "unknown option '--xyzzy' ("),
    ]:
        r = gander(*args, status=status)
        check(" ".join(map(str, args)), text in r.stderr and "gander: " in r.stderr, r.stderr)
    same("gander help VERB", gander("help", "record").stdout, gander("record", "--help").stdout)
    same("gander help go VERB", gander("help", "go", "sched").stdout, gander("go", "sched", "--help").stdout)
    same("gander go help VERB", gander("go", "help", "sched").stdout, gander("go", "sched", "--help").stdout)
    r = gander("record", "-p", p.pid, "-e", "no.such.event", "--for", "0.1s", "-o", new("unknown"), status=3)
    check("an unknown event", "no event matched 'no.such.event'" in r.stderr, r.stderr)
    p.end()


@case
def under_valgrind():
    """A program that valgrind runs, recorded; then what is recorded, read under valgrind. (It offers no restartable sequences: the writer is the pool's.)"""
    if not shutil.which("valgrind"):
        raise Skip("no valgrind")
    log = new("memcheck")
    memcheck = ["valgrind", "-q", "--vgdb=no", "--leak-check=full", "--show-leak-kinds=all", "--log-file=" + log + ".%p"]

    def silent(what):
        """But for pidfd_open() and openat2(), which valgrind 3.19 does not know and answers with ENOSYS, as kernels before 5.3 and 5.6 do."""
        logs = [x for x in os.listdir(TOP) if x.startswith("memcheck.")]
        check(what + " ran under valgrind", logs)
        for name in logs:
            with open(new(name), errors="replace") as f:
                text = re.sub(r"--\d+-- WARNING: unhandled amd64-linux syscall: (434|437)\n(--\d+-- .*\n){4}", "", f.read())
            check("memcheck says nothing of " + what, not text.strip(), text)
            os.unlink(new(name))

    d = new("memchecked")
    r = gander("record", "-o", d, "--json", "-q", "--", *memcheck, EMITTER, 4, 2000, 0, 0, 0, env=dict(os.environ, GO="1", FORK="1"))
    m = agree(d, json.loads(r.stdout.splitlines()[-1]), 5 * 2200)
    same("nothing lost", m["lost"]["total"], 0)
    silent("a program that emits and forks")
    p = Program(2, 1000, env={"HOLD": "1"}, wrap=memcheck, name="memchecked" + TAG)
    rec = Recording("memattached", "-p", p.pid).wait_ready()
    n = p.go()
    m = agree(rec.dir, rec.stop(), n)
    same("attached, nothing lost", m["lost"]["total"], 0)
    p.end()
    silent("a program that a collector has attached to and left")
    for args in (["report", d], ["events", "-n", "500", d], ["record", "-o", new("memcollected"), "--json", "-q", "--", EMITTER, 2, 1000, 0, 0, 0]):
        r = subprocess.run([*memcheck, GANDER, *map(str, args)], capture_output=True, text=True, timeout=120, env=dict(os.environ, GO="1"))
        same("gander %s: status" % args[0], r.returncode, 0)
        silent("gander " + args[0])
    agree(new("memcollected"), json.loads(r.stdout.splitlines()[-1]), 2200)


def main():
    passed = failed = skipped = 0
    for fn in CASES:
        if ONLY and ONLY not in fn.__name__:
            continue
        begin, before = time.time(), checks
        try:
            fn()
            passed += 1
            print("ok    %-32s %2d checks %5.1f s" % (fn.__name__, checks - before, time.time() - begin))
        except Skip as e:
            skipped += 1
            print("skip  %-32s %s" % (fn.__name__, e))
        except Exception as e:  # noqa: the run goes on, and says what broke
            failed += 1
            print("FAIL  %s: %s: %s" % (fn.__name__, type(e).__name__, e))
        sys.stdout.flush()
    shutil.rmtree(TOP, ignore_errors=True)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
