"""Programs that are recorded by gander and die: what runs them, and what compares the trace, as babeltrace2 reads it, with their own count."""
import array
import glob
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

from sandbox import COUNT_SIZE

LONG = 120  # seconds that a busy machine may take for anything
LINE = re.compile(rb"torture(?:_plug)?[.:](step|text): .*\bwriter = (\d+), n = (\d+)(?:, \w+length = \d+)?, \w+ = \"?([^}]*?)\"? }")  # gander's and LTTng's names
TEXT = [b"", b"seven77", b"sixteen bytes ok", b"a longer text, so that events have many lengths, and some copies are long"]


def read_events(dirs):
    """Of CTF traces as babeltrace2 reads them: the numbers of the events by writer, what it says is lost, how many are not whole, what went wrong."""
    seen, torn = {}, 0
    with tempfile.TemporaryFile() as errors:
        p = subprocess.Popen(["babeltrace2"] + dirs, stdout=subprocess.PIPE, stderr=errors)
        for line in p.stdout:
            m = LINE.search(line)
            if not m:
                continue
            kind, w, n, value = m[1], int(m[2]), int(m[3]), m[4]
            if kind == b"step":
                torn += int(value) != n * 2654435761 & 0xffffffff
            elif TEXT[n // 8 % 4]:  # where it is empty, babeltrace2 2.0 shows the text before
                torn += value != TEXT[n // 8 % 4]
            if w not in seen:
                seen[w] = array.array("Q")
            seen[w].append(n)
        p.wait()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
    lost = [int(x) for x in re.findall(r"[Tt]racer discarded (\d+) event", said)]
    lost = sum(x - (1 << 64 if x >> 63 else 0) for x in lost)  # a count that went down, as LTTng's may, is shown as its difference modulo 2^64
    return seen, lost, torn, said[-200:] if p.returncode else ""


def count_writers(path):
    """[(pid, off, n, excuse)] of a count file."""
    with open(path, "rb") as f:
        n = struct.unpack("<I", f.read(4))[0]
        f.seek(288)
        return list(struct.iter_unpack("<IIQQ", f.read(24 * n)))


class Bed:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.victim = os.path.join(self.build, "tests/torture/victim")
        self.gander = os.path.join(self.build, "src/cli/gander")
        self.dir = tempfile.mkdtemp(prefix="gander-deaths.")
        self.env = dict(os.environ, LD_LIBRARY_PATH=os.path.join(self.build, "tests/torture/real"))
        self.env.pop("GANDER_SESSION", None)
        self.n = 0

    def count(self):
        self.n += 1
        path = os.path.join(self.dir, "count%d" % self.n)
        with open(path, "wb") as f:
            f.truncate(COUNT_SIZE)
        return path

    def writers(self, path):
        """[(pid, off, n)] of a count file."""
        return [w[:3] for w in count_writers(path)]

    def wait(self, what, holds):
        end = time.monotonic() + LONG
        while not holds():
            if time.monotonic() > end:
                raise RuntimeError(what)
            time.sleep(0.005)

    def wait_emitting(self, path, threads=4):
        self.wait("the program does not emit", lambda: sum(w[2] > 0 for w in self.writers(path)) >= threads)

    def stage(self, path, n):
        with open(path, "r+b") as f:
            f.seek(8)
            f.write(struct.pack("<I", n))

    def read(self, out, pid):
        """Events by writer as babeltrace2 reads them, and what it says is lost."""
        dirs = [d for d in glob.glob(os.path.join(out, "ctf", "*-%d" % pid)) if os.path.isdir(d)]
        if not dirs:
            return {}, 0, "no trace of %d" % pid
        seen, lost, torn, wrong = read_events(dirs)
        return seen, lost, wrong or ("%d torn" % torn if torn else "")

    def read_torn(self, out, pid):
        """The same of a recording whose collector was killed. In the middle of a write it leaves a part of a packet, at which babeltrace2 gives up; gander reads up to it."""
        seen, lost, wrong = self.read(out, pid)
        if not wrong:
            return seen, lost, wrong
        p = subprocess.run([self.gander, "events", "--json", out], capture_output=True, text=True)
        seen = {}
        for line in p.stdout.splitlines():
            e = json.loads(line)
            if e.get("event", "").startswith("torture."):
                seen.setdefault(e["fields"]["writer"], []).append(e["fields"]["n"])
        return seen, lost, "" if p.returncode == 3 and "slot-" in p.stderr else "babeltrace2: %s; gander: %d, %s" % (wrong, p.returncode, p.stderr[-200:])

    def check(self, out, pid, count, killed):
        seen, lost, bad = self.read(out, pid)
        emitted = missing = twice = extra = 0
        for i, (_, off, n) in enumerate(self.writers(count)):
            got = seen.get(i, [])
            emitted += n
            missing += n - len([x for x in set(got) if x < n])
            twice += len(got) - len(set(got))
            extra += len([x for x in set(got) if x > n or (x == n and not killed)])
        trace = sum(len(v) for v in seen.values())
        if not bad and (missing > lost or twice or extra):
            bad = "%d missing, %d lost, %d twice, %d never emitted" % (missing, lost, twice, extra)
        return emitted, trace, lost, bad


def state(pid):
    """As ps says it; "gone": it has ended."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            s = f.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        s = "Z"
    return "gone" if s in "ZX" else s


def kill_program(bed, victim, rounds):
    """Kills that many at random instants. Events emitted, in the traces, lost, and what is wrong."""
    total = [0, 0, 0]
    bad = ""
    for i in range(rounds):
        count, out = bed.count(), os.path.join(bed.dir, "out")
        shutil.rmtree(out, ignore_errors=True)
        p = subprocess.Popen([bed.gander, "record", "-q", "-o", out, "--", victim, "stopped"], env=dict(bed.env, GOMAXPROCS="4", TORTURE_COUNT=count),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        bed.wait_emitting(count)
        time.sleep(random.random() * 0.1)
        pid = bed.writers(count)[0][0]
        os.kill(pid, signal.SIGKILL)
        try:
            p.wait(LONG)
        except subprocess.TimeoutExpired:
            p.kill()
            bad = bad or "gander waits for the dead"
        r = bed.check(out, pid, count, True)
        total = [a + b for a, b in zip(total, r[:3])]
        bad = bad or r[3]
        os.unlink(count)
    return (*total, bad)


def beside(bed, what, scale):
    """One program suffers, another emits: the five cases. The state of the first one at the end, events emitted, in the trace, lost, and what is wrong."""
    victim, survivor, out = bed.count(), bed.count(), os.path.join(bed.dir, "out-" + what)
    go = os.path.join(bed.dir, "go-" + what)
    script = 'TORTURE_COUNT=%s "$V" %s >/dev/null 2>&1 & while [ ! -e %s ]; do sleep 0.02; done; TORTURE_PAUSE_US=%d TORTURE_COUNT=%s exec "$V" threads %d' % (
        victim, {"child-dies": "fork 50", "preempted": "crowd"}.get(what, "stopped"), go, 20000 if scale > 1 else 0, survivor, scale)
    p = subprocess.Popen([bed.gander, "record", "-q", "-o", out, "--", "sh", "-c", script], env=dict(bed.env, V=bed.victim),
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bed.wait_emitting(victim)
    pid = bed.writers(victim)[0][0]
    if what in ("stopped", "stopped-then-killed"):
        os.kill(pid, signal.SIGSTOP)
    elif what == "killed":
        os.kill(pid, signal.SIGKILL)
    elif what == "child-dies":
        for _ in range(2000):  # one of its forked children
            children = {w[0] for w in bed.writers(victim)} - {pid}
            if children:
                break
            time.sleep(0.002)
        for c in children:
            try:
                os.kill(c, signal.SIGKILL)
            except ProcessLookupError:
                pass
    open(go, "w").close()
    bed.wait_emitting(survivor, 1)
    if what == "stopped-then-killed":
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    while sum(w[2] for w in bed.writers(survivor)) < 80000 * scale and p.poll() is None:
        time.sleep(0.01)
    bad = ""
    if what == "stopped" or what == "preempted" or what == "child-dies":
        time.sleep(0.1)
        p.send_signal(signal.SIGINT)
    try:
        p.wait(LONG)
    except subprocess.TimeoutExpired:
        p.kill()
        bad = "gander waits for the %s" % what
    # nobody has waited until it went on, or woken it: it is as it was left
    now = state(pid)
    if now not in {"stopped": "T", "preempted": "RSD"}.get(what, (now,)):
        bad = bad or "the program beside it is %s" % now
    spid = bed.writers(survivor)[0][0]
    r = bed.check(out, spid, survivor, False)
    for sig in (signal.SIGKILL,):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass
    bad = bad or r[3] or ("%d lost beside it" % r[2] if r[2] else "")
    return (now, *r[:3], bad)
