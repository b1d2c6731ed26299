#!/usr/bin/env python3
"""kernel_flight.py GANDER WAKES [CASE]: the kernel's view of a flight recorder: `record --overwrite` and `--snapshot-when` with --kernel, and `gander snapshot` of it."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kernel  # noqa: its program and recordings, not its cases
from kernel import BUFFER, GANDER, ROUNDS, TOP, Skip, Wakes, case, check, check_babeltrace2, check_chain, check_times, events, finished, gander, manifest, recorded, started  # noqa

kernel.CASES.clear()


def wait_for(what, say):
    for _ in range(6000):
        if what():
            return
        time.sleep(0.02)
    raise AssertionError(say)


def kernel_events(d, *args):
    return [e for e in events(d, *args) if not e["event"].startswith("test.")]


def check_from(d, since_ns=0):
    """Nothing is older than what the snapshot says of itself, nor than what was asked for; the dump of threads stands first."""
    m = manifest(d)
    begin = m["kernel"]["from_mono_ns"] + m["clock"]["mono_offset_ns"]
    times = [e["time_ns"] for e in kernel_events(d)]
    dump = [e for e in kernel_events(d, "-e", "lttng_statedump_*")]
    check("it has what gander.json says", len(times) == m["kernel"]["events"], "%d, %d" % (len(times), m["kernel"]["events"]))
    check("nothing is older than it says", min(times) >= begin, "%d" % (min(times) - begin))
    check("nothing is older than was asked for", begin >= since_ns, "%d" % (begin - since_ns))
    check("the threads of then stand first", dump and {e["time_ns"] for e in dump} == {begin})
    return times


@case
def written_at_the_end():
    """--overwrite: all of it fits, and is what a recording would have."""
    w = Wakes()
    d, p = recorded("end", "-p", w.pid, "--overwrite", "--kernel", "sched,syscalls,irq,block")
    w.run()
    summary = finished(p)
    w.end()
    check_babeltrace2(d)
    check("every round", check_chain(w, d) == list(range(1, ROUNDS + 1)))
    check_times(w, d)
    check_from(d)
    check("the summary counts the same", summary["kernel"]["events"] == manifest(d)["kernel"]["events"])
    check("nothing was overwritten", summary["kernel"]["overwritten"] == manifest(d)["kernel"]["overwritten"] == 0)


@case
def the_last_of_it():
    """--overwrite --last: what is older is not in it, of the events neither."""
    w = Wakes()
    d, p = recorded("last", "-p", w.pid, "--overwrite", "--last", "100ms", "--kernel", "sched,syscalls")
    w.run()
    finished(p)
    w.end()
    m = manifest(d)
    check_from(d, m["end_ns"] - 2 * 10**9)
    times = [e["time_ns"] for e in events(d, "-e", "test.*")]
    check("events of the last of it", all(t >= m["end_ns"] - 2 * 10**9 for t in times))
    n = sum(1 for _ in events(d))
    check("events and kernel are merged", n == m["events"] + m["kernel"]["events"], "%d" % n)


@case
def when_a_condition_holds():
    """The snapshot has the kernel's part of the same time; the command that is run for it is not our priority's."""
    w = Wakes()
    nice = TOP + "/nice"
    d, p = recorded("when", "-p", w.pid, "--kernel", "sched,syscalls", "--snapshot-when", "test.awake.n == 60 || test.awake.n == 100", "--rate-limit", "0s",
                    "--max-snapshots", "2", "--last", "100s", "--exec", "nice >> " + nice)
    check("DIR has no trace of its own", not os.path.exists(d + "/ctf"))
    w.run()
    out, err = p.communicate(timeout=120)
    w.end()
    check("record's status", p.returncode == 0, "%d %s" % (p.returncode, err))
    top, summary = manifest(d), json.loads(out)
    snaps = [os.path.join(d, s["dir"]) for s in top["snapshots"]]
    check("two snapshots", len(snaps) == 2)
    for at, snap in zip((60, 100), snaps):
        m = manifest(snap)
        check("it begins so long before, or with the recording", m["snapshot"]["time_ns"] - m["kernel"]["from_mono_ns"] - m["clock"]["mono_offset_ns"] <= 100 * 10**9 + 10**6)
        check_babeltrace2(snap)
        rounds = check_chain(w, snap)
        check("up to where it held", rounds[0] == 1 and rounds[-1] >= at, str(rounds[-1:]))
        check_from(snap, m["snapshot"]["time_ns"] - 100 * 10**9)
        check_times(w, snap, at)
    check("the totals are those of both", summary["kernel"]["events"] == top["kernel"]["events"] == sum(manifest(s)["kernel"]["events"] for s in snaps))
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    check("the commands' priority", [int(x) for x in open(nice).read().split()] == [ours, ours], open(nice).read())


@case
def asked_for_from_outside():
    """gander snapshot asks the recorder for its part, while the program runs and when it has been killed; the recorder goes on."""
    w, other = Wakes(), started(subprocess.Popen(["sleep", "1000"]))  # which keeps the recording going
    d, p = recorded("asked", "-p", w.pid, "-p", other.pid, "--overwrite", "--kernel", "sched,syscalls", "--kernel-scope", "own")
    w.run()
    one, two, three = (os.path.join(TOP, "asked-%d" % i) for i in (1, 2, 3))
    gander("snapshot", "-q", "-p", w.pid, "-o", one)
    gander("snapshot", "-q", "-p", w.pid, "--last", "200ms", "-o", two)
    w.p.kill()
    w.p.wait()
    gander("snapshot", "-q", "-p", w.pid, "-o", three)
    finished(p)
    other.kill()
    other.wait()
    check_babeltrace2(one)
    check("every round", check_chain(w, one) == list(range(1, ROUNDS + 1)))
    check_from(one)
    check_from(two, manifest(two)["end_ns"] - 10**9)
    check("every round of the dead program", check_chain(w, three) == list(range(1, ROUNDS + 1)))
    check_from(three)
    check("its end is in the kernel's view", any(e["event"] == "sched_process_exit" and e["fields"]["tid"] in (w.a, w.b, w.pid) for e in kernel_events(three)))
    check("the recording has all of it too", manifest(d)["kernel"]["events"] >= manifest(one)["kernel"]["events"])


@case
def a_recorder_that_does_not_answer():
    """One that is stopped: the snapshot is taken, and says what is not in it. One without the kernel's view is not asked."""
    w, other = Wakes(), Wakes(rounds=1)
    d, p = recorded("stopped", "-p", w.pid, "--overwrite", "--kernel", "sched")
    without = TOP + "/without"
    q = started(subprocess.Popen([GANDER, "record", "-q", "-o", without, "-p", str(other.pid), "--overwrite"]))
    wait_for(lambda: os.path.exists(without + "/gander.json") or q.poll() is not None, "it does not begin")
    p.send_signal(signal.SIGSTOP)
    q.send_signal(signal.SIGSTOP)
    r = gander("snapshot", "-q", "-p", w.pid, "-o", TOP + "/stopped-1", status=3)
    check("it is said", "kernel's view is not in the snapshot" in r.stderr and r.stderr.count("\n") == 1, r.stderr)
    check("it is not in gander.json", "kernel" not in manifest(TOP + "/stopped-1"))
    gander("snapshot", "-q", "-p", other.pid, "-o", TOP + "/stopped-2")
    p.send_signal(signal.SIGCONT)
    q.send_signal(signal.SIGCONT)
    finished(p, status=None)  # its rings have been full
    q.send_signal(signal.SIGINT)
    q.wait()
    w.end()
    other.end()


