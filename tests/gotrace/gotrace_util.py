"""What the trace tests share: the Go tools, and comparing texts of events."""
import collections
import json
import os
import re
import subprocess
import tempfile

NO_P = 1000001  # v1: timers, network poller, system calls, GC
HEAD = re.compile(rb'^M=(-?\d+) P=(-?\d+) G=(-?\d+) (\w+) Time=(-?\d+)(.*)$')


class Tally:
    """Counts checks and prints each, the sum last."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, ok, name, why=''):
        if ok:
            self.passed += 1
            print('ok  ', name)
        else:
            self.failed += 1
            print('FAIL', name, why)
        return ok

    def skip(self, name, why):
        self.skipped += 1
        print('skip', name + ':', why)

    def done(self):
        print(f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped')
        return 1 if self.failed else 0


def run(args, **kw):
    return subprocess.run(args, capture_output=True, text=True, **kw)


def goroot(toolchain=None):
    """GOROOT of the local Go, or of the toolchain named: None when there is none."""
    env = dict(os.environ)
    if toolchain:
        env['GOTOOLCHAIN'] = 'go' + toolchain
    try:
        out = run(['go', 'env', 'GOROOT'], env=env, cwd='/')
    except FileNotFoundError:
        return None
    return out.stdout.strip() if out.returncode == 0 else None


def cache_dir():
    path = os.path.join(os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')), 'gander-tests')
    os.makedirs(path, exist_ok=True)
    return path


def build_once(name, args, cwd, env=None):
    """Builds cwd into the cache under `name` unless it is there: its path, or None."""
    out = os.path.join(cache_dir(), name)
    if not os.path.exists(out):
        part = out + '.%d' % os.getpid()
        r = run(['go', 'build', '-o', part] + args, cwd=cwd, env=env)
        if r.returncode != 0:
            print('#', name + ':', (r.stderr or r.stdout).strip().split('\n')[-1])
            return None
        os.rename(part, out)
    return out


def trace_tool():
    """`go tool trace` as a program of its own, of a Go that knows the newest format; None when there is none."""
    r = run(['go', 'env', 'GOVERSION'], cwd='/') if goroot() else None
    if not r or not re.match(r'go1\.(2[6-9]|[3-9]\d)', r.stdout):
        return None
    return build_once('trace-tool-' + r.stdout.strip(), ['cmd/trace'], '/')


def same_text(gander, tool, path):
    """Whether `gander go events --go` writes byte for byte what `go tool trace -d=parsed` writes; both may fail."""
    a = subprocess.Popen([gander, 'go', 'events', '--go', path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    b = subprocess.Popen([tool, '-d=parsed', path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    same = True
    while True:
        x, y = a.stdout.read(1 << 20), b.stdout.read(1 << 20)
        same = same and x == y
        if not x and not y:
            break
    return bool(same and (a.wait() == 0) == (b.wait() == 0))


def generations(gander, path):
    return sum(b' Sync ' in line for line in subprocess.run([gander, 'go', 'events', '--go', path], capture_output=True).stdout.splitlines())


def at_least(least, gander, path, seconds, make):
    """make(seconds) until the trace has so many generations: they come by the clock, and the program gets further on one machine than on another."""
    for _ in range(8):
        made = make(seconds)
        if not made or generations(gander, path) >= least:
            break
        seconds *= 2
    return made


def records(data):
    """The text's events: (time, text without its time, P, G, goroutine of the transition)."""
    out = []
    for line in data.split(b'\n'):
        m = HEAD.match(line)
        if m:
            about = re.search(rb' GoID=(\d+)', m.group(6))
            out.append([int(m.group(5)), [b' '.join(m.group(1, 2, 3, 4)) + m.group(6)], m.group(2), m.group(3), about and about.group(1)])
        elif out:
            out[-1][1].append(line)
    return [(r[0], b'\n'.join(r[1]), r[2], r[3], r[4]) for r in out]


def tie_widths(recs):
    """For each time how long the run of consecutive times is in which it stands."""
    times = [r[0] for r in recs]
    widths, first = {}, 0
    for i in range(len(times)):
        if i + 1 == len(times) or times[i + 1] != times[i] + 1:
            widths.update((t, i + 1 - first) for t in times[first:i + 1])
            first = i + 1
    return widths


