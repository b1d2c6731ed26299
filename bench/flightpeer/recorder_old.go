//go:build !go1.25

package main

import "time"

func begin(what string, period time.Duration) func() int64 {
	fatal("needs Go 1.25: runtime/trace.FlightRecorder")
	return nil
}
