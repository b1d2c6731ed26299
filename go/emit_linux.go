//go:build linux && (amd64 || arm64)

package gander

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/vm"
)

// class is one kind of event in this program's region.
type class struct {
	on    *uint32 // class.enabled, in the region
	slot  *region.Class
	id    uint16
	level Level
	desc  []byte
}

func (c *class) name() []byte { return c.desc[5 : 5+int(c.desc[4])] }

// retries of one event: each is a packet that became full, or a P that changed, between opening it and writing.
const retries = 100

// contextSize is the bytes that the context takes, by the mask's lower five bits.
var contextSize = [32]uint8{
	0, 4, 8, 12, 2, 6, 10, 14, 8, 12, 16, 20, 10, 14, 18, 22,
	8, 12, 16, 20, 10, 14, 18, 22, 16, 20, 24, 28, 18, 22, 26, 30,
}

const (
	ctxStack  = region.CtxStack
	stackSkip = 4 // frames of our own below every public call
)

// emit writes one event to every channel that wants it. The pieces are the caller's, on its stack; size is the sum of
// their lengths. Nothing here escapes, allocates, or calls code that is not ours while pinned.
//
//go:noinline
func (c *class) emit(ctx context.Context, p *piece, n int, size int) {
	if on := atomic.LoadUint32(c.on); on > channelBits {
		if linked := c.quickFilter(on); linked != nil && vm.Rejects(linked, (*vm.Piece)(unsafe.Pointer(p)), n) { // a piece is laid out as a vm.Piece
			return
		}
	}
	slot := procPin()
	ok := writePlain(c, p, uint64(n)<<whatPieces|uint64(size)<<whatSize, slot) || c.lostAtOnce(slot, size)
	procUnpin()
	if !ok {
		c.emitSlow(ctx, atomic.LoadUint32(c.on), p, n, size, 0)
	}
}

// lostAtOnce tells whether there is no room for a plain event of that size, and no packet, and then counts it as lost: it is not to cost the program more
// than one that is written. The caller is pinned to the slot, so no other adds to its losses.
func (c *class) lostAtOnce(slot int, size int) bool {
	on := atomic.LoadUint32(c.on)
	if on-1 >= channelBits || on&(on-1) != 0 || uint(slot) >= region.Slots {
		return false
	}
	chn := channel(uint32(bits.TrailingZeros32(on)))
	mask := chn.Context
	if chn.Mode != region.ModeDiscard || atomic.LoadUint32(&chn.BlockMs) != 0 || mask > ctxCommon || anyFree(chn) {
		return false
	}
	total := size + 8 + int(contextSize[mask&31])
	if total > region.EventMax || hasRoom(chn, atomic.LoadUint32(&chn.Slot[slot].Cur), total, false) {
		return false
	}
	chn.Slot[slot].Lost[region.LostFull]++
	return true
}

// quickFilter is the filter of the one recording that wants the class, where it may be looked at without a bound of its own; nil otherwise.
func (c *class) quickFilter(on uint32) unsafe.Pointer {
	chans := on & channelBits
	if on != chans*0x101 || chans&(chans-1) != 0 {
		return nil
	}
	return quickAt(atomic.LoadUint32(&c.slot.Filter[bits.TrailingZeros8(uint8(chans))&7]))
}

// quickAt is the linked filter at off, where it may be looked at without a bound of its own; nil otherwise.
func quickAt(off uint32) unsafe.Pointer {
	words := bits.RotateLeft32(off-region.OffFilters, -3)
	if words > (region.OffData-vm.QuickNeeds-region.OffFilters)/8 { // or not a multiple of eight
		return nil
	}
	return at(region.OffFilters + words*8)
}

// counted adds one to the hit counter of the one recording that wants the class and only counts; false when there are others, or no packet
// yet. It comes before the event's fields are looked at.
//
//go:noinline
func (c *class) counted(on uint32) bool {
	chans := on & channelBits
	if on != chans<<16|chans || chans&(chans-1) != 0 || c.id >= region.Counters {
		return false
	}
	chn := channel(uint32(bits.TrailingZeros32(chans)))
	done := false
	slot := procPin()
	if uint(slot) < region.Slots {
		cur := atomic.LoadUint32(&chn.Slot[slot].Cur) - 1
		if p := packet(cur); cur < live.npackets && p.Epoch == chn.Epoch {
			// pinned, so this P's counter has no other writer
			*(*uint64)(unsafe.Add(unsafe.Pointer(p), region.PacketHeader+8*uintptr(c.id)))++
			done = true
		}
	}
	procUnpin()
	return done
}

