// Package reader reads recordings that gander record and gander snapshot leave: the events of all programs (and the kernel's, if they were
// recorded) as one stream in the order of time, and where the Go traces lie. Pure Go, standard library only.
//
//	r, err := reader.Open("recording")
//	if err != nil {
//		return err
//	}
//	defer r.Close()
//	for {
//		ev, err := r.Next()
//		if err == io.EOF {
//			break
//		} else if err != nil {
//			return err
//		}
//		fmt.Println(ev.Time(), ev.Name, ev.Get("duration"))
//	}
//
// The events of the Go traces come among them, in the order of time, when the recording is opened by Open of the module gander.internal/gander/gotrace, which
// needs golang.org/x/exp/trace; nothing else changes.
//
// It reads CTF 1.8 and CTF 2 as gander writes them, not any CTF: for that there is libgander-reader, and babeltrace2. What is damaged is left out and told by
// Notes: errors are for what cannot be read at all. Times are nanoseconds, as the fields' names say. Memory: the metadata and a packet of each stream, for Go
// traces what their decoder needs; a recording is not trusted, and what is too large, too deep or too much is refused.
//
// A Reader belongs to one goroutine at a time; several may read one recording, also while it is written. What Next returns is the caller's and stays as it is; the
// Traces that events point to are shared, and not to be changed.
//
// The promise: what is exported here keeps its meaning and its type; new fields, methods and kinds of values may come. docs/reading.md.
package reader

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"
)

// SpanKind says whether an event is one end of a span.
type SpanKind uint8

const (
	SpanNone  SpanKind = iota
	SpanBegin          // fields span_id, parent_id
	SpanEnd            // fields span_id, duration
)

// A Trace is one program's, or the kernel's, part of a recording, or a Go trace of which events are read.
type Trace struct {
	Dir     string // where its streams lie; of a Go trace its file
	Process string // name; "" for the kernel
	Pid     int64  // as the program sees itself, of a Go trace as the collector did; -1: not said
	Kernel  bool
	Env     map[string]string // what the trace says about itself
	Go      bool              // a Go trace
	ErrorNs int64             // its events are placed at most so far from their time; -1: not known

	hostPid  int64 // as the collector saw it
	monoNs   int64 // its time is so far ahead of CLOCK_MONOTONIC
	md       *metadata
	mult     uint64
	shift    uint
	offsetNs uint64
}

// A GoTrace is a file with a Go execution trace, which go tool trace and golang.org/x/exp/trace read. Its clock is CLOCK_MONOTONIC, if it is of Go 1.22 or newer.
type GoTrace struct {
	File        string
	Pid         int64
	BeginMonoNs int64 // about when it begins: its first events may lie a little before
	EndMonoNs   int64
	Program     string
	BootID      string // of the machine's life in which it was recorded; "": not said
}

// An Enum is a value of an enumeration; Label is "" where it has none. Value is an int64 or a uint64.
type Enum struct {
	Label string
	Value any
}

// A Field is a value with its name: int64, uint64, float64, bool, string, []byte, time.Duration, time.Time, Enum, []any (a list), []Field (a struct) or Attrs.
type Field struct {
	Name  string
	Value any
}

// Attrs are a log record's or a span's attributes.
type Attrs []Field

// An Event is what a program, the kernel, or a Go runtime's trace emitted; or, when Lost is not 0, the notice that so many events were lost before.
type Event struct {
	TimeNs  int64 // since 1970
	Name    string
	Level   int // as in syslog: 0 emergency to 7 debug; -1: not said
	Span    SpanKind
	Cut     bool // the program had to cut it
	Trace   *Trace
	Context []Field // goid, tid, cpu, span, key, as they were asked for
	Fields  []Field
	Lost    uint64

	MonoNs    int64 // CLOCK_MONOTONIC; like TimeNs where the recording does not say how they differ
	Goroutine int64 // -1: not known, or none
	Thread    int64 // as the kernel numbers it; -1: not known
	Told      bool  // Goroutine is told by a Go trace, not by the event itself
	Go        any   // of a Go trace: the event as its decoder has it (gotrace: a trace.Event). Else nil
}

// Time is TimeNs as a time.Time.
func (e *Event) Time() time.Time { return time.Unix(0, e.TimeNs) }

