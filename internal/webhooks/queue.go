package webhooks

import (
	"context"
	"errors"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Name says which webhook of which app is meant.
type Name struct {
	App  string
	Name string
}

// String returns "app/name".
func (n Name) String() string { return n.App + "/" + n.Name }

// Queue is what this room needs of the keeper: for each webhook the events that
// wait for it, in order, on disk until they are proved.
type Queue interface {
	// Open begins to hand over to out what waits for a webhook, oldest first, and
	// then what comes, with at most window bytes unproved. What was handed over
	// and is not proved when the session is closed, or the process ends, is handed
	// over again by the next one.
	Open(of Name, window int, out Outlet) (Session, error)
	// Put has frames wait for a webhook, behind all others, in their order, and
	// returns how many of them are on disk: those before the first that is not. An
	// error says why not all are; a full queue is ErrQueueFull.
	Put(ctx context.Context, of Name, frames [][]byte) (stored int, err error)
	// Backlog tells what waits for a webhook, on its way included.
	Backlog(ctx context.Context, of Name) (Backlog, error)
}

// ErrQueueFull is why a Queue takes no more.
var ErrQueueFull = errors.New("as many events wait for the webhook as may")

// Session is one open queue. Its methods do not block.
type Session interface {
	// Prove says that a delivery is dealt with; it does not come again. They may
	// be proved in any order.
	Prove(n uint64)
	Close()
}

// Outlet takes what a queue hands over: see Queue.Open. It is called by one
// goroutine at a time, does not block, and copies the bytes that it keeps.
type Outlet func(n uint64, id wire.ID, frame []byte)

// Backlog is what waits for one webhook.
type Backlog struct {
	Events  int
	Bytes   int64
	Oldest  time.Time // when the oldest was queued; zero for none
	Dropped uint64    // events that found the queue full, since the start
}
