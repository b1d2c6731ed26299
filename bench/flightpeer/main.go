// Flightpeer is what the rows about the flight recorder of goroutines run.
//
//	flightpeer work off|flight|recorder PERIOD MESSAGES   CPU and memory of so many messages
//	flightpeer serve TIME                                 while it flies: how long requests took
//	flightpeer idle TIME                                  what the import alone costs
//	flightpeer start                                      starts and ends
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"flightpeer/work"

	"gander.internal/gander/flight"
)

func main() {
	args := os.Args[1:]
	for len(args) < 4 {
		args = append(args, "")
	}
	switch args[0] {
	case "work":
		period, err := time.ParseDuration(args[2])
		messages, err2 := strconv.Atoi(args[3])
		if err != nil || err2 != nil {
			fatal(err, err2)
		}
		stop := begin(args[1], period)
		before, start := work.Rusage(), time.Now()
		work.Hand(messages)
		used, took := work.Rusage()-before, time.Since(start)
		peak := work.Status("VmHWM")
		work.Print(map[string]any{"cpu_ns": used, "took_ns": took, "peak_kib": peak, "trace_bytes": stop()})
	case "serve":
		d, err := time.ParseDuration(args[1])
		if err == nil {
			err = flight.Start(flight.Options{})
		}
		if err != nil {
			fatal(err)
		}
		fmt.Println("ready")
		took := work.Serve(d)
		work.Print(map[string]any{"n": len(took), "p50_ns": took[len(took)/2], "p99_ns": took[len(took)*99/100], "max_ns": took[len(took)-1]})
	case "idle":
		d, err := time.ParseDuration(args[1])
		if err != nil {
			fatal(err)
		}
		work.Idle(d)
	case "start":
	default:
		fatal("what?")
	}
}

func fatal(what ...any) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(2)
}
