#!/usr/bin/env python3
"""What a recording holds, and its slowest spans: slowest.py RECORDING (after `make install`; else PYTHONPATH=python)."""
import collections
import sys

import gander

counts, slowest = collections.Counter(), []
with gander.Recording(sys.argv[1]) as rec:
    for ev in rec:
        if ev.lost:
            continue
        counts[ev.name] += 1
        if ev.span == "end":
            slowest.append((ev.fields["duration"], ev.name, ev.time_ns, ev.get("path", "")))
    for name, n in sorted(counts.items()):
        print("%10d  %s" % (n, name))
    print("%10d  lost" % rec.lost)
    for duration, name, at, path in sorted(slowest, reverse=True)[:5]:
        print("%8.3f ms  %s %s, ended at %d" % (duration / 1e6, name, path, at))
    for note in rec.notes:
        print(note, file=sys.stderr)
    for path in rec.go_traces:
        made = sum(ev.get("from") == "NotExist" and ev["resource"] == "goroutine" for ev in gander.GoTrace(path, stacks=False))
        print("%10d  goroutines made, in %s" % (made, path))
