//go:build go1.22 && linux && (amd64 || arm64)

package flight

import (
	"errors"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"gander.internal/gander/internal/mapped"
	"gander.internal/gander/internal/region"
)

const (
	defaultPackets = 256
	leastPackets   = 4
	chunkHead      = uint64(unsafe.Sizeof(region.Chunk{}))
	tableMask      = region.PacketsMax - 1
)

//go:linkname nanotime runtime.nanotime
func nanotime() int64

func packetAt(i uint32) unsafe.Pointer {
	return unsafe.Add(mapped.Region.Base, region.OffData+uintptr(i)<<region.PacketShift)
}

// ring is the stream of chunks in the region: docs/flight.md. What leads anywhere is kept in private memory, and the region's copy
// of it only told: nobody outside can lead a store astray. Calls are under the pilot's lock.
type ring struct {
	f         *region.Flight // nil: its page has no memory yet
	tail, end uint64
	mapped    uint64                    // virtual packets that have had a packet
	table     [region.PacketsMax]uint16 // as Flight.Packet
	free      []uint32                  // packets with memory that hold nothing
	fresh     []uint32                  // reserved, not touched yet
	saved     []uint32                  // packets that a snapshot holds
	keep      int64                     // ns; 0: as long as there is room
	session   uint32
}

// open touches the flight's pages, which have no memory until then.
func (r *ring) open() bool {
	f := flight()
	if r.f == nil && touch(unsafe.Pointer(f), unsafe.Sizeof(*f)) {
		r.f = f
	}
	return r.f != nil
}

// reserve takes packets that no recording has, up to n in all. Collectors do the same under the same lock.
func (r *ring) reserve(n int) error {
	have := len(r.free) + len(r.fresh) + r.used()
	if have >= n {
		return nil
	}
	fd, err := syscall.Open(mapped.Region.Path, syscall.O_RDWR|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return errors.New("cannot open the region's file: " + err.Error())
	}
	defer syscall.Close(fd)
	if !sameRegion(fd) {
		return errors.New("the region's file is not there any more")
	}
	if err := lockControl(fd); err != nil {
		return errors.New("cannot lock the region: " + err.Error())
	}
	var granted [region.PacketsMax / 64]uint64
	for c := int64(0); c < region.Channels; c++ {
		var words [region.PacketsMax / 64]uint64
		off := region.OffChannels + c*int64(unsafe.Sizeof(region.Channel{})) + int64(unsafe.Offsetof(region.Channel{}.Granted))
		// read, not looked at in the mapping: that would give memory to channels that have none
		if _, err := syscall.Pread(fd, unsafe.Slice((*byte)(unsafe.Pointer(&words)), unsafe.Sizeof(words)), off); err != nil {
			return errors.New("cannot read the region: " + err.Error())
		}
		for i := range granted {
			granted[i] |= words[i]
		}
	}
	ctl := control()
	for i := int(mapped.Region.Npackets) - 1; i >= 0 && have < n; i-- { // from the end: recordings begin at the other
		bit := uint64(1) << (i % 64)
		if (granted[i/64]|atomic.LoadUint64(&ctl.FlyGranted[i/64]))&bit == 0 {
			or64(&ctl.FlyGranted[i/64], bit)
			r.fresh = append(r.fresh, uint32(i))
			have++
		}
	}
	if have < leastPackets {
		return errors.New("recordings have all of the region's memory")
	}
	return nil // closing the file unlocks it
}

// sameRegion says whether the file is the one that is mapped: its header has the same start.
func sameRegion(fd int) bool {
	var head [128]byte
	n, err := syscall.Pread(fd, head[:], 0)
	return err == nil && n == len(head) && string(head[:]) == string(unsafe.Slice((*byte)(mapped.Region.Base), len(head)))
}

