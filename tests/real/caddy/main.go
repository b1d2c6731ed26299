// Caddy with one more handler, gander_events, which emits an event for every request: the standard server, built by a main of one's own
// as its documentation says, and ten lines of events in a plug-in.
package main

import (
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"gander.internal/gander"
	_ "gander.internal/gander/flight"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var (
	evRequest = gander.NewEvent4[string, string, int, time.Duration]("caddy.request", gander.Info, "method", "path", "status", "took")
	evError   = gander.NewEvent2[string, string]("caddy.error", gander.Error, "path", "error")
)

// Events is the handler.
type Events struct{}

// CaddyModule says what the handler is called.
func (Events) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gander_events", New: func() caddy.Module { return new(Events) }}
}

// recorder remembers the status.
type recorder struct {
	caddyhttp.ResponseWriterWrapper
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriterWrapper.WriteHeader(status)
}

func (Events) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !evRequest.Enabled() {
		return next.ServeHTTP(w, r)
	}
	start := time.Now()
	rec := recorder{caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, http.StatusOK}
	err := next.ServeHTTP(&rec, r)
	requests.Add(1)
	evRequest.Emit(r.Method, r.URL.Path, rec.status, time.Since(start))
	if err != nil && evError.Enabled() {
		errors.Add(1)
		evError.Emit(r.URL.Path, err.Error())
	}
	return err
}

// requests and errors count what is emitted, for the test. The counts are in the file that GANDER_EMITTED names, mapped: counting writes nothing
// out, and costs the same whoever reads.
var requests, errors = new(atomic.Uint64), new(atomic.Uint64)

func init() {
	caddy.RegisterModule(Events{})
	httpcaddyfile.RegisterHandlerDirective("gander_events", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return Events{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("gander_events", httpcaddyfile.Before, "file_server")
	f, err := os.OpenFile(os.Getenv("GANDER_EMITTED"), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if page, err := syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err == nil {
		requests, errors = (*atomic.Uint64)(unsafe.Pointer(&page[0])), (*atomic.Uint64)(unsafe.Pointer(&page[64]))
	}
}

func main() { caddycmd.Main() }
