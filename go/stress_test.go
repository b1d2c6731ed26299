//go:build linux && (amd64 || arm64)

package gander

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
)

var evStress = NewEvent4[uint32, uint64, string, []uint16]("stress.event", Info, "who", "n", "text", "seq")

const stressText = "the quick brown fox jumps over the lazy dog, again and again and again"

// emitStress is event n of goroutine who: everything in it follows from the two, so that a torn one shows.
func emitStress(who uint32, n uint64, seq *[8]uint16) {
	for i := range seq {
		seq[i] = uint16(n + uint64(i))
	}
	evStress.Emit(who, n, stressText[:n%uint64(len(stressText))], seq[:n%9])
}

// checkStress reads the stress events of channel c: none torn, none twice. It returns per goroutine which arrived.
func checkStress(r *regiontest.Region, c int) (seen map[uint32]map[uint64]bool, err error) {
	seen = map[uint32]map[uint64]bool{}
	events, err := r.Events(c)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		who, n := uint32(e.Fields["who"].(uint64)), e.Fields["n"].(uint64)
		if text := e.Fields["text"]; text != stressText[:n%uint64(len(stressText))] {
			return nil, fmt.Errorf("event %d of %d is torn: %v", n, who, text)
		}
		seq := e.Fields["seq"].([]any)
		if len(seq) != int(n%9) {
			return nil, fmt.Errorf("event %d of %d is torn: %d elements", n, who, len(seq))
		}
		for i, v := range seq {
			if v != uint64(uint16(n+uint64(i))) {
				return nil, fmt.Errorf("event %d of %d is torn: element %d is %v", n, who, i, v)
			}
		}
		if seen[who] == nil {
			seen[who] = map[uint64]bool{}
		}
		if seen[who][n] {
			return nil, fmt.Errorf("event %d of %d is there twice", n, who)
		}
		seen[who][n] = true
	}
	return seen, nil
}

// churn changes GOMAXPROCS and collects garbage until stop is closed.
func churn(stop chan bool, done *sync.WaitGroup) {
	defer done.Done()
	n := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(n)
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
			runtime.GOMAXPROCS(1 + i%13)
			runtime.GC()
		}
	}
}

func TestStress(t *testing.T) {
	r := enable(t, 7, regiontest.Config{Context: region.CtxTid | region.CtxGoid, Packets: 128, Include: []string{"stress.*"}})
	const goroutines = 24
	each := uint64(2000)
	stop := make(chan bool)
	var wg, extra sync.WaitGroup
	extra.Add(1)
	go churn(stop, &extra)
	for g := uint32(0); g < goroutines; g++ {
		wg.Add(1)
		go func(g uint32) {
			defer wg.Done()
			var seq [8]uint16
			for n := uint64(0); n < each; n++ {
				emitStress(g, n, &seq)
				if n%97 == 0 {
					runtime.Gosched()
				}
			}
		}(g)
	}
	wg.Wait()
	close(stop)
	extra.Wait()
	seen, err := checkStress(r, 7)
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, s := range seen {
		total += uint64(len(s))
	}
	lost := r.Lost(7)
	if total+lost[region.LostFull] != goroutines*each || lost[region.LostOther] != 0 {
		t.Fatalf("%d events, lost %v, emitted %d", total, lost, goroutines*each)
	}
	t.Logf("%d events, lost %v", total, lost)
}

// More Ps than the table has slots: what those beyond it emit is counted as lost.
func TestManyPs(t *testing.T) {
	r := enable(t, 7, regiontest.Config{Packets: 128, Include: []string{"stress.*"}})
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(region.Slots + 64))
	var emitted uint64
	var wg sync.WaitGroup
	before := r.Lost(7)
	lost := func(reason int) uint64 { return r.Lost(7)[reason] - before[reason] }
	stop := time.Now().Add(3 * time.Second)
	for g := uint32(0); g < region.Slots+64; g++ {
		wg.Add(1)
		go func(g uint32) {
			defer wg.Done()
			var seq [8]uint16
			for n := uint64(0); lost(region.LostSlot) < 10 && time.Now().Before(stop); n++ {
				emitStress(g, n, &seq)
				atomic.AddUint64(&emitted, 1)
				// keep this P busy for a while, so that others are taken into use
				for end := time.Now().Add(100 * time.Microsecond); time.Now().Before(end); {
				}
			}
		}(g)
	}
	wg.Wait()
	seen, err := checkStress(r, 7)
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, s := range seen {
		total += uint64(len(s))
	}
	if total+lost(region.LostFull)+lost(region.LostSlot) != emitted || lost(region.LostOther) != 0 {
		t.Errorf("%d events, lost %v, emitted %d", total, r.Lost(7), emitted)
	}
	if lost(region.LostSlot) == 0 {
		t.Skip("the runtime never used more than 256 Ps")
	}
}

