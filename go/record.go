package gander

import (
	"context"
	"math"
	"unsafe"

	"gander.internal/gander/internal/region"
)

// Type is the type of a field of a class that is declared when the program runs: see NewClass.
type Type struct {
	code   uint8
	base   uint8
	count  uint32
	elem   *Type
	fields []FieldDef
	labels map[int64]string
	fixed  int // bytes that every value takes, 0 when they differ
}

// The types of one value.
var (
	TypeUint8   = Type{code: region.U8, fixed: 1}
	TypeUint16  = Type{code: region.U16, fixed: 2}
	TypeUint32  = Type{code: region.U32, fixed: 4}
	TypeUint64  = Type{code: region.U64, fixed: 8}
	TypeInt8    = Type{code: region.I8, fixed: 1}
	TypeInt16   = Type{code: region.I16, fixed: 2}
	TypeInt32   = Type{code: region.I32, fixed: 4}
	TypeInt64   = Type{code: region.I64, fixed: 8}
	TypeFloat32 = Type{code: region.F32, fixed: 4}
	TypeFloat64 = Type{code: region.F64, fixed: 8}
	TypeBool    = Type{code: region.Bool, fixed: 1}
	TypeString  = Type{code: region.String}
	TypeBytes   = Type{code: region.Bytes}
	TypeAttrs   = Type{code: region.Attrs} // attributes, see Attr; only as the last field of a class
)

// EnumOf is an integer type whose values have names.
func EnumOf(base Type, labels map[int64]string) Type {
	return Type{code: region.Enum, base: base.code, labels: labels, fixed: base.fixed}
}

// ArrayOf is n elements, at most 65,535: put one after the other.
func ArrayOf(n int, elem Type) Type {
	return Type{code: region.Array, count: uint32(n), elem: &elem, fixed: n * elem.fixed}
}

// SequenceOf is any number of elements up to 65,535: put their number with Record.Len, then the elements.
func SequenceOf(elem Type) Type { return Type{code: region.Sequence, elem: &elem} }

// StructOf is fields in one: put one after the other.
func StructOf(fields ...FieldDef) Type {
	t := Type{code: region.Struct, fields: fields}
	for i := range fields {
		if fields[i].Type.fixed == 0 {
			t.fixed = 0
			break
		}
		t.fixed += fields[i].Type.fixed
	}
	return t
}

// FieldDef is a field of a class, or of a struct in one.
type FieldDef struct {
	Name     string
	Type     Type
	Hex      bool // shown in base 16
	Duration bool // integer nanoseconds
}

func (d *descriptor) typ(t *Type, depth int) {
	if depth > region.DescDepth {
		d.bad = true
		return
	}
	switch t.code {
	case region.Enum:
		d.enum(t.base, t.labels)
	case region.Array:
		if t.count > 0xffff {
			d.bad = true
			return
		}
		d.b = append32(append(d.b, t.code), t.count)
		d.typ(t.elem, depth+1)
	case region.Sequence:
		d.b = append(d.b, t.code)
		d.typ(t.elem, depth+1)
	case region.Struct:
		if len(t.fields) == 0 || len(t.fields) > 255 {
			d.bad = true
			return
		}
		d.b = append(d.b, t.code, byte(len(t.fields)))
		for i := range t.fields {
			f := &t.fields[i]
			d.name(f.Name)
			d.b = append(d.b, f.flags())
			d.typ(&f.Type, depth+1)
		}
	case region.Attrs:
		d.bad = d.bad || depth > 0
		d.b = append(d.b, t.code)
	default:
		d.bad = d.bad || t.code < region.U8 || t.code > region.Bytes
		d.b = append(d.b, t.code)
	}
}

func (f *FieldDef) flags() (flags uint8) {
	if f.Hex {
		flags |= region.FieldHex
	}
	if f.Duration {
		flags |= region.FieldDuration
	}
	return flags
}

