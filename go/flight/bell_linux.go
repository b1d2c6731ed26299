//go:build go1.22 && linux && (amd64 || arm64)

package flight

import (
	"errors"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// bell is how somebody outside wakes the pilot: an anonymous pipe of which this program keeps one descriptor, open for reading and for writing. Who asks opens
// it by /proc and writes a byte, which says nothing: what is asked stands in the region. The runtime's poller waits for it, so it takes neither a thread nor a timer.
type bell struct {
	file     *os.File // never closed, and never let go: the program may have closed its number, which then is somebody else's
	conn     syscall.RawConn
	number   int
	dev, ino uint64
	dozing   atomic.Bool
}

var errGone = errors.New("flight: somebody has closed the pipe")

// hang makes the pipe.
func (b *bell) hang() error {
	const setPipeSize = 1031 // F_SETPIPE_SZ
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return err
	}
	defer syscall.Close(ends[0])
	defer syscall.Close(ends[1])
	// of the kernel's share of memory for this user's pipes, one page instead of sixteen
	syscall.Syscall(syscall.SYS_FCNTL, uintptr(ends[0]), setPipeSize, uintptr(os.Getpagesize()))
	fd, err := syscall.Open("/proc/self/fd/"+strconv.Itoa(ends[0]), syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var pipe syscall.Stat_t
	if err := syscall.Fstat(ends[0], &pipe); err != nil {
		syscall.Close(fd)
		return err
	}
	b.number, b.dev, b.ino = fd, uint64(pipe.Dev), pipe.Ino
	if !b.there(fd) { // a /proc that is none
		syscall.Close(fd)
		return errGone
	}
	file := os.NewFile(uintptr(fd), "gander.flight")
	conn, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // an error if the poller has not taken it
	}
	if err != nil {
		file.Close()
		return err
	}
	b.file, b.conn = file, conn
	return nil
}

// there says whether the number is still the pipe's: a program may close what it does not know.
func (b *bell) there(fd int) bool {
	var st syscall.Stat_t
	return syscall.Fstat(fd, &st) == nil && uint64(st.Dev) == b.dev && st.Ino == b.ino
}

// doze sleeps until somebody rings, wake has something, or d is over. An error means that nobody can ring any more.
func (b *bell) doze(d time.Duration, wake <-chan struct{}) error {
	b.dozing.Store(true)
	defer b.dozing.Store(false)
	if err := b.file.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	select {
	case <-wake:
		return nil
	default: // whoever puts something there from here on looks at dozing behind it, and rouses
	}
	var gone error
	err := b.conn.Read(func(fd uintptr) (rung bool) {
		rung, gone = b.heard(int(fd))
		return rung || gone != nil
	})
	select {
	case <-wake: // it has been that
	default:
	}
	if gone != nil {
		return gone
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// heard takes the bytes that have come, out of nothing but the pipe.
func (b *bell) heard(fd int) (bool, error) {
	var some [512]byte
	for b.there(fd) {
		n, err := syscall.Read(fd, some[:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false, nil
		case err != nil:
			return false, err
		}
		return n > 0, nil
	}
	return false, errGone
}

// rouse ends a doze, from inside the program.
func (b *bell) rouse() {
	if b.dozing.Load() {
		b.file.SetReadDeadline(time.Unix(1, 0))
	}
}
