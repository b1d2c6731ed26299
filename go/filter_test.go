//go:build linux && (amd64 || arm64)

package gander

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"testing"
	"unsafe"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
	"gander.internal/gander/internal/vm"
)

// Filters in generic form, as the collector compiles them from text.
const (
	// n >= 500 && text ~ "the quick*"
	filterText = "47444631700000000200000000000000000000000000000000000000000000000a000000ffff05006000010000000000f40100000000000000010000000000000b00feffffff01006100040000000000650009000000000000000000000000006e7465787474686520717569636b0000"
	// status == 500 && $goid > 0, on an attribute
	filterAttr = "47444631700000000200000000000000000000000000000000000000000000000a000000ffff00006000060000000000f40100000000000000010000000000000a00feffffff040066000500000000000000000000000000000100000000000073746174757324676f69640000000000"
	// nosuch == 1
	filterNone = "47444631480000000100000000000000000000000000000000000000000000000a00feffffff00004000060000000000010000000000000000010000000000006e6f737563680000"
	// everything, counted by text
	filterBy = "47444631680000000200020000000000000000000000000000000000000000000100fefffeff00000000000000000000000000000000000000000000000000000e000000000000006000040000000000000000000000000000000000000000007465787400000000"
)

var filterRuns int

func TestFilter(t *testing.T) {
	if !reflect.DeepEqual(layout(piece{}), layout(vm.Piece{})) {
		t.Fatal("a piece is not a vm.Piece")
	}
	r := openSelf(t)
	on := func(c int, cfg regiontest.Config, filter string) {
		cfg.Filter, _ = hex.DecodeString(filter)
		cfg.Packets = 8
		r.Enable(c, cfg)
		t.Cleanup(func() { r.Disable(c) })
	}
	// the classes are declared after the rules: then this program links. Each run has its own.
	filterRuns++
	name := func(s string) string { return fmt.Sprintf("filter.%s.%d", s, filterRuns) }
	on(2, regiontest.Config{Include: []string{"filter.*"}}, filterText)
	ev := NewEvent2[uint64, string](name("event"), Info, "n", "text")
	none := NewEvent0(name("without"), Info)
	if !ev.Enabled() || none.Enabled() {
		t.Fatalf("enabled: %v, without the fields: %v", ev.Enabled(), none.Enabled())
	}
	s := "the quick brown fox"
	got := recorded(t, r, 2, func() {
		ev.Emit(499, s)
		ev.Emit(500, s)
		ev.Emit(501, s[1:])
		ev.Emit(9999, s[:9])
		ev.Emit(9999, s[:8])
	})
	if len(got) != 2 || got[0].Fields["n"] != uint64(500) || got[1].Fields["text"] != "the quick" {
		t.Errorf("%v", got)
	}
	if n := testing.AllocsPerRun(100, func() { ev.Emit(1, s); ev.Emit(1000, s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.Disable(2)

	on(3, regiontest.Config{Include: []string{"filter.*"}}, filterAttr)
	c := NewClass(name("attrs"), Info, FieldDef{Name: "attr", Type: TypeAttrs})
	got = recorded(t, r, 3, func() {
		var buf [128]byte
		c.Begin(buf[:]).Attrs(String("a", "b"), Int("status", 500)).Commit()
		c.Begin(buf[:]).Attrs(Int("status", 200)).Commit()
		c.Begin(buf[:]).Attrs().Commit()
	})
	if len(got) != 1 || got[0].Fields["attr"].(map[string]any)["status"] != int64(500) {
		t.Errorf("%v", got)
	}

	on(4, regiontest.Config{Include: []string{"filter.*"}}, filterNone)
	if NewEvent1[int](name("none"), Info, "n").Enabled() {
		t.Error("a class without the filter's field is on")
	}
	r.Disable(4)

	on(6, regiontest.Config{Include: []string{"filter.by.*"}, Count: true, Keys: 1, Mode: region.ModeCount}, filterBy)
	by := NewEvent2[int, string](name("by"), Info, "n", "text")
	for i := 0; i < 10; i++ {
		by.Emit(i, s[:3+i%2])
	}
	if keys := r.Keys(6); keys[name("by")+" the"] != 5 || keys[name("by")+" the "] != 5 {
		t.Errorf("%v", keys)
	}
	if n := testing.AllocsPerRun(100, func() { by.Emit(1, s) }); n != 0 {
		t.Errorf("counting: %v allocations", n)
	}
}

// A filtered event that is rejected, one that passes, a counted one and one that is counted by its text.
func BenchmarkFilter(b *testing.B) {
	r := openSelf(b)
	on := func(name string, filter string, cfg regiontest.Config, n uint64) {
		if filter != "" {
			cfg.Filter, _ = hex.DecodeString(filter)
		}
		cfg.Packets, cfg.Include = 16, []string{"fbench." + name}
		r.Enable(7, cfg)
		ev := NewEvent2[uint64, string]("fbench."+name, Info, "n", "text")
		b.Run(name, func(b *testing.B) {
			price(b, func(rounds int) {
				for i := 0; i < rounds; i++ {
					ev.Emit(n, "the quick brown fox")
				}
			})
		})
		r.Disable(7)
	}
	ring := regiontest.Config{Mode: region.ModeOverwrite, Quota: 4, Context: region.CtxGoid}
	on("reject", filterText, ring, 499)
	on("pass", filterText, ring, 500)
	on("count", "", regiontest.Config{Mode: region.ModeCount, Count: true}, 1)
	on("count_by", filterBy, regiontest.Config{Mode: region.ModeCount, Count: true, Keys: 1}, 1)
}

func layout(v any) (l []uintptr) {
	typ := reflect.TypeOf(v)
	for i := 0; i < typ.NumField(); i++ {
		l = append(l, typ.Field(i).Offset, typ.Field(i).Type.Size())
	}
	return append(l, unsafe.Sizeof(v))
}
