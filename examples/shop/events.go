package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"gander.internal/gander"
	_ "gander.internal/gander/flight" // the Go runtime's trace too, when somebody asks for it
	"gander.internal/gander/ganderslog"
)

// What can be seen of the shop. Off, which they are until somebody records them, each costs a load and a branch.
var (
	spanRequest = gander.NewSpan("shop.request", gander.Info)
	spanQuery   = gander.NewSpan("shop.query", gander.Info)
	spanJob     = gander.NewSpan("shop.job", gander.Info)

	evQueue = gander.NewEvent2[int, int]("shop.queue", gander.Info, "depth", "capacity")
	evCache = gander.NewEvent2[int64, bool]("shop.cache", gander.Debug, "product", "hit")
)

// noteQueue tells how many orders wait.
func noteQueue(depth, capacity int) { evQueue.Emit(depth, capacity) }

// noteCache tells whether a product was in the cache.
func noteCache(product int64, hit bool) { evCache.Emit(product, hit) }

// traceRequests makes each request a span; what the handlers do in its context becomes its children.
func traceRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !spanRequest.Enabled() {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span := spanRequest.Start(r.Context(), gander.String("method", r.Method), gander.String("path", r.URL.Path))
		seen := &response{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r.WithContext(ctx))
		span.End(gander.String("path", r.URL.Path), gander.Int("status", seen.status), gander.Int("bytes", seen.bytes))
	})
}

// A response remembers what was answered.
type response struct {
	http.ResponseWriter
	status, bytes int
}

func (r *response) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.bytes += n
	return n, err
}

// beginQuery starts the span of one query of the store.
func beginQuery(ctx context.Context, op string) (context.Context, func(rows int, err error)) {
	ctx, span := spanQuery.Start(ctx, gander.String("op", op))
	return ctx, func(rows int, err error) {
		span.End(gander.String("op", op), gander.Int("rows", rows), gander.Bool("failed", err != nil))
	}
}

// beginJob starts the span of one order that a worker carries out, a child of the request that gave it.
func beginJob(ctx context.Context, order int64, waited time.Duration) (context.Context, func(err error)) {
	ctx, span := spanJob.Start(ctx, gander.Int64("order", order), gander.Duration("waited", waited))
	return ctx, func(err error) { span.End(gander.Int64("order", order), gander.Bool("failed", err != nil)) }
}

// newLogger writes to standard error, and what it writes is events too: log.error and so on, with their attributes.
func newLogger() *slog.Logger {
	return slog.New(ganderslog.NewHandler(slog.NewTextHandler(os.Stderr, nil)))
}
