#!/usr/bin/env python3
"""build.py nats|caddy|natsload OUT PROXY: builds a real program with events into OUT/NAME, the agent taken from the module proxy PROXY.

Prints the path of the program; "skip: why" and exit status 77 where it cannot be built here. What is built already from the same sources is
not built again.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NATS = "github.com/nats-io/nats-server/v2@v2.15.2"
CADDY = "github.com/caddyserver/caddy/v2@v2.11.9"
NEEDS = {"nats": 26, "caddy": 25, "natsload": 21}  # Go 1.N

# Where the calls go in nats-server's client.go: (line that is there once, line to put behind it).
NATS_CALLS = [
    ("\t\tlast := c.flushClients(0)\n", "\t\tganderRead(c, n)\n"),
    ("\tcollapsed, attempted := c.collapsePtoNB()\n", "\tganderFlush(c, attempted)\n"),
    ("func (c *client) processInboundClientMsg(msg []byte) (bool, bool) {\n", "\tganderMsg(c, msg)\n"),
    ("func (c *client) processConnect(arg []byte) error {\n", "\tganderConnect(c)\n"),
    ("\tsub := &subscription{client: c, subject: subject, queue: queue, sid: bsid, icb: cb, si: si, rsi: rsi}\n",
     "\tganderSub(c, subject)\n"),
    ("\tc.markConnAsClosed(reason)\n", None),
]


class Skip(Exception):
    pass


def go(*args, cwd, env=None):
    p = subprocess.run(["go", *args], cwd=cwd, env=env, capture_output=True, text=True)
    if p.returncode:
        lines = (p.stderr or p.stdout).strip().splitlines()
        text = "\n".join(lines[-20:])
        if re.search(r"dial tcp|no such host|Forbidden|proxy\.golang\.org|i/o timeout", text):
            raise Skip("the Go module proxy does not give what is needed: " + lines[-1])
        sys.exit("go %s:\n%s" % (" ".join(args), text))
    return p.stdout


def agent_version(proxy):
    with open(os.path.join(proxy, "gander.internal", "gander", "@v", "list")) as f:
        return f.read().strip()


def copy_module(spec, to, cwd, env):
    """A writable copy of a module's source out of the module cache."""
    source = json.loads(go("mod", "download", "-json", spec, cwd=cwd, env=env))["Dir"]
    shutil.copytree(source, to, copy_function=shutil.copyfile)
    for here, dirs, files in os.walk(to):
        for name in dirs:
            os.chmod(os.path.join(here, name), 0o755)
    os.chmod(to, 0o755)


def put_calls(path):
    with open(path) as f:
        text = f.read()
    for line, call in NATS_CALLS:
        if call is None:
            # the one in closeConnection(): the function's name tells it from others
            at = text.index("func (c *client) closeConnection(reason ClosedState) {")
            at = text.index(line, at)
            text = text[:at] + "\tganderClosed(c, reason)\n" + text[at:]
            continue
        if text.count(line) != 1:
            sys.exit("client.go: %r is there %d times" % (line, text.count(line)))
        text = text.replace(line, line + call)
    with open(path, "w") as f:
        f.write(text)


def main():
    name, out, proxy = sys.argv[1], os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
    try:
        version = subprocess.check_output(["go", "env", "GOVERSION"], text=True).strip()
    except OSError:
        raise Skip("no go command")
    minor = int(re.match(r"go1\.(\d+)", version).group(1))
    if minor < NEEDS[name]:
        raise Skip("%s needs Go 1.%d, this is %s" % (name, NEEDS[name], version))
    env = dict(os.environ, GOFLAGS="-mod=mod", GOWORK="off", CGO_ENABLED="0",
               GOPROXY="file://%s,%s" % (proxy, os.environ.get("GOPROXY") or "https://proxy.golang.org"), GONOSUMDB="gander.internal")
    binary = os.path.join(out, name)
    work = os.path.join(out, "src-" + name)
    h = hashlib.sha256((version + NATS + CADDY + (agent_version(proxy) if name != "natsload" else "")).encode())
    for here, _, files in sorted(os.walk(os.path.join(HERE, name))):
        for f in sorted(files):
            with open(os.path.join(here, f), "rb") as fh:
                h.update(fh.read())
    with open(os.path.abspath(__file__), "rb") as f:
        h.update(f.read())
    stamp = binary + ".stamp"
    if os.path.exists(binary) and os.path.exists(stamp) and open(stamp).read() == h.hexdigest():
        print(binary)
        return 0
    os.makedirs(out, exist_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    if name == "natsload":
        go("build", "-o", binary, ".", cwd=os.path.join(HERE, name), env=env)
    elif name == "nats":
        os.makedirs(out, exist_ok=True)
        copy_module(NATS, work, out, dict(env, GO111MODULE="on"))
        shutil.copyfile(os.path.join(HERE, "nats", "gander_events.go"), os.path.join(work, "server", "gander_events.go"))
        put_calls(os.path.join(work, "server", "client.go"))
        go("get", "gander.internal/gander@" + agent_version(proxy), cwd=work, env=env)
        go("build", "-o", binary, ".", cwd=work, env=env)
    else:
        os.makedirs(work)
        shutil.copyfile(os.path.join(HERE, "caddy", "main.go"), os.path.join(work, "main.go"))
        go("mod", "init", "example.com/caddy-with-events", cwd=work, env=env)
        go("get", CADDY, "gander.internal/gander@" + agent_version(proxy), cwd=work, env=env)
        go("build", "-o", binary, ".", cwd=work, env=env)
    with open(stamp, "w") as f:
        f.write(h.hexdigest())
    print(binary)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as e:
        print("skip: %s" % e)
        sys.exit(77)
