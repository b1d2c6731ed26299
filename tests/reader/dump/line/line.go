// Package line prints what go/reader makes of recordings as gander events --json prints it, for readers.py.
package line

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

// Print prints the recordings that are named on the command line.
func Print(open func(dir string) (*reader.Reader, error)) {
	out := json.NewEncoder(os.Stdout)
	for _, dir := range os.Args[1:] {
		r, err := open(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		last := int64(math.MinInt64)
		for {
			ev, err := r.Next()
			if err == io.EOF {
				break
			}
			line := map[string]any{"time_ns": ev.TimeNs, "lost": ev.Lost}
			if ev.Lost == 0 {
				line = map[string]any{"time_ns": ev.TimeNs, "event": ev.Name, "context": object(ev.Context), "fields": object(ev.Fields)}
				for _, m := range []struct {
					key   string
					value any
					there bool
				}{{"level", ev.Level, ev.Level >= 0}, {"process", ev.Trace.Process, ev.Trace.Process != ""}, {"pid", ev.Trace.Pid, ev.Trace.Pid >= 0},
					{"cut", true, ev.Cut}, {"goroutine", ev.Goroutine, ev.Told}} {
					if m.there {
						line[m.key] = m.value
					}
				}
			}
			out.Encode(line)
			if ev.MonoNs < last {
				fmt.Fprintln(os.Stderr, "not in the order of time:", ev.Name, ev.MonoNs, "after", last)
				os.Exit(2)
			}
			last = ev.MonoNs
		}
		for _, n := range r.Notes() {
			fmt.Fprintln(os.Stderr, n)
		}
		r.Close()
	}
}
