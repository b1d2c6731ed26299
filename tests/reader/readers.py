#!/usr/bin/env python3
"""readers.py BUILD: the Go packages and the Python module read the same as `gander events --json` and babeltrace2: a recording of examples/shop with its Go trace, programs of the local Go
and of Go 1.22 with their Go traces and the kernel's view, every type of field with every context in CTF 1.8 and CTF 2, one with losses, streams and Go traces that are cut off. Their
examples, and the C ones, print the same. With GANDER_TEST_VERSIONS=1 (make check-versions) Go 1.22 to 1.27, fetched by the go command; else 1.22 where it is there already."""
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


def go_minor(version):
    return int(re.match(r"go1\.(\d+)", version).group(1))


def go_build(directory, name):
    """None: there is no go command, or not the version that the module needs."""
    if not shutil.which("go"):
        return None
    needs = int(re.search(r"^go 1\.(\d+)", open(os.path.join(directory, "go.mod")).read(), re.M).group(1))
    if go_minor(run("go", "env", "GOVERSION", cwd="/").stdout) < needs:
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


def compare(what, rec, dump, dump_all, ctf2=False):
    """Returns the events of programs and kernel, and those of all sources."""
    ctf = os.path.join(rec, "ctf")
    want, lost = lines(run(GANDER, "events", "--json", ctf, status=None).stdout)
    if dump:
        got, go_lost = lines(run(dump, rec).stdout)
        case(want and not difference(want, got), "%s: Go reads %d events as gander does" % (what, len(want)), difference(want, got))
        case(lost == go_lost, "%s: %d lost" % (what, lost), go_lost)
    merged, merged_lost = lines(run(GANDER, "events", "--json", rec, status=None).stdout)
    if dump_all:
        got, go_lost = lines(run(dump_all, rec).stdout)
        case(merged and not difference(merged, got), "%s: Go reads %d events of all sources as gander does, with the same times" % (what, len(merged)), difference(merged, got))
        case(merged_lost == go_lost, "%s: and %d lost" % (what, go_lost), merged_lost)
    else:
        skip("no Go 1.26 for the Go package of all sources", 2)
    got, py_lost = by_python(rec)
    case(merged and not difference(merged, got), "%s: Python reads %d events of all sources as gander does" % (what, len(merged)), difference(merged, got))
    case(merged_lost == py_lost == lost, "%s: and %d lost" % (what, py_lost), (merged_lost, py_lost, lost))
    if ctf2:
        pass  # babeltrace2 reads it from 2.1 on
    elif shutil.which("babeltrace2"):
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


def kernel_view():
    """The options that record it, where that is allowed."""
    p = run(GANDER, "record", "-q", "-o", os.path.join(TMP, "probe"), "--kernel", "sched", "--", "true", status=None)
    if p.returncode in (0, 3):
        return ["--kernel", "sched", "--kernel-scope", "own", "--kernel-buffer", "%dM" % max(4, 32 >> max(0, (os.cpu_count() - 1).bit_length() - 5))]
    skip("the kernel's view: " + p.stderr.strip())
    return []


