//go:build linux && (amd64 || arm64)

package gandertrace

import (
	"bytes"
	"context"
	"os"
	rt "runtime/trace"
	"testing"

	"gander.internal/gander"
	format "gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if r, err := regiontest.Find(os.Getpid()); err == nil {
		os.Remove(r.Path)
	}
	os.Exit(code)
}

func TestBridge(t *testing.T) {
	if why := gander.Off(); why != "" {
		t.Skip(why)
	}
	r, err := regiontest.Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Enable(7, regiontest.Config{Context: format.CtxSpan | format.CtxGoid, Packets: 8, Include: []string{"trace.*"}})
	var out bytes.Buffer
	tracing := rt.Start(&out) == nil
	ctx, tk := NewTask(context.Background(), "order")
	WithRegion(ctx, "pay", func() { Logf(ctx, "money", "%d cents", 5) })
	tk.End()
	if tracing {
		rt.Stop()
	}
	r.Disable(7)
	got, err := r.Events(7)
	if err != nil || len(got) != 5 {
		t.Fatalf("%v, %v", got, err)
	}
	names := []string{"trace.task.begin", "trace.region.begin", "trace.log", "trace.region.end", "trace.task.end"}
	for i, e := range got {
		if e.Name != names[i] || e.Goid == 0 {
			t.Errorf("event %d is %s", i, e.Name)
		}
	}
	id := got[0].Fields["span_id"]
	if got[1].Fields["parent_id"] != id || got[2].Span != id || got[4].Fields["span_id"] != id ||
		got[0].Fields["attr"].(map[string]any)["type"] != "order" || got[2].Fields["message"] != "5 cents" {
		t.Errorf("%v", got)
	}
	if tracing && !(bytes.Contains(out.Bytes(), []byte("order")) && bytes.Contains(out.Bytes(), []byte("5 cents"))) {
		t.Error("the execution trace lacks them")
	}
}
