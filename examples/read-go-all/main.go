// Read-go-all prints all that a recording holds in the order of time, of programs, kernel and Go runtime: read-go-all RECORDING.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"

	"gander.internal/gander/gotrace"
)

func main() {
	r, err := gotrace.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for ev, err := r.Next(); err != io.EOF; ev, err = r.Next() {
		if ev.Lost > 0 {
			fmt.Fprintln(out, ev.MonoNs, ev.Lost, "events were lost until here")
			continue
		}
		fmt.Fprintf(out, "%d %s goroutine=%d thread=%d", ev.MonoNs, ev.Name, ev.Goroutine, ev.Thread)
		for _, f := range ev.Fields {
			fmt.Fprintf(out, " %s=%v", f.Name, f.Value)
		}
		fmt.Fprintln(out)
	}
	for _, t := range r.Traces {
		fmt.Fprintf(out, "%s: at most %d ns off\n", t.Dir, t.ErrorNs)
	}
	for _, note := range r.Notes() {
		log.Print(note)
	}
}
