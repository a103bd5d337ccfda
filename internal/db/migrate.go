package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// ours are the steps from nothing to the tables of today, one file each, in order.
// A file that was released is never changed. Both databases understand them:
// types are BIGINT and TEXT, times milliseconds since 1970 in UTC.
//
//go:embed migrations/*.sql
var ours embed.FS

// versionTable is where the database says which steps it has behind it.
const versionTable = "switchboard_migrations"

// Migrate brings the database to what this program knows, each step in a
// transaction of its own: one that is interrupted has not happened. Of several
// nodes that do it at once, one does, and the others wait. It fails with ErrDown
// while the database is gone, and may then be called again; with ErrNewer where a
// newer program has been there, and with ErrDamaged, the file's name and what to do.
func (d *DB) Migrate(ctx context.Context) error {
	if err := classify(d.migrate(ctx)); err != nil {
		if errors.Is(err, ErrDamaged) {
			err = d.remedy(err)
		}
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	d.ready.Store(true)
	d.notice(ctx, nil)
	return nil
}

// lookEvery is how often Tend looks whether the database is there.
const lookEvery = time.Second

// Tend looks after the database until ctx ends: one that Migrate has not reached it
// brings up to date when it is there, and whether it answers is known even while
// nobody asks for anything. It ends earlier, with an ErrNewer, where a newer program
// has been there, or with an ErrDamaged.
func (d *DB) Tend(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if d.Ready() {
			// What comes of it is noticed where it is asked.
			_ = d.Read(ctx, func(tx *Tx) error { return tx.Row(ctx, "SELECT 1").Scan(new(int)) })
		} else if err := d.Migrate(ctx); errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) {
			return err
		}
	}
}

func (d *DB) migrate(ctx context.Context) error {
	from := d.opts.migrations
	if from == nil {
		var err error
		if from, err = fs.Sub(ours, "migrations"); err != nil {
			return err
		}
	}
	options := []goose.ProviderOption{goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true)}
	dialect := goose.DialectSQLite3
	if d.kind == onServer {
		dialect = goose.DialectPostgres
		options = append(options, goose.WithSessionLocker(oneAtATime{}))
	}
	steps, err := goose.NewProvider(dialect, d.write, from, options...)
	if err != nil {
		return err
	}
	known := steps.ListSources()[len(steps.ListSources())-1].Version
	is, err := d.version(ctx)
	if err != nil {
		return err
	}
	if is > known {
		return newer(is, known)
	}
	if is == known {
		return nil
	}
	if _, err := steps.Up(ctx); err != nil {
		return err
	}
	if is, err = d.version(ctx); err == nil && is > known { // others were there meanwhile
		err = newer(is, known)
	}
	return err
}

func newer(is, known int64) error {
	return fmt.Errorf("%w: it is at version %d, and this program knows those up to %d; run the newer program again, or restore a copy of the database from before the update", ErrNewer, is, known)
}

// version returns which step the database has behind it, 0 where it is empty. It
// changes nothing.
func (d *DB) version(ctx context.Context) (version int64, err error) {
	table := map[kind]text{
		inFile:   "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1",
		onServer: "SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass($1)",
	}[d.kind]
	n := 0
	if err := d.write.QueryRowContext(ctx, string(table), versionTable).Scan(&n); err != nil || n == 0 {
		return 0, err
	}
	const last text = "SELECT coalesce(max(version_id), 0) FROM " + versionTable
	err = d.write.QueryRowContext(ctx, string(last)).Scan(&version)
	return version, err
}

// oneAtATime has one node migrate while others wait for it.
type oneAtATime struct{}

var _ lock.SessionLocker = oneAtATime{}

// lockID is ours among the advisory locks of a database: "switch" in ASCII.
const lockID int64 = 0x737769746368

// SessionLock implements lock.SessionLocker. A step may take longer than any other
// statement.
func (oneAtATime) SessionLock(ctx context.Context, c *sql.Conn) error {
	if _, err := c.ExecContext(ctx, "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)"); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lockID)
	return err
}

// SessionUnlock implements lock.SessionLocker.
func (oneAtATime) SessionUnlock(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", lockID)
	_, reset := c.ExecContext(ctx, "RESET ALL")
	return errors.Join(err, reset)
}
