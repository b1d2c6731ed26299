"""What the tests of hostile regions, users and containers share: a /dev/shm of their own, programs, checks that are counted."""
import base64
import ctypes
import glob
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 32, 4096, 0x4000, 1 << 18
passed = failed = skipped = 0
LONG = bool(os.environ.get("GANDER_HOSTILE_LONG"))


def check(what, good, more=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("%-4s %s%s" % ("ok" if good else "FAIL", what, ": " + str(more)[-700:] if more != "" and not good else ""), flush=True)
    return good


def say(what, figures):
    """A check that has passed, with what was seen."""
    check(what + ": " + figures, True)


def skip(what, why):
    global skipped
    skipped += 1
    print("skip %s: %s" % (what, why), flush=True)


def end():
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    sys.exit(1 if failed else 0)


def mount(source, target, kind, flags=0, data=""):
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), "mount %s on %s" % (kind, target))


def own_shm(size="2g"):
    """A /dev/shm that only this test and its children see, and a /proc where it sees no others. False without the right to mount."""
    if os.geteuid():
        return False
    if "GANDER_HOSTILE_INSIDE" not in os.environ:
        r = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True)
        if r.returncode:
            return False
        os.environ["GANDER_HOSTILE_INSIDE"] = "1"
        sys.stdout.flush()
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable] + sys.argv)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=" + size)
    return True


def session(packets=64, context=1, mode=0, rules=(b"*",), **more):
    body = b"".join(struct.pack("<BBBBI120s", 1, 0, 0, 255, 0, r) for r in rules)
    head = struct.pack("<II16sIIIIIIII", 0x53444e47, 56 + len(body), b"hostile-session!", mode, context, more.get("quota", 8), 16,
                       more.get("block_ms", 0), packets, len(rules), 0)
    return "1:" + base64.b64encode(head + body).decode().rstrip("=")


class Bed:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        here = os.path.join(self.build, "tests", "hostile")
        self.scribbler = os.path.join(here, "scribbler")
        self.target = os.environ.get("GANDER_HOSTILE_TARGET") or os.path.join(here, "target")  # tools/mutants has its own
        self.gander = os.path.join(self.build, "src", "cli", "gander")
        self.dir = tempfile.mkdtemp(prefix="gander-hostile.")
        os.chmod(self.dir, 0o711)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("GANDER")}

    def sanitized(self):
        """Whether this build looks at each access; it then has the longer of the short forms."""
        with open(self.target, "rb") as f:
            return b"__asan_init" in f.read()

    def go(self, name):
        """A Go program of this directory, or beside it, built; None without a Go from 1.21 on."""
        exe = os.path.join(self.dir, os.path.basename(name))
        where = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
        if not shutil.which("go", path=os.environ["PATH"] + ":" + os.path.join(self.build, "go", "bin")):
            return None
        env = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-mod=mod", PATH=os.path.join(self.build, "go", "bin") + ":" + os.environ["PATH"])
        r = subprocess.run(["go", "build", "-C", where, "-o", exe, "."], capture_output=True, text=True, env=env)
        if r.returncode:
            check("%s is built" % name, False, r.stderr)
            return None
        return exe

    def done(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def start(argv, ready="ready", env=None, **kw):
    p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **kw)
    line = p.stdout.readline().strip()
    if line != ready:
        p.kill()
        raise RuntimeError("%s says %r instead of %r: %s" % (argv[0], line, ready, p.stderr.read()))
    return p


def kill(p):
    if p.poll() is None:
        p.send_signal(signal.SIGKILL)
    p.communicate()


def regions(pid):
    """Paths of the regions that a process maps."""
    with open("/proc/%d/maps" % pid) as f:
        return sorted({line.split()[5] for line in f if "/gander." in line and "memfd" not in line and line.split()[5].startswith("/")})
