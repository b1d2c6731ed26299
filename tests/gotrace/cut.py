#!/usr/bin/env python3
"""Cut and repaired traces are sound, and hold what the whole one holds.

Usage: cut.py GANDER. Traces of the workloads of prog/ with generations of 20 ms are cut by time, generation, goroutine, task and region, torn and damaged;
what comes out must read to its end, `go tool trace -d=parsed` must print the same text of it as gander does, and the events must be those of the
whole trace at the same times. GANDER_TEST_VERSIONS=1: of more workloads. Without a Go that knows the newest format only gander's own reading is checked.
"""
import os
import re
import resource
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gotrace_util as util  # noqa: E402
import reference  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SAME_STATE = re.compile(rb' (\w+)->\1 ')


def events(gander, path):
    """[(time, text)] and whether it read to its end."""
    r = subprocess.run([gander, 'go', 'events', '--go', path], capture_output=True)
    out = []
    for line in r.stdout.split(b'\n'):
        m = util.HEAD.match(line)
        if m:
            out.append((int(m.group(5)), [line]))
        elif out:
            out[-1][1].append(line)
    return [(t, b'\n'.join(x)) for t, x in out], r.returncode == 0


def cut(gander, path, out, args):
    return util.run([gander, 'go', 'cut', '-o', out] + args + [path])


def sound(t, gander, tool, path, name):
    ok = util.run([gander, 'go', 'events', '--count', path])
    ok = t.check(ok.returncode == 0, name + ': reads to its end', ok.stderr.strip())
    if ok and tool:
        t.check(util.same_text(gander, tool, path), name + ': the text of go tool trace')


def same_part(t, gander, whole, out, begin, end, what):
    """What is in `out` from begin to end is what the whole trace has then."""
    want, part = ([e for e in x if begin <= e[0] <= end and b' Sync ' not in e[1]] for x in (whole, events(gander, out)[0]))
    have, had = set(part), set(want)
    missing = [e for e in want if e not in have and not SAME_STATE.search(e[1])]
    made = [e for e in part if e not in had and b' Metric ' not in e[1]]
    t.check(not missing and not made, f'{what}: its {len(want)} events', f'{len(missing)} missing, {len(made)} too many: {(missing + made)[:1]}')


def by_time(t, gander, tool, path, name, tmp):
    """All that happens from..to is in the cut, at the same times; what else is there says what the states are."""
    whole, _ = events(gander, path)
    first, last = whole[0][0], whole[-1][0]
    out = os.path.join(tmp, 'cut')
    for a, b in ((0, 0), (30, 60), (1, 90), (70, 0)):
        begin, end = first + (last - first) * a // 100, first + (last - first) * b // 100 if b else last
        args = (['--from', f'{begin - first}ns'] if a else []) + (['--to', f'{end - first}ns'] if b else [])
        what = f'{name} from {a} % to {b or 100} %'
        r = cut(gander, path, out, args)
        if not any(begin <= e[0] <= end for e in whole):
            t.check(r.returncode == 1, what + ': says that nothing happened then', r.stderr)
            continue
        if not t.check(r.returncode == 0, what, r.stderr):
            continue
        sound(t, gander, tool, out, what)
        if not a and not b:
            t.check(events(gander, out)[0] == whole, what + ': every event')
        else:
            same_part(t, gander, whole, out, begin, end, what)


def by_goroutine(t, gander, tool, path, name, tmp):
    whole, _ = events(gander, path)
    out = os.path.join(tmp, 'cut')
    about = [(m.group(1), e) for e in whole for m in [re.search(rb' GoID=(\d+) ', e[1])] if m]
    count = {}
    for g, _ in about:
        count[g] = count.get(g, 0) + 1
    pick = sorted(count, key=lambda g: (-count[g], g))[0:9:4]
    args = [x for g in pick for x in ('-g', g.decode())]
    r = cut(gander, path, out, args)
    what = f'{name} of goroutines {b" ".join(pick).decode()}'
    if not t.check(r.returncode == 0, what, r.stderr):
        return
    sound(t, gander, tool, out, what)
    bare = re.compile(rb'^M=\S+ P=\S+ G=\S+ ')
    part = [e for e in events(gander, out)[0] for m in [re.search(rb' GoID=(\d+) ', e[1])] if m]
    want = [bare.sub(b'', e[1]) for g, e in about if g in pick]
    t.check([bare.sub(b'', e[1]) for e in part] == want, f'{what}: all that they did, and nobody else ({len(want)} transitions)')


