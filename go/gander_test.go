//go:build linux && (amd64 || arm64)

package gander

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
)

type status uint16

var (
	evBench0   = NewEvent0("bench.none", Info)
	evBench2   = NewEvent2[int, string]("bench.int_string", Info, "n", "s")
	evBenchIII = NewEvent2[int, int]("bench.int_int", Info, "a", "b")
	evBenchSl  = NewEvent1[[]int64]("bench.slice", Info, "v")
	evBench8   = NewEvent8[int, string, int, string, int, string, int, string]("bench.eight", Info, "a", "b", "c", "d", "e", "f", "g", "h")

	clsBench = NewClass("bench.record", Info, FieldDef{Name: "n", Type: TypeInt64}, FieldDef{Name: "s", Type: TypeString})

	evAll = NewEvent8[int8, uint16, float32, bool, string, []byte, []int32, time.Duration]("test.all", Warning,
		"i8", "u16", "f32", "flag", "s", "raw", "seq", "took")
	evEnum = NewEvent2[status, uintptr]("test.enum", Debug, "status", "addr", Enum("status", map[int64]string{200: "ok", 404: "not found"}), Hex("addr"))
	evBig  = NewEvent3[string, int, []int64]("test.big", Info, "s", "n", "v")
	evTick = NewEvent2[uint32, uint64]("test.tick", Info, "who", "n")
)

func openSelf(t testing.TB) *regiontest.Region {
	t.Helper()
	if why := Off(); why != "" {
		t.Skip("no region: " + why)
	}
	r, err := regiontest.Open(regionPath)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// enable records into channel c until the test ends.
func enable(t testing.TB, c int, cfg regiontest.Config) *regiontest.Region {
	t.Helper()
	r := openSelf(t)
	r.Free(c)
	r.Enable(c, cfg)
	t.Cleanup(func() { r.Disable(c) })
	return r
}

// recorded are the events that f emitted.
func recorded(t testing.TB, r *regiontest.Region, c int, f func()) []regiontest.Event {
	t.Helper()
	before, err := r.Events(c)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range before {
		seen[fmt.Sprint(e.Slot, e.Number)] = true
	}
	f()
	after, err := r.Events(c)
	if err != nil {
		t.Fatal(err)
	}
	var news []regiontest.Event
	for _, e := range after {
		if !seen[fmt.Sprint(e.Slot, e.Number)] {
			news = append(news, e)
		}
	}
	return news
}

func TestFieldTypes(t *testing.T) {
	r := enable(t, 1, regiontest.Config{Context: region.CtxTid | region.CtxGoid | region.CtxCpu, Packets: 16, Include: []string{"test.*"}})
	var tid int
	got := recorded(t, r, 1, func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid = syscall.Gettid()
		evAll.Emit(-5, 65535, 1.5, true, "héllo", []byte{0, 255}, []int32{-1, 2, 3}, 3*time.Second)
		evAll.Emit(0, 0, 0, false, "", nil, nil, 0)
		evEnum.Emit(404, 0xbeef)
		evEnum.Emit(201, 1)
	})
	if len(got) != 4 {
		t.Fatalf("%d events: %v", len(got), got)
	}
	want := map[string]any{"i8": int64(-5), "u16": uint64(65535), "f32": 1.5, "flag": true, "s": "héllo", "raw": []byte{0, 255},
		"seq": []any{int64(-1), int64(2), int64(3)}, "took": int64(3 * time.Second)}
	if !reflect.DeepEqual(got[0].Fields, want) {
		t.Errorf("got %v\nwant %v", got[0].Fields, want)
	}
	if s := got[1].Fields["s"]; s != "" {
		t.Errorf("empty string became %q", s)
	}
	if s := got[2].Fields["status"]; s != "not found" {
		t.Errorf("label: %v", s)
	}
	if s := got[3].Fields["status"]; s != uint64(201) {
		t.Errorf("value without a label: %v", s)
	}
	goid := stackGoid()
	for _, e := range got {
		if int(e.Tid) != tid || e.Goid != goid || (int(e.Cpu) >= 4096 && e.Cpu != 0xffff) {
			t.Errorf("tid %d (%d), goid %d (%d), cpu %d", e.Tid, tid, e.Goid, goid, e.Cpu)
		}
	}
	d := r.Desc(got[0].ID)
	if d.Level != uint8(Warning) || d.Fields[7].Flags != region.FieldDuration || r.Desc(got[2].ID).Fields[1].Flags != region.FieldHex {
		t.Errorf("description: %+v", d)
	}
}

