// Dump prints what go/reader makes of recordings as gander events --json prints it, for readers.py.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"gander.internal/gander/reader"
)

func object(fields []reader.Field) map[string]any {
	out := map[string]any{}
	for _, f := range fields {
		out[f.Name] = plain(f.Value)
	}
	return out
}

func plain(v any) any {
	switch v := v.(type) {
	case time.Duration:
		return int64(v)
	case time.Time:
		return v.UnixNano()
	case []byte:
		return hex.EncodeToString(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	case reader.Enum:
		if v.Label == "" {
			return v.Value
		}
		return v.Label
	case reader.Attrs:
		return object(v)
	case []reader.Field:
		return object(v)
	case []any:
		list := []any{}
		for _, e := range v {
			list = append(list, plain(e))
		}
		return list
	}
	return v
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, dir := range os.Args[1:] {
		r, err := reader.Open(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for {
			ev, err := r.Next()
			if err == io.EOF {
				break
			}
			line := map[string]any{"time_ns": ev.TimeNs, "lost": ev.Lost}
			if ev.Lost == 0 {
				line = map[string]any{"time_ns": ev.TimeNs, "event": ev.Name, "level": ev.Level, "context": object(ev.Context), "fields": object(ev.Fields)}
				if ev.Trace.Process != "" {
					line["process"] = ev.Trace.Process
				}
				if ev.Trace.Pid >= 0 {
					line["pid"] = ev.Trace.Pid
				}
				if ev.Cut {
					line["cut"] = true
				}
			}
			out.Encode(line)
		}
		for _, n := range r.Notes() {
			fmt.Fprintln(os.Stderr, n)
		}
		r.Close()
	}
}
