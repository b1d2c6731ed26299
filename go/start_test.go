//go:build linux && (amd64 || arm64)

package gander

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
)

// idleChild says why it is off and how much it can emit, and waits for the end of its standard input.
func idleChild() {
	for i := uint32(0); i < 10; i++ {
		evTick.Emit(i, uint64(i))
	}
	fmt.Printf("off=%s\n", Off())
	io.Copy(io.Discard, os.Stdin)
}

type child struct {
	*exec.Cmd
	off string
}

// startChild runs this test program as an idle one, under sh with a command before.
func startChild(t *testing.T, before string, env ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command("/bin/sh", "-c", before+` exec "$0" -test.run='^$'`, os.Args[0])}
	c.Env = append(append(os.Environ(), "GANDER_TEST_CHILD=idle"), env...)
	c.Stderr = os.Stderr
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "off=") {
		if strings.Contains(line, "exec format") || err == io.EOF && os.Getenv("GANDER_EMULATED") != "" {
			t.Skip("an emulated program cannot start another")
		}
		t.Fatalf("child: %q, %v", line, err)
	}
	c.off = strings.TrimSpace(line[4:])
	return c
}

func (c *child) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", c.Process.Pid, name) }

// What the agent adds to a program that nobody records: no descriptor, 16 KiB.
func TestFootprint(t *testing.T) {
	openSelf(t)
	c := startChild(t, "")
	r, err := regiontest.Find(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(r.Path)
	defer r.Close()
	var st syscall.Stat_t
	if err := syscall.Stat(r.Path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > 16<<10 {
		t.Errorf("the region has %d bytes", st.Blocks*512)
	}
	fds, _ := os.ReadDir(c.proc("fd"))
	for _, fd := range fds {
		if to, _ := os.Readlink(c.proc("fd/" + fd.Name())); strings.Contains(to, "gander.") {
			t.Errorf("descriptor %s is %s", fd.Name(), to)
		}
	}
	if r.Header().Flags&region.FlagBorn != 0 || r.Channel(0).State != region.ChannelOff {
		t.Error("enabled by nobody")
	}
}

func TestOffReason(t *testing.T) {
	openSelf(t)
	c := startChild(t, "ulimit -f 1000;")
	if c.off != "file-size-limit" {
		t.Errorf("off: %q", c.off)
	}
	maps, _ := os.ReadFile(c.proc("maps"))
	if !strings.Contains(string(maps), "memfd:"+region.OffPrefix+"file-size-limit") {
		t.Errorf("the reason is not mapped:\n%s", maps)
	}
	// a limit that leaves room for fewer packets
	c = startChild(t, "ulimit -f 20000;")
	r, err := regiontest.Find(c.Process.Pid)
	if c.off != "" || err != nil {
		t.Fatalf("off: %q, %v", c.off, err)
	}
	defer os.Remove(r.Path)
	defer r.Close()
	if n := r.Header().Npackets; n == 0 || n >= region.PacketsMax || r.Header().RegionSize != region.MetaSize+uint64(n)*region.PacketSize {
		t.Errorf("%d packets", n)
	}
}

func TestSession(t *testing.T) {
	openSelf(t)
	good := regiontest.Config{Packets: 4, Context: region.CtxGoid, Include: []string{"test.tick"}}.Session()
	raw, _ := base64.RawStdEncoding.DecodeString(good[2:])
	broken := func(change func(b []byte) []byte) string {
		return "1:" + base64.RawStdEncoding.EncodeToString(change(append([]byte{}, raw...)))
	}
	for _, c := range []struct {
		name, session string
		born          bool
	}{
		{"good", good, true},
		{"empty", "", false},
		{"version", "2:" + good[2:], false},
		{"base64", "1:!!!!", false},
		{"short", good[:20], false},
		{"long", "1:" + strings.Repeat("A", 100000), false},
		{"magic", broken(func(b []byte) []byte { b[0]++; return b }), false},
		{"size", broken(func(b []byte) []byte { b[4]++; return b }), false},
		{"cut", broken(func(b []byte) []byte { return b[:len(b)-1] }), false},
		{"rules", broken(func(b []byte) []byte { b[48] = 0xff; b[51] = 0xff; return b }), false},
		{"filters", broken(func(b []byte) []byte { b[52] = 1; b[55] = 0xff; return b }), false},
		{"many packets", broken(func(b []byte) []byte { b[44], b[45], b[46], b[47] = 8, 0, 0, 0x80; return b }), true},
		{"filter offset", broken(func(b []byte) []byte { b[56+4], b[56+7] = 0xff, 0xff; return b }), true},
	} {
		child := startChild(t, "", region.SessionEnv+"="+c.session)
		r, err := regiontest.Find(child.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		r.Hold(0)
		born := r.Header().Flags&region.FlagBorn != 0
		if born != c.born || child.off != "" {
			t.Errorf("%s: born %v, off %q", c.name, born, child.off)
		}
		if notes := r.Notes(); !born && len(notes) != 1 {
			t.Errorf("%s: notes %q", c.name, notes)
		}
		events, err := r.Events(0)
		if want := map[string]int{"good": 10, "many packets": 10}[c.name]; err != nil || len(events) != want {
			t.Errorf("%s: %d events, %v", c.name, len(events), err)
		}
		if h := r.Header(); born && (h.StartTicks == 0 || h.BootId == [16]byte{} || h.Session[0] != 1) {
			t.Errorf("%s: the header lacks what tells the process", c.name)
		}
		os.Remove(r.Path)
		r.Close()
	}
}

func TestDead(t *testing.T) {
	openSelf(t)
	later := time.Now().Unix() + 2*deadAge
	if deadAt(t, regionPath, later) {
		t.Error("a living program's region is taken for dead")
	}
	c := startChild(t, "")
	r, err := regiontest.Find(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(r.Path)
	r.Close()
	if deadAt(t, r.Path, later) {
		t.Error("a living child's region is taken for dead")
	}
	c.Process.Kill()
	c.Process.Wait()
	if deadAt(t, r.Path, time.Now().Unix()) {
		t.Error("a young region is removed")
	}
	if !deadAt(t, r.Path, later) {
		t.Error("a dead program's region is kept")
	}
	link := t.TempDir() + "/link"
	os.Symlink(r.Path, link)
	if deadAt(t, link, later) {
		t.Error("a symbolic link is followed")
	}
	other := t.TempDir() + "/other"
	os.WriteFile(other, []byte("something that is no region"), 0o600)
	if deadAt(t, other, later) {
		t.Error("a foreign file is removed")
	}
	fifo := t.TempDir() + "/fifo"
	if syscall.Mkfifo(fifo, 0o600) == nil && deadAt(t, fifo, later) {
		t.Error("a pipe is taken for a region")
	}
}

// A class that needs more of the table and of the heap than there was at the start finds its memory.
func TestManyClasses(t *testing.T) {
	r := openSelf(t)
	last := NewEvent0("many.first", Info)
	for i := 0; i < 200; i++ {
		last = NewEvent0(fmt.Sprintf("many.%d.%s", i, strings.Repeat("x", 100)), Info)
	}
	if last.class == off || r.Desc(int(last.class.id)).Name != "many.199."+strings.Repeat("x", 100) {
		t.Error("not declared")
	}
}

// In a tmpfs that is full the agent is off, or refuses classes; the program runs on.
func TestFullTmpfs(t *testing.T) {
	openSelf(t)
	for _, c := range []struct {
		size, off string
		declared  int
	}{{"8k", "tmpfs-full-ENOSPC", 0}, {"24k", "", 2000}} {
		cmd := exec.Command("unshare", "-m", "/bin/sh", "-c", "mount -t tmpfs -o size="+c.size+" none /dev/shm && exec \"$0\" -test.run='^$'", os.Args[0])
		cmd.Env = append(os.Environ(), "GANDER_TEST_CHILD=declare")
		out, err := cmd.Output()
		if err != nil {
			if strings.HasPrefix(string(out), "off=") {
				t.Fatalf("%s: %v", c.size, err)
			}
			t.Skip("no mount namespace of its own: ", err)
		}
		var off string
		var declared, refused int
		if n, err := fmt.Sscanf(string(out), "off=%q declared=%d refused=%d", &off, &declared, &refused); n != 3 {
			t.Fatalf("%s: %q, %v", c.size, out, err)
		}
		if off != c.off || (c.off == "") != (declared > 50 && refused > 0) || (c.off == "" && declared+refused != c.declared) {
			t.Errorf("%s: %s", c.size, out)
		}
	}
}

// declareChild declares many classes and says how many it got.
func declareChild() {
	declared, refused := 0, 0
	for i := 0; i < 2000; i++ {
		ev := NewEvent0(fmt.Sprintf("declare.%d", i), Info)
		ev.Emit()
		if ev.class == off {
			refused++
		} else {
			declared++
		}
	}
	fmt.Printf("off=%q declared=%d refused=%d\n", Off(), declared, refused)
}

// The search that a release of Go with another layout would need finds what the known releases have.
func TestOffsets(t *testing.T) {
	openSelf(t)
	if off := searchGoid(); off == 0 || off != live.goid {
		t.Errorf("the goroutine's id is at %d, found at %d", live.goid, off)
	}
	done := make(chan bool)
	for i := 0; i < 20; i++ {
		go func() {
			procPin()
			tid, want := uint32(mword(live.procid)), uint32(syscall.Gettid())
			procUnpin()
			if id := stackGoid(); id != 0 && gword(live.goid) != id {
				t.Errorf("goroutine %d reads %d", id, gword(live.goid))
			}
			if tid != want {
				t.Errorf("thread %d reads %d", want, tid)
			}
			done <- true
		}()
	}
	for i := 0; i < 20; i++ {
		<-done
	}
}

func deadAt(t *testing.T, path string, now int64) bool {
	t.Helper()
	dir, err := syscall.Open(filepath.Dir(path), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(dir)
	return isDead(dir, filepath.Base(path), now)
}
