"""What runs a case of the torture: the program twice, each time in a mount namespace of its own, and the comparison."""
import base64
import ctypes
import json
import os
import re
import resource
import select
import signal
import struct
import subprocess
import tempfile
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
PR_SET_PDEATHSIG = 1
MS_REC, MS_PRIVATE, MS_REMOUNT, MS_RDONLY, MS_BIND = 0x4000, 1 << 18, 32, 1, 4096
CTX_ALL = 0x3f
COUNT_SIZE = 16 + 240 + 32 + 262144 * 24


def mount(source, target, kind, flags=0, data=""):
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), "mount %s on %s" % (kind, target))


def session(packets=256, context=1, mode=0, quota=8):
    rule = struct.pack("<BBBBI120s", 1, 0, 0, 255, 0, b"*")
    size = 56 + len(rule)
    head = struct.pack("<II16sIIIIIIII", 0x53444e47, size, b"torture-session!", mode, context, quota, 16, 0, packets, 1, 0)
    return "1:" + base64.b64encode(head + rule).decode().rstrip("=")


class Case:
    def __init__(self, name, what, victim=None, **k):
        self.name, self.what, self.victim = name, what, victim or name
        self.go = k.pop("go", None)              # the program is one of govictim's
        self.exe = k.pop("exe", "victim")
        self.shm = k.pop("shm", "2g")            # size of /dev/shm; "missing", "ro"
        self.session = k.pop("session", {})      # of GANDER_SESSION; None: nobody records
        self.scale = k.pop("scale", (1, 20))     # short, long
        self.writers = k.pop("writers", ["mm_cid"])
        self.lossy = k.pop("lossy", False)       # losses are expected, and must be counted
        self.off = k.pop("off", False)           # gander must be off
        self.status = k.pop("status", 0)         # as subprocess gives it
        self.stderr = k.pop("stderr", None)      # must occur in both outputs
        self.env = k.pop("env", {})
        self.pre = k.pop("pre", None)            # in the child before exec
        self.during = k.pop("during", None)      # (process, sandbox) while it runs
        self.setup = k.pop("setup", None)        # (sandbox): skips by returning a reason
        self.after = k.pop("after", None)        # (sandbox, result): a complaint or None
        self.ignore = k.pop("ignore", None)      # lines of the state that may differ (a regular expression)
        self.exact = k.pop("exact", True)        # lost must equal missing: every class in use is counted by the program
        self.same = k.pop("same", True)          # compare the state with that of the program without gander
        self.daemon = k.pop("daemon", False)
        self.quiet = k.pop("quiet", False)       # nothing in the trace is fine
        self.wrap = k.pop("wrap", None)          # (sandbox): a command that runs the program; its state is then not written, and nothing is compared
        self.long = k.pop("long", False)         # only with --long
        assert not k, k


