#!/usr/bin/python3
"""lttng.py GANDER LTTNG_TYPES MAKE_TRACE [EXAMPLE]: traces that LTTng-UST records, read by gander and by babeltrace2; LTTng's and gander's recording of the same second
in one babeltrace2."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare as c

NOBODY = 65534


class Lttng:
    """A session daemon of our own, as an ordinary user (root's would be the machine's)."""

    def __init__(self, home):
        self.home = home
        os.chmod(home, 0o755)
        if os.getuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        self.env = dict(os.environ, LTTNG_HOME=home, HOME=home, LTTNG_UST_REGISTER_TIMEOUT="60000")
        self.daemon = subprocess.Popen(self.user(["lttng-sessiond", "--no-kernel", "-q"]), env=self.env, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(2400):
            if os.path.exists(os.path.join(home, ".lttng", "client-lttng-sessiond")):
                return
            time.sleep(0.05)
        raise RuntimeError("lttng-sessiond did not start")

    def user(self, cmd):
        if os.getuid() == 0:
            return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"] + cmd
        return cmd

    def run(self, cmd):
        return subprocess.run(self.user(cmd), env=self.env, capture_output=True, text=True, timeout=300)

    def lttng(self, *args):
        p = self.run(["lttng", "--no-sessiond", "-q", *args])
        if p.returncode:
            raise RuntimeError("lttng %s: %s" % (args[0], p.stderr or p.stdout))

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()


def record(l, name, cmd, contexts, channel=()):
    out = os.path.join(l.home, name)
    l.lttng("create", name, "--output=" + out)
    l.lttng("enable-channel", "--userspace", *channel, "ch")
    l.lttng("enable-event", "--userspace", "--channel=ch", "gander_test:*")
    for ctx in contexts:
        l.lttng("add-context", "--userspace", "--channel=ch", "--type=" + ctx)
    l.lttng("start")
    cmd(l)
    l.lttng("stop")
    l.lttng("destroy")
    return out


def merged(gander, theirs, ours):
    """Both in one stream: each one's events in their order, all in the order of time, on one wall clock."""
    both, losses, _, _ = c.gander_events(gander, theirs, ours)
    times = [e["time_ns"] for e in both]
    if times != sorted(times):
        return "out of order"
    for path in (theirs, ours):
        alone = c.gander_events(gander, path)[0]
        mine = [e for e in both if e["event"].startswith("gander_test:") == (path == theirs)]
        if [(e["event"], e["fields"]) for e in alone] != [(e["event"], e["fields"]) for e in mine]:
            return "not the events of %s" % path
        off = [a["time_ns"] - b["time_ns"] for a, b in zip(alone, mine)]
        if max(off) - min(off) > 2 or abs(off[0]) > 10**6:
            return "moved by %d to %d ns" % (min(off), max(off))
    return None


def between(gander, theirs, ours):
    with open(os.path.join(ours, "gander.json")) as f:
        slack = int(json.load(f)["clock"]["error_ns"]) + 11  # a float could not be taken from such times to the nanosecond
    both = c.gander_events(gander, theirs, ours)[0]
    found = {}
    for e in both:
        if e["event"].startswith("both."):
            found[e["event"][5:], e["fields"]["n"]] = e["time_ns"]
    n = 0
    for e in both:
        if e["event"] == "gander_test:all":
            a, b = found["before", n], found["after", n]
            if not a - slack <= e["time_ns"] <= b + slack:
                return "event %d: %d ns after the one before it, which lie %d apart" % (n, e["time_ns"] - a, b - a)
            n += 1
    return None if n == 200 else "%d events instead of 200" % n


def with_kernel(gander, theirs, ours):
    """Between two of LTTng's events its thread sleeps: the kernel's view has the end of one sleep before each event and the begin of the next behind it."""
    n, last = 0, {}
    for e in c.gander_events(gander, theirs, ours)[0]:
        if e["event"] == "gander_test:all":
            tid = e["context"]["vtid"]
            if n and last.get(tid) != "syscall_exit_clock_nanosleep":
                return "event %d follows %s" % (n, last.get(tid))
            last[tid] = "another event"
            n += 1
        elif e["event"].endswith("_clock_nanosleep"):
            last[e["context"]["tid"]] = e["event"]
    return None if n == 200 else "%d events instead of 200" % n


