#!/usr/bin/python3
"""writer.py GANDER MAKE_TRACE: the traces that gander writes, read by babeltrace2 and by gander; conversions between CTF 1.8 and CTF 2; recordings
that were cut off anywhere."""
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare as c


def run(*cmd):
    p = subprocess.run(cmd, capture_output=True)
    return None if p.returncode == 0 else "%s: status %d, %s" % (cmd[0], p.returncode, p.stderr.decode(errors="replace").strip())


def text(gander, path):
    return subprocess.run([gander, "events", "--json", path], capture_output=True).stdout


def events_only(data):
    return [l for l in data.splitlines() if b'"event":' in l]


def cut_everywhere(gander, trace, tmp):
    """Cut at many bytes (at all of the first two packets and of the last): the events of the whole packets before the cut
    come, nothing else, and what is missing is said."""
    whole = events_only(text(gander, trace))
    name = "slot-0"
    size = os.path.getsize(os.path.join(trace, name))
    data = open(os.path.join(trace, name), "rb").read()
    ends, at = [0], 0
    while at < size:
        bits = int.from_bytes(data[at + 56:at + 64], "little")
        at += bits // 8
        ends.append(at)
    broken = os.path.join(tmp, "cut")
    os.mkdir(broken)
    shutil.copy(os.path.join(trace, "metadata"), broken)
    step = 1 if os.environ.get("GANDER_CTF_LONG") else 7
    places = sorted(set(range(0, 200)) | set(range(200, size, step * 31)) | set(range(size - 150, size)) | set(ends))
    counts = {}
    for at in places:
        with open(os.path.join(broken, name), "wb") as f:
            f.write(data[:at])
        p = subprocess.run([gander, "events", "--json", broken], capture_output=True)
        lines = events_only(p.stdout)
        whole_packets = max(e for e in ends if e <= at)
        if whole_packets not in counts:
            counts[whole_packets] = len(lines)
            if any(l not in whole for l in lines):
                return "cut at %d: an event that was not there" % at
        if len(lines) != counts[whole_packets]:
            return "cut at %d: %d events, at another place in the same packet %d" % (at, len(lines), counts[whole_packets])
        said = b"missing" in p.stderr
        if p.returncode < 0 or said != (at not in ends):
            return "cut at %d: status %d, %s" % (at, p.returncode, p.stderr.decode().strip() or "nothing said")
    if sorted(counts.values()) != [counts[k] for k in sorted(counts)] or counts[ends[-1]] == 0:
        return "more was cut off and more was read"
    return None


