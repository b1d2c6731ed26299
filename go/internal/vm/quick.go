package vm

import (
	"unsafe"

	"gander.internal/gander/internal/region"
)

// QuickNeeds is how many bytes Rejects must be allowed to read.
const QuickNeeds = LinkedMax

// Rejects says that a linked filter rejects the event by its first instruction, an integer of the first piece against a constant or the
// string behind it against a literal: what most filters are, and what most events are rejected by. False means that Run has to be
// asked. The twin of src/region/vm_quick.h.
func Rejects(linked unsafe.Pointer, p *Piece, n int) bool {
	head := load(linked, 0)
	if n == 0 || (head>>32|head<<32)-(magicLinked<<32|(headSize+insnSize)) > LinkedMax-(headSize+insnSize) {
		return false
	}
	insn, where, a, b := load(linked, 4), load(linked, 5), load(linked, 6), load(linked, 7)
	off := where & 0xffffffff
	op := uint8(insn)
	var x uint64
	switch op {
	case opI32, opU32:
		if off+4 > uint64(p.Len) {
			return false
		}
		v := *(*uint32)(unsafe.Add(p.Data, off))
		x = uint64(v)
		if op == opI32 {
			x = uint64(int32(v))
		}
	case opI64, opU64:
		if off+8 > uint64(p.Len) {
			return false
		}
		x = *(*uint64)(unsafe.Add(p.Data, off))
	case opStr:
		return rejectsString(linked, head>>32, insn, where, a, b, p, n)
	default:
		return rejectsSmall(insn, off, a, b, p)
	}
	if (x-a <= b) == (insn>>8&insnNot != 0) {
		insn >>= 16
	}
	return insn>>16&0xffff == goReject
}

//go:noinline
func rejectsSmall(insn, off, a, b uint64, p *Piece) bool {
	op := uint8(insn)
	if op-opU8 > opI64-opU8 {
		return false
	}
	v := View{Piece: p, N: 1}
	x, there := v.fixed(op, off)
	if !there {
		return false
	}
	if (x-a <= b) == (insn>>8&insnNot != 0) {
		insn >>= 16
	}
	return insn>>16&0xffff == goReject
}

//go:noinline
func rejectsString(linked unsafe.Pointer, size, insn, where, a, b uint64, p *Piece, n int) bool {
	off, length := a&0xffff, a>>16&0xffff
	if where>>48 != 0 || b&0xff != region.String && b&0xff != region.Bytes || n < 2 || where&0xffffffff+2 != uint64(p.Len) || off+length > size {
		return false
	}
	text := (*Piece)(unsafe.Add(unsafe.Pointer(p), unsafe.Sizeof(*p)))
	want := unsafe.Add(linked, off)
	if uint32(*(*uint16)(unsafe.Add(p.Data, where&0xffffffff))) != text.Len {
		return false
	}
	hit := false
	switch uint8(insn >> 48) {
	case strPrefix:
		hit = uint64(text.Len) >= length
	case strEQ:
		hit = uint64(text.Len) == length
	default:
		return false
	}
	if hit && length >= 4 && length <= 8 { // most literals
		hit = *(*uint32)(text.Data) == *(*uint32)(want) && *(*uint32)(unsafe.Add(text.Data, length-4)) == *(*uint32)(unsafe.Add(want, length-4))
	} else if hit {
		hit = sameBytes(text.Data, want, length)
	}
	if hit == (insn>>8&insnNot != 0) {
		insn >>= 16
	}
	return insn>>16&0xffff == goReject
}

func load(linked unsafe.Pointer, i uintptr) uint64 {
	return *(*uint64)(unsafe.Add(linked, 8*i))
}
