//go:build !go1.22 && linux && (amd64 || arm64)

package flight

import (
	"errors"
	"io"
)

// Up to Go 1.21 the trace's tables come at its end, so that what a killed program leaves cannot be read by anybody, and nothing cuts a
// running trace.
var errOld = errors.New("flight: needs Go 1.22")

func start(o Options) error { return errOld }

func stop() {}

func flying() bool { return false }

func writeTo(w io.Writer) (int64, error) { return 0, errOld }

func snapshot(reason string) error { return errOld }
