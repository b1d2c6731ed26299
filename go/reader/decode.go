package reader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"time"
)

var errShort = errors.New("it ends too early")

// decoder walks over the bits of a packet.
type decoder struct {
	data  []byte
	at    uint64 // bits
	end   uint64
	clock uint64 // the last value of the clock, widened
	outer []numbered
	made  uint64 // values so far
}

// numbered are the integers of a struct so far, by which lengths and tags are found.
type numbered struct {
	t *ctype
	v []uint64
}

func (d *decoder) align(n uint) {
	d.at = (d.at + uint64(n) - 1) &^ (uint64(n) - 1)
}

func (d *decoder) bits(t *ctype) (uint64, error) {
	d.align(t.align)
	if d.at+uint64(t.size) > d.end {
		return 0, errShort
	}
	var v uint64
	at, shift, size := d.at/8, d.at%8, uint64(t.size)
	if shift == 0 && at+8 <= uint64(len(d.data)) {
		v = binary.LittleEndian.Uint64(d.data[at:])
	} else {
		for i := uint64(0); i*8 < size+shift && at+i < uint64(len(d.data)); i++ {
			b := uint64(d.data[at+i])
			if i == 0 {
				v = b >> shift
			} else {
				v |= b << (8*i - shift)
			}
		}
	}
	if size < 64 {
		v &= 1<<size - 1
	}
	d.at += size
	if t.clock {
		v = d.widen(v, t.size)
	}
	return v, nil
}

// widen makes the whole clock of its lower bits, which only grow.
func (d *decoder) widen(v uint64, size uint) uint64 {
	if size < 64 {
		mask := uint64(1)<<size - 1
		high := d.clock &^ mask
		if v < d.clock&mask {
			high += mask + 1
		}
		v |= high
	}
	d.clock = v
	return v
}

func signed(v uint64, size uint) int64 { return int64(v<<(64-size)) >> (64 - size) }

// find is the integer that a length or a tag names: of the struct at hand, or one around it.
func (d *decoder) find(name string) (uint64, *ctype, bool) {
	for i := len(d.outer) - 1; i >= 0; i-- {
		s := d.outer[i]
		for k := len(s.v) - 1; k >= 0; k-- {
			if s.t.fields[k].name == name {
				return s.v[k], s.t.fields[k].typ, true
			}
		}
	}
	return 0, nil, false
}

func within(ranges []enumRange, v int64) bool {
	for _, r := range ranges {
		if r.low <= v && v <= r.high {
			return true
		}
	}
	return false
}

func (t *ctype) label(v int64) string {
	for _, r := range t.ranges {
		if r.low <= v && v <= r.high {
			return r.label
		}
	}
	return ""
}

// value reads one value; raw is its integer, if it is one.
func (d *decoder) value(t *ctype) (any, uint64, error) {
	if d.made++; d.made > maxElements+d.end { // lists of what takes no room
		return nil, 0, errors.New("it has too many values")
	}
	switch t.kind {
	case kindInt, kindEnum:
		v, err := d.bits(t.intType())
		if err != nil {
			return nil, 0, err
		}
		it := t.intType()
		var out any = v
		if it.signed {
			out = signed(v, it.size)
		}
		switch {
		case t.kind == kindEnum:
			out = Enum{Label: t.label(signed(v, max(it.size, 1))), Value: out}
			if !it.signed {
				out = Enum{Label: t.label(int64(v)), Value: v}
			}
		case t.asBool:
			out = v != 0
		case t.duration:
			out = time.Duration(v)
			if it.signed {
				out = time.Duration(signed(v, it.size))
			}
		case t.time:
			out = time.Unix(0, signed(v, it.size)).UTC()
		}
		return out, v, nil
	case kindFloat:
		v, err := d.bits(t)
		if t.size == 32 {
			return float64(math.Float32frombits(uint32(v))), 0, err
		}
		return math.Float64frombits(v), 0, err
	case kindString:
		d.align(8)
		from := d.at / 8
		for d.at+8 <= d.end {
			c := d.data[d.at/8]
			d.at += 8
			if c == 0 {
				return string(d.data[from : d.at/8-1]), 0, nil
			}
		}
		return nil, 0, errShort
	case kindStruct:
		fields, err := d.structure(t)
		if err == nil && t.wrapped && len(fields) > 0 {
			return fields[len(fields)-1].Value, 0, nil
		}
		return fields, 0, err
	case kindArray:
		v, err := d.array(t)
		return v, 0, err
	}
	// a variant
	tag, tt, ok := d.find(t.tag)
	if !ok || tt.kind != kindEnum && tt.kind != kindInt {
		return nil, 0, errors.New("a variant's tag is missing")
	}
	key := int64(tag)
	if it := tt.intType(); it.signed {
		key = signed(tag, it.size)
	}
	label := tt.label(key)
	for i := range t.fields {
		f := &t.fields[i]
		if f.ranges != nil && within(f.ranges, key) || f.ranges == nil && tt.kind == kindEnum && (f.name == label || f.show == label) {
			return d.value(f.typ)
		}
	}
	return nil, 0, errors.New("a variant's tag names none of its members")
}

func (t *ctype) intType() *ctype {
	if t.kind == kindEnum {
		return t.base
	}
	return t
}

func (d *decoder) array(t *ctype) (any, error) {
	n := t.n
	if t.length != "" {
		var ok bool
		if n, _, ok = d.find(t.length); !ok {
			return nil, errors.New("a list's length is missing")
		}
	}
	if e := t.elem; e.kind == kindInt && e.size == 8 && (e.text || t.bytes) {
		d.align(8)
		if n > (d.end-min(d.at, d.end))/8 {
			return nil, errShort
		}
		b := d.data[d.at/8 : d.at/8+n]
		d.at += n * 8
		if e.text {
			if end := bytes.IndexByte(b, 0); t.length == "" && end >= 0 { // of a fixed length: it ends where it ends
				b = b[:end]
			}
			return string(b), nil
		}
		return append([]byte{}, b...), nil
	}
	if n > maxElements {
		return nil, errShort
	}
	list := make([]any, 0, min(n, 64))
	for i := uint64(0); i < n; i++ {
		v, _, err := d.value(t.elem)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (d *decoder) structure(t *ctype) ([]Field, error) {
	d.align(t.align)
	if len(d.outer) > maxDepth {
		return nil, errors.New("it nests too deep")
	}
	d.outer = append(d.outer, numbered{t: t})
	me := len(d.outer) - 1
	defer func() { d.outer = d.outer[:me] }()
	out := make([]Field, 0, len(t.fields))
	for i := range t.fields {
		f := &t.fields[i]
		v, raw, err := d.value(f.typ)
		if err != nil {
			return out, err
		}
		d.outer[me].v = append(d.outer[me].v, raw)
		if f.hidden {
			continue
		}
		if f.attrs {
			v = attributes(v)
		}
		out = append(out, Field{f.show, v})
	}
	return out, nil
}

// attributes makes fields of a list of { key, value }.
func attributes(v any) Attrs {
	list, _ := v.([]any)
	out := make(Attrs, 0, len(list))
	for _, e := range list {
		if kv, ok := e.([]Field); ok && len(kv) == 2 {
			key, _ := kv[0].Value.(string)
			out = append(out, Field{key, kv[1].Value})
		}
	}
	return out
}
