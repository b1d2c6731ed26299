#!/usr/bin/env python3
"""The same classes and events from C and from Go give the same bytes.

    twin.py C-PROGRAM GO-DIRECTORY [GANDER]

With a session of `record --snapshot-when` both freeze their rings by the same condition.

Both programs are started with a session in the environment, so that they record themselves; their regions are read when they
have ended. Compared are the class descriptions and, event by event, the class, the cut mark and the payload."""
import base64
import glob
import os
import shutil
import struct
import subprocess
import sys
import tempfile

CLASSES, CONTROL_RULE, CHANNELS, DATA, PACKET = 0x1000, 128, 0x4a000, 0x400000, 1 << 16
failed = passed = 0


def check(what, ok, more=""):
    global failed, passed
    print("%-4s %s%s" % ("ok" if ok else "FAIL", what, "" if ok else ": " + more))
    passed, failed = passed + bool(ok), failed + (not ok)


def session():
    rule = struct.pack("<BBBBI120s", 1, 0, 0, 255, 0, b"twin.*")
    assert len(rule) == CONTROL_RULE
    size = 56 + len(rule)
    head = struct.pack("<II16s5IIII", 0x53444e47, size, b"twin", 0, 0, 0, 0, 0, 16, 1, 0)
    return "1:" + base64.b64encode(head + rule).decode().rstrip("=")


def run(argv, env=None):
    """The region of a program that has ended."""
    p = subprocess.Popen(argv, env=dict(os.environ, GANDER_SESSION=env or session()))
    if p.wait() != 0:
        sys.exit("%s: exit status %d" % (argv[0], p.returncode))
    for path in glob.glob("/dev/shm/gander.%d.*" % os.geteuid()):
        try:
            with open(path, "rb") as f:
                head = f.read(56)
                if len(head) == 56 and struct.unpack_from("<I", head, 48)[0] == p.pid:
                    f.seek(0)
                    data = f.read()
                    os.unlink(path)
                    return data
        except OSError:
            pass  # another program's that is just being removed
    sys.exit("%s left no region" % argv[0])


def classes(r):
    out = {}
    for i in range(struct.unpack_from("<I", r, 148)[0]):
        _, state, off, length = struct.unpack_from("<IIII", r, CLASSES + 64 * i)
        if state == 2:
            desc = r[off:off + length]
            name = desc[5:5 + desc[4]].decode()
            if name.startswith("twin."):
                out[i] = (name, desc)
    return out


def events(r):
    """(class, cut, payload), in order of time. A payload ends where the next event of the packet begins."""
    names, out = classes(r), []
    for slot in range(256):
        cur = struct.unpack_from("<I", r, CHANNELS + 4096 + 64 * slot)[0]
        while cur:
            at = DATA + (cur - 1) * PACKET
            head, = struct.unpack_from("<Q", r, at)
            cur, = struct.unpack_from("<I", r, at + 56)
            off, end = 128, head & 0xffffffff
            while off < end:
                word, = struct.unpack_from("<Q", r, at + off)
                name, desc = names[word & 0x7fff]
                size = value_size(desc, r[at + off + 8:at + end])
                out.append((word >> 16, name, word >> 15 & 1, r[at + off + 8:at + off + 8 + size]))
                off += 8 + size
    return [e[1:] for e in sorted(out, key=lambda e: e[0])]


SCALAR = {1: 1, 2: 2, 3: 4, 4: 8, 5: 1, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 1}


def value_size(desc, data):
    """What a payload of the class takes of data."""
    pos = [5 + desc[4]]

    def u8():
        pos[0] += 1
        return desc[pos[0] - 1]

    def skip_name(more):
        n = u8()
        pos[0] += n + more

    def typ(used):
        code = u8()
        if code in SCALAR:
            return used + SCALAR[code]
        if code == 12:  # enum
            base, n = u8(), u8() | u8() << 8
            for _ in range(n):
                pos[0] += 16
                skip_name(0)
            return used + SCALAR[base]
        if code in (13, 14):  # string, bytes
            return used + 2 + struct.unpack_from("<H", data, used)[0]
        if code in (15, 16):  # array, sequence of scalars
            if code == 15:
                n = u8() | u8() << 8 | u8() << 16 | u8() << 24
            else:
                n, used = struct.unpack_from("<H", data, used)[0], used + 2
            return used + n * SCALAR[u8()]
        if code == 17:  # struct
            return fields(u8(), used)
        raise ValueError("type %d" % code)

    def fields(n, used):
        for _ in range(n):
            skip_name(1)  # and the flags
            used = typ(used)
        return used

    return fields(desc[3], 0)


# conditions, the class whose event freezes the ring, and which of them it is
CONDITIONS = [(["twin.text.n == 5"], "twin.text", 0), (["twin.none"], "twin.none", 0), (["twin.ints.d == 0", "twin.shape.kind == \"square\""], "twin.shape", 1),
              (["twin.text.s == \"nothing\"", "twin.lists.took == 1500ms", "twin.text.n == 2"], "twin.text", 2), (["twin.ints.a < -100"], None, 0)]


def with_conditions(gander, tmp, conditions, programs, name, number):
    """Both take the same rules from the environment, and the same event of theirs freezes the ring; nothing that they have is missing."""
    with tempfile.TemporaryDirectory() as rec:
        # what a recording would put into the environment of its command
        when = [x for c in conditions for x in ("--snapshot-when", c)]
        env = subprocess.run([gander, "record", "-q", "-c", "none", "-o", rec, *when, "--", "sh", "-c", "echo $GANDER_SESSION"], capture_output=True,
                             text=True).stdout.strip()
    for what, program in programs:
        r = run([program], env)
        trigger, at = struct.unpack_from("<QQ", r, CHANNELS + 56)
        got = (classes(r)[trigger >> 5 & 0x3fff][0], trigger >> 2 & 7) if trigger & 1 else (None, 0)
        check("%s, %s: frozen by %s" % (what, " and ".join(conditions), name), got == (name, number), repr(got))
        check("and the time is whole", trigger == 0 or trigger >> 19 == at >> 19, "%x %x" % (trigger, at))
        check("and all 51 events are there", len(events(r)) == 51, str(len(events(r))))


def main():
    c_program, go_dir, *gander = sys.argv[1:]
    if not shutil.which("go"):
        print("skip: no go command")
        print("0 passed, 0 failed, 1 skipped")
        return 77
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(["go", "build", "-o", tmp + "/twin", "."], cwd=go_dir, check=True)
        c, go = run([c_program]), run([tmp + "/twin"])
        for conditions, name, number in CONDITIONS if gander else ():
            with_conditions(gander[0], tmp, conditions, [("C", c_program), ("Go", tmp + "/twin")], name, number)
    descs = {}
    for what, r in ("C", c), ("Go", go):
        descs[what] = dict(classes(r).values())
    for name in sorted(set(descs["C"]) | set(descs["Go"])):
        a, b = descs["C"].get(name, b""), descs["Go"].get(name, b"")
        check("description of " + name, a == b, "C %s, Go %s" % (a.hex(), b.hex()))
    a, b = events(c), events(go)
    check("51 events each", len(a) == 51 == len(b), "C %d, Go %d" % (len(a), len(b)))
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            check("event %d" % i, False, "C %s, Go %s" % ((x[0], x[1], x[2][:40].hex()), (y[0], y[1], y[2][:40].hex())))
    check("every event's bytes", a == b)
    check("the large one is cut", a[47][1] == 1, repr([e[:2] for e in a[45:]]))
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
