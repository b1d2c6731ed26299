package reader

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what is read: a recording may come from anywhere.
const (
	maxMetadata = 64 << 20
	maxDepth    = 32
	maxElements = 1 << 20
	maxPacket   = 256 << 20
	largePacket = 1 << 20
	maxHeld     = 1 << 30 // of all streams' packets
	maxTypes    = 1 << 20 // of a trace, with the ranges of their labels
)

type kind uint8

const (
	kindInt kind = iota
	kindFloat
	kindEnum
	kindString // NUL-terminated
	kindStruct
	kindArray // of n elements, or as many as the field named length says
	kindVariant
)

// ctype is a type of the metadata.
type ctype struct {
	kind     kind
	size     uint // bits
	align    uint
	signed   bool
	text     bool // an element of a string
	clock    bool // its value is the clock's
	base     *ctype
	ranges   []enumRange
	fields   []cfield
	elem     *ctype
	n        uint64
	length   string
	tag      string
	wrapped  bool   // a struct that stands only around its last field
	bytes    bool   // a list of integers that is shown as bytes
	role     string // CTF 2
	asBool   bool
	duration bool
	time     bool
}

type enumRange struct {
	low, high int64
	label     string
}

type cfield struct {
	name   string // in the metadata
	show   string
	typ    *ctype
	hidden bool // says only how its neighbours are laid out
	attrs  bool
	ranges []enumRange // CTF 2: of the tag, where it is one of a variant's
}

type eventClass struct {
	name     string
	id       uint64
	stream   uint64
	loglevel int64
	span     SpanKind
	context  *ctype
	fields   *ctype
}

type streamClass struct {
	cut     bool
	packet  *ctype
	header  *ctype
	context *ctype
	events  map[uint64]*eventClass
}

type metadata struct {
	packetHeader *ctype
	env          map[string]string
	freq         uint64
	offset       uint64
	offsetS      int64
	clockUUID    string
	streams      map[uint64]*streamClass
	aliases      map[string]*ctype
	types        int
}

func newMetadata() *metadata {
	return &metadata{env: map[string]string{}, streams: map[uint64]*streamClass{}, aliases: map[string]*ctype{}, freq: 1e9}
}

// count bounds the memory: a type of a few letters takes hundreds of bytes.
func (md *metadata) count(n int) error {
	if md.types += n; md.types > maxTypes {
		return errors.New("it has too many types")
	}
	return nil
}

// A token is a word, a number, a text in quotes, a sign, or a hint: a comment that begins with @.
type token struct {
	sort byte // w word, n number, t text, h hint, or the sign itself
	s    string
	at   int
}

type parser struct {
	src   string
	at    int
	tok   token
	depth int
	err   error
	md    *metadata
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		line := 1 + strings.Count(p.src[:min(p.tok.at, len(p.src))], "\n")
		p.err = fmt.Errorf("metadata, line %d: %s", line, fmt.Sprintf(format, args...))
	}
	p.tok = token{sort: 0, at: len(p.src)}
	p.at = len(p.src)
}

func isWord(c byte) bool {
	return c == '_' || c == '.' || c-'0' <= 9 || c|32-'a' < 26 && c|32 >= 'a'
}

