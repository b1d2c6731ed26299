//go:build linux && (amd64 || arm64)

package gander

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/vm"
)

// declaring serializes this program's declarations; the collector has a part in them by way of the region only.
var declaring struct {
	sync.Mutex
	classes map[string]*class // by description
}

// Bytes of the heap and slots of the class table that have memory.
var heapReady, classReady uint32

// declare makes the class with this description, or finds the one there is. A class that cannot be had is one that is never on.
func declare(desc []byte) *class {
	if whyOff != "" || desc == nil {
		return off
	}
	declaring.Lock()
	defer declaring.Unlock()
	if c := declaring.classes[string(desc)]; c != nil {
		return c
	}
	c := publish(desc)
	if c == nil {
		atomic.AddUint32(&header().LostClasses, 1)
		return off
	}
	if declaring.classes == nil {
		declaring.classes = map[string]*class{}
	}
	declaring.classes[string(desc)] = c
	return c
}

func publish(desc []byte) *class {
	h := header()
	id := atomic.LoadUint32(&h.ClassCount)
	if id >= region.Classes {
		return nil
	}
	slotSize := uint32(unsafe.Sizeof(region.Class{}))
	if id >= classReady {
		if !haveMemory(region.ClassOffset(id), slotSize) {
			return nil
		}
		classReady = (id + region.PageSize/slotSize) &^ (region.PageSize/slotSize - 1)
	}
	off := putRecord(region.RecordDesc, desc)
	if off == 0 {
		return nil
	}
	slot := classSlot(id)
	atomic.StoreUint32(&h.ClassCount, id+1)
	atomic.StoreUint32(&slot.State, region.ClassClaimed)
	slot.DescOff, slot.DescLen = off, uint32(len(desc))
	slot.Hash = descHash(desc)
	atomic.StoreUint32(&slot.State, region.ClassPublished) // [CLASS]
	c := &class{on: &slot.Enabled, slot: slot, id: uint16(id), level: Level(desc[2]), desc: desc}
	c.applyRules()
	return c
}

// putRecord puts data into the heap and returns where it lies, 0 when there is no room.
func putRecord(kind uint32, data []byte) uint32 {
	h := header()
	used := atomic.LoadUint32(&h.HeapUsed)
	head := uint32(unsafe.Sizeof(region.Record{}))
	need := (head + uint32(len(data)) + 7) &^ 7
	if used%8 != 0 || used > region.HeapSize || len(data) > region.HeapSize || need > region.HeapSize-used {
		return 0
	}
	if used+need > heapReady {
		if !haveMemory(region.OffHeap+used, need) {
			return 0
		}
		heapReady = (used + need + region.PageSize - 1) &^ (region.PageSize - 1)
	}
	atomic.StoreUint32(&h.HeapUsed, used+need)
	rec := (*region.Record)(at(region.OffHeap + used))
	rec.Len = uint32(len(data))
	copy(unsafe.Slice((*byte)(at(region.OffHeap+used+head)), len(data)), data)
	atomic.StoreUint32(&rec.Kind, kind) // [RECORD]
	return region.OffHeap + used + head
}

// note leaves a text for people in the region.
func note(text string) {
	declaring.Lock()
	defer declaring.Unlock()
	putRecord(region.RecordNote, []byte(text[:min(len(text), 200)]))
}

// maxLinks is how many filters one application of the rules links, and sets it keeps, so that one who changes rules for ever neither fills the heap nor takes the
// time.
const maxLinks = 8 * region.Channels

