// Known makes an execution trace whose right answers are known, and prints them as JSON.
//
//	known trace.out          the workload of exact counts
//	known -load 5s trace.out a load: channels, locks, allocation, sockets, system calls
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/trace"
	"strings"
	"sync"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var dump [1 << 18]byte

// parked waits until a goroutine of that function does, as the runtime's own list says: how long that takes is the machine's affair. It allocates next to
// nothing, or there would be a collection of garbage that nobody has asked for.
func parked(state, function string) {
	want, in := []byte("["+state), []byte("main."+function+"(")
	for {
		for rest := dump[:runtime.Stack(dump[:], true)]; len(rest) > 0; {
			var g []byte
			if g, rest, _ = bytes.Cut(rest, []byte("\n\n")); bytes.Contains(g, want) && bytes.Contains(g, in) {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func sleeper(wg *sync.WaitGroup) {
	defer wg.Done()
	for i := 0; i < 5; i++ {
		time.Sleep(10 * time.Millisecond)
	}
}

func receiver(wg *sync.WaitGroup, c chan int) {
	defer wg.Done()
	for range c {
	}
}

func locker(wg *sync.WaitGroup, mu *sync.Mutex, held, done chan bool) {
	defer wg.Done()
	for i := 0; i < 20; i++ {
		mu.Lock()
		held <- true
		parked("sync.Mutex.Lock", "contender")
		time.Sleep(3 * time.Millisecond)
		mu.Unlock()
		<-done
	}
}

func contender(wg *sync.WaitGroup, mu *sync.Mutex, held, done chan bool) {
	defer wg.Done()
	for i := 0; i < 20; i++ {
		<-held
		mu.Lock()
		mu.Unlock()
		done <- true
	}
}

func leaked(c chan int) { <-c }

func spin(d time.Duration) (n int) {
	for t := time.Now(); time.Since(t) < d; {
		n++
	}
	return
}

func short(wg *sync.WaitGroup) { wg.Done() }

func job(ctx context.Context, i int) {
	ctx, task := trace.NewTask(ctx, "job")
	defer task.End()
	trace.WithRegion(ctx, "step", func() {
		trace.Logf(ctx, "orderID", "order-%d", i)
		time.Sleep(2 * time.Millisecond)
	})
	trace.WithRegion(ctx, "spin", func() { spin(time.Millisecond) })
}

func netReader(wg *sync.WaitGroup, c net.Conn, read chan bool) {
	defer wg.Done()
	b := make([]byte, 1)
	for {
		if n, _ := c.Read(b); n == 0 {
			return
		}
		read <- true // there is always room
	}
}

func known() map[string]any {
	start := time.Now()
	var wg sync.WaitGroup
	wg.Add(10)
	for i := 0; i < 10; i++ {
		go sleeper(&wg)
	}
	wg.Wait()

	c := make(chan int)
	wg.Add(1)
	go receiver(&wg, c)
	for i := 0; i < 30; i++ {
		parked("chan receive", "receiver")
		c <- i
	}
	parked("chan receive", "receiver")
	close(c)
	wg.Wait()

	var mu sync.Mutex
	held, done := make(chan bool), make(chan bool)
	wg.Add(2)
	go locker(&wg, &mu, held, done)
	go contender(&wg, &mu, held, done)
	wg.Wait()

	for i := 0; i < 23; i++ {
		job(context.Background(), i)
	}
	wg.Add(1000)
	for i := 0; i < 1000; i++ {
		go short(&wg)
	}
	wg.Wait()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	out, err := net.Dial("tcp", l.Addr().String())
	check(err)
	in, err := l.Accept()
	check(err)
	wg.Add(1)
	read := make(chan bool, 1)
	go netReader(&wg, in, read)
	for i := 0; i < 10; i++ {
		parked("IO wait", "netReader")
		out.Write([]byte{1})
		<-read // who has been written to waits for a moment still
	}
	parked("IO wait", "netReader")
	out.Close()
	wg.Wait()

	for i := 0; i < 3; i++ {
		runtime.GC()
	}
	var ms runtime.MemStats
	for i := 0; i < 4; i++ {
		runtime.ReadMemStats(&ms)
	}
	for i := 0; i < 50; i++ {
		os.ReadFile("/proc/self/stat")
	}
	leak := make(chan int)
	for i := 0; i < 5; i++ {
		go leaked(leak)
	}
	time.Sleep(max(400*time.Millisecond, time.Since(start)/2)) // leaked is who has not moved for a fifth of the trace
	return map[string]any{
		"sleeper_waits": 50, "sleeper_min_ns": 10e6, "receiver_waits": 31, "lock_waits": 20, "lock_min_ns": 2e6, "tasks": 23, "steps": 23,
		"step_min_ns": 2e6, "spin_min_ns": 1e6, "short": 1000, "net_waits": 11, "gc_cycles": 3, "read_mem_stats": 4, "leaked": 5,
	}
}

var sink [64][]byte

func worker(id int, in <-chan int, out chan<- string, mu *sync.Mutex, end <-chan struct{}) {
	for {
		select {
		case <-end:
			return
		case n := <-in:
			s := strings.Repeat("x", 100+n%900)
			mu.Lock()
			sink[id%64] = []byte(s)
			mu.Unlock()
			if n%50 == 0 {
				os.ReadFile("/proc/self/statm")
			}
			select {
			case out <- s[:10]:
			case <-end:
				return
			}
		}
	}
}

// load returns how often it went round, and which share of its time it had a CPU for: whoever compares two runs can tell whether they were alike.
func load(d time.Duration) map[string]any {
	in, out, end := make(chan int), make(chan string, 8), make(chan struct{})
	var mu sync.Mutex
	for i := 0; i < 20; i++ {
		go worker(i, in, out, &mu, end)
	}
	go func() {
		for range out {
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 64)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					c.Write(b[:n])
				}
			}()
		}
	}()
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		check(err)
		b := make([]byte, 64)
		for {
			c.Write(b[:8])
			c.Read(b)
		}
	}()
	n := 0
	for t := time.Now(); time.Since(t) < d; n++ {
		in <- n
		if n%200 == 0 {
			go func() { spin(20 * time.Microsecond) }()
		}
	}
	close(end)
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return map[string]any{"rounds": n, "cpu_ns": u.Utime.Nano() + u.Stime.Nano()}
}

func main() {
	d := flag.Duration("load", 0, "make a load for so long instead")
	flag.Parse()
	f, err := os.Create(flag.Arg(0))
	check(err)
	check(trace.Start(f))
	var want map[string]any
	if *d > 0 {
		want = load(*d)
	} else {
		want = known()
	}
	trace.Stop()
	check(f.Close())
	json.NewEncoder(os.Stdout).Encode(want)
}
