//go:build !linux || !(amd64 || arm64)

package gander

import (
	"context"
	"unsafe"
)

// Elsewhere the agent builds and stays off.

var whyOff = "unsupported-platform"

type class struct{ on *uint32 }

type piece struct {
	data unsafe.Pointer
	len  uint32
	elem uint32
}

func declareOrRefuse(name string, desc []byte) *class { return off }

func (c *class) emit(ctx context.Context, p *piece, n int, size int) {}