// next reads the token behind the one at hand.
func (p *parser) next() {
	for p.at < len(p.src) {
		c := p.src[p.at]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			p.at++
			continue
		}
		p.tok = token{sort: c, at: p.at}
		switch {
		case strings.HasPrefix(p.src[p.at:], "/*"):
			end := strings.Index(p.src[p.at+2:], "*/")
			if end < 0 {
				p.fail("a comment does not end")
				return
			}
			text := p.src[p.at+2 : p.at+2+end]
			p.at += end + 4
			if !strings.HasPrefix(text, "@") {
				continue
			}
			p.tok.sort, p.tok.s = 'h', text[1:]
		case strings.HasPrefix(p.src[p.at:], "//"):
			end := strings.IndexByte(p.src[p.at:], '\n')
			if end < 0 {
				end = len(p.src) - p.at
			}
			p.at += end
			continue
		case strings.HasPrefix(p.src[p.at:], ":="):
			p.at += 2
			p.tok.sort = '='
		case strings.HasPrefix(p.src[p.at:], "..."):
			p.at += 3
			p.tok.sort = '-'
		case c == '"':
			p.quoted()
		case c == '-' || c-'0' <= 9:
			end := p.at + 1
			for end < len(p.src) && isWord(p.src[end]) && p.src[end] != '.' {
				end++
			}
			p.tok.sort, p.tok.s = 'n', p.src[p.at:end]
			p.at = end
		case isWord(c):
			end := p.at + 1
			for end < len(p.src) && isWord(p.src[end]) {
				end++
			}
			p.tok.sort, p.tok.s = 'w', p.src[p.at:end]
			p.at = end
		default:
			p.at++
		}
		return
	}
	p.tok = token{sort: 0, at: len(p.src)}
}

func (p *parser) quoted() {
	var b strings.Builder
	for i := p.at + 1; i < len(p.src); i++ {
		switch c := p.src[i]; c {
		case '"':
			p.tok.sort, p.tok.s = 't', b.String()
			p.at = i + 1
			return
		case '\\':
			i++
			if i == len(p.src) {
				break
			}
			switch e := p.src[i]; {
			case e == 'n':
				b.WriteByte('\n')
			case e == 't':
				b.WriteByte('\t')
			case e-'0' < 8 && i+2 < len(p.src):
				v, err := strconv.ParseUint(p.src[i:i+3], 8, 8)
				if err != nil {
					p.fail("a bad escape")
					return
				}
				b.WriteByte(byte(v))
				i += 2
			default:
				b.WriteByte(e)
			}
		default:
			b.WriteByte(c)
		}
	}
	p.fail("a text does not end")
}

func (p *parser) is(sort byte) bool { return p.err == nil && p.tok.sort == sort }

func (p *parser) accept(sort byte) bool {
	if !p.is(sort) {
		return false
	}
	p.next()
	return true
}

func (p *parser) want(sort byte) string {
	s := p.tok.s
	if !p.is(sort) {
		p.fail("%q is expected", sort)
		return ""
	}
	p.next()
	return s
}

func (p *parser) number() int64 {
	s := p.want('n')
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		u, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			p.fail("%q is no number", s)
		}
		v = int64(u)
	}
	return v
}

func (p *parser) enter() bool {
	p.depth++
	if p.depth > maxDepth {
		p.fail("types nest too deep")
	} else if err := p.md.count(1); err != nil {
		p.fail("%v", err)
	}
	return p.err == nil
}

// value is what stands behind "=" where it is no type.
func (p *parser) value() string {
	s := p.tok.s
	if !p.is('w') && !p.is('n') && !p.is('t') {
		p.fail("a value is expected")
	}
	p.next()
	return s
}

// attributes reads { name = value; ... } and gives each to set.
func (p *parser) attributes(set func(name, value string)) {
	p.want('{')
	for p.err == nil && !p.accept('}') {
		if p.accept('h') {
			continue
		}
		name := p.want('w')
		p.want('=')
		set(name, p.value())
		p.want(';')
	}
}

func atoi(s string) uint {
	v, _ := strconv.ParseUint(s, 0, 16)
	return uint(v)
}

