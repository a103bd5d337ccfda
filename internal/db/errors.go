package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What can be wrong with a database. ErrDown, ErrFull and ErrDamaged are what clients are told,
// so whoever passes them on needs no code of its own.
var (
	ErrDown error = &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeStoreDown, Reason: "the database does not answer; try again later"}
	ErrFull error = &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeStoreFull, Reason: "the database has no room; try again later"}

	// ErrDamaged says that the file is not as SQLite has written it. It does not pass.
	ErrDamaged error = &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeStoreDown, Reason: "the database is damaged; its operator has to see to it"}

	// ErrConflict says that a row is there already, or one that is needed is not.
	ErrConflict = errors.New("the database has another row in its place")

	// errCommit says that it was the last step of a transaction that failed: it may
	// have been stored all the same.
	errCommit = errors.New("commit")

	// ErrNewer says that a newer program has changed the database.
	ErrNewer = errors.New("the database is newer than this program")
)

// classify adds to an error what it is: ErrDown, ErrFull, ErrDamaged or ErrConflict.
func classify(err error) error {
	var known error
	var ofServer *pgconn.PgError
	var ofFile *sqlite.Error
	switch {
	case err == nil, errors.Is(err, ErrDown), errors.Is(err, ErrFull), errors.Is(err, ErrDamaged), errors.Is(err, ErrConflict):
		return err
	case errors.As(err, &ofServer):
		known = serverError(ofServer)
	case errors.As(err, &ofFile):
		known = fileError(ofFile)
	case lost(err):
		known = ErrDown
	}
	if known == nil {
		return err
	}
	return fmt.Errorf("%w: %w", known, err)
}

// lost says whether an error is that of a connection.
func lost(err error) bool {
	var ofNet net.Error
	var connecting *pgconn.ConnectError
	return errors.As(err, &connecting) || errors.As(err, &ofNet) || pgconn.SafeToRetry(err) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, errUnexpectedEnd) || errors.Is(err, context.DeadlineExceeded)
}

// serverError says what an error of PostgreSQL is; nil for any other.
func serverError(e *pgconn.PgError) error {
	class := e.Code[:min(2, len(e.Code))]
	switch {
	case class == "23":
		return ErrConflict
	case e.Code == "53100":
		return ErrFull
	case class == "08", class == "53", class == "57", class == "58", class == "28", class == "3D", e.Code == "25006":
		return ErrDown // lost, without resources, shut down, broken, not let in, or a standby
	}
	return nil
}

// fileError says what an error of SQLite is; nil for any other.
func fileError(e *sqlite.Error) error {
	switch primary := e.Code() & 0xff; {
	case primary == sqlite3.SQLITE_CONSTRAINT:
		return ErrConflict
	case primary == sqlite3.SQLITE_FULL:
		return ErrFull
	case primary == sqlite3.SQLITE_NOTADB, primary == sqlite3.SQLITE_CORRUPT:
		return ErrDamaged
	case slices.Contains([]int{
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL,
	}, primary):
		return ErrDown
	}
	return nil
}

// again says whether a transaction failed because of another one, and would not if
// it were tried again.
func again(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

// ofDatabase says whether an error came from the database, rather than from whoever
// asked it.
func ofDatabase(err error) bool {
	var ofServer *pgconn.PgError
	var ofFile *sqlite.Error
	return errors.As(err, &ofServer) || errors.As(err, &ofFile)
}

// kindOf is how an error is counted.
func kindOf(err error) string {
	switch {
	case errors.Is(err, ErrDown):
		return "down"
	case errors.Is(err, ErrFull):
		return "full"
	case errors.Is(err, ErrDamaged):
		return "damaged"
	case errors.Is(err, ErrConflict):
		return "conflict"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "other"
}
