// gotarget GOROUTINES SECONDS: what target.c is, in Go: emits while somebody else writes into its region, with canaries beside each
// mapping of it. Says "ready", and begins when a line comes in; at the end "done EVENTS LONGEST_NS". A fault ends it.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	gander "gander.internal/gander"
	"gander.internal/gander/ganderslog"
)

var (
	onWord = gander.NewEvent2[uint32, uint64]("hostile.word", gander.Info, "a", "b")
	onText = gander.NewEvent3[uint32, string, uint64]("hostile.text", gander.Debug, "a", "text", "b")
	onNone = gander.NewEvent0("hostile.none", gander.Info)
	onMany = gander.NewEvent5[uint32, uint64, string, []uint64, string]("hostile.many", gander.Info, "a", "b", "c", "d", "e")
)

const canaryBytes = 1 << 20

var canaries [][]uint64

func putCanary(at uintptr) {
	flags := uintptr(syscall.MAP_PRIVATE | syscall.MAP_ANONYMOUS)
	if at != 0 {
		flags |= 0x100000 // MAP_FIXED_NOREPLACE
	}
	p, _, errno := syscall.Syscall6(syscall.SYS_MMAP, at, canaryBytes, syscall.PROT_READ|syscall.PROT_WRITE, flags, ^uintptr(0), 0)
	if errno != 0 {
		return
	}
	c := unsafe.Slice((*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), canaryBytes/8)
	for i := range c {
		c[i] = 0x5ca1ab1e00000000 + uint64(i)
	}
	canaries = append(canaries, c)
}

func putCanaries() {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	var sides []uintptr
	for in := bufio.NewScanner(f); in.Scan(); {
		if line := in.Text(); strings.Contains(line, "/dev/shm/gander.") {
			from, to, _ := strings.Cut(strings.Fields(line)[0], "-")
			lo, _ := strconv.ParseUint(from, 16, 64)
			hi, _ := strconv.ParseUint(to, 16, 64)
			sides = append(sides, uintptr(lo)-canaryBytes, uintptr(hi))
		}
	}
	for _, at := range sides {
		putCanary(at)
	}
	for i := 0; i < 8; i++ {
		putCanary(0)
	}
}

func dead() (n int) {
	for _, c := range canaries {
		for i := range c {
			if c[i] != 0x5ca1ab1e00000000+uint64(i) {
				n++
			}
		}
	}
	return n
}

func main() {
	goroutines, _ := strconv.Atoi(os.Args[1])
	seconds, _ := strconv.ParseFloat(os.Args[2], 64)
	if why := gander.Off(); why != "" {
		fmt.Fprintln(os.Stderr, "off:", why)
		os.Exit(3)
	}
	putCanaries()
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		os.Exit(1)
	}
	var events, longest atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	log := slog.New(ganderslog.NewHandler(nil))
	huge := strings.Repeat("h", 70000)
	texts := []string{"", "seven77", "a longer text, so that events have many lengths"}
	runtime.GOMAXPROCS(4)
	for g := 0; g < goroutines; g++ {
		wg.Add(1)
		go func(a uint32) {
			defer wg.Done()
			worst := time.Duration(0)
			n := uint64(0)
			ctx := context.Background()
			seq := make([]uint64, 9)
			for ; !stop.Load(); n++ {
				before := time.Now()
				onWord.Emit(a, n)
				onText.Emit(a, texts[n%3], n)
				onNone.Emit()
				if n%256 == 255 {
					onText.Emit(a, huge, n) // longer than an event may be
				}
				onMany.Emit(a, n, texts[n%3], seq[:n%9], "constant")
				onMany.EmitContext(gander.WithKey(ctx, n), a, n, "", seq[:1], "")
				log.Info("hostile", "n", n)
				worst = max(worst, time.Since(before))
			}
			events.Add(int64(n) * 6)
			for old := longest.Load(); int64(worst) > old && !longest.CompareAndSwap(old, int64(worst)); old = longest.Load() {
			}
		}(uint32(g))
	}
	end := time.Now().Add(time.Duration(seconds * 1e9))
	for i := 0; time.Now().Before(end); i++ {
		gander.NewEvent0("hostile.late."+strconv.Itoa(i%3000), gander.Info).Emit()
		if i%32 == 0 {
			runtime.GOMAXPROCS(1 + i/32%8)
			runtime.GC()
		}
		time.Sleep(500 * time.Microsecond)
	}
	stop.Store(true)
	wg.Wait()
	if n := dead(); n != 0 {
		fmt.Fprintln(os.Stderr, n, "words outside of the region were written")
		os.Exit(1)
	}
	fmt.Println("done", events.Load(), longest.Load())
}
