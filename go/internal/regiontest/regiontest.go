//go:build linux

// Package regiontest is the reading side of a region for tests: it does what a collector does (switch a channel on, grant
// packets, read them back), simply and in one process or two.
package regiontest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"gander.internal/gander/internal/region"
)

// Region is a mapped region.
type Region struct {
	Path string
	f    *os.File
	mem  []byte
	base unsafe.Pointer

	// where the recording of a channel begins in each slot: the head of the packet that was there when it was enabled
	start [region.Channels][region.Slots]place
}

type place struct {
	seq    uint64
	off    int
	number uint64
}

// Find opens the region of process pid. Of another process it waits long for it.
func Find(pid int) (*Region, error) {
	for end := time.Now().Add(time.Minute); ; {
		paths, _ := filepath.Glob(fmt.Sprintf("/dev/shm/%s%d.*", region.NamePrefix, os.Geteuid()))
		for _, p := range paths {
			r, err := Open(p)
			if err != nil {
				continue
			}
			if int(r.Header().Pid) == pid {
				return r, nil
			}
			r.Close()
		}
		if pid == os.Getpid() || time.Now().After(end) {
			return nil, fmt.Errorf("no region of process %d", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

// Open maps the region in a file.
func Open(path string) (*Region, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil || st.Size() < region.MetaSize {
		f.Close()
		return nil, fmt.Errorf("%s: too short", path)
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, err
	}
	r := &Region{Path: path, f: f, mem: mem, base: unsafe.Pointer(&mem[0])}
	if h := r.Header(); h.Magic != region.Magic || atomic.LoadUint32(&h.State) != region.StateReady {
		r.Close()
		return nil, fmt.Errorf("%s: not ready", path)
	}
	return r, nil
}

// Close unmaps it.
func (r *Region) Close() {
	syscall.Munmap(r.mem)
	r.f.Close()
}

func (r *Region) at(off uint64) unsafe.Pointer { return unsafe.Add(r.base, off) }

// Header is the first page.
func (r *Region) Header() *region.Header { return (*region.Header)(r.base) }

// Control is the control block.
func (r *Region) Control() *region.Control { return (*region.Control)(r.at(region.OffControl)) }

// Channel is channel c.
func (r *Region) Channel(c int) *region.Channel {
	return (*region.Channel)(r.at(region.OffChannels + uint64(c)*uint64(unsafe.Sizeof(region.Channel{}))))
}

// Class is class i.
func (r *Region) Class(i int) *region.Class {
	return (*region.Class)(r.at(uint64(region.ClassOffset(uint32(i)))))
}

// Packet is packet i.
func (r *Region) Packet(i uint32) *region.Packet {
	return (*region.Packet)(r.at(region.OffData + uint64(i)<<region.PacketShift))
}

// Config is what a channel is switched on with.
type Config struct {
	Mode, Context, Quota, StackDepth, BlockMs uint32
	Packets                                   int
	Filter                                    []byte // generic, for all included classes
	Include, Exclude                          []string
	Level                                     uint8 // 0: all
	Count                                     bool
	Keys                                      int // packets for the table of counters by value
}

// Rules makes the rules of a configuration for a channel.
func (cfg Config) Rules(c int, filter uint32) []region.Rule {
	var rules []region.Rule
	add := func(glob string, flags uint8) {
		level := cfg.Level
		if level == 0 {
			level = 255
		}
		if cfg.Count {
			flags |= region.RuleCount
		}
		rule := region.Rule{Used: 1, Channel: uint8(c), Flags: flags, Level: level, Filter: filter}
		copy(rule.Glob[:119], glob)
		rules = append(rules, rule)
	}
	for _, g := range cfg.Include {
		add(g, 0)
	}
	for _, g := range cfg.Exclude {
		add(g, region.RuleExclude)
	}
	return rules
}

// Session is the value of GANDER_SESSION for a configuration.
func (cfg Config) Session() string {
	filter := uint32(0)
	if cfg.Filter != nil {
		filter = 8
	}
	rules := cfg.Rules(0, filter)
	s := region.Session{Magic: region.SessionMagic, Mode: cfg.Mode, Context: cfg.Context, Quota: cfg.Quota, StackDepth: cfg.StackDepth,
		BlockMs: cfg.BlockMs, Packets: uint32(cfg.Packets), Nrules: uint32(len(rules)), FiltersSize: uint32(len(cfg.Filter))}
	s.Session[0] = 1
	s.Size = uint32(unsafe.Sizeof(s)) + uint32(len(rules))*uint32(unsafe.Sizeof(region.Rule{})) + s.FiltersSize
	b := append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s))...)
	for i := range rules {
		b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(&rules[i])), unsafe.Sizeof(rules[i]))...)
	}
	return "1:" + base64.RawStdEncoding.EncodeToString(append(b, cfg.Filter...))
}