def same_records(gander, tool, path, name):
    """For v1, where the reference orders ties at random: the same records, the same order per goroutine and per P, and each record's time
    within its tie's width: of n records of equal time each is moved up by at most n ns, and the whole tie is a run of n consecutive times.

    Numbers from NO_P on are no Ps: what the timer goroutines of all Ps wake, for one, stands under 1000001. Two of equal time come from two Ps and
    are a tie like any other. Each goroutine's own order in them is held all the same; of records that look alike the first is held to the first."""
    a = subprocess.run([gander, 'go', 'events', '--go', path], capture_output=True)
    b = subprocess.run([tool, '-d=parsed', path], capture_output=True)
    if a.returncode or b.returncode:
        return (a.returncode == 0) == (b.returncode == 0), name, f'{a.stderr.decode()} / {b.stderr.decode()[:200]}'
    ours, theirs = records(a.stdout), records(b.stdout)
    if collections.Counter(r[1] for r in ours) != collections.Counter(r[1] for r in theirs):
        return False, name, 'not the same records'
    worst, ties = 0, tie_widths(theirs)
    for key in (2, 3, 4):
        x, y = collections.defaultdict(list), collections.defaultdict(list)
        for r in ours:
            x[r[key]].append(r)
        for r in theirs:
            y[r[key]].append(r)
        for k, mine in x.items():
            if k in (None, b'-1'):  # records of no goroutine or P have no order of their own
                continue
            his = y[k]
            if key == 2 and int(k) >= NO_P:
                mine, his = (sorted(part, key=lambda r: r[1]) for part in (mine, his))
            if [r[1] for r in mine] != [r[1] for r in his]:
                return False, name, f'another order for {k.decode()}'
            for p, q in zip(mine, his):
                worst = max(worst, abs(p[0] - q[0]))
                if abs(p[0] - q[0]) > ties[q[0]]:
                    return False, name, f'times {p[0]} and {q[0]} differ by more than their tie of {ties[q[0]]}'
    return True, name + f' ({len(ours)} records, times within {worst} ns)', ''


def same_times(gander, ref, path, ties):
    """Time by state of each goroutine, held against Go's own summary (`ref` is ref/'s program): (what, whether it is so, detail) each. With `ties` events
    of one instant come in any order, and each is pushed a nanosecond past the one before."""
    p = run([ref, path])
    if p.returncode:
        raise RuntimeError(p.stderr.strip()[-200:])
    theirs = {g['ID']: g for g in json.loads(p.stdout)['Goroutines']}
    q = run([gander, 'go', 'goroutines', '--by', 'goroutine', '--system', '--top', '1000000', '--json', path])
    mine = {g['goroutine']: g for g in json.loads(q.stdout)['goroutines']}
    yield "the goroutines are those of Go's summary", set(mine) == set(theirs), set(mine) ^ set(theirs)
    wrong = []
    for i, g in theirs.items():
        m = mine.get(i)
        # Go ends the life of one that blocks for ever there; and counts a call that was going on at the end twice
        if not m or m['state'] in ('forever', 'Syscall'):
            continue
        a = (m['running_ns'], m['runnable_ns'], m['blocked_ns'], m['syscall_ns'])
        b = (g['Exec'], g['Sched'], sum(g['Blocked'].values()), g['Syscall'] + g['SyscallBlocked'])
        slack = 300 + sum(b) / 10000 if ties else 0
        if any(abs(x - y) > slack for x, y in zip(a, b)):
            wrong.append((i, g['Name'], a, b))
    yield f"time by state of {len(theirs)} goroutines equals Go's{' but for ties' if ties else ' to the ns'}", not wrong, wrong[:3]


def profile(path):
    """(count, ns) of each sample, by `go tool pprof -raw`."""
    raw = run(['go', 'tool', 'pprof', '-raw', path], cwd='/').stdout
    part = raw[raw.index('Samples:'):raw.index('Locations')]
    return sorted((int(a), int(b)) for a, b in re.findall(r'^\s+(\d+)\s+(\d+):', part, re.M))


def same_profiles(gander, tool, path, ties, work):
    """The pprof exports, held against those of `tool` (go tool trace): (what, whether it is so, detail) each. With `ties` only sums can be
    compared, and times to a few ns an event."""
    a, b = os.path.join(work, 'a.pb.gz'), os.path.join(work, 'b.pb.gz')
    for mine, theirs in (('blocked', 'sync'), ('sched', 'sched'), ('syscall', 'syscall'), ('net', 'net')):
        with open(b, 'wb') as f:
            p = subprocess.run(tool + ['-pprof=' + theirs, path], stdout=f, stderr=subprocess.PIPE)
        q = run([gander, 'go', 'export', '--to', 'pprof:' + mine, '-o', a, path])
        if p.returncode or q.returncode:
            yield 'pprof:' + mine, False, p.stderr.decode() + q.stderr
            continue
        have, want = profile(a), profile(b)
        if not ties:
            yield f"pprof:{mine} equals go tool trace's, stack by stack ({len(want)} stacks)", have == want, f'{have}, not {want}'[:1000]
            continue
        n = sum(c for c, _ in want)
        good = sum(c for c, _ in have) == n and abs(sum(t for _, t in have) - sum(t for _, t in want)) <= 20 * n + 100
        yield f'pprof:{mine}: as many as go tool trace has ({n}), and as long but for ties', good, f'{have}, not {want}'[:1000]


def temp():
    return tempfile.TemporaryDirectory(prefix='gander-gotrace-')
