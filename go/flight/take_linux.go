//go:build go1.22 && linux && (amd64 || arm64)

package flight

import (
	"io"
	"sync/atomic"
	"unsafe"

	"gander.internal/gander/internal/region"
)

func writeTo(w io.Writer) (int64, error) {
	p := &pilot
	if !flying() {
		return 0, ErrNotFlying
	}
	closeGeneration()
	p.lock.Lock()
	if !p.on {
		p.lock.Unlock()
		return 0, ErrNotFlying
	}
	data := p.whole()
	header := p.f.Header
	p.lock.Unlock()
	n, err := w.Write(header[:])
	total := int64(n)
	if err == nil {
		n, err = w.Write(data)
		total += int64(n)
	}
	return total, err
}

// whole is a copy of the newest session's complete generations, without gaps between them.
func (r *ring) whole() []byte {
	var out []byte
	begun, last := false, 0 // whether out goes on at a generation's begin; where its last whole one ends
	for pos := r.tail; pos < r.end; {
		var c region.Chunk
		r.copyOut(pos, unsafe.Slice((*byte)(unsafe.Pointer(&c)), chunkHead))
		if c.Pos != pos || uint64(c.Len) > region.ChunkMax || pos+chunkSize(int(c.Len)) > r.end {
			break // damaged from outside
		}
		switch c.Kind {
		case region.ChunkStart:
			out, begun, last = out[:0], true, 0
		case region.ChunkBatch, region.ChunkEnd:
			if begun {
				at := len(out)
				out = append(out, make([]byte, c.Len)...)
				r.copyOut(pos+chunkHead, out[at:])
			}
			if c.Kind == region.ChunkEnd {
				begun, last = true, len(out)
			}
		}
		pos += chunkSize(int(c.Len))
	}
	return out[:last]
}

func snapshot(reason string) error {
	p := &pilot
	if !flying() {
		return ErrNotFlying
	}
	closeGeneration()
	p.lock.Lock()
	defer p.lock.Unlock()
	if !p.on {
		return ErrNotFlying
	}
	s := &p.f.Saved
	p.takeSaved()
	if atomic.LoadUint32(&s.State) == region.SavedReady { // [SAVED]
		return ErrWaiting
	}
	return p.save(reason)
}
