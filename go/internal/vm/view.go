package vm

import "unsafe"

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
func (v *View) fixed(op uint8, off uint64) (value uint64, ok bool) {
	if v.N == 0 || off+uint64(fixedSize[op&15]) > uint64(v.Piece.Len) {
		return 0, false
	}
	p := unsafe.Add(v.Piece.Data, uintptr(off))
	switch op {
	case opU8:
		return uint64(*(*uint8)(p)), true
	case opU16:
		return uint64(*(*uint16)(p)), true
	case opU32:
		return uint64(*(*uint32)(p)), true
	case opU64, opI64:
		return *(*uint64)(p), true
	case opI8:
		return uint64(*(*int8)(p)), true
	case opI16:
		return uint64(*(*int16)(p)), true
	default:
		return uint64(*(*int32)(p)), true
	}
}

var fixedSize = [16]uint8{opU8: 1, opU16: 2, opU32: 4, opU64: 8, opI8: 1, opI16: 2, opI32: 4, opI64: 8}
