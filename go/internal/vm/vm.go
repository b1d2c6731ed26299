// Package vm is the filter machine, the twin of src/region/vm.c and vm_link.c: the same bytes, the same answers. See
// src/region/vm.h and docs/filters.md. Nothing here allocates. Programs lie in memory that another process may change at any
// time: each word is loaded once, and what it says is bounded where it is used.
package vm

import (
	"bytes"
	"encoding/binary"
	"math"

	"gander.internal/gander/internal/region"
)

// The bounds of src/region/vm.h.
const (
	GenericMax = 8192
	LinkedMax  = 16384
	nameMax    = 255
	allWork    = 1000000
)

const (
	magicGeneric = 0x31464447
	magicLinked  = 0x314c4447
	headSize     = 32
	insnSize     = 32
	goReject     = 0xffff
	goPass       = 0xfffe
	registers    = 8
	insnNot      = 1
)

const (
	opConst = 1 + iota
	opU8
	opU16
	opU32
	opU64
	opI8
	opI16
	opI32
	opI64
	opCmp
	opStr
	opSet
	opHas
	opLoad
	opLen
	opImm
	opArith
	opCmpr
)

const (
	strEQ = iota
	strPrefix
	strSuffix
	strContains
	strGlob
)

const (
	stepVar = 1 + iota
	stepSeq
	stepArr
	stepAttrs
	stepAt
	stepNth
	stepSkip
	stepDepth = 5
)

const (
	operandTid = 0x80 + iota
	operandGoid
	operandCpu
	operandSpan
	operandKey
	operandLevel
	operandName
)

// Key is the value of the field that hit counters are kept by: struct gd_filter_key. Kind 0: the event has no such value.
type Key struct {
	Kind, Len uint8
	Value     [44]byte
}

const valueStr = 4 // beyond numF64

type value struct {
	kind uint32
	bits uint64
	str  []byte
}

func (v *value) num() num {
	if v.kind > numF64 {
		return num{}
	}
	return num{v.kind, v.bits}
}

type program struct {
	code []byte
	view *View
	work uint32
}

type cursor struct {
	piece int
	off   uint64 // in the piece; may stand at or beyond its end until it is settled
}

func (p *program) pay(n uint32) bool {
	if p.work < n {
		p.work = 0
		return false
	}
	p.work -= n
	return true
}

// text is bytes of the program; ok is false when they are not inside.
func (p *program) text(off, n uint64) (s []byte, ok bool) {
	if off+n > uint64(len(p.code)) {
		return nil, false
	}
	return p.code[off : off+n : off+n], true
}

func (c *cursor) settle(v *View) bool {
	for c.piece < v.N {
		n := uint64(v.piece(c.piece).Len)
		if c.off < n {
			return true
		}
		c.off -= n
		c.piece++
	}
	return c.off == 0
}

// take returns the next n bytes and moves behind them; ok is false when they do not stand in one piece.
func (c *cursor) take(v *View, n uint64) (s []byte, ok bool) {
	if !c.settle(v) {
		return nil, false
	}
	if n == 0 {
		return nil, true
	}
	if c.piece >= v.N {
		return nil, false
	}
	p := v.piece(c.piece)
	if uint64(p.Len)-c.off < n {
		return nil, false
	}
	s = p.bytes(c.off, n)
	c.off += n
	return s, true
}

func (c *cursor) take16(v *View) (n uint64, ok bool) {
	s, ok := c.take(v, 2)
	if !ok {
		return 0, false
	}
	return uint64(binary.LittleEndian.Uint16(s)), true
}

// takeAttr reads one attribute; key is nil and keyOK false when the key is not in one piece.
func (c *cursor) takeAttr(v *View, val *value) (key []byte, keyOK, ok bool) {
	n, ok := c.take16(v)
	if !ok {
		return nil, false, false
	}
	at := *c
	key, keyOK = at.take(v, n)
	c.off += n
	s, ok := c.take(v, 1)
	if !ok {
		return nil, false, false
	}
	tag := s[0]
	val.kind = numNone
	if tag == region.AttrString {
		n, ok = c.take16(v)
		if !ok {
			return nil, false, false
		}
		at = *c
		if val.str, ok = at.take(v, n); ok {
			val.kind = valueStr
		}
		c.off += n
		return key, keyOK, true
	}
	n = 8
	if tag == region.AttrBool {
		n = 1
	}
	s, ok = c.take(v, n)
	if !ok || tag > region.AttrTime {
		return nil, false, false
	}
	switch tag {
	case region.AttrU64:
		val.kind = numU64
	case region.AttrF64:
		val.kind = numF64
	default:
		val.kind = numI64
	}
	if n == 1 {
		val.bits = uint64(s[0])
	} else {
		val.bits = binary.LittleEndian.Uint64(s)
	}
	return key, keyOK, true
}

