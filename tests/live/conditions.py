#!/usr/bin/env python3
"""conditions.py GANDER EMITTER [CASE]: record --snapshot-when against live programs. A program's own count is held against what its snapshots hold."""
import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import collect  # noqa: its programs and recordings, not its cases
from collect import Program, Recording, Skip, babeltrace, case, check, gander, manifest, new, same  # noqa

collect.CASES.clear()
HERE = os.path.dirname(os.path.abspath(__file__))


def events(d, *args):
    return [e for e in map(json.loads, gander("events", d, "--json", *args, status=None).stdout.splitlines()) if "fields" in e]


def steps(d):
    """The numbers of test.step in the order of time."""
    return [e["fields"]["n"] for e in events(d, "-e", "test.step")]


def run_to(numbers, last):
    """How many there are in a row up to the last. What is before may have holes: a slot that stood still keeps what is older than the others' oldest."""
    there, n = set(numbers), 0
    while last - n in there:
        n += 1
    return n


def snapshots(d):
    """The folders that gander.json lists, and those that are there."""
    listed = [s["dir"] for s in manifest(d)["snapshots"]]
    same("listed are those that are there", listed, sorted(x for x in os.listdir(d) if x.startswith("snapshot-")))
    return [os.path.join(d, s) for s in listed]


def wait_emitted(counts, n):
    for _ in range(3000):
        if struct.unpack("<Q", open(counts, "rb").read(8))[0] > n:
            return
        time.sleep(0.02)
    raise AssertionError("nothing is emitted")


def held(*args, **env):
    """A program that emits when it is told to: not when another recording of the machine's switches it on."""
    return Program(*args, env=dict(HOLD="1", **env))


def let(p):
    p.p.stdin.write("\n")
    p.p.stdin.flush()


def refused(status, text, *args):
    r = gander("record", *args, "-o", new("refused"), status=status)
    check("it says " + text, text in r.stderr, r.stderr)
    return r


@case
def what_led_to_it():
    p = held(1, 50000)
    r = Recording("led", "-p", p.pid, "--snapshot-when", "test.step.n == 40000", "--max-snapshots", 1,
                  "--exec", "env >%s; sleep 0.3; test -d $GANDER_SNAPSHOT/ctf" % new("env")).wait_ready()
    n = p.go()
    out = r.result(0)
    same("snapshots", out["snapshots"], 1)
    d, = snapshots(r.dir)
    m = manifest(d)
    same("its cause", (m["snapshot"]["why"], m["snapshot"]["event"], m["snapshot"]["pid"], m["snapshot"]["number"]),
         ("test.step.n == 40000", "test.step", p.pid, 1))
    got = steps(d)
    same("all from the first to the one it is about", run_to(got, 40000), 40001)
    same("events, as babeltrace2 counts them", babeltrace(d), (m["events"], 0))
    same("counted by name", int(gander("events", d, "-c", "-e", "test.step").stdout), len(got))
    same("counted by a field", int(gander("events", d, "-c", "--where", "n == 40000 && thread == 0").stdout), 1)
    same("events, in the list", manifest(r.dir)["snapshots"][0]["events"], m["events"])
    check("no more than there were", m["events"] <= n, m["events"])
    at = [e for e in events(d, "-e", "test.step") if e["fields"]["n"] == 40000][0]["time_ns"]
    check("its time is not before the event's", m["snapshot"]["time_ns"] >= at, (m["snapshot"]["time_ns"], at))
    env = dict(line.split("=", 1) for line in open(new("env")).read().splitlines() if line.startswith("GANDER_SNAPSHOT"))
    same("the command is told", (env["GANDER_SNAPSHOT"], env["GANDER_SNAPSHOT_EVENT"], env["GANDER_SNAPSHOT_PID"], env["GANDER_SNAPSHOT_WHY"]),
         (os.path.realpath(d), "test.step", str(p.pid), "test.step.n == 40000"))
    p.end()


@case
def the_last_of_it():
    p = held(1, 0, 1000, STEADY="1")
    r = Recording("last", "-p", p.pid, "--snapshot-when", "test.step.n == 300000", "--last", "20ms", "--max-snapshots", 1).wait_ready()
    let(p)
    r.result(0)
    d, = snapshots(r.dir)
    m, ev = manifest(d), events(d)
    check("20 ms before, and what came until it was taken", m["snapshot"]["time_ns"] - ev[0]["time_ns"] <= 20000000, (m["snapshot"], ev[0]))
    got = steps(d)
    check("the event itself, and what led to it", run_to(got, 300000) > 100, run_to(got, 300000))
    same("each once, in order", got, sorted(set(got)))
    p.end()


