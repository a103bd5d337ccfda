package db

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// text is SQL. Outside of this file nothing is converted to it, so it is made of
// constants, and of what list returns: nothing that anybody sent can get into it.
type text string

// Tx is a transaction. Statements name their parameters $1, $2 and so on; each may
// be used more than once.
type Tx struct {
	tx   *sql.Tx
	kind kind
}

// Exec carries a statement out and returns how many rows it changed.
func (t *Tx) Exec(ctx context.Context, statement text, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, string(statement), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Row asks for one row. Scan of it fails with sql.ErrNoRows where there is none.
func (t *Tx) Row(ctx context.Context, query text, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, string(query), args...)
}

// Each asks for rows and has scan read each of them.
func (t *Tx) Each(ctx context.Context, query text, scan func(row func(into ...any) error) error, args ...any) error {
	rows, err := t.tx.QueryContext(ctx, string(query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Next raises a counter of the table of counters and returns its value. The row
// stays locked until the transaction ends, so what one transaction makes with the
// number is there before another one gets the next.
func (t *Tx) Next(ctx context.Context, counter string) (n int64, err error) {
	err = t.Row(ctx, "UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value", counter).Scan(&n)
	return n, err
}

// list returns a list of n parameters in brackets, from $first on: for IN, and for
// VALUES.
func list(first, n int) text {
	var b strings.Builder
	for i := range n {
		if i == 0 {
			b.WriteString("($")
		} else {
			b.WriteString(", $")
		}
		b.WriteString(strconv.Itoa(first + i))
	}
	b.WriteString(")")
	return text(b.String())
}
