//go:build linux && (amd64 || arm64)

package gander

import (
	"encoding/base64"
	"encoding/hex"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"gander.internal/gander/internal/mapped"
	"gander.internal/gander/internal/region"
)

const (
	tmpfsMagic   = 0x01021994
	madvDontFork = 10
	clockBoot    = 7
	prGetName    = 16
	rlimitFsize  = 1

	// What every region touches: the header, and the first pages of the class table, the control block and the heap.
	deadAge     = 60 // seconds that a region must be old before another program removes it
	deadMax     = 2  // how many one start removes
	deadLooks   = 8  // how many one start looks at
	bornPackets = 512
)

// whyOff is what keeps this program from being recorded, empty when nothing does. As a variable's initial value the region is
// made before the first class is declared, by the rules of Go's package initialization.
var whyOff = start()

// start makes the region. It runs once and never fails the program: what goes wrong is left as the name of a mapped anonymous file,
// where `gander list` finds it.
func start() string {
	why := makeRegion()
	if why != "" {
		live = liveState{}
		leaveReason(why)
	}
	return why
}

func leaveReason(reason string) {
	name := append([]byte(region.OffPrefix+reason), 0)
	fd, _, errno := syscall.RawSyscall(sysMemfdCreate, uintptr(unsafe.Pointer(&name[0])), 1 /* MFD_CLOEXEC */, 0)
	if errno != 0 {
		return
	}
	syscall.Mmap(int(fd), 0, region.PageSize, syscall.PROT_NONE, syscall.MAP_SHARED)
	syscall.Close(int(fd))
}

// execName is the name by which the kernel started the program.
func execName() string {
	const atExecfn = 31
	auxv := runtimeAuxv()
	for i := 0; i+1 < len(auxv); i += 2 {
		if auxv[i] == atExecfn && auxv[i+1] != 0 {
			b := (*[511]byte)(foreign(auxv[i+1]))
			n := 0
			for n < len(b) && b[n] != 0 {
				n++
			}
			return string(b[:n])
		}
	}
	return ""
}

// reason turns what failed into a name: lower case, no blanks.
func reason(what string, err error) string {
	if e, ok := err.(syscall.Errno); ok {
		return what + "-" + errnoName(e)
	}
	return what
}

func errnoName(e syscall.Errno) string {
	switch e {
	case syscall.EACCES:
		return "EACCES"
	case syscall.EPERM:
		return "EPERM"
	case syscall.ENOSPC:
		return "ENOSPC"
	case syscall.ENOMEM:
		return "ENOMEM"
	case syscall.EROFS:
		return "EROFS"
	case syscall.EMFILE:
		return "EMFILE"
	case syscall.ENFILE:
		return "ENFILE"
	case syscall.EDQUOT:
		return "EDQUOT"
	case syscall.ENOSYS:
		return "ENOSYS"
	case syscall.ENOENT:
		return "ENOENT"
	}
	return "errno-" + strconv.Itoa(int(e))
}

