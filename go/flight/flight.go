// Package flight keeps the last seconds of the Go runtime's execution trace where they outlive the program: in the region that gander reads
// from outside, also after SIGKILL. Importing it is all that a program has to do:
//
//	import _ "gander.internal/gander/flight"
//
// The trace is not recorded until somebody asks for it (gander record --go, gander snapshot), or the program does, with [Start] or
// GANDER_FLIGHT=always in its environment. Until then one goroutine sleeps in the runtime's poller, on a pipe of which the program has one
// descriptor, and uses no CPU. Who asks from outside wakes it there, which takes access to /proc/PID/fd; with GANDER_FLIGHT=look there is no pipe,
// and the goroutine looks once a second.
//
// While it flies, a generation of the trace is closed five times a second, so that a program that is killed loses at most the last fifth
// of a second of its goroutines' doings. The package takes the one place that the runtime has for a writer of the trace: see [Start] for who
// else then gets an error.
package flight

import (
	"errors"
	"io"
	"time"
)

// Options of a flight. The zero value of each is a good default.
type Options struct {
	Period   time.Duration // a generation of the trace is closed so often; 200 ms. At least 10 ms
	MaxBytes int           // memory that the recorded trace may take at most; 16 MiB
	Keep     time.Duration // what is older than this makes room, also when MaxBytes are not reached; 10 s
}

// Start makes the program fly from now on, whether somebody asks for it or not. It returns an error when the trace cannot be had, and
// tries again every second: the runtime has one place for a writer of its trace, which runtime/trace.Start takes too, and with it
// /debug/pprof/trace, testing's -trace and, up to Go 1.24, golang.org/x/exp/trace.FlightRecorder. Whoever comes second gets an error. From Go 1.25 on
// runtime/trace.FlightRecorder has a place of its own and works at the same time.
//
// A second Start changes the options.
func Start(o Options) error { return start(o) }

// Stop ends what [Start] or GANDER_FLIGHT began. The program goes on flying as long as somebody outside asks for it, and can be asked again.
func Stop() { stop() }

// Flying says whether the trace is being recorded now.
func Flying() bool { return flying() }

// WriteTo writes the trace that there is, up to this moment, for go tool trace and all who read such files. It closes the current generation first, which
// takes the runtime a millisecond or so, and copies what it writes: the flight goes on meanwhile.
func WriteTo(w io.Writer) (int64, error) { return writeTo(w) }

// Snapshot sets the trace that there is, up to this moment, aside in the region, with the reason: nothing overwrites it until gander snapshot
// has taken it, also when the program has died meanwhile. A flight recorder (gander record --overwrite --go) takes it at once, with the events of that
// time. There is room for one: until it is taken, Snapshot returns [ErrWaiting].
func Snapshot(reason string) error { return snapshot(reason) }

var (
	// ErrNotFlying is returned when there is no trace, for nobody has asked for one.
	ErrNotFlying = errors.New("flight: the trace is not being recorded")
	// ErrWaiting is returned by Snapshot while the one before it has not been taken.
	ErrWaiting = errors.New("flight: the last snapshot has not been taken yet")
)
