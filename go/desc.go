package gander

import (
	"reflect"
	"sort"
	"strings"
	"time"
	"unsafe"

	"gander.internal/gander/internal/region"
)

// Scalar are the types of one fixed size that a field, or the elements of one, may have.
type Scalar interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr |
		~float32 | ~float64 | ~bool
}

// Field are the types of fields of typed events: scalars, strings, and slices of scalars, and named types of these. time.Duration is
// shown as a duration, a []byte as bytes. Time is a field as UnixNano().
type Field interface {
	Scalar | ~string | ~[]byte |
		~[]int | ~[]int8 | ~[]int16 | ~[]int32 | ~[]int64 |
		~[]uint | ~[]uint16 | ~[]uint32 | ~[]uint64 | ~[]uintptr |
		~[]float32 | ~[]float64 | ~[]bool
}

// Option says more about a field of an event: Hex, Enum.
type Option struct {
	field  string
	flags  uint8
	labels map[int64]string
}

// Hex has an integer field shown in base 16.
func Hex(field string) Option { return Option{field: field, flags: region.FieldHex} }

// Enum names values of an integer field: they are shown, and can be filtered on, by their names. At most 65,535 labels.
func Enum(field string, labels map[int64]string) Option { return Option{field: field, labels: labels} }

// fieldSpec is one field of a typed event on its way into a description.
type fieldSpec struct {
	name string
	typ  reflect.Type
}

func typeOf[T any]() reflect.Type { return reflect.TypeOf((*T)(nil)).Elem() }

var scalarCodes = [...]uint8{
	reflect.Int: region.I64, reflect.Int8: region.I8, reflect.Int16: region.I16, reflect.Int32: region.I32, reflect.Int64: region.I64,
	reflect.Uint: region.U64, reflect.Uint8: region.U8, reflect.Uint16: region.U16, reflect.Uint32: region.U32, reflect.Uint64: region.U64,
	reflect.Uintptr: region.U64, reflect.Float32: region.F32, reflect.Float64: region.F64, reflect.Bool: region.Bool,
}

// scalarCode is the code of a scalar kind, 0 for others.
func scalarCode(k reflect.Kind) uint8 {
	if int(k) < len(scalarCodes) {
		return scalarCodes[k]
	}
	return 0
}

// descriptor builds a class description, byte by byte as src/region/desc.h says. What cannot be described makes it nil for good.
type descriptor struct {
	b   []byte
	bad bool
}

func newDescriptor(kind uint8, level Level, name string) *descriptor {
	d := &descriptor{b: make([]byte, 0, 128)}
	if level > Debug {
		level = Debug
	}
	d.b = append(d.b, region.DescVersion, kind, byte(level), 0)
	d.name(name)
	return d
}

func (d *descriptor) name(name string) {
	if name == "" || len(name) > region.NameMax || strings.IndexByte(name, 0) >= 0 {
		d.bad = true
		return
	}
	d.b = append(d.b, byte(len(name)))
	d.b = append(d.b, name...)
}

// field begins a field of the event; its type follows.
func (d *descriptor) field(name string, flags uint8) {
	if d.b[3] == 255 {
		d.bad = true
		return
	}
	d.b[3]++
	d.name(name)
	d.b = append(d.b, flags)
}

func (d *descriptor) enum(base uint8, labels map[int64]string) {
	values := make([]int64, 0, len(labels))
	for v := range labels {
		values = append(values, v)
	}
	sort.Slice(values, func(i, j int) bool { return values[i] < values[j] })
	if base < region.U8 || base > region.I64 || len(values) > 0xffff {
		d.bad = true
		return
	}
	d.b = append(d.b, region.Enum, base, byte(len(values)), byte(len(values)>>8))
	for _, v := range values {
		for i := 0; i < 2; i++ { // low and high
			for s := 0; s < 64; s += 8 {
				d.b = append(d.b, byte(v>>s))
			}
		}
		d.name(labels[v])
	}
}

func (d *descriptor) bytes() []byte {
	if d.bad || len(d.b) > region.DescMax {
		return nil
	}
	return d.b
}

// typedClass declares the class of a typed event.
func typedClass(name string, level Level, fields []fieldSpec, opts []Option) *class {
	d := newDescriptor(region.KindEvent, level, name)
	for _, f := range fields {
		flags := uint8(0)
		var labels map[int64]string
		for _, o := range opts {
			if o.field == f.name {
				flags |= o.flags
				if o.labels != nil {
					labels = o.labels
				}
			}
		}
		if f.typ == typeOf[time.Duration]() {
			flags |= region.FieldDuration
		}
		d.field(f.name, flags)
		switch code := scalarCode(f.typ.Kind()); {
		case code != 0 && labels != nil:
			d.enum(code, labels)
		case code != 0:
			d.b = append(d.b, code)
		case f.typ.Kind() == reflect.String:
			d.b = append(d.b, region.String)
		case f.typ.Kind() == reflect.Slice && f.typ.Elem().Kind() == reflect.Uint8:
			d.b = append(d.b, region.Bytes)
		case f.typ.Kind() == reflect.Slice:
			d.b = append(d.b, region.Sequence, scalarCode(f.typ.Elem().Kind()))
		}
	}
	return declareOrRefuse(name, d.bytes())
}

// elemSize is the bytes of a slice field's elements, 1 for strings.
func elemSize(t reflect.Type) uint32 {
	if t.Kind() == reflect.Slice {
		return uint32(t.Elem().Size())
	}
	return 1
}

// descHash is FNV-1a, never 0.
func descHash(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	if h == 0 {
		return 1
	}
	return h
}

//go:generate go run ./internal/gen

// view is what a string and a slice begin with.
type view struct {
	data unsafe.Pointer
	len  int
}
