//go:build go1.22 && linux && (amd64 || arm64)

package flight_test

import (
	"bytes"
	"errors"
	"io"
	"runtime/trace"
	"strings"
	"sync"
	"testing"
	"time"

	"gander.internal/gander"
	"gander.internal/gander/flight"
)

// busy makes goroutines wait for each other.
func busy(d time.Duration) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	until := time.Now().Add(d)
	for i := 0; i < 8; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(until) {
				mu.Lock()
				time.Sleep(10 * time.Microsecond)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
}

func takeOff(t *testing.T, o flight.Options) {
	t.Helper()
	if off := gander.Off(); off != "" {
		t.Skip("the agent is off: " + off)
	}
	if err := flight.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		flight.Stop()
		for end := time.Now().Add(time.Minute); flight.Flying(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it does not land")
			}
		}
	})
}

func TestWriteTo(t *testing.T) {
	if _, err := flight.WriteTo(io.Discard); !errors.Is(err, flight.ErrNotFlying) {
		t.Errorf("nobody has asked: %v", err)
	}
	takeOff(t, flight.Options{})
	if !flight.Flying() {
		t.Error("does not fly")
	}
	busy(300 * time.Millisecond)
	var b bytes.Buffer
	n, err := flight.WriteTo(&b)
	if err != nil || n != int64(b.Len()) || !strings.HasPrefix(b.String(), "go 1.2") {
		t.Fatal(n, b.Len(), err)
	}
	for _, text := range []string{"busy.func", "flight_test.go"} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("%q is not in the trace", text)
		}
	}
}

// A ring of a few packets goes on for ever.
func TestSmallRing(t *testing.T) {
	takeOff(t, flight.Options{MaxBytes: 1, Period: time.Millisecond})
	busy(500 * time.Millisecond)
	var b bytes.Buffer
	if _, err := flight.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 4<<16 {
		t.Errorf("%d bytes out of 4 packets", b.Len())
	}
}

// The runtime has one place for a trace's writer.
func TestTaken(t *testing.T) {
	if gander.Off() != "" {
		t.Skip("the agent is off")
	}
	if err := trace.Start(io.Discard); err != nil {
		t.Skip(err)
	}
	err := flight.Start(flight.Options{})
	trace.Stop()
	flight.Stop()
	if err == nil || !strings.Contains(err.Error(), "already enabled") {
		t.Errorf("beside somebody else: %v", err)
	}
	takeOff(t, flight.Options{})
	if err := trace.Start(io.Discard); err == nil {
		trace.Stop()
		t.Error("somebody else may start while it flies")
	}
	// somebody who stops what he has not started
	trace.Stop()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var b bytes.Buffer
		if _, err := flight.WriteTo(&b); err == nil && b.Len() > 1000 && trace.IsEnabled() {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not start again")
		}
	}
}

func TestSnapshot(t *testing.T) {
	if err := flight.Snapshot("none"); !errors.Is(err, flight.ErrNotFlying) {
		t.Errorf("nobody has asked: %v", err)
	}
	takeOff(t, flight.Options{})
	busy(100 * time.Millisecond)
	if err := flight.Snapshot("first"); errors.Is(err, flight.ErrWaiting) {
		t.Skip("an earlier run's has not been taken")
	} else if err != nil {
		t.Fatal(err)
	}
	if err := flight.Snapshot("second"); !errors.Is(err, flight.ErrWaiting) {
		t.Errorf("nobody has taken the first: %v", err)
	}
	var b bytes.Buffer
	busy(100 * time.Millisecond)
	if _, err := flight.WriteTo(&b); err != nil || !strings.Contains(b.String(), "busy.func") {
		t.Errorf("the ring goes on: %v, %d bytes", err, b.Len())
	}
}
