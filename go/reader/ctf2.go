package reader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CTF 2's description of a trace is a row of JSON texts, each behind a record separator; an event class is one of them.
const (
	separator   = "\x1e"
	maxFragment = 4 << 20
)

type jsonHints struct {
	Bool, Duration, Time, Attrs, Wrap, Length, Cut bool
	Span                                           string
}

type jsonAttributes struct {
	Gander   jsonHints
	LogLevel string
}

// UnmarshalJSON: a name with a comma cannot stand in a tag.
func (a *jsonAttributes) UnmarshalJSON(text []byte) error {
	var spaces map[string]json.RawMessage
	if err := json.Unmarshal(text, &spaces); err != nil {
		return err
	}
	if level := spaces["babeltrace.org,2020"]; level != nil {
		var of struct {
			LogLevel string `json:"log-level"`
		}
		if err := json.Unmarshal(level, &of); err != nil {
			return err
		}
		a.LogLevel = of.LogLevel
	}
	if ours := spaces["gander"]; ours != nil {
		return json.Unmarshal(ours, &a.Gander)
	}
	return nil
}

type jsonLocation struct {
	Origin *string
	Path   []*string
}

// jsonRange is two integers, of 64 bits with or without a sign.
type jsonRange [2]json.Number

type jsonClass struct {
	Type       string
	Length     *uint64
	ByteOrder  string          `json:"byte-order"`
	BitOrder   string          `json:"bit-order"`
	Alignment  *uint64         // of fixed lengths
	Minimum    *uint64         `json:"minimum-alignment"`
	Encoding   string          // of text
	Mappings   json.RawMessage // in its own order
	LengthIn   *jsonLocation   `json:"length-field-location"`
	SelectorIn *jsonLocation   `json:"selector-field-location"`
	Element    json.RawMessage `json:"element-field-class"`
	Members    []jsonMember    `json:"member-classes"`
	Options    []jsonMember
	Roles      []string
	Attributes jsonAttributes
}

type jsonMember struct {
	Name   string
	Class  json.RawMessage `json:"field-class"`
	Ranges []jsonRange     `json:"selector-field-ranges"`
}

type jsonFragment struct {
	Type        string
	Version     uint64
	ID          json.RawMessage // a number, a clock's is text
	Name        string
	UID         string
	Frequency   uint64
	Extensions  json.RawMessage
	Environment map[string]any
	Offset      struct {
		Seconds int64
		Cycles  uint64
	} `json:"offset-from-origin"`
	Clock           string          `json:"default-clock-class-id"`
	Stream          uint64          `json:"data-stream-class-id"`
	PacketHeader    json.RawMessage `json:"packet-header-field-class"`
	PacketContext   json.RawMessage `json:"packet-context-field-class"`
	EventHeader     json.RawMessage `json:"event-record-header-field-class"`
	CommonContext   json.RawMessage `json:"event-record-common-context-field-class"`
	SpecificContext json.RawMessage `json:"specific-context-field-class"`
	Payload         json.RawMessage `json:"payload-field-class"`
	FieldClass      json.RawMessage `json:"field-class"`
	Attributes      jsonAttributes
}

// What a role says of a field, by the name that it has in CTF 1.8.
var roleNames = map[string]string{
	"packet-magic-number":                     "magic",
	"metadata-stream-uuid":                    "uuid",
	"data-stream-class-id":                    "stream_id",
	"data-stream-id":                          "stream_instance_id",
	"packet-total-length":                     "packet_size",
	"packet-content-length":                   "content_size",
	"packet-end-default-clock-timestamp":      "timestamp_end",
	"discarded-event-record-counter-snapshot": "events_discarded",
	"packet-sequence-number":                  "packet_seq_num",
	"event-record-class-id":                   "id",
}

// In the order of LTTng's numbers.
var levelNames = []string{"emergency", "alert", "critical", "error", "warning", "notice", "info", "debug:system", "debug:program", "debug:process", "debug:module",
	"debug:unit", "debug:function", "debug:line", "debug"}

type jsonParser struct {
	md      *metadata
	clock   string // its id
	aliases map[string]json.RawMessage
	depth   int
}