func lockControl(fd int) error {
	const setLock = 37 // F_OFD_SETLK
	fl := syscall.Flock_t{Type: syscall.F_WRLCK, Start: region.LockControl, Len: 1}
	for try := 0; ; try++ {
		err := syscall.FcntlFlock(uintptr(fd), setLock, &fl)
		if err == nil || try == 1000 || (err != syscall.EAGAIN && err != syscall.EACCES && err != syscall.EINTR) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func or64(p *uint64, bits uint64) {
	for v := atomic.LoadUint64(p); !atomic.CompareAndSwapUint64(p, v, v|bits); v = atomic.LoadUint64(p) {
	}
}

func and64(p *uint64, bits uint64) {
	for v := atomic.LoadUint64(p); !atomic.CompareAndSwapUint64(p, v, v&bits); v = atomic.LoadUint64(p) {
	}
}

// used is the packets that the stream lies in.
func (r *ring) used() int { return int(r.mapped - r.tail>>region.PacketShift) }

// giveBack returns packets to whoever records next, and their memory to the system.
func giveBack(packets []uint32) {
	const madvRemove = 9
	ctl := control()
	for _, i := range packets {
		syscall.Madvise(unsafe.Slice((*byte)(packetAt(i)), region.PacketSize), madvRemove)
		and64(&ctl.FlyGranted[i/64], ^(uint64(1) << (i % 64)))
	}
}

// release empties the ring and gives its memory back.
func (r *ring) release() {
	if r.f == nil || (len(r.free) == 0 && len(r.fresh) == 0 && r.mapped<<region.PacketShift == r.tail) {
		return
	}
	r.raise(r.end)
	for v := r.end >> region.PacketShift; v < r.mapped; v++ {
		r.free = append(r.free, uint32(r.table[v&tableMask]-1))
		r.table[v&tableMask] = 0
		r.f.Packet[v&tableMask] = 0
	}
	// positions are never used twice: the next chunk begins a packet
	r.end = r.mapped << region.PacketShift
	r.tail = r.end
	atomic.SwapUint64(&r.f.Tail, r.tail) // [TRAIL]
	atomic.StoreUint64(&r.f.End, r.end)  // [FLOWN]
	giveBack(r.free)
	giveBack(r.fresh)
	r.free, r.fresh = nil, nil
}

// raise moves the tail up to pos, and takes the packets that are below it then.
func (r *ring) raise(pos uint64) {
	old := r.tail >> region.PacketShift
	r.tail = pos
	atomic.SwapUint64(&r.f.Tail, pos) // [TRAIL] an exchange: nothing that overwrites may be seen before it
	for v := old; v < pos>>region.PacketShift; v++ {
		r.free = append(r.free, uint32(r.table[v&tableMask]-1))
	}
}

// oldest is the head of the oldest chunk; false: there is none.
func (r *ring) oldest() (c region.Chunk, ok bool) {
	if r.tail == r.end {
		return c, false
	}
	if c, ok = r.chunkAt(r.tail); !ok {
		r.raise(r.end) // somebody has damaged the region
	}
	return c, ok
}

// chunkAt is the head of the chunk at pos, which is not behind the end; false: there is none, or somebody has damaged the region. A length that was
// damaged before may have led to where a head has no room.
func (r *ring) chunkAt(pos uint64) (c region.Chunk, ok bool) {
	if r.end-pos < chunkHead {
		return c, false
	}
	r.copyOut(pos, unsafe.Slice((*byte)(unsafe.Pointer(&c)), chunkHead))
	return c, c.Pos == pos && uint64(c.Len) <= region.ChunkMax && chunkSize(int(c.Len)) <= r.end-pos
}

func chunkSize(n int) uint64 { return (chunkHead + uint64(n) + 7) &^ 7 }

// age drops what is older than it has to be.
func (r *ring) age(now int64) {
	if r.keep == 0 {
		return
	}
	for {
		c, ok := r.oldest()
		if !ok || now-int64(c.TimeNs) <= r.keep {
			return
		}
		r.raise(r.tail + chunkSize(int(c.Len)))
	}
}

// more gives the stream another packet.
func (r *ring) more() bool {
	for len(r.free) == 0 && len(r.fresh) > 0 {
		i := r.fresh[len(r.fresh)-1]
		r.fresh = r.fresh[:len(r.fresh)-1]
		if touch(packetAt(i), region.PacketSize) {
			r.free = append(r.free, i)
		} else {
			giveBack([]uint32{i}) // the tmpfs is full: the ring stays as small as it is
		}
	}
	for len(r.free) == 0 {
		c, ok := r.oldest()
		if !ok {
			return false
		}
		r.raise(r.tail + chunkSize(int(c.Len)))
	}
	i := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	r.table[r.mapped&tableMask] = uint16(i + 1)
	r.f.Packet[r.mapped&tableMask] = uint16(i + 1)
	r.mapped++
	return true
}

// put appends one chunk.
func (r *ring) put(kind uint16, gen uint64, data []byte) bool {
	now := nanotime()
	size := chunkSize(len(data))
	if r.mapped<<region.PacketShift < r.end+size {
		r.age(now)
	}
	for r.mapped<<region.PacketShift < r.end+size {
		// the last packet of the stream is not dropped to make room for its own end
		if !r.more() {
			atomic.AddUint64(&r.f.LostBytes, uint64(len(data)))
			atomic.AddUint64(&r.f.LostChunks, 1)
			return false
		}
	}
	c := region.Chunk{Pos: r.end, Len: uint32(len(data)), Kind: kind, Gen: gen, TimeNs: uint64(now), Session: r.session}
	r.copyIn(r.end, unsafe.Slice((*byte)(unsafe.Pointer(&c)), chunkHead))
	r.copyIn(r.end+chunkHead, data)
	r.end += size
	atomic.AddUint64(&r.f.Bytes, uint64(len(data)))
	atomic.StoreUint64(&r.f.End, r.end) // [FLOWN]
	return true
}

func (r *ring) span(pos uint64, n int) []byte {
	off := pos & (region.PacketSize - 1)
	i := uint32(r.table[pos>>region.PacketShift&tableMask]) - 1
	return unsafe.Slice((*byte)(unsafe.Add(packetAt(i), off)), min(n, int(region.PacketSize-off)))
}

func (r *ring) copyIn(pos uint64, data []byte) {
	for len(data) > 0 {
		n := copy(r.span(pos, len(data)), data)
		pos += uint64(n)
		data = data[n:]
	}
}

func (r *ring) copyOut(pos uint64, data []byte) {
	for len(data) > 0 {
		n := copy(data, r.span(pos, len(data)))
		pos += uint64(n)
		data = data[n:]
	}
}

func packetsFor(bytes int) int {
	n := (bytes + region.PacketSize - 1) / region.PacketSize
	return max(leastPackets, min(n, region.PacketsMax/2))
}

// sizeOf reads a number of bytes: 16M.
func sizeOf(text string) (int, bool) {
	shift := 0
	if n := len(text); n > 0 {
		switch text[n-1] | 0x20 {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		}
		if shift > 0 {
			text = text[:n-1]
		}
	}
	v, err := strconv.Atoi(text)
	return v << shift, err == nil && v > 0 && v < 1<<30
}

// save sets all that the stream holds aside. No byte is copied: the packets change hands, and the stream goes on in others.
func (r *ring) save(reason string) error {
	held := r.used()
	if err := r.reserve(held + len(r.free) + len(r.fresh) + held); err != nil {
		return err
	}
	if len(r.free)+len(r.fresh) < leastPackets {
		return errors.New("flight: the region has no memory for a snapshot beside the stream")
	}
	s := &r.f.Saved
	atomic.StoreUint32(&s.State, region.SavedNone)
	s.Tail, s.End, s.TakenNs = r.tail, r.end, uint64(nanotime())
	clear(s.Reason[:])
	copy(s.Reason[:len(s.Reason)-1], reason)
	clear(s.Packet[:])
	r.saved = r.saved[:0]
	for v := r.tail >> region.PacketShift; v < r.mapped; v++ {
		s.Packet[v&tableMask] = r.table[v&tableMask]
		r.saved = append(r.saved, uint32(r.table[v&tableMask]-1))
	}
	atomic.StoreUint32(&s.State, region.SavedReady) // [SAVED] before the stream leaves it: a reader finds each byte in one of them
	r.tail = r.mapped << region.PacketShift
	r.end = r.tail
	atomic.SwapUint64(&r.f.Tail, r.tail) // [TRAIL]
	atomic.StoreUint64(&r.f.End, r.end)  // [FLOWN]
	return nil
}

// takeSaved takes back the memory of what has been set aside, once a collector has read it.
func (r *ring) takeSaved() {
	if r.f == nil || len(r.saved) == 0 || atomic.LoadUint32(&r.f.Saved.State) != region.SavedTaken { // [SAVED]
		return
	}
	giveBack(r.saved)
	r.saved = r.saved[:0]
	atomic.StoreUint32(&r.f.Saved.State, region.SavedNone)
}
