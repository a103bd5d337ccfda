package db

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite"
)

// readers is how many connections of SQLite read beside the one that writes.
const readers = 4

// openFile opens SQLite. The file is made so that nobody else may read it; what
// SQLite puts beside it has its mode.
func (d *DB) openFile() error {
	path := d.opts.Path
	if path == "" {
		return errors.New("no file is named")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	common := url.Values{"_pragma": {
		"busy_timeout(5000)", "foreign_keys(1)", "synchronous(FULL)", "journal_mode(WAL)", "cache_size(-16384)", "temp_store(MEMORY)",
	}}
	writing := url.Values{"_pragma": common["_pragma"], "_txlock": {"immediate"}}
	reading := url.Values{"_pragma": append(common["_pragma"][:len(common["_pragma"]):len(common["_pragma"])], "query_only(1)")}
	if d.write, err = connect(path, writing, 1); err != nil {
		return err
	}
	d.read, err = connect(path, reading, readers)
	return err
}

// connect makes a pool of n connections to a file. They stay open.
func connect(path string, parameters url.Values, n int) (*sql.DB, error) {
	place := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: parameters.Encode()}
	c, err := sqlite.NewConnector(place.String())
	if err != nil {
		return nil, fmt.Errorf("read the settings of SQLite: %w", err)
	}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	return pool, nil
}
