#!/usr/bin/env python3
"""real.py BUILD nats|caddy: a program that is not ours, with events put into it (build.py), recorded under its real load.

    emitted = recorded + lost, to the event: as an ordinary user, and in a container (its own pid namespace, a /dev/shm of 64 MB);
    throughput while it is recorded, in pairs of equal time with and without, in alternation;
    its Go trace in a flight recorder: snapshots under load and after SIGKILL, read by gander, go tool trace and golang.org/x/exp/trace.

REAL_SECONDS (default 6) is how long one program is recorded for each; from 60 on, the fall of the throughput is a case that
passes below 1 %, before that it is only told: a few seconds on a shared machine cannot tell 1 % from nothing.
"""
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
SECONDS = float(os.environ.get("REAL_SECONDS", "6"))
# --pdeathsig: a test that is stopped half-way leaves no server behind
NOBODY = ["setpriv", "--pdeathsig", "KILL"] + (["--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.geteuid() == 0 else [])

passed = failed = skipped = 0


def case(ok, text):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print("%s %s" % ("ok  " if ok else "FAIL", text), flush=True)


def skip(text):
    global skipped
    skipped += 1
    print("skip: " + text, flush=True)


def finish():
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    sys.exit(1 if failed else 0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, seconds, test):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if test():
            return True
        time.sleep(0.02)
    raise RuntimeError("%s did not happen within %d s" % (what, seconds))


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """One server, its load and its counts of what it emitted."""

    def __init__(self, name, work, container):
        self.name, self.work, self.port = name, work, free_port()
        self.emitted_file = os.path.join(work, "emitted")
        with open(self.emitted_file, "wb") as f:
            f.write(bytes(4096))
        os.chmod(self.emitted_file, 0o666)
        exe = os.path.join(work, name)
        if name == "nats":
            cmd = [exe, "-a", "127.0.0.1", "-p", str(self.port)]
        else:
            with open(os.path.join(work, "Caddyfile"), "w") as f:
                f.write("{\n admin off\n auto_https off\n persist_config off\n}\nhttp://127.0.0.1:%d {\n bind 127.0.0.1\n gander_events\n root * %s/www\n"
                        " file_server\n}\n" % (self.port, work))
            os.makedirs(os.path.join(work, "www"), exist_ok=True)
            with open(os.path.join(work, "www", "index.html"), "w") as f:
                f.write("<p>" + "gander " * 100 + "</p>\n")
            cmd = [exe, "run", "--config", os.path.join(work, "Caddyfile"), "--adapter", "caddyfile"]
        cmd = NOBODY + cmd
        if container:
            cmd = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
                   "mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm && exec \"$@\"", "sh"] + cmd
        env = dict(os.environ, GANDER_EMITTED=self.emitted_file, HOME=work, XDG_DATA_HOME=work, XDG_CONFIG_HOME=work)
        self.log = open(os.path.join(work, "server.log"), "wb")
        self.process = subprocess.Popen(cmd, env=env, cwd=work, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            until("%s listening" % name, 120, lambda: listens(self.port) or self.process.poll() is not None)
            if self.process.poll() is not None:
                raise RuntimeError("%s does not start: status %d" % (name, self.process.returncode))
        except BaseException:
            self.process.kill()
            raise
        self.pid = self.process.pid
        if container:
            with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as f:
                self.pid = int(f.read().split()[0])

    def load(self, seconds):
        """Puts load on for that long and returns operations a second."""
        if self.name == "nats":
            cmd = [os.path.join(self.work, "natsload"), "-addr", "127.0.0.1:%d" % self.port, "-for", "%.3fs" % seconds]
        else:
            cmd = ["wrk", "-t1", "-c50", "-d%ds" % max(1, round(seconds)), "http://127.0.0.1:%d/" % self.port]
        p = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        m = re.search(r"(?:rate|Requests/sec:) +([0-9.]+)", p.stdout)
        if p.returncode or not m or re.search(r"Non-2xx|Socket errors", p.stdout):
            raise RuntimeError("load on %s failed: %s" % (self.name, p.stdout))
        return float(m.group(1))

    def emitted(self):
        """How many events it has emitted, once that no longer changes; the program counts in a file that it maps."""
        n = -1
        while True:
            with open(self.emitted_file, "rb") as f:
                last, n = n, sum(struct.unpack("<512Q", f.read(4096)))
            if n == last:
                return n
            time.sleep(0.3)

    def stop(self):
        self.process.send_signal(signal.SIGTERM if self.process.pid == self.pid else signal.SIGKILL)
        self.process.wait()
        self.log.close()


class Recording:
    def __init__(self, gander, program, out, as_user, *options):
        shutil.rmtree(out, ignore_errors=True)
        self.gander, self.program = gander, program
        self.process = subprocess.Popen(as_user + [gander, "record", "-p", str(program.pid), "-o", out, "--json", *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until("recording %s" % program.name, 120, lambda: self.process.poll() is not None or " recorded " in subprocess.run(
            as_user + [gander, "list", "-p", str(program.pid)], capture_output=True, text=True).stdout)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=300)
        if not out.strip():
            raise RuntimeError("gander record: " + err)
        return json.loads(out)


def accounting(gander, program, as_user, where, level):
    before = program.emitted()
    rec = Recording(gander, program, os.path.join(program.work, "recording"), as_user, "--level", level, "--rotate", "200M", "--keep", "2")
    rate = program.load(SECONDS)
    now = program.emitted()
    got = rec.end()
    emitted = now - before
    case(emitted > 100 and emitted == got["events"] + got["lost"]["total"],
         "%s, %s, level %s: emitted %d = recorded %d + lost %d, at %.0f operations/s" % (
             program.name, where, level, emitted, got["events"], got["lost"]["total"], rate))


def throughput(gander, program, as_user):
    piece = 1.0 if SECONDS < 60 else 3.0
    pairs = max(3, round(SECONDS / (2 * piece)))
    program.load(piece)  # warm
    falls = []
    for i in range(pairs):
        rate = {}
        for recorded in ((False, True) if i % 2 else (True, False)):
            rec = recorded and Recording(gander, program, os.path.join(program.work, "recording"), as_user, "--level", "info")
            rate[recorded] = program.load(piece)
            if rec:
                rec.end()
        falls.append(100 * (1 - rate[True] / rate[False]))
    fall = statistics.median(falls)
    spread = statistics.quantiles(falls, n=4)
    text = "%s: throughput falls by %.2f %% while recorded (median of %d pairs, quartiles %.2f and %.2f)" % (
        program.name, fall, pairs, spread[0], spread[2])
    if SECONDS >= 60:
        case(fall < 1, text)
    else:
        print("     " + text, flush=True)


def build_xexp(out):
    """The reference reader; None where it cannot be built."""
    to = os.path.join(out, "xexp")
    p = subprocess.run(["go", "build", "-o", to, "."], cwd=os.path.join(TOP, "tests", "gotrace", "xexp"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode:
        skip("golang.org/x/exp/trace cannot be built")
    return None if p.returncode else to


def read_trace(gander, xexp, path):
    """What is wrong with a Go trace, "" when nothing is."""
    checks = [[gander, "go", "summary", path], ["go", "tool", "trace", "-d=parsed", path]] + ([[xexp, "count", path]] if xexp else [])
    for cmd in checks:
        p = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if p.returncode or "failed" in p.stderr:
            return "%s: %s" % (" ".join(cmd[:3]), p.stderr[-300:])
    return ""


def load_until_killed(program):
    try:
        program.load(SECONDS)
    except RuntimeError:
        pass  # its server has been killed


def flying(gander, xexp, program, as_user):
    """The last thing that is done with the program: it is killed."""
    def snapshot(to, text):
        p = subprocess.run(as_user + [gander, "snapshot", "-p", str(program.pid), "--last", "500ms", "-o", to, "--json"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        look(to, text, p.stderr)

    def look(to, text, why):
        try:
            with open(os.path.join(to, "gander.json")) as f:
                m = json.load(f)
        except OSError:
            case(False, "%s: %s: %s" % (program.name, text, why))
            return
        for g in m["go"]:
            wrong = read_trace(gander, xexp, os.path.join(to, g["file"])) if "file" in g else why or "no trace"
            case(not wrong and m["events"] > 0, "%s, %s: %d events and %d generations of its Go trace (%.1f MB)%s" % (
                program.name, text, m["events"], g.get("generations", 0), g.get("bytes", 0) / 1e6, wrong and ": " + wrong))

    out = os.path.join(program.work, "flight")
    rec = Recording(gander, program, out, as_user, "--overwrite", "--go", "--level", "info")
    load = threading.Thread(target=load_until_killed, args=(program,))
    load.start()
    time.sleep(SECONDS / 2)
    snapshot(out + "-under-load", "snapshot under load")
    time.sleep(SECONDS / 4)
    program.process.kill()
    program.process.wait()
    load.join()
    rec.end()
    look(out, "killed under load", "")


def main():
    build, name = os.path.abspath(sys.argv[1]), sys.argv[2]
    gander = os.path.join(build, "gander")
    out = os.path.join(build, "real")
    for what in [name] + (["natsload"] if name == "nats" else []):
        p = subprocess.run([os.path.join(HERE, "build.py"), what, out, os.path.join(build, "goproxy")], stdout=subprocess.PIPE, text=True)
        if p.returncode == 77:
            print(p.stdout.strip())
            sys.exit(77)
        if p.returncode:
            sys.exit("cannot build %s" % what)
    if name == "caddy" and not shutil.which("wrk"):
        print("skip: no wrk")
        sys.exit(77)

    # A place that an ordinary user can read and write, wherever the tree lies.
    work = tempfile.mkdtemp(prefix="gander-real-")
    try:
        os.chmod(work, 0o777)
        for f in (name, "natsload"):
            if os.path.exists(os.path.join(out, f)):
                shutil.copy(os.path.join(out, f), work)
        mine = shutil.copy(gander, work)
        program = Program(name, work, False)
        try:
            accounting(mine, program, NOBODY, "ordinary user", "info")
            accounting(mine, program, NOBODY, "ordinary user", "debug")
            throughput(mine, program, NOBODY)
            flying(mine, build_xexp(out), program, NOBODY)
        finally:
            program.stop()
        if os.geteuid() or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
            skip("%s in a container: needs root and unshare" % name)
        else:
            program = Program(name, work, True)
            try:
                accounting(mine, program, [], "in a container with 64 MB of /dev/shm", "info")
                accounting(mine, program, [], "in a container with 64 MB of /dev/shm", "debug")
            finally:
                program.stop()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    finish()


if __name__ == "__main__":
    main()
