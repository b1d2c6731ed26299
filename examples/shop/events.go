package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"
)

func newLogger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
func beginQuery(ctx context.Context, op string) (context.Context, func(int, error)) {
	return ctx, func(int, error) {}
}
func beginJob(ctx context.Context, id int64, waited time.Duration) (context.Context, func(error)) {
	return ctx, func(error) {}
}
func noteQueue(n, capacity int)              {}
func noteCache(id int64, hit bool)           {}
func traceRequests(h http.Handler) http.Handler { return h }