// Every length around the copy's steps arrives whole, and nothing beyond its end is touched.
func TestLengths(t *testing.T) {
	r := enable(t, 1, regiontest.Config{Packets: 32, Include: []string{"test.big"}})
	page := make([]byte, 300)
	for i := range page {
		page[i] = byte('a' + i%26)
	}
	got := recorded(t, r, 1, func() {
		for n := 0; n < len(page); n++ {
			evBig.Emit(string(page[:n]), n, nil)
		}
	})
	for n, e := range got {
		if e.Fields["s"] != string(page[:n]) || e.Fields["n"] != int64(n) {
			t.Fatalf("length %d: %v", n, e.Fields)
		}
	}
	if len(got) != len(page) {
		t.Fatalf("%d events", len(got))
	}
}

func TestCut(t *testing.T) {
	r := enable(t, 1, regiontest.Config{Context: region.CtxGoid, Packets: 16, Include: []string{"test.big"}})
	cut := r.Cut(1)
	long := strings.Repeat("x", 100000)
	got := recorded(t, r, 1, func() {
		evBig.Emit(long, 7, make([]int64, 10))
		evBig.Emit("abc", 8, make([]int64, 9000))
		evBig.Emit(long[:50000], 9, nil)
	})
	if len(got) != 3 || r.Cut(1)-cut != 2 {
		t.Fatalf("%d events, %d cut", len(got), r.Cut(1)-cut)
	}
	size := 8 + 8 + 2 + 8 + 2
	if s := got[0].Fields["s"].(string); !got[0].Cut || len(s) != region.EventMax-size || got[0].Fields["n"] != int64(7) || len(got[0].Fields["v"].([]any)) != 0 {
		t.Errorf("string cut to %d", len(s))
	}
	if v := got[1].Fields["v"].([]any); !got[1].Cut || len(v) != (region.EventMax-size-3)/8 || got[1].Fields["s"] != "abc" {
		t.Errorf("sequence cut to %d", len(v))
	}
	if got[2].Cut || len(got[2].Fields["s"].(string)) != 50000 {
		t.Error("cut without need")
	}
}

//go:noinline
func callsEmit() { evTick.Emit(1, 2) }

//go:noinline
func callsEmit8() { evAll.Emit(1, 2, 3, true, "", nil, nil, 4) }

func TestContexts(t *testing.T) {
	r := enable(t, 1, regiontest.Config{Context: region.CtxAll, StackDepth: 16, Packets: 16, Include: []string{"test.*"}})
	got := recorded(t, r, 1, func() {
		callsEmit()
		evTick.EmitContext(WithKey(context.Background(), 77), 1, 3)
		callsEmit8()
	})
	if len(got) != 3 || got[1].Key != 77 || got[0].Key != 0 || got[0].Goid != stackGoid() {
		t.Fatalf("%+v", got)
	}
	pcs := make([]uintptr, len(got[0].Stack))
	for i, pc := range got[0].Stack {
		pcs[i] = uintptr(pc)
	}
	if len(pcs) < 3 {
		t.Fatalf("stack %v", pcs)
	}
	// Emit is inlined, also with eight fields: off costs no call. Under the race detector it has a frame of its own.
	outer := func(i int) string { return runtime.FuncForPC(runtime.FuncForPC(pcs[i] - 1).Entry()).Name() }
	if !strings.HasSuffix(outer(0), ".callsEmit") && !(raceEnabled && strings.HasSuffix(outer(0), ".Emit") && strings.HasSuffix(outer(1), ".callsEmit")) {
		t.Fatalf("innermost frames: %s, %s", outer(0), outer(1))
	}
	if pc := uintptr(got[2].Stack[0]) - 1; !raceEnabled && !strings.HasSuffix(runtime.FuncForPC(runtime.FuncForPC(pc).Entry()).Name(), ".callsEmit8") {
		t.Error("an event with eight fields is not inlined")
	}
	if f := runtime.FuncForPC(pcs[len(pcs)-1] - 1); f.Name() != "runtime.goexit" && len(pcs) < 16 {
		t.Fatalf("outermost frame %s", f.Name())
	}
}

