// Readerprog is recorded by readers.py: events and spans on goroutines that the runtime traces, which wait for each other, collect garbage, call the
// system, and say tasks, regions and logs. It works until its standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/trace"
	"sync"
	"time"

	"gander.internal/gander"
	_ "gander.internal/gander/flight"
)

var (
	request = gander.NewSpan("prog.request", gander.Info)
	step    = gander.NewEvent2[int, string]("prog.step", gander.Debug, "n", "what")
	mu      sync.Mutex
)

func serve(n int, made chan []byte) {
	ctx, sp := request.Start(context.Background())
	ctx, task := trace.NewTask(ctx, "request")
	trace.WithRegion(ctx, "locked", func() {
		mu.Lock()
		defer mu.Unlock()
		step.Emit(n, "locked")
		time.Sleep(200 * time.Microsecond)
	})
	trace.Log(ctx, "stage", "sent")
	trace.Log(ctx, "", "")
	made <- make([]byte, 64<<10)
	os.ReadFile("/proc/self/stat")
	if n%50 == 0 {
		runtime.GC()
	}
	step.Emit(n, "done")
	task.End()
	sp.End()
}

func main() {
	made := make(chan []byte)
	go func() {
		for range made {
		}
	}()
	for first := 0; first < 4; first++ {
		first := first
		go func() {
			for n := first; ; n += 4 {
				done := make(chan struct{})
				go func(n int) {
					serve(n, made)
					close(done)
				}(n)
				<-done
				time.Sleep(time.Millisecond)
			}
		}()
	}
	fmt.Println("ready", runtime.Version())
	io.Copy(io.Discard, os.Stdin)
}