func makeRegion() string {
	if runtime.GOARCH == "amd64" && unsafe.Sizeof(uintptr(0)) != 8 {
		return "unsupported-cpu"
	}
	npackets := uint32(region.PacketsMax)
	var lim syscall.Rlimit
	if syscall.Getrlimit(rlimitFsize, &lim) == nil && lim.Cur < region.MetaSize+region.PacketsMax*region.PacketSize {
		// growing a file beyond this limit raises SIGXFSZ, so it is never tried
		if lim.Cur < region.MetaSize+region.PacketSize {
			return "file-size-limit"
		}
		npackets = uint32((lim.Cur - region.MetaSize) / region.PacketSize)
	}
	fd, dir, err := createFile()
	if err != "" {
		return err
	}
	defer syscall.Close(fd)
	fail := func(what string, e error) string {
		syscall.Unlink(regionPath)
		return reason(what, e)
	}
	if e := syscall.Fchmod(fd, 0600); e != nil {
		return fail("fchmod", e)
	}
	// Somebody who looks for dead regions may hold the new file's lock for a moment; who holds it longer is not waited for.
	for try := 0; ; try++ {
		e := syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB)
		if e == nil {
			break
		}
		if e != syscall.EWOULDBLOCK || try == 1000 {
			return fail("flock", e)
		}
		runtime.Gosched()
	}
	size := int64(region.MetaSize) + int64(npackets)<<region.PacketShift
	if e := syscall.Ftruncate(fd, size); e != nil {
		return fail("ftruncate", e)
	}
	// The header and the first class page are neighbours. Without memory here there would be a SIGBUS later.
	if e := fallocate(fd, 0, region.OffClasses+region.PageSize); e != nil {
		return fail("tmpfs-full", e)
	}
	if e := fallocate(fd, region.OffControl, region.PageSize); e != nil {
		return fail("tmpfs-full", e)
	}
	if e := fallocate(fd, region.OffHeap, region.PageSize); e != nil {
		return fail("tmpfs-full", e)
	}
	mem, e := syscall.Mmap(fd, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if e != nil {
		return fail("mmap", e)
	}
	if e := syscall.Madvise(mem, madvDontFork); e != nil {
		syscall.Munmap(mem)
		return fail("madvise", e)
	}
	live.base = unsafe.Pointer(&mem[0])
	live.data = unsafe.Add(live.base, region.OffData)
	live.npackets = npackets
	live.mono = readSmall("/sys/devices/system/clocksource/clocksource0/current_clocksource") != clocksource
	live.noCPU = true // until a packet is opened: asking the CPU is dear in a virtual machine
	if boot, ok := clockGettime(clockBoot); ok {
		live.boot = boot - nanotime()
	}
	verifyOffsets()
	heapReady = region.PageSize
	classReady = uint32(region.PageSize / unsafe.Sizeof(region.Class{}))

	h := header()
	h.Magic = region.Magic
	h.Major, h.Minor = region.Major, region.Minor
	h.HeaderSize = uint32(unsafe.Sizeof(*h))
	h.Npackets = npackets
	h.RegionSize = uint64(size)
	h.Language, h.Writer = region.LangGo, region.WriterGoP
	h.Clock = region.ClockTsc
	if live.mono {
		h.Clock = region.ClockMono
	}
	if live.procid != 0 {
		h.Flags |= region.FlagTid
	}
	h.Pid, h.ParentPid = uint32(syscall.Getpid()), uint32(syscall.Getppid())
	h.Uid, h.Nslots = uint32(syscall.Geteuid()), region.Slots
	h.RealtimeNs = uint64(time.Now().UnixNano())
	sample(&h.Start)
	copy(h.Agent[:len(h.Agent)-1], "gander-go "+Version+" "+runtime.Version())
	var comm [16]byte
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prGetName, uintptr(unsafe.Pointer(&comm[0])), 0); errno == 0 {
		copy(h.Comm[:], comm[:])
	}
	// as the program was started: the collector asks /proc where it can
	copy(h.Exe[:len(h.Exe)-1], execName())
	if _, born := sessionEnv(); born {
		// a program that lives shows all this in /proc; one that is recorded from its start may die before anybody looks
		describeProcess(h)
		bornEnabled(fd, h)
	}
	mapped.Region = mapped.Place{Base: live.base, Npackets: npackets, Path: regionPath, Secure: isSecure()}
	atomic.StoreUint32(&h.State, region.StateReady) // [READY]
	removeDead(dir)
	return ""
}

// spanSeed makes this process's span ids its own.
var spanSeed = randomSeed()

func randomSeed() uint64 {
	var b [8]byte
	if n, _, _ := syscall.RawSyscall(sysGetrandom, uintptr(unsafe.Pointer(&b[0])), 8, 0); n != 8 {
		return uint64(time.Now().UnixNano()) ^ uint64(syscall.Getpid())<<40
	}
	return le64(b[:])
}

