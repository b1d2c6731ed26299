#!/usr/bin/env python3
"""flight.py GANDER: the Go runtime's trace of programs with the flight package, taken from outside.

Each trace must be one that gander's reader and `go tool trace` open. FLIGHT_KILLS=1000 is the long form of the kills; GO_VERSIONS="1.22.12 1.27.4"
builds the program with these too. Nothing here depends on how long something takes: what is awaited is awaited long.
"""
import collections
import concurrent.futures
import fcntl
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
gander = os.path.abspath(sys.argv[1])
LONG = 120
mine = threading.local()  # what the tests of this thread have said


def say(kind, text):
    mine.count[kind] += 1
    mine.lines.append("%-4s %s" % (kind, text))


def case(ok, text, more=""):
    say("ok" if ok else "FAIL", text + ("" if ok or not more else "\n     | " + str(more)[:1500].replace("\n", "\n     | ")))
    return ok


def skip(text):
    say("skip", text)


def one(test, *args):
    """Runs one test and returns what it counted and said."""
    mine.count, mine.lines = collections.Counter(), []
    try:
        test(*args)
    except Exception:
        say("FAIL", "%s: %s" % (test.__name__, traceback.format_exc()))
    return mine.count, mine.lines


def go_env(version=None):
    env = dict(os.environ, GOFLAGS="-mod=mod", GOWORK="off", GOPROXY="off" if not version else os.environ.get("GOPROXY", ""))
    if version:
        env["GOTOOLCHAIN"] = "go" + version
        if not env["GOPROXY"]:
            del env["GOPROXY"]
    return env


def build(name, to, version=None):
    p = subprocess.run(["go", "build", "-o", to, "."], cwd=os.path.join(HERE, name), env=go_env(version), capture_output=True, text=True)
    return p.returncode == 0, p.stdout + p.stderr


class Program:
    """One of the programs, spoken to over its standard input."""

    def __init__(self, path, *args, env=None, fds=()):
        self.p = subprocess.Popen([path, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=dict(os.environ, **(env or {})), pass_fds=fds)
        words = self.p.stdout.readline().split()
        if not words or words[0] != "ready":
            raise SystemExit("%s does not start: %s" % (path, self.p.stderr.read()))
        self.version, self.address = words[1], words[2] if len(words) > 2 else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        for f in (self.p.stdin, self.p.stdout, self.p.stderr):
            f.close()

    @property
    def pid(self):
        return str(self.p.pid)

    def do(self, command):
        self.p.stdin.write(command + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def kill(self):
        self.p.kill()
        self.p.wait()


def rested(program):
    """Once its pilot sleeps: what is asked before that it sees by itself."""
    return until(lambda: program.do("rests") == "true")


class Region:
    """A program's region, as it or a collector of another version may write it: docs/region.md."""
    WAKE_FD, WAKE_INO, FLY, ASK, STATE = 156, 772, 0x4100c, 0x41010, 0x72000

    def __init__(self, program):
        with open("/proc/%s/maps" % program.pid) as f:
            path = next(line.split()[5] for line in f if "/gander." in line)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0x80000)

    def get(self, at):
        return struct.unpack_from("=I", self.map, at)[0]

    def put(self, at, value):
        struct.pack_into("=I", self.map, at, value)

    def ask(self):
        struct.pack_into("=QIIII", self.map, self.ASK, time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 3600 * 10**9, 0, 0, 0, 0)
        self.put(self.FLY, 1)

    def bell(self):
        until(lambda: self.get(self.WAKE_FD))
        return self.get(self.WAKE_FD) - 1


def until(what, seconds=LONG):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.02)
    return None


