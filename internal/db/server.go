package db

import (
	"errors"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// errUnexpectedEnd is how a connection ends whose server was killed.
var errUnexpectedEnd = io.ErrUnexpectedEOF

const (
	// connectTime is how long a connection to PostgreSQL may take to be made.
	connectTime = 5 * time.Second
	// oldConnection is how old one may become, so that those that lead to a server
	// that is not used any more end by themselves.
	oldConnection = 30 * time.Minute
	// idleConnection is how long one stays that nobody needs.
	idleConnection = 5 * time.Minute
)

// openServer makes the pool of connections to PostgreSQL.
func (d *DB) openServer() error {
	c, err := pgx.ParseConfig(d.opts.URL)
	if err != nil {
		return errors.New("the URL is not one that PostgreSQL's clients understand") // the error has the URL, and it a password
	}
	if u, err := url.Parse(d.opts.URL); err != nil || !u.Query().Has("connect_timeout") {
		c.ConnectTimeout = connectTime
	}
	given := func(name, value string) {
		if _, ok := c.RuntimeParams[name]; !ok {
			c.RuntimeParams[name] = value
		}
	}
	limit := strconv.FormatInt(d.opts.Timeout.Milliseconds(), 10)
	given("application_name", "switchboard")
	given("statement_timeout", limit)
	given("lock_timeout", limit)
	given("idle_in_transaction_session_timeout", strconv.FormatInt(3*d.opts.Timeout.Milliseconds(), 10))
	given("timezone", "UTC")
	pool := stdlib.OpenDB(*c)
	pool.SetMaxOpenConns(d.opts.Connections)
	pool.SetMaxIdleConns(d.opts.Connections)
	pool.SetConnMaxLifetime(oldConnection)
	pool.SetConnMaxIdleTime(idleConnection)
	d.write, d.read = pool, pool
	return nil
}