func (p *parser) typ() *ctype {
	if !p.enter() {
		return &ctype{}
	}
	defer func() { p.depth-- }()
	word := p.want('w')
	switch word {
	case "integer":
		t := &ctype{kind: kindInt, align: 1}
		p.attributes(func(name, v string) {
			switch name {
			case "size":
				t.size = atoi(v)
			case "align":
				t.align = atoi(v)
			case "signed":
				t.signed = v == "true" || v == "1"
			case "encoding":
				t.text = v == "UTF8" || v == "ASCII"
			case "byte_order":
				if v == "be" || v == "network" {
					p.fail("big-endian integers are not read")
				}
			case "map":
				t.clock = true
			}
		})
		if t.size < 1 || t.size > 64 || t.align < 1 || t.align > 64 || t.align&(t.align-1) != 0 {
			p.fail("an integer of %d bits, aligned to %d", t.size, t.align)
		}
		return t
	case "floating_point":
		t := &ctype{kind: kindFloat, align: 1}
		var exp, mant uint
		p.attributes(func(name, v string) {
			switch name {
			case "exp_dig":
				exp = atoi(v)
			case "mant_dig":
				mant = atoi(v)
			case "align":
				t.align = atoi(v)
			}
		})
		t.size = exp + mant
		if t.size != 32 && t.size != 64 || t.align < 1 || t.align > 64 || t.align&(t.align-1) != 0 {
			p.fail("a float of %d bits", t.size)
		}
		return t
	case "string":
		if p.is('{') {
			p.attributes(func(string, string) {})
		}
		return &ctype{kind: kindString, align: 8}
	case "enum":
		return p.enum()
	case "struct", "variant":
		t := &ctype{kind: kindStruct, align: 1}
		if word == "variant" {
			t.kind = kindVariant
		}
		p.accept('w')
		if p.accept('<') {
			t.tag = p.want('w')
			p.want('>')
		}
		if t.kind == kindVariant && t.tag == "" {
			p.fail("a variant without a tag")
		}
		p.fields(t)
		if p.is('w') && p.tok.s == "align" {
			p.next()
			p.want('(')
			t.align = max(t.align, uint(p.number()))
			p.want(')')
		}
		return t
	}
	t := p.md.aliases[word]
	if t == nil {
		p.fail("the type %q is not known", word)
		t = &ctype{}
	}
	return t
}

func (p *parser) enum() *ctype {
	t := &ctype{kind: kindEnum}
	p.accept('w')
	p.want(':')
	t.base = p.typ()
	if t.base.kind != kindInt {
		p.fail("an enumeration of what is no integer")
	}
	t.align, t.size = t.base.align, t.base.size
	p.want('{')
	next := int64(0)
	for p.err == nil && !p.accept('}') {
		r := enumRange{low: next, high: next}
		if !p.is('w') && !p.is('t') {
			p.fail("a label is expected")
		}
		r.label = p.tok.s
		p.next()
		if p.accept('=') {
			r.low = p.number()
			r.high = r.low
			if p.accept('-') {
				r.high = p.number()
			}
		}
		next = r.high + 1
		if err := p.md.count(1); err != nil {
			p.fail("%v", err)
		}
		t.ranges = append(t.ranges, r)
		p.accept(',')
	}
	return t
}

// fields reads the members of a struct or variant.
func (p *parser) fields(t *ctype) {
	p.want('{')
	for p.err == nil && !p.accept('}') {
		f := cfield{typ: p.typ()}
		f.name = p.want('w')
		for p.accept('[') {
			a := &ctype{kind: kindArray, elem: f.typ, align: f.typ.align}
			if p.is('n') {
				a.n = uint64(p.number())
			} else {
				a.length = p.want('w')
			}
			p.want(']')
			f.typ = a
			if err := p.md.count(1); err != nil {
				p.fail("%v", err)
			}
		}
		p.want(';')
		f.show = strings.TrimPrefix(f.name, "_")
		own := *f.typ
		for p.is('h') {
			switch hint := p.tok.s; {
			case hint == "length":
				f.hidden = true
			case hint == "bytes":
				own.bytes = true
			case hint == "attrs":
				f.attrs = true
			case hint == "wrap":
				own.wrapped = true
			case hint == "bool":
				own.asBool = true
			case hint == "duration":
				own.duration = true
			case hint == "time":
				own.time = true
			case strings.HasPrefix(hint, "name "):
				q := parser{src: hint[5:], md: p.md}
				q.next()
				f.show = q.want('t')
			}
			p.next()
		}
		own.hintElements()
		f.typ = &own
		t.align = max(t.align, f.typ.align)
		t.fields = append(t.fields, f)
	}
	t.hideTags()
}

