package vm

import (
	"encoding/binary"

	"gander.internal/gander/internal/region"
)

// A class's description, read as src/region/desc.c reads it. Positions are offsets in its bytes, -1 is none.
type desc struct {
	b               []byte
	nfields, fields int
	name            []byte
}

type field struct {
	name []byte
	typ  uint8
	at   int // where the type's code stands
}

func skipName(b []byte, at int) int {
	if at < 0 || at >= len(b) {
		return -1
	}
	n := int(b[at])
	at++
	if n < 1 || n > region.NameMax || len(b)-at < n {
		return -1
	}
	for _, c := range b[at : at+n] {
		if c == 0 {
			return -1
		}
	}
	return at + n
}

func skipField(b []byte, at, depth int) int {
	at = skipName(b, at)
	if at < 0 || at >= len(b) {
		return -1
	}
	return skipType(b, at+1, depth)
}

func skipType(b []byte, at, depth int) int {
	if depth > region.DescDepth || at >= len(b) {
		return -1
	}
	code := b[at]
	at++
	switch code {
	case region.Enum:
		if len(b)-at < 3 || b[at] < region.U8 || b[at] > region.I64 {
			return -1
		}
		n := int(binary.LittleEndian.Uint16(b[at+1:]))
		for at += 3; n > 0; n-- {
			if len(b)-at < 16 {
				return -1
			}
			if at = skipName(b, at+16); at < 0 {
				return -1
			}
		}
		return at
	case region.Array:
		if len(b)-at < 4 || binary.LittleEndian.Uint32(b[at:]) > 0xffff {
			return -1
		}
		return skipType(b, at+4, depth+1)
	case region.Sequence:
		return skipType(b, at, depth+1)
	case region.Struct:
		if at >= len(b) || b[at] == 0 {
			return -1
		}
		n := int(b[at])
		for at++; n > 0; n-- {
			if at = skipField(b, at, depth+1); at < 0 {
				return -1
			}
		}
		return at
	case region.Attrs:
		if depth != 0 {
			return -1
		}
		return at
	}
	if code >= region.U8 && code <= region.Bytes {
		return at
	}
	return -1
}

func (d *desc) parse(b []byte) bool {
	if len(b) < 6 || len(b) > region.DescMax || b[0] != region.DescVersion || b[1] > region.KindSpanEnd || b[2] > 7 {
		return false
	}
	at := skipName(b, 4)
	if at < 0 {
		return false
	}
	d.b, d.nfields, d.fields, d.name = b, int(b[3]), at, b[5:at]
	for i := 0; i < d.nfields; i++ {
		if at = skipField(b, at, 0); at < 0 {
			return false
		}
	}
	return at == len(b)
}

// field reads the one at `at`; next is behind it, -1 at the end.
func (d *desc) field(at int) (f field, next int) {
	if at >= len(d.b) {
		return f, -1
	}
	if next = skipField(d.b, at, 0); next < 0 {
		return f, -1
	}
	n := int(d.b[at])
	f.name = d.b[at+1 : at+1+n]
	f.at = at + 2 + n
	f.typ = d.b[f.at]
	return f, next
}

func atMost32(n uint64) uint64 {
	if n > 0xffffffff {
		return 0xffffffff
	}
	return n
}

// fixedSize is how many bytes every value of the type takes, 0 when they differ.
func (d *desc) fixedSize(at int) uint64 {
	switch typ := d.b[at]; typ {
	case region.Enum:
		return uint64(typeSize[d.b[at+1]])
	case region.Array:
		return atMost32(uint64(binary.LittleEndian.Uint32(d.b[at+1:])) * d.fixedSize(at+5))
	case region.Struct:
		total := uint64(0)
		next := at + 2
		for n := d.b[at+1]; n > 0; n-- {
			var f field
			if f, next = d.field(next); next < 0 {
				return 0
			}
			size := d.fixedSize(f.at)
			if size == 0 {
				return 0
			}
			total = atMost32(total + size)
		}
		return total
	case region.String, region.Bytes, region.Sequence, region.Attrs:
		return 0
	default:
		return uint64(typeSize[typ])
	}
}
