// Package region is the shared region's layout in Go: what src/region/region.h is in C. The constants are generated from
// that header, the structs are compared with it by a test. docs/region.md says what it all means.
package region

// ClockSample is one reading of all clocks at one instant.
type ClockSample struct {
	Counter, MonoNs, BootNs, Width uint64
}

// Header is the region's first page.
type Header struct {
	Magic                             uint64
	Major, Minor                      uint16
	State                             uint32 // [READY]
	HeaderSize, Npackets              uint32
	RegionSize                        uint64
	Language, Writer, Clock, Flags    uint32
	Pid, ParentPid                    uint32
	Uid, Nslots                       uint32
	StartTicks                        uint64
	RealtimeNs                        uint64
	Start                             ClockSample
	Session                           [16]byte
	BootId                            [16]byte
	HeapUsed, ClassCount, LostClasses uint32
	WakeFd                            uint32 // [WAKE]
	Agent                             [32]byte
	Comm                              [32]byte
	Exe                               [512]byte
	BuildId                           [32]byte
	BuildIdLen                        uint32
	WakeIno                           uint32
}

// Class is a slot of the table of event classes.
type Class struct {
	Enabled uint32 // [ENABLE] zero: off; the one word that an event looks at
	State   uint32 // [CLASS]
	DescOff uint32
	DescLen uint32
	Hash    uint32
	_       uint32
	Filter  [Channels]uint32
	_       [2]uint32
}

// Enabled is the bit of Class.Enabled that says the class is on for channel c.
func Enabled(c uint32) uint32 { return 1 << c }

// Filtered is the bit of Class.Enabled that says Class.Filter[c] decides.
func Filtered(c uint32) uint32 { return 0x100 << c }

// Counting is the bit of Class.Enabled that says events are counted for channel c, not recorded.
func Counting(c uint32) uint32 { return 0x10000 << c }

// Conditional is the bit of Class.Enabled that says Class.Filter[c] is a ConditionSet.
func Conditional(c uint32) uint32 { return 0x1000000 << c }

// RuleNumber is which of the recording's conditions a rule with RuleCondition belongs to.
func RuleNumber(flags uint8) uint32 { return uint32(flags) >> 4 & 7 }

// Condition is one of a class: a linked filter (0: it holds for every event), and which of the recording's conditions it is.
type Condition struct {
	Program, Number uint32
}

// ConditionSet is what is looked at when an event of a class with conditions is emitted: the conditions, then the filter.
type ConditionSet struct {
	Magic, N uint32
	Filter   uint32 // FilterNever: only an event that a condition holds for is recorded
	_        uint32
	V        [Conditions]Condition
}

// Trigger is the word Channel.Trigger of a ring that is frozen by an event of a class.
func Trigger(counter uint64, class uint16, number uint32) uint64 {
	return counter&^0x7ffff | uint64(class)<<5 | uint64(number)<<2 | TriggerFrozen
}

// LockChannel is the byte of the file that channel c's collector holds a lock on.
func LockChannel(c int) int { return 16 + c }

// Record is the head of what lies in the heap.
type Record struct {
	Len, Kind uint32
}

// Object is a loaded image; its path follows.
type Object struct {
	Base, Start, End uint64
	BuildId          [20]byte
	BuildIdLen       uint32
}

// Rule is one of Control.Rules.
type Rule struct {
	Used, Channel, Flags, Level uint8
	Filter                      uint32
	Glob                        [120]byte
}

// Ask is somebody's wish for the Go runtime's trace.
type Ask struct {
	UntilNs                        uint64
	PeriodMs, KeepMs, Packets, Pid uint32
}

// Control is what collectors tell the program as a whole.
type Control struct {
	Gen, Nrules, FiltersUsed uint32 // Gen: [RULE]
	Fly                      uint32 // [FLY]
	Ask                      [Asks]Ask
	FlyGranted               [PacketsMax / 64]uint64
	FlyRead                  [Asks]uint64 // [PLACE] collectors' only
	_                        [4096 - 16 - 24*Asks - PacketsMax/8 - 8*Asks]byte
	Rules                    [Rules]Rule
}

// Saved is a part of the flight's stream that has been set aside.
type Saved struct {
	State     uint32 // [SAVED]
	_         uint32
	Tail, End uint64
	TakenNs   uint64
	Reason    [96]byte
	_         [384]byte
	Packet    [PacketsMax]uint16
}

// Flight is the Go runtime's trace as a stream of chunks.
type Flight struct {
	State, Session, Npackets, PeriodMs uint32
	Tail                               uint64 // [TRAIL]
	End                                uint64 // [FLOWN]
	ClosedNs                           uint64
	Generations, Bytes                 uint64
	LostBytes, LostChunks              uint64
	Header                             [16]byte
	Why                                [160]byte
	_                                  [2048 - 248]byte
	Packet                             [PacketsMax]uint16
	Saved                              Saved
}

// Chunk is the head of a piece of that stream.
type Chunk struct {
	Pos        uint64
	Len        uint32
	Kind, _    uint16
	Gen        uint64
	TimeNs     uint64
	Session, _ uint32
}

// Slot is a writer's place in a channel.
type Slot struct {
	Cur, Owner uint32 // Cur: [SWAP]
	Tail       uint64 // [TAIL]
	Lost       [LostReasons]uint64
	Cut        uint64
	LostFrozen uint64
}

// Tail is the word Slot.Tail for packet index with sequence number seq.
func Tail(seq uint64, index uint32) uint64 { return seq<<16 | (uint64(index) + 1) }

// Channel is one recording's part of the region.
type Channel struct {
	State, Mode          uint32
	Context              uint32
	Quota                uint32
	StackDepth           uint32
	BlockMs              uint32
	KeysFirst, KeysCount uint32
	Session              [16]byte
	CollectorPid         uint32
	Epoch                uint32
	Trigger, TriggerTime uint64 // Trigger: [FREEZE]
	_                    [896 - 72]byte
	Granted              [PacketsMax / 64]uint64
	Free                 [PacketsMax / 64]uint64 // [FREE]
	_                    [4096 - 1024 - PacketsMax/8]byte
	Slot                 [Slots]Slot
}

// CountKey is a hit counter for one value of a field.
type CountKey struct {
	Fingerprint, Count uint64
	ClassId            uint16
	Kind, Len          uint8
	Value              [44]byte
}

// Packet is the header of 64 KiB of events.
type Packet struct {
	Head          uint64 // [HEAD]
	LastTime      uint64
	TimeHigh      uint64
	Lap           uint64 // [LAP]
	Slot, Channel uint32
	Seq           uint64
	First         uint64
	Prev, Next    uint32
	Open          ClockSample
	Epoch         uint32
	_             uint32
	_             [3]uint64
}

// Head is the word Packet.Head for count events that end at off.
func Head(count, off uint32) uint64 { return uint64(count)<<32 | uint64(off) }

// Session is the head of what GANDER_SESSION holds; rules and filters follow.
type Session struct {
	Magic, Size                               uint32
	Session                                   [16]byte
	Mode, Context, Quota, StackDepth, BlockMs uint32
	Packets                                   uint32
	Nrules, FiltersSize                       uint32
}

// ClassOffset is where a class's slot is: in the first table, or in the second.
func ClassOffset(i uint32) uint32 {
	const size = 64
	if i < ClassesFirst {
		return OffClasses + i*size
	}
	return OffClassesMore + (i-ClassesFirst)*size
}
