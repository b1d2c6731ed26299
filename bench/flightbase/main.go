// Flightbase is flightpeer without the import.
package main

import (
	"fmt"
	"os"
	"time"

	"flightpeer/work"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "idle" {
		d, err := time.ParseDuration(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		work.Idle(d)
	}
}
