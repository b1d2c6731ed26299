package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	_ "modernc.org/sqlite" // pure Go: no C compiler, no shared library
)

type product struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Cents int64  `json:"cents"`
	Stock int64  `json:"stock"`
}

type order struct {
	ID      int64  `json:"id"`
	Product int64  `json:"product"`
	Count   int64  `json:"count"`
	State   string `json:"state"`
}

var (
	errNotFound = errors.New("not found")
	errNoStock  = errors.New("out of stock")
)

// A store keeps products and orders. Every method is one span, shop.query.
type store struct {
	db *sql.DB
}

const schema = `
CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, cents INTEGER NOT NULL, stock INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, product INTEGER NOT NULL, count INTEGER NOT NULL, state TEXT NOT NULL);
`

func openStore(path string, products int) (*store, error) {
	db, err := sql.Open("sqlite", "file:"+path+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	s := &store{db: db}
	if err := s.fill(products); err != nil {
		db.Close()
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	return s, nil
}

func (s *store) close() { s.db.Close() }

func (s *store) fill(products int) error {
	if _, err := s.db.Exec(schema); err != nil {
		return err
	}
	var n int
	if err := s.db.QueryRow(`SELECT count(*) FROM products`).Scan(&n); err != nil || n > 0 {
		return err
	}
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	kinds := [...]string{"kettle", "lamp", "chair", "mirror", "shelf", "clock", "rug", "vase"}
	for i := 1; i <= products; i++ {
		_, err := tx.Exec(`INSERT INTO products VALUES (?, ?, ?, ?)`, i, fmt.Sprintf("%s %d", kinds[i%len(kinds)], i), 500+i*7%9000, 100000)
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

// product reads one product.
func (s *store) product(ctx context.Context, id int64) (p product, err error) {
	_, end := beginQuery(ctx, "product")
	defer func() { end(1, err) }()
	err = s.db.QueryRowContext(ctx, `SELECT id, name, cents, stock FROM products WHERE id = ?`, id).
		Scan(&p.ID, &p.Name, &p.Cents, &p.Stock)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNotFound
	}
	return p, err
}

// search finds products by the beginning of their name; it reads the whole table, as searches do.
func (s *store) search(ctx context.Context, word string) (found []product, err error) {
	_, end := beginQuery(ctx, "search")
	defer func() { end(len(found), err) }()
	rows, err := s.db.QueryContext(ctx,
		`SELECT id, name, cents, stock FROM products WHERE name LIKE ? || '%' ORDER BY cents LIMIT 20`, word)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p product
		if err := rows.Scan(&p.ID, &p.Name, &p.Cents, &p.Stock); err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, rows.Err()
}

// addOrder notes an order that is to be carried out.
func (s *store) addOrder(ctx context.Context, o order) (id int64, err error) {
	_, end := beginQuery(ctx, "order")
	defer func() { end(1, err) }()
	r, err := s.db.ExecContext(ctx, `INSERT INTO orders (product, count, state) VALUES (?, ?, 'new')`, o.Product, o.Count)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// ship takes an order's goods out of the stock, or says that there are not enough.
func (s *store) ship(ctx context.Context, o order) (err error) {
	ctx, end := beginQuery(ctx, "ship")
	defer func() { end(1, err) }()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	r, err := tx.ExecContext(ctx, `UPDATE products SET stock = stock - ? WHERE id = ? AND stock >= ?`, o.Count, o.Product, o.Count)
	if err != nil {
		return err
	}
	state := "shipped"
	if n, err := r.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		state = "refused"
	}
	if _, err := tx.ExecContext(ctx, `UPDATE orders SET state = ? WHERE id = ?`, state, o.ID); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if state == "refused" {
		return errNoStock
	}
	return nil
}
