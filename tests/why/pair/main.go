// Command pair is a program with spans that can be recorded with its goroutines. It does something for each line on its standard input and says when it is done:
//
//	pair back         serves; a request waits for a lock that another goroutine holds while it sleeps
//	pair front URL    asks that server
//	pair spin         computes
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"gander.internal/gander"
	_ "gander.internal/gander/flight"
	"gander.internal/gander/ganderhttp"
)

const long = 200 * time.Millisecond

var (
	spanAsk  = gander.NewSpan("front.request", gander.Info)
	spanNone = gander.NewSpan("front.nothing", gander.Info)
	spanSpin = gander.NewSpan("spin.work", gander.Info)
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type stock struct {
	mu sync.Mutex
	n  int
}

//go:noinline
func (s *stock) count(locked chan bool) {
	s.mu.Lock()
	locked <- true
	time.Sleep(long)
	s.n++
	s.mu.Unlock()
}

//go:noinline
func (s *stock) reserve() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func back() (address string, do func()) {
	s, locked := &stock{}, make(chan bool)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go http.Serve(l, ganderhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go s.count(locked)
		<-locked
		fmt.Fprintln(w, s.reserve())
	})))
	return "http://" + l.Addr().String(), func() {}
}

func front(url string) func() {
	client := &http.Client{Transport: ganderhttp.NewTransport(http.DefaultTransport)}
	return func() {
		ctx, span := spanAsk.Start(context.Background())
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		check(err)
		res, err := client.Do(req)
		check(err)
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		span.End()
		_, span = spanNone.Start(ctx)
		span.End()
	}
}

//go:noinline
func spin(n int) (x uint64) {
	for i := 0; i < n; i++ {
		x = x*6364136223846793005 + 1
	}
	return x
}

var sink uint64

func work() {
	_, span := spanSpin.Start(context.Background())
	for i := 0; i < 60; i++ {
		sink += spin(1000000)
	}
	span.End()
}

func main() {
	var address string
	do := work
	switch os.Args[1] {
	case "back":
		address, do = back()
	case "front":
		do = front(os.Args[2])
	}
	fmt.Println("ready", address)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		done := make(chan bool)
		go func() {
			do()
			close(done)
		}()
		<-done
		fmt.Println("done")
	}
}
