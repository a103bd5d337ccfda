package match

import (
	"context"
	"errors"
)

// Log is what an owner needs of its shard's log: batches, stored one after another,
// synced before they count. Sequences rise, and need not rise by one.
type Log interface {
	// Append stores a batch behind the one with the sequence last, 0 for none, and
	// returns its sequence. It fails with ErrFenced when the log ends elsewhere, and
	// with ErrUnknown when the batch may or may not be stored; after any other error
	// it was not.
	Append(ctx context.Context, last uint64, batch []byte) (seq uint64, err error)
	// Replay calls f with every batch, from the first that there is to the one that
	// was the last when Replay was called, in order; f must not keep it. It returns the
	// sequence of the last, 0 for none.
	Replay(ctx context.Context, f func(seq uint64, batch []byte) error) (last uint64, err error)
	// Purge removes what is before the sequence below.
	Purge(ctx context.Context, below uint64) error
}

// What a Log may answer besides success.
var (
	ErrFenced  = errors.New("another owner has written to this log")
	ErrUnknown = errors.New("the log did not answer: the batch may or may not be stored")
)