func (p *program) skipAttrs(c *cursor) bool {
	n, ok := c.take16(p.view)
	if !ok {
		return false
	}
	var val value
	for ; n > 0; n-- {
		if !p.pay(1) {
			return false
		}
		if _, _, ok = c.takeAttr(p.view, &val); !ok {
			return false
		}
	}
	return true
}

func (p *program) walkTimes(c *cursor, times uint64, first, n uint64, depth int) bool {
	for ; times > 0; times-- {
		if !p.pay(1) || !p.walk(c, first, n, depth+1) {
			return false
		}
	}
	return true
}

// walk takes the steps [first, first + nsteps), which are words of the program.
func (p *program) walk(c *cursor, first, nsteps uint64, depth int) bool {
	if depth > stepDepth {
		return false
	}
	for i := first; i < first+nsteps; i++ {
		if i >= uint64(len(p.code))/8 || !p.pay(1) {
			return false
		}
		w := binary.LittleEndian.Uint64(p.code[8*i:])
		sub, n := w>>8&0xff, w>>16&0xffff
		c.off += w >> 32
		if !c.settle(p.view) {
			return false
		}
		switch kind := w & 0xff; kind {
		case stepVar:
			count, ok := c.take16(p.view)
			if !ok {
				return false
			}
			c.off += count * n
		case stepSeq:
			count, ok := c.take16(p.view)
			if !ok || !p.walkTimes(c, count, i+1, sub, depth) {
				return false
			}
			i += sub
		case stepArr:
			if !p.walkTimes(c, n, i+1, sub, depth) {
				return false
			}
			i += sub
		case stepAttrs:
			if !p.skipAttrs(c) {
				return false
			}
		case stepAt, stepNth:
			count, ok := c.take16(p.view)
			if !ok || n >= count {
				return false
			}
			if kind == stepNth {
				if !p.walkTimes(c, n, i+1, sub, depth) {
					return false
				}
				i += sub
			}
		case stepSkip:
		default:
			return false
		}
	}
	return true
}

func (p *program) locate(c *cursor, where uint64) bool {
	if n := where >> 48; n != 0 && !p.walk(c, where>>32&0xffff, n, 0) {
		return false
	}
	c.off += where & 0xffffffff
	return c.settle(p.view)
}

func (p *program) loadAttr(c *cursor, operand uint64, val *value) {
	val.kind = numNone
	want, ok := p.text(operand>>32&0xffff, operand>>48)
	if !ok {
		return
	}
	n, ok := c.take16(p.view)
	if !ok {
		return
	}
	for ; n > 0; n-- {
		if !p.pay(1) {
			break
		}
		key, keyOK, ok := c.takeAttr(p.view, val)
		if !ok {
			break
		}
		if keyOK && bytes.Equal(key, want) {
			return
		}
	}
	val.kind = numNone
}

func (p *program) loadContext(operand uint64, val *value) {
	val.kind = numU64
	switch operand & 0xff {
	case operandTid:
		val.bits = uint64(p.view.Tid)
	case operandGoid:
		val.bits = p.view.Goid
	case operandCpu:
		val.bits = uint64(p.view.Cpu)
	case operandSpan:
		val.bits = p.view.Span
	case operandKey:
		val.bits = p.view.Key
	case operandLevel:
		val.bits = uint64(p.view.Level)
	case operandName:
		var ok bool
		val.kind = numNone
		if val.str, ok = p.text(operand>>32&0xffff, operand>>48); ok {
			val.kind = valueStr
		}
	default:
		val.kind = numNone
	}
}

var typeSize = [16]uint8{
	region.U8: 1, region.U16: 2, region.U32: 4, region.U64: 8, region.I8: 1, region.I16: 2, region.I32: 4, region.I64: 8,
	region.F32: 4, region.F64: 8, region.Bool: 1,
}