@case
def nothing_is_overwritten_while_frozen():
    """The collector is stopped over the freeze: the ring waits, what has no room is counted, and nothing else is missing."""
    p = held(1, 300000)
    r = Recording("frozen", "-p", p.pid, "--buffer", "2M", "--snapshot-when", "test.step.n == 150000", "--max-snapshots", 1).wait_ready()
    r.p.send_signal(signal.SIGSTOP)
    n = p.go()
    r.p.send_signal(signal.SIGCONT)
    out = r.result(None)
    d, = snapshots(r.dir)
    m = manifest(d)
    got = steps(d)
    check("the event that froze it, and what led to it: as much as the ring had", run_to(got, 150000) > 3000, run_to(got, 150000))
    lost = m["lost"]
    check("lost while it was frozen", lost["frozen"] > 0, lost)
    same("recorded + overwritten + lost = emitted", m["events"] + lost["overwritten"] + lost["frozen"] + lost["full"], n)
    same("losses of the recording", out["lost"]["frozen"], lost["frozen"])
    same("babeltrace2 tells them", babeltrace(d), (m["events"], lost["frozen"]))
    page = gander("report", d, status=3).stdout
    check("the report says why", "%d  no packet was spare" % lost["frozen"] in page, page)
    same("and its JSON", json.loads(gander("report", d, "--json", status=3).stdout)["lost_by_reason"]["frozen"], lost["frozen"])
    p.end()


@case
def always_true():
    p = Program(1, 0, 1000, env={"STEADY": "1"})
    r = Recording("always", "-p", p.pid, "--snapshot-when", "test.step.n >= 0", "--rate-limit", "1h", "--max-snapshots", 0).wait_ready()
    for _ in range(3000):
        if manifest(r.dir)["snapshots"]:
            break
        time.sleep(0.02)
    time.sleep(0.5)
    same("one an hour", r.stop(None)["snapshots"], 1)
    r = Recording("bounded", "-p", p.pid, "--snapshot-when", "test.text", "--rate-limit", "0", "--max-snapshots", 5, "--buffer", "1M")
    same("five, then it ends by itself", r.result(None)["snapshots"], 5)
    last = -1
    for d in snapshots(r.dir):
        got = steps(d)
        same("each once, in order", got, sorted(set(got)))
        check("each newer than the one before", got[-1] > last)
        last = got[-1]
        same("its event", manifest(d)["snapshot"]["event"], "test.text")
    p.end()


@case
def never_true():
    p = held(2, 2000)
    r = Recording("never", "-p", p.pid, "--snapshot-when", "test.step.n < 0").wait_ready()
    p.go()
    out = r.stop(0)
    same("none", (out["snapshots"], out["events"], snapshots(r.dir)), (0, 0, []))
    p.end()


@case
def misspelt():
    p = held(1, 10)
    for condition, text in (
            ("test.stepp.n > 3", "no event is called 'test.stepp'; did you mean 'test.step'?"),
            ("test.step.thraed == 1", "event test.step has no field 'thraed'; did you mean 'thread'? (it has: thread, n)"),
            ("test.text.path > 3", "test.text"),
            ("test.step.n > 3 && test.text.status > 3", "(a condition is about one event: others need their own --snapshot-when)"),
            ("other.thing.field == 1", "no event is called 'other.thing' (gander list -e shows what there is)")):
        r = refused(3, text, "-p", p.pid, "--snapshot-when", condition, "--for", "100ms")
        check("and which condition", "condition '%s'" % condition in r.stderr, r.stderr)
        m = manifest(new("refused"))
        check("it is written down", any(condition in q["text"] for q in m["problems"]), m["problems"])
        shutil.rmtree(new("refused"))
    p.go()
    p.end()


