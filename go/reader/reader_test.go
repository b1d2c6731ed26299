package reader

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const testMetadata = `/* CTF 1.8 */

typealias integer { size = 8; align = 8; signed = false; byte_order = le; } := u8_t;
typealias integer { size = 16; align = 8; signed = false; byte_order = le; } := u16_t;
typealias integer { size = 32; align = 8; signed = false; byte_order = le; } := u32_t;
typealias integer { size = 64; align = 8; signed = false; byte_order = le; } := u64_t;
typealias integer { size = 64; align = 8; signed = true; byte_order = le; } := i64_t;
typealias integer { size = 8; align = 8; signed = false; encoding = UTF8; } := utf8_t;
typealias floating_point { exp_dig = 11; mant_dig = 53; align = 8; byte_order = le; } := f64_t;

trace { major = 1; minor = 8; byte_order = le; uuid = "0e7793be-9c19-4be0-974c-c25615f561ac";
	packet.header := struct { u32_t magic; u8_t uuid[16]; u32_t stream_id; u64_t stream_instance_id; };
};
env { domain = "ust"; vpid = 1234; procname = "a\"b\052"; };
clock { name = monotonic; freq = 2000000000; offset_s = 100; offset = 500; };
stream { id = 0; /*@cut*/
	packet.context := struct {
		integer { size = 64; align = 8; signed = false; byte_order = le; map = clock.monotonic.value; } timestamp_begin;
		integer { size = 64; align = 8; signed = false; byte_order = le; map = clock.monotonic.value; } timestamp_end;
		u64_t content_size; u64_t packet_size; u64_t packet_seq_num; u64_t events_discarded; };
	event.header := struct {
		integer { size = 15; align = 8; signed = false; byte_order = le; base = 10; } id;
		integer { size = 48; align = 8; signed = false; byte_order = le; base = 10; map = clock.monotonic.value; } timestamp; };
	event.context := struct { u64_t _goid; };
};
event { name = "a.end"; id = 0; stream_id = 0; loglevel = 14; /*@span end*/
	fields := struct {
		u64_t _duration; /*@duration*/
		u16_t _attr__length; /*@length*/
		struct {
			u16_t _key__length; /*@length*/
			utf8_t _key[_key__length];
			enum : u8_t { "i64" = 0, "text" = 4 } _tag;
			variant <_tag> {
				i64_t i64;
				struct { u16_t _text__length; /*@length*/ utf8_t _text[_text__length]; } text; /*@wrap*/
			} _value;
		} _attr[_attr__length]; /*@attrs*/
	};
};
event { name = "b"; id = 1; stream_id = 0; loglevel = 3;
	fields := struct { f64_t _x; u8_t _ok; /*@bool*/ enum : u8_t { "low" = 1 ... 4, "high" } _e; u8_t _raw[3]; /*@bytes*/ i64_t _n[2]; u8_t _a_b; /*@name "a.b"*/ };
};
`

func packet(begin, seq, discarded uint64, events ...[]byte) []byte {
	body := bytes.Join(events, nil)
	var b []byte
	le := binary.LittleEndian
	b = le.AppendUint32(b, 0xc1fc1fc1)
	b = append(b, make([]byte, 16)...)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, 7)
	size := uint64(80+len(body)) * 8
	for _, v := range []uint64{begin, begin + 1000, size, size, seq, discarded} {
		b = le.AppendUint64(b, v)
	}
	return append(b, body...)
}

func event(id, counter uint64, payload ...any) []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, counter<<16|id)
	for _, p := range payload {
		if s, ok := p.(string); ok {
			p = append(binary.LittleEndian.AppendUint16(nil, uint16(len(s))), s...)
		}
		binary.Write(&b, binary.LittleEndian, p)
	}
	return b.Bytes()
}

func testStream() []byte {
	return bytes.Join([][]byte{
		packet(1<<48+10, 0, 0),
		packet(1<<48+10, 1, 5,
			event(0, 20, uint64(9), uint64(1500), uint16(2), "path", uint8(4), "/x", "n", uint8(0), int64(-3)),
			event(1|0x8000, 30, uint64(9), 2.5, uint8(1), uint8(3), []byte{1, 2, 3}, int64(-1), int64(2), uint8(6))),
	}, nil)
}

func write(t testing.TB, dir, metadata string, stream []byte) {
	if err := os.WriteFile(filepath.Join(dir, "metadata"), []byte(metadata), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "slot-0"), stream, 0o600); err != nil {
		t.Fatal(err)
	}
}

func all(r *Reader) (out []*Event) {
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return out
		}
		out = append(out, ev)
	}
}