class Sandbox:
    """Runs one variant of one case; lives in a process of its own."""

    def __init__(self, top, case, lib, writer, scale):
        self.top, self.case, self.lib, self.writer, self.scale = top, case, lib, writer, scale
        self.dir = os.path.join(tempfile.gettempdir(), "gander-torture")  # the same for both variants; a mount of its own covers it
        os.makedirs(self.dir, exist_ok=True)
        self.count = os.path.join(self.dir, "count")
        self.cgroup = None
        self.limit = 240  # seconds

    def fill(self, leave):
        with open("/dev/shm/filler", "wb") as f:
            f.truncate(0)
            st = os.statvfs("/dev/shm")
            try:
                os.posix_fallocate(f.fileno(), 0, max(0, (st.f_bavail - leave)) * st.f_bsize)
            except OSError:
                pass

    def mounts(self):
        case = self.case
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        mount("tmpfs", self.dir, "tmpfs")
        mount("tmpfs", "/dev/shm", "ramfs" if case.shm == "missing" else "tmpfs", 0,
              "" if case.shm == "missing" else "size=" + (case.shm if case.shm != "ro" else "1m"))
        for other in ("/tmp", "/run"):  # no second tmpfs, unless the case wants one
            if case.shm in ("missing", "ro"):
                tree = os.open(self.top, os.O_PATH)
                try:
                    mount(self.top, other, "ramfs")
                    if not os.path.exists(self.top):  # the tree itself lies there: it comes back
                        os.makedirs(self.top)
                        mount("/proc/self/fd/%d" % tree, self.top, "", MS_BIND | MS_REC)
                except OSError:
                    pass
                os.close(tree)
        os.makedirs(self.dir, exist_ok=True)  # where /tmp was hidden
        if case.shm == "ro":
            mount("tmpfs", "/dev/shm", "tmpfs", MS_REMOUNT | MS_RDONLY)
        with open(self.count, "wb") as f:
            f.truncate(COUNT_SIZE)
        os.chmod(self.dir, 0o777)
        os.chmod(self.count, 0o666)

    def environment(self):
        env = {"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": os.path.join(self.top, self.lib),
               "TORTURE_COUNT": self.count, "TORTURE_STATE": os.path.join(self.dir, "state")}
        if self.case.session is not None:
            env["GANDER_SESSION"] = session(**self.case.session)
        if self.writer != "mm_cid":
            env["GANDER_WRITER"] = self.writer
        env.update({k: v.replace("TOP", self.top) for k, v in self.case.env.items()})
        return env

    def program(self):
        if self.case.go == "pyhost":
            return os.path.join(os.path.dirname(os.path.abspath(__file__)), "pyhost")
        return os.path.join(self.top, self.lib, self.case.go) if self.case.go else os.path.join(self.top, self.case.exe)

    def begin(self):
        """Begins the recording, where somebody has to: (a reason why not)."""

    def trace(self):
        """What the recording has, beside what was emitted."""
        out = subprocess.run([os.path.join(self.top, "look"), self.count, "/dev/shm"], capture_output=True, text=True)
        if out.returncode:
            return {"error": "look: exit status %d %s" % (out.returncode, out.stderr)}
        return json.loads(out.stdout)

    def hung(self, p):
        p.kill()
        return {"error": "stopped after %d s" % self.limit}

    def run(self):
        case = self.case
        if libc.unshare(CLONE_NEWNS):
            return {"skip": "no right to make a mount namespace"}
        self.mounts()
        env = self.environment()
        wrap = case.wrap(self) if case.wrap else []
        if wrap:
            del env["TORTURE_STATE"]
        for step in (self.begin, (lambda: case.setup(self)) if case.setup else None):
            why = step() if step else None
            if why:
                return {"skip": why}

        def pre():
            libc.personality(0x0040000)  # no address randomization
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if case.pre:
                case.pre(self)

        p = subprocess.Popen([*wrap, self.program(), case.victim, str(self.scale)], env=env, cwd="/", preexec_fn=pre,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        during = case.during(p, self) if case.during else None
        more = {}
        try:
            _, err = p.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            more = self.hung(p)
            if "error" in more:
                return more
            _, err = p.communicate()
        end = time.monotonic() + self.limit
        while case.daemon and time.monotonic() < end:  # it goes on when its first process has ended
            with open(self.count, "rb") as f:
                if struct.unpack("<II", f.read(8))[1] or p.returncode:
                    break
            time.sleep(0.005)
        r = self.trace()
        if "error" in r:
            return r
        r.update(more)
        r["status"], r["stderr"], r["during"] = p.returncode, err.decode("utf-8", "replace"), during
        for part in ("state", "maps"):
            path = os.path.join(self.dir, "state" + (".maps" if part == "maps" else ""))
            r[part] = open(path, errors="replace").read() if os.path.exists(path) else ""
        r["seen"] = ""
        if case.after:
            r["complaint"] = case.after(self, r)
        return r

    def done(self):
        for _ in range(50 if self.cgroup else 0):
            try:
                os.rmdir(self.cgroup)
                break
            except OSError:
                time.sleep(0.02)


def isolated(work, pids=False, limit=None):
    """What work() returns, in a process of its own, so that namespaces and limits end with it. With pids in a pid namespace of its own: whatever is left dies with
    it, at the latest after the limit."""
    rfd, wfd = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(rfd)
        if pids:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if libc.unshare(CLONE_NEWNS | CLONE_NEWPID):
                os._exit(1)
            first = os.fork()
            if first:
                os.close(wfd)
                os.waitpid(first, 0)
                os._exit(0)
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            mount("none", "/", "", MS_REC | MS_PRIVATE)
            mount("proc", "/proc", "proc")
        try:
            r = work()
        except Exception:
            r = {"error": traceback.format_exc()}
        with os.fdopen(wfd, "w") as f:
            json.dump(r, f)
        os._exit(0)
    os.close(wfd)
    text = b""
    end = time.monotonic() + limit if limit else None
    while select.select([rfd], [], [], max(0, end - time.monotonic()) if end else None)[0]:
        part = os.read(rfd, 1 << 16)
        text += part
        if not part:
            break
    else:
        os.kill(pid, signal.SIGKILL)
        text = json.dumps({"error": "no end within %d s" % limit}).encode()
    os.close(rfd)
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"error": "the sandbox died"}


