#!/usr/bin/env python3
"""manifest.py GANDER SOURCE_ROOT: what gander.json names more than once, or thousands of times, is read once and counted once; its sums have an end.
How often a file is opened is counted by inotify: that is work, whatever else the machine does."""
import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'gotrace'))
import gotrace_util as util  # noqa: E402

gander, source = map(os.path.abspath, sys.argv[1:3])
IN_OPEN, IN_CLOSE, IN_Q_OVERFLOW = 0x20, 0x18, 0x4000
MOST = (1 << 63) - 1
MANY = 20000
libc = ctypes.CDLL(None, use_errno=True)


class Opens:
    """How often each of some files is opened."""

    def __init__(self, paths):
        self.fd = libc.inotify_init1(os.O_NONBLOCK)
        self.n = {libc.inotify_add_watch(self.fd, p.encode(), IN_OPEN | IN_CLOSE): 0 for p in paths}  # the close between two keeps them apart

    def count(self):
        total = 0
        while True:
            try:
                data = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                break
            while data:
                wd, mask, _, size = struct.unpack_from('iIII', data)
                data = data[16 + size:]
                if mask & IN_Q_OVERFLOW:
                    total = MOST
                elif mask & IN_OPEN:
                    self.n[wd] += 1
        os.close(self.fd)
        return [total + n for n in self.n.values()]


def put(path, o):
    with open(path + '/gander.json', 'w', encoding='utf-8') as f:
        json.dump(dict(gander_recording=1, **o), f)


def report(d, *paths):
    opens = Opens(paths)
    p = util.run([gander, 'report', '--json', d], timeout=250)
    return p, json.loads(p.stdout) if p.stdout else {}, opens.count()


def chunks(t, top):
    """One that is listed once is the measure of one that is listed often."""
    d = top + '/rotated'
    chunk = d + '/chunk-000001'
    os.makedirs(chunk + '/go')
    trace = chunk + '/go/x-7.trace'
    shutil.copy(source + '/fuzz/corpus/gotrace/go-1.26', trace)
    put(chunk, dict(events=0, start_ns=1, end_ns=2, lost=dict(total=5, full=5), programs=[dict(trace='x-8', pid=8)],
                    problems=[dict(program='x', text='no room')], go=[dict(file='go/x-7.trace', program='x', pid=7)]))
    put(d, dict(chunks=['chunk-000001']))
    p, once, opened = report(d, chunk + '/gander.json', trace)
    t.check(p.returncode == 3 and once['lost_by_reason']['full'] == 5 and once['goroutines_total'] > 0 and len(once['problems']) == 1 and min(opened) > 0,
            'a chunk', (p.returncode, p.stderr, opened))
    for name, names in (('twice', ['chunk-000001'] * 2), ('%d times' % MANY, ['chunk-000001'] * MANY),
                        ('by other names', ['chunk-000001', './chunk-000001', 'chunk-000001/', 'chunk-000001/.', './/chunk-000001', 'chunk-000001/../chunk-000001', '', '.', '..', 7])):
        put(d, dict(chunks=names))
        p, got, n = report(d, chunk + '/gander.json', trace)
        t.check(p.returncode == 3 and got == once, 'named %s: the same report' % name, (p.returncode, p.stderr, got.get('lost_by_reason'), got.get('goroutines_total')))
        t.check(n == opened, '... and opened as often', (n, opened))
    put(d, dict(chunks=['chunk-000001']))
    other = d + os.fsdecode(b'-\xe9')  # a name is bytes
    os.rename(d, other)
    p = util.run([gander, 'report', '--json', other], timeout=250, errors='surrogateescape')
    t.check(p.returncode == 3 and json.loads(p.stdout)['goroutines_total'] == once['goroutines_total'], 'in a directory whose name is no UTF-8', (p.returncode, p.stderr, p.stdout[:300]))


def traces(t, top):
    d = top + '/traces'
    os.makedirs(d + '/go')
    trace = d + '/go/x-7.trace'
    shutil.copy(source + '/fuzz/corpus/gotrace/go-1.26', trace)
    put(d, dict(go=[dict(file='go/x-7.trace', program='x', pid=7)]))
    p, once, opened = report(d, trace)
    t.check(p.returncode == 0 and once['goroutines_total'] > 0 and min(opened) > 0, 'a Go trace', (p.returncode, p.stderr, opened))
    for name, names in (('%d times' % MANY, ['go/x-7.trace'] * MANY), ('by other names', ['go/x-7.trace', './go/x-7.trace', 'go//x-7.trace', 'go/./x-7.trace', 'go/../go/x-7.trace'])):
        put(d, dict(go=[dict(file=n, program='x', pid=7) for n in names]))
        p, got, n = report(d, trace)
        t.check(p.returncode == 0 and got == once and n == opened, 'named %s: the same report, and opened as often' % name, (p.returncode, p.stderr, n, opened))
    many = 200000  # pair by pair they are 20 billion
    put(d, dict(go=[dict(file='go/x-7.trace', program='x', pid=i + 1) for i in range(many)] * 2, programs=[dict(trace='x-1', pid=1)]))
    p = util.run([gander, 'report', d], timeout=250)
    t.check(p.returncode == 0 and 'of %d programs' % (many - 1) in p.stdout and '... and %d more' % (many - 31) in p.stdout, '%d programs of which there is a Go trace alone' % many,
            (p.returncode, p.stderr, p.stdout[:300]))


def sums(t, top):
    d = top + '/sums'
    go = [dict(file='x-7.trace', program='x', pid=7)]
    for i, n in enumerate((-5, MOST, MOST, 7)):
        os.makedirs(d + '/chunk-%d' % i)
        shutil.copy(source + '/fuzz/corpus/gotrace/go-1.26', d + '/chunk-%d/x-7.trace' % i)
        put(d + '/chunk-%d' % i, dict(events=0, lost=dict(total=n, full=n, disk=1, nested=-n), go=go))
    put(d, dict(chunks=['chunk-%d' % i for i in range(4)]))
    p, got, _ = report(d)
    lost = got.get('lost_by_reason', {})
    t.check(p.returncode == 3 and (lost.get('full'), lost.get('disk'), lost.get('nested')) == (MOST, 4, 5), 'losses that no number holds are the largest', (p.returncode, p.stderr, lost))
    for i, n in enumerate((-5, MOST, MOST, 7)):
        put(d + '/chunk-%d' % i, dict(events=n, go=go))
    p, got, _ = report(d)
    t.check(p.returncode == 1 and not got, 'events that no number holds are not none', (p.returncode, p.stderr, got))


def main():
    t = util.Tally()
    top = tempfile.mkdtemp(prefix='gander-manifest-')
    try:
        chunks(t, top)
        traces(t, top)
        sums(t, top)
    finally:
        shutil.rmtree(top)
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
