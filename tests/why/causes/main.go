// Command causes makes an execution trace with one task, "asked", that is slow for one reason: causes CAUSE FILE [DIR].
// What the right answers are is written in causes.py, by hand.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const long = 200 * time.Millisecond

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var count atomic.Uint64

//go:noinline
func spin(d time.Duration) {
	for t := time.Now(); time.Since(t) < d; {
		count.Add(1)
	}
}

// What a task waits for begins with it, however late the machine lets it begin.
var begin = make(chan bool)

// lock: get waits for the cache's lock, which fill holds while it sleeps.
type cache struct {
	mu     sync.Mutex
	filled int
}

//go:noinline
func (c *cache) fill(locked chan bool) {
	c.mu.Lock()
	locked <- true
	<-begin
	time.Sleep(long)
	c.filled++
	c.mu.Unlock()
}

//go:noinline
func (c *cache) get() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.filled
}

func lock() (setup, asked func()) {
	c, locked := &cache{}, make(chan bool)
	return func() { go c.fill(locked); <-locked }, func() { close(begin); c.get() }
}

// locks: the lock is handed from one to the next, each holds it for a while; the last is asked for.
//
//go:noinline
func (c *cache) hold(ready chan bool) {
	ready <- true
	c.mu.Lock()
	<-begin
	time.Sleep(long / 4)
	c.filled++
	c.mu.Unlock()
}

var dump [1 << 16]byte

// standing is how many goroutines have the lock or wait for it.
func standing() (n int) {
	for _, g := range bytes.Split(dump[:runtime.Stack(dump[:], true)], []byte("\n\n")) {
		if bytes.Contains(g, []byte(".hold(")) && (bytes.Contains(g, []byte("[sync.Mutex.Lock")) || bytes.Contains(g, []byte("[chan receive"))) {
			n++
		}
	}
	return n
}

func locks() (setup, asked func()) {
	c, ready := &cache{}, make(chan bool)
	return func() {
			for i := 0; i < 6; i++ {
				go c.hold(ready)
				<-ready
				for standing() <= i {
					time.Sleep(time.Millisecond)
				}
			}
		}, func() {
			close(begin)
			c.get()
		}
}

// channel: consume waits for produce, which works.
//
//go:noinline
func produce(c chan int) {
	<-begin
	spin(long)
	c <- 1
}

//go:noinline
func consume(c chan int) int { return <-c }

func channel() (setup, asked func()) {
	c := make(chan int)
	return func() { go produce(c) }, func() { close(begin); consume(c) }
}

// assist: allocating while the collector marks a heap of pointers, and has to be helped.
type node struct {
	next [16]*node
}

var (
	heap []*node
	junk [1024]*node
)

//go:noinline
func allocate(n int) {
	for i := 0; i < n; i++ {
		x := &node{}
		x.next[0] = heap[i%len(heap)]
		junk[i%len(junk)] = x
	}
}

func assist() (setup, asked func()) {
	return func() {
			runtime.GOMAXPROCS(1)
			heap = make([]*node, 1<<19)
			for i := range heap {
				heap[i] = &node{}
				for k := range heap[i].next {
					heap[i].next[k] = heap[(i*7+k*131)%(i+1)]
				}
			}
			runtime.GC()
			debug.SetGCPercent(1)
		}, func() {
			for t := time.Now(); time.Since(t) < 2*long; {
				allocate(2000)
			}
		}
}

// stw: the stacks of all goroutines are printed meanwhile, with the world stopped.
//
//go:noinline
func deep(n int, c chan bool) {
	if n > 0 {
		deep(n-1, c)
		return
	}
	<-c
}

func stw() (setup, asked func()) {
	var dumping atomic.Bool
	never := make(chan bool)
	return func() {
			for i := 0; i < 5000; i++ {
				go deep(20, never)
			}
			time.Sleep(long / 4)
		}, func() {
			done := make(chan bool)
			go func() {
				buf := make([]byte, 64<<20)
				dumping.Store(true)
				runtime.Stack(buf, true)
				close(done)
			}()
			for !dumping.Load() {
				runtime.Gosched()
			}
			for {
				select {
				case <-done:
					return
				default:
					count.Add(1)
				}
			}
		}
}

// syscall: reading from a pipe to which somebody writes later.
//
//go:noinline
func readPipe(fd int) {
	var b [1]byte
	syscall.Read(fd, b[:])
}

func call() (setup, asked func()) {
	var fd [2]int
	return func() { check(syscall.Pipe(fd[:])) }, func() {
		time.AfterFunc(long, func() { syscall.Write(fd[1], []byte{1}) })
		readPipe(fd[0])
	}
}

// nop: more goroutines than Ps, and all of them work.
//
//go:noinline
func hog(stop *atomic.Bool) {
	for !stop.Load() {
		count.Add(1)
	}
}

func nop() (setup, asked func()) {
	var stop atomic.Bool
	return func() {
			runtime.GOMAXPROCS(1)
			for i := 0; i < 5; i++ {
				go hog(&stop)
			}
		}, func() {
			for i := 0; i < 4; i++ {
				runtime.Gosched()
			}
			stop.Store(true)
		}
}

// nocpu: it only computes; what takes its CPU is outside of the program.
func nocpu() (setup, asked func()) {
	return func() {}, func() { spin(2 * long) }
}

// network: the answer comes late.
//
//go:noinline
func ask(c net.Conn) {
	var b [1]byte
	c.Write(b[:])
	c.Read(b[:])
}

func network() (setup, asked func()) {
	var conn net.Conn
	return func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		go func() {
			c, err := l.Accept()
			check(err)
			var b [1]byte
			c.Read(b[:])
			time.Sleep(long)
			c.Write(b[:])
		}()
		conn, err = net.Dial("tcp", l.Addr().String())
		check(err)
	}, func() { ask(conn) }
}

// disk: what is written must be on the disk.
//
//go:noinline
func save(f *os.File, b []byte) {
	f.WriteAt(b, 0)
	check(f.Sync())
}

func disk() (setup, asked func()) {
	var f *os.File
	b := make([]byte, 4<<20)
	return func() {
			dir := "."
			if len(os.Args) > 3 {
				dir = os.Args[3]
			}
			var err error
			f, err = os.Create(filepath.Join(dir, "causes.data"))
			check(err)
			os.Remove(f.Name())
		}, func() {
			for t := time.Now(); time.Since(t) < long; {
				save(f, b)
			}
		}
}

var causes = map[string]func() (setup, asked func()){
	"lock": lock, "locks": locks, "channel": channel, "assist": assist, "stw": stw, "syscall": call, "nop": nop, "nocpu": nocpu, "network": network, "disk": disk,
}

func main() {
	make := causes[os.Args[1]]
	if make == nil {
		check(fmt.Errorf("no cause %q", os.Args[1]))
	}
	setup, asked := make()
	f, err := os.Create(os.Args[2])
	check(err)
	check(trace.Start(f))
	setup()
	done := new(sync.WaitGroup)
	done.Add(1)
	go func() { // not the goroutine that set things up
		_, task := trace.NewTask(context.Background(), "asked")
		asked()
		task.End()
		done.Done()
	}()
	done.Wait()
	trace.Stop()
	check(f.Close())
}
