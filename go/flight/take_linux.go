//go:build go1.22 && linux && (amd64 || arm64)

package flight

import (
	"io"
	"sync/atomic"

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

// whole is a copy of the newest session's complete generations, without gaps between them. It is as large as that, and no larger.
func (r *ring) whole() []byte {
	begun := false
	from, to := r.tail, r.tail // where the copy begins and ends
	size, sure := 0, 0         // of the batches since from; of those up to to
	r.walk(r.tail, func(pos uint64, c *region.Chunk) {
		switch c.Kind {
		case region.ChunkStart:
			begun, from, to, size, sure = true, pos, pos, 0, 0
		case region.ChunkBatch:
			size += int(c.Len)
		case region.ChunkEnd:
			next := pos + chunkSize(int(c.Len))
			if !begun {
				begun, from, size = true, next, 0
			} else {
				size += int(c.Len)
			}
			to, sure = next, size
		}
	})
	out := make([]byte, 0, sure)
	r.walk(from, func(pos uint64, c *region.Chunk) {
		if pos < to && int(c.Len) <= cap(out)-len(out) && (c.Kind == region.ChunkBatch || c.Kind == region.ChunkEnd) {
			at := len(out)
			out = out[:at+int(c.Len)]
			r.copyOut(pos+chunkHead, out[at:])
		}
	})
	return out
}

// walk calls fn with each chunk from pos on.
func (r *ring) walk(pos uint64, fn func(pos uint64, c *region.Chunk)) {
	for {
		c, ok := r.chunkAt(pos)
		if !ok {
			return
		}
		fn(pos, &c)
		pos += chunkSize(int(c.Len))
	}
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