@case
def who_may_ask():
    """The recorder of root writes for nobody else: their snapshot is of what is theirs."""
    if os.geteuid() != 0:
        raise Skip("not root")
    w = Wakes()
    d, p = recorded("whose", "-p", w.pid, "--overwrite", "--kernel", "sched")
    session = manifest(d)["session"]
    code = """
import os, socket, sys
os.setuid(65534)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("\\0gander-session-%s")
s.send(b"kernel 0 0 1 %s")
sys.exit(len(s.recv(100)))
""" % (session, TOP + "/theirs")
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    check("others are sent away", r.returncode == 0 or "Error" in r.stderr, str(r.returncode))
    check("nothing is made for them", not os.path.exists(TOP + "/theirs"))
    for request in ("kernel", "kernel ", "kernel 1 2", "kernel x y z /tmp", "kernel 1 2 1 relative", "kernel 1 2 1 /no/such/folder"):

        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect("\0gander-session-" + session)
        s.send(request.encode())
        check("refused: " + request, s.recv(1000).startswith(b"error "))
        s.close()
    finished(p)
    w.end()


def resident(pid):
    """Bytes of memory of its own (not of the kernel's rings)."""
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon:"))


class Storm:
    """System calls with a number that nobody has: `n` of them for each line."""
    CODE = ("import ctypes, sys\nc = ctypes.CDLL(None)\nat = 0\n"
            "for line in sys.stdin:\n"
            "    for i in range(int(line)): c.syscall(800, 123456, at + i)\n"
            "    at += int(line)\n"
            "    print('done', flush=True)\n")

    def __init__(self):
        self.p = started(subprocess.Popen([sys.executable, "-u", "-c", self.CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def run(self, n):
        self.p.stdin.write("%d\n" % n)
        self.p.stdin.flush()
        check("the calls are done", self.p.stdout.readline() == "done\n")

    def end(self):
        self.p.stdin.close()
        self.p.wait()


def numbers(d):
    return [int(str(e["fields"]["args"][1]), 0) for e in events(d, "-e", "syscall_entry_unknown") if e["fields"]["id"] == 800]


@case
def memory_is_bounded():
    """A storm into the smallest memory: the newest is there, what is not there is counted, and the recorder does not grow."""
    s = Storm()
    d, p = recorded("bounded", "-p", s.p.pid, "--overwrite", "--kernel", "syscalls", "--kernel-keep", "2M")
    n, sizes = 0, []
    for _ in range(8):  # on a busy machine the recorder is behind at first, and not yet as large as it will be
        s.run(60000)
        n += 60000
        sizes.append(resident(p.pid))
    s.run(1)
    summary = finished(p)["kernel"]
    s.end()
    m = manifest(d)["kernel"]
    check("it does not grow", max(sizes[4:]) - max(sizes[:4]) < 3 << 20, str(sizes))
    check("older ones were overwritten", m["overwritten"] + m["lost"]["total"] > 100000 and summary["overwritten"] == m["overwritten"], str(m))
    got = numbers(d)
    check("the newest are there", got[-1] == n, str(got[-3:]))
    check("without a hole", m["lost"]["total"] or got == list(range(got[0], n + 1)), "%d..%d, %d" % (got[0], n, len(got)))
    check("no more than fits", 1000 < m["bytes"] < 2 << 20, str(m["bytes"]))
    times = [e["time_ns"] for e in kernel_events(d)]
    check("nothing is older than it says", min(times) >= m["from_mono_ns"] + manifest(d)["clock"]["mono_offset_ns"])
    check("every event is in it or counted", m["events"] + m["overwritten"] + m["lost"]["total"] >= 2 * n, str(m))


@case
def told_when_it_is_too_short():
    """Where the memory reaches less far than --last, that is said."""
    w, s = Wakes(), Storm()
    d, p = recorded("short", "-p", w.pid, "-p", s.p.pid, "--kernel", "syscalls", "--kernel-keep", "2M", "--snapshot-when", "test.awake.n == %d" % ROUNDS,
                    "--max-snapshots", "1", "--last", "1h")
    s.run(100000)
    w.run()
    _, err = p.communicate(timeout=120)
    w.end()
    s.end()
    check("it is said", "--kernel-keep" in err, err)
    check("it is in gander.json", manifest(d + "/snapshot-000001")["kernel"]["overwritten"] > 0)


@case
def losses_are_told():
    """Rings that are too small, under a recorder that is stopped: the losses are in gander.json, and babeltrace2 says the same."""
    kernel.need("babeltrace2")
    s = Storm()
    d = os.path.join(TOP, "losses")
    p = started(subprocess.Popen([GANDER, "record", "--json", "-o", d, "-p", str(s.p.pid), "--overwrite", "--kernel", "syscalls", "--kernel-buffer", "64k"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    wait_for(lambda: os.path.exists(d + "/gander.json") or p.poll() is not None, "it does not begin")
    s.run(100)
    p.send_signal(signal.SIGSTOP)
    s.run(20000)
    p.send_signal(signal.SIGCONT)
    s.run(100)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=120)
    s.end()
    check("record's status", p.returncode == 3, "%d %s" % (p.returncode, err))
    m = manifest(d)["kernel"]
    b = subprocess.run(["babeltrace2", d + "/ctf/kernel"], capture_output=True, text=True)
    said = sum(int(x) for x in kernel.re.findall(r"Tracer discarded (\d+) event", b.stderr))
    check("they are many", m["lost"]["full"] > 30000, str(m))
    check("babeltrace2 says what is lost", said == m["lost"]["full"] == json.loads(out)["kernel"]["lost"], "%d, %s, %s" % (said, m, out))


@case
def a_process_without_a_region():
    """Any process can be recorded; what is kept is written when it ends."""
    d = os.path.join(TOP, "bare")
    gander("record", "-q", "-o", d, "--overwrite", "--ctf", "2", "--kernel-buffer", BUFFER, "--kernel", "sched,syscalls", "--", sys.executable, "-c",
           "import os\nfor i in range(300): os.getpriority(os.PRIO_PROCESS, 0)")
    n = [e["event"] for e in kernel_events(d)]
    check("its calls", n.count("syscall_entry_getpriority") == n.count("syscall_exit_getpriority") == 300, str(n.count("syscall_entry_getpriority")))


if __name__ == "__main__":
    kernel.main()