// emitCut is emit for a payload that may have been cut already.
//
//go:noinline
func (c *class) emitCut(ctx context.Context, p *piece, n int, size int, cut bool) {
	mark := uint64(0)
	if cut {
		mark = region.EventCut
	}
	c.emitSlow(ctx, atomic.LoadUint32(c.on), p, n, size, mark)
}

// write puts an event into the channel, opening packets as it must, or counts it as lost. The extra is not nil when the context asks
// for a span or a key.
//
//go:noinline
func (c *class) write(ch uint32, p *piece, what uint64, x *extra) {
	var mono extra
	if live.mono {
		if x == nil {
			x = &mono
		}
		what |= whatExtra
	}
	for try := 0; try < retries; try++ {
		slot := procPin()
		if slot >= region.Slots {
			procUnpin()
			lose(ch, region.LostSlot)
			return
		}
		if live.mono {
			x.time = nanotime()
		}
		ok := writeEvent(&channel(ch).Slot[slot], p, what, x)
		procUnpin()
		if ok || !openPacket(ch, slot, int(what>>whatSize), false) {
			return
		}
	}
	lose(ch, region.LostOther)
}

// emitSlow is everything but the plain case: several recordings, filters, counting, spans, keys, stacks, large events.
//
//go:noinline
func (c *class) emitSlow(ctx context.Context, on uint32, p *piece, n int, size int, cut uint64) {
	var span, key uint64
	if ctx != nil {
		span, key = contextIDs(ctx)
	}
	for chans := on & region.EnabledMask; chans != 0; chans &= chans - 1 {
		ch := uint32(bits.TrailingZeros32(chans))
		var by filterKey
		holds := noneHolds
		if on&region.Conditional(ch) != 0 {
			if holds = c.holding(ch, p, n, span, key); holds == notRecorded {
				continue
			}
		} else if on&region.Filtered(ch) != 0 && !c.passes(atomic.LoadUint32(&c.slot.Filter[ch]), p, n, span, key, &by) {
			continue
		}
		if on&region.Counting(ch) != 0 || channel(ch).Mode == region.ModeCount {
			c.count(ch, &by)
			continue
		}
		c.record(ch, p, n, size, span, key, cut)
		if holds != noneHolds {
			c.trigger(ch, holds)
		}
	}
}

//go:noinline
func (c *class) record(ch uint32, p *piece, n int, size int, span, key, cut uint64) {
	mask := channel(ch).Context & region.CtxAll
	what := uint64(c.id) | cut | uint64(mask&31)<<whatMask | uint64(n)<<whatPieces
	x := extra{span: span, key: key}
	total := size + 8 + int(contextSize[mask&31])
	if mask&ctxStack != 0 {
		c.recordStack(ch, p, n, total, what, &x)
		return
	}
	if total > region.EventMax {
		total = cutPieces(p, n, total)
		if total == 0 {
			lose(ch, region.LostOther)
			return
		}
		what |= region.EventCut
	}
	countCut(ch, what)
	c.write(ch, p, what|uint64(total)<<whatSize, &x)
}

