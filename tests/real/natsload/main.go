// Natsload puts load on a NATS server: publishers that send small messages as fast as they can, subscribers that get them all.
//
//	natsload -addr 127.0.0.1:4222 -for 2s -pub 2 -sub 2
//
// prints "published N received N seconds S rate R" when every message has arrived at every subscriber.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var (
	addr  = flag.String("addr", "127.0.0.1:4222", "`address` of the server")
	dur   = flag.Duration("for", 2*time.Second, "how long to publish")
	npub  = flag.Int("pub", 2, "publishers")
	nsub  = flag.Int("sub", 1, "subscribers")
	batch = flag.Int("batch", 64, "messages in one write")
)

func dial() (net.Conn, *bufio.Reader) {
	c, err := net.Dial("tcp", *addr)
	if err != nil {
		fail(err)
	}
	r := bufio.NewReaderSize(c, 1<<16)
	if _, err := r.ReadString('\n'); err != nil { // INFO
		fail(err)
	}
	ask(c, r, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"go\"}\r\n")
	return c, r
}

// ask sends a line and waits until the server has worked on all that was sent.
func ask(c net.Conn, r *bufio.Reader, line string) {
	if _, err := io.WriteString(c, line+"PING\r\n"); err != nil {
		fail(err)
	}
	for {
		s, err := r.ReadString('\n')
		if err != nil {
			fail(err)
		}
		switch s {
		case "PONG\r\n":
			return
		case "PING\r\n":
			answer(c)
		}
	}
}

// answer a PING: who does not is cut off after some minutes.
func answer(c net.Conn) {
	if _, err := io.WriteString(c, "PONG\r\n"); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "natsload:", err)
	os.Exit(1)
}

func main() {
	flag.Parse()
	var received atomic.Int64
	for i := 0; i < *nsub; i++ {
		c, r := dial()
		ask(c, r, "SUB load 1\r\n")
		go func() {
			// every message is two lines, the first starts with MSG: count those
			buf := make([]byte, 1<<16)
			var rest []byte
			for {
				n, err := r.Read(buf)
				if err != nil {
					return
				}
				data := append(rest, buf[:n]...)
				end := bytes.LastIndexByte(data, '\n') + 1
				received.Add(int64(bytes.Count(data[:end], []byte("MSG load"))))
				if bytes.Contains(data[:end], []byte("PING\r\n")) {
					answer(c)
				}
				rest = append(rest[:0:0], data[end:]...)
			}
		}()
	}
	var published atomic.Int64
	message := bytes.Repeat([]byte("PUB load 16\r\nsixteen bytes ..\r\n"), *batch)
	start := time.Now()
	var wg sync.WaitGroup
	for i := 0; i < *npub; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, r := dial()
			for n := 0; ; n++ {
				if _, err := c.Write(message); err != nil {
					fail(err)
				}
				published.Add(int64(*batch))
				if n%16 == 15 {
					if time.Since(start) > *dur {
						break
					}
					// what is in flight is kept small, on a busy machine too, so that no subscriber is dropped as slow
					ask(c, r, "")
					for published.Load()*int64(*nsub)-received.Load() > 1<<18 && time.Since(start) < *dur {
						time.Sleep(100 * time.Microsecond)
					}
				}
			}
			ask(c, r, "")
			c.Close()
		}()
	}
	wg.Wait()
	want := published.Load() * int64(*nsub)
	for deadline := time.Now().Add(20 * time.Second); received.Load() < want && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	s := time.Since(start).Seconds()
	fmt.Printf("published %d received %d seconds %.3f rate %.0f\n", published.Load(), received.Load(), s, float64(published.Load())/s)
	if received.Load() != want {
		os.Exit(1)
	}
}