// applyRules computes for which channels the class is on: docs/region.md, "Declaring a class", step 5.
func (c *class) applyRules() {
	ctl := control()
	var all [region.Channels]made
	links := 0
	// Changed meanwhile: it is all to do again, or what is stored below undoes the collector's walk. Unchanged and odd: whoever is at it
	// will walk the classes, and is given a hundred looks. (The outer bound is for a region that somebody damages.)
	for try, looks := 0, 0; try < region.Tries; try++ {
		gen := atomic.LoadUint32(&ctl.Gen) // [RULE]
		last := [region.Channels]*region.Rule{}
		excluded := [region.Channels]bool{}
		sets := [region.Channels]region.ConditionSet{}
		for i := uint32(0); i < min(atomic.LoadUint32(&ctl.Nrules), region.Rules); i++ {
			r := &ctl.Rules[i]
			ch := r.Channel
			if r.Used == 0 || ch >= region.Channels || !c.matches(r) {
				continue
			}
			switch flags := r.Flags; {
			case flags&region.RuleCondition != 0:
				number := region.RuleNumber(flags)
				if program, ok := c.linkCondition(&all[ch], number, atomic.LoadUint32(&r.Filter), &links); ok && sets[ch].N < region.Conditions {
					sets[ch].V[sets[ch].N] = region.Condition{Program: program, Number: number}
					sets[ch].N++
				}
			case flags&region.RuleExclude != 0:
				excluded[ch] = true
			default:
				last[ch] = r
			}
		}
		want := uint32(0)
		for ch := uint32(0); ch < region.Channels; ch++ {
			r := last[ch]
			if excluded[ch] {
				r = nil
			}
			// a channel that no rule names has no memory yet: it is not looked at
			if (r == nil && sets[ch].N == 0) || atomic.LoadUint32(&channel(ch).State) != region.ChannelOn {
				continue
			}
			want |= c.applyChannel(ch, r, &sets[ch], &all[ch], &links)
		}
		atomic.StoreUint32(&c.slot.Enabled, want) // [ENABLE]
		if atomic.LoadUint32(&ctl.Gen) == gen {   // [RULE]
			if looks++; gen&1 == 0 || looks == 100 {
				return
			}
		}
	}
}

// made is what a class has in one channel, as far as it is there already: what lies in the heap never changes, and is made once.
type made struct {
	from, filter  uint32 // the rule's generic filter, and its linked form
	set           region.ConditionSet
	setOff        uint32
	conditionFrom [region.Conditions]uint32
	condition     [region.Conditions]uint32
}

// linkCondition makes a condition's filter one for this class; false when the class cannot have it.
func (c *class) linkCondition(m *made, number, from uint32, links *int) (program uint32, ok bool) {
	if from == 0 {
		return 0, true
	}
	if m.conditionFrom[number] != from {
		m.condition[number], m.conditionFrom[number] = 0, from
		if *links++; *links <= maxLinks {
			m.condition[number] = c.linkFilter(from)
		}
	}
	return m.condition[number], m.condition[number] != 0
}

// applyChannel stores the class's filter or conditions for the channel and returns its bits. r is the rule that decides, nil: none.
func (c *class) applyChannel(ch uint32, r *region.Rule, set *region.ConditionSet, m *made, links *int) uint32 {
	want, filter := region.Enabled(ch), uint32(0)
	if r != nil {
		if from := atomic.LoadUint32(&r.Filter); from != 0 {
			if m.from != from {
				m.filter, m.from = 0, from
				if *links++; *links <= maxLinks {
					m.filter = c.linkFilter(from)
				}
			}
			if filter = m.filter; filter == 0 {
				r = nil
			}
			want |= region.Filtered(ch)
		}
	}
	if set.N > 0 {
		set.Magic, set.Filter = region.ConditionMagic, region.FilterNever
		if r != nil {
			set.Filter = filter
		}
		if m.setOff == 0 || m.set != *set {
			m.set, m.setOff = *set, 0
			if *links++; *links <= maxLinks {
				m.setOff = putRecord(region.RecordFilter, unsafe.Slice((*byte)(unsafe.Pointer(set)), unsafe.Sizeof(*set)))
			}
		}
		if m.setOff != 0 {
			atomic.StoreUint32(&c.slot.Filter[ch], m.setOff)
			return region.Enabled(ch) | region.Conditional(ch)
		}
	}
	if r == nil {
		return 0
	}
	if filter != 0 {
		atomic.StoreUint32(&c.slot.Filter[ch], filter)
	}
	if r.Flags&region.RuleCount != 0 {
		want |= region.Counting(ch)
	}
	return want
}

func (c *class) matches(r *region.Rule) bool {
	if r.Level != 255 && uint8(c.level) > r.Level {
		return false
	}
	var pattern [len(r.Glob)]byte // the other side may change it meanwhile
	n := copy(pattern[:], r.Glob[:])
	for i, b := range pattern {
		if b == 0 {
			n = i
			break
		}
	}
	return vm.Glob(pattern[:n], c.name())
}

// declareOrRefuse declares a class; one without a description (a bad name, too many fields) is counted as refused.
func declareOrRefuse(name string, desc []byte) *class {
	if whyOff != "" {
		return off
	}
	if desc == nil {
		atomic.AddUint32(&header().LostClasses, 1)
		note("class not declared: " + name)
		return off
	}
	return declare(desc)
}