// monotonic is a clock for durations, in nanoseconds.
func monotonic() int64 { return nanotime() }

// describeProcess fills in what tells which program this is, and where its code lies.
func describeProcess(h *region.Header) {
	h.StartTicks = startTicks()
	if id := readSmall("/proc/sys/kernel/random/boot_id"); len(id) == 36 {
		hex.Decode(h.BootId[:], []byte(strings.ReplaceAll(id, "-", "")))
	}
	var exe [511]byte
	if n, e := syscall.Readlink("/proc/self/exe", exe[:]); e == nil {
		h.Exe = [len(h.Exe)]byte{}
		copy(h.Exe[:], exe[:n])
	}
	noteImage(h)
}

// regionPath is the file's path, for tests and for taking it back when the start fails.
var regionPath string

// createFile makes the file in the first directory that is a tmpfs: a mapped file of a disk stalls its writers.
func createFile() (fd int, dir, why string) {
	uid := strconv.Itoa(syscall.Geteuid())
	why = "no-tmpfs"
	for _, dir := range [...]string{"/dev/shm", "/run/user/" + uid, "/tmp"} {
		var st syscall.Statfs_t
		if syscall.Statfs(dir, &st) != nil || st.Type != tmpfsMagic {
			continue
		}
		for try := 0; try < 4; try++ {
			var random [8]byte
			if n, _, _ := syscall.RawSyscall(sysGetrandom, uintptr(unsafe.Pointer(&random[0])), 8, 0); n != 8 {
				return -1, "", "no-getrandom"
			}
			path := dir + "/" + region.NamePrefix + uid + "." + hex.EncodeToString(random[:])
			fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0600)
			if err == nil {
				regionPath = path
				return fd, dir, ""
			}
			why = reason("open", err)
			if err != syscall.EEXIST && err != syscall.EINTR {
				break
			}
		}
	}
	return -1, "", why
}

func fallocate(fd int, off, size int64) error {
	for {
		err := syscall.Fallocate(fd, 0, off, size)
		if err != syscall.EINTR {
			return err
		}
	}
}

// readSmall is the first line of a small file, empty when it cannot be read.
func readSmall(path string) string {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer syscall.Close(fd)
	var buf [512]byte
	n, err := syscall.Read(fd, buf[:])
	if err != nil || n <= 0 {
		return ""
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	return line
}

func clockGettime(clock uintptr) (ns int64, ok bool) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano(), errno == 0
}

// startTicks is field 22 of /proc/self/stat; the second field may hold anything, so it is counted from its last parenthesis.
func startTicks() uint64 {
	line := readSmall("/proc/self/stat")
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(fields[19], 10, 64)
	return n
}

// expectedGoid is where the id stood in g in the releases known so far; a search replaces it when it does not hold.
func expectedGoid() uint32 {
	if v := runtime.Version(); strings.HasPrefix(v, "go1.23") || strings.HasPrefix(v, "go1.24") {
		return 160
	}
	return 152
}

// verifyOffsets finds the goroutine's id in g and the kernel thread's id in m. They are believed only when what stands there is what it
// should be: packages are initialized by goroutine 1, and gettid knows the thread. checkOpening looks again, before the first event.
func verifyOffsets() {
	if off := expectedGoid(); gword(off) == 1 {
		live.goid = off
	} else {
		live.goid = searchGoid()
	}
	procPin()
	tid := uint64(syscall.Gettid())
	if mword(64) == tid { // from Go 1.25
		live.procid = 64
	} else if mword(72) == tid {
		live.procid = 72
	}
	procUnpin()
}

// searchGoid finds the one offset that holds the id in several goroutines; 0 when it is not one alone.
func searchGoid() uint32 {
	const limit = 384
	var fits [limit / 8]int
	done := make(chan bool)
	const rounds = 4
	for i := 0; i < rounds; i++ {
		go func() {
			id := stackGoid()
			for off := uint32(0); off < limit; off += 8 {
				if id != 0 && gword(off) == id {
					fits[off/8]++
				}
			}
			done <- true
		}()
		<-done
	}
	found := uint32(0)
	for i, n := range fits {
		if n == rounds {
			if found != 0 {
				return 0
			}
			found = uint32(i * 8)
		}
	}
	return found
}