func (p *program) load(where, operand uint64, val *value) {
	val.kind = numNone
	typ := operand & 0xff
	if typ >= operandTid {
		p.loadContext(operand, val)
		return
	}
	var c cursor
	if !p.locate(&c, where) {
		return
	}
	switch typ {
	case region.Attrs:
		p.loadAttr(&c, operand, val)
		return
	case region.String, region.Bytes:
		if n, ok := c.take16(p.view); ok {
			if val.str, ok = c.take(p.view, n); ok {
				val.kind = valueStr
			}
		}
		return
	}
	if typ >= uint64(len(typeSize)) || typeSize[typ] == 0 {
		return
	}
	s, ok := c.take(p.view, uint64(typeSize[typ]))
	if !ok {
		return
	}
	val.kind = numI64
	switch typ {
	case region.U8, region.Bool:
		val.bits = uint64(s[0])
	case region.U16:
		val.bits = uint64(binary.LittleEndian.Uint16(s))
	case region.U32:
		val.bits = uint64(binary.LittleEndian.Uint32(s))
	case region.U64:
		val.bits = binary.LittleEndian.Uint64(s)
		val.kind = numU64
	case region.I8:
		val.bits = uint64(int8(s[0]))
	case region.I16:
		val.bits = uint64(int16(binary.LittleEndian.Uint16(s)))
	case region.I32:
		val.bits = uint64(int32(binary.LittleEndian.Uint32(s)))
	case region.I64:
		val.bits = binary.LittleEndian.Uint64(s)
	case region.F32:
		val.bits = math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(s))))
		val.kind = numF64
	case region.F64:
		val.bits = binary.LittleEndian.Uint64(s)
		val.kind = numF64
	}
}

func (p *program) loadLength(where, a, operand uint64, val *value) {
	var c cursor
	val.kind = numNone
	if !p.locate(&c, where) {
		return
	}
	switch operand & 0xff {
	case region.Attrs:
		p.loadAttr(&c, operand, val)
		if val.kind != valueStr {
			val.kind = numNone
			return
		}
		val.bits = uint64(len(val.str))
	case region.Sequence:
		n, ok := c.take16(p.view)
		if !ok {
			return
		}
		val.bits = n
	case region.Array:
		val.bits = a
	default:
		return
	}
	val.kind = numI64
}

func (p *program) has(where, operand uint64) bool {
	var c cursor
	var val value
	switch operand & 0xff {
	case region.Attrs:
		p.load(where, operand, &val)
		return val.kind != numNone
	case 0:
		return false
	}
	return p.locate(&c, where)
}

func contains(text, want []byte, work *uint32) bool {
	price := 1 + uint32(len(want))/8
	for i := 0; i+len(want) <= len(text); i++ {
		if *work < price {
			return false
		}
		*work -= price
		if string(text[i:i+len(want)]) == string(want) {
			return true
		}
	}
	return false
}

// strHolds is gd_str_holds.
func strHolds(rel uint8, text, want []byte, work *uint32) bool {
	if rel == strGlob {
		return glob(want, text, work)
	}
	if len(text) < len(want) {
		return false
	}
	switch rel {
	case strEQ:
		return string(text) == string(want)
	case strPrefix:
		return string(text[:len(want)]) == string(want)
	case strSuffix:
		return string(text[len(text)-len(want):]) == string(want)
	case strContains:
		return contains(text, want, work)
	}
	return false
}

func (p *program) inSet(val *value, set uint64) bool {
	at := (set & 0xffff) / 8
	for n := set >> 16 & 0xffff; n > 0; n-- {
		pair, ok := p.text(8*at, 16)
		if !ok {
			return false
		}
		if val.bits-binary.LittleEndian.Uint64(pair) <= binary.LittleEndian.Uint64(pair[8:]) {
			return true
		}
		at += 2
	}
	return false
}

func valuesHold(rel uint8, x, y *value) bool {
	if x.kind != valueStr || y.kind != valueStr {
		return holds(rel, x.num(), y.num())
	}
	same := bytes.Equal(x.str, y.str)
	return rel == relEQ && same || rel == relNE && !same
}

