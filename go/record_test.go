//go:build linux && (amd64 || arm64)

package gander

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
)

var (
	clsShape = NewClass("record.shape", Notice,
		FieldDef{Name: "kind", Type: EnumOf(TypeUint8, map[int64]string{1: "circle", 2: "square"})},
		FieldDef{Name: "at", Type: StructOf(FieldDef{Name: "x", Type: TypeInt32}, FieldDef{Name: "y", Type: TypeFloat64})},
		FieldDef{Name: "matrix", Type: ArrayOf(2, ArrayOf(2, TypeInt16))},
		FieldDef{Name: "names", Type: SequenceOf(TypeString)},
		FieldDef{Name: "note", Type: TypeString},
		FieldDef{Name: "more", Type: TypeAttrs})
	clsLarge = NewClass("record.large", Info, FieldDef{Name: "s", Type: TypeString}, FieldDef{Name: "n", Type: TypeInt64}, FieldDef{Name: "more", Type: TypeAttrs})
	spWork   = NewSpan("span.work", Info)
)

func putShape(r Record) Record {
	r = r.Uint8(2).Int32(-7).Float64(2.5)
	for i := int16(0); i < 4; i++ {
		r = r.Int16(i)
	}
	return r.Len(2).String("a").String("bc").String("note").
		Attrs(Int("i", -1), Uint64("u", 1), Float64("f", 0.5), Bool("b", true), String("s", "t"), Duration("d", time.Second), Time("t", time.Unix(1, 2)))
}

