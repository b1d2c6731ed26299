// This file is added to a copy of nats-server's package server, with one call for each event put into client.go (see ../build.py): a
// real program with a handful of events, the way its own authors would add them.

package server

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

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

// What follows is the test's, not the program's: it counts what is emitted, to be held against what was recorded. The counts are written to the file
// that GANDER_EMITTED names whenever they have changed.
var nRead, nFlush, nMsg, nOther struct {
	atomic.Uint64
	_ [56]byte // counters of different goroutines share no cache line
}

func emitted(n *struct {
	atomic.Uint64
	_ [56]byte
}, on bool) {
	if on {
		n.Add(1)
	}
}

func init() {
	path := os.Getenv("GANDER_EMITTED")
	if path == "" {
		return
	}
	go func() {
		last := ""
		for {
			now := fmt.Sprintf("nats.read %d\nnats.flush %d\nnats.msg %d\nother %d\n", nRead.Load(), nFlush.Load(), nMsg.Load(), nOther.Load())
			if now != last {
				if os.WriteFile(path+".new", []byte(now), 0o644) == nil && os.Rename(path+".new", path) == nil {
					last = now
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
}