// recordStack adds the call stack, which is part of the context and so comes before the payload: one more piece in front.
//
//go:noinline
func (c *class) recordStack(ch uint32, p *piece, n int, total int, what uint64, x *extra) {
	var pcs [1 + region.StackMax]uint64 // the count stands in the last two bytes of the first word
	var all [1 + maxPieces]piece
	if n > maxPieces {
		lose(ch, region.LostOther)
		return
	}
	depth := min(channel(ch).StackDepth, region.StackMax)
	got := 0
	if depth > 0 {
		got = frames(&pcs[1], int(depth), stackSkip)
	}
	pcs[0] = uint64(got) << 48
	all[0] = piece{unsafe.Add(unsafe.Pointer(&pcs[0]), 6), uint32(2 + 8*got), 0}
	for i := 0; i < n; i++ { // copy() would let them escape
		all[1+i] = *(*piece)(unsafe.Add(unsafe.Pointer(p), uintptr(i)*unsafe.Sizeof(*p)))
	}
	total += 2 + 8*got
	if total > region.EventMax {
		total = cutPieces(&all[0], n+1, total)
		if total == 0 {
			lose(ch, region.LostOther)
			return
		}
		what |= region.EventCut
	}
	countCut(ch, what)
	c.write(ch, &all[0], what+1<<whatPieces|uint64(total)<<whatSize, x)
}

func countCut(ch uint32, what uint64) {
	if what&region.EventCut != 0 {
		atomic.AddUint64(&channel(ch).Slot[0].Cut, 1)
	}
}

// cutPieces shortens variable fields until an event of total bytes has at most EventMax, and returns its new size; 0 when the
// fixed parts alone are too large. It may be called again with the same pieces.
func cutPieces(first *piece, n int, total int) int {
	ps := unsafe.Slice(first, n)
	fixed := total
	for i := range ps {
		if ps[i].elem != 0 {
			fixed -= int(ps[i].len)
		}
	}
	if fixed > region.EventMax {
		return 0
	}
	room := uint32(region.EventMax - fixed)
	for i := 1; i < n; i++ {
		if ps[i].elem == 0 {
			continue
		}
		if ps[i].len > room {
			count := room / ps[i].elem
			ps[i].len = count * ps[i].elem
			*(*[2]byte)(unsafe.Add(ps[i-1].data, ps[i-1].len-2)) = [2]byte{byte(count), byte(count >> 8)}
		}
		room -= ps[i].len
	}
	return region.EventMax - int(room)
}

// count adds one to the class's hit counter in the channel, or to the counter of the value that the filter found.
func (c *class) count(ch uint32, by *filterKey) {
	if by.Kind != 0 {
		c.countKey(ch, by)
		return
	}
	if c.id >= region.Counters {
		lose(ch, region.LostOther)
		return
	}
	chn := channel(ch)
	for try := 0; try < retries; try++ {
		slot := procPin()
		if slot >= region.Slots {
			procUnpin()
			lose(ch, region.LostSlot)
			return
		}
		cur := atomic.LoadUint32(&chn.Slot[slot].Cur) - 1
		if cur < live.npackets && packet(cur).Epoch == chn.Epoch {
			// pinned, so this P's counter has no other writer
			*(*uint64)(unsafe.Add(unsafe.Pointer(packet(cur)), region.PacketHeader+8*uintptr(c.id)))++
			procUnpin()
			return
		}
		procUnpin()
		if !openPacket(ch, slot, 0, true) {
			return
		}
	}
	lose(ch, region.LostOther)
}

func anyFree(chn *region.Channel) bool {
	words, left, i := int(live.npackets+63)/64, uint64(0), 0
	for ; i+4 <= words; i += 4 {
		f := (*[4]uint64)(chn.Free[i:])
		left |= atomic.LoadUint64(&f[0]) | atomic.LoadUint64(&f[1]) | atomic.LoadUint64(&f[2]) | atomic.LoadUint64(&f[3])
	}
	for ; i < words; i++ {
		left |= atomic.LoadUint64(&chn.Free[i])
	}
	return left != 0
}

// takeFree wins a packet that nobody holds. Slots begin at different words, so that they rarely meet.
func takeFree(chn *region.Channel, slot int) (uint32, bool) {
	if !anyFree(chn) {
		return 0, false
	}
	words, tries := int(live.npackets+63)/64, 0
	w := slot * 7 % words
	for i := 0; i < words; i++ {
		if i > 0 {
			w++
			if w == words {
				w = 0
			}
		}
		for ; tries < region.Tries; tries++ {
			v := atomic.LoadUint64(&chn.Free[w])
			bit := bits.TrailingZeros64(v)
			index := uint32(w*64 + bit)
			if v == 0 || index >= live.npackets {
				break
			}
			if atomic.CompareAndSwapUint64(&chn.Free[w], v, v&^(1<<bit)) { // [FREE]
				return index, true
			}
		}
	}
	return 0, false
}

