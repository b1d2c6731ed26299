//go:build go1.25

package main

import (
	"os"
	"runtime/trace"
)

var other *trace.FlightRecorder

// recorder starts the runtime's own flight recorder, or writes what it has into a file.
func recorder(path string) string {
	if path == "" {
		other = trace.NewFlightRecorder(trace.FlightRecorderConfig{})
		return result(other.Start())
	}
	f, err := os.Create(path)
	if err != nil {
		return result(err)
	}
	defer f.Close()
	_, err = other.WriteTo(f)
	return result(err)
}
