#!/usr/bin/env python3
"""test_analyses.py GANDER WORKDIR: the analyses of Go execution traces, held against known answers and against Go's own tools.

Needs go (else everything is skipped). For Perfetto's own protobuf classes PyPI's `perfetto` is put into WORKDIR when pip can get it.
"""
import bisect
import http.server
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gotrace_util as util  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
GANDER, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
count = {"passed": 0, "failed": 0, "skipped": 0}
ENV = dict(os.environ, GOFLAGS="-mod=mod", GOWORK="off")


def ok(what, good, detail=""):
    count["passed" if good else "failed"] += 1
    print("%s %s%s" % ("ok  " if good else "FAIL", what, "" if good or detail == "" else ": %s" % (detail,)), flush=True)


def skip(what, why):
    count["skipped"] += 1
    print("skip: %s (%s)" % (what, why), flush=True)


def same(what, have, want):
    ok(what, have == want, "%r, not %r" % (have, want))


def run(*args, data=None, timeout=120):
    return subprocess.run([GANDER, "go", *args], input=data, capture_output=True, timeout=timeout)


def answer(*args, **kw):
    p = run(*args, "--json", **kw)
    if p.returncode:
        raise SystemExit("gander go %s: %s" % (" ".join(args), p.stderr.decode()))
    return json.loads(p.stdout)


def row(rows, **want):
    found = [r for r in rows if all(r[k] == v for k, v in want.items())]
    return found[0] if found else dict.fromkeys(rows[0] if rows else [], 0)


def known_answers(trace, want):
    g = answer("goroutines", "--top", "1000", trace)["functions"]
    same("known: short-lived goroutines", row(g, function="main.short")["count"], want["short"])
    same("known: all of them ended", row(g, function="main.short")["ended"], want["short"])
    same("known: leaked ones are alive", row(g, function="main.leaked")["alive"], want["leaked"])
    b = answer("blocked", "--by", "function", "--top", "1000", trace)["blocked"]
    r = row(b, function="main.sleeper", reason="sleep")
    same("known: sleeps", r["count"], want["sleeper_waits"])
    ok("known: no sleep was shorter than asked for", r["total_ns"] >= want["sleeper_waits"] * want["sleeper_min_ns"], r)
    same("known: waits of the receiver", row(b, function="main.receiver", reason="chan receive")["count"], want["receiver_waits"])
    r = row(b, function="main.contender", reason="sync")
    same("known: waits for the lock", r["count"], want["lock_waits"])
    ok("known: each as long as the lock was held", r["p50_ns"] >= want["lock_min_ns"], r)
    n = answer("network", "--function", "main.netReader", trace)["network"]
    same("known: waits for the network", sum(r["count"] for r in n), want["net_waits"])
    t = row(answer("tasks", trace)["types"], type="job")
    same("known: tasks, regions, logs", (t["count"], t["regions"], t["logs"]), (want["tasks"], 2 * want["steps"], want["tasks"]))
    r = {x["type"]: x for x in answer("regions", trace)["regions"]}
    same("known: regions", (r["step"]["count"], r["spin"]["count"]), (want["steps"], want["steps"]))
    ok("known: a region that sleeps is blocked", r["step"]["blocked_ns"] >= want["steps"] * want["step_min_ns"], r["step"])
    ok("known: a region that spins runs", r["spin"]["running_share"] > 0.5 and r["spin"]["p50_ns"] >= want["spin_min_ns"] * 0.94, r["spin"])
    gc = answer("gc", trace)
    same("known: GC cycles", gc["gc"][0]["value"], str(want["gc_cycles"]))
    same("known: stops for ReadMemStats", sum(x["count"] for x in gc["stw"] if x["cause"] == "read mem stats"), want["read_mem_stats"])
    leak = answer("churn", trace)["leak_suspects"]
    same("known: leak suspects", [(x["function"], x["stuck"]) for x in leak], [("main.leaked", want["leaked"])])
    logs = answer("tasks", "--key", "orderID", "--value", "order-7", trace)
    same("known: logs by key and value", [(x["key"], x["value"], x["region"]) for x in logs["logs"]], [("orderID", "order-7", "step")])
    same("known: the task of that log", logs["types"][0]["count"], 1)
    one = answer("tasks", "--task", str(logs["logs"][0]["task"]), trace)["task"]
    same("known: one task in full", [(x["kind"], x["name"]) for x in one], [("task", "job"), ("region", "step"), ("log", "orderID"), ("region", "spin")])
    g = answer("goroutines", "--by", "goroutine", "--function", "main.locker", trace)["goroutines"][0]
    waker = row(answer("blocked", "--by", "waker", "--function", "main.contender", "--reason", "sync", trace)["blocked"], reason="sync")
    same("known: the lock's holder is the waker", waker["function"], "main.locker")
    ok("known: parts add up to the life", g["running_ns"] + g["runnable_ns"] + g["blocked_ns"] + g["syscall_ns"] == g["life_ns"], g)


