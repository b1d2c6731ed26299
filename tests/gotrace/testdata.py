#!/usr/bin/env python3
"""Every .test file and fuzz input of the Go tree's internal/trace/testdata, and every v1 trace of internal/tracev1/testdata, through `gander go events`.

Usage: testdata.py GANDER. The files are read from `go env GOROOT`, nothing of them is kept here; without a Go tree the test is skipped by name.
A .test file says SUCCESS or FAILURE with a regular expression for the message. Fuzz inputs and v1 traces say nothing: there the outcome (and for v2 the
text) must be that of `go tool trace -d=parsed`.
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gotrace_util as util  # noqa: E402

ARGS = {  # the wire types by name: number, argument names; see docs/gotrace.md
    'EventBatch': (1, 'gen m time size'), 'Stacks': (2, ''), 'Stack': (3, 'id nframes'), 'Strings': (4, ''), 'String': (5, 'id'),
    'CPUSamples': (6, ''), 'CPUSample': (7, 'time m p g stack'), 'Frequency': (8, 'freq'),
    'ProcsChange': (9, 'dt procs_value stack'), 'ProcStart': (10, 'dt p p_seq'), 'ProcStop': (11, 'dt'),
    'ProcSteal': (12, 'dt p p_seq m'), 'ProcStatus': (13, 'dt p pstatus'), 'GoCreate': (14, 'dt new_g new_stack stack'),
    'GoCreateSyscall': (15, 'dt new_g'), 'GoStart': (16, 'dt g g_seq'), 'GoDestroy': (17, 'dt'), 'GoDestroySyscall': (18, 'dt'),
    'GoStop': (19, 'dt reason_string stack'), 'GoBlock': (20, 'dt reason_string stack'), 'GoUnblock': (21, 'dt g g_seq stack'),
    'GoSyscallBegin': (22, 'dt p_seq stack'), 'GoSyscallEnd': (23, 'dt'), 'GoSyscallEndBlocked': (24, 'dt'),
    'GoStatus': (25, 'dt g m gstatus'), 'STWBegin': (26, 'dt kind_string stack'), 'STWEnd': (27, 'dt'), 'GCActive': (28, 'dt gc_seq'),
    'GCBegin': (29, 'dt gc_seq stack'), 'GCEnd': (30, 'dt gc_seq'), 'GCSweepActive': (31, 'dt p'), 'GCSweepBegin': (32, 'dt stack'),
    'GCSweepEnd': (33, 'dt swept_value reclaimed_value'), 'GCMarkAssistActive': (34, 'dt g'), 'GCMarkAssistBegin': (35, 'dt stack'),
    'GCMarkAssistEnd': (36, 'dt'), 'HeapAlloc': (37, 'dt heapalloc_value'), 'HeapGoal': (38, 'dt heapgoal_value'),
    'GoLabel': (39, 'dt label_string'), 'UserTaskBegin': (40, 'dt task parent_task name_string stack'),
    'UserTaskEnd': (41, 'dt task stack'), 'UserRegionBegin': (42, 'dt task name_string stack'),
    'UserRegionEnd': (43, 'dt task name_string stack'), 'UserLog': (44, 'dt task key_string value_string stack'),
    'GoSwitch': (45, 'dt g g_seq'), 'GoSwitchDestroy': (46, 'dt g g_seq'), 'GoCreateBlocked': (47, 'dt new_g new_stack stack'),
    'GoStatusStack': (48, 'dt g m gstatus stack'), 'ExperimentalBatch': (49, 'exp gen m time'), 'Sync': (50, ''),
    'ClockSnapshot': (51, 'dt mono sec nsec'), 'EndOfGeneration': (52, ''),
}


def varint(n):
    out = b''
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def go_unquote(s):
    """The bytes of a Go string literal."""
    body, out, i = s[1:-1], b'', 0
    simple = {'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': 92, '"': 34, "'": 39}
    if s[0] == '`':
        return body.encode()
    while i < len(body):
        c = body[i]
        if c != '\\':
            out += c.encode()
            i += 1
        elif body[i + 1] == 'x':
            out += bytes([int(body[i + 2:i + 4], 16)])
            i += 4
        elif body[i + 1] in 'uU':
            n = 4 if body[i + 1] == 'u' else 8
            out += chr(int(body[i + 2:i + 2 + n], 16)).encode()
            i += 2 + n
        elif body[i + 1] in '01234567':
            out += bytes([int(body[i + 1:i + 4], 8)])
            i += 4
        else:
            out += bytes([simple[body[i + 1]]])
            i += 2
    return out


def encode(text):
    """A trace's text form as bytes."""
    lines = [ln.strip() for ln in text.split('\n')]
    lines = [ln for ln in lines if ln and not ln.startswith('#')]
    head = re.match(r'Trace Go1\.(\d+)', lines[0])
    out = b'go 1.%s trace\0\0\0' % head.group(1).encode()
    i = 1
    while i < len(lines):
        name, _, rest = lines[i].partition(' ')
        i += 1
        number, names = ARGS[name]
        args = dict(a.split('=') for a in rest.split())
        values = [int(args[n], 0) for n in names.split() if n in args]
        if name == 'ExperimentalBatch':
            data = go_unquote(lines[i].split('=', 1)[1])
            i += 1
            out += bytes([number, values[0]]) + b''.join(map(varint, values[1:])) + varint(len(data)) + data
            continue
        out += bytes([number])
        if name == 'String':
            data = go_unquote(lines[i].split('=', 1)[1])
            i += 1
            out += varint(values[0]) + varint(len(data)) + data
            continue
        out += b''.join(map(varint, values))
        if name == 'Stack':
            for _ in range(int(args['nframes'])):
                frame = dict(a.split('=') for a in lines[i].split())
                i += 1
                out += b''.join(varint(int(frame[n], 0)) for n in ('pc', 'func', 'file', 'line'))
    return out


