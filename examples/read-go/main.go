// Read-go prints what a recording holds, and its slowest span: read-go RECORDING.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"time"

	"gander.internal/gander/reader"
)

func main() {
	r, err := reader.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	counts, lost, worst := map[string]int{}, uint64(0), time.Duration(0)
	for ev, err := r.Next(); err != io.EOF; ev, err = r.Next() {
		if lost += ev.Lost; ev.Lost == 0 {
			counts[ev.Name]++
		}
		if d, ok := ev.Get("duration").(time.Duration); ok && d > worst {
			worst = d
		}
	}
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("%10d  %s\n", counts[name], name)
	}
	fmt.Printf("%10d  lost\nslowest: %v; Go traces: %d\n", lost, worst, len(r.GoTraces))
}