def variant(top, case, lib, writer, scale):
    def work():
        box = Sandbox(top, case, lib, writer, scale)
        try:
            return box.run()
        finally:
            box.done()

    return isolated(work)


def maps_of(text):
    """What is mapped, without gander: (permissions, bytes, path), and the bytes of anonymous memory."""
    named, anonymous, own, region, last_own = [], 0, 0, [], None
    for line in text.splitlines():
        m = re.match(r"map ([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\S+)\s*(.*)", line)
        if not m:
            continue
        lo, hi, perms, inode, path = int(m[1], 16), int(m[2], 16), m[3], m[4], m[5]
        size = hi - lo
        if re.search(r"/gander\.\d+\.[0-9a-f]{16}|/memfd:gander", path):
            region.append((perms, size))
        elif "libgander" in path:
            last_own = hi
        elif not path:
            if lo == last_own and perms.startswith("rw"):
                last_own = hi  # its bss
            else:
                anonymous += size
        elif path not in ("[heap]", "[stack]", "[vdso]", "[vvar]", "[vvar_vclock]"):
            named.append((perms, size, path))
    return sorted(named), anonymous, region

def differences(case, real, none):
    out = []
    drop = re.compile(case.ignore) if case.ignore else None
    keep = lambda text: [l for l in text.splitlines() if not (drop and drop.search(l))]
    a, b = keep(real["state"]), keep(none["state"])
    if not b:
        out.append("the program without gander wrote no state")
    for line in a:
        if line not in b:
            out.append("with gander: " + line)
    for line in b:
        if line not in a:
            out.append("without: " + line)
    na, aa, region = maps_of(real["maps"])
    nb, ab, _ = maps_of(none["maps"])
    if na != nb and not drop:
        out.append("mappings differ: %s" % (set(na) ^ set(nb)))
    if aa - ab not in (0, 4096) and not drop:
        out.append("%d bytes of anonymous memory more" % (aa - ab))
    if len(region) > 2:
        out.append("%d mappings of regions" % len(region))
    return out


def judge(case, real, none):
    bad = []
    for r in (real, none):
        if r and "error" in r:
            return [r["error"]]
    if real["status"] != case.status:
        bad.append("exit status %s %s" % (real["status"], real["stderr"].strip()[-200:]))
    if none and none["status"] != case.status:
        bad.append("without gander: exit status %s %s" % (none["status"], none["stderr"].strip()[-200:]))
    if case.stderr and none and not (case.stderr in real["stderr"] and case.stderr in none["stderr"]):
        bad.append("said: %r" % real["stderr"][-200:])
    if real["failed"]:
        bad.append("the program saw: " + real["note"])
    for what in ("torn", "twice", "order", "off", "broken"):
        if real[what]:
            bad.append("%d %s" % (real[what], what))
    if case.off:
        if real["trace"]:
            bad.append("%d events although off" % real["trace"])
    elif case.quiet and real["unborn"] and not real["trace"]:
        pass  # its region says by name that the recording could not be set up
    elif real["missing"] > real["lost"]:
        bad.append("%d missing, %d counted lost" % (real["missing"], real["lost"]))
    elif case.exact and not real["excused"] and real["missing"] != real["lost"]:
        bad.append("%d counted lost, %d missing" % (real["lost"], real["missing"]))
    elif not case.lossy and real["lost"]:
        bad.append("%d lost" % real["lost"])
    if case.session is not None and not case.off and not case.quiet and not real["trace"]:
        bad.append("nothing in the trace")
    if bad and real["ended"]:
        bad.append("somebody else's gander has ended its recording: it looked through all programs of the machine, and this one's collector does not come")
    if bad and real["unborn"]:
        bad.append("its region says that the recording was not set up")
    for r in (real, none or {}):
        if r.get("complaint"):
            bad.append(r["complaint"])
    if case.same and none:
        bad += differences(case, real, none)
    return bad


def judged(top, case, writer, scale):
    """The case with gander and without: what is in the trace, and what is wrong."""
    real = variant(top, case, "real", writer, scale)
    if "skip" in real:
        return real, []
    return real, judge(case, real, None if case.wrap else variant(top, case, "none", writer, scale))
