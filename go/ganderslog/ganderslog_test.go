//go:build linux && (amd64 || arm64)

package ganderslog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"gander.internal/gander"
	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if r, err := regiontest.Find(os.Getpid()); err == nil {
		os.Remove(r.Path)
	}
	os.Exit(code)
}

func open(t testing.TB, cfg regiontest.Config) *regiontest.Region {
	if why := gander.Off(); why != "" {
		t.Skip(why)
	}
	r, err := regiontest.Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	r.Enable(7, cfg)
	t.Cleanup(func() { r.Disable(7); r.Close() })
	return r
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.GroupValue(slog.Int("a", 1), slog.String("b", "x")) }

type broken struct{}

func (*broken) String() string { panic("no") }

func TestHandler(t *testing.T) {
	r := open(t, regiontest.Config{Context: region.CtxGoid, Packets: 8, Include: []string{"log.*"}})
	var out bytes.Buffer
	log := slog.New(NewHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	log = log.With("app", "shop").WithGroup("req").With("id", uint64(7))
	when := time.Unix(5, 6)
	log.Info("hello", "n", -1, "f", 2.5, "ok", true, "took", time.Second, "at", when, "err", errors.New("bad"),
		slog.Group("g", "x", 1, slog.Group("empty")), "v", valuer{}, "p", (*broken)(nil), "raw", []byte("abc"))
	log.Warn("warned")
	log.Log(context.Background(), slog.LevelDebug, "debug")
	got, err := r.Events(7)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d events, %v", len(got), err)
	}
	want := map[string]any{"app": "shop", "req.id": uint64(7), "req.n": int64(-1), "req.f": 2.5, "req.ok": true, "req.took": time.Second,
		"req.at": when, "req.err": "bad", "req.g.x": int64(1), "req.v.a": int64(1), "req.v.b": "x", "req.p": "!PANIC: no", "req.raw": "abc"}
	if got[0].Name != "log.info" || got[0].Fields["msg"] != "hello" || !reflect.DeepEqual(got[0].Fields["attr"], want) {
		t.Errorf("got  %v\nwant %v", got[0].Fields["attr"], want)
	}
	if got[1].Name != "log.warn" || got[1].Fields["level"] != int64(4) || got[2].Name != "log.debug" {
		t.Errorf("%v", got[1:])
	}
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "warned") || !strings.Contains(s, "req.id=7") {
		t.Errorf("the next handler got %q", s)
	}
}

func TestOff(t *testing.T) {
	h := NewHandler(nil)
	if h.Enabled(context.Background(), slog.LevelError) {
		t.Error("enabled with no recording")
	}
	r := open(t, regiontest.Config{Packets: 8, Include: []string{"log.*"}, Level: uint8(gander.Warning)})
	if h.Enabled(context.Background(), slog.LevelInfo) || !h.Enabled(context.Background(), slog.LevelWarn) {
		t.Error("levels")
	}
	r.Disable(7)
	log := slog.New(h)
	if n := testing.AllocsPerRun(100, func() { log.Info("x", "a", 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The handler keeps slog's rules. What slogtest wants to see as nested groups is made of the dotted keys.
func TestSlogtest(t *testing.T) {
	r := open(t, regiontest.Config{Packets: 8, Include: []string{"log.*"}})
	err := slogtest.TestHandler(NewHandler(nil), func() (results []map[string]any) {
		events, err := r.Events(7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			m := map[string]any{"msg": e.Fields["msg"], "level": slog.Level(e.Fields["level"].(int64))}
			for k, v := range e.Fields["attr"].(map[string]any) {
				at := m
				keys := strings.Split(k, ".")
				for _, group := range keys[:len(keys)-1] {
					sub, ok := at[group].(map[string]any)
					if !ok {
						sub = map[string]any{}
						at[group] = sub
					}
					at = sub
				}
				at[keys[len(keys)-1]] = v
			}
			results = append(results, m)
		}
		return results
	})
	// an event has its own time, whatever the record's
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			if line != "" && !strings.Contains(line, `"time"`) {
				t.Error(line)
			}
		}
	}
}

func BenchmarkLog(b *testing.B) {
	log := slog.New(NewHandler(nil))
	b.Run("off", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i++ {
			log.Info("message", "n", i, "s", "text")
		}
	})
	open(b, regiontest.Config{Mode: region.ModeOverwrite, Quota: 4, Packets: 16, Include: []string{"log.*"}})
	b.Run("on", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i++ {
			log.Info("message", "n", i, "s", "text")
		}
	})
}