// class makes a type of a field class, or of the alias of one.
func (p *jsonParser) class(text json.RawMessage) (*ctype, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("types nest too deep")
	}
	defer func() { p.depth-- }()
	if err := p.md.count(1); err != nil {
		return nil, err
	}
	if len(text) > 0 && text[0] == '"' {
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return nil, err
		}
		if text = p.aliases[name]; text == nil {
			return nil, fmt.Errorf("the type %q is not known", name)
		}
	}
	var c jsonClass
	if len(text) == 0 {
		return nil, errors.New("a field class is missing")
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	if c.Encoding != "" && c.Encoding != "utf-8" {
		return nil, fmt.Errorf("text in %.40s is not read", c.Encoding)
	}
	h := c.Attributes.Gander
	t := &ctype{align: 1, asBool: h.Bool, duration: h.Duration, time: h.Time, wrapped: h.Wrap}
	var err error
	switch c.Type {
	case "fixed-length-unsigned-integer", "fixed-length-bit-array", "fixed-length-bit-map":
		err = p.fixed(t, &c)
	case "fixed-length-signed-integer":
		t.signed = true
		err = p.fixed(t, &c)
	case "fixed-length-boolean":
		t.asBool = true
		err = p.fixed(t, &c)
	case "fixed-length-floating-point-number":
		t.kind = kindFloat
		err = p.fixed(t, &c)
	case "null-terminated-string":
		t.kind, t.align = kindString, 8
	case "static-length-string", "dynamic-length-string":
		t.elem = &ctype{size: 8, align: 8, text: true}
		err = t.list(&c)
	case "static-length-blob", "dynamic-length-blob":
		t.elem, t.bytes = &ctype{size: 8, align: 8}, true
		err = t.list(&c)
	case "static-length-array", "dynamic-length-array":
		if t.elem, err = p.class(c.Element); err == nil {
			err = t.list(&c)
		}
	case "structure":
		t.kind = kindStruct
		err = p.members(t, c.Members)
	case "variant":
		t.kind = kindVariant
		if t.tag, err = c.SelectorIn.beside(); err == nil {
			err = p.members(t, c.Options)
		}
	default:
		err = fmt.Errorf("the type %.60q is not read", c.Type)
	}
	if err == nil && c.Minimum != nil {
		err = t.alignTo(*c.Minimum)
	}
	return t, err
}

func (t *ctype) alignTo(n uint64) error {
	if n < 1 || n > 64 || n&(n-1) != 0 {
		return fmt.Errorf("a field aligned to %d", n)
	}
	t.align = max(t.align, uint(n))
	return nil
}

// beside is the name of a length or a selector, which gander puts into the same structure.
func (l *jsonLocation) beside() (string, error) {
	if l == nil || len(l.Path) == 0 {
		return "", errors.New("a length or a selector is missing")
	}
	if l.Origin != nil || len(l.Path) != 1 || l.Path[0] == nil {
		return "", errors.New("a length or a selector elsewhere than beside its field is not read")
	}
	return *l.Path[0], nil
}

func (p *jsonParser) fixed(t *ctype, c *jsonClass) error {
	if c.Length == nil || *c.Length < 1 || *c.Length > 64 || t.kind == kindFloat && *c.Length != 32 && *c.Length != 64 {
		return errors.New("a field of a fixed length has a length that is not possible")
	}
	t.size = uint(*c.Length)
	if c.ByteOrder != "little-endian" || c.BitOrder != "" && c.BitOrder != "first-to-last" {
		return errors.New("only little-endian fields are read")
	}
	if c.Alignment != nil {
		if err := t.alignTo(*c.Alignment); err != nil {
			return err
		}
	}
	for _, role := range c.Roles {
		t.role = role
		t.clock = t.clock || role == "default-clock-timestamp" || role == "packet-end-default-clock-timestamp"
	}
	if t.kind != kindInt || t.asBool || len(c.Mappings) == 0 {
		return nil
	}
	base := *t
	t.kind, t.base = kindEnum, &base
	// member by member: where ranges overlap the first one holds
	d := json.NewDecoder(bytes.NewReader(c.Mappings))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.New("mappings are an object")
	}
	for d.More() {
		label, err := d.Token()
		if err != nil {
			return err
		}
		var set []jsonRange
		if err := d.Decode(&set); err != nil {
			return err
		}
		if err := p.ranges(set, label.(string), &t.ranges); err != nil {
			return err
		}
	}
	return nil
}

func (p *jsonParser) ranges(set []jsonRange, label string, to *[]enumRange) error {
	for _, r := range set {
		var v [2]int64
		for i, n := range r {
			s := n.String()
			var err error
			if v[i], err = strconv.ParseInt(s, 10, 64); err != nil {
				var u uint64
				if u, err = strconv.ParseUint(s, 10, 64); err != nil {
					return fmt.Errorf("%.40q is no integer", s)
				}
				v[i] = int64(u)
			}
		}
		*to = append(*to, enumRange{v[0], v[1], label})
	}
	return p.md.count(len(set))
}

// list is of as many elements as the class says, or a field beside it.
func (t *ctype) list(c *jsonClass) (err error) {
	t.kind, t.align = kindArray, t.elem.align
	if strings.HasPrefix(c.Type, "dynamic-") {
		t.length, err = c.LengthIn.beside()
	} else if c.Length == nil {
		err = errors.New("a list has no length")
	} else {
		t.n = *c.Length
	}
	t.hintElements()
	return err
}

func (p *jsonParser) members(t *ctype, list []jsonMember) error {
	for _, m := range list {
		typ, err := p.class(m.Class)
		if err != nil {
			return err
		}
		f := cfield{name: m.Name, typ: typ}
		var hints struct{ Attributes jsonAttributes }
		if m.Class[0] == '{' {
			if err := json.Unmarshal(m.Class, &hints); err != nil {
				return err
			}
		}
		f.hidden, f.attrs = hints.Attributes.Gander.Length, hints.Attributes.Gander.Attrs
		if name := roleNames[typ.role]; name != "" {
			f.name = name
		}
		f.show = f.name
		if t.kind == kindVariant {
			if err := p.ranges(m.Ranges, "", &f.ranges); err != nil {
				return err
			}
		} else {
			t.align = max(t.align, typ.align)
		}
		t.fields = append(t.fields, f)
	}
	t.hideTags()
	return nil
}