func giveFree(chn *region.Channel, index uint32) {
	for try := 0; try < region.Tries; try++ { // one that cannot be given back stays out
		v := atomic.LoadUint64(&chn.Free[index/64])
		if atomic.CompareAndSwapUint64(&chn.Free[index/64], v, v|1<<(index%64)) { // [FREE]
			return
		}
	}
}

// popOldest takes the slot's own oldest packet, in overwrite mode. cur is read behind tail, each time: if the tail's packet is not current
// then, and the exchange finds the tail unchanged, the slot has moved on from it for good. With a cur from before, the current
// packet itself could be taken, by the next that an attempt at another swap has left in it.
func popOldest(chn *region.Channel, s *region.Slot) (uint32, bool) {
	for try := 0; try < 64; try++ {
		tail := atomic.LoadUint64(&s.Tail) // [TAIL]
		index := uint32(tail&0xffff) - 1
		if tail == 0 || index >= live.npackets || index+1 == atomic.LoadUint32(&s.Cur) { // [SWAP]
			return 0, false
		}
		next := atomic.LoadUint32(&packet(index).Next)
		if next == 0 || next > live.npackets {
			return 0, false
		}
		// behind the tail: who finds it frozen here takes nothing, who did not has looked before the freeze
		if isFrozen(chn) {
			return 0, false
		}
		if atomic.CompareAndSwapUint64(&s.Tail, tail, region.Tail(tail>>16+1, next-1)) { // [TAIL]
			return index, true
		}
	}
	return 0, false
}

// chainLength says how many packets a slot holds; 0: none, or it is just changing.
func chainLength(s *region.Slot) uint64 {
	tail := atomic.LoadUint64(&s.Tail)   // [TAIL]
	cur := atomic.LoadUint32(&s.Cur) - 1 // [SWAP]
	if tail == 0 || cur >= live.npackets {
		return 0
	}
	if n := atomic.LoadUint64(&packet(cur).Seq) - tail>>16 + 1; n <= uint64(live.npackets) {
		return n
	}
	return 0
}

// popFromLongest takes, in overwrite mode, the oldest packet of the slot that holds most, for a slot that has nothing of its own to
// overwrite. A pop asks for nothing that only the slot's own goroutines have.
func popFromLongest(chn *region.Channel) (uint32, bool) {
	for try := 0; try < 4 && !isFrozen(chn); try++ {
		var longest *region.Slot
		most := uint64(1)
		for i := range chn.Slot {
			if n := chainLength(&chn.Slot[i]); n > most {
				most, longest = n, &chn.Slot[i]
			}
		}
		if longest == nil {
			break
		}
		if index, ok := popOldest(chn, longest); ok {
			return index, true
		}
	}
	return 0, false
}

// takePacket gives a packet to open. A frozen ring gives its spare packets to any slot, and nothing that holds events.
func takePacket(chn *region.Channel, slot int, cur uint32) (uint32, bool) {
	s := &chn.Slot[slot]
	if chn.Mode != region.ModeOverwrite {
		return takeFree(chn, slot)
	}
	tail := atomic.LoadUint64(&s.Tail) // [TAIL]
	if tail == 0 || cur-1 >= live.npackets || packet(cur-1).Seq-tail>>16+1 < uint64(chn.Quota) || isFrozen(chn) {
		if index, ok := takeFree(chn, slot); ok {
			return index, true
		}
	}
	if index, ok := popOldest(chn, s); ok {
		return index, true
	}
	return popFromLongest(chn)
}

