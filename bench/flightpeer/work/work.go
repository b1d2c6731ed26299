// Package work is what the peers of the flight recorder do: it imports nothing of gander.
package work

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Hand passes n messages between four pairs of goroutines, with some work on each.
func Hand(n int) {
	var wg sync.WaitGroup
	for i := 0; i < 4; i++ {
		there, back := make(chan [32]byte), make(chan [32]byte)
		wg.Add(2)
		go func() {
			defer wg.Done()
			var page [4096]byte
			for k := 0; k < n; k++ {
				there <- sha256.Sum256(page[:])
				page[0] = (<-back)[0]
			}
			close(there)
		}()
		go func() {
			defer wg.Done()
			for sum := range there {
				back <- sha256.Sum256(sum[:])
			}
		}()
	}
	wg.Wait()
}

// Serve answers one request every half a millisecond and returns how long each took, in nanoseconds, in order of size.
func Serve(d time.Duration) []int64 {
	var took []int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	ticker := time.NewTicker(500 * time.Microsecond)
	defer ticker.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		start := <-ticker.C
		wg.Add(1)
		go func() {
			defer wg.Done()
			var page [8192]byte
			sum := sha256.Sum256(page[:])
			mu.Lock()
			took = append(took, int64(time.Since(start))+int64(sum[0]&0))
			mu.Unlock()
		}()
	}
	wg.Wait()
	sort.Slice(took, func(i, k int) bool { return took[i] < took[k] })
	return took
}

// Rusage is the CPU that this process has used, in nanoseconds.
func Rusage() int64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}

// Status is a number of /proc/self/status: VmHWM, VmRSS (KiB), Threads.
func Status(name string) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if rest, ok := strings.CutPrefix(in.Text(), name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// Idle does nothing for d, and says what it has.
func Idle(d time.Duration) {
	time.Sleep(d)
	descriptors, _ := os.ReadDir("/proc/self/fd")
	Print(map[string]any{"descriptors": len(descriptors), "threads": Status("Threads"), "rss_kib": Status("VmRSS"), "goroutines": runtime.NumGoroutine()})
}

// Print writes one line of JSON.
func Print(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