func TestRecord(t *testing.T) {
	r := enable(t, 1, regiontest.Config{Packets: 16, Context: region.CtxGoid, Include: []string{"record.*"}})
	var buf [256]byte
	got := recorded(t, r, 1, func() {
		if !putShape(clsShape.Begin(buf[:])).Commit() {
			t.Error("refused")
		}
		if clsShape.Begin(nil).Uint8(1).Commit() {
			t.Error("an event with missing fields was recorded")
		}
		if clsLarge.Begin(nil).String("x").Int64(1).Attrs().Int8(1).Commit() {
			t.Error("an event with a field too many was recorded")
		}
	})
	if len(got) != 1 {
		t.Fatalf("%d events", len(got))
	}
	want := map[string]any{"kind": "square", "at": map[string]any{"x": int64(-7), "y": 2.5},
		"matrix": []any{[]any{int64(0), int64(1)}, []any{int64(2), int64(3)}}, "names": []any{"a", "bc"}, "note": "note",
		"more": map[string]any{"i": int64(-1), "u": uint64(1), "f": 0.5, "b": true, "s": "t", "d": time.Second, "t": time.Unix(1, 2)}}
	if !reflect.DeepEqual(got[0].Fields, want) {
		t.Errorf("got  %v\nwant %v", got[0].Fields, want)
	}
	if n := testing.AllocsPerRun(100, func() {
		var buf [256]byte
		putShape(clsShape.Begin(buf[:])).Commit()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for _, bad := range []Type{{}, ArrayOf(70000, TypeInt8), StructOf(), SequenceOf(TypeAttrs), EnumOf(TypeString, nil),
		SequenceOf(SequenceOf(SequenceOf(SequenceOf(SequenceOf(TypeInt8)))))} {
		if c := NewClass("record.bad", Info, FieldDef{Name: "f", Type: bad}); c.class != off {
			t.Errorf("%+v was declared", bad)
		}
	}
}

func TestRecordCut(t *testing.T) {
	r := enable(t, 1, regiontest.Config{Packets: 16, Include: []string{"record.*"}})
	cut := r.Cut(1)
	got := recorded(t, r, 1, func() {
		for _, v := range []struct{ s, attr int }{{70000, 10}, {10, 70000}, {59000, 5000}, {59700, 10}} {
			r := clsLarge.Begin(nil).String(strings.Repeat("s", v.s)).Int64(42).
				Attrs(Int("first", 1), String("long", strings.Repeat("a", v.attr)), Int("last", 2))
			if !r.Commit() {
				t.Error("refused")
			}
		}
	})
	if len(got) != 4 {
		t.Fatalf("%d events", len(got))
	}
	for i, e := range got {
		s, attrs := e.Fields["s"].(string), e.Fields["more"].(map[string]any)
		long, _ := attrs["long"].(string)
		t.Logf("%d: cut %v, s %d, attrs %d, long %d", i, e.Cut, len(s), len(attrs), len(long))
		if e.Fields["n"] != int64(42) || strings.Trim(s, "s") != "" || strings.Trim(long, "a") != "" {
			t.Errorf("event %d: wrong values", i)
		}
	}
	if !got[0].Cut || !got[1].Cut || !got[2].Cut || got[1].Fields["s"] != "ssssssssss" || r.Cut(1)-cut < 3 {
		t.Error("not cut")
	}
}

func TestSpan(t *testing.T) {
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		_, sp := spWork.Start(ctx, Int("n", 1))
		sp.End(Bool("ok", true))
	}); n != 0 {
		t.Errorf("off: %v allocations", n)
	}
	r := enable(t, 1, regiontest.Config{Packets: 16, Context: region.CtxSpan, Include: []string{"span.*", "test.tick"}})
	var outer, inner ActiveSpan
	before := time.Now()
	got := recorded(t, r, 1, func() {
		var octx, ictx context.Context
		octx, outer = spWork.Start(WithRemoteSpan(ctx, 99, TraceID{1}), String("who", "outer"))
		ictx, inner = spWork.Start(octx)
		evTick.EmitContext(ictx, 1, 2)
		time.Sleep(2 * time.Millisecond)
		inner.End(Int("status", 200))
		outer.End()
		if id, trace := SpanFromContext(ictx); id != inner.ID() || trace != (TraceID{1}) {
			t.Errorf("the context carries %x %x", id, trace)
		}
	})
	if len(got) != 5 {
		t.Fatalf("%d events", len(got))
	}
	b0, b1, tick, e1, e0 := got[0], got[1], got[2], got[3], got[4]
	if b0.Name != "span.work.begin" || b0.Fields["span_id"] != outer.ID() || b0.Fields["parent_id"] != uint64(99) ||
		b1.Fields["parent_id"] != outer.ID() || e1.Fields["span_id"] != inner.ID() || e0.Name != "span.work.end" || outer.ID() == inner.ID() {
		t.Errorf("%+v", got)
	}
	if tick.Span != inner.ID() || b1.Span != inner.ID() || e0.Span != outer.ID() {
		t.Errorf("span contexts: %+v", got)
	}
	if d := time.Duration(e1.Fields["duration"].(uint64)); d < 2*time.Millisecond || d > time.Since(before) {
		t.Errorf("duration %v", d)
	}
	if a := e1.Fields["attr"].(map[string]any); a["status"] != int64(200) {
		t.Errorf("attributes %v", a)
	}
	if n := testing.AllocsPerRun(100, func() {
		_, sp := spWork.Start(ctx, Int("n", 1))
		sp.End(Bool("ok", true))
	}); n > 1 {
		t.Errorf("on: %v allocations", n)
	}
	var none context.Context // a mistake, but it must not fail only when the program is recorded
	nilCtx, sp := spWork.Start(none)
	sp.End()
	if id, _ := SpanFromContext(nilCtx); id != sp.ID() {
		t.Error("no context")
	}
	if d := r.Desc(b0.ID); d.Kind != region.KindSpanBegin || r.Desc(e0.ID).Kind != region.KindSpanEnd {
		t.Error("kinds")
	}
}

func BenchmarkSpanOff(b *testing.B) {
	ctx := context.Background()
	price(b, func(n int) {
		for i := 0; i < n; i++ {
			_, sp := spWork.Start(ctx, Int("n", i), String("s", text16))
			sp.End(Int("n", i))
		}
	})
}
