//go:build linux && (amd64 || arm64)

package flight

import (
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"gander.internal/gander/internal/mapped"
	"gander.internal/gander/internal/region"
)

func control() *region.Control {
	return (*region.Control)(unsafe.Add(mapped.Region.Base, region.OffControl))
}

func flight() *region.Flight {
	return (*region.Flight)(unsafe.Add(mapped.Region.Base, region.OffFlight))
}

// touch gives memory to pages of the region. In a full tmpfs the kernel answers with SIGBUS, which here becomes a panic that is caught.
func touch(p unsafe.Pointer, size uintptr) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	for off := uintptr(0); off < size; off += region.PageSize {
		atomic.AddUint32((*uint32)(unsafe.Add(p, off)), 0)
	}
	return true
}

// offer tells collectors that somebody here looks at control.fly.
func offer() {
	h := (*region.Header)(mapped.Region.Base)
	for v := atomic.LoadUint32(&h.Flags); !atomic.CompareAndSwapUint32(&h.Flags, v, v|region.FlagFlight); v = atomic.LoadUint32(&h.Flags) {
	}
}

// tellBell tells collectors which descriptor wakes who looks there; -1: none does. A collector sets its bit of control.fly before it looks
// here, and who looks at control.fly does so behind this: one of the two sees what the other has done.
func tellBell(number int, ino uint64) {
	h := (*region.Header)(mapped.Region.Base)
	if number >= 0 {
		atomic.StoreUint32(&h.WakeIno, uint32(ino))
	}
	atomic.StoreUint32(&h.WakeFd, uint32(number+1)) // [WAKE]
}
