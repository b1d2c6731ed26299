#!/usr/bin/env python3
"""causes.py GANDER WORKDIR WHY_SUMS: programs that are slow for a known reason, and whether `gander why` finds it and names it.

The right answers are in ANSWERS: written by hand, from the program's source alone. Each task "asked" of causes/main.go must have most of its time under that kind,
with those words. The version of Go is the local one; with GANDER_TEST_VERSIONS=1 (make check-versions) 1.22 to 1.27, fetched by the go command.
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'gotrace'))
import gotrace_util as util  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
VERSIONS = ['1.22.12', '1.23.12', '1.24.13', '1.25.14', '1.26.11', '1.27.4']

# cause: (the kinds of hops that must hold most of the time, as the way down from the whole; what its words must say)
ANSWERS = {
    'lock': (['mutex', 'sleep'], r'waiting for mutex held by goroutine \d+ in main\.\(\*cache\)\.fill \(inferred\), which was .* sleeping at main\.\(\*cache\)\.fill:\d+'),
    'locks': (['mutex', 'mutex'], r'waiting for mutex held by goroutine \d+ in main\.\(\*cache\)\.hold \(inferred\), which was .* waiting for mutex held by goroutine \d+ in main\.\(\*cache\)\.hold'),
    'channel': (['channel', 'running'], r'waiting to receive from a channel sent to by goroutine \d+ in main\.produce, which was .* running up to main\.(produce|spin)'),
    'assist': (['gc_assist'], r'GC assist.* main\.allocate'),
    'stw': (['stop_the_world'], r'stop-the-world for all goroutines stack trace, asked for by goroutine \d+ in main\.stw'),
    'syscall': (['syscall'], r'in syscall read at main\.readPipe:\d+'),
    'nop': (['runnable_no_p'], r'runnable, no P was idle: mostly goroutine \d+ (and others )?(in|of) main\.hog'),
    'network': (['network'], r'waiting for the network at main\.ask:\d+'),
    'disk': (['syscall'], r'in syscall (fsync|pwrite)'),
}


def most(tree, node):
    """The kind of a node's children that holds most of its time, its share, and the longest child of it."""
    by = {}
    for x in tree:
        if x['parent'] == node['id']:
            by.setdefault(x['kind'], []).append(x)
    if not by:
        return None, 0, None
    kind = max(by, key=lambda k: sum(x['ns'] for x in by[k]))
    return kind, sum(x['ns'] for x in by[kind]) / node['ns'], max(by[kind], key=lambda x: x['ns'])


def exact(span):
    tree = span['tree']
    parts = {}
    for x in tree[1:]:
        parts[x['parent']] = parts.get(x['parent'], 0) + x['ns']
    return all(parts[i] == tree[i]['ns'] for i in parts) and tree[0]['ns'] == span['duration_ns'] == sum(h['ns'] for h in span['hops'])


def share_of_assists(gander, trace):
    """Which part of the task's time its goroutine ran in assists, and the longest of what else it did, by the list of all events."""
    asked, state, inside, since, spent = None, None, False, 0, {}
    with subprocess.Popen([gander, 'go', 'events', '--json', trace], stdout=subprocess.PIPE, text=True) as p:
        for line in p.stdout:
            e = json.loads(line)
            if e['kind'] == 'TaskBegin' and e['type'] == 'asked':
                asked, state, since = e['goroutine'], 'running', e['time_ns']
            ends = e['kind'] == 'TaskEnd' and e['type'] == 'asked'
            moves = e['kind'] == 'StateTransition' and e['resource'] == 'goroutine' and e['id'] == asked
            ranges = e.get('name') == 'GC mark assist' and e.get('on_goroutine') == asked and e['kind'] in ('RangeBegin', 'RangeEnd')
            if asked is None or not (ends or moves or ranges):
                continue
            what = 'assist' if state == 'running' and inside else state
            spent[what] = spent.get(what, 0) + e['time_ns'] - since
            since = e['time_ns']
            if ends:
                asked = None
            elif moves:
                state = e['to']
            else:
                inside = e['kind'] == 'RangeBegin'
    return spent.pop('assist', 0) / max(spent.values(), default=1)


def is_planted(gander, cause, trace):
    """Whether the machine let the program be slow for the cause: one that takes the CPU from the collector's other threads makes their part the longest."""
    return cause != 'assist' or share_of_assists(gander, trace) > 1.2


def check_cause(t, gander, name, cause, trace):
    kinds, words = ANSWERS[cause]
    p = util.run([gander, 'why', trace, '--task', 'asked', '--slowest', '1', '--json'])
    if p.returncode:
        t.check(False, name, p.stderr)
        return
    span = json.loads(p.stdout)['spans'][0]
    node, found, share = span['tree'][0], [], 1.0
    for _ in kinds:
        kind, part, node = most(span['tree'], node)
        found.append(kind)
        share *= part
        if kind is None:
            break
    t.check(found == kinds, f'{name}: found, {share:.0%} of {span["duration_ns"] / 1e6:.0f} ms', f'{found}, not {kinds}: {span["text"]}')
    text = util.run([gander, 'why', trace, '--task', 'asked', '--slowest', '1']).stdout
    text = re.sub(r'\s+', ' ', text)
    t.check(re.search(words, text) is not None, name + ': named', span['text'])
    t.check(exact(span), name + ': every sum is exact')


def of_version(t, gander, sums, work, version):
    env = dict(os.environ, GOFLAGS='-mod=mod', GOWORK='off')
    label = 'local Go'
    if version:
        root = util.goroot(version)
        if not root:
            t.skip('Go ' + version, 'cannot be fetched')
            return
        env.update(GOTOOLCHAIN='go' + version)
        label = 'Go ' + version
    prog = os.path.join(work, 'causes-' + (version or 'local'))
    p = util.run(['go', 'build', '-o', prog, '.'], cwd=HERE + '/causes', env=env)
    if p.returncode:
        t.skip(label, 'does not build: ' + p.stderr.strip()[-200:])
        return
    for cause in ANSWERS:
        trace = os.path.join(work, cause + '.trace')
        for _ in range(10):
            p = util.run([prog, cause, trace, work], timeout=120)
            planted = p.returncode or is_planted(gander, cause, trace)
            if planted:
                break
        if not planted:
            t.skip(f'{label}: {cause}', 'the machine is too busy: the program waited for other things')
            continue
        if not t.check(p.returncode == 0, f'{label}: {cause}: a trace', p.stderr):
            continue
        check_cause(t, gander, f'{label}: {cause}', cause, trace)
        p = util.run([sums, trace])
        t.check(p.returncode == 0, f'{label}: {cause}: sums of every goroutine, task and range', p.stdout)
        os.unlink(trace)


def main():
    gander, work, sums = map(os.path.abspath, sys.argv[1:4])
    os.makedirs(work, exist_ok=True)
    t = util.Tally()
    if not util.goroot():
        t.skip('planted causes', 'no Go')
        return t.done()
    of_version(t, gander, sums, work, None)
    if os.environ.get('GANDER_TEST_VERSIONS'):
        for version in os.environ.get('GANDER_TEST_GO', ' '.join(VERSIONS)).split():
            of_version(t, gander, sums, work, version)
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