// stackGoid is this goroutine's id as the runtime prints it; 0 when another goroutine is just asking, which saves an allocation.
func stackGoid() uint64 {
	if !atomic.CompareAndSwapInt32(&goidText.busy, 0, 1) {
		return 0
	}
	s := goidText.buf[:runtime.Stack(goidText.buf[:], false)]
	id := uint64(0)
	for _, c := range s[min(len("goroutine "), len(s)):] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	atomic.StoreInt32(&goidText.busy, 0)
	return id
}

var goidText struct {
	busy int32
	buf  [40]byte
}

//go:linkname runtimeAuxv runtime.getAuxv
func runtimeAuxv() []uintptr

// noteImage records where the executable lies and its build id, from the program headers that the kernel points at: call stacks
// then mean something after the program's death.
func noteImage(h *region.Header) {
	const (
		atPhdr, atPhent, atPhnum = 3, 4, 5
		ptLoad, ptNote, ptPhdr   = 1, 4, 6
		ehdrSize                 = 64
	)
	type phdr struct {
		typ, flags                                  uint32
		off, vaddr, paddr, filesz, memsz, alignment uint64
	}
	var phdrs, phent, phnum uintptr
	auxv := runtimeAuxv()
	for i := 0; i+1 < len(auxv); i += 2 {
		switch auxv[i] {
		case atPhdr:
			phdrs = auxv[i+1]
		case atPhent:
			phent = auxv[i+1]
		case atPhnum:
			phnum = auxv[i+1]
		}
	}
	if phdrs == 0 || phent != unsafe.Sizeof(phdr{}) || phnum == 0 || phnum > 128 {
		return
	}
	ph := unsafe.Slice((*phdr)(foreign(phdrs)), int(phnum))
	var o region.Object
	found := false
	for i := range ph {
		switch {
		case ph[i].typ == ptPhdr:
			o.Base, found = uint64(phdrs)-ph[i].vaddr, true
		case ph[i].typ == ptLoad && ph[i].off == 0 && !found:
			o.Base, found = uint64(phdrs)-ehdrSize-ph[i].vaddr, true
		}
	}
	if !found {
		return
	}
	var id []byte
	for i := range ph {
		switch {
		case ph[i].typ == ptLoad && ph[i].flags&1 != 0:
			if start := o.Base + ph[i].vaddr; o.Start == 0 || start < o.Start {
				o.Start = start
			}
			if end := o.Base + ph[i].vaddr + ph[i].memsz; end > o.End {
				o.End = end
			}
		case ph[i].typ == ptNote && ph[i].memsz < 1<<16:
			if b := gnuBuildID(unsafe.Slice((*byte)(foreign(uintptr(o.Base+ph[i].vaddr))), int(ph[i].memsz))); b != nil {
				id = b
			}
		}
	}
	h.BuildIdLen = uint32(copy(h.BuildId[:], id))
	o.BuildIdLen = uint32(copy(o.BuildId[:], id))
	path := strings.TrimRight(string(h.Exe[:]), "\x00")
	rec := append(unsafe.Slice((*byte)(unsafe.Pointer(&o)), unsafe.Sizeof(o))[:unsafe.Sizeof(o):unsafe.Sizeof(o)], path...)
	putRecord(region.RecordObject, rec)
}

