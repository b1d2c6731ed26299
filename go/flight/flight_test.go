package flight_test

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"gander.internal/gander/flight"
)

func busy(until time.Time) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := 0; i < 8; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(until) {
				mu.Lock()
				x := fmt.Sprint(time.Now())
				mu.Unlock()
				_ = x
				time.Sleep(time.Millisecond)
			}
		}()
	}
	wg.Wait()
}

func TestWriteTo(t *testing.T) {
	if err := flight.Start(flight.Options{}); err != nil {
		t.Fatal(err)
	}
	busy(time.Now().Add(2 * time.Second))
	var b bytes.Buffer
	n, err := flight.WriteTo(&b)
	t.Log(n, err)
	os.WriteFile("/tmp/flt/x.trace", b.Bytes(), 0644)
	flight.Stop()
}
