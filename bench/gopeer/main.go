// Gopeer emits events of the Go agent in a loop and prints what one took: what gander_peer and lttng_peer do in C.
//
//	gopeer EVENT COUNT ROUNDS     EVENT: intstring (16 bytes), ints (16 of them), span, empty (the loop alone), intlong, string (16 bytes),
//	                                     counted (waits until somebody counts, then intlong)
//
// Prints the least mean of the rounds in nanoseconds of CPU time, and the allocations an event made. Between rounds it waits a moment, for
// the collector to catch up.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"gander.internal/gander"
)

var (
	evIntString = gander.NewEvent2[int, string]("peer.intstring", gander.Info, "a", "s")
	evIntLong   = gander.NewEvent2[int32, int64]("peer.intlong", gander.Info, "a", "b")
	evString    = gander.NewEvent1[string]("peer.string", gander.Info, "s")
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
	case "intlong", "counted":
		for i := 0; i < count; i++ {
			evIntLong.Emit(int32(i), int64(i))
		}
	case "string":
		for i := 0; i < count; i++ {
			evString.Emit(text)
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

// cpuTime is this thread's, so that whatever else the machine does is not counted.
func cpuTime() int64 {
	const threadCPUTime = 3 // CLOCK_THREAD_CPUTIME_ID
	var ts syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadCPUTime, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
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
	for i := 0; i < 10000 && os.Args[1] == "counted" && !evIntLong.Enabled(); i++ {
		time.Sleep(time.Millisecond)
	}
	emit(os.Args[1], 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	best := 0.0
	for i := 0; i < rounds; i++ {
		if os.Args[1] != "counted" {
			time.Sleep(100 * time.Millisecond)
		}
		start := cpuTime()
		emit(os.Args[1], count)
		ns := float64(cpuTime()-start) / float64(count)
		if i == 0 || ns < best {
			best = ns
		}
	}
	runtime.ReadMemStats(&after)
	fmt.Printf("%.2f %.4f\n", best, float64(after.Mallocs-before.Mallocs)/float64(count*rounds))
}
