// The tortured program in Go: govictim CASE SCALE. What victim.c is in C: each case is a way in which Go programs live that has broken
// tracers. What it emitted stands in the file of TORTURE_COUNT (tests/torture/torture.h), its state goes to the file of
// TORTURE_STATE. Built twice: with the agent, and with a package of the same name that does nothing.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	gander "gander.internal/gander"
)

const writers = 262144

type countWriter struct {
	pid, off  uint32
	n, excuse uint64
}

type countFile struct {
	writers, done, stage, failed uint32
	note                         [240]byte
	extra                        [4]uint64
	writer                       [writers]countWriter
}

var (
	onStep = gander.NewEvent3[uint32, uint64, uint32]("torture.step", gander.Info, "writer", "n", "check")
	onText = gander.NewEvent3[uint32, uint64, string]("torture.text", gander.Info, "writer", "n", "text")
	file   *countFile
	scale  = 1
	texts  = [4]string{"", "seven77", "sixteen bytes ok", "a longer text, so that events have many lengths, and some copies are long"}
)

func fail(what string, err error) {
	if atomic.AddUint32(&file.failed, 1) == 1 {
		copy(file.note[:len(file.note)-1], fmt.Sprint(what, ": ", err))
	}
}

func newWriter() uint32 {
	w := atomic.AddUint32(&file.writers, 1) - 1
	file.writer[w].pid = uint32(os.Getpid())
	if gander.Off() != "" {
		file.writer[w].off = 1
	}
	return w
}

func emit(w uint32, count int) {
	cw := &file.writer[w]
	for ; count > 0; count-- {
		n := cw.n
		if n%8 == 7 {
			onText.Emit(w, n, texts[n/8%4])
		} else {
			onStep.Emit(w, n, uint32(n)*2654435761)
		}
		atomic.StoreUint64(&cw.n, n+1)
	}
}

func proc(name string) string {
	b, _ := os.ReadFile("/proc/self/" + name)
	return string(b)
}

// What is deterministic in a Go program: descriptors, signal handlers and masks, limits, environment, mapped files. Its threads, pending signals, and where
// it maps memory, are the runtime's business and vary from run to run.
func writeState() {
	path := os.Getenv("TORTURE_STATE")
	if path == "" {
		return
	}
	var out []string
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, e := range fds {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(link, "/proc/") {
			continue
		}
		for _, kind := range []string{"pipe:", "socket:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[pidfd]"} {
			if strings.HasPrefix(link, kind) {
				link = kind
			}
		}
		out = append(out, "fd "+e.Name()+" "+link)
	}
	// Of the thread that this runs on. Any other, the first too, may be where os/signal waits with its signals blocked, or makes a thread with all blocked.
	runtime.LockOSThread()
	status, _ := os.ReadFile("/proc/thread-self/status")
	runtime.UnlockOSThread()
	for _, l := range strings.Split(string(status), "\n") {
		if word, _, _ := strings.Cut(l, ":"); strings.Contains("SigBlk SigIgn SigCgt Umask Uid Gid CapEff Seccomp NoNewPrivs", word) && word != "" {
			out = append(out, "status "+l)
		}
	}
	for _, l := range strings.Split(proc("limits"), "\n") {
		out = append(out, "limits "+l)
	}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "GANDER_SESSION=") && !strings.HasPrefix(e, "LD_LIBRARY_PATH=") && !strings.HasPrefix(e, "TORTURE_") {
			out = append(out, "env "+e)
		}
	}
	// named mappings but regions; a stack, a heap and the like have names too
	for _, l := range strings.Split(proc("maps"), "\n") {
		f := strings.Fields(l)
		if len(f) >= 6 && strings.HasPrefix(f[5], "/") && !strings.Contains(f[5], "/gander.") && !strings.HasPrefix(f[5], "/memfd:gander") && f[5] != exePath &&
			!strings.Contains(f[5], "/govictim") && !strings.Contains(f[5], "/libgander") {
			out = append(out, "mapped "+f[1]+" "+f[5])
		}
	}
	sort.Strings(out)
	os.WriteFile(path, []byte(strings.Join(out, "\n")+"\n"), 0o666)
}

var exePath, _ = os.Executable()

// run starts n goroutines that emit until the returned function is called.
func run(n int) (stop func()) {
	var wg sync.WaitGroup
	var over atomic.Bool
	started := make(chan bool, n)
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := newWriter()
			emit(w, 1)
			started <- true
			for !over.Load() {
				emit(w, 64)
				time.Sleep(50 * time.Microsecond)
			}
		}()
	}
	for i := 0; i < n; i++ {
		<-started
	}
	return func() { over.Store(true); wg.Wait() }
}

func plain() {
	emit(newWriter(), 20000)
	writeState()
}

func closeAll() {
	stop := run(4)
	for fd := 0; fd < 3; fd++ { // the runtime's own descriptors are the runtime's
		syscall.Close(fd)
	}
	emit(newWriter(), 5000)
	stop()
	writeState()
}

func goroutines() {
	// 100,000 short ones, as many at once as there are
	const wide = 1000
	for i := 0; i < 100*scale; i++ {
		var wg sync.WaitGroup
		first := atomic.AddUint32(&file.writers, wide) - wide
		for g := uint32(0); g < wide; g++ {
			wg.Add(1)
			go func(w uint32) {
				defer wg.Done()
				if gander.Off() != "" {
					file.writer[w].off = 1
				}
				emit(w, 3)
			}((first + g) % writers)
		}
		wg.Wait()
	}
	writeState()
}

