#!/usr/bin/env python3
"""timeline.py BUILD: the example service under load, recorded with events, the Go trace and the kernel's view: all on one clock, goroutines agree, waits split."""
import collections
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
build = os.path.abspath(sys.argv[1])
gander, shop = os.path.join(build, "gander"), os.path.join(build, "shop")
if not os.path.exists(gander):
    gander = os.path.join(build, "src", "cli", "gander")
SLACK = 1000  # ns: what the clocks may be apart
passed = failed = skipped = 0


def case(ok, text):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print("%s %s" % ("ok  " if ok else "FAIL", text), flush=True)


def skip(text):
    print("skip: " + text)
    sys.exit(77)


def events(*args):
    with subprocess.Popen([gander, "events", *args, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        for line in p.stdout:
            e = json.loads(line)
            if "event" in e:
                yield e


for need in (gander, shop):
    if not os.path.exists(need):
        skip("there is no " + need)
if not shutil.which("wrk"):
    skip("no wrk")
tmp = tempfile.mkdtemp(prefix="gander-timeline-")
p = subprocess.run([gander, "record", "-q", "-o", tmp + "/probe", "--kernel", "sched,syscalls", "--", "true"], capture_output=True, text=True)
if p.returncode:
    shutil.rmtree(tmp)
    skip(p.stderr.strip())

server = subprocess.Popen([shop, "-addr", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
try:
    url = re.search(r"http:\S+", server.stdout.readline()).group(0)
    rec = os.path.join(tmp, "rec")
    recorder = subprocess.Popen([gander, "record", "-p", str(server.pid), "-o", rec, "--json", "--go", "--kernel", "sched,syscalls",
                                 "--kernel-buffer", "%dM" % max(8, 64 >> max(0, (os.cpu_count() - 1).bit_length() - 5))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):  # until its first generation is there
        if os.path.isdir(rec + "/go") and any(os.path.getsize(os.path.join(rec, "go", f)) > 100 for f in os.listdir(rec + "/go")):
            break
        if recorder.poll() is not None:
            break
        time.sleep(0.02)
    requests = 0
    for _ in range(60):  # a second is enough where nothing else runs
        wrk = subprocess.run(["wrk", "-t1", "-c4", "-d1s", "-s", os.path.join(HERE, "..", "..", "examples", "shop", "load.lua"), url], capture_output=True, text=True).stdout
        requests += int((re.search(r"(\d+) requests in", wrk) or [0, 0])[1])
        if requests >= 200:
            break
    time.sleep(0.5)  # the generation with the last of it is closed
    recorder.send_signal(signal.SIGINT)
    out, err = recorder.communicate(timeout=300)
    summary = json.loads(out)
    with open(rec + "/gander.json") as f:
        manifest = json.load(f)
    case(manifest["go"] and manifest["go"][0].get("file"), "there is a Go trace: " + err.strip()[-200:])
    offset = manifest["clock"]["mono_offset_ns"]

    kinds = collections.Counter()
    last, ordered = 0, True
    on = {}  # tid -> goroutine, by the Go trace
    running = collections.defaultdict(list)  # goroutine -> [begin, end] of its stays on a P
    shop_events = []
    calls = collections.defaultdict(list)  # tid -> (time, entry?)
    sleeps = []  # (tid, begin, end) of a goroutine's stay in a system call, by the Go trace
    open_call, told, agree = {}, 0, 0
    first_go = last_go = None
    # Go's times go in steps of 64 ns, so 1 ns behind the one before it is a time that the reader has raised: a thread that lost its CPU when it had taken
    # its place in the order and not yet the time wrote one that is late, and what comes behind it in the order, on whatever thread, comes behind it in time
    raised = set()
    for e in events(rec):
        t, name, c, f = e["time_ns"], e["event"], e["context"], e["fields"]
        ordered &= t >= last
        last = t
        kinds["go" if name.startswith("go.") else "shop" if e.get("process") else "kernel"] += 1
        if name.startswith("go."):
            if t - 1 == last_go:
                raised.add(t)
            first_go, last_go = first_go or t, t
        if name == "go.state":
            g = f["goroutine"]
            if f["to"] == "Running" and f["from"] != "Undetermined":
                running[g].append([t, None])
            elif f["from"] == "Running" and running[g] and running[g][-1][1] is None:
                running[g][-1][1] = t
            if f["from"] == "Running" and f["to"] == "Syscall":
                open_call[g] = c.get("tid"), t
            elif f["from"] == "Syscall" and g in open_call:
                tid, begin = open_call.pop(g)
                if c.get("tid") == tid:
                    sleeps.append((tid, begin, t, g))
        elif name.startswith("shop.") and "goid" in c:
            shop_events.append((t, c["goid"], name))
        elif name.startswith("syscall_"):
            calls[c["tid"]].append((t, name, e.get("goroutine")))
            told += "goroutine" in e

    case(ordered, "%d events in the order of time" % sum(kinds.values()))
    case(min(kinds[k] for k in ("go", "shop", "kernel")) > 100, "of all three sources: %s" % dict(kinds))
    n = int(subprocess.run([gander, "events", "-c", rec], capture_output=True, text=True).stdout)
    case(n == sum(kinds.values()), "--count says as many: %d" % n)

    # events lie where the Go trace has their goroutine running
    inside = outside = moved = 0
    for t, g, name in shop_events:
        if t < first_go + 50_000_000 or t > last_go - 50_000_000:
            continue
        stays = running.get(g, ())
        lo, hi = 0, len(stays)
        while lo < hi:
            mid = (lo + hi) // 2
            lo, hi = (mid + 1, hi) if stays[mid][0] <= t + SLACK else (lo, mid)
        good = any(a - SLACK <= t and (b is None or t <= b + SLACK) for a, b in stays[max(0, lo - 3):lo + 1])
        if not good and lo < len(stays) and stays[lo][0] in raised:
            moved += 1
            continue
        inside, outside = inside + good, outside + (not good)
        if not good and outside <= 5:
            print("     %s of %d at %d, runs at %s" % (name, g, t, [(a - t, b and b - t) for a, b in stays[max(0, lo - 3):lo + 2]]))
    case(inside > 100 and not outside and moved < inside / 20,
         "every event lies where the Go trace has its goroutine running: %d do, %d do not, %d before a begin that was raised" % (inside, outside, moved))

    # a goroutine's system call as the Go trace has it holds the kernel's entry and exit of that thread
    held = bare = wrong = late = 0
    for tid, begin, end, g in sleeps:
        if begin in raised or end in raised:
            late += 1
            continue
        mine = calls.get(tid, ())
        lo, hi = 0, len(mine)
        while lo < hi:
            mid = (lo + hi) // 2
            lo, hi = (mid + 1, hi) if mine[mid][0] < begin - SLACK else (lo, mid)
        while lo < hi + 4 and lo < len(mine) and mine[lo][0] < begin and "_exit_" in mine[lo][1]:
            lo += 1  # of the call before it
        inner = [x for x in mine[lo:lo + 4] if x[0] <= end + SLACK]
        if len(inner) >= 2 and "_entry_" in inner[0][1] and "_exit_" in inner[1][1]:
            held += 1
            wrong += any(x[2] not in (g, None) for x in inner[:2])
        else:
            bare += 1
            if bare <= 5:
                print("     system call of %d on %d, %d ns: %s" % (g, tid, end - begin, [(x[0] - begin, x[1]) for x in mine[max(0, lo - 2):lo + 4]]))
    lost = manifest["kernel"]["lost"]["total"]
    case(held > 100 and bare <= lost,
         "goroutines' system calls hold the kernel's, to a microsecond: %d do, %d do not (%d kernel events lost), %d were raised" % (held, bare, lost, late))
    case(not wrong, "and the kernel's are of the same goroutine (%d told, %d of another)" % (told, wrong))

    g = collections.Counter(g for _, g, _ in shop_events).most_common(1)[0][0]
    seen = collections.Counter()
    for e in events(rec, "--where", "$goid == %d" % g):
        seen["go" if e["event"].startswith("go.") else "shop" if e.get("process") else "kernel"] += 1
        if e.get("goroutine", e["context"].get("goid")) != g:
            seen["wrong"] += 1
    case(seen["go"] and seen["shop"] and seen["kernel"] and not seen["wrong"], "--where '$goid == %d' finds it in all: %s" % (g, dict(seen)))

    r = json.loads(subprocess.run([gander, "report", rec, "--json"], capture_output=True, text=True).stdout)
    rows = {x["goroutine"]: x for x in r["goroutines"]}
    case(g in rows and rows[g]["on_cpu_ns"] > 0, "the report has goroutine %d: %s" % (g, rows.get(g)))
    alone = subprocess.run([gander, "go", "goroutines", os.path.join(rec, manifest["go"][0]["file"]), "--json", "--top", "1000"], capture_output=True, text=True)
    case(alone.returncode in (0, 3), "gander go goroutines reads the Go trace alone")
    kernel = {t["tid"]: t for t in r["kernel"]["threads"]}
    case(sum(x["on_cpu_ns"] for x in r["goroutines"]) <= sum(t["on_cpu_ns"] for t in kernel.values()) + 10**6,
         "goroutines were not on CPUs for longer than their threads: %d and %d ns" % (sum(x["on_cpu_ns"] for x in r["goroutines"]),
                                                                                   sum(t["on_cpu_ns"] for t in kernel.values())))
    clocks = {x["source"].split()[0]: x["error_ns"] for x in r["clocks"]}
    case(clocks.get("Go") == 64 and clocks.get("events", 10**9) <= SLACK, "each clock's error is known: %s" % clocks)

    # the same recording, as if it came from elsewhere
    other = os.path.join(tmp, "other")
    shutil.copytree(rec, other)
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip()
    for d in os.listdir(other + "/ctf"):
        path = os.path.join(other, "ctf", d, "metadata")
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(text.replace(boot, "01234567-89ab-cdef-0123-456789abcdef").replace('hostname = "', 'hostname = "far-'))
    p = subprocess.run([gander, "events", "-c", rec, other], capture_output=True, text=True)
    case(p.returncode == 1 and "different machines" in p.stderr and boot in p.stderr and "01234567-89ab" in p.stderr and p.stderr.count("\n") == 1,
         "of two machines: refused, with how it was noticed: " + p.stderr.strip()[-160:])
    os.unlink(os.path.join(other, "gander.json"))
    p = subprocess.run([gander, "events", "-c", other], capture_output=True, text=True)
    lost += manifest["lost"]["total"]
    case(p.returncode == (3 if lost else 0), "each by itself is read, and what was lost is told: %d" % lost)
    if shutil.which("babeltrace2"):
        p = subprocess.run(["babeltrace2", rec], capture_output=True, text=True)
        said = sum(int(n) for n in re.findall(r"Tracer discarded (\d+) event", p.stderr))
        case(p.returncode == 0 and said == lost and bool(p.stderr) == bool(lost) and p.stdout.count("\n") == kinds["shop"] + kinds["kernel"], "babeltrace2 reads the CTF part, and warns of what was lost alone")
finally:
    server.send_signal(signal.SIGTERM)
    server.wait()
    shutil.rmtree(tmp, ignore_errors=True)
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(1 if failed else 0)