// hideTags: a tag is known by the variant that it is for.
func (t *ctype) hideTags() {
	tags := map[string]bool{}
	for i := range t.fields {
		if t.fields[i].typ.kind == kindVariant {
			tags[t.fields[i].typ.tag] = true
		}
	}
	for i := range t.fields {
		t.fields[i].hidden = t.fields[i].hidden || tags[t.fields[i].name]
	}
}

// hintElements: what a hint says of a list it says of its elements.
func (t *ctype) hintElements() {
	if t.kind != kindArray || !(t.asBool || t.duration || t.time || t.wrapped) {
		return
	}
	elem := *t.elem
	elem.asBool, elem.duration, elem.time, elem.wrapped = t.asBool, t.duration, t.time, t.wrapped
	elem.hintElements()
	t.elem = &elem
	t.wrapped = false
}

func (p *parser) block(kind string) {
	s := &streamClass{events: map[uint64]*eventClass{}}
	e := &eventClass{loglevel: -1}
	id := uint64(0)
	p.want('{')
	for p.err == nil && !p.accept('}') {
		if p.is('h') {
			s.cut = s.cut || p.tok.s == "cut"
			switch p.tok.s {
			case "span begin":
				e.span = SpanBegin
			case "span end":
				e.span = SpanEnd
			}
			p.next()
			continue
		}
		name := p.want('w')
		p.want('=')
		switch name {
		case "packet.header":
			p.md.packetHeader = p.typ()
		case "packet.context":
			s.packet = p.typ()
		case "event.header":
			s.header = p.typ()
		case "event.context":
			s.context = p.typ()
		case "context":
			e.context = p.typ()
		case "fields":
			e.fields = p.typ()
		default:
			v := p.value()
			switch kind + "." + name {
			case "stream.id", "event.id":
				id, _ = strconv.ParseUint(v, 0, 64)
			case "event.name":
				e.name = v
			case "event.stream_id":
				e.stream, _ = strconv.ParseUint(v, 0, 64)
			case "event.loglevel":
				e.loglevel, _ = strconv.ParseInt(v, 0, 64)
			case "trace.byte_order":
				if v != "le" {
					p.fail("big-endian traces are not read")
				}
			case "clock.freq":
				p.md.freq, _ = strconv.ParseUint(v, 0, 64)
			case "clock.offset":
				p.md.offset, _ = strconv.ParseUint(v, 0, 64)
			case "clock.offset_s":
				p.md.offsetS, _ = strconv.ParseInt(v, 0, 64)
			case "clock.uuid":
				p.md.clockUUID = v
			}
			if kind == "env" {
				p.md.env[name] = v
			}
		}
		p.want(';')
	}
	p.want(';')
	switch kind {
	case "stream":
		if s.packet == nil || s.header == nil {
			p.fail("a stream without a packet's context or an event's header")
		}
		p.md.streams[id] = s
	case "event":
		to := p.md.streams[e.stream]
		if to == nil {
			p.fail("an event of stream %d, which there is not", e.stream)
			return
		}
		e.id = id
		to.events[id] = e
	}
}

// parseMetadata reads the description of a trace, as gander writes it.
func parseMetadata(src string) (*metadata, error) {
	if len(src) > maxMetadata {
		return nil, errors.New("the metadata is too large")
	}
	if strings.HasPrefix(src, separator) {
		return parseMetadata2(src)
	}
	if !strings.HasPrefix(src, "/* CTF 1.8 */") {
		return nil, errors.New("no metadata of CTF 1.8 or CTF 2")
	}
	p := &parser{src: src, md: newMetadata()}
	for p.next(); p.err == nil && p.tok.sort != 0; {
		if p.accept('h') {
			continue
		}
		switch word := p.want('w'); word {
		case "typealias":
			t := p.typ()
			p.want('=')
			p.md.aliases[p.want('w')] = t
			p.want(';')
		case "trace", "env", "clock", "stream", "event":
			p.block(word)
		default:
			p.fail("%q is not known here", word)
		}
	}
	if p.err == nil && (p.md.packetHeader == nil || p.md.freq == 0) {
		p.fail("no packet header, or a clock that stands")
	}
	return p.md, p.err
}
