package vm

import (
	"encoding/binary"
	"errors"

	"gander.internal/gander/internal/region"
)

// What Link says; as gd_filter_link()'s -ENOENT, -EINVAL, -ENOSPC.
var (
	ErrNoField = errors.New("the class has no such field")
	ErrInvalid = errors.New("the field's type does not fit the filter, or the filter is damaged")
	ErrNoSpace = errors.New("the filter is too long for this class")
)

const never = 0 // operand type of what no event of the class has: an index beyond an array

type linker struct {
	in         []byte
	class      desc
	out        []byte
	words, cap int // used, room
	needs      uint32
}

// place is where an operand is.
type place struct {
	typ           uint8
	optional      bool // an event may lack it
	at            int  // its type, in the description
	first, nsteps int  // words of out
	delta         uint64
	text          []byte // attribute's key, class's name
	textAt        uint64 // the same, in the program
}

type insn [4]uint64

func (l *linker) putWord(w uint64) error {
	if l.words >= l.cap {
		return ErrNoSpace
	}
	binary.LittleEndian.PutUint64(l.out[8*l.words:], w)
	l.words++
	return nil
}

// putText appends bytes, padded with zeros, and returns their offset and length as instructions hold it.
func (l *linker) putText(s []byte) (uint64, error) {
	if len(s) > LinkedMax {
		return 0, ErrNoSpace
	}
	at := uint64(l.words*8) | uint64(len(s))<<16
	for i := 0; i < len(s); i += 8 {
		w := uint64(0)
		for k := i; k < len(s) && k < i+8; k++ {
			w |= uint64(s[k]) << ((k - i) * 8)
		}
		if err := l.putWord(w); err != nil {
			return 0, err
		}
	}
	return at, nil
}

func (p *place) grow(n uint64) { p.delta = atMost32(p.delta + n) }

func (l *linker) putStep(p *place, kind, n uint64) error {
	fixed := p.delta
	p.delta = 0
	return l.putWord(kind | n<<16 | fixed<<32)
}

// putRepeat puts a step that repeats the skipping of one element.
func (l *linker) putRepeat(p *place, kind, n uint64, elem int) error {
	at, fixed := l.words, p.delta
	err := l.putStep(p, kind, n)
	if err == nil {
		err = l.skipValue(p, elem)
	}
	if err == nil && p.delta != 0 {
		err = l.putStep(p, stepSkip, 0)
	}
	if err != nil {
		return err
	}
	sub := uint64(l.words - at - 1)
	if sub > 255 {
		return ErrNoSpace
	}
	binary.LittleEndian.PutUint64(l.out[8*at:], kind|sub<<8|n<<16|fixed<<32)
	return nil
}

// skipValue moves the place behind a value of this type.
func (l *linker) skipValue(p *place, at int) error {
	d := &l.class
	if size := d.fixedSize(at); size != 0 {
		p.grow(size)
		return nil
	}
	switch d.b[at] {
	case region.String, region.Bytes:
		return l.putStep(p, stepVar, 1)
	case region.Attrs:
		return l.putStep(p, stepAttrs, 0)
	case region.Sequence:
		if size := d.fixedSize(at + 1); size != 0 && size <= 0xffff {
			return l.putStep(p, stepVar, size)
		}
		return l.putRepeat(p, stepSeq, 0, at+1)
	case region.Array:
		return l.putRepeat(p, stepArr, uint64(binary.LittleEndian.Uint32(d.b[at+1:])), at+5)
	case region.Struct:
		next := at + 2
		for n := d.b[at+1]; n > 0; n-- {
			var f field
			if f, next = d.field(next); next < 0 {
				return ErrInvalid
			}
			if err := l.skipValue(p, f.at); err != nil {
				return err
			}
		}
		return nil
	}
	return ErrInvalid
}

// indexValue moves the place to element n; beyond says that there is none.
func (l *linker) indexValue(p *place, n uint64) (beyond bool, err error) {
	array := p.typ == region.Array
	if !array && p.typ != region.Sequence {
		return false, ErrNoField
	}
	elem := p.at + 1
	beyond = n > 0xffff
	if array {
		beyond = beyond || n >= uint64(binary.LittleEndian.Uint32(l.class.b[elem:]))
		elem += 4
	}
	size := l.class.fixedSize(elem)
	p.at, p.typ = elem, l.class.b[elem]
	if beyond {
		p.optional = true
		return true, nil
	}
	if array {
		if size == 0 {
			return false, l.putRepeat(p, stepArr, n, elem)
		}
	} else {
		p.optional = true
		if size == 0 {
			return false, l.putRepeat(p, stepNth, n, elem)
		}
		err = l.putStep(p, stepAt, n)
	}
	p.grow(n * size)
	return false, err
}

