package reader

import (
	"reflect"
	"strings"
	"testing"
)

func fixed(size string, more ...string) string {
	return `{"type":"fixed-length-unsigned-integer","length":` + size + `,"byte-order":"little-endian","alignment":8` + strings.Join(more, "") + `}`
}

func role(name string) string { return `,"roles":["` + name + `"]` }

const (
	i64Class  = `{"type":"fixed-length-signed-integer","length":64,"byte-order":"little-endian","alignment":8}`
	isLength  = `,"attributes":{"gander":{"length":true}}`
	clockRole = "default-clock-timestamp"
)

func member(name, class string) string { return `{"name":"` + name + `","field-class":` + class + `}` }

func structure(members ...string) string {
	return `{"type":"structure","member-classes":[` + strings.Join(members, ",") + `]}`
}

func text(length string) string {
	return `{"type":"dynamic-length-string","length-field-location":{"path":["` + length + `"]}}`
}

// testMetadata2 says of testStream what testMetadata says.
var testMetadata2 = "\x1e" + strings.Join([]string{
	`{"type":"preamble","version":2,"uuid":[14,119,147,190,156,25,75,224,151,76,194,86,21,245,97,172]}`,
	`{"type":"trace-class","environment":{"domain":"ust","vpid":1234,"procname":"a\"b*"},"packet-header-field-class":` +
		structure(member("magic", fixed("32", role("packet-magic-number"))),
			member("uuid", `{"type":"static-length-blob","length":16,"roles":["metadata-stream-uuid"]}`),
			member("stream_id", fixed("32", role("data-stream-class-id"))), member("stream_instance_id", fixed("64", role("data-stream-id")))) + `}`,
	`{"type":"clock-class","id":"monotonic","frequency":2000000000,"offset-from-origin":{"seconds":100,"cycles":500}}`,
	`{"type":"field-class-alias","name":"u8","field-class":` + fixed("8") + `}`,
	`{"type":"data-stream-class","id":0,"default-clock-class-id":"monotonic","attributes":{"gander":{"cut":true}},"packet-context-field-class":` +
		structure(member("begin", fixed("64", role(clockRole))), member("end", fixed("64", role("packet-end-default-clock-timestamp"))),
			member("content_size", fixed("64", role("packet-content-length"))), member("packet_size", fixed("64", role("packet-total-length"))),
			member("seq", fixed("64", role("packet-sequence-number"))), member("lost", fixed("64", role("discarded-event-record-counter-snapshot")))) +
		`,"event-record-header-field-class":` + structure(member("number", fixed("15", role("event-record-class-id"))), member("when", fixed("48", role(clockRole)))) +
		`,"event-record-common-context-field-class":` + structure(member("goid", fixed("64"))) + `}`,
	`{"type":"event-record-class","id":0,"data-stream-class-id":0,"name":"a.end","attributes":{"babeltrace.org,2020":{"log-level":"debug"},"gander":{"span":"end"}},` +
		`"payload-field-class":` + structure(member("duration", fixed("64", `,"attributes":{"gander":{"duration":true}}`)), member("attr__length", fixed("16", isLength)),
		member("attr", `{"type":"dynamic-length-array","length-field-location":{"path":["attr__length"]},"attributes":{"gander":{"attrs":true}},"element-field-class":`+
			structure(member("key__length", fixed("16", isLength)), member("key", text("key__length")),
				member("tag", fixed("8", `,"mappings":{"i64":[[0,0]],"text":[[4,4]]}`)),
				member("value", `{"type":"variant","selector-field-location":{"path":["tag"]},"options":[`+
					`{"name":"i64","selector-field-ranges":[[0,0]],"field-class":`+i64Class+`},{"name":"text","selector-field-ranges":[[4,4]],"field-class":`+
					strings.TrimSuffix(structure(member("text__length", fixed("16", isLength)), member("text", text("text__length"))), "}")+
					`,"attributes":{"gander":{"wrap":true}}}}]}`))+`}`)) + `}`,
	`{"type":"event-record-class","id":1,"data-stream-class-id":0,"name":"b","attributes":{"babeltrace.org,2020":{"log-level":"error"}},` +
		`"payload-field-class":` + structure(member("x", `{"type":"fixed-length-floating-point-number","length":64,"byte-order":"little-endian","alignment":8}`),
		member("ok", `{"type":"fixed-length-boolean","length":8,"byte-order":"little-endian","alignment":8}`),
		member("e", fixed("8", `,"mappings":{"low":[[1,4]],"high":[[3,5],[18446744073709551615,18446744073709551615]]}`)), // the first that holds
		member("raw", `{"type":"static-length-blob","length":3}`), member("n", `{"type":"static-length-array","length":2,"element-field-class":`+i64Class+`}`),
		member("a.b", `"u8"`)) + `}`,
}, "\n\x1e") + "\n"