// foreign makes a pointer of an address that is none of Go's memory.
func foreign(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// gnuBuildID finds the linker's build id in a PT_NOTE segment.
func gnuBuildID(b []byte) []byte {
	for len(b) >= 12 {
		namesz, descsz, typ := le32(b), le32(b[4:]), le32(b[8:])
		b = b[12:]
		name, desc := uint64(namesz+3)&^3, uint64(descsz+3)&^3
		if name+desc > uint64(len(b)) || uint64(descsz) > desc || uint64(namesz) > name {
			return nil
		}
		if typ == 3 && string(b[:namesz]) == "GNU\x00" && descsz > 0 && descsz <= 32 {
			return b[name : name+uint64(descsz)]
		}
		b = b[name+desc:]
	}
	return nil
}

// isSecure says whether this program has more rights than who started it (setuid): he must not steer it by its environment.
func isSecure() bool {
	const atSecure = 23
	auxv := runtimeAuxv()
	for i := 0; i+1 < len(auxv); i += 2 {
		if auxv[i] == atSecure {
			return auxv[i+1] != 0
		}
	}
	return false
}

func sessionEnv() (string, bool) {
	if isSecure() {
		return "", false
	}
	return syscall.Getenv(region.SessionEnv)
}

// bornEnabled sets up channel 0 from GANDER_SESSION, so that the first event is recorded. What of it is broken is left out and
// noted.
func bornEnabled(fd int, h *region.Header) {
	env, ok := sessionEnv()
	if !ok {
		return
	}
	text, ok := strings.CutPrefix(env, "1:")
	if !ok || len(text) > region.SessionMax*4/3+4 {
		note(region.SessionEnv + ": not understood")
		return
	}
	raw, err := base64.RawStdEncoding.DecodeString(text)
	var s region.Session
	headSize := int(unsafe.Sizeof(s))
	if err != nil || len(raw) < headSize {
		note(region.SessionEnv + ": broken")
		return
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&s)), headSize), raw)
	ruleSize := int(unsafe.Sizeof(region.Rule{}))
	if s.Magic != region.SessionMagic || int64(s.Size) != int64(len(raw)) || s.Nrules > region.Rules ||
		int64(headSize)+int64(s.Nrules)*int64(ruleSize)+int64(s.FiltersSize) != int64(len(raw)) {
		note(region.SessionEnv + ": broken")
		return
	}
	rules := raw[headSize : headSize+int(s.Nrules)*ruleSize]
	filters := raw[headSize+len(rules):]
	chanSize := int64(unsafe.Sizeof(region.Channel{}))
	if fallocate(fd, region.OffControl, region.PageSize+int64(len(rules))) != nil ||
		fallocate(fd, region.OffFilters, 8+int64(len(filters))) != nil ||
		fallocate(fd, region.OffChannels, chanSize) != nil {
		note(region.SessionEnv + ": no room in the tmpfs")
		return
	}
	ch := channel(0)
	want := min(s.Packets, live.npackets, bornPackets)
	zeros := make([]byte, region.PacketSize)
	for i := uint32(0); i < want; i++ {
		// written, not only allocated: a written page is mapped sixteen at a time by its first reader
		if n, err := syscall.Pwrite(fd, zeros, region.OffData+int64(i)<<region.PacketShift); err != nil || n != len(zeros) {
			note(region.SessionEnv + ": not enough room in the tmpfs: " + strconv.Itoa(int(i)) + " of " + strconv.Itoa(int(want)) + " packets")
			break
		}
		ch.Granted[i/64] |= 1 << (i % 64)
		ch.Free[i/64] |= 1 << (i % 64)
	}
	h.Session, ch.Session = s.Session, s.Session
	ch.Mode, ch.Context, ch.Quota = s.Mode, s.Context&region.CtxAll, s.Quota
	ch.StackDepth, ch.BlockMs = min(s.StackDepth, region.StackMax), s.BlockMs
	ch.Epoch = 1
	ctl := control()
	copy(unsafe.Slice((*byte)(at(region.OffFilters)), len(filters)+8)[8:], filters)
	if len(filters) > 0 {
		ctl.FiltersUsed = (8 + uint32(len(filters)) + 7) &^ 7
	}
	for i := 0; i < int(s.Nrules); i++ {
		r := &ctl.Rules[i]
		copy(unsafe.Slice((*byte)(unsafe.Pointer(r)), ruleSize), rules[i*ruleSize:])
		r.Channel = 0
		if r.Filter != 0 {
			r.Filter += region.OffFilters
		}
	}
	ctl.Nrules = s.Nrules
	atomic.StoreUint32(&ch.State, region.ChannelOn)
	h.Flags |= region.FlagBorn
}

