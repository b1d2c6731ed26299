// Package ganderhttp records HTTP requests as spans, in servers and in clients, and carries W3C's traceparent between programs, so that
// spans of several programs are one tree.
//
//	http.ListenAndServe(addr, ganderhttp.NewHandler(mux))
//	client := &http.Client{Transport: ganderhttp.NewTransport(nil)}
//
// The spans are http.server and http.client, with the attributes method, path or host, status, bytes and error. While nobody records them a
// request costs two loads more.
package ganderhttp

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"

	"gander.internal/gander"
)

var (
	server = gander.NewSpan("http.server", gander.Info)
	client = gander.NewSpan("http.client", gander.Info)
)

const header = "Traceparent"

// Parse reads a traceparent header: 00-TRACE-SPAN-FLAGS in lower-case hex.
func Parse(s string) (trace gander.TraceID, span uint64, ok bool) {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" || (len(s) > 55 && (s[:2] == "00" || s[55] != '-')) {
		return trace, 0, false
	}
	for i := 0; i < 55; i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-' {
			return trace, 0, false
		}
	}
	var id [8]byte
	var other [1]byte
	for _, part := range []struct {
		to   []byte
		text string
	}{{other[:], s[:2]}, {trace[:], s[3:35]}, {id[:], s[36:52]}, {other[:], s[53:55]}} {
		if _, err := hex.Decode(part.to, []byte(part.text)); err != nil {
			return gander.TraceID{}, 0, false
		}
	}
	for _, b := range id {
		span = span<<8 | uint64(b)
	}
	if span == 0 || trace == (gander.TraceID{}) {
		return gander.TraceID{}, 0, false
	}
	return trace, span, true
}

// Format makes a traceparent header, with the flag that says the trace is recorded.
func Format(trace gander.TraceID, span uint64) string {
	var id [8]byte
	for i := range id {
		id[i] = byte(span >> (56 - 8*i))
	}
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hexAppend(b, trace[:])
	b = append(b, '-')
	b = hexAppend(b, id[:])
	return string(append(b, "-01"...))
}

func hexAppend(b, v []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range v {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// NewHandler wraps a handler: each request is a span, a child of the one that its traceparent names. The request's context carries it.
// A panic of the handler's ends the span and goes on.
func NewHandler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !server.Enabled() {
			next.ServeHTTP(w, r)
			return
		}
		serve(next, w, r)
	})
}

func serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if trace, span, ok := Parse(r.Header.Get(header)); ok {
		ctx = gander.WithRemoteSpan(ctx, span, trace)
	}
	ctx, sp := server.Start(ctx, gander.String("method", r.Method), gander.String("path", r.URL.Path))
	rw := &response{ResponseWriter: w}
	done := false
	defer func() {
		status := rw.status
		if status == 0 && done {
			status = http.StatusOK
		}
		if done {
			sp.End(gander.Int("status", status), gander.Int64("bytes", rw.bytes))
		} else {
			sp.End(gander.Int("status", status), gander.Int64("bytes", rw.bytes), gander.String("error", "panic"))
		}
	}()
	next.ServeHTTP(rw.with(), r.WithContext(ctx))
	done = true
}

// response notes what the handler answers.
type response struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status < 200 { // 1xx may come before the one that counts
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status < 200 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// with gives the wrapper those optional interfaces that the wrapped writer has: handlers ask for them. Those are the sets that net/http's
// own writers have.
func (w *response) with() http.ResponseWriter {
	f, flushes := w.ResponseWriter.(http.Flusher)
	if !flushes {
		return w
	}
	flush := flusher{w, f}
	h, hijacks := w.ResponseWriter.(http.Hijacker)
	rf, reads := w.ResponseWriter.(io.ReaderFrom)
	p, pushes := w.ResponseWriter.(http.Pusher)
	switch {
	case hijacks && reads:
		return struct {
			flusher
			http.Hijacker
			io.ReaderFrom
		}{flush, h, readerFrom{w, rf}}
	case hijacks:
		return struct {
			flusher
			http.Hijacker
		}{flush, h}
	case pushes:
		return struct {
			flusher
			http.Pusher
		}{flush, p}
	}
	return flush
}

type flusher struct {
	*response
	f http.Flusher
}

func (w flusher) Flush() {
	if w.status < 200 {
		w.status = http.StatusOK
	}
	w.f.Flush()
}

type readerFrom struct {
	w *response
	r io.ReaderFrom
}

func (r readerFrom) ReadFrom(src io.Reader) (int64, error) {
	if r.w.status < 200 {
		r.w.status = http.StatusOK
	}
	n, err := r.r.ReadFrom(src)
	r.w.bytes += n
	return n, err
}

// NewTransport wraps a RoundTripper, http.DefaultTransport when it is nil: each request is a span, from its start until the answer's body is
// read or closed, and carries it as traceparent unless it has one.
func NewTransport(next http.RoundTripper) http.RoundTripper {
	return &transport{next}
}

type transport struct{ next http.RoundTripper }

func (t *transport) base() http.RoundTripper {
	if t.next == nil {
		return http.DefaultTransport
	}
	return t.next
}

// CloseIdleConnections is handed on: http.Client asks for it.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !client.Enabled() {
		return t.base().RoundTrip(r)
	}
	return t.roundTrip(r)
}

func (t *transport) roundTrip(r *http.Request) (*http.Response, error) {
	host, path := "", ""
	if r.URL != nil {
		host, path = r.URL.Host, r.URL.Path
	}
	ctx, sp := client.Start(r.Context(), gander.String("method", r.Method), gander.String("host", host), gander.String("path", path))
	// a RoundTripper must not change the request that it is given
	out := r.Clone(ctx)
	if out.Header == nil {
		out.Header = http.Header{}
	}
	if _, set := out.Header[header]; !set {
		id, trace := gander.SpanFromContext(ctx)
		if id != 0 {
			out.Header.Set(header, Format(trace, id))
		}
	}
	res, err := t.base().RoundTrip(out)
	if err != nil {
		sp.End(gander.String("error", err.Error()))
		return res, err
	}
	res.Body = bodyOf(res, sp)
	return res, nil
}

// body ends the span when the answer is read to its end, or given up.
type body struct {
	io.ReadCloser
	span   gander.ActiveSpan
	status int
	bytes  int64
	ended  bool
}

// bodyOf keeps a body that can be written to (an upgraded connection) one that can.
func bodyOf(res *http.Response, sp gander.ActiveSpan) io.ReadCloser {
	if res.Body == nil || res.Body == http.NoBody {
		sp.End(gander.Int("status", res.StatusCode))
		return res.Body
	}
	b := &body{ReadCloser: res.Body, span: sp, status: res.StatusCode}
	if w, ok := res.Body.(io.Writer); ok {
		return struct {
			*body
			io.Writer
		}{b, w}
	}
	return b
}

func (b *body) end(err error) {
	if b.ended {
		return
	}
	b.ended = true
	if err != nil && err != io.EOF {
		b.span.End(gander.Int("status", b.status), gander.Int64("bytes", b.bytes), gander.String("error", err.Error()))
		return
	}
	b.span.End(gander.Int("status", b.status), gander.Int64("bytes", b.bytes))
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	if err != nil {
		b.end(err)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end(nil)
	return err
}

// Extract returns ctx with the span that a request's header names: for servers that do not use NewHandler.
func Extract(ctx context.Context, h http.Header) context.Context {
	if trace, span, ok := Parse(h.Get(header)); ok {
		return gander.WithRemoteSpan(ctx, span, trace)
	}
	return ctx
}
