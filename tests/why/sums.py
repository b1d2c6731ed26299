#!/usr/bin/env python3
"""sums.py WHY_SUMS SOURCE_ROOT WORKDIR: the path of every goroutine, task, region and of ranges of every trace at hand: the fuzz corpus, the Go tree's test
data, the workloads of tests/gotrace/prog made now, and each of some of them cut off and damaged. The sums are exact in all of them."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'gotrace'))
import gotrace_util as util  # noqa: E402
import testdata  # noqa: E402


def check(t, sums, name, paths):
    p = util.run([sums] + paths, timeout=300)
    t.check(p.returncode == 0, f'{name}: {len(paths)} traces', (p.stdout + p.stderr)[-2000:])
    return p.stdout


def from_go_tree(work):
    root = util.goroot()
    base = root and os.path.join(root, 'src/internal/trace')
    paths = []
    if not base or not os.path.isdir(base + '/testdata/tests'):
        return paths
    for name in sorted(os.listdir(base + '/testdata/tests')):
        with open(base + '/testdata/tests/' + name, encoding='utf-8') as f:
            trace = f.read().split('-- trace --\n', 1)[1]
        path = os.path.join(work, name)
        with open(path, 'wb') as f:
            f.write(testdata.encode(trace))
        paths.append(path)
    v1 = base + '/internal/tracev1/testdata'
    if os.path.isdir(v1):
        paths += [os.path.join(v1, n) for n in sorted(os.listdir(v1)) if n.endswith('_good')]
    return paths


def damaged(work, path, n):
    """n copies of a trace, cut off or with some bytes changed."""
    with open(path, 'rb') as f:
        data = f.read()
    rnd, out = random.Random(1), []
    for i in range(n):
        b = bytearray(data if i % 3 else data[:rnd.randrange(len(data))])
        for _ in range(rnd.randrange(1, 4) if i % 3 else 0):
            b[rnd.randrange(16, len(b))] = rnd.randrange(256)
        out.append(os.path.join(work, 'damaged-%d-%s' % (i, os.path.basename(path))))
        with open(out[-1], 'wb') as f:
            f.write(b)
    return out


def main():
    sums, source, work = map(os.path.abspath, sys.argv[1:4])
    os.makedirs(work, exist_ok=True)
    t = util.Tally()
    corpus = os.path.join(source, 'fuzz/corpus/gotrace')
    paths = [os.path.join(corpus, n) for n in sorted(os.listdir(corpus))]
    check(t, sums, 'the fuzz corpus', paths)
    check(t, sums, 'the fuzz corpus, damaged', [d for p in paths for d in damaged(work, p, 30)])
    paths = from_go_tree(work)
    if paths:
        check(t, sums, 'the Go tree\'s', paths)
    else:
        t.skip('the Go tree\'s traces', 'no Go with its sources')
    prog = os.path.join(work, 'prog')
    if not util.goroot() or util.run(['go', 'build', '-o', prog, '.'], cwd=os.path.join(source, 'tests/gotrace/prog')).returncode:
        t.skip('workloads', 'no Go, or no C compiler for cgo')
        return t.done()
    for w in util.run([prog]).stdout.split():
        path = os.path.join(work, w + '.trace')
        for period in ('', 'traceadvanceperiod=20000000'):
            r = util.run([prog, w, '0.04', path], env=dict(os.environ, GODEBUG=period), timeout=120)
            if r.returncode:
                t.skip(w, r.stderr.strip()[-200:])
                continue
            check(t, sums, w + (' in generations of 20 ms' if period else ''), [path])
        if w in ('mutexes', 'gc', 'tasks') and os.path.exists(path):
            check(t, sums, w + ', damaged', damaged(work, path, 12))
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
