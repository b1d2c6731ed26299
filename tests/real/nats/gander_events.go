// This file is added to a copy of nats-server's package server, with one call for each event put into client.go (see ../build.py): a
// real program with a handful of events, the way its own authors would add them.

package server

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"gander.internal/gander"
	_ "gander.internal/gander/flight"
)

var (
	evConnect = gander.NewEvent2[uint64, int]("nats.connect", gander.Info, "client", "kind")
	evSub     = gander.NewEvent2[uint64, []byte]("nats.subscribe", gander.Info, "client", "subject")
	evRead    = gander.NewEvent4[uint64, int, int32, time.Duration]("nats.read", gander.Info, "client", "bytes", "msgs", "took")
	evFlush   = gander.NewEvent2[uint64, int64]("nats.flush", gander.Info, "client", "bytes")
	evClosed  = gander.NewEvent2[uint64, string]("nats.closed", gander.Info, "client", "reason")
	evMsg     = gander.NewEvent3[uint64, []byte, int]("nats.msg", gander.Debug, "client", "subject", "bytes")
)

func ganderConnect(c *client) { emitted(&nOther, evConnect.Enabled()); evConnect.Emit(c.cid, c.kind) }
func ganderSub(c *client, subject []byte) {
	emitted(&nOther, evSub.Enabled())
	evSub.Emit(c.cid, subject)
}
func ganderFlush(c *client, bytes int64) {
	emitted(&nFlush, evFlush.Enabled())
	evFlush.Emit(c.cid, bytes)
}
func ganderMsg(c *client, msg []byte) {
	emitted(&nMsg, evMsg.Enabled())
	evMsg.Emit(c.cid, c.pa.subject, len(msg))
}

func ganderRead(c *client, n int) {
	if evRead.Enabled() {
		emitted(&nRead, true)
		evRead.Emit(c.cid, n, c.in.msgs, time.Since(c.in.start))
	}
}

func ganderClosed(c *client, reason ClosedState) {
	if evClosed.Enabled() {
		emitted(&nOther, true)
		evClosed.Emit(c.cid, reason.String())
	}
}

// What follows is the test's, not the program's: it counts what is emitted, to be held against what was recorded. The counts are in the file that
// GANDER_EMITTED names, mapped: counting writes nothing out, and costs the same whoever reads.
var nRead, nFlush, nMsg, nOther = new(atomic.Uint64), new(atomic.Uint64), new(atomic.Uint64), new(atomic.Uint64)

func emitted(n **atomic.Uint64, on bool) {
	if on {
		(*n).Add(1)
	}
}

func init() {
	f, err := os.OpenFile(os.Getenv("GANDER_EMITTED"), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	page, err := syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return
	}
	// counters of different goroutines share no cache line
	for i, n := range []**atomic.Uint64{&nRead, &nFlush, &nMsg, &nOther} {
		*n = (*atomic.Uint64)(unsafe.Pointer(&page[64*i]))
	}
}
