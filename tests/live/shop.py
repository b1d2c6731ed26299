#!/usr/bin/env python3
"""shop.py BUILD: the example service under wrk, recorded while it runs: what gander counted is what wrk and babeltrace2 counted."""
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
passed = failed = skipped = 0


def case(ok, text):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print("%s %s" % ("ok  " if ok else "FAIL", text), flush=True)


for need in (gander, shop):
    if not os.path.exists(need):
        print("skip: there is no " + need)
        sys.exit(77)
if not shutil.which("wrk"):
    print("skip: no wrk")
    sys.exit(77)

tmp = tempfile.mkdtemp(prefix="gander-shop-")
server = subprocess.Popen([shop, "-addr", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
try:
    url = re.search(r"http:\S+", server.stdout.readline()).group(0)
    rec = os.path.join(tmp, "rec")
    recorder = subprocess.Popen([gander, "record", "-p", str(server.pid), "-o", rec, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)
    for _ in range(5000):
        if recorder.poll() is not None or " recorded " in subprocess.run([gander, "list", "-p", str(server.pid)], capture_output=True, text=True).stdout:
            break
        time.sleep(0.02)
    connections = 4
    wrk = subprocess.run(["wrk", "-t1", "-c%d" % connections, "-d2s", "-s", os.path.join(HERE, "..", "..", "examples", "shop", "load.lua"), url],
                         capture_output=True, text=True).stdout
    requests = int(re.search(r"(\d+) requests in", wrk).group(1))
    refused = int((re.search(r"Non-2xx or 3xx responses: (\d+)", wrk) or [0, 0])[1])
    server.send_signal(signal.SIGTERM)  # it carries the orders out that wait, and the recording ends with it
    server.wait()
    summary = json.loads(recorder.communicate(timeout=300)[0])

    counts, bad = collections.Counter(), 0
    last, ordered = 0, True
    with subprocess.Popen([gander, "events", rec, "--json"], stdout=subprocess.PIPE, text=True) as p:
        for line in p.stdout:
            e = json.loads(line)
            counts[e["event"]] += 1
            ordered &= e["time_ns"] >= last
            last = e["time_ns"]
            bad += e["event"] == "shop.request.end" and e["fields"]["attr"]["status"] >= 400
    # wrk does not count what was on its way when it stopped: one request a connection at most
    n = counts["shop.request.end"]
    case(requests <= n <= requests + connections, "%d requests by wrk, %d recorded" % (requests, n))
    case(refused <= bad <= refused + connections, "%d of them refused by wrk's count, %d by status >= 400" % (refused, bad))
    for span in ("shop.request", "shop.query", "shop.job"):
        case(counts[span + ".begin"] == counts[span + ".end"] > 0, "every %s that began has ended: %d" % (span, counts[span + ".end"]))
    case(counts["shop.job.begin"] == counts["shop.queue"], "every order that was queued was carried out: %d" % counts["shop.queue"])
    case(sum(counts.values()) == summary["events"] and summary["lost"]["total"] == 0,
         "%d events printed, %d recorded, %d lost" % (sum(counts.values()), summary["events"], summary["lost"]["total"]))
    case(ordered, "in order of time")
    where = subprocess.run([gander, "events", rec, "--json", "--where", "status >= 400"], capture_output=True, text=True).stdout
    case(where.count("\n") == bad, "--where 'status >= 400' prints them: %d" % where.count("\n"))

    if shutil.which("babeltrace2"):
        traces = [os.path.join(rec, "ctf", d) for d in os.listdir(os.path.join(rec, "ctf"))]
        p = subprocess.run(["babeltrace2", *traces], capture_output=True, text=True)
        case(p.stdout.count("\n") == summary["events"] and p.returncode == 0, "babeltrace2 prints %d events" % p.stdout.count("\n"))
        case(not p.stderr, "and warns of nothing" + p.stderr[:300])
    else:
        print("skip: no babeltrace2")
        skipped += 2
finally:
    if server.poll() is None:
        server.terminate()
        server.wait()
    shutil.rmtree(tmp, ignore_errors=True)
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(1 if failed else 0)