def run(*args):
    p = subprocess.run([gander, *args], capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr


def manifest(rec):
    try:
        with open(os.path.join(rec, "gander.json")) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def traces(rec):
    return [g for g in manifest(rec).get("go", []) if "file" in g]


def check_trace(path, go_too=True):
    """What is wrong with a trace, "" when nothing is."""
    code, out, err = run("go", "summary", path, "--json")
    if code or not go_too:
        return "gander: " + err if code else ""
    p = subprocess.run(["go", "tool", "trace", "-d=parsed", path], capture_output=True, text=True)
    if p.returncode or "failed" in p.stderr:
        return "go tool trace: " + (p.stderr or p.stdout)[-500:]
    return ""


def check_recording(rec, text, least=1):
    """Its Go traces are listed truly and can be read."""
    listed = traces(rec)
    if not case(len(listed) >= least, "%s: %d Go trace%s" % (text, len(listed), "" if len(listed) == 1 else "s"), manifest(rec)):
        return listed
    for g in listed:
        path = os.path.join(rec, g["file"])
        why = check_trace(path)
        case(not why, "%s: %s, %d generations, can be read" % (text, g["format"], g["generations"]), why)
        case(g["bytes"] == os.path.getsize(path) and g["begin_mono_ns"] < g["end_mono_ns"] and g["clock"] == "monotonic" and
             g["last_generation"] - g["first_generation"] + 1 == g["generations"], "%s: what gander.json says of it is so" % text, g)
    return listed


class Recorder:
    def __init__(self, *args):
        self.p = subprocess.Popen([gander, "record", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, how=signal.SIGINT):
        self.p.send_signal(how)
        self.out, self.err = self.p.communicate(timeout=LONG)
        return self.p.returncode


def record_running(prog, tmp):
    rec = os.path.join(tmp, "record")
    with Program(prog) as p:
        r = Recorder("-p", p.pid, "--go", "-o", rec)
        grown = until(lambda: sum(g["generations"] for g in traces(rec)) >= 4)
        case(grown, "record --go: the trace grows while it is recorded")
        for g in traces(rec)[:1]:
            copy = os.path.join(tmp, "growing.trace")
            shutil.copyfile(os.path.join(rec, g["file"]), copy)
            case(not check_trace(copy), "record --go: and can be read meanwhile", check_trace(copy))
        case(p.do("flying") == "true", "record --go: the program flies")
        code = r.end()
        case(code == 0 and "Go trace" in r.err, "record --go ends well", r.err)
        check_recording(rec, "record --go")
        case(until(lambda: p.do("flying") == "false"), "record --go: the program lands when nobody asks any more")
        code, out, err = run("record", "-p", p.pid, "--go", "--for", "50ms", "-o", rec + "-short")
        case(code == (3 if "has no Go trace" in err else 0) and ("Go trace: " in err) == (code == 0), "record --go for too short: it has a trace or says that it has none", (code, err))
        out = run("go", "goroutines", os.path.join(rec, traces(rec)[0]["file"]))[1]
        case("main.work" in out, "record --go: its goroutines are there", out)


def record_command(prog, tmp):
    rec = os.path.join(tmp, "command")
    p = subprocess.run([gander, "record", "--go", "-o", rec, "--", prog], input="flying\nwrite %s\n" % os.path.join(tmp, "own.trace"), capture_output=True, text=True)
    case(p.returncode == 0 and "true" in p.stdout, "record --go -- CMD flies from the start", p.stdout + p.stderr)
    listed = check_recording(rec, "record --go -- CMD")
    case(listed and listed[0]["first_generation"] == 1, "record --go -- CMD: from the first generation on", listed)


def killed(prog, tmp):
    rec, snap = os.path.join(tmp, "overwrite"), os.path.join(tmp, "killed")
    with Program(prog) as p:
        r = Recorder("--overwrite", "--go", "-p", p.pid, "-o", rec)
        until(lambda: p.do("flying") == "true")
        p.do("sleep 1s")
        r.p.send_signal(signal.SIGSTOP)  # else it may have written it down and be gone before the snapshot begins
        p.kill()
        code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        case(code == 0, "snapshot after SIGKILL", err)
        check_recording(snap, "snapshot after SIGKILL")
        r.p.send_signal(signal.SIGCONT)
        r.end()
        case(r.p.returncode == 0, "its recorder ends well", r.err)
        check_recording(rec, "the recorder's own recording of it")


def no_recorder(prog, tmp):
    """Nobody has asked before: the snapshot is of what happens from then on."""
    snap = os.path.join(tmp, "asked")
    with Program(prog) as p:
        code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        case(code == 3 and "afterwards" in err, "snapshot of a program that nobody has asked says so", err)
        check_recording(snap, "snapshot of a program that nobody has asked")
        case(until(lambda: p.do("flying") == "false"), "and it lands again")


def always(prog, tmp):
    """A program that flies by itself, without any collector, and is killed."""
    for how, env, command in (("GANDER_FLIGHT=always", {"GANDER_FLIGHT": "always,period=50ms,bytes=4M"}, "flying"), ("flight.Start", {}, "start")):
        snap, live = os.path.join(tmp, "always-" + command), os.path.join(tmp, "live-" + command)
        with Program(prog, env=env) as p:
            got = p.do(command)
            case(got in ("ok", "true"), how + " makes it fly", got)
            p.do("sleep 700ms")
            code, out, err = run("snapshot", "-p", p.pid, "-o", live, "--last", "300ms")
            case(code == 0, how + ": snapshot of the running program", err)
            for g in check_recording(live, how + ", running"):
                with_all = g["end_mono_ns"] - g["begin_mono_ns"]
                case(g["generations"] >= 1 and with_all > 0, how + ": --last 300ms: %.0f ms" % (with_all / 1e6), g)
            p.kill()
            code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
            case(code == 0, how + ": snapshot after SIGKILL", err)
            check_recording(snap, how + ", killed")


def crashed(prog, tmp):
    snap = os.path.join(tmp, "crashed")
    with Program(prog) as p:
        p.do("start")
        p.do("sleep 500ms")
        p.p.stdin.write("panic\n")
        p.p.stdin.flush()
        p.p.wait()
        case(p.p.returncode == 2, "it panics")
        code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        case(code == 0, "snapshot after a panic", err)
        check_recording(snap, "snapshot after a panic")


def set_aside(prog, tmp):
    """flight.Snapshot: what it sets aside outlives the ring's laps and the program."""
    first, second, dead = (os.path.join(tmp, "aside%d" % i) for i in range(3))
    with Program(prog, "-pause", "100us") as p:
        p.do("small")
        p.do("sleep 200ms")
        before = p.do("snapshot too slow")
        case(before == "ok", "flight.Snapshot", before)
        case("not been taken" in p.do("snapshot again"), "there is room for one")
        p.do("sleep 1s")
        code, out, err = run("snapshot", "-p", p.pid, "-o", first)
        # a small ring may go round while it is read, which is told
        case(code == (3 if "Go trace: lost" in err else 0), "snapshot takes it", err)
        listed = check_recording(first, "set aside and running", 2)
        case(listed and listed[0].get("reason") == "too slow", "with its reason", listed)
        case(len(listed) > 1 and listed[0]["end_mono_ns"] < listed[1]["end_mono_ns"], "before what the ring has now")
        case(until(lambda: p.do("snapshot next") == "ok"), "then there is room again")
        p.kill()
        code, out, err = run("snapshot", "-p", p.pid, "-o", dead)
        listed = check_recording(dead, "set aside by a dead program", 1)
        case(listed and listed[0].get("reason") == "next", "with its reason", listed)


def set_aside_recorded(prog, tmp):
    """While a recording follows the ring, setting aside tears no hole into it."""
    rec = os.path.join(tmp, "aside-recorded")
    with Program(prog) as p:
        r = Recorder("-p", p.pid, "--go", "--go-period", "50ms", "-o", rec)
        until(lambda: sum(g["generations"] for g in traces(rec)) >= 2)
        done = 0
        for i in range(5):
            done += until(lambda: p.do("snapshot %d" % i) == "ok") or 0
            p.do("sleep 100ms")
        case(done == 5, "a recording takes what is set aside", done)
        r.end()
        listed = check_recording(rec, "recorded while parts are set aside")
        case(len(listed) == 1 and listed[0]["lost"]["generations"] == 0, "nothing is lost", listed)


def two_follow(prog, tmp):
    """Two recordings follow one program. What it sets aside waits for the slower one, not for a dead one, and what is lost is told by who has lost it."""
    with Program(prog) as p:
        region = Region(p)
        fast, slow, dead = (os.path.join(tmp, "follows-" + name) for name in ("fast", "slow", "dead"))
        a, b = (Recorder("-p", p.pid, "--go", "--go-period", "50ms", "-o", d) for d in (fast, slow))
        until(lambda: all(sum(g["generations"] for g in traces(d)) >= 2 for d in (fast, slow)))
        for i in range(3):
            b.p.send_signal(signal.SIGSTOP)
            # the fast one has it: a moment later it has written what came behind
            case(until(lambda: p.do("snapshot %d" % i) == "ok"), "two follow: set aside")
            at = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            until(lambda: traces(fast)[-1]["end_mono_ns"] > at)
            b.p.send_signal(signal.SIGCONT)
            until(lambda: traces(slow)[-1]["end_mono_ns"] > at)
        a.end()
        b.end()
        for d, name in ((fast, "the fast"), (slow, "the slow")):
            listed = check_recording(d, "two follow: " + name)
            case(len(listed) == 1 and listed[0]["lost"]["generations"] == 0, "two follow: %s one has lost nothing" % name, listed)
        # one that is killed in the middle: its ask lapses, and then nobody waits for it
        a, b = (Recorder("-p", p.pid, "--go", "--go-period", "50ms", "-o", d) for d in (fast + "-2", dead))
        until(lambda: all(sum(g["generations"] for g in traces(d)) >= 2 for d in (fast + "-2", dead)))
        b.p.kill()
        b.p.communicate()
        case(until(lambda: p.do("snapshot one") == "ok") and until(lambda: p.do("snapshot two") == "ok") and until(lambda: p.do("snapshot three") == "ok"),
             "two follow: a dead one holds nothing for longer than its ask")
        a.end()
        listed = check_recording(fast + "-2", "two follow: who outlives the other")
        case(len(listed) == 1 and listed[0]["lost"]["generations"] == 0, "two follow: and it has lost nothing", listed)
        # one that is stopped for so long that its ask has lapsed
        a, b = (Recorder("-p", p.pid, "--go", "--go-period", "50ms", "-o", d) for d in (fast + "-3", slow + "-3"))
        until(lambda: all(sum(g["generations"] for g in traces(d)) >= 2 for d in (fast + "-3", slow + "-3")))
        b.p.send_signal(signal.SIGSTOP)
        for i in range(8):
            if region.get(region.ASK + 24 * i + 20) == b.p.pid:
                struct.pack_into("=Q", region.map, region.ASK + 24 * i, 1)
        before = sum(g["generations"] for g in traces(fast + "-3"))
        until(lambda: p.do("snapshot four") == "ok")
        until(lambda: p.do("snapshot five") == "ok")
        until(lambda: sum(g["generations"] for g in traces(fast + "-3")) > before + 3)
        b.p.send_signal(signal.SIGCONT)
        at = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        until(lambda: len(traces(slow + "-3")) > 1 and traces(slow + "-3")[-1]["end_mono_ns"] > at)
        a.end()
        code = b.end()
        lost = traces(slow + "-3")[-1]["lost"]["generations"]
        case(code == 3 and lost > 0 and "lost %d generations" % lost in b.err, "two follow: one that came too late tells what it has lost", (code, lost, b.err))
        listed = check_recording(fast + "-3", "two follow: beside one that came too late")
        case(listed[-1]["lost"]["generations"] == 0, "two follow: the other has lost nothing", listed)


def interrupted(prog, tmp):
    """Ctrl-C ends a snapshot that waits for what happens; what has come is taken."""
    snap = os.path.join(tmp, "interrupted")
    with Program(prog) as p:
        q = subprocess.Popen([gander, "snapshot", "-p", p.pid, "--last", "600s", "-o", snap], stderr=subprocess.PIPE, text=True)
        until(lambda: p.do("flying") == "true")
        p.do("sleep 500ms")
        q.send_signal(signal.SIGINT)
        err = q.communicate(timeout=LONG)[1]
        case(q.returncode == 3, "Ctrl-C ends a snapshot that waits", err)
        check_recording(snap, "what had come by then")


def set_aside_kept(prog, tmp):
    """A flight recorder writes it down at once, with the events, and with the kernel's view where there is one."""
    rec = os.path.join(tmp, "aside-kept")
    kernel = run("record", "--kernel", "sched", "-o", rec + "-probe", "--", "true")[0] == 0
    if not kernel:
        skip("set aside with the kernel's view: it is not allowed here")
    with Program(prog) as p:
        r = Recorder("--overwrite", "--go", *(["--kernel", "sched"] if kernel else []), "-p", p.pid, "-o", rec)
        until(lambda: p.do("flying") == "true")
        p.do("sleep 300ms")
        for i in (1, 2):
            until(lambda: p.do("snapshot number %d" % i) == "ok")
            dir = os.path.join(rec, "aside-%06d" % i)
            until(lambda: manifest(dir).get("state") == "complete")
            listed = check_recording(dir, "set aside in a flight recorder")
            case(listed and listed[0].get("reason") == "number %d" % i and manifest(dir)["events"] > 0, "with its reason and the events", listed)
            case(not kernel or manifest(dir)["kernel"]["events"] > 0, "and the kernel's view", manifest(dir).get("kernel"))
        r.end()
        check_recording(rec, "and the recorder's own end")


def asides_are_bounded(prog, tmp):
    """A program that sets aside without end fills no disk."""
    rec = os.path.join(tmp, "asides")
    with Program(prog) as p:
        r = Recorder("--overwrite", "--go", "--max-snapshots", "1", "-p", p.pid, "-o", rec)
        case(until(lambda: p.do("snapshot one") == "ok") and until(lambda: manifest(rec + "/aside-000001").get("state") == "complete"), "one is taken")
        case(until(lambda: p.do("snapshot two") == "ok"), "there is room for one more")
        case(until(lambda: any("--max-snapshots" in q["text"] for q in manifest(rec).get("problems", []))), "which is told to be too many", manifest(rec).get("problems"))
        case(not os.path.exists(rec + "/aside-000002"), "and is not taken")
        r.end()


def size_is_kept(prog, tmp):
    """--max-size is of all that a recording has, and a Go trace is most of this one."""
    rec = os.path.join(tmp, "size")
    with Program(prog, "-pause", "100us") as p:
        r = Recorder("-p", p.pid, "-e", "none.of.them", "--go", "--max-size", "64k", "-o", rec)
        case(until(lambda: r.p.poll() is not None), "ends by itself")
        r.end()
        size = sum(g["bytes"] for g in traces(rec))
        case(size >= 64 << 10, "when it is so large: %d bytes" % size, r.err)


def overrun(prog, tmp):
    """A collector that is stopped while the ring goes round: generations are lost, counted, and what is there can be read."""
    rec = os.path.join(tmp, "overrun")
    with Program(prog, "-pause", "20us", "-goroutines", "16") as p:
        p.do("small")
        r = Recorder("-p", p.pid, "--go", "-o", rec)
        until(lambda: sum(g["generations"] for g in traces(rec)) >= 2)
        r.p.send_signal(signal.SIGSTOP)
        p.do("sleep 2s")
        r.p.send_signal(signal.SIGCONT)
        before = len(traces(rec))
        until(lambda: len(traces(rec)) > before, 20)
        r.end()
        listed = check_recording(rec, "overrun")
        lost = listed[-1]["lost"]["generations"] if listed else 0
        if len(listed) > 1:
            case(lost > 0 and "lost %d generations" % lost in r.err, "%d lost generations are told" % lost, r.err)
        else:
            skip("overrun: the ring was large enough here")


def starved(prog, tmp):
    """A tmpfs that is full, or nearly: what is written can be read, what is not is told, and why there is nothing at all."""
    mount = "mount -t tmpfs -o size=4m tmpfs /dev/shm && exec \"$@\""
    if os.geteuid() or subprocess.run(["unshare", "--mount", "sh", "-c", mount, "sh", "true"], capture_output=True).returncode:
        return skip("a full tmpfs: no right to mount one")
    for pages in (0, 20, 40, 44, 48):
        snap = os.path.join(tmp, "starved-%d" % pages)
        with Program("unshare", "--mount", "sh", "-c", mount, "sh", prog, "-goroutines", "64", "-pause", "20us") as p:
            filler = "/proc/%s/root/dev/shm/filler" % p.pid
            with open(filler, "wb", buffering=0) as f:
                try:
                    while f.write(bytes(4096)):
                        pass
                except OSError:
                    pass
                f.truncate(max(0, f.tell() - 4096 * pages))
            code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        if code == 1:
            case("full" in err or "no room for a whole one" in err, "%d pages left: why there is no Go trace" % pages, err)
        else:
            case(code == 3, "%d pages left: something is taken" % pages, err)
            check_recording(snap, "%d pages left" % pages)


def privileged(prog, tmp):
    """A program that has more rights than who starts it does not fly because he says so."""
    there = os.path.join(tmp, "privileged")
    os.mkdir(there)
    for path in (tmp, there):
        os.chmod(path, 0o755)
    mine = os.path.join(there, "prog")
    shutil.copyfile(prog, mine)
    os.chmod(mine, 0o4755)
    if os.geteuid() or os.statvfs(mine).f_flag & os.ST_NOSUID:
        return skip("a setuid program: there can be none here")
    for start, flies in (([], "true"), (["setpriv", "--reuid", "65534", "--clear-groups"], "false")):
        with Program(*start, mine, env={"GANDER_FLIGHT": "always"}) as p:
            case(p.do("flying") == flies, "GANDER_FLIGHT=always by %s: flies: %s" % ("nobody" if start else "root", flies))


def taken(prog, tmp):
    """Somebody else has the runtime's tracer."""
    rec = os.path.join(tmp, "taken")
    with Program(prog) as p:
        case(p.do("trace") == "ok", "the program traces by itself")
        r = Recorder("-p", p.pid, "--go", "-o", rec)
        told = until(lambda: [q for q in manifest(rec).get("problems", []) if "tracer" in q["text"]])
        case(told, "a flight that is refused is told", manifest(rec).get("problems"))
        p.do("untrace")
        case(until(lambda: sum(g["generations"] for g in traces(rec)) >= 2), "it flies as soon as the tracer is free")
        r.end()
        check_recording(rec, "after a refusal")
    snap = os.path.join(tmp, "taken-snapshot")
    with Program(prog) as p:
        p.do("trace")
        code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        case(code == 1 and "already enabled" in err and not os.path.exists(snap), "snapshot says why there is none", err)
        p.do("untrace")
        r = Region(p)
        case(until(lambda: r.get(r.STATE) == 0), "it takes a refusal back when nobody asks any more")
        code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        case(code == 3, "so the next snapshot is none the worse for it", err)
        check_recording(snap, "after a refused snapshot")


def beside(prog, tmp):
    """The runtime's own flight recorder at the same time."""
    rec, other = os.path.join(tmp, "beside"), os.path.join(tmp, "other.trace")
    with Program(prog) as p:
        if p.do("recorder") == "none":
            skip("runtime/trace.FlightRecorder: " + p.version)
            return
        r = Recorder("-p", p.pid, "--go", "-o", rec)
        until(lambda: sum(g["generations"] for g in traces(rec)) >= 4)
        case(p.do("recorder " + other) == "ok", "the runtime's flight recorder works beside it")
        r.end()
        check_recording(rec, "beside the runtime's flight recorder")
        case(not check_trace(other), "and the other's trace can be read", check_trace(other))


def neither(bare, tmp):
    with Program(bare) as p:
        code, out, err = run("snapshot", "-p", p.pid, "-o", os.path.join(tmp, "neither"))
        case(code == 1 and "gander/flight" in err and "net/http/pprof" in err and "--url" in err, "no import and no port: both ways are named", err)
        rec = os.path.join(tmp, "neither-record")
        code, out, err = run("record", "-p", p.pid, "--go", "--for", "1s", "-o", rec)
        case(code == 3 and "gander/flight" in err and "net/http/pprof" in err, "record --go names them too, and records the events", err)
        case(manifest(rec).get("events", 0) > 0 and not traces(rec), "without a Go trace")


def http(bare, tmp):
    with Program(bare, "-listen", "-mute", "20") as p:
        snap, rec, url = os.path.join(tmp, "http"), os.path.join(tmp, "http-record"), os.path.join(tmp, "http-url")
        code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        case(code == 3 and "HTTP" in err, "snapshot over HTTP", err)
        for g in check_recording(snap, "over HTTP"):
            case(g["source"] == "http", "its source is said")
        code, out, err = run("record", "-p", p.pid, "--go", "--for", "2s", "-o", rec)
        case(code == 0, "record --go over HTTP", err)
        check_recording(rec, "recorded over HTTP")
        r = Recorder("-p", p.pid, "--go", "-o", rec + "-short")
        until(lambda: os.path.exists(os.path.join(rec + "-short", "gander.json")))
        code = r.end()
        # a second is how long a generation of that takes: nothing has come when it is ended
        case((code == 0 and traces(rec + "-short")) or (code == 3 and "before the first generation" in r.err), "Ctrl-C before a generation is over: the program is told to end its trace", (code, r.err))
        for i, at in enumerate(("http://" + p.address, p.address + "/debug/pprof/", "http://" + p.address + "/debug/pprof/trace?seconds=5")):
            code, out, err = run("snapshot", "-p", p.pid, "--url", at, "--last", "100ms", "-o", "%s-%d" % (url, i))
            case(code == 3, "snapshot --url " + at, err)
            check_recording("%s-%d" % (url, i), "--url")
        code, out, err = run("snapshot", "-p", p.pid, "--url", "https://" + p.address, "-o", url)
        case(code == 1 and "does not begin with http://" in err, "https is refused", err)
        code, out, err = run("snapshot", "-p", p.pid, "--url", "http://" + p.address + "/nowhere", "-o", os.path.join(tmp, "nowhere"))
        case(code == 1 and "404" in err, "a wrong --url is an error", err)
        # it dies while it is asked
        snap = os.path.join(tmp, "http-dies")
        q = subprocess.Popen([gander, "snapshot", "-p", p.pid, "--last", "60s", "-o", snap], stderr=subprocess.PIPE, text=True)
        inode = until(lambda: established(p.pid))
        p.kill()
        err = q.communicate(timeout=LONG)[1]
        case(inode and q.returncode in (1, 3) and ("closed the connection" in err or "ended before its Go trace" in err or traces(snap)), "a program that dies meanwhile is an error, or gives what came", err)


def established(pid):
    """Whether somebody is connected to the process's port."""
    with open("/proc/%s/net/tcp" % pid) as f:
        mine = {os.readlink("/proc/%s/fd/%s" % (pid, n)) for n in os.listdir("/proc/%s/fd" % pid)}
        return any(line.split()[3] == "01" and "socket:[%s]" % line.split()[9] in mine for line in list(f)[1:])


def dies_meanwhile(prog, tmp):
    """A program that dies while a snapshot waits for its next generation."""
    for i in range(4):
        snap = os.path.join(tmp, "meanwhile%d" % i)
        with Program(prog) as p:
            if i % 2:
                p.do("start")
                p.do("sleep 200ms")
            q = subprocess.Popen([gander, "snapshot", "-p", p.pid, "-o", snap], stderr=subprocess.PIPE, text=True)
            time.sleep(0.1 * i)
            p.kill()
            err = q.communicate(timeout=LONG)[1]
            if q.returncode == 1:
                case("process " in err and not os.path.exists(snap), "it dies during a snapshot: an error", err)
            else:
                case(q.returncode in (0, 3) and err, "it dies during a snapshot: what it left", err)
                check_recording(snap, "it dies during a snapshot")


def abandoned(prog, tmp):
    """A collector that is killed does not leave the program flying."""
    rec = os.path.join(tmp, "abandoned")
    with Program(prog) as p:
        r = Recorder("-p", p.pid, "--go", "-o", rec)
        until(lambda: sum(g["generations"] for g in traces(rec)) >= 3)
        r.end(signal.SIGKILL)
        listed = traces(rec)
        case(listed and not check_trace(os.path.join(rec, listed[0]["file"])), "a killed collector's trace can be read", listed)
        case(until(lambda: p.do("flying") == "false"), "and the program lands by itself")


def recorded(p, rec, text):
    """A recording that has nothing to complain of."""
    r = Recorder("-p", p.pid, "--go", "-o", rec)
    grown = until(lambda: sum(g["generations"] for g in traces(rec)) >= 2)
    case(grown and r.end() == 0 and not manifest(rec).get("problems"), text, manifest(rec).get("problems"))
    check_recording(rec, text)


def woken(prog, tmp):
    """It does not look for whoever asks: it is woken."""
    with Program(prog) as p:
        r = Region(p)
        fd = "/proc/%s/fd/%d" % (p.pid, r.bell())
        case(os.readlink(fd) == "pipe:[%d]" % r.get(r.WAKE_INO), "the pipe that wakes it is published", os.readlink(fd))
        with open(fd.replace("/fd/", "/fdinfo/")) as f:
            flags = int(next(line.split()[1] for line in f if line.startswith("flags:")), 8)
        case(flags & os.O_ACCMODE == os.O_RDWR and flags & os.O_CLOEXEC and flags & os.O_NONBLOCK, "close-on-exec, and it never blocks", oct(flags))
        rested(p)
        r.ask()
        time.sleep(1.5)
        case(p.do("flying") == "false", "the word alone, as an older gander leaves it, is not seen at once: no timer is at work")
        with open(fd, "wb", buffering=0) as f:
            f.write(b"x")
        case(until(lambda: p.do("flying") == "true"), "a byte makes it look")
        r.put(r.FLY, 0)
        case(until(lambda: p.do("flying") == "false"), "it lands")
        recorded(p, os.path.join(tmp, "woken"), "and flies again for gander")


def looks(prog, tmp):
    """A program that cannot be woken, or does not want to be: it looks once a second, as every older one does."""
    with Program(prog, env={"GANDER_FLIGHT": "look"}) as p:
        r = Region(p)
        r.ask()
        case(until(lambda: p.do("flying") == "true"), "GANDER_FLIGHT=look: the word is enough")
        r.put(r.FLY, 0)
        case(until(lambda: p.do("flying") == "false"), "GANDER_FLIGHT=look: it lands")
        case(not r.get(r.WAKE_FD), "GANDER_FLIGHT=look: no pipe")
        recorded(p, os.path.join(tmp, "looks"), "GANDER_FLIGHT=look: record --go")


def closed(prog, tmp):
    """A program that closes descriptors that it does not know."""
    with Program(prog) as p:
        r = Region(p)
        r.bell()
        rested(p)
        p.do("close %d" % r.bell())
        rec = os.path.join(tmp, "closed")
        code, out, err = run("record", "-p", p.pid, "--go", "--for", "300ms", "-o", rec)
        said = [q["text"] for q in manifest(rec).get("problems", []) if "cannot be woken" in q["text"]]
        case(code == 3 and said and "ten minutes" in said[0] and "GANDER_FLIGHT=look" in said[0], "closed under it: record --go says that it will be late, and the way out", err)
        p.do("start")
        p.do("stop")
        case(until(lambda: not r.get(r.WAKE_FD)), "it notices when it looks next, and takes the number back")
        case(until(lambda: p.do("flying") == "false"), "it lands")
        recorded(p, os.path.join(tmp, "closed-looks"), "from then on it looks once a second")


def publishes(prog, tmp):
    """A program that publishes what is not its own gets no byte of gander's anywhere."""
    fifo = os.path.join(tmp, "fifo")
    os.mkfifo(fifo, 0o600)
    ends = os.pipe()
    fds = {"a FIFO": os.open(fifo, os.O_RDWR | os.O_NONBLOCK), "another's pipe to read from": ends[0], "another's pipe to write to": ends[1],
           "a file": os.open(os.path.join(tmp, "file"), os.O_RDWR | os.O_CREAT, 0o600)}
    with Program(prog, fds=tuple(fds.values())) as p:
        r = Region(p)
        bell, ino = r.bell(), r.get(r.WAKE_INO)
        rested(p)
        cases = [(name, fd, os.fstat(fd).st_ino & 0xffffffff) for name, fd in fds.items()]
        cases += [("2^31", 1 << 31, ino), ("-2", 0xfffffffe, ino), ("another inode", bell, ino ^ 1)]
        for i, (name, number, inode) in enumerate(cases):
            r.put(r.WAKE_INO, inode)
            r.put(r.WAKE_FD, number + 1 & 0xffffffff)
            rec = os.path.join(tmp, "publishes%d" % i)
            code, out, err = run("record", "-p", p.pid, "--go", "--for", "100ms", "-o", rec)
            case(code == 3 and [q for q in manifest(rec).get("problems", []) if "cannot be woken" in q["text"]], "it publishes %s: told" % name, err)
        left = [struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"1234"))[0] for fd in (fds["a FIFO"], ends[0])] + [os.fstat(fds["a file"]).st_size]
        case(left == [0, 0, 0], "and none of them gets a byte", left)
        case(p.do("flying") == "false", "nor has it been woken otherwise")
        r.put(r.WAKE_INO, ino)
        r.put(r.WAKE_FD, bell + 1)
        recorded(p, os.path.join(tmp, "publishes"), "with its own pipe it flies")
    for fd in fds.values():
        os.close(fd)


