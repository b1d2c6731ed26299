// Package gotrace reads recordings with the events of their Go traces among those of the programs and of the kernel, all in the order of CLOCK_MONOTONIC.
//
//	r, err := gotrace.Open("recording")
//	if err != nil {
//		return err
//	}
//	defer r.Close()
//	for ev, err := r.Next(); err != io.EOF; ev, err = r.Next() {
//		fmt.Println(ev.Time(), ev.Goroutine, ev.Name, ev.Get("reason"))
//	}
//
// What it returns is a reader.Reader: gander.internal/gander/reader has the types, and says what belongs to whom. This is a module of its own because it needs
// golang.org/x/exp/trace, which reads the traces; the agent's module needs nothing but the standard library.
//
// A Go event is named go.state, go.range.begin and so on, with the fields that docs/timeline.md lists, and its Go is the trace.Event itself:
//
//	if e, ok := ev.Go.(trace.Event); ok && e.Kind() == trace.EventStateTransition {
//		for f := range e.Stack().Frames() {
//
// Traces of Go 1.22 and newer are read; their clock is CLOCK_MONOTONIC in steps of 64 ns, rounded down. What is older counts from a begin of its own: it is left
// out and named by Notes; gander events merges it as well as can be. Of a trace that breaks off what is whole is read, and Notes has the reason.
//
// Memory: of each trace that is going on at that time a generation, and what is alive in it. Beyond MaxGeneration and MaxAlive a trace ends with a note.
package gotrace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"gander.internal/gander/reader"
	"golang.org/x/exp/trace"
)

// Limits of one Go trace, which may come from anywhere. The runtime closes a generation once a second.
const (
	MaxGeneration = 128 << 20 // bytes, of which one made to hurt makes 15 times as much memory
	MaxAlive      = 4 << 20   // goroutines, Ps, tasks and regions at one time
)

// Open opens a recording as reader.Open does, with the events of its Go traces. Traces of different boots are an error.
func Open(dir string) (*reader.Reader, error) {
	return reader.OpenWith(dir, reader.Options{GoTraces: NewDecoder})
}

// NewDecoder reads a Go trace by itself, for reader.Options. Events have no TimeNs and no Trace then. It does not close r, and belongs to one goroutine at a time.
func NewDecoder(r io.Reader) (reader.GoDecoder, error) {
	in := &limited{r: r, limit: MaxGeneration, left: MaxGeneration}
	b := bufio.NewReaderSize(in, 64<<10)
	head, err := b.Peek(16)
	if err != nil && err != io.EOF {
		return nil, err
	}
	version, ok := bytes.CutPrefix(head, []byte("go 1."))
	version, _, end := bytes.Cut(version, []byte(" trace\x00\x00\x00"))
	minor, err := strconv.Atoi(string(version))
	if !ok || !end || err != nil {
		return nil, errors.New("no Go trace")
	}
	if minor < 22 {
		return nil, fmt.Errorf("a trace of Go 1.%d: before Go 1.22 a trace's clock is its own, and it is left out", minor)
	}
	d := &decoder{in: in, alive: newAlive()}
	if d.r, err = trace.NewReader(b); err != nil {
		return nil, err
	}
	return d, nil
}

var (
	errLarge = fmt.Errorf("a generation of more than %d MiB", MaxGeneration>>20)
	errAlive = fmt.Errorf("more than %d goroutines, tasks and regions at one time", MaxAlive)
)

