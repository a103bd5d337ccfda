package webhooks

import (
	"context"
	"errors"
	"time"
)

// Archive is what the history needs: numbered records, each belonging to one
// webhook, of which the oldest go when they are too old or too many.
type Archive interface {
	// Append stores a record behind all others and returns its number, at least
	// 1, when it is synced. It fails with ErrFollowed when the webhook's newest
	// record is not the one numbered last (0: there is none).
	Append(ctx context.Context, of Name, last uint64, record []byte) (number uint64, err error)
	// Last returns the number of a webhook's newest record, 0 for none.
	Last(ctx context.Context, of Name) (number uint64, record []byte, err error)
	// Read returns the record with a number, or ErrGone.
	Read(ctx context.Context, number uint64) (record []byte, err error)
	// From returns a webhook's first record with this number or a higher one, or
	// ErrGone.
	From(ctx context.Context, of Name, number uint64) (got uint64, record []byte, err error)
	// Since returns a webhook's first record that was stored at this time or
	// later, or ErrGone.
	Since(ctx context.Context, of Name, at time.Time) (number uint64, record []byte, err error)
}

// What an Archive may answer besides success.
var (
	ErrGone     = errors.New("there is no such record in the webhooks' history")
	ErrFollowed = errors.New("the webhooks' history has a newer record")
)
