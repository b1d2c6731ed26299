//go:build linux && (amd64 || arm64)

package otel

import (
	"context"
	"os"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"gander.internal/gander"
	"gander.internal/gander/internal/regiontest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if r, err := regiontest.Find(os.Getpid()); err == nil {
		os.Remove(r.Path)
	}
	os.Exit(code)
}

func TestProcessor(t *testing.T) {
	if why := gander.Off(); why != "" {
		t.Skip(why)
	}
	r, err := regiontest.Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Enable(7, regiontest.Config{Packets: 8, Include: []string{"otel.*"}})
	defer r.Disable(7)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(NewSpanProcessor()))
	defer provider.Shutdown(context.Background())
	tracer := provider.Tracer("test")
	before := time.Now()
	ctx, outer := tracer.Start(context.Background(), "outer", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("user", "ann")))
	_, inner := tracer.Start(ctx, "inner")
	inner.SetAttributes(attribute.Int("n", 3), attribute.Bool("ok", true), attribute.Float64("f", 1.5), attribute.IntSlice("l", []int{1, 2}))
	inner.SetStatus(codes.Error, "broke")
	time.Sleep(time.Millisecond)
	inner.End()
	outer.End()
	got, err := r.Events(7)
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, %v", got, err)
	}
	b0, b1, e1, e0 := got[0].Fields, got[1].Fields, got[2].Fields, got[3].Fields
	if b0["span_id"] != id(outer.SpanContext().SpanID()) || b1["parent_id"] != b0["span_id"] || e1["span_id"] != b1["span_id"] || e0["span_id"] != b0["span_id"] {
		t.Errorf("%v", got)
	}
	a := b0["attr"].(map[string]any)
	if a["name"] != "outer" || a["kind"] != "server" || a["user"] != "ann" || a["trace_id"] != outer.SpanContext().TraceID().String() {
		t.Errorf("%v", a)
	}
	a = e1["attr"].(map[string]any)
	if a["status"] != "Error" || a["error"] != "broke" || a["n"] != int64(3) || a["ok"] != true || a["f"] != 1.5 || a["l"] != "[1,2]" {
		t.Errorf("%v", a)
	}
	if d := time.Duration(e1["duration"].(uint64)); d < time.Millisecond || d > time.Since(before) {
		t.Errorf("%v", d)
	}
}
