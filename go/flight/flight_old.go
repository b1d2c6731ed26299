//go:build !go1.22 && linux && (amd64 || arm64)

package flight

import (
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"unsafe"

	"gander.internal/gander"
	"gander.internal/gander/internal/region"
)

// Up to Go 1.21 the trace's tables come at its end, so that what a killed program leaves cannot be read by anybody, and nothing cuts a
// running trace.
var errOld = errors.New("flight: needs Go 1.22")

func init() {
	if gander.Off() != "" {
		return
	}
	f := flight()
	if touch(unsafe.Pointer(f), unsafe.Sizeof(*f)) {
		copy(f.Why[:len(f.Why)-1], "it was built with "+runtime.Version()+", and a flight needs Go 1.22")
		atomic.StoreUint32(&f.State, region.FlightNever)
	}
	offer()
}

func start(o Options) error { return errOld }

func stop() {}

func flying() bool { return false }

func writeTo(w io.Writer) (int64, error) { return 0, errOld }

func snapshot(reason string) error { return errOld }
