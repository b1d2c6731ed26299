//go:build go1.22 && linux && (amd64 || arm64)

package flight

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime/trace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gander.internal/gander"
	"gander.internal/gander/internal/mapped"
	"gander.internal/gander/internal/region"
)

const (
	look          = time.Second      // between looks at whether somebody asks, where nobody can ring; and between attempts
	seldom        = 10 * time.Minute // between looks where somebody can: for those who do not, or may not
	defaultPeriod = 200 * time.Millisecond
	leastPeriod   = 10 * time.Millisecond
	defaultKeep   = 10 * time.Second
	bornLease     = 10 * time.Second // so long gander record --go -- CMD may take to find a new region

	batchPlain        = 1  // first byte of a batch
	batchExperimental = 49 // then one byte more
	endOfGeneration   = 52
)

// pilot is this program's one flight. Its goroutine starts and stops the runtime's tracer and closes generations; the runtime's own
// trace reader calls write.
var pilot struct {
	ring
	lock  sync.Mutex    // of the ring and of what follows
	wake  chan struct{} // something has changed: look now
	bell  bell          // the same, from outside
	hangs bool          // there is one; the pilot's goroutine only
	deaf  bool          // GANDER_FLIGHT=look: it is not wanted

	self      wish // what the program itself wants
	selfUntil int64
	err       error // why it does not fly although somebody asks
	on        bool
	gen       uint64 // of the newest batch
	known     uint64 // generations up to this one are complete
	ended     uint64 // the newest that has its end in the ring
	holed     uint64 // the newest that the ring had no memory for: it has no end
	bytes     int    // since a generation was closed
	limit     int    // of them: then the next one is begun early
}

// wish is what one who asks wants, or all of them together.
type wish struct {
	period  time.Duration
	keep    time.Duration
	packets int
}

func (w *wish) add(o wish) {
	if w.period == 0 || (o.period > 0 && o.period < w.period) {
		w.period = o.period
	}
	w.keep = max(w.keep, o.keep)
	w.packets = max(w.packets, o.packets)
}

func init() {
	if gander.Off() != "" {
		return
	}
	pilot.wake = make(chan struct{}, 1)
	offer()
	if text := os.Getenv(region.FlightEnv); text != "" && !mapped.Region.Secure {
		fromEnvironment(text)
	}
	if wanted(nanotime(), nil) {
		takeOff() // so that what happens first is in the trace
	}
	go run()
}

// fromEnvironment reads GANDER_FLIGHT=always,period=100ms,bytes=32M,keep=30s; "now" instead of always stands for somebody who is coming,
// "look" for somebody who cannot ring.
func fromEnvironment(text string) {
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "always":
			pilot.selfUntil = 1<<63 - 1
		case "now":
			pilot.selfUntil = nanotime() + int64(bornLease)
		case "look":
			pilot.deaf = true
		case "period":
			pilot.self.period, _ = time.ParseDuration(value)
		case "keep":
			pilot.self.keep, _ = time.ParseDuration(value)
		case "bytes":
			if n, ok := sizeOf(value); ok {
				pilot.self.packets = packetsFor(n)
			}
		}
	}
}

// wanted says whether anybody asks, and adds up what they want.
func wanted(now int64, w *wish) bool {
	ctl := control()
	any := pilot.selfUntil > now
	if any && w != nil {
		w.add(pilot.self)
	}
	for bits, i := atomic.LoadUint32(&ctl.Fly), 0; bits != 0 && i < region.Asks; bits, i = bits>>1, i+1 { // [FLY]
		ask := &ctl.Ask[i]
		if bits&1 == 0 || int64(atomic.LoadUint64(&ask.UntilNs)) <= now {
			continue
		}
		any = true
		if w != nil {
			w.add(wish{
				time.Duration(atomic.LoadUint32(&ask.PeriodMs)) * time.Millisecond,
				time.Duration(atomic.LoadUint32(&ask.KeepMs)) * time.Millisecond,
				int(min(atomic.LoadUint32(&ask.Packets), region.PacketsMax/2)),
			})
		}
	}
	return any
}

// run is the pilot's goroutine. What it does while nobody asks is what the import costs.
func run() {
	p := &pilot
	if !p.deaf && p.bell.hang() == nil {
		p.hangs = true
		tellBell(p.bell.number, p.bell.ino)
	}
	timer := time.NewTimer(look)
	timer.Stop()
	for again := false; ; again = asked() && !takeOff() {
		if flying() {
			again = fly(timer)
		}
		if again {
			wait(timer, look)
		} else if !asked() {
			rest(timer)
		}
	}
}