// readIndex reads "[123]"; used is 0 when it is none.
func readIndex(s []byte) (n uint64, used int) {
	i := 1
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if n <= 0xffff {
			n = n*10 + uint64(s[i]-'0')
		}
	}
	if i > 1 && i < len(s) && s[i] == ']' {
		return n, i + 1
	}
	return n, 0
}

// findField is the number, from 1, of the field whose name the path starts with, the longest if there are several; 0: none.
func (d *desc) findField(at, nfields int, path []byte) int {
	best, bestLen := 0, 0
	for i := 1; i <= nfields; i++ {
		f, next := d.field(at)
		if next < 0 {
			break
		}
		at = next
		n := len(f.name)
		if n > len(path) || n <= bestLen || string(f.name) != string(path[:n]) {
			continue
		}
		if n < len(path) && path[n] != '.' && path[n] != '[' {
			continue
		}
		best, bestLen = i, n
	}
	return best
}

func (l *linker) resolvePath(p *place, path []byte) error {
	d := &l.class
	at, nfields := d.fields, d.nfields
	isNever := false
	for {
		number := d.findField(at, nfields, path)
		if number == 0 {
			return ErrNoField
		}
		f, next := d.field(at)
		for i := 1; i < number; i++ {
			if err := l.skipValue(p, f.at); err != nil {
				return err
			}
			f, next = d.field(next)
		}
		p.at, p.typ = f.at, f.typ
		path = path[len(f.name):]
		for len(path) > 0 && path[0] == '[' {
			n, used := readIndex(path)
			if used == 0 {
				return ErrNoField
			}
			beyond, err := l.indexValue(p, n)
			if err != nil {
				return err
			}
			isNever = isNever || beyond
			path = path[used:]
		}
		if len(path) == 0 {
			break
		}
		if path[0] != '.' || len(path) == 1 {
			return ErrNoField
		}
		path = path[1:]
		if p.typ == region.Attrs {
			p.optional = true
			p.text = path
			break
		}
		if p.typ != region.Struct {
			return ErrNoField
		}
		nfields = int(d.b[p.at+1])
		at = p.at + 2
	}
	if isNever {
		p.typ = never
	}
	return nil
}

// resolveAttr is the class's attrs field, with the whole path as key.
func (l *linker) resolveAttr(p *place, path []byte) error {
	for at := l.class.fields; ; {
		f, next := l.class.field(at)
		if next < 0 {
			return ErrNoField
		}
		at = next
		if f.typ == region.Attrs {
			p.typ, p.at, p.optional, p.text = f.typ, f.at, true, path
			return nil
		}
		if err := l.skipValue(p, f.at); err != nil {
			return err
		}
	}
}

// shareSteps: steps that stand somewhere in out already are used from there.
func (l *linker) shareSteps(p *place, data int) {
	p.nsteps = l.words - p.first
	steps := l.out[8*p.first : 8*l.words]
	for i := data; i+p.nsteps <= p.first; i++ {
		if string(l.out[8*i:8*(i+p.nsteps)]) == string(steps) {
			l.words = p.first
			p.first = i
			return
		}
	}
}

func (l *linker) resolve(p *place, where uint64, data int) error {
	var copied [nameMax]byte
	off, n := where&0xffff, where>>16&0xffff
	empty := place{first: l.words}
	*p = empty
	if n == 0 || n > nameMax || off+n > uint64(len(l.in)) {
		return ErrInvalid
	}
	path := copied[:copy(copied[:], l.in[off:off+n])]
	switch string(path) {
	case "$tid":
		p.typ = operandTid
		l.needs |= region.CtxTid
	case "$goid":
		p.typ = operandGoid
		l.needs |= region.CtxGoid
	case "$cpu":
		p.typ = operandCpu
		l.needs |= region.CtxCpu
	case "$span":
		p.typ = operandSpan
		l.needs |= region.CtxSpan
	case "$key":
		p.typ = operandKey
		l.needs |= region.CtxKey
	case "$level":
		p.typ = operandLevel
	case "$name":
		p.typ = operandName
		p.text = l.class.name
	default:
		err := l.resolvePath(p, path)
		if err == ErrNoField {
			l.words = empty.first
			*p = empty
			err = l.resolveAttr(p, path)
		}
		if err != nil {
			return err
		}
		l.shareSteps(p, data)
	}
	if len(p.text) > 0 {
		var err error
		if p.textAt, err = l.putText(p.text); err != nil {
			return err
		}
	}
	p.text = nil
	return nil
}