@case
def misspelt_in_a_recording():
    p = held(1, 100)
    r = Recording("where", "-p", p.pid).wait_ready()
    p.go()
    p.end()
    r.result(0)
    for verb in ("events", "report", "export"):
        args = [verb, r.dir] + (["--to", "json", "-o", new("where.json")] if verb == "export" else [])
        out = gander(*args, "--where", "statsu == 200 && thread < 3", status=None)
        check(verb + " warns", "no event has a field named 'statsu'; did you mean 'status'?" in out.stderr, out.stderr)
        check("of nothing else", "'thread'" not in out.stderr, out.stderr)
    out = gander("events", r.dir, "--where", "status == 12345", status=0)
    same("nothing where the field is there", out.stderr, "")


@case
def bad_input():
    for condition, text in (("n > 3", "'n' names no event's field"), ("$tid == 3", "about no event"), ("1 == 1", "about no event"),
                            ("test.step.n > 3 && other.text.status > 3", "about more than one event"), ("test.step.n >", ""), ("", ""),
                            ("test.step.n = 3", "'=' is no operator")):
        refused(2, text, "-p", os.getpid(), "--snapshot-when", condition)
    refused(2, "more than 8 conditions", "-p", os.getpid(), *["--snapshot-when", "a.b > 3"] * 9)
    refused(2, "--last goes with --overwrite or --snapshot-when", "-p", os.getpid(), "--last", "3s")
    refused(2, "--max-snapshots is its bound", "-p", os.getpid(), "--snapshot-when", "a.b > 3", "--rotate", "1m")
    check("nothing was made", not os.path.exists(new("refused")))


@case
def two_conditions_and_a_filter():
    """A condition is looked at whatever is recorded otherwise, and its event is recorded in any case."""
    p = held(1, 2000)
    r = Recording("two", "-p", p.pid, "-e", "test.step", "--where", "n % 2 == 0", "--snapshot-when", "test.step.n == 5000000",
                  "--snapshot-when", "test.step.n == 1001", "--snapshot-when", "test.text.status == 12345", "--max-snapshots", 1).wait_ready()
    p.go()
    r.result(0)
    d, = snapshots(r.dir)
    same("which of them", manifest(d)["snapshot"]["why"], "test.step.n == 1001")
    got = [e["fields"]["n"] for e in events(d)]
    check("even ones, and 1001", set(got) <= set(range(0, 2000, 2)) | {1001} and 1001 in got, got[:10])
    same("no test.text", [e for e in events(d) if e["event"] == "test.text"], [])
    p.end()


@case
def excluded_but_awaited():
    p = held(1, 2000)
    r = Recording("ex", "-p", p.pid, "-x", "test.step", "--snapshot-when", "test.step.n == 777", "--max-snapshots", 1).wait_ready()
    p.go()
    r.result(0)
    d, = snapshots(r.dir)
    same("the one event of an excluded class", steps(d), [777])
    check("and the others", any(e["event"] == "test.text" for e in events(d)))
    p.end()


@case
def killed_meanwhile():
    p = Program(2, 0, 1000, env={"STEADY": "1", "COUNTS": new("counts")})
    r = Recording("killed", "-p", p.pid, "--snapshot-when", "test.step.n == 4000000000", "--last", "50ms").wait_ready()
    wait_emitted(new("counts"), 5000)
    p.kill()
    out = r.result(None)
    same("its last moments are kept", out["snapshots"], 1)
    d, = snapshots(r.dir)
    m = manifest(d)
    check("and why", "signal 9" in m["snapshot"]["why"] or "has ended" in m["snapshot"]["why"], m["snapshot"])
    same("they can be read", babeltrace(d)[0], m["events"])
    check("there are some", m["events"] > 100, m["events"])


@case
def born_with_it():
    """A program that is started: its declarations meet conditions that are there already. It may be dead before it is looked at."""
    programs = [([collect.EMITTER, "1", "3000", "0", "0"], {"GO": "1"}, "test.step.n == 2345", ("test.step", "n", 2345))]
    if shutil.which("go"):
        twin = new("twin")
        subprocess.run(["go", "build", "-o", twin, "."], cwd=os.path.join(HERE, "twin"), check=True)
        programs.append(([twin], {}, "twin.text.n == 5", ("twin.text", "n", 5)))
    for argv, env, condition, (name, field, value) in programs:
        for i in range(3):
            d = new("born-%s-%d" % (os.path.basename(argv[0]), i))
            gander("record", "-q", "-o", d, "--snapshot-when", condition, "--", *argv, status=0, env=dict(os.environ, **env), stdin=subprocess.DEVNULL)
            snap, *more = snapshots(d)
            check("one snapshot", not more, [manifest(x)["snapshot"] for x in [snap, *more]])
            check("the event that it is about", any(e["event"] == name and e["fields"][field] == value for e in events(snap)), snap)
            same("why", manifest(snap)["snapshot"]["why"], condition)


