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
		if !haveMemory(region.OffClasses+id*slotSize, slotSize) {
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

// maxLinks is how many filters one application of the rules links, so that one who changes rules for ever neither fills the heap nor takes the
// time.
const maxLinks = 4 * region.Channels

// applyRules computes for which channels the class is on: docs/region.md, "Declaring a class", step 5.
func (c *class) applyRules() {
	ctl := control()
	var linkedFrom [region.Channels]uint32
	links := 0
	// Changed meanwhile: it is all to do again, or what is stored below undoes the collector's walk. Unchanged and odd: whoever is at it
	// will walk the classes, and is given a hundred looks. (The outer bound is for a region that somebody damages.)
	for try, looks := 0, 0; try < region.Tries; try++ {
		gen := atomic.LoadUint32(&ctl.Gen) // [RULE]
		last := [region.Channels]*region.Rule{}
		excluded := [region.Channels]bool{}
		for i := uint32(0); i < min(atomic.LoadUint32(&ctl.Nrules), region.Rules); i++ {
			r := &ctl.Rules[i]
			ch := r.Channel
			if r.Used == 0 || ch >= region.Channels || !c.matches(r) {
				continue
			}
			if r.Flags&region.RuleExclude != 0 {
				excluded[ch] = true
			} else {
				last[ch] = r
			}
		}
		want := uint32(0)
		for ch := uint32(0); ch < region.Channels; ch++ {
			r := last[ch]
			// a channel that no rule names has no memory yet: it is not looked at
			if r == nil || excluded[ch] || atomic.LoadUint32(&channel(ch).State) != region.ChannelOn {
				continue
			}
			if from := r.Filter; from != 0 {
				if linkedFrom[ch] != from {
					linked := uint32(0)
					if links++; links <= maxLinks {
						linked = c.linkFilter(from)
					}
					atomic.StoreUint32(&c.slot.Filter[ch], linked)
					linkedFrom[ch] = from
				}
				if atomic.LoadUint32(&c.slot.Filter[ch]) == 0 {
					continue
				}
				want |= region.Filtered(ch)
			}
			want |= region.Enabled(ch)
			if r.Flags&region.RuleCount != 0 {
				want |= region.Counting(ch)
			}
		}
		atomic.StoreUint32(&c.slot.Enabled, want) // [ENABLE]
		if atomic.LoadUint32(&ctl.Gen) == gen {   // [RULE]
			if looks++; gen&1 == 0 || looks == 100 {
				return
			}
		}
	}
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