// openPacket gives the slot a packet with room: docs/region.md, "Opening a packet". Only the swap is pinned. It returns false when there is
// none, which it has counted.
//
//go:noinline
func openPacket(ch uint32, slot int, need int, count bool) bool {
	chn := channel(ch)
	s := &chn.Slot[slot]
	checkOpening()
	var index, cur uint32
	for waited := uint32(0); ; waited++ {
		cur = atomic.LoadUint32(&s.Cur) // [SWAP]
		if hasRoom(chn, cur, need, count) {
			return true // somebody else has been here
		}
		var ok bool
		if index, ok = takePacket(chn, slot, cur); ok {
			break
		}
		if waited >= region.BlockMax || waited >= atomic.LoadUint32(&chn.BlockMs) {
			if chn.Mode == region.ModeOverwrite && isFrozen(chn) {
				atomic.AddUint64(&s.LostFrozen, 1)
			} else {
				lose(ch, region.LostFull)
			}
			return false
		}
		time.Sleep(time.Millisecond)
		if procID() != slot {
			return true
		}
	}
	p := packet(index)
	lap := p.Lap | 1
	atomic.SwapUint64(&p.Lap, lap) // [LAP] an exchange, not a store: none of the stores below may be seen before it
	p.Head = region.Head(0, region.PacketHeader)
	p.Slot, p.Channel, p.Epoch = uint32(slot), ch, chn.Epoch
	p.Seq, p.Next = 0, 0
	sample(&p.Open)
	p.LastTime, p.TimeHigh = p.Open.Counter, p.Open.Counter>>48
	touch := byte(0)
	for off := 0; off < region.PacketSize; off += region.PageSize {
		touch |= *(*byte)(unsafe.Add(unsafe.Pointer(p), off))
	}
	atomic.StoreUint32(&touched, uint32(touch)) // or the reads would be left out
	if chn.Mode == region.ModeCount {
		counters := unsafe.Slice((*uint64)(unsafe.Add(unsafe.Pointer(p), region.PacketHeader)), region.Counters)
		for i := range counters {
			counters[i] = 0
		}
	}
	atomic.StoreUint64(&p.Lap, lap+1) // [LAP]
	if !swapPacket(s, slot, cur, index, chn.Mode == region.ModeOverwrite) {
		giveFree(chn, index)
	}
	return true
}

var touched uint32

func procID() int {
	id := procPin()
	procUnpin()
	return id
}

func hasRoom(chn *region.Channel, cur uint32, need int, count bool) bool {
	if cur-1 >= live.npackets {
		return false
	}
	p := packet(cur - 1)
	if count {
		return p.Epoch == chn.Epoch
	}
	return int(atomic.LoadUint64(&p.Head)&0xffff)+need <= region.PacketLimit && p.TimeHigh == uint64(now())>>48
}

// swapPacket installs the packet in hand, if this is still the slot's P and the slot's packet still the one seen.
func swapPacket(s *region.Slot, slot int, seen, index uint32, overwrite bool) bool {
	p := packet(index)
	id := procPin()
	if id != slot || atomic.LoadUint32(&s.Cur) != seen {
		procUnpin()
		return false
	}
	if seen-1 < live.npackets {
		old := packet(seen - 1)
		p.First = old.First + old.Head>>32
		p.LastTime = max(p.LastTime, old.LastTime)
		p.Prev = seen
		p.Seq = old.Seq + 1
		atomic.StoreUint32(&old.Next, index+1)
		if overwrite && atomic.LoadUint64(&s.Tail) == 0 {
			atomic.StoreUint64(&s.Tail, region.Tail(old.Seq, seen-1)) // [TAIL]
		}
	} else {
		p.Prev, p.Seq, p.First = 0, 1, 0
	}
	atomic.StoreUint32(&s.Cur, index+1) // [SWAP]
	procUnpin()
	return true
}

// checkOpening does, for the first packets that are opened, what would cost a start too much: it compares the goroutine's id in g with what
// runtime.Stack says, on whatever goroutine this is, and asks whether the CPU's number can be read. An offset that does not hold is
// given up, and that is said.
func checkOpening() {
	const enough = 64
	if atomic.LoadInt32(&checks) >= enough {
		return
	}
	if atomic.AddInt32(&checks, 1) == 1 {
		live.noCPU = !hasCPUNumber()
	}
	off := atomic.LoadUint32(&live.goid)
	if off == 0 {
		return
	}
	if id := stackGoid(); id != 0 && gword(off) != id {
		atomic.StoreInt32(&checks, enough)
		atomic.StoreUint32(&live.goid, 0)
		note("goroutine ids are not known: they do not stand where they should")
	}
}

var checks int32