// scope is one of the structures that make up a packet; nil where there is none.
func (p *jsonParser) scope(text json.RawMessage, to **ctype, begins string) error {
	if text == nil {
		return nil
	}
	t, err := p.class(text)
	if err != nil {
		return err
	}
	if t.kind != kindStruct {
		return errors.New("a part of a packet is no structure")
	}
	for i := range t.fields {
		if f := &t.fields[i]; begins != "" && f.typ.role == "default-clock-timestamp" {
			f.name, f.show = begins, begins
		}
	}
	*to = t
	return nil
}

func (p *jsonParser) fragment(text []byte, number int) error {
	if len(text) > maxFragment {
		return errors.New("it is too long")
	}
	var f jsonFragment
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	if f.Extensions != nil {
		return errors.New("extensions of CTF 2 are not read")
	}
	if (number == 1) != (f.Type == "preamble") {
		return errors.New("the first fragment, and no other, is a preamble")
	}
	var id uint64
	if f.Type == "data-stream-class" || f.Type == "event-record-class" {
		if f.ID != nil {
			if err := json.Unmarshal(f.ID, &id); err != nil {
				return err
			}
		}
	}
	switch f.Type {
	case "preamble":
		if f.Version != 2 {
			return fmt.Errorf("CTF %d is not read", f.Version)
		}
	case "trace-class":
		for name, v := range f.Environment {
			switch v := v.(type) {
			case string:
				p.md.env[name] = v
			case float64:
				p.md.env[name] = strconv.FormatFloat(v, 'f', -1, 64)
			}
		}
		return p.scope(f.PacketHeader, &p.md.packetHeader, "")
	case "clock-class":
		if p.clock != "" {
			return errors.New("more than one clock is not read")
		}
		p.clock = f.Name
		if f.ID != nil {
			if err := json.Unmarshal(f.ID, &p.clock); err != nil {
				return err
			}
		}
		p.md.freq, p.md.offset, p.md.offsetS, p.md.clockUUID = f.Frequency, f.Offset.Cycles, f.Offset.Seconds, f.UID
	case "data-stream-class":
		if p.md.streams[id] != nil || f.Clock != p.clock {
			return errors.New("a second stream of that id, or one with another clock")
		}
		s := &streamClass{events: map[uint64]*eventClass{}, cut: f.Attributes.Gander.Cut}
		for _, part := range []struct {
			text   json.RawMessage
			to     **ctype
			begins string
		}{{f.PacketContext, &s.packet, "timestamp_begin"}, {f.EventHeader, &s.header, "timestamp"}, {f.CommonContext, &s.context, ""}} {
			if err := p.scope(part.text, part.to, part.begins); err != nil {
				return err
			}
		}
		if s.packet == nil || s.header == nil {
			return errors.New("a stream without a packet's context or an event's header")
		}
		p.md.streams[id] = s
	case "event-record-class":
		to := p.md.streams[f.Stream]
		if to == nil {
			return fmt.Errorf("an event of stream %d, which there is not", f.Stream)
		}
		e := &eventClass{name: f.Name, id: id, stream: f.Stream, loglevel: -1}
		for i, name := range levelNames {
			if f.Attributes.LogLevel == name {
				e.loglevel = int64(i)
			}
		}
		switch f.Attributes.Gander.Span {
		case "begin":
			e.span = SpanBegin
		case "end":
			e.span = SpanEnd
		}
		if err := p.scope(f.SpecificContext, &e.context, ""); err != nil {
			return err
		}
		to.events[id] = e
		return p.scope(f.Payload, &e.fields, "")
	case "field-class-alias":
		// of an alias it is resolved at once, so that none stands for itself
		class := f.FieldClass
		if len(class) > 0 && class[0] == '"' {
			var name string
			if err := json.Unmarshal(class, &name); err != nil {
				return err
			}
			class = p.aliases[name]
		}
		if class == nil {
			return errors.New("an alias of nothing that is known")
		}
		p.aliases[f.Name] = class
	default:
		return fmt.Errorf("a fragment of the type %.60q is not read", f.Type)
	}
	return nil
}

// parseMetadata2 reads CTF 2's description of a trace, as gander writes it.
func parseMetadata2(src string) (*metadata, error) {
	p := &jsonParser{md: newMetadata(), aliases: map[string]json.RawMessage{}}
	number := 0
	for src != "" {
		var text string
		text, src, _ = strings.Cut(src, separator)
		if text = strings.Trim(text, " \t\r\n"); text == "" {
			continue
		}
		number++
		if err := p.fragment([]byte(text), number); err != nil {
			return nil, fmt.Errorf("metadata, fragment %d: %w", number, err)
		}
	}
	if p.md.packetHeader == nil || p.clock == "" || p.md.freq == 0 {
		return nil, errors.New("metadata: no packet header, or no clock that runs")
	}
	return p.md, nil
}
