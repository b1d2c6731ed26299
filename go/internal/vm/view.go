package vm

import (
	"unsafe"

	"gander.internal/gander/internal/region"
)

// Piece is a part of an event's payload: struct gd_piece, with the same layout. The payload is the concatenation of its pieces.
type Piece struct {
	Data unsafe.Pointer
	Len  uint32
	Elem uint32 // 0: fixed part; n: elements of n bytes, whose count is the last two bytes of the piece before
}

// View is an event before it is written: struct gd_view. What Needs does not name need not be set.
type View struct {
	Piece           *Piece
	N               int
	Tid, Cpu        uint32
	Goid, Span, Key uint64
	Level           uint8
}

// PieceOf makes a piece of bytes.
func PieceOf(data []byte, elem uint32) Piece {
	return Piece{unsafe.Pointer(unsafe.SliceData(data)), uint32(len(data)), elem}
}

// ViewOf makes a view of pieces.
func ViewOf(p []Piece) View {
	return View{Piece: unsafe.SliceData(p), N: len(p)}
}

// piece is the i-th; i is below v.N.
func (v *View) piece(i int) *Piece {
	return (*Piece)(unsafe.Add(unsafe.Pointer(v.Piece), uintptr(i)*unsafe.Sizeof(Piece{})))
}

// bytes are n bytes at off; off + n is at most p.Len.
func (p *Piece) bytes(off, n uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(p.Data, uintptr(off))), int(n))
}

// fixed is the value of a fixed size at off in the first piece, widened to 64 bits as its type asks.
func (v *View) fixed(op uint8, off uint64) (x uint64, ok bool) {
	if v.N == 0 {
		return 0, false
	}
	n, data := uint64(v.Piece.Len), v.Piece.Data
	switch op {
	case opU8:
		if ok = off+1 <= n; ok {
			x = uint64(*(*uint8)(unsafe.Add(data, off)))
		}
	case opU16:
		if ok = off+2 <= n; ok {
			x = uint64(*(*uint16)(unsafe.Add(data, off)))
		}
	case opU32:
		if ok = off+4 <= n; ok {
			x = uint64(*(*uint32)(unsafe.Add(data, off)))
		}
	case opI8:
		if ok = off+1 <= n; ok {
			x = uint64(*(*int8)(unsafe.Add(data, off)))
		}
	case opI16:
		if ok = off+2 <= n; ok {
			x = uint64(*(*int16)(unsafe.Add(data, off)))
		}
	case opI32:
		if ok = off+4 <= n; ok {
			x = uint64(*(*int32)(unsafe.Add(data, off)))
		}
	default:
		if ok = off+8 <= n; ok {
			x = *(*uint64)(unsafe.Add(data, off))
		}
	}
	return x, ok
}

// sameBytes compares n bytes; short literals are most of what filters compare.
func sameBytes(a, b unsafe.Pointer, n uint64) bool {
	if n >= 8 {
		for i := uint64(0); i < n-8; i += 8 {
			if *(*uint64)(unsafe.Add(a, i)) != *(*uint64)(unsafe.Add(b, i)) {
				return false
			}
		}
		return *(*uint64)(unsafe.Add(a, n-8)) == *(*uint64)(unsafe.Add(b, n-8))
	}
	if n >= 4 {
		return *(*uint32)(a) == *(*uint32)(b) && *(*uint32)(unsafe.Add(a, n-4)) == *(*uint32)(unsafe.Add(b, n-4))
	}
	for i := uint64(0); i < n; i++ {
		if *(*byte)(unsafe.Add(a, i)) != *(*byte)(unsafe.Add(b, i)) {
			return false
		}
	}
	return true
}

// quickString is for a string that is the first piece's last field, as most are; ok is false when it is not that simple. The
// program has size bytes at base.
func (v *View) quickString(base unsafe.Pointer, size, w, where, a, operand uint64, work *uint32) (hit, ok bool) {
	if where>>48 != 0 || v.N < 2 || operand&0xff != region.String && operand&0xff != region.Bytes ||
		where&0xffffffff+2 != uint64(v.Piece.Len) {
		return false, false
	}
	text := v.piece(1)
	if uint32(*(*uint16)(unsafe.Add(v.Piece.Data, where&0xffffffff))) != text.Len {
		return false, false
	}
	off, n := a&0xffff, a>>16&0xffff
	if off+n > size {
		return false, false
	}
	want := unsafe.Add(base, off)
	switch rel := uint8(w >> 48); rel {
	case strPrefix:
		hit = uint64(text.Len) >= n && sameBytes(text.Data, want, n)
	case strEQ:
		hit = uint64(text.Len) == n && sameBytes(text.Data, want, n)
	default:
		hit = strHolds(rel, text.bytes(0, uint64(text.Len)), unsafe.Slice((*byte)(want), n), work)
	}
	return hit != (w>>8&insnNot != 0), true
}

// Run runs a linked filter on an event: true to pass. key, when it is not nil, is set if the event passes. Bytes that are no
// program reject.
func Run(linked []byte, v *View, key *Key) bool {
	if len(linked) < headSize+insnSize {
		return false
	}
	base := unsafe.Pointer(unsafe.SliceData(linked))
	head, counts := *(*uint64)(base), *(*uint64)(unsafe.Add(base, 8))
	size := head >> 32
	if uint32(head) != magicLinked || size > LinkedMax || size > uint64(len(linked)) {
		return false
	}
	size &^= 7
	end := headSize + insnSize*(counts&0xffff)
	if end > size {
		end = size
	}
	work := uint32(allWork)
	for at := uint64(headSize); at+insnSize <= end; {
		i := (*[4]uint64)(unsafe.Add(base, at)) // each word is loaded once
		w := i[0]
		hit, ok := false, false
		if op := uint8(w); op-opU8 <= opI64-opU8 {
			x, there := v.fixed(op, i[1]&0xffffffff)
			hit = there && (x-i[2] <= i[3]) != (w>>8&insnNot != 0)
			ok = true
		} else if op == opStr {
			hit, ok = v.quickString(base, size, w, i[1], i[2], i[3], &work)
		}
		if !ok {
			p := program{code: linked[:size], view: v, work: work}
			return p.runAny(at, end, counts>>16&0xffff, key)
		}
		if !hit {
			w >>= 16
		}
		next := w >> 16 & 0xffff
		if next >= goPass {
			if next == goPass && key != nil {
				p := program{code: linked[:size], view: v, work: allWork}
				p.takeKey(counts>>16&0xffff, key)
			}
			return next == goPass
		}
		at += insnSize * (1 + next)
	}
	return false
}
