#!/usr/bin/env python3
"""pprof.py MODE: serves /debug/pprof/cmdline as a Go program does, and whatever MODE says instead of a trace. Prints "ready", its port."""
import socket
import sys
import threading
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSED = HEAD + b"\r\n"
TRACE = b"go 1.26 trace\0\0\0"


def varint(v):
    out = b""
    while v > 127:
        out, v = out + bytes([v & 127 | 128]), v >> 7
    return out + bytes([v])


def batch(gen, size=0):
    return b"\1" + varint(gen) + b"\0\0" + varint(size) + bytes(size)


def for_ever(first, piece, pause=0):
    """first, and then piece (or what it returns for 0, 1, 2 ...) without end."""
    def serve(c):
        c.sendall(first)
        n = 0
        while True:
            c.sendall(piece(n) if callable(piece) else piece)
            n += 1
            if pause:
                time.sleep(pause)
    return serve


def once(text, stay=True):
    def serve(c):
        c.sendall(text)
        while stay:
            time.sleep(1)
    return serve


def generations(step):
    return lambda n: b"".join(batch(1 + (n * 1000 + i) * step) + b"\x34" for i in range(1000))


MODES = {
    "silent": once(b""),
    "closes": once(b"", stay=False),
    "drip-head": for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.01),
    "huge-head": for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536),
    "heads": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "redirect": once(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    "not-http": once(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "escapes": once(b"HTTP/1.1 500 \x1b]0;title\x07\x1b[2J\r\n\r\n"),
    "drip-body": for_ever(CHUNKED + b"10\r\n" + TRACE + b"\r\n", b"1\r\n\1\r\n", 0.01),
    "not-a-trace": for_ever(CLOSED, b"<html>" * 1000),
    "marks": for_ever(CLOSED + TRACE + batch(1), b"\x34" * 65536),
    "tiny": for_ever(CLOSED + TRACE, generations(1)),
    "gaps": for_ever(CLOSED + TRACE, generations(2)),
    "backwards": for_ever(CLOSED + TRACE, lambda n: batch((1 << 40) - n, 1000) + b"\x34"),
    "swell": for_ever(CLOSED + TRACE, batch(1, 60000) * 16),
    "old": for_ever(CLOSED + b"go 1.19 trace\0\0\0", bytes(1 << 20)),
    "batches": for_ever(CLOSED + TRACE, b"\1\1\0\0" + varint(1 << 40)),
    "bad-chunk": for_ever(CHUNKED + b"zz\r\n", b"y" * 65536),
    "negative-chunk": for_ever(CHUNKED + b"-5\r\n", b"y" * 65536),
    "huge-chunk": for_ever(CHUNKED + b"f" * 16 + b"\r\n" + TRACE, generations(1)),
    "long-size": for_ever(CHUNKED, b"0" * 65536),
    "no-line-end": for_ever(CHUNKED + b"10\r\n" + TRACE, b"y" * 65536),
    "no-length": once(HEAD + b"Content-Length: 0\r\n\r\n"),
    "huge-length": once(HEAD + b"Content-Length: 18446744073709551615\r\n\r\n" + TRACE + batch(1, 100)),
    "empty-chunks": once(CHUNKED + b"0\r\n\r\n"),
}


def talk(c, serve):
    try:
        request = b""
        while b"\r\n\r\n" not in request:
            got = c.recv(4096)
            if not got:
                return
            request += got
        if b"/debug/pprof/cmdline" in request:
            with open("/proc/self/cmdline", "rb") as f:
                c.sendall(CLOSED + f.read().rstrip(b"\0"))
        else:
            serve(c)
    except OSError:
        pass
    finally:
        c.close()


def main():
    ln = socket.create_server(("127.0.0.1", 0), backlog=64)
    print("ready", ln.getsockname()[1], flush=True)
    while True:
        c, _ = ln.accept()
        threading.Thread(target=talk, args=(c, MODES[sys.argv[1]]), daemon=True).start()


if __name__ == "__main__":
    main()