@case
def dead_before_it_is_looked_at():
    """A command has let go of its frozen ring when the collector comes, and ends later: one snapshot, not a second one of its end."""
    for limit in ("10s", "0s"):
        d = new("dead-" + limit)
        gander("record", "-q", "-o", d, "--snapshot-when", "test.step.n == 2345", "--rate-limit", limit, "--max-snapshots", 0, "--", "sh", "-c",
               "kill -STOP $PPID; exec %s 1 3000 0 0" % shlex.quote(collect.EMITTER), status=0, stdin=subprocess.DEVNULL,
               env=dict(os.environ, GO="1", THEN="kill -CONT $PPID; sleep 0.5"))
        snap, *more = snapshots(d)
        check("one snapshot", not more, [manifest(x)["snapshot"] for x in more])
        check("the event that it is about", 2345 in steps(snap), steps(snap)[-3:])


@case
def several_programs():
    a, b = Program(1, 0, 1000, env={"STEADY": "1"}), held(1, 2000)
    r = Recording("several", "-p", a.pid, "-p", b.pid, "--snapshot-when", "test.step.n == 1999", "--max-snapshots", 1, "--last", "1s").wait_ready()
    b.go()
    r.result(None)
    d, = snapshots(r.dir)
    same("both programs", sorted(int(x.split("-")[-1]) for x in os.listdir(d + "/ctf")), sorted([a.pid, b.pid]))
    a.end()
    b.end()


@case
def with_the_go_trace():
    """A span's condition on an attribute, in a Go service that flies: its goroutines of the same time are in the snapshot."""
    shop = os.path.join(os.path.dirname(collect.GANDER), "..", "..", "shop")
    if not os.path.exists(shop):
        raise Skip("there is no " + shop)
    server = subprocess.Popen([shop, "-addr", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = re.search(r"http:\S+", server.stdout.readline()).group(0)
        r = Recording("go", "-p", server.pid, "--go", "--snapshot-when", 'shop.request.path == "/product/77"', "--last", "5s", "--max-snapshots", 0,
                      "--rate-limit", "0").wait_ready()
        done = []
        for _ in range(100):  # it begins to fly within a second or so of being asked
            for _ in range(20):
                urllib.request.urlopen(url + "/product/5").read()
            urllib.request.urlopen(url + "/product/77").read()
            for _ in range(600):
                if len(manifest(r.dir)["snapshots"]) > len(done) or r.p.poll() is not None:
                    break
                time.sleep(0.1)
            done = snapshots(r.dir)
            m = manifest(done[-1])
            at = m["snapshot"]["time_ns"] - m["clock"]["mono_offset_ns"]
            if m["go"] and m["go"][0]["begin_mono_ns"] < at <= m["go"][0]["end_mono_ns"]:
                break
            time.sleep(0.2)
        else:
            raise AssertionError("no snapshot has the Go trace of its time: %r, %r" % (m["go"], at))
        r.stop(0)
        d = done[-1]
        ends = [e for e in events(d, "-e", "shop.request.end") if e["fields"]["attr"]["path"] == "/product/77"]
        check("the requests that it is about", 1 <= len(ends) <= len(done), len(ends))
        check("and those before", len(events(d, "-e", "shop.request.end")) > 10)
        trace = [os.path.join(d, "go", f) for f in os.listdir(d + "/go")]
        same("one Go trace", len(trace), 1)
        check("that can be read", "goroutines" in gander("go", "summary", *trace).stdout)
    finally:
        server.kill()
        server.wait()


@case
def command_that_fails():
    p = held(1, 2000)
    r = Recording("execfail", "-p", p.pid, "--snapshot-when", "test.step.n == 5", "--max-snapshots", 1, "--exec", "exit 7").wait_ready()
    p.go()
    r.result(3)
    check("it is said", "the command for snapshot 1 failed: exit status 7" in r.err, r.err)
    p.end()


if __name__ == "__main__":
    sys.exit(collect.main())
