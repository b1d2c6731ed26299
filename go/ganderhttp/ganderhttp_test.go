//go:build linux && (amd64 || arm64)

package ganderhttp

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"gander.internal/gander"
	"gander.internal/gander/internal/region"
	"gander.internal/gander/internal/regiontest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if r, err := regiontest.Find(os.Getpid()); err == nil {
		os.Remove(r.Path)
	}
	os.Exit(code)
}

func open(t testing.TB) *regiontest.Region {
	if why := gander.Off(); why != "" {
		t.Skip(why)
	}
	r, err := regiontest.Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	r.Enable(7, regiontest.Config{Context: region.CtxSpan, Packets: 8, Include: []string{"http.*"}})
	t.Cleanup(func() { r.Disable(7); r.Close() })
	return r
}

func TestTraceparent(t *testing.T) {
	good := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	trace, span, ok := Parse(good)
	if !ok || span != 0xb7ad6b7169203331 || Format(trace, span) != good {
		t.Errorf("%x %x %v", trace, span, ok)
	}
	if _, _, ok := Parse("cc" + good[2:] + "-later"); !ok {
		t.Error("a later version is refused")
	}
	for _, bad := range []string{"", good[:54], good + "-x", "ff" + good[2:], strings.ToUpper(good), strings.Replace(good, "b7ad6b7169203331", "0000000000000000", 1),
		strings.Replace(good, "0af7651916cd43dd8448eb211c80319c", strings.Repeat("0", 32), 1), strings.Replace(good, "0af", "0-f", 1), "0x" + good[2:]} {
		if _, _, ok := Parse(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	r := open(t)
	var seen string
	srv := httptest.NewServer(NewHandler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		seen = req.Header.Get("traceparent")
		if id, _ := gander.SpanFromContext(req.Context()); id == 0 {
			t.Error("the request carries no span")
		}
		if _, ok := w.(http.Hijacker); !ok {
			t.Error("not a Hijacker any more")
		}
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Error("not a ReaderFrom any more")
		}
		switch req.URL.Path {
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/flush":
			w.Write([]byte("ab"))
			w.(http.Flusher).Flush()
			http.NewResponseController(w).Flush()
		case "/copy":
			io.Copy(w, strings.NewReader("abcde"))
		default:
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "hello")
		}
	})))
	defer srv.Close()
	// without connections to reuse the transport repeats no request
	c := &http.Client{Transport: NewTransport(&http.Transport{DisableKeepAlives: true})}
	get := func(path string) error {
		res, err := c.Get(srv.URL + path)
		if err == nil {
			io.ReadAll(res.Body)
			res.Body.Close()
		}
		return err
	}
	for _, path := range []string{"/tea", "/flush", "/copy"} {
		if err := get(path); err != nil {
			t.Fatal(err)
		}
	}
	if get("/panic") == nil {
		t.Error("no error")
	}
	c.CloseIdleConnections()
	srv.Close()
	events, err := r.Events(7)
	if err != nil {
		t.Fatal(err)
	}
	begin := map[any]regiontest.Event{}
	end := map[any]regiontest.Event{}
	var servers []regiontest.Event
	for _, e := range events {
		if strings.HasSuffix(e.Name, ".begin") {
			begin[e.Fields["span_id"]] = e
			if e.Name == "http.server.begin" {
				servers = append(servers, e)
			}
		} else {
			end[e.Fields["span_id"]] = e
		}
	}
	if len(begin) != 8 || len(end) != 8 {
		t.Fatalf("%d begun, %d ended", len(begin), len(end))
	}
	want := map[string][2]int64{"/tea": {418, 5}, "/flush": {200, 2}, "/copy": {200, 5}, "/panic": {0, 0}}
	for _, s := range servers {
		path := s.Fields["attr"].(map[string]any)["path"].(string)
		e := end[s.Fields["span_id"]].Fields["attr"].(map[string]any)
		parent, ok := begin[s.Fields["parent_id"]]
		if !ok || parent.Name != "http.client.begin" || parent.Fields["attr"].(map[string]any)["path"] != path {
			t.Errorf("%s: parent %v", path, parent)
		}
		if e["status"] != want[path][0] || e["bytes"] != want[path][1] || (e["error"] == "panic") != (path == "/panic") {
			t.Errorf("%s: %v", path, e)
		}
	}
	if seen == "" {
		t.Error("no traceparent")
	}
	if ctx := Extract(context.Background(), http.Header{"Traceparent": {seen}}); ctx == context.Background() {
		t.Error("not extracted")
	}
}
