package gander

import (
	"sync/atomic"
)

// Version is the agent's.
const Version = "0.1.0"

// Level is how urgent an event is, as in syslog. A recording that asks for a level takes it and all that are more urgent.
type Level uint8

const (
	Emergency Level = iota
	Alert
	Critical
	Error
	Warning
	Notice
	Info
	Debug
)

var levelNames = [...]string{"emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"}

// String is the level's name in lower case.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return "debug"
}

// Off says why this program cannot be recorded: a short reason such as "no-tmpfs", or "" when it can.
func Off() string { return whyOff }

// Above these bits of a class's word are those of filters, and above those the bits of hit counters.
const (
	channelBits = 0xff
	filterBits  = 0xffff
)

// never is what the events of classes that cannot be on look at.
var never uint32

var off = &class{on: &never}

// on says whether any recording wants the class whose word this is. An atomic load is a plain one on the CPUs that matter; it
// keeps the compiler from taking it out of a loop.
func on(word *uint32) bool { return atomic.LoadUint32(word) != 0 }
