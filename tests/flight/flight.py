#!/usr/bin/env python3
"""flight.py GANDER: the Go runtime's trace of programs with the flight package, taken from outside.

Each trace must be one that gander's reader and `go tool trace` open. FLIGHT_KILLS=1000 is the long form of the kills; GO_VERSIONS="1.22.12 1.27.4"
builds the program with these too. Nothing here depends on how long something takes: what is awaited is awaited long.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
gander = os.path.abspath(sys.argv[1])
LONG = 120
passed = failed = skipped = 0


def case(ok, text, more=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print("%s %s%s" % ("ok  " if ok else "FAIL", text, "" if ok or not more else "\n     | " + str(more)[:1500].replace("\n", "\n     | ")), flush=True)
    return ok


def skip(text):
    global skipped
    skipped += 1
    print("skip " + text, flush=True)


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

    def __init__(self, path, *args, env=None):
        self.p = subprocess.Popen([path, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=dict(os.environ, **(env or {})))
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


def check_trace(path):
    """What is wrong with a trace, "" when nothing is."""
    code, out, err = run("go", "summary", path, "--json")
    if code:
        return "gander: " + err
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
        case(not check_trace(path), "%s: %s, %d generations, can be read" % (text, g["format"], g["generations"]), check_trace(path))
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
        out = run("go", "goroutines", os.path.join(rec, traces(rec)[0]["file"]))[1]
        case("main.work" in out, "record --go: its goroutines are there", out)


def record_command(prog, tmp):
    rec = os.path.join(tmp, "command")
    p = subprocess.run([gander, "record", "--go", "-o", rec, "--", prog], input="sleep 100ms\nflying\n", capture_output=True, text=True)
    case(p.returncode == 0 and "true" in p.stdout, "record --go -- CMD flies from the start", p.stdout + p.stderr)
    listed = check_recording(rec, "record --go -- CMD")
    case(listed and listed[0]["first_generation"] == 1, "record --go -- CMD: from the first generation on", listed)


def killed(prog, tmp):
    rec, snap = os.path.join(tmp, "overwrite"), os.path.join(tmp, "killed")
    with Program(prog) as p:
        r = Recorder("--overwrite", "--go", "-p", p.pid, "-o", rec)
        until(lambda: p.do("flying") == "true")
        p.do("sleep 1s")
        p.kill()
        code, out, err = run("snapshot", "-p", p.pid, "-o", snap)
        case(code == 0, "snapshot after SIGKILL", err)
        check_recording(snap, "snapshot after SIGKILL")
        r.end()
        case(r.p.returncode == 0, "its recorder ends well", r.err)
        check_recording(rec, "the recorder's own recording of it")


def main():
    if not shutil.which("go"):
        print("skip: no go")
        return 77
    tmp = tempfile.mkdtemp(prefix="gander-flight-")
    try:
        prog, bare = os.path.join(tmp, "prog"), os.path.join(tmp, "bare")
        for name, to in (("prog", prog), ("bare", bare)):
            ok, out = build(name, to)
            if not case(ok, name + " builds", out):
                return 1
        record_running(prog, tmp)
        record_command(prog, tmp)
        killed(prog, tmp)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


sys.exit(main())