// size is the bytes of the value at the start of b, -1 when it does not fit.
func (t *Type) size(b []byte) int {
	if t.fixed > 0 {
		if len(b) < t.fixed {
			return -1
		}
		return t.fixed
	}
	used, count := 0, int(t.count)
	if t.code == region.String || t.code == region.Bytes || t.code == region.Sequence || t.code == region.Attrs {
		if len(b) < 2 {
			return -1
		}
		used, count = 2, int(b[0])|int(b[1])<<8
	}
	switch t.code {
	case region.String, region.Bytes:
		used += count
	case region.Struct:
		for i := range t.fields {
			n := t.fields[i].Type.size(b[used:])
			if n < 0 {
				return -1
			}
			used += n
		}
	case region.Attrs:
		for ; count > 0; count-- {
			n := attrSize(b[used:])
			if n < 0 {
				return -1
			}
			used += n
		}
	default:
		if t.elem.fixed > 0 {
			used += count * t.elem.fixed
			break
		}
		for ; count > 0; count-- {
			n := t.elem.size(b[used:])
			if n <= 0 {
				return -1
			}
			used += n
		}
	}
	if used > len(b) {
		return -1
	}
	return used
}

// Class is a class of events that is declared when the program runs: for runtimes of other languages, and for events whose fields are
// not known when the program is compiled. The typed events are simpler and faster.
type Class struct {
	on    *uint32
	class *class
	typ   Type // of the whole payload
}

// NewClass declares a class. It never fails: a class that cannot be had (see Off; names are 1 to 127 bytes, types nest four deep) is never
// enabled. The same name and fields declared twice are the same class.
func NewClass(name string, level Level, fields ...FieldDef) *Class {
	return newClass(region.KindEvent, name, level, fields)
}

func newClass(kind uint8, name string, level Level, fields []FieldDef) *Class {
	d := newDescriptor(kind, level, name)
	for i := range fields {
		d.field(fields[i].Name, fields[i].flags())
		d.typ(&fields[i].Type, 0)
		d.bad = d.bad || fields[i].Type.code == region.Attrs && i != len(fields)-1
	}
	c := declareOrRefuse(name, d.bytes())
	return &Class{on: c.on, class: c, typ: StructOf(fields...)}
}

// Enabled says whether any recording wants these events. Half a nanosecond.
func (c *Class) Enabled() bool { return on(c.on) }

// Begin starts an event that is built in buf, which must hold all of it or the event is built on the heap: the only allocation there
// is. Every field is then put, in order and with its own type; Commit records it. When no recording wants the class, putting and Commit
// do nothing.
//
//	var buf [128]byte
//	class.Begin(buf[:]).Int64(42).String("answer").Commit()
func (c *Class) Begin(buf []byte) Record {
	if !on(c.on) {
		return Record{}
	}
	return Record{class: c, b: buf[:0]}
}

// Record is an event being built: a value, each method returns it with one more field. One goroutine's, from Begin to Commit.
type Record struct {
	class *Class
	b     []byte
}

func (r Record) put(v uint64, n int) Record {
	if r.class != nil {
		for ; n > 0; n-- {
			r.b = append(r.b, byte(v))
			v >>= 8
		}
	}
	return r
}

// Int8 puts a field of this type; the others likewise.
func (r Record) Int8(v int8) Record { return r.put(uint64(v), 1) }

// Int16 puts a field of this type.
func (r Record) Int16(v int16) Record { return r.put(uint64(v), 2) }

// Int32 puts a field of this type.
func (r Record) Int32(v int32) Record { return r.put(uint64(v), 4) }

// Int64 puts a field of this type.
func (r Record) Int64(v int64) Record { return r.Uint64(uint64(v)) }

// Uint8 puts a field of this type.
func (r Record) Uint8(v uint8) Record { return r.put(uint64(v), 1) }

// Uint16 puts a field of this type.
func (r Record) Uint16(v uint16) Record { return r.put(uint64(v), 2) }

// Uint32 puts a field of this type.
func (r Record) Uint32(v uint32) Record { return r.put(uint64(v), 4) }

// Uint64 puts a field of this type.
func (r Record) Uint64(v uint64) Record {
	if r.class != nil {
		r.b = append64(r.b, v)
	}
	return r
}

