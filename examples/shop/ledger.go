package main

import (
	"encoding/json"
	"os"
	"sync"
	"time"
)

// A ledger notes the newest orders and writes them to a file now and then. It has a mistake, planted for gander to find: save holds the lock
// while it waits for the disk, so an order that comes meanwhile waits for the disk too, though it only wants to be noted.
type ledger struct {
	mu     sync.Mutex
	orders []order
	file   *os.File
}

const (
	ledgerSize = 1000
	saveTime   = 400 * time.Millisecond
)

func newLedger(path string) (*ledger, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &ledger{file: f}, nil
}

func (l *ledger) note(o order) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.orders) == ledgerSize {
		l.orders = l.orders[1:]
	}
	l.orders = append(l.orders, o)
}

// save puts the orders on the disk, one by one. On a fast disk it begins again until its time is over, so that the mistake shows on any.
func (l *ledger) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for start := time.Now(); ; {
		for i, o := range l.orders {
			line, err := json.Marshal(o)
			if err != nil {
				return err
			}
			if _, err := l.file.WriteAt(append(line, '\n'), int64(i)*100); err != nil {
				return err
			}
			if err := l.file.Sync(); err != nil {
				return err
			}
			if time.Since(start) > saveTime {
				return nil
			}
		}
		if len(l.orders) == 0 {
			return nil
		}
	}
}

// run saves for as long as the program runs.
func (l *ledger) run(every time.Duration, failed func(error)) {
	for range time.Tick(every) {
		if err := l.save(); err != nil {
			failed(err)
			return
		}
	}
}
