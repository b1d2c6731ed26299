//go:build linux && (amd64 || arm64)

package gander

import (
	"sync/atomic"
	"unsafe"

	"gander.internal/gander/internal/region"
)

// liveState is what the event path needs to know of the region; set once, at start, and read by the assembly too.
type liveState struct {
	base     unsafe.Pointer // the mapped region; nil: off
	data     unsafe.Pointer // its first packet
	npackets uint32
	goid     uint32 // offset of the goroutine's id in g; 0: not known
	procid   uint32 // offset of the kernel thread's id in m; 0: not known
	mono     bool   // time is CLOCK_MONOTONIC, not the CPU's counter
	noCPU    bool   // the CPU's number cannot be read beside the counter
	boot     int64  // CLOCK_BOOTTIME - CLOCK_MONOTONIC
}

var live liveState

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

//go:linkname nanotime runtime.nanotime
func nanotime() int64

// piece is a part of a payload, laid out as struct gd_piece: elem 0 is a fixed part; n means the elements, n bytes each, of a variable
// field whose count is the last two bytes of the piece before.
type piece struct {
	data unsafe.Pointer
	len  uint32
	elem uint32
}

// extra is what an event has beyond the plain case.
type extra struct {
	time      int64 // 0: read the counter
	span, key uint64
}

// What writeEvent is told in one word: the class's id with the cut mark, the mask of the context, whether there is an extra, how many
// pieces, the size of the whole event.
const (
	whatMask   = 16
	whatExtra  = 1 << 23
	whatPieces = 24
	whatSize   = 32
)

// writeEvent appends one event to the slot's packet and publishes it, all in one go. The caller is pinned, the slot is its P's. It
// returns false, and has done nothing, when the slot has no packet, or none with room, or time has outgrown the packet.
//
//go:noescape
func writeEvent(slot *region.Slot, pieces *piece, what uint64, x *extra) bool

// writePlain is writeEvent for an event that exactly one recording wants, with no filter, no counting and a common context: it finds the channel,
// and what to tell, itself. what has the pieces and the size of the payload. slot is the caller's P.
//
//go:noescape
func writePlain(c *class, pieces *piece, what uint64, slot int) bool

// counter reads the CPU's counter.
//
//go:noescape
func counter() int64

// cpuNumber is the CPU that this runs on, beside a read of the counter.
//
//go:noescape
func cpuNumber() uint32

// gword and mword load 8 bytes at an offset of this goroutine's g, and of its m. They stand in assembly because checkptr and vet are right to
// doubt such loads in Go; the offsets are verified at start.
//
//go:noescape
func gword(off uint32) uint64

//go:noescape
func mword(off uint32) uint64

// frames walks the frame pointers of this goroutine's stack, never outside of it, and stores up to len(pcs) return addresses, the
// innermost first, beginning with that of the skip-th caller.
//
//go:noescape
func frames(pcs *uint64, max, skip int) int

// hasCPUNumber says whether cpuNumber works on this machine.
//
//go:noescape
func hasCPUNumber() bool

func at(off uint32) unsafe.Pointer { return unsafe.Add(live.base, off) }

func header() *region.Header   { return (*region.Header)(live.base) }
func control() *region.Control { return (*region.Control)(at(region.OffControl)) }
func classSlot(i uint32) *region.Class {
	return (*region.Class)(at(region.ClassOffset(i)))
}
func channel(c uint32) *region.Channel {
	return (*region.Channel)(at(region.OffChannels + c*uint32(unsafe.Sizeof(region.Channel{}))))
}
func packet(i uint32) *region.Packet {
	return (*region.Packet)(unsafe.Add(live.data, uintptr(i)<<region.PacketShift))
}

// now is the time of the region's clock.
func now() int64 {
	if live.mono {
		return nanotime()
	}
	return counter()
}

// sample reads all clocks at one instant. The boot clock is the monotonic one and the distance found at start: Go reads no other without
// a system call.
func sample(s *region.ClockSample) {
	a := now()
	m := nanotime()
	b := now()
	s.Counter = uint64(a + (b-a)/2)
	s.MonoNs = uint64(m)
	s.BootNs = uint64(m + live.boot)
	s.Width = uint64(b - a)
}

// lose counts an event that is lost: in the slot of the P that it is pinned to for that, so that no other adds to it then and a plain add will do. A
// P that has no slot counts in a word that is added to in no other way.
func lose(c uint32, reason int) {
	slot := procPin()
	if uint(slot) < region.Slots {
		channel(c).Slot[slot].Lost[reason]++
	} else {
		atomic.AddUint64(&channel(c).Slot[region.Slots-1].Lost[region.LostSlot], 1)
	}
	procUnpin()
}
