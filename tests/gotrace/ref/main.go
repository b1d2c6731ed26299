// Ref prints what Go's own analyses (internal/trace, copied beside this file as ref/trace) say of a trace, as JSON: the peer that
// gander's are held against.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"ref/trace"
)

type goroutine struct {
	ID                                   int64
	Name                                 string
	Exec, Sched, Syscall, SyscallBlocked int64
	Blocked                              map[string]int64
	Total                                int64
	NeverRan, Ended                      bool
	Regions                              int
}

func main() {
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r, err := trace.NewReader(bufio.NewReader(f))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := trace.NewSummarizer()
	var events []trace.Event
	n := 0
	for {
		ev, err := r.ReadEvent()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		s.Event(&ev)
		events = append(events, ev)
		n++
	}
	sum := s.Finalize()
	out := struct {
		Events     int
		Goroutines []goroutine
		Tasks      int
		MMU        map[string]float64
	}{Events: n, Tasks: len(sum.Tasks), MMU: map[string]float64{}}
	for id, g := range sum.Goroutines {
		o := goroutine{ID: int64(id), Name: g.Name, Exec: int64(g.ExecTime), Sched: int64(g.SchedWaitTime), Syscall: int64(g.SyscallTime),
			SyscallBlocked: int64(g.SyscallBlockTime), Total: int64(g.TotalTime), NeverRan: g.StartTime == 0, Ended: g.EndTime != 0,
			Blocked: map[string]int64{}, Regions: len(g.Regions)}
		for r, d := range g.BlockTimeByReason {
			o.Blocked[r] = int64(d)
		}
		out.Goroutines = append(out.Goroutines, o)
	}
	mu := trace.MutatorUtilizationV2(events, trace.UtilSTW|trace.UtilBackground|trace.UtilAssist|trace.UtilSweep)
	if len(mu) > 0 && len(mu[0]) > 1 {
		c := trace.NewMMUCurve(mu)
		for _, w := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond} {
			out.MMU[w.String()] = c.MMU(w)
		}
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