func TestNoAllocs(t *testing.T) {
	r := enable(t, 1, regiontest.Config{Context: region.CtxTid | region.CtxGoid, Packets: 64, Include: []string{"bench.*"}})
	v := make([]int64, 16)
	s := strings.Repeat("s", 16)
	each := func(what string) {
		if n := testing.AllocsPerRun(100, func() {
			evBench0.Emit()
			evBench2.Emit(1, s)
			evBenchSl.Emit(v)
			evBench8.Emit(1, s, 2, s, 3, s, 4, s)
		}); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	each("on")
	r.Disable(1)
	each("off")
	r.Enable(1, regiontest.Config{Context: region.CtxAll, StackDepth: 64, Packets: 64, Include: []string{"bench.*"}})
	each("with all contexts")
	r.Enable(1, regiontest.Config{Packets: 64, Include: []string{"bench.*"}, Count: true})
	each("counting")
}

func TestRules(t *testing.T) {
	r := enable(t, 2, regiontest.Config{Packets: 4, Include: []string{"late.*"}, Exclude: []string{"late.not"}, Level: uint8(Info)})
	for _, c := range []struct {
		name  string
		level Level
		on    bool
	}{{"late.yes", Info, true}, {"late.not", Info, false}, {"late.debug", Debug, false}, {"other", Info, false}} {
		if e := NewEvent0(c.name, c.level); e.Enabled() != c.on {
			t.Errorf("%s: %v", c.name, e.Enabled())
		}
	}
	if NewEvent0("late.yes", Info).class != NewEvent0("late.yes", Info).class {
		t.Error("the same class twice has two ids")
	}
	lost := r.Header().LostClasses
	for _, bad := range []string{"", "a\x00b", strings.Repeat("n", 128)} {
		if e := NewEvent0(bad, Info); e.Enabled() || e.class != off {
			t.Errorf("%q was declared", bad)
		}
	}
	if r.Header().LostClasses-lost != 3 {
		t.Error("refused classes are not counted")
	}
}

func TestCount(t *testing.T) {
	r := enable(t, 3, regiontest.Config{Mode: region.ModeCount, Packets: 8, Include: []string{"test.tick"}, Count: true})
	before := r.Count(3, int(evTick.class.id))
	for i := 0; i < 1000; i++ {
		evTick.Emit(1, 2)
	}
	if n := r.Count(3, int(evTick.class.id)) - before; n != 1000 {
		t.Fatalf("counted %d", n)
	}
}

func TestOverwrite(t *testing.T) {
	r := enable(t, 4, regiontest.Config{Mode: region.ModeOverwrite, Quota: 3, Packets: 8, Include: []string{"test.tick"}})
	const n = 100000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := uint64(0); i < n; i++ {
		evTick.Emit(1, i)
	}
	events, err := r.Events(4)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for _, e := range events {
		last = max(last, e.Fields["n"].(uint64))
	}
	if last != n-1 || len(events) < 1000 || r.Lost(4) != [4]uint64{} {
		t.Fatalf("%d events, last %d, lost %v", len(events), last, r.Lost(4))
	}
}

// One slot has taken all packets; the first event of another must not be lost while there is something to overwrite.
func TestOverwriteAnothers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	r := enable(t, 4, regiontest.Config{Mode: region.ModeOverwrite, Quota: 24, Packets: 24, Include: []string{"test.tick"}})
	before := r.Lost(4)
	for i := uint64(0); i < 100000; i++ {
		evTick.Emit(1, i)
	}
	var ready atomic.Int32
	var wg sync.WaitGroup
	for g := 0; g < 8; g++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ready.Add(1)
			for ready.Load() < 8 { // running, not parked: so that all Ps are used
			}
			for i := uint64(0); i < 1000; i++ {
				evTick.Emit(2, i)
			}
		}()
	}
	wg.Wait()
	if r.Lost(4) != before {
		t.Fatalf("lost %v, before %v", r.Lost(4), before)
	}
}

