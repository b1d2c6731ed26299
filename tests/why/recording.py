#!/usr/bin/env python3
"""recording.py GANDER WORKDIR: `gander why` on recordings of live programs: a wait for another process, and a program from which others take the CPU; and
`gander go cut --span` on the first.

The right answers are written here by hand. With GANDER_TEST_VERSIONS=1 the latter under Go 1.22 to 1.27 too. What the machine does not allow (the kernel's view) is skipped by name. Nothing depends on how long something takes.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'gotrace'))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gotrace_util as util  # noqa: E402
import cut  # noqa: E402
from causes import VERSIONS  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LONG = 120
gander = os.path.abspath(sys.argv[1])


class Program:
    def __init__(self, *args, cpu=None):
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  preexec_fn=(lambda: os.sched_setaffinity(0, {cpu})) if cpu is not None else None)
        self.address = self.p.stdout.readline().split()[1:]
        self.pid = self.p.pid

    def do(self):
        self.p.stdin.write('go\n')
        self.p.stdin.flush()
        return self.p.stdout.readline() == 'done\n'

    def end(self):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()


def traces(rec):
    """What gander.json says of the Go traces, by pid."""
    try:
        with open(os.path.join(rec, 'gander.json'), encoding='utf-8') as f:
            return {g['pid']: g for g in json.load(f).get('go', []) if g.get('generations')}
    except (OSError, ValueError):
        return {}


def wait_for(what):
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


def record(rec, pids, act, *options):
    """Records the programs while act() runs, all of it: what went wrong, or None."""
    shutil.rmtree(rec, ignore_errors=True)
    args = [gander, 'record', '--go', '-q', '-o', rec, *options]
    for pid in pids:
        args += ['-p', str(pid)]
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True) as p:
        try:
            if not wait_for(lambda: p.poll() is not None or all(pid in traces(rec) for pid in pids)) or p.poll() is not None:
                return 'the programs do not fly'
            if not act():
                return 'a program has ended'
            now = time.monotonic_ns()
            if not wait_for(lambda: all(traces(rec)[pid]['end_mono_ns'] > now for pid in pids)):
                return 'no generation was closed'
        finally:
            if p.poll() is None:
                p.send_signal(signal.SIGINT)
            said = p.communicate()[1]
    return None if p.returncode in (0, 3) else said


def why(rec, span):
    p = util.run([gander, 'why', rec, '--span', span, '--slowest', '1', '--json'])
    if p.returncode:
        return None, p.stderr
    span = json.loads(p.stdout)['spans'][0]
    return span, re.sub(r'\s+', ' ', span['text'])


def exact(span):
    parts = {}
    for x in span['tree'][1:]:
        parts[x['parent']] = parts.get(x['parent'], 0) + x['ns']
    hops = span['hops']
    ends = all(a['start_ns'] + a['ns'] == b['start_ns'] for a, b in zip(hops, hops[1:]))
    return ends and all(parts[i] == span['tree'][i]['ns'] for i in parts) and span['duration_ns'] == sum(h['ns'] for h in hops)


def across(t, prog, work):
    back = Program(prog, 'back')
    front = Program(prog, 'front', back.address[0])
    rec = os.path.join(work, 'across')
    try:
        wrong = record(rec, [back.pid, front.pid], lambda: all([front.do() for _ in range(3)]))
    finally:
        front.end()
        back.end()
    if not t.check(wrong is None, 'another process: recorded', wrong):
        return
    span, text = why(rec, 'front.request')
    if not t.check(span is not None, 'another process: answered', text):
        return
    t.check(re.search(r'waiting for \S+ in process %d, which was .* waiting for mutex held by goroutine \d+ of process %d in main\.\(\*stock\)\.count \(inferred\), which was .* sleeping at main\.\(\*stock\)\.count'
                      % (back.pid, back.pid), text) is not None, 'another process: the lock there is found and named', text)
    t.check(exact(span), 'another process: every sum is exact')
    there = [x for x in span['tree'][1:] if x['process'] == back.pid]
    t.check(bool(there) and any(x['kind'] == 'mutex' for x in there), 'another process: its hops say whose they are')
    r = util.run([gander, 'report', rec])
    t.check(re.search(r'\n  gander why \S+across --span \S+\n', r.stdout) is not None, 'another process: the report says what to ask', r.stdout[-300:])
    behind_the_last_event(t, rec, front.pid, work)
    cut_spans(t, rec, [back.pid, front.pid], work)


def behind_the_last_event(t, rec, pid, work):
    """A trace is closed a little after its last event; a span in between is not known, which is no mistake of who asks."""
    short = os.path.join(work, 'behind')
    shutil.rmtree(short, ignore_errors=True)
    shutil.copytree(rec, short)
    name = os.path.join('go', f'pair-{pid}.trace')
    r = util.run([gander, 'go', 'cut', '--generations', '1', '-o', os.path.join(short, name), os.path.join(rec, name)])
    t.check(r.returncode == 0, 'behind the last event: the trace ends early', r.stderr)
    for args in (['--slowest', '1'], []):
        r = util.run([gander, 'why', short, '--span', 'front.request', '--json', *args])
        if t.check(r.returncode == 0, 'behind the last event: an answer ' + ' '.join(args), r.stderr):
            span = json.loads(r.stdout)['spans'][0]
            t.check([x['kind'] for x in span['tree'][1:]] == ['unknown'] and span['tree'][1]['ns'] == span['duration_ns'],
                    'behind the last event: it is not known', span['tree'])


def cut_spans(t, rec, pids, work):
    """The times of spans as Go traces of their own: chosen as `gander why` does, sound, and with the events of the whole trace."""
    tool, out = util.trace_tool(), os.path.join(work, 'span.trace')

    def go_cut(*args):
        return util.run([gander, 'go', 'cut', '-o', out, *args])

    def spans(*args):
        return json.loads(util.run([gander, 'why', rec, '--span', 'front.request', '--json', *args]).stdout)['spans']

    def same(path, span, what):
        trace = os.path.join(rec, 'go', f'pair-{span["process"]}.trace')
        whole = cut.events(gander, trace)[0]
        start = min(cut.events(gander, os.path.join(rec, 'go', f'pair-{p}.trace'))[0][0][0] for p in pids)
        cut.sound(t, gander, tool, path, what)
        begin = start + span['start_ns']
        cut.same_part(t, gander, whole, path, begin, begin + span['duration_ns'], what)

    for args in (['--slowest', '1'], ['--at', 'p50'], ['--at', 'p1'], ['--at', 'max', '--around', '3ms']):
        what = 'cut of a span ' + ' '.join(args)
        r = go_cut(rec, '--span', 'front.request', *args)
        if t.check(r.returncode == 0 and 'of that name' in r.stderr, what, r.stderr):
            same(out, spans(*args[:2])[0], what)
    with open(out, 'rb') as f:
        once = f.read()
    r = subprocess.run([gander, 'go', 'cut', '-o', '-', rec, '--span', 'front.request', '--around', '3ms'], capture_output=True)
    t.check(r.returncode == 0 and r.stdout == once, 'cut of a span: the slowest without being asked, and to standard output', r.stderr)
    r = go_cut(rec, '--span', 'front.request', '--slowest', '3')
    if t.check(r.returncode == 0, 'cut of three spans', r.stderr):
        for i, span in enumerate(spans('--slowest', '3')):
            same(os.path.join(work, f'span-{i + 1}.trace'), span, f'cut of three spans, number {i + 1}')
    r = go_cut(rec, '--span', 'http.server')
    t.check(r.returncode == 0 and f'of process {pids[0]}' in r.stderr, 'cut of a span in the other program', r.stderr)
    r = go_cut(rec, '--span', 'front.nothing', '--at', 'p50')
    if t.check(r.returncode == 0, 'cut of a span in which nothing of the trace lies', r.stderr):
        cut.sound(t, gander, tool, out, 'cut of a span in which nothing of the trace lies')
    r = go_cut(rec, '--pid', str(pids[1]), '--to', '1h')
    t.check(r.returncode == 0, 'cut of a recording: the trace of one program', r.stderr)
    whole = os.path.join(rec, 'go', f'pair-{pids[1]}.trace')
    os.unlink(out)
    for what, status, words, args in (('a name that there is not', 1, 'there are: .*front.request', [rec, '--span', 'front']),
                                      ('a trace alone', 2, 'no spans of events.*--task or --region', [whole, '--span', 'front.request']),
                                      ('and generations', 2, 'exclude', [rec, '--span', 'front.request', '--generations', '1']),
                                      ('the slowest and a quantile', 2, 'exclude', [rec, '--span', 'front.request', '--slowest', '1', '--at', 'p50']),
                                      ('a quantile of nothing', 2, 'choose among', [rec, '--at', 'p50']),
                                      ('several into standard output', 2, 'alone', [rec, '--span', 'front.request', '--slowest', '2', '-o', '-']),
                                      ('a time without any', 1, 'in that time', [rec, '--span', 'front.request', '--to', '1ns']),
                                      ('no program named', 1, 'several Go traces', [rec, '--from', '1ms'])):
        r = go_cut(*args)
        t.check(r.returncode == status and re.search(words, r.stderr) and r.stderr.count('\n') == 1 and not os.path.exists(out), 'cut, ' + what, (r.returncode, r.stderr))
    r = util.run([gander, 'go', 'cut', '-o', whole, rec, '--span', 'front.request'])
    t.check(r.returncode == 1 and os.path.getsize(whole) > len(once), 'cut: the trace itself is not overwritten', r.stderr)


def starved(prog, what):
    """what(program) of one that computes on a CPU that others want too."""
    cpu = min(os.sched_getaffinity(0))
    hogs = [subprocess.Popen([sys.executable, '-c', 'while True: pass'], preexec_fn=lambda: os.sched_setaffinity(0, {cpu})) for _ in range(4)]
    spin = Program(prog, 'spin', cpu=cpu)
    try:
        return what(spin)
    finally:
        spin.end()
        for h in hogs:
            h.kill()
            h.wait()


def judge_no_cpu(t, rec, label):
    with open(os.path.join(rec, 'gander.json'), encoding='utf-8') as f:
        kernel = json.load(f).get('kernel')
    if not kernel or not kernel.get('events'):
        t.skip(label, 'the kernel\'s view is not allowed here')
        return
    span, text = why(rec, 'spin.work')
    if not t.check(span is not None, label + ': answered', text):
        return
    by = {}
    for x in span['tree'][1:]:
        if not any(y['parent'] == x['id'] for y in span['tree'][1:]):
            by[x['kind']] = by.get(x['kind'], 0) + x['ns']
    most = max(by, key=by.get)
    t.check(most == 'no_cpu', f'{label}: found, {by[most] / span["duration_ns"]:.0%} of {span["duration_ns"] / 1e6:.0f} ms', by)
    t.check(re.search(r'ready, but without a CPU: the kernel ran \S+', text) is not None, label + ': named', text)
    t.check(exact(span), label + ': every sum is exact')


def no_cpu(t, prog, work, label='no CPU'):
    rec = os.path.join(work, 'no_cpu')
    wrong = starved(prog, lambda spin: record(rec, [spin.pid], spin.do, '--kernel', 'sched'))
    if t.check(wrong is None, label + ': recorded', wrong):
        judge_no_cpu(t, rec, label)


def no_cpu_snapshot(t, prog, work):
    """The same of a snapshot: the flight recorder has events, goroutines and the kernel of the same seconds."""
    rec, label = os.path.join(work, 'snapshots'), 'no CPU, a snapshot'
    shutil.rmtree(rec, ignore_errors=True)

    def newest():
        try:
            return os.path.join(rec, sorted(x for x in os.listdir(rec) if x.startswith('snapshot-') and os.path.exists(os.path.join(rec, x, 'gander.json')))[-1])
        except (OSError, IndexError):
            return None

    def wait(spin):
        args = [gander, 'record', '-q', '--go', '--kernel', 'sched', '-o', rec, '-p', str(spin.pid), '--snapshot-when', 'spin.work', '--last', '10s', '--rate-limit', '0s', '--max-snapshots', '0']
        with subprocess.Popen(args, stderr=subprocess.PIPE, text=True) as p:
            try:
                # a program takes a while to fly: the first snapshots have no Go trace, or not of all of the span
                done = wait_for(lambda: p.poll() is not None or (os.path.exists(rec + '/gander.json') and spin.do() and newest() and why(newest(), 'spin.work')[0]))
            finally:
                if p.poll() is None:
                    p.send_signal(signal.SIGINT)
                said = p.communicate()[1]
        return done and p.returncode in (0, 3), said

    done, said = starved(prog, wait)
    if not done and 'CAP_PERFMON' in said:
        t.skip(label, 'the kernel\'s view is not allowed here')
    elif t.check(done, label + ': taken', said):
        judge_no_cpu(t, newest(), label)


def main():
    work = os.path.abspath(sys.argv[2])
    os.makedirs(work, exist_ok=True)
    t = util.Tally()
    prog = os.path.join(work, 'pair')
    env = dict(os.environ, GOFLAGS='-mod=mod', GOWORK='off', GOPROXY='off')
    if not util.goroot() or util.run(['go', 'build', '-o', prog, '.'], cwd=HERE + '/pair', env=env).returncode:
        t.skip('recordings of live programs', 'no Go that builds them')
        return t.done()
    across(t, prog, work)
    no_cpu(t, prog, work)
    no_cpu_snapshot(t, prog, work)
    for version in os.environ.get('GANDER_TEST_GO', ' '.join(VERSIONS)).split() if os.environ.get('GANDER_TEST_VERSIONS') else []:
        env.update(GOTOOLCHAIN='go' + version)
        if not util.goroot(version) or util.run(['go', 'build', '-o', prog, '.'], cwd=HERE + '/pair', env=env).returncode:
            t.skip('no CPU, Go ' + version, 'cannot be fetched, or does not build')
            continue
        no_cpu(t, prog, work, 'no CPU, Go ' + version)
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
