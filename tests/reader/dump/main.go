// Dump prints recordings' events, of the programs and of the kernel, for readers.py.
package main

import (
	"gander.internal/dump/line"
	"gander.internal/gander/reader"
)

func main() { line.Print(reader.Open) }
