"""Reads what gander records: recordings with all their sources (any CTF 1.8 or 2 too, LTTng's among them) and Go execution traces.

    import gander

    with gander.Recording("recording") as rec:
        for ev in rec:
            print(ev.time_ns, ev.name, ev.fields)
        print(rec.lost, rec.notes)

    for ev in gander.GoTrace("trace.out"):
        if ev.kind == "StateTransition":
            print(ev.time_ns, ev.goroutine, ev["from"], ev["to"], ev["reason"])

Everything is done by libgander-reader (ctypes, no compiler needed): the one installed with this file, else the system's; GANDER_READER_LIB names another. A reader belongs to one thread at a
time. The promise is docs/reading.md's: what is here keeps its meaning, more may come.
"""
import ctypes as c
import glob
import json
import os

__all__ = ["Recording", "Event", "Source", "GoTrace", "GoEvent", "Error", "version"]


class Error(OSError):
    """errno and what went wrong, as the library says it."""


class _Err(c.Structure):
    _fields_ = [("code", c.c_int), ("text", c.c_char * 480)]


class _Trace(c.Structure):
    _fields_ = [("path", c.c_char_p), ("procname", c.c_char_p), ("hostname", c.c_char_p), ("exe", c.c_char_p), ("tracer", c.c_char_p), ("pid", c.c_int64),
                ("number", c.c_uint32)]


class _Class(c.Structure):
    _fields_ = [("name", c.c_char_p), ("trace", c.POINTER(_Trace)), ("id", c.c_uint64), ("level", c.c_int), ("span", c.c_uint8), ("number", c.c_uint32)]


class _Event(c.Structure):
    _fields_ = [("time_ns", c.c_int64), ("ticks", c.c_uint64), ("class_", c.POINTER(_Class)), ("trace", c.POINTER(_Trace)), ("stream", c.c_uint32),
                ("kind", c.c_uint8), ("cut", c.c_bool), ("lost", c.c_uint64), ("end_ns", c.c_int64), ("size", c.c_uint32)]


class _Bytes(c.Structure):
    _fields_ = [("text", c.c_void_p), ("len", c.c_uint32)]


class _Union(c.Union):
    _fields_ = [("i", c.c_int64), ("u", c.c_uint64), ("f", c.c_double), ("b", _Bytes), ("count", c.c_uint32)]


class _Value(c.Structure):
    _fields_ = [("type", c.c_uint8), ("flags", c.c_uint8), ("next", c.c_uint32), ("name", c.c_char_p), ("label", c.c_char_p), ("v", _Union)]


class _Opts(c.Structure):
    _fields_ = [("size", c.c_size_t), ("flags", c.c_uint), ("begin_mono_ns", c.c_int64), ("end_mono_ns", c.c_int64)]


class _Merged(c.Structure):
    _fields_ = [("time_ns", c.c_int64), ("mono_ns", c.c_int64), ("goroutine", c.c_int64), ("thread", c.c_int64), ("pid", c.c_int64), ("name", c.c_char_p),
                ("lost", c.c_uint64), ("source", c.c_uint32), ("kind", c.c_uint8), ("goroutine_told", c.c_uint8), ("level", c.c_int16),
                ("ctf", c.POINTER(_Event)), ("go", c.c_void_p), ("go_trace", c.c_void_p)]


class _Source(c.Structure):
    _fields_ = [("path", c.c_char_p), ("name", c.c_char_p), ("how", c.c_char_p), ("pid", c.c_int64), ("error_ns", c.c_uint64), ("kind", c.c_uint8)]


_I64, _U64, _F64, _BOOL, _TEXT, _BLOB, _STRUCT, _ARRAY, _SCOPE = range(9)
_ATTRS = 8
_FIELDS = 3


_SONAME = "libgander-reader.so.0"