// limited ends a trace of which one step would take too much memory: a generation is read in one step.
type limited struct {
	r     io.Reader
	limit int
	left  int
	over  bool
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		l.over = true
		return 0, errLarge
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

type decoder struct {
	in *limited
	r  *trace.Reader
	alive
}

// alive counts what the trace's reader keeps beyond a generation.
type alive struct {
	resources int // goroutines and Ps
	threads   map[trace.ThreadID]struct{}
	tasks     map[trace.TaskID]struct{}
	regions   map[trace.GoID]int
	inRegions int
}

func newAlive() alive {
	return alive{threads: map[trace.ThreadID]struct{}{}, tasks: map[trace.TaskID]struct{}{}, regions: map[trace.GoID]int{}}
}

func (a *alive) count() int { return a.resources + len(a.threads) + len(a.tasks) + a.inRegions }

// Next is the next event that is shown.
func (d *decoder) Next() (out *reader.Event, err error) {
	defer func() {
		if p := recover(); p != nil { // the trace may say anything
			out, err = nil, fmt.Errorf("it cannot be read: %v", p)
		}
	}()
	for {
		d.in.left = d.in.limit
		e, err := d.r.ReadEvent()
		switch {
		case d.in.over:
			return nil, errLarge
		case err != nil:
			return nil, err
		case d.count() > MaxAlive:
			return nil, errAlive
		}
		if out := d.event(e); out != nil {
			return out, nil
		}
	}
}

type fields []reader.Field

func (f *fields) add(name string, v any) { *f = append(*f, reader.Field{Name: name, Value: v}) }

// text: a trace does not say whether a string is empty or not there.
func (f *fields) text(name, s string) {
	if s != "" {
		f.add(name, s)
	}
}

// function is the innermost one of the stack.
func (f *fields) function(s trace.Stack) {
	for frame := range s.Frames() {
		f.text("func", frame.Func)
		break
	}
}

func (d *decoder) event(e trace.Event) *reader.Event {
	out := &reader.Event{MonoNs: int64(e.Time()), Level: -1, Goroutine: int64(e.Goroutine()), Thread: int64(e.Thread()), Go: e}
	var context, f fields
	if out.Goroutine >= 0 {
		context.add("goid", out.Goroutine)
	}
	if out.Thread >= 0 {
		context.add("tid", out.Thread)
	}
	if proc := int64(e.Proc()); proc >= 0 {
		context.add("proc", proc)
	}
	if out.Thread >= 0 {
		d.threads[e.Thread()] = struct{}{}
	}
	switch e.Kind() {
	case trace.EventStateTransition:
		out.Name = d.transition(e, &f)
	case trace.EventRangeBegin, trace.EventRangeActive, trace.EventRangeEnd:
		out.Name = map[trace.EventKind]string{trace.EventRangeBegin: "go.range.begin", trace.EventRangeActive: "go.range.active", trace.EventRangeEnd: "go.range.end"}[e.Kind()]
		r := e.Range()
		f.text("name", r.Name)
		switch r.Scope.Kind {
		case trace.ResourceGoroutine:
			f.add("goroutine", int64(r.Scope.Goroutine()))
		case trace.ResourceProc:
			f.add("proc", int64(r.Scope.Proc()))
		}
	case trace.EventTaskBegin, trace.EventTaskEnd:
		t := e.Task()
		if out.Name = "go.task.begin"; e.Kind() == trace.EventTaskBegin {
			d.tasks[t.ID] = struct{}{}
		} else {
			out.Name = "go.task.end"
			delete(d.tasks, t.ID)
		}
		f.add("task", uint64(t.ID))
		if t.Parent != trace.NoTask {
			f.add("parent", uint64(t.Parent))
		}
		f.text("type", t.Type)
	case trace.EventRegionBegin, trace.EventRegionEnd:
		if out.Name = "go.region.begin"; e.Kind() == trace.EventRegionBegin {
			d.enter(e.Goroutine())
		} else {
			out.Name = "go.region.end"
			d.leave(e.Goroutine(), 1)
		}
		f.add("task", uint64(e.Region().Task))
		f.text("type", e.Region().Type)
	case trace.EventLog:
		out.Name = "go.log"
		l := e.Log()
		f.add("task", uint64(l.Task))
		f.text("category", l.Category)
		f.add("message", l.Message)
	case trace.EventMetric:
		out.Name = "go.metric"
		m := e.Metric()
		f.text("name", m.Name)
		f.add("value", m.Value.Uint64())
	case trace.EventLabel:
		out.Name = "go.label"
		f.text("label", e.Label().Label)
	case trace.EventStackSample:
		out.Name = "go.sample"
		f.function(e.Stack())
	case trace.EventSync:
		out.Name = "go.sync"
		f.add("n", uint64(e.Sync().N))
	case trace.EventExperimental:
		out.Name = "go.experimental"
		f.text("name", e.Experimental().Name)
	default:
		return nil
	}
	out.Context, out.Fields = context, f
	return out
}

// transition is of a goroutine or a P.
func (d *decoder) transition(e trace.Event, f *fields) string {
	st := e.StateTransition()
	name := "go.state"
	if st.Resource.Kind == trace.ResourceGoroutine {
		from, to := st.Goroutine()
		f.add("goroutine", int64(st.Resource.Goroutine()))
		f.add("from", from.String())
		f.add("to", to.String())
		d.change(from == trace.GoNotExist || from == trace.GoUndetermined, to == trace.GoNotExist)
		if to == trace.GoNotExist {
			d.leave(st.Resource.Goroutine(), d.regions[st.Resource.Goroutine()])
		}
	} else {
		name = "go.proc"
		from, to := st.Proc()
		f.add("proc", int64(st.Resource.Proc()))
		f.add("from", from.String())
		f.add("to", to.String())
		d.change(from == trace.ProcNotExist || from == trace.ProcUndetermined, to == trace.ProcNotExist)
	}
	f.text("reason", st.Reason)
	if st.Stack != trace.NoStack {
		f.function(st.Stack)
	} else {
		f.function(e.Stack())
	}
	return name
}

func (a *alive) change(comes, goes bool) {
	if comes {
		a.resources++
	}
	if goes {
		a.resources--
	}
}

func (a *alive) enter(g trace.GoID) {
	a.regions[g]++
	a.inRegions++
}

// leave ends regions of a goroutine, as many of n as it is known to be in.
func (a *alive) leave(g trace.GoID, n int) {
	n = min(n, a.regions[g])
	a.inRegions -= n
	if a.regions[g] -= n; a.regions[g] == 0 {
		delete(a.regions, g)
	}
}