// Enable switches channel c on: packets are granted and zeroed, the rules published, and every declared class that they include is enabled
// unless there is a filter: those are for classes to come.
//
// As long as the Region is open it holds the channel's lock: without it a collector that comes by takes the recording for a dead one's
// and cleans up.
func (r *Region) Enable(c int, cfg Config) {
	r.Hold(c)
	ch, ctl := r.Channel(c), r.Control()
	per := int(r.Header().Npackets) / region.Channels
	ch.Mode, ch.Context, ch.Quota, ch.StackDepth, ch.BlockMs = cfg.Mode, cfg.Context, cfg.Quota, cfg.StackDepth, cfg.BlockMs
	atomic.AddUint32(&ch.Epoch, 1)
	for i := c * per; i < c*per+cfg.Packets; i++ {
		if bit := uint64(1) << (i % 64); ch.Granted[i/64]&bit == 0 {
			p := unsafe.Slice((*byte)(unsafe.Pointer(r.Packet(uint32(i)))), region.PacketSize)
			for k := range p {
				p[k] = 0
			}
			ch.Granted[i/64] |= bit
			or64(&ch.Free[i/64], bit)
		}
	}
	if cfg.Keys > 0 {
		ch.KeysFirst, ch.KeysCount = uint32((c+1)*per-cfg.Keys), uint32(cfg.Keys)
		for i := 0; i < cfg.Keys; i++ {
			p := unsafe.Slice((*byte)(unsafe.Pointer(r.Packet(ch.KeysFirst+uint32(i)))), region.PacketSize)
			for k := range p {
				p[k] = 0
			}
		}
	}
	for slot := range ch.Slot {
		r.start[c][slot] = place{}
		if chain := r.chain(c, slot); len(chain) > 0 {
			p := r.Packet(chain[len(chain)-1])
			head := atomic.LoadUint64(&p.Head)
			r.start[c][slot] = place{p.Seq, int(head & 0xffff), p.First + head>>32}
		}
	}
	atomic.StoreUint32(&ch.State, region.ChannelOn)
	gen := atomic.AddUint32(&ctl.Gen, 1)
	for i := range ctl.Rules[:ctl.Nrules] {
		if int(ctl.Rules[i].Channel) == c {
			ctl.Rules[i].Used = 0
		}
	}
	filter := uint32(0)
	if cfg.Filter != nil {
		filter = region.OffFilters + 8 + ctl.FiltersUsed
		copy(r.mem[filter:], cfg.Filter)
		ctl.FiltersUsed += uint32(len(cfg.Filter)+7) &^ 7
	}
	for _, rule := range cfg.Rules(c, filter) {
		i := uint32(0)
		for i < ctl.Nrules && ctl.Rules[i].Used != 0 {
			i++
		}
		ctl.Rules[i] = rule
		atomic.StoreUint32(&ctl.Nrules, max(ctl.Nrules, i+1))
	}
	atomic.StoreUint32(&ctl.Gen, gen+1)
	// filters are linked by the program only, when it declares a class
	for i := 0; cfg.Filter == nil && i < int(atomic.LoadUint32(&r.Header().ClassCount)); i++ {
		cls := r.Class(i)
		if atomic.LoadUint32(&cls.State) != region.ClassPublished {
			continue
		}
		d := r.Desc(i)
		hit := match(cfg.Include, d.Name) && !match(cfg.Exclude, d.Name) && (cfg.Level == 0 || d.Level <= cfg.Level)
		if hit {
			bits := region.Enabled(uint32(c))
			if cfg.Count {
				bits |= region.Counting(uint32(c))
			}
			or32(&cls.Enabled, bits)
		}
	}
}

// Hold takes the lock of channel c, so that no collector does.
func (r *Region) Hold(c int) {
	const setLock = 37 // F_OFD_SETLK
	fl := syscall.Flock_t{Type: syscall.F_WRLCK, Start: int64(region.LockChannel(c)), Len: 1}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.FcntlFlock(r.f.Fd(), setLock, &fl)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			panic(fmt.Sprintf("channel %d is recorded by somebody else: %v", c, err))
		}
	}
}