func (i *insn) putOperand(p *place, typ uint8, kind uint64) {
	i[1] = p.delta | uint64(p.first)<<32 | uint64(p.nsteps)<<48
	i[3] = uint64(typ) | kind<<8 | p.textAt<<32
}

func (l *linker) integerType(p *place) uint8 {
	typ := p.typ
	switch typ {
	case region.Enum:
		typ = l.class.b[p.at+1]
	case region.Bool:
		typ = region.U8
	}
	if typ >= region.U8 && typ <= region.I64 {
		return typ
	}
	return 0
}

func (l *linker) scalarType(p *place) uint8 {
	if typ := l.integerType(p); typ != 0 {
		if p.typ == region.Bool {
			return p.typ
		}
		return typ
	}
	switch p.typ {
	case region.F32, region.F64, region.Attrs,
		operandTid, operandGoid, operandCpu, operandSpan, operandKey, operandLevel:
		return p.typ
	}
	return 0
}

func (p *place) isString() bool {
	return p.typ == region.String || p.typ == region.Bytes || p.typ == operandName
}

// isFixed: at a fixed place in the first piece?
func (p *place) isFixed() bool { return p.nsteps == 0 && p.typ < operandTid && p.typ != never }

// makeRange turns an integer at a fixed place against an integer into a range.
func (i *insn) makeRange(typ uint8, rel uint8, lit num) {
	min, max := num{numI64, 0}, num{numU64, 0}
	if typ >= region.I8 {
		bits := 8 << (typ - region.I8)
		min.bits = -(uint64(1) << (bits - 1))
		max = num{numI64, uint64(1)<<(bits-1) - 1}
	} else {
		max.bits = ^uint64(0) >> (64 - 8<<(typ-region.U8))
	}
	opposite := rel == relNE || rel == relLT || rel == relGT
	switch rel {
	case relEQ, relNE:
		if compare(lit, min) >= 0 && compare(lit, max) <= 0 {
			min, max = lit, lit
		} else {
			opposite = !opposite // all, and then not
		}
	case relLE, relGT:
		if compare(lit, min) < 0 {
			opposite = !opposite
		} else if compare(lit, max) < 0 {
			max = lit
		}
	default: // relGE, relLT
		if compare(lit, max) > 0 {
			opposite = !opposite
		} else if compare(lit, min) > 0 {
			min = lit
		}
	}
	if opposite {
		i[0] ^= insnNot << 8
	}
	i[0] = i[0]&^0xff | uint64(opU8+typ-region.U8)
	i[2] = min.bits
	i[3] = max.bits - min.bits
}

func (l *linker) linkCmp(i *insn, p *place) error {
	rel := uint8(i[0] >> 48)
	lit := num{uint32(i[3] >> 8 & 0xff), i[2]}
	typ := l.scalarType(p)
	if lit.kind-1 >= numF64 || rel > relGE || typ == 0 && p.typ != never {
		return ErrInvalid
	}
	i.putOperand(p, typ, uint64(lit.kind))
	if p.isFixed() && l.integerType(p) != 0 && lit.kind != numF64 {
		i[0] &^= 0xff00
		i.makeRange(l.integerType(p), rel, lit)
	}
	return nil
}

// linkEnum links an enumeration against text: the ranges of the labels that fit.
func (l *linker) linkEnum(i *insn, p *place, want []byte) error {
	b, at := l.class.b, p.at+4
	first := l.words
	var low, span uint64
	for n := binary.LittleEndian.Uint16(b[p.at+2:]); n > 0; n-- {
		work := uint32(allWork)
		label := b[at+17 : at+17+int(b[at+16])]
		if strHolds(uint8(i[0]>>48), label, want, &work) {
			low = binary.LittleEndian.Uint64(b[at:])
			span = binary.LittleEndian.Uint64(b[at+8:]) - low
			err := l.putWord(low)
			if err == nil {
				err = l.putWord(span)
			}
			if err != nil {
				return err
			}
		}
		at += 17 + len(label)
	}
	pairs := (l.words - first) / 2
	if pairs == 0 {
		return ErrNoField
	}
	i[0] &^= 0xff
	if pairs == 1 && p.isFixed() {
		l.words = first
		i[0] |= uint64(opU8 + l.integerType(p) - region.U8)
		i[2], i[3] = low, span
		return nil
	}
	i[0] |= opSet
	i[2] = uint64(first*8 | pairs<<16)
	return nil
}

