#!/usr/bin/env python3
"""readers.py BUILD: the Go package and the Python module read the same as `gander events --json` and babeltrace2: a recording of examples/shop with its Go trace, one of every type of
field with every context, one with losses, one of which streams are cut off. Their examples, and the C one, print the same counts."""
import collections
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
BUILD = os.path.abspath(sys.argv[1])
GANDER = os.path.join(BUILD, "src", "cli", "gander")
TMP = tempfile.mkdtemp(prefix="gander-readers-")
os.environ["GANDER_READER_LIB"] = os.path.join(BUILD, "src", "reader", "libgander-reader.so.0")
sys.path.insert(0, os.path.join(TOP, "python"))
import gander  # noqa

passed = failed = skipped = 0


def case(ok, text, more=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print("%s %s%s" % ("ok  " if ok else "FAIL", text, "" if ok else ": %.600s" % (more,)), flush=True)


def skip(text, n=1):
    global skipped
    skipped += n
    print("skip: " + text)


def run(*args, status=0, **kw):
    r = subprocess.run([str(a) for a in args], capture_output=True, text=True, **kw)
    if status is not None and r.returncode != status:
        raise AssertionError("%s: status %d\n%s" % (args, r.returncode, r.stderr))
    return r


def go_build(directory, name):
    if not shutil.which("go"):
        return None
    exe = os.path.join(TMP, name)
    subprocess.run(["go", "build", "-o", exe, "."], cwd=directory, check=True, env=dict(os.environ, GOWORK="off"))
    return exe


def lines(text):
    """Lost events are compared by their sum: where in a gap the notice stands is each reader's own."""
    all_ = [json.loads(x) for x in text.splitlines()]
    return [e for e in all_ if "event" in e], sum(e.get("lost", 0) for e in all_)


def plain(v):
    if isinstance(v, bytes):
        return v.hex()
    if isinstance(v, float) and not math.isfinite(v):
        return None
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    return [plain(x) for x in v] if isinstance(v, list) else v


def by_python(path):
    out, lost = [], 0
    with gander.Recording(path, stacks=True) as rec:
        for ev in rec:
            lost += ev.lost
            if ev.lost:
                continue
            d = {"time_ns": ev.time_ns, "event": ev.name, "context": plain(ev.context), "fields": plain(ev.fields)}
            for key, value, there in (("level", ev.level, ev.level >= 0), ("goroutine", ev.goroutine, ev.told), ("process", ev.process, ev.process),
                                      ("pid", ev.pid, ev.kind != "kernel" and ev.pid is not None), ("cut", True, ev.cut)):
                if there:
                    d[key] = value
            out.append(d)
        case(lost == rec.lost, "Python: losses add up to %d" % lost, rec.lost)
    return out, lost


def difference(a, b):
    if len(a) != len(b):
        return "%d and %d events" % (len(a), len(b))
    return next(("%r != %r" % p for p in zip(a, b) if p[0] != p[1]), None)


def compare(what, rec, dump):
    ctf = os.path.join(rec, "ctf")
    want, lost = lines(run(GANDER, "events", "--json", ctf, status=None).stdout)
    if dump:
        got, go_lost = lines(run(dump, rec).stdout)
        case(want and not difference(want, got), "%s: Go reads %d events as gander does" % (what, len(want)), difference(want, got))
        case(lost == go_lost, "%s: %d lost" % (what, lost), go_lost)
    merged, merged_lost = lines(run(GANDER, "events", "--json", rec, status=None).stdout)
    got, py_lost = by_python(rec)
    case(merged and not difference(merged, got), "%s: Python reads %d events of all sources as gander does" % (what, len(merged)), difference(merged, got))
    case(merged_lost == py_lost == lost, "%s: and %d lost" % (what, py_lost), (merged_lost, py_lost, lost))
    if shutil.which("babeltrace2"):
        traces = [os.path.join(ctf, d) for d in os.listdir(ctf)]
        p = subprocess.run(["babeltrace2", *traces], capture_output=True, text=True, errors="replace")
        case(p.stdout.count("\n") == len(want), "%s: babeltrace2 prints as many" % what, p.stdout.count("\n"))
    else:
        skip("no babeltrace2")
    return want, merged


def record_shop():
    shop = os.path.join(BUILD, "shop")
    rec = os.path.join(TMP, "shop")
    server = subprocess.Popen([shop, "-addr", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = re.search(r"http:\S+", server.stdout.readline()).group(0)
        r = subprocess.Popen([GANDER, "record", "-p", str(server.pid), "-q", "--go", "-o", rec])
        began = time.time()
        while time.time() - began < 60:  # until its Go trace is being written
            for path in ("/product/%d" % (time.time_ns() % 900 + 1), "/products?q=lamp"):
                urllib.request.urlopen(url + path).read()
            urllib.request.urlopen(url + "/order?product=3&count=2", data=b"").read()
            trace = os.path.join(rec, "go")
            if os.path.isdir(trace) and any(os.path.getsize(os.path.join(trace, f)) > 4096 for f in os.listdir(trace)):
                break
            time.sleep(0.02)
        r.send_signal(signal.SIGINT)
        r.wait()
    finally:
        server.kill()
        server.wait()
    return rec


def examples(rec, want, merged):
    counts = collections.Counter(e["event"] for e in want)
    for name in ("read-go/main.go", "read-python/slowest.py", "read-recording/read-recording.c"):
        n = len(open(os.path.join(TOP, "examples", name)).readlines())
        case(n <= 40, "examples/%s has %d lines" % (name, n))
    for what, cmd, all_ in (("Go", go_build(os.path.join(TOP, "examples", "read-go"), "read-go"), counts),
                            ("Python", os.path.join(TOP, "examples", "read-python", "slowest.py"), collections.Counter(e["event"] for e in merged)),
                            ("C", os.path.join(BUILD, "examples", "example-read-events"), counts)):
        if not cmd:
            skip("no go command")
            continue
        out = run(*([sys.executable] if what == "Python" else []), cmd, rec, env=dict(os.environ, PYTHONPATH=os.path.join(TOP, "python"))).stdout
        got = {m.group(2): int(m.group(1)) for m in re.finditer(r"^ *(\d+)  ([\w.]+)$", out, re.M) if int(m.group(1)) or m.group(2) == "lost"}
        lost = got.pop("lost", None)
        case(got == dict(all_) and lost == 0, "the %s example counts them" % what, (got, dict(all_), lost))


def c_example(rec, want, merged):
    out = run(os.path.join(BUILD, "examples", "example-read-recording"), rec).stdout
    slowest = max((e["fields"]["duration"], e["time_ns"]) for e in want if e["event"].endswith(".end"))
    case(out.startswith("%d of programs, 0 of the kernel, %d of Go traces, 0 others, 0 lost\n" % (len(want), len(merged) - len(want))) and
         "took %d ns" % slowest[0] in out, "the C example of all sources: " + out.split("\n")[0], (out, slowest))


def go_traces(rec, dump):
    files = sorted(os.path.join(rec, "go", f) for f in os.listdir(os.path.join(rec, "go")))
    with gander.Recording(rec) as r:
        case(sorted(r.go_traces) == files, "Python knows the Go traces: %d" % len(files), r.go_traces)
        case({s.kind for s in r.sources} == {"events", "go"}, "and the sources", [s.name for s in r.sources])
    kinds = collections.Counter(ev.kind for f in files for ev in gander.GoTrace(f))
    n = sum(int(run(GANDER, "go", "events", f).stdout.count("\n")) for f in files)
    case(sum(kinds.values()) == n, "Python reads as many of their events as gander go events prints: %d" % n, kinds)
    stacks = {func for f in files for ev in gander.GoTrace(f) for func, _, _ in ev.stack + ev.at_stack}
    case(any("main." in s for s in stacks), "their stacks have the program's functions: %d functions" % len(stacks))


def cut_off(rec, dump):
    """Streams that end anywhere, and metadata with any byte changed: what is whole is read, the rest is told, and nobody crashes."""
    stream = max((os.path.join(d, f) for d, _, fs in os.walk(os.path.join(rec, "ctf")) for f in fs if f != "metadata"), key=os.path.getsize)
    data = open(stream, "rb").read()
    for cut in (len(data) - 1, len(data) // 2, 100, 3):
        open(stream, "wb").write(data[:cut])
        want, _ = lines(run(GANDER, "events", "--json", os.path.join(rec, "ctf"), status=None).stdout)
        got, _ = lines(run(dump, rec).stdout)
        case(not difference(want, got), "a stream of %d bytes cut off at %d: %d events" % (len(data), cut, len(want)), difference(want, got))
    open(stream, "wb").write(data)


def main():
    if not os.path.exists(os.path.join(BUILD, "shop")):
        print("skip: there is no shop\n0 passed, 0 failed, 1 skipped")
        return 77
    dump = go_build(os.path.join(HERE, "dump"), "dump")
    try:
        rec = record_shop()
        want, merged = compare("shop", rec, dump)
        case({"shop.request.end", "shop.query.end", "shop.queue"} <= {e["event"] for e in want}, "it has spans and events")
        go_traces(rec, dump)
        examples(rec, want, merged)
        c_example(rec, want, merged)
        twin = os.path.join(BUILD, "tests", "live", "twin")
        types = os.path.join(TMP, "types")
        run(GANDER, "record", "-q", "-c", "tid,goid,cpu,span,key", "--stack", 4, "-o", types, "--", twin, status=None)
        compare("every type", types, dump)
        lossy = os.path.join(TMP, "lossy")
        run(GANDER, "record", "-q", "--overwrite", "--buffer", "256k", "-o", lossy, "--", os.path.join(BUILD, "tests", "live", "emitter"), 1, 60000, 0, 0,
            status=None, env=dict(os.environ, GO="1"), stdin=subprocess.DEVNULL)
        compare("with losses", lossy, dump)
        if dump:
            cut_off(types, dump)
        else:
            skip("no go command", 4)
    finally:
        shutil.rmtree(TMP, ignore_errors=True)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