func match(globs []string, name string) bool {
	for _, g := range globs {
		if ok, _ := filepath.Match(g, name); ok {
			return true
		}
	}
	return false
}

func or32(p *uint32, bits uint32) {
	for v := atomic.LoadUint32(p); !atomic.CompareAndSwapUint32(p, v, v|bits); v = atomic.LoadUint32(p) {
	}
}

func or64(p *uint64, bits uint64) {
	for v := atomic.LoadUint64(p); !atomic.CompareAndSwapUint64(p, v, v|bits); v = atomic.LoadUint64(p) {
	}
}

// Disable takes every class out of channel c and forgets its rules.
func (r *Region) Disable(c int) {
	ctl := r.Control()
	gen := atomic.AddUint32(&ctl.Gen, 1)
	for i := range ctl.Rules[:ctl.Nrules] {
		if int(ctl.Rules[i].Channel) == c {
			ctl.Rules[i].Used = 0
		}
	}
	atomic.StoreUint32(&r.Channel(c).State, region.ChannelOff)
	atomic.StoreUint32(&ctl.Gen, gen+1)
	mask := ^(region.Enabled(uint32(c)) | region.Filtered(uint32(c)) | region.Counting(uint32(c)))
	for i := 0; i < int(atomic.LoadUint32(&r.Header().ClassCount)); i++ {
		p := &r.Class(i).Enabled
		for v := atomic.LoadUint32(p); !atomic.CompareAndSwapUint32(p, v, v&mask); v = atomic.LoadUint32(p) {
		}
	}
}

// Lost are channel c's losses by reason, over all slots.
func (r *Region) Lost(c int) (lost [region.LostReasons]uint64) {
	for i := range r.Channel(c).Slot {
		for k := range lost {
			lost[k] += atomic.LoadUint64(&r.Channel(c).Slot[i].Lost[k])
		}
	}
	return lost
}

// Cut is how many events channel c has cut.
func (r *Region) Cut(c int) (n uint64) {
	for i := range r.Channel(c).Slot {
		n += atomic.LoadUint64(&r.Channel(c).Slot[i].Cut)
	}
	return n
}

// Count is the plain hit counter of class id in channel c.
func (r *Region) Count(c, id int) (n uint64) {
	for slot := range r.Channel(c).Slot {
		for _, i := range r.chain(c, slot) {
			n += *(*uint64)(r.at(region.OffData + uint64(i)<<region.PacketShift + region.PacketHeader + 8*uint64(id)))
		}
	}
	return n
}

// Keys are channel c's counters by value, by class name and value.
func (r *Region) Keys(c int) map[string]uint64 {
	ch := r.Channel(c)
	out := map[string]uint64{}
	size := unsafe.Sizeof(region.CountKey{})
	for i := uintptr(0); i < uintptr(ch.KeysCount)*(region.PacketSize/size); i++ {
		k := (*region.CountKey)(unsafe.Add(unsafe.Pointer(r.Packet(ch.KeysFirst)), i*size))
		switch k.Kind {
		case 1, 2:
			out[fmt.Sprintf("%s %d", r.Desc(int(k.ClassId)).Name, int64(binary.LittleEndian.Uint64(k.Value[:])))] = k.Count
		case 3:
			out[fmt.Sprintf("%s %s", r.Desc(int(k.ClassId)).Name, k.Value[:k.Len])] = k.Count
		}
	}
	return out
}

// Notes are the texts that the program left.
func (r *Region) Notes() (notes []string) {
	for off := uint64(region.OffHeap); off < region.OffData; {
		rec := (*region.Record)(r.at(off))
		if rec.Len == 0 {
			break
		}
		if rec.Kind == region.RecordNote {
			notes = append(notes, string(r.mem[off+8:off+8+uint64(rec.Len)]))
		}
		off += (8 + uint64(rec.Len) + 7) &^ 7
	}
	return notes
}

// chain are the packets of a slot, oldest first.
func (r *Region) chain(c, slot int) (packets []uint32) {
	n := r.Header().Npackets
	seq := uint64(0)
	for cur := atomic.LoadUint32(&r.Channel(c).Slot[slot].Cur); cur-1 < n; {
		p := r.Packet(cur - 1)
		if p.Lap&1 != 0 || int(p.Slot) != slot || int(p.Channel) != c || (seq != 0 && p.Seq != seq-1) || len(packets) > int(n) {
			break
		}
		packets = append([]uint32{cur - 1}, packets...)
		seq, cur = p.Seq, p.Prev
	}
	return packets
}