def damaged(gander, trace, tmp):
    """One byte changed at a time: never a crash, never for ever."""
    copy = os.path.join(tmp, "damaged")
    shutil.copytree(trace, copy)
    path = os.path.join(copy, "slot-1")
    data = bytearray(open(path, "rb").read())
    step = max(1, len(data) // (4000 if os.environ.get("GANDER_CTF_LONG") else 100))
    for at in range(0, len(data), step):
        was = data[at]
        data[at] ^= 0xff
        with open(path, "wb") as f:
            f.write(data)
        data[at] = was
        p = subprocess.run([gander, "events", copy], capture_output=True, timeout=300)
        if p.returncode not in (0, 1, 3):
            return "byte %d changed: status %d" % (at, p.returncode)
    return None


def as_csv(gander, *args):
    p = subprocess.run([gander, "export", *args, "--to", "csv"], capture_output=True)
    return p.returncode, list(csv.reader(p.stdout.decode().splitlines(True), strict=True))


def csv_cell(value):
    """A value of the JSON form as a cell."""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def same_cell(cell, value):
    if isinstance(value, (dict, list)):
        return json.loads(cell) == value
    if isinstance(value, float):
        return float(cell) == value
    # what JSON escapes, CSV has no room for
    return cell == "".join(x if x >= " " and x != "\x7f" or x in "\n\r\t" else "\ufffd" for x in csv_cell(value))


def csv_is_json(gander, trace):
    """Each row has as many cells as the header, and holds what the line of JSON does."""
    status, (header, *rows) = as_csv(gander, trace)
    lines = [json.loads(x) for x in text(gander, trace).decode().splitlines()]
    if status not in (0, 3) or len(rows) != len(lines):
        return "status %d, %d rows, %d events and losses" % (status, len(rows), len(lines))
    if header[:5] != ["time_ns", "process", "pid", "event", "lost"] or len(set(header)) != len(header):
        return "header: %s" % header
    first_field = [x.startswith("$") for x in header[5:]].index(False) + 5
    if any(x.startswith("$") for x in header[first_field:]):
        return "contexts among the fields: %s" % header
    for row, line in zip(rows, lines):
        if len(row) != len(header):
            return "%d cells, the header has %d: %s" % (len(row), len(header), row)
        cells = dict(zip(header, row))
        if cells["time_ns"] != str(line["time_ns"]):
            return "times: %s, %s" % (row, line)
        if "event" not in line:
            if cells["event"] != "lost" or cells["lost"] != str(line.get("lost", line.get("lost_packets"))) or any(row[5:]):
                return "a loss: %s, %s" % (row, line)
            continue
        want = {"$" + k: v for k, v in line["context"].items()}
        want.update(("fields." * (k in header[:5]) + k, v) for k, v in line["fields"].items())
        if not same_cell(cells["event"], line["event"]) or cells["lost"] or not all(same_cell(cells[k], v) for k, v in want.items()):
            return "%s, %s" % ({k: v for k, v in cells.items() if v}, line)
        if any(v for k, v in cells.items() if k not in want and k not in header[:5]):
            return "more than there is: %s, %s" % (cells, line)
    return None


def csv_of_some(gander, trace):
    """Columns are of what is exported."""
    header, *rows = as_csv(gander, trace, "-e", "test.small", "--where", "n < 0")[1]
    if [x for x in header[5:] if not x.startswith("$")] != ["n", "l"]:
        return "header: %s" % header
    events = [row for row in rows if row[3] == "test.small"]
    if not events or any(int(row[header.index("n")]) >= 0 for row in events) or any(row[3] not in ("test.small", "lost") for row in rows):
        return "rows: %s" % rows[:3]
    header, *rows = as_csv(gander, trace, "-e", "no.such")[1]
    return None if header == ["time_ns", "process", "pid", "event", "lost"] and all(row[3] == "lost" for row in rows) else "no events: %s %s" % (header, rows[:3])


def wchan_is_told():
    """Where a process waits, in the kernel: not everybody is told everywhere."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as p:
        end = time.monotonic() + 10
        while open("/proc/%d/wchan" % p.pid).read() in ("0", "") and time.monotonic() < end:
            time.sleep(0.01)
        told = "pipe" in open("/proc/%d/wchan" % p.pid).read()
        p.stdin.close()
    return told


def csv_grows(gander, first, then, tmp):
    """Between the columns and the rows, which begin when somebody reads, the recording gets other events."""
    path, fifo = os.path.join(tmp, "grows"), os.path.join(tmp, "fifo")
    shutil.copytree(first, path)
    os.mkfifo(fifo)
    with subprocess.Popen([gander, "export", path, "--to", "csv", "-o", fifo], stderr=subprocess.PIPE) as p:
        while p.poll() is None and open("/proc/%d/wchan" % p.pid).read() != "wait_for_partner":
            time.sleep(0.001)
        shutil.rmtree(path)
        shutil.copytree(then, path)
        with open(fifo, newline="") as f:
            header, *rows = csv.reader(f, strict=True)
        said = p.stderr.read()
    if p.returncode != 3 or b"still growing" not in said:
        return "status %d, %s" % (p.returncode, said)
    return None if {len(r) for r in rows} <= {len(header)} else "rows of other lengths"


def main():
    gander, make_trace = sys.argv[1:3]
    t = c.Tally()
    tmp = tempfile.mkdtemp()
    try:
        one, two, back, many = [os.path.join(tmp, n) for n in ("one", "two", "back", "many")]
        t.check("make_trace writes CTF 1.8", run(make_trace, one, "1"))
        t.check("make_trace writes CTF 2", run(make_trace, two, "2"))
        t.check("make_trace writes 100,000 events", run(make_trace, many, "1", "100000"))
        t.check("babeltrace2 has nothing to say about it", "; ".join(c.warnings(one)) or None)
        if c.bt2:
            for path in (one, many):
                wrong, n = c.compare(gander, path)
                t.check("the same %d events, times, fields and losses as babeltrace2" % n, wrong)
        else:
            t.skip("fields compared with babeltrace2", "python3-bt2 is missing")
        t.check("CTF 2 holds the same events as CTF 1.8", None if text(gander, one) == text(gander, two) else "they differ")
        exported = os.path.join(tmp, "exported")
        t.check("export to CTF 2", run(gander, "export", one, "--to", "ctf2", "-o", exported))
        t.check("the export holds the same events", None if text(gander, one) == text(gander, exported) else "they differ")
        t.check("export back to CTF 1.8", run(gander, "export", exported, "--to", "ctf1", "-o", back))
        t.check("it holds the same events", None if text(gander, one) == text(gander, back) else "they differ")
        t.check("babeltrace2 has nothing to say about it", "; ".join(c.warnings(back)) or None)
        if c.bt2:
            t.check("babeltrace2 reads the same from it", c.compare(gander, back)[0])
        t.check("a stream cut off anywhere is read up to its last whole packet", cut_everywhere(gander, one, tmp))
        t.check("a stream with any byte damaged", damaged(gander, one, tmp))
        t.check("CSV: each row as many cells as the header, and what JSON has", csv_is_json(gander, one) or csv_is_json(gander, two))
        t.check("CSV of some events: their columns alone", csv_of_some(gander, one))
        if wchan_is_told():
            t.check("CSV of a recording that grows: rows end before what has no column", csv_grows(gander, many, one, tmp))
        else:
            t.skip("CSV of a recording that grows", "/proc/PID/wchan says nothing")
        n = subprocess.run([gander, "events", "--count", many], capture_output=True, text=True).stdout.strip()
        t.check("events --count", None if n == "100000" else n)
    finally:
        shutil.rmtree(tmp)
    t.done()


main()
