#!/usr/bin/env python3
"""usage.py GANDER SOURCE_ROOT WORKDIR: `gander why` on the command line: every way in gives one answer, mistakes and bad input give one sentence."""
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'gotrace'))
import gotrace_util as util  # noqa: E402

gander, source, work = map(os.path.abspath, sys.argv[1:4])


def why(*args, data=None, room=None):
    """room: bytes that a file may have."""
    p = subprocess.run([gander, 'why', *args], input=data, capture_output=True, timeout=300,
                       preexec_fn=(lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))) if room else None)
    return p.returncode, p.stdout, p.stderr.decode()


def refused(t, name, status, words, *args):
    r, out, err = why(*args)
    t.check(r == status and not out and err.count('\n') == 1 and re.search(words, err), name, (r, err))


def main():
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    t = util.Tally()
    prog, trace = os.path.join(work, 'prog'), os.path.join(work, 'trace')
    corpus = os.path.join(source, 'fuzz/corpus/gotrace/go-1.26')
    refused(t, 'no question', 2, 'needs a question', corpus)
    refused(t, 'two questions', 2, 'one question', corpus, '--task', 'a', '--goroutine', '1')
    refused(t, 'no trace', 2, 'needs one recording', '--goroutine', '1')
    refused(t, 'a time that runs backwards', 2, 'later than', corpus, '--from', '2s', '--to', '1s')
    refused(t, 'no quantile', 2, 'p99', corpus, '--task', 'x', '--at', 'p101')
    refused(t, 'a goroutine that there is not', 1, 'does not mention', corpus, '--goroutine', '99999')
    refused(t, 'a span of a trace alone', 1, 'name the recording', corpus, '--span', 'x')
    refused(t, 'no file', 1, 'No such file', os.path.join(work, 'nothing'), '--goroutine', '1')
    with open(corpus, 'rb') as f:
        r, out, err = why('-', '--goroutine', '1', data=f.read(), room=2000)
    t.check(r == 1 and not out and re.fullmatch('gander: cannot keep a temporary copy of the trace: File too large\n', err), 'no room for all of what comes through a pipe', (r, err))
    with open(corpus + '-tasks', 'rb') as f, open(os.path.join(work, 'rude'), 'wb') as rude:
        rude.write(f.read().replace(b'main.', b'\x1b[1m.').replace(b'.go', b'\xc2\x9bm'))
    for args in (['why', '--to', '1s', '--stacks', '--all', '--hops'], ['go', 'blocked', '--stacks'], ['go', 'goroutines', '--by', 'goroutine', '--stacks']):
        out = subprocess.run([gander, *args, rude.name], capture_output=True, timeout=300).stdout.decode()
        t.check('?[1m.' in out and not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f]', out), 'names that a terminal would obey: gander ' + ' '.join(args), ascii(out)[:500])
    refused(t, 'a directory without traces', 1, 'holds no Go trace', work, '--goroutine', '1')
    bad = os.path.join(work, 'bad')
    os.makedirs(bad + '/go')
    os.mkfifo(bad + '/go/x-1.trace')
    with open(bad + '/gander.json', 'w', encoding='utf-8') as f:
        f.write('{"go": [{"file": 7}, 3, {"file": "go/x-2.trace", "pid": -4, "end_mono_ns": "never"}], "clock": []')
    refused(t, 'a recording with a pipe for a trace', 1, 'holds no Go trace', bad, '--goroutine', '1')
    with open(bad + '/go/x-2.trace', 'wb') as f:
        f.write(b'go 1.26 trace\0\0\0' + bytes(range(256)))
    refused(t, 'a recording with garbage for a trace', 1, 'x-2.trace', bad, '--goroutine', '1')
    alone = os.path.join(work, 'alone')
    os.makedirs(alone + '/go')
    shutil.copy(corpus, alone + '/go/x-1.trace')
    with open(alone + '/gander.json', 'w', encoding='utf-8') as f:
        f.write('{"gander_recording": 1, "go": [{"file": "go/x-1.trace", "pid": 1}]}')
    t.check(why(alone, '--goroutine', '1')[0] == 0, 'a recording of a Go trace alone')
    p = util.run([gander, 'report', alone])
    t.check(p.returncode == 0 and 'main.main' in p.stdout and 'go summary' in p.stdout, 'its report', p)
    if not util.goroot() or util.run(['go', 'build', '-o', prog, '.'], cwd=os.path.join(source, 'tests/gotrace/prog')).returncode:
        t.skip('a trace made now', 'no Go, or no C compiler for cgo')
        return t.done()
    util.at_least(5, gander, trace, 0.2, lambda seconds: not util.run([prog, 'tasks', str(seconds), trace],
                                                                      env=dict(os.environ, GODEBUG='traceadvanceperiod=20000000')).returncode)
    with open(trace, 'rb') as f:
        data = f.read()
    name = json.loads(util.run([gander, 'go', 'tasks', '--json', trace]).stdout)['types'][0]['type']
    r, out, err = why(trace, '--task', name, '--json')
    t.check(r == 0, 'a trace made now', err)
    answer = json.loads(out)
    t.check(why('-', '--task', name, '--json', data=data)[1] == out, 'the same from standard input')
    c = answer['compare']
    t.check(c['slowest_ns'] == sum(x['slowest_ns'] for x in c['beyond']) and c['median_ns'] == sum(x['median_ns'] for x in c['beyond']),
            'a comparison\'s lines add up to both groups', (c['slowest_ns'], c['median_ns']))
    t.check(c['slowest'] == (c['count'] + 99) // 100 and c['p50_ns'] <= c['p99_ns'] <= c['max_ns'] == answer['spans'][0]['duration_ns'], 'its groups and quantiles', c['slowest'])
    tasks = json.loads(why(trace, '--task', name, '--slowest', '5', '--json')[1])['spans']
    t.check([x['duration_ns'] for x in tasks] == sorted((x['duration_ns'] for x in tasks), reverse=True) and len(tasks) == 5, 'the five slowest, in order')
    profile = os.path.join(work, 'p.pb.gz')
    why(trace, '--task', name, '--slowest', '5', '--pprof', profile)
    raw = util.run(['go', 'tool', 'pprof', '-raw', profile]).stdout
    total = sum(int(b) for b in re.findall(r'^\s+\d+\s+(\d+):', raw[raw.index('Samples:'):raw.index('Locations')], re.M))
    t.check(total == sum(x['duration_ns'] for x in tasks), 'a profile holds the time of all of them', total)
    r, out, err = why(trace, '--task', name, '--at', 'p99', '--stacks', '--hops', '--all')
    t.check(r == 0 and b'Hop by hop' in out and max(len(x) for x in out.decode().split('\n')) > 0, 'text with stacks and hops', err)
    cut = os.path.join(work, 'cut')
    with open(cut, 'wb') as f:
        f.write(data[:len(data) * 2 // 3])
    r, out, err = why(cut, '--task', name, '--slowest', '1')
    t.check(r == 3 and out and err.count('\n') == 1 and 'cut' in err, 'a trace that was cut off: what came before, and it is said', (r, err))
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