def _load():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")  # PREFIX/lib, when it is installed
    beside = sorted(glob.glob(os.path.join(here, _SONAME)) + glob.glob(os.path.join(here, "*-linux-*", _SONAME)))
    lib = c.CDLL(os.environ.get("GANDER_READER_LIB") or (beside[0] if beside else _SONAME))
    p, pp, err, u32, u64 = c.c_void_p, c.POINTER(c.c_void_p), c.POINTER(_Err), c.c_uint32, c.c_uint64
    for name, res, *args in (
            ("gander_reader_version", c.c_char_p),
            ("gander_recording_open", c.c_int, pp, c.POINTER(c.c_char_p), c.c_uint, c.POINTER(_Opts), err),
            ("gander_recording_free", None, p),
            ("gander_recording_next", c.c_int, p, c.POINTER(_Merged), err),
            ("gander_recording_values", c.c_int, p, c.POINTER(c.POINTER(_Value))),
            ("gander_recording_sources", u32, p),
            ("gander_recording_source", c.c_int, p, u32, c.POINTER(_Source)),
            ("gander_recording_notes", u32, p),
            ("gander_recording_note", c.c_char_p, p, u32),
            ("gander_recording_lost", u64, p),
            ("gander_gotrace_open", c.c_int, pp, c.c_char_p, p, err),
            ("gander_gotrace_free", None, p),
            ("gander_gotrace_next", c.c_int, p, c.POINTER(_GoEvent), err),
            ("gander_gotrace_string", c.c_void_p, p, u32),
            ("gander_gotrace_string_len", u32, p, u32),
            ("gander_gotrace_stack", c.c_uint, p, u32, c.POINTER(c.POINTER(u32))),
            ("gander_gotrace_frame", c.POINTER(_Frame), p, u32),
            ("gander_gotrace_kind_name", c.c_char_p, c.c_uint),
            ("gander_gotrace_go_state_name", c.c_char_p, c.c_uint),
            ("gander_gotrace_proc_state_name", c.c_char_p, c.c_uint)):
        fn = getattr(lib, name)
        fn.restype, fn.argtypes = res, args
    return lib


_lib = None


def _the_lib():
    global _lib
    if _lib is None:
        _lib = _load()
    return _lib


def version():
    """The library's version."""
    return _the_lib().gander_reader_version().decode()


def _text(b):
    return b.decode(errors="replace") if b else ""


def _check(n, err):
    if n < 0:
        raise Error(-n, _text(err.text))
    return n


class Source:
    """Where events come from: name ("shop 1234", "kernel"), kind ("events", "kernel", "go", "other"), path, pid; how its clock was brought onto the one, and by how many ns its
    events may be off (None: not known)."""

    def __init__(self, s):
        self.path, self.name, self.how = (_text(x) for x in (s.path, s.name, s.how))
        self.pid = s.pid if s.pid >= 0 else None
        self.error_ns = s.error_ns if s.error_ns < 2**64 - 1 else None
        self.kind = _KINDS[s.kind]


_KINDS = ("events", "kernel", "go", "other")


class Event:
    """name, time_ns (since 1970), mono_ns, level (syslog's, -1: not said), span ("", "begin", "end"), cut, process, pid, goroutine, thread (None: not known;
    told: by a Go trace), kind ("events", "kernel", "go", "other"), source (an index of Recording.sources), context and fields (dicts).
    With lost not 0 it is the notice that so many events were lost until then, and has no name."""
    __slots__ = ("time_ns", "mono_ns", "name", "level", "span", "cut", "process", "pid", "goroutine", "thread", "told", "kind", "source", "context", "fields", "lost")

    def get(self, name, default=None):
        """A field's, attribute's or context's value."""
        for where in (self.fields, *(v for v in self.fields.values() if isinstance(v, dict)), self.context):
            if name in where:
                return where[name]
        return default


def _value(v, i):
    """The value at i as Python has it, and the index behind it."""
    x = v[i]
    if x.label is not None:
        return _text(x.label), x.next
    if x.type == _I64:
        return x.v.i, x.next
    if x.type == _U64:
        return x.v.u, x.next
    if x.type == _TEXT:
        return c.string_at(x.v.b.text, x.v.b.len).decode(errors="replace"), x.next
    if x.type == _BOOL:
        return x.v.u != 0, x.next
    if x.type == _F64:
        return x.v.f, x.next
    if x.type == _BLOB:
        return c.string_at(x.v.b.text, x.v.b.len), x.next
    if x.type == _STRUCT:
        return _members(v, i + 1, x.next), x.next
    out, k = [], i + 1
    while k < x.next:
        e, k = _value(v, k)
        out.append(e)
    if x.flags & _ATTRS:
        return {e["key"]: e["value"] for e in out}, x.next
    return out, x.next


def _members(v, i, end):
    out = {}
    while i < end:
        name = _text(v[i].name)
        out[name], i = _value(v, i)
    return out


