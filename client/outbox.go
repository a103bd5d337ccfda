package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// outbox keeps what a producer has sent until the server says that it is stored,
// or refuses it for good, and sends it again on each new connection: in order,
// under the numbers that it had, so that the server takes it once.
//
// A write has one outcome: MESSAGE_STORED, or an error. So a reference names one
// letter until then, and what has no outcome yet is not written twice on one
// connection. A confirmation settles nothing: it may be about an earlier message
// of the same reference.
type outbox struct {
	closing <-chan struct{}
	wait    backoff
	wake    chan struct{} // holds a token when there may be something to write

	mu      sync.Mutex
	last    uint64    // the highest number that was used
	first   uint64    // numbers that are made begin here
	letters []*letter // not settled, in the order of their numbers
	byRef   map[string]*letter
	link    *link         // nil while there is no connection
	changed chan struct{} // closed when a letter is settled, and made anew
	held    *time.Timer   // until it fires nothing is written: the server refused something for the moment
}

// letter is one message in the outbox.
type letter struct {
	seq       uint64
	reference string
	own       bool // the reference is ours: the application is not told of it
	receivers int
	frame     []byte

	written bool // on this connection
	refused int  // receivers for whom this write was refused
	again   bool // for some of them it is to be tried again
}

func newOutbox(o *Options, closing <-chan struct{}) *outbox {
	return &outbox{
		closing: closing, wait: backoff{Backoff: o.Backoff, random: o.Random}, wake: make(chan struct{}, 1),
		first: o.NextSeq, byRef: make(map[string]*letter), changed: make(chan struct{}),
	}
}

// put takes a message. It waits while the server might not remember any more what
// became of the oldest one by the time that this one is stored. frame makes the
// frame.
func (b *outbox) put(ctx context.Context, l *letter, frame func(seq uint64) ([]byte, error)) error {
	for {
		select {
		case <-b.closing:
			return ErrClosed
		default:
		}
		changed, err := b.tryPut(l, frame)
		if err != nil || changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.closing:
			return ErrClosed
		}
	}
}

// tryPut returns what to wait for when there is no room.
func (b *outbox) tryPut(l *letter, frame func(seq uint64) ([]byte, error)) (changed chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seq := l.seq
	if seq == 0 {
		seq = max(b.last+1, b.first)
	}
	switch {
	case seq <= b.last || seq > wire.MaxSeq:
		return nil, fmt.Errorf("%w: %d after %d", ErrSeq, seq, b.last)
	case b.byRef[l.reference] != nil:
		return nil, ErrReferenceInUse
	case len(b.letters) > 0 && seq-b.letters[0].seq >= wire.SeqWindow:
		return b.changed, nil
	}
	if l.frame, err = frame(seq); err != nil {
		return nil, err
	}
	l.seq, b.last = seq, seq
	b.letters = append(b.letters, l)
	b.byRef[l.reference] = l
	b.rouse()
	return nil, nil
}

// begin has everything written on a new connection.
func (b *outbox) begin(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link = l
	b.release()
	for _, x := range b.letters {
		x.written, x.refused, x.again = false, 0, false
	}
	b.rouse()
}

// end says that a connection is gone.
func (b *outbox) end(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == l {
		b.link = nil
	}
}

// run writes, until ctx ends.
func (b *outbox) run(ctx context.Context) {
	for ctx.Err() == nil {
		if x, l := b.pick(); x != nil {
			_ = l.write(ctx, x.frame, nil) // what did not leave is written on the next connection
			continue
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link = nil
	b.release()
}

// pick returns the next letter to write.
func (b *outbox) pick() (*letter, *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == nil || b.held != nil {
		return nil, nil
	}
	for _, x := range b.letters {
		if !x.written {
			x.written = true
			return x, b.link
		}
	}
	return nil, nil
}

// rouse has run look again. mu is held.
func (b *outbox) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// stored takes a MESSAGE_STORED, and says whether the application is to hear of
// it.
func (b *outbox) stored(reference string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.byRef[reference]
	if x == nil || !x.written {
		return false
	}
	b.wait.attempts = 0
	if x.again {
		b.hold(x)
		return false
	}
	b.settle(x)
	return !x.own
}

// failed takes an error of the server, and says whether the application is to
// hear of it: not of what is tried again.
func (b *outbox) failed(e *wire.Error, reference string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.byRef[reference]
	if x == nil || !x.written || e.Code == wire.CodeExpired { // that is about one that was stored
		return true
	}
	passing := isPassing(e)
	x.again = x.again || passing
	x.refused += len(e.To)
	if len(e.To) == 0 || !e.Group || x.refused >= x.receivers {
		// Nobody got it, and no MESSAGE_STORED follows.
		if x.again {
			b.hold(x)
		} else {
			b.settle(x)
		}
	}
	return !passing
}

// isPassing says whether a message that was refused so is to be sent again as it
// is.
func isPassing(e *wire.Error) bool {
	if e.MayYetArrive {
		return true
	}
	switch e.Code {
	case wire.CodeStoreDown, wire.CodeStoreFull, wire.CodeOverloaded, wire.CodeTimeout, wire.CodeRateLimited:
		return true
	}
	return false
}

// hold has a letter written again in a while, and nothing before that: what was
// not sent yet would come before it. mu is held.
func (b *outbox) hold(x *letter) {
	x.written, x.refused, x.again = false, 0, false
	if b.held != nil || b.link == nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(b.wait.next(), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.held == timer {
			b.held = nil
			b.rouse()
		}
	})
	b.held = timer
}

// release ends the hold. mu is held.
func (b *outbox) release() {
	if b.held != nil {
		b.held.Stop()
		b.held = nil
	}
}

// settle takes a letter out. mu is held.
func (b *outbox) settle(x *letter) {
	delete(b.byRef, x.reference)
	b.letters = slices.DeleteFunc(b.letters, func(y *letter) bool { return x == y })
	close(b.changed)
	b.changed = make(chan struct{})
}

// Flush waits until nothing that was sent is still without an answer: all of it is
// stored, or was refused for good. It is for clients with a Producer; of others
// nothing is kept.
func (c *Client) Flush(ctx context.Context) error {
	if c.outbox == nil {
		return nil
	}
	for {
		c.outbox.mu.Lock()
		left, changed := len(c.outbox.letters), c.outbox.changed
		c.outbox.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closing:
			return ErrClosed
		}
	}
}

// post puts a message into the outbox.
func (c *Client) post(ctx context.Context, to []wire.UserID, group bool, content []byte, o *sendOptions) error {
	switch {
	case c.outbox == nil:
		return errors.New("client: WithSeq needs Options.Producer")
	case o.numbered && o.seq == 0:
		return fmt.Errorf("%w: it is 0", ErrSeq)
	}
	l := &letter{seq: o.seq, reference: o.reference, receivers: countUnique(to)}
	if l.reference == "" {
		reference, err := newReference()
		if err != nil {
			return err
		}
		l.reference, l.own = reference, true
	}
	with := *o
	with.reference, with.silent = l.reference, o.silent || l.own
	return c.outbox.put(ctx, l, func(seq uint64) ([]byte, error) {
		with.seq = seq
		return c.frame(to, group, content, &with)
	})
}

func countUnique(users []wire.UserID) int {
	known := make(map[wire.UserID]struct{}, len(users))
	for _, u := range users {
		known[u] = struct{}{}
	}
	return len(known)
}
