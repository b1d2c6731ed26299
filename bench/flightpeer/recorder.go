//go:build go1.25

package main

import (
	"io"
	"runtime/trace"
	"time"
	_ "unsafe" // for go:linkname

	"gander.internal/gander/flight"
)

//go:linkname traceAdvance runtime.traceAdvance
func traceAdvance(stopTrace bool)

// begin starts one of the recorders, with the same limits and the same length of a generation, and returns what ends it; that returns
// the bytes of the trace that it has.
func begin(what string, period time.Duration) func() int64 {
	const keep, most = 10 * time.Second, 16 << 20
	switch what {
	case "off":
		return func() int64 { return 0 }
	case "flight":
		if err := flight.Start(flight.Options{Period: period, Keep: keep, MaxBytes: most}); err != nil {
			fatal(err)
		}
		return func() int64 {
			n, err := flight.WriteTo(io.Discard)
			if err != nil {
				fatal(err)
			}
			return n
		}
	case "recorder":
		fr := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: keep, MaxBytes: most})
		if err := fr.Start(); err != nil {
			fatal(err)
		}
		if period < time.Second { // the runtime does it once a second itself
			go func() {
				for {
					time.Sleep(period)
					traceAdvance(false)
				}
			}()
		}
		return func() int64 {
			n, err := fr.WriteTo(io.Discard)
			if err != nil {
				fatal(err)
			}
			return n
		}
	}
	fatal("which recorder?", what)
	return nil
}
