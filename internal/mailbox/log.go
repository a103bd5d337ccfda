package mailbox

import (
	"context"
	"errors"
)

// Log is what a keeper needs of its shard's log: numbered batches, written by
// one writer at a time, synced before they count.
//
// Sequences start at 1 and rise by one. Methods may be called from several
// goroutines, Append from one at a time.
type Log interface {
	// Append stores the batch as the one after last, and returns its sequence
	// when it is synced. It fails with ErrFenced when the log does not end at
	// last, ErrFull when there is no room, ErrUnknown when it cannot tell
	// whether the batch was stored; after any other error it was not.
	Append(ctx context.Context, last uint64, batch []byte) (seq uint64, err error)

	// Read returns the batch at seq, or ErrGone when it was purged.
	Read(ctx context.Context, seq uint64) ([]byte, error)

	// Bounds returns the first and the last sequence and the bytes between
	// them. An empty log has first = last + 1.
	Bounds(ctx context.Context) (first, last, bytes uint64, err error)

	// Replay calls f with every batch from first to last, in order. A batch
	// that is missing or damaged ends it with an error that names its sequence.
	Replay(ctx context.Context, first, last uint64, f func(seq uint64, batch []byte) error) error

	// Purge removes everything before the sequence below.
	Purge(ctx context.Context, below uint64) error
}

// What a Log may answer besides success.
var (
	ErrFenced  = errors.New("another keeper has written to this log")
	ErrUnknown = errors.New("the log did not answer: the batch may or may not be stored")
	ErrFull    = errors.New("the log has no room")
	ErrGone    = errors.New("the batch is no longer in the log")
)