func TestCtf2(t *testing.T) {
	var got [2][]*Event
	for i, metadata := range []string{testMetadata, testMetadata2} {
		dir := t.TempDir()
		write(t, dir, metadata, testStream())
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got[i] = all(r)
		if len(r.Notes()) != 0 || r.Traces[0].Process != `a"b*` || r.Traces[0].Pid != 1234 {
			t.Errorf("%q, %+v", r.Notes(), r.Traces[0])
		}
		for _, ev := range got[i] {
			ev.Trace = nil
		}
	}
	if len(got[0]) != 3 || !reflect.DeepEqual(got[0], got[1]) {
		for i := range got[1] {
			t.Errorf("%+v\nwant %+v", got[1][i], got[0][i])
		}
	}
}

func TestCtf2Refused(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"\n\x1e", "\n\x1e[", "fragment 2"},
		{`"version":2`, `"version":3`, "CTF 3"},
		{`"preamble"`, `"trace-class"`, "preamble"},
		{`"trace-class"`, `"preamble"`, "preamble"},
		{`"frequency":2000000000`, `"frequency":0`, "no clock that runs"},
		{`"frequency":2000000000`, `"frequency":-1`, "fragment 3"},
		{`"id":"monotonic"`, `"id":"other"`, "another clock"},
		{`"length":15`, `"length":65`, "not possible"},
		{`"length":15`, `"length":1e99`, "fragment"},
		{`"length":64`, `"len":64`, "not possible"},
		{`"alignment":8`, `"alignment":3`, "aligned to 3"},
		{`"alignment":8`, `"alignment":1048576`, "aligned to"},
		{"little-endian", "big-endian", "little-endian"},
		{`"type":"dynamic-length-string"`, `"type":"dynamic-length-string","encoding":"utf-16le"`, "utf-16le"},
		{`"fixed-length-boolean"`, `"variable-length-unsigned-integer"`, "variable-length"},
		{`"path":["tag"]`, `"path":["tag"],"origin":"packet-header"`, "beside"},
		{`"path":["tag"]`, `"path":[null]`, "beside"},
		{`"path":["tag"]`, `"path":[]`, "missing"},
		{`[[1,4]]`, `[[1,4.5]]`, "no integer"},
		{`[[1,4]]`, `[[1,36893488147419103232]]`, "no integer"},
		{`"u8"`, `"u9"`, "not known"},
		{`"field-class-alias","name":"u8","field-class":` + fixed("8"), `"field-class-alias","name":"u8","field-class":"u8"`, "nothing that is known"},
		{`"id":1,"data-stream-class-id":0`, `"id":1,"data-stream-class-id":3`, "stream 3"},
		{`"type":"event-record-class"`, `"type":"event-record-class","extensions":{}`, "extensions"},
		{`"field-class":"u8"`, `"field-class":` + strings.Repeat(`{"type":"static-length-array","length":1,"element-field-class":`, 100) + `"u8"` + strings.Repeat("}", 100), "too deep"},
		{`"field-class":"u8"`, `"field-class":` + structure(strings.Repeat(member("x", `"u8"`)+",", 1000)+member("x", `"u8"`)), ""},
		{`"field-class":"u8"`, `"field-class":` + structure(strings.Repeat(member("x", `"u8"`)+",", 200000)+member("x", `"u8"`)), "too long"},
	} {
		metadata := strings.Replace(testMetadata2, c.old, c.new, 1)
		if metadata == testMetadata2 {
			t.Errorf("%q is not in it", c.old)
		}
		_, err := parseMetadata(metadata)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.60q: %v, want %q", c.new, err, c.want)
		}
	}
	md := newMetadata()
	md.types = maxTypes - 5
	many := jsonParser{md: md}
	if _, err := many.class([]byte(structure(strings.Repeat(member("x", fixed("8"))+",", 5) + member("x", fixed("8"))))); err == nil || !strings.Contains(err.Error(), "too many types") {
		t.Errorf("more types than there may be: %v", err)
	}
	md.types = maxTypes - 5
	p := &parser{src: "struct {" + strings.Repeat("integer { size = 8; } x;", 6) + "}", md: md}
	p.next()
	if p.typ(); p.err == nil || !strings.Contains(p.err.Error(), "too many types") {
		t.Errorf("as many in CTF 1.8: %v", p.err)
	}
}

// Damage anywhere is an error, a note or other values, never a crash.
func TestCtf2Damage(t *testing.T) {
	stream := testStream()
	step := 5
	if testing.Short() {
		step = 47
	}
	for i := 0; i < len(testMetadata2); i += step {
		for _, c := range []byte{'9', '}', '"'} {
			read(t, testMetadata2[:i]+string(c)+testMetadata2[i+1:], stream)
		}
		read(t, testMetadata2[:i], stream)
	}
}
