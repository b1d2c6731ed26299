// Gopeer emits events of the Go agent in a loop and prints what one took: what gander_peer and lttng_peer do in C.
//
//	gopeer EVENT COUNT ROUNDS     EVENT: intstring (16 bytes), ints (16 of them), span, empty (the loop alone)
//
// Prints the least mean of the rounds in nanoseconds, and the allocations an event made. Between rounds it waits a moment, for the collector
// to catch up.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"gander.internal/gander"
)

var (
	evIntString = gander.NewEvent2[int, string]("peer.intstring", gander.Info, "a", "s")
	evInts      = gander.NewEvent1[[]int64]("peer.ints", gander.Info, "v")
	spanPeer    = gander.NewSpan("peer.span", gander.Info)
)

var (
	text = "sixteen bytes .."
	ints = make([]int64, 16)
	sink int
)

func emit(event string, count int) {
	ctx := context.Background()
	switch event {
	case "intstring":
		for i := 0; i < count; i++ {
			evIntString.Emit(i, text)
		}
	case "ints":
		for i := 0; i < count; i++ {
			evInts.Emit(ints)
		}
	case "span":
		for i := 0; i < count; i++ {
			_, s := spanPeer.Start(ctx)
			s.End()
		}
	default:
		for i := 0; i < count; i++ {
			sink = i
		}
	}
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: gopeer EVENT COUNT ROUNDS")
		os.Exit(2)
	}
	count, err := strconv.Atoi(os.Args[2])
	rounds, err2 := strconv.Atoi(os.Args[3])
	if err != nil || err2 != nil || count < 1 || rounds < 1 {
		fmt.Fprintln(os.Stderr, "gopeer: COUNT and ROUNDS are numbers from 1 on")
		os.Exit(2)
	}
	runtime.LockOSThread()
	emit(os.Args[1], 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	best := 0.0
	for i := 0; i < rounds; i++ {
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		emit(os.Args[1], count)
		ns := float64(time.Since(start).Nanoseconds()) / float64(count)
		if i == 0 || ns < best {
			best = ns
		}
	}
	runtime.ReadMemStats(&after)
	fmt.Printf("%.2f %.4f\n", best, float64(after.Mallocs-before.Mallocs)/float64(count*rounds))
}
