package client

import (
	"context"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// await registers who waits for what becomes of a reference.
func (c *Client) await(reference string) (chan error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.waiters[reference]; ok {
		return nil, ErrReferenceInUse
	}
	outcome := make(chan error, 1)
	c.waiters[reference] = outcome
	return outcome, nil
}

func (c *Client) forget(reference string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiters, reference)
}

// settle tells whoever waits for what this frame says, the outbox too, and says
// whether there was anyone, so that no callback is to be called.
func (c *Client) settle(f wire.ServerFrame) bool {
	var outcome error
	var reference string
	switch f.Type {
	case wire.TypeStored:
		return c.outbox != nil && !c.outbox.stored(readReceipt(f.Data))
	case wire.TypeConfirmation:
		reference = readReceipt(f.Data)
	case wire.TypeGeneralError, wire.TypeInvalidMessage, wire.TypeDeliverFailed:
		e, of := readError(f)
		if c.outbox != nil && !c.outbox.failed(e, of) {
			return true
		}
		outcome, reference = e, of
	default:
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	waiter, ok := c.waiters[reference]
	if !ok {
		return false
	}
	delete(c.waiters, reference)
	waiter <- outcome
	return true
}

// fetch sends a request for missed messages and returns who is told of its end:
// what is left then.
func (l *link) fetch(ctx context.Context, frame []byte) (chan int, error) {
	left := make(chan int, 1)
	err := l.write(ctx, frame, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.fetches) >= maxFetches {
			return errFetches
		}
		l.fetches = append(l.fetches, left)
		return nil
	})
	if err != nil {
		l.dropFetch(left)
		return nil, err
	}
	return left, nil
}

// dropFetch takes back an expectation: its fetch was refused, or not sent.
func (l *link) dropFetch(left chan int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetches = slices.DeleteFunc(l.fetches, func(f chan int) bool { return f == left })
}

// fetched tells the oldest of those who wait. The server's answers have no
// reference, but come in the order of the requests.
func (l *link) fetched(left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fetches) == 0 {
		return
	}
	l.fetches[0] <- left
	l.fetches = slices.Delete(l.fetches, 0, 1)
}