func procs() {
	stop := run(8)
	for i := 0; i < 100*scale; i++ {
		runtime.GOMAXPROCS([]int{1, 128, 2, 13, 64, 3}[i%6])
		time.Sleep(time.Millisecond)
	}
	stop()
	runtime.GOMAXPROCS(2)
	writeState()
}

func collecting() {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	stop := run(4)
	done := make(chan bool)
	var garbage [64][]byte
	go func() {
		for i := 0; i < 200*scale; i++ {
			garbage[i%64] = make([]byte, 1<<16)
			runtime.GC()
		}
		close(done)
	}()
	<-done
	stop()
	writeState()
}

func execs() {
	stop := run(4)
	for i := 0; i < 10*scale; i++ {
		cmd := exec.Command(exePath, "leaf", "1")
		if err := cmd.Run(); err != nil {
			fail("exec", err)
		}
	}
	stop()
	writeState()
}

func leaf() { emit(newWriter(), 100) }

func signals() {
	c := make(chan os.Signal, 100)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGURG, syscall.SIGPROF)
	go func() {
		w := newWriter()
		for range c {
			emit(w, 1)
		}
	}()
	stop := run(4)
	for i := 0; i < 500*scale; i++ {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	signal.Stop(c)
	writeState()
}

func locked() {
	// goroutines that own their threads, and threads that end with them
	for i := 0; i < 100*scale; i++ {
		var wg sync.WaitGroup
		for g := 0; g < 8; g++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
				emit(newWriter(), 20)
			}()
		}
		wg.Wait()
	}
	writeState()
}

func stopped() {
	stop := run(4)
	atomic.StoreUint32(&file.stage, 1)
	for atomic.LoadUint32(&file.stage) < 2 {
		time.Sleep(time.Millisecond)
	}
	stop()
	writeState()
}

func panics() {
	w := newWriter()
	for i := 0; i < 1000*scale; i++ {
		func() {
			defer func() { recover() }()
			defer emit(w, 1)
			emit(w, 1)
			var p *int
			*p = 1
		}()
	}
	writeState()
}

func shmFills() {
	w := newWriter()
	emit(w, 1000)
	f, err := os.OpenFile("/dev/shm/filler", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fail("filler", err)
		return
	}
	for block := make([]byte, 65536); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	f.Close()
	emit(w, 200000)
	for i := 0; i < 300; i++ { // late declarations ask for memory that is not there
		gander.NewEvent0(fmt.Sprint("late.class.with.a.rather.long.name.", i), gander.Info).Emit()
	}
	emit(w, 1000)
	os.Remove("/dev/shm/filler")
	writeState()
}

// strict leaves what the runtime itself needs, and nothing that the agent could need: no file, no mapping of files, no lock, no clock but the vDSO's.
func strict() {
	type insn struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}
	w := newWriter()
	emit(w, 1000)
	writeState()
	forbidden := []uint32{syscall.SYS_OPENAT, syscall.SYS_OPEN, syscall.SYS_FLOCK, syscall.SYS_FTRUNCATE, syscall.SYS_FALLOCATE, syscall.SYS_CLOCK_GETTIME,
		syscall.SYS_IOCTL, syscall.SYS_SOCKET, syscall.SYS_PWRITE64, syscall.SYS_SENDTO, 318 /* getrandom */}
	prog := []insn{{0x20, 0, 0, 0}}
	for i, nr := range forbidden {
		prog = append(prog, insn{0x15, uint8(len(forbidden) - i), 0, nr})
	}
	prog = append(prog, insn{0x06, 0, 0, 0x7fff0000}, insn{0x06, 0, 0, 0x80000000})
	fprog := struct {
		n    uint16
		prog *insn
	}{uint16(len(prog)), &prog[0]}
	syscall.RawSyscall6(syscall.SYS_PRCTL, 38, 1, 0, 0, 0, 0)
	if _, _, e := syscall.RawSyscall(317, 1, 1, uintptr(unsafe.Pointer(&fprog))); e != 0 { // seccomp, of all threads
		fail("seccomp", e)
	}
	stop := run(4)
	emit(w, 50000)
	stop()
}

// more are the cases of other build tags.
var more = map[string]func(){}

func open(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(*file)), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err == nil {
		file = (*countFile)(unsafe.Pointer(&b[0]))
	}
	return err == nil
}

func play(name string) int {
	cases := map[string]func(){"plain": plain, "close-all": closeAll, "goroutines": goroutines, "procs": procs, "gc": collecting, "exec": execs, "leaf": leaf,
		"signals": signals, "locked": locked, "stopped": stopped, "panics": panics, "shm-fills": shmFills, "seccomp": strict, "and-c": more["and-c"]}
	if cases[name] == nil {
		return 2
	}
	cases[name]()
	if name != "leaf" {
		atomic.StoreUint32(&file.done, 1)
	}
	return 0
}

func main() {
	if len(os.Args) < 2 || !open(os.Getenv("TORTURE_COUNT")) {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0]), "CASE SCALE: the file of TORTURE_COUNT cannot be used")
		os.Exit(2)
	}
	if len(os.Args) > 2 {
		scale, _ = strconv.Atoi(os.Args[2])
	}
	os.Exit(play(os.Args[1]))
}
