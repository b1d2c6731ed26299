#!/usr/bin/env python3
"""Traces made here and now, from programs of every kind, are read as the Go tools read them.

Usage: reference.py GANDER. The programs are the workloads of prog/; each trace's text (`gander go events --go`) must equal that of `go tool trace -d=parsed`
byte for byte, the count must be the number of its events, and the sum over standard input must be the same. With GANDER_TEST_VERSIONS=1 the workloads are also built
and run with other versions of Go (GANDER_TEST_GO names them, default one of each trace format and more), fetched by the go command; traces of
1.21 and before are compared as records, since the reference orders ties at random there.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gotrace_util as util  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
VERSIONS = '1.11.13 1.12.17 1.13.15 1.14.15 1.15.15 1.16.15 1.17.13 1.18.10 1.19.13 1.20.14 1.21.13 1.22.12 1.23.12 1.24.13 1.25.14 1.26.11 1.27.4'


def workloads(prog):
    return sorted(util.run([prog]).stdout.split())


def make(prog, workload, seconds, path, godebug=''):
    r = util.run([prog, workload, str(seconds), path], env=dict(os.environ, GODEBUG=godebug), timeout=120)
    return r.returncode == 0, r.stderr.strip()[-300:]


def check_counted(t, gander, name, path):
    text = subprocess.run([gander, 'go', 'events', '--go', path], capture_output=True).stdout
    heads = sum(1 for line in text.split(b'\n') if util.HEAD.match(line))
    counted = util.run([gander, 'go', 'events', '--count', path]).stdout.split('\n')[-2].split()[0]
    t.check(int(counted) == heads, name + ': the count is the number of events', f'{counted}, {heads}')
    return text


def check_ways(t, gander, name, path):
    text = check_counted(t, gander, name, path)
    with open(path, 'rb') as f:
        again = subprocess.run([gander, 'go', 'events', '--go', '-'], stdin=f, capture_output=True).stdout
    t.check(again == text, name + ': the same from standard input')
    cat = subprocess.Popen(['cat', path], stdout=subprocess.PIPE)
    again = subprocess.run([gander, 'go', 'events', '--go', '-'], stdin=cat.stdout, capture_output=True).stdout
    cat.wait()
    t.check(again == text, name + ': the same through a pipe')


def local(t, gander, tool, tmp):
    prog = os.path.join(tmp, 'prog')
    r = util.run(['go', 'build', '-o', prog, '.'], cwd=HERE + '/prog')
    if r.returncode:
        t.skip('traces of the local Go', r.stderr.strip().split('\n')[-1])
        return
    path = os.path.join(tmp, 'trace')
    for w in workloads(prog):
        for godebug in ('', 'traceadvanceperiod=20000000'):
            ok, why = make(prog, w, 0.04 if w != 'samples' else 0.3, path, godebug)
            name = w + (', generations of 20 ms' if godebug else '')
            if t.check(ok, name + ' was traced', why):
                t.check(util.same_text(gander, tool, path), name + ': the text of go tool trace')
                check_counted(t, gander, name, path)
    if make(prog, 'spawn', 0.02, path, 'traceallocfree=1')[0]:
        t.check(util.same_text(gander, tool, path), 'alloc/free experiment: the text of go tool trace')
    make(prog, 'tasks', 0.05, path)
    check_ways(t, gander, 'v2', path)


def netblock(t, gander, tmp):
    """The example prints what its twin on golang.org/x/exp/trace prints."""
    example = os.path.join(os.path.dirname(gander), '../../examples/example-netblock')
    twin, prog, path = os.path.join(tmp, 'xexp'), os.path.join(tmp, 'prog'), os.path.join(tmp, 'trace')
    r = util.run(['go', 'build', '-o', twin, '.'], cwd=HERE + '/xexp')
    if r.returncode or not os.path.exists(example) or not make(prog, 'net', 0.2, path)[0]:
        t.skip('examples/netblock', 'no golang.org/x/exp/trace, or the example is not built')
        return
    ours, theirs = util.run([example, path]).stdout, util.run([twin, 'netblock', path]).stdout
    t.check(ours == theirs and '%' in ours, 'examples/netblock: ' + ours.strip(), theirs)


def of_version(t, gander, tool, tmp, version):
    root = util.goroot(version)
    if not root or (version not in root):
        t.skip('go' + version, 'cannot be fetched')
        return
    prog = os.path.join(tmp, 'prog-' + version)
    env = dict(os.environ, GOROOT=root, GOTOOLCHAIN='local', GOENV='off', GOFLAGS='', GO111MODULE='off', CGO_ENABLED='0')
    src = [HERE + '/prog/main.go'] + ([HERE + '/prog/coro.go'] if int(version.split('.')[1]) >= 23 else [])
    r = util.run([root + '/bin/go', 'build', '-o', prog] + src, env=env, cwd=tmp)
    if r.returncode:
        t.check(False, 'go' + version, r.stderr[-300:])
        return
    path = os.path.join(tmp, 'trace')
    for w in workloads(prog):
        ok, why = make(prog, w, 0.05, path)
        name = f'go{version} {w}'
        if not ok:
            t.check(False, name + ' was traced', why)
        elif int(version.split('.')[1]) >= 22:
            t.check(util.same_text(gander, tool, path), name + ': the text of go tool trace')
        else:
            t.check(*util.same_records(gander, tool, path, name))
            check_counted(t, gander, name, path)
    if int(version.split('.')[1]) < 22:
        make(prog, 'tasks', 0.05, path)
        check_ways(t, gander, 'go' + version, path)


def main():
    gander = os.path.abspath(sys.argv[1])
    t = util.Tally()
    tool = util.trace_tool()
    if not tool:
        t.skip('comparison with go tool trace', 'it takes Go 1.26 or later')
        return t.done()
    with util.temp() as tmp:
        if os.environ.get('GANDER_TEST_VERSIONS'):
            for v in os.environ.get('GANDER_TEST_GO', VERSIONS).split():
                of_version(t, gander, tool, tmp, v)
        else:
            local(t, gander, tool, tmp)
            netblock(t, gander, tmp)
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
