package vm

import (
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"unsafe"
)

type filterVector struct {
	Text, Desc, Generic string
	Linked              int
	Hash, Needs         uint32
	Pass                bool
	Kind                uint8
	Value               string
	Tid                 uint32
	Goid                uint64
	Level               uint8
	Pieces              []struct {
		Elem uint32
		Data string
	}
}

type vectors struct {
	Filters []filterVector
	Globs   []struct {
		Pattern string
		Matches []int
	}
	Texts   []string
	Numbers [][8]any
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t testing.TB) (v vectors) {
	data, err := os.ReadFile("../../../tests/data/filter-vectors.json")
	if os.IsNotExist(err) {
		t.Skip("the vectors are in gander's source tree only")
	}
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (f *filterVector) view(t testing.TB) View {
	var pieces []Piece
	for _, p := range f.Pieces {
		pieces = append(pieces, PieceOf(unhex(t, p.Data), p.Elem))
	}
	v := ViewOf(pieces)
	v.Tid, v.Goid, v.Level = f.Tid, f.Goid, f.Level
	return v
}

// C and Go link to the same bytes and give the same answers.
func TestFilters(t *testing.T) {
	codes := map[error]int{ErrNoField: -2, ErrInvalid: -22, ErrNoSpace: -28}
	passed, quick := 0, 0
	for _, f := range read(t).Filters {
		var out [LinkedMax]byte
		n, err := Link(unhex(t, f.Generic), unhex(t, f.Desc), out[:])
		if err != nil {
			if codes[err] != f.Linked {
				t.Errorf("%s: %v, in C %d", f.Text, err, f.Linked)
			}
			continue
		}
		h := fnv.New32a()
		h.Write(out[:n])
		if n != f.Linked || h.Sum32() != f.Hash {
			t.Errorf("%s: other bytes than in C: %d, there %d", f.Text, n, f.Linked)
		}
		if Needs(out[:n]) != f.Needs {
			t.Errorf("%s: needs %x, in C %x", f.Text, Needs(out[:n]), f.Needs)
		}
		v := f.view(t)
		var key Key
		if got := Run(out[:n], &v, &key); got != f.Pass {
			t.Errorf("%s: %v, in C %v", f.Text, got, f.Pass)
		}
		if v.N > 0 && Rejects(unsafe.Pointer(&out), v.Piece, v.N) {
			quick++
			if f.Pass {
				t.Errorf("%s: rejected by its first instruction, in C %v", f.Text, f.Pass)
			}
		}
		if value := unhex(t, f.Value); key.Kind != f.Kind || string(key.Value[:key.Len]) != string(value) {
			t.Errorf("%s: key %d %q, in C %d %q", f.Text, key.Kind, key.Value[:key.Len], f.Kind, value)
		}
		if f.Pass {
			passed++
		}
		if allocs := testing.AllocsPerRun(1, func() { Run(out[:n], &v, &key) }); allocs != 0 {
			t.Errorf("%s: %v allocations", f.Text, allocs)
		}
	}
	if passed < 50 || quick < 10 {
		t.Errorf("only %d filters passed an event, %d rejected one by their first instruction", passed, quick)
	}
}

func TestGlobs(t *testing.T) {
	all := read(t)
	for _, g := range all.Globs {
		want := map[int]bool{}
		for _, i := range g.Matches {
			want[i] = true
		}
		for i, text := range all.Texts {
			if got := Glob(unhex(t, g.Pattern), unhex(t, text)); got != want[i] {
				t.Errorf("%q on %q: %v", unhex(t, g.Pattern), unhex(t, text), got)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, n := range read(t).Numbers {
		bits := func(i int) uint64 {
			v, err := strconv.ParseUint(n[i].(string), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		small := func(i int) int { return int(n[i].(float64)) }
		x, y := num{uint32(small(0)), bits(1)}, num{uint32(small(2)), bits(3)}
		r := arithmetic(uint8(small(4)), x, y)
		if r.kind == numF64 && r.float() != r.float() {
			r.bits = 0
		}
		if r.kind == numNone {
			r.bits = 0
		}
		if r != (num{uint32(small(5)), bits(6)}) {
			t.Errorf("%v op %d %v: %v, in C %v", x, small(4), y, r, n[5:7])
		}
		if got := compare(x, y); got != small(7) {
			t.Errorf("%v against %v: %d, in C %d", x, y, got, small(7))
		}
	}
}

// Bytes that are no program, and programs that another thread changes while they run: no panic, no read outside, an end.
func TestHostile(t *testing.T) {
	for k, f := range read(t).Filters {
		var out [LinkedMax]byte
		n, err := Link(unhex(t, f.Generic), unhex(t, f.Desc), out[:])
		if err != nil {
			continue
		}
		v := f.view(t)
		seed := uint32(k) + 1
		for i := 0; i < 300; i++ {
			seed = seed*1664525 + 1013904223
			bad := out
			for j := 0; j < 1+i%4; j++ {
				seed = seed*1664525 + 1013904223
				bad[8+int(seed>>8)%(n-8)] ^= byte(seed >> 24)
			}
			var key Key
			if cut := i % 9 * 8; !Run(bad[:n-cut], &v, &key) || v.N == 0 {
				Rejects(unsafe.Pointer(&bad), v.Piece, v.N)
			} else if Rejects(unsafe.Pointer(&bad), v.Piece, v.N) {
				t.Errorf("%s, damaged: passed, but rejected by its first instruction", f.Text)
			}
			gen := unhex(t, f.Generic)
			gen[8+int(seed>>8)%(len(gen)-8)] ^= byte(seed >> 24)
			Link(gen, unhex(t, f.Desc), bad[:])
		}
	}
}

// The same with a second thread. The race is the point, so the race detector does not see this test.
func TestHostileWriter(t *testing.T) {
	if raceEnabled {
		t.Skip("it races on purpose")
	}
	var stop atomic.Bool
	var out [LinkedMax]byte
	all := read(t).Filters
	done := make(chan struct{})
	go func() {
		defer close(done)
		for seed := uint32(1); !stop.Load(); seed = seed*1664525 + 1013904223 {
			out[8+seed>>8%2048] ^= byte(seed >> 24)
		}
	}()
	for i := 0; i < 20; i++ {
		for k := range all {
			f := &all[k]
			n, err := Link(unhex(t, f.Generic), unhex(t, f.Desc), out[:])
			if err != nil {
				continue
			}
			v := f.view(t)
			var key Key
			for j := 0; j < 20; j++ {
				Run(out[:n], &v, &key)
				Rejects(unsafe.Pointer(&out), v.Piece, v.N)
			}
		}
	}
	stop.Store(true)
	<-done
}

func FuzzRun(f *testing.F) {
	for _, vec := range read(f).Filters[:50] {
		f.Add(unhex(f, vec.Generic), unhex(f, vec.Desc), []byte("\x01\x02\x03\x04\x05\x06\x07\x08"))
	}
	f.Fuzz(func(t *testing.T, generic, desc, payload []byte) {
		var out [LinkedMax]byte
		v := ViewOf([]Piece{PieceOf(payload, 0)})
		var key Key
		if n, err := Link(generic, desc, out[:]); err == nil {
			Run(out[:n], &v, &key)
		}
		Run(generic, &v, &key)
	})
}

// benchFilter runs a generic form on a class with the fields status (int32) and path (string).
func benchFilter(b *testing.B, generic string, v *View) {
	desc := "\x01\x00\x06\x02\x01e\x06status\x00\x07\x04path\x00\x0d"
	var out [512]byte
	n, err := Link(unhex(b, generic), []byte(desc), out[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if Run(out[:n], v, nil) {
			b.Fatal("it passed")
		}
	}
}

func benchView() View {
	return ViewOf([]Piece{PieceOf([]byte("\xc8\x00\x00\x00\x0d\x00"), 0), PieceOf([]byte("/static/a.css"), 1), PieceOf(nil, 0)})
}

// status >= 500
func BenchmarkRejectInt(b *testing.B) {
	v := benchView()
	benchFilter(b, "47444631480000000100000000000000000000000000000000000000000000000a00feffffff05004000060000000000f40100000000000000010000000000007374617475730000", &v)
}

// path ~ "/api/*"
func BenchmarkRejectPrefix(b *testing.B) {
	v := benchView()
	benchFilter(b, "47444631500000000100000000000000000000000000000000000000000000000b00feffffff0100400004000000000044000500000000000000000000000000706174682f6170692f00000000000000", &v)
}

// path ~ "*.htm?"
func BenchmarkRejectGlob(b *testing.B) {
	v := benchView()
	benchFilter(b, "47444631500000000100000000000000000000000000000000000000000000000b00feffffff0400400004000000000044000600000000000000000000000000706174682a2e68746d3f000000000000", &v)
}
