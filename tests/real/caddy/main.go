// Caddy with one more handler, gander_events, which emits an event for every request: the standard server, built by a main of one's own
// as its documentation says, and ten lines of events in a plug-in.
package main

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

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

func (Events) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !evRequest.Enabled() {
		return next.ServeHTTP(w, r)
	}
	start := time.Now()
	rec := caddyhttp.NewResponseRecorder(w, nil, nil)
	err := next.ServeHTTP(rec, r)
	requests.Add(1)
	evRequest.Emit(r.Method, r.URL.Path, rec.Status(), time.Since(start))
	if err != nil && evError.Enabled() {
		errors.Add(1)
		evError.Emit(r.URL.Path, err.Error())
	}
	return err
}

// requests and errors count what is emitted, for the test; see GANDER_EMITTED below.
var requests, errors atomic.Uint64

func init() {
	caddy.RegisterModule(Events{})
	httpcaddyfile.RegisterHandlerDirective("gander_events", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return Events{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("gander_events", httpcaddyfile.Before, "file_server")
	if path := os.Getenv("GANDER_EMITTED"); path != "" {
		go func() {
			for last := ""; ; time.Sleep(50 * time.Millisecond) {
				now := fmt.Sprintf("caddy.request %d\ncaddy.error %d\n", requests.Load(), errors.Load())
				if now != last && os.WriteFile(path+".new", []byte(now), 0o644) == nil && os.Rename(path+".new", path) == nil {
					last = now
				}
			}
		}()
	}
}

func main() { caddycmd.Main() }
