package gander

import (
	"math"
	"time"

	"gander.internal/gander/internal/region"
)

// Attr is a value with a name that is known only when the event happens: of a log record, of a span. It is a value, making one allocates
// nothing. A filter finds it by its key.
type Attr struct {
	key string
	str string
	num uint64
	tag uint8
}

// Key is the attribute's name.
func (a Attr) Key() string { return a.key }

// WithPrefix is the attribute under another name: prefix and key.
func (a Attr) WithPrefix(prefix string) Attr {
	a.key = prefix + a.key
	return a
}

// Int is an integer attribute.
func Int(key string, v int) Attr { return Attr{key: key, tag: region.AttrI64, num: uint64(v)} }

// Int64 is an integer attribute.
func Int64(key string, v int64) Attr { return Attr{key: key, tag: region.AttrI64, num: uint64(v)} }

// Uint64 is an unsigned integer attribute.
func Uint64(key string, v uint64) Attr { return Attr{key: key, tag: region.AttrU64, num: v} }

// Float64 is a floating-point attribute.
func Float64(key string, v float64) Attr {
	return Attr{key: key, tag: region.AttrF64, num: math.Float64bits(v)}
}

// Bool is a boolean attribute.
func Bool(key string, v bool) Attr {
	a := Attr{key: key, tag: region.AttrBool}
	if v {
		a.num = 1
	}
	return a
}

// String is a text attribute.
func String(key, v string) Attr { return Attr{key: key, tag: region.AttrString, str: v} }

// Duration is a duration attribute.
func Duration(key string, v time.Duration) Attr {
	return Attr{key: key, tag: region.AttrDuration, num: uint64(v)}
}

// Time is an instant, kept in nanoseconds.
func Time(key string, v time.Time) Attr {
	return Attr{key: key, tag: region.AttrTime, num: uint64(v.UnixNano())}
}

func append16(b []byte, v int) []byte { return append(b, byte(v), byte(v>>8)) }

func append32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func append64(b []byte, v uint64) []byte {
	return append32(append32(b, uint32(v)), uint32(v>>32))
}

// appendString puts a string as its length and its bytes; one that is longer than a length can say is cut.
func appendString(b []byte, s string) []byte {
	s = s[:min(len(s), 0xffff)]
	return append(append16(b, len(s)), s...)
}

// appendAttrs puts an attrs field: how many, then each.
func appendAttrs(b []byte, attrs []Attr) []byte {
	attrs = attrs[:min(len(attrs), 0xffff)]
	b = append16(b, len(attrs))
	for i := range attrs {
		a := &attrs[i]
		b = append(appendString(b, a.key), a.tag)
		switch a.tag {
		case region.AttrString:
			b = appendString(b, a.str)
		case region.AttrBool:
			b = append(b, byte(a.num))
		default:
			b = append64(b, a.num)
		}
	}
	return b
}

// attrSize is the bytes of the attribute at the start of b, -1 when it does not fit.
func attrSize(b []byte) int {
	if len(b) < 2 {
		return -1
	}
	n := 2 + int(b[0]) + int(b[1])<<8
	if len(b) <= n {
		return -1
	}
	tag := b[n]
	n++
	switch tag {
	case region.AttrString:
		if len(b) < n+2 {
			return -1
		}
		n += 2 + int(b[n]) + int(b[n+1])<<8
	case region.AttrBool:
		n++
	case region.AttrI64, region.AttrU64, region.AttrF64, region.AttrDuration, region.AttrTime:
		n += 8
	default:
		return -1
	}
	if n > len(b) {
		return -1
	}
	return n
}

// trimAttrs shortens the attrs field that ends b and starts at from until b has at most max bytes: attributes are dropped from
// the end, and a text is cut where that is enough.
func trimAttrs(b []byte, from, max int) []byte {
	count, at := 0, from+2
	for at < len(b) {
		n := attrSize(b[at:])
		if n < 0 || at+n > max {
			key := 2
			if n > 0 {
				key = 2 + int(b[at]) + int(b[at+1])<<8
			}
			if n > 0 && b[at+key] == region.AttrString && at+key+3 <= max {
				left := max - (at + key + 3)
				b[at+key+1], b[at+key+2] = byte(left), byte(left>>8)
				at, count = max, count+1
			}
			break
		}
		at += n
		count++
	}
	b[from], b[from+1] = byte(count), byte(count>>8)
	return b[:at]
}