func TestDiscard(t *testing.T) {
	r := enable(t, 5, regiontest.Config{Packets: 2, Include: []string{"test.tick"}})
	const n = 20000
	before := r.Lost(5)[region.LostFull]
	for i := uint64(0); i < n; i++ {
		evTick.Emit(1, i)
	}
	events, err := r.Events(5)
	if lost := r.Lost(5)[region.LostFull] - before; err != nil || uint64(len(events))+lost != n || lost == 0 {
		t.Fatalf("%d events, lost %d, %v", len(events), lost, err)
	}
}

func TestHeader(t *testing.T) {
	r := openSelf(t)
	h := r.Header()
	if int(h.Pid) != os.Getpid() || h.Writer != region.WriterGoP || h.Language != region.LangGo ||
		!strings.HasSuffix(os.Args[0], filepath.Base(strings.TrimRight(string(h.Exe[:]), "\x00"))) || h.Flags&region.FlagTid == 0 || live.goid == 0 {
		t.Errorf("%+v goid at %d", h, live.goid)
	}
	if st, err := os.Stat(regionPath); err != nil || st.Mode().Perm() != 0600 {
		t.Errorf("%v %v", st, err)
	}
	if f, err := os.Open(regionPath); err == nil {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			t.Error("the lock of a living program can be taken")
		}
		f.Close()
	}
}

// price is what one call of f(n)'s n rounds costs: the best of many short batches, for the machine has other work.
func price(b *testing.B, f func(n int)) {
	const batch = 10000
	best := time.Duration(1 << 62)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		start := time.Now()
		f(batch)
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(best)/batch, "best-ns/op")
}

func BenchmarkLoop(b *testing.B) {
	price(b, func(n int) {
		for i := 0; i < n; i++ {
		}
	})
}

func BenchmarkCounter(b *testing.B) {
	price(b, func(n int) {
		for i := 0; i < n; i++ {
			counter()
		}
	})
}

const text16 = "0123456789abcdef"

func BenchmarkOff(b *testing.B) {
	price(b, func(n int) {
		for i := 0; i < n; i++ {
			evBench2.Emit(i, text16)
		}
	})
}

// What is recorded has the thread's and the goroutine's id, as recordings have by default.
func BenchmarkOn(b *testing.B) {
	r := enable(b, 6, regiontest.Config{Mode: region.ModeOverwrite, Quota: 8, Context: region.CtxTid | region.CtxGoid, Packets: 32, Include: []string{"bench.*", "span.*"}})
	v := make([]int64, 16)
	s := strings.Repeat("s", 16)
	ctx := context.Background()
	for _, c := range []struct {
		name string
		f    func(n int)
	}{
		{"none", func(n int) {
			for i := 0; i < n; i++ {
				evBench0.Emit()
			}
		}},
		{"int_int", func(n int) {
			for i := 0; i < n; i++ {
				evBenchIII.Emit(i, i)
			}
		}},
		{"int_string16", func(n int) {
			for i := 0; i < n; i++ {
				evBench2.Emit(i, s)
			}
		}},
		{"int64x16", func(n int) {
			for i := 0; i < n; i++ {
				evBenchSl.Emit(v)
			}
		}},
		{"eight", func(n int) {
			for i := 0; i < n; i++ {
				evBench8.Emit(i, s, i, s, i, s, i, s)
			}
		}},
		{"record", func(n int) {
			for i := 0; i < n; i++ {
				var buf [64]byte
				clsBench.Begin(buf[:]).Int64(int64(i)).String(s).Commit()
			}
		}},
		{"span", func(n int) {
			for i := 0; i < n; i++ {
				_, sp := spWork.Start(ctx)
				sp.End()
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) { price(b, c.f) })
	}
	if lost := r.Lost(6); lost != [4]uint64{} {
		b.Errorf("lost %v", lost)
	}
}
