// Command prog runs one workload for a while under the execution tracer and writes the trace: prog WORKLOAD SECONDS FILE.
// It builds with every Go from 1.11 on.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"sort"
	"strconv"
	"sync"
	"time"
)

var (
	stop time.Time
	sink []byte
	live [][]byte
)

var workloads = map[string]func(){
	"small": func() {
		c := make(chan int)
		go func() { c <- 1 }()
		<-c
	},
	"channels": func() {
		each(8, func(i int) {
			c, done := make(chan int), make(chan bool)
			go func() {
				for range c {
				}
				close(done)
			}()
			for going() {
				for k := 0; k < 100; k++ {
					c <- k
				}
			}
			close(c)
			<-done
		})
	},
	"mutexes": func() {
		var mu sync.Mutex
		cond := sync.NewCond(&mu)
		done := make(chan bool)
		go func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					cond.Broadcast()
				}
			}
		}()
		each(8, func(i int) {
			for k := 0; going(); k++ {
				mu.Lock()
				if k%50 == i {
					cond.Wait()
				}
				runtime.Gosched()
				mu.Unlock()
			}
		})
		close(done)
	},
	"syscalls": func() {
		each(4, func(i int) {
			r, w, _ := os.Pipe()
			for going() {
				f, _ := os.Open("/proc/self/stat")
				var b [64]byte
				f.Read(b[:])
				f.Close()
				w.Write(b[:])
				r.Read(b[:])
			}
			exec.Command("/bin/true").Run()
		})
	},
	"gc": func() {
		old := debug.SetGCPercent(20)
		each(4, func(i int) {
			for k := 0; going(); k++ {
				sink = make([]byte, 1<<14)
				if k%10 == 0 {
					mu.Lock()
					if live = append(live, sink); len(live) > 2000 {
						live = nil
					}
					mu.Unlock()
				}
				if k%5000 == 0 {
					runtime.GC()
				}
			}
		})
		debug.SetGCPercent(old)
	},
	"net": func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go io.Copy(c, c)
			}
		}()
		each(4, func(i int) {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				panic(err)
			}
			b := make([]byte, 100)
			for k := 0; k < 5 || going(); k++ {
				c.Write(b)
				io.ReadFull(c, b)
			}
			c.Close()
		})
		l.Close()
	},
	"samples": func() {
		var prof bytes.Buffer
		pprof.StartCPUProfile(&prof)
		each(3, func(i int) {
			x := make([]int, 5000)
			for going() {
				for k := range x {
					x[k] = (k * 7919) % 10007
				}
				sort.Ints(x)
			}
		})
		pprof.StopCPUProfile()
	},
	"tasks": func() {
		each(4, func(i int) {
			for k := 0; k < 20 || going(); k++ {
				ctx, t := trace.NewTask(context.Background(), "outer "+strconv.Itoa(i))
				trace.WithRegion(ctx, "region", func() {
					ctx, in := trace.NewTask(ctx, "inner")
					defer trace.StartRegion(ctx, "deep \"quoted\" é\n").End()
					trace.Logf(ctx, "category", "message %d\t\x00\xff", k)
					in.End()
				})
				t.End()
				pprof.Do(ctx, pprof.Labels("k", "v"), func(context.Context) { time.Sleep(100 * time.Microsecond) })
			}
		})
	},
	"idle": func() {
		quit := make(chan bool)
		for i := 0; i < 10000; i++ {
			go func() { <-quit }()
		}
		for going() {
			time.Sleep(time.Millisecond)
		}
		close(quit)
	},
	"spawn": func() {
		each(4, func(i int) {
			for going() {
				var wg sync.WaitGroup
				for k := 0; k < 50; k++ {
					wg.Add(1)
					go func() { wg.Done() }()
				}
				wg.Wait()
			}
		})
	},
	"procs": func() {
		for k := 0; going(); k++ {
			runtime.GOMAXPROCS(1 + k%20)
			each(30, func(int) { time.Sleep(50 * time.Microsecond); runtime.Gosched() })
		}
	},
}

var mu sync.Mutex

func going() bool { return time.Now().Before(stop) }

func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			f(i)
		}(i)
	}
	wg.Wait()
}

func main() {
	if len(os.Args) != 4 {
		for name := range workloads {
			fmt.Println(name)
		}
		os.Exit(2)
	}
	work := workloads[os.Args[1]]
	sec, err := strconv.ParseFloat(os.Args[2], 64)
	if work == nil || err != nil {
		fmt.Fprintln(os.Stderr, "no such workload, or no number of seconds")
		os.Exit(2)
	}
	f, err := os.Create(os.Args[3])
	if err != nil {
		panic(err)
	}
	if os.Args[1] == "idle" { // they are there before the trace begins, too
		quit := make(chan bool)
		n, err := strconv.Atoi(os.Getenv("IDLE"))
		if err != nil {
			n = 1000
		}
		for i := 0; i < n; i++ {
			go func() { <-quit }()
		}
	}
	if err := trace.Start(f); err != nil {
		panic(err)
	}
	stop = time.Now().Add(time.Duration(sec * 1e9))
	work()
	trace.Stop()
	f.Close()
}