func (l *linker) linkStr(i *insn, p *place) error {
	off, n := i[2]&0xffff, i[2]>>16&0xffff
	if uint8(i[0]>>48) > strGlob || off+n > uint64(len(l.in)) {
		return ErrInvalid
	}
	want := l.in[off : off+n]
	if p.typ == region.Enum {
		i.putOperand(p, l.integerType(p), 0)
		return l.linkEnum(i, p, want)
	}
	if !p.isString() && p.typ != region.Attrs && p.typ != never {
		return ErrInvalid
	}
	i.putOperand(p, p.typ, 0)
	var err error
	i[2], err = l.putText(want)
	return err
}

func (i *insn) makeConst(yes bool) {
	next := i[0] >> 16
	if !yes {
		next = i[0] >> 32
	}
	*i = insn{opConst | next&0xffff<<16}
}

func (l *linker) linkLen(i *insn, p *place) error {
	typ := p.typ
	switch typ {
	case region.String, region.Bytes, region.Sequence:
		typ = region.Sequence
	case region.Attrs:
		if p.textAt == 0 {
			typ = region.Sequence
		}
	case region.Array:
		i[2] = uint64(binary.LittleEndian.Uint32(l.class.b[p.at+1:]))
	case never:
	default:
		return ErrInvalid
	}
	i.putOperand(p, typ, 0)
	return nil
}

func (l *linker) linkInsn(i *insn, data int) error {
	op := uint8(i[0])
	switch op {
	case opConst:
		i.makeConst(true)
		return nil
	case opImm:
		if i[3]>>8&0xff-1 < numF64 {
			return nil
		}
		return ErrInvalid
	case opArith, opCmpr:
		return nil
	case opCmp, opStr, opHas, opLoad, opLen:
	default:
		return ErrInvalid
	}
	var p place
	first := l.words
	err := l.resolve(&p, i[1], data)
	if op == opHas && (err == ErrNoField || err == nil && (!p.optional || p.typ == never)) {
		i.makeConst(err == nil && p.typ != never)
		l.words = first
		return nil
	}
	if err != nil {
		return err
	}
	if p.typ == region.Attrs && p.textAt == 0 && op != opLen && op != opHas {
		return ErrInvalid
	}
	switch op {
	case opCmp:
		return l.linkCmp(i, &p)
	case opStr:
		return l.linkStr(i, &p)
	case opLen:
		return l.linkLen(i, &p)
	case opLoad:
		typ := l.scalarType(&p)
		if p.isString() {
			typ = p.typ
		}
		if typ == 0 && p.typ != never {
			return ErrInvalid
		}
		i.putOperand(&p, typ, 0)
	default:
		i.putOperand(&p, p.typ, 0)
	}
	return nil
}

// Link makes the linked form of a generic filter for the class that desc describes. It is written to out; n is how many bytes
// it has. generic may change meanwhile, desc must not.
func Link(generic, desc, out []byte) (n int, err error) {
	if len(generic) < headSize {
		return 0, ErrInvalid
	}
	l := linker{out: out}
	head, counts := binary.LittleEndian.Uint64(generic), binary.LittleEndian.Uint64(generic[8:])
	size := head >> 32
	ninsn, key := counts&0xffff, counts>>16&0xffff
	data := int(4 + 4*ninsn)
	if uint32(head) != magicGeneric || size > uint64(len(generic)) || size > GenericMax || ninsn == 0 ||
		uint64(data*8) > size || key > ninsn {
		return 0, ErrInvalid
	}
	l.in = generic[:size]
	if !l.class.parse(desc) {
		return 0, ErrInvalid
	}
	l.cap = len(out) / 8
	if l.cap > LinkedMax/8 {
		l.cap = LinkedMax / 8
	}
	if l.cap < data {
		return 0, ErrNoSpace
	}
	l.words = data
	for i := uint64(0); i < ninsn; i++ {
		var in insn
		at := headSize + insnSize*i
		for k := range in {
			in[k] = binary.LittleEndian.Uint64(generic[at+8*uint64(k):])
		}
		if key == i+1 && uint8(in[0]) != opLoad {
			return 0, ErrInvalid
		}
		if err := l.linkInsn(&in, data); err != nil {
			return 0, err
		}
		for k := range in {
			binary.LittleEndian.PutUint64(out[at+8*uint64(k):], in[k])
		}
	}
	binary.LittleEndian.PutUint64(out[8:], ninsn|key<<16|uint64(l.needs)<<32)
	binary.LittleEndian.PutUint64(out[16:], 0)
	binary.LittleEndian.PutUint64(out[24:], 0)
	binary.LittleEndian.PutUint64(out, magicLinked|uint64(l.words)<<35)
	return l.words * 8, nil
}
