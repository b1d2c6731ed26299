package reader

import (
	"container/heap"
	"io"
	"os"
)

// A GoDecoder reads one Go execution trace for a Reader. Next fills MonoNs, Name, Goroutine, Thread, Context and Fields as docs/timeline.md has them, and Go; io.EOF
// at the end. An error ends the trace and becomes a note.
type GoDecoder interface {
	Next() (*Event, error)
}

// goErrorNs: Go's traces count in steps of 64 ns, rounded down.
const goErrorNs = 64

// maxRunning bounds what is kept of who runs where.
const maxRunning = 1 << 22

// A goSource is a Go trace, which is opened when its time comes.
type goSource struct {
	trace   *Trace
	open    func(io.Reader) (GoDecoder, error)
	file    *os.File
	decoder GoDecoder
	event   *Event
	monoNs  int64
	number  int
}

type goroutine struct{ pid, id int64 }

func (r *Reader) addGoTrace(g GoTrace, open func(io.Reader) (GoDecoder, error)) error {
	if err := r.checkBoot(g.BootID, g.File); err != nil {
		return err
	}
	s := &goSource{trace: &Trace{Dir: g.File, Process: g.Program, Pid: g.Pid, Go: true, ErrorNs: goErrorNs}, open: open, monoNs: g.BeginMonoNs, number: len(r.goes)}
	r.Traces = append(r.Traces, s.trace)
	r.goes = append(r.goes, s)
	// Where it begins, for gander.json says only about when. It is closed again, so that of many no more are open than are going on at one time.
	if ev, err := s.read(); err == nil {
		s.monoNs = ev.MonoNs
	}
	s.close()
	return nil
}

// read gives the trace's next event, the first time its first.
func (s *goSource) read() (*Event, error) {
	if s.decoder == nil {
		var err error
		if s.file, err = openFile(s.trace.Dir); err != nil {
			return nil, err
		}
		if s.decoder, err = s.open(s.file); err != nil {
			return nil, err
		}
	}
	return s.decoder.Next()
}

// advance reads the next event into s.event; false at the end.
func (s *goSource) advance(r *Reader) bool {
	var err error
	if s.event, err = s.read(); err == nil {
		s.monoNs = s.event.MonoNs
		return true
	}
	s.event = nil
	if err != io.EOF {
		r.note("%s: %v", s.trace.Dir, err)
	}
	s.close()
	return false
}

func (s *goSource) close() {
	if s.file != nil {
		s.file.Close()
	}
	s.file, s.decoder = nil, nil
}

// nextGo takes the event of the Go trace that comes first; nil: it has been opened only now.
func (r *Reader) nextGo() *Event {
	s := r.goes[0]
	ev := s.event
	if s.advance(r) {
		heap.Fix(&r.goes, 0)
	} else {
		heap.Pop(&r.goes)
	}
	if ev != nil {
		ev.TimeNs, ev.Level, ev.Trace = ev.MonoNs+r.epochNs, -1, s.trace
		r.track(s.trace.Pid, ev)
	}
	return ev
}

// track follows which goroutine is on which thread.
func (r *Reader) track(pid int64, ev *Event) {
	if ev.Goroutine >= 0 && ev.Thread > 0 {
		r.runs(goroutine{pid, ev.Goroutine}, ev.Thread)
	}
	if ev.Name != "go.state" {
		return
	}
	id, _ := ev.Get("goroutine").(int64)
	g := goroutine{pid, id}
	switch ev.Get("to") {
	case "Running", "Syscall":
		if ev.Thread > 0 && ev.Get("from") != "Undetermined" {
			r.runs(g, ev.Thread)
		}
	default:
		if tid, ok := r.threadOf[g]; ok {
			if r.onThread[tid] == id {
				delete(r.onThread, tid)
			}
			delete(r.threadOf, g)
		}
	}
}

func (r *Reader) runs(g goroutine, tid int64) {
	if len(r.threadOf) < maxRunning && len(r.onThread) < maxRunning {
		r.onThread[tid], r.threadOf[g] = g.id, tid
	}
}

// place fills who an event of a program or of the kernel is of, as far as it says so itself.
func (ev *Event) place() {
	ev.Goroutine, ev.Thread = -1, -1
	for _, f := range ev.Context {
		switch f.Name {
		case "goid":
			if id, ok := number(f.Value); ok && id > 0 {
				ev.Goroutine = id
			}
		case "vtid", "tid":
			if id, ok := number(f.Value); ok {
				ev.Thread = id
			}
		}
	}
}

func number(v any) (int64, bool) {
	switch v := v.(type) {
	case uint64:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

// complete adds what Go traces tell.
func (r *Reader) complete(ev *Event) {
	if ev.Goroutine < 0 && ev.Thread > 0 {
		if id, ok := r.onThread[ev.Thread]; ok {
			ev.Goroutine, ev.Told = id, true
		}
	} else if ev.Thread < 0 && ev.Goroutine >= 0 {
		if tid, ok := r.threadOf[goroutine{ev.Trace.hostPid, ev.Goroutine}]; ok {
			ev.Thread = tid
		}
	}
}

type goHeap []*goSource

func (h goHeap) Len() int { return len(h) }
func (h goHeap) Less(i, k int) bool {
	if h[i].monoNs != h[k].monoNs {
		return h[i].monoNs < h[k].monoNs
	}
	return h[i].number < h[k].number
}
func (h goHeap) Swap(i, k int) { h[i], h[k] = h[k], h[i] }
func (h *goHeap) Push(x any)   { *h = append(*h, x.(*goSource)) }
func (h *goHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
