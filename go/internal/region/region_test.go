package region

import (
	"os"
	"os/exec"
	"reflect"
	"testing"
)

// The Go structs have the offsets and sizes that the C compiler found.
func TestLayout(t *testing.T) {
	types := map[string]reflect.Type{}
	for _, v := range []any{ClockSample{}, Header{}, Class{}, Record{}, Object{}, Rule{}, Control{}, Slot{}, Channel{},
		CountKey{}, Packet{}, Session{}, Ask{}, Saved{}, Flight{}, Chunk{}, Condition{}, ConditionSet{}} {
		types[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	seen := map[string]int{}
	for _, c := range cLayout {
		typ, ok := types[c.typ]
		if !ok {
			t.Errorf("struct %s of the C header is missing", c.typ)
			continue
		}
		if c.field == "" {
			if typ.Size() != c.size {
				t.Errorf("%s: %d bytes, C has %d", c.typ, typ.Size(), c.size)
			}
			seen[c.typ] = 0
			continue
		}
		f, ok := typ.FieldByName(c.field)
		switch {
		case !ok:
			t.Errorf("%s.%s is missing", c.typ, c.field)
		case f.Offset != c.offset || f.Type.Size() != c.size:
			t.Errorf("%s.%s: offset %d size %d, C has %d and %d", c.typ, c.field, f.Offset, f.Type.Size(), c.offset, c.size)
		}
		seen[c.typ]++
	}
	for name, typ := range types {
		named := 0
		for i := 0; i < typ.NumField(); i++ {
			if typ.Field(i).Name != "_" {
				named++
			}
		}
		if n, ok := seen[name]; !ok || n != named {
			t.Errorf("%s: %d fields here, %d in C", name, named, n)
		}
	}
}

// The generated files are those that the header gives.
func TestCurrent(t *testing.T) {
	const tool = "../../../tools/gen-go-region"
	if _, err := os.Stat(tool); err != nil {
		t.Skip("not in gander's own tree")
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler")
	}
	if out, err := exec.Command(tool, "--check").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
