#!/usr/bin/env python3
"""pfcheck FILE: decodes a Perfetto trace with PyPI's protobuf classes and checks its rules; prints one JSON object of counts."""
import collections
import json
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb
t = pb.Trace()
t.ParseFromString(open(sys.argv[1], "rb").read())
T = pb.TrackEvent
tracks, names, notes, strings = {}, {}, {}, {}
open_slices = collections.defaultdict(list)
slices = collections.Counter()
flows_begun, flows_ended = set(), set()
bad = []
cleared = False
events = []
for n, p in enumerate(t.packet):
    if p.trusted_packet_sequence_id != 1:
        bad.append("packet %d has sequence %d" % (n, p.trusted_packet_sequence_id))
    if p.sequence_flags & 1:
        cleared = True
    elif p.HasField("track_event") and not (p.sequence_flags & 2 and cleared):
        bad.append("packet %d uses interned data before it is cleared" % n)
    for e in p.interned_data.event_names:
        if e.iid in names:
            bad.append("name %d interned twice" % e.iid)
        names[e.iid] = e.name
    for e in p.interned_data.debug_annotation_names:
        notes[e.iid] = e.name
    for e in p.interned_data.debug_annotation_string_values:
        if e.iid in strings:
            bad.append("string %d interned twice" % e.iid)
        strings[e.iid] = e.str
    if p.HasField("track_descriptor"):
        d = p.track_descriptor
        if d.uuid in tracks:
            bad.append("track %d twice" % d.uuid)
        if d.parent_uuid and d.parent_uuid not in tracks:
            bad.append("track %d before its parent" % d.uuid)
        tracks[d.uuid] = d
    if p.HasField("track_event"):
        e = p.track_event
        if e.track_uuid not in tracks:
            bad.append("event on unknown track %d" % e.track_uuid)
        if e.type in (T.TYPE_SLICE_BEGIN, T.TYPE_INSTANT) and e.name_iid not in names:
            bad.append("packet %d: name %d not interned" % (n, e.name_iid))
        for a in e.debug_annotations:
            if a.name_iid not in notes:
                bad.append("annotation %d not interned" % a.name_iid)
            if a.HasField("string_value_iid") and a.string_value_iid not in strings:
                bad.append("string %d not interned" % a.string_value_iid)
        if e.type == T.TYPE_COUNTER and not tracks[e.track_uuid].HasField("counter"):
            bad.append("counter value on a slice track")
        flows_begun.update(e.flow_ids); flows_ended.update(e.terminating_flow_ids)
        events.append((p.timestamp, n, e))
events.sort(key=lambda x: (x[0], x[1]))     # as trace_processor does: by time, else in file order
for ts, n, e in events:
    if e.type == T.TYPE_SLICE_BEGIN:
        open_slices[e.track_uuid].append((ts, names[e.name_iid]))
    elif e.type == T.TYPE_SLICE_END:
        if not open_slices[e.track_uuid]:
            bad.append("end without begin on %s at %d" % (tracks[e.track_uuid].name, ts))
        else:
            b, name = open_slices[e.track_uuid].pop()
            top = tracks[e.track_uuid]
            slices[name.split(":")[0]] += 1
            if b > ts:
                bad.append("slice ends before it begins")
for u, s in open_slices.items():
    if s:
        bad.append("%d slices left open on %s" % (len(s), tracks[u].name))
# slices of P and goroutine tracks are one deep
depth = collections.Counter()
for ts, n, e in events:
    if e.track_uuid >> 56 in (1, 2):
        if e.type == T.TYPE_SLICE_BEGIN:
            depth[e.track_uuid] += 1
            if depth[e.track_uuid] > 1:
                bad.append("nested slice on %s at %d" % (tracks[e.track_uuid].name, ts))
        elif e.type == T.TYPE_SLICE_END:
            depth[e.track_uuid] -= 1
if not flows_ended <= flows_begun:
    bad.append("flows end that never began")
print(json.dumps({"packets": len(t.packet), "tracks": len(tracks), "slices": dict(slices), "flows": len(flows_begun), "flows_ended": len(flows_ended), "bad": bad[:20], "nbad": len(bad)}))
sys.exit(1 if bad else 0)