def record_prog(exe, rec, *options):
    """Until its Go trace has some generations with its tasks."""
    p = subprocess.Popen([exe], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        version = p.stdout.readline().split()[1]
        r = subprocess.Popen([GANDER, "record", "-p", str(p.pid), "-q", "--go", "-o", rec, *options])
        began, grown = time.time(), 0
        while time.time() - began < 120 and r.poll() is None and not grown > 20000:
            time.sleep(0.02)
            trace = os.path.join(rec, "go")
            grown = sum(os.path.getsize(os.path.join(trace, f)) for f in os.listdir(trace)) if os.path.isdir(trace) else 0
        if r.poll() is None:
            r.send_signal(signal.SIGINT)
        r.wait()
    finally:
        p.stdin.close()
        p.wait()
    return version


def programs(dump, dump_all):
    """All sources of programs of several versions of Go; returns the last recording."""
    versions = [None, "1.22.12"] + (["1.23.12", "1.24.13", "1.25.14", "1.27.4"] if os.environ.get("GANDER_TEST_VERSIONS") else [])
    kernel, rec = kernel_view(), None
    for version in versions:
        exe = os.path.join(TMP, "prog-" + (version or "local"))
        env = dict(os.environ, GOWORK="off", **({"GOTOOLCHAIN": "go" + version} if version else {}))
        if not os.environ.get("GANDER_TEST_VERSIONS"):
            env["GOPROXY"] = "off"
        p = subprocess.run(["go", "build", "-o", exe, "."], cwd=os.path.join(HERE, "prog"), env=env, capture_output=True, text=True)
        if p.returncode:
            skip("Go %s: %s" % (version or "here", p.stderr.strip()[-200:]))
            continue
        ctf2 = version is None
        rec = os.path.join(TMP, "rec-" + (version or "local"))
        version = record_prog(exe, rec, "-c", "goid,tid", *kernel, *(["--ctf", "2"] if ctf2 else []))
        if go_minor(version) < 22:
            skip(version + " has no trace that can be merged")
            continue
        want, merged = compare("%s, CTF %d" % (version, 2 if ctf2 else 1), rec, dump, dump_all, ctf2)
        seen = collections.Counter(e["event"] for e in merged)
        case(all(seen[e] for e in ("prog.step", "prog.request.end", "go.state", "go.task.end", "go.region.end", "go.log", "go.range.end")) and bool(seen["sched_switch"]) == bool(kernel),
             version + ": it has events, spans, tasks, regions, logs and " + ("the kernel's" if kernel else "nothing of the kernel's"), seen)
        goes = [e for e in merged if e["event"].startswith("go.")]
        known = {e["fields"]["goroutine"] for e in goes if e["event"] == "go.state"}
        # from the first state on: the trace's clock is read while goroutines still run untraced
        first, last = next(e["time_ns"] for e in goes if e["event"] == "go.state"), goes[-1]["time_ns"]
        of = {e["context"]["goid"] for e in want if e["event"] == "prog.step" and first < e["time_ns"] < last}
        case(of and of <= known, "%s: the %d goroutines of its events are goroutines of its trace" % (version, len(of)), of - known)
        told = [e for e in merged if "goroutine" in e]
        case(bool(told) == bool(kernel) and {e["goroutine"] for e in told} <= known, "%s: %d events of the kernel are told their goroutine" % (version, len(told)))
    return rec


def torn(rec, dump_all):
    """Go traces that end anywhere, or are not what they say: what is whole is read."""
    trace = os.path.join(rec, "go", os.listdir(os.path.join(rec, "go"))[0])
    data = open(trace, "rb").read()
    for cut in (len(data) - 1, len(data) // 2, len(data) // 3, 17, 3):
        open(trace, "wb").write(data[:cut])
        want, _ = lines(run(GANDER, "events", "--json", rec, status=None).stdout)
        p = run(dump_all, rec)
        got, _ = lines(p.stdout)
        case(not difference(want, got) and trace in p.stderr, "a Go trace of %d bytes cut off at %d: %d events, and a note" % (len(data), cut, len(want)),
             (difference(want, got), p.stderr))
    os.unlink(trace)
    os.mkfifo(trace)
    p = run(dump_all, rec)
    case(trace in p.stderr and p.stdout, "a pipe in its place: a note", p.stderr)
    os.unlink(trace)
    open(trace, "wb").write(data)


def example_of_all(rec, merged):
    exe = go_build(os.path.join(TOP, "examples", "read-go-all"), "read-go-all")
    if not exe:
        skip("no Go 1.26 for the example of all sources")
        return
    out = [x.split(" ") for x in run(exe, rec).stdout.splitlines()]
    names = [x[1] for x in out if x[0].isdigit() and x[2].startswith("goroutine=")]
    case(names == [e["event"] for e in merged], "the Go example of all sources prints %d events in their order" % len(names), (len(names), len(merged)))
    times = [int(x[0]) for x in out if x[0].isdigit()]
    case(times == sorted(times), "which is that of time")


def examples(rec, want, merged):
    counts = collections.Counter(e["event"] for e in want)
    for name in ("read-go/main.go", "read-go-all/main.go", "read-python/slowest.py", "read-recording/read-recording.c"):
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
    dump_all = go_build(os.path.join(HERE, "dump-all"), "dump-all")
    try:
        rec = record_shop()
        want, merged = compare("shop", rec, dump, dump_all)
        case({"shop.request.end", "shop.query.end", "shop.queue"} <= {e["event"] for e in want}, "it has spans and events")
        go_traces(rec, dump)
        examples(rec, want, merged)
        c_example(rec, want, merged)
        example_of_all(rec, merged)
        if dump:
            of_prog = programs(dump, dump_all)
            if of_prog and dump_all:
                torn(of_prog, dump_all)
        else:
            skip("no go command")
        twin = os.path.join(BUILD, "tests", "live", "twin")
        types = os.path.join(TMP, "types")
        run(GANDER, "record", "-q", "-c", "tid,goid,cpu,span,key", "--stack", 4, "-o", types, "--", twin, status=None)
        compare("every type", types, dump, dump_all)
        run(GANDER, "record", "-q", "--ctf", 2, "-c", "tid,goid,cpu,span,key", "--stack", 4, "-o", types + "2", "--", twin, status=None)
        compare("every type, CTF 2", types + "2", dump, dump_all, ctf2=True)
        lossy = os.path.join(TMP, "lossy")
        run(GANDER, "record", "-q", "--overwrite", "--buffer", "256k", "-o", lossy, "--", os.path.join(BUILD, "tests", "live", "emitter"), 1, 60000, 0, 0,
            status=None, env=dict(os.environ, GO="1"), stdin=subprocess.DEVNULL)
        compare("with losses", lossy, dump, dump_all)
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
