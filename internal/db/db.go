package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options say which database is opened. Path or URL is needed.
type Options struct {
	// URL is that of a PostgreSQL, postgres://user:password@host:port/database, with
	// the parameters that libpq knows. Empty: SQLite.
	URL string
	// Path is the file of SQLite. Its folder exists.
	Path string
	// Connections is how many there are to PostgreSQL at most; 0: 16.
	Connections int
	// Timeout is how long a transaction may take, with the wait for a connection; 0:
	// 10 s.
	Timeout time.Duration
	// Free returns how many bytes the disk of Path has free, and MinFree how many are
	// to stay so; with less Write fails with ErrFull. Nil: nobody looks. They are for
	// SQLite only: what another server's disk has, it says itself.
	Free    func() (uint64, error)
	MinFree func() uint64
	// Log is told when the database goes and comes back; nil: nobody.
	Log *slog.Logger
	// Metrics is told what the database does; nil: nobody.
	Metrics prometheus.Registerer

	migrations fs.FS // nil: ours
}

// kind is what the database is.
type kind string

const (
	inFile   kind = "sqlite"
	onServer kind = "postgres"
)

// DB is a database. Its methods may be called from several goroutines.
type DB struct {
	opts  Options
	kind  kind
	write *sql.DB // of SQLite one connection
	read  *sql.DB // the same one where it is PostgreSQL

	counters *counters
	ready    atomic.Bool // its tables are as this program knows them
	down     atomic.Bool // it was gone when it was asked last
	damaged  atomic.Bool // it was found to be
}

// Open opens a database and brings it up to date: New and Migrate.
func Open(ctx context.Context, o Options) (*DB, error) {
	d, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// New makes a database that can be used once Migrate has succeeded. It does not ask
// the database anything, and fails when the options are wrong.
func New(o Options) (*DB, error) {
	if o.Connections == 0 {
		o.Connections = 16
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &DB{opts: o, kind: inFile}
	if o.URL != "" {
		d.kind = onServer
	}
	open := map[kind]func() error{inFile: d.openFile, onServer: d.openServer}[d.kind]
	if err := open(); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	d.counters = newCounters(o.Metrics, d)
	return d, nil
}

// Close closes all connections. Transactions that are under way end first.
func (d *DB) Close() error {
	err := d.write.Close()
	if d.read != d.write {
		err = errors.Join(d.read.Close(), err)
	}
	return err
}

// Ready says whether Migrate has succeeded.
func (d *DB) Ready() bool { return d.ready.Load() }

// Down says whether the database did not answer when it was asked last.
func (d *DB) Down() bool { return d.down.Load() }

// Damaged says whether a part of the file was found to be damaged; that does not pass.
func (d *DB) Damaged() bool { return d.damaged.Load() }

// Name says in a word what the database is: "sqlite" or "postgres".
func (d *DB) Name() string { return string(d.kind) }

// Read calls f with a transaction that sees one state of the database and changes
// nothing.
func (d *DB) Read(ctx context.Context, f func(*Tx) error) error {
	return d.transact(ctx, d.read, true, f)
}

// Write calls f with a transaction that changes the database: all of it, or, when
// anything fails, nothing. On SQLite one is under way at a time; on PostgreSQL
// others may be, and each statement sees what they have stored: whoever reads in
// order to write locks the row first, best by an UPDATE of it.
func (d *DB) Write(ctx context.Context, f func(*Tx) error) error {
	if err := d.room(); err != nil {
		d.counters.failed(err)
		return err
	}
	return d.transact(ctx, d.write, false, f)
}

// Relieve is Write for what makes room, or must be possible without: it goes on
// where the disk has less than its reserve.
func (d *DB) Relieve(ctx context.Context, f func(*Tx) error) error {
	return d.transact(ctx, d.write, false, f)
}

// room fails with ErrFull where the disk has less than its reserve.
func (d *DB) room() error {
	if d.kind == onServer || d.opts.Free == nil || d.opts.MinFree == nil {
		return nil
	}
	free, err := d.opts.Free()
	if err != nil {
		return fmt.Errorf("%w: look at the free space of the database: %w", ErrDown, err)
	}
	if least := d.opts.MinFree(); free < least {
		return fmt.Errorf("%w: the disk has %d bytes free, %d are to stay so", ErrFull, free, least)
	}
	return nil
}

// attempts is how often a transaction is tried that another one kept from being
// carried out.
const attempts = 5

// transact carries a transaction out, again where another one was in its way.
func (d *DB) transact(ctx context.Context, on *sql.DB, reading bool, f func(*Tx) error) error {
	if !d.ready.Load() {
		return fmt.Errorf("%w: it has not been reached yet", ErrDown)
	}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	var err error
	for range attempts {
		if err = d.once(within, on, reading, f); !again(err) {
			break
		}
	}
	err = d.told(ctx, within, err)
	d.counters.observe(reading, time.Since(began), err)
	d.notice(ctx, err)
	return err
}

// once carries a transaction out.
func (d *DB) once(ctx context.Context, on *sql.DB, reading bool, f func(*Tx) error) error {
	tx, err := on.BeginTx(ctx, d.txOptions(reading))
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	// After a commit there is nothing to roll back, and a lost connection has done it.
	defer func() { _ = tx.Rollback() }()
	if err := f(&Tx{tx: tx, kind: d.kind}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: %w", errCommit, err)
	}
	return nil
}

// txOptions are how a transaction is begun. The connections of SQLite know by
// themselves what they are for.
func (d *DB) txOptions(reading bool) *sql.TxOptions {
	if d.kind == inFile || !reading {
		return nil
	}
	return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
}

// told returns an error as it is told to whoever asked.
func (d *DB) told(asked, within context.Context, err error) error {
	switch {
	case err == nil, asked.Err() != nil:
		return err
	case within.Err() != nil:
		return fmt.Errorf("%w: it did not answer in %s: %w", ErrDown, d.opts.Timeout, err)
	}
	return classify(err)
}

// notice has the log know when the database goes, when it is back, and that it is damaged.
// Whoever left before it could answer has not heard whether it lives.
func (d *DB) notice(asked context.Context, err error) {
	if err != nil && asked.Err() != nil {
		return
	}
	if errors.Is(err, ErrDamaged) && !d.damaged.Swap(true) {
		d.opts.Log.Error("the database is damaged", "err", d.remedy(err))
	}
	gone := errors.Is(err, ErrDown)
	if d.down.Swap(gone) == gone {
		return
	}
	if gone {
		d.opts.Log.Error("the database does not answer", "err", err)
		return
	}
	d.opts.Log.Info("the database answers again")
}

// remedy says of a file that is damaged which it is, and what to do.
func (d *DB) remedy(err error) error {
	return fmt.Errorf("the file %s is damaged, or none of SQLite's: stop the server and put a copy from before in its place, without %[2]s-wal and %[2]s-shm; or move it away, to begin with no accounts and rooms: %[3]w",
		d.opts.Path, filepath.Base(d.opts.Path), err)
}
