// Package db is all SQL: it opens the database, brings its tables up to date, and
// fulfils the stores that the rooms declare.
//
// The database is one file of SQLite in the data folder, or PostgreSQL, which
// several nodes share. All statements are such that both understand them, and
// consist of constants: what comes from outside is a parameter (see text).
//
// Promises: what Write has returned nil for is on the disk (on PostgreSQL: as its
// synchronous_commit says). A database that is gone is an ErrDown, one without room
// an ErrFull, one whose file is damaged an ErrDamaged, and a row that is there already an ErrConflict; DB opens connections
// again by itself. A database that a newer program has changed is refused by
// Migrate, and not touched.
//
// Limits: Read and Write may call their function more than once, so it does nothing
// that cannot be done twice. What a lost connection kept from being answered may yet
// be stored: whoever writes has a way to see what is there already.
package db