// Free gives back the packets of channel c that its writers have left; what was in them is gone. Nobody may emit meanwhile.
func (r *Region) Free(c int) {
	ch := r.Channel(c)
	for slot := range ch.Slot {
		chain := r.chain(c, slot)
		for i := 0; i < len(chain)-1; i++ {
			r.Packet(chain[i]).Seq = 0
			or64(&ch.Free[chain[i]/64], 1<<(chain[i]%64))
		}
		atomic.StoreUint64(&ch.Slot[slot].Tail, 0)
	}
}

// Event is one event, decoded.
type Event struct {
	ID        int
	Name      string
	Cut       bool
	Slot      int
	Number    uint64 // in the slot's stream
	Time      uint64
	Tid       uint32
	Goid      uint64
	Cpu       uint16
	Span, Key uint64
	Stack     []uint64
	Fields    map[string]any
}

// Raw walks the events of channel c as they lie in its packets: slot by slot, oldest first. A malformed packet is an error.
func (r *Region) Raw(c int, f func(slot int, p *region.Packet, number uint64, e []byte) (size int, err error)) error {
	for slot := range r.Channel(c).Slot {
		start := r.start[c][slot]
		for _, i := range r.chain(c, slot) {
			p := r.Packet(i)
			if p.Seq < start.seq {
				continue
			}
			head := atomic.LoadUint64(&p.Head)
			end, number := head&0xffffffff, p.First
			if end > region.PacketLimit {
				return fmt.Errorf("packet %d: head %#x", i, head)
			}
			all := r.mem[region.OffData+uint64(i)<<region.PacketShift:][:end]
			off := region.PacketHeader
			if p.Seq == start.seq {
				off, number = start.off, start.number
			}
			for ; off < len(all); number++ {
				n, err := f(slot, p, number, all[off:])
				if err != nil {
					return fmt.Errorf("packet %d at %d: %w", i, off, err)
				}
				off += n
			}
			if number-p.First != head>>32 {
				return fmt.Errorf("packet %d: %d events, its head says %d", i, number-p.First, head>>32)
			}
		}
	}
	return nil
}

// Events decodes all events of channel c, in order of time, which must not run backwards in a slot.
func (r *Region) Events(c int) (events []Event, err error) {
	mask := r.Channel(c).Context
	descs := map[int]*Desc{}
	last, lastSlot := uint64(0), -1
	err = r.Raw(c, func(slot int, p *region.Packet, number uint64, b []byte) (int, error) {
		d := &decoder{b: b}
		word := d.u64()
		e := Event{ID: int(word & region.EventIdMask), Cut: word&region.EventCut != 0, Slot: slot, Number: number,
			Time: p.TimeHigh<<48 | word>>16}
		if slot == lastSlot && e.Time < last {
			return 0, fmt.Errorf("time runs backwards")
		}
		last, lastSlot = e.Time, slot
		desc := descs[e.ID]
		if desc == nil {
			if e.ID >= int(r.Header().ClassCount) {
				return 0, fmt.Errorf("no class %d", e.ID)
			}
			desc = r.Desc(e.ID)
			descs[e.ID] = desc
		}
		if mask&region.CtxTid != 0 {
			e.Tid = uint32(d.uint(4))
		}
		if mask&region.CtxGoid != 0 {
			e.Goid = d.u64()
		}
		if mask&region.CtxCpu != 0 {
			e.Cpu = uint16(d.uint(2))
		}
		if mask&region.CtxSpan != 0 {
			e.Span = d.u64()
		}
		if mask&region.CtxKey != 0 {
			e.Key = d.u64()
		}
		if mask&region.CtxStack != 0 {
			for n := d.uint(2); n > 0; n-- {
				e.Stack = append(e.Stack, d.u64())
			}
		}
		e.Name = desc.Name
		e.Fields = map[string]any{}
		for _, f := range desc.Fields {
			e.Fields[f.Name] = d.value(&f.Type)
		}
		if d.short {
			return 0, fmt.Errorf("event of %s runs over the end", e.Name)
		}
		events = append(events, e)
		return len(b) - len(d.b), nil
	})
	sort.SliceStable(events, func(i, j int) bool { return events[i].Time < events[j].Time })
	return events, err
}

// Desc is a class description, decoded.
type Desc struct {
	Kind, Level uint8
	Name        string
	Fields      []FieldDesc
}

// FieldDesc is one field.
type FieldDesc struct {
	Name  string
	Flags uint8
	Type  TypeDesc
}

