package gotrace

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	rt "runtime/trace"
	"strings"
	"sync"
	"testing"

	"golang.org/x/exp/trace"
)

// some is a trace of this process: goroutines that wait for each other, a task with a region and logs. A collection makes it ten times as long where the machine is busy.
var some = sync.OnceValue(func() []byte { return record(false) })

func record(collect bool) []byte {
	var b bytes.Buffer
	if err := rt.Start(&b); err != nil {
		return nil
	}
	ctx, task := rt.NewTask(context.Background(), "a task")
	var wg sync.WaitGroup
	ch := make(chan int)
	for i := 0; i < 4; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rt.WithRegion(ctx, "a region", func() { ch <- i })
		}()
	}
	for i := 0; i < 4; i++ {
		<-ch
	}
	wg.Wait()
	if collect {
		runtime.GC()
	}
	rt.Log(ctx, "category", "message")
	task.End()
	rt.Stop()
	return b.Bytes()
}

func recording(t testing.TB, data []byte) string {
	dir := t.TempDir()
	manifest := `{"gander_recording":1,"clock":{"mono_offset_ns":1000},"go":[{"file":"x.trace","program":"x","pid":3}]}`
	if err := os.WriteFile(filepath.Join(dir, "gander.json"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.trace"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Every event of the trace comes, at its time, and is what its Go says.
func TestOpen(t *testing.T) {
	data := record(true)
	if data == nil {
		t.Skip("somebody else traces")
	}
	peer, err := trace.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(recording(t, data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	names := map[string]int{}
	for {
		want, wantErr := peer.ReadEvent()
		ev, err := r.Next()
		if wantErr != err {
			t.Fatalf("%v, want %v", err, wantErr)
		}
		if err == io.EOF {
			break
		}
		e := ev.Go.(trace.Event)
		if e.Kind() != want.Kind() || ev.MonoNs != int64(want.Time()) || ev.TimeNs != ev.MonoNs+1000 || ev.Goroutine != int64(want.Goroutine()) || ev.Thread != int64(want.Thread()) {
			t.Fatalf("%+v, want %v", ev, want)
		}
		switch ev.Name {
		case "go.log":
			if ev.Get("category") != "category" || ev.Get("message") != "message" {
				t.Errorf("%+v", ev)
			}
		case "go.task.begin", "go.task.end":
			if ev.Get("type") != "a task" {
				t.Errorf("%+v", ev)
			}
		case "go.region.begin", "go.region.end":
			if ev.Get("type") != "a region" || ev.Get("goid") != ev.Goroutine {
				t.Errorf("%+v", ev)
			}
		case "go.state":
			if f, ok := ev.Get("func").(string); ok && strings.Contains(f, "gotrace.") {
				names["func"]++
			}
		}
		names[ev.Name]++
	}
	if names["go.region.begin"] != 4 || names["go.region.end"] != 4 || names["go.task.begin"] != 1 || names["go.log"] != 1 || names["go.state"] < 8 || names["go.sync"] < 2 ||
		names["go.range.begin"] == 0 || names["func"] == 0 || len(r.Notes()) != 0 || !r.Traces[0].Go || r.Traces[0].Process != "x" {
		t.Errorf("%v, %q", names, r.Notes())
	}
}

// read takes all that a trace gives; it must come to an end.
func read(t testing.TB, data []byte) (n int, err error) {
	d, err := NewDecoder(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	for ; ; n++ {
		ev, err := d.Next()
		if err != nil {
			return n, err
		}
		if ev.Name == "" || n > len(data) {
			t.Fatalf("event %d of %d bytes: %+v", n, len(data), ev)
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "no Go trace", "go 1.26 tra": "no Go trace", "{\"gander_recording\":1}": "no Go trace", "go 1.x6 trace\x00\x00\x00": "no Go trace",
		"go 1.19 trace\x00\x00\x00": "before Go 1.22", "go 1.99 trace\x00\x00\x00": "1.99", "go 1.26 trace\x00\x00\x00\xff\xff\xff": "batch",
	} {
		if _, err := read(t, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// What is torn or damaged is a note; what is whole comes.
func TestDamage(t *testing.T) {
	data := some()
	if data == nil {
		t.Skip("somebody else traces")
	}
	whole, err := read(t, data)
	if err != io.EOF {
		t.Fatal(err)
	}
	step := len(data)/40 + 1
	if testing.Short() {
		step = len(data)/10 + 1
	}
	for i := 0; i < len(data); i += step {
		if n, err := read(t, data[:i]); n > whole || err == nil {
			t.Errorf("cut off at %d: %d events, %v", i, n, err)
		}
		for _, x := range []byte{1, 0x80, 0xff} {
			broken := bytes.Clone(data)
			broken[i] ^= x
			read(t, broken)
		}
	}
	r, err := Open(recording(t, data[:len(data)/2]))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for err == nil {
		_, err = r.Next()
	}
	if notes := r.Notes(); err != io.EOF || len(notes) != 1 || !strings.Contains(notes[0], "x.trace: ") {
		t.Errorf("%v, %q", err, notes)
	}
}

// endless is a trace of batches of one generation that never ends, each like the one before.
type endless struct {
	head, batch []byte
	at          int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if e.at < len(e.head) {
			k := copy(p[n:], e.head[e.at:])
			n, e.at = n+k, e.at+k
			continue
		}
		k := copy(p[n:], e.batch[(e.at-len(e.head))%len(e.batch):])
		n, e.at = n+k, e.at+k
	}
	return n, nil
}

// A generation that never ends is refused when it is too large, whatever is in it.
func TestMaxGeneration(t *testing.T) {
	e := &endless{head: []byte("go 1.26 trace\x00\x00\x00"), batch: []byte{1, 1, 7, 1, 1, 4}} // of generation 1, thread 7, time 1, one byte: a table of no strings
	d, err := NewDecoder(e)
	if err != nil {
		t.Fatal(err)
	}
	d.(*decoder).in.limit = 1 << 20
	for err == nil {
		_, err = d.Next()
	}
	if err != errLarge || e.at > 2<<20 {
		t.Errorf("%v after %d bytes", err, e.at)
	}
}

func TestMaxAlive(t *testing.T) {
	a := newAlive()
	a.change(true, false)
	a.threads[1], a.tasks[2] = struct{}{}, struct{}{}
	a.enter(5)
	a.enter(5)
	a.leave(6, 1)
	a.leave(5, 1)
	if a.count() != 4 {
		t.Errorf("%d: a goroutine, a thread, a task, a region", a.count())
	}
	a.leave(5, 9)
	a.change(false, true)
	if a.count() != 2 || len(a.regions) != 0 {
		t.Errorf("%d left: a thread and a task", a.count())
	}
}

func FuzzDecoder(f *testing.F) {
	if data := some(); data != nil {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte("go 1.22 trace\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) { read(t, data) })
}
