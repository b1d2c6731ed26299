package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

type server struct {
	db    *store
	pool  *pool
	book  *ledger // or nil
	log   *slog.Logger
	cache cache
}

// newServer serves
//
//	GET  /products?q=WORD    a search
//	GET  /product/ID         one product, through a cache
//	POST /order?product=ID&count=N
func newServer(db *store, p *pool, book *ledger, log *slog.Logger) http.Handler {
	s := &server{db: db, pool: p, book: book, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("/products", s.search)
	mux.HandleFunc("/product/", s.product)
	mux.HandleFunc("/order", s.order)
	return traceRequests(mux)
}

func (s *server) search(w http.ResponseWriter, r *http.Request) {
	found, err := s.db.search(r.Context(), r.URL.Query().Get("q"))
	s.reply(w, r, found, err)
}

func (s *server) product(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/product/"), 10, 64)
	if err != nil {
		s.reply(w, r, nil, errNotFound)
		return
	}
	p, hit := s.cache.get(id)
	noteCache(id, hit)
	if !hit {
		if p, err = s.db.product(r.Context(), id); err == nil {
			s.cache.put(p)
		}
	}
	s.reply(w, r, p, err)
}

func (s *server) order(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST orders something", http.StatusMethodNotAllowed)
		return
	}
	q := r.URL.Query()
	o := order{State: "new"}
	var err, err2 error
	o.Product, err = strconv.ParseInt(q.Get("product"), 10, 64)
	o.Count, err2 = strconv.ParseInt(q.Get("count"), 10, 64)
	if err != nil || err2 != nil || o.Count < 1 {
		http.Error(w, "needs product=ID and count=N", http.StatusBadRequest)
		return
	}
	if o.ID, err = s.db.addOrder(r.Context(), o); err == nil {
		s.book.note(o)
		err = s.pool.add(r.Context(), o)
	}
	s.reply(w, r, o, err)
}

func (s *server) reply(w http.ResponseWriter, r *http.Request, v any, err error) {
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	case errors.Is(err, errNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, errBusy):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case errors.Is(err, context.Canceled):
		// the client has gone: there is nobody to answer
	default:
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("path", r.URL.Path), slog.String("reason", err.Error()))
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// A cache keeps products for a short time.
type cache struct {
	mu sync.Mutex
	m  map[int64]cached
}

type cached struct {
	product
	until time.Time
}

const (
	cacheTime = 500 * time.Millisecond
	cacheSize = 500
)

func (c *cache) get(id int64) (product, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[id]
	if !ok || time.Now().After(e.until) {
		return product{}, false
	}
	return e.product, true
}

func (c *cache) put(p product) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= cacheSize {
		c.m = make(map[int64]cached)
	}
	c.m[p.ID] = cached{p, time.Now().Add(cacheTime)}
}