def main():
    gander, types, example = sys.argv[1:4]
    t = c.Tally()
    if not shutil.which("lttng-sessiond") or not c.bt2:
        t.skip("LTTng's traces", "lttng-tools or python3-bt2 is missing")
        t.done()
    tmp = tempfile.mkdtemp()
    home = os.path.join(tmp, "home")
    os.mkdir(home)
    os.chmod(tmp, 0o755)
    shutil.copy(types, os.path.join(tmp, "lttng_types"))
    prog = os.path.join(tmp, "lttng_types")
    l = None
    try:
        l = Lttng(home)
        cases = [
            ("every field type", ["500"], ["vtid", "vpid", "procname"], []),
            ("no context, tiny buffers: losses", ["200000"], [], ["--num-subbuf=2", "--subbuf-size=4096"]),
            ("many contexts, one buffer a process", ["300"], ["vtid", "vpid", "procname", "vuid", "pthread_id", "ip"], ["--buffers-pid"]),
            ("pauses longer than the compact header's clock", ["3", "200000"], ["vtid"], []),
        ]
        for what, args, contexts, channel in cases:
            name = re.sub(r"\W+", "-", what)
            try:
                out = record(l, name, lambda l: l.run([prog, *args]), contexts, channel)
            except RuntimeError as e:
                t.skip(what, str(e).strip())
                try:
                    l.lttng("destroy", name)
                except RuntimeError:
                    pass
                continue
            wrong, n = c.compare(gander, out, ordered=False)
            t.check("%s: the same %d events as babeltrace2" % (what, n), wrong or (None if n else "no events"))
            one, two = os.path.join(tmp, name + ".ctf1"), os.path.join(tmp, name + ".ctf2")
            p = subprocess.run([gander, "export", out, "--to", "ctf2", "-o", two], capture_output=True, text=True)
            same = c.gander_events(gander, out)[0] == c.gander_events(gander, two)[0]
            t.check("%s: exported to CTF 2" % what, p.stderr.strip() or (None if same else "the events differ"))
            p = subprocess.run([gander, "export", out, "--to", "ctf1", "-o", one], capture_output=True, text=True)
            t.check("%s: exported to CTF 1.8, babeltrace2 reads the same" % what, p.stderr.strip() or c.compare(gander, one, ordered=False)[0])

        # the same second by both: an LTTng event every 2 ms, gander's beside them for as long as those come
        ours = os.path.join(tmp, "ours")

        def both(l):
            a = subprocess.Popen(l.user([prog, "100000", "2000"]), env=l.env)  # until the other has ended, however late that starts
            again = "for i in 1 2 3 4 5 6 7 8 9 10; do %s >/dev/null; done" % shlex.quote(example)
            subprocess.run([gander, "record", "-q", "-o", ours, "--", "sh", "-c", again], capture_output=True, timeout=300)
            a.terminate()
            a.wait(timeout=300)

        theirs = record(l, "both", both, ["vtid"])
        p = subprocess.run(["babeltrace2", "--clock-seconds", theirs, ours], capture_output=True, text=True)
        lines = [re.match(r"\[(\d+)\.(\d+)\].* (\S+): \{", x) for x in p.stdout.splitlines()]
        times = [int(m[1]) * 10**9 + int(m[2]) for m in lines if m]
        kinds = [m[3].split(":")[0] == "gander_test" for m in lines if m]
        switches = sum(a != b for a, b in zip(kinds, kinds[1:]))
        t.check("LTTng and gander in one babeltrace2: %d events, %d changes between the two" % (len(times), switches),
                p.stderr.strip() or (None if times == sorted(times) and switches >= 10 else "out of order, or one after the other"))
        t.check("LTTng and gander in one gander", merged(gander, theirs, ours))

        # one program that emits by both: gander, LTTng, gander
        ours = os.path.join(tmp, "one")

        def one(l):
            subprocess.run([gander, "record", "-q", "-o", ours, "--", *l.user([prog, "200", "1000", "both"])], env=l.env, capture_output=True, timeout=300)

        theirs = record(l, "one", one, ["vtid"])
        t.check("each of LTTng's events lies between gander's before and after it", between(gander, theirs, ours))

        ours = os.path.join(tmp, "kernel")
        said = []

        def kernel(l):
            p = subprocess.run([gander, "record", "-q", "-o", ours, "--kernel", "sched,syscalls", "--", *l.user([prog, "200", "1000"])], env=l.env, capture_output=True,
                               text=True, timeout=300)
            said.append(p.stderr.strip())

        theirs = record(l, "kernel", kernel, ["vtid"])
        if not os.path.isdir(os.path.join(ours, "ctf", "kernel")):
            t.skip("LTTng's events and gander's view of the kernel", said[0])
        else:
            t.check("LTTng's events and gander's view of the kernel", with_kernel(gander, theirs, ours))
    finally:
        if l:
            l.stop()
        shutil.rmtree(tmp, ignore_errors=True)
    t.done()


main()