def several(a, b):
    """Of several traces every mean is over the time of all."""
    def span(trace):
        times = [int(t) for t in re.findall(rb"^M=\S+ P=\S+ G=\S+ \w+ Time=(\d+)", run("events", "--go", trace).stdout, re.M)]
        return times[-1] - times[0]

    def rows(*traces):
        return answer("parallelism", "--top", "1", *traces)["parallelism"]
    x, y, both = rows(a)[0], rows(b)[0], rows(a, b)
    p, q = span(a), span(b)
    wrong = [(k, both[0][k]) for k in ("running", "runnable", "syscall", "blocked", "procs")
             if abs(both[0][k] - (x[k] * p + y[k] * q) / (p + q)) > 1e-6 * (1 + x[k] + y[k])]
    ok("several traces: means are over the time of all", len(both) == 1 and not wrong, wrong)
    at = [r["at_ns"] for r in answer("parallelism", "--top", "1000", a, b)["parallelism"]]
    ok("several traces: one after the other", at == sorted(at) and at[-1] > p, at[-3:])
    made = answer("churn", a, b)["made"], answer("churn", b, a)["made"]
    same("several traces: their order does not matter to rates", sorted((r["where"], r["goroutine"], round(r["per_second"], 6)) for r in made[0]),
         sorted((r["where"], r["goroutine"], round(r["per_second"], 6)) for r in made[1]))


def against_reference(name, trace, ref):
    try:
        for what, good, detail in util.same_times(GANDER, ref, trace, "_good" in name):
            ok("%s: %s" % (name, what), good, detail)
    except RuntimeError as e:
        skip("%s: Go's own analysis" % name, e)


def pprof_totals(name, trace):
    for what, good, detail in util.same_profiles(GANDER, ["go", "tool", "trace"], trace, "_good" in name, WORK):
        ok("%s: %s" % (name, what), good, detail)


def mmu_by_hand(trace):
    """The minimum mutator utilisation from the list of all events, the slow way."""
    stw, procs, sweeps, state, worker, assist, steps = 0, 0, 0, {}, {}, set(), []
    last = 0
    for line in run("events", "--json", trace).stdout.decode().splitlines():
        e = json.loads(line)
        k, last = e["kind"], e["time_ns"]
        if k == "Metric" and "gomaxprocs" in e["name"]:
            procs = e["value"]
        elif k == "StateTransition" and e["resource"] == "goroutine":
            if e["to"] == "running" and e["from"] not in ("running", "syscall"):
                worker.pop(e["id"], None)
            state[e["id"]] = e["to"]
        elif k == "Label" and e["label"].startswith("GC "):
            worker[e["goroutine"]] = e["label"] != "GC (idle)"
        elif k.startswith("Range"):
            begins = k != "RangeEnd"
            if e["name"].startswith("stop-the-world") and "GC" in e["name"]:
                stw += 1 if begins else -1
            elif e["name"] == "GC mark assist":
                (assist.add if begins else assist.discard)(e["on_goroutine"])
            elif e["name"] == "GC incremental sweep":
                sweeps += 1 if begins else -1
        if procs:
            busy = sweeps + sum(1 for g in set(worker) | assist if state.get(g) in ("running", "syscall") and (g in assist or worker.get(g)))
            u = 0 if stw else max(0, 1 - busy / procs)
            if not steps or steps[-1][1] != u:
                steps.append((last, u))
    t, sums = [s[0] for s in steps] + [last], [0]
    for i, (_, u) in enumerate(steps):
        sums.append(sums[-1] + u * (t[i + 1] - t[i]))

    def integral(x):
        i = min(bisect.bisect_right(t, x) - 1, len(steps) - 1)
        return sums[i] + steps[i][1] * (x - t[i])

    def mmu(w):
        edges = [x for x in t if x + w <= last] + [x - w for x in t if x - w >= t[0]]
        return min((integral(x + w) - integral(x)) / w for x in edges)
    return mmu, last - t[0]


