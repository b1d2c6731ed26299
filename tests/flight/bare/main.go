// Flightbare has gander's events, but no flight package: with -listen it serves /debug/pprof, without there is no way to its Go trace.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"time"

	"gander.internal/gander"
)

var tick = gander.NewEvent1[uint64]("bare.tick", gander.Info, "n")

func main() {
	listen := flag.Bool("listen", false, "serve /debug/pprof")
	flag.Parse()
	go func() {
		for n := uint64(0); ; n++ {
			tick.Emit(n)
			time.Sleep(time.Millisecond)
		}
	}()
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
	var b [1]byte
	os.Stdin.Read(b[:])
}
