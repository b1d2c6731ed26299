//go:build linux && (amd64 || arm64)

package gander

import (
	"sync/atomic"
	"unsafe"

	"gander.internal/gander/internal/region"
)

// filterKey is the value that hit counters are kept by: struct gd_filter_key.
type filterKey struct {
	kind, len uint8
	value     [44]byte
}

// linkFilter makes the filter at off, in generic form, one for this class and returns where it lies; 0 when the class cannot have it.
func (c *class) linkFilter(off uint32) uint32 { return 0 }

// passes runs the class's filter in the channel.
func (c *class) passes(ch uint32, p *piece, n int, span, key uint64, by *filterKey) bool {
	return false
}

// countKey adds one to the counter of a value: open addressing, sixteen places at most.
func (c *class) countKey(ch uint32, by *filterKey) {
	chn := channel(ch)
	first, n := chn.KeysFirst, chn.KeysCount
	if first >= live.npackets || n == 0 || n > live.npackets-first {
		lose(ch, 0, region.LostOther)
		return
	}
	mix := func(h, v uint64) uint64 {
		h = (h ^ v) * 0x9e3779b97f4a7c15
		return h ^ h>>29
	}
	var words [48]byte
	copy(words[:], by.value[:])
	print := mix(uint64(by.kind), uint64(c.id))
	for i := 0; i < len(words); i += 8 {
		print = mix(print, le64(words[i:]))
	}
	print |= 1
	size := uint32(unsafe.Sizeof(region.CountKey{}))
	entries := n * (region.PacketSize / size)
	for i := uint32(0); i < 16; i++ {
		at := (uint32(print>>1) + i) % entries
		k := (*region.CountKey)(unsafe.Add(unsafe.Pointer(packet(first)), uintptr(at)*uintptr(size)))
		seen := atomic.LoadUint64(&k.Fingerprint)
		if seen == 0 {
			if atomic.CompareAndSwapUint64(&k.Fingerprint, 0, print) { // [KEY]
				k.ClassId = c.id
				k.Value = by.value
				// the kind and the length stand in one word with the id, and are stored last
				atomic.StoreUint32((*uint32)(unsafe.Pointer(&k.ClassId)), uint32(c.id)|uint32(by.kind)<<16|uint32(by.len)<<24) // [KEY]
				seen = print
			} else {
				seen = atomic.LoadUint64(&k.Fingerprint)
			}
		}
		if seen == print {
			atomic.AddUint64(&k.Count, 1)
			return
		}
	}
	lose(ch, 0, region.LostFull)
}
