// Flightbare has gander's events, but no flight package: with -listen it serves /debug/pprof, without there is no way to its Go trace; with
// -mute there are ports besides that never answer.
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
	mute := flag.Int("mute", 0, "listen on so many ports more, and answer nobody there")
	flag.Parse()
	go func() {
		for n := uint64(0); ; n++ {
			tick.Emit(n)
			time.Sleep(time.Millisecond)
		}
	}()
	address := ""
	for i := 0; i < *mute; i++ {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		defer ln.Close()
	}
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