// Get is the value of the field, of the attribute, or of the context with this name; nil: there is none.
func (e *Event) Get(name string) any {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	for _, f := range e.Fields {
		if attrs, ok := f.Value.(Attrs); ok {
			for _, a := range attrs {
				if a.Name == name {
					return a.Value
				}
			}
		}
	}
	for _, f := range e.Context {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// A Reader reads one recording.
type Reader struct {
	Dir      string
	Traces   []*Trace
	GoTraces []GoTrace
	Manifest map[string]any // gander.json, docs/recording.md; nil: there is none

	streams  streamHeap
	numbered int
	notes    []string
	held     int64 // bytes of the streams' packets

	goes         goHeap
	onThread     map[int64]int64 // thread: the goroutine on it
	threadOf     map[goroutine]int64
	pids         map[string]int64 // by the name of the trace's directory
	boot, bootOf string
	epochKnown   bool
	epochNs      int64 // CLOCK_REALTIME - CLOCK_MONOTONIC
	errorNs      int64
}

// Options say what is read of a recording. The zero value: what Open reads.
type Options struct {
	// GoTraces makes a decoder of a Go trace's file. With it, their events come among the others; without, Reader.GoTraces names the files. The Reader closes the file.
	GoTraces func(io.Reader) (GoDecoder, error)
}

// Open opens a recording: a directory with gander.json, or any with traces below. What it returns has to be closed.
func Open(dir string) (*Reader, error) { return OpenWith(dir, Options{}) }

// OpenWith is Open with options.
func OpenWith(dir string, o Options) (*Reader, error) {
	r := newReader(dir)
	if err := r.loadManifest(dir); err != nil {
		return nil, err
	}
	var found []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() && e.Name() == "metadata" {
			found = append(found, filepath.Dir(path))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && len(r.GoTraces) == 0 {
		return nil, fmt.Errorf("%s: no trace is there", dir)
	}
	sort.Strings(found)
	for _, path := range found {
		if err := r.addTrace(path); err != nil {
			r.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if o.GoTraces != nil {
		for _, g := range r.GoTraces {
			if err := r.addGoTrace(g, o.GoTraces); err != nil {
				r.Close()
				return nil, err
			}
		}
	}
	heap.Init(&r.streams)
	heap.Init(&r.goes)
	return r, nil
}

func newReader(dir string) *Reader {
	return &Reader{Dir: dir, onThread: map[int64]int64{}, threadOf: map[goroutine]int64{}, pids: map[string]int64{}, errorNs: -1}
}

// Close lets go of the files.
func (r *Reader) Close() error {
	for _, s := range r.streams {
		s.file.Close()
	}
	for _, s := range r.goes {
		s.close()
	}
	r.streams, r.goes = nil, nil
	return nil
}

// Notes are what was damaged or missing so far, as sentences.
func (r *Reader) Notes() []string { return r.notes }

func (r *Reader) note(format string, args ...any) {
	if len(r.notes) < 1000 {
		r.notes = append(r.notes, fmt.Sprintf(format, args...))
	}
}

func (r *Reader) addTrace(dir string) error {
	text, err := readFile(filepath.Join(dir, "metadata"), maxMetadata)
	if err != nil {
		return err
	}
	t, err := r.describe(dir, string(text))
	if err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !e.Type().IsRegular() || e.Name() == "metadata" || e.Name()[0] == '.' {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		r.addStream(t, f.Name(), f)
	}
	return nil
}

// describe adds a trace without streams.
func (r *Reader) describe(dir, metadata string) (*Trace, error) {
	md, err := parseMetadata(metadata)
	if err != nil {
		return nil, err
	}
	t := &Trace{Dir: dir, Process: md.env["procname"], Kernel: md.env["domain"] == "kernel", Env: md.env, Pid: -1, md: md}
	if pid, err := strconv.ParseInt(md.env["vpid"], 10, 64); err == nil {
		t.Pid = pid
	}
	t.setClock()
	if err := r.placeTrace(t); err != nil {
		return nil, err
	}
	r.Traces = append(r.Traces, t)
	return t, nil
}

// placeTrace says how the trace's clock becomes CLOCK_MONOTONIC: it is that itself, or the recording knows how far ahead its wall clock is.
func (r *Reader) placeTrace(t *Trace) error {
	if err := r.checkBoot(t.md.clockUUID, t.Dir); err != nil {
		return err
	}
	t.hostPid = t.Pid
	if pid, ok := r.pids[filepath.Base(t.Dir)]; ok {
		t.hostPid = pid
	}
	if t.ErrorNs = r.errorNs; t.Kernel {
		t.ErrorNs = 1000
	}
	if t.md.freq == 1e9 && t.md.clockUUID != "" {
		t.monoNs = int64(t.offsetNs)
		if !r.epochKnown {
			r.epochKnown, r.epochNs = true, t.monoNs
		}
		return nil
	}
	t.monoNs = r.epochNs
	return nil
}

type source interface {
	io.ReaderAt
	io.Closer
}

// addStream adds a stream that has events; it takes over the file.
func (r *Reader) addStream(t *Trace, name string, f source) {
	s := &stream{r: r, trace: t, file: f, name: name, number: r.numbered}
	r.numbered++
	if s.advance() {
		r.streams = append(r.streams, s)
	} else {
		f.Close()
	}
}

// setClock chooses the largest multiplier that fits: less than 1 ns off over all 64 bits of ticks.
func (t *Trace) setClock() {
	freq := t.md.freq
	for t.shift = 94; ; t.shift-- {
		// (1e9 << shift + freq/2) / freq, which must fit into 64 bits
		hi, lo := shl128(1e9, t.shift)
		lo, carry := bits.Add64(lo, freq/2, 0)
		hi += carry
		if hi < freq {
			t.mult, _ = bits.Div64(hi, lo, freq)
			break
		}
	}
	hi, lo := bits.Mul64(t.md.offset, 1e9)
	ns := uint64(0)
	if hi < freq {
		ns, _ = bits.Div64(hi, lo, freq)
	}
	t.offsetNs = uint64(t.md.offsetS)*1e9 + ns
}

func shl128(v uint64, n uint) (hi, lo uint64) {
	if n >= 64 {
		return v << (n - 64), 0
	}
	return v >> (64 - n), v << n
}

func (t *Trace) toNs(ticks uint64) int64 {
	hi, lo := bits.Mul64(ticks, t.mult)
	if t.shift >= 64 {
		return int64(hi>>(t.shift-64) + t.offsetNs)
	}
	return int64(hi<<(64-t.shift) | lo>>t.shift + t.offsetNs)
}

// Next is the next event in the order of time, those of one time in the order of their streams; io.EOF at the end.
func (r *Reader) Next() (*Event, error) {
	for len(r.goes) > 0 && (len(r.streams) == 0 || r.goes[0].monoNs < r.streams[0].event.MonoNs) {
		if ev := r.nextGo(); ev != nil {
			return ev, nil
		}
	}
	if len(r.streams) == 0 {
		return nil, io.EOF
	}
	s := r.streams[0]
	ev := s.event
	if s.advance() {
		heap.Fix(&r.streams, 0)
	} else {
		s.file.Close()
		heap.Pop(&r.streams)
	}
	r.complete(ev)
	return ev, nil
}

type streamHeap []*stream

func (h streamHeap) Len() int { return len(h) }
func (h streamHeap) Less(i, k int) bool {
	if h[i].event.TimeNs != h[k].event.TimeNs {
		return h[i].event.TimeNs < h[k].event.TimeNs
	}
	return h[i].number < h[k].number
}
func (h streamHeap) Swap(i, k int) { h[i], h[k] = h[k], h[i] }
func (h *streamHeap) Push(x any)   { *h = append(*h, x.(*stream)) }
func (h *streamHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// A stream is read a packet at a time.
type stream struct {
	r       *Reader
	trace   *Trace
	file    source
	name    string
	number  int
	at      int64 // of the next packet
	packets int
	lost    uint64
	class   *streamClass
	context []Field // what packets say beyond where they end
	d       decoder
	event   *Event
	pending uint64 // losses that come before the next event
	beginNs int64
}

// The fields of a packet's context that only say how it is laid out.
var layoutFields = map[string]bool{"timestamp_begin": true, "timestamp_end": true, "content_size": true, "packet_size": true, "packet_seq_num": true,
	"events_discarded": true}

// advance reads the next event into s.event; false at the end.
func (s *stream) advance() bool {
	for {
		if s.class != nil && s.d.at < s.d.end {
			ev, err := s.one()
			if err == nil {
				s.event = ev
				ev.MonoNs = ev.TimeNs - s.trace.monoNs
				ev.place()
				return true
			}
			s.r.note("%s: a packet is broken: %v", s.name, err)
			s.d.at = s.d.end
		}
		ok, err := s.packet()
		if err != nil {
			s.r.note("%s: %v", s.name, err)
		}
		if !ok || err != nil {
			s.r.held -= int64(len(s.d.data))
			s.d.data = nil
			return false
		}
		if s.pending > 0 {
			s.event = &Event{TimeNs: s.beginNs, Level: -1, Trace: s.trace, Lost: s.pending, Goroutine: -1, Thread: -1}
			s.event.MonoNs = s.beginNs - s.trace.monoNs
			s.pending = 0
			return true
		}
	}
}

const packetHead = 4096 // bytes in which a packet's header and context end

// packet reads the next packet; false at the end.
func (s *stream) packet() (bool, error) {
	head := make([]byte, packetHead)
	n, err := s.file.ReadAt(head, s.at)
	if n == 0 {
		return false, nil
	}
	if err != nil && err != io.EOF {
		return false, err
	}
	if n < 4 || binary.LittleEndian.Uint32(head) != 0xc1fc1fc1 {
		return false, errors.New("it ends in something that is no packet")
	}
	d := decoder{data: head[:n], end: uint64(n) * 8, clock: s.d.clock}
	fields, err := d.structure(s.trace.md.packetHeader)
	if err != nil {
		return false, errors.New("it ends within a packet")
	}
	id := uint64(0)
	for _, f := range fields {
		if f.Name == "stream_id" {
			id, _ = f.Value.(uint64)
		}
	}
	class := s.trace.md.streams[id]
	if class == nil {
		return false, fmt.Errorf("a packet of stream %d, which the metadata lacks", id)
	}
	fields, err = d.structure(class.packet)
	if err != nil {
		return false, errors.New("it ends within a packet")
	}
	var begin, content, size, discarded uint64
	s.context = nil
	for _, f := range fields {
		v, _ := f.Value.(uint64)
		switch f.Name {
		case "timestamp_begin":
			begin = v
		case "content_size":
			content = v
		case "packet_size":
			size = v
		case "events_discarded":
			discarded = v
		}
		if !layoutFields[f.Name] {
			s.context = append(s.context, f)
		}
	}
	if d.at == 0 || content < d.at || size < content || size%8 != 0 || size/8 > maxPacket {
		return false, errors.New("a packet's sizes make no sense")
	}
	need := int64((content + 7) / 8)
	if need > largePacket { // not before it is known to be there
		if _, err := s.file.ReadAt(head[:1], s.at+need-1); err != nil {
			return false, errors.New("it ends within a packet")
		}
	}
	if s.r.held += need - int64(len(s.d.data)); s.r.held > maxHeld {
		s.r.held -= need - int64(len(s.d.data))
		return false, fmt.Errorf("more than %d MiB of packets at one time", maxHeld>>20)
	}
	data := make([]byte, need)
	if _, err := s.file.ReadAt(data, s.at); err != nil {
		s.r.held -= need - int64(len(s.d.data))
		return false, errors.New("it ends within a packet")
	}
	s.at += int64(size / 8)
	s.class = class
	s.d = decoder{data: data, at: d.at, end: content, clock: begin}
	s.beginNs = s.trace.toNs(begin)
	if s.packets > 0 && discarded > s.lost {
		s.pending = discarded - s.lost
	}
	s.lost = discarded
	s.packets++
	return true, nil
}

// levels: LTTng's numbers are syslog's but for the several kinds of debug.
func level(lttng int64) int {
	if lttng > 7 {
		return 7
	}
	return int(lttng)
}

func (s *stream) one() (*Event, error) {
	d, c := &s.d, s.class
	d.outer = d.outer[:0]
	first := d.at
	d.align(c.header.align)
	var id uint64
	for i := range c.header.fields {
		_, raw, err := d.value(c.header.fields[i].typ)
		if err != nil {
			return nil, err
		}
		if c.header.fields[i].name == "id" {
			id = raw
		}
	}
	e := c.events[id]
	if e == nil {
		return nil, fmt.Errorf("an event of class %d, which the metadata lacks", id)
	}
	ev := &Event{TimeNs: s.trace.toNs(d.clock), Name: e.name, Level: level(e.loglevel), Span: e.span, Trace: s.trace}
	ev.Cut = c.cut && first/8+1 < uint64(len(d.data)) && d.data[first/8+1]&0x80 != 0
	ev.Context = append(ev.Context, s.context...)
	for _, t := range []*ctype{c.context, e.context} {
		if t == nil {
			continue
		}
		fields, err := d.structure(t)
		if err != nil {
			return nil, err
		}
		ev.Context = append(ev.Context, fields...)
	}
	if e.fields != nil {
		fields, err := d.structure(e.fields)
		if err != nil {
			return nil, err
		}
		ev.Fields = fields
	}
	if d.at == first {
		return nil, errors.New("its events take no room")
	}
	return ev, nil
}
