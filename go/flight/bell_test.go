//go:build go1.22 && linux && (amd64 || arm64)

package flight

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

const never = 24 * time.Hour // what wakes within a test is no timer

var hung []*bell // as the pilot's, none is ever let go

func hangBell(t *testing.T) *bell {
	t.Helper()
	b := new(bell)
	if err := b.hang(); err != nil {
		t.Fatal(err)
	}
	hung = append(hung, b)
	return b
}

// doze does so in a goroutine of its own; what it returns comes when it sleeps no more.
func doze(b *bell, wake chan struct{}) chan error {
	done := make(chan error)
	go func() { done <- b.doze(never, wake) }()
	return done
}

func awake(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Minute):
		t.Fatal("it goes on sleeping")
		return nil
	}
}

// asleep waits until it dozes, and looks for a while whether it goes on.
func asleep(t *testing.T, b *bell, done chan error) {
	t.Helper()
	for !b.dozing.Load() {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-done:
		t.Fatal("nobody has rung: ", err)
	case <-time.After(50 * time.Millisecond):
	}
}

// press is what a collector does.
func press(t *testing.T, b *bell) {
	t.Helper()
	fd, err := syscall.Open(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.number), syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if _, err := syscall.Write(fd, []byte{0}); err != nil && err != syscall.EAGAIN {
		t.Fatal(err)
	}
}

func TestBell(t *testing.T) {
	b := hangBell(t)
	for i := 0; i < 20; i++ {
		done := doze(b, nil)
		if i < 2 {
			asleep(t, b, done)
		}
		press(t, b)
		if err := awake(t, done); err != nil {
			t.Fatal(err)
		}
	}
	// before it sleeps, and more often than the pipe has room for
	for i := 0; i < 5000; i++ {
		press(t, b)
	}
	for n := 0; ; n++ {
		var st syscall.Stat_t
		if got, err := b.heard(b.number); err != nil || syscall.Fstat(b.number, &st) != nil {
			t.Fatal(err)
		} else if !got {
			break
		} else if n > 1000 {
			t.Fatal("there is no end")
		}
	}
	done := doze(b, nil)
	asleep(t, b, done)
	b.rouse()
	if err := awake(t, done); err != nil {
		t.Fatal(err)
	}
	if err := b.doze(time.Millisecond, nil); err != nil {
		t.Error("the time is over:", err)
	}
}

// Somebody in the program has something, at any moment of the pilot's falling asleep.
func TestRouse(t *testing.T) {
	b := hangBell(t)
	wake := make(chan struct{}, 1)
	for i := 0; i < 2000; i++ {
		done := doze(b, wake)
		for k := 0; k < i%50; k++ {
			b.dozing.Load()
		}
		wake <- struct{}{}
		b.rouse()
		if err := awake(t, done); err != nil {
			t.Fatal(err)
		}
	}
}

// A program that closes what it does not know: the number is nobody's, or somebody else's.
func TestBellClosed(t *testing.T) {
	b := hangBell(t)
	done := doze(b, nil)
	asleep(t, b, done)
	var other [2]int
	if err := syscall.Pipe2(other[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(b.number); err != nil {
		t.Fatal(err)
	}
	b.rouse()
	if err := awake(t, done); err != nil {
		t.Error("closed while it dozed:", err)
	}
	if err := b.doze(never, nil); !errors.Is(err, errGone) {
		t.Error("closed:", err)
	}
	text := []byte("somebody else's")
	syscall.Write(other[1], text)
	if err := syscall.Dup3(other[0], b.number, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := b.doze(never, nil); !errors.Is(err, errGone) {
		t.Error("somebody else's:", err)
	}
	got := make([]byte, 100)
	if n, err := syscall.Read(b.number, got); err != nil || !bytes.Equal(got[:n], text) {
		t.Errorf("of somebody else's pipe is left %q, %v", got[:max(n, 0)], err)
	}
	for _, fd := range []int{b.number, other[0], other[1]} {
		syscall.Close(fd)
	}
}

// One descriptor, which no child gets.
func TestBellInChild(t *testing.T) {
	entries := func() map[string]bool {
		all := map[string]bool{}
		dir, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range dir {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
				all[e.Name()+" "+to] = true
			}
		}
		return all
	}
	hangBell(t) // with it the runtime's poller is there
	before := entries()
	b := hangBell(t)
	var more []string
	for e := range entries() {
		if !before[e] {
			more = append(more, e)
		}
	}
	if want := fmt.Sprintf("%d pipe:[%d]", b.number, b.ino); len(more) != 1 || more[0] != want {
		t.Errorf("it adds %q instead of %q", more, want)
	}
	out, err := exec.Command("sh", "-c", "ls -l /proc/self/fd").Output()
	if err != nil {
		t.Skip(err)
	}
	for _, b := range hung {
		if bytes.Contains(out, []byte(fmt.Sprintf("pipe:[%d]", b.ino))) {
			t.Errorf("a child has it: %s", out)
		}
	}
}
