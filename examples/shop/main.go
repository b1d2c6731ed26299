// Shop is a small HTTP service that gander can look into while it runs: handlers, a pool of workers, a store in SQLite.
// Everything about tracing stands in events.go; the rest is a service like any other.
//
//	shop -addr 127.0.0.1:0
//
// prints where it listens and serves until it is told to stop by SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run() error {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	path := flag.String("db", "", "database `file` (default: a new one that is removed at the end)")
	workers := flag.Int("workers", 4, "workers that carry out orders")
	products := flag.Int("products", 1000, "products in a new database")
	every := flag.Duration("ledger", 0, "write a ledger of the orders to a file so `often`, and make the mistake that ledger.go describes (default: never)")
	flag.Parse()

	log := newLogger()
	if *path == "" {
		dir, err := os.MkdirTemp("", "shop")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		*path = filepath.Join(dir, "shop.db")
	}
	db, err := openStore(*path, *products)
	if err != nil {
		return err
	}
	defer db.close()

	var book *ledger
	if *every > 0 {
		book, err = newLedger(*path + ".ledger")
		if err != nil {
			return err
		}
		go book.run(*every, func(err error) { log.Error("no ledger", "reason", err) })
	}

	pool := newPool(*workers, 256, db, log)
	defer pool.close()

	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Printf("shop: pid %d, http://%s\n", os.Getpid(), ln.Addr())

	srv := &http.Server{Handler: newServer(db, pool, book, log), ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	log.LogAttrs(ctx, slog.LevelInfo, "stopped")
	return nil
}