// Recordings do not disturb each other: three at once, each with its own contexts, rules and mode.
func TestChannels(t *testing.T) {
	a := enable(t, 1, regiontest.Config{Context: region.CtxTid | region.CtxGoid, Packets: 32, Include: []string{"stress.*"}})
	b := enable(t, 2, regiontest.Config{Context: region.CtxAll, StackDepth: 8, Packets: 64, Include: []string{"stress.*", "test.tick"}})
	enable(t, 3, regiontest.Config{Mode: region.ModeCount, Packets: 8, Include: []string{"stress.*"}, Count: true})
	counted := b.Count(3, int(evStress.class.id))
	var seq [8]uint16
	for n := uint64(0); n < 3000; n++ {
		emitStress(1, n, &seq)
		evTick.Emit(1, n)
	}
	seen, err := checkStress(a, 1)
	if err != nil || len(seen[1]) != 3000 {
		t.Errorf("channel 1: %d events, %v", len(seen[1]), err)
	}
	events, err := b.Events(2)
	if err != nil || len(events) != 6000 || len(events[0].Stack) < 2 {
		t.Errorf("channel 2: %d events, %v", len(events), err)
	}
	if n := b.Count(3, int(evStress.class.id)) - counted; n != 3000 {
		t.Errorf("channel 3 counted %d", n)
	}
}

// killChild is the program that TestKill kills: it emits as fast as it can from many goroutines, each saying in a shared page how
// far it is.
func killChild(progress string) {
	f, err := os.OpenFile(progress, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	page, err := syscall.Mmap(int(f.Fd()), 0, killGoroutines*64, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	f.Close()
	for g := uint32(0); g < killGoroutines; g++ {
		go func(g uint32) {
			var seq [8]uint16
			done := (*uint64)(unsafe.Pointer(&page[g*64]))
			for n := uint64(0); ; n++ {
				emitStress(g, n, &seq)
				atomic.StoreUint64(done, n+1)
				if n%5000 == 0 {
					time.Sleep(time.Microsecond)
				}
			}
		}(g)
	}
	var wg sync.WaitGroup
	wg.Add(1)
	churn(make(chan bool), &wg)
}

const killGoroutines = 8

// A program that is killed at a random instant has lost no event that it had emitted, and none is torn or doubled.
func TestKill(t *testing.T) {
	if why := Off(); why != "" {
		t.Skip("no region: " + why)
	}
	rounds := 10
	if s := os.Getenv("GANDER_KILLS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	total := 0
	for round := 0; round < rounds; round++ {
		total += killOnce(t)
	}
	t.Logf("%d kills, %d events", rounds, total)
}

func killOnce(t *testing.T) int {
	progress := t.TempDir() + "/progress"
	if err := os.WriteFile(progress, make([]byte, killGoroutines*64), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := regiontest.Config{Packets: 64, Context: region.CtxGoid, Include: []string{"stress.*"}}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GANDER_TEST_CHILD="+progress, region.SessionEnv+"="+cfg.Session())
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("an emulated program cannot start another")
		}
		t.Fatal(err)
	}
	r, err := regiontest.Find(cmd.Process.Pid)
	if err == nil {
		r.Hold(0)
		time.Sleep(time.Duration(rand.Intn(12000)) * time.Microsecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(r.Path)
	defer r.Close()
	seen, err := checkStress(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(progress)
	lost, n := r.Lost(0), 0
	missing := uint64(0)
	for g := uint32(0); g < killGoroutines; g++ {
		for i := uint64(0); i < le64(b[g*64:]); i++ {
			if !seen[g][i] {
				missing++
			}
		}
		n += len(seen[g])
	}
	// of a loss it is known only that it happened
	if missing > lost[region.LostFull] {
		t.Fatalf("%d events missing, lost %v", missing, lost)
	}
	return n
}

func TestMain(m *testing.M) {
	switch as := os.Getenv("GANDER_TEST_CHILD"); as {
	case "":
	case "idle":
		idleChild()
		os.Exit(0)
	case "declare":
		declareChild()
		os.Exit(0)
	default:
		killChild(as)
	}
	code := m.Run()
	if strings.HasPrefix(regionPath, "/") {
		os.Remove(regionPath)
	}
	os.Exit(code)
}