// removeDead removes a few regions that dead programs of this user left, at one start in four. What it reads and looks at is bounded, so that
// a start costs the same however full the directory is.
func removeDead(dir string) {
	chance := uint64(now()) >> 4
	if chance%4 != 0 {
		return
	}
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	var buf [4096]byte
	n, err := syscall.ReadDirent(fd, buf[:])
	if err != nil || n <= 0 {
		return
	}
	_, _, names := syscall.ParseDirent(buf[:n], -1, nil)
	prefix := region.NamePrefix + strconv.Itoa(syscall.Geteuid()) + "."
	seconds := time.Now().Unix()
	removed, looked := 0, 0
	// another beginning each time: the first few may be alive for ever
	for i, first := 0, int(chance/4%uint64(len(names)+1)); i < len(names) && removed < deadMax && looked < deadLooks; i++ {
		name := names[(first+i)%len(names)]
		if !strings.HasPrefix(name, prefix) || len(name) != len(prefix)+16 || dir+"/"+name == regionPath {
			continue
		}
		looked++
		if isDead(fd, name, seconds) && syscall.Unlink(dir+"/"+name) == nil {
			removed++
		}
	}
}

// openHere opens a file of this very tmpfs: what is mounted over a region's name may be a file system that never answers, and a start must not
// wait for it.
func openHere(dir int, name string) (int, error) {
	how := struct{ flags, mode, resolve uint64 }{flags: syscall.O_RDWR | syscall.O_NOFOLLOW | syscall.O_CLOEXEC | syscall.O_NONBLOCK, resolve: 1 /* RESOLVE_NO_XDEV */}
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	const openat2 = 437 // everywhere
	fd, _, e := syscall.Syscall6(openat2, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
	if e == syscall.ENOSYS || e == syscall.EPERM { // before Linux 5.6, or where a seccomp filter does not know it
		return syscall.Openat(dir, name, int(how.flags), 0)
	}
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

func isDead(dir int, name string, now int64) bool {
	fd, err := openHere(dir, name)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	var head [16]byte
	if syscall.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG || int(st.Uid) != syscall.Geteuid() ||
		now-st.Mtim.Sec < deadAge || now-st.Ctim.Sec < deadAge {
		return false
	}
	n, err := syscall.Pread(fd, head[:], 0)
	// one that was never finished is all zeros, or not yet as long
	if err != nil || (n == len(head) && le64(head[:]) != region.Magic && le64(head[:]) != 0) {
		return false
	}
	return !hasFlown(fd) && syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// hasFlown says whether a program that died in flight has left its last seconds there: somebody may want them, for a minute.
func hasFlown(fd int) bool {
	var f region.Flight
	b := unsafe.Slice((*byte)(unsafe.Pointer(&f)), unsafe.Sizeof(f))
	if n, err := syscall.Pread(fd, b, region.OffFlight); err != nil || n != len(b) {
		return false
	}
	return (f.State == region.FlightFlying || f.Saved.State == region.SavedReady) && uint64(nanotime())-f.ClosedNs < deadAge*1e9
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func le64(b []byte) uint64 { return uint64(le32(b)) | uint64(le32(b[4:]))<<32 }

// haveMemory touches the pages of [off, off+size) beyond those allocated at start. Where the tmpfs is full the kernel answers a touch with
// SIGBUS; here it becomes a panic that is caught, so that declaring costs no system call and cannot harm.
func haveMemory(off, size uint32) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	for page := off &^ (region.PageSize - 1); page < off+size; page += region.PageSize {
		atomic.AddUint32((*uint32)(at(page)), 0)
	}
	return true
}
