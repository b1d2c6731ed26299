package reader

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

const boot = "b3ae1058-b7bf-468f-862d-6bd9e652db11"

// scripted is a Go trace that a test has made up.
type scripted struct {
	events []*Event
	end    error
}

func (s *scripted) Next() (*Event, error) {
	if len(s.events) == 0 {
		return nil, s.end
	}
	ev := *s.events[0]
	s.events = s.events[1:]
	return &ev, nil
}

func state(mono, g, thread int64, from, to string) *Event {
	return &Event{MonoNs: mono, Name: "go.state", Goroutine: -1, Thread: thread, Fields: []Field{{"goroutine", g}, {"from", from}, {"to", to}}}
}

// recording has the events of testStream, with MonoNs base + 10 and base + 15, and two Go traces.
func recording(t *testing.T, manifest string) string {
	dir := t.TempDir()
	for _, name := range []string{"ctf", "ctf/shop-7", "go"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	metadata := strings.Replace(testMetadata, "freq = 2000000000;", `freq = 2000000000; uuid = "`+boot+`";`, 1)
	metadata = strings.Replace(metadata, "u64_t _goid", "u64_t _vtid", 1)
	write(t, filepath.Join(dir, "ctf", "shop-7"), metadata, testStream())
	for name, text := range map[string]string{"gander.json": manifest, "go/a.trace": "a", "go/b.trace": "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const base = 100e9 + 250 + 1<<47 - 40e9 // of the counter's 0, with the offset below

var testManifest = `{"gander_recording":1,"host":"h","clock":{"mono_offset_ns":40000000000,"error_ns":250.5},"programs":[{"pid":70,"trace":"shop-7"}],
	"go":[{"file":"go/a.trace","program":"shop","pid":70,"begin_mono_ns":5,"end_mono_ns":9,"boot_id":"` + boot + `"},{"file":"go/b.trace","program":"b","pid":71,"boot_id":"` + boot + `"},
	{"file":"../else","pid":1},{"file":"/etc/passwd","pid":1},{"program":"none"}]}`

func scripts(open *[]string, a, b []*Event, end error) Options {
	return Options{GoTraces: func(r io.Reader) (GoDecoder, error) {
		name, err := io.ReadAll(r)
		*open = append(*open, string(name))
		if string(name) == "b" {
			return &scripted{b, io.EOF}, err
		}
		return &scripted{a, end}, err
	}}
}

func TestMerge(t *testing.T) {
	dir := recording(t, testManifest)
	var opened []string
	a := []*Event{
		state(base+2, 5, 9, "Runnable", "Running"),
		state(base+12, 5, 9, "Running", "Waiting"),
		{MonoNs: base + 13, Name: "go.log", Goroutine: 6, Thread: 9},
		state(base+20, 6, 9, "Syscall", "NotExist"),
	}
	b := []*Event{{MonoNs: base + 10, Name: "go.sync", Goroutine: -1, Thread: -1}, {MonoNs: base + 12, Name: "go.sync", Goroutine: -1, Thread: -1}}
	r, err := OpenWith(dir, scripts(&opened, a, b, errors.New("it is torn")))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for _, ev := range all(r) {
		if ev.Lost > 0 {
			continue
		}
		if ev.TimeNs != ev.MonoNs+40e9 {
			t.Errorf("%s: %d and %d", ev.Name, ev.TimeNs, ev.MonoNs)
		}
		got = append(got, fmt.Sprint(ev.MonoNs-base, " ", ev.Trace.Process, " ", ev.Name, " ", ev.Goroutine, " ", ev.Thread, " ", ev.Told, " ", ev.Level))
	}
	want := []string{
		"2 shop go.state -1 9 false -1",
		`10 a"b* a.end 5 9 true 7`, // events of programs come first among those of one time
		"10 b go.sync -1 -1 false -1",
		"12 shop go.state -1 9 false -1",
		"12 b go.sync -1 -1 false -1",
		"13 shop go.log 6 9 false -1",
		`15 a"b* b 6 9 true 3`,
		"20 shop go.state -1 9 false -1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if notes := r.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "a.trace: it is torn") {
		t.Errorf("notes %q", notes)
	}
	if strings.Join(opened, "") != "abab" { // where they begin, then when their time has come
		t.Errorf("opened %q", opened)
	}
	if len(r.Traces) != 3 || r.Traces[0].ErrorNs != 251 || !r.Traces[1].Go || r.Traces[1].ErrorNs != 64 || len(r.GoTraces) != 2 || r.GoTraces[0].Program != "shop" {
		t.Errorf("traces %+v", r.Traces)
	}
}

// A Go event's thread tells of C events and the kernel's, its goroutine of events that have only that.
func TestComplete(t *testing.T) {
	r := newReader("")
	r.track(70, state(1, 5, 9, "Runnable", "Running"))
	trace := &Trace{hostPid: 70}
	ev := &Event{Trace: trace, Context: []Field{{"goid", uint64(5)}}}
	ev.place()
	if r.complete(ev); ev.Thread != 9 || ev.Told {
		t.Errorf("%+v", ev)
	}
	ev = &Event{Trace: &Trace{hostPid: 71}, Context: []Field{{"goid", uint64(5)}}}
	ev.place()
	if r.complete(ev); ev.Thread != -1 || ev.Goroutine != 5 {
		t.Errorf("another program's: %+v", ev)
	}
	ev = &Event{Trace: trace, Context: []Field{{"vtid", uint64(9)}, {"goid", uint64(0)}}}
	ev.place()
	if r.complete(ev); ev.Goroutine != 5 || !ev.Told {
		t.Errorf("of no goroutine by itself: %+v", ev)
	}
	r.track(70, state(2, 6, 8, "Undetermined", "Running")) // where it has been running before is not known
	r.track(70, state(3, 5, 9, "Running", "Waiting"))
	if len(r.onThread) != 0 || len(r.threadOf) != 0 {
		t.Errorf("%v %v", r.onThread, r.threadOf)
	}
}

func TestMergeRefused(t *testing.T) {
	var opened []string
	other := strings.Replace(testManifest, `"boot_id":"b3`, `"boot_id":"c3`, 1)
	for manifest, want := range map[string]string{other: "different machines or boots", "{": "gander.json", `{"gander_recording":2}`: "gander.json", `[]`: "gander.json"} {
		if _, err := OpenWith(recording(t, manifest), scripts(&opened, nil, nil, io.EOF)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", manifest, err, want)
		}
	}
}

// What is missing, no file, or no trace, is a note, and the rest is read.
func TestMergeWithout(t *testing.T) {
	dir := recording(t, testManifest)
	a, b := filepath.Join(dir, "go", "a.trace"), filepath.Join(dir, "go", "b.trace")
	if err := errors.Join(os.Remove(a), os.Remove(b), syscall.Mkfifo(b, 0o600)); err != nil {
		t.Fatal(err)
	}
	var opened []string
	r, err := OpenWith(dir, scripts(&opened, nil, nil, io.EOF))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if ev := all(r); len(ev) != 3 || len(r.Notes()) != 2 || len(opened) != 0 {
		t.Errorf("%d events, %q", len(ev), r.Notes())
	}
}

// The chunks of a rotated recording have a gander.json each, which is read once however often it is named.
func TestChunks(t *testing.T) {
	dir := recording(t, `{"gander_recording":1,"chunks":["chunk-000001","chunk-000002","../else"`+strings.Repeat(`,"chunk-000002","./chunk-000001/"`, 20000)+`]}`)
	for _, chunk := range []string{"chunk-000001", "chunk-000002"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, chunk), 0o700),
			os.WriteFile(filepath.Join(dir, chunk, "gander.json"), []byte(`{"gander_recording":1,"clock":{"mono_offset_ns":7},"chunks":["."],"go":[{"file":"x.trace","pid":3},{"file":"./x.trace","pid":3}]}`), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(r.GoTraces) != 2 || r.GoTraces[1].File != filepath.Join(dir, "chunk-000002", "x.trace") || r.epochNs != 7 {
		t.Errorf("%+v", r.GoTraces)
	}
}
