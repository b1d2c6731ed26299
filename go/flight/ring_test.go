//go:build go1.22 && linux && (amd64 || arm64)

package flight

import (
	"testing"
	"unsafe"

	"gander.internal/gander"
	"gander.internal/gander/internal/region"
)

// A chunk's length that somebody has damaged leads to where a head has no room any more before the stream's end, which is a packet's: what is behind it
// is not the ring's.
func TestDamagedLength(t *testing.T) {
	if off := gander.Off(); off != "" {
		t.Skip("the agent is off: " + off)
	}
	for short := uint64(8); short < chunkHead; short += 8 {
		r := new(ring)
		if !r.open() {
			t.Skip("no memory")
		}
		if err := r.reserve(leastPackets); err != nil {
			t.Skip(err)
		}
		r.put(region.ChunkBatch, 1, make([]byte, region.PacketSize-64-chunkHead))
		r.put(region.ChunkBatch, 1, make([]byte, 64-chunkHead))
		if r.end != region.PacketSize || r.mapped != 1 {
			t.Fatal(r.end, r.mapped)
		}
		first := (*region.Chunk)(unsafe.Pointer(unsafe.SliceData(r.span(0, int(chunkHead)))))
		first.Len = uint32(r.end - short - chunkHead)
		n := 0
		r.walk(0, func(uint64, *region.Chunk) { n++ })
		if c, ok := r.oldest(); n != 1 || !ok || c.Len != first.Len {
			t.Error("the damaged chunk itself is within the stream:", n, ok, c.Len)
		}
		r.raise(r.end - short)
		if c, ok := r.oldest(); ok || r.tail != r.end {
			t.Error("a head behind the end:", c)
		}
		// the stream's first packet has become somebody else's long ago, and nothing in the ring can be copied
		r.put(region.ChunkBatch, 1, make([]byte, region.PacketSize))
		r.raise(region.PacketSize)
		r.table[0] = 0
		if out := r.whole(); len(out) != 0 {
			t.Error("a copy of nothing:", len(out))
		}
		r.release()
	}
}