// asked says whether anybody asks. When nobody does it gives the memory back, and takes a refusal back: whoever asks next has not been refused.
func asked() bool {
	pilot.lock.Lock()
	defer pilot.lock.Unlock()
	any := wanted(nanotime(), nil)
	if !any {
		pilot.release()
		if f := pilot.f; f != nil {
			atomic.CompareAndSwapUint32(&f.State, region.FlightRefused, region.FlightIdle)
		}
	}
	return any
}

// rest is how the pilot sleeps while nobody asks.
func rest(timer *time.Timer) {
	p := &pilot
	if !p.hangs {
		wait(timer, look)
	} else if p.bell.doze(seldom, p.wake) != nil {
		p.hangs = false
		tellBell(-1, 0) // who has asked until now has counted on it: the next look is at once
	}
}

// wait sleeps that long, or until something has changed.
func wait(timer *time.Timer, d time.Duration) {
	if !timer.Stop() {
		select {
		case <-timer.C:
		default:
		}
	}
	timer.Reset(d)
	select {
	case <-timer.C:
	case <-pilot.wake:
	}
}

func nudge() {
	select {
	case pilot.wake <- struct{}{}:
	default:
	}
	pilot.bell.rouse()
}

// refuse leaves the reason where collectors find it.
func refuse(err error) bool {
	pilot.err = err
	if f := pilot.f; f != nil {
		atomic.StoreUint32(&f.State, region.FlightIdle)
		clear(f.Why[:])
		copy(f.Why[:len(f.Why)-1], err.Error())
		atomic.StoreUint32(&f.State, region.FlightRefused)
	}
	return false
}

// plan applies what everybody wants. False: there is no memory at all.
func plan(w *wish) error {
	if w.packets == 0 {
		w.packets = defaultPackets
	}
	if w.period == 0 {
		w.period = defaultPeriod
	}
	if w.keep == 0 {
		w.keep = defaultKeep
	}
	w.period = max(w.period, leastPeriod)
	pilot.keep = int64(w.keep)
	if err := pilot.reserve(w.packets); err != nil {
		return err
	}
	all := pilot.used() + len(pilot.free) + len(pilot.fresh)
	pilot.limit = all * region.PacketSize / 8
	pilot.f.Npackets, pilot.f.PeriodMs = uint32(all), uint32(w.period/time.Millisecond)
	return nil
}

// takeOff starts the runtime's tracer.
func takeOff() bool {
	p := &pilot
	p.lock.Lock()
	defer p.lock.Unlock()
	if !p.open() {
		return refuse(errNoMemory)
	}
	var w wish
	wanted(nanotime(), &w)
	if err := plan(&w); err != nil {
		return refuse(err)
	}
	p.session++
	p.gen, p.known, p.ended, p.holed, p.bytes = 0, 0, 0, 0, 0
	out := &writer{session: p.session}
	p.lock.Unlock()
	err := trace.Start(out) // stops the world for a moment, then the trace's reader writes
	p.lock.Lock()
	if err != nil {
		if p.tail == p.end {
			p.release()
		}
		return refuse(errTaken{err})
	}
	p.on, p.err = true, nil
	atomic.StoreUint32(&p.f.Session, p.session)
	atomic.StoreUint32(&p.f.State, region.FlightFlying)
	return true
}

