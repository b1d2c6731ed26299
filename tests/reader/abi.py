#!/usr/bin/env python3
"""abi.py LIBRARY CC [--write]: what libgander-reader promises (docs/reading.md) is what it is: the exported symbols with their version, the size of every public struct,
the offset and size of each member, as tests/reader/abi.txt has them; python/gander.py describes the same structs; and what the Go packages export is in abi.txt too. --write makes it anew."""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
HEADERS = ["err.h", "ctf_reader.h", "gotrace.h", "recording.h"]
# how python/gander.py calls them
MIRRORS = {"gander_err": "_Err", "gander_ctf_trace": "_Trace", "gander_ctf_class": "_Class", "gander_ctf_event": "_Event", "gander_ctf_value": "_Value",
           "gander_recording_event": "_Merged", "gander_recording_source": "_Source", "gander_recording_opts": "_Opts", "gander_gotrace_frame": "_Frame",
           "gander_gotrace_event": "_GoEvent"}


def declarations(body):
    """Splits at the semicolons that stand in no braces."""
    depth, start = 0, 0
    for i, ch in enumerate(body):
        depth += (ch == "{") - (ch == "}")
        if ch == ";" and depth == 0:
            yield body[start:i].strip()
            start = i + 1


def members(body, prefix=""):
    for d in declarations(body):
        inner = re.match(r"(?:struct|union)\s*\{(.*)\}\s*(\w*)$", d, re.S)
        if inner:
            name = prefix + inner.group(2)
            if inner.group(2):
                yield name
            yield from members(inner.group(1), name + "." if inner.group(2) else prefix)
            continue
        for part in d.split(","):
            yield prefix + re.sub(r"\[.*", "", part).split()[-1].lstrip("*")


def public():
    for h in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", open(os.path.join(TOP, "include/gander", h)).read(), flags=re.S)
        for m in re.finditer(r"^struct (gander_\w+) \{\n(.*?)^\};", text, re.S | re.M):
            yield m.group(1), list(members(m.group(2)))


def layout(cc):
    lines = []
    for name, fields in public():
        lines.append('printf("struct %s %%zu\\n", sizeof(struct %s));' % (name, name))
        for f in fields:
            lines.append('printf("%s.%s %%zu %%zu\\n", offsetof(struct %s, %s), sizeof(((struct %s *)0)->%s));' % (name, f, name, f, name, f))
    with tempfile.TemporaryDirectory() as tmp:
        with open(tmp + "/a.c", "w") as out:
            out.write("#include <gander/reader.h>\n#include <stdio.h>\nint main(void) {\n%s\nreturn 0; }\n" % "\n".join(lines))
        subprocess.run([*cc.split(), "-I" + os.path.join(TOP, "include"), "-o", tmp + "/a", tmp + "/a.c"], check=True)
        return subprocess.run([tmp + "/a"], capture_output=True, text=True, check=True).stdout.splitlines()


def symbols(lib):
    out = subprocess.run(["nm", "-D", "--defined-only", lib], capture_output=True, text=True, check=True).stdout
    return sorted(line.split()[2] for line in out.splitlines() if "gander_" in line)


def go_packages():
    """None without a go command that is new enough."""
    if not shutil.which("go"):
        return None
    p = subprocess.run(["go", "run", ".", os.path.join(TOP, "go", "reader"), os.path.join(TOP, "go", "gotrace")], cwd=os.path.join(HERE, "api"), capture_output=True,
                       text=True, env=dict(os.environ, GOWORK="off"))
    return sorted(p.stdout.splitlines()) if p.returncode == 0 else None


def main():
    lib, cc = sys.argv[1:3]
    path = os.path.join(HERE, "abi.txt")
    now, in_go = symbols(lib) + layout(cc), go_packages()
    if in_go:
        now += in_go
    if "--write" in sys.argv:
        open(path, "w").write("\n".join(now) + "\n")
        return 0
    passed = failed = 0
    promised = [x for x in open(path).read().splitlines() if in_go or not x.startswith("go ")]
    if not in_go:
        print("skip: no go command that runs tests/reader/api")
    for what, lines in (("gone, or not what it was", [x for x in promised if x not in now]), ("not written down (--write)", [x for x in now if x not in promised])):
        passed, failed = passed + (not lines), failed + bool(lines)
        print("%-4s %s: %s" % ("FAIL" if lines else "ok", what, ", ".join(lines) or "nothing of %d" % len(promised)))
    sys.path.insert(0, os.path.join(TOP, "python"))
    import gander
    sizes = dict(line.split()[1:] for line in now if line.startswith("struct "))
    offsets = {line.split()[0]: int(line.split()[1]) for line in now if "." in line.split()[0] and not line.startswith("go ")}
    for name, mirror in sorted(MIRRORS.items()):
        t = getattr(gander, mirror)
        wrong = ["size %d" % ctypes.sizeof(t)] if ctypes.sizeof(t) != int(sizes[name]) else []
        wrong += [f for f, *_ in t._fields_ if name + "." + f in offsets and getattr(t, f).offset != offsets[name + "." + f]]
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print("%-4s python has struct %s as C has it %s" % ("FAIL" if wrong else "ok", name, wrong or ""))
    for member, t in gander._GoUnion._fields_:
        wrong = [f for f, *_ in t._fields_ if getattr(t, f).offset + gander._GoEvent.u.offset != offsets["gander_gotrace_event.%s.%s" % (member, f)]]
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print("%-4s python has gander_gotrace_event.%s as C has it %s" % ("FAIL" if wrong else "ok", member, wrong or ""))
    print("%d passed, %d failed, %d skipped" % (passed, failed, not in_go))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