def main():
    gander = os.path.abspath(sys.argv[1])
    t = util.Tally()
    root = util.goroot()
    base = root and os.path.join(root, 'src/internal/trace/testdata')
    if not base or not os.path.isdir(base):
        t.skip('the Go tree\'s internal/trace/testdata', 'no Go with its sources')
        return t.done()
    tool = util.trace_tool()
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, 'trace')
        for name in sorted(os.listdir(base + '/tests')):
            with open(base + '/tests/' + name, encoding='utf-8') as f:
                expect, trace = f.read().split('-- expect --\n', 1)[1].split('-- trace --\n', 1)
            with open(path, 'wb') as f:
                f.write(encode(trace))
            got = subprocess.run([gander, 'go', 'events', '--count', path], capture_output=True, text=True)
            want = expect.split('\n')[0]
            if want == 'SUCCESS':
                ok = got.returncode == 0
            else:
                ok = got.returncode in (1, 3) and re.search(go_unquote(want.split(' ', 1)[1]).decode(), got.stderr)
            t.check(bool(ok), name, f'{want}, got {got.returncode}: {got.stderr.strip()}')
            if tool and ok:
                t.check(util.same_text(gander, tool, path), name + ' as text')
        for name in sorted(os.listdir(base + '/fuzz/FuzzReader')):
            with open(base + '/fuzz/FuzzReader/' + name, encoding='utf-8') as f:
                literal = re.search(r'^\[\]byte\((.*)\)$', f.read(), re.M).group(1)
            with open(path, 'wb') as f:
                f.write(go_unquote(literal))
            got = subprocess.run([gander, 'go', 'events', '--go', path], capture_output=True)
            if not tool:
                t.check(got.returncode in (0, 1, 3), 'fuzz input ' + name, got.stderr.decode())
                continue
            ref = subprocess.run([tool, '-d=parsed', path], capture_output=True)
            if b'unexpected event type 36' in ref.stderr:  # FutileWakeup: skipped here, see docs/gotrace.md
                t.check(got.returncode == 0, 'fuzz input ' + name + ' (FutileWakeup is skipped)', got.stderr.decode())
                continue
            t.check((got.returncode == 0) == (ref.returncode == 0) and got.returncode in (0, 1, 3), 'fuzz input ' + name,
                    f'got {got.returncode} {got.stderr.decode()}, reference {ref.returncode} {ref.stderr.decode()[:300]}')
        v1 = root + '/src/internal/trace/internal/tracev1/testdata'
        for name in sorted(os.listdir(v1) if tool and os.path.isdir(v1) else []):
            t.check(*util.same_records(gander, tool, os.path.join(v1, name), name))
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