// land stops it.
func land(stalled bool) {
	p := &pilot
	if !stalled { // else it is somebody else's by now
		trace.Stop()
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.gen > p.known {
		p.known = p.gen
	}
	endKnown()
	p.on = false
	atomic.StoreUint32(&p.f.State, region.FlightIdle)
}

// fly closes generations until nobody asks any more. It returns true when somebody else has stopped the trace.
func fly(timer *time.Timer) (stalled bool) {
	p := &pilot
	// short generations first: a program that lives for a moment only leaves something
	for period, spent, seen, still := leastPeriod, time.Duration(0), uint64(0), 0; ; {
		wait(timer, max(period-spent, leastPeriod))
		began := nanotime()
		closeGeneration()
		var w wish
		p.lock.Lock()
		any := wanted(nanotime(), &w)
		p.takeSaved()
		if any {
			plan(&w) // what there is stays, if there is no more
			period = min(2*period, w.period)
		}
		if p.gen == seen {
			still++
		} else {
			seen, still = p.gen, 0
		}
		p.lock.Unlock()
		spent = time.Duration(nanotime() - began) // so that generations begin a period apart
		if stalled = still >= 3; stalled || !any {
			// nothing has come for three generations: somebody else has called trace.Stop, which stops whoever has started
			land(stalled)
			return stalled
		}
	}
}

// closeGeneration makes the runtime finish the current generation. When it returns, all of that one is in the ring.
func closeGeneration() {
	p := &pilot
	p.lock.Lock()
	before, begun := p.known, p.gen != 0
	p.lock.Unlock()
	traceAdvance(false)
	p.lock.Lock()
	defer p.lock.Unlock()
	// The generation that was current at the call is complete now, and it was a later one than those known to be complete before.
	if begun {
		p.known = max(p.known, before+1)
	}
	endKnown()
}

// endKnown marks the end of the newest generation, if it is known to be complete and says not so itself.
func endKnown() {
	if pilot.gen != 0 && pilot.gen <= pilot.known && pilot.ended < pilot.gen {
		end(pilot.gen, nil)
	}
}

func end(gen uint64, mark []byte) {
	p := &pilot
	p.ended, p.bytes = gen, 0
	if gen == p.holed || !p.put(region.ChunkEnd, gen, mark) {
		return // a part of it is missing: nobody could read it
	}
	p.f.ClosedNs = uint64(nanotime())
	atomic.AddUint64(&p.f.Generations, 1)
}

// writer is what the runtime writes one session to. Every write is one whole batch, up to Go 1.27 at least.
type writer struct {
	session uint32
	header  bool
}

func (w *writer) Write(b []byte) (int, error) {
	p := &pilot
	p.lock.Lock()
	defer p.lock.Unlock()
	switch {
	case w.session != p.session:
	case !w.header:
		w.header = true
		copy(p.f.Header[:], b)
		p.put(region.ChunkStart, 0, nil)
	case len(b) == 1 && b[0] == endOfGeneration:
		p.known = max(p.known, p.gen)
		if p.ended < p.gen {
			end(p.gen, b)
		}
	default:
		gen := generation(b)
		if p.gen == 0 {
			p.known = gen - 1
		}
		if gen != p.gen && p.gen != 0 {
			p.known = max(p.known, gen-1)
			if p.ended < p.gen {
				end(p.gen, nil)
			}
		}
		p.gen = gen
		if !p.put(region.ChunkBatch, gen, b) {
			p.holed = gen
		}
		if p.bytes += len(b); p.bytes > p.limit {
			nudge()
		}
	}
	return len(b), nil
}

// generation is that of a batch.
func generation(b []byte) uint64 {
	skip := 1
	if len(b) > 0 && b[0] == batchExperimental {
		skip = 2
	}
	if len(b) < skip {
		return 0
	}
	gen, _ := binary.Uvarint(b[skip:])
	return gen
}

var errNoMemory = errors.New("the tmpfs is full")

type errTaken struct{ error }

func (e errTaken) Error() string {
	return "somebody in the program has the runtime's tracer: " + e.error.Error()
}

func (e errTaken) Unwrap() error { return e.error }

func flying() bool {
	pilot.lock.Lock()
	defer pilot.lock.Unlock()
	return pilot.on
}

func start(o Options) error {
	p := &pilot
	if off := gander.Off(); off != "" {
		return errors.New("flight: the agent is off: " + off)
	}
	p.lock.Lock()
	p.self = wish{period: o.Period, keep: o.Keep}
	if o.MaxBytes > 0 {
		p.self.packets = packetsFor(o.MaxBytes)
	}
	p.selfUntil = 1<<63 - 1
	p.err = nil // an old one
	on := p.on
	p.lock.Unlock()
	nudge()
	if on {
		return nil
	}
	// the pilot's goroutine does it
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		p.lock.Lock()
		on, err := p.on, p.err
		p.lock.Unlock()
		if on {
			return nil
		}
		if err != nil || time.Now().After(end) {
			return err
		}
	}
}

func stop() {
	pilot.lock.Lock()
	pilot.selfUntil = 0
	pilot.lock.Unlock()
	if pilot.wake != nil {
		nudge()
	}
}
