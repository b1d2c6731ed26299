"""Compares what gander reads with what babeltrace2 reads, field by field. Used by the tests in this directory."""
import json
import re
import subprocess
import sys

try:
    import bt2
except ImportError:
    bt2 = None


def gander_events(gander, *paths):
    """(events, losses, standard error, exit status) as `gander events --json` prints them."""
    p = subprocess.run([gander, "events", "--json", *paths], capture_output=True)
    events, losses = [], []
    for line in p.stdout.splitlines():
        o = json.loads(line)
        (events if "event" in o else losses).append(o)
    return events, losses, p.stderr.decode(errors="replace"), p.returncode


def peer_value(f):
    """A babeltrace2 field as plain Python: structs as dicts, enumerations as (value, labels)."""
    if isinstance(f, bt2._EnumerationFieldConst):
        return ("enum", int(f), list(f.labels))
    if isinstance(f, bt2._BoolFieldConst):
        return bool(f)
    if isinstance(f, bt2._IntegerFieldConst):
        return int(f)
    if isinstance(f, bt2._RealFieldConst):
        return float(f)
    if isinstance(f, bt2._StringFieldConst):
        return str(f)
    if isinstance(f, bt2._VariantFieldConst):
        return peer_value(f.selected_option)
    if isinstance(f, bt2._StructureFieldConst):
        return {k: peer_value(v) for k, v in f.items()}
    if isinstance(f, bt2._ArrayFieldConst):
        return [peer_value(v) for v in f]
    raise TypeError(type(f))


def peer_events(*paths):
    """(events, lost) of babeltrace2: events as (time, name, {scope: fields})."""
    events, lost = [], 0
    for msg in bt2.TraceCollectionMessageIterator([str(p) for p in paths]):
        if type(msg) is bt2._DiscardedEventsMessageConst:
            lost += msg.count or 0
        if type(msg) is not bt2._EventMessageConst:
            continue
        e = msg.event
        context = {}
        for f in (e.packet.context_field if e.stream.cls.supports_packets else None, e.common_context_field, e.specific_context_field):
            if f is not None:
                context.update({k: peer_value(v) for k, v in f.items()})
        fields = {k: peer_value(v) for k, v in e.payload_field.items()} if e.payload_field is not None else {}
        events.append((msg.default_clock_snapshot.ns_from_origin, e.name, context, fields))
    return events, lost


def is_length(name, names):
    """gander's "x__length", LTTng's "_x_length"."""
    if re.search(r"__length(_\d+)?$", name):
        return True
    return name[:1] == "_" and name[1:2] != "_" and name.endswith("_length") and name[1:-7] in names


def same(ours, theirs):
    """Does a value of `gander events --json` say what babeltrace2's says?"""
    if isinstance(theirs, tuple):
        return ours in theirs[2] if theirs[2] else ours == theirs[1]
    if isinstance(ours, bool):
        return ours == bool(theirs)
    if isinstance(theirs, float) and isinstance(ours, (int, float)):
        return ours == theirs or abs(ours - theirs) <= abs(theirs) * 1e-15
    if isinstance(ours, str) and isinstance(theirs, list):  # bytes
        return ours == "".join("%02x" % b for b in theirs)
    if isinstance(ours, dict) and isinstance(theirs, list):  # attributes
        return len(ours) == len(theirs) and all(same(ours[a["key"]], a["value"]) for a in theirs)
    if isinstance(theirs, dict):
        # babeltrace2 2.0.4 leaves the text of the event before in text of no length
        empty = {k for k, v in theirs.items() if isinstance(v, str) and 0 in (theirs.get("_%s_length" % k), theirs.get(k + "__length"))}
        shown = [(k, "" if k in empty else v) for k, v in theirs.items() if not is_length(k, theirs)]
        if not isinstance(ours, dict):  # a struct that stands only around one value
            return len(shown) == 1 and same(ours, shown[0][1])
        # names that TSDL cannot hold differ, so by place
        return len(ours) == len(shown) and all(same(o, t) for o, (_, t) in zip(ours.values(), shown))
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(same(o, t) for o, t in zip(ours, theirs))
    if isinstance(theirs, str) and isinstance(ours, str):
        return ours == theirs or ours.replace("\ufffd", "") == re.sub("[\udc80-\udcff]", "", theirs)
    return ours == theirs


def compare(gander, *paths, slack_ns=2, ordered=True):
    """None, or the first difference as a sentence; and how many events were the same."""
    ours, losses, _, _ = gander_events(gander, *paths)
    theirs, lost = peer_events(*paths)
    if len(ours) != len(theirs):
        return "%d events, babeltrace2 has %d" % (len(ours), len(theirs)), 0
    if sum(o.get("lost", 0) for o in losses) != lost:
        return "%d lost, babeltrace2 has %d" % (sum(o.get("lost", 0) for o in losses), lost), 0
    if not ordered:
        ours.sort(key=lambda o: (o["time_ns"], o["event"]))
        theirs.sort(key=lambda t: (t[0], t[1]))
    for i, (o, (time, name, context, fields)) in enumerate(zip(ours, theirs)):
        if abs(o["time_ns"] - time) > slack_ns:
            return "event %d: at %d, babeltrace2 has %d" % (i, o["time_ns"], time), i
        if o["event"] != name:
            return "event %d: '%s', babeltrace2 has '%s'" % (i, o["event"], name), i
        hidden = ("timestamp_begin", "timestamp_end", "content_size", "packet_size", "packet_seq_num", "events_discarded")
        context = {k: v for k, v in context.items() if k not in hidden}
        if not same(o["context"], context):
            return "event %d: context %r, babeltrace2 has %r" % (i, o["context"], context), i
        if not same(o["fields"], fields):
            return "event %d: fields %r, babeltrace2 has %r" % (i, o["fields"], fields), i
    return None, len(ours)


def warnings(*paths):
    """What babeltrace2 prints on standard error but for losses."""
    p = subprocess.run(["babeltrace2", *[str(p) for p in paths]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    lines = [l for l in p.stderr.decode(errors="replace").splitlines() if l and not re.match(r"WARNING: Tracer discarded \d+ event", l)]
    # a hostname may break the line of a loss in two
    return [l for l in lines if "(UUID:" not in l] + (["exit status %d" % p.returncode] if p.returncode else [])


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, what, wrong):
        """`wrong` is None or says what is wrong."""
        if wrong:
            self.failed += 1
            print("FAIL %s: %s" % (what, wrong))
        else:
            self.passed += 1
            print("ok   %s" % what)

    def skip(self, what, why):
        self.skipped += 1
        print("skip %s: %s" % (what, why))

    def done(self):
        print("%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped))
        sys.exit(1 if self.failed else 0)