class Recording:
    """All that recordings hold, in the order of time: their programs' events, the kernel's, those of their Go traces (go.state and so on). A path is a recording, a directory with
    CTF traces below, or a Go trace. begin_mono_ns, end_mono_ns: only of this time; go=False: without Go traces; stacks: Go's events say in which function."""

    def __init__(self, *paths, begin_mono_ns=0, end_mono_ns=0, go=True, stacks=False):
        self._r, err = c.c_void_p(), _Err()
        list_ = (c.c_char_p * len(paths))(*(os.fsencode(p) for p in paths))
        opts = _Opts(c.sizeof(_Opts), (0 if go else 1) | (2 if stacks else 0), begin_mono_ns, end_mono_ns)
        _check(_the_lib().gander_recording_open(c.byref(self._r), list_, len(paths), c.byref(opts), c.byref(err)), err)
        self.go_traces = []  # files of Go traces that belong to it, for GoTrace
        self.manifest = None  # gander.json of the first that has one
        for p in paths:
            try:
                with open(os.path.join(os.fspath(p), "gander.json"), encoding="utf-8") as f:
                    m = json.load(f)
            except OSError:
                continue
            self.manifest = self.manifest or m
            self.go_traces += [os.path.join(os.fspath(p), g["file"]) for g in m.get("go", []) if g.get("file")]

    def close(self):
        if self._r:
            _the_lib().gander_recording_free(self._r)
            self._r = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    __del__ = close

    @property
    def sources(self):
        out, s = [], _Source()
        for i in range(_lib.gander_recording_sources(self._r)):
            _lib.gander_recording_source(self._r, i, c.byref(s))
            out.append(Source(s))
        return out

    @property
    def notes(self):
        """What was missing or broken so far."""
        return [_text(_lib.gander_recording_note(self._r, i)) for i in range(_lib.gander_recording_notes(self._r))]

    @property
    def lost(self):
        """Events lost so far, as the streams say."""
        return _lib.gander_recording_lost(self._r)

    def __iter__(self):
        ev, err, v = _Merged(), _Err(), c.POINTER(_Value)()
        while _check(_lib.gander_recording_next(self._r, c.byref(ev), c.byref(err)), err):
            yield self._event(ev, v)

    def _event(self, ev, v):
        out, ctf = Event(), ev.ctf.contents
        out.time_ns, out.mono_ns, out.name, out.lost, out.level, out.source = ev.time_ns, ev.mono_ns, _text(ev.name), ev.lost, ev.level, ev.source
        out.goroutine, out.thread, out.pid = (x if x >= 0 else None for x in (ev.goroutine, ev.thread, ev.pid))
        out.kind, out.told, out.cut = _KINDS[ev.kind], bool(ev.goroutine_told), bool(ctf.cut)
        out.span, out.context, out.fields, out.process = "", {}, {}, _text(ctf.trace.contents.procname) if ctf.trace else ""
        if not ctf.class_:
            return out
        out.span = ("", "begin", "end")[ctf.class_.contents.span]
        n, i = _lib.gander_recording_values(self._r, c.byref(v)), 0
        if n < 0:
            raise Error(-n, "cannot read the values of " + out.name)
        while i < n:
            (out.fields if v[i].v.count == _FIELDS else out.context).update(_members(v, i + 1, v[i].next))
            i = v[i].next
        return out


# ---- Go execution traces


class _Frame(c.Structure):
    _fields_ = [("pc", c.c_uint64), ("line", c.c_uint64), ("func", c.c_uint32), ("file", c.c_uint32)]


def _part(*fields):
    return type("_Part", (c.Structure,), {"_fields_": list(fields)})


class _GoUnion(c.Union):
    _fields_ = [
        ("transition", _part(("id", c.c_int64), ("resource", c.c_uint8), ("from", c.c_uint8), ("to", c.c_uint8), ("reason", c.c_uint32), ("stack", c.c_uint32))),
        ("metric", _part(("id", c.c_uint8), ("name", c.c_uint32), ("value", c.c_uint64))),
        ("label", _part(("goroutine", c.c_int64), ("label", c.c_uint32))),
        ("range", _part(("scope_id", c.c_int64), ("scope", c.c_uint8), ("id", c.c_uint8), ("name", c.c_uint32), ("swept_bytes", c.c_uint64),
                        ("reclaimed_bytes", c.c_uint64))),
        ("task", _part(("id", c.c_uint64), ("parent", c.c_uint64), ("type", c.c_uint32))),
        ("region", _part(("task", c.c_uint64), ("type", c.c_uint32))),
        ("log", _part(("task", c.c_uint64), ("message", c.c_void_p), ("message_len", c.c_uint32), ("category", c.c_uint32))),
        ("sync", _part(("n", c.c_uint32), ("has_clock", c.c_bool), ("wall_nsec", c.c_uint32), ("wall_sec", c.c_int64), ("mono_ns", c.c_uint64),
                       ("trace_ns", c.c_int64), ("exp_batches", c.c_uint32))),
        ("exp", _part(("args", c.c_uint64 * 3), ("nargs", c.c_uint8), ("experiment", c.c_uint8)))]


