// Flightprog is what the tests of the flight recorder look into: goroutines that wait for each other, events with numbers, and somebody else
// who traces when it is told so.
//
// It reads commands from its standard input, one a line, and answers each with one line.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/trace"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"gander.internal/gander"
	"gander.internal/gander/flight"
)

var tick = gander.NewEvent1[uint64]("flight.tick", gander.Info, "n")

// work keeps goroutines waiting for each other, and emits an event each time round.
func work(n int, pause time.Duration) {
	var mu sync.Mutex
	var count uint64
	for i := 0; i < n; i++ {
		go func() {
			for {
				mu.Lock()
				count++
				tick.Emit(count)
				mu.Unlock()
				time.Sleep(pause)
			}
		}()
	}
}

func main() {
	goroutines := flag.Int("goroutines", 8, "that work")
	pause := flag.Duration("pause", time.Millisecond, "of each between two rounds")
	listen := flag.Bool("listen", false, "serve /debug/pprof")
	flag.Parse()
	work(*goroutines, *pause)
	address := ""
	if *listen {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		go http.Serve(ln, nil)
		address = ln.Addr().String()
	}
	fmt.Println("ready", runtime.Version(), address)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(do(in.Text()))
	}
}

var dump [1 << 20]byte

func result(err error) string {
	if err != nil {
		return "error " + err.Error()
	}
	return "ok"
}

func do(command string) string {
	name, rest, _ := strings.Cut(command, " ")
	switch name {
	case "start":
		return result(flight.Start(flight.Options{}))
	case "small": // a ring that is overwritten soon
		return result(flight.Start(flight.Options{MaxBytes: 512 << 10, Period: 50 * time.Millisecond}))
	case "stop":
		flight.Stop()
		return "ok"
	case "flying":
		return fmt.Sprint(flight.Flying())
	case "snapshot":
		return result(flight.Snapshot(rest))
	case "write":
		var b bytes.Buffer
		if _, err := flight.WriteTo(&b); err != nil {
			return result(err)
		}
		return result(os.WriteFile(rest, b.Bytes(), 0o600))
	case "trace": // somebody else takes the runtime's tracer
		return result(trace.Start(io.Discard))
	case "untrace":
		trace.Stop()
		return "ok"
	case "recorder": // somebody else's flight recorder
		return recorder(rest)
	case "sleep":
		d, err := time.ParseDuration(rest)
		time.Sleep(d)
		return result(err)
	case "time":
		return fmt.Sprint(time.Now().UnixNano())
	case "rests": // the pilot sleeps until it is woken
		for _, g := range strings.Split(string(dump[:runtime.Stack(dump[:], true)]), "\n\n") {
			if strings.Contains(g, "[IO wait") && strings.Contains(g, "flight.(*bell).doze") {
				return "true"
			}
		}
		return "false"
	case "goroutines":
		return fmt.Sprint(runtime.NumGoroutine())
	case "close": // what is not its own
		n, err := strconv.Atoi(rest)
		if err == nil {
			err = syscall.Close(n)
		}
		return result(err)
	case "panic":
		panic("as told")
	}
	return "error unknown command"
}