func TestValues(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, testMetadata, testStream())
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ev := all(r)
	if len(ev) != 3 || len(r.Notes()) != 0 {
		t.Fatalf("%d events, %q", len(ev), r.Notes())
	}
	if tr := r.Traces[0]; tr.Process != `a"b*` || tr.Pid != 1234 || tr.Kernel {
		t.Errorf("trace %+v", tr)
	}
	if ev[0].Lost != 5 || ev[0].Name != "" {
		t.Errorf("the loss: %+v", ev[0])
	}
	// 100 s, 500 ticks of half a nanosecond, and the counter with the packet's upper bits
	if want := int64(100e9 + 250 + (1<<48+20)/2); ev[1].TimeNs != want || !ev[1].Time().Equal(time.Unix(0, want)) {
		t.Errorf("time %d, want %d", ev[1].TimeNs, want)
	}
	want := []Field{{"duration", time.Duration(1500)}, {"attr", Attrs{{"path", "/x"}, {"n", int64(-3)}}}}
	if e := ev[1]; e.Name != "a.end" || e.Level != 7 || e.Span != SpanEnd || e.Cut || !reflect.DeepEqual(e.Fields, want) {
		t.Errorf("%+v", e)
	}
	if e := ev[1]; e.Get("path") != "/x" || e.Get("goid") != uint64(9) || e.Get("duration") != time.Duration(1500) || e.Get("none") != nil {
		t.Errorf("Get: %v %v", e.Get("path"), e.Get("goid"))
	}
	want = []Field{{"x", 2.5}, {"ok", true}, {"e", Enum{"low", uint64(3)}}, {"raw", []byte{1, 2, 3}}, {"n", []any{int64(-1), int64(2)}}, {"a.b", uint64(6)}}
	if e := ev[2]; e.Name != "b" || e.Level != 3 || e.Span != SpanNone || !e.Cut || !reflect.DeepEqual(e.Fields, want) {
		t.Errorf("%+v", e)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ metadata, want string }{
		{"", "no metadata"},
		{"\x1e{}", "preamble"},
		{"/* CTF 1.8 */ trace {", "is expected"},
		{"/* CTF 1.8 */ nonsense { };", "not known"},
		{"/* CTF 1.8 */ /* ", "does not end"},
		{strings.Replace(testMetadata, "size = 15", "size = 65", 1), "65 bits"},
		{strings.Replace(testMetadata, "signed = true; byte_order = le", "signed = true; byte_order = be", 1), "big-endian"},
		{strings.Replace(testMetadata, "freq = 2000000000", "freq = 0", 1), "stands"},
		{strings.Replace(testMetadata, "id = 1; stream_id = 0", "id = 1; stream_id = 3", 1), "stream 3"},
		{"/* CTF 1.8 */ typealias " + strings.Repeat("struct { ", 100), "too deep"},
	} {
		dir := t.TempDir()
		write(t, dir, c.metadata, nil)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v, want %q", c.metadata, err, c.want)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("an empty directory")
	}
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// read reads whatever is there; it must come to an end.
func read(t testing.TB, metadata string, stream []byte) {
	r := newReader("")
	trace, err := r.describe("", metadata)
	if err != nil {
		return
	}
	r.addStream(trace, "slot-0", inMemory{bytes.NewReader(stream)})
	if n := len(all(r)); n > 100000 {
		t.Errorf("%d events", n)
	}
}

// claims says that it has whatever is asked for, as a file with a hole does.
type claims struct{ head []byte }

func (c claims) ReadAt(p []byte, at int64) (int, error) {
	if at < int64(len(c.head)) {
		copy(p, c.head[at:])
	}
	return len(p), nil
}
func (claims) Close() error { return nil }

// The packets of all streams together are bounded, and what is not there takes no memory.
func TestPacketsHeld(t *testing.T) {
	r := newReader("")
	trace, err := r.describe("", testMetadata)
	if err != nil {
		t.Fatal(err)
	}
	large := packet(1<<48, 1, 0, make([]byte, 14))
	for i := range []int{0, 1} { // content_size, packet_size
		binary.LittleEndian.PutUint64(large[48+8*i:], maxPacket*8)
	}
	r.addStream(trace, "short", inMemory{bytes.NewReader(large)})
	if r.held != 0 || len(r.notes) != 1 || !strings.Contains(r.notes[0], "ends within") {
		t.Errorf("%d held, %q", r.held, r.notes)
	}
	r.held = maxHeld - 100
	r.addStream(trace, "sparse", claims{large})
	if r.held != maxHeld-100 || len(r.notes) != 2 || !strings.Contains(r.notes[1], "at one time") {
		t.Errorf("%d held, %q", r.held, r.notes)
	}
	r.held = 0
	r.addStream(trace, "whole", inMemory{bytes.NewReader(testStream())})
	if n := len(all(r)); n != 3 || r.held != 0 {
		t.Errorf("%d events, %d held", n, r.held)
	}
}

// Damage anywhere is an error, a note or other values, never a crash.
func TestDamage(t *testing.T) {
	stream := testStream()
	for i := range stream {
		for _, x := range []byte{1, 0x80, 0xff} {
			broken := append([]byte{}, stream...)
			broken[i] ^= x
			read(t, testMetadata, broken)
		}
		read(t, testMetadata, stream[:i])
	}
	for i := 0; i < len(testMetadata); i++ {
		for _, c := range []byte{'9', '}', '_'} {
			read(t, testMetadata[:i]+string(c)+testMetadata[i+1:], stream)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(testMetadata, testStream())
	f.Add(testMetadata2, testStream())
	f.Fuzz(func(t *testing.T, metadata string, stream []byte) { read(t, metadata, stream) })
}