def by_name(t, gander, tool, path, tmp):
    out = os.path.join(tmp, 'cut')
    for args in (['--task', 'inner'], ['--region', 'region', '--around', '100us'], ['--generations', '2-3'], ['--generations', '2', '-g', '1']):
        r = cut(gander, path, out, args)
        if t.check(r.returncode == 0, 'tasks ' + ' '.join(args), r.stderr):
            sound(t, gander, tool, out, 'tasks ' + ' '.join(args))
    for args in (['--task', 'no such task'], ['--generations', '1000-']):
        os.unlink(out)
        r = cut(gander, path, out, args)
        t.check(r.returncode == 1 and not os.path.exists(out), 'tasks ' + ' '.join(args) + ': says that it is not there, leaves no file', r.stderr)
        open(out, 'w').close()
    cut(gander, path, out, ['--from', '1ns'])
    room = os.path.getsize(out) - 500
    p = subprocess.run([gander, 'go', 'cut', '-o', out, '--from', '1ns', path], capture_output=True, text=True,
                       preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))))
    t.check(p.returncode == 1 and not os.path.exists(out) and re.fullmatch('gander: .*cannot write the trace: File too large\n', p.stderr),
            'tasks: no room for the last bytes of a part: it is said, no file is left', (p.returncode, p.stderr))
    open(out, 'w').close()
    with open(path, 'rb') as f, open(path + '-torn', 'wb') as torn:
        torn.write(f.read()[:-100])
    os.unlink(out)
    r = cut(gander, torn.name, out, ['--task', 'no such task'])
    t.check(r.returncode == 1 and not os.path.exists(out) and 'truncated' in r.stderr, 'tasks: a torn trace in which it is not says that it is torn', r.stderr)
    r = cut(gander, path, path, ['--from', '1ms'])
    t.check(r.returncode != 0 and os.path.getsize(path) > 0, 'the trace itself is not overwritten')


def transitions(recs):
    """Per goroutine (time, states), but for words that only say what the state is."""
    out = {}
    for time, text in recs:
        m = re.search(rb' GoID=(\d+) (\w+)->(\w+) ', text)
        if m and m.group(2) not in (m.group(3), b'Undetermined'):
            out.setdefault(m.group(1), []).append((time, m.group(2) + m.group(3)))
    return out


def repair(gander, data, torn, out):
    with open(torn, 'wb') as f:
        f.write(data)
    return util.run([gander, 'go', 'repair', '-o', out, torn])


def torn_and_damaged(t, gander, tool, path, name, tmp):
    with open(path, 'rb') as f:
        data = f.read()
    torn, out = os.path.join(tmp, 'torn'), os.path.join(tmp, 'repaired')
    whole, _ = events(gander, path)
    count = 0
    for percent in (45, 70, 95):
        what = f'{name} torn at {percent} %'
        if os.path.exists(out):
            os.unlink(out)
        r = repair(gander, data[:len(data) * percent // 100], torn, out)
        if r.returncode and all(b' Sync ' in e[1] for e in events(gander, torn)[0]):  # no generation is whole: there may be nothing that can be saved
            t.check('generation 1: truncated' in r.stderr and not os.path.exists(out), what + ': says so, leaves no file', r.stderr)
            continue
        if not t.check(r.returncode == 0, what, r.stderr):
            continue
        sound(t, gander, tool, out, what)
        got, _ = events(gander, out)
        had, have = transitions(whole), transitions(got)
        same = all(len(x) <= len(had[g]) and all(a[1] == b[1] and abs(a[0] - b[0]) < 1000 for a, b in zip(x, had[g])) for g, x in have.items())
        t.check(len(got) >= count and same, f'{what}: {len(got)} of {len(whole)} events, each goroutine as it was')
        count = len(got)
    for at in range(1, 6):
        i = len(data) * at // 6
        r = repair(gander, data[:i] + bytes(b ^ 0x55 for b in data[i:i + 4]) + data[i + 4:], torn, out)
        if r.returncode == 0:
            sound(t, gander, tool, out, f'{name} with bytes wrong at {at}/6')
        else:
            t.check(bool(r.stderr), f'{name} with bytes wrong at {at}/6: {r.stderr.strip()}')


def main():
    gander = os.path.abspath(sys.argv[1])
    t = util.Tally()
    tool = util.trace_tool()
    with util.temp() as tmp:
        prog = os.path.join(tmp, 'prog')
        r = util.run(['go', 'build', '-o', prog, '.'], cwd=HERE + '/prog') if util.goroot() else None
        if not r or r.returncode:
            t.skip('cut and repaired traces', 'no Go' if not r else r.stderr.strip().split('\n')[-1])
            return t.done()
        for name in ('gc', 'coroutines', 'tasks') + (('syscalls', 'cgo', 'samples') if os.environ.get('GANDER_TEST_VERSIONS') else ()):
            path = os.path.join(tmp, name)
            made = util.at_least(1 if name == 'coroutines' else 3, gander, path, 0.01 if name == 'coroutines' else 0.05,
                                 lambda seconds: reference.make(prog, name, seconds, path, 'traceadvanceperiod=20000000')[0])
            if not t.check(made, name + ' was traced'):
                continue
            by_time(t, gander, tool, path, name, tmp)
            by_goroutine(t, gander, tool, path, name, tmp)
            torn_and_damaged(t, gander, tool, path, name, tmp)
        by_name(t, gander, tool, os.path.join(tmp, 'tasks'), tmp)
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
