//go:build linux && (amd64 || arm64)

package gander

import (
	"sync/atomic"
	"unsafe"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/vm"
)

// filterKey is the value that hit counters are kept by.
type filterKey = vm.Key

// linkFilter makes the filter at off, in generic form, one for this class and returns where it lies; 0 when the class cannot have it, which
// keeps the class off.
func (c *class) linkFilter(off uint32) uint32 {
	if off < region.OffFilters || off >= region.OffHeap || off%8 != 0 {
		return 0
	}
	generic := unsafe.Slice((*byte)(at(off)), min(region.OffHeap-off, vm.GenericMax))
	out := make([]byte, vm.LinkedMax)
	n, err := vm.Link(generic, c.desc, out)
	if err != nil {
		return 0
	}
	return putRecord(region.RecordFilter, out[:n])
}

const (
	notRecorded = -1
	noneHolds   = region.Conditions
)

// holding is the condition that holds for an event, noneHolds, or notRecorded. What the set says is bounded here, word by word.
//
//go:noinline
func (c *class) holding(ch uint32, p *piece, n int, span, key uint64) int {
	off := atomic.LoadUint32(&c.slot.Filter[ch])
	if off < region.OffFilters || off > region.OffData-uint32(unsafe.Sizeof(region.ConditionSet{})) || off%8 != 0 {
		return notRecorded
	}
	set := (*region.ConditionSet)(at(off))
	if atomic.LoadUint32(&set.Magic) != region.ConditionMagic {
		return notRecorded
	}
	var by filterKey
	for i := uint32(0); i < min(atomic.LoadUint32(&set.N), region.Conditions); i++ {
		program := atomic.LoadUint32(&set.V[i].Program)
		if linked := quickAt(program); linked != nil && vm.Rejects(linked, (*vm.Piece)(hide(unsafe.Pointer(p))), n) {
			continue
		}
		if program == 0 || c.passes(program, p, n, span, key, &by) {
			return int(atomic.LoadUint32(&set.V[i].Number) % region.Conditions)
		}
	}
	filter := atomic.LoadUint32(&set.Filter)
	if filter == 0 || (filter != region.FilterNever && c.passes(filter, p, n, span, key, &by)) {
		return noneHolds
	}
	return notRecorded
}

// trigger freezes the channel's ring, if nothing has before. The event that it is about is published already: who sees the freeze sees the
// event.
func (c *class) trigger(ch uint32, number int) {
	chn := channel(ch)
	if atomic.LoadUint64(&chn.Trigger) != 0 {
		return // frozen already, or off: nothing is written, however often it holds
	}
	t := uint64(now())
	if atomic.CompareAndSwapUint64(&chn.Trigger, 0, region.Trigger(t, c.id, uint32(number))) { // [FREEZE]
		atomic.StoreUint64(&chn.TriggerTime, t)
	}
}

// isFrozen says whether the channel's ring has to keep what it holds.
func isFrozen(chn *region.Channel) bool {
	return atomic.LoadUint64(&chn.Trigger)&region.TriggerFrozen != 0
} // [FREEZE]

// passes runs the linked filter at off.
func (c *class) passes(off uint32, p *piece, n int, span, key uint64, by *filterKey) bool {
	if off < region.OffFilters || off > region.OffData-64 || off%8 != 0 {
		return false
	}
	linked := unsafe.Slice((*byte)(at(off)), region.OffData-off)
	// a piece is laid out as a vm.Piece
	v := vm.View{Piece: (*vm.Piece)(hide(unsafe.Pointer(p))), N: n, Span: span, Key: key, Level: uint8(c.level)}
	if needs := vm.Needs(linked); needs != 0 {
		if needs&region.CtxTid != 0 && live.procid != 0 {
			v.Tid = uint32(mword(live.procid))
		}
		if goid := atomic.LoadUint32(&live.goid); needs&region.CtxGoid != 0 && goid != 0 {
			v.Goid = gword(goid)
		}
		if needs&region.CtxCpu != 0 {
			v.Cpu = cpuNumber()
		}
	}
	// what the machine is shown it forgets when it is done, but the compiler cannot see that: it would put every event's pieces on the heap
	return vm.Run(linked, (*vm.View)(hide(unsafe.Pointer(&v))), (*vm.Key)(hide(unsafe.Pointer(by))))
}

// hide is p, unknown to escape analysis. What p points at must outlive the use.
func hide(p unsafe.Pointer) unsafe.Pointer { return foreign(uintptr(p)) }

// countKey adds one to the counter of a value: open addressing, sixteen places at most.
func (c *class) countKey(ch uint32, by *filterKey) {
	chn := channel(ch)
	first, n := chn.KeysFirst, chn.KeysCount
	if first >= live.npackets || n == 0 || n > live.npackets-first {
		lose(ch, region.LostOther)
		return
	}
	mix := func(h, v uint64) uint64 {
		h = (h ^ v) * 0x9e3779b97f4a7c15
		return h ^ h>>29
	}
	var words [48]byte
	copy(words[:], by.Value[:])
	print := mix(uint64(by.Kind), uint64(c.id))
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
				k.Value = by.Value
				// the kind and the length stand in one word with the id, and are stored last
				atomic.StoreUint32((*uint32)(unsafe.Pointer(&k.ClassId)), uint32(c.id)|uint32(by.Kind)<<16|uint32(by.Len)<<24) // [KEY]
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
	lose(ch, region.LostFull)
}
