//go:build !linux || !(amd64 || arm64)

package flight

import (
	"errors"
	"io"
)

var errOther = errors.New("flight: needs Linux on amd64 or arm64")

func start(o Options) error { return errOther }

func stop() {}

func flying() bool { return false }

func writeTo(w io.Writer) (int64, error) { return 0, errOther }

func snapshot(reason string) error { return errOther }