func (p *program) takeKey(insn uint64, key *Key) {
	*key = Key{}
	i, ok := p.text(headSize+insnSize*(insn-1), insnSize)
	if insn == 0 || !ok {
		return
	}
	var val value
	operand := binary.LittleEndian.Uint64(i[24:])
	p.load(binary.LittleEndian.Uint64(i[8:]), operand, &val)
	typ := operand & 0xff
	switch {
	case val.kind == valueStr:
		key.Kind = region.KeyStr
		key.Len = uint8(copy(key.Value[:], val.str))
		return
	case val.kind == numNone:
		return
	case val.kind == numF64:
		key.Kind = region.KeyF64
	case val.kind == numU64 || typ <= region.U64 || typ == region.Bool:
		key.Kind = region.KeyU64
	default:
		key.Kind = region.KeyI64
	}
	key.Len = 8
	binary.LittleEndian.PutUint64(key.Value[:], val.bits)
}

// code is what may be read of a linked program, nil when it is none.
func code(linked []byte) []byte {
	if len(linked) < headSize+insnSize {
		return nil
	}
	head := binary.LittleEndian.Uint64(linked)
	size := head >> 32 &^ 7
	if uint32(head) != magicLinked || head>>32 > LinkedMax || head>>32 > uint64(len(linked)) || size < headSize+insnSize {
		return nil
	}
	return linked[:size:size]
}

// Needs says which of region.CtxTid, CtxGoid, CtxCpu, CtxSpan, CtxKey a linked filter looks at.
func Needs(linked []byte) uint32 {
	if c := code(linked); c != nil {
		return binary.LittleEndian.Uint32(c[12:]) & region.CtxAll
	}
	return 0
}

func (p *program) str(w uint64, i []byte) bool {
	where, a, operand := binary.LittleEndian.Uint64(i[8:]), binary.LittleEndian.Uint64(i[16:]), binary.LittleEndian.Uint64(i[24:])
	var val value
	p.load(where, operand, &val)
	if val.kind != valueStr {
		return false
	}
	want, ok := p.text(a&0xffff, a>>16&0xffff)
	return (ok && strHolds(uint8(w>>48), val.str, want, &p.work)) != (w>>8&insnNot != 0)
}

// runAny goes on at an instruction of any kind. It is apart from Run for the sake of its registers, which cost time to zero.
//
//go:noinline
func (p *program) runAny(at, end, keyInsn uint64, key *Key) bool {
	var reg [registers]value
	var val value
	for at+insnSize <= end {
		i := p.code[at : at+insnSize : at+insnSize]
		at += insnSize
		w := binary.LittleEndian.Uint64(i)
		where := binary.LittleEndian.Uint64(i[8:])
		a := binary.LittleEndian.Uint64(i[16:])
		b := binary.LittleEndian.Uint64(i[24:])
		rel, not := uint8(w>>48), w>>8&insnNot != 0
		left, right := &reg[w>>56&(registers-1)], &reg[w>>60&(registers-1)]
		hit := false
		switch op := uint8(w); op {
		case opConst:
			hit = true
		case opU8, opU16, opU32, opU64, opI8, opI16, opI32, opI64:
			if x, ok := p.view.fixed(op, where&0xffffffff); ok {
				hit = (x-a <= b) != not
			}
		case opStr:
			hit = p.str(w, i)
		case opCmp:
			p.load(where, b, &val)
			hit = holds(rel, val.num(), num{uint32(b >> 8 & 0xff), a})
		case opSet:
			p.load(where, b, &val)
			if val.kind == numI64 || val.kind == numU64 {
				hit = p.inSet(&val, a) != not
			}
		case opHas:
			hit = p.has(where, b)
		case opLoad:
			p.load(where, b, left)
			continue
		case opLen:
			p.loadLength(where, a, b, left)
			continue
		case opImm:
			left.kind, left.bits = uint32(b>>8&0xff), a
			if left.kind > numF64 {
				left.kind = numNone
			}
			continue
		case opArith:
			r := arithmetic(rel, left.num(), right.num())
			left.kind, left.bits = r.kind, r.bits
			continue
		case opCmpr:
			hit = valuesHold(rel, left, right)
		default:
			return false
		}
		if !hit {
			w >>= 16
		}
		next := w >> 16 & 0xffff
		if next >= goPass {
			if next == goPass && key != nil {
				p.takeKey(keyInsn, key)
			}
			return next == goPass
		}
		at += insnSize * next
	}
	return false
}