def adds(prog, tmp):
    """What the import adds while nobody asks."""
    with Program(prog, "-goroutines", "0") as p:
        case(p.do("goroutines") == "2", "one goroutine more than without it (and main)", p.do("goroutines"))
        bell = Region(p).bell()

        def files():
            fds = os.listdir("/proc/%s/fd" % p.pid)
            return sorted(os.readlink("/proc/%s/fd/%s" % (p.pid, n)) for n in fds if int(n) > 2 and n != str(bell))

        # the runtime's poller is there in a program that has used a timer, a file or the network; what this test itself was started with may be too
        before = files()
        case(not [f for f in before if "gander" in f or "pipe" in f], "one descriptor more, and none of the region", before)
        p.do("start")
        p.do("sleep 100ms")
        p.do("stop")
        until(lambda: p.do("flying") == "false")
        case(until(lambda: p.do("goroutines") == "2"), "nor after a flight", p.do("goroutines"))
        case(until(lambda: files() == before), "nor a descriptor", files())


def kills(prog, tmp, first, n):
    """SIGKILL at any instant: the events to the last one, the goroutines to the last closed generation. Returns what was lost, in seconds."""
    lost, bad, gaps = [], [], []
    snap, rec = os.path.join(tmp, "kill%d" % first), os.path.join(tmp, "kill%d-rec" % first)
    for i in range(first, first + n):
        with Program(prog) as p:
            r = Recorder("--overwrite", "--go", "-p", p.pid, "-o", rec)
            until(lambda: p.do("flying") == "true" and p.do("write /dev/null") == "ok")  # a generation has been closed
            p.do("sleep %dms" % (250 + i * 37 % 400))
            time.sleep(i * 7 % 200 / 1000)
            at = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            p.kill()
            run("snapshot", "-p", p.pid, "-o", snap)
            r.p.communicate(timeout=LONG)  # it ends with its program; it may have been quicker than the snapshot
            took = snap if traces(snap) else rec
            listed = traces(took)
            why = check_trace(os.path.join(took, listed[-1]["file"]), i % 10 == 0) if listed else "no trace"
            if why or len(listed) != 1:
                bad.append(why or str(listed))
            else:
                lost.append((at - listed[0]["end_mono_ns"]) / 1e9)
            # of its own recorder: the snapshot may be of another one's ring, where somebody records all programs of the machine
            events = [json.loads(line) for line in run("events", rec, "-e", "flight.tick", "--json")[1].splitlines() if "flight.tick" in line]
            ticks = sorted(e["fields"]["n"] for e in events if e.get("event") == "flight.tick")
            hole = [(x, y) for x, y in zip(ticks, ticks[1:]) if y != x + 1]
            if hole:
                gaps.append("%d..%d without %s" % (ticks[0], ticks[-1], hole[:5]))
            if not ticks:
                gaps.append("no events, gander.json says %s" % manifest(rec).get("events"))
        for d in (snap, rec):
            shutil.rmtree(d, ignore_errors=True)
    case(not bad, "%d kills: the trace can be read after each" % n, bad[:3])
    case(not gaps, "%d kills: no event is missing" % n, gaps)
    if lost:
        lost.sort()
        mine.lines.append("     %d kills: of the goroutines are lost: median %.3f s, 99 %% %.3f s, most %.3f s" %
                          (n, lost[len(lost) // 2], lost[len(lost) * 99 // 100], lost[-1]))


def versions(tmp):
    """Every Go that is named: record, kill, read."""
    for version in os.environ.get("GO_VERSIONS", "").split():
        prog = os.path.join(tmp, "prog-" + version)
        ok, out = build("prog", prog, version)
        if not ok:
            skip("go%s: %s" % (version, out.strip().splitlines()[-1] if out.strip() else "not built"))
            continue
        with Program(prog) as p:
            case(p.version == "go" + version, "built with " + p.version)
        sub = os.path.join(tmp, "of-" + version)
        os.mkdir(sub)
        for test in (record_running, woken, closed, killed, set_aside, taken, beside):
            test(prog, sub)
        kills(prog, sub, 0, 3)


def main():
    if not shutil.which("go"):
        print("skip: no go")
        return 77
    tmp = tempfile.mkdtemp(prefix="gander-flight-")
    count = collections.Counter()
    wanted = sys.argv[2:]
    prog, bare = os.path.join(tmp, "prog"), os.path.join(tmp, "bare")

    def builds():
        for name, to in (("prog", prog), ("bare", bare)):
            ok, out = build(name, to)
            case(ok, name + " builds", out)

    def tell(result):
        count.update(result[0])
        print("\n".join(result[1]), flush=True)

    try:
        tell(one(builds))
        jobs = [(test, prog, tmp) for test in (abandoned, adds, woken, looks, closed, publishes, record_running, record_command, killed, no_recorder,
                                               always, crashed, set_aside, set_aside_recorded, set_aside_kept, overrun, starved, privileged, taken, beside,
                                               dies_meanwhile)]
        jobs += [(test, prog, tmp) for test in (size_is_kept, asides_are_bounded, two_follow, interrupted)]
        jobs += [(test, bare, tmp) for test in (neither, http)]
        n = int(os.environ.get("FLIGHT_KILLS", "20"))
        jobs += [(kills, prog, tmp, i, min(-(-n // 4), n - i)) for i in range(0, n, -(-n // 4))]
        jobs += [(versions, tmp)]
        # they wait more than they work
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for result in [pool.submit(one, *job) for job in jobs if not wanted or job[0].__name__ in wanted]:
                tell(result.result())
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    print("%d passed, %d failed, %d skipped" % (count["ok"], count["FAIL"], count["skip"]))
    return 1 if count["FAIL"] else 0


sys.exit(main())
