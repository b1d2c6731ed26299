// The same events as twin.c: twin.py compares what lies in the two regions.
package main

import (
	"time"

	"gander.internal/gander"
)

var (
	onNone  = gander.NewEvent0("twin.none", gander.Notice)
	onInts  = gander.NewEvent4[int8, uint16, int32, uint64]("twin.ints", gander.Info, "a", "b", "c", "d")
	onText  = gander.NewEvent5[int64, string, []byte, float32, bool]("twin.text", gander.Warning, "n", "s", "raw", "f", "ok")
	onLists = gander.NewEvent4[[]int64, time.Duration, []uint16, uint64]("twin.lists", gander.Debug, "longs", "took", "shorts", "addr",
		gander.Hex("addr"))
	onShape = gander.NewClass("twin.shape", gander.Error,
		gander.FieldDef{Name: "kind", Type: gander.EnumOf(gander.TypeInt32, map[int64]string{1: "circle", 2: "square"})},
		gander.FieldDef{Name: "at", Type: gander.StructOf(gander.FieldDef{Name: "x", Type: gander.TypeInt32},
			gander.FieldDef{Name: "y", Type: gander.TypeFloat64})},
		gander.FieldDef{Name: "m", Type: gander.ArrayOf(3, gander.TypeInt16)})
)

func main() {
	many := make([]byte, 300)
	copy(many, "xyz")
	onNone.Emit()
	for i := 0; i < 5; i++ {
		onInts.Emit(int8(-3+i), uint16(65533+i), -int32(i), 1<<(60+i%4))
	}
	for i := 0; i < 40; i++ {
		onText.Emit(int64(i)-20, string(many[:i*7]), many[:40-i], 1.5*float32(i), i%2 == 1)
	}
	onText.Emit(1, "", nil, 0, false)
	onText.Emit(2, string(make([]byte, 70000)), []byte("abc"), 1, true)
	onLists.Emit([]int64{-1, 2, 1 << 40}, 1500*time.Millisecond, []uint16{65535, 7}, 0xdeadbeef)
	onLists.Emit(nil, 0, nil, 0)
	onShape.Begin(nil).Int32(2).Int32(-7).Float64(2.5).Int16(1).Int16(-2).Int16(3).Commit()
}