// TypeDesc is a type.
type TypeDesc struct {
	Code   uint8
	Count  int // array
	Base   uint8
	Labels map[int64]string
	Elem   *TypeDesc
	Fields []FieldDesc
}

// Desc decodes the description of class i.
func (r *Region) Desc(i int) *Desc {
	c := r.Class(i)
	d := &decoder{b: r.mem[c.DescOff:][:c.DescLen]}
	d.uint(1)
	out := &Desc{Kind: uint8(d.uint(1)), Level: uint8(d.uint(1))}
	n := int(d.uint(1))
	out.Name = string(d.take(int(d.uint(1))))
	for ; n > 0; n-- {
		out.Fields = append(out.Fields, d.field())
	}
	if d.short || len(d.b) != 0 {
		panic(fmt.Sprintf("class %d: broken description", i))
	}
	return out
}

type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.short, d.b = true, nil
		return make([]byte, n)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) uint(n int) (v uint64) {
	for i, b := range d.take(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

func (d *decoder) u64() uint64 { return d.uint(8) }

func (d *decoder) field() FieldDesc {
	f := FieldDesc{Name: string(d.take(int(d.uint(1))))}
	f.Flags = uint8(d.uint(1))
	f.Type = d.typ()
	return f
}

func (d *decoder) typ() TypeDesc {
	t := TypeDesc{Code: uint8(d.uint(1))}
	switch t.Code {
	case region.Enum:
		t.Base = uint8(d.uint(1))
		t.Labels = map[int64]string{}
		for n := d.uint(2); n > 0 && !d.short; n-- {
			low := int64(d.u64())
			d.u64()
			t.Labels[low] = string(d.take(int(d.uint(1))))
		}
	case region.Array:
		t.Count = int(d.uint(4))
		e := d.typ()
		t.Elem = &e
	case region.Sequence:
		e := d.typ()
		t.Elem = &e
	case region.Struct:
		for n := d.uint(1); n > 0 && !d.short; n-- {
			t.Fields = append(t.Fields, d.field())
		}
	}
	return t
}

func (d *decoder) scalar(code uint8) any {
	switch code {
	case region.U8, region.U16, region.U32, region.U64:
		return d.uint(1 << (code - region.U8))
	case region.I8, region.I16, region.I32, region.I64:
		n := 1 << (code - region.I8)
		return int64(d.uint(n)<<(64-8*n)) >> (64 - 8*n)
	case region.F32:
		return float64(math.Float32frombits(uint32(d.uint(4))))
	case region.F64:
		return math.Float64frombits(d.u64())
	case region.Bool:
		return d.uint(1) != 0
	}
	panic(fmt.Sprintf("type code %d", code))
}

func (d *decoder) value(t *TypeDesc) any {
	switch t.Code {
	case region.Enum:
		v := d.scalar(t.Base)
		n, ok := v.(int64)
		if !ok {
			n = int64(v.(uint64))
		}
		if s, ok := t.Labels[n]; ok {
			return s
		}
		return v
	case region.String:
		return string(d.take(int(d.uint(2))))
	case region.Bytes:
		return append([]byte{}, d.take(int(d.uint(2)))...)
	case region.Array, region.Sequence:
		n := t.Count
		if t.Code == region.Sequence {
			n = int(d.uint(2))
		}
		out := []any{}
		for ; n > 0 && !d.short; n-- {
			out = append(out, d.value(t.Elem))
		}
		return out
	case region.Struct:
		out := map[string]any{}
		for i := range t.Fields {
			out[t.Fields[i].Name] = d.value(&t.Fields[i].Type)
		}
		return out
	case region.Attrs:
		out := map[string]any{}
		for n := d.uint(2); n > 0 && !d.short; n-- {
			key := strings.Clone(string(d.take(int(d.uint(2)))))
			switch tag := d.uint(1); tag {
			case region.AttrI64:
				out[key] = int64(d.u64())
			case region.AttrU64:
				out[key] = d.u64()
			case region.AttrF64:
				out[key] = math.Float64frombits(d.u64())
			case region.AttrBool:
				out[key] = d.uint(1) != 0
			case region.AttrString:
				out[key] = string(d.take(int(d.uint(2))))
			case region.AttrDuration:
				out[key] = time.Duration(d.u64())
			case region.AttrTime:
				out[key] = time.Unix(0, int64(d.u64()))
			default:
				panic(fmt.Sprintf("attribute tag %d", tag))
			}
		}
		return out
	}
	return d.scalar(t.Code)
}
