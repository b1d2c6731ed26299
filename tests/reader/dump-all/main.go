// Dump-all prints recordings' events, those of the Go traces among them, for readers.py.
package main

import (
	"gander.internal/dump/line"
	"gander.internal/gander/gotrace"
)

func main() { line.Print(gotrace.Open) }
