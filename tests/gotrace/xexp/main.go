// Command xexp is the peer that gander's reader is held against: the public reader of traces, golang.org/x/exp/trace.
//
//	xexp text FILE       every event, as its String
//	xexp count FILE      the number of events, and the seconds that reading took
//	xexp netblock FILE   the twin of examples/netblock
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/exp/trace"
)

func die(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

type goroutine struct {
	since  trace.Time
	state  trace.GoState
	reason string
}

func main() {
	if len(os.Args) != 3 {
		die(fmt.Errorf("usage: xexp text|count|netblock FILE"))
	}
	f, err := os.Open(os.Args[2])
	if err != nil {
		die(err)
	}
	start := time.Now()
	r, err := trace.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		die(err)
	}
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer w.Flush()
	gs := map[trace.GoID]goroutine{}
	var all, net float64
	n := 0
	for {
		ev, err := r.ReadEvent()
		if err == io.EOF {
			break
		}
		if err != nil {
			w.Flush()
			die(err)
		}
		n++
		switch os.Args[1] {
		case "text":
			fmt.Fprintln(w, ev.String())
		case "netblock":
			if ev.Kind() != trace.EventStateTransition {
				continue
			}
			st := ev.StateTransition()
			if st.Resource.Kind != trace.ResourceGoroutine {
				continue
			}
			from, to := st.Goroutine()
			g, ok := gs[st.Resource.Goroutine()]
			if ok && g.state > trace.GoNotExist {
				all += float64(ev.Time() - g.since)
				if g.state == trace.GoWaiting && g.reason == "network" {
					net += float64(ev.Time() - g.since)
				}
			}
			if from != to {
				g.reason = st.Reason
			}
			g.since, g.state = ev.Time(), to
			gs[st.Resource.Goroutine()] = g
		}
	}
	switch os.Args[1] {
	case "count":
		fmt.Fprintln(w, n, time.Since(start).Seconds())
	case "netblock":
		share := 0.0
		if all > 0 {
			share = 100 * net / all
		}
		fmt.Fprintf(w, "%.4f %% of %.6f s\n", share, all/1e9)
	}
}