class _GoEvent(c.Structure):
    _fields_ = [("time_ns", c.c_int64), ("thread", c.c_int64), ("proc", c.c_int64), ("goroutine", c.c_int64), ("stack", c.c_uint32), ("kind", c.c_uint8),
                ("wire", c.c_uint8), ("u", _GoUnion)]


# by kind: the union's member, and which of its fields are ids of strings
_PARTS = {"Metric": ("metric", ("name",)), "Label": ("label", ("label",)), "RangeBegin": ("range", ("name",)), "RangeActive": ("range", ("name",)),
          "RangeEnd": ("range", ("name",)), "TaskBegin": ("task", ("type",)), "TaskEnd": ("task", ("type",)), "RegionBegin": ("region", ("type",)),
          "RegionEnd": ("region", ("type",)), "Log": ("log", ("category",)), "StateTransition": ("transition", ("reason",)), "Sync": ("sync", ())}
_RESOURCES = ("", "goroutine", "proc", "thread")


class GoEvent(dict):
    """time_ns, kind (as golang.org/x/exp/trace names it), goroutine, proc, thread (None: none); what is particular to the kind is in the dict: of a
    StateTransition resource, id, from, to, reason; of a Log task, category, message; and so on. stack and at_stack are lists of (function, file, line), innermost first:
    where the event happened, and of a transition where the goroutine stood."""
    __slots__ = ("time_ns", "kind", "goroutine", "proc", "thread", "stack", "at_stack")


class GoTrace:
    """A Go execution trace, of any version, as an iterable of GoEvent. stacks=False is faster."""

    def __init__(self, path, stacks=True):
        self._t, self._stacks, self._frames, err = c.c_void_p(), stacks, {}, _Err()
        _check(_the_lib().gander_gotrace_open(c.byref(self._t), os.fsencode(path), None, c.byref(err)), err)
        self._kinds = [_text(_lib.gander_gotrace_kind_name(i)) for i in range(15)]

    def close(self):
        if self._t:
            _the_lib().gander_gotrace_free(self._t)
            self._t = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    __del__ = close

    def _string(self, i):
        return c.string_at(_lib.gander_gotrace_string(self._t, i), _lib.gander_gotrace_string_len(self._t, i)).decode(errors="replace")

    def _stack(self, i):
        frames = c.POINTER(c.c_uint32)()
        out = []
        for k in range(_lib.gander_gotrace_stack(self._t, i, c.byref(frames)) if i else 0):
            if frames[k] not in self._frames:
                f = _lib.gander_gotrace_frame(self._t, frames[k]).contents
                self._frames[frames[k]] = (self._string(f.func), self._string(f.file), f.line)
            out.append(self._frames[frames[k]])
        return out

    def __iter__(self):
        ev, err = _GoEvent(), _Err()
        while _check(_lib.gander_gotrace_next(self._t, c.byref(ev), c.byref(err)), err):
            yield self._event(ev)

    def _event(self, ev):
        out = GoEvent()
        out.time_ns, out.kind = ev.time_ns, self._kinds[ev.kind]
        out.goroutine, out.proc, out.thread = (x if x != -1 else None for x in (ev.goroutine, ev.proc, ev.thread))
        out.stack = self._stack(ev.stack) if self._stacks else []
        out.at_stack = []
        member, strings = _PARTS.get(out.kind, (None, ()))
        if not member:
            return out
        part = getattr(ev.u, member)
        for name, _ in part._fields_:
            out[name] = self._string(getattr(part, name)) if name in strings else getattr(part, name)
        if member == "transition":
            states = _lib.gander_gotrace_go_state_name if part.resource == 1 else _lib.gander_gotrace_proc_state_name
            out["resource"], out["from"], out["to"] = _RESOURCES[part.resource], _text(states(getattr(part, "from"))), _text(states(part.to))
            out.at_stack = self._stack(out.pop("stack")) if self._stacks else []
        elif member == "range":
            out["scope"] = _RESOURCES[part.scope]
        elif member == "log":
            out["message"] = c.string_at(part.message, out.pop("message_len")).decode(errors="replace") if part.message else ""
        return out