def check_mmu(name, trace):
    mmu, length = mmu_by_hand(trace)
    for r in answer("gc", trace)["mmu"]:
        if r["window_ns"] < length:
            want = mmu(r["window_ns"])
            ok("%s: MMU of %d us" % (name, r["window_ns"] // 1000), abs(r["mmu"] - want) < 1e-6, (r["mmu"], want))


def anonymize(trace, secret):
    out = os.path.join(WORK, "anonymous.out")
    p = run("anonymize", "-o", out, trace)
    same("anonymize: status", p.returncode, 0)
    parsed = [subprocess.run(["go", "tool", "trace", "-d=parsed", t], capture_output=True, env=ENV).stdout for t in (trace, out)]
    same("anonymize: go tool trace reads as many lines", parsed[1].count(b"\n"), parsed[0].count(b"\n"))
    data = open(out, "rb").read()
    same("anonymize: names that are left", [s for s in secret if s.encode() in data], [])
    same("anonymize: the runtime's names stay", b"runtime.gcBgMarkWorker" in data, True)
    a, b = (answer("blocked", "--by", "reason", t)["blocked"] for t in (trace, out))
    same("anonymize: the waits are the same", b, a)
    p = run("anonymize", "--all-names", "-o", "-", trace)
    same("anonymize --all-names: no name of the runtime", b"runtime.gcBgMarkWorker" in p.stdout, False)


def check_limits(trace):
    p = run("check", trace, "--max", "sched.p99=1000s", "--max", "gc.share=100%", "--min", "gc.cycles=1")
    same("check: limits that hold", p.returncode, 0)
    p = run("check", trace, "--max", "sched.max=1ns", "--max", "stw.max=1000s")
    same("check: status of a broken one", p.returncode, 1)
    ok("check: names it, and only it", re.findall(rb"BROKEN\s+(\S+)", p.stdout) == [b"sched.max"], p.stdout)
    same("check: an unknown metric fails", run("check", trace, "--max", "nonsense=1").returncode, 1)
    same("check: a limit without a value is a usage error", run("check", trace, "--max", "sched.max=").returncode, 2)
    listed = json.loads(run("check", trace, "--list", "--json").stdout)["metrics"]
    ok("check --list", {"sched.p99", "stw.max", "blocked.p99", "region.step.p99", "task.job.max", "network.total"} <= set(listed), sorted(listed))


def two_alike(tool, *traces):
    """Two traces of one load, whether the machine was the same to both: as many rounds and as much CPU, by the program's own count."""
    for _ in range(10):
        a, b = (json.loads(subprocess.run([tool, "-load", "600ms", t], capture_output=True, check=True).stdout) for t in traces)
        if all(abs(a[k] - b[k]) <= 0.15 * max(a[k], b[k]) for k in a):
            return True
    return False


def diffs(trace, load, other_load, alike):
    d = answer("diff", load, load)
    same("diff: a trace has not changed from itself", (d["changes"], d["latencies"]), ([], []))
    d = answer("diff", trace, load)
    ok("diff: different programs differ", len(d["changes"]) > 0, d["notes"])
    if not alike:
        return skip("diff: two runs of one load", "the machine gave no two runs alike")
    d = answer("diff", "--all", load, other_load)
    significant = [c for c in d["changes"] if c["significant"]]
    ok("diff: of two runs of one load, most quantities have not changed (%d of %d)" % (len(significant), len(d["changes"])),
       len(significant) * 2 < len(d["changes"]))


def footprint(trace):
    f = answer("footprint", trace)["footprint"]
    same("footprint: every byte is in one row", sum(r["bytes"] for r in f), os.path.getsize(trace))
    created = row(f, kind="GoCreate")["count"]
    same("footprint: as many creations as goroutines made", created, json.loads(run("check", trace, "--list", "--json").stdout)["metrics"]["goroutines.created"])


def spans(trace):
    lines = run("export", "--to", "json", trace).stdout.decode().splitlines()
    rows = [json.loads(x) for x in lines]
    g = {x["goroutine"]: x for x in answer("goroutines", "--by", "goroutine", "--system", "--top", "100000", trace)["goroutines"]}
    total = {}
    for r in rows:
        key = (r["goroutine"], r["state"])
        total[key] = total.get(key, 0) + r["duration_ns"]
    wrong = [i for i, x in g.items() if total.get((i, "Running"), 0) != x["running_ns"] or total.get((i, "Waiting"), 0) != x["blocked_ns"]]
    ok("export json: the spans of %d goroutines add up to their times" % len(g), not wrong, wrong[:5])
    table = list(csv.reader(run("export", "--to", "csv", trace).stdout.decode().splitlines(True), strict=True))
    same("export csv: as many lines", len(table), len(rows) + 1)
    same("export csv: columns", table[0][:5], ["start_ns", "duration_ns", "goroutine", "function", "state"])
    same("export csv: each row has as many cells as the header", {len(r) for r in table}, {len(table[0])})


def python_with_perfetto():
    """A python that has PyPI's perfetto, or None."""
    if subprocess.run([sys.executable, "-c", "import perfetto.protos.perfetto.trace.perfetto_trace_pb2"], capture_output=True).returncode == 0:
        return sys.executable
    venv = os.path.join(WORK, "pypi")
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(os.path.join(venv, "ready")):
        shutil.rmtree(venv, ignore_errors=True)
        for cmd in ([sys.executable, "-m", "venv", venv], [python, "-m", "pip", "install", "-q", "perfetto", "protobuf"]):
            if subprocess.run(cmd, capture_output=True).returncode:
                return None
        open(os.path.join(venv, "ready"), "w").close()
    return python


def perfetto(name, trace, python, want=None):
    out = os.path.join(WORK, "t.pftrace")
    p = run("export", "--to", "perfetto", "-o", out, trace)
    same("%s: export perfetto" % name, (p.returncode, p.stderr), (0, b""))
    p = subprocess.run([python, os.path.join(HERE, "pfcheck.py"), out], capture_output=True)
    found = json.loads(p.stdout) if p.stdout else {"bad": [p.stderr.decode()], "slices": {}}
    same("%s: perfetto's rules (tracks, nesting, interning, flows) over %s packets" % (name, found.get("packets")), found["bad"], [])
    if want:
        same("%s: perfetto has the tasks and regions" % name, (found["slices"].get("job"), found["slices"].get("step")), (want["tasks"], want["steps"]))


def where(trace):
    events = [json.loads(x) for x in run("events", "--json", "--stacks", trace).stdout.decode().splitlines()]
    t0 = events[0]["time_ns"]

    def functions(e):
        return [f["func"] for f in e.get("stack", []) + e.get("transition_stack", [])]
    for text, holds in (
            ("kind=statetransition && to=waiting", lambda e: e["kind"] == "StateTransition" and e["to"] == "waiting"),
            ("reason~chan || reason=select", lambda e: "chan" in e.get("reason", "") or e.get("reason") == "select"),
            ("function~main.(*none).x", lambda e: False),
            ("function=main.locker && !(kind=Log)", lambda e: "main.locker" in functions(e) and e["kind"] != "Log"),
            ("time>=300ms && time<350ms", lambda e: 300e6 <= e["time_ns"] - t0 < 350e6),
            ('name="GC concurrent mark phase"', lambda e: e.get("name") == "GC concurrent mark phase"),
            ("value=order-7", lambda e: e.get("message") == "order-7"),
            ("task=3", lambda e: e.get("task") == 3),
            ("thread!=0 && proc=1 && resource=proc", lambda e: e.get("resource") == "proc" and 1 in (e.get("proc"), e["id"]))):
        got = json.loads(run("events", "--count", "--json", "--where", text, trace).stdout)["events"]
        same("events --where '%s'" % text, got, sum(1 for e in events if holds(e)))
    for text in ("", "nonsense=1", "time>x", "(kind=a", "kind=a)", "kind", "goroutine=x", "kind<a", "!" * 100 + "kind=a", "kind=a && " * 300 + "kind=a"):
        same("events --where '%.20s' is a usage error" % text, run("events", "--where", text, trace).returncode, 2)


def damaged(trace):
    data = open(trace, "rb").read()
    verbs = ["summary", "goroutines", "blocked", "sched", "syscalls", "gc", "tasks", "regions", "threads", "parallelism", "churn", "network", "footprint"]
    for what, bytes_, statuses in (("nothing", b"", {1}), ("text", b"hello, world, this is no trace\n" * 10, {1}),
                                   ("another version", b"go 1.99 trace\0\0\0" + data[16:2000], {1}), ("a header alone", data[:16], {0, 1, 3}),
                                   ("half a trace", data[:len(data) // 2], {1, 3})):
        for v in verbs:
            p = run(v, "-", data=bytes_)
            lines = [x for x in p.stderr.decode(errors="replace").splitlines() if x]
            good = p.returncode in statuses and (p.returncode == 0 or len(lines) == 1)
            if not good:
                ok("%s, from %s" % (v, what), False, (p.returncode, lines[:3]))
                break
        else:
            ok("%d verbs from %s: status %s, one line of error" % (len(verbs), what, "/".join(map(str, sorted(statuses)))), True)
    crashes = []
    for n in range(0, len(data), max(1, len(data) // 40)):
        for v in ("anonymize", "export"):
            args = ["-o", "-"] if v == "anonymize" else ["--to", "perfetto"]
            p = run(v, *args, "-", data=data[:n])
            if p.returncode < 0 or p.returncode > 3:
                crashes.append((v, n, p.returncode))
    same("anonymize and export of a trace cut at 40 places do not crash", crashes, [])
    same("a file that is not there", run("summary", "/nonexistent").returncode, 1)
    same("no trace is a usage error", run("summary").returncode, 2)
    same("a full disk is told", subprocess.run([GANDER, "go", "export", "--to", "perfetto", "-o", "/dev/full", trace], capture_output=True).returncode, 1)
    forms = "summary events goroutines blocked network sched syscalls gc tasks regions threads parallelism churn footprint diff".split()
    forms = [[v] for v in forms] + [[v, "--json"] for v in forms] + [["events", "--count"], ["events", "--go"], ["anonymize", "-o", "-"], ["cut", "--to", "1ms", "-o", "-"], ["repair", "-o", "-"]] + [
        ["export", "--to", to, "-o", "-"] for to in ("csv", "json", "perfetto", "pprof:blocked")] + [["--help"], ["check", "--help"]]
    with open("/dev/full", "w") as full:
        for form in forms:
            p = subprocess.run([GANDER, "go", *form, *[trace] * (0 if "--help" in form else 2 if form[0] == "diff" else 1)], stdout=full, stderr=subprocess.PIPE, text=True)
            same("gander go %s to a full disk" % " ".join(form), (p.returncode, p.stderr.count("No space left on device"), p.stderr.count("gander: ")), (1, 1, 1))


def old_format():
    """Before Go 1.22 tables stand at the file's end, and of a system call that did not block there is no end."""
    path = os.path.join(HERE, "../../fuzz/corpus/gotrace/go-1.19")
    data = open(path, "rb").read()
    for p in run("summary", path), run("summary", "-", data=data):
        text = p.stdout.decode()
        ok("a trace of Go 1.19: its size is the file's", "%.2f KiB" % (len(data) / 1024) in text, text)
        ok("... and no p50 of system calls is made up", re.search("syscalls +1; those that blocked", text), text)
        ok("... nor a share of 0 Ps", " Ps (" not in text, text)


def urls(trace):
    data = open(trace, "rb").read()
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path.startswith("/debug/pprof/trace"):
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.end_headers()
                self.wfile.write(data)
            elif self.path.startswith("/old/debug/pprof/trace"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"go 1.19 trace\0\0\0")
            elif self.path.startswith("/text"):
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(b"Could not enable tracing: already enabled\n")
            else:
                self.send_response(404)
                self.end_headers()
                self.wfile.write(b"404 page not found\n")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = "http://127.0.0.1:%d" % server.server_port
    p = run("goroutines", "--json", base)
    same("URL: the answer is the file's", json.loads(p.stdout)["functions"], answer("goroutines", trace)["functions"])
    same("URL: a host alone means its trace of five seconds", asked, ["/debug/pprof/trace?seconds=0.001", "/debug/pprof/trace?seconds=5"])
    ok("URL: the price is said", b"1-2%" in p.stderr, p.stderr)
    p = run("summary", "-p", str(os.getpid()), "--seconds", "1", "--json")
    ok("summary -p: finds the process's own trace", p.returncode == 0 and asked[-1] == "/debug/pprof/trace?seconds=1" and b"THE FIVE" not in p.stdout, p.stderr)
    for index in "/debug/pprof", "/debug/pprof/":
        p = run("summary", base + index)
        ok("URL: %s means its trace" % index, p.returncode == 0 and asked[-1] == "/debug/pprof/trace?seconds=5", (asked[-1], p.stderr))
    p = run("summary", base + "/old/debug/pprof/trace?seconds=1")
    ok("URL: the price before Go 1.21 is said", b"10-20%" in p.stderr, p.stderr)
    p = run("summary", base + "/nothing")
    ok("URL: 404 is told", p.returncode == 1 and b"answered 404: 404 page not found" in p.stderr, p.stderr)
    p = run("summary", base + "/text")
    ok("URL: text is told", p.returncode == 1 and b"answered with text" in p.stderr and b"already enabled" in p.stderr, p.stderr)
    server.shutdown()
    server.server_close()
    p = run("summary", "-p", str(os.getpid()))
    ok("summary -p: a process without net/http/pprof is told", p.returncode == 1 and b"serves no /debug/pprof/trace" in p.stderr, p.stderr)
    p = run("summary", base)
    ok("URL: nobody there is told", p.returncode == 1 and p.stderr.count(b"\n") == 1, p.stderr)


def forms(trace, load):
    wide = []
    for v in ("summary", "goroutines", "blocked", "sched", "syscalls", "gc", "tasks", "regions", "threads", "parallelism", "churn", "footprint"):
        # on a terminal of 80 columns: script(1) gives one
        cmd = "stty cols 80 rows 40; %s go %s %s" % (GANDER, v, load)
        p = subprocess.run(["script", "-qec", cmd, "/dev/null"], capture_output=True, stdin=subprocess.DEVNULL, env=dict(ENV, TERM="dumb"))
        for line in re.sub(r"\x1b\[K|\r[^\n]*\r", "", p.stdout.decode()).splitlines():
            if len(line.rstrip("\r")) > 80 and "\r" not in line.rstrip("\r"):
                wide.append((v, len(line), line))
    same("tables fit 80 columns", wide, [])
    both = answer("goroutines", trace, load)["functions"]
    one, two = answer("goroutines", trace)["functions"], answer("goroutines", load)["functions"]
    same("several traces add up", row(both, function="main.main")["running_ns"],
         row(one, function="main.main")["running_ns"] + row(two, function="main.main")["running_ns"])
    with open(trace, "rb") as f:
        p = subprocess.run([GANDER, "go", "goroutines", "--json", "-"], stdin=f, capture_output=True)
    same("standard input", json.loads(p.stdout)["functions"], one)
    p = run("summary", load)
    ok("summary: what to ask next, of the same trace", re.search(rb"Next: gander go [a-z]+( --[a-z]+ [a-z]+)? " + re.escape(load.encode()), b" ".join(p.stdout.split())),
       p.stdout)
    ok("summary: one screen", p.stdout.count(b"\n") <= 24 and b"THE FIVE WORST" in p.stdout, p.stdout.count(b"\n"))
    p = run("blocked", "--stacks", "--top", "3", trace)
    ok("--stacks: frames under the rows", re.search(rb"\n        \S+\n            \S+:\d+\n", p.stdout) is not None, p.stdout[:300])


def main():
    if not shutil.which("go"):
        skip("the analyses of Go traces", "no go")
        return
    os.makedirs(WORK, exist_ok=True)
    tool = os.path.join(WORK, "known")
    subprocess.run(["go", "build", "-o", tool, "."], cwd=os.path.join(HERE, "known"), env=ENV, check=True)
    trace, load, load2 = (os.path.join(WORK, n) for n in ("known.out", "load.out", "load2.out"))
    want = json.loads(subprocess.run([tool, trace], capture_output=True, check=True).stdout)
    tiny = os.path.join(WORK, "tiny.out")
    subprocess.run([tool, "-load", "40ms", tiny], capture_output=True, check=True)
    alike = two_alike(tool, load, load2)
    known_answers(trace, want)
    check_limits(trace)
    footprint(trace)
    spans(trace)
    where(trace)
    diffs(trace, load, load2, alike)
    anonymize(trace, ["main.sleeper", "sleeper", "order-7", "orderID", HERE])
    damaged(trace)
    old_format()
    urls(trace)
    forms(trace, load)
    several(trace, load)
    check_mmu("known", trace)
    pprof_totals("known", trace)
    pprof_totals("load", load)
    ref = os.path.join(WORK, "ref")
    p = subprocess.run(["sh", os.path.join(HERE, "ref", "build.sh"), WORK], capture_output=True, env=ENV)
    old = os.path.join(subprocess.run(["go", "env", "GOROOT"], capture_output=True).stdout.decode().strip(), "src/internal/trace/internal/tracev1/testdata")
    v1 = [os.path.join(old, n) for n in ("stress_1_11_good", "http_1_19_good", "http_1_21_good")]
    v1 = [t for t in v1 if os.path.exists(t) and run("footprint", t).returncode == 0 and run("threads", t).returncode == 0]
    if p.returncode == 0:
        for name, t in [("known", trace), ("load", load)] + [(os.path.basename(t), t) for t in v1]:
            against_reference(name, t, ref)
    else:
        skip("Go's own summary", "internal/trace of this Go cannot be built: %s" % p.stderr.decode().strip()[-200:])
    for t in v1:
        pprof_totals(os.path.basename(t), t)
        out = os.path.join(WORK, "v1.out")
        same("%s: anonymize" % os.path.basename(t), run("anonymize", "-o", out, t).returncode, 0)
        same("%s: anonymized, it gives the same waits" % os.path.basename(t), answer("blocked", "--by", "reason", out), answer("blocked", "--by", "reason", t))
    python = python_with_perfetto()
    if python:
        for name, t, w in [("known", trace, want), ("load", tiny, None)] + [(os.path.basename(t), t, None) for t in v1]:
            perfetto(name, t, python, w)
    else:
        skip("perfetto", "PyPI's perfetto cannot be had")


main()
print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % count)
sys.exit(1 if count["failed"] else 0)
