package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

var errBusy = errors.New("too many orders are waiting")

type job struct {
	order  order
	queued time.Time
	ctx    context.Context // of the request that gave it: its span is the job's parent
}

// A pool carries out orders behind the requests' backs.
type pool struct {
	jobs chan job
	wg   sync.WaitGroup
	db   *store
	log  *slog.Logger
}

func newPool(workers, queue int, db *store, log *slog.Logger) *pool {
	p := &pool{jobs: make(chan job, queue), db: db, log: log}
	for i := 0; i < workers; i++ {
		p.wg.Add(1)
		go p.work()
	}
	return p
}

// add queues an order; it never waits.
func (p *pool) add(ctx context.Context, o order) error {
	select {
	case p.jobs <- job{order: o, queued: time.Now(), ctx: context.WithoutCancel(ctx)}:
		noteQueue(len(p.jobs), cap(p.jobs))
		return nil
	default:
		return errBusy
	}
}

func (p *pool) work() {
	defer p.wg.Done()
	for j := range p.jobs {
		ctx, end := beginJob(j.ctx, j.order.ID, time.Since(j.queued))
		err := p.db.ship(ctx, j.order)
		end(err)
		if err != nil {
			p.log.LogAttrs(ctx, slog.LevelError, "order failed",
				slog.Int64("order", j.order.ID), slog.Int64("product", j.order.Product), slog.String("reason", err.Error()))
		}
	}
}

// close waits until the orders in the queue are done.
func (p *pool) close() {
	close(p.jobs)
	p.wg.Wait()
}