// Float32 puts a field of this type.
func (r Record) Float32(v float32) Record { return r.put(uint64(math.Float32bits(v)), 4) }

// Float64 puts a field of this type.
func (r Record) Float64(v float64) Record { return r.Uint64(math.Float64bits(v)) }

// Bool puts a field of this type.
func (r Record) Bool(v bool) Record {
	n := uint64(0)
	if v {
		n = 1
	}
	return r.put(n, 1)
}

// String puts a string field. It is copied.
func (r Record) String(s string) Record {
	if r.class != nil {
		r.b = appendString(r.b, s)
	}
	return r
}

// Bytes puts a bytes field. It is copied.
func (r Record) Bytes(p []byte) Record {
	if r.class != nil {
		p = p[:min(len(p), 0xffff)]
		r.b = append(append16(r.b, len(p)), p...)
	}
	return r
}

// Len begins a sequence of n elements, at most 65,535, which are put next.
func (r Record) Len(n int) Record { return r.put(uint64(n), 2) }

// Attrs puts an attrs field.
func (r Record) Attrs(attrs ...Attr) Record {
	if r.class != nil {
		r.b = appendAttrs(r.b, attrs)
	}
	return r
}

// Buffer is where the event was built: buf, or what it grew into. It may be used again once the event is committed.
func (r Record) Buffer() []byte { return r.b }

// Commit records the event. It says whether what was put is what the class's fields are: an event that is not is dropped, for nobody could
// read it. An event that is too large is cut and marked.
func (r Record) Commit() bool { return r.commit(nil) }

// CommitContext is Commit with the span and the key that ctx carries.
func (r Record) CommitContext(ctx context.Context) bool { return r.commit(ctx) }

func (r Record) commit(ctx context.Context) bool {
	c := r.class
	if c == nil {
		return true
	}
	return c.emit(ctx, r.b)
}

// emit records a payload in one piece; in several, at its variable fields, when it has to be cut.
//
//go:noinline
func (c *Class) emit(ctx context.Context, b []byte) bool {
	if len(b) == 0 {
		if len(c.typ.fields) == 0 {
			c.class.emit(ctx, &piece{}, 0, 0)
			return true
		}
		return false
	}
	if c.typ.size(b) != len(b) {
		return false
	}
	// a piece of fixed values of the assembly's word by word copying, or bytes that were written some time ago: either is right
	p := piece{unsafe.Pointer(&b[0]), uint32(len(b)), 0}
	if len(b) <= region.EventMax-contextMax {
		c.class.emit(ctx, &p, 1, len(b))
		return true
	}
	c.emitLarge(ctx, b)
	return true
}

// contextMax is more than any event's word and context take.
const contextMax = 8 + 30 + 2 + 8*region.StackMax

func (c *Class) emitLarge(ctx context.Context, b []byte) {
	var ps [maxPieces]piece
	n, from, at, cut := 0, 0, 0, false
	for i := range c.typ.fields {
		t := &c.typ.fields[i].Type
		size, elem := t.size(b[at:]), 0
		switch {
		case t.code == region.String || t.code == region.Bytes:
			elem = 1
		case t.code == region.Sequence:
			elem = t.elem.fixed
		case t.code == region.Attrs && len(b) > region.EventMax-contextMax:
			b = trimAttrs(b, at, max(region.EventMax-contextMax, at+2))
			size, cut = len(b)-at, true
		}
		if elem > 0 && n+3 <= len(ps) {
			ps[n] = piece{unsafe.Pointer(&b[from]), uint32(at + 2 - from), 0}
			n++
			from = at + size
			if size > 2 {
				ps[n] = piece{unsafe.Pointer(&b[at+2]), uint32(size - 2), uint32(elem)}
				n++
			}
		}
		at += size
	}
	if at > from {
		ps[n] = piece{unsafe.Pointer(&b[from]), uint32(at - from), 0}
		n++
	}
	c.class.emitCut(ctx, &ps[0], n, at, cut)
}
